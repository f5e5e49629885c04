/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paths and their operations, made from the resources' verbs: which query parameters there are, what goes in and what
 * comes out, and the x-kubernetes extensions by which clients find the operation of a kind (kubectl trusts the server's
 * field validation only where the PATCH of a kind lists the parameter fieldValidation). Numbers are gnostic's.
 */
#include <ctype.h>
#include <stdio.h>

#include "apiserver/openapi/openapi_internal.h"

enum { PATH_SIZE = 256, ID_SIZE = 256 };

enum action { A_LIST, A_LIST_ALL, A_CREATE, A_DELETE_COLLECTION, A_GET, A_PUT, A_PATCH, A_DELETE, A_CONNECT, A_MAX };
enum method { M_GET, M_PUT, M_POST, M_DELETE, M_PATCH, M_MAX };
static const struct {
	const char *key, *name; /* the JSON key, the word in connect's operation ids */
	unsigned number;	/* in PathItem */
	uint8_t verb;
} methods[] = {
	[M_GET] = { "get", "Get", 2, VERB_GET },	 [M_PUT] = { "put", "Put", 3, VERB_UPDATE },
	[M_POST] = { "post", "Post", 4, VERB_CREATE },	 [M_DELETE] = { "delete", "Delete", 5, VERB_DELETE },
	[M_PATCH] = { "patch", "Patch", 8, VERB_PATCH },
};

enum { Q_ALL = 1, Q_LIST = 2, Q_WRITE = 4, Q_FORCE = 8, Q_DELETE = 16, Q_SELECT = 32 };
static const struct {
	const char *action, *id, *text;
	uint8_t queries;
} actions[A_MAX] = {
	[A_LIST] = { "list", "list", "list or watch objects of kind", Q_ALL | Q_LIST | Q_SELECT },
	[A_LIST_ALL] = { "list", "list", "list or watch objects of kind", Q_ALL | Q_LIST | Q_SELECT },
	[A_CREATE] = { "post", "create", "create", Q_ALL | Q_WRITE },
	[A_DELETE_COLLECTION] = { "deletecollection", "delete", "delete the collection of",
				  Q_ALL | Q_DELETE | Q_SELECT },
	[A_GET] = { "get", "read", "read", Q_ALL },
	[A_PUT] = { "put", "replace", "replace", Q_ALL | Q_WRITE },
	[A_PATCH] = { "patch", "patch", "change a part of", Q_ALL | Q_WRITE | Q_FORCE },
	[A_DELETE] = { "delete", "delete", "delete", Q_ALL | Q_DELETE },
	[A_CONNECT] = { "connect", "connect", "connect to", 0 },
};
static const struct {
	const char *name, *type;
	uint8_t of;
} queries[] = {
	{ "pretty", "string", Q_ALL },
	{ "allowWatchBookmarks", "boolean", Q_LIST },
	{ "continue", "string", Q_SELECT },
	{ "fieldSelector", "string", Q_SELECT },
	{ "labelSelector", "string", Q_SELECT },
	{ "limit", "integer", Q_SELECT },
	{ "resourceVersion", "string", Q_SELECT },
	{ "resourceVersionMatch", "string", Q_SELECT },
	{ "sendInitialEvents", "boolean", Q_LIST },
	{ "timeoutSeconds", "integer", Q_SELECT },
	{ "watch", "boolean", Q_LIST },
	{ "dryRun", "string", Q_WRITE | Q_DELETE },
	{ "fieldManager", "string", Q_WRITE },
	{ "fieldValidation", "string", Q_WRITE },
	{ "force", "boolean", Q_FORCE },
	{ "gracePeriodSeconds", "integer", Q_DELETE },
	{ "orphanDependents", "boolean", Q_DELETE },
	{ "propagationPolicy", "string", Q_DELETE },
};
static const char *const media[] = { "application/json", "application/yaml", "application/vnd.kubernetes.protobuf",
				     NULL };
static const char *const patch_media[] = { "application/json-patch+json", "application/merge-patch+json",
					   "application/strategic-merge-patch+json", "application/apply-patch+yaml", NULL };

#define META "io.k8s.apimachinery.pkg.apis.meta.v1."

struct route {
	const struct schema_resource *r;
	const struct schema_subresource *sub; /* or NULL */
	bool in_namespace;
};

static bool is_connect(const struct schema_subresource *s)
{
	return s && (str_eq(s->name, "exec") || str_eq(s->name, "attach") || str_eq(s->name, "portforward") ||
		     str_eq(s->name, "proxy"));
}

static bool is_log(const struct schema_subresource *s)
{
	return s && str_eq(s->name, "log");
}

/* Whose fields are query parameters. */
static const struct schema_message *options_of(const struct schema_subresource *s)
{
	const struct schema_kind *k = NULL;

	if (is_connect(s))
		k = schema_kind_find_gvk(s->group, s->version, s->kind);
	else if (is_log(s))
		k = schema_kind_find("v1", "PodLogOptions");
	return k ? k->message : NULL;
}

/* "rbac.authorization.k8s.io" -> "RbacAuthorization", or "rbacAuthorization" for tags; core has the name "core". */
static void group_word(const char *group, bool capital, struct strbuf *out)
{
	const char *end = strstr(group, ".k8s.io");
	bool upper = capital;

	if (!*group)
		group = "core";
	if (!end)
		end = group + strlen(group);
	for (const char *p = group; p < end; p++) {
		if (*p == '.') {
			upper = true;
			continue;
		}
		strbuf_addc(out, upper ? toupper((unsigned char)*p) : *p);
		upper = false;
	}
}

static void add_capital(struct strbuf *out, const char *word)
{
	strbuf_addc(out, toupper((unsigned char)*word));
	strbuf_adds(out, word + 1);
}

static void operation_id(const struct route *t, enum action a, enum method m, struct strbuf *out)
{
	strbuf_adds(out, actions[a].id);
	group_word(t->r->group, true, out);
	add_capital(out, t->r->version);
	if (a == A_CONNECT)
		strbuf_adds(out, methods[m].name);
	if (a == A_DELETE_COLLECTION)
		strbuf_adds(out, "Collection");
	if (t->in_namespace)
		strbuf_adds(out, "Namespaced");
	strbuf_adds(out, t->r->kind);
	if (a == A_LIST_ALL)
		strbuf_adds(out, "ForAllNamespaces");
	if (t->sub)
		add_capital(out, t->sub->name);
}

/* The type stands beside the name in v2, in a schema in v3. */
static void parameter_type(struct writer *w, const char *type, unsigned number, bool unique)
{
	size_t at = 0;

	if (writer_is_v3(w))
		at = writer_open(w, "schema", 0);
	writer_text(w, "type", number, type);
	if (unique)
		writer_true(w, "uniqueItems", number + 14);
	if (writer_is_v3(w))
		writer_close(w, at);
}

/* ParametersItem > Parameter > NonBodyParameter > one by the place. */
static void plain_parameter(struct writer *w, unsigned list_number, const char *name, const char *type, bool in_path)
{
	size_t element = writer_element(w, list_number), parameter = writer_only_proto(w, 1),
	       plain = writer_only_proto(w, 2), sub = writer_only_proto(w, in_path ? 4 : 3);

	writer_text(w, "name", 4, name);
	writer_text(w, "in", 2, in_path ? "path" : "query");
	if (in_path)
		writer_true(w, "required", 1);
	parameter_type(w, type, in_path ? 5 : 6, true);
	writer_only_proto_end(w, sub);
	writer_only_proto_end(w, plain);
	writer_only_proto_end(w, parameter);
	writer_close(w, element);
}

static void options_parameters(struct writer *w, const struct schema_message *m)
{
	for (size_t i = 0; m && i < m->field_count; i++) {
		const char *type, *format;

		openapi_scalar(&m->fields[i], &type, &format);
		plain_parameter(w, 8, m->fields[i].name, type, false);
	}
}

static const struct schema_message *body_of(const struct route *t, enum action a)
{
	const char *group = t->sub ? t->sub->group : t->r->group, *version = t->sub ? t->sub->version : t->r->version,
		   *kind = t->sub ? t->sub->kind : t->r->kind;

	switch (a) {
	case A_CREATE:
	case A_PUT:
		return schema_kind_find_gvk(group, version, kind)->message;
	case A_PATCH:
		return schema_message_by_name(META "Patch");
	case A_DELETE:
	case A_DELETE_COLLECTION:
		return schema_message_by_name(META "DeleteOptions");
	default:
		return NULL;
	}
}

/* NULL: text. */
static const struct schema_message *answer_of(const struct route *t, enum action a)
{
	if (a == A_LIST || a == A_LIST_ALL)
		return t->r->list_message;
	if (a == A_DELETE || a == A_DELETE_COLLECTION)
		return schema_message_by_name(META "Status");
	if (a == A_CONNECT || is_log(t->sub))
		return NULL;
	return body_of(t, A_CREATE);
}

/* v3: {"application/json": {"schema": ...}, ...}. */
static void write_content(struct writer *w, const char *const *types, const struct schema_message *m)
{
	size_t content = writer_open(w, "content", 0);

	for (; *types; types++) {
		size_t type = writer_open(w, *types, 0), schema = writer_open(w, "schema", 0);

		if (m)
			openapi_reference(w, m);
		else
			writer_text(w, "type", 0, "string");
		writer_close(w, schema);
		writer_close(w, type);
	}
	writer_close(w, content);
}

static void body_parameter(struct writer *w, const struct schema_message *m, bool required)
{
	size_t element = writer_element(w, 8), parameter = writer_only_proto(w, 1), body = writer_only_proto(w, 1),
	       schema;

	writer_text(w, "name", 2, "body");
	writer_text(w, "in", 3, "body");
	if (required)
		writer_true(w, "required", 4);
	schema = writer_open(w, "schema", 5);
	openapi_reference(w, m);
	writer_close(w, schema);
	writer_only_proto_end(w, body);
	writer_only_proto_end(w, parameter);
	writer_close(w, element);
}

static void write_parameters(struct writer *w, const struct route *t, enum action a)
{
	const struct schema_message *body = body_of(t, a);
	bool required = a != A_DELETE && a != A_DELETE_COLLECTION;

	writer_list(w, "parameters");
	if (body && !writer_is_v3(w))
		body_parameter(w, body, required);
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++)
		if (queries[i].of & actions[a].queries)
			plain_parameter(w, 8, queries[i].name, queries[i].type, false);
	options_parameters(w, options_of(t->sub));
	writer_list_end(w);
	if (body && writer_is_v3(w)) {
		size_t at = writer_open(w, "requestBody", 0);

		write_content(w, a == A_PATCH ? patch_media : media, body);
		if (required)
			writer_true(w, "required", 0);
		writer_close(w, at);
	}
}

static void write_response(struct writer *w, const char *code, const char *text, const struct schema_message *m,
			   const char *const *types)
{
	struct writer_entry e = writer_entry(w, code, 1);
	size_t response = writer_only_proto(w, 1);

	writer_text(w, "description", 1, text);
	if (types && writer_is_v3(w)) {
		write_content(w, types, m);
	} else if (types) {
		size_t at = writer_open(w, "schema", 2), schema = writer_only_proto(w, 1);

		if (m) {
			openapi_reference(w, m);
		} else {
			size_t type = writer_only_proto(w, 22);

			writer_text(w, "type", 1, "string");
			writer_only_proto_end(w, type);
		}
		writer_only_proto_end(w, schema);
		writer_close(w, at);
	}
	writer_only_proto_end(w, response);
	writer_entry_end(w, e);
}

static void write_responses(struct writer *w, const struct route *t, enum action a)
{
	static const char *const any[] = { "*/*", NULL }, *const text[] = { "text/plain", NULL };
	const struct schema_message *m = answer_of(t, a);
	const char *const *types = a == A_CONNECT ? any : is_log(t->sub) ? text : media;
	size_t at = writer_open(w, "responses", 9);

	write_response(w, "200", "OK", m, types);
	if (a == A_CREATE || a == A_PUT || a == A_PATCH)
		write_response(w, "201", "Created", m, types);
	if (a == A_CREATE || a == A_DELETE)
		write_response(w, "202", "Accepted", m, types);
	write_response(w, "401", "Unauthorized", NULL, NULL);
	writer_close(w, at);
}

static void write_operation(struct writer *w, const struct route *t, enum action a, enum method m)
{
	size_t at = writer_open(w, methods[m].key, methods[m].number);
	_cleanup_strbuf_ struct strbuf id = { 0 }, tag = { 0 }, text = { 0 };
	char gvk[ID_SIZE];

	operation_id(t, a, m, &id);
	group_word(t->r->group, false, &tag);
	strbuf_addf(&tag, "_%s", t->r->version);
	strbuf_addf(&text, "%s%s%s %s", actions[a].text, t->sub ? " " : "", t->sub ? t->sub->name : "", t->r->kind);
	writer_text(w, "description", 3, text.data);
	writer_text(w, "operationId", 5, id.data);
	writer_texts(w, "tags", 1, (const char *const[]){ tag.data, NULL });
	if (a == A_PATCH && !writer_is_v3(w))
		writer_texts(w, "consumes", 7, patch_media);
	write_parameters(w, t, a);
	write_responses(w, t, a);
	snprintf(gvk, sizeof(gvk), "\"%s\"", actions[a].action);
	writer_extension(w, 13, "x-kubernetes-action", gvk);
	snprintf(gvk, sizeof(gvk), "{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}",
		 t->sub ? t->sub->group : t->r->group, t->sub ? t->sub->kind : t->r->kind,
		 t->sub ? t->sub->version : t->r->version);
	writer_extension(w, 13, "x-kubernetes-group-version-kind", gvk);
	writer_close(w, at);
}

static void write_path_parameters(struct writer *w, bool name, bool namespace)
{
	if (!name && !namespace)
		return;
	writer_list(w, "parameters");
	if (name)
		plain_parameter(w, 9, "name", "string", true);
	if (namespace)
		plain_parameter(w, 9, "namespace", "string", true);
	writer_list_end(w);
}

/* "/apis/apps/v1/namespaces/{namespace}/deployments". */
static void collection_path(const struct schema_resource *r, bool in_namespace, char out[static PATH_SIZE])
{
	char gv[96];

	snprintf(out, PATH_SIZE, "%s%s%s/%s", *r->group ? "/apis/" : "/api/",
		 schema_api_version(r->group, r->version, gv), in_namespace ? "/namespaces/{namespace}" : "",
		 r->plural);
}

static void write_collection(struct writer *w, const struct schema_resource *r)
{
	struct route t = { .r = r, .in_namespace = r->namespaced };
	struct writer_entry e;
	char path[PATH_SIZE];

	collection_path(r, r->namespaced, path);
	e = writer_entry(w, path, 2);
	if (r->verbs & VERB_LIST)
		write_operation(w, &t, A_LIST, M_GET);
	if (r->verbs & VERB_CREATE)
		write_operation(w, &t, A_CREATE, M_POST);
	if (r->verbs & VERB_DELETECOLLECTION)
		write_operation(w, &t, A_DELETE_COLLECTION, M_DELETE);
	write_path_parameters(w, false, r->namespaced);
	writer_entry_end(w, e);
	if (!r->namespaced || !(r->verbs & VERB_LIST))
		return;
	t.in_namespace = false;
	collection_path(r, false, path);
	e = writer_entry(w, path, 2);
	write_operation(w, &t, A_LIST_ALL, M_GET);
	writer_entry_end(w, e);
}

/* The object itself, or a subresource of it. */
static void write_item(struct writer *w, const struct schema_resource *r, const struct schema_subresource *sub)
{
	static const enum action of_method[] = {
		[M_GET] = A_GET, [M_PUT] = A_PUT, [M_POST] = A_CREATE, [M_DELETE] = A_DELETE, [M_PATCH] = A_PATCH,
	};
	struct route t = { .r = r, .sub = sub, .in_namespace = r->namespaced };
	uint8_t verbs = sub ? sub->verbs : r->verbs & ~VERB_CREATE;
	char collection[PATH_SIZE], path[2 * PATH_SIZE];
	struct writer_entry e;

	if (!(verbs & (VERB_GET | VERB_UPDATE | VERB_CREATE | VERB_DELETE | VERB_PATCH)))
		return;
	collection_path(r, r->namespaced, collection);
	snprintf(path, sizeof(path), "%s/{name}%s%s", collection, sub ? "/" : "", sub ? sub->name : "");
	e = writer_entry(w, path, 2);
	for (enum method m = 0; m < M_MAX; m++)
		if (verbs & methods[m].verb)
			write_operation(w, &t, is_connect(sub) ? A_CONNECT : of_method[m], m);
	write_path_parameters(w, true, r->namespaced);
	writer_entry_end(w, e);
}

static bool is_wanted(const struct schema_resource *r, const char *group_version)
{
	char gv[96];

	return !group_version || str_eq(schema_api_version(r->group, r->version, gv), group_version);
}

void openapi_paths(struct writer *w, const char *group_version)
{
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);

		if (!is_wanted(r, group_version))
			continue;
		write_collection(w, r);
		write_item(w, r, NULL);
		for (uint8_t j = 0; j < r->subresource_count; j++)
			write_item(w, r, &r->subresources[j]);
	}
}

void openapi_paths_reach(struct message_set *set, const char *group_version)
{
	static const char *const always[] = { META "Patch", META "DeleteOptions", META "Status", META "WatchEvent",
					      META "APIResourceList" };

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		openapi_reach(set, schema_message_by_name(always[i]));
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);

		if (!is_wanted(r, group_version))
			continue;
		openapi_reach(set, r->message);
		openapi_reach(set, r->list_message);
		for (uint8_t j = 0; j < r->subresource_count; j++) {
			const struct schema_subresource *s = &r->subresources[j];

			if (!is_connect(s) && !is_log(s))
				openapi_reach(set, schema_kind_find_gvk(s->group, s->version, s->kind)->message);
		}
	}
}
