/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Addresses and ports of a packet replaced, checksums with them. Right for checksums that are complete, left to the device
 * (CHECKSUM_PARTIAL: the field holds the pseudo header's sum only) or verified by it (CHECKSUM_COMPLETE: skb->csum is the sum
 * of everything behind the link layer): the helpers know the first two, the last is cared for here where they do not.
 */
#ifndef KEELSON_BPF_LIB_REWRITE_H
#define KEELSON_BPF_LIB_REWRITE_H

#include "bpf/lib/crc32c.h"
#include "bpf/lib/packet.h"

#define REWRITE_V4_CHECK 10
#define REWRITE_V4_HOPS 8
#define REWRITE_V4_ADDRS 12
#define REWRITE_V6_HOPS 7
#define REWRITE_V6_ADDRS 8
#define REWRITE_TCP_CHECK 16
#define REWRITE_UDP_CHECK 6
#define REWRITE_SCTP_CHECK 8

static __always_inline __u32 ports_of(const struct abi_tuple *t)
{
	return *(const __u32 *)&t->sport;
}

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* A checksum field after a change of what it covers. */
static __always_inline __u16 csum_adjust(__u16 check, __u32 change)
{
	return csum_fold((__u32)(__u16)~check + (change & 0xffff) + (change >> 16));
}

/* IPv4's header from the hops on. */
struct rewrite_ip4 {
	__u8 hops, proto;
	__u16 check;
	__be32 saddr, daddr;
};

/* What the header becomes: from and to these addresses, `hops` further; *ret_sum: the addresses' change. */
static __always_inline void rewrite_header4(const struct packet *p, __be32 saddr, __be32 daddr, __u8 hops, struct rewrite_ip4 *out,
					    __u32 *ret_sum)
{
	struct rewrite_ip4 was = { .hops = p->hops, .proto = p->first_header, .saddr = p->t.saddr[3], .daddr = p->t.daddr[3] };
	*out = (struct rewrite_ip4){ .hops = p->hops - hops, .proto = was.proto, .saddr = saddr, .daddr = daddr };
	*ret_sum = bpf_csum_diff(&was.saddr, 8, &out->saddr, 8, 0);
	out->check = csum_adjust(p->check, bpf_csum_diff((__be32 *)&was, 4, (__be32 *)out, 4, *ret_sum));
}

static __always_inline int rewrite_addrs4(struct __sk_buff *skb, const struct packet *p, const struct abi_tuple *to, __u8 hops,
					  __u32 *ret_sum)
{
	struct rewrite_ip4 now;
	rewrite_header4(p, to->saddr[3], to->daddr[3], hops, &now, ret_sum);
	return bpf_skb_store_bytes(skb, p->l3 + REWRITE_V4_HOPS, &now, sizeof(now), 0);
}

/*
 * No header checksum makes up for the addresses. In skb->csum the transport's does, but the helper for pseudo headers takes the
 * change off there as it would for IPv4 (BPF_F_IPV6 tells it, only since Linux 6.16): adding it here suits every kernel.
 */
static __always_inline int rewrite_addrs6(struct __sk_buff *skb, const struct packet *p, const struct abi_tuple *to,
					  __u32 *ret_sum)
{
	*ret_sum = bpf_csum_diff((__be32 *)p->t.saddr, 32, (__be32 *)to->saddr, 32, 0);
	bpf_csum_update(skb, *ret_sum);
	return bpf_skb_store_bytes(skb, p->l3 + REWRITE_V6_ADDRS, to->saddr, 32, 0);
}

static __always_inline int rewrite_sctp(struct __sk_buff *skb, const struct packet *p, __u32 ports)
{
	__u32 check;
	if (p->part != PACKET_WHOLE) /* its length is not known */
		return -1;
	int r = bpf_skb_load_bytes(skb, p->l4 + REWRITE_SCTP_CHECK, &check, sizeof(check));
	if (check) { /* none (RFC 9653) stays none */
		__u32 change = __builtin_bswap32(bpf_ntohl(ports_of(&p->t) ^ ports));
		check ^= bpf_htonl(__builtin_bswap32(crc32c_change(change, p->l4_len)));
	}
	r |= bpf_skb_store_bytes(skb, p->l4 + REWRITE_SCTP_CHECK, &check, sizeof(check), BPF_F_RECOMPUTE_CSUM);
	return r | bpf_skb_store_bytes(skb, p->l4, &ports, sizeof(ports), BPF_F_RECOMPUTE_CSUM);
}

/* One hop further, as every router does. The caller has seen that there are hops left. */
static __always_inline int packet_hop(struct __sk_buff *skb, const struct packet *p)
{
	__u8 hops = p->hops - 1;
	struct rewrite_ip4 now;
	__u32 unused;
	if (!p->v4)
		return bpf_skb_store_bytes(skb, p->l3 + REWRITE_V6_HOPS, &hops, 1, BPF_F_RECOMPUTE_CSUM);
	rewrite_header4(p, p->t.saddr[3], p->t.daddr[3], 1, &now, &unused);
	return bpf_skb_store_bytes(skb, p->l3 + REWRITE_V4_HOPS, &now, 4, 0);
}

/* Makes the packet go from and to where work.to says, a hop further if a router is to be played; 0 or not. */
__noinline int packet_rewrite(struct __sk_buff *skb, int hop)
{
	struct work *w = work_get();
	if (!w)
		return -1;
	const struct packet *p = &w->p;
	const struct abi_tuple *to = &w->to;
	__u32 sum, ports = ports_of(to), old_ports = ports_of(&p->t);
	int r = p->v4 ? rewrite_addrs4(skb, p, to, !!hop, &sum) : rewrite_addrs6(skb, p, to, &sum);
	if (hop && !p->v4)
		r |= packet_hop(skb, p);
	if (p->part == PACKET_LATER)
		return r;
	if (p->t.proto == PACKET_SCTP)
		return ports == old_ports ? r : r | rewrite_sctp(skb, p, ports);
	__u32 at = p->l4 + (p->t.proto == IPPROTO_TCP ? REWRITE_TCP_CHECK : REWRITE_UDP_CHECK);
	__u64 flags = 0;
	if (p->t.proto == IPPROTO_UDP) {
		__u16 check = 0;
		r |= bpf_skb_load_bytes(skb, at, &check, sizeof(check));
		if (!check) /* none stays none, and nothing makes up for the ports */
			return r | bpf_skb_store_bytes(skb, p->l4, &ports, sizeof(ports), BPF_F_RECOMPUTE_CSUM);
		flags = BPF_F_MARK_MANGLED_0; /* one that becomes zero says 0xffff */
	}
	r |= bpf_l4_csum_replace(skb, at, 0, sum, flags | BPF_F_PSEUDO_HDR);
	if (ports == old_ports)
		return r;
	r |= bpf_l4_csum_replace(skb, at, old_ports, ports, flags | sizeof(ports));
	return r | bpf_skb_store_bytes(skb, p->l4, &ports, sizeof(ports), 0);
}

#endif
