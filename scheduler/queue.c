/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scheduling queue. Every waiting pod is one item in the map; active ones stand in a heap too, whose entries are
 * stale when the item's ticket has moved on. Counts by state are kept so that metrics cost nothing.
 */
#include "scheduler/queue.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum { FIRST_BACKOFF_MS = 1000, MAX_BACKOFF_MS = 10000, STALE_MS = 300000 };

struct item {
	char *key;
	enum queue_state state;
	int32_t priority;
	unsigned attempts, wake, missed; /* missed: events while in flight */
	int64_t since_ms;                /* in the queue; the order among equals */
	int64_t due_ms;                  /* back-off's end; unschedulable: when it is tried without an event */
	int64_t failed_ms;
	uint64_t ticket;                 /* of its heap entry */
	bool changed;                    /* while in flight */
};

struct heap_entry {
	char *key;
	uint64_t ticket;
	int64_t since_ms;
	int32_t priority;
};

struct queue {
	struct map *items;
	struct heap_entry *heap;
	size_t heap_count, heap_cap;
	uint64_t tickets;
	size_t counts[QUEUE_STATE_MAX];
};

static void item_free(void *p)
{
	struct item *i = p;

	free(i->key);
	free(i);
}

struct queue *queue_new(void)
{
	struct queue *q = mem_new(struct queue);

	q->items = map_new(item_free);
	return q;
}

struct queue *queue_free(struct queue *q)
{
	if (!q)
		return NULL;
	while (q->heap_count)
		free(q->heap[--q->heap_count].key);
	free(q->heap);
	map_free(q->items);
	free(q);
	return NULL;
}

static bool before(const struct heap_entry *a, const struct heap_entry *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority;
	return a->since_ms != b->since_ms ? a->since_ms < b->since_ms : a->ticket < b->ticket;
}

static void swap(struct queue *q, size_t a, size_t b)
{
	struct heap_entry e = q->heap[a];

	q->heap[a] = q->heap[b];
	q->heap[b] = e;
}

static void heap_push(struct queue *q, struct item *i)
{
	size_t at = q->heap_count;

	i->ticket = ++q->tickets;
	MEM_GROW(q->heap, q->heap_cap, at + 1);
	q->heap[q->heap_count++] = (struct heap_entry){
		.key = mem_strdup(i->key), .ticket = i->ticket, .since_ms = i->since_ms, .priority = i->priority
	};
	for (; at && before(&q->heap[at], &q->heap[(at - 1) / 2]); at = (at - 1) / 2)
		swap(q, at, (at - 1) / 2);
}

static void heap_pop(struct queue *q)
{
	free(q->heap[0].key);
	q->heap[0] = q->heap[--q->heap_count];
	for (size_t at = 0;;) {
		size_t first = at;

		for (size_t k = 2 * at + 1; k < 2 * at + 3 && k < q->heap_count; k++)
			if (before(&q->heap[k], &q->heap[first]))
				first = k;
		if (first == at)
			return;
		swap(q, at, first);
		at = first;
	}
}

static void move(struct queue *q, struct item *i, enum queue_state to)
{
	q->counts[i->state]--;
	q->counts[to]++;
	i->state = to;
	if (to == QUEUE_ACTIVE)
		heap_push(q, i);
}

static int64_t backoff_ms(const struct item *i)
{
	int64_t ms = FIRST_BACKOFF_MS;

	for (unsigned n = 1; n < i->attempts && ms < MAX_BACKOFF_MS; n++)
		ms *= 2;
	return MIN(ms, (int64_t)MAX_BACKOFF_MS);
}

/* Active when its back-off is over, else in back-off. */
static void wake_up(struct queue *q, struct item *i, int64_t now_ms)
{
	i->due_ms = i->attempts ? i->failed_ms + backoff_ms(i) : now_ms;
	move(q, i, i->due_ms <= now_ms ? QUEUE_ACTIVE : QUEUE_BACKOFF);
}

void queue_add(struct queue *q, const char *key, int32_t priority, bool gated, int64_t now_ms)
{
	struct item *i = map_get(q->items, key);

	if (!i) {
		i = mem_new(struct item);
		i->key = mem_strdup(key);
		i->priority = priority;
		i->since_ms = now_ms;
		i->state = QUEUE_GATED;
		q->counts[QUEUE_GATED]++;
		map_set(q->items, key, i);
		if (!gated)
			move(q, i, QUEUE_ACTIVE);
		return;
	}
	i->priority = priority;
	if (i->state == QUEUE_IN_FLIGHT)
		i->changed = true;
	else if (gated)
		move(q, i, QUEUE_GATED);
	else if (i->state == QUEUE_GATED || i->state == QUEUE_UNSCHEDULABLE)
		wake_up(q, i, now_ms);
}

void queue_remove(struct queue *q, const char *key)
{
	struct item *i = map_get(q->items, key);

	if (!i)
		return;
	q->counts[i->state]--;
	map_del(q->items, key);
}

const char *queue_pop(struct queue *q)
{
	while (q->heap_count) {
		struct item *i = map_get(q->items, q->heap[0].key);
		bool live = i && i->state == QUEUE_ACTIVE && i->ticket == q->heap[0].ticket;

		heap_pop(q);
		if (!live)
			continue;
		i->attempts++;
		i->missed = 0;
		i->changed = false;
		move(q, i, QUEUE_IN_FLIGHT);
		return i->key;
	}
	return NULL;
}

void queue_unschedulable(struct queue *q, const char *key, unsigned wake, int64_t now_ms)
{
	struct item *i = map_get(q->items, key);

	if (!i || i->state != QUEUE_IN_FLIGHT)
		return;
	i->failed_ms = now_ms;
	i->wake = wake;
	if (i->changed || (i->missed & wake)) {
		wake_up(q, i, now_ms);
		return;
	}
	i->due_ms = now_ms + STALE_MS;
	move(q, i, QUEUE_UNSCHEDULABLE);
}

void queue_retry(struct queue *q, const char *key, int64_t now_ms)
{
	struct item *i = map_get(q->items, key);

	if (!i || i->state != QUEUE_IN_FLIGHT)
		return;
	i->failed_ms = now_ms;
	wake_up(q, i, now_ms);
}

void queue_event(struct queue *q, unsigned event, int64_t now_ms)
{
	size_t it = 0;
	void *p;

	if (!q->counts[QUEUE_UNSCHEDULABLE] && !q->counts[QUEUE_IN_FLIGHT])
		return;
	while (map_next(q->items, &it, NULL, &p)) {
		struct item *i = p;

		if (i->state == QUEUE_IN_FLIGHT)
			i->missed |= event;
		else if (i->state == QUEUE_UNSCHEDULABLE && (i->wake & event))
			wake_up(q, i, now_ms);
	}
}

int64_t queue_tick(struct queue *q, int64_t now_ms)
{
	int64_t next = -1;
	size_t it = 0;
	void *p;

	if (!q->counts[QUEUE_BACKOFF] && !q->counts[QUEUE_UNSCHEDULABLE])
		return -1;
	while (map_next(q->items, &it, NULL, &p)) {
		struct item *i = p;

		if (i->state != QUEUE_BACKOFF && i->state != QUEUE_UNSCHEDULABLE)
			continue;
		if (i->due_ms <= now_ms)
			move(q, i, QUEUE_ACTIVE);
		else if (next < 0 || i->due_ms - now_ms < next)
			next = i->due_ms - now_ms;
	}
	return next;
}

size_t queue_count(const struct queue *q, enum queue_state state)
{
	return q->counts[state];
}

bool queue_has(const struct queue *q, const char *key)
{
	return map_has(q->items, key);
}
