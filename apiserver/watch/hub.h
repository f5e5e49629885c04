/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event window and the watchers. Every durable change becomes one event, kept until the window's limits push it out; watchers
 * of a resource get the events their filter wants, encoded once for all watchers of the same form. Loop thread only.
 */
#ifndef KEELSON_APISERVER_WATCH_HUB_H
#define KEELSON_APISERVER_WATCH_HUB_H

#include "apiserver/watch/filter.h"
#include "io/http_server.h"

struct watch_event {
	struct watch_event *next_all, *next; /* in the whole window; of the same resource */
	uint64_t revision;
	enum store_change change;
	struct store_object *object;         /* new state; the last one for STORE_DELETED */
	struct store_object *old;            /* NULL for STORE_ADDED */
	size_t bytes;
};

enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };

/* How events are written. form is compared by value. Both return a whole frame (own). */
struct watch_form {
	const struct schema_resource *view;
	uint8_t format, as, include, flags; /* the encoder's business */
};
struct watch_encoder {
	/* object at revision (not its own when it left a selector). */
	struct bytes *(*event)(const struct watch_form *form, enum watch_type type, struct store_object *object,
			       uint64_t revision);
	struct bytes *(*bookmark)(const struct watch_form *form, uint64_t revision, bool initial_end);
	/* An ERROR event with a Status (borrowed). */
	struct bytes *(*error)(const struct watch_form *form, const json_t *status);
	/* A watcher was sent an event: the form of its next ones. */
	void (*sent)(struct watch_form *form);
};

struct watch_limits {
	size_t window_bytes;   /* 0: 16 MiB */
	size_t window_events;  /* 0: 50,000 */
	size_t queued_bytes;   /* a watcher with more unsent bytes is cut; 0: 8 MiB */
};
struct watch_hub;
struct watch_hub *watch_hub_new(uv_loop_t *loop, const struct watch_encoder *encoder, const struct watch_limits *limits);
/* The store must be there before anything else is called. borrow. */
void watch_hub_set_store(struct watch_hub *h, struct store *store);
/* Ends every watch and lets new ones end at once. */
void watch_hub_stop(struct watch_hub *h);
/* Ends so many of them, and lets new ones end at once. */
void watch_hub_end_some(struct watch_hub *h, size_t count);
void watch_hub_free(struct watch_hub *h); /* after watch_hub_stop() and when the server is gone */

/* For the store's hooks. */
void watch_hub_changed(struct watch_hub *h, enum store_change change, struct store_object *object, struct store_object *old);

/* Events with revisions above this are all in the window. */
uint64_t watch_hub_floor(const struct watch_hub *h, uint16_t resource);
/* The oldest event of the resource with a revision above rev (borrow, NULL: none); the following ones by ->next. */
const struct watch_event *watch_hub_after(const struct watch_hub *h, uint16_t resource, uint64_t rev);
size_t watch_hub_watchers(const struct watch_hub *h);

struct watch_options {
	struct filter filter;          /* moved */
	struct watch_form form;
	uint64_t from;                 /* events after this revision; ignored when initial */
	bool initial;                  /* first an ADDED for what is there */
	bool initial_end;              /* and then a bookmark that says so */
	bool bookmarks;
	unsigned timeout_s;
};
/* Where a watch is written to: the stream of a request or a WebSocket. It tells the hub what becomes of it by
 * watch_peer_drained() and, once and last, watch_peer_closed(), also after end and cut. */
struct watcher;
struct watch_peer_ops {
	void (*attach)(void *peer, struct watcher *w); /* called first, by watch_start() */
	void (*write)(void *peer, struct bytes *frame);
	size_t (*queued)(const void *peer);            /* bytes not yet handed to the kernel */
	void (*on_drain)(void *peer);                  /* wants watch_peer_drained() once, when the queue is empty */
	void (*end)(void *peer);                       /* in order, behind what was written */
	void (*cut)(void *peer);                       /* at once */
};
void watch_peer_drained(struct watcher *w);
void watch_peer_closed(struct watcher *w);
/* peer is a struct http_request whose stream was begun by the caller (http_stream_begin()); its user and on_close are the hub's from
 * here on. */
extern const struct watch_peer_ops watch_peer_http;

/* closed (may be NULL) is called when the watch is over. */
void watch_start(struct watch_hub *h, uint16_t resource, const struct watch_peer_ops *ops, void *peer, struct watch_options *options,
		 void (*closed)(void *user), void *user);

#endif
