/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The embedded store is copied by SQLite in one read transaction, which writers do not wait for; etcd by its own program, which also
 * checks what it restores.
 */
#include "cli/store_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "kube/encryption.h"

extern char **environ;

/* As apiserver/store/engine.c has it: values begin with a head of 24 bytes. */
enum { STORE_FORMAT = 1, BUSY_MS = 10000, ANSWER_MAX_BYTES = 1 << 20 };
#define VALUE_START "25"

static int fail(sqlite3 *db, const char *path, struct err *err)
{
	return err_set(err, sqlite3_system_errno(db) ? sqlite3_system_errno(db) : EIO, "%s: %s", path, sqlite3_errmsg(db));
}

static sqlite3 *open_db(const char *path, struct err *err)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
		sqlite3_busy_timeout(db, BUSY_MS);
		return db;
	}
	fail(db, path, err);
	sqlite3_close(db);
	return NULL;
}

/* The first column of the first row; NULL in *ret without one. Own. */
static int one_text(sqlite3 *db, const char *path, const char *sql, char **ret, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = mem_strdup((const char *)sqlite3_column_text(st, 0));
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		rc = fail(db, path, err);
	else
		rc = 0;
	sqlite3_finalize(st);
	return rc;
}

/* Whole, of the format that is known, and at which revision. */
static int check_copy(sqlite3 *db, const char *path, uint64_t *ret_revision, struct err *err)
{
	_cleanup_free_ char *check = NULL, *format = NULL, *revision = NULL;
	int r = one_text(db, path, "PRAGMA quick_check(1)", &check, err);

	if (r == 0 && !str_eq(check, "ok"))
		r = err_set(err, EBADMSG, "%s is damaged: %s", path, check ? check : "SQLite does not say how");
	if (r == 0)
		r = one_text(db, path, "SELECT value FROM meta WHERE name = 'format'", &format, err);
	if (r == 0)
		r = one_text(db, path, "SELECT value FROM meta WHERE name = 'revision'", &revision, err);
	if (r == 0 && (!format || atoi(format) != STORE_FORMAT))
		r = err_set(err, EPROTO, "%s has the format %s, this program knows %d", path, format ? format : "(none)", STORE_FORMAT);
	if (r == 0 && (!revision || str_to_u64(revision, INT64_MAX, ret_revision) < 0))
		r = err_set(err, EPROTO, "%s has no revision", path);
	return r;
}

static bool has_key(const struct strlist *prefixes, const char *value, size_t len)
{
	for (size_t i = 0; i < prefixes->count; i++) {
		size_t n = strlen(prefixes->items[i]);

		if (n && n <= len && memcmp(value, prefixes->items[i], n) == 0)
			return true;
	}
	return false;
}

static int check_keys(sqlite3 *db, const char *path, const struct strlist *prefixes, struct err *err)
{
	static const char sql[] = "SELECT key, substr(value, " VALUE_START ", 512) FROM objects WHERE substr(value, " VALUE_START
				  ", 8) = CAST('" ENCRYPTION_PREFIX "' AS BLOB)";
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL), r = 0;

	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(st);
		if (rc != SQLITE_ROW || has_key(prefixes, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1)))
			continue;
		r = err_set(err, ENOKEY, "%s is encrypted in the store by a key that pki/encryption.yaml has not: a backup could not be read",
			    (const char *)sqlite3_column_text(st, 0));
		break;
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = fail(db, path, err);
	sqlite3_finalize(st);
	return r;
}

int store_copy_embedded(const char *from, const char *to, const struct strlist *prefixes, uint64_t *ret_revision, struct err *err)
{
	sqlite3 *db = open_db(from, err), *made;
	sqlite3_stmt *st = NULL;
	int rc, r = 0;

	if (!db)
		return -EIO;
	rc = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &st, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_bind_text(st, 1, to, -1, SQLITE_STATIC);
		rc = sqlite3_step(st);
	}
	if (rc != SQLITE_DONE)
		r = fail(db, from, err);
	sqlite3_finalize(st);
	sqlite3_close(db);
	if (r < 0)
		return r;
	made = open_db(to, err);
	r = made ? check_copy(made, to, ret_revision, err) : -EIO;
	if (r == 0)
		r = check_keys(made, to, prefixes, err);
	sqlite3_close(made);
	return r;
}

int store_bump_embedded(const char *path, uint64_t wanted_revision, struct err *err)
{
	sqlite3 *db = open_db(path, err);
	_cleanup_free_ char *sql = NULL;
	uint64_t revision = 0;
	int r = db ? check_copy(db, path, &revision, err) : -EIO;

	if (r == 0 && revision != wanted_revision)
		r = err_set(err, EBADMSG, "%s has the revision %llu, its manifest says %llu", path, (unsigned long long)revision,
			    (unsigned long long)wanted_revision);
	if (r == 0 && revision > INT64_MAX - STORE_REVISION_BUMP)
		r = err_set(err, ERANGE, "%s has the revision %llu, behind which there is no room", path, (unsigned long long)revision);
	sql = str_printf("PRAGMA synchronous=FULL; UPDATE meta SET value = value + %llu WHERE name = 'revision'", STORE_REVISION_BUMP);
	if (r == 0 && sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		r = fail(db, path, err);
	sqlite3_close(db);
	return r;
}

/* etcd */

/* Runs a program; what it writes is appended to out, both streams. */
static int run(const char *const *argv, struct strbuf *out, struct err *err)
{
	posix_spawn_file_actions_t io;
	int fds[2], status = -1;
	char buf[4096];
	pid_t pid;
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, errno, "cannot make a pipe: %s", strerror(errno));
	posix_spawn_file_actions_init(&io);
	posix_spawn_file_actions_adddup2(&io, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&io, fds[1], STDERR_FILENO);
	int r = posix_spawnp(&pid, argv[0], &io, NULL, (char *const *)argv, environ);

	posix_spawn_file_actions_destroy(&io);
	close(fds[1]);
	while (r == 0 && ((n = read(fds[0], buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0 && out->len + (size_t)n < ANSWER_MAX_BYTES)
			strbuf_add(out, buf, (size_t)n);
	close(fds[0]);
	if (r != 0)
		return err_set(err, r, "cannot run %s: %s", argv[0], strerror(r));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : err_set(err, EIO, "%s %s %s failed: %.*s", argv[0], argv[1], argv[2], (int)MIN(out->len, (size_t)500),
					 out->data ? out->data : "");
}

int store_copy_etcd(const struct cluster *c, const char *to, uint64_t *ret_revision, struct err *err)
{
	_cleanup_free_ char *ca = cluster_path(c, "pki/etcd-ca.crt"), *cert = cluster_path(c, "pki/apiserver-etcd-client.crt");
	_cleanup_free_ char *key = cluster_path(c, "pki/apiserver-etcd-client.key");
	const char *const save[] = { "etcdctl", "snapshot", "save", to, "--endpoints", "https://127.0.0.1:2379", "--cacert", ca, "--cert", cert,
				     "--key", key, NULL };
	const char *const status[] = { "etcdctl", "snapshot", "status", to, "-w", "json", NULL };
	_cleanup_strbuf_ struct strbuf said = { 0 }, told = { 0 };

	setenv("ETCDCTL_API", "3", 1);
	int r = run(save, &said, err);

	if (r == 0)
		r = run(status, &told, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *v = json_parse(told.data ? told.data : "", told.len, NULL, NULL);
	int64_t revision = json_int(v, "revision", 0);

	*ret_revision = (uint64_t)revision;
	return revision > 0 ? 0 : err_set(err, EIO, "etcdctl does not tell the revision of its snapshot");
}

int store_restore_etcd(const char *snapshot, const char *to, struct err *err)
{
	const char *const argv[] = { "etcdctl", "snapshot", "restore", snapshot, "--data-dir", to, "--name", "keelson", "--initial-cluster",
				     "keelson=https://127.0.0.1:2380", "--initial-advertise-peer-urls", "https://127.0.0.1:2380", NULL };
	_cleanup_strbuf_ struct strbuf said = { 0 };

	setenv("ETCDCTL_API", "3", 1);
	return run(argv, &said, err);
}
