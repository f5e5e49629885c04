/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection to a backend, plain or TLS, on the loop: bytes in, bytes out, with back pressure. Loop thread only. */
#ifndef KEELSON_APISERVER_HTTP_UPSTREAM_H
#define KEELSON_APISERVER_HTTP_UPSTREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <uv.h>

struct upstream;
struct upstream_callbacks {
	void (*on_open)(void *user);                               /* connected, TLS included */
	void (*on_data)(const char *data, size_t len, void *user);
	void (*on_end)(void *user);                                /* the backend sends no more */
	void (*on_fail)(const char *why, void *user);              /* instead of on_open or on_end; nothing follows */
	/* The rest may be NULL. */
	void (*on_drain)(void *user);                              /* what waits to be sent has become less than UPSTREAM_LOW_BYTES */
	void (*on_deaf)(const char *why, void *user);              /* takes no more; what it has said can still be read */
};
enum { UPSTREAM_CONNECT_MS = 10000, UPSTREAM_LOW_BYTES = 512 << 10 };
/* tls NULL: plain; ip: what the certificate must be for, NULL: as the context verifies. Own; callbacks come from the loop, never from inside this call. */
struct upstream *upstream_open(uv_loop_t *loop, const struct sockaddr *address, SSL_CTX *tls, const char *ip,
			       const struct upstream_callbacks *cb, void *user);
void upstream_write(struct upstream *u, const void *data, size_t len); /* copies */
size_t upstream_queued(const struct upstream *u);                      /* bytes that wait to be sent */
void upstream_shutdown(struct upstream *u);                            /* nothing more will be written; reading goes on */
void upstream_pause(struct upstream *u, bool paused);                  /* stops reading */
void upstream_close(struct upstream *u);                               /* no callback follows; NULL is fine */

#endif
