/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking upstream servers (RFC 5452): random ids, several connected sockets with random ports, answers matched by source,
 * id and question. Bounded: at most FORWARD_MAX questions are open. An upstream that is not there is noticed by its
 * ICMP error and the next one is asked at once.
 */
#ifndef KEELSON_PROXY_DNS_FORWARD_H
#define KEELSON_PROXY_DNS_FORWARD_H

#include <uv.h>

#include "proxy/dns/wire.h"

enum {
	FORWARD_MAX = 4096,        /* a power of two */
	FORWARD_UPSTREAMS_MAX = 8,
	FORWARD_TRY_MS = 1500,     /* for one upstream; */
	FORWARD_TRIES = 2,         /* asked at least so often, */
	FORWARD_TRIES_MAX = 3,     /* and at most: resolvers give up after 5 s */
};
struct forwarder;
struct forward;
struct forwarder *forwarder_new(uv_loop_t *loop);
/* Forgets every open question without calling back, closes the sockets; memory goes when the loop has run once more. */
void forwarder_free(struct forwarder *f);
/* False when the list is full. */
bool forwarder_add_upstream(struct forwarder *f, const struct sockaddr *addr);
size_t forwarder_open(const struct forwarder *f);

/* answer NULL: no upstream answered. The id in the answer is the question's. */
typedef void (*forward_done_fn)(const uint8_t *answer, size_t len, void *user);
/* msg holds a whole query whose question is q's. done is called once, never from inside this call. Own handle, for
 * forward_cancel(); NULL when too many questions are open or there is no upstream (done is not called then). */
struct forward *forward_ask(struct forwarder *f, const uint8_t *msg, size_t len, const struct dns_query *q, bool tcp,
			    forward_done_fn done, void *user);
void forward_cancel(struct forward *q);

#endif
