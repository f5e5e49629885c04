/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the store's index shares with the part that keeps it in an etcd (shared.c). */
#ifndef KEELSON_APISERVER_STORE_STORE_INTERNAL_H
#define KEELSON_APISERVER_STORE_STORE_INTERNAL_H

#include "apiserver/store/engine.h"
#include "apiserver/store/place.h"
#include "apiserver/store/store.h"
#include "base/str.h"

struct grpc_call;
struct shared;

/* Before the JSON of each value of the engine. */
struct value_head {
	uint64_t revision;
	uint32_t head_len, meta_off, meta_len, reserved;
};
_Static_assert(sizeof(struct value_head) == 24, "stored on disk");

/* A write that is not durable yet. */
struct pending {
	struct pending *next;
	struct store_object *object;
	bool deleted;
	store_done_fn done;
	void *user;
	char *key; /* "place/key", as on disk and in `latest` */
	struct value_head head;
	struct bytes *value; /* as it is stored; NULL: as object has it */
	int64_t began_ns;
	bool creates;

	/* Of a shared store only. */
	struct pending *prev;
	struct pending *after;             /* the next write of the same key: it waits for this one */
	bool first;                        /* no other write of the key is in front of it */
	struct grpc_call *call;            /* on its way */
	struct strlist claimed, released;  /* names that belong to one object at most */
	uint64_t base;                     /* the mod revision it replaces; 0: the key must not exist */
	uint64_t answered;                 /* etcd's answer: written at this revision */
	uint64_t refused;                  /* etcd's answer: not written, as of this revision */
	uint64_t seen;                     /* the watch brought it, at this revision */
	struct store_object *real;         /* object with its revision */
	bool sent;                         /* at least once */
	int status;                        /* once it has ended */
	int64_t deadline_ms;
	uint64_t number;                   /* in the order of acceptance */
	struct shared *shared;
};

/* A value that could not be read. */
struct unreadable {
	uint16_t resource, form;
	int status; /* -ENOKEY, -EBADMSG: see crypt_open() */
	char *why;
};

struct store {
	uv_loop_t *loop;
	struct store_hooks hooks;
	struct engine *engine; /* NULL: shared */
	struct shared *shared; /* NULL: the engine's */
	char *dir;             /* NULL: shared */
	int lock_fd;
	struct place places[STORE_MAX_RESOURCES];
	uint64_t revision, assigned, loaded;
	bool was_empty, broken;
	bool wipe, wiped;       /* plain values are to be encrypted: none may be left in the engine's file */
	struct map *unreadable; /* full key: struct unreadable, own */
	struct map *latest; /* borrowed struct pending */
	struct pending *queued, **queued_tail, *flying;
	struct engine_op *ops;
	size_t op_count;
	uint64_t flying_revision;
	struct err flying_err;
	int flying_status;
	uv_work_t work;
	uv_check_t check;
	uv_idle_t idle;
	unsigned open_handles;
};

/* Makes a change of the index and tells it to the hooks. object is borrowed. */
void store_apply(struct store *s, struct store_object *object, bool deleted);
/* Puts an object that was loaded into the index. Moved. */
void store_load(struct store *s, struct store_object *object);
/* Drops what the index holds, telling nobody. */
void store_forget_all(struct store *s);
/* "apps/deployments:default/web". Own. */
char *store_full_key(const struct store *s, uint16_t resource, const char *key);
void store_pending_free(struct pending *p);
void store_pending_measure(const struct store *s, const struct pending *p); /* it ends now */
/* The write is no longer what store_latest() shows. */
void store_forget_latest(struct store *s, const struct pending *p);

/* encryption.c: what cannot be read. */
void store_mark_unreadable(struct store *s, uint16_t resource, const char *key, uint16_t form, int status, const char *why);
void store_mark_readable(struct store *s, const char *full_key);
void store_unreadable_free(void *unreadable);
/* After loading: 0, or -ENOKEY when what could not be read tells of a wrong or missing key. */
int store_check_readable(struct store *s, struct err *err);
/* The object counts as one of its form (add: 1) or no more (-1). */
void store_count_form(struct store *s, const struct store_object *object, int add);

/* ---- shared.c */
/* The first write under way; the others by next. */
const struct pending *shared_writes(const struct shared *h);
int shared_open(struct store *s, const struct etcd_options *o, struct err *err);
/* Waits a moment for writes under way; the handle's memory goes when the loop has closed it. NULL is fine. */
void shared_close(struct shared *h);
/* Takes a write that store_latest() does not show yet; latest: what it is based on, NULL for none. */
void shared_write(struct shared *h, struct pending *p, struct store_object *latest);
bool shared_answers(const struct shared *h);
bool shared_outcomes(struct shared *h, store_sync_fn done, void *user);
void shared_sync(struct shared *h, store_sync_fn done, void *user);

#endif
