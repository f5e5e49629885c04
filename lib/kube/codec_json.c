/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON values against the schema. Walks the value once, in place. What Go's decoder into the typed structs followed by
 * its encoder would do to the value is done here: unknown fields and nulls go, so do zero values of optional fields
 * that are no pointers, and values with a text form get their canonical text. Order of fields stays as it was sent.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "kube/codec_parts.h"

struct walk {
	struct codec_report *report; /* may be NULL */
	struct err *err;
	const char *struct_name; /* of the object whose field is being looked at */
};

static int normalize_object(struct walk *w, const struct schema_message *m, json_t *v, const struct codec_path *path);

/* How Go's decoder calls a JSON value: "string", "number", and numbers that do not fit with their text. */
static void describe(const json_t *v, bool number_text, char out[static 64])
{
	const char *point = "";
	char digits[40];

	if (!json_is_number(v)) {
		snprintf(out, 64, "%s",
			 json_is_string(v)   ? "string"
			 : json_is_object(v) ? "object"
			 : json_is_array(v)  ? "array"
			 : json_is_null(v)   ? "null"
					     : "bool");
		return;
	}
	if (json_is_integer(v)) {
		snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(v));
	} else {
		double d = json_real_value(v);

		for (int precision = 15; precision <= 17; precision++) {
			snprintf(digits, sizeof(digits), "%.*g", precision, d);
			if (strtod(digits, NULL) == d)
				break;
		}
		if (d == floor(d) && !strpbrk(digits, ".e"))
			point = ".0";
	}
	if (number_text)
		snprintf(out, 64, "number %s%s", digits, point);
	else
		snprintf(out, 64, "number");
}

static int type_error_named(struct walk *w, const json_t *v, bool number_text, const struct codec_path *path,
			    const char *type)
{
	_cleanup_free_ char *at = codec_path_text(path, false);
	char got[64];

	describe(v, number_text, got);
	if (!*at)
		return err_set_api(w->err, 400, "BadRequest", "json: cannot unmarshal %s into Go value of type %s", got,
				   type);
	return err_set_api(w->err, 400, "BadRequest", "json: cannot unmarshal %s into Go struct field %s.%s of type %s",
			   got, w->struct_name, at, type);
}

static int type_error(struct walk *w, const json_t *v, bool number_text, const struct codec_path *path,
		      const struct schema_field *f, bool element)
{
	_cleanup_free_ char *type = codec_go_type(f, element);

	return type_error_named(w, v, number_text, path, type);
}

/* Types that decode themselves do not know where they stand. */
static int own_type_error(struct walk *w, const json_t *v, bool number_text, const char *type)
{
	char got[64];

	describe(v, number_text, got);
	return err_set_api(w->err, 400, "BadRequest", "json: cannot unmarshal %s into Go value of type %s", got, type);
}

static json_t *changed(const json_t *v, const char *text)
{
	return str_eq(json_string_value(v), text) ? NULL : json_string(text);
}

static int normalize_quantity(struct walk *w, const json_t *v, json_t **ret)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	char number[64];
	const char *s = json_string_value(v);
	int r;

	if (json_is_number(v)) {
		describe(v, true, number);
		s = number + strlen("number ");
	}
	/* A bool, list or object has a text that is no quantity either. */
	r = codec_quantity(s ? s : "?", &out, w->err);
	if (r == 0)
		*ret = changed(v, out.data);
	return r;
}

static int normalize_time(struct walk *w, const json_t *v, bool micro, json_t **ret)
{
	char text[CODEC_TIME_SIZE];
	int r;

	if (!json_is_string(v))
		return own_type_error(w, v, false, "string");
	r = codec_time(json_string_value(v), micro, text, w->err);
	if (r == 0)
		*ret = changed(v, text);
	return r;
}

static int normalize_bytes(struct walk *w, const json_t *v, const struct codec_path *path, json_t **ret)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	int r;

	if (!json_is_string(v))
		return type_error_named(w, v, false, path, "[]uint8");
	r = codec_base64(json_string_value(v), json_string_length(v), &out, w->err);
	if (r == 0)
		*ret = changed(v, out.data ? out.data : "");
	return r;
}

static int normalize_int(struct walk *w, const json_t *v, bool is32, const struct codec_path *path,
			 const struct schema_field *f)
{
	if (!json_is_number(v))
		return type_error(w, v, false, path, f, true);
	if (!json_is_integer(v))
		return type_error(w, v, true, path, f, true);
	if (is32 && (json_integer_value(v) > INT32_MAX || json_integer_value(v) < INT32_MIN))
		return type_error(w, v, true, path, f, true);
	return 0;
}

static int normalize_int_or_string(struct walk *w, const json_t *v)
{
	if (json_is_string(v))
		return 0;
	if (!json_is_number(v))
		return own_type_error(w, v, false, "int32");
	if (!json_is_integer(v) || json_integer_value(v) > INT32_MAX || json_integer_value(v) < INT32_MIN)
		return own_type_error(w, v, true, "int32");
	return 0;
}

/* apiextensions' JSON takes anything; a schema where a list or a flag may stand instead. *ret json_null() removes. */
static int normalize_json(struct walk *w, const struct schema_message *m, json_t *v, json_t **ret)
{
	enum codec_json_form form = codec_json_form_of(m);
	const struct schema_message *schema =
		form == CODEC_JSON_ANY ? NULL : m->fields[form == CODEC_JSON_OR_BOOL].message;
	/* These decode themselves: without strictness, and not knowing where they stand. */
	struct walk inner = { .err = w->err, .struct_name = w->struct_name };
	json_t *item;
	size_t i;
	int r;

	if (form == CODEC_JSON_ANY || (form == CODEC_JSON_OR_BOOL && json_is_boolean(v)))
		return 0;
	if (json_is_object(v))
		return normalize_object(&inner, schema, v, NULL);
	if (form == CODEC_JSON_OR_BOOL)
		return err_set_api(w->err, 400, "BadRequest", "boolean or JSON schema expected");
	if (!json_is_array(v)) {
		*ret = json_null();
		return 0;
	}
	json_array_foreach(v, i, item) {
		if (form == CODEC_JSON_OR_STRINGS && !json_is_string(item))
			return own_type_error(w, item, false, "string");
		if (form == CODEC_JSON_OR_STRINGS)
			continue;
		if (!json_is_object(item))
			return own_type_error(w, item, false, "v1.JSONSchemaProps");
		r = normalize_object(&inner, schema, item, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One value of the field's element type. *ret (own) replaces it when set. */
static int normalize_element(struct walk *w, const struct schema_field *f, json_t *v, const struct codec_path *path,
			     json_t **ret)
{
	switch ((enum schema_type)f->type) {
	case SCHEMA_STRING:
		return json_is_string(v) ? 0 : type_error(w, v, false, path, f, true);
	case SCHEMA_BOOL:
		return json_is_boolean(v) ? 0 : type_error(w, v, false, path, f, true);
	case SCHEMA_INT32:
	case SCHEMA_INT64:
		return normalize_int(w, v, f->type == SCHEMA_INT32, path, f);
	case SCHEMA_DOUBLE:
		return json_is_number(v) ? 0 : type_error(w, v, false, path, f, true);
	case SCHEMA_BYTES:
		return normalize_bytes(w, v, path, ret);
	case SCHEMA_MESSAGE:
		return json_is_object(v) ? normalize_object(w, f->message, v, path)
					 : type_error(w, v, false, path, f, true);
	case SCHEMA_QUANTITY:
		return normalize_quantity(w, v, ret);
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		return normalize_time(w, v, f->type == SCHEMA_MICRO_TIME, ret);
	case SCHEMA_INT_OR_STRING:
		return normalize_int_or_string(w, v);
	case SCHEMA_RAW:
		return 0;
	case SCHEMA_FIELDS_V1:
		return json_is_object(v) ? 0 : type_error(w, v, false, path, f, true);
	case SCHEMA_JSON:
		return normalize_json(w, f->message, v, ret);
	case SCHEMA_TYPE_MAX:
		break;
	}
	return err_set(w->err, EINVAL, "the schema has no type %d", f->type);
}

/* What Go makes of a null inside a list or map: the element's zero value. */
static json_t *zero_of(const struct schema_field *f)
{
	switch ((enum schema_type)f->type) {
	case SCHEMA_STRING:
	case SCHEMA_BYTES:
		return json_string("");
	case SCHEMA_BOOL:
		return json_false();
	case SCHEMA_INT32:
	case SCHEMA_INT64:
	case SCHEMA_INT_OR_STRING:
		return json_integer(0);
	case SCHEMA_DOUBLE:
		return json_real(0);
	case SCHEMA_MESSAGE:
		return json_object();
	case SCHEMA_QUANTITY:
		return json_string("0");
	default:
		return json_null();
	}
}

static int normalize_list(struct walk *w, const struct schema_field *f, json_t *v, const struct codec_path *path)
{
	const char *name = w->struct_name;
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return type_error(w, v, false, path, f, f->shape == SCHEMA_MAP_OF_LISTS);
	json_array_foreach(v, i, item) {
		struct codec_path at = { .up = path, .index = i };
		json_t *replacement = NULL;
		int r = 0;

		if (json_is_null(item))
			replacement = zero_of(f);
		else
			r = normalize_element(w, f, item, &at, &replacement);
		if (r < 0)
			return r;
		if (replacement)
			json_array_set_new(v, i, replacement);
		w->struct_name = name;
	}
	return 0;
}

static int normalize_map(struct walk *w, const struct schema_field *f, json_t *v, const struct codec_path *path)
{
	const char *name = w->struct_name;

	if (!json_is_object(v))
		return type_error(w, v, false, path, f, false);
	for (void *it = json_object_iter(v); it; it = json_object_iter_next(v, it)) {
		json_t *item = json_object_iter_value(it), *replacement = NULL;
		struct codec_path at = { .up = path, .name = json_object_iter_key(it), .map_key = true };
		int r = 0;

		if (json_is_null(item))
			replacement = f->shape == SCHEMA_MAP ? zero_of(f) : json_array();
		else if (f->shape == SCHEMA_MAP)
			r = normalize_element(w, f, item, &at, &replacement);
		else
			r = normalize_list(w, f, item, &at);
		if (r < 0)
			return r;
		if (replacement)
			json_object_iter_set_new(v, it, replacement);
		w->struct_name = name;
	}
	return 0;
}

/* *ret_remove: the field says nothing and goes. */
static int normalize_field(struct walk *w, const struct schema_field *f, json_t *v, const struct codec_path *path,
			   json_t **ret, bool *ret_remove)
{
	int r;

	*ret_remove = json_is_null(v);
	if (*ret_remove)
		return 0;
	if (f->shape == SCHEMA_LIST)
		r = normalize_list(w, f, v, path);
	else if (f->shape != SCHEMA_SINGLE)
		r = normalize_map(w, f, v, path);
	else
		r = normalize_element(w, f, v, path, ret);
	if (r < 0)
		return r;
	if (json_is_null(*ret) || (codec_drops_zero(f) && codec_is_zero(f, *ret ? *ret : v, false)))
		*ret_remove = true;
	return 0;
}

/* apiVersion and kind of objects; ordinary fields of that name come first. */
static bool is_type_meta(const struct schema_message *m, const char *key)
{
	return (m->flags & SCHEMA_MSG_TYPE_META) && (str_eq(key, "apiVersion") || str_eq(key, "kind"));
}

static void note_unknown(struct walk *w, const struct codec_path *at)
{
	if (!w->report || w->report->unknown.count == CODEC_MAX_REPORTED)
		return;
	_cleanup_free_ char *text = codec_path_text(at, true);

	strlist_addf(&w->report->unknown, "unknown field \"%s\"", text);
}

static int normalize_object(struct walk *w, const struct schema_message *m, json_t *v, const struct codec_path *path)
{
	_cleanup_strlist_ struct strlist gone = { 0 };

	for (void *it = json_object_iter(v); it; it = json_object_iter_next(v, it)) {
		const char *key = json_object_iter_key(it);
		json_t *item = json_object_iter_value(it), *replacement = NULL;
		const struct schema_field *f = schema_field_by_name(m, key);
		struct codec_path at = { .up = path, .name = key };
		bool remove = false;
		int r = 0;

		w->struct_name = codec_short_name(m);
		if (f) {
			r = normalize_field(w, f, item, &at, &replacement, &remove);
		} else if (is_type_meta(m, key)) {
			remove = json_is_null(item);
			if (!remove && !json_is_string(item))
				r = type_error_named(w, item, false, &at, "string");
		} else {
			note_unknown(w, &at);
			remove = true;
		}
		if (remove) {
			json_decref(replacement);
			strlist_add(&gone, key);
		} else if (replacement) {
			json_object_iter_set_new(v, it, replacement);
		}
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < gone.count; i++)
		json_object_del(v, gone.items[i]);
	return 0;
}

int codec_normalize(const struct schema_message *m, json_t *v, struct codec_report *report, struct err *err)
{
	struct walk w = { .report = report, .err = err, .struct_name = codec_short_name(m) };

	if (!json_is_object(v)) {
		struct schema_field root = { .type = SCHEMA_MESSAGE, .message = m };

		return type_error(&w, v, false, NULL, &root, true);
	}
	return normalize_object(&w, m, v, NULL);
}
