// SPDX-License-Identifier: GPL-2.0-or-later
/* The DaemonSet controller: gathers a set, its pods, its revisions and all nodes for daemonset_decide(). */
#include "controllers/daemonset.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

static char *key_of_owner(const struct controller *c, const json_t *child)
{
	const json_t *owner = object_controller_of(child), *set;

	if (!owner || !str_eq(json_str(owner, "kind"), "DaemonSet"))
		return NULL;
	set = informer_get(controller_informer(c, INFORMER_DAEMONSETS), object_namespace(child),
			   json_str_or(owner, "name", ""));
	return set && str_eq(object_uid(set), json_str(owner, "uid")) ? object_key(set) : NULL;
}

static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *pod = new ? new : old;
	_cleanup_free_ char *key = key_of_owner(c, pod);

	if (!key)
		return;
	if (!old)
		expectations_created(c->expected, key);
	if (!new || object_deleting(new))
		expectations_deleted(c->expected, key, object_uid(pod));
	controller_enqueue(c, key);
}

static void on_revision(const json_t *old, const json_t *new, void *user)
{
	_cleanup_free_ char *key = key_of_owner(user, new ? new : old);

	if (key)
		controller_enqueue(user, key);
}

/* What a set looks at: labels, taints. The rest of a node changes all the time. */
static void on_node(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *set;
	size_t it = 0;

	if (old && new) {
		json_t *before = json_at(old, "spec.taints"), *after = json_at(new, "spec.taints");

		if (json_same(object_labels(old), object_labels(new)) &&
		    (before && after ? json_same(before, after) : before == after))
			return;
	}
	while ((set = informer_next(controller_informer(c, INFORMER_DAEMONSETS), &it)))
		controller_enqueue_object(c, set);
}

static void daemonset_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *set = controller_get(c, INFORMER_DAEMONSETS, key);
	const struct informer *pods = controller_informer(c, INFORMER_PODS);
	_cleanup_(selector_freep) struct selector *selector = NULL;
	size_t it = 0;

	if (!set) {
		expectations_forget(c->expected, key);
		return;
	}
	selector = selector_from_label_selector(json_at(set, "spec.selector"), NULL);
	if (!selector)
		return;

	struct daemonset_view view = { .set = set, .selector = selector,
				       .may_manage = controller_expectations_met(c, key), .now_s = clock_wall_s() };

	object_list_add_index(&view.candidates, pods, INDEX_OWNER, object_uid(set));
	object_list_add_index(&view.candidates, pods, INDEX_ORPHAN, object_namespace(set));
	object_list_add_index(&view.revisions, controller_informer(c, INFORMER_CONTROLLERREVISIONS), INDEX_OWNER,
			      object_uid(set));
	for (json_t *node; (node = informer_next(controller_informer(c, INFORMER_NODES), &it));)
		object_list_add(&view.nodes, node);
	daemonset_decide(&view, plan);
	object_list_done(&view.candidates);
	object_list_done(&view.revisions);
	object_list_done(&view.nodes);
}

static void daemonset_start(struct controller *c)
{
	controller_watch(c, INFORMER_PODS, on_pod);
	controller_watch(c, INFORMER_CONTROLLERREVISIONS, on_revision);
	controller_watch(c, INFORMER_NODES, on_node);
}

const struct controller_ops daemonset_controller = {
	.name = "daemonset",
	.primary = INFORMER_DAEMONSETS,
	.needs = NEEDS(INFORMER_DAEMONSETS) | NEEDS(INFORMER_PODS) | NEEDS(INFORMER_NODES) |
		 NEEDS(INFORMER_CONTROLLERREVISIONS),
	.parallel = 2,
	.start = daemonset_start,
	.sync = daemonset_sync,
};
