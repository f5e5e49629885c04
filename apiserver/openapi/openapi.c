/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The OpenAPI documents: one of everything in v2 (JSON and gnostic's protobuf), and in v3 one a group and version with
 * an index whose URLs carry a hash, so that clients may keep what they fetched for ever (KEP-2896).
 */
#include "apiserver/openapi/document.h"
#include "apiserver/openapi/openapi_internal.h"
#include "apiserver/version.h"

static void write_definitions(struct writer *w, const struct message_set *set)
{
	for (size_t i = 0; i < schema_message_count(); i++)
		if (set->has[i])
			openapi_definition(w, schema_message_at(i));
}

static void write_info(struct writer *w)
{
	size_t at = writer_open(w, "info", 2);

	writer_text(w, "title", 1, "Kubernetes");
	writer_text(w, "version", 2, VERSION_GIT);
	writer_close(w, at);
}

/* Every operation takes a bearer token. */
static void write_security(struct writer *w)
{
	size_t at = writer_open(w, "securityDefinitions", 13), scheme, element;
	struct writer_entry e = writer_entry(w, "BearerToken", 1);

	scheme = writer_only_proto(w, 2);
	writer_text(w, "type", 1, "apiKey");
	writer_text(w, "name", 2, "authorization");
	writer_text(w, "in", 3, "header");
	writer_text(w, "description", 4, "Bearer token");
	writer_only_proto_end(w, scheme);
	writer_entry_end(w, e);
	writer_close(w, at);
	writer_list(w, "security");
	element = writer_element(w, 12);
	/* In JSON a list of scopes under the name; in protobuf an empty StringArray. */
	if (w->form == OPENAPI_V2_PROTO) {
		e = writer_entry(w, "BearerToken", 1);
		writer_entry_end(w, e);
	} else {
		writer_any(w, "BearerToken", 0, "[]");
	}
	writer_close(w, element);
	writer_list_end(w);
}

static bool build_v2(struct strbuf *b, const char *proto)
{
	static const char *const media[] = { "application/json", "application/yaml",
					     "application/vnd.kubernetes.protobuf", NULL };
	struct writer w = { .out = b, .form = proto ? OPENAPI_V2_PROTO : OPENAPI_V2_JSON };
	struct message_set set = { 0 };
	size_t at;

	BUG_ON(schema_message_count() > OPENAPI_MAX_MESSAGES);
	openapi_paths_reach(&set, NULL);
	if (!proto)
		strbuf_addc(b, '{');
	writer_text(&w, "swagger", 1, "2.0");
	write_info(&w);
	writer_texts(&w, "consumes", 6, media);
	writer_texts(&w, "produces", 7, media);
	at = writer_open(&w, "paths", 8);
	openapi_paths(&w, NULL);
	writer_close(&w, at);
	at = writer_open(&w, "definitions", 9);
	write_definitions(&w, &set);
	writer_close(&w, at);
	write_security(&w);
	if (!proto)
		strbuf_adds(b, "}\n");
	return true;
}

static bool build_v3(struct strbuf *b, const char *group_version)
{
	struct writer w = { .out = b, .form = OPENAPI_V3_JSON };
	struct message_set set = { 0 };
	size_t at, schemas;

	openapi_paths_reach(&set, group_version);
	strbuf_addc(b, '{');
	writer_text(&w, "openapi", 0, "3.0.0");
	write_info(&w);
	at = writer_open(&w, "paths", 0);
	openapi_paths(&w, group_version);
	writer_close(&w, at);
	at = writer_open(&w, "components", 0);
	schemas = writer_open(&w, "schemas", 0);
	write_definitions(&w, &set);
	writer_close(&w, schemas);
	writer_any(&w, "securitySchemes", 0,
		   "{\"BearerToken\":{\"description\":\"Bearer "
		   "token\",\"in\":\"header\",\"name\":\"authorization\",\"type\":\"apiKey\"}}");
	writer_close(&w, at);
	strbuf_adds(b, "}\n");
	return true;
}

/* "api/v1" or "apis/apps/v1", of a resource. */
static void v3_path(const struct schema_resource *r, struct strbuf *out)
{
	char gv[96];

	strbuf_reset(out);
	strbuf_addf(out, "%s/%s", *r->group ? "apis" : "api", schema_api_version(r->group, r->version, gv));
}

static bool build_index(struct strbuf *b, const char *argument)
{
	_cleanup_strbuf_ struct strbuf path = { 0 }, last = { 0 };

	(void)argument;
	strbuf_adds(b, "{\"paths\":{");
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		char gv[96];

		v3_path(r, &path);
		/* Resources stand together by group and version. */
		if (str_eq(path.data, last.data))
			continue;
		strbuf_reset(&last);
		strbuf_adds(&last, path.data);
		strbuf_addf(b, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}", i ? "," : "", path.data,
			    path.data,
			    document_etag(path.data, build_v3, schema_api_version(r->group, r->version, gv)));
	}
	strbuf_adds(b, "}}\n");
	return true;
}

const struct document *openapi_v2_json(void)
{
	return document_get("openapi/v2", build_v2, NULL);
}

const struct document *openapi_v2_proto(void)
{
	return document_get("openapi/v2 protobuf", build_v2, "protobuf");
}

const struct document *openapi_v3_index(void)
{
	return document_get("openapi/v3", build_index, NULL);
}

const struct document *openapi_v3(const char *path)
{
	_cleanup_strbuf_ struct strbuf of = { 0 };

	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		char gv[96];

		v3_path(r, &of);
		if (str_eq(of.data, path))
			return document_get(path, build_v3, schema_api_version(r->group, r->version, gv));
	}
	return NULL;
}
