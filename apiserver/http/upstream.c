// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/http/upstream.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/mem.h"

struct upstream {
	uv_tcp_t tcp;
	uv_timer_t deadline;
	uv_connect_t connect;
	SSL *ssl; /* NULL: plain */
	BIO *in, *out;
	struct upstream_callbacks cb;
	void *user;
	unsigned handles;
	uv_shutdown_t shutdown;
	bool connected, open, ended, closed;
	bool full; /* more than UPSTREAM_LOW_BYTES were queued since on_drain was last called */
	bool deaf, shut;
};

struct upstream_write_req {
	uv_write_t req;
	struct upstream *u;
	char data[];
};

static void on_handle_closed(uv_handle_t *h)
{
	struct upstream *u = h->data;
	if (--u->handles)
		return;
	SSL_free(u->ssl);
	free(u);
}

void upstream_close(struct upstream *u)
{
	if (!u || u->closed)
		return;
	u->closed = true;
	uv_close((uv_handle_t *)&u->tcp, on_handle_closed);
	uv_close((uv_handle_t *)&u->deadline, on_handle_closed);
}

static void fail(struct upstream *u, const char *why)
{
	if (!u->closed)
		u->cb.on_fail(why, u->user);
}

static void on_deadline(uv_timer_t *t)
{
	fail(t->data, "no connection within 10 seconds");
}

/* A backend that has closed, or that has answered before it took the whole request, is read to its end. */
static void went_deaf(struct upstream *u, const char *why)
{
	if (!u->open) {
		fail(u, why);
	} else if (!u->deaf) {
		u->deaf = true;
		if (u->cb.on_deaf)
			u->cb.on_deaf(why, u->user);
	}
}

static void on_written(uv_write_t *req, int status)
{
	struct upstream_write_req *w = (struct upstream_write_req *)req;
	struct upstream *u = w->u;
	free(w);
	if (u->closed)
		return;
	if (status < 0) {
		went_deaf(u, uv_strerror(status));
	} else if (u->full && u->tcp.write_queue_size < UPSTREAM_LOW_BYTES) {
		u->full = false;
		if (u->cb.on_drain)
			u->cb.on_drain(u->user);
	}
}

static void send_raw(struct upstream *u, const void *data, size_t len)
{
	struct upstream_write_req *w = mem_alloc(sizeof(*w) + len);
	memcpy(w->data, data, len);
	w->u = u;
	uv_buf_t buf = uv_buf_init(w->data, (unsigned)len);
	if (uv_write(&w->req, (uv_stream_t *)&u->tcp, &buf, 1, on_written) < 0) {
		free(w);
		went_deaf(u, "the connection broke");
		return;
	}
	u->full |= u->tcp.write_queue_size >= UPSTREAM_LOW_BYTES;
}

static void flush_tls(struct upstream *u)
{
	char buf[16384];
	int n;
	while (!u->closed && (n = BIO_read(u->out, buf, sizeof(buf))) > 0)
		if (!u->deaf)
			send_raw(u, buf, (size_t)n);
}

size_t upstream_queued(const struct upstream *u)
{
	return u->tcp.write_queue_size;
}

void upstream_shutdown(struct upstream *u)
{
	if (u->closed || u->shut || !u->open)
		return;
	u->shut = true;
	if (u->ssl) {
		SSL_shutdown(u->ssl);
		flush_tls(u);
	}
	if (!u->closed && !u->deaf)
		uv_shutdown(&u->shutdown, (uv_stream_t *)&u->tcp, NULL);
}

void upstream_write(struct upstream *u, const void *data, size_t len)
{
	if (u->closed || u->deaf || u->shut || !len)
		return;
	if (!u->ssl) {
		send_raw(u, data, len);
		return;
	}
	ERR_clear_error();
	SSL_write(u->ssl, data, (int)len); /* a memory BIO takes everything */
	flush_tls(u);
}

static void opened(struct upstream *u)
{
	u->open = true;
	uv_timer_stop(&u->deadline);
	u->cb.on_open(u->user);
}

static const char *tls_error(const struct upstream *u)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;
	long verify = SSL_get_verify_result(u->ssl);
	return verify != X509_V_OK && !text ? X509_verify_cert_error_string(verify) : text ? text : "TLS failed";
}

static void handshake(struct upstream *u)
{
	ERR_clear_error();
	int rc = SSL_do_handshake(u->ssl);
	flush_tls(u);
	if (rc == 1)
		opened(u);
	else if (SSL_get_error(u->ssl, rc) != SSL_ERROR_WANT_READ)
		fail(u, tls_error(u));
}

static void ended(struct upstream *u)
{
	if (u->closed || u->ended)
		return;
	u->ended = true;
	if (u->open)
		u->cb.on_end(u->user);
	else
		fail(u, "the backend closed the connection");
}

static void read_tls(struct upstream *u)
{
	char buf[16384];
	while (!u->closed) {
		ERR_clear_error();
		int n = SSL_read(u->ssl, buf, sizeof(buf));
		if (n > 0) {
			u->cb.on_data(buf, (size_t)n, u->user);
			continue;
		}
		int e = SSL_get_error(u->ssl, n);
		if (e == SSL_ERROR_ZERO_RETURN)
			ended(u);
		else if (e != SSL_ERROR_WANT_READ)
			fail(u, tls_error(u));
		break;
	}
	flush_tls(u);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	static char shared[65536]; /* used up before the next read */
	(void)h;
	(void)suggested;
	*buf = uv_buf_init(shared, sizeof(shared));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct upstream *u = stream->data;
	if (u->closed)
		return;
	if (n < 0) {
		ended(u);
		return;
	}
	if (!u->ssl) {
		if (n > 0)
			u->cb.on_data(buf->base, (size_t)n, u->user);
		return;
	}
	if (n > 0)
		BIO_write(u->in, buf->base, (int)n);
	if (!u->open)
		handshake(u);
	if (u->open && !u->closed)
		read_tls(u);
}

void upstream_pause(struct upstream *u, bool paused)
{
	if (u->closed || !u->connected)
		return;
	if (paused)
		uv_read_stop((uv_stream_t *)&u->tcp);
	else
		uv_read_start((uv_stream_t *)&u->tcp, on_alloc, on_read);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct upstream *u = req->data;
	if (u->closed)
		return;
	if (status < 0) {
		fail(u, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&u->tcp, 1);
	u->connected = true;
	upstream_pause(u, false);
	if (u->ssl)
		handshake(u);
	else
		opened(u);
}

static void on_cannot_connect(uv_timer_t *t)
{
	fail(t->data, "cannot connect");
}

struct upstream *upstream_open(uv_loop_t *loop, const struct sockaddr *address, SSL_CTX *tls, const char *ip,
			       const struct upstream_callbacks *cb, void *user)
{
	struct upstream *u = mem_new(struct upstream);
	u->cb = *cb;
	u->user = user;
	uv_tcp_init(loop, &u->tcp);
	uv_timer_init(loop, &u->deadline);
	u->tcp.data = u->deadline.data = u->connect.data = u;
	u->handles = 2;
	if (tls) {
		u->ssl = SSL_new(tls);
		u->in = BIO_new(BIO_s_mem());
		u->out = BIO_new(BIO_s_mem());
		SSL_set_bio(u->ssl, u->in, u->out);
		SSL_set_connect_state(u->ssl);
		if (ip)
			X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(u->ssl), ip);
	}
	uv_timer_start(&u->deadline, on_deadline, UPSTREAM_CONNECT_MS, 0);
	if (uv_tcp_connect(&u->connect, &u->tcp, address, on_connected) < 0)
		uv_timer_start(&u->deadline, on_cannot_connect, 0, 0);
	return u;
}
