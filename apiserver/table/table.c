/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows and columns of server-side tables. Every row has a cell for every column of its kind: the server always writes
 * the wide form and the client hides what has priority 1. A kind without an entry gets its name and its creation time.
 */
#include "apiserver/table/table_internal.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kube/selector.h"

static const struct table_kind *find(const struct schema_resource *r)
{
	static const struct table_group *const groups[] = { &table_workloads, &table_core, &table_other };

	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (size_t i = 0; i < groups[g]->count; i++)
			if (strcmp(groups[g]->kinds[i].group, r->group) == 0 &&
			    strcmp(groups[g]->kinds[i].plural, r->plural) == 0)
				return &groups[g]->kinds[i];
	return NULL;
}

static const char *describe(const char *column)
{
	static const char *const texts[][2] = {
		{ "Name", "Name must be unique within a namespace. Is required when creating resources, although some "
			  "resources may "
			  "allow a client to request the generation of an appropriate name automatically. Name is "
			  "primarily intended "
			  "for creation idempotence and configuration definition. Cannot be updated. More info: "
			  "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names" },
		{ "Age",
		  "CreationTimestamp is a timestamp representing the server time when this object was created. It is "
		  "not "
		  "guaranteed to be set in happens-before order across separate operations. Clients may not set this "
		  "value. It "
		  "is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for "
		  "lists. More "
		  "info: "
		  "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata" },
	};

	if (strcmp(column, "Created At") == 0)
		column = "Age";
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (strcmp(texts[i][0], column) == 0)
			return texts[i][1];
	return column;
}

static void write_column(struct strbuf *out, const char *name, const char *type, bool wide)
{
	const char *description = describe(name);

	strbuf_adds(out, out->len > 1 ? ",{\"name\":" : "{\"name\":");
	strbuf_add_json(out, name, strlen(name));
	strbuf_addf(out, ",\"type\":\"%s\",\"format\":\"%s\",\"description\":", type ? type : "string",
		    strcmp(name, "Name") == 0 ? "name" : "");
	strbuf_add_json(out, description, strlen(description));
	strbuf_addf(out, ",\"priority\":%d}", wide);
}

const char *table_columns(const struct schema_resource *r)
{
	static char **cache;
	const struct table_kind *kind = find(r);
	struct strbuf b = {0};

	if (!cache)
		cache = mem_new_n(char *, schema_resource_count());
	if (cache[r->id])
		return cache[r->id];
	strbuf_addc(&b, '[');
	if (!kind || !kind->no_name)
		write_column(&b, "Name", NULL, false);
	if (!kind)
		write_column(&b, "Created At", "date", false);
	for (size_t i = 0; kind && i < TABLE_MAX_COLUMNS && kind->columns[i].name; i++)
		write_column(&b, kind->columns[i].name, kind->columns[i].type, kind->columns[i].wide);
	strbuf_addc(&b, ']');
	cache[r->id] = strbuf_take(&b);
	return cache[r->id];
}

static void next(struct row *row)
{
	if (row->cells++)
		strbuf_addc(row->out, ',');
}

void cell(struct row *row, const char *s)
{
	next(row);
	strbuf_add_json(row->out, s ? s : "", s ? strlen(s) : 0);
}

void cell_or(struct row *row, const char *s, const char *fallback)
{
	cell(row, str_empty(s) ? fallback : s);
}

void cell_int(struct row *row, int64_t n)
{
	next(row);
	strbuf_addf(row->out, "%lld", (long long)n);
}

void cell_bool(struct row *row, bool b)
{
	next(row);
	strbuf_adds(row->out, b ? "true" : "false");
}

void cell_json(struct row *row, const json_t *v, const char *fallback)
{
	char text[32];

	if (json_is_integer(v)) {
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		cell(row, text);
	} else if (json_is_boolean(v)) {
		cell(row, json_is_true(v) ? "true" : "false");
	} else {
		cell(row, json_is_string(v) ? json_string_value(v) : fallback);
	}
}

void cell_buf(struct row *row, struct strbuf *b)
{
	cell(row, b->len ? b->data : "");
	strbuf_reset(b);
}

void human_duration(int64_t s, char out[static 32])
{
	long long minutes = s / 60, hours = s / 3600, days = hours / 24;
	long long small = 0;
	char small_unit = 0;
	long long big;
	char unit;

	if (s < -1) {
		snprintf(out, 32, "<invalid>");
		return;
	}
	if (s < 0)
		s = 0;
	if (s < 120) {
		big = s, unit = 's';
	} else if (minutes < 180) {
		big = minutes, unit = 'm';
		if (minutes < 10)
			small = s % 60, small_unit = 's';
	} else if (hours < 48) {
		big = hours, unit = 'h';
		if (hours < 8)
			small = minutes % 60, small_unit = 'm';
	} else if (hours < 24 * 365 * 2) {
		big = days, unit = 'd';
		if (hours < 24 * 8)
			small = hours % 24, small_unit = 'h';
	} else {
		big = days / 365, unit = 'y';
		if (hours < 24 * 365 * 8)
			small = days % 365, small_unit = 'd';
	}
	if (small)
		snprintf(out, 32, "%lld%c%lld%c", big, unit, small, small_unit);
	else
		snprintf(out, 32, "%lld%c", big, unit);
}

void cell_since(struct row *row, const char *rfc3339, const char *fallback)
{
	char text[32];
	int64_t us;

	if (str_empty(rfc3339) || clock_parse_rfc3339(rfc3339, &us) < 0) {
		cell(row, fallback);
		return;
	}
	human_duration(row->now_s - us / 1000000, text);
	cell(row, text);
}

void cell_age(struct row *row, const json_t *object)
{
	cell_since(row, str_at(json_object_get(object, "metadata"), "creationTimestamp"), "<unknown>");
}

static int key_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void cell_labels(struct row *row, const json_t *labels)
{
	size_t count = json_object_size(labels), n = 0;
	_cleanup_free_ const char **keys = mem_new_n(const char *, count + 1);
	_cleanup_strbuf_ struct strbuf b = {0};
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)labels, key, v)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), key_cmp);
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&b, "%s%s=%s", i ? "," : "", keys[i], str_at(labels, keys[i]));
	cell_or(row, b.data, "<none>");
}

void cell_selector(struct row *row, const json_t *label_selector, const char *empty, const char *invalid)
{
	_cleanup_(selector_freep) struct selector *selector = NULL;
	_cleanup_strbuf_ struct strbuf b = {0};

	if (!label_selector || json_is_null(label_selector)) {
		cell(row, empty);
		return;
	}
	selector = selector_from_label_selector(label_selector, NULL);
	if (!selector) {
		cell(row, invalid);
		return;
	}
	selector_write(selector, &b);
	cell_or(row, b.data, empty);
}

void cell_containers(struct row *row, const json_t *pod_spec)
{
	_cleanup_strbuf_ struct strbuf names = {0}, images = {0};
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(pod_spec, "containers"), i, c) {
		strbuf_addf(&names, "%s%s", i ? "," : "", str_at(c, "name"));
		strbuf_addf(&images, "%s%s", i ? "," : "", str_at(c, "image"));
	}
	cell_buf(row, &names);
	cell_buf(row, &images);
}

void cell_list(struct row *row, const json_t *strings, const char *separator, const char *empty)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *v;
	size_t i;

	json_array_foreach(strings, i, v) {
		if (i)
			strbuf_adds(&b, separator);
		strbuf_adds(&b, json_string_value(v));
	}
	cell_or(row, b.data, empty);
}

void more_text(struct strbuf *b, size_t n)
{
	if (n > 3)
		strbuf_addf(b, " + %zu more...", n - 3);
}

/* The row's object: nothing, the metadata, or everything. */
static void write_object(struct strbuf *out, const json_t *object, const char *text, size_t len,
			 enum table_include include)
{
	const json_t *meta = json_object_get(object, "metadata");

	switch (include) {
	case TABLE_INCLUDE_OBJECT:
		strbuf_adds(out, ",\"object\":");
		if (text)
			strbuf_add(out, text, len);
		else
			json_write(out, object);
		break;
	case TABLE_INCLUDE_METADATA:
		strbuf_adds(out, ",\"object\":{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/"
				 "v1\",\"metadata\":");
		if (meta)
			json_write(out, meta);
		else
			strbuf_adds(out, "{}");
		strbuf_addc(out, '}');
		break;
	case TABLE_INCLUDE_NONE:
		break;
	}
}

void table_row(const struct schema_resource *r, const json_t *object, const char *object_text, size_t object_len,
	       enum table_include include, int64_t now_s, struct strbuf *out)
{
	const struct table_kind *kind = find(r);
	struct row row = { .out = out, .now_s = now_s };

	strbuf_adds(out, "{\"cells\":[");
	if (kind) {
		kind->row(&row, object);
	} else {
		cell(&row, name_of(object));
		cell(&row, str_at(json_object_get(object, "metadata"), "creationTimestamp"));
	}
	strbuf_addc(out, ']');
	if (row.conditions)
		strbuf_addf(out, ",\"conditions\":%s", row.conditions);
	write_object(out, object, object_text, object_len, include);
	strbuf_addc(out, '}');
}
