/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The protobuf envelope: "k8s\0", then runtime.Unknown with apiVersion, kind and the message's bytes
 * (apimachinery/pkg/runtime/serializer/protobuf). JSON checking is in codec_json.c, the wire format in
 * codec_proto_decode.c and codec_proto_encode.c.
 */
#include "kube/codec.h"

#include <errno.h>

#include "base/mem.h"
#include "kube/codec_parts.h"
#include "kube/codec_wire.h"

static const char magic[4] = { 'k', '8', 's', 0 };

void codec_report_done(struct codec_report *r)
{
	strlist_done(&r->unknown);
	strlist_done(&r->duplicate);
}

bool codec_is_proto(const void *data, size_t len)
{
	return len >= sizeof(magic) && memcmp(data, magic, sizeof(magic)) == 0;
}

struct unknown {
	struct wire_slice api_version, kind, raw, encoding, type;
};

static int read_type_meta(struct wire_slice in, struct unknown *u, struct err *err)
{
	struct wire_reader r = wire_reader_of(in);
	struct wire_field f;
	int more;

	while ((more = wire_next(&r, &f, err)) > 0) {
		if (f.number > 2)
			continue;
		if (f.wire_type != WIRE_BYTES)
			return err_set_api(err, 400, "BadRequest", "proto: wrong wireType = %u for field %s",
					   f.wire_type, f.number == 1 ? "APIVersion" : "Kind");
		*(f.number == 1 ? &u->api_version : &u->kind) = f.bytes;
	}
	return more;
}

static int read_unknown(const void *data, size_t len, struct unknown *ret, struct err *err)
{
	struct wire_reader r;
	struct wire_field f;
	int more;

	if (!codec_is_proto(data, len))
		return err_set_api(
			err, 400, "BadRequest",
			"provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
	r = wire_reader_of((struct wire_slice){ (const unsigned char *)data + sizeof(magic), len - sizeof(magic) });
	while ((more = wire_next(&r, &f, err)) > 0) {
		struct wire_slice *const into[] = { NULL, NULL, &ret->raw, &ret->encoding, &ret->type };

		if (f.number > 4)
			continue;
		if (f.wire_type != WIRE_BYTES)
			return err_set_api(err, 400, "BadRequest", "proto: wrong wireType = %u for field %u of Unknown",
					   f.wire_type, f.number);
		if (f.number == 1) {
			int e = read_type_meta(f.bytes, ret, err);

			if (e < 0)
				return e;
		} else {
			*into[f.number] = f.bytes;
		}
	}
	if (more < 0)
		return more;
	if (ret->encoding.len)
		return err_set_api(err, 400, "BadRequest", "the protobuf envelope's contentEncoding is not supported");
	return 0;
}

json_t *codec_envelope_decode_at(const void *data, size_t len, const struct schema_kind **ret_kind, int depth,
				 size_t *values, struct err *err)
{
	struct unknown u = { 0 };
	const struct schema_kind *k;

	if (read_unknown(data, len, &u, err) < 0)
		return NULL;
	_cleanup_free_ char *api_version = mem_strndup((const char *)u.api_version.data, u.api_version.len);
	_cleanup_free_ char *kind = mem_strndup((const char *)u.kind.data, u.kind.len);
	_cleanup_json_ json_t *body = NULL;
	_cleanup_json_ json_t *v = NULL;

	if (str_empty(kind) || str_empty(api_version)) {
		err_set_api(err, 400, "BadRequest", "Object '%s' is missing in the protobuf envelope",
			    str_empty(kind) ? "Kind" : "apiVersion");
		return NULL;
	}
	k = schema_kind_find(api_version, kind);
	if (!k) {
		err_set_api(err, 400, "BadRequest", "no kind \"%s\" is registered for version \"%s\"", kind,
			    api_version);
		return NULL;
	}
	body = codec_proto_decode_at(k->message, u.raw.data ? u.raw.data : (const unsigned char *)"", u.raw.len, depth,
				     values, err);
	if (!body)
		return NULL;
	if (k->message->flags & SCHEMA_MSG_TYPE_META) {
		/* First, as everybody writes them. */
		v = json_object();
		json_object_set_new(v, "kind", json_string(kind));
		json_object_set_new(v, "apiVersion", json_string(api_version));
		json_object_update_missing(v, body);
	} else {
		v = TAKE(body);
	}
	if (ret_kind)
		*ret_kind = k;
	return TAKE(v);
}

json_t *codec_envelope_decode(const void *data, size_t len, const struct schema_kind **ret_kind, struct err *err)
{
	size_t values = 0;

	return codec_envelope_decode_at(data, len, ret_kind, 0, &values, err);
}

int codec_envelope_encode(const json_t *v, struct strbuf *out, struct err *err)
{
	const char *api_version = json_string_value(json_object_get(v, "apiVersion"));
	const char *kind = json_string_value(json_object_get(v, "kind"));
	const struct schema_kind *k = api_version && kind ? schema_kind_find(api_version, kind) : NULL;
	size_t start = out->len, at;
	int r;

	if (!k)
		return err_set_api(err, 400, "BadRequest", "no kind \"%s\" is registered for version \"%s\"",
				   kind ? kind : "", api_version ? api_version : "");
	strbuf_add(out, magic, sizeof(magic));
	at = wire_open(out, 1);
	wire_put_bytes(out, 1, api_version, strlen(api_version));
	wire_put_bytes(out, 2, kind, strlen(kind));
	wire_close(out, at);
	at = wire_open(out, 2);
	r = codec_proto_encode(k->message, v, out, err);
	if (r < 0) {
		out->len = start;
		return r;
	}
	wire_close(out, at);
	/* Empty, but written, as upstream does. */
	wire_put_bytes(out, 3, "", 0);
	wire_put_bytes(out, 4, "", 0);
	return 0;
}
