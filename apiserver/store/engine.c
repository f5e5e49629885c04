// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine on SQLite in WAL mode with synchronous=FULL: a commit is one transaction and one fsync of the log. What
 * always holds: the file is either as before a commit or as after it, kill -9 and power loss included. Why SQLite:
 * docs/decisions/store.md.
 */
#include "apiserver/store/engine.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { ENGINE_FORMAT = 1 };

struct engine {
	sqlite3 *db;
	sqlite3_stmt *put, *del, *revision, *begin, *commit, *rollback;
};

static int engine_err(struct engine *e, struct err *err, const char *what)
{
	int rc = sqlite3_errcode(e->db), sys = sqlite3_system_errno(e->db), code = EIO;
	if (rc == SQLITE_FULL || (rc == SQLITE_IOERR && (sys == ENOSPC || sys == EDQUOT)))
		code = ENOSPC;
	else if (rc == SQLITE_CANTOPEN && sys)
		code = sys;
	else if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
		code = EBUSY;
	return err_set(err, code, "%s: %s%s%s", what, sqlite3_errmsg(e->db), sys ? ": " : "", sys ? strerror(sys) : "");
}

static int run(struct engine *e, const char *sql, struct err *err)
{
	if (sqlite3_exec(e->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return engine_err(e, err, sql);
	return 0;
}

static int read_number(struct engine *e, const char *sql, int64_t *ret, struct err *err)
{
	sqlite3_stmt *st;
	int rc;
	if (sqlite3_prepare_v2(e->db, sql, -1, &st, NULL) != SQLITE_OK)
		return engine_err(e, err, "read the store");
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : engine_err(e, err, "read the store");
}

static int prepare_all(struct engine *e, struct err *err)
{
	const struct {
		sqlite3_stmt **st;
		const char *sql;
	} all[] = {
		{ &e->put, "INSERT INTO objects(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2" },
		{ &e->del, "DELETE FROM objects WHERE key = ?1" },
		{ &e->revision, "UPDATE meta SET value = ?1 WHERE name = 'revision'" },
		{ &e->begin, "BEGIN IMMEDIATE" },
		{ &e->commit, "COMMIT" },
		{ &e->rollback, "ROLLBACK" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (sqlite3_prepare_v3(e->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].st, NULL) != SQLITE_OK)
			return engine_err(e, err, "prepare the store");
	return 0;
}

static int setup(struct engine *e, struct err *err)
{
	int64_t format = 0;
	int rc = run(e, "PRAGMA journal_mode=WAL", err);
	if (!rc)
		rc = run(e, "PRAGMA synchronous=FULL", err);
	if (!rc)
		rc = run(e, "PRAGMA cache_size=-512", err); /* KiB: everything is read once and only written afterwards */
	if (!rc)
		rc = run(e, "PRAGMA journal_size_limit=8388608", err);
	if (!rc)
		rc = run(e,
			 "BEGIN IMMEDIATE;"
			 "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;"
			 "CREATE TABLE IF NOT EXISTS objects(key TEXT PRIMARY KEY, value BLOB NOT NULL);"
			 "INSERT OR IGNORE INTO meta VALUES('format', 1), ('revision', 0);"
			 "COMMIT", err);
	if (!rc)
		rc = read_number(e, "SELECT value FROM meta WHERE name = 'format'", &format, err);
	if (!rc && format != ENGINE_FORMAT)
		rc = err_set(err, EPROTO, "the store has format %lld, this program knows %d: it was written by another version",
			     (long long)format, ENGINE_FORMAT);
	return rc ? rc : prepare_all(e, err);
}

int engine_open(const char *dir, struct engine **ret, struct err *err)
{
	struct engine *e = mem_new(struct engine);
	_cleanup_free_ char *path = str_printf("%s/objects.db", dir);
	int rc = 0;
	if (sqlite3_open_v2(path, &e->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		rc = engine_err(e, err, path);
	if (!rc) {
		sqlite3_busy_timeout(e->db, 5000); /* somebody makes a copy with sqlite3 */
		rc = setup(e, err);
	}
	if (rc) {
		engine_close(e);
		return rc;
	}
	*ret = e;
	return 0;
}

struct engine *engine_close(struct engine *e)
{
	if (!e)
		return NULL;
	sqlite3_finalize(e->put);
	sqlite3_finalize(e->del);
	sqlite3_finalize(e->revision);
	sqlite3_finalize(e->begin);
	sqlite3_finalize(e->commit);
	sqlite3_finalize(e->rollback);
	sqlite3_close(e->db);
	free(e);
	return NULL;
}

int engine_load(struct engine *e, int (*each)(const char *key, size_t key_len, const void *value, size_t len, void *user),
		void *user, uint64_t *ret_revision, struct err *err)
{
	sqlite3_stmt *st;
	int64_t revision = 0;
	int rc = read_number(e, "SELECT value FROM meta WHERE name = 'revision'", &revision, err), stop = 0;
	if (rc)
		return rc;
	if (sqlite3_prepare_v2(e->db, "SELECT key, value FROM objects ORDER BY key", -1, &st, NULL) != SQLITE_OK)
		return engine_err(e, err, "read the store");
	while (!stop && (rc = sqlite3_step(st)) == SQLITE_ROW)
		stop = each((const char *)sqlite3_column_text(st, 0), (size_t)sqlite3_column_bytes(st, 0),
			    sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1), user);
	if (!stop && rc != SQLITE_DONE)
		stop = engine_err(e, err, "read the store");
	sqlite3_finalize(st);
	sqlite3_db_release_memory(e->db);
	if (stop)
		return stop;
	*ret_revision = (uint64_t)revision;
	return 0;
}

static int step(struct engine *e, sqlite3_stmt *st, struct err *err)
{
	int rc = sqlite3_step(st);
	if (rc != SQLITE_DONE)
		engine_err(e, err, "write to the store");
	sqlite3_reset(st);
	return rc == SQLITE_DONE ? 0 : -1;
}

static int apply(struct engine *e, const struct engine_op *op, struct err *err)
{
	sqlite3_stmt *st = op->head ? e->put : e->del;
	char *value = NULL;
	int rc;
	sqlite3_bind_text(st, 1, op->key, -1, SQLITE_STATIC);
	if (op->head) {
		value = mem_alloc(op->head_len + op->body_len);
		memcpy(value, op->head, op->head_len);
		memcpy(value + op->head_len, op->body, op->body_len);
		sqlite3_bind_blob64(st, 2, value, op->head_len + op->body_len, SQLITE_STATIC);
	}
	rc = step(e, st, err);
	sqlite3_clear_bindings(st);
	free(value);
	return rc;
}

int engine_commit(struct engine *e, const struct engine_op *ops, size_t count, uint64_t revision, struct err *err)
{
	struct err local = { 0 };
	int rc = step(e, e->begin, &local);
	for (size_t i = 0; i < count && !rc; i++)
		rc = apply(e, &ops[i], &local);
	if (!rc) {
		sqlite3_bind_int64(e->revision, 1, (sqlite3_int64)revision);
		rc = step(e, e->revision, &local);
	}
	if (!rc)
		rc = step(e, e->commit, &local);
	if (!rc)
		return 0;
	/* Some errors have rolled back already. */
	if (!sqlite3_get_autocommit(e->db) && step(e, e->rollback, NULL) != 0)
		local.code = EIO;
	rc = err_set(err, local.code, "%s", err_msg(&local));
	err_done(&local);
	return rc;
}

int engine_wipe_deleted(struct engine *e, struct err *err)
{
	return run(e, "PRAGMA secure_delete=ON", err);
}
