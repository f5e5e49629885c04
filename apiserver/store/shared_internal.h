/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the store above an etcd share: following it and its members (shared.c), writes (shared_write.c), keys
 * (shared_keys.c), compaction (shared_compact.c).
 */
#ifndef KEELSON_APISERVER_STORE_SHARED_INTERNAL_H
#define KEELSON_APISERVER_STORE_SHARED_INTERNAL_H

#include "apiserver/etcd.pb-c.h"
#include "apiserver/store/store_internal.h"
#include "base/map.h"

enum { SHARED_CALL_MS = 3000 /* a member that takes longer is left */ };

/* Somebody who wants to see everything that was acknowledged so far. */
struct sync {
	struct sync *next;
	uint64_t revision; /* 0: not known yet */
	int64_t since_ms;
	bool asked;        /* by the question that is under way */
	store_sync_fn done;
	void *user;
};

/* Somebody who wants to know what becomes of the writes that are under way. */
struct outcome_wait {
	struct outcome_wait *next;
	uint64_t last, failed; /* the newest of those writes; how many had failed before */
	store_sync_fn done;
	void *user;
};

struct shared {
	struct store *s;
	struct etcd *etcd;
	uv_timer_t tick;
	char *prefix, *compact_key;
	char *paths[STORE_MAX_RESOURCES];
	struct map *by_path; /* path: resource + 1 */
	struct map *firsts;  /* full key: the first write under way, borrowed */
	struct pending *writes, *last_write;
	size_t in_flight;
	uint64_t accepted, failed; /* writes so far */
	struct outcome_wait *waits, **waits_tail;
	struct sync *syncs;
	struct grpc_call *load, *watch, *ask, *compact;
	char *load_after;    /* the last key that was loaded */
	uint64_t load_revision;
	bool loading, more, up;
	const char *lost;    /* a literal: the member has to be left; done from the timer */
	char why[160];       /* what the last member that failed said */
	int fatal;           /* loading ends with this */
	int64_t retry_at_ms, asked_ms, answered_ms, compact_at_ms;
	int64_t behind_since_ms; /* the index is behind `told`; 0: it is not */
	uint64_t cluster_id;
	uint64_t asked_at;    /* where the index was when it was asked */
	uint64_t reply, told; /* the revision in the answer that comes, and in the last one */
	int64_t compact_version;
	uint64_t compact_revision, compact_to;
};


#define BYTES(str) { strlen(str), (uint8_t *)(str) }

static inline uint64_t shared_revision_of(const Etcd__Header *header)
{
	return header && header->revision > 0 ? (uint64_t)header->revision : 0;
}

/* Leaves the member as soon as the loop turns: not from inside one of its calls. why: a literal. */
void shared_lose(struct shared *h, const char *why, const char *text);

/* ---- shared_keys.c */
void shared_find_paths(struct shared *h);
/* The resource of a key of etcd, -1 for a foreign one; *ret_key: the rest, borrowed from it. */
int shared_locate(const struct shared *h, const char *text, const char **ret_key);
char *shared_object_key(const struct shared *h, const struct store_object *o); /* own */
char *shared_claim_key(const struct shared *h, const char *name);	       /* own */

/* ---- shared_write.c */
/* The watch, or the answer, has brought the write: its object gets the revision that etcd gave it. */
void shared_set_real(struct shared *h, struct pending *p, uint64_t revision);
/* Ends a write, and when it failed what was based on it; done functions are called. */
void shared_end_write(struct shared *h, struct pending *p, int status, const char *why);
/* Ends the writes whose revision the index has reached, and those who waited to see it; sends what may be sent. */
void shared_settle(struct shared *h);

/* ---- shared_compact.c */
/* Tries to be the server that compacts this time. */
void shared_take_turn(struct shared *h);

#endif
