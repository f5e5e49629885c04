// SPDX-License-Identifier: GPL-2.0-or-later
/* Node selection as the scheduler's plugins NodeAffinity and TaintToleration do it, without resources and scores. */
#include "controllers/nodefit.h"

#include "base/mem.h"
#include "controllers/node.h"
#include "controllers/workload.h"
#include "kube/object.h"

#define REQUIRED "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"

static bool value_in(const json_t *values, const char *value)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)values, i, v) {
		if (str_eq(json_string_value(v), value))
			return true;
	}
	return false;
}

/* value NULL: there is no such label. */
static bool requirement_holds(const json_t *requirement, const char *value)
{
	const char *op = json_str_or(requirement, "operator", "");
	const json_t *values = json_object_get(requirement, "values");
	int64_t have, bound;

	if (str_eq(op, "In"))
		return value && value_in(values, value);
	if (str_eq(op, "NotIn"))
		return !value || !value_in(values, value);
	if (str_eq(op, "Exists"))
		return value != NULL;
	if (str_eq(op, "DoesNotExist"))
		return value == NULL;
	if (!value || str_to_i64(value, INT64_MIN, INT64_MAX, &have) < 0 ||
	    str_to_i64(json_str_or(requirement, "values[0]", ""), INT64_MIN, INT64_MAX, &bound) < 0)
		return false;
	if (str_eq(op, "Gt"))
		return have > bound;
	return str_eq(op, "Lt") && have < bound;
}

static bool term_holds(const json_t *term, const json_t *node)
{
	const json_t *expressions = json_object_get(term, "matchExpressions"),
		     *fields = json_object_get(term, "matchFields");
	json_t *r;
	size_t i;

	if (!json_array_size(expressions) && !json_array_size(fields))
		return false; /* an empty term selects nothing */
	json_array_foreach((json_t *)expressions, i, r) {
		if (!requirement_holds(r, map_str(object_labels(node), json_str_or(r, "key", ""))))
			return false;
	}
	json_array_foreach((json_t *)fields, i, r) {
		if (!str_eq(json_str(r, "key"), "metadata.name") || !requirement_holds(r, object_name(node)))
			return false;
	}
	return true;
}

bool nodefit_selects(const json_t *spec, const json_t *node)
{
	const json_t *terms = json_at(spec, REQUIRED);
	json_t *term;
	size_t i;

	if (!map_selects(json_object_get(spec, "nodeSelector"), object_labels(node)))
		return false;
	if (!terms)
		return true;
	json_array_foreach((json_t *)terms, i, term) {
		if (term_holds(term, node))
			return true;
	}
	return false;
}

bool nodefit_tolerates(const json_t *spec, const json_t *node, const char *effect1, const char *effect2)
{
	json_t *taint, *toleration;
	size_t i, k;

	json_array_foreach(json_at(node, "spec.taints"), i, taint) {
		const char *effect = json_str_or(taint, "effect", "");
		bool tolerated = false;

		if (!str_eq(effect, effect1) && !str_eq(effect, effect2))
			continue;
		json_array_foreach(json_object_get(spec, "tolerations"), k, toleration)
			tolerated |= toleration_tolerates(toleration, taint);
		if (!tolerated)
			return false;
	}
	return true;
}

const char *nodefit_target(const json_t *spec)
{
	json_t *term, *field;
	size_t i, k;

	json_array_foreach(json_at(spec, REQUIRED), i, term) {
		json_array_foreach(json_object_get(term, "matchFields"), k, field) {
			if (str_eq(json_str(field, "key"), "metadata.name") &&
			    str_eq(json_str(field, "operator"), "In"))
				return json_str(field, "values[0]");
		}
	}
	return NULL;
}
