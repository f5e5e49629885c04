// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "controllers/node.h"

enum { NOW_S = 1800000000 };

static void parts_of_a_range(void **state _unused_)
{
	static const struct {
		const char *range;
		unsigned mask;
		int64_t index;
		const char *part; /* NULL: beyond the range */
	} rows[] = {
		{ "10.244.0.0/16", 24, 0, "10.244.0.0/24" },   { "10.244.0.0/16", 24, 255, "10.244.255.0/24" },
		{ "10.244.0.0/16", 24, 256, NULL },            { "10.244.0.0/16", 26, 5, "10.244.1.64/26" },
		{ "10.0.0.0/24", 24, 0, "10.0.0.0/24" },       { "10.0.0.0/24", 24, 1, NULL },
		{ "fd00:10::/48", 64, 258, "fd00:10:0:102::/64" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ip_prefix range;
		char out[IP_PREFIX_TEXT_SIZE];

		assert_int_equal(ip_prefix_parse(rows[i].range, &range), 0);
		assert_int_equal(nodeipam_part(&range, rows[i].mask, rows[i].index, out), rows[i].part != NULL);
		if (!rows[i].part)
			continue;
		assert_string_equal(out, rows[i].part);
		assert_int_equal(nodeipam_index(&range, rows[i].mask, out), rows[i].index);
	}
}

static void what_is_no_part(void **state _unused_)
{
	struct ip_prefix range;

	assert_int_equal(ip_prefix_parse("10.244.0.0/16", &range), 0);
	assert_int_equal(nodeipam_index(&range, 24, NULL), -1);
	assert_int_equal(nodeipam_index(&range, 24, "nonsense"), -1);
	assert_int_equal(nodeipam_index(&range, 24, "10.245.0.0/24"), -1);
	assert_int_equal(nodeipam_index(&range, 24, "10.244.0.0/20"), -1);
	assert_int_equal(nodeipam_index(&range, 24, "fd00::/64"), -1);
	assert_int_equal(nodeipam_index(&range, 24, "10.244.7.128/25"), 7);
}

static json_t *node(const char *ready, const char *taints)
{
	return from_yamlf(
		"metadata: {name: n1, uid: u1, resourceVersion: '3', creationTimestamp: '2027-01-01T00:00:00Z'}\n"
		"spec: {taints: %s}\nstatus: {conditions: [{type: Ready, status: '%s', lastHeartbeatTime: "
		"'2027-01-02T00:00:00Z'}]}",
		taints, ready);
}

static void taints_follow_conditions(void **state _unused_)
{
	static const struct {
		const char *ready, *had;
		size_t count;
		const char *first;
	} rows[] = {
		{ "True", "[]", 0, NULL },
		{ "False", "[]", 2, TAINT_NOT_READY },
		{ "Unknown", "[]", 2, TAINT_UNREACHABLE },
		{ "True", "[{key: " TAINT_NOT_READY ", effect: NoSchedule}, {key: " TAINT_UNREACHABLE
			  ", effect: NoExecute}]", 0, NULL },
		{ "Unknown", "[{key: " TAINT_NOT_READY ", effect: NoExecute}]", 2, TAINT_UNREACHABLE },
		{ "True", "[{key: mine, value: v, effect: NoSchedule}]", 1, "mine" },
		{ "True", "[{key: " TAINT_UNSCHEDULABLE ", effect: NoSchedule}]", 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *n = node(rows[i].ready, rows[i].had);
		_cleanup_json_ json_t *taints = nodelifecycle_taints(n, NOW_S), *again = NULL;

		assert_int_equal(json_array_size(taints), rows[i].count);
		if (rows[i].first)
			assert_string_equal(json_str(json_array_get(taints, 0), "key"), rows[i].first);
		json_set(n, "spec.taints", json_incref(taints));
		again = nodelifecycle_taints(n, NOW_S + 100);
		assert_true(json_same(taints, again));
	}
}

static void cordon_is_a_taint(void **state _unused_)
{
	_cleanup_json_ json_t *n = node("True", "[]"), *taints = NULL;

	json_set(n, "spec.unschedulable", json_true());
	taints = nodelifecycle_taints(n, NOW_S);
	assert_int_equal(json_array_size(taints), 1);
	assert_string_equal(json_str(json_array_get(taints, 0), "key"), TAINT_UNSCHEDULABLE);
}

static void a_silent_node_becomes_unknown_once(void **state _unused_)
{
	_cleanup_json_ json_t *n = node("True", "[]");
	_cleanup_plan_ struct plan plan = { 0 };
	struct node_view v = { .node = n, .silent_s = 40, .grace_s = 40, .now_s = NOW_S };
	const struct write *w;

	nodelifecycle_decide(&v, &plan);
	assert_int_equal(plan.count, 0);
	assert_int_equal(plan.requeue_after_ms, NODE_CHECK_S * 1000);
	v.silent_s++;
	nodelifecycle_decide(&v, &plan);
	assert_int_equal(plan.count, 1);
	w = plan.items[0];
	assert_string_equal(w->path, "/api/v1/nodes/n1/status");
	assert_string_equal(w->content_type, KUBE_STRATEGIC_PATCH);
	assert_int_equal(json_array_size(json_at(w->body, "status.conditions")), 4);
	assert_string_equal(json_str(w->body, "status.conditions[0].reason"), "NodeStatusUnknown");
	assert_string_equal(json_str(w->body, "status.conditions[0].lastHeartbeatTime"), "2027-01-02T00:00:00Z");
	assert_string_equal(json_str(w->body, "status.conditions[1].reason"), "NodeStatusNeverUpdated");
	assert_string_equal(w->event.ok_reason, "NodeNotReady");
}

static void pods_of_a_silent_node_are_not_ready(void **state _unused_)
{
	_cleanup_json_ json_t *n = from_yaml(
		"metadata: {name: n1, uid: u1}\n"
		"spec: {taints: [{key: node.kubernetes.io/unreachable, effect: NoSchedule}, {key: "
		"node.kubernetes.io/unreachable, effect: NoExecute}]}\n"
		"status: {conditions: [{type: Ready, status: Unknown}, {type: MemoryPressure, status: Unknown}, {type: "
		"DiskPressure, status: Unknown}, {type: PIDPressure, status: Unknown}]}");
	_cleanup_json_ json_t *ready = from_yaml("metadata: {name: a, namespace: d, uid: a}\nstatus: {conditions: "
						 "[{type: Ready, status: 'True'}]}");
	_cleanup_json_ json_t *not_ready = from_yaml("metadata: {name: b, namespace: d, uid: b}\n");
	_cleanup_plan_ struct plan plan = { 0 };
	struct node_view v = { .node = n, .silent_s = 100, .grace_s = 40, .now_s = NOW_S };

	object_list_add(&v.pods, ready);
	object_list_add(&v.pods, not_ready);
	nodelifecycle_decide(&v, &plan);
	assert_int_equal(plan.count, 1);
	assert_string_equal(plan.items[0]->path, "/api/v1/namespaces/d/pods/a/status");
	assert_string_equal(json_str(plan.items[0]->body, "status.conditions[0].status"), "False");
	object_list_done(&v.pods);
}

static void tolerations(void **state _unused_)
{
	static const struct {
		const char *toleration;
		bool tolerates;
	} rows[] = {
		{ "{operator: Exists}", true },
		{ "{key: k, operator: Exists}", true },
		{ "{key: k, operator: Exists, effect: NoSchedule}", false },
		{ "{key: other, operator: Exists}", false },
		{ "{key: k, value: v, effect: NoExecute}", true },
		{ "{key: k, operator: Equal, value: w}", false },
		{ "{key: k}", false },
		{ "{value: v}", false },
	};
	_cleanup_json_ json_t *taint = from_yaml("{key: k, value: v, effect: NoExecute}");

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *t = from_yaml(rows[i].toleration);

		if (toleration_tolerates(t, taint) != rows[i].tolerates)
			fail_msg("%s", rows[i].toleration);
	}
}

static void eviction_deadlines(void **state _unused_)
{
	static const struct {
		const char *tolerations, *taints;
		int64_t deadline_s;
	} rows[] = {
		{ "[]", "[]", -1 },
		{ "[]", "[{key: a, effect: NoSchedule}]", -1 },
		{ "[]", "[{key: a, effect: NoExecute}]", NOW_S },
		{ "[{key: a, operator: Exists}]", "[{key: a, effect: NoExecute}]", -1 },
		{ "[{key: a, operator: Exists, tolerationSeconds: 300}]",
		  "[{key: a, effect: NoExecute, timeAdded: '2027-01-15T07:59:00Z'}]", NOW_S + 240 },
		{ "[{key: a, operator: Exists, tolerationSeconds: 300}]", "[{key: a, effect: NoExecute}]",
		  NOW_S + 300 },
		{ "[{key: a, operator: Exists, tolerationSeconds: 300}, {key: b, operator: Exists, tolerationSeconds: "
		  "10}]",
		  "[{key: a, effect: NoExecute}, {key: b, effect: NoExecute}]", NOW_S + 10 },
		{ "[{key: a, operator: Exists}]", "[{key: a, effect: NoExecute}, {key: b, effect: NoExecute}]", NOW_S },
		{ "[{operator: Exists, tolerationSeconds: -1}]", "[{key: a, effect: NoExecute}]", NOW_S },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *pod = from_yamlf("spec: {tolerations: %s}", rows[i].tolerations);
		_cleanup_json_ json_t *taints = from_yaml(rows[i].taints);

		if (tainteviction_deadline_s(pod, taints, NOW_S) != rows[i].deadline_s)
			fail_msg("%s against %s", rows[i].tolerations, rows[i].taints);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_of_a_range),
		cmocka_unit_test(what_is_no_part),
		cmocka_unit_test(taints_follow_conditions),
		cmocka_unit_test(cordon_is_a_taint),
		cmocka_unit_test(a_silent_node_becomes_unknown_once),
		cmocka_unit_test(pods_of_a_silent_node_are_not_ready),
		cmocka_unit_test(tolerations),
		cmocka_unit_test(eviction_deadlines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
