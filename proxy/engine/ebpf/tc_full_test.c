/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Full maps: new flows are dropped and counted, those that are there keep working, and nothing half-made remains. */
#include "proxy/engine/ebpf/packets_test.h"

enum { ROOM = 8 };

static struct packet client(struct bpf_program *prog, uint16_t sport, uint8_t flags)
{
	struct packet p = make(&(struct make){ .proto = IPPROTO_TCP, .from = CLIENT(0), .sport = sport, .to = VIP(0), .dport = 80,
					       .flags = flags });
	run(&p, prog);
	return p;
}

/* Asks for more flows than there is room for; returns how many were made. */
static unsigned fill(int remote)
{
	unsigned made = 0;
	uint64_t before = counter(ABI_TC_DROP_FLOWS_FULL);
	one_backend(remote ? REMOTE1(0) : POD1(0), 8080, IPPROTO_TCP, remote ? 0 : ABI_BACKEND_LOCAL);
	for (uint16_t i = 0; i < ROOM * 2; i++) {
		struct packet p = client(skel->progs.tc_ingress, (uint16_t)(40000 + i), SYN);
		made += p.verdict != TC_ACT_SHOT;
	}
	assert_int_equal(counter(ABI_TC_DROP_FLOWS_FULL), before + ROOM * 2 - made);
	for (uint16_t i = 0; i < made; i++)
		assert_int_equal(client(skel->progs.tc_ingress, (uint16_t)(40000 + i), ACK).verdict, remote ? TC_ACT_REDIRECT : TC_ACT_UNSPEC);
	return made;
}

static void test_full(void **state)
{
	(void)state;
	for (int remote = 0; remote < 2; remote++) {
		setup(NULL);
		assert_int_equal(fill(remote), ROOM);
		assert_int_equal(map_count(skel->maps.flows), ROOM);
		assert_int_equal(map_count(skel->maps.flow_replies), ROOM);
	}
}

static int run_with(int flows, int replies)
{
	const struct CMUnitTest tests[] = { TEST(test_full) };
	int r = 1;
	skel = proxy_bpf__open();
	if (skel && bpf_map__set_max_entries(skel->maps.flows, (uint32_t)flows) == 0 &&
	    bpf_map__set_max_entries(skel->maps.flow_replies, (uint32_t)replies) == 0 && proxy_bpf__load(skel) == 0)
		r = cmocka_run_group_tests(tests, NULL, NULL);
	else
		perror("loading the programs (root is needed)");
	proxy_bpf__destroy(skel);
	return r;
}

int main(void)
{
	libbpf_set_print(quiet);
	if (make_node() < 0)
		return 1;
	/* Either map may be the one that is full. */
	return run_with(ROOM, ROOM * 4) || run_with(ROOM * 4, ROOM);
}
