/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many Service ports, filled in at once and changed one by one; prints what that costs. SCALE_SERVICES (1000) and
 * SCALE_ENDPOINTS (25) from the environment.
 */
#include "proxy/engine/ebpf/fixture_test.h"

#include "base/clock.h"

static unsigned from_env(const char *name, unsigned fallback)
{
	const char *s = getenv(name);
	uint64_t v;
	return s && str_to_u64(s, 1000000, &v) == 0 && v ? (unsigned)v : fallback;
}

static void port_of(struct test_port *t, unsigned i, unsigned endpoints)
{
	test_port(t, i + 1, MIN(endpoints, 256u));
	t->p.frontend_count = 2;
	for (unsigned k = 0; k < t->p.backend_count; k++) {
		uint8_t *a = t->backends[k].addr.bytes;
		a[1] = (uint8_t)(128 + (i >> 8));
		a[2] = (uint8_t)i;
	}
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t memory_of_maps(struct engine *e)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	uint64_t sum = 0;
	e->ops->metrics(e, &out);
	for (const char *at = out.data; (at = strstr(at, "\nkeelson_proxy_map_bytes{")); at++)
		sum += strtoull(strchr(at + 1, ' '), NULL, 10);
	return sum;
}

static void test_scale(void **state)
{
	(void)state;
	enum { CHANGES = 2000 };
	static struct test_port t;
	static int64_t took[CHANGES];
	unsigned services = from_env("SCALE_SERVICES", 1000), endpoints = from_env("SCALE_ENDPOINTS", 25);
	struct abi_frontend f;
	uint32_t counts[256];
	fx.o.max_services = services;
	fx.o.max_endpoints = services * endpoints * 5 / 4; /* room for what rests */
	struct engine *e = start();
	int64_t begin = clock_mono_ns();
	for (unsigned i = 0; i < services; i++) {
		port_of(&t, i, endpoints);
		assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	}
	synced(e);
	int64_t filled = clock_mono_ns();
	/* One endpoint leaves, or comes back: another port each time. */
	for (unsigned n = 0; n < CHANGES; n++) {
		unsigned i = n * 7919 % services;
		port_of(&t, i, endpoints);
		if (n / services % 2 == 0)
			t.p.backend_count--;
		int64_t from = clock_mono_ns();
		assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
		assert_int_equal(e->ops->commit(e, NULL), 0);
		took[n] = clock_mono_ns() - from;
	}
	qsort(took, CHANGES, sizeof(took[0]), by_value);
	assert_true(frontend("10.96.0.1", 80, IPPROTO_TCP, ABI_SCOPE_ADDRESS, &f));
	assert_int_equal(count_keys("frontends"), services * 2);
	slots_of(f.set_id, counts);
	e->ops->free(e);
	int64_t again = clock_mono_ns();
	e = start();
	int64_t loaded = clock_mono_ns();
	for (unsigned i = 0; i < services; i++) {
		port_of(&t, i, endpoints);
		assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	}
	synced(e);
	int64_t adopted = clock_mono_ns();
	printf("# %u Services of %u endpoints: filled in %.1f ms; one change %.1f us (median), %.1f us (99 of 100), %.1f us (worst); "
	       "restart: load and adopt %.1f ms, fill %.1f ms; maps %.1f MB\n",
	       services, endpoints, (double)(filled - begin) / 1e6, (double)took[CHANGES / 2] / 1e3, (double)took[CHANGES * 99 / 100] / 1e3,
	       (double)took[CHANGES - 1] / 1e3, (double)(loaded - again) / 1e6, (double)(adopted - loaded) / 1e6,
	       (double)memory_of_maps(e) / 1e6);
	assert_int_equal(count_keys("frontends"), services * 2);
	e->ops->free(e);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_teardown(test_scale, fixture_clean) };
	libbpf_set_print(quiet);
	if (fixture_setup() < 0)
		return 1;
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_done();
	return r;
}
