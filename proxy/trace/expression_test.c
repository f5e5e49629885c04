/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trace expressions: what they mean, what is refused. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/trace/trace.h"

static struct abi_tuple tuple(const char *src, uint16_t sport, const char *dst, uint16_t dport, uint8_t proto)
{
	struct abi_tuple t = { .sport = htons(sport), .dport = htons(dport), .proto = proto };
	uint32_t *to[] = { t.saddr, t.daddr };
	const char *from[] = { src, dst };
	for (int i = 0; i < 2; i++) {
		if (strchr(from[i], ':')) {
			assert_int_equal(inet_pton(AF_INET6, from[i], to[i]), 1);
			continue;
		}
		to[i][2] = htonl(0xffff);
		assert_int_equal(inet_pton(AF_INET, from[i], &to[i][3]), 1);
	}
	return t;
}

static struct abi_trace_event event(void)
{
	return (struct abi_trace_event){
		.ns = 1000000000, .before = tuple("192.0.2.20", 40000, "192.0.2.10", 30080, IPPROTO_TCP),
		.after = tuple("192.0.2.20", 40000, "10.244.0.12", 8080, IPPROTO_TCP), .set_id = 7, .backend_id = 3,
		.program = ABI_PROGRAM_TC_INGRESS, .reason = ABI_TC_TRANSLATED, .len = 74, .ifindex = 2,
	};
}

static void parse(struct expression *x, const char *text)
{
	_cleanup_err_ struct err err = { 0 };
	if (expression_parse(x, &text, 1, &err) < 0)
		fail_msg("%s: %s", text, err_msg(&err));
}

static void test_fits(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool fits;
	} rows[] = {
		{ "", true },
		{ "host 192.0.2.20", true },
		{ "host 10.244.0.12", true }, /* as it leaves */
		{ "host 192.0.2.99", false },
		{ "src 192.0.2.20", true },
		{ "src 192.0.2.10", false },
		{ "dst host 192.0.2.10", true },
		{ "dst 10.244.0.0/16", true },
		{ "dst 10.245.0.0/16", false },
		{ "src ::/0", true }, /* every address, v4-mapped ones too */
		{ "dst fd00::/8", false },
		{ "port 8080", true },
		{ "src port 40000", true },
		{ "src port 8080", false },
		{ "dst port 30080 and tcp", true },
		{ "tcp host 192.0.2.20 port 30080", true },
		{ "udp", false },
		{ "host 192.0.2.20 and host 192.0.2.10", true },
		/* Both conditions by one and the same look at the packet. */
		{ "host 192.0.2.10 and port 8080", false },
		{ "drops", false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct expression x;
		struct abi_trace_event e = event();
		parse(&x, rows[i].text);
		if (expression_fits(&x, &e) != rows[i].fits)
			fail_msg("\"%s\" should %sfit", rows[i].text, rows[i].fits ? "" : "not ");
		expression_done(&x);
	}
}

static void test_unknown_source_and_drops(void **state)
{
	(void)state;
	struct abi_trace_event e = event();
	struct expression x;
	memset(e.before.saddr, 0, sizeof(e.before.saddr));
	e.before.saddr[2] = htonl(0xffff);
	e.after = e.before;
	e.program = ABI_PROGRAM_CONNECT;
	e.reason = ABI_SOCK_REFUSED_NO_ENDPOINTS;
	parse(&x, "src 10.244.0.99 and drops");
	assert_true(expression_fits(&x, &e));
	expression_done(&x);
}

static void test_service(void **state)
{
	(void)state;
	static const char text[] = "{\"services\":[{\"name\":\"default/web:http\",\"port\":80,\"set\":7,\"localSet\":9},"
				   "{\"name\":\"default/web:dns\",\"port\":53,\"set\":11,\"localSet\":0},"
				   "{\"name\":\"default/web2:http\",\"port\":80,\"set\":12,\"localSet\":0}]}";
	static const struct {
		const char *expression;
		size_t sets;
	} rows[] = {
		{ "service default/web", 3 },    { "service default/web:http", 2 }, { "service default/web:53", 1 },
		{ "service default/web2", 1 },   { "service default/we", 0 },       { "service default/web:htt", 0 },
		{ "service other/web:http", 0 },
	};
	struct names n;
	struct abi_trace_filter f;
	assert_int_equal(names_parse(&n, text, strlen(text), NULL), 0);
	assert_string_equal(names_find(&n, 9), "default/web:http");
	assert_null(names_find(&n, 0));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct expression x;
		struct abi_trace_event e = event();
		_cleanup_err_ struct err err = { 0 };
		parse(&x, rows[i].expression);
		assert_int_equal(names_resolve(&n, &x, &err), rows[i].sets ? 0 : -ENOENT);
		assert_int_equal(x.set_count, rows[i].sets);
		expression_filter(&x, &f);
		assert_int_equal(f.set_id != 0, rows[i].sets == 1 || rows[i].sets == 2);
		assert_int_equal(expression_fits(&x, &e), i < 2);
		expression_done(&x);
	}
	names_done(&n);
	assert_true(names_parse(&n, "[]", 2, NULL) < 0);
	assert_true(names_parse(&n, "{", 1, NULL) < 0);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"host", "src", "host 10.0.0.300", "host 010.0.0.1", "dst 10.0.0.0/33", "port", "port 0", "port 65536", "port http",
		"tcp and udp", "service web", "service a/b/c", "service /b", "service a/", "service a/b and service c/d", "tcp and",
		"nonsense", "or", "tcp or udp",
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct expression x;
		_cleanup_err_ struct err err = { 0 };
		if (expression_parse(&x, &rows[i], 1, &err) == 0)
			fail_msg("\"%s\" was taken", rows[i]);
		assert_true(strlen(err_msg(&err)) > 10);
	}
}

static void test_lines(void **state)
{
	(void)state;
	struct name name = { .text = (char[]){ "default/web:http" }, .set = 7 };
	struct names names = { &name, 1 };
	struct abi_trace_event e = event();
	struct abi_backend b = { .port = htons(8080), .generation = 1 };
	memcpy(b.addr, e.after.daddr, 16);
	struct trace_look look = { .names = &names, .backend = &b, .link = "eth0", .wall_us = 1700000000123456 };
	_cleanup_strbuf_ struct strbuf out = { 0 };
	setenv("TZ", "UTC", 1);
	trace_format(&out, &e, &look);
	assert_string_equal(out.data, "22:13:20.123456 tc_ingress eth0 tcp 192.0.2.20:40000 > 192.0.2.10:30080 -> 192.0.2.20:40000 > "
				      "10.244.0.12:8080, service default/web:http, backend 10.244.0.12:8080: translated\n");
	strbuf_reset(&out);
	look.json = true;
	trace_format(&out, &e, &look);
	assert_string_equal(out.data,
			    "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"program\":\"tc_ingress\",\"link\":\"eth0\",\"protocol\":\"tcp\","
			    "\"bytes\":74,\"before\":{\"source\":\"192.0.2.20\",\"sourcePort\":40000,\"destination\":\"192.0.2.10\","
			    "\"destinationPort\":30080},\"after\":{\"source\":\"192.0.2.20\",\"sourcePort\":40000,\"destination\":"
			    "\"10.244.0.12\",\"destinationPort\":8080},\"service\":\"default/web:http\",\"set\":7,\"backend\":"
			    "\"10.244.0.12:8080\",\"verdict\":\"tc_translated\",\"dropped\":false}\n");
	strbuf_reset(&out);
	look.json = false;
	look.backend = NULL;
	look.link = "";
	e.before = e.after = tuple("::", 0, "fd00::7", 80, IPPROTO_UDP);
	e.program = ABI_PROGRAM_SENDMSG;
	e.reason = ABI_SOCK_REFUSED_NO_PORT;
	e.set_id = 99;
	trace_format(&out, &e, &look);
	assert_string_equal(out.data, "22:13:20.123456 sendmsg - udp * > [fd00::7]:80, set 99: refused: the Service has no such port\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fits),    cmocka_unit_test(test_unknown_source_and_drops),
		cmocka_unit_test(test_service), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
