/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Follows what the node is, for the engine: addresses, links and default routes by rtnetlink in the network namespace of
 * the caller, its own podCIDRs and the other nodes by the cluster's Nodes.
 */
#ifndef KEELSON_PROXY_NODE_NODE_H
#define KEELSON_PROXY_NODE_NODE_H

#include <uv.h>

#include "proxy/engine/engine.h"
#include "proxy/node/cluster.h"

struct node_options {
	size_t size;
	struct cluster *cluster; /* borrow, for the watch's life. NULL: there are no Nodes */
	struct ip_ranges cluster_cidr;
	/* Index 0 IPv4, 1 IPv6; family 0: none. */
	struct ip_addr cluster_dns[2];  /* on lo, but no addresses of the node's */
	struct ip_addr node_ip[2];      /* what the node is known by; else as its Node says, else found out */
	struct ip_addr snat_address[2]; /* instead of that as a source */
	uint16_t snat_port_min, snat_port_max;
	/* NodePorts answer on the node's addresses in these ranges; on all of them when there are none; only on those the node
	 * is known by when `primary`. */
	const struct ip_prefix *node_port_addresses; /* borrow, for the watch's life */
	size_t node_port_address_count;
	bool node_port_primary;
	bool no_fast_path; /* whether or not somebody filters what is forwarded */
};
typedef void (*node_change_fn)(const struct engine_node *node, void *user);
struct node_watch;
/*
 * Calls fn when the cluster is synced (from inside when it is already, or there is none), then whenever something in struct
 * engine_node changed, at most every 20 ms. NULL with err when netlink fails.
 */
struct node_watch *node_watch_new(uv_loop_t *loop, const struct node_options *o, node_change_fn fn, void *user,
				  struct err *err);
/* Before the cluster is freed, and nothing of the cluster may change afterwards. */
void node_watch_free(struct node_watch *w);

#endif
