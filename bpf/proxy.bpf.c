/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The Service network's kernel programs: socket hooks for every process in the node's cgroup, tc programs for what
 * arrives from outside. They decide from maps alone, so that packets and sockets go on while the daemon is away.
 */
#include "bpf/lib/sock.h"
#include "bpf/lib/tc.h"

char _license[] SEC("license") = "GPL";

#define SOCK_FORWARD(name, section, load, store, decide)      \
	SEC(section)                                          \
	int name(struct bpf_sock_addr *ctx)                   \
	{                                                     \
		struct select_dst dst = {};                   \
		if (!sock_proto(ctx, &dst.proto))             \
			return 1;                             \
		load(ctx, &dst);                              \
		int verdict = decide(ctx, &dst);              \
		if (verdict == SOCK_REFUSE)                   \
			return sock_refuse();                 \
		if (verdict == SOCK_REWRITE)                  \
			store(ctx, &dst);                     \
		return 1;                                     \
	}

#define SOCK_REVERSE(name, section, load, store, unconnected) \
	SEC(section)                                          \
	int name(struct bpf_sock_addr *ctx)                   \
	{                                                     \
		struct select_dst peer = {};                  \
		load(ctx, &peer);                             \
		if (sock_reverse(ctx, &peer, unconnected))    \
			store(ctx, &peer);                    \
		return 1;                                     \
	}

SOCK_FORWARD(connect4, "cgroup/connect4", sock_load4, sock_store4, sock_connect)
SOCK_FORWARD(connect6, "cgroup/connect6", sock_load6, sock_store6, sock_connect)
SOCK_FORWARD(sendmsg4, "cgroup/sendmsg4", sock_load4, sock_store4, sock_sendmsg)
SOCK_FORWARD(sendmsg6, "cgroup/sendmsg6", sock_load6, sock_store6, sock_sendmsg)
SOCK_REVERSE(recvmsg4, "cgroup/recvmsg4", sock_load4, sock_store4, 1)
SOCK_REVERSE(recvmsg6, "cgroup/recvmsg6", sock_load6, sock_store6, 1)
SOCK_REVERSE(getpeername4, "cgroup/getpeername4", sock_load4, sock_store4, 0)
SOCK_REVERSE(getpeername6, "cgroup/getpeername6", sock_load6, sock_store6, 0)

SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	return tc_from_outside(skb);
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	return tc_to_outside(skb);
}
