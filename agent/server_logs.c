/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GET /containerLogs: a container's log from its files, with following. One struct a request, freed when it closes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/logs.h"
#include "agent/pods.h"
#include "agent/server_parts.h"
#include "agent/spec.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kube/object.h"

enum { POLL_MS = 100, PIECE_BYTES = 256 << 10, QUEUE_BYTES = 1 << 20 };

struct log_stream {
	struct agent *agent;
	struct http_request *req;
	uv_timer_t *timer;
	struct logs_reader reader;
	char *path, *pod_uid, *container_id;
	bool follow, last_round, rotated;
};

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

static void on_close(struct http_request *req, void *user)
{
	struct log_stream *s = user;

	(void)req;
	uv_close((uv_handle_t *)s->timer, timer_closed);
	logs_reader_done(&s->reader);
	free(s->path);
	free(s->pod_uid);
	free(s->container_id);
	free(s);
}

static void pump(struct log_stream *s);

static void on_timer(uv_timer_t *t)
{
	pump(t->data);
}

static void on_drain(struct http_request *req, void *user)
{
	(void)req;
	pump(user);
}

static bool container_runs(const struct log_stream *s)
{
	struct pod *p;
	size_t it = 0;

	while ((p = pods_next(s->agent->pods, &it)))
		for (size_t i = 0; str_eq(p->uid, s->pod_uid) && p->seen && i < p->seen->container_count; i++)
			if (str_eq(p->seen->containers[i].id, s->container_id))
				return p->seen->containers[i].state == PLAN_RUNNING ||
				       p->seen->containers[i].state == PLAN_CREATED;
	return false;
}

/* The file was rotated: what stands under its name is another one. The old one is read to its end once more before,
 * since it was still written to after we had come to its end. True when there may be more to read. */
static bool follow_rotation(struct log_stream *s)
{
	struct stat now, had;
	int fd;

	if (stat(s->path, &now) < 0 || fstat(s->reader.fd, &had) < 0 || now.st_ino == had.st_ino)
		return false;
	s->rotated = !s->rotated;
	if (s->rotated)
		return true;
	fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	close(s->reader.fd);
	s->reader.fd = fd;
	return true;
}

static void pump(struct log_stream *s)
{
	int r = 1;

	while (r > 0) {
		_cleanup_strbuf_ struct strbuf out = { 0 };

		if (http_stream_queued(s->req) > QUEUE_BYTES) {
			http_stream_on_drain(s->req, on_drain);
			return;
		}
		r = logs_read(&s->reader, PIECE_BYTES, &out);
		if (out.len > 0)
			http_stream_write(s->req, out.data, out.len);
		if (r == 0 && s->follow && !s->reader.full && follow_rotation(s))
			r = 1;
	}
	if (r < 0 || !s->follow || s->reader.full || s->last_round) {
		http_stream_end(s->req);
		return;
	}
	/* The runtime may write a little after it said that the container has ended: one more round. */
	s->last_round = !container_runs(s);
	uv_timer_start(s->timer, on_timer, POLL_MS, 0);
}

static int number_query(struct http_request *req, const char *name, int64_t *ret)
{
	_cleanup_free_ char *text = server_query(req, name);

	return text ? str_to_i64(text, 0, INT64_MAX / 2, ret) : 0;
}

static int parse_options(struct http_request *req, struct logs_options *o, char **ret_bad)
{
	_cleanup_free_ char *since_time = server_query(req, "sinceTime");
	int64_t since_s = -1;

	*o = (struct logs_options){ .tail_lines = -1, .limit_bytes = -1, .since_us = INT64_MIN };
	o->follow = server_query_bool(req, "follow");
	o->timestamps = server_query_bool(req, "timestamps");
	if (number_query(req, "tailLines", &o->tail_lines) < 0 || number_query(req, "limitBytes", &o->limit_bytes) < 0 ||
	    number_query(req, "sinceSeconds", &since_s) < 0) {
		*ret_bad = mem_strdup("tailLines, limitBytes and sinceSeconds are numbers of zero or more\n");
		return -EINVAL;
	}
	if (since_time && clock_parse_rfc3339(since_time, &o->since_us) < 0) {
		*ret_bad = mem_strdup("sinceTime is not a time of RFC 3339\n");
		return -EINVAL;
	}
	if (since_s >= 0)
		o->since_us = clock_wall_us() - since_s * 1000000;
	return 0;
}

static void refuse(struct http_request *req, int status, const char *fmt, ...) _printf_(3, 4);
static void refuse(struct http_request *req, int status, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	server_text(req, status, text.data);
}

/* The container whose log is wanted; NULL after refusing. */
static const struct observed_container *find(struct http_request *req, struct pod *p, const char *name, bool previous)
{
	const struct observed_container *c = observed_find(p->seen, name, previous ? 1 : 0);

	/* While the newest has not started yet, the one before it has the latest words. */
	if (!previous && c && c->state == PLAN_CREATED && observed_find(p->seen, name, 1))
		c = observed_find(p->seen, name, 1);
	if (c && !str_empty(c->log_path))
		return c;
	if (!spec_container(p->object, name)) {
		refuse(req, 404, "container \"%s\" not found in pod \"%s_%s\"", name, p->name, p->ns);
	} else if (previous) {
		refuse(req, 400, "previous terminated container \"%s\" in pod \"%s\" not found", name, p->name);
	} else {
		const char *reason = "ContainerCreating";

		for (size_t i = 0; i < p->count; i++)
			if (str_eq(p->containers[i].name, name) && p->containers[i].waiting_reason)
				reason = p->containers[i].waiting_reason;
		refuse(req, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", name, p->name, reason);
	}
	return NULL;
}

void server_logs(struct agent *a, struct http_request *req, const struct strlist *path)
{
	struct http_field f = { "Content-Type", "text/plain" };
	struct logs_options o;
	_cleanup_free_ char *bad = NULL, *stream = server_query(req, "stream");
	const struct observed_container *c;
	struct log_stream *s;
	struct pod *p;
	int r;

	if (path->count != 4 || !str_eq(http_method(req), "GET")) {
		server_text(req, path->count != 4 ? 404 : 405, "GET /containerLogs/NAMESPACE/POD/CONTAINER\n");
		return;
	}
	p = pods_find(a->pods, path->items[1], path->items[2]);
	if (!p) {
		refuse(req, 404, "pod \"%s\" does not exist\n", path->items[2]);
		return;
	}
	if (parse_options(req, &o, &bad) < 0) {
		server_text(req, 400, bad);
		return;
	}
	if (str_eq(stream, "Stdout"))
		o.stream = "stdout";
	else if (str_eq(stream, "Stderr"))
		o.stream = "stderr";
	c = find(req, p, path->items[3], server_query_bool(req, "previous"));
	if (!c)
		return;
	s = mem_new(struct log_stream);
	s->reader.fd = -1;
	r = logs_open(&s->reader, c->log_path, &o);
	if (r < 0) {
		refuse(req, r == -ENOENT ? 404 : 500, "the log of container \"%s\" cannot be read: %s\n", path->items[3],
		       strerror(-r));
		free(s);
		return;
	}
	s->agent = a;
	s->req = req;
	s->path = mem_strdup(c->log_path);
	s->pod_uid = mem_strdup(p->uid);
	s->container_id = mem_strdup(c->id);
	s->follow = o.follow;
	s->timer = mem_new(uv_timer_t);
	BUG_ON(uv_timer_init(&a->loop, s->timer) < 0);
	s->timer->data = s;
	http_set_user(req, s, on_close);
	http_stream_begin(req, 200, &f, 1);
	/* From the loop: a stream that ends at once would otherwise end inside its own beginning. */
	uv_timer_start(s->timer, on_timer, 0, 0);
}
