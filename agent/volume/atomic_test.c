/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The atomic writer on a real directory: what readers see, what is replaced, what is refused. */
#include "agent/volume/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/agent-atomic-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return file_rm_rf(dir);
}

static void add(struct atomic_files *f, const char *path, const char *text)
{
	assert_int_equal(atomic_files_add(f, path, mem_strdup(text), strlen(text), 0644, (uid_t)-1, NULL), 0);
}

static void expect(const char *path, const char *text)
{
	_cleanup_free_ char *full = str_printf("%s/%s", dir, path);
	_cleanup_strbuf_ struct strbuf got = { 0 };
	int r = file_read(full, 1 << 20, &got);

	if (!text) {
		assert_int_equal(r, -ENOENT);
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal(got.data ? got.data : "", text);
}

static size_t entries(void)
{
	_cleanup_free_ char *command = str_printf("ls -A %s | wc -l", dir);
	FILE *f = popen(command, "r");
	unsigned n = 0;

	assert_int_equal(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

static void test_update(void **state)
{
	struct atomic_files f = { 0 }, g = { 0 };
	bool changed;

	(void)state;
	add(&f, "a", "1");
	add(&f, "sub/dir/b", "2");
	add(&f, "sub/c", "3");
	assert_int_equal(atomic_update(dir, &f, (gid_t)-1, &changed, NULL), 0);
	assert_true(changed);
	expect("a", "1");
	expect("sub/dir/b", "2");
	expect("..data/sub/c", "3");
	/* a, sub, ..data and one directory */
	assert_int_equal(entries(), 4);

	assert_int_equal(atomic_update(dir, &f, (gid_t)-1, &changed, NULL), 0);
	assert_false(changed);

	add(&g, "a", "new");
	add(&g, "d", "");
	assert_int_equal(atomic_update(dir, &g, (gid_t)-1, &changed, NULL), 0);
	assert_true(changed);
	expect("a", "new");
	expect("d", "");
	expect("sub/c", NULL);
	assert_int_equal(entries(), 4);
	atomic_files_done(&f);
	atomic_files_done(&g);
}

static void test_old_files_stay_open(void **state)
{
	struct atomic_files f = { 0 };
	_cleanup_free_ char *path = str_printf("%s/a", dir);
	char got[8] = "";
	int fd;

	(void)state;
	add(&f, "a", "old");
	assert_int_equal(atomic_update(dir, &f, (gid_t)-1, NULL, NULL), 0);
	fd = open(path, O_RDONLY);
	add(&f, "a", "new");
	assert_int_equal(f.count, 1);
	assert_int_equal(atomic_update(dir, &f, (gid_t)-1, NULL, NULL), 0);
	assert_int_equal(read(fd, got, sizeof(got)), 3);
	assert_string_equal(got, "old");
	close(fd);
	expect("a", "new");
	atomic_files_done(&f);
}

static void test_modes(void **state)
{
	struct atomic_files f = { 0 };
	_cleanup_free_ char *path = str_printf("%s/a", dir);
	struct stat st;

	(void)state;
	assert_int_equal(atomic_files_add(&f, "a", mem_strdup("x"), 1, 0400, (uid_t)-1, NULL), 0);
	assert_int_equal(atomic_update(dir, &f, getgid(), NULL, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0440);
	assert_int_equal(atomic_update(dir, &f, (gid_t)-1, NULL, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0400);
	atomic_files_done(&f);
}

static void test_crash_leftovers(void **state)
{
	struct atomic_files f = { 0 };
	_cleanup_free_ char *half = str_printf("%s/..2020_01_01_00_00_00.0000000000000000", dir);
	_cleanup_free_ char *link_path = str_printf("%s/..data_tmp", dir);

	(void)state;
	assert_int_equal(mkdir(half, 0755), 0);
	assert_int_equal(symlink("nowhere", link_path), 0);
	add(&f, "a", "1");
	assert_int_equal(atomic_update(dir, &f, (gid_t)-1, NULL, NULL), 0);
	expect("a", "1");
	assert_int_equal(entries(), 3);
	atomic_files_done(&f);
}

static void test_refused(void **state)
{
	static const char *const paths[] = { "", "/a", "..", "../a", "a/../b", "a/..", "..a", "a//b", "a/", "./a" };
	struct atomic_files f = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_int_equal(atomic_files_add(&f, paths[i], mem_strdup("x"), 1, 0644, (uid_t)-1, NULL), -EINVAL);
	assert_int_equal(f.count, 0);
	atomic_files_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_update, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_files_stay_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crash_leftovers, setup, teardown),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
