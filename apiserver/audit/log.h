/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log's file: lines are gathered and written in batches on libuv's thread pool, so that no request waits for the disk. What
 * does not fit the buffer (a disk that is slower than the requests, or full) is dropped and counted.
 */
#ifndef KEELSON_APISERVER_AUDIT_LOG_H
#define KEELSON_APISERVER_AUDIT_LOG_H

#include <uv.h>

#include "base/err.h"
#include "base/str.h"

struct audit_log;
struct audit_log_options {
	const char *path;         /* "-": standard output, which is not rotated */
	uint64_t max_bytes;       /* of a file before it is renamed to NAME-TIME.EXT and a new one begun; 0: 100 MiB */
	unsigned max_backups;     /* renamed files that are kept; 0: all */
	unsigned max_age_days;    /* and for how long, by the time in the name; 0: for ever */
	size_t buffer_bytes;      /* 0: 16 MiB */
};
/* Opens (creating, appending; mode 0600). Own. */
struct audit_log *audit_log_open(uv_loop_t *loop, const struct audit_log_options *o, struct err *err);
/* Takes a line (with its newline) for writing; false: it did not fit and was counted in apiserver_audit_error_total. */
bool audit_log_add(struct audit_log *l, const char *line, size_t len);
/* Writes what is left, waiting for it, and closes; the loop has to run on for the timer to go. NULL is fine. */
struct audit_log *audit_log_close(struct audit_log *l);

#endif
