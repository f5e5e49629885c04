/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sending a translated packet on by ourselves. Its source is an address of this node or of a Service, which the stack would
 * not take from outside; so the program asks for the route and hands the packet to the way out, doing what a router does.
 */
#ifndef KEELSON_BPF_LIB_ROUTE_H
#define KEELSON_BPF_LIB_ROUTE_H

#include "bpf/lib/icmp.h"

#define ROUTE_AF_INET 2
#define ROUTE_AF_INET6 10
/* In skb->tc_index: nothing is left to be done at the egress of the link. */
#define ROUTE_DONE 0x6b65
/* No flow is known that the packet could be an answer of. */
#define ROUTE_NO_ANSWER 0x6b66

/* Writes w->to into the packet; hop: and plays the router. */
static __always_inline int route_rewrite(struct __sk_buff *skb, const struct work *w, int hop)
{
	return w->p.kind == PACKET_ICMP ? icmp_rewrite(skb, hop) : packet_rewrite(skb, hop);
}

/* Asks for the way of a packet from and to where work.to says; bytes: its size on the wire, from the IP header on. */
static __always_inline void route_question(const struct work *w, struct bpf_fib_lookup *f, __u32 ifindex, __u32 bytes)
{
	f->l4_protocol = w->to.proto;
	f->sport = w->to.sport;
	f->dport = w->to.dport;
	f->tot_len = bytes;
	f->ifindex = ifindex;
	if (w->p.v4) {
		f->family = ROUTE_AF_INET;
		f->ipv4_src = w->to.saddr[3];
		f->ipv4_dst = w->to.daddr[3];
	} else {
		f->family = ROUTE_AF_INET6;
		addr_copy(f->ipv6_src, w->to.saddr);
		addr_copy(f->ipv6_dst, w->to.daddr);
	}
}

/* To a neighbour, past the egress program of the link: nothing is left for it to do. */
static __always_inline int route_neighbour(struct __sk_buff *skb, __u32 ifindex, struct bpf_redir_neigh *next)
{
	/* The tag of the VLAN that it came from, kept beside the packet, would go along. */
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	skb->tc_index = ROUTE_DONE;
	return bpf_redirect_neigh(ifindex, next, sizeof(*next), 0);
}

static __always_inline int route_redirect(struct __sk_buff *skb, const struct bpf_fib_lookup *f)
{
	struct bpf_redir_neigh next = { .nh_family = f->family };
	if (f->family == ROUTE_AF_INET)
		next.ipv4_nh = f->ipv4_dst;
	else
		addr_copy(next.ipv6_nh, f->ipv6_dst);
	return route_neighbour(skb, f->ifindex, &next);
}

/* What does not fit on the way out: the sender hears of it, or the stack cuts it up. */
static __always_inline int route_too_big(struct __sk_buff *skb, struct work *w, __u32 mtu)
{
	w->reason = ABI_TC_TOO_BIG;
	if (w->p.kind != PACKET_PORTS)
		return TC_ACT_SHOT;
	/* With an address of the node as its source it would not be let through there. */
	if (w->p.dont_fragment || is_node_addr(w->to.saddr))
		return reject_send(skb, &w->p, REJECT_TOO_BIG, mtu);
	w->reason = ABI_TC_TRANSLATED;
	return packet_rewrite(skb, 0) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* Translates and sends on; work.reason changes when that fails. A verdict for tc. */
__noinline int route_send(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (!w)
		return TC_ACT_SHOT;
	struct bpf_fib_lookup f = {};
	if (w->p.hops <= 1) {
		w->reason = ABI_TC_HOPS_GONE;
		return w->p.kind == PACKET_PORTS ? reject_send(skb, &w->p, REJECT_HOPS_GONE, 0) : TC_ACT_SHOT;
	}
	route_question(w, &f, w->ifindex, w->p.segment);
	switch (bpf_fib_lookup(skb, &f, sizeof(f), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		break;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return route_too_big(skb, w, f.mtu_result);
	case BPF_FIB_LKUP_RET_UNSUPP_LWT: /* an encapsulating route: only the stack follows it */
		if (!packet_rewrite(skb, 0))
			return TC_ACT_UNSPEC;
		w->reason = ABI_TC_DROP_REWRITE;
		return TC_ACT_SHOT;
	default:
		w->reason = ABI_TC_DROP_NO_ROUTE;
		return TC_ACT_SHOT;
	}
	if (!route_rewrite(skb, w, 1))
		return route_redirect(skb, &f);
	w->reason = ABI_TC_DROP_REWRITE;
	return TC_ACT_SHOT;
}

/* Translates a packet that the kernel itself routes on. */
__noinline int route_by_stack(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (w && !route_rewrite(skb, w, 0))
		return TC_ACT_UNSPEC;
	if (w)
		w->reason = ABI_TC_DROP_REWRITE;
	return TC_ACT_SHOT;
}

/* Translates a packet of an ABI_FLOW_FAST flow and hands it to the bridge of the pod. What a router answers to, or cuts up, is
 * left to the stack. */
__noinline int route_to_pod(struct __sk_buff *skb)
{
	struct work *w = work_get();
	const struct abi_config *c = config_get();
	if (!w || !c)
		return TC_ACT_SHOT;
	__u32 pods = c->pods_ifindex, bytes = w->p.segment;
	if (!pods || w->p.hops <= 1 || bpf_check_mtu(skb, pods, &bytes, 0, 0) != BPF_MTU_CHK_RET_SUCCESS)
		return route_by_stack(skb);
	if (route_rewrite(skb, w, 1)) {
		w->reason = ABI_TC_DROP_REWRITE;
		return TC_ACT_SHOT;
	}
	struct bpf_redir_neigh next = { .nh_family = w->p.v4 ? ROUTE_AF_INET : ROUTE_AF_INET6 };
	if (w->p.v4)
		next.ipv4_nh = w->to.daddr[3];
	else
		addr_copy(next.ipv6_nh, w->to.daddr);
	return route_neighbour(skb, pods, &next);
}

#endif
