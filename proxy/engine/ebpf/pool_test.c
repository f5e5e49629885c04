/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pools: nothing is given out twice, everything comes back, adoption leaves the gaps usable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "proxy/engine/ebpf/pool.h"

static void test_ids(void **state)
{
	(void)state;
	struct idpool p;
	bool used[100] = { 0 };
	idpool_init(&p, 1, 100);
	for (int i = 1; i < 100; i++) {
		uint32_t id = idpool_get(&p);
		assert_in_range(id, 1, 99);
		assert_false(used[id]);
		used[id] = true;
	}
	assert_int_equal(idpool_get(&p), POOL_NONE);
	idpool_put(&p, 7);
	idpool_put(&p, 3);
	assert_int_equal(idpool_get(&p), 7); /* who rested longest */
	assert_int_equal(idpool_get(&p), 3);
	assert_int_equal(idpool_get(&p), POOL_NONE);
	idpool_done(&p);
	idpool_init(&p, 1, 100);
	uint32_t id = idpool_get(&p);
	idpool_put(&p, id);
	assert_int_not_equal(idpool_get(&p), id); /* a freed place rests while there are fresh ones */
	idpool_done(&p);
}

enum { PLACES = 1024 };
struct held {
	uint32_t start, count;
};

static void mark(bool *used, struct held h, bool to)
{
	for (uint32_t i = 0; i < runpool_size(h.count); i++) {
		assert_in_range(h.start + i, 0, PLACES - 1);
		assert_true(used[h.start + i] != to);
		used[h.start + i] = to;
	}
}

static void test_runs_at_random(void **state)
{
	(void)state;
	static bool used[PLACES];
	struct held held[256];
	size_t n = 0, refused = 0;
	struct runpool p;
	srand(1);
	memset(used, 0, sizeof(used));
	runpool_init(&p, PLACES);
	for (int step = 0; step < 20000; step++) {
		if (n && (rand() % 2 || n == ARRAY_SIZE(held))) {
			size_t i = (size_t)rand() % n;
			mark(used, held[i], false);
			runpool_put(&p, held[i].start, held[i].count);
			held[i] = held[--n];
			continue;
		}
		struct held h = { .count = 1 + (uint32_t)rand() % 20 };
		h.start = runpool_get(&p, h.count);
		if (h.start == POOL_NONE) {
			refused++;
			continue;
		}
		mark(used, h, true);
		held[n++] = h;
	}
	assert_true(refused < 10000);
	runpool_done(&p);
}

static void test_adoption(void **state)
{
	(void)state;
	static bool used[64];
	struct runpool p;
	runpool_init(&p, 64);
	assert_true(runpool_take(&p, 5, 3)); /* occupies 5..8 */
	assert_false(runpool_take(&p, 8, 1));
	assert_true(runpool_take(&p, 20, 2));
	assert_false(runpool_take(&p, 63, 2));
	memset(used, 0, sizeof(used));
	for (uint32_t i = 5; i < 9; i++)
		used[i] = true;
	used[20] = used[21] = true;
	size_t got = 0;
	for (uint32_t at; (at = runpool_get(&p, 1)) != POOL_NONE; got++) {
		assert_in_range(at, 0, 63);
		assert_false(used[at]);
		used[at] = true;
	}
	assert_int_equal(got, 64 - 6);
	runpool_done(&p);
}

/* Everything in small runs, freed: one large run fits again. */
static void test_neighbours_join(void **state)
{
	(void)state;
	struct runpool p;
	uint32_t starts[PLACES / 4];
	runpool_init(&p, PLACES);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
			assert_int_not_equal(starts[i] = runpool_get(&p, 3), POOL_NONE);
		assert_int_equal(runpool_get(&p, 512), POOL_NONE);
		for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
			runpool_put(&p, starts[(i * 77) % ARRAY_SIZE(starts)], 3);
		uint32_t a = runpool_get(&p, 512), b = runpool_get(&p, 300);
		assert_int_not_equal(a, POOL_NONE);
		assert_int_not_equal(b, POOL_NONE);
		assert_int_equal(runpool_get(&p, 1), POOL_NONE);
		runpool_put(&p, a, 512);
		runpool_put(&p, b, 300);
	}
	runpool_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_runs_at_random),
		cmocka_unit_test(test_adoption),
		cmocka_unit_test(test_neighbours_join),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
