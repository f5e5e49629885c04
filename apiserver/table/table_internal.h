/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this room share: the list of printed kinds and the writers of cells. */
#ifndef KEELSON_APISERVER_TABLE_INTERNAL_H
#define KEELSON_APISERVER_TABLE_INTERNAL_H

#include "apiserver/table/table.h"

enum { TABLE_MAX_COLUMNS = 12 };

/* A row being written. Cells are added from left to right. */
struct row {
	struct strbuf *out;
	int64_t now_s;
	unsigned cells;
	const char *conditions; /* JSON text of the row's conditions, a literal, or NULL */
};
void cell(struct row *row, const char *s /* NULL: "" */);
void cell_or(struct row *row, const char *s, const char *fallback); /* fallback for NULL and "" */
void cell_int(struct row *row, int64_t n);
void cell_bool(struct row *row, bool b);
void cell_json(struct row *row, const json_t *v,
	       const char *fallback); /* a scalar as it is; fallback (text) when absent */
void cell_buf(struct row *row, struct strbuf *b);                       /* the text, then empties it */
void cell_age(struct row *row, const json_t *object);
void cell_since(struct row *row, const char *rfc3339, const char *fallback);
void cell_labels(struct row *row, const json_t *labels);                /* sorted k=v, "<none>" */
void cell_selector(struct row *row, const json_t *selector, const char *empty, const char *invalid);
void cell_containers(struct row *row, const json_t *pod_spec);          /* two cells: names, images */
void cell_list(struct row *row, const json_t *strings, const char *separator, const char *empty);
/* The first three of a list that was n long; " + N more..." behind. */
void more_text(struct strbuf *b, size_t n);

struct column {
	const char *name;
	const char *type; /* NULL: string */
	bool wide;
};
struct table_kind {
	const char *group, *plural;
	void (*row)(struct row *row, const json_t *object);
	struct column columns[TABLE_MAX_COLUMNS]; /* after Name, which is always first; ends with a NULL name */
	bool no_name; /* Name is not first (events) */
};
struct table_group {
	const struct table_kind *kinds;
	size_t count;
};
extern const struct table_group table_workloads, table_core, table_other;

static inline const char *str_at(const json_t *o, const char *key) /* "" when absent */
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}
static inline int64_t int_at(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}
static inline const char *name_of(const json_t *o)
{
	return str_at(json_object_get(o, "metadata"), "name");
}

/* Pods have a file of their own. */
void table_row_pod(struct row *row, const json_t *pod);

#endif
