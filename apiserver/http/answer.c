// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Answering calls: the headers every answer has, objects in the client's form, gzip for large bodies on the thread
 * pool, and the request metrics. What always holds: after an answer the call no longer knows its request.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "apiserver/audit/audit.h"
#include "apiserver/http/answer.h"
#include "apiserver/http/call.h"
#include "apiserver/http/form.h"
#include "apiserver/http/inflight.h"
#include "apiserver/http/status.h"
#include "apiserver/metrics/measure.h"
#include "apiserver/registry/registry.h"

enum { GZIP_MIN_BYTES = 128 * 1024 };

struct call *call_ref(struct call *c)
{
	c->refs++;
	return c;
}

void call_unref(struct call *c)
{
	if (--c->refs)
		return;
	inflight_end(c);
	measure_longrunning_end(c);
	audit_end(c);
	strlist_done(&c->warnings);
	arena_free(c->arena);
	free(c);
}

void call_warn(struct call *c, const char *fmt, ...)
{
	enum { MAX_WARNINGS = 12 };
	_cleanup_strbuf_ struct strbuf text = { 0 };
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	if (c->warnings.count < MAX_WARNINGS && !strlist_has(&c->warnings, text.data))
		strlist_add(&c->warnings, text.data);
}

/* All texts together may be this long; else each is cut to the second (upstream's limits). */
enum { WARNINGS_BYTES = 4096, WARNING_CUT_BYTES = 256 };

static size_t warning_limit(const struct strlist *warnings)
{
	size_t total = 0;
	for (size_t i = 0; i < warnings->count; i++)
		total += strlen(warnings->items[i]);
	return total > WARNINGS_BYTES ? WARNING_CUT_BYTES : WARNINGS_BYTES;
}

/* A Warning header's quoted text (RFC 7234 5.5): control characters would end the header. */
static const char *warning_value(struct call *c, const char *text, size_t limit)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t len = strlen(text);
	if (len > limit)
		for (len = limit; len && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
			; /* not inside a character */
	strbuf_adds(&b, "299 - \"");
	for (const char *end = text + len; text < end; text++) {
		if (*text == '"' || *text == '\\')
			strbuf_addc(&b, '\\');
		strbuf_addc(&b, (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
	}
	strbuf_addc(&b, '"');
	return arena_strdup(c->arena, b.data);
}

size_t answer_fields(struct call *c, const char *content_type, struct http_field *f)
{
	size_t n = 0;
	f[n++] = (struct http_field){ "Audit-Id", c->audit_id };
	f[n++] = (struct http_field){ "Cache-Control", "no-cache, private" };
	if (content_type)
		f[n++] = (struct http_field){ "Content-Type", content_type };
	size_t limit = warning_limit(&c->warnings);
	for (size_t i = 0; i < c->warnings.count && n < ANSWER_MAX_FIELDS - 4; i++)
		f[n++] = (struct http_field){ "Warning", warning_value(c, c->warnings.items[i], limit) };
	return n;
}

void answer_count_sized(struct call *c, int code, int64_t bytes)
{
	measure_request(c, code, bytes);
	audit_answered(c, code);
}

void answer_count(struct call *c, int code)
{
	answer_count_sized(c, code, -1);
}

/* The request is handed out for its answer of so many bytes; the call forgets it. NULL: nobody waits any more. */
static struct http_request *take_request(struct call *c, int code, int64_t bytes)
{
	struct http_request *req = TAKE(c->req);
	if (req)
		answer_count_sized(c, code, bytes);
	else
		audit_answered(c, code); /* what was done is noted although nobody hears of it */
	return req;
}

bool answer_accepts_gzip(const struct http_request *req)
{
	const char *accept = http_header(req, "Accept-Encoding");
	for (const char *p = accept; p && (p = strcasestr(p, "gzip")); p += 4) {
		const char *after = p + 4;
		while (*after == ' ')
			after++;
		if (*after == '\0' || *after == ',')
			return true;
		if (*after == ';' && !strstr(after, "q=0"))
			return true;
	}
	return false;
}

struct gzip_job {
	uv_work_t work;
	struct call *call;
	struct http_request *req;
	int code;
	const char *content_type;
	struct bytes *in, *out;
};

/* On the thread pool: touches nothing but its own bytes. */
static void gzip_work(uv_work_t *work)
{
	struct gzip_job *j = work->data;
	z_stream z = { 0 };
	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return;
	struct bytes *out = bytes_new_uninit(deflateBound(&z, j->in->len));
	z.next_in = (Bytef *)j->in->data;
	z.avail_in = j->in->len;
	z.next_out = (Bytef *)out->data;
	z.avail_out = out->len;
	if (deflate(&z, Z_FINISH) == Z_STREAM_END) {
		out->len = (uint32_t)z.total_out;
		j->out = out;
	} else {
		bytes_unref(out);
	}
	deflateEnd(&z);
}

static void send_bytes(struct call *c, struct http_request *req, int code, const char *content_type, bool gzipped,
		       struct bytes *body)
{
	struct http_field fields[ANSWER_MAX_FIELDS];
	size_t n = answer_fields(c, content_type, fields);
	if (gzipped) {
		fields[n++] = (struct http_field){ "Content-Encoding", "gzip" };
		fields[n++] = (struct http_field){ "Vary", "Accept-Encoding" };
	}
	http_respond_bytes(req, code, fields, n, body);
}

static void gzip_done(uv_work_t *work, int status)
{
	struct gzip_job *j = work->data;
	struct http_request *req = take_request(j->call, j->code, j->out ? j->out->len : j->in->len);
	(void)status;
	if (req)
		send_bytes(j->call, req, j->code, j->content_type, j->out != NULL, j->out ? j->out : j->in);
	call_unref(j->call);
	bytes_unref(j->in);
	bytes_unref(j->out);
	free(j);
}

void answer_bytes(struct call *c, int code, const char *content_type, struct bytes *body)
{
	if (c->req && body->len > GZIP_MIN_BYTES && answer_accepts_gzip(c->req)) {
		struct gzip_job *j = mem_new(struct gzip_job);
		*j = (struct gzip_job){ .call = call_ref(c), .code = code, .content_type = content_type, .in = body };
		j->work.data = j;
		if (uv_queue_work(c->g->loop, &j->work, gzip_work, gzip_done) == 0)
			return;
		call_unref(c);
		free(j);
	}
	struct http_request *req = take_request(c, code, body->len);
	if (req)
		send_bytes(c, req, code, content_type, false, body);
	bytes_unref(body);
}

void answer_value(struct call *c, int code, json_t *value)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_err_ struct err err = { 0 };
	struct media plain = { .format = c->out.format, .pretty = c->out.pretty };
	if (!form_value(plain.format, plain.pretty, value, &text, &err)) {
		/* Everything has a JSON form. */
		plain.format = MEDIA_JSON;
		strbuf_reset(&text);
		form_value(MEDIA_JSON, plain.pretty, value, &text, NULL);
	}
	audit_response_value(c, value);
	json_decref(value);
	if (plain.format == MEDIA_JSON)
		strbuf_addc(&text, '\n');
	answer_bytes(c, code, media_content_type(&plain), bytes_new(text.data, text.len));
}

void answer_status(struct call *c, json_t *status)
{
	int code = status_code(status);
	json_int_t retry = json_integer_value(json_object_get(json_object_get(status, "details"), "retryAfterSeconds"));
	if (retry > 0 && c->req) {
		audit_response_value(c, status);
		_cleanup_strbuf_ struct strbuf text = { 0 };
		struct http_field fields[ANSWER_MAX_FIELDS];
		json_write(&text, status);
		json_decref(status);
		struct http_request *req = take_request(c, code, (int64_t)text.len);
		char seconds[24];
		size_t n = answer_fields(c, "application/json", fields);
		snprintf(seconds, sizeof(seconds), "%" JSON_INTEGER_FORMAT, retry);
		fields[n++] = (struct http_field){ "Retry-After", seconds };
		http_respond(req, code, fields, n, text.data, text.len);
		return;
	}
	answer_value(c, code, status);
}

void answer_object(struct call *c, int code, struct store_object *o)
{
	struct watch_form form = form_of(c->r, &c->out, &c->q);
	struct bytes *body = form_object(&form, o, o->revision);
	audit_response_object(c, &form, o, c->out.format == MEDIA_JSON ? body : NULL);
	answer_bytes(c, code, media_content_type(&c->out), body);
}

void answer_text(struct call *c, int code, const char *content_type, const char *text)
{
	answer_bytes(c, code, content_type, bytes_new(text, strlen(text)));
}
