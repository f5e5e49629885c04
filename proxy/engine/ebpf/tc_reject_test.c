/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is answered by the programs themselves: resets and port unreachables for frontends without endpoints and the like. */
#include "proxy/engine/ebpf/packets_test.h"

static struct packet send_to(struct bpf_program *prog, const struct make *m, struct packet *ret_was)
{
	struct packet p = make(m);
	*ret_was = p;
	run(&p, prog);
	return p;
}

/* Back to whom it came from, on the link it came from. */
static void assert_turned(const struct packet *p, const struct packet *was)
{
	assert_int_equal(p->verdict, TC_ACT_REDIRECT);
	assert_memory_equal(p->data, was->data + 6, 6);
	assert_memory_equal(p->data + 6, was->data, 6);
	assert_memory_equal(p->data + 12, was->data + 12, 2);
}

/* RFC 9293 3.10.7.1 */
static void test_resets(void **state)
{
	(void)state;
	static const struct {
		uint8_t flags, want;
		size_t payload;
		uint32_t seq, ack, want_seq, want_ack;
	} rows[] = {
		{ SYN, RST | ACK, 0, 1000, 0, 0, 1001 },
		{ SYN, RST | ACK, 0, 0xffffffff, 0, 0, 0 },
		{ FIN, RST | ACK, 20, 1000, 0, 0, 1021 },
		{ SYN | FIN, RST | ACK, 1, 1000, 0, 0, 1003 },
		{ SYN | ACK, RST, 0, 1000, 777, 777, 0 },
		{ ACK, RST, 500, 1000, 0xfffffff0, 0xfffffff0, 0 },
		{ FIN | ACK | PSH, RST, 3, 1, 2, 2, 0 },
	};
	struct bpf_program *progs[] = { skel->progs.tc_ingress, skel->progs.tc_pods };
	for (size_t i = 0; i < ARRAY_SIZE(rows) * 4; i++) {
		size_t k = i / 4;
		int v6 = i & 1;
		struct make m = { .proto = IPPROTO_TCP, .from = CLIENT(v6), .sport = 40000, .to = CLUSTER_IP(v6), .dport = 81,
				  .flags = rows[k].flags, .seq = rows[k].seq, .ack = rows[k].ack, .payload = rows[k].payload,
				  .options = k % 3 * 4, .extensions = k % 2 };
		uint64_t before = counter(ABI_TC_REJECTED);
		struct packet was, p;
		was = make(&m);
		if (!rows[k].payload) { /* make() knows no empty ones */
			was.len -= 11;
			set16(was.data + ETH_HLEN + (v6 ? 4 : 2), (uint32_t)(was.len - ETH_HLEN - (v6 ? 40 : 0)));
			sums_write(was.data + ETH_HLEN);
		}
		p = was;
		run(&p, progs[i & 2 ? 1 : 0]);
		assert_turned(&p, &was);
		assert_flow(&p, "%s:81>%s:40000", CLUSTER_IP(v6), CLIENT(v6));
		struct view v = look(ip_of(&p));
		assert_int_equal(v.l4_len, 20);
		assert_int_equal(p.len, (size_t)(v.l4 - p.data) + 20);
		assert_int_equal(v.l4[13], rows[k].want);
		assert_int_equal(v.l4[12], 5 << 4);
		assert_int_equal(get32(v.l4 + 4), rows[k].want_seq);
		assert_int_equal(get32(v.l4 + 8), rows[k].want_ack);
		assert_int_equal(counter(ABI_TC_REJECTED), before + 1);
	}
}

/* Every way of being refused, every protocol. */
static void test_who_is_refused(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
			const struct {
				const char *to;
				uint16_t port;
			} rows[] = { { VIP(v6), 82 }, { NODE(v6), 30082 }, { CLUSTER_IP(v6), 9999 } };
			for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
				struct make m = { .proto = protocols[i], .from = CLIENT(v6), .sport = 40000, .to = rows[k].to,
						  .dport = rows[k].port, .flags = SYN };
				uint64_t before = counter(ABI_TC_REFUSED_NO_ENDPOINTS);
				struct packet was, p = send_to(skel->progs.tc_ingress, &m, &was);
				assert_turned(&p, &was);
				assert_int_equal(counter(ABI_TC_REFUSED_NO_ENDPOINTS), before + (k < 2));
				if (protocols[i] == IPPROTO_TCP) {
					assert_flow(&p, "%s:%u>%s:40000", rows[k].to, rows[k].port, CLIENT(v6));
					continue;
				}
				assert_flow(&p, "%s>%s", rows[k].to, CLIENT(v6));
				struct view e = look(ip_of(&p));
				assert_int_equal(e.proto, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
				assert_int_equal(e.l4[0], v6 ? 1 : 3);
				assert_int_equal(e.l4[1], v6 ? 4 : 3);
				assert_int_equal(get32(e.l4 + 4), 0);
				assert_int_equal(e.l4_len - 8, was.len - ETH_HLEN);
				assert_memory_equal(e.l4 + 8, ip_of(&was), was.len - ETH_HLEN);
			}
		}
}

/* What an error quotes has a limit, and odd lengths have right sums. */
static void test_lengths(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t payload = 1; payload < 1500; payload += payload < 40 ? 1 : 37) {
			struct make m = { .proto = IPPROTO_UDP, .from = CLIENT(v6), .sport = 40000, .to = VIP(v6), .dport = 82,
					  .payload = payload };
			struct packet was, p = send_to(skel->progs.tc_ingress, &m, &was);
			assert_flow(&p, "%s>%s", VIP(v6), CLIENT(v6));
			size_t whole = was.len - ETH_HLEN + (v6 ? 48 : 28);
			assert_int_equal(p.len - ETH_HLEN, MIN(whole, v6 ? (size_t)1280 : 576));
		}
}

static void test_no_answer(void **state)
{
	(void)state;
	struct make m = { .proto = IPPROTO_TCP, .from = CLIENT(0), .sport = 40000, .to = CLUSTER_IP(0), .dport = 81, .flags = RST };
	struct packet was, p = send_to(skel->progs.tc_ingress, &m, &was);
	assert_int_equal(p.verdict, TC_ACT_SHOT); /* nobody answers a reset */
	m = (struct make){ .proto = IPPROTO_UDP, .from = "224.0.0.5", .sport = 40000, .to = VIP(0), .dport = 82 };
	p = send_to(skel->progs.tc_ingress, &m, &was);
	assert_untouched(&p, &was);
	m = (struct make){ .proto = IPPROTO_UDP, .from = "ff02::1", .sport = 40000, .to = VIP(1), .dport = 82 };
	p = send_to(skel->progs.tc_ingress, &m, &was);
	assert_untouched(&p, &was);
	/* A fragment. */
	m = (struct make){ .proto = IPPROTO_UDP, .from = CLIENT(0), .sport = 40000, .to = VIP(0), .dport = 82, .may_fragment = true };
	p = make(&m);
	set16(p.data + ETH_HLEN + 6, 0x2000);
	run(&p, skel->progs.tc_ingress);
	assert_int_equal(p.verdict, TC_ACT_SHOT);
	/* An address of the service range that no Service has goes its way, to the blackhole. */
	m = (struct make){ .proto = IPPROTO_TCP, .from = CLIENT(0), .sport = 40000, .to = "10.96.0.99", .dport = 80, .flags = SYN };
	p = send_to(skel->progs.tc_ingress, &m, &was);
	assert_untouched(&p, &was);
}

/* Mid-flight without a flow, on an address that only Services have: the connection is over. */
static void test_stray(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct make m = { .proto = IPPROTO_TCP, .from = CLIENT(v6), .sport = 40000, .to = VIP(v6), .dport = 80, .flags = ACK,
				  .ack = 5 };
		struct packet was, p = send_to(skel->progs.tc_ingress, &m, &was);
		assert_turned(&p, &was);
		assert_flow(&p, "%s:80>%s:40000", VIP(v6), CLIENT(v6));
		assert_int_equal(look(ip_of(&p)).l4[13], RST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_resets), TEST(test_who_is_refused), TEST(test_lengths), TEST(test_no_answer), TEST(test_stray),
	};
	return RUN_PACKET_TESTS(tests);
}
