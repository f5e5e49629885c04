// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * keelson-controllers: the controllers of a cluster in one process, on one loop, over one connection. Only the holder
 * of the Lease works; another instance stands by with next to no memory. Losing the Lease ends the process, as whatever
 * supervises it starts it again: nothing then can be written by an instance that is no longer the leader.
 */
#include <malloc.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "controllers/health.h"
#include "controllers/options.h"
#include "kube/leader.h"

struct daemon {
	uv_loop_t loop;
	struct kube_client *client;
	struct options options;
	struct leader *leader;
	struct controller_context *controllers;
	struct health *health;
	uv_signal_t term, interrupt;
	uv_timer_t ending, trim;
	bool stopping, lost;
};

static bool is_ready(void *user)
{
	const struct daemon *d = user;

	return !d->stopping && (!d->controllers || d->controllers->synced);
}

static void on_end(uv_timer_t *t)
{
	struct daemon *d = t->data;

	if (d->leader)
		leader_free(TAKE(d->leader));
	kube_client_free(TAKE(d->client));
	uv_close((uv_handle_t *)&d->term, NULL);
	uv_close((uv_handle_t *)&d->interrupt, NULL);
	uv_close((uv_handle_t *)&d->ending, NULL);
	uv_close((uv_handle_t *)&d->trim, NULL);
}

/* From the loop: this may be one of the client's own callbacks. */
static void end(void *user)
{
	struct daemon *d = user;

	uv_timer_start(&d->ending, on_end, 0, 0);
}

/* In order: no more writes, then the Lease is given up so that a successor need not wait, then the connection. */
static void stop(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	controllers_stop(TAKE(d->controllers));
	health_stop(TAKE(d->health));
	if (d->leader && !d->lost)
		leader_release(d->leader, end, d);
	else
		end(d);
}

static void on_signal(uv_signal_t *s, int number)
{
	log_info("signal %d: stopping", number);
	stop(s->data);
}

enum { TRIM_FIRST_MS = 2000, TRIM_EVERY_MS = 60000 };

/* Lists leave holes in the heap; an idle daemon gives them back. */
static void on_trim(uv_timer_t *t _unused_)
{
	malloc_trim(0);
}

static void on_leading(void *user)
{
	struct daemon *d = user;

	log_info("leading: starting the controllers");
	d->controllers = controllers_start(&d->loop, d->client, &d->options.config);
	uv_timer_start(&d->trim, on_trim, TRIM_FIRST_MS, TRIM_EVERY_MS);
}

static void on_lost(void *user)
{
	struct daemon *d = user;

	log_error("the Lease was lost to another instance: stopping");
	d->lost = true;
	stop(d);
}

static int start(struct daemon *d, struct err *err)
{
	struct kubeconfig config = { 0 };
	int r = d->options.kubeconfig ? kubeconfig_load(d->options.kubeconfig, &config, err) :
					kubeconfig_in_cluster(&config, err);

	if (r < 0)
		return r;
	d->client = kube_client_new(&d->loop, &config, "keelson-controllers/" KEELSON_VERSION, err);
	kubeconfig_done(&config);
	if (!d->client)
		return -err->code;
	if (d->options.listen) {
		r = health_start(&d->loop, d->options.listen, is_ready, d, &d->health, err);
		if (r < 0)
			return r;
	}
	if (d->options.leader_elect) {
		const struct leader_options options = {
			.size = sizeof(options),
			.ns = "kube-system",
			.name = "kube-controller-manager",
			.on_started = on_leading,
			.on_stopped = on_lost,
			.user = d,
		};

		d->leader = leader_new(d->client, &options);
	} else {
		on_leading(d);
	}
	return 0;
}

static void on_walk(uv_handle_t *h, void *user _unused_)
{
	if (!uv_is_closing(h))
		log_debug("a handle of type %s was left open", uv_handle_type_name(h->type));
}

static int run(struct options *options)
{
	struct daemon d = { .options = *options };
	_cleanup_err_ struct err err = { 0 };
	int r;

	uv_loop_init(&d.loop);
	uv_signal_init(&d.loop, &d.term);
	uv_signal_init(&d.loop, &d.interrupt);
	uv_timer_init(&d.loop, &d.ending);
	uv_timer_init(&d.loop, &d.trim);
	d.term.data = d.interrupt.data = d.ending.data = &d;
	uv_signal_start(&d.term, on_signal, SIGTERM);
	uv_signal_start(&d.interrupt, on_signal, SIGINT);
	r = start(&d, &err);
	if (r < 0) {
		log_error("%s", err_msg(&err));
		stop(&d);
	}
	uv_run(&d.loop, UV_RUN_DEFAULT);
	uv_walk(&d.loop, on_walk, NULL);
	uv_loop_close(&d.loop);
	metrics_reset();
	return r < 0 || d.lost ? 1 : 0;
}

int main(int argc, char **argv)
{
	_cleanup_err_ struct err err = { 0 };
	struct options options;
	int r;

	log_init("controllers");
	signal(SIGPIPE, SIG_IGN);
	if (options_parse(argc, argv, &options, &err) < 0) {
		fprintf(stderr, "keelson-controllers: %s\nTry keelson-controllers --help.\n", err_msg(&err));
		return 2;
	}
	if (options.help)
		fputs(options_usage(), stdout);
	else if (options.version)
		puts("keelson-controllers " KEELSON_VERSION);
	r = options.help || options.version ? 0 : run(&options);
	options_done(&options);
	return r;
}
