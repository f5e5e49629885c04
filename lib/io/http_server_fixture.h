/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the HTTP server share: the server on a thread with its own loop, its handlers, raw clients and
 * certificates. Answers are awaited, times are not asserted.
 */
#ifndef KEELSON_IO_HTTP_SERVER_FIXTURE_H
#define KEELSON_IO_HTTP_SERVER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "io/http_server.h"
#include "io/tls.h"

enum { BIG_BYTES = 8 << 20, DRAIN_PIECES = 64, DRAIN_BYTES = 200000, COMPARED_BYTES = 200000 };

static char dir[] = "/tmp/http-server-test-XXXXXX";
static struct bytes *big;
static atomic_int closed_requests, closed_tunnels, hanging;

struct fixture {
	uv_loop_t loop;
	uv_async_t stop, poke;
	struct http_server *server;
	pthread_t thread;
	int plain, tls;
	unsigned grace_ms;
	struct http_request *held;
};

static const char *path(const char *name)
{
	static char buf[8][128];
	static unsigned n;
	char *p = buf[n++ % 8];

	snprintf(p, sizeof(buf[0]), "%s/%s", dir, name);
	return p;
}

/* The server's handlers. */

static inline void request_closed(struct http_request *req, void *user)
{
	struct fixture *f = user;

	closed_requests++;
	if (f->held == req) {
		f->held = NULL;
		hanging--;
	}
}

static inline void tunnel_data(struct http_conn *c, const void *data, size_t len, void *user)
{
	(void)user;
	http_conn_write(c, data, len);
	if (http_conn_queued(c) > 100000)
		http_conn_pause(c, true);
}

static inline void tunnel_drain(struct http_conn *c, void *user)
{
	(void)user;
	http_conn_pause(c, false);
}

static inline void tunnel_eof(struct http_conn *c, void *user)
{
	(void)user;
	http_conn_write(c, "<eof>", 5);
	http_conn_shutdown(c);
	http_conn_close(c);
}

static inline void tunnel_close(struct http_conn *c, void *user)
{
	(void)c;
	(void)user;
	closed_tunnels++;
}

static inline void tunnel(struct http_request *req)
{
	static const struct http_conn_callbacks cb = { tunnel_data, tunnel_eof, tunnel_drain, tunnel_close };
	static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
	struct http_conn *c;

	if (http_hijack(req, &cb, NULL, &c) == 0)
		http_conn_write(c, head, sizeof(head) - 1);
	else
		http_respond(req, 400, NULL, 0, "no", 2);
}

static inline void drain_next(struct http_request *req, void *user)
{
	static int pieces;
	_cleanup_free_ char *piece = mem_alloc(DRAIN_BYTES);

	(void)user;
	if (http_stream_queued(req) != 0)
		abort();
	memset(piece, 'd', DRAIN_BYTES);
	http_stream_write(req, piece, DRAIN_BYTES);
	if (++pieces % DRAIN_PIECES)
		http_stream_on_drain(req, drain_next);
	else
		http_stream_end(req);
}

static inline void drain(struct http_request *req)
{
	http_stream_begin(req, 200, NULL, 0);
	http_stream_on_drain(req, drain_next);
}

static inline void hold(struct fixture *f, struct http_request *req, bool begin)
{
	f->held = req;
	if (begin) {
		http_stream_begin(req, 200, NULL, 0);
		http_stream_write(req, "begin", 5);
	}
	hanging++;
}

static inline void abort_request(struct http_request *req)
{
	http_abort(req);
	http_respond(req, 200, NULL, 0, "late", 4);
}

static inline void stream(struct http_request *req)
{
	struct bytes *b = bytes_new("0123456789", 10);

	http_stream_begin(req, 200, (struct http_field[]){ { "Content-Type", "text/x" } }, 1);
	http_stream_write(req, "<", 1);
	http_stream_write_bytes(req, b, 3, 4);
	http_stream_write_bytes(req, big, 5, 100000);
	http_stream_write(req, ">", 1);
	http_stream_end(req);
	bytes_unref(b);
}

static inline void certificate(struct http_request *req)
{
	char cn[128] = "-", text[256];
	X509 *cert = http_peer_cert(req);
	int n;

	if (cert)
		X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn));
	n = snprintf(text, sizeof(text), "%s %ld", cn, http_peer_verify_result(req));
	http_respond(req, 200, NULL, 0, text, (size_t)n);
}

static inline void head(struct http_request *req)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	const char *name, *value;
	size_t len;

	(void)http_body(req, &len);
	strbuf_addf(&out, "%s %s ?%s body=%zu", http_method(req), http_path(req), http_query(req), len);
	for (size_t i = 0; http_header_at(req, i, &name, &value); i++)
		if (strcmp(name, "user-agent") != 0 && strncmp(value, "127.0.0.1", 9) != 0)
			strbuf_addf(&out, " %s=%s", name, value);
	strbuf_addf(&out, " host=%d peer=%d h2=%d", http_header(req, "HOST") != NULL,
		    strncmp(http_peer_address(req), "127.0.0.1:", 10) == 0, http_is_h2(req));
	http_respond(req, 200, NULL, 0, out.data, out.len);
}

static inline void handler(struct http_request *req, void *user)
{
	static const struct http_field text[] = { { "Content-Type", "text/plain" }, { "X-Bad", "a\r\nX-Evil: b" } };
	struct fixture *f = user;
	const char *p = http_path(req);
	size_t len;
	const void *body = http_body(req, &len);

	http_set_user(req, f, request_closed);
	if (strcmp(p, "/hello") == 0)
		http_respond(req, 200, text, 2, "hello\n", 6);
	else if (strcmp(p, "/echo") == 0)
		http_respond(req, 201, text, 1, body, len);
	else if (strcmp(p, "/big") == 0)
		http_respond_bytes(req, 200, text, 1, big);
	else if (strcmp(p, "/empty") == 0)
		http_respond(req, 204, text, 1, NULL, 0);
	else if (strcmp(p, "/stream") == 0)
		stream(req);
	else if (strcmp(p, "/drain") == 0)
		drain(req);
	else if (strcmp(p, "/hang") == 0)
		hold(f, req, false);
	else if (strcmp(p, "/watch") == 0)
		hold(f, req, true);
	else if (strcmp(p, "/abort") == 0)
		abort_request(req);
	else if (strcmp(p, "/tunnel") == 0)
		tunnel(req);
	else if (strcmp(p, "/cert") == 0)
		certificate(req);
	else
		head(req);
}

static inline void refused(int status, const char *why, struct strbuf *body, const char **type, void *user)
{
	(void)user;
	*type = "application/json";
	strbuf_addf(body, "{\"code\":%d,\"message\":\"%s\"}", status, why);
}

/* The server's thread. */

static inline void stopped(void *user)
{
	struct fixture *f = user;

	uv_close((uv_handle_t *)&f->stop, NULL);
	uv_close((uv_handle_t *)&f->poke, NULL);
}

static inline void on_stop(uv_async_t *a)
{
	struct fixture *f = a->data;

	http_server_shutdown(f->server, f->grace_ms, stopped, f);
}

static inline void on_poke(uv_async_t *a)
{
	struct fixture *f = a->data;

	if (f->held)
		http_respond(f->held, 200, NULL, 0, "poked", 5);
}

static inline void *run(void *user)
{
	struct fixture *f = user;

	uv_run(&f->loop, UV_RUN_DEFAULT);
	return NULL;
}

static inline void start(struct fixture *f, struct http_server_options *o)
{
	_cleanup_err_ struct err err = { 0 };
	SSL_CTX *tls = tls_server_new(path("server.crt"), path("server.key"), path("ca.crt"), &err);

	*f = (struct fixture){ 0 };
	assert_non_null(tls);
	o->size = sizeof(*o);
	o->on_refused = refused;
	assert_int_equal(uv_loop_init(&f->loop), 0);
	uv_async_init(&f->loop, &f->stop, on_stop);
	uv_async_init(&f->loop, &f->poke, on_poke);
	f->stop.data = f->poke.data = f;
	f->server = http_server_new(&f->loop, o, handler, f);
	assert_int_equal(http_server_listen(f->server, "127.0.0.1:0", NULL, &f->plain, &err), 0);
	assert_int_equal(http_server_listen(f->server, "127.0.0.1:0", tls, &f->tls, &err), 0);
	SSL_CTX_free(tls);
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static inline void finish(struct fixture *f)
{
	uv_async_send(&f->stop);
	pthread_join(f->thread, NULL);
	assert_int_equal(uv_loop_close(&f->loop), 0); /* no handle was left behind */
}

static inline void wait_for(atomic_int *what, int value)
{
	for (int i = 0; i < 10000 && *what != value; i++)
		usleep(1000);
	assert_int_equal(*what, value);
}

/* Raw clients. */

static inline int dial(int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval limit = { .tv_sec = 20 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static inline void put(int fd, const char *s)
{
	assert_int_equal(send(fd, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
}

/* Reads up to the end of the connection, or until `until` was seen. */
static inline char *get(int fd, const char *until)
{
	struct strbuf in = { 0 };
	char buf[4096];
	ssize_t n;

	strbuf_add(&in, "", 0);
	while (!(until && strstr(in.data, until)) && (n = recv(fd, buf, sizeof(buf), 0)) > 0)
		strbuf_add(&in, buf, (size_t)n);
	if (until)
		assert_non_null(strstr(in.data, until));
	return in.data;
}

static inline char *ask(int port, const char *request)
{
	int fd = dial(port);
	char *answer;

	put(fd, request);
	answer = get(fd, NULL);
	close(fd);
	return answer;
}

static inline void expect(int port, const char *request, const char *start_of_answer, const char *contains)
{
	_cleanup_free_ char *a = ask(port, request);

	if (strncmp(a, start_of_answer, strlen(start_of_answer)) != 0)
		fail_msg("wanted \"%s\", got \"%s\"", start_of_answer, a);
	if (contains && !strstr(a, contains))
		fail_msg("wanted \"%s\" in \"%s\"", contains, a);
}

static inline void issue(const char *name, const char *ca, const struct pki_request *r)
{
	_cleanup_err_ struct err err = { 0 };
	char crt[128], key[128], ca_crt[128], ca_key[128];

	snprintf(crt, sizeof(crt), "%s/%s.crt", dir, name);
	snprintf(key, sizeof(key), "%s/%s.key", dir, name);
	snprintf(ca_crt, sizeof(ca_crt), "%s/%s.crt", dir, ca ? ca : "");
	snprintf(ca_key, sizeof(ca_key), "%s/%s.key", dir, ca ? ca : "");
	assert_int_equal(pki_issue(r, ca ? ca_crt : NULL, ca ? ca_key : NULL, crt, key, &err), 0);
}

static inline int setup(void **state _unused_)
{
	static const char *const sans[] = { "127.0.0.1", NULL };

	if (!mkdtemp(dir))
		return -1;
	big = bytes_new_uninit(BIG_BYTES);
	memset(big->data, 'b', BIG_BYTES);
	for (size_t i = 0; i < BIG_BYTES; i += 1000)
		big->data[i] = (char)('A' + i / 1000 % 26);
	issue("ca", NULL, &(struct pki_request){ .cn = "ca", .use = PKI_CA, .days = 1 });
	issue("ca2", NULL, &(struct pki_request){ .cn = "ca2", .use = PKI_CA, .days = 1 });
	issue("server", "ca", &(struct pki_request){ .cn = "server", .sans = sans, .use = PKI_SERVER, .days = 1 });
	issue("client", "ca", &(struct pki_request){ .cn = "somebody", .use = PKI_CLIENT, .days = 1 });
	issue("expired", "ca", &(struct pki_request){ .cn = "somebody", .use = PKI_CLIENT, .days = -1 });
	issue("foreign", "ca2", &(struct pki_request){ .cn = "somebody", .use = PKI_CLIENT, .days = 1 });
	return 0;
}

static inline int teardown(void **state _unused_)
{
	bytes_unref(big);
	return file_rm_rf(dir);
}

#endif
