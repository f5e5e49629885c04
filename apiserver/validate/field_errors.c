/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Field errors as Kubernetes words them, and the 422 Status made of them. Every cause is kept, also when two read the
 * same; the message names each text once.
 */
#include "apiserver/validate/validate_internal.h"

#include <stdio.h>

#include "base/map.h"

void field_errors_done(struct field_errors *e)
{
	for (size_t i = 0; i < e->count; i++) {
		free(e->items[i].field);
		free(e->items[i].body);
	}
	free(e->items);
	*e = (struct field_errors){0};
}

/* A body of a few megabytes can be wrong in more places than anybody reads, and each error may quote much of it. */
enum { FIELD_ERRORS_MAX = 1000, FIELD_ERRORS_MAX_BYTES = 1024 * 1024 };

/* Asked before an error is put into words. */
bool fe_full(const struct field_errors *e)
{
	return e->count >= FIELD_ERRORS_MAX || e->bytes >= FIELD_ERRORS_MAX_BYTES;
}

static void add(struct field_errors *e, const char *reason, char *field, char *body)
{
	if (fe_full(e)) {
		free(field);
		free(body);
		return;
	}
	e->bytes += strlen(field) + strlen(body);
	MEM_GROW(e->items, e->cap, e->count + 1);
	e->items[e->count++] = (struct field_error){ .reason = reason, .field = field, .body = body };
}

void field_errors_add(struct field_errors *e, const char *reason, char *field, const char *fmt, ...)
{
	struct strbuf b = {0};
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	add(e, reason, field, strbuf_take(&b));
}

static void write_line(struct strbuf *out, const struct field_error *item)
{
	strbuf_addf(out, "%s: %s", item->field, item->body);
}

static void write_aggregate(struct strbuf *out, const struct field_errors *e)
{
	struct map *seen = map_new(NULL);
	_cleanup_strbuf_ struct strbuf all = {0}, line = {0};

	for (size_t i = 0; i < e->count; i++) {
		strbuf_reset(&line);
		write_line(&line, &e->items[i]);
		if (map_has(seen, line.data))
			continue;
		map_set(seen, line.data, seen);
		strbuf_addf(&all, "%s%s", all.len ? ", " : "", line.data);
	}
	strbuf_addf(out, map_count(seen) == 1 ? "%s" : "[%s]", all.data);
	map_free(seen);
}

json_t *field_errors_status(const struct field_errors *e, const char *group, const char *kind, const char *name)
{
	_cleanup_strbuf_ struct strbuf message = {0};
	json_t *causes = json_array(), *details = json_object();

	strbuf_addf(&message, "%s%s%s \"%s\" is invalid", kind, str_empty(group) ? "" : ".",
		    str_empty(group) ? "" : group, name ? name : "");
	if (e->count) {
		strbuf_adds(&message, ": ");
		write_aggregate(&message, e);
	}
	for (size_t i = 0; i < e->count; i++)
		json_array_append_new(causes, json_pack("{s:s, s:s, s:s}", "reason", e->items[i].reason, "message",
							e->items[i].body, "field", e->items[i].field));
	if (!str_empty(name))
		json_object_set_new(details, "name", json_string(name));
	if (!str_empty(group))
		json_object_set_new(details, "group", json_string(group));
	json_object_set_new(details, "kind", json_string(kind));
	if (e->count)
		json_object_set_new(details, "causes", causes);
	else
		json_decref(causes);
	return json_pack("{s:s, s:s, s:{}, s:s, s:s, s:s, s:o, s:i}", "kind", "Status", "apiVersion", "v1", "metadata",
			 "status", "Failure", "message", message.data, "reason", "Invalid", "details", details, "code",
			 422);
}

static void path_write(struct strbuf *out, const struct fpath *p)
{
	if (!p)
		return;
	path_write(out, p->parent);
	if (p->name)
		strbuf_addf(out, "%s%s", out->len ? "." : "", p->name);
	else if (p->key)
		strbuf_addf(out, "[%s]", p->key);
	else
		strbuf_addf(out, "[%zu]", p->index);
}

char *fpath_text(const struct fpath *p)
{
	struct strbuf b = {0};

	path_write(&b, p);
	if (b.len == 0)
		strbuf_adds(&b, "[]");
	return strbuf_take(&b);
}

/* The length of a valid UTF-8 sequence at s, and its code point. */
static size_t utf8_decode(const unsigned char *s, uint32_t *ret_rune)
{
	size_t len = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc0 ? 2 : 1;
	uint32_t rune = len == 1 ? *s : *s & (0xff >> (len + 1));

	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			*ret_rune = 0xfffd;
			return 1;
		}
		rune = rune << 6 | (s[i] & 0x3f);
	}
	*ret_rune = rune;
	return len;
}

static bool rune_printable(uint32_t r)
{
	return r >= 0xa1 && r != 0xad && !(r >= 0x2000 && r <= 0x200f) && !(r >= 0x2028 && r <= 0x202f) &&
	       !(r >= 0x205f && r <= 0x206f) && r != 0x3000 && !(r >= 0xd800 && r <= 0xf8ff) && r != 0xfeff &&
	       r != 0xfffe && r != 0xffff;
}

void go_quote(struct strbuf *out, const char *s)
{
	static const char escapes[] = "abtnvfr"; /* from '\a', 7 */
	const unsigned char *p = (const unsigned char *)s;

	strbuf_addc(out, '"');
	while (*p) {
		uint32_t rune;
		size_t len;

		if (*p < 0x80) {
			if (*p == '"' || *p == '\\')
				strbuf_addf(out, "\\%c", *p);
			else if (*p >= 7 && *p <= 13)
				strbuf_addf(out, "\\%c", escapes[*p - 7]);
			else if (*p < 0x20 || *p == 0x7f)
				strbuf_addf(out, "\\x%02x", *p);
			else
				strbuf_addc(out, (char)*p);
			p++;
			continue;
		}
		len = utf8_decode(p, &rune);
		if (rune_printable(rune))
			strbuf_add(out, p, len);
		else
			strbuf_addf(out, rune > 0xffff ? "\\U%08x" : "\\u%04x", rune);
		p += len;
	}
	strbuf_addc(out, '"');
}

void go_json(struct strbuf *out, const json_t *v)
{
	_cleanup_strbuf_ struct strbuf plain = {0};

	if (!v) {
		strbuf_adds(out, "null");
		return;
	}
	json_write(&plain, v);
	for (size_t i = 0; i < plain.len; i++) {
		char c = plain.data[i];

		if (c == '<' || c == '>' || c == '&')
			strbuf_addf(out, "\\u%04x", c);
		else
			strbuf_addc(out, c);
	}
}

/* "Invalid value: V: DETAIL" from a value already in words. */
static void invalid(struct field_errors *e, const struct fpath *p, const char *value, const char *fmt, va_list ap)
{
	struct strbuf b = {0};

	strbuf_addf(&b, "Invalid value: %s: ", value);
	strbuf_vaddf(&b, fmt, ap);
	add(e, "FieldValueInvalid", fpath_text(p), strbuf_take(&b));
}

void fe_required(struct field_errors *e, const struct fpath *p, const char *detail)
{
	if (fe_full(e))
		return;
	add(e, "FieldValueRequired", fpath_text(p),
	    detail ? str_printf("Required value: %s", detail) : mem_strdup("Required value"));
}

void fe_invalid(struct field_errors *e, const struct fpath *p, const char *v_str, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf value = {0};
	va_list ap;

	if (fe_full(e))
		return;
	go_quote(&value, v_str);
	va_start(ap, fmt);
	invalid(e, p, value.data, fmt, ap);
	va_end(ap);
}

void fe_invalid_int(struct field_errors *e, const struct fpath *p, int64_t v, const char *fmt, ...)
{
	char value[32];
	va_list ap;

	if (fe_full(e))
		return;
	snprintf(value, sizeof(value), "%lld", (long long)v);
	va_start(ap, fmt);
	invalid(e, p, value, fmt, ap);
	va_end(ap);
}

void fe_invalid_json(struct field_errors *e, const struct fpath *p, const json_t *v, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf value = {0};
	va_list ap;

	if (fe_full(e))
		return;
	go_json(&value, v);
	va_start(ap, fmt);
	invalid(e, p, value.data, fmt, ap);
	va_end(ap);
}

void fe_invalid_text(struct field_errors *e, const struct fpath *p, const char *v_text, const char *fmt, ...)
{
	va_list ap;

	if (fe_full(e))
		return;
	va_start(ap, fmt);
	invalid(e, p, v_text, fmt, ap);
	va_end(ap);
}

void fe_not_supported_text(struct field_errors *e, const struct fpath *p, const char *v_text,
			   const char *const *supported)
{
	struct strbuf b = {0};

	if (fe_full(e))
		return;
	strbuf_addf(&b, "Unsupported value: %s", v_text);
	for (size_t i = 0; supported[i]; i++)
		strbuf_addf(&b, "%s\"%s\"", i ? ", " : ": supported values: ", supported[i]);
	add(e, "FieldValueNotSupported", fpath_text(p), strbuf_take(&b));
}

void fe_not_supported(struct field_errors *e, const struct fpath *p, const char *v_str, const char *const *supported)
{
	_cleanup_strbuf_ struct strbuf value = {0};

	if (fe_full(e))
		return;
	go_quote(&value, v_str);
	fe_not_supported_text(e, p, value.data, supported);
}

void fe_duplicate_text(struct field_errors *e, const struct fpath *p, const char *v_text, const char *detail)
{
	field_errors_add(e, "FieldValueDuplicate", fpath_text(p), "Duplicate value: %s%s%s", v_text, detail ? ": " : "",
			 detail ? detail : "");
}

void fe_duplicate(struct field_errors *e, const struct fpath *p, const char *v_str)
{
	_cleanup_strbuf_ struct strbuf value = {0};

	if (fe_full(e))
		return;
	go_quote(&value, v_str);
	fe_duplicate_text(e, p, value.data, NULL);
}

void fe_not_found(struct field_errors *e, const struct fpath *p, const char *v_str, const char *detail)
{
	_cleanup_strbuf_ struct strbuf value = {0};

	if (fe_full(e))
		return;
	go_quote(&value, v_str);
	field_errors_add(e, "FieldValueNotFound", fpath_text(p), "Not found: %s%s%s", value.data, detail ? ": " : "",
			 detail ? detail : "");
}

void fe_forbidden(struct field_errors *e, const struct fpath *p, const char *fmt, ...)
{
	struct strbuf b = {0};
	va_list ap;

	if (fe_full(e))
		return;
	strbuf_adds(&b, "Forbidden: ");
	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	add(e, "FieldValueForbidden", fpath_text(p), strbuf_take(&b));
}

void fe_too_long(struct field_errors *e, const struct fpath *p, int max)
{
	field_errors_add(e, "FieldValueTooLong", fpath_text(p), "Too long: may not be more than %d byte%s", max,
			 max == 1 ? "" : "s");
}

void fe_too_many(struct field_errors *e, const struct fpath *p, size_t count, size_t max)
{
	field_errors_add(e, "FieldValueTooMany", fpath_text(p), "Too many: %zu: must have at most %zu item%s", count,
			 max, max == 1 ? "" : "s");
}
