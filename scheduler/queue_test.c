/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue on a clock of its own: order, back-off, events, gates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/macros.h"
#include "scheduler/queue.h"

static void order(void **state _unused_)
{
	struct queue *q = queue_new();

	queue_add(q, "d/late", 0, false, 20);
	queue_add(q, "d/early", 0, false, 10);
	queue_add(q, "d/vip", 100, false, 30);
	queue_add(q, "d/gone", 200, false, 30);
	queue_remove(q, "d/gone");
	assert_string_equal(queue_pop(q), "d/vip");
	assert_string_equal(queue_pop(q), "d/early");
	assert_string_equal(queue_pop(q), "d/late");
	assert_null(queue_pop(q));
	assert_int_equal(queue_count(q, QUEUE_IN_FLIGHT), 3);
	queue_free(q);
}

static void backoff(void **state _unused_)
{
	static const int64_t waits[] = { 1000, 2000, 4000, 8000, 10000, 10000 };
	struct queue *q = queue_new();
	int64_t now = 0;

	queue_add(q, "d/p", 0, false, now);
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		assert_non_null(queue_pop(q));
		queue_unschedulable(q, "d/p", 1, now);
		assert_int_equal(queue_count(q, QUEUE_UNSCHEDULABLE), 1);
		queue_event(q, 2, now); /* not what it waits for */
		assert_int_equal(queue_count(q, QUEUE_UNSCHEDULABLE), 1);
		queue_event(q, 1 | 2, now);
		assert_int_equal(queue_count(q, QUEUE_BACKOFF), 1);
		assert_int_equal(queue_tick(q, now), waits[i]);
		assert_null(queue_pop(q));
		now += waits[i];
		assert_int_equal(queue_tick(q, now), -1);
	}
	/* An event after the back-off makes it active at once. */
	assert_non_null(queue_pop(q));
	queue_unschedulable(q, "d/p", 1, now);
	now += 60000;
	queue_event(q, 1, now);
	assert_string_equal(queue_pop(q), "d/p");
	/* Without any event it is tried again after five minutes. */
	queue_unschedulable(q, "d/p", 1, now);
	assert_int_equal(queue_tick(q, now), 300000);
	queue_tick(q, now + 300000);
	assert_string_equal(queue_pop(q), "d/p");
	queue_free(q);
}

static void meanwhile(void **state _unused_)
{
	struct queue *q = queue_new();

	/* What happens while it is being placed is not missed. */
	queue_add(q, "d/p", 0, false, 0);
	queue_pop(q);
	queue_event(q, 1, 0);
	queue_unschedulable(q, "d/p", 1, 0);
	assert_int_equal(queue_count(q, QUEUE_BACKOFF), 1);
	queue_tick(q, 1000);
	queue_pop(q);
	queue_add(q, "d/p", 0, false, 1000); /* it was changed */
	queue_unschedulable(q, "d/p", 1, 1000);
	assert_int_equal(queue_count(q, QUEUE_BACKOFF), 1);
	queue_tick(q, 3000);
	/* Gone while in flight: giving it back does nothing. */
	queue_pop(q);
	queue_remove(q, "d/p");
	queue_retry(q, "d/p", 3000);
	assert_false(queue_has(q, "d/p"));
	assert_int_equal(queue_count(q, QUEUE_IN_FLIGHT), 0);
	queue_free(q);
}

static void gates(void **state _unused_)
{
	struct queue *q = queue_new();

	queue_add(q, "d/p", 0, true, 0);
	assert_null(queue_pop(q));
	queue_event(q, ~0u, 0);
	assert_int_equal(queue_count(q, QUEUE_GATED), 1);
	queue_add(q, "d/p", 0, false, 5);
	assert_string_equal(queue_pop(q), "d/p");
	queue_retry(q, "d/p", 5);
	assert_int_equal(queue_tick(q, 5), 1000);
	queue_add(q, "d/p", 0, true, 5);
	assert_int_equal(queue_tick(q, 2000), -1);
	assert_null(queue_pop(q));
	queue_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order),
		cmocka_unit_test(backoff),
		cmocka_unit_test(meanwhile),
		cmocka_unit_test(gates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
