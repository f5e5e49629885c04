/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel should have so that the pods of other nodes are reached: Nodes and this node's addresses in, a tunnel
 * device, routes, neighbours and forwarding entries out. Pure. Nodes that contradict each other are settled by age, then
 * name; the loser is complained about and gets no route: a wrong route is worse than none.
 */
#ifndef KEELSON_PROXY_PODNET_DECIDE_H
#define KEELSON_PROXY_PODNET_DECIDE_H

#include <net/ethernet.h>

#include "base/str.h"
#include "io/net.h"

enum podnet_mode {
	PODNET_AUTO,   /* direct where the node is on our segment, else VXLAN */
	PODNET_VXLAN,
	PODNET_DIRECT,
	PODNET_NONE,   /* somebody else does it */
	PODNET_MODE_MAX
};
extern const char *const podnet_mode_names[PODNET_MODE_MAX];
enum podnet_mode podnet_mode_of(const char *name); /* PODNET_AUTO for what is no mode's */

enum { PODNET_OVERHEAD_V4 = 50, PODNET_OVERHEAD_V6 = 70, PODNET_COMPLAINTS_MAX = 64, PODNET_MTU_USUAL = 1500 };

struct podnet_node {
	const char *name, *created; /* created: RFC 3339 in UTC, so that text order is age; "" unknown */
	bool own;
	uint8_t family;             /* of its first InternalIP; 0: it has none */
	struct ip_addr addrs[2];    /* the first InternalIP of each family; index 0 IPv4, 1 IPv6, family 0: none */
	struct ip_prefix pod_cidrs[2];
};
/* An address of a link that is up; those of the tunnel device itself are left out. */
struct podnet_address {
	struct ip_prefix prefix; /* with host bits */
	unsigned ifindex, mtu;
	bool loopback; /* its link is, so the MTU says nothing */
};
struct podnet_input {
	enum podnet_mode mode;
	struct ip_ranges service_cidr, cluster_cidr;
	const struct podnet_node *nodes;
	size_t node_count;
	const struct podnet_address *addresses;
	size_t address_count;
};

struct podnet_route {
	struct ip_prefix dst;
	struct ip_addr gw;
	struct ip_addr src; /* family 0: the kernel's choice */
	unsigned ifindex;   /* 0: the tunnel device */
};
struct podnet_neighbour { /* on the tunnel device */
	struct ip_addr addr;
	uint8_t mac[ETH_ALEN];
};
struct podnet_forward { /* which node a link address of the tunnel is behind */
	uint8_t mac[ETH_ALEN];
	struct ip_addr node;
};
struct podnet_wanted {
	/* False: this node's own part is not known well enough (no Node object yet, its address is on no link): the kernel
	 * stays as it is. */
	bool known;
	bool tunnel;
	struct ip_addr local; /* of the tunnel */
	uint8_t mac[ETH_ALEN];
	unsigned mtu, underlay; /* underlay: ifindex of the link with our address, 0 unknown */
	/* What the tunnel device has: this node's gateway addresses, the source of its own packets into the tunnel. */
	struct ip_addr addrs[2];
	struct podnet_route *routes; /* sorted by dst */
	size_t route_count, route_cap;
	struct podnet_neighbour *neighbours; /* sorted by addr */
	size_t neighbour_count, neighbour_cap;
	struct podnet_forward *forwards; /* sorted by mac */
	size_t forward_count, forward_cap;
	struct strlist complaints; /* at most PODNET_COMPLAINTS_MAX sentences; the same fault always gives the same one */
	size_t complaint_count;    /* all of them */
};

/* Fills *ret; podnet_wanted_done() frees its contents. */
void podnet_decide(const struct podnet_input *in, struct podnet_wanted *ret);
void podnet_wanted_done(struct podnet_wanted *w);
/* Orders by family and address; prefixes then by length. */
int podnet_addr_cmp(const struct ip_addr *a, const struct ip_addr *b);
int podnet_prefix_cmp(const struct ip_prefix *a, const struct ip_prefix *b);

#endif
