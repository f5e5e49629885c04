/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ICMP errors about translated packets: whom they reach, what they quote, and that every checksum in them is right. */
#include "proxy/engine/ebpf/packets_test.h"

enum { WHOLE = 4096 };

struct error_kind {
	uint8_t type, code;
};
/* Unreachable port, too big, time exceeded, parameter problem; IPv4's and IPv6's. */
static const struct error_kind kinds[2][4] = { { { 3, 3 }, { 3, 4 }, { 11, 0 }, { 12, 0 } }, { { 1, 4 }, { 2, 0 }, { 3, 0 }, { 4, 1 } } };

/* An error about `about`, quoting at most `quote` bytes of it. */
static struct packet complain(const char *from, const char *to, struct error_kind kind, const struct packet *about, size_t quote)
{
	struct packet p = { 0 };
	bool v6 = strchr(from, ':');
	size_t carried = MIN(about->len - ETH_HLEN, quote);
	struct make m = { .proto = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, .from = from, .to = to };
	size_t header = make_ip(&p, &m, 8 + carried);
	uint8_t *h = p.data + ETH_HLEN + header;
	h[0] = kind.type;
	h[1] = kind.code;
	set32(h + 4, 1400);
	memcpy(h + 8, ip_of(about), carried);
	p.len = ETH_HLEN + header + 8 + carried;
	sums_write(p.data + ETH_HLEN);
	return p;
}

static struct packet sent(uint8_t proto, const char *from, uint16_t sport, const char *to, uint16_t dport)
{
	return make(&(struct make){ .proto = proto, .from = from, .sport = sport, .to = to, .dport = dport, .flags = ACK, .chunk = 2,
				    .payload = 100 });
}

/* Asserts what the error became, and that it quotes what its receiver knows: with all sums right where they are quoted. */
static void assert_error(const struct packet *p, int verdict, const char *outer, const char *quoted, size_t quote)
{
	assert_int_equal(p->verdict, verdict);
	assert_flow(p, "%s", outer);
	struct view v = look(ip_of(p));
	const uint8_t *inner = v.l4 + 8;
	struct view q = look(inner);
	assert_string_equal(flow_of(inner), quoted);
	assert_int_equal(get32(v.l4 + 4), 1400);
	assert_true(ip_sum_right(&q));
	if (quote == WHOLE && q.proto != IPPROTO_SCTP)
		assert_true(sums_right(inner));
	if (q.proto == IPPROTO_UDP && quote != WHOLE && q.l4 + 8 <= v.l4 + v.l4_len) { /* the rest is known: see sent() */
		uint8_t rest[256];
		memcpy(rest, inner, (size_t)(q.l4 - inner) + 8);
		struct packet full = make(&(struct make){ .proto = IPPROTO_UDP, .from = "192.0.2.1", .to = "192.0.2.1", .payload = 100 });
		memcpy(rest + (q.l4 - inner) + 8, ip_of(&full) + 28, 100);
		assert_true(sums_right(rest));
	}
}

static char *text(const char *fmt, ...)
{
	static char buffers[4][200];
	static int at;
	va_list ap;
	at = (at + 1) % 4;
	va_start(ap, fmt);
	vsnprintf(buffers[at], sizeof(buffers[at]), fmt, ap);
	va_end(ap);
	return buffers[at];
}

#define EACH_CASE(v6, proto, k, quote)                                                                       \
	for (int v6 = 0; v6 < 2; v6++)                                                                        \
		for (size_t i_##proto = 0; i_##proto < ARRAY_SIZE(protocols); i_##proto++)                     \
			for (size_t k = 0; k < 8; k++)                                                          \
				for (uint8_t proto = protocols[i_##proto], once = 1; once; once = 0)             \
					for (size_t quote = k < 4 ? WHOLE : (v6 ? 40 : 20) + 8; quote; quote = 0)

/* A backend of this node: complaints from outside about its answers, and its own about what came. fast: past the stack, which
 * is for TCP only. */
static void local(bool fast)
{
	EACH_CASE(v6, proto, k, quote)
	{
		bool past = fast && proto == IPPROTO_TCP;
		struct bpf_program *back = past ? skel->progs.tc_pods : skel->progs.tc_egress;
		int verdict = past ? TC_ACT_REDIRECT : TC_ACT_UNSPEC;

		one_backend(POD1(v6), 8080, proto, ABI_BACKEND_LOCAL);
		open_flow(skel->progs.tc_ingress, v6, proto, 40000, NODE(v6), 30080);
		struct packet about = sent(proto, NODE(v6), 30080, CLIENT(v6), 40000);
		struct packet e = complain(ROUTER(v6), NODE(v6), kinds[v6][k % 4], &about, quote);
		run(&e, skel->progs.tc_ingress);
		assert_error(&e, verdict, text("%s>%s", ROUTER(v6), POD1(v6)), text("%s:8080>%s:40000", POD1(v6), CLIENT(v6)), quote);
		about = sent(proto, CLIENT(v6), 40000, POD1(v6), 8080);
		e = complain(POD1(v6), CLIENT(v6), kinds[v6][k % 4], &about, quote);
		run(&e, back);
		assert_error(&e, verdict, text("%s>%s", NODE(v6), CLIENT(v6)), text("%s:40000>%s:30080", CLIENT(v6), NODE(v6)), quote);
		/* A router on the way to it keeps its name. */
		e = complain(ROUTER(v6), CLIENT(v6), kinds[v6][k % 4], &about, quote);
		run(&e, back);
		assert_error(&e, verdict, text("%s>%s", ROUTER(v6), CLIENT(v6)), text("%s:40000>%s:30080", CLIENT(v6), NODE(v6)), quote);
	}
}

static void test_local(void **state)
{
	(void)state;
	local(false);
}

static void test_local_fast(void **state)
{
	(void)state;
	struct abi_config c = config_default();
	c.flags = ABI_CONFIG_FAST_PATH;
	c.pods_ifindex = kl0;
	put_config(&c);
	local(true);
}

/* A backend of another node: complaints from outside, its own, and those of routers in between. */
static void test_remote(void **state)
{
	(void)state;
	EACH_CASE(v6, proto, k, quote)
	{
		one_backend(REMOTE1(v6), 8080, proto, 0);
		open_flow(skel->progs.tc_ingress, v6, proto, 40000, VIP(v6), 80);
		struct packet about = sent(proto, VIP(v6), 80, CLIENT(v6), 40000);
		struct packet e = complain(ROUTER(v6), VIP(v6), kinds[v6][k % 4], &about, quote);
		run(&e, skel->progs.tc_ingress);
		assert_error(&e, TC_ACT_REDIRECT, text("%s>%s", SNAT_POD(v6), REMOTE1(v6)),
			     text("%s:8080>%s:40000", REMOTE1(v6), SNAT_POD(v6)), quote);
		for (int router = 0; router < 2; router++) {
			about = sent(proto, SNAT_POD(v6), 40000, REMOTE1(v6), 8080);
			e = complain(router ? HOST_REMOTE(v6) : REMOTE1(v6), SNAT_POD(v6), kinds[v6][k % 4], &about, quote);
			run(&e, router ? skel->progs.tc_ingress : skel->progs.tc_tunnel);
			assert_error(&e, TC_ACT_REDIRECT, text("%s>%s", VIP(v6), CLIENT(v6)), text("%s:40000>%s:80", CLIENT(v6), VIP(v6)),
				     quote);
		}
	}
}

/* Others' errors, what is no error, and errors about errors pass untouched. */
static void test_left_alone(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		one_backend(POD1(v6), 8080, IPPROTO_TCP, ABI_BACKEND_LOCAL);
		open_flow(skel->progs.tc_ingress, v6, IPPROTO_TCP, 40000, NODE(v6), 30080);
		struct packet about = sent(IPPROTO_TCP, NODE(v6), 30080, CLIENT(v6), 40001);
		struct packet ours = sent(IPPROTO_TCP, NODE(v6), 30080, CLIENT(v6), 40000);
		struct packet nested = complain(ROUTER(v6), NODE(v6), kinds[v6][0], &ours, WHOLE);
		struct packet rows[] = {
			complain(ROUTER(v6), NODE(v6), kinds[v6][0], &about, WHOLE),
			complain(ROUTER(v6), NODE(v6), (struct error_kind){ v6 ? 128 : 8, 0 }, &ours, WHOLE), /* echo */
			complain(ROUTER(v6), NODE(v6), (struct error_kind){ 5, 1 }, &ours, WHOLE),            /* redirect */
			complain(ROUTER(v6), NODE(v6), kinds[v6][0], &nested, WHOLE),
			complain(ROUTER(v6), NODE(v6), kinds[v6][0], &ours, v6 ? 41 : 21), /* no ports */
			complain(ROUTER(v6), NODE(v6), kinds[v6][0], &ours, 12),           /* no header */
			complain(ROUTER(v6), ROUTER(v6), kinds[v6][0], &ours, WHOLE),      /* about somebody else's packet */
		};
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct packet p = rows[i];
			run(&p, skel->progs.tc_ingress);
			assert_untouched(&p, &rows[i]);
			run(&p, skel->progs.tc_egress);
			assert_untouched(&p, &rows[i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_local), TEST(test_local_fast), TEST(test_remote), TEST(test_left_alone) };
	device_sums = true;
	return RUN_PACKET_TESTS(tests);
}
