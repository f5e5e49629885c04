// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ReplicaSet controller: keeps the wanted number of pods of each set. Read this one first; the others are made in
 * the same way:
 *
 *   changes of cached objects -> keys       on_pod() below, and the runtime for the sets themselves
 *   a key -> a view of the caches           replicaset_sync()
 *   a view -> a plan of writes              replicaset_decide(), pure, in replicaset_decide.c, tested by tables
 *   a plan -> the API server                the runtime (controller.c, plan.c), which also sends the events
 *
 * What always holds: a set whose earlier creations or deletions the cache does not show yet (expectations.h) is not
 * counted again, so a slow watch never makes a pod too many. Everything here may be done again after a crash.
 */
#include "controllers/replicaset.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

/* One controller serves two kinds that differ in names, in how their selector is written, and in nothing else. */
struct flavour {
	const char *api_version, *kind, *plural;
	enum informer_id id;
	bool plain_selector; /* spec.selector is a map, not a LabelSelector */
};
struct state {
	const struct flavour *flavour;
	struct map *failures; /* key -> struct failure, while the last attempt failed */
};
struct failure {
	const char *reason;
	char *message;
};

static void failure_free(void *p)
{
	struct failure *f = p;

	free(f->message);
	free(f);
}

static struct selector *selector_of(const struct flavour *f, const json_t *set)
{
	const json_t *selector = json_at(set, "spec.selector");

	return f->plain_selector ? selector_from_map(selector) : selector_from_label_selector(selector, NULL);
}

/* The key of the set that controls a pod; own, or NULL when it is none of ours. */
static char *key_of_owner(const struct controller *c, const json_t *pod)
{
	const struct state *s = c->state;
	const json_t *owner = object_controller_of(pod);
	const json_t *set;

	if (!owner || !str_eq(json_str(owner, "kind"), s->flavour->kind) ||
	    !str_eq(json_str(owner, "apiVersion"), s->flavour->api_version))
		return NULL;
	set = informer_get(controller_informer(c, s->flavour->id), object_namespace(pod),
			   json_str_or(owner, "name", ""));
	return set && str_eq(object_uid(set), json_str(owner, "uid")) ? object_key(set) : NULL;
}

static void enqueue_owner(struct controller *c, const json_t *pod)
{
	_cleanup_free_ char *key = key_of_owner(c, pod);

	if (key)
		controller_enqueue(c, key);
}

/* A pod nobody owns interests every set that would adopt it. */
static void enqueue_adopters(struct controller *c, const json_t *pod)
{
	const struct state *s = c->state;
	_cleanup_object_list_ struct object_list sets = { 0 };

	object_list_add_index(&sets, controller_informer(c, s->flavour->id), INDEX_NAMESPACE, object_namespace(pod));
	for (size_t i = 0; i < sets.count; i++) {
		_cleanup_(selector_freep) struct selector *selector = selector_of(s->flavour, sets.items[i]);

		if (selector && selector_matches(selector, object_labels(pod)))
			controller_enqueue_object(c, sets.items[i]);
	}
}

static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *pod = new ? new : old;
	_cleanup_free_ char *key = key_of_owner(c, pod);

	if (key) {
		if (!old)
			expectations_created(c->expected, key);
		if (!new || object_deleting(new))
			expectations_deleted(c->expected, key, object_uid(pod));
		controller_enqueue(c, key);
	} else if (new && !object_controller_of(new)) {
		enqueue_adopters(c, new);
	}
	if (old && new && !json_same(object_controller_of(old), object_controller_of(new)))
		enqueue_owner(c, old);
}

/* Pods of every set that has the same owner as this one: for a Deployment's rollout, old and new pods alike. */
static void add_related(const struct controller *c, const json_t *set, struct object_list *related)
{
	const struct state *s = c->state;
	const json_t *owner = object_controller_of(set);
	_cleanup_object_list_ struct object_list sets = { 0 }, pods = { 0 };

	if (owner)
		object_list_add_index(&sets, controller_informer(c, s->flavour->id), INDEX_OWNER,
				      json_str_or(owner, "uid", ""));
	else
		object_list_add(&sets, (json_t *)set);
	for (size_t i = 0; i < sets.count; i++)
		object_list_add_index(&pods, controller_informer(c, INFORMER_PODS), INDEX_OWNER,
				      object_uid(sets.items[i]));
	for (size_t i = 0; i < pods.count; i++) {
		if (pod_active(pods.items[i]))
			object_list_add(related, pods.items[i]);
	}
}

static void replicaset_sync(struct controller *c, const char *key, struct plan *plan)
{
	struct state *s = c->state;
	const json_t *set = controller_get(c, s->flavour->id, key);
	const struct informer *pods = controller_informer(c, INFORMER_PODS);
	const struct failure *failure = map_get(s->failures, key);

	if (!set) {
		expectations_forget(c->expected, key);
		map_del(s->failures, key);
		return;
	}

	_cleanup_(selector_freep) struct selector *selector = selector_of(s->flavour, set);
	struct replicaset_view view = {
		.set = set,
		.api_version = s->flavour->api_version,
		.kind = s->flavour->kind,
		.plural = s->flavour->plural,
		.selector = selector,
		.may_manage = controller_expectations_met(c, key),
		.failed_reason = failure ? failure->reason : NULL,
		.failed_message = failure ? failure->message : NULL,
		.now_s = clock_wall_s(),
	};
	if (!selector)
		return; /* the API server admits no such set */
	object_list_add_index(&view.candidates, pods, INDEX_OWNER, object_uid(set));
	object_list_add_index(&view.candidates, pods, INDEX_ORPHAN, object_namespace(set));
	add_related(c, set, &view.related);
	replicaset_decide(&view, plan);
	object_list_done(&view.candidates);
	object_list_done(&view.related);
}

/* Remembers how making or removing pods went, for the condition ReplicaFailure of the next sync. */
static void replicaset_wrote(struct controller *c, const char *key, const struct write *w, const struct kube_result *r,
			     bool ok)
{
	struct state *s = c->state;
	struct failure *f;

	if (!(w->flags & (WRITE_EXPECT_CREATE | WRITE_EXPECT_DELETE)) || !r || workload_namespace_terminating(r))
		return;
	if (ok) {
		/* The condition goes away with the next sync, which the new pod brings. */
		map_del(s->failures, key);
		return;
	}
	f = mem_new(struct failure);
	f->reason = w->flags & WRITE_EXPECT_CREATE ? "FailedCreate" : "FailedDelete";
	f->message = mem_strdup(r->message);
	map_set(s->failures, key, f);
}

static void start(struct controller *c, const struct flavour *flavour)
{
	struct state *s = mem_new(struct state);

	s->flavour = flavour;
	s->failures = map_new(failure_free);
	c->state = s;
	controller_watch(c, INFORMER_PODS, on_pod);
}

static void replicaset_start(struct controller *c)
{
	static const struct flavour flavour = { "apps/v1", "ReplicaSet", "replicasets", INFORMER_REPLICASETS, false };

	start(c, &flavour);
}

static void replicationcontroller_start(struct controller *c)
{
	static const struct flavour flavour = { "v1", "ReplicationController", "replicationcontrollers",
						INFORMER_REPLICATIONCONTROLLERS, true };

	start(c, &flavour);
}

static void replicaset_stop(struct controller *c)
{
	struct state *s = c->state;

	map_free(s->failures);
	free(s);
}

const struct controller_ops replicaset_controller = {
	.name = "replicaset",
	.primary = INFORMER_REPLICASETS,
	.needs = NEEDS(INFORMER_REPLICASETS) | NEEDS(INFORMER_PODS),
	.parallel = 5,
	.start = replicaset_start,
	.stop = replicaset_stop,
	.sync = replicaset_sync,
	.wrote = replicaset_wrote,
};
const struct controller_ops replicationcontroller_controller = {
	.name = "replicationcontroller",
	.primary = INFORMER_REPLICATIONCONTROLLERS,
	.needs = NEEDS(INFORMER_REPLICATIONCONTROLLERS) | NEEDS(INFORMER_PODS),
	.parallel = 5,
	.start = replicationcontroller_start,
	.stop = replicaset_stop,
	.sync = replicaset_sync,
	.wrote = replicaset_wrote,
};
