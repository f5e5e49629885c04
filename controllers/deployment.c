// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Deployment controller: gathers what deployment_decide() needs from the caches. It only ever touches ReplicaSets;
 * pods are read to know when a Recreate may go on.
 */
#include "controllers/deployment.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

static char *key_of_owner(const struct controller *c, const json_t *set)
{
	const json_t *owner = object_controller_of(set), *d;

	if (!owner || !str_eq(json_str(owner, "kind"), "Deployment"))
		return NULL;
	d = informer_get(controller_informer(c, INFORMER_DEPLOYMENTS), object_namespace(set),
			 json_str_or(owner, "name", ""));
	return d && str_eq(object_uid(d), json_str(owner, "uid")) ? object_key(d) : NULL;
}

static void enqueue_owner(struct controller *c, const json_t *set)
{
	_cleanup_free_ char *key = key_of_owner(c, set);

	if (key)
		controller_enqueue(c, key);
}

static void enqueue_adopters(struct controller *c, const json_t *set)
{
	const struct informer *deployments = controller_informer(c, INFORMER_DEPLOYMENTS);
	size_t it = 0;

	for (json_t *d; (d = informer_next(deployments, &it));) {
		_cleanup_(selector_freep) struct selector *selector = NULL;

		if (!str_eq(object_namespace(d), object_namespace(set)))
			continue;
		selector = selector_from_label_selector(json_at(d, "spec.selector"), NULL);
		if (selector && selector_matches(selector, object_labels(set)))
			controller_enqueue_object(c, d);
	}
}

static void on_set(const json_t *old, const json_t *new, void *user)
{
	const json_t *set = new ? new : old;

	if (object_controller_of(set))
		enqueue_owner(user, set);
	else if (new)
		enqueue_adopters(user, new);
	if (old && new && !json_same(object_controller_of(old), object_controller_of(new)))
		enqueue_owner(user, old);
}

/* A Recreate waits for the last pod to go. */
static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *pod = new ? new : old, *owner = object_controller_of(pod), *set;

	if (!owner || (new && !pod_finished(new)))
		return;
	set = informer_get(controller_informer(c, INFORMER_REPLICASETS), object_namespace(pod),
			   json_str_or(owner, "name", ""));
	if (set && str_eq(object_uid(set), json_str(owner, "uid")))
		enqueue_owner(c, set);
}

static void deployment_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *d = controller_get(c, INFORMER_DEPLOYMENTS, key);
	const struct informer *sets = controller_informer(c, INFORMER_REPLICASETS);
	struct map *failures = c->state;
	_cleanup_(selector_freep) struct selector *selector = NULL;
	_cleanup_free_ char *name = NULL;

	if (!d) {
		map_del(failures, key);
		return;
	}
	selector = selector_from_label_selector(json_at(d, "spec.selector"), NULL);
	if (!selector)
		return; /* the API server admits no such Deployment */
	name = deployment_set_name(d);

	struct deployment_view view = {
		.deployment = d,
		.selector = selector,
		.name_taken = informer_get(sets, object_namespace(d), name) != NULL,
		.create_failure = map_get(failures, key),
		.now_s = clock_wall_s(),
	};
	object_list_add_index(&view.sets, sets, INDEX_OWNER, object_uid(d));
	object_list_add_index(&view.sets, sets, INDEX_ORPHAN, object_namespace(d));
	if (str_eq(json_str(d, "spec.strategy.type"), "Recreate")) {
		_cleanup_object_list_ struct object_list owned = { 0 };

		object_list_add_index(&owned, sets, INDEX_OWNER, object_uid(d));
		for (size_t i = 0; i < owned.count; i++)
			object_list_add_index(&view.pods, controller_informer(c, INFORMER_PODS), INDEX_OWNER,
					      object_uid(owned.items[i]));
	}
	deployment_decide(&view, plan);
	object_list_done(&view.sets);
	object_list_done(&view.pods);
}

static void deployment_wrote(struct controller *c, const char *key, const struct write *w, const struct kube_result *r,
			     bool ok)
{
	if (w->tag != DEPLOYMENT_TAG_NEW_SET || !r)
		return;
	if (ok)
		map_del(c->state, key);
	else if (!str_eq(r->reason, "AlreadyExists") && !workload_namespace_terminating(r))
		map_set(c->state, key, mem_strdup(r->message));
}

static void deployment_start(struct controller *c)
{
	c->state = map_new(free);
	controller_watch(c, INFORMER_REPLICASETS, on_set);
	controller_watch(c, INFORMER_PODS, on_pod);
}

static void deployment_stop(struct controller *c)
{
	map_free(c->state);
}

const struct controller_ops deployment_controller = {
	.name = "deployment",
	.primary = INFORMER_DEPLOYMENTS,
	.needs = NEEDS(INFORMER_DEPLOYMENTS) | NEEDS(INFORMER_REPLICASETS) | NEEDS(INFORMER_PODS),
	.parallel = 5,
	.start = deployment_start,
	.stop = deployment_stop,
	.sync = deployment_sync,
	.wrote = deployment_wrote,
};
