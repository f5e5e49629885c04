// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Node health and eviction, as functions of the cached objects and the time. A taint of ours stands exactly while the
 * condition behind it does; taints of others are never touched.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "controllers/node.h"
#include "kube/object.h"

/* Which condition status means which taint. */
static const struct {
	const char *condition, *status, *taint;
	bool evicts; /* NoExecute too */
} rules[] = {
	{ "Ready", "False", TAINT_NOT_READY, true },
	{ "Ready", "Unknown", TAINT_UNREACHABLE, true },
	{ "MemoryPressure", "True", "node.kubernetes.io/memory-pressure", false },
	{ "DiskPressure", "True", "node.kubernetes.io/disk-pressure", false },
	{ "PIDPressure", "True", "node.kubernetes.io/pid-pressure", false },
	{ "NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable", false },
};

static bool rule_holds(size_t i, const json_t *node)
{
	return str_eq(json_str(object_condition(node, rules[i].condition), "status"), rules[i].status);
}

static bool taint_is(const json_t *taint, const char *key, const char *effect)
{
	return str_eq(json_str(taint, "key"), key) && str_eq(json_str(taint, "effect"), effect);
}

/* Is this taint one that we set, and should it stand? -1: not ours. */
static int taint_wanted(const json_t *taint, const json_t *node)
{
	int wanted = -1;

	if (taint_is(taint, TAINT_UNSCHEDULABLE, "NoSchedule"))
		return json_bool(node, "spec.unschedulable", false);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (taint_is(taint, rules[i].taint, "NoSchedule") ||
		    (rules[i].evicts && taint_is(taint, rules[i].taint, "NoExecute")))
			wanted = MAX(wanted, 0) | rule_holds(i, node);
	}
	return wanted;
}

static void add_taint(json_t *taints, const char *key, const char *effect, int64_t now_s)
{
	char now[CLOCK_RFC3339_SIZE];
	json_t *taint;
	size_t i;

	json_array_foreach(taints, i, taint) {
		if (taint_is(taint, key, effect))
			return;
	}
	clock_format_rfc3339(now_s, now);
	json_array_append_new(taints, json_pack("{s:s, s:s, s:s}", "key", key, "effect", effect, "timeAdded", now));
}

json_t *nodelifecycle_taints(const json_t *node, int64_t now_s)
{
	json_t *taints = json_array(), *taint;
	size_t i;

	json_array_foreach(json_at(node, "spec.taints"), i, taint) {
		if (taint_wanted(taint, node))
			json_array_append(taints, taint);
	}
	if (json_bool(node, "spec.unschedulable", false))
		add_taint(taints, TAINT_UNSCHEDULABLE, "NoSchedule", now_s);
	for (i = 0; i < ARRAY_SIZE(rules); i++) {
		if (!rule_holds(i, node))
			continue;
		add_taint(taints, rules[i].taint, "NoSchedule", now_s);
		if (rules[i].evicts)
			add_taint(taints, rules[i].taint, "NoExecute", now_s);
	}
	return taints;
}

static void add_unknown(json_t *conditions, const json_t *node, const char *type, const char *now)
{
	const json_t *had = object_condition(node, type);
	json_t *condition;

	if (str_eq(json_str(had, "status"), "Unknown"))
		return;
	condition = json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", type, "status", "Unknown", "reason",
			      had ? "NodeStatusUnknown" : "NodeStatusNeverUpdated", "message",
			      had ? "Kubelet stopped posting node status." : "Kubelet never posted node status.",
			      "lastTransitionTime", now);
	json_object_set_new(condition, "lastHeartbeatTime",
			    json_string(json_str_or(had, "lastHeartbeatTime",
						    json_str_or(node, "metadata.creationTimestamp", now))));
	json_array_append_new(conditions, condition);
}

/* True when the node's conditions are about to become Unknown. */
static bool mark_unknown(const struct node_view *v, struct plan *plan)
{
	static const char *const types[] = { "Ready", "MemoryPressure", "DiskPressure", "PIDPressure" };
	_cleanup_json_ json_t *conditions = json_array();
	struct write *w;
	char now[CLOCK_RFC3339_SIZE];

	if (v->silent_s <= v->grace_s)
		return false;
	clock_format_rfc3339(v->now_s, now);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		add_unknown(conditions, v->node, types[i], now);
	if (!json_array_size(conditions))
		return false;
	w = plan_add(plan, "PATCH", kube_path("v1", "nodes", NULL, object_name(v->node), "status"),
		     json_pack("{s:{s:s}, s:{s:O}}", "metadata", "uid", object_uid(v->node), "status", "conditions",
			       conditions));
	w->content_type = KUBE_STRATEGIC_PATCH;
	w->flags |= WRITE_IGNORE_NOT_FOUND;
	write_says(w, v->node, "NodeNotReady", str_printf("Node %s status is now: NodeNotReady", object_name(v->node)),
		   NULL, NULL);
	return true;
}

static void set_taints(const struct node_view *v, struct plan *plan)
{
	_cleanup_json_ json_t *taints = nodelifecycle_taints(v->node, v->now_s);
	json_t *had = json_at(v->node, "spec.taints");

	if (had ? json_same(had, taints) : !json_array_size(taints))
		return;
	plan_merge_patch(plan, kube_path("v1", "nodes", NULL, object_name(v->node), NULL),
			 json_pack("{s:{s:s}, s:{s:O}}", "metadata", "resourceVersion",
				   object_resource_version(v->node), "spec", "taints", taints))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}

/* Nobody on a silent node can say so, and traffic must not go there. */
static void mark_pods_not_ready(const struct node_view *v, struct plan *plan)
{
	char now[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(v->now_s, now);
	for (size_t i = 0; i < v->pods.count; i++) {
		const json_t *pod = v->pods.items[i];
		struct write *w;

		if (!pod_ready(pod))
			continue;
		w = plan_add(plan, "PATCH", kube_path("v1", "pods", object_namespace(pod), object_name(pod), "status"),
			     json_pack("{s:{s:s}, s:{s:[{s:s, s:s, s:s}]}}", "metadata", "uid", object_uid(pod),
				       "status", "conditions", "type", "Ready", "status", "False", "lastTransitionTime",
				       now));
		w->content_type = KUBE_STRATEGIC_PATCH;
		w->flags |= WRITE_IGNORE_NOT_FOUND;
		plan_event(plan, pod, "Warning", "NodeNotReady", "Node is not ready");
	}
}

void nodelifecycle_decide(const struct node_view *v, struct plan *plan)
{
	const char *ready = json_str_or(object_condition(v->node, "Ready"), "status", "Unknown");

	if (object_deleting(v->node))
		return;
	plan_requeue(plan, MIN((int64_t)NODE_CHECK_S, MAX(v->grace_s / 4, (int64_t)1)) * 1000);
	if (mark_unknown(v, plan))
		return; /* the node comes back changed */
	set_taints(v, plan);
	if (str_eq(ready, "Unknown") && v->silent_s > v->grace_s)
		mark_pods_not_ready(v, plan);
}

bool toleration_tolerates(const json_t *toleration, const json_t *taint)
{
	const char *effect = json_str_or(toleration, "effect", ""), *key = json_str_or(toleration, "key", "");
	const char *op = json_str_or(toleration, "operator", "Equal");

	if (*effect && !str_eq(effect, json_str(taint, "effect")))
		return false;
	if (*key && !str_eq(key, json_str(taint, "key")))
		return false;
	if (str_eq(op, "Exists"))
		return true;
	return *key && str_eq(json_str_or(toleration, "value", ""), json_str_or(taint, "value", ""));
}

/* How long a pod stands one taint: -1 not at all, INT64_MAX for ever, else seconds. */
static int64_t tolerance_s(const json_t *pod, const json_t *taint)
{
	json_t *toleration;
	size_t i;

	json_array_foreach(json_at(pod, "spec.tolerations"), i, toleration) {
		if (toleration_tolerates(toleration, taint))
			return json_object_get(toleration, "tolerationSeconds") ?
				       MAX(json_int(toleration, "tolerationSeconds", 0), (int64_t)0) :
				       INT64_MAX;
	}
	return -1;
}

int64_t tainteviction_deadline_s(const json_t *pod, const json_t *taints, int64_t since_s)
{
	int64_t earliest = -1;
	json_t *taint;
	size_t i;

	json_array_foreach((json_t *)taints, i, taint) {
		int64_t stands_s, at_s;

		if (!str_eq(json_str(taint, "effect"), "NoExecute"))
			continue;
		stands_s = tolerance_s(pod, taint);
		if (stands_s == INT64_MAX)
			continue;
		at_s = stands_s < 0 ? since_s : object_time_s(taint, "timeAdded", since_s) + stands_s;
		if (earliest < 0 || at_s < earliest)
			earliest = at_s;
	}
	return earliest;
}

void node_disrupt_pod(struct plan *plan, const json_t *pod, const char *reason, const char *message, bool fail,
		      int grace_s, int64_t now_s)
{
	const char *ns = object_namespace(pod), *name = object_name(pod);
	json_t *status;
	struct write *w;
	char now[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(now_s, now);
	status = json_pack("{s:[{s:s, s:s, s:s, s:s, s:s}]}", "conditions", "type", "DisruptionTarget", "status",
			   "True", "reason", reason, "message", message, "lastTransitionTime", now);
	if (fail)
		json_object_set_new(status, "phase", json_string("Failed"));
	w = plan_add(plan, "PATCH", kube_path("v1", "pods", ns, name, "status"),
		     json_pack("{s:{s:s}, s:o}", "metadata", "uid", object_uid(pod), "status", status));
	w->content_type = KUBE_STRATEGIC_PATCH;
	w->flags |= WRITE_MAY_FAIL;
	plan_barrier(plan);
	plan_delete(plan, kube_path("v1", "pods", ns, name, NULL), object_uid(pod), grace_s, NULL)->flags |=
		WRITE_IGNORE_NOT_FOUND;
}
