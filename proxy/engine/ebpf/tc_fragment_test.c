/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fragmented datagrams, to and from backends of this node and of others: every fragment is translated, the sum stays right. */
#include "proxy/engine/ebpf/packets_test.h"

enum { MAX_PARTS = 4, PAYLOAD = 2000 };

/* Cuts a datagram into parts of at most `bytes` behind the IP header; returns how many. */
static size_t cut(const struct packet *whole, size_t bytes, uint32_t id, struct packet parts[MAX_PARTS])
{
	bool v6 = ip_of(whole)[0] >> 4 == 6;
	size_t header = v6 ? 40 : 20, total = whole->len - ETH_HLEN - header, n = 0;
	for (size_t at = 0; at < total; at += bytes, n++) {
		size_t now = MIN(bytes, total - at), more = at + now < total;
		struct packet *p = &parts[n];
		assert_true(n < MAX_PARTS);
		*p = *whole;
		uint8_t *ip = p->data + ETH_HLEN;
		if (v6) {
			set16(ip + 4, (uint32_t)now + 8);
			ip[40] = ip[6];
			ip[41] = 0;
			ip[6] = 44;
			set16(ip + 42, (uint32_t)(at | more));
			set32(ip + 44, id);
			header = 48;
		} else {
			set16(ip + 2, (uint32_t)(now + 20));
			set16(ip + 4, id);
			set16(ip + 6, (uint32_t)(more << 13 | at / 8));
			set16(ip + 10, 0);
			set16(ip + 10, fold(sum16(ip, 20, 0)));
		}
		memmove(ip + header, whole->data + ETH_HLEN + (v6 ? 40 : 20) + at, now);
		p->len = ETH_HLEN + header + now;
	}
	return n;
}

/* Puts the parts together again. */
static struct packet join(const struct packet *parts, size_t n)
{
	struct packet whole = parts[0];
	uint8_t *ip = whole.data + ETH_HLEN;
	bool v6 = ip[0] >> 4 == 6;
	size_t header = v6 ? 40 : 20, len = 0;
	if (v6)
		ip[6] = parts[0].data[ETH_HLEN + 40];
	for (size_t i = 0; i < n; i++) {
		const uint8_t *from = parts[i].data + ETH_HLEN + header + (v6 ? 8 : 0);
		size_t bytes = parts[i].len - ETH_HLEN - header - (v6 ? 8 : 0);
		size_t at = v6 ? get16(parts[i].data + ETH_HLEN + 42) & 0xfff8 : (get16(parts[i].data + ETH_HLEN + 6) & 0x1fff) * 8u;
		memmove(ip + header + at, from, bytes);
		len = MAX(len, at + bytes);
		assert_memory_equal(parts[i].data + ETH_HLEN + (v6 ? 8 : 12), ip + (v6 ? 8 : 12), v6 ? 32 : 8);
		assert_true(sums_right(ip_of(&parts[i])));
	}
	if (v6) {
		set16(ip + 4, (uint32_t)len);
	} else {
		set16(ip + 2, (uint32_t)(header + len));
		set16(ip + 6, 0);
		set16(ip + 10, 0);
		set16(ip + 10, fold(sum16(ip, 20, 0)));
	}
	whole.len = ETH_HLEN + header + len;
	return whole;
}

static struct packet datagram(const char *from, uint16_t sport, const char *to, uint16_t dport)
{
	return make(&(struct make){ .proto = IPPROTO_UDP, .from = from, .sport = sport, .to = to, .dport = dport, .payload = PAYLOAD,
				    .may_fragment = true });
}

/* Sends a datagram of 2000 bytes in parts through a program; what it is when put together again. */
static struct packet through(struct bpf_program *prog, const struct packet *whole, uint32_t id, int verdict)
{
	struct packet parts[MAX_PARTS];
	size_t n = cut(whole, 1000, id, parts);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++) {
		run(&parts[i], prog);
		assert_int_equal(parts[i].verdict, verdict);
	}
	return join(parts, n);
}

static void test_both_ways(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (int remote = 0; remote < 2; remote++) {
			const char *backend = remote ? REMOTE1(v6) : POD1(v6), *seen = remote ? SNAT_POD(v6) : CLIENT(v6);
			uint16_t sport = (uint16_t)(40000 + remote);
			one_backend(backend, 8080, IPPROTO_UDP, remote ? 0 : ABI_BACKEND_LOCAL);
			struct packet whole = datagram(CLIENT(v6), sport, NODE(v6), 30080);
			struct packet p = through(skel->progs.tc_ingress, &whole, 7, remote ? TC_ACT_REDIRECT : TC_ACT_UNSPEC);
			assert_flow(&p, "%s:%u>%s:8080", seen, sport, backend);
			assert_memory_equal(look(ip_of(&p)).l4 + 8, look(ip_of(&whole)).l4 + 8, PAYLOAD);
			whole = datagram(backend, 8080, seen, sport);
			p = through(remote ? skel->progs.tc_tunnel : skel->progs.tc_egress, &whole, 9,
				    remote ? TC_ACT_REDIRECT : TC_ACT_UNSPEC);
			assert_flow(&p, "%s:30080>%s:%u", NODE(v6), CLIENT(v6), sport);
		}
}

static void test_later_ones_first(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct packet parts[MAX_PARTS];
		one_backend(REMOTE1(v6), 8080, IPPROTO_UDP, 0);
		/* To a Service's own address: of use to nobody. */
		struct packet whole = datagram(CLIENT(v6), 40000, VIP(v6), 80);
		uint64_t before = counter(ABI_TC_DROP_FRAGMENT);
		cut(&whole, 1000, 11, parts);
		run(&parts[1], skel->progs.tc_ingress);
		assert_int_equal(parts[1].verdict, TC_ACT_SHOT);
		assert_int_equal(counter(ABI_TC_DROP_FRAGMENT), before + 1);
		/* To the node itself: it may be anything. */
		whole = datagram(CLIENT(v6), 40000, NODE(v6), 30080);
		cut(&whole, 1000, 12, parts);
		struct packet was = parts[1];
		run(&parts[1], skel->progs.tc_ingress);
		assert_untouched(&parts[1], &was);
		/* An answer's. */
		whole = datagram(REMOTE1(v6), 8080, SNAT_POD(v6), 40000);
		cut(&whole, 1000, 13, parts);
		run(&parts[2], skel->progs.tc_tunnel);
		assert_int_equal(parts[2].verdict, TC_ACT_SHOT);
	}
}

/* A first fragment that does not have its whole TCP header does not leave untranslated by the default route. */
static void test_first_without_header(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct packet parts[MAX_PARTS];
		one_backend(REMOTE1(v6), 8080, IPPROTO_TCP, 0);
		struct packet whole = make(&(struct make){ .proto = IPPROTO_TCP, .from = CLIENT(v6), .sport = 40000, .to = VIP(v6), .dport = 80,
							   .flags = SYN, .may_fragment = true });
		assert_true(cut(&whole, 8, 17, parts) > 1);
		run(&parts[0], skel->progs.tc_ingress);
		assert_int_equal(parts[0].verdict, TC_ACT_SHOT);
	}
}

/* Fragments of others' datagrams pass, first ones and later ones. */
static void test_others(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct packet parts[MAX_PARTS], whole = datagram(CLIENT(v6), 4789, NODE(v6), 4789);
		size_t n = cut(&whole, 1000, 20, parts);
		for (size_t i = 0; i < n; i++) {
			struct packet was = parts[i];
			run(&parts[i], skel->progs.tc_ingress);
			assert_untouched(&parts[i], &was);
			run(&parts[i], skel->progs.tc_egress);
			assert_untouched(&parts[i], &was);
		}
	}
	assert_int_equal(map_count(skel->maps.fragments), 0);
}

/* The length of a fragmented SCTP packet is not known, so a change of its ports cannot be made up for. */
static void test_sctp(void **state)
{
	(void)state;
	for (int same = 0; same < 2; same++) {
		one_backend(POD1(0), same ? 80 : 8080, IPPROTO_SCTP, ABI_BACKEND_LOCAL);
		struct packet parts[MAX_PARTS], whole = make(&(struct make){ .proto = IPPROTO_SCTP, .from = CLIENT(0), .sport = 40000,
									     .to = VIP(0), .dport = 80, .payload = PAYLOAD, .may_fragment = true });
		cut(&whole, 1000, 21, parts);
		run(&parts[0], skel->progs.tc_ingress);
		assert_int_equal(parts[0].verdict, same ? TC_ACT_UNSPEC : TC_ACT_SHOT);
		flush_map(skel->maps.flows);
		flush_map(skel->maps.flow_replies);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_both_ways), TEST(test_later_ones_first),
					    TEST(test_first_without_header), TEST(test_others), TEST(test_sctp) };
	device_sums = true;
	return RUN_PACKET_TESTS(tests);
}
