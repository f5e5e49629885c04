/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections from outside, IPv4: what arrives on an outward interface for a NodePort (or another external address) is
 * sent to a backend of this node with the client's address kept; what the backend answers gets the frontend's address
 * back as it leaves. Routing in between is the kernel's own.
 *
 * A flow is two elements: `flows`, found by what the client sends, and `flow_replies`, found by what the backend sends.
 * One timer, in the kernel, removes both when it has been quiet too long; no daemon is needed. (A timer for each flow
 * would be finer, but Linux 6.18 refuses two thirds of them their memory in a burst.) Established TCP keeps its
 * backend whatever the Service becomes; a UDP flow whose backend went away is decided anew.
 */
#ifndef KEELSON_BPF_LIB_TC_H
#define KEELSON_BPF_LIB_TC_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "bpf/lib/select.h"

#define TC_CLOCK_MONOTONIC 1
#define SEC_NS(s) ((s) * NSEC_PER_SEC)
#define TC_TIMEOUT_SYN SEC_NS(60ULL)
#define TC_TIMEOUT_ESTABLISHED SEC_NS(86400ULL)
#define TC_TIMEOUT_HALF_CLOSED SEC_NS(3600ULL)
#define TC_TIMEOUT_CLOSED SEC_NS(3ULL)
#define TC_TIMEOUT_UDP_NEW SEC_NS(30ULL)
#define TC_TIMEOUT_UDP SEC_NS(180ULL)
/* Other backends tried when a client's port already talks to the one chosen. */
#define TC_COLLISION_TRIES 4

#define TC_SWEEP_EVERY SEC_NS(2ULL)
#define TC_SWEEP_IDLE SEC_NS(10ULL) /* while there are no flows */
#define TC_EBUSY 16

#define TC_L3 ETH_HLEN
/* RFC 792; <linux/icmp.h> drags in the C library. */
#define TC_ICMP_DEST_UNREACH 3
#define TC_ICMP_TIME_EXCEEDED 11
#define TC_ICMP_PARAMETER_PROBLEM 12
#define TC_ICMP_HEADER 8
#define TC_ICMP_CHECKSUM_AT 2

/* Set by the daemon, another number for each load. */
const volatile __u64 program_stamp = 1;

struct tc_packet {
	__u32 saddr, daddr;
	__be16 sport, dport;
	__u32 l4; /* offset from the start of the frame */
	__u8 proto;
	__u8 tcp_flags; /* FIN 1, SYN 2, RST 4, ACK 16 */
};

/* 1: a TCP or UDP packet with its ports, 2: ICMP, 0: none of ours (other protocols, later fragments, truncated). */
static __always_inline int tc_parse(struct __sk_buff *skb, struct tc_packet *p)
{
	struct iphdr ip;
	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, TC_L3, &ip, sizeof(ip)) < 0)
		return 0;
	if (ip.version != 4 || ip.ihl < 5)
		return 0;
	if (ip.frag_off & bpf_htons(0x1fff))
		return 0;
	p->saddr = ip.saddr;
	p->daddr = ip.daddr;
	p->proto = ip.protocol;
	p->l4 = TC_L3 + ip.ihl * 4;
	p->tcp_flags = 0;
	if (ip.protocol == IPPROTO_TCP) {
		__u8 head[14];
		if (bpf_skb_load_bytes(skb, p->l4, head, sizeof(head)) < 0)
			return 0;
		p->sport = *(__be16 *)head;
		p->dport = *(__be16 *)(head + 2);
		p->tcp_flags = head[13];
		return 1;
	}
	if (ip.protocol == IPPROTO_UDP) {
		__be16 ports[2];
		if (bpf_skb_load_bytes(skb, p->l4, ports, sizeof(ports)) < 0)
			return 0;
		p->sport = ports[0];
		p->dport = ports[1];
		return 1;
	}
	return ip.protocol == IPPROTO_ICMP ? 2 : 0;
}

static __always_inline int tc_is_syn(const struct tc_packet *p)
{
	return (p->tcp_flags & 0x17) == 0x02;
}

/* Replaces the source or destination address and port with their checksums; 0 or negative. */
static __always_inline int tc_rewrite(struct __sk_buff *skb, const struct tc_packet *p, int source, __u32 addr,
				      __be16 port)
{
	__u32 old_addr = source ? p->saddr : p->daddr;
	__be16 old_port = source ? p->sport : p->dport;
	__u32 addr_at = TC_L3 + (source ? __builtin_offsetof(struct iphdr, saddr) : __builtin_offsetof(struct iphdr, daddr));
	__u32 port_at = p->l4 + (source ? 0 : 2);
	__u32 csum_at = p->l4;
	__u64 flags = 0;
	if (p->proto == IPPROTO_TCP) {
		csum_at += __builtin_offsetof(struct tcphdr, check);
	} else {
		csum_at += __builtin_offsetof(struct udphdr, check);
		flags = BPF_F_MARK_MANGLED_0;
	}
	int r = bpf_l4_csum_replace(skb, csum_at, old_addr, addr, flags | BPF_F_PSEUDO_HDR | sizeof(addr));
	r |= bpf_l4_csum_replace(skb, csum_at, old_port, port, flags | sizeof(port));
	r |= bpf_l3_csum_replace(skb, TC_L3 + __builtin_offsetof(struct iphdr, check), old_addr, addr, sizeof(addr));
	r |= bpf_skb_store_bytes(skb, addr_at, &addr, sizeof(addr), 0);
	r |= bpf_skb_store_bytes(skb, port_at, &port, sizeof(port), 0);
	return r;
}

static __always_inline void tc_reply_key(struct abi_flow_key *reply, const struct abi_flow_key *k, const __u32 *backend,
					 __be16 backend_port)
{
	*reply = *k;
	addr_copy(reply->addr, backend);
	reply->port = backend_port;
}

static __always_inline __u64 tc_timeout(__u8 proto, __u8 state, int answered)
{
	if (proto == IPPROTO_UDP)
		return answered ? TC_TIMEOUT_UDP : TC_TIMEOUT_UDP_NEW;
	if (state & ABI_FLOW_RESET || (state & (ABI_FLOW_CLIENT_FIN | ABI_FLOW_SERVER_FIN)) ==
					     (ABI_FLOW_CLIENT_FIN | ABI_FLOW_SERVER_FIN))
		return TC_TIMEOUT_CLOSED;
	if (!answered)
		return TC_TIMEOUT_SYN;
	return state ? TC_TIMEOUT_HALF_CLOSED : TC_TIMEOUT_ESTABLISHED;
}

static __always_inline int tc_closed(const struct abi_flow *f)
{
	return tc_timeout(IPPROTO_TCP, f->state, 1) == TC_TIMEOUT_CLOSED;
}

static int tc_sweep_flow(void *map, struct abi_flow_key *key, struct abi_flow *f, __u64 *now)
{
	struct abi_flow_key rkey;
	tc_reply_key(&rkey, key, f->backend, f->backend_port);
	struct abi_flow_reply *r = bpf_map_lookup_elem(&flow_replies, &rkey);
	__u64 seen = f->last_ns;
	int answered = r && r->last_ns;
	if (answered && r->last_ns > seen)
		seen = r->last_ns;
	if (*now < seen + tc_timeout(key->proto, f->state, answered))
		return 0;
	/* The replies may belong to another frontend's flow by now. */
	if (r && r->port == key->port && addr_same(r->addr, key->addr))
		bpf_map_delete_elem(&flow_replies, &rkey);
	bpf_map_delete_elem(map, key);
	count(ABI_TC_FLOW_EXPIRED);
	return 0;
}

static int tc_sweep(void *map, __u32 *key, struct abi_sweeper *s)
{
	__u64 now = bpf_ktime_get_ns();
	long seen = bpf_for_each_map_elem(&flows, tc_sweep_flow, &now, 0);
	bpf_timer_start(&s->timer, seen > 0 ? TC_SWEEP_EVERY : TC_SWEEP_IDLE, 0);
	return 0;
}

/* Arms the sweeper, once for each loaded program. Memory for the timer may be refused: the next new flow tries again. */
static __always_inline void tc_sweeper_arm(void)
{
	__u32 zero = 0;
	struct abi_sweeper *s = bpf_map_lookup_elem(&sweeper, &zero);
	if (!s || s->stamp == program_stamp)
		return;
	int e = bpf_timer_init(&s->timer, &sweeper, TC_CLOCK_MONOTONIC);
	if (e && e != -TC_EBUSY) /* busy: it is there */
		return;
	if (bpf_timer_set_callback(&s->timer, tc_sweep) || bpf_timer_start(&s->timer, TC_SWEEP_EVERY, 0))
		return;
	s->stamp = program_stamp;
}

static __always_inline __u8 tc_state_bits(__u8 tcp_flags, __u8 fin_bit)
{
	return tcp_flags & 0x04 ? ABI_FLOW_RESET : tcp_flags & 0x01 ? fin_bit : 0;
}

/* Gives the flow its backend: both elements and the timer. TC_ACT_OK or TC_ACT_SHOT. */
static __always_inline int tc_flow_create(struct abi_flow_key *key, const struct abi_frontend *fe, struct abi_flow *ret)
{
	struct select_result r;
	struct abi_flow_key rkey;
	int placed = 0;
	for (int i = 0; i < TC_COLLISION_TRIES && !placed; i++) {
		int verdict = select_backend(fe, key, ABI_CLIENT_ADDR, &r);
		if (verdict == SELECT_DROP) {
			count(ABI_TC_DROP_LOCAL_POLICY);
			return TC_ACT_SHOT;
		}
		if (verdict != SELECT_OK) {
			stats_refused(fe->set_id);
			count(ABI_TC_REFUSED_NO_ENDPOINTS);
			return TC_ACT_UNSPEC;
		}
		if (!addr_is_v4(r.backend.addr)) {
			count(ABI_TC_DROP_NO_BACKEND_ADDRESS);
			return TC_ACT_SHOT;
		}
		tc_reply_key(&rkey, key, r.backend.addr, r.backend.port);
		struct abi_flow_reply reply = { .port = key->port };
		addr_copy(reply.addr, key->addr);
		int e = bpf_map_update_elem(&flow_replies, &rkey, &reply, BPF_NOEXIST);
		if (e == 0) {
			placed = 1;
			break;
		}
		struct abi_flow_reply *other = bpf_map_lookup_elem(&flow_replies, &rkey);
		if (!other) { /* no memory or no room: the flows that are there keep working */
			count(ABI_TC_DROP_FLOWS_FULL);
			return TC_ACT_SHOT;
		}
		if (addr_same(other->addr, key->addr) && other->port == key->port) { /* another CPU with the twin packet */
			placed = 1;
			break;
		}
		/* The client's port talks to this backend by another frontend; take over if that flow has ended. */
		struct abi_flow_key okey = *key;
		addr_copy(okey.addr, other->addr);
		okey.port = other->port;
		struct abi_flow *of = bpf_map_lookup_elem(&flows, &okey);
		if (of && !tc_closed(of))
			continue;
		if (of)
			bpf_map_delete_elem(&flows, &okey);
		bpf_map_update_elem(&flow_replies, &rkey, &reply, BPF_ANY);
		placed = 1;
	}
	if (!placed) {
		count(ABI_TC_DROP_FLOW_COLLISION);
		return TC_ACT_SHOT;
	}

	struct abi_flow n = {
		.last_ns = bpf_ktime_get_ns(),
		.backend_port = r.backend.port,
		.backend_id = r.id,
		.generation = r.backend.generation,
		.set_id = fe->set_id,
	};
	addr_copy(n.backend, r.backend.addr);
	int e = bpf_map_update_elem(&flows, key, &n, BPF_NOEXIST);
	struct abi_flow *f = bpf_map_lookup_elem(&flows, key);
	if (e < 0 || !f) {
		/* Another CPU may have been first with this very packet's twin: then its choice stands. */
		int twin = f && addr_same(f->backend, n.backend) && f->backend_port == n.backend_port;
		if (!twin)
			bpf_map_delete_elem(&flow_replies, &rkey);
		if (!f) {
			count(ABI_TC_DROP_FLOWS_FULL);
			return TC_ACT_SHOT;
		}
		addr_copy(ret->backend, f->backend);
		ret->backend_port = f->backend_port;
		return TC_ACT_OK;
	}
	tc_sweeper_arm();
	addr_copy(ret->backend, n.backend);
	ret->backend_port = n.backend_port;
	stats_connection(fe->set_id);
	return TC_ACT_OK;
}

static __always_inline int tc_frontend(struct abi_flow_key *flow, struct abi_frontend *ret)
{
	struct abi_frontend_key key = {};
	addr_copy(key.addr, flow->addr);
	key.port = flow->port;
	key.proto = flow->proto;
	if (frontend_lookup(&key, ret)) {
		ret->set_id = ret->outside_set_id;
		return ret->flags & ABI_FRONTEND_EXTERNAL;
	}
	const struct abi_config *c = config_get();
	if (!c || !is_node_port(c, flow->port) || !is_node_addr(flow->addr))
		return 0;
	frontend_key_node_port(&key);
	if (!frontend_lookup(&key, ret))
		return 0;
	ret->set_id = ret->outside_set_id;
	return 1;
}

/* The packet an ICMP error complains about (RFC 792): its addresses, ports and where they stand. */
struct tc_inner {
	__u32 at; /* offset of the inner IP header */
	struct tc_packet p;
};

static __always_inline int tc_icmp_inner(struct __sk_buff *skb, const struct tc_packet *outer, struct tc_inner *in)
{
	__u8 type;
	struct iphdr ip;
	__be16 ports[2];
	if (bpf_skb_load_bytes(skb, outer->l4, &type, 1) < 0)
		return 0;
	if (type != TC_ICMP_DEST_UNREACH && type != TC_ICMP_TIME_EXCEEDED && type != TC_ICMP_PARAMETER_PROBLEM)
		return 0;
	in->at = outer->l4 + TC_ICMP_HEADER;
	if (bpf_skb_load_bytes(skb, in->at, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.ihl < 5)
		return 0;
	if ((ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP) || ip.frag_off & bpf_htons(0x1fff))
		return 0;
	in->p.l4 = in->at + ip.ihl * 4;
	if (bpf_skb_load_bytes(skb, in->p.l4, ports, sizeof(ports)) < 0)
		return 0;
	in->p.saddr = ip.saddr;
	in->p.daddr = ip.daddr;
	in->p.proto = ip.protocol;
	in->p.sport = ports[0];
	in->p.dport = ports[1];
	return 1;
}

/*
 * Rewrites one address and port of the packet inside an ICMP error, and the outer address. Every change but that of
 * the outer address is covered by the ICMP checksum; a header checksum and the address it covers cancel out, so the
 * inner IP header's checksum is repaired and the ICMP checksum needs only the port.
 */
static __always_inline int tc_icmp_rewrite(struct __sk_buff *skb, const struct tc_packet *outer, struct tc_inner *in,
					   int inner_source, __u32 addr, __be16 port, __u32 outer_addr_at,
					   __u32 outer_old, __u32 outer_new)
{
	__u32 old_addr = inner_source ? in->p.saddr : in->p.daddr;
	__be16 old_port = inner_source ? in->p.sport : in->p.dport;
	__u32 addr_at = in->at + (inner_source ? 12 : 16);
	__u32 port_at = in->p.l4 + (inner_source ? 0 : 2);
	__u32 icmp_csum_at = outer->l4 + TC_ICMP_CHECKSUM_AT;
	int r = bpf_l4_csum_replace(skb, icmp_csum_at, old_port, port, sizeof(port));
	r |= bpf_skb_store_bytes(skb, port_at, &port, sizeof(port), 0);
	r |= bpf_l3_csum_replace(skb, in->at + 10, old_addr, addr, sizeof(addr));
	r |= bpf_skb_store_bytes(skb, addr_at, &addr, sizeof(addr), 0);
	r |= bpf_l3_csum_replace(skb, TC_L3 + 10, outer_old, outer_new, sizeof(outer_new));
	r |= bpf_skb_store_bytes(skb, outer_addr_at, &outer_new, sizeof(outer_new), 0);
	return r;
}

static __always_inline int tc_icmp_from_outside(struct __sk_buff *skb, const struct tc_packet *p)
{
	struct tc_inner in = {};
	if (!tc_icmp_inner(skb, p, &in))
		return TC_ACT_UNSPEC;
	/* The complaint is about an answer of ours: source is the frontend, destination the client. */
	struct abi_flow_key key = { .client_port = in.p.dport, .port = in.p.sport, .proto = in.p.proto };
	addr_from_v4(key.client, in.p.daddr);
	addr_from_v4(key.addr, in.p.saddr);
	struct abi_flow *f = bpf_map_lookup_elem(&flows, &key);
	if (!f)
		return TC_ACT_UNSPEC;
	__u32 backend = f->backend[3];
	if (tc_icmp_rewrite(skb, p, &in, 1, backend, f->backend_port, TC_L3 + 16, p->daddr, backend)) {
		count(ABI_TC_DROP_REWRITE);
		return TC_ACT_SHOT;
	}
	count(ABI_TC_ICMP_TRANSLATED);
	return TC_ACT_UNSPEC;
}

static __always_inline int tc_icmp_to_outside(struct __sk_buff *skb, const struct tc_packet *p)
{
	struct tc_inner in = {};
	if (!tc_icmp_inner(skb, p, &in))
		return TC_ACT_UNSPEC;
	/* The complaint is about a packet of the client's, as the backend saw it. */
	struct abi_flow_key key = { .client_port = in.p.sport, .port = in.p.dport, .proto = in.p.proto };
	addr_from_v4(key.client, in.p.saddr);
	addr_from_v4(key.addr, in.p.daddr);
	struct abi_flow_reply *r = bpf_map_lookup_elem(&flow_replies, &key);
	if (!r)
		return TC_ACT_UNSPEC;
	__u32 vip = r->addr[3];
	/* The complaint of the backend itself comes from the frontend for the client; a router's keeps its name. */
	__u32 source = p->saddr == in.p.daddr ? vip : p->saddr;
	if (tc_icmp_rewrite(skb, p, &in, 0, vip, r->port, TC_L3 + 12, p->saddr, source)) {
		count(ABI_TC_DROP_REWRITE);
		return TC_ACT_SHOT;
	}
	count(ABI_TC_ICMP_TRANSLATED);
	return TC_ACT_UNSPEC;
}

static __always_inline int tc_from_outside(struct __sk_buff *skb)
{
	struct tc_packet p;
	int kind = tc_parse(skb, &p);
	if (kind == 0)
		return TC_ACT_UNSPEC;
	if (kind == 2)
		return tc_icmp_from_outside(skb, &p);

	struct abi_flow_key key = { .client_port = p.sport, .port = p.dport, .proto = p.proto };
	addr_from_v4(key.client, p.saddr);
	addr_from_v4(key.addr, p.daddr);
	struct abi_flow to = {};
	struct abi_flow *f = bpf_map_lookup_elem(&flows, &key);
	if (f && (p.proto == IPPROTO_TCP ? !(tc_is_syn(&p) && tc_closed(f)) : backend_alive(f->backend_id, f->generation))) {
		f->last_ns = bpf_ktime_get_ns();
		f->state |= tc_state_bits(p.tcp_flags, ABI_FLOW_CLIENT_FIN);
		addr_copy(to.backend, f->backend);
		to.backend_port = f->backend_port;
	} else {
		/* TCP in mid-flight without a flow belongs to nobody here: the kernel answers it. */
		if (p.proto == IPPROTO_TCP && !tc_is_syn(&p))
			return TC_ACT_UNSPEC;
		struct abi_frontend fe;
		if (!tc_frontend(&key, &fe))
			return TC_ACT_UNSPEC;
		if (f) { /* an earlier life of the flow */
			struct abi_flow_key rkey;
			tc_reply_key(&rkey, &key, f->backend, f->backend_port);
			bpf_map_delete_elem(&flow_replies, &rkey);
			bpf_map_delete_elem(&flows, &key);
			if (p.proto == IPPROTO_UDP)
				count(ABI_UDP_RESELECTED);
		}
		int verdict = tc_flow_create(&key, &fe, &to);
		if (verdict != TC_ACT_OK)
			return verdict;
	}
	if (tc_rewrite(skb, &p, 0, to.backend[3], to.backend_port)) {
		count(ABI_TC_DROP_REWRITE);
		return TC_ACT_SHOT;
	}
	count(ABI_TC_TRANSLATED);
	return TC_ACT_UNSPEC;
}

static __always_inline int tc_to_outside(struct __sk_buff *skb)
{
	struct tc_packet p;
	int kind = tc_parse(skb, &p);
	if (kind == 0)
		return TC_ACT_UNSPEC;
	if (kind == 2)
		return tc_icmp_to_outside(skb, &p);

	struct abi_flow_key key = { .client_port = p.dport, .port = p.sport, .proto = p.proto };
	addr_from_v4(key.client, p.daddr);
	addr_from_v4(key.addr, p.saddr);
	struct abi_flow_reply *r = bpf_map_lookup_elem(&flow_replies, &key);
	if (!r)
		return TC_ACT_UNSPEC;
	r->last_ns = bpf_ktime_get_ns();
	__u32 vip = r->addr[3];
	__be16 vip_port = r->port;
	__u8 bits = tc_state_bits(p.tcp_flags, ABI_FLOW_SERVER_FIN);
	if (bits) {
		addr_copy(key.addr, r->addr);
		key.port = vip_port;
		struct abi_flow *f = bpf_map_lookup_elem(&flows, &key);
		if (f)
			f->state |= bits;
	}
	if (tc_rewrite(skb, &p, 1, vip, vip_port)) {
		count(ABI_TC_DROP_REWRITE);
		return TC_ACT_SHOT;
	}
	return TC_ACT_UNSPEC;
}

#endif
