// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Get, list and watch. A list is consistent at one revision: the current one, or an earlier one for as long as the event window
 * can undo what happened since.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/audit/audit.h"
#include "apiserver/http/form.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "base/map.h"

enum { WATCH_MIN_TIMEOUT_S = 1800, WATCH_MAX_TIMEOUT_S = 86400 };

struct list_query {
	bool has_revision, exact, at_least;
	uint64_t revision;
	uint64_t limit;
	const char *token;   /* NULL without */
	bool token_current;  /* the token continues at the current revision (rv -1) */
	const char *start;   /* the last key already given; NULL: from the first */
};

static json_t *too_large(uint64_t asked, uint64_t current)
{
	json_t *s = status_new(504, "Timeout", "Timeout: Too large resource version: %" PRIu64 ", current: %" PRIu64, asked, current);
	status_add_cause(s, "ResourceVersionTooLarge", "Too large resource version", NULL);
	status_set_retry(s, 1);
	return s;
}

static json_t *options_invalid(const char *reason, const char *field, const char *body)
{
	struct field_errors e = { 0 };
	field_errors_add(&e, reason, mem_strdup(field), "%s", body);
	json_t *s = field_errors_status(&e, "meta.k8s.io", "ListOptions", "");
	field_errors_done(&e);
	return s;
}

static json_t *read_revision(const char *text, uint64_t *ret)
{
	if (str_to_u64(text, UINT64_MAX, ret) < 0)
		return status_bad_request("Invalid value: \"%s\": resourceVersion must be a decimal number", text);
	return NULL;
}

/* The rules between resourceVersion, resourceVersionMatch, continue and sendInitialEvents. */
static json_t *check_match(const struct query *q, bool watch)
{
	const char *rv = query_get(q, "resourceVersion"), *match = query_get(q, "resourceVersionMatch");
	const char *initial = query_get(q, "sendInitialEvents");
	if (!str_empty(initial) && !watch)
		return options_invalid("FieldValueForbidden", "sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list");
	if (!str_empty(initial) && !str_eq(match, "NotOlderThan"))
		return options_invalid("FieldValueForbidden", "resourceVersionMatch",
				       "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (str_empty(match))
		return NULL;
	if (watch && str_empty(initial))
		return options_invalid("FieldValueForbidden", "resourceVersionMatch",
				       "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
	if (!watch && str_empty(rv))
		return options_invalid("FieldValueForbidden", "resourceVersionMatch",
				       "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
	if (!str_empty(query_get(q, "continue")))
		return options_invalid("FieldValueForbidden", "resourceVersionMatch",
				       "Forbidden: resourceVersionMatch is forbidden when continue is provided");
	if (!str_eq(match, "Exact") && !str_eq(match, "NotOlderThan"))
		return options_invalid("FieldValueNotSupported", "resourceVersionMatch",
				       "Unsupported value: supported values: \"Exact\", \"NotOlderThan\"");
	if (str_eq(match, "Exact") && str_eq(rv, "0"))
		return options_invalid("FieldValueForbidden", "resourceVersionMatch",
				       "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	return NULL;
}

static json_t *read_token(struct call *c, struct list_query *l)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_json_ json_t *token = NULL;
	const char *start = NULL;
	json_t *rv = NULL;
	if (base64url_decode(&text, l->token, strlen(l->token)) == 0 && text.data)
		token = json_parse(text.data, text.len, NULL, NULL);
	if (json_is_object(token)) {
		start = json_string_value(json_object_get(token, "start"));
		rv = json_object_get(token, "rv");
	}
	if (!start || !json_is_integer(rv) || !str_eq(json_string_value(json_object_get(token, "v")), "meta.k8s.io/v1"))
		return status_bad_request("continue key is not valid: it was not made by this server");
	l->start = arena_strdup(c->arena, start);
	l->token_current = json_integer_value(rv) < 0;
	l->has_revision = l->exact = !l->token_current;
	l->revision = l->token_current ? 0 : (uint64_t)json_integer_value(rv);
	return NULL;
}

static json_t *read_list_query(struct call *c, struct list_query *l)
{
	const char *rv = query_get(&c->q, "resourceVersion"), *match = query_get(&c->q, "resourceVersionMatch");
	const char *limit = query_get(&c->q, "limit");
	json_t *status = check_match(&c->q, false);
	if (status)
		return status;
	*l = (struct list_query){ .token = query_get(&c->q, "continue") };
	if (str_empty(l->token))
		l->token = NULL;
	int64_t count = 0;
	if (!str_empty(limit) && str_to_i64(limit, INT64_MIN, INT64_MAX, &count) < 0)
		return status_bad_request("strconv.ParseInt: parsing \"%s\": invalid syntax", limit);
	l->limit = count > 0 ? (uint64_t)count : 0; /* as upstream: a negative limit is none */
	if (l->token) {
		if (!str_empty(rv) && !str_eq(rv, "0"))
			return status_bad_request("specifying resource version is not allowed when using continue");
		return read_token(c, l);
	}
	if (str_empty(rv) || str_eq(rv, "0"))
		return NULL;
	status = read_revision(rv, &l->revision);
	l->has_revision = true;
	l->exact = str_eq(match, "Exact") || (!match && l->limit);
	l->at_least = !l->exact;
	return status;
}

/* The token for what follows key. rv < 0: at whatever is current then. Own. */
static char *make_token(int64_t rv, const char *key)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct strbuf out = { 0 };
	strbuf_addf(&text, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%" PRId64 ",\"start\":", rv);
	strbuf_add_json(&text, key, strlen(key));
	strbuf_addc(&text, '}');
	base64url_encode(&out, text.data, text.len);
	return strbuf_take(&out);
}

static json_t *expired(const struct list_query *l)
{
	json_t *s;
	if (!l->token)
		return status_new(410, "Expired", "The resourceVersion for the provided list is too old.");
	s = status_new(410, "Expired",
		       "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
		       "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
		       "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
		       "deleted between the time the first chunk was returned and now may show up in the list.");
	_cleanup_free_ char *token = make_token(-1, l->start);
	json_set_str(s, "metadata.continue", token);
	return s;
}

struct objects {
	struct store_object **items;
	size_t count, cap;
};

static void objects_add(struct objects *o, struct store_object *object)
{
	MEM_GROW(o->items, o->cap, o->count + 1);
	o->items[o->count++] = store_object_ref(object);
}

static int by_key(const void *a, const void *b)
{
	return strcmp((*(struct store_object *const *)a)->key, (*(struct store_object *const *)b)->key);
}

static bool in_namespace(const struct filter *f, const struct store_object *o)
{
	size_t len = f->ns ? strlen(f->ns) : 0;
	return !len || (strncmp(o->key, f->ns, len) == 0 && o->key[len] == '/');
}

/* Everything the filter wants, in order, as it was at `revision` (the window reaches back that far). */
static void collect(const struct registry *g, const struct schema_resource *storage, const struct filter *f, uint64_t revision,
		    struct objects *out)
{
	size_t n, at = 0;
	struct store_object **all = store_objects(g->store, storage->id, &n);
	const struct watch_event *since = watch_hub_after(g->hub, storage->id, revision);
	struct map *before = since ? map_new(NULL) : NULL; /* changed since: the state before, or `before` itself for none */
	for (const struct watch_event *e = since; e; e = e->next)
		if (!map_has(before, e->object->key))
			map_set(before, e->object->key, e->old ? (void *)e->old : (void *)before);
	if (f->ns && !since) {
		_cleanup_free_ char *prefix = str_printf("%s/", f->ns);
		at = store_lower_bound(g->store, storage->id, prefix);
	}
	for (; at < n; at++) {
		if (before && map_has(before, all[at]->key))
			continue;
		if (!since && !in_namespace(f, all[at]))
			break;
		if (filter_matches(f, all[at]))
			objects_add(out, all[at]);
	}
	if (!before)
		return;
	const char *key;
	void *value;
	size_t it = 0;
	while (map_next(before, &it, &key, &value))
		if (value != before && filter_matches(f, value))
			objects_add(out, value);
	if (out->count)
		qsort(out->items, out->count, sizeof(*out->items), by_key);
	map_free(before);
}

/* Drops the first `n` and all behind `keep` of what was collected. */
static void slice(struct objects *o, size_t n, size_t keep)
{
	for (size_t i = 0; i < n; i++)
		store_object_unref(o->items[i]);
	if (n)
		memmove(o->items, o->items + n, (o->count - n) * sizeof(*o->items));
	o->count -= n;
	while (o->count > keep)
		store_object_unref(o->items[--o->count]);
}

static size_t skip_to(const struct objects *o, const char *start)
{
	size_t n = 0;
	while (start && n < o->count && strcmp(o->items[n]->key, start) <= 0)
		n++;
	return n;
}

static json_t *compile_filter(struct call *c, struct filter *f)
{
	_cleanup_err_ struct err err = { 0 };
	if (filter_compile(c->r, c->u.ns, NULL, query_get(&c->q, "labelSelector"), query_get(&c->q, "fieldSelector"), f, &err) < 0)
		return err.http_status ? status_from_err(&err) : status_bad_request("%s", err_msg(&err));
	return NULL;
}

void verb_list(struct call *c)
{
	struct registry *g = c->g;
	struct list_query l;
	struct filter f = { 0 };
	struct objects found = { 0 };
	uint64_t current = store_revision(g->store), revision;
	char *token = NULL;
	int64_t remaining = -1;
	json_t *status = read_list_query(c, &l);
	if (!status && l.has_revision && l.revision > current && wait_for_revision(c, l.revision, verb_list))
		return;
	if (!status && l.has_revision && l.revision > current)
		status = too_large(l.revision, current);
	if (!status && l.exact && l.revision < current && l.revision < watch_hub_floor(g->hub, c->storage->id))
		status = expired(&l);
	if (!status)
		status = compile_filter(c, &f);
	if (status) {
		answer_status(c, status);
		return;
	}
	revision = l.exact ? l.revision : current;
	collect(g, c->storage, &f, revision, &found);
	slice(&found, skip_to(&found, l.start), SIZE_MAX);
	if (l.limit && found.count > l.limit) {
		if (!filter_selects(&f))
			remaining = (int64_t)(found.count - l.limit);
		slice(&found, 0, l.limit);
		token = make_token(l.token_current ? -1 : (int64_t)revision, found.items[found.count - 1]->key);
	}
	filter_done(&f);
	answer_list(c, found.items, found.count, revision, token, remaining);
	free(token);
}

void verb_get(struct call *c)
{
	_cleanup_free_ char *key = entry_key(c->storage, c->u.ns, c->u.name);
	const char *rv = query_get(&c->q, "resourceVersion");
	struct store_object *o = store_get(c->g->store, c->storage->id, key);
	json_t *status = NULL;
	uint64_t asked = 0;
	if (!str_empty(rv))
		status = read_revision(rv, &asked);
	if (!status && asked > store_revision(c->g->store) && wait_for_revision(c, asked, verb_get))
		return;
	if (!status && asked > store_revision(c->g->store))
		status = too_large(asked, store_revision(c->g->store));
	if (!status && !o)
		status = status_not_found(c->storage, c->u.name);
	if (status)
		answer_status(c, status);
	else
		answer_object(c, 200, o);
}

/* Watch */

static json_t *read_watch_query(struct call *c, struct watch_options *o)
{
	const char *rv = query_get(&c->q, "resourceVersion"), *timeout = query_get(&c->q, "timeoutSeconds");
	const char *initial = query_get(&c->q, "sendInitialEvents");
	json_t *status = check_match(&c->q, true);
	uint64_t current = store_revision(c->g->store);
	int64_t seconds = 0;
	uint32_t jitter;
	if (!status && !str_empty(timeout) && str_to_i64(timeout, INT64_MIN, INT64_MAX, &seconds) < 0)
		status = status_bad_request("strconv.ParseInt: parsing \"%s\": invalid syntax", timeout);
	if (!status && !str_empty(rv))
		status = read_revision(rv, &o->from);
	if (status)
		return status;
	rand_bytes(&jitter, sizeof(jitter));
	o->timeout_s = seconds ? (unsigned)MAX(MIN(seconds, (int64_t)WATCH_MAX_TIMEOUT_S), (int64_t)0)
			       : WATCH_MIN_TIMEOUT_S + jitter % WATCH_MIN_TIMEOUT_S;
	o->bookmarks = query_true(&c->q, "allowWatchBookmarks");
	o->initial = str_empty(initial) ? o->from == 0 : query_true(&c->q, "sendInitialEvents");
	o->initial_end = o->initial && !str_empty(initial) && o->bookmarks;
	if (!o->initial && !o->from)
		o->from = current;
	return NULL;
}

static void on_watch_closed(void *user)
{
	struct call *c = user;
	answer_count(c, 200);
	call_unref(c);
}

void verb_watch(struct call *c)
{
	struct watch_options o = { 0 };
	struct http_field fields[ANSWER_MAX_FIELDS];
	struct http_request *req = c->req;
	json_t *status = read_watch_query(c, &o);
	if (!status && o.from > store_revision(c->g->store)) {
		if (wait_for_revision(c, o.from, verb_watch))
			return;
		status = too_large(o.from, store_revision(c->g->store));
	}
	if (!status)
		status = compile_filter(c, &o.filter);
	if (status) {
		answer_status(c, status);
		return;
	}
	o.form = form_of(c->r, &c->out, &c->q);
	if (c->out.format == MEDIA_PROTO)
		c->out.stream_watch = true;
	audit_started(c, 200);
	http_stream_begin(req, 200, fields, answer_fields(c, media_content_type(&c->out), fields));
	/* The hub is told when the request ends; the call only waits for that to be counted. */
	c->req = NULL;
	watch_start(c->g->hub, c->storage->id, req, &o, on_watch_closed, c);
}
