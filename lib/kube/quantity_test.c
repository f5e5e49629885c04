/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quantities as Kubernetes canonicalizes, compares and rounds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "base/macros.h"
#include "kube/quantity.h"

static struct quantity q(const char *s)
{
	struct quantity v;

	if (quantity_parse(s, &v) < 0)
		fail_msg("%s is refused", s);
	return v;
}

static void canonical(void **state _unused_)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "0.5", "500m" },      { "1024Mi", "1Gi" },   { "1e3", "1e3" },       { "100Ki", "100Ki" },
		{ "1500m", "1500m" },   { "1000m", "1" },      { "1000", "1k" },       { "0", "0" },
		{ "0.0Gi", "0" },       { "1.5Gi", "1536Mi" }, { "0.5Gi", "512Mi" },   { "0.5Ki", "512" },
		{ "1023Ki", "1023Ki" }, { "1Ki", "1Ki" },      { "0.1n", "1n" },       { "1.0000000001", "1000000001n" },
		{ "-1.5", "-1500m" },   { "-0.1n", "-1n" },    { "+1", "1" },          { ".5", "500m" },
		{ "5.", "5" },          { "1E", "1E" },        { "1E3", "1e3" },       { "12e6", "12e6" },
		{ "100e-3", "100e-3" }, { "1.5Ei", "1536Pi" }, { "3000000u", "3" },    { "00100", "100" },
		{ "1e-12", "1e-9" },    { "7Ei", "7Ei" },      { "99Ei", "9223372036854775807" },
		{ "0.3Ki", "307200m" }, { "123456789012345678901234567890", "9223372036854775807" },
		{ "1e999999999999", "9223372036854775807" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct quantity v = q(cases[i].in);
		char text[QUANTITY_TEXT_SIZE];

		quantity_format(&v, text);
		assert_string_equal(text, cases[i].out);
	}
}

static void refused(void **state _unused_)
{
	static const char *const bad[] = { "",   " 1", "1 ", "1Zi", "1mi", "e3", "1e", "1e+", "1.2.3", ".", "-", "1kk",
					   "Ki", "1i", "0x1", "1e3k", "--1", "1,5", "1ki" };
	struct quantity v = { .nano = 7 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(quantity_parse(bad[i], &v), -EINVAL);
	assert_int_equal(quantity_parse(NULL, &v), -EINVAL);
	assert_true(v.nano == 7);
}

static void rounding(void **state _unused_)
{
	struct quantity v = q("1500u"), w = q("-1500u"), big = q("7Ei");

	assert_int_equal(quantity_milli(&v), 2);
	assert_int_equal(quantity_value(&v), 1);
	assert_int_equal(quantity_milli(&w), -2);
	assert_true(quantity_milli(&big) == INT64_MAX);
	assert_true(quantity_value(&big) == 7ll << 60);
	v = q("0.1");
	assert_int_equal(quantity_milli(&v), 100);
}

static void arithmetic(void **state _unused_)
{
	struct quantity a = { 0 }, b = q("1Gi"), c = q("1073741824"), d = q("500m");
	char text[QUANTITY_TEXT_SIZE];

	assert_int_equal(quantity_cmp(&b, &c), 0);
	assert_true(quantity_cmp(&d, &b) < 0);
	quantity_add(&a, &b); /* zero takes the other's format */
	quantity_add(&a, &b);
	quantity_format(&a, text);
	assert_string_equal(text, "2Gi");
	quantity_sub(&a, &d);
	quantity_format(&a, text);
	assert_string_equal(text, "2147483647500m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canonical),
		cmocka_unit_test(refused),
		cmocka_unit_test(rounding),
		cmocka_unit_test(arithmetic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
