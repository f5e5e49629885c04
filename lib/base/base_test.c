/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The base library's edges: encodings, number and time parsing, maps under deletion, arenas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

static void numbers(void **state _unused_)
{
	uint64_t u = 7;
	int64_t i = 7;

	assert_int_equal(str_to_u64("18446744073709551615", UINT64_MAX, &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(str_to_u64("18446744073709551616", UINT64_MAX, &u), -ERANGE);
	assert_int_equal(str_to_u64("65536", 65535, &u), -ERANGE);
	assert_int_equal(str_to_u64("", 10, &u), -EINVAL);
	assert_int_equal(str_to_u64("1 ", 10, &u), -EINVAL);
	assert_true(u == UINT64_MAX);
	assert_int_equal(str_to_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(str_to_i64("9223372036854775808", INT64_MIN, INT64_MAX, &i), -ERANGE);
	assert_int_equal(str_to_i64("-", INT64_MIN, INT64_MAX, &i), -EINVAL);
}

static void encodings(void **state _unused_)
{
	static const char *const plain[] = { "", "f", "fo", "foo", "foob", "fooba", "foobar" };
	static const char *const coded[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		_cleanup_strbuf_ struct strbuf e = { 0 }, d = { 0 };

		base64_encode(&e, plain[i], strlen(plain[i]));
		assert_string_equal(e.data ? e.data : "", coded[i]);
		assert_int_equal(base64_decode(&d, coded[i], strlen(coded[i])), 0);
		assert_int_equal(d.len, strlen(plain[i]));
		assert_memory_equal(d.data ? d.data : "", plain[i], d.len);
	}
	static const char *const bad[] = { "Zg=", "Zg", "Z===", "Zm9v!", "=Zg=", "Zg==Zg==" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_strbuf_ struct strbuf d = { 0 };

		assert_int_equal(base64_decode(&d, bad[i], strlen(bad[i])), -EINVAL);
		assert_int_equal(d.len, 0);
	}
	_cleanup_strbuf_ struct strbuf u = { 0 }, j = { 0 };

	assert_int_equal(url_decode(&u, "a%20b+c", 7, true), 0);
	assert_string_equal(u.data, "a b c");
	assert_int_equal(url_decode(&u, "%0", 2, true), -EINVAL);
	assert_int_equal(url_decode(&u, "%00", 3, true), -EINVAL);
	assert_string_equal((strbuf_reset(&u), url_encode(&u, "a/b c"), u.data), "a%2Fb%20c");
	strbuf_add_json(&j, "a\"\\\n\x01z", 6);
	assert_string_equal(j.data, "\"a\\\"\\\\\\n\\u0001z\"");
}

static void times(void **state _unused_)
{
	int64_t us = 5;
	char out[CLOCK_RFC3339_MICRO_SIZE];

	assert_int_equal(clock_parse_rfc3339("2026-11-21T19:11:37.5+01:00", &us), 0);
	clock_format_rfc3339_micro(us, out);
	assert_string_equal(out, "2026-11-21T18:11:37.500000Z");
	assert_int_equal(clock_parse_rfc3339("1969-12-31T23:59:59Z", &us), 0);
	assert_int_equal(us, -1000000);
	static const char *const bad[] = { "2026-02-29T00:00:00Z", "2026-1-1T00:00:00Z", "2026-01-01T24:00:00Z",
					   "2026-01-01T00:00:00",  "2026-01-01T00:00:00.Z", "" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(clock_parse_rfc3339(bad[i], &us), -EINVAL);
}

static void maps(void **state _unused_)
{
	struct map *m = map_new(free);
	char key[32];

	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		map_set(m, key, str_printf("v%d", i));
	}
	for (int i = 0; i < 5000; i += 2) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_true(map_del(m, key));
		assert_false(map_del(m, key));
	}
	assert_int_equal(map_count(m), 2500);
	const char *k;
	void *v;
	size_t it = 0, n = 0;

	while (map_next(m, &it, &k, &v)) {
		assert_string_equal(k + 1, (char *)v + 1);
		snprintf(key, sizeof(key), "%s", k);
		assert_true(map_del(m, key));
		n++;
	}
	assert_int_equal(n, 2500);
	assert_int_equal(map_count(m), 0);
	/* Endless insert and delete must not fill the table with tombstones. */
	for (int i = 0; i < 100000; i++) {
		snprintf(key, sizeof(key), "t%d", i);
		map_set(m, key, NULL);
		map_del(m, key);
	}
	assert_false(map_has(m, "t1"));
	map_free(m);
}

static void arenas(void **state _unused_)
{
	_cleanup_(arena_freep) struct arena *a = arena_new();

	for (size_t i = 1; i < 20000; i += 997) {
		char *p = arena_alloc(a, i);

		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 0xff, i);
	}
	assert_string_equal(arena_printf(a, "%s-%d", "x", 3), "x-3");
	assert_string_equal(arena_strndup(a, "hello", 3), "hel");
}

static void errors(void **state _unused_)
{
	_cleanup_err_ struct err e = { 0 };

	assert_int_equal(err_set(&e, ENOENT, "open %s", "x"), -ENOENT);
	assert_int_equal(err_wrap(&e, "load"), -ENOENT);
	assert_string_equal(err_msg(&e), "load: open x");
	assert_int_equal(err_set_api(&e, 404, "NotFound", "pods \"x\" not found"), -ENOENT);
	assert_int_equal(e.http_status, 404);
	assert_int_equal(err_set(NULL, EIO, "dropped"), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers), cmocka_unit_test(encodings), cmocka_unit_test(times),
		cmocka_unit_test(maps),    cmocka_unit_test(arenas),    cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
