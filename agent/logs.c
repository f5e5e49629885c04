/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs: rotation by rename and ReopenContainerLog; reading forwards from a place found by counting lines backwards. */
#include "agent/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

enum { CHUNK_BYTES = 32 << 10, MAX_ENTRY_BYTES = 1 << 20 };

/* Rotation */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Keeps the newest LOGS_MAX_FILES - 1 rotated files "N.log.TIME". */
static void drop_old(const char *path)
{
	_cleanup_free_ char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
	const char *name = strrchr(path, '/') + 1;
	_cleanup_strlist_ struct strlist rotated = { 0 };
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		const char *rest = str_after(e->d_name, name);

		if (rest && *rest == '.')
			strlist_addf(&rotated, "%s/%s", dir, e->d_name);
	}
	if (d)
		closedir(d);
	if (rotated.count < LOGS_MAX_FILES)
		return;
	qsort(rotated.items, rotated.count, sizeof(*rotated.items), by_name);
	for (size_t i = 0; i + LOGS_MAX_FILES - 1 < rotated.count; i++)
		(void)unlink(rotated.items[i]);
}

struct rotation {
	char *path, *to;
};

static void on_reopened(const struct cri_result *r, void *user)
{
	struct rotation *t = user;

	if (!cri_ok(r)) {
		/* The runtime goes on writing to the old file: it gets its name back. */
		log_warn("the log %s cannot be reopened: %s", t->path, r->message);
		(void)renameat2(AT_FDCWD, t->to, AT_FDCWD, t->path, RENAME_NOREPLACE);
	} else {
		drop_old(t->path);
	}
	free(t->path);
	free(t->to);
	free(t);
}

void logs_rotate(struct agent *a, const char *container_id, const char *path)
{
	Cri__ReopenContainerLogRequest request = CRI__REOPEN_CONTAINER_LOG_REQUEST__INIT;
	struct rotation *t;
	struct stat st;
	char when[32];
	time_t now = time(NULL);
	struct tm tm;

	if (str_empty(path) || *path != '/' || stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < LOGS_MAX_BYTES)
		return;
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
	t = mem_new(struct rotation);
	t->path = mem_strdup(path);
	t->to = str_printf("%s.%s", path, when);
	if (rename(t->path, t->to) < 0) {
		log_warn("the log %s cannot be rotated: %s", path, strerror(errno));
		free(t->path);
		free(t->to);
		free(t);
		return;
	}
	request.container_id = (char *)container_id;
	cri_call(a->cri, CRI_REOPEN_CONTAINER_LOG, &request.base, 0, on_reopened, t);
}

/* Reading */

int logs_parse(const char *line, size_t len, struct logs_entry *ret)
{
	const char *end = line + len, *stream, *tag, *text;
	struct logs_entry e = { .time = line };
	char time_text[64];

	stream = memchr(line, ' ', len);
	if (!stream || (size_t)(stream - line) >= sizeof(time_text))
		return -EINVAL;
	e.time_len = (size_t)(stream - line);
	memcpy(time_text, line, e.time_len);
	time_text[e.time_len] = '\0';
	if (clock_parse_rfc3339(time_text, &e.time_us) < 0)
		return -EINVAL;
	stream++;
	tag = memchr(stream, ' ', (size_t)(end - stream));
	if (!tag || tag - stream != 6 || (memcmp(stream, "stdout", 6) != 0 && memcmp(stream, "stderr", 6) != 0))
		return -EINVAL;
	e.is_stderr = memcmp(stream, "stderr", 6) == 0;
	tag++;
	text = memchr(tag, ' ', (size_t)(end - tag));
	if (!text)
		text = end;
	/* Tags are separated by colons; only the first has a meaning. */
	e.partial = tag < end && *tag == 'P';
	if (!e.partial && !(tag < end && *tag == 'F'))
		return -EINVAL;
	e.text = text < end ? text + 1 : end;
	e.text_len = (size_t)(end - e.text);
	*ret = e;
	return 0;
}

/* The offset at which the last n complete lines (log lines, not entries) begin. */
static off_t find_tail(int fd, off_t size, int64_t lines)
{
	_cleanup_free_ char *buf = mem_alloc(CHUNK_BYTES);
	off_t at = size;
	int64_t found = 0;

	if (lines == 0)
		return size;
	while (at > 0) {
		size_t want = (size_t)MIN(at, (off_t)CHUNK_BYTES);
		ssize_t n;

		at -= (off_t)want;
		n = pread(fd, buf, want, at);
		if (n != (ssize_t)want)
			return at;
		for (size_t i = want; i-- > 0;) {
			/* The newline that ends the file ends the last line, it does not begin one. */
			if (buf[i] != '\n' || at + (off_t)i + 1 == size)
				continue;
			if (++found == lines)
				return at + (off_t)i + 1;
		}
	}
	return 0;
}

int logs_open(struct logs_reader *r, const char *path, const struct logs_options *o)
{
	struct stat st;

	r->o = *o;
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r->fd < 0)
		return -errno;
	if (fstat(r->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		int error = S_ISREG(st.st_mode) ? errno : EINVAL;

		close(r->fd);
		r->fd = -1;
		return -error;
	}
	if (o->tail_lines >= 0)
		(void)lseek(r->fd, find_tail(r->fd, st.st_size, o->tail_lines), SEEK_SET);
	return 0;
}

static void add_limited(struct logs_reader *r, struct strbuf *out, const char *s, size_t len)
{
	if (r->o.limit_bytes >= 0 && (int64_t)len > r->o.limit_bytes - r->written) {
		len = (size_t)(r->o.limit_bytes - r->written);
		r->full = true;
	}
	strbuf_add(out, s, len);
	r->written += (int64_t)len;
}

static void add_entry(struct logs_reader *r, const char *line, size_t len, struct strbuf *out)
{
	struct logs_entry e;

	if (r->full)
		return;
	if (logs_parse(line, len, &e) < 0)
		return; /* the runtime's file was cut by a crash: the rest is worth more than an error */
	if (!r->in_line)
		r->dropped = e.time_us < r->o.since_us ||
			     (r->o.stream && !str_eq(r->o.stream, e.is_stderr ? "stderr" : "stdout"));
	if (!r->dropped) {
		if (!r->in_line && r->o.timestamps) {
			add_limited(r, out, e.time, e.time_len);
			add_limited(r, out, " ", 1);
		}
		add_limited(r, out, e.text, e.text_len);
		if (!e.partial)
			add_limited(r, out, "\n", 1);
	}
	r->in_line = e.partial;
}

int logs_read(struct logs_reader *r, size_t max_bytes, struct strbuf *out)
{
	_cleanup_free_ char *buf = mem_alloc(CHUNK_BYTES);
	size_t start = out->len;

	while (!r->full && out->len - start < max_bytes) {
		ssize_t n = read(r->fd, buf, CHUNK_BYTES);
		char *p = buf, *newline;

		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		while ((newline = memchr(p, '\n', (size_t)(buf + n - p)))) {
			if (r->pending.len > 0) {
				strbuf_add(&r->pending, p, (size_t)(newline - p));
				add_entry(r, r->pending.data, r->pending.len, out);
				strbuf_reset(&r->pending);
			} else {
				add_entry(r, p, (size_t)(newline - p), out);
			}
			p = newline + 1;
		}
		if (r->pending.len + (size_t)(buf + n - p) > MAX_ENTRY_BYTES)
			strbuf_reset(&r->pending); /* not written by a runtime */
		else
			strbuf_add(&r->pending, p, (size_t)(buf + n - p));
	}
	return r->full ? 0 : 1;
}

void logs_reader_done(struct logs_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	strbuf_done(&r->pending);
}
