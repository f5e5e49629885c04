/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Label selectors (query string form and LabelSelector objects) and field selectors. Compiled once, matched many times.
 */
#ifndef KEELSON_KUBE_SELECTOR_H
#define KEELSON_KUBE_SELECTOR_H

#include "kube/json.h"

struct selector;
/* "a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1". "" matches everything. Own, or NULL with err (400; text as upstream). */
struct selector *selector_parse(const char *s, struct err *err);
/* A metav1.LabelSelector value; JSON null or NULL matches nothing, {} everything. */
struct selector *selector_from_label_selector(const json_t *label_selector, struct err *err);
/* A plain map (Service or ReplicationController spec.selector); NULL or empty matches nothing. */
struct selector *selector_from_map(const json_t *map);
struct selector *selector_free(struct selector *s);
DEFINE_CLEANUP(struct selector *, selector_free)
bool selector_matches(const struct selector *s, const json_t *labels); /* labels may be NULL */
bool selector_matches_everything(const struct selector *s);
/* The next requirement, from *it (0 at first) on, that only labels with *ret_key meet, with one of *ret_values (NULL: whichever). Borrow.
 * False: there are no more. */
bool selector_next_needed(const struct selector *s, size_t *it, const char **ret_key, const struct strlist **ret_values);
void selector_write(const struct selector *s, struct strbuf *out);     /* canonical text */

/* Field selectors: "metadata.name=x,status.phase!=Running". get returns the field's value for the object or NULL when
 * the kind does not have such a label. */
struct field_selector {
	struct field_requirement {
		char *path, *value;
		bool negate;
	} *items;
	size_t count;
};
int field_selector_parse(const char *s, struct field_selector *ret, struct err *err);
void field_selector_done(struct field_selector *s);

#endif
