/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine against the kernel: what ports, nodes and options become in the maps and on the interfaces. */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include "proxy/engine/ebpf/fixture_test.h"

static uint32_t filter_on(const char *name, enum bpf_tc_attach_point point)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(name), .attach_point = point);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x6b65, .priority = 0x6b65);
	return bpf_tc_query(&hook, &opts) == 0 ? opts.prog_id : 0;
}

/* The name of the program that is the filter there, "" without. */
static const char *program_on(const char *name, enum bpf_tc_attach_point point)
{
	static char text[32];
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info), id = filter_on(name, point);
	_cleanup_close_ int fd = id ? bpf_prog_get_fd_by_id(id) : -1;
	text[0] = 0;
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		snprintf(text, sizeof(text), "%s", info.name);
	return text;
}

/* ethtool -K name gro on */
static void ethtool_set(const char *name, uint32_t command, uint32_t value)
{
	struct ethtool_value v = { .cmd = command, .data = value };
	struct ifreq r = { .ifr_data = (char *)&v };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &r), 0);
}

static bool xdp_on(const char *name)
{
	DECLARE_LIBBPF_OPTS(bpf_xdp_query_opts, q);
	return bpf_xdp_query((int)if_nametoindex(name), 0, &q) == 0 && q.drv_prog_id;
}

static struct engine_link link_of(const char *name, enum engine_link_kind kind, bool xdp)
{
	struct engine_link l = { .ifindex = if_nametoindex(name), .kind = (uint8_t)kind, .xdp = xdp, .ethernet = true };
	return l;
}

static void node_set(struct engine *e, const struct engine_node *node)
{
	_cleanup_err_ struct err err = { 0 };
	if (e->ops->node_set(e, node, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static void test_links(void **state)
{
	(void)state;
	run("ip link add out0 address 02:00:00:00:00:01 type veth peer name out1 && ip link set out0 up && ip link set out1 up");
	run("ip link add pods0 type bridge && ip link set pods0 up");
	run("ip link add tun0 type vxlan id 1 dstport 4789 local 127.0.0.1 && ip link set tun0 up");
	struct engine_link links[] = {
		link_of("out0", ENGINE_LINK_OUTSIDE, true),
		link_of("pods0", ENGINE_LINK_PODS, false),
		link_of("tun0", ENGINE_LINK_TUNNEL, false),
		{ .ifindex = 999999, .kind = ENGINE_LINK_OUTSIDE, .ethernet = true }, /* gone before we came */
		{ .ifindex = if_nametoindex("lo"), .kind = ENGINE_LINK_OUTSIDE },     /* no Ethernet header, as far as we know */
	};
	struct engine_node node = { .links = links, .link_count = ARRAY_SIZE(links) };
	struct engine *e = start();
	node_set(e, &node);
	assert_int_equal(filter_on("out0", BPF_TC_INGRESS), 0); /* nothing before the maps are complete */
	synced(e);
	assert_string_equal(program_on("out0", BPF_TC_INGRESS), "tc_ingress");
	assert_string_equal(program_on("out0", BPF_TC_EGRESS), "tc_egress");
	assert_string_equal(program_on("pods0", BPF_TC_INGRESS), "tc_pods");
	assert_string_equal(program_on("pods0", BPF_TC_EGRESS), "tc_egress");
	assert_string_equal(program_on("tun0", BPF_TC_INGRESS), "tc_tunnel");
	assert_string_equal(program_on("lo", BPF_TC_INGRESS), "");
	/* A pod comes, and turns into something else. */
	run("ip link add pod0 type veth peer name pod1 && ip link set pod0 master pods0 up");
	links[4] = link_of("pod0", ENGINE_LINK_POD, false);
	node_set(e, &node);
	assert_string_equal(program_on("pod0", BPF_TC_INGRESS), "tc_pod");
	assert_int_equal(filter_on("pod0", BPF_TC_EGRESS), 0);
	uint32_t first = filter_on("pod0", BPF_TC_INGRESS);
	node_set(e, &node);
	assert_int_equal(filter_on("pod0", BPF_TC_INGRESS), first);
	node.link_count = 4;
	node_set(e, &node);
	assert_int_equal(filter_on("pod0", BPF_TC_INGRESS), 0);
	run("ip link del pod0");
	node_set(e, &node);
	/* A veth is served when it was made ready for that: its peer takes frames of XDP, its own have checksums. */
	assert_false(xdp_on("out0"));
	ethtool_set("out1", ETHTOOL_SGRO, 1);
	node_set(e, &node);
	assert_false(xdp_on("out0"));
	assert_int_equal(count_keys("xdp_devices"), 0);
	ethtool_set("out0", ETHTOOL_STXCSUM, 0);
	node_set(e, &node);
	assert_true(xdp_on("out0"));
	static const uint8_t mac[] = { 2, 0, 0, 0, 0, 1 };
	struct abi_xdp_device d;
	assert_int_equal(lookup("xdp_devices", &links[0].ifindex, &d), 0);
	assert_memory_equal(d.mac, mac, sizeof(mac));
	/* Somebody takes a filter away, another interface is renamed: the next look heals. */
	run("tc qdisc del dev out0 clsact && ip link set tun0 down && ip link set tun0 name tun1 && ip link set tun1 up");
	node_set(e, &node);
	assert_string_equal(program_on("out0", BPF_TC_INGRESS), "tc_ingress");
	assert_string_equal(program_on("out0", BPF_TC_EGRESS), "tc_egress");
	assert_string_equal(program_on("tun1", BPF_TC_INGRESS), "tc_tunnel");
	/* Another daemon takes over, without XDP. */
	e->ops->free(e);
	uint32_t before = filter_on("out0", BPF_TC_INGRESS);
	assert_true(xdp_on("out0") ); /* goes on without a daemon */
	fx.o.no_xdp = true;
	e = start();
	node.links = links + 1; /* and it does not want out0 any more */
	node.link_count = 2;
	node_set(e, &node);
	synced(e);
	assert_true(before != 0);
	assert_int_equal(filter_on("out0", BPF_TC_INGRESS), 0);
	assert_false(xdp_on("out0"));
	/* An interface turns into another kind, one vanishes under us. */
	struct engine_link changed[] = { link_of("pods0", ENGINE_LINK_OUTSIDE, false), links[2] };
	node.links = changed;
	run("ip link del tun1");
	node_set(e, &node);
	assert_string_equal(program_on("pods0", BPF_TC_INGRESS), "tc_ingress");
	assert_string_equal(program_on("pods0", BPF_TC_EGRESS), "tc_egress");
	changed[0].kind = ENGINE_LINK_PODS;
	node_set(e, &node);
	assert_string_equal(program_on("pods0", BPF_TC_EGRESS), "tc_egress");
	assert_string_equal(program_on("pods0", BPF_TC_INGRESS), "tc_pods");
	e->ops->free(e);
	/* Cleanup leaves nothing, XDP included. */
	fx.o.no_xdp = false;
	node.links = links;
	node.link_count = 1;
	e = start();
	node_set(e, &node);
	synced(e);
	assert_true(xdp_on("out0") );
	e->ops->free(e);
	assert_int_equal(engine_ebpf_cleanup(fx.pin, NULL), 0);
	assert_false(xdp_on("out0"));
	assert_false(file_exists(fx.pin));
	run("! tc qdisc show | grep -q clsact");
	run("ip link del out0 && ip link del pods0");
}

static void many(struct ip_addr *out, size_t n, const char *first)
{
	out[0] = ip(first);
	for (size_t i = 1; i < n; i++) {
		out[i] = out[i - 1];
		ip_addr_add(&out[i], 1);
	}
}

static void test_node(void **state)
{
	(void)state;
	enum { ADDRS = 250, PEERS = 3000 };
	_cleanup_free_ struct ip_addr *addrs = mem_new_n(struct ip_addr, ADDRS), *peers = mem_new_n(struct ip_addr, PEERS);
	_cleanup_err_ struct err err = { 0 };
	struct abi_config c;
	struct engine *e = start();
	uint32_t zero = 0;
	many(addrs, ADDRS, "192.0.2.1");
	many(peers, PEERS, "203.0.0.1");
	struct engine_node node = {
		.addrs = addrs, .addr_count = ADDRS, .peers = peers, .peer_count = PEERS, .snat_node_min = 61000, .snat_node_max = 65535,
		.snat_pod = { ip("10.244.3.0"), ip("fd00:10:244:3::") }, .snat_node = { ip("192.0.2.1"), { 0 } },
	};
	node_set(e, &node);
	assert_int_equal(count_keys("node_addrs"), ADDRS);
	assert_int_equal(count_keys("peer_nodes"), PEERS);
	assert_int_equal(lookup("config", &zero, &c), 0);
	uint32_t want[4];
	mapped(&node.snat_pod[0], want);
	assert_memory_equal(c.snat_pod[0], want, 16);
	mapped(&node.snat_pod[1], want);
	assert_memory_equal(c.snat_pod[1], want, 16);
	memset(want, 0, sizeof(want));
	assert_memory_equal(c.snat_node[1], want, 16);
	assert_int_equal(c.snat_node_min, 61000);
	assert_int_equal(c.snat_pod_min, 1024);
	/* The whole list is another one: there is no room for both at once. */
	many(addrs, ADDRS, "198.51.100.1");
	many(peers, 10, "203.0.113.1");
	node.peer_count = 10;
	node_set(e, &node);
	assert_int_equal(count_keys("node_addrs"), ADDRS);
	assert_int_equal(count_keys("peer_nodes"), 10);
	/* A restarted daemon finds what an earlier one wrote and removes what is no more. */
	e->ops->free(e);
	e = start();
	node.peer_count = 3;
	node.addr_count = 2;
	node_set(e, &node);
	assert_int_equal(count_keys("node_addrs"), 2);
	assert_int_equal(count_keys("peer_nodes"), 3);
	/* More than fit is an error that says so. */
	_cleanup_free_ struct ip_addr *lots = mem_new_n(struct ip_addr, 300);
	many(lots, 300, "100.64.0.1");
	node.addrs = lots;
	node.addr_count = 300;
	assert_true(e->ops->node_set(e, &node, &err) < 0);
	assert_non_null(strstr(err_msg(&err), "256"));
	e->ops->free(e);
}

static void test_algorithms(void **state)
{
	(void)state;
	static struct test_port t;
	uint32_t counts[256];
	struct abi_frontend f;
	struct engine *e = start();
	test_port(&t, 1, 10);
	t.backends[2].weight = 3;
	t.backends[3].weight = 0;
	t.p.weighted = true;
	set_port(e, &t.p);
	assert_true(frontend("10.96.0.1", 80, IPPROTO_TCP, ABI_SCOPE_ADDRESS, &f));
	assert_int_equal(slots_of(f.set_id, counts), 11);
	assert_int_equal(counts[3], 3);
	assert_int_equal(counts[4], 0);
	uint64_t random = set_word(f.set_id);
	/* Only how a slot is chosen changes: one word, the same slots. */
	t.p.algorithm = MODEL_LEAST;
	set_port(e, &t.p);
	assert_true(set_word(f.set_id) == (random | (uint64_t)ABI_SET_LEAST << 56));
	t.p.algorithm = MODEL_MAGLEV;
	set_port(e, &t.p);
	assert_int_equal(ABI_SET_FLAGS(set_word(f.set_id)), ABI_SET_HASH);
	assert_int_equal(slots_of(f.set_id, counts), 1021);
	assert_in_range(counts[3], 3 * 1021 / 11 - 9, 3 * 1021 / 11 + 9);
	assert_int_equal(counts[4], 0);
	t.p.algorithm = MODEL_RANDOM;
	set_port(e, &t.p);
	assert_int_equal(slots_of(f.set_id, counts), 11);
	/* Nobody has a weight: as good as no endpoints. */
	for (int i = 0; i < 10; i++)
		t.backends[i].weight = 0;
	set_port(e, &t.p);
	assert_true(set_word(f.set_id) == 0);
	e->ops->free(e);
}

/* What does not fit is refused with the limit's name; the old set goes on, and smaller changes still work. */
static void test_slots_full(void **state)
{
	(void)state;
	static struct test_port a, b;
	_cleanup_err_ struct err err = { 0 };
	uint32_t counts[256];
	struct abi_frontend f;
	fx.o.max_endpoints = 1024; /* 2048 slots */
	struct engine *e = start();
	test_port(&a, 1, 10);
	a.p.algorithm = MODEL_MAGLEV;
	set_port(e, &a.p);
	test_port(&b, 2, 10);
	set_port(e, &b.p);
	assert_true(frontend("10.96.0.2", 80, IPPROTO_TCP, ABI_SCOPE_ADDRESS, &f));
	uint64_t before = set_word(f.set_id);
	b.p.algorithm = MODEL_MAGLEV;
	b.p.backend_count = 30;
	for (unsigned i = 10; i < 30; i++) {
		b.backends[i] = b.backends[0];
		b.backends[i].addr.bytes[3] = (uint8_t)(i + 1);
	}
	assert_int_equal(e->ops->port_set(e, &b.p, &err), -ENOSPC);
	assert_non_null(strstr(err_msg(&err), "2048 slots"));
	assert_true(set_word(f.set_id) == before);
	assert_int_equal(slots_of(f.set_id, counts), 10);
	b.p.algorithm = MODEL_RANDOM;
	set_port(e, &b.p);
	assert_int_equal(slots_of(f.set_id, counts), 30);
	/* The large table's run comes free and is used again. */
	a.p.algorithm = MODEL_RANDOM;
	set_port(e, &a.p);
	b.p.algorithm = MODEL_MAGLEV;
	b.p.backend_count = 10;
	set_port(e, &b.p);
	assert_int_equal(slots_of(f.set_id, counts), 1021);
	e->ops->free(e);
}

/* An id that gets another meaning begins without load. */
static void test_loads(void **state)
{
	(void)state;
	static struct test_port t;
	struct abi_frontend f;
	uint64_t slot;
	uint32_t load = 7;
	struct engine *e = start();
	test_port(&t, 1, 3);
	set_port(e, &t.p);
	assert_true(frontend("10.96.0.1", 80, IPPROTO_TCP, ABI_SCOPE_ADDRESS, &f));
	uint32_t at = ABI_SET_BASE(set_word(f.set_id)) + 2;
	assert_int_equal(lookup("slots", &at, &slot), 0);
	uint32_t id = ABI_SLOT_BACKEND(slot);
	_cleanup_close_ int loads = pinned("loads");
	assert_int_equal(bpf_map_update_elem(loads, &id, &load, BPF_ANY), 0);
	/* The endpoint goes, and others until its id comes round again. */
	for (unsigned i = 0; i < 200; i++) {
		t.backends[2].port = (uint16_t)(9000 + i);
		set_port(e, &t.p);
	}
	assert_int_equal(lookup("loads", &id, &load), 0);
	assert_int_equal(load, 0);
	e->ops->free(e);
}

static void has(const struct strbuf *b, const char *line)
{
	if (!strstr(b->data, line))
		fail_msg("no \"%s\" in %s", line, b->data);
}

static void test_metrics(void **state)
{
	(void)state;
	static struct test_port t;
	_cleanup_strbuf_ struct strbuf out = { 0 };
	struct abi_frontend f;
	struct abi_stats st = { .connections = 5 };
	char line[160];
	struct engine *e = start();
	test_port(&t, 1, 3);
	set_port(e, &t.p);
	assert_true(frontend("10.96.0.1", 80, IPPROTO_TCP, ABI_SCOPE_ADDRESS, &f));
	_cleanup_close_ int stats = pinned("stats");
	assert_int_equal(bpf_map_update_elem(stats, &f.set_id, &st, BPF_ANY), 0);
	e->ops->metrics(e, &out);
	has(&out, "keelson_proxy_service_connections_total{namespace=\"default\",service=\"web\",port=\"http\",family=\"IPv4\"} 5\n");
	assert_null(strstr(out.data, "keelson_proxy_service_refused_total{"));
	has(&out, "\nkeelson_proxy_backends 3\n");
	has(&out, "keelson_proxy_map_entries{map=\"frontends\"} 4\n");
	has(&out, "keelson_proxy_map_entries{map=\"flows\"} 0\n");
	has(&out, "keelson_proxy_map_max_entries{map=\"slots\"} 131072\n");
	has(&out, "keelson_proxy_drops_total{reason=\"tc_drop_snat_exhausted\"} 0\n");
	assert_null(strstr(out.data, "keelson_proxy_drops_total{reason=\"tc_translated\"}"));
	strbuf_reset(&out);
	e->ops->services(e, &out);
	snprintf(line, sizeof(line),
		 "{\"name\":\"default/web:http\",\"protocol\":\"TCP\",\"family\":\"IPv4\",\"port\":80,\"set\":%u,\"localSet\":0}",
		 f.set_id);
	has(&out, line);
	e->ops->free(e);
}

static uint8_t flags_of(const char *addr, uint16_t port, uint8_t scope)
{
	struct abi_frontend f;
	assert_true(frontend(addr, port, scope == ABI_SCOPE_OWNED ? 0 : IPPROTO_TCP, scope, &f));
	return f.flags;
}

static struct ip_prefix prefix(const char *s)
{
	struct ip_prefix p;
	assert_int_equal(ip_prefix_parse(s, &p), 0);
	return p;
}

static void test_frontend_flags(void **state)
{
	(void)state;
	enum { LB = ABI_FRONTEND_EXTERNAL | ABI_FRONTEND_RANGES };
	static struct test_port t;
	struct engine *e = start();
	struct ip_addr own[] = { ip("192.0.2.10"), ip("192.0.2.11") };
	struct engine_node node = { .addrs = own, .addr_count = 2 };
	node_set(e, &node);
	test_port(&t, 1, 2);
	set_port(e, &t.p);
	assert_int_equal(flags_of("10.96.0.1", 80, ABI_SCOPE_ADDRESS), ABI_FRONTEND_EXTERNAL | ABI_FRONTEND_CLUSTER);
	assert_int_equal(flags_of("10.96.0.1", 0, ABI_SCOPE_OWNED), 0);
	assert_int_equal(flags_of("0.0.0.0", 30001, ABI_SCOPE_NODE_PORT), ABI_FRONTEND_EXTERNAL);
	assert_int_equal(flags_of("198.51.0.1", 80, ABI_SCOPE_ADDRESS), ABI_FRONTEND_EXTERNAL);
	t.p.dsr = true;
	set_port(e, &t.p);
	assert_int_equal(flags_of("198.51.0.1", 80, ABI_SCOPE_ADDRESS), ABI_FRONTEND_EXTERNAL | ABI_FRONTEND_DSR);
	t.p.dsr = false;
	/* Ranges: of nobody here, of the node, of some pods, of all. */
	t.frontends[3].ranged = true;
	t.ranges[0] = prefix("203.0.113.0/24");
	t.p.range_count = 1;
	set_port(e, &t.p);
	assert_int_equal(flags_of("198.51.0.1", 80, ABI_SCOPE_ADDRESS), LB | ABI_FRONTEND_DENY_NODE | ABI_FRONTEND_DENY_PODS);
	assert_int_equal(flags_of("10.96.0.1", 80, ABI_SCOPE_ADDRESS), ABI_FRONTEND_EXTERNAL | ABI_FRONTEND_CLUSTER);
	t.ranges[1] = prefix("10.244.7.0/24");
	t.p.range_count = 2;
	set_port(e, &t.p);
	assert_int_equal(flags_of("198.51.0.1", 80, ABI_SCOPE_ADDRESS), LB | ABI_FRONTEND_DENY_NODE);
	assert_int_equal(count_keys("ranges"), 2);
	t.ranges[1] = prefix("10.0.0.0/8");
	set_port(e, &t.p);
	assert_int_equal(flags_of("198.51.0.1", 80, ABI_SCOPE_ADDRESS), LB | ABI_FRONTEND_DENY_NODE | ABI_FRONTEND_ALLOW_PODS);
	assert_int_equal(count_keys("ranges"), 2);
	/* The node gets an address that is in them, and loses it. */
	own[1] = ip("203.0.113.5");
	node_set(e, &node);
	assert_int_equal(flags_of("198.51.0.1", 80, ABI_SCOPE_ADDRESS), LB | ABI_FRONTEND_ALLOW_PODS);
	node.addr_count = 1;
	node_set(e, &node);
	assert_int_equal(flags_of("198.51.0.1", 80, ABI_SCOPE_ADDRESS), LB | ABI_FRONTEND_DENY_NODE | ABI_FRONTEND_ALLOW_PODS);
	/* The kernel finds clients in them. */
	struct abi_frontend f;
	assert_true(frontend("198.51.0.1", 80, IPPROTO_TCP, ABI_SCOPE_ADDRESS, &f));
	struct abi_range_key k = { .prefixlen = 160, .set_id = f.set_id };
	uint32_t value;
	struct ip_addr client = ip("203.0.113.77");
	mapped(&client, k.addr);
	assert_int_equal(lookup("ranges", &k, &value), 0);
	k.set_id++;
	assert_int_equal(lookup("ranges", &k, &value), -ENOENT);
	/* A restarted daemon that is told fewer removes the rest; one that is told nothing all. */
	e->ops->free(e);
	e = start();
	t.p.range_count = 1;
	set_port(e, &t.p);
	assert_int_equal(count_keys("ranges"), 2);
	synced(e);
	assert_int_equal(count_keys("ranges"), 1);
	e->ops->port_gone(e, 1);
	synced(e);
	assert_int_equal(count_keys("ranges"), 0);
	assert_int_equal(count_keys("frontends"), 0);
	e->ops->free(e);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
	return 0;
}

/* The maps have one writer; what a second one changes is nothing. */
static void test_one_writer(void **state)
{
	(void)state;
	_cleanup_err_ struct err err = { 0 };
	struct engine *e = start();
	assert_null(engine_ebpf_new(&fx.o, &err));
	assert_non_null(strstr(err_msg(&err), "another keelson-proxy"));
	e->ops->free(e);
	e = start();
	e->ops->free(e);
}

#define TEST(f) cmocka_unit_test_teardown(f, fixture_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_links),      TEST(test_node),           TEST(test_algorithms),
		TEST(test_slots_full), TEST(test_frontend_flags), TEST(test_loads),
		TEST(test_metrics),    TEST(test_one_writer),
	};
	libbpf_set_print(quiet);
	if (fixture_setup() < 0)
		return 1;
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_done();
	return r;
}
