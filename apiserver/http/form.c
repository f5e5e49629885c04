// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writing stored objects. The common case (JSON of the stored version) hands out slices of the stored text; every other
 * form parses the object, and in a watch its result is shared by all watchers of the same form.
 */
#include "apiserver/http/form.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "apiserver/http/status.h"
#include "apiserver/registry/convert.h"
#include "apiserver/table/table.h"
#include "base/clock.h"
#include "kube/codec.h"

enum { FORM_PRETTY = 1 << 0, FORM_V1BETA1 = 1 << 1, FORM_NO_COLUMNS = 1 << 2 };

struct watch_form form_of(const struct schema_resource *view, const struct media *m, const struct query *q)
{
	struct watch_form f = { .view = view, .format = (uint8_t)m->format, .as = (uint8_t)m->as };
	const char *include = query_get(q, "includeObject");
	f.include = str_eq(include, "Object") ? TABLE_INCLUDE_OBJECT :
		    str_eq(include, "None")   ? TABLE_INCLUDE_NONE : TABLE_INCLUDE_METADATA;
	if (m->as != MEDIA_AS_TABLE)
		f.include = 0;
	if (m->pretty)
		f.flags |= FORM_PRETTY;
	if (m->v1beta1)
		f.flags |= FORM_V1BETA1;
	return f;
}

static bool is_stored_version(const struct watch_form *f)
{
	return f->view->id == f->view->storage_id;
}

bool form_value(enum media_format format, bool pretty, const json_t *value, struct strbuf *out, struct err *err)
{
	switch (format) {
	case MEDIA_YAML:
		yaml_write(out, value);
		return true;
	case MEDIA_PROTO:
		return codec_envelope_encode(value, out, err) == 0;
	case MEDIA_JSON:
	default:
		if (pretty)
			json_write_pretty(out, value);
		else
			json_write(out, value);
		return true;
	}
}

/* The object as a value of the version that is asked for. Own. */
static json_t *view_value(const struct watch_form *f, const struct store_object *o, uint64_t revision)
{
	json_t *v = entry_parse(o);
	if (!is_stored_version(f))
		convert_object(entry_storage(f->view), f->view, v);
	if (revision != o->revision) {
		char rv[24];
		snprintf(rv, sizeof(rv), "%" PRIu64, revision);
		json_set_str(v, "metadata.resourceVersion", rv);
	}
	return v;
}

static const char *meta_version(const struct watch_form *f)
{
	return f->flags & FORM_V1BETA1 ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
}

static void partial_text(const struct watch_form *f, struct store_object *o, uint64_t revision, bool typed, struct strbuf *out)
{
	struct bytes *text = entry_text_at(o, revision);
	/* Only the digits of the revision may make the text longer, and they stand in metadata. */
	uint32_t len = o->meta_len + text->len - o->json->len;
	strbuf_addc(out, '{');
	if (typed)
		strbuf_addf(out, "\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"%s\",", meta_version(f));
	strbuf_adds(out, "\"metadata\":");
	strbuf_add(out, text->data + o->meta_off, len);
	strbuf_addc(out, '}');
	bytes_unref(text);
}

static void table_open(const struct watch_form *f, uint64_t revision, const char *token, int64_t remaining, struct strbuf *out)
{
	strbuf_addf(out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"",
		    meta_version(f), revision);
	if (token)
		strbuf_addf(out, ",\"continue\":\"%s\"", token);
	if (remaining >= 0)
		strbuf_addf(out, ",\"remainingItemCount\":%" PRId64, remaining);
	strbuf_addf(out, "},\"columnDefinitions\":%s,\"rows\":[", f->flags & FORM_NO_COLUMNS ? "null" : table_columns(f->view));
}

static void table_add(const struct watch_form *f, struct store_object *o, uint64_t revision, int64_t now, struct strbuf *out)
{
	_cleanup_json_ json_t *v = view_value(f, o, revision);
	struct bytes *text = is_stored_version(f) ? entry_text_at(o, revision) : NULL;
	table_row(f->view, v, text ? text->data : NULL, text ? text->len : 0, (enum table_include)f->include, now, out);
	bytes_unref(text);
}

/* What stands in for something that has no form of this format (values beyond what protobuf can say): a Status, so that one odd object
 * does not take the answer, or the server, with it. */
static struct bytes *unencodable(const struct watch_form *f, const char *why)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	_cleanup_json_ json_t *status = status_internal("the object cannot be encoded: %s", why);
	if (!form_value((enum media_format)f->format, false, status, &out, NULL))
		json_write(&out, status);
	return bytes_new(out.data, out.len);
}

/* JSON text to the form's format; the text is the answer itself when that is JSON. */
static struct bytes *in_format(const struct watch_form *f, const struct strbuf *text)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	if (f->format == MEDIA_JSON && !(f->flags & FORM_PRETTY))
		return bytes_new(text->data, text->len);
	_cleanup_json_ json_t *v = json_parse(text->data, text->len, NULL, NULL);
	_cleanup_err_ struct err err = { 0 };
	BUG_ON(!v);
	if (!form_value((enum media_format)f->format, f->flags & FORM_PRETTY, v, &out, &err))
		return unencodable(f, err_msg(&err));
	return bytes_new(out.data, out.len);
}

struct bytes *form_object(const struct watch_form *f, struct store_object *o, uint64_t revision)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	if (f->as == MEDIA_AS_TABLE) {
		table_open(f, revision, NULL, -1, &text);
		table_add(f, o, revision, clock_wall_s(), &text);
		strbuf_adds(&text, "]}");
		return in_format(f, &text);
	}
	if (f->as == MEDIA_AS_PARTIAL || f->as == MEDIA_AS_PARTIAL_LIST) {
		partial_text(f, o, revision, true, &text);
		return in_format(f, &text);
	}
	if (f->format == MEDIA_JSON && !(f->flags & FORM_PRETTY) && is_stored_version(f))
		return entry_text_at(o, revision);
	_cleanup_json_ json_t *v = view_value(f, o, revision);
	_cleanup_err_ struct err err = { 0 };
	if (!form_value((enum media_format)f->format, f->flags & FORM_PRETTY, v, &text, &err))
		return unencodable(f, err_msg(&err));
	return bytes_new(text.data, text.len);
}

bool form_is_streamed(const struct watch_form *f)
{
	return f->format == MEDIA_JSON && !(f->flags & FORM_PRETTY);
}

static void list_meta(uint64_t revision, const char *token, int64_t remaining, struct strbuf *out)
{
	strbuf_addf(out, "\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"", revision);
	if (token)
		strbuf_addf(out, ",\"continue\":\"%s\"", token);
	if (remaining >= 0)
		strbuf_addf(out, ",\"remainingItemCount\":%" PRId64, remaining);
	strbuf_addc(out, '}');
}

void form_list_head(const struct watch_form *f, uint64_t revision, const char *token, int64_t remaining, struct strbuf *out)
{
	char api_version[96];
	if (f->as == MEDIA_AS_TABLE) {
		table_open(f, revision, token, remaining, out);
		return;
	}
	if (f->as == MEDIA_AS_OBJECT)
		strbuf_addf(out, "{\"kind\":\"%sList\",\"apiVersion\":\"%s\",", f->view->kind,
			    schema_api_version(f->view->group, f->view->version, api_version));
	else
		strbuf_addf(out, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"%s\",", meta_version(f));
	list_meta(revision, token, remaining, out);
	strbuf_adds(out, ",\"items\":[");
}

static void view_item(const struct watch_form *f, struct store_object *o, struct strbuf *out)
{
	if (is_stored_version(f)) {
		strbuf_addc(out, '{');
		strbuf_add(out, o->json->data + o->head_len, o->json->len - o->head_len);
		return;
	}
	_cleanup_json_ json_t *v = view_value(f, o, o->revision);
	json_object_del(v, "kind");
	json_object_del(v, "apiVersion");
	json_write(out, v);
}

void form_list_item(const struct watch_form *f, struct store_object *o, int64_t now_s, struct strbuf *out)
{
	if (f->as == MEDIA_AS_TABLE)
		table_add(f, o, o->revision, now_s, out);
	else if (f->as == MEDIA_AS_OBJECT)
		view_item(f, o, out);
	else
		partial_text(f, o, o->revision, false, out);
}

static void add_varint(struct strbuf *out, size_t v)
{
	for (; v > 0x7f; v >>= 7)
		strbuf_addc(out, (char)((v & 0x7f) | 0x80));
	strbuf_addc(out, (char)v);
}

static bool take_varint(const char **at, const char *end, size_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; *at < end && shift < 57; shift += 7) {
		unsigned char c = (unsigned char)*(*at)++;
		*ret |= (size_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return true;
	}
	return false;
}

/* One item's message (k8s.io generated.proto: items is field 2 of every list). */
static int proto_item(const struct watch_form *f, struct store_object *o, struct strbuf *items, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 }, message = { 0 };
	const struct schema_message *m = f->as == MEDIA_AS_OBJECT ? f->view->message :
			schema_kind_find("meta.k8s.io/v1", "PartialObjectMetadata")->message;
	form_list_item(f, o, 0, &text);
	_cleanup_json_ json_t *v = json_parse(text.data, text.len, NULL, err);
	int rc = v ? codec_proto_encode(m, v, &message, err) : -EINVAL;
	if (rc)
		return rc;
	strbuf_addc(items, 0x12);
	add_varint(items, message.len);
	strbuf_add(items, message.data, message.len);
	return 0;
}

/* Item by item, so that one is a value in memory at a time. The envelope is that of an empty list (runtime.Unknown: 1 is the type,
 * 2 the message), with the items behind its message. */
static struct bytes *proto_list(const struct watch_form *f, struct store_object *const *objects, size_t count, const struct strbuf *empty)
{
	enum { MAGIC_BYTES = 4 };
	_cleanup_strbuf_ struct strbuf envelope = { 0 }, items = { 0 }, out = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *v = json_parse(empty->data, empty->len, NULL, NULL);
	size_t type_len, raw_len;
	BUG_ON(!v);
	if (!form_value(MEDIA_PROTO, false, v, &envelope, &err))
		return unencodable(f, err_msg(&err));
	for (size_t i = 0; i < count; i++)
		if (proto_item(f, objects[i], &items, &err))
			return unencodable(f, err_msg(&err));
	const char *at = envelope.data + MAGIC_BYTES, *end = envelope.data + envelope.len;
	BUG_ON(*at++ != 0x0a || !take_varint(&at, end, &type_len) || type_len > (size_t)(end - at));
	at += type_len;
	strbuf_reserve(&out, envelope.len + items.len + 16);
	strbuf_add(&out, envelope.data, (size_t)(at - envelope.data));
	BUG_ON(at == end || *at++ != 0x12 || !take_varint(&at, end, &raw_len) || raw_len > (size_t)(end - at));
	strbuf_addc(&out, 0x12);
	add_varint(&out, raw_len + items.len);
	strbuf_add(&out, at, raw_len);
	strbuf_add(&out, items.data ? items.data : "", items.len);
	at += raw_len;
	strbuf_add(&out, at, (size_t)(end - at));
	return bytes_new(out.data, out.len);
}

struct bytes *form_list(const struct watch_form *f, struct store_object *const *objects, size_t count, uint64_t revision,
			const char *token, int64_t remaining)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	int64_t now_s = clock_wall_s();
	form_list_head(f, revision, token, remaining, &text);
	if (f->format == MEDIA_PROTO) {
		strbuf_adds(&text, "]}");
		return proto_list(f, objects, count, &text);
	}
	for (size_t i = 0; i < count; i++) {
		if (i)
			strbuf_addc(&text, ',');
		form_list_item(f, objects[i], now_s, &text);
	}
	strbuf_adds(&text, "]}");
	return in_format(f, &text);
}

/* Watch frames */

/* Protobuf: a length and a WatchEvent whose object is the enveloped object (RawExtension.raw). */
static struct bytes *proto_frame(const char *type, const struct bytes *object)
{
	_cleanup_strbuf_ struct strbuf raw = { 0 }, event = { 0 };
	struct bytes *frame;
	uint32_t len;
	const struct {
		struct strbuf *to;
		uint8_t tag;
		const char *data;
		size_t len;
	} parts[] = { { &raw, 0x0a, object->data, object->len }, { &event, 0x0a, type, strlen(type) }, { &event, 0x12, NULL, 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const char *data = parts[i].data ? parts[i].data : raw.data;
		size_t n = parts[i].data ? parts[i].len : raw.len;
		strbuf_addc(parts[i].to, (char)parts[i].tag);
		for (size_t v = n;; v >>= 7) {
			strbuf_addc(parts[i].to, (char)(v > 0x7f ? (v & 0x7f) | 0x80 : v));
			if (v <= 0x7f)
				break;
		}
		strbuf_add(parts[i].to, data, n);
	}
	len = htonl((uint32_t)event.len);
	frame = bytes_new_uninit(event.len + sizeof(len));
	memcpy(frame->data, &len, sizeof(len));
	memcpy(frame->data + sizeof(len), event.data, event.len);
	return frame;
}

static const char *const type_names[] = { "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR" };

/* object: in the form's format. Moved. */
static struct bytes *frame_of(const struct watch_form *f, enum watch_type type, struct bytes *object)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	struct bytes *frame;
	if (f->format == MEDIA_PROTO) {
		frame = proto_frame(type_names[type], object);
	} else {
		strbuf_reserve(&b, object->len + 64);
		strbuf_addf(&b, "{\"type\":\"%s\",\"object\":", type_names[type]);
		strbuf_add(&b, object->data, object->len);
		strbuf_adds(&b, "}\n");
		frame = bytes_new(b.data, b.len);
	}
	bytes_unref(object);
	return frame;
}

static struct bytes *encode_event(const struct watch_form *f, enum watch_type type, struct store_object *o, uint64_t revision)
{
	struct watch_form flat = *f;
	flat.flags &= (uint8_t)~FORM_PRETTY;
	return frame_of(f, type, form_object(&flat, o, revision));
}

static struct bytes *encode_bookmark(const struct watch_form *f, uint64_t revision, bool initial_end)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	char api_version[96];
	struct watch_form flat = *f;
	const char *kind = f->view->kind;
	const char *version = schema_api_version(f->view->group, f->view->version, api_version);
	flat.flags &= (uint8_t)~FORM_PRETTY;
	if (f->as != MEDIA_AS_OBJECT) {
		kind = f->as == MEDIA_AS_TABLE ? "Table" : "PartialObjectMetadata";
		version = meta_version(f);
	}
	strbuf_addf(&text, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"", kind, version,
		    revision);
	if (initial_end && f->as != MEDIA_AS_TABLE)
		strbuf_adds(&text, ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
	strbuf_addc(&text, '}');
	if (f->as == MEDIA_AS_TABLE) {
		/* A table's metadata has no annotations: a row's object carries them. */
		strbuf_adds(&text, ",\"columnDefinitions\":null,\"rows\":[");
		if (initial_end)
			strbuf_addf(&text, "{\"cells\":[],\"object\":{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"%s\","
				    "\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\","
				    "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}", version, revision);
		strbuf_addc(&text, ']');
	}
	strbuf_addc(&text, '}');
	return frame_of(f, WATCH_BOOKMARK, in_format(&flat, &text));
}

static struct bytes *encode_error(const struct watch_form *f, const json_t *status)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct watch_form flat = *f;
	flat.flags &= (uint8_t)~FORM_PRETTY;
	json_write(&text, status);
	return frame_of(f, WATCH_ERROR, in_format(&flat, &text));
}

/* The columns of a table come with its first event only. */
static void event_sent(struct watch_form *f)
{
	if (f->as == MEDIA_AS_TABLE)
		f->flags |= FORM_NO_COLUMNS;
}

const struct watch_encoder form_watch_encoder = { encode_event, encode_bookmark, encode_error, event_sent };
