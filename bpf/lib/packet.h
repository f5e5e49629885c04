/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a packet says: addresses (IPv4 ones mapped), ports and where the headers lie. Reads through helpers only, so that
 * paged and short packets need no care; what cannot be read, or is not ours to touch, is PACKET_OTHER.
 *
 * The larger steps of a packet's way are global functions, which the verifier checks once each, whoever calls them. They share
 * `struct work` by way of a map: on Linux 6.1 memory handed to such a function cannot be a map's key.
 */
#ifndef KEELSON_BPF_LIB_PACKET_H
#define KEELSON_BPF_LIB_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

#include "bpf/lib/select.h"
#include "bpf/lib/trace.h"

#define PACKET_L3 ETH_HLEN
/* Extension headers (RFC 8200) skipped before a packet is left alone. */
#define PACKET_IPV6_HEADERS 6
#define PACKET_HOP_BY_HOP 0
#define PACKET_ROUTING 43
#define PACKET_FRAGMENT 44
#define PACKET_ICMP6 58
#define PACKET_DESTINATION 60
#define PACKET_SCTP 132

enum packet_kind { PACKET_OTHER, PACKET_PORTS, PACKET_ICMP };
enum packet_part { PACKET_WHOLE, PACKET_FIRST, PACKET_LATER };
/* TCP's flags as on the wire; what SCTP's chunks mean for a connection is said in the same words. */
enum { PACKET_FIN = 1, PACKET_SYN = 2, PACKET_RST = 4, PACKET_ACK = 16 };

struct packet {
	struct abi_tuple t;
	__u32 l3, l4;    /* offsets from the start of the frame */
	__u32 l4_len;    /* bytes of transport header and payload, as the IP header says */
	__u32 segment;   /* bytes of the largest packet on the wire, from the IP header on */
	__be32 id;       /* of the datagram that a fragment belongs to */
	__u16 check;     /* of IPv4's header */
	__u32 frame, gso; /* bytes of the frame; payload of each segment when it is a train of them, else 0 */
	__u8 kind, part, v4, flags;
	__u8 hops, dont_fragment, malformed, first_header; /* first_header: IPv4's protocol, IPv6's next header */
};

/* Where the answers of a new flow are to find it: its element of flow_replies, and the ports it may have. */
struct place {
	struct abi_flow_key key;
	struct abi_flow_reply reply;
	__u16 min, span, at;
	__u16 result; /* enum flow_claim */
};

/* A packet on its way through a program. One a CPU: programs of one CPU do not interrupt each other. */
struct work {
	struct packet p;          /* as it came */
	struct packet quoted;     /* the packet that an ICMP error is about */
	struct abi_tuple to;      /* as it leaves */
	struct abi_tuple quoted_to;
	struct abi_tuple outer;   /* of the packet that p came in */
	struct abi_flow_key key;
	struct abi_flow flow;     /* what was found or made for it */
	struct abi_frontend frontend;
	struct select_result chosen;
	struct place place;
	__u32 set_id, backend_id; /* for counters and tracing */
	__u32 ifindex;            /* of the link that it is routed as coming from */
	__u32 reason;             /* enum abi_reason: what becomes of it */
	__u8 program;             /* enum abi_program */
	__u8 inside;              /* it came from a pod of this node */
	__u8 translated;          /* `to` differs from what came */
	__u8 unwrapped;           /* it came inside another packet, which names the backend: outer */
	__u8 fast;                /* its flow is to pass the node's stack by */
	struct trace_point trace;
	struct bpf_fib_lookup way; /* off the stack, which deeper calls need */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} works SEC(".maps");

/* Never NULL in truth; the verifier wants to see it looked at. */
static __always_inline struct work *work_get(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&works, &zero);
}

/* A program of XDP and one of tc have a helper each for the same. */
static __always_inline long packet_load(void *ctx, int xdp, __u32 at, void *to, __u32 bytes)
{
	return xdp ? bpf_xdp_load_bytes(ctx, at, to, bytes) : bpf_skb_load_bytes(ctx, at, to, bytes);
}

static __always_inline __u8 packet_sctp_flags(__u8 chunk)
{
	switch (chunk) {
	case 1: /* INIT */
		return PACKET_SYN;
	case 6:  /* ABORT */
	case 14: /* SHUTDOWN COMPLETE */
		return PACKET_RST | PACKET_ACK;
	case 7: /* SHUTDOWN and its acknowledgement */
	case 8:
		return PACKET_FIN | PACKET_ACK;
	default:
		return PACKET_ACK;
	}
}

/* quoted: the packet inside an ICMP error, of which only 8 bytes behind the IP header are sure to be there. */
static __always_inline int packet_transport(void *ctx, int xdp, struct packet *p, int quoted)
{
	__u8 head[16] = {};
	__u8 proto = p->t.proto;
	if (proto == IPPROTO_ICMP ? p->v4 : proto == PACKET_ICMP6 && !p->v4)
		return p->part == PACKET_WHOLE ? PACKET_ICMP : PACKET_OTHER;
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != PACKET_SCTP)
		return PACKET_OTHER;
	if (p->part == PACKET_LATER)
		return PACKET_PORTS;
	if (quoted || proto == IPPROTO_UDP) {
		if (packet_load(ctx, xdp, p->l4, head, 8) < 0)
			return PACKET_OTHER;
	} else if (packet_load(ctx, xdp, p->l4, head, 14) < 0) {
		return PACKET_OTHER;
	}
	p->t.sport = *(__be16 *)head;
	p->t.dport = *(__be16 *)(head + 2);
	if (quoted)
		return PACKET_PORTS;
	__u32 header = 8, bytes = p->l4_len;
	if (proto == IPPROTO_TCP) {
		p->flags = head[13];
		header = head[12] >> 4 << 2;
		p->malformed |= header < 20;
	} else if (proto == PACKET_SCTP) {
		p->flags = packet_sctp_flags(head[12]);
		header = 12;
	} else if (p->part == PACKET_WHOLE && !p->gso) {
		__u32 says = bpf_ntohs(*(__be16 *)(head + 4));
		p->malformed |= says < 8 || says > bytes;
	}
	p->malformed |= header > bytes;
	if (p->gso)
		p->segment = p->l4 - p->l3 + header + p->gso;
	return PACKET_PORTS;
}

/* total: the length in the IP header, from that header on. */
static __always_inline void packet_length(struct packet *p, __u32 total, int quoted)
{
	__u32 there = p->frame - p->l3, before = p->l4 - p->l3;
	if (p->gso && !quoted) /* a train of segments may be longer than its header can say */
		total = there;
	p->segment = total;
	p->malformed = total > there || total < before;
	p->l4_len = total > before ? total - before : 0;
}

static __always_inline int packet_parse4(void *ctx, int xdp, struct packet *p, int quoted)
{
	struct iphdr ip;
	if (packet_load(ctx, xdp, p->l3, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.ihl < 5)
		return PACKET_OTHER;
	addr_from_v4(p->t.saddr, ip.saddr);
	addr_from_v4(p->t.daddr, ip.daddr);
	p->v4 = 1;
	p->t.proto = p->first_header = ip.protocol;
	p->hops = ip.ttl;
	p->l4 = p->l3 + ip.ihl * 4;
	p->id = ip.id;
	p->check = ip.check;
	p->dont_fragment = !!(ip.frag_off & bpf_htons(0x4000));
	if (ip.frag_off & bpf_htons(0x1fff))
		p->part = PACKET_LATER;
	else if (ip.frag_off & bpf_htons(0x2000))
		p->part = PACKET_FIRST;
	packet_length(p, bpf_ntohs(ip.tot_len), quoted);
	return packet_transport(ctx, xdp, p, quoted);
}

/* Goes past the extension headers; 0 when the packet is to be left alone. */
static __always_inline int packet_headers6(void *ctx, int xdp, struct packet *p, __u8 next)
{
	for (int i = 0; i <= PACKET_IPV6_HEADERS; i++) {
		__u8 h[8];
		if (next != PACKET_HOP_BY_HOP && next != PACKET_ROUTING && next != PACKET_DESTINATION && next != PACKET_FRAGMENT) {
			p->t.proto = next;
			return 1;
		}
		if (packet_load(ctx, xdp, p->l4, h, sizeof(h)) < 0)
			return 0;
		if (next == PACKET_ROUTING && h[3]) /* not yet where it is going */
			return 0;
		if (next == PACKET_FRAGMENT) {
			__be16 offset = *(__be16 *)(h + 2);
			p->id = *(__be32 *)(h + 4);
			p->part = offset & bpf_htons(0xfff8) ? PACKET_LATER : offset & bpf_htons(1) ? PACKET_FIRST : PACKET_WHOLE;
			p->l4 += 8;
		} else {
			p->l4 += 8 + h[1] * 8;
		}
		next = h[0];
		if (p->part == PACKET_LATER) { /* what follows is not a header */
			p->t.proto = next;
			return 1;
		}
	}
	return 0;
}

static __always_inline int packet_parse6(void *ctx, int xdp, struct packet *p, int quoted)
{
	struct ipv6hdr ip;
	if (packet_load(ctx, xdp, p->l3, &ip, sizeof(ip)) < 0 || ip.version != 6)
		return PACKET_OTHER;
	addr_copy(p->t.saddr, ip.saddr.in6_u.u6_addr32);
	addr_copy(p->t.daddr, ip.daddr.in6_u.u6_addr32);
	/* Such addresses mean IPv4 in every map; on the wire they are nobody's (RFC 4291, 2.5.5.2). */
	if (addr_is_v4(p->t.saddr) || addr_is_v4(p->t.daddr))
		return PACKET_OTHER;
	p->hops = ip.hop_limit;
	p->dont_fragment = 1;
	p->first_header = ip.nexthdr;
	p->l4 = p->l3 + sizeof(ip);
	if (!packet_headers6(ctx, xdp, p, ip.nexthdr))
		return PACKET_OTHER;
	packet_length(p, sizeof(ip) + bpf_ntohs(ip.payload_len), quoted);
	return packet_transport(ctx, xdp, p, quoted);
}

/* Reads the packet whose IP header is at l3 into work.p, or the quoted one into work.quoted. Returns its kind. */
__noinline int packet_parse(struct __sk_buff *skb, __u32 l3, int quoted)
{
	struct work *w = work_get();
	if (!w)
		return PACKET_OTHER;
	struct packet *p = quoted ? &w->quoted : &w->p;
	__builtin_memset(p, 0, sizeof(*p));
	p->l3 = l3;
	p->frame = skb->len;
	p->gso = skb->gso_size;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		p->kind = packet_parse4(skb, 0, p, quoted);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		p->kind = packet_parse6(skb, 0, p, quoted);
	return p->kind;
}

/* From the IP header to the end of what it says to have. */
static __always_inline __u32 packet_bytes(const struct packet *p)
{
	return p->l4 - p->l3 + p->l4_len;
}

static __always_inline int packet_is_first(const struct packet *p)
{
	return p->t.proto == IPPROTO_UDP || (p->flags & (PACKET_SYN | PACKET_RST | PACKET_ACK | PACKET_FIN)) == PACKET_SYN;
}

/* No answer may go to, and no connection may come from, such an address (RFC 1122 3.2.1.3, RFC 4291 2.7). */
static __always_inline int addr_is_no_client(const __u32 *a)
{
	if (!addr_is_v4(a))
		return (a[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) || addr_is_loopback(a);
	__u32 v4 = bpf_ntohl(a[3]);
	return v4 >= 0xe0000000 || v4 >> 24 == 0 || v4 >> 24 == 127;
}

#endif
