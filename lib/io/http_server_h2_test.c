/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTP/2 on the server, against a client that sends what libcurl would not. */
#include "io/http_server_fixture.h"

#include <limits.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>

struct h2_client {
	nghttp2_session *session;
	int fd, status, goaway;
	int streams_closed, resets;
	size_t to_send; /* of h2_bounded */
	uint32_t last_code;
	bool over;
	struct strbuf body;
};

static ssize_t h2_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *user)
{
	ssize_t n = send(((struct h2_client *)user)->fd, data, len, MSG_NOSIGNAL);

	(void)session;
	(void)flags;
	return n < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : n;
}

static int h2_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t len, uint8_t flags, void *user)
{
	struct h2_client *c = user;

	(void)session;
	(void)frame;
	(void)flags;
	(void)len;
	if (name_len == 7 && memcmp(name, ":status", 7) == 0)
		c->status = atoi((const char *)value);
	return 0;
}

static int h2_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
	(void)session;
	(void)flags;
	(void)id;
	strbuf_add(&((struct h2_client *)user)->body, data, len);
	return 0;
}

static int h2_closed(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct h2_client *c = user;

	(void)session;
	(void)id;
	c->streams_closed++;
	c->last_code = code;
	return 0;
}

static int h2_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)session;
	if (frame->hd.type == NGHTTP2_RST_STREAM)
		((struct h2_client *)user)->resets++;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		((struct h2_client *)user)->goaway = (int)frame->goaway.error_code + 1;
	return 0;
}

static void h2_open(struct h2_client *c, int port)
{
	nghttp2_session_callbacks *cb;

	*c = (struct h2_client){ .fd = dial(port) };
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); /* window updates are small */
	strbuf_add(&c->body, "", 0);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_send_callback(cb, h2_send);
	nghttp2_session_callbacks_set_on_header_callback(cb, h2_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_closed);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_frame);
	nghttp2_session_client_new(&c->session, cb, c);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->session, 0, NULL, 0);
}

static void h2_close(struct h2_client *c)
{
	nghttp2_session_del(c->session);
	strbuf_done(&c->body);
	close(c->fd);
}

/* Until so many streams are closed, or GOAWAY came and the connection ended. */
static void h2_run(struct h2_client *c, int streams)
{
	uint8_t buf[16384];

	while (c->streams_closed < streams && !c->over) {
		ssize_t n;

		if (nghttp2_session_send(c->session) != 0) {
			c->over = true;
			break;
		}
		n = recv(c->fd, buf, sizeof(buf), 0);
		if (n <= 0 || nghttp2_session_mem_recv(c->session, buf, (size_t)n) < 0)
			c->over = true;
	}
}

static ssize_t h2_endless(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			  nghttp2_data_source *source, void *user)
{
	(void)session;
	(void)id;
	(void)flags;
	(void)source;
	(void)user;
	memset(buf, 'e', len);
	return (ssize_t)len;
}

#define NV(n, v) { (uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE }

static int32_t h2_request(struct h2_client *c, const char *method, const char *what, const char *extra, const char *value,
			  bool endless)
{
	nghttp2_nv nv[] = {
		NV(":method", method), NV(":scheme", "http"), NV(":path", what), NV(":authority", "127.0.0.1"),
		NV(extra ? extra : "", value ? value : ""),
	};
	nghttp2_data_provider provider = { .read_callback = h2_endless };

	return nghttp2_submit_request(c->session, NULL, nv, extra ? 5 : 4, endless ? &provider : NULL, NULL);
}

static void h2_refusals(void **state _unused_)
{
	struct http_server_options o = { .max_head_bytes = 2048, .max_body_bytes = 100000, .body_timeout_ms = 100 };
	struct fixture f;
	struct h2_client c;
	char large[3000];

	start(&f, &o);
	closed_requests = 0;
	/* A body without end: answered, then told to stop, and the connection lives on. */
	h2_open(&c, f.plain);
	h2_request(&c, "POST", "/echo", NULL, NULL, true);
	h2_run(&c, 1);
	assert_int_equal(c.status, 413);
	assert_int_equal(c.last_code, NGHTTP2_NO_ERROR);
	assert_non_null(strstr(c.body.data, "{\"code\":413"));
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	h2_request(&c, "GET", "/hello", "x-large", large, false);
	h2_run(&c, 2);
	assert_int_equal(c.status, 431);
	h2_request(&c, "GET", "/hello#frag", NULL, NULL, false);
	h2_run(&c, 3);
	assert_int_equal(c.status, 400);
	h2_request(&c, "POST", "/echo", "content-length", "100001", false);
	h2_run(&c, 4);
	assert_true(c.status == 413 || c.last_code == NGHTTP2_PROTOCOL_ERROR);
	h2_request(&c, "POST", "/echo", "content-length", "50", true);
	h2_run(&c, 5); /* more than announced */
	assert_int_equal(c.last_code, NGHTTP2_PROTOCOL_ERROR);
	h2_request(&c, "GET", "/hello", "connection", "close", false);
	h2_run(&c, 6);
	assert_int_equal(c.last_code, NGHTTP2_PROTOCOL_ERROR);
	assert_int_equal(closed_requests, 0); /* no handler saw any of these */
	h2_request(&c, "GET", "/x?y=z", "x-a", "b", false);
	strbuf_reset(&c.body);
	h2_run(&c, 7);
	assert_int_equal(c.status, 200);
	assert_string_equal(c.body.data, "GET /x ?y=z body=0 x-a=b host=1 peer=1 h2=1");
	assert_int_equal(c.goaway, 0);
	h2_close(&c);
	finish(&f);
}

static void h2_streams(void **state _unused_)
{
	struct http_server_options o = { .max_streams = 10 };
	struct fixture f;
	struct h2_client c;
	int32_t id;

	start(&f, &o);
	h2_open(&c, f.plain);
	closed_requests = 0;
	/* A watch that the client cancels. */
	id = h2_request(&c, "GET", "/watch", NULL, NULL, false);
	nghttp2_session_send(c.session);
	wait_for(&hanging, 1);
	nghttp2_submit_rst_stream(c.session, 0, id, NGHTTP2_CANCEL);
	h2_run(&c, 1);
	wait_for(&hanging, 0);
	wait_for(&closed_requests, 1);
	h2_request(&c, "GET", "/abort", NULL, NULL, false);
	h2_run(&c, 2);
	assert_int_equal(c.last_code, NGHTTP2_INTERNAL_ERROR);
	h2_request(&c, "GET", "/tunnel", NULL, NULL, false);
	h2_run(&c, 3);
	assert_int_equal(c.status, 400); /* -EPROTO */
	/* HEAD and a request answered after the shutdown began. */
	h2_request(&c, "HEAD", "/hello", NULL, NULL, false);
	h2_run(&c, 4);
	assert_int_equal(c.status, 200);
	f.grace_ms = 20000;
	h2_request(&c, "GET", "/hang", NULL, NULL, false);
	nghttp2_session_send(c.session);
	wait_for(&hanging, 1);
	uv_async_send(&f.stop);
	uv_async_send(&f.poke);
	strbuf_reset(&c.body);
	h2_run(&c, 5);
	assert_int_equal(c.status, 200);
	assert_string_equal(c.body.data, "poked");
	assert_int_equal(c.goaway, 1); /* NO_ERROR */
	h2_close(&c);
	finish(&f);
}

static ssize_t h2_bounded(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			  nghttp2_data_source *source, void *user)
{
	struct h2_client *c = user;
	size_t n = MIN(len, c->to_send);

	(void)session;
	(void)id;
	(void)source;
	memset(buf, 'b', n);
	c->to_send -= n;
	if (c->to_send == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* libcurl fails the transfer when a reset follows the answer at once: a body that ends is taken to its end. */
static void h2_refused_body_is_drained(void **state _unused_)
{
	struct http_server_options o = { .max_body_bytes = 100000 };
	struct fixture f;
	struct h2_client c;
	nghttp2_nv nv[] = {
		NV(":method", "POST"), NV(":scheme", "http"), NV(":path", "/echo"), NV(":authority", "127.0.0.1"),
		NV("content-length", "4000000"),
	};
	nghttp2_data_provider provider = { .read_callback = h2_bounded };

	start(&f, &o);
	for (size_t announced = 0; announced <= 1; announced++) {
		h2_open(&c, f.plain);
		c.to_send = 4000000;
		assert_true(nghttp2_submit_request(c.session, NULL, nv, 4 + announced, &provider, NULL) > 0);
		h2_run(&c, 1);
		assert_int_equal(c.status, 413);
		assert_int_equal(c.to_send, 0);
		assert_int_equal(c.resets, 0);
		h2_close(&c);
	}
	finish(&f);
}

/* A violation of the protocol ends the connection and with it what was open. */
static void h2_violation(void **state _unused_)
{
	struct http_server_options o = { 0 };
	static const uint8_t data_on_stream_0[] = { 0, 0, 1, 0, 0, 0, 0, 0, 0, 'x' };
	struct fixture f;
	struct h2_client c;

	start(&f, &o);
	closed_requests = 0;
	h2_open(&c, f.plain);
	h2_request(&c, "GET", "/watch", NULL, NULL, false);
	nghttp2_session_send(c.session);
	wait_for(&hanging, 1);
	assert_int_equal(send(c.fd, data_on_stream_0, sizeof(data_on_stream_0), MSG_NOSIGNAL), sizeof(data_on_stream_0));
	h2_run(&c, INT_MAX);
	assert_int_equal(c.goaway, NGHTTP2_PROTOCOL_ERROR + 1);
	wait_for(&hanging, 0);
	wait_for(&closed_requests, 1);
	h2_close(&c);
	finish(&f);
}

/* CVE-2023-44487: opening and resetting streams without end gets the connection closed. */
static void h2_rapid_reset(void **state _unused_)
{
	struct http_server_options o = { 0 };
	struct fixture f;
	struct h2_client c;

	start(&f, &o);
	h2_open(&c, f.plain);
	for (int i = 0; i < 20000 && !c.over && !c.goaway; i++) {
		int32_t id = h2_request(&c, "GET", "/hello", NULL, NULL, false);

		if (id < 0 || nghttp2_session_send(c.session) != 0)
			break;
		nghttp2_submit_rst_stream(c.session, 0, id, NGHTTP2_CANCEL);
		if (nghttp2_session_send(c.session) != 0)
			break;
	}
	h2_run(&c, INT_MAX);
	assert_int_equal(c.goaway, NGHTTP2_INTERNAL_ERROR + 1); /* nghttp2's answer to it */
	h2_close(&c);
	expect(f.plain, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 200", NULL);
	expect(f.plain, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a settings frame at all", "", NULL);
	finish(&f);
}

/* A long answer that is made as the one before is taken ends whole, on every stream of a connection. */
static void h2_drains(void **state _unused_)
{
	struct http_server_options o = { 0 };
	struct fixture f;
	struct h2_client c;

	start(&f, &o);
	h2_open(&c, f.plain);
	closed_requests = 0;
	for (int i = 1; i <= 3; i++) {
		strbuf_reset(&c.body);
		h2_request(&c, "GET", "/drain", NULL, NULL, false);
		h2_run(&c, i);
		assert_int_equal(c.streams_closed, i);
		assert_int_equal(c.last_code, NGHTTP2_NO_ERROR);
		assert_int_equal(c.status, 200);
		assert_int_equal(c.body.len, (size_t)DRAIN_PIECES * DRAIN_BYTES);
		for (size_t at = 0; at < c.body.len; at++)
			if (c.body.data[at] != 'd')
				fail_msg("byte %zu is %d", at, c.body.data[at]);
	}
	wait_for(&closed_requests, 3);
	h2_close(&c);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(h2_refusals), cmocka_unit_test(h2_streams), cmocka_unit_test(h2_rapid_reset),
		cmocka_unit_test(h2_violation), cmocka_unit_test(h2_refused_body_is_drained),
		cmocka_unit_test(h2_drains),
	};

	return cmocka_run_group_tests_name("http_server_h2", tests, setup, teardown);
}
