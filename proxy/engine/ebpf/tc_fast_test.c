/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pods of this node past its stack: who goes there, what is done to the packets of both ways, and what is left to the stack. */
#include "proxy/engine/ebpf/packets_test.h"

static struct abi_config config_fast(void)
{
	struct abi_config c = config_default();
	c.flags = ABI_CONFIG_FAST_PATH;
	c.pods_ifindex = kl0;
	return c;
}

static int setup_fast(void **state)
{
	struct abi_config c = config_fast();
	int r = setup(state);
	put_config(&c);
	return r;
}

/* A packet in mid-flight. */
static struct packet send_on(struct bpf_program *prog, struct make m)
{
	m.flags = m.flags ? m.flags : ACK;
	m.chunk = 2;
	struct packet p = make(&m);
	run(&p, prog);
	return p;
}

static uint8_t hops_of(const struct packet *p, int v6)
{
	return ip_of(p)[v6 ? 7 : 8];
}

static uint8_t flow_flags(void)
{
	struct abi_flow_key k;
	struct abi_flow f;
	assert_int_equal(bpf_map_get_next_key(bpf_map__fd(skel->maps.flows), NULL, &k), 0);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.flows), &k, &f), 0);
	return f.flags;
}

static void test_there_and_back(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		struct packet p = open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 40000, NODE(v6), 30080);
		assert_int_equal(p.verdict, TC_ACT_REDIRECT);
		assert_flow(&p, "%s:40000>%s:8080", CLIENT(v6), POD1(v6));
		assert_int_equal(hops_of(&p, v6), 63);
		struct make back = { .proto = IPPROTO_TCP, .from = POD1(v6), .sport = 8080, .to = CLIENT(v6), .dport = 40000 };
		p = send_on(skel->progs.tc_pods, back);
		assert_int_equal(p.verdict, TC_ACT_REDIRECT);
		assert_flow(&p, "%s:30080>%s:40000", NODE(v6), CLIENT(v6));
		assert_int_equal(hops_of(&p, v6), 63);
		/* At the pod's own link already. */
		p = send_on(skel->progs.tc_pod, back);
		assert_int_equal(p.verdict, TC_ACT_REDIRECT);
		assert_flow(&p, "%s:30080>%s:40000", NODE(v6), CLIENT(v6));
		assert_int_equal(hops_of(&p, v6), 63);
		/* Should it come by the stack all the same, it is translated on the way out as ever. */
		p = send_on(skel->progs.tc_egress, back);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:30080>%s:40000", NODE(v6), CLIENT(v6));
	}
}

/* Flows that are on their way already keep to it, whatever becomes allowed or forbidden. */
static void test_flows_keep_their_way(void **state)
{
	(void)state;
	struct make there = { .proto = IPPROTO_TCP, .from = CLIENT(0), .sport = 40000, .to = VIP(0), .dport = 80 };
	struct make back = { .proto = IPPROTO_TCP, .from = POD1(0), .sport = 8080, .to = CLIENT(0), .dport = 40000 };
	one_backend(POD1(0), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
	for (int fast = 0; fast < 2; fast++) {
		struct abi_config c = config_fast();
		c.flags = fast ? ABI_CONFIG_FAST_PATH : 0;
		put_config(&c);
		flush_map(skel->maps.flows);
		flush_map(skel->maps.flow_replies);
		struct packet p = open_flow(skel->progs.tc_ingress, 0, IPPROTO_TCP, 40000, VIP(0), 80);
		assert_int_equal(p.verdict, fast ? TC_ACT_REDIRECT : TC_ACT_UNSPEC);
		c.flags = fast ? 0 : ABI_CONFIG_FAST_PATH;
		put_config(&c);
		p = send_on(skel->progs.tc_ingress, there);
		assert_int_equal(p.verdict, fast ? TC_ACT_REDIRECT : TC_ACT_UNSPEC);
		assert_flow(&p, "%s:40000>%s:8080", CLIENT(0), POD1(0));
		struct packet was = make(&(struct make){ .proto = IPPROTO_TCP, .from = POD1(0), .sport = 8080, .to = CLIENT(0), .dport = 40000,
							 .flags = ACK, .chunk = 2 });
		p = send_on(skel->progs.tc_pods, back);
		if (fast)
			assert_flow(&p, "%s:80>%s:40000", VIP(0), CLIENT(0));
		else
			assert_untouched(&p, &was);
	}
	/* Without the bridge the stack says what becomes of it. */
	struct abi_config c = config_fast();
	c.pods_ifindex = 0;
	put_config(&c);
	struct packet p = send_on(skel->progs.tc_ingress, there);
	assert_int_equal(p.verdict, TC_ACT_UNSPEC);
	assert_flow(&p, "%s:40000>%s:8080", CLIENT(0), POD1(0));
}

/* Answers of datagrams may be fragments, which the bridge puts together: only the stack takes them apart again. */
static void test_datagrams_take_the_stack(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(POD1(v6), 8080, IPPROTO_UDP, ABI_BACKEND_LOCAL);
		struct packet p = open_flow(skel->progs.tc_ingress, v6, IPPROTO_UDP, 40000, NODE(v6), 30080);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:40000>%s:8080", CLIENT(v6), POD1(v6));
		assert_int_equal(flow_flags() & ABI_FLOW_FAST, 0);
	}
}

/* What a router answers to, or cuts up. */
static void test_left_to_the_stack(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 40000, VIP(v6), 80);
		struct make m = { .proto = IPPROTO_TCP, .flags = ACK, .from = CLIENT(v6), .sport = 40000, .to = VIP(v6), .dport = 80, .hops = 1 };
		struct packet p = send_on(skel->progs.tc_ingress, m);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:40000>%s:8080", CLIENT(v6), POD1(v6));
		assert_int_equal(hops_of(&p, v6), 1);
		m.hops = 0;
		m.payload = 1500 - (v6 ? 60 : 40);
		p = send_on(skel->progs.tc_ingress, m);
		assert_int_equal(p.verdict, TC_ACT_REDIRECT);
		m.payload++;
		p = send_on(skel->progs.tc_ingress, m);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:40000>%s:8080", CLIENT(v6), POD1(v6));
	}
}

/* A first packet that must see the stack. */
static void assert_slow(struct bpf_program *prog, const char *from, const char *backend)
{
	flush_map(skel->maps.flows);
	flush_map(skel->maps.flow_replies);
	int v6 = strchr(from, ':') != NULL;
	one_backend(backend, 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
	struct packet p = make(&(struct make){ .proto = IPPROTO_TCP, .from = from, .sport = 40000, .to = VIP(v6), .dport = 80, .flags = SYN });
	run(&p, prog);
	assert_int_equal(p.verdict, TC_ACT_UNSPEC);
	assert_flow(&p, "%s:40000>%s:8080", from, backend);
	assert_int_equal(flow_flags() & ABI_FLOW_FAST, 0);
}

static void test_who_takes_the_stack(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		assert_slow(skel->progs.tc_ingress, CLIENT(v6), NODE(v6));    /* the backend is the node itself */
		assert_slow(skel->progs.tc_ingress, REMOTE1(v6), POD1(v6));   /* the client is a pod */
		assert_slow(skel->progs.tc_ingress, NODE(v6), POD1(v6));      /* or says that it is this node */
		assert_slow(skel->progs.tc_ingress, v6 ? "fd00:96::9" : "10.96.0.9", POD1(v6)); /* no way leads to it */
	}
	/* The client is reached by another link than it came by: whether that is let through is the stack's to say. */
	assert_int_equal(system("ip route add 198.51.100.77/32 dev klvx"), 0);
	assert_slow(skel->progs.tc_ingress, "198.51.100.77", POD1(0));
	/* The pod is not behind the bridge, or behind a router there. */
	assert_slow(skel->progs.tc_ingress, CLIENT(0), TUNNELLED(0));
	assert_int_equal(system("ip route add 10.244.9.0/24 via 10.244.1.77"), 0);
	assert_slow(skel->progs.tc_ingress, CLIENT(0), "10.244.9.11");
	struct abi_config c = config_fast();
	c.flags = 0;
	put_config(&c);
	assert_slow(skel->progs.tc_ingress, CLIENT(0), POD1(0));
}

/* What the bridge's program sees besides: none of it is an answer. */
static void test_others_answers(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct packet was = make(&(struct make){ .proto = IPPROTO_UDP, .from = POD1(v6), .sport = 8080, .to = CLIENT(v6), .dport = 40000 });
		struct packet p = was;
		run(&p, skel->progs.tc_pods);
		assert_untouched(&p, &was);
		run(&p, skel->progs.tc_pod);
		assert_untouched(&p, &was);
		/* An answer, but not of a fast flow: the bridge's, or the stack's. */
		struct abi_config c = config_fast();
		c.flags = 0;
		put_config(&c);
		one_backend(POD1(v6), 8080, IPPROTO_UDP, ABI_BACKEND_LOCAL);
		open_flow(skel->progs.tc_ingress, v6, IPPROTO_UDP, 40000, VIP(v6), 80);
		p = was;
		run(&p, skel->progs.tc_pod);
		assert_untouched(&p, &was);
		/* To another pod, and what is no packet of ours. */
		p = was = make(&(struct make){ .proto = IPPROTO_UDP, .from = POD1(v6), .sport = 8080, .to = POD2(v6), .dport = 40000 });
		run(&p, skel->progs.tc_pod);
		assert_untouched(&p, &was);
		p = was = make(&(struct make){ .proto = IPPROTO_NONE_OF_OURS, .from = POD1(v6), .to = CLIENT(v6) });
		run(&p, skel->progs.tc_pod);
		assert_untouched(&p, &was);
		c = config_fast();
		put_config(&c);
	}
}

#define TEST_FAST(f) cmocka_unit_test_setup(f, setup_fast)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_FAST(test_there_and_back), TEST_FAST(test_flows_keep_their_way), TEST_FAST(test_left_to_the_stack),
		TEST_FAST(test_datagrams_take_the_stack),
		TEST_FAST(test_who_takes_the_stack), TEST_FAST(test_others_answers),
	};
	device_sums = true;
	return RUN_PACKET_TESTS(tests);
}
