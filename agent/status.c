/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pod status: container states, phase and conditions as Kubernetes' documentation "Pod Lifecycle" tells them. The API's
 * object is the only memory: start time, transition times and addresses of an ended pod are taken from it.
 */
#include "agent/status.h"

#include "agent/resources.h"
#include "agent/spec.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kube/object.h"

enum { EXIT_UNKNOWN = 137 };

static void set_time(json_t *o, const char *key, int64_t ns)
{
	char text[CLOCK_RFC3339_SIZE];

	if (ns <= 0) {
		json_object_set_new(o, key, json_null());
		return;
	}
	clock_format_rfc3339(ns / 1000000000, text);
	json_object_set_new(o, key, json_string(text));
}

static json_t *terminated_state(const struct observed_container *c)
{
	json_t *t = json_object();
	bool lost = c->state == PLAN_UNKNOWN;
	const char *reason = c->reason;

	if (lost)
		reason = "ContainerStatusUnknown";
	else if (str_empty(reason))
		reason = c->exit_code == 0 ? "Completed" : "Error";
	json_object_set_new(t, "exitCode", json_integer(lost ? EXIT_UNKNOWN : c->exit_code));
	json_object_set_new(t, "reason", json_string(reason));
	if (!str_empty(c->message))
		json_object_set_new(t, "message", json_string(c->message));
	set_time(t, "startedAt", c->started_ns);
	set_time(t, "finishedAt", c->finished_ns);
	json_object_set_new(t, "containerID", json_sprintf("containerd://%s", c->id));
	return json_pack("{s:o}", "terminated", t);
}

static json_t *waiting_state(const char *reason, const char *message)
{
	json_t *w = json_pack("{s:s}", "reason", reason);

	if (!str_empty(message))
		json_object_set_new(w, "message", json_string(message));
	return json_pack("{s:o}", "waiting", w);
}

static const struct observed_container *ended(const struct observed_container *c)
{
	return c && c->state == PLAN_EXITED ? c : NULL;
}

/* What the API was told of an ephemeral container. Borrow; NULL: nothing. */
static json_t *told_of(const json_t *pod, const char *name)
{
	json_t *s;
	size_t i;

	json_array_foreach(json_at(pod, "status.ephemeralContainerStatuses"), i, s)
		if (str_eq(json_str(s, "name"), name))
			return s;
	return NULL;
}

bool status_has_run(const json_t *pod, const char *name)
{
	json_t *told = told_of(pod, name);

	return json_at(told, "state.running") || json_at(told, "state.terminated");
}

/* Of an ephemeral container that the runtime has forgotten: what was said of it last. Own. */
static json_t *forgotten_status(const struct status_input *in, const struct status_container *sc)
{
	json_t *s = json_deep_copy(told_of(in->pod, sc->name));

	if (json_at(s, "state.running"))
		json_object_set_new(s, "state",
				    json_pack("{s:{s:i,s:s,s:s}}", "terminated", "exitCode", EXIT_UNKNOWN, "reason",
					      "ContainerStatusUnknown", "message", "The runtime does not know the container any more"));
	return s;
}

/* What the container runs with, and what the node has set aside for it: what it asks for, unless there is no room for that. */
static void set_resources(const struct status_input *in, const struct status_container *sc, const json_t *spec, bool running, json_t *s)
{
	const json_t *now = running && sc->applied ? sc->applied : spec, *given = in->resize_pending ? now : spec;
	json_t *resources = json_object_get(now, "resources"), *requests = json_at(given, "resources.requests");

	json_object_set_new(s, "resources", resources ? json_deep_copy(resources) : json_object());
	if (json_object_size(requests))
		json_object_set_new(s, "allocatedResources", json_deep_copy(requests));
}

static json_t *container_status(const struct status_input *in, const struct status_container *sc)
{
	const struct observed_container *now = observed_find(in->observed, sc->name, 0);
	const struct observed_container *before = observed_find(in->observed, sc->name, 1);
	const struct observed_container *last = NULL;
	const json_t *spec = spec_container(in->pod, sc->name);
	const char *wait_reason = sc->waiting_reason;
	json_t *s = json_object(), *state = NULL;
	bool running = now && now->state == PLAN_RUNNING, ephemeral = sc->kind == PLAN_EPHEMERAL;
	bool over = in->over || ephemeral; /* what runs once has ended for good, whatever was tried last */

	if (ephemeral && !now && status_has_run(in->pod, sc->name)) {
		json_decref(s);
		return forgotten_status(in, sc);
	}
	if (running) {
		json_t *r = json_object();

		set_time(r, "startedAt", now->started_ns);
		state = json_pack("{s:o}", "running", r);
		last = ended(before);
	} else if (now && now->state != PLAN_CREATED && (!wait_reason || over)) {
		state = terminated_state(now);
		last = ended(before);
	} else {
		if (!wait_reason)
			wait_reason = !in->initialized && json_array_size(json_at(in->pod, "spec.initContainers")) > 0 ?
					      "PodInitializing" :
					      "ContainerCreating";
		state = waiting_state(wait_reason, sc->waiting_message);
		last = ended(now) ? now : ended(before);
	}
	json_object_set_new(s, "name", json_string(sc->name));
	json_object_set_new(s, "state", state);
	json_object_set_new(s, "lastState", last ? terminated_state(last) : json_object());
	json_object_set_new(s, "ready", json_boolean(sc->kind == PLAN_INIT ? ended(now) && now->exit_code == 0 :
										   running && sc->ready && !ephemeral));
	json_object_set_new(s, "restartCount", json_integer(now ? now->attempt : 0));
	json_object_set_new(s, "image", json_string(now && !str_empty(now->image) ? now->image :
											  json_str_or(spec, "image", "")));
	json_object_set_new(s, "imageID", json_string(now && now->image_id ? now->image_id : ""));
	if (now)
		json_object_set_new(s, "containerID", json_sprintf("containerd://%s", now->id));
	if (!ephemeral) {
		json_object_set_new(s, "started", json_boolean(running && sc->started));
		set_resources(in, sc, spec, running, s);
	}
	return s;
}

/* What the phase depends on. */
struct tally {
	size_t waiting, running, stopped, succeeded; /* of main containers */
	size_t init_pending, init_failed;
	bool others_run; /* sidecars or ephemeral containers */
};

static bool restarts(const struct status_container *sc, const struct observed_container *c)
{
	return sc->policy == PLAN_ALWAYS || (sc->policy == PLAN_ON_FAILURE && c->exit_code != 0);
}

static void count(const struct status_input *in, struct tally *t)
{
	for (size_t i = 0; i < in->count; i++) {
		const struct status_container *sc = &in->containers[i];
		const struct observed_container *now = observed_find(in->observed, sc->name, 0);

		if (sc->kind == PLAN_SIDECAR || sc->kind == PLAN_EPHEMERAL)
			t->others_run = t->others_run || (now && now->state == PLAN_RUNNING);
		if (sc->kind == PLAN_EPHEMERAL)
			continue;
		if (sc->kind == PLAN_SIDECAR) {
			if (!in->initialized && !(now && now->state == PLAN_RUNNING && sc->started))
				t->init_pending++;
		} else if (sc->kind == PLAN_INIT) {
			if (in->initialized || (ended(now) && now->exit_code == 0))
				continue;
			if (ended(now) && !restarts(sc, now))
				t->init_failed++;
			else
				t->init_pending++;
		} else if (now && now->state == PLAN_RUNNING) {
			t->running++;
		} else if (ended(now) || (now && now->state == PLAN_UNKNOWN)) {
			t->stopped++;
			if (now->state == PLAN_EXITED && now->exit_code == 0)
				t->succeeded++;
		} else {
			t->waiting++;
		}
	}
}

static bool may_restart(const struct status_input *in)
{
	for (size_t i = 0; i < in->count; i++) {
		const struct status_container *sc = &in->containers[i];
		const struct observed_container *now = observed_find(in->observed, sc->name, 0);

		if (sc->kind == PLAN_MAIN && ended(now) && restarts(sc, now))
			return true;
	}
	return false;
}

static const char *phase_of(const struct status_input *in)
{
	const char *had = json_str_or(in->pod, "status.phase", "Pending");
	struct tally t = { 0 };

	if (str_eq(had, "Succeeded") || str_eq(had, "Failed"))
		return had; /* final */
	if (!str_empty(in->reason))
		return "Failed";
	count(in, &t);
	if (in->over)
		return t.stopped > 0 && t.stopped == t.succeeded && t.waiting == 0 && !t.init_failed ? "Succeeded" : "Failed";
	if (t.init_failed > 0)
		return "Failed";
	if (t.init_pending > 0 || t.waiting > 0)
		return "Pending";
	/* The last word is said when nothing runs any more: what the main containers leave behind is being stopped. */
	if (t.running > 0 || may_restart(in) || (t.stopped > 0 && t.others_run))
		return "Running";
	if (t.stopped > 0)
		return t.stopped == t.succeeded ? "Succeeded" : "Failed";
	return "Pending";
}

static void set_condition(const struct status_input *in, json_t *conditions, const char *type, bool on, const char *reason,
			  const char *message)
{
	json_t *c;
	size_t i;

	object_set_condition(conditions, type, on ? "True" : "False", str_empty(reason) ? NULL : reason,
			     str_empty(message) ? NULL : message, in->now);
	json_array_foreach(conditions, i, c) {
		if (!str_eq(json_str(c, "type"), type))
			continue;
		if (str_empty(reason))
			json_object_del(c, "reason");
		if (str_empty(message))
			json_object_del(c, "message");
		json_object_set_new(c, "observedGeneration", json_integer(json_int(in->pod, "metadata.generation", 1)));
	}
}

/* "containers with unready status: [a b]", or NULL when there are none; own. */
static char *unready_message(const struct status_input *in, json_t *statuses, bool init)
{
	_cleanup_strbuf_ struct strbuf names = { 0 };
	json_t *s;
	size_t i;

	json_array_foreach(statuses, i, s) {
		if (json_bool(s, "ready", false))
			continue;
		strbuf_addf(&names, "%s%s", names.len ? " " : "", json_str_or(s, "name", ""));
	}
	(void)in;
	if (names.len == 0)
		return NULL;
	return str_printf("containers with %s status: [%s]", init ? "incomplete" : "unready", names.data);
}

static json_t *readiness_gate_missing(const struct status_input *in, const json_t *conditions)
{
	json_t *gate, *c;
	size_t i, k;

	json_array_foreach(json_at(in->pod, "spec.readinessGates"), i, gate) {
		bool met = false;

		json_array_foreach(conditions, k, c)
			met = met || (str_eq(json_str(c, "type"), json_str(gate, "conditionType")) &&
				      str_eq(json_str(c, "status"), "True"));
		if (!met)
			return gate;
	}
	return NULL;
}

/* Conditions that are there only as long as they are true. */
static const char *const resize_conditions[] = { "PodResizePending", "PodResizeInProgress" };

static void set_resize_conditions(const struct status_input *in, json_t *conditions)
{
	const bool wanted[] = { in->resize_pending, in->resize_in_progress };

	for (size_t n = 0; n < ARRAY_SIZE(resize_conditions); n++) {
		if (wanted[n]) {
			set_condition(in, conditions, resize_conditions[n], true, in->resize_reason, in->resize_message);
			continue;
		}
		for (size_t i = json_array_size(conditions); i-- > 0;)
			if (str_eq(json_str(json_array_get(conditions, i), "type"), resize_conditions[n]))
				json_array_remove(conditions, i);
	}
}

static void set_conditions(const struct status_input *in, json_t *status, const char *phase)
{
	json_t *had = json_at(in->pod, "status.conditions"), *gate;
	json_t *conditions = json_is_array(had) ? json_deep_copy(had) : json_array();
	json_t *main_statuses = json_object_get(status, "containerStatuses");
	json_t *init_statuses = json_object_get(status, "initContainerStatuses");
	_cleanup_free_ char *unready = unready_message(in, main_statuses, false);
	_cleanup_free_ char *unready_sidecar = NULL;
	_cleanup_free_ char *incomplete = in->initialized ? NULL : unready_message(in, init_statuses, true);
	bool succeeded = str_eq(phase, "Succeeded"), failed = str_eq(phase, "Failed"), ready;
	const char *why = succeeded ? "PodCompleted" : failed ? "PodFailed" : "ContainersNotReady";
	const char *text;

	for (size_t i = 0; i < in->count && !unready; i++) {
		const struct status_container *sc = &in->containers[i];

		if (sc->kind == PLAN_SIDECAR && !sc->ready && !unready_sidecar)
			unready_sidecar = str_printf("containers with unready status: [%s]", sc->name);
	}
	text = succeeded || failed ? NULL : unready ? unready : unready_sidecar;
	set_condition(in, conditions, "PodReadyToStartContainers", in->network_ready, NULL, NULL);
	if (succeeded || in->initialized || (!incomplete && json_array_size(init_statuses) == 0))
		set_condition(in, conditions, "Initialized", true, succeeded ? "PodCompleted" : NULL, NULL);
	else
		set_condition(in, conditions, "Initialized", !incomplete, incomplete ? "ContainersNotInitialized" : NULL,
			      incomplete);
	ready = !succeeded && !failed && !unready && !unready_sidecar && (in->initialized || !incomplete);
	gate = ready ? readiness_gate_missing(in, conditions) : NULL;
	if (gate) {
		_cleanup_free_ char *message =
			str_printf("corresponding condition of pod readiness gate \"%s\" is not True.",
				   json_str_or(gate, "conditionType", ""));

		set_condition(in, conditions, "Ready", false, "ReadinessGatesNotReady", message);
	} else {
		set_condition(in, conditions, "Ready", ready, ready ? NULL : why, text);
	}
	set_condition(in, conditions, "ContainersReady", ready, ready ? NULL : why, text);
	set_resize_conditions(in, conditions);
	if (!object_condition(in->pod, "PodScheduled"))
		set_condition(in, conditions, "PodScheduled", true, NULL, NULL);
	json_object_set_new(status, "conditions", conditions);
}

static json_t *ip_list(const struct strlist *from)
{
	json_t *ips = json_array();

	for (size_t i = 0; i < from->count; i++)
		json_array_append_new(ips, json_pack("{s:s}", "ip", from->items[i]));
	return ips;
}

static void set_addresses(const struct status_input *in, json_t *status)
{
	const struct pod_facts *f = in->facts;
	json_t *had = json_at(in->pod, "status.podIPs");

	json_object_set_new(status, "hostIP", json_string(f->node_ips->items[0]));
	json_object_set_new(status, "hostIPs", ip_list(f->node_ips));
	if (f->pod_ips && f->pod_ips->count > 0) {
		json_object_set_new(status, "podIP", json_string(f->pod_ips->items[0]));
		json_object_set_new(status, "podIPs", ip_list(f->pod_ips));
	} else if (json_array_size(had) > 0) {
		json_object_set(status, "podIPs", had);
		json_object_set(status, "podIP", json_at(in->pod, "status.podIP"));
	}
}

json_t *status_compute(const struct status_input *in)
{
	json_t *status = json_object(), *main_statuses = json_array(), *init_statuses = json_array();
	json_t *ephemeral_statuses = json_array();
	const char *phase = phase_of(in), *reason = in->reason, *message = in->message;

	if (str_empty(reason)) {
		reason = json_str(in->pod, "status.reason");
		message = json_str(in->pod, "status.message");
	}
	json_object_set_new(status, "observedGeneration", json_integer(json_int(in->pod, "metadata.generation", 1)));
	json_object_set_new(status, "phase", json_string(phase));
	if (!str_empty(reason))
		json_object_set_new(status, "reason", json_string(reason));
	if (!str_empty(message))
		json_object_set_new(status, "message", json_string(message));
	json_object_set_new(status, "startTime", json_string(json_str_or(in->pod, "status.startTime", in->now)));
	json_object_set_new(status, "qosClass",
			    json_string(json_str_or(in->pod, "status.qosClass", qos_name(resources_qos(in->pod)))));
	set_addresses(in, status);
	for (size_t i = 0; i < in->count; i++)
		json_array_append_new(in->containers[i].kind == PLAN_MAIN      ? main_statuses :
				      in->containers[i].kind == PLAN_EPHEMERAL ? ephemeral_statuses :
										 init_statuses,
				      container_status(in, &in->containers[i]));
	json_object_set_new(status, "containerStatuses", main_statuses);
	if (json_array_size(init_statuses) > 0)
		json_object_set(status, "initContainerStatuses", init_statuses);
	json_decref(init_statuses);
	if (json_array_size(ephemeral_statuses) > 0)
		json_object_set(status, "ephemeralContainerStatuses", ephemeral_statuses);
	json_decref(ephemeral_statuses);
	set_conditions(in, status, phase);
	return status;
}

/* Takes out what a server may leave out or put in without a change of meaning: null, zero and empty values. */
static json_t *without_zeros(const json_t *v)
{
	json_t *out, *item;
	const char *key;
	size_t i;

	if (json_is_array(v)) {
		out = json_array();
		json_array_foreach(v, i, item)
			json_array_append_new(out, without_zeros(item));
		return out;
	}
	if (!json_is_object(v))
		return json_incref((json_t *)v);
	out = json_object();
	json_object_foreach((json_t *)v, key, item) {
		json_t *kept = without_zeros(item);

		if (json_is_null(kept) || json_is_false(kept) || (json_is_string(kept) && json_string_length(kept) == 0) ||
		    (json_is_integer(kept) && json_integer_value(kept) == 0) ||
		    (json_is_object(kept) && json_object_size(kept) == 0) ||
		    (json_is_array(kept) && json_array_size(kept) == 0))
			json_decref(kept);
		else
			json_object_set_new(out, key, kept);
	}
	return out;
}

static bool same(const json_t *a, const json_t *b)
{
	json_t *x = without_zeros(a ? a : json_null()), *y = without_zeros(b ? b : json_null());
	bool equal = json_same(x, y);

	json_decref(x);
	json_decref(y);
	return equal;
}

/* The changed conditions; what a merge by type would keep of the old ones is nulled. NULL when none changed. Own. */
static json_t *conditions_patch(json_t *old, json_t *new)
{
	json_t *patch = json_array(), *c, *o;
	size_t i, k;

	json_array_foreach(new, i, c) {
		json_t *had = NULL, *item, *v;
		const char *key;

		json_array_foreach(old, k, o)
			if (str_eq(json_str(o, "type"), json_str(c, "type")))
				had = o;
		if (had && same(had, c))
			continue;
		item = json_copy(c);
		json_object_foreach(had, key, v)
			if (!json_object_get(item, key))
				json_object_set_new(item, key, json_null());
		json_array_append_new(patch, item);
	}
	json_array_foreach(old, k, o) {
		bool kept = false;

		json_array_foreach(new, i, c)
			kept = kept || str_eq(json_str(o, "type"), json_str(c, "type"));
		if (!kept)
			json_array_append_new(patch, json_pack("{s:s,s:s}", "$patch", "delete", "type", json_str_or(o, "type", "")));
	}
	if (json_array_size(patch) > 0)
		return patch;
	json_decref(patch);
	return NULL;
}

/* Lists that a strategic merge would merge by key are replaced as a whole when they differ. */
static bool is_merged_list(const char *key)
{
	return str_eq(key, "podIPs") || str_eq(key, "hostIPs");
}

json_t *status_patch(const json_t *pod, const json_t *status)
{
	static const char *const ours[] = { "reason", "message", "podIP", "podIPs", "initContainerStatuses",
					    "ephemeralContainerStatuses" };
	json_t *had = json_object_get(pod, "status"), *patch = json_object(), *v;
	const char *key;

	json_object_foreach((json_t *)status, key, v) {
		json_t *old = json_object_get(had, key);

		if (str_eq(key, "conditions")) {
			json_t *changed = conditions_patch(old, v);

			if (changed)
				json_object_set_new(patch, key, changed);
			continue;
		}
		if (same(old, v))
			continue;
		if (is_merged_list(key) && json_array_size(old) > 0) {
			json_t *list = json_pack("[{s:s}]", "$patch", "replace");

			json_array_extend(list, v);
			json_object_set_new(patch, key, list);
		} else {
			json_object_set(patch, key, v);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (json_object_get(had, ours[i]) && !json_object_get(status, ours[i]))
			json_object_set_new(patch, ours[i], json_null());
	if (json_object_size(patch) == 0) {
		json_decref(patch);
		return NULL;
	}
	return json_pack("{s:{s:s},s:o}", "metadata", "uid", object_uid(pod), "status", patch);
}
