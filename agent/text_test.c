/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"

#define R "\xef\xbf\xbd"

static void test_utf8(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "", "" },
		{ "plain\n", "plain\n" },
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "a\xff" "b", "a" R "b" },
		{ "\xc3", R },
		{ "\xe2\x82", R R },
		{ "\xc0\xaf", R R },		 /* overlong */
		{ "\xed\xa0\x80", R R R },	 /* a surrogate */
		{ "\xf4\x90\x80\x80", R R R R }, /* beyond U+10FFFF */
		{ "\x80x", R "x" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *got = text_utf8(rows[i].in);

		assert_string_equal(got, rows[i].out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_utf8) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
