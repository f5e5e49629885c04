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
	struct ip_ranges service_cidr, cluster_cidr;
	uint16_t node_port_min, node_port_max;
	/* Wanted map sizes; 0: the default. A map that is there already with another size is replaced like one of another ABI. */
	uint32_t max_services, max_endpoints, max_flows;
	bool no_xdp;
};
enum engine_link_kind {
	ENGINE_LINK_OUTSIDE, /* clients from outside and other nodes arrive here */
	ENGINE_LINK_PODS,    /* the bridge of this node's pods */
	ENGINE_LINK_POD,     /* a port of that bridge */
	ENGINE_LINK_TUNNEL,  /* the VXLAN device: packets of other nodes' pods, already decapsulated */
};
struct engine_link {
	unsigned ifindex;
	uint8_t kind;    /* enum engine_link_kind */
	bool xdp;        /* its driver has native XDP: worth trying */
	bool ethernet;   /* has a link-layer header */
};
/* What the node is at the moment. */
struct engine_node {
	const struct ip_addr *addrs; /* its own addresses: NodePorts answer there */
	size_t addr_count;
	const struct engine_link *links;
	size_t link_count;
	/* Sources of what is sent on to backends of other nodes; index 0 IPv4, 1 IPv6, family 0: none (abi_config). */
	struct ip_addr snat_pod[2], snat_node[2];
	uint16_t snat_node_min, snat_node_max; /* ports for snat_node; snat_pod has 1024-65535 */
	const struct ip_addr *peers; /* addresses and tunnel addresses of the cluster's other nodes */
	size_t peer_count;
	/* New flows from outside to pods of this node may pass its stack by. */
	bool fast_path;
	const char *filtered_by; /* why not: who filters what is forwarded; NULL: nobody, or it was not asked for */
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
	/* Appends {"services":[{"name":"namespace/service:port","protocol","family","port","set","localSet"}...]}: the ids by
	 * which kernel programs know Service ports. */
	void (*services)(struct engine *e, struct strbuf *out);
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
