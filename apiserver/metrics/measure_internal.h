/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between measure.c, which counts as things happen, and scrape.c, which looks when it is asked. */
#ifndef KEELSON_APISERVER_METRICS_MEASURE_INTERNAL_H
#define KEELSON_APISERVER_METRICS_MEASURE_INTERNAL_H

void measure_inflight_write(void); /* sets the gauges */

#endif
