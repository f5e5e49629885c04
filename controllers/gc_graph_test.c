// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "base/map.h"
#include "controllers/gc_graph.h"

struct world {
	struct gc_graph *g;
	struct map *touched;
	const struct schema_resource *pods, *sets, *nodes;
};

static void on_touched(const char *uid, void *user)
{
	struct world *w = user;

	map_set(w->touched, uid, "");
}

static void world_init(struct world *w)
{
	w->touched = map_new(NULL);
	w->g = gc_graph_new(on_touched, w);
	w->pods = schema_resource_find("", "v1", "pods");
	w->sets = schema_resource_find("apps", "v1", "replicasets");
	w->nodes = schema_resource_find("", "v1", "nodes");
}

static void world_done(struct world *w)
{
	gc_graph_free(w->g);
	map_free(w->touched);
}

/* more: further metadata. */
static void observe(struct world *w, const struct schema_resource *r, const char *ns, const char *name,
		    const char *more)
{
	_cleanup_json_ json_t *o = from_yamlf("metadata: {name: %s, %s%s%s uid: %s, resourceVersion: '5'%s}", name,
					      *ns ? "namespace: " : "", ns, *ns ? "," : "", name, more);

	gc_graph_observe(w->g, r, o);
}
#define OWNED_BY(uid) ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: " uid ", uid: " uid \
		      ", controller: true, blockOwnerDeletion: true}]"

static void decide(struct world *w, const char *uid, struct plan *plan)
{
	plan_done(plan);
	gc_graph_decide(w->g, uid, plan);
}

static void dependents_follow_their_owner(void **state _unused_)
{
	struct world w;
	_cleanup_plan_ struct plan plan = { 0 };

	world_init(&w);
	observe(&w, w.sets, "ns", "rs", "");
	observe(&w, w.pods, "ns", "pod", OWNED_BY("rs"));
	decide(&w, "pod", &plan);
	assert_int_equal(plan.count, 0);
	map_clear(w.touched);
	gc_graph_remove(w.g, "rs");
	assert_true(map_has(w.touched, "pod"));
	decide(&w, "pod", &plan);
	assert_int_equal(plan.count, 1);
	assert_string_equal(plan.items[0]->method, "DELETE");
	assert_string_equal(plan.items[0]->path, "/api/v1/namespaces/ns/pods/pod");
	assert_string_equal(json_str(plan.items[0]->body, "preconditions.uid"), "pod");
	assert_string_equal(json_str(plan.items[0]->body, "preconditions.resourceVersion"), "5");
	assert_string_equal(json_str(plan.items[0]->body, "propagationPolicy"), "Background");
	world_done(&w);
}

static void an_unseen_owner_is_asked_for_before_anything(void **state _unused_)
{
	struct world w;
	_cleanup_plan_ struct plan plan = { 0 };

	world_init(&w);
	observe(&w, w.pods, "ns", "pod", OWNED_BY("rs"));
	assert_true(map_has(w.touched, "pod"));
	decide(&w, "pod", &plan);
	assert_int_equal(plan.count, 1);
	assert_string_equal(plan.items[0]->method, "GET");
	assert_string_equal(plan.items[0]->path, "/apis/apps/v1/namespaces/ns/replicasets/rs");
	assert_int_equal(plan.items[0]->tag, GC_TAG_VERIFY);
	gc_graph_answer(w.g, "pod", "rs", true);
	decide(&w, "pod", &plan);
	assert_int_equal(plan.count, 0);
	assert_true(plan.requeue_after_ms > 0);
	decide(&w, "pod", &plan);
	gc_graph_answer(w.g, "pod", "rs", false);
	decide(&w, "pod", &plan);
	assert_string_equal(plan.items[0]->method, "DELETE");
	world_done(&w);
}

static void one_living_owner_keeps_it_and_dead_ones_are_unlinked(void **state _unused_)
{
	struct world w;
	_cleanup_plan_ struct plan plan = { 0 };

	world_init(&w);
	observe(&w, w.sets, "ns", "a", "");
	observe(&w, w.sets, "ns", "b", "");
	observe(&w, w.pods, "ns", "pod",
		", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: a, uid: a}, "
		"{apiVersion: apps/v1, kind: ReplicaSet, name: b, uid: b}]");
	gc_graph_remove(w.g, "a");
	decide(&w, "pod", &plan);
	assert_int_equal(plan.count, 1);
	assert_string_equal(plan.items[0]->method, "PATCH");
	assert_string_equal(json_str(plan.items[0]->body, "metadata.ownerReferences[0].uid"), "a");
	assert_string_equal(json_str(plan.items[0]->body, "metadata.ownerReferences[0].$patch"), "delete");
	assert_int_equal(json_array_size(json_at(plan.items[0]->body, "metadata.ownerReferences")), 1);
	world_done(&w);
}

static void foreground_waits_for_blocking_dependents(void **state _unused_)
{
	struct world w;
	_cleanup_plan_ struct plan plan = { 0 };

	world_init(&w);
	observe(&w, w.sets, "ns", "rs", "");
	observe(&w, w.pods, "ns", "pod", OWNED_BY("rs"));
	observe(&w, w.sets, "ns", "rs",
		", deletionTimestamp: '2027-01-01T00:00:00Z', finalizers: [foregroundDeletion]");
	assert_true(map_has(w.touched, "rs"));
	assert_true(map_has(w.touched, "pod"));
	decide(&w, "rs", &plan);
	assert_int_equal(plan.count, 0);
	decide(&w, "pod", &plan);
	assert_string_equal(plan.items[0]->method, "DELETE");
	map_clear(w.touched);
	gc_graph_remove(w.g, "pod");
	assert_true(map_has(w.touched, "rs"));
	decide(&w, "rs", &plan);
	assert_int_equal(plan.count, 1);
	assert_string_equal(plan.items[0]->method, "PATCH");
	assert_string_equal(json_string_value(json_array_get(
				    json_object_get(json_at(plan.items[0]->body, "metadata"),
						    "$deleteFromPrimitiveList/finalizers"),
				    0)),
			    "foregroundDeletion");
	world_done(&w);
}

static void foreground_goes_down_the_tree(void **state _unused_)
{
	struct world w;
	_cleanup_plan_ struct plan plan = { 0 };

	world_init(&w);
	observe(&w, w.sets, "ns", "top",
		", deletionTimestamp: '2027-01-01T00:00:00Z', finalizers: [foregroundDeletion]");
	observe(&w, w.sets, "ns", "middle", OWNED_BY("top"));
	observe(&w, w.pods, "ns", "leaf", OWNED_BY("middle"));
	decide(&w, "middle", &plan);
	assert_string_equal(plan.items[0]->method, "DELETE");
	assert_string_equal(json_str(plan.items[0]->body, "propagationPolicy"), "Foreground");
	decide(&w, "leaf", &plan);
	assert_int_equal(plan.count, 0);
	world_done(&w);
}

static void orphaning_unlinks_first_and_finishes_last(void **state _unused_)
{
	struct world w;
	_cleanup_plan_ struct plan plan = { 0 };

	world_init(&w);
	observe(&w, w.sets, "ns", "rs", "");
	observe(&w, w.pods, "ns", "p1", OWNED_BY("rs"));
	observe(&w, w.pods, "ns", "p2", OWNED_BY("rs"));
	observe(&w, w.sets, "ns", "rs", ", deletionTimestamp: '2027-01-01T00:00:00Z', finalizers: [orphan]");
	decide(&w, "rs", &plan);
	assert_int_equal(plan.count, 3);
	assert_int_equal(plan_count_of(&plan, "PATCH", "/pods/"), 2);
	assert_true(plan_find(&plan, "PATCH", "/replicasets/rs", 0)->stage > plan.items[0]->stage);
	/* The patched pods come back without owners and stay. */
	observe(&w, w.pods, "ns", "p1", "");
	gc_graph_remove(w.g, "rs");
	decide(&w, "p1", &plan);
	assert_int_equal(plan.count, 0);
	world_done(&w);
}

static void references_across_namespaces_do_not_hold(void **state _unused_)
{
	struct world w;
	_cleanup_plan_ struct plan plan = { 0 };

	world_init(&w);
	observe(&w, w.sets, "other", "rs", "");
	observe(&w, w.pods, "ns", "pod", OWNED_BY("rs"));
	decide(&w, "pod", &plan);
	assert_int_equal(plan.note_count, 1);
	assert_string_equal(plan.notes[0].reason, "OwnerRefInvalidNamespace");
	assert_string_equal(plan.items[0]->path, "/apis/apps/v1/namespaces/ns/replicasets/rs");
	gc_graph_answer(w.g, "pod", "rs", false);
	decide(&w, "pod", &plan);
	assert_int_equal(plan_count_of(&plan, "DELETE", "/pods/pod"), 1);
	world_done(&w);
}

static void what_cannot_be_looked_up_is_never_deleted(void **state _unused_)
{
	struct world w;
	_cleanup_plan_ struct plan plan = { 0 };

	world_init(&w);
	observe(&w, w.pods, "ns", "custom", ", ownerReferences: [{apiVersion: x.io/v1, kind: Thing, name: t, uid: t}]");
	decide(&w, "custom", &plan);
	assert_int_equal(plan.count, 0);
	/* A cluster-scoped object cannot have a namespaced owner. */
	observe(&w, w.nodes, "", "node", OWNED_BY("rs"));
	decide(&w, "node", &plan);
	assert_int_equal(plan.count, 0);
	world_done(&w);
}

static void nothing_is_kept_of_what_is_gone(void **state _unused_)
{
	struct world w;

	world_init(&w);
	for (int i = 0; i < 100; i++) {
		observe(&w, w.sets, "ns", "rs", "");
		observe(&w, w.pods, "ns", "p1", OWNED_BY("rs"));
		observe(&w, w.pods, "ns", "p2", OWNED_BY("unseen"));
		gc_graph_remove(w.g, i % 2 ? "rs" : "p1");
		gc_graph_remove(w.g, i % 2 ? "p1" : "rs");
		gc_graph_remove(w.g, "p2");
		assert_int_equal(gc_graph_count(w.g), 0);
	}
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dependents_follow_their_owner),
		cmocka_unit_test(an_unseen_owner_is_asked_for_before_anything),
		cmocka_unit_test(one_living_owner_keeps_it_and_dead_ones_are_unlinked),
		cmocka_unit_test(foreground_waits_for_blocking_dependents),
		cmocka_unit_test(foreground_goes_down_the_tree),
		cmocka_unit_test(orphaning_unlinks_first_and_finishes_last),
		cmocka_unit_test(references_across_namespaces_do_not_hold),
		cmocka_unit_test(what_cannot_be_looked_up_is_never_deleted),
		cmocka_unit_test(nothing_is_kept_of_what_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
