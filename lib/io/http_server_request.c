/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request as its handler sees it, whatever protocol it came by. After http_abort() or the peer's leaving, answering is
 * allowed and does nothing until on_close is called.
 */
#include "io/http_server_internal.h"

#include <errno.h>
#include <strings.h>

/* Bodies in the making, of all connections together: more than this many times the largest is refused with 429. */
enum { BODIES_AT_ONCE = 64 };

static size_t bodies_max(const struct http_server *s)
{
	size_t max = s->options.max_body_bytes * BODIES_AT_ONCE;

	return s->options.max_memory_bytes ? MIN(max, s->options.max_memory_bytes / 4) : max;
}

struct http_request *hs_request_new(struct http_conn *c)
{
	struct http_request *req = mem_new(struct http_request);

	req->conn = c;
	req->deadline.of_request = true;
	req->next = c->requests;
	if (req->next)
		req->next->prev = req;
	c->requests = req;
	return req;
}

void hs_request_drained(struct http_request *req)
{
	void (*fn)(struct http_request *, void *) = req->on_drain;

	req->on_drain = NULL;
	req->conn->drain_waiters--;
	fn(req, req->user);
}

void hs_request_free(struct http_request *req)
{
	struct http_conn *c = req->conn;

	if (req->state == HS_READING)
		c->server->body_bytes -= req->body.len;
	if (req->on_drain)
		c->drain_waiters--;
	hs_deadline_set(c->server, &req->deadline, HS_NONE);
	if (req->prev)
		req->prev->next = req->next;
	else
		c->requests = req->next;
	if (req->next)
		req->next->prev = req->prev;
	/* The next wait for a request starts now. */
	if (c->state != HS_CONN_CLOSED)
		hs_deadline_set(c->server, &c->deadline, HS_NONE);
	if (req->on_close && req->state != HS_HIJACKED)
		req->on_close(req, req->user);
	strbuf_done(&req->text);
	strbuf_done(&req->body);
	free(req->fields);
	hs_queue_clear(&req->queue);
	arena_free(req->arena);
	free(req);
}

bool hs_request_body(struct http_request *req, const char *data, size_t len)
{
	struct http_server *s = req->conn->server;

	if (req->body.len + len > s->options.max_body_bytes) {
		req->refuse_status = 413;
		req->refuse_why = "request body is larger than the limit";
		return false;
	}
	if (s->pressed || s->body_bytes + len > bodies_max(s)) {
		req->refuse_status = 429;
		req->refuse_why = s->pressed ? "the server is short of memory, try again later" :
					       "too many request bodies at once, try again later";
		return false;
	}
	strbuf_add(&req->body, data, len);
	s->body_bytes += len;
	return true;
}

void hs_request_dispatch(struct http_request *req)
{
	struct http_server *s = req->conn->server;

	s->body_bytes -= req->body.len;
	req->state = HS_HANDLING;
	hs_deadline_set(s, &req->deadline, HS_NONE);
	s->handler(req, s->user);
}

void hs_refusal(struct http_server *s, int status, const char *why, struct strbuf *ret_body, const char **ret_type)
{
	*ret_type = "text/plain; charset=utf-8";
	if (s->options.on_refused)
		s->options.on_refused(status, why, ret_body, ret_type, s->user);
	else
		strbuf_addf(ret_body, "%s\n", why);
}

bool hs_status_has_body(int status)
{
	return status >= 200 && status != 204 && status != 304;
}

bool hs_field_allowed(const char *name)
{
	static const char *const own[] = {
		"content-length", "date", "connection", "transfer-encoding", "keep-alive", "upgrade", "trailer",
	};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strcasecmp(name, own[i]) == 0)
			return false;
	return true;
}

const char *hs_status_text(int status)
{
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 202: return "Accepted";
	case 204: return "No Content";
	case 206: return "Partial Content";
	case 301: return "Moved Permanently";
	case 302: return "Found";
	case 304: return "Not Modified";
	case 307: return "Temporary Redirect";
	case 308: return "Permanent Redirect";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 406: return "Not Acceptable";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 410: return "Gone";
	case 412: return "Precondition Failed";
	case 413: return "Content Too Large";
	case 415: return "Unsupported Media Type";
	case 417: return "Expectation Failed";
	case 422: return "Unprocessable Content";
	case 426: return "Upgrade Required";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	default: return "Status";
	}
}

const char *http_method(const struct http_request *req)
{
	return req->text.data + req->method;
}

const char *http_path(const struct http_request *req)
{
	return req->text.data + req->path;
}

const char *http_query(const struct http_request *req)
{
	return req->text.data + req->query;
}

const char *http_header(const struct http_request *req, const char *name)
{
	for (size_t i = 0; i < req->field_count; i++)
		if (strcasecmp(req->text.data + req->fields[i].name, name) == 0)
			return req->text.data + req->fields[i].value;
	return NULL;
}

bool http_header_at(const struct http_request *req, size_t i, const char **ret_name, const char **ret_value)
{
	if (i >= req->field_count)
		return false;
	*ret_name = req->text.data + req->fields[i].name;
	*ret_value = req->text.data + req->fields[i].value;
	return true;
}

const void *http_body(const struct http_request *req, size_t *ret_len)
{
	*ret_len = req->body.len;
	return req->body.data ? req->body.data : "";
}

X509 *http_peer_cert(const struct http_request *req)
{
	return req->conn->ssl ? SSL_get0_peer_certificate(req->conn->ssl) : NULL;
}

long http_peer_verify_result(const struct http_request *req)
{
	return req->conn->ssl ? SSL_get_verify_result(req->conn->ssl) : X509_V_OK;
}

const char *http_peer_address(const struct http_request *req)
{
	return req->conn->peer;
}

uint16_t http_local_port(const struct http_request *req)
{
	return hs_local_port(req->conn->fd);
}

bool http_is_h2(const struct http_request *req)
{
	return req->conn->h2 != NULL;
}

struct arena *http_arena(struct http_request *req)
{
	if (!req->arena)
		req->arena = arena_new();
	return req->arena;
}

void http_set_user(struct http_request *req, void *user, void (*on_close)(struct http_request *req, void *user))
{
	req->user = user;
	req->on_close = on_close;
}

void *http_user(const struct http_request *req)
{
	return req->user;
}

static void respond(struct http_request *req, int status, const struct http_field *fields, size_t count,
		    const void *body, size_t len, struct bytes *ref)
{
	if (req->state == HS_ABORTED)
		return;
	BUG_ON(req->state != HS_HANDLING);
	hs_memory_grew(req->conn->server, len);
	if (http_is_h2(req))
		hs_h2_respond(req, status, fields, count, body, len, ref);
	else
		hs_h1_respond(req, status, fields, count, body, len, ref);
}

void http_respond(struct http_request *req, int status, const struct http_field *fields, size_t count,
		  const void *body, size_t len)
{
	respond(req, status, fields, count, body, len, NULL);
}

void http_respond_bytes(struct http_request *req, int status, const struct http_field *fields, size_t count,
			struct bytes *body)
{
	respond(req, status, fields, count, NULL, body->len, body);
}

void http_stream_begin(struct http_request *req, int status, const struct http_field *fields, size_t count)
{
	if (req->state == HS_ABORTED)
		return;
	BUG_ON(req->state != HS_HANDLING);
	if (http_is_h2(req))
		hs_h2_begin(req, status, fields, count);
	else
		hs_h1_begin(req, status, fields, count);
}

static void stream_write(struct http_request *req, const void *data, struct bytes *ref, size_t off, size_t len)
{
	if (req->state == HS_ABORTED)
		return;
	BUG_ON(req->state != HS_STREAMING);
	hs_memory_grew(req->conn->server, len);
	if (http_is_h2(req))
		hs_h2_write(req, data, ref, off, len);
	else
		hs_h1_write(req, data, ref, off, len);
}

void http_stream_write(struct http_request *req, const void *data, size_t len)
{
	stream_write(req, data, NULL, 0, len);
}

void http_stream_write_bytes(struct http_request *req, struct bytes *b, size_t off, size_t len)
{
	stream_write(req, NULL, b, off, len);
}

size_t http_stream_queued(const struct http_request *req)
{
	return http_is_h2(req) ? req->queue.bytes : req->conn->out.bytes;
}

void http_stream_on_drain(struct http_request *req, void (*fn)(struct http_request *req, void *user))
{
	req->conn->drain_waiters += !req->on_drain;
	req->on_drain = fn;
	hs_conn_dirty(req->conn);
}

void http_stream_end(struct http_request *req)
{
	if (req->state == HS_ABORTED)
		return;
	BUG_ON(req->state != HS_STREAMING);
	if (http_is_h2(req))
		hs_h2_end(req);
	else
		hs_h1_end(req);
}

void http_abort(struct http_request *req)
{
	if (req->state == HS_ABORTED || req->state == HS_HIJACKED)
		return;
	if (http_is_h2(req))
		hs_h2_abort(req);
	else
		hs_conn_fail(req->conn);
	req->state = HS_ABORTED;
}

void http_retire(struct http_request *req)
{
	if (req->state == HS_ABORTED || req->state == HS_HIJACKED)
		return;
	if (http_is_h2(req))
		hs_h2_goaway(req->conn);
	req->conn->close_after = true;
	hs_conn_dirty(req->conn);
}

int http_hijack(struct http_request *req, const struct http_conn_callbacks *cb, void *user, struct http_conn **ret)
{
	struct http_conn *c = req->conn;

	if (http_is_h2(req) || req->state != HS_HANDLING)
		return -EPROTO;
	req->state = HS_HIJACKED;
	c->state = HS_CONN_TUNNEL;
	c->close_after = false;
	c->tunnel = *cb;
	c->tunnel_user = user;
	*ret = c;
	hs_conn_dirty(c);
	return 0;
}
