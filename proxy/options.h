/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of keelson-proxy. */
#ifndef KEELSON_PROXY_OPTIONS_H
#define KEELSON_PROXY_OPTIONS_H

#include "base/str.h"
#include "io/net.h"

enum { OPTIONS_MAX_NODE_PORT_ADDRESSES = 64 };

struct options {
	const char *kubeconfig, *manifests; /* one of them */
	const char *node_name, *cgroup, *pin_dir, *listen, *cluster_domain;
	const char *healthz_listen;         /* "": none */
	const char *pod_network;            /* auto, vxlan, direct or none */
	/* Index 0 IPv4, 1 IPv6; family 0: not given. */
	struct ip_addr node_ip[2];
	struct ip_addr cluster_dns[2];      /* neither: no DNS server */
	struct ip_addr snat_address[2];
	struct ip_ranges service_cidr, cluster_cidr;
	struct strlist upstreams;
	uint16_t node_port_min, node_port_max;
	uint16_t snat_port_min, snat_port_max;
	/* Which of the node's addresses NodePorts answer on: those in here; the node's own when `primary`; all when neither. */
	struct ip_prefix node_port_addresses[OPTIONS_MAX_NODE_PORT_ADDRESSES];
	size_t node_port_address_count;
	bool node_port_primary;
	uint32_t max_services, max_endpoints, max_flows; /* 0: the default */
	bool no_xdp, no_fast_path;
	bool cleanup;
};
/* 0: go on; 1: help or version was printed; -EINVAL: wrong usage, already said on stderr. */
int options_parse(struct options *o, int argc, char **argv);
void options_done(struct options *o);

#endif
