/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct server return: packets sent on inside others, and those of other nodes unwrapped. */
#include "proxy/engine/ebpf/packets_test.h"

#define PEER(v6) HOST_REMOTE(v6)
#define STRANGER(v6) ((v6) ? "2001:db8:6::6" : "192.0.2.66")

static size_t outer_bytes(int v6)
{
	return v6 ? 40 : 20;
}

static void put_dsr_frontends(uint8_t proto, uint8_t flags)
{
	struct abi_frontend f = { .flags = ABI_FRONTEND_DSR | flags };
	for (int v6 = 0; v6 < 2; v6++)
		put_frontend(VIP(v6), 80, proto, SET, f);
	put_frontend(NULL, 30080, proto, SET, f);
}

static int setup_dsr(void **state)
{
	uint32_t one = 1;
	setup(state);
	flush_map(skel->maps.peer_nodes);
	for (int v6 = 0; v6 < 2; v6++) {
		struct abi_peer_node_key k;
		mapped(k.addr, PEER(v6));
		put(skel->maps.peer_nodes, &k, &one);
	}
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		put_dsr_frontends(protocols[i], 0);
	return 0;
}

static struct packet client(int v6, uint8_t proto, uint16_t sport, const char *to, uint16_t dport, uint8_t flags)
{
	return make(&(struct make){ .proto = proto, .from = CLIENT(v6), .sport = sport, .to = to, .dport = dport, .flags = flags,
				    .chunk = flags & SYN ? 1 : 3 });
}

/* The packet inside another one. */
static struct packet wrap(const struct packet *inner, const char *from, const char *to)
{
	struct packet p = { 0 };
	int v6 = strchr(from, ':') != NULL;
	size_t bytes = inner->len - ETH_HLEN;
	struct make m = { .proto = v6 ? IPPROTO_IPV6 : IPPROTO_IPIP, .from = from, .to = to };
	size_t header = make_ip(&p, &m, bytes);
	memcpy(p.data + ETH_HLEN + header, inner->data + ETH_HLEN, bytes);
	p.len = ETH_HLEN + header + bytes;
	if (!v6)
		set16(p.data + ETH_HLEN + 10, fold(sum16(p.data + ETH_HLEN, 20, 0)));
	return p;
}

static struct packet receive(struct packet inner, const char *from, const char *to, struct bpf_program *prog)
{
	struct packet p = wrap(&inner, from, to);
	run(&p, prog);
	return p;
}

/* p is `was` inside another packet, from and to these, a hop older. */
static void assert_wrapped(const struct packet *p, struct packet was, const char *from, const char *to)
{
	int v6 = strchr(from, ':') != NULL;
	struct view v = look(ip_of(p));
	char want[160];
	snprintf(want, sizeof(want), "%s:%u>%s:%u", from, get16(v.l4), to, get16(v.l4 + 2));
	assert_int_equal(p->verdict, TC_ACT_REDIRECT);
	assert_string_equal(flow_of(ip_of(p)), want);
	assert_int_equal(v.proto, v6 ? IPPROTO_IPV6 : IPPROTO_IPIP);
	assert_true(ip_sum_right(&v));
	assert_int_equal(p->len, was.len + outer_bytes(v6));
	assert_int_equal(v.l4_len, was.len - ETH_HLEN);
	if (!v6)
		assert_int_equal(get16(v.ip + 6), 0x4000); /* never cut up */
	was.data[ETH_HLEN + (v6 ? 7 : 8)]--;
	if (!v6) {
		set16(was.data + ETH_HLEN + 10, 0);
		set16(was.data + ETH_HLEN + 10, fold(sum16(was.data + ETH_HLEN, (was.data[ETH_HLEN] & 15) * 4u, 0)));
	}
	assert_memory_equal(v.l4, was.data + ETH_HLEN, was.len - ETH_HLEN);
}

static void test_sent_on_as_it_is(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
			uint64_t before = counter(ABI_TC_ENCAPSULATED);
			one_backend(REMOTE1(v6), 8080, protocols[i], 0);
			struct packet p = client(v6, protocols[i], 40000, VIP(v6), 80, SYN), was = p;
			run(&p, skel->progs.tc_ingress);
			assert_wrapped(&p, was, SNAT_POD(v6), REMOTE1(v6));
			/* The flow stays with its backend, whatever the set becomes. */
			put_backend(2, REMOTE2(v6), 8080, protocols[i], 0, 7);
			put_set(SET, 0, 2);
			p = was = client(v6, protocols[i], 40000, VIP(v6), 80, ACK);
			run(&p, skel->progs.tc_ingress);
			assert_wrapped(&p, was, SNAT_POD(v6), REMOTE1(v6));
			assert_int_equal(counter(ABI_TC_ENCAPSULATED), before + 2);
			/* A NodePort, and a backend with its host's network. */
			one_backend(HOST_REMOTE(v6), 8080, protocols[i], 0);
			p = was = client(v6, protocols[i], 40001, NODE(v6), 30080, SYN);
			run(&p, skel->progs.tc_ingress);
			assert_wrapped(&p, was, NODE(v6), HOST_REMOTE(v6));
			/* Through the tunnel. */
			one_backend(TUNNELLED(v6), 8080, protocols[i], 0);
			p = was = client(v6, protocols[i], 40002, NODE(v6), 30080, SYN);
			run(&p, skel->progs.tc_ingress);
			assert_wrapped(&p, was, SNAT_POD(v6), TUNNELLED(v6));
		}
	assert_int_equal(map_count(skel->maps.flow_replies), 0);
	assert_int_equal(map_count(skel->maps.flows), 18);
}

static void test_own_backends_and_pods_as_ever(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		struct packet p = client(v6, IPPROTO_TCP, 40000, VIP(v6), 80, SYN);
		run(&p, skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:40000>%s:8080", CLIENT(v6), POD1(v6));
	}
}

static void test_too_big_is_told(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (int tunnel = 0; tunnel < 2; tunnel++) {
			size_t mtu = tunnel ? 1450 : 1500, room = mtu - outer_bytes(v6), headers = v6 ? 48 : 28;
			one_backend(tunnel ? TUNNELLED(v6) : REMOTE1(v6), 8080, IPPROTO_UDP, 0);
			struct make m = { .proto = IPPROTO_UDP, .from = CLIENT(v6), .sport = 41000 + (uint16_t)tunnel, .to = VIP(v6),
					  .dport = 80, .payload = room - headers };
			struct packet p = make(&m), was = p;
			run(&p, skel->progs.tc_ingress);
			assert_wrapped(&p, was, SNAT_POD(v6), tunnel ? TUNNELLED(v6) : REMOTE1(v6));
			for (int may = 0; may < 2; may++) { /* parts would not be put together over there */
				m.payload = room - headers + 1;
				m.may_fragment = may;
				p = make(&m);
				run(&p, skel->progs.tc_ingress);
				assert_int_equal(p.verdict, TC_ACT_REDIRECT);
				assert_flow(&p, "%s>%s", VIP(v6), CLIENT(v6));
				struct view v = look(ip_of(&p));
				assert_int_equal(v.l4[0], v6 ? 2 : 3);
				assert_int_equal(get32(v.l4 + 4), room);
			}
		}
}

static void test_unwrapped(void **state)
{
	(void)state;
	struct bpf_program *by[] = { skel->progs.tc_ingress, skel->progs.tc_tunnel };
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
			for (int k = 0; k < 2; k++) {
				uint64_t before = counter(ABI_TC_DECAPSULATED);
				/* Not the only backend, nor the only one of this node; the other node's NodePort. */
				const char *front = k ? HOST_REMOTE(v6) : VIP(v6);
				uint16_t port = k ? 30080 : 80, sport = (uint16_t)(42000 + k);
				put_backend(1, REMOTE1(v6), 8080, protocols[i], 0, 7);
				put_backend(2, POD1(v6), 8081, protocols[i], ABI_BACKEND_LOCAL, 7);
				put_backend(3, POD2(v6), 8082, protocols[i], ABI_BACKEND_LOCAL, 7);
				put_set(SET, 0, 1, 2, 3);
				struct packet p = receive(client(v6, protocols[i], sport, front, port, SYN), PEER(v6), POD2(v6), by[k]);
				assert_int_equal(p.verdict, TC_ACT_UNSPEC);
				assert_flow(&p, "%s:%u>%s:8082", CLIENT(v6), sport, POD2(v6));
				/* Gone from the set it still has its flows. */
				put_set(SET, 0, 1, 2);
				p = receive(client(v6, protocols[i], sport, front, port, ACK), PEER(v6), POD2(v6), by[k]);
				assert_flow(&p, "%s:%u>%s:8082", CLIENT(v6), sport, POD2(v6));
				assert_int_equal(counter(ABI_TC_DECAPSULATED), before + 2);
				struct packet r = make(&(struct make){ .proto = protocols[i], .from = POD2(v6), .sport = 8082,
								       .to = CLIENT(v6), .dport = sport, .flags = SYN | ACK, .chunk = 2 });
				run(&r, skel->progs.tc_egress);
				assert_int_equal(r.verdict, TC_ACT_UNSPEC);
				assert_flow(&r, "%s:%u>%s:%u", front, port, CLIENT(v6), sport);
			}
}

/* Sent by one node and received by the other: here the same programs are both. */
static void test_there_and_here(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		struct packet p = client(v6, IPPROTO_TCP, 43000, VIP(v6), 80, SYN);
		run(&p, skel->progs.tc_ingress);
		struct abi_peer_node_key k;
		uint32_t one = 1;
		mapped(k.addr, SNAT_POD(v6));
		put(skel->maps.peer_nodes, &k, &one);
		flush_map(skel->maps.flows);
		put_backend(1, REMOTE1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL, 7);
		memcpy(p.data, eth0_mac, 6);
		run(&p, skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:43000>%s:8080", CLIENT(v6), REMOTE1(v6));
	}
}

static void test_moved_by_the_other_node(void **state)
{
	(void)state;
	put_backend(1, POD1(0), 8081, IPPROTO_UDP, ABI_BACKEND_LOCAL, 7);
	put_backend(2, POD2(0), 8082, IPPROTO_UDP, ABI_BACKEND_LOCAL, 7);
	put_set(SET, ABI_SET_LEAST, 1, 2);
	uint32_t id = 1, zero = 0;
	put(skel->maps.loads, &id, &zero);
	id = 2;
	put(skel->maps.loads, &id, &zero);
	receive(client(0, IPPROTO_UDP, 44000, VIP(0), 80, 0), PEER(0), POD1(0), skel->progs.tc_ingress);
	struct packet p = receive(client(0, IPPROTO_UDP, 44000, VIP(0), 80, 0), PEER(0), POD2(0), skel->progs.tc_ingress);
	assert_flow(&p, "%s:44000>%s:8082", CLIENT(0), POD2(0));
	assert_int_equal(map_count(skel->maps.flows), 1);
	assert_int_equal(map_count(skel->maps.flow_replies), 1);
	uint32_t load[2];
	for (id = 1; id <= 2; id++)
		bpf_map_lookup_elem(bpf_map__fd(skel->maps.loads), &id, &load[id - 1]);
	assert_int_equal(load[0], 0);
	assert_int_equal(load[1], 1);
}

static void test_strangers(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		uint64_t before = counter(ABI_TC_DROP_ENCAP);
		struct packet p = receive(client(v6, IPPROTO_TCP, 45000, VIP(v6), 80, SYN), STRANGER(v6), POD1(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_SHOT);
		/* A node that names no backend of ours. */
		p = receive(client(v6, IPPROTO_TCP, 45000, VIP(v6), 80, SYN), PEER(v6), POD2(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_SHOT);
		put_backend(2, REMOTE1(v6), 8080, IPPROTO_TCP, 0, 7);
		put_set(SET, 0, 1, 2);
		p = receive(client(v6, IPPROTO_TCP, 45000, VIP(v6), 80, SYN), PEER(v6), REMOTE1(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_SHOT);
		assert_int_equal(counter(ABI_TC_DROP_ENCAP), before + 3);
		assert_int_equal(map_count(skel->maps.flows), 0);
		/* A known flow may not be spoken in either. */
		p = receive(client(v6, IPPROTO_TCP, 45000, VIP(v6), 80, SYN), PEER(v6), POD1(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		p = receive(client(v6, IPPROTO_TCP, 45000, VIP(v6), 80, ACK), STRANGER(v6), POD1(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_SHOT);
		flush_map(skel->maps.flows);
		flush_map(skel->maps.flow_replies);
	}
}

static void test_others_tunnels_pass(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		const char *const from[] = { STRANGER(v6), PEER(v6) };
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		put_frontend(VIP(v6), 81, IPPROTO_TCP, SET, (struct abi_frontend){ 0 }); /* one without DSR */
		for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
			struct packet inner[] = { client(v6, IPPROTO_TCP, 46000, ROUTER(v6), 80, SYN),
						  client(v6, IPPROTO_TCP, 46000, VIP(v6), 81, SYN),
						  client(v6, IPPROTO_NONE_OF_OURS, 46000, VIP(v6), 80, 0) };
			for (size_t k = 0; k < ARRAY_SIZE(inner); k++) {
				struct packet p = wrap(&inner[k], from[i], POD1(v6)), was = p;
				run(&p, skel->progs.tc_ingress);
				assert_untouched(&p, &was);
			}
		}
		/* The number of a NodePort, at another address. */
		struct packet alien = client(v6, IPPROTO_TCP, 46000, ROUTER(v6), 30080, SYN);
		alien = wrap(&alien, STRANGER(v6), POD1(v6));
		struct packet as_it_came = alien;
		run(&alien, skel->progs.tc_ingress);
		assert_untouched(&alien, &as_it_came);
		/* Addressed to somebody else altogether. */
		struct packet c = client(v6, IPPROTO_TCP, 46000, VIP(v6), 80, SYN), p = wrap(&c, STRANGER(v6), ROUTER(v6)), was = p;
		run(&p, skel->progs.tc_ingress);
		assert_untouched(&p, &was);
		/* From a pod, and on its way out. */
		p = was = wrap(&c, PEER(v6), POD1(v6));
		run(&p, skel->progs.tc_pods);
		assert_untouched(&p, &was);
		run(&p, skel->progs.tc_egress);
		assert_untouched(&p, &was);
	}
}

static void test_mss_leaves_room(void **state)
{
	(void)state;
	static const struct {
		uint8_t options[12];
		uint8_t at; /* of the value; 0: none */
	} rows[] = {
		{ { 2, 4, 1460 >> 8, 1460 & 255, 4, 2, 3, 3, 7, 1, 1, 1 }, 2 },
		{ { 1, 2, 4, 1460 >> 8, 1460 & 255, 1, 1, 1, 1, 1, 1, 1 }, 3 }, /* at an odd place */
		{ { 3, 3, 7, 4, 2, 1, 2, 4, 1460 >> 8, 1460 & 255, 0, 0 }, 8 },
		{ { 4, 2, 3, 3, 7, 0, 2, 4, 1460 >> 8, 1460 & 255, 0, 0 }, 0 }, /* behind the end */
		{ { 5, 0, 2, 4, 1460 >> 8, 1460 & 255, 0, 0, 0, 0, 0, 0 }, 0 }, /* an option of no length */
	};
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			uint16_t sport = (uint16_t)(47000 + i);
			one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
			receive(client(v6, IPPROTO_TCP, sport, VIP(v6), 80, SYN), PEER(v6), POD1(v6), skel->progs.tc_ingress);
			struct packet r = make(&(struct make){ .proto = IPPROTO_TCP, .from = POD1(v6), .sport = 8080, .to = CLIENT(v6),
							       .dport = sport, .flags = SYN | ACK, .payload = sizeof(rows[i].options) });
			uint8_t *l4 = (uint8_t *)look(ip_of(&r)).l4;
			l4[12] = 8 << 4;
			memcpy(l4 + 20, rows[i].options, sizeof(rows[i].options));
			sums_write(r.data + ETH_HLEN);
			run(&r, skel->progs.tc_egress);
			assert_flow(&r, "%s:80>%s:%u", VIP(v6), CLIENT(v6), sport);
			l4 = (uint8_t *)look(ip_of(&r)).l4;
			if (rows[i].at)
				assert_int_equal(get16(l4 + 20 + rows[i].at), 1460 - outer_bytes(v6));
			else
				assert_memory_equal(l4 + 20, rows[i].options, sizeof(rows[i].options));
		}
}

/* Both fragments of a datagram: the second has no ports. */
static void fragment(int v6, uint32_t id, struct packet ret[2], uint16_t sport)
{
	struct make m = { .proto = IPPROTO_UDP, .from = CLIENT(v6), .sport = sport, .to = VIP(v6), .dport = 80, .payload = 72,
			  .may_fragment = true };
	struct packet whole = make(&m);
	size_t l3 = v6 ? 40 : 20, ext = v6 ? 8 : 0;
	const uint8_t *data = whole.data + ETH_HLEN + l3;
	for (int i = 0; i < 2; i++) {
		struct packet *p = &ret[i];
		*p = whole;
		uint8_t *ip = p->data + ETH_HLEN;
		p->len = ETH_HLEN + l3 + ext + 40;
		if (v6) {
			set16(ip + 4, 48);
			ip[6] = 44;
			ip[40] = IPPROTO_UDP;
			ip[41] = 0;
			set16(ip + 42, i ? 40 : 1);
			set32(ip + 44, id);
		} else {
			set16(ip + 2, 60);
			set16(ip + 4, id);
			set16(ip + 6, i ? 5 : 0x2000);
			set16(ip + 10, 0);
			set16(ip + 10, fold(sum16(ip, 20, 0)));
		}
		memcpy(ip + l3 + ext, data + i * 40, 40);
	}
}

static void test_fragments(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct packet parts[2];
		fragment(v6, 77, parts, 48000);
		one_backend(REMOTE1(v6), 8080, IPPROTO_UDP, 0);
		for (int i = 0; i < 2; i++) {
			struct packet p = parts[i];
			run(&p, skel->progs.tc_ingress);
			assert_wrapped(&p, parts[i], SNAT_POD(v6), REMOTE1(v6));
		}
		flush_map(skel->maps.flows);
		flush_map(skel->maps.fragments);
		one_backend(POD1(v6), 8080, IPPROTO_UDP, ABI_BACKEND_LOCAL);
		struct packet lost = receive(parts[1], PEER(v6), POD1(v6), skel->progs.tc_ingress);
		assert_int_equal(lost.verdict, TC_ACT_SHOT);
		struct packet p = receive(parts[0], PEER(v6), POD1(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s:48000>%s:8080", CLIENT(v6), POD1(v6));
		p = receive(parts[1], PEER(v6), POD1(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s>%s", CLIENT(v6), POD1(v6));
		flush_map(skel->maps.flows);
		flush_map(skel->maps.flow_replies);
	}
}

/* A router's complaint about an answer, which it knows to be from the frontend to the client. */
static struct packet complaint(int v6, uint16_t client_port)
{
	struct packet about = make(&(struct make){ .proto = IPPROTO_TCP, .from = VIP(v6), .sport = 80, .to = CLIENT(v6),
						   .dport = client_port, .flags = ACK });
	struct packet p = { 0 };
	size_t quoted = about.len - ETH_HLEN;
	struct make m = { .proto = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, .from = ROUTER(v6), .to = VIP(v6) };
	size_t l3 = make_ip(&p, &m, 8 + quoted);
	uint8_t *icmp = p.data + ETH_HLEN + l3;
	icmp[0] = v6 ? 2 : 3;
	icmp[1] = v6 ? 0 : 4;
	set32(icmp + 4, 1400);
	memcpy(icmp + 8, about.data + ETH_HLEN, quoted);
	p.len = ETH_HLEN + l3 + 8 + quoted;
	sums_write(p.data + ETH_HLEN);
	return p;
}

static void test_icmp_errors(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		/* Where the address of the frontend is, the error arrives, and is sent after the packets of the client. */
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		struct packet p = client(v6, IPPROTO_TCP, 49000, VIP(v6), 80, SYN), was;
		run(&p, skel->progs.tc_ingress);
		p = was = complaint(v6, 49000);
		run(&p, skel->progs.tc_ingress);
		assert_wrapped(&p, was, SNAT_POD(v6), REMOTE1(v6));
		flush_map(skel->maps.flows);
		/* Where the backend is, it hears of it in its own words. */
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		receive(client(v6, IPPROTO_TCP, 49000, VIP(v6), 80, SYN), PEER(v6), POD1(v6), skel->progs.tc_ingress);
		p = receive(complaint(v6, 49000), STRANGER(v6), POD1(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_SHOT);
		p = receive(complaint(v6, 49000), PEER(v6), POD1(v6), skel->progs.tc_ingress);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_flow(&p, "%s>%s", ROUTER(v6), POD1(v6));
		char want[160];
		snprintf(want, sizeof(want), "%s:8080>%s:49000", POD1(v6), CLIENT(v6));
		assert_string_equal(flow_of(look(ip_of(&p)).l4 + 8), want);
		assert_true(sums_right(look(ip_of(&p)).l4 + 8));
		flush_map(skel->maps.flows);
		flush_map(skel->maps.flow_replies);
	}
}

static void test_hash_finds_the_slot(void **state)
{
	(void)state;
	put_backend(1, POD1(0), 8081, IPPROTO_TCP, ABI_BACKEND_LOCAL, 7);
	put_backend(2, POD2(0), 8082, IPPROTO_TCP, ABI_BACKEND_LOCAL, 7);
	put_set(SET, ABI_SET_HASH, 1, 2, 1, 2, 1, 2, 1, 2);
	for (uint16_t i = 0; i < 40; i++) {
		const char *to = i % 2 ? POD1(0) : POD2(0); /* also where the other node's table differs from ours */
		struct packet p = receive(client(0, IPPROTO_TCP, 50000 + i, VIP(0), 80, SYN), PEER(0), to, skel->progs.tc_ingress);
		assert_flow(&p, "%s:%u>%s:%u", CLIENT(0), 50000 + i, to, i % 2 ? 8081 : 8082);
	}
}

/* Whatever is inside, whole or torn: never a packet longer than it came, and only the verdicts there are. */
static void test_random_packets(void **state)
{
	(void)state;
	const char *seed = getenv("KEELSON_TEST_SEED"), *budget = getenv("KEELSON_TEST_BUDGET");
	unsigned state_of = seed ? (unsigned)atoi(seed) : 1;
	int rounds = budget ? atoi(budget) : 3000;
	for (int i = 0; i < rounds; i++) {
		int v6 = rand_r(&state_of) % 2;
		uint8_t proto = protocols[rand_r(&state_of) % 3];
		one_backend(POD1(v6), 8080, proto, ABI_BACKEND_LOCAL);
		struct packet inner = rand_r(&state_of) % 4 ? client(v6, proto, (uint16_t)rand_r(&state_of), VIP(v6), 80, SYN) :
							      complaint(v6, 49000);
		struct packet p = wrap(&inner, PEER(v6), POD1(v6));
		for (int k = rand_r(&state_of) % 4; k > 0; k--)
			p.data[ETH_HLEN + (size_t)rand_r(&state_of) % (p.len - ETH_HLEN)] = (uint8_t)rand_r(&state_of);
		if (rand_r(&state_of) % 3 == 0)
			p.len = ETH_HLEN + outer_bytes(v6) + (size_t)rand_r(&state_of) % (p.len - ETH_HLEN - outer_bytes(v6));
		size_t len = p.len;
		run(&p, rand_r(&state_of) % 2 ? skel->progs.tc_ingress : skel->progs.tc_tunnel);
		assert_true(p.len <= len || p.verdict != TC_ACT_UNSPEC);
		assert_true(p.verdict == TC_ACT_UNSPEC || p.verdict == TC_ACT_SHOT || p.verdict == TC_ACT_REDIRECT);
	}
}

/* A client that is a node or a pod may be where the backend is: it would be sent its own packets from outside. */
static void test_clients_of_the_cluster(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		const char *const clients[] = { PEER(v6), TUNNELLED(v6) };
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
			struct packet p = make(&(struct make){ .proto = IPPROTO_TCP, .from = clients[i], .sport = (uint16_t)(42000 + i),
							       .to = NODE(v6), .dport = 30080, .flags = SYN });
			run(&p, skel->progs.tc_ingress);
			assert_int_equal(p.verdict, TC_ACT_REDIRECT);
			assert_flow(&p, "%s:%zu>%s:8080", SNAT_POD(v6), 42000 + i, REMOTE1(v6));
		}
	}
}

/* No answer passes here: only a client that goes on has been answered. */
static void test_half_open(void **state)
{
	(void)state;
	one_backend(REMOTE1(0), 8080, IPPROTO_TCP, 0);
	for (uint16_t i = 0; i < 50; i++) {
		struct packet p = client(0, IPPROTO_TCP, (uint16_t)(43000 + i), VIP(0), 80, SYN);
		run(&p, skel->progs.tc_ingress);
	}
	struct packet p = client(0, IPPROTO_TCP, 43000, VIP(0), 80, ACK);
	run(&p, skel->progs.tc_ingress);
	int fd = bpf_map__fd(skel->maps.flows);
	struct abi_flow_key keys[50];
	struct abi_flow f;
	/* First all of them: a write puts an element before its bucket's others, and a walk would meet it again. */
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(bpf_map_get_next_key(fd, i ? &keys[i - 1] : NULL, &keys[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &keys[i], &f), 0);
		f.last_ns -= 61000000000ULL;
		put(skel->maps.flows, &keys[i], &f);
	}
	for (int waited_ms = 0; waited_ms < 20000 && map_count(skel->maps.flows) != 1; waited_ms += 100)
		usleep(100000);
	assert_int_equal(map_count(skel->maps.flows), 1);
}

#undef TEST
#define TEST(f) cmocka_unit_test_setup(f, setup_dsr)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sent_on_as_it_is),	TEST(test_own_backends_and_pods_as_ever), TEST(test_too_big_is_told),
		TEST(test_unwrapped),		TEST(test_there_and_here),		  TEST(test_moved_by_the_other_node),
		TEST(test_strangers),		TEST(test_others_tunnels_pass),		  TEST(test_mss_leaves_room),
		TEST(test_fragments),		TEST(test_icmp_errors),			  TEST(test_hash_finds_the_slot),
		TEST(test_random_packets),	TEST(test_clients_of_the_cluster),	  TEST(test_half_open),
	};
	return RUN_PACKET_TESTS(tests);
}
