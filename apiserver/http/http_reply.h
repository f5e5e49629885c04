/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small reader of one HTTP/1.1 response (RFC 9112): status, then the body with or without chunks. Incremental, no I/O. */
#ifndef KEELSON_APISERVER_HTTP_HTTP_REPLY_H
#define KEELSON_APISERVER_HTTP_HTTP_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum http_reply_phase { REPLY_HEAD, REPLY_LENGTH, REPLY_UNTIL_CLOSE, REPLY_CHUNK_SIZE, REPLY_CHUNK_DATA, REPLY_CHUNK_END,
	REPLY_TRAILERS, REPLY_DONE };
struct http_reply {
	enum http_reply_phase phase;
	int status;           /* 0 until the head is complete */
	struct strbuf line;   /* private */
	uint64_t left;
	bool chunked, has_length;
	bool no_body;         /* set beforehand: the answer to a HEAD request */
	/* Set beforehand when wanted: each header line, split; both are valid for the call only. */
	void (*on_header)(const char *name, const char *value, void *user);
	void *header_user;
};
/* Feeds bytes; body pieces go to on_body. 0, or -EPROTO when it is no response (or its head is beyond 32 KiB). */
int http_reply_feed(struct http_reply *r, const char *data, size_t len, void (*on_body)(const char *data, size_t len, void *user),
		    void *user);
void http_reply_done(struct http_reply *r);

#endif
