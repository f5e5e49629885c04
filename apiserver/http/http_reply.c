// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads a response line by line until the body starts. The agent is trusted as far as its certificate; sizes are bounded anyway. */
#include "apiserver/http/http_reply.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"

enum { MAX_LINE = 32 * 1024 };

static int status_line(struct http_reply *r, const char *line)
{
	if (!str_starts(line, "HTTP/1.") || strlen(line) < 12)
		return -EPROTO;
	r->status = atoi(line + 9);
	return r->status >= 100 && r->status <= 599 ? 0 : -EPROTO;
}

static int header_line(struct http_reply *r, const char *line)
{
	uint64_t n;
	if (strncasecmp(line, "content-length:", 15) == 0) {
		const char *v = line + 15 + strspn(line + 15, " \t");
		if (str_to_u64(v, INT64_MAX, &n) < 0)
			return -EPROTO;
		r->left = n;
		r->has_length = true;
	} else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
		r->chunked = strcasestr(line, "chunked") != NULL;
	}
	const char *colon = strchr(line, ':');
	if (r->on_header && colon) {
		_cleanup_free_ char *name = mem_strndup(line, (size_t)(colon - line));
		r->on_header(name, colon + 1 + strspn(colon + 1, " \t"), r->header_user);
	}
	return 0;
}

static void head_complete(struct http_reply *r)
{
	if (r->status < 200 && r->status != 101) {
		r->status = 0; /* an interim response: the real one follows */
		r->phase = REPLY_HEAD;
	} else if (r->no_body || r->status == 204 || r->status == 304) {
		r->phase = REPLY_DONE;
	} else if (r->chunked) {
		r->phase = REPLY_CHUNK_SIZE;
	} else if (r->has_length) {
		r->phase = r->left ? REPLY_LENGTH : REPLY_DONE;
	} else {
		r->phase = REPLY_UNTIL_CLOSE;
	}
}

static int one_line(struct http_reply *r, const char *line)
{
	char *end;
	switch (r->phase) {
	case REPLY_HEAD:
		if (!r->status)
			return status_line(r, line);
		if (*line)
			return header_line(r, line);
		head_complete(r);
		return 0;
	case REPLY_CHUNK_SIZE:
		errno = 0;
		r->left = strtoull(line, &end, 16);
		if (end == line || errno || (*end && *end != ';' && *end != ' '))
			return -EPROTO;
		r->phase = r->left ? REPLY_CHUNK_DATA : REPLY_TRAILERS;
		return 0;
	case REPLY_CHUNK_END:
		r->phase = REPLY_CHUNK_SIZE;
		return *line ? -EPROTO : 0;
	case REPLY_TRAILERS:
		if (!*line)
			r->phase = REPLY_DONE;
		return 0;
	default:
		return -EPROTO;
	}
}

/* Takes bytes up to the end of a line. */
static int take_line(struct http_reply *r, const char **data, size_t *len)
{
	const char *nl = memchr(*data, '\n', *len);
	size_t n = nl ? (size_t)(nl - *data) : *len;
	int rc;
	if (r->line.len + n > MAX_LINE)
		return -EPROTO;
	strbuf_add(&r->line, *data, n);
	*data += n + (nl ? 1 : 0);
	*len -= n + (nl ? 1 : 0);
	if (!nl)
		return 0;
	if (r->line.len && r->line.data[r->line.len - 1] == '\r')
		r->line.data[--r->line.len] = '\0';
	rc = one_line(r, r->line.data ? r->line.data : "");
	strbuf_reset(&r->line);
	return rc;
}

int http_reply_feed(struct http_reply *r, const char *data, size_t len, void (*on_body)(const char *data, size_t len, void *user),
		    void *user)
{
	while (len && r->phase != REPLY_DONE) {
		size_t n = len;
		if (r->phase != REPLY_LENGTH && r->phase != REPLY_UNTIL_CLOSE && r->phase != REPLY_CHUNK_DATA) {
			int rc = take_line(r, &data, &len);
			if (rc)
				return rc;
			continue;
		}
		if (r->phase != REPLY_UNTIL_CLOSE)
			n = (size_t)MIN(r->left, (uint64_t)len);
		on_body(data, n, user);
		data += n;
		len -= n;
		r->left -= r->phase == REPLY_UNTIL_CLOSE ? 0 : n;
		if (r->phase == REPLY_LENGTH && !r->left)
			r->phase = REPLY_DONE;
		else if (r->phase == REPLY_CHUNK_DATA && !r->left)
			r->phase = REPLY_CHUNK_END;
	}
	return 0;
}

void http_reply_done(struct http_reply *r)
{
	strbuf_done(&r->line);
}
