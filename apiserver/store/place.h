/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The index of one resource: its objects in order of their keys, in chunks, so that an insertion moves one chunk's entries only. */
#ifndef KEELSON_APISERVER_STORE_PLACE_H
#define KEELSON_APISERVER_STORE_PLACE_H

#include "apiserver/store/store.h"

enum { PLACE_CHUNK_ENTRIES = 512 };

struct place_entry {
	uint64_t signature; /* the object's, so that a walk need not touch it */
	struct store_object *object;
};

/* Never empty. */
struct place_chunk {
	uint32_t count, cap;
	struct place_entry entries[];
};

struct place {
	struct place_chunk **chunks;
	size_t chunk_count, chunk_cap;
	size_t count;      /* of objects */
	uint32_t *by_form; /* how many are stored in which form (encryption.c) */
	size_t by_form_cap;
};

/* Borrow; NULL. */
struct store_object *place_get(const struct place *p, const char *key);
/* Adds the object (moved), or puts it in the stead of the one with its key, which is returned (own); NULL: there was none. */
struct store_object *place_put(struct place *p, struct store_object *object);
/* Takes the object out: own, NULL when there is none. */
struct store_object *place_take(struct place *p, const char *key);
/* Drops all objects and their room. */
void place_clear(struct place *p);
/* See store_iterate(). */
struct store_iter place_iterate(const struct place *p, const char *prefix);

#endif
