/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's part of the pod network: what of it is there, and making it what is wanted with the fewest changes. Routes
 * of ours carry protocol 158 in the main table; on the tunnel device everything is ours. Acts on the network namespace of
 * the calling thread.
 */
#ifndef KEELSON_PROXY_PODNET_KERNEL_H
#define KEELSON_PROXY_PODNET_KERNEL_H

#include "proxy/podnet/decide.h"

#define KERNEL_TUNNEL "klvx"
enum { KERNEL_PROTOCOL = 158, KERNEL_VNI = 1, KERNEL_PORT = 4789 };

struct kernel_tunnel {
	unsigned ifindex; /* 0: there is none */
	bool is_vxlan, up, learning;
	uint32_t vni;
	uint16_t port;
	unsigned mtu;
	uint8_t mac[ETH_ALEN];
	struct ip_addr local;
};
struct kernel_route {
	struct podnet_route route; /* ifindex is the kernel's, the tunnel's too */
	uint32_t metric;
	bool plain; /* a unicast route with one next hop and nothing else, as we make them */
};
struct kernel_state {
	struct kernel_tunnel tunnel;
	struct kernel_route *routes;
	size_t route_count, route_cap;
	struct podnet_neighbour *neighbours;
	size_t neighbour_count, neighbour_cap;
	struct podnet_forward *forwards;
	size_t forward_count, forward_cap;
	struct ip_prefix *tunnel_addrs;
	size_t tunnel_addr_count, tunnel_addr_cap;
	struct podnet_address *addresses; /* of other links that are up: what podnet_decide() wants */
	size_t address_count, address_cap;
};
/* Reads everything; kernel_state_done() frees the contents in any case. */
int kernel_read(struct kernel_state *s, struct err *err);
void kernel_state_done(struct kernel_state *s);

/* Changes what differs. What could not be done is left out, the rest is done: then -errno and err has the first reason.
 * *ret_changes: requests that the kernel took. */
int kernel_apply(const struct kernel_state *s, const struct podnet_wanted *w, size_t *ret_changes, struct err *err);
/* Removes routes and tunnel. */
int kernel_remove(struct err *err);

#endif
