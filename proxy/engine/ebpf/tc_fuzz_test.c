/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random and mutated packets through all tc programs, while Services change. What always holds: the programs answer with a
 * verdict they know; a packet for which nothing was counted is byte for byte what it was; what had right checksums has right ones
 * afterwards; each flow has its way back and each way back its flow. SEED and FUZZ_SECONDS (2) come from the environment.
 */
#include <time.h>

#include "proxy/engine/ebpf/packets_test.h"

static uint64_t state64;

static uint32_t rnd(uint32_t below)
{
	state64 = state64 * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(((state64 >> 33) * below) >> 31);
}

static const char *address(int v6)
{
	switch (rnd(13)) {
	case 0: return NODE(v6);
	case 1: return VIP(v6);
	case 2: return CLUSTER_IP(v6);
	case 3: return SNAT_POD(v6);
	case 4: return POD1(v6);
	case 5: return POD2(v6);
	case 6: return REMOTE1(v6);
	case 7: return REMOTE2(v6);
	case 8: return TUNNELLED(v6);
	case 9: return HOST_REMOTE(v6);
	case 10: return ROUTER(v6);
	case 11: return v6 ? "fe80::1" : "224.0.0.1";
	default: return CLIENT(v6);
	}
}

static uint16_t port(void)
{
	static const uint16_t usual[] = { 80, 81, 82, 83, 30080, 30081, 30082, 30083, 30084, 8080, 9090, 6443, 40000, 40001 };
	return rnd(8) ? usual[rnd(ARRAY_SIZE(usual))] : (uint16_t)rnd(65536);
}

/* What packets became, so that there are answers to them and errors about them. */
static struct seen {
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	uint16_t sport, dport;
	uint8_t proto;
} seen[2][64];
static uint32_t seen_count[2];

static void remember(const struct packet *p)
{
	struct view v = look(ip_of(p));
	if (v.later || (v.proto != IPPROTO_TCP && v.proto != IPPROTO_UDP && v.proto != IPPROTO_SCTP))
		return;
	struct seen *s = &seen[v.v6][seen_count[v.v6]++ % ARRAY_SIZE(seen[0])];
	inet_ntop(v.v6 ? AF_INET6 : AF_INET, v.saddr, s->from, sizeof(s->from));
	inet_ntop(v.v6 ? AF_INET6 : AF_INET, v.daddr, s->to, sizeof(s->to));
	s->sport = get16(v.l4);
	s->dport = get16(v.l4 + 2);
	s->proto = v.proto;
}

static const char *frontend(int v6, uint16_t *ret_port)
{
	static const uint16_t ports[] = { 80, 80, 80, 81, 82, 83 };
	*ret_port = ports[rnd(ARRAY_SIZE(ports))];
	if (rnd(2))
		return rnd(2) ? VIP(v6) : CLUSTER_IP(v6);
	*ret_port += 30000;
	return NODE(v6);
}

static struct packet random_packet(int v6)
{
	static const uint8_t flags[] = { SYN, SYN, SYN, ACK, SYN | ACK, FIN | ACK, RST, RST | ACK, 0, 0xff };
	static const uint8_t chunks[] = { 1, 1, 2, 0, 6, 7, 8, 14, 10 };
	struct make m = {
		.proto = rnd(20) ? protocols[rnd(3)] : (uint8_t)IPPROTO_NONE_OF_OURS,
		.from = rnd(3) ? address(v6) : CLIENT(v6),
		.to = address(v6),
		.sport = port(),
		.dport = port(),
		.flags = flags[rnd(ARRAY_SIZE(flags))],
		.chunk = chunks[rnd(ARRAY_SIZE(chunks))],
		.payload = rnd(4) ? rnd(60) : rnd(1800),
		.options = rnd(8) ? 0 : (uint8_t)(rnd(11) * 4),
		.extensions = rnd(8) ? 0 : (uint8_t)rnd(9),
		.seq = rnd(1u << 31),
		.ack = rnd(1u << 31),
		.hops = rnd(16) ? 64 : (uint8_t)(1 + rnd(3)),
		.may_fragment = rnd(2),
	};
	uint32_t kind = rnd(4);
	if (kind == 0) {
		m.from = rnd(2) ? CLIENT(v6) : POD1(v6);
		m.to = frontend(v6, &m.dport);
		m.sport = (uint16_t)(40000 + rnd(1000));
	} else if (kind < 3 && seen_count[v6]) {
		const struct seen *k = &seen[v6][rnd(MIN(seen_count[v6], (uint32_t)ARRAY_SIZE(seen[0])))];
		bool back = rnd(4);
		m.proto = k->proto;
		m.from = back ? k->to : k->from;
		m.to = back ? k->from : k->to;
		m.sport = back ? k->dport : k->sport;
		m.dport = back ? k->sport : k->dport;
	}
	return make(&m);
}

/* Makes it one of a datagram's fragments; its own sums cannot be told any more. */
static void fragment(struct packet *p)
{
	uint8_t *ip = p->data + ETH_HLEN;
	uint32_t offset = rnd(2) ? 0 : rnd(100) * 8, more = offset == 0 || rnd(2);
	if (ip[0] >> 4 == 4) {
		set16(ip + 4, rnd(4));
		set16(ip + 6, more << 13 | offset / 8);
		set16(ip + 10, 0);
		set16(ip + 10, fold(sum16(ip, (ip[0] & 15) * 4u, 0)));
		return;
	}
	memmove(ip + 48, ip + 40, p->len - ETH_HLEN - 40);
	p->len += 8;
	ip[40] = ip[6];
	ip[41] = 0;
	ip[6] = 44;
	set16(ip + 42, offset | more);
	set32(ip + 44, rnd(4));
	set16(ip + 4, (uint32_t)(p->len - ETH_HLEN - 40));
}

static struct packet random_error(int v6)
{
	struct packet p = { 0 }, about = random_packet(v6);
	if (!rnd(8))
		fragment(&about);
	size_t carried = MIN(about.len - ETH_HLEN, rnd(3) ? 576u : (v6 ? 40u : 20u) + rnd(24));
	struct make m = { .proto = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, .from = address(v6), .to = address(v6) };
	size_t header = make_ip(&p, &m, 8 + carried);
	uint8_t *h = p.data + ETH_HLEN + header;
	h[0] = (uint8_t)(v6 ? 1 + rnd(5) : rnd(13));
	h[1] = (uint8_t)rnd(6);
	memcpy(h + 8, ip_of(&about), carried);
	p.len = ETH_HLEN + header + 8 + carried;
	sums_write(p.data + ETH_HLEN);
	return p;
}

static void mutate(struct packet *p)
{
	for (uint32_t n = 1 + rnd(4); n; n--)
		switch (rnd(4)) {
		case 0: /* mostly in the headers */
			p->data[12 + rnd(rnd(2) ? 60 : (uint32_t)p->len - 12)] ^= (uint8_t)(1u << rnd(8));
			break;
		case 1:
			p->data[ETH_HLEN + rnd(60)] = (uint8_t)rnd(256);
			break;
		case 2:
			p->len = MAX((size_t)ETH_HLEN + 40, rnd((uint32_t)p->len));
			break;
		case 3:
			p->len = MIN(p->len + rnd(100), sizeof(p->data));
			break;
		}
}

/* May the tests' parser look at it? */
static bool sane(const struct packet *p)
{
	const uint8_t *ip = ip_of(p);
	size_t there = p->len - ETH_HLEN, at = 40;
	uint16_t type = get16(p->data + 12);
	if (type == ETH_P_IP && ip[0] >> 4 == 4) {
		size_t header = (ip[0] & 15) * 4u, total = get16(ip + 2);
		return header >= 20 && total <= there && total >= header + 20;
	}
	if (type != ETH_P_IPV6 || ip[0] >> 4 != 6 || get16(ip + 4) + 40u > there)
		return false;
	for (uint8_t next = ip[6]; next == 0 || next == 43 || next == 44 || next == 60;) {
		if (at + 8 > get16(ip + 4) + 40u)
			return false;
		size_t bytes = next == 44 ? 8 : 8 + ip[at + 1] * 8u;
		bool later = next == 44 && get16(ip + at + 2) & 0xfff8;
		next = ip[at];
		at += bytes;
		if (later)
			break;
	}
	return at + 20 <= get16(ip + 4) + 40u;
}

/* The sum of what all counters say, and of those of packets that became others or were spoilt. */
static uint64_t counted(uint64_t *ret_answers)
{
	static uint64_t *values;
	static int cpus;
	uint32_t token, keys[ABI_REASON_MAX], n = ABI_REASON_MAX;
	uint64_t sum = 0;
	*ret_answers = 0;
	if (!values) {
		cpus = libbpf_num_possible_cpus();
		values = mem_new_n(uint64_t, (size_t)cpus * ABI_REASON_MAX);
	}
	int r = bpf_map_lookup_batch(bpf_map__fd(skel->maps.counters), NULL, &token, keys, values, &n, NULL);
	assert_true(r == 0 || errno == ENOENT);
	for (uint32_t i = 0; i < n * (uint32_t)cpus; i++) {
		uint32_t reason = keys[i / (uint32_t)cpus];
		bool answer = reason == ABI_TC_REJECTED || reason == ABI_TC_TOO_BIG || reason == ABI_TC_HOPS_GONE ||
			      reason == ABI_TC_DROP_REWRITE;
		sum += reason == ABI_TC_FLOW_EXPIRED ? 0 : values[i];
		*ret_answers += answer ? values[i] : 0;
	}
	return sum;
}

/* Another endpoint, none, or one that is gone. */
static void change_services(void)
{
	int v6 = (int)rnd(2);
	const char *where[] = { POD1(v6), POD2(v6), REMOTE1(v6), REMOTE2(v6), TUNNELLED(v6), HOST_REMOTE(v6), NODE(v6) };
	for (uint32_t id = 1; id <= 3; id++) {
		uint32_t i = rnd(ARRAY_SIZE(where));
		put_backend(id, where[i], rnd(2) ? 8080 : 9090, protocols[rnd(3)], i < 2 || i == 6 ? ABI_BACKEND_LOCAL : 0, rnd(8) ? 7 : 0);
	}
	switch (rnd(4)) {
	case 0: put_set(SET, 0, 1); break;
	case 1: put_set(SET, ABI_SET_LEAST, 1, 2, 3); break;
	case 2: put_set(SET, ABI_SET_HASH, 1, 2, 3, 3); break;
	case 3: put_set(SET, 0, 2, 3); break;
	}
}

static bool has_reply(const struct abi_flow_key *k, bool *ret_gone)
{
	struct abi_flow f;
	struct abi_flow_reply r;
	struct abi_flow_key back = { .proto = k->proto };
	*ret_gone = bpf_map_lookup_elem(bpf_map__fd(skel->maps.flows), k, &f) < 0;
	if (*ret_gone)
		return true;
	bool snat = f.flags & ABI_FLOW_SNAT;
	memcpy(back.client, snat ? f.snat : k->client, 16);
	memcpy(back.addr, f.backend, 16);
	back.client_port = f.flags & (ABI_FLOW_SNAT | ABI_FLOW_PORT) ? f.snat_port : k->client_port;
	back.port = f.backend_port;
	return bpf_map_lookup_elem(bpf_map__fd(skel->maps.flow_replies), &back, &r) == 0 && memcmp(r.addr, k->addr, 16) == 0 &&
	       memcmp(r.client, k->client, 16) == 0 && r.port == k->port && r.client_port == k->client_port;
}

static bool has_flow(const struct abi_flow_key *k, bool *ret_gone)
{
	struct abi_flow f;
	struct abi_flow_reply r;
	struct abi_flow_key there = { .proto = k->proto };
	*ret_gone = bpf_map_lookup_elem(bpf_map__fd(skel->maps.flow_replies), k, &r) < 0;
	if (*ret_gone)
		return true;
	memcpy(there.client, r.client, 16);
	memcpy(there.addr, r.addr, 16);
	there.client_port = r.client_port;
	there.port = r.port;
	return bpf_map_lookup_elem(bpf_map__fd(skel->maps.flows), &there, &f) == 0;
}

/* Each element of the map has its counterpart, apart from those that the sweeper is just at. */
static void assert_paired(struct bpf_map *m, bool (*has)(const struct abi_flow_key *, bool *))
{
	size_t n = 0, count = map_count(m);
	_cleanup_free_ struct abi_flow_key *keys = mem_new_n(struct abi_flow_key, count + 1);
	for (void *at = NULL; n < count && bpf_map_get_next_key(bpf_map__fd(m), at, &keys[n]) == 0; n++)
		at = &keys[n];
	for (size_t i = 0; i < n; i++) {
		bool gone, paired = has(&keys[i], &gone);
		for (int tries = 0; !paired && !gone && tries < 100; tries++) {
			usleep(1000);
			paired = has(&keys[i], &gone);
		}
		assert_true(paired);
	}
}

/* Each flow has its way back, each way back its flow. */
static void assert_pairs(void)
{
	assert_paired(skel->maps.flows, has_reply);
	assert_paired(skel->maps.flow_replies, has_flow);
}

static void one(uint64_t *translated)
{
	static const char *const names[] = { "tc_ingress", "tc_egress", "tc_pods", "tc_tunnel" };
	struct bpf_program *progs[] = { skel->progs.tc_ingress, skel->progs.tc_egress, skel->progs.tc_pods, skel->progs.tc_tunnel };
	uint32_t which = rnd(4);
	int v6 = (int)rnd(2);
	struct packet p = rnd(4) ? random_packet(v6) : random_error(v6);
	if (!rnd(6))
		fragment(&p);
	if (!rnd(3))
		mutate(&p);
	struct packet was = p;
	bool right = sane(&was) && sums_right(ip_of(&was));
	device_sums = rnd(4) == 0;
	uint64_t answers, answers_now, before = counted(&answers);
	run(&p, progs[which]);
	bool acted = counted(&answers_now) != before;
	if (device_sums_gone) {
		assert_true(answers_now != answers);
		return;
	}
	assert_true(p.verdict == TC_ACT_UNSPEC || p.verdict == TC_ACT_SHOT || p.verdict == TC_ACT_REDIRECT);
	bool same = p.len == was.len && memcmp(p.data, was.data, was.len) == 0;
	*translated += !same;
	bool good = acted || (same && p.verdict == TC_ACT_UNSPEC);
	if (good && p.verdict != TC_ACT_SHOT && right)
		good = sane(&p) ? sums_right(ip_of(&p)) : same;
	if (good && !same && sane(&p))
		remember(&p);
	if (good)
		return;
	fprintf(stderr, "%s: verdict %d, was %s, is %s\n", names[which], p.verdict, flow_of(ip_of(&was)), flow_of(ip_of(&p)));
	for (size_t i = 0; i < was.len; i++)
		fprintf(stderr, "%02x%s", was.data[i], i % 32 == 31 ? "\n" : "");
	fprintf(stderr, "\n");
	for (size_t i = 0; i < p.len; i++)
		fprintf(stderr, "%02x%s", p.data[i], i % 32 == 31 ? "\n" : "");
	fail_msg("a packet was harmed");
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_fuzz(void **state)
{
	(void)state;
	const char *seed = getenv("SEED"), *budget = getenv("FUZZ_SECONDS");
	double end = seconds() + (budget ? atof(budget) : 2);
	uint64_t n = 0, translated = 0;
	device_sums_may_go = true;
	state64 = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
	print_message("SEED=%llu\n", (unsigned long long)state64);
	for (; n % 64 || seconds() < end; n++) {
		if (n % 32 == 0)
			change_services();
		if (n % 8192 == 8191) {
			assert_pairs();
			if (map_count(skel->maps.flows) > 20000)
				setup(NULL);
		}
		one(&translated);
	}
	assert_pairs();
	print_message("%llu packets, %llu changed\n", (unsigned long long)n, (unsigned long long)translated);
	assert_true(translated > n / 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_fuzz) };
	return RUN_PACKET_TESTS(tests);
}
