// SPDX-License-Identifier: GPL-2.0-or-later
/* Pods: binding to a node, eviction under PodDisruptionBudgets. */
#include <stdio.h>
#include <string.h>

#include "apiserver/auth/node_authz.h"
#include "apiserver/registry/registry.h"
#include "base/clock.h"
#include "kube/object.h"
#include "kube/selector.h"

/* Binding */

static json_t *binding_conflict(const char *name, const char *fmt, const char *arg)
{
	static const struct schema_resource binding = { .group = "", .plural = "pods/binding" };
	_cleanup_free_ char *text = str_printf(fmt, name, arg);
	return status_conflict(&binding, name, text);
}

static void copy_map(json_t *pod, const json_t *binding, const char *field)
{
	json_t *from = json_object_get(json_object_get(binding, "metadata"), field);
	json_t *metadata = json_object_get(pod, "metadata"), *to = json_object_get(metadata, field);
	if (!json_object_size(from))
		return;
	if (!to) {
		to = json_object();
		json_object_set_new(metadata, field, to);
	}
	json_object_update(to, from);
}

/* PodTopologyLabels (KEP-4742): a pod says in which zone and region its node is. */
static void copy_topology(struct registry *g, json_t *pod, const char *node)
{
	static const char *const keys[] = { "topology.kubernetes.io/zone", "topology.kubernetes.io/region" };
	struct store_object *o = store_latest(g->store, g->nodes->id, node);
	_cleanup_json_ json_t *v = o ? entry_parse(o) : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(object_labels(v), keys[i]);
		if (!value)
			continue;
		if (!object_labels(pod))
			json_set(pod, "metadata.labels", json_object());
		json_object_set(object_labels(pod), keys[i], value);
	}
}

static json_t *bind_pod(struct call *c, const json_t *binding, const char *name)
{
	struct registry *g = c->g;
	struct store_object *latest;
	const char *kind = json_str_or(binding, "target.kind", ""), *node = json_str_or(binding, "target.name", "");
	char now[CLOCK_RFC3339_SIZE];
	json_t *status = namespace_admit(g, g->pods, c->u.ns, name);
	if (!status)
		status = registry_find(g, g->pods, c->u.ns, name, &latest);
	if (status)
		return status;
	if (*kind && !str_eq(kind, "Node"))
		return status_for(c->r, name, 422, "Invalid", "Binding \"%s\" is invalid: target.kind: Unsupported value: \"%s\": supported "
				  "values: \"Node\", \"<empty>\"", name, kind);
	if (!*node)
		return status_for(c->r, name, 422, "Invalid", "Binding \"%s\" is invalid: target.name: Required value", name);
	_cleanup_json_ json_t *pod = entry_parse(latest);
	const char *uid = object_uid(binding);
	if (*uid && !str_eq(uid, object_uid(pod)))
		return binding_conflict(name, "Precondition failed: UID of pod %s is %s", object_uid(pod));
	if (object_deleting(pod))
		return binding_conflict(name, "pod %s is being deleted, cannot be assigned to a host", "");
	if (!str_empty(json_str(pod, "spec.nodeName")))
		return binding_conflict(name, "pod %s is already assigned to node \"%s\"", json_str(pod, "spec.nodeName"));
	if (json_array_size(json_at(pod, "spec.schedulingGates")))
		return binding_conflict(name, "pod %s has non-empty .spec.schedulingGates", "");
	json_set_str(pod, "spec.nodeName", node);
	json_unset(pod, "status.nominatedNodeName");
	json_t *conditions = json_at(pod, "status.conditions");
	if (!conditions) {
		conditions = json_array();
		json_set(pod, "status.conditions", conditions);
	}
	clock_format_rfc3339(clock_wall_s(), now);
	object_set_condition(conditions, "PodScheduled", "True", NULL, NULL, now);
	copy_map(pod, binding, "annotations");
	copy_map(pod, binding, "labels");
	copy_topology(g, pod, node);
	return registry_put(g, g->pods, latest, pod, c->dry_run, write_answer_success_created, c);
}

void pod_binding(struct call *c)
{
	_cleanup_json_ json_t *binding = NULL;
	json_t *status = body_kind(c, schema_kind_find("v1", "Binding"), &binding);
	const char *name = c->u.name;
	call_ref(c);
	if (!status && !*name)
		name = object_name(binding);
	if (!status && *object_name(binding) && !str_eq(object_name(binding), name))
		status = status_bad_request("name in URL does not match name in Binding object");
	if (!status)
		status = bind_pod(c, binding, name);
	write_refused(c, status);
}

/* Eviction */

enum { STALE_RETRY_S = 10, MAX_DISRUPTED_PODS = 2000 };

static json_t *too_many(const char *pdb, const char *fmt, ...) _printf_(2, 3);
static json_t *too_many(const char *pdb, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf cause = { 0 };
	va_list ap;
	json_t *s = status_new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.");
	strbuf_addf(&cause, "The disruption budget %s ", pdb);
	va_start(ap, fmt);
	strbuf_vaddf(&cause, fmt, ap);
	va_end(ap);
	status_add_cause(s, "DisruptionBudget", cause.data, NULL);
	return s;
}

/* The one budget that covers the pod. A pod without labels is covered by none. */
static json_t *find_budget(struct registry *g, const struct store_object *pod, const json_t *value, struct store_object **ret,
			   json_t **ret_value)
{
	_cleanup_free_ char *prefix = mem_strndup(pod->key, entry_namespace_len(pod) + 1);
	struct store_iter it = store_iterate(g->store, g->pdbs->id, prefix);
	for (struct store_object *o; json_object_size(object_labels(value)) && (o = store_next(&it));) {
		struct store_object *latest = store_latest(g->store, g->pdbs->id, o->key);
		json_t *v = latest ? entry_parse(latest) : NULL;
		struct selector *s = v ? selector_from_label_selector(json_at(v, "spec.selector"), NULL) : NULL;
		bool covers = s && selector_matches(s, pod->labels);
		selector_free(s);
		if (!covers) {
			json_decref(v);
			continue;
		}
		if (*ret) {
			json_decref(v);
			return status_new(500, NULL, "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
					  "not support.");
		}
		*ret = latest;
		*ret_value = v;
	}
	return NULL;
}

static json_t *budget_forbids(const char *name, const char *why)
{
	static const struct schema_resource budget = { .group = "policy", .plural = "poddisruptionbudget" };
	return status_forbidden(&budget, name, why);
}

/* Why not, or NULL: one more may go. */
static json_t *check_budget(const char *name, const json_t *v)
{
	const json_t *condition = object_condition(v, "DisruptionAllowed");
	int64_t allowed = json_int(v, "status.disruptionsAllowed", 0);
	if (json_int(v, "status.observedGeneration", 0) < json_int(v, "metadata.generation", 0)) {
		json_t *s = too_many(name, "is still being processed by the server.");
		status_set_retry(s, STALE_RETRY_S);
		return s;
	}
	if (allowed < 0)
		return budget_forbids(name, "pdb disruptions allowed is negative");
	if (json_object_size(json_at(v, "status.disruptedPods")) > MAX_DISRUPTED_PODS)
		return budget_forbids(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
	if (allowed > 0)
		return NULL;
	if (str_eq(json_str(condition, "status"), "False") && str_eq(json_str(condition, "reason"), "SyncFailed"))
		return too_many(name, "does not allow evicting pods currently because it failed sync: %s",
				json_str_or(condition, "message", ""));
	return too_many(name, "needs %lld healthy pods and has %lld currently", (long long)json_int(v, "status.desiredHealthy", 0),
			(long long)json_int(v, "status.currentHealthy", 0));
}

/* Takes one disruption from the budget. */
static json_t *use_budget(struct registry *g, struct store_object *budget, json_t *v, const char *pod, bool dry_run)
{
	char now[CLOCK_RFC3339_SIZE];
	int64_t left = json_int(v, "status.disruptionsAllowed", 0) - 1;
	json_t *status = check_budget(entry_name(budget), v), *conditions = json_at(v, "status.conditions");
	if (status)
		return status;
	clock_format_rfc3339(clock_wall_s(), now);
	json_set(v, "status.disruptionsAllowed", json_integer(left));
	if (!left && conditions)
		object_set_condition(conditions, "DisruptionAllowed", "False", "InsufficientPods", "", now);
	if (!json_at(v, "status.disruptedPods"))
		json_set(v, "status.disruptedPods", json_object());
	json_object_set_new(json_at(v, "status.disruptedPods"), pod, json_string(now));
	return registry_put(g, g->pdbs, budget, v, dry_run, NULL, NULL);
}

/* A pod that does not run, or is going already, disturbs nobody by going. */
static bool skips_budget(const json_t *pod)
{
	const char *phase = json_str_or(pod, "status.phase", "");
	return object_deleting(pod) || str_eq(phase, "Pending") || str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

/* A pod that is not ready counts for nothing in the budget (KEP-3017): it may go when that says so, or when there are enough without it. */
static bool is_not_counted(const json_t *pod, const json_t *budget)
{
	int64_t desired = json_int(budget, "status.desiredHealthy", 0);
	if (pod_ready(pod))
		return false;
	return str_eq(json_str(budget, "spec.unhealthyPodEvictionPolicy"), "AlwaysAllow") ||
	       (desired > 0 && json_int(budget, "status.currentHealthy", 0) >= desired);
}

/* The first of the two writes: the pod says why it goes. */
static json_t *mark_evicted(struct registry *g, struct store_object *latest, json_t *pod, bool dry_run)
{
	char now[CLOCK_RFC3339_SIZE];
	json_t *conditions = json_at(pod, "status.conditions");
	if (!conditions) {
		conditions = json_array();
		json_set(pod, "status.conditions", conditions);
	}
	clock_format_rfc3339(clock_wall_s(), now);
	object_set_condition(conditions, "DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting", now);
	return registry_put(g, g->pods, latest, pod, dry_run, NULL, NULL);
}

/* What the budget says, and the mark; then the pod may be deleted. */
static json_t *disrupt(struct registry *g, struct store_object *latest, json_t *pod, const struct delete_options *o)
{
	struct store_object *budget = NULL;
	_cleanup_json_ json_t *value = NULL;
	json_t *status = find_budget(g, latest, pod, &budget, &value);
	if (!status && budget && !is_not_counted(pod, value))
		status = use_budget(g, budget, value, entry_name(latest), o->dry_run);
	return status ? status : mark_evicted(g, latest, pod, o->dry_run);
}

void pod_eviction(struct call *c)
{
	struct registry *g = c->g;
	_cleanup_json_ json_t *eviction = NULL, *pod = NULL;
	struct store_object *latest = NULL;
	struct delete_options o = { 0 };
	bool gone;
	json_t *status = body_kind(c, schema_kind_find("policy/v1", "Eviction"), &eviction);
	call_ref(c);
	if (!status)
		status = namespace_admit(g, g->pods, c->u.ns, c->u.name);
	if (!status && *object_name(eviction) && !str_eq(object_name(eviction), c->u.name))
		status = status_bad_request("name in URL does not match name in Eviction object");
	if (!status)
		status = delete_options_from(c, json_object_get(eviction, "deleteOptions"), &o);
	if (!status)
		status = registry_find(g, g->pods, c->u.ns, c->u.name, &latest);
	if (!status) {
		pod = entry_parse(latest);
		status = node_restrict(g, g->pods, &c->user, NODE_EVICT, NULL, NULL, pod);
	}
	/* Before the budget is charged for a pod that then would not go. */
	if (!status)
		status = delete_preconditions(g->pods, latest, pod, &o);
	if (!status && !skips_budget(pod)) {
		status = disrupt(g, latest, pod, &o);
		if (!status && !o.dry_run)
			status = registry_find(g, g->pods, c->u.ns, c->u.name, &latest);
		o.resource_version = NULL; /* the version asked for was the one before the condition was set */
	}
	if (!status)
		status = registry_delete(g, g->pods, latest, &o, &gone, write_answer_success_created, c);
	write_refused(c, status);
}
