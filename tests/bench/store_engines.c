// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which embedded engine should the API server's store use? LMDB and SQLite (WAL, synchronous=FULL) under the
 * same load: transactions of BATCH puts of SIZE bytes (a group commit), each durable before the next, over KEYS
 * keys. The child prints the number of each acknowledged batch to a pipe; it is killed with SIGKILL and what it
 * acknowledged is looked for afterwards.
 *
 *   gcc -O2 -D_GNU_SOURCE -o store_engines tests/bench/store_engines.c -llmdb -lsqlite3 && ./store_engines DIR
 *
 * The choice and the numbers are in docs/decisions/store.md.
 */
#include <errno.h>
#include <lmdb.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 5000, SIZE = 3000 };

struct engine {
	const char *name;
	void (*open)(const char *dir);
	void (*commit)(uint64_t first, unsigned count); /* puts first..first+count-1, key = n % KEYS, value starts with n */
	uint64_t (*get)(uint64_t key);                  /* the number in the value */
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static char value[SIZE];
static void fill(uint64_t n)
{
	memcpy(value, &n, sizeof(n));
}

static MDB_env *env;
static MDB_dbi dbi;
static void check_lmdb(int rc, const char *what)
{
	if (rc)
		die(what, mdb_strerror(rc));
}
static void lmdb_open(const char *dir)
{
	MDB_txn *txn;
	check_lmdb(mdb_env_create(&env), "create");
	check_lmdb(mdb_env_set_mapsize(env, 1UL << 34), "mapsize");
	check_lmdb(mdb_env_open(env, dir, 0, 0600), "open");
	check_lmdb(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	check_lmdb(mdb_dbi_open(txn, NULL, 0, &dbi), "dbi");
	check_lmdb(mdb_txn_commit(txn), "commit");
}
static void lmdb_commit(uint64_t first, unsigned count)
{
	MDB_txn *txn;
	check_lmdb(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	for (uint64_t n = first; n < first + count; n++) {
		char key[64];
		fill(n);
		MDB_val k = { (size_t)snprintf(key, sizeof(key), "core/pods/default/web-%05lu", n % KEYS), key };
		MDB_val v = { SIZE, value };
		check_lmdb(mdb_put(txn, dbi, &k, &v, 0), "put");
	}
	check_lmdb(mdb_txn_commit(txn), "commit");
}
static uint64_t lmdb_get(uint64_t which)
{
	MDB_txn *txn;
	char key[64];
	MDB_val k = { (size_t)snprintf(key, sizeof(key), "core/pods/default/web-%05lu", which), key }, v;
	uint64_t n = 0;
	check_lmdb(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
	if (mdb_get(txn, dbi, &k, &v) == 0)
		memcpy(&n, v.mv_data, sizeof(n));
	mdb_txn_abort(txn);
	return n;
}

static sqlite3 *db;
static sqlite3_stmt *put, *get;
static void sql(const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		die(text, sqlite3_errmsg(db));
}
static void sqlite_open(const char *dir)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/db", dir);
	if (sqlite3_open(path, &db) != SQLITE_OK)
		die(path, sqlite3_errmsg(db));
	sql("PRAGMA journal_mode=WAL");
	sql("PRAGMA synchronous=FULL");
	sql("CREATE TABLE IF NOT EXISTS o(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID");
	sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO o VALUES(?,?)", -1, &put, NULL);
	sqlite3_prepare_v2(db, "SELECT v FROM o WHERE k=?", -1, &get, NULL);
}
static void sqlite_commit(uint64_t first, unsigned count)
{
	sql("BEGIN IMMEDIATE");
	for (uint64_t n = first; n < first + count; n++) {
		char key[64];
		int len = snprintf(key, sizeof(key), "core/pods/default/web-%05lu", n % KEYS);
		fill(n);
		sqlite3_bind_text(put, 1, key, len, SQLITE_STATIC);
		sqlite3_bind_blob(put, 2, value, SIZE, SQLITE_STATIC);
		if (sqlite3_step(put) != SQLITE_DONE)
			die("put", sqlite3_errmsg(db));
		sqlite3_reset(put);
	}
	sql("COMMIT");
}
static uint64_t sqlite_get(uint64_t which)
{
	char key[64];
	uint64_t n = 0;
	int len = snprintf(key, sizeof(key), "core/pods/default/web-%05lu", which);
	sqlite3_bind_text(get, 1, key, len, SQLITE_STATIC);
	if (sqlite3_step(get) == SQLITE_ROW)
		memcpy(&n, sqlite3_column_blob(get, 0), sizeof(n));
	sqlite3_reset(get);
	return n;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static long rss_kib(void)
{
	char line[256];
	long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmRSS: %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

/* Runs in a child: reports through the exit of the process and standard output. */
static void measure(const struct engine *e, const char *dir, unsigned batch, unsigned batches)
{
	double *t = calloc(batches, sizeof(*t)), start;
	e->open(dir);
	e->commit(0, KEYS);
	start = now();
	for (unsigned i = 0; i < batches; i++) {
		double b = now();
		e->commit(KEYS + (uint64_t)i * batch, batch);
		t[i] = now() - b;
	}
	start = now() - start;
	qsort(t, batches, sizeof(*t), by_value);
	printf("| %s | %u | %.0f | %.2f | %.2f | %.1f |\n", e->name, batch, batch * batches / start, t[batches / 2] * 1e3,
	       t[batches * 99 / 100] * 1e3, (double)rss_kib() / 1024);
	fflush(stdout);
	free(t);
}

static unsigned crash(const struct engine *e, const char *dir, unsigned batch, unsigned after_ms)
{
	int fds[2], status;
	uint64_t acked = 0, n;
	unsigned lost = 0;
	if (pipe(fds))
		die("pipe", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		e->open(dir);
		for (uint64_t i = 1;; i++) {
			e->commit(i * batch, batch);
			if (write(fds[1], &i, sizeof(i)) != sizeof(i))
				_exit(1);
		}
	}
	close(fds[1]);
	usleep(after_ms * 1000);
	kill(pid, SIGKILL);
	while (read(fds[0], &n, sizeof(n)) == sizeof(n))
		acked = n;
	close(fds[0]);
	waitpid(pid, &status, 0);
	pid = fork(); /* a process of its own opens what is left */
	if (pid == 0) {
		e->open(dir);
		uint64_t last = (acked + 1) * batch - 1;
		for (uint64_t i = last > KEYS ? last - KEYS + 1 : batch; acked && i <= last; i++)
			if (e->get(i % KEYS) < i)
				lost++;
		_exit(lost ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	return status != 0;
}

int main(int argc, char **argv)
{
	static const struct engine engines[] = {
		{ "LMDB", lmdb_open, lmdb_commit, lmdb_get },
		{ "SQLite WAL, FULL", sqlite_open, sqlite_commit, sqlite_get },
	};
	static const unsigned sizes[] = { 1, 10, 100 };
	if (argc != 2)
		die("usage", "store_engines DIR");
	memset(value, 'x', sizeof(value));
	printf("| engine | puts a commit | puts/s | commit p50 ms | p99 ms | RSS MiB |\n|---|---|---|---|---|---|\n");
	fflush(stdout);
	for (unsigned s = 0; s < 3; s++)
		for (unsigned i = 0; i < 2; i++) {
			char dir[4096];
			int status;
			snprintf(dir, sizeof(dir), "%s/%u-%u", argv[1], i, s);
			mkdir(dir, 0700);
			if (fork() == 0) {
				measure(&engines[i], dir, sizes[s], sizes[s] == 100 ? 100 : 300);
				_exit(0);
			}
			wait(&status);
		}
	for (unsigned i = 0; i < 2; i++) {
		unsigned bad = 0;
		for (unsigned round = 0; round < 10; round++) {
			char dir[4096];
			snprintf(dir, sizeof(dir), "%s/crash-%u-%u", argv[1], i, round);
			mkdir(dir, 0700);
			bad += crash(&engines[i], dir, 1 + round * 7, 100 + 37 * round);
		}
		printf("%s: 10 runs killed with SIGKILL, %u with an acknowledged put lost\n", engines[i].name, bad);
	}
	return 0;
}
