/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Packets for Services whose backend was not chosen at a socket. Four places see them: the ingress of outward links, the
 * ingress of the pods' bridge, the ingress of the tunnel, and the egress of links, where answers of this node's backends leave.
 *
 * A backend of this node gets the packet with the client's address, routed by the kernel. One of another node gets it from
 * an address of ours, so that its answer comes back here to be translated; packets of both directions are then sent on by
 * route.h. Established TCP keeps its backend whatever the Service becomes; a UDP flow whose backend went away is decided anew.
 */
#ifndef KEELSON_BPF_LIB_TC_H
#define KEELSON_BPF_LIB_TC_H

#include "bpf/lib/fragment.h"
#include "bpf/lib/route.h"

#define TC_PACKET_HOST 0

/* dsr.h */
int dsr_send(struct __sk_buff *skb);
int dsr_receive(struct __sk_buff *skb);
int dsr_clamp(struct __sk_buff *skb);

/* By how much encapsulation makes a packet longer. */
static __always_inline __u32 dsr_overhead(const struct packet *p)
{
	return p->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* Off the packets' way. */
__noinline int work_trace(__u32 ifindex, __u32 bytes)
{
	struct work *w = work_get();
	if (!w)
		return 0;
	struct trace_point *at = &w->trace;
	at->before = w->p.t;
	at->after = w->translated ? w->to : w->p.t;
	at->ifindex = ifindex;
	at->set_id = w->set_id;
	at->backend_id = w->backend_id;
	at->len = bytes;
	at->program = w->program;
	at->reason = w->reason;
	return trace_verdict(at);
}

/* Counts and tells what became of the packet. */
static __always_inline int tc_verdict(struct __sk_buff *skb, struct work *w, int verdict)
{
	if (w->reason != ABI_TC_PASSED)
		count(w->reason);
	if (trace_on())
		work_trace(skb->ifindex, skb->len);
	return verdict;
}

static __always_inline int tc_pass(struct __sk_buff *skb, struct work *w)
{
	w->reason = ABI_TC_PASSED;
	return tc_verdict(skb, w, TC_ACT_UNSPEC);
}

static __always_inline int tc_drop(struct __sk_buff *skb, struct work *w, __u32 reason)
{
	w->reason = reason;
	return tc_verdict(skb, w, TC_ACT_SHOT);
}

enum tc_frontend { TC_NOBODYS, TC_FRONTEND, TC_OWNED };

/* Whose a destination is; fills w->frontend and w->set_id. */
__noinline int tc_frontend(void)
{
	struct work *w = work_get();
	const struct abi_config *c = config_get();
	struct abi_frontend_key key = {};
	if (!w || !c)
		return TC_NOBODYS;
	addr_copy(key.addr, w->key.addr);
	key.port = w->key.port;
	key.proto = w->key.proto;
	int found = frontend_lookup(&key, &w->frontend);
	/* What comes unwrapped was for another node's address. */
	if (!found && is_node_port(c, key.port) && (w->unwrapped || is_node_addr(key.addr))) {
		frontend_key_node_port(&key);
		found = frontend_lookup(&key, &w->frontend);
	}
	if (found) {
		w->set_id = w->inside ? w->frontend.set_id : w->frontend.outside_set_id;
		return w->frontend.flags & ABI_FRONTEND_EXTERNAL ? TC_FRONTEND : TC_NOBODYS;
	}
	if (!in_service_range(c, w->key.addr))
		return TC_NOBODYS;
	key.port = 0;
	key.proto = 0;
	key.scope = ABI_SCOPE_OWNED;
	return frontend_lookup(&key, &w->frontend) ? TC_OWNED : TC_NOBODYS;
}

/* TCP or SCTP in mid-flight that no flow is known for: whoever still believes in it must hear that it is over. */
static __always_inline int tc_stray(struct work *w)
{
	const struct abi_config *c = config_get();
	if (c && c->flags & ABI_CONFIG_MIGRATING)
		return ABI_SOCK_OVERTAKEN;
	/* On an address of the node it may be somebody's after all, and the kernel says the same otherwise. */
	return is_node_addr(w->key.addr) ? ABI_TC_PASSED : ABI_TC_REJECTED;
}

/* The way of a packet from and to where work.to says, told by its link in work.way; 0: there is none for plain frames. */
static __always_inline int tc_way(void *ctx, struct work *w, __u32 ifindex)
{
	__builtin_memset(&w->way, 0, sizeof(w->way));
	route_question(w, &w->way, ifindex, 1);
	long found = bpf_fib_lookup(ctx, &w->way, sizeof(w->way), 0);
	return found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* Is the next hop that was found where the packet goes? */
static __always_inline int tc_way_ends(const struct work *w)
{
	return w->p.v4 ? w->way.ipv4_dst == w->to.daddr[3] : addr_same(w->way.ipv6_dst, w->to.daddr);
}

/* Whether the flow to the backend chosen may pass the node's stack by, both ways: neither conntrack nor a filter sees any of it then.
 * What the stack might not let through, or not by these links, is left to it; so are datagrams: their answers may be fragments, which
 * bridges with br_netfilter put together, and only the stack takes them apart again. */
static __always_inline int tc_may_be_fast(void *ctx, struct work *w)
{
	const struct abi_config *c = config_get();
	const struct abi_backend *b = &w->chosen.backend;
	if (!c || !c->pods_ifindex || !(c->flags & ABI_CONFIG_FAST_PATH) || w->key.proto != IPPROTO_TCP || w->inside || w->unwrapped ||
	    !(b->flags & ABI_BACKEND_LOCAL) || !in_pod_range(c, b->addr) || in_pod_range(c, w->key.client) || is_node_addr(w->key.client))
		return 0;
	w->to = w->p.t;
	addr_copy(w->to.daddr, b->addr);
	w->to.dport = b->port;
	if (!tc_way(ctx, w, w->ifindex) || w->way.ifindex != c->pods_ifindex || !tc_way_ends(w))
		return 0;
	addr_copy(w->to.saddr, w->p.t.daddr);
	addr_copy(w->to.daddr, w->p.t.saddr);
	w->to.sport = w->p.t.dport;
	w->to.dport = w->p.t.sport;
	return tc_way(ctx, w, c->pods_ifindex) && w->way.ifindex == w->ifindex;
}

/* In tc. A program of XDP has another context. */
__noinline int tc_decide_fast(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (w)
		w->fast = tc_may_be_fast(skb, w);
	return 0;
}

/* A packet without a usable flow: gets one (ABI_TC_TRANSLATED), or a reason why not. old: an earlier life, or NULL. */
static __always_inline int tc_new(void *ctx, int xdp, struct work *w, struct abi_flow *old)
{
	int whose = tc_frontend();
	if (whose == TC_NOBODYS || (w->unwrapped && !(w->frontend.flags & ABI_FRONTEND_DSR)))
		return ABI_TC_PASSED;
	if (w->p.part == PACKET_LATER)
		return ABI_TC_DROP_FRAGMENT;
	if (w->p.malformed)
		return ABI_TC_DROP_MALFORMED;
	if (addr_is_no_client(w->key.client))
		return ABI_TC_PASSED;
	if (whose == TC_OWNED)
		return ABI_TC_REJECTED;
	/* The node that a packet comes from knows its flow; this one may have forgotten it. */
	if (w->unwrapped ? w->p.flags & PACKET_RST : !packet_is_first(&w->p))
		return w->unwrapped ? ABI_TC_DROP_ENCAP : tc_stray(w);
	if (w->frontend.flags & ABI_FRONTEND_RANGES && !range_allows(w->frontend.set_id, w->key.client))
		return ABI_TC_DROP_SOURCE_RANGE;
	if (old) {
		if (w->key.proto == IPPROTO_UDP)
			count(ABI_UDP_RESELECTED);
		flow_remove(&w->key, old);
	}
	w->frontend.set_id = w->set_id;
	int reason = place_choose();
	if (reason != ABI_TC_TRANSLATED)
		return reason;
	if (xdp)
		w->fast = tc_may_be_fast(ctx, w);
	else
		tc_decide_fast(ctx);
	return place_flow();
}

/* Does the flow still say where this packet goes? TCP keeps its backend, but a new connection does not begin with one that
 * has ended or whose backend is gone. */
static __always_inline int tc_flow_holds(const struct work *w, const struct abi_flow *f)
{
	if (w->p.part == PACKET_LATER || !packet_is_first(&w->p))
		return 1;
	return backend_alive(f->backend_id, f->generation) && (w->key.proto == IPPROTO_UDP || !flow_closed(f));
}

/* What happens to a packet that is not translated. */
static __always_inline int tc_refuse(struct __sk_buff *skb, struct work *w, __u32 reason)
{
	int verdict = TC_ACT_SHOT;
	if (reason == ABI_TC_PASSED)
		return tc_pass(skb, w);
	w->reason = reason;
	if (reason == ABI_TC_REFUSED_NO_ENDPOINTS)
		stats_refused(w->set_id);
	if (reason == ABI_TC_REFUSED_NO_ENDPOINTS || reason == ABI_TC_REJECTED) {
		verdict = reject_send(skb, &w->p, REJECT_UNREACHABLE, 0);
		if (reason != ABI_TC_REJECTED && verdict != TC_ACT_SHOT)
			count(ABI_TC_REJECTED);
	}
	return tc_verdict(skb, w, verdict);
}

/* Sends a translated packet on its way; how: ABI_FLOW_* of its flow. */
static __always_inline int tc_send(struct __sk_buff *skb, __u32 how)
{
	if (how & ABI_FLOW_SNAT)
		return route_send(skb);
	return how & ABI_FLOW_FAST ? route_to_pod(skb) : route_by_stack(skb);
}

/* From the client to the backend: w->to by the flow found or made. */
static __always_inline void tc_towards_backend(struct work *w)
{
	const struct abi_flow *f = &w->flow;
	w->set_id = f->set_id;
	w->backend_id = f->backend_id;
	w->to = w->p.t;
	addr_copy(w->to.daddr, f->backend);
	w->to.dport = f->backend_port;
	w->to.sport = flow_seen_port(f, w->to.sport);
	if (f->flags & ABI_FLOW_SNAT)
		addr_copy(w->to.saddr, f->snat);
	w->translated = 1;
	w->reason = ABI_TC_TRANSLATED;
}

/* The flow that a client's packet belongs to. */
static __always_inline void work_key(struct work *w)
{
	struct abi_flow_key *key = &w->key;
	__builtin_memset(key, 0, sizeof(*key));
	addr_copy(key->client, w->p.t.saddr);
	addr_copy(key->addr, w->p.t.daddr);
	key->client_port = w->p.t.sport;
	key->port = w->p.t.dport;
	key->proto = w->p.t.proto;
}

static __always_inline void tc_flow_hit(struct work *w, struct abi_flow *f)
{
	flow_client_sends(f, &w->p);
	w->flow = *f;
}

__noinline int tc_forward(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (!w)
		return TC_ACT_UNSPEC;
	work_key(w);
	struct abi_flow *f = bpf_map_lookup_elem(&flows, &w->key);
	if (f && tc_flow_holds(w, f)) {
		if (w->p.malformed)
			return tc_refuse(skb, w, ABI_TC_DROP_MALFORMED);
		tc_flow_hit(w, f);
	} else {
		int reason = tc_new(skb, 0, w, f);
		if (reason != ABI_TC_TRANSLATED)
			return tc_refuse(skb, w, reason);
	}
	if (w->p.part == PACKET_FIRST)
		fragment_note(&w->p);
	if (w->flow.flags & ABI_FLOW_DSR_OUT)
		return tc_verdict(skb, w, dsr_send(skb));
	tc_towards_backend(w);
	return tc_verdict(skb, w, tc_send(skb, w->flow.flags));
}

enum { TC_NOT_OURS = -2 };

/* The flow that an answer belongs to, or NULL. */
static __always_inline struct abi_flow_reply *tc_find_reply(const struct work *w)
{
	struct abi_flow_key key = { .client_port = w->p.t.dport, .port = w->p.t.sport, .proto = w->p.t.proto };
	addr_copy(key.client, w->p.t.daddr);
	addr_copy(key.addr, w->p.t.saddr);
	return bpf_map_lookup_elem(&flow_replies, &key);
}

/* From the backend to the client: w->to by what was found. */
static __always_inline void tc_towards_client(struct work *w, struct abi_flow_reply *r)
{
	flow_touch(&r->last_ns);
	w->to = w->p.t;
	addr_copy(w->to.saddr, r->addr);
	w->to.sport = r->port;
	addr_copy(w->to.daddr, r->client);
	w->to.dport = r->client_port;
	w->translated = 1;
	w->reason = ABI_TC_TRANSLATED;
	__u8 bits = flow_state_bits(&w->p, ABI_FLOW_SERVER_FIN, ABI_FLOW_RESET);
	if (!bits && !trace_on()) /* who traces wants to know the Service */
		return;
	flow_key_of_reply(&w->key, r, w->p.t.proto);
	struct abi_flow *f = bpf_map_lookup_elem(&flows, &w->key);
	if (!f)
		return;
	if (bits)
		f->state |= bits;
	w->set_id = f->set_id;
	w->backend_id = f->backend_id;
}

/* An answer: becomes the frontend's, for the client. TC_NOT_OURS when it belongs to no flow. */
__noinline int tc_reply(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (!w)
		return TC_NOT_OURS;
	struct abi_flow_reply *r = tc_find_reply(w);
	if (!r)
		return TC_NOT_OURS;
	/* The stack brings it to the way out, where it is translated. */
	if (w->program == ABI_PROGRAM_TC_PODS && !(r->flags & (ABI_FLOW_SNAT | ABI_FLOW_FAST)))
		return tc_pass(skb, w);
	if (w->p.malformed)
		return tc_drop(skb, w, ABI_TC_DROP_MALFORMED);
	tc_towards_client(w, r);
	if (w->p.part == PACKET_FIRST)
		fragment_note(&w->p);
	if (r->flags & ABI_FLOW_DSR_IN && w->p.t.proto == IPPROTO_TCP && w->p.flags & PACKET_SYN && dsr_clamp(skb))
		return tc_drop(skb, w, ABI_TC_DROP_REWRITE);
	return tc_verdict(skb, w, w->program == ABI_PROGRAM_TC_EGRESS ? route_by_stack(skb) : route_send(skb));
}

__noinline int tc_icmp(struct __sk_buff *skb)
{
	struct work *w = work_get();
	if (!w)
		return TC_ACT_UNSPEC;
	w->to = w->p.t;
	int found = icmp_find(skb);
	if (found == ICMP_NONE)
		return tc_pass(skb, w);
	if (w->p.malformed)
		return tc_drop(skb, w, ABI_TC_DROP_MALFORMED);
	if (found == ICMP_TO_BACKEND && w->flow.flags & ABI_FLOW_DSR_OUT)
		return tc_verdict(skb, w, dsr_send(skb));
	w->translated = 1;
	w->reason = ABI_TC_ICMP_TRANSLATED;
	if (found == ICMP_TO_BACKEND)
		return tc_verdict(skb, w, tc_send(skb, w->flow.flags));
	/* Out of a link it is already on its way. */
	return tc_verdict(skb, w, w->program == ABI_PROGRAM_TC_EGRESS ? route_by_stack(skb) : route_send(skb));
}

/* Whether an answer to what was sent on from here may look like this. */
static __always_inline int tc_may_be_reply(const struct abi_config *c, const struct work *w)
{
	const __u32 *to = w->p.t.daddr;
	int family = !w->p.v4;
	if (w->program == ABI_PROGRAM_TC_PODS) /* of two pods, or of a pod and the node */
		return c->pods_ifindex || addr_same(to, c->snat_pod[family]);
	__u16 port = bpf_ntohs(w->p.t.dport);
	return in_pod_range(c, to) || addr_same(to, c->snat_pod[family]) ||
	       (addr_same(to, c->snat_node[family]) && port >= c->snat_node_min && port <= c->snat_node_max);
}

static __always_inline void work_begin(struct work *w, __u8 program, __u32 ifindex)
{
	w->ifindex = ifindex;
	w->set_id = w->backend_id = 0;
	w->program = program;
	w->inside = program == ABI_PROGRAM_TC_PODS;
	w->translated = w->unwrapped = 0;
}

/* Reads the packet. Returns the work to be done on it, or NULL when it is nobody's of ours; *verdict says what then. */
static __always_inline struct work *tc_begin(struct __sk_buff *skb, __u8 program, int *verdict)
{
	struct work *w = work_get();
	*verdict = TC_ACT_UNSPEC;
	if (!w)
		return 0;
	work_begin(w, program, skb->ifindex);
	if (!packet_parse(skb, PACKET_L3, 0)) {
		if (w->p.part != PACKET_FIRST) {
			if ((program == ABI_PROGRAM_TC_INGRESS || program == ABI_PROGRAM_TC_TUNNEL) && w->p.part == PACKET_WHOLE &&
			    w->p.t.proto == (w->p.v4 ? IPPROTO_IPIP : IPPROTO_IPV6))
				*verdict = dsr_receive(skb);
			return 0;
		}
		/* Too short for its transport header: nobody can tell whose it is. */
		if (w->p.t.proto != IPPROTO_TCP && w->p.t.proto != PACKET_SCTP)
			return 0;
	} else if (w->p.part != PACKET_LATER || fragment_find(&w->p)) {
		return w;
	}
	const struct abi_config *c = config_get();
	if (c && program != ABI_PROGRAM_TC_EGRESS && fragment_is_ours(c, &w->p))
		*verdict = tc_drop(skb, w, ABI_TC_DROP_FRAGMENT);
	return 0;
}

/* Most of what crosses the pods' bridge goes from pod to pod, and only answers to the SNAT address among that are ours: told
 * from the headers where they lie, so that it costs next to nothing. No's are looked at again. */
static __always_inline int tc_from_pod_to_pod(struct __sk_buff *skb, const struct abi_config *c)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (c->trace) /* it wants to see everything */
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + PACKET_L3;
		return (void *)(ip + 1) <= end && c->pod_mask[0][0] && ip->daddr != c->snat_pod[0][3] &&
		       (ip->daddr & c->pod_mask[0][3]) == c->pod_net[0][3];
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + PACKET_L3;
		return (void *)(ip + 1) <= end && !addr_same(ip->daddr.in6_u.u6_addr32, c->snat_pod[1]) &&
		       in_range(c->pod_net[1], c->pod_mask[1], ip->daddr.in6_u.u6_addr32);
	}
	return 0;
}

/* The ingress of a link: answers come first, they are told by their destination. */
static __always_inline int tc_in(struct __sk_buff *skb, __u8 program, int forward)
{
	int verdict;
	const struct abi_config *c = config_get();
	/* Seen, but sent to somebody else. */
	if (!c || skb->pkt_type != TC_PACKET_HOST)
		return TC_ACT_UNSPEC;
	if (program == ABI_PROGRAM_TC_PODS && tc_from_pod_to_pod(skb, c))
		return TC_ACT_UNSPEC;
	struct work *w = tc_begin(skb, program, &verdict);
	if (!w)
		return verdict;
	if (w->p.kind == PACKET_ICMP)
		return tc_icmp(skb);
	if (program == ABI_PROGRAM_TC_PODS && skb->tc_index == ROUTE_NO_ANSWER) {
		skb->tc_index = 0;
	} else if (tc_may_be_reply(c, w)) {
		verdict = tc_reply(skb);
		if (verdict != TC_NOT_OURS)
			return verdict;
		/* An answer that comes too late: nobody has that address, so the backend would wait for it for long. */
		if (addr_same(w->p.t.daddr, c->snat_pod[!w->p.v4]))
			return tc_refuse(skb, w, c->flags & ABI_CONFIG_MIGRATING ? ABI_SOCK_OVERTAKEN : ABI_TC_REJECTED);
	}
	/* A pod's address is nobody's frontend. */
	if (!forward || in_pod_range(c, w->p.t.daddr))
		return tc_pass(skb, w);
	return tc_forward(skb);
}

/* The ingress of a pod's own link: answers of fast flows need not even see the bridge. Everything else goes on to it, and to tc_pods
 * there, which does the same for pods whose link has no program yet. */
static __always_inline int tc_from_pod(struct __sk_buff *skb)
{
	const struct abi_config *c = config_get();
	struct work *w = work_get();
	if (!c || !w || !c->pods_ifindex || (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6)) ||
	    tc_from_pod_to_pod(skb, c))
		return TC_ACT_UNSPEC;
	work_begin(w, ABI_PROGRAM_TC_POD, c->pods_ifindex);
	if (packet_parse(skb, PACKET_L3, 0) != PACKET_PORTS || w->p.part != PACKET_WHOLE || w->p.malformed)
		return TC_ACT_UNSPEC;
	struct abi_flow_reply *r = tc_find_reply(w);
	if (r && r->flags & ABI_FLOW_FAST) {
		tc_towards_client(w, r);
		return tc_verdict(skb, w, route_send(skb));
	}
	if (!r)
		skb->tc_index = ROUTE_NO_ANSWER;
	return TC_ACT_UNSPEC;
}

/* The egress of a link: answers of backends of this node. */
static __always_inline int tc_out(struct __sk_buff *skb)
{
	int verdict;
	if (skb->tc_index == ROUTE_DONE) {
		skb->tc_index = 0;
		return TC_ACT_UNSPEC;
	}
	struct work *w = tc_begin(skb, ABI_PROGRAM_TC_EGRESS, &verdict);
	if (!w)
		return verdict;
	if (w->p.kind == PACKET_ICMP)
		return tc_icmp(skb);
	verdict = tc_reply(skb);
	return verdict == TC_NOT_OURS ? tc_pass(skb, w) : verdict;
}

#endif
