/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ICMP errors (RFC 792, RFC 4443) about translated packets. Such an error quotes the packet as whoever complains saw it; it
 * must name what its receiver knows: the backend its own address and the client's or ours, the client the frontend.
 */
#ifndef KEELSON_BPF_LIB_ICMP_H
#define KEELSON_BPF_LIB_ICMP_H

#include "bpf/lib/place.h"
#include "bpf/lib/reject.h"

#define ICMP_HEADER 8
#define ICMP_CHECK 2

enum icmp_found { ICMP_NONE, ICMP_TO_BACKEND, ICMP_TO_CLIENT };

static __always_inline int icmp_is_error(const struct packet *p, __u8 type)
{
	/* Unreachable, time exceeded, parameter problem; IPv6's are 1 to 4, too big among them. */
	return p->v4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
}

/* The complaint is about an answer that left from here: from the frontend, to the client. */
static __always_inline int icmp_about_answer(struct work *w)
{
	const struct abi_tuple *q = &w->quoted.t;
	struct abi_flow_key key = { .client_port = q->dport, .port = q->sport, .proto = q->proto };
	addr_copy(key.client, q->daddr);
	addr_copy(key.addr, q->saddr);
	struct abi_flow *f = bpf_map_lookup_elem(&flows, &key);
	if (!f)
		return ICMP_NONE;
	int snat = f->flags & ABI_FLOW_SNAT;
	addr_copy(w->quoted_to.saddr, f->backend);
	w->quoted_to.sport = f->backend_port;
	addr_copy(w->quoted_to.daddr, snat ? f->snat : q->daddr);
	w->quoted_to.dport = flow_seen_port(f, q->dport);
	addr_copy(w->to.daddr, f->backend);
	addr_copy(w->to.saddr, snat ? f->snat : w->p.t.saddr);
	w->backend_id = f->backend_id;
	w->set_id = f->set_id;
	w->flow = *f;
	return ICMP_TO_BACKEND;
}

/* The complaint is about a client's packet as the backend saw it. */
static __always_inline int icmp_about_request(struct work *w)
{
	const struct abi_tuple *q = &w->quoted.t;
	struct abi_flow_key key = { .client_port = q->sport, .port = q->dport, .proto = q->proto };
	addr_copy(key.client, q->saddr);
	addr_copy(key.addr, q->daddr);
	struct abi_flow_reply *r = bpf_map_lookup_elem(&flow_replies, &key);
	if (!r)
		return ICMP_NONE;
	addr_copy(w->quoted_to.saddr, r->client);
	w->quoted_to.sport = r->client_port;
	addr_copy(w->quoted_to.daddr, r->addr);
	w->quoted_to.dport = r->port;
	addr_copy(w->to.daddr, r->client);
	/* What the backend itself says comes from the frontend for the client. A router's words keep its name, unless the way
	 * to the backend is hidden from the client anyhow. */
	addr_copy(w->to.saddr, r->flags & ABI_FLOW_SNAT || addr_same(w->p.t.saddr, q->daddr) ? r->addr : w->p.t.saddr);
	w->flow.flags = r->flags;
	return ICMP_TO_CLIENT;
}

/* Whom an error is for: fills w->to, w->quoted, w->quoted_to and w->flow.flags. */
__noinline int icmp_find(struct __sk_buff *skb)
{
	struct work *w = work_get();
	__u8 type;
	int found = ICMP_NONE;
	if (!w || bpf_skb_load_bytes(skb, w->p.l4, &type, sizeof(type)) < 0 || !icmp_is_error(&w->p, type))
		return ICMP_NONE;
	if (packet_parse(skb, w->p.l4 + ICMP_HEADER, 1) != PACKET_PORTS || w->quoted.part == PACKET_LATER)
		return ICMP_NONE;
	/* A complaint goes to who sent what it quotes; nobody's word to others opens a way to our backends. */
	if (!addr_same(w->p.t.daddr, w->quoted.t.saddr))
		return ICMP_NONE;
	if (w->program != ABI_PROGRAM_TC_EGRESS)
		found = icmp_about_answer(w);
	if (found == ICMP_NONE)
		found = icmp_about_request(w);
	w->quoted_to.proto = w->quoted.t.proto;
	return found;
}

/* Changes the checksum field at `at` by `change`, and the sum of the bytes around it accordingly. */
static __always_inline int icmp_adjust(struct __sk_buff *skb, __u32 at, __u32 change, int keep_zero, __u32 *sum)
{
	__u16 old, now;
	int r = bpf_skb_load_bytes(skb, at, &old, sizeof(old));
	if (r || (keep_zero && !old))
		return r;
	now = csum_adjust(old, change);
	if (keep_zero && !now)
		now = 0xffff;
	*sum = bpf_csum_diff(&(__be32){ old }, 4, &(__be32){ now }, 4, *sum);
	return bpf_skb_store_bytes(skb, at, &now, sizeof(now), BPF_F_RECOMPUTE_CSUM);
}

/* Rewrites the quoted packet; *sum gets the change of the sum of all its bytes. */
static __always_inline int icmp_rewrite_quoted(struct __sk_buff *skb, const struct work *w, __u32 *sum)
{
	const struct packet *q = &w->quoted;
	const struct abi_tuple *to = &w->quoted_to;
	__be32 ports = ports_of(to), old_ports = ports_of(&q->t);
	__u32 addrs, change, end = w->p.l4 + w->p.l4_len;
	int r;
	if (q->v4) {
		__be32 from[2] = { q->t.saddr[3], q->t.daddr[3] }, now[2] = { to->saddr[3], to->daddr[3] };
		addrs = bpf_csum_diff(from, sizeof(from), now, sizeof(now), 0);
		*sum = addrs;
		r = bpf_skb_store_bytes(skb, q->l3 + REWRITE_V4_ADDRS, now, sizeof(now), BPF_F_RECOMPUTE_CSUM);
		r |= icmp_adjust(skb, q->l3 + REWRITE_V4_CHECK, addrs, 0, sum);
	} else {
		addrs = bpf_csum_diff((__be32 *)q->t.saddr, 32, (__be32 *)to->saddr, 32, 0);
		*sum = addrs;
		r = bpf_skb_store_bytes(skb, q->l3 + REWRITE_V6_ADDRS, to->saddr, 32, BPF_F_RECOMPUTE_CSUM);
	}
	change = bpf_csum_diff(&old_ports, 4, &ports, 4, addrs);
	*sum = bpf_csum_diff(&old_ports, 4, &ports, 4, *sum);
	r |= bpf_skb_store_bytes(skb, q->l4, &ports, sizeof(ports), BPF_F_RECOMPUTE_CSUM);
	__u32 at = q->l4 + (q->t.proto == IPPROTO_TCP ? REWRITE_TCP_CHECK : REWRITE_UDP_CHECK);
	if (q->t.proto != PACKET_SCTP && at + 2 <= end) /* else it was not quoted */
		r |= icmp_adjust(skb, at, change, q->t.proto == IPPROTO_UDP, sum);
	return r;
}

/* The error as its receiver must see it; hop: as packet_rewrite(). */
__noinline int icmp_rewrite(struct __sk_buff *skb, int hop)
{
	struct work *w = work_get();
	if (!w)
		return -1;
	const struct packet *p = &w->p;
	__u32 inside, outside, at = p->l4 + ICMP_CHECK;
	int r = icmp_rewrite_quoted(skb, w, &inside);
	/* Its own field makes up for the change, in the packet's sum (skb->csum) too. */
	__u16 check, now;
	r |= bpf_skb_load_bytes(skb, at, &check, sizeof(check));
	now = csum_adjust(check, inside);
	r |= bpf_skb_store_bytes(skb, at, &now, sizeof(now), BPF_F_RECOMPUTE_CSUM);
	if (p->v4)
		return r | rewrite_addrs4(skb, p, &w->to, !!hop, &outside);
	if (hop)
		r |= packet_hop(skb, p);
	r |= rewrite_addrs6(skb, p, &w->to, &outside);
	return r | bpf_l4_csum_replace(skb, at, 0, outside, BPF_F_PSEUDO_HDR);
}

#endif
