/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pod decider. Order of a pod's life: prepare, sandbox, init containers one by one (sidecars start in between and
 * stay), then the others; at the end main containers stop first, then sidecars in reverse, then the sandbox. A verb is
 * given again and again until it was seen to have worked: doing is the worker's, deciding is ours. Ephemeral containers
 * (KEP-277) come when they are asked for, run once at most, and nothing depends on them.
 */
#include "agent/plan.h"

#include <string.h>

static void act(struct plan *p, enum plan_verb verb, size_t container)
{
	if (p->count < PLAN_MAX_ACTIONS)
		p->actions[p->count++] = (struct plan_action){ verb, container };
}

static void wake(struct plan *p, int64_t at_ms)
{
	if (!p->wake_at_ms || at_ms < p->wake_at_ms)
		p->wake_at_ms = at_ms;
}

static bool alive(const struct plan_container *c)
{
	return c->run == PLAN_RUNNING || c->run == PLAN_CREATED || c->run == PLAN_UNKNOWN;
}

/* Whether a container that is not running has to be started (again), by its policy. */
static bool wants_run(const struct plan_container *c)
{
	if (c->run != PLAN_EXITED)
		return true;
	return c->policy == PLAN_ALWAYS || (c->policy == PLAN_ON_FAILURE && c->exit_code != 0);
}

/* Stops what still runs: everything but sidecars at once, then sidecars from the last to the first. True when nothing
 * is left. */
static bool stop_containers(const struct plan_input *in, struct plan *p)
{
	bool left = false;

	for (size_t i = 0; i < in->count; i++) {
		const struct plan_container *c = &in->containers[i];

		if (c->kind == PLAN_SIDECAR)
			continue;
		left = left || alive(c) || c->busy;
		if (alive(c) && !c->busy)
			act(p, PLAN_STOP, i);
	}
	for (size_t i = in->count; i-- > 0 && !left;) {
		const struct plan_container *c = &in->containers[i];

		if (c->kind != PLAN_SIDECAR || (!alive(c) && !c->busy))
			continue;
		left = true;
		if (!c->busy)
			act(p, PLAN_STOP, i);
	}
	return !left;
}

static void decide_end(const struct plan_input *in, struct plan *p)
{
	if (!stop_containers(in, p) || in->sandbox_busy)
		return;
	if (in->sandbox != PLAN_SANDBOX_NONE) {
		act(p, PLAN_STOP_SANDBOX, 0); /* a dead one too: its network is given back */
		return;
	}
	p->stopped = true;
}

/* The phase is final when every main container has ended for good, or an init container has failed for good. */
static bool is_completed(const struct plan_input *in, bool initialized)
{
	for (size_t i = 0; i < in->count; i++) {
		const struct plan_container *c = &in->containers[i];

		if (c->kind == PLAN_INIT && !initialized && c->run == PLAN_EXITED && c->exit_code != 0 &&
		    c->policy == PLAN_NEVER)
			return true;
	}
	for (size_t i = 0; i < in->count; i++) {
		const struct plan_container *c = &in->containers[i];

		if (c->kind == PLAN_MAIN && (c->busy || wants_run(c)))
			return false;
	}
	return true;
}

/* A new sandbox starts over: what ran in an old one must have ended before. */
static void decide_sandbox(const struct plan_input *in, struct plan *p)
{
	if (in->sandbox_busy || !stop_containers(in, p))
		return;
	if (in->sandbox == PLAN_SANDBOX_DEAD)
		act(p, PLAN_STOP_SANDBOX, 0); /* gives its network back; then there is none */
	else if (in->now_ms < in->sandbox_retry_at_ms)
		wake(p, in->sandbox_retry_at_ms);
	else
		act(p, PLAN_RUN_SANDBOX, 0);
}

/* Starts container i when it may be. True when it was, or waits for its back-off. */
static void try_start(const struct plan_input *in, struct plan *p, size_t i, bool *starting)
{
	const struct plan_container *c = &in->containers[i];

	if (c->busy || *starting)
		return;
	if (alive(c)) {
		/* Made by an agent that died before it started it, or the runtime lost track: away with it first. */
		act(p, PLAN_STOP, i);
		return;
	}
	if (c->retry_at_ms > in->now_ms) {
		wake(p, c->retry_at_ms);
		return;
	}
	act(p, PLAN_START, i);
	*starting = true;
}

static bool main_has_run(const struct plan_input *in)
{
	for (size_t i = 0; i < in->count; i++) {
		const struct plan_container *c = &in->containers[i];

		if (c->kind == PLAN_MAIN && c->run != PLAN_ABSENT && c->current)
			return true;
	}
	return false;
}

/* They do not wait for init containers: those may be what is being debugged. One that has run in an old sandbox is over. */
static void decide_ephemeral(const struct plan_input *in, struct plan *p, bool *starting)
{
	for (size_t i = 0; i < in->count; i++) {
		const struct plan_container *c = &in->containers[i];

		if (c->kind == PLAN_EPHEMERAL && (c->run == PLAN_ABSENT || c->run == PLAN_CREATED))
			try_start(in, p, i, starting);
	}
}

static void decide_containers(const struct plan_input *in, struct plan *p, bool initialized)
{
	bool starting = in->start_busy;
	bool init_done = true;

	decide_ephemeral(in, p, &starting);
	for (size_t i = 0; i < in->count; i++) {
		const struct plan_container *c = &in->containers[i];
		enum plan_run run = c->current ? c->run : c->run == PLAN_EXITED ? PLAN_ABSENT : c->run;

		if (c->kind == PLAN_MAIN || !init_done)
			break;
		if (c->kind == PLAN_SIDECAR) {
			if (run == PLAN_RUNNING && c->unhealthy && !c->busy)
				act(p, PLAN_STOP, i);
			else if (run != PLAN_RUNNING)
				try_start(in, p, i, &starting);
			init_done = initialized || (run == PLAN_RUNNING && c->started);
			continue;
		}
		if (initialized || (run == PLAN_EXITED && c->exit_code == 0))
			continue;
		init_done = false;
		if (run == PLAN_ABSENT || run == PLAN_CREATED || run == PLAN_UNKNOWN ||
		    (run == PLAN_EXITED && c->policy != PLAN_NEVER))
			try_start(in, p, i, &starting);
	}
	p->initialized = init_done;
	for (size_t i = 0; i < in->count && init_done; i++) {
		const struct plan_container *c = &in->containers[i];

		if (c->kind != PLAN_MAIN)
			continue;
		if (c->run == PLAN_RUNNING) {
			if (c->unhealthy && !c->busy)
				act(p, PLAN_STOP, i);
		} else if (c->run == PLAN_CREATED || c->run == PLAN_UNKNOWN || wants_run(c)) {
			try_start(in, p, i, &starting);
		}
	}
}

void plan_decide(const struct plan_input *in, struct plan *ret)
{
	bool initialized = in->sandbox == PLAN_SANDBOX_READY && main_has_run(in);

	memset(ret, 0, sizeof(*ret));
	ret->initialized = initialized;
	if (in->terminating || in->finished) {
		decide_end(in, ret);
		return;
	}
	/* A pod that has run before may have ended; one that never had a sandbox has not. */
	if (in->had_sandbox && is_completed(in, initialized)) {
		ret->completed = true;
		decide_end(in, ret);
		return;
	}
	if (!in->prepared) {
		act(ret, PLAN_PREPARE, 0);
		return;
	}
	if (in->sandbox != PLAN_SANDBOX_READY) {
		decide_sandbox(in, ret);
		return;
	}
	decide_containers(in, ret, initialized);
}
