/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pod's state machine. Every turn: look at the runtime when something was done since the last look, decide
 * (plan.c), begin what was decided, tell the API. A turn never blocks and never does twice what is under way; states
 * move only along the table below.
 */
#include "agent/pod.h"

#include "agent/config.h"
#include "agent/node.h"
#include "agent/pods.h"
#include "agent/resources.h"
#include "agent/sources.h"
#include "agent/status.h"
#include "agent/text.h"
#include "agent/volume/tokens.h"
#include "agent/volume/volumes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "kube/object.h"

enum { LOOK_RETRY_MS = 1000, AWAIT_MS = 10, AWAIT_LOOKS = 10, MAX_GRACE_S = 7 * 24 * 3600, PATCH_RETRY_MS = 1000, BACKOFF_SHOWN_MS = 2000, SYNC_PERIOD_MS = 60 * 1000 };

static const char *const state_names[POD_STATE_MAX] = { "alive", "stopping", "cleaning", "stopped", "removing", "gone" };

#define TO(s) (1u << (s))
static const unsigned moves[POD_STATE_MAX] = {
	[POD_ALIVE] = TO(POD_STOPPING) | TO(POD_CLEANING),
	[POD_STOPPING] = TO(POD_CLEANING),
	[POD_CLEANING] = TO(POD_STOPPED),
	[POD_STOPPED] = TO(POD_REMOVING),
	[POD_REMOVING] = TO(POD_GONE),
	[POD_GONE] = 0,
};

static void move_to(struct pod *p, enum pod_state to)
{
	BUG_ON(!(moves[p->state] & TO(to)));
	log_debug("pod %s/%s (%s): %s -> %s", p->ns, p->name, p->uid, state_names[p->state], state_names[to]);
	p->state = to;
	if (to == POD_STOPPING)
		p->stop_since_ms = clock_mono_ms();
	pod_wake(p);
}

static void turn(struct pod *p);

static void on_timer(uv_timer_t *t)
{
	turn(t->data);
}

void pod_wake_at(struct pod *p, int64_t at_ms)
{
	int64_t now = clock_mono_ms();
	uint64_t delay = at_ms > now ? (uint64_t)(at_ms - now) : 0;

	if (!p->timer || (uv_is_active((uv_handle_t *)p->timer) && uv_timer_get_due_in(p->timer) <= delay))
		return;
	uv_timer_start(p->timer, on_timer, delay, 0);
}

void pod_wake(struct pod *p)
{
	pod_wake_at(p, 0);
}

struct pod *pod_new(struct agent *a, const char *uid, const char *ns, const char *name)
{
	struct pod *p = mem_new(struct pod);

	p->agent = a;
	p->uid = mem_strdup(uid);
	p->ns = mem_strdup(ns);
	p->name = mem_strdup(name);
	p->timer = mem_new(uv_timer_t);
	BUG_ON(uv_timer_init(&a->loop, p->timer) < 0);
	p->timer->data = p;
	pod_look(p);
	return p;
}

bool pod_is_idle(const struct pod *p)
{
	return p->ops == 0 && !p->patching;
}

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

static void container_done(struct pod_container *c)
{
	probe_stop(c);
	free(c->name);
	free(c->waiting_reason);
	free(c->waiting_message);
	free(c->counted_id);
	free(c->hook_id);
	free(c->kill_message);
	json_decref(c->applied);
}

void pod_free(struct pod *p)
{
	if (!p)
		return;
	observe_cancel(p->observing);
	observed_free(p->seen);
	for (size_t i = 0; i < p->count; i++)
		container_done(&p->containers[i]);
	free(p->containers);
	json_decref(p->object);
	uv_close((uv_handle_t *)p->timer, timer_closed);
	strlist_done(&p->awaited);
	free(p->released_sandbox);
	free(p->reason);
	free(p->message);
	free(p->last_event);
	free(p->resize_message);
	free(p->uid);
	free(p->ns);
	free(p->name);
	free(p);
}

const struct observed_sandbox *pod_sandbox(const struct pod *p)
{
	const struct observed_sandbox *s = p->seen && p->seen->sandbox_count > 0 ? &p->seen->sandboxes[0] : NULL;

	if (!s || !s->ready || str_eq(s->id, p->released_sandbox))
		return NULL;
	/* Its process lives, but its network namespace is gone: the runtime knows no address then. It is of no use. */
	if (s->ips.count == 0 && p->object && !json_bool(p->object, "spec.hostNetwork", false))
		return NULL;
	return s;
}

void pod_facts(const struct pod *p, struct pod_facts *ret)
{
	const struct observed_sandbox *s = pod_sandbox(p);

	*ret = (struct pod_facts){ .node_name = p->agent->o.node_name, .node_ips = &p->agent->node_ips };
	node_resources(p->agent->node, &ret->node_cpu_milli, &ret->node_memory_bytes);
	if (json_bool(p->object, "spec.hostNetwork", false))
		ret->pod_ips = &p->agent->node_ips;
	else if (s)
		ret->pod_ips = &s->ips;
}

int64_t pod_grace_s(const struct pod *p)
{
	int64_t grace;

	if (p->object && object_deleting(p->object))
		grace = json_int(p->object, "metadata.deletionGracePeriodSeconds", 30);
	else if (p->object)
		grace = json_int(p->object, "spec.terminationGracePeriodSeconds", 30);
	else
		grace = p->seen ? p->seen->grace_s : 30;
	if (p->object && !p->in_api && !object_deleting(p->object))
		grace = MIN(grace, (int64_t)30); /* deleted by force */
	return grace < 0 ? 0 : MIN(grace, (int64_t)MAX_GRACE_S);
}

void pod_event(struct pod *p, const char *type, const char *reason, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_free_ char *clean = NULL;
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	clean = text_utf8(text.data);
	if (p->object)
		kube_event(p->agent->kube, AGENT_COMPONENT, p->agent->o.node_name, p->object, type, reason, "%s", clean);
	if (str_eq(type, "Warning"))
		log_warn("pod %s/%s: %s: %s", p->ns, p->name, reason, text.data);
	else
		log_debug("pod %s/%s: %s: %s", p->ns, p->name, reason, text.data);
}

void pod_warn_once(struct pod *p, const char *reason, const char *fmt, ...)
{
	struct strbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	if (str_eq(p->last_event, text.data)) {
		strbuf_done(&text);
		return;
	}
	pod_event(p, "Warning", reason, "%s", text.data);
	free(p->last_event);
	p->last_event = strbuf_take(&text);
}

void pod_set_waiting(struct pod_container *c, const char *reason, const char *message)
{
	char *new_reason = mem_strdup(reason), *new_message = message ? text_utf8(message) : NULL;

	free(c->waiting_reason);
	free(c->waiting_message);
	c->waiting_reason = new_reason;
	c->waiting_message = new_message;
}

/* The containers of the spec; an orphan has those the runtime shows. */

static enum plan_policy policy_of(const char *s)
{
	return str_eq(s, "Never") ? PLAN_NEVER : str_eq(s, "OnFailure") ? PLAN_ON_FAILURE : PLAN_ALWAYS;
}

static struct pod_container *add_container(struct pod *p, const char *name, enum plan_kind kind, enum plan_policy policy)
{
	struct pod_container *c;

	p->containers = mem_realloc(p->containers, (p->count + 1) * sizeof(*p->containers));
	c = &p->containers[p->count++];
	*c = (struct pod_container){ .name = mem_strdup(name), .kind = kind, .policy = policy, .kill_grace_s = -1 };
	return c;
}

static bool has_container(const struct pod *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++)
		if (str_eq(p->containers[i].name, name))
			return true;
	return false;
}

static void containers_of_spec(struct pod *p)
{
	enum plan_policy policy = policy_of(json_str(p->object, "spec.restartPolicy"));
	json_t *c;
	size_t i;

	json_array_foreach(json_at(p->object, "spec.initContainers"), i, c) {
		bool sidecar = str_eq(json_str(c, "restartPolicy"), "Always");

		/* An init container of a pod that always restarts is repeated only until it succeeds. */
		add_container(p, json_str_or(c, "name", ""), sidecar ? PLAN_SIDECAR : PLAN_INIT,
			      sidecar			 ? PLAN_ALWAYS :
			      policy == PLAN_NEVER ? PLAN_NEVER :
						     PLAN_ON_FAILURE);
	}
	json_array_foreach(json_at(p->object, "spec.containers"), i, c)
		add_container(p, json_str_or(c, "name", ""), PLAN_MAIN, policy);
}

/* The only ones that can be added to a pod that is there. */
static void ephemeral_containers_of_spec(struct pod *p)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_at(p->object, "spec.ephemeralContainers"), i, c)
		if (!has_container(p, json_str_or(c, "name", "")))
			add_container(p, json_str_or(c, "name", ""), PLAN_EPHEMERAL, PLAN_NEVER);
}

static void containers_of_orphan(struct pod *p)
{
	for (size_t i = 0; i < p->seen->container_count; i++)
		if (!has_container(p, p->seen->containers[i].name))
			add_container(p, p->seen->containers[i].name, PLAN_MAIN, PLAN_NEVER);
}

void pod_set_object(struct pod *p, const json_t *object)
{
	if (!object) {
		p->in_api = false;
	} else {
		int64_t old = 0, new = 0;

		/* A patch's answer may have been newer than what the watch brings. */
		(void)str_to_i64(object_resource_version(object), 0, INT64_MAX, &new);
		if (p->object)
			(void)str_to_i64(object_resource_version(p->object), 0, INT64_MAX, &old);
		p->in_api = true;
		if (p->object && new < old)
			return;
		json_decref(p->object);
		p->object = json_incref((json_t *)object);
		p->refresh = true; /* labels and annotations may stand in files */
		if (p->count == 0)
			containers_of_spec(p);
		ephemeral_containers_of_spec(p);
		if (p->state == POD_ALIVE)
			sources_want_pod(p->agent->sources, p->object);
	}
	pod_wake(p);
}

/* Looking */

static bool seen_alive(const struct observed *o, const char *id)
{
	for (size_t i = 0; i < o->container_count; i++)
		if (str_eq(o->containers[i].id, id))
			return o->containers[i].state == PLAN_RUNNING;
	for (size_t i = 0; i < o->sandbox_count; i++)
		if (str_eq(o->sandboxes[i].id, id))
			return o->sandboxes[i].ready;
	return false;
}

/* containerd publishes an end before its CRI part has taken note of it: what it shows too early is asked again. */
static void check_awaited(struct pod *p)
{
	bool alive = false;

	for (size_t i = 0; i < p->awaited.count; i++)
		alive = alive || seen_alive(p->seen, p->awaited.items[i]);
	if (!alive || p->awaited_looks >= AWAIT_LOOKS) {
		strlist_done(&p->awaited);
		p->awaited = (struct strlist){ 0 };
		p->look_at_ms = 0;
		return;
	}
	p->look_at_ms = clock_mono_ms() + ((int64_t)AWAIT_MS << p->awaited_looks++);
	pod_wake_at(p, p->look_at_ms);
}

void pod_look_for_end(struct pod *p, const char *id)
{
	if (!strlist_has(&p->awaited, id))
		strlist_add(&p->awaited, id);
	p->awaited_looks = 0;
	pod_look(p);
}

static void on_observed(struct observed *o, const char *error, void *user)
{
	struct pod *p = user;

	p->observing = NULL;
	if (!o) {
		if (!p->look_failed)
			log_warn("pod %s/%s: the container runtime cannot be asked: %s", p->ns, p->name, error);
		p->look_failed = true;
		p->stale = true;
		pod_wake_at(p, clock_mono_ms() + LOOK_RETRY_MS);
		return;
	}
	p->look_failed = false;
	observed_free(p->seen);
	p->seen = o;
	if (!p->object)
		containers_of_orphan(p);
	check_awaited(p);
	if (p->stale)
		pod_look(p);
	else
		turn(p);
}

void pod_look(struct pod *p)
{
	if (p->observing) {
		p->stale = true; /* what is being seen may be from before */
		return;
	}
	p->stale = false;
	p->observing = observe_pod(p->agent, p->uid, p->seen, on_observed, p);
}

void pod_op_done(struct pod *p)
{
	p->ops--;
	pod_look(p);
}

/* Deciding */

/* A container has ended: when may it run again? The first time at once, then after 10 s, doubling. */
static void count_end(const struct pod *p, struct pod_container *c, const struct observed_container *o)
{
	int64_t now = clock_mono_ms(), ended_ago_ms;

	if (str_eq(c->counted_id, o->id))
		return;
	free(c->counted_id);
	c->counted_id = mem_strdup(o->id);
	ended_ago_ms = o->finished_ns > 0 ? clock_wall_us() / 1000 - o->finished_ns / 1000000 : 0;
	ended_ago_ms = ended_ago_ms < 0 ? 0 : ended_ago_ms;
	if (c->last_start_ms == 0 && o->attempt > 0) /* adopted: what an earlier agent had counted */
		for (uint32_t i = 0; i < MIN(o->attempt, 6u); i++)
			c->backoff_ms = pod_next_backoff(c->backoff_ms);
	else if (o->started_ns > 0 && o->finished_ns - o->started_ns > 600LL * 1000000000)
		c->backoff_ms = 0; /* it ran well */
	/* What ended with its sandbox (a reboot, say) did not fail by itself. */
	c->retry_at_ms = pod_sandbox(p) ? now - ended_ago_ms + c->backoff_ms : now;
}

static bool will_restart(const struct pod_container *c, const struct observed_container *o)
{
	return c->policy == PLAN_ALWAYS || (c->policy == PLAN_ON_FAILURE && o->exit_code != 0);
}

static void note_backoff(struct pod *p, struct pod_container *c, const struct observed_container *o)
{
	int64_t now = clock_mono_ms();

	if (p->state != POD_ALIVE || c->starting || c->retry_at_ms <= now)
		return;
	if (c->waiting_reason && str_eq(c->waiting_reason, "ErrImagePull")) {
		if (now - c->failed_at_ms >= BACKOFF_SHOWN_MS) {
			const json_t *spec = spec_container(p->object, c->name);
			_cleanup_free_ char *text =
				str_printf("Back-off pulling image \"%s\": ErrImagePull: %s", json_str_or(spec, "image", ""),
					   c->waiting_message ? c->waiting_message : "");

			pod_set_waiting(c, "ImagePullBackOff", text);
			pod_event(p, "Normal", "BackOff", "Back-off pulling image \"%s\"", json_str_or(spec, "image", ""));
		} else {
			pod_wake_at(p, c->failed_at_ms + BACKOFF_SHOWN_MS);
		}
	} else if (!c->waiting_reason && o && o->state == PLAN_EXITED && will_restart(c, o)) {
		_cleanup_free_ char *text = str_printf("back-off %llds restarting failed container=%s pod=%s_%s(%s)",
						       (long long)c->backoff_ms / 1000, c->name, p->name, p->ns, p->uid);

		pod_set_waiting(c, "CrashLoopBackOff", text);
		pod_event(p, "Warning", "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, p->name,
			  p->ns, p->uid);
	}
}

/* Starts and ends probes with the container they watch. */
static void follow_container(struct pod *p, size_t i, const struct observed_container *o)
{
	struct pod_container *c = &p->containers[i];
	bool runs = o && o->state == PLAN_RUNNING && str_eq(c->hook_id, o->id);

	if (o && o->state == PLAN_RUNNING && !c->starting && !str_eq(c->hook_id, o->id)) {
		/* Adopted from an agent before us: its hook has run or never will. */
		free(c->hook_id);
		c->hook_id = mem_strdup(o->id);
		runs = true;
	}
	if (runs && !c->applied)
		pod_resize_adopt(p, c);
	bool watched = runs && (p->state == POD_ALIVE || p->state == POD_STOPPING);

	if (!watched || !str_eq(probe_container_id(c), o->id))
		probe_stop(c);
	if (watched && !c->probes)
		probe_start(p, i, o->id, o->started_ns);
	if (p->state != POD_ALIVE)
		probe_quiet(c);
	if (runs)
		pod_set_waiting(c, NULL, NULL);
}

static void fill_container(struct pod *p, size_t i, struct plan_container *pc)
{
	struct pod_container *c = &p->containers[i];
	const struct observed_container *o = observed_find(p->seen, c->name, 0);
	const struct observed_sandbox *s = pod_sandbox(p);
	const json_t *spec = spec_container(p->object, c->name);

	follow_container(p, i, o);
	if (o && o->state == PLAN_EXITED && !c->starting)
		count_end(p, c, o);
	note_backoff(p, c, o);
	*pc = (struct plan_container){
		.kind = c->kind,
		.policy = c->policy,
		.run = o ? o->state : PLAN_ABSENT,
		.current = o && s && str_eq(o->sandbox_id, s->id),
		.busy = c->starting || c->stopping,
		.started = o && o->state == PLAN_RUNNING && c->probes && probe_started(c),
		.unhealthy = c->kill_message != NULL || c->hook_failed,
		.exit_code = o ? o->exit_code : 0,
		.retry_at_ms = c->retry_at_ms,
	};
	if (c->kind == PLAN_EPHEMERAL && !o && status_has_run(p->object, c->name))
		pc->run = PLAN_EXITED; /* the runtime has forgotten it */
	if (spec && c->kind != PLAN_EPHEMERAL && o && o->state == PLAN_RUNNING && o->hash && !c->stopping) {
		_cleanup_free_ char *hash = config_hash(spec);

		if (!str_eq(hash, o->hash)) {
			pc->unhealthy = true;
			if (!c->kill_message)
				c->kill_message = str_printf("Container %s definition changed, will be restarted", c->name);
		}
	}
}

static void act(struct pod *p, const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		size_t c = plan->actions[i].container;

		switch (plan->actions[i].verb) {
		case PLAN_PREPARE:
			pod_prepare(p);
			break;
		case PLAN_RUN_SANDBOX:
			pod_run_sandbox(p);
			break;
		case PLAN_STOP_SANDBOX:
			pod_stop_sandbox(p);
			break;
		case PLAN_START:
			pod_start_container(p, c);
			break;
		case PLAN_STOP:
			pod_stop_container(p, c);
			break;
		}
	}
}

static bool phase_is_final(const struct pod *p)
{
	const char *phase = json_str(p->object, "status.phase");

	return str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

static void decide(struct pod *p, struct plan *plan)
{
	_cleanup_free_ struct plan_container *pc = mem_new_n(struct plan_container, p->count + 1);
	struct plan_input in = {
		.terminating = p->state != POD_ALIVE,
		.finished = phase_is_final(p) || p->reason,
		.had_sandbox = p->seen->sandbox_count > 0 || p->seen->container_count > 0,
		.sandbox_busy = p->sandbox_busy,
		.prepared = p->prepared,
		.sandbox_retry_at_ms = p->sandbox_retry_at_ms,
		.now_ms = clock_mono_ms(),
		.containers = pc,
		.count = p->count,
	};

	if (pod_sandbox(p))
		in.sandbox = PLAN_SANDBOX_READY;
	else if (p->seen->sandbox_count > 0 && !str_eq(p->seen->sandboxes[0].id, p->released_sandbox))
		in.sandbox = PLAN_SANDBOX_DEAD;
	for (size_t i = 0; i < p->count; i++) {
		fill_container(p, i, &pc[i]);
		in.start_busy = in.start_busy || p->containers[i].starting;
	}
	plan_decide(&in, plan);
}

/* Telling */

static void on_patched(const struct kube_result *r, void *user)
{
	struct pod *p = user;

	p->patching = false;
	if (kube_ok(r)) {
		p->patch_failing = false;
		if (r->object && str_eq(object_uid(r->object), p->uid) && p->in_api)
			pod_set_object(p, r->object);
	} else if (r->status != 404 && r->status != 409) {
		/* Gone and replaced ones are the watch's to tell. */
		if (!p->patch_failing)
			log_warn("pod %s/%s: its status cannot be written: %s", p->ns, p->name, r->message);
		p->patch_failing = true;
		p->patch_retry_at_ms = clock_mono_ms() + PATCH_RETRY_MS;
	} else {
		p->patch_retry_at_ms = clock_mono_ms() + PATCH_RETRY_MS;
	}
	pod_wake(p);
}

/* A final status is never written again: what it was made from (message files, old containers) may be gone. */
static bool is_settled(const struct pod *p)
{
	static const char *const lists[] = { "containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses" };

	if (!phase_is_final(p))
		return false;
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_t *c;
		size_t i;

		json_array_foreach(json_object_get(json_object_get(p->object, "status"), lists[l]), i, c)
			if (json_at(c, "state.running"))
				return false;
	}
	return true;
}

static void set_resize(const struct pod *p, struct status_input *in)
{
	static const char *const reasons[] = { [POD_RESIZE_DEFERRED] = "Deferred", [POD_RESIZE_INFEASIBLE] = "Infeasible",
					       [POD_RESIZE_ERROR] = "Error", [POD_RESIZE_IN_PROGRESS] = "" };

	if (p->resize == POD_RESIZE_NONE)
		return;
	in->resize_pending = p->resize == POD_RESIZE_DEFERRED || p->resize == POD_RESIZE_INFEASIBLE;
	in->resize_in_progress = !in->resize_pending;
	in->resize_reason = reasons[p->resize];
	in->resize_message = p->resize_message;
}

/* True when the API has this status. */
static bool tell(struct pod *p, const struct plan *plan)
{
	char now[CLOCK_RFC3339_SIZE];
	_cleanup_free_ struct status_container *sc = mem_new_n(struct status_container, p->count + 1);
	_cleanup_json_ json_t *status = NULL, *patch = NULL;
	_cleanup_free_ char *path = NULL;
	struct pod_facts facts;
	const struct observed_sandbox *s = pod_sandbox(p);
	struct status_input in = {
		.pod = p->object, .observed = p->seen, .containers = sc, .count = p->count, .facts = &facts, .now = now,
		.initialized = plan->initialized || p->initialized, .reason = p->reason, .message = p->message,
		.over = p->over,
	};

	if (!p->object || !p->in_api || is_settled(p))
		return true;
	if (p->patching)
		return false;
	if (clock_mono_ms() < p->patch_retry_at_ms) {
		pod_wake_at(p, p->patch_retry_at_ms);
		return false;
	}
	clock_format_rfc3339(clock_wall_s(), now);
	pod_facts(p, &facts);
	in.network_ready = s && (json_bool(p->object, "spec.hostNetwork", false) || s->ips.count > 0);
	for (size_t i = 0; i < p->count; i++) {
		const struct pod_container *c = &p->containers[i];

		sc[i] = (struct status_container){
			.name = c->name, .kind = c->kind, .policy = c->policy,
			.waiting_reason = c->waiting_reason, .waiting_message = c->waiting_message,
			.ready = c->probes && probe_started(c) && probe_ready(c),
			.started = c->probes && probe_started(c),
			.applied = c->applied,
		};
	}
	set_resize(p, &in);
	status = status_compute(&in);
	patch = status_patch(p->object, status);
	if (!patch)
		return true;
	path = kube_path("v1", "pods", p->ns, p->name, "status");
	p->patching = true;
	kube_do(p->agent->kube, "PATCH", path, KUBE_STRATEGIC_PATCH, patch, on_patched, p);
	return false;
}

static void on_deleted(const struct kube_result *r, void *user)
{
	struct pod *p = user;

	p->patching = false;
	if (!kube_ok(r) && r->status != 404 && r->status != 409) {
		log_warn("pod %s/%s: its object cannot be deleted: %s", p->ns, p->name, r->message);
		p->deleting_sent = false;
		p->patch_retry_at_ms = clock_mono_ms() + PATCH_RETRY_MS;
		pod_wake_at(p, p->patch_retry_at_ms);
		return;
	}
	pod_wake(p);
}

/* The last word: everything has stopped, the object may go. */
static void delete_object(struct pod *p)
{
	_cleanup_free_ char *path = kube_path("v1", "pods", p->ns, p->name, NULL);
	_cleanup_json_ json_t *body = json_pack("{s:s,s:s,s:i,s:{s:s}}", "apiVersion", "v1", "kind", "DeleteOptions",
						"gracePeriodSeconds", 0, "preconditions", "uid", p->uid);

	if (p->deleting_sent || p->patching || clock_mono_ms() < p->patch_retry_at_ms)
		return;
	p->deleting_sent = true;
	p->patching = true;
	kube_do(p->agent->kube, "DELETE", path, NULL, body, on_deleted, p);
}

/* One turn, by state */

/* activeDeadlineSeconds counts from the pod's start time, over all restarts. */
static void check_deadline(struct pod *p)
{
	int64_t limit_s = json_int(p->object, "spec.activeDeadlineSeconds", -1), start_us, left_ms;
	const char *start = json_str(p->object, "status.startTime");

	if (limit_s < 0 || p->reason || phase_is_final(p) || !start || clock_parse_rfc3339(start, &start_us) < 0)
		return;
	left_ms = limit_s * 1000 - (clock_wall_us() - start_us) / 1000;
	if (left_ms > 0) {
		pod_wake_at(p, clock_mono_ms() + left_ms);
		return;
	}
	p->reason = mem_strdup("DeadlineExceeded");
	p->message = mem_strdup("Pod was active on the node longer than the specified deadline");
	pod_event(p, "Normal", "DeadlineExceeded", "%s", p->message);
}

static void turn_alive(struct pod *p)
{
	struct plan plan;

	if (!p->in_api || object_deleting(p->object)) {
		move_to(p, POD_STOPPING);
		return;
	}
	check_deadline(p);
	if (p->reason)
		pod_abandon_starts(p);
	if (p->observing)
		return;
	decide(p, &plan);
	p->initialized = p->initialized || plan.initialized;
	if (plan.stopped) {
		p->over = true;
		move_to(p, POD_CLEANING);
	} else {
		act(p, &plan);
		if (plan.wake_at_ms)
			pod_wake_at(p, plan.wake_at_ms);
		/* Tokens are renewed when they are asked for. */
		if (p->prepared && (p->refresh || clock_mono_ms() - p->refreshed_at_ms >= SYNC_PERIOD_MS))
			pod_refresh_volumes(p);
		if (p->prepared)
			pod_collect(p);
		pod_resize_check(p);
	}
	(void)tell(p, &plan);
}

static void turn_stopping(struct pod *p)
{
	struct plan plan;

	pod_hasten(p);
	pod_abandon_starts(p);
	if (p->observing)
		return; /* what was let go of must be seen first */
	decide(p, &plan);
	act(p, &plan);
	if (plan.stopped && p->ops == 0) {
		p->over = true;
		move_to(p, POD_CLEANING);
	}
	(void)tell(p, &plan);
}

static void turn_cleaning(struct pod *p)
{
	struct plan plan = { 0 };

	if (p->cleaned && p->ops == 0) {
		sources_forget_pod(p->agent->sources, p->uid);
		tokens_forget_pod(p->agent->tokens, p->uid);
		move_to(p, POD_STOPPED);
	} else if (!p->cleaned) {
		pod_clean(p);
	}
	(void)tell(p, &plan);
}

static void turn_stopped(struct pod *p)
{
	struct plan plan = { 0 };
	bool told = tell(p, &plan);

	if (!p->in_api)
		move_to(p, POD_REMOVING);
	else if (object_deleting(p->object) && told)
		delete_object(p);
}

static void turn_removing(struct pod *p)
{
	if (p->seen->sandbox_count == 0 && p->seen->container_count == 0 && p->ops == 0) {
		move_to(p, POD_GONE);
		pods_gone(p->agent->pods, p);
		return;
	}
	pod_remove(p);
}

static void turn(struct pod *p)
{
	static void (*const by_state[POD_STATE_MAX])(struct pod *) = {
		[POD_ALIVE] = turn_alive,     [POD_STOPPING] = turn_stopping, [POD_CLEANING] = turn_cleaning,
		[POD_STOPPED] = turn_stopped, [POD_REMOVING] = turn_removing,
	};

	if (p->state == POD_GONE) {
		pods_gone(p->agent->pods, p);
		return;
	}
	if (!p->seen || p->stale || (p->look_at_ms && clock_mono_ms() >= p->look_at_ms)) {
		if (!p->observing)
			pod_look(p);
		return;
	}
	if (p->observing)
		return; /* its end takes the next turn */
	/* Live volumes, expiring tokens and whatever was missed. */
	pod_wake_at(p, p->look_at_ms ? p->look_at_ms : clock_mono_ms() + SYNC_PERIOD_MS);
	by_state[p->state](p);
}
