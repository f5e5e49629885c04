/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues of free places: a ring per pool that grows; a place is either given out, at or above `next`, or in one queue. */
#include "proxy/engine/ebpf/pool.h"

#include "base/mem.h"

/* So many freed ids rest before fresh ones stop being preferred. */
enum { POOL_REST = 64 };

void idpool_init(struct idpool *p, uint32_t first, uint32_t max)
{
	*p = (struct idpool){ .next = first, .max = max };
}

void idpool_done(struct idpool *p)
{
	free(p->fifo);
	*p = (struct idpool){ 0 };
}

static uint32_t idpool_pop(struct idpool *p)
{
	uint32_t id = p->fifo[p->head];
	p->head = (p->head + 1) & (p->cap - 1);
	p->count--;
	return id;
}

uint32_t idpool_get(struct idpool *p)
{
	if (p->count > POOL_REST)
		return idpool_pop(p);
	if (p->next < p->max)
		return p->next++;
	return p->count ? idpool_pop(p) : POOL_NONE;
}

void idpool_put(struct idpool *p, uint32_t id)
{
	if (p->count == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		uint32_t *fifo = mem_new_n(uint32_t, cap);
		for (size_t i = 0; i < p->count; i++)
			fifo[i] = p->fifo[(p->head + i) & (p->cap - 1)];
		free(p->fifo);
		p->fifo = fifo;
		p->head = 0;
		p->cap = cap;
	}
	p->fifo[(p->head + p->count++) & (p->cap - 1)] = id;
}

void runpool_init(struct runpool *p, uint32_t max)
{
	*p = (struct runpool){ .max = max };
}

void runpool_done(struct runpool *p)
{
	for (size_t i = 0; i < RUNPOOL_CLASSES; i++)
		idpool_done(&p->classes[i]);
}

static unsigned class_of(uint32_t count)
{
	unsigned c = 0;
	while (1u << c < count)
		c++;
	return c;
}

uint32_t runpool_size(uint32_t count)
{
	return 1u << class_of(count);
}

struct run {
	uint32_t start, size;
};

static int run_cmp(const void *a, const void *b)
{
	const struct run *x = a, *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

/* Free runs for [start, end), the largest that fit. */
static void give_back(struct runpool *p, uint32_t start, uint32_t end)
{
	while (start < end) {
		unsigned c = 0;
		while (c + 1 < RUNPOOL_CLASSES && (2u << c) <= end - start)
			c++;
		idpool_put(&p->classes[c], start);
		start += 1u << c;
	}
}

/* Joins free neighbours. */
static void coalesce(struct runpool *p)
{
	size_t count = 0, n = 0;
	for (unsigned c = 0; c < RUNPOOL_CLASSES; c++)
		count += p->classes[c].count;
	struct run *runs = mem_new_n(struct run, count + 1);
	for (unsigned c = 0; c < RUNPOOL_CLASSES; c++)
		while (p->classes[c].count)
			runs[n++] = (struct run){ idpool_pop(&p->classes[c]), 1u << c };
	qsort(runs, n, sizeof(*runs), run_cmp);
	for (size_t i = 0; i < n;) {
		uint32_t start = runs[i].start, end = start + runs[i].size;
		for (i++; i < n && runs[i].start == end; i++)
			end += runs[i].size;
		if (end == p->next)
			p->next = start;
		else
			give_back(p, start, end);
	}
	free(runs);
}

static uint32_t runpool_find(struct runpool *p, unsigned c)
{
	uint32_t size = 1u << c;
	struct idpool *q = &p->classes[c];
	if (q->count > POOL_REST)
		return idpool_pop(q);
	if (p->max - p->next >= size) {
		uint32_t start = p->next;
		p->next += size;
		return start;
	}
	if (q->count)
		return idpool_pop(q);
	/* Nothing of this size: halve a larger run. */
	for (unsigned k = c + 1; k < RUNPOOL_CLASSES; k++) {
		if (!p->classes[k].count)
			continue;
		uint32_t start = idpool_pop(&p->classes[k]);
		for (unsigned part = k; part-- > c;)
			idpool_put(&p->classes[part], start + (1u << part));
		return start;
	}
	return POOL_NONE;
}

uint32_t runpool_get(struct runpool *p, uint32_t count)
{
	unsigned c = class_of(count);
	if (c >= RUNPOOL_CLASSES)
		return POOL_NONE;
	uint32_t start = runpool_find(p, c);
	/* Joining is worth its cost only when enough came free since it was last tried. */
	if (start == POOL_NONE && p->freed >= 1u << c) {
		p->freed = 0;
		coalesce(p);
		start = runpool_find(p, c);
	}
	return start;
}

void runpool_put(struct runpool *p, uint32_t start, uint32_t count)
{
	p->freed += runpool_size(count);
	idpool_put(&p->classes[class_of(count)], start);
}

uint32_t runpool_used(const struct runpool *p)
{
	uint32_t n = p->next;
	for (unsigned c = 0; c < RUNPOOL_CLASSES; c++)
		n -= (uint32_t)p->classes[c].count << c;
	return n;
}

bool runpool_take(struct runpool *p, uint32_t start, uint32_t count)
{
	uint32_t size = runpool_size(count);
	if (start < p->next || size > p->max || start > p->max - size)
		return false;
	give_back(p, p->next, start);
	p->freed += start - p->next;
	p->next = start + size;
	return true;
}
