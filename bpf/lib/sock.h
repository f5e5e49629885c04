/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Socket hooks: a destination that is a Service is replaced at connect() or at an unconnected sendmsg(), so that packets
 * of such sockets need no translation at all. The caller keeps seeing the virtual address (getpeername, recvfrom).
 * A socket keeps its backend for life; an unconnected UDP socket keeps one per virtual address until that backend goes.
 */
#ifndef KEELSON_BPF_LIB_SOCK_H
#define KEELSON_BPF_LIB_SOCK_H

#include "bpf/lib/select.h"
#include "bpf/lib/trace.h"

#define SOCK_ECONNREFUSED 111
#define SOCK_IPPROTO_MPTCP 262

/* Kernels before 5.18 cannot choose the errno: callers then see EPERM. */
const volatile __u8 have_set_retval = 0;

enum sock_verdict { SOCK_PASS, SOCK_REWRITE, SOCK_REFUSE };

static __always_inline int sock_proto(struct bpf_sock_addr *ctx, __u8 *ret)
{
	__u32 p = ctx->protocol;
	if (p == SOCK_IPPROTO_MPTCP)
		p = 6;
	if (p != 6 && p != 17 && p != 132)
		return 0;
	*ret = p;
	return 1;
}

/* Finds the frontend, or says how a destination without one is treated. */
static __always_inline int sock_frontend(struct bpf_sock_addr *ctx, const struct select_dst *dst,
					 struct abi_frontend *ret, int *ret_verdict)
{
	struct abi_frontend_key key = {};
	frontend_key(&key, dst);
	if (frontend_lookup(&key, ret))
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
			return frontend_lookup(&key, ret);
		}
	}
	if (in_service_range(c, dst->addr)) {
		key.port = 0;
		key.proto = 0;
		key.scope = ABI_SCOPE_OWNED;
		if (frontend_lookup(&key, ret)) {
			count(ABI_SOCK_REFUSED_NO_PORT);
			*ret_verdict = SOCK_REFUSE;
		}
	}
	return 0;
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

static __always_inline int sock_select(struct bpf_sock_addr *ctx, const struct abi_frontend *f, const struct select_dst *dst,
				       struct select_result *ret)
{
	struct abi_flow_key who = {};
	sock_client(ctx, f, dst, &who);
	switch (select_backend(f, &who, ABI_CLIENT_NETNS, ret)) {
	case SELECT_OK:
		stats_connection(f->set_id);
		count(ABI_SOCK_TRANSLATED);
		return SOCK_REWRITE;
	case SELECT_DROP: /* left alone it ends in the blackhole route */
		count(ABI_SOCK_LEFT_LOCAL_POLICY);
		return SOCK_PASS;
	case SELECT_OVERTAKEN:
		count(ABI_SOCK_OVERTAKEN);
		return SOCK_REFUSE;
	default:
		stats_refused(f->set_id);
		count(ABI_SOCK_REFUSED_NO_ENDPOINTS);
		return SOCK_REFUSE;
	}
}

static __always_inline int sock_connect(struct bpf_sock_addr *ctx, struct select_dst *dst)
{
	struct abi_frontend f;
	struct select_result r;
	int verdict;
	if (!sock_frontend(ctx, dst, &f, &verdict))
		return verdict;
	verdict = sock_select(ctx, &f, dst, &r);
	if (verdict != SOCK_REWRITE)
		return verdict;

	struct bpf_sock *sk = ctx->sk;
	if (sk) {
		struct abi_sock *s = bpf_sk_storage_get(&socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (s) { /* without memory for it only getpeername() tells the backend */
			addr_copy(s->vip, dst->addr);
			s->vip_port = dst->port;
			addr_copy(s->backend, r.backend.addr);
			s->backend_port = r.backend.port;
		}
	}
	addr_copy(dst->addr, r.backend.addr);
	dst->port = r.backend.port;
	return SOCK_REWRITE;
}

static __always_inline int sock_sendmsg(struct bpf_sock_addr *ctx, struct select_dst *dst)
{
	struct abi_frontend f;
	int verdict;
	if (!sock_frontend(ctx, dst, &f, &verdict))
		return verdict;

	struct abi_peer_key forward = { .cookie = bpf_get_socket_cookie(ctx), .port = dst->port, .dir = ABI_PEER_FORWARD };
	struct abi_peer_key reply = { .cookie = forward.cookie, .dir = ABI_PEER_REPLY };
	struct select_result r;
	addr_copy(forward.addr, dst->addr);
	struct abi_peer *known = bpf_map_lookup_elem(&udp_peers, &forward);
	/* A backend that only drains keeps the flows it has; one that is gone loses them here. */
	if (known && backend_get(known->backend_id, known->generation, &r.backend) && r.backend.set_id == f.set_id) {
		r.id = known->backend_id;
		addr_copy(reply.addr, r.backend.addr);
		reply.port = r.backend.port;
		if (bpf_map_lookup_elem(&udp_peers, &reply))
			goto rewrite;
	} else {
		if (known)
			count(ABI_UDP_RESELECTED);
		verdict = sock_select(ctx, &f, dst, &r);
		if (verdict != SOCK_REWRITE)
			return verdict;
		addr_copy(reply.addr, r.backend.addr);
		reply.port = r.backend.port;
	}
	struct abi_peer p = { .port = dst->port, .backend_id = r.id, .generation = r.backend.generation };
	addr_copy(p.addr, dst->addr);
	bpf_map_update_elem(&udp_peers, &forward, &p, BPF_ANY);
	bpf_map_update_elem(&udp_peers, &reply, &p, BPF_ANY);
rewrite:
	addr_copy(dst->addr, r.backend.addr);
	dst->port = r.backend.port;
	return SOCK_REWRITE;
}

/* From the backend's address back to the one the program used; for getpeername() and recvmsg(). */
static __always_inline int sock_reverse(struct bpf_sock_addr *ctx, struct select_dst *peer, int unconnected)
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
	if (!unconnected)
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

static __always_inline int sock_refuse(void)
{
	if (have_set_retval)
		bpf_set_retval(-SOCK_ECONNREFUSED);
	return 0;
}

static __always_inline void sock_load4(struct bpf_sock_addr *ctx, struct select_dst *d)
{
	addr_from_v4(d->addr, ctx->user_ip4);
	d->port = (__be16)ctx->user_port;
}

static __always_inline void sock_store4(struct bpf_sock_addr *ctx, const struct select_dst *d)
{
	ctx->user_ip4 = d->addr[3];
	ctx->user_port = d->port;
}

static __always_inline void sock_load6(struct bpf_sock_addr *ctx, struct select_dst *d)
{
	d->addr[0] = ctx->user_ip6[0];
	d->addr[1] = ctx->user_ip6[1];
	d->addr[2] = ctx->user_ip6[2];
	d->addr[3] = ctx->user_ip6[3];
	d->port = (__be16)ctx->user_port;
}

static __always_inline void sock_store6(struct bpf_sock_addr *ctx, const struct select_dst *d)
{
	ctx->user_ip6[0] = d->addr[0];
	ctx->user_ip6[1] = d->addr[1];
	ctx->user_ip6[2] = d->addr[2];
	ctx->user_ip6[3] = d->addr[3];
	ctx->user_port = d->port;
}

#endif
