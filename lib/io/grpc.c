/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gRPC client (gRPC over HTTP/2, "PROTOCOL-HTTP2.md") on one connection to a unix
 * socket or a TCP port, with TLS between HTTP/2 and TCP where a context was given: OpenSSL works on memory BIOs, and libuv
 * carries what is in them.
 *
 * What always holds: a call is on exactly one list of its client until it is freed; user callbacks other than
 * on_message run from no nghttp2 callback, so that they may start and cancel calls and free the client; the session and
 * the pipe are created and destroyed together. A connection is made when a call needs one and dropped on the first
 * error or GOAWAY, which ends every call on it with GRPC_UNAVAILABLE: the next call connects anew.
 */
#include "io/grpc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	GRPC_PREFIX_BYTES = 5,
	GRPC_MAX_MESSAGE_BYTES = 64 << 20,
	GRPC_MAX_STATUS_TEXT_BYTES = 16 << 10,
	GRPC_WINDOW_BYTES = 1 << 20,
	GRPC_READ_BYTES = 64 << 10,
	GRPC_TLS_BYTES = 16 << 10, /* a record */
	GRPC_STATUS_MISSING = -1,
};

/* One connection; outlives the client's interest in it until libuv has closed the handle. */
struct grpc_conn {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_pipe_t pipe;
		uv_tcp_t tcp;
	} io;
	uv_connect_t connect;
	nghttp2_session *session;
	SSL *ssl;                   /* NULL: cleartext */
	struct grpc_client *client; /* NULL: abandoned */
	bool connected, dead;
	const char *why;            /* a literal: how it died */
};

struct grpc_call {
	struct grpc_client *client;
	struct grpc_call *prev, *next;
	char *path;
	struct strlist metadata;
	struct strbuf out; /* the framed request; freed once sent */
	size_t out_off;
	struct strbuf in;
	int32_t stream_id; /* 0: not submitted yet */
	int http_status, status;
	char *status_text;
	int64_t deadline_ms; /* 0: none */
	bool finished;       /* waits for on_done */
	bool cancelled;      /* freed at the next reap */
	grpc_message_fn on_message;
	grpc_done_fn on_done;
	void *user;
};

struct grpc_client {
	uv_loop_t *loop;
	char *path;
	SSL_CTX *tls;      /* NULL: cleartext */
	struct grpc_conn *conn;
	struct grpc_call *calls;
	uv_timer_t *timer; /* deadlines, and 0 for work that must not run inside a caller */
	unsigned depth;    /* callbacks in progress */
	bool freed;
	char read_buf[GRPC_READ_BYTES];
};

static void client_run(struct grpc_client *c);

static void call_free(struct grpc_call *call)
{
	struct grpc_client *c = call->client;

	if (call->prev)
		call->prev->next = call->next;
	else
		c->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	strbuf_done(&call->out);
	strbuf_done(&call->in);
	strlist_done(&call->metadata);
	free(call->path);
	free(call->status_text);
	free(call);
}

/* The end of a call; on_done follows from client_run(). The first end counts. */
static void call_finish(struct grpc_call *call, int status, const char *text)
{
	if (call->finished)
		return;
	call->finished = true;
	call->status = status;
	if (text) {
		free(call->status_text);
		call->status_text = mem_strdup(text);
	}
}

static void handle_freed(uv_handle_t *h)
{
	free(h);
}

static void conn_closed(uv_handle_t *h)
{
	struct grpc_conn *conn = h->data;

	if (conn->session)
		nghttp2_session_del(conn->session);
	SSL_free(conn->ssl);
	free(conn);
}

/* Lets go of the connection; calls that were on it end. Not from inside nghttp2. */
static void client_drop_conn(struct grpc_client *c, const char *why)
{
	struct grpc_conn *conn = TAKE(c->conn);

	if (!conn)
		return;
	conn->client = NULL;
	uv_close(&conn->io.handle, conn_closed);
	for (struct grpc_call *call = c->calls; call; call = call->next)
		call_finish(call, GRPC_UNAVAILABLE, why);
}

static void on_timer(uv_timer_t *t)
{
	client_run(t->data);
}

/* Runs client_run() from the loop as soon as it turns. */
static void client_kick(struct grpc_client *c)
{
	if (!c->freed)
		uv_timer_start(c->timer, on_timer, 0, 0);
}

static void conn_die(struct grpc_conn *conn, const char *why)
{
	if (conn->dead)
		return;
	conn->dead = true;
	conn->why = why;
	if (conn->client)
		client_kick(conn->client);
}

/* nghttp2 */

static struct grpc_call *stream_call(nghttp2_session *s, int32_t stream_id)
{
	struct grpc_call *call = nghttp2_session_get_stream_user_data(s, stream_id);

	return call && !call->cancelled && !call->finished ? call : NULL;
}

/* Delivers the whole messages that have arrived. */
static void call_deliver(struct grpc_call *call, nghttp2_session *s, int32_t stream_id)
{
	size_t off = 0;

	while (!call->cancelled && !call->finished && call->in.len - off >= GRPC_PREFIX_BYTES) {
		uint32_t len;

		memcpy(&len, call->in.data + off + 1, sizeof(len));
		len = ntohl(len);
		if (call->in.data[off] != 0 || len > GRPC_MAX_MESSAGE_BYTES) {
			call_finish(call, call->in.data[off] ? GRPC_UNIMPLEMENTED : GRPC_RESOURCE_EXHAUSTED,
				    call->in.data[off] ? "the server sent a compressed message, which was not asked for"
						       : "the server sent a message beyond 64 MiB");
			nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_CANCEL);
			return;
		}
		if (call->in.len - off - GRPC_PREFIX_BYTES < len)
			break;
		if (call->on_message)
			call->on_message(call->in.data + off + GRPC_PREFIX_BYTES, len, call->user);
		off += GRPC_PREFIX_BYTES + len;
	}
	if (off > 0) {
		memmove(call->in.data, call->in.data + off, call->in.len - off);
		call->in.len -= off;
		if (call->in.len == 0 && call->in.cap > GRPC_READ_BYTES)
			strbuf_done(&call->in);
	}
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len, void *user)
{
	struct grpc_call *call = stream_call(s, stream_id);

	(void)flags, (void)user;
	if (!call)
		return 0;
	strbuf_add(&call->in, data, len);
	call_deliver(call, s, stream_id);
	return 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct grpc_call *call = stream_call(s, f->hd.stream_id);
	uint64_t n;

	(void)flags, (void)user, (void)name_len, (void)value_len; /* both are NUL-terminated by nghttp2 */
	if (!call)
		return 0;
	if (str_eq((const char *)name, ":status") && str_to_u64((const char *)value, 999, &n) == 0) {
		call->http_status = (int)n;
	} else if (str_eq((const char *)name, "grpc-status")) {
		call->status = str_to_u64((const char *)value, GRPC_UNAUTHENTICATED, &n) == 0 ? (int)n : GRPC_UNKNOWN;
	} else if (str_eq((const char *)name, "grpc-message")) {
		struct strbuf text = { 0 };
		size_t len = MIN(value_len, (size_t)GRPC_MAX_STATUS_TEXT_BYTES);

		if (url_decode(&text, (const char *)value, len, false) < 0) {
			strbuf_reset(&text);
			strbuf_add(&text, value, len);
		}
		free(call->status_text);
		call->status_text = strbuf_take(&text);
	}
	return 0;
}

static int status_of_h2_error(uint32_t error)
{
	switch (error) {
	case NGHTTP2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	default:
		return GRPC_INTERNAL;
	}
}

static int on_stream_close(nghttp2_session *s, int32_t stream_id, uint32_t error, void *user)
{
	struct grpc_call *call = stream_call(s, stream_id);

	(void)user;
	nghttp2_session_set_stream_user_data(s, stream_id, NULL);
	if (!call)
		return 0;
	if (call->status != GRPC_STATUS_MISSING) {
		call_finish(call, call->status, NULL);
	} else if (error != NGHTTP2_NO_ERROR) {
		call_finish(call, status_of_h2_error(error), nghttp2_http2_strerror(error));
	} else {
		_cleanup_free_ char *text = str_printf("the server answered HTTP %d without a gRPC status",
						       call->http_status);

		call_finish(call, call->http_status == 503 || call->http_status == 429 ? GRPC_UNAVAILABLE : GRPC_UNKNOWN,
			    text);
	}
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	(void)s;
	if (f->hd.type == NGHTTP2_GOAWAY)
		conn_die(user, "the server is going away");
	return 0;
}

static ssize_t on_read_request(nghttp2_session *s, int32_t stream_id, uint8_t *buf, size_t len, uint32_t *flags,
			       nghttp2_data_source *source, void *user)
{
	struct grpc_call *call = nghttp2_session_get_stream_user_data(s, stream_id);
	size_t n;

	(void)source, (void)user;
	if (!call || call->cancelled)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	n = MIN(len, call->out.len - call->out_off);
	memcpy(buf, call->out.data + call->out_off, n);
	call->out_off += n;
	if (call->out_off == call->out.len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		strbuf_done(&call->out);
		call->out_off = 0;
	}
	return (ssize_t)n;
}

static nghttp2_session *session_new(struct grpc_conn *conn)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GRPC_WINDOW_BYTES },
	};
	nghttp2_session_callbacks *cb;
	nghttp2_session *s;

	BUG_ON(nghttp2_session_callbacks_new(&cb) != 0);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	BUG_ON(nghttp2_session_client_new(&s, cb, conn) != 0);
	nghttp2_session_callbacks_del(cb);
	BUG_ON(nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)) != 0);
	nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, 4 * GRPC_WINDOW_BYTES);
	return s;
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static void call_submit(struct grpc_call *call, struct grpc_conn *conn)
{
	nghttp2_data_provider body = { .read_callback = on_read_request };
	size_t count = 0, extra = call->metadata.count / 2;
	_cleanup_free_ nghttp2_nv *head = mem_new_n(nghttp2_nv, 6 + extra);

	head[count++] = nv(":method", "POST");
	head[count++] = nv(":scheme", conn->ssl ? "https" : "http");
	head[count++] = nv(":path", call->path);
	head[count++] = nv(":authority", "localhost");
	head[count++] = nv("content-type", "application/grpc");
	head[count++] = nv("te", "trailers");
	for (size_t i = 0; i < extra; i++)
		head[count++] = nv(call->metadata.items[2 * i], call->metadata.items[2 * i + 1]);
	call->stream_id = nghttp2_submit_request(conn->session, NULL, head, count, &body, call);
	if (call->stream_id < 0)
		call_finish(call, GRPC_UNAVAILABLE, nghttp2_strerror(call->stream_id));
}

/* The wire */

struct write_req {
	uv_write_t req;
	char data[];
};

static void on_written(uv_write_t *req, int status)
{
	struct write_req *w = CONTAINER_OF(req, struct write_req, req);
	struct grpc_conn *conn = req->handle->data;

	free(w);
	if (status < 0)
		conn_die(conn, "writing to the server failed");
}

/* Puts bytes on the wire, at once where the kernel takes them. */
static void wire_write(struct grpc_conn *conn, const void *data, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)data, (unsigned)len);
	int sent = uv_try_write(&conn->io.stream, &buf, 1);
	struct write_req *w;

	if (sent == (int)len)
		return;
	if (sent < 0 && sent != UV_EAGAIN) {
		conn_die(conn, "writing to the server failed");
		return;
	}
	sent = MAX(sent, 0);
	w = mem_alloc(sizeof(*w) + len - (size_t)sent);
	memcpy(w->data, (const char *)data + sent, len - (size_t)sent);
	buf = uv_buf_init(w->data, (unsigned)(len - (size_t)sent));
	if (uv_write(&w->req, &conn->io.stream, &buf, 1, on_written) < 0) {
		free(w);
		conn_die(conn, "writing to the server failed");
	}
}

/* Carries what OpenSSL wants sent. */
static void tls_drain(struct grpc_conn *conn)
{
	char buf[GRPC_TLS_BYTES];
	int n;

	while (!conn->dead && (n = BIO_read(SSL_get_wbio(conn->ssl), buf, sizeof(buf))) > 0)
		wire_write(conn, buf, (size_t)n);
}

/* A memory BIO takes all, but one record holds 16 KiB: a full frame with its head is more. */
static void tls_write(struct grpc_conn *conn, const uint8_t *data, size_t len)
{
	while (len) {
		int n = SSL_write(conn->ssl, data, (int)len);

		if (n <= 0) {
			conn_die(conn, "the TLS session failed");
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

static void conn_flush(struct grpc_conn *conn)
{
	const uint8_t *data;
	ssize_t n = 0;

	if (!conn->connected || conn->dead || (conn->ssl && !SSL_is_init_finished(conn->ssl)))
		return;
	while (!conn->dead && (n = nghttp2_session_mem_send(conn->session, &data)) > 0) {
		if (!conn->ssl)
			wire_write(conn, data, (size_t)n);
		else
			tls_write(conn, data, (size_t)n);
	}
	if (n < 0)
		conn_die(conn, "the HTTP/2 session failed");
	if (conn->ssl)
		tls_drain(conn);
}

static void tls_handshake(struct grpc_conn *conn)
{
	int rc = SSL_do_handshake(conn->ssl), why = SSL_get_error(conn->ssl, rc);
	long verified = SSL_get_verify_result(conn->ssl);

	tls_drain(conn);
	if (rc == 1 || why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return;
	ERR_clear_error();
	conn_die(conn, verified != X509_V_OK ? X509_verify_cert_error_string(verified) : "the TLS handshake failed");
}

static void recv_plain(struct grpc_conn *conn, const void *data, size_t len)
{
	if (nghttp2_session_mem_recv(conn->session, data, len) < 0)
		conn_die(conn, "the server broke the HTTP/2 protocol");
}

static void recv_tls(struct grpc_conn *conn, const void *data, size_t len)
{
	char buf[GRPC_TLS_BYTES];
	int n;

	BIO_write(SSL_get_rbio(conn->ssl), data, (int)len);
	if (!SSL_is_init_finished(conn->ssl))
		tls_handshake(conn);
	while (!conn->dead && SSL_is_init_finished(conn->ssl) && (n = SSL_read(conn->ssl, buf, sizeof(buf))) > 0)
		recv_plain(conn, buf, (size_t)n);
	if (SSL_get_shutdown(conn->ssl) & SSL_RECEIVED_SHUTDOWN)
		conn_die(conn, "the server closed the connection");
	ERR_clear_error();
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct grpc_conn *conn = h->data;

	(void)suggested;
	*buf = conn->client ? uv_buf_init(conn->client->read_buf, GRPC_READ_BYTES) : uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct grpc_conn *conn = stream->data;
	struct grpc_client *c = conn->client;

	if (!c || n == 0)
		return;
	c->depth++;
	if (n < 0)
		conn_die(conn, "the server closed the connection");
	else if (conn->ssl)
		recv_tls(conn, buf->base, (size_t)n);
	else
		recv_plain(conn, buf->base, (size_t)n);
	if (!conn->dead)
		conn_flush(conn);
	c->depth--;
	client_run(c);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct grpc_conn *conn = req->handle->data;
	struct grpc_client *c = conn->client;

	if (!c)
		return;
	if (status < 0) {
		client_drop_conn(c, uv_strerror(status));
		client_run(c);
		return;
	}
	conn->connected = true;
	/* A call is small and waited for: held back for the acknowledgement of the one before, it costs 40 ms. */
	if (conn->io.handle.type == UV_TCP)
		uv_tcp_nodelay(&conn->io.tcp, 1);
	uv_read_start(&conn->io.stream, on_alloc, on_read);
	if (conn->ssl)
		tls_handshake(conn);
	conn_flush(conn);
}

/* "IP:PORT" or "[IP]:PORT" */
static int parse_address(const char *text, struct sockaddr_storage *ret)
{
	const char *colon = strrchr(text, ':');
	bool v6 = *text == '[';
	_cleanup_free_ char *host = NULL;
	uint64_t port;

	if (!colon || str_to_u64(colon + 1, 65535, &port) < 0 || (v6 && (colon == text || colon[-1] != ']')))
		return -EINVAL;
	host = v6 ? mem_strndup(text + 1, (size_t)(colon - text) - 2) : mem_strndup(text, (size_t)(colon - text));
	if (v6)
		return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)ret);
	return uv_ip4_addr(host, (int)port, (struct sockaddr_in *)ret);
}

/* The session of a TLS connection: the server has to prove the address that was asked for. */
static void conn_start_tls(struct grpc_conn *conn, SSL_CTX *ctx, const char *address)
{
	const char *colon = strrchr(address, ':');
	bool v6 = *address == '[';
	_cleanup_free_ char *host = NULL;

	if (!colon || colon - address < (v6 ? 2 : 1))
		return; /* such an address is refused when it is connected to */
	host = v6 ? mem_strndup(address + 1, (size_t)(colon - address) - 2) : mem_strndup(address, (size_t)(colon - address));
	conn->ssl = SSL_new(ctx);
	BUG_ON(!conn->ssl);
	SSL_set_bio(conn->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(conn->ssl);
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(conn->ssl), host) != 1)
		conn_die(conn, "the address cannot be connected to");
}

static void client_connect(struct grpc_client *c)
{
	struct grpc_conn *conn = mem_new(struct grpc_conn);
	const char *address = str_after(c->path, "tcp://");
	struct sockaddr_storage to = { 0 };

	conn->client = c;
	conn->session = session_new(conn);
	if (address)
		BUG_ON(uv_tcp_init(c->loop, &conn->io.tcp) < 0);
	else
		BUG_ON(uv_pipe_init(c->loop, &conn->io.pipe, 0) < 0);
	conn->io.handle.data = conn;
	c->conn = conn;
	if (address && c->tls)
		conn_start_tls(conn, c->tls, address);
	if (!address) {
		uv_pipe_connect(&conn->connect, &conn->io.pipe, c->path, on_connected);
		return;
	}
	if (parse_address(address, &to) < 0 ||
	    uv_tcp_connect(&conn->connect, &conn->io.tcp, (struct sockaddr *)&to, on_connected) < 0)
		conn_die(conn, "the address cannot be connected to");
}

/* Ends what is over, calls back, frees what may be freed, sets the timer for the next deadline. */
static void client_reap(struct grpc_client *c)
{
	int64_t now = clock_mono_ms(), next = 0;

	for (struct grpc_call *call = c->calls, *following; call; call = following) {
		following = call->next;
		if (!call->finished && !call->cancelled && call->deadline_ms && now >= call->deadline_ms) {
			if (c->conn && call->stream_id > 0) {
				nghttp2_session_set_stream_user_data(c->conn->session, call->stream_id, NULL);
				nghttp2_submit_rst_stream(c->conn->session, NGHTTP2_FLAG_NONE, call->stream_id,
							  NGHTTP2_CANCEL);
				conn_flush(c->conn);
			}
			call_finish(call, GRPC_DEADLINE_EXCEEDED, "the server did not answer in time");
		}
		if (!call->finished && !call->cancelled) {
			if (call->deadline_ms && (!next || call->deadline_ms < next))
				next = call->deadline_ms;
			continue;
		}
		if (c->conn && call->stream_id > 0)
			nghttp2_session_set_stream_user_data(c->conn->session, call->stream_id, NULL);
		if (!call->cancelled) {
			call->cancelled = true; /* on_done may cancel it: nothing then */
			call->on_done((enum grpc_status)call->status, call->status_text ? call->status_text : "",
				      call->user);
			following = call->next; /* calls started meanwhile stand in front */
		}
		call_free(call);
		if (c->freed)
			return;
	}
	if (next && (!uv_is_active((uv_handle_t *)c->timer) || uv_timer_get_due_in(c->timer) > (uint64_t)MAX(next - now, 0)))
		uv_timer_start(c->timer, on_timer, (uint64_t)MAX(next - now, 0), 0);
}

static void client_destroy(struct grpc_client *c)
{
	while (c->calls)
		call_free(c->calls);
	client_drop_conn(c, NULL);
	uv_close((uv_handle_t *)c->timer, handle_freed);
	SSL_CTX_free(c->tls);
	free(c->path);
	free(c);
}

static void client_run(struct grpc_client *c)
{
	if (c->depth > 0)
		return;
	c->depth++;
	if (!c->freed && c->conn && c->conn->dead)
		client_drop_conn(c, c->conn->why);
	if (!c->freed)
		client_reap(c);
	if (!c->freed && c->conn)
		conn_flush(c->conn);
	c->depth--;
	if (c->freed)
		client_destroy(c);
}

struct grpc_client *grpc_client_new(uv_loop_t *loop, const char *target)
{
	struct grpc_client *c = mem_new(struct grpc_client);

	c->loop = loop;
	c->path = mem_strdup(str_starts(target, "unix://") ? str_after(target, "unix://") : target);
	c->timer = mem_new(uv_timer_t);
	BUG_ON(uv_timer_init(loop, c->timer) < 0);
	c->timer->data = c;
	return c;
}

void grpc_client_set_tls(struct grpc_client *c, SSL_CTX *ctx)
{
	BUG_ON(c->tls || c->conn);
	SSL_CTX_up_ref(ctx);
	c->tls = ctx;
}

void grpc_client_free(struct grpc_client *c)
{
	if (!c)
		return;
	c->freed = true;
	for (struct grpc_call *call = c->calls; call; call = call->next)
		call->cancelled = true;
	if (c->depth == 0)
		client_destroy(c);
}

struct grpc_call *grpc_call_start(struct grpc_client *c, const char *method_path, const void *msg, size_t len,
				  const char *const *metadata, unsigned timeout_ms, grpc_message_fn on_message,
				  grpc_done_fn on_done, void *user)
{
	struct grpc_call *call = mem_new(struct grpc_call);
	uint32_t size = htonl((uint32_t)len);

	BUG_ON(len > GRPC_MAX_MESSAGE_BYTES || !on_done);
	call->client = c;
	call->path = mem_strdup(method_path);
	call->status = GRPC_STATUS_MISSING;
	call->on_message = on_message;
	call->on_done = on_done;
	call->user = user;
	for (size_t i = 0; metadata && metadata[i]; i++)
		strlist_add(&call->metadata, metadata[i]);
	strbuf_reserve(&call->out, GRPC_PREFIX_BYTES + len);
	strbuf_addc(&call->out, 0);
	strbuf_add(&call->out, &size, sizeof(size));
	strbuf_add(&call->out, msg, len);

	call->next = c->calls;
	if (c->calls)
		c->calls->prev = call;
	c->calls = call;

	if (c->conn && c->conn->dead) {
		/* Its calls must end before a new connection is made; this one has not been on it. */
		call_finish(call, GRPC_UNAVAILABLE, c->conn->why);
		client_kick(c);
		return call;
	}
	if (!c->conn)
		client_connect(c);
	call_submit(call, c->conn);
	if (c->depth == 0)
		conn_flush(c->conn);
	if (timeout_ms)
		call->deadline_ms = clock_mono_ms() + timeout_ms;
	if (call->finished)
		client_kick(c);
	else if (timeout_ms &&
		 (!uv_is_active((uv_handle_t *)c->timer) || uv_timer_get_due_in(c->timer) > timeout_ms))
		uv_timer_start(c->timer, on_timer, timeout_ms, 0);
	return call;
}

void grpc_call_cancel(struct grpc_call *call)
{
	struct grpc_client *c = call->client;

	if (call->cancelled)
		return;
	call->cancelled = true;
	if (c->conn && call->stream_id > 0 && !call->finished) {
		nghttp2_session_set_stream_user_data(c->conn->session, call->stream_id, NULL);
		nghttp2_submit_rst_stream(c->conn->session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
	}
	/* Later, and from the loop: the caller may be a callback of this very call. */
	client_kick(c);
}
