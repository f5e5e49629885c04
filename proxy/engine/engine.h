/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An engine makes the kernel do what the model says. One interface; engine/ebpf/ is behind it. An engine adopts what an
 * earlier daemon left in the kernel: ports given to it are compared with what is there, and engine_synced() says that
 * everything has been given, so that the rest may go. Loop thread only.
 */
#ifndef KEELSON_PROXY_ENGINE_ENGINE_H
#define KEELSON_PROXY_ENGINE_ENGINE_H

#include "base/str.h"
#include "proxy/model/model.h"

struct engine;
struct engine_options {
	size_t size;
	const char *cgroup;  /* directory in a cgroup2 mount: whose processes the socket hooks serve */
	const char *pin_dir; /* in a bpffs; made when missing */
	struct ip_prefix service_cidr;
	uint16_t node_port_min, node_port_max;
};
/* What the node is at the moment. */
struct engine_node {
	const struct ip_addr *addrs; /* its own addresses: NodePorts answer there */
	size_t addr_count;
	const unsigned *ifindexes;   /* interfaces on which clients from outside arrive */
	size_t if_count;
};
struct engine_ops {
	/* Writes may be gathered; engine_commit() makes them visible. Each port changes as a whole. */
	int (*port_set)(struct engine *e, const struct model_port *port, struct err *err);
	void (*port_gone)(struct engine *e, uint32_t id);
	int (*commit)(struct engine *e, struct err *err);
	int (*synced)(struct engine *e, struct err *err);
	int (*node_set)(struct engine *e, const struct engine_node *node, struct err *err);
	/* Appends counters in the Prometheus text format. */
	void (*metrics)(struct engine *e, struct strbuf *out);
	/* Frees the daemon's side only: the kernel goes on as it is. */
	void (*free)(struct engine *e);
};
struct engine {
	const struct engine_ops *ops;
};

/* Own, or NULL with a sentence that names what the kernel lacks or what was wrong. */
struct engine *engine_ebpf_new(const struct engine_options *o, struct err *err);
/* Removes everything an engine may have left: programs, links, maps, filters. Missing things are fine. */
int engine_ebpf_cleanup(const char *pin_dir, struct err *err);

#endif
