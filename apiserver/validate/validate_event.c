/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events. They are kept in the form of core/v1; which rules a write has to meet goes by the version it was made in
 * (v->r), for events.k8s.io is the stricter.
 */
#include "apiserver/validate/validate_internal.h"

static void check_length(struct field_errors *e, const char *key, const char *s, size_t max)
{
	if (!*s)
		fe_required(e, FP(NULL, key), NULL);
	if (strlen(s) > max)
		fe_invalid(e, FP(NULL, key), "", "can have at most %zu characters", max);
}

/* What both versions check; a time of the event makes it one of the newer kind. */
static void check_event(const struct validation *v, bool newer)
{
	enum { TEXT_MAX = 128, NOTE_MAX = 1024 };
	const json_t *o = v->object;
	const char *ns = json_str_or(o, "metadata.namespace", ""), *of = json_str_or(o, "involvedObject.namespace", "");
	const char *controller = newer ? "reportingController" : "reportingComponent";
	bool timed = get(o, "eventTime") != NULL, fits = *of ? timed || strcmp(of, ns) == 0 : strcmp(ns, "default") == 0;

	if (!*of && timed && strcmp(ns, "kube-system") == 0)
		fits = true;
	if (!fits)
		fe_invalid(v->e, FP(FP(NULL, "involvedObject"), "namespace"), of, "does not match event.namespace");
	if (!timed)
		return;
	if (!*get_str(o, "reportingComponent"))
		fe_required(v->e, FP(NULL, controller), NULL);
	check_format(v->e, FP(NULL, controller), get_str(o, "reportingComponent"), fmt_qualified_name);
	check_length(v->e, "reportingInstance", get_str(o, "reportingInstance"), TEXT_MAX);
	check_length(v->e, "action", get_str(o, "action"), TEXT_MAX);
	check_length(v->e, "reason", get_str(o, "reason"), TEXT_MAX);
	if (strlen(get_str(o, "message")) > NOTE_MAX)
		fe_invalid(v->e, FP(NULL, "message"), "", "can have at most %d characters", NOTE_MAX);
}

static void check_series(const struct validation *v)
{
	const json_t *series = get(v->object, "series");
	const struct fpath *p = FP(NULL, "series");

	if (!series)
		return;
	if (get_int(series, "count") < 2)
		fe_invalid(v->e, FP(p, "count"), "", "should be at least 2");
	if (!get(series, "lastObservedTime"))
		fe_required(v->e, FP(p, "lastObservedTime"), NULL);
}

static void check_newer_create(const struct validation *v)
{
	static const char *const unset[] = { "firstTimestamp", "lastTimestamp", "count", "source" };
	const json_t *o = v->object;

	check_series(v);
	if (!get(o, "eventTime"))
		fe_required(v->e, FP(NULL, "eventTime"), NULL);
	if (!one_of(get_str(o, "type"), WORDS("Normal", "Warning")))
		fe_invalid(v->e, FP(NULL, "type"), "", "has invalid value: %s", get_str(o, "type"));
	for (size_t i = 0; i < ARRAY_SIZE(unset); i++) {
		const json_t *value = get(o, unset[i]);

		if (json_is_object(value) ? json_object_size(value) > 0 : value && !(json_is_integer(value) && !json_integer_value(value)))
			fe_invalid(v->e, FP(NULL, unset[i]), "", "needs to be unset");
	}
}

static void check_newer_update(const struct validation *v)
{
	static const char *const immutable[] = { "involvedObject", "reason",  "message", "source",	       "firstTimestamp",
						 "lastTimestamp",  "count",   "type",	 "eventTime",	       "action",
						 "related",	   "reportingComponent", "reportingInstance" };

	if (!same_semantic(get(v->object, "series"), get(v->old, "series")))
		check_series(v);
	for (size_t i = 0; i < ARRAY_SIZE(immutable); i++) {
		const char *name = strcmp(immutable[i], "reportingComponent") == 0 ? "reportingController" : immutable[i];

		check_immutable(v->e, FP(NULL, name), get(v->object, immutable[i]), get(v->old, immutable[i]));
	}
}

void validate_event(const struct validation *v)
{
	bool newer = *v->r->group != '\0';

	check_event(v, newer);
	if (newer && v->old)
		check_newer_update(v);
	else if (newer)
		check_newer_create(v);
}
