/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTP/1.1 reader: what is read, what is refused, and that cutting the input anywhere changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/http1.h"

#define HEAD "GET /x HTTP/1.1\r\nHost: h\r\n"
#define POST "POST /x HTTP/1.1\r\nHost: h\r\n"

static const struct http1_limits limits = { .max_head_bytes = 512, .max_fields = 8, .max_body_bytes = 64 };

/* One line that says everything about how the input was read. */
static void describe(const char *in, size_t in_len, size_t step, struct strbuf *out)
{
	struct http1_reader r;
	_cleanup_strbuf_ struct strbuf body = { 0 };
	const char *p = in, *end = in + in_len, *piece;
	size_t len = 0, piece_len;

	http1_init(&r, &limits);
	for (;;) {
		switch (http1_next(&r, &p, &len, &piece, &piece_len)) {
		case HTTP1_MORE:
			assert_int_equal(len, 0);
			if (p == end) {
				strbuf_addf(out, "more body=%s", body.data ? body.data : "");
				goto done;
			}
			len = step < (size_t)(end - p) ? step : (size_t)(end - p);
			break;
		case HTTP1_HEAD:
			strbuf_addf(out, "%s %s ?%s", r.text.data + r.method, r.text.data + r.path, r.text.data + r.query);
			for (size_t i = 0; i < r.field_count; i++)
				strbuf_addf(out, " %s=%s", r.text.data + r.fields[i].name, r.text.data + r.fields[i].value);
			strbuf_addf(out, " %s%s|", r.keep_alive ? "keep" : "close", r.expect_continue ? " expect" : "");
			break;
		case HTTP1_BODY:
			assert_true(piece_len > 0);
			strbuf_add(&body, piece, piece_len);
			assert_true(body.len <= limits.max_body_bytes);
			break;
		case HTTP1_END:
			strbuf_addf(out, "end body=%s rest=%d", body.data ? body.data : "", (int)(end - p));
			goto done;
		case HTTP1_REFUSED:
			strbuf_addf(out, "refused %d %s", r.status, r.why);
			goto done;
		}
	}
done:
	http1_done(&r);
}

struct read_case {
	const char *in, *want;
};

static void check(const struct read_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_strbuf_ struct strbuf whole = { 0 };

		describe(cases[i].in, strlen(cases[i].in), 1000000, &whole);
		assert_string_equal(whole.data, cases[i].want);
		for (size_t step = 1; step < 8; step++) {
			_cleanup_strbuf_ struct strbuf cut = { 0 };

			describe(cases[i].in, strlen(cases[i].in), step, &cut);
			assert_string_equal(cut.data, cases[i].want);
		}
	}
}

static void reads(void **state)
{
	static const struct read_case cases[] = {
		{ HEAD "\r\n", "GET /x ? Host=h keep|end body= rest=0" },
		{ "GET /a?b=c&d HTTP/1.1\r\nHost:h:80\r\nX-Y: \t v w \t\r\n\r\nGET", "GET /a ?b=c&d Host=h:80 X-Y=v w keep|end body= rest=3" },
		{ HEAD "E:\r\n\r\n", "GET /x ? Host=h E= keep|end body= rest=0" },
		{ "\r\n" HEAD "\r\n", "GET /x ? Host=h keep|end body= rest=0" },
		{ HEAD "Connection: foo ,\tClose\r\n\r\n", "GET /x ? Host=h Connection=foo ,\tClose close|end body= rest=0" },
		{ "GET / HTTP/1.0\r\n\r\n", "GET / ? close|end body= rest=0" },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET / ? Connection=keep-alive keep|end body= rest=0" },
		{ "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "OPTIONS * ? Host= keep|end body= rest=0" },
		{ "GET http://real:1/p?q HTTP/1.1\r\nHost: other\r\n\r\n", "GET /p ?q Host=real:1 keep|end body= rest=0" },
		{ "GET http://real HTTP/1.1\r\nHost: other\r\n\r\n", "GET / ? Host=real keep|end body= rest=0" },
		{ "GET https://r?q HTTP/1.1\r\nHost: other\r\n\r\n", "GET / ?q Host=r keep|end body= rest=0" },
		{ POST "Content-Length: 5\r\n\r\nhelloGET", "POST /x ? Host=h Content-Length=5 keep|end body=hello rest=3" },
		{ POST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\nhel", "POST /x ? Host=h Content-Length=5 Expect=100-Continue keep expect|more body=hel" },
		{ POST "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nT: v\r\n\r\nX",
		  "POST /x ? Host=h Transfer-Encoding=Chunked keep|end body=hello0123456789 rest=1" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST /x ? Host=h Transfer-Encoding=chunked keep|end body= rest=0" },
		{ HEAD "X: \xc3\xa4\r\n\r\n", "GET /x ? Host=h X=\xc3\xa4 keep|end body= rest=0" },
		{ "GET /x HT", "more body=" },
	};

	(void)state;
	check(cases, ARRAY_SIZE(cases));
}

static void smuggling(void **state)
{
	static const struct read_case cases[] = {
		{ POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "refused 400 more than one Content-Length" },
		{ POST "Content-Length: 5, 5\r\n\r\n", "refused 400 malformed Content-Length" },
		{ POST "Content-Length: +5\r\n\r\n", "refused 400 malformed Content-Length" },
		{ POST "Content-Length: 0x5\r\n\r\n", "refused 400 malformed Content-Length" },
		{ POST "Content-Length: -1\r\n\r\n", "refused 400 malformed Content-Length" },
		{ POST "Content-Length:\r\n\r\n", "refused 400 malformed Content-Length" },
		{ POST "Content-Length: 99999999999999999999\r\n\r\n", "refused 400 malformed Content-Length" },
		{ POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "refused 400 both Content-Length and Transfer-Encoding" },
		{ POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "refused 400 more than one Transfer-Encoding" },
		{ POST "Transfer-Encoding: gzip, chunked\r\n\r\n", "refused 501 only the transfer coding chunked is understood" },
		{ POST "Transfer-Encoding: identity\r\n\r\n", "refused 501 only the transfer coding chunked is understood" },
		{ POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n", "refused 400 control character in a header field" },
		{ POST "Transfer-Encoding : chunked\r\n\r\n", "refused 400 malformed header field name" },
		{ POST "Content-Length: 5\r\n X\r\n\r\n", "refused 400 folded header field" },
		{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "refused 400 Transfer-Encoding in HTTP/1.0" },
		{ "GET / HTTP/1.1\nHost: h\n\n", "refused 400 line without CR" },
		{ HEAD "A: b\nC: d\r\n\r\n", "refused 400 line without CR" },
		{ HEAD "A: b\rC: d\r\n\r\n", "refused 400 control character in a header field" },
		{ HEAD ": b\r\n\r\n", "refused 400 malformed header field name" },
		{ HEAD "A\r\n\r\n", "refused 400 malformed header field name" },
		{ HEAD "A(: b\r\n\r\n", "refused 400 malformed header field name" },
		{ HEAD "Host: i\r\n\r\n", "refused 400 more than one Host" },
		{ "GET / HTTP/1.1\r\n\r\n", "refused 400 missing Host" },
		{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "refused 400 malformed Host" },
		{ "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "refused 400 malformed Host" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n", "refused 400 line without CR in a chunked body" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n", "refused 400 malformed chunk size" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", "refused 400 malformed chunk size" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", "refused 400 malformed chunk size" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n0000000000000001\r\n", "refused 400 malformed chunk size" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n", "refused 400 malformed chunk size" },
		{ POST "Transfer-Encoding: chunked\r\n\r\n0\r\n X: y\r\n\r\n", "refused 400 folded header field" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = { 0 };

		for (size_t step = 1; step < 1000; step = step < 8 ? step + 1 : step * 100) {
			const char *want = cases[i].want, *got;

			strbuf_reset(&out);
			describe(cases[i].in, strlen(cases[i].in), step, &out);
			got = strstr(out.data, "refused");
			assert_non_null(got);
			assert_string_equal(got, want);
		}
	}
}

static void chunk_end(void **state)
{
	static const char *const bad[] = { "5\r\nhelloX\r\n", "5\r\nhello\n", "5\r\nhello\rX" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_strbuf_ struct strbuf in = { 0 }, out = { 0 };

		strbuf_addf(&in, POST "Transfer-Encoding: chunked\r\n\r\n%s", bad[i]);
		describe(in.data, in.len, 3, &out);
		assert_non_null(strstr(out.data, "refused 400 chunk data is not followed by CRLF"));
	}
}

static void request_lines(void **state)
{
	static const struct read_case cases[] = {
		{ "GET  / HTTP/1.1\r\n", "refused 400 malformed HTTP version" },
		{ "GET / HTTP/1.1 \r\n", "refused 400 malformed HTTP version" },
		{ "GET /\r\n", "refused 400 malformed request line" },
		{ "GET\r\n", "refused 400 malformed request line" },
		{ "G(T / HTTP/1.1\r\n", "refused 400 malformed request line" },
		{ "GET /a\x01 HTTP/1.1\r\n", "refused 400 malformed request target" },
		{ "GET /\xc3\xa4 HTTP/1.1\r\n", "refused 400 malformed request target" },
		{ "GET /#f HTTP/1.1\r\n", "refused 400 malformed request target" },
		{ "GET x HTTP/1.1\r\n", "refused 400 malformed request target" },
		{ "GET http:///x HTTP/1.1\r\n", "refused 400 malformed request target" },
		{ "GET http://u@h/x HTTP/1.1\r\n", "refused 400 malformed request target" },
		{ "GET ftp://h/x HTTP/1.1\r\n", "refused 400 malformed request target" },
		{ "GET / HTTP/2.0\r\n", "refused 505 only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here" },
		{ "GET / HTTP/1.2\r\n", "refused 505 only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here" },
		{ "GET / http/1.1\r\n", "refused 400 malformed HTTP version" },
		{ "CONNECT h:1 HTTP/1.1\r\n", "refused 501 CONNECT is not implemented" },
		{ "\x16\x03\x01", "refused 400 malformed request line" },
		{ "\r\n\r\nGET / HTTP/1.1\r\n", "refused 400 malformed request line" },
		{ HEAD "Expect: 200-maybe\r\n\r\n", "refused 417 the only expectation understood is 100-continue" },
	};

	(void)state;
	check(cases, ARRAY_SIZE(cases));
}

static void nul_bytes(void **state)
{
	static const char name[] = HEAD "A\0b: c\r\n\r\n", value[] = HEAD "A: b\0c\r\n\r\n", line[] = "GET /\0 HTTP/1.1\r\n\r\n";
	_cleanup_strbuf_ struct strbuf a = { 0 }, b = { 0 }, c = { 0 };

	(void)state;
	describe(name, sizeof(name) - 1, 5, &a);
	assert_string_equal(a.data, "refused 400 malformed header field name");
	describe(value, sizeof(value) - 1, 5, &b);
	assert_string_equal(b.data, "refused 400 control character in a header field");
	describe(line, sizeof(line) - 1, 5, &c);
	assert_string_equal(c.data, "refused 400 malformed request target");
}

static void too_large(void **state)
{
	_cleanup_strbuf_ struct strbuf in = { 0 }, out = { 0 };

	(void)state;
	strbuf_adds(&in, "GET /");
	while (in.len < 513)
		strbuf_addc(&in, 'a');
	describe(in.data, in.len, 7, &out);
	assert_string_equal(out.data, "refused 431 request head is larger than the limit");
	strbuf_reset(&in);
	strbuf_reset(&out);
	strbuf_adds(&in, HEAD);
	for (int i = 0; i < 8; i++)
		strbuf_addf(&in, "A%d: b\r\n", i);
	describe(in.data, in.len, 7, &out);
	assert_string_equal(out.data, "refused 431 too many header fields");
	strbuf_reset(&out);
	describe(POST "Content-Length: 65\r\n\r\n", sizeof(POST) - 1 + 22, 7, &out);
	assert_string_equal(out.data, "refused 413 request body is larger than the limit");
	strbuf_reset(&in);
	strbuf_reset(&out);
	strbuf_adds(&in, POST "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 13; i++)
		strbuf_adds(&in, "5\r\nhello\r\n");
	describe(in.data, in.len, 7, &out);
	assert_non_null(strstr(out.data, "refused 413 request body is larger than the limit"));
}

/* A body of tiny chunks with long extensions, or endless trailers, ends. */
static void overhead(void **state)
{
	struct http1_limits big = { .max_head_bytes = 512, .max_fields = 8, .max_body_bytes = 1 << 20 };
	static const char ext[] = "1;eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\r\nx\r\n";
	struct http1_reader r;
	const char *piece;
	size_t len, piece_len, total = 0;
	enum http1_event ev = HTTP1_MORE;

	(void)state;
	http1_init(&r, &big);
	for (int i = -1; i < 10000 && ev != HTTP1_REFUSED; i++) {
		const char *p = i < 0 ? POST "Transfer-Encoding: chunked\r\n\r\n" : ext;

		len = strlen(p);
		total += len;
		do
			ev = http1_next(&r, &p, &len, &piece, &piece_len);
		while (ev == HTTP1_HEAD || ev == HTTP1_BODY);
	}
	assert_int_equal(ev, HTTP1_REFUSED);
	assert_int_equal(r.status, 400);
	assert_true(total < 100000);
	http1_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads), cmocka_unit_test(smuggling), cmocka_unit_test(chunk_end),
		cmocka_unit_test(request_lines), cmocka_unit_test(nul_bytes), cmocka_unit_test(too_large),
		cmocka_unit_test(overhead),
	};

	return cmocka_run_group_tests_name("http1", tests, NULL, NULL);
}
