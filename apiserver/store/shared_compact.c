// SPDX-License-Identifier: GPL-2.0-or-later
/* etcd keeps every revision until it is told to forget them: one of the servers does so, now and then. */
#include "apiserver/store/shared_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

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
	h->compact_revision = shared_revision_of(r->header);
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
	h->compact = etcd_call(h->etcd, "/etcdserverpb.KV/Compact", &r.base, SHARED_CALL_MS, NULL, on_compact_done, h);
}

/* Now and then one of the servers gets its turn: the first to write the key again. */
void shared_take_turn(struct shared *h)
{
	Etcd__TxnRequest r = ETCD__TXN_REQUEST__INIT;
	Etcd__Compare compare = ETCD__COMPARE__INIT, *compares[] = { &compare };
	Etcd__PutRequest put = ETCD__PUT_REQUEST__INIT;
	Etcd__RangeRequest range = ETCD__RANGE_REQUEST__INIT;
	Etcd__Op write = ETCD__OP__INIT, look = ETCD__OP__INIT, *writes[] = { &write }, *looks[] = { &look };
	char value[24];
	snprintf(value, sizeof(value), "%llu", (unsigned long long)h->s->revision);
	h->compact_at_ms = clock_mono_ms() + etcd_compaction_ms(h->etcd);
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
	h->compact = etcd_call(h->etcd, "/etcdserverpb.KV/Txn", &r.base, SHARED_CALL_MS, on_turn, on_turn_done, h);
}

