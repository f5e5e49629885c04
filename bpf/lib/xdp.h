/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tc does for backends of other nodes, done in the driver: the same maps and the same decision, but the packet never becomes
 * an skb. It is sent on whole or passed on untouched, and then tc sees it as if there were no XDP: packets to this node's own
 * backends, errors, fragments, refusals, whatever needs an answer, a neighbour not known yet or a way out through a device
 * that takes no such frames (a tunnel, a bridge).
 */
#ifndef KEELSON_BPF_LIB_XDP_H
#define KEELSON_BPF_LIB_XDP_H

#include "bpf/lib/dsr.h"

static __always_inline const struct abi_xdp_device *xdp_device(__u32 ifindex)
{
	return bpf_map_lookup_elem(&xdp_devices, &ifindex);
}

static __always_inline int mac_same(const __u8 *a, const __u8 *b)
{
	return *(const __u32 *)a == *(const __u32 *)b && *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

/* Reads the frame into work.p; 0 when it is not for this host's routing, or of a kind that is left to tc. */
static __always_inline int xdp_parse(struct xdp_md *ctx, struct work *w)
{
	struct {
		__u8 to[6], from[6];
		__be16 protocol;
	} __attribute__((aligned(4))) eth;
	struct packet *p = &w->p;
	const struct abi_xdp_device *d = xdp_device(ctx->ingress_ifindex);
	if (!d || bpf_xdp_load_bytes(ctx, 0, &eth, ETH_HLEN) < 0 || !mac_same(eth.to, d->mac))
		return 0;
	__builtin_memset(p, 0, sizeof(*p));
	p->l3 = PACKET_L3;
	p->frame = bpf_xdp_get_buff_len(ctx);
	if (eth.protocol == bpf_htons(ETH_P_IP))
		p->kind = packet_parse4(ctx, 1, p, 0);
	else if (eth.protocol == bpf_htons(ETH_P_IPV6))
		p->kind = packet_parse6(ctx, 1, p, 0);
	return p->kind == PACKET_PORTS && p->part == PACKET_WHOLE && p->t.proto != PACKET_SCTP && !p->malformed && p->hops > 1;
}

/* An answer of a backend of another node: work.to gets where it goes. */
static __always_inline int xdp_reply(const struct abi_config *c, struct work *w)
{
	struct abi_flow_reply *r = tc_may_be_reply(c, w) ? tc_find_reply(w) : 0;
	if (r)
		tc_towards_client(w, r);
	return r != 0;
}

/* Is this all that is to be said about the packet? Then tc need not come to the same. */
static __always_inline int xdp_drops(struct work *w, int reason)
{
	w->reason = reason;
	return reason != ABI_TC_REFUSED_NO_ENDPOINTS && reason != ABI_TC_REJECTED && reason != ABI_SOCK_OVERTAKEN &&
	       ABI_REASON_IS_DROP(reason & 63);
}

/* A client's packet: a verdict; with XDP_TX work.to says where it goes, or work.flow to which backend it is wrapped for. */
static __always_inline int xdp_forward(struct xdp_md *ctx, const struct abi_config *c, struct work *w)
{
	work_key(w);
	struct abi_flow *f = bpf_map_lookup_elem(&flows, &w->key);
	if (f && tc_flow_holds(w, f)) {
		tc_flow_hit(w, f);
	} else {
		int reason = tc_new(ctx, 1, w, f);
		if (reason != ABI_TC_TRANSLATED)
			return xdp_drops(w, reason) ? XDP_DROP : XDP_PASS;
	}
	if (w->flow.flags & ABI_FLOW_DSR_OUT)
		return dsr_outer(w, c) ? XDP_TX : XDP_PASS;
	if (!(w->flow.flags & ABI_FLOW_SNAT))
		return XDP_PASS;
	tc_towards_backend(w);
	return XDP_TX;
}

/* Takes a hop off and, unless the packet is to be wrapped, writes the addresses; *sum: their change. 0 or not. */
static __always_inline int xdp_rewrite_ip(struct xdp_md *ctx, const struct work *w, int addresses, __u32 *sum)
{
	const struct packet *p = &w->p;
	*sum = 0;
	if (!p->v4) {
		__u8 hops = p->hops - 1;
		int r = bpf_xdp_store_bytes(ctx, p->l3 + REWRITE_V6_HOPS, &hops, 1);
		if (!addresses)
			return r;
		*sum = bpf_csum_diff((__be32 *)p->t.saddr, 32, (__be32 *)w->to.saddr, 32, 0);
		return r | bpf_xdp_store_bytes(ctx, p->l3 + REWRITE_V6_ADDRS, (void *)w->to.saddr, 32);
	}
	struct rewrite_ip4 now;
	const struct abi_tuple *to = addresses ? &w->to : &p->t;
	rewrite_header4(p, to->saddr[3], to->daddr[3], 1, &now, sum);
	return bpf_xdp_store_bytes(ctx, p->l3 + REWRITE_V4_HOPS, &now, sizeof(now));
}

/* Makes the packet go from and to where work.to says; 0 or not. */
static __always_inline int xdp_rewrite(struct xdp_md *ctx, const struct work *w)
{
	const struct packet *p = &w->p;
	__u32 sum, at = p->l4 + (p->t.proto == IPPROTO_TCP ? REWRITE_TCP_CHECK : REWRITE_UDP_CHECK);
	__be32 from = ports_of(&p->t), now = ports_of(&w->to);
	__u16 check;
	if (bpf_xdp_load_bytes(ctx, at, &check, sizeof(check)) < 0 || xdp_rewrite_ip(ctx, w, 1, &sum))
		return -1;
	sum = bpf_csum_diff(&from, sizeof(from), &now, sizeof(now), sum);
	int r = bpf_xdp_store_bytes(ctx, p->l4, &now, sizeof(now));
	if (p->t.proto == IPPROTO_UDP && !check) /* a datagram without a checksum stays so */
		return r;
	check = csum_adjust(check, sum);
	if (p->t.proto == IPPROTO_UDP && !check)
		check = 0xffff;
	return r | bpf_xdp_store_bytes(ctx, at, &check, sizeof(check));
}

/* Puts the packet into another one, from and to where work.to says; the link-layer header is the caller's. 0 or not. */
static __always_inline int xdp_wrap(struct xdp_md *ctx, const struct work *w)
{
	const struct packet *p = &w->p;
	__be32 first;
	__u32 unused;
	if (bpf_xdp_load_bytes(ctx, p->l3, &first, sizeof(first)) < 0 || xdp_rewrite_ip(ctx, w, 0, &unused) ||
	    bpf_xdp_adjust_head(ctx, -(int)dsr_overhead(p)))
		return -1;
	if (p->v4) {
		struct iphdr h;
		dsr_header4(w, bpf_ntohl(first) >> 16 & 0xff, packet_bytes(p), &h);
		return bpf_xdp_store_bytes(ctx, PACKET_L3, &h, sizeof(h));
	}
	struct ipv6hdr h;
	dsr_header6(w, first, packet_bytes(p), &h);
	return bpf_xdp_store_bytes(ctx, PACKET_L3, &h, sizeof(h));
}

/* Sends the packet on; a verdict. */
static __always_inline int xdp_send(struct xdp_md *ctx, struct work *w, int wrapped)
{
	struct bpf_fib_lookup f = {};
	struct {
		__u8 to[6], from[6];
		__be16 protocol;
	} __attribute__((aligned(4))) eth = { .protocol = bpf_htons(w->p.v4 ? ETH_P_IP : ETH_P_IPV6) };
	route_question(w, &f, w->ifindex, packet_bytes(&w->p) + (wrapped ? dsr_overhead(&w->p) : 0));
	if (bpf_fib_lookup(ctx, &f, sizeof(f), 0) != BPF_FIB_LKUP_RET_SUCCESS || !xdp_device(f.ifindex))
		return XDP_PASS;
	__builtin_memcpy(eth.to, f.dmac, 6);
	__builtin_memcpy(eth.from, f.smac, 6);
	if ((wrapped ? xdp_wrap(ctx, w) : xdp_rewrite(ctx, w)) || bpf_xdp_store_bytes(ctx, 0, &eth, ETH_HLEN)) {
		w->reason = ABI_TC_DROP_REWRITE;
		return XDP_DROP;
	}
	w->translated = 1;
	w->reason = ABI_XDP_TRANSLATED;
	return f.ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(f.ifindex, 0);
}

static __always_inline int xdp_in(struct xdp_md *ctx)
{
	struct work *w = work_get();
	const struct abi_config *c = config_get();
	if (!w || !c)
		return XDP_PASS;
	work_begin(w, ABI_PROGRAM_XDP, ctx->ingress_ifindex);
	if (!xdp_parse(ctx, w))
		return XDP_PASS;
	__u32 bytes = w->p.frame;
	int back = xdp_reply(c, w);
	if (!back && in_pod_range(c, w->p.t.daddr)) /* no frontend's address */
		return XDP_PASS;
	int verdict = back ? XDP_TX : xdp_forward(ctx, c, w);
	if (verdict == XDP_TX)
		verdict = xdp_send(ctx, w, !back && w->flow.flags & ABI_FLOW_DSR_OUT);
	if (verdict == XDP_PASS)
		return verdict;
	count(w->reason);
	if (trace_on())
		work_trace(ctx->ingress_ifindex, bytes);
	return verdict;
}

#endif
