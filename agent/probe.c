/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probes of one running container. The startup probe goes first and alone; then readiness and liveness run on their own
 * periods. Nothing here kills: a probe that has failed often enough leaves a message, and the next decision acts on it.
 */
#include "agent/handler.h"
#include "agent/pod.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum probe_kind { PROBE_STARTUP, PROBE_READINESS, PROBE_LIVENESS, PROBE_KIND_MAX };

static const char *const fields[PROBE_KIND_MAX] = { "startupProbe", "readinessProbe", "livenessProbe" };
static const char *const names[PROBE_KIND_MAX] = { "Startup", "Readiness", "Liveness" };

struct probe {
	struct probe_set *set;
	enum probe_kind kind;
	bool wanted, ok, given_up;
	unsigned period_ms, timeout_ms, initial_ms;
	int success_threshold, failure_threshold, successes, failures;
	struct handler_call *call;
	uv_timer_t *timer;
};

struct probe_set {
	struct pod *pod;
	size_t index;
	char *container_id;
	json_t *object; /* own */
	const json_t *container;
	struct probe probes[PROBE_KIND_MAX];
};

static void schedule(struct probe *p, unsigned delay_ms);

static bool runs_now(const struct probe *p)
{
	const struct probe *startup = &p->set->probes[PROBE_STARTUP];

	if (!p->wanted || p->given_up)
		return false;
	if (p->kind == PROBE_STARTUP)
		return !p->ok; /* done for good once it has succeeded */
	return !startup->wanted || startup->ok;
}

static void give_up(struct probe *p)
{
	struct pod_container *c = &p->set->pod->containers[p->set->index];
	const json_t *spec = json_object_get(p->set->container, fields[p->kind]);

	p->given_up = true;
	free(c->kill_message);
	c->kill_message = str_printf("Container %s failed %s probe, will be restarted", c->name,
				     p->kind == PROBE_STARTUP ? "startup" : "liveness");
	c->kill_grace_s = json_int(spec, "terminationGracePeriodSeconds", -1);
}

static void on_result(enum handler_result r, const char *output, void *user)
{
	struct probe *p = user;
	struct pod *pod = p->set->pod;
	bool was_ok = p->ok;

	p->call = NULL;
	if (r == HANDLER_OK) {
		p->failures = 0;
		if (++p->successes >= p->success_threshold)
			p->ok = true;
	} else if (r == HANDLER_ERROR) {
		/* It could not be tried (the runtime is away, say): that tells nothing about the container. */
		pod_warn_once(pod, "Unhealthy", "%s probe errored and resulted in unknown state: %s", names[p->kind], output);
	} else {
		p->successes = 0;
		p->failures++;
		pod_event(pod, "Warning", "Unhealthy", "%s probe failed: %s", names[p->kind], output);
		if (p->failures >= p->failure_threshold) {
			p->ok = false;
			if (p->kind != PROBE_READINESS)
				give_up(p);
		}
	}
	if (p->ok != was_ok || p->given_up) {
		pod_wake(pod);
		if (p->kind == PROBE_STARTUP && p->ok)
			for (int k = PROBE_READINESS; k < PROBE_KIND_MAX; k++)
				schedule(&p->set->probes[k], 0);
	}
	schedule(p, p->period_ms);
}

static void on_due(uv_timer_t *t)
{
	struct probe *p = t->data;
	struct pod_facts facts;
	struct handler_target target = { .container_id = p->set->container_id, .container = p->set->container };

	if (!runs_now(p) || p->call)
		return;
	pod_facts(p->set->pod, &facts);
	if (facts.pod_ips && facts.pod_ips->count > 0)
		target.pod_ip = facts.pod_ips->items[0];
	p->call = handler_run(p->set->pod->agent, &target, json_object_get(p->set->container, fields[p->kind]), p->timeout_ms,
			      on_result, p);
}

static void schedule(struct probe *p, unsigned delay_ms)
{
	if (runs_now(p))
		uv_timer_start(p->timer, on_due, delay_ms, 0);
}

static unsigned seconds(const json_t *spec, const char *field, int64_t fallback)
{
	int64_t v = json_int(spec, field, fallback);

	if (v <= 0)
		v = fallback;
	return (unsigned)MIN(v, (int64_t)(1 << 20)) * 1000;
}

void probe_start(struct pod *pod, size_t index, const char *container_id, int64_t started_ns)
{
	struct pod_container *c = &pod->containers[index];
	struct probe_set *set = mem_new(struct probe_set);
	int64_t age_ms = started_ns > 0 ? clock_wall_us() / 1000 - started_ns / 1000000 : 0;

	set->pod = pod;
	set->index = index;
	set->container_id = mem_strdup(container_id);
	set->object = json_incref(pod->object);
	set->container = spec_container(pod->object, c->name);
	c->probes = set;
	for (int k = 0; k < PROBE_KIND_MAX; k++) {
		struct probe *p = &set->probes[k];
		const json_t *spec = json_object_get(set->container, fields[k]);

		p->set = set;
		p->kind = (enum probe_kind)k;
		if (!json_is_object(spec))
			continue;
		p->wanted = true;
		p->ok = k == PROBE_LIVENESS;
		p->period_ms = seconds(spec, "periodSeconds", 10);
		p->timeout_ms = seconds(spec, "timeoutSeconds", 1);
		p->initial_ms = json_int(spec, "initialDelaySeconds", 0) > 0 ? seconds(spec, "initialDelaySeconds", 0) : 0;
		p->success_threshold = (int)json_int(spec, "successThreshold", 1);
		p->failure_threshold = (int)json_int(spec, "failureThreshold", 3);
		p->timer = mem_new(uv_timer_t);
		BUG_ON(uv_timer_init(&pod->agent->loop, p->timer) < 0);
		p->timer->data = p;
	}
	for (int k = 0; k < PROBE_KIND_MAX; k++) {
		struct probe *p = &set->probes[k];

		schedule(p, age_ms < (int64_t)p->initial_ms ? p->initial_ms - (unsigned)MAX(age_ms, (int64_t)0) : 0);
	}
	pod_wake(pod);
}

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

void probe_stop(struct pod_container *c)
{
	struct probe_set *set = TAKE(c->probes);

	if (!set)
		return;
	for (int k = 0; k < PROBE_KIND_MAX; k++) {
		handler_cancel(set->probes[k].call);
		if (set->probes[k].timer)
			uv_close((uv_handle_t *)set->probes[k].timer, timer_closed);
	}
	json_decref(set->object);
	free(set->container_id);
	free(set);
}

void probe_quiet(struct pod_container *c)
{
	static const enum probe_kind quiet[] = { PROBE_STARTUP, PROBE_LIVENESS };

	for (size_t i = 0; c->probes && i < ARRAY_SIZE(quiet); i++) {
		struct probe *p = &c->probes->probes[quiet[i]];

		p->given_up = true;
		handler_cancel(TAKE(p->call));
		if (p->timer)
			uv_timer_stop(p->timer);
	}
}

bool probe_ready(const struct pod_container *c)
{
	return c->probes && (!c->probes->probes[PROBE_READINESS].wanted || c->probes->probes[PROBE_READINESS].ok);
}

bool probe_started(const struct pod_container *c)
{
	return c->probes && (!c->probes->probes[PROBE_STARTUP].wanted || c->probes->probes[PROBE_STARTUP].ok);
}

const char *probe_container_id(const struct pod_container *c)
{
	return c->probes ? c->probes->container_id : NULL;
}
