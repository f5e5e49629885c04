// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The disruption controller: gathers the pods of a budget and the sizes of their workloads for disruption_decide().
 */
#include "controllers/disruption.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/labelsets.h"
#include "kube/object.h"

static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	_cleanup_object_list_ struct object_list budgets = { 0 };

	labelsets_change(c->state, old, new);
	if (!c->ctx->synced)
		return;
	object_list_add_index(&budgets, controller_informer(c, INFORMER_PDBS), INDEX_NAMESPACE,
			      object_namespace(new ? new : old));
	for (size_t i = 0; i < budgets.count; i++) {
		_cleanup_(selector_freep) struct selector *s =
			selector_from_label_selector(json_at(budgets.items[i], "spec.selector"), NULL);

		if (s && ((old && selector_matches(s, object_labels(old))) ||
			  (new && selector_matches(s, object_labels(new)))))
			controller_enqueue_object(c, budgets.items[i]);
	}
}

static const json_t *owner_in(const struct controller *c, enum informer_id id, const char *kind, const json_t *child)
{
	const json_t *owner = object_controller_of(child), *found;

	if (!owner || !str_eq(json_str(owner, "kind"), kind))
		return NULL;
	found = informer_get(controller_informer(c, id), object_namespace(child), json_str_or(owner, "name", ""));
	return found && str_eq(object_uid(found), json_str(owner, "uid")) ? found : NULL;
}

static int64_t scale_of(const json_t *pod, const char **ret_uid, void *user)
{
	static const struct {
		enum informer_id id;
		const char *kind;
	} owners[] = {
		{ INFORMER_REPLICASETS, "ReplicaSet" },
		{ INFORMER_STATEFULSETS, "StatefulSet" },
		{ INFORMER_REPLICATIONCONTROLLERS, "ReplicationController" },
	};
	const json_t *workload = NULL, *deployment;

	for (size_t i = 0; i < ARRAY_SIZE(owners) && !workload; i++)
		workload = owner_in(user, owners[i].id, owners[i].kind, pod);
	if (!workload)
		return -1;
	deployment = owner_in(user, INFORMER_DEPLOYMENTS, "Deployment", workload);
	if (deployment)
		workload = deployment;
	*ret_uid = object_uid(workload);
	return json_int(workload, "spec.replicas", 1);
}

/* Sizes of workloads stand in budgets. */
static void on_workload(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	_cleanup_object_list_ struct object_list budgets = { 0 };

	if (!c->ctx->synced || (old && new && json_int(old, "spec.replicas", 1) == json_int(new, "spec.replicas", 1)))
		return;
	object_list_add_index(&budgets, controller_informer(c, INFORMER_PDBS), INDEX_NAMESPACE,
			      object_namespace(new ? new : old));
	for (size_t i = 0; i < budgets.count; i++)
		controller_enqueue_object(c, budgets.items[i]);
}

static void disruption_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *budget = controller_get(c, INFORMER_PDBS, key);
	struct disruption_view view = { .budget = budget, .scale_of = scale_of, .user = c, .now_s = clock_wall_s() };
	_cleanup_(selector_freep) struct selector *selector = NULL;

	if (!budget || object_deleting(budget))
		return;
	selector = selector_from_label_selector(json_at(budget, "spec.selector"), NULL);
	if (selector)
		labelsets_find_selected(c->state, controller_informer(c, INFORMER_PODS), object_namespace(budget),
					selector, &view.pods);
	disruption_decide(&view, plan);
	object_list_done(&view.pods);
}

static void disruption_stop(struct controller *c)
{
	labelsets_free(c->state);
}

static void disruption_start(struct controller *c)
{
	c->state = labelsets_new();
	controller_watch(c, INFORMER_PODS, on_pod);
	controller_watch(c, INFORMER_DEPLOYMENTS, on_workload);
	controller_watch(c, INFORMER_REPLICASETS, on_workload);
	controller_watch(c, INFORMER_STATEFULSETS, on_workload);
	controller_watch(c, INFORMER_REPLICATIONCONTROLLERS, on_workload);
}

const struct controller_ops disruption_controller = {
	.name = "disruption",
	.primary = INFORMER_PDBS,
	.needs = NEEDS(INFORMER_PDBS) | NEEDS(INFORMER_PODS) | NEEDS(INFORMER_DEPLOYMENTS) |
		 NEEDS(INFORMER_REPLICASETS) | NEEDS(INFORMER_STATEFULSETS) | NEEDS(INFORMER_REPLICATIONCONTROLLERS),
	.parallel = 2,
	.start = disruption_start,
	.stop = disruption_stop,
	.sync = disruption_sync,
};
