/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Direct server return: a packet for a backend of another node travels there as it is, inside another IP header (RFC 2003,
 * RFC 2473), so that the node which has the backend knows the client and answers it by itself.
 *
 * Sending: the flow pins the backend (ABI_FLOW_DSR_OUT) and nothing comes back this way. Receiving: what a node of the cluster
 * sends to a backend of ours is unwrapped and then is a packet from outside like any other, only that its backend is chosen.
 * Others' encapsulated packets pass untouched unless they claim to be for a frontend: those are dropped.
 */
#ifndef KEELSON_BPF_LIB_DSR_H
#define KEELSON_BPF_LIB_DSR_H

#include "bpf/lib/tc.h"

#define DSR_HOPS 64
#define DSR_TCP_OPTIONS 40
#define DSR_OPTION_END 0
#define DSR_OPTION_NOP 1
#define DSR_OPTION_MSS 2

static __always_inline __u8 dsr_protocol(const struct packet *p)
{
	return p->v4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

/* Fills work.to: from us, to the backend. 0 when this node has no address to send from. */
static __always_inline int dsr_outer(struct work *w, const struct abi_config *c)
{
	int family = !w->p.v4;
	const __u32 *source = in_pod_range(c, w->flow.backend) ? c->snat_pod[family] : c->snat_node[family];
	__builtin_memset(&w->to, 0, sizeof(w->to));
	addr_copy(w->to.saddr, source);
	addr_copy(w->to.daddr, w->flow.backend);
	w->to.proto = dsr_protocol(&w->p);
	w->set_id = w->flow.set_id;
	w->backend_id = w->flow.backend_id;
	w->translated = 1;
	return (source[0] | source[1] | source[3]) != 0;
}

/* The outer header; bytes: what follows it. It is never fragmented: the receiver has no use for parts. */
static __always_inline void dsr_header4(const struct work *w, __u8 tos, __u32 bytes, struct iphdr *h)
{
	__u32 total = bytes + sizeof(*h);
	__builtin_memset(h, 0, sizeof(*h));
	h->version = 4;
	h->ihl = 5;
	h->tos = tos;
	h->tot_len = bpf_htons(total > 0xffff ? 0xffff : total); /* a train of segments gets its lengths later */
	h->frag_off = bpf_htons(0x4000);
	h->ttl = DSR_HOPS;
	h->protocol = IPPROTO_IPIP;
	h->saddr = w->to.saddr[3];
	h->daddr = w->to.daddr[3];
	h->check = csum_fold(bpf_csum_diff(0, 0, (__be32 *)h, sizeof(*h), 0));
}

/* first: the inner header's first word, with its traffic class and flow label. */
static __always_inline void dsr_header6(const struct work *w, __be32 first, __u32 bytes, struct ipv6hdr *h)
{
	__builtin_memset(h, 0, sizeof(*h));
	*(__be32 *)h = first;
	h->payload_len = bpf_htons(bytes > 0xffff ? 0xffff : bytes);
	h->nexthdr = IPPROTO_IPV6;
	h->hop_limit = DSR_HOPS;
	addr_copy(h->saddr.in6_u.u6_addr32, w->to.saddr);
	addr_copy(h->daddr.in6_u.u6_addr32, w->to.daddr);
}

/* Puts the packet into another one, from and to where work.to says; 0 or not. */
__noinline int dsr_wrap(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (!w)
		return -1;
	__u32 bytes = packet_bytes(&w->p);
	__be32 first;
	__u64 flags = w->p.v4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	if (w->p.t.proto == IPPROTO_UDP) /* datagrams keep their bounds; TCP's segments become shorter */
		flags |= BPF_F_ADJ_ROOM_FIXED_GSO;
	if (bpf_skb_load_bytes(skb, PACKET_L3, &first, sizeof(first)) < 0 ||
	    bpf_skb_adjust_room(skb, dsr_overhead(&w->p), BPF_ADJ_ROOM_MAC, flags) < 0)
		return -1;
	if (w->p.v4) {
		struct iphdr h;
		dsr_header4(w, bpf_ntohl(first) >> 16 & 0xff, bytes, &h);
		return bpf_skb_store_bytes(skb, PACKET_L3, &h, sizeof(h), 0);
	}
	struct ipv6hdr h;
	dsr_header6(w, first, bytes, &h);
	return bpf_skb_store_bytes(skb, PACKET_L3, &h, sizeof(h), 0);
}

/* Sends a packet of an ABI_FLOW_DSR_OUT flow (work.flow), or an ICMP error about one's answers, to the backend's node. */
__noinline int dsr_send(struct __sk_buff *skb)
{
	struct work *w = work_get();
	const struct abi_config *c = config_get();
	struct bpf_fib_lookup f = {};
	if (!w || !c)
		return TC_ACT_SHOT;
	__u32 bytes = w->p.segment, overhead = dsr_overhead(&w->p);
	if (!skb->gso_size || w->p.t.proto == IPPROTO_UDP)
		bytes += overhead;
	if (!dsr_outer(w, c)) {
		w->reason = ABI_TC_DROP_NO_SNAT_ADDRESS;
		return TC_ACT_SHOT;
	}
	w->reason = ABI_TC_DROP_NO_ROUTE;
	if (w->p.hops <= 1)
		return w->p.kind == PACKET_PORTS ? reject_send(skb, &w->p, REJECT_HOPS_GONE, 0) : TC_ACT_SHOT;
	route_question(w, &f, w->ifindex, bytes);
	switch (bpf_fib_lookup(skb, &f, sizeof(f), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		break;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED: /* whether it may be cut up or not: the other side does not put together */
		w->reason = ABI_TC_ENCAPSULATED;
		return w->p.kind == PACKET_PORTS ? reject_send(skb, &w->p, REJECT_TOO_BIG, f.mtu_result - overhead) : TC_ACT_SHOT;
	default:
		return TC_ACT_SHOT;
	}
	w->reason = ABI_TC_DROP_REWRITE;
	if (packet_hop(skb, &w->p) || dsr_wrap(skb))
		return TC_ACT_SHOT;
	w->reason = ABI_TC_ENCAPSULATED;
	return route_redirect(skb, &f);
}

/* What the packet inside is to us, decided before a byte is changed: a reason, ABI_TC_PASSED when it is nobody's of ours. */
static __always_inline int dsr_flow(struct __sk_buff *skb, struct work *w, int peer)
{
	work_key(w);
	struct abi_flow *f = bpf_map_lookup_elem(&flows, &w->key);
	int ours = f && f->flags & ABI_FLOW_DSR_IN && addr_same(f->backend, w->outer.daddr);
	if (!peer) { /* somebody else speaks for a client of ours; a NodePort of other nodes is none of his nor ours */
		w->unwrapped = 0;
		int taken = ours || (tc_frontend() == TC_FRONTEND && w->frontend.flags & ABI_FRONTEND_DSR);
		const struct abi_config *c = config_get();
		return taken && c && (in_pod_range(c, w->outer.daddr) || is_node_addr(w->outer.daddr)) ? ABI_TC_DROP_ENCAP :
												    ABI_TC_PASSED;
	}
	if (!ours || !tc_flow_holds(w, f))
		return tc_new(skb, 0, w, f);
	tc_flow_hit(w, f);
	return ABI_TC_TRANSLATED;
}

static __always_inline int dsr_inner(struct __sk_buff *skb, struct work *w)
{
	int peer = is_peer_node(w->outer.saddr);
	if (w->p.kind == PACKET_ICMP) {
		w->to = w->p.t;
		if (icmp_find(skb) != ICMP_TO_BACKEND || !(w->flow.flags & ABI_FLOW_DSR_IN) ||
		    !addr_same(w->to.daddr, w->outer.daddr))
			return ABI_TC_PASSED;
		return peer ? ABI_TC_ICMP_TRANSLATED : ABI_TC_DROP_ENCAP;
	}
	if (w->p.part == PACKET_LATER && !fragment_find(&w->p))
		return peer ? ABI_TC_DROP_FRAGMENT : ABI_TC_PASSED;
	if (w->p.malformed)
		return peer ? ABI_TC_DROP_MALFORMED : ABI_TC_PASSED;
	return dsr_flow(skb, w, peer);
}

/* Takes the outer header off; everything that was read moves forward. */
static __always_inline int dsr_unwrap(struct __sk_buff *skb, struct work *w)
{
	__u32 overhead = w->p.l3 - PACKET_L3;
	if (bpf_skb_adjust_room(skb, -(int)overhead, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) < 0)
		return -1;
	w->p.l3 -= overhead;
	w->p.l4 -= overhead;
	w->quoted.l3 -= overhead;
	w->quoted.l4 -= overhead;
	return 0;
}

/* A packet inside another (work.p is the outer one) at the ingress of a link. */
__noinline int dsr_receive(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (!w)
		return TC_ACT_UNSPEC;
	w->outer = w->p.t;
	w->unwrapped = 1;
	if (!packet_parse(skb, w->p.l4, 0))
		return TC_ACT_UNSPEC;
	int reason = dsr_inner(skb, w);
	if (reason == ABI_TC_PASSED)
		return tc_pass(skb, w);
	/* Nobody is answered: the node that sent it believes otherwise, and will know better soon. */
	if (reason != ABI_TC_TRANSLATED && reason != ABI_TC_ICMP_TRANSLATED)
		return tc_drop(skb, w, reason);
	if (dsr_unwrap(skb, w))
		return tc_drop(skb, w, ABI_TC_DROP_REWRITE);
	if (reason == ABI_TC_TRANSLATED) {
		tc_towards_backend(w);
		if (w->p.part == PACKET_FIRST)
			fragment_note(&w->p);
	}
	w->translated = 1;
	w->reason = ABI_TC_DECAPSULATED;
	return tc_verdict(skb, w, route_by_stack(skb));
}

struct mss_search {
	struct __sk_buff *skb;
	__u32 at, end, found;
};

static long mss_look(__u32 i, struct mss_search *s)
{
	__u8 option[2];
	if (s->at + 4 > s->end || bpf_skb_load_bytes(s->skb, s->at, option, 2) < 0 || option[0] == DSR_OPTION_END)
		return 1;
	if (option[0] == DSR_OPTION_MSS && option[1] == 4) {
		s->found = s->at + 2;
		return 1;
	}
	if (option[0] != DSR_OPTION_NOP && option[1] < 2)
		return 1;
	s->at += option[0] == DSR_OPTION_NOP ? 1 : option[1];
	return 0;
}

/* The answer to a client's SYN that came encapsulated: what the client sends must leave room for the outer header. The other
 * direction is not encapsulated, so SYNs stay as they are. */
__noinline int dsr_clamp(struct __sk_buff *skb)
{
	struct work *w = work_get();
	__u8 offset;
	__be16 mss, now;
	if (!w || bpf_skb_load_bytes(skb, w->p.l4 + 12, &offset, 1) < 0)
		return -1;
	struct mss_search s = { .skb = skb, .at = w->p.l4 + 20, .end = w->p.l4 + (offset >> 4 << 2) };
	bpf_loop(DSR_TCP_OPTIONS, mss_look, &s, 0);
	if (!s.found)
		return 0;
	if (bpf_skb_load_bytes(skb, s.found, &mss, sizeof(mss)) < 0)
		return -1;
	if (bpf_ntohs(mss) <= dsr_overhead(&w->p) + 64)
		return 0;
	now = bpf_htons(bpf_ntohs(mss) - dsr_overhead(&w->p));
	int r = bpf_skb_store_bytes(skb, s.found, &now, sizeof(now), 0);
	if ((s.found - w->p.l4) & 1) { /* across two words of the checksum */
		mss = __builtin_bswap16(mss);
		now = __builtin_bswap16(now);
	}
	return r | bpf_l4_csum_replace(skb, w->p.l4 + REWRITE_TCP_CHECK, mss, now, sizeof(now));
}

#endif
