/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DNS server on loopback, with an upstream of the test's own on the same loop. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/dns/server.h"

enum upstream_mode { UP_ANSWER, UP_SPOOF_THEN_ANSWER, UP_SILENT, UP_BIG };
struct world {
	uv_loop_t loop;
	struct model *model;
	struct zone zone;
	struct dns_server *server;
	uint16_t port;
	uv_udp_t up, client;
	uint16_t up_port;
	enum upstream_mode mode;
	unsigned asked;
	uint8_t buf[65536], got[65536];
	size_t got_len;
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_timer_t limit;
	bool timed_out;
};

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct world *w = h->data;
	(void)suggested;
	*buf = uv_buf_init((char *)w->buf, sizeof(w->buf));
}

/* Answers A 192.0.2.7 (or so many that they do not fit) to whatever is asked. */
static size_t upstream_answer(struct world *w, const uint8_t *q, size_t len, uint8_t *out)
{
	static const uint8_t record[] = { 0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7 };
	unsigned n = w->mode == UP_BIG ? 60 : 1;
	memcpy(out, q, len);
	out[2] = 0x81;
	out[3] = 0x80;
	out[7] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++, len += sizeof(record))
		memcpy(out + len, record, sizeof(record));
	return len;
}

static void on_upstream(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *peer, unsigned flags)
{
	struct world *w = h->data;
	uint8_t out[4096];
	(void)flags;
	if (n <= 0 || !peer)
		return;
	w->asked++;
	if (w->mode == UP_SILENT)
		return;
	size_t len = upstream_answer(w, (uint8_t *)buf->base, (size_t)n, out);
	uv_buf_t b = uv_buf_init((char *)out, (unsigned)len);
	if (w->mode == UP_SPOOF_THEN_ANSWER) {
		out[len - 1] = 66;
		out[0] ^= 0x55; /* another id */
		uv_udp_try_send(h, &b, 1, peer);
		out[0] ^= 0x55;
		out[DNS_HEADER + 1] ^= 1; /* another question */
		uv_udp_try_send(h, &b, 1, peer);
		out[DNS_HEADER + 1] ^= 1;
		out[len - 1] = 7;
	}
	uv_udp_try_send(h, &b, 1, peer);
}

static void on_client(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *peer, unsigned flags)
{
	struct world *w = h->data;
	(void)flags;
	if (n <= 0 || !peer)
		return;
	memcpy(w->got, buf->base, (size_t)n);
	w->got_len = (size_t)n;
	uv_stop(&w->loop);
}

static void on_limit(uv_timer_t *t)
{
	struct world *w = t->data;
	w->timed_out = true;
	uv_stop(&w->loop);
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static uint16_t bind_udp(struct world *w, uv_udp_t *u, uv_udp_recv_cb cb)
{
	struct sockaddr_in a = loopback(0);
	int len = sizeof(a);
	uv_udp_init(&w->loop, u);
	u->data = w;
	assert_int_equal(uv_udp_bind(u, (struct sockaddr *)&a, 0), 0);
	assert_int_equal(uv_udp_recv_start(u, on_alloc, cb), 0);
	assert_int_equal(uv_udp_getsockname(u, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.sin_port);
}

static int setup(void **state)
{
	static const char text[] = "metadata: {name: ext, namespace: d}\nspec: {type: ExternalName, externalName: up.example}";
	struct world *w = mem_new(struct world);
	const struct model_options o = { .size = sizeof(o) };
	struct ip_addr a;
	uv_loop_init(&w->loop);
	w->model = model_new(&o);
	json_t *v = yaml_parse(text, strlen(text), NULL);
	model_service_set(w->model, v, NULL);
	json_decref(v);
	zone_init(&w->zone, w->model, "cluster.local");
	w->server = dns_server_new(&w->loop, &w->zone);
	ip_parse("127.0.0.1", &a);
	assert_int_equal(dns_server_listen(w->server, &a, 0, &w->port, NULL), 0);
	w->up_port = bind_udp(w, &w->up, on_upstream);
	bind_udp(w, &w->client, on_client);
	uv_timer_init(&w->loop, &w->limit);
	w->limit.data = w;
	*state = w;
	return 0;
}

static void close_all(uv_handle_t *h, void *user)
{
	(void)user;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static int teardown(void **state)
{
	struct world *w = *state;
	dns_server_free(w->server);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	uv_walk(&w->loop, close_all, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	model_free(w->model);
	free(w);
	return 0;
}

static void add_upstream(struct world *w, uint16_t port)
{
	char text[32];
	snprintf(text, sizeof(text), "127.0.0.1:%u", port);
	assert_int_equal(dns_server_add_upstream(w->server, text, NULL), 0);
}

static size_t make_query(uint8_t *msg, const char *name)
{
	struct dns_name n;
	memset(msg, 0, DNS_HEADER);
	msg[0] = 0xab;
	msg[1] = 0xcd;
	msg[2] = 1;
	msg[5] = 1;
	assert_true(dns_name_from_text(&n, name));
	memcpy(msg + DNS_HEADER, n.wire, n.len);
	memcpy(msg + DNS_HEADER + n.len, "\0\1\0\1", 4);
	return DNS_HEADER + n.len + 4;
}

static void wait_answer(struct world *w)
{
	w->timed_out = false;
	uv_timer_start(&w->limit, on_limit, 8000, 0);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	uv_timer_stop(&w->limit);
	assert_false(w->timed_out);
}

static void ask(struct world *w, const char *name)
{
	uint8_t msg[512];
	struct sockaddr_in to = loopback(w->port);
	uv_buf_t b = uv_buf_init((char *)msg, (unsigned)make_query(msg, name));
	assert_true(uv_udp_try_send(&w->client, &b, 1, (struct sockaddr *)&to) > 0);
	wait_answer(w);
	assert_int_equal(w->got[0] << 8 | w->got[1], 0xabcd);
}

static void test_forwarded(void **state)
{
	struct world *w = *state;
	add_upstream(w, w->up_port);
	ask(w, "www.example");
	assert_int_equal(w->got[3] & 0xf, DNS_NOERROR);
	assert_int_equal(w->got[7], 1);
	assert_int_equal(w->got[w->got_len - 1], 7);
	ask(w, "nope.d.svc.cluster.local"); /* ours: not asked elsewhere */
	assert_int_equal(w->got[3] & 0xf, DNS_NXDOMAIN);
	assert_int_equal(w->asked, 1);
}

static void test_spoofed_answers_are_ignored(void **state)
{
	struct world *w = *state;
	w->mode = UP_SPOOF_THEN_ANSWER;
	add_upstream(w, w->up_port);
	ask(w, "www.example");
	assert_int_equal(w->got[w->got_len - 1], 7);
}

static void test_dead_upstream_fails_over(void **state)
{
	struct world *w = *state;
	uv_udp_t dead;
	uint16_t port = bind_udp(w, &dead, on_upstream);
	uv_close((uv_handle_t *)&dead, NULL);
	uv_run(&w->loop, UV_RUN_NOWAIT);
	add_upstream(w, port); /* nobody there: an ICMP error comes back */
	add_upstream(w, w->up_port);
	ask(w, "www.example");
	assert_int_equal(w->got[w->got_len - 1], 7);
}

static void test_no_upstream_is_servfail(void **state)
{
	struct world *w = *state;
	ask(w, "www.example");
	assert_int_equal(w->got[3] & 0xf, DNS_SERVFAIL);
}

static void test_silent_upstream_is_servfail(void **state)
{
	struct world *w = *state;
	w->mode = UP_SILENT;
	add_upstream(w, w->up_port);
	ask(w, "www.example");
	assert_int_equal(w->got[3] & 0xf, DNS_SERVFAIL);
	assert_int_equal(w->asked, 2);
}

static void test_external_name_is_chased(void **state)
{
	struct world *w = *state;
	add_upstream(w, w->up_port);
	ask(w, "ext.d.svc.cluster.local");
	assert_int_equal(w->got[3] & 0xf, DNS_NOERROR);
	assert_int_equal(w->got[7], 2); /* the CNAME and its address */
	struct dns_record r;
	struct dns_name n, want;
	size_t pos = DNS_HEADER;
	assert_true(dns_name_read(w->got, w->got_len, &pos, &n));
	pos += 4;
	assert_true(dns_record_read(w->got, w->got_len, &pos, &r));
	assert_int_equal(r.type, DNS_CNAME);
	assert_true(dns_record_read(w->got, w->got_len, &pos, &r));
	dns_name_from_text(&want, "up.example");
	assert_true(dns_name_eq(&r.owner, &want));
	assert_int_equal(r.type, DNS_A);
}

static void test_too_big_for_udp_is_cut(void **state)
{
	struct world *w = *state;
	w->mode = UP_BIG;
	add_upstream(w, w->up_port);
	ask(w, "www.example");
	assert_true(w->got[2] & 2);
	assert_true(w->got_len <= DNS_UDP_MIN);
}

static void on_tcp_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct world *w = s->data;
	assert_true(n >= 0); /* 0: nothing there yet */
	memcpy(w->got + w->got_len, buf->base, (size_t)n);
	w->got_len += (size_t)n;
	/* Two answers are expected. */
	size_t first = w->got_len >= 2 ? 2 + ((size_t)w->got[0] << 8 | w->got[1]) : SIZE_MAX;
	if (first != SIZE_MAX && w->got_len >= first + 2 &&
	    w->got_len >= first + 2 + ((size_t)w->got[first] << 8 | w->got[first + 1]))
		uv_stop(&w->loop);
}

static void on_connected(uv_connect_t *c, int status)
{
	struct world *w = c->data;
	uint8_t msg[1024];
	assert_int_equal(status, 0);
	/* Two questions in one segment, the second cut in its length bytes. */
	size_t n = make_query(msg + 2, "nope.d.svc.cluster.local");
	msg[0] = 0;
	msg[1] = (uint8_t)n;
	size_t m = make_query(msg + 4 + n, "cluster.local");
	msg[2 + n] = 0;
	msg[3 + n] = (uint8_t)m;
	uv_buf_t b = uv_buf_init((char *)msg, (unsigned)n + 3);
	assert_int_equal(uv_try_write((uv_stream_t *)&w->tcp, &b, 1), n + 3);
	b = uv_buf_init((char *)msg + n + 3, (unsigned)m + 1);
	assert_int_equal(uv_try_write((uv_stream_t *)&w->tcp, &b, 1), m + 1);
	uv_read_start((uv_stream_t *)&w->tcp, on_alloc, on_tcp_read);
}

static void test_tcp(void **state)
{
	struct world *w = *state;
	struct sockaddr_in to = loopback(w->port);
	uv_tcp_init(&w->loop, &w->tcp);
	w->tcp.data = w->connect.data = w;
	assert_int_equal(uv_tcp_connect(&w->connect, &w->tcp, (struct sockaddr *)&to, on_connected), 0);
	wait_answer(w);
	assert_int_equal(w->got[5] & 0xf, DNS_NXDOMAIN);
	uv_read_stop((uv_stream_t *)&w->tcp);
	size_t first = 2 + ((size_t)w->got[0] << 8 | w->got[1]);
	assert_int_equal(w->got[first + 5] & 0xf, DNS_NOERROR);
}

static void test_upstream_addresses(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *text;
		int want;
	} rows[] = {
		{ "192.0.2.1", 0 }, { "192.0.2.1:5353", 0 }, { "[2001:db8::1]:53", 0 }, { "2001:db8::1", 0 },
		{ "bogus", -EINVAL }, { "192.0.2.1:0", -EINVAL }, { "192.0.2.1:99999", -EINVAL }, { "[2001:db8::1", -EINVAL },
		{ "", -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(dns_server_add_upstream(w->server, rows[i].text, NULL), rows[i].want);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_forwarded),
		TEST(test_spoofed_answers_are_ignored),
		TEST(test_dead_upstream_fails_over),
		TEST(test_no_upstream_is_servfail),
		TEST(test_silent_upstream_is_servfail),
		TEST(test_external_name_is_chased),
		TEST(test_too_big_for_udp_is_cut),
		TEST(test_tcp),
		TEST(test_upstream_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
