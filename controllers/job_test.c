// SPDX-License-Identifier: GPL-2.0-or-later
/* The Job's decisions, run against a toy server that applies plans to a Job and its pods in memory. */
#include "controllers/deciders_test.h"

#include "base/clock.h"
#include "controllers/job.h"

struct toy {
	json_t *job;
	struct object_list pods;
	struct plan plan;
	int64_t now_s, requeue_ms;
	unsigned made, deleted;
	struct strlist notes;
};

static void toy_init(struct toy *t, const char *spec)
{
	*t = (struct toy){ .now_s = 1800000000 };
	t->job = from_yamlf("metadata: {name: j, namespace: default, uid: job-1, resourceVersion: '1'}\n"
			    "spec:\n"
			    "  selector: {matchLabels: {batch.kubernetes.io/controller-uid: job-1}}\n"
			    "  template:\n"
			    "    metadata: {labels: {batch.kubernetes.io/controller-uid: job-1}}\n"
			    "    spec: {restartPolicy: Never, containers: [{name: c, image: i}]}\n%s",
			    spec);
}

static void toy_done(struct toy *t)
{
	json_decref(t->job);
	list_free(&t->pods);
	strlist_done(&t->notes);
}

static void remove_pod(struct toy *t, size_t i)
{
	json_decref(t->pods.items[i]);
	t->pods.items[i] = t->pods.items[--t->pods.count];
}

/* RFC 7396. */
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

static void apply(struct toy *t, const struct write *w)
{
	const char *last = strrchr(w->path, '/') + 1;

	if (str_eq(w->method, "POST")) {
		json_t *pod = json_deep_copy(w->body);
		_cleanup_free_ char *name = str_printf("p%u", ++t->made);

		json_set_str(pod, "metadata.name", name);
		json_set_str(pod, "metadata.uid", name);
		json_set_str(pod, "status.phase", "Running");
		object_list_add(&t->pods, pod);
		return;
	}
	if (strstr(w->path, "/jobs/")) {
		merge(t->job, w->body);
		return;
	}
	for (size_t i = 0; i < t->pods.count; i++) {
		json_t *pod = t->pods.items[i];

		if (!str_eq(object_name(pod), last))
			continue;
		if (str_eq(w->method, "PATCH")) {
			json_object_del(json_object_get(pod, "metadata"), "finalizers");
			if (object_deleting(pod))
				remove_pod(t, i);
		} else {
			t->deleted++;
			json_set_str(pod, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z");
			if (!job_holds(pod))
				remove_pod(t, i);
		}
		return;
	}
}

/* Syncs until nothing is written any more. */
static void settle(struct toy *t)
{
	for (int i = 0; i < 50; i++) {
		_cleanup_(selector_freep) struct selector *selector =
			selector_from_label_selector(json_at(t->job, "spec.selector"), NULL);
		struct job_view v = { .job = t->job, .selector = selector, .may_manage = true, .now_s = t->now_s };
		_cleanup_plan_ struct plan plan = { 0 };
		size_t n;

		for (size_t k = 0; k < t->pods.count; k++)
			object_list_add(&v.candidates, t->pods.items[k]);
		job_decide(&v, &plan);
		object_list_done(&v.candidates);
		for (size_t k = 0; k < plan.note_count; k++)
			strlist_add(&t->notes, plan.notes[k].reason);
		t->requeue_ms = plan.requeue_after_ms;
		n = plan.count;
		for (size_t k = 0; k < plan.count; k++)
			apply(t, plan.items[k]);
		if (!n)
			return;
	}
	fail_msg("it never settles");
}

static void end_pods(struct toy *t, size_t n, const char *phase)
{
	for (size_t i = 0; i < t->pods.count && n; i++) {
		if (!pod_active(t->pods.items[i]))
			continue;
		json_set_str(t->pods.items[i], "status.phase", phase);
		n--;
	}
	assert_int_equal(n, 0);
}

static int64_t status(const struct toy *t, const char *field)
{
	return json_int(json_object_get(t->job, "status"), field, 0);
}

static void one_pod_to_completion(void **state _unused_)
{
	struct toy t;

	toy_init(&t, "  completions: 1\n  parallelism: 1\n  backoffLimit: 6\n");
	settle(&t);
	assert_int_equal(t.made, 1);
	assert_true(job_holds(t.pods.items[0]));
	assert_int_equal(status(&t, "active"), 1);
	assert_non_null(json_str(t.job, "status.startTime"));
	end_pods(&t, 1, "Succeeded");
	settle(&t);
	assert_true(object_condition_true(t.job, "Complete"));
	assert_true(object_condition_true(t.job, "SuccessCriteriaMet"));
	assert_int_equal(status(&t, "succeeded"), 1);
	assert_int_equal(status(&t, "active"), 0);
	assert_non_null(json_str(t.job, "status.completionTime"));
	assert_false(job_holds(t.pods.items[0]));
	assert_true(strlist_has(&t.notes, "Completed"));
	toy_done(&t);
}

static void parallelism_and_completions(void **state _unused_)
{
	struct toy t;

	toy_init(&t, "  completions: 5\n  parallelism: 2\n  backoffLimit: 6\n");
	settle(&t);
	assert_int_equal(t.made, 2);
	end_pods(&t, 2, "Succeeded");
	settle(&t);
	assert_int_equal(t.made, 4);
	end_pods(&t, 2, "Succeeded");
	settle(&t);
	assert_int_equal(t.made, 5); /* only one is still needed */
	end_pods(&t, 1, "Succeeded");
	settle(&t);
	assert_true(object_condition_true(t.job, "Complete"));
	assert_int_equal(status(&t, "succeeded"), 5);
	toy_done(&t);
}

/* Counters survive the pods. */
static void removed_pods_stay_counted(void **state _unused_)
{
	struct toy t;

	toy_init(&t, "  completions: 3\n  parallelism: 1\n  backoffLimit: 6\n");
	for (int i = 0; i < 3; i++) {
		settle(&t);
		end_pods(&t, 1, "Succeeded");
		settle(&t);
		for (size_t k = t.pods.count; k-- > 0;) {
			if (pod_finished(t.pods.items[k]))
				remove_pod(&t, k);
		}
	}
	settle(&t);
	assert_int_equal(t.made, 3);
	assert_int_equal(status(&t, "succeeded"), 3);
	assert_true(object_condition_true(t.job, "Complete"));
	toy_done(&t);
}

static void failures_back_off_and_end_the_job(void **state _unused_)
{
	struct toy t;

	toy_init(&t, "  completions: 1\n  parallelism: 1\n  backoffLimit: 2\n");
	for (unsigned i = 1; i <= 3; i++) {
		char now[CLOCK_RFC3339_SIZE];

		clock_format_rfc3339(t.now_s, now);
		settle(&t);
		assert_int_equal(t.made, i);
		end_pods(&t, 1, "Failed");
		for (size_t k = 0; k < t.pods.count; k++) {
			if (!json_at(t.pods.items[k], "status.containerStatuses"))
				json_set(t.pods.items[k], "status.containerStatuses",
					 json_pack("[{s:{s:{s:s}}}]", "state", "terminated", "finishedAt", now));
		}
		settle(&t);
		assert_int_equal(status(&t, "failed"), i);
		assert_int_equal(t.made, i); /* the next has to wait */
		if (i < 3)
			assert_true(t.requeue_ms > 0);
		t.now_s += 1000;
	}
	settle(&t);
	assert_int_equal(t.made, 3);
	assert_true(object_condition_true(t.job, "Failed"));
	assert_string_equal(json_str(object_condition(t.job, "Failed"), "reason"), "BackoffLimitExceeded");
	assert_int_equal(status(&t, "failed"), 3);
	toy_done(&t);
}

static void the_deadline_ends_it(void **state _unused_)
{
	struct toy t;

	toy_init(&t, "  completions: 1\n  parallelism: 1\n  activeDeadlineSeconds: 30\n");
	settle(&t);
	assert_int_equal(t.requeue_ms, 30000);
	t.now_s += 30;
	settle(&t);
	assert_string_equal(json_str(object_condition(t.job, "Failed"), "reason"), "DeadlineExceeded");
	assert_int_equal(t.deleted, 1);
	toy_done(&t);
}

static void suspension_counts_nobody_as_failed(void **state _unused_)
{
	struct toy t;

	toy_init(&t, "  completions: 2\n  parallelism: 2\n  activeDeadlineSeconds: 30\n");
	settle(&t);
	json_set(t.job, "spec.suspend", json_true());
	settle(&t);
	assert_int_equal(t.pods.count, 0);
	assert_int_equal(status(&t, "failed"), 0);
	assert_true(object_condition_true(t.job, "Suspended"));
	assert_non_null(json_str(t.job, "status.startTime"));
	t.now_s += 60; /* time that does not count */
	json_set(t.job, "spec.suspend", json_false());
	settle(&t);
	assert_false(object_condition_true(t.job, "Failed"));
	assert_int_equal(t.made, 4);
	assert_false(object_condition_true(t.job, "Suspended"));
	assert_true(strlist_has(&t.notes, "Resumed"));
	toy_done(&t);
}

static void indexes_are_given_once_and_again_after_failure(void **state _unused_)
{
	struct toy t;
	unsigned seen[3] = { 0 };

	toy_init(&t, "  completions: 3\n  parallelism: 3\n  backoffLimit: 6\n  completionMode: Indexed\n");
	settle(&t);
	assert_int_equal(t.made, 3);
	for (size_t i = 0; i < 3; i++) {
		const json_t *pod = t.pods.items[i];
		int index = atoi(map_str(object_annotations(pod), JOB_INDEX));

		seen[index]++;
		assert_string_equal(json_str(pod, "spec.containers[0].env[0].name"), "JOB_COMPLETION_INDEX");
		assert_true(str_starts(json_str(pod, "spec.hostname"), "j-"));
		json_set_str(t.pods.items[i], "status.phase", index == 1 ? "Failed" : "Succeeded");
	}
	assert_true(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
	settle(&t);
	assert_string_equal(json_str(t.job, "status.completedIndexes"), "0,2");
	t.now_s += 1000;
	settle(&t);
	assert_int_equal(t.made, 4);
	assert_string_equal(map_str(object_annotations(t.pods.items[3]), JOB_INDEX), "1");
	end_pods(&t, 1, "Succeeded");
	settle(&t);
	assert_string_equal(json_str(t.job, "status.completedIndexes"), "0-2");
	assert_int_equal(status(&t, "succeeded"), 3);
	assert_int_equal(status(&t, "failed"), 1);
	assert_true(object_condition_true(t.job, "Complete"));
	toy_done(&t);
}

static void index_texts(void **state _unused_)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "", "" }, { "0", "0" }, { "0,1", "0,1" }, { "3-5", "3-5" }, { "0,2-4,7", "0,2-4,7" },
		{ "1,2,3", "1-3" }, { "x,2,9-1", "2" }, { "5-99999", "5-9" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t set[10] = { 0 };
		_cleanup_free_ char *out = NULL;

		job_indexes_parse(rows[i].in, set, sizeof(set));
		out = job_indexes_format(set, sizeof(set));
		assert_string_equal(out, rows[i].out);
	}
	assert_int_equal(job_backoff_s(0), 0);
	assert_int_equal(job_backoff_s(1), 10);
	assert_int_equal(job_backoff_s(3), 40);
	assert_int_equal(job_backoff_s(50), 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_pod_to_completion),
		cmocka_unit_test(parallelism_and_completions),
		cmocka_unit_test(removed_pods_stay_counted),
		cmocka_unit_test(failures_back_off_and_end_the_job),
		cmocka_unit_test(the_deadline_ends_it),
		cmocka_unit_test(suspension_counts_nobody_as_failed),
		cmocka_unit_test(indexes_are_given_once_and_again_after_failure),
		cmocka_unit_test(index_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
