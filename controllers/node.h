/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decisions about nodes and the pods on them: addresses, health, taints, eviction, clean-up. Pure. */
#ifndef KEELSON_CONTROLLERS_NODE_H
#define KEELSON_CONTROLLERS_NODE_H

#include "controllers/workload.h"
#include "io/net.h"

#define TAINT_NOT_READY "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE "node.kubernetes.io/unreachable"
#define TAINT_UNSCHEDULABLE "node.kubernetes.io/unschedulable"

/* --- addresses ------------------------------------------------------------------------------------------------ */
/* Which part of range a CIDR is, parts of mask bits: -1 when it is outside or larger than a part. */
int64_t nodeipam_index(const struct ip_prefix *range, unsigned mask, const char *cidr);
/* The index-th part as text; false beyond the range. */
bool nodeipam_part(const struct ip_prefix *range, unsigned mask, int64_t index, char out[static IP_PREFIX_TEXT_SIZE]);

/* --- health --------------------------------------------------------------------------------------------------- */
enum { NODE_CHECK_S = 5 };
struct node_view {
	const json_t *node;
	int64_t silent_s;          /* since its Lease or status was last seen to move */
	int64_t grace_s;           /* silent for longer, it is not ready */
	struct object_list pods;   /* pods on it */
	int64_t now_s;
};
/* Conditions of a silent node become Unknown, taints follow the conditions, pods of a node that is not ready are marked
 * not ready. */
void nodelifecycle_decide(const struct node_view *v, struct plan *plan);
/* The taints a node should have: others' as they are, ours by its conditions. Own. */
json_t *nodelifecycle_taints(const json_t *node, int64_t now_s);

/* --- eviction ------------------------------------------------------------------------------------------------- */
/* When a pod has to leave a node with these taints: -1 never, else seconds since the epoch. since_s: when the taint
 * was first seen, for taints that do not say. */
int64_t tainteviction_deadline_s(const json_t *pod, const json_t *taints, int64_t since_s);
bool toleration_tolerates(const json_t *toleration, const json_t *taint);

/* Deletes a pod after saying why in its condition DisruptionTarget; failed: also ends it with phase Failed. */
void node_disrupt_pod(struct plan *plan, const json_t *pod, const char *reason, const char *message, bool fail,
		      int grace_s, int64_t now_s);

#endif
