/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON reading with Go's error texts, writing, paths; YAML as sigs.k8s.io/yaml reads and writes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "base/mem.h"
#include "kube/json.h"

static json_t *parse(const char *s)
{
	struct err e = { 0 };
	json_t *v = json_parse(s, strlen(s), NULL, &e);

	if (!v)
		fail_msg("%s: %s", s, err_msg(&e));
	return v;
}

static void expect_text(const char *in, const char *out)
{
	_cleanup_json_ json_t *v = parse(in);
	_cleanup_strbuf_ struct strbuf b = { 0 };

	json_write(&b, v);
	assert_string_equal(b.data, out);
}

static void json_round_trips(void **state _unused_)
{
	expect_text(" { \"b\" : [ 1 , -2, 0 ], \"a\" : {} } ", "{\"b\":[1,-2,0],\"a\":{}}");
	expect_text("9223372036854775807", "9223372036854775807");
	expect_text("-9223372036854775808", "-9223372036854775808");
	expect_text("1.0", "1");
	expect_text("1e3", "1000");
	expect_text("0.1", "0.1");
	expect_text("1e-7", "1e-07");
	expect_text("\"\\u00e9\\ud83d\\ude00\\/\\n\"", "\"\xc3\xa9\xf0\x9f\x98\x80/\\n\"");
	/* Broken UTF-8 and lone surrogates become U+FFFD, as Go does it. */
	expect_text("\"a\xff\xc3z\"", "\"a\xef\xbf\xbd\xef\xbf\xbdz\"");
	expect_text("\"\\ud800x\"", "\"\xef\xbf\xbdx\"");
	expect_text("{\"a\":1,\"a\":2}", "{\"a\":2}");
}

static void json_refusals(void **state _unused_)
{
	static const struct {
		const char *in, *message;
	} cases[] = {
		{ "", "unexpected end of JSON input, line 1, column 1" },
		{ "{\"a\":}", "invalid character '}' looking for beginning of value, line 1, column 6" },
		{ "{\"a\" 1}", "invalid character '1' after object key, line 1, column 6" },
		{ "{a:1}", "invalid character 'a' looking for beginning of object key string, line 1, column 2" },
		{ "{\"a\":1,}", "invalid character '}' looking for beginning of object key string, line 1, column 8" },
		{ "{\"a\":1 \"b\"", "invalid character '\"' after object key:value pair, line 1, column 8" },
		{ "[1\n2]", "invalid character '2' after array element, line 2, column 1" },
		{ "[1", "unexpected end of JSON input, line 1, column 3" },
		{ "trux", "invalid character 'x' in literal true (expecting 'e'), line 1, column 4" },
		{ "{} x", "invalid character 'x' after top-level value, line 1, column 4" },
		{ "\"\\q\"", "invalid character 'q' in string escape code, line 1, column 3" },
		{ "\"\n\"", "invalid character '\\n' in string literal, line 1, column 2" },
		{ "\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape, line 1, column 6" },
		{ "-x", "invalid character 'x' in numeric literal, line 1, column 2" },
		{ "01", "invalid character '1' after top-level value, line 1, column 2" },
		{ "1e999", "number out of the range of a double, line 1, column 6" },
		{ "\"\\u0000\"", "strings with the character U+0000 are not accepted, line 1, column 8" },
		{ "'", "invalid character '\\'' looking for beginning of value, line 1, column 1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_err_ struct err e = { 0 };

		assert_null(json_parse(cases[i].in, strlen(cases[i].in), NULL, &e));
		assert_string_equal(err_msg(&e), cases[i].message);
		assert_int_equal(e.http_status, 400);
		assert_string_equal(e.reason, "BadRequest");
	}
	/* Exactly 512 levels pass. */
	char deep[1026];

	memset(deep, '[', 513);
	memset(deep + 513, ']', 513);
	json_t *v = json_parse(deep + 1, 1024, NULL, NULL);

	assert_non_null(v);
	json_decref(v);
	assert_null(json_parse(deep, 1026, NULL, NULL));
}

static void json_duplicates(void **state _unused_)
{
	static const char text[] = "{\"a\":1,\"b\":{\"l\":[0,{\"c\":1,\"c\":2,\"c\":3}]},\"a\":3}";
	_cleanup_strlist_ struct strlist dups = { 0 };
	json_t *v = json_parse(text, strlen(text), &dups, NULL);

	assert_int_equal(dups.count, 2);
	assert_string_equal(dups.items[0], "b.l[1].c");
	assert_string_equal(dups.items[1], "a");
	assert_int_equal(json_int(v, "a", 0), 3);
	json_decref(v);
}

/* What a peer sent: as many values as an object can need, no more, and the words about it stay few. */
static void json_peer(void **state _unused_)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_strlist_ struct strlist dups = { 0 };
	json_t *v;

	strbuf_addc(&b, '[');
	for (int i = 0; i < JSON_PEER_VALUES - 1; i++)
		strbuf_adds(&b, i ? ",{}" : "{}");
	strbuf_addc(&b, ']');
	v = json_parse_peer(b.data, b.len, NULL, &err);
	assert_non_null(v);
	json_decref(v);
	b.data[b.len - 1] = ',';
	strbuf_adds(&b, "{}]");
	assert_null(json_parse_peer(b.data, b.len, NULL, &err));
	assert_int_equal(err.http_status, 400);
	assert_non_null(strstr(err_msg(&err), "too many values"));
	assert_null(json_or_yaml_parse(b.data, b.len, NULL, NULL));
	assert_null(yaml_parse_peer(b.data, b.len, NULL));
	v = json_parse(b.data, b.len, NULL, NULL);
	assert_non_null(v);
	json_decref(v);
	strbuf_reset(&b);
	strbuf_addc(&b, '{');
	for (int i = 0; i < 200; i++)
		strbuf_addf(&b, "%s\"%d\":1,\"%d\":1", i ? "," : "", i, i);
	strbuf_addc(&b, '}');
	v = json_parse_peer(b.data, b.len, &dups, NULL);
	assert_non_null(v);
	json_decref(v);
	assert_int_equal(dups.count, JSON_MAX_DUPLICATES);
}

static void json_paths(void **state _unused_)
{
	_cleanup_json_ json_t *v = parse("{\"spec\":{\"c\":[{\"n\":\"x\"},{\"n\":\"y\"}],\"r\":3.0,\"t\":true,\"z\":null}}");

	assert_string_equal(json_str(v, "spec.c[1].n"), "y");
	assert_null(json_str(v, "spec.c[2].n"));
	assert_null(json_str(v, "spec.c.n"));
	assert_null(json_str(v, "spec.r"));
	assert_null(json_at(v, "spec.c[x"));
	assert_ptr_equal(json_at(v, ""), v);
	assert_int_equal(json_int(v, "spec.r", 9), 3);
	assert_int_equal(json_int(v, "spec.t", 9), 9);
	assert_true(json_bool(v, "spec.t", false));
	assert_int_equal(json_set_str(v, "spec.z.new.deep", "1"), 0);
	assert_string_equal(json_str(v, "spec.z.new.deep"), "1");
	assert_int_equal(json_set_str(v, "spec.r.x", "1"), -EINVAL);
	json_unset(v, "spec.c[0]");
	assert_string_equal(json_str(v, "spec.c[0].n"), "y");
	assert_int_equal(json_set_str(v, "spec.z.new.deep", NULL), 0);
	assert_null(json_at(v, "spec.z.new.deep"));
}

static void json_equality(void **state _unused_)
{
	_cleanup_json_ json_t *a = parse("{\"a\":1,\"b\":[1,{\"x\":null}]}"), *b = parse("{\"b\":[1.0,{\"x\":null}],\"a\":1}");
	_cleanup_json_ json_t *c = parse("{\"a\":1,\"b\":[1,{}]}"), *d = parse("{\"a\":1,\"b\":[1,{\"y\":null}]}");

	assert_true(json_same(a, b));
	assert_false(json_same(a, c));
	assert_false(json_same(a, d));
	assert_false(json_same(a, NULL));
}

static void expect_yaml(const char *in, const char *json)
{
	struct err e = { 0 };
	_cleanup_json_ json_t *v = yaml_parse_all(in, strlen(in), &e);
	_cleanup_strbuf_ struct strbuf b = { 0 };

	if (!v)
		fail_msg("%s: %s", in, err_msg(&e));
	json_write(&b, v);
	assert_string_equal(b.data, json);
}

static void yaml_scalars(void **state _unused_)
{
	expect_yaml("[yes, No, on, OFF, true, y, n]", "[[true,false,true,false,true,\"y\",\"n\"]]");
	expect_yaml("[~, null, Null, '', \"null\"]", "[[null,null,null,\"\",\"null\"]]");
	expect_yaml("a:\n", "[{\"a\":null}]");
	expect_yaml("[1, -1, +2, 0x1F, 0o17, 017, 0b11, 1_000]", "[[1,-1,2,31,15,15,3,1000]]");
	expect_yaml("[1.5, .5, 1e3, 1.2.3, 12a, 0xZZ, -]", "[[1.5,0.5,1000,\"1.2.3\",\"12a\",\"0xZZ\",\"-\"]]");
	expect_yaml("[2026-11-21, 2026-11-21T10:00:00Z, 1:30]", "[[\"2026-11-21\",\"2026-11-21T10:00:00Z\",\"1:30\"]]");
	expect_yaml("[!!str 12, '12', !!int 3, !!binary aGk=]", "[[\"12\",\"12\",3,\"hi\"]]");
	expect_yaml("{1: a, true: b, 1.5: c}", "[{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\"}]");
	expect_yaml("a: |\n  x\n  y\nb: >-\n  p\n  q\n", "[{\"a\":\"x\\ny\\n\",\"b\":\"p q\"}]");
}

static void yaml_structure(void **state _unused_)
{
	expect_yaml("", "[]");
	expect_yaml("---\n---\na: 1\n---\n# nothing\n---\n- 2\n", "[{\"a\":1},[2]]");
	expect_yaml("base: &b {x: 1, y: 2}\nd:\n  <<: *b\n  y: 3\n", "[{\"base\":{\"x\":1,\"y\":2},\"d\":{\"y\":3,\"x\":1}}]");
	expect_yaml("- &a {x: 1}\n- &b {x: 2, z: 3}\n- <<: [*a, *b]\n", "[[{\"x\":1},{\"x\":2,\"z\":3},{\"x\":1,\"z\":3}]]");
	expect_yaml("- &a [1]\n- *a\n", "[[[1],[1]]]");
	expect_yaml("a: 1\na: 2\n", "[{\"a\":2}]");
	_cleanup_json_ json_t *first = yaml_parse("a: 1\n---\n{", 10, NULL);

	assert_int_equal(json_int(first, "a", 0), 1);
}

static void yaml_aliases_are_copies(void **state _unused_)
{
	static const char text[] = "a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n";
	_cleanup_json_ json_t *v = yaml_parse(text, strlen(text), NULL);

	json_set(v, "b.k", json_integer(2));
	assert_int_equal(json_int(v, "a.k", 0), 1);
	assert_int_equal(json_int(v, "c.k", 0), 1);
}

static void yaml_refusals(void **state _unused_)
{
	static const struct {
		const char *in, *message;
	} cases[] = {
		{ "a: b: c", "yaml: line 1: mapping values are not allowed in this context" },
		{ "a: 1\n\tb: 2", "yaml: line 2: found a tab character that violates indentation" },
		{ "a: *nope", "yaml: line 1: unknown anchor 'nope' referenced" },
		{ "<<: 3", "yaml: line 1: map merge requires map or sequence of maps as the value" },
		{ "[1, 2]: x", "yaml: line 1: unsupported map key: neither a string, a number nor a boolean" },
		{ "a: .inf", "yaml: line 1: json: unsupported value: not a finite number" },
		{ "a: !!int x", "yaml: line 1: cannot decode a scalar as its explicit tag says" },
		{ "a: &x [*x]", "yaml: line 1: unknown anchor 'x' referenced" },
		{ "a: \"\\0\"", "yaml: line 1: strings with the character U+0000 are not accepted" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_err_ struct err e = { 0 };

		assert_null(yaml_parse(cases[i].in, strlen(cases[i].in), &e));
		assert_string_equal(err_msg(&e), cases[i].message);
	}
}

static void yaml_bombs(void **state _unused_)
{
	_cleanup_strbuf_ struct strbuf wide = { 0 }, deep = { 0 };
	_cleanup_err_ struct err e = { 0 };

	strbuf_adds(&wide, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 9; i++) {
		strbuf_addf(&wide, "a%d: &a%d [", i, i);
		for (int k = 0; k < 9; k++)
			strbuf_addf(&wide, "%s*a%d", k ? "," : "", i - 1);
		strbuf_adds(&wide, "]\n");
	}
	assert_null(yaml_parse(wide.data, wide.len, &e));
	assert_non_null(strstr(err_msg(&e), "excessive aliasing"));
	/* Each anchor nests the one before: the depth is counted through aliases. */
	strbuf_adds(&deep, "- &a0 [x]\n");
	for (int i = 1; i < 600; i++)
		strbuf_addf(&deep, "- &a%d [*a%d]\n", i, i - 1);
	assert_null(yaml_parse(deep.data, deep.len, &e));
	assert_non_null(strstr(err_msg(&e), "exceeded max depth"));
}

static void yaml_writing(void **state _unused_)
{
	_cleanup_json_ json_t *v = parse("{\"z\":[{\"b\":1,\"a\":[]},\"x\"],\"s\":[\"true\",\"12\",\"\",\"a: b\",\"no\",\"y\","
					 "\"2026-11-21\",\"1:30\",\"p\\nq\\n\",\"0x1\",\"null\",\"plain text\",\"- d\",\"1.2.3\"],"
					 "\"n\":null,\"t\":true,\"e\":{},\"r\":1.5}");
	_cleanup_strbuf_ struct strbuf b = { 0 };

	yaml_write(&b, v);
	assert_string_equal(b.data, "e: {}\n\"n\": null\nr: 1.5\ns:\n- \"true\"\n- \"12\"\n- \"\"\n- 'a: b'\n- \"no\"\n- \"y\"\n"
				    "- \"2026-11-21\"\n- \"1:30\"\n- |\n  p\n  q\n- \"0x1\"\n- \"null\"\n- plain text\n- '- d'\n"
				    "- 1.2.3\nt: true\nz:\n- a: []\n  b: 1\n- x\n");
	_cleanup_json_ json_t *back = yaml_parse(b.data, b.len, NULL);

	assert_true(json_same(v, back));
}

static void yaml_without_text(void **state _unused_)
{
	_cleanup_json_ json_t *v = json_array();
	_cleanup_strbuf_ struct strbuf b = { 0 };

	json_array_append_new(v, json_string_nocheck("\xff\xfe"));
	json_array_append_new(v, json_string_nocheck("ok"));
	yaml_write(&b, v);
	assert_string_equal(b.data, "- \xef\xbf\xbd\n- ok\n");
}

static void json_or_yaml(void **state _unused_)
{
	_cleanup_err_ struct err e = { 0 };
	_cleanup_json_ json_t *v = json_or_yaml_parse("\n{\"a\":1}", 8, NULL, NULL), *y = json_or_yaml_parse("a: 1", 4, NULL, NULL);

	assert_true(json_same(v, y));
	assert_null(json_or_yaml_parse("{a: 1}", 6, NULL, &e));
	assert_true(str_starts(err_msg(&e), "invalid character 'a'"));
}

static void pretty(void **state _unused_)
{
	_cleanup_json_ json_t *v = parse("{\"a\":[1,{}],\"b\":[]}");
	_cleanup_strbuf_ struct strbuf b = { 0 };

	json_write_pretty(&b, v);
	assert_string_equal(b.data, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_round_trips), cmocka_unit_test(json_refusals),
		cmocka_unit_test(json_duplicates),  cmocka_unit_test(json_peer), cmocka_unit_test(json_paths),
		cmocka_unit_test(json_equality),    cmocka_unit_test(yaml_scalars),
		cmocka_unit_test(yaml_structure),   cmocka_unit_test(yaml_aliases_are_copies),
		cmocka_unit_test(yaml_refusals),    cmocka_unit_test(yaml_bombs),
		cmocka_unit_test(yaml_writing),     cmocka_unit_test(yaml_without_text),
		cmocka_unit_test(json_or_yaml),     cmocka_unit_test(pretty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
