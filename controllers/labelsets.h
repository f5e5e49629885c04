/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The different sets of labels that a namespace's pods have. There are few of them, one a template, so that finding the
 * pods of a selector costs what is found and not what the namespace holds.
 */
#ifndef KEELSON_CONTROLLERS_LABELSETS_H
#define KEELSON_CONTROLLERS_LABELSETS_H

#include "controllers/workload.h"

struct labelsets;
struct labelsets *labelsets_new(void);
struct labelsets *labelsets_free(struct labelsets *s); /* NULL is fine; returns NULL */
/* To be told each change of the pods' informer from the first on. */
void labelsets_change(struct labelsets *s, const json_t *old, const json_t *new);
/* Adds the pods of the namespace that a plain selector (a map) selects. */
void labelsets_find(const struct labelsets *s, const struct informer *pods, const char *ns, const json_t *selector,
		    struct object_list *ret_pods);
/* The same for a compiled selector. */
void labelsets_find_selected(const struct labelsets *s, const struct informer *pods, const char *ns,
			     const struct selector *selector, struct object_list *ret_pods);
size_t labelsets_count(const struct labelsets *s);

#endif
