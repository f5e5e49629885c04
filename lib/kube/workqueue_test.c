/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The work queue's promises: one run of a key at a time, once more when added meanwhile, back-off, earliest delay wins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/str.h"
#include "kube/workqueue.h"

static uv_loop_t loop;
static struct strlist ran;
static bool finish_at_once, fail_all;
static size_t add_again;

static void work(struct workqueue *q, const char *key, void *user _unused_)
{
	strlist_add(&ran, key);
	for (; add_again; add_again--)
		workqueue_add(q, key);
	if (finish_at_once)
		workqueue_done(q, key, fail_all);
}

static struct workqueue *start(unsigned parallel, bool at_once)
{
	finish_at_once = at_once;
	fail_all = false;
	add_again = 0;
	strlist_done(&ran);
	return workqueue_new(&loop, parallel, work, NULL);
}

static void end(struct workqueue *q)
{
	workqueue_free(q);
	uv_run(&loop, UV_RUN_DEFAULT);
	strlist_done(&ran);
}

static void turn(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void runs_once(void **state _unused_)
{
	struct workqueue *q = start(1, true);

	workqueue_add(q, "a");
	workqueue_add(q, "a");
	workqueue_add(q, "b");
	assert_int_equal(ran.count, 0); /* never from inside */
	assert_int_equal(workqueue_depth(q), 2);
	turn();
	assert_int_equal(ran.count, 2);
	assert_string_equal(ran.items[0], "a");
	assert_string_equal(ran.items[1], "b");
	/* Added twice while it runs: once more. */
	add_again = 2;
	workqueue_add(q, "a");
	turn();
	turn();
	assert_int_equal(ran.count, 4);
	end(q);
}

static void limits_parallel_runs(void **state _unused_)
{
	struct workqueue *q = start(2, false);

	workqueue_add(q, "a");
	workqueue_add(q, "b");
	workqueue_add(q, "c");
	turn();
	assert_int_equal(ran.count, 2);
	workqueue_add(q, "a"); /* runs: must not run beside itself */
	turn();
	assert_int_equal(ran.count, 2);
	workqueue_done(q, "b", false);
	turn();
	assert_string_equal(ran.items[2], "c");
	workqueue_done(q, "a", false);
	turn();
	assert_int_equal(ran.count, 4);
	assert_string_equal(ran.items[3], "a");
	end(q);
}

static void backs_off(void **state _unused_)
{
	struct workqueue *q = start(1, true);

	fail_all = true;
	uv_update_time(&loop);
	uint64_t since = uv_now(&loop);

	workqueue_add(q, "a");
	while (ran.count < 5)
		uv_run(&loop, UV_RUN_ONCE);
	/* 5 + 10 + 20 + 40 ms at least. */
	assert_true(uv_now(&loop) - since >= 75);
	/* A success forgets; something from outside does not wait for the back-off. */
	fail_all = false;
	workqueue_add(q, "a");
	turn();
	assert_int_equal(ran.count, 6);
	end(q);
}

static void delays(void **state _unused_)
{
	struct workqueue *q = start(1, true);

	uv_update_time(&loop);
	uint64_t since = uv_now(&loop);

	workqueue_add_after(q, "a", 100000);
	workqueue_add_after(q, "a", 20);
	workqueue_add_after(q, "a", 50000);
	workqueue_add_after(q, "b", 10);
	while (ran.count < 2)
		uv_run(&loop, UV_RUN_ONCE);
	assert_string_equal(ran.items[0], "b");
	assert_string_equal(ran.items[1], "a");
	assert_true(uv_now(&loop) - since >= 20 && uv_now(&loop) - since < 50000);
	/* Added at once meanwhile: the delay is void. */
	workqueue_add_after(q, "c", 100000);
	workqueue_add(q, "c");
	turn();
	assert_int_equal(ran.count, 3);
	end(q);
}

static int setup(void **state _unused_)
{
	return uv_loop_init(&loop);
}

static int teardown(void **state _unused_)
{
	return uv_loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_once),
		cmocka_unit_test(limits_parallel_runs),
		cmocka_unit_test(backs_off),
		cmocka_unit_test(delays),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
