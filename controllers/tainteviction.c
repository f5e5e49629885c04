// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Taint eviction: a pod leaves a node whose NoExecute taints it does not tolerate, at once or when its
 * tolerationSeconds are over. Its keys are pods.
 */
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/node.h"
#include "kube/object.h"

static bool has_no_execute(const json_t *node)
{
	json_t *taint;
	size_t i;

	json_array_foreach(json_at(node, "spec.taints"), i, taint) {
		if (str_eq(json_str(taint, "effect"), "NoExecute"))
			return true;
	}
	return false;
}

static void on_node(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	_cleanup_object_list_ struct object_list pods = { 0 };

	if (!has_no_execute(old) && !has_no_execute(new))
		return;
	object_list_add_index(&pods, controller_informer(c, INFORMER_PODS), INDEX_NODE, object_name(new ? new : old));
	for (size_t i = 0; i < pods.count; i++)
		controller_enqueue_object(c, pods.items[i]);
}

/* When this pod was first seen to be in the wrong place; for taints that do not say since when they are. */
static int64_t since_s(struct controller *c, const char *uid, int64_t now_s)
{
	int64_t *since = map_get(c->state, uid);

	if (!since) {
		since = mem_new(int64_t);
		*since = now_s;
		map_set(c->state, uid, since);
	}
	return *since;
}

static void tainteviction_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *pod = controller_get(c, INFORMER_PODS, key), *node;
	int64_t now_s = clock_wall_s(), deadline_s;

	if (!pod || !pod_active(pod))
		return;
	node = informer_get(controller_informer(c, INFORMER_NODES), NULL, json_str_or(pod, "spec.nodeName", ""));
	if (!node || !has_no_execute(node)) {
		map_del(c->state, object_uid(pod));
		return;
	}
	deadline_s = tainteviction_deadline_s(pod, json_at(node, "spec.taints"), since_s(c, object_uid(pod), now_s));
	if (deadline_s < 0)
		return;
	if (deadline_s > now_s) {
		plan_requeue(plan, (deadline_s - now_s) * 1000);
		return;
	}
	plan_event(plan, pod, "Normal", "TaintManagerEviction", "Marking for deletion Pod %s", key);
	node_disrupt_pod(plan, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", false,
			 -1, now_s);
}

/* What is remembered about a pod goes with it. */
static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;

	if (old && (!new || !str_eq(object_uid(old), object_uid(new))))
		map_del(c->state, object_uid(old));
}

static void tainteviction_start(struct controller *c)
{
	c->state = map_new(free);
	controller_watch(c, INFORMER_NODES, on_node);
	controller_watch(c, INFORMER_PODS, on_pod);
}

static void tainteviction_stop(struct controller *c)
{
	map_free(c->state);
}

const struct controller_ops tainteviction_controller = {
	.name = "taint-eviction",
	.primary = INFORMER_PODS,
	.needs = NEEDS(INFORMER_PODS) | NEEDS(INFORMER_NODES),
	.parallel = 8,
	.start = tainteviction_start,
	.stop = tainteviction_stop,
	.sync = tainteviction_sync,
};
