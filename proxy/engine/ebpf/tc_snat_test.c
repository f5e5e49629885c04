/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backends of other nodes: SNAT, the answers' way back, the ports given out, and what happens when something runs out. */
#include <pthread.h>

#include "proxy/engine/ebpf/packets_test.h"

static struct packet answer(struct bpf_program *prog, uint8_t proto, const char *from, uint16_t sport, const char *to,
			    uint16_t dport, uint8_t flags)
{
	struct packet p = make(&(struct make){ .proto = proto, .from = from, .sport = sport, .to = to, .dport = dport,
					       .flags = flags, .chunk = 2 });
	run(&p, prog);
	return p;
}

static void test_there_and_back(void **state)
{
	(void)state;
	struct bpf_program *back[] = { skel->progs.tc_ingress, skel->progs.tc_tunnel };
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
			for (int vip = 0; vip < 2; vip++) {
				const char *front = vip ? VIP(v6) : NODE(v6);
				uint16_t port = vip ? 80 : 30080, sport = (uint16_t)(40000 + vip);
				one_backend(REMOTE1(v6), 8080, protocols[i], 0);
				struct packet p = open_flow(skel->progs.tc_ingress, v6, protocols[i], sport, front, port);
				assert_int_equal(p.verdict, TC_ACT_REDIRECT);
				/* The client's port when it is free. */
				assert_flow(&p, "%s:%u>%s:8080", SNAT_POD(v6), sport, REMOTE1(v6));
				assert_int_equal(v6 ? ip_of(&p)[7] : ip_of(&p)[8], 63);
				struct packet r = answer(back[vip], protocols[i], REMOTE1(v6), 8080, SNAT_POD(v6), sport, SYN | ACK);
				assert_int_equal(r.verdict, TC_ACT_REDIRECT);
				assert_flow(&r, "%s:%u>%s:%u", front, port, CLIENT(v6), sport);
			}
}

/* A backend with the host's network is not in the pod ranges. */
static void test_host_network_backend(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(HOST_REMOTE(v6), 6443, IPPROTO_TCP, 0);
		struct packet p = open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 40000, VIP(v6), 80);
		uint16_t port = sport_of(&p);
		assert_true(port >= 61000);
		assert_flow(&p, "%s:%u>%s:6443", NODE(v6), port, HOST_REMOTE(v6));
		struct packet r = answer(skel->progs.tc_ingress, IPPROTO_TCP, HOST_REMOTE(v6), 6443, NODE(v6), port, SYN | ACK);
		assert_flow(&r, "%s:80>%s:40000", VIP(v6), CLIENT(v6));
		/* Another connection of the node's own to that address passes. */
		struct packet other = make(&(struct make){ .proto = IPPROTO_TCP, .from = HOST_REMOTE(v6), .sport = 6443, .to = NODE(v6),
							   .dport = 41000, .flags = ACK }), was = other;
		run(&other, skel->progs.tc_ingress);
		assert_untouched(&other, &was);
	}
}

static void test_ports_are_not_shared(void **state)
{
	(void)state;
	struct abi_config c = config_default();
	c.snat_pod_min = 2000;
	c.snat_pod_max = 2031;
	put_config(&c);
	one_backend(REMOTE1(0), 8080, IPPROTO_UDP, 0);
	uint64_t seen = 0, before = counter(ABI_TC_DROP_SNAT_EXHAUSTED);
	for (uint16_t i = 0; i < 32; i++) {
		struct packet p = open_flow(skel->progs.tc_ingress, 0, IPPROTO_UDP, (uint16_t)(50000 + i), NODE(0), 30080);
		assert_int_equal(p.verdict, TC_ACT_REDIRECT);
		uint16_t port = sport_of(&p);
		assert_true(port >= 2000 && port <= 2031);
		assert_int_equal(seen >> (port - 2000) & 1, 0);
		seen |= 1ULL << (port - 2000);
	}
	/* All are out: a new flow is dropped and counted, nothing of it stays, the old ones go on. */
	struct packet p = open_flow(skel->progs.tc_ingress, 0, IPPROTO_UDP, 51000, NODE(0), 30080);
	assert_int_equal(p.verdict, TC_ACT_SHOT);
	assert_int_equal(counter(ABI_TC_DROP_SNAT_EXHAUSTED), before + 1);
	assert_int_equal(map_count(skel->maps.flows), 32);
	assert_int_equal(map_count(skel->maps.flow_replies), 32);
	p = open_flow(skel->progs.tc_ingress, 0, IPPROTO_UDP, 50007, NODE(0), 30080);
	assert_int_equal(p.verdict, TC_ACT_REDIRECT);
	/* Another backend has ports of its own. */
	one_backend(REMOTE2(0), 8080, IPPROTO_UDP, 0);
	p = open_flow(skel->progs.tc_ingress, 0, IPPROTO_UDP, 51000, NODE(0), 30080);
	assert_int_equal(p.verdict, TC_ACT_REDIRECT);
}

/* The port of a connection that has ended may be had, a live one's not. */
static void test_closed_port_is_taken_over(void **state)
{
	(void)state;
	struct abi_config c = config_default();
	c.snat_pod_min = c.snat_pod_max = 2000;
	put_config(&c);
	one_backend(REMOTE1(1), 8080, IPPROTO_TCP, 0);
	assert_int_equal(open_flow(skel->progs.tc_ingress, 1, IPPROTO_TCP, 50000, VIP(1), 80).verdict, TC_ACT_REDIRECT);
	assert_int_equal(open_flow(skel->progs.tc_ingress, 1, IPPROTO_TCP, 50001, VIP(1), 80).verdict, TC_ACT_SHOT);
	answer(skel->progs.tc_tunnel, IPPROTO_TCP, REMOTE1(1), 8080, SNAT_POD(1), 2000, RST | ACK);
	struct packet p = open_flow(skel->progs.tc_ingress, 1, IPPROTO_TCP, 50001, VIP(1), 80);
	assert_flow(&p, "%s:2000>%s:8080", SNAT_POD(1), REMOTE1(1));
	struct packet r = answer(skel->progs.tc_tunnel, IPPROTO_TCP, REMOTE1(1), 8080, SNAT_POD(1), 2000, SYN | ACK);
	assert_flow(&r, "%s:80>%s:50001", VIP(1), CLIENT(1));
	assert_int_equal(map_count(skel->maps.flows), 1);
	assert_int_equal(map_count(skel->maps.flow_replies), 1);
}

enum { RACERS = 2, RACES = 3000 };

/* Opens flows without the harness's own memory; every second one is the other thread's twin. */
static void *race(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	uint8_t out[2048];
	for (unsigned i = 0; i < RACES; i++) {
		uint16_t sport = (uint16_t)(10000 + i * 2 + (i % 2 ? 0 : me));
		struct packet p = make(&(struct make){ .proto = IPPROTO_UDP, .from = CLIENT(0), .sport = sport, .to = VIP(0), .dport = 80 });
		struct __sk_buff ctx = { .ifindex = eth0 };
		DECLARE_LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p.data, .data_size_in = (uint32_t)p.len, .data_out = out,
				    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
		if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.tc_ingress), &o) < 0 || (int)o.retval != TC_ACT_REDIRECT)
			return (void *)1;
	}
	return NULL;
}

/* Two CPUs at once, the same packets among theirs: no port is given out twice and none is lost. */
static void test_race(void **state)
{
	(void)state;
	struct abi_config c = config_default();
	c.snat_pod_min = 30000; /* no client's own: all are searched for */
	c.snat_pod_max = 39999;
	put_config(&c);
	one_backend(REMOTE1(0), 8080, IPPROTO_UDP, 0);
	pthread_t threads[RACERS];
	for (uintptr_t i = 0; i < RACERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race, (void *)i), 0);
	for (unsigned i = 0; i < RACERS; i++) {
		void *result;
		pthread_join(threads[i], &result);
		assert_null(result);
	}
	size_t flows = RACES / 2 + RACES;
	assert_int_equal(map_count(skel->maps.flows), flows);
	assert_int_equal(map_count(skel->maps.flow_replies), flows);
}

/* A backend whose flow is no more hears that its connection is over. */
static void test_late_answer(void **state)
{
	(void)state;
	device_sums = false; /* it becomes another packet */
	struct bpf_program *back[] = { skel->progs.tc_ingress, skel->progs.tc_tunnel, skel->progs.tc_pods };
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(back); i++) {
			uint64_t before = counter(ABI_TC_REJECTED);
			struct packet r = answer(back[i], IPPROTO_TCP, REMOTE1(v6), 8080, SNAT_POD(v6), 40000, ACK);
			assert_int_equal(r.verdict, TC_ACT_REDIRECT);
			assert_flow(&r, "%s:40000>%s:8080", SNAT_POD(v6), REMOTE1(v6));
			assert_int_equal(look(ip_of(&r)).l4[13], RST);
			assert_int_equal(counter(ABI_TC_REJECTED), before + 1);
			/* No answer to a reset; nothing at all while flows are being copied. */
			assert_int_equal(answer(back[i], IPPROTO_TCP, REMOTE1(v6), 8080, SNAT_POD(v6), 40000, RST).verdict, TC_ACT_SHOT);
			struct abi_config c = config_default();
			c.flags = ABI_CONFIG_MIGRATING;
			put_config(&c);
			before = counter(ABI_TC_REJECTED);
			assert_int_equal(answer(back[i], IPPROTO_TCP, REMOTE1(v6), 8080, SNAT_POD(v6), 40000, ACK).verdict, TC_ACT_SHOT);
			assert_int_equal(counter(ABI_TC_REJECTED), before);
			c.flags = 0;
			put_config(&c);
		}
	device_sums = true;
}

static void test_no_address(void **state)
{
	(void)state;
	struct abi_config c = config_default();
	memset(c.snat_pod, 0, sizeof(c.snat_pod));
	put_config(&c);
	uint64_t before = counter(ABI_TC_DROP_NO_SNAT_ADDRESS);
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		assert_int_equal(open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 40000, VIP(v6), 80).verdict, TC_ACT_SHOT);
	}
	assert_int_equal(counter(ABI_TC_DROP_NO_SNAT_ADDRESS), before + 2);
	assert_int_equal(map_count(skel->maps.flow_replies), 0);
}

static void test_no_route(void **state)
{
	(void)state;
	uint64_t before = counter(ABI_TC_DROP_NO_ROUTE);
	one_backend("10.244.77.7", 8080, IPPROTO_TCP, 0); /* ends in the blackhole */
	assert_int_equal(open_flow(skel->progs.tc_ingress, 0, IPPROTO_TCP, 40000, VIP(0), 80).verdict, TC_ACT_SHOT);
	assert_int_equal(counter(ABI_TC_DROP_NO_ROUTE), before + 1);
}

/* UDP: a backend that went away is replaced at once; TCP keeps its own while it lives. */
static void test_generation(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(REMOTE1(v6), 8080, IPPROTO_UDP, 0);
		struct packet p = open_flow(skel->progs.tc_ingress, v6, IPPROTO_UDP, 40000, VIP(v6), 80);
		put_backend(1, REMOTE1(v6), 8080, IPPROTO_UDP, 0, 0);
		put_backend(2, REMOTE2(v6), 9090, IPPROTO_UDP, 0, 7);
		put_set(SET, 0, 2);
		uint64_t before = counter(ABI_UDP_RESELECTED);
		p = open_flow(skel->progs.tc_ingress, v6, IPPROTO_UDP, 40000, VIP(v6), 80);
		assert_flow(&p, "%s:40000>%s:9090", SNAT_POD(v6), REMOTE2(v6));
		assert_int_equal(counter(ABI_UDP_RESELECTED), before + 1);
		struct packet r = answer(skel->progs.tc_tunnel, IPPROTO_UDP, REMOTE1(v6), 8080, SNAT_POD(v6), 40000, 0);
		assert_int_equal(r.verdict, TC_ACT_REDIRECT);
		assert_flow(&r, "%s>%s", SNAT_POD(v6), REMOTE1(v6)); /* port unreachable */
		/* A connection stays, also when the backend takes no new ones; a new one does not begin with what is gone. */
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		p = open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 41000, VIP(v6), 80);
		put_backend(1, REMOTE1(v6), 8080, IPPROTO_TCP, 0, 0);
		put_backend(2, REMOTE2(v6), 9090, IPPROTO_TCP, 0, 7);
		put_set(SET, 0, 2);
		p = make(&(struct make){ .proto = IPPROTO_TCP, .from = CLIENT(v6), .sport = 41000, .to = VIP(v6), .dport = 80, .flags = ACK });
		run(&p, skel->progs.tc_ingress);
		assert_flow(&p, "%s:41000>%s:8080", SNAT_POD(v6), REMOTE1(v6));
		p = open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 41000, VIP(v6), 80);
		assert_flow(&p, "%s:41000>%s:9090", SNAT_POD(v6), REMOTE2(v6));
	}
}

static void test_options_and_extensions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		for (uint8_t n = 1; n <= 8; n++) {
			one_backend(REMOTE1(0), 8080, protocols[i], 0);
			struct packet p = make(&(struct make){ .proto = protocols[i], .from = CLIENT(0), .sport = 40000, .to = VIP(0),
							       .dport = 80, .flags = SYN, .options = (uint8_t)(n * 4) });
			run(&p, skel->progs.tc_ingress);
			assert_flow(&p, "%s:40000>%s:8080", SNAT_POD(0), REMOTE1(0));
			one_backend(REMOTE1(1), 8080, protocols[i], 0);
			p = make(&(struct make){ .proto = protocols[i], .from = CLIENT(1), .sport = 40000, .to = VIP(1), .dport = 80,
						 .flags = SYN, .extensions = n });
			struct packet was = p;
			run(&p, skel->progs.tc_ingress);
			if (n <= 6)
				assert_flow(&p, "%s:40000>%s:8080", SNAT_POD(1), REMOTE1(1));
			else
				assert_untouched(&p, &was); /* more than anybody needs */
		}
}

/* The SCTP checksum of any length, odd ones too, against a full computation. */
static void test_sctp_lengths(void **state)
{
	(void)state;
	for (size_t payload = 4; payload < 1400; payload += payload < 80 ? 1 : 53) {
		one_backend(REMOTE1(0), 38412, IPPROTO_SCTP, 0);
		struct packet p = make(&(struct make){ .proto = IPPROTO_SCTP, .from = CLIENT(0), .sport = 40000, .to = VIP(0), .dport = 80,
						       .payload = payload });
		run(&p, skel->progs.tc_ingress);
		assert_flow(&p, "%s:40000>%s:38412", SNAT_POD(0), REMOTE1(0));
	}
}

static void test_udp_without_checksum(void **state)
{
	(void)state;
	one_backend(REMOTE1(0), 8080, IPPROTO_UDP, 0);
	struct packet p = make(&(struct make){ .proto = IPPROTO_UDP, .from = CLIENT(0), .sport = 40000, .to = VIP(0), .dport = 80 });
	set16(p.data + ETH_HLEN + 26, 0);
	run(&p, skel->progs.tc_ingress);
	assert_flow(&p, "%s:40000>%s:8080", SNAT_POD(0), REMOTE1(0));
	assert_int_equal(get16(p.data + ETH_HLEN + 26), 0);
	/* One whose checksum comes out as zero says 0xffff: with every value of a word in the payload some do. */
	for (int v6 = 0; v6 < 2; v6++) {
		unsigned all_ones = 0;
		one_backend(REMOTE1(v6), 8080, IPPROTO_UDP, 0);
		struct packet q = make(&(struct make){ .proto = IPPROTO_UDP, .from = CLIENT(v6), .sport = 40000, .to = VIP(v6), .dport = 80,
						       .payload = 2 });
		for (uint32_t word = 0; word < 65536; word++) {
			struct packet each = q;
			size_t udp = ETH_HLEN + (v6 ? 40u : 20u);
			set16(each.data + udp + 8, word);
			sums_write(each.data + ETH_HLEN);
			run(&each, skel->progs.tc_ingress);
			assert_int_not_equal(get16(each.data + udp + 6), 0);
			assert_true(sums_right(ip_of(&each)));
			all_ones += get16(each.data + udp + 6) == 0xffff;
		}
		assert_true(all_ones > 0);
	}
}

static void test_too_big_or_too_far(void **state)
{
	(void)state;
	device_sums = false;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(TUNNELLED(v6), 8080, IPPROTO_TCP, 0);
		struct packet p = make(&(struct make){ .proto = IPPROTO_TCP, .from = CLIENT(v6), .sport = 40000, .to = VIP(v6), .dport = 80,
						       .flags = SYN, .payload = 1420 }), was = p;
		run(&p, skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_REDIRECT);
		assert_flow(&p, "%s>%s", VIP(v6), CLIENT(v6));
		struct view e = look(ip_of(&p));
		assert_int_equal(e.l4[0], v6 ? 2 : 3);
		assert_int_equal(e.l4[1], v6 ? 0 : 4);
		assert_int_equal(get32(e.l4 + 4), 1450);
		assert_memory_equal(e.l4 + 8, ip_of(&was), e.l4_len - 8);
		assert_int_equal(p.len - ETH_HLEN, v6 ? 1280 : 576);
		assert_memory_equal(p.data, was.data + 6, 6); /* to whom it came from */
		if (!v6) { /* what may be cut is left to the kernel, as it must leave */
			p = make(&(struct make){ .proto = IPPROTO_TCP, .from = CLIENT(0), .sport = 40000, .to = VIP(0), .dport = 80,
						 .flags = ACK, .payload = 1420, .may_fragment = true });
			run(&p, skel->progs.tc_ingress);
			assert_int_equal(p.verdict, TC_ACT_UNSPEC);
			assert_flow(&p, "%s:40000>%s:8080", SNAT_POD(0), TUNNELLED(0));
		}
		p = make(&(struct make){ .proto = IPPROTO_UDP, .from = CLIENT(v6), .sport = 40000, .to = VIP(v6), .dport = 80, .hops = 1 });
		was = p;
		run(&p, skel->progs.tc_ingress);
		assert_flow(&p, "%s>%s", VIP(v6), CLIENT(v6));
		e = look(ip_of(&p));
		assert_int_equal(e.l4[0], v6 ? 3 : 11);
		assert_int_equal(e.l4[1], 0);
		assert_memory_equal(e.l4 + 8, ip_of(&was), was.len - ETH_HLEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_there_and_back),
		TEST(test_host_network_backend),
		TEST(test_ports_are_not_shared),
		TEST(test_closed_port_is_taken_over),
		TEST(test_race),
		TEST(test_late_answer),
		TEST(test_no_address),
		TEST(test_no_route),
		TEST(test_generation),
		TEST(test_options_and_extensions),
		TEST(test_sctp_lengths),
		TEST(test_udp_without_checksum),
		TEST(test_too_big_or_too_far),
	};
	device_sums = true;
	return RUN_PACKET_TESTS(tests);
}
