/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Label and field selectors: what they accept, what they say, what they match; and the object accessors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "base/mem.h"
#include "kube/object.h"
#include "kube/selector.h"

static json_t *parse(const char *s)
{
	json_t *v = json_parse(s, strlen(s), NULL, NULL);

	assert_non_null(v);
	return v;
}

static void canonical(void **state _unused_)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "x=a,y=b", "x=a,y=b" },
		{ " y == b ,x!=a ", "x!=a,y=b" },
		{ "e in (g, f,f)", "e in (f,g)" },
		{ "h notin(i)", "h notin (i)" },
		{ "j,!k", "j,!k" },
		{ "l>1,l<5", "l>1,l<5" },
		{ "a=,b", "a=,b" },
		{ "a in (,b)", "a in (,b)" },
		{ "a in (b,)", "a in (,b)" },
		{ "a in (,)", "a in (,)" },
		{ "in in (in,notin)", "in in (in,notin)" },
		{ "example.com/a=b", "example.com/a=b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf b = { 0 };
		struct err e = { 0 };
		_cleanup_(selector_freep) struct selector *s = selector_parse(cases[i].in, &e);

		if (!s)
			fail_msg("%s: %s", cases[i].in, err_msg(&e));
		selector_write(s, &b);
		assert_string_equal(b.data ? b.data : "", cases[i].out);
	}
}

static void refusals(void **state _unused_)
{
	static const struct {
		const char *in, *message;
	} cases[] = {
		{ "a in", "unable to parse requirement: found '' expected: '('" },
		{ "a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier" },
		{ "a in (b", "unable to parse requirement: found '', expected: ',' or ')'" },
		{ "a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'" },
		{ "a in ()", "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values "
			     "set can't be empty" },
		{ "a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt" },
		{ "a=b c", "found 'c', expected: ',' or 'end of string'" },
		{ "a,", "found '', expected: identifier after ','" },
		{ ",a", "found ',', expected: !, identifier, or 'end of string'" },
		{ "!", "unable to parse requirement: found '', expected: identifier" },
		{ "a=!", "unable to parse requirement: found '!', expected: identifier" },
		{ "a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value "
			 "must be an integer" },
		{ "a/=b", "unable to parse requirement: <nil>: Invalid value: \"a/\": name part must be non-empty; name part "
			  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
			  "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
			  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_err_ struct err e = { 0 };

		assert_null(selector_parse(cases[i].in, &e));
		assert_string_equal(err_msg(&e), cases[i].message);
		assert_int_equal(e.http_status, 400);
	}
}

static void matching(void **state _unused_)
{
	_cleanup_json_ json_t *labels = parse("{\"app\":\"web\",\"n\":\"7\",\"empty\":\"\"}");
	static const struct {
		const char *selector;
		bool matches, matches_none; /* with these labels, with none */
	} cases[] = {
		{ "", true, true },
		{ "app=web", true, false },
		{ "app!=web", false, true },
		{ "app in (web,db),n", true, false },
		{ "app notin (web)", false, true },
		{ "other notin (web)", true, true },
		{ "!other", true, true },
		{ "!app", false, true },
		{ "empty=", true, false },
		{ "n>6,n<8", true, false },
		{ "n>7", false, false },
		{ "app>1", false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(selector_freep) struct selector *s = selector_parse(cases[i].selector, NULL);

		assert_non_null(s);
		assert_int_equal(selector_matches(s, labels), cases[i].matches);
		assert_int_equal(selector_matches(s, NULL), cases[i].matches_none);
		assert_int_equal(selector_matches_everything(s), !*cases[i].selector);
	}
}

static void label_selectors(void **state _unused_)
{
	_cleanup_json_ json_t *labels = parse("{\"app\":\"web\",\"tier\":\"x\"}");
	_cleanup_json_ json_t *ls = parse("{\"matchLabels\":{\"app\":\"web\"},\"matchExpressions\":[{\"key\":\"tier\","
					  "\"operator\":\"In\",\"values\":[\"x\",\"y\"]},{\"key\":\"z\",\"operator\":\"DoesNotExist\"}]}");
	_cleanup_json_ json_t *empty = parse("{}"), *bad = parse("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Foo\"}]}");
	_cleanup_(selector_freep) struct selector *s = selector_from_label_selector(ls, NULL);
	_cleanup_(selector_freep) struct selector *all = selector_from_label_selector(empty, NULL);
	_cleanup_(selector_freep) struct selector *none = selector_from_label_selector(NULL, NULL);
	_cleanup_(selector_freep) struct selector *map = selector_from_map(labels);
	_cleanup_(selector_freep) struct selector *no_map = selector_from_map(empty);
	_cleanup_err_ struct err e = { 0 };

	assert_true(selector_matches(s, labels));
	assert_false(selector_matches(s, empty));
	assert_true(selector_matches(all, NULL));
	assert_false(selector_matches(none, labels));
	assert_false(selector_matches_everything(none));
	assert_true(selector_matches(map, labels));
	assert_false(selector_matches(no_map, labels));
	assert_null(selector_from_label_selector(bad, &e));
	assert_string_equal(err_msg(&e), "\"Foo\" is not a valid label selector operator");
}

static void field_selectors(void **state _unused_)
{
	struct field_selector f = { 0 };
	_cleanup_err_ struct err e = { 0 };

	assert_int_equal(field_selector_parse("metadata.name=a\\,b\\=c,status.phase!=Running,,x==", &f, &e), 0);
	assert_int_equal(f.count, 3);
	assert_string_equal(f.items[0].path, "metadata.name");
	assert_string_equal(f.items[0].value, "a,b=c");
	assert_false(f.items[0].negate);
	assert_string_equal(f.items[1].value, "Running");
	assert_true(f.items[1].negate);
	assert_string_equal(f.items[2].value, "");
	field_selector_done(&f);
	assert_int_equal(field_selector_parse("", &f, &e), 0);
	assert_int_equal(f.count, 0);
	assert_int_equal(field_selector_parse("a=b,foo", &f, &e), -EINVAL);
	assert_string_equal(err_msg(&e), "invalid selector: 'a=b,foo'; can't understand 'foo'");
	assert_int_equal(field_selector_parse("a=\\x", &f, &e), -EINVAL);
	assert_string_equal(err_msg(&e), "invalid field selector: invalid escape sequence: \\x");
	assert_int_equal(field_selector_parse("a=b=c", &f, &e), -EINVAL);
}

static void conditions(void **state _unused_)
{
	_cleanup_json_ json_t *pod = parse("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"u\",\"ownerReferences\":["
					   "{\"name\":\"a\"},{\"name\":\"b\",\"controller\":true}]},\"status\":{\"conditions\":[]}}");
	json_t *list = json_at(pod, "status.conditions");
	_cleanup_free_ char *key = object_key(pod);
	_cleanup_json_ json_t *ref = object_controller_ref(pod, "v1", "Pod");

	assert_string_equal(key, "d/p");
	assert_string_equal(json_str(object_controller_of(pod), "name"), "b");
	assert_string_equal(json_str(ref, "uid"), "u");
	assert_true(json_bool(ref, "controller", false));
	assert_true(object_set_condition(list, "Ready", "False", "R", NULL, "T1"));
	assert_false(object_set_condition(list, "Ready", "False", "R", "", "T2"));
	assert_true(object_set_condition(list, "Ready", "False", "Other", "m", "T2"));
	assert_string_equal(json_str(list, "[0].lastTransitionTime"), "T1");
	assert_true(object_set_condition(list, "Ready", "True", NULL, NULL, "T3"));
	assert_string_equal(json_str(list, "[0].lastTransitionTime"), "T3");
	assert_null(json_str(list, "[0].reason"));
	assert_int_equal(json_array_size(list), 1);
	assert_true(pod_ready(pod));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canonical),       cmocka_unit_test(refusals),        cmocka_unit_test(matching),
		cmocka_unit_test(label_selectors), cmocka_unit_test(field_selectors), cmocka_unit_test(conditions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
