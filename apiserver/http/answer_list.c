// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Long lists: written piece by piece as their connection drains, and compressed piece by piece on the thread pool when the client takes
 * gzip, so that a list of any length holds one piece. Every form of JSON goes this way. The call is kept until the end: it counts as a
 * request in work, for at most --request-timeout.
 */
#include <string.h>
#include <zlib.h>

#include "apiserver/audit/audit.h"
#include "apiserver/http/answer.h"
#include "apiserver/http/call.h"
#include "apiserver/http/form.h"
#include "apiserver/http/status.h"
#include "apiserver/registry/registry.h"
#include "base/clock.h"

/* A list is not laid out for people beyond PRETTY_MAX_BYTES, and has no YAML beyond YAML_MAX_BYTES: those take the whole list as values in
 * memory. */
enum { LIST_PIECE_BYTES = 256 * 1024, PRETTY_MAX_BYTES = 4 << 20, YAML_MAX_BYTES = 16 << 20 };

struct list_job {
	struct call *call;        /* own */
	struct http_request *req; /* NULL: its peer is gone */
	struct watch_form form;
	struct store_object **objects;
	size_t count, sent;
	int64_t now_s;
	struct strbuf text;       /* the piece */
	bool gzip, working;
	z_stream z;               /* working: the thread pool's, with text and packed */
	uv_work_t work;
	uv_timer_t deadline;      /* its handle lives as long as the job */
	struct strbuf packed;
};

static void on_deadline_closed(uv_handle_t *h)
{
	free(h->data);
}

static void job_free(struct list_job *l)
{
	for (size_t i = l->sent; i < l->count; i++)
		store_object_unref(l->objects[i]);
	free(l->objects);
	if (l->gzip)
		deflateEnd(&l->z);
	strbuf_done(&l->text);
	strbuf_done(&l->packed);
	call_unref(l->call);
	if (l->deadline.data)
		uv_close((uv_handle_t *)&l->deadline, on_deadline_closed);
	else
		free(l);
}

static void on_closed(struct http_request *req, void *user)
{
	struct list_job *l = user;
	(void)req;
	l->req = NULL;
	if (!l->working)
		job_free(l);
}

/* Who reads too slowly must not keep the place of a request in work from others. */
static void on_deadline(uv_timer_t *t)
{
	struct list_job *l = t->data;
	if (l->req)
		http_abort(l->req);
}

static bool is_last(const struct list_job *l)
{
	return l->sent == l->count;
}

static void make_piece(struct list_job *l)
{
	while (l->sent < l->count && l->text.len < LIST_PIECE_BYTES) {
		struct store_object *o = l->objects[l->sent];
		if (l->sent++)
			strbuf_addc(&l->text, ',');
		form_list_item(&l->form, o, l->now_s, &l->text);
		store_object_unref(o);
	}
	if (is_last(l))
		strbuf_adds(&l->text, "]}\n");
}

static void next_piece(struct list_job *l);

static void on_drain(struct http_request *req, void *user)
{
	(void)req;
	next_piece(user);
}

static void write_piece(struct list_job *l, struct strbuf *piece)
{
	bool last = is_last(l);
	http_stream_write(l->req, piece->data, piece->len);
	strbuf_reset(piece);
	if (last)
		http_stream_end(l->req);
	else
		http_stream_on_drain(l->req, on_drain);
}

/* On the thread pool. */
static void pack(uv_work_t *work)
{
	struct list_job *l = work->data;
	l->z.next_in = (Bytef *)l->text.data;
	l->z.avail_in = (uInt)l->text.len;
	strbuf_reserve(&l->packed, deflateBound(&l->z, l->text.len) + 64);
	l->z.next_out = (Bytef *)l->packed.data;
	l->z.avail_out = (uInt)l->packed.cap;
	/* The room is enough for everything, so that one call takes all input. */
	deflate(&l->z, is_last(l) ? Z_FINISH : Z_SYNC_FLUSH);
	l->packed.len = l->packed.cap - l->z.avail_out;
}

static void packed(uv_work_t *work, int status)
{
	struct list_job *l = work->data;
	(void)status;
	l->working = false;
	strbuf_reset(&l->text);
	if (!l->req)
		job_free(l);
	else
		write_piece(l, &l->packed);
}

static void next_piece(struct list_job *l)
{
	make_piece(l);
	if (!l->gzip) {
		write_piece(l, &l->text);
		return;
	}
	l->work.data = l;
	l->working = uv_queue_work(l->call->g->loop, &l->work, pack, packed) == 0;
	if (!l->working)
		http_abort(l->req);
}

static void stream(struct call *c, struct list_job *l, size_t total, uint64_t revision, const char *token, int64_t remaining)
{
	struct http_field fields[ANSWER_MAX_FIELDS];
	size_t n = answer_fields(c, media_content_type(&c->out), fields);
	l->gzip = answer_accepts_gzip(c->req) && deflateInit2(&l->z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
	if (l->gzip) {
		fields[n++] = (struct http_field){ "Content-Encoding", "gzip" };
		fields[n++] = (struct http_field){ "Vary", "Accept-Encoding" };
	}
	l->req = TAKE(c->req);
	/* The request's reference of the call is the job's now. */
	l->call = c;
	answer_count_sized(c, 200, (int64_t)total);
	form_list_head(&l->form, revision, token, remaining, &l->text);
	http_stream_begin(l->req, 200, fields, n);
	http_set_user(l->req, l, on_closed);
	uv_timer_init(c->g->loop, &l->deadline);
	l->deadline.data = l;
	uv_timer_start(&l->deadline, on_deadline, c->g->options.request_timeout_ms, 0);
	next_piece(l);
}

void answer_list(struct call *c, struct store_object **objects, size_t count, uint64_t revision, const char *token, int64_t remaining)
{
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += objects[i]->json->len;
	if (total > PRETTY_MAX_BYTES)
		c->out.pretty = false;
	struct watch_form form = form_of(c->r, &c->out, &c->q);
	struct list_job *l = mem_new(struct list_job);
	*l = (struct list_job){ .form = form, .objects = objects, .count = count, .now_s = clock_wall_s() };
	audit_response_list(c, &form, objects, count, revision);
	if (c->req && form_is_streamed(&form) && total > LIST_PIECE_BYTES) {
		stream(c, l, total, revision, token, remaining);
		return;
	}
	l->call = call_ref(c);
	if (c->out.format == MEDIA_YAML && total > YAML_MAX_BYTES) {
		c->out.format = MEDIA_JSON;
		answer_status(c, status_new(413, "RequestEntityTooLarge",
					    "the list is too long for YAML (%zu bytes): ask for JSON, or for pages with limit", total));
	} else {
		answer_bytes(c, 200, media_content_type(&c->out), form_list(&form, objects, count, revision, token, remaining));
	}
	job_free(l);
}
