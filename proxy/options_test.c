/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines: what is taken, what is refused, and what is said then. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/options.h"

/* Parses "keelson-proxy --manifests /x ARGS" and puts the first line said on stderr into said. Options that are taken as
 * they stand are dead afterwards. */
static int parse(struct options *o, const char *args, char *said, size_t size)
{
	_cleanup_strlist_ struct strlist argv = { 0 };
	char *line = str_printf("keelson-proxy|--manifests|/x%s%s", *args ? "|" : "", args);
	for (char *save = NULL, *p = strtok_r(line, "|", &save); p; p = strtok_r(NULL, "|", &save))
		strlist_add(&argv, strcmp(p, "EMPTY") == 0 ? "" : p);
	free(line);
	FILE *to = tmpfile();
	fflush(stderr);
	int keep = dup(2);
	dup2(fileno(to), 2);
	int r = options_parse(o, (int)argv.count, argv.items);
	fflush(stderr);
	dup2(keep, 2);
	close(keep);
	rewind(to);
	said[0] = 0;
	if (!fgets(said, (int)size, to))
		said[0] = 0;
	said[strcspn(said, "\n")] = 0;
	fclose(to);
	return r;
}

static void test_taken(void **state)
{
	(void)state;
	char said[256];
	struct options o;
	assert_int_equal(parse(&o, "", said, sizeof(said)), 0);
	assert_string_equal(o.healthz_listen, "0.0.0.0:10256");
	assert_string_equal(o.pod_network, "auto");
	assert_int_equal(o.cluster_dns[0].family, AF_INET);
	assert_int_equal(o.cluster_dns[1].family, 0);
	assert_int_equal(o.snat_port_min, 61000);
	assert_int_equal(o.max_flows, 0);
	assert_false(o.node_port_primary || o.node_port_address_count || o.no_xdp || o.no_fast_path);
	options_done(&o);
	assert_int_equal(parse(&o, "--node-ip|2001:db8::1,192.0.2.1|--cluster-dns|fd00:96::a|--xdp|off|--fast-path|off|--max-services|100000|"
				   "--node-port-addresses|192.0.2.9/24,2001:db8::/32|--snat-ports|50000-50999|--pod-network|direct|"
				   "--snat-address|192.0.2.7", said, sizeof(said)), 0);
	assert_int_equal(o.node_ip[0].bytes[3], 1);
	assert_int_equal(o.node_ip[1].bytes[0], 0x20);
	assert_int_equal(o.cluster_dns[0].family, 0);
	assert_int_equal(o.cluster_dns[1].family, AF_INET6);
	assert_int_equal(o.node_port_address_count, 2);
	assert_int_equal(o.node_port_addresses[0].addr.bytes[3], 0);
	assert_int_equal(o.snat_port_max, 50999);
	assert_int_equal(o.snat_address[0].bytes[3], 7);
	assert_int_equal(o.max_services, 100000);
	assert_true(o.no_xdp && o.no_fast_path);
	assert_string_equal(o.pod_network, "direct");
	options_done(&o);
	assert_int_equal(parse(&o, "--node-port-addresses|primary|--cluster-dns|EMPTY", said, sizeof(said)), 0);
	assert_true(o.node_port_primary);
	assert_int_equal(o.cluster_dns[0].family + o.cluster_dns[1].family, 0);
	options_done(&o);
}

static void test_refused(void **state)
{
	(void)state;
	static const struct {
		const char *args, *said;
	} rows[] = {
		{ "--node-ip|x", "keelson-proxy: --node-ip \"x\": not an IP address, or one of each family" },
		{ "--node-ip|192.0.2.1,192.0.2.2", "keelson-proxy: --node-ip \"192.0.2.1,192.0.2.2\": not an IP address, or one of each family" },
		{ "--node-ip|192.0.2.1,", "keelson-proxy: --node-ip \"192.0.2.1,\": not an IP address, or one of each family" },
		{ "--node-ip|EMPTY", "keelson-proxy: --node-ip \"\": not an IP address, or one of each family" },
		{ "--snat-ports|0-5", "keelson-proxy: --snat-ports \"0-5\": not a range like 61000-65535" },
		{ "--snat-ports|30500-31000", "keelson-proxy: --snat-ports 30500-31000 and --node-port-range 30000-32767 overlap" },
		{ "--node-port-addresses|primary,10.0.0.0/8",
		  "keelson-proxy: --node-port-addresses \"primary,10.0.0.0/8\": neither primary nor up to 64 ranges like 192.0.2.0/24" },
		{ "--node-port-addresses|EMPTY",
		  "keelson-proxy: --node-port-addresses \"\": neither primary nor up to 64 ranges like 192.0.2.0/24" },
		{ "--max-flows|10", "keelson-proxy: --max-flows \"10\": not a number from 64 to 16777216" },
		{ "--xdp|on", "keelson-proxy: --xdp \"on\": not auto or off" },
		{ "--pod-network|x", "keelson-proxy: --pod-network \"x\": not auto, vxlan, direct or none" },
		{ "--kubeconfig|y", "keelson-proxy: exactly one of --kubeconfig and --manifests is needed" },
		{ "more", "keelson-proxy: unexpected argument \"more\"" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char said[256];
		struct options o;
		assert_int_equal(parse(&o, rows[i].args, said, sizeof(said)), -EINVAL);
		assert_string_equal(said, rows[i].said);
		options_done(&o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_taken), cmocka_unit_test(test_refused) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
