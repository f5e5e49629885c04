/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statuses: phases, container states and conditions from what was observed, and the patches made of them. */
#include "agent/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kube/object.h"

#define NOW "2026-11-21T20:00:00Z"

static const struct strlist test_node_ips = { (char *[]){ (char *)"192.0.2.1", (char *)"fd00::1", NULL }, 2, 3 };

static json_t *parse(const char *s)
{
	struct err err = { 0 };
	json_t *v = json_parse(s, strlen(s), NULL, &err);

	if (!v)
		fail_msg("%s: %s", s, err_msg(&err));
	return v;
}

/* One container or more: 'i' an init container i, 'm' a main one m, 'e' an ephemeral one e; then the state as in plan_test. */
struct world {
	json_t *pod;
	struct observed seen;
	struct observed_container made[4];
	struct status_container sc[4];
	struct pod_facts facts;
	struct status_input in;
};

static void world_new(struct world *w, const char *status_text, const char *words, enum plan_policy policy)
{
	_cleanup_strlist_ struct strlist l = { 0 };
	_cleanup_free_ char *text = str_printf(
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"u\",\"generation\":3},\"spec\":{\"initContainers\":[%s],"
		"\"containers\":[{\"name\":\"m\",\"image\":\"x\"}]},\"status\":%s}",
		strchr(words, 'i') ? "{\"name\":\"i\",\"image\":\"x\"}" : "", status_text);

	memset(w, 0, sizeof(*w));
	w->pod = parse(text);
	w->facts = (struct pod_facts){ .node_name = "n", .node_ips = &test_node_ips };
	w->in = (struct status_input){ .pod = w->pod, .observed = &w->seen, .containers = w->sc, .facts = &w->facts, .now = NOW };
	w->seen.containers = w->made;
	strlist_split(&l, words, ' ');
	for (size_t i = 0; i < l.count; i++) {
		const char *word = l.items[i];
		struct status_container *sc = &w->sc[w->in.count++];

		sc->name = word[0] == 'i' ? "i" : word[0] == 'e' ? "e" : "m";
		sc->kind = word[0] == 'i' ? PLAN_INIT : word[0] == 'e' ? PLAN_EPHEMERAL : PLAN_MAIN;
		sc->policy = word[0] == 'i' && policy == PLAN_ALWAYS ? PLAN_ON_FAILURE : policy;
		sc->ready = sc->started = word[1] == 'R';
		if (word[1] == '-')
			continue;
		w->made[w->seen.container_count++] = (struct observed_container){
			.id = word[0] == 'i' ? "idi" : word[0] == 'e' ? "ide" : "idm",
			.name = (char *)sc->name, .image = "x", .image_id = "sha256:1",
			.state = word[1] == 'R' ? PLAN_RUNNING : word[1] == '?' ? PLAN_UNKNOWN : PLAN_EXITED,
			.exit_code = word[1] == '1', .attempt = 2, .started_ns = 1000000000, .finished_ns = 2000000000,
		};
	}
}

static void expect_str(json_t *v, const char *path, const char *want)
{
	const char *got = json_str(v, path);

	if (!str_eq(got, want))
		fail_msg("%s: got %s, not %s", path, got ? got : "(none)", want ? want : "(none)");
}

static void test_phases(void **state)
{
	static const struct {
		const char *words;
		enum plan_policy policy;
		bool initialized, over;
		const char *phase;
	} rows[] = {
		{ "m-", PLAN_ALWAYS, false, false, "Pending" },
		{ "mR", PLAN_ALWAYS, true, false, "Running" },
		{ "m1", PLAN_ALWAYS, true, false, "Running" },
		{ "m0", PLAN_ALWAYS, true, false, "Running" },
		{ "m0", PLAN_ON_FAILURE, true, false, "Succeeded" },
		{ "m1", PLAN_ON_FAILURE, true, false, "Running" },
		{ "m0", PLAN_NEVER, true, false, "Succeeded" },
		{ "m1", PLAN_NEVER, true, false, "Failed" },
		{ "m?", PLAN_NEVER, true, false, "Failed" },
		{ "i- m-", PLAN_ALWAYS, false, false, "Pending" },
		{ "iR m-", PLAN_ALWAYS, false, false, "Pending" },
		{ "i1 m-", PLAN_ALWAYS, false, false, "Pending" },
		{ "i1 m-", PLAN_NEVER, false, false, "Failed" },
		{ "i0 mR", PLAN_NEVER, true, false, "Running" },
		{ "mR eR", PLAN_ALWAYS, true, false, "Running" },
		{ "mR e1", PLAN_NEVER, true, false, "Running" },
		{ "m- eR", PLAN_ALWAYS, false, false, "Pending" },
		{ "m0 eR", PLAN_NEVER, true, false, "Running" },
		{ "m0 e1", PLAN_NEVER, true, false, "Succeeded" },
		{ "m0 e-", PLAN_NEVER, true, false, "Succeeded" },
		{ "m1 e0", PLAN_NEVER, true, false, "Failed" },
		{ "m0 eR", PLAN_NEVER, true, true, "Succeeded" },
		{ "m0", PLAN_ALWAYS, true, true, "Succeeded" },
		{ "m1", PLAN_ALWAYS, true, true, "Failed" },
		{ "m-", PLAN_ALWAYS, false, true, "Failed" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world w;
		json_t *s;

		world_new(&w, "{}", rows[i].words, rows[i].policy);
		w.in.initialized = rows[i].initialized;
		w.in.over = rows[i].over;
		s = status_compute(&w.in);
		if (!str_eq(json_str(s, "phase"), rows[i].phase))
			fail_msg("row %zu (%s): got %s, not %s", i, rows[i].words, json_str(s, "phase"), rows[i].phase);
		json_decref(s);
		json_decref(w.pod);
	}
}

static void test_final_phase_stays(void **state)
{
	struct world w;
	json_t *s;

	(void)state;
	world_new(&w, "{\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"no room\"}", "mR", PLAN_ALWAYS);
	w.in.initialized = true;
	s = status_compute(&w.in);
	expect_str(s, "phase", "Failed");
	expect_str(s, "reason", "Evicted");
	expect_str(s, "message", "no room");
	json_decref(s);
	json_decref(w.pod);
}

static void test_states(void **state)
{
	struct world w;
	json_t *s;

	(void)state;
	world_new(&w, "{}", "m1", PLAN_ALWAYS);
	w.in.initialized = true;
	s = status_compute(&w.in);
	expect_str(s, "containerStatuses[0].state.terminated.reason", "Error");
	expect_str(s, "containerStatuses[0].state.terminated.finishedAt", "1970-01-01T00:00:02Z");
	assert_int_equal(json_int(s, "containerStatuses[0].restartCount", 0), 2);
	json_decref(s);
	w.sc[0].waiting_reason = "CrashLoopBackOff";
	w.sc[0].waiting_message = "back-off";
	s = status_compute(&w.in);
	expect_str(s, "containerStatuses[0].state.waiting.reason", "CrashLoopBackOff");
	expect_str(s, "containerStatuses[0].state.waiting.message", "back-off");
	expect_str(s, "containerStatuses[0].lastState.terminated.containerID", "containerd://idm");
	json_decref(s);
	json_decref(w.pod);

	world_new(&w, "{}", "iR m-", PLAN_ALWAYS);
	s = status_compute(&w.in);
	expect_str(s, "containerStatuses[0].state.waiting.reason", "PodInitializing");
	assert_non_null(json_at(s, "initContainerStatuses[0].state.running"));
	assert_false(json_bool(s, "initContainerStatuses[0].ready", true));
	json_decref(s);
	json_decref(w.pod);

	world_new(&w, "{}", "m-", PLAN_ALWAYS);
	s = status_compute(&w.in);
	expect_str(s, "containerStatuses[0].state.waiting.reason", "ContainerCreating");
	assert_null(json_at(s, "initContainerStatuses"));
	json_decref(s);
	json_decref(w.pod);
}

static json_t *condition(json_t *status, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(status, "conditions"), i, c)
		if (str_eq(json_str(c, "type"), type))
			return c;
	return NULL;
}

/* What a container runs with is told; conditions of a resize are there only while they are true. */
static void test_resize(void **state)
{
	struct world w;
	_cleanup_json_ json_t *applied = parse("{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}"), *s = NULL, *patch = NULL, *after = NULL;

	(void)state;
	world_new(&w, "{\"conditions\":[{\"type\":\"PodResizeInProgress\",\"status\":\"True\"}]}", "mR", PLAN_ALWAYS);
	json_set(json_at(w.pod, "spec.containers[0]"), "resources", parse("{\"requests\":{\"cpu\":\"2\"}}"));
	w.in.initialized = true;
	w.sc[0].applied = applied;
	s = status_compute(&w.in);
	expect_str(s, "containerStatuses[0].resources.requests.cpu", "1");
	expect_str(s, "containerStatuses[0].allocatedResources.cpu", "2");
	assert_null(condition(s, "PodResizeInProgress"));
	patch = status_patch(w.pod, s);
	expect_str(condition(json_object_get(patch, "status"), "PodResizeInProgress"), "$patch", "delete");
	w.in.resize_pending = true;
	w.in.resize_reason = "Deferred";
	w.in.resize_message = "no room";
	after = status_compute(&w.in);
	expect_str(condition(after, "PodResizePending"), "reason", "Deferred");
	expect_str(after, "containerStatuses[0].allocatedResources.cpu", "1");
	json_decref(w.pod);
}

static void test_conditions(void **state)
{
	struct world w;
	json_t *s;

	(void)state;
	world_new(&w,
		  "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"ContainersNotReady\",\"message\":\"m\","
		  "\"lastTransitionTime\":\"2020-01-01T00:00:00Z\"},{\"type\":\"my/gate\",\"status\":\"True\"},{\"type\":"
		  "\"PodScheduled\",\"status\":\"True\",\"lastTransitionTime\":\"2020-01-01T00:00:00Z\"}]}",
		  "mR", PLAN_ALWAYS);
	w.in.initialized = w.in.network_ready = true;
	s = status_compute(&w.in);
	expect_str(condition(s, "Ready"), "status", "True");
	expect_str(condition(s, "Ready"), "reason", NULL);
	expect_str(condition(s, "Ready"), "lastTransitionTime", NOW);
	assert_int_equal(json_int(condition(s, "Ready"), "observedGeneration", 0), 3);
	expect_str(condition(s, "my/gate"), "status", "True");
	expect_str(condition(s, "PodScheduled"), "lastTransitionTime", "2020-01-01T00:00:00Z");
	expect_str(condition(s, "Initialized"), "status", "True");
	expect_str(condition(s, "PodReadyToStartContainers"), "status", "True");
	json_decref(s);
	w.sc[0].ready = false;
	s = status_compute(&w.in);
	expect_str(condition(s, "Ready"), "status", "False");
	expect_str(condition(s, "Ready"), "message", "containers with unready status: [m]");
	expect_str(condition(s, "Ready"), "lastTransitionTime", "2020-01-01T00:00:00Z");
	json_decref(s);
	w.sc[0].ready = true;
	json_set(w.pod, "spec.readinessGates", parse("[{\"conditionType\":\"my/other\"}]"));
	s = status_compute(&w.in);
	expect_str(condition(s, "Ready"), "reason", "ReadinessGatesNotReady");
	json_decref(s);
	json_decref(w.pod);

	world_new(&w, "{}", "i1 m-", PLAN_ALWAYS);
	s = status_compute(&w.in);
	expect_str(condition(s, "Initialized"), "message", "containers with incomplete status: [i]");
	json_decref(s);
	json_decref(w.pod);

	world_new(&w, "{}", "m0", PLAN_NEVER);
	w.in.initialized = true;
	s = status_compute(&w.in);
	expect_str(condition(s, "Ready"), "reason", "PodCompleted");
	json_decref(s);
	json_decref(w.pod);
}

/* Ephemeral containers have statuses of their own, which say nothing about the pod. */
static void test_ephemeral(void **state)
{
	static const struct {
		const char *words, *told, *waiting, *path, *want;
	} rows[] = {
		{ "mR e-", "{}", NULL, "state.waiting.reason", "ContainerCreating" },
		{ "mR e-", "{}", "ErrImagePull", "state.waiting.reason", "ErrImagePull" },
		{ "mR eR", "{}", NULL, "state.running.startedAt", "1970-01-01T00:00:01Z" },
		{ "mR e0", "{}", NULL, "state.terminated.reason", "Completed" },
		{ "mR e1", "{}", "RunContainerError", "state.terminated.reason", "Error" },
		{ "mR e-", "{\"running\":{}}", NULL, "state.terminated.reason", "ContainerStatusUnknown" },
		{ "mR e-", "{\"terminated\":{\"reason\":\"Error\"}}", NULL, "state.terminated.reason", "Error" },
		{ "mR e-", "{\"waiting\":{\"reason\":\"X\"}}", NULL, "state.waiting.reason", "ContainerCreating" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *told = str_printf(
			"{\"ephemeralContainerStatuses\":[{\"name\":\"e\",\"state\":%s}]}", rows[i].told);
		struct world w;
		json_t *s;

		world_new(&w, told, rows[i].words, PLAN_ALWAYS);
		w.in.initialized = w.in.network_ready = true;
		w.sc[1].waiting_reason = rows[i].waiting;
		s = status_compute(&w.in);
		assert_int_equal(json_array_size(json_at(s, "containerStatuses")), 1);
		assert_int_equal(json_array_size(json_at(s, "ephemeralContainerStatuses")), 1);
		expect_str(json_at(s, "ephemeralContainerStatuses[0]"), rows[i].path, rows[i].want);
		assert_false(json_bool(s, "ephemeralContainerStatuses[0].ready", false));
		assert_null(json_at(s, "ephemeralContainerStatuses[0].started"));
		expect_str(condition(s, "Ready"), "status", "True");
		expect_str(s, "phase", "Running");
		json_decref(s);
		json_decref(w.pod);
	}
}

static void test_patch(void **state)
{
	struct world w;
	json_t *s, *patch;

	(void)state;
	world_new(&w, "{}", "mR", PLAN_ALWAYS);
	w.in.initialized = true;
	s = status_compute(&w.in);
	patch = status_patch(w.pod, s);
	expect_str(patch, "metadata.uid", "u");
	expect_str(patch, "status.phase", "Running");
	json_decref(patch);

	/* The API has it now, in its own words: nothing more to say. */
	json_object_set(w.pod, "status", s);
	json_decref(s);
	s = status_compute(&w.in);
	assert_null(status_patch(w.pod, s));
	json_object_del(json_at(w.pod, "status.containerStatuses[0]"), "lastState"); /* as protobuf would */
	assert_null(status_patch(w.pod, s));
	json_decref(s);

	/* A condition that loses its reason must lose it in the API too. */
	w.sc[0].ready = false;
	s = status_compute(&w.in);
	json_object_set_new(w.pod, "status", s);
	w.sc[0].ready = true;
	s = status_compute(&w.in);
	patch = status_patch(w.pod, s);
	assert_int_equal(json_array_size(json_at(patch, "status.conditions")), 2);
	assert_true(json_is_null(json_object_get(json_at(patch, "status.conditions[0]"), "reason")));
	json_decref(patch);
	json_decref(s);
	json_decref(w.pod);
}

static void test_addresses(void **state)
{
	struct world w;
	struct strlist ips = { 0 };
	json_t *s, *patch;

	(void)state;
	world_new(&w, "{\"podIP\":\"10.0.0.1\",\"podIPs\":[{\"ip\":\"10.0.0.1\"}]}", "mR", PLAN_ALWAYS);
	s = status_compute(&w.in);
	expect_str(s, "podIP", "10.0.0.1"); /* kept when it is not known any more */
	expect_str(s, "hostIP", "192.0.2.1");
	expect_str(s, "hostIPs[1].ip", "fd00::1");
	json_decref(s);
	strlist_add(&ips, "10.0.0.2");
	strlist_add(&ips, "fd00::2");
	w.facts.pod_ips = &ips;
	s = status_compute(&w.in);
	patch = status_patch(w.pod, s);
	expect_str(patch, "status.podIP", "10.0.0.2");
	expect_str(patch, "status.podIPs[0].$patch", "replace");
	expect_str(patch, "status.podIPs[1].ip", "10.0.0.2");
	expect_str(patch, "status.podIPs[2].ip", "fd00::2");
	json_decref(patch);
	json_decref(s);
	json_decref(w.pod);
	strlist_done(&ips);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_phases),	   cmocka_unit_test(test_final_phase_stays), cmocka_unit_test(test_states),
		cmocka_unit_test(test_resize), cmocka_unit_test(test_conditions), cmocka_unit_test(test_patch),	      cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ephemeral),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
