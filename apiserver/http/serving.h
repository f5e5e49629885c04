/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the API server serves and stops serving: limits of memory, connections and requests, and the drain at the end: /readyz fails,
 * everything is still served for the delay, then no connection is accepted any more, peers are told (GOAWAY, Connection: close), watches
 * are ended, spread over a time, and what is under way is finished, for at most the grace period.
 */
#ifndef KEELSON_APISERVER_HTTP_SERVING_H
#define KEELSON_APISERVER_HTTP_SERVING_H

#include "apiserver/registry/registry.h"
#include "io/http_server.h"

/* As texts of options; NULL: the default. */
struct serving_texts {
	const char *max_memory, *max_connections, *max_connections_per_client, *max_requests, *max_mutating_requests, *goaway_chance, *request_timeout;
	const char *shutdown_delay, *shutdown_watches, *shutdown_grace;
};
struct serving {
	size_t max_memory_bytes; /* 0: no limit */
	unsigned max_connections, max_connections_of_client, max_inflight[2];
	double goaway_chance;
	unsigned request_timeout_ms; /* for the whole of a long list */
	unsigned delay_ms, watches_ms, grace_ms;
};
/* -EINVAL with err, which names the option. */
int serving_parse(const struct serving_texts *t, struct serving *ret, struct err *err);
/* As many descriptors as the connections need, where the process may have them. */
void serving_raise_limits(const struct serving *s);

/* Begins the end; done is called when the server is gone. at_once: without the delay, and with what grace a broken store leaves. */
struct drain;
struct drain *drain_begin(struct registry *g, struct http_server *http, const struct serving *s, bool at_once, void (*done)(void *user),
			  void *user);
/* Somebody has asked again: the delay is over, or else the grace. */
void drain_hurry(struct drain *d);
/* After done, or with done NULL; the loop has to run on for its timer to close. NULL is fine; returns NULL. */
struct drain *drain_free(struct drain *d);

#endif
