/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * YAML to JSON values and back, as sigs.k8s.io/yaml does it: plain scalars resolve by YAML 1.1 as goyaml v2 reads it
 * (yes/no/on/off are booleans, y/n are strings, 0o17 and 017 are numbers, timestamps stay strings), merge keys and
 * anchors work, keys become strings. Expansion is limited, so that a few bytes of anchors cannot become gigabytes.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <yaml.h>

#include "base/map.h"
#include "base/mem.h"
#include "kube/json.h"

enum { YAML_MAX_DEPTH = 512, YAML_MAX_NODES = 1000000 };

struct loader {
	yaml_parser_t parser;
	yaml_event_t event;   /* the current one, valid when has_event */
	bool has_event;
	struct map *anchors;  /* name -> struct anchor */
	size_t nodes, max_nodes; /* made in this stream, copies included */
	struct strlist *dup_lines; /* may be NULL */
	int depth, deepest;   /* deepest: the greatest depth seen below the node being read */
	struct err *err;
};
struct anchor {
	json_t *value;
	size_t nodes;
	int height;
};

static json_t *load_node(struct loader *l);

static void anchor_free(void *p)
{
	struct anchor *a = p;

	json_decref(a->value);
	free(a);
}

static void *fail(struct loader *l, size_t line, const char *what)
{
	err_set_api(l->err, 400, "BadRequest", "yaml: line %zu: %s", line + 1, what);
	return NULL;
}

static void drop_event(struct loader *l)
{
	if (l->has_event)
		yaml_event_delete(&l->event);
	l->has_event = false;
}

static bool next_event(struct loader *l)
{
	drop_event(l);
	if (!yaml_parser_parse(&l->parser, &l->event)) {
		const yaml_parser_t *p = &l->parser;

		if (p->error == YAML_READER_ERROR)
			err_set_api(l->err, 400, "BadRequest", "yaml: offset %zu: %s", p->problem_offset, p->problem);
		else
			fail(l, p->problem_mark.line, p->problem ? p->problem : "cannot parse");
		return false;
	}
	l->has_event = true;
	return true;
}

/* ---- scalars ---- */

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (str_eq(s, *words))
			return true;
	return false;
}

static json_t *resolve_int(const char *s)
{
	char text[72];
	size_t n = 0;
	bool negative = false;
	int base = 10;
	char *end;

	if (*s == '+' || *s == '-')
		negative = *s++ == '-';
	if (!isdigit((unsigned char)*s))
		return NULL;
	for (; *s; s++)
		if (*s != '_') {
			if (n + 1 >= sizeof(text) || !isalnum((unsigned char)*s))
				return NULL;
			text[n++] = *s;
		}
	text[n] = '\0';
	const char *t = text;

	if (text[0] == '0' && n > 1) {
		switch (text[1] | 0x20) {
		case 'x': base = 16; t += 2; break;
		case 'o': base = 8; t += 2; break;
		case 'b': base = 2; t += 2; break;
		default: base = 8; t += 1; break;
		}
	}
	if (!*t)
		return NULL;
	errno = 0;
	unsigned long long u = strtoull(t, &end, base);

	if (*end || errno)
		return NULL;
	if (u > (unsigned long long)INT64_MAX + negative)
		return negative ? NULL : json_real((double)u);
	return json_integer(negative ? (json_int_t)(0 - u) : (json_int_t)u);
}

/* ^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$ */
static bool looks_real(const char *s)
{
	size_t whole, part = 0;

	s += *s == '-' || *s == '+';
	whole = strspn(s, "0123456789");
	s += whole;
	if (*s == '.') {
		part = strspn(s + 1, "0123456789");
		s += 1 + part;
	}
	if (!whole && !part)
		return false;
	if (*s == 'e' || *s == 'E') {
		s += 1 + (s[1] == '-' || s[1] == '+');
		whole = strspn(s, "0123456789");
		if (!whole)
			return false;
		s += whole;
	}
	return !*s;
}

/* What an unquoted scalar means, NULL: a string. *ret_unsupported: a number that JSON does not have. */
static json_t *resolve_plain(const char *s, bool *ret_unsupported)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", NULL };
	static const char *const wild[] = { ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF",
					    "-.inf", "-.Inf", "-.INF", NULL };
	json_t *v;

	if (one_of(s, nulls))
		return json_null();
	if (one_of(s, trues))
		return json_true();
	if (one_of(s, falses))
		return json_false();
	if (one_of(s, wild)) {
		*ret_unsupported = true;
		return NULL;
	}
	v = resolve_int(s);
	if (!v && looks_real(s)) {
		double d = strtod(s, NULL);

		*ret_unsupported = !isfinite(d);
		v = isfinite(d) ? json_real(d) : NULL;
	}
	return v;
}

static json_t *load_scalar(struct loader *l)
{
	const char *s = (const char *)l->event.data.scalar.value, *tag = (const char *)l->event.data.scalar.tag;
	size_t len = l->event.data.scalar.length, line = l->event.start_mark.line;
	const char *kind = str_after(tag, "tag:yaml.org,2002:");
	bool unsupported = false;
	json_t *v = NULL;

	if (memchr(s, 0, len))
		return fail(l, line, "strings with the character U+0000 are not accepted");
	if (str_eq(kind, "binary")) {
		_cleanup_strbuf_ struct strbuf raw = { 0 };

		if (base64_decode(&raw, s, len) < 0)
			return fail(l, line, "!!binary value contains invalid base64 data");
		v = json_stringn(raw.data ? raw.data : "", raw.len);
		return v ? v : fail(l, line, "!!binary value is not text");
	}
	if ((!tag && l->event.data.scalar.plain_implicit) || (kind && !str_eq(kind, "str")))
		v = resolve_plain(s, &unsupported);
	if (unsupported)
		return fail(l, line, "json: unsupported value: not a finite number");
	if (kind && ((str_eq(kind, "int") && !json_is_integer(v)) || (str_eq(kind, "float") && !json_is_number(v)) ||
		     (str_eq(kind, "bool") && !json_is_boolean(v)) || (str_eq(kind, "null") && !json_is_null(v)))) {
		json_decref(v);
		return fail(l, line, "cannot decode a scalar as its explicit tag says");
	}
	return v ? v : json_stringn_nocheck(s, len);
}

/* ---- collections ---- */

static json_t *load_sequence(struct loader *l)
{
	_cleanup_json_ json_t *a = json_array();

	for (;;) {
		if (!next_event(l))
			return NULL;
		if (l->event.type == YAML_SEQUENCE_END_EVENT)
			return TAKE(a);
		json_t *v = load_node(l);

		if (!v)
			return NULL;
		json_array_append_new(a, v);
	}
}

/* A key as sigs.k8s.io/yaml turns it into a string; own, or NULL. */
static char *key_text(const json_t *k)
{
	struct strbuf b = { 0 };

	if (json_is_string(k))
		return mem_strdup(json_string_value(k));
	if (!json_is_boolean(k) && !json_is_number(k))
		return NULL;
	json_write(&b, k);
	return strbuf_take(&b);
}

/* "<<": keys that the mapping does not set itself; of several sources the first wins. */
static bool merge_into(struct loader *l, json_t *o, const json_t *source, size_t line)
{
	json_t *from = (json_t *)(uintptr_t)source, *v;
	const char *key;
	size_t i;

	if (json_is_array(source)) {
		json_array_foreach(from, i, v)
			if (!json_is_object(v) || !merge_into(l, o, v, line))
				return json_is_object(v) || fail(l, line, "map merge requires map or sequence of maps as the value");
		return true;
	}
	if (!json_is_object(source))
		return fail(l, line, "map merge requires map or sequence of maps as the value");
	json_object_foreach(from, key, v)
		if (!json_object_get(o, key))
			json_object_set(o, key, v);
	return true;
}

/* The key at the current event. *ret_merge: it is an unquoted "<<". */
static char *load_key(struct loader *l, bool *ret_merge)
{
	size_t line = l->event.start_mark.line;

	*ret_merge = l->event.type == YAML_SCALAR_EVENT && l->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		     !l->event.data.scalar.tag && str_eq((const char *)l->event.data.scalar.value, "<<");
	_cleanup_json_ json_t *k = load_node(l);

	if (!k)
		return NULL;
	char *text = key_text(k);

	return text ? text : fail(l, line, "unsupported map key: neither a string, a number nor a boolean");
}

/* Which line sets a key again, as goyaml says it. */
static void note_duplicate(struct loader *l, const char *key, size_t line)
{
	if (l->dup_lines && l->dup_lines->count < JSON_MAX_DUPLICATES)
		strlist_addf(l->dup_lines, "line %zu: key \"%.1000s\" already set in map", line + 1, key);
}

static json_t *load_mapping(struct loader *l)
{
	_cleanup_json_ json_t *o = json_object(), *merges = json_array();
	size_t line = l->event.start_mark.line, i;
	json_t *source;

	for (;;) {
		bool merge;

		if (!next_event(l))
			return NULL;
		if (l->event.type == YAML_MAPPING_END_EVENT)
			break;
		size_t key_line = l->event.start_mark.line;
		_cleanup_free_ char *key = load_key(l, &merge);

		if (key && !merge && json_object_get(o, key))
			note_duplicate(l, key, key_line);
		if (!key || !next_event(l))
			return NULL;
		json_t *v = load_node(l);

		if (!v)
			return NULL;
		if (merge)
			json_array_append_new(merges, v);
		else
			json_object_set_new_nocheck(o, key, v);
	}
	json_array_foreach(merges, i, source)
		if (!merge_into(l, o, source, line))
			return NULL;
	return TAKE(o);
}

static json_t *load_alias(struct loader *l)
{
	const char *name = (const char *)l->event.data.alias.anchor;
	size_t line = l->event.start_mark.line;
	struct anchor *a = map_get(l->anchors, name);

	if (!a) {
		_cleanup_free_ char *why = str_printf("unknown anchor '%s' referenced", name);

		return fail(l, line, why);
	}
	l->nodes += a->nodes;
	if (l->nodes > l->max_nodes)
		return fail(l, line, "document contains excessive aliasing");
	if (l->depth + a->height > YAML_MAX_DEPTH)
		return fail(l, line, "exceeded max depth");
	l->deepest = MAX(l->deepest, l->depth + a->height);
	return json_deep_copy(a->value);
}

/* The node that starts at the current event. */
static json_t *load_node(struct loader *l)
{
	size_t line = l->event.start_mark.line, before = l->nodes;
	int outer_deepest = l->deepest;
	const yaml_char_t *anchor = NULL;
	_cleanup_free_ char *name = NULL;
	json_t *v = NULL;

	if (++l->nodes > l->max_nodes)
		return fail(l, line, "document is too large");
	if (++l->depth > YAML_MAX_DEPTH)
		return fail(l, line, "exceeded max depth");
	l->deepest = l->depth;
	switch (l->event.type) {
	case YAML_ALIAS_EVENT: v = load_alias(l); break;
	case YAML_SCALAR_EVENT:
		anchor = l->event.data.scalar.anchor;
		name = mem_strdup((const char *)anchor);
		v = load_scalar(l);
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = l->event.data.sequence_start.anchor;
		name = mem_strdup((const char *)anchor);
		v = load_sequence(l);
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = l->event.data.mapping_start.anchor;
		name = mem_strdup((const char *)anchor);
		v = load_mapping(l);
		break;
	default: return fail(l, line, "unexpected event");
	}
	if (v && name) {
		struct anchor *a = mem_new(struct anchor);

		a->value = json_incref(v);
		a->nodes = l->nodes - before;
		a->height = l->deepest - l->depth;
		map_set(l->anchors, name, a);
	}
	l->deepest = MAX(l->deepest, outer_deepest);
	l->depth--;
	return v;
}

/* Reads documents into an array, only the first one when !all. Own, or NULL. */
static json_t *load_stream(struct loader *l, bool all)
{
	_cleanup_json_ json_t *docs = json_array();

	while (next_event(l)) {
		if (l->event.type == YAML_STREAM_END_EVENT)
			return TAKE(docs);
		if (l->event.type != YAML_DOCUMENT_START_EVENT)
			continue;
		map_clear(l->anchors);
		if (!next_event(l))
			return NULL;
		_cleanup_json_ json_t *v = load_node(l);

		if (!v)
			return NULL;
		if (!all || !json_is_null(v))
			json_array_append(docs, v);
		if (!all)
			return TAKE(docs);
	}
	return NULL;
}

static json_t *parse_stream(const char *s, size_t len, bool all, size_t max_nodes, struct strlist *dup_lines, struct err *err)
{
	struct loader l = { .anchors = map_new(anchor_free), .max_nodes = max_nodes, .dup_lines = dup_lines, .err = err };

	BUG_ON(!yaml_parser_initialize(&l.parser));
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)s, len);
	json_t *docs = load_stream(&l, all);

	drop_event(&l);
	yaml_parser_delete(&l.parser);
	map_free(l.anchors);
	return docs;
}

json_t *yaml_parse_all(const char *s, size_t len, struct err *err)
{
	return parse_stream(s, len, true, YAML_MAX_NODES, NULL, err);
}

static json_t *parse_first(const char *s, size_t len, size_t max_nodes, struct strlist *dup_lines, struct err *err)
{
	_cleanup_json_ json_t *docs = parse_stream(s, len, false, max_nodes, dup_lines, err);

	if (!docs)
		return NULL;
	return json_array_size(docs) ? json_incref(json_array_get(docs, 0)) : json_null();
}

json_t *yaml_parse(const char *s, size_t len, struct err *err)
{
	return parse_first(s, len, YAML_MAX_NODES, NULL, err);
}

json_t *yaml_parse_peer(const char *s, size_t len, struct err *err)
{
	return parse_first(s, len, JSON_PEER_VALUES, NULL, err);
}

json_t *yaml_parse_peer_strict(const char *s, size_t len, struct strlist *dup_lines, struct err *err)
{
	return parse_first(s, len, JSON_PEER_VALUES, dup_lines, err);
}

/* ---- writing ---- */

static int write_some(void *data, unsigned char *buffer, size_t size)
{
	strbuf_add(data, buffer, size);
	return 1;
}

/* Would a reader of YAML 1.1 or 1.2 take the plain text for something else than a string? */
static bool needs_quotes(const char *s)
{
	static const char *const words[] = { "y", "Y", "n", "N", "<<", "=", NULL };
	bool unsupported = false;
	json_t *v = resolve_plain(s, &unsupported);
	bool other = v || unsupported || one_of(s, words);
	size_t digits;

	json_decref(v);
	if (other)
		return true;
	/* Sexagesimal numbers and timestamps of YAML 1.1: "1:30", "2026-11-21". */
	s += *s == '-' || *s == '+';
	digits = strspn(s, "0123456789_");
	return digits && (s[digits] == ':' || (digits == 4 && s[digits] == '-')) &&
	       !s[strspn(s, "0123456789_-:.TtZz+ ")];
}

static void emit_string(yaml_emitter_t *e, const char *s, size_t len)
{
	yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
	yaml_event_t event;

	if (needs_quotes(s))
		style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	else if (memchr(s, '\n', len))
		style = YAML_LITERAL_SCALAR_STYLE;
	/* Text that is not UTF-8 has no YAML form. */
	if (!yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)s, (int)len, 1, 1, style))
		yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)"\xef\xbf\xbd", 3, 1, 1, style);
	yaml_emitter_emit(e, &event);
}

static void emit_plain(yaml_emitter_t *e, const json_t *v)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	yaml_event_t event;

	json_write(&b, v);
	yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)b.data, (int)b.len, 1, 1,
				     YAML_PLAIN_SCALAR_STYLE);
	yaml_emitter_emit(e, &event);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void emit_value(yaml_emitter_t *e, const json_t *v)
{
	json_t *self = (json_t *)(uintptr_t)v, *item;
	_cleanup_free_ const char **keys = NULL;
	yaml_event_t event;
	const char *key;
	size_t i, n = 0;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		keys = mem_new_n(const char *, json_object_size(v) + 1);
		json_object_foreach(self, key, item)
			keys[n++] = key;
		qsort(keys, n, sizeof(*keys), by_text);
		yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
						    n ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE);
		yaml_emitter_emit(e, &event);
		for (i = 0; i < n; i++) {
			emit_string(e, keys[i], strlen(keys[i]));
			emit_value(e, json_object_get(v, keys[i]));
		}
		yaml_mapping_end_event_initialize(&event);
		yaml_emitter_emit(e, &event);
		break;
	case JSON_ARRAY:
		yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
						     json_array_size(v) ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE);
		yaml_emitter_emit(e, &event);
		json_array_foreach(self, i, item)
			emit_value(e, item);
		yaml_sequence_end_event_initialize(&event);
		yaml_emitter_emit(e, &event);
		break;
	case JSON_STRING: emit_string(e, json_string_value(v), json_string_length(v)); break;
	default: emit_plain(e, v); break;
	}
}

void yaml_write(struct strbuf *out, const json_t *v)
{
	yaml_emitter_t e;
	yaml_event_t event;

	BUG_ON(!yaml_emitter_initialize(&e));
	yaml_emitter_set_output(&e, write_some, out);
	yaml_emitter_set_unicode(&e, 1);
	yaml_emitter_set_width(&e, -1);
	yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
	yaml_emitter_emit(&e, &event);
	yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1);
	yaml_emitter_emit(&e, &event);
	emit_value(&e, v);
	yaml_document_end_event_initialize(&event, 1);
	yaml_emitter_emit(&e, &event);
	yaml_stream_end_event_initialize(&event);
	yaml_emitter_emit(&e, &event);
	yaml_emitter_delete(&e);
}
