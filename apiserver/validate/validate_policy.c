/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disruption budgets, quotas, limit ranges and autoscalers. */
#include "apiserver/validate/validate_internal.h"

#include <stdio.h>

#include "kube/quantity.h"

void validate_pdb(const struct validation *v)
{
	static const char *const policies[] = { "AlwaysAllow", "IfHealthyBudget", NULL };
	const json_t *spec = get(v->object, "spec"), *min = get(spec, "minAvailable"),
		     *max = get(spec, "maxUnavailable");
	const struct fpath *p = FP(NULL, "spec");

	if (min && max)
		fe_invalid_json(v->e, p, spec, "minAvailable and maxUnavailable cannot be both set");
	if (min) {
		check_int_or_percent(v->e, FP(p, "minAvailable"), min);
		check_not_over_100_percent(v->e, FP(p, "minAvailable"), min);
	}
	if (max) {
		check_int_or_percent(v->e, FP(p, "maxUnavailable"), max);
		check_not_over_100_percent(v->e, FP(p, "maxUnavailable"), max);
	}
	check_label_selector(v->e, FP(p, "selector"), get(spec, "selector"));
	if (get(spec, "unhealthyPodEvictionPolicy") && !one_of(get_str(spec, "unhealthyPodEvictionPolicy"), policies))
		fe_not_supported(v->e, FP(p, "unhealthyPodEvictionPolicy"), get_str(spec, "unhealthyPodEvictionPolicy"),
				 policies);
}

void validate_pdb_status(const struct validation *v)
{
	static const char *const counts[] = { "disruptionsAllowed", "currentHealthy", "desiredHealthy",
					      "expectedPods" };
	const json_t *status = get(v->object, "status");
	const struct fpath *p = FP(NULL, "status");

	check_conditions(v->e, FP(p, "conditions"), get(status, "conditions"));
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		check_non_negative(v->e, FP(p, counts[i]), get(status, counts[i]));
}

static bool quota_name(const char *name)
{
	static const char *const names[] = { "cpu",
					     "memory",
					     "ephemeral-storage",
					     "requests.cpu",
					     "requests.memory",
					     "requests.storage",
					     "requests.ephemeral-storage",
					     "limits.cpu",
					     "limits.memory",
					     "limits.ephemeral-storage",
					     "pods",
					     "resourcequotas",
					     "services",
					     "replicationcontrollers",
					     "secrets",
					     "persistentvolumeclaims",
					     "configmaps",
					     "services.nodeports",
					     "services.loadbalancers",
					     NULL };

	return one_of(name, names) || str_starts(name, "hugepages-") || str_starts(name, "requests.hugepages-");
}

static bool counted(const char *name)
{
	static const char *const names[] = {
		"pods",       "resourcequotas",         "services",           "replicationcontrollers", "secrets",
		"configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", NULL
	};

	return one_of(name, names) || str_starts(name, "count/");
}

static void check_quota_list(struct field_errors *e, const struct fpath *p, const json_t *list)
{
	const __int128 one = 1000 * 1000 * 1000;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)list, name, value) {
		const char *text = json_string_value(value);
		struct quantity q;

		check_format(e, FP_KEY(p, name), name, fmt_qualified_name);
		if (!strchr(name, '/') && !quota_name(name)) {
			fe_invalid(e, FP_KEY(p, name), name, "must be a standard resource type or fully qualified");
			fe_invalid(e, FP_KEY(p, name), name, "must be a standard resource for quota");
		}
		if (!text || quantity_parse(text, &q) < 0)
			continue;
		if (q.nano < 0)
			fe_invalid(e, FP_KEY(p, name), text, "must be greater than or equal to 0");
		if (counted(name) && q.nano % one != 0)
			fe_invalid(e, FP_KEY(p, name), text, "must be an integer");
	}
}

static const char *const scopes[] = { "Terminating",   "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass",
				      "CrossNamespacePodAffinity", "VolumeAttributesClass", NULL };

static bool scope_fits(const char *scope, const char *resource)
{
	static const char *const compute[] = {
		"pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory", NULL
	};

	if (strcmp(scope, "BestEffort") == 0)
		return strcmp(resource, "pods") == 0;
	if (strcmp(scope, "VolumeAttributesClass") == 0)
		return one_of(resource, WORDS("persistentvolumeclaims", "requests.storage"));
	return one_of(resource, compute);
}

static bool has_word(const json_t *list, const char *word)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (strcmp(json_string_value(v), word) == 0)
			return true;
	}
	return false;
}

static void check_quota_scopes(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	const json_t *list = get(spec, "scopes");
	const char *resource;
	json_t *v, *hard;
	size_t i;

	json_array_foreach(list, i, v) {
		if (!one_of(json_string_value(v), scopes))
			fe_invalid_json(e, p, list, "unsupported scope");
	}
	for (i = 0; scopes[i]; i++) {
		if (!has_word(list, scopes[i]))
			continue;
		json_object_foreach(get(spec, "hard"), resource, hard) {
			if (quota_name(resource) && !scope_fits(scopes[i], resource))
				fe_invalid_json(e, p, list, "unsupported scope applied to resource");
		}
	}
	if ((has_word(list, "BestEffort") && has_word(list, "NotBestEffort")) ||
	    (has_word(list, "Terminating") && has_word(list, "NotTerminating")))
		fe_invalid_json(e, p, list, "conflicting scopes");
}

static void check_scope_selector(struct field_errors *e, const struct fpath *p, const json_t *selector)
{
	static const char *const booleans[] = {
		"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity", NULL
	};
	json_t *expression;
	size_t i;

	json_array_foreach(get(selector, "matchExpressions"), i, expression) {
		const char *scope = get_str(expression, "scopeName"), *op = get_str(expression, "operator");
		const json_t *values = get(expression, "values");

		if (!one_of(scope, scopes))
			fe_invalid(e, FP(p, "scopeName"), scope, "unsupported scope");
		if (one_of(scope, booleans) && strcmp(op, "Exists") != 0)
			fe_invalid(e, FP(p, "operator"), op,
				   "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
				   "ResourceQuotaScopeNotTerminating, "
				   "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
				   "ResourceQuotaScopeCrossNamespacePodAffinity");
		if (one_of(op, WORDS("In", "NotIn"))) {
			if (json_array_size(values) == 0)
				fe_required(e, FP(p, "values"),
					    "must be at least one value when `operator` is 'In' or 'NotIn' for scope "
					    "selector");
		} else if (one_of(op, WORDS("Exists", "DoesNotExist"))) {
			if (json_array_size(values) != 0)
				fe_invalid_json(e, FP(p, "values"), values,
						"must be no value when `operator` is 'Exist' or 'DoesNotExist' for "
						"scope selector");
		} else {
			fe_invalid(e, FP(p, "operator"), op, "not a valid selector operator");
		}
	}
}

void validate_resource_quota(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *old = get(v->old, "spec");
	const struct fpath *p = FP(NULL, "spec");
	bool same = true;

	check_quota_list(v->e, FP(p, "hard"), get(spec, "hard"));
	check_quota_scopes(v->e, FP(p, "scopes"), spec);
	check_scope_selector(v->e, FP(FP(p, "scopeSelector"), "matchExpressions"), get(spec, "scopeSelector"));
	if (!v->old)
		return;
	for (size_t i = 0; scopes[i]; i++)
		same &= has_word(get(spec, "scopes"), scopes[i]) == has_word(get(old, "scopes"), scopes[i]);
	if (!same)
		fe_invalid_json(v->e, FP(p, "scopes"), get(spec, "scopes"), "field is immutable");
}

void validate_resource_quota_status(const struct validation *v)
{
	check_quota_list(v->e, FP(FP(NULL, "status"), "hard"), json_at(v->object, "status.hard"));
	check_quota_list(v->e, FP(FP(NULL, "status"), "used"), json_at(v->object, "status.used"));
}

static bool quantity_at(const json_t *item, const char *list, const char *name, struct quantity *ret,
			const char **ret_text)
{
	const char *s = json_string_value(json_object_get(get(item, list), name));

	if (!s || quantity_parse(s, ret) < 0)
		return false;
	*ret_text = s;
	return true;
}

/* low must not be above high; the error stands at `at`. */
static void check_pair(struct field_errors *e, const struct fpath *p, const json_t *item, const char *name,
		       const char *low, const char *high, const char *at, const char *fmt_low, const char *fmt_high)
{
	struct quantity a, b;
	const char *a_text, *b_text;

	if (!quantity_at(item, low, name, &a, &a_text) || !quantity_at(item, high, name, &b, &b_text) ||
	    quantity_cmp(&a, &b) <= 0)
		return;
	fe_invalid(e, FP_KEY(FP(p, at), name), get_str(get(item, at), name), "%s %s is greater than %s %s", fmt_low,
		   a_text, fmt_high, b_text);
}

static void check_limit_names(const json_t *item, struct strlist *names)
{
	static const char *const lists[] = { "max", "min", "default", "defaultRequest", "maxLimitRequestRatio" };
	struct map *seen = map_new(NULL);
	const char *name;
	json_t *v;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_object_foreach(get(item, lists[i]), name, v) {
			if (!map_has(seen, name))
				strlist_add(names, name);
			map_set(seen, name, seen);
		}
	}
	map_free(seen);
}

static void check_ratio(struct field_errors *e, const struct fpath *p, const json_t *item, const char *name)
{
	struct quantity ratio, min, max;
	const char *text, *unused;

	if (!quantity_at(item, "maxLimitRequestRatio", name, &ratio, &text))
		return;
	if (ratio.nano < 1000000000)
		fe_invalid(e, p, text, "ratio %s is less than 1", text);
	if (!quantity_at(item, "min", name, &min, &unused) || !quantity_at(item, "max", name, &max, &unused) ||
	    min.nano == 0)
		return;
	if ((double)ratio.nano / 1e9 > (double)max.nano / (double)min.nano)
		fe_invalid(e, p, text, "ratio %s is greater than max/min = %f", text,
			   (double)max.nano / (double)min.nano);
}

/* What is not shared out twice has one default. */
static void check_limit_default(struct field_errors *e, const struct fpath *p, const json_t *item, const char *name)
{
	bool overcommits = !str_starts(name, "hugepages-") && (!strchr(name, '/') || strstr(name, "kubernetes.io/"));
	struct quantity limit, request;
	const char *limit_text, *request_text;

	if (overcommits || !quantity_at(item, "default", name, &limit, &limit_text) ||
	    !quantity_at(item, "defaultRequest", name, &request, &request_text) || quantity_cmp(&limit, &request) == 0)
		return;
	fe_invalid(e, FP_KEY(FP(p, "defaultRequest"), name), request_text,
		   "default value %s must equal to defaultRequest value %s in %s", limit_text, request_text, name);
}

static void check_limit_resource(struct field_errors *e, const struct fpath *p, const json_t *item, const char *name)
{
	static const char *const lists[] = { "max", "min", "default", "defaultRequest", "maxLimitRequestRatio" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (json_object_get(get(item, lists[i]), name))
			check_resource_name(e, FP_KEY(FP(p, lists[i]), name), name);
}

static void check_limit_item(struct field_errors *e, const struct fpath *p, const json_t *item)
{
	const char *type = get_str(item, "type");
	_cleanup_strlist_ struct strlist names = {0};

	check_format(e, FP(p, "type"), type, fmt_qualified_name);
	if (!strchr(type, '/') && !one_of(type, WORDS("Pod", "Container", "PersistentVolumeClaim")))
		fe_invalid(e, FP(p, "type"), type, "must be a standard limit type or fully qualified");
	if (strcmp(type, "Pod") == 0) {
		if (json_object_size(get(item, "default")) > 0)
			fe_forbidden(e, FP(p, "default"), "may not be specified when `type` is 'Pod'");
		if (json_object_size(get(item, "defaultRequest")) > 0)
			fe_forbidden(e, FP(p, "defaultRequest"), "may not be specified when `type` is 'Pod'");
	}
	if (strcmp(type, "PersistentVolumeClaim") == 0 && !get(get(item, "min"), "storage") &&
	    !get(get(item, "max"), "storage"))
		fe_required(e, FP(p, "limits"),
			    "either minimum or maximum storage value is required, but neither was provided");
	check_limit_names(item, &names);
	for (size_t i = 0; i < names.count; i++) {
		const char *n = names.items[i];

		check_pair(e, p, item, n, "min", "max", "min", "min value", "max value");
		check_pair(e, p, item, n, "min", "defaultRequest", "defaultRequest", "min value",
			   "default request value");
		check_pair(e, p, item, n, "defaultRequest", "max", "defaultRequest", "default request value",
			   "max value");
		check_pair(e, p, item, n, "defaultRequest", "default", "defaultRequest", "default request value",
			   "default limit value");
		check_pair(e, p, item, n, "min", "default", "default", "min value", "default value");
		check_pair(e, p, item, n, "default", "max", "default", "default value", "max value");
		check_ratio(e, FP_KEY(FP(p, "maxLimitRequestRatio"), n), item, n);
		check_limit_default(e, p, item, n);
		if (one_of(type, WORDS("Pod", "Container")))
			check_limit_resource(e, p, item, n);
	}
}

void validate_limit_range(const struct validation *v)
{
	const struct fpath *p = FP(FP(NULL, "spec"), "limits");
	struct map *types = map_new(NULL);
	json_t *item;
	size_t i;

	json_array_foreach(json_at(v->object, "spec.limits"), i, item) {
		const char *type = get_str(item, "type");

		if (map_has(types, type))
			fe_duplicate(v->e, FP(FP_INDEX(p, i), "type"), type);
		map_set(types, type, types);
		check_limit_item(v->e, FP_INDEX(p, i), item);
	}
	map_free(types);
}
