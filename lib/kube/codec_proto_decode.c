/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kubernetes protobuf messages to normalized JSON values. gogo-protobuf writes every field that is no pointer, zero or
 * not; the schema's pointer flags tell zeros that were meant from zeros that only had to be written, and the latter are
 * dropped. Nesting, the number of values made, and every length are bounded.
 */
#include <errno.h>
#include <math.h>

#include "base/mem.h"
#include "kube/codec_parts.h"
#include "kube/codec_wire.h"

struct decode {
	struct err *err;
	size_t *values;
	int depth;
	const struct codec_path *path;
};

static int decode_into(struct decode *d, const struct schema_message *m, struct wire_slice in, json_t *object);
static json_t *decode_custom(struct decode *d, const struct schema_field *f, struct wire_slice in);

static void *refuse(struct decode *d, const char *fmt, const char *detail)
{
	_cleanup_free_ char *at = codec_path_text(d->path, true);
	_cleanup_free_ char *what = str_printf("%s%s", fmt, detail);

	err_set_api(d->err, 400, "BadRequest", "%s%s%s", at, *at ? ": " : "", what);
	return NULL;
}

/* Puts the place in front of what the wire reader said. */
static int wrap(struct decode *d)
{
	_cleanup_free_ char *at = codec_path_text(d->path, true);

	return *at ? err_wrap(d->err, "%s", at) : -EINVAL;
}

static int wrong_wire_type(struct decode *d, const struct wire_field *w)
{
	_cleanup_free_ char *at = codec_path_text(d->path, true);

	return err_set_api(d->err, 400, "BadRequest", "proto: wrong wireType = %u for field %s", w->wire_type, at);
}

static bool count_value(struct decode *d)
{
	if (++*d->values <= CODEC_MAX_VALUES)
		return true;
	err_set_api(d->err, 400, "BadRequest", "the object has more than %d values", CODEC_MAX_VALUES);
	return false;
}

/* The length of the UTF-8 sequence at s, 0 when it is none (RFC 3629). */
static size_t utf8_sequence(const unsigned char *s, size_t len)
{
	size_t n = s[0] < 0x80			 ? 1
		   : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		   : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		   : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						 : 0;

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* Broken UTF-8 becomes U+FFFD, as when Go writes such a string to JSON; NUL is refused. */
static json_t *decode_string(struct decode *d, struct wire_slice in)
{
	json_t *v;

	if (memchr(in.data ? (const char *)in.data : "", 0, in.len))
		return refuse(d, "a string holds a NUL character", "");
	v = json_stringn(in.data ? (const char *)in.data : "", in.len);
	if (v)
		return v;
	_cleanup_strbuf_ struct strbuf clean = { 0 };

	for (size_t i = 0; i < in.len;) {
		size_t n = utf8_sequence(in.data + i, in.len - i);

		if (n)
			strbuf_add(&clean, in.data + i, n);
		else
			strbuf_adds(&clean, "\xef\xbf\xbd");
		i += n ? n : 1;
	}
	return json_stringn(clean.data, clean.len);
}

static json_t *decode_bytes(struct wire_slice in)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	base64_encode(&b, in.data ? (const void *)in.data : "", in.len);
	return json_stringn(b.data ? b.data : "", b.len);
}

static json_t *decode_number(struct decode *d, const struct schema_field *f, uint64_t v)
{
	double real;

	switch (f->type) {
	case SCHEMA_BOOL:
		return json_boolean(v != 0);
	case SCHEMA_INT32:
		return json_integer((int32_t)(uint32_t)v);
	case SCHEMA_INT64:
		return json_integer((int64_t)v);
	default:
		memcpy(&real, &v, sizeof(real));
		if (!isfinite(real))
			return refuse(d, "json: unsupported value: ", isnan(real) ? "NaN" : real > 0 ? "+Inf" : "-Inf");
		return json_real(real);
	}
}

static unsigned wire_type_of(const struct schema_field *f)
{
	switch (f->type) {
	case SCHEMA_BOOL:
	case SCHEMA_INT32:
	case SCHEMA_INT64:
		return WIRE_VARINT;
	case SCHEMA_DOUBLE:
		return WIRE_FIXED64;
	default:
		return WIRE_BYTES;
	}
}

/* One element. into: the message decoded so far that this one is merged into, or NULL. Own. */
static json_t *decode_element(struct decode *d, const struct schema_field *f, const struct wire_field *w, json_t *into)
{
	json_t *v;

	if (w->wire_type != wire_type_of(f)) {
		wrong_wire_type(d, w);
		return NULL;
	}
	if (!count_value(d))
		return NULL;
	switch (f->type) {
	case SCHEMA_STRING:
		return decode_string(d, w->bytes);
	case SCHEMA_BYTES:
		return decode_bytes(w->bytes);
	case SCHEMA_MESSAGE:
		v = into ? json_incref(into) : json_object();
		if (decode_into(d, f->message, w->bytes, v) < 0) {
			json_decref(v);
			return NULL;
		}
		return v;
	case SCHEMA_BOOL:
	case SCHEMA_INT32:
	case SCHEMA_INT64:
	case SCHEMA_DOUBLE:
		return decode_number(d, f, w->value);
	default:
		return decode_custom(d, f, w->bytes);
	}
}

/* Fields of one of the small messages behind custom types: the last one of each number counts. */
static int read_small(struct decode *d, struct wire_slice in, struct wire_field fields[static 4],
		      bool present[static 4])
{
	struct wire_reader r = wire_reader_of(in);
	struct wire_field w;
	int more;

	while ((more = wire_next(&r, &w, d->err)) > 0)
		if (w.number < 4) {
			fields[w.number] = w;
			present[w.number] = true;
		}
	return more < 0 ? wrap(d) : 0;
}

static json_t *decode_time(struct decode *d, bool micro, const struct wire_field *w, const bool *present)
{
	char text[CODEC_TIME_SIZE];
	int64_t seconds = present[1] ? (int64_t)w[1].value : 0;
	int32_t nanos = present[2] ? (int32_t)(uint32_t)w[2].value : 0;

	/* No field at all is Go's zero time, and so is the first second of the year 1. */
	if ((!present[1] && !present[2]) || (seconds == CODEC_MIN_TIME_S && nanos == 0))
		return json_null();
	if ((present[1] && w[1].wire_type != WIRE_VARINT) || (present[2] && w[2].wire_type != WIRE_VARINT))
		return refuse(d, "proto: wrong wireType in a time", "");
	if (codec_time_format(seconds, nanos, micro, text) < 0)
		return refuse(d, "Time.MarshalJSON: year outside of range [0,9999]", "");
	return json_string(text);
}

static json_t *decode_int_or_string(struct decode *d, const struct wire_field *w, const bool *present)
{
	uint64_t type = present[1] ? w[1].value : 0;

	if ((present[1] && w[1].wire_type != WIRE_VARINT) || (present[2] && w[2].wire_type != WIRE_VARINT) ||
	    (present[3] && w[3].wire_type != WIRE_BYTES))
		return refuse(d, "proto: wrong wireType in an IntOrString", "");
	if (type > 1)
		return refuse(d, "impossible IntOrString.Type", "");
	if (type == 0)
		return json_integer(present[2] ? (int32_t)(uint32_t)w[2].value : 0);
	return decode_string(d, present[3] ? w[3].bytes : (struct wire_slice){ 0 });
}

static json_t *decode_quantity(struct decode *d, const struct wire_field *w, const bool *present)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	_cleanup_free_ char *s = NULL;

	if (!present[1])
		return json_string("0");
	if (w[1].wire_type != WIRE_BYTES || memchr(w[1].bytes.data, 0, w[1].bytes.len))
		return refuse(d, "quantities are strings", "");
	s = mem_strndup((const char *)w[1].bytes.data, w[1].bytes.len);
	if (codec_quantity(s, &out, d->err) < 0) {
		wrap(d);
		return NULL;
	}
	return json_string(out.data);
}

static void count_inside(struct decode *d, const json_t *v)
{
	const char *key;
	json_t *item;
	size_t i;

	++*d->values;
	if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, item)
			count_inside(d, item);
	} else if (json_is_array(v)) {
		json_array_foreach(v, i, item)
			count_inside(d, item);
	}
}

/* Raw bytes: JSON text, or an object in an envelope of its own. Empty is null. */
static json_t *decode_raw(struct decode *d, const struct wire_field *w, const bool *present, bool object_only)
{
	_cleanup_json_ json_t *v = NULL;

	if (!present[1] || w[1].bytes.len == 0)
		return json_null();
	if (w[1].wire_type != WIRE_BYTES)
		return refuse(d, "proto: wrong wireType in raw bytes", "");
	if (!object_only && codec_is_proto(w[1].bytes.data, w[1].bytes.len)) {
		v = codec_envelope_decode_at(w[1].bytes.data, w[1].bytes.len, NULL, d->depth + 1, d->values, d->err);
	} else {
		v = json_parse_peer((const char *)w[1].bytes.data, w[1].bytes.len, NULL, d->err);
		if (v)
			count_inside(d, v);
	}
	if (!v) {
		wrap(d);
		return NULL;
	}
	if (object_only && !json_is_object(v))
		return refuse(d, "fieldsV1 must be a JSON object", "");
	if (*d->values > CODEC_MAX_VALUES && !count_value(d))
		return NULL;
	return TAKE(v);
}

/* JSONSchemaPropsOr...: decoded as the message that it is, then put into its JSON form. */
static json_t *decode_json(struct decode *d, const struct schema_message *m, struct wire_slice in)
{
	enum codec_json_form form = codec_json_form_of(m);
	struct wire_field w[4];
	bool present[4] = { 0 };
	json_t *schema, *list;

	if (form == CODEC_JSON_ANY)
		return read_small(d, in, w, present) < 0 ? NULL : decode_raw(d, w, present, false);
	_cleanup_json_ json_t *fields = json_object();

	if (decode_into(d, m, in, fields) < 0)
		return NULL;
	schema = json_object_get(fields, "schema");
	if (schema)
		return json_incref(schema);
	if (form == CODEC_JSON_OR_BOOL)
		return json_boolean(json_is_true(json_object_get(fields, "allows")));
	list = json_object_get(fields, form == CODEC_JSON_OR_ARRAY ? "jSONSchemas" : "property");
	return list ? json_incref(list) : json_array();
}

static json_t *decode_custom(struct decode *d, const struct schema_field *f, struct wire_slice in)
{
	struct wire_field w[4];
	bool present[4] = { 0 };

	if (f->type == SCHEMA_JSON)
		return decode_json(d, f->message, in);
	if (read_small(d, in, w, present) < 0)
		return NULL;
	switch ((enum schema_type)f->type) {
	case SCHEMA_QUANTITY:
		return decode_quantity(d, w, present);
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		return decode_time(d, f->type == SCHEMA_MICRO_TIME, w, present);
	case SCHEMA_INT_OR_STRING:
		return decode_int_or_string(d, w, present);
	case SCHEMA_RAW:
	case SCHEMA_FIELDS_V1:
		return decode_raw(d, w, present, f->type == SCHEMA_FIELDS_V1);
	default:
		err_set(d->err, EINVAL, "the schema has no type %d", f->type);
		return NULL;
	}
}

/* A list of strings that is a message with them in field 1. Own. */
static json_t *decode_wrapped_list(struct decode *d, const struct wire_field *w)
{
	static const struct schema_field item = { .type = SCHEMA_STRING, .proto = 1 };
	struct wire_reader r = wire_reader_of(w->bytes);
	_cleanup_json_ json_t *list = json_array();
	struct wire_field in;
	int more;

	if (w->wire_type != WIRE_BYTES) {
		wrong_wire_type(d, w);
		return NULL;
	}
	while ((more = wire_next(&r, &in, d->err)) > 0) {
		json_t *v;

		if (in.number != 1)
			continue;
		v = decode_element(d, &item, &in, NULL);
		if (!v)
			return NULL;
		json_array_append_new(list, v);
	}
	if (more < 0) {
		wrap(d);
		return NULL;
	}
	return TAKE(list);
}

/* The zero value of a map entry without a value. */
static json_t *decode_missing(struct decode *d, const struct schema_field *f)
{
	struct wire_field w = { .wire_type = wire_type_of(f), .bytes = { (const unsigned char *)"", 0 } };

	return f->shape == SCHEMA_MAP ? decode_element(d, f, &w, NULL) : json_array();
}

static int decode_map_entry(struct decode *d, const struct schema_field *f, const struct wire_field *w, json_t *map)
{
	struct wire_reader r = wire_reader_of(w->bytes);
	struct wire_field in, value = { 0 };
	_cleanup_json_ json_t *key = NULL;
	struct codec_path at = { .up = d->path, .map_key = true };
	json_t *v;
	int more;

	if (w->wire_type != WIRE_BYTES)
		return wrong_wire_type(d, w);
	while ((more = wire_next(&r, &in, d->err)) > 0) {
		if (in.number == 1) {
			if (in.wire_type != WIRE_BYTES)
				return wrong_wire_type(d, &in);
			json_decref(key);
			key = decode_string(d, in.bytes);
			if (!key)
				return -EINVAL;
		} else if (in.number == 2) {
			value = in;
		}
	}
	if (more < 0)
		return wrap(d);
	at.name = key ? json_string_value(key) : "";
	d->path = &at;
	if (!value.number)
		v = decode_missing(d, f);
	else if (f->shape == SCHEMA_MAP)
		v = decode_element(d, f, &value, NULL);
	else
		v = decode_wrapped_list(d, &value);
	d->path = at.up;
	if (!v)
		return -EINVAL;
	json_object_set_new(map, at.name, v);
	return 0;
}

static int decode_packed(struct decode *d, const struct schema_field *f, const struct wire_field *w, json_t *list)
{
	struct wire_reader r = wire_reader_of(w->bytes);
	struct wire_field in = { .wire_type = wire_type_of(f) };

	while (r.p < r.end) {
		json_t *v;

		if (f->type == SCHEMA_DOUBLE) {
			if (r.end - r.p < 8) {
				err_set_api(d->err, 400, "BadRequest", "unexpected EOF");
				return wrap(d);
			}
			in.value = 0;
			for (int i = 0; i < 8; i++)
				in.value |= (uint64_t)*r.p++ << (8 * i);
		} else if (wire_varint(&r, &in.value, d->err) < 0) {
			return wrap(d);
		}
		v = decode_element(d, f, &in, NULL);
		if (!v)
			return -EINVAL;
		json_array_append_new(list, v);
	}
	return 0;
}

static int decode_list_item(struct decode *d, const struct schema_field *f, const struct wire_field *w, json_t *list)
{
	struct codec_path at = { .up = d->path, .index = json_array_size(list) };
	json_t *v;
	int r = 0;

	d->path = &at;
	if (w->wire_type == WIRE_BYTES && wire_type_of(f) != WIRE_BYTES) {
		r = decode_packed(d, f, w, list);
	} else {
		v = decode_element(d, f, w, NULL);
		if (v)
			json_array_append_new(list, v);
		r = v ? 0 : -EINVAL;
	}
	d->path = at.up;
	return r;
}

static int decode_single(struct decode *d, const struct schema_field *f, const struct wire_field *w, json_t *object)
{
	json_t *v;

	if (codec_is_wrapped(f))
		v = decode_wrapped_list(d, w);
	else
		v = decode_element(d, f, w, json_object_get(object, f->name));
	if (!v)
		return -EINVAL;
	if (json_is_null(v) || (codec_drops_zero(f) && codec_is_zero(f, v, true))) {
		json_object_del(object, f->name);
		json_decref(v);
	} else {
		json_object_set_new(object, f->name, v);
	}
	return 0;
}

static int decode_field(struct decode *d, const struct schema_field *f, const struct wire_field *w, json_t *object)
{
	json_t *holder;
	int r;

	if (f->flags & SCHEMA_INLINE) {
		if (w->wire_type != WIRE_BYTES)
			return wrong_wire_type(d, w);
		return decode_into(d, f->message, w->bytes, object);
	}
	if (f->shape == SCHEMA_SINGLE || codec_is_wrapped(f))
		return decode_single(d, f, w, object);
	holder = json_object_get(object, f->name);
	if (!holder) {
		holder = f->shape == SCHEMA_LIST ? json_array() : json_object();
		json_object_set_new(object, f->name, holder);
	}
	r = f->shape == SCHEMA_LIST ? decode_list_item(d, f, w, holder) : decode_map_entry(d, f, w, holder);
	/* A packed list of nothing. */
	if (json_is_array(holder) && json_array_size(holder) == 0)
		json_object_del(object, f->name);
	return r;
}

static int decode_into(struct decode *d, const struct schema_message *m, struct wire_slice in, json_t *object)
{
	struct wire_reader r = wire_reader_of(in);
	struct wire_field w;
	int more = 0, e = 0;

	if (++d->depth > CODEC_MAX_DEPTH) {
		refuse(d, "the message is nested too deep", "");
		return -EINVAL;
	}
	while (e == 0 && (more = wire_next(&r, &w, d->err)) > 0) {
		const struct schema_field *f = schema_field_by_number(m, w.number);
		struct codec_path at = { .up = d->path };

		if (!f)
			continue;
		at.name = f->name;
		d->path = f->flags & SCHEMA_INLINE ? at.up : &at;
		e = decode_field(d, f, &w, object);
		d->path = at.up;
	}
	d->depth--;
	return more < 0 ? wrap(d) : e;
}

json_t *codec_proto_decode_at(const struct schema_message *m, const void *data, size_t len, int depth, size_t *values,
			      struct err *err)
{
	struct decode d = { .err = err, .values = values, .depth = depth };
	_cleanup_json_ json_t *v = json_object();

	if (decode_into(&d, m, (struct wire_slice){ data, len }, v) < 0)
		return NULL;
	return TAKE(v);
}

json_t *codec_proto_decode(const struct schema_message *m, const void *data, size_t len, struct err *err)
{
	size_t values = 0;

	return codec_proto_decode_at(m, len ? data : "", len, 0, &values, err);
}
