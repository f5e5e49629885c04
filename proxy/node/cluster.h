/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the cluster's Node objects say that the network of this node depends on: names, addresses, pod ranges, zone, and
 * whether a node is about to leave. Pure: objects in, changes out to listeners; no I/O. Loop thread only.
 */
#ifndef KEELSON_PROXY_NODE_CLUSTER_H
#define KEELSON_PROXY_NODE_CLUSTER_H

#include "io/net.h"
#include "kube/json.h"

enum { CLUSTER_MAX_ADDRESSES = 16, CLUSTER_MAX_NODES = 16384, CLUSTER_MAX_LISTENERS = 8 };

struct cluster_node {
	const char *name;
	bool own; /* this node */
	/* InternalIPs in the object's order, each once; the first one's family is the node's primary. */
	const struct ip_addr *addrs;
	size_t addr_count;
	/* Index 0 IPv4, 1 IPv6: the first of each family in spec.podCIDRs (or spec.podCIDR), host bits cleared, so that .addr is
	 * the range's FIRST_ADDRESS. addr.family 0: none. */
	struct ip_prefix pod_cidrs[2];
	const char *created; /* metadata.creationTimestamp: RFC 3339 in UTC, so that text order is age; "" without */
	const char *zone; /* label topology.kubernetes.io/zone, "" without */
	bool leaving;     /* deleted but not gone yet, or tainted ToBeDeletedByClusterAutoscaler: no new load for it */
};

/* The node's InternalIP of a family (AF_INET, AF_INET6), or NULL. */
const struct ip_addr *cluster_node_address(const struct cluster_node *n, int family);

struct cluster;
/* What became of a node; called from inside cluster_node_set() and friends. Any of them may be NULL. */
struct cluster_listener {
	/* New, or something in struct cluster_node changed. Borrowed until the cluster is changed. */
	void (*changed)(const struct cluster_node *node, void *user);
	/* The node as it was last. */
	void (*gone)(const struct cluster_node *last, void *user);
	/* Once: every Node that was there at the start has been told. Nothing may be removed from the kernel before. A listener
	 * that comes later is not called: ask cluster_synced(). */
	void (*synced)(void *user);
	void *user;
};

/* own_name (copied): NULL when this node has none. */
struct cluster *cluster_new(const char *own_name);
struct cluster *cluster_free(struct cluster *c); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct cluster *, cluster_free)
/* Is told of every change from now on, not of what is there. At most CLUSTER_MAX_LISTENERS, for the cluster's life. */
void cluster_listen(struct cluster *c, const struct cluster_listener *l);

/* Takes a Node (v1) in. Unusable parts are left out, the rest counts; then -EINVAL and err says what. -E2BIG beyond
 * CLUSTER_MAX_NODES: the node is not taken in. */
int cluster_node_set(struct cluster *c, const json_t *node, struct err *err);
void cluster_node_del(struct cluster *c, const char *name);
void cluster_set_synced(struct cluster *c);
bool cluster_synced(const struct cluster *c);

/* Borrowed until the cluster is changed. */
const struct cluster_node *cluster_own(const struct cluster *c); /* NULL: not known (yet) */
const struct cluster_node *cluster_find(const struct cluster *c, const char *name);
/* All nodes sorted by name, this one included: i from 0; NULL at the end. Where two claim one podCIDR or address, the
 * first in this order should have it, whatever the order in which they came. */
const struct cluster_node *cluster_at(const struct cluster *c, size_t i);

#endif
