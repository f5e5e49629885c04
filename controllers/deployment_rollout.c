// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The arithmetic of a rollout: how large each ReplicaSet should be next. What always holds: the sizes together never
 * exceed spec.replicas + maxSurge because of a step taken here, and no step takes away so many pods that fewer than
 * spec.replicas - maxUnavailable stay available.
 */
#include "controllers/deployment_rollout.h"

#include "base/mem.h"
#include "kube/object.h"

void deployment_fenceposts(const json_t *deployment, int64_t *ret_surge, int64_t *ret_unavailable)
{
	const json_t *strategy = json_at(deployment, "spec.strategy.rollingUpdate");
	int64_t wanted = json_int(deployment, "spec.replicas", 1);
	int64_t surge = workload_scaled_value(json_object_get(strategy, "maxSurge"), wanted, true);
	int64_t unavailable = workload_scaled_value(json_object_get(strategy, "maxUnavailable"), wanted, false);

	if (!surge && !unavailable)
		unavailable = 1;
	*ret_surge = surge;
	*ret_unavailable = MIN(unavailable, wanted);
}

static int64_t total_size(const struct rollout *r)
{
	int64_t sum = 0;

	for (size_t i = 0; i < r->count; i++)
		sum += r->sets[i].size;
	return sum;
}

static int64_t total_available(const struct rollout *r)
{
	int64_t sum = 0;

	for (size_t i = 0; i < r->count; i++)
		sum += r->sets[i].available;
	return sum;
}

/* How large the new set may become next, from `size`. */
static int64_t next_new_size(const struct rollout *r, int64_t size)
{
	int64_t room = r->wanted + r->surge - total_size(r);

	if (r->recreate)
		return r->wanted;
	return room <= 0 ? size : size + MIN(room, r->wanted - size);
}

int64_t rollout_initial_size(const struct rollout *r)
{
	return next_new_size(r, 0);
}

bool rollout_scale_new(struct rollout *r)
{
	int64_t size = r->newest->size;

	if (size == r->wanted)
		return false;
	r->newest->size = size > r->wanted ? r->wanted : next_new_size(r, size);
	return r->newest->size != size;
}

static bool is_old(const struct rollout *r, const struct set_state *s)
{
	return s != r->newest;
}

/* Pods that are not available serve nobody: they go first, and do not touch availability. */
static int64_t take_unhealthy(struct rollout *r, int64_t most)
{
	int64_t taken = 0;

	for (size_t i = 0; i < r->count && taken < most; i++) {
		struct set_state *s = &r->sets[i];
		int64_t n;

		if (!is_old(r, s) || s->size <= s->available)
			continue;
		n = MIN(most - taken, s->size - s->available);
		s->size -= n;
		taken += n;
	}
	return taken;
}

static int64_t take_available(struct rollout *r)
{
	int64_t spare = total_available(r) - (r->wanted - r->unavailable), taken = 0;

	for (size_t i = 0; i < r->count && taken < spare; i++) {
		struct set_state *s = &r->sets[i];
		int64_t n;

		if (!is_old(r, s))
			continue;
		n = MIN(spare - taken, s->size);
		s->size -= n;
		taken += n;
	}
	return taken;
}

bool rollout_scale_old(struct rollout *r)
{
	int64_t new_size = r->newest ? r->newest->size : 0, new_available = r->newest ? r->newest->available : 0;
	int64_t old_size = total_size(r) - new_size;
	int64_t most = total_size(r) - (r->wanted - r->unavailable) - (new_size - new_available);

	if (!old_size || most <= 0)
		return false;
	return take_unhealthy(r, most) + take_available(r) > 0;
}

bool rollout_scale_down_all_old(struct rollout *r)
{
	bool scaled = false;

	for (size_t i = 0; i < r->count; i++) {
		if (!is_old(r, &r->sets[i]) || !r->sets[i].size)
			continue;
		r->sets[i].size = 0;
		scaled = true;
	}
	return scaled;
}

/* The one set to scale when there is no choice: the only active one, or the latest when none is. NULL: several are. */
static struct set_state *active_or_latest(const struct rollout *r)
{
	struct set_state *active = NULL;
	size_t count = 0;

	for (size_t i = 0; i < r->count; i++) {
		if (r->sets[i].size) {
			active = &r->sets[i];
			count++;
		}
	}
	if (count)
		return count == 1 ? active : NULL;
	if (r->newest)
		return r->newest;
	return r->count ? &r->sets[r->count - 1] : NULL;
}

static bool saturated(const struct rollout *r)
{
	return r->newest && r->newest->size == r->wanted && r->newest->desired == r->wanted &&
	       r->newest->available == r->wanted;
}

/* A set's share of a change: its part of the whole at the time the sizes were last recorded. */
static int64_t share(const struct rollout *r, const struct set_state *s, int64_t to_add, int64_t added)
{
	int64_t recorded = s->max > 0 ? s->max : json_int(r->d, "status.replicas", 0);
	int64_t fraction, left = to_add - added, target = r->wanted + r->surge;

	if (!s->size || !left)
		return 0;
	if (!r->wanted)
		fraction = -s->size;
	else if (recorded <= 0)
		fraction = 0;
	else
		fraction = (2 * s->size * target + recorded) / (2 * recorded) - s->size; /* rounded half up */
	return to_add > 0 ? MIN(fraction, left) : MAX(fraction, left);
}

struct by_size {
	struct set_state *s;
	size_t age; /* 0 is the oldest */
	bool growing;
};

/* Largest first; among equals the newest when growing and the oldest when shrinking. */
static int compare_size(const void *a, const void *b)
{
	const struct by_size *x = a, *y = b;

	if (x->s->size != y->s->size)
		return x->s->size > y->s->size ? -1 : 1;
	if (x->age == y->age)
		return 0;
	return (x->age < y->age) == x->growing ? 1 : -1;
}

static void spread(struct rollout *r)
{
	_cleanup_free_ struct by_size *active = mem_new_n(struct by_size, r->count + 1);
	_cleanup_free_ int64_t *sizes = mem_new_n(int64_t, r->count + 1);
	int64_t to_add = (r->wanted > 0 ? r->wanted + r->surge : 0) - total_size(r), added = 0;
	size_t n = 0;

	for (size_t i = 0; i < r->count; i++) {
		if (r->sets[i].size)
			active[n++] = (struct by_size){ &r->sets[i], i, to_add > 0 };
	}
	if (!n)
		return;
	qsort(active, n, sizeof(*active), compare_size);
	for (size_t i = 0; i < n; i++) {
		int64_t part = to_add ? share(r, active[i].s, to_add, added) : 0;

		sizes[i] = active[i].s->size + part;
		added += part;
	}
	sizes[0] = MAX(sizes[0] + to_add - added, (int64_t)0); /* what rounding left over */
	for (size_t i = 0; i < n; i++) {
		active[i].s->size = sizes[i];
		active[i].s->stale_annotations = active[i].s->desired != r->wanted ||
						 active[i].s->max != r->wanted + r->surge;
	}
}

void rollout_scale_proportionally(struct rollout *r)
{
	struct set_state *only = active_or_latest(r);

	if (only) {
		only->stale_annotations = only->size == r->wanted &&
					  (only->desired != r->wanted || only->max != r->wanted + r->surge);
		only->size = r->wanted;
	} else if (saturated(r)) {
		rollout_scale_down_all_old(r);
	} else if (!r->recreate) {
		spread(r);
	}
}

void rollout_write_sizes(struct rollout *r)
{
	_cleanup_free_ char *desired = str_printf("%lld", (long long)r->wanted);
	_cleanup_free_ char *max = str_printf("%lld", (long long)(r->wanted + r->surge));

	for (size_t i = 0; i < r->count; i++) {
		struct set_state *s = &r->sets[i];
		const char *name = object_name(s->set);
		struct write *w;

		if (s->size == s->was && !s->stale_annotations)
			continue;
		w = plan_merge_patch(r->plan, kube_path("apps/v1", "replicasets", object_namespace(s->set), name, NULL),
				     json_pack("{s:{s:s, s:{s:s, s:s}}, s:{s:I}}", "metadata", "resourceVersion",
					       object_resource_version(s->set), "annotations", DEPLOYMENT_DESIRED,
					       desired, DEPLOYMENT_MAX, max, "spec", "replicas", (json_int_t)s->size));
		if (s->size != s->was)
			write_says(w, r->d, "ScalingReplicaSet",
				   str_printf("Scaled %s replica set %s from %lld to %lld",
					      s->size > s->was ? "up" : "down", name, (long long)s->was,
					      (long long)s->size),
				   NULL, NULL);
	}
}
