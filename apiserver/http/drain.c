// SPDX-License-Identifier: GPL-2.0-or-later
/* Two phases, DELAY and CLOSING: in the second the HTTP server ends by itself, and a timer ends the watches share by share. */
#include "apiserver/http/serving.h"

#include "base/log.h"

enum { AT_ONCE_GRACE_MS = 700, TURN_MS = 50, AFTER_WATCHES_MS = 1000 };

enum drain_phase { DRAIN_DELAY, DRAIN_CLOSING, DRAIN_OVER };
struct drain {
	enum drain_phase phase;
	struct registry *g;
	struct http_server *http;
	struct serving s;
	uv_timer_t timer;
	unsigned turns_left;
	void (*done)(void *user);
	void *user;
};

static void on_server_gone(void *user)
{
	struct drain *d = user;
	d->phase = DRAIN_OVER;
	uv_timer_stop(&d->timer);
	d->done(d->user);
}

/* Ends as many watches as makes the last go at the last turn: clients come back to the others one after another. */
static void on_turn(uv_timer_t *timer)
{
	struct drain *d = timer->data;
	size_t open = watch_hub_watchers(d->g->hub);
	if (d->turns_left <= 1 || !open) {
		watch_hub_stop(d->g->hub);
		uv_timer_stop(timer);
		return;
	}
	watch_hub_end_some(d->g->hub, (open + d->turns_left - 1) / d->turns_left);
	d->turns_left--;
}

static void begin_closing(struct drain *d)
{
	unsigned grace_ms = MAX(d->s.grace_ms, d->s.watches_ms ? d->s.watches_ms + AFTER_WATCHES_MS : 0);
	d->phase = DRAIN_CLOSING;
	uv_timer_stop(&d->timer);
	d->turns_left = d->s.watches_ms / TURN_MS;
	http_server_shutdown(d->http, grace_ms, on_server_gone, d);
	if (d->turns_left)
		uv_timer_start(&d->timer, on_turn, 0, TURN_MS);
	else if (d->g->hub)
		watch_hub_stop(d->g->hub);
}

static void on_delay_over(uv_timer_t *timer)
{
	begin_closing(timer->data);
}

struct drain *drain_begin(struct registry *g, struct http_server *http, const struct serving *s, bool at_once, void (*done)(void *user),
			  void *user)
{
	struct drain *d = mem_new(struct drain);
	*d = (struct drain){ .g = g, .http = http, .s = *s, .done = done, .user = user };
	uv_timer_init(g->loop, &d->timer);
	d->timer.data = d;
	g->draining = true;
	if (at_once) {
		d->s.delay_ms = d->s.watches_ms = 0;
		d->s.grace_ms = AT_ONCE_GRACE_MS;
		g->stopping = true;
	}
	if (d->s.delay_ms)
		uv_timer_start(&d->timer, on_delay_over, d->s.delay_ms, 0);
	else
		begin_closing(d);
	return d;
}

void drain_hurry(struct drain *d)
{
	if (d->phase == DRAIN_DELAY) {
		log_info("not waiting for --shutdown-delay-duration any longer");
		begin_closing(d);
	} else if (d->phase == DRAIN_CLOSING) {
		log_info("cutting what is under way");
		http_server_cut(d->http);
	}
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

struct drain *drain_free(struct drain *d)
{
	if (d)
		uv_close((uv_handle_t *)&d->timer, on_closed);
	return NULL;
}
