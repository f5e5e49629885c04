/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The status of a Job: its conditions have to fit each other, its counters and its times. */
#include "apiserver/validate/validate_job.h"

static bool condition(const json_t *job, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_at(job, "status.conditions"), i, c) {
		if (strcmp(get_str(c, "type"), type) == 0)
			return strcmp(get_str(c, "status"), "True") == 0;
	}
	return false;
}

/* An error without a value. */
static void fe_conditions(struct field_errors *e, const char *text)
{
	field_errors_add(e, "FieldValueInvalid", fpath_text(FP(FP(NULL, "status"), "conditions")), "Invalid value: %s", text);
}

static void check_job_conditions(const struct validation *v)
{
	static const struct {
		const char *type, *other, *text;
		bool with; /* both at once are wrong; else the one without the other */
	} rules[] = {
		{ "Complete", "Failed", "cannot set Complete=True and Failed=true conditions", true },
		{ "Complete", "FailureTarget", "cannot set Complete=True and FailureTarget=true conditions", true },
		{ "Failed", "FailureTarget", "cannot set Failed=True condition without the FailureTarget=true condition", false },
		{ "Complete", "SuccessCriteriaMet", "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
		  false },
		{ "SuccessCriteriaMet", "Failed", "cannot set SuccessCriteriaMet=True and Failed=true conditions", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		bool now = condition(v->object, rules[i].type) && condition(v->object, rules[i].other) == rules[i].with;

		/* What was so before is not this write's fault. */
		if (now && !(condition(v->old, rules[i].type) && condition(v->old, rules[i].other) == rules[i].with))
			fe_conditions(v->e, rules[i].text);
	}
}

static void check_finished(const struct validation *v, const struct fpath *p, const json_t *status)
{
	bool complete = condition(v->object, "Complete"), finished = complete || condition(v->object, "Failed");
	const char *start = get_str(status, "startTime"), *end = get_str(status, "completionTime");

	if (*end && !complete)
		fe_invalid(v->e, FP(p, "completionTime"), end, "cannot set completionTime when there is no Complete=True condition");
	if (!*end && complete)
		fe_required(v->e, FP(p, "completionTime"), "completionTime is required for Complete jobs");
	/* Both are in UTC and of one form. */
	if (*end && *start && strcmp(end, start) < 0)
		fe_invalid(v->e, FP(p, "completionTime"), end, "must be equal to or after `startTime`");
	if (finished && get_int(status, "active") > 0)
		fe_invalid_int(v->e, FP(p, "active"), get_int(status, "active"), "active>0 is invalid for finished job");
	if (finished && get_int(status, "terminating") > 0)
		fe_invalid_int(v->e, FP(p, "terminating"), get_int(status, "terminating"), "terminating>0 is invalid for finished job");
	if (finished && !*start && !json_bool(v->object, "spec.suspend", false))
		fe_required(v->e, FP(p, "startTime"), "startTime is required for finished job");
	if (finished && (json_array_size(json_at(status, "uncountedTerminatedPods.succeeded")) > 0 ||
			 json_array_size(json_at(status, "uncountedTerminatedPods.failed")) > 0))
		fe_invalid_json(v->e, FP(p, "uncountedTerminatedPods"), get(status, "uncountedTerminatedPods"),
				"must be empty for finished job");
}

static void check_status_change(const struct validation *v, const struct fpath *p, const json_t *status, const json_t *old)
{
	static const char *const final[] = { "Complete", "Failed", "FailureTarget" };
	static const char *const counters[] = { "failed", "succeeded" };
	const json_t *start = get(old, "startTime");

	for (size_t i = 0; i < ARRAY_SIZE(final); i++) {
		_cleanup_free_ char *text = str_printf("cannot disable the terminal %s=True condition", final[i]);

		if (condition(v->old, final[i]) && !condition(v->object, final[i]))
			fe_conditions(v->e, text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (get_int(status, counters[i]) < get_int(old, counters[i]))
			fe_invalid_int(v->e, FP(p, counters[i]), get_int(status, counters[i]), "cannot decrease the %s counter",
				       counters[i]);
	if (get(old, "completionTime"))
		check_immutable(v->e, FP(p, "completionTime"), get(status, "completionTime"), get(old, "completionTime"));
	if (start && !json_bool(v->object, "spec.suspend", false) && !same_semantic(start, get(status, "startTime")) &&
	    !json_bool(v->old, "spec.suspend", false) && !condition(v->old, "Suspended"))
		fe_invalid_json(v->e, FP(p, "startTime"), get(status, "startTime"), "field is immutable for unsuspended job once set");
}

void validate_job_status(const struct validation *v)
{
	static const char *const counters[] = { "active", "succeeded", "failed", "ready", "terminating" };
	const json_t *status = get(v->object, "status"), *old = get(v->old, "status");
	const struct fpath *p = FP(NULL, "status");

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		check_non_negative(v->e, FP(p, counters[i]), get(status, counters[i]));
	if (get(status, "ready") && get_int(status, "ready") > get_int(status, "active") &&
	    (get_int(status, "ready") != get_int(old, "ready") || get_int(status, "active") != get_int(old, "active")))
		fe_invalid_int(v->e, FP(p, "ready"), get_int(status, "ready"), "cannot set more ready pods than active");
	check_job_conditions(v);
	if (!same_semantic(status, old))
		check_finished(v, p, status);
	check_status_change(v, p, status, old);
}
