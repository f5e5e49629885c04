/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hash map from strings to pointers that keeps insertion order out of it: iteration order is
 * unspecified but stable while the map is not changed. Keys are copied. Not thread-safe.
 */
#ifndef KEELSON_BASE_MAP_H
#define KEELSON_BASE_MAP_H

#include <stdbool.h>

#include "base/macros.h"

struct map;
typedef void (*map_free_fn)(void *value);

struct map *map_new(map_free_fn free_value);     /* free_value may be NULL: values are borrowed */
struct map *map_free(struct map *m);             /* NULL is fine; returns NULL */
void map_clear(struct map *m);
size_t map_count(const struct map *m);
void *map_get(const struct map *m, const char *key); /* borrow, or NULL */
bool map_has(const struct map *m, const char *key);
/* Stores value (moved), freeing one stored before under the same key. */
void map_set(struct map *m, const char *key, void *value);
/* Takes the value out without freeing it: own, or NULL. */
void *map_take(struct map *m, const char *key);
/* Removes and frees. True when it was there. */
bool map_del(struct map *m, const char *key);
/* Iteration: size_t it = 0; while (map_next(m, &it, &key, &value)) ... Deleting the entry just returned is allowed. */
bool map_next(const struct map *m, size_t *it, const char **ret_key, void **ret_value);
DEFINE_CLEANUP(struct map *, map_free)

#endif
