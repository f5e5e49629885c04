/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connected UDP sockets whose backend went away. The kernel calls no hook for their send(), so they would send into the void
 * for ever. The daemon, having removed backends, walks the socket storage with this iterator and destroys what it names (as
 * `ss -K` does): a recv() says ECONNABORTED, a send() EDESTADDRREQ, and the program connects again. The walk goes through the
 * sockets of all network namespaces.
 */
#ifndef KEELSON_BPF_LIB_STALE_H
#define KEELSON_BPF_LIB_STALE_H

#include <linux/in.h>
#include <linux/in6.h>

#include "bpf/lib/select.h"

#define STALE_AF_INET 2

/* The kernel's own, as far as they are needed; relocated to the running kernel's layout when loaded. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id, seq_num;
};
struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};
#pragma clang attribute pop

static __always_inline void stale_addr6(__u32 *to, const struct in6_addr *a)
{
	to[0] = a->in6_u.u6_addr32[0];
	to[1] = a->in6_u.u6_addr32[1];
	to[2] = a->in6_u.u6_addr32[2];
	to[3] = a->in6_u.u6_addr32[3];
}

static __always_inline int stale_report(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct abi_sock *s = ctx->value;
	if (!sk || !s || sk->sk_protocol != IPPROTO_UDP || !s->backend_port || backend_alive(s->backend_id, s->generation))
		return 0;
	struct sock_common *c = &sk->__sk_common;
	struct abi_stale_socket out = {
		.netns = c->skc_net.net->ns.inum,
		.ifindex = c->skc_bound_dev_if,
		.family = c->skc_family,
		.sport = bpf_htons(c->skc_num),
		.dport = c->skc_dport,
	};
	if (c->skc_family == STALE_AF_INET) {
		addr_from_v4(out.saddr, c->skc_rcv_saddr);
		addr_from_v4(out.daddr, c->skc_daddr);
	} else {
		stale_addr6(out.saddr, &c->skc_v6_rcv_saddr);
		stale_addr6(out.daddr, &c->skc_v6_daddr);
	}
	/* It may have connected to something else without a hook having seen it: disconnected, for one. */
	if (out.dport != s->backend_port || !addr_same(out.daddr, s->backend))
		return 0;
	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

#endif
