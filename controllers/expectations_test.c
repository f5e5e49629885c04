// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "controllers/expectations.h"

static void met_when_all_is_seen(void **state _unused_)
{
	struct expectations *e = expectations_new();

	assert_true(expectations_met(e, "a", 0));
	expectations_create(e, "a", 0);
	expectations_create(e, "a", 0);
	expectations_delete(e, "a", "u1", 0);
	assert_false(expectations_met(e, "a", 1));
	assert_true(expectations_met(e, "b", 1));
	expectations_created(e, "a");
	expectations_deleted(e, "a", "u2");
	expectations_deleted(e, "a", "u1");
	expectations_deleted(e, "a", "u1");
	assert_false(expectations_met(e, "a", 1));
	expectations_created(e, "a");
	assert_true(expectations_met(e, "a", 1));
	expectations_created(e, "a");
	assert_true(expectations_met(e, "a", 1));
	expectations_free(e);
}

static void a_lost_event_costs_time_only(void **state _unused_)
{
	struct expectations *e = expectations_new();

	expectations_create(e, "a", 1000);
	assert_false(expectations_met(e, "a", 1000 + EXPECTATIONS_LAPSE_MS - 1));
	assert_true(expectations_met(e, "a", 1000 + EXPECTATIONS_LAPSE_MS));
	expectations_create(e, "b", 0);
	expectations_forget(e, "b");
	assert_true(expectations_met(e, "b", 0));
	expectations_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(met_when_all_is_seen),
		cmocka_unit_test(a_lost_event_costs_time_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
