/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QoS classes, shares, quotas and oom scores against the numbers Kubernetes documents. */
#include "agent/resources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/mem.h"

static json_t *parse(const char *s)
{
	json_t *v = json_parse(s, strlen(s), NULL, NULL);

	assert_non_null(v);
	return v;
}

#define BOTH(c, m) "{\"resources\":{\"requests\":{\"cpu\":\"" c "\",\"memory\":\"" m "\"},\"limits\":{\"cpu\":\"" c "\",\"memory\":\"" m "\"}}}"
#define LIMITS(c, m) "{\"resources\":{\"limits\":{\"cpu\":\"" c "\",\"memory\":\"" m "\"}}}"
#define REQUESTS(c, m) "{\"resources\":{\"requests\":{\"cpu\":\"" c "\",\"memory\":\"" m "\"}}}"
#define POD(init, main) "{\"spec\":{\"initContainers\":[" init "],\"containers\":[" main "]}}"

static void test_qos(void **state)
{
	static const struct {
		const char *pod;
		enum qos expect;
	} rows[] = {
		{ POD("", "{}"), QOS_BEST_EFFORT },
		{ POD("", BOTH("1", "1Gi")), QOS_GUARANTEED },
		{ POD("", LIMITS("1", "1Gi")), QOS_GUARANTEED },
		{ POD("", REQUESTS("1", "1Gi")), QOS_BURSTABLE },
		{ POD("", BOTH("1", "1Gi") ",{}"), QOS_BURSTABLE },
		{ POD("{}", BOTH("1", "1Gi")), QOS_BURSTABLE },
		{ POD("", "{\"resources\":{\"requests\":{\"cpu\":\"0\"}}}"), QOS_BEST_EFFORT },
		{ POD("", "{\"resources\":{\"limits\":{\"cpu\":\"1\"}}}"), QOS_BURSTABLE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *pod = parse(rows[i].pod);

		assert_int_equal(resources_qos(pod), rows[i].expect);
	}
}

static void test_numbers(void **state)
{
	(void)state;
	assert_int_equal(resources_cpu_shares(-1), 2);
	assert_int_equal(resources_cpu_shares(1), 2);
	assert_int_equal(resources_cpu_shares(100), 102);
	assert_int_equal(resources_cpu_shares(1000), 1024);
	assert_int_equal(resources_cpu_shares(INT64_MAX), 262144);
	assert_int_equal(resources_cpu_weight(2), 1);
	assert_int_equal(resources_cpu_weight(1024), 39);
	assert_int_equal(resources_cpu_weight(262144), 10000);
	assert_int_equal(resources_cpu_quota(0), 0);
	assert_int_equal(resources_cpu_quota(1), 1000);
	assert_int_equal(resources_cpu_quota(250), 25000);
	assert_int_equal(resources_cpu_quota(2000), 200000);
	assert_true(resources_cpu_quota(INT64_MAX) > 0);
}

static void test_oom(void **state)
{
	_cleanup_json_ json_t *none = parse(POD("", "{}")), *all = parse(POD("", BOTH("1", "1Gi")));
	_cleanup_json_ json_t *some = parse(POD("", REQUESTS("1", "1Gi"))), *tiny = parse(POD("", REQUESTS("1", "1")));
	_cleanup_json_ json_t *huge = parse(POD("", REQUESTS("1", "1Ei")));
	_cleanup_json_ json_t *critical = parse("{\"spec\":{\"priority\":2000001000,\"containers\":[{}]}}");

	(void)state;
	assert_int_equal(resources_oom_score_adj(none, json_at(none, "spec.containers[0]"), 4LL << 30), 1000);
	assert_int_equal(resources_oom_score_adj(all, json_at(all, "spec.containers[0]"), 4LL << 30), -997);
	assert_int_equal(resources_oom_score_adj(some, json_at(some, "spec.containers[0]"), 4LL << 30), 750);
	assert_int_equal(resources_oom_score_adj(tiny, json_at(tiny, "spec.containers[0]"), 4LL << 30), 999);
	assert_int_equal(resources_oom_score_adj(huge, json_at(huge, "spec.containers[0]"), 4LL << 30), 3);
	assert_int_equal(resources_oom_score_adj(critical, json_at(critical, "spec.containers[0]"), 4LL << 30), -997);
}

static void test_pod(void **state)
{
	_cleanup_json_ json_t *sum = parse(POD("", LIMITS("250m", "64Mi") "," LIMITS("750m", "64Mi")));
	_cleanup_json_ json_t *init = parse(POD(LIMITS("2", "1Gi"), LIMITS("1", "64Mi")));
	_cleanup_json_ json_t *open = parse(POD("", LIMITS("1", "64Mi") ",{}"));
	struct resources_pod r;

	(void)state;
	resources_of_pod(sum, &r);
	assert_int_equal(r.cpu_shares, 1024);
	assert_int_equal(r.cpu_quota_us, 100000);
	assert_int_equal(r.memory_bytes, 128 << 20);
	resources_of_pod(init, &r);
	assert_int_equal(r.cpu_shares, 2048);
	assert_int_equal(r.memory_bytes, 1 << 30);
	resources_of_pod(open, &r);
	assert_int_equal(r.cpu_quota_us, 0);
	assert_int_equal(r.memory_bytes, 0);
	assert_int_equal(r.cpu_shares, 1024);
}

static void test_requests(void **state)
{
	_cleanup_json_ json_t *pod = parse("{\"spec\":{\"overhead\":{\"cpu\":\"50m\"},\"initContainers\":[{\"resources\":{\"requests\":{\"cpu\":"
					   "\"2\"}}},{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"memory\":\"1Mi\"}}}],"
					   "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\",\"memory\":\"2Mi\"}}}]}}");
	_cleanup_json_ json_t *applied = parse("{\"c\":{\"resources\":{\"requests\":{\"cpu\":\"3\",\"memory\":\"2Mi\"}}}}");
	_cleanup_json_ json_t *as = resources_pod_with(pod, applied);
	struct resources_request r;

	(void)state;
	resources_request_of_pod(pod, &r);
	assert_int_equal(r.cpu_milli, 2050);
	assert_int_equal(r.memory_bytes, 3 << 20);
	resources_request_of_pod(as, &r);
	assert_int_equal(r.cpu_milli, 3050);
}

static void test_resize(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned resized;
	} rows[] = {
		{ "{}", "{}", 0 },
		{ "{\"limits\":{\"cpu\":\"1\"}}", "{\"limits\":{\"cpu\":\"1000m\"},\"requests\":{\"cpu\":\"1\"}}", 0 },
		{ "{\"limits\":{\"cpu\":\"1\"}}", "{\"limits\":{\"cpu\":\"2\"}}", RESIZES_CPU },
		{ "{}", "{\"requests\":{\"memory\":\"1Mi\"}}", RESIZES_MEMORY },
		{ "{\"requests\":{\"cpu\":\"1\",\"memory\":\"1Mi\"}}", "{\"requests\":{\"cpu\":\"2\",\"memory\":\"2Mi\"}}",
		  RESIZES_CPU | RESIZES_MEMORY },
		{ "{\"limits\":{\"example.com/x\":\"1\"}}", "{\"limits\":{\"example.com/x\":\"2\"}}", 0 },
	};
	_cleanup_json_ json_t *c = parse("{\"resizePolicy\":[{\"resourceName\":\"memory\",\"restartPolicy\":\"RestartContainer\"},{"
					 "\"resourceName\":\"cpu\",\"restartPolicy\":\"NotRequired\"}]}");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *x = str_printf("{\"resources\":%s}", rows[i].a), *y = str_printf("{\"resources\":%s}", rows[i].b);
		_cleanup_json_ json_t *a = parse(x), *b = parse(y);

		if (resources_resized(a, b) != rows[i].resized || resources_resized(b, a) != rows[i].resized)
			fail_msg("row %zu: %u", i, resources_resized(a, b));
	}
	assert_true(resources_resize_restarts(c, RESIZES_MEMORY));
	assert_true(resources_resize_restarts(c, RESIZES_CPU | RESIZES_MEMORY));
	assert_false(resources_resize_restarts(c, RESIZES_CPU));
	assert_false(resources_resize_restarts(c, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qos),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_oom),
		cmocka_unit_test(test_pod),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_resize),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
