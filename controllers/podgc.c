// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Clean-up of pods that no agent will ever finish: those bound to a node that is gone (after a quarantine, verified by
 * a live GET), those being deleted before they were bound, and finished ones beyond a threshold, oldest first. Its keys
 * are pods, and SWEEP for the count of finished ones.
 */
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/node.h"
#include "kube/object.h"

#define SWEEP "#sweep"
enum { QUARANTINE_S = 40, SWEEP_MS = 20000, FINISHED_MAX = 12500, SWEEP_BURST = 500, TAG_NODE = 1 };

struct missing {
	int64_t since_s;
	bool verified; /* the API server has no such node either */
};

static void sweep(struct controller *c, struct plan *plan)
{
	_cleanup_object_list_ struct object_list finished = { 0 };
	size_t it = 0;

	plan_requeue(plan, SWEEP_MS);
	if (informer_count(controller_informer(c, INFORMER_PODS)) <= FINISHED_MAX)
		return;
	for (json_t *pod; (pod = informer_next(controller_informer(c, INFORMER_PODS), &it));) {
		if (pod_finished(pod) && !object_deleting(pod))
			object_list_add(&finished, pod);
	}
	if (finished.count <= FINISHED_MAX)
		return;
	object_list_sort_by_age(&finished);
	for (size_t i = 0; i < MIN(finished.count - FINISHED_MAX, (size_t)SWEEP_BURST); i++) {
		const json_t *pod = finished.items[i];

		plan_delete(plan, kube_path("v1", "pods", object_namespace(pod), object_name(pod), NULL),
			    object_uid(pod), 0, NULL)
			->flags |= WRITE_IGNORE_NOT_FOUND;
	}
}

static void collect_orphan(struct controller *c, const json_t *pod, const char *node, struct plan *plan)
{
	struct missing *m = map_get(c->state, node);
	int64_t now_s = clock_wall_s();
	struct write *w;

	if (!m) {
		m = mem_new(struct missing);
		m->since_s = now_s;
		map_set(c->state, node, m);
	}
	if (now_s < m->since_s + QUARANTINE_S) {
		plan_requeue(plan, (m->since_s + QUARANTINE_S - now_s) * 1000);
	} else if (!m->verified) {
		w = plan_add(plan, "GET", kube_path("v1", "nodes", NULL, node, NULL), NULL);
		w->tag = TAG_NODE;
		w->flags |= WRITE_MAY_FAIL;
	} else {
		node_disrupt_pod(plan, pod, "DeletionByPodGC", "PodGC: node no longer exists", !pod_finished(pod), 0,
				 now_s);
	}
}

static void podgc_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *pod;
	const char *node;

	if (str_eq(key, SWEEP)) {
		sweep(c, plan);
		return;
	}
	pod = controller_get(c, INFORMER_PODS, key);
	if (!pod)
		return;
	node = json_str_or(pod, "spec.nodeName", "");
	if (!*node) {
		if (object_deleting(pod))
			plan_delete(plan, kube_path("v1", "pods", object_namespace(pod), object_name(pod), NULL),
				    object_uid(pod), 0, NULL)
				->flags |= WRITE_IGNORE_NOT_FOUND;
	} else if (!informer_get(controller_informer(c, INFORMER_NODES), NULL, node)) {
		collect_orphan(c, pod, node, plan);
	}
}

static void podgc_wrote(struct controller *c, const char *key, const struct write *w, const struct kube_result *r,
			bool ok _unused_)
{
	const char *node = strrchr(w->path, '/') + 1;
	struct missing *m = map_get(c->state, node);

	if (w->tag != TAG_NODE || !m || !r)
		return;
	m->verified = r->status == 404;
	if (!kube_ok(r)) /* a node that is there will be shown by the watch */
		controller_enqueue_after(c, key, m->verified ? 0 : 5000);
}

static void on_node(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	_cleanup_object_list_ struct object_list pods = { 0 };

	if (new) {
		map_del(c->state, object_name(new));
		return;
	}
	object_list_add_index(&pods, controller_informer(c, INFORMER_PODS), INDEX_NODE, object_name(old));
	for (size_t i = 0; i < pods.count; i++)
		controller_enqueue_object(c, pods.items[i]);
}

static void podgc_start(struct controller *c)
{
	c->state = map_new(free); /* name of a missing node -> struct missing */
	controller_watch(c, INFORMER_NODES, on_node);
}

static void podgc_ready(struct controller *c)
{
	controller_enqueue(c, SWEEP);
}

static void podgc_stop(struct controller *c)
{
	map_free(c->state);
}

const struct controller_ops podgc_controller = {
	.name = "pod-garbage-collector",
	.primary = INFORMER_PODS,
	.needs = NEEDS(INFORMER_PODS) | NEEDS(INFORMER_NODES),
	.parallel = 8,
	.start = podgc_start,
	.ready = podgc_ready,
	.stop = podgc_stop,
	.sync = podgc_sync,
	.wrote = podgc_wrote,
};
