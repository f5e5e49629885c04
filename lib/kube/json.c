/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON text to jansson values and back, and paths into values. The reader is our own because what it must say is more
 * than jansson's does: Go's error texts, every duplicate key, integers kept exact, and Go's leniency with broken UTF-8
 * (replaced by U+FFFD). Strings never hold a NUL, so that C strings and JSON strings are the same everywhere.
 */
#include "kube/json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "base/mem.h"

enum { JSON_MAX_DEPTH = 512, JSON_MAX_NUMBER = 400, JSON_MAX_PATH = 1024, JSON_MAX_DUPLICATES_SEEN = 1000 };

/* Where the value being read stands, for duplicate keys. */
struct step {
	const struct step *up;
	const char *key; /* NULL: an index */
	size_t len, index;
};

struct reader {
	const char *start, *p, *end;
	struct strbuf text;        /* the string being read */
	struct strlist *dup_paths; /* may be NULL */
	const struct step *at;
	struct err *err;
	int depth;
	size_t values, max_values, duplicates_seen;
};

static json_t *read_value(struct reader *r);

static void where(const struct reader *r, unsigned *ret_line, unsigned *ret_column)
{
	const char *line_start = r->start;

	*ret_line = 1;
	for (const char *p = r->start; p < r->p; p++)
		if (*p == '\n') {
			(*ret_line)++;
			line_start = p + 1;
		}
	*ret_column = (unsigned)(r->p - line_start) + 1;
}

/* Says what is wrong at r->p: Go's words, then the place. */
static void *bad(struct reader *r, const char *context)
{
	unsigned line, column;

	where(r, &line, &column);
	if (r->p >= r->end) {
		err_set_api(r->err, 400, "BadRequest", "unexpected end of JSON input, line %u, column %u", line, column);
		return NULL;
	}
	unsigned char c = (unsigned char)*r->p;
	char shown[16];

	if (c == '\'' || c == '\\')
		snprintf(shown, sizeof(shown), "\\%c", c);
	else if (c < 0x20 || c >= 0x7f)
		snprintf(shown, sizeof(shown), "%s", c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : "");
	else
		snprintf(shown, sizeof(shown), "%c", c);
	if (!*shown)
		snprintf(shown, sizeof(shown), "\\x%02x", c);
	err_set_api(r->err, 400, "BadRequest", "invalid character '%s' %s, line %u, column %u", shown, context, line,
		    column);
	return NULL;
}

static void *refuse(struct reader *r, const char *what)
{
	unsigned line, column;

	where(r, &line, &column);
	err_set_api(r->err, 400, "BadRequest", "%s, line %u, column %u", what, line, column);
	return NULL;
}

static void skip_blanks(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
		r->p++;
}

static bool read_hex4(struct reader *r, uint32_t *ret)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++, r->p++) {
		if (r->p >= r->end || !isxdigit((unsigned char)*r->p)) {
			bad(r, "in \\u hexadecimal character escape");
			return false;
		}
		char c = (char)(*r->p | 0x20);

		v = v << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
	}
	*ret = v;
	return true;
}

static void add_utf8(struct strbuf *b, uint32_t c)
{
	char u[4];
	size_t n;

	if (c < 0x80) {
		u[0] = (char)c;
		n = 1;
	} else if (c < 0x800) {
		u[0] = (char)(0xc0 | c >> 6);
		u[1] = (char)(0x80 | (c & 0x3f));
		n = 2;
	} else if (c < 0x10000) {
		u[0] = (char)(0xe0 | c >> 12);
		u[1] = (char)(0x80 | (c >> 6 & 0x3f));
		u[2] = (char)(0x80 | (c & 0x3f));
		n = 3;
	} else {
		u[0] = (char)(0xf0 | c >> 18);
		u[1] = (char)(0x80 | (c >> 12 & 0x3f));
		u[2] = (char)(0x80 | (c >> 6 & 0x3f));
		u[3] = (char)(0x80 | (c & 0x3f));
		n = 4;
	}
	strbuf_add(b, u, n);
}

/* The length of the well-formed sequence at p (RFC 3629: no overlong forms, no surrogates), 0 when there is none. */
static size_t utf8_len(const char *p, const char *end)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t left = (size_t)(end - p);

	if (u[0] < 0x80)
		return 1;
	if (u[0] >= 0xc2 && u[0] <= 0xdf)
		return left >= 2 && (u[1] & 0xc0) == 0x80 ? 2 : 0;
	if (u[0] >= 0xe0 && u[0] <= 0xef) {
		if (left < 3 || (u[1] & 0xc0) != 0x80 || (u[2] & 0xc0) != 0x80)
			return 0;
		return (u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ? 0 : 3;
	}
	if (u[0] >= 0xf0 && u[0] <= 0xf4) {
		if (left < 4 || (u[1] & 0xc0) != 0x80 || (u[2] & 0xc0) != 0x80 || (u[3] & 0xc0) != 0x80)
			return 0;
		return (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f) ? 0 : 4;
	}
	return 0;
}

/* r->p stands behind the backslash. */
static bool read_escape(struct reader *r)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at = r->p < r->end && *r->p ? strchr(from, *r->p) : NULL;
	uint32_t c, low;

	if (at) {
		strbuf_addc(&r->text, to[at - from]);
		r->p++;
		return true;
	}
	if (r->p >= r->end || *r->p != 'u') {
		bad(r, "in string escape code");
		return false;
	}
	r->p++;
	if (!read_hex4(r, &c))
		return false;
	if (c == 0) {
		refuse(r, "strings with the character U+0000 are not accepted");
		return false;
	}
	if (c >= 0xd800 && c < 0xdc00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
		const char *back = r->p;

		r->p += 2;
		if (!read_hex4(r, &low))
			return false;
		if (low >= 0xdc00 && low < 0xe000) {
			add_utf8(&r->text, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
			return true;
		}
		r->p = back;
	}
	add_utf8(&r->text, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return true;
}

/* What needs a look inside a string: its end, escapes, control characters, and bytes of UTF-8 sequences. */
static const bool special[256] = { [0 ... 0x1f] = true, ['"'] = true, ['\\'] = true, [0x80 ... 0xff] = true };

/* r->p stands on the opening quote; the result is *ret_s, *ret_len: in the input or in r->text. */
static bool read_string(struct reader *r, const char **ret_s, size_t *ret_len)
{
	const char *run = ++r->p;
	bool copied = false;

	strbuf_reset(&r->text);
	for (;;) {
		while (r->p < r->end && !special[(unsigned char)*r->p])
			r->p++;
		if (r->p >= r->end) {
			bad(r, "in string literal");
			return false;
		}
		unsigned char c = (unsigned char)*r->p;

		if (c == '"') {
			break;
		} else if (c == '\\') {
			strbuf_add(&r->text, run, (size_t)(r->p - run));
			r->p++;
			if (!read_escape(r))
				return false;
			run = r->p;
			copied = true;
		} else if (c < 0x20) {
			bad(r, "in string literal");
			return false;
		} else {
			size_t n = utf8_len(r->p, r->end);

			if (n) {
				r->p += n;
				continue;
			}
			strbuf_add(&r->text, run, (size_t)(r->p - run));
			add_utf8(&r->text, 0xfffd);
			run = ++r->p;
			copied = true;
		}
	}
	if (copied) {
		strbuf_add(&r->text, run, (size_t)(r->p - run));
		*ret_s = r->text.data;
		*ret_len = r->text.len;
	} else {
		*ret_s = run;
		*ret_len = (size_t)(r->p - run);
	}
	r->p++;
	return true;
}

static bool digits(struct reader *r)
{
	if (r->p >= r->end || !isdigit((unsigned char)*r->p)) {
		bad(r, "in numeric literal");
		return false;
	}
	while (r->p < r->end && isdigit((unsigned char)*r->p))
		r->p++;
	return true;
}

static json_t *read_number(struct reader *r)
{
	const char *from = r->p;
	char text[JSON_MAX_NUMBER + 1];
	bool integer = true;
	int64_t i;

	if (*r->p == '-')
		r->p++;
	if (r->p < r->end && *r->p == '0')
		r->p++;
	else if (!digits(r))
		return NULL;
	if (r->p < r->end && *r->p == '.') {
		integer = false;
		r->p++;
		if (!digits(r))
			return NULL;
	}
	if (r->p < r->end && (*r->p | 0x20) == 'e') {
		integer = false;
		r->p++;
		if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
			r->p++;
		if (!digits(r))
			return NULL;
	}
	size_t n = (size_t)(r->p - from);

	if (n > JSON_MAX_NUMBER)
		return refuse(r, "number with too many digits");
	memcpy(text, from, n);
	text[n] = '\0';
	if (integer && str_to_i64(text, INT64_MIN, INT64_MAX, &i) == 0)
		return json_integer(i);
	double d = strtod(text, NULL);

	return isfinite(d) ? json_real(d) : refuse(r, "number out of the range of a double");
}

static json_t *read_literal(struct reader *r, const char *word, json_t *value)
{
	char context[64];

	for (const char *w = word; *w; w++, r->p++) {
		if (r->p < r->end && *r->p == *w)
			continue;
		snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word, *w);
		return bad(r, context);
	}
	return value;
}

/* The value at one more step of the path. */
static json_t *read_inside(struct reader *r, const char *key, size_t len, size_t index)
{
	struct step step = { r->at, key, len, index };
	json_t *v;

	r->at = &step;
	v = read_value(r);
	r->at = step.up;
	return v;
}

static json_t *read_array(struct reader *r)
{
	_cleanup_json_ json_t *a = json_array();

	r->p++;
	skip_blanks(r);
	if (r->p < r->end && *r->p == ']') {
		r->p++;
		return TAKE(a);
	}
	for (;;) {
		json_t *v = read_inside(r, NULL, 0, json_array_size(a));

		if (!v)
			return NULL;
		json_array_append_new(a, v);
		skip_blanks(r);
		if (r->p < r->end && *r->p == ']') {
			r->p++;
			return TAKE(a);
		}
		if (r->p >= r->end || *r->p != ',')
			return bad(r, "after array element");
		r->p++;
	}
}

static void write_step(struct strbuf *out, const struct step *step)
{
	if (!step)
		return;
	write_step(out, step->up);
	if (out->len > JSON_MAX_PATH)
		return;
	if (step->key)
		strbuf_addf(out, "%s%.*s", out->len ? "." : "", (int)MIN(step->len, (size_t)JSON_MAX_PATH), step->key);
	else
		strbuf_addf(out, "[%zu]", step->index);
}

static void note_duplicate(struct reader *r, const char *key, size_t len)
{
	_cleanup_strbuf_ struct strbuf path = { 0 };
	struct step step = { r->at, key, len, 0 };

	if (r->dup_paths->count == JSON_MAX_DUPLICATES || ++r->duplicates_seen > JSON_MAX_DUPLICATES_SEEN)
		return;
	write_step(&path, &step);
	if (!strlist_has(r->dup_paths, path.data))
		strlist_add(r->dup_paths, path.data);
}

/* One "key": value into o. */
static bool read_member(struct reader *r, json_t *o)
{
	const char *s;
	size_t n;

	skip_blanks(r);
	if (r->p >= r->end || *r->p != '"') {
		bad(r, "looking for beginning of object key string");
		return false;
	}
	if (!read_string(r, &s, &n))
		return false;
	/* What was unescaped stands in the reader's buffer, which the value will use. */
	_cleanup_free_ char *copy = s == r->text.data ? mem_strndup(s, n) : NULL;
	const char *key = copy ? copy : s;

	skip_blanks(r);
	if (r->p >= r->end || *r->p != ':') {
		bad(r, "after object key");
		return false;
	}
	r->p++;
	json_t *v = read_inside(r, key, n, 0);

	if (!v)
		return false;
	size_t before = json_object_size(o);

	json_object_setn_new_nocheck(o, key, n, v);
	if (r->dup_paths && json_object_size(o) == before)
		note_duplicate(r, key, n);
	return true;
}

static json_t *read_object(struct reader *r)
{
	_cleanup_json_ json_t *o = json_object();

	r->p++;
	skip_blanks(r);
	if (r->p < r->end && *r->p == '}') {
		r->p++;
		return TAKE(o);
	}
	for (;;) {
		if (!read_member(r, o))
			return NULL;
		skip_blanks(r);
		if (r->p < r->end && *r->p == '}') {
			r->p++;
			return TAKE(o);
		}
		if (r->p >= r->end || *r->p != ',')
			return bad(r, "after object key:value pair");
		r->p++;
	}
}

static json_t *read_value(struct reader *r)
{
	const char *s;
	size_t n;
	json_t *v;

	skip_blanks(r);
	if (r->p >= r->end)
		return bad(r, "");
	if (++r->values > r->max_values)
		return refuse(r, "the object has too many values");
	switch (*r->p) {
	case '{':
	case '[':
		if (++r->depth > JSON_MAX_DEPTH)
			return refuse(r, "exceeded max depth");
		v = *r->p == '{' ? read_object(r) : read_array(r);
		r->depth--;
		return v;
	case '"': return read_string(r, &s, &n) ? json_stringn_nocheck(s, n) : NULL;
	case 't': return read_literal(r, "true", json_true());
	case 'f': return read_literal(r, "false", json_false());
	case 'n': return read_literal(r, "null", json_null());
	default:
		if (*r->p == '-' || isdigit((unsigned char)*r->p))
			return read_number(r);
		return bad(r, "looking for beginning of value");
	}
}

static json_t *parse(const char *s, size_t len, size_t max_values, struct strlist *dup_paths, struct err *err)
{
	struct reader r = { .start = s, .p = s, .end = s + len, .dup_paths = dup_paths, .err = err,
		.max_values = max_values };
	_cleanup_json_ json_t *v = read_value(&r);

	strbuf_done(&r.text);
	if (!v)
		return NULL;
	skip_blanks(&r);
	if (r.p < r.end)
		return bad(&r, "after top-level value");
	return TAKE(v);
}

json_t *json_parse(const char *s, size_t len, struct strlist *dup_paths, struct err *err)
{
	return parse(s, len, SIZE_MAX, dup_paths, err);
}

json_t *json_parse_peer(const char *s, size_t len, struct strlist *dup_paths, struct err *err)
{
	return parse(s, len, JSON_PEER_VALUES, dup_paths, err);
}

json_t *json_or_yaml_parse(const char *s, size_t len, struct strlist *dup_paths, struct err *err)
{
	size_t i = 0;

	while (i < len && isspace((unsigned char)s[i]))
		i++;
	if (i < len && (s[i] == '{' || s[i] == '['))
		return json_parse_peer(s, len, dup_paths, err);
	return yaml_parse_peer(s, len, err);
}

/* As Go's encoding/json: integral values without a point, exponents below 1e-6 and from 1e21 on. */
static void write_real(struct strbuf *out, double d)
{
	char text[40];
	int precision = 15;

	if (d == floor(d) && fabs(d) < 1e21) {
		strbuf_addf(out, "%.0f", d);
		return;
	}
	do
		snprintf(text, sizeof(text), "%.*g", precision, d);
	while (strtod(text, NULL) != d && ++precision <= 17);
	strbuf_adds(out, text);
}

static void new_line(struct strbuf *out, int level)
{
	strbuf_addc(out, '\n');
	for (int i = 0; i < level; i++)
		strbuf_add(out, "  ", 2);
}

static void write_integer(struct strbuf *out, json_int_t value)
{
	char text[24], *p = text + sizeof(text);
	unsigned long long u = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;

	do
		*--p = (char)('0' + u % 10);
	while (u /= 10);
	if (value < 0)
		*--p = '-';
	strbuf_add(out, p, (size_t)(text + sizeof(text) - p));
}

/* level < 0: compact. */
static void write_value(struct strbuf *out, const json_t *v, int level)
{
	json_t *self = (json_t *)(uintptr_t)v, *e;
	int inner = level < 0 ? -1 : level + 1;
	bool first = true;
	size_t i;

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_NULL: strbuf_add(out, "null", 4); break;
	case JSON_TRUE: strbuf_add(out, "true", 4); break;
	case JSON_FALSE: strbuf_add(out, "false", 5); break;
	case JSON_INTEGER: write_integer(out, json_integer_value(v)); break;
	case JSON_REAL: write_real(out, json_real_value(v)); break;
	case JSON_STRING: strbuf_add_json(out, json_string_value(v), json_string_length(v)); break;
	case JSON_ARRAY:
		strbuf_addc(out, '[');
		json_array_foreach(self, i, e) {
			if (i)
				strbuf_addc(out, ',');
			if (level >= 0)
				new_line(out, inner);
			write_value(out, e, inner);
		}
		if (level >= 0 && json_array_size(v))
			new_line(out, level);
		strbuf_addc(out, ']');
		break;
	case JSON_OBJECT:
		strbuf_addc(out, '{');
		for (void *it = json_object_iter(self); it; it = json_object_iter_next(self, it)) {
			const char *key = json_object_iter_key(it);

			if (!first)
				strbuf_addc(out, ',');
			first = false;
			if (level >= 0)
				new_line(out, inner);
			strbuf_add_json(out, key, json_object_iter_key_len(it));
			strbuf_add(out, ": ", level < 0 ? 1 : 2);
			write_value(out, json_object_iter_value(it), inner);
		}
		if (level >= 0 && !first)
			new_line(out, level);
		strbuf_addc(out, '}');
		break;
	}
}

void json_write(struct strbuf *out, const json_t *v)
{
	write_value(out, v, -1);
}

void json_write_pretty(struct strbuf *out, const json_t *v)
{
	write_value(out, v, 0);
}

/* One step of a path at *path: fills key (len bytes) or index. False at the end or on a malformed path. */
static bool next_step(const char **path, const char **ret_key, size_t *ret_len, size_t *ret_index)
{
	const char *p = *path;

	if (*p == '.')
		p++;
	if (!*p)
		return false;
	*ret_key = NULL;
	if (*p == '[') {
		size_t n = 0;

		for (p++; isdigit((unsigned char)*p); p++)
			n = n * 10 + (size_t)(*p - '0');
		if (*p != ']')
			return false;
		*ret_index = n;
		*path = p + 1;
		return true;
	}
	*ret_key = p;
	*ret_len = strcspn(p, ".[");
	*path = p + *ret_len;
	return *ret_len > 0;
}

static json_t *get_n(const json_t *o, const char *key, size_t len)
{
	char small[128];

	if (!json_is_object(o))
		return NULL;
	if (len < sizeof(small)) {
		memcpy(small, key, len);
		small[len] = '\0';
		return json_object_get(o, small);
	}
	_cleanup_free_ char *k = mem_strndup(key, len);

	return json_object_get(o, k);
}

json_t *json_at(const json_t *v, const char *path)
{
	const char *key;
	size_t len, index;

	while (v && *path) {
		if (!next_step(&path, &key, &len, &index))
			return NULL;
		v = key ? get_n(v, key, len) : json_array_get(v, index);
	}
	return (json_t *)(uintptr_t)v;
}

const char *json_str(const json_t *v, const char *path)
{
	return json_string_value(json_at(v, path));
}

const char *json_str_or(const json_t *v, const char *path, const char *fallback)
{
	const char *s = json_str(v, path);

	return s ? s : fallback;
}

int64_t json_int(const json_t *v, const char *path, int64_t fallback)
{
	const json_t *x = json_at(v, path);

	if (json_is_integer(x))
		return json_integer_value(x);
	if (json_is_real(x)) {
		double d = json_real_value(x);

		if (d == floor(d) && d >= -0x1p63 && d < 0x1p63)
			return (int64_t)d;
	}
	return fallback;
}

bool json_bool(const json_t *v, const char *path, bool fallback)
{
	const json_t *x = json_at(v, path);

	return json_is_boolean(x) ? json_is_true(x) : fallback;
}

int json_set(json_t *v, const char *path, json_t *value)
{
	const char *key;
	size_t len, index;

	while (next_step(&path, &key, &len, &index) && key && json_is_object(v)) {
		_cleanup_free_ char *k = mem_strndup(key, len);

		if (!*path)
			return json_object_set_new_nocheck(v, k, value) == 0 ? 0 : -EINVAL;
		json_t *next = json_object_get(v, k);

		if (!next || json_is_null(next)) {
			next = json_object();
			json_object_set_new_nocheck(v, k, next);
		}
		v = next;
	}
	json_decref(value);
	return -EINVAL;
}

int json_set_str(json_t *v, const char *path, const char *s)
{
	if (s)
		return json_set(v, path, json_string_nocheck(s));
	json_unset(v, path);
	return 0;
}

void json_unset(json_t *v, const char *path)
{
	const char *key;
	size_t len, index;

	while (v && next_step(&path, &key, &len, &index)) {
		if (*path) {
			v = key ? get_n(v, key, len) : json_array_get(v, index);
		} else if (key && json_is_object(v)) {
			_cleanup_free_ char *k = mem_strndup(key, len);

			json_object_del(v, k);
			return;
		} else {
			if (!key && json_is_array(v))
				json_array_remove(v, index);
			return;
		}
	}
}

/* jansson's own looks for loops at every level, by printing addresses. Ours come from texts. */
json_t *json_clone(const json_t *v)
{
	json_t *self = (json_t *)(uintptr_t)v, *copy, *e;
	size_t i;

	if (json_is_object(v)) {
		copy = json_object();
		for (void *it = json_object_iter(self); it; it = json_object_iter_next(self, it))
			json_object_setn_new_nocheck(copy, json_object_iter_key(it), json_object_iter_key_len(it),
						     json_clone(json_object_iter_value(it)));
		return copy;
	}
	if (json_is_array(v)) {
		copy = json_array();
		json_array_foreach(self, i, e)
			json_array_append_new(copy, json_clone(e));
		return copy;
	}
	return v ? json_deep_copy(v) : NULL;
}

bool json_same(const json_t *a, const json_t *b)
{
	json_t *ao = (json_t *)(uintptr_t)a;

	if (a == b)
		return true;
	if (!a || !b)
		return false;
	if (json_is_number(a) && json_is_number(b)) {
		if (json_is_integer(a) && json_is_integer(b))
			return json_integer_value(a) == json_integer_value(b);
		return json_number_value(a) == json_number_value(b);
	}
	if (json_typeof(a) != json_typeof(b))
		return false;
	if (json_is_string(a))
		return json_string_length(a) == json_string_length(b) &&
		       memcmp(json_string_value(a), json_string_value(b), json_string_length(a)) == 0;
	if (json_is_array(a)) {
		if (json_array_size(a) != json_array_size(b))
			return false;
		for (size_t i = 0; i < json_array_size(a); i++)
			if (!json_same(json_array_get(a, i), json_array_get(b, i)))
				return false;
		return true;
	}
	if (json_is_object(a)) {
		if (json_object_size(a) != json_object_size(b))
			return false;
		for (void *it = json_object_iter(ao); it; it = json_object_iter_next(ao, it))
			if (!json_same(json_object_iter_value(it), json_object_get(b, json_object_iter_key(it))))
				return false;
	}
	return true;
}
