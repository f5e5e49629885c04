// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a request to a call: identity, URL, form, authorization, in upstream's order, then the resource's verb or one of the
 * documents. Every refusal is a Status.
 */
#include "apiserver/http/handler.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/audit/audit.h"
#include "apiserver/auth/authn.h"
#include "apiserver/auth/authz.h"
#include "apiserver/auth/token.h"
#include "apiserver/http/health.h"
#include "apiserver/http/inflight.h"
#include "apiserver/http/proxy.h"
#include "apiserver/http/tunnel.h"
#include "apiserver/metrics/measure.h"
#include "apiserver/openapi/openapi.h"
#include "apiserver/validate/validate.h"
#include "apiserver/version.h"
#include "base/clock.h"
#include "base/log.h"

void handler_refused(int status, const char *why, struct strbuf *body, const char **content_type, void *user)
{
	const char *reason = status == 413 ? "RequestEntityTooLarge" : status == 408 ? "Timeout" :
			     status == 429 ? "TooManyRequests" : status == 503 ? "ServiceUnavailable" : status >= 500 ? "InternalError" : "BadRequest";
	_cleanup_json_ json_t *s = status == 413 ? status_new(413, reason, "Request entity too large: limit is %d", HANDLER_MAX_BODY)
						 : status_new(status, reason, "%s", why);
	(void)user;
	json_write(body, s);
	*content_type = "application/json";
}

static void on_close(struct http_request *req, void *user)
{
	struct call *c = user;
	(void)req;
	c->req = NULL;
	call_unref(c);
}

void call_attach(struct call *c, struct http_request *req)
{
	c->req = req;
	http_set_user(req, c, on_close);
}

static const char *content_type_of(struct arena *a, const struct http_request *req)
{
	const char *raw = http_header(req, "Content-Type");
	size_t len = raw ? strcspn(raw, ";") : 0;
	while (len && isspace((unsigned char)raw[len - 1]))
		len--;
	char *t = arena_strndup(a, raw ? raw : "", len);
	for (char *p = t; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return t;
}

static struct call *call_new(struct registry *g, struct http_request *req)
{
	struct call *c = mem_new(struct call);
	const char *agent = http_header(req, "User-Agent"), *audit = http_header(req, "Audit-ID");
	c->refs = 1;
	c->g = g;
	c->arena = arena_new();
	c->method = str_eq(http_method(req), "HEAD") ? "GET" : arena_strdup(c->arena, http_method(req));
	c->user_agent = arena_strdup(c->arena, agent ? agent : "");
	c->body = http_body(req, &c->body_len);
	c->content_type = content_type_of(c->arena, req);
	c->start_ns = clock_mono_ns();
	rand_uuid(c->audit_id);
	if (audit && strlen(audit) < sizeof(c->audit_id)) {
		bool plain = *audit != '\0';
		for (const char *p = audit; *p; p++)
			plain = plain && (isalnum((unsigned char)*p) || *p == '-');
		if (plain)
			memcpy(c->audit_id, audit, strlen(audit) + 1);
	}
	call_attach(c, req);
	return c;
}

/* Documents and probes */

static bool has_header_value(const char *header, const char *value)
{
	return header && (str_eq(header, "*") || strstr(header, value));
}

static void answer_document(struct call *c, const struct document *d, const char *content_type)
{
	struct http_field fields[ANSWER_MAX_FIELDS];
	char etag[80];
	size_t n;
	struct http_request *req = c->req;
	const char *match = http_header(req, "If-None-Match");
	snprintf(etag, sizeof(etag), "\"%s\"", d->etag);
	c->req = NULL;
	n = answer_fields(c, content_type, fields);
	fields[n++] = (struct http_field){ "ETag", etag };
	fields[n++] = (struct http_field){ "Vary", "Accept" };
	if (has_header_value(match, etag)) {
		answer_count(c, 304);
		http_respond(req, 304, fields, n, NULL, 0);
		return;
	}
	answer_count(c, 200);
	http_respond_bytes(req, 200, fields, n, d->body);
}

/* Which of the discovery forms: aggregated when it is asked for before plain JSON. */
static bool wants_aggregated(struct call *c)
{
	struct accept_clause clauses[16];
	size_t n = accept_parse(c->arena, http_header(c->req, "Accept"), clauses, ARRAY_SIZE(clauses));
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(clauses[i].type, "application/json"))
			continue;
		if (str_eq(clauses[i].as, "APIGroupDiscoveryList") && str_eq(clauses[i].g, "apidiscovery.k8s.io") &&
		    str_eq(clauses[i].v, "v2"))
			return true;
		if (!*clauses[i].as)
			return false;
	}
	return false;
}

#define DISCOVERY_TYPE "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#define OPENAPI_PROTO_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

static bool wants_openapi_proto(struct call *c)
{
	struct accept_clause clauses[16];
	size_t n = accept_parse(c->arena, http_header(c->req, "Accept"), clauses, ARRAY_SIZE(clauses));
	for (size_t i = 0; i < n; i++) {
		if (str_starts(clauses[i].type, "application/com.github.proto-openapi.spec.v2"))
			return true;
		if (str_eq(clauses[i].type, "application/json") || str_eq(clauses[i].type, "*/*"))
			return false;
	}
	return false;
}

/* A discovery document as YAML or protobuf is made from its JSON. */
static void answer_discovery(struct call *c, const struct document *d)
{
	if (c->out.format == MEDIA_JSON) {
		answer_document(c, d, "application/json");
		return;
	}
	json_t *v = json_parse(d->body->data, d->body->len, NULL, NULL);
	/* Some have no apiVersion in JSON, as upstream's; a protobuf envelope needs one. */
	if (!json_object_get(v, "apiVersion"))
		json_object_set_new(v, "apiVersion", json_string("v1"));
	answer_value(c, 200, v);
}

static bool serve_discovery(struct call *c)
{
	const char *path = c->u.path, *rest;
	const struct document *d = NULL;
	if (str_eq(path, "/api") || str_eq(path, "/apis")) {
		bool core = str_eq(path, "/api");
		if (wants_aggregated(c)) {
			answer_document(c, discovery_aggregated(core), DISCOVERY_TYPE);
			return true;
		}
		_cleanup_free_ char *server = str_printf("%s:%u", c->g->options.advertise_address, c->g->options.port);
		d = core ? discovery_api_versions(server) : discovery_group_list();
	} else if ((rest = str_after(path, "/api/")) && !strchr(rest, '/')) {
		d = discovery_resources(rest);
	} else if ((rest = str_after(path, "/apis/"))) {
		const char *slash = strchr(rest, '/');
		if (!slash)
			d = discovery_group(rest);
		else if (!strchr(slash + 1, '/'))
			d = discovery_resources(rest);
	}
	if (d)
		answer_discovery(c, d);
	return d != NULL;
}

/* OpenAPI v3 has a JSON form only: who takes nothing else is told so, and does not have to guess from the bytes. */
static bool accepts_json(struct call *c)
{
	const char *accept = http_header(c->req, "Accept");
	struct accept_clause clauses[16];
	size_t n = accept_parse(c->arena, accept, clauses, ARRAY_SIZE(clauses));
	for (size_t i = 0; i < n; i++)
		if (str_eq(clauses[i].type, "application/json") || str_eq(clauses[i].type, "*/*") || str_eq(clauses[i].type, "application/*"))
			return true;
	return str_empty(accept);
}

static bool serve_openapi(struct call *c)
{
	const char *rest;
	const struct document *d;
	if (str_eq(c->u.path, "/openapi/v2")) {
		bool proto = wants_openapi_proto(c);
		answer_document(c, proto ? openapi_v2_proto() : openapi_v2_json(), proto ? OPENAPI_PROTO_TYPE : "application/json");
		return true;
	}
	if (str_eq(c->u.path, "/openapi/v3")) {
		answer_document(c, openapi_v3_index(), "application/json");
		return true;
	}
	rest = str_after(c->u.path, "/openapi/v3/");
	d = rest ? openapi_v3(rest) : NULL;
	if (d && !accepts_json(c))
		answer_status(c, status_new(406, "NotAcceptable", "only the following media types are accepted: application/json"));
	else if (d)
		answer_document(c, d, "application/json");
	return d != NULL;
}

static void serve_metrics(struct call *c)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	measure_write(c->g, &b);
	answer_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", b.data);
}

static void serve_version(struct call *c)
{
	answer_text(c, 200, "application/json", VERSION_JSON);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void serve_index(struct call *c)
{
	static const char *const paths[] = { "/api", "/api/v1", "/apis", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/version" };
	_cleanup_strlist_ struct strlist all = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		strlist_add(&all, paths[i]);
	health_paths(&all);
	qsort(all.items, all.count, sizeof(*all.items), by_text);
	json_t *list = json_array();
	for (size_t i = 0; i < all.count; i++)
		json_array_append_new(list, json_string(all.items[i]));
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_json_ json_t *v = json_pack("{s:o}", "paths", list);
	json_write(&b, v);
	answer_text(c, 200, "application/json", b.data);
}

static void serve_path(struct call *c)
{
	const char *path = c->u.path;
	if (!str_eq(c->method, "GET")) {
		answer_status(c, status_method_not_allowed(NULL));
		return;
	}
	if (health_serve(c))
		return;
	if (str_eq(path, "/version"))
		serve_version(c);
	else if (str_eq(path, "/metrics"))
		serve_metrics(c);
	else if (str_eq(path, "/"))
		serve_index(c);
	else if (token_serve_discovery(c, path))
		return;
	else if (!serve_discovery(c) && !serve_openapi(c))
		answer_text(c, 404, "text/plain; charset=utf-8", "404 page not found\n");
}

/* Authorization */

static bool is_public(const struct call *c)
{
	static const char *const paths[] = { "/healthz", "/livez", "/readyz", "/version" };
	for (size_t i = 0; i < ARRAY_SIZE(paths) && !c->u.is_resource; i++)
		if (str_eq(c->u.path, paths[i]))
			return true;
	return false;
}

/* The name that a list or watch is limited to by its field selector; "" when it is not. */
static const char *selected_name(struct call *c)
{
	const char *selector = query_get(&c->q, "fieldSelector");
	_cleanup_strlist_ struct strlist parts = { 0 };
	if (*c->u.name || !selector || (c->u.verb != API_LIST && c->u.verb != API_WATCH))
		return c->u.name;
	strlist_split(&parts, selector, ',');
	for (size_t i = 0; i < parts.count; i++) {
		const char *name = str_after(parts.items[i], "metadata.name=");
		if (name)
			return arena_strdup(c->arena, name + (*name == '='));
	}
	return c->u.name;
}

static json_t *authorize(struct call *c)
{
	char verb[16];
	size_t i;
	const char *reason = "";
	bool allowed;
	if (is_public(c)) {
		audit_authorized(c, true, reason);
		return NULL;
	}
	for (i = 0; c->method[i] && i < sizeof(verb) - 1; i++)
		verb[i] = (char)tolower((unsigned char)c->method[i]);
	verb[i] = '\0';
	struct authz_attributes a = { .is_resource = c->u.is_resource, .verb = c->u.is_resource ? api_verb_name(c->u.verb) : verb,
		.group = c->u.group, .version = c->u.version, .resource = c->u.plural, .subresource = c->u.sub, .ns = c->u.ns,
		.name = selected_name(c), .path = c->u.path, .field_selector = query_get(&c->q, "fieldSelector") };
	allowed = authz_allowed(c->g, &c->user, &a, &reason);
	audit_authorized(c, allowed, reason);
	if (allowed)
		return NULL;
	if (!a.is_resource)
		return status_new(403, "Forbidden", "forbidden: User \"%s\" cannot %s path \"%s\"", c->user.name, verb, a.path);
	_cleanup_strbuf_ struct strbuf text = { 0 };
	strbuf_addf(&text, "User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\" ", c->user.name, a.verb, a.resource,
		    *a.subresource ? "/" : "", a.subresource, a.group);
	if (*a.ns)
		strbuf_addf(&text, "in the namespace \"%s\"", a.ns);
	else
		strbuf_adds(&text, "at the cluster scope");
	struct schema_resource named = { .plural = a.resource, .group = a.group };
	return status_forbidden(&named, a.name, text.data);
}

/* Options all verbs share */

static json_t *read_options(struct call *c)
{
	const char *dry = query_get(&c->q, "dryRun"), *fv = query_get(&c->q, "fieldValidation");
	const char *kind = c->u.verb == API_CREATE ? "CreateOptions" : c->u.verb == API_PATCH ? "PatchOptions" : "UpdateOptions";
	struct field_errors e = { 0 };
	json_t *status = NULL;
	if (!str_empty(dry) && !str_eq(dry, "All"))
		field_errors_add(&e, "FieldValueNotSupported", mem_strdup("dryRun"),
				 "Unsupported value: [\"%s\"]: supported values: \"All\"", dry);
	c->dry_run = !str_empty(dry);
	if (str_eq(fv, "Strict"))
		c->field_validation = FIELD_VALIDATION_STRICT;
	else if (str_eq(fv, "Ignore"))
		c->field_validation = FIELD_VALIDATION_IGNORE;
	else if (str_empty(fv) || str_eq(fv, "Warn"))
		c->field_validation = FIELD_VALIDATION_WARN;
	else
		field_errors_add(&e, "FieldValueNotSupported", mem_strdup("fieldValidation"),
				 "Unsupported value: \"%s\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"", fv);
	const char *manager = query_get(&c->q, "fieldManager");
	if (manager && strlen(manager) > 128)
		field_errors_add(&e, "FieldValueTooLong", mem_strdup("fieldManager"), "Too long: may not be more than 128 bytes");
	bool apply = c->u.verb == API_PATCH && str_eq(c->content_type, "application/apply-patch+yaml");
	if (apply && str_empty(manager))
		field_errors_add(&e, "FieldValueRequired", mem_strdup("fieldManager"), "Required value: is required for apply patch");
	if (c->u.verb == API_PATCH && !apply && query_get(&c->q, "force"))
		field_errors_add(&e, "FieldValueForbidden", mem_strdup("force"), "Forbidden: may not be specified for non-apply patch");
	if (e.count)
		status = field_errors_status(&e, "meta.k8s.io", kind, "");
	field_errors_done(&e);
	return status;
}

static uint8_t verb_bit(enum api_verb verb)
{
	static const uint8_t bits[API_VERB_MAX] = { VERB_GET, VERB_LIST, VERB_WATCH, VERB_CREATE, VERB_UPDATE, VERB_PATCH,
		VERB_DELETE, VERB_DELETECOLLECTION };
	return bits[verb];
}

static json_t *no_such_resource(void)
{
	json_t *s = status_new(404, "NotFound", "the server could not find the requested resource");
	json_object_set_new(s, "details", json_object());
	return s;
}

static bool is_api_method(const char *method)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (str_eq(method, methods[i]))
			return true;
	return false;
}

/* Finds what the URL names and whether it knows the verb. */
static json_t *resolve(struct call *c)
{
	bool proxied = str_eq(c->u.sub, "proxy") && (str_eq(c->method, "HEAD") || str_eq(c->method, "OPTIONS"));
	if (!is_api_method(c->method) && !proxied)
		return status_method_not_allowed(NULL);
	c->r = schema_resource_find(c->u.group, c->u.version, c->u.plural);
	if (!c->r)
		return no_such_resource();
	c->storage = entry_storage(c->r);
	/* Namespaces themselves are addressed below /namespaces/NAME. */
	bool is_ns = c->storage == c->g->namespaces;
	if (*c->u.ns && !c->r->namespaced && !is_ns)
		return no_such_resource();
	if (c->r->namespaced && !*c->u.ns && (*c->u.name || c->u.verb == API_CREATE)) {
		if (c->u.verb == API_CREATE && !*c->u.name && c->r->list_message)
			return status_bad_request("an empty namespace may not be set during creation");
		return no_such_resource();
	}
	if (*c->u.sub && c->u.watch_path)
		return no_such_resource();
	if (*c->u.sub) {
		c->sub = schema_subresource_find(c->r, c->u.sub);
		if (!c->sub || (*c->u.rest && !str_eq(c->sub->name, "proxy")))
			return no_such_resource();
		if (!(c->sub->verbs & verb_bit(c->u.verb)) && !str_eq(c->u.sub, "proxy"))
			return status_method_not_allowed(c->r);
		return NULL;
	}
	if (c->u.watch_path && c->u.verb != API_WATCH)
		return status_method_not_allowed(c->r);
	bool of_name = c->u.verb == API_UPDATE || c->u.verb == API_PATCH;
	if (!(c->r->verbs & verb_bit(c->u.verb)) || (c->u.verb == API_CREATE && *c->u.name) || (of_name && !*c->u.name))
		return status_method_not_allowed(c->r);
	return NULL;
}

/* Kinds that upstream warns of whenever they are used. */
static void warn_deprecated(struct call *c)
{
	if (resource_is(c->r, "", "endpoints"))
		call_warn(c, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
	else if (resource_is(c->r, "", "componentstatuses"))
		call_warn(c, "v1 ComponentStatus is deprecated in v1.19+");
}

static enum media_use media_use_of(const struct call *c)
{
	if (!c->u.is_resource || c->u.verb == API_DELETECOLLECTION)
		return MEDIA_FOR_ANY;
	if (c->u.verb == API_WATCH || c->u.verb == API_LIST)
		return c->u.verb == API_WATCH ? MEDIA_FOR_WATCH : MEDIA_FOR_LIST;
	const struct schema_resource *r = schema_resource_find(c->u.group, c->u.version, c->u.plural);
	return r && !r->list_message ? MEDIA_FOR_REVIEW : MEDIA_FOR_OBJECT;
}

/* ?pretty says it; without, the tools that people read with get it. */
static bool wants_pretty(struct call *c)
{
	static const char *const truths[] = { "1", "t", "T", "TRUE", "true", "True" }, *const people[] = { "curl", "Wget", "Mozilla/5.0" };
	const char *asked = query_get(&c->q, "pretty");
	for (size_t i = 0; !str_empty(asked) && i < ARRAY_SIZE(truths); i++)
		if (str_eq(asked, truths[i]))
			return true;
	for (size_t i = 0; str_empty(asked) && i < ARRAY_SIZE(people); i++)
		if (str_starts(c->user_agent, people[i]))
			return true;
	return false;
}

static json_t *negotiate(struct call *c)
{
	enum media_use use = media_use_of(c);
	if (!media_negotiate(http_header(c->req, "Accept"), use, &c->out)) {
		c->out = (struct media){ .format = MEDIA_JSON };
		return status_new(406, "NotAcceptable", "only the following media types are accepted: %s",
				  use == MEDIA_FOR_WATCH ?
					  "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch" :
					  "application/json, application/yaml, application/vnd.kubernetes.protobuf");
	}
	c->out.pretty = c->out.pretty || wants_pretty(c);
	return NULL;
}

/* Who asks, and in whose name. */
static json_t *identify(struct call *c)
{
	int64_t began_ns = clock_mono_ns();
	json_t *refused = authn_request(c);
	const char *asking = c->user.name;
	measure_authentication(refused ? MEASURE_AUTHN_FAILURE : MEASURE_AUTHN_SUCCESS, clock_mono_ns() - began_ns);
	if (!refused)
		measure_user(asking);
	audit_begin(c, !refused);
	if (!refused)
		refused = authn_impersonate(c);
	if (!refused && c->user.name != asking)
		audit_impersonated(c);
	return refused;
}

static void dispatch(struct call *c);

static void resume(void *call)
{
	struct call *c = call;
	if (c->req)
		dispatch(c);
	call_unref(c);
}

/* Near the limit of memory only what costs next to none, or gives some back, is still done. */
static json_t *spare_memory(struct call *c)
{
	if (!http_server_pressed(c->g->http) || !c->u.is_resource || c->u.verb == API_DELETE || c->u.verb == API_GET)
		return NULL;
	json_t *s = status_new(429, "TooManyRequests", "the server is short of memory, try again later");
	status_set_retry(s, 1);
	return s;
}

static void dispatch(struct call *c)
{
	if (authn_waits(c, resume))
		return;
	json_t *status = NULL;
	int rc = query_parse(c->arena, http_query(c->req), &c->q);
	if (!rc)
		rc = url_info_parse(c->arena, c->method, http_path(c->req), &c->q, &c->u);
	if (rc) {
		c->u.path = "/";
		answer_status(c, rc == -E2BIG ? status_bad_request("too many query parameters")
					      : status_bad_request("the URL is not correctly escaped"));
		return;
	}
	/* Documents have media types of their own; for them Accept only picks among those. */
	status = negotiate(c);
	if (status && (!c->u.is_resource || str_eq(c->u.sub, "proxy"))) {
		json_decref(status);
		status = NULL;
	}
	json_t *refused = identify(c);
	if (!refused)
		refused = inflight_begin(c);
	if (!refused)
		refused = spare_memory(c);
	if (!refused)
		refused = authorize(c);
	if (refused) {
		json_decref(status);
		status = refused;
	}
	if (!status && c->u.is_resource)
		status = resolve(c);
	if (!status && c->u.is_resource)
		warn_deprecated(c);
	if (!status && c->u.is_resource && c->u.verb >= API_CREATE && !proxy_wants(c))
		status = read_options(c);
	if (!status)
		audit_request(c);
	if (!status && inflight_is_longrunning(c))
		measure_longrunning_begin(c);
	if (status)
		answer_status(c, status);
	else if (!c->u.is_resource)
		serve_path(c);
	else if (tunnel_wants(c))
		tunnel_start(c);
	else if (proxy_wants(c))
		proxy_start(c);
	else
		registry_handle(c);
}

void handler_request(struct http_request *req, void *registry)
{
	struct registry *g = registry;
	struct call *c = call_new(g, req);
	log_debug("%s %s", http_method(req), http_path(req));
	/* The request may be over, and with it its reference, before dispatch() returns. */
	call_ref(c);
	if (g->options.goaway_chance > 0 && http_is_h2(req) && (double)random() / RAND_MAX < g->options.goaway_chance)
		http_retire(req);
	if (g->stopping)
		answer_status(c, status_new(503, "ServiceUnavailable", "the server is shutting down"));
	else
		dispatch(c);
	call_unref(c);
}
