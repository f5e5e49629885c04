/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The XDP program beside the tc programs: what it sends on must be what tc would have sent, byte for byte; all else it must
 * leave as it came. Both run on the same maps.
 */
#include <linux/bpf.h>

#include "proxy/engine/ebpf/packets_test.h"

static const uint8_t gateway_mac[6] = { 2, 0, 0, 0, 0, 9 }, node_mac[6] = { 2, 0, 0, 0, 0, 11 };

static void put_device(unsigned ifindex)
{
	struct abi_xdp_device d = { 0 };
	memcpy(d.mac, eth0_mac, 6);
	put(skel->maps.xdp_devices, &ifindex, &d);
}

static int setup_xdp(void **state)
{
	setup(state);
	flush_map(skel->maps.xdp_devices);
	put_device(eth0);
	return 0;
}

static void run_xdp(struct packet *p)
{
	static uint8_t out[8192];
	struct xdp_md ctx = { .data_end = (uint32_t)p->len, .ingress_ifindex = eth0 };
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->data, .data_size_in = (uint32_t)p->len, .data_out = out,
			    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.xdp_ingress), &o), 0);
	assert_true(o.data_size_out <= sizeof(p->data));
	memcpy(p->data, out, o.data_size_out);
	p->len = o.data_size_out;
	p->verdict = (int)o.retval;
}

static void assert_passed(const struct packet *p, const struct packet *was)
{
	assert_int_equal(p->verdict, XDP_PASS);
	assert_int_equal(p->len, was->len);
	assert_memory_equal(p->data, was->data, was->len);
}

/* Run by tc too, the packet becomes the same; what is before the IP header the kernel writes there. */
static void assert_as_tc(const struct packet *p, struct packet was, const uint8_t *to_mac)
{
	run(&was, skel->progs.tc_ingress);
	assert_int_equal(was.verdict, TC_ACT_REDIRECT);
	assert_int_equal(p->verdict, XDP_TX);
	assert_memory_equal(p->data, to_mac, 6);
	assert_memory_equal(p->data + 6, eth0_mac, 6);
	assert_int_equal(p->len, was.len);
	assert_memory_equal(p->data + 12, was.data + 12, was.len - 12);
}

static const uint8_t both[] = { IPPROTO_TCP, IPPROTO_UDP };

static struct packet client(int v6, uint8_t proto, uint16_t sport, const char *to, uint16_t dport, uint8_t flags)
{
	return make(&(struct make){ .proto = proto, .from = CLIENT(v6), .sport = sport, .to = to, .dport = dport, .flags = flags });
}

static void test_there_and_back(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
			uint64_t before = counter(ABI_XDP_TRANSLATED);
			one_backend(REMOTE1(v6), 8080, both[i], 0);
			struct packet p = client(v6, both[i], 40000, VIP(v6), 80, SYN), was = p;
			run_xdp(&p);
			assert_flow(&p, "%s:40000>%s:8080", SNAT_POD(v6), REMOTE1(v6));
			assert_as_tc(&p, was, node_mac);
			p = was = client(v6, both[i], 40001, NODE(v6), 30080, SYN);
			run_xdp(&p);
			assert_as_tc(&p, was, node_mac);
			p = was = make(&(struct make){ .proto = both[i], .from = REMOTE1(v6), .sport = 8080, .to = SNAT_POD(v6),
						       .dport = 40000, .flags = SYN | ACK });
			run_xdp(&p);
			assert_flow(&p, "%s:80>%s:40000", VIP(v6), CLIENT(v6));
			assert_as_tc(&p, was, gateway_mac);
			assert_int_equal(counter(ABI_XDP_TRANSLATED), before + 3);
		}
}

static void test_ip_options_and_extensions(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		struct packet p = make(&(struct make){ .proto = IPPROTO_TCP, .from = CLIENT(v6), .sport = 40000, .to = VIP(v6), .dport = 80,
						       .flags = SYN, .options = 12, .extensions = 2 }), was = p;
		run_xdp(&p);
		assert_as_tc(&p, was, node_mac);
	}
}

static void test_no_udp_checksum(void **state)
{
	(void)state;
	one_backend(REMOTE1(0), 8080, IPPROTO_UDP, 0);
	struct packet p = client(0, IPPROTO_UDP, 40000, VIP(0), 80, 0), was;
	set16(p.data + ETH_HLEN + 26, 0);
	was = p;
	run_xdp(&p);
	assert_int_equal(get16(p.data + ETH_HLEN + 26), 0);
	assert_as_tc(&p, was, node_mac);
}

static void test_wrapped(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
			put_frontend(VIP(v6), 80, both[i], SET, (struct abi_frontend){ .flags = ABI_FRONTEND_DSR });
			one_backend(REMOTE1(v6), 8080, both[i], 0);
			struct packet p = client(v6, both[i], 41000, VIP(v6), 80, SYN), was = p;
			was.data[ETH_HLEN + 1] = v6 ? 0x40 : 0x28; /* a traffic class */
			sums_write(was.data + ETH_HLEN);
			p = was;
			run_xdp(&p);
			assert_int_equal(p.len, was.len + (v6 ? 40 : 20));
			assert_as_tc(&p, was, node_mac);
			/* A short frame is padded: that is not inside. */
			p = was;
			memset(p.data + p.len, 0, 8);
			p.len += 8;
			run_xdp(&p);
			assert_int_equal(p.verdict, XDP_TX);
			struct view v = look(ip_of(&p));
			assert_int_equal(v.l4_len, was.len - ETH_HLEN);
		}
}

static void test_left_to_tc(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct make syn = { .proto = IPPROTO_TCP, .from = CLIENT(v6), .sport = 42000, .to = VIP(v6), .dport = 80, .flags = SYN };
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		struct packet rows[12], p;
		size_t n = 0;
		rows[n] = make(&syn); /* another host's frame */
		rows[n++].data[5] = 77;
		rows[n] = make(&syn); /* not IP */
		set16(rows[n++].data + 12, ETH_P_ARP);
		syn.hops = 1; /* must be told */
		rows[n++] = make(&syn);
		syn.hops = 0;
		syn.proto = IPPROTO_SCTP;
		rows[n++] = make(&syn);
		syn.proto = IPPROTO_TCP;
		syn.dport = 82; /* nobody there */
		rows[n++] = make(&syn);
		syn.dport = 81; /* no such port */
		rows[n++] = make(&syn);
		syn.dport = 80;
		syn.flags = ACK; /* mid-flight */
		rows[n++] = make(&syn);
		syn.flags = SYN;
		syn.to = ROUTER(v6); /* nobody's */
		rows[n++] = make(&syn);
		syn.to = VIP(v6);
		rows[n] = make(&syn); /* a part */
		if (v6) {
			rows[n].data[ETH_HLEN + 6] = 44;
		} else {
			set16(rows[n].data + ETH_HLEN + 6, 0x2000);
			sums_write(rows[n].data + ETH_HLEN);
		}
		n++;
		for (size_t i = 0; i < n; i++) {
			uint64_t refused = counter(ABI_TC_REFUSED_NO_ENDPOINTS);
			p = rows[i];
			run_xdp(&p);
			assert_passed(&p, &rows[i]);
			assert_int_equal(counter(ABI_TC_REFUSED_NO_ENDPOINTS), refused);
		}
		/* Ways out that XDP cannot take: a tunnel, a neighbour that must be asked for. */
		one_backend(TUNNELLED(v6), 8080, IPPROTO_TCP, 0);
		struct packet was = client(v6, IPPROTO_TCP, 42001, VIP(v6), 80, SYN);
		p = was;
		run_xdp(&p);
		assert_passed(&p, &was);
		run(&p, skel->progs.tc_ingress);
		assert_flow(&p, "%s:42001>%s:8080", SNAT_POD(v6), TUNNELLED(v6));
		/* This node's own backends. */
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		p = was = client(v6, IPPROTO_TCP, 42002, VIP(v6), 80, SYN);
		run_xdp(&p);
		assert_passed(&p, &was);
		run(&p, skel->progs.tc_ingress);
		assert_flow(&p, "%s:42002>%s:8080", CLIENT(v6), POD1(v6));
		/* A link that is not served. */
		flush_map(skel->maps.xdp_devices);
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		p = was = client(v6, IPPROTO_TCP, 42003, VIP(v6), 80, SYN);
		run_xdp(&p);
		assert_passed(&p, &was);
		put_device(eth0);
	}
}

/* A flow that XDP made, to a pod of this node, is as fast as one of tc's. */
static void test_fast_path(void **state)
{
	(void)state;
	struct abi_config c = config_default();
	c.flags = ABI_CONFIG_FAST_PATH;
	c.pods_ifindex = kl0;
	put_config(&c);
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		struct packet p = client(v6, IPPROTO_TCP, 40000, VIP(v6), 80, SYN), was = p;
		run_xdp(&p);
		assert_passed(&p, &was);
		assert_int_equal(map_count(skel->maps.flows), 1 + (size_t)v6);
		run(&p, skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_REDIRECT);
		assert_flow(&p, "%s:40000>%s:8080", CLIENT(v6), POD1(v6));
	}
}

static void test_too_big_is_tcs(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(REMOTE1(v6), 8080, IPPROTO_UDP, 0);
		struct make m = { .proto = IPPROTO_UDP, .from = CLIENT(v6), .sport = 43000, .to = VIP(v6), .dport = 80,
				  .payload = 1501u - (v6 ? 48 : 28) };
		struct packet p = make(&m), was = p;
		run_xdp(&p);
		assert_passed(&p, &was);
		m.payload--;
		p = was = make(&m);
		run_xdp(&p);
		assert_as_tc(&p, was, node_mac);
		/* Wrapped it is longer. */
		put_frontend(VIP(v6), 80, IPPROTO_UDP, SET, (struct abi_frontend){ .flags = ABI_FRONTEND_DSR });
		m.sport = 43001;
		p = was = make(&m);
		run_xdp(&p);
		assert_passed(&p, &was);
	}
}

static void test_drops(void **state)
{
	(void)state;
	uint64_t ranges = counter(ABI_TC_DROP_SOURCE_RANGE), policy = counter(ABI_TC_DROP_LOCAL_POLICY);
	put_frontend(VIP(0), 80, IPPROTO_TCP, SET, (struct abi_frontend){ .flags = ABI_FRONTEND_RANGES });
	one_backend(REMOTE1(0), 8080, IPPROTO_TCP, 0);
	struct packet p = client(0, IPPROTO_TCP, 44000, VIP(0), 80, SYN);
	run_xdp(&p);
	assert_int_equal(p.verdict, XDP_DROP);
	p = client(0, IPPROTO_TCP, 44000, VIP(0), 83, SYN);
	run_xdp(&p);
	assert_int_equal(p.verdict, XDP_DROP);
	assert_int_equal(counter(ABI_TC_DROP_SOURCE_RANGE), ranges + 1);
	assert_int_equal(counter(ABI_TC_DROP_LOCAL_POLICY), policy + 1);
}

/* Where slots are chosen by hash, XDP and tc come to the same one. */
static void test_hash_is_the_same(void **state)
{
	(void)state;
	put_backend(1, REMOTE1(0), 8080, IPPROTO_TCP, 0, 7);
	put_backend(2, REMOTE2(0), 8080, IPPROTO_TCP, 0, 7);
	put_set(SET, ABI_SET_HASH, 1, 2, 1, 2, 1);
	unsigned first = 0;
	for (uint16_t i = 0; i < 60; i++) {
		struct packet p = client(0, IPPROTO_TCP, 45000 + i, VIP(0), 80, SYN), q = p;
		run_xdp(&p);
		flush_map(skel->maps.flows);
		flush_map(skel->maps.flow_replies);
		run(&q, skel->progs.tc_ingress);
		assert_string_equal(flow_of(ip_of(&p)), flow_of(ip_of(&q)));
		first += strstr(flow_of(ip_of(&p)), REMOTE1(0)) != NULL;
	}
	assert_true(first > 15 && first < 55);
}

static int keep_event(void *user, void *data, size_t len)
{
	struct abi_trace_event **at = user;
	memcpy((*at)++, data, len);
	return 0;
}

static void test_trace(void **state)
{
	(void)state;
	struct abi_trace_event events[16], *end = events;
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(skel->maps.trace_events), keep_event, &end, NULL);
	struct abi_trace_filter f = { .dport = htons(80), .deadline_ns = UINT64_MAX };
	struct abi_config c = config_default();
	uint32_t zero = 0, to[4];
	c.trace = 1;
	put(skel->maps.trace_filter, &zero, &f);
	put_config(&c);
	one_backend(REMOTE1(1), 8080, IPPROTO_TCP, 0);
	struct packet p = client(1, IPPROTO_TCP, 46000, VIP(1), 80, SYN);
	run_xdp(&p);
	assert_int_equal(ring_buffer__consume(ring), 1);
	mapped(to, REMOTE1(1));
	assert_int_equal(events[0].program, ABI_PROGRAM_XDP);
	assert_int_equal(events[0].reason, ABI_XDP_TRANSLATED);
	assert_memory_equal(events[0].after.daddr, to, sizeof(to));
	assert_int_equal(events[0].ifindex, eth0);
	assert_int_equal(events[0].len, p.len);
	ring_buffer__free(ring);
}

/* Whatever comes: sent on with right sums as tc would, or untouched. */
static void test_random_packets(void **state)
{
	(void)state;
	const char *seed = getenv("KEELSON_TEST_SEED"), *budget = getenv("KEELSON_TEST_BUDGET");
	unsigned of = seed ? (unsigned)atoi(seed) : 1, sent = 0;
	int rounds = budget ? atoi(budget) : 3000;
	for (int i = 0; i < rounds; i++) {
		int v6 = rand_r(&of) % 2, dsr = rand_r(&of) % 2;
		uint8_t proto = both[rand_r(&of) % 2];
		put_frontend(VIP(v6), 80, proto, SET, (struct abi_frontend){ .flags = dsr ? ABI_FRONTEND_DSR : 0 });
		one_backend(rand_r(&of) % 4 ? REMOTE1(v6) : POD1(v6), 8080, proto, 0);
		struct packet p = client(v6, proto, (uint16_t)rand_r(&of), VIP(v6), 80, SYN), was;
		for (int k = rand_r(&of) % 3; k > 0; k--)
			p.data[ETH_HLEN + (size_t)rand_r(&of) % (p.len - ETH_HLEN)] = (uint8_t)rand_r(&of);
		if (rand_r(&of) % 4 == 0) /* BPF_PROG_TEST_RUN wants an Ethernet header at least */
			p.len = ETH_HLEN + (size_t)rand_r(&of) % (p.len - ETH_HLEN);
		was = p;
		run_xdp(&p);
		if (p.verdict == XDP_TX) {
			assert_as_tc(&p, was, p.data);
			sent++;
		} else if (p.verdict == XDP_PASS) {
			assert_passed(&p, &was);
		} else {
			assert_int_equal(p.verdict, XDP_DROP);
		}
	}
	assert_true(sent > (unsigned)rounds / 10);
}

/* The neighbours are known: XDP cannot ask for them. */
static int make_neighbours(void)
{
	static const char *const commands[] = {
		"ip neigh add 192.0.2.11 lladdr 02:00:00:00:00:0b dev eth0", "ip neigh add 2001:db8:2::11 lladdr 02:00:00:00:00:0b dev eth0",
		"ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:09 dev eth0",  "ip neigh add 2001:db8:2::1 lladdr 02:00:00:00:00:09 dev eth0",
		"ip neigh add 10.244.3.0 lladdr 02:00:00:00:00:0c dev klvx", "ip neigh add fd00:244:3:: lladdr 02:00:00:00:00:0c dev klvx",
	};
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (system(commands[i]) != 0)
			return -1;
	return 0;
}

#undef TEST
#define TEST(f) cmocka_unit_test_setup(f, setup_xdp)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_there_and_back), TEST(test_ip_options_and_extensions), TEST(test_no_udp_checksum), TEST(test_wrapped),
		TEST(test_left_to_tc),	   TEST(test_fast_path), TEST(test_too_big_is_tcs),		 TEST(test_drops),	     TEST(test_hash_is_the_same),
		TEST(test_trace),	   TEST(test_random_packets),
	};
	libbpf_set_print(quiet);
	if (make_node() < 0 || make_neighbours() < 0 || !(skel = proxy_bpf__open_and_load())) {
		perror("a network namespace and the programs (root is needed)");
		return 1;
	}
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	proxy_bpf__destroy(skel);
	return r;
}
