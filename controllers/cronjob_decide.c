// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CronJob: what should be done about one, as a plan. A scheduled time makes one Job at most: the Job's name is made
 * from it, and only the latest missed time counts.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "controllers/cron.h"
#include "controllers/cronjob.h"
#include "controllers/job.h"
#include "kube/object.h"

enum { MISSED_MAX = 100 };

struct work {
	const struct cronjob_view *v;
	const json_t *cronjob;
	struct plan *plan;
	struct object_list active; /* Jobs that are not finished */
	const char *zone;
	json_t *status;            /* own: what it will be */
};

static json_t *reference_to(const json_t *job)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "apiVersion", "batch/v1", "kind", "Job", "name",
			 object_name(job), "namespace", object_namespace(job), "uid", object_uid(job),
			 "resourceVersion", object_resource_version(job));
}

static bool was_active(const struct work *w, const json_t *job)
{
	json_t *ref;
	size_t i;

	json_array_foreach(json_at(w->cronjob, "status.active"), i, ref) {
		if (str_eq(json_str(ref, "uid"), object_uid(job)))
			return true;
	}
	return false;
}

static void count_jobs(struct work *w)
{
	json_t *active = json_array(), *condition;
	const char *last = json_str(w->cronjob, "status.lastScheduleTime");
	const char *success = json_str_or(w->cronjob, "status.lastSuccessfulTime", "");

	for (size_t i = 0; i < w->v->jobs.count; i++) {
		json_t *job = w->v->jobs.items[i];
		const char *ended = json_str_or(job, "status.completionTime", "");

		if (!job_finished(job)) {
			object_list_add(&w->active, job);
			json_array_append_new(active, reference_to(job));
			continue;
		}
		condition = object_condition(job, object_condition_true(job, "Complete") ? "Complete" : "Failed");
		if (was_active(w, job))
			plan_event(w->plan, w->cronjob, "Normal", "SawCompletedJob",
				   "Saw completed job: %s, condition: %s", object_name(job),
				   json_str_or(condition, "type", ""));
		/* RFC 3339 in UTC sorts as text. */
		if (object_condition_true(job, "Complete") && strcmp(ended, success) > 0)
			success = ended;
	}
	w->status = json_object();
	if (json_array_size(active))
		json_object_set(w->status, "active", active);
	json_decref(active);
	if (last)
		json_object_set_new(w->status, "lastScheduleTime", json_string(last));
	if (*success)
		json_object_set_new(w->status, "lastSuccessfulTime", json_string(success));
}

static void delete_job(struct work *w, const json_t *job)
{
	struct write *x = plan_delete(w->plan,
				      kube_path("batch/v1", "jobs", object_namespace(job), object_name(job), NULL),
				      object_uid(job), -1, "Background");

	x->flags |= WRITE_IGNORE_NOT_FOUND;
	write_says(x, w->cronjob, "SuccessfulDelete", str_printf("Deleted job %s", object_name(job)), "FailedDelete",
		   mem_strdup("Deleted job: "));
	x->event.append_message = true;
}

static void clean_history(struct work *w, const char *type, const char *limit_path, int64_t fallback)
{
	_cleanup_object_list_ struct object_list jobs = { 0 };
	int64_t limit = json_int(w->cronjob, limit_path, fallback);

	for (size_t i = 0; i < w->v->jobs.count; i++) {
		if (object_condition_true(w->v->jobs.items[i], type) && !object_deleting(w->v->jobs.items[i]))
			object_list_add(&jobs, w->v->jobs.items[i]);
	}
	object_list_sort_by_age(&jobs);
	for (int64_t i = 0; i < (int64_t)jobs.count - limit; i++)
		delete_job(w, jobs.items[i]);
}

/* The latest time that is due and has not been started, or -1. Asks for the next look. */
static int64_t due_s(struct work *w, const struct cron *c)
{
	int64_t deadline_s = json_int(w->cronjob, "spec.startingDeadlineSeconds", -1), now_s = w->v->now_s;
	int64_t from_s = object_time_s(w->cronjob, "status.lastScheduleTime",
				       object_time_s(w->cronjob, "metadata.creationTimestamp", now_s));
	int64_t due, next;
	int missed;

	if (deadline_s >= 0)
		from_s = MAX(from_s, now_s - deadline_s);
	due = cron_latest_s(c, w->zone, from_s, now_s, &missed);
	if (missed > MISSED_MAX)
		plan_event(w->plan, w->cronjob, "Warning", "TooManyMissedTimes",
			   "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock "
			   "skew");
	next = cron_next_s(c, w->zone, now_s);
	if (next >= 0)
		plan_requeue(w->plan, (next - now_s) * 1000 + 100);
	return due;
}

static void create_job(struct work *w, int64_t at_s)
{
	_cleanup_free_ char *name = str_printf("%s-%lld", object_name(w->cronjob), (long long)(at_s / 60));
	const json_t *template = json_at(w->cronjob, "spec.jobTemplate");
	json_t *metadata = json_object(), *annotations, *labels = json_at(template, "metadata.labels");
	struct write *x;
	char at[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(at_s, at);
	annotations = json_deep_copy(json_at(template, "metadata.annotations"));
	if (!annotations)
		annotations = json_object();
	json_object_set_new(annotations, "batch.kubernetes.io/cronjob-scheduled-timestamp", json_string(at));
	json_object_set_new(metadata, "name", json_string(name));
	json_object_set_new(metadata, "namespace", json_string(object_namespace(w->cronjob)));
	json_object_set_new(metadata, "annotations", annotations);
	if (labels)
		json_object_set(metadata, "labels", labels);
	json_object_set_new(metadata, "ownerReferences",
			    json_pack("[o]", object_controller_ref(w->cronjob, "batch/v1", "CronJob")));
	x = plan_create(w->plan, kube_path("batch/v1", "jobs", object_namespace(w->cronjob), NULL, NULL),
			json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "batch/v1", "kind", "Job", "metadata", metadata,
				  "spec", json_deep_copy(json_object_get(template, "spec"))));
	x->flags |= WRITE_IGNORE_EXISTS;
	write_says(x, w->cronjob, "SuccessfulCreate", str_printf("Created job %s", name), "FailedCreate",
		   mem_strdup("Error creating job: "));
	x->event.append_message = true;
	json_object_set_new(w->status, "lastScheduleTime", json_string(at));
}

static void start_due(struct work *w, const struct cron *c)
{
	const char *policy = json_str_or(w->cronjob, "spec.concurrencyPolicy", "Allow");
	int64_t at_s = due_s(w, c);

	if (at_s < 0)
		return;
	if (str_eq(policy, "Forbid") && w->active.count) {
		plan_event(w->plan, w->cronjob, "Normal", "JobAlreadyActive",
			   "Not starting job because prior execution is running and concurrency policy is Forbid");
		return;
	}
	if (str_eq(policy, "Replace")) {
		for (size_t i = 0; i < w->active.count; i++)
			delete_job(w, w->active.items[i]);
	}
	create_job(w, at_s);
}

void cronjob_decide(const struct cronjob_view *v, struct plan *plan)
{
	struct work w = { .v = v, .cronjob = v->cronjob, .plan = plan, .zone = json_str(v->cronjob, "spec.timeZone") };
	const char *schedule = json_str_or(v->cronjob, "spec.schedule", "");
	struct cron c;

	if (object_deleting(v->cronjob))
		return;
	count_jobs(&w);
	clean_history(&w, "Complete", "spec.successfulJobsHistoryLimit", 3);
	clean_history(&w, "Failed", "spec.failedJobsHistoryLimit", 1);
	if (w.zone && !cron_zone_exists(w.zone))
		plan_event(plan, v->cronjob, "Warning", "UnknownTimeZone", "invalid timeZone: \"%s\"", w.zone);
	else if (cron_parse(schedule, &c) < 0)
		plan_event(plan, v->cronjob, "Warning", "UnparseableSchedule", "unparseable schedule: %s", schedule);
	else if (!json_bool(v->cronjob, "spec.suspend", false))
		start_due(&w, &c);
	plan_barrier(plan); /* a time counts as used only when its Job is there */
	workload_write_status(plan, v->cronjob, "batch/v1", "cronjobs", w.status);
	json_decref(w.status);
	object_list_done(&w.active);
}
