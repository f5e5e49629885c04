/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values with a text form of their own (quantities, times, bytes) and the names that error texts carry. The texts of
 * refusals are those of Go's standard library and of apimachinery, because clients and their tests read them.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kube/codec_parts.h"
#include "kube/quantity.h"

static void path_write(struct strbuf *out, const struct codec_path *p, bool full)
{
	if (!p)
		return;
	path_write(out, p->up, full);
	if (p->name && (full || !p->map_key))
		strbuf_addf(out, "%s%s", out->len ? "." : "", p->name);
	else if (!p->name && full)
		strbuf_addf(out, "[%zu]", p->index);
}

char *codec_path_text(const struct codec_path *p, bool full)
{
	struct strbuf b = { 0 };

	path_write(&b, p, full);
	return strbuf_take(&b);
}

const char *codec_short_name(const struct schema_message *m)
{
	const char *dot = strrchr(m->name, '.');

	return dot ? dot + 1 : m->name;
}

static char *message_go_type(const struct schema_message *m)
{
	const char *dot = strrchr(m->name, '.');

	while (dot && dot > m->name && dot[-1] != '.')
		dot--;
	return mem_strdup(dot ? dot : m->name);
}

static char *element_go_type(const struct schema_field *f)
{
	static const char *const names[] = {
		[SCHEMA_STRING] = "string", [SCHEMA_BOOL] = "bool",	 [SCHEMA_INT32] = "int32",
		[SCHEMA_INT64] = "int64",   [SCHEMA_DOUBLE] = "float64", [SCHEMA_BYTES] = "[]uint8",
	};
	const char *go = schema_field_go_type(f);

	if (go && f->shape == SCHEMA_SINGLE)
		return mem_strdup(go);
	if (go && f->shape == SCHEMA_LIST && str_starts(go, "[]"))
		return mem_strdup(go + 2);
	if (go && f->shape == SCHEMA_MAP && str_starts(go, "map[") && strchr(go, ']'))
		return mem_strdup(strchr(go, ']') + 1);
	if (f->type <= SCHEMA_BYTES)
		return mem_strdup(names[f->type]);
	return message_go_type(f->message);
}

char *codec_go_type(const struct schema_field *f, bool element)
{
	const char *go = schema_field_go_type(f);

	if (element || f->shape == SCHEMA_SINGLE)
		return element_go_type(f);
	if (go)
		return mem_strdup(go);
	_cleanup_free_ char *of = element_go_type(f);

	return str_printf("%s%s",
			  f->shape == SCHEMA_LIST  ? "[]"
			  : f->shape == SCHEMA_MAP ? "map[string]"
						   : "map[string][]",
			  of);
}

enum codec_json_form codec_json_form_of(const struct schema_message *m)
{
	const char *s = codec_short_name(m);

	if (str_eq(s, "JSONSchemaPropsOrArray"))
		return CODEC_JSON_OR_ARRAY;
	if (str_eq(s, "JSONSchemaPropsOrBool"))
		return CODEC_JSON_OR_BOOL;
	if (str_eq(s, "JSONSchemaPropsOrStringArray"))
		return CODEC_JSON_OR_STRINGS;
	return CODEC_JSON_ANY;
}

bool codec_is_zero(const struct schema_field *f, const json_t *v, bool messages)
{
	if (json_is_array(v))
		return json_array_size(v) == 0;
	if (f->shape != SCHEMA_SINGLE)
		return json_is_object(v) && json_object_size(v) == 0;
	switch (f->type) {
	case SCHEMA_STRING:
	case SCHEMA_BYTES:
		return json_is_string(v) && json_string_length(v) == 0;
	case SCHEMA_BOOL:
		return json_is_false(v);
	case SCHEMA_INT32:
	case SCHEMA_INT64:
		return json_is_integer(v) && json_integer_value(v) == 0;
	case SCHEMA_DOUBLE:
		return json_is_number(v) && json_number_value(v) == 0;
	case SCHEMA_QUANTITY:
		return messages && json_is_string(v) && str_eq(json_string_value(v), "0");
	case SCHEMA_INT_OR_STRING:
		return messages && json_is_integer(v) && json_integer_value(v) == 0;
	case SCHEMA_MESSAGE:
		return messages && json_is_object(v) && json_object_size(v) == 0;
	default:
		return json_is_null(v);
	}
}

int codec_quantity(const char *s, struct strbuf *out, struct err *err)
{
	const char *start = s + strspn(s, " \t\r\n"), *p;
	size_t len = strlen(start), number;
	struct quantity q;
	char text[QUANTITY_TEXT_SIZE];

	while (len && strchr(" \t\r\n", start[len - 1]))
		len--;
	_cleanup_free_ char *trimmed = mem_strndup(start, len);

	if (quantity_parse(trimmed, &q) == 0) {
		quantity_format(&q, text);
		strbuf_adds(out, text);
		return 0;
	}
	p = trimmed + (*trimmed == '+' || *trimmed == '-');
	number = strspn(p, "0123456789.");
	p += number;
	p += strspn(p, "eEinumkKMGTP");
	p += *p == '+' || *p == '-';
	p += strspn(p, "0123456789");
	if (!number || *p)
		return err_set_api(err, 400, "BadRequest",
				   "quantities must match the regular expression "
				   "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	if (memchr(trimmed, '.', len) != memrchr(trimmed, '.', len) || str_eq(trimmed, ".") || number == len)
		return err_set_api(err, 400, "BadRequest", "unable to parse numeric part of quantity");
	return err_set_api(err, 400, "BadRequest", "unable to parse quantity's suffix");
}

static int cannot_parse(const char *value, const char *layout, const char *rest, const char *element, struct err *err)
{
	return err_set_api(err, 400, "BadRequest", "parsing time \"%s\" as \"%s\": cannot parse \"%s\" as \"%s\"",
			   value, layout, rest, element);
}

static bool in_range(const char *digits, unsigned min, unsigned max)
{
	unsigned v = (digits[0] - '0') * 10 + digits[1] - '0';

	return v >= min && v <= max;
}

/* Walks the layout as Go's time.Parse does and says what does not fit. -EINVAL, or 0 where Go would take it. */
static int go_time_check(const char *s, bool micro, struct err *err)
{
	static const struct {
		const char *element;
		unsigned digits, min, max; /* digits 0: a literal */
		const char *what;
	} steps[] = {
		{ "2006", 4, 0, 0, NULL },  { "-", 0, 0, 0, NULL },	  { "01", 2, 1, 12, "month" },
		{ "-", 0, 0, 0, NULL },	    { "02", 2, 1, 31, "day" },	  { "T", 0, 0, 0, NULL },
		{ "15", 2, 0, 23, "hour" }, { ":", 0, 0, 0, NULL },	  { "04", 2, 0, 59, "minute" },
		{ ":", 0, 0, 0, NULL },	    { "05", 2, 0, 59, "second" },
	};
	const char *layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00", *p = s;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		size_t n = steps[i].digits ? steps[i].digits : 1;

		if (steps[i].digits ? strspn(p, "0123456789") < n : *p != *steps[i].element)
			return cannot_parse(s, layout, p, steps[i].element, err);
		if (steps[i].what && !in_range(p, steps[i].min, steps[i].max))
			return err_set_api(err, 400, "BadRequest", "parsing time \"%s\": %s out of range", s,
					   steps[i].what);
		p += n;
	}
	if (micro && (*p != '.' || strspn(p + 1, "0123456789") < 6))
		return cannot_parse(s, layout, p, ".000000", err);
	if (micro)
		p += 7;
	else if (*p == '.' && isdigit((unsigned char)p[1]))
		p += 1 + strspn(p + 1, "0123456789");
	if (*p == 'Z')
		p++;
	else if ((*p == '+' || *p == '-') && strspn(p + 1, "0123456789") == 2 && p[3] == ':' &&
		 strspn(p + 4, "0123456789") >= 2)
		p += 6;
	else
		return cannot_parse(s, layout, p, "Z07:00", err);
	if (*p)
		return err_set_api(err, 400, "BadRequest", "parsing time \"%s\": extra text: \"%s\"", s, p);
	return 0;
}

int codec_time_format(int64_t seconds, int32_t nanos, bool micro, char out[static CODEC_TIME_SIZE])
{
	if (seconds < CODEC_MIN_TIME_S || seconds > CODEC_MAX_TIME_S || nanos < 0 || nanos > 999999999)
		return -ERANGE;
	if (micro)
		clock_format_rfc3339_micro(seconds * 1000000 + nanos / 1000, out);
	else
		clock_format_rfc3339(seconds, out);
	return 0;
}

int codec_time(const char *s, bool micro, char out[static CODEC_TIME_SIZE], struct err *err)
{
	int64_t us, seconds;
	int r = go_time_check(s, micro, err);

	if (r < 0)
		return r;
	if (clock_parse_rfc3339(s, &us) < 0)
		return err_set_api(err, 400, "BadRequest", "parsing time \"%s\": day out of range", s);
	seconds = us / 1000000 - (us % 1000000 < 0);
	if (codec_time_format(seconds, (us - seconds * 1000000) * 1000, micro, out) < 0)
		return err_set_api(err, 400, "BadRequest", "parsing time \"%s\": year outside of range [0,9999]", s);
	return 0;
}

static int base64_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Go's decoder: line breaks are skipped, padding is needed, spare bits are ignored. Its errors name a byte offset. */
static ssize_t base64_go(const char *s, size_t len, struct strbuf *raw)
{
	size_t i = 0, quantum = 0;
	uint32_t bits = 0;

	for (; i < len; i++) {
		int v = base64_value((unsigned char)s[i]);

		if (s[i] == '\n' || s[i] == '\r')
			continue;
		if (v < 0 && s[i] != '=')
			return i;
		if (s[i] == '=') {
			if (quantum < 2)
				return i;
			if (quantum == 2) {
				size_t at = i++;

				while (i < len && (s[i] == '\n' || s[i] == '\r'))
					i++;
				if (i == len)
					return len;
				if (s[i] != '=')
					return at;
			}
			for (i++; i < len && (s[i] == '\n' || s[i] == '\r'); i++)
				;
			if (i < len)
				return i;
			strbuf_addc(raw, quantum == 2 ? bits >> 4 : bits >> 10);
			if (quantum == 3)
				strbuf_addc(raw, bits >> 2);
			return -1;
		}
		bits = bits << 6 | (unsigned)v;
		if (++quantum == 4) {
			strbuf_addc(raw, bits >> 16);
			strbuf_addc(raw, bits >> 8);
			strbuf_addc(raw, bits);
			quantum = 0;
			bits = 0;
		}
	}
	return quantum ? (ssize_t)(len - quantum) : -1;
}

int codec_base64(const char *s, size_t len, struct strbuf *out, struct err *err)
{
	_cleanup_strbuf_ struct strbuf raw = { 0 };
	ssize_t bad = base64_go(s, len, &raw);

	if (bad >= 0)
		return err_set_api(err, 400, "BadRequest", "illegal base64 data at input byte %zd", bad);
	base64_encode(out, raw.data ? raw.data : "", raw.len);
	return 0;
}
