/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The Service network's kernel programs: socket hooks for every process in the node's cgroup, tc programs for packets
 * that no hook has decided for. They decide from maps alone, so that packets and sockets go on while the daemon is away.
 */
#include "bpf/lib/arp.h"
#include "bpf/lib/elements.h"
#include "bpf/lib/sock.h"
#include "bpf/lib/stale.h"
#include "bpf/lib/tc.h"
#include "bpf/lib/xdp.h"

char _license[] SEC("license") = "GPL";

#define SOCK_PROGRAM(name, section, run, hook)      \
	SEC(section)                                \
	int name(struct bpf_sock_addr *ctx)         \
	{                                           \
		return run(ctx, hook);              \
	}

SOCK_PROGRAM(connect4, "cgroup/connect4", sock_forward, SOCK_CONNECT4)
SOCK_PROGRAM(connect6, "cgroup/connect6", sock_forward, SOCK_CONNECT6)
SOCK_PROGRAM(sendmsg4, "cgroup/sendmsg4", sock_forward, SOCK_SENDMSG4)
SOCK_PROGRAM(sendmsg6, "cgroup/sendmsg6", sock_forward, SOCK_SENDMSG6)
SOCK_PROGRAM(recvmsg4, "cgroup/recvmsg4", sock_backward, SOCK_RECVMSG4)
SOCK_PROGRAM(recvmsg6, "cgroup/recvmsg6", sock_backward, SOCK_RECVMSG6)
SOCK_PROGRAM(getpeername4, "cgroup/getpeername4", sock_backward, SOCK_GETPEERNAME4)
SOCK_PROGRAM(getpeername6, "cgroup/getpeername6", sock_backward, SOCK_GETPEERNAME6)

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *sk)
{
	return sock_closed(sk);
}

SEC("iter/bpf_sk_storage_map")
int stale_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return stale_report(ctx);
}

SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	return tc_in(skb, ABI_PROGRAM_TC_INGRESS, 1);
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	return tc_out(skb);
}

/* The ingress of the pods' bridge: what sockets of pods without hooks send. */
SEC("tc")
int tc_pods(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return arp_answer(skb);
	return tc_in(skb, ABI_PROGRAM_TC_PODS, 1);
}

/* The ingress of each port of that bridge. */
SEC("tc")
int tc_pod(struct __sk_buff *skb)
{
	return tc_from_pod(skb);
}

/* The ingress of the tunnel to other nodes: answers of their backends. */
SEC("tc")
int tc_tunnel(struct __sk_buff *skb)
{
	return tc_in(skb, ABI_PROGRAM_TC_TUNNEL, 0);
}

/* Outward links, in the driver. */
SEC("xdp.frags")
int xdp_ingress(struct xdp_md *ctx)
{
	return xdp_in(ctx);
}

/* How many elements the map has that it is attached to: one number, at the end. */
SEC("iter/bpf_map_elem")
int count_elements(struct bpf_iter__bpf_map_elem *ctx)
{
	return map_count(ctx);
}
