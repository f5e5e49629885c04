/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of pods whose sockets no hook has decided for (gVisor, Kata), seen on the pods' bridge. */
#include "proxy/engine/ebpf/packets_test.h"

static struct packet from_pod(int v6, uint8_t proto, const char *to, uint16_t dport)
{
	struct packet p = make(&(struct make){ .proto = proto, .from = POD1(v6), .sport = 40000, .to = to, .dport = dport, .flags = SYN });
	run(&p, skel->progs.tc_pods);
	return p;
}

static struct packet answer(struct bpf_program *prog, uint8_t proto, const char *from, uint16_t sport, const char *to)
{
	struct packet p = make(&(struct make){ .proto = proto, .from = from, .sport = sport, .to = to, .dport = 40000,
					       .flags = SYN | ACK, .chunk = 2 });
	run(&p, prog);
	return p;
}

/* A backend on the same bridge, itself even, must answer by way of us. */
static void test_same_bridge(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
			for (int itself = 0; itself < 2; itself++) {
				const char *backend = itself ? POD1(v6) : POD2(v6);
				one_backend(backend, 8080, protocols[i], ABI_BACKEND_LOCAL);
				setup(NULL);
				struct packet p = from_pod(v6, protocols[i], CLUSTER_IP(v6), 80);
				assert_int_equal(p.verdict, TC_ACT_REDIRECT);
				assert_flow(&p, "%s:40000>%s:8080", SNAT_POD(v6), backend);
				p = answer(skel->progs.tc_pods, protocols[i], backend, 8080, SNAT_POD(v6));
				assert_int_equal(p.verdict, TC_ACT_REDIRECT);
				assert_flow(&p, "%s:80>%s:40000", CLUSTER_IP(v6), POD1(v6));
			}
}

/* A backend of another node answers the pod itself: no SNAT, and the kernel routes what is sent. */
static void test_other_node(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (int tunnel = 0; tunnel < 2; tunnel++) {
			setup(NULL);
			one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
			struct packet p = from_pod(v6, IPPROTO_TCP, CLUSTER_IP(v6), 80);
			assert_int_equal(p.verdict, TC_ACT_UNSPEC);
			assert_flow(&p, "%s:40000>%s:8080", POD1(v6), REMOTE1(v6));
			p = answer(tunnel ? skel->progs.tc_tunnel : skel->progs.tc_ingress, IPPROTO_TCP, REMOTE1(v6), 8080, POD1(v6));
			assert_int_equal(p.verdict, TC_ACT_REDIRECT);
			assert_flow(&p, "%s:80>%s:40000", CLUSTER_IP(v6), POD1(v6));
		}
}

/* A backend with the node's own network answers out of the bridge. */
static void test_node_itself(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(NODE(v6), 6443, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		struct packet p = from_pod(v6, IPPROTO_TCP, CLUSTER_IP(v6), 80);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:40000>%s:6443", POD1(v6), NODE(v6));
		p = answer(skel->progs.tc_egress, IPPROTO_TCP, NODE(v6), 6443, POD1(v6));
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:80>%s:40000", CLUSTER_IP(v6), POD1(v6));
	}
}

/* Pods get the set for the inside; NodePorts of the node are theirs too. */
static void test_inside_set(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		put_frontend(VIP(v6), 80, IPPROTO_TCP, DROP_SET, (struct abi_frontend){ .set_id = SET });
		put_frontend(NULL, 30083, IPPROTO_TCP, DROP_SET, (struct abi_frontend){ .set_id = SET });
		struct packet p = from_pod(v6, IPPROTO_TCP, VIP(v6), 80);
		assert_flow(&p, "%s:40000>%s:8080", POD1(v6), REMOTE1(v6));
		setup(NULL);
		put_frontend(NULL, 30083, IPPROTO_TCP, DROP_SET, (struct abi_frontend){ .set_id = SET });
		p = from_pod(v6, IPPROTO_TCP, NODE(v6), 30083);
		assert_flow(&p, "%s:40000>%s:8080", POD1(v6), REMOTE1(v6));
		assert_int_equal(open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 40001, NODE(v6), 30083).verdict, TC_ACT_SHOT);
	}
}

static void test_others_pass(void **state)
{
	(void)state;
	static const char *const to[2][3] = { { "10.244.1.12", "10.244.2.11", "198.51.100.7" },
					      { "fd00:244:1::12", "fd00:244:2::11", "2001:db8:9::7" } };
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < 3; i++)
			for (int syn = 0; syn < 2; syn++) {
				struct packet p = make(&(struct make){ .proto = IPPROTO_TCP, .from = POD1(v6), .sport = 8080, .to = to[v6][i],
								       .dport = 80, .flags = syn ? SYN : ACK }), was = p;
				run(&p, skel->progs.tc_pods);
				assert_untouched(&p, &was);
			}
}

static struct packet arp(const char *sender, const char *target)
{
	struct packet p = { .len = 42 };
	static const uint8_t asked[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	memset(p.data, 0xff, 6);
	memcpy(p.data + 6, peer_mac, 6);
	set16(p.data + 12, ETH_P_ARP);
	memcpy(p.data + 14, asked, 8);
	memcpy(p.data + 22, peer_mac, 6);
	inet_pton(AF_INET, sender, p.data + 28);
	inet_pton(AF_INET, target, p.data + 38);
	run(&p, skel->progs.tc_pods);
	return p;
}

static void test_arp(void **state)
{
	(void)state;
	assert_int_equal(system("ip neigh replace 10.244.1.12 lladdr 02:00:00:00:00:02 dev kl0"), 0);
	struct packet p = arp(POD2(0), SNAT_POD(0));
	static const uint8_t answered[8] = { 0, 1, 8, 0, 6, 4, 0, 2 };
	assert_int_equal(p.verdict, TC_ACT_REDIRECT);
	assert_memory_equal(p.data, peer_mac, 6);
	assert_memory_equal(p.data + 6, eth0_mac, 6);
	assert_memory_equal(p.data + 14, answered, 8);
	assert_memory_equal(p.data + 22, eth0_mac, 6);
	assert_int_equal(get32(p.data + 28), 0x0af40100);
	assert_memory_equal(p.data + 32, peer_mac, 6);
	assert_int_equal(get32(p.data + 38), 0x0af4010c);
	/* Others' addresses, and askers that the node does not know. */
	assert_int_equal(arp(POD2(0), "10.244.1.1").verdict, TC_ACT_UNSPEC);
	assert_int_equal(arp("10.244.1.77", SNAT_POD(0)).verdict, TC_ACT_UNSPEC);
	assert_int_equal(arp("198.51.100.1", SNAT_POD(0)).verdict, TC_ACT_UNSPEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_same_bridge), TEST(test_other_node),  TEST(test_node_itself),
		TEST(test_inside_set),  TEST(test_others_pass), TEST(test_arp),
	};
	device_sums = true;
	return RUN_PACKET_TESTS(tests);
}
