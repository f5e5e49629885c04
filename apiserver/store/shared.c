// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The store in an etcd that several API servers share. The index is loaded once and from then on changed only by what etcd's watch
 * brings, in its order, own writes included: all servers show the same history. A write is a transaction that replaces the revision
 * it is based on; it is answered when the watch has come as far as etcd's answer to it.
 *
 * One member is talked to at a time. When it fails, or is silent for a few seconds, the next one is taken: the watch goes on behind
 * the last revision, and writes without an answer are sent again as they are. That cannot write twice, because the first of the two
 * has changed the revision both compare; and the watch, which brings every change, tells whether it was the one or the other.
 *
 * The whole of etcd is watched, not only the prefix: so every revision comes by, and one that was asked for is surely reached.
 */
#include <errno.h>
#include <string.h>

#include "apiserver/etcd.pb-c.h"
#include "apiserver/store/store_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"

enum {
	TICK_MS = 250,
	CALL_MS = 3000,         /* a member that takes longer is left */
	ASK_EVERY_MS = 1000,
	LAG_MS = 5000,          /* the watch may be behind an answer for so long */
	WRITE_MS = 12000,       /* then a write's outcome is given up */
	SYNC_MS = 6000,
	FRESH_MS = 4000,        /* an answer this old still says that etcd answers */
	LOAD_MS = 30000,
	CLOSE_MS = 2000,
	RETRY_MS = 300,
	COMPACT_MS = 5 * 60 * 1000,
	PAGE = 40,              /* at etcd's largest values, 1.5 MiB, this is below what one message may have */
	MAX_IN_FLIGHT = 100,
};

/* Somebody who wants to see everything that was acknowledged so far. */
struct sync {
	struct sync *next;
	uint64_t revision; /* 0: not known yet */
	int64_t since_ms;
	bool asked;        /* by the question that is under way */
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
	struct sync *syncs;
	struct grpc_call *load, *watch, *ask, *compact;
	char *load_after;    /* the last key that was loaded */
	uint64_t load_revision;
	bool loading, up;
	const char *lost;    /* a literal: the member has to be left; done from the timer */
	char why[160];       /* what the last member that failed said */
	int fatal;           /* loading ends with this */
	int64_t retry_at_ms, asked_ms, answered_ms, compact_at_ms;
	int64_t behind_since_ms; /* the index is behind `told`; 0: it is not */
	uint64_t reply, told; /* the revision in the answer that comes, and in the last one */
	int64_t compact_version;
	uint64_t compact_revision, compact_to;
};

#define BYTES(str) { strlen(str), (uint8_t *)(str) }

/* --- keys ------------------------------------------------------------------------------------------------------------- */

/* Where Kubernetes keeps a place's objects: by the plural alone, but for these. */
static const char *path_of(const char *place)
{
	static const struct {
		const char *place, *path;
	} other[] = {
		{ "nodes", "minions" }, { "services", "services/specs" }, { "endpoints", "services/endpoints" },
		{ "replicationcontrollers", "controllers" }, { "networking.k8s.io/ingresses", "ingress" },
		{ "apiextensions.k8s.io/customresourcedefinitions", "apiextensions.k8s.io/customresourcedefinitions" },
		{ "apiregistration.k8s.io/apiservices", "apiregistration.k8s.io/apiservices" },
	};
	const char *slash = strrchr(place, '/');
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		if (str_eq(place, other[i].place))
			return other[i].path;
	return slash ? slash + 1 : place;
}

static void find_paths(struct shared *h)
{
	h->by_path = map_new(NULL);
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++) {
		const char *place = h->s->hooks.place_name((uint16_t)i);
		if (!place)
			continue;
		/* Two groups with one plural: the second keeps its group. */
		h->paths[i] = mem_strdup(map_has(h->by_path, path_of(place)) ? place : path_of(place));
		map_set(h->by_path, h->paths[i], (void *)(i + 1));
	}
}

/* The resource of a key of etcd, -1 for a foreign one; *ret_key: the rest, borrowed from it. */
static int locate(const struct shared *h, const char *text, const char **ret_key)
{
	const char *rest = str_after(text, h->prefix), *end;
	end = rest ? strchr(++rest, '/') : NULL;
	for (int parts = 0; parts < 2 && end; parts++, end = strchr(end + 1, '/')) {
		_cleanup_free_ char *path = mem_strndup(rest, (size_t)(end - rest));
		uintptr_t found = (uintptr_t)map_get(h->by_path, path);
		if (found && end[1]) {
			*ret_key = end + 1;
			return (int)found - 1;
		}
	}
	return -1;
}

static char *etcd_key(const struct shared *h, const struct store_object *o)
{
	return str_printf("%s/%s/%s", h->prefix, h->paths[o->resource], o->key);
}

static char *claim_key(const struct shared *h, const char *name)
{
	return str_printf("%s-keelson/claims/%s", h->prefix, name);
}

/* --- the end of writes ------------------------------------------------------------------------------------------------- */

static void send_write(struct shared *h, struct pending *p);

static void unlink_write(struct shared *h, struct pending *p)
{
	if (p->prev)
		p->prev->next = p->next;
	else
		h->writes = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		h->last_write = p->prev;
}

/* Ends a write and moves what waited for it forward, or, when it failed, ends that too. Done functions are called afterwards. */
static void take_out(struct shared *h, struct pending *p, struct pending ***tail, int status)
{
	struct pending *after = p->after;
	unlink_write(h, p);
	if (p->call) {
		grpc_call_cancel(TAKE(p->call));
		h->in_flight--;
	}
	store_forget_latest(h->s, p);
	if (p->first)
		map_del(h->firsts, p->key);
	p->next = NULL;
	**tail = p;
	*tail = &p->next;
	if (!after)
		return;
	if (status) {
		take_out(h, after, tail, status);
		return;
	}
	after->first = true;
	after->base = p->deleted ? 0 : p->answered ? p->answered : p->seen;
	map_set(h->firsts, after->key, after);
}

static void end_writes(struct pending *list, int status, const char *why)
{
	while (list) {
		struct pending *p = list;
		list = p->next;
		if (p->done)
			p->done(status, why, !status && p->real ? p->real : p->object, p->user);
		store_pending_free(p);
	}
}

static void end_write(struct shared *h, struct pending *p, int status, const char *why)
{
	struct pending *list = NULL, **tail = &list;
	take_out(h, p, &tail, status);
	end_writes(list, status, why);
}

/* Sends what has no answer yet. */
static void send_writes(struct shared *h)
{
	for (struct pending *p = h->writes; p && h->in_flight < MAX_IN_FLIGHT; p = p->next)
		if (p->first && !p->call && !p->answered && !p->refused)
			send_write(h, p);
}

static bool is_over(const struct shared *h, const struct pending *p)
{
	uint64_t at = p->answered ? p->answered : p->refused;
	return at && at <= h->s->revision;
}

/* Ends the writes whose revision the index has reached, and those who waited to see it. */
static void settle(struct shared *h)
{
	struct pending *written = NULL, **written_tail = &written, *stale = NULL, **stale_tail = &stale;
	struct sync *ready = NULL;
	for (struct pending *p = h->writes, *next; p; p = next) {
		next = p->next;
		if (!p->first || !is_over(h, p))
			continue;
		/* Refused, but the watch brought it: an earlier try had gone through. */
		if (p->answered || p->seen) {
			take_out(h, p, &written_tail, 0);
		} else {
			take_out(h, p, &stale_tail, -ESTALE);
			next = h->writes; /* others went with it */
		}
	}
	for (struct sync **at = &h->syncs, *q; (q = *at);) {
		if (!q->revision || q->revision > h->s->revision) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		q->next = ready;
		ready = q;
	}
	end_writes(written, 0, NULL);
	end_writes(stale, -ESTALE, "another API server has changed it first");
	while (ready) {
		struct sync *q = ready;
		ready = q->next;
		q->done(0, q->user);
		free(q);
	}
	if (h->up && !h->lost)
		send_writes(h);
}

/* --- the member -------------------------------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer);

/* Leaves the member as soon as the loop turns: not from inside one of its calls. */
static void lose(struct shared *h, const char *why, const char *text)
{
	if (h->lost)
		return;
	h->lost = why;
	snprintf(h->why, sizeof(h->why), "%s: %s%s%s", etcd_member(h->etcd), why, *text ? ": " : "", text);
	uv_timer_start(&h->tick, on_tick, 0, TICK_MS);
}

static void leave_member(struct shared *h)
{
	if (h->up || h->loading)
		log_warn("leaving the etcd member %s", h->why);
	etcd_next_member(h->etcd);
	h->load = h->watch = h->ask = h->compact = NULL;
	h->in_flight = 0;
	h->up = false;
	h->lost = NULL;
	for (struct pending *p = h->writes; p; p = p->next)
		p->call = NULL;
	for (struct sync *q = h->syncs; q; q = q->next)
		q->asked = false;
	h->retry_at_ms = clock_mono_ms() + RETRY_MS;
}

static uint64_t revision_of(const Etcd__Header *header)
{
	return header && header->revision > 0 ? (uint64_t)header->revision : 0;
}

/* --- asking for the revision -------------------------------------------------------------------------------------------- */

static void on_asked(const void *data, size_t len, void *user)
{
	struct shared *h = user;
	Etcd__RangeResponse *r = etcd__range_response__unpack(NULL, len, data);
	h->reply = r ? revision_of(r->header) : 0;
	if (r)
		etcd__range_response__free_unpacked(r, NULL);
}

static void ask(struct shared *h);

static void on_ask_done(enum grpc_status status, const char *text, void *user)
{
	struct shared *h = user;
	bool more = false;
	h->ask = NULL;
	if (status != GRPC_OK || !h->reply) {
		lose(h, "it does not answer", text);
		return;
	}
	h->up = true;
	h->told = h->reply;
	h->answered_ms = clock_mono_ms();
	for (struct sync *q = h->syncs; q; q = q->next) {
		if (q->asked && !q->revision)
			q->revision = h->told;
		more |= !q->revision;
	}
	settle(h);
	if (more)
		ask(h);
}

/* A read that a majority confirms: its revision covers every write that was acknowledged before. */
static void ask(struct shared *h)
{
	Etcd__RangeRequest r = ETCD__RANGE_REQUEST__INIT;
	if (h->ask || h->loading || h->lost || !h->watch)
		return;
	for (struct sync *q = h->syncs; q; q = q->next)
		q->asked = true;
	r.has_key = r.has_limit = r.has_count_only = true;
	r.key = (ProtobufCBinaryData)BYTES(h->compact_key);
	r.limit = 1;
	r.count_only = true;
	h->reply = 0;
	h->asked_ms = clock_mono_ms();
	h->ask = etcd_call(h->etcd, "/etcdserverpb.KV/Range", &r.base, CALL_MS, on_asked, on_ask_done, h);
}

void shared_sync(struct shared *h, store_sync_fn done, void *user)
{
	struct sync *q = mem_new(struct sync), **at = &h->syncs;
	*q = (struct sync){ .since_ms = clock_mono_ms(), .done = done, .user = user };
	while (*at)
		at = &(*at)->next;
	*at = q;
	ask(h);
}

/* --- the watch --------------------------------------------------------------------------------------------------------- */

static struct store_object *put_object(struct shared *h, struct pending *p, uint16_t resource, const char *key,
				       const Etcd__KeyValue *kv)
{
	uint64_t revision = (uint64_t)kv->mod_revision;
	struct store_object *o;
	if (p && !p->deleted && p->value && p->value->len == kv->value.len &&
	    memcmp(p->value->data, kv->value.data, kv->value.len) == 0) {
		p->seen = revision;
		store_object_unref(p->real);
		p->real = h->s->hooks.at(p->object, revision);
		return store_object_ref(p->real);
	}
	o = h->s->hooks.read(resource, key, revision, kv->value.data, kv->value.len);
	if (!o)
		log_error("etcd's value of %.*s is not readable: it is left alone", (int)kv->key.len, kv->key.data);
	return o;
}

static struct store_object *deleted_object(struct shared *h, struct pending *p, struct store_object *old, uint64_t revision)
{
	if (!p || !p->deleted || p->base != old->revision)
		return h->s->hooks.at(old, revision);
	p->seen = revision;
	store_object_unref(p->real);
	p->real = h->s->hooks.at(p->object, revision);
	return store_object_ref(p->real);
}

static void apply_kv(struct shared *h, const Etcd__KeyValue *kv, bool deleted)
{
	_cleanup_free_ char *text = mem_strndup((const char *)kv->key.data, kv->key.len);
	struct store *s = h->s;
	const char *key;
	int resource = locate(h, text, &key);
	if (resource < 0)
		return;
	_cleanup_free_ char *full = store_full_key(s, (uint16_t)resource, key);
	struct pending *p = map_get(h->firsts, full);
	struct store_object *old = store_get(s, (uint16_t)resource, key), *o;
	if (old && old->revision >= (uint64_t)kv->mod_revision)
		return;
	o = deleted ? NULL : put_object(h, p, (uint16_t)resource, key, kv);
	if (!o && old) {
		deleted = true;
		o = deleted_object(h, p, old, (uint64_t)kv->mod_revision);
	}
	if (o)
		store_apply(s, o, deleted);
	store_object_unref(o);
}

static void on_events(const void *data, size_t len, void *user)
{
	struct shared *h = user;
	Etcd__WatchResponse *r = etcd__watch_response__unpack(NULL, len, data);
	if (!r || h->lost || h->s->broken) {
		if (r)
			etcd__watch_response__free_unpacked(r, NULL);
		return;
	}
	if (r->compact_revision) {
		/* What this server has not seen is gone: only a new start shows it all, and makes watchers list anew. */
		h->s->broken = true;
		h->s->hooks.broken("etcd has compacted changes that this server has not seen yet", h->s->hooks.user);
	} else if (r->canceled) {
		lose(h, "it ended the watch", r->cancel_reason ? r->cancel_reason : "");
	}
	for (size_t i = 0; i < r->n_events && !h->s->broken; i++) {
		const Etcd__Event *e = r->events[i];
		if (!e->kv || e->kv->mod_revision <= 0)
			continue;
		apply_kv(h, e->kv, e->type == ETCD__EVENT_TYPE__DELETED);
		h->s->revision = MAX(h->s->revision, (uint64_t)e->kv->mod_revision);
	}
	if (r->n_events && !h->s->broken) {
		h->s->hooks.committed(h->s->hooks.user);
		settle(h);
	}
	etcd__watch_response__free_unpacked(r, NULL);
}

static void on_watch_done(enum grpc_status status, const char *text, void *user)
{
	struct shared *h = user;
	(void)status;
	h->watch = NULL;
	lose(h, "the watch ended", text);
}

static void start_watch(struct shared *h)
{
	Etcd__WatchCreate create = ETCD__WATCH_CREATE__INIT;
	Etcd__WatchRequest r = ETCD__WATCH_REQUEST__INIT;
	static uint8_t all[1];
	create.has_key = create.has_range_end = create.has_start_revision = true;
	create.key = create.range_end = (ProtobufCBinaryData){ 1, all };
	create.start_revision = (int64_t)h->s->revision + 1;
	r.create = &create;
	h->watch = etcd_call(h->etcd, "/etcdserverpb.Watch/Watch", &r.base, 0, on_events, on_watch_done, h);
	ask(h);
}

/* --- writing ----------------------------------------------------------------------------------------------------------- */

struct txn {
	Etcd__TxnRequest request;
	Etcd__Compare *compare;
	Etcd__PutRequest *puts;
	Etcd__DeleteRequest *deletes;
	Etcd__Op *ops;
	void **pointers;
	struct strlist keys;
};

static void txn_op(struct txn *t, size_t at, bool put, const char *key, const void *value, size_t len)
{
	t->ops[at] = (Etcd__Op)ETCD__OP__INIT;
	if (put) {
		t->puts[at] = (Etcd__PutRequest)ETCD__PUT_REQUEST__INIT;
		t->puts[at].has_key = t->puts[at].has_value = true;
		t->puts[at].key = (ProtobufCBinaryData)BYTES(key);
		t->puts[at].value = (ProtobufCBinaryData){ len, (uint8_t *)value };
		t->ops[at].put = &t->puts[at];
	} else {
		t->deletes[at] = (Etcd__DeleteRequest)ETCD__DELETE_REQUEST__INIT;
		t->deletes[at].has_key = true;
		t->deletes[at].key = (ProtobufCBinaryData)BYTES(key);
		t->ops[at].delete_range = &t->deletes[at];
	}
	t->request.success[at] = &t->ops[at];
	t->request.n_success++;
}

static void txn_compare(struct txn *t, size_t at, const char *key, bool version, uint64_t n)
{
	t->compare[at] = (Etcd__Compare)ETCD__COMPARE__INIT;
	t->compare[at].has_key = t->compare[at].has_target = true;
	t->compare[at].key = (ProtobufCBinaryData)BYTES(key);
	t->compare[at].target = version ? ETCD__TARGET__VERSION : ETCD__TARGET__MOD;
	if (version) {
		t->compare[at].has_version = true;
		t->compare[at].version = (int64_t)n;
	} else {
		t->compare[at].has_mod_revision = true;
		t->compare[at].mod_revision = (int64_t)n;
	}
	t->request.compare[at] = &t->compare[at];
	t->request.n_compare++;
}

/* The write, if its key is as expected and its claims are nobody's; and what it claims and releases with it. */
static void txn_build(struct shared *h, struct pending *p, struct txn *t)
{
	size_t claims = p->claimed.count, ops = 1 + claims + p->released.count, at = 1;
	*t = (struct txn){ .request = ETCD__TXN_REQUEST__INIT };
	t->compare = mem_new_n(Etcd__Compare, 1 + claims);
	t->puts = mem_new_n(Etcd__PutRequest, ops);
	t->deletes = mem_new_n(Etcd__DeleteRequest, ops);
	t->ops = mem_new_n(Etcd__Op, ops);
	t->pointers = mem_new_n(void *, 1 + claims + ops);
	t->request.compare = (Etcd__Compare **)t->pointers;
	t->request.success = (Etcd__Op **)(t->pointers + 1 + claims);
	strlist_take(&t->keys, etcd_key(h, p->object));
	for (size_t i = 0; i < claims; i++)
		strlist_take(&t->keys, claim_key(h, p->claimed.items[i]));
	for (size_t i = 0; i < p->released.count; i++)
		strlist_take(&t->keys, claim_key(h, p->released.items[i]));
	txn_compare(t, 0, t->keys.items[0], false, p->base);
	txn_op(t, 0, !p->deleted, t->keys.items[0], p->deleted ? NULL : p->value->data, p->deleted ? 0 : p->value->len);
	for (; at <= claims; at++) {
		txn_compare(t, at, t->keys.items[at], true, 0);
		txn_op(t, at, true, t->keys.items[at], p->object->key, strlen(p->object->key));
	}
	for (; at < ops; at++)
		txn_op(t, at, false, t->keys.items[at], NULL, 0);
}

static void txn_done(struct txn *t)
{
	free(t->compare);
	free(t->puts);
	free(t->deletes);
	free(t->ops);
	free(t->pointers);
	strlist_done(&t->keys);
}

static void on_txn(const void *data, size_t len, void *user)
{
	struct pending *p = user;
	Etcd__TxnResponse *r = etcd__txn_response__unpack(NULL, len, data);
	if (!r)
		return;
	if (r->succeeded)
		p->answered = revision_of(r->header);
	else
		p->refused = revision_of(r->header);
	etcd__txn_response__free_unpacked(r, NULL);
}

static int refusal_of(enum grpc_status status, const char *text)
{
	switch (status) {
	case GRPC_INVALID_ARGUMENT:
		return strstr(text, "too large") ? -EMSGSIZE : -EINVAL;
	case GRPC_RESOURCE_EXHAUSTED:
		return strstr(text, "space exceeded") ? -ENOSPC : 0;
	case GRPC_PERMISSION_DENIED:
	case GRPC_UNAUTHENTICATED:
		return -EACCES;
	default:
		return 0; /* its outcome is not known */
	}
}

static void on_txn_done(enum grpc_status status, const char *text, void *user)
{
	struct pending *p = user;
	struct shared *h = p->shared;
	int refusal = refusal_of(status, text);
	p->call = NULL;
	h->in_flight--;
	if (refusal) {
		end_write(h, p, refusal, text);
		return;
	}
	if (status != GRPC_OK) {
		lose(h, "a write failed", text);
		return;
	}
	if (p->answered && !p->seen) {
		p->seen = p->answered;
		p->real = h->s->hooks.at(p->object, p->answered);
	}
	settle(h);
}

static void send_write(struct shared *h, struct pending *p)
{
	struct txn t;
	if (!p->value && !p->deleted)
		p->value = h->s->hooks.value(p->object);
	txn_build(h, p, &t);
	p->sent = true;
	h->in_flight++;
	p->call = etcd_call(h->etcd, "/etcdserverpb.KV/Txn", &t.request.base, CALL_MS, on_txn, on_txn_done, p);
	txn_done(&t);
}

static void without(const struct strlist *from, const struct strlist *what, struct strlist *out)
{
	for (size_t i = 0; i < from->count; i++) {
		bool found = false;
		for (size_t j = 0; j < what->count && !found; j++)
			found = str_eq(from->items[i], what->items[j]);
		if (!found)
			strlist_add(out, from->items[i]);
	}
}

static void find_claims(struct shared *h, struct pending *p, struct store_object *latest)
{
	struct strlist now = { 0 }, before = { 0 };
	if (!p->deleted)
		h->s->hooks.claims(p->object, &now);
	if (latest)
		h->s->hooks.claims(latest, &before);
	without(&now, &before, &p->claimed);
	without(&before, &now, &p->released);
	strlist_done(&now);
	strlist_done(&before);
}

void shared_write(struct shared *h, struct pending *p, struct store_object *latest)
{
	struct pending *in_front = map_get(h->s->latest, p->key);
	find_claims(h, p, latest);
	p->shared = h;
	p->deadline_ms = clock_mono_ms() + WRITE_MS;
	p->prev = h->last_write;
	if (h->last_write)
		h->last_write->next = p;
	else
		h->writes = p;
	h->last_write = p;
	map_set(h->s->latest, p->key, p);
	if (in_front) {
		in_front->after = p;
		return;
	}
	p->first = true;
	p->base = latest ? latest->revision : 0;
	map_set(h->firsts, p->key, p);
	if (h->up && !h->lost && h->in_flight < MAX_IN_FLIGHT)
		send_write(h, p);
}

/* --- compaction -------------------------------------------------------------------------------------------------------- */

static void on_compact_done(enum grpc_status status, const char *text, void *user)
{
	struct shared *h = user;
	h->compact = NULL;
	if (status == GRPC_OK)
		log_debug("etcd was compacted");
	else
		log_debug("etcd was not compacted: %s", text);
}

/* The server whose turn it was compacts to where things stood at the turn before. */
static void on_turn(const void *data, size_t len, void *user)
{
	struct shared *h = user;
	Etcd__TxnResponse *r = etcd__txn_response__unpack(NULL, len, data);
	if (!r)
		return;
	const Etcd__RangeResponse *found = !r->succeeded && r->n_responses ? r->responses[0]->range : NULL;
	h->compact_to = r->succeeded ? h->compact_revision : 0;
	h->compact_version = r->succeeded ? h->compact_version + 1 : found && found->n_kvs ? found->kvs[0]->version : 0;
	h->compact_revision = revision_of(r->header);
	etcd__txn_response__free_unpacked(r, NULL);
}

static void on_turn_done(enum grpc_status status, const char *text, void *user)
{
	struct shared *h = user;
	Etcd__CompactRequest r = ETCD__COMPACT_REQUEST__INIT;
	(void)text;
	h->compact = NULL;
	if (status != GRPC_OK || !h->compact_to)
		return;
	r.has_revision = true;
	r.revision = (int64_t)h->compact_to;
	h->compact = etcd_call(h->etcd, "/etcdserverpb.KV/Compact", &r.base, CALL_MS, NULL, on_compact_done, h);
}

/* Every five minutes one of the servers gets its turn: the first to write the key again. */
static void take_turn(struct shared *h)
{
	Etcd__TxnRequest r = ETCD__TXN_REQUEST__INIT;
	Etcd__Compare compare = ETCD__COMPARE__INIT, *compares[] = { &compare };
	Etcd__PutRequest put = ETCD__PUT_REQUEST__INIT;
	Etcd__RangeRequest range = ETCD__RANGE_REQUEST__INIT;
	Etcd__Op write = ETCD__OP__INIT, look = ETCD__OP__INIT, *writes[] = { &write }, *looks[] = { &look };
	char value[24];
	snprintf(value, sizeof(value), "%llu", (unsigned long long)h->s->revision);
	h->compact_at_ms = clock_mono_ms() + COMPACT_MS;
	h->compact_to = 0;
	compare.has_key = compare.has_target = compare.has_version = true;
	compare.key = put.key = range.key = (ProtobufCBinaryData)BYTES(h->compact_key);
	compare.target = ETCD__TARGET__VERSION;
	compare.version = h->compact_version;
	put.has_key = put.has_value = range.has_key = true;
	put.value = (ProtobufCBinaryData)BYTES(value);
	write.put = &put;
	look.range = &range;
	r.n_compare = r.n_success = r.n_failure = 1;
	r.compare = compares;
	r.success = writes;
	r.failure = looks;
	h->compact = etcd_call(h->etcd, "/etcdserverpb.KV/Txn", &r.base, CALL_MS, on_turn, on_turn_done, h);
}

/* --- loading ----------------------------------------------------------------------------------------------------------- */

static void load_kv(struct shared *h, const Etcd__KeyValue *kv)
{
	_cleanup_free_ char *text = mem_strndup((const char *)kv->key.data, kv->key.len);
	const char *key;
	int resource = locate(h, text, &key);
	struct store_object *o = resource < 0 ? NULL : put_object(h, NULL, (uint16_t)resource, key, kv);
	if (o)
		store_load(h->s, o);
	free(h->load_after);
	h->load_after = TAKE(text);
}

static void on_page(const void *data, size_t len, void *user)
{
	struct shared *h = user;
	Etcd__RangeResponse *r = etcd__range_response__unpack(NULL, len, data);
	if (!r)
		return;
	if (!h->load_revision)
		h->load_revision = revision_of(r->header);
	for (size_t i = 0; i < r->n_kvs; i++)
		load_kv(h, r->kvs[i]);
	h->loading = r->more && r->n_kvs;
	etcd__range_response__free_unpacked(r, NULL);
}

static void load_page(struct shared *h);

static void on_page_done(enum grpc_status status, const char *text, void *user)
{
	struct shared *h = user;
	h->load = NULL;
	if (status == GRPC_PERMISSION_DENIED || status == GRPC_UNAUTHENTICATED)
		h->fatal = -EACCES;
	if (status == GRPC_OK && h->load_revision) {
		if (h->loading)
			load_page(h);
		return;
	}
	h->loading = true;
	lose(h, "loading failed", text);
}

static void load_page(struct shared *h)
{
	Etcd__RangeRequest r = ETCD__RANGE_REQUEST__INIT;
	_cleanup_free_ char *first = str_printf("%s/", h->prefix), *end = str_printf("%s0", h->prefix);
	r.has_key = r.has_range_end = r.has_limit = r.has_revision = true;
	/* Behind the last key: the same with a NUL. */
	r.key = (ProtobufCBinaryData)BYTES(h->load_after ? h->load_after : first);
	r.key.len += h->load_after != NULL;
	r.range_end = (ProtobufCBinaryData)BYTES(end);
	r.limit = PAGE;
	r.revision = (int64_t)h->load_revision;
	h->load = etcd_call(h->etcd, "/etcdserverpb.KV/Range", &r.base, CALL_MS, on_page, on_page_done, h);
}

/* From the start, and everything at one revision. */
static void start_load(struct shared *h)
{
	store_forget_all(h->s);
	free(TAKE(h->load_after));
	h->load_revision = 0;
	load_page(h);
}

/* --- time -------------------------------------------------------------------------------------------------------------- */

static void expire(struct shared *h, int64_t now)
{
	struct sync *late = NULL, *q;
	for (struct pending *p = h->writes; p && p->deadline_ms <= now; p = h->writes) {
		if (p->sent)
			end_write(h, p, -ETIMEDOUT, "no member of the etcd has told in time whether it was written: the outcome is unknown");
		else
			end_write(h, p, -EIO, "no member of the etcd answers: nothing was written");
	}
	while ((q = h->syncs) && now - q->since_ms >= SYNC_MS) {
		h->syncs = q->next;
		q->next = late;
		late = q;
	}
	while ((q = late)) {
		late = q->next;
		q->done(-EIO, q->user);
		free(q);
	}
}

static void watch_lag(struct shared *h, int64_t now)
{
	if (h->told <= h->s->revision)
		h->behind_since_ms = 0;
	else if (!h->behind_since_ms)
		h->behind_since_ms = now;
	else if (now - h->behind_since_ms >= LAG_MS)
		lose(h, "its watch stands still", "");
}

static void on_tick(uv_timer_t *timer)
{
	struct shared *h = timer->data;
	int64_t now = clock_mono_ms();
	if (h->lost)
		leave_member(h);
	expire(h, now);
	if (now < h->retry_at_ms || h->s->broken)
		return;
	if (h->loading) {
		if (!h->load)
			start_load(h);
		return;
	}
	if (!h->watch) {
		h->behind_since_ms = 0;
		start_watch(h);
		return;
	}
	watch_lag(h, now);
	if (now - h->asked_ms >= ASK_EVERY_MS)
		ask(h);
	if (h->up && !h->lost && !h->compact && now >= h->compact_at_ms)
		take_turn(h);
}

bool shared_answers(const struct shared *h)
{
	return h->up && clock_mono_ms() - h->answered_ms < FRESH_MS;
}

/* --- start and end ----------------------------------------------------------------------------------------------------- */

int shared_open(struct store *s, const struct etcd_options *o, struct err *err)
{
	struct shared *h = mem_new(struct shared);
	int64_t end = clock_mono_ms() + LOAD_MS;
	s->shared = h;
	h->s = s;
	uv_timer_init(s->loop, &h->tick);
	h->tick.data = h;
	h->prefix = mem_strdup(o->prefix);
	h->compact_key = str_printf("%s-keelson/compact", h->prefix);
	h->firsts = map_new(NULL);
	find_paths(h);
	h->etcd = etcd_new(s->loop, o, err);
	if (!h->etcd)
		return -EINVAL;
	h->loading = true;
	uv_timer_start(&h->tick, on_tick, 0, TICK_MS);
	while (h->loading && !h->fatal && clock_mono_ms() < end)
		uv_run(s->loop, UV_RUN_ONCE);
	if (h->loading)
		return err_set(err, h->fatal ? -h->fatal : ETIMEDOUT, "load from etcd: %s", *h->why ? h->why : "no member answers");
	s->revision = h->load_revision;
	return 0;
}

static void on_tick_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void shared_close(struct shared *h)
{
	int64_t end = clock_mono_ms() + CLOSE_MS;
	if (!h)
		return;
	while (h->writes && !h->s->broken && clock_mono_ms() < end)
		uv_run(h->s->loop, UV_RUN_ONCE);
	etcd_free(TAKE(h->etcd));
	for (struct pending *p = h->writes; p; p = p->next)
		p->call = NULL; /* it went with the client */
	while (h->writes)
		end_write(h, h->writes, -ETIMEDOUT, "the API server ends: the outcome is unknown");
	for (struct sync *q; (q = h->syncs);) {
		h->syncs = q->next;
		q->done(-EIO, q->user);
		free(q);
	}
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++)
		free(h->paths[i]);
	map_free(h->by_path);
	map_free(h->firsts);
	free(h->prefix);
	free(h->compact_key);
	free(h->load_after);
	uv_close((uv_handle_t *)&h->tick, on_tick_closed);
}
