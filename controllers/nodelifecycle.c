// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Node health: a node is heard of when its Lease or its Ready condition's heartbeat moves, by this process' own clock,
 * so that clocks of nodes do not matter. After a restart every node has a full grace period again.
 */
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/node.h"
#include "kube/object.h"

struct pulse {
	char *renewed, *heartbeat; /* as last seen, own */
	int64_t heard_ms;          /* monotonic */
};

static void pulse_free(void *p)
{
	struct pulse *pulse = p;

	free(pulse->renewed);
	free(pulse->heartbeat);
	free(pulse);
}

static bool moved(char **last, const char *now)
{
	if (str_eq(*last, now))
		return false;
	free(*last);
	*last = mem_strdup(now);
	return true;
}

static int64_t silent_s(struct controller *c, const char *name, const json_t *node)
{
	const json_t *lease = informer_get(controller_informer(c, INFORMER_NODE_LEASES), "kube-node-lease", name);
	const json_t *ready = object_condition(node, "Ready");
	struct pulse *pulse = map_get(c->state, name);
	bool first = !pulse, heard;

	if (first) {
		pulse = mem_new(struct pulse);
		map_set(c->state, name, pulse);
	}
	heard = moved(&pulse->renewed, json_str_or(lease, "spec.renewTime", ""));
	/* The heartbeat of an Unknown condition is our own copy, not a sign of life. */
	if (ready && !str_eq(json_str(ready, "status"), "Unknown"))
		heard |= moved(&pulse->heartbeat, json_str_or(ready, "lastHeartbeatTime", ""));
	if (first || heard)
		pulse->heard_ms = clock_mono_ms();
	return (clock_mono_ms() - pulse->heard_ms) / 1000;
}

static void nodelifecycle_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *node = controller_get(c, INFORMER_NODES, key);
	struct node_view view = { .node = node, .now_s = clock_wall_s(),
				  .grace_s = c->ctx->config->node_grace_s };

	if (!node) {
		map_del(c->state, key);
		return;
	}
	view.silent_s = silent_s(c, key, node);
	if (view.silent_s > view.grace_s) /* only then do they matter */
		object_list_add_index(&view.pods, controller_informer(c, INFORMER_PODS), INDEX_NODE, key);
	nodelifecycle_decide(&view, plan);
	object_list_done(&view.pods);
}

static void nodelifecycle_start(struct controller *c)
{
	c->state = map_new(pulse_free);
}

static void nodelifecycle_stop(struct controller *c)
{
	map_free(c->state);
}

const struct controller_ops nodelifecycle_controller = {
	.name = "node-lifecycle",
	.primary = INFORMER_NODES,
	.needs = NEEDS(INFORMER_NODES) | NEEDS(INFORMER_NODE_LEASES) | NEEDS(INFORMER_PODS),
	.parallel = 4,
	.start = nodelifecycle_start,
	.stop = nodelifecycle_stop,
	.sync = nodelifecycle_sync,
};
