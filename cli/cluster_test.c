/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cluster.h"

#include <errno.h>

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/mem.h"

static int complete(const char *service, const char *pods, const char *ip, struct err *err)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };

	c.state = mem_strdup("/nowhere");
	c.node_name = mem_strdup("n1");
	c.cgroup2 = mem_strdup("/sys/fs/cgroup");
	c.service_cidr = mem_strdup(service);
	c.cluster_cidr = mem_strdup(pods);
	assert_int_equal(cluster_set_node_ip(&c, ip), 0);
	return cluster_complete(&c, err);
}

static void test_ranges(void **state _unused_)
{
	static const struct {
		const char *service, *pods, *ip, *error; /* NULL: accepted */
	} rows[] = {
		{ NULL, NULL, "127.0.0.1", NULL },
		{ "10.0.0.0/16", "10.1.0.0/16", "127.0.0.1", NULL },
		{ "10.0.0.0/28", "10.0.1.0/24", "127.0.0.1", NULL },
		{ "10.244.0.0/16", NULL, "127.0.0.1", "overlap" },
		{ "10.240.0.0/12", NULL, "127.0.0.1", "overlap" },
		{ "10.244.1.0/24", NULL, "127.0.0.1", "overlap" },
		{ "10.96.0.0/29", NULL, "127.0.0.1", "/8 to /28" },
		{ "10.96.0.1/12", NULL, "127.0.0.1", "host bits set; the range is 10.96.0.0/12" },
		{ NULL, "10.244.0.0/25", "127.0.0.1", "/8 to /24" },
		{ NULL, "10.0.0.0/7", "127.0.0.1", "/8 to /24" },
		{ NULL, "10.244.1.0/16", "127.0.0.1", "host bits set" },
		{ NULL, "127.0.0.0/16", "127.0.0.1", "in a range of the cluster" },
		{ NULL, NULL, "0.0.0.0", "not an address of this machine" },
		{ NULL, NULL, "192.0.2.77", "not an address of this machine" },
		{ NULL, NULL, "::1", "not an IPv4 address" },
		{ "fd00:10:96::/112", "fd00:10:244::/56", "::1", NULL },
		{ "10.96.0.0/12,fd00:10:96::/112", "10.244.0.0/16,fd00:10:244::/56", "127.0.0.1,::1", NULL },
		{ "fd00:10:96::/112,10.96.0.0/12", "fd00:10:244::/56,10.244.0.0/16", "::1,127.0.0.1", NULL },
		{ "10.96.0.0/12,fd00:10:96::/112", "10.244.0.0/16", "127.0.0.1", "the same address families" },
		{ "10.96.0.0/12,fd00:10:96::/112", "fd00:10:244::/56,10.244.0.0/16", "127.0.0.1,::1", "in the same order" },
		{ "10.96.0.0/12,fd00:10:96::/112", "10.244.0.0/16,fd00:10:244::/56", "::1,127.0.0.1", "not an IPv4 address" },
		{ "10.96.0.0/12,10.112.0.0/16", NULL, "127.0.0.1", "one of each family" },
		{ "10.96.0.0/12,fd00:10:96::/64", "10.244.0.0/16,fd00:10:244::/56", "127.0.0.1,::1", "/108 to /124" },
		{ "10.96.0.0/12,fd00:10:96::/112", "10.244.0.0/16,fd00:10:244::/80", "127.0.0.1,::1", "/48 to /64" },
		{ "10.96.0.0/12,fd00:10:244::/112", "10.244.0.0/16,fd00:10:244::/56", "127.0.0.1,::1", "overlap" },
		{ "10.96.0.0/12,fd00:10:96::1/112", "10.244.0.0/16,fd00:10:244::/56", "127.0.0.1,::1", "range is fd00:10:96::/112" },
		{ "", NULL, "127.0.0.1", "not an address range" },
		{ "10.96.0.0/12,", NULL, "127.0.0.1", "not an address range" },
		{ NULL, NULL, "127.0.0.1,::1", "one address family" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_err_ struct err err = { 0 };
		int r = complete(rows[i].service, rows[i].pods, rows[i].ip, &err);

		if (rows[i].error) {
			assert_true(r < 0);
			assert_non_null(strstr(err_msg(&err), rows[i].error));
		} else {
			assert_int_equal(r, 0);
		}
	}
}

static void test_node_ip(void **state _unused_)
{
	static const char *const bad[] = { "", ",", "10.0.0.1,", "10.0.0.01", "10.0.0.1,x", "10.0.0.1,::1,::2", "10.0.0.1 ,::1" };
	_cleanup_(cluster_done) struct cluster c = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cluster_set_node_ip(&c, bad[i]), -EINVAL);
	assert_int_equal(cluster_set_node_ip(&c, "fd00::1"), 0);
	_cleanup_free_ char *url = cluster_server(&c);

	assert_string_equal(url, "https://[fd00::1]:6443");
}

static void test_state_path(void **state _unused_)
{
	char path[120];

	/* "/containerd/containerd.sock.ttrpc" behind it fills the 108 bytes of a socket's address. */
	for (size_t len = 70; len < 80; len++) {
		_cleanup_err_ struct err err = { 0 };

		memset(path, 'a', len);
		path[0] = '/';
		path[len] = '\0';
		assert_int_equal(cluster_check_state(path, &err) == 0, len + strlen("/containerd/containerd.sock.ttrpc") < 108);
	}
	static const char *const bad[] = { "/a:b", "/a,b", "/a\"b", "/a\\b", "/a'b", "/a\nb" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_err_ struct err err = { 0 };

		assert_int_equal(cluster_check_state(bad[i], &err), -EINVAL);
	}
	assert_int_equal(cluster_check_state("/var/lib/my cluster", NULL), 0);
}

static void test_unescape(void **state _unused_)
{
	char text[] = "/a\\040b\\011\\134040c\\400\\04";

	cluster_unescape_mount(text);
	assert_string_equal(text, "/a b\t\\040c\\400\\04");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_node_ip),
		cmocka_unit_test(test_state_path),
		cmocka_unit_test(test_unescape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
