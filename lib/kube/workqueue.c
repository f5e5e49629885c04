/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The work queue. A key is in one of five states, and moves only as the table in comments beside them says; delays are a
 * binary heap of (time, key) in which stale entries are skipped, served by one timer.
 */
#include "kube/workqueue.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum { FIRST_BACKOFF_MS = 5, MAX_BACKOFF_MS = 1000000 };

enum state {
	STATE_NONE,    /* not here now; its failures are remembered */
	STATE_DELAYED, /* waits for its time: -> READY */
	STATE_READY,   /* stands in the line: -> RUNNING */
	STATE_RUNNING, /* -> NONE, or DELAYED when it failed or was added with a delay meanwhile */
	STATE_AGAIN,   /* running, and added meanwhile: -> READY */
};

struct item {
	struct item *next;     /* in the line */
	char *key;
	enum state state;
	uint64_t due_ms;       /* DELAYED; RUNNING: the delay wanted afterwards, 0 none */
	unsigned failures;
};

struct delay {
	uint64_t due_ms;
	char *key;
};

struct workqueue {
	uv_loop_t *loop;
	uv_timer_t timer;
	uv_idle_t kick;        /* active while keys may start: work never runs inside workqueue_add() */
	int open_handles;
	unsigned parallel, running;
	size_t ready;
	bool freed;
	struct map *items;
	struct item *first, *last;
	struct delay *heap;
	size_t heap_count, heap_cap;
	void (*work)(struct workqueue *q, const char *key, void *user);
	void *user;
};

static void item_free(void *p)
{
	struct item *it = p;

	free(it->key);
	free(it);
}

static void heap_swap(struct workqueue *q, size_t a, size_t b)
{
	struct delay d = q->heap[a];

	q->heap[a] = q->heap[b];
	q->heap[b] = d;
}

static void heap_push(struct workqueue *q, const char *key, uint64_t due_ms)
{
	size_t i = q->heap_count;

	MEM_GROW(q->heap, q->heap_cap, i + 1);
	q->heap[q->heap_count++] = (struct delay){ .due_ms = due_ms, .key = mem_strdup(key) };
	for (; i && q->heap[(i - 1) / 2].due_ms > q->heap[i].due_ms; i = (i - 1) / 2)
		heap_swap(q, i, (i - 1) / 2);
}

static void heap_pop(struct workqueue *q)
{
	free(q->heap[0].key);
	q->heap[0] = q->heap[--q->heap_count];
	for (size_t i = 0;;) {
		size_t least = i, left = 2 * i + 1;

		for (size_t k = left; k < left + 2 && k < q->heap_count; k++)
			if (q->heap[k].due_ms < q->heap[least].due_ms)
				least = k;
		if (least == i)
			return;
		heap_swap(q, i, least);
		i = least;
	}
}

static void on_timer(uv_timer_t *t);

static void arm(struct workqueue *q)
{
	uint64_t now = uv_now(q->loop);

	if (!q->heap_count)
		uv_timer_stop(&q->timer);
	else
		uv_timer_start(&q->timer, on_timer, q->heap[0].due_ms > now ? q->heap[0].due_ms - now : 0, 0);
}

static void on_kick(uv_idle_t *idle)
{
	struct workqueue *q = idle->data;

	while (q->first && q->running < q->parallel && !q->freed) {
		struct item *it = q->first;

		q->first = it->next;
		if (!q->first)
			q->last = NULL;
		it->state = STATE_RUNNING;
		it->due_ms = 0;
		q->ready--;
		q->running++;
		q->work(q, it->key, q->user);
	}
	uv_idle_stop(idle);
}

static void make_ready(struct workqueue *q, struct item *it)
{
	it->state = STATE_READY;
	it->next = NULL;
	if (q->last)
		q->last->next = it;
	else
		q->first = it;
	q->last = it;
	q->ready++;
	if (q->running < q->parallel)
		uv_idle_start(&q->kick, on_kick);
}

static void on_timer(uv_timer_t *t)
{
	struct workqueue *q = t->data;
	uint64_t now = uv_now(q->loop);

	while (q->heap_count && q->heap[0].due_ms <= now) {
		struct item *it = map_get(q->items, q->heap[0].key);

		/* Otherwise it went on earlier, and this entry is stale. */
		if (it && it->state == STATE_DELAYED && it->due_ms <= now)
			make_ready(q, it);
		heap_pop(q);
	}
	arm(q);
}

struct workqueue *workqueue_new(uv_loop_t *loop, unsigned parallel,
				void (*work)(struct workqueue *q, const char *key, void *user), void *user)
{
	struct workqueue *q = mem_new(struct workqueue);

	q->loop = loop;
	q->parallel = MAX(parallel, 1u);
	q->items = map_new(item_free);
	q->work = work;
	q->user = user;
	uv_timer_init(loop, &q->timer);
	uv_idle_init(loop, &q->kick);
	q->timer.data = q->kick.data = q;
	q->open_handles = 2;
	return q;
}

static void on_closed(uv_handle_t *h)
{
	struct workqueue *q = h->data;

	if (--q->open_handles)
		return;
	while (q->heap_count)
		free(q->heap[--q->heap_count].key);
	free(q->heap);
	map_free(q->items);
	free(q);
}

void workqueue_free(struct workqueue *q)
{
	if (!q || q->freed)
		return;
	q->freed = true;
	uv_close((uv_handle_t *)&q->timer, on_closed);
	uv_close((uv_handle_t *)&q->kick, on_closed);
}

static struct item *item_get(struct workqueue *q, const char *key)
{
	struct item *it = map_get(q->items, key);

	if (!it) {
		it = mem_new(struct item);
		it->key = mem_strdup(key);
		map_set(q->items, key, it);
	}
	return it;
}

void workqueue_add(struct workqueue *q, const char *key)
{
	if (q->freed)
		return;
	struct item *it = item_get(q, key);

	if (it->state == STATE_RUNNING)
		it->state = STATE_AGAIN;
	else if (it->state == STATE_NONE || it->state == STATE_DELAYED)
		make_ready(q, it);
}

static void delay(struct workqueue *q, struct item *it, uint64_t due_ms)
{
	it->state = STATE_DELAYED;
	it->due_ms = due_ms;
	heap_push(q, it->key, due_ms);
	arm(q);
}

void workqueue_add_after(struct workqueue *q, const char *key, uint64_t delay_ms)
{
	if (q->freed)
		return;
	if (!delay_ms) {
		workqueue_add(q, key);
		return;
	}
	struct item *it = item_get(q, key);
	uint64_t due = uv_now(q->loop) + delay_ms;

	if (it->state == STATE_NONE || (it->state == STATE_DELAYED && due < it->due_ms))
		delay(q, it, due);
	else if (it->state == STATE_RUNNING && (!it->due_ms || due < it->due_ms))
		it->due_ms = due;
}

void workqueue_done(struct workqueue *q, const char *key, bool failed)
{
	struct item *it = map_get(q->items, key);

	BUG_ON(!it || (it->state != STATE_RUNNING && it->state != STATE_AGAIN));
	bool again = it->state == STATE_AGAIN;
	uint64_t due = it->due_ms;

	q->running--;
	if (failed) {
		uint64_t backoff = it->failures < 18 ? (uint64_t)FIRST_BACKOFF_MS << it->failures : MAX_BACKOFF_MS;
		uint64_t retry = uv_now(q->loop) + MIN(backoff, (uint64_t)MAX_BACKOFF_MS);

		it->failures++;
		due = due && due < retry ? due : retry;
	} else {
		it->failures = 0;
	}
	it->state = STATE_NONE;
	if (q->freed)
		return;
	if (again)
		make_ready(q, it);
	else if (due)
		delay(q, it, due);
	else
		map_del(q->items, it->key);
	if (q->first)
		uv_idle_start(&q->kick, on_kick);
}

size_t workqueue_depth(const struct workqueue *q)
{
	return q->ready;
}
