/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes: started, watched, adopted by their pid file, never confused with a stranger that got their pid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/process.h"

struct fixture {
	char dir[64];
	char *log, *pid;
	uv_loop_t loop;
	struct process p;
	int exits, status;
};

static void on_exit_(struct process *p _unused_, int status, void *user)
{
	struct fixture *f = user;

	f->exits++;
	f->status = status;
}

static int setup(void **state)
{
	struct fixture *f = mem_new(struct fixture);

	snprintf(f->dir, sizeof(f->dir), "/tmp/keelson-process-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->log = str_printf("%s/log", f->dir);
	f->pid = str_printf("%s/pid", f->dir);
	uv_loop_init(&f->loop);
	f->p = (struct process){ .pidfd = -1, .on_exit = on_exit_, .user = f };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(uv_loop_close(&f->loop), 0);
	assert_int_equal(file_rm_rf(f->dir), 0);
	free(f->log);
	free(f->pid);
	free(f);
	return 0;
}

static int start(struct fixture *f, const char *script)
{
	_cleanup_strlist_ struct strlist argv = { 0 };

	strlist_add(&argv, "sh");
	strlist_add(&argv, "-c");
	strlist_add(&argv, script);
	return process_start(&f->loop, &f->p, &argv, f->log, f->pid);
}

static void runs_and_ends(void **state)
{
	struct fixture *f = *state;
	_cleanup_strbuf_ struct strbuf log = { 0 };

	assert_int_equal(start(f, "echo out; echo err >&2; exit 7"), 0);
	assert_true(f->p.pid > 0);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->exits, 1);
	assert_true(WIFEXITED(f->status) && WEXITSTATUS(f->status) == 7);
	assert_int_equal(f->p.pid, 0);
	assert_int_equal(file_read(f->log, 4096, &log), 0);
	assert_string_equal(log.data, "out\nerr\n");
	/* A second run in the same place: the log grows, nothing of the first run is in the way. */
	assert_int_equal(start(f, "kill -9 $$"), 0);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->exits, 2);
	assert_true(WIFSIGNALED(f->status) && WTERMSIG(f->status) == SIGKILL);
}

static void refuses_a_missing_program(void **state)
{
	struct fixture *f = *state;
	_cleanup_strlist_ struct strlist argv = { 0 };

	strlist_add(&argv, "/nonexistent/program");
	assert_int_equal(process_start(&f->loop, &f->p, &argv, f->log, f->pid), -ENOENT);
	assert_int_equal(f->p.pid, 0);
	assert_int_equal(f->exits, 0);
}

static void adopts_what_still_runs(void **state)
{
	struct fixture *f = *state;
	struct process other = { .pidfd = -1, .on_exit = on_exit_, .user = f };

	assert_int_equal(start(f, "exec sleep 100"), 0);
	assert_int_equal(process_adopt(&f->loop, &other, f->pid), 0);
	assert_int_equal(other.pid, f->p.pid);
	assert_true(process_rss_kib(other.pid) > 0);
	process_kill(&other, SIGTERM);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->exits, 2); /* both watchers saw it */
	assert_int_equal(process_adopt(&f->loop, &other, f->pid), -ESRCH);
}

static void never_adopts_a_stranger(void **state)
{
	struct fixture *f = *state;
	static const char *const texts[] = { "", "x", "1 1", "-5 100", "99999999999 3", "0 0" };
	_cleanup_free_ char *reused = str_printf("%d %llu", (int)getpid(), process_start_time(getpid()) + 1);

	assert_int_equal(process_adopt(&f->loop, &f->p, f->pid), -ESRCH);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(file_write_atomic(f->pid, texts[i], strlen(texts[i]), 0600), 0);
		assert_int_equal(process_adopt(&f->loop, &f->p, f->pid), -ESRCH);
	}
	/* This very process under another start time: the pid was given to somebody else meanwhile. */
	assert_int_equal(file_write_atomic(f->pid, reused, strlen(reused), 0600), 0);
	assert_int_equal(process_adopt(&f->loop, &f->p, f->pid), -ESRCH);
	process_kill(&f->p, SIGKILL); /* holds nobody: must not hit anybody */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_and_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_a_missing_program, setup, teardown),
		cmocka_unit_test_setup_teardown(adopts_what_still_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(never_adopts_a_stranger, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
