/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A registry of counters, gauges and histograms written out in the Prometheus text format 0.0.4.
 * One registry a process; loop thread only. Labels are given as a ready string: `verb="GET",code="200"`.
 */
#ifndef KEELSON_BASE_METRICS_H
#define KEELSON_BASE_METRICS_H

#include "base/str.h"

/* name and help are literals. labels may be NULL. The series appears at the first call. */
void metrics_counter_add(const char *name, const char *help, const char *labels, double value);
void metrics_gauge_set(const char *name, const char *help, const char *labels, double value);
/* buckets: ascending upper bounds, count of them, the same at each call for one name; +Inf is added. */
void metrics_histogram_observe(const char *name, const char *help, const char *labels, const double *buckets,
			       size_t bucket_count, double value);
/* process_resident_memory_bytes and process_start_time_seconds are always included. */
void metrics_write(struct strbuf *out);
void metrics_reset(void); /* forgets everything; for tests and exit */

#endif
