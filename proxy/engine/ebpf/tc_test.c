/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tc programs, the real bytecode, through BPF_PROG_TEST_RUN: packets in, verdict and bytes out. The maps are filled
 * by hand as bpf/shared/abi.h says. Needs root.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/mem.h"
#include "bpf/proxy.skel.h"
#include "bpf/shared/abi.h"

static const char NODE[] = "192.0.2.10", CLIENT[] = "192.0.2.20", POD1[] = "10.244.0.11", POD2[] = "10.244.0.12";
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16, SET = 1, EMPTY_SET = 2, DROP_SET = 3 };

static struct proxy_bpf *skel;

static void mapped(uint32_t out[4], const char *ip)
{
	out[0] = out[1] = 0;
	out[2] = htonl(0xffff);
	assert_int_equal(inet_pton(AF_INET, ip, &out[3]), 1);
}

static void put(struct bpf_map *m, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(m), key, value, BPF_ANY), 0);
}

static void put_backend(uint32_t id, const char *ip, uint16_t port, uint8_t proto, uint32_t set_id, uint32_t generation)
{
	struct abi_backend b = { .port = htons(port), .proto = proto, .flags = ABI_BACKEND_NEW, .set_id = set_id,
				 .generation = generation };
	mapped(b.addr, ip);
	put(skel->maps.backends, &id, &b);
}

/* Set SET gets one slot per backend id, at slots base... */
static void put_set(uint32_t set_id, uint32_t base, uint32_t count, const uint64_t *words, uint8_t flags)
{
	uint64_t word = ABI_SET_WORD(base, count, flags);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = base + i;
		put(skel->maps.slots, &at, &words[i]);
	}
	put(skel->maps.sets, &set_id, &word);
}

static void put_node_port(uint16_t port, uint8_t proto, uint32_t set_id, uint32_t affinity_s)
{
	struct abi_frontend_key k = { .port = htons(port), .proto = proto, .scope = ABI_SCOPE_NODE_PORT };
	struct abi_frontend f = { .set_id = EMPTY_SET, .outside_set_id = set_id, .affinity_s = affinity_s,
				  .check_port = k.port, .check_proto = proto, .flags = ABI_FRONTEND_EXTERNAL };
	k.addr[2] = htonl(0xffff);
	put(skel->maps.frontends, &k, &f);
}

static void flush_map(struct bpf_map *m)
{
	_cleanup_free_ char *key = mem_zalloc(bpf_map__key_size(m));
	while (bpf_map_get_next_key(bpf_map__fd(m), NULL, key) == 0)
		bpf_map_delete_elem(bpf_map__fd(m), key);
}

static int setup(void **state)
{
	(void)state;
	struct abi_config c = { .node_port_min = 30000, .node_port_max = 32767 };
	struct abi_node_addr_key n;
	uint32_t zero = 0, one = 1;
	flush_map(skel->maps.flows);
	flush_map(skel->maps.flow_replies);
	flush_map(skel->maps.affinity);
	put(skel->maps.config, &zero, &c);
	mapped(n.addr, NODE);
	put(skel->maps.node_addrs, &n, &one);
	put_backend(1, POD1, 8080, IPPROTO_TCP, SET, 7);
	put_backend(2, POD2, 9090, IPPROTO_TCP, SET, 8);
	put_set(SET, 0, 2, (uint64_t[]){ ABI_SLOT_WORD(1, 7), ABI_SLOT_WORD(2, 8) }, 0);
	put_set(EMPTY_SET, 0, 0, NULL, 0);
	put_set(DROP_SET, 0, 0, NULL, ABI_SET_DROP);
	put_node_port(30080, IPPROTO_TCP, SET, 0);
	put_node_port(30081, IPPROTO_TCP, SET, 0);
	put_node_port(30080, IPPROTO_UDP, SET, 0);
	put_node_port(30082, IPPROTO_TCP, EMPTY_SET, 0);
	put_node_port(30083, IPPROTO_TCP, DROP_SET, 0);
	put_node_port(30084, IPPROTO_TCP, SET, 60);
	return 0;
}

struct packet {
	_Alignas(8) uint8_t pad[2]; /* so that the IP header is aligned */
	uint8_t data[2046];
	size_t len;
	int verdict;
};

static uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return len % 2 ? sum + ((uint32_t)p[len - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static struct iphdr *ip_of(struct packet *p)
{
	return (struct iphdr *)(p->data + ETH_HLEN);
}

static uint8_t *l4_of(struct packet *p)
{
	return p->data + ETH_HLEN + ip_of(p)->ihl * 4;
}

/* 0 when the sum over pseudo header and segment is right. */
static uint16_t l4_sum(struct packet *p)
{
	struct iphdr *ip = ip_of(p);
	size_t len = p->len - ETH_HLEN - ip->ihl * 4u;
	return fold(sum16(l4_of(p), len, sum16((uint8_t *)&ip->saddr, 8, (uint32_t)(ip->protocol + len))));
}

static struct packet make(uint8_t proto, const char *from, uint16_t sport, const char *to, uint16_t dport, uint8_t flags,
			  unsigned options)
{
	struct packet p = { 0 };
	size_t ihl = 20 + options, l4 = proto == IPPROTO_TCP ? 20 : 8, payload = 11;
	p.data[12] = 8; /* ETH_P_IP */
	p.len = ETH_HLEN + ihl + l4 + payload;
	struct iphdr *ip = ip_of(&p);
	ip->version = 4;
	ip->ihl = ihl / 4;
	ip->ttl = 64;
	ip->protocol = proto;
	ip->tot_len = htons((uint16_t)(p.len - ETH_HLEN));
	inet_pton(AF_INET, from, &ip->saddr);
	inet_pton(AF_INET, to, &ip->daddr);
	memset(p.data + ETH_HLEN + 20, 1, options); /* NOP */
	ip->check = htons(fold(sum16((uint8_t *)ip, ihl, 0)));
	uint8_t *h = l4_of(&p);
	*(uint16_t *)h = htons(sport);
	*(uint16_t *)(h + 2) = htons(dport);
	memcpy(h + l4, "hello world", payload);
	uint16_t *check;
	if (proto == IPPROTO_TCP) {
		h[12] = 5 << 4;
		h[13] = flags;
		check = &((struct tcphdr *)h)->check;
	} else {
		*(uint16_t *)(h + 4) = htons((uint16_t)(l4 + payload));
		check = &((struct udphdr *)h)->check;
	}
	*check = htons(l4_sum(&p));
	return p;
}

static void run(struct packet *p, struct bpf_program *prog)
{
	uint8_t out[2046];
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->data, .data_size_in = (uint32_t)p->len, .data_out = out,
			    .data_size_out = sizeof(out));
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &o), 0);
	memcpy(p->data, out, o.data_size_out);
	p->len = o.data_size_out;
	p->verdict = (int)o.retval;
}

static struct packet in(uint8_t proto, uint16_t sport, uint16_t dport, uint8_t flags)
{
	struct packet p = make(proto, CLIENT, sport, NODE, dport, flags, 0);
	run(&p, skel->progs.tc_ingress);
	return p;
}

static struct packet out(uint8_t proto, const char *from, uint16_t sport, uint16_t dport, uint8_t flags)
{
	struct packet p = make(proto, from, sport, CLIENT, dport, flags, 0);
	run(&p, skel->progs.tc_egress);
	return p;
}

static const char *dst(struct packet *p)
{
	static char text[64];
	char ip[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &ip_of(p)->daddr, ip, sizeof(ip));
	snprintf(text, sizeof(text), "%s:%u", ip, ntohs(*(uint16_t *)(l4_of(p) + 2)));
	return text;
}

static const char *src(struct packet *p)
{
	static char text[64];
	char ip[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &ip_of(p)->saddr, ip, sizeof(ip));
	snprintf(text, sizeof(text), "%s:%u", ip, ntohs(*(uint16_t *)l4_of(p)));
	return text;
}

static void check_sums(struct packet *p)
{
	assert_int_equal(fold(sum16((uint8_t *)ip_of(p), ip_of(p)->ihl * 4u, 0)), 0);
	assert_int_equal(l4_sum(p), 0);
}

static uint64_t counter(uint32_t reason)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *v = mem_new_n(uint64_t, (size_t)cpus);
	uint64_t sum = 0;
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.counters), &reason, v), 0);
	for (int i = 0; i < cpus; i++)
		sum += v[i];
	return sum;
}

static bool is_pod(const char *text, const char **ret_ip, uint16_t *ret_port)
{
	if (strcmp(text, "10.244.0.11:8080") == 0) {
		*ret_ip = POD1;
		*ret_port = 8080;
		return true;
	}
	*ret_ip = POD2;
	*ret_port = 9090;
	return strcmp(text, "10.244.0.12:9090") == 0;
}

static void test_there_and_back(void **state)
{
	(void)state;
	const char *ip;
	uint16_t port;
	struct packet p = in(IPPROTO_TCP, 40000, 30080, SYN);
	assert_int_equal(p.verdict, TC_ACT_UNSPEC);
	assert_true(is_pod(dst(&p), &ip, &port));
	assert_string_equal(src(&p), "192.0.2.20:40000");
	check_sums(&p);
	struct packet r = out(IPPROTO_TCP, ip, port, 40000, SYN | ACK);
	assert_int_equal(r.verdict, TC_ACT_UNSPEC);
	assert_string_equal(src(&r), "192.0.2.10:30080");
	check_sums(&r);
	/* The flow keeps its backend, also when the Service has lost it. */
	char first[64];
	snprintf(first, sizeof(first), "%s", dst(&p));
	put_set(SET, 0, 0, NULL, 0);
	put_backend(1, POD1, 8080, IPPROTO_TCP, SET, 0);
	put_backend(2, POD2, 9090, IPPROTO_TCP, SET, 0);
	p = in(IPPROTO_TCP, 40000, 30080, ACK);
	assert_string_equal(dst(&p), first);
	check_sums(&p);
}

static void test_both_backends(void **state)
{
	(void)state;
	unsigned one = 0, two = 0;
	for (uint16_t i = 0; i < 200; i++) {
		struct packet p = in(IPPROTO_TCP, 41000 + i, 30080, SYN);
		const char *d = dst(&p);
		one += strcmp(d, "10.244.0.11:8080") == 0;
		two += strcmp(d, "10.244.0.12:9090") == 0;
	}
	assert_int_equal(one + two, 200);
	assert_true(one > 50 && two > 50);
}

/* The sweeper removes what has ended and only that. */
static void test_ended_flows_are_swept(void **state)
{
	(void)state;
	struct abi_flow_key k, next;
	size_t left = 0;
	for (uint16_t i = 0; i < 1000; i++)
		assert_int_equal(in(IPPROTO_TCP, 20000 + i, 30080, SYN).verdict, TC_ACT_UNSPEC);
	for (uint16_t i = 0; i < 999; i++)
		in(IPPROTO_TCP, 20000 + i, 30080, RST);
	for (int waited_ms = 0; waited_ms < 20000; waited_ms += 100) {
		usleep(100000);
		left = 0;
		for (void *at = NULL; bpf_map_get_next_key(bpf_map__fd(skel->maps.flows), at, &next) == 0; at = &k, left++)
			k = next;
		if (left == 1)
			break;
	}
	assert_int_equal(left, 1);
	assert_int_equal(ntohs(k.client_port), 20999);
	left = 0;
	for (void *at = NULL; bpf_map_get_next_key(bpf_map__fd(skel->maps.flow_replies), at, &next) == 0; at = &k, left++)
		k = next;
	assert_int_equal(left, 1);
}

static void test_affinity(void **state)
{
	(void)state;
	struct packet p = in(IPPROTO_TCP, 42000, 30084, SYN);
	char first[64];
	snprintf(first, sizeof(first), "%s", dst(&p));
	for (uint16_t i = 1; i < 40; i++) {
		p = in(IPPROTO_TCP, 42000 + i, 30084, SYN);
		assert_string_equal(dst(&p), first);
	}
}

static void test_left_alone(void **state)
{
	(void)state;
	static const struct {
		uint8_t proto, flags;
		uint16_t port;
	} rows[] = {
		{ IPPROTO_TCP, ACK, 30080 }, /* mid-flight without a flow */
		{ IPPROTO_TCP, RST, 30080 },
		{ IPPROTO_TCP, SYN, 30082 }, /* no endpoints: the kernel refuses */
		{ IPPROTO_TCP, SYN, 30099 }, /* nobody's */
		{ IPPROTO_TCP, SYN, 80 },
		{ IPPROTO_UDP, 0, 30081 },   /* another protocol's */
	};
	uint64_t before = counter(ABI_TC_REFUSED_NO_ENDPOINTS);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct packet was = make(rows[i].proto, CLIENT, 43000, NODE, rows[i].port, rows[i].flags, 0);
		struct packet p = in(rows[i].proto, 43000, rows[i].port, rows[i].flags);
		assert_int_equal(p.verdict, TC_ACT_UNSPEC);
		assert_memory_equal(p.data, was.data, was.len);
	}
	assert_int_equal(counter(ABI_TC_REFUSED_NO_ENDPOINTS), before + 1);
	/* A later fragment, and an address that is not the node's. */
	struct packet p = make(IPPROTO_TCP, CLIENT, 43000, NODE, 30080, SYN, 0);
	ip_of(&p)->frag_off = htons(100);
	struct packet was = p;
	run(&p, skel->progs.tc_ingress);
	assert_memory_equal(p.data, was.data, was.len);
	p = make(IPPROTO_TCP, CLIENT, 43000, "192.0.2.99", 30080, SYN, 0);
	run(&p, skel->progs.tc_ingress);
	assert_string_equal(dst(&p), "192.0.2.99:30080");
}

static void test_local_policy_drops(void **state)
{
	(void)state;
	assert_int_equal(in(IPPROTO_TCP, 44000, 30083, SYN).verdict, TC_ACT_SHOT);
}

static void test_ip_options(void **state)
{
	(void)state;
	const char *ip;
	uint16_t port;
	struct packet p = make(IPPROTO_TCP, CLIENT, 45000, NODE, 30080, SYN, 12);
	run(&p, skel->progs.tc_ingress);
	assert_true(is_pod(dst(&p), &ip, &port));
	check_sums(&p);
}

static void test_truncated(void **state)
{
	(void)state;
	struct packet whole = make(IPPROTO_TCP, CLIENT, 45100, NODE, 30080, SYN, 8);
	/* BPF_PROG_TEST_RUN itself refuses less than an IP header. */
	for (size_t len = ETH_HLEN + 20; len < ETH_HLEN + 28 + 14; len++) {
		struct packet p = whole;
		p.len = len;
		run(&p, skel->progs.tc_ingress);
		assert_memory_equal(p.data, whole.data, len);
	}
}

static void test_udp(void **state)
{
	(void)state;
	const char *ip;
	uint16_t port;
	struct packet p = in(IPPROTO_UDP, 46000, 30080, 0);
	assert_true(is_pod(dst(&p), &ip, &port));
	check_sums(&p);
	struct packet r = out(IPPROTO_UDP, ip, port, 46000, 0);
	assert_string_equal(src(&r), "192.0.2.10:30080");
	check_sums(&r);
	/* Its backend goes: the next datagram is decided anew, and the old answer's way is closed. */
	bool first = ip == POD1;
	put_backend(first ? 1 : 2, ip, port, IPPROTO_UDP, SET, 0);
	put_set(SET, 0, 1, (uint64_t[]){ first ? ABI_SLOT_WORD(2, 8) : ABI_SLOT_WORD(1, 7) }, 0);
	p = in(IPPROTO_UDP, 46000, 30080, 0);
	assert_string_equal(dst(&p), first ? "10.244.0.12:9090" : "10.244.0.11:8080");
	r = out(IPPROTO_UDP, ip, port, 46000, 0);
	assert_string_not_equal(src(&r), "192.0.2.10:30080");
	/* No checksum stays no checksum. */
	p = make(IPPROTO_UDP, CLIENT, 46001, NODE, 30080, 0, 0);
	((struct udphdr *)l4_of(&p))->check = 0;
	run(&p, skel->progs.tc_ingress);
	assert_true(is_pod(dst(&p), &ip, &port));
	assert_int_equal(((struct udphdr *)l4_of(&p))->check, 0);
}

static void test_port_reuse_after_close(void **state)
{
	(void)state;
	const char *ip;
	uint16_t port;
	struct packet p = in(IPPROTO_TCP, 47000, 30080, SYN);
	assert_true(is_pod(dst(&p), &ip, &port));
	out(IPPROTO_TCP, ip, port, 47000, SYN | ACK);
	in(IPPROTO_TCP, 47000, 30080, FIN | ACK);
	out(IPPROTO_TCP, ip, port, 47000, FIN | ACK);
	/* Only the other backend is left: a new SYN must go there, the last ACK of the old life would not. */
	bool first = ip == POD1;
	put_set(SET, 0, 1, (uint64_t[]){ first ? ABI_SLOT_WORD(2, 8) : ABI_SLOT_WORD(1, 7) }, 0);
	p = in(IPPROTO_TCP, 47000, 30080, ACK);
	assert_string_equal(dst(&p), first ? "10.244.0.11:8080" : "10.244.0.12:9090");
	p = in(IPPROTO_TCP, 47000, 30080, SYN);
	assert_string_equal(dst(&p), first ? "10.244.0.12:9090" : "10.244.0.11:8080");
}

/* One client port, two frontends, one backend: the answers could not be told apart. */
static void test_collision(void **state)
{
	(void)state;
	put_set(SET, 0, 1, (uint64_t[]){ ABI_SLOT_WORD(1, 7) }, 0);
	struct packet p = in(IPPROTO_TCP, 48000, 30080, SYN);
	assert_string_equal(dst(&p), "10.244.0.11:8080");
	uint64_t before = counter(ABI_TC_DROP_FLOW_COLLISION);
	p = in(IPPROTO_TCP, 48000, 30081, SYN);
	assert_int_equal(p.verdict, TC_ACT_SHOT);
	assert_int_equal(counter(ABI_TC_DROP_FLOW_COLLISION), before + 1);
	/* When the first has ended the second may have it. */
	in(IPPROTO_TCP, 48000, 30080, RST);
	p = in(IPPROTO_TCP, 48000, 30081, SYN);
	assert_string_equal(dst(&p), "10.244.0.11:8080");
	struct packet r = out(IPPROTO_TCP, POD1, 8080, 48000, SYN | ACK);
	assert_string_equal(src(&r), "192.0.2.10:30081");
}

/* An ICMP error carrying the beginning of an inner packet. */
static struct packet icmp(const char *from, const char *to, struct packet *inner)
{
	struct packet p = { 0 };
	size_t carried = MIN(inner->len - ETH_HLEN, (size_t)28);
	p.data[12] = 8;
	p.len = ETH_HLEN + 20 + 8 + carried;
	struct iphdr *ip = ip_of(&p);
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = IPPROTO_ICMP;
	ip->tot_len = htons((uint16_t)(p.len - ETH_HLEN));
	inet_pton(AF_INET, from, &ip->saddr);
	inet_pton(AF_INET, to, &ip->daddr);
	ip->check = htons(fold(sum16((uint8_t *)ip, 20, 0)));
	struct icmphdr *h = (struct icmphdr *)l4_of(&p);
	h->type = ICMP_DEST_UNREACH;
	h->code = ICMP_FRAG_NEEDED;
	h->un.frag.mtu = htons(1400);
	memcpy(h + 1, inner->data + ETH_HLEN, carried);
	h->checksum = htons(fold(sum16((uint8_t *)h, 8 + carried, 0)));
	return p;
}

static void check_icmp(struct packet *p)
{
	assert_int_equal(fold(sum16((uint8_t *)ip_of(p), 20, 0)), 0);
	assert_int_equal(fold(sum16(l4_of(p), p->len - ETH_HLEN - 20, 0)), 0);
	assert_int_equal(fold(sum16(l4_of(p) + 8, 20, 0)), 0); /* the inner header */
}

static void test_icmp_errors(void **state)
{
	(void)state;
	put_set(SET, 0, 1, (uint64_t[]){ ABI_SLOT_WORD(1, 7) }, 0);
	in(IPPROTO_TCP, 49000, 30080, SYN);
	/* A router on the way says that our answer, as it left, is too big: the backend must hear it. */
	struct packet sent = make(IPPROTO_TCP, NODE, 30080, CLIENT, 49000, ACK, 0);
	struct packet e = icmp("198.51.100.1", NODE, &sent);
	run(&e, skel->progs.tc_ingress);
	assert_int_equal(e.verdict, TC_ACT_UNSPEC);
	char text[INET_ADDRSTRLEN];
	assert_string_equal(inet_ntop(AF_INET, &ip_of(&e)->daddr, text, sizeof(text)), POD1);
	struct iphdr *inner = (struct iphdr *)(l4_of(&e) + 8);
	assert_string_equal(inet_ntop(AF_INET, &inner->saddr, text, sizeof(text)), POD1);
	assert_int_equal(ntohs(*(uint16_t *)(inner + 1)), 8080);
	check_icmp(&e);
	/* The backend complains about what the client sent: the client must know it. */
	struct packet got = make(IPPROTO_TCP, CLIENT, 49000, POD1, 8080, ACK, 0);
	e = icmp(POD1, CLIENT, &got);
	run(&e, skel->progs.tc_egress);
	assert_string_equal(inet_ntop(AF_INET, &ip_of(&e)->saddr, text, sizeof(text)), NODE);
	inner = (struct iphdr *)(l4_of(&e) + 8);
	assert_string_equal(inet_ntop(AF_INET, &inner->daddr, text, sizeof(text)), NODE);
	assert_int_equal(ntohs(((uint16_t *)(inner + 1))[1]), 30080);
	check_icmp(&e);
	/* Others' errors pass untouched. */
	sent = make(IPPROTO_TCP, NODE, 30080, CLIENT, 49999, ACK, 0);
	e = icmp("198.51.100.1", NODE, &sent);
	struct packet was = e;
	run(&e, skel->progs.tc_ingress);
	assert_memory_equal(e.data, was.data, was.len);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, ap) : 0;
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_there_and_back),
		TEST(test_both_backends),
		TEST(test_ended_flows_are_swept),
		TEST(test_affinity),
		TEST(test_left_alone),
		TEST(test_local_policy_drops),
		TEST(test_ip_options),
		TEST(test_truncated),
		TEST(test_udp),
		TEST(test_port_reuse_after_close),
		TEST(test_collision),
		TEST(test_icmp_errors),
	};
	libbpf_set_print(quiet);
	skel = proxy_bpf__open_and_load();
	if (!skel) {
		perror("loading the programs (root is needed)");
		return 1;
	}
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	proxy_bpf__destroy(skel);
	return r;
}
