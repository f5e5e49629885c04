/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preemption by trial: pods are really taken out of the snapshot's node, the filters run, and all are put back. */
#include "scheduler/preempt.h"

#include "base/mem.h"

/* Most important first: higher priority, then started earlier. */
static int by_importance(const void *a, const void *b)
{
	const struct pod_info *x = *(struct pod_info *const *)a, *y = *(struct pod_info *const *)b;

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return (x->start_us > y->start_us) - (x->start_us < y->start_us);
}

static bool fits(struct snapshot *s, const json_t *pod, const struct pod_info *info, const struct node_info *n)
{
	_cleanup_strlist_ struct strlist reasons = { 0 };
	struct decision d;
	unsigned wake = 0;

	decision_prepare(&d, s, pod, info);
	enum fit fit = decision_filter(&d, n, &reasons, &wake);

	decision_done(&d);
	return fit == FIT_OK;
}

/* The victims on one node: everything lower is taken away, then as much as fits is let back, most important first. */
static size_t victims_on(struct snapshot *s, const json_t *pod, const struct pod_info *info, struct node_info *n,
			 struct pod_info ***ret)
{
	struct pod_info **lower = mem_new_n(struct pod_info *, n->pod_count + 1);
	size_t count = 0, victims = 0;

	for (size_t i = 0; i < n->pod_count; i++)
		if (n->pods[i]->priority < info->priority)
			lower[count++] = n->pods[i];
	for (size_t i = 0; i < count; i++)
		node_info_take(n, lower[i]->uid);
	if (count && fits(s, pod, info, n)) {
		qsort(lower, count, sizeof(*lower), by_importance);
		for (size_t i = 0; i < count; i++) {
			node_info_add(n, lower[i]);
			if (fits(s, pod, info, n))
				continue;
			node_info_take(n, lower[i]->uid);
			lower[victims++] = lower[i];
		}
		for (size_t i = 0; i < victims; i++)
			node_info_add(n, lower[i]);
	} else {
		for (size_t i = 0; i < count; i++)
			node_info_add(n, lower[i]);
	}
	*ret = lower;
	return victims;
}

static int64_t priority_sum(const struct preemption *p)
{
	int64_t sum = 0;

	/* Shifted, so that many pods of negative priority are not better than few. */
	for (size_t i = 0; i < p->count; i++)
		sum += (int64_t)p->victims[i]->priority + INT32_MAX + 1;
	return sum;
}

static bool better(const struct preemption *a, const struct preemption *b)
{
	if (!b->node)
		return true;
	if (a->victims[0]->priority != b->victims[0]->priority)
		return a->victims[0]->priority < b->victims[0]->priority;
	if (priority_sum(a) != priority_sum(b))
		return priority_sum(a) < priority_sum(b);
	if (a->count != b->count)
		return a->count < b->count;
	return a->victims[0]->start_us > b->victims[0]->start_us;
}

void preempt_find(struct snapshot *s, const json_t *pod, const struct pod_info *info, struct node_info *const *candidates,
		  size_t count, struct preemption *ret)
{
	*ret = (struct preemption){ 0 };
	for (size_t i = 0; i < count; i++) {
		struct preemption p = { .node = candidates[i] };

		p.count = victims_on(s, pod, info, candidates[i], &p.victims);
		if (p.count && better(&p, ret)) {
			struct preemption worse = *ret;

			*ret = p;
			p = worse;
		}
		preemption_done(&p);
	}
}

void preemption_done(struct preemption *p)
{
	free(p->victims);
	*p = (struct preemption){ 0 };
}
