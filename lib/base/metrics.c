/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process's metrics: families in order of first use, series in order of first use within them. */
#include "base/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct family;
struct metric {
	struct metric *next;
	const struct family *family;
	char *labels;
	double value; /* histogram: sum */
	uint64_t count;
	uint64_t *bucket_counts; /* each bucket's own; cumulative only when written */
};

struct family {
	struct family *next;
	const char *name, *help;
	enum metric_type type;
	const double *buckets;
	size_t bucket_count;
	struct metric *first, **tail;
	struct map *by_labels; /* borrowed values */
};

static struct family *families, **families_tail = &families;
static struct map *by_name;
static int64_t start_s;

static struct family *family_get(const char *name, const char *help, enum metric_type type)
{
	if (!by_name) {
		by_name = map_new(NULL);
		start_s = clock_wall_s();
	}
	struct family *f = map_get(by_name, name);

	if (!f) {
		f = mem_new(struct family);
		f->name = name;
		f->help = help;
		f->type = type;
		f->tail = &f->first;
		f->by_labels = map_new(NULL);
		*families_tail = f;
		families_tail = &f->next;
		map_set(by_name, name, f);
	}
	BUG_ON(f->type != type);
	return f;
}

static struct metric *series_get(struct family *f, const char *labels)
{
	labels = labels ? labels : "";
	struct metric *m = map_get(f->by_labels, labels);

	if (!m) {
		m = mem_new(struct metric);
		m->family = f;
		m->labels = mem_strdup(labels);
		if (f->bucket_count)
			m->bucket_counts = mem_new_n(uint64_t, f->bucket_count);
		*f->tail = m;
		f->tail = &m->next;
		map_set(f->by_labels, labels, m);
	}
	return m;
}

struct metric *metrics_counter(const char *name, const char *help, const char *labels)
{
	return series_get(family_get(name, help, METRIC_COUNTER), labels);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *labels)
{
	return series_get(family_get(name, help, METRIC_GAUGE), labels);
}

struct metric *metrics_histogram(const char *name, const char *help, const char *labels, const double *buckets, size_t bucket_count)
{
	struct family *f = family_get(name, help, METRIC_HISTOGRAM);

	f->buckets = buckets;
	f->bucket_count = bucket_count;
	return series_get(f, labels);
}

void metric_add(struct metric *m, double value)
{
	BUG_ON(m->family->type == METRIC_HISTOGRAM);
	m->value += value;
}

void metric_set(struct metric *m, double value)
{
	BUG_ON(m->family->type != METRIC_GAUGE);
	m->value = value;
}

void metric_observe(struct metric *m, double value)
{
	const struct family *f = m->family;

	BUG_ON(f->type != METRIC_HISTOGRAM);
	m->value += value;
	m->count++;
	/* From below: latencies are mostly in the first. */
	for (size_t i = 0; i < f->bucket_count; i++)
		if (value <= f->buckets[i]) {
			m->bucket_counts[i]++;
			return;
		}
}

double metric_value(const struct metric *m)
{
	return m->value;
}

void metrics_counter_add(const char *name, const char *help, const char *labels, double value)
{
	metric_add(metrics_counter(name, help, labels), value);
}

void metrics_gauge_set(const char *name, const char *help, const char *labels, double value)
{
	metric_set(metrics_gauge(name, help, labels), value);
}

void metrics_histogram_observe(const char *name, const char *help, const char *labels, const double *buckets,
			       size_t bucket_count, double value)
{
	metric_observe(metrics_histogram(name, help, labels, buckets, bucket_count), value);
}

void metrics_label(struct strbuf *out, const char *name, const char *value)
{
	strbuf_addf(out, "%s%s=\"", out->len ? "," : "", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			strbuf_addc(out, '\\');
		if (*value == '\n')
			strbuf_adds(out, "\\n");
		else
			strbuf_addc(out, *value);
	}
	strbuf_addc(out, '"');
}

/* The shortest text that reads back as the same value. */
static void add_value(struct strbuf *out, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	strbuf_adds(out, text);
}

static void write_line(struct strbuf *out, const struct metric *m, const char *suffix, double value)
{
	bool labels = *m->labels != '\0';

	strbuf_addf(out, "%s%s%s%s%s ", m->family->name, suffix, labels ? "{" : "", m->labels, labels ? "}" : "");
	add_value(out, value);
	strbuf_addc(out, '\n');
}

static void write_series(struct strbuf *out, const struct metric *m)
{
	const struct family *f = m->family;
	const char *comma = *m->labels ? "," : "";
	uint64_t below = 0;

	if (f->type != METRIC_HISTOGRAM) {
		write_line(out, m, "", m->value);
		return;
	}
	for (size_t i = 0; i < f->bucket_count; i++) {
		below += m->bucket_counts[i];
		strbuf_addf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", f->name, m->labels, comma, f->buckets[i],
			    (unsigned long long)below);
	}
	strbuf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", f->name, m->labels, comma, (unsigned long long)m->count);
	write_line(out, m, "_sum", m->value);
	write_line(out, m, "_count", (double)m->count);
}

static void write_plain(struct strbuf *out, const char *name, const char *help, const char *type, double value)
{
	strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s ", name, help, name, type, name);
	add_value(out, value);
	strbuf_addc(out, '\n');
}

static double open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = -3; /* . and .. and the directory's own */

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void write_process(struct strbuf *out)
{
	struct rlimit fds = { 0 };
	struct rusage use = { 0 };
	long size = 0, resident = 0, page = sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%ld %ld", &size, &resident) != 2)
			size = resident = 0;
		fclose(f);
	}
	getrlimit(RLIMIT_NOFILE, &fds);
	getrusage(RUSAGE_SELF, &use);
	write_plain(out, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter",
		    (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
	write_plain(out, "process_max_fds", "Maximum number of open file descriptors.", "gauge", (double)fds.rlim_cur);
	write_plain(out, "process_open_fds", "Number of open file descriptors.", "gauge", open_fds());
	write_plain(out, "process_resident_memory_bytes", "Resident memory size in bytes.", "gauge", (double)resident * (double)page);
	write_plain(out, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "gauge",
		    (double)(start_s ? start_s : clock_wall_s()));
	write_plain(out, "process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge", (double)size * (double)page);
}

void metrics_write(struct strbuf *out)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	for (struct family *f = families; f; f = f->next) {
		strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, types[f->type]);
		for (struct metric *m = f->first; m; m = m->next)
			write_series(out, m);
	}
	write_process(out);
}

void metrics_reset(void)
{
	while (families) {
		struct family *f = families;

		families = f->next;
		while (f->first) {
			struct metric *m = f->first;

			f->first = m->next;
			free(m->labels);
			free(m->bucket_counts);
			free(m);
		}
		map_free(f->by_labels);
		free(f);
	}
	families_tail = &families;
	by_name = map_free(by_name);
}
