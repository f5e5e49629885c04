// SPDX-License-Identifier: GPL-2.0-or-later
/* The StatefulSet controller: gathers a set, its pods, revisions and claims for statefulset_decide(). */
#include "controllers/statefulset.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

static char *key_of_owner(const struct controller *c, const json_t *child)
{
	const json_t *owner = object_controller_of(child), *set;

	if (!owner || !str_eq(json_str(owner, "kind"), "StatefulSet"))
		return NULL;
	set = informer_get(controller_informer(c, INFORMER_STATEFULSETS), object_namespace(child),
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

struct claims {
	const struct informer *informer;
	const char *ns;
};

static bool claim_exists(const char *name, void *user)
{
	const struct claims *claims = user;

	return informer_get(claims->informer, claims->ns, name) != NULL;
}

static void statefulset_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *set = controller_get(c, INFORMER_STATEFULSETS, key);
	const struct informer *pods = controller_informer(c, INFORMER_PODS);
	struct claims claims = { controller_informer(c, INFORMER_PVCS), object_namespace(set) };
	_cleanup_(selector_freep) struct selector *selector = NULL;

	if (!set) {
		expectations_forget(c->expected, key);
		return;
	}
	selector = selector_from_label_selector(json_at(set, "spec.selector"), NULL);
	if (!selector)
		return;

	struct statefulset_view view = { .set = set, .selector = selector, .claim_exists = claim_exists,
					 .user = &claims, .may_manage = controller_expectations_met(c, key),
					 .now_s = clock_wall_s() };

	object_list_add_index(&view.candidates, pods, INDEX_OWNER, object_uid(set));
	object_list_add_index(&view.candidates, pods, INDEX_ORPHAN, object_namespace(set));
	object_list_add_index(&view.revisions, controller_informer(c, INFORMER_CONTROLLERREVISIONS), INDEX_OWNER,
			      object_uid(set));
	statefulset_decide(&view, plan);
	object_list_done(&view.candidates);
	object_list_done(&view.revisions);
}

static void statefulset_start(struct controller *c)
{
	controller_watch(c, INFORMER_PODS, on_pod);
	controller_watch(c, INFORMER_CONTROLLERREVISIONS, on_revision);
}

const struct controller_ops statefulset_controller = {
	.name = "statefulset",
	.primary = INFORMER_STATEFULSETS,
	.needs = NEEDS(INFORMER_STATEFULSETS) | NEEDS(INFORMER_PODS) | NEEDS(INFORMER_PVCS) |
		 NEEDS(INFORMER_CONTROLLERREVISIONS),
	.parallel = 5,
	.start = statefulset_start,
	.sync = statefulset_sync,
};
