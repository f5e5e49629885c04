/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Element order of merged lists, and values as Go prints them; parts of the strategic merge patch. */
#ifndef KEELSON_APISERVER_PATCH_STRATEGIC_H
#define KEELSON_APISERVER_PATCH_STRATEGIC_H

#include "apiserver/patch/patch_internal.h"
#include "base/map.h"

/* Positions in a list by element: of objects by their merge key, of primitives by value (key NULL). The first of equal
 * ones counts. */
struct order {
	struct map *at;
	const char *merge_key;
};
void order_build(struct order *o, const json_t *list /* may be NULL */, const char *merge_key);
void order_add(struct order *o, const json_t *item, size_t index);
ssize_t order_index(const struct order *o, const json_t *item); /* -1: not there */
void order_done(struct order *o);
bool order_same(const json_t *a, const json_t *b, const char *merge_key);

json_t *order_union(const json_t *a, const json_t *b); /* of primitives, without duplicates; own */
json_t *order_subtract(const json_t *a, const json_t *b,
		       const char *merge_key); /* the elements of a that are not in b; own */
/*
 * The elements of merged: those named in wanted stand in its order; the others keep the order of live (the object
 * before the patch, may be NULL) and go before the first wanted element that stood behind them there. Own.
 */
json_t *order_normalize(const json_t *merged, const json_t *wanted, const json_t *live, const char *merge_key);

/* As Go's %v: map[a:1 b:[x y]]. */
void strategic_go_print(struct strbuf *out, const json_t *v);

#endif
