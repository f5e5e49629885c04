// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Job controller, and the one that deletes finished Jobs after their ttlSecondsAfterFinished. Jobs that name
 * another manager in spec.managedBy are left alone.
 */
#include "controllers/job.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

static bool ours(const json_t *job)
{
	const char *manager = json_str_or(job, "spec.managedBy", "");

	return !*manager || str_eq(manager, "kubernetes.io/job-controller");
}

static char *key_of_owner(const struct controller *c, const json_t *pod)
{
	const json_t *owner = object_controller_of(pod), *job;

	if (!owner || !str_eq(json_str(owner, "kind"), "Job"))
		return NULL;
	job = informer_get(controller_informer(c, INFORMER_JOBS), object_namespace(pod),
			   json_str_or(owner, "name", ""));
	return job && str_eq(object_uid(job), json_str(owner, "uid")) ? object_key(job) : NULL;
}

#define STRAY "#stray "
enum { STRAY_DELAY_MS = 2000 }; /* so that the caches of pods and Jobs are of the same time */

static void enqueue_stray(struct controller *c, const json_t *pod)
{
	_cleanup_free_ char *pod_key = pod ? object_key(pod) : NULL, *key = NULL;

	if (!pod || !job_holds(pod) || !(object_deleting(pod) || pod_finished(pod)))
		return;
	key = str_printf(STRAY "%s", pod_key);
	controller_enqueue_after(c, key, STRAY_DELAY_MS);
}

static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *pod = new ? new : old;
	_cleanup_free_ char *key = key_of_owner(c, pod);

	if (!key) {
		enqueue_stray(c, new);
		return;
	}
	if (!old)
		expectations_created(c->expected, key);
	if (!new || object_deleting(new))
		expectations_deleted(c->expected, key, object_uid(pod));
	controller_enqueue(c, key);
}

/* Pods that wait to be counted by a Job which is gone are let go. */
static void release_stray(struct controller *c, const char *pod_key, struct plan *plan)
{
	_cleanup_object_list_ struct object_list pods = { 0 };
	json_t *pod = controller_get(c, INFORMER_PODS, pod_key);
	_cleanup_free_ char *owner = pod ? key_of_owner(c, pod) : NULL;

	if (!pod || owner || !job_holds(pod))
		return;
	object_list_add(&pods, pod);
	job_release(&pods, plan);
}

/*
 * Pods and Jobs are watched on two streams. A pod may show that its finalizer is gone before the Job shows the status
 * that lists the pod; counted then, the pod would be in neither, and be made again. So a Job is not looked at while the
 * cache has an earlier one than our last write of its status.
 */
static bool is_stale(struct controller *c, const char *key, const json_t *job)
{
	const uint64_t *written = map_get(c->state, key);
	uint64_t have;

	return written && str_to_u64(object_resource_version(job), UINT64_MAX, &have) == 0 && have < *written;
}

static void job_wrote(struct controller *c, const char *key, const struct write *w, const struct kube_result *r,
		      bool ok)
{
	uint64_t revision, *written;

	if (!ok || !r || !r->object || !strstr(w->path, "/jobs/") || !str_ends(w->path, "/status") ||
	    str_to_u64(object_resource_version(r->object), UINT64_MAX, &revision) < 0)
		return;
	written = mem_new(uint64_t);
	*written = revision;
	map_set(c->state, key, written);
}

static void job_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *job = str_after(key, STRAY) ? NULL : controller_get(c, INFORMER_JOBS, key);
	const struct informer *pods = controller_informer(c, INFORMER_PODS);
	_cleanup_(selector_freep) struct selector *selector = NULL;

	if (str_after(key, STRAY)) {
		release_stray(c, str_after(key, STRAY), plan);
		return;
	}
	if (!job) {
		expectations_forget(c->expected, key);
		map_del(c->state, key);
		return;
	}
	if (is_stale(c, key, job))
		return; /* the newer one brings the key back */
	selector = selector_from_label_selector(json_at(job, "spec.selector"), NULL);
	if (!ours(job) || !selector)
		return;

	struct job_view view = { .job = job, .selector = selector, .may_manage = controller_expectations_met(c, key),
				 .now_s = clock_wall_s() };

	object_list_add_index(&view.candidates, pods, INDEX_OWNER, object_uid(job));
	object_list_add_index(&view.candidates, pods, INDEX_ORPHAN, object_namespace(job));
	job_decide(&view, plan);
	object_list_done(&view.candidates);
}

static void job_stop(struct controller *c)
{
	map_free(c->state);
}

static void job_start(struct controller *c)
{
	c->state = map_new(free); /* key -> resourceVersion of our last status write */
	controller_watch(c, INFORMER_PODS, on_pod);
}

/* Strays from before this process started. */
static void job_ready(struct controller *c)
{
	size_t it = 0;

	for (json_t *pod; (pod = informer_next(controller_informer(c, INFORMER_PODS), &it));) {
		_cleanup_free_ char *key = key_of_owner(c, pod);

		if (!key)
			enqueue_stray(c, pod);
	}
}

static void ttl_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *job = controller_get(c, INFORMER_JOBS, key);
	int64_t ttl_s, due_s, now_s = clock_wall_s();

	if (!job || object_deleting(job) || !job_finished(job))
		return;
	ttl_s = json_int(job, "spec.ttlSecondsAfterFinished", -1);
	if (ttl_s < 0)
		return;
	due_s = job_finished_at_s(job) + ttl_s;
	if (due_s > now_s)
		plan_requeue(plan, (due_s - now_s) * 1000);
	else
		plan_delete(plan, kube_path("batch/v1", "jobs", object_namespace(job), object_name(job), NULL),
			    object_uid(job), -1, "Foreground")
			->flags |= WRITE_IGNORE_NOT_FOUND;
}

const struct controller_ops job_controller = {
	.name = "job",
	.primary = INFORMER_JOBS,
	.needs = NEEDS(INFORMER_JOBS) | NEEDS(INFORMER_PODS),
	.parallel = 5,
	.start = job_start,
	.ready = job_ready,
	.stop = job_stop,
	.sync = job_sync,
	.wrote = job_wrote,
};
const struct controller_ops ttlafterfinished_controller = {
	.name = "ttl-after-finished",
	.primary = INFORMER_JOBS,
	.needs = NEEDS(INFORMER_JOBS),
	.parallel = 5,
	.sync = ttl_sync,
};
