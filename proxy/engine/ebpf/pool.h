/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places in the memory-mapped maps: single ids, and runs of slots. A place that came free rests before it is given out
 * again, behind those freed earlier, so that a program still reading it is long done.
 */
#ifndef KEELSON_PROXY_ENGINE_EBPF_POOL_H
#define KEELSON_PROXY_ENGINE_EBPF_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_NONE UINT32_MAX

struct idpool {
	uint32_t next, max; /* ids from next up were never given out */
	uint32_t *fifo;
	size_t head, count, cap;
};
/* first: the lowest id to give out. */
void idpool_init(struct idpool *p, uint32_t first, uint32_t max);
void idpool_done(struct idpool *p);
uint32_t idpool_get(struct idpool *p); /* POOL_NONE when all are in use */
void idpool_put(struct idpool *p, uint32_t id);

/* Runs have sizes of powers of two. Free ones are split when a size runs out, and joined again when that is not enough. */
enum { RUNPOOL_CLASSES = 24 };
struct runpool {
	uint32_t next, max;
	uint64_t freed; /* slots freed since neighbours were last joined */
	struct idpool classes[RUNPOOL_CLASSES]; /* only their queues are used: start indexes */
};
void runpool_init(struct runpool *p, uint32_t max);
void runpool_done(struct runpool *p);
uint32_t runpool_size(uint32_t count); /* what a run for so many occupies */
uint32_t runpool_get(struct runpool *p, uint32_t count);
void runpool_put(struct runpool *p, uint32_t start, uint32_t count);
uint32_t runpool_used(const struct runpool *p); /* slots in runs that are given out */
/* For adoption: says that [start, start + runpool_size(count)) is in use. Ascending starts; false when it overlaps. */
bool runpool_take(struct runpool *p, uint32_t start, uint32_t count);

#endif
