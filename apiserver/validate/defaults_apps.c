/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Defaults of apps/v1 and batch/v1. */
#include "apiserver/validate/defaults.h"
#include "apiserver/validate/validate_internal.h"

static void default_percent(json_t *o, const char *key, const char *percent)
{
	if (!get(o, key))
		json_object_set_new(o, key, json_string(percent));
}

static void deployment_strategy(json_t *strategy)
{
	json_t *rolling;

	default_str(strategy, "type", "RollingUpdate");
	if (strcmp(get_str(strategy, "type"), "RollingUpdate") != 0)
		return;
	rolling = default_object(strategy, "rollingUpdate");
	default_percent(rolling, "maxUnavailable", "25%");
	default_percent(rolling, "maxSurge", "25%");
}

static void daemon_set_strategy(json_t *strategy)
{
	json_t *rolling;

	default_str(strategy, "type", "RollingUpdate");
	if (strcmp(get_str(strategy, "type"), "RollingUpdate") != 0)
		return;
	rolling = default_object(strategy, "rollingUpdate");
	default_int(rolling, "maxUnavailable", 1);
	default_int(rolling, "maxSurge", 0);
}

/* A client that names the type but gives no rollingUpdate gets none. */
static void stateful_set_strategy(json_t *strategy)
{
	json_t *rolling;

	if (!*get_str(strategy, "type")) {
		json_object_set_new(strategy, "type", json_string("RollingUpdate"));
		default_object(strategy, "rollingUpdate");
	}
	rolling = get(strategy, "rollingUpdate");
	if (!rolling)
		return;
	if (strcmp(get_str(strategy, "type"), "RollingUpdate") == 0)
		default_int(rolling, "partition", 0);
	json_object_del(rolling, "maxUnavailable"); /* MaxUnavailableStatefulSet is off */
}

static void stateful_set_spec(json_t *spec)
{
	json_t *claim, *retention = default_object(spec, "persistentVolumeClaimRetentionPolicy");
	size_t i;

	default_str(retention, "whenDeleted", "Retain");
	default_str(retention, "whenScaled", "Retain");
	json_array_foreach(get(spec, "volumeClaimTemplates"), i, claim) {
		json_object_set_new(claim, "apiVersion", json_string("v1"));
		json_object_set_new(claim, "kind", json_string("PersistentVolumeClaim"));
	}
}

static void daemon_set(json_t *ds)
{
	json_t *annotations = default_object(default_object(ds, "metadata"), "annotations");

	if (!*get_str(annotations, "deprecated.daemonset.template.generation"))
		json_object_set_new(annotations, "deprecated.daemonset.template.generation", json_string("0"));
}

static void job(json_t *o)
{
	json_t *spec = get(o, "spec"), *labels = json_at(o, "spec.template.metadata.labels");

	if (!spec)
		return;
	if (!get(spec, "completions") && !get(spec, "parallelism"))
		default_int(spec, "completions", 1);
	default_int(spec, "parallelism", 1);
	default_int(spec, "backoffLimit", get(spec, "backoffLimitPerIndex") ? INT32_MAX : 6);
	default_str(spec, "completionMode", "NonIndexed");
	if (!get(spec, "suspend"))
		json_object_set_new(spec, "suspend", json_false());
	if (!get(spec, "manualSelector"))
		json_object_set_new(spec, "manualSelector", json_false());
	default_str(spec, "podReplacementPolicy", get(spec, "podFailurePolicy") ? "Failed" : "TerminatingOrFailed");
	if (json_object_size(labels) && json_object_size(json_at(o, "metadata.labels")) == 0)
		json_object_set_new(default_object(o, "metadata"), "labels", json_deep_copy(labels));
}

#define APPS(m, f, ...) { .message = "apps.v1." m, .field = f, __VA_ARGS__ }
#define BATCH(m, f, ...) { .message = "batch.v1." m, .field = f, __VA_ARGS__ }
#define FN(m, function) { .message = m, .type = DEFAULT_FN, .fn = function }

static const struct default_rule rules[] = {
	/* A pod template is no pointer in Go: it is always there, and what is missing in it is said with its defaults. */
	APPS("DeploymentSpec", "template", .type = DEFAULT_OBJECT),
	APPS("ReplicaSetSpec", "template", .type = DEFAULT_OBJECT),
	APPS("DaemonSetSpec", "template", .type = DEFAULT_OBJECT),
	APPS("StatefulSetSpec", "template", .type = DEFAULT_OBJECT),
	BATCH("JobSpec", "template", .type = DEFAULT_OBJECT),
	APPS("DeploymentSpec", "replicas", .type = DEFAULT_INT, .i = 1),
	APPS("DeploymentSpec", "strategy", .type = DEFAULT_OBJECT),
	APPS("DeploymentSpec", "revisionHistoryLimit", .type = DEFAULT_INT, .i = 10),
	APPS("DeploymentSpec", "progressDeadlineSeconds", .type = DEFAULT_INT, .i = 600),
	FN("apps.v1.DeploymentStrategy", deployment_strategy),
	APPS("ReplicaSetSpec", "replicas", .type = DEFAULT_INT, .i = 1),
	FN("apps.v1.DaemonSet", daemon_set),
	APPS("DaemonSetSpec", "updateStrategy", .type = DEFAULT_OBJECT),
	APPS("DaemonSetSpec", "revisionHistoryLimit", .type = DEFAULT_INT, .i = 10),
	FN("apps.v1.DaemonSetUpdateStrategy", daemon_set_strategy),
	APPS("StatefulSetSpec", "podManagementPolicy", .s = "OrderedReady"),
	APPS("StatefulSetSpec", "updateStrategy", .type = DEFAULT_OBJECT),
	APPS("StatefulSetSpec", "replicas", .type = DEFAULT_INT, .i = 1),
	APPS("StatefulSetSpec", "revisionHistoryLimit", .type = DEFAULT_INT, .i = 10),
	FN("apps.v1.StatefulSetSpec", stateful_set_spec),
	FN("apps.v1.StatefulSetUpdateStrategy", stateful_set_strategy),
	FN("batch.v1.Job", job),
	BATCH("PodFailurePolicyOnPodConditionsPattern", "status", .s = "True"),
	BATCH("CronJobSpec", "concurrencyPolicy", .s = "Allow"),
	BATCH("CronJobSpec", "suspend", .type = DEFAULT_BOOL, .i = false),
	BATCH("CronJobSpec", "successfulJobsHistoryLimit", .type = DEFAULT_INT, .i = 3),
	BATCH("CronJobSpec", "failedJobsHistoryLimit", .type = DEFAULT_INT, .i = 1),
};
const struct default_group defaults_apps = { rules, ARRAY_SIZE(rules) };
