/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PodTopologySpread (KEP-895). Constraints are those of the pod; a pod without any is spread softly over zones and hosts
 * with the pods of the same controller, upstream's cluster default. Counts of matching pods a domain are taken once for
 * all nodes.
 */
#include <limits.h>
#include <math.h>

#include "base/mem.h"
#include "kube/object.h"
#include "scheduler/decision.h"

#define HOSTNAME_LABEL "kubernetes.io/hostname"
#define ZONE_LABEL "topology.kubernetes.io/zone"

struct constraint {
	const char *key;           /* borrowed from the pod, or a literal */
	struct selector *selector; /* NULL: the pods of the same controller */
	int64_t max_skew, min_domains;
	bool hard, honor_affinity, honor_taints;
	struct map *domains;       /* value -> count + 1 as uintptr_t */
	int64_t min_count;
};

struct spread {
	struct constraint *items;
	size_t count;
	bool defaults;             /* the cluster's constraints: nodes without the labels count as well */
};

/* The constraint's label selector with its matchLabelKeys. Own. */
static struct selector *constraint_selector(const json_t *c, const json_t *pod_labels)
{
	const json_t *given = json_object_get(c, "labelSelector");
	_cleanup_json_ json_t *selector = json_is_object(given) ? json_deep_copy(given) : NULL;
	json_t *key;
	size_t i;

	json_array_foreach(json_object_get(c, "matchLabelKeys"), i, key) {
		const char *name = json_string_value(key);
		const char *value = name ? json_string_value(json_object_get(pod_labels, name)) : NULL;

		if (!value || !selector)
			continue;
		if (!json_is_array(json_object_get(selector, "matchExpressions")))
			json_object_set_new(selector, "matchExpressions", json_array());
		json_array_append_new(json_object_get(selector, "matchExpressions"),
				      json_pack("{s:s, s:s, s:[s]}", "key", name, "operator", "In", "values", value));
	}
	struct selector *s = selector_from_label_selector(selector, NULL);

	return s ? s : selector_from_label_selector(NULL, NULL);
}

static bool pod_counts(const struct decision *d, const struct constraint *c, const struct pod_info *p)
{
	if (p->deleting || !str_eq(p->ns, d->info->ns))
		return false;
	return c->selector ? selector_matches(c->selector, p->labels) : str_eq(p->owner_uid, d->info->owner_uid);
}

static bool has_all_keys(const struct spread *s, const struct node_info *n, bool hard)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->items[i].hard == hard && !node_label(n, s->items[i].key))
			return false;
	return true;
}

/* Does the node take part in this constraint's counting? */
static bool node_counts(const struct decision *d, const struct spread *s, const struct constraint *c,
			const struct node_info *n)
{
	static const char *const effects[] = { "NoSchedule", "NoExecute", NULL };

	if (!n->known || !node_label(n, c->key) || (!s->defaults && !has_all_keys(s, n, c->hard)))
		return false;
	if (c->honor_affinity && !node_affinity_matches(d->pod, n))
		return false;
	return !c->honor_taints || tolerates_all(json_at(d->pod, "spec.tolerations"), n->taints, effects);
}

static int64_t domain_count(const struct constraint *c, const char *value)
{
	uintptr_t v = value ? (uintptr_t)map_get(c->domains, value) : 0;

	return v ? (int64_t)v - 1 : 0;
}

static void count_domains(const struct decision *d, const struct spread *s, struct constraint *c)
{
	void *value;
	size_t it = 0;

	c->domains = map_new(NULL);
	for (size_t i = 0; i < d->s->node_count; i++) {
		const struct node_info *n = d->s->nodes[i];

		if (!node_counts(d, s, c, n))
			continue;
		uintptr_t matching = 0;

		for (size_t p = 0; p < n->pod_count; p++)
			matching += pod_counts(d, c, n->pods[p]);
		const char *domain = node_label(n, c->key);

		map_set(c->domains, domain, (void *)((uintptr_t)domain_count(c, domain) + matching + 1));
	}
	c->min_count = INT64_MAX;
	while (map_next(c->domains, &it, NULL, &value))
		c->min_count = MIN(c->min_count, (int64_t)(uintptr_t)value - 1);
	if (c->min_count == INT64_MAX || (int64_t)map_count(c->domains) < c->min_domains)
		c->min_count = 0;
}

struct spread *spread_prepare(const struct decision *d)
{
	json_t *list = json_at(d->pod, "spec.topologySpreadConstraints"), *c;
	struct spread *s = mem_new(struct spread);
	size_t i;

	s->items = mem_new_n(struct constraint, json_array_size(list) + 2);
	json_array_foreach(list, i, c)
		s->items[s->count++] = (struct constraint){
			.key = json_str_or(c, "topologyKey", ""),
			.selector = constraint_selector(c, d->info->labels),
			.max_skew = json_int(c, "maxSkew", 1),
			.min_domains = json_int(c, "minDomains", 1),
			.hard = !str_eq(json_str(c, "whenUnsatisfiable"), "ScheduleAnyway"),
			.honor_affinity = !str_eq(json_str(c, "nodeAffinityPolicy"), "Ignore"),
			.honor_taints = str_eq(json_str(c, "nodeTaintsPolicy"), "Honor"),
		};
	if (!s->count && d->info->owner_uid) {
		s->defaults = true;
		s->items[s->count++] = (struct constraint){ .key = HOSTNAME_LABEL, .max_skew = 3, .honor_affinity = true };
		s->items[s->count++] = (struct constraint){ .key = ZONE_LABEL, .max_skew = 5, .honor_affinity = true };
	}
	for (i = 0; i < s->count; i++)
		count_domains(d, s, &s->items[i]);
	return s;
}

void spread_free(struct spread *s)
{
	for (size_t i = 0; s && i < s->count; i++) {
		selector_free(s->items[i].selector);
		map_free(s->items[i].domains);
	}
	if (s)
		free(s->items);
	free(s);
}

enum fit filter_spread(const struct decision *d, const struct node_info *n, struct strlist *reasons)
{
	for (size_t i = 0; i < d->spread->count; i++) {
		const struct constraint *c = &d->spread->items[i];
		const char *value = node_label(n, c->key);

		if (!c->hard)
			continue;
		if (!value) {
			strlist_add(reasons, "node(s) didn't match pod topology spread constraints (missing required label)");
			return FIT_NEVER;
		}
		int64_t self = selector_matches(c->selector, d->info->labels);

		if (domain_count(c, value) + self - c->min_count > c->max_skew) {
			strlist_add(reasons, "node(s) didn't match pod topology spread constraints");
			return FIT_NO;
		}
	}
	return FIT_OK;
}

void score_spread(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores)
{
	const struct spread *s = d->spread;
	int64_t min = INT64_MAX, max = 0;
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		double sum = 0;
		/* A node that lacks a label of the pod's own constraints is last. */
		bool ignored = !s->defaults && !has_all_keys(s, nodes[i], false);

		for (size_t k = 0; k < s->count && !ignored; k++) {
			const struct constraint *c = &s->items[k];
			const char *value = node_label(nodes[i], c->key);

			any |= !c->hard;
			if (!c->hard && value)
				sum += (double)domain_count(c, value) * log((double)map_count(c->domains) + 2) +
				       (double)(c->max_skew - 1);
		}
		scores[i] = ignored ? -1 : (int64_t)round(sum);
		if (!ignored) {
			min = MIN(min, scores[i]);
			max = MAX(max, scores[i]);
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (!any || scores[i] < 0)
			scores[i] = 0;
		else
			scores[i] = max ? 100 * (max + min - scores[i]) / max : 100;
	}
}
