// SPDX-License-Identifier: GPL-2.0-or-later
/* Plans applied to a server of this test's own, on loopback: order, slow start, refusals. */
#include "controllers/deciders_test.h"

#include "controllers/plan.h"
#include "io/http_server.h"

struct world {
	uv_loop_t loop;
	struct http_server *server;
	struct kube_client *client;
	struct strlist asked;              /* "METHOD path", in order of arrival */
	const char *refuse;                /* part of a path that is answered 500 */
	unsigned refuse_from;              /* the nth such request and later ones */
	unsigned refused_seen;
	struct strlist wrote;              /* "path ok|failed|skipped" */
	bool done, failed;
	char *why;
};

static void on_request(struct http_request *req, void *user)
{
	struct world *w = user;
	const char *path = http_path(req);
	static const char ok[] = "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"made\",\"uid\":\"live\"}}";
	static const char no[] = "{\"kind\":\"Status\",\"reason\":\"InternalError\",\"message\":\"no\",\"code\":500}";
	static const char exists[] =
		"{\"kind\":\"Status\",\"reason\":\"AlreadyExists\",\"message\":\"there\",\"code\":409}";
	static const char gone[] = "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"gone\",\"code\":404}";
	const struct http_field type = { "Content-Type", "application/json" };

	strlist_addf(&w->asked, "%s %s", http_method(req), path);
	if (w->refuse && strstr(path, w->refuse) && ++w->refused_seen >= w->refuse_from)
		http_respond(req, 500, &type, 1, no, strlen(no));
	else if (strstr(path, "exists"))
		http_respond(req, 409, &type, 1, exists, strlen(exists));
	else if (strstr(path, "gone"))
		http_respond(req, 404, &type, 1, gone, strlen(gone));
	else
		http_respond(req, 200, &type, 1, ok, strlen(ok));
}

static void world_init(struct world *w)
{
	struct kubeconfig config = { 0 };
	int port;

	*w = (struct world){ 0 };
	uv_loop_init(&w->loop);
	w->server = http_server_new(&w->loop, NULL, on_request, w);
	assert_int_equal(http_server_listen(w->server, "127.0.0.1:0", NULL, &port, NULL), 0);
	config.server = str_printf("http://127.0.0.1:%d", port);
	w->client = kube_client_new(&w->loop, &config, "plan_test", NULL);
	assert_non_null(w->client);
	kubeconfig_done(&config);
}

static void world_done(struct world *w)
{
	kube_client_free(w->client);
	http_server_shutdown(w->server, 0, NULL, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	strlist_done(&w->asked);
	strlist_done(&w->wrote);
	free(w->why);
}

static void on_wrote(const struct write *x, const struct kube_result *r, bool ok, void *user)
{
	struct world *w = user;

	strlist_addf(&w->wrote, "%s %s", x->path, ok ? "ok" : r ? "failed" : "skipped");
}

static void on_done(bool failed, const char *why, void *user)
{
	struct world *w = user;

	assert_false(w->done);
	w->done = true;
	w->failed = failed;
	w->why = mem_strdup(why);
	uv_stop(&w->loop);
}

static void run(struct world *w, struct plan *plan)
{
	const struct plan_callbacks cb = { on_wrote, on_done, w };

	w->done = false;
	free(w->why);
	w->why = NULL;
	strlist_done(&w->asked);
	strlist_done(&w->wrote);
	w->refused_seen = 0;
	plan_apply(&w->loop, w->client, plan, &cb);
	assert_false(w->done); /* never from inside */
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_true(w->done);
}

static void add(struct plan *p, const char *path, unsigned flags)
{
	plan_create(p, mem_strdup(path), json_object())->flags |= flags;
}

static void an_empty_plan_ends(void **state _unused_)
{
	struct world w;
	struct plan plan = { 0 };

	world_init(&w);
	run(&w, &plan);
	assert_false(w.failed);
	assert_int_equal(w.asked.count, 0);
	world_done(&w);
}

static void stages_are_in_order(void **state _unused_)
{
	struct world w;
	struct plan plan = { 0 };

	world_init(&w);
	add(&plan, "/a", 0);
	plan_barrier(&plan);
	plan_barrier(&plan);
	add(&plan, "/b", 0);
	plan_barrier(&plan);
	add(&plan, "/c", 0);
	run(&w, &plan);
	assert_false(w.failed);
	assert_int_equal(w.asked.count, 3);
	assert_string_equal(w.asked.items[0], "POST /a");
	assert_string_equal(w.asked.items[1], "POST /b");
	assert_string_equal(w.asked.items[2], "POST /c");
	world_done(&w);
}

static void a_failure_stops_later_stages(void **state _unused_)
{
	struct world w;
	struct plan plan = { 0 };

	world_init(&w);
	w.refuse = "/bad";
	w.refuse_from = 1;
	add(&plan, "/bad", 0);
	add(&plan, "/good", 0);
	plan_barrier(&plan);
	add(&plan, "/later", 0);
	run(&w, &plan);
	assert_true(w.failed);
	assert_non_null(strstr(w.why, "POST /bad: no"));
	assert_int_equal(w.asked.count, 2);
	assert_int_equal(w.wrote.count, 3);
	assert_true(strlist_has(&w.wrote, "/bad failed"));
	assert_true(strlist_has(&w.wrote, "/good ok"));
	assert_true(strlist_has(&w.wrote, "/later skipped"));

	add(&plan, "/bad", WRITE_MAY_FAIL);
	plan_barrier(&plan);
	add(&plan, "/later", 0);
	run(&w, &plan);
	assert_false(w.failed);
	assert_int_equal(w.asked.count, 2);
	world_done(&w);
}

static void slow_start_doubles_and_gives_up(void **state _unused_)
{
	struct world w;
	struct plan plan = { 0 };

	world_init(&w);
	for (int i = 0; i < 20; i++)
		add(&plan, "/pods", WRITE_SLOW_START);
	run(&w, &plan);
	assert_false(w.failed);
	assert_int_equal(w.asked.count, 20);

	/* 1 + 2 + 4, of which the fifth is refused: the batch of 8 never leaves. */
	w.refuse = "/pods";
	w.refuse_from = 5;
	for (int i = 0; i < 20; i++)
		add(&plan, "/pods", WRITE_SLOW_START);
	run(&w, &plan);
	assert_true(w.failed);
	assert_int_equal(w.asked.count, 7);
	assert_int_equal(w.wrote.count, 20);

	/* The first one refused: one request, not twenty. */
	w.refuse_from = 1;
	for (int i = 0; i < 20; i++)
		add(&plan, "/pods", WRITE_SLOW_START);
	run(&w, &plan);
	assert_int_equal(w.asked.count, 1);
	world_done(&w);
}

static void what_is_as_good_as_success(void **state _unused_)
{
	struct world w;
	struct plan plan = { 0 };

	world_init(&w);
	add(&plan, "/exists", WRITE_IGNORE_EXISTS);
	plan_delete(&plan, mem_strdup("/gone"), "u", -1, NULL)->flags |= WRITE_IGNORE_NOT_FOUND;
	run(&w, &plan);
	assert_false(w.failed);
	add(&plan, "/exists", 0);
	run(&w, &plan);
	assert_true(w.failed);
	plan_delete(&plan, mem_strdup("/gone"), "u", -1, NULL);
	run(&w, &plan);
	assert_true(w.failed);
	world_done(&w);
}

static void a_guard_wants_the_same_living_object(void **state _unused_)
{
	struct world w;
	struct plan plan = { 0 };

	world_init(&w);
	plan_guard(&plan, mem_strdup("/owner"), "live");
	plan_barrier(&plan);
	add(&plan, "/adopt", 0);
	run(&w, &plan);
	assert_false(w.failed);
	assert_int_equal(w.asked.count, 2);
	plan_guard(&plan, mem_strdup("/owner"), "another");
	plan_barrier(&plan);
	add(&plan, "/adopt", 0);
	run(&w, &plan);
	assert_true(w.failed);
	assert_int_equal(w.asked.count, 1);
	world_done(&w);
}

static void cancelling_calls_nobody(void **state _unused_)
{
	struct world w;
	struct plan plan = { 0 };
	const struct plan_callbacks cb = { on_wrote, on_done, &w };
	struct plan_run *r;

	world_init(&w);
	add(&plan, "/a", 0);
	r = plan_apply(&w.loop, w.client, &plan, &cb);
	plan_cancel(r);
	add(&plan, "/b", 0);
	r = plan_apply(&w.loop, w.client, &plan, &cb);
	uv_run(&w.loop, UV_RUN_NOWAIT); /* on its way */
	plan_cancel(r);
	assert_false(w.done);
	assert_int_equal(w.wrote.count, 0);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_plan_ends),
		cmocka_unit_test(stages_are_in_order),
		cmocka_unit_test(a_failure_stops_later_stages),
		cmocka_unit_test(slow_start_doubles_and_gives_up),
		cmocka_unit_test(what_is_as_good_as_success),
		cmocka_unit_test(a_guard_wants_the_same_living_object),
		cmocka_unit_test(cancelling_calls_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
