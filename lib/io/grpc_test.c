/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gRPC client against a scripted HTTP/2 server on the same loop: the path says what the server does. */
#include "io/grpc.h"

#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"

/* The server. One struct a connection, one a stream. */

struct peer {
	uv_pipe_t pipe;
	nghttp2_session *session;
	bool closing;
};
struct stream {
	char path[64], metadata[64];
	struct strbuf body, out;
	size_t off;
	const char *status, *message;
	bool no_status, hang;
	struct stream *next; /* all of a test, freed at its end */
};

static uv_loop_t loop;
static uv_pipe_t listener;
static char path[64];
static struct peer *peers[8];
static size_t peer_count;
static struct stream *streams;

static void peer_closed(uv_handle_t *h)
{
	struct peer *p = h->data;

	nghttp2_session_del(p->session);
	free(p);
}

static void peer_close(struct peer *p)
{
	if (p->closing)
		return;
	p->closing = true;
	for (size_t i = 0; i < peer_count; i++)
		if (peers[i] == p)
			peers[i] = NULL;
	uv_close((uv_handle_t *)&p->pipe, peer_closed);
}

struct write {
	uv_write_t req;
	char data[];
};

static void on_written(uv_write_t *req, int status)
{
	(void)status;
	free(CONTAINER_OF(req, struct write, req));
}

static void peer_flush(struct peer *p)
{
	const uint8_t *data;
	ssize_t n;

	while (!p->closing && (n = nghttp2_session_mem_send(p->session, &data)) > 0) {
		struct write *w = mem_alloc(sizeof(*w) + (size_t)n);
		uv_buf_t b = uv_buf_init(w->data, (unsigned)n);

		memcpy(w->data, data, (size_t)n);
		uv_write(&w->req, (uv_stream_t *)&p->pipe, &b, 1, on_written);
	}
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0 };
}

static int submit_trailers(nghttp2_session *s, int32_t id, struct stream *st)
{
	nghttp2_nv t[] = { nv("grpc-status", st->status), nv("grpc-message", st->message) };

	return nghttp2_submit_trailer(s, id, t, 2);
}

static ssize_t on_read_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			    nghttp2_data_source *src, void *user)
{
	struct stream *st = src->ptr;
	size_t n = MIN(len, st->out.len - st->off);

	(void)user;
	if (n > 0)
		memcpy(buf, st->out.data + st->off, n);
	st->off += n;
	if (st->off == st->out.len) {
		if (st->hang)
			return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (!st->no_status) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			submit_trailers(s, id, st);
		}
	}
	return (ssize_t)n;
}

static void add_message(struct stream *st, const void *data, size_t len)
{
	uint32_t size = htonl((uint32_t)len);

	strbuf_addc(&st->out, 0);
	strbuf_add(&st->out, &size, 4);
	strbuf_add(&st->out, data, len);
}

static void answer(struct peer *p, int32_t id, struct stream *st)
{
	nghttp2_nv head[] = { nv(":status", str_eq(st->path, "/http503") ? "503" : "200"), nv("content-type", "application/grpc") };
	nghttp2_data_provider body = { .source.ptr = st, .read_callback = on_read_body };
	const char *data = st->body.data + 5;
	size_t len = st->body.len - 5;

	st->status = "0";
	st->message = "";
	if (str_eq(st->path, "/echo")) {
		add_message(st, data, len);
	} else if (str_eq(st->path, "/metadata")) {
		add_message(st, st->metadata, strlen(st->metadata));
	} else if (str_eq(st->path, "/stream")) {
		add_message(st, "a", 1);
		add_message(st, "", 0);
		add_message(st, "ccc", 3);
	} else if (str_eq(st->path, "/forever")) {
		add_message(st, "first", 5);
		st->hang = true;
	} else if (str_eq(st->path, "/error")) {
		nghttp2_nv only[] = { nv(":status", "200"), nv("grpc-status", "5"), nv("grpc-message", "no%20such %C3%A4 100%") };

		nghttp2_submit_response(p->session, id, only, 3, NULL);
		return;
	} else if (str_eq(st->path, "/late-error")) {
		add_message(st, "x", 1);
		st->status = "13";
		st->message = "broken%2Fhalf";
	} else if (str_eq(st->path, "/hang")) {
		return;
	} else if (str_eq(st->path, "/close")) {
		peer_close(p);
		return;
	} else if (str_eq(st->path, "/reset")) {
		nghttp2_submit_rst_stream(p->session, 0, id, NGHTTP2_REFUSED_STREAM);
		return;
	} else if (str_eq(st->path, "/goaway")) {
		nghttp2_submit_goaway(p->session, 0, id, NGHTTP2_NO_ERROR, NULL, 0);
		return;
	} else if (str_eq(st->path, "/compressed")) {
		add_message(st, "x", 1);
		st->out.data[0] = 1;
	} else if (str_eq(st->path, "/huge")) {
		strbuf_add(&st->out, "\0\xff\xff\xff\xff", 5);
		st->hang = true;
	} else if (str_eq(st->path, "/http503") || str_eq(st->path, "/no-status")) {
		st->no_status = true;
	}
	nghttp2_submit_response(p->session, id, head, 2, &body);
}

static int on_begin(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	struct stream *st = mem_new(struct stream);

	(void)user;
	st->next = streams;
	streams = st;
	nghttp2_session_set_stream_user_data(s, f->hd.stream_id, st);
	return 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *n, size_t nl, const uint8_t *v, size_t vl,
		     uint8_t flags, void *user)
{
	struct stream *st = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);

	(void)nl, (void)vl, (void)flags, (void)user;
	if (str_eq((const char *)n, ":path"))
		snprintf(st->path, sizeof(st->path), "%s", (const char *)v);
	if (str_eq((const char *)n, "x-test"))
		snprintf(st->metadata, sizeof(st->metadata), "%s", (const char *)v);
	return 0;
}

static int on_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *d, size_t len, void *user)
{
	struct stream *st = nghttp2_session_get_stream_user_data(s, id);

	(void)flags, (void)user;
	strbuf_add(&st->body, d, len);
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	struct stream *st = f->hd.stream_id ? nghttp2_session_get_stream_user_data(s, f->hd.stream_id) : NULL;

	if (st && f->hd.type == NGHTTP2_DATA && (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		answer(user, f->hd.stream_id, st);
	return 0;
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *b)
{
	static char buf[65536];

	(void)h, (void)n;
	*b = uv_buf_init(buf, sizeof(buf));
}

static void on_peer_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	struct peer *p = h->data;

	if (n < 0) {
		peer_close(p);
		return;
	}
	nghttp2_session_mem_recv(p->session, (const uint8_t *)b->base, (size_t)n);
	peer_flush(p);
}

static void on_connection(uv_stream_t *h, int status)
{
	struct peer *p = mem_new(struct peer);
	nghttp2_session_callbacks *cb;

	assert_int_equal(status, 0);
	uv_pipe_init(&loop, &p->pipe, 0);
	p->pipe.data = p;
	assert_int_equal(uv_accept(h, (uv_stream_t *)&p->pipe), 0);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_server_new(&p->session, cb, p);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(p->session, 0, NULL, 0);
	uv_read_start((uv_stream_t *)&p->pipe, on_alloc, on_peer_read);
	peers[peer_count++ % ARRAY_SIZE(peers)] = p;
}

static void listen_now(void)
{
	uv_pipe_init(&loop, &listener, 0);
	assert_int_equal(uv_pipe_bind(&listener, path), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&listener, 8, on_connection), 0);
}

/* A call and what came of it. */
struct result {
	int messages, done;
	enum grpc_status status;
	char *text;
	struct strbuf last;
	struct grpc_client *free_in_done;
};

static void on_message(const void *data, size_t len, void *user)
{
	struct result *r = user;

	r->messages++;
	strbuf_reset(&r->last);
	strbuf_add(&r->last, data, len);
}

static void on_done(enum grpc_status status, const char *message, void *user)
{
	struct result *r = user;

	r->done++;
	r->status = status;
	free(r->text);
	r->text = mem_strdup(message);
	if (r->free_in_done)
		grpc_client_free(r->free_in_done);
}

static void result_done(struct result *r)
{
	free(r->text);
	strbuf_done(&r->last);
}

static struct grpc_client *client;

static int setup(void **state)
{
	(void)state;
	uv_loop_init(&loop);
	snprintf(path, sizeof(path), "/tmp/agent-grpc-%d", getpid());
	unlink(path);
	peer_count = 0;
	memset(peers, 0, sizeof(peers));
	listen_now();
	client = grpc_client_new(&loop, path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	grpc_client_free(client);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		if (peers[i])
			peer_close(peers[i]);
	if (!uv_is_closing((uv_handle_t *)&listener))
		uv_close((uv_handle_t *)&listener, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	unlink(path);
	while (streams) {
		struct stream *st = streams;

		streams = st->next;
		strbuf_done(&st->body);
		strbuf_done(&st->out);
		free(st);
	}
	return uv_loop_close(&loop);
}

static void run(struct result *r, const char *method, const void *data, size_t len, unsigned timeout_ms)
{
	memset(r, 0, sizeof(*r));
	grpc_call_start(client, method, data, len, NULL, timeout_ms, on_message, on_done, r);
	assert_int_equal(r->done, 0);
	while (!r->done)
		uv_run(&loop, UV_RUN_ONCE);
}

static void test_unary(void **state)
{
	struct result r;

	(void)state;
	for (int i = 0; i < 3; i++) {
		run(&r, "/echo", "hello", 5, 0);
		assert_int_equal(r.status, GRPC_OK);
		assert_int_equal(r.messages, 1);
		assert_string_equal(r.last.data, "hello");
		result_done(&r);
	}
	assert_int_equal(peer_count, 1); /* one connection for all */
	run(&r, "/echo", "", 0, 1000);
	assert_int_equal(r.messages, 1);
	assert_int_equal(r.last.len, 0);
	result_done(&r);
}

static void test_big(void **state)
{
	size_t len = 3 << 20;
	_cleanup_free_ char *data = mem_alloc(len);
	struct result r;

	(void)state;
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 31 + i / 251);
	run(&r, "/echo", data, len, 0);
	assert_int_equal(r.status, GRPC_OK);
	assert_int_equal(r.last.len, len);
	assert_memory_equal(r.last.data, data, len);
	result_done(&r);
}

static void test_parallel(void **state)
{
	struct result r[20] = { 0 };
	char text[20][16];
	int left = 1;

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(text[i], sizeof(text[i]), "m%d", i);
		grpc_call_start(client, "/echo", text[i], strlen(text[i]), NULL, 0, on_message, on_done, &r[i]);
	}
	while (left) {
		uv_run(&loop, UV_RUN_ONCE);
		left = 0;
		for (int i = 0; i < 20; i++)
			left += !r[i].done;
	}
	for (int i = 0; i < 20; i++) {
		assert_string_equal(r[i].last.data, text[i]);
		result_done(&r[i]);
	}
	assert_int_equal(peer_count, 1);
}

static void test_metadata(void **state)
{
	static const char *const metadata[] = { "x-test", "k8s.io", NULL };
	struct result r = { 0 };

	(void)state;
	grpc_call_start(client, "/metadata", "", 0, metadata, 0, on_message, on_done, &r);
	while (!r.done)
		uv_run(&loop, UV_RUN_ONCE);
	assert_string_equal(r.last.data, "k8s.io");
	result_done(&r);
}

static void test_stream(void **state)
{
	struct result r;

	(void)state;
	run(&r, "/stream", "", 0, 0);
	assert_int_equal(r.messages, 3);
	assert_string_equal(r.last.data, "ccc");
	assert_int_equal(r.status, GRPC_OK);
	result_done(&r);
}

static void test_errors(void **state)
{
	static const struct {
		const char *path;
		enum grpc_status status;
		const char *text; /* NULL: not empty */
	} rows[] = {
		{ "/error", GRPC_NOT_FOUND, "no%20such %C3%A4 100%" }, /* a broken escape: as it came */
		{ "/late-error", GRPC_INTERNAL, "broken/half" },
		{ "/reset", GRPC_UNAVAILABLE, NULL },
		{ "/close", GRPC_UNAVAILABLE, "the server closed the connection" },
		{ "/goaway", GRPC_UNAVAILABLE, "the server is going away" },
		{ "/compressed", GRPC_UNIMPLEMENTED, NULL },
		{ "/huge", GRPC_RESOURCE_EXHAUSTED, NULL },
		{ "/http503", GRPC_UNAVAILABLE, "the server answered HTTP 503 without a gRPC status" },
		{ "/no-status", GRPC_UNKNOWN, "the server answered HTTP 200 without a gRPC status" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct result r;

		run(&r, rows[i].path, "", 0, 0);
		if (r.status != rows[i].status)
			fail_msg("%s: status %d (%s)", rows[i].path, r.status, r.text);
		if (rows[i].text)
			assert_string_equal(r.text, rows[i].text);
		else
			assert_true(*r.text);
		result_done(&r);
		run(&r, "/echo", "again", 5, 0);
		assert_int_equal(r.status, GRPC_OK);
		result_done(&r);
	}
}

static void test_deadline(void **state)
{
	struct result r;

	(void)state;
	run(&r, "/hang", "", 0, 30);
	assert_int_equal(r.status, GRPC_DEADLINE_EXCEEDED);
	result_done(&r);
	run(&r, "/echo", "x", 1, 0);
	assert_int_equal(r.status, GRPC_OK);
	assert_int_equal(peer_count, 1); /* a late answer does not cost the connection */
	result_done(&r);
}

static void test_nobody_listens(void **state)
{
	struct result r;

	(void)state;
	uv_close((uv_handle_t *)&listener, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	unlink(path);
	run(&r, "/echo", "x", 1, 0);
	assert_int_equal(r.status, GRPC_UNAVAILABLE);
	result_done(&r);
	listen_now();
	run(&r, "/echo", "x", 1, 0);
	assert_int_equal(r.status, GRPC_OK);
	result_done(&r);
}

static void test_connection_dies(void **state)
{
	struct result hang = { 0 }, r;

	(void)state;
	grpc_call_start(client, "/forever", "", 0, NULL, 0, on_message, on_done, &hang);
	while (!hang.messages)
		uv_run(&loop, UV_RUN_ONCE);
	peer_close(peers[0]);
	while (!hang.done)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(hang.status, GRPC_UNAVAILABLE);
	run(&r, "/echo", "x", 1, 0);
	assert_int_equal(r.status, GRPC_OK);
	assert_int_equal(peer_count, 2);
	result_done(&hang);
	result_done(&r);
}

static void test_bad_target(void **state)
{
	static const char *const targets[] = { "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "tcp://[::1:80", "tcp://name:1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		struct grpc_client *keep = client;
		struct result r;

		client = grpc_client_new(&loop, targets[i]);
		run(&r, "/echo", "x", 1, 0);
		assert_int_equal(r.status, GRPC_UNAVAILABLE);
		result_done(&r);
		grpc_client_free(client);
		client = keep;
	}
}

static void on_tcp_connection(uv_stream_t *h, int status);

static void test_tcp(void **state)
{
	struct grpc_client *keep = client;
	struct sockaddr_in a;
	int len = sizeof(a);
	static uv_tcp_t server;
	char target[64];
	struct result r;

	(void)state;
	uv_tcp_init(&loop, &server);
	uv_ip4_addr("127.0.0.1", 0, &a);
	assert_int_equal(uv_tcp_bind(&server, (struct sockaddr *)&a, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&server, 1, on_tcp_connection), 0);
	uv_tcp_getsockname(&server, (struct sockaddr *)&a, &len);
	snprintf(target, sizeof(target), "tcp://127.0.0.1:%d", ntohs(a.sin_port));
	client = grpc_client_new(&loop, target);
	/* It is accepted and closed at once. */
	run(&r, "/echo", "x", 1, 0);
	assert_int_equal(r.status, GRPC_UNAVAILABLE);
	result_done(&r);
	grpc_client_free(client);
	client = keep;
	uv_close((uv_handle_t *)&server, NULL);
}

static void close_free(uv_handle_t *h)
{
	free(h);
}

static void on_tcp_connection(uv_stream_t *h, int status)
{
	uv_tcp_t *t = mem_new(uv_tcp_t);

	assert_int_equal(status, 0);
	uv_tcp_init(&loop, t);
	assert_int_equal(uv_accept(h, (uv_stream_t *)t), 0);
	uv_close((uv_handle_t *)t, close_free);
}

static struct grpc_call *victim;

static void cancel_victim(const void *data, size_t len, void *user)
{
	on_message(data, len, user);
	grpc_call_cancel(victim);
}

static void test_cancel(void **state)
{
	struct result a = { 0 }, b;

	(void)state;
	/* Before anything was sent, from its own message, and what follows works. */
	grpc_call_cancel(grpc_call_start(client, "/echo", "x", 1, NULL, 0, on_message, on_done, &a));
	victim = grpc_call_start(client, "/stream", "", 0, NULL, 0, cancel_victim, on_done, &a);
	run(&b, "/echo", "y", 1, 0);
	assert_int_equal(b.status, GRPC_OK);
	assert_int_equal(a.messages, 1);
	assert_int_equal(a.done, 0);
	result_done(&a);
	result_done(&b);
}

static void test_free_client(void **state)
{
	struct result a = { 0 }, b = { 0 };

	(void)state;
	grpc_call_start(client, "/hang", "", 0, NULL, 0, on_message, on_done, &b);
	a.free_in_done = client;
	grpc_call_start(client, "/echo", "x", 1, NULL, 0, on_message, on_done, &a);
	while (!a.done)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(b.done, 0);
	result_done(&a);
	result_done(&b);
	client = NULL;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_unary),	  T(test_big),	    T(test_parallel),	      T(test_metadata), T(test_stream), T(test_errors),
		T(test_deadline), T(test_nobody_listens), T(test_connection_dies), T(test_cancel), T(test_bad_target), T(test_tcp),	 T(test_free_client),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
