/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address parsing and arithmetic; the rtnetlink calls in a network namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/net.h"

static void parsing(void **state _unused_)
{
	static const char *const bad[] = { "010.0.0.1", "10.0.0", " 10.0.0.1", "10.0.0.1 ", "1.2.3.256", "", "::g" };
	static const char *const bad_prefix[] = { "10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "::/129", "/8" };
	struct ip_addr a;
	struct ip_prefix p;
	char text[IP_PREFIX_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ip_parse(bad[i], &a), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad_prefix); i++)
		assert_int_equal(ip_prefix_parse(bad_prefix[i], &p), -EINVAL);
	assert_int_equal(ip_prefix_parse("10.244.3.7/12", &p), 0);
	ip_prefix_mask(&p);
	assert_string_equal(ip_prefix_format(&p, text), "10.240.0.0/12");
	assert_int_equal(ip_parse("10.255.255.255", &a), 0);
	assert_true(ip_prefix_contains(&p, &a));
	assert_int_equal(ip_parse("11.0.0.0", &a), 0);
	assert_false(ip_prefix_contains(&p, &a));
	assert_int_equal(ip_prefix_parse("fd00:1::5/64", &p), 0);
	ip_prefix_mask(&p);
	assert_string_equal(ip_prefix_format(&p, text), "fd00:1::/64");
}

static void arithmetic(void **state _unused_)
{
	struct ip_addr a;
	char text[IP_ADDR_TEXT_SIZE];

	assert_int_equal(ip_parse("10.0.0.250", &a), 0);
	assert_true(ip_addr_add(&a, 10));
	assert_string_equal(ip_format(&a, text), "10.0.1.4");
	assert_int_equal(ip_parse("255.255.255.255", &a), 0);
	assert_false(ip_addr_add(&a, 1));
	assert_string_equal(ip_format(&a, text), "255.255.255.255");
	assert_int_equal(ip_parse("fd00::ffff", &a), 0);
	assert_true(ip_addr_add(&a, 1));
	assert_string_equal(ip_format(&a, text), "fd00::1:0");
}

static int command(const char *cmd)
{
	return system(cmd);
}

static void kernel(void **state _unused_)
{
	_cleanup_err_ struct err err = { 0 };
	struct ip_prefix p;
	struct ip_addr a;
	char text[IP_ADDR_TEXT_SIZE];

	if (unshare(CLONE_NEWNET) < 0)
		skip();
	assert_int_equal(command("ip link set lo up"), 0);
	assert_int_equal(ip_prefix_parse("10.96.0.0/12", &p), 0);
	assert_int_equal(net_blackhole_add(&p, &err), 0);
	assert_int_equal(net_blackhole_add(&p, &err), 0);
	assert_int_equal(command("ip route show type blackhole | grep -q '^blackhole 10.96.0.0/12 .*metric 4294967295'"), 0);
	assert_int_equal(net_blackhole_del(&p, &err), 0);
	assert_int_equal(net_blackhole_del(&p, &err), 0);
	assert_int_equal(command("ip route show type blackhole | grep -q ."), 256);

	assert_int_equal(net_node_address(AF_INET, &a, &err), -ENOENT);
	assert_int_equal(ip_prefix_parse("10.96.0.10/32", &p), 0);
	assert_int_equal(net_address_add("lo", &p, &err), 0);
	assert_int_equal(net_address_add("lo", &p, &err), 0);
	assert_int_equal(net_node_address(AF_INET, &a, &err), 0);
	assert_string_equal(ip_format(&a, text), "10.96.0.10");
	assert_int_equal(net_address_del("lo", &p, &err), 0);
	assert_int_equal(net_address_del("lo", &p, &err), 0);
	assert_int_equal(net_address_add("nosuchif0", &p, &err), -ENODEV);
	assert_int_equal(net_address_del("nosuchif0", &p, &err), 0);

	_cleanup_free_ char *old = NULL;

	assert_int_equal(net_sysctl_set("net.ipv4.ip_forward", "1", &old, &err), 0);
	assert_int_equal(net_sysctl_set("net.ipv4.no_such_thing", "1", NULL, &err), -ENOENT);
	assert_string_equal(err_msg(&err), "cannot read sysctl net.ipv4.no_such_thing: No such file or directory");
}

static void test_ranges(void **state)
{
	(void)state;
	static const char *const bad[] = { "", ",", "10.0.0.0/8,", ",10.0.0.0/8", "10.0.0.0/8,,fd00::/64", "10.0.0.0/8,10.1.0.0/16",
		"10.0.0.0", "10.0.0.0/8,fd00::/64,fd01::/64", "10.0.0.0/33" };
	struct ip_ranges r = { 0 };
	struct ip_addr four, six;
	unsigned first = 9;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ip_ranges_parse(bad[i], &r, NULL), -EINVAL);
	assert_int_equal(ip_ranges_parse(NULL, &r, NULL), -EINVAL);
	ip_parse("10.9.8.7", &four);
	ip_parse("fd00::1", &six);
	assert_int_equal(ip_ranges_parse("fd00::5/64,10.1.2.3/8", &r, &first), 0);
	assert_int_equal(first, 1);
	assert_true(ip_ranges_contain(&r, &four) && ip_ranges_contain(&r, &six));
	assert_int_equal(r.v[0].addr.bytes[1], 0); /* host bits are cleared */
	assert_int_equal(ip_ranges_parse("10.0.0.0/8", &r, &first), 0);
	assert_int_equal(first, 0);
	assert_true(ip_ranges_contain(&r, &four) && !ip_ranges_contain(&r, &six));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(parsing),
		cmocka_unit_test(arithmetic),
		cmocka_unit_test(kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
