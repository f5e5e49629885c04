// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The status of a PodDisruptionBudget. What always holds: what is allowed is computed from pods that are ready, not
 * being deleted and not already granted to somebody; when the workloads' sizes cannot be told, nothing is allowed.
 */
#include "controllers/disruption.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "kube/object.h"

/* Grants (pod name -> time) that still stand. Own. */
static json_t *standing_grants(const struct disruption_view *v, struct plan *plan)
{
	json_t *grants = json_object(), *time;
	const char *name;

	json_object_foreach(json_at(v->budget, "status.disruptedPods"), name, time) {
		int64_t us, left_s = 0;
		bool there = false;

		for (size_t i = 0; i < v->pods.count && !there; i++)
			there = str_eq(object_name(v->pods.items[i]), name) && !object_deleting(v->pods.items[i]);
		if (!there || clock_parse_rfc3339(json_string_value(time) ? json_string_value(time) : "", &us) < 0)
			continue;
		left_s = us / 1000000 + DISRUPTION_GRANT_S - v->now_s;
		if (left_s <= 0)
			continue;
		json_object_set(grants, name, time);
		plan_requeue(plan, left_s * 1000);
	}
	return grants;
}

/* The pods there should be, over all workloads that have a selected pod; -1 when it cannot be told. */
static int64_t expected_by_workloads(const struct disruption_view *v)
{
	_cleanup_(map_freep) struct map *seen = map_new(NULL);
	int64_t sum = 0;

	for (size_t i = 0; i < v->pods.count; i++) {
		const char *uid = "";
		int64_t scale;

		if (!object_controller_of(v->pods.items[i]))
			continue; /* a pod on its own has no size to compare with */
		scale = v->scale_of(v->pods.items[i], &uid, v->user);
		if (scale < 0)
			return -1;
		if (map_has(seen, uid))
			continue;
		map_set(seen, uid, "");
		sum += scale;
	}
	return sum;
}

/* False: it cannot be told. */
static bool wishes(const struct disruption_view *v, int64_t *ret_expected, int64_t *ret_desired)
{
	const json_t *most = json_at(v->budget, "spec.maxUnavailable"),
		     *least = json_at(v->budget, "spec.minAvailable");
	int64_t expected;

	if (!most && json_is_integer(least)) {
		*ret_expected = (int64_t)v->pods.count;
		*ret_desired = json_integer_value(least);
		return true;
	}
	expected = expected_by_workloads(v);
	if (expected < 0)
		return false;
	*ret_expected = expected;
	*ret_desired = most  ? MAX(expected - workload_scaled_value(most, expected, true), (int64_t)0) :
		       least ? workload_scaled_value(least, expected, true) :
			       0;
	return true;
}

static int64_t healthy(const struct disruption_view *v, const json_t *grants)
{
	int64_t n = 0;

	for (size_t i = 0; i < v->pods.count; i++) {
		const json_t *pod = v->pods.items[i];

		n += !object_deleting(pod) && !json_object_get(grants, object_name(pod)) && pod_ready(pod);
	}
	return n;
}

void disruption_decide(const struct disruption_view *v, struct plan *plan)
{
	_cleanup_json_ json_t *status = json_object(), *grants = standing_grants(v, plan);
	json_t *conditions = json_deep_copy(json_at(v->budget, "status.conditions"));
	int64_t expected = 0, desired = 0, current = healthy(v, grants), allowed;
	bool known = wishes(v, &expected, &desired);
	char now[CLOCK_RFC3339_SIZE];

	allowed = known && expected > 0 ? MAX(current - desired, (int64_t)0) : 0;
	clock_format_rfc3339(v->now_s, now);
	if (!conditions)
		conditions = json_array();
	object_set_condition(conditions, "DisruptionAllowed", allowed ? "True" : "False",
			     !known  ? "SyncFailed" :
			     allowed ? "SufficientPods" :
				       "InsufficientPods",
			     known ? "" : "the size of a selected pod's controller cannot be told", now);
	for (size_t i = 0; i < json_array_size(conditions); i++) {
		json_t *c = json_array_get(conditions, i);

		if (!json_str(c, "message"))
			json_object_set_new(c, "message", json_string("")); /* required by the API */
	}
	json_object_set_new(status, "disruptionsAllowed", json_integer(allowed));
	json_object_set_new(status, "currentHealthy", json_integer(current));
	json_object_set_new(status, "desiredHealthy", json_integer(desired));
	json_object_set_new(status, "expectedPods", json_integer(expected));
	json_object_set_new(status, "observedGeneration", json_integer(json_int(v->budget, "metadata.generation", 0)));
	if (json_object_size(grants))
		json_object_set(status, "disruptedPods", grants);
	json_object_set_new(status, "conditions", conditions);
	workload_write_status(plan, v->budget, "policy/v1", "poddisruptionbudgets", status);
}
