/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a list or watch asks for: namespace, name, label and field selectors, compiled to compare entries without parsing them. */
#ifndef KEELSON_APISERVER_WATCH_FILTER_H
#define KEELSON_APISERVER_WATCH_FILTER_H

#include "apiserver/registry/entry.h"
#include "kube/selector.h"

struct filter {
	char *ns;                  /* NULL: all */
	char *name;                /* NULL: all */
	struct selector *labels;   /* NULL: all */
	struct filter_field {
		int field;         /* index into entry_field_labels() */
		char *value;
		bool negate;
	} *fields;
	size_t field_count;
	bool nothing;              /* contradictory: matches no object */
	struct signature_want want; /* what a signature tells of the selectors; less than they ask for */
};
/* ns, name: "" or NULL for all. view: whose labels the text uses. Texts may be NULL. A refusal is 400 as upstream words it. */
int filter_compile(const struct schema_resource *view, const char *ns, const char *name, const char *label_text,
		   const char *field_text, struct filter *ret, struct err *err);
void filter_done(struct filter *f);
bool filter_matches(const struct filter *f, const struct store_object *o);
/* Walks what the filter matches: of its namespace or its one object only, touching no object whose signature says no. */
struct store_iter filter_iterate(const struct filter *f, const struct store *s, uint16_t resource);
struct store_object *filter_next(const struct filter *f, struct store_iter *it); /* borrow; NULL at the end */
bool filter_selects(const struct filter *f); /* there is more than a namespace */

#endif
