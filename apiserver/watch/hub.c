// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The phases of a watcher: while it is INITIAL it is being sent what was there when it started, then, in REPLAY, what the window has
 * since; both in pieces, as fast as its connection drains, so that a thousand watchers that come back at once do not queue a thousand
 * windows. When nothing is left it is LIVE, which means that each commit's events are written to it at once. What always
 * holds: a LIVE watcher has been sent every event up to the store's revision that its filter wants, in order, or it is cut.
 */
#include "apiserver/watch/hub.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/http/status.h"
#include "apiserver/metrics/measure.h"
#include "base/clock.h"
#include "base/metrics.h"

enum {
	BOOKMARK_MS = 60000,
	BOOKMARK_BEFORE_END_MS = 2000,
	TICK_MS = 1000,
	PIECE_BYTES = 256 * 1024,
	EVENT_OVERHEAD = 256,
};

enum watcher_phase { WATCHER_INITIAL, WATCHER_REPLAY, WATCHER_LIVE, WATCHER_ENDING };

struct watcher {
	struct watcher *next, **prev;
	struct watch_hub *hub;
	const struct watch_peer_ops *ops;
	void *peer;
	struct filter filter;
	struct watch_form form;
	uint16_t resource;
	enum watcher_phase phase;
	bool bookmarks, initial_end, last_bookmark_sent;
	uint64_t from;                  /* INITIAL: the revision of the snapshot; REPLAY: everything up to here was sent */
	struct store_object **snapshot; /* INITIAL: references, the first `sent` already given up */
	size_t count, sent;
	int64_t bookmark_at_ms, end_at_ms;
	void (*closed)(void *user);
	void *user;
};

struct encoded {
	struct watch_form form;
	enum watch_type type;
	struct bytes *frame;
};
enum { MAX_ENCODED = 16 };

struct resource_window {
	struct watch_event *head, *tail;
	uint64_t dropped; /* revision of the newest event pushed out */
	struct watcher *watchers;
};

struct watch_hub {
	struct watch_encoder encoder;
	struct watch_limits limits;
	struct store *store;
	struct resource_window resources[STORE_MAX_RESOURCES];
	struct watch_event *head, *tail;
	size_t bytes, events, watchers;
	bool stopped;
	uv_timer_t timer;
	/* Where a walk over watchers is: writing to one may end it, and others with it. */
	struct watcher *current, *cursor;
};

static bool form_same(const struct watch_form *a, const struct watch_form *b)
{
	return a->view == b->view && a->format == b->format && a->as == b->as && a->include == b->include &&
	       a->flags == b->flags;
}

static void on_tick(uv_timer_t *timer);

struct watch_hub *watch_hub_new(uv_loop_t *loop, const struct watch_encoder *encoder, const struct watch_limits *limits)
{
	struct watch_hub *h = mem_new(struct watch_hub);
	h->encoder = *encoder;
	if (limits)
		h->limits = *limits;
	if (!h->limits.window_bytes)
		h->limits.window_bytes = 16 << 20;
	if (!h->limits.window_events)
		h->limits.window_events = 50000;
	if (!h->limits.queued_bytes)
		h->limits.queued_bytes = 8 << 20;
	uv_timer_init(loop, &h->timer);
	h->timer.data = h;
	return h;
}

void watch_hub_set_store(struct watch_hub *h, struct store *store)
{
	h->store = store;
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++)
		h->resources[i].dropped = store_loaded_revision(store);
}

size_t watch_hub_watchers(const struct watch_hub *h)
{
	return h->watchers;
}

/* The window */

static void drop_oldest(struct watch_hub *h)
{
	struct watch_event *e = h->head;
	struct resource_window *w = &h->resources[e->object->resource];
	h->head = e->next_all;
	if (!h->head)
		h->tail = NULL;
	w->head = e->next;
	if (!w->head)
		w->tail = NULL;
	w->dropped = e->revision;
	h->bytes -= e->bytes;
	h->events--;
	store_object_unref(e->object);
	store_object_unref(e->old);
	free(e);
}

uint64_t watch_hub_floor(const struct watch_hub *h, uint16_t resource)
{
	return h->resources[resource].dropped;
}

const struct watch_event *watch_hub_after(const struct watch_hub *h, uint16_t resource, uint64_t rev)
{
	const struct watch_event *e = h->resources[resource].head;
	while (e && e->revision <= rev)
		e = e->next;
	return e;
}

static struct watch_event *window_add(struct watch_hub *h, enum store_change change, struct store_object *object,
				      struct store_object *old)
{
	struct watch_event *e = mem_new(struct watch_event);
	struct resource_window *w = &h->resources[object->resource];
	e->revision = object->revision;
	e->change = change;
	e->object = store_object_ref(object);
	e->old = old ? store_object_ref(old) : NULL;
	/* The object itself is most often also in the index: the window's own cost is the old state. */
	e->bytes = (old ? old->json->len : 0) + (change == STORE_DELETED ? object->json->len : 0) + EVENT_OVERHEAD;
	if (h->tail)
		h->tail->next_all = e;
	else
		h->head = e;
	h->tail = e;
	if (w->tail)
		w->tail->next = e;
	else
		w->head = e;
	w->tail = e;
	h->bytes += e->bytes;
	h->events++;
	return e;
}

/* What an event is for a filter. False: nothing. */
static bool classify(const struct filter *f, const struct watch_event *e, enum watch_type *ret_type,
		     struct store_object **ret_object)
{
	bool before = e->old && filter_matches(f, e->old);
	bool now = e->change != STORE_DELETED && filter_matches(f, e->object);
	if (!before && !now)
		return false;
	*ret_object = e->object;
	if (now)
		*ret_type = before ? WATCH_MODIFIED : WATCH_ADDED;
	else
		*ret_type = WATCH_DELETED;
	/* It left the selector, or the store: what was last selected, at the revision at which it left. A deletion shows what was stored
	 * and not what the request that removed the last finalizer made of it: so do all servers of an etcd, and upstream. */
	if (!now)
		*ret_object = e->old;
	return true;
}

/* Watchers */

static void watcher_free(struct watcher *w)
{
	for (size_t i = w->sent; i < w->count; i++)
		store_object_unref(w->snapshot[i]);
	free(w->snapshot);
	filter_done(&w->filter);
	free(w);
}

void watch_peer_closed(struct watcher *w)
{
	struct watch_hub *h = w->hub;
	if (h->current == w)
		h->current = NULL;
	if (h->cursor == w)
		h->cursor = w->next;
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	if (--h->watchers == 0)
		uv_timer_stop(&h->timer);
	if (w->closed)
		w->closed(w->user);
	watcher_free(w);
}

static void watcher_end(struct watcher *w)
{
	if (w->phase == WATCHER_ENDING)
		return;
	w->phase = WATCHER_ENDING;
	w->ops->end(w->peer);
}

static void watcher_cut(struct watcher *w)
{
	w->phase = WATCHER_ENDING;
	metrics_counter_add("apiserver_terminated_watchers_total", "[ALPHA] Counter of watchers closed due to unresponsiveness broken by resource type.", NULL, 1);
	w->ops->cut(w->peer);
}

static void watcher_send(struct watcher *w, struct bytes *frame)
{
	measure_watch_event(w->form.view, frame->len);
	w->ops->write(w->peer, frame);
}

static void watcher_send_event(struct watcher *w, struct bytes *frame)
{
	watcher_send(w, frame);
	w->hub->encoder.sent(&w->form);
}

static void watcher_expired(struct watcher *w, uint64_t from)
{
	_cleanup_json_ json_t *status = status_new(410, "Expired", "too old resource version: %" PRIu64 " (%" PRIu64 ")", from,
						   watch_hub_floor(w->hub, w->resource));
	struct bytes *frame = w->hub->encoder.error(&w->form, status);
	watcher_send(w, frame);
	bytes_unref(frame);
	watcher_end(w);
}

/* Sends the next piece of what the window has after w->from. False: more is left, or the watch is at its end. */
static bool watcher_replay(struct watcher *w)
{
	struct watch_hub *h = w->hub;
	size_t bytes = 0;
	if (w->from < watch_hub_floor(h, w->resource)) {
		watcher_expired(w, w->from);
		return false;
	}
	for (const struct watch_event *e = watch_hub_after(h, w->resource, w->from); e; e = e->next) {
		enum watch_type type;
		struct store_object *object;
		/* A revision is not torn apart: the rest of it would be taken for sent. */
		if (bytes >= PIECE_BYTES && e->revision > w->from) {
			w->ops->on_drain(w->peer);
			return false;
		}
		w->from = e->revision;
		if (!classify(&w->filter, e, &type, &object))
			continue;
		struct bytes *frame = h->encoder.event(&w->form, type, object, e->revision);
		bytes += frame->len;
		watcher_send_event(w, frame);
		bytes_unref(frame);
	}
	return true;
}

static void watcher_begin_replay(struct watcher *w)
{
	if (w->initial_end) {
		struct bytes *frame = w->hub->encoder.bookmark(&w->form, w->from, true);
		watcher_send(w, frame);
		bytes_unref(frame);
	}
	free(w->snapshot);
	w->snapshot = NULL;
	w->sent = w->count = 0;
	w->phase = WATCHER_REPLAY;
}

static void watcher_continue(struct watcher *w)
{
	size_t bytes = 0;
	while (w->sent < w->count && bytes < PIECE_BYTES) {
		struct store_object *o = w->snapshot[w->sent++];
		struct bytes *frame = w->hub->encoder.event(&w->form, WATCH_ADDED, o, o->revision);
		bytes += frame->len;
		watcher_send_event(w, frame);
		bytes_unref(frame);
		store_object_unref(o);
	}
	if (w->sent < w->count) {
		w->ops->on_drain(w->peer);
		return;
	}
	if (w->phase == WATCHER_INITIAL)
		watcher_begin_replay(w);
	if (watcher_replay(w))
		w->phase = WATCHER_LIVE;
}

void watch_peer_drained(struct watcher *w)
{
	if (w->phase == WATCHER_INITIAL || w->phase == WATCHER_REPLAY)
		watcher_continue(w);
}

static void take_snapshot(struct watcher *w)
{
	struct store_iter it = filter_iterate(&w->filter, w->hub->store, w->resource);
	struct store_object *o;
	size_t cap = 0;
	while ((o = filter_next(&w->filter, &it))) {
		MEM_GROW(w->snapshot, cap, w->count + 1);
		w->snapshot[w->count++] = store_object_ref(o);
	}
	w->from = store_revision(w->hub->store);
}

void watch_start(struct watch_hub *h, uint16_t resource, const struct watch_peer_ops *ops, void *peer, struct watch_options *o,
		 void (*closed)(void *user), void *user)
{
	struct watcher *w = mem_new(struct watcher);
	int64_t now = clock_mono_ms();
	*w = (struct watcher){ .hub = h, .ops = ops, .peer = peer, .filter = o->filter, .form = o->form, .resource = resource,
		.bookmarks = o->bookmarks, .initial_end = o->initial && o->initial_end, .from = o->from,
		.closed = closed, .user = user };
	o->filter = (struct filter){ 0 };
	w->bookmark_at_ms = now + BOOKMARK_MS;
	w->end_at_ms = now + (int64_t)o->timeout_s * 1000;
	w->next = h->resources[resource].watchers;
	w->prev = &h->resources[resource].watchers;
	if (w->next)
		w->next->prev = &w->next;
	*w->prev = w;
	if (h->watchers++ == 0)
		uv_timer_start(&h->timer, on_tick, TICK_MS, TICK_MS);
	ops->attach(peer, w);
	if (h->stopped) {
		watcher_end(w);
		return;
	}
	if (o->initial)
		take_snapshot(w);
	watcher_continue(w);
}

static void deliver(struct watch_hub *h, const struct watch_event *e)
{
	struct encoded cache[MAX_ENCODED];
	size_t cached = 0;
	for (struct watcher *w = h->resources[e->object->resource].watchers; w; w = h->cursor) {
		enum watch_type type;
		struct store_object *object;
		struct bytes *frame = NULL;
		h->current = w;
		h->cursor = w->next;
		if (w->phase != WATCHER_LIVE || !classify(&w->filter, e, &type, &object))
			continue;
		for (size_t i = 0; i < cached && !frame; i++)
			if (cache[i].type == type && form_same(&cache[i].form, &w->form))
				frame = bytes_ref(cache[i].frame);
		if (!frame) {
			frame = h->encoder.event(&w->form, type, object, e->revision);
			if (cached < MAX_ENCODED)
				cache[cached++] = (struct encoded){ w->form, type, bytes_ref(frame) };
		}
		watcher_send_event(w, frame);
		bytes_unref(frame);
		if (h->current && w->ops->queued(w->peer) > h->limits.queued_bytes)
			watcher_cut(w);
	}
	while (cached)
		bytes_unref(cache[--cached].frame);
}

void watch_hub_changed(struct watch_hub *h, enum store_change change, struct store_object *object, struct store_object *old)
{
	deliver(h, window_add(h, change, object, old));
	while (h->events > h->limits.window_events || (h->bytes > h->limits.window_bytes && h->events > 1))
		drop_oldest(h);
}

/* A request's stream as a peer */

static void on_request_closed(struct http_request *req, void *user)
{
	(void)req;
	watch_peer_closed(user);
}

static void on_request_drained(struct http_request *req, void *user)
{
	(void)req;
	watch_peer_drained(user);
}

static void http_attach(void *peer, struct watcher *w)
{
	http_set_user(peer, w, on_request_closed);
}

static void http_write(void *peer, struct bytes *frame)
{
	http_stream_write_bytes(peer, frame, 0, frame->len);
}

static size_t http_queued(const void *peer)
{
	return http_stream_queued(peer);
}

static void http_wait_drained(void *peer)
{
	http_stream_on_drain(peer, on_request_drained);
}

static void http_end(void *peer)
{
	http_stream_end(peer);
}

static void http_cut(void *peer)
{
	http_abort(peer);
}

const struct watch_peer_ops watch_peer_http = { http_attach, http_write, http_queued, http_wait_drained, http_end, http_cut };

/* Time */

static void watcher_tick(struct watcher *w, int64_t now)
{
	const struct watch_hub *h = w->hub;
	bool near_end = now >= w->end_at_ms - BOOKMARK_BEFORE_END_MS && !w->last_bookmark_sent;
	if (w->phase == WATCHER_LIVE && w->bookmarks && (now >= w->bookmark_at_ms || near_end)) {
		struct bytes *frame = h->encoder.bookmark(&w->form, store_revision(h->store), false);
		watcher_send(w, frame);
		bytes_unref(frame);
		if (!h->current)
			return;
		w->bookmark_at_ms = now + BOOKMARK_MS;
		w->last_bookmark_sent = near_end || w->last_bookmark_sent;
	}
	if (now >= w->end_at_ms)
		watcher_end(w);
}

static void for_all(struct watch_hub *h, void (*fn)(struct watcher *w, int64_t now))
{
	int64_t now = clock_mono_ms();
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++) {
		for (struct watcher *w = h->resources[i].watchers; w; w = h->cursor) {
			h->current = w;
			h->cursor = w->next;
			fn(w, now);
		}
	}
}

static void on_tick(uv_timer_t *timer)
{
	for_all(timer->data, watcher_tick);
}

static void end_now(struct watcher *w, int64_t now)
{
	(void)now;
	watcher_end(w);
}

void watch_hub_end_some(struct watch_hub *h, size_t count)
{
	h->stopped = true;
	for (size_t i = 0; i < STORE_MAX_RESOURCES && count; i++) {
		for (struct watcher *w = h->resources[i].watchers; w && count; w = h->cursor) {
			h->current = w;
			h->cursor = w->next;
			if (w->phase == WATCHER_ENDING)
				continue;
			watcher_end(w);
			count--;
		}
	}
}

void watch_hub_stop(struct watch_hub *h)
{
	h->stopped = true;
	for_all(h, end_now);
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void watch_hub_free(struct watch_hub *h)
{
	if (!h)
		return;
	BUG_ON(h->watchers);
	while (h->head)
		drop_oldest(h);
	uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}
