/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/token.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void shapes(void **state _unused_)
{
	static const char *const bad[] = { "", ".", "abcdef", "abcdef.", "abcdef.0123456789abcde", "abcdef.0123456789abcdef0",
					   "Abcdef.0123456789abcdef", "abcdef.0123456789abcdeF", "abcde.0123456789abcdef0",
					   "abcdef-0123456789abcdef", "abcdef.0123456789abc.ef", " bcdef.0123456789abcdef" };

	assert_true(token_shaped("abcdef.0123456789abcdef"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(token_shaped(bad[i]));
}

static void times(void **state _unused_)
{
	static const struct {
		const char *text;
		int64_t s; /* -1: refused */
	} rows[] = {
		{ "0", 0 },    { "24h", 86400 }, { "90m", 5400 }, { "1h30m", 5400 },      { "45s", 45 },      { "", -1 },
		{ "24", -1 },  { "h", -1 },      { "-1h", -1 },   { "1d", -1 },           { "1h ", -1 },      { "0h", -1 },
		{ "1.5h", -1 }, { "00", -1 },    { "87600h", 315360000 }, { "87601h", -1 }, { "9999999999s", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t s = -7;
		int r = token_ttl_parse(rows[i].text, &s);

		assert_int_equal(r, rows[i].s < 0 ? -EINVAL : 0);
		assert_int_equal(s, rows[i].s < 0 ? -7 : rows[i].s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(shapes), cmocka_unit_test(times) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
