/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leader election against a server that keeps one Lease. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/http_server.h"
#include "kube/leader.h"

static uv_loop_t loop;
static struct http_server *server;
static struct kube_client *client;
static json_t *lease;      /* what the server keeps; NULL: none */
static int version, requests;
static bool broken;        /* answers 500 */
static int started, stopped, released;

static void put(const char *body, size_t len)
{
	json_decref(lease);
	lease = json_parse(body, len, NULL, NULL);
	json_set(lease, "metadata.resourceVersion", json_sprintf("%d", ++version));
}

static void handle(struct http_request *req, void *user _unused_)
{
	const char *method = http_method(req);
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t len;
	const char *body = http_body(req, &len);
	int status = 200;

	requests++;
	if (broken) {
		status = 500;
	} else if (str_eq(method, "GET")) {
		status = lease ? 200 : 404;
	} else if (str_eq(method, "POST")) {
		status = lease ? 409 : 201;
		if (!lease)
			put(body, len);
	} else {
		_cleanup_json_ json_t *sent = json_parse(body, len, NULL, NULL);

		if (str_eq(json_str(sent, "metadata.resourceVersion"), json_str(lease, "metadata.resourceVersion")))
			put(body, len);
		else
			status = 409;
	}
	if (status < 300)
		json_write(&b, lease);
	else
		strbuf_adds(&b, "{\"kind\":\"Status\"}");
	http_respond(req, status, NULL, 0, b.data, b.len);
}

static void on_started(void *user _unused_)
{
	started++;
}

static void on_stopped(void *user _unused_)
{
	stopped++;
}

static void on_released(void *user _unused_)
{
	released++;
}

static struct leader *start(void)
{
	struct leader_options o = { .size = sizeof(o), .ns = "kube-system", .name = "x", .on_started = on_started,
				    .on_stopped = on_stopped, .retry_ms = 20, .renew_deadline_ms = 100 };

	started = stopped = released = requests = 0;
	broken = false;
	return leader_new(client, &o);
}

#define RUN_UNTIL(cond)                      \
	while (!(cond))                      \
		uv_run(&loop, UV_RUN_ONCE)

static void hold(const char *holder)
{
	_cleanup_free_ char *text = str_printf("{\"metadata\":{\"name\":\"x\"},\"spec\":{\"holderIdentity\":\"%s\","
					       "\"leaseDurationSeconds\":15,\"leaseTransitions\":3}}", holder);

	put(text, strlen(text));
}

static void acquires_and_renews(void **state _unused_)
{
	struct leader *l = start();

	json_decref(lease);
	lease = NULL;
	RUN_UNTIL(started);
	assert_true(leader_leads(l));
	assert_string_equal(json_str(lease, "spec.holderIdentity"), leader_identity(l));
	assert_int_equal(json_int(lease, "spec.leaseDurationSeconds", 0), 15);
	assert_int_equal(json_int(lease, "spec.leaseTransitions", -1), 0);
	assert_non_null(json_str(lease, "spec.acquireTime"));
	int before = version;

	RUN_UNTIL(version >= before + 3);
	assert_int_equal(started, 1);
	/* Given up, it is free for the next. */
	leader_release(l, on_released, NULL);
	RUN_UNTIL(released);
	assert_string_equal(json_str(lease, "spec.holderIdentity"), "");
	assert_int_equal(stopped, 0);
	leader_free(l);
	l = start();
	RUN_UNTIL(started);
	assert_int_equal(json_int(lease, "spec.leaseTransitions", -1), 1);
	leader_free(l);
}

static void respects_others(void **state _unused_)
{
	struct leader *l;

	hold("somebody-elsewhere");
	l = start();
	RUN_UNTIL(requests >= 4);
	assert_false(leader_leads(l));
	assert_string_equal(json_str(lease, "spec.holderIdentity"), "somebody-elsewhere");
	leader_release(l, on_released, NULL);
	RUN_UNTIL(released);
	assert_string_equal(json_str(lease, "spec.holderIdentity"), "somebody-elsewhere");
	leader_free(l);
}

static void succeeds_the_dead(void **state _unused_)
{
	struct leader *l = start();
	_cleanup_free_ char *own = mem_strdup(leader_identity(l)), *alive = NULL;

	leader_free(l);
	/* Our own pid with another start: that process is gone. */
	_cleanup_free_ char *dead = str_printf("%s9", own);

	hold(dead);
	l = start();
	RUN_UNTIL(started);
	assert_int_equal(requests, 2);
	assert_int_equal(json_int(lease, "spec.leaseTransitions", -1), 4);
	leader_free(l);
	/* The same of another machine says nothing. */
	alive = str_printf("other-%s", dead);
	hold(alive);
	l = start();
	RUN_UNTIL(requests >= 3);
	assert_false(leader_leads(l));
	leader_free(l);
}

static void loses(void **state _unused_)
{
	struct leader *l = start();

	json_decref(lease);
	lease = NULL;
	RUN_UNTIL(started);
	broken = true;
	RUN_UNTIL(stopped);
	assert_false(leader_leads(l));
	int before = requests;

	for (int i = 0; i < 5; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(requests, before);
	leader_free(l);
	/* A short trouble is none. */
	l = start();
	json_decref(lease);
	lease = NULL;
	RUN_UNTIL(started);
	broken = true;
	RUN_UNTIL(requests >= 4);
	broken = false;
	int renewed = version;

	RUN_UNTIL(version > renewed || stopped);
	assert_int_equal(stopped, 0);
	leader_free(l);
}

static int setup(void **state _unused_)
{
	int port;

	uv_loop_init(&loop);
	server = http_server_new(&loop, NULL, handle, NULL);
	assert_int_equal(http_server_listen(server, "127.0.0.1:0", NULL, &port, NULL), 0);
	_cleanup_free_ char *url = str_printf("http://127.0.0.1:%d", port);
	struct kubeconfig config = { .server = url };

	client = kube_client_new(&loop, &config, "test", NULL);
	return 0;
}

static int teardown(void **state _unused_)
{
	kube_client_free(client);
	http_server_shutdown(server, 0, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	json_decref(lease);
	return uv_loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acquires_and_renews),
		cmocka_unit_test(respects_others),
		cmocka_unit_test(succeeds_the_dead),
		cmocka_unit_test(loses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
