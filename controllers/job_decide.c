// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Job: what should be done about one Job, as a plan. Ended pods are accounted for exactly once, whatever dies in
 * between: a pod keeps a finalizer until its uid stands in status.uncountedTerminatedPods, and the uid leaves that
 * list, into the counters, only when the finalizer is gone. Every step is idempotent.
 */
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/job.h"
#include "kube/object.h"

enum { BACKOFF_BASE_S = 10, BACKOFF_MAX_S = 600, BURST = 500 };

/* A Job and its pods, sorted out. */
struct tally {
	const struct job_view *v;
	const json_t *job;
	struct plan *plan;
	bool indexed, suspended;
	int64_t completions;           /* -1: none, any success completes */
	int64_t parallelism;
	int64_t backoff_limit;
	struct object_list active;     /* running or waiting */
	struct object_list held;       /* ended, with our finalizer */
	int64_t ready, terminating;
	int64_t succeeded, failed;     /* counted, uncounted and just ended */
	int64_t restarts;              /* of active pods with restartPolicy OnFailure */
	json_t *uncounted_ok, *uncounted_bad; /* own: what the list will be */
	int64_t counted_ok, counted_bad;
	uint8_t *done;                 /* indexes that succeeded, `completions` of them */
	int64_t failures_in_a_row, last_failure_s;
};

bool job_finished(const json_t *job)
{
	return object_condition_true(job, "Complete") || object_condition_true(job, "Failed");
}

int64_t job_finished_at_s(const json_t *job)
{
	static const char *const types[] = { "Complete", "Failed" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (object_condition_true(job, types[i]))
			return object_time_s(object_condition(job, types[i]), "lastTransitionTime", 0);
	}
	return 0;
}

int64_t job_backoff_s(int64_t failures)
{
	int64_t s = BACKOFF_BASE_S;

	if (failures <= 0)
		return 0;
	while (--failures > 0 && s < BACKOFF_MAX_S)
		s *= 2;
	return MIN(s, (int64_t)BACKOFF_MAX_S);
}

bool job_holds(const json_t *pod)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_at(pod, "metadata.finalizers"), i, f) {
		if (str_eq(json_string_value(f), JOB_FINALIZER))
			return true;
	}
	return false;
}

static bool has_uid(const json_t *list, const char *uid)
{
	json_t *u;
	size_t i;

	json_array_foreach((json_t *)list, i, u) {
		if (str_eq(json_string_value(u), uid))
			return true;
	}
	return false;
}

static int64_t index_of(const struct tally *t, const json_t *pod)
{
	const char *text = map_str(object_annotations(pod), JOB_INDEX);
	int64_t i;

	return t->indexed && text && str_to_i64(text, 0, t->completions - 1, &i) == 0 ? i : -1;
}

/* When a pod ended, as exactly as it says; for back-off. */
static int64_t ended_at_s(const json_t *pod)
{
	json_t *status;
	int64_t last = 0;
	size_t i;

	json_array_foreach(json_at(pod, "status.containerStatuses"), i, status)
		last = MAX(last, object_time_s(status, "state.terminated.finishedAt", 0));
	if (!last && !pod_ready(pod))
		last = object_time_s(object_condition(pod, "Ready"), "lastTransitionTime", 0);
	if (!last)
		last = object_time_s(pod, "metadata.deletionTimestamp", 0);
	return last ? last : object_time_s(pod, "metadata.creationTimestamp", 0);
}

static void add_success(struct tally *t, const json_t *pod, bool newly)
{
	int64_t i = index_of(t, pod);

	if (t->indexed) {
		if (i < 0 || t->done[i])
			return; /* counted by index, once */
		t->done[i] = 1;
	}
	if (newly || t->indexed)
		t->succeeded++;
}

/* Pods that have ended, or are being deleted when that counts as a failure. */
static void add_ended(struct tally *t, json_t *pod, bool succeeded)
{
	const char *uid = object_uid(pod);
	bool listed = has_uid(t->uncounted_ok, uid) || has_uid(t->uncounted_bad, uid);
	json_t **list = succeeded ? &t->uncounted_ok : &t->uncounted_bad;

	if (!job_holds(pod))
		return; /* in the counters, or in the list and about to be moved */
	object_list_add(&t->held, pod);
	if (!listed) {
		json_array_append_new(*list, json_string(uid));
		if (succeeded)
			add_success(t, pod, true);
		else
			t->failed++;
	}
}

static void add_active(struct tally *t, json_t *pod)
{
	json_t *status;
	size_t i;

	object_list_add(&t->active, pod);
	t->ready += pod_ready(pod);
	if (!str_eq(json_str(pod, "spec.restartPolicy"), "OnFailure"))
		return;
	json_array_foreach(json_at(pod, "status.containerStatuses"), i, status)
		t->restarts += json_int(status, "restartCount", 0);
}

static bool deleting_counts_as_failed(const json_t *job)
{
	return !str_eq(json_str(job, "spec.podReplacementPolicy"), "Failed");
}

static void note_backoff(struct tally *t, const struct object_list *pods)
{
	int64_t last_success_s = 0;

	for (size_t i = 0; i < pods->count; i++) {
		if (str_eq(json_str(pods->items[i], "status.phase"), "Succeeded"))
			last_success_s = MAX(last_success_s, ended_at_s(pods->items[i]));
	}
	for (size_t i = 0; i < pods->count; i++) {
		int64_t at_s = ended_at_s(pods->items[i]);

		if (!str_eq(json_str(pods->items[i], "status.phase"), "Failed") || at_s < last_success_s)
			continue;
		t->failures_in_a_row++;
		t->last_failure_s = MAX(t->last_failure_s, at_s);
	}
}

/* Moves uids whose pods are gone, or have lost our finalizer, from the list to the counters. */
static void settle_list(struct tally *t, const struct object_list *pods, const char *which, json_t **ret_list,
			int64_t *counter)
{
	json_t *list = json_object_get(json_at(t->job, "status.uncountedTerminatedPods"), which), *uid;
	size_t i;

	*ret_list = json_array();
	json_array_foreach(list, i, uid) {
		bool held = false;

		for (size_t k = 0; k < pods->count && !held; k++)
			held = str_eq(object_uid(pods->items[k]), json_string_value(uid)) &&
			       job_holds(pods->items[k]);
		if (held)
			json_array_append(*ret_list, uid);
		else
			(*counter)++;
	}
}

static void count(struct tally *t, const struct object_list *pods)
{
	t->counted_ok = json_int(t->job, "status.succeeded", 0);
	t->counted_bad = json_int(t->job, "status.failed", 0);
	settle_list(t, pods, "succeeded", &t->uncounted_ok, &t->counted_ok);
	settle_list(t, pods, "failed", &t->uncounted_bad, &t->counted_bad);
	t->failed = t->counted_bad + (int64_t)json_array_size(t->uncounted_bad);
	if (t->indexed) {
		t->done = mem_zalloc((size_t)t->completions + 1);
		job_indexes_parse(json_str(t->job, "status.completedIndexes"), t->done, (size_t)t->completions);
		for (int64_t i = 0; i < t->completions; i++)
			t->succeeded += t->done[i];
	} else {
		t->succeeded = t->counted_ok + (int64_t)json_array_size(t->uncounted_ok);
	}
	for (size_t i = 0; i < pods->count; i++) {
		json_t *pod = pods->items[i];
		bool ended = pod_finished(pod);

		if (!ended && object_deleting(pod))
			t->terminating++;
		if (ended || (object_deleting(pod) && deleting_counts_as_failed(t->job)))
			add_ended(t, pod, str_eq(json_str(pod, "status.phase"), "Succeeded"));
		else if (!object_deleting(pod))
			add_active(t, pod);
	}
	note_backoff(t, pods);
}

static bool enough(const struct tally *t)
{
	if (t->completions < 0)
		return t->succeeded > 0 && !t->active.count;
	return t->succeeded >= t->completions;
}

/* Why the Job has failed, or NULL. */
static const char *failure(const struct tally *t, const char **ret_message)
{
	int64_t deadline_s = json_int(t->job, "spec.activeDeadlineSeconds", 0);
	int64_t started_s = object_time_s(t->job, "status.startTime", t->v->now_s);
	const json_t *target = object_condition(t->job, "FailureTarget");

	if (object_condition_true(t->job, "FailureTarget")) {
		*ret_message = json_str_or(target, "message", "");
		return json_str_or(target, "reason", "");
	}
	if (t->failed > t->backoff_limit || (t->restarts && t->restarts >= t->backoff_limit)) {
		*ret_message = "Job has reached the specified backoff limit";
		return "BackoffLimitExceeded";
	}
	/* A Job that is just being resumed gets its new start first. */
	if (!deadline_s || t->suspended || object_condition_true(t->job, "Suspended"))
		return NULL;
	if (t->v->now_s - started_s >= deadline_s) {
		*ret_message = "Job was active longer than specified deadline";
		return "DeadlineExceeded";
	}
	plan_requeue(t->plan, (deadline_s - (t->v->now_s - started_s)) * 1000);
	return NULL;
}

void job_release(const struct object_list *held, struct plan *plan)
{
	for (size_t i = 0; i < held->count; i++) {
		const json_t *pod = held->items[i];
		struct write *w = plan_add(plan, "PATCH",
					   kube_path("v1", "pods", object_namespace(pod), object_name(pod), NULL),
					   json_pack("{s:{s:s, s:[s]}}", "metadata", "uid", object_uid(pod),
						     "$deleteFromPrimitiveList/finalizers", JOB_FINALIZER));

		w->content_type = KUBE_STRATEGIC_PATCH;
		w->flags |= WRITE_IGNORE_NOT_FOUND;
	}
}

static void delete_active(struct tally *t, size_t keep)
{
	while (t->active.count > keep) {
		workload_delete_pod(t->plan, t->job, t->active.items[--t->active.count]);
		t->terminating++;
	}
}

/* Deletes pods that are too many: not their fault, so the finalizer goes first and they are not counted as failed. */
static void delete_uncounted(struct tally *t, size_t keep)
{
	_cleanup_object_list_ struct object_list released = { 0 };

	if (t->active.count <= keep)
		return;
	workload_rank_for_deletion(&t->active, &t->active, t->v->now_s);
	/* The first in rank go first; delete_active() takes from the end. */
	for (size_t i = 0, k = t->active.count - 1; i < k; i++, k--) {
		json_t *pod = t->active.items[i];

		t->active.items[i] = t->active.items[k];
		t->active.items[k] = pod;
	}
	for (size_t i = keep; i < t->active.count; i++)
		object_list_add(&released, t->active.items[i]);
	job_release(&released, t->plan);
	plan_barrier(t->plan);
	delete_active(t, keep);
}

static json_t *indexed_pod(const struct tally *t, json_t *pod, int64_t index)
{
	_cleanup_free_ char *text = str_printf("%lld", (long long)index);
	_cleanup_free_ char *prefix = str_printf("%s-%s-", object_name(t->job), text);
	_cleanup_free_ char *hostname = str_printf("%s-%s", object_name(t->job), text);
	static const char *const lists[] = { "containers", "initContainers" };
	json_t *metadata = json_object_get(pod, "metadata"), *spec = json_object_get(pod, "spec"), *container;
	static const char *const maps[] = { "annotations", "labels" };
	size_t i;

	json_object_set_new(metadata, "generateName", json_string(prefix));
	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		if (!json_object_get(metadata, maps[i]))
			json_object_set_new(metadata, maps[i], json_object());
		json_object_set_new(json_object_get(metadata, maps[i]), JOB_INDEX, json_string(text));
	}
	if (str_empty(json_str(spec, "hostname")))
		json_object_set_new(spec, "hostname", json_string(hostname));
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(json_object_get(spec, lists[l]), i, container) {
			if (!json_object_get(container, "env"))
				json_object_set_new(container, "env", json_array());
			json_array_append_new(json_object_get(container, "env"),
					      json_pack("{s:s, s:{s:{s:s}}}", "name", "JOB_COMPLETION_INDEX",
							"valueFrom", "fieldRef", "fieldPath",
							"metadata.annotations['" JOB_INDEX "']"));
		}
	}
	return pod;
}

static void create_pods(struct tally *t, int64_t n)
{
	_cleanup_free_ uint8_t *taken = t->indexed ? mem_dup(t->done, (size_t)t->completions + 1) : NULL;
	int64_t next = 0;

	for (size_t i = 0; taken && i < t->active.count; i++) {
		int64_t index = index_of(t, t->active.items[i]);

		if (index >= 0)
			taken[index] = 1;
	}
	for (; n > 0; n--) {
		json_t *pod = workload_pod(t->job, "batch/v1", "Job", json_at(t->job, "spec.template"), NULL);
		json_t *finalizers = json_at(pod, "metadata.finalizers");

		if (!finalizers) {
			finalizers = json_array();
			json_set(pod, "metadata.finalizers", finalizers);
		}
		json_array_append_new(finalizers, json_string(JOB_FINALIZER));
		if (t->indexed) {
			while (next < t->completions && taken[next])
				next++;
			if (next == t->completions) {
				json_decref(pod);
				return;
			}
			taken[next] = 1;
			indexed_pod(t, pod, next);
		}
		workload_create_pod(t->plan, t->job, pod);
	}
}

static void manage(struct tally *t)
{
	int64_t wanted = t->parallelism, missing, wait_s;
	/* Pods on their way out still count when a replacement has to wait for their end. */
	int64_t busy = (int64_t)t->active.count + (deleting_counts_as_failed(t->job) ? 0 : t->terminating);

	if (t->suspended) {
		delete_uncounted(t, 0);
		return;
	}
	if (t->completions >= 0)
		wanted = MIN(wanted, MAX(t->completions - t->succeeded, (int64_t)0));
	else if (t->succeeded > 0)
		wanted = MIN(wanted, (int64_t)t->active.count); /* no new ones after the first success */
	if ((int64_t)t->active.count > wanted) {
		delete_uncounted(t, (size_t)wanted);
		return;
	}
	missing = MIN(wanted - busy, (int64_t)BURST);
	if (missing <= 0)
		return;
	wait_s = t->last_failure_s + job_backoff_s(t->failures_in_a_row) - t->v->now_s;
	if (t->failures_in_a_row && wait_s > 0) {
		plan_requeue(t->plan, wait_s * 1000);
		return;
	}
	create_pods(t, missing);
}

static void put(json_t *status, const char *field, int64_t n)
{
	if (n)
		json_object_set_new(status, field, json_integer(n));
}

static void set_condition(const struct tally *t, json_t *conditions, const char *type, const char *value,
			  const char *reason, const char *message)
{
	char now[CLOCK_RFC3339_SIZE];
	json_t *c;
	size_t i;

	clock_format_rfc3339(t->v->now_s, now);
	if (!object_set_condition(conditions, type, value, reason, message, now))
		return;
	json_array_foreach(conditions, i, c) {
		if (str_eq(json_str(c, "type"), type))
			json_object_set_new(c, "lastProbeTime", json_string(now));
	}
}

/* The conditions of the Job's end: first that it is decided, and when the last pod has ended that it is over. */
static void judge(struct tally *t, json_t *status, json_t *conditions, const char *reason, const char *message)
{
	bool all_ended = !t->active.count && !t->terminating;
	char now[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(t->v->now_s, now);
	if (reason) {
		set_condition(t, conditions, "FailureTarget", "True", reason, message);
		if (all_ended && !t->held.count) {
			set_condition(t, conditions, "Failed", "True", reason, message);
			plan_event(t->plan, t->job, "Warning", reason, "%s", message);
		}
	} else if (enough(t)) {
		set_condition(t, conditions, "SuccessCriteriaMet", "True", "CompletionsReached",
			      "Reached expected number of succeeded pods");
		if (all_ended && !t->held.count) {
			set_condition(t, conditions, "Complete", "True", "CompletionsReached",
				      "Reached expected number of succeeded pods");
			json_object_set_new(status, "completionTime", json_string(now));
			plan_event(t->plan, t->job, "Normal", "Completed", "Job completed");
		}
	}
}

static void note_suspension(struct tally *t, json_t *status, json_t *conditions)
{
	char now[CLOCK_RFC3339_SIZE];
	const char *started = json_str(t->job, "status.startTime");
	bool was = object_condition_true(t->job, "Suspended");

	clock_format_rfc3339(t->v->now_s, now);
	if (t->suspended) {
		set_condition(t, conditions, "Suspended", "True", "JobSuspended", "Job suspended");
		if (!was)
			plan_event(t->plan, t->job, "Normal", "Suspended", "Job suspended");
		/* It stays until the Job is resumed: a Job that ends meanwhile must have one. */
		if (started)
			json_object_set_new(status, "startTime", json_string(started));
		return;
	}
	if (was) {
		set_condition(t, conditions, "Suspended", "False", "JobResumed", "Job resumed");
		plan_event(t->plan, t->job, "Normal", "Resumed", "Job resumed");
		started = NULL;
	}
	json_object_set_new(status, "startTime", json_string(started ? started : now));
}

static void write_status(struct tally *t, const char *reason, const char *message)
{
	_cleanup_json_ json_t *status = json_object(),
			      *conditions = json_deep_copy(json_at(t->job, "status.conditions"));
	json_t *uncounted = json_object();

	if (!conditions)
		conditions = json_array();
	note_suspension(t, status, conditions);
	put(status, "active", (int64_t)t->active.count);
	json_object_set_new(status, "ready", json_integer(t->ready));
	json_object_set_new(status, "terminating", json_integer(t->terminating));
	if (t->indexed) {
		_cleanup_free_ char *text = job_indexes_format(t->done, (size_t)t->completions);

		put(status, "succeeded", t->succeeded);
		if (*text)
			json_object_set_new(status, "completedIndexes", json_string(text));
	} else {
		put(status, "succeeded", t->counted_ok);
	}
	put(status, "failed", t->counted_bad);
	if (json_array_size(t->uncounted_ok))
		json_object_set(uncounted, "succeeded", t->uncounted_ok);
	if (json_array_size(t->uncounted_bad))
		json_object_set(uncounted, "failed", t->uncounted_bad);
	json_object_set_new(status, "uncountedTerminatedPods", uncounted);
	judge(t, status, conditions, reason, message);
	if (json_array_size(conditions))
		json_object_set(status, "conditions", conditions);
	workload_write_status(t->plan, t->job, "batch/v1", "jobs", status);
}

/* Of a Job that is over or going, nothing is counted any more; its pods must not be held. */
static void release_all(const struct object_list *pods, struct plan *plan)
{
	_cleanup_object_list_ struct object_list held = { 0 };

	for (size_t i = 0; i < pods->count; i++) {
		if (job_holds(pods->items[i]))
			object_list_add(&held, pods->items[i]);
	}
	job_release(&held, plan);
}

static void decide(struct tally *t, const struct object_list *pods)
{
	const char *reason, *message = "";

	count(t, pods);
	reason = failure(t, &message);
	if (t->v->may_manage) {
		if (reason || enough(t))
			delete_active(t, 0);
		else
			manage(t);
	}
	write_status(t, reason, message);
	plan_barrier(t->plan); /* only when the status that lists them is stored */
	job_release(&t->held, t->plan);
	object_list_done(&t->active);
	object_list_done(&t->held);
	json_decref(t->uncounted_ok);
	json_decref(t->uncounted_bad);
	free(t->done);
}

void job_decide(const struct job_view *v, struct plan *plan)
{
	const struct claimant claimant = { v->job, "batch/v1", "Job", "jobs", v->selector, "v1", "pods" };
	_cleanup_object_list_ struct object_list owned = { 0 };
	struct tally t = { .v = v, .job = v->job, .plan = plan };

	if (workload_claim(&claimant, &v->candidates, &owned, plan))
		return;
	if (job_finished(v->job) || object_deleting(v->job)) {
		release_all(&owned, plan);
		return;
	}
	t.completions = json_int(v->job, "spec.completions", -1);
	t.indexed = str_eq(json_str(v->job, "spec.completionMode"), "Indexed") && t.completions >= 0 &&
		    t.completions <= JOB_MAX_INDEX;
	t.parallelism = json_int(v->job, "spec.parallelism", 1);
	t.backoff_limit = json_int(v->job, "spec.backoffLimit", 6);
	t.suspended = json_bool(v->job, "spec.suspend", false);
	decide(&t, &owned);
}
