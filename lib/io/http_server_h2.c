/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/2 on a connection of the server, by nghttp2, which checks frames, flow control and header rules (RFC 9113
 * section 8) and limits resets, settings, pings and continuations. Frames are made only while little output waits, so
 * that a slow connection holds the streams' own queues, which http_stream_queued() shows. nghttp2 is never asked for
 * output from inside one of its callbacks.
 */
#include "io/http_server_internal.h"

#include <stdio.h>
#include <strings.h>

enum {
	H2_STREAM_WINDOW = 262144,
	H2_CONN_WINDOW = 1048576,
	H2_FIELD_OVERHEAD = 32, /* RFC 9113 section 6.5.2 */
	H2_NV_OWN = 3,          /* status, date, length */
	H2_STATUS_SIZE = 12,
};

static struct http_request *request_of(nghttp2_session *session, int32_t stream_id)
{
	return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct http_conn *c = user;
	struct http_request *req;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	req = hs_request_new(c);
	req->stream_id = frame->hd.stream_id;
	strbuf_add(&req->text, "", 1); /* offset 0 is the empty string */
	nghttp2_session_set_stream_user_data(session, req->stream_id, req);
	hs_deadline_set(c->server, &req->deadline, HS_BODY);
	return 0;
}

static uint32_t keep(struct http_request *req, const uint8_t *s, size_t len)
{
	uint32_t at = (uint32_t)req->text.len;

	strbuf_add(&req->text, s, len);
	strbuf_addc(&req->text, '\0');
	return at;
}

static void add_field(struct http_request *req, const char *name, size_t name_len, const uint8_t *value, size_t len)
{
	uint32_t at = keep(req, (const uint8_t *)name, name_len);

	MEM_GROW(req->fields, req->field_cap, req->field_count + 1);
	req->fields[req->field_count++] = (struct http1_field){ .name = at, .value = keep(req, value, len) };
}

static void mark_refused(struct http_request *req, int status, const char *why)
{
	if (req->refuse_status)
		return;
	req->refuse_status = status;
	req->refuse_why = why;
}

static void add_path(struct http_request *req, const uint8_t *value, size_t len)
{
	const uint8_t *q = memchr(value, '?', len);

	if (!http1_target_ok((const char *)value, len))
		mark_refused(req, 400, "malformed :path");
	req->path = keep(req, value, q ? (size_t)(q - value) : len);
	if (q)
		req->query = keep(req, q + 1, len - (size_t)(q + 1 - value));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t len, uint8_t flags _unused_, void *user)
{
	struct http_conn *c = user;
	struct http_request *req;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0; /* trailers: checked by nghttp2, dropped */
	req = request_of(session, frame->hd.stream_id);
	if (!req)
		return 0;
	req->head_bytes += name_len + len + H2_FIELD_OVERHEAD;
	if (req->head_bytes > c->server->options.max_head_bytes) {
		mark_refused(req, 431, "request head is larger than the limit");
		return 0;
	}
	if (req->field_count >= HS_FIELDS_MAX) {
		mark_refused(req, 431, "too many header fields");
		return 0;
	}
	if (name[0] != ':') {
		bool is_host = name_len == 4 && memcmp(name, "host", 4) == 0;

		/* :authority stands in the host field already and is what counts. */
		if (is_host && req->has_host)
			return 0;
		if (is_host && !http1_host_ok((const char *)value, len))
			mark_refused(req, 400, "malformed Host");
		req->has_host = req->has_host || is_host;
		add_field(req, (const char *)name, name_len, value, len);
	} else if (name_len == 7 && memcmp(name, ":method", 7) == 0) {
		req->method = keep(req, value, len);
		req->head_only = len == 4 && memcmp(value, "HEAD", 4) == 0;
	} else if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
		add_path(req, value, len);
		req->has_path = true;
	} else if (name_len == 10 && memcmp(name, ":authority", 10) == 0) {
		if (!http1_host_ok((const char *)value, len))
			mark_refused(req, 400, "malformed :authority");
		req->has_host = true;
		add_field(req, "host", 4, value, len);
	}
	return 0;
}

static int on_invalid_header(nghttp2_session *session _unused_, const nghttp2_frame *frame _unused_,
			     const uint8_t *name _unused_, size_t name_len _unused_, const uint8_t *value _unused_,
			     size_t len _unused_, uint8_t flags _unused_, void *user _unused_)
{
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* RST_STREAM instead of dropping the field silently */
}

static void head_complete(struct http_request *req, bool ended)
{
	struct http_conn *c = req->conn;
	const char *length = http_header(req, "content-length"), *expect = http_header(req, "expect");

	if (!req->has_path)
		mark_refused(req, 501, "CONNECT is not implemented");
	/* nghttp2 has checked that it is a number. */
	if (length && strtoull(length, NULL, 10) > c->server->options.max_body_bytes)
		mark_refused(req, 413, "request body is larger than the limit");
	if (req->refuse_status) {
		hs_h2_refuse(req, req->refuse_status, req->refuse_why);
	} else if (!ended && expect && strcasecmp(expect, "100-continue") == 0) {
		nghttp2_nv nv = {
			.name = (uint8_t *)":status", .namelen = 7, .value = (uint8_t *)"100", .valuelen = 3,
		};

		nghttp2_submit_headers(c->h2, NGHTTP2_FLAG_NONE, req->stream_id, NULL, &nv, 1, NULL);
	}
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user _unused_)
{
	struct http_request *req;
	bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	req = request_of(session, frame->hd.stream_id);
	if (!req || req->state != HS_READING)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		head_complete(req, ended);
	if (ended && req->state == HS_READING)
		hs_request_dispatch(req);
	return 0;
}

static void stop_sending(struct http_request *req)
{
	nghttp2_submit_rst_stream(req->conn->h2, NGHTTP2_FLAG_NONE, req->stream_id, NGHTTP2_NO_ERROR);
	hs_conn_dirty(req->conn);
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags _unused_, int32_t stream_id, const uint8_t *data,
			 size_t len, void *user _unused_)
{
	struct http_request *req = request_of(session, stream_id);

	if (!req)
		return 0;
	if (req->state != HS_READING) {
		bool enough = req->dropped_bytes > HS_LINGER_BYTES; /* it was told already */

		req->dropped_bytes += len;
		if (!enough && req->dropped_bytes > HS_LINGER_BYTES)
			stop_sending(req);
	} else if (!hs_request_body(req, (const char *)data, len)) {
		hs_h2_refuse(req, req->refuse_status, req->refuse_why);
	}
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code _unused_, void *user _unused_)
{
	struct http_request *req = request_of(session, stream_id);

	if (req) {
		nghttp2_session_set_stream_user_data(session, stream_id, NULL);
		hs_request_free(req);
	}
	return 0;
}

/* The answer is out but the request is not all in: what still comes is dropped for a moment, then the peer is told to
 * stop (RFC 9113 section 8.1). A reset right behind the answer would be allowed, too, but libcurl takes it for a failure
 * and does not show the answer. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct http_conn *c = user;
	int32_t id = frame->hd.stream_id;
	struct http_request *req;

	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || nghttp2_session_get_stream_remote_close(session, id) != 0)
		return 0;
	req = request_of(session, id);
	if (req)
		hs_deadline_set(c->server, &req->deadline, HS_LINGER);
	return 0;
}

static int on_send_data(nghttp2_session *session _unused_, nghttp2_frame *frame _unused_, const uint8_t *framehd,
			size_t len, nghttp2_data_source *source, void *user)
{
	struct http_conn *c = user;
	struct http_request *req = source->ptr;

	hs_queue_copy(&c->out, framehd, 9);
	hs_queue_move(&c->out, &req->queue, len);
	hs_deadline_set(c->server, &req->deadline, req->state == HS_ENDED ? HS_WRITE : HS_NONE);
	return 0;
}

int hs_h2_server_init(struct http_server *s)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&s->h2_callbacks) != 0 || nghttp2_option_new(&s->h2_options) != 0)
		return -1;
	cb = s->h2_callbacks;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
	nghttp2_option_set_no_closed_streams(s->h2_options, 1);
	nghttp2_option_set_max_outbound_ack(s->h2_options, 200);
	/* A client that stops all its watches at once resets many streams in one go; a rapid reset goes on. */
	nghttp2_option_set_stream_reset_rate_limit(s->h2_options, 1000, 100);
	return 0;
}

void hs_h2_start(struct http_conn *c)
{
	struct http_server *s = c->server;
	nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->options.max_streams },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)s->options.max_head_bytes },
	};

	c->state = HS_CONN_H2;
	BUG_ON(nghttp2_session_server_new2(&c->h2, s->h2_callbacks, c, s->h2_options) != 0);
	nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
	nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW);
}

void hs_h2_input(struct http_conn *c, const char *data, size_t len)
{
	ssize_t n = nghttp2_session_mem_recv(c->h2, (const uint8_t *)data, len);

	/* An error that nghttp2 tells the peer about (GOAWAY) is no error here; what remains is not HTTP/2 at all. */
	if (n < 0)
		hs_conn_fail(c);
	hs_conn_dirty(c);
}

void hs_h2_pump(struct http_conn *c)
{
	while (c->out.bytes < HS_H2_OUT_BYTES) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(c->h2, &data);

		if (n < 0) {
			hs_conn_fail(c);
			return;
		}
		if (n == 0)
			return;
		hs_queue_copy(&c->out, data, (size_t)n);
	}
}

bool hs_h2_service(struct http_conn *c)
{
	bool did = false;

	while (c->drain_waiters && !c->failed) {
		struct http_request *req = c->requests;

		while (req && !(req->on_drain && req->queue.bytes == 0))
			req = req->next;
		if (!req)
			break;
		hs_request_drained(req);
		did = true;
	}
	if (!nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2)) {
		/* GOAWAY is out. Streams that are still open ended with a protocol error of the peer. */
		while (c->requests)
			hs_request_free(c->requests);
		c->close_after = true;
		return false;
	}
	return did || (!c->failed && nghttp2_session_want_write(c->h2));
}

void hs_h2_goaway(struct http_conn *c)
{
	if (c->goaway_sent || !c->h2)
		return;
	c->goaway_sent = true;
	nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->h2), NGHTTP2_NO_ERROR,
			      NULL, 0);
	hs_conn_dirty(c);
}

static ssize_t read_queue(nghttp2_session *session _unused_, int32_t stream_id _unused_, uint8_t *buf _unused_,
			  size_t len, uint32_t *flags, nghttp2_data_source *source, void *user _unused_)
{
	struct http_request *req = source->ptr;
	size_t n = MIN(len, req->queue.bytes);

	if (n == 0 && req->state != HS_ENDED) {
		req->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n > 0)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (req->state == HS_ENDED && n == req->queue.bytes)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static void set_nv(nghttp2_nv *nv, const char *name, const char *value)
{
	*nv = (nghttp2_nv){
		.name = (uint8_t *)name, .namelen = strlen(name), .value = (uint8_t *)value, .valuelen = strlen(value),
	};
}

/* nghttp2 copies names (lower-cased by it) and values. */
static void submit_head(struct http_request *req, int status, const struct http_field *fields, size_t count,
			const char *length, bool body)
{
	struct http_conn *c = req->conn;
	nghttp2_data_provider provider = { .source.ptr = req, .read_callback = read_queue };
	_cleanup_free_ nghttp2_nv *nv = mem_new_n(nghttp2_nv, count + H2_NV_OWN);
	char status_text[H2_STATUS_SIZE];
	size_t n = 0;

	snprintf(status_text, sizeof(status_text), "%d", status);
	set_nv(&nv[n++], ":status", status_text);
	set_nv(&nv[n++], "date", hs_date(c->server));
	if (length)
		set_nv(&nv[n++], "content-length", length);
	for (size_t i = 0; i < count; i++) {
		/* A value that may not stand in a header would make the peer refuse the whole answer. */
		if (!hs_field_allowed(fields[i].name) ||
		    !nghttp2_check_header_value((const uint8_t *)fields[i].value, strlen(fields[i].value)))
			continue;
		set_nv(&nv[n++], fields[i].name, fields[i].value);
	}
	if (nghttp2_submit_response(c->h2, req->stream_id, nv, n, body ? &provider : NULL) != 0)
		nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, req->stream_id, NGHTTP2_INTERNAL_ERROR);
	hs_conn_dirty(c);
}

void hs_h2_respond(struct http_request *req, int status, const struct http_field *fields, size_t count,
		   const void *body, size_t len, struct bytes *ref)
{
	bool has_body = hs_status_has_body(status) && !req->head_only && len > 0;
	char length[24];

	snprintf(length, sizeof(length), "%zu", len);
	if (has_body && ref)
		hs_queue_ref(&req->queue, ref, 0, len);
	else if (has_body)
		hs_queue_copy(&req->queue, body, len);
	req->state = HS_ENDED;
	hs_deadline_set(req->conn->server, &req->deadline, HS_WRITE);
	submit_head(req, status, fields, count, hs_status_has_body(status) ? length : NULL, has_body);
}

void hs_h2_refuse(struct http_request *req, int status, const char *why)
{
	_cleanup_strbuf_ struct strbuf body = { 0 };
	struct http_server *s = req->conn->server;
	const char *type;
	struct http_field fields[] = { { "content-type", NULL }, { "retry-after", "1" } };

	hs_refusal(s, status, why, &body, &type);
	fields[0].value = type;
	s->body_bytes -= req->body.len;
	strbuf_done(&req->body);
	hs_h2_respond(req, status, fields, status == 429 || status == 503 ? 2 : 1, body.data, body.len, NULL);
}

void hs_h2_begin(struct http_request *req, int status, const struct http_field *fields, size_t count)
{
	req->state = HS_STREAMING;
	submit_head(req, status, fields, count, NULL, hs_status_has_body(status) && !req->head_only);
}

static void resume(struct http_request *req)
{
	if (req->deferred) {
		req->deferred = false;
		nghttp2_session_resume_data(req->conn->h2, req->stream_id);
	}
	hs_conn_dirty(req->conn);
}

void hs_h2_write(struct http_request *req, const void *data, struct bytes *ref, size_t off, size_t len)
{
	if (len == 0 || req->head_only)
		return;
	if (ref)
		hs_queue_ref(&req->queue, ref, off, len);
	else
		hs_queue_copy(&req->queue, data, len);
	resume(req);
}

void hs_h2_end(struct http_request *req)
{
	req->state = HS_ENDED;
	hs_deadline_set(req->conn->server, &req->deadline, HS_WRITE);
	resume(req);
}

void hs_h2_lingered(struct http_request *req)
{
	stop_sending(req);
}

void hs_h2_abort(struct http_request *req)
{
	nghttp2_submit_rst_stream(req->conn->h2, NGHTTP2_FLAG_NONE, req->stream_id,
				  req->state == HS_HANDLING || req->state == HS_STREAMING ? NGHTTP2_INTERNAL_ERROR :
											   NGHTTP2_CANCEL);
	hs_conn_dirty(req->conn);
}
