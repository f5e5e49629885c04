/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process's metrics: families in order of first use, series in order of first use within them. */
#include "base/metrics.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct series {
	struct series *next;
	char *labels;
	double value; /* histogram: sum */
	uint64_t count;
	uint64_t *bucket_counts;
};

struct family {
	struct family *next;
	const char *name, *help;
	enum metric_type type;
	const double *buckets;
	size_t bucket_count;
	struct series *first, **tail;
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

static struct series *series_get(struct family *f, const char *labels)
{
	labels = labels ? labels : "";
	struct series *s = map_get(f->by_labels, labels);

	if (!s) {
		s = mem_new(struct series);
		s->labels = mem_strdup(labels);
		if (f->bucket_count)
			s->bucket_counts = mem_new_n(uint64_t, f->bucket_count);
		*f->tail = s;
		f->tail = &s->next;
		map_set(f->by_labels, labels, s);
	}
	return s;
}

void metrics_counter_add(const char *name, const char *help, const char *labels, double value)
{
	series_get(family_get(name, help, METRIC_COUNTER), labels)->value += value;
}

void metrics_gauge_set(const char *name, const char *help, const char *labels, double value)
{
	series_get(family_get(name, help, METRIC_GAUGE), labels)->value = value;
}

void metrics_histogram_observe(const char *name, const char *help, const char *labels, const double *buckets,
			       size_t bucket_count, double value)
{
	struct family *f = family_get(name, help, METRIC_HISTOGRAM);

	f->buckets = buckets;
	f->bucket_count = bucket_count;
	struct series *s = series_get(f, labels);

	s->value += value;
	s->count++;
	for (size_t i = 0; i < bucket_count; i++)
		if (value <= buckets[i])
			s->bucket_counts[i]++;
}

static void write_series(struct strbuf *out, const struct family *f, const struct series *s)
{
	const char *comma = *s->labels ? "," : "", *open = *s->labels ? "{" : "", *close = *s->labels ? "}" : "";

	if (f->type != METRIC_HISTOGRAM) {
		strbuf_addf(out, "%s%s%s%s %.17g\n", f->name, open, s->labels, close, s->value);
		return;
	}
	for (size_t i = 0; i < f->bucket_count; i++)
		strbuf_addf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", f->name, s->labels, comma, f->buckets[i],
			    (unsigned long long)s->bucket_counts[i]);
	strbuf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", f->name, s->labels, comma, (unsigned long long)s->count);
	strbuf_addf(out, "%s_sum%s%s%s %.17g\n", f->name, open, s->labels, close, s->value);
	strbuf_addf(out, "%s_count%s%s%s %llu\n", f->name, open, s->labels, close, (unsigned long long)s->count);
}

static long rss_bytes(void)
{
	long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%ld %ld", &total, &resident) != 2)
			resident = 0;
		fclose(f);
	}
	return resident * sysconf(_SC_PAGESIZE);
}

void metrics_write(struct strbuf *out)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	for (struct family *f = families; f; f = f->next) {
		strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, types[f->type]);
		for (struct series *s = f->first; s; s = s->next)
			write_series(out, f, s);
	}
	strbuf_addf(out,
		    "# HELP process_resident_memory_bytes Resident memory size in bytes.\n"
		    "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %ld\n"
		    "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.\n"
		    "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %lld\n",
		    rss_bytes(), (long long)(start_s ? start_s : clock_wall_s()));
}

void metrics_reset(void)
{
	while (families) {
		struct family *f = families;

		families = f->next;
		while (f->first) {
			struct series *s = f->first;

			f->first = s->next;
			free(s->labels);
			free(s->bucket_counts);
			free(s);
		}
		map_free(f->by_labels);
		free(f);
	}
	families_tail = &families;
	by_name = map_free(by_name);
}
