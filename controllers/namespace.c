// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The namespace controller: empties a namespace that is being deleted, in rounds (namespace_decide.c), and then lets it
 * go. A round is one sync; the next sync decides from what it found.
 */
#include "controllers/namespace.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

struct emptying {
	struct namespace_round round;
	bool pods_gone;
	int64_t pause_ms; /* until the next round; doubles */
};
enum { FIRST_PAUSE_MS = 250, LONGEST_PAUSE_MS = 8000 };

static void emptying_free(void *p)
{
	struct emptying *e = p;

	namespace_round_done(&e->round);
	free(e);
}

static bool to_be_emptied(const json_t *ns)
{
	json_t *f;
	size_t i;

	if (!ns || !object_deleting(ns))
		return false;
	json_array_foreach(json_at(ns, "spec.finalizers"), i, f) {
		if (str_eq(json_string_value(f), NAMESPACE_FINALIZER))
			return true;
	}
	return false;
}

static void start_round(struct emptying *e, const char *name, struct plan *plan)
{
	namespace_round_done(&e->round);
	e->round.pods_only = !e->pods_gone;
	namespace_plan_round(name, e->round.pods_only, plan);
}

static void namespace_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *ns = controller_get(c, INFORMER_NAMESPACES, key);
	struct emptying *e = map_get(c->state, key);

	if (!to_be_emptied(ns)) {
		map_del(c->state, key);
		return;
	}
	if (!e) {
		e = mem_new(struct emptying);
		e->pause_ms = FIRST_PAUSE_MS;
		map_set(c->state, key, e);
	}
	if (!e->round.finished) {
		start_round(e, key, plan);
		return;
	}
	if (e->round.pods_only && !e->round.remaining && !json_array_size(e->round.failures)) {
		e->pods_gone = true;
		start_round(e, key, plan);
		return;
	}
	namespace_decide(ns, &e->round, clock_wall_s(), plan);
	plan_requeue(plan, e->pause_ms);
	e->pause_ms = MIN(e->pause_ms * 2, (int64_t)LONGEST_PAUSE_MS);
	namespace_round_done(&e->round);
}

/* The resource of a collection's path, which is "/api/v1/namespaces/NS/PLURAL" or "/apis/G/V/namespaces/NS/PLURAL". */
static const struct schema_resource *resource_of(const char *path)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	_cleanup_free_ char *bare = mem_strndup(path, strcspn(path, "?"));
	bool core = str_starts(path, "/api/");

	strlist_split(&parts, bare, '/');
	if (parts.count != (core ? 5u : 6u))
		return NULL;
	return schema_resource_find(core ? "" : parts.items[1], parts.items[core ? 1 : 2],
				    parts.items[parts.count - 1]);
}

static void namespace_wrote(struct controller *c, const char *key, const struct write *w, const struct kube_result *r,
			    bool ok)
{
	struct emptying *e = map_get(c->state, key);
	const struct schema_resource *resource = resource_of(w->path);

	if (!e || !w->tag || !resource)
		return;
	if (!ok)
		namespace_note_failure(&e->round, r ? r->message : "not asked");
	else if (w->tag == NAMESPACE_TAG_COUNT)
		namespace_note_count(&e->round, resource, r->object);
	if (w->tag == NAMESPACE_TAG_COUNT)
		e->round.finished = true; /* the counts are the last stage; syncs never overlap */
}

/* The end of a round is the time to decide. */
static void namespace_done(struct controller *c, const char *key, bool failed _unused_, const char *why _unused_)
{
	const struct emptying *e = map_get(c->state, key);

	if (e && e->round.finished)
		controller_enqueue(c, key);
}

static void namespace_start(struct controller *c)
{
	c->state = map_new(emptying_free);
}

static void namespace_stop(struct controller *c)
{
	map_free(c->state);
}

const struct controller_ops namespace_controller = {
	.name = "namespace",
	.primary = INFORMER_NAMESPACES,
	.needs = NEEDS(INFORMER_NAMESPACES),
	.parallel = 5,
	.start = namespace_start,
	.stop = namespace_stop,
	.sync = namespace_sync,
	.wrote = namespace_wrote,
	.done = namespace_done,
};
