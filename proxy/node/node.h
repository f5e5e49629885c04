/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Follows the node's addresses and outward interfaces by rtnetlink, in the network namespace of the caller. */
#ifndef KEELSON_PROXY_NODE_NODE_H
#define KEELSON_PROXY_NODE_NODE_H

#include <uv.h>

#include "proxy/engine/engine.h"

struct node_options {
	size_t size;
	/* Interfaces that only have addresses in here belong to the pods' side. */
	struct ip_ranges cluster_cidr;
	struct ip_addr cluster_dns[2]; /* on lo, but no addresses of the node's; index 0 IPv4, 1 IPv6, family 0: none */
};
typedef void (*node_change_fn)(const struct engine_node *node, void *user);
struct node_watch;
/* Calls fn once from inside, then whenever something changed, at most every 20 ms. NULL with err when netlink fails. */
struct node_watch *node_watch_new(uv_loop_t *loop, const struct node_options *o, node_change_fn fn, void *user,
				  struct err *err);
void node_watch_free(struct node_watch *w);

#endif
