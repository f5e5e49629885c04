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
#include "apiserver/registry/list_options.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "apiserver/watch/websocket.h"
#include "base/map.h"

enum { WATCH_MIN_TIMEOUT_S = 1800, WATCH_MAX_TIMEOUT_S = 86400 };

static json_t *too_large(uint64_t asked, uint64_t current)
{
	json_t *s = status_new(504, "Timeout", "Timeout: Too large resource version: %" PRIu64 ", current: %" PRIu64, asked, current);
	status_add_cause(s, "ResourceVersionTooLarge", "Too large resource version", NULL);
	status_set_retry(s, 1);
	return s;
}

static json_t *expired(const struct call *c, const struct list_options *l)
{
	json_t *s;
	if (!l->continued)
		return status_new(410, "Expired", "The resourceVersion for the provided list is too old.");
	s = status_new(410, "Expired",
		       "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
		       "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
		       "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
		       "deleted between the time the first chunk was returned and now may show up in the list.");
	_cleanup_free_ char *token = list_token(c->storage, -1, l->start);
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

/* As things are now: up to `most` behind `start`. Returns how many objects were not looked at. */
static size_t collect_now(const struct registry *g, const struct schema_resource *storage, const struct filter *f, const char *start,
			  size_t most, struct objects *out)
{
	struct store_iter it = filter_iterate(f, g->store, storage->id);
	struct store_object *o;
	if (start)
		store_iter_after(&it, start);
	while (out->count < most && (o = filter_next(f, &it)))
		objects_add(out, o);
	return store_iter_left(&it);
}

/* Everything the filter wants, as it was before the changes from `since` on. */
static void collect_earlier(const struct registry *g, const struct schema_resource *storage, const struct filter *f,
			    const struct watch_event *since, struct objects *out)
{
	struct store_iter it = filter_iterate(f, g->store, storage->id);
	struct map *before = map_new(NULL); /* changed since: the state before, or `before` itself for none */
	for (const struct watch_event *e = since; e; e = e->next)
		if (!map_has(before, e->object->key))
			map_set(before, e->object->key, e->old ? (void *)e->old : (void *)before);
	for (struct store_object *o; (o = filter_next(f, &it));)
		if (!map_has(before, o->key))
			objects_add(out, o);
	const char *key;
	void *value;
	size_t at = 0;
	while (map_next(before, &at, &key, &value))
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
	const char *ns = c->r->namespaced ? c->u.ns : NULL;
	if (filter_compile(c->r, ns, NULL, query_get(&c->q, "labelSelector"), query_get(&c->q, "fieldSelector"), f, &err) < 0)
		return err.http_status ? status_from_err(&err) : status_bad_request("%s", err_msg(&err));
	/* A watch of one object by its path: a field selector may only say the same. */
	if (str_empty(c->u.name))
		return NULL;
	if (!str_empty(query_get(&c->q, "fieldSelector")) && !str_eq(f->name, c->u.name)) {
		filter_done(f);
		return status_bad_request("fieldSelector metadata.name doesn't match requested name");
	}
	if (!f->name)
		f->name = mem_strdup(c->u.name);
	return NULL;
}

void verb_list(struct call *c)
{
	struct registry *g = c->g;
	struct list_options l;
	struct filter f = { 0 };
	struct objects found = { 0 };
	uint64_t current = store_revision(g->store), revision;
	char *token = NULL;
	int64_t remaining = -1;
	json_t *status = list_options_read(c->arena, &c->q, c->storage, &l);
	if (!status && l.token_current && wait_fresh(c, verb_list))
		return;
	if (!status && l.has_revision && l.revision > current && wait_for_revision(c, l.revision, verb_list))
		return;
	if (!status && l.has_revision && l.revision > current)
		status = too_large(l.revision, current);
	if (!status && l.exact && l.revision < current && l.revision < watch_hub_floor(g->hub, c->storage->id))
		status = expired(c, &l);
	if (!status)
		status = compile_filter(c, &f);
	if (status) {
		answer_status(c, status);
		return;
	}
	revision = l.exact ? l.revision : current;
	const struct watch_event *since = watch_hub_after(g->hub, c->storage->id, revision);
	size_t left = 0;
	if (since) {
		/* The window reaches back that far. */
		collect_earlier(g, c->storage, &f, since, &found);
		slice(&found, skip_to(&found, l.start), SIZE_MAX);
	} else {
		left = collect_now(g, c->storage, &f, l.start, l.limit && l.limit < SIZE_MAX ? l.limit + 1 : SIZE_MAX, &found);
	}
	if (l.limit && found.count > l.limit) {
		if (!filter_selects(&f))
			remaining = (int64_t)(found.count - l.limit + left);
		slice(&found, 0, l.limit);
		token = list_token(c->storage, (int64_t)revision, found.items[found.count - 1]->key);
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
	uint64_t asked;
	json_t *status = resource_version_read(rv, "", &asked);
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
	struct watch_query start;
	uint32_t jitter;
	json_t *status = watch_options_read(&c->q, &start);
	if (status)
		return status;
	rand_bytes(&jitter, sizeof(jitter));
	o->timeout_s = start.timeout_s ? (unsigned)MAX(MIN(start.timeout_s, (int64_t)WATCH_MAX_TIMEOUT_S), (int64_t)0)
				       : WATCH_MIN_TIMEOUT_S + jitter % WATCH_MIN_TIMEOUT_S;
	o->bookmarks = start.bookmarks;
	o->initial = start.initial;
	o->initial_end = start.initial_end;
	o->from = start.initial || start.from ? start.from : store_revision(c->g->store);
	return NULL;
}

static void on_watch_closed(void *user)
{
	struct call *c = user;
	answer_count(c, 200);
	call_unref(c);
}

static void watch_on_websocket(struct call *c, struct watch_options *o)
{
	const char *why;
	struct websocket *s = websocket_accept(c->req, c->out.format != MEDIA_PROTO, &why);
	if (!s) {
		filter_done(&o->filter);
		answer_status(c, status_bad_request("%s", why));
		return;
	}
	audit_started(c, 101);
	c->req = NULL;
	watch_start(c->g->hub, c->storage->id, &watch_peer_websocket, s, o, on_watch_closed, c);
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
	if (websocket_asked(req)) {
		watch_on_websocket(c, &o);
		return;
	}
	audit_started(c, 200);
	http_stream_begin(req, 200, fields, answer_fields(c, media_stream_type(&c->out), fields));
	/* The hub is told when the request ends; the call only waits for that to be counted. */
	c->req = NULL;
	watch_start(c->g->hub, c->storage->id, &watch_peer_http, req, &o, on_watch_closed, c);
}
