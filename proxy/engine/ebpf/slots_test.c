/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slot tables: weights in proportion, bounded runs, Maglev's evenness and how little it moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/engine/ebpf/slots.h"

enum { MANY = 3000 };

static struct slot_backend *backends(uint32_t n, uint8_t weight)
{
	struct slot_backend *b = mem_new_n(struct slot_backend, n);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *a = (uint8_t *)b[i].addr;
		a[10] = a[11] = 0xff;
		a[12] = 10;
		a[13] = 244;
		a[14] = (uint8_t)(i >> 8);
		a[15] = (uint8_t)i;
		b[i].port_be = 0x901f;
		b[i].weight = weight;
	}
	return b;
}

static void counts(const uint32_t *table, uint32_t size, uint32_t *ret, uint32_t n)
{
	memset(ret, 0, n * sizeof(*ret));
	for (uint32_t i = 0; i < size; i++) {
		assert_in_range(table[i], 0, n - 1);
		ret[table[i]]++;
	}
}

static void test_shares(void **state)
{
	(void)state;
	static const struct {
		uint8_t weights[4];
		uint32_t count, shares[4];
	} rows[] = {
		{ { 1, 1, 1, 1 }, 4, { 1, 1, 1, 1 } },
		{ { 3, 1, 0, 1 }, 5, { 3, 1, 0, 1 } },
		{ { 100, 50, 50, 200 }, 8, { 2, 1, 1, 4 } },
		{ { 255, 0, 0, 0 }, 1, { 1, 0, 0, 0 } },
		{ { 0, 0, 0, 0 }, 0, { 0 } },
		/* 766 would be over the bound: 255 * 512 / 766 = 170.4, 1 * 512 / 766 gets its one all the same */
		{ { 255, 255, 255, 1 }, 512, { 171, 170, 170, 1 } },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct slot_backend *b = backends(4, 1);
		_cleanup_free_ uint32_t *table = NULL;
		uint32_t got[4];
		for (size_t k = 0; k < 4; k++)
			b[k].weight = rows[i].weights[k];
		assert_int_equal(slots_build(SLOTS_SHARES, b, 4, &table), rows[i].count);
		counts(table, rows[i].count, got, 4);
		assert_memory_equal(got, rows[i].shares, sizeof(got));
	}
}

/* Thousands of backends with weights that share no divisor stay within the bound, and nobody is forgotten. */
static void test_shares_bounded(void **state)
{
	(void)state;
	_cleanup_free_ struct slot_backend *b = backends(MANY, 1);
	_cleanup_free_ uint32_t *table = NULL, *got = mem_new_n(uint32_t, MANY);
	srand(7);
	for (uint32_t i = 0; i < MANY; i++)
		b[i].weight = (uint8_t)(1 + rand() % 255);
	uint32_t count = slots_build(SLOTS_SHARES, b, MANY, &table);
	assert_in_range(count, MANY, MANY * SLOTS_SHARES_PER_BACKEND + MANY);
	counts(table, count, got, MANY);
	for (uint32_t i = 0; i < MANY; i++)
		assert_true(got[i] > 0);
	_cleanup_free_ uint32_t *none = NULL;
	assert_int_equal(slots_build(SLOTS_SHARES, b, 0, &none), 0);
	assert_null(none);
}

static void test_maglev_even(void **state)
{
	(void)state;
	static const uint32_t sizes[] = { 1, 2, 3, 10, 25, 100, 1000 };
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t n = sizes[s];
		_cleanup_free_ struct slot_backend *b = backends(n, 7);
		_cleanup_free_ uint32_t *table = NULL, *got = mem_new_n(uint32_t, n);
		uint32_t size = slots_build(SLOTS_MAGLEV, b, n, &table), low = UINT32_MAX, high = 0;
		assert_true(size >= MIN(n * SLOTS_MAGLEV_PER_BACKEND, 16381u));
		counts(table, size, got, n);
		for (uint32_t i = 0; i < n; i++) {
			low = MIN(low, got[i]);
			high = MAX(high, got[i]);
		}
		assert_true(high - low <= 1); /* turns: nobody is more than one entry ahead */
	}
}

static void test_maglev_weights(void **state)
{
	(void)state;
	_cleanup_free_ struct slot_backend *b = backends(10, 1);
	_cleanup_free_ uint32_t *table = NULL;
	uint32_t got[10];
	b[0].weight = 3;
	b[1].weight = 0;
	uint32_t size = slots_build(SLOTS_MAGLEV, b, 10, &table);
	counts(table, size, got, 10);
	assert_int_equal(got[1], 0);
	for (int i = 2; i < 10; i++) {
		assert_in_range(got[i], size / 11 - 3, size / 11 + 3);
		assert_in_range(got[0], got[i] * 3 - 6, got[i] * 3 + 6);
	}
	/* However light, nobody with a weight is left out. */
	for (int i = 0; i < 10; i++)
		b[i].weight = i ? 1 : 255;
	free(TAKE(table));
	size = slots_build(SLOTS_MAGLEV, b, 10, &table);
	counts(table, size, got, 10);
	for (int i = 0; i < 10; i++)
		assert_true(got[i] > 0);
}

/* One of ten leaves: what it had must move, little else may. */
static void test_maglev_moves_little(void **state)
{
	(void)state;
	_cleanup_free_ struct slot_backend *b = backends(10, 1);
	_cleanup_free_ uint32_t *before = NULL;
	uint32_t size = slots_build(SLOTS_MAGLEV, b, 10, &before);
	for (uint32_t gone = 0; gone < 10; gone++) {
		_cleanup_free_ struct slot_backend *c = backends(10, 1);
		_cleanup_free_ uint32_t *after = NULL;
		uint32_t moved = 0;
		memmove(c + gone, c + gone + 1, (9 - gone) * sizeof(*c));
		assert_int_equal(slots_build(SLOTS_MAGLEV, c, 9, &after), size);
		for (uint32_t i = 0; i < size; i++)
			moved += before[i] != gone && (after[i] >= gone ? after[i] + 1 : after[i]) != before[i];
		assert_true(moved * 100 < size * 10); /* of the 90 % that need not move, less than a ninth does */
		/* The same backend with no weight is as good as gone. */
		_cleanup_free_ uint32_t *idle = NULL;
		b[gone].weight = 0;
		assert_int_equal(slots_build(SLOTS_MAGLEV, b, 10, &idle), size);
		b[gone].weight = 1;
		for (uint32_t i = 0; i < size; i++)
			assert_int_equal(idle[i], after[i] >= gone ? after[i] + 1 : after[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares),         cmocka_unit_test(test_shares_bounded),
		cmocka_unit_test(test_maglev_even),    cmocka_unit_test(test_maglev_weights),
		cmocka_unit_test(test_maglev_moves_little),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
