/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host ports of pods (the capability portMappings): in table "inet keelson" the maps
 *   hostports4, hostports6         address . protocol . port : pod address . pod port     of one address of the node
 *   hostports4any, hostports6any   protocol . port : pod address . pod port               of all
 * which connections to the node's own addresses are looked up in, from outside, from pods and from the node itself
 * (127.0.0.1 too; the kernel cannot route ::1 elsewhere). However many pods have ports, a packet costs two lookups. The client's address is kept; only
 * where the answer would not come back by the node (loopback, a pod of the same subnet) the node's takes its place.
 */
#ifndef KEELSON_CNI_PORTS_H
#define KEELSON_CNI_PORTS_H

#include "cni/ipam.h"

struct ports_owner {
	const char *network, *container_id, *ifname;
};

/* Makes c's ports lead to the lease's addresses. A port that a living pod of the state has is refused; one whose pod is gone
 * is taken over. Needs the state's lock. */
int ports_add(struct ipam *i, const struct conf *c, const struct ports_owner *owner, const struct ipam_lease *lease, struct fail *f);
/* Removes those of the ports that lead to this address; others are success. */
int ports_del(const struct conf_port *ports, size_t count, const struct ip_addr *addr, struct fail *f);
/* Whether every port leads to the lease's addresses: 0, else FAIL_CHECK. */
int ports_check(const struct conf *c, const struct ipam_lease *lease, struct fail *f);
/* Removes what is noted with a network's name and an owner for whom valid is false. */
int ports_collect(const char *network, bool (*valid)(const char *container_id, const char *ifname, void *user), void *user,
		  struct fail *f);

#endif
