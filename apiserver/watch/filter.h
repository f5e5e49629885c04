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
};
/* ns, name: "" or NULL for all. view: whose labels the text uses. Texts may be NULL. A refusal is 400 as upstream words it. */
int filter_compile(const struct schema_resource *view, const char *ns, const char *name, const char *label_text,
		   const char *field_text, struct filter *ret, struct err *err);
void filter_done(struct filter *f);
bool filter_matches(const struct filter *f, const struct store_object *o);
bool filter_selects(const struct filter *f); /* there is more than a namespace */

#endif
