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
#include "apiserver/store/shared_internal.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	TICK_MS = 250,
	ASK_EVERY_MS = 1000,
	LAG_MS = 5000,          /* the watch may be behind an answer for so long */
	SYNC_MS = 6000,
	FRESH_MS = 4000,        /* an answer this old still says that etcd answers */
	LOAD_MS = 30000,
	CLOSE_MS = 2000,
	RETRY_MS = 300,
	PAGE = 40,              /* at etcd's largest values, 1.5 MiB, this is below what one message may have */
};

/* --- the member -------------------------------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer);

/* Leaves the member as soon as the loop turns: not from inside one of its calls. */
void shared_lose(struct shared *h, const char *why, const char *text)
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

/* --- asking for the revision -------------------------------------------------------------------------------------------- */

/*
 * What is confirmed by a majority is never taken back; an etcd that was emptied, or restored from a backup, is another one. The index
 * and every watcher have seen what is not there any more: only a new start helps.
 */
static void look_back(struct shared *h, uint64_t cluster_id)
{
	if (!h->cluster_id)
		h->cluster_id = cluster_id;
	if (h->s->broken || (h->cluster_id == cluster_id && h->reply >= h->asked_at))
		return;
	h->s->broken = true;
	h->s->hooks.broken("etcd is not what it was: it was emptied or restored", h->s->hooks.user);
}

static void on_asked(const void *data, size_t len, void *user)
{
	struct shared *h = user;
	Etcd__RangeResponse *r = etcd__range_response__unpack(NULL, len, data);
	h->reply = r ? shared_revision_of(r->header) : 0;
	if (h->reply)
		look_back(h, r->header->cluster_id);
	if (r)
		etcd__range_response__free_unpacked(r, NULL);
}

static void ask(struct shared *h);

static void on_ask_done(enum grpc_status status, const char *text, void *user)
{
	struct shared *h = user;
	bool more = false;
	h->ask = NULL;
	if (h->s->broken)
		return;
	if (status != GRPC_OK || !h->reply) {
		shared_lose(h, "it does not answer", text);
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
	shared_settle(h);
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
	h->asked_at = h->s->revision;
	h->asked_ms = clock_mono_ms();
	h->ask = etcd_call(h->etcd, "/etcdserverpb.KV/Range", &r.base, SHARED_CALL_MS, on_asked, on_ask_done, h);
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

/* NULL: it is not readable; when encryption may be the reason, that is noted. */
static struct store_object *read_object(struct shared *h, uint16_t resource, const char *key, const char *path, const Etcd__KeyValue *kv)
{
	const char *place = h->s->hooks.place_name(resource);
	_cleanup_err_ struct err err = { 0 };
	_cleanup_(bytes_unrefp) struct bytes *plain = NULL;
	struct store_object *o = NULL;
	uint16_t form;
	int rc = crypt_open(h->s->hooks.crypt, place, path, kv->value.data, kv->value.len, &plain, &form, &err);
	if (!rc)
		o = h->s->hooks.read(resource, key, (uint64_t)kv->mod_revision, plain->data, plain->len);
	if (o)
		o->form = form;
	else if (rc || form || crypt_encrypts(h->s->hooks.crypt, place))
		store_mark_unreadable(h->s, resource, key, form, rc ? rc : -EBADMSG, rc ? err_msg(&err) : "it is damaged");
	else
		log_error("etcd's value of %s is not readable: it is left alone", path);
	return o;
}

static struct store_object *put_object(struct shared *h, struct pending *p, uint16_t resource, const char *key, const char *path,
				       const Etcd__KeyValue *kv)
{
	if (p && !p->deleted && p->value && p->value->len == kv->value.len &&
	    memcmp(p->value->data, kv->value.data, kv->value.len) == 0) {
		shared_set_real(h, p, (uint64_t)kv->mod_revision);
		return store_object_ref(p->real);
	}
	return read_object(h, resource, key, path, kv);
}

/* What is told of a deletion is what was stored last: other servers know no more. The writer's answer may have more. */
static struct store_object *deleted_object(struct shared *h, struct pending *p, struct store_object *old, uint64_t revision)
{
	if (p && p->deleted && p->base == old->revision)
		shared_set_real(h, p, revision);
	return h->s->hooks.at(old, revision);
}

static void apply_kv(struct shared *h, const Etcd__KeyValue *kv, bool deleted)
{
	_cleanup_free_ char *text = mem_strndup((const char *)kv->key.data, kv->key.len);
	struct store *s = h->s;
	const char *key;
	int resource = shared_locate(h, text, &key);
	if (resource < 0)
		return;
	_cleanup_free_ char *full = store_full_key(s, (uint16_t)resource, key);
	struct pending *p = map_get(h->firsts, full);
	struct store_object *old = store_get(s, (uint16_t)resource, key), *o;
	if (old && old->revision >= (uint64_t)kv->mod_revision)
		return;
	store_mark_readable(s, full);
	o = deleted ? NULL : put_object(h, p, (uint16_t)resource, key, text, kv);
	/* Its former state stays in the index, and is not shown: nobody is told that it is gone. */
	if (!o && map_has(s->unreadable, full))
		return;
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
		shared_lose(h, "it ended the watch", r->cancel_reason ? r->cancel_reason : "");
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
		shared_settle(h);
	}
	etcd__watch_response__free_unpacked(r, NULL);
}

static void on_watch_done(enum grpc_status status, const char *text, void *user)
{
	struct shared *h = user;
	(void)status;
	h->watch = NULL;
	shared_lose(h, "the watch ended", text);
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

/* --- loading ----------------------------------------------------------------------------------------------------------- */

static void load_kv(struct shared *h, const Etcd__KeyValue *kv)
{
	_cleanup_free_ char *text = mem_strndup((const char *)kv->key.data, kv->key.len);
	const char *key;
	int resource = shared_locate(h, text, &key);
	struct store_object *o = resource < 0 ? NULL : put_object(h, NULL, (uint16_t)resource, key, text, kv);
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
		h->load_revision = shared_revision_of(r->header);
	for (size_t i = 0; i < r->n_kvs; i++)
		load_kv(h, r->kvs[i]);
	h->more = r->more && r->n_kvs;
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
		if (h->more) {
			load_page(h);
			return;
		}
		/* Both at once: the watch, which may begin at any moment now, starts behind it. */
		h->s->revision = h->load_revision;
		h->loading = false;
		return;
	}
	shared_lose(h, "loading failed", text);
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
	h->load = etcd_call(h->etcd, "/etcdserverpb.KV/Range", &r.base, SHARED_CALL_MS, on_page, on_page_done, h);
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
			shared_end_write(h, p, -ETIMEDOUT, "no member of the etcd has told in time whether it was written: the outcome is unknown");
		else
			shared_end_write(h, p, -EIO, "no member of the etcd answers: nothing was written");
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
		shared_lose(h, "its watch stands still", "");
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
	if (h->up && !h->lost && !h->compact && etcd_compaction_ms(h->etcd) && now >= h->compact_at_ms)
		shared_take_turn(h);
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
	h->waits_tail = &h->waits;
	shared_find_paths(h);
	h->etcd = etcd_new(s->loop, o, err);
	if (!h->etcd)
		return -EINVAL;
	h->loading = true;
	uv_timer_start(&h->tick, on_tick, 0, TICK_MS);
	while (h->loading && !h->fatal && clock_mono_ms() < end)
		uv_run(s->loop, UV_RUN_ONCE);
	if (h->loading)
		return err_set(err, h->fatal ? -h->fatal : ETIMEDOUT, "load from etcd: %s", *h->why ? h->why : "no member answers");
	return store_check_readable(s, err);
}

const struct pending *shared_writes(const struct shared *h)
{
	return h->writes;
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
		shared_end_write(h, h->writes, -ETIMEDOUT, "the API server ends: the outcome is unknown");
	for (struct sync *q; (q = h->syncs);) {
		h->syncs = q->next;
		q->done(-EIO, q->user);
		free(q);
	}
	BUG_ON(h->waits); /* they went with the last write */
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++)
		free(h->paths[i]);
	map_free(h->by_path);
	map_free(h->firsts);
	free(h->prefix);
	free(h->compact_key);
	free(h->load_after);
	uv_close((uv_handle_t *)&h->tick, on_tick_closed);
}
