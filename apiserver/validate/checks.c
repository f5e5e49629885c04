/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks that many kinds share: access to members, enumerations, ports, numbers, labels, label selectors, conditions.
 */
#include "apiserver/validate/validate_internal.h"

#include <ctype.h>

#include "base/map.h"

const char *get_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

int64_t get_int(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_real(v) ? (int64_t)json_real_value(v) : json_integer_value(v);
}

bool get_bool(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(s, *words) == 0)
			return true;
	return false;
}

struct map *list_index(const json_t *list, const char *key)
{
	struct map *index = map_new(NULL);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (!map_has(index, get_str(v, key)))
			map_set(index, get_str(v, key), v);
	}
	return index;
}

static bool empty_value(const json_t *v)
{
	return !v || json_is_null(v) || (json_is_object(v) && json_object_size(v) == 0) ||
	       (json_is_array(v) && json_array_size(v) == 0) || (json_is_string(v) && json_string_length(v) == 0);
}

bool same_semantic(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;
	size_t i;

	if (empty_value(a) || empty_value(b))
		return empty_value(a) && empty_value(b);
	if (json_is_object(a) && json_is_object(b)) {
		json_object_foreach((json_t *)a, key, v) {
			if (!same_semantic(v, json_object_get(b, key)))
				return false;
		}
		json_object_foreach((json_t *)b, key, v) {
			if (!json_object_get(a, key) && !empty_value(v))
				return false;
		}
		return true;
	}
	if (json_is_array(a) && json_is_array(b)) {
		if (json_array_size(a) != json_array_size(b))
			return false;
		json_array_foreach(a, i, v) {
			if (!same_semantic(v, json_array_get(b, i)))
				return false;
		}
		return true;
	}
	return json_same(a, b);
}

void check_non_negative(struct field_errors *e, const struct fpath *p, const json_t *v)
{
	if (v && json_is_number(v) && json_number_value(v) < 0)
		fe_invalid_json(e, p, v, "must be greater than or equal to 0");
}

void check_port_number(struct field_errors *e, const struct fpath *p, int64_t port)
{
	if (port < 1 || port > 65535)
		fe_invalid_int(e, p, port, "must be between 1 and 65535, inclusive");
}

void check_port(struct field_errors *e, const struct fpath *p, const json_t *int_or_string)
{
	if (json_is_string(int_or_string))
		check_format(e, p, json_string_value(int_or_string), fmt_port_name);
	else
		check_port_number(e, p, json_integer_value(int_or_string));
}

void check_enum(struct field_errors *e, const struct fpath *p, const char *s, const char *const *allowed)
{
	if (!*s)
		fe_required(e, p, NULL);
	else if (!one_of(s, allowed))
		fe_not_supported(e, p, s, allowed);
}

void check_segment(struct field_errors *e, const struct fpath *p, const char *s)
{
	if (!*s)
		fe_required(e, p, NULL);
	else
		check_format(e, p, s, fmt_path_segment);
}

void check_domain_path(struct field_errors *e, const struct fpath *p, const char *s)
{
	const char *slash = strchr(s, '/');
	_cleanup_free_ char *domain = slash ? mem_strndup(s, (size_t)(slash - s)) : NULL;
	size_t before = e->count;

	if (!*s) {
		fe_required(e, p, NULL);
		return;
	}
	if (!slash || slash == s || !slash[1]) {
		fe_invalid(e, p, s, "must be a domain-prefixed path (such as \"acme.io/foo\")");
		return;
	}
	check_format(e, p, domain, fmt_dns_subdomain);
	for (const char *c = slash + 1; e->count == before && *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("/-._~%!$&'()*+,;=:", *c))
			fe_invalid(e, p, slash + 1,
				   "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
}

void check_immutable(struct field_errors *e, const struct fpath *p, const json_t *now, const json_t *old)
{
	if (!same_semantic(now, old))
		fe_invalid_json(e, p, now, "field is immutable");
}

void check_labels(struct field_errors *e, const struct fpath *p, const json_t *labels)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)labels, key, v) {
		check_format(e, p, key, fmt_qualified_name);
		check_format(e, p, json_string_value(v) ? json_string_value(v) : "", fmt_label_value);
	}
}

void check_annotations(struct field_errors *e, const struct fpath *p, const json_t *annotations)
{
	enum { ANNOTATIONS_MAX_BYTES = 256 * 1024 };
	size_t total = 0;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)annotations, key, v) {
		_cleanup_free_ char *lower = mem_strdup(key);
		_cleanup_strlist_ struct strlist msgs = {0};

		for (char *c = lower; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		fmt_qualified_name(lower, &msgs);
		for (size_t i = 0; i < msgs.count; i++)
			fe_invalid(e, p, key, "%s", msgs.items[i]);
		total += strlen(key) + json_string_length(v);
	}
	if (total > ANNOTATIONS_MAX_BYTES)
		fe_too_long(e, p, ANNOTATIONS_MAX_BYTES);
}

static void check_match_expression(struct field_errors *e, const struct fpath *p, const json_t *expression)
{
	const char *op = get_str(expression, "operator");
	const json_t *values = get(expression, "values");
	json_t *v;
	size_t i;

	if (one_of(op, WORDS("In", "NotIn"))) {
		if (json_array_size(values) == 0)
			fe_required(e, FP(p, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (one_of(op, WORDS("Exists", "DoesNotExist"))) {
		if (json_array_size(values) > 0)
			fe_forbidden(e, FP(p, "values"),
				     "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	} else {
		fe_invalid(e, FP(p, "operator"), op, "not a valid selector operator");
	}
	check_format(e, FP(p, "key"), get_str(expression, "key"), fmt_qualified_name);
	json_array_foreach(values, i, v)
		check_format(e, FP_INDEX(FP(p, "values"), i), json_string_value(v), fmt_label_value);
}

void check_label_selector(struct field_errors *e, const struct fpath *p, const json_t *selector)
{
	json_t *expression;
	size_t i;

	if (!selector)
		return;
	check_labels(e, FP(p, "matchLabels"), get(selector, "matchLabels"));
	json_array_foreach(get(selector, "matchExpressions"), i, expression)
		check_match_expression(e, FP_INDEX(FP(p, "matchExpressions"), i), expression);
}

void check_finalizer_name(struct field_errors *e, const struct fpath *p, const char *name)
{
	check_format(e, p, name, fmt_qualified_name);
}

void check_int_or_percent(struct field_errors *e, const struct fpath *p, const json_t *v)
{
	if (json_is_string(v))
		check_format(e, p, json_string_value(v), fmt_percent);
	else
		check_non_negative(e, p, v);
}

void check_not_over_100_percent(struct field_errors *e, const struct fpath *p, const json_t *v)
{
	const char *s = json_string_value(v);
	size_t digits = s ? strspn(s, "0123456789") : 0;

	if (!digits || strcmp(s + digits, "%") != 0)
		return;
	while (digits > 1 && *s == '0') {
		s++;
		digits--;
	}
	if (digits > 3 || (digits == 3 && strncmp(s, "100", 3) > 0))
		fe_invalid_json(e, p, v, "must not be greater than 100%%");
}

/* [A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])? */
static bool reason_shape(const char *s)
{
	size_t len = strlen(s);

	if (!isalpha((unsigned char)*s))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("_,:", s[i]))
			return false;
	return isalnum((unsigned char)s[len - 1]) || s[len - 1] == '_';
}

static void check_condition(struct field_errors *e, const struct fpath *p, const json_t *c)
{
	const char *reason = get_str(c, "reason");

	check_format(e, FP(p, "type"), get_str(c, "type"), fmt_qualified_name);
	if (!one_of(get_str(c, "status"), WORDS("False", "True", "Unknown")))
		fe_not_supported(e, FP(p, "status"), get_str(c, "status"), WORDS("False", "True", "Unknown"));
	if (get_int(c, "observedGeneration") < 0)
		fe_invalid_int(e, FP(p, "observedGeneration"), get_int(c, "observedGeneration"),
			       "must be greater than or equal to zero");
	if (!get(c, "lastTransitionTime"))
		fe_required(e, FP(p, "lastTransitionTime"), NULL);
	if (!*reason)
		fe_required(e, FP(p, "reason"), NULL);
	else if (!reason_shape(reason))
		fe_invalid(e, FP(p, "reason"), reason,
			   "a condition reason must start with alphabetic character, optionally followed by a string "
			   "of alphanumeric "
			   "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  "
			   "or 'MY_NAME',  "
			   "or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
			   "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
	if (strlen(reason) > 1024)
		fe_too_long(e, FP(p, "reason"), 1024);
	if (strlen(get_str(c, "message")) > 32768)
		fe_too_long(e, FP(p, "message"), 32768);
}

void check_conditions(struct field_errors *e, const struct fpath *p, const json_t *conditions)
{
	struct map *seen = map_new(NULL);
	json_t *c;
	size_t i;

	json_array_foreach(conditions, i, c) {
		const struct fpath *at = FP_INDEX(p, i);

		if (map_has(seen, get_str(c, "type")))
			fe_duplicate(e, FP(at, "type"), get_str(c, "type"));
		map_set(seen, get_str(c, "type"), seen);
		check_condition(e, at, c);
	}
	map_free(seen);
}
