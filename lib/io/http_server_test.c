/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTP server over real sockets on loopback: HTTP/1.1 by raw sockets, every way by libcurl, TLS and certificates. */
#include "io/http_server_fixture.h"

#include <curl/curl.h>
#include <errno.h>

static void keep_alive_and_pipelining(void **state _unused_)
{
	struct http_server_options o = { 0 };
	struct fixture f;
	_cleanup_free_ char *a = NULL;
	const char *first, *second, *third;

	start(&f, &o);
	a = ask(f.plain, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
			 "HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\nGET /empty HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /x");
	first = strstr(a, "hello\nHTTP/1.1 201 Created");
	assert_non_null(first);
	second = strstr(first, "abcHTTP/1.1 200 OK");
	assert_non_null(second);
	third = strstr(second, "Content-Length: 6");
	assert_non_null(third);
	third = strstr(third, "\r\n\r\nHTTP/1.1 204 No Content"); /* HEAD: counted, not sent */
	assert_non_null(third);
	assert_null(strstr(third, "Content-Length"));
	assert_non_null(strstr(third, "Connection: close"));
	/* What was answered can forge no field. */
	assert_null(strstr(a, "\nX-Evil"));
	expect(f.plain, "GET /hello HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "Connection: close");
	expect(f.plain, "GET /stream HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "\r\n\r\n<3456bbb");
	expect(f.plain, "GET http://h/a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200",
	       "GET /a ?b=c body=0 Host=h Connection=close host=1 peer=1 h2=0");
	finish(&f);
}

static void refusals(void **state _unused_)
{
	struct http_server_options o = { .max_head_bytes = 2048, .max_body_bytes = 1000 };
	struct fixture f;
	_cleanup_strbuf_ struct strbuf large = { 0 };

	start(&f, &o);
	expect(f.plain, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	       "HTTP/1.1 400 Bad Request", "{\"code\":400,\"message\":\"both Content-Length and Transfer-Encoding\"}");
	expect(f.plain, "GET / HTTP/1.1\nHost: h\n\n", "HTTP/1.1 400", "application/json");
	expect(f.plain, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", "HTTP/1.1 413", NULL);
	expect(f.plain, "GET / HTTP/3.0\r\n\r\n", "HTTP/1.1 505", NULL);
	/* Refused once, however much follows. */
	expect(f.plain, "BAD\r\nBAD\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400", NULL);
	strbuf_adds(&large, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
	while (large.len < 3000)
		strbuf_addc(&large, 'x');
	expect(f.plain, large.data, "HTTP/1.1 431", NULL);
	strbuf_reset(&large);
	strbuf_adds(&large, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 101; i++)
		strbuf_adds(&large, "a\r\n0123456789\r\n");
	expect(f.plain, large.data, "HTTP/1.1 413", NULL);
	/* A good request before the bad one is answered. */
	expect(f.plain, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\nGARBAGE\r\n", "HTTP/1.1 200", "HTTP/1.1 400");
	finish(&f);
}

static void expect_continue(void **state _unused_)
{
	struct http_server_options o = { 0 };
	struct fixture f;
	_cleanup_free_ char *a = NULL, *b = NULL;
	int fd;

	start(&f, &o);
	fd = dial(f.plain);
	put(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
	a = get(fd, "\r\n\r\n");
	assert_string_equal(a, "HTTP/1.1 100 Continue\r\n\r\n");
	put(fd, "xyz");
	b = get(fd, NULL);
	assert_int_equal(strncmp(b, "HTTP/1.1 201", 12), 0);
	assert_non_null(strstr(b, "\r\n\r\nxyz"));
	close(fd);
	finish(&f);
}

static void slow_clients(void **state _unused_)
{
	struct http_server_options o = { .head_timeout_ms = 60, .body_timeout_ms = 60, .idle_timeout_ms = 60 };
	struct fixture f;
	_cleanup_free_ char *idle = NULL, *after = NULL;
	int fd;

	start(&f, &o);
	expect(f.plain, "GET /hello HTTP/1.1\r\nHo", "HTTP/1.1 408", "the request head did not arrive in time");
	expect(f.plain, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab", "HTTP/1.1 408", "body did not arrive");
	idle = ask(f.plain, "");
	assert_string_equal(idle, "");
	idle = (free(idle), ask(f.tls, ""));
	assert_string_equal(idle, "");
	/* A handler may take longer than any of these times. */
	fd = dial(f.plain);
	put(fd, "GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
	wait_for(&hanging, 1);
	usleep(200000);
	uv_async_send(&f.poke);
	after = get(fd, NULL); /* ends by the idle timeout */
	assert_non_null(strstr(after, "poked"));
	close(fd);
	finish(&f);
}

static void connection_limit(void **state _unused_)
{
	struct http_server_options o = { .max_connections = 2 };
	struct fixture f;
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL;
	int busy, idle, third;

	start(&f, &o);
	busy = dial(f.plain);
	put(busy, "GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
	free(get(busy, "begin"));
	idle = dial(f.plain);
	put(idle, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
	a = get(idle, "hello\n");
	/* The idle connection makes room for a third. */
	third = dial(f.plain);
	put(third, "GET /tunnel HTTP/1.1\r\nHost: h\r\n\r\n");
	b = get(third, "\r\n\r\n");
	c = get(idle, NULL);
	assert_string_equal(c, "");
	/* Nobody is idle now. */
	c = (free(c), ask(f.plain, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
	assert_string_equal(c, "");
	close(busy);
	close(idle);
	close(third);
	wait_for(&hanging, 0);
	finish(&f);
}

static void hijack(void **state _unused_)
{
	struct http_server_options o = { 0 };
	struct fixture f;
	_cleanup_free_ char *a = NULL, *data = mem_alloc(1000001), *echo = NULL;
	int fd;
	pid_t pid;

	start(&f, &o);
	closed_tunnels = 0;
	/* Bytes right behind the request belong to the tunnel; a half-close comes through. */
	fd = dial(f.plain);
	put(fd, "POST /tunnel HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
	shutdown(fd, SHUT_WR);
	a = get(fd, NULL);
	assert_non_null(strstr(a, "\r\n\r\nearly<eof>"));
	close(fd);
	wait_for(&closed_tunnels, 1);
	/* More than the sockets hold, with the echo read late: neither side loses a byte. */
	for (int i = 0; i < 1000000; i++)
		data[i] = (char)('a' + i % 26);
	data[1000000] = '\0';
	fd = dial(f.plain);
	put(fd, "GET /tunnel HTTP/1.1\r\nHost: h\r\n\r\n");
	free(get(fd, "\r\n\r\n"));
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 10; i++)
			put(fd, data);
		shutdown(fd, SHUT_WR);
		_exit(0);
	}
	usleep(100000);
	echo = get(fd, NULL);
	assert_int_equal(strlen(echo), 10000005);
	for (int i = 0; i < 10; i++)
		assert_memory_equal(echo + i * 1000000, data, 1000000);
	close(fd);
	wait_for(&closed_tunnels, 2);
	/* Dropped by the peer, and by the server's end. */
	fd = dial(f.plain);
	put(fd, "GET /tunnel HTTP/1.1\r\nHost: h\r\n\r\n");
	free(get(fd, "\r\n\r\n"));
	finish(&f);
	assert_int_equal(closed_tunnels, 3);
	close(fd);
}

static char *slurp(const char *name)
{
	struct strbuf text = { 0 };

	assert_int_equal(file_read(path(name), 100000, &text), 0);
	return text.data;
}

/* The same through TLS, with a client certificate: what kubectl exec does. */
static void hijack_tls(void **state _unused_)
{
	static const char request[] = "POST /tunnel HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly";
	_cleanup_free_ char *ca = slurp("ca.crt"), *crt = slurp("client.crt"), *key = slurp("client.key");
	_cleanup_free_ char *data = mem_alloc(300000), *got = mem_zalloc(2000000);
	struct http_server_options o = { 0 };
	_cleanup_err_ struct err err = { 0 };
	struct fixture f;
	SSL_CTX *ctx = tls_client_new(ca, crt, key, false, &err);
	size_t len = 0, want, sent = 0;
	const char *body;
	SSL *ssl;
	int fd, n;

	assert_non_null(ctx);
	start(&f, &o);
	closed_tunnels = 0;
	fd = dial(f.tls);
	ssl = SSL_new(ctx);
	assert_int_equal(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), "127.0.0.1"), 1);
	SSL_set_fd(ssl, fd);
	assert_int_equal(SSL_connect(ssl), 1);
	assert_int_equal(SSL_write(ssl, request, sizeof(request) - 1), sizeof(request) - 1);
	for (size_t i = 0; i < 300000; i++)
		data[i] = (char)('a' + i % 25);
	/* No more on the way than the sockets hold: this client writes before it reads. */
	while (sent < 300000) {
		n = SSL_write(ssl, data + sent, (int)MIN((size_t)30000, 300000 - sent));
		assert_true(n > 0);
		sent += (size_t)n;
	}
	assert_int_equal(SSL_shutdown(ssl), 0); /* half-close: close_notify sent, the answer still to be read */
	while ((n = SSL_read(ssl, got + len, 1999999 - (int)len)) > 0)
		len += (size_t)n;
	assert_int_equal(SSL_get_error(ssl, n), SSL_ERROR_ZERO_RETURN); /* ended in order, not cut off */
	body = strstr(got, "\r\n\r\n");
	assert_non_null(body);
	body += 4;
	want = 5 + 300000 + 5;
	assert_int_equal(len - (size_t)(body - got), want);
	assert_memory_equal(body, "early", 5);
	assert_memory_equal(body + 5, data, 300000);
	assert_memory_equal(body + 300005, "<eof>", 5);
	SSL_free(ssl);
	close(fd);
	wait_for(&closed_tunnels, 1);
	/* Cut off without close_notify: an end, too. */
	fd = dial(f.tls);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	assert_int_equal(SSL_connect(ssl), 1);
	SSL_write(ssl, request, sizeof(request) - 1);
	assert_true(SSL_read(ssl, got, 100) > 0);
	close(fd);
	SSL_free(ssl);
	wait_for(&closed_tunnels, 2);
	SSL_CTX_free(ctx);
	finish(&f);
}

static void peer_goes_away(void **state _unused_)
{
	struct http_server_options o = { 0 };
	struct fixture f;
	_cleanup_free_ char *a = NULL;
	int fd;

	start(&f, &o);
	closed_requests = 0;
	fd = dial(f.plain);
	put(fd, "GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
	free(get(fd, "begin"));
	close(fd);
	wait_for(&closed_requests, 1);
	wait_for(&hanging, 0);
	a = ask(f.plain, "GET /abort HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_string_equal(a, "");
	wait_for(&closed_requests, 2);
	/* A client that half-closes behind its request still gets its answer. */
	fd = dial(f.plain);
	put(fd, "GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
	shutdown(fd, SHUT_WR);
	wait_for(&hanging, 1);
	uv_async_send(&f.poke);
	a = (free(a), get(fd, "poked"));
	close(fd);
	wait_for(&closed_requests, 3);
	finish(&f);
}

static void orderly_shutdown(void **state _unused_)
{
	struct http_server_options o = { 0 };
	struct fixture f;
	_cleanup_free_ char *a = NULL, *b = NULL;
	int busy, idle;

	start(&f, &o);
	f.grace_ms = 20000;
	idle = dial(f.plain);
	put(idle, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
	free(get(idle, "hello\n"));
	busy = dial(f.plain);
	put(busy, "GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
	wait_for(&hanging, 1);
	uv_async_send(&f.stop);
	b = get(idle, NULL);
	assert_string_equal(b, "");
	uv_async_send(&f.poke);
	a = get(busy, NULL);
	assert_non_null(strstr(a, "Connection: close"));
	assert_non_null(strstr(a, "poked"));
	close(busy);
	close(idle);
	finish(&f);
}

/* libcurl. */

struct curl_answer {
	long status, version;
	struct strbuf body;
	size_t len;
};

static size_t collect(char *data, size_t size, size_t count, void *user)
{
	struct curl_answer *a = user;

	if (a->body.len < COMPARED_BYTES)
		strbuf_add(&a->body, data, size * count);
	a->len += size * count;
	return size * count;
}

static CURL *curl_new(struct fixture *f, bool tls, long version, const char *what)
{
	CURL *h = curl_easy_init();
	char url[128];

	snprintf(url, sizeof(url), "%s://127.0.0.1:%d%s", tls ? "https" : "http", tls ? f->tls : f->plain, what);
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_TIMEOUT, 30L);
	curl_easy_setopt(h, CURLOPT_CAINFO, path("ca.crt"));
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, version);
	return h;
}

static CURLcode fetch(CURL *h, struct curl_answer *a)
{
	CURLcode r;

	*a = (struct curl_answer){ 0 };
	strbuf_add(&a->body, "", 0);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, a);
	r = curl_easy_perform(h);
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &a->status);
	curl_easy_getinfo(h, CURLINFO_HTTP_VERSION, &a->version);
	return r;
}

static void fetch_one(struct fixture *f, bool tls, long version, const char *what, const char *body, size_t body_len,
		      long want_status, const char *want, size_t want_len)
{
	CURL *h = curl_new(f, tls, version, what);
	struct curl_answer a;
	CURLcode r;

	if (body) {
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)body_len);
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
	}
	r = fetch(h, &a);
	if (r != CURLE_OK)
		fail_msg("%s, tls %d, version %ld: %s after %zu bytes of %zu", what, tls, version, curl_easy_strerror(r), a.len,
			 want_len);
	assert_int_equal(a.status, want_status);
	assert_int_equal(a.version, version == CURL_HTTP_VERSION_1_1 ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2_0);
	assert_int_equal(a.len, want_len);
	assert_memory_equal(a.body.data, want, want_len < COMPARED_BYTES ? want_len : COMPARED_BYTES);
	strbuf_done(&a.body);
	curl_easy_cleanup(h);
}

static void clients(void **state _unused_)
{
	static const struct {
		bool tls;
		long version;
	} ways[] = {
		{ false, CURL_HTTP_VERSION_1_1 }, { false, CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE },
		{ true, CURL_HTTP_VERSION_1_1 }, { true, CURL_HTTP_VERSION_2TLS },
	};
	struct http_server_options o = { 0 };
	struct fixture f;
	_cleanup_free_ char *drained = mem_alloc(DRAIN_BYTES);

	memset(drained, 'd', DRAIN_BYTES);
	start(&f, &o);
	closed_requests = 0;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		_cleanup_strbuf_ struct strbuf streamed = { 0 };
		bool tls = ways[i].tls;
		long v = ways[i].version;
		size_t big_len = big->len;

		fetch_one(&f, tls, v, "/hello", NULL, 0, 200, "hello\n", 6);
		fetch_one(&f, tls, v, "/big", NULL, 0, 200, big->data, big_len);
		fetch_one(&f, tls, v, "/echo", big->data, 2000000, 201, big->data, 2000000);
		fetch_one(&f, tls, v, "/echo", "", 0, 201, "", 0);
		fetch_one(&f, tls, v, "/empty", NULL, 0, 204, "", 0);
		strbuf_adds(&streamed, "<3456");
		strbuf_add(&streamed, big->data + 5, 100000);
		strbuf_adds(&streamed, ">");
		fetch_one(&f, tls, v, "/stream", NULL, 0, 200, streamed.data, streamed.len);
		/* libcurl 7.88 at times waits for ever behind the last byte of a long clear-text HTTP/2 answer, though the
		 * stream's end has come: http_server_h2_test asks that with a client of its own. */
		if (v != CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
			fetch_one(&f, tls, v, "/drain", NULL, 0, 200, drained, (size_t)DRAIN_PIECES * DRAIN_BYTES);
	}
	wait_for(&closed_requests, 27); /* on_close exactly once for each */
	finish(&f);
}

static void certificates(void **state _unused_)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{ NULL, "- 0" }, { "client", "somebody 0" }, { "expired", "somebody 10" }, { "foreign", "somebody 20" },
		{ "server", "server 26" },
	};
	struct http_server_options o = { 0 };
	struct fixture f;

	start(&f, &o);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int h2 = 0; h2 < 2; h2++) {
			CURL *h = curl_new(&f, true, h2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1, "/cert");
			struct curl_answer a;
			char crt[128], key[128];

			if (cases[i].name) {
				snprintf(crt, sizeof(crt), "%s/%s.crt", dir, cases[i].name);
				snprintf(key, sizeof(key), "%s/%s.key", dir, cases[i].name);
				curl_easy_setopt(h, CURLOPT_SSLCERT, crt);
				curl_easy_setopt(h, CURLOPT_SSLKEY, key);
			}
			assert_int_equal(fetch(h, &a), CURLE_OK);
			/* 20 or 21: OpenSSL's choice of words for an unknown issuer. */
			if (strcmp(a.body.data, "somebody 21") == 0)
				a.body.data[10] = '0';
			assert_string_equal(a.body.data, cases[i].want);
			strbuf_done(&a.body);
			curl_easy_cleanup(h);
		}
	}
	expect(f.tls, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.0 400", "HTTP request to an HTTPS server");
	CURL *h = curl_new(&f, true, CURL_HTTP_VERSION_1_1, "/hello");
	struct curl_answer a;

	curl_easy_setopt(h, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_0 | CURL_SSLVERSION_MAX_TLSv1_1);
	curl_easy_setopt(h, CURLOPT_SSL_CIPHER_LIST, "DEFAULT@SECLEVEL=0");
	assert_int_not_equal(fetch(h, &a), CURLE_OK);
	strbuf_done(&a.body);
	curl_easy_setopt(h, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_2);
	curl_easy_setopt(h, CURLOPT_SSL_CIPHER_LIST, "DEFAULT");
	assert_int_equal(fetch(h, &a), CURLE_OK);
	strbuf_done(&a.body);
	curl_easy_cleanup(h);
	finish(&f);
}

static void listening(void **state _unused_)
{
	_cleanup_err_ struct err err = { 0 };
	uv_loop_t loop;
	struct http_server *s;
	int port;
	char address[64];

	uv_loop_init(&loop);
	s = http_server_new(&loop, NULL, handler, NULL);
	assert_int_equal(http_server_listen(s, "localhost:80", NULL, NULL, &err), -EINVAL);
	assert_int_equal(http_server_listen(s, "127.0.0.1", NULL, NULL, &err), -EINVAL);
	assert_int_equal(http_server_listen(s, "[::1:80", NULL, NULL, &err), -EINVAL);
	assert_int_equal(http_server_listen(s, "127.0.0.1:0", NULL, &port, &err), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	assert_int_equal(http_server_listen(s, address, NULL, NULL, &err), -EADDRINUSE);
	assert_non_null(strstr(err_msg(&err), address));
	http_server_shutdown(s, 0, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keep_alive_and_pipelining), cmocka_unit_test(refusals), cmocka_unit_test(expect_continue),
		cmocka_unit_test(slow_clients), cmocka_unit_test(connection_limit), cmocka_unit_test(hijack),
		cmocka_unit_test(peer_goes_away), cmocka_unit_test(hijack_tls), cmocka_unit_test(orderly_shutdown), cmocka_unit_test(clients),
		cmocka_unit_test(certificates), cmocka_unit_test(listening),
	};
	int r;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	r = cmocka_run_group_tests_name("http_server", tests, setup, teardown);
	curl_global_cleanup();
	return r;
}
