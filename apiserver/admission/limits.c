// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/admission/limits.h"

#include "apiserver/admission/amounts.h"
#include "base/mem.h"

#define ANNOTATION "kubernetes.io/limit-ranger"

/* ---- defaults */

static json_t *object_in(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);
	if (!json_is_object(v)) {
		v = json_object();
		json_object_set_new(o, key, v);
	}
	return v;
}

/* Fills one of a container's lists; what it set is appended to the note. */
static void fill(json_t *container, const char *which, const json_t *defaults, const char *kind, const char *what, struct strbuf *note)
{
	_cleanup_strbuf_ struct strbuf set = { 0 };
	const char *name;
	json_t *v;
	if (!json_object_size(defaults))
		return;
	json_t *list = object_in(object_in(container, "resources"), which);
	json_object_foreach((json_t *)defaults, name, v) {
		if (json_object_get(list, name))
			continue;
		json_object_set(list, name, v);
		strbuf_addf(&set, "%s%s", set.len ? ", " : "", name);
	}
	if (set.len)
		strbuf_addf(note, "%s%s %s for %s %s", note->len ? "; " : "", set.data, what, kind, json_str_or(container, "name", ""));
}

void limits_default_pod(const json_t *range, json_t *pod)
{
	static const char *const lists[][2] = { { "containers", "container" }, { "initContainers", "init container" } };
	_cleanup_strbuf_ struct strbuf note = { 0 };
	json_t *limit, *c;
	size_t i, k;
	json_array_foreach(json_at(range, "spec.limits"), i, limit) {
		if (!str_eq(json_str(limit, "type"), "Container"))
			continue;
		for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
			json_array_foreach(json_object_get(json_object_get(pod, "spec"), lists[l][0]), k, c) {
				fill(c, "requests", json_object_get(limit, "defaultRequest"), lists[l][1], "request", &note);
				fill(c, "limits", json_object_get(limit, "default"), lists[l][1], "limit", &note);
			}
	}
	if (note.len)
		json_object_set_new(object_in(object_in(pod, "metadata"), "annotations"), ANNOTATION,
				    json_sprintf("LimitRanger plugin set: %s", note.data));
}

/* ---- bounds */

struct bound {
	const char *resource, *type; /* "cpu", "Container" */
	struct quantity limit;
	const char *text;            /* the limit as it is written */
};

static void too_small(const struct bound *b, const json_t *requests, const json_t *limits, struct strlist *errors)
{
	struct quantity q;
	if (!amounts_get(requests, b->resource, &q))
		strlist_addf(errors, "minimum %s usage per %s is %s.  No request is specified", b->resource, b->type, b->text);
	else if (quantity_cmp(&q, &b->limit) < 0)
		strlist_addf(errors, "minimum %s usage per %s is %s, but request is %s", b->resource, b->type, b->text,
			     json_string_value(json_object_get(requests, b->resource)));
	else if (amounts_get(limits, b->resource, &q) && quantity_cmp(&q, &b->limit) < 0)
		strlist_addf(errors, "minimum %s usage per %s is %s, but limit is %s", b->resource, b->type, b->text,
			     json_string_value(json_object_get(limits, b->resource)));
}

static void too_large(const struct bound *b, const json_t *requests, const json_t *limits, struct strlist *errors)
{
	struct quantity q;
	if (!amounts_get(limits, b->resource, &q))
		strlist_addf(errors, "maximum %s usage per %s is %s.  No limit is specified", b->resource, b->type, b->text);
	else if (quantity_cmp(&q, &b->limit) > 0)
		strlist_addf(errors, "maximum %s usage per %s is %s, but limit is %s", b->resource, b->type, b->text,
			     json_string_value(json_object_get(limits, b->resource)));
	else if (amounts_get(requests, b->resource, &q) && quantity_cmp(&q, &b->limit) > 0)
		strlist_addf(errors, "maximum %s usage per %s is %s, but request is %s", b->resource, b->type, b->text,
			     json_string_value(json_object_get(requests, b->resource)));
}

static void ratio_too_large(const struct bound *b, const json_t *requests, const json_t *limits, struct strlist *errors)
{
	struct quantity r = { 0 }, l = { 0 };
	amounts_get(requests, b->resource, &r);
	amounts_get(limits, b->resource, &l);
	const char *missing = r.nano <= 0 ? "request" : l.nano <= 0 ? "limit" : NULL;
	if (missing) {
		strlist_addf(errors, "%s max limit to request ratio per %s is %s, but no %s is specified or %s is 0", b->resource, b->type,
			     b->text, missing, missing);
		return;
	}
	double ratio = (double)l.nano / (double)r.nano;
	if (ratio > (double)b->limit.nano / 1e9)
		strlist_addf(errors, "%s max limit to request ratio per %s is %s, but provided ratio is %f", b->resource, b->type, b->text,
			     ratio);
}

typedef void (*bound_fn)(const struct bound *b, const json_t *requests, const json_t *limits, struct strlist *errors);

static void check_bounds(const json_t *limit, const char *which, bound_fn fn, const json_t *requests, const json_t *limits,
			 struct strlist *errors)
{
	const char *name;
	json_t *v;
	json_object_foreach(json_object_get(limit, which), name, v) {
		struct bound b = { .resource = name, .type = json_str_or(limit, "type", ""), .text = json_string_value(v) };
		if (amounts_get(json_object_get(limit, which), name, &b.limit))
			fn(&b, requests, limits, errors);
	}
}

static void check_amounts(const json_t *limit, const json_t *requests, const json_t *limits, struct strlist *errors)
{
	check_bounds(limit, "min", too_small, requests, limits, errors);
	check_bounds(limit, "max", too_large, requests, limits, errors);
	check_bounds(limit, "maxLimitRequestRatio", ratio_too_large, requests, limits, errors);
}

void limits_check_pod(const json_t *range, const json_t *pod, struct strlist *errors)
{
	static const char *const lists[] = { "containers", "initContainers" };
	const json_t *spec = json_object_get(pod, "spec");
	json_t *limit, *c;
	size_t i, k;
	json_array_foreach(json_at(range, "spec.limits"), i, limit) {
		const char *type = json_str_or(limit, "type", "");
		if (str_eq(type, "Pod")) {
			_cleanup_json_ json_t *requests = amounts_of_pod(spec, "requests"), *limits = amounts_of_pod(spec, "limits");
			check_amounts(limit, requests, limits, errors);
		}
		for (size_t l = 0; l < ARRAY_SIZE(lists) && str_eq(type, "Container"); l++)
			json_array_foreach(json_object_get(spec, lists[l]), k, c)
				check_amounts(limit, json_at(c, "resources.requests"), json_at(c, "resources.limits"), errors);
	}
}

/* Of claims only requests count, for both bounds. */
void limits_check_claim(const json_t *range, const json_t *claim, struct strlist *errors)
{
	const json_t *requests = json_at(claim, "spec.resources.requests");
	json_t *limit;
	size_t i;
	json_array_foreach(json_at(range, "spec.limits"), i, limit) {
		if (!str_eq(json_str(limit, "type"), "PersistentVolumeClaim"))
			continue;
		check_bounds(limit, "min", too_small, requests, NULL, errors);
		const char *name;
		json_t *v;
		json_object_foreach(json_object_get(limit, "max"), name, v) {
			struct quantity most, q;
			if (amounts_get(json_object_get(limit, "max"), name, &most) && amounts_get(requests, name, &q) &&
			    quantity_cmp(&q, &most) > 0)
				strlist_addf(errors, "maximum %s usage per PersistentVolumeClaim is %s, but request is %s", name,
					     json_string_value(v), json_string_value(json_object_get(requests, name)));
		}
	}
}
