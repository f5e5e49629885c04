/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table with open addressing and linear probing, at most two thirds full; deletion moves later entries back, so that
 * there are no tombstones. A place is empty exactly when its owner is NULL.
 */
#include "proxy/model/claims.h"

#include "base/mem.h"
#include "base/str.h"

_Static_assert(sizeof(struct claim_key) == 20, "compared and hashed as bytes");

void claims_done(struct claims *c)
{
	free(c->items);
	*c = (struct claims){ 0 };
}

static size_t claims_home(const struct claims *c, const struct claim_key *key)
{
	uint64_t h = hash_bytes(key, sizeof(*key), 0);
	return (h ^ h >> 32) & (c->cap - 1);
}

struct claim *claims_find(const struct claims *c, const struct claim_key *key)
{
	if (!c->cap)
		return NULL;
	for (size_t i = claims_home(c, key); c->items[i].owner; i = (i + 1) & (c->cap - 1))
		if (memcmp(&c->items[i].key, key, sizeof(*key)) == 0)
			return &c->items[i];
	return NULL;
}

static struct claim *claims_place(struct claims *c, const struct claim_key *key)
{
	size_t i = claims_home(c, key);
	while (c->items[i].owner)
		i = (i + 1) & (c->cap - 1);
	c->items[i].key = *key;
	return &c->items[i];
}

struct claim *claims_add(struct claims *c, const struct claim_key *key, void *owner)
{
	if ((c->used + 1) * 3 > c->cap * 2) {
		struct claims bigger = { .cap = c->cap ? c->cap * 2 : 64, .used = c->used };
		bigger.items = mem_new_n(struct claim, bigger.cap);
		for (size_t i = 0; i < c->cap; i++)
			if (c->items[i].owner)
				*claims_place(&bigger, &c->items[i].key) = c->items[i];
		free(c->items);
		*c = bigger;
	}
	struct claim *n = claims_place(c, key);
	n->owner = owner;
	n->contested = false;
	n->serial = 0;
	c->used++;
	return n;
}

void claims_del(struct claims *c, const struct claim_key *key)
{
	struct claim *found = claims_find(c, key);
	if (!found)
		return;
	size_t hole = (size_t)(found - c->items);
	for (size_t i = (hole + 1) & (c->cap - 1); c->items[i].owner; i = (i + 1) & (c->cap - 1)) {
		size_t home = claims_home(c, &c->items[i].key);
		/* An entry may move into the hole unless its home lies cyclically behind the hole. */
		if (((i - home) & (c->cap - 1)) >= ((i - hole) & (c->cap - 1))) {
			c->items[hole] = c->items[i];
			hole = i;
		}
	}
	c->items[hole].owner = NULL;
	c->used--;
}
