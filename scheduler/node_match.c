/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taints against tolerations, nodes against node selectors (component-helpers/scheduling/corev1). */
#include <errno.h>

#include "scheduler/decision.h"

bool tolerates(const json_t *tolerations, const json_t *taint)
{
	const char *taint_key = json_str_or(taint, "key", ""), *taint_value = json_str_or(taint, "value", "");
	const char *taint_effect = json_str_or(taint, "effect", "");
	json_t *self = (json_t *)(uintptr_t)tolerations, *t;
	size_t i;

	json_array_foreach(self, i, t) {
		const char *key = json_str_or(t, "key", ""), *op = json_str_or(t, "operator", "");
		const char *effect = json_str_or(t, "effect", "");

		if (*effect && !str_eq(effect, taint_effect))
			continue;
		if (*key && !str_eq(key, taint_key))
			continue;
		if (str_eq(op, "Exists"))
			return true;
		/* An empty key goes with Exists only. */
		if ((!*op || str_eq(op, "Equal")) && *key && str_eq(json_str_or(t, "value", ""), taint_value))
			return true;
	}
	return false;
}

bool tolerates_all(const json_t *tolerations, const json_t *taints, const char *const *effects)
{
	json_t *self = (json_t *)(uintptr_t)taints, *taint;
	size_t i;

	json_array_foreach(self, i, taint)
		for (const char *const *e = effects; *e; e++)
			if (str_eq(json_str(taint, "effect"), *e) && !tolerates(tolerations, taint))
				return false;
	return true;
}

static bool has_value(const json_t *values, const char *value)
{
	json_t *self = (json_t *)(uintptr_t)values, *v;
	size_t i;

	json_array_foreach(self, i, v)
		if (value && str_eq(json_string_value(v), value))
			return true;
	return false;
}

static bool compare(const json_t *values, const char *value, bool greater)
{
	const char *limit = json_string_value(json_array_get(values, 0));
	int64_t a, b;

	if (!value || !limit || json_array_size(values) != 1 || str_to_i64(value, INT64_MIN, INT64_MAX, &a) < 0 ||
	    str_to_i64(limit, INT64_MIN, INT64_MAX, &b) < 0)
		return false;
	return greater ? a > b : a < b;
}

/* One NodeSelectorRequirement against a value, NULL when the node has none. */
static bool requirement_matches(const json_t *r, const char *value)
{
	const char *op = json_str_or(r, "operator", "");
	const json_t *values = json_object_get(r, "values");

	if (str_eq(op, "In"))
		return has_value(values, value);
	if (str_eq(op, "NotIn"))
		return !has_value(values, value);
	if (str_eq(op, "Exists"))
		return value;
	if (str_eq(op, "DoesNotExist"))
		return !value;
	if (str_eq(op, "Gt"))
		return compare(values, value, true);
	if (str_eq(op, "Lt"))
		return compare(values, value, false);
	return false;
}

static bool term_matches(const json_t *term, const struct node_info *n)
{
	json_t *expressions = json_object_get(term, "matchExpressions"), *fields = json_object_get(term, "matchFields"), *r;
	size_t i;

	/* An empty term matches nothing. */
	if (!json_array_size(expressions) && !json_array_size(fields))
		return false;
	json_array_foreach(expressions, i, r)
		if (!requirement_matches(r, node_label(n, json_str_or(r, "key", ""))))
			return false;
	json_array_foreach(fields, i, r)
		if (!requirement_matches(r, str_eq(json_str(r, "key"), "metadata.name") ? n->name : NULL))
			return false;
	return true;
}

bool node_selector_matches(const json_t *node_selector, const struct node_info *n)
{
	json_t *term;
	size_t i;

	json_array_foreach(json_object_get(node_selector, "nodeSelectorTerms"), i, term)
		if (term_matches(term, n))
			return true;
	return false;
}

bool node_affinity_matches(const json_t *pod, const struct node_info *n)
{
	json_t *labels = json_at(pod, "spec.nodeSelector"), *v;
	const json_t *required = json_at(pod, "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
	const char *key;

	json_object_foreach(labels, key, v)
		if (!str_eq(node_label(n, key), json_string_value(v)))
			return false;
	return !json_is_object(required) || node_selector_matches(required, n);
}

/* The preferred terms' weights that a node earns. */
static int64_t preferred_weight(const json_t *pod, const struct node_info *n)
{
	json_t *e;
	int64_t sum = 0;
	size_t i;

	json_array_foreach(json_at(pod, "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"), i, e) {
		if (json_int(e, "weight", 0) && term_matches(json_object_get(e, "preference"), n))
			sum += json_int(e, "weight", 0);
	}
	return sum;
}

void score_node_affinity(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores)
{
	for (size_t i = 0; i < count; i++)
		scores[i] = preferred_weight(d->pod, nodes[i]);
	score_normalize(scores, count, false);
}

void score_taints(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores)
{
	const json_t *tolerations = json_at(d->pod, "spec.tolerations");
	json_t *taint;
	size_t k;

	for (size_t i = 0; i < count; i++) {
		scores[i] = 0;
		json_array_foreach(nodes[i]->taints, k, taint)
			scores[i] += str_eq(json_str(taint, "effect"), "PreferNoSchedule") && !tolerates(tolerations, taint);
	}
	score_normalize(scores, count, true);
}
