// SPDX-License-Identifier: GPL-2.0-or-later
/* The Deployment's decisions, run against a toy server that applies plans to objects in memory. */
#include "controllers/deciders_test.h"

#include "controllers/deployment.h"

enum { NOW_S = 1800000000 };

struct toy {
	json_t *d;
	struct object_list sets;
	struct strlist events;
	int64_t now_s;
	unsigned made;
};

static void toy_init(struct toy *t, int replicas, const char *more)
{
	*t = (struct toy){ .now_s = NOW_S };
	t->d = from_yamlf("metadata: {name: web, namespace: default, uid: d-1, generation: 1, resourceVersion: '1',\n"
			  "  annotations: {note: hi, kubectl.kubernetes.io/last-applied-configuration: x}}\n"
			  "spec:\n"
			  "  replicas: %d\n"
			  "  selector: {matchLabels: {app: web}}\n"
			  "  revisionHistoryLimit: 10\n"
			  "  progressDeadlineSeconds: 600\n"
			  "  template:\n"
			  "    metadata: {labels: {app: web}}\n"
			  "    spec: {containers: [{name: c, image: v1}]}\n"
			  "  %s\n",
			  replicas, *more ? more : "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, "
						   "maxUnavailable: 25%}}");
}

static void toy_done(struct toy *t)
{
	json_decref(t->d);
	list_free(&t->sets);
	strlist_done(&t->events);
}

static void merge(json_t *into, const json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)patch, key, value) {
		if (json_is_null(value)) {
			json_object_del(into, key);
		} else if (json_is_object(value)) {
			if (!json_is_object(json_object_get(into, key)))
				json_object_set_new(into, key, json_object());
			merge(json_object_get(into, key), value);
		} else {
			json_object_set(into, key, value);
		}
	}
}

static json_t *set_named(const struct toy *t, const char *name)
{
	for (size_t i = 0; i < t->sets.count; i++) {
		if (str_eq(object_name(t->sets.items[i]), name))
			return t->sets.items[i];
	}
	return NULL;
}

static void create(struct toy *t, const json_t *body)
{
	json_t *set = json_deep_copy(body);
	_cleanup_free_ char *uid = str_printf("rs-%u", ++t->made);
	_cleanup_free_ char *created = str_printf("2027-01-15T07:00:%02uZ", t->made);

	json_set_str(set, "metadata.uid", uid);
	json_set_str(set, "metadata.resourceVersion", "1");
	json_set_str(set, "metadata.creationTimestamp", created);
	json_set(set, "metadata.generation", json_integer(1));
	json_set(set, "status", json_pack("{s:i, s:i}", "replicas", 0, "terminatingReplicas", 0));
	object_list_add(&t->sets, set);
}

static void apply(struct toy *t, const struct write *w)
{
	const char *last = strrchr(w->path, '/') + 1;

	if (w->event.about && w->event.ok_reason)
		strlist_add(&t->events, w->event.ok_text);
	if (str_eq(w->method, "POST")) {
		create(t, w->body);
	} else if (str_eq(w->method, "PATCH") && strstr(w->path, "/deployments/")) {
		merge(t->d, w->body);
	} else if (str_eq(w->method, "PATCH")) {
		json_t *set = set_named(t, last);

		assert_non_null(set);
		merge(set, w->body);
	} else if (str_eq(w->method, "DELETE")) {
		for (size_t i = 0; i < t->sets.count; i++) {
			if (!str_eq(object_name(t->sets.items[i]), last))
				continue;
			json_decref(t->sets.items[i]);
			t->sets.items[i] = t->sets.items[--t->sets.count];
		}
	}
}

/* One sync. Returns the number of writes. */
static size_t step(struct toy *t, const struct object_list *pods, struct plan *ret_plan)
{
	_cleanup_plan_ struct plan plan = { 0 };
	_cleanup_(selector_freep) struct selector *selector =
		selector_from_label_selector(json_at(t->d, "spec.selector"), NULL);
	_cleanup_free_ char *name = deployment_set_name(t->d);
	struct deployment_view v = { .deployment = t->d, .selector = selector, .now_s = t->now_s };
	size_t n;

	v.name_taken = set_named(t, name) != NULL;
	for (size_t i = 0; i < t->sets.count; i++)
		object_list_add(&v.sets, t->sets.items[i]);
	if (pods)
		v.pods = *pods;
	deployment_decide(&v, &plan);
	object_list_done(&v.sets);
	n = plan.count;
	for (size_t i = 0; i < plan.count; i++)
		apply(t, plan.items[i]);
	if (ret_plan) {
		*ret_plan = plan;
		plan = (struct plan){ 0 };
	}
	return n;
}

/* What a ReplicaSet controller and healthy nodes make of the sets. broken: pods of this image never get ready. */
static void run_pods(struct toy *t, const char *broken)
{
	for (size_t i = 0; i < t->sets.count; i++) {
		json_t *set = t->sets.items[i];
		int64_t n = json_int(set, "spec.replicas", 0);
		bool ok = !str_eq(json_str(set, "spec.template.spec.containers[0].image"), broken);

		json_set(set, "status",
			 json_pack("{s:I, s:I, s:I, s:i, s:i}", "replicas", (json_int_t)n, "readyReplicas",
				   (json_int_t)(ok ? n : 0), "availableReplicas", (json_int_t)(ok ? n : 0),
				   "terminatingReplicas", 0, "observedGeneration", 9));
	}
}

static int64_t sum(const struct toy *t, const char *path)
{
	int64_t total = 0;

	for (size_t i = 0; i < t->sets.count; i++)
		total += json_int(t->sets.items[i], path, 0);
	return total;
}

/* Syncs until nothing changes, checking the rollout's promises at each step. */
static void settle(struct toy *t, const char *broken)
{
	int64_t surge, unavailable, wanted = json_int(t->d, "spec.replicas", 1);

	deployment_fenceposts(t->d, &surge, &unavailable);
	for (int i = 0; i < 200; i++) {
		int64_t before = sum(t, "status.availableReplicas");

		if (!step(t, NULL, NULL) && i > 2)
			return;
		if (!json_bool(t->d, "spec.paused", false) &&
		    str_eq(json_str(t->d, "spec.strategy.type"), "RollingUpdate"))
			assert_true(sum(t, "spec.replicas") <= wanted + surge);
		run_pods(t, broken);
		if (before >= wanted - unavailable && !broken)
			assert_true(sum(t, "status.availableReplicas") >= wanted - unavailable);
	}
	fail_msg("it never settles");
}

static void set_image(struct toy *t, const char *image)
{
	json_set_str(json_at(t->d, "spec.template.spec.containers[0]"), "image", image);
	json_set(t->d, "metadata.generation", json_integer(json_int(t->d, "metadata.generation", 0) + 1));
}

static json_t *set_of_image(const struct toy *t, const char *image)
{
	for (size_t i = 0; i < t->sets.count; i++) {
		if (str_eq(json_str(t->sets.items[i], "spec.template.spec.containers[0].image"), image))
			return t->sets.items[i];
	}
	return NULL;
}

static const char *progress(const struct toy *t)
{
	return json_str_or(object_condition(t->d, "Progressing"), "reason", "none");
}

static void first_rollout(void **state _unused_)
{
	struct toy t;
	json_t *set;
	const char *hash;

	toy_init(&t, 3, "");
	assert_int_equal(step(&t, NULL, NULL), 2);
	assert_int_equal(t.sets.count, 1);
	set = t.sets.items[0];
	hash = map_str(object_labels(set), DEPLOYMENT_HASH_LABEL);
	assert_non_null(hash);
	assert_string_equal(map_str(json_at(set, "spec.selector.matchLabels"), DEPLOYMENT_HASH_LABEL), hash);
	assert_string_equal(map_str(json_at(set, "spec.template.metadata.labels"), DEPLOYMENT_HASH_LABEL), hash);
	assert_string_equal(map_str(object_annotations(set), DEPLOYMENT_REVISION), "1");
	assert_string_equal(map_str(object_annotations(set), DEPLOYMENT_DESIRED), "3");
	assert_string_equal(map_str(object_annotations(set), DEPLOYMENT_MAX), "4");
	assert_string_equal(map_str(object_annotations(set), "note"), "hi");
	assert_null(map_str(object_annotations(set), "kubectl.kubernetes.io/last-applied-configuration"));
	assert_string_equal(json_str(set, "metadata.ownerReferences[0].kind"), "Deployment");
	assert_int_equal(json_int(set, "spec.replicas", -1), 3);
	assert_string_equal(map_str(object_annotations(t.d), DEPLOYMENT_REVISION), "1");
	assert_string_equal(progress(&t), "NewReplicaSetCreated");
	assert_true(str_starts(t.events.items[0], "Scaled up replica set web-"));
	assert_true(str_ends(t.events.items[0], " from 0 to 3"));
	settle(&t, NULL);
	assert_string_equal(progress(&t), "NewReplicaSetAvailable");
	assert_true(object_condition_true(t.d, "Available"));
	assert_int_equal(json_int(t.d, "status.updatedReplicas", -1), 3);
	assert_int_equal(json_int(t.d, "status.availableReplicas", -1), 3);
	assert_int_equal(json_int(t.d, "status.observedGeneration", -1), 1);
	assert_null(json_object_get(json_object_get(t.d, "status"), "unavailableReplicas"));
	toy_done(&t);
}

static void rolling_update_and_undo(void **state _unused_)
{
	static const int sizes[] = { 1, 2, 3, 10, 57 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct toy t;

		toy_init(&t, sizes[i], "");
		settle(&t, NULL);
		set_image(&t, "v2");
		settle(&t, NULL);
		assert_int_equal(t.sets.count, 2);
		assert_int_equal(json_int(set_of_image(&t, "v1"), "spec.replicas", -1), 0);
		assert_int_equal(json_int(set_of_image(&t, "v2"), "spec.replicas", -1), sizes[i]);
		assert_string_equal(map_str(object_annotations(t.d), DEPLOYMENT_REVISION), "2");
		set_image(&t, "v1");
		settle(&t, NULL);
		assert_int_equal(t.sets.count, 2);
		assert_int_equal(json_int(set_of_image(&t, "v1"), "spec.replicas", -1), sizes[i]);
		assert_string_equal(map_str(object_annotations(set_of_image(&t, "v1")), DEPLOYMENT_REVISION), "3");
		assert_string_equal(map_str(object_annotations(set_of_image(&t, "v1")), DEPLOYMENT_REVISION_HISTORY),
				    "1");
		assert_string_equal(map_str(object_annotations(t.d), DEPLOYMENT_REVISION), "3");
		assert_string_equal(progress(&t), "NewReplicaSetAvailable");
		toy_done(&t);
	}
}

static void a_broken_image_stops_within_the_limits_and_times_out(void **state _unused_)
{
	struct toy t;

	toy_init(&t, 4, "");
	settle(&t, NULL);
	set_image(&t, "bad");
	settle(&t, "bad");
	assert_int_equal(json_int(set_of_image(&t, "v1"), "spec.replicas", -1), 3); /* maxUnavailable is 1 */
	assert_int_equal(json_int(set_of_image(&t, "bad"), "spec.replicas", -1), 2); /* 4 + 1 together */
	assert_string_equal(progress(&t), "ReplicaSetUpdated");
	t.now_s += 601;
	settle(&t, "bad");
	assert_string_equal(progress(&t), "ProgressDeadlineExceeded");
	assert_string_equal(json_str(object_condition(t.d, "Progressing"), "status"), "False");
	set_image(&t, "v1");
	settle(&t, "bad");
	assert_string_equal(progress(&t), "NewReplicaSetAvailable");
	assert_int_equal(json_int(set_of_image(&t, "v1"), "spec.replicas", -1), 4);
	assert_int_equal(json_int(set_of_image(&t, "bad"), "spec.replicas", -1), 0);
	toy_done(&t);
}

static void the_deadline_asks_for_another_look(void **state _unused_)
{
	struct toy t;
	struct plan plan;

	toy_init(&t, 2, "");
	settle(&t, "v1");
	t.now_s += 100;
	step(&t, NULL, &plan);
	assert_int_equal(plan.requeue_after_ms, 501000);
	plan_done(&plan);
	toy_done(&t);
}

static void recreate_waits_for_the_last_old_pod(void **state _unused_)
{
	struct toy t;
	struct object_list pods = { 0 };

	toy_init(&t, 3, "strategy: {type: Recreate}");
	settle(&t, NULL);
	set_image(&t, "v2");
	object_list_add(&pods,
			from_yaml("metadata: {name: p, uid: p, ownerReferences: [{uid: rs-1, controller: true}]}\n"
				  "status: {phase: Running}"));
	step(&t, &pods, NULL);
	assert_int_equal(json_int(set_of_image(&t, "v1"), "spec.replicas", -1), 0);
	run_pods(&t, NULL);
	step(&t, &pods, NULL);
	step(&t, &pods, NULL);
	assert_int_equal(t.sets.count, 1);
	list_free(&pods);
	settle(&t, NULL);
	assert_int_equal(json_int(set_of_image(&t, "v2"), "spec.replicas", -1), 3);
	toy_done(&t);
}

static void pause_scales_but_does_not_roll(void **state _unused_)
{
	struct toy t;

	toy_init(&t, 2, "");
	settle(&t, NULL);
	json_set(t.d, "spec.paused", json_true());
	set_image(&t, "v2");
	json_set(t.d, "spec.replicas", json_integer(5));
	settle(&t, NULL);
	assert_int_equal(t.sets.count, 1);
	assert_int_equal(json_int(t.sets.items[0], "spec.replicas", -1), 5);
	assert_string_equal(progress(&t), "DeploymentPaused");
	json_object_del(json_object_get(t.d, "spec"), "paused");
	step(&t, NULL, NULL);
	assert_string_equal(progress(&t), "DeploymentResumed");
	settle(&t, NULL);
	assert_int_equal(json_int(set_of_image(&t, "v2"), "spec.replicas", -1), 5);
	toy_done(&t);
}

/* Upstream's documented example: 10 with maxSurge 3 and maxUnavailable 2, stuck at 8 + 5, scaled to 15. */
static void scaling_in_the_middle_is_proportional(void **state _unused_)
{
	struct toy t;

	toy_init(&t, 10,
		 "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 3, maxUnavailable: 2}}");
	settle(&t, NULL);
	set_image(&t, "bad");
	settle(&t, "bad");
	assert_int_equal(json_int(set_of_image(&t, "v1"), "spec.replicas", -1), 8);
	assert_int_equal(json_int(set_of_image(&t, "bad"), "spec.replicas", -1), 5);
	json_set(t.d, "spec.replicas", json_integer(15));
	step(&t, NULL, NULL);
	assert_int_equal(json_int(set_of_image(&t, "v1"), "spec.replicas", -1), 11);
	assert_int_equal(json_int(set_of_image(&t, "bad"), "spec.replicas", -1), 7);
	assert_string_equal(map_str(object_annotations(set_of_image(&t, "bad")), DEPLOYMENT_MAX), "18");
	toy_done(&t);
}

static void history_is_cut(void **state _unused_)
{
	struct toy t;

	toy_init(&t, 1, "");
	json_set(t.d, "spec.revisionHistoryLimit", json_integer(2));
	for (int i = 1; i <= 6; i++) {
		_cleanup_free_ char *image = str_printf("v%d", i);

		set_image(&t, image);
		settle(&t, NULL);
	}
	assert_int_equal(t.sets.count, 3);
	assert_non_null(set_of_image(&t, "v4"));
	assert_non_null(set_of_image(&t, "v5"));
	assert_non_null(set_of_image(&t, "v6"));
	toy_done(&t);
}

static void a_taken_name_counts_a_collision(void **state _unused_)
{
	struct toy t;
	_cleanup_free_ char *name = NULL, *next = NULL;

	toy_init(&t, 1, "");
	name = deployment_set_name(t.d);
	object_list_add(&t.sets, from_yamlf("metadata: {name: %s, namespace: default, uid: other, labels: {x: y}, "
					    "ownerReferences: [{uid: z, controller: true}]}\nspec: {replicas: 0}",
					    name));
	step(&t, NULL, NULL);
	assert_int_equal(json_int(t.d, "status.collisionCount", -1), 1);
	next = deployment_set_name(t.d);
	assert_string_not_equal(name, next);
	settle(&t, NULL);
	assert_non_null(set_named(&t, next));
	toy_done(&t);
}

static void the_hash_never_changes(void **state _unused_)
{
	_cleanup_json_ json_t *a =
		from_yaml("{metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}");
	_cleanup_json_ json_t *b =
		from_yaml("{spec: {containers: [{image: i, name: c}]}, metadata: {labels: {app: web}}}");
	_cleanup_free_ char *x = deployment_template_hash(a, 0), *y = deployment_template_hash(b, 0);
	_cleanup_free_ char *z = deployment_template_hash(a, 1);

	/* FNV-1a 32 of {"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"image":"i","name":"c"}]}} */
	assert_string_equal(x, "77657c567c");
	assert_string_equal(x, y);
	assert_string_not_equal(x, z);
}

static void fenceposts_round_as_upstream(void **state _unused_)
{
	static const struct {
		const char *surge, *unavailable;
		int replicas, want_surge, want_unavailable;
	} rows[] = {
		{ "25%", "25%", 1, 1, 0 },  { "25%", "25%", 3, 1, 0 }, { "25%", "25%", 4, 1, 1 },
		{ "25%", "25%", 10, 3, 2 }, { "0", "0", 5, 0, 1 },     { "0%", "10%", 5, 0, 1 },
		{ "2", "100%", 3, 2, 3 },   { "1", "9", 3, 1, 3 },     { "50%", "50%", 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *d = from_yamlf("spec: {replicas: %d, strategy: {rollingUpdate: {maxSurge: %s, "
						      "maxUnavailable: %s}}}",
						      rows[i].replicas, rows[i].surge, rows[i].unavailable);
		int64_t surge, unavailable;

		deployment_fenceposts(d, &surge, &unavailable);
		assert_int_equal(surge, rows[i].want_surge);
		assert_int_equal(unavailable, rows[i].want_unavailable);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_rollout),
		cmocka_unit_test(rolling_update_and_undo),
		cmocka_unit_test(a_broken_image_stops_within_the_limits_and_times_out),
		cmocka_unit_test(the_deadline_asks_for_another_look),
		cmocka_unit_test(recreate_waits_for_the_last_old_pod),
		cmocka_unit_test(pause_scales_but_does_not_roll),
		cmocka_unit_test(scaling_in_the_middle_is_proportional),
		cmocka_unit_test(history_is_cut),
		cmocka_unit_test(a_taken_name_counts_a_collision),
		cmocka_unit_test(the_hash_never_changes),
		cmocka_unit_test(fenceposts_round_as_upstream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
