// SPDX-License-Identifier: GPL-2.0-or-later
/* What the options of serving mean, and their defaults. */
#include "apiserver/http/serving.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "kube/quantity.h"

enum { MIN_MEMORY_MIB = 128, MAX_DURATION_S = 3600, DESCRIPTORS_BESIDE = 256, CGROUP_TEXT_BYTES = 65536 };

static int parse_count(const char *option, const char *text, unsigned fallback, unsigned *ret, struct err *err)
{
	uint64_t n = fallback;
	if (text && str_to_u64(text, 1000000, &n) < 0)
		return err_set(err, EINVAL, "--%s is a number", option);
	*ret = (unsigned)n;
	return 0;
}

/* Go's durations as far as they are used here: 1m30s, 500ms. */
static int parse_duration(const char *option, const char *text, unsigned fallback_ms, unsigned *ret_ms, struct err *err)
{
	double total = text ? 0 : fallback_ms;
	for (const char *p = text; p && *p;) {
		char *end;
		double n = strtod(p, &end), unit = 0;
		if (str_starts(end, "ms"))
			unit = 1;
		else if (*end == 's')
			unit = 1000;
		else if (*end == 'm')
			unit = 60000;
		else if (*end == 'h')
			unit = 3600000;
		else if (!*end && n == 0)
			unit = 1000;
		if (end == p || unit == 0 || !(n >= 0))
			return err_set(err, EINVAL, "--%s is a duration such as 30s or 1m30s", option);
		total += n * unit;
		p = end + (unit == 1 ? 2 : *end ? 1 : 0);
	}
	if ((text && !*text) || total > MAX_DURATION_S * 1000.0)
		return err_set(err, EINVAL, "--%s is a duration such as 30s, at most an hour", option);
	*ret_ms = (unsigned)total;
	return 0;
}

/* The limit of this process's own memory cgroup; 0: none. */
static uint64_t cgroup_limit(void)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	uint64_t limit = 0;
	char *save = NULL;
	if (file_read("/proc/self/cgroup", CGROUP_TEXT_BYTES, &text) < 0 || !text.data)
		return 0;
	for (char *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		_cleanup_strbuf_ struct strbuf value = { 0 };
		_cleanup_free_ char *path = NULL;
		const char *v2 = str_after(line, "0::"), *v1 = strstr(line, ":memory:");
		uint64_t n;
		if (v2)
			path = str_printf("/sys/fs/cgroup%s/memory.max", v2);
		else if (v1)
			path = str_printf("/sys/fs/cgroup/memory%s/memory.limit_in_bytes", v1 + 8);
		if (!path || file_read(path, CGROUP_TEXT_BYTES, &value) < 0 || !value.data)
			continue;
		value.data[strcspn(value.data, "\n")] = '\0';
		if (str_to_u64(value.data, UINT64_MAX / 2, &n) == 0 && (!limit || n < limit))
			limit = n;
	}
	return limit;
}

/* Three quarters of what the process may have. */
static size_t default_memory(void)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), own = cgroup_limit();
	return (size_t)(MIN(all, own ? own : all) / 4 * 3);
}

static int parse_memory(const char *text, size_t *ret, struct err *err)
{
	struct quantity q;
	*ret = 0;
	if (!text) {
		*ret = default_memory();
		return 0;
	}
	if (str_eq(text, "0"))
		return 0;
	if (quantity_parse(text, &q) < 0 || quantity_value(&q) < (int64_t)MIN_MEMORY_MIB << 20)
		return err_set(err, EINVAL, "--max-memory is a quantity such as 2Gi, at least %dMi, or 0 for no limit", MIN_MEMORY_MIB);
	*ret = (size_t)quantity_value(&q);
	return 0;
}

int serving_parse(const struct serving_texts *t, struct serving *ret, struct err *err)
{
	struct serving s = { 0 };
	char *end = NULL;
	if (parse_memory(t->max_memory, &s.max_memory_bytes, err) < 0 ||
	    parse_count("max-connections", t->max_connections, 10000, &s.max_connections, err) < 0 ||
	    parse_count("max-connections-per-client", t->max_connections_per_client, 0, &s.max_connections_of_client, err) < 0 ||
	    parse_count("max-requests-inflight", t->max_requests, 400, &s.max_inflight[0], err) < 0 ||
	    parse_count("max-mutating-requests-inflight", t->max_mutating_requests, 200, &s.max_inflight[1], err) < 0 ||
	    parse_duration("request-timeout", t->request_timeout, 60000, &s.request_timeout_ms, err) < 0 ||
	    parse_duration("shutdown-delay-duration", t->shutdown_delay, 0, &s.delay_ms, err) < 0 ||
	    parse_duration("shutdown-watch-termination-grace-period", t->shutdown_watches, 0, &s.watches_ms, err) < 0 ||
	    parse_duration("shutdown-grace-period", t->shutdown_grace, 5000, &s.grace_ms, err) < 0)
		return -EINVAL;
	if (!s.request_timeout_ms)
		return err_set(err, EINVAL, "--request-timeout is a duration such as 1m0s, more than none");
	s.goaway_chance = t->goaway_chance ? strtod(t->goaway_chance, &end) : 0;
	if (end && (*end || end == t->goaway_chance || !(s.goaway_chance >= 0 && s.goaway_chance <= 0.02)))
		return err_set(err, EINVAL, "--goaway-chance is a number from 0 to 0.02");
	*ret = s;
	return 0;
}

void serving_raise_limits(const struct serving *s)
{
	struct rlimit l;
	/* Three quarters are for connections, the rest for the store, tunnels and logs. */
	rlim_t wanted = (rlim_t)s->max_connections / 3 * 4 + DESCRIPTORS_BESIDE;
	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur == RLIM_INFINITY || l.rlim_cur >= wanted)
		return;
	l.rlim_cur = l.rlim_max == RLIM_INFINITY ? wanted : MIN(wanted, l.rlim_max);
	setrlimit(RLIMIT_NOFILE, &l);
}
