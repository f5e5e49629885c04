/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HorizontalPodAutoscalers of both versions; paths are those of v2. */
#include "apiserver/validate/validate_internal.h"

#include "kube/quantity.h"

/* known: its apiVersion was there before. */
static void check_reference(struct field_errors *e, const struct fpath *p, const json_t *ref, bool known)
{
	static const char *const keys[] = { "kind", "name" };
	const char *version = get_str(ref, "apiVersion");

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!*get_str(ref, keys[i]))
			fe_required(e, FP(p, keys[i]), NULL);
		else
			check_format(e, FP(p, keys[i]), get_str(ref, keys[i]), fmt_path_segment);
	}
	if (!known && *version && !strchr(version, '/') && strcmp(get_str(ref, "kind"), "ReplicationController") != 0)
		fe_invalid(e, FP(p, "apiVersion"), version, "apiVersion must specify API group");
}

static void check_positive(struct field_errors *e, const struct fpath *p, const json_t *v)
{
	const char *s = json_string_value(v);
	struct quantity q;

	if (s && quantity_parse(s, &q) == 0 && q.nano <= 0)
		fe_invalid(e, p, s, "must be positive");
}

static void check_target(struct field_errors *e, const struct fpath *p, const json_t *target)
{
	const char *type = get_str(target, "type");
	const json_t *utilization = get(target, "averageUtilization");

	if (!*type)
		fe_required(e, FP(p, "type"), "must specify a metric target type");
	else if (!one_of(type, WORDS("Utilization", "Value", "AverageValue")))
		fe_invalid(e, FP(p, "type"), type, "must be either Utilization, Value, or AverageValue");
	check_positive(e, FP(p, "value"), get(target, "value"));
	if (utilization && json_integer_value(utilization) < 1)
		fe_invalid_json(e, FP(p, "averageUtilization"), utilization, "must be greater than 0");
	check_positive(e, FP(p, "averageValue"), get(target, "averageValue"));
}

static void check_resource_source(struct field_errors *e, const struct fpath *p, const json_t *source, bool container)
{
	const json_t *target = get(source, "target");
	const struct fpath *at = FP(p, "target");

	if (!*get_str(source, "name"))
		fe_required(e, FP(p, "name"), "must specify a resource name");
	if (container && !*get_str(source, "container"))
		fe_required(e, FP(p, "container"), "must specify a container");
	check_target(e, at, target);
	if (!get(target, "averageUtilization") && !get(target, "averageValue"))
		fe_required(e, FP(at, "averageUtilization"),
			    "must set either a target raw value or a target utilization");
	if (get(target, "averageUtilization") && get(target, "averageValue"))
		fe_forbidden(e, FP(at, "averageValue"), "may not set both a target raw value and a target utilization");
}

static void check_other_source(struct field_errors *e, const struct fpath *p, const json_t *source, const char *type)
{
	const json_t *target = get(source, "target"), *metric = get(source, "metric"), *value = get(target, "value");
	const json_t *average = get(target, "averageValue");
	const struct fpath *at = FP(p, "target");

	if (!*get_str(metric, "name"))
		fe_required(e, FP(FP(p, "metric"), "name"), "must specify a metric name");
	else
		check_format(e, FP(FP(p, "metric"), "name"), get_str(metric, "name"), fmt_path_segment);
	check_label_selector(e, FP(FP(p, "metric"), "selector"), get(metric, "selector"));
	if (strcmp(type, "Object") == 0)
		check_reference(e, FP(p, "describedObject"), get(source, "describedObject"), true);
	check_target(e, at, target);
	if (strcmp(type, "Pods") == 0 && !average)
		fe_required(e, FP(at, "averageValue"), "must specify a positive target averageValue");
	else if (strcmp(type, "Object") == 0 && !value && !average)
		fe_required(e, FP(at, "averageValue"), "must set either a target value or averageValue");
	else if (strcmp(type, "External") == 0 && !value && !average)
		fe_required(e, FP(at, "averageValue"), "must set either a target value for metric or a per-pod target");
	else if (strcmp(type, "External") == 0 && value && average)
		fe_forbidden(e, FP(at, "value"), "may not set both a target value for metric and a per-pod target");
}

static void check_metric(struct field_errors *e, const struct fpath *p, const json_t *metric)
{
	static const char *const types[] = { "ContainerResource", "External", "Object", "Pods", "Resource", NULL };
	static const char *const keys[] = { "containerResource", "external", "object", "pods", "resource" };
	const char *type = get_str(metric, "type");

	if (!*type)
		fe_required(e, FP(p, "type"), "must specify a metric source type");
	if (!one_of(type, types)) {
		fe_not_supported(e, FP(p, "type"), type, types);
		if (*type)
			fe_not_supported(e, FP(p, "type"), type, types);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *source = get(metric, keys[i]);
		bool own = strcmp(types[i], type) == 0;

		if (own && !source)
			fe_required(e, FP(p, keys[i]), "must populate information for the given metric source");
		else if (!own && source)
			fe_forbidden(e, FP(p, keys[i]), "must populate the given metric source only");
		if (source && strstr(types[i], "Resource"))
			check_resource_source(e, FP(p, keys[i]), source, i == 0);
		else if (source)
			check_other_source(e, FP(p, keys[i]), source, types[i]);
	}
}

static void check_scaling(struct field_errors *e, const struct fpath *p, const json_t *rules)
{
	static const char *const selects[] = { "Disabled", "Max", "Min", NULL }, *const types[] = { "Percent", "Pods",
												    NULL };
	const json_t *window = get(rules, "stabilizationWindowSeconds"), *policies = get(rules, "policies");
	struct quantity tolerance;
	json_t *policy;
	size_t i;

	if (!rules)
		return;
	if (window && json_integer_value(window) < 0)
		fe_invalid_json(e, FP(p, "stabilizationWindowSeconds"), window,
				"must be greater than or equal to zero");
	if (window && json_integer_value(window) > 3600)
		fe_invalid_json(e, FP(p, "stabilizationWindowSeconds"), window, "must be less than or equal to 3600");
	if (get(rules, "selectPolicy") && !one_of(get_str(rules, "selectPolicy"), selects))
		fe_not_supported(e, FP(p, "selectPolicy"), get_str(rules, "selectPolicy"), selects);
	if (quantity_parse(get_str(rules, "tolerance"), &tolerance) == 0 && tolerance.nano < 0)
		fe_invalid(e, FP(p, "tolerance"), get_str(rules, "tolerance"), "must be greater than or equal to 0");
	if (json_array_size(policies) == 0)
		fe_required(e, FP(p, "policies"), "must specify at least one Policy");
	json_array_foreach(policies, i, policy) {
		const struct fpath *at = FP_INDEX(FP(p, "policies"), i);

		if (!one_of(get_str(policy, "type"), types))
			fe_not_supported(e, FP(at, "type"), get_str(policy, "type"), types);
		if (get_int(policy, "value") <= 0)
			fe_invalid_int(e, FP(at, "value"), get_int(policy, "value"), "must be greater than zero");
		if (get_int(policy, "periodSeconds") <= 0)
			fe_invalid_int(e, FP(at, "periodSeconds"), get_int(policy, "periodSeconds"),
				       "must be greater than zero");
		if (get_int(policy, "periodSeconds") > 1800)
			fe_invalid_int(e, FP(at, "periodSeconds"), get_int(policy, "periodSeconds"),
				       "must be less than or equal to 1800");
	}
}

void validate_hpa_status(const struct validation *v)
{
	static const char *const counts[] = { "currentReplicas", "desiredReplicas" };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		check_non_negative(v->e, FP(FP(NULL, "status"), counts[i]), get(get(v->object, "status"), counts[i]));
}

void validate_hpa(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *min = get(spec, "minReplicas");
	int64_t max = get_int(spec, "maxReplicas");
	const struct fpath *p = FP(NULL, "spec");
	json_t *metric;
	size_t i;

	/* Zero is a feature that is off; who has it keeps it. */
	if (min && json_integer_value(min) < (json_int(v->old, "spec.minReplicas", 1) == 0 ? 0 : 1))
		fe_invalid_json(v->e, FP(p, "minReplicas"), min, "must be greater than or equal to 1");
	if (max < 1)
		fe_invalid_int(v->e, FP(p, "maxReplicas"), max,
			       max == 0 ? "must be set and greater than 0" : "must be greater than or equal to 1");
	if (min && max < json_integer_value(min))
		fe_invalid_int(v->e, FP(p, "maxReplicas"), max, "must be greater than or equal to `minReplicas`");
	check_reference(v->e, FP(p, "scaleTargetRef"), get(spec, "scaleTargetRef"),
			v->old && str_eq(json_str(v->old, "spec.scaleTargetRef.apiVersion"),
					 json_str(spec, "scaleTargetRef.apiVersion")));
	json_array_foreach(get(spec, "metrics"), i, metric)
		check_metric(v->e, FP_INDEX(FP(p, "metrics"), i), metric);
	check_scaling(v->e, FP(FP(p, "behavior"), "scaleUp"), json_at(spec, "behavior.scaleUp"));
	check_scaling(v->e, FP(FP(p, "behavior"), "scaleDown"), json_at(spec, "behavior.scaleDown"));
}
