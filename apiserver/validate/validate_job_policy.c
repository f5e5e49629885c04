/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When a Job succeeds or fails: its failure and success policies, and how its indexes are counted. */
#include "apiserver/validate/validate_job.h"

#include <stdio.h>

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

void check_failure_policy(struct field_errors *e, const struct fpath *p, const json_t *spec)
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

void check_job_indexes(struct field_errors *e, const struct fpath *p, const json_t *spec)
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

/* "1,3-5,7": intervals of indexes below completions, each behind the one before. Their number, or -1 and what is wrong (own). */
static int64_t count_indexes(const char *text, int64_t completions, char **ret_problem)
{
	_cleanup_strlist_ struct strlist parts = {0};
	int64_t last = -1, count = 0;

	strlist_split(&parts, text, ',');
	for (size_t i = 0; i < parts.count; i++) {
		_cleanup_strlist_ struct strlist ends = {0};
		int64_t bounds[2];

		strlist_split(&ends, parts.items[i], '-');
		if (ends.count == 0 || ends.count > 2) {
			*ret_problem = str_printf("the fragment \"%s\" violates the requirement that an index interval can have at most "
						  "two parts separated by '-'", parts.items[i]);
			return -1;
		}
		for (size_t k = 0; k < ends.count; k++) {
			if (str_to_i64(ends.items[k], INT32_MIN, INT32_MAX, &bounds[k]) < 0) {
				*ret_problem = str_printf("cannot convert string to integer for index: \"%s\"", ends.items[k]);
				return -1;
			}
			if (bounds[k] >= completions) {
				*ret_problem = str_printf("too large index: \"%s\"", ends.items[k]);
				return -1;
			}
			if (bounds[k] <= last) {
				*ret_problem = str_printf("non-increasing order, previous: %lld, current: %lld", (long long)last,
							  (long long)bounds[k]);
				return -1;
			}
			count += k == 0 ? 1 : bounds[1] - bounds[0];
			last = bounds[k];
		}
	}
	return count;
}

static void check_succeeded_indexes(struct field_errors *e, const struct fpath *p, const json_t *spec, const json_t *rule)
{
	const json_t *count = get(rule, "succeededCount");
	_cleanup_free_ char *problem = NULL;
	int64_t n = count_indexes(get_str(rule, "succeededIndexes"), get_int(spec, "completions"), &problem);

	if (problem)
		fe_invalid(e, FP(p, "succeededIndexes"), get_str(rule, "succeededIndexes"), "error parsing succeededIndexes: %s",
			   problem);
	else if (count && json_integer_value(count) > n)
		fe_invalid_json(e, FP(p, "succeededCount"), count,
				"must be less than or equal to %lld (the number of indexes in the specified succeededIndexes field)",
				(long long)n);
}

void check_success_policy(struct field_errors *e, const struct fpath *p, const json_t *spec)
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
		else if (*get_str(rule, "succeededIndexes"))
			check_succeeded_indexes(e, at, spec, rule);
		check_non_negative(e, FP(at, "succeededCount"), count);
		if (count && json_integer_value(count) > get_int(spec, "completions"))
			fe_invalid_json(e, FP(at, "succeededCount"), count,
					"must be less than or equal to %lld (the number of specified completions)",
					(long long)get_int(spec, "completions"));
	}
}
