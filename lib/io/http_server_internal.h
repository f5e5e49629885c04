/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the HTTP server share; nobody else includes it. http_server.c: listening, life of the server,
 * deadlines; _conn.c: bytes in and out, TLS; _h1.c and _h2.c: the protocols; _request.c: what the handler sees.
 *
 * Nothing is sent and no request is freed from inside a caller's call: a connection that has something to do is put on
 * the server's dirty list, which is worked off right before the loop waits (hs_conn_service).
 */
#ifndef KEELSON_IO_HTTP_SERVER_INTERNAL_H
#define KEELSON_IO_HTTP_SERVER_INTERNAL_H

#include <nghttp2/nghttp2.h>
#include <sys/uio.h>

#include "io/http1.h"
#include "io/http_server.h"

enum {
	HS_READ_BYTES = 65536,        /* the server's one input buffer */
	HS_TLS_RECORD_BYTES = 16384,
	HS_COPY_BYTES = 2048,         /* slices up to this are copied next to their neighbours instead of referenced */
	HS_INPUT_MAX_BYTES = 65536,   /* pipelined input kept while a request is answered */
	HS_H2_OUT_BYTES = 131072,     /* frames made ahead of the socket */
	HS_OUT_STUCK_BYTES = 1048576, /* a peer that makes us answer frames but does not read is not read further */
	HS_FIELDS_MAX = 256,
	HS_LINGER_MS = 2000,
	HS_LINGER_BYTES = 16777216,
	HS_PEER_TEXT_SIZE = INET6_ADDRSTRLEN + 9,
};

/* Output: a list of slices, copied or referenced. */
struct hs_chunk {
	struct hs_chunk *next;
	struct bytes *ref; /* own; NULL: the bytes are in data */
	uint32_t off, len, cap;
	char data[];
};
struct hs_queue {
	struct hs_chunk *head, *tail;
	size_t bytes;
};
void hs_queue_copy(struct hs_queue *q, const void *data, size_t len);
void hs_queue_ref(struct hs_queue *q, struct bytes *b, size_t off, size_t len);
void hs_queue_move(struct hs_queue *to, struct hs_queue *from, size_t len);
size_t hs_queue_iov(const struct hs_queue *q, struct iovec *iov, size_t max, size_t max_bytes);
void hs_queue_consume(struct hs_queue *q, size_t len);
void hs_queue_clear(struct hs_queue *q);

/* Deadlines: each kind lasts equally long for everyone, so that a list in order of arming is in order of time. */
enum hs_deadline_kind { HS_NONE, HS_HEAD, HS_BODY, HS_IDLE, HS_WRITE, HS_LINGER, HS_DEADLINE_MAX };
struct hs_deadline {
	struct hs_deadline *prev, *next;
	uint64_t at_ms;
	enum hs_deadline_kind kind;
	bool of_request;
};
void hs_deadline_set(struct http_server *s, struct hs_deadline *d, enum hs_deadline_kind kind); /* HS_NONE: off */
/* The same, but one of this kind that is running goes on running. */
void hs_deadline_keep(struct http_server *s, struct hs_deadline *d, enum hs_deadline_kind kind);

enum hs_request_state {
	HS_READING,   /* head or body are still coming */
	HS_HANDLING,  /* the handler has it, nothing was answered */
	HS_STREAMING, /* http_stream_begin() was called */
	HS_ENDED,     /* the whole answer is queued */
	HS_ABORTED,
	HS_HIJACKED,
};
struct http_request {
	struct http_conn *conn;
	struct http_request *prev, *next; /* of the connection */
	struct hs_deadline deadline;      /* HTTP/2 */
	enum hs_request_state state;
	bool head_only, chunked, close_delimited;
	bool refused;  /* the server answers by itself: the rest of the body is dropped */
	bool deferred; /* HTTP/2: nghttp2 waits for nghttp2_session_resume_data() */
	int refuse_status;
	const char *refuse_why;
	int32_t stream_id;
	struct strbuf text;
	struct http1_field *fields;
	size_t field_count, field_cap, head_bytes;
	size_t dropped_bytes; /* HTTP/2: of the body, behind the answer */
	uint32_t method, path, query, host;
	bool has_path, has_host;
	struct strbuf body;
	struct arena *arena;
	struct hs_queue queue; /* HTTP/2: not yet framed */
	void *user;
	void (*on_close)(struct http_request *req, void *user);
	void (*on_drain)(struct http_request *req, void *user);
};

enum hs_conn_state {
	HS_CONN_HANDSHAKE, HS_CONN_DETECT, HS_CONN_H1, HS_CONN_H2, HS_CONN_TUNNEL, HS_CONN_LINGER, HS_CONN_CLOSED,
};
struct http_conn {
	struct http_server *server;
	struct http_conn *prev, *next;
	struct http_conn *dirty_next;
	bool dirty;
	struct hs_peer *from;  /* own reference; NULL: given up */
	uv_poll_t poll;
	int fd, armed;
	SSL *ssl;
	enum hs_conn_state state;
	struct hs_deadline deadline;
	struct hs_queue out;
	bool out_blocked;      /* the socket took no more */
	bool read_again;       /* input may wait inside OpenSSL, or reading was cut short for fairness */
	bool read_wants_write; /* TLS: reading needs the socket writable */
	bool write_wants_read;
	bool eof;              /* the peer sends no more */
	bool failed;           /* close as soon as serviced */
	bool close_after;      /* close when the output is out */
	struct strbuf in;      /* input not yet looked at */
	size_t linger_bytes;

	struct http1_reader h1;
	struct http_request *requests; /* HTTP/1.1: at most one */
	size_t drain_waiters;
	nghttp2_session *h2;
	bool goaway_sent;

	struct http_conn_callbacks tunnel;
	void *tunnel_user;
	bool paused, eof_told, shutdown_wanted, shutdown_done, drain_due, tunnel_closed;
	char peer[HS_PEER_TEXT_SIZE];
};

/* How many connections an address has. */
struct hs_peer {
	unsigned connections;
	char key[INET6_ADDRSTRLEN];
};

struct hs_listener {
	struct hs_listener *next;
	struct http_server *server;
	uv_poll_t poll;
	int fd;
	SSL_CTX *tls;
};

struct http_server {
	uv_loop_t *loop;
	struct http_server_options options;
	http_handler_fn handler;
	void *user;
	struct hs_listener *listeners;
	struct http_conn *conns;
	size_t conn_count, body_bytes; /* body_bytes: of requests not yet handed over, all connections */
	struct http_conn *dirty_head, *dirty_tail;
	uv_prepare_t prepare;
	uv_idle_t idle; /* runs while dirty connections wait for the next pass */
	uv_timer_t timer, grace;
	struct hs_deadline lists[HS_DEADLINE_MAX]; /* heads of rings */
	nghttp2_session_callbacks *h2_callbacks;
	nghttp2_option *h2_options;
	struct map *peers; /* address -> struct hs_peer */
	/* http_server_memory.c */
	int statm_fd;
	bool pressed;
	uint64_t sampled_ms, memory_cuts;
	int64_t trim_at_ms; /* not before */
	size_t uncounted_bytes; /* taken since the last look */
	int spare_fd; /* given up to accept and close a connection when descriptors run out */
	unsigned open_handles;
	bool shutting_down;
	void (*done)(void *user);
	void *done_user;
	int64_t date_s;
	char date[32];
	char read_buf[HS_READ_BYTES];
	char tls_buf[HS_TLS_RECORD_BYTES];
};

/* http_server.c */
const char *hs_date(struct http_server *s); /* IMF-fixdate, made once a second */
void hs_conn_gone(struct http_conn *c);     /* the last word of a closing connection */
void hs_peer_left(struct http_server *s, struct hs_peer *p);
bool hs_evict(struct http_server *s);       /* makes room; false: nobody is idle */

uint16_t hs_local_port(int fd);             /* 0: no TCP socket */

/* http_server_memory.c */
void hs_memory_init(struct http_server *s);
void hs_memory_done(struct http_server *s);
void hs_memory_look(struct http_server *s);               /* from time to time; cuts when there is need */
void hs_memory_grew(struct http_server *s, size_t bytes); /* so much more came in, or is owed */

/* http_server_conn.c */
void hs_conn_accept(struct http_server *s, int fd, SSL_CTX *tls, const char *peer, struct hs_peer *from);
void hs_conn_dirty(struct http_conn *c);
void hs_conn_service(struct http_conn *c);
void hs_conn_fail(struct http_conn *c);    /* closes soon, nothing more is sent */
void hs_conn_expired(struct http_conn *c, enum hs_deadline_kind kind);
void hs_conn_stop(struct http_conn *c);    /* graceful: as soon as nothing is in flight */

/* http_server_h1.c */
void hs_h1_start(struct http_conn *c);
void hs_h1_input(struct http_conn *c, const char *data, size_t len);
/* Called when the output is out; true: something was done, come again. */
bool hs_h1_service(struct http_conn *c);
void hs_h1_refuse(struct http_conn *c, int status, const char *why);
void hs_h1_respond(struct http_request *req, int status, const struct http_field *fields, size_t count,
		   const void *body, size_t len, struct bytes *ref);
void hs_h1_begin(struct http_request *req, int status, const struct http_field *fields, size_t count);
void hs_h1_write(struct http_request *req, const void *data, struct bytes *ref, size_t off, size_t len);
void hs_h1_end(struct http_request *req);

/* http_server_h2.c */
int hs_h2_server_init(struct http_server *s);
void hs_h2_start(struct http_conn *c);
void hs_h2_input(struct http_conn *c, const char *data, size_t len);
void hs_h2_pump(struct http_conn *c); /* makes frames while there is room */
bool hs_h2_service(struct http_conn *c);
void hs_h2_goaway(struct http_conn *c);
void hs_h2_refuse(struct http_request *req, int status, const char *why);
void hs_h2_respond(struct http_request *req, int status, const struct http_field *fields, size_t count,
		   const void *body, size_t len, struct bytes *ref);
void hs_h2_begin(struct http_request *req, int status, const struct http_field *fields, size_t count);
void hs_h2_write(struct http_request *req, const void *data, struct bytes *ref, size_t off, size_t len);
void hs_h2_end(struct http_request *req);
void hs_h2_abort(struct http_request *req);
void hs_h2_lingered(struct http_request *req); /* answered long enough ago: the rest of the body is not waited for */

/* http_server_request.c */
struct http_request *hs_request_new(struct http_conn *c);
void hs_request_free(struct http_request *req); /* calls on_close */
void hs_request_drained(struct http_request *req); /* calls on_drain, which must be set */
/* Adds to the body; false when a limit is met (refuse_status and refuse_why are set). */
bool hs_request_body(struct http_request *req, const char *data, size_t len);
void hs_request_dispatch(struct http_request *req);
/* The body of a refusal; *ret_type is a literal. */
void hs_refusal(struct http_server *s, int status, const char *why, struct strbuf *ret_body, const char **ret_type);
bool hs_status_has_body(int status);
/* False for fields the server makes itself or that must not be sent. */
bool hs_field_allowed(const char *name);
const char *hs_status_text(int status);

#endif
