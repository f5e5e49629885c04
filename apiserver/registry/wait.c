// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads that ask for a revision this server has not reached: they wait a moment, since a client may have heard of a write from
 * another reader first, and are then served again from the start. What always holds: a call waits at most once.
 */
#include <stdlib.h>

#include "apiserver/registry/registry.h"

enum { WAIT_MS = 3000, MAX_WAITERS = 1000 };

struct waiter {
	struct waiter *next, **prev;
	struct call *call;
	uint64_t revision;
	void (*verb)(struct call *c);
	uv_timer_t timer;
};

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void serve(struct waiter *w)
{
	struct call *c = w->call;
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	c->g->waiter_count--;
	uv_close((uv_handle_t *)&w->timer, on_timer_closed);
	if (c->req)
		w->verb(c);
	call_unref(c);
}

static void on_timeout(uv_timer_t *timer)
{
	serve(timer->data);
}

bool wait_for_revision(struct call *c, uint64_t revision, void (*verb)(struct call *c))
{
	struct registry *g = c->g;
	if (c->waited || g->stopping || g->waiter_count == MAX_WAITERS)
		return false;
	struct waiter *w = mem_new(struct waiter);
	*w = (struct waiter){ .next = g->waiters, .prev = &g->waiters, .call = call_ref(c), .revision = revision, .verb = verb };
	c->waited = true;
	if (w->next)
		w->next->prev = &w->next;
	g->waiters = w;
	g->waiter_count++;
	uv_timer_init(g->loop, &w->timer);
	w->timer.data = w;
	uv_timer_start(&w->timer, on_timeout, WAIT_MS, 0);
	return true;
}

struct freshness {
	struct call *call;
	void (*verb)(struct call *c);
};

static void on_fresh(int status, void *user)
{
	struct freshness *f = user;
	struct call *c = f->call;
	if (c->req && status)
		answer_status(c, status_internal("etcd does not answer: what other API servers have written is not known"));
	else if (c->req)
		f->verb(c);
	call_unref(c);
	free(f);
}

bool wait_fresh(struct call *c, void (*verb)(struct call *c))
{
	struct registry *g = c->g;
	if (c->fresh || g->stopping || !store_is_shared(g->store))
		return false;
	struct freshness *f = mem_new(struct freshness);
	*f = (struct freshness){ call_ref(c), verb };
	c->fresh = true;
	store_sync(g->store, on_fresh, f);
	return true;
}

void wait_committed(struct registry *g)
{
	struct waiter *next;
	for (struct waiter *w = g->waiters; w; w = next) {
		next = w->next;
		if (w->revision <= store_revision(g->store))
			serve(w);
	}
}

void wait_stop(struct registry *g)
{
	while (g->waiters)
		serve(g->waiters);
}
