/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the pods of other nodes reachable from this one (docs/architecture.md, "Pod network"): follows the cluster's nodes
 * and this node's links, and keeps device, routes, neighbours and forwarding entries as podnet_decide() wants them. What an
 * earlier process left is adopted; what is right is not touched. Loop thread only.
 */
#ifndef KEELSON_PROXY_PODNET_PODNET_H
#define KEELSON_PROXY_PODNET_PODNET_H

#include <uv.h>

#include "proxy/node/cluster.h"
#include "proxy/podnet/decide.h"

struct podnet_options {
	size_t size;
	enum podnet_mode mode;
	struct ip_ranges service_cidr, cluster_cidr;
};
struct podnet;
/* cluster is borrowed and must outlive it; nothing is changed before it is synced. Own, or NULL with err. */
struct podnet *podnet_new(uv_loop_t *loop, struct cluster *cluster, const struct podnet_options *o, struct err *err);
/* The kernel stays as it is. NULL is fine. */
void podnet_free(struct podnet *p);
/* Removes everything a podnet left in the kernel. */
int podnet_cleanup(struct err *err);

#endif
