/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open addressing with linear probing and tombstones; at most 7/10 of the slots are used, deleted ones
 * included. Deleting never moves entries, which is what lets an iteration delete what it was given.
 */
#include "base/map.h"

#include "base/mem.h"
#include "base/str.h"

struct slot {
	char *key; /* NULL: never used; TOMB: deleted */
	void *value;
	uint64_t hash;
};

struct map {
	struct slot *slots;
	size_t cap, used, live; /* cap is a power of two; used counts tombstones too */
	uint64_t seed;
	map_free_fn free_value;
};

static char tomb_storage;
#define TOMB (&tomb_storage)

struct map *map_new(map_free_fn free_value)
{
	struct map *m = mem_new(struct map);

	m->free_value = free_value;
	rand_bytes(&m->seed, sizeof(m->seed));
	return m;
}

static bool is_live(const struct slot *s)
{
	return s->key && s->key != TOMB;
}

void map_clear(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++) {
		struct slot *s = &m->slots[i];

		if (!is_live(s))
			continue;
		free(s->key);
		if (m->free_value)
			m->free_value(s->value);
	}
	free(m->slots);
	m->slots = NULL;
	m->cap = m->used = m->live = 0;
}

struct map *map_free(struct map *m)
{
	if (m) {
		map_clear(m);
		free(m);
	}
	return NULL;
}

size_t map_count(const struct map *m)
{
	return m->live;
}

static struct slot *find(const struct map *m, const char *key, uint64_t hash)
{
	if (!m->cap)
		return NULL;
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct slot *s = &m->slots[i];

		if (!s->key)
			return NULL;
		if (s->key != TOMB && s->hash == hash && strcmp(s->key, key) == 0)
			return s;
	}
}

static uint64_t hash_key(const struct map *m, const char *key)
{
	uint64_t h = hash_bytes(key, strlen(key), m->seed);

	return h ^ h >> 29;
}

void *map_get(const struct map *m, const char *key)
{
	struct slot *s = find(m, key, hash_key(m, key));

	return s ? s->value : NULL;
}

bool map_has(const struct map *m, const char *key)
{
	return find(m, key, hash_key(m, key)) != NULL;
}

static void put(struct map *m, char *key, void *value, uint64_t hash)
{
	size_t i = hash & (m->cap - 1);

	while (m->slots[i].key)
		i = (i + 1) & (m->cap - 1);
	m->slots[i] = (struct slot){ .key = key, .value = value, .hash = hash };
	m->used++;
	m->live++;
}

static void rehash(struct map *m)
{
	struct slot *old = m->slots;
	size_t old_cap = m->cap;

	m->cap = 16;
	while (m->cap * 7 / 10 <= m->live * 2)
		m->cap *= 2;
	m->slots = mem_new_n(struct slot, m->cap);
	m->used = m->live = 0;
	for (size_t i = 0; i < old_cap; i++)
		if (is_live(&old[i]))
			put(m, old[i].key, old[i].value, old[i].hash);
	free(old);
}

void map_set(struct map *m, const char *key, void *value)
{
	uint64_t hash = hash_key(m, key);
	struct slot *s = find(m, key, hash);

	if (s) {
		if (m->free_value && s->value != value)
			m->free_value(s->value);
		s->value = value;
		return;
	}
	if (m->used + 1 > m->cap * 7 / 10)
		rehash(m);
	put(m, mem_strdup(key), value, hash);
}

void *map_take(struct map *m, const char *key)
{
	struct slot *s = find(m, key, hash_key(m, key));

	if (!s)
		return NULL;
	void *v = s->value;

	free(s->key);
	*s = (struct slot){ .key = TOMB };
	m->live--;
	return v;
}

bool map_del(struct map *m, const char *key)
{
	bool had = map_has(m, key);
	void *v = map_take(m, key);

	if (had && m->free_value)
		m->free_value(v);
	return had;
}

bool map_next(const struct map *m, size_t *it, const char **ret_key, void **ret_value)
{
	while (*it < m->cap) {
		struct slot *s = &m->slots[(*it)++];

		if (is_live(s)) {
			if (ret_key)
				*ret_key = s->key;
			if (ret_value)
				*ret_value = s->value;
			return true;
		}
	}
	return false;
}
