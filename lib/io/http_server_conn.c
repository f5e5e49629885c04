/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection of the HTTP server: reading, writing, TLS, closing. Input goes through the server's shared buffer to the
 * protocol (or to the taker of a hijacked connection); output waits in c->out as slices. Nothing is closed or freed from
 * inside a call of the user: hs_conn_fail() and friends set flags that hs_conn_service() acts upon.
 */
#include "io/http_server_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READS_PER_EVENT = 8, IOV_USED = 64, PASSES_PER_SERVICE = 16 };

static const char H2_PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

void hs_conn_dirty(struct http_conn *c)
{
	struct http_server *s = c->server;

	if (c->dirty || c->state == HS_CONN_CLOSED)
		return;
	c->dirty = true;
	if (s->dirty_tail)
		s->dirty_tail->dirty_next = c;
	else
		s->dirty_head = c;
	s->dirty_tail = c;
}

void hs_conn_fail(struct http_conn *c)
{
	c->failed = true;
	hs_conn_dirty(c);
}

static void poll_closed(uv_handle_t *h)
{
	hs_conn_gone(h->data);
}

/* The taker of a hijacked connection hears of its end exactly once; the request goes with it. */
static void tunnel_close(struct http_conn *c)
{
	if (c->tunnel_closed)
		return;
	c->tunnel_closed = true;
	if (c->tunnel.on_close)
		c->tunnel.on_close(c, c->tunnel_user);
	while (c->requests)
		hs_request_free(c->requests);
}

static void conn_close(struct http_conn *c)
{
	struct http_server *s = c->server;
	bool tunnel = c->state == HS_CONN_TUNNEL;

	if (c->state == HS_CONN_CLOSED)
		return;
	c->state = HS_CONN_CLOSED;
	hs_deadline_set(s, &c->deadline, HS_NONE);
	if (tunnel)
		tunnel_close(c);
	while (c->requests)
		hs_request_free(c->requests);
	nghttp2_session_del(c->h2);
	c->h2 = NULL;
	http1_done(&c->h1);
	hs_queue_clear(&c->out);
	strbuf_done(&c->in);
	if (c->ssl && SSL_is_init_finished(c->ssl) && !c->shutdown_done) {
		ERR_clear_error();
		SSL_shutdown(c->ssl); /* close_notify if the socket takes it; the peer's is not waited for */
	}
	SSL_free(c->ssl);
	c->ssl = NULL;
	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->conn_count--;
	if (c->from)
		hs_peer_left(s, TAKE(c->from));
	uv_close((uv_handle_t *)&c->poll, poll_closed);
	close(c->fd);
}

/* The output is out: says so to the peer and drops what still comes for a moment. Closing with unread input would make
 * the kernel send RST, which can destroy the answer on its way (RFC 9112 section 9.6). */
static void conn_linger(struct http_conn *c)
{
	if (c->state == HS_CONN_TUNNEL)
		tunnel_close(c);
	if (c->eof) {
		conn_close(c);
		return;
	}
	c->state = HS_CONN_LINGER;
	if (c->ssl && !c->shutdown_done) {
		ERR_clear_error();
		SSL_shutdown(c->ssl);
		c->shutdown_done = true;
	}
	shutdown(c->fd, SHUT_WR);
	hs_deadline_set(c->server, &c->deadline, HS_LINGER);
}

/* A client that speaks plain HTTP to a TLS port gets told so in its own language. */
static void tell_plain_http(struct http_conn *c)
{
	static const char text[] = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
				   "Client sent an HTTP request to an HTTPS server.\n";

	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST)
		(void)!send(c->fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
}

static void detected(struct http_conn *c)
{
	_cleanup_strbuf_ struct strbuf in = c->in;

	c->in = (struct strbuf){ 0 };
	if (in.len >= sizeof(H2_PREFACE) - 1 && memcmp(in.data, H2_PREFACE, sizeof(H2_PREFACE) - 1) == 0) {
		hs_h2_start(c);
		hs_h2_input(c, in.data, in.len);
	} else {
		hs_h1_start(c);
		hs_h1_input(c, in.data, in.len);
	}
}

static void conn_input(struct http_conn *c, const char *data, size_t len)
{
	switch (c->state) {
	case HS_CONN_DETECT:
		strbuf_add(&c->in, data, len);
		if (c->in.len >= sizeof(H2_PREFACE) - 1 || memcmp(c->in.data, H2_PREFACE, c->in.len) != 0)
			detected(c);
		break;
	case HS_CONN_H1:
		hs_h1_input(c, data, len);
		break;
	case HS_CONN_H2:
		hs_h2_input(c, data, len);
		break;
	case HS_CONN_TUNNEL:
		if (c->close_after)
			break;
		if (c->in.len || c->paused)
			strbuf_add(&c->in, data, len);
		else if (c->tunnel.on_data)
			c->tunnel.on_data(c, data, len, c->tunnel_user);
		break;
	case HS_CONN_LINGER:
		c->linger_bytes += len;
		if (c->linger_bytes > HS_LINGER_BYTES)
			hs_conn_fail(c);
		break;
	case HS_CONN_HANDSHAKE:
	case HS_CONN_CLOSED:
		break;
	}
}

static bool conn_wants_read(const struct http_conn *c)
{
	if (c->eof || c->failed)
		return false;
	switch (c->state) {
	case HS_CONN_H1:
		return !c->requests || c->requests->state == HS_READING || c->in.len < HS_INPUT_MAX_BYTES;
	case HS_CONN_H2:
		return c->out.bytes < HS_OUT_STUCK_BYTES;
	case HS_CONN_TUNNEL:
		return c->close_after || (!c->paused && !c->in.len);
	case HS_CONN_CLOSED:
		return false;
	default:
		return true;
	}
}

static void conn_eof(struct http_conn *c)
{
	c->eof = true;
	switch (c->state) {
	case HS_CONN_H1:
		/* A client may half-close behind its request and wait; one that follows a stream has gone. */
		if (!c->requests || c->requests->state == HS_READING || c->requests->state == HS_STREAMING)
			hs_conn_fail(c);
		else
			c->close_after = true;
		break;
	case HS_CONN_TUNNEL:
		break; /* told by tunnel_service(), behind the data before it */
	default:
		hs_conn_fail(c);
	}
}

/* Bytes read, 0 at the end, -EAGAIN, or another error. */
static ssize_t conn_recv(struct http_conn *c, char *buf, size_t size)
{
	ssize_t n;

	if (!c->ssl) {
		n = recv(c->fd, buf, size, 0);
		return n < 0 ? (errno == EINTR ? -EAGAIN : -errno) : n;
	}
	ERR_clear_error();
	c->read_wants_write = false;
	n = SSL_read(c->ssl, buf, (int)size);
	if (n > 0)
		return n;
	switch (SSL_get_error(c->ssl, (int)n)) {
	case SSL_ERROR_WANT_WRITE:
		c->read_wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return -ECONNRESET; /* an end without close_notify included: it may be an attacker's */
	}
}

static void handshake(struct http_conn *c)
{
	const unsigned char *alpn;
	unsigned alpn_len;
	int r;

	ERR_clear_error();
	c->read_wants_write = false;
	r = SSL_accept(c->ssl);
	if (r != 1) {
		int e = SSL_get_error(c->ssl, r);

		c->read_wants_write = e == SSL_ERROR_WANT_WRITE;
		if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
			return;
		tell_plain_http(c);
		hs_conn_fail(c);
		return;
	}
	SSL_get0_alpn_selected(c->ssl, &alpn, &alpn_len);
	if (alpn_len == 2 && memcmp(alpn, "h2", 2) == 0)
		hs_h2_start(c);
	else if (alpn_len)
		hs_h1_start(c);
	else
		c->state = HS_CONN_DETECT;
}

static void conn_read(struct http_conn *c)
{
	struct http_server *s = c->server;

	c->read_again = false;
	if (c->state == HS_CONN_HANDSHAKE)
		handshake(c);
	if (c->state == HS_CONN_HANDSHAKE)
		return;
	for (int i = 0; i < READS_PER_EVENT; i++) {
		ssize_t n;

		if (!conn_wants_read(c))
			return;
		n = conn_recv(c, s->read_buf, sizeof(s->read_buf));
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			hs_conn_fail(c);
			return;
		}
		if (n == 0) {
			conn_eof(c);
			return;
		}
		hs_memory_grew(s, (size_t)n);
		conn_input(c, s->read_buf, (size_t)n);
		/* Nothing more waits, most likely: epoll will tell. */
		if (c->ssl ? !SSL_has_pending(c->ssl) : n < HS_READ_BYTES)
			return;
	}
	c->read_again = true;
}

static ssize_t conn_send_tls(struct http_conn *c)
{
	struct http_server *s = c->server;
	struct iovec iov[IOV_USED];
	size_t count = hs_queue_iov(&c->out, iov, IOV_USED, HS_TLS_RECORD_BYTES), len = iov[0].iov_len;
	const char *p = iov[0].iov_base;
	int n;

	if (count > 1) {
		len = 0;
		for (size_t i = 0; i < count; i++) {
			memcpy(s->tls_buf + len, iov[i].iov_base, iov[i].iov_len);
			len += iov[i].iov_len;
		}
		p = s->tls_buf;
	}
	ERR_clear_error();
	c->write_wants_read = false;
	n = SSL_write(c->ssl, p, (int)len);
	if (n > 0)
		return n;
	switch (SSL_get_error(c->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		c->write_wants_read = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	default:
		return -EPIPE;
	}
}

static ssize_t conn_send(struct http_conn *c)
{
	struct iovec iov[IOV_USED];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n;

	if (c->ssl)
		return conn_send_tls(c);
	msg.msg_iovlen = hs_queue_iov(&c->out, iov, IOV_USED, SIZE_MAX);
	n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	return n < 0 ? (errno == EINTR ? -EAGAIN : -errno) : n;
}

/* True when the output is out, false when the socket is full or broken (failed is set). */
static bool conn_flush(struct http_conn *c)
{
	if (c->out_blocked)
		return false;
	while (c->out.bytes > 0) {
		ssize_t n = conn_send(c);

		if (n < 0) {
			c->out_blocked = true;
			c->failed = c->failed || n != -EAGAIN;
			return false;
		}
		hs_queue_consume(&c->out, (size_t)n);
		if (c->deadline.kind == HS_WRITE)
			hs_deadline_set(c->server, &c->deadline, HS_WRITE);
	}
	return true;
}

static bool tunnel_service(struct http_conn *c, bool out_empty)
{
	bool did = false;

	if (c->close_after) {
		strbuf_done(&c->in);
		if (out_empty)
			conn_linger(c);
		return false;
	}
	if (c->in.len && !c->paused) {
		_cleanup_strbuf_ struct strbuf in = c->in;

		c->in = (struct strbuf){ 0 };
		if (c->tunnel.on_data)
			c->tunnel.on_data(c, in.data, in.len, c->tunnel_user);
		did = true;
	}
	if (c->eof && !c->eof_told && !c->in.len && !c->paused) {
		c->eof_told = did = true;
		if (c->tunnel.on_eof)
			c->tunnel.on_eof(c, c->tunnel_user);
	}
	if (out_empty && c->out.bytes == 0 && c->drain_due) {
		c->drain_due = false;
		did = true;
		if (c->tunnel.on_drain)
			c->tunnel.on_drain(c, c->tunnel_user);
	}
	if (out_empty && c->out.bytes == 0 && c->shutdown_wanted && !c->shutdown_done) {
		c->shutdown_done = true;
		ERR_clear_error();
		if (c->ssl)
			SSL_shutdown(c->ssl); /* close_notify; TCP stays open for TLS's own answers */
		else
			shutdown(c->fd, SHUT_WR);
	}
	return did;
}

static bool proto_service(struct http_conn *c, bool out_empty)
{
	if (c->state == HS_CONN_TUNNEL)
		return tunnel_service(c, out_empty);
	if (!out_empty)
		return false;
	if (c->state == HS_CONN_H1 && hs_h1_service(c))
		return true;
	if (c->state == HS_CONN_H2 && hs_h2_service(c))
		return true;
	/* Before the last request is freed its answer is out, so this is the end of the connection. */
	if (c->close_after && !c->requests && c->out.bytes == 0 && !c->failed &&
	    (c->state == HS_CONN_H1 || c->state == HS_CONN_H2))
		conn_linger(c);
	return false;
}

static void update_deadline(struct http_conn *c)
{
	enum hs_deadline_kind kind = HS_NONE;

	switch (c->state) {
	case HS_CONN_HANDSHAKE:
	case HS_CONN_DETECT:
		kind = HS_HEAD;
		break;
	case HS_CONN_H1:
		if (!c->requests)
			kind = http1_started(&c->h1) || c->deadline.kind == HS_HEAD ? HS_HEAD : HS_IDLE;
		else if (c->requests->state == HS_READING)
			kind = HS_BODY;
		else if (c->requests->state == HS_ENDED)
			kind = HS_WRITE;
		if (!c->requests && c->out.bytes)
			kind = HS_WRITE;
		break;
	case HS_CONN_H2:
		kind = c->out.bytes ? HS_WRITE : c->requests ? HS_NONE : HS_IDLE;
		break;
	case HS_CONN_TUNNEL:
		kind = c->close_after ? HS_WRITE : HS_NONE;
		break;
	case HS_CONN_LINGER:
		kind = HS_LINGER;
		break;
	case HS_CONN_CLOSED:
		return;
	}
	hs_deadline_keep(c->server, &c->deadline, kind);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void update_poll(struct http_conn *c)
{
	int events = 0;

	if (c->state == HS_CONN_CLOSED)
		return;
	if (conn_wants_read(c) || (c->out_blocked && c->write_wants_read))
		events |= UV_READABLE;
	if ((c->out_blocked && !c->write_wants_read) || c->read_wants_write)
		events |= UV_WRITABLE;
	/* Reading resumes: what OpenSSL holds already is not seen by epoll. */
	if ((events & UV_READABLE) && !(c->armed & UV_READABLE) && c->ssl && SSL_has_pending(c->ssl))
		c->read_again = true;
	if (c->read_again && conn_wants_read(c))
		hs_conn_dirty(c);
	if (events == c->armed)
		return;
	c->armed = events;
	if (events)
		uv_poll_start(&c->poll, events, on_poll);
	else
		uv_poll_stop(&c->poll);
}

void hs_conn_service(struct http_conn *c)
{
	bool more = true;

	for (int i = 0; more && i < PASSES_PER_SERVICE && c->state != HS_CONN_CLOSED; i++) {
		bool out_empty;

		if (c->read_again && !c->failed && conn_wants_read(c))
			conn_read(c);
		if (c->state == HS_CONN_H2 && !c->failed)
			hs_h2_pump(c);
		out_empty = !c->failed && conn_flush(c);
		if (c->failed) {
			conn_close(c);
			return;
		}
		more = proto_service(c, out_empty);
	}
	if (c->state == HS_CONN_CLOSED)
		return;
	if (more || c->failed)
		hs_conn_dirty(c);
	update_deadline(c);
	update_poll(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct http_conn *c = poll->data;

	if (status < 0) {
		c->armed = 0;
		hs_conn_fail(c);
		return;
	}
	if ((events & UV_WRITABLE) || ((events & UV_READABLE) && c->write_wants_read))
		c->out_blocked = false;
	if ((events & UV_READABLE) || c->read_wants_write)
		conn_read(c);
	hs_conn_dirty(c);
}

void hs_conn_accept(struct http_server *s, int fd, SSL_CTX *tls, const char *peer, struct hs_peer *from)
{
	struct http_conn *c = mem_new(struct http_conn);

	c->server = s;
	c->fd = fd;
	c->from = from;
	memcpy(c->peer, peer, sizeof(c->peer));
	c->state = tls ? HS_CONN_HANDSHAKE : HS_CONN_DETECT;
	if (tls) {
		c->ssl = SSL_new(tls);
		BUG_ON(!c->ssl);
		SSL_set_fd(c->ssl, fd);
		SSL_set_accept_state(c->ssl);
	}
	if (uv_poll_init(s->loop, &c->poll, fd) < 0) {
		SSL_free(c->ssl);
		close(fd);
		hs_peer_left(s, from);
		free(c);
		return;
	}
	c->poll.data = c;
	c->next = s->conns;
	if (s->conns)
		s->conns->prev = c;
	s->conns = c;
	s->conn_count++;
	s->open_handles++;
	c->read_again = true; /* the first bytes are often there already */
	hs_deadline_set(s, &c->deadline, HS_HEAD);
	hs_conn_dirty(c);
}

void hs_conn_expired(struct http_conn *c, enum hs_deadline_kind kind)
{
	if (c->state == HS_CONN_H1 && kind == HS_HEAD && http1_started(&c->h1)) {
		hs_h1_refuse(c, 408, "the request head did not arrive in time");
	} else if (c->state == HS_CONN_H1 && kind == HS_BODY) {
		hs_h1_refuse(c, 408, "the request body did not arrive in time");
	} else if (c->state == HS_CONN_H2 && kind == HS_IDLE) {
		hs_h2_goaway(c);
		c->close_after = true;
		hs_conn_dirty(c);
	} else {
		hs_conn_fail(c);
	}
}

void hs_conn_stop(struct http_conn *c)
{
	/* What the peer has sent already is still taken. */
	if (c->state == HS_CONN_H1 || c->state == HS_CONN_H2)
		conn_read(c);
	if (c->state == HS_CONN_H2)
		hs_h2_goaway(c);
	if (c->state == HS_CONN_H2 || (c->state == HS_CONN_H1 && c->requests))
		c->close_after = true;
	else if (c->state != HS_CONN_TUNNEL && c->state != HS_CONN_LINGER)
		c->failed = true;
	hs_conn_dirty(c);
}

/* The hijacker's side. */

void http_conn_write(struct http_conn *c, const void *data, size_t len)
{
	if (c->tunnel_closed || c->close_after || c->shutdown_wanted || c->failed || len == 0)
		return;
	hs_queue_copy(&c->out, data, len);
	c->drain_due = true;
	hs_conn_dirty(c);
}

size_t http_conn_queued(const struct http_conn *c)
{
	return c->out.bytes;
}

void http_conn_pause(struct http_conn *c, bool paused)
{
	c->paused = paused;
	hs_conn_dirty(c);
}

void http_conn_shutdown(struct http_conn *c)
{
	c->shutdown_wanted = true;
	hs_conn_dirty(c);
}

void http_conn_close(struct http_conn *c)
{
	c->close_after = true;
	hs_conn_dirty(c);
}
