/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of keelson-proxy. */
#ifndef KEELSON_PROXY_OPTIONS_H
#define KEELSON_PROXY_OPTIONS_H

#include "base/str.h"
#include "io/net.h"

struct options {
	const char *kubeconfig, *manifests; /* one of them */
	const char *node_name, *cgroup, *pin_dir, *listen, *cluster_domain;
	struct ip_addr node_ip;             /* family 0: not given */
	struct ip_ranges service_cidr, cluster_cidr;
	struct ip_addr cluster_dns;         /* family 0: no DNS server */
	struct strlist upstreams;
	uint16_t node_port_min, node_port_max;
	bool cleanup;
};
/* 0: go on; 1: help or version was printed; -EINVAL: wrong usage, already said on stderr. */
int options_parse(struct options *o, int argc, char **argv);
void options_done(struct options *o);

#endif
