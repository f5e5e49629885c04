/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A strict HTTP/1.1 request reader (RFC 9112): pure, incremental, no I/O. Whatever two parsers could read differently is
 * refused, because that is what request smuggling lives on: bare LF, folded fields, blanks before the colon, control
 * characters, more than one Content-Length or Transfer-Encoding, both at once, a missing or second Host.
 *
 * Use: http1_init(), then http1_next() until it says HTTP1_MORE (all input was taken) or HTTP1_END (one request is
 * complete, the rest of the input belongs to the next) or HTTP1_REFUSED (answer with status and why, then close).
 */
#ifndef KEELSON_IO_HTTP1_H
#define KEELSON_IO_HTTP1_H

#include "base/str.h"

enum http1_event {
	HTTP1_MORE,    /* everything was consumed, more input is needed */
	HTTP1_HEAD,    /* the head is complete: method, path, fields are valid; call again */
	HTTP1_BODY,    /* a piece of the body; call again */
	HTTP1_END,     /* the request is complete */
	HTTP1_REFUSED, /* status and why say what is wrong; the connection cannot be used further */
};

enum http1_phase {
	HTTP1_REQUEST_LINE, HTTP1_FIELDS, HTTP1_LENGTH_BODY, HTTP1_CHUNK_SIZE, HTTP1_CHUNK_DATA, HTTP1_CHUNK_END,
	HTTP1_TRAILERS, HTTP1_COMPLETE, HTTP1_FAILED, HTTP1_PHASE_MAX
};

struct http1_limits {
	size_t max_head_bytes;   /* request line and fields; beyond: 431 */
	size_t max_fields;       /* beyond: 431 */
	uint64_t max_body_bytes; /* beyond: 413 */
};

/* Offsets into text.data, where name and value are NUL-terminated. */
struct http1_field {
	uint32_t name, value;
};

struct http1_reader {
	struct http1_limits limits;
	enum http1_phase phase;
	/* Valid from HTTP1_HEAD on. text and fields may be moved out by the caller then (set them to zero). */
	struct strbuf text;
	struct http1_field *fields;
	size_t field_count, field_cap;
	uint32_t method, path, query; /* offsets into text.data; query is "" without one */
	bool http10, keep_alive, expect_continue;
	bool has_length, chunked;
	uint64_t content_length;
	/* Valid after HTTP1_REFUSED. */
	int status;
	const char *why; /* a literal */
	/* Private. */
	struct strbuf line;
	size_t line_start, overhead_bytes;
	uint64_t left, body_bytes;
	uint32_t host, authority;
	bool skipped_blank, saw_host, saw_connection_close, saw_keep_alive, saw_te;
};

void http1_init(struct http1_reader *r, const struct http1_limits *limits);
void http1_done(struct http1_reader *r);
/* Reads on from *data, *len, which are advanced by what was consumed. *ret_piece, *ret_len are set for HTTP1_BODY only
 * and point into the input. */
enum http1_event http1_next(struct http1_reader *r, const char **data, size_t *len, const char **ret_piece,
			    size_t *ret_len);
/* True when a byte of a request was taken and the request is not complete. */
bool http1_started(const struct http1_reader *r);
/* A request target in origin form, or "*": what HTTP/2's :path may hold as well. */
bool http1_target_ok(const char *s, size_t len);
bool http1_host_ok(const char *s, size_t len);

#endif
