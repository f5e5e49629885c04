// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ReplicaSet: what should be done about one set, as a plan. Pure: the view in, writes out. The order is upstream's:
 * claim pods, then create or delete, then the status of what was counted, which lags one sync behind what is created.
 */
#include "controllers/replicaset.h"

#include "base/clock.h"
#include "base/mem.h"
#include "kube/object.h"

static void manage(const struct replicaset_view *v, const struct object_list *active, struct plan *plan)
{
	int64_t wanted = json_int(v->set, "spec.replicas", 1);
	int64_t missing = wanted - (int64_t)active->count;
	const json_t *template = json_at(v->set, "spec.template");

	for (int64_t i = 0; i < MIN(missing, (int64_t)REPLICASET_BURST); i++)
		workload_create_pod(plan, v->set, workload_pod(v->set, v->api_version, v->kind, template, NULL));
	if (missing < 0) {
		_cleanup_object_list_ struct object_list ranked = { 0 };

		for (size_t i = 0; i < active->count; i++)
			object_list_add(&ranked, active->items[i]);
		workload_rank_for_deletion(&ranked, &v->related, v->now_s);
		for (int64_t i = 0; i < MIN(-missing, (int64_t)REPLICASET_BURST); i++)
			workload_delete_pod(plan, v->set, ranked.items[i]);
	}
}

/* The condition ReplicaFailure stands exactly while the last attempt to create or delete failed. */
static void set_failure_condition(const struct replicaset_view *v, json_t *status)
{
	json_t *conditions = json_deep_copy(json_at(v->set, "status.conditions")), *condition;
	char now[CLOCK_RFC3339_SIZE];
	size_t i;

	if (!conditions)
		conditions = json_array();
	if (v->failed_reason) {
		if (!object_condition_true(v->set, "ReplicaFailure")) {
			clock_format_rfc3339(v->now_s, now);
			object_set_condition(conditions, "ReplicaFailure", "True", v->failed_reason, v->failed_message,
					     now);
		}
	} else {
		json_array_foreach(conditions, i, condition) {
			if (str_eq(json_str(condition, "type"), "ReplicaFailure")) {
				json_array_remove(conditions, i);
				break;
			}
		}
	}
	if (json_array_size(conditions))
		json_object_set(status, "conditions", conditions);
	json_decref(conditions);
}

/* Counts that are 0 are left out, as the API server writes them; replicas always stands. */
static void set_count(json_t *status, const char *field, int64_t n)
{
	if (n)
		json_object_set_new(status, field, json_integer(n));
}

static void decide_status(const struct replicaset_view *v, const struct object_list *active, int64_t terminating,
			  struct plan *plan)
{
	const json_t *template_labels = json_at(v->set, "spec.template.metadata.labels");
	int64_t min_ready_s = json_int(v->set, "spec.minReadySeconds", 0);
	int64_t labeled = 0, ready = 0, available = 0;
	_cleanup_json_ json_t *status = json_object();

	for (size_t i = 0; i < active->count; i++) {
		const json_t *pod = active->items[i];
		int64_t left_s = pod_available_in_s(pod, min_ready_s, v->now_s);

		labeled += map_selects(template_labels, object_labels(pod));
		ready += left_s >= 0;
		available += left_s == 0;
		if (left_s > 0)
			plan_requeue(plan, left_s * 1000);
	}
	json_object_set_new(status, "replicas", json_integer((json_int_t)active->count));
	set_count(status, "fullyLabeledReplicas", labeled);
	set_count(status, "readyReplicas", ready);
	set_count(status, "availableReplicas", available);
	if (!str_eq(v->kind, "ReplicationController"))
		json_object_set_new(status, "terminatingReplicas", json_integer(terminating));
	set_count(status, "observedGeneration", json_int(v->set, "metadata.generation", 0));
	set_failure_condition(v, status);
	workload_write_status(plan, v->set, v->api_version, v->plural, status);
}

void replicaset_decide(const struct replicaset_view *v, struct plan *plan)
{
	const struct claimant claimant = { v->set, v->api_version, v->kind, v->plural, v->selector, "v1", "pods" };
	_cleanup_object_list_ struct object_list living = { 0 }, owned = { 0 }, active = { 0 };
	int64_t terminating = 0;

	for (size_t i = 0; i < v->candidates.count; i++) {
		if (!pod_finished(v->candidates.items[i]))
			object_list_add(&living, v->candidates.items[i]);
	}
	if (workload_claim(&claimant, &living, &owned, plan))
		return; /* the caches will show the new owners and bring this key back */
	for (size_t i = 0; i < owned.count; i++) {
		if (pod_active(owned.items[i]))
			object_list_add(&active, owned.items[i]);
		else
			terminating++;
	}
	if (v->may_manage && !object_deleting(v->set))
		manage(v, &active, plan);
	decide_status(v, &active, terminating, plan);
}
