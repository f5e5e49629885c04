/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client against our own server on loopback: one connection for all, deaths, timeouts, cancelling, pausing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/tls.h"

static char dir[] = "/tmp/http-client-test-XXXXXX";
static uv_loop_t loop;
static struct http_server *server;
static SSL_CTX *tls;
static int port;
static struct http_request *streams[64];
static size_t stream_count, h2_requests;

static char *path(const char *name)
{
	return str_printf("%s/%s", dir, name);
}

static void issue(const char *name, enum pki_use use, const char *const *sans)
{
	struct pki_request r = { .cn = name, .use = use, .days = 1, .sans = sans };
	_cleanup_free_ char *ca_crt = path("ca.crt"), *ca_key = path("ca.key");
	_cleanup_free_ char *crt = str_printf("%s/%s.crt", dir, name), *key = str_printf("%s/%s.key", dir, name);
	bool ca = use == PKI_CA;

	assert_int_equal(pki_issue(&r, ca ? NULL : ca_crt, ca ? NULL : ca_key, crt, key, NULL), 0);
}

static void stream_gone(struct http_request *req, void *user _unused_)
{
	for (size_t i = 0; i < stream_count; i++)
		if (streams[i] == req)
			streams[i] = streams[--stream_count];
}

static void handle(struct http_request *req, void *user _unused_)
{
	const char *p = http_path(req);
	struct http_field fields[] = { { "Content-Type", "text/plain" }, { "Retry-After", "7" } };

	h2_requests += http_is_h2(req);
	if (str_eq(p, "/watch")) {
		assert_true(stream_count < ARRAY_SIZE(streams));
		streams[stream_count++] = req;
		http_set_user(req, NULL, stream_gone);
		http_stream_begin(req, 200, fields, 1);
		http_stream_write(req, "first\n", 6);
	} else if (str_eq(p, "/silent")) {
		http_set_user(req, NULL, stream_gone); /* never answered */
	} else if (str_eq(p, "/big")) {
		char *big = malloc(3 << 20);

		memset(big, 'b', 3 << 20);
		http_respond(req, 200, fields, 1, big, 3 << 20);
		free(big);
	} else if (str_eq(p, "/echo")) {
		size_t len;
		const void *body = http_body(req, &len);
		_cleanup_free_ char *s = str_printf("%s %s %.*s", http_method(req),
						    http_header(req, "content-type") ? http_header(req, "content-type") : "-",
						    (int)len, len ? (const char *)body : "");

		http_respond(req, 200, fields, 1, s, strlen(s));
	} else {
		http_respond(req, 503, fields, 2, "no", 2);
	}
}

static void server_start(int on_port)
{
	_cleanup_free_ char *address = str_printf("127.0.0.1:%d", on_port);
	struct err e = { 0 };

	server = http_server_new(&loop, NULL, handle, NULL);
	if (http_server_listen(server, address, tls, &port, &e) < 0)
		fail_msg("%s", err_msg(&e));
}

static struct http_client *client_new(void)
{
	_cleanup_free_ char *ca = path("ca.crt");
	struct http_client_options o = { .size = sizeof(o), .ca_file = ca, .user_agent = "test" };
	struct http_client *c = http_client_new(&loop, &o, NULL);

	assert_non_null(c);
	return c;
}

/* What became of a call. */
struct seen {
	int status, ended;
	char error[256], retry_after[16];
	struct strbuf body;
	struct http_call *cancel_me, *self;
	struct http_client *client;
	bool pause_first;
};

static int on_data(int status, const void *data, size_t len, void *user)
{
	struct seen *s = user;

	s->status = status;
	strbuf_add(&s->body, data, len);
	if (s->pause_first) {
		s->pause_first = false;
		http_call_pause(s->self, true);
	}
	return 0;
}

static void on_done(const struct http_answer *a, void *user)
{
	struct seen *s = user;

	s->ended++;
	s->status = a->status;
	snprintf(s->error, sizeof(s->error), "%s", a->error ? a->error : "");
	snprintf(s->retry_after, sizeof(s->retry_after), "%s", a->retry_after);
	strbuf_add(&s->body, a->body, a->body_len);
	http_call_cancel(s->cancel_me);
}

static struct http_call *call(struct http_client *c, const char *method, const char *p, http_data_fn data, struct seen *s)
{
	_cleanup_free_ char *url = str_printf("https://127.0.0.1:%d%s", port, p);
	struct http_call_request r = { .method = method, .url = url };

	return http_client_call(c, &r, data, on_done, s);
}

/* Runs the loop until cond; a test that hangs is ended by its runner. */
#define RUN_UNTIL(cond)                      \
	while (!(cond))                      \
		uv_run(&loop, UV_RUN_ONCE)

static void seen_done(struct seen *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		strbuf_done(&s[i].body);
}

static void set_flag(void *user)
{
	*(bool *)user = true;
}

static void server_stop(void)
{
	bool stopped = false;

	http_server_shutdown(server, 0, set_flag, &stopped);
	RUN_UNTIL(stopped);
}

static void shares_one_connection(void **state _unused_)
{
	struct http_client *c = client_new();
	struct seen watches[25] = { 0 }, calls[10] = { 0 };

	h2_requests = 0;
	for (size_t i = 0; i < 25; i++)
		call(c, "GET", "/watch", on_data, &watches[i]);
	for (size_t i = 0; i < 25; i++)
		RUN_UNTIL(watches[i].body.len == 6);
	for (size_t i = 0; i < 10; i++)
		call(c, "GET", "/echo", NULL, &calls[i]);
	for (size_t i = 0; i < 10; i++) {
		RUN_UNTIL(calls[i].ended);
		assert_string_equal(calls[i].body.data, "GET - ");
	}
	assert_int_equal(http_server_connections(server), 1);
	assert_int_equal(h2_requests, 35);
	/* Each watch still gets its own. */
	for (size_t i = 0; i < stream_count; i++)
		http_stream_write(streams[i], "more\n", 5);
	for (size_t i = 0; i < 25; i++) {
		RUN_UNTIL(watches[i].body.len == 11);
		assert_int_equal(watches[i].ended, 0);
	}
	http_client_free(c);
	RUN_UNTIL(stream_count == 0);
	for (size_t i = 0; i < 25; i++)
		assert_int_equal(watches[i].ended, 0);
	seen_done(watches, 25);
	seen_done(calls, 10);
}

static void survives_the_server(void **state _unused_)
{
	struct http_client *c = client_new();
	struct seen watches[20] = { 0 }, refused = { 0 }, again = { 0 };
	int old_port = port;

	for (size_t i = 0; i < 20; i++)
		call(c, "GET", "/watch", on_data, &watches[i]);
	for (size_t i = 0; i < 20; i++)
		RUN_UNTIL(watches[i].body.len == 6);
	server_stop();
	for (size_t i = 0; i < 20; i++) {
		RUN_UNTIL(watches[i].ended);
		assert_int_equal(watches[i].status, 0);
		assert_true(*watches[i].error);
	}
	call(c, "GET", "/echo", NULL, &refused);
	RUN_UNTIL(refused.ended);
	assert_int_equal(refused.status, 0);
	assert_non_null(strstr(refused.error, "Failed to connect"));
	server_start(old_port);
	call(c, "GET", "/echo", NULL, &again);
	RUN_UNTIL(again.ended);
	assert_int_equal(again.status, 200);
	http_client_free(c);
	seen_done(watches, 20);
	seen_done(&refused, 1);
	seen_done(&again, 1);
}

static void sends_and_refuses(void **state _unused_)
{
	struct http_client *c = client_new();
	struct seen post = { 0 }, empty = { 0 }, busy = { 0 }, busy_stream = { 0 }, too_big = { 0 }, big = { 0 };
	struct http_client_header type = { "Content-Type", "application/json" };
	_cleanup_free_ char *url = str_printf("https://127.0.0.1:%d/echo", port);
	_cleanup_free_ char *big_url = str_printf("https://127.0.0.1:%d/big", port);
	struct http_call_request r = {
		.method = "PATCH", .url = url, .headers = &type, .header_count = 1, .body = "{\"a\":1}", .body_len = 7
	};

	http_client_call(c, &r, NULL, on_done, &post);
	call(c, "POST", "/echo", NULL, &empty);
	call(c, "GET", "/busy", NULL, &busy);
	call(c, "GET", "/busy", on_data, &busy_stream);
	r = (struct http_call_request){ .method = "GET", .url = big_url, .max_body_bytes = 1 << 20 };
	http_client_call(c, &r, NULL, on_done, &too_big);
	r.max_body_bytes = 0;
	http_client_call(c, &r, NULL, on_done, &big);
	RUN_UNTIL(post.ended && empty.ended && busy.ended && busy_stream.ended && too_big.ended && big.ended);
	assert_string_equal(post.body.data, "PATCH application/json {\"a\":1}");
	assert_string_equal(empty.body.data, "POST - ");
	assert_int_equal(busy.status, 503);
	assert_string_equal(busy.retry_after, "7");
	assert_string_equal(busy_stream.body.data, "no");
	assert_int_equal(busy_stream.status, 503);
	assert_int_equal(too_big.status, 0);
	assert_string_equal(too_big.error, "the answer is larger than the limit");
	assert_int_equal(big.body.len, 3 << 20);
	http_client_free(c);
	struct seen all[] = { post, empty, busy, busy_stream, too_big, big };

	seen_done(all, ARRAY_SIZE(all));
}

static void timeouts(void **state _unused_)
{
	struct http_client *c = client_new();
	struct seen silent = { 0 }, idle = { 0 }, neighbour = { 0 }, after = { 0 };
	_cleanup_free_ char *url = str_printf("https://127.0.0.1:%d/silent", port);
	_cleanup_free_ char *watch_url = str_printf("https://127.0.0.1:%d/watch", port);
	struct http_call_request r = { .method = "GET", .url = watch_url, .idle_timeout_ms = 50 };

	/* A stream that goes quiet ends alone. */
	call(c, "GET", "/watch", on_data, &neighbour);
	http_client_call(c, &r, on_data, on_done, &idle);
	RUN_UNTIL(idle.ended);
	assert_string_equal(idle.body.data, "first\n");
	assert_string_equal(idle.error, "no data came for longer than the limit");
	assert_int_equal(neighbour.ended, 0);
	/* A call that gets no answer at all takes its connection with it. */
	r = (struct http_call_request){ .method = "GET", .url = url, .timeout_ms = 50 };
	http_client_call(c, &r, NULL, on_done, &silent);
	RUN_UNTIL(silent.ended && neighbour.ended);
	assert_int_equal(silent.status, 0);
	assert_int_equal(neighbour.status, 0);
	call(c, "GET", "/echo", NULL, &after);
	RUN_UNTIL(after.ended);
	assert_int_equal(after.status, 200);
	http_client_free(c);
	struct seen all[] = { silent, idle, neighbour, after };

	seen_done(all, ARRAY_SIZE(all));
}

static int start_another(int status _unused_, const void *data _unused_, size_t len _unused_, void *user)
{
	struct seen *s = user;

	call(s->client, "GET", "/echo", NULL, s + 1);
	http_call_cancel(s->self);
	return 0;
}

static int refuse_data(int status _unused_, const void *data _unused_, size_t len _unused_, void *user _unused_)
{
	return -1;
}

static int free_client(int status _unused_, const void *data _unused_, size_t len _unused_, void *user)
{
	struct seen *s = user;

	http_client_free(s->client);
	s->client = NULL;
	return 0;
}

static void cancelling(void **state _unused_)
{
	struct http_client *c = client_new();
	struct seen s[2] = { { .client = c } }, first = { 0 }, victim = { 0 }, ended = { 0 }, freed = { .client = c };

	/* From inside its own data, starting another call there. */
	s[0].self = call(c, "GET", "/watch", start_another, &s[0]);
	RUN_UNTIL(s[1].ended);
	assert_int_equal(s[0].ended, 0);
	assert_int_equal(s[1].status, 200);
	/* From inside another call's done, and before anything was sent. */
	victim.self = call(c, "GET", "/watch", on_data, &victim);
	first.cancel_me = victim.self;
	call(c, "GET", "/echo", NULL, &first);
	http_call_cancel(call(c, "GET", "/watch", on_data, &victim));
	RUN_UNTIL(first.ended);
	assert_int_equal(victim.ended, 0);
	/* A reader that refuses ends its call. */
	call(c, "GET", "/watch", refuse_data, &ended);
	RUN_UNTIL(ended.ended);
	assert_int_equal(ended.status, 0);
	assert_string_equal(ended.error, "ended by the reader");
	/* The client may be freed from inside. */
	call(c, "GET", "/watch", free_client, &freed);
	RUN_UNTIL(!freed.client);
	RUN_UNTIL(stream_count == 0);
	assert_int_equal(freed.ended, 0);
	struct seen all[] = { s[0], s[1], first, victim, ended };

	seen_done(all, ARRAY_SIZE(all));
}

static void pausing(void **state _unused_)
{
	struct http_client *c = client_new();
	struct seen paused = { .pause_first = true }, other = { 0 };

	/* The rest of three megabytes waits; others on the connection go on. */
	paused.self = call(c, "GET", "/big", on_data, &paused);
	RUN_UNTIL(paused.body.len);
	size_t had = paused.body.len;

	assert_true(had < 3 << 20);
	for (int i = 0; i < 3; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		assert_int_equal(paused.body.len, had);
	}
	http_call_pause(paused.self, false);
	assert_int_equal(paused.body.len, had); /* never from inside */
	RUN_UNTIL(paused.ended);
	assert_int_equal(paused.status, 200);
	assert_int_equal(paused.body.len, 3 << 20);
	call(c, "GET", "/echo", NULL, &other);
	RUN_UNTIL(other.ended);
	http_client_free(c);
	seen_done(&paused, 1);
	seen_done(&other, 1);
}

static void verifies(void **state _unused_)
{
	_cleanup_free_ char *ca = path("server.crt");
	struct http_client_options wrong = { .size = sizeof(wrong), .ca_file = ca };
	struct http_client_options any = { .size = sizeof(any), .insecure_skip_verify = true };
	struct http_client_options missing = { .size = sizeof(missing), .ca_file = "/nonexistent/ca.crt" };
	struct http_client *c = http_client_new(&loop, &wrong, NULL), *lax = http_client_new(&loop, &any, NULL);
	struct seen refused = { 0 }, taken = { 0 };
	_cleanup_err_ struct err e = { 0 };

	call(lax, "GET", "/echo", NULL, &taken);
	RUN_UNTIL(taken.ended);
	assert_int_equal(taken.status, 200);
	issue("other", PKI_CA, NULL);
	_cleanup_free_ char *other = path("other.crt");

	wrong.ca_file = other;
	http_client_free(c);
	c = http_client_new(&loop, &wrong, NULL);
	call(c, "GET", "/echo", NULL, &refused);
	RUN_UNTIL(refused.ended);
	assert_int_equal(refused.status, 0);
	assert_non_null(strstr(refused.error, "certificate"));
	http_client_free(c);
	http_client_free(lax);
	assert_null(http_client_new(&loop, &missing, &e));
	assert_string_equal(err_msg(&e), "cannot read /nonexistent/ca.crt: No such file or directory");
	seen_done(&refused, 1);
	seen_done(&taken, 1);
}

static int setup(void **state _unused_)
{
	static const char *const sans[] = { "127.0.0.1", NULL };

	if (!mkdtemp(dir))
		return -1;
	uv_loop_init(&loop);
	issue("ca", PKI_CA, NULL);
	issue("server", PKI_SERVER, sans);
	_cleanup_free_ char *crt = path("server.crt"), *key = path("server.key");

	tls = tls_server_new(crt, key, NULL, NULL);
	assert_non_null(tls);
	server_start(0);
	return 0;
}

static int teardown(void **state _unused_)
{
	server_stop();
	SSL_CTX_free(tls);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	return file_rm_rf(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_one_connection), cmocka_unit_test(survives_the_server),
		cmocka_unit_test(sends_and_refuses),     cmocka_unit_test(timeouts),
		cmocka_unit_test(cancelling),            cmocka_unit_test(pausing),
		cmocka_unit_test(verifies),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
