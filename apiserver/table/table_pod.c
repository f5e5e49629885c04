/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The row of a pod: its status in one word, from the phase, the conditions and the states of the containers. */
#include "apiserver/table/table_internal.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

struct pod_view {
	const json_t *spec, *status;
	struct map *sidecars; /* by name */
	char *reason;
	size_t total, ready;
	int64_t restarts, sidecar_restarts;
	int64_t last_restart_us, last_sidecar_restart_us; /* 0: none */
};

static void set_reason(struct pod_view *v, char *reason)
{
	free(v->reason);
	v->reason = reason;
}

static bool condition_true(const json_t *status, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(status, "conditions"), i, c) {
		if (strcmp(str_at(c, "type"), type) == 0)
			return strcmp(str_at(c, "status"), "True") == 0;
	}
	return false;
}

static void note_restart(const json_t *container, int64_t *last_us)
{
	const char *finished = json_str(container, "lastState.terminated.finishedAt");
	int64_t us;

	if (finished && clock_parse_rfc3339(finished, &us) == 0 && us > *last_us)
		*last_us = us;
}

/* "PREFIXREASON", or the signal or exit code when the container gave no reason. */
static char *terminated_text(const json_t *terminated, const char *prefix)
{
	if (*str_at(terminated, "reason"))
		return str_printf("%s%s", prefix, str_at(terminated, "reason"));
	if (int_at(terminated, "signal"))
		return str_printf("%sSignal:%lld", prefix, (long long)int_at(terminated, "signal"));
	return str_printf("%sExitCode:%lld", prefix, (long long)int_at(terminated, "exitCode"));
}

/* Looks at the init containers up to the first that has not done its part. True when there is one. */
static bool initializing(struct pod_view *v)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(v->status, "initContainerStatuses"), i, c) {
		const json_t *state = json_object_get(c, "state"), *terminated = json_object_get(state, "terminated");
		const char *waiting = str_at(json_object_get(state, "waiting"), "reason");
		bool sidecar = v->sidecars && map_has(v->sidecars, str_at(c, "name"));

		v->restarts += int_at(c, "restartCount");
		note_restart(c, &v->last_restart_us);
		if (sidecar) {
			v->sidecar_restarts += int_at(c, "restartCount");
			note_restart(c, &v->last_sidecar_restart_us);
		}
		if (terminated && int_at(terminated, "exitCode") == 0)
			continue;
		if (sidecar && json_is_true(json_object_get(c, "started"))) {
			v->ready += json_is_true(json_object_get(c, "ready"));
			continue;
		}
		if (terminated)
			set_reason(v, terminated_text(terminated, "Init:"));
		else if (*waiting && strcmp(waiting, "PodInitializing") != 0)
			set_reason(v, str_printf("Init:%s", waiting));
		else
			set_reason(v, str_printf("Init:%zu/%zu", i,
						 json_array_size(json_object_get(v->spec, "initContainers"))));
		return true;
	}
	return false;
}

static void look_at_containers(struct pod_view *v)
{
	const json_t *list = json_object_get(v->status, "containerStatuses");
	_cleanup_free_ char *failure = NULL;
	bool running = false;

	v->restarts = v->sidecar_restarts;
	v->last_restart_us = v->last_sidecar_restart_us;
	for (size_t i = json_array_size(list); i-- > 0;) {
		const json_t *c = json_array_get(list, i), *state = json_object_get(c, "state");
		const json_t *terminated = json_object_get(state, "terminated");
		const char *waiting = str_at(json_object_get(state, "waiting"), "reason");

		v->restarts += int_at(c, "restartCount");
		note_restart(c, &v->last_restart_us);
		if (*waiting) {
			set_reason(v, mem_strdup(waiting));
		} else if (terminated) {
			set_reason(v, terminated_text(terminated, ""));
			if (int_at(terminated, "exitCode") != 0) {
				free(failure);
				failure = mem_strdup(v->reason);
			}
		} else if (json_is_true(json_object_get(c, "ready")) && json_object_get(state, "running")) {
			running = true;
			v->ready++;
		}
	}
	/* One finished container does not make a pod completed. */
	if (!str_eq(v->reason, "Completed"))
		return;
	if (running && condition_true(v->status, "Ready"))
		set_reason(v, mem_strdup("Running"));
	else if (failure)
		set_reason(v, TAKE(failure));
	else if (running)
		set_reason(v, mem_strdup("NotReady"));
}

static void find_reason(struct pod_view *v, const json_t *pod)
{
	const char *phase = str_at(v->status, "phase"), *reason = str_at(v->status, "reason");
	json_t *c;
	size_t i;

	set_reason(v, mem_strdup(*reason ? reason : phase));
	json_array_foreach(json_object_get(v->status, "conditions"), i, c) {
		if (strcmp(str_at(c, "type"), "PodScheduled") == 0 &&
		    strcmp(str_at(c, "reason"), "SchedulingGated") == 0)
			set_reason(v, mem_strdup("SchedulingGated"));
	}
	if (!initializing(v) || condition_true(v->status, "Initialized"))
		look_at_containers(v);
	if (!json_str(pod, "metadata.deletionTimestamp"))
		return;
	if (strcmp(reason, "NodeLost") == 0)
		set_reason(v, mem_strdup("Unknown"));
	else if (strcmp(phase, "Succeeded") != 0 && strcmp(phase, "Failed") != 0)
		set_reason(v, mem_strdup("Terminating"));
}

static void cell_restarts(struct row *row, const struct pod_view *v)
{
	char ago[32], text[80];

	if (v->restarts && v->last_restart_us) {
		human_duration(row->now_s - v->last_restart_us / 1000000, ago);
		snprintf(text, sizeof(text), "%lld (%s ago)", (long long)v->restarts, ago);
	} else {
		snprintf(text, sizeof(text), "%lld", (long long)v->restarts);
	}
	cell(row, text);
}

static void cell_readiness_gates(struct row *row, const struct pod_view *v)
{
	const json_t *gates = json_object_get(v->spec, "readinessGates");
	struct map *met;
	size_t open = 0, i;
	char text[48];
	json_t *gate, *c;

	if (json_array_size(gates) == 0) {
		cell(row, "<none>");
		return;
	}
	met = map_new(NULL);
	json_array_foreach(json_object_get(v->status, "conditions"), i, c) {
		if (strcmp(str_at(c, "status"), "True") == 0)
			map_set(met, str_at(c, "type"), c);
	}
	json_array_foreach(gates, i, gate)
		open += map_has(met, str_at(gate, "conditionType"));
	map_free(met);
	snprintf(text, sizeof(text), "%zu/%zu", open, json_array_size(gates));
	cell(row, text);
}

void table_row_pod(struct row *row, const json_t *pod)
{
	struct pod_view v = { .spec = json_object_get(pod, "spec"), .status = json_object_get(pod, "status") };
	const char *phase = str_at(v.status, "phase");
	char ready[48];
	json_t *c;
	size_t i;

	v.total = json_array_size(json_object_get(v.spec, "containers"));
	json_array_foreach(json_object_get(v.spec, "initContainers"), i, c) {
		if (strcmp(str_at(c, "restartPolicy"), "Always") != 0)
			continue;
		v.total++;
		if (!v.sidecars)
			v.sidecars = map_new(NULL);
		map_set(v.sidecars, str_at(c, "name"), c);
	}
	find_reason(&v, pod);
	if (strcmp(phase, "Succeeded") == 0)
		row->conditions = "[{\"type\":\"Completed\",\"status\":\"True\",\"reason\":\"Succeeded\",\"message\":"
				  "\"The pod has completed "
				  "successfully.\"}]";
	else if (strcmp(phase, "Failed") == 0)
		row->conditions = "[{\"type\":\"Completed\",\"status\":\"True\",\"reason\":\"Failed\",\"message\":"
				  "\"The pod failed.\"}]";
	snprintf(ready, sizeof(ready), "%zu/%zu", v.ready, v.total);
	cell(row, name_of(pod));
	cell(row, ready);
	cell(row, v.reason);
	cell_restarts(row, &v);
	cell_age(row, pod);
	cell_or(row, json_str(pod, "status.podIPs[0].ip"), json_str_or(pod, "status.podIP", "<none>"));
	cell_or(row, str_at(v.spec, "nodeName"), "<none>");
	cell_or(row, str_at(v.status, "nominatedNodeName"), "<none>");
	cell_readiness_gates(row, &v);
	free(v.reason);
	map_free(v.sidecars);
}
