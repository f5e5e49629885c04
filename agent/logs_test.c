/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading logs of the runtime's format. */
#include "agent/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

#define T1 "2026-11-21T10:00:00.000000001Z"
#define T2 "2026-11-21T10:00:01.5+00:00"
#define T3 "2026-11-21T10:00:02Z"

static const char text[] = T1 " stdout F one\n" T2 " stderr P tw\n" T2 " stderr F o\n" T3 " stdout F \n" T3
			      " stdout F last  \n";

static void test_parse(void **state)
{
	struct logs_entry e;
	static const char *const bad[] = { "", "x", "now stdout F x", T1, T1 " stdout", T1 " stdin F x", T1 " stdout X x" };

	(void)state;
	assert_int_equal(logs_parse(T1 " stdout F hello world", strlen(T1) + 21, &e), 0);
	assert_int_equal(e.text_len, 11);
	assert_memory_equal(e.text, "hello world", 11);
	assert_false(e.partial);
	assert_false(e.is_stderr);
	assert_int_equal(logs_parse(T1 " stderr P:x t", strlen(T1) + 13, &e), 0);
	assert_true(e.partial && e.is_stderr);
	assert_int_equal(logs_parse(T1 " stdout F", strlen(T1) + 9, &e), 0);
	assert_int_equal(e.text_len, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(logs_parse(bad[i], strlen(bad[i]), &e), -EINVAL);
}

static char *read_all(const char *content, struct logs_options o, size_t piece)
{
	char path[] = "/tmp/agent-logs-XXXXXX";
	int fd = mkstemp(path), r;
	struct logs_reader reader = { .fd = -1 };
	struct strbuf out = { 0 };

	assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	close(fd);
	assert_int_equal(logs_open(&reader, path, &o), 0);
	while ((r = logs_read(&reader, piece, &out)) > 0)
		;
	assert_int_equal(r, 0);
	logs_reader_done(&reader);
	unlink(path);
	return strbuf_take(&out);
}

static struct logs_options all(void)
{
	return (struct logs_options){ .tail_lines = -1, .limit_bytes = -1, .since_us = INT64_MIN };
}

static void expect(struct logs_options o, const char *want)
{
	_cleanup_free_ char *got = read_all(text, o, 1 << 20), *small = read_all(text, o, 1);

	assert_string_equal(got, want);
	assert_string_equal(small, want);
}

static void test_options(void **state)
{
	struct logs_options o = all();

	(void)state;
	expect(o, "one\ntwo\n\nlast  \n");
	o.timestamps = true;
	expect(o, T1 " one\n" T2 " two\n" T3 " \n" T3 " last  \n");
	o = all();
	o.tail_lines = 2;
	expect(o, "\nlast  \n");
	o.tail_lines = 0;
	expect(o, "");
	o.tail_lines = 100;
	expect(o, "one\ntwo\n\nlast  \n");
	o = all();
	o.limit_bytes = 5;
	expect(o, "one\nt");
	o.limit_bytes = 0;
	expect(o, "");
	o = all();
	o.stream = "stderr";
	expect(o, "two\n");
	o = all();
	assert_int_equal(clock_parse_rfc3339(T2, &o.since_us), 0);
	expect(o, "two\n\nlast  \n");
}

static void test_garbage(void **state)
{
	_cleanup_free_ char *got = read_all("not a line\n" T1 " stdout F good\n\n\x01\x02\n" T1 " stdout F cut", all(), 1 << 20);

	(void)state;
	/* An entry without its newline is not complete yet. */
	assert_string_equal(got, "good\n");
}

static void test_follow(void **state)
{
	char path[] = "/tmp/agent-logs-XXXXXX";
	int fd = mkstemp(path);
	struct logs_reader r = { .fd = -1 };
	struct logs_options o = all();
	_cleanup_strbuf_ struct strbuf out = { 0 };

	(void)state;
	assert_int_equal(logs_open(&r, path, &o), 0);
	assert_int_equal(logs_read(&r, 1 << 20, &out), 0);
	assert_int_equal(write(fd, T1 " stdout F he", strlen(T1) + 12), (ssize_t)strlen(T1) + 12);
	assert_int_equal(logs_read(&r, 1 << 20, &out), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(write(fd, "llo\n", 4), 4);
	assert_int_equal(logs_read(&r, 1 << 20, &out), 0);
	assert_string_equal(out.data, "hello\n");
	logs_reader_done(&r);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_follow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
