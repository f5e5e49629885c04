/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the tests of the tc programs: packets of both families made and checked byte by byte, the real bytecode run on them by
 * BPF_PROG_TEST_RUN, the maps filled by hand as bpf/shared/abi.h says. Everything happens in a network namespace of the test's
 * own, with a node's links and routes. Needs root.
 */
#ifndef KEELSON_PROXY_ENGINE_EBPF_PACKETS_TEST_H
#define KEELSON_PROXY_ENGINE_EBPF_PACKETS_TEST_H

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/mem.h"
#include "bpf/proxy.skel.h"
#include "bpf/shared/abi.h"

/* The node, its link eth0 and its peers; index 0 IPv4, 1 IPv6. */
#define NODE(v6) ((v6) ? "2001:db8:2::10" : "192.0.2.10")
#define CLIENT(v6) ((v6) ? "2001:db8:9::20" : "198.51.100.20")
#define VIP(v6) ((v6) ? "2001:db8:ff::1" : "203.0.113.1")
#define CLUSTER_IP(v6) ((v6) ? "fd00:96::7" : "10.96.0.7")
#define SNAT_POD(v6) ((v6) ? "fd00:244:1::" : "10.244.1.0")
#define POD1(v6) ((v6) ? "fd00:244:1::11" : "10.244.1.11")    /* of this node */
#define POD2(v6) ((v6) ? "fd00:244:1::12" : "10.244.1.12")
#define REMOTE1(v6) ((v6) ? "fd00:244:2::11" : "10.244.2.11") /* of another, over eth0 */
#define REMOTE2(v6) ((v6) ? "fd00:244:2::12" : "10.244.2.12")
#define TUNNELLED(v6) ((v6) ? "fd00:244:3::11" : "10.244.3.11") /* over a link with a smaller MTU */
#define ROUTER(v6) ((v6) ? "2001:db8:5::1" : "198.51.100.1")
#define HOST_REMOTE(v6) ((v6) ? "2001:db8:2::11" : "192.0.2.11") /* another node itself */

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum { SET = 1, EMPTY_SET = 2, DROP_SET = 3 };
enum { IPPROTO_NONE_OF_OURS = 89 };

static struct proxy_bpf *skel;
static unsigned eth0, kl0, klvx;

static inline void mapped(uint32_t out[4], const char *ip)
{
	out[0] = out[1] = 0;
	out[2] = htonl(0xffff);
	if (inet_pton(AF_INET, ip, &out[3]) != 1)
		assert_int_equal(inet_pton(AF_INET6, ip, out), 1);
}

static inline void put(struct bpf_map *m, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(m), key, value, BPF_ANY), 0);
}

/* generation 0: the backend is gone. */
static inline void put_backend(uint32_t id, const char *ip, uint16_t port, uint8_t proto, uint8_t flags, uint32_t generation)
{
	struct abi_backend b = { .port = htons(port), .proto = proto, .flags = ABI_BACKEND_NEW | flags, .set_id = SET,
				 .generation = generation };
	mapped(b.addr, ip);
	put(skel->maps.backends, &id, &b);
}

/* The set's slots are `ids`, all of generation 7. */
static inline void put_set_of(uint32_t set_id, uint32_t count, const uint32_t *ids, uint8_t flags)
{
	uint64_t word = ABI_SET_WORD(set_id * 16, count, flags);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = set_id * 16 + i;
		uint64_t slot = ABI_SLOT_WORD(ids[i], 7);
		put(skel->maps.slots, &at, &slot);
	}
	put(skel->maps.sets, &set_id, &word);
}
#define put_set(set_id, flags, ...) \
	put_set_of(set_id, sizeof((uint32_t[]){ 0, ##__VA_ARGS__ }) / 4 - 1, (uint32_t[]){ 0, ##__VA_ARGS__ } + 1, flags)

/* addr NULL: a NodePort of both families; port 0: OWNED. */
static inline void put_frontend(const char *addr, uint16_t port, uint8_t proto, uint32_t set_id, struct abi_frontend f)
{
	struct abi_frontend_key k = { .port = htons(port), .proto = proto, .scope = ABI_SCOPE_OWNED };
	if (port)
		k.scope = addr ? ABI_SCOPE_ADDRESS : ABI_SCOPE_NODE_PORT;
	f.set_id = f.set_id ? f.set_id : set_id;
	f.outside_set_id = set_id;
	f.check_port = k.port;
	f.check_proto = proto;
	f.flags |= port ? ABI_FRONTEND_EXTERNAL : 0;
	if (!addr) {
		put(skel->maps.frontends, &k, &f);
		k.addr[2] = htonl(0xffff);
	} else {
		mapped(k.addr, addr);
		f.check_addr = k.addr[3];
	}
	put(skel->maps.frontends, &k, &f);
}

static inline void flush_map(struct bpf_map *m)
{
	_cleanup_free_ char *key = mem_zalloc(bpf_map__key_size(m));
	while (bpf_map_get_next_key(bpf_map__fd(m), NULL, key) == 0)
		bpf_map_delete_elem(bpf_map__fd(m), key);
}

static inline size_t map_count(struct bpf_map *m)
{
	char key[64], next[64];
	size_t n = 0;
	for (void *at = NULL; bpf_map_get_next_key(bpf_map__fd(m), at, next) == 0; at = key, n++)
		memcpy(key, next, sizeof(key));
	return n;
}

static inline uint64_t counter(uint32_t reason)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *v = mem_new_n(uint64_t, (size_t)cpus);
	uint64_t sum = 0;
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.counters), &reason, v), 0);
	for (int i = 0; i < cpus; i++)
		sum += v[i];
	return sum;
}

static inline void put_range(uint32_t net[4], uint32_t mask[4], const char *ip, unsigned bits)
{
	mapped(net, ip);
	bits += strchr(ip, ':') ? 0 : 96;
	for (unsigned i = 0; i < 4; i++)
		mask[i] = bits >= (i + 1) * 32 ? 0xffffffff : bits <= i * 32 ? 0 : htonl(0xffffffffu << (32 - (bits - i * 32)));
}

static inline struct abi_config config_default(void)
{
	struct abi_config c = { .node_port_min = 30000, .node_port_max = 32767, .snat_pod_min = 1024, .snat_pod_max = 65535,
				.snat_node_min = 61000, .snat_node_max = 65535 };
	put_range(c.service_net[0], c.service_mask[0], "10.96.0.0", 12);
	put_range(c.service_net[1], c.service_mask[1], "fd00:96::", 108);
	put_range(c.pod_net[0], c.pod_mask[0], "10.244.0.0", 16);
	put_range(c.pod_net[1], c.pod_mask[1], "fd00:244::", 32);
	for (int v6 = 0; v6 < 2; v6++) {
		mapped(c.snat_pod[v6], SNAT_POD(v6));
		mapped(c.snat_node[v6], NODE(v6));
	}
	return c;
}

static inline void put_config(const struct abi_config *c)
{
	uint32_t zero = 0;
	put(skel->maps.config, &zero, c);
}

static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

/* Frontends: NodePort 30080 and VIP:80 lead to SET, 30082 and 82 to one without endpoints, 30083 and 83 to one that drops. */
static inline int setup(void **state)
{
	(void)state;
	struct abi_config c = config_default();
	uint32_t one = 1;
	struct bpf_map *fresh[] = { skel->maps.flows, skel->maps.flow_replies, skel->maps.affinity, skel->maps.frontends,
				    skel->maps.fragments, skel->maps.ranges };
	for (size_t i = 0; i < ARRAY_SIZE(fresh); i++)
		flush_map(fresh[i]);
	put_config(&c);
	put_set(EMPTY_SET, 0);
	put_set(DROP_SET, ABI_SET_DROP);
	for (int v6 = 0; v6 < 2; v6++) {
		struct abi_node_addr_key n;
		mapped(n.addr, NODE(v6));
		put(skel->maps.node_addrs, &n, &one);
		for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
			put_frontend(VIP(v6), 80, protocols[i], SET, (struct abi_frontend){ 0 });
			put_frontend(VIP(v6), 82, protocols[i], EMPTY_SET, (struct abi_frontend){ 0 });
			put_frontend(VIP(v6), 83, protocols[i], DROP_SET, (struct abi_frontend){ 0 });
			put_frontend(CLUSTER_IP(v6), 80, protocols[i], SET, (struct abi_frontend){ 0 });
		}
		put_frontend(VIP(v6), 0, 0, SET, (struct abi_frontend){ 0 });
		put_frontend(CLUSTER_IP(v6), 0, 0, SET, (struct abi_frontend){ 0 });
	}
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		put_frontend(NULL, 30080, protocols[i], SET, (struct abi_frontend){ 0 });
		put_frontend(NULL, 30081, protocols[i], SET, (struct abi_frontend){ 0 });
		put_frontend(NULL, 30082, protocols[i], EMPTY_SET, (struct abi_frontend){ 0 });
		put_frontend(NULL, 30083, protocols[i], DROP_SET, (struct abi_frontend){ 0 });
		put_frontend(NULL, 30084, protocols[i], SET, (struct abi_frontend){ .affinity_s = 60 });
	}
	return 0;
}

struct packet {
	_Alignas(8) uint8_t pad[2]; /* so that the IP header is aligned */
	uint8_t data[4094];
	size_t len;
	int verdict;
};

static inline uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return len % 2 ? sum + ((uint32_t)p[len - 1] << 8) : sum;
}

static inline uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static inline uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;
	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (0x82f63b78 & -(crc & 1));
	}
	return ~crc;
}

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void set16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void set32(uint8_t *p, uint32_t v)
{
	set16(p, v >> 16);
	set16(p + 2, v);
}

/* What is in an IP packet, found by a parser of the tests' own. */
struct view {
	const uint8_t *ip, *saddr, *daddr, *l4;
	bool v6, later, fragment;
	uint8_t proto;
	size_t addr_bytes, l4_len; /* l4_len: by the IP header */
};

static inline struct view look(const uint8_t *ip)
{
	struct view v = { .ip = ip, .v6 = ip[0] >> 4 == 6 };
	if (!v.v6) {
		size_t header = (ip[0] & 15) * 4u;
		v.saddr = ip + 12;
		v.daddr = ip + 16;
		v.addr_bytes = 4;
		v.proto = ip[9];
		v.l4 = ip + header;
		v.l4_len = get16(ip + 2) - header;
		v.later = get16(ip + 6) & 0x1fff;
		v.fragment = get16(ip + 6) & 0x3fff;
		return v;
	}
	v.saddr = ip + 8;
	v.daddr = ip + 24;
	v.addr_bytes = 16;
	v.proto = ip[6];
	v.l4 = ip + 40;
	while (v.proto == 0 || v.proto == 43 || v.proto == 44 || v.proto == 60) {
		size_t bytes = v.proto == 44 ? 8 : 8 + v.l4[1] * 8u;
		if (v.proto == 44) {
			v.fragment = true;
			v.later = get16(v.l4 + 2) & 0xfff8;
		}
		v.proto = v.l4[0];
		v.l4 += bytes;
		if (v.later)
			break;
	}
	v.l4_len = 40u + get16(ip + 4) - (size_t)(v.l4 - ip);
	return v;
}

static inline uint32_t pseudo_sum(const struct view *v)
{
	return sum16(v->saddr, v->addr_bytes, sum16(v->daddr, v->addr_bytes, (uint32_t)(v->l4_len + v->proto)));
}

static inline uint8_t *check_field(const struct view *v)
{
	uint8_t *l4 = (uint8_t *)v->l4;
	return v->proto == IPPROTO_TCP ? l4 + 16 : v->proto == IPPROTO_UDP ? l4 + 6 : v->proto == IPPROTO_SCTP ? l4 + 8 : l4 + 2;
}

static inline bool ip_sum_right(const struct view *v)
{
	return v->v6 || fold(sum16(v->ip, (v->ip[0] & 15) * 4u, 0)) == 0;
}

/* Are all checksums of the packet right? Those of fragments cannot be told. */
static inline bool sums_right(const uint8_t *ip)
{
	struct view v = look(ip);
	if (!ip_sum_right(&v))
		return false;
	if (v.fragment)
		return true;
	switch (v.proto) {
	case IPPROTO_UDP:
		if (get16(v.l4 + 6) == 0)
			return !v.v6;
		/* fall through */
	case IPPROTO_TCP:
	case IPPROTO_ICMPV6:
		return fold(sum16(v.l4, v.l4_len, pseudo_sum(&v))) == 0;
	case IPPROTO_ICMP:
		return fold(sum16(v.l4, v.l4_len, 0)) == 0;
	case IPPROTO_SCTP: {
		uint8_t copy[4096];
		memcpy(copy, v.l4, v.l4_len);
		memset(copy + 8, 0, 4);
		uint32_t crc = crc32c(copy, v.l4_len);
		return v.l4[8] == (uint8_t)crc && v.l4[9] == (uint8_t)(crc >> 8) && v.l4[10] == (uint8_t)(crc >> 16) &&
		       v.l4[11] == (uint8_t)(crc >> 24);
	}
	default:
		return true;
	}
}

/* Puts every checksum of the packet right. */
static inline void sums_write(uint8_t *ip)
{
	struct view v = look(ip);
	if (!v.v6) {
		set16(ip + 10, 0);
		set16(ip + 10, fold(sum16(ip, (ip[0] & 15) * 4u, 0)));
	}
	if (v.later)
		return;
	uint8_t *at = check_field(&v);
	if (v.proto == IPPROTO_SCTP) {
		memset(at, 0, 4);
		uint32_t crc = crc32c(v.l4, v.l4_len);
		for (int i = 0; i < 4; i++)
			at[i] = (uint8_t)(crc >> i * 8);
		return;
	}
	set16(at, 0);
	uint16_t sum = fold(sum16(v.l4, v.l4_len, v.proto == IPPROTO_ICMP ? 0 : pseudo_sum(&v)));
	set16(at, sum ? sum : 0xffff);
}

struct make {
	uint8_t proto, flags, chunk; /* flags: TCP's; chunk: SCTP's, INIT when 0 */
	const char *from, *to;
	uint16_t sport, dport;
	size_t payload;      /* 11 when 0 */
	uint8_t options;     /* bytes of IPv4 options */
	uint8_t extensions;  /* number of IPv6 destination option headers */
	uint32_t seq, ack;
	uint8_t hops;        /* 64 when 0 */
	bool may_fragment;
};

static const uint8_t eth0_mac[6] = { 2, 0, 0, 0, 0, 1 }, peer_mac[6] = { 2, 0, 0, 0, 0, 2 };

static inline size_t make_ip(struct packet *p, const struct make *m, size_t bytes)
{
	uint8_t *ip = p->data + ETH_HLEN;
	memcpy(p->data, eth0_mac, 6);
	memcpy(p->data + 6, peer_mac, 6);
	if (!strchr(m->from, ':')) {
		size_t header = 20u + m->options;
		set16(p->data + 12, ETH_P_IP);
		ip[0] = (uint8_t)(0x40 | header / 4);
		set16(ip + 2, (uint32_t)(header + bytes));
		set16(ip + 6, m->may_fragment ? 0 : 0x4000);
		ip[8] = m->hops ? m->hops : 64;
		ip[9] = m->proto;
		assert_int_equal(inet_pton(AF_INET, m->from, ip + 12), 1);
		assert_int_equal(inet_pton(AF_INET, m->to, ip + 16), 1);
		memset(ip + 20, 1, m->options); /* NOP */
		return header;
	}
	set16(p->data + 12, ETH_P_IPV6);
	ip[0] = 0x60;
	set16(ip + 4, (uint32_t)(bytes + m->extensions * 8u));
	ip[6] = m->extensions ? 60 : m->proto;
	ip[7] = m->hops ? m->hops : 64;
	assert_int_equal(inet_pton(AF_INET6, m->from, ip + 8), 1);
	assert_int_equal(inet_pton(AF_INET6, m->to, ip + 24), 1);
	for (int i = 0; i < m->extensions; i++) {
		uint8_t *h = ip + 40 + i * 8;
		h[0] = i + 1 < m->extensions ? 60 : m->proto;
		h[2] = 1; /* PadN */
		h[3] = 4;
	}
	return 40u + m->extensions * 8u;
}

static inline struct packet make(const struct make *m)
{
	struct packet p = { 0 };
	size_t header = m->proto == IPPROTO_TCP ? 20 : m->proto == IPPROTO_SCTP ? 12 : 8;
	size_t payload = m->payload ? m->payload : 11;
	if (m->proto == IPPROTO_SCTP)
		payload = payload < 4 ? 4 : payload;
	size_t l3 = make_ip(&p, m, header + payload);
	uint8_t *h = p.data + ETH_HLEN + l3;
	p.len = ETH_HLEN + l3 + header + payload;
	assert_true(p.len <= sizeof(p.data));
	set16(h, m->sport);
	set16(h + 2, m->dport);
	for (size_t i = 0; i < payload; i++)
		h[header + i] = (uint8_t)("hello world"[i % 11] + i / 11);
	if (m->proto == IPPROTO_TCP) {
		set32(h + 4, m->seq);
		set32(h + 8, m->ack);
		h[12] = 5 << 4;
		h[13] = m->flags;
	} else if (m->proto == IPPROTO_UDP) {
		set16(h + 4, (uint32_t)(header + payload));
	} else if (m->proto == IPPROTO_SCTP) {
		h[12] = m->chunk ? m->chunk : 1;
	}
	sums_write(p.data + ETH_HLEN);
	return p;
}

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2)
#endif
/* The packets come with the sum of all their bytes, as from a device that adds them up, and the kernel sees afterwards that it
 * still is their sum (Linux 6.17). A packet that becomes another one has no such sum any more: then, with device_sums_may_go,
 * run() leaves nothing but that error. */
static bool device_sums, device_sums_may_go, device_sums_gone;

static inline void run_on(struct packet *p, struct bpf_program *prog, unsigned ifindex)
{
	static uint8_t out[8192];
	static bool without;
	struct __sk_buff ctx = { .ifindex = ifindex };
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->data, .data_size_in = (uint32_t)p->len, .data_out = out,
			    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
			    .flags = device_sums && !without ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0);
	int r = bpf_prog_test_run_opts(bpf_program__fd(prog), &o);
	if (r == -EINVAL && o.flags) { /* an older kernel */
		without = true;
		o.flags = 0;
		r = bpf_prog_test_run_opts(bpf_program__fd(prog), &o);
	}
	device_sums_gone = device_sums_may_go && r == -EBADMSG;
	if (device_sums_gone)
		return;
	assert_int_equal(r, 0);
	assert_true(o.data_size_out <= sizeof(p->data));
	memcpy(p->data, out, o.data_size_out);
	p->len = o.data_size_out;
	p->verdict = (int)o.retval;
}

static inline void run(struct packet *p, struct bpf_program *prog)
{
	run_on(p, prog, prog == skel->progs.tc_pods ? kl0 : prog == skel->progs.tc_tunnel ? klvx : eth0);
}

/* "source:port>destination:port" */
static inline const char *flow_of(const uint8_t *ip)
{
	static char text[2][160];
	static int at;
	char s[INET6_ADDRSTRLEN], d[INET6_ADDRSTRLEN];
	struct view v = look(ip);
	inet_ntop(v.v6 ? AF_INET6 : AF_INET, v.saddr, s, sizeof(s));
	inet_ntop(v.v6 ? AF_INET6 : AF_INET, v.daddr, d, sizeof(d));
	at = !at;
	if (v.later || v.proto == IPPROTO_ICMP || v.proto == IPPROTO_ICMPV6)
		snprintf(text[at], sizeof(text[at]), "%s>%s", s, d);
	else
		snprintf(text[at], sizeof(text[at]), "%s:%u>%s:%u", s, get16(v.l4), d, get16(v.l4 + 2));
	return text[at];
}

static inline const uint8_t *ip_of(const struct packet *p)
{
	return p->data + ETH_HLEN;
}

/* Asserts where the packet goes and that all its checksums are right. */
static inline void assert_flow(const struct packet *p, const char *fmt, ...)
{
	char want[160];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	assert_string_equal(flow_of(ip_of(p)), want);
	assert_true(sums_right(ip_of(p)));
}

static inline void assert_untouched(const struct packet *p, const struct packet *was)
{
	assert_int_equal(p->verdict, TC_ACT_UNSPEC);
	assert_int_equal(p->len, was->len);
	assert_memory_equal(p->data, was->data, was->len);
}

/* One backend with id 1, the set has nothing else. */
static inline void one_backend(const char *ip, uint16_t port, uint8_t proto, uint8_t flags)
{
	put_backend(1, ip, port, proto, flags, 7);
	put_set(SET, 0, 1);
}

/* A client's first packet of a connection to the frontend, through a program. */
static inline struct packet open_flow(struct bpf_program *prog, int v6, uint8_t proto, uint16_t sport, const char *to, uint16_t dport)
{
	struct packet p = make(&(struct make){ .proto = proto, .from = CLIENT(v6), .sport = sport, .to = to, .dport = dport, .flags = SYN });
	run(&p, prog);
	return p;
}

static inline uint16_t sport_of(const struct packet *p)
{
	return get16(look(ip_of(p)).l4);
}

static inline int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, ap) : 0;
}

/* A node's links and routes, in a namespace of this process alone. */
static inline int make_node(void)
{
	static const char *const commands[] = {
		"ip link set lo up",
		"ip link add eth0 address 02:00:00:00:00:01 type veth peer name out0",
		"ip link add klvx address 02:00:00:00:00:01 mtu 1450 type veth peer name far0",
		"ip link add kl0 address 02:00:00:00:00:01 type bridge",
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
		"sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0",
		"ip link set eth0 up", "ip link set out0 up", "ip link set klvx up", "ip link set far0 up", "ip link set kl0 up",
		"ip addr add 192.0.2.10/24 dev eth0", "ip addr add 2001:db8:2::10/64 dev eth0 nodad",
		"ip addr add 10.244.1.1/24 dev kl0", "ip addr add fd00:244:1::1/64 dev kl0 nodad",
		"ip route add blackhole 10.244.0.0/16", "ip route add blackhole fd00:244::/32",
		"ip route add blackhole 10.96.0.0/12", "ip route add blackhole fd00:96::/108",
		"ip route add 10.244.2.0/24 via 192.0.2.11", "ip route add fd00:244:2::/64 via 2001:db8:2::11",
		"ip route add 10.244.3.0/24 via 10.244.3.0 dev klvx onlink",
		"ip route add fd00:244:3::/64 via fd00:244:3:: dev klvx onlink",
		"ip route add default via 192.0.2.1", "ip route add default via 2001:db8:2::1",
	};
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (system(commands[i]) != 0) {
			fprintf(stderr, "failed: %s\n", commands[i]);
			return -1;
		}
	eth0 = if_nametoindex("eth0");
	kl0 = if_nametoindex("kl0");
	klvx = if_nametoindex("klvx");
	return 0;
}

/* A test's main(): loads the programs into a node of its own and runs the tests. */
#define RUN_PACKET_TESTS(tests)                                                \
	({                                                                     \
		libbpf_set_print(quiet);                                       \
		int run_result = 1;                                            \
		if (make_node() == 0 && (skel = proxy_bpf__open_and_load()))   \
			run_result = cmocka_run_group_tests(tests, NULL, NULL); \
		else                                                           \
			perror("a network namespace and the programs (root is needed)"); \
		proxy_bpf__destroy(skel);                                      \
		run_result;                                                    \
	})
#define TEST(f) cmocka_unit_test_setup(f, setup)

#endif
