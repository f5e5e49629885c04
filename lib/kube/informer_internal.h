/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two halves of an informer: the cache (informer_cache.c) and the reflector that feeds it (informer.c). */
#ifndef KEELSON_KUBE_INFORMER_INTERNAL_H
#define KEELSON_KUBE_INFORMER_INTERNAL_H

#include "kube/json.h"

struct cache;
struct cache *cache_new(bool keys_only);
struct cache *cache_free(struct cache *c);
size_t cache_count(const struct cache *c);
/* Stores v (borrowed; the cache may keep a reference). False: the same resourceVersion is there already and nothing was
 * done. *ret_old (own) is what it replaces, NULL for a new one or with keys_only; want_old false leaves it NULL.
 * keep_decoded: it will probably be asked for soon. */
bool cache_put(struct cache *c, const char *key, json_t *v, bool want_old, bool keep_decoded, bool *ret_existed,
	       json_t **ret_old);
/* Takes it out: own, or NULL. */
json_t *cache_take(struct cache *c, const char *key);
json_t *cache_get(struct cache *c, const char *key);         /* borrow until cache_sweep() */
json_t *cache_next(struct cache *c, size_t *it);             /* the same */
int cache_add_index(struct cache *c, const char *name, char *(*key_of)(const json_t *object));
json_t **cache_by_index(struct cache *c, const char *name, const char *key, size_t *ret_count);
/* Between cache_mark() and cache_unmarked() every put marks its entry; then the keys of all others are listed. */
void cache_mark(struct cache *c);
void cache_unmarked(struct cache *c, struct strlist *keys);
/* Drops the decoded form of everything not used since the last sweep (all: of everything nobody else holds). Returns
 * how many are decoded still. */
size_t cache_sweep(struct cache *c, bool all);
size_t cache_decoded(const struct cache *c);

/* Finds the items array of a List's text without decoding it. rest gets the text with an empty items array. 0 or
 * -EINVAL; *ret_items, *ret_len: what stands between the brackets. */
int list_split(const char *s, size_t len, struct strbuf *rest, const char **ret_items, size_t *ret_len);
/* The next element of such a slice: false at the end. Elements are checked only when they are decoded. */
bool list_next(const char **items, size_t *len, const char **ret_item, size_t *ret_len);

#endif
