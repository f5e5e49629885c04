/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pods of this node that answer a packet we sent them from the SNAT address look for that address on their own link. For IPv6
 * the kernel answers (it is the subnet's router anycast address, RFC 4291 2.6.1); for IPv4 nobody has it, so ARP (RFC 826)
 * is answered here, with the bridge's own link-layer address.
 */
#ifndef KEELSON_BPF_LIB_ARP_H
#define KEELSON_BPF_LIB_ARP_H

#include "bpf/lib/route.h"

struct arp_frame {
	__u8 to[6], from[6];
	__be16 type;
	__be16 hardware, protocol;
	__u8 hardware_len, protocol_len;
	__be16 op;
	__u8 sender[6];
	__be32 sender_ip;
	__u8 target[6];
	__be32 target_ip;
} __attribute__((packed));
_Static_assert(sizeof(struct arp_frame) == 42, "arp");

/* The answer, or TC_ACT_UNSPEC when the question is not for us. The asker is a pod that we have just sent something, so the
 * kernel knows it, and the route to it tells the bridge's address. */
__noinline int arp_answer(struct __sk_buff *skb)
{
	const struct abi_config *c = config_get();
	struct arp_frame a;
	struct bpf_fib_lookup f = { .family = ROUTE_AF_INET, .ifindex = skb->ifindex };
	if (!c || bpf_skb_load_bytes(skb, 0, &a, sizeof(a)) < 0)
		return TC_ACT_UNSPEC;
	if (a.op != bpf_htons(1) || a.protocol != bpf_htons(ETH_P_IP) || a.hardware_len != 6 || a.protocol_len != 4 ||
	    a.target_ip == 0 || a.target_ip != c->snat_pod[0][3])
		return TC_ACT_UNSPEC;
	f.ipv4_dst = a.sender_ip;
	if (bpf_fib_lookup(skb, &f, sizeof(f), 0) != BPF_FIB_LKUP_RET_SUCCESS || f.ifindex != skb->ifindex)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(a.to, a.from, 6);
	__builtin_memcpy(a.target, a.sender, 6);
	__builtin_memcpy(a.from, f.smac, 6);
	__builtin_memcpy(a.sender, f.smac, 6);
	a.target_ip = a.sender_ip;
	a.sender_ip = c->snat_pod[0][3];
	a.op = bpf_htons(2);
	if (bpf_skb_store_bytes(skb, 0, &a, ETH_HLEN, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &a.hardware, sizeof(a) - ETH_HLEN, BPF_F_RECOMPUTE_CSUM))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
