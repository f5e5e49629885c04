/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Linear probing without tombstones: a deletion puts the entries behind it in their places again. */
#include "proxy/model/intern.h"

#include "base/mem.h"
#include "base/str.h"

void intern_done(struct intern *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->items[i].text);
	free(t->items);
	free(t->table);
	free(t->unused);
	*t = (struct intern){ 0 };
}

/* Where s is, or the empty place where it belongs. */
static size_t find(const struct intern *t, const char *s)
{
	size_t i = hash_bytes(s, strlen(s), 0) & (t->table_cap - 1);
	while (t->table[i] && strcmp(t->items[t->table[i] - 1].text, s) != 0)
		i = (i + 1) & (t->table_cap - 1);
	return i;
}

static void grow(struct intern *t)
{
	size_t cap = t->table_cap;
	uint32_t *old = t->table;
	t->table_cap = cap ? cap * 2 : 64;
	t->table = mem_new_n(uint32_t, t->table_cap);
	for (size_t i = 0; i < cap; i++)
		if (old[i])
			t->table[find(t, t->items[old[i] - 1].text)] = old[i];
	free(old);
}

uint32_t intern_ref(struct intern *t, const char *s)
{
	if (str_empty(s))
		return 0;
	if ((t->used + 1) * 2 > t->table_cap)
		grow(t);
	size_t at = find(t, s);
	uint32_t id = t->table[at];
	if (id) {
		t->items[id - 1].refs++;
		return id;
	}
	if (t->unused_count) {
		id = t->unused[--t->unused_count];
	} else {
		MEM_GROW(t->items, t->cap, t->count + 1);
		id = (uint32_t)++t->count;
	}
	t->items[id - 1] = (struct intern_entry){ .text = mem_strdup(s), .refs = 1 };
	t->table[at] = id;
	t->used++;
	return id;
}

void intern_unref(struct intern *t, uint32_t id)
{
	if (!id || --t->items[id - 1].refs)
		return;
	size_t at = find(t, t->items[id - 1].text);
	t->table[at] = 0;
	t->used--;
	for (size_t i = (at + 1) & (t->table_cap - 1); t->table[i]; i = (i + 1) & (t->table_cap - 1)) {
		uint32_t moved = t->table[i];
		t->table[i] = 0;
		t->table[find(t, t->items[moved - 1].text)] = moved;
	}
	free(t->items[id - 1].text);
	t->items[id - 1].text = NULL;
	MEM_GROW(t->unused, t->unused_cap, t->unused_count + 1);
	t->unused[t->unused_count++] = id;
}

const char *intern_text(const struct intern *t, uint32_t id)
{
	return id ? t->items[id - 1].text : "";
}

uint32_t *intern_tag(struct intern *t, uint32_t id)
{
	return &t->items[id - 1].tag;
}
