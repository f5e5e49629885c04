/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backends of this node: the client's address is kept, the kernel routes, the answer is translated as it leaves. */
#include <time.h>

#include "proxy/engine/ebpf/packets_test.h"

static void two_backends(int v6, uint8_t proto)
{
	put_backend(1, POD1(v6), 8080, proto, ABI_BACKEND_LOCAL, 7);
	put_backend(2, POD2(v6), 9090, proto, ABI_BACKEND_LOCAL, 7);
	put_set(SET, 0, 1, 2);
}

/* Only the other one is left. */
static void leave_other(int v6, uint8_t proto, bool first)
{
	put_backend(first ? 1 : 2, first ? POD1(v6) : POD2(v6), first ? 8080 : 9090, proto, ABI_BACKEND_LOCAL, 0);
	put_set(SET, 0, first ? 2 : 1);
}

static struct packet in(int v6, uint8_t proto, uint16_t sport, uint16_t dport, uint8_t flags)
{
	struct packet p = make(&(struct make){ .proto = proto, .from = CLIENT(v6), .sport = sport, .to = NODE(v6), .dport = dport,
					       .flags = flags });
	run(&p, skel->progs.tc_ingress);
	return p;
}

static struct packet out(int v6, uint8_t proto, bool first, uint16_t dport, uint8_t flags)
{
	struct packet p = make(&(struct make){ .proto = proto, .from = first ? POD1(v6) : POD2(v6), .sport = first ? 8080 : 9090,
					       .to = CLIENT(v6), .dport = dport, .flags = flags, .chunk = 2 });
	run(&p, skel->progs.tc_egress);
	return p;
}

/* Which of the two a client's packet went to. */
static bool went_first(const struct packet *p, int v6)
{
	char want[96];
	snprintf(want, sizeof(want), ">%s:8080", POD1(v6));
	bool first = strstr(flow_of(ip_of(p)), want) != NULL;
	assert_int_equal(p->verdict, TC_ACT_UNSPEC);
	assert_flow(p, "%s:%u>%s:%u", CLIENT(v6), sport_of(p), first ? POD1(v6) : POD2(v6), first ? 8080 : 9090);
	return first;
}

static void test_there_and_back(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
			two_backends(v6, protocols[i]);
			struct packet p = in(v6, protocols[i], 40000, 30080, SYN);
			bool first = went_first(&p, v6);
			struct packet r = out(v6, protocols[i], first, 40000, SYN | ACK);
			assert_int_equal(r.verdict, TC_ACT_UNSPEC);
			assert_flow(&r, "%s:30080>%s:40000", NODE(v6), CLIENT(v6));
			if (protocols[i] != IPPROTO_TCP)
				continue;
			/* The flow keeps its backend, also when the Service has lost it. */
			put_set(SET, 0);
			put_backend(1, POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL, 0);
			put_backend(2, POD2(v6), 9090, IPPROTO_TCP, ABI_BACKEND_LOCAL, 0);
			p = in(v6, IPPROTO_TCP, 40000, 30080, ACK);
			assert_true(went_first(&p, v6) == first);
		}
}

static void test_both_backends(void **state)
{
	(void)state;
	unsigned one = 0;
	two_backends(0, IPPROTO_TCP);
	for (uint16_t i = 0; i < 200; i++) {
		struct packet p = in(0, IPPROTO_TCP, 41000 + i, 30080, SYN);
		one += went_first(&p, 0);
	}
	assert_in_range(one, 50, 150);
}

/* The sweeper removes what has ended and only that; what a flow weighed on its backend goes with it. */
static void test_ended_flows_are_swept(void **state)
{
	(void)state;
	uint32_t id = 1, load = 0, zero = 0;
	one_backend(POD1(0), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
	put_set(SET, ABI_SET_LEAST, 1);
	put(skel->maps.loads, &id, &zero);
	for (uint16_t i = 0; i < 1000; i++)
		assert_int_equal(in(i % 2, IPPROTO_TCP, 20000 + i, 30080, SYN).verdict, i % 2 ? TC_ACT_SHOT : TC_ACT_UNSPEC);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.loads), &id, &load), 0);
	assert_int_equal(load, 500);
	for (uint16_t i = 0; i < 998; i += 2)
		in(0, IPPROTO_TCP, 20000 + i, 30080, RST);
	for (int waited_ms = 0; waited_ms < 20000 && map_count(skel->maps.flows) > 1; waited_ms += 100)
		usleep(100000);
	struct abi_flow_key k = { 0 };
	assert_int_equal(bpf_map_get_next_key(bpf_map__fd(skel->maps.flows), NULL, &k), 0);
	assert_int_equal(ntohs(k.client_port), 20998);
	assert_int_equal(map_count(skel->maps.flows), 1);
	assert_int_equal(map_count(skel->maps.flow_replies), 1);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.loads), &id, &load), 0);
	assert_int_equal(load, 1);
}

static void test_affinity(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		two_backends(v6, IPPROTO_TCP);
		struct packet p = in(v6, IPPROTO_TCP, 42000, 30084, SYN);
		bool first = went_first(&p, v6);
		for (uint16_t i = 1; i < 40; i++) {
			p = in(v6, IPPROTO_TCP, 42000 + i, 30084, SYN);
			assert_true(went_first(&p, v6) == first);
		}
	}
}

static void test_left_alone(void **state)
{
	(void)state;
	static const struct make rows[] = {
		{ .proto = IPPROTO_TCP, .flags = ACK, .to = "192.0.2.10", .dport = 30080 }, /* mid-flight without a flow */
		{ .proto = IPPROTO_TCP, .flags = RST, .to = "192.0.2.10", .dport = 30080 },
		{ .proto = IPPROTO_TCP, .flags = SYN, .to = "192.0.2.10", .dport = 30099 }, /* nobody's */
		{ .proto = IPPROTO_TCP, .flags = SYN, .to = "192.0.2.10", .dport = 80 },
		{ .proto = IPPROTO_UDP, .to = "192.0.2.10", .dport = 30099 },
		{ .proto = IPPROTO_TCP, .flags = SYN, .to = "192.0.2.99", .dport = 30080 }, /* not an address of the node */
		{ .proto = IPPROTO_TCP, .flags = SYN, .to = "203.0.113.1", .dport = 81 },    /* outside the service range */
		{ .proto = IPPROTO_NONE_OF_OURS, .to = "203.0.113.1", .dport = 80 },
	};
	two_backends(0, IPPROTO_TCP);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct make m = rows[i];
		m.from = CLIENT(0);
		m.sport = 43000;
		struct packet was = make(&m), p = was;
		run(&p, skel->progs.tc_ingress);
		assert_untouched(&p, &was);
	}
	/* Sent to somebody else's link-layer address, and from addresses that nobody has. */
	struct make m = { .proto = IPPROTO_TCP, .flags = SYN, .from = CLIENT(0), .sport = 43000, .to = VIP(0), .dport = 80 };
	struct packet was = make(&m), p;
	was.data[5] = 9;
	p = was;
	run(&p, skel->progs.tc_ingress);
	assert_untouched(&p, &was);
	static const char *const nobody[] = { "127.0.0.1", "0.1.2.3", "224.0.0.1", "255.255.255.255" };
	for (size_t i = 0; i < ARRAY_SIZE(nobody); i++) {
		m.from = nobody[i];
		p = was = make(&m);
		run(&p, skel->progs.tc_ingress);
		assert_untouched(&p, &was);
	}
	/* On the wire a mapped address is not the IPv4 one. */
	m.from = CLIENT(1);
	m.to = "::ffff:203.0.113.1";
	p = was = make(&m);
	run(&p, skel->progs.tc_ingress);
	assert_untouched(&p, &was);
	assert_int_equal(map_count(skel->maps.flows), 0);
}

static void test_local_policy_drops(void **state)
{
	(void)state;
	uint64_t before = counter(ABI_TC_DROP_LOCAL_POLICY);
	assert_int_equal(in(0, IPPROTO_TCP, 44000, 30083, SYN).verdict, TC_ACT_SHOT);
	assert_int_equal(in(1, IPPROTO_UDP, 44000, 30083, 0).verdict, TC_ACT_SHOT);
	assert_int_equal(counter(ABI_TC_DROP_LOCAL_POLICY), before + 2);
}

static void allow(uint32_t set_id, const char *ip, unsigned bits)
{
	struct abi_range_key k = { .prefixlen = 32 + bits + (strchr(ip, ':') ? 0 : 96), .set_id = set_id };
	uint32_t one = 1;
	mapped(k.addr, ip);
	put(skel->maps.ranges, &k, &one);
}

static void test_source_ranges(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		put_frontend(VIP(v6), 443, IPPROTO_TCP, SET, (struct abi_frontend){ .set_id = 9, .flags = ABI_FRONTEND_RANGES });
		uint64_t before = counter(ABI_TC_DROP_SOURCE_RANGE);
		assert_int_equal(open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 44000, VIP(v6), 443).verdict, TC_ACT_SHOT);
		allow(9, v6 ? "2001:db8:9::" : "198.51.100.0", v6 ? 48 : 24);
		allow(8, "0.0.0.0", 0);
		struct packet p = open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 44000, VIP(v6), 443);
		assert_flow(&p, "%s:44000>%s:8080", CLIENT(v6), POD1(v6));
		p = make(&(struct make){ .proto = IPPROTO_TCP, .from = v6 ? "2001:db8:a::1" : "198.51.101.1", .sport = 44001,
					 .to = VIP(v6), .dport = 443, .flags = SYN });
		run(&p, skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_SHOT);
		assert_int_equal(counter(ABI_TC_DROP_SOURCE_RANGE), before + 2);
		assert_int_equal(map_count(skel->maps.flows), 1 + (size_t)v6);
	}
}

static void test_truncated(void **state)
{
	(void)state;
	two_backends(0, IPPROTO_TCP);
	struct packet whole = make(&(struct make){ .proto = IPPROTO_TCP, .from = CLIENT(0), .sport = 45100, .to = NODE(0), .dport = 30080,
						   .flags = SYN, .options = 8 });
	/* BPF_PROG_TEST_RUN itself refuses less than an IP header. Without ports it cannot be told whose it is. */
	for (size_t len = ETH_HLEN + 20; len < ETH_HLEN + 28 + 14; len++) {
		struct packet p = whole;
		p.len = len;
		struct packet was = p;
		run(&p, skel->progs.tc_ingress);
		assert_untouched(&p, &was);
	}
}

/* Lengths that contradict each other, in packets for a frontend. */
static void test_malformed(void **state)
{
	(void)state;
	static const struct {
		uint8_t proto;
		int at, value; /* of a 16-bit word: from the IP header on, or from the transport header when negative */
	} rows[] = {
		{ IPPROTO_TCP, 2, 21 }, { IPPROTO_TCP, 2, 30 },  { IPPROTO_TCP, 2, 4000 },    { IPPROTO_TCP, -12, 0x4002 },
		{ IPPROTO_TCP, -12, 0xf002 }, { IPPROTO_UDP, 2, 22 }, { IPPROTO_UDP, -4, 7 }, { IPPROTO_UDP, -4, 20 },
		{ IPPROTO_SCTP, 2, 31 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		two_backends(0, rows[i].proto);
		uint64_t before = counter(ABI_TC_DROP_MALFORMED);
		struct packet p = make(&(struct make){ .proto = rows[i].proto, .from = CLIENT(0), .sport = 45200, .to = NODE(0),
						       .dport = 30080, .flags = SYN });
		set16(p.data + ETH_HLEN + (rows[i].at > 0 ? rows[i].at : 20 - rows[i].at), (uint32_t)rows[i].value);
		run(&p, skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_SHOT);
		assert_int_equal(counter(ABI_TC_DROP_MALFORMED), before + 1);
		assert_int_equal(map_count(skel->maps.flows), 0);
	}
	/* Bytes behind the packet are a short frame's padding. */
	struct packet p = make(&(struct make){ .proto = IPPROTO_UDP, .from = CLIENT(0), .sport = 45200, .to = NODE(0), .dport = 30080 });
	p.len += 13;
	run(&p, skel->progs.tc_ingress);
	went_first(&p, 0);
}

static void test_udp_is_decided_anew(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		two_backends(v6, IPPROTO_UDP);
		struct packet p = in(v6, IPPROTO_UDP, 46000, 30080, 0);
		bool first = went_first(&p, v6);
		leave_other(v6, IPPROTO_UDP, first);
		p = in(v6, IPPROTO_UDP, 46000, 30080, 0);
		assert_true(went_first(&p, v6) == !first);
		/* The old answer's way is closed. */
		struct packet r = out(v6, IPPROTO_UDP, first, 46000, 0);
		assert_flow(&r, "%s:%u>%s:46000", first ? POD1(v6) : POD2(v6), first ? 8080 : 9090, CLIENT(v6));
		assert_int_equal(map_count(skel->maps.flow_replies), 1 + (size_t)v6);
	}
}

static void test_port_reuse_after_close(void **state)
{
	(void)state;
	two_backends(0, IPPROTO_TCP);
	struct packet p = in(0, IPPROTO_TCP, 47000, 30080, SYN);
	bool first = went_first(&p, 0);
	out(0, IPPROTO_TCP, first, 47000, SYN | ACK);
	in(0, IPPROTO_TCP, 47000, 30080, FIN | ACK);
	out(0, IPPROTO_TCP, first, 47000, FIN | ACK);
	/* Only the other backend is left: a new SYN must go there, the last ACK of the old life would not. */
	leave_other(0, IPPROTO_TCP, first);
	p = in(0, IPPROTO_TCP, 47000, 30080, ACK);
	assert_true(went_first(&p, 0) == first);
	p = in(0, IPPROTO_TCP, 47000, 30080, SYN);
	assert_true(went_first(&p, 0) == !first);
}

/* One client port, two frontends, one backend: the second flow gets another port, or the answers could not be told apart. */
static void test_collision(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
			uint8_t proto = protocols[i];
			one_backend(POD1(v6), 8080, proto, ABI_BACKEND_LOCAL);
			struct packet p = in(v6, proto, 480, 30080, SYN);
			went_first(&p, v6);
			assert_int_equal(sport_of(&p), 480);
			p = in(v6, proto, 480, 30081, SYN);
			went_first(&p, v6);
			uint16_t port = sport_of(&p);
			assert_true(port >= 1024);
			p = in(v6, proto, 480, 30081, ACK);
			assert_int_equal(sport_of(&p), port);
			struct packet r = out(v6, proto, true, port, SYN | ACK);
			assert_flow(&r, "%s:30081>%s:480", NODE(v6), CLIENT(v6));
			r = out(v6, proto, true, 480, SYN | ACK);
			assert_flow(&r, "%s:30080>%s:480", NODE(v6), CLIENT(v6));
		}
	/* When the first has ended the second may have its port. */
	one_backend(POD1(0), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
	in(0, IPPROTO_TCP, 48000, 30080, SYN);
	in(0, IPPROTO_TCP, 48000, 30080, RST);
	struct packet p = in(0, IPPROTO_TCP, 48000, 30081, SYN);
	went_first(&p, 0);
	assert_int_equal(sport_of(&p), 48000);
	struct packet r = out(0, IPPROTO_TCP, true, 48000, SYN | ACK);
	assert_flow(&r, "%s:30081>%s:48000", NODE(0), CLIENT(0));
}

enum { AGED_MAX = 256 };

/* All keys at once: an element that is updated moves to the front of its bucket, so a walk that updates may never end. */
static size_t flow_keys(struct bpf_map *m, struct abi_flow_key keys[static AGED_MAX])
{
	size_t n = 0;
	for (void *from = NULL; bpf_map_get_next_key(bpf_map__fd(m), from, &keys[n]) == 0; from = &keys[n++])
		assert_true(n + 1 < AGED_MAX);
	return n;
}

/* Makes the client's flows this much older. */
static void age(unsigned seconds)
{
	struct abi_flow_key keys[AGED_MAX];
	struct abi_flow f;
	struct abi_flow_reply r;
	for (size_t i = flow_keys(skel->maps.flows, keys); i-- > 0;) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.flows), &keys[i], &f), 0);
		f.last_ns -= seconds * 1000000000ULL;
		put(skel->maps.flows, &keys[i], &f);
	}
	for (size_t i = flow_keys(skel->maps.flow_replies, keys); i-- > 0;) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.flow_replies), &keys[i], &r), 0);
		r.last_ns -= r.last_ns ? seconds * 1000000000ULL : 0;
		put(skel->maps.flow_replies, &keys[i], &r);
	}
}

static void wait_for_flows(size_t want)
{
	for (int waited_ms = 0; waited_ms < 20000 && map_count(skel->maps.flows) != want; waited_ms += 100)
		usleep(100000);
	assert_int_equal(map_count(skel->maps.flows), want);
	assert_int_equal(map_count(skel->maps.flow_replies), want);
}

/* A client that never goes on, as one that a flood made up does not, loses its place although the backend answers it. */
static void test_half_open(void **state)
{
	(void)state;
	one_backend(POD1(0), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
	for (uint16_t i = 0; i < 100; i++) {
		in(0, IPPROTO_TCP, 20000 + i, 30080, SYN);
		out(0, IPPROTO_TCP, true, 20000 + i, SYN | ACK);
	}
	in(0, IPPROTO_TCP, 20099, 30080, ACK);
	age(61);
	wait_for_flows(1);
	struct packet p = in(0, IPPROTO_TCP, 20099, 30080, ACK);
	went_first(&p, 0);
	/* When there was no room they go sooner. */
	for (uint16_t i = 0; i < 50; i++) {
		in(0, IPPROTO_TCP, 20000 + i, 30080, SYN);
		out(0, IPPROTO_TCP, true, 20000 + i, SYN | ACK);
	}
	age(6);
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	skel->bss->flows_full_ns = (uint64_t)now.tv_sec * 1000000000ULL;
	wait_for_flows(1);
}

/* Resets are believed unproven; a client that goes on was not the one who sent it. */
static void test_made_up_reset(void **state)
{
	(void)state;
	one_backend(POD1(0), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
	for (uint16_t i = 0; i < 2; i++) {
		in(0, IPPROTO_TCP, 20000 + i, 30080, SYN);
		out(0, IPPROTO_TCP, true, 20000 + i, SYN | ACK);
		in(0, IPPROTO_TCP, 20000 + i, 30080, ACK);
		in(0, IPPROTO_TCP, 20000 + i, 30080, RST);
	}
	in(0, IPPROTO_TCP, 20001, 30080, ACK); /* too soon: overtaken by the reset */
	age(1);
	in(0, IPPROTO_TCP, 20000, 30080, ACK);
	age(10);
	wait_for_flows(1);
	struct packet p = in(0, IPPROTO_TCP, 20000, 30080, ACK);
	went_first(&p, 0);
}

/* While flows are being copied from other maps nobody is told that his connection is over. */
static void test_migrating(void **state)
{
	(void)state;
	struct abi_config c = config_default();
	c.flags = ABI_CONFIG_MIGRATING;
	put_config(&c);
	two_backends(0, IPPROTO_TCP);
	assert_int_equal(in(0, IPPROTO_TCP, 48000, 30080, ACK).verdict, TC_ACT_SHOT);
	struct packet p = make(&(struct make){ .proto = IPPROTO_TCP, .from = CLIENT(0), .sport = 48000, .to = VIP(0), .dport = 80, .flags = ACK });
	run(&p, skel->progs.tc_ingress);
	assert_int_equal(p.verdict, TC_ACT_SHOT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_there_and_back),
		TEST(test_both_backends),
		TEST(test_ended_flows_are_swept),
		TEST(test_affinity),
		TEST(test_left_alone),
		TEST(test_local_policy_drops),
		TEST(test_source_ranges),
		TEST(test_truncated),
		TEST(test_malformed),
		TEST(test_udp_is_decided_anew),
		TEST(test_port_reuse_after_close),
		TEST(test_collision),
		TEST(test_half_open),
		TEST(test_made_up_reset),
		TEST(test_migrating),
	};
	device_sums = true;
	return RUN_PACKET_TESTS(tests);
}
