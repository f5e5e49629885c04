/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTPS client on a libuv loop over libcurl's multi interface: HTTP/2 when the server has it, all requests to
 * one server multiplexed on one connection, reconnecting by itself. Loop thread only.
 */
#ifndef KEELSON_IO_HTTP_CLIENT_H
#define KEELSON_IO_HTTP_CLIENT_H

#include <uv.h>

#include "base/err.h"
#include "base/str.h"

struct http_client;
struct http_call;

struct http_client_options {
	size_t size;
	const char *ca_file;                   /* PEM; NULL: the system's */
	const char *cert_file, *key_file;      /* PEM; NULL: none */
	bool insecure_skip_verify;             /* probes to HTTPS ports do not verify */
	const char *user_agent;
	const char *interface;                 /* source address or device, NULL: any */
	unsigned connect_timeout_ms;           /* 0: 10 s */
};
struct http_client *http_client_new(uv_loop_t *loop, const struct http_client_options *options, struct err *err);
void http_client_free(struct http_client *c); /* cancels every call without calling back */

struct http_call_request {
	const char *method, *url;              /* absolute URL */
	const struct http_client_header {
		const char *name, *value;
	} *headers;
	size_t header_count;
	const void *body;                      /* copied */
	size_t body_len;
	unsigned timeout_ms;                   /* whole call; 0: none (watches) */
	unsigned idle_timeout_ms;              /* no byte for so long ends the call; 0: none */
	size_t max_body_bytes;                 /* buffered answers; 0: 256 MiB */
	bool no_redirects;
	bool long_answer;                      /* much data is expected: worth a large receive buffer */
};
struct http_answer {
	int status;                            /* 0: the transport failed, error says how */
	const char *error;                     /* NULL or a sentence */
	const char *content_type;              /* "" when absent */
	const char *retry_after;               /* "" when absent */
	const void *body;                      /* buffered calls only; borrow */
	size_t body_len;
};
typedef void (*http_done_fn)(const struct http_answer *a, void *user);
/* status is known (headers are in); return non-zero to cancel (done is still called, with error). */
typedef int (*http_data_fn)(int status, const void *data, size_t len, void *user);

/* on_data NULL: the body is buffered and given to done. Otherwise each piece goes to on_data as it comes when the
 * status is 2xx; the body of another status is buffered for done. done is called exactly once unless cancelled. Never
 * calls back from inside itself. The call object is freed after done. */
struct http_call *http_client_call(struct http_client *c, const struct http_call_request *r, http_data_fn on_data,
				   http_done_fn done, void *user);
void http_call_cancel(struct http_call *call); /* done is not called */
/* Stops and resumes reading a streamed body. */
void http_call_pause(struct http_call *call, bool paused);

#endif
