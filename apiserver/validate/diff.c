/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A unified diff of one hunk: from the first line that differs to the last. That is linear in the values, which come
 * from a client, and exact where one place changed.
 */
#include "apiserver/validate/diff.h"

#include "apiserver/validate/validate_internal.h"

enum { DIFF_CONTEXT = 3, DIFF_MAX_LINES = 200 };

static void write_lines(struct strlist *lines, const json_t *v, int indent, const char *prefix, const char *suffix)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	size_t n = 0, count = json_is_array(v) ? json_array_size(v) : json_object_size(v);
	const char *key;
	json_t *child;
	size_t i;

	if (count == 0) {
		json_write(&text, v);
		strlist_addf(lines, "%*s%s%s%s", indent, "", prefix, text.data, suffix);
		return;
	}
	strlist_addf(lines, "%*s%s%s", indent, "", prefix, json_is_array(v) ? "[" : "{");
	json_array_foreach(v, i, child)
		write_lines(lines, child, indent + 1, "", ++n < count ? "," : "");
	json_object_foreach((json_t *)v, key, child) {
		strbuf_reset(&text);
		strbuf_add_json(&text, key, strlen(key));
		strbuf_adds(&text, ": ");
		write_lines(lines, child, indent + 1, text.data, ++n < count ? "," : "");
	}
	strlist_addf(lines, "%*s%s%s", indent, "", json_is_array(v) ? "]" : "}", suffix);
}

static void write_range(struct strbuf *out, const struct strlist *lines, size_t from, size_t to, char mark)
{
	for (size_t i = from; i < to; i++) {
		if (i - from >= DIFF_MAX_LINES) {
			strbuf_addf(out, "%c... (%zu more lines)\n", mark, to - i);
			return;
		}
		strbuf_addf(out, "%c%s\n", mark, lines->items[i]);
	}
}

/* Members in one order on both sides, so that only values differ. */
static json_t *sorted(const json_t *v)
{
	_cleanup_free_ char *text = json_dumps(v, JSON_SORT_KEYS | JSON_ENCODE_ANY);

	return text ? json_loads(text, JSON_DECODE_ANY, NULL) : json_null();
}

char *diff_text(const json_t *old, const json_t *now)
{
	_cleanup_json_ json_t *a = sorted(old), *b = sorted(now);
	_cleanup_strlist_ struct strlist was = {0}, is = {0};
	size_t head = 0, tail = 0, from, to_a, to_b;
	struct strbuf out = {0};

	write_lines(&was, a, 0, "", "");
	write_lines(&is, b, 0, "", "");
	while (head < was.count && head < is.count && strcmp(was.items[head], is.items[head]) == 0)
		head++;
	while (tail < was.count - head && tail < is.count - head &&
	       strcmp(was.items[was.count - 1 - tail], is.items[is.count - 1 - tail]) == 0)
		tail++;
	from = head > DIFF_CONTEXT ? head - DIFF_CONTEXT : 0;
	to_a = MIN(was.count, was.count - tail + DIFF_CONTEXT);
	to_b = MIN(is.count, is.count - tail + DIFF_CONTEXT);
	strbuf_addf(&out, "@@ -%zu,%zu +%zu,%zu @@\n", from + 1, to_a - from, from + 1, to_b - from);
	write_range(&out, &was, from, head, ' ');
	write_range(&out, &was, head, was.count - tail, '-');
	write_range(&out, &is, head, is.count - tail, '+');
	write_range(&out, &was, was.count - tail, to_a, ' ');
	return strbuf_take(&out);
}
