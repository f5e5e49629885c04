/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From what rtnetlink and the cluster's Nodes say to what an engine wants to know of the node. Pure.
 */
#ifndef KEELSON_PROXY_NODE_VIEW_H
#define KEELSON_PROXY_NODE_VIEW_H

#include "proxy/engine/engine.h"
#include "proxy/node/node.h"

struct raw_link {
	unsigned ifindex;
	char name[IF_NAMESIZE];
	char kind[16];   /* IFLA_INFO_KIND: "veth", "bridge", "vxlan"...; "" for hardware and what says nothing */
	uint16_t type;   /* ARPHRD_* */
	bool up, loopback;
	unsigned master; /* the bridge, bond or VRF that it belongs to; 0: none */
	bool port;       /* of a bridge, bond or team: its packets are seen there */
	bool hardware;   /* has a parent device */
};
struct raw_addr {
	unsigned ifindex;
	struct ip_addr addr;
	uint8_t len, scope; /* prefix length, RT_SCOPE_* */
	uint32_t flags;     /* IFA_F_* */
};
struct raw_net {
	struct raw_link *links;
	struct raw_addr *addrs;
	unsigned *defaults; /* interfaces of default routes, of either family; may repeat */
	size_t link_count, addr_count, default_count;
	size_t link_cap, addr_cap, default_cap;
};
/* An engine_node and the memory behind it. Zero-initialize. */
struct node_view {
	struct engine_node node;
	struct ip_addr *addrs, *peers;
	struct engine_link *links;
	size_t addr_cap, peer_cap, link_cap;
};
/* o->cluster may be NULL. Overwrites *v. */
void node_view_build(const struct raw_net *net, const struct node_options *o, struct node_view *v);
bool node_view_same(const struct node_view *a, const struct node_view *b);
void node_view_done(struct node_view *v);

#endif
