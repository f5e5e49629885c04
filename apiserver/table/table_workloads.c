/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of pods and of what makes pods. */
#include "apiserver/table/table_internal.h"

#include <stdio.h>

#include "base/clock.h"

static const json_t *template_spec(const json_t *o)
{
	return json_at(o, "spec.template.spec");
}

static void row_pod_template(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_containers(row, json_at(o, "template.spec"));
	cell_labels(row, json_at(o, "template.metadata.labels"));
}

static void counts(struct row *row, const json_t *o, const char *const *paths)
{
	for (; *paths; paths++)
		cell_int(row, json_int(o, *paths, 0));
}

static void row_replication_controller(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	counts(row, o, (const char *const[]){ "spec.replicas", "status.replicas", "status.readyReplicas", NULL });
	cell_age(row, o);
	cell_containers(row, template_spec(o));
	cell_labels(row, json_at(o, "spec.selector"));
}

static void row_replica_set(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	counts(row, o, (const char *const[]){ "spec.replicas", "status.replicas", "status.readyReplicas", NULL });
	cell_age(row, o);
	cell_containers(row, template_spec(o));
	cell_selector(row, json_at(o, "spec.selector"), "<none>", "<error>");
}

static void row_daemon_set(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	counts(row, o,
	       (const char *const[]){ "status.desiredNumberScheduled", "status.currentNumberScheduled",
				      "status.numberReady", "status.updatedNumberScheduled", "status.numberAvailable",
				      NULL });
	cell_labels(row, json_at(o, "spec.template.spec.nodeSelector"));
	cell_age(row, o);
	cell_containers(row, template_spec(o));
	cell_selector(row, json_at(o, "spec.selector"), "<none>", "<error>");
}

static void cell_fraction(struct row *row, int64_t a, int64_t b)
{
	char text[48];

	snprintf(text, sizeof(text), "%lld/%lld", (long long)a, (long long)b);
	cell(row, text);
}

static void row_deployment(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_fraction(row, json_int(o, "status.readyReplicas", 0), json_int(o, "spec.replicas", 0));
	counts(row, o, (const char *const[]){ "status.updatedReplicas", "status.availableReplicas", NULL });
	cell_age(row, o);
	cell_containers(row, template_spec(o));
	cell_selector(row, json_at(o, "spec.selector"), "", "<invalid>");
}

static void row_stateful_set(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_fraction(row, json_int(o, "status.readyReplicas", 0), json_int(o, "spec.replicas", 0));
	cell_age(row, o);
	cell_containers(row, template_spec(o));
}

static bool job_condition(const json_t *o, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_at(o, "status.conditions"), i, c) {
		if (strcmp(str_at(c, "type"), type) == 0 && strcmp(str_at(c, "status"), "True") == 0)
			return true;
	}
	return false;
}

static const char *job_status(const json_t *o)
{
	static const char *const late[] = { "Suspended", "FailureTarget", "SuccessCriteriaMet" };

	if (job_condition(o, "Complete"))
		return "Complete";
	if (job_condition(o, "Failed"))
		return "Failed";
	if (json_str(o, "metadata.deletionTimestamp"))
		return "Terminating";
	for (size_t i = 0; i < ARRAY_SIZE(late); i++)
		if (job_condition(o, late[i]))
			return late[i];
	return "Running";
}

static void cell_completions(struct row *row, const json_t *o)
{
	int64_t done = json_int(o, "status.succeeded", 0), wanted = json_int(o, "spec.completions", -1);
	int64_t parallel = json_int(o, "spec.parallelism", 0);
	char text[64];

	if (wanted >= 0)
		snprintf(text, sizeof(text), "%lld/%lld", (long long)done, (long long)wanted);
	else if (parallel > 1)
		snprintf(text, sizeof(text), "%lld/1 of %lld", (long long)done, (long long)parallel);
	else
		snprintf(text, sizeof(text), "%lld/1", (long long)done);
	cell(row, text);
}

static void cell_job_duration(struct row *row, const json_t *o)
{
	const char *start = json_str(o, "status.startTime"), *end = json_str(o, "status.completionTime");
	int64_t start_us, end_us = row->now_s * 1000000;
	char text[32];

	if (!start || clock_parse_rfc3339(start, &start_us) < 0) {
		cell(row, "");
		return;
	}
	if (end)
		clock_parse_rfc3339(end, &end_us);
	human_duration((end_us - start_us) / 1000000, text);
	cell(row, text);
}

static void row_job(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell(row, job_status(o));
	cell_completions(row, o);
	cell_job_duration(row, o);
	cell_age(row, o);
	cell_containers(row, template_spec(o));
	cell_selector(row, json_at(o, "spec.selector"), "<none>", "<error>");
}

static void row_cron_job(struct row *row, const json_t *o)
{
	const json_t *suspend = json_at(o, "spec.suspend");

	cell(row, name_of(o));
	cell(row, json_str_or(o, "spec.schedule", ""));
	cell_or(row, json_str(o, "spec.timeZone"), "<none>");
	cell(row, json_is_boolean(suspend) ? json_is_true(suspend) ? "True" : "False" : "<unset>");
	cell_int(row, (int64_t)json_array_size(json_at(o, "status.active")));
	cell_since(row, json_str(o, "status.lastScheduleTime"), "<none>");
	cell_age(row, o);
	cell_containers(row, json_at(o, "spec.jobTemplate.spec.template.spec"));
	cell_selector(row, json_at(o, "spec.jobTemplate.spec.selector"), "<none>", "<error>");
}

static void row_pdb(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_json(row, json_at(o, "spec.minAvailable"), "N/A");
	cell_json(row, json_at(o, "spec.maxUnavailable"), "N/A");
	cell_int(row, json_int(o, "status.disruptionsAllowed", 0));
	cell_age(row, o);
}

/* "kind.group/name" of the controller, in lower case. */
static void cell_controller(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *owner;
	size_t i;

	json_array_foreach(json_at(o, "metadata.ownerReferences"), i, owner) {
		const char *version = str_at(owner, "apiVersion");
		size_t group_len = strcspn(version, "/");

		if (!json_is_true(json_object_get(owner, "controller")))
			continue;
		for (const char *c = str_at(owner, "kind"); *c; c++)
			strbuf_addc(&b, *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c);
		if (version[group_len]) {
			strbuf_addc(&b, '.');
			strbuf_add(&b, version, group_len);
		}
		strbuf_addf(&b, "/%s", str_at(owner, "name"));
		break;
	}
	cell_or(row, b.data, "<none>");
}

static void row_controller_revision(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_controller(row, o);
	cell_int(row, int_at(o, "revision"));
	cell_age(row, o);
}

static void hpa_metric_value(struct strbuf *b, const json_t *value, const char *fallback)
{
	strbuf_adds(b, json_is_string(value) ? json_string_value(value) : fallback);
}

/* "cpu: 12%/80%" of a Resource metric, "5/10 (avg)" and alike of the others. status may be NULL. */
static void hpa_metric(struct strbuf *b, const json_t *metric, const json_t *status)
{
	static const char *const sources[][2] = { { "Resource", "resource" },
						  { "ContainerResource", "containerResource" },
						  { "Pods", "pods" },
						  { "Object", "object" },
						  { "External", "external" } };
	const char *type = str_at(metric, "type"), *key = NULL;
	const json_t *source, *target, *current;
	bool resource, average;

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		if (strcmp(sources[i][0], type) == 0)
			key = sources[i][1];
	if (!key) {
		strbuf_adds(b, "<unknown type>");
		return;
	}
	source = json_object_get(metric, key);
	target = json_object_get(source, "target");
	current = json_object_get(json_object_get(status, key), "current");
	resource = strstr(type, "Resource") != NULL;
	average = json_object_get(target, "averageValue") != NULL;
	if (resource)
		strbuf_addf(b, "%s: ", str_at(source, "name"));
	if (average) {
		hpa_metric_value(b, json_object_get(current, "averageValue"), "<unknown>");
		strbuf_addf(b, "/%s%s", str_at(target, "averageValue"), *type == 'O' || *type == 'E' ? " (avg)" : "");
	} else if (resource) {
		if (json_object_get(current, "averageUtilization"))
			strbuf_addf(b, "%lld%%", (long long)int_at(current, "averageUtilization"));
		else
			strbuf_adds(b, "<unknown>");
		if (json_object_get(target, "averageUtilization"))
			strbuf_addf(b, "/%lld%%", (long long)int_at(target, "averageUtilization"));
		else
			strbuf_adds(b, "/<auto>");
	} else {
		hpa_metric_value(b, json_object_get(current, "value"), "<unknown>");
		strbuf_addf(b, "/%s", str_at(target, "value"));
	}
}

static void hpa_targets(struct strbuf *b, const json_t *o)
{
	const json_t *metrics = json_at(o, "spec.metrics"), *statuses = json_at(o, "status.currentMetrics");
	size_t count = json_array_size(metrics);

	/* The v1 view has one metric, cpu. */
	if (!metrics && json_at(o, "spec.targetCPUUtilizationPercentage")) {
		int64_t now = json_int(o, "status.currentCPUUtilizationPercentage", -1);

		strbuf_adds(b, "cpu: ");
		if (now >= 0)
			strbuf_addf(b, "%lld%%", (long long)now);
		else
			strbuf_adds(b, "<unknown>");
		strbuf_addf(b, "/%lld%%", (long long)json_int(o, "spec.targetCPUUtilizationPercentage", 0));
		return;
	}
	for (size_t i = 0; i < count && i < 2; i++) {
		if (i)
			strbuf_adds(b, ", ");
		hpa_metric(b, json_array_get(metrics, i), json_array_get(statuses, i));
	}
	if (count > 2)
		strbuf_addf(b, " + %zu more...", count - 2);
}

static void row_hpa(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf b = {0};

	cell(row, name_of(o));
	strbuf_addf(&b, "%s/%s", json_str_or(o, "spec.scaleTargetRef.kind", ""),
		    json_str_or(o, "spec.scaleTargetRef.name", ""));
	cell_buf(row, &b);
	hpa_targets(&b, o);
	cell_or(row, b.data, "<none>");
	cell_json(row, json_at(o, "spec.minReplicas"), "<unset>");
	cell_int(row, json_int(o, "spec.maxReplicas", 0));
	cell_int(row, json_int(o, "status.currentReplicas", 0));
	cell_age(row, o);
}

#define INT "integer"
#define WIDE_PODS { "Containers", NULL, true }, { "Images", NULL, true }

static const struct table_kind kinds[] = {
	{ "",
	  "pods",
	  table_row_pod,
	  { { "Ready", NULL, false },
	    { "Status", NULL, false },
	    { "Restarts", NULL, false },
	    { "Age", NULL, false },
	    { "IP", NULL, true },
	    { "Node", NULL, true },
	    { "Nominated Node", NULL, true },
	    { "Readiness Gates", NULL, true } },
	  false },
	{ "",
	  "podtemplates",
	  row_pod_template,
	  { { "Containers", NULL, false }, { "Images", NULL, false }, { "Pod Labels", NULL, false } },
	  false },
	{ "",
	  "replicationcontrollers",
	  row_replication_controller,
	  { { "Desired", INT, false },
	    { "Current", INT, false },
	    { "Ready", INT, false },
	    { "Age", NULL, false },
	    WIDE_PODS,
	    { "Selector", NULL, true } },
	  false },
	{ "apps",
	  "replicasets",
	  row_replica_set,
	  { { "Desired", INT, false },
	    { "Current", INT, false },
	    { "Ready", INT, false },
	    { "Age", NULL, false },
	    WIDE_PODS,
	    { "Selector", NULL, true } },
	  false },
	{ "apps",
	  "daemonsets",
	  row_daemon_set,
	  { { "Desired", INT, false },
	    { "Current", INT, false },
	    { "Ready", INT, false },
	    { "Up-to-date", INT, false },
	    { "Available", INT, false },
	    { "Node Selector", NULL, false },
	    { "Age", NULL, false },
	    WIDE_PODS,
	    { "Selector", NULL, true } },
	  false },
	{ "apps",
	  "deployments",
	  row_deployment,
	  { { "Ready", NULL, false },
	    { "Up-to-date", NULL, false },
	    { "Available", NULL, false },
	    { "Age", NULL, false },
	    WIDE_PODS,
	    { "Selector", NULL, true } },
	  false },
	{ "apps",
	  "statefulsets",
	  row_stateful_set,
	  { { "Ready", NULL, false }, { "Age", NULL, false }, WIDE_PODS },
	  false },
	{ "apps",
	  "controllerrevisions",
	  row_controller_revision,
	  { { "Controller", NULL, false }, { "Revision", NULL, false }, { "Age", NULL, false } },
	  false },
	{ "batch",
	  "jobs",
	  row_job,
	  { { "Status", NULL, false },
	    { "Completions", NULL, false },
	    { "Duration", NULL, false },
	    { "Age", NULL, false },
	    WIDE_PODS,
	    { "Selector", NULL, true } },
	  false },
	{ "batch",
	  "cronjobs",
	  row_cron_job,
	  { { "Schedule", NULL, false },
	    { "Timezone", NULL, false },
	    { "Suspend", "boolean", false },
	    { "Active", INT, false },
	    { "Last Schedule", NULL, false },
	    { "Age", NULL, false },
	    WIDE_PODS,
	    { "Selector", NULL, true } },
	  false },
	{ "policy",
	  "poddisruptionbudgets",
	  row_pdb,
	  { { "Min Available", NULL, false },
	    { "Max Unavailable", NULL, false },
	    { "Allowed Disruptions", INT, false },
	    { "Age", NULL, false } },
	  false },
	{ "autoscaling",
	  "horizontalpodautoscalers",
	  row_hpa,
	  { { "Reference", NULL, false },
	    { "Targets", NULL, false },
	    { "MinPods", NULL, false },
	    { "MaxPods", NULL, false },
	    { "Replicas", NULL, false },
	    { "Age", NULL, false } },
	  false },
};
const struct table_group table_workloads = { kinds, ARRAY_SIZE(kinds) };
