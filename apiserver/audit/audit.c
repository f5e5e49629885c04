// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Events of the audit log. They are written as text, field by field in upstream's order, since the larger part of one (URI, agent,
 * objects) is text already. What always holds: a call's ResponseComplete comes once and last.
 */
#include "apiserver/audit/audit.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "apiserver/http/form.h"
#include "apiserver/registry/registry.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "kube/codec.h"

enum { MAX_SOURCES = 16 };

struct audit {
	struct audit_policy *policy;
	struct audit_log *log;
};

/* Lives in the call's arena; its buffers are freed by audit_end(). */
struct audit_entry {
	struct audit_verdict verdict;
	const char *uri, *verb, *peer, *forwarded, *real_ip, *name;
	struct identity user;
	bool known, impersonated, decided, allowed, started, complete;
	const char *reason;
	int code;
	int64_t received_us;
	struct strbuf request, response, status; /* JSON text */
	struct strbuf annotations;   /* "key":"value" pairs of plugins, each with a comma before it */
};

struct audit *audit_new(struct audit_policy *policy, struct audit_log *log)
{
	struct audit *a = mem_new(struct audit);
	*a = (struct audit){ policy, log };
	return a;
}

struct audit *audit_free(struct audit *a)
{
	if (!a)
		return NULL;
	audit_policy_free(a->policy);
	audit_log_close(a->log);
	free(a);
	return NULL;
}

/* Text */

/* A string that a client chose: what is no UTF-8 would make the line no JSON. */
static void add_text(struct strbuf *b, const char *s)
{
	json_t *v = json_string(s);
	if (v) {
		strbuf_add_json(b, s, strlen(s));
		json_decref(v);
		return;
	}
	_cleanup_free_ char *plain = mem_strdup(s);
	for (char *p = plain; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	strbuf_add_json(b, plain, strlen(plain));
}

static void add_member(struct strbuf *b, const char *name, const char *value)
{
	if (str_empty(value))
		return;
	if (b->data[b->len - 1] != '{')
		strbuf_addc(b, ',');
	strbuf_addf(b, "\"%s\":", name);
	add_text(b, value);
}

/* The values of one key stand together, where its first is. */
static void add_extra(struct strbuf *b, const struct identity *u)
{
	bool first = true;
	for (size_t i = 0; u->extra_keys && u->extra_keys[i]; i++) {
		bool seen = false;
		for (size_t k = 0; k < i; k++)
			seen |= str_eq(u->extra_keys[k], u->extra_keys[i]);
		if (seen)
			continue;
		strbuf_adds(b, first ? ",\"extra\":{" : ",");
		first = false;
		add_text(b, u->extra_keys[i]);
		strbuf_adds(b, ":[");
		add_text(b, u->extra_values[i]);
		for (size_t k = i + 1; u->extra_keys[k]; k++)
			if (str_eq(u->extra_keys[k], u->extra_keys[i])) {
				strbuf_addc(b, ',');
				add_text(b, u->extra_values[k]);
			}
		strbuf_addc(b, ']');
	}
	if (!first)
		strbuf_addc(b, '}');
}

static void add_user(struct strbuf *b, const char *field, const struct identity *u)
{
	strbuf_addf(b, ",\"%s\":{", field);
	add_member(b, "username", u->name);
	add_member(b, "uid", u->uid);
	for (size_t i = 0; u->groups[i]; i++) {
		strbuf_adds(b, i ? "," : ",\"groups\":[");
		add_text(b, u->groups[i]);
		if (!u->groups[i + 1])
			strbuf_addc(b, ']');
	}
	add_extra(b, u);
	strbuf_addc(b, '}');
}

/* Where the request came through, the client first, as the proxies on the way say; last who sent it to us. */
static void add_sources(struct strbuf *b, const struct audit_entry *e)
{
	_cleanup_strlist_ struct strlist hops = { 0 };
	const char *last = NULL;
	size_t n = 0;
	strlist_split(&hops, e->forwarded, ',');
	strlist_add(&hops, e->real_ip);
	strlist_add(&hops, e->peer);
	strbuf_adds(b, ",\"sourceIPs\":[");
	for (size_t i = hops.count > MAX_SOURCES ? hops.count - MAX_SOURCES : 0; i < hops.count; i++) {
		struct ip_addr ip;
		char *s = hops.items[i] + strspn(hops.items[i], " ");
		s[strcspn(s, " ")] = '\0';
		if (ip_parse(s, &ip) < 0 || (i >= hops.count - 2 && str_eq(s, last)))
			continue;
		strbuf_adds(b, n++ ? "," : "");
		add_text(b, s);
		last = s;
	}
	strbuf_addc(b, ']');
}

static void add_reference(struct strbuf *b, const struct call *c, const struct audit_entry *e)
{
	if (!c->u.is_resource)
		return;
	strbuf_adds(b, ",\"objectRef\":{");
	add_member(b, "resource", c->u.plural);
	add_member(b, "namespace", c->u.ns);
	add_member(b, "name", *c->u.name ? c->u.name : e->name);
	add_member(b, "apiGroup", c->u.group);
	add_member(b, "apiVersion", c->u.version);
	add_member(b, "subresource", c->u.sub);
	strbuf_addc(b, '}');
}

static void add_outcome(struct strbuf *b, const struct audit_entry *e)
{
	if (e->status.len)
		strbuf_addf(b, ",\"responseStatus\":%s", e->status.data);
	else if (e->code)
		strbuf_addf(b, ",\"responseStatus\":{\"metadata\":{},\"code\":%d}", e->code);
	if (e->request.len && e->verdict.level >= AUDIT_REQUEST)
		strbuf_addf(b, ",\"requestObject\":%s", e->request.data);
	if (e->response.len && e->verdict.level >= AUDIT_REQUEST_RESPONSE)
		strbuf_addf(b, ",\"responseObject\":%s", e->response.data);
}

static void add_times(struct strbuf *b, const struct audit_entry *e, int64_t now_us)
{
	char received[CLOCK_RFC3339_MICRO_SIZE], now[CLOCK_RFC3339_MICRO_SIZE];
	clock_format_rfc3339_micro(e->received_us, received);
	clock_format_rfc3339_micro(MAX(now_us, e->received_us), now);
	strbuf_addf(b, ",\"requestReceivedTimestamp\":\"%s\",\"stageTimestamp\":\"%s\"", received, now);
}

static void emit(struct call *c, enum audit_stage stage)
{
	const struct audit_entry *e = c->audit;
	_cleanup_strbuf_ struct strbuf b = { 0 };
	if (e->verdict.omit_stages & (1U << stage))
		return;
	strbuf_addf(&b, "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"%s\",\"auditID\":\"%s\",\"stage\":\"%s\"",
		    audit_level_name(e->verdict.level), c->audit_id, audit_stage_name(stage));
	add_member(&b, "requestURI", e->uri);
	add_member(&b, "verb", e->verb);
	if (e->known)
		add_user(&b, "user", &e->user);
	else
		strbuf_adds(&b, ",\"user\":{}");
	if (e->impersonated)
		add_user(&b, "impersonatedUser", &c->user);
	add_sources(&b, e);
	add_member(&b, "userAgent", c->user_agent);
	add_reference(&b, c, e);
	if (stage != AUDIT_RECEIVED)
		add_outcome(&b, e);
	add_times(&b, e, clock_wall_us());
	if (e->decided) {
		strbuf_addf(&b, ",\"annotations\":{\"authorization.k8s.io/decision\":\"%s\",\"authorization.k8s.io/reason\":",
			    e->allowed ? "allow" : "forbid");
		add_text(&b, e->reason);
		strbuf_add(&b, e->annotations.data, e->annotations.len);
		strbuf_addc(&b, '}');
	}
	strbuf_adds(&b, "}\n");
	if (audit_log_add(c->g->audit->log, b.data, b.len))
		metrics_counter_add("apiserver_audit_event_total", "[ALPHA] Counter of audit events generated and sent to the audit backend.", NULL, 1);
}

/* The steps */

static const char *verb_of(struct call *c)
{
	if (c->u.is_resource)
		return api_verb_name(c->u.verb);
	char *verb = arena_strdup(c->arena, c->method);
	for (char *p = verb; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return verb;
}

/* "192.0.2.1:4711", "[fd00::1]:4711" without the port. */
static const char *peer_ip(struct call *c)
{
	char *s = arena_strdup(c->arena, http_peer_address(c->req)), *colon = strrchr(s, ':');
	if (colon)
		*colon = '\0';
	if (*s == '[') {
		s++;
		s[strcspn(s, "]")] = '\0';
	}
	return s;
}

static const char *header_of(struct call *c, const char *name)
{
	const char *value = http_header(c->req, name);
	return arena_strdup(c->arena, value ? value : "");
}

void audit_begin(struct call *c, bool known)
{
	const struct audit *a = c->g->audit;
	if (!a)
		return;
	const char *verb = verb_of(c), *query = http_query(c->req);
	const struct audit_subject s = { .user = known ? &c->user : NULL, .verb = verb, .is_resource = c->u.is_resource,
		.group = c->u.group, .resource = c->u.plural, .subresource = c->u.sub, .ns = c->u.ns, .name = c->u.name,
		.path = c->u.path };
	const struct audit_verdict v = audit_policy_judge(a->policy, &s);
	if (v.level == AUDIT_NONE)
		return;
	struct audit_entry *e = arena_alloc(c->arena, sizeof(*e));
	*e = (struct audit_entry){ .verdict = v, .verb = verb, .user = c->user, .known = known, .reason = "",
		.uri = arena_printf(c->arena, "%s%s%s", http_path(c->req), *query ? "?" : "", query), .peer = peer_ip(c),
		.forwarded = header_of(c, "X-Forwarded-For"), .real_ip = header_of(c, "X-Real-Ip"),
		.received_us = clock_wall_us() - (clock_mono_ns() - c->start_ns) / 1000 };
	c->audit = e;
	emit(c, AUDIT_RECEIVED);
}

void audit_impersonated(struct call *c)
{
	if (c->audit)
		c->audit->impersonated = true;
}

void audit_authorized(struct call *c, bool allowed, const char *reason)
{
	struct audit_entry *e = c->audit;
	if (!e)
		return;
	e->decided = true;
	e->allowed = allowed;
	e->reason = arena_strdup(c->arena, reason ? reason : "");
}

void audit_annotate(struct call *c, const char *key, const char *value)
{
	struct audit_entry *e = c ? c->audit : NULL;
	if (!e || e->complete)
		return;
	strbuf_addf(&e->annotations, ",\"%s\":", key);
	add_text(&e->annotations, value);
}

static void drop_managed(json_t *v)
{
	size_t i;
	json_t *item;
	json_unset(v, "metadata.managedFields");
	json_array_foreach(json_object_get(v, "items"), i, item)
		json_unset(item, "metadata.managedFields");
}

/* Keeps a value (own) as text. */
static void keep(const struct audit_entry *e, struct strbuf *to, json_t *v)
{
	if (v && e->verdict.omit_managed_fields)
		drop_managed(v);
	strbuf_reset(to);
	if (v)
		json_write(to, v);
	json_decref(v);
}

static json_t *body_of(const struct call *c)
{
	if (codec_is_proto(c->body, c->body_len))
		return codec_envelope_decode(c->body, c->body_len, NULL, NULL);
	if (strstr(c->content_type, "yaml"))
		return yaml_parse_peer(c->body, c->body_len, NULL);
	return json_parse_peer(c->body, c->body_len, NULL, NULL);
}

void audit_request(struct call *c)
{
	struct audit_entry *e = c->audit;
	bool writes = c->u.is_resource && c->u.verb >= API_CREATE;
	if (!e || e->verdict.level < AUDIT_REQUEST || !writes || !c->body_len)
		return;
	json_t *v = body_of(c);
	if (v && json_is_object(v)) {
		const char *name = json_str(v, "metadata.name");
		e->name = name ? arena_strdup(c->arena, name) : NULL;
	}
	keep(e, &e->request, v);
}

/* What is told of a Status at every level: its bounded fields. */
static void keep_status(struct audit_entry *e, const json_t *value)
{
	static const char *const fields[] = { "metadata", "status", "message", "reason", "details", "code" };
	_cleanup_json_ json_t *kept = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		json_t *v = json_object_get(value, fields[i]);
		if (v)
			json_object_set(kept, fields[i], v);
	}
	strbuf_reset(&e->status);
	json_write(&e->status, kept);
}

void audit_response_value(struct call *c, const json_t *value)
{
	struct audit_entry *e = c->audit;
	if (!e)
		return;
	if (str_eq(json_string_value(json_object_get(value, "kind")), "Status"))
		keep_status(e, value);
	if (e->verdict.level >= AUDIT_REQUEST_RESPONSE)
		keep(e, &e->response, e->verdict.omit_managed_fields ? json_deep_copy(value) : json_incref((json_t *)value));
}

static void keep_text(struct audit_entry *e, const char *text, size_t len)
{
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	if (e->verdict.omit_managed_fields) {
		keep(e, &e->response, json_parse(text, len, NULL, NULL));
		return;
	}
	strbuf_reset(&e->response);
	strbuf_add(&e->response, text, len);
	/* Line breaks of a pretty answer: in strings they are escaped. */
	for (size_t i = 0; i < e->response.len; i++)
		if (e->response.data[i] == '\n')
			e->response.data[i] = ' ';
}

/* The name of a new object is known now. */
static void note_identity(struct call *c, struct store_object *o)
{
	struct audit_entry *e = c->audit;
	if (*c->u.name || str_empty(entry_name(o)) || !str_empty(e->name) || c->u.verb != API_CREATE)
		return;
	e->name = arena_strdup(c->arena, entry_name(o));
}

void audit_response_object(struct call *c, const struct watch_form *form, struct store_object *o, const struct bytes *text)
{
	struct audit_entry *e = c->audit;
	if (!e)
		return;
	note_identity(c, o);
	if (e->verdict.level < AUDIT_REQUEST_RESPONSE)
		return;
	if (text) {
		keep_text(e, text->data, text->len);
		return;
	}
	struct watch_form json = *form;
	json.format = MEDIA_JSON;
	_cleanup_(bytes_unrefp) struct bytes *b = form_object(&json, o, o->revision);
	keep_text(e, b->data, b->len);
}

void audit_response_list(struct call *c, const struct watch_form *form, struct store_object *const *objects, size_t count,
			 uint64_t revision)
{
	struct audit_entry *e = c->audit;
	struct watch_form json = *form;
	if (!e || e->verdict.level < AUDIT_REQUEST_RESPONSE)
		return;
	json.format = MEDIA_JSON;
	_cleanup_(bytes_unrefp) struct bytes *b = form_list(&json, objects, count, revision, NULL, -1);
	keep_text(e, b->data, b->len);
}

void audit_started(struct call *c, int code)
{
	struct audit_entry *e = c->audit;
	if (!e || e->started)
		return;
	e->started = true;
	e->code = code;
	emit(c, AUDIT_STARTED);
}

static void complete(struct call *c)
{
	struct audit_entry *e = c->audit;
	if (e->complete)
		return;
	e->complete = true;
	emit(c, AUDIT_COMPLETE);
	strbuf_done(&e->request);
	strbuf_done(&e->response);
	strbuf_done(&e->status);
	strbuf_done(&e->annotations);
}

void audit_answered(struct call *c, int code)
{
	struct audit_entry *e = c->audit;
	if (!e || e->started || e->complete)
		return;
	e->code = code;
	complete(c);
}

void audit_end(struct call *c)
{
	if (c->audit)
		complete(c);
}
