/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Schemas of messages. The numbers are those of gnostic's Schema: $ref 1, format 2, description 4, default 5, required
 * 19, enum 20, additionalProperties 21, type 22, items 23, allOf 24, properties 25, extensions 31.
 */
#include <stdio.h>

#include "apiserver/openapi/openapi_internal.h"
#include "base/mem.h"

enum {
	S_REF = 1,
	S_FORMAT = 2,
	S_DESCRIPTION = 4,
	S_DEFAULT = 5,
	S_REQUIRED = 19,
	S_ENUM = 20,
	S_ADDITIONAL = 21,
	S_TYPE = 22,
	S_ITEMS = 23,
	S_PROPERTIES = 25,
	S_EXTENSION = 31,
};

static size_t index_of(const struct schema_message *m)
{
	return m - schema_message_at(0);
}

static void reach_fields(struct message_set *set, const struct schema_message *m)
{
	for (size_t i = 0; i < m->field_count; i++) {
		const struct schema_field *f = &m->fields[i];

		/* The fields of an inlined message stand here; it is no definition for that. */
		if (f->flags & SCHEMA_INLINE)
			reach_fields(set, f->message);
		else if (f->type >= SCHEMA_MESSAGE)
			openapi_reach(set, f->message);
	}
}

void openapi_reach(struct message_set *set, const struct schema_message *m)
{
	if (!m || set->has[index_of(m)])
		return;
	set->has[index_of(m)] = true;
	if (m->type == SCHEMA_MESSAGE)
		reach_fields(set, m);
}

static void write_type(struct writer *w, const char *type)
{
	size_t at = writer_only_proto(w, S_TYPE);

	writer_text(w, "type", 1, type);
	writer_only_proto_end(w, at);
}

void openapi_reference(struct writer *w, const struct schema_message *m)
{
	char ref[256];

	snprintf(ref, sizeof(ref), "%s%s", writer_is_v3(w) ? "#/components/schemas/" : "#/definitions/", m->name);
	writer_text(w, "$ref", S_REF, ref);
}

void openapi_scalar(const struct schema_field *f, const char **ret_type, const char **ret_format)
{
	*ret_type = f->type == SCHEMA_BOOL				 ? "boolean"
		    : f->type == SCHEMA_INT32 || f->type == SCHEMA_INT64 ? "integer"
		    : f->type == SCHEMA_DOUBLE				 ? "number"
									 : "string";
	*ret_format = schema_field_format(f);
}

/* "A|B" as a JSON list. */
static char *enum_json(const char *values)
{
	struct strbuf b = { 0 };

	strbuf_addc(&b, '[');
	for (const char *p = values;;) {
		size_t n = strcspn(p, "|");

		strbuf_add_json(&b, p, n);
		if (!p[n])
			break;
		strbuf_addc(&b, ',');
		p += n + 1;
	}
	strbuf_addc(&b, ']');
	return strbuf_take(&b);
}

static void write_enum(struct writer *w, const struct schema_field *f)
{
	const char *values = schema_field_enum(f);

	if (!values)
		return;
	if (w->form != OPENAPI_V2_PROTO) {
		_cleanup_free_ char *json = enum_json(values);

		writer_any(w, "enum", S_ENUM, json);
		return;
	}
	for (const char *p = values;; p++) {
		_cleanup_strbuf_ struct strbuf one = { 0 };
		size_t n = strcspn(p, "|");

		strbuf_add_json(&one, p, n);
		writer_any(w, "enum", S_ENUM, one.data);
		p += n;
		if (!*p)
			break;
	}
}

/* The element's schema: of a field, a list's items or a map's values. described: the reference has company, which v3
 * allows only beside allOf. */
static void write_element(struct writer *w, const struct schema_field *f, bool described)
{
	const char *type, *format;

	if (f->type >= SCHEMA_MESSAGE) {
		if (writer_is_v3(w) && described) {
			writer_list(w, "allOf");
			size_t at = writer_element(w, 0);

			openapi_reference(w, f->message);
			writer_close(w, at);
			writer_list_end(w);
		} else {
			openapi_reference(w, f->message);
		}
		return;
	}
	openapi_scalar(f, &type, &format);
	writer_text(w, "format", S_FORMAT, format);
	write_enum(w, f);
	write_type(w, type);
}

static void write_items(struct writer *w, const struct schema_field *f)
{
	size_t items, schema;

	write_type(w, "array");
	/* ItemsItem is a message around the schema. */
	items = writer_open(w, "items", S_ITEMS);
	schema = writer_only_proto(w, 1);
	write_element(w, f, false);
	writer_only_proto_end(w, schema);
	writer_close(w, items);
}

static void write_map(struct writer *w, const struct schema_field *f)
{
	size_t additional = writer_open(w, "additionalProperties", S_ADDITIONAL), schema = writer_only_proto(w, 1);

	if (f->shape == SCHEMA_MAP_OF_LISTS)
		write_items(w, f);
	else
		write_element(w, f, false);
	writer_only_proto_end(w, schema);
	writer_close(w, additional);
	write_type(w, "object");
}

static void write_field_extensions(struct writer *w, const struct schema_field *f)
{
	static const char *const list_types[] = { NULL, "\"atomic\"", "\"set\"", "\"map\"" };
	const char *strategy = NULL;

	if (f->list_map_keys) {
		_cleanup_strbuf_ struct strbuf keys = { 0 };

		for (size_t i = 0; f->list_map_keys[i]; i++)
			strbuf_addf(&keys, "%s\"%s\"", i ? "," : "[", f->list_map_keys[i]);
		strbuf_addc(&keys, ']');
		writer_extension(w, S_EXTENSION, "x-kubernetes-list-map-keys", keys.data);
	}
	if (list_types[f->list_type])
		writer_extension(w, S_EXTENSION, "x-kubernetes-list-type", list_types[f->list_type]);
	if (f->flags & SCHEMA_MAP_ATOMIC)
		writer_extension(w, S_EXTENSION, "x-kubernetes-map-type", "\"atomic\"");
	if (f->merge_key) {
		_cleanup_free_ char *key = str_printf("\"%s\"", f->merge_key);

		writer_extension(w, S_EXTENSION, "x-kubernetes-patch-merge-key", key);
	}
	if (f->flags & SCHEMA_PATCH_MERGE)
		strategy = f->flags & SCHEMA_RETAIN_KEYS ? "\"merge,retainKeys\"" : "\"merge\"";
	else if (f->flags & SCHEMA_PATCH_REPLACE)
		strategy = "\"replace\"";
	else if (f->flags & SCHEMA_RETAIN_KEYS)
		strategy = "\"retainKeys\"";
	if (strategy)
		writer_extension(w, S_EXTENSION, "x-kubernetes-patch-strategy", strategy);
}

static void write_property(struct writer *w, const struct schema_field *f)
{
	struct writer_entry e = writer_entry(w, f->name, 1);
	const char *doc = schema_field_doc(f), *standard = schema_field_default(f);

	/* A reference alone says what the type's own description says. */
	writer_text(w, "description", S_DESCRIPTION, doc);
	writer_any(w, "default", S_DEFAULT, standard);
	if (f->shape == SCHEMA_LIST || (f->type == SCHEMA_STRING && f->message && f->shape == SCHEMA_SINGLE))
		write_items(w, f);
	else if (f->shape != SCHEMA_SINGLE)
		write_map(w, f);
	else
		write_element(w, f, doc || standard || (f->flags & (SCHEMA_RETAIN_KEYS | SCHEMA_MAP_ATOMIC)));
	write_field_extensions(w, f);
	writer_entry_end(w, e);
}

static void write_fields(struct writer *w, const struct schema_message *m)
{
	for (size_t i = 0; i < m->field_count; i++) {
		if (m->fields[i].flags & SCHEMA_INLINE)
			write_fields(w, m->fields[i].message);
		else
			write_property(w, &m->fields[i]);
	}
}

static void write_type_meta(struct writer *w)
{
	static const char *const texts[][2] = {
		{ "apiVersion", "The version of the API that the object is written in." },
		{ "kind", "The kind of the object." },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct writer_entry e = writer_entry(w, texts[i][0], 1);

		writer_text(w, "description", S_DESCRIPTION, texts[i][1]);
		write_type(w, "string");
		writer_entry_end(w, e);
	}
}

static size_t add_required(const struct schema_message *m, const char **names, size_t n, size_t max)
{
	for (size_t i = 0; i < m->field_count; i++) {
		if (m->fields[i].flags & SCHEMA_INLINE)
			n = add_required(m->fields[i].message, names, n, max);
		else if ((m->fields[i].flags & SCHEMA_REQUIRED) && n < max)
			names[n++] = m->fields[i].name;
	}
	return n;
}

static void write_gvks(struct writer *w, const struct schema_message *m)
{
	_cleanup_strbuf_ struct strbuf list = { 0 };

	for (size_t i = 0; i < schema_kind_count(); i++) {
		const struct schema_kind *k = schema_kind_at(i);

		if (k->message == m)
			strbuf_addf(&list, "%s{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}",
				    list.len ? "," : "[", k->group, k->kind, k->version);
	}
	if (!list.len)
		return;
	strbuf_addc(&list, ']');
	writer_extension(w, S_EXTENSION, "x-kubernetes-group-version-kind", list.data);
}

static void write_object(struct writer *w, const struct schema_message *m)
{
	const char *required[65];
	size_t n = add_required(m, required, 0, ARRAY_SIZE(required) - 1);

	if (m->field_count || (m->flags & SCHEMA_MSG_TYPE_META)) {
		size_t at = writer_open(w, "properties", S_PROPERTIES);

		if (m->flags & SCHEMA_MSG_TYPE_META)
			write_type_meta(w);
		write_fields(w, m);
		writer_close(w, at);
	}
	required[n] = NULL;
	if (n)
		writer_texts(w, "required", S_REQUIRED, required);
	write_type(w, "object");
}

/* v3 can say that either type will do. */
static void write_one_of(struct writer *w, const char *other)
{
	writer_any(w, "oneOf", 0, other);
}

/* Types with a JSON form of their own. */
static void write_custom(struct writer *w, const struct schema_message *m)
{
	switch (m->type) {
	case SCHEMA_QUANTITY:
		if (writer_is_v3(w))
			write_one_of(w, "[{\"type\":\"string\"},{\"type\":\"number\"}]");
		else
			write_type(w, "string");
		break;
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		writer_text(w, "format", S_FORMAT, "date-time");
		write_type(w, "string");
		break;
	case SCHEMA_INT_OR_STRING:
		writer_text(w, "format", S_FORMAT, "int-or-string");
		if (writer_is_v3(w))
			write_one_of(w, "[{\"type\":\"integer\"},{\"type\":\"string\"}]");
		else
			write_type(w, "string");
		break;
	case SCHEMA_RAW:
	case SCHEMA_FIELDS_V1:
		write_type(w, "object");
		break;
	default:
		/* apiextensions' JSON: anything, so no type. */
		break;
	}
}

void openapi_definition(struct writer *w, const struct schema_message *m)
{
	struct writer_entry e = writer_entry(w, m->name, 1);
	const char *doc = schema_message_doc(m);

	/* Without any description some clients take a schema without a type for a mistake. */
	writer_text(w, "description", S_DESCRIPTION, doc ? doc : m->type == SCHEMA_JSON ? "Any JSON value." : NULL);
	if (m->type == SCHEMA_MESSAGE)
		write_object(w, m);
	else
		write_custom(w, m);
	write_gvks(w, m);
	if (m->flags & SCHEMA_MSG_ATOMIC)
		writer_extension(w, S_EXTENSION, "x-kubernetes-map-type", "\"atomic\"");
	writer_entry_end(w, e);
}
