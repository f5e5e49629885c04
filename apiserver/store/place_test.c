// SPDX-License-Identifier: GPL-2.0-or-later
/* The index against a plain set of keys: whatever comes and goes, every walk shows the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apiserver/store/place.h"

/* Keys are numbers of KEYS in a namespace of NAMESPACES, in the order of their texts. */
enum { KEYS = 3000, NAMESPACES = 3, STEPS = 30000 };

struct model {
	struct place place;
	struct store_object *there[KEYS]; /* borrowed from place */
	unsigned seed;
};

static size_t pick(struct model *m, size_t n)
{
	m->seed = m->seed * 1103515245 + 12345;
	return (m->seed >> 8) % n;
}

static const char *key_of(size_t i, char buf[static 32])
{
	snprintf(buf, 32, "ns%zu/%04zu", i / (KEYS / NAMESPACES), i);
	return buf;
}

static struct store_object *object(size_t i, uint64_t revision)
{
	char key[32];
	struct store_object *o = store_object_new(0, key_of(i, key), revision, bytes_new("{}", 2), 0, 0, 0, NULL, NULL);
	o->signature = 1ULL << i % 64;
	return o;
}

static void step(struct model *m, size_t i, bool put)
{
	char key[32];
	struct store_object *old = m->there[i], *got;
	assert_ptr_equal(place_get(&m->place, key_of(i, key)), old);
	m->there[i] = put ? object(i, 1) : NULL;
	got = put ? place_put(&m->place, m->there[i]) : place_take(&m->place, key);
	assert_ptr_equal(got, old);
	store_object_unref(got);
}

/* The walk behind `after` (KEYS: from its beginning), which begins and ends as the prefix of a namespace (NAMESPACES: of all) says. */
static void check_walk(struct model *m, size_t ns, size_t after, const struct signature_want *want)
{
	size_t part = KEYS / NAMESPACES, from = ns == NAMESPACES ? 0 : ns * part, end = ns == NAMESPACES ? KEYS : from + part, left = 0;
	char prefix[32] = "", key[32];
	if (ns != NAMESPACES)
		snprintf(prefix, sizeof(prefix), "ns%zu/", ns);
	struct store_iter it = place_iterate(&m->place, prefix);
	if (after != KEYS)
		store_iter_after(&it, key_of(after, key));
	if (after != KEYS && after >= from)
		from = after + 1;
	for (size_t i = from; i < end; i++)
		left += m->there[i] != NULL;
	assert_int_equal(store_iter_left(&it), left);
	for (size_t i = from; i < end; i++) {
		if (!m->there[i] || (want && !signature_has(m->there[i]->signature, want)))
			continue;
		assert_ptr_equal(want ? store_next_wanted(&it, want) : store_next(&it), m->there[i]);
	}
	for (int again = 0; again < 2; again++)
		assert_null(want ? store_next_wanted(&it, want) : store_next(&it));
	assert_int_equal(store_iter_left(&it), 0);
}

static void check(struct model *m)
{
	const struct signature_want want = { .any = { 1ULL << pick(m, 64), 1ULL << pick(m, 64) }, .any_count = 2 };
	size_t entries = 0;
	for (size_t i = 0; i < m->place.chunk_count; i++) {
		assert_in_range(m->place.chunks[i]->count, 1, PLACE_CHUNK_ENTRIES);
		entries += m->place.chunks[i]->count;
	}
	assert_int_equal(entries, m->place.count);
	check_walk(m, NAMESPACES, KEYS, NULL);
	check_walk(m, NAMESPACES, pick(m, KEYS), NULL);
	check_walk(m, pick(m, NAMESPACES), KEYS, NULL);
	check_walk(m, pick(m, NAMESPACES), pick(m, KEYS), &want);
}

static void test_random(void **state)
{
	(void)state;
	struct model m = { .seed = getenv("SEED") ? (unsigned)strtoul(getenv("SEED"), NULL, 10) : 1 };
	check(&m);
	/* By turns more come than go, and more go than come. */
	for (size_t i = 0; i < STEPS; i++) {
		bool growing = i / (STEPS / 6) % 2 == 0;
		step(&m, pick(&m, KEYS), pick(&m, 10) < (growing ? 9 : 1));
		if (i % 100 == 0)
			check(&m);
	}
	/* A namespace goes in order, then everything. */
	for (size_t i = KEYS / NAMESPACES; i < 2 * KEYS / NAMESPACES; i++)
		step(&m, i, false);
	check(&m);
	place_clear(&m.place);
	memset(m.there, 0, sizeof(m.there));
	check(&m);
}

static void test_in_order(void **state)
{
	(void)state;
	struct model m = { .seed = 1 };
	for (size_t i = 0; i < KEYS; i++)
		step(&m, i, true);
	check(&m);
	/* What is loaded in order fills its chunks. */
	assert_int_equal(m.place.chunk_count, (KEYS + PLACE_CHUNK_ENTRIES - 1) / PLACE_CHUNK_ENTRIES);
	for (size_t i = KEYS; i--;)
		step(&m, i, false);
	check(&m);
	assert_int_equal(m.place.chunk_count, 0);
	place_clear(&m.place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
