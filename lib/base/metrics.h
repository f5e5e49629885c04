/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A registry of counters, gauges and histograms written out in the Prometheus text format 0.0.4.
 * One registry a process; loop thread only. Labels are given as a ready string: `verb="GET",code="200"`; values that come from
 * elsewhere are escaped with metrics_label().
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

/* The same where it is done often: find the series once, then count without a look-up. A handle is valid until metrics_reset(). */
struct metric;
struct metric *metrics_counter(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);
struct metric *metrics_histogram(const char *name, const char *help, const char *labels, const double *buckets, size_t bucket_count);
void metric_add(struct metric *m, double value); /* counters and gauges */
void metric_set(struct metric *m, double value); /* gauges */
void metric_observe(struct metric *m, double value); /* histograms */
double metric_value(const struct metric *m);     /* a histogram's is its sum */

/* Adds `name="value"` with the value escaped, after a comma when out is not empty. */
void metrics_label(struct strbuf *out, const char *name, const char *value);
/* Includes what the kernel knows of the process: process_cpu_seconds_total, process_resident_memory_bytes,
 * process_virtual_memory_bytes, process_start_time_seconds, process_open_fds, process_max_fds. */
void metrics_write(struct strbuf *out);
void metrics_reset(void); /* forgets everything; for tests and exit */

#endif
