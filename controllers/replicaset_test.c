// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "controllers/replicaset.h"

enum { NOW_S = 1800000000 }; /* 2027-01-15T08:00:00Z */
#define NOW "2027-01-15T08:00:00Z"

struct world {
	json_t *set;
	struct selector *selector;
	struct replicaset_view view;
	struct plan plan;
};

static void world_init(struct world *w, int replicas, const char *extra)
{
	*w = (struct world){ 0 };
	w->set =
		from_yamlf("metadata: {name: web, namespace: default, uid: rs-1, generation: 2, resourceVersion: '7'}\n"
			   "spec:\n"
			   "  replicas: %d\n"
			   "  selector: {matchLabels: {app: web}}\n"
			   "  template:\n"
			   "    metadata: {labels: {app: web, tier: front}, annotations: {a: b}}\n"
			   "    spec: {containers: [{name: c, image: i}]}\n"
			   "%s",
			   replicas, extra);
	w->selector = selector_from_label_selector(json_at(w->set, "spec.selector"), NULL);
	w->view = (struct replicaset_view){ .set = w->set, .api_version = "apps/v1", .kind = "ReplicaSet",
					    .plural = "replicasets", .selector = w->selector, .may_manage = true,
					    .now_s = NOW_S };
}

static void world_done(struct world *w)
{
	object_list_done(&w->view.related);
	list_free(&w->view.candidates);
	plan_done(&w->plan);
	selector_free(w->selector);
	json_decref(w->set);
}

enum { OWNED = 1, ORPHAN = 2 };

/* spec: further YAML of the pod. */
static json_t *add_pod(struct world *w, const char *name, int whose, const char *rest)
{
	const char *owner = whose == OWNED ? "ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, "
					     "uid: rs-1, controller: true}], " :
					     "";
	json_t *pod = from_yamlf("metadata: {name: %s, namespace: default, uid: uid-%s, %slabels: {app: web, tier: "
				 "front}, creationTimestamp: '2027-01-15T07:00:00Z'}\n%s",
				 name, name, owner, rest);

	object_list_add(&w->view.candidates, pod);
	if (pod_active(pod))
		object_list_add(&w->view.related, pod);
	return pod;
}

#define READY_SINCE(t)                                                                          \
	"spec: {nodeName: n1}\nstatus: {phase: Running, conditions: [{type: Ready, status: 'True', " \
	"lastTransitionTime: '" t "'}]}\n"
#define READY READY_SINCE("2027-01-15T07:30:00Z")

static const json_t *status_of(const struct world *w)
{
	const struct write *s = plan_find(&w->plan, "PATCH", "/replicasets/web/status", 0);

	return s ? json_object_get(s->body, "status") : NULL;
}

static void creates_what_is_missing(void **state _unused_)
{
	struct world w;
	const struct write *first;
	json_t *pod;

	world_init(&w, 3, "");
	add_pod(&w, "a", OWNED, READY);
	add_pod(&w, "done", OWNED, "status: {phase: Failed}\n");
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "POST", "/namespaces/default/pods"), 2);
	assert_int_equal(plan_count_of(&w.plan, "DELETE", ""), 0);
	first = plan_find(&w.plan, "POST", "", 0);
	assert_true(first->flags & WRITE_SLOW_START);
	assert_true(first->flags & WRITE_EXPECT_CREATE);
	assert_string_equal(first->event.ok_reason, "SuccessfulCreate");
	pod = first->body;
	assert_string_equal(json_str(pod, "metadata.generateName"), "web-");
	assert_string_equal(json_str(pod, "metadata.labels.tier"), "front");
	assert_string_equal(json_str(pod, "metadata.annotations.a"), "b");
	assert_string_equal(json_str(pod, "metadata.ownerReferences[0].uid"), "rs-1");
	assert_true(json_bool(pod, "metadata.ownerReferences[0].controller", false));
	assert_true(json_bool(pod, "metadata.ownerReferences[0].blockOwnerDeletion", false));
	assert_string_equal(json_str(pod, "spec.containers[0].image"), "i");
	assert_int_equal(json_int(status_of(&w), "replicas", -1), 1);
	assert_int_equal(json_int(status_of(&w), "readyReplicas", -1), 1);
	assert_int_equal(json_int(status_of(&w), "availableReplicas", -1), 1);
	assert_int_equal(json_int(status_of(&w), "observedGeneration", -1), 2);
	world_done(&w);
}

static void waits_for_expectations(void **state _unused_)
{
	struct world w;

	world_init(&w, 3, "");
	w.view.may_manage = false;
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "POST", ""), 0);
	assert_non_null(status_of(&w));
	world_done(&w);
}

static void never_bursts_beyond_the_limit(void **state _unused_)
{
	struct world w;

	world_init(&w, 2000, "");
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "POST", ""), REPLICASET_BURST);
	world_done(&w);
}

/* Each row: two pods, of which the first must be the one deleted. */
static void deletes_in_order(void **state _unused_)
{
	static const struct {
		const char *why, *first, *second;
	} rows[] = {
		{ "unassigned", "status: {phase: Pending}\n", "spec: {nodeName: n1}\nstatus: {phase: Pending}\n" },
		{ "pending", "spec: {nodeName: n1}\nstatus: {phase: Pending}\n",
		  "spec: {nodeName: n1}\nstatus: {phase: Running}\n" },
		{ "unknown", "spec: {nodeName: n1}\nstatus: {phase: Unknown}\n",
		  "spec: {nodeName: n1}\nstatus: {phase: Running}\n" },
		{ "not ready", "spec: {nodeName: n1}\nstatus: {phase: Running}\n", READY },
		{ "ready for less long", READY_SINCE("2027-01-15T07:59:50Z"), READY_SINCE("2027-01-14T07:00:00Z") },
		{ "restarted more",
		  "spec: {nodeName: n1}\nstatus: {phase: Running, containerStatuses: [{restartCount: 5}]}\n",
		  "spec: {nodeName: n1}\nstatus: {phase: Running, containerStatuses: [{restartCount: 1}]}\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int swapped = 0; swapped < 2; swapped++) {
			struct world w;
			const struct write *deleted;

			world_init(&w, 1, "");
			add_pod(&w, swapped ? "second" : "first", OWNED, swapped ? rows[i].second : rows[i].first);
			add_pod(&w, swapped ? "first" : "second", OWNED, swapped ? rows[i].first : rows[i].second);
			replicaset_decide(&w.view, &w.plan);
			assert_int_equal(plan_count_of(&w.plan, "DELETE", ""), 1);
			deleted = plan_find(&w.plan, "DELETE", "", 0);
			if (!strstr(deleted->path, "/pods/first"))
				fail_msg("%s: %s was deleted", rows[i].why, deleted->path);
			assert_string_equal(json_str(deleted->body, "preconditions.uid"), "uid-first");
			assert_true(deleted->flags & WRITE_EXPECT_DELETE);
			world_done(&w);
		}
	}
}

static void deletion_cost_beats_age_and_crowd_beats_readiness_time(void **state _unused_)
{
	struct world w;
	json_t *cheap;

	world_init(&w, 1, "");
	add_pod(&w, "dear", OWNED, READY_SINCE("2027-01-15T07:59:59Z"));
	cheap = add_pod(&w, "cheap", OWNED, READY);
	json_set(cheap, "metadata.annotations",
		 json_pack("{s:s}", "controller.kubernetes.io/pod-deletion-cost", "-5"));
	replicaset_decide(&w.view, &w.plan);
	assert_non_null(plan_find(&w.plan, "DELETE", "/pods/cheap", 0));
	world_done(&w);

	world_init(&w, 2, "");
	add_pod(&w, "lonely", OWNED, READY_SINCE("2027-01-15T07:59:59Z"));
	json_set_str(add_pod(&w, "crowd1", OWNED, READY), "spec.nodeName", "n2");
	json_set_str(add_pod(&w, "crowd2", OWNED, READY), "spec.nodeName", "n2");
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "DELETE", ""), 1);
	assert_non_null(plan_find(&w.plan, "DELETE", "/pods/crowd", 0));
	world_done(&w);
}

static void adopts_behind_a_guard_and_releases(void **state _unused_)
{
	struct world w;
	const struct write *guard, *adoption, *release;
	json_t *stranger;

	world_init(&w, 2, "");
	add_pod(&w, "orphan", ORPHAN, READY);
	stranger = add_pod(&w, "stranger", OWNED, READY);
	json_set_str(stranger, "metadata.labels.app", "other");
	replicaset_decide(&w.view, &w.plan);
	guard = plan_find(&w.plan, "GET", "/replicasets/web", 0);
	adoption = plan_find(&w.plan, "PATCH", "/pods/orphan", 0);
	release = plan_find(&w.plan, "PATCH", "/pods/stranger", 0);
	assert_non_null(guard);
	assert_string_equal(guard->uid, "rs-1");
	assert_true(adoption->stage > guard->stage);
	assert_string_equal(json_str(adoption->body, "metadata.ownerReferences[0].uid"), "rs-1");
	assert_string_equal(json_str(adoption->body, "metadata.uid"), "uid-orphan");
	assert_string_equal(json_str(release->body, "metadata.ownerReferences[0].$patch"), "delete");
	/* The counts are not settled: nothing is created or deleted on top of this. */
	assert_int_equal(plan_count_of(&w.plan, "POST", ""), 0);
	assert_int_equal(plan_count_of(&w.plan, "DELETE", ""), 0);
	world_done(&w);
}

static void leaves_alone_what_is_anothers_or_going(void **state _unused_)
{
	struct world w;
	json_t *pod;

	world_init(&w, 0, "");
	pod = add_pod(&w, "theirs", OWNED, READY);
	json_set_str(json_at(pod, "metadata.ownerReferences[0]"), "uid", "rs-2");
	pod = add_pod(&w, "going", ORPHAN, READY);
	json_set_str(pod, "metadata.deletionTimestamp", NOW);
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "PATCH", "/pods/"), 0);
	assert_int_equal(plan_count_of(&w.plan, "DELETE", ""), 0);
	world_done(&w);
}

static void a_set_being_deleted_neither_adopts_nor_creates(void **state _unused_)
{
	struct world w;

	world_init(&w, 3, "");
	json_set_str(w.set, "metadata.deletionTimestamp", NOW);
	add_pod(&w, "orphan", ORPHAN, READY);
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "PATCH", "/pods/"), 0);
	assert_int_equal(plan_count_of(&w.plan, "POST", ""), 0);
	world_done(&w);
}

static void availability_waits_for_min_ready_seconds(void **state _unused_)
{
	struct world w;

	world_init(&w, 2, "");
	json_set(w.set, "spec.minReadySeconds", json_integer(60));
	add_pod(&w, "old", OWNED, READY);
	add_pod(&w, "new", OWNED, READY_SINCE("2027-01-15T07:59:40Z"));
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(json_int(status_of(&w), "readyReplicas", -1), 2);
	assert_int_equal(json_int(status_of(&w), "availableReplicas", -1), 1);
	assert_int_equal(w.plan.requeue_after_ms, 40000);
	world_done(&w);
}

static void status_is_written_only_when_it_differs(void **state _unused_)
{
	struct world w;

	world_init(&w, 1,
		   "status: {replicas: 1, fullyLabeledReplicas: 1, readyReplicas: 1, availableReplicas: 1, "
		   "terminatingReplicas: 0, observedGeneration: 2}\n");
	add_pod(&w, "a", OWNED, READY);
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 0);
	world_done(&w);

	world_init(&w, 0, "status: {replicas: 1, readyReplicas: 1, observedGeneration: 2}\n");
	replicaset_decide(&w.view, &w.plan);
	assert_int_equal(json_int(status_of(&w), "replicas", -1), 0);
	assert_true(json_is_null(json_object_get(status_of(&w), "readyReplicas")));
	assert_string_equal(json_str(plan_find(&w.plan, "PATCH", "/status", 0)->body, "metadata.resourceVersion"), "7");
	world_done(&w);
}

static void failure_is_a_condition_until_it_is_over(void **state _unused_)
{
	struct world w;

	world_init(&w, 1, "");
	w.view.failed_reason = "FailedCreate";
	w.view.failed_message = "pods is forbidden: exceeded quota";
	replicaset_decide(&w.view, &w.plan);
	assert_string_equal(json_str(status_of(&w), "conditions[0].type"), "ReplicaFailure");
	assert_string_equal(json_str(status_of(&w), "conditions[0].reason"), "FailedCreate");
	assert_string_equal(json_str(status_of(&w), "conditions[0].lastTransitionTime"), NOW);
	world_done(&w);

	world_init(&w, 1, "status: {replicas: 0, conditions: [{type: ReplicaFailure, status: 'True'}]}\n");
	replicaset_decide(&w.view, &w.plan);
	assert_true(json_is_null(json_object_get(status_of(&w), "conditions")));
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creates_what_is_missing),
		cmocka_unit_test(waits_for_expectations),
		cmocka_unit_test(never_bursts_beyond_the_limit),
		cmocka_unit_test(deletes_in_order),
		cmocka_unit_test(deletion_cost_beats_age_and_crowd_beats_readiness_time),
		cmocka_unit_test(adopts_behind_a_guard_and_releases),
		cmocka_unit_test(leaves_alone_what_is_anothers_or_going),
		cmocka_unit_test(a_set_being_deleted_neither_adopts_nor_creates),
		cmocka_unit_test(availability_waits_for_min_ready_seconds),
		cmocka_unit_test(status_is_written_only_when_it_differs),
		cmocka_unit_test(failure_is_a_condition_until_it_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
