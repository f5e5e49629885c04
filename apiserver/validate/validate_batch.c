/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs and CronJobs. */
#include <ctype.h>
#include <stdio.h>

#include "apiserver/validate/validate_pod.h"
#include "kube/selector.h"

static void check_failure_codes(struct field_errors *e, const struct fpath *p, const json_t *codes,
				const struct map *containers)
{
	enum { VALUES_MAX = 255 };
	const char *op = get_str(codes, "operator"), *container = get_str(codes, "containerName");
	const json_t *values = get(codes, "values");
	struct map *seen = map_new(NULL);
	int64_t before = INT64_MIN;
	bool ordered = true;
	json_t *v;
	size_t i;

	if (!*op)
		fe_required(e, FP(p, "operator"), "valid values: [\"In\" \"NotIn\"]");
	else if (!one_of(op, WORDS("In", "NotIn")))
		fe_not_supported(e, FP(p, "operator"), op, WORDS("In", "NotIn"));
	if (*container && !map_has(containers, container))
		fe_invalid(e, FP(p, "containerName"), container,
			   "must be one of the container or initContainer names in the pod template");
	if (json_array_size(values) == 0)
		fe_invalid_json(e, FP(p, "values"), values, "at least one value is required");
	else if (json_array_size(values) > VALUES_MAX)
		fe_too_many(e, FP(p, "values"), json_array_size(values), VALUES_MAX);
	json_array_foreach(values, i, v) {
		char text[32];

		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
		if (strcmp(op, "In") == 0 && json_integer_value(v) == 0)
			fe_invalid_int(e, FP_INDEX(FP(p, "values"), i), 0, "must not be 0 for the In operator");
		if (map_has(seen, text))
			fe_duplicate_text(e, FP_INDEX(FP(p, "values"), i), text, NULL);
		map_set(seen, text, seen);
		ordered &= json_integer_value(v) >= before;
		before = json_integer_value(v);
	}
	if (!ordered)
		fe_invalid_json(e, FP(p, "values"), values, "must be ordered");
	map_free(seen);
}

static void check_failure_conditions(struct field_errors *e, const struct fpath *p, const json_t *patterns)
{
	enum { CONDITIONS_MAX = 20 };
	static const char *const states[] = { "False", "True", "Unknown", NULL };
	json_t *pattern;
	size_t i;

	if (json_array_size(patterns) > CONDITIONS_MAX)
		fe_too_many(e, p, json_array_size(patterns), CONDITIONS_MAX);
	json_array_foreach(patterns, i, pattern) {
		const char *status = get_str(pattern, "status");
		const struct fpath *at = FP_INDEX(p, i);

		check_format(e, FP(at, "type"), get_str(pattern, "type"), fmt_qualified_name);
		if (!*status)
			fe_required(e, FP(at, "status"), "valid values: [\"False\" \"True\" \"Unknown\"]");
		else if (!one_of(status, states))
			fe_not_supported(e, FP(at, "status"), status, states);
	}
}

static void check_failure_policy(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	enum { RULES_MAX = 20 };
	static const char *const actions[] = { "Count", "FailIndex", "FailJob", "Ignore", NULL };
	const json_t *rules = get(get(spec, "podFailurePolicy"), "rules"), *pod = json_at(spec, "template.spec");
	struct map *containers = list_index(get(pod, "containers"), "name");
	json_t *rule, *c;
	size_t i;

	json_array_foreach(get(pod, "initContainers"), i, c)
		map_set(containers, get_str(c, "name"), c);
	if (json_array_size(rules) > RULES_MAX)
		fe_too_many(e, FP(p, "rules"), json_array_size(rules), RULES_MAX);
	json_array_foreach(rules, i, rule) {
		const json_t *codes = get(rule, "onExitCodes"), *conditions = get(rule, "onPodConditions");
		const struct fpath *at = FP_INDEX(FP(p, "rules"), i);
		const char *action = get_str(rule, "action");

		if (!*action)
			fe_required(e, FP(at, "action"),
				    "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
		else if (strcmp(action, "FailIndex") == 0 && !get(spec, "backoffLimitPerIndex"))
			fe_invalid(e, FP(at, "action"), action, "requires the backoffLimitPerIndex to be set");
		else if (!one_of(action, actions))
			fe_not_supported(e, FP(at, "action"), action, actions);
		if (codes && json_array_size(conditions))
			field_errors_add(
				e, "FieldValueInvalid", fpath_text(at),
				"Invalid value: specifying both OnExitCodes and OnPodConditions is not supported");
		else if (!codes && !json_array_size(conditions))
			field_errors_add(
				e, "FieldValueInvalid", fpath_text(at),
				"Invalid value: specifying one of OnExitCodes and OnPodConditions is required");
		if (codes)
			check_failure_codes(e, FP(at, "onExitCodes"), codes, containers);
		check_failure_conditions(e, FP(at, "onPodConditions"), conditions);
	}
	map_free(containers);
}

static void check_indexes(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	const json_t *completions = get(spec, "completions"), *per_index = get(spec, "backoffLimitPerIndex"),
		     *failed = get(spec, "maxFailedIndexes");
	const char *mode = get_str(spec, "completionMode");
	int64_t parallelism = get_int(spec, "parallelism");

	if (failed && !per_index)
		fe_required(e, FP(p, "backoffLimitPerIndex"), "when maxFailedIndexes is specified");
	if (*mode && !one_of(mode, WORDS("NonIndexed", "Indexed"))) {
		fe_not_supported(e, FP(p, "completionMode"), mode, WORDS("NonIndexed", "Indexed"));
		return;
	}
	if (strcmp(mode, "Indexed") != 0) {
		static const char *const keys[] = { "backoffLimitPerIndex", "maxFailedIndexes" };

		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (get(spec, keys[i]))
				fe_invalid_json(e, FP(p, keys[i]), get(spec, keys[i]),
						"requires indexed completion mode");
		return;
	}
	if (!completions)
		fe_required(e, FP(p, "completions"), "when completion mode is Indexed");
	if (parallelism > 100000)
		fe_invalid_int(e, FP(p, "parallelism"), parallelism,
			       "must be less than or equal to 100000 when completion mode is Indexed");
	if (failed && completions && json_integer_value(failed) > json_integer_value(completions))
		fe_invalid_json(e, FP(p, "maxFailedIndexes"), failed, "must be less than or equal to completions");
	if (failed && json_integer_value(failed) > 100000)
		fe_invalid_json(e, FP(p, "maxFailedIndexes"), failed, "must be less than or equal to 100000");
	if (!per_index || !completions || json_integer_value(completions) <= 100000)
		return;
	if (!failed)
		fe_required(e, FP(p, "maxFailedIndexes"), "must be specified when completions is above 100000");
	else if (json_integer_value(failed) > 10000)
		fe_invalid_json(e, FP(p, "maxFailedIndexes"), failed,
				"must be less than or equal to 10000 when completions are above 100000 and used with "
				"backoff limit per index");
	if (parallelism > 10000)
		fe_invalid_int(e, FP(p, "parallelism"), parallelism,
			       "must be less than or equal to 10000 when completions are above 100000 and used with "
			       "backoff limit per index");
}

static void check_success_policy(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	enum { RULES_MAX = 20, INDEXES_MAX_BYTES = 65536 };
	const json_t *rules = json_at(spec, "successPolicy.rules");
	json_t *rule;
	size_t i;

	if (strcmp(get_str(spec, "completionMode"), "Indexed") != 0) {
		fe_invalid_json(e, p, get(spec, "successPolicy"), "requires indexed completion mode");
		return;
	}
	if (json_array_size(rules) == 0)
		fe_required(e, FP(p, "rules"),
			    "at least one rules must be specified when the successPolicy is specified");
	if (json_array_size(rules) > RULES_MAX)
		fe_too_many(e, FP(p, "rules"), json_array_size(rules), RULES_MAX);
	json_array_foreach(rules, i, rule) {
		const struct fpath *at = FP_INDEX(FP(p, "rules"), i);
		const json_t *count = get(rule, "succeededCount");

		if (!count && !get(rule, "succeededIndexes"))
			fe_required(e, at, "at least one of succeededCount or succeededIndexes must be specified");
		if (strlen(get_str(rule, "succeededIndexes")) > INDEXES_MAX_BYTES)
			fe_too_long(e, FP(at, "succeededIndexes"), INDEXES_MAX_BYTES);
		check_non_negative(e, FP(at, "succeededCount"), count);
		if (count && json_integer_value(count) > get_int(spec, "completions"))
			fe_invalid_json(e, FP(at, "succeededCount"), count,
					"must be less than or equal to %lld (the number of specified completions)",
					(long long)get_int(spec, "completions"));
	}
}

/* A Job's spec without what concerns its selector; also that of a CronJob's template. */
static void check_job_spec(struct field_errors *e, const struct fpath *p, const json_t *spec)
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
		if (!strchr(manager, '/'))
			fe_invalid(e, FP(p, "managedBy"), manager,
				   "must be a domain-prefixed path (such as \"acme.io/foo\")");
		if (strlen(manager) > 63)
			fe_too_long(e, FP(p, "managedBy"), 63);
	}
	check_indexes(e, p, spec);
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
	return json_bool(job, "spec.suspend", false) && json_int(job, "status.active", 0) == 0;
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

static const char *const *const cron_names[] = {
	NULL,
	NULL,
	NULL,
	(const char *const[]){ "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
			       NULL },
	(const char *const[]){ "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL },
};
static const int cron_min[] = { 0, 0, 1, 1, 0 }, cron_max[] = { 59, 23, 31, 12, 6 };

/* One number or name of a field; -1 when it is neither. */
static int cron_number(const char *s, size_t len, int field)
{
	_cleanup_free_ char *text = mem_strndup(s, len);
	uint64_t n;

	for (char *c = text; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	for (int i = 0; cron_names[field] && cron_names[field][i]; i++)
		if (strcmp(cron_names[field][i], text) == 0)
			return i + cron_min[field];
	return str_to_u64(text, 1000000, &n) < 0 ? -1 : (int)n;
}

/* "*", "?", "a", "a-b", each with "/step". NULL when right, else what is wrong (own). */
static char *cron_part(const char *part, int field)
{
	_cleanup_strlist_ struct strlist steps = {0};
	const char *range, *dash;
	int from, to;
	uint64_t step;

	strlist_split(&steps, part, '/');
	if (steps.count == 0 || steps.count > 2)
		return str_printf("too many slashes: %s", part);
	range = steps.items[0];
	dash = strchr(range, '-');
	if (strcmp(range, "*") == 0 || strcmp(range, "?") == 0) {
		from = cron_min[field];
		to = cron_max[field];
	} else {
		if (dash && strchr(dash + 1, '-'))
			return str_printf("too many hyphens: %s", part);
		from = cron_number(range, dash ? (size_t)(dash - range) : strlen(range), field);
		to = dash ? cron_number(dash + 1, strlen(dash + 1), field) : steps.count == 2 ? cron_max[field] : from;
	}
	if (from < 0 || to < 0)
		return str_printf("failed to parse int from %s: strconv.Atoi: parsing \"%s\": invalid syntax", range,
				  range);
	if (steps.count == 2 && (str_to_u64(steps.items[1], 1000000, &step) < 0 || step == 0))
		return str_printf("step of range should be a positive number: %s", part);
	if (from < cron_min[field])
		return str_printf("beginning of range (%d) below minimum (%d): %s", from, cron_min[field], part);
	if (to > cron_max[field])
		return str_printf("end of range (%d) above maximum (%d): %s", to, cron_max[field], part);
	if (from > to)
		return str_printf("beginning of range (%d) beyond end of range (%d): %s", from, to, part);
	return NULL;
}

/* NULL when the schedule is right, else the words of the cron library (own). */
static char *cron_check(const char *schedule)
{
	static const char *const descriptors[] = { "@yearly", "@annually", "@monthly", "@weekly",
						   "@daily",  "@midnight", "@hourly",  NULL };
	_cleanup_strlist_ struct strlist fields = {0};
	_cleanup_free_ char *blanks = mem_strdup(schedule);

	if (*schedule == '@') {
		const char *every = str_after(schedule, "@every ");

		if (one_of(schedule, descriptors) ||
		    (every && isdigit((unsigned char)*every) && isalpha((unsigned char)every[strlen(every) - 1])))
			return NULL;
		return str_printf("unrecognized descriptor: %s", schedule);
	}
	for (char *c = blanks; *c; c++)
		if (isspace((unsigned char)*c))
			*c = ' ';
	strlist_split(&fields, blanks, ' ');
	if (fields.count != 5) {
		_cleanup_strbuf_ struct strbuf list = {0};

		for (size_t i = 0; i < fields.count; i++)
			strbuf_addf(&list, "%s%s", i ? " " : "", fields.items[i]);
		return str_printf("expected exactly 5 fields, found %zu: [%s]", fields.count,
				  list.data ? list.data : "");
	}
	for (int f = 0; f < 5; f++) {
		_cleanup_strlist_ struct strlist parts = {0};

		strlist_split(&parts, fields.items[f], ',');
		for (size_t i = 0; i < parts.count; i++) {
			char *wrong = cron_part(parts.items[i], f);

			if (wrong)
				return wrong;
		}
	}
	return NULL;
}

static void check_schedule(const struct validation *v, const struct fpath *p, const json_t *spec)
{
	const char *schedule = get_str(spec, "schedule");
	_cleanup_free_ char *wrong = NULL;

	if (!*schedule) {
		fe_required(v->e, p, NULL);
		return;
	}
	if (strstr(schedule, "TZ")) {
		fe_invalid(v->e, p, schedule, "%s",
			   get(spec, "timeZone") && v->old && strstr(json_str_or(v->old, "spec.schedule", ""), "TZ") ?
				   "cannot use both timeZone field and TZ or CRON_TZ in schedule" :
				   "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
		return;
	}
	wrong = cron_check(schedule);
	if (wrong)
		fe_invalid(v->e, p, schedule, "%s", wrong);
}

static void check_time_zone(const struct validation *v, const struct fpath *p, const json_t *zone)
{
	const char *s = json_string_value(zone);
	_cleanup_strlist_ struct strlist parts = {0};

	if (!zone || (v->old && json_equal(zone, json_at(v->old, "spec.timeZone"))))
		return;
	if (!*s) {
		fe_invalid(v->e, p, s, "timeZone must be nil or non-empty string");
		return;
	}
	strlist_split(&parts, s, '/');
	for (size_t i = 0; i < parts.count; i++) {
		const char *part = parts.items[i];
		size_t len = strlen(part);
		bool shape = len <= 14 && strcmp(part, ".") != 0 && strcmp(part, "..") != 0 && *part != '-';

		for (size_t k = 0; k < len; k++)
			shape &= isalnum((unsigned char)part[k]) || strchr("._+-", part[k]);
		if (shape)
			continue;
		fe_invalid(v->e, p, s, "unknown time zone %s", s);
		return;
	}
	if (strcasecmp(s, "Local") == 0)
		fe_invalid(v->e, p, s,
			   "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
}

void validate_cron_job(const struct validation *v)
{
	static const char *const counts[] = { "startingDeadlineSeconds", "successfulJobsHistoryLimit",
					      "failedJobsHistoryLimit" };
	const json_t *spec = get(v->object, "spec"), *job = json_at(spec, "jobTemplate.spec");
	const char *name = json_str_or(v->object, "metadata.name", "");
	const struct fpath *p = FP(NULL, "spec"), *at = FP(FP(p, "jobTemplate"), "spec");

	if (!v->old && strlen(name) > 52)
		fe_invalid(v->e, FP(FP(NULL, "metadata"), "name"), name, "must be no more than 52 characters");
	check_schedule(v, FP(p, "schedule"), spec);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		check_non_negative(v->e, FP(p, counts[i]), get(spec, counts[i]));
	check_time_zone(v, FP(p, "timeZone"), get(spec, "timeZone"));
	check_enum(v->e, FP(p, "concurrencyPolicy"), get_str(spec, "concurrencyPolicy"),
		   WORDS("Allow", "Forbid", "Replace"));
	check_job_spec(v->e, at, job);
	if (get(job, "selector"))
		fe_invalid_json(v->e, FP(at, "selector"), get(job, "selector"), "`selector` will be auto-generated");
	if (get_bool(job, "manualSelector"))
		fe_not_supported_text(v->e, FP(at, "manualSelector"), "true", WORDS("nil", "false"));
}
