/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a pod goes: preStop hook, the stop signal, the grace, then the sandbox, the volumes and the cgroup; at last the
 * runtime's records and the logs. Every step may be repeated after a crash: what is gone already is no error.
 */
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/handler.h"
#include "agent/pod.h"
#include "agent/resources.h"
#include "agent/spec.h"
#include "agent/volume/volumes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

enum {
	STOP_MARGIN_MS = 2 * 60 * 1000,
	MIN_GRACE_AFTER_HOOK_S = 2,
	STOP_RETRY_MS = 2000,
	KEEP_DEAD = 1, /* ended containers kept beside the newest, for lastState and `logs --previous` */
};

/* Container */

struct stop {
	struct pod *pod;
	size_t index;
	char *id;
	json_t *object;
	int64_t began_ms, grace_s;
};

static void stop_free(struct stop *s)
{
	struct pod *p = s->pod;

	p->containers[s->index].stopping = false;
	p->containers[s->index].stop_deadline_ms = 0;
	json_decref(s->object);
	free(s->id);
	free(s);
	pod_op_done(p);
}

static void on_retry_timer_closed(uv_handle_t *h)
{
	struct stop *s = h->data;

	free(h);
	stop_free(s);
}

static void on_retry_timer(uv_timer_t *t)
{
	uv_close((uv_handle_t *)t, on_retry_timer_closed);
}

static void on_stopped(const struct cri_result *r, void *user)
{
	struct stop *s = user;

	if (!cri_ok(r) && r->status != GRPC_NOT_FOUND) {
		uv_timer_t *t = mem_new(uv_timer_t);

		/* The container stays "stopping" for a moment, so that a runtime in trouble is not stormed. */
		pod_warn_once(s->pod, "FailedKillPod", "error killing container %s: %s", s->pod->containers[s->index].name,
			      r->message);
		BUG_ON(uv_timer_init(&s->pod->agent->loop, t) < 0);
		t->data = s;
		uv_timer_start(t, on_retry_timer, STOP_RETRY_MS, 0);
		return;
	}
	stop_free(s);
}

static void send_stop(struct stop *s)
{
	Cri__StopContainerRequest request = CRI__STOP_CONTAINER_REQUEST__INIT;
	int64_t used_s = (clock_mono_ms() - s->began_ms) / 1000, left_s = s->grace_s - used_s;

	/* A hook that took its time leaves at least the usual two seconds. */
	if (used_s > 0)
		left_s = MAX(left_s, (int64_t)MIN_GRACE_AFTER_HOOK_S);
	request.container_id = s->id;
	request.timeout = left_s < 0 ? 0 : left_s;
	s->pod->containers[s->index].stop_deadline_ms = clock_mono_ms() + request.timeout * 1000;
	cri_call(s->pod->agent->cri, CRI_STOP_CONTAINER, &request.base, (unsigned)(request.timeout * 1000 + STOP_MARGIN_MS),
		 on_stopped, s);
}

static void on_hook(enum handler_result r, const char *output, void *user)
{
	struct stop *s = user;

	if (r != HANDLER_OK)
		pod_event(s->pod, "Warning", "FailedPreStopHook", "PreStopHook failed: %s", output);
	send_stop(s);
}

static void remove_created(struct pod *p, struct stop *s)
{
	Cri__RemoveContainerRequest request = CRI__REMOVE_CONTAINER_REQUEST__INIT;

	request.container_id = s->id;
	cri_call(p->agent->cri, CRI_REMOVE_CONTAINER, &request.base, 0, on_stopped, s);
}

void pod_stop_container(struct pod *p, size_t index)
{
	struct pod_container *c = &p->containers[index];
	const struct observed_container *o = observed_find(p->seen, c->name, 0);
	const json_t *spec, *hook;
	struct stop *s;

	if (c->starting || c->stopping || !o)
		return;
	s = mem_new(struct stop);
	s->pod = p;
	s->index = index;
	s->id = mem_strdup(o->id);
	s->object = p->object ? json_incref(p->object) : NULL;
	s->began_ms = clock_mono_ms();
	s->grace_s = p->state == POD_ALIVE && c->kill_grace_s >= 0 ? c->kill_grace_s : pod_grace_s(p);
	if (p->stop_since_ms) /* sidecars share what the others left */
		s->grace_s = MAX(s->grace_s - (clock_mono_ms() - p->stop_since_ms) / 1000, (int64_t)0);
	c->stopping = true;
	p->ops++;
	probe_quiet(c);
	if (o->state == PLAN_CREATED) {
		/* It never ran: there is nothing to stop. */
		remove_created(p, s);
		return;
	}
	if (c->kill_message && p->state == POD_ALIVE)
		pod_event(p, "Normal", "Killing", "%s", c->kill_message);
	else
		pod_event(p, "Normal", "Killing", "Stopping container %s", c->name);
	spec = spec_container(s->object, c->name);
	hook = json_at(spec, "lifecycle.preStop");
	if (json_is_object(hook) && s->grace_s > 0 && o->state == PLAN_RUNNING) {
		struct pod_facts facts;
		struct handler_target t = { .container_id = s->id, .container = spec };

		pod_facts(p, &facts);
		if (facts.pod_ips && facts.pod_ips->count > 0)
			t.pod_ip = facts.pod_ips->items[0];
		handler_run(p->agent, &t, hook, (unsigned)(s->grace_s * 1000), on_hook, s);
		return;
	}
	send_stop(s);
}

/* Sandbox */

struct sandbox_op {
	struct pod *pod;
	char *id;
};

static void on_sandbox_stopped(const struct cri_result *r, void *user)
{
	struct sandbox_op *op = user;
	struct pod *p = op->pod;

	p->sandbox_busy = false;
	if (cri_ok(r) || r->status == GRPC_NOT_FOUND) {
		free(p->released_sandbox);
		p->released_sandbox = TAKE(op->id);
	} else {
		pod_warn_once(p, "FailedKillPod", "error killing pod: %s", r->message);
		p->sandbox_retry_at_ms = clock_mono_ms() + STOP_RETRY_MS;
	}
	free(op->id);
	free(op);
	pod_op_done(p);
}

void pod_stop_sandbox(struct pod *p)
{
	Cri__StopPodSandboxRequest request = CRI__STOP_POD_SANDBOX_REQUEST__INIT;
	struct sandbox_op *op;

	if (p->sandbox_busy || p->seen->sandbox_count == 0)
		return;
	if (clock_mono_ms() < p->sandbox_retry_at_ms) {
		pod_wake_at(p, p->sandbox_retry_at_ms);
		return;
	}
	op = mem_new(struct sandbox_op);
	op->pod = p;
	op->id = mem_strdup(p->seen->sandboxes[0].id);
	request.pod_sandbox_id = op->id;
	p->sandbox_busy = true;
	p->ops++;
	cri_call(p->agent->cri, CRI_STOP_POD_SANDBOX, &request.base, 0, on_sandbox_stopped, op);
}

/* What is ours on the node */

static void on_torn_down(const char *error, void *user)
{
	struct pod *p = user;
	_cleanup_err_ struct err err = { 0 };

	p->ops--;
	if (error) {
		pod_warn_once(p, "FailedUnmount", "%s", error);
		p->clean_retry_at_ms = clock_mono_ms() + STOP_RETRY_MS;
		pod_wake_at(p, p->clean_retry_at_ms);
		return;
	}
	for (int q = 0; q < QOS_MAX; q++) {
		/* An orphan's class is not known. */
		_cleanup_free_ char *path = cgroup_pod_path(p->agent->o.cgroup_root, (enum qos)q, p->uid);

		if (cgroup_remove(path, &err) < 0) {
			log_warn("pod %s/%s: %s", p->ns, p->name, err_msg(&err));
			p->clean_retry_at_ms = clock_mono_ms() + STOP_RETRY_MS;
			pod_wake_at(p, p->clean_retry_at_ms);
			return;
		}
	}
	p->cleaned = true;
	pod_wake(p);
}

void pod_clean(struct pod *p)
{
	if (p->ops > 0)
		return;
	if (clock_mono_ms() < p->clean_retry_at_ms) {
		pod_wake_at(p, p->clean_retry_at_ms);
		return;
	}
	p->prepared = false;
	p->ops++;
	volumes_teardown(p->agent, p->uid, on_torn_down, p);
}

/* A second delete may have shortened the grace of what is already being stopped. */
void pod_hasten(struct pod *p)
{
	int64_t grace_s = pod_grace_s(p), now = clock_mono_ms();

	for (size_t i = 0; i < p->count; i++) {
		struct pod_container *c = &p->containers[i];
		const struct observed_container *o = observed_find(p->seen, c->name, 0);
		Cri__StopContainerRequest request = CRI__STOP_CONTAINER_REQUEST__INIT;

		if (!o || !c->stopping || c->stop_deadline_ms <= now + grace_s * 1000 + 1000)
			continue;
		c->stop_deadline_ms = now + grace_s * 1000;
		request.container_id = o->id;
		request.timeout = grace_s;
		cri_call(p->agent->cri, CRI_STOP_CONTAINER, &request.base, (unsigned)(grace_s * 1000 + STOP_MARGIN_MS), NULL,
			 NULL);
	}
}

/* The runtime's records */

static void on_removed(const struct cri_result *r, void *user)
{
	struct pod *p = user;

	p->sandbox_busy = false;
	if (!cri_ok(r) && r->status != GRPC_NOT_FOUND) {
		log_warn("pod %s/%s: its sandbox cannot be removed: %s", p->ns, p->name, r->message);
		p->sandbox_retry_at_ms = clock_mono_ms() + STOP_RETRY_MS;
	}
	pod_op_done(p);
}

void pod_remove(struct pod *p)
{
	_cleanup_free_ char *logs = config_log_dir(p->agent, p->ns, p->name, p->uid);

	if (p->sandbox_busy)
		return;
	if (clock_mono_ms() < p->sandbox_retry_at_ms) {
		pod_wake_at(p, p->sandbox_retry_at_ms);
		return;
	}
	file_rm_rf(logs);
	if (p->seen->sandbox_count > 0) {
		Cri__RemovePodSandboxRequest request = CRI__REMOVE_POD_SANDBOX_REQUEST__INIT;

		request.pod_sandbox_id = p->seen->sandboxes[0].id;
		p->sandbox_busy = true;
		p->ops++;
		cri_call(p->agent->cri, CRI_REMOVE_POD_SANDBOX, &request.base, 0, on_removed, p);
	} else if (p->seen->container_count > 0) {
		Cri__RemoveContainerRequest request = CRI__REMOVE_CONTAINER_REQUEST__INIT;

		request.container_id = p->seen->containers[0].id;
		p->sandbox_busy = true;
		p->ops++;
		cri_call(p->agent->cri, CRI_REMOVE_CONTAINER, &request.base, 0, on_removed, p);
	}
}

/* Garbage */

static void on_collected(const struct cri_result *r, void *user)
{
	(void)r; /* tried again at the next look */
	pod_op_done(user);
}

static void remove_logs(struct pod *p, const struct observed_container *o)
{
	_cleanup_free_ char *dir = config_log_dir(p->agent, p->ns, p->name, p->uid);
	_cleanup_free_ char *path = str_printf("%s/%s/%u.log", dir, o->name, o->attempt);

	file_rm_rf(path);
}

void pod_collect(struct pod *p)
{
	if (p->ops > 0)
		return;
	for (size_t i = 0; i < p->seen->container_count; i++) {
		const struct observed_container *o = &p->seen->containers[i];
		Cri__RemoveContainerRequest request = CRI__REMOVE_CONTAINER_REQUEST__INIT;
		unsigned newer = 0;

		for (size_t k = 0; k < i; k++)
			newer += str_eq(p->seen->containers[k].name, o->name);
		if (o->state != PLAN_EXITED || newer <= KEEP_DEAD)
			continue;
		remove_logs(p, o);
		if (o->message_path)
			file_rm_rf(o->message_path);
		request.container_id = o->id;
		p->ops++;
		cri_call(p->agent->cri, CRI_REMOVE_CONTAINER, &request.base, 0, on_collected, p);
		return;
	}
	for (size_t i = 1; i < p->seen->sandbox_count; i++) {
		const struct observed_sandbox *s = &p->seen->sandboxes[i];
		Cri__RemovePodSandboxRequest request = CRI__REMOVE_POD_SANDBOX_REQUEST__INIT;
		bool used = s->ready;

		/* Removing a sandbox removes its containers: those still wanted for lastState keep it. */
		for (size_t k = 0; k < p->seen->container_count; k++)
			used = used || str_eq(p->seen->containers[k].sandbox_id, s->id);
		if (used)
			continue;
		request.pod_sandbox_id = s->id;
		p->ops++;
		cri_call(p->agent->cri, CRI_REMOVE_POD_SANDBOX, &request.base, 0, on_collected, p);
		return;
	}
}
