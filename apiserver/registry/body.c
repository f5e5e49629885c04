// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Request bodies: JSON, YAML or protobuf to a checked value. What always holds for a value handed out: it has the kind and
 * apiVersion that was expected and only fields of its message.
 */
#include <string.h>

#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "kube/codec.h"

#define PROTO_TYPE "application/vnd.kubernetes.protobuf"

static bool is_json_type(const char *t)
{
	return !*t || str_eq(t, "application/json");
}

static json_t *unsupported_type(void)
{
	return status_new(415, "UnsupportedMediaType",
			  "the body of the request was in an unknown format - accepted media types include: application/json, "
			  "application/yaml, " PROTO_TYPE);
}

/* Problems of strict decoding: refused, warned of or let go. yaml: lines of YAML that set a key again; the parser's error is one,
 * before those of the object. */
static json_t *report_fields(struct call *c, const struct schema_kind *kind, const struct codec_report *report,
			     const struct strlist *yaml)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	for (size_t i = 0; i < yaml->count; i++) {
		if (c->field_validation == FIELD_VALIDATION_WARN)
			call_warn(c, "%s", yaml->items[i]);
		strbuf_addf(&text, "%s\n  %s", i ? "" : "yaml: unmarshal errors:", yaml->items[i]);
	}
	const struct strlist *lists[] = { &report->unknown, &report->duplicate };
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
		for (size_t i = 0; i < lists[l]->count; i++) {
			if (c->field_validation == FIELD_VALIDATION_WARN)
				call_warn(c, "%s", lists[l]->items[i]);
			strbuf_addf(&text, "%s%s", text.len ? ", " : "", lists[l]->items[i]);
		}
	if (!text.len || c->field_validation != FIELD_VALIDATION_STRICT)
		return NULL;
	return status_bad_request("%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s", kind->kind,
				  kind->version, kind->kind, text.data);
}

/* A version that is no longer served but has the same message: kubectl 1.20 drains with it. */
static bool is_former_version(const struct schema_kind *kind, const char *api_version)
{
	return str_eq(kind->kind, "Eviction") && str_eq(kind->group, "policy") && str_eq(api_version, "policy/v1beta1");
}

/* The body's own idea of its kind; what is missing is filled in. */
static json_t *check_kind(const struct schema_kind *kind, json_t *v)
{
	char expected[96];
	const char *api_version = json_string_value(json_object_get(v, "apiVersion"));
	const char *name = json_string_value(json_object_get(v, "kind"));
	schema_api_version(kind->group, kind->version, expected);
	if (!str_empty(api_version) && !str_eq(api_version, expected) && !is_former_version(kind, api_version))
		return status_bad_request("the API version in the data (%s) does not match the expected API version (%s)",
					  api_version, expected);
	if (!str_empty(name) && !str_eq(name, kind->kind))
		return status_bad_request("%s in version \"%s\" cannot be handled as a %s: converting (%s.%s) to (%s.%s): unknown "
					  "conversion", name, kind->version, kind->kind, name, kind->version, kind->kind,
					  kind->version);
	json_object_set_new(v, "apiVersion", json_string(expected));
	json_object_set_new(v, "kind", json_string(kind->kind));
	return NULL;
}

static json_t *check_body(struct call *c, const struct schema_kind *kind, json_t *value, const struct strlist *dup_keys,
			  const struct strlist *dup_lines)
{
	struct codec_report report = { 0 };
	_cleanup_err_ struct err err = { 0 };
	json_t *status;
	if (!json_is_object(value))
		return status_bad_request("the object provided is unrecognized (must be of type %s): couldn't get version/kind; json "
					  "parse error: json: cannot unmarshal a value that is no object", kind->kind);
	status = check_kind(kind, value);
	if (status)
		return status;
	for (size_t i = 0; i < dup_keys->count; i++)
		strlist_addf(&report.duplicate, "duplicate field \"%s\"", dup_keys->items[i]);
	if (codec_normalize(kind->message, value, &report, &err) < 0)
		status = status_bad_request("%s in version \"%s\" cannot be handled as a %s: %s", kind->kind, kind->version,
					    kind->kind, err_msg(&err));
	if (!status)
		status = report_fields(c, kind, &report, dup_lines);
	codec_report_done(&report);
	return status;
}

json_t *body_check(struct call *c, const struct schema_kind *kind, json_t *value, struct strlist *dup_keys)
{
	static const struct strlist none;
	return check_body(c, kind, value, dup_keys ? dup_keys : &none, &none);
}

static json_t *proto_body(struct call *c, const struct schema_kind *kind, json_t **ret)
{
	const struct schema_kind *found = NULL;
	_cleanup_err_ struct err err = { 0 };
	json_t *v = codec_envelope_decode(c->body, c->body_len, &found, &err), *status;
	if (!v)
		return status_bad_request("the object provided is unrecognized (must be of type %s): %s", kind->kind,
					  err_msg(&err));
	status = body_check(c, kind, v, NULL);
	if (status)
		json_decref(v);
	else
		*ret = v;
	return status;
}

json_t *body_kind(struct call *c, const struct schema_kind *kind, json_t **ret)
{
	_cleanup_strlist_ struct strlist dup = { 0 }, dup_lines = { 0 };
	_cleanup_err_ struct err err = { 0 };
	json_t *v, *status;
	if (str_eq(c->content_type, PROTO_TYPE))
		return proto_body(c, kind, ret);
	if (is_json_type(c->content_type))
		v = json_parse_peer(c->body, c->body_len, &dup, &err);
	else if (str_eq(c->content_type, "application/yaml"))
		v = yaml_parse_peer_strict(c->body, c->body_len, &dup_lines, &err);
	else
		return unsupported_type();
	if (!v && !c->body_len)
		return status_bad_request("the object provided is unrecognized (must be of type %s): couldn't get version/kind; json "
					  "parse error: unexpected end of JSON input ()", kind->kind);
	if (!v)
		return status_bad_request("the object provided is unrecognized (must be of type %s): couldn't get version/kind; json "
					  "parse error: %s", kind->kind, err_msg(&err));
	status = check_body(c, kind, v, &dup, &dup_lines);
	if (status)
		json_decref(v);
	else
		*ret = v;
	return status;
}

json_t *body_object(struct call *c, const struct schema_resource *r, json_t **ret)
{
	const struct schema_kind *kind = schema_kind_find_gvk(r->group, r->version, r->kind);
	json_t *v, *status;
	if (!kind)
		return status_internal("the kind %s has no schema", r->kind);
	status = body_kind(c, kind, &v);
	if (status)
		return status;
	defaults_apply(r, v);
	*ret = v;
	return NULL;
}

json_t *body_value(struct call *c, const char *what, struct strlist *dup_keys, json_t **ret)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *v = json_or_yaml_parse(c->body, c->body_len, dup_keys, &err);
	if (!v)
		return status_bad_request("error decoding %s: %s", what, c->body_len ? err_msg(&err) : "unexpected end of JSON input");
	*ret = v;
	return NULL;
}
