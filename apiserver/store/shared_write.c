// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes to an etcd. Each is a transaction that compares the revision it is based on; those of one key wait for each other. It ends when
 * etcd has answered and the index has come as far as the answer.
 */
#include "apiserver/store/shared_internal.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"

enum {
	WRITE_MS = 12000, /* then a write's outcome is given up */
	MAX_IN_FLIGHT = 100,
};

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

/* What was based on a write that failed: when that is surely not there, another state has to be the base. */
static int status_behind(int status)
{
	return status == -ETIMEDOUT || status == -EIO ? status : -ESTALE;
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
	p->status = status;
	**tail = p;
	*tail = &p->next;
	h->failed += status != 0;
	if (!after)
		return;
	if (status) {
		take_out(h, after, tail, status_behind(status));
		return;
	}
	after->first = true;
	after->base = p->deleted ? 0 : p->answered ? p->answered : p->seen;
	map_set(h->firsts, after->key, after);
}

bool shared_outcomes(struct shared *h, store_sync_fn done, void *user)
{
	struct outcome_wait *w;
	if (!h->writes)
		return false;
	w = mem_new(struct outcome_wait);
	*w = (struct outcome_wait){ .last = h->accepted, .failed = h->failed, .done = done, .user = user };
	*h->waits_tail = w;
	h->waits_tail = &w->next;
	return true;
}

/* Writes are listed in the order of acceptance, and so are those who wait for them. */
static void end_waits(struct shared *h)
{
	struct outcome_wait *w;
	while ((w = h->waits) && (!h->writes || h->writes->number > w->last)) {
		h->waits = w->next;
		if (!h->waits)
			h->waits_tail = &h->waits;
		w->done(h->failed == w->failed ? 0 : -ESTALE, w->user);
		free(w);
	}
}

static void end_writes(const struct store *s, struct pending *list, const char *why)
{
	while (list) {
		struct pending *p = list;
		list = p->next;
		store_pending_measure(s, p);
		if (p->done)
			p->done(p->status, p->status == -ESTALE ? "another API server has changed it first" : why,
				!p->status && p->real ? p->real : p->object, p->user);
		store_pending_free(p);
	}
}

void shared_end_write(struct shared *h, struct pending *p, int status, const char *why)
{
	struct pending *list = NULL, **tail = &list;
	take_out(h, p, &tail, status);
	end_writes(h->s, list, why);
	end_waits(h);
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
void shared_settle(struct shared *h)
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
	end_writes(h->s, written, NULL);
	end_writes(h->s, stale, NULL);
	end_waits(h);
	while (ready) {
		struct sync *q = ready;
		ready = q->next;
		q->done(0, q->user);
		free(q);
	}
	if (h->up && !h->lost)
		send_writes(h);
}

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
	strlist_take(&t->keys, shared_object_key(h, p->object));
	for (size_t i = 0; i < claims; i++)
		strlist_take(&t->keys, shared_claim_key(h, p->claimed.items[i]));
	for (size_t i = 0; i < p->released.count; i++)
		strlist_take(&t->keys, shared_claim_key(h, p->released.items[i]));
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
		p->answered = shared_revision_of(r->header);
	else
		p->refused = shared_revision_of(r->header);
	etcd__txn_response__free_unpacked(r, NULL);
}

static int refusal_of(enum grpc_status status, const char *text)
{
	switch (status) {
	case GRPC_INVALID_ARGUMENT:
		return strstr(text, "too large") ? -EMSGSIZE : -EINVAL;
	case GRPC_RESOURCE_EXHAUSTED:
		return strstr(text, "space exceeded") ? -ENOSPC : strstr(text, "larger than max") ? -EMSGSIZE : 0;
	case GRPC_PERMISSION_DENIED:
	case GRPC_UNAUTHENTICATED:
		return -EACCES;
	default:
		return 0; /* its outcome is not known */
	}
}

void shared_set_real(struct shared *h, struct pending *p, uint64_t revision)
{
	p->seen = revision;
	store_object_unref(p->real);
	p->real = h->s->hooks.at(p->object, revision);
	p->real->form = p->object->form;
}

static void on_txn_done(enum grpc_status status, const char *text, void *user)
{
	struct pending *p = user;
	struct shared *h = p->shared;
	int refusal = refusal_of(status, text);
	p->call = NULL;
	h->in_flight--;
	if (refusal) {
		shared_end_write(h, p, refusal, text);
		return;
	}
	if (status != GRPC_OK) {
		shared_lose(h, "a write failed", text);
		return;
	}
	if (p->answered && !p->seen)
		shared_set_real(h, p, p->answered);
	shared_settle(h);
}

/* What etcd gets. The same for every try: by its bytes the write is known. */
static void make_value(struct shared *h, struct pending *p)
{
	_cleanup_free_ char *path = shared_object_key(h, p->object);
	const char *place = h->s->hooks.place_name(p->object->resource);
	struct bytes *plain = h->s->hooks.value(p->object);
	p->value = crypt_seal(h->s->hooks.crypt, place, path, plain->data, plain->len, &p->object->form);
	if (p->value)
		bytes_unref(plain);
	else
		p->value = plain;
}

static void send_write(struct shared *h, struct pending *p)
{
	struct txn t;
	if (!p->value && !p->deleted)
		make_value(h, p);
	txn_build(h, p, &t);
	p->sent = true;
	h->in_flight++;
	p->call = etcd_call(h->etcd, "/etcdserverpb.KV/Txn", &t.request.base, SHARED_CALL_MS, on_txn, on_txn_done, p);
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
	p->number = ++h->accepted;
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

