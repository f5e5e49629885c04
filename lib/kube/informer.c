/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reflector: LIST in pages, then WATCH from the list's revision, over and over. States and moves:
 *
 *   IDLE -> LISTING -> WATCHING -> WATCHING (a watch ended: resumed at the last revision)
 *             |  ^        |
 *             v  |        v
 *            WAITING <----+      (errors: back-off; afterwards LISTING when the revision is gone, else WATCHING)
 *
 * A page's text is cut into items and one item at a time is decoded; so are watch events. Handlers may do anything,
 * freeing the informer included: `busy` counts the frames that still need it.
 */
#include "kube/informer.h"

#include <errno.h>
#include <malloc.h>

#include "base/mem.h"
#include "kube/informer_internal.h"
#include "kube/object.h"

enum {
	PAGE_ITEMS = 250,
	MAX_LINE = 64 << 20,
	WATCH_IDLE_MS = 120000,     /* servers send a bookmark each minute */
	WATCH_MIN_S = 300,          /* plus up to as much again, so that watches do not end together */
	FIRST_BACKOFF_MS = 800, MAX_BACKOFF_MS = 30000,
	SHORT_WATCH_MS = 1000,
	SWEEP_MS = 5000,
	MANY_DECODED = 256,         /* sweep at once */
	TRIM_AFTER = 100,           /* so many changes: give memory back to the kernel when it is quiet again */
	SMALL_LIST = 64,            /* items of such a list stay decoded at first */
};

enum informer_state { IDLE, LISTING, WATCHING, WAITING };

struct informer {
	struct kube_client *client;
	char *api_version, *plural, *ns, *label_selector, *field_selector;
	json_t *(*transform)(json_t *object, void *user);
	void *transform_user;
	struct cache *cache;
	struct informer_handler *handlers;
	size_t handler_count, handler_cap;
	enum informer_state state;
	struct http_call *call;
	uv_timer_t timer, sweep;
	int open_handles;
	char *rv, *continue_token, *kind;
	struct strbuf line;         /* the beginning of an event */
	uint64_t watch_since_ms;
	size_t watch_events;
	unsigned failures;
	int busy;
	size_t changes;             /* since memory was given back */
	bool synced, freed, relist;
};

static void list(struct informer *i);
static void watch(struct informer *i);

struct informer *informer_new(struct kube_client *c, const struct informer_options *o)
{
	struct informer *i = mem_new(struct informer);

	i->client = c;
	i->api_version = mem_strdup(o->api_version);
	i->plural = mem_strdup(o->plural);
	i->ns = mem_strdup(o->ns);
	i->label_selector = mem_strdup(o->label_selector);
	i->field_selector = mem_strdup(o->field_selector);
	i->transform = o->transform;
	if (o->size >= offsetof(struct informer_options, transform_user) + sizeof(o->transform_user))
		i->transform_user = o->transform_user;
	i->cache = cache_new(o->no_cache);
	uv_timer_init(kube_client_loop(c), &i->timer);
	uv_timer_init(kube_client_loop(c), &i->sweep);
	i->timer.data = i->sweep.data = i;
	i->open_handles = 2;
	return i;
}

static void on_closed(uv_handle_t *h)
{
	struct informer *i = h->data;

	if (--i->open_handles)
		return;
	free(i->api_version);
	free(i->plural);
	free(i->ns);
	free(i->label_selector);
	free(i->field_selector);
	free(i->handlers);
	free(i->rv);
	free(i->continue_token);
	free(i->kind);
	strbuf_done(&i->line);
	cache_free(i->cache);
	free(i);
}

static void destroy(struct informer *i)
{
	uv_close((uv_handle_t *)&i->timer, on_closed);
	uv_close((uv_handle_t *)&i->sweep, on_closed);
}

void informer_free(struct informer *i)
{
	if (!i || i->freed)
		return;
	i->freed = true;
	http_call_cancel(i->call);
	i->call = NULL;
	if (!i->busy)
		destroy(i);
}

/* True when the informer is still wanted. */
static bool leave(struct informer *i)
{
	bool wanted = !i->freed;

	if (--i->busy == 0 && !wanted)
		destroy(i);
	return wanted;
}

void informer_add_handler(struct informer *i, const struct informer_handler *h)
{
	MEM_GROW(i->handlers, i->handler_cap, i->handler_count + 1);
	i->handlers[i->handler_count++] = *h;
}

/* ---- the cache's upkeep ---- */

static void on_sweep(uv_timer_t *t)
{
	struct informer *i = t->data;

	if (cache_sweep(i->cache, cache_decoded(i->cache) > MANY_DECODED)) {
		uv_timer_start(&i->sweep, on_sweep, SWEEP_MS, 0);
	} else if (i->changes >= TRIM_AFTER) {
		malloc_trim(0);
		i->changes = 0;
	}
}

static void plan_sweep(struct informer *i)
{
	size_t n = cache_decoded(i->cache);

	if (i->freed || (!n && i->changes < TRIM_AFTER))
		return;
	if (n > MANY_DECODED)
		uv_timer_start(&i->sweep, on_sweep, 0, 0);
	else if (!uv_is_active((uv_handle_t *)&i->sweep))
		uv_timer_start(&i->sweep, on_sweep, SWEEP_MS, 0);
}

/* ---- objects to handlers ---- */

static void notify(struct informer *i, const json_t *old, const json_t *new)
{
	for (size_t h = 0; h < i->handler_count && !i->freed; h++)
		if (i->handlers[h].on_change)
			i->handlers[h].on_change(old, new, i->handlers[h].user);
}

static void gone(struct informer *i, const char *key)
{
	_cleanup_json_ json_t *old = cache_take(i->cache, key);

	if (old)
		notify(i, old, NULL);
}

/* An object that was listed, added or modified; moved. */
static void put(struct informer *i, json_t *object, bool keep_decoded)
{
	_cleanup_free_ char *key = object_key(object);
	_cleanup_json_ json_t *new = object, *old = NULL;
	bool existed;

	i->changes++;
	json_unset(new, "metadata.managedFields");
	if (i->transform)
		new = i->transform(new, i->transform_user);
	if (!new) {
		gone(i, key);
		return;
	}
	if (cache_put(i->cache, key, new, i->handler_count > 0, keep_decoded, &existed, &old))
		notify(i, old, new);
}

/* ---- errors ---- */

static void on_timer(uv_timer_t *t)
{
	struct informer *i = t->data;

	if (i->relist || !i->rv)
		list(i);
	else
		watch(i);
}

/* Goes on after the back-off, or at once after a watch that ended as watches do. */
static void wait(struct informer *i, bool failed)
{
	uint64_t ms = 0;
	uint32_t noise;

	if (failed) {
		rand_bytes(&noise, sizeof(noise));
		ms = MIN((uint64_t)FIRST_BACKOFF_MS << i->failures, (uint64_t)MAX_BACKOFF_MS / 2);
		ms += noise % ms;
		if (i->failures < 10)
			i->failures++;
	}
	i->state = WAITING;
	uv_timer_start(&i->timer, on_timer, ms, 0);
}

/* ---- LIST ---- */

static void add_query(struct strbuf *b, const char *name, const char *value)
{
	if (str_empty(value))
		return;
	strbuf_addc(b, b->data && strchr(b->data, '?') ? '&' : '?');
	strbuf_addf(b, "%s=", name);
	url_encode(b, value);
}

static char *path(const struct informer *i)
{
	_cleanup_free_ char *base = kube_path(i->api_version, i->plural, i->ns, NULL, NULL);
	struct strbuf b = { 0 };

	strbuf_adds(&b, base);
	add_query(&b, "labelSelector", i->label_selector);
	add_query(&b, "fieldSelector", i->field_selector);
	return strbuf_take(&b);
}

/* The last page is in: what it did not name is gone. */
static void list_done(struct informer *i)
{
	_cleanup_strlist_ struct strlist keys = { 0 };

	cache_unmarked(i->cache, &keys);
	for (size_t k = 0; k < keys.count && !i->freed; k++)
		gone(i, keys.items[k]);
	if (i->freed)
		return;
	i->failures = 0;
	i->relist = false;
	if (!i->synced) {
		i->synced = true;
		for (size_t h = 0; h < i->handler_count && !i->freed; h++)
			if (i->handlers[h].on_synced)
				i->handlers[h].on_synced(i->handlers[h].user);
	}
}

static int take_items(struct informer *i, const char *items, size_t len, bool keep_decoded)
{
	const char *item;
	size_t n;

	while (!i->freed && list_next(&items, &len, &item, &n)) {
		json_t *o = json_parse(item, n, NULL, NULL);

		if (!json_is_object(o) || !*object_name(o)) {
			json_decref(o);
			return -EINVAL;
		}
		if (!json_object_get(o, "kind") && *i->kind) {
			json_set_str(o, "apiVersion", i->api_version);
			json_set_str(o, "kind", i->kind);
		}
		put(i, o, keep_decoded);
	}
	return 0;
}

/* One page. 0 when it was good. */
static int take_page(struct informer *i, const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf rest = { 0 };
	const char *items;
	size_t items_len;
	int r = list_split(text, len, &rest, &items, &items_len);
	_cleanup_json_ json_t *head = r < 0 ? NULL : json_parse(rest.data, rest.len, NULL, NULL);
	const char *rv = json_str_or(head, "metadata.resourceVersion", "");
	const char *kind = json_str_or(head, "kind", "");

	if (!*rv)
		return -EINVAL;
	free(i->kind);
	i->kind = str_ends(kind, "List") ? mem_strndup(kind, strlen(kind) - 4) : mem_strdup("");
	free(i->rv);
	i->rv = mem_strdup(rv);
	free(i->continue_token);
	i->continue_token = mem_strdup(json_str_or(head, "metadata.continue", ""));
	return take_items(i, items, items_len, len < (size_t)SMALL_LIST * 1024 && !*i->continue_token);
}

static void on_listed(const struct http_answer *a, void *user)
{
	struct informer *i = user;

	i->call = NULL;
	i->busy++;
	if (a->status == 200 && take_page(i, a->body, a->body_len) == 0) {
		bool more = !str_empty(i->continue_token);

		if (!more && !i->freed)
			list_done(i);
		plan_sweep(i);
		if (leave(i)) {
			if (more)
				list(i);
			else
				wait(i, false);
		}
		return;
	}
	/* Also when a page's token has expired (410): from the first page again. */
	free(i->continue_token);
	i->continue_token = NULL;
	i->relist = true;
	if (leave(i))
		wait(i, true);
}

static void list(struct informer *i)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_free_ char *base = path(i);

	if (str_empty(i->continue_token))
		cache_mark(i->cache);
	strbuf_addf(&b, "%s%climit=%d", base, strchr(base, '?') ? '&' : '?', PAGE_ITEMS);
	add_query(&b, "continue", i->continue_token);
	i->state = LISTING;
	i->call = kube_get_text(i->client, b.data, on_listed, i);
}

/* ---- WATCH ---- */

static void set_rv(struct informer *i, const json_t *object)
{
	const char *rv = object_resource_version(object);

	if (!*rv)
		return;
	free(i->rv);
	i->rv = mem_strdup(rv);
}

/* One event. Non-zero ends the watch. */
static int take_event(struct informer *i, const char *text, size_t len)
{
	_cleanup_json_ json_t *e = json_parse(text, len, NULL, NULL);
	const char *type = json_str_or(e, "type", "");
	json_t *object = json_object_get(e, "object");

	if (!json_is_object(object))
		return -EINVAL;
	if (str_eq(type, "ERROR")) {
		i->relist = json_int(object, "code", 0) == 410;
		return -EIO;
	}
	i->watch_events++;
	i->failures = 0;
	set_rv(i, object);
	if (str_eq(type, "ADDED") || str_eq(type, "MODIFIED")) {
		if (!*object_name(object))
			return -EINVAL;
		put(i, json_incref(object), true);
	} else if (str_eq(type, "DELETED")) {
		_cleanup_free_ char *key = object_key(object);

		/* Handlers see the last state, not the cached one. */
		json_unset(object, "metadata.managedFields");
		_cleanup_json_ json_t *old = cache_take(i->cache, key);
		_cleanup_json_ json_t *last = json_incref(object);

		if (i->transform)
			last = i->transform(last, i->transform_user);
		if (old)
			notify(i, last ? last : old, NULL);
	} else if (!str_eq(type, "BOOKMARK")) {
		return -EINVAL;
	}
	return 0;
}

static int take_stream(struct informer *i, const char *p, size_t len)
{
	const char *end = p + len;

	while (p < end && !i->freed) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl ? nl : end) - p);
		int r = 0;

		if (i->line.len + n > MAX_LINE)
			return -EMSGSIZE;
		if (!nl) {
			strbuf_add(&i->line, p, n);
			return 0;
		}
		if (i->line.len) {
			struct strbuf line = i->line;

			i->line = (struct strbuf){ 0 };
			strbuf_add(&line, p, n);
			r = take_event(i, line.data, line.len);
			strbuf_done(&line);
		} else if (n) {
			r = take_event(i, p, n);
		}
		if (r < 0)
			return r;
		p = nl + 1;
	}
	return 0;
}

static int on_watch_data(int status _unused_, const void *data, size_t len, void *user)
{
	struct informer *i = user;

	i->busy++;
	int r = take_stream(i, data, len);

	plan_sweep(i);
	return leave(i) ? r : -ECANCELED;
}

static void on_watch_done(const struct http_answer *a, void *user)
{
	struct informer *i = user;
	bool ended_well = a->status == 200 &&
			  (i->watch_events || uv_now(kube_client_loop(i->client)) - i->watch_since_ms >= SHORT_WATCH_MS);

	i->call = NULL;
	/* Half an event is worth nothing: it comes again. */
	strbuf_done(&i->line);
	/* Gone, or refused for a reason that a list will say again: start over. */
	if (a->status >= 400 && a->status < 500 && a->status != 429)
		i->relist = true;
	wait(i, !ended_well);
}

static void watch(struct informer *i)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_free_ char *base = path(i);
	uint32_t noise;

	rand_bytes(&noise, sizeof(noise));
	strbuf_addf(&b, "%s%cwatch=true&allowWatchBookmarks=true&timeoutSeconds=%u", base, strchr(base, '?') ? '&' : '?',
		    WATCH_MIN_S + noise % WATCH_MIN_S);
	add_query(&b, "resourceVersion", i->rv);
	i->state = WATCHING;
	i->watch_events = 0;
	i->watch_since_ms = uv_now(kube_client_loop(i->client));
	i->call = kube_stream(i->client, b.data, WATCH_IDLE_MS, on_watch_data, on_watch_done, i);
}

/* ---- the interface ---- */

void informer_start(struct informer *i)
{
	if (i->state == IDLE)
		list(i);
}

bool informer_synced(const struct informer *i)
{
	return i->synced;
}

json_t *informer_get(const struct informer *i, const char *ns, const char *name)
{
	_cleanup_free_ char *key = str_empty(ns) ? mem_strdup(name) : str_printf("%s/%s", ns, name);
	json_t *o = cache_get(i->cache, key);

	plan_sweep((struct informer *)(uintptr_t)i);
	return o;
}

size_t informer_count(const struct informer *i)
{
	return cache_count(i->cache);
}

json_t *informer_next(const struct informer *i, size_t *it)
{
	json_t *o = cache_next(i->cache, it);

	plan_sweep((struct informer *)(uintptr_t)i);
	return o;
}

int informer_add_index(struct informer *i, const char *name, char *(*key_of)(const json_t *object))
{
	return cache_add_index(i->cache, name, key_of);
}

json_t **informer_by_index(const struct informer *i, const char *index, const char *key, size_t *ret_count)
{
	json_t **found = cache_by_index(i->cache, index, key, ret_count);

	plan_sweep((struct informer *)(uintptr_t)i);
	return found;
}
