/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/1.1 on a connection of the server: one request at a time, in order. Input behind a request waits in c->in until
 * the answer is out. A refused connection answers once and is closed, because where its next request starts is unknown.
 */
#include "io/http_server_internal.h"

#include <stdio.h>
#include <strings.h>

static void reader_reset(struct http_conn *c)
{
	struct http1_limits limits = {
		.max_head_bytes = c->server->options.max_head_bytes,
		.max_fields = HS_FIELDS_MAX,
		.max_body_bytes = c->server->options.max_body_bytes,
	};

	http1_done(&c->h1);
	http1_init(&c->h1, &limits);
}

void hs_h1_start(struct http_conn *c)
{
	c->state = HS_CONN_H1;
	reader_reset(c);
}

static void on_head(struct http_conn *c, bool body_waits)
{
	struct http1_reader *r = &c->h1;
	struct http_request *req = hs_request_new(c);

	req->text = r->text;
	req->fields = r->fields;
	req->field_count = r->field_count;
	req->method = r->method;
	req->path = r->path;
	req->query = r->query;
	req->close_delimited = r->http10;
	req->head_only = strcmp(req->text.data + req->method, "HEAD") == 0;
	r->text = (struct strbuf){ 0 };
	r->fields = NULL;
	if (!r->keep_alive)
		c->close_after = true;
	if (r->expect_continue && !body_waits && (r->chunked || r->content_length)) {
		hs_queue_copy(&c->out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		hs_conn_dirty(c);
	}
}

/* Reads requests until one is whole; what is behind it is kept for later. */
void hs_h1_input(struct http_conn *c, const char *data, size_t len)
{
	if (!c->requests ? c->close_after : c->requests->state != HS_READING) {
		if (!c->close_after) /* else nothing more will be looked at */
			strbuf_add(&c->in, data, len);
		return;
	}
	while (c->state == HS_CONN_H1 && !c->failed) {
		const char *piece;
		size_t piece_len;

		switch (http1_next(&c->h1, &data, &len, &piece, &piece_len)) {
		case HTTP1_MORE:
			return;
		case HTTP1_HEAD:
			on_head(c, len > 0);
			break;
		case HTTP1_BODY:
			if (!hs_request_body(c->requests, piece, piece_len)) {
				hs_h1_refuse(c, c->requests->refuse_status, c->requests->refuse_why);
				return;
			}
			break;
		case HTTP1_END:
			/* Kept first: the handler may take the connection over. */
			if (len)
				strbuf_add(&c->in, data, len);
			reader_reset(c);
			hs_request_dispatch(c->requests);
			return;
		case HTTP1_REFUSED:
			hs_h1_refuse(c, c->h1.status, c->h1.why);
			return;
		}
	}
}

bool hs_h1_service(struct http_conn *c)
{
	struct http_request *req = c->requests;

	if (req && req->state == HS_ENDED && c->out.bytes == 0) {
		hs_request_free(req);
		req = NULL;
		if (c->close_after)
			return false;
	}
	if (req && req->on_drain && c->out.bytes == 0) {
		hs_request_drained(req);
		return true;
	}
	if (!req && c->in.len && !c->close_after) {
		_cleanup_strbuf_ struct strbuf in = c->in;

		c->in = (struct strbuf){ 0 };
		hs_h1_input(c, in.data, in.len);
		return true;
	}
	return false;
}

static void put_head(struct http_conn *c, int status, const struct http_field *fields, size_t count, const char *framing)
{
	char line[96];
	int n = snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\nDate: ", status, hs_status_text(status));

	hs_queue_copy(&c->out, line, (size_t)n);
	hs_queue_copy(&c->out, hs_date(c->server), strlen(hs_date(c->server)));
	hs_queue_copy(&c->out, "\r\n", 2);
	for (size_t i = 0; i < count; i++) {
		const char *v = fields[i].value;
		size_t ok;

		if (!hs_field_allowed(fields[i].name))
			continue;
		hs_queue_copy(&c->out, fields[i].name, strlen(fields[i].name));
		hs_queue_copy(&c->out, ": ", 2);
		/* A value may hold what a peer sent: a line break in it would start a header of the peer's choice. */
		while (v[ok = strcspn(v, "\r\n")]) {
			hs_queue_copy(&c->out, v, ok);
			hs_queue_copy(&c->out, " ", 1);
			v += ok + 1;
		}
		hs_queue_copy(&c->out, v, ok);
		hs_queue_copy(&c->out, "\r\n", 2);
	}
	hs_queue_copy(&c->out, framing, strlen(framing));
	if (c->close_after)
		hs_queue_copy(&c->out, "Connection: close\r\n", 19);
	else if (c->requests && c->requests->close_delimited)
		hs_queue_copy(&c->out, "Connection: keep-alive\r\n", 24);
	hs_queue_copy(&c->out, "\r\n", 2);
	hs_conn_dirty(c);
}

void hs_h1_refuse(struct http_conn *c, int status, const char *why)
{
	_cleanup_strbuf_ struct strbuf body = { 0 };
	const char *type;
	struct http_field fields[] = { { "Content-Type", NULL }, { "Retry-After", "1" } };
	char framing[64];

	hs_refusal(c->server, status, why, &body, &type);
	fields[0].value = type;
	if (c->requests) /* still being read, the handler never saw it */
		hs_request_free(c->requests);
	c->close_after = true;
	snprintf(framing, sizeof(framing), "Content-Length: %zu\r\n", body.len);
	put_head(c, status, fields, status == 429 || status == 503 ? 2 : 1, framing);
	hs_queue_copy(&c->out, body.data, body.len);
}

void hs_h1_respond(struct http_request *req, int status, const struct http_field *fields, size_t count,
		   const void *body, size_t len, struct bytes *ref)
{
	struct http_conn *c = req->conn;
	char framing[64] = "";

	if (hs_status_has_body(status))
		snprintf(framing, sizeof(framing), "Content-Length: %zu\r\n", len);
	put_head(c, status, fields, count, framing);
	if (!req->head_only && hs_status_has_body(status)) {
		if (ref)
			hs_queue_ref(&c->out, ref, 0, len);
		else
			hs_queue_copy(&c->out, body, len);
	}
	req->state = HS_ENDED;
}

void hs_h1_begin(struct http_request *req, int status, const struct http_field *fields, size_t count)
{
	struct http_conn *c = req->conn;

	req->state = HS_STREAMING;
	if (req->close_delimited) /* HTTP/1.0 knows no chunks: the end of the connection is the end of the body */
		c->close_after = true;
	req->chunked = !req->close_delimited && !req->head_only && hs_status_has_body(status);
	put_head(c, status, fields, count, req->close_delimited ? "" : "Transfer-Encoding: chunked\r\n");
	if (c->eof)
		hs_conn_fail(c);
}

void hs_h1_write(struct http_request *req, const void *data, struct bytes *ref, size_t off, size_t len)
{
	struct hs_queue *q = &req->conn->out;
	char size[24];

	if (len == 0 || (!req->chunked && !req->close_delimited) || req->head_only)
		return;
	if (req->chunked) {
		int n = snprintf(size, sizeof(size), "%zx\r\n", len);

		hs_queue_copy(q, size, (size_t)n);
	}
	if (ref)
		hs_queue_ref(q, ref, off, len);
	else
		hs_queue_copy(q, data, len);
	if (req->chunked)
		hs_queue_copy(q, "\r\n", 2);
	hs_conn_dirty(req->conn);
}

void hs_h1_end(struct http_request *req)
{
	if (req->chunked)
		hs_queue_copy(&req->conn->out, "0\r\n\r\n", 5);
	req->state = HS_ENDED;
	hs_conn_dirty(req->conn);
}
