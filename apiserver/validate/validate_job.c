/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs. */
#include "apiserver/validate/validate_job.h"

#include "kube/selector.h"

/* A Job's spec without what concerns its selector; also that of a CronJob's template. */
void check_job_spec(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	static const char *const counts[] = { "parallelism",
					      "completions",
					      "activeDeadlineSeconds",
					      "backoffLimit",
					      "ttlSecondsAfterFinished",
					      "backoffLimitPerIndex",
					      "maxFailedIndexes" };
	const char *restart = json_str_or(spec, "template.spec.restartPolicy", ""),
		   *manager = get_str(spec, "managedBy");
	const char *replacement = get_str(spec, "podReplacementPolicy");
	const struct fpath *restart_path = FP(FP(FP(p, "template"), "spec"), "restartPolicy");

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		check_non_negative(e, FP(p, counts[i]), get(spec, counts[i]));
	if (get(spec, "managedBy")) {
		check_domain_path(e, FP(p, "managedBy"), manager);
		if (strlen(manager) > 63)
			fe_too_long(e, FP(p, "managedBy"), 63);
	}
	check_job_indexes(e, p, spec);
	if (get(spec, "podFailurePolicy"))
		check_failure_policy(e, FP(p, "podFailurePolicy"), spec);
	if (get(spec, "successPolicy"))
		check_success_policy(e, FP(p, "successPolicy"), spec);
	if (*replacement && get(spec, "podFailurePolicy") && strcmp(replacement, "Failed") != 0)
		fe_not_supported(e, FP(p, "podReplacementPolicy"), replacement, WORDS("Failed"));
	else if (*replacement && !one_of(replacement, WORDS("Failed", "TerminatingOrFailed")))
		fe_not_supported(e, FP(p, "podReplacementPolicy"), replacement, WORDS("Failed", "TerminatingOrFailed"));
	check_pod_template(e, FP(p, "template"), get(spec, "template"), NULL);
	if (!*restart || strcmp(restart, "Always") == 0)
		fe_required(e, restart_path, "valid values: \"OnFailure\", \"Never\"");
	else if (!one_of(restart, WORDS("OnFailure", "Never")))
		fe_not_supported(e, restart_path, restart, WORDS("OnFailure", "Never"));
	else if (get(spec, "podFailurePolicy") && strcmp(restart, "Never") != 0)
		fe_invalid(e, restart_path, restart, "only \"Never\" is supported when podFailurePolicy is specified");
}

static void check_generated_labels(const struct validation *v, const struct fpath *p)
{
	const char *uid = json_str_or(v->object, "metadata.uid", ""),
		   *name = json_str_or(v->object, "metadata.name", "");
	const char *const wanted[][2] = { { "controller-uid", uid },
					  { "job-name", name },
					  { "batch.kubernetes.io/controller-uid", uid },
					  { "batch.kubernetes.io/job-name", name } };
	const json_t *labels = json_at(v->object, "spec.template.metadata.labels");

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		_cleanup_free_ char *detail = str_printf("must be '%s'", wanted[i][1]);
		const char *have = get_str(labels, wanted[i][0]);

		if (!json_object_get(labels, wanted[i][0]))
			fe_required(v->e, FP_KEY(p, wanted[i][0]), detail);
		else if (strcmp(have, wanted[i][1]) != 0)
			fe_invalid_json(v->e, FP_KEY(p, wanted[i][0]), labels, "%s", detail);
	}
}

static void check_job_selector(const struct validation *v, const struct fpath *p)
{
	const json_t *spec = get(v->object, "spec"), *selector = get(spec, "selector"),
		     *labels = json_at(spec, "template.metadata.labels");
	const struct fpath *labels_path = FP(FP(FP(p, "template"), "metadata"), "labels");
	_cleanup_(selector_freep) struct selector *compiled = NULL;

	if (!get_bool(spec, "manualSelector")) {
		if (!*json_str_or(v->object, "metadata.uid", ""))
			fe_required(v->e, FP(FP(NULL, "metadata"), "uid"), NULL);
		check_generated_labels(v, labels_path);
	}
	if (!selector) {
		fe_required(v->e, FP(p, "selector"), NULL);
		return;
	}
	check_label_selector(v->e, FP(p, "selector"), selector);
	compiled = selector_from_label_selector(selector, NULL);
	if (compiled && !selector_matches(compiled, labels))
		fe_invalid_json(v->e, labels_path, labels, "`selector` does not match template `labels`");
}

static bool job_suspended(const json_t *job)
{
	json_t *c;
	size_t i;

	if (!json_bool(job, "spec.suspend", false) || json_int(job, "status.active", 0) != 0)
		return false;
	if (!json_at(job, "status.startTime"))
		return true;
	json_array_foreach(json_at(job, "status.conditions"), i, c) {
		if (strcmp(get_str(c, "type"), "Suspended") == 0 && strcmp(get_str(c, "status"), "True") == 0)
			return true;
	}
	return false;
}

/* What a suspended Job may have changed of its template goes back to the old. */
static void munge_template(json_t *template, const json_t *old)
{
	static const char *const pod_keys[] = { "nodeSelector", "tolerations", "schedulingGates", "affinity" };
	json_t *spec = get(template, "spec"), *c;
	const json_t *old_spec = get(old, "spec");
	size_t i;

	json_object_del(template, "metadata");
	if (get(old, "metadata"))
		json_object_set_new(template, "metadata", json_deep_copy(get(old, "metadata")));
	for (i = 0; i < ARRAY_SIZE(pod_keys); i++) {
		json_object_del(spec, pod_keys[i]);
		if (get(old_spec, pod_keys[i]))
			json_object_set_new(spec, pod_keys[i], json_deep_copy(get(old_spec, pod_keys[i])));
	}
	json_array_foreach(get(spec, "containers"), i, c) {
		const json_t *was = get(json_array_get(get(old_spec, "containers"), i), "resources");

		json_object_del(c, "resources");
		if (was)
			json_object_set_new(c, "resources", json_deep_copy(was));
	}
}

static void check_job_update(const struct validation *v, const struct fpath *p)
{
	static const char *const immutable[] = { "selector",	     "completionMode", "podFailurePolicy",
						 "backoffLimitPerIndex", "managedBy",	       "successPolicy" };
	const json_t *spec = get(v->object, "spec"), *old = get(v->old, "spec");
	_cleanup_json_ json_t *template = json_deep_copy(get(spec, "template"));
	bool indexed = strcmp(get_str(spec, "completionMode"), "Indexed") == 0;

	if (!same_semantic(get(spec, "completions"), get(old, "completions"))) {
		if (!indexed)
			fe_invalid_json(v->e, FP(p, "completions"), get(spec, "completions"), "field is immutable");
		else if (!same_semantic(get(spec, "completions"), get(spec, "parallelism")))
			fe_invalid_json(v->e, FP(p, "completions"), get(spec, "completions"),
					"can only be modified in tandem with spec.parallelism");
	}
	for (size_t i = 0; i < ARRAY_SIZE(immutable); i++)
		check_immutable(v->e, FP(p, immutable[i]), get(spec, immutable[i]), get(old, immutable[i]));
	if (job_suspended(v->old))
		munge_template(template, get(old, "template"));
	if (!same_semantic(template, get(old, "template")))
		fe_invalid_json(v->e, FP(p, "template"), get(spec, "template"), "field is immutable");
}

void validate_job(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec");
	const struct fpath *p = FP(NULL, "spec");

	check_job_selector(v, p);
	check_job_spec(v->e, p, spec);
	if (!v->old && strcmp(get_str(spec, "completionMode"), "Indexed") == 0 && get_int(spec, "completions") > 0) {
		_cleanup_free_ char *host = str_printf("%s-%lld", json_str_or(v->object, "metadata.name", ""),
						       (long long)get_int(spec, "completions") - 1);

		if (!format_ok(fmt_dns_label, host))
			fe_invalid(v->e, FP(FP(NULL, "metadata"), "name"), json_str_or(v->object, "metadata.name", ""),
				   "will not able to create pod with invalid DNS label: %s", host);
	}
	if (v->old)
		check_job_update(v, p);
}
