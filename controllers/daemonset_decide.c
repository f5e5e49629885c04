// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * DaemonSet: what should be done about one set, as a plan: a pod on every node that its template allows, none
 * elsewhere, and old pods replaced within maxUnavailable or maxSurge.
 */
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/daemonset.h"
#include "controllers/node.h"
#include "controllers/nodefit.h"
#include "kube/object.h"

enum { BURST = 250 };

/* A node and the set's pods on it. */
struct place {
	const json_t *node;
	struct object_list pods;        /* oldest first, ended ones included */
	bool should_run, may_stay;
};
struct rollout {
	const struct daemonset_view *v;
	const json_t *set;
	struct plan *plan;
	const char *hash;               /* of the current template */
	struct place *places;
	size_t count;
	int64_t min_ready_s;
	int64_t created, deleted;
};

static void add_toleration(json_t *spec, const char *key, const char *effect)
{
	json_t *tolerations = json_object_get(spec, "tolerations");

	if (!tolerations) {
		tolerations = json_array();
		json_object_set_new(spec, "tolerations", tolerations);
	}
	json_array_append_new(tolerations,
			      json_pack("{s:s, s:s, s:s}", "key", key, "operator", "Exists", "effect", effect));
}

json_t *daemonset_pod_spec(const json_t *set, const char *node)
{
	json_t *spec = json_deep_copy(json_at(set, "spec.template.spec"));

	add_toleration(spec, TAINT_NOT_READY, "NoExecute");
	add_toleration(spec, TAINT_UNREACHABLE, "NoExecute");
	add_toleration(spec, "node.kubernetes.io/disk-pressure", "NoSchedule");
	add_toleration(spec, "node.kubernetes.io/memory-pressure", "NoSchedule");
	add_toleration(spec, "node.kubernetes.io/pid-pressure", "NoSchedule");
	add_toleration(spec, TAINT_UNSCHEDULABLE, "NoSchedule");
	if (json_bool(spec, "hostNetwork", false))
		add_toleration(spec, "node.kubernetes.io/network-unavailable", "NoSchedule");
	if (node)
		json_set(spec, "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
			 json_pack("{s:[{s:[{s:s, s:s, s:[s]}]}]}", "nodeSelectorTerms", "matchFields", "key",
				   "metadata.name", "operator", "In", "values", node));
	return spec;
}

static const char *node_of(const json_t *pod)
{
	const char *node = json_str(pod, "spec.nodeName");

	return str_empty(node) ? nodefit_target(json_object_get(pod, "spec")) : node;
}

static bool updated(const struct rollout *r, const json_t *pod)
{
	return str_eq(map_str(object_labels(pod), REVISION_HASH_LABEL), r->hash);
}

static bool available(const struct rollout *r, const json_t *pod)
{
	int64_t left_s = pod_available_in_s(pod, r->min_ready_s, r->v->now_s);

	if (left_s > 0)
		plan_requeue(r->plan, left_s * 1000);
	return left_s == 0;
}

static void create_on(struct rollout *r, const struct place *p)
{
	_cleanup_free_ char *generation = NULL;
	json_t *pod;

	if (r->created >= BURST)
		return;
	r->created++;
	pod = workload_pod(r->set, "apps/v1", "DaemonSet", json_at(r->set, "spec.template"), NULL);
	json_object_set_new(pod, "spec", daemonset_pod_spec(r->set, object_name(p->node)));
	if (!object_labels(pod))
		json_set(pod, "metadata.labels", json_object());
	json_object_set_new(object_labels(pod), REVISION_HASH_LABEL, json_string(r->hash));
	generation = mem_strdup(map_str(object_annotations(r->set), "deprecated.daemonset.template.generation"));
	if (!generation)
		generation = str_printf("%lld", (long long)json_int(r->set, "metadata.generation", 1));
	json_object_set_new(object_labels(pod), "pod-template-generation", json_string(generation));
	workload_create_pod(r->plan, r->set, pod);
}

static void delete_pod(struct rollout *r, const json_t *pod)
{
	if (object_deleting(pod) || r->deleted >= BURST)
		return;
	r->deleted++;
	workload_delete_pod(r->plan, r->set, pod);
}

/* Ended daemons are removed, to be made anew. True when one was, or is on its way. */
static bool remove_ended(struct rollout *r, const struct place *p)
{
	bool any = false;

	for (size_t i = 0; i < p->pods.count; i++) {
		const json_t *pod = p->pods.items[i];
		bool failed = str_eq(json_str(pod, "status.phase"), "Failed");

		if (!pod_finished(pod))
			continue;
		any = true;
		if (object_deleting(pod))
			continue;
		plan_event(r->plan, r->set, failed ? "Warning" : "Normal",
			   failed ? "FailedDaemonPod" : "SucceededDaemonPod",
			   "Found %s daemon pod %s/%s on node %s, will try to %s it", failed ? "failed" : "succeeded",
			   object_namespace(pod), object_name(pod), object_name(p->node), failed ? "kill" : "delete");
		delete_pod(r, pod);
	}
	return any;
}

/* The newest pod of the current template and the oldest of another, of those that live. */
static void old_and_new(const struct rollout *r, const struct place *p, json_t **ret_old, json_t **ret_new)
{
	*ret_old = *ret_new = NULL;
	for (size_t i = 0; i < p->pods.count; i++) {
		json_t *pod = p->pods.items[i];

		if (!pod_active(pod))
			continue;
		if (updated(r, pod))
			*ret_new = *ret_new ? *ret_new : pod;
		else if (!*ret_old)
			*ret_old = pod;
	}
}

static bool surging(const struct rollout *r)
{
	const json_t *surge = json_at(r->set, "spec.updateStrategy.rollingUpdate.maxSurge");

	return str_eq(json_str(r->set, "spec.updateStrategy.type"), "RollingUpdate") && surge &&
	       workload_scaled_value(surge, 100, true) > 0;
}

/* One node: the right number of pods, whatever their template. */
static void manage_place(struct rollout *r, const struct place *p)
{
	json_t *old, *new;
	bool kept = false;

	if (!p->may_stay) {
		for (size_t i = 0; i < p->pods.count; i++)
			delete_pod(r, p->pods.items[i]);
		return;
	}
	if (remove_ended(r, p))
		return;
	if (!p->pods.count) {
		if (p->should_run)
			create_on(r, p);
		return;
	}
	old_and_new(r, p, &old, &new);
	if (surging(r) && old && new) {
		if (available(r, new))
			delete_pod(r, old);
		return;
	}
	for (size_t i = 0; i < p->pods.count; i++) { /* of several only the oldest stays */
		if (!pod_active(p->pods.items[i]))
			continue;
		if (kept)
			delete_pod(r, p->pods.items[i]);
		kept = true;
	}
}

static int64_t desired(const struct rollout *r)
{
	int64_t n = 0;

	for (size_t i = 0; i < r->count; i++)
		n += r->places[i].should_run;
	return n;
}

/* Deletes old pods, those that are not available first, as long as maxUnavailable allows. */
static void replace_by_deleting(struct rollout *r)
{
	const json_t *setting = json_at(r->set, "spec.updateStrategy.rollingUpdate.maxUnavailable");
	int64_t budget = setting ? workload_scaled_value(setting, desired(r), true) : 1;
	_cleanup_object_list_ struct object_list good = { 0 };

	for (size_t i = 0; i < r->count; i++) {
		json_t *old, *new;

		if (!r->places[i].should_run)
			continue;
		old_and_new(r, &r->places[i], &old, &new);
		if (old && !new && available(r, old)) {
			object_list_add(&good, old);
			continue;
		}
		if (new && available(r, new))
			continue;
		budget--;
		if (old && !new)
			delete_pod(r, old);
	}
	for (size_t i = 0; i < good.count && budget > 0; i++, budget--)
		delete_pod(r, good.items[i]);
}

/* Makes new pods beside old ones, as many as maxSurge allows; beside one that is not available at once. */
static void replace_by_surging(struct rollout *r)
{
	const json_t *setting = json_at(r->set, "spec.updateStrategy.rollingUpdate.maxSurge");
	int64_t budget = workload_scaled_value(setting, desired(r), true);

	for (size_t i = 0; i < r->count; i++) {
		json_t *old, *new;

		old_and_new(r, &r->places[i], &old, &new);
		budget -= r->places[i].should_run && old && new;
	}
	for (size_t i = 0; i < r->count; i++) {
		json_t *old, *new;

		if (!r->places[i].should_run)
			continue;
		old_and_new(r, &r->places[i], &old, &new);
		if (!old || new)
			continue;
		if (!available(r, old))
			create_on(r, &r->places[i]);
		else if (budget-- > 0)
			create_on(r, &r->places[i]);
	}
}

static void put(json_t *status, const char *field, int64_t n, bool always)
{
	if (n || always)
		json_object_set_new(status, field, json_integer(n));
}

static void write_status(struct rollout *r)
{
	int64_t scheduled = 0, misscheduled = 0, ready = 0, able = 0, fresh = 0, want = desired(r);
	_cleanup_json_ json_t *status = json_object();
	json_t *collisions = json_at(r->set, "status.collisionCount"),
	       *conditions = json_at(r->set, "status.conditions");

	for (size_t i = 0; i < r->count; i++) {
		const struct place *p = &r->places[i];

		misscheduled += !p->should_run && p->pods.count;
		if (!p->should_run || !p->pods.count)
			continue;
		scheduled++;
		ready += pod_ready(p->pods.items[0]);
		able += available(r, p->pods.items[0]);
		fresh += updated(r, p->pods.items[0]);
	}
	put(status, "currentNumberScheduled", scheduled, true);
	put(status, "numberMisscheduled", misscheduled, true);
	put(status, "desiredNumberScheduled", want, true);
	put(status, "numberReady", ready, true);
	put(status, "observedGeneration", json_int(r->set, "metadata.generation", 0), false);
	put(status, "updatedNumberScheduled", fresh, false);
	put(status, "numberAvailable", able, false);
	put(status, "numberUnavailable", want - able, false);
	if (collisions)
		json_object_set(status, "collisionCount", collisions);
	if (conditions)
		json_object_set(status, "conditions", conditions);
	workload_write_status(r->plan, r->set, "apps/v1", "daemonsets", status);
}

static void find_places(struct rollout *r, struct object_list *pods)
{
	_cleanup_(map_freep) struct map *by_name = map_new(NULL);
	_cleanup_json_ json_t *spec = daemonset_pod_spec(r->set, NULL);
	const char *only = json_str_or(spec, "nodeName", "");

	r->places = mem_new_n(struct place, r->v->nodes.count + 1);
	for (size_t i = 0; i < r->v->nodes.count; i++) {
		const json_t *node = r->v->nodes.items[i];
		bool chosen = (!*only || str_eq(only, object_name(node))) && nodefit_selects(spec, node);
		struct place *p = &r->places[r->count++];

		p->node = node;
		p->should_run = chosen && nodefit_tolerates(spec, node, "NoSchedule", "NoExecute");
		p->may_stay = chosen && nodefit_tolerates(spec, node, "NoExecute", NULL);
		map_set(by_name, object_name(node), p);
	}
	object_list_sort_by_age(pods);
	for (size_t i = 0; i < pods->count; i++) {
		const char *node = node_of(pods->items[i]);
		struct place *p = node ? map_get(by_name, node) : NULL;

		if (p)
			object_list_add(&p->pods, pods->items[i]);
		else if (node && str_empty(json_str(pods->items[i], "spec.nodeName")) && r->v->may_manage)
			delete_pod(r, pods->items[i]); /* meant for a node that is gone, and never bound */
	}
}

static void roll(struct rollout *r)
{
	for (size_t i = 0; i < r->count; i++)
		manage_place(r, &r->places[i]);
	/* One thing at a time: with the numbers right, templates may be. */
	if (r->created || r->deleted || !str_eq(json_str(r->set, "spec.updateStrategy.type"), "RollingUpdate"))
		return;
	if (surging(r))
		replace_by_surging(r);
	else
		replace_by_deleting(r);
}

static void truncate_history(struct rollout *r, const struct object_list *pods, const json_t *current)
{
	_cleanup_json_ json_t *live = json_array();

	json_array_append_new(live, json_string(object_name(current)));
	for (size_t i = 0; i < pods->count; i++) {
		const char *hash = map_str(object_labels(pods->items[i]), REVISION_HASH_LABEL);
		_cleanup_free_ char *name = str_printf("%s-%s", object_name(r->set), hash ? hash : "");

		json_array_append_new(live, json_string(name));
	}
	revision_truncate(&r->v->revisions, live, json_int(r->set, "spec.revisionHistoryLimit", 10), r->plan);
}

void daemonset_decide(const struct daemonset_view *v, struct plan *plan)
{
	const struct claimant claimant = { v->set, "apps/v1", "DaemonSet", "daemonsets", v->selector, "v1", "pods" };
	const struct revision_owner owner = { v->set, "apps/v1", "DaemonSet", REVISION_HASH_LABEL };
	struct object_list revisions = v->revisions;
	_cleanup_object_list_ struct object_list pods = { 0 };
	struct rollout r = { .v = v, .set = v->set, .plan = plan };
	json_t *current;

	if (workload_claim(&claimant, &v->candidates, &pods, plan) || object_deleting(v->set))
		return;
	if (!revision_keep_current(&owner, &revisions, plan, &current))
		return;
	r.hash = map_str(object_labels(current), REVISION_HASH_LABEL);
	r.min_ready_s = json_int(v->set, "spec.minReadySeconds", 0);
	find_places(&r, &pods);
	if (v->may_manage)
		roll(&r);
	truncate_history(&r, &pods, current);
	write_status(&r);
	for (size_t i = 0; i < r.count; i++)
		object_list_done(&r.places[i].pods);
	free(r.places);
}
