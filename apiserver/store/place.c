// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A sorted list in chunks: two binary searches find a key, one over the chunks' first entries and one in a chunk. What always holds: no chunk
 * is empty, and keys ascend within a chunk and from chunk to chunk. A full chunk is halved; one that has become small is joined with the
 * next. Keys that come in order, as when the store is loaded, leave full chunks behind.
 */
#include "apiserver/store/place.h"

#include <string.h>

#include "base/macros.h"

enum { FIRST_CAP = 4, SMALL = PLACE_CHUNK_ENTRIES / 4, JOINED_MAX = PLACE_CHUNK_ENTRIES * 3 / 4 };

struct position {
	size_t chunk, at; /* at may be behind the chunk's last entry */
};

/* key: `len` bytes of it count. after: as long as it is not above. */
static bool is_before(const struct place_entry *e, const char *key, size_t len, bool after)
{
	int order = strncmp(e->object->key, key, len);
	return order < 0 || (after && order == 0);
}

/* Where the first entry is, or would be, that is not before. */
static struct position search(const struct place *p, const char *key, size_t len, bool after)
{
	size_t lo = 0, hi = p->chunk_count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (is_before(&p->chunks[mid]->entries[0], key, len, after))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return (struct position){ 0, 0 };
	struct position pos = { .chunk = lo - 1, .at = 1 };
	const struct place_chunk *c = p->chunks[pos.chunk];
	for (hi = c->count; pos.at < hi;) {
		size_t mid = pos.at + (hi - pos.at) / 2;
		if (is_before(&c->entries[mid], key, len, after))
			pos.at = mid + 1;
		else
			hi = mid;
	}
	return pos;
}

/* The entry of key; NULL: *ret is where it belongs. */
static struct place_entry *find(const struct place *p, const char *key, struct position *ret)
{
	/* The last one that is not above is the key's own, if it is there. */
	struct position pos = search(p, key, SIZE_MAX, true);
	*ret = pos;
	if (!pos.at)
		return NULL;
	struct place_entry *e = &p->chunks[pos.chunk]->entries[pos.at - 1];
	if (strcmp(e->object->key, key) != 0)
		return NULL;
	ret->at--;
	return e;
}

static struct place_chunk *chunk_with_room(struct place_chunk *c, size_t entries)
{
	size_t cap = c ? c->cap : FIRST_CAP;
	while (cap < entries)
		cap *= 2;
	if (c && cap == c->cap)
		return c;
	struct place_chunk *n = mem_realloc(c, sizeof(*n) + cap * sizeof(n->entries[0]));
	if (!c)
		n->count = 0;
	n->cap = (uint32_t)cap;
	return n;
}

static void add_chunk(struct place *p, size_t at, struct place_chunk *c)
{
	MEM_GROW(p->chunks, p->chunk_cap, p->chunk_count + 1);
	memmove(&p->chunks[at + 1], &p->chunks[at], (p->chunk_count - at) * sizeof(*p->chunks));
	p->chunks[at] = c;
	p->chunk_count++;
}

static void drop_chunk(struct place *p, size_t at)
{
	free(p->chunks[at]);
	p->chunk_count--;
	memmove(&p->chunks[at], &p->chunks[at + 1], (p->chunk_count - at) * sizeof(*p->chunks));
}

/* Makes room in the full chunk at pos, which becomes two. */
static void split(struct place *p, struct position *pos)
{
	struct place_chunk *c = p->chunks[pos->chunk];
	bool last = pos->chunk + 1 == p->chunk_count && pos->at == c->count;
	size_t keep = last ? c->count : c->count / 2, moved = c->count - keep;
	struct place_chunk *next = chunk_with_room(NULL, last ? 1 : PLACE_CHUNK_ENTRIES);
	memcpy(next->entries, &c->entries[keep], moved * sizeof(c->entries[0]));
	next->count = (uint32_t)moved;
	c->count = (uint32_t)keep;
	add_chunk(p, pos->chunk + 1, next);
	if (last || pos->at > keep)
		*pos = (struct position){ pos->chunk + 1, pos->at - keep };
}

static void insert(struct place *p, struct position pos, struct store_object *object)
{
	if (!p->chunk_count)
		add_chunk(p, 0, chunk_with_room(NULL, 1));
	else if (p->chunks[pos.chunk]->count == PLACE_CHUNK_ENTRIES)
		split(p, &pos);
	struct place_chunk *c = p->chunks[pos.chunk] = chunk_with_room(p->chunks[pos.chunk], p->chunks[pos.chunk]->count + 1);
	memmove(&c->entries[pos.at + 1], &c->entries[pos.at], (c->count - pos.at) * sizeof(c->entries[0]));
	c->entries[pos.at] = (struct place_entry){ object->signature, object };
	c->count++;
	p->count++;
}

struct store_object *place_get(const struct place *p, const char *key)
{
	struct position pos;
	const struct place_entry *e = find(p, key, &pos);
	return e ? e->object : NULL;
}

struct store_object *place_put(struct place *p, struct store_object *object)
{
	struct position pos;
	struct place_entry *e = find(p, object->key, &pos);
	struct store_object *old = e ? e->object : NULL;
	if (e)
		*e = (struct place_entry){ object->signature, object };
	else
		insert(p, pos, object);
	return old;
}

static void join_next(struct place *p, size_t at)
{
	struct place_chunk *c = p->chunks[at], *next;
	if (at + 1 >= p->chunk_count || c->count + p->chunks[at + 1]->count > JOINED_MAX)
		return;
	next = p->chunks[at + 1];
	c = p->chunks[at] = chunk_with_room(c, c->count + next->count);
	memcpy(&c->entries[c->count], next->entries, next->count * sizeof(c->entries[0]));
	c->count += next->count;
	drop_chunk(p, at + 1);
}

struct store_object *place_take(struct place *p, const char *key)
{
	struct position pos;
	struct place_entry *e = find(p, key, &pos);
	if (!e)
		return NULL;
	struct place_chunk *c = p->chunks[pos.chunk];
	struct store_object *object = e->object;
	c->count--;
	memmove(e, e + 1, (c->count - pos.at) * sizeof(*e));
	p->count--;
	if (!c->count)
		drop_chunk(p, pos.chunk);
	else if (c->count < SMALL)
		join_next(p, pos.chunk);
	return object;
}

void place_clear(struct place *p)
{
	for (size_t i = 0; i < p->chunk_count; i++) {
		for (size_t j = 0; j < p->chunks[i]->count; j++)
			store_object_unref(p->chunks[i]->entries[j].object);
		free(p->chunks[i]);
	}
	free(TAKE(p->chunks));
	p->chunk_count = p->chunk_cap = p->count = 0;
}

/* Walking */

struct store_iter place_iterate(const struct place *p, const char *prefix)
{
	struct position from = { 0, 0 }, end = { p->chunk_count, 0 };
	if (!str_empty(prefix)) {
		from = search(p, prefix, SIZE_MAX, false);
		end = search(p, prefix, strlen(prefix), true);
	}
	return (struct store_iter){ p, from.chunk, from.at, end.chunk, end.at };
}

void store_iter_after(struct store_iter *it, const char *key)
{
	struct position pos = search(it->place, key, SIZE_MAX, true);
	if (pos.chunk < it->chunk || (pos.chunk == it->chunk && pos.at < it->at))
		return;
	it->chunk = pos.chunk;
	it->at = pos.at;
}

/* Behind the last entry of the walk's part of the chunk it has come to; 0: it is past its end. */
static size_t part_end(const struct store_iter *it, size_t chunk)
{
	if (chunk > it->end_chunk || chunk >= it->place->chunk_count)
		return 0;
	return chunk == it->end_chunk ? it->end_at : it->place->chunks[chunk]->count;
}

size_t store_iter_left(const struct store_iter *it)
{
	size_t end = part_end(it, it->chunk), left = end > it->at ? end - it->at : 0;
	for (size_t i = it->chunk + 1; i <= it->end_chunk; i++)
		left += part_end(it, i);
	return left;
}

struct store_object *store_next_wanted(struct store_iter *it, const struct signature_want *want)
{
	for (; it->chunk < it->place->chunk_count && it->chunk <= it->end_chunk; it->chunk++, it->at = 0) {
		const struct place_chunk *c = it->place->chunks[it->chunk];
		for (size_t end = part_end(it, it->chunk); it->at < end;) {
			const struct place_entry *e = &c->entries[it->at++];
			if (signature_has(e->signature, want))
				return e->object;
		}
	}
	return NULL;
}

struct store_object *store_next(struct store_iter *it)
{
	static const struct signature_want anything = { 0 };
	return store_next_wanted(it, &anything);
}
