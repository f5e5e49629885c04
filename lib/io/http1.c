/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The HTTP/1.1 request reader: lines are collected and judged one by one, so that a wrong byte is refused as soon as its
 * line is complete and however the input is cut into pieces the result is the same. Always holds: text.len never
 * exceeds limits.max_head_bytes, the sum of body pieces never exceeds limits.max_body_bytes.
 */
#include "io/http1.h"

#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"

enum {
	CHUNK_LINE_MAX = 256, CHUNK_LINE_FREE = 32, TRAILER_LINE_MAX = 4096, OVERHEAD_MAX = 65536, METHOD_MAX = 32,
	LENGTH_DIGITS_MAX = 18, CHUNK_DIGITS_MAX = 15,
};

/* RFC 9110 section 5.6.2: tchar. */
static const bool tchar[256] = {
	['0' ... '9'] = true, ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['!'] = true, ['#'] = true, ['$'] = true,
	['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true, ['^'] = true,
	['_'] = true, ['`'] = true, ['|'] = true, ['~'] = true,
};
/* RFC 9110 section 5.5: field-vchar, SP and HTAB. */
static const bool vchar[256] = {
	['\t'] = true, [0x20 ... 0x7e] = true, [0x80 ... 0xff] = true,
};
/* What RFC 3986 lets stand in a path or query, plus what clients are known to send unescaped there. */
static const bool targetchar[256] = {
	[0x21 ... '#' - 1] = true, ['#' + 1 ... 0x7e] = true,
};
static const bool hostchar[256] = {
	['0' ... '9'] = true, ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['-'] = true, ['.'] = true, ['_'] = true,
	['~'] = true, ['%'] = true, [':'] = true, ['['] = true, [']'] = true, ['!'] = true, ['$'] = true, ['&'] = true,
	['\''] = true, ['('] = true, [')'] = true, ['*'] = true, ['+'] = true, [';'] = true, ['='] = true,
};

static bool all_of(const bool *table, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!table[(unsigned char)s[i]])
			return false;
	return true;
}

bool http1_target_ok(const char *s, size_t len)
{
	return (len == 1 && s[0] == '*') || (len > 0 && s[0] == '/' && all_of(targetchar, s, len));
}

bool http1_host_ok(const char *s, size_t len)
{
	return all_of(hostchar, s, len);
}

void http1_init(struct http1_reader *r, const struct http1_limits *limits)
{
	*r = (struct http1_reader){ .limits = *limits };
}

void http1_done(struct http1_reader *r)
{
	strbuf_done(&r->text);
	strbuf_done(&r->line);
	free(r->fields);
	r->fields = NULL;
}

bool http1_started(const struct http1_reader *r)
{
	return r->phase != HTTP1_REQUEST_LINE || r->text.len > 0 || r->skipped_blank;
}

static enum http1_event refuse(struct http1_reader *r, int status, const char *why)
{
	r->phase = HTTP1_FAILED;
	r->status = status;
	r->why = why;
	return HTTP1_REFUSED;
}

enum line_result { LINE_PART, LINE_WHOLE, LINE_LONG, LINE_BARE };

/* Appends input to `to` up to the end of a line. LINE_WHOLE: the line from `start` is complete and its CRLF replaced by
 * NULs that count in to->len. */
static enum line_result take_line(struct strbuf *to, size_t start, size_t max, const char **data, size_t *len)
{
	const char *nl = memchr(*data, '\n', *len);
	size_t n = nl ? (size_t)(nl - *data) + 1 : *len;

	if (n > max - to->len)
		return LINE_LONG;
	strbuf_add(to, *data, n);
	*data += n;
	*len -= n;
	if (!nl)
		return LINE_PART;
	if (to->len - start < 2 || to->data[to->len - 2] != '\r')
		return LINE_BARE;
	to->data[to->len - 2] = '\0';
	to->data[to->len - 1] = '\0';
	return LINE_WHOLE;
}

/* http://host[:port][/path]: the authority becomes the host, the rest the target (RFC 9112 section 3.2.2). */
static bool absolute_form(struct http1_reader *r, size_t *target, size_t *len)
{
	char *s = r->text.data + *target;
	size_t skip = strncasecmp(s, "http://", 7) == 0 ? 7 : strncasecmp(s, "https://", 8) == 0 ? 8 : 0;
	size_t host_len;

	if (!skip)
		return false;
	host_len = strcspn(s + skip, "/?");
	if (host_len == 0 || !http1_host_ok(s + skip, host_len))
		return false;
	/* One to the left, so that there is room for a NUL before the path's slash. */
	memmove(s + skip - 1, s + skip, host_len);
	s[skip - 1 + host_len] = '\0';
	r->authority = (uint32_t)(*target + skip - 1);
	*target += skip + host_len;
	*len -= skip + host_len;
	if (*len == 0 || s[skip + host_len] == '?') {
		/* No path: the byte before, now free, becomes the slash; the authority's NUL is one further left. */
		memmove(s + skip - 2, s + skip - 1, host_len + 1);
		r->authority--;
		(*target)--;
		(*len)++;
		r->text.data[*target] = '/';
	}
	return true;
}

static enum http1_event request_line(struct http1_reader *r)
{
	char *s = r->text.data;
	size_t end = r->text.len - 2, method_len, target, len;
	char *sp = memchr(s, ' ', end), *sp2, *q;

	if (!sp || sp == s || (method_len = (size_t)(sp - s)) > METHOD_MAX || !all_of(tchar, s, method_len))
		return refuse(r, 400, "malformed request line");
	target = method_len + 1;
	sp2 = memchr(s + target, ' ', end - target);
	if (!sp2)
		return refuse(r, 400, "malformed request line");
	len = (size_t)(sp2 - s) - target;
	if (end - (target + len + 1) != 8 || strncmp(sp2 + 1, "HTTP/", 5) != 0 || sp2[6] < '0' || sp2[6] > '9' ||
	    sp2[7] != '.' || sp2[8] < '0' || sp2[8] > '9')
		return refuse(r, 400, "malformed HTTP version");
	if (sp2[6] != '1' || sp2[8] > '1')
		return refuse(r, 505, "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here");
	r->http10 = sp2[8] == '0';
	*sp = '\0';
	*sp2 = '\0';
	if (strcmp(s, "CONNECT") == 0)
		return refuse(r, 501, "CONNECT is not implemented");
	if (s[target] != '/' && strcmp(s + target, "*") != 0 && !absolute_form(r, &target, &len))
		return refuse(r, 400, "malformed request target");
	if (!http1_target_ok(s + target, len))
		return refuse(r, 400, "malformed request target");
	r->method = 0;
	r->path = (uint32_t)target;
	q = strchr(s + target, '?');
	/* Behind the target stands a NUL: the empty query. */
	r->query = (uint32_t)(q ? (size_t)(q + 1 - s) : target + len);
	if (q)
		*q = '\0';
	r->phase = HTTP1_FIELDS;
	r->line_start = r->text.len;
	return HTTP1_MORE;
}

static bool token_is(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(s, word, len) == 0;
}

static void connection_field(struct http1_reader *r, const char *value)
{
	while (*value) {
		size_t len = strcspn(value, ",");
		size_t n = len;

		while (n > 0 && (*value == ' ' || *value == '\t'))
			value++, n--, len--;
		while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
			n--;
		if (token_is(value, n, "close"))
			r->saw_connection_close = true;
		else if (token_is(value, n, "keep-alive"))
			r->saw_keep_alive = true;
		value += len;
		if (*value == ',')
			value++;
	}
}

static enum http1_event length_field(struct http1_reader *r, const char *value)
{
	size_t n = strlen(value);

	if (r->has_length)
		return refuse(r, 400, "more than one Content-Length");
	if (n == 0 || n > LENGTH_DIGITS_MAX || strspn(value, "0123456789") != n)
		return refuse(r, 400, "malformed Content-Length");
	r->has_length = true;
	r->content_length = strtoull(value, NULL, 10);
	return HTTP1_MORE;
}

static enum http1_event known_field(struct http1_reader *r, const char *name, uint32_t value_at)
{
	const char *value = r->text.data + value_at;

	if (strcasecmp(name, "host") == 0) {
		if (r->saw_host)
			return refuse(r, 400, "more than one Host");
		if (!http1_host_ok(value, strlen(value)))
			return refuse(r, 400, "malformed Host");
		r->saw_host = true;
		r->host = (uint32_t)r->field_count;
	} else if (strcasecmp(name, "content-length") == 0) {
		return length_field(r, value);
	} else if (strcasecmp(name, "transfer-encoding") == 0) {
		if (r->saw_te)
			return refuse(r, 400, "more than one Transfer-Encoding");
		r->saw_te = true;
		if (strcasecmp(value, "chunked") != 0)
			return refuse(r, 501, "only the transfer coding chunked is understood");
		r->chunked = true;
	} else if (strcasecmp(name, "connection") == 0) {
		connection_field(r, value);
	} else if (strcasecmp(name, "expect") == 0) {
		if (strcasecmp(value, "100-continue") != 0)
			return refuse(r, 417, "the only expectation understood is 100-continue");
		r->expect_continue = true;
	}
	return HTTP1_MORE;
}

/* Checks name ":" OWS value OWS and cuts it with NULs. */
static const char *split_field(char *line, size_t len, char **ret_value)
{
	char *colon, *value, *end = line + len;

	if (line[0] == ' ' || line[0] == '\t')
		return "folded header field";
	colon = memchr(line, ':', len);
	if (!colon || colon == line || !all_of(tchar, line, (size_t)(colon - line)))
		return "malformed header field name";
	value = colon + 1;
	if (!all_of(vchar, value, (size_t)(end - value)))
		return "control character in a header field";
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*colon = '\0';
	*end = '\0';
	*ret_value = value;
	return NULL;
}

static enum http1_event field_line(struct http1_reader *r)
{
	char *line = r->text.data + r->line_start, *value;
	const char *why = split_field(line, r->text.len - 2 - r->line_start, &value);
	enum http1_event ev;

	if (why)
		return refuse(r, 400, why);
	if (r->field_count >= r->limits.max_fields)
		return refuse(r, 431, "too many header fields");
	ev = known_field(r, line, (uint32_t)(value - r->text.data));
	if (ev != HTTP1_MORE)
		return ev;
	MEM_GROW(r->fields, r->field_cap, r->field_count + 1);
	r->fields[r->field_count++] = (struct http1_field){
		.name = (uint32_t)r->line_start, .value = (uint32_t)(value - r->text.data),
	};
	r->line_start = r->text.len;
	return HTTP1_MORE;
}

/* The blank line was read: decides how the body is delimited (RFC 9112 section 6.3). */
static enum http1_event head_end(struct http1_reader *r)
{
	if (!r->saw_host && !r->http10)
		return refuse(r, 400, "missing Host");
	if (r->authority && r->saw_host)
		r->fields[r->host].value = r->authority;
	if (r->chunked && r->has_length)
		return refuse(r, 400, "both Content-Length and Transfer-Encoding");
	if (r->chunked && r->http10)
		return refuse(r, 400, "Transfer-Encoding in HTTP/1.0");
	if (r->content_length > r->limits.max_body_bytes)
		return refuse(r, 413, "request body is larger than the limit");
	r->keep_alive = !r->saw_connection_close && (!r->http10 || r->saw_keep_alive);
	if (r->http10)
		r->expect_continue = false;
	r->left = r->content_length;
	r->phase = r->chunked ? HTTP1_CHUNK_SIZE : HTTP1_LENGTH_BODY;
	return HTTP1_HEAD;
}

static enum http1_event head_lines(struct http1_reader *r, const char **data, size_t *len)
{
	while (*len > 0) {
		enum http1_event ev;

		/* Another protocol (TLS, say) is recognized by its first byte: its lines may never end. */
		if (r->text.len == 0 && !tchar[(unsigned char)**data] && **data != '\r')
			return refuse(r, 400, "malformed request line");
		switch (take_line(&r->text, r->line_start, r->limits.max_head_bytes, data, len)) {
		case LINE_PART:
			return HTTP1_MORE;
		case LINE_LONG:
			return refuse(r, 431, "request head is larger than the limit");
		case LINE_BARE:
			return refuse(r, 400, "line without CR");
		case LINE_WHOLE:
			break;
		}
		if (r->phase == HTTP1_FIELDS) {
			ev = r->text.len - r->line_start == 2 ? head_end(r) : field_line(r);
		} else if (r->text.len == 2 && !r->skipped_blank) {
			/* RFC 9112 section 2.2: one empty line before the request line is ignored. */
			r->skipped_blank = true;
			strbuf_reset(&r->text);
			ev = HTTP1_MORE;
		} else {
			ev = request_line(r);
		}
		if (ev != HTTP1_MORE)
			return ev;
	}
	return HTTP1_MORE;
}

/* The reader's own bytes in a chunked body (sizes, extensions, trailers) are limited as a sum, so that a body of
 * one-byte chunks with long extensions ends. */
static enum http1_event side_line(struct http1_reader *r, const char **data, size_t *len, bool *ret_whole)
{
	enum line_result lr = take_line(&r->line, 0, r->phase == HTTP1_TRAILERS ? TRAILER_LINE_MAX : CHUNK_LINE_MAX, data, len);

	*ret_whole = false;
	if (lr == LINE_BARE)
		return refuse(r, 400, "line without CR in a chunked body");
	if (lr == LINE_LONG)
		return refuse(r, 400, "line too long in a chunked body");
	*ret_whole = lr == LINE_WHOLE;
	if (*ret_whole && (r->phase == HTTP1_TRAILERS || r->line.len > CHUNK_LINE_FREE))
		r->overhead_bytes += r->line.len;
	if (r->overhead_bytes > OVERHEAD_MAX)
		return refuse(r, 400, "too many chunk extensions or trailers");
	return HTTP1_MORE;
}

static enum http1_event chunk_size(struct http1_reader *r)
{
	size_t len = r->line.len - 2, digits = strspn(r->line.data, "0123456789abcdefABCDEF");
	uint64_t size;

	if (digits == 0 || digits > CHUNK_DIGITS_MAX || !all_of(vchar, r->line.data, len) ||
	    (digits < len && r->line.data[digits] != ';'))
		return refuse(r, 400, "malformed chunk size");
	size = strtoull(r->line.data, NULL, 16);
	strbuf_reset(&r->line);
	if (size > r->limits.max_body_bytes - r->body_bytes)
		return refuse(r, 413, "request body is larger than the limit");
	r->left = size;
	r->phase = size ? HTTP1_CHUNK_DATA : HTTP1_TRAILERS;
	return HTTP1_MORE;
}

static enum http1_event body_data(struct http1_reader *r, const char **data, size_t *len, const char **ret_piece,
				  size_t *ret_len)
{
	size_t n = r->left < *len ? (size_t)r->left : *len;

	*ret_piece = *data;
	*ret_len = n;
	*data += n;
	*len -= n;
	r->left -= n;
	r->body_bytes += n;
	if (r->left == 0 && r->phase == HTTP1_CHUNK_DATA)
		r->phase = HTTP1_CHUNK_END;
	return HTTP1_BODY;
}

static enum http1_event chunk_end(struct http1_reader *r, const char **data, size_t *len)
{
	char want = r->line.len == 0 ? '\r' : '\n';

	if (**data != want)
		return refuse(r, 400, "chunk data is not followed by CRLF");
	strbuf_addc(&r->line, want);
	(*data)++;
	(*len)--;
	if (want == '\n') {
		strbuf_reset(&r->line);
		r->phase = HTTP1_CHUNK_SIZE;
	}
	return HTTP1_MORE;
}

/* Trailers are checked like fields and dropped (RFC 9112 section 7.1.2 allows that). */
static enum http1_event trailer(struct http1_reader *r)
{
	char *value;
	const char *why;

	if (r->line.len == 2) {
		r->phase = HTTP1_COMPLETE;
		return HTTP1_END;
	}
	why = split_field(r->line.data, r->line.len - 2, &value);
	if (why)
		return refuse(r, 400, why);
	strbuf_reset(&r->line);
	return HTTP1_MORE;
}

enum http1_event http1_next(struct http1_reader *r, const char **data, size_t *len, const char **ret_piece,
			    size_t *ret_len)
{
	if (r->phase == HTTP1_LENGTH_BODY && r->left == 0) {
		r->phase = HTTP1_COMPLETE;
		return HTTP1_END;
	}
	while (*len > 0) {
		enum http1_event ev = HTTP1_MORE;
		bool whole;

		switch (r->phase) {
		case HTTP1_REQUEST_LINE:
		case HTTP1_FIELDS:
			ev = head_lines(r, data, len);
			break;
		case HTTP1_LENGTH_BODY:
		case HTTP1_CHUNK_DATA:
			ev = body_data(r, data, len, ret_piece, ret_len);
			break;
		case HTTP1_CHUNK_END:
			ev = chunk_end(r, data, len);
			break;
		case HTTP1_CHUNK_SIZE:
		case HTTP1_TRAILERS:
			ev = side_line(r, data, len, &whole);
			if (ev == HTTP1_MORE && whole)
				ev = r->phase == HTTP1_TRAILERS ? trailer(r) : chunk_size(r);
			break;
		case HTTP1_COMPLETE:
			return HTTP1_END;
		case HTTP1_FAILED:
		case HTTP1_PHASE_MAX:
			return HTTP1_REFUSED;
		}
		if (ev != HTTP1_MORE)
			return ev;
	}
	return HTTP1_MORE;
}
