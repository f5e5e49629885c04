/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Container logs in the runtime's format, one line each: "TIME stdout|stderr F|P TEXT", P meaning that the line goes on
 * in the next entry. Rotation, and reading for `kubectl logs`.
 */
#ifndef KEELSON_AGENT_LOGS_H
#define KEELSON_AGENT_LOGS_H

#include "agent/agent.h"

enum { LOGS_MAX_BYTES = 10 << 20, LOGS_MAX_FILES = 5 };
/* Rotates a running container's log when it has grown beyond LOGS_MAX_BYTES and drops what is beyond LOGS_MAX_FILES.
 * path: the current file; NULL or missing is fine. */
void logs_rotate(struct agent *a, const char *container_id, const char *path);

/* Parses one entry (without its newline). text is borrowed from line. -EINVAL when it is not one. */
struct logs_entry {
	int64_t time_us;
	const char *time; /* as written, time_len bytes */
	size_t time_len;
	bool is_stderr, partial;
	const char *text;
	size_t text_len;
};
int logs_parse(const char *line, size_t len, struct logs_entry *ret);

struct logs_options {
	bool follow, timestamps;
	int64_t tail_lines;  /* -1: all */
	int64_t limit_bytes; /* -1: none */
	int64_t since_us;    /* wall clock; INT64_MIN: all */
	const char *stream;  /* "stdout", "stderr" or NULL for both */
};
/* Where reading has got to. Zero-initialize but for fd; logs_reader_done() closes. */
struct logs_reader {
	struct logs_options o;
	int fd;
	struct strbuf pending; /* an entry not yet complete */
	bool in_line;          /* the last entry was partial */
	bool dropped;          /* it is one that is not wanted */
	int64_t written;
	bool full;             /* limit_bytes is reached */
};
/* Opens the file and goes to where tail_lines begin. -errno. */
int logs_open(struct logs_reader *r, const char *path, const struct logs_options *o);
/* Appends what is there now, at most about max_bytes, to out. Returns 1 when there may be more at once, 0 at the end of
 * the file, -errno. */
int logs_read(struct logs_reader *r, size_t max_bytes, struct strbuf *out);
void logs_reader_done(struct logs_reader *r);

#endif
