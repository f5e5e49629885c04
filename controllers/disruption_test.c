// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "controllers/disruption.h"

enum { NOW_S = 1800000000 };

static int64_t ten(const json_t *pod _unused_, const char **ret_uid, void *user)
{
	*ret_uid = "d";
	return user ? -1 : 10;
}

static void allowed(void **state _unused_)
{
	static const struct {
		const char *spec;
		int ready, not_ready;
		bool unknown;
		int want_allowed, want_desired, want_expected;
	} rows[] = {
		{ "minAvailable: 2", 3, 0, false, 1, 2, 3 },
		{ "minAvailable: 2", 2, 1, false, 0, 2, 3 },
		{ "minAvailable: 2", 3, 0, true, 1, 2, 3 },
		{ "minAvailable: 0", 0, 0, false, 0, 0, 0 },
		{ "minAvailable: 50%", 10, 0, false, 5, 5, 10 },
		{ "minAvailable: 45%", 10, 0, false, 5, 5, 10 },
		{ "maxUnavailable: 3", 10, 0, false, 3, 7, 10 },
		{ "maxUnavailable: 25%", 10, 0, false, 3, 7, 10 },
		{ "maxUnavailable: 1", 9, 0, false, 0, 9, 10 },
		{ "maxUnavailable: 50%", 10, 0, true, 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *budget =
			from_yamlf("metadata: {name: b, namespace: d, generation: 1}\nspec: {%s}", rows[i].spec);
		_cleanup_plan_ struct plan plan = { 0 };
		struct disruption_view v = { .budget = budget, .scale_of = ten, .now_s = NOW_S,
					     .user = rows[i].unknown ? &v : NULL };
		const json_t *status;

		for (int k = 0; k < rows[i].ready + rows[i].not_ready; k++)
			object_list_add(&v.pods,
					from_yamlf("metadata: {name: p%d, ownerReferences: [{uid: d, controller: "
						   "true}]}\nstatus: {conditions: [{type: Ready, status: "
						   "'%s'}]}",
						   k, k < rows[i].ready ? "True" : "False"));
		disruption_decide(&v, &plan);
		status = json_object_get(plan.items[0]->body, "status");
		if (json_int(status, "disruptionsAllowed", -1) != rows[i].want_allowed ||
		    json_int(status, "desiredHealthy", -1) != rows[i].want_desired ||
		    json_int(status, "expectedPods", -1) != rows[i].want_expected)
			fail_msg("%s with %d ready", rows[i].spec, rows[i].ready);
		assert_int_equal(json_int(status, "currentHealthy", -1), rows[i].ready);
		list_free(&v.pods);
	}
}

static void a_grant_counts_until_it_lapses(void **state _unused_)
{
	_cleanup_json_ json_t *budget = from_yaml("metadata: {name: b, namespace: d}\nspec: {minAvailable: 1}\n"
						  "status: {disruptedPods: {p0: '2027-01-15T07:59:00Z', gone: "
						  "'2027-01-15T07:59:00Z'}}");
	_cleanup_plan_ struct plan plan = { 0 };
	struct disruption_view v = { .budget = budget, .scale_of = ten, .now_s = NOW_S };
	const json_t *status;

	for (int k = 0; k < 3; k++)
		object_list_add(&v.pods,
				from_yamlf("metadata: {name: p%d}\nstatus: {conditions: [{type: Ready, status: "
					   "'True'}]}",
					   k));
	disruption_decide(&v, &plan);
	status = json_object_get(plan.items[0]->body, "status");
	assert_int_equal(json_int(status, "disruptionsAllowed", -1), 1);
	assert_string_equal(json_str(status, "disruptedPods.p0"), "2027-01-15T07:59:00Z");
	assert_true(json_is_null(json_at(status, "disruptedPods.gone")));
	assert_int_equal(plan.requeue_after_ms, 60000);
	plan_done(&plan);
	v.now_s += DISRUPTION_GRANT_S;
	disruption_decide(&v, &plan);
	assert_int_equal(json_int(plan.items[0]->body, "status.disruptionsAllowed", -1), 2);
	list_free(&v.pods);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allowed),
		cmocka_unit_test(a_grant_counts_until_it_lapses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
