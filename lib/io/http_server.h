/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTPS (and plain HTTP) server on a libuv loop: HTTP/1.1 (RFC 9112, strict) and HTTP/2 (RFC 9113, by
 * nghttp2, chosen by ALPN or prior knowledge), TLS by OpenSSL. One thread. Every size and time a peer
 * controls is bounded by struct http_server_options.
 *
 * Life of a request: the handler is called once the head and the whole body are there; it answers at
 * once or later, with one http_respond(), or with http_stream_begin() and further writes, or takes the
 * connection over with http_hijack(). A request object lives until it has been answered completely or
 * its on_close was called (the peer went away), whichever is first; after that the pointer is dead.
 */
#ifndef KEELSON_IO_HTTP_SERVER_H
#define KEELSON_IO_HTTP_SERVER_H

#include <openssl/ssl.h>
#include <uv.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

struct http_server;
struct http_request;

struct http_server_options {
	size_t size;                  /* sizeof(struct http_server_options) */
	size_t max_head_bytes;        /* 0: 64 KiB; beyond: 431 */
	size_t max_body_bytes;        /* 0: 3 MiB; beyond: 413 (the handler is not called; see on_refused) */
	unsigned max_connections;     /* 0: 10,000; beyond, the longest idle one is closed, or the new one. Never more than three
				       * quarters of the descriptors that the process may have */
	unsigned max_connections_of_peer; /* of one address (IPv6: a /64); 0: a quarter of max_connections; beyond, the new one is closed */
	unsigned max_streams;         /* per HTTP/2 connection; 0: 250 */
	unsigned head_timeout_ms;     /* 0: 30 s to send a whole head */
	unsigned body_timeout_ms;     /* 0: 60 s to send a whole body */
	unsigned idle_timeout_ms;     /* 0: 180 s without a request */
	size_t max_memory_bytes;      /* of the whole process; 0: no limit. See http_server_pressed() */
	/* Body of a refusal the server makes by itself (400, 408, 413, 431...), so that a Kubernetes Status
	 * can be sent: fills body and content_type (literal). NULL: text/plain. */
	void (*on_refused)(int status, const char *why, struct strbuf *body, const char **content_type, void *user);
};

typedef void (*http_handler_fn)(struct http_request *req, void *user);

/* options may be NULL. handler is called on the loop's thread. SIGPIPE is ignored from here on unless it is handled. */
struct http_server *http_server_new(uv_loop_t *loop, const struct http_server_options *options,
				    http_handler_fn handler, void *user);
/* address: "0.0.0.0:6443", "[::]:443" (IPv4 too), "127.0.0.1:0". tls NULL: plain HTTP. May be called several times.
 * The SSL_CTX is referenced. *ret_port (may be NULL) gets the port bound. */
int http_server_listen(struct http_server *s, const char *address, SSL_CTX *tls, int *ret_port, struct err *err);
/* Adopts a listening stream socket (unix or inherited). The fd is moved. */
int http_server_listen_fd(struct http_server *s, int fd, SSL_CTX *tls, struct err *err);
/* Closes the listening sockets on a port; connections made through them go on. */
void http_server_unlisten(struct http_server *s, uint16_t port);
/* Stops accepting, tells HTTP/2 peers GOAWAY, lets requests finish for up to grace_ms, then frees the server and
 * calls done (may be NULL). */
void http_server_shutdown(struct http_server *s, unsigned grace_ms, void (*done)(void *user), void *user);
/* After http_server_shutdown(): the grace is over now. */
void http_server_cut(struct http_server *s);
size_t http_server_connections(const struct http_server *s);
/* The process comes near max_memory_bytes: bodies are refused with 429 by the server itself, and the handler should refuse what costs
 * memory. Nearer still, the connections that hold most are cut. NULL is fine. */
bool http_server_pressed(const struct http_server *s);
uint64_t http_server_memory_cuts(const struct http_server *s); /* connections cut so far */

/* What was asked; all borrowed, valid as long as the request. */
const char *http_method(const struct http_request *req);
const char *http_path(const struct http_request *req);        /* raw, still escaped, without the query */
const char *http_query(const struct http_request *req);       /* raw, "" without one */
const char *http_header(const struct http_request *req, const char *name); /* case-insensitive, first; NULL */
/* All headers in order. i from 0; false at the end. Pseudo headers are not included; "host" is (from :authority). */
bool http_header_at(const struct http_request *req, size_t i, const char **ret_name, const char **ret_value);
const void *http_body(const struct http_request *req, size_t *ret_len);
X509 *http_peer_cert(const struct http_request *req);         /* borrow; NULL without a client certificate */
/* X509_V_OK, or why the client's certificate is not trusted (the handshake succeeds anyway: answer 401). */
long http_peer_verify_result(const struct http_request *req);
const char *http_peer_address(const struct http_request *req); /* "192.0.2.1:4711" */
uint16_t http_local_port(const struct http_request *req); /* that the client came to; 0 when it is no TCP port */
bool http_is_h2(const struct http_request *req);
struct arena *http_arena(struct http_request *req);            /* lives as long as the request */

/* The request's owner. on_close is called exactly once when the request ends for any reason but hijacking: answered
 * whole, or the peer went away. */
void http_set_user(struct http_request *req, void *user, void (*on_close)(struct http_request *req, void *user));
void *http_user(const struct http_request *req);

struct http_field {
	const char *name, *value;
};
/* Answers. fields: count of them (copied); Content-Length and Date are added. body is copied. For HEAD the body is
 * left out but counted. */
void http_respond(struct http_request *req, int status, const struct http_field *fields, size_t count,
		  const void *body, size_t len);
/* The same without a copy: a reference is taken. */
void http_respond_bytes(struct http_request *req, int status, const struct http_field *fields, size_t count,
			struct bytes *body);

/* Streams: chunked on HTTP/1.1. Slices are references, never copies; write order is kept. */
void http_stream_begin(struct http_request *req, int status, const struct http_field *fields, size_t count);
void http_stream_write(struct http_request *req, const void *data, size_t len); /* copies */
void http_stream_write_bytes(struct http_request *req, struct bytes *b, size_t off, size_t len);
/* Bytes accepted but not yet handed to the kernel (HTTP/2: not yet made into frames, of which at most 128 KiB wait for
 * the whole connection): the measure for dropping a slow reader. */
size_t http_stream_queued(const struct http_request *req);
/* Calls fn once when the queue is empty (from the loop, never from inside this call). */
void http_stream_on_drain(struct http_request *req, void (*fn)(struct http_request *req, void *user));
void http_stream_end(struct http_request *req);
/* Cuts the connection (HTTP/1.1) or resets the stream (HTTP/2). */
void http_abort(struct http_request *req);

/* This request is among the last of its connection: GOAWAY, or Connection: close with the answer. What is under way is finished. */
void http_retire(struct http_request *req);

/* Takes the connection over (HTTP/1.1 only: -EPROTO on HTTP/2). From here on the bytes belong to the caller: nothing
 * was answered. The request stays valid (headers) until http_conn_close(). Bytes already read behind the request are
 * delivered first. */
struct http_conn;
struct http_conn_callbacks {
	void (*on_data)(struct http_conn *c, const void *data, size_t len, void *user);
	void (*on_eof)(struct http_conn *c, void *user);   /* the peer will send no more; writing still works */
	void (*on_drain)(struct http_conn *c, void *user); /* queue went empty after being non-empty */
	void (*on_close)(struct http_conn *c, void *user); /* last call; also after http_conn_close() */
};
int http_hijack(struct http_request *req, const struct http_conn_callbacks *cb, void *user, struct http_conn **ret);
void http_conn_write(struct http_conn *c, const void *data, size_t len); /* copies, queues */
size_t http_conn_queued(const struct http_conn *c);
void http_conn_pause(struct http_conn *c, bool paused); /* backpressure: stop calling on_data */
void http_conn_shutdown(struct http_conn *c);           /* half-close after the queue is out (TLS close_notify) */
void http_conn_close(struct http_conn *c);

#endif
