/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * InterPodAffinity. Everything is counted by topology "key=value": what the required terms of the pod find, what the
 * anti-affinity of pods that run already forbids, and the preferences of both sides. Nodes are then only looked up.
 */
#include "base/mem.h"
#include "scheduler/decision.h"

enum { HARD_AFFINITY_WEIGHT = 1 }; /* what a running pod's required affinity is worth to the newcomer */

struct interpod {
	struct map *affinity;      /* topology -> pods that match all required terms, as intptr_t */
	struct map *anti;          /* topology -> pods that the pod's anti-affinity shuns */
	struct map *forbidden;     /* topology -> pods there that shun this one */
	struct map *preference;    /* topology -> weight */
};

static void add(struct map *m, const char *key, const char *value, int64_t n)
{
	if (!value || !n)
		return;
	_cleanup_free_ char *topology = str_printf("%s=%s", key, value);

	map_set(m, topology, (void *)((intptr_t)map_get(m, topology) + (intptr_t)n));
}

static int64_t get(const struct map *m, const char *key, const char *value)
{
	if (!value || !map_count(m))
		return 0;
	_cleanup_free_ char *topology = str_printf("%s=%s", key, value);

	return (intptr_t)map_get(m, topology);
}

static bool matches_all(const struct pod_terms *t, const struct snapshot *s, const char *ns, const json_t *labels)
{
	for (size_t i = 0; i < t->count; i++)
		if (!pod_term_matches(&t->items[i], s, ns, labels))
			return false;
	return t->count;
}

/* What the newcomer's terms find in a pod that runs on n. */
static void look_at(const struct decision *d, struct interpod *x, const struct node_info *n, const struct pod_info *p)
{
	const struct pod_info *in = d->info;

	if (matches_all(&in->affinity, d->s, p->ns, p->labels))
		for (size_t i = 0; i < in->affinity.count; i++)
			add(x->affinity, in->affinity.items[i].topology_key,
			    node_label(n, in->affinity.items[i].topology_key), 1);
	for (size_t i = 0; i < in->anti_affinity.count; i++)
		if (pod_term_matches(&in->anti_affinity.items[i], d->s, p->ns, p->labels))
			add(x->anti, in->anti_affinity.items[i].topology_key,
			    node_label(n, in->anti_affinity.items[i].topology_key), 1);
	for (size_t i = 0; i < in->preferred.count; i++)
		if (pod_term_matches(&in->preferred.items[i], d->s, p->ns, p->labels))
			add(x->preference, in->preferred.items[i].topology_key,
			    node_label(n, in->preferred.items[i].topology_key), in->preferred.items[i].weight);
	for (size_t i = 0; i < in->anti_preferred.count; i++)
		if (pod_term_matches(&in->anti_preferred.items[i], d->s, p->ns, p->labels))
			add(x->preference, in->anti_preferred.items[i].topology_key,
			    node_label(n, in->anti_preferred.items[i].topology_key), -in->anti_preferred.items[i].weight);
}

static void apply(const struct decision *d, struct map *to, const struct node_info *n, const struct pod_terms *t,
		  int64_t sign, int64_t fixed)
{
	for (size_t i = 0; i < t->count; i++)
		if (pod_term_matches(&t->items[i], d->s, d->info->ns, d->info->labels))
			add(to, t->items[i].topology_key, node_label(n, t->items[i].topology_key),
			    sign * (fixed ? fixed : t->items[i].weight));
}

/* What the terms of a pod that runs on n say of the newcomer. */
static void looked_at_by(const struct decision *d, struct interpod *x, const struct node_info *n, const struct pod_info *p)
{
	apply(d, x->forbidden, n, &p->anti_affinity, 1, 1);
	apply(d, x->preference, n, &p->preferred, 1, 0);
	apply(d, x->preference, n, &p->anti_preferred, -1, 0);
	apply(d, x->preference, n, &p->affinity, 1, HARD_AFFINITY_WEIGHT);
}

struct interpod *interpod_prepare(const struct decision *d)
{
	struct interpod *x = mem_new(struct interpod);
	bool own_terms = pod_info_has_terms(d->info);

	x->affinity = map_new(NULL);
	x->anti = map_new(NULL);
	x->forbidden = map_new(NULL);
	x->preference = map_new(NULL);
	for (size_t i = 0; i < d->s->node_count; i++) {
		const struct node_info *n = d->s->nodes[i];

		for (size_t p = 0; p < n->pod_count && (own_terms || n->with_terms); p++) {
			if (own_terms)
				look_at(d, x, n, n->pods[p]);
			if (pod_info_has_terms(n->pods[p]))
				looked_at_by(d, x, n, n->pods[p]);
		}
	}
	return x;
}

void interpod_free(struct interpod *x)
{
	if (!x)
		return;
	map_free(x->affinity);
	map_free(x->anti);
	map_free(x->forbidden);
	map_free(x->preference);
	free(x);
}

static bool shunned(const struct interpod *x, const struct node_info *n)
{
	json_t *v;
	const char *key;

	if (!map_count(x->forbidden))
		return false;
	json_object_foreach(n->labels, key, v)
		if (get(x->forbidden, key, json_string_value(v)) > 0)
			return true;
	return false;
}

/* Are the required affinity terms met? The first of a group that wants its own kind may go anywhere. */
static bool affinity_met(const struct decision *d, const struct node_info *n)
{
	const struct pod_terms *t = &d->info->affinity;
	bool found = true;

	for (size_t i = 0; i < t->count; i++) {
		const char *value = node_label(n, t->items[i].topology_key);

		if (!value)
			return false;
		found = found && get(d->interpod->affinity, t->items[i].topology_key, value) > 0;
	}
	return found || (!map_count(d->interpod->affinity) && matches_all(t, d->s, d->info->ns, d->info->labels));
}

enum fit filter_interpod(const struct decision *d, const struct node_info *n, struct strlist *reasons)
{
	const struct pod_terms *anti = &d->info->anti_affinity;

	if (!affinity_met(d, n)) {
		strlist_add(reasons, "node(s) didn't match pod affinity rules");
		return FIT_NEVER;
	}
	for (size_t i = 0; i < anti->count; i++)
		if (get(d->interpod->anti, anti->items[i].topology_key, node_label(n, anti->items[i].topology_key)) > 0) {
			strlist_add(reasons, "node(s) didn't match pod anti-affinity rules");
			return FIT_NO;
		}
	if (shunned(d->interpod, n)) {
		strlist_add(reasons, "node(s) didn't satisfy existing pods anti-affinity rules");
		return FIT_NO;
	}
	return FIT_OK;
}

void score_interpod(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores)
{
	int64_t min = INT64_MAX, max = INT64_MIN;

	for (size_t i = 0; i < count; i++) {
		json_t *v;
		const char *key;

		scores[i] = 0;
		if (map_count(d->interpod->preference))
			json_object_foreach(nodes[i]->labels, key, v)
				scores[i] += get(d->interpod->preference, key, json_string_value(v));
		min = MIN(min, scores[i]);
		max = MAX(max, scores[i]);
	}
	for (size_t i = 0; i < count; i++)
		scores[i] = max > min ? 100 * (scores[i] - min) / (max - min) : 0;
}
