/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Normalized JSON values to Kubernetes protobuf messages. Fields are written in the order of their numbers and map
 * entries in the order of their keys, so that equal values give equal bytes. What the value does not have is not
 * written: every decoder takes an absent field for its zero.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kube/codec_parts.h"
#include "kube/codec_wire.h"

struct encode {
	struct err *err;
	struct strbuf *out;
	const struct codec_path *path;
	int depth;
};

static int encode_object(struct encode *e, const struct schema_message *m, const json_t *v);

static int mismatch(struct encode *e, const char *wanted)
{
	_cleanup_free_ char *at = codec_path_text(e->path, true);

	return err_set_api(e->err, 400, "BadRequest", "%s%scannot be written as protobuf: %s expected", at,
			   *at ? ": " : "", wanted);
}

static int encode_time(struct encode *e, const json_t *v)
{
	int64_t us, seconds;

	if (json_is_null(v))
		return 0;
	if (!json_is_string(v) || clock_parse_rfc3339(json_string_value(v), &us) < 0)
		return mismatch(e, "a time");
	seconds = us / 1000000 - (us % 1000000 < 0);
	if (seconds == CODEC_MIN_TIME_S && us % 1000000 == 0)
		return 0;
	wire_put_int(e->out, 1, seconds);
	wire_put_int(e->out, 2, (us - seconds * 1000000) * 1000);
	return 0;
}

static int encode_int_or_string(struct encode *e, const json_t *v)
{
	const char *s = json_string_value(v);

	if (!s && !json_is_integer(v))
		return mismatch(e, "a number or a string");
	/* All three are written always, as upstream does. */
	wire_put_int(e->out, 1, s != NULL);
	wire_put_int(e->out, 2, s ? 0 : json_integer_value(v));
	wire_put_bytes(e->out, 3, s ? s : "", s ? json_string_length(v) : 0);
	return 0;
}

static int encode_quantity(struct encode *e, const json_t *v)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };

	if (!json_is_string(v) || codec_quantity(json_string_value(v), &text, NULL) < 0)
		return mismatch(e, "a quantity");
	wire_put_bytes(e->out, 1, text.data, text.len);
	return 0;
}

/* The objects of watch events carry envelopes of their own; other raw values are JSON. */
static int encode_raw(struct encode *e, const json_t *v, bool envelope)
{
	_cleanup_strbuf_ struct strbuf raw = { 0 };
	const char *api_version = json_string_value(json_object_get(v, "apiVersion"));
	const char *kind = json_string_value(json_object_get(v, "kind"));

	if (envelope && api_version && kind && schema_kind_find(api_version, kind)) {
		int r = codec_envelope_encode(v, &raw, e->err);

		if (r < 0)
			return r;
	} else if (!json_is_null(v)) {
		json_write(&raw, v);
	}
	if (raw.len)
		wire_put_bytes(e->out, 1, raw.data, raw.len);
	return 0;
}

static int encode_list_of(struct encode *e, const struct schema_message *m, unsigned number, const json_t *list)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		size_t at;
		int r = 0;

		if (!m && !json_is_string(item))
			return mismatch(e, "a string");
		if (!m) {
			wire_put_bytes(e->out, number, json_string_value(item), json_string_length(item));
			continue;
		}
		at = wire_open(e->out, number);
		r = encode_object(e, m, item);
		if (r < 0)
			return r;
		wire_close(e->out, at);
	}
	return 0;
}

static int encode_json(struct encode *e, const struct schema_message *m, const json_t *v)
{
	enum codec_json_form form = codec_json_form_of(m);
	const struct schema_message *schema =
		form == CODEC_JSON_ANY ? NULL : m->fields[form == CODEC_JSON_OR_BOOL].message;
	size_t at;
	int r;

	if (form == CODEC_JSON_ANY)
		return encode_raw(e, v, false);
	if (form == CODEC_JSON_OR_BOOL)
		wire_put_int(e->out, 1, !json_is_false(v));
	if (json_is_object(v)) {
		at = wire_open(e->out, form == CODEC_JSON_OR_BOOL ? 2 : 1);
		r = encode_object(e, schema, v);
		if (r < 0)
			return r;
		wire_close(e->out, at);
		return 0;
	}
	if (form == CODEC_JSON_OR_BOOL)
		return json_is_boolean(v) ? 0 : mismatch(e, "a boolean or a schema");
	if (!json_is_array(v))
		return mismatch(e, "a schema or a list");
	return encode_list_of(e, form == CODEC_JSON_OR_ARRAY ? schema : NULL, 2, v);
}

static int encode_custom(struct encode *e, const struct schema_field *f, const json_t *v, bool envelope)
{
	switch ((enum schema_type)f->type) {
	case SCHEMA_QUANTITY:
		return encode_quantity(e, v);
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		return encode_time(e, v);
	case SCHEMA_INT_OR_STRING:
		return encode_int_or_string(e, v);
	case SCHEMA_RAW:
	case SCHEMA_FIELDS_V1:
		return encode_raw(e, v, envelope);
	case SCHEMA_JSON:
		return encode_json(e, f->message, v);
	default:
		return encode_object(e, f->message, v);
	}
}

static int encode_bytes(struct encode *e, unsigned number, const json_t *v)
{
	_cleanup_strbuf_ struct strbuf raw = { 0 };

	if (!json_is_string(v) || base64_decode(&raw, json_string_value(v), json_string_length(v)) < 0)
		return mismatch(e, "base64");
	wire_put_bytes(e->out, number, raw.data ? raw.data : "", raw.len);
	return 0;
}

static int encode_element(struct encode *e, const struct schema_field *f, unsigned number, const json_t *v,
			  bool envelope)
{
	size_t at;
	int r;

	switch ((enum schema_type)f->type) {
	case SCHEMA_STRING:
		if (!json_is_string(v))
			return mismatch(e, "a string");
		wire_put_bytes(e->out, number, json_string_value(v), json_string_length(v));
		return 0;
	case SCHEMA_BYTES:
		return encode_bytes(e, number, v);
	case SCHEMA_BOOL:
		if (!json_is_boolean(v))
			return mismatch(e, "a boolean");
		wire_put_int(e->out, number, json_is_true(v));
		return 0;
	case SCHEMA_INT32:
	case SCHEMA_INT64:
		if (!json_is_integer(v))
			return mismatch(e, "a whole number");
		wire_put_int(e->out, number, json_integer_value(v));
		return 0;
	case SCHEMA_DOUBLE:
		if (!json_is_number(v))
			return mismatch(e, "a number");
		wire_put_double(e->out, number, json_number_value(v));
		return 0;
	default:
		at = wire_open(e->out, number);
		r = encode_custom(e, f, v, envelope);
		if (r < 0)
			return r;
		wire_close(e->out, at);
		return 0;
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int encode_map_entry(struct encode *e, const struct schema_field *f, const char *key, const json_t *v)
{
	struct codec_path at = { .up = e->path, .name = key, .map_key = true };
	size_t entry = wire_open(e->out, f->proto), list;
	int r;

	e->path = &at;
	wire_put_bytes(e->out, 1, key, strlen(key));
	if (f->shape == SCHEMA_MAP_OF_LISTS) {
		list = wire_open(e->out, 2);
		r = json_is_array(v) ? encode_list_of(e, NULL, 1, v) : mismatch(e, "a list");
		wire_close(e->out, list);
	} else {
		r = encode_element(e, f, 2, v, false);
	}
	wire_close(e->out, entry);
	e->path = at.up;
	return r;
}

static int encode_map(struct encode *e, const struct schema_field *f, const json_t *v)
{
	size_t count = json_object_size(v), n = 0;
	_cleanup_free_ const char **keys = mem_calloc(count + 1, sizeof(*keys));
	const char *key;
	json_t *item;
	int r = 0;

	if (!json_is_object(v))
		return mismatch(e, "an object");
	json_object_foreach((json_t *)v, key, item)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), by_text);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = encode_map_entry(e, f, keys[i], json_object_get(v, keys[i]));
	return r;
}

static int encode_list(struct encode *e, const struct schema_field *f, const json_t *v)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (!json_is_array(v))
		return mismatch(e, "a list");
	json_array_foreach(v, i, item) {
		struct codec_path at = { .up = e->path, .index = i };

		e->path = &at;
		r = encode_element(e, f, f->proto, item, false);
		e->path = at.up;
		if (r < 0)
			break;
	}
	return r;
}

static int encode_field(struct encode *e, const struct schema_field *f, const json_t *v, bool envelope)
{
	size_t at;
	int r;

	if (json_is_null(v))
		return 0;
	if (f->shape == SCHEMA_MAP || f->shape == SCHEMA_MAP_OF_LISTS)
		return encode_map(e, f, v);
	if (!codec_is_wrapped(f))
		return f->shape == SCHEMA_LIST ? encode_list(e, f, v) : encode_element(e, f, f->proto, v, envelope);
	at = wire_open(e->out, f->proto);
	r = json_is_array(v) ? encode_list_of(e, NULL, 1, v) : mismatch(e, "a list");
	wire_close(e->out, at);
	return r;
}

static int encode_inline(struct encode *e, const struct schema_field *f, const json_t *v)
{
	size_t start = e->out->len, at = wire_open(e->out, f->proto);
	int r = encode_object(e, f->message, v);

	if (r == 0 && e->out->len == at)
		e->out->len = start;
	else
		wire_close(e->out, at);
	return r;
}

static int encode_object(struct encode *e, const struct schema_message *m, const json_t *v)
{
	bool envelope = str_eq(codec_short_name(m), "WatchEvent");
	int r = 0;

	if (!json_is_object(v))
		return mismatch(e, "an object");
	if (e->depth >= CODEC_MAX_DEPTH)
		return mismatch(e, "less nesting");
	e->depth++;
	for (size_t i = 0; r == 0 && i < m->field_count; i++) {
		const struct schema_field *f = &m->fields[i];
		struct codec_path at = { .up = e->path, .name = f->name };
		const json_t *item;

		if (!f->proto)
			continue;
		if (f->flags & SCHEMA_INLINE) {
			r = encode_inline(e, f, v);
			continue;
		}
		item = json_object_get(v, f->name);
		if (!item)
			continue;
		e->path = &at;
		r = encode_field(e, f, item, envelope);
		e->path = at.up;
	}
	e->depth--;
	return r;
}

int codec_proto_encode(const struct schema_message *m, const json_t *v, struct strbuf *out, struct err *err)
{
	struct encode e = { .err = err, .out = out };
	size_t start = out->len;
	int r = encode_object(&e, m, v);

	if (r < 0)
		out->len = start;
	return r;
}
