/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DefaultPreemption: which pods of lower priority would have to go so that a pod fits, and from which node. */
#ifndef KEELSON_SCHEDULER_PREEMPT_H
#define KEELSON_SCHEDULER_PREEMPT_H

#include "scheduler/decision.h"

struct preemption {
	struct node_info *node;     /* borrow; NULL: none helps */
	struct pod_info **victims;  /* borrowed; own array */
	size_t count;
};
/* candidates: nodes whose filter said FIT_NO. The snapshot is changed while this runs and is as before afterwards.
 * Chooses the node with the lowest highest priority of a victim, then the lowest sum of priorities, then the fewest
 * victims, then the youngest of the most important victims. PodDisruptionBudgets are not looked at. */
void preempt_find(struct snapshot *s, const json_t *pod, const struct pod_info *info, struct node_info *const *candidates,
		  size_t count, struct preemption *ret);
void preemption_done(struct preemption *p);

#endif
