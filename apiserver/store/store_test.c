// SPDX-License-Identifier: GPL-2.0-or-later
/* The store: visibility, conflicts within a batch, restart, kill -9 under load, a full disk, the lock. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "apiserver/store/engine.h"
#include "apiserver/store/store.h"
#include "base/file.h"
#include "base/str.h"

enum { PODS = 3, NODES = 7 };

static const char *place_name(uint16_t resource)
{
	return resource == PODS ? "pods" : resource == NODES ? "some.group/nodes" : NULL;
}

static int place_find(const char *name)
{
	return str_eq(name, "pods") ? PODS : str_eq(name, "some.group/nodes") ? NODES : -1;
}

static struct store_object *restore(uint16_t resource, const char *key, uint64_t revision, struct bytes *json, uint32_t head_len,
				    uint32_t meta_off, uint32_t meta_len, void *user)
{
	(void)user;
	return store_object_new(resource, key, revision, json, head_len, meta_off, meta_len, NULL, NULL);
}

struct fixture {
	char dir[64];
	uv_loop_t loop;
	struct store *s;
	struct strbuf log; /* what the hooks and answers said */
	bool broken;
};

static void changed(enum store_change change, struct store_object *o, struct store_object *old, void *user)
{
	struct fixture *f = user;
	strbuf_addf(&f->log, "%c%s@%llu%s ", "AMD"[change], o->key, (unsigned long long)o->revision, old ? "+" : "");
}

static void committed(void *user)
{
	(void)user;
}

static void broken(const char *why, void *user)
{
	(void)why;
	((struct fixture *)user)->broken = true;
}

static int open_store(struct fixture *f, struct err *err)
{
	const struct store_hooks hooks = { .place_name = place_name, .place_find = place_find, .restore = restore,
		.changed = changed, .committed = committed, .broken = broken, .user = f };
	return store_open(&f->loop, f->dir, &hooks, &f->s, err);
}

static void close_store(struct fixture *f)
{
	store_close(f->s);
	f->s = NULL;
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int setup(void **state)
{
	struct fixture *f = mem_new(struct fixture);
	struct err err = { 0 };
	strcpy(f->dir, "/tmp/apiserver-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	uv_loop_init(&f->loop);
	assert_int_equal(open_store(f, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	if (f->s)
		close_store(f);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	file_rm_rf(f->dir);
	strbuf_done(&f->log);
	free(f);
	return 0;
}

static struct store_object *object(uint16_t resource, const char *key, uint64_t revision, const char *text)
{
	return store_object_new(resource, key, revision, bytes_new(text, strlen(text)), 0, 0, 0, NULL, NULL);
}

static void answered(int status, const char *why, struct store_object *o, void *user)
{
	struct fixture *f = user;
	(void)why;
	strbuf_addf(&f->log, "=%s:%d ", o->key, status);
}

static uint64_t put(struct fixture *f, const char *key, uint64_t expected, int want)
{
	uint64_t revision = store_reserve(f->s);
	assert_int_equal(store_put(f->s, object(PODS, key, revision, "{}"), expected, answered, f), want);
	return revision;
}

static void run(struct fixture *f)
{
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void test_visible_when_durable(void **state)
{
	struct fixture *f = *state;
	uint64_t r = put(f, "ns/a", 0, 0);
	assert_null(store_get(f->s, PODS, "ns/a"));
	assert_int_equal(store_latest(f->s, PODS, "ns/a")->revision, r);
	assert_int_equal(store_revision(f->s), 1);
	run(f);
	assert_int_equal(store_get(f->s, PODS, "ns/a")->revision, r);
	assert_int_equal(store_revision(f->s), r);
	assert_string_equal(f->log.data, "Ans/a@2 =ns/a:0 ");
}

static void test_batch_sees_itself(void **state)
{
	struct fixture *f = *state;
	uint64_t r1 = put(f, "ns/a", 0, 0);
	put(f, "ns/a", 0, -EEXIST);
	put(f, "ns/a", r1 + 100, -ESTALE);
	uint64_t r2 = put(f, "ns/a", r1, 0);
	put(f, "ns/a", r1, -ESTALE);
	assert_int_equal(store_delete(f->s, object(PODS, "ns/a", store_reserve(f->s), "{}"), r2, answered, f), 0);
	assert_null(store_latest(f->s, PODS, "ns/a"));
	put(f, "ns/a", r2, -ESTALE);
	put(f, "ns/a", 0, 0);
	run(f);
	assert_string_equal(f->log.data, "Ans/a@2 Mns/a@5+ Dns/a@7+ Ans/a@9 =ns/a:0 =ns/a:0 =ns/a:0 =ns/a:0 ");
}

static void assert_walk(struct store_iter it, const char *keys)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	strbuf_adds(&b, "");
	for (struct store_object *o; (o = store_next(&it)); strbuf_addc(&b, ' '))
		strbuf_adds(&b, o->key);
	assert_string_equal(b.data, keys);
}

static void test_order_and_ranges(void **state)
{
	struct fixture *f = *state;
	put(f, "b/x", 0, 0);
	put(f, "a/z", 0, 0);
	put(f, "a/b", 0, 0);
	put(f, "a-b/c", 0, 0);
	run(f);
	assert_int_equal(store_count(f->s, PODS), 4);
	assert_walk(store_iterate(f->s, PODS, NULL), "a-b/c a/b a/z b/x ");
	assert_walk(store_iterate(f->s, PODS, "a/"), "a/b a/z ");
	assert_walk(store_iterate(f->s, PODS, "c/"), "");
	assert_int_equal(store_count(f->s, NODES), 0);
	assert_walk(store_iterate(f->s, NODES, NULL), "");
}

static void test_restart(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	uint64_t r = put(f, "ns/a", 0, 0);
	put(f, "ns/b", 0, 0);
	assert_int_equal(store_put(f->s, object(NODES, "n:with:colons", store_reserve(f->s), "{\"x\":1}"), 0, NULL, NULL), 0);
	run(f);
	assert_int_equal(store_delete(f->s, object(PODS, "ns/a", store_reserve(f->s), "{}"), r, NULL, NULL), 0);
	run(f);
	assert_true(store_was_empty(f->s));
	close_store(f);
	assert_int_equal(open_store(f, &err), 0);
	/* The deletion used the last revision: it is not given out again. */
	assert_int_equal(store_revision(f->s), 5);
	assert_int_equal(store_reserve(f->s), 6);
	assert_false(store_was_empty(f->s));
	assert_null(store_get(f->s, PODS, "ns/a"));
	assert_int_equal(store_get(f->s, PODS, "ns/b")->revision, 3);
	assert_string_equal(store_get(f->s, NODES, "n:with:colons")->json->data, "{\"x\":1}");
}

static void test_close_commits(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	put(f, "ns/a", 0, 0);
	close_store(f);
	assert_non_null(strstr(f->log.data, "=ns/a:0"));
	assert_int_equal(open_store(f, &err), 0);
	assert_non_null(store_get(f->s, PODS, "ns/a"));
}

/* A plain write under way counts as stored: a configuration that could not read it is not taken. */
static void test_encryption_sees_writes(void **state)
{
	static const char text[] = "---\n{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{resources: [pods], "
				   "providers: [{secretbox: {keys: [{name: k, secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}]}}]}]}";
	struct fixture *f = *state;
	_cleanup_err_ struct err err = { 0 };
	_cleanup_(encryption_config_freep) struct encryption_config *next = encryption_config_parse(text, strlen(text), &err);
	if (!next)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(store_check_encryption(f->s, next, &err), 0);
	put(f, "default/a", 0, 0);
	assert_int_equal(store_check_encryption(f->s, next, &err), -EBUSY);
	run(f);
	assert_int_equal(store_check_encryption(f->s, next, &err), -EBUSY);
}

static void test_lock(void **state)
{
	struct fixture *f = *state;
	struct fixture other = { 0 };
	struct err err = { 0 };
	strcpy(other.dir, f->dir);
	uv_loop_init(&other.loop);
	assert_int_equal(open_store(&other, &err), -EWOULDBLOCK);
	assert_non_null(strstr(err_msg(&err), "another API server"));
	err_done(&err);
	uv_run(&other.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&other.loop), 0);
}

static void test_long_key(void **state)
{
	struct fixture *f = *state;
	char key[ENGINE_MAX_KEY + 10];
	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	put(f, key, 0, -ENAMETOOLONG);
}

/* A child writes as fast as it can, several keys a batch, and tells each acknowledged revision through a pipe. */
struct writer {
	struct fixture f;
	int fd;
	unsigned n;
};

static void on_acknowledged(int status, const char *why, struct store_object *o, void *user)
{
	struct writer *w = user;
	char line[64];
	(void)why;
	int len = snprintf(line, sizeof(line), "%s %llu\n", o->key, (unsigned long long)o->revision);
	if (status || write(w->fd, line, (size_t)len) != len)
		_exit(1);
	const struct store_object *latest = store_latest(w->f.s, PODS, o->key);
	store_put(w->f.s, object(PODS, o->key, store_reserve(w->f.s), "{\"some\":\"content\"}"), latest->revision, on_acknowledged, w);
}

static void write_for_ever(const char *dir, int fd)
{
	struct writer w = { .fd = fd };
	struct err err = { 0 };
	snprintf(w.f.dir, sizeof(w.f.dir), "%s", dir);
	uv_loop_init(&w.f.loop);
	if (open_store(&w.f, &err) != 0)
		_exit(2);
	for (unsigned i = 0; i < 20; i++) {
		char key[32];
		snprintf(key, sizeof(key), "ns/k%u", i);
		const struct store_object *latest = store_latest(w.f.s, PODS, key);
		store_put(w.f.s, object(PODS, key, store_reserve(w.f.s), "{}"), latest ? latest->revision : 0, on_acknowledged, &w);
	}
	uv_run(&w.f.loop, UV_RUN_DEFAULT);
	_exit(3);
}

static void test_kill_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t acknowledged[20] = { 0 }, total = 0;
	close_store(f);
	for (unsigned round = 0; round < 5; round++) {
		struct err err = { 0 };
		int fds[2], status;
		unsigned key;
		unsigned long long revision;
		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		if (pid == 0) {
			close(fds[0]);
			write_for_ever(f->dir, fds[1]);
		}
		close(fds[1]);
		FILE *in = fdopen(fds[0], "r");
		/* At least something is acknowledged before the kill. */
		for (unsigned i = 0; i < 100 * (round + 1); i++) {
			assert_int_equal(fscanf(in, "ns/k%u %llu\n", &key, &revision), 2);
			acknowledged[key] = revision;
			total++;
		}
		kill(pid, SIGKILL);
		while (fscanf(in, "ns/k%u %llu\n", &key, &revision) == 2)
			acknowledged[key] = revision;
		fclose(in);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(open_store(f, &err), 0);
		for (unsigned i = 0; i < 20; i++) {
			char text[32];
			snprintf(text, sizeof(text), "ns/k%u", i);
			const struct store_object *o = store_get(f->s, PODS, text);
			assert_true(!acknowledged[i] || (o && o->revision >= acknowledged[i]));
			assert_true(store_revision(f->s) >= acknowledged[i]);
		}
		close_store(f);
	}
	assert_true(total >= 1500);
}

/* In a mount namespace of its own: 1 MiB of tmpfs. Exits 0 when everything was as it should be, 77 when it may not mount. */
static void fill_disk(const char *dir)
{
	struct fixture f = { 0 };
	struct err err = { 0 };
	static char big[100 * 1024];
	unsigned written = 0;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=2m"))
		_exit(77);
	snprintf(f.dir, sizeof(f.dir), "%s", dir);
	uv_loop_init(&f.loop);
	if (open_store(&f, &err) != 0)
		_exit(1);
	memset(big, 'x', sizeof(big) - 1);
	for (unsigned i = 0; i < 100; i++) {
		char key[32], want[64];
		snprintf(key, sizeof(key), "ns/k%u", i);
		if (store_put(f.s, object(PODS, key, store_reserve(f.s), big), 0, answered, &f))
			_exit(2);
		run(&f);
		snprintf(want, sizeof(want), "=%s:%d ", key, -ENOSPC);
		if (strstr(f.log.data, want)) {
			/* Refused: not there, and nothing is pending for it. */
			if (store_get(f.s, PODS, key) || store_latest(f.s, PODS, key))
				_exit(3);
			break;
		}
		written++;
	}
	if (written < 2 || written == 100 || f.broken)
		_exit(4);
	close_store(&f);
	if (open_store(&f, &err) != 0)
		_exit(5);
	if (store_count(f.s, PODS) != written)
		_exit(6);
	close_store(&f);
	_exit(0);
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	int status;
	close_store(f);
	pid_t pid = fork();
	if (pid == 0)
		fill_disk(f->dir);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_visible_when_durable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch_sees_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order_and_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_commits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_encryption_sees_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
