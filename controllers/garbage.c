// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The garbage collector: watches the metadata of everything that can be deleted and does what the graph (gc_graph.c)
 * decides. Resources that other controllers cache are watched through their informers; the rest are streamed and not
 * kept. Its keys are uids.
 */
#include "base/log.h"
#include "base/mem.h"
#include "controllers/caches.h"
#include "controllers/controller.h"
#include "controllers/gc_graph.h"
#include "kube/object.h"

struct monitor {
	struct state *state;
	const struct schema_resource *r;
};
struct state {
	struct gc_graph *graph;
	struct monitor *monitors;
	size_t count;
};

static void on_touched(const char *uid, void *user)
{
	controller_enqueue(user, uid);
}

static void on_object(const json_t *old, const json_t *new, void *user)
{
	const struct monitor *m = user;

	if (old && (!new || !str_eq(object_uid(old), object_uid(new))))
		gc_graph_remove(m->state->graph, object_uid(old));
	if (new)
		gc_graph_observe(m->state->graph, m->r, new);
}

/* Events are owned by nobody and far too many. */
static bool collectable(const struct schema_resource *r)
{
	const unsigned needed = VERB_GET | VERB_LIST | VERB_WATCH | VERB_DELETE | VERB_PATCH;

	return (r->verbs & needed) == needed && r->storage_id == r->id && !str_eq(r->plural, "events");
}

static void watch(struct controller *c, struct monitor *m)
{
	const struct informer_handler h = { .on_change = on_object, .user = m };
	struct informer_options options = { .size = sizeof(options), .plural = m->r->plural, .no_cache = true };
	char api_version[96];
	enum informer_id shared;
	struct informer *i;

	options.api_version = schema_api_version(m->r->group, m->r->version, api_version);
	shared = caches_find(options.api_version, options.plural);
	if (shared != INFORMER_ID_MAX && controller_informer(c, shared)) {
		informer_add_handler(controller_informer(c, shared), &h);
		return;
	}
	i = informer_new(c->ctx->client, &options);
	informer_add_handler(i, &h);
	controller_own_informer(c, i);
}

static void garbage_start(struct controller *c)
{
	struct state *s = mem_new(struct state);

	s->graph = gc_graph_new(on_touched, c);
	s->monitors = mem_new_n(struct monitor, schema_resource_count() + 1);
	c->state = s;
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);

		if (!collectable(r))
			continue;
		s->monitors[s->count] = (struct monitor){ s, r };
		watch(c, &s->monitors[s->count++]);
	}
}

static void garbage_ready(struct controller *c)
{
	struct state *s = c->state;

	log_info("garbage collector: %zu resources, %zu objects", s->count, gc_graph_count(s->graph));
	gc_graph_touch_all(s->graph);
}

static void garbage_stop(struct controller *c)
{
	struct state *s = c->state;

	gc_graph_free(s->graph);
	free(s->monitors);
	free(s);
}

static void garbage_sync(struct controller *c, const char *key, struct plan *plan)
{
	struct state *s = c->state;

	gc_graph_decide(s->graph, key, plan);
}

static void garbage_wrote(struct controller *c, const char *key, const struct write *w, const struct kube_result *r,
			  bool ok _unused_)
{
	struct state *s = c->state;

	if (w->tag != GC_TAG_VERIFY || !r)
		return;
	if (r->status != 404 && !kube_ok(r)) {
		controller_enqueue_after(c, key, 5000);
		return;
	}
	gc_graph_answer(s->graph, key, w->uid, kube_ok(r) && str_eq(object_uid(r->object), w->uid));
	controller_enqueue(c, key);
}

const struct controller_ops garbage_controller = {
	.name = "garbage-collector",
	.primary = INFORMER_ID_MAX,
	.parallel = 10,
	.start = garbage_start,
	.ready = garbage_ready,
	.stop = garbage_stop,
	.sync = garbage_sync,
	.wrote = garbage_wrote,
};
