// SPDX-License-Identifier: GPL-2.0-or-later
/* Conversions between the versions of a kind that 1.36 serves twice. */
#include "apiserver/registry/convert.h"

#include <stdlib.h>

#include "base/mem.h"

static void rename_key(json_t *o, const char *from, const char *to)
{
	json_t *v = json_object_get(o, from);
	if (!v)
		return;
	json_object_set(o, to, v);
	json_object_del(o, from);
}

static void convert_event(const char *to_group, json_t *o)
{
	static const char *const pairs[][2] = { /* core/v1, events.k8s.io/v1 */
		{ "involvedObject", "regarding" }, { "message", "note" }, { "source", "deprecatedSource" },
		{ "firstTimestamp", "deprecatedFirstTimestamp" }, { "lastTimestamp", "deprecatedLastTimestamp" },
		{ "count", "deprecatedCount" }, { "reportingComponent", "reportingController" } };
	bool to_core = str_empty(to_group);
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		rename_key(o, pairs[i][to_core], pairs[i][!to_core]);
}

/* What autoscaling/v1 has no field for travels in annotations, as upstream's conversion does. */
#define HPA_METRICS "autoscaling.alpha.kubernetes.io/metrics"
#define HPA_BEHAVIOR "autoscaling.alpha.kubernetes.io/behavior"
#define HPA_CURRENT "autoscaling.alpha.kubernetes.io/current-metrics"
#define HPA_CONDITIONS "autoscaling.alpha.kubernetes.io/conditions"

static void to_annotation(json_t *o, json_t *holder, const char *field, const char *annotation)
{
	json_t *v = json_object_get(holder, field);
	if (v && (!json_is_array(v) || json_array_size(v))) {
		_cleanup_strbuf_ struct strbuf text = { 0 };
		json_t *annotations = json_at(o, "metadata.annotations");
		json_write(&text, v);
		if (!json_is_object(annotations)) {
			annotations = json_object();
			json_set(o, "metadata.annotations", annotations);
		}
		json_object_set_new(annotations, annotation, json_string(text.data));
	}
	json_object_del(holder, field);
}

static void from_annotation(json_t *o, json_t *holder, const char *field, const char *annotation)
{
	json_t *annotations = json_at(o, "metadata.annotations");
	const char *text = json_string_value(json_object_get(annotations, annotation));
	json_t *v = text ? json_parse(text, strlen(text), NULL, NULL) : NULL;
	if (v && holder)
		json_object_set(holder, field, v);
	json_decref(v);
	json_object_del(annotations, annotation);
	if (annotations && !json_object_size(annotations))
		json_object_del(json_object_get(o, "metadata"), "annotations");
}

static bool is_cpu_utilization(const json_t *metric, const char *value_path)
{
	return str_eq(json_str(metric, "type"), "Resource") && str_eq(json_str(metric, "resource.name"), "cpu") &&
	       json_at(metric, value_path);
}

/* Takes the cpu utilization out of a list of metrics. -1: none. */
static json_int_t take_cpu(json_t *metrics, const char *value_path)
{
	size_t i;
	json_t *m;
	json_array_foreach(metrics, i, m) {
		if (!is_cpu_utilization(m, value_path))
			continue;
		json_int_t v = json_int(m, value_path, 0);
		json_array_remove(metrics, i);
		return v;
	}
	return -1;
}

static json_t *cpu_metric(const char *holder, const char *key, json_int_t value, bool with_type)
{
	json_t *inner = json_object();
	if (with_type)
		json_object_set_new(inner, "type", json_string("Utilization"));
	json_object_set_new(inner, key, json_integer(value));
	return json_pack("{s:s,s:{s:s,s:o}}", "type", "Resource", "resource", "name", "cpu", holder, inner);
}

static void hpa_to_v1(json_t *o)
{
	json_t *spec = json_object_get(o, "spec"), *status = json_object_get(o, "status");
	json_int_t cpu = take_cpu(json_object_get(spec, "metrics"), "resource.target.averageUtilization");
	if (cpu >= 0)
		json_object_set_new(spec, "targetCPUUtilizationPercentage", json_integer(cpu));
	to_annotation(o, spec, "metrics", HPA_METRICS);
	to_annotation(o, spec, "behavior", HPA_BEHAVIOR);
	cpu = take_cpu(json_object_get(status, "currentMetrics"), "resource.current.averageUtilization");
	if (cpu >= 0)
		json_object_set_new(status, "currentCPUUtilizationPercentage", json_integer(cpu));
	to_annotation(o, status, "currentMetrics", HPA_CURRENT);
	to_annotation(o, status, "conditions", HPA_CONDITIONS);
}

static void add_cpu(json_t *holder, const char *list, const char *scalar, json_t *metric)
{
	json_t *metrics = json_object_get(holder, list);
	if (!metrics) {
		metrics = json_array();
		json_object_set_new(holder, list, metrics);
	}
	json_array_insert_new(metrics, 0, metric);
	json_object_del(holder, scalar);
}

static void hpa_to_v2(json_t *o)
{
	json_t *spec = json_object_get(o, "spec"), *status = json_object_get(o, "status");
	json_t *cpu = json_object_get(spec, "targetCPUUtilizationPercentage");
	from_annotation(o, spec, "metrics", HPA_METRICS);
	from_annotation(o, spec, "behavior", HPA_BEHAVIOR);
	from_annotation(o, status, "currentMetrics", HPA_CURRENT);
	from_annotation(o, status, "conditions", HPA_CONDITIONS);
	if (cpu)
		add_cpu(spec, "metrics", "targetCPUUtilizationPercentage",
			cpu_metric("target", "averageUtilization", json_integer_value(cpu), true));
	cpu = json_object_get(status, "currentCPUUtilizationPercentage");
	if (cpu)
		add_cpu(status, "currentMetrics", "currentCPUUtilizationPercentage",
			cpu_metric("current", "averageUtilization", json_integer_value(cpu), false));
}

void convert_object(const struct schema_resource *from, const struct schema_resource *to, json_t *object)
{
	char api_version[96];
	if (from == to)
		return;
	if (str_eq(to->plural, "events"))
		convert_event(to->group, object);
	else if (str_eq(to->plural, "horizontalpodautoscalers") && str_eq(to->version, "v1"))
		hpa_to_v1(object);
	else if (str_eq(to->plural, "horizontalpodautoscalers"))
		hpa_to_v2(object);
	json_object_set_new(object, "apiVersion", json_string(schema_api_version(to->group, to->version, api_version)));
	json_object_set_new(object, "kind", json_string(to->kind));
}
