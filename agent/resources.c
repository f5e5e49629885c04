/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and limits as the kernel wants them: QoS classes, shares, quotas, oom scores. No I/O. */
#include "agent/resources.h"

#include <errno.h>

#include "kube/quantity.h"

enum {
	SHARES_MIN = 2,
	SHARES_MAX = 262144,
	SHARES_PER_CPU = 1024,
	QUOTA_PERIOD_US = 100000,
	QUOTA_MIN_US = 1000,
	OOM_GUARANTEED = -997,
	OOM_BEST_EFFORT = 1000,
	SYSTEM_CRITICAL_PRIORITY = 2000000000,
};

const char *qos_name(enum qos q)
{
	static const char *const names[QOS_MAX] = { "BestEffort", "Burstable", "Guaranteed" };

	return names[q];
}

const char *qos_cgroup(enum qos q)
{
	static const char *const names[QOS_MAX] = { "besteffort", "burstable", "guaranteed" };

	return names[q];
}

/* A quantity is a string; a number is accepted as the API accepts it. */
static int64_t quantity_milli_of(const json_t *v)
{
	struct quantity q;

	if (json_is_integer(v))
		return json_integer_value(v) * 1000;
	if (!json_is_string(v) || quantity_parse(json_string_value(v), &q) < 0)
		return -1;
	return quantity_milli(&q);
}

int64_t resources_milli(const json_t *container, const char *kind, const char *name)
{
	json_t *all = json_object_get(container, "resources");
	json_t *v = json_object_get(json_object_get(all, kind), name);

	if (!v && str_eq(kind, "requests"))
		v = json_object_get(json_object_get(all, "limits"), name);
	return v ? quantity_milli_of(v) : -1;
}

enum qos resources_qos(const json_t *pod)
{
	static const char *const lists[] = { "initContainers", "containers" };
	static const char *const names[] = { "cpu", "memory" };
	const json_t *spec = json_object_get(pod, "spec");
	bool any = false, guaranteed = true;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_t *container;
		size_t i;

		json_array_foreach(json_object_get(spec, lists[l]), i, container) {
			for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
				int64_t request = resources_milli(container, "requests", names[n]);
				int64_t limit = resources_milli(container, "limits", names[n]);

				any = any || request > 0 || limit > 0;
				guaranteed = guaranteed && limit > 0 && request == limit;
			}
		}
	}
	return !any ? QOS_BEST_EFFORT : guaranteed ? QOS_GUARANTEED : QOS_BURSTABLE;
}

int64_t resources_cpu_shares(int64_t milli)
{
	int64_t shares;

	if (milli <= 0)
		return SHARES_MIN;
	if (milli > (int64_t)SHARES_MAX * 1000 / SHARES_PER_CPU)
		return SHARES_MAX;
	shares = milli * SHARES_PER_CPU / 1000;
	return MAX(shares, (int64_t)SHARES_MIN);
}

int64_t resources_cpu_weight(int64_t shares)
{
	return 1 + (shares - SHARES_MIN) * 9999 / (SHARES_MAX - SHARES_MIN);
}

int64_t resources_cpu_quota(int64_t milli)
{
	int64_t quota;

	if (milli <= 0)
		return 0;
	quota = MIN(milli, INT64_MAX / QUOTA_PERIOD_US) * QUOTA_PERIOD_US / 1000;
	return MAX(quota, (int64_t)QUOTA_MIN_US);
}

int64_t resources_oom_score_adj(const json_t *pod, const json_t *container, int64_t node_memory_bytes)
{
	int64_t request, adj;

	if (json_int(pod, "spec.priority", 0) >= SYSTEM_CRITICAL_PRIORITY)
		return OOM_GUARANTEED;
	switch (resources_qos(pod)) {
	case QOS_GUARANTEED:
		return OOM_GUARANTEED;
	case QOS_BEST_EFFORT:
		return OOM_BEST_EFFORT;
	default:
		break;
	}
	request = MAX(resources_milli(container, "requests", "memory"), (int64_t)0) / 1000;
	adj = node_memory_bytes > 0 ? (int64_t)(1000 - (__int128)1000 * request / node_memory_bytes) : 999;
	/* Above every guaranteed pod, below every best-effort one. */
	adj = MAX(adj, (int64_t)(1000 + OOM_GUARANTEED));
	return MIN(adj, (int64_t)OOM_BEST_EFFORT - 1);
}

struct sums {
	int64_t cpu_request, cpu_limit, memory_limit; /* limits: -1 once one is missing */
	int64_t memory_request_bytes;
};

static int64_t limit_plus(int64_t sum, int64_t limit)
{
	return sum < 0 || limit <= 0 ? -1 : sum + limit;
}

static int64_t limit_max(int64_t a, int64_t b)
{
	return a < 0 || b < 0 ? -1 : MAX(a, b);
}

static void sums_add(struct sums *s, const json_t *container)
{
	s->cpu_request += MAX(resources_milli(container, "requests", "cpu"), (int64_t)0);
	s->cpu_limit = limit_plus(s->cpu_limit, resources_milli(container, "limits", "cpu"));
	s->memory_limit = limit_plus(s->memory_limit, resources_milli(container, "limits", "memory"));
	s->memory_request_bytes += MAX(resources_milli(container, "requests", "memory"), (int64_t)0) / 1000;
}

/* What all containers need at once, or one init container beside the sidecars before it, if that is more (KEP-753). */
static struct sums sums_of_pod(const json_t *spec)
{
	struct sums sidecars = { 0 }, total = { 0 }, peak = { 0 };
	json_t *container;
	size_t i;

	json_array_foreach(json_object_get(spec, "containers"), i, container)
		sums_add(&total, container);
	json_array_foreach(json_object_get(spec, "initContainers"), i, container) {
		struct sums running = sidecars;

		sums_add(&running, container);
		peak.cpu_request = MAX(peak.cpu_request, running.cpu_request);
		peak.cpu_limit = limit_max(peak.cpu_limit, running.cpu_limit);
		peak.memory_limit = limit_max(peak.memory_limit, running.memory_limit);
		peak.memory_request_bytes = MAX(peak.memory_request_bytes, running.memory_request_bytes);
		if (str_eq(json_str(container, "restartPolicy"), "Always")) {
			sidecars = running;
			sums_add(&total, container);
		}
	}
	return (struct sums){ .cpu_request = MAX(total.cpu_request, peak.cpu_request),
			      .cpu_limit = limit_max(total.cpu_limit, peak.cpu_limit),
			      .memory_limit = limit_max(total.memory_limit, peak.memory_limit),
			      .memory_request_bytes = MAX(total.memory_request_bytes, peak.memory_request_bytes) };
}

void resources_of_pod(const json_t *pod, struct resources_pod *ret)
{
	struct sums sums = sums_of_pod(json_object_get(pod, "spec"));

	ret->cpu_shares = resources_cpu_shares(sums.cpu_request);
	ret->cpu_quota_us = resources_cpu_quota(sums.cpu_limit);
	ret->memory_bytes = MAX(sums.memory_limit, (int64_t)0) / 1000;
}

void resources_request_of_pod(const json_t *pod, struct resources_request *ret)
{
	const json_t *spec = json_object_get(pod, "spec"), *overhead = json_object_get(spec, "overhead");
	struct sums sums = sums_of_pod(spec);

	ret->cpu_milli = sums.cpu_request + MAX(quantity_milli_of(json_object_get(overhead, "cpu")), (int64_t)0);
	ret->memory_bytes = sums.memory_request_bytes + MAX(quantity_milli_of(json_object_get(overhead, "memory")), (int64_t)0) / 1000;
}

json_t *resources_pod_with(const json_t *pod, const json_t *applied)
{
	static const char *const lists[] = { "initContainers", "containers" };
	json_t *spec = json_deep_copy(json_object_get(pod, "spec")), *container;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		size_t i;

		json_array_foreach(json_object_get(spec, lists[l]), i, container) {
			json_t *had = json_object_get(applied, json_str_or(container, "name", ""));

			if (had)
				json_object_set(container, "resources", json_object_get(had, "resources"));
		}
	}
	return json_pack("{s:o}", "spec", spec);
}

unsigned resources_resized(const json_t *a, const json_t *b)
{
	static const struct {
		const char *name;
		unsigned bit;
	} names[] = { { "cpu", RESIZES_CPU }, { "memory", RESIZES_MEMORY } };
	unsigned resized = 0;

	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		if (resources_milli(a, "requests", names[n].name) != resources_milli(b, "requests", names[n].name) ||
		    resources_milli(a, "limits", names[n].name) != resources_milli(b, "limits", names[n].name))
			resized |= names[n].bit;
	}
	return resized;
}

bool resources_resize_restarts(const json_t *container, unsigned resized)
{
	json_t *policy;
	size_t i;

	json_array_foreach(json_object_get(container, "resizePolicy"), i, policy) {
		const char *name = json_str(policy, "resourceName");

		if (str_eq(json_str(policy, "restartPolicy"), "RestartContainer") &&
		    ((str_eq(name, "cpu") && (resized & RESIZES_CPU)) || (str_eq(name, "memory") && (resized & RESIZES_MEMORY))))
			return true;
	}
	return false;
}

int resources_field(const json_t *container, const char *resource, const char *divisor, int64_t node_cpu_milli,
		    int64_t node_memory_bytes, int64_t *ret)
{
	const char *name = NULL, *kind = NULL;
	struct quantity d;
	int64_t milli, by = 1000;

	if ((name = str_after(resource, "limits.")))
		kind = "limits";
	else if ((name = str_after(resource, "requests.")))
		kind = "requests";
	else
		return -EINVAL;
	if (!str_empty(divisor) && !str_eq(divisor, "0")) {
		if (quantity_parse(divisor, &d) < 0 || quantity_milli(&d) <= 0)
			return -EINVAL;
		by = quantity_milli(&d);
	}
	milli = resources_milli(container, kind, name);
	if (milli < 0 && str_eq(kind, "limits") && str_eq(name, "cpu"))
		milli = node_cpu_milli;
	else if (milli < 0 && str_eq(kind, "limits") && str_eq(name, "memory"))
		milli = node_memory_bytes * 1000;
	milli = MAX(milli, (int64_t)0);
	*ret = milli / by + (milli % by != 0);
	return 0;
}
