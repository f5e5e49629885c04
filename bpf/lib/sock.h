/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Socket hooks: a destination that is a Service is replaced at connect() or at an unconnected sendmsg(), so that packets
 * of such sockets need no translation at all. The caller keeps seeing the virtual address (getpeername, recvfrom).
 * A socket keeps its backend for life; an unconnected UDP socket keeps one per virtual address until that backend goes.
 */
#ifndef KEELSON_BPF_LIB_SOCK_H
#define KEELSON_BPF_LIB_SOCK_H

#include <linux/in.h>

#include "bpf/lib/select.h"
#include "bpf/lib/trace.h"

#define SOCK_ECONNREFUSED 111
#define SOCK_IPPROTO_MPTCP 262

/* Kernels before 5.18 cannot choose the errno: callers then see EPERM. */
const volatile __u8 have_set_retval = 0;

/* Which hook a function was inlined into: a call and a family. Always a constant, so that a program has no access in it to
 * a field of the context that its hook does not have; asked for one bit or number at a time, which clang folds. */
enum sock_call { SOCK_CONNECT, SOCK_SENDMSG, SOCK_RECVMSG, SOCK_GETPEERNAME };
enum sock_hook {
	SOCK_CONNECT4 = SOCK_CONNECT << 1, SOCK_CONNECT6, SOCK_SENDMSG4, SOCK_SENDMSG6, SOCK_RECVMSG4, SOCK_RECVMSG6,
	SOCK_GETPEERNAME4, SOCK_GETPEERNAME6
};
#define SOCK_IS_V6(hook) ((hook) & 1)
#define SOCK_CALL(hook) ((enum sock_call)((hook) >> 1))
enum sock_verdict { SOCK_PASS, SOCK_REWRITE, SOCK_REFUSE, SOCK_DENY };
/* What was decided and about what. */
struct sock_outcome {
	struct abi_frontend f;
	struct select_result r;
	__u32 source[4]; /* see sock_source() */
	__u8 reason;
	__u8 program;
};

static __always_inline int sock_proto(struct bpf_sock_addr *ctx, __u8 *ret)
{
	__u32 p = ctx->protocol;
	if (p == SOCK_IPPROTO_MPTCP)
		p = IPPROTO_TCP;
	if (p != IPPROTO_TCP && p != IPPROTO_UDP && p != IPPROTO_SCTP)
		return 0;
	*ret = p;
	return 1;
}

static __always_inline void sock_load(struct bpf_sock_addr *ctx, enum sock_hook hook, struct select_dst *d)
{
	if (SOCK_IS_V6(hook)) {
		d->addr[0] = ctx->user_ip6[0];
		d->addr[1] = ctx->user_ip6[1];
		d->addr[2] = ctx->user_ip6[2];
		d->addr[3] = ctx->user_ip6[3];
	} else {
		addr_from_v4(d->addr, ctx->user_ip4);
	}
	d->port = (__be16)ctx->user_port;
}

static __always_inline void sock_store(struct bpf_sock_addr *ctx, enum sock_hook hook, const struct select_dst *d)
{
	if (SOCK_IS_V6(hook)) {
		ctx->user_ip6[0] = d->addr[0];
		ctx->user_ip6[1] = d->addr[1];
		ctx->user_ip6[2] = d->addr[2];
		ctx->user_ip6[3] = d->addr[3];
	} else {
		ctx->user_ip4 = d->addr[3];
	}
	ctx->user_port = d->port;
}

/* The socket's own address as far as it is known: what it is bound to, and for a datagram what the message asks for. All
 * zero (or 0.0.0.0) when the kernel has yet to choose. */
static __always_inline void sock_source(struct bpf_sock_addr *ctx, enum sock_hook hook, __u32 *addr)
{
	struct bpf_sock *sk = ctx->sk;
	addr_from_v4(addr, 0);
	if (SOCK_CALL(hook) == SOCK_SENDMSG) {
		if (SOCK_IS_V6(hook)) {
			addr[0] = ctx->msg_src_ip6[0];
			addr[1] = ctx->msg_src_ip6[1];
			addr[2] = ctx->msg_src_ip6[2];
			addr[3] = ctx->msg_src_ip6[3];
		} else {
			addr_from_v4(addr, ctx->msg_src_ip4);
		}
	} else if (sk) {
		if (SOCK_IS_V6(hook)) {
			addr[0] = sk->src_ip6[0];
			addr[1] = sk->src_ip6[1];
			addr[2] = sk->src_ip6[2];
			addr[3] = sk->src_ip6[3];
		} else {
			addr_from_v4(addr, sk->src_ip4);
		}
	}
}

/* Finds the frontend, or says how a destination without one is treated. */
static __always_inline int sock_frontend(struct bpf_sock_addr *ctx, const struct select_dst *dst, struct sock_outcome *o,
					 int *ret_verdict)
{
	struct abi_frontend_key key = {};
	frontend_key(&key, dst);
	if (frontend_lookup(&key, &o->f))
		return 1;
	*ret_verdict = SOCK_PASS;
	const struct abi_config *c = config_get();
	if (!c)
		return 0;
	if (is_node_port(c, dst->port)) {
		int here = addr_is_loopback(dst->addr) ? bpf_get_netns_cookie(ctx) == c->node_netns :
							 is_node_addr(dst->addr);
		if (here) {
			frontend_key_node_port(&key);
			return frontend_lookup(&key, &o->f);
		}
	}
	if (in_service_range(c, dst->addr)) {
		key.port = 0;
		key.proto = 0;
		key.scope = ABI_SCOPE_OWNED;
		if (frontend_lookup(&key, &o->f)) {
			o->reason = ABI_SOCK_REFUSED_NO_PORT;
			*ret_verdict = SOCK_REFUSE;
		}
	}
	return 0;
}

/* loadBalancerSourceRanges, when the frontend has them. SOCK_REWRITE: may go on; SOCK_PASS: the packets tell, in tc_pods. */
static __always_inline int sock_in_ranges(struct bpf_sock_addr *ctx, enum sock_hook hook, struct sock_outcome *o)
{
	const struct abi_config *c = config_get();
	if (!(o->f.flags & ABI_FRONTEND_RANGES) || !c)
		return SOCK_REWRITE;
	sock_source(ctx, hook, o->source);
	int allowed;
	if (!addr_is_loopback(o->source)) /* which says yes to the unspecified addresses as well */
		allowed = range_allows(o->f.set_id, o->source);
	else if (bpf_get_netns_cookie(ctx) == c->node_netns)
		allowed = !(o->f.flags & ABI_FRONTEND_DENY_NODE);
	else if (o->f.flags & (ABI_FRONTEND_DENY_PODS | ABI_FRONTEND_ALLOW_PODS))
		allowed = !(o->f.flags & ABI_FRONTEND_DENY_PODS);
	else
		return SOCK_PASS;
	if (allowed)
		return SOCK_REWRITE;
	o->reason = ABI_SOCK_DROP_SOURCE_RANGE;
	return SOCK_DENY;
}

/* Who asks, as far as the choice needs it. */
static __always_inline void sock_client(struct bpf_sock_addr *ctx, const struct abi_frontend *f, const struct select_dst *dst,
					struct abi_flow_key *ret)
{
	if (!f->affinity_s && !(ABI_SET_FLAGS(set_word(f->set_id)) & ABI_SET_HASH))
		return;
	__u64 netns = bpf_get_netns_cookie(ctx), own = bpf_get_socket_cookie(ctx);
	ret->client[0] = (__u32)netns;
	ret->client[1] = (__u32)(netns >> 32);
	ret->client[2] = (__u32)own;
	ret->client[3] = (__u32)(own >> 32);
	addr_copy(ret->addr, dst->addr);
	ret->port = dst->port;
	ret->proto = dst->proto;
}

static __always_inline int sock_select(struct bpf_sock_addr *ctx, const struct select_dst *dst, struct sock_outcome *o)
{
	struct abi_flow_key who = {};
	sock_client(ctx, &o->f, dst, &who);
	switch (select_backend(&o->f, &who, ABI_CLIENT_NETNS, &o->r)) {
	case SELECT_OK:
		stats_connection(o->f.set_id);
		o->reason = ABI_SOCK_TRANSLATED;
		return SOCK_REWRITE;
	case SELECT_DROP: /* left alone it ends in the blackhole route */
		o->reason = ABI_SOCK_LEFT_LOCAL_POLICY;
		return SOCK_PASS;
	case SELECT_OVERTAKEN:
		o->reason = ABI_SOCK_OVERTAKEN;
		return SOCK_REFUSE;
	default:
		stats_refused(o->f.set_id);
		o->reason = ABI_SOCK_REFUSED_NO_ENDPOINTS;
		return SOCK_REFUSE;
	}
}

/* Whatever the socket was connected to, it is no more. */
static __always_inline void sock_forget(struct abi_sock *s)
{
	if (s->flags & ABI_SOCK_LOADED)
		load_sub(s->backend_id, s->generation);
	s->flags = 0;
	s->backend_port = 0;
}

/* Without memory for the note only getpeername() tells the backend, and its load does not count the socket. */
static __always_inline void sock_note(struct bpf_sock *sk, const struct select_dst *vip, const struct select_result *r)
{
	struct abi_sock *s = bpf_sk_storage_get(&socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s)
		return;
	addr_copy(s->vip, vip->addr);
	s->vip_port = vip->port;
	addr_copy(s->backend, r->backend.addr);
	s->backend_port = r->backend.port;
	s->backend_id = r->id;
	s->generation = r->backend.generation;
	if (r->loaded) {
		load_add(r->id);
		s->flags = ABI_SOCK_LOADED;
	}
}

static __always_inline int sock_connect(struct bpf_sock_addr *ctx, enum sock_hook hook, struct select_dst *dst,
					struct sock_outcome *o)
{
	struct bpf_sock *sk = ctx->sk;
	struct abi_sock *before = sk ? bpf_sk_storage_get(&socks, sk, 0, 0) : 0;
	if (before)
		sock_forget(before);
	int verdict;
	if (!sock_frontend(ctx, dst, o, &verdict))
		return verdict;
	verdict = sock_in_ranges(ctx, hook, o);
	if (verdict == SOCK_REWRITE)
		verdict = sock_select(ctx, dst, o);
	if (verdict != SOCK_REWRITE)
		return verdict;
	if (sk)
		sock_note(sk, dst, &o->r);
	addr_copy(dst->addr, o->r.backend.addr);
	dst->port = o->r.backend.port;
	return SOCK_REWRITE;
}

/* An unconnected socket's datagram: the backend of the last one to this address, or another when it has gone. */
static __always_inline int sock_sendmsg(struct bpf_sock_addr *ctx, enum sock_hook hook, struct select_dst *dst,
					struct sock_outcome *o)
{
	int verdict;
	if (!sock_frontend(ctx, dst, o, &verdict))
		return verdict;
	verdict = sock_in_ranges(ctx, hook, o);
	if (verdict != SOCK_REWRITE)
		return verdict;

	struct abi_peer_key forward = { .cookie = bpf_get_socket_cookie(ctx), .port = dst->port, .dir = ABI_PEER_FORWARD };
	struct abi_peer_key reply = { .cookie = forward.cookie, .dir = ABI_PEER_REPLY };
	struct select_result *r = &o->r;
	addr_copy(forward.addr, dst->addr);
	struct abi_peer *known = bpf_map_lookup_elem(&udp_peers, &forward);
	/* A backend that only drains keeps the flows it has; one that is gone loses them here. */
	if (known && backend_get(known->backend_id, known->generation, &r->backend) && r->backend.set_id == o->f.set_id) {
		r->id = known->backend_id;
		addr_copy(reply.addr, r->backend.addr);
		reply.port = r->backend.port;
		if (bpf_map_lookup_elem(&udp_peers, &reply))
			goto rewrite;
	} else {
		if (known)
			count(ABI_UDP_RESELECTED);
		verdict = sock_select(ctx, dst, o);
		if (verdict != SOCK_REWRITE)
			return verdict;
		addr_copy(reply.addr, r->backend.addr);
		reply.port = r->backend.port;
	}
	struct abi_peer p = { .port = dst->port, .backend_id = r->id, .generation = r->backend.generation };
	addr_copy(p.addr, dst->addr);
	bpf_map_update_elem(&udp_peers, &forward, &p, BPF_ANY);
	bpf_map_update_elem(&udp_peers, &reply, &p, BPF_ANY);
rewrite:
	addr_copy(dst->addr, r->backend.addr);
	dst->port = r->backend.port;
	return SOCK_REWRITE;
}

/* From the backend's address back to the one the program used; for getpeername() and recvmsg(). */
static __always_inline int sock_reverse(struct bpf_sock_addr *ctx, enum sock_hook hook, struct select_dst *peer)
{
	struct bpf_sock *sk = ctx->sk;
	if (sk) {
		struct abi_sock *s = bpf_sk_storage_get(&socks, sk, 0, 0);
		if (s && s->backend_port == peer->port && addr_same(s->backend, peer->addr)) {
			addr_copy(peer->addr, s->vip);
			peer->port = s->vip_port;
			return 1;
		}
	}
	if (SOCK_CALL(hook) == SOCK_GETPEERNAME)
		return 0;
	struct abi_peer_key key = { .cookie = bpf_get_socket_cookie(ctx), .port = peer->port, .dir = ABI_PEER_REPLY };
	addr_copy(key.addr, peer->addr);
	struct abi_peer *p = bpf_map_lookup_elem(&udp_peers, &key);
	if (!p)
		return 0;
	addr_copy(peer->addr, p->addr);
	peer->port = p->port;
	return 1;
}

/* Who looks on sees a received datagram come from its sender to the socket, all else go from the socket to its peer. */
__noinline int sock_trace(const struct select_dst *was, const struct select_dst *is, const struct sock_outcome *o)
{
	if (!was || !is || !o)
		return 0;
	const struct abi_trace_filter *f = trace_wants(o->reason, o->f.set_id);
	int back = o->program == ABI_PROGRAM_RECVMSG, fits;
	if (!f)
		return 0;
	if (back)
		fits = trace_fits(f, was->addr, o->source, was->port, 0, was->proto) ||
		       trace_fits(f, is->addr, o->source, is->port, 0, was->proto);
	else
		fits = trace_fits(f, o->source, was->addr, 0, was->port, was->proto) ||
		       trace_fits(f, o->source, is->addr, 0, is->port, was->proto);
	struct abi_trace_event *e = fits ? bpf_ringbuf_reserve(&trace_events, sizeof(*e), 0) : 0;
	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->ns = bpf_ktime_get_ns();
	if (back) {
		trace_tuple(&e->before, was->addr, o->source, was->port, 0, was->proto);
		trace_tuple(&e->after, is->addr, o->source, is->port, 0, was->proto);
	} else {
		trace_tuple(&e->before, o->source, was->addr, 0, was->port, was->proto);
		trace_tuple(&e->after, o->source, is->addr, 0, is->port, was->proto);
	}
	e->set_id = o->f.set_id;
	e->backend_id = o->r.id;
	e->program = o->program;
	e->reason = o->reason;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* The whole of a connect or sendmsg hook; what the program returns. */
static __always_inline int sock_forward(struct bpf_sock_addr *ctx, enum sock_hook hook)
{
	struct select_dst dst = {};
	struct sock_outcome o = { .reason = ABI_TC_PASSED };
	int connect = SOCK_CALL(hook) == SOCK_CONNECT;
	if (!sock_proto(ctx, &dst.proto))
		return 1;
	sock_load(ctx, hook, &dst);
	int verdict = connect ? sock_connect(ctx, hook, &dst, &o) : sock_sendmsg(ctx, hook, &dst, &o);
	if (o.reason != ABI_TC_PASSED)
		count(o.reason);
	if (trace_on()) {
		struct select_dst was = { .proto = dst.proto };
		sock_load(ctx, hook, &was);
		sock_source(ctx, hook, o.source);
		o.program = connect ? ABI_PROGRAM_CONNECT : ABI_PROGRAM_SENDMSG;
		sock_trace(&was, &dst, &o);
	}
	if (verdict == SOCK_REWRITE)
		sock_store(ctx, hook, &dst);
	if (verdict == SOCK_REFUSE && have_set_retval)
		bpf_set_retval(-SOCK_ECONNREFUSED);
	return verdict == SOCK_REWRITE || verdict == SOCK_PASS; /* a plain 0 is EPERM */
}

static __always_inline int sock_backward(struct bpf_sock_addr *ctx, enum sock_hook hook)
{
	struct select_dst peer = { .proto = IPPROTO_UDP };
	sock_load(ctx, hook, &peer);
	if (!sock_reverse(ctx, hook, &peer))
		return 1;
	if (SOCK_CALL(hook) == SOCK_RECVMSG && trace_on()) {
		struct select_dst was = { .proto = IPPROTO_UDP };
		struct sock_outcome o = { .reason = ABI_SOCK_TRANSLATED, .program = ABI_PROGRAM_RECVMSG };
		sock_load(ctx, hook, &was);
		sock_source(ctx, hook, o.source);
		sock_trace(&was, &peer, &o);
	}
	sock_store(ctx, hook, &peer);
	return 1;
}

/* The last close of a socket: its backend has one connection less. */
static __always_inline int sock_closed(struct bpf_sock *sk)
{
	struct abi_sock *s = bpf_sk_storage_get(&socks, sk, 0, 0);
	if (s)
		sock_forget(s);
	return 1;
}

#endif
