// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "controllers/namespace.h"

enum { NOW_S = 1800000000 };

static json_t *dying(void)
{
	return from_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: x, uid: u, resourceVersion: '4', "
			 "deletionTimestamp: '2027-01-15T08:00:00Z'}, spec: {finalizers: [kubernetes, other]}, status: "
			 "{phase: Terminating}}");
}

static void pods_go_first(void **state _unused_)
{
	_cleanup_plan_ struct plan plan = { 0 };

	namespace_plan_round("x", true, &plan);
	assert_int_equal(plan.count, 2);
	assert_string_equal(plan.items[0]->method, "DELETE");
	assert_string_equal(plan.items[0]->path, "/api/v1/namespaces/x/pods");
	assert_true(str_starts(plan.items[1]->path, "/api/v1/namespaces/x/pods?limit="));
	assert_true(plan.items[1]->stage > plan.items[0]->stage);
}

static void a_round_covers_everything_namespaced(void **state _unused_)
{
	_cleanup_plan_ struct plan plan = { 0 };

	namespace_plan_round("x", false, &plan);
	assert_int_equal(plan_count_of(&plan, "DELETE", "/configmaps"), 1);
	assert_int_equal(plan_count_of(&plan, "DELETE", "/deployments"), 1);
	assert_int_equal(plan_count_of(&plan, "DELETE", "/endpointslices"), 1);
	assert_int_equal(plan_count_of(&plan, "DELETE", "/nodes"), 0);
	assert_int_equal(plan_count_of(&plan, "DELETE", ""), plan_count_of(&plan, "GET", ""));
	assert_true(plan.count > 50);
}

static void the_finalizer_goes_when_nothing_is_left(void **state _unused_)
{
	_cleanup_json_ json_t *ns = dying();
	_cleanup_plan_ struct plan plan = { 0 };
	struct namespace_round r = { .finished = true };

	namespace_decide(ns, &r, NOW_S, &plan);
	assert_int_equal(plan.count, 1);
	assert_string_equal(plan.items[0]->method, "PUT");
	assert_string_equal(plan.items[0]->path, "/api/v1/namespaces/x/finalize");
	assert_int_equal(json_array_size(json_at(plan.items[0]->body, "spec.finalizers")), 1);
	assert_string_equal(json_str(plan.items[0]->body, "spec.finalizers[0]"), "other");
	assert_int_equal(json_array_size(json_at(ns, "spec.finalizers")), 2);
}

static void what_remains_is_said(void **state _unused_)
{
	_cleanup_json_ json_t *ns = dying();
	_cleanup_json_ json_t *list =
		from_yaml("{metadata: {remainingItemCount: 3}, items: [{metadata: {finalizers: [a.b/c]}}, "
			  "{metadata: {}}]}");
	_cleanup_plan_ struct plan plan = { 0 };
	struct namespace_round r = { .finished = true };
	const json_t *status;

	namespace_note_count(&r, schema_resource_find("", "v1", "pods"), list);
	namespace_decide(ns, &r, NOW_S, &plan);
	assert_int_equal(plan_count_of(&plan, "PUT", ""), 0);
	status = json_object_get(plan.items[0]->body, "status");
	assert_string_equal(json_str(object_condition(plan.items[0]->body, "NamespaceContentRemaining"), "message"),
			    "Some resources are remaining: pods. has 5 resource instances");
	assert_string_equal(json_str(object_condition(plan.items[0]->body, "NamespaceFinalizersRemaining"), "message"),
			    "Some content in the namespace has finalizers remaining: a.b/c in 1 resource instances");
	assert_string_equal(json_str(status, "phase"), "Terminating");
	namespace_round_done(&r);
}

static void a_failure_keeps_the_namespace(void **state _unused_)
{
	_cleanup_json_ json_t *ns = dying();
	_cleanup_plan_ struct plan plan = { 0 };
	struct namespace_round r = { .finished = true };

	namespace_note_failure(&r, "boom");
	namespace_decide(ns, &r, NOW_S, &plan);
	assert_int_equal(plan_count_of(&plan, "PUT", ""), 0);
	assert_string_equal(
		json_str(object_condition(plan.items[0]->body, "NamespaceDeletionContentFailure"), "message"), "boom");
	namespace_round_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods_go_first),
		cmocka_unit_test(a_round_covers_everything_namespaced),
		cmocka_unit_test(the_finalizer_goes_when_nothing_is_left),
		cmocka_unit_test(what_remains_is_said),
		cmocka_unit_test(a_failure_keeps_the_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
