// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writing the audit log. What always holds: at most one batch is with the thread pool, and only it touches the file; lines gathered
 * meanwhile are the next batch. Renamed files are NAME-2006-01-02T15-04-05.000.EXT (UTC), as upstream's are.
 */
#include "apiserver/audit/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum { GATHER_MS = 20, WRITE_AT_BYTES = 256 << 10, PRUNE_EVERY_S = 3600, STAMP_LEN = 23 };
#define DEFAULT_MAX_BYTES (100ULL << 20)
#define DEFAULT_BUFFER_BYTES (16U << 20)

struct audit_log {
	uv_loop_t *loop;
	uv_timer_t timer;
	uv_work_t work;
	struct audit_log_options o;
	char *path;
	int fd;
	struct strbuf gathered, batch; /* batch belongs to the thread pool while writing */
	unsigned gathered_lines, batch_lines;
	bool writing, complained;
	/* The thread pool's (or nobody's). */
	uint64_t size;
	int64_t pruned_s;
	int failed;                    /* errno of the batch; 0 */
};

/* ---- on the thread pool */

static int open_file(struct audit_log *l)
{
	struct stat st;
	l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (l->fd < 0)
		return -errno;
	l->size = fstat(l->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	return 0;
}

/* "audit.log" is split into "DIR/", "audit" and ".log". */
struct name_parts {
	const char *base, *ext;
	int dir_len, stem_len;
};

static struct name_parts parts_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
	const char *ext = dot && dot != base ? dot : base + strlen(base);
	return (struct name_parts){ .base = base, .ext = ext, .dir_len = (int)(base - path), .stem_len = (int)(ext - base) };
}

static void stamp(int64_t wall_us, char out[static STAMP_LEN + 1])
{
	time_t s = (time_t)(wall_us / 1000000);
	struct tm tm;
	gmtime_r(&s, &tm);
	size_t n = strftime(out, STAMP_LEN + 1, "%Y-%m-%dT%H-%M-%S", &tm);
	snprintf(out + n, STAMP_LEN + 1 - n, ".%03d", (int)(wall_us / 1000 % 1000));
}

static bool is_stamp(const char *s)
{
	static const char shape[] = "0000-00-00T00-00-00.000";
	for (int i = 0; i < STAMP_LEN; i++)
		if (shape[i] == '0' ? s[i] < '0' || s[i] > '9' : s[i] != shape[i])
			return false;
	return true;
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(*(char *const *)b, *(char *const *)a);
}

/* Removes renamed files beyond the number and the age. */
static void prune(struct audit_log *l)
{
	const struct name_parts p = parts_of(l->path);
	_cleanup_free_ char *dir = p.dir_len ? mem_strndup(l->path, (size_t)p.dir_len) : mem_strdup(".");
	_cleanup_strlist_ struct strlist found = { 0 };
	char oldest[STAMP_LEN + 1] = "";
	struct dirent *e;
	DIR *d;
	l->pruned_s = clock_wall_s();
	if (!l->o.max_backups && !l->o.max_age_days)
		return;
	if (l->o.max_age_days)
		stamp((l->pruned_s - (int64_t)l->o.max_age_days * 86400) * 1000000, oldest);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		const char *n = e->d_name;
		if (strlen(n) == (size_t)p.stem_len + 1 + STAMP_LEN + strlen(p.ext) && strncmp(n, p.base, (size_t)p.stem_len) == 0 &&
		    n[p.stem_len] == '-' && is_stamp(n + p.stem_len + 1) && str_ends(n, p.ext))
			strlist_add(&found, n);
	}
	if (!d)
		return;
	if (found.count)
		qsort(found.items, found.count, sizeof(*found.items), newest_first);
	for (size_t i = 0; i < found.count; i++)
		if ((l->o.max_backups && i >= l->o.max_backups) ||
		    strncmp(found.items[i] + p.stem_len + 1, oldest, STAMP_LEN) < 0)
			unlinkat(dirfd(d), found.items[i], 0);
	closedir(d);
}

static int rotate(struct audit_log *l)
{
	const struct name_parts p = parts_of(l->path);
	int64_t now_us = clock_wall_us();
	char when[STAMP_LEN + 1];
	_cleanup_free_ char *to = NULL;
	do {
		free(to);
		stamp(now_us, when);
		to = str_printf("%.*s-%s%s", p.dir_len + p.stem_len, l->path, when, p.ext);
		now_us += 1000;
	} while (access(to, F_OK) == 0);
	if (rename(l->path, to) < 0)
		return -errno;
	close(l->fd);
	l->fd = -1;
	prune(l);
	return open_file(l);
}

static int write_all(struct audit_log *l, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(l->fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
		l->size += (uint64_t)n;
	}
	return 0;
}

/* As many whole lines as fit the file; at least one. */
static size_t lines_that_fit(const char *data, size_t len, uint64_t room)
{
	const char *end;
	if (len <= room)
		return len;
	end = room ? memrchr(data, '\n', (size_t)room) : NULL;
	if (!end)
		end = memchr(data, '\n', len);
	return end ? (size_t)(end - data) + 1 : len;
}

static int write_batch(struct audit_log *l)
{
	const char *data = l->batch.data;
	size_t len = l->batch.len;
	int rc = 0;
	bool rotates = !str_eq(l->path, "-");
	if (l->fd < 0)
		rc = open_file(l);
	if (rotates && clock_wall_s() - l->pruned_s >= PRUNE_EVERY_S)
		prune(l);
	while (!rc && len) {
		uint64_t room = !rotates ? UINT64_MAX : l->size < l->o.max_bytes ? l->o.max_bytes - l->size : 0;
		size_t n = lines_that_fit(data, len, room);
		if (n > room && l->size) {
			rc = rotate(l);
			/* A file that cannot be renamed goes on growing: nothing is lost for it. */
			if (rc && l->fd >= 0)
				rc = rotates = false;
		} else {
			rc = write_all(l, data, n);
			data += n;
			len -= n;
		}
	}
	return rc;
}

static void on_work(uv_work_t *work)
{
	struct audit_log *l = work->data;
	l->failed = write_batch(l);
}

/* ---- on the loop */

static void lost(unsigned lines)
{
	metrics_counter_add("apiserver_audit_error_total", "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.", "plugin=\"log\"", lines);
}

static void batch_done(struct audit_log *l)
{
	if (l->failed) {
		lost(l->batch_lines);
		if (!l->complained)
			log_warn("audit log %s: %s; what cannot be written is counted in apiserver_audit_error_total", l->path,
				 strerror(-l->failed));
	}
	l->complained = l->failed != 0;
	strbuf_reset(&l->batch);
	if (l->batch.cap > WRITE_AT_BYTES * 4)
		strbuf_done(&l->batch);
	l->writing = false;
}

static void begin_write(struct audit_log *l);

static void after_work(uv_work_t *work, int status)
{
	struct audit_log *l = work->data;
	(void)status;
	batch_done(l);
	if (l->gathered.len)
		begin_write(l);
}

static void take_batch(struct audit_log *l)
{
	struct strbuf empty = l->batch;
	l->batch = l->gathered;
	l->gathered = empty;
	l->batch_lines = l->gathered_lines;
	l->gathered_lines = 0;
	l->writing = true;
}

static void begin_write(struct audit_log *l)
{
	if (l->writing || !l->gathered.len)
		return;
	uv_timer_stop(&l->timer);
	take_batch(l);
	l->work.data = l;
	if (uv_queue_work(l->loop, &l->work, on_work, after_work) < 0) {
		l->failed = write_batch(l);
		batch_done(l);
	}
}

static void on_timer(uv_timer_t *t)
{
	begin_write(t->data);
}

struct audit_log *audit_log_open(uv_loop_t *loop, const struct audit_log_options *o, struct err *err)
{
	struct audit_log *l = mem_new(struct audit_log);
	int rc = 0;
	l->loop = loop;
	l->o = *o;
	l->path = mem_strdup(o->path);
	l->fd = -1;
	if (!l->o.max_bytes)
		l->o.max_bytes = DEFAULT_MAX_BYTES;
	if (!l->o.buffer_bytes)
		l->o.buffer_bytes = DEFAULT_BUFFER_BYTES;
	if (str_eq(l->path, "-")) {
		l->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		rc = l->fd < 0 ? -errno : 0;
	} else {
		rc = open_file(l);
	}
	if (rc) {
		err_set(err, -rc, "open --audit-log-path %s: %s", o->path, strerror(-rc));
		free(l->path);
		free(l);
		return NULL;
	}
	uv_timer_init(loop, &l->timer);
	l->timer.data = l;
	return l;
}

bool audit_log_add(struct audit_log *l, const char *line, size_t len)
{
	if (l->gathered.len + len > l->o.buffer_bytes) {
		lost(1);
		return false;
	}
	strbuf_add(&l->gathered, line, len);
	l->gathered_lines++;
	if (l->writing)
		return true;
	if (l->gathered.len >= WRITE_AT_BYTES)
		begin_write(l);
	else if (!uv_is_active((uv_handle_t *)&l->timer))
		uv_timer_start(&l->timer, on_timer, GATHER_MS, 0);
	return true;
}

static void on_timer_closed(uv_handle_t *h)
{
	struct audit_log *l = h->data;
	if (l->fd >= 0)
		close(l->fd);
	strbuf_done(&l->gathered);
	strbuf_done(&l->batch);
	free(l->path);
	free(l);
}

struct audit_log *audit_log_close(struct audit_log *l)
{
	if (!l)
		return NULL;
	begin_write(l);
	while (l->writing)
		uv_run(l->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&l->timer, on_timer_closed);
	return NULL;
}
