/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Health asked over HTTP on loopback: what each state answers. What a whole proxy does of it is in follow_test.sh. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/http_client.h"
#include "proxy/health/health.h"

static uv_loop_t loop;
static struct strbuf complaints;

static void on_complaint(const char *what, void *user)
{
	(void)user;
	strbuf_addf(&complaints, "%s\n", what);
}

struct got {
	int status;
	bool done;
	char *body;
};

static void on_done(const struct http_answer *a, void *user)
{
	struct got *g = user;
	g->status = a->status;
	g->body = mem_strndup(a->body ? a->body : "", a->body_len);
	g->done = true;
}

/* "STATUS BODY" with the body's blanks left out. */
static char *ask(uint16_t port, const char *path)
{
	_cleanup_free_ char *url = str_printf("http://127.0.0.1:%u%s", port, path);
	const struct http_call_request r = { .method = "GET", .url = url, .timeout_ms = 5000 };
	const struct http_client_options o = { .size = sizeof(o) };
	struct http_client *client = http_client_new(&loop, &o, NULL); /* a connection of its own each time */
	struct got g = { 0 };
	struct strbuf b = { 0 };
	http_client_call(client, &r, NULL, on_done, &g);
	while (!g.done)
		uv_run(&loop, UV_RUN_ONCE);
	strbuf_addf(&b, "%d ", g.status);
	for (const char *p = g.body; *p; p++)
		if (!strchr(" \t\n", *p))
			strbuf_addc(&b, *p);
	free(g.body);
	http_client_free(client);
	return strbuf_take(&b);
}

static void expect(uint16_t port, const char *path, const char *begins)
{
	_cleanup_free_ char *got = ask(port, path);
	if (!str_starts(got, begins))
		print_message("want %s\ngot  %s\n", begins, got);
	assert_true(str_starts(got, begins));
}

/* A port nobody listens on now. */
static uint16_t free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static struct health *fixture(uint16_t *ret_port, unsigned stale_ms)
{
	*ret_port = free_port();
	_cleanup_free_ char *listen = str_printf("127.0.0.1:%u", *ret_port);
	struct health_options o = { .size = sizeof(o), .listen = listen, .stale_ms = stale_ms, .complain = on_complaint };
	struct health *h = health_new(&loop, &o);
	struct ip_addr loopback;
	ip_parse("127.0.0.1", &loopback);
	health_addresses_set(h, &loopback, 1, true);
	return h;
}

static void test_own(void **state)
{
	(void)state;
	uint16_t port;
	struct health *h = fixture(&port, 0);
	expect(port, "/healthz", "503 {\"lastUpdated\":\"0001-01-01T00:00:00Z\",\"currentTime\":\"20");
	expect(port, "/livez", "503 ");
	health_pending(h);
	health_programmed(h);
	expect(port, "/healthz", "200 {\"lastUpdated\":\"20");
	expect(port, "/livez", "200 ");
	health_eligible_set(h, false);
	expect(port, "/healthz", "503 ");
	expect(port, "/livez", "200 ");
	health_eligible_set(h, true);
	health_pending(h); /* waits, but not for long yet */
	expect(port, "/healthz", "200 ");
	expect(port, "/other", "404 ");
	health_free(h);
}

static void test_stale(void **state)
{
	(void)state;
	uint16_t port, service = free_port();
	struct health *h = fixture(&port, 1);
	health_service_set(h, "d", "a", service, 3);
	expect(service, "/", "503 {\"service\":{\"namespace\":\"d\",\"name\":\"a\"},\"localEndpoints\":3,\"serviceProxyHealthy\":false}");
	health_programmed(h);
	expect(service, "/", "200 {\"service\":{\"namespace\":\"d\",\"name\":\"a\"},\"localEndpoints\":3,\"serviceProxyHealthy\":true}");
	health_pending(h);
	usleep(5000);
	health_pending(h);
	expect(port, "/healthz", "503 {\"lastUpdated\":\"20");
	expect(service, "/", "503 ");
	health_programmed(h);
	expect(service, "/healthz", "200 ");
	health_free(h);
}

static void test_services(void **state)
{
	(void)state;
	uint16_t port, one = free_port(), two = free_port();
	struct health *h = fixture(&port, 0);
	health_programmed(h);
	health_service_set(h, "d", "b", one, 1);
	expect(one, "/", "200 {\"service\":{\"namespace\":\"d\",\"name\":\"b\"}");
	health_service_set(h, "d", "a", one, 0);
	expect(one, "/", "503 {\"service\":{\"namespace\":\"d\",\"name\":\"a\"}");
	assert_non_null(strstr(complaints.data, "is wanted by Services d/a and d/b: the first has it"));
	health_service_set(h, "d", "a", two, 2);
	expect(one, "/", "200 {\"service\":{\"namespace\":\"d\",\"name\":\"b\"}");
	expect(two, "/", "200 {\"service\":{\"namespace\":\"d\",\"name\":\"a\"}");
	health_service_set(h, "d", "a", 0, 0);
	health_service_set(h, "d", "none", 0, 0);
	expect(two, "/", "0 ");
	struct ip_addr other;
	ip_parse("127.0.0.2", &other);
	health_addresses_set(h, &other, 1, true);
	expect(one, "/", "0 ");
	health_addresses_set(h, NULL, 0, false);
	expect(one, "/", "200 ");
	health_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_services),
	};
	uv_loop_init(&loop);
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	strbuf_done(&complaints);
	for (int i = 0; i < 10; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	return r;
}
