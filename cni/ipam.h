/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses of the node's pods. The state is a directory, dataDir/<network>/, with one file for each address in use, whose
 * name says everything: "10.244.0.5:kl0a1b2c3d:eth0:<container id>" (address, host's end of the veth pair, interface,
 * owner; an IPv6 address has '-' for ':'). Creating or removing it is one atomic step of the kernel, so whatever instant a
 * plugin is killed at, an address is either given to exactly one owner or free. The file of a pod's first address names the
 * host ports that the pod has, one a line; without any it is empty.
 *
 * The lock file beside them is held by ADD from the choice of an address until the pod has it: nobody else can see an
 * address whose veth pair is still to be made and take it for dead.
 */
#ifndef KEELSON_CNI_IPAM_H
#define KEELSON_CNI_IPAM_H

#include "cni/conf.h"

struct ipam_entry;
struct ipam {
	int dir_fd, lock_fd; /* -1: closed */
	/* Called for an address that is reclaimed while host ports are noted with it; may be NULL. */
	void (*on_reclaim)(struct ipam *i, const struct ipam_entry *e, void *user);
};
struct ipam_lease {
	struct ip_addr addrs[2]; /* one a family */
	size_t addr_count;
	char veth[IFNAMSIZ];
	bool found;     /* ipam_reserve: an earlier ADD of the same owner was cut short, its addresses are taken over */
	bool has_ports; /* ipam_find: ipam_ports_read() finds some */
};
/* One address in use. */
struct ipam_entry {
	struct ip_addr addr;
	char veth[IFNAMSIZ], ifname[IFNAMSIZ];
	const char *container_id;
	char name[256]; /* the file's */
};
/* Whether the host has a link of this name. user is also on_reclaim's. */
typedef bool (*ipam_link_exists)(const char *name, void *user);

/* Opens the state, making the directory, and waits for the lock. */
int ipam_open(struct ipam *i, const char *data_dir, const char *network, struct fail *f);
/* Opens the state without lock, for reading and releasing. 0, or 1 when there is none. */
int ipam_open_existing(struct ipam *i, const char *data_dir, const char *network, struct fail *f);
void ipam_close(struct ipam *i); /* unlocks */

/* Gives the owner an address of each subnet, in their order: the next free one behind the last given, so that a freed
 * address rests as long as possible. When all are in use, those whose host link is gone are reclaimed first. Needs the lock. */
int ipam_reserve(struct ipam *i, const struct conf *c, const char *container_id, const char *ifname, ipam_link_exists exists,
		 void *user, struct ipam_lease *ret, struct fail *f);
/* Whether a subnet has an address left, a reclaimable one included: 0, or FAIL_TRY_AGAIN. */
int ipam_has_room(struct ipam *i, const struct conf *c, ipam_link_exists exists, void *user, struct fail *f);
/* Finds the owner's lease; addresses in no order. 0, 1 when there is none, -1. */
int ipam_find(struct ipam *i, const char *container_id, const char *ifname, struct ipam_lease *ret, struct fail *f);
/* Gives the addresses back; those that are not there are success. */
int ipam_release(struct ipam *i, const struct ipam_lease *lease, const char *container_id, const char *ifname,
		 struct fail *f);
/* Calls fn for each address in use; stops when it returns false. */
int ipam_each(struct ipam *i, bool (*fn)(const struct ipam_entry *e, void *user), void *user, struct fail *f);
/* Notes the host ports with a lease, before they are made; reads them (at most CONF_PORTS_MAX; a line that is none is passed
 * over) of an entry or of whatever file of a lease has some. */
int ipam_ports_write(struct ipam *i, const struct ipam_lease *lease, const char *container_id, const char *ifname,
		     const struct conf_port *ports, size_t count, struct fail *f);
size_t ipam_ports_read(struct ipam *i, const struct ipam_entry *e, struct conf_port ret[static CONF_PORTS_MAX]);
size_t ipam_ports_find(struct ipam *i, const struct ipam_lease *lease, const char *container_id, const char *ifname,
		       struct conf_port ret[static CONF_PORTS_MAX]);
/* Gives the one address back. */
int ipam_release_entry(struct ipam *i, const struct ipam_entry *e, struct fail *f);
/* The name of the host's end that attempt n (from 0) would use. */
void ipam_veth_name(const char *container_id, const char *ifname, unsigned n, char out[static IFNAMSIZ]);
/* True when some lease uses this host link. */
bool ipam_uses_link(struct ipam *i, const char *name);

#endif
