/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is where in a lab. What links and routes become of it, tests/e2e/multi.sh sees. */
#include "cli/lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"

static void addresses(void **state _unused_)
{
	static const struct {
		const char *services;
		unsigned segments, k;
		const char *ip;
	} rows[] = {
		{ NULL, 1, 1, "198.19.0.1" },
		{ NULL, 1, 64, "198.19.0.64" },
		{ "10.96.0.0/12", 2, 2, "198.19.1.2" },
		{ "10.96.0.0/12", 2, 3, "198.19.0.3" },
		{ "10.96.0.0/12,fd00:10:96::/112", 3, 3, "198.19.2.3,fd00:198:19:2::3" },
		{ "fd00:10:96::/112,10.96.0.0/12", 3, 5, "fd00:198:19:1::5,198.19.1.5" },
		{ "fd00:10:96::/112", 20, 20, "fd00:198:19:13::14" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cluster c = { .state = (char *)"/s", .lab = (char *)"x", .service_cidr = (char *)rows[i].services,
				     .lab_segments = rows[i].segments };
		_cleanup_free_ char *ip = lab_node_ip(&c, rows[i].k);

		assert_string_equal(ip, rows[i].ip);
	}
}

static void names(void **state _unused_)
{
	struct cluster c = { .state = (char *)"/var/lib/keelson", .lab = (char *)"keelson-lab", .lab_nodes = 3, .lab_segments = 1 };
	_cleanup_free_ char *first = lab_state(&c, 1), *third = lab_state(&c, 3), *netns = lab_netns(&c, 3);

	assert_string_equal(first, "/var/lib/keelson");
	assert_string_equal(third, "/var/lib/keelson/nodes/3");
	assert_string_equal(netns, "keelson-lab-3");
	c.lab = (char *)"no-such-lab-anywhere";
	assert_int_equal(lab_check_free(&c, 1, 3, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(addresses), cmocka_unit_test(names) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
