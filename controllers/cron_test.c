// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "base/clock.h"
#include "controllers/cron.h"
#include "controllers/cronjob.h"

static int64_t at(const char *text)
{
	int64_t us = 0;

	assert_int_equal(clock_parse_rfc3339(text, &us), 0);
	return us / 1000000;
}

static void next_times(void **state _unused_)
{
	static const struct {
		const char *schedule, *zone, *after, *next;
	} rows[] = {
		{ "* * * * *", NULL, "2027-01-15T08:00:30Z", "2027-01-15T08:01:00Z" },
		{ "*/15 * * * *", NULL, "2027-01-15T08:00:00Z", "2027-01-15T08:15:00Z" },
		{ "0 0 1 1 *", NULL, "2027-01-15T08:00:00Z", "2028-01-01T00:00:00Z" },
		{ "@yearly", NULL, "2027-01-15T08:00:00Z", "2028-01-01T00:00:00Z" },
		{ "30 6 * * MON-FRI", NULL, "2027-01-15T08:00:00Z", "2027-01-18T06:30:00Z" },
		{ "0 12 13 * 5", NULL, "2027-01-15T13:00:00Z", "2027-01-22T12:00:00Z" },
		{ "0 0 29 2 *", NULL, "2027-01-15T08:00:00Z", "2028-02-29T00:00:00Z" },
		{ "0 0 31 2 *", NULL, "2027-01-15T08:00:00Z", NULL },
		{ "5,10-12 3 * jan,feb ?", NULL, "2027-01-15T03:10:00Z", "2027-01-15T03:11:00Z" },
		{ "@hourly", "Europe/Berlin", "2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z" },
		{ "0 9 * * *", "Europe/Berlin", "2027-01-15T08:00:00Z", "2027-01-16T08:00:00Z" },
		{ "0 9 * * *", "Europe/Berlin", "2027-07-15T08:00:00Z", "2027-07-16T07:00:00Z" },
		/* 2027-03-28 02:30 does not exist there. */
		{ "30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z", "2027-03-29T00:30:00Z" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cron c;
		int64_t got;

		if (rows[i].zone && !cron_zone_exists(rows[i].zone))
			continue; /* no tzdata on this machine */
		assert_int_equal(cron_parse(rows[i].schedule, &c), 0);
		got = cron_next_s(&c, rows[i].zone, at(rows[i].after));
		if (got != (rows[i].next ? at(rows[i].next) : -1)) {
			char text[CLOCK_RFC3339_SIZE];

			clock_format_rfc3339(got, text);
			fail_msg("%s after %s: %s", rows[i].schedule, rows[i].after, text);
		}
	}
}

static void what_is_no_schedule(void **state _unused_)
{
	static const char *const bad[] = { "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",
					   "* * * 13 *", "* * * * 7", "5-1 * * * *", "*/0 * * * *", "a * * * *",
					   "1,,2 * * * *", ",1 * * * *", "1, * * * *", "-1 * * * *", "@never",
					   "1-2-3 * * * *", "*/99999999999999999999 * * * *" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cron c;

		if (cron_parse(bad[i], &c) == 0)
			fail_msg("\"%s\" was taken", bad[i]);
	}
	assert_false(cron_zone_exists("../../etc/passwd"));
	assert_false(cron_zone_exists("/etc/localtime"));
	assert_false(cron_zone_exists("Nowhere/Land"));
	assert_true(cron_zone_exists("UTC"));
}

static void the_latest_of_many(void **state _unused_)
{
	struct cron c;
	int seen;

	cron_parse("* * * * *", &c);
	assert_int_equal(cron_latest_s(&c, NULL, at("2020-01-01T00:00:00Z"), at("2027-01-15T08:00:30Z"), &seen),
			 at("2027-01-15T08:00:00Z"));
	cron_parse("@yearly", &c);
	assert_int_equal(cron_latest_s(&c, NULL, at("2020-01-01T00:00:00Z"), at("2027-03-15T08:00:30Z"), &seen),
			 at("2027-01-01T00:00:00Z"));
	assert_int_equal(cron_latest_s(&c, NULL, at("2027-01-01T00:00:00Z"), at("2027-03-15T08:00:30Z"), &seen), -1);
	assert_int_equal(seen, 0);
}

static json_t *cronjob(const char *spec)
{
	return from_yamlf("{metadata: {name: c, namespace: d, uid: u, resourceVersion: '1', creationTimestamp: "
			  "'2027-01-15T07:30:00Z'}, spec: {schedule: '0 * * * *', jobTemplate: {metadata: {labels: {l: "
			  "v}}, spec: {template: {}}}%s}}",
			  spec);
}

static void a_due_time_makes_one_job(void **state _unused_)
{
	_cleanup_json_ json_t *c = cronjob("");
	_cleanup_plan_ struct plan plan = { 0 };
	struct cronjob_view v = { .cronjob = c, .now_s = at("2027-01-15T07:59:59Z") };
	const struct write *w;

	cronjob_decide(&v, &plan);
	assert_int_equal(plan.count, 0);
	assert_int_equal(plan.requeue_after_ms, 1100);
	v.now_s += 1;
	cronjob_decide(&v, &plan);
	w = plan_find(&plan, "POST", "/namespaces/d/jobs", 0);
	assert_non_null(w);
	assert_string_equal(object_name(w->body), "c-30000000");
	assert_string_equal(map_str(object_labels(w->body), "l"), "v");
	assert_string_equal(json_str(w->body, "metadata.ownerReferences[0].kind"), "CronJob");
	assert_true(plan_find(&plan, "PATCH", "/cronjobs/c/status", 0)->stage > w->stage);
	assert_string_equal(json_str(plan_find(&plan, "PATCH", "", 0)->body, "status.lastScheduleTime"),
			    "2027-01-15T08:00:00Z");
	plan_done(&plan);
	json_set(c, "status", json_pack("{s:s}", "lastScheduleTime", "2027-01-15T08:00:00Z"));
	cronjob_decide(&v, &plan);
	assert_int_equal(plan.count, 0);
}

static void concurrency_policies(void **state _unused_)
{
	static const struct {
		const char *policy;
		size_t created, deleted;
	} rows[] = { { "Allow", 1, 0 }, { "Forbid", 0, 0 }, { "Replace", 1, 1 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *spec = str_printf(", concurrencyPolicy: %s", rows[i].policy);
		_cleanup_json_ json_t *c = cronjob(spec);
		_cleanup_plan_ struct plan plan = { 0 };
		struct cronjob_view v = { .cronjob = c, .now_s = at("2027-01-15T08:00:05Z") };

		object_list_add(&v.jobs, from_yaml("{metadata: {name: running, namespace: d, uid: r}}"));
		cronjob_decide(&v, &plan);
		assert_int_equal(plan_count_of(&plan, "POST", ""), rows[i].created);
		assert_int_equal(plan_count_of(&plan, "DELETE", "/jobs/running"), rows[i].deleted);
		list_free(&v.jobs);
	}
}

static void suspended_or_too_late(void **state _unused_)
{
	static const char *const specs[] = { ", suspend: true", ", startingDeadlineSeconds: 60",
					     ", timeZone: No/Where" };

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		_cleanup_json_ json_t *c = cronjob(specs[i]);
		_cleanup_plan_ struct plan plan = { 0 };
		struct cronjob_view v = { .cronjob = c, .now_s = at("2027-01-15T08:05:00Z") };

		cronjob_decide(&v, &plan);
		assert_int_equal(plan_count_of(&plan, "POST", ""), 0);
	}
}

static void history_is_cut(void **state _unused_)
{
	_cleanup_json_ json_t *c = cronjob(", suspend: true, successfulJobsHistoryLimit: 2");
	_cleanup_plan_ struct plan plan = { 0 };
	struct cronjob_view v = { .cronjob = c, .now_s = at("2027-01-15T08:05:00Z") };

	for (int i = 0; i < 5; i++)
		object_list_add(&v.jobs, from_yamlf("{metadata: {name: j%d, namespace: d, uid: j%d, creationTimestamp: "
						    "'2027-01-1%dT00:00:00Z'}, status: {completionTime: "
						    "'2027-01-1%dT00:00:00Z', conditions: [{type: Complete, status: "
						    "'True'}]}}",
						    i, i, i, i));
	cronjob_decide(&v, &plan);
	assert_int_equal(plan_count_of(&plan, "DELETE", ""), 3);
	assert_non_null(plan_find(&plan, "DELETE", "/jobs/j0", 0));
	assert_null(plan_find(&plan, "DELETE", "/jobs/j4", 0));
	assert_string_equal(json_str(plan_find(&plan, "PATCH", "/status", 0)->body, "status.lastSuccessfulTime"),
			    "2027-01-14T00:00:00Z");
	list_free(&v.jobs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_times),
		cmocka_unit_test(what_is_no_schedule),
		cmocka_unit_test(the_latest_of_many),
		cmocka_unit_test(a_due_time_makes_one_job),
		cmocka_unit_test(concurrency_policies),
		cmocka_unit_test(suspended_or_too_late),
		cmocka_unit_test(history_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
