/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What makes pods and keeps them: ReplicationControllers, ReplicaSets, Deployments, DaemonSets, StatefulSets,
 * PodTemplates, revisions. */
#include "apiserver/validate/validate_pod.h"
#include "kube/selector.h"

static const struct fpath spec_path = { .name = "spec" };

/* The template of a kind whose pods restart for ever: labels, the pod, no deadline. */
static void check_template(const struct validation *v, const char *kind)
{
	const json_t *spec = get(v->object, "spec"), *template = get(spec, "template"), *pod = get(template, "spec");
	const struct fpath *p = FP(&spec_path, "template");

	check_pod_template(v->e, p, template, get(spec, "volumeClaimTemplates"));
	if (strcmp(get_str(pod, "restartPolicy"), "Always") != 0)
		fe_not_supported(v->e, FP(FP(p, "spec"), "restartPolicy"), get_str(pod, "restartPolicy"),
				 WORDS("Always"));
	if (get(pod, "activeDeadlineSeconds"))
		fe_forbidden(v->e, FP(FP(p, "spec"), "activeDeadlineSeconds"),
			     "activeDeadlineSeconds in %s is not Supported", kind);
}

static void check_template_labels(const struct validation *v, const struct selector *selector)
{
	const json_t *labels = json_at(v->object, "spec.template.metadata.labels");
	_cleanup_json_ json_t *none = json_object();

	if (!selector_matches(selector, labels))
		fe_invalid_json(v->e, FP(FP(FP(&spec_path, "template"), "metadata"), "labels"), labels ? labels : none,
				"`selector` does not match template `labels`");
}

/* A required, non-empty label selector that matches the template. name: in the message about an empty one. */
static void check_selector(const struct validation *v, const char *name, const char *unparsable)
{
	const json_t *selector = json_at(v->object, "spec.selector");
	_cleanup_(selector_freep) struct selector *compiled = NULL;
	const struct fpath *p = FP(&spec_path, "selector");

	if (!selector || json_is_null(selector)) {
		fe_required(v->e, p, NULL);
		return;
	}
	check_label_selector(v->e, p, selector);
	if (json_object_size(get(selector, "matchLabels")) + json_array_size(get(selector, "matchExpressions")) == 0)
		fe_invalid_json(v->e, p, selector, "empty selector is invalid for %s", name);
	compiled = selector_from_label_selector(selector, NULL);
	if (!compiled)
		fe_invalid_json(v->e, p, selector, "%s", unparsable);
	else if (!selector_matches_everything(compiled))
		check_template_labels(v, compiled);
}

static void check_selector_unchanged(const struct validation *v)
{
	if (v->old)
		check_immutable(v->e, FP(&spec_path, "selector"), json_at(v->object, "spec.selector"),
				json_at(v->old, "spec.selector"));
}

static void check_counts(const struct validation *v, const char *const *keys)
{
	for (; *keys; keys++)
		check_non_negative(v->e, FP(&spec_path, *keys), get(get(v->object, "spec"), *keys));
}

void validate_replication_controller(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *selector = get(spec, "selector");
	_cleanup_(selector_freep) struct selector *compiled = NULL;

	check_counts(v, WORDS("minReadySeconds"));
	if (json_object_size(selector) == 0)
		fe_required(v->e, FP(&spec_path, "selector"), NULL);
	if (!get(spec, "replicas"))
		fe_required(v->e, FP(&spec_path, "replicas"), NULL);
	check_counts(v, WORDS("replicas"));
	if (!get(spec, "template")) {
		fe_required(v->e, FP(&spec_path, "template"), NULL);
		return;
	}
	compiled = selector_from_map(selector);
	if (json_object_size(selector))
		check_template_labels(v, compiled);
	check_template(v, "ReplicationController");
}

void validate_replica_set(const struct validation *v)
{
	check_counts(v, WORDS("replicas", "minReadySeconds"));
	check_selector(v, "deployment", "invalid label selector");
	check_template(v, "ReplicaSet");
	check_selector_unchanged(v);
}

/* The number of an int-or-percent, as it reads. */
static long number_of(const json_t *v)
{
	return json_is_string(v) ? strtol(json_string_value(v), NULL, 10) : (long)json_integer_value(v);
}

static void check_deployment_strategy(const struct validation *v, const json_t *strategy)
{
	static const char *const types[] = { "Recreate", "RollingUpdate", NULL };
	const json_t *rolling = get(strategy, "rollingUpdate"), *unavailable = get(rolling, "maxUnavailable"),
		     *surge = get(rolling, "maxSurge");
	const struct fpath *p = FP(&spec_path, "strategy"), *at = FP(p, "rollingUpdate");
	const char *type = get_str(strategy, "type");

	if (!one_of(type, types)) {
		_cleanup_strbuf_ struct strbuf value = {0};

		strbuf_adds(&value, "{\"Type\":");
		strbuf_add_json(&value, type, strlen(type));
		strbuf_adds(&value, ",\"RollingUpdate\":null}");
		fe_not_supported_text(v->e, p, value.data, types);
		return;
	}
	if (strcmp(type, "Recreate") == 0) {
		if (rolling)
			fe_forbidden(v->e, at, "may not be specified when strategy `type` is 'Recreate'");
		return;
	}
	if (!rolling) {
		fe_required(v->e, at, "this should be defaulted and never be nil");
		return;
	}
	check_int_or_percent(v->e, FP(at, "maxUnavailable"), unavailable);
	check_int_or_percent(v->e, FP(at, "maxSurge"), surge);
	if (number_of(unavailable) == 0 && number_of(surge) == 0)
		fe_invalid_json(v->e, FP(at, "maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0");
	check_not_over_100_percent(v->e, FP(at, "maxUnavailable"), unavailable);
}

void validate_deployment(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *deadline = get(spec, "progressDeadlineSeconds");
	const struct fpath *p = FP(&spec_path, "progressDeadlineSeconds");

	check_counts(v, WORDS("replicas"));
	check_selector(v, "deployment", "invalid label selector");
	check_template(v, "ReplicaSet");
	check_deployment_strategy(v, get(spec, "strategy"));
	check_counts(v, WORDS("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"));
	if (deadline && json_integer_value(deadline) <= get_int(spec, "minReadySeconds"))
		fe_invalid_json(v->e, p, deadline, "must be greater than minReadySeconds");
	check_selector_unchanged(v);
}

static void check_daemon_strategy(const struct validation *v, const json_t *strategy)
{
	const json_t *rolling = get(strategy, "rollingUpdate"), *unavailable = get(rolling, "maxUnavailable"),
		     *surge = get(rolling, "maxSurge");
	const struct fpath *p = FP(&spec_path, "updateStrategy"), *at = FP(p, "rollingUpdate");
	const char *type = get_str(strategy, "type");

	if (strcmp(type, "OnDelete") == 0)
		return;
	if (strcmp(type, "RollingUpdate") != 0) {
		fe_not_supported(v->e, p, type, WORDS("RollingUpdate", "OnDelete"));
		return;
	}
	if (!rolling) {
		fe_required(v->e, at, NULL);
		return;
	}
	check_int_or_percent(v->e, FP(at, "maxUnavailable"), unavailable);
	check_int_or_percent(v->e, FP(at, "maxSurge"), surge);
	check_not_over_100_percent(v->e, FP(at, "maxUnavailable"), unavailable);
	check_not_over_100_percent(v->e, FP(at, "maxSurge"), surge);
	if (number_of(unavailable) != 0 && number_of(surge) != 0)
		fe_invalid_json(v->e, FP(at, "maxSurge"), surge, "may not be set when maxUnavailable is non-zero");
	else if (number_of(unavailable) == 0 && number_of(surge) == 0)
		fe_required(v->e, FP(at, "maxUnavailable"), "cannot be 0 when maxSurge is 0");
}

void validate_daemon_set(const struct validation *v)
{
	check_selector(v, "daemonset", "");
	check_template(v, "DaemonSet");
	check_counts(v, WORDS("minReadySeconds"));
	check_daemon_strategy(v, get(get(v->object, "spec"), "updateStrategy"));
	check_counts(v, WORDS("revisionHistoryLimit"));
	check_selector_unchanged(v);
}

static void check_stateful_strategy(const struct validation *v, const json_t *spec)
{
	const char *management = get_str(spec, "podManagementPolicy"),
		   *type = json_str_or(spec, "updateStrategy.type", "");
	const json_t *rolling = json_at(spec, "updateStrategy.rollingUpdate");
	const struct fpath *p = FP(&spec_path, "updateStrategy");

	if (!*management)
		fe_required(v->e, FP(&spec_path, "podManagementPolicy"), NULL);
	else if (!one_of(management, WORDS("OrderedReady", "Parallel")))
		fe_invalid(v->e, FP(&spec_path, "podManagementPolicy"), management,
			   "must be 'OrderedReady' or 'Parallel'");
	if (!*type)
		fe_required(v->e, p, NULL);
	else if (!one_of(type, WORDS("RollingUpdate", "OnDelete")))
		fe_invalid_json(v->e, p, get(spec, "updateStrategy"), "must be 'RollingUpdate' or 'OnDelete'");
	else if (strcmp(type, "OnDelete") == 0 && rolling)
		fe_invalid_json(v->e, FP(p, "rollingUpdate"), rolling,
				"only allowed for updateStrategy 'RollingUpdate'");
	check_non_negative(v->e, FP(FP(p, "rollingUpdate"), "partition"), get(rolling, "partition"));
}

static void check_stateful_update(const struct validation *v)
{
	static const char *const mutable[] = { "replicas",
					       "ordinals",
					       "template",
					       "updateStrategy",
					       "minReadySeconds",
					       "persistentVolumeClaimRetentionPolicy",
					       "revisionHistoryLimit" };
	_cleanup_json_ json_t *now = json_copy(get(v->object, "spec")), *old = json_copy(get(v->old, "spec"));

	for (size_t i = 0; i < ARRAY_SIZE(mutable); i++) {
		json_object_del(now, mutable[i]);
		json_object_del(old, mutable[i]);
	}
	if (!same_semantic(now, old))
		fe_forbidden(v->e, &spec_path,
			     "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
			     "'updateStrategy', "
			     "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
			     "forbidden");
}

/* What older versions let in may still be changed elsewhere. */
static bool stored_template_invalid(const struct validation *v)
{
	const struct validation stored = { .r = v->r, .object = v->old, .e = &(struct field_errors){ 0 } };
	bool invalid;

	if (!v->old || same_semantic(json_at(v->old, "spec.template"), json_at(v->object, "spec.template")))
		return v->old != NULL;
	check_template(&stored, "StatefulSet");
	invalid = stored.e->count > 0;
	field_errors_done(stored.e);
	return invalid;
}

void validate_stateful_set(const struct validation *v)
{
	static const char *const retention_keys[] = { "whenDeleted", "whenScaled" };
	const json_t *spec = get(v->object, "spec"), *retention = get(spec, "persistentVolumeClaimRetentionPolicy");
	json_t *claim;
	size_t i;

	check_stateful_strategy(v, spec);
	for (i = 0; i < ARRAY_SIZE(retention_keys); i++)
		if (*get_str(retention, retention_keys[i]) &&
		    !one_of(get_str(retention, retention_keys[i]), WORDS("Retain", "Delete")))
			fe_not_supported(v->e,
					 FP(FP(&spec_path, "persistentVolumeClaimRetentionPolicy"), retention_keys[i]),
					 get_str(retention, retention_keys[i]), WORDS("Retain", "Delete"));
	check_counts(v, WORDS("replicas", "minReadySeconds"));
	check_non_negative(v->e, FP(FP(&spec_path, "ordinals"), "start"), get(get(spec, "ordinals"), "start"));
	check_selector(v, "statefulset", "");
	if (!stored_template_invalid(v))
		check_template(v, "StatefulSet");
	if (v->old) {
		check_stateful_update(v);
		return;
	}
	if (*get_str(spec, "serviceName"))
		check_format(v->e, FP(&spec_path, "serviceName"), get_str(spec, "serviceName"), fmt_dns_label);
	json_array_foreach(get(spec, "volumeClaimTemplates"), i, claim)
		check_pvc_spec(v->e, FP(FP_INDEX(FP(&spec_path, "volumeClaimTemplates"), i), "spec"),
			       get(claim, "spec"));
}

void validate_pod_template(const struct validation *v)
{
	check_pod_template(v->e, FP(NULL, "template"), get(v->object, "template"), NULL);
}

void validate_controller_revision(const struct validation *v)
{
	const json_t *data = get(v->object, "data");

	if (!data)
		fe_required(v->e, FP(NULL, "data"), "data is mandatory");
	else if (!json_is_object(data))
		fe_required(v->e, FP(NULL, "data"), "data must be a valid JSON object");
	check_non_negative(v->e, FP(NULL, "revision"), get(v->object, "revision"));
	if (v->old)
		check_immutable(v->e, FP(NULL, "data"), data, get(v->old, "data"));
}

/* Counters of a status: none negative, none above the one that includes it. */
struct status_rule {
	const char *key, *limit, *message; /* limit NULL: only not negative */
};

static void check_status(const struct validation *v, const struct status_rule *rules, size_t count)
{
	const json_t *status = get(v->object, "status"), *old = get(v->old, "status");
	const struct fpath *p = FP(NULL, "status");

	for (size_t i = 0; i < count; i++)
		if (!rules[i].limit)
			check_non_negative(v->e, FP(p, rules[i].key), get(status, rules[i].key));
	for (size_t i = 0; i < count; i++)
		if (rules[i].limit && get_int(status, rules[i].key) > get_int(status, rules[i].limit))
			fe_invalid_int(v->e, FP(p, rules[i].key), get_int(status, rules[i].key), "%s",
				       rules[i].message);
	check_non_negative(v->e, FP(p, "collisionCount"), get(status, "collisionCount"));
	if (get_int(status, "collisionCount") < get_int(old, "collisionCount"))
		fe_invalid_int(v->e, FP(p, "collisionCount"), get_int(status, "collisionCount"),
			       "cannot be decremented");
}

#define OVER_REPLICAS "cannot be greater than status.replicas"

void validate_deployment_status(const struct validation *v)
{
	static const struct status_rule rules[] = {
		{ "observedGeneration", NULL, NULL },
		{ "replicas", NULL, NULL },
		{ "updatedReplicas", NULL, NULL },
		{ "readyReplicas", NULL, NULL },
		{ "availableReplicas", NULL, NULL },
		{ "unavailableReplicas", NULL, NULL },
		{ "terminatingReplicas", NULL, NULL },
		{ "updatedReplicas", "replicas", OVER_REPLICAS },
		{ "readyReplicas", "replicas", OVER_REPLICAS },
		{ "availableReplicas", "replicas", OVER_REPLICAS },
		{ "availableReplicas", "readyReplicas", "cannot be greater than readyReplicas" },
	};

	check_status(v, rules, ARRAY_SIZE(rules));
}

void validate_replica_set_status(const struct validation *v)
{
	static const struct status_rule rules[] = {
		{ "replicas", NULL, NULL },
		{ "fullyLabeledReplicas", NULL, NULL },
		{ "readyReplicas", NULL, NULL },
		{ "availableReplicas", NULL, NULL },
		{ "observedGeneration", NULL, NULL },
		{ "terminatingReplicas", NULL, NULL },
		{ "fullyLabeledReplicas", "replicas", OVER_REPLICAS },
		{ "readyReplicas", "replicas", OVER_REPLICAS },
		{ "availableReplicas", "replicas", OVER_REPLICAS },
		{ "availableReplicas", "readyReplicas", "cannot be greater than readyReplicas" },
	};

	check_status(v, rules, ARRAY_SIZE(rules));
}

void validate_daemon_set_status(const struct validation *v)
{
	static const struct status_rule rules[] = {
		{ "currentNumberScheduled", NULL, NULL }, { "numberMisscheduled", NULL, NULL },
		{ "desiredNumberScheduled", NULL, NULL }, { "numberReady", NULL, NULL },
		{ "observedGeneration", NULL, NULL },     { "updatedNumberScheduled", NULL, NULL },
		{ "numberAvailable", NULL, NULL },        { "numberUnavailable", NULL, NULL },
	};

	check_status(v, rules, ARRAY_SIZE(rules));
}

void validate_stateful_set_status(const struct validation *v)
{
	static const struct status_rule rules[] = {
		{ "replicas", NULL, NULL },
		{ "readyReplicas", NULL, NULL },
		{ "currentReplicas", NULL, NULL },
		{ "updatedReplicas", NULL, NULL },
		{ "observedGeneration", NULL, NULL },
		{ "availableReplicas", NULL, NULL },
		{ "readyReplicas", "replicas", OVER_REPLICAS },
		{ "currentReplicas", "replicas", OVER_REPLICAS },
		{ "updatedReplicas", "replicas", OVER_REPLICAS },
		{ "availableReplicas", "replicas", OVER_REPLICAS },
		{ "availableReplicas", "readyReplicas", "cannot be greater than status.readyReplicas" },
	};

	check_status(v, rules, ARRAY_SIZE(rules));
}
