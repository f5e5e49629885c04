/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Answers of our own: a TCP reset (RFC 9293 3.10.7.1) or an ICMP error (RFC 792, RFC 1812 4.3.2, RFC 4443 2.4) made of the
 * packet that caused it, and sent back out of the link it came from. One a packet at most, so they never add up to more than
 * what came; none to addresses that cannot be a client's, none about fragments except a first one that is too big.
 *
 * A packet whose checksum was left to the device stays such a packet whatever it is made into: where its transport header
 * was, the device puts a sum into the place of the checksum. A reset has its own just there; behind an ICMP header the sum
 * of the old transport header and its payload is then known beforehand.
 */
#ifndef KEELSON_BPF_LIB_REJECT_H
#define KEELSON_BPF_LIB_REJECT_H

#include "bpf/lib/rewrite.h"

#define REJECT_HOPS 64
#define REJECT_ICMP_HEADER 8
#define REJECT_TCP_HEADER 20
/* How much of the packet an error quotes: whole it must not exceed 576 and 1280 bytes. */
#define REJECT_QUOTE4 (576 - 20 - REJECT_ICMP_HEADER)
#define REJECT_QUOTE6 (1280 - 40 - REJECT_ICMP_HEADER)
#define REJECT_CHUNK 32

struct icmp_head {
	__u8 type, code;
	__u16 check;
	__be32 rest; /* next hop's MTU, or nothing */
};
enum reject_error { REJECT_UNREACHABLE, REJECT_TOO_BIG, REJECT_HOPS_GONE };

/* n, known to be from 1 to most (a power of two), said so that the verifier of Linux 6.1 sees it too. */
static __always_inline __u32 reject_between(__u32 n, __u32 most)
{
	asm volatile("" : "+r"(n));
	return ((n - 1) & (most - 1)) + 1;
}

/* Is the transport checksum left to the device? Then the helper does not touch the field. */
static __always_inline int checksum_is_partial(struct __sk_buff *skb, __u32 at)
{
	__u16 was = 0, probe = 0;
	bpf_skb_load_bytes(skb, at, &was, sizeof(was));
	bpf_l4_csum_replace(skb, at, 0, 1, sizeof(was));
	bpf_skb_load_bytes(skb, at, &probe, sizeof(probe));
	bpf_skb_store_bytes(skb, at, &was, sizeof(was), 0);
	return was == probe;
}

static __always_inline int reject_turn_link(struct __sk_buff *skb)
{
	__u8 mac[12], turned[12];
	if (bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)) < 0)
		return -1;
	__builtin_memcpy(turned, mac + 6, 6);
	__builtin_memcpy(turned + 6, mac, 6);
	return bpf_skb_store_bytes(skb, 0, turned, sizeof(turned), 0);
}

/* Writes the IP header of an answer; header: its length, of which what is behind the first 20 bytes is there already.
 * ret_sum: the pseudo header's. */
static __always_inline int reject_ip4(struct __sk_buff *skb, const struct packet *p, __u32 header, __u32 payload, __u8 proto,
				      __u32 *ret_sum)
{
	struct iphdr ip = { .version = 4, .ihl = header / 4, .ttl = REJECT_HOPS, .protocol = proto,
			    .tot_len = bpf_htons(header + payload), .frag_off = bpf_htons(0x4000),
			    .saddr = p->t.daddr[3], .daddr = p->t.saddr[3] };
	__be32 pseudo[3] = { ip.saddr, ip.daddr, bpf_htonl((__u32)proto << 16 | payload) };
	*ret_sum = bpf_csum_diff(0, 0, pseudo, sizeof(pseudo), 0);
	ip.check = csum_fold(bpf_csum_diff(0, 0, (__be32 *)&ip, sizeof(ip), 0));
	return bpf_skb_store_bytes(skb, PACKET_L3, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
}

static __always_inline int reject_ip6(struct __sk_buff *skb, const struct packet *p, __u32 payload, __u8 proto, __u32 *ret_sum)
{
	struct ipv6hdr ip = { .version = 6, .hop_limit = REJECT_HOPS, .nexthdr = proto, .payload_len = bpf_htons(payload) };
	__be32 pseudo[2] = { bpf_htonl(payload), bpf_htonl(proto) };
	__builtin_memcpy(&ip.saddr, p->t.daddr, 16);
	__builtin_memcpy(&ip.daddr, p->t.saddr, 16);
	*ret_sum = bpf_csum_diff(0, 0, (__be32 *)&ip.saddr, 32, bpf_csum_diff(0, 0, pseudo, sizeof(pseudo), 0));
	return bpf_skb_store_bytes(skb, PACKET_L3, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
}

struct tcp_head {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 offset, flags;
	__be16 window;
	__u16 check, urgent;
};

/* What a packet that belongs to no connection is answered with. */
static __always_inline void reject_tcp_head(const struct packet *p, const struct tcp_head *in, struct tcp_head *out)
{
	out->sport = in->dport;
	out->dport = in->sport;
	out->offset = sizeof(*out) / 4 << 4;
	if (in->flags & PACKET_ACK) {
		out->seq = in->ack;
		out->flags = PACKET_RST;
		return;
	}
	__u32 payload = p->l4_len - (in->offset >> 4 << 2);
	payload += !!(in->flags & PACKET_SYN) + !!(in->flags & PACKET_FIN);
	out->ack = bpf_htonl(bpf_ntohl(in->seq) + payload);
	out->flags = PACKET_RST | PACKET_ACK;
}

/* The packet becomes the reset it deserves. */
__noinline int reject_reset(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (!w)
		return -1;
	const struct packet *p = &w->p;
	struct tcp_head in, out = {};
	static const __u8 no_options[64];
	__u32 sum, header = p->l4 - PACKET_L3, at = p->l4;
	if (bpf_skb_load_bytes(skb, p->l4, &in, sizeof(in)) < 0)
		return -1;
	int partial = checksum_is_partial(skb, p->l4 + REWRITE_TCP_CHECK);
	if (!p->v4) {
		if (partial && header != sizeof(struct ipv6hdr))
			return -1;
		header = sizeof(struct ipv6hdr);
		at = PACKET_L3 + header;
	}
	reject_tcp_head(p, &in, &out);
	if (bpf_skb_change_tail(skb, at + sizeof(out), 0) < 0)
		return -1;
	int r = p->v4 ? reject_ip4(skb, p, header, sizeof(out), IPPROTO_TCP, &sum) :
			reject_ip6(skb, p, sizeof(out), IPPROTO_TCP, &sum);
	__u32 options = header - sizeof(struct iphdr);
	if (p->v4 && options > 0)
		r |= bpf_skb_store_bytes(skb, PACKET_L3 + sizeof(struct iphdr), no_options,
					 reject_between(options, sizeof(no_options)), BPF_F_RECOMPUTE_CSUM);
	if (partial)
		out.check = ~csum_fold(sum);
	else
		out.check = csum_fold(bpf_csum_diff(0, 0, (__be32 *)&out, sizeof(out), sum));
	return r | bpf_skb_store_bytes(skb, at, &out, sizeof(out), BPF_F_RECOMPUTE_CSUM);
}

struct reject_sum {
	struct __sk_buff *skb;
	__u32 at, end, sum;
};

static long reject_sum_chunk(__u32 i, struct reject_sum *s)
{
	__be32 chunk[REJECT_CHUNK / 4] = {};
	__u32 n = s->end - s->at;
	if (n == 0)
		return 1;
	if (n > REJECT_CHUNK)
		n = REJECT_CHUNK;
	n = reject_between(n, REJECT_CHUNK);
	if (bpf_skb_load_bytes(s->skb, s->at, chunk, n) < 0)
		return 1;
	s->sum = bpf_csum_diff(0, 0, chunk, sizeof(chunk), s->sum);
	s->at += n;
	return 0;
}

/* Adds up the bytes from `at` to `end`, at most what an error quotes. */
static __always_inline __u32 reject_sum(struct __sk_buff *skb, __u32 at, __u32 end, __u32 sum)
{
	struct reject_sum s = { .skb = skb, .at = at, .end = end, .sum = sum };
	bpf_loop(REJECT_QUOTE6 / REJECT_CHUNK + 1, reject_sum_chunk, &s, 0);
	return s.sum;
}

static __always_inline void reject_icmp_head(const struct packet *p, __u32 error, __u32 mtu, struct icmp_head *out)
{
	switch (error) {
	case REJECT_UNREACHABLE:
		out->type = p->v4 ? 3 : 1;
		out->code = p->v4 ? 3 : 4;
		break;
	case REJECT_TOO_BIG: /* RFC 1191 has 16 bits for the MTU, RFC 4443 32 */
		out->type = p->v4 ? 3 : 2;
		out->code = p->v4 ? 4 : 0;
		out->rest = bpf_htonl(mtu);
		break;
	case REJECT_HOPS_GONE:
		out->type = p->v4 ? 11 : 3;
		break;
	}
}

/* The packet becomes an ICMP error about itself. */
__noinline int reject_icmp(struct __sk_buff *skb, __u32 error, __u32 mtu)
{
	struct work *w = work_get();
	if (!w)
		return -1;
	const struct packet *p = &w->p;
	__u32 header = p->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u32 quote = p->l4 - PACKET_L3 + p->l4_len, most = p->v4 ? REJECT_QUOTE4 : REJECT_QUOTE6;
	__u32 check_at = p->l4 + (p->t.proto == IPPROTO_TCP ? REWRITE_TCP_CHECK : REWRITE_UDP_CHECK), sum = 0;
	struct icmp_head icmp = {};
	__u16 pseudo = 0;
	int partial = p->t.proto != PACKET_SCTP && checksum_is_partial(skb, check_at);
	if (quote > most)
		quote = most;
	if (partial)
		bpf_skb_load_bytes(skb, check_at, &pseudo, sizeof(pseudo));
	if (bpf_skb_change_tail(skb, PACKET_L3 + quote, 0) < 0 ||
	    bpf_skb_adjust_room(skb, header + sizeof(icmp), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_NO_CSUM_RESET) < 0)
		return -1;
	__u32 icmp_at = PACKET_L3 + header, quote_at = icmp_at + sizeof(icmp);
	__u32 payload = sizeof(icmp) + quote;
	int r = p->v4 ? reject_ip4(skb, p, header, payload, IPPROTO_ICMP, &sum) :
			reject_ip6(skb, p, payload, PACKET_ICMP6, &sum);
	if (p->v4)
		sum = 0;
	reject_icmp_head(p, error, mtu, &icmp);
	sum = bpf_csum_diff(0, 0, (__be32 *)&icmp, sizeof(icmp), sum);
	if (partial) {
		sum = reject_sum(skb, quote_at, quote_at + p->l4 - PACKET_L3, sum);
		sum = bpf_csum_diff(0, 0, &(__be32){ (__u16)~pseudo }, sizeof(__be32), sum);
	} else {
		sum = reject_sum(skb, quote_at, quote_at + quote, sum);
	}
	icmp.check = csum_fold(sum);
	return r | bpf_skb_store_bytes(skb, icmp_at, &icmp, sizeof(icmp), BPF_F_RECOMPUTE_CSUM);
}

/* Answers a packet for which there is nobody; a verdict for tc. */
static __always_inline int reject_send(struct __sk_buff *skb, const struct packet *p, __u32 error, __u32 mtu)
{
	int r;
	/* A fragment that is too big must be told of, else IPv6 never learns the path's MTU. */
	int whole = p->part == PACKET_WHOLE || (p->part == PACKET_FIRST && error == REJECT_TOO_BIG);
	if (!whole || p->malformed || addr_is_no_client(p->t.saddr))
		return TC_ACT_SHOT;
	if (p->t.proto == IPPROTO_TCP && error == REJECT_UNREACHABLE)
		r = p->flags & PACKET_RST ? -1 : reject_reset(skb);
	else
		r = reject_icmp(skb, error, mtu);
	if (r || reject_turn_link(skb))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
