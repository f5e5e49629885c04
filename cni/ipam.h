/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses of the node's pods. The state is a directory, dataDir/<network>/, with one empty file for each address in use,
 * whose name says everything: "10.244.0.5:kl0a1b2c3d:eth0:<container id>" (address, host's end of the veth pair, interface,
 * owner). Creating or removing it is one atomic step of the kernel, so whatever instant a plugin is killed at, an address
 * is either given to exactly one owner or free.
 *
 * The lock file beside them is held by ADD from the choice of an address until the pod has it: nobody else can see an
 * address whose veth pair is still to be made and take it for dead.
 */
#ifndef KEELSON_CNI_IPAM_H
#define KEELSON_CNI_IPAM_H

#include "cni/conf.h"

struct ipam {
	int dir_fd, lock_fd; /* -1: closed */
};
struct ipam_lease {
	struct ip_addr addr;
	char veth[IFNAMSIZ];
	bool found; /* ipam_reserve: an earlier ADD of the same owner was cut short, its address is taken over */
};
/* Whether the host has a link of this name. */
typedef bool (*ipam_link_exists)(const char *name, void *user);

/* Opens the state, making the directory, and waits for the lock. */
int ipam_open(struct ipam *i, const char *data_dir, const char *network, struct fail *f);
/* Opens the state without lock, for reading and releasing. 0, or 1 when there is none. */
int ipam_open_existing(struct ipam *i, const char *data_dir, const char *network, struct fail *f);
void ipam_close(struct ipam *i); /* unlocks */

/* Gives the owner an address of the subnet: the next free one behind the last given, so that a freed address rests as
 * long as possible. When all are in use, those whose host link is gone are reclaimed first. Needs the lock. */
int ipam_reserve(struct ipam *i, const struct ip_prefix *subnet, const char *container_id, const char *ifname,
		 ipam_link_exists exists, void *user, struct ipam_lease *ret, struct fail *f);
/* Finds the owner's lease. 0, 1 when there is none, -1. */
int ipam_find(struct ipam *i, const char *container_id, const char *ifname, struct ipam_lease *ret, struct fail *f);
/* Gives the address back; one that is not there is success. */
int ipam_release(struct ipam *i, const struct ipam_lease *lease, const char *container_id, const char *ifname,
		 struct fail *f);
/* The name of the host's end that attempt n (from 0) would use. */
void ipam_veth_name(const char *container_id, const char *ifname, unsigned n, char out[static IFNAMSIZ]);
/* True when some lease uses this host link. */
bool ipam_uses_link(struct ipam *i, const char *name);

#endif
