/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The links, addresses and routes of a pod and of the node's bridge. */
#ifndef KEELSON_CNI_POD_H
#define KEELSON_CNI_POD_H

#include "cni/conf.h"
#include "cni/ipam.h"
#include "cni/netlink.h"

enum { POD_MAC_TEXT_SIZE = 18, POD_MAC_POD = 0x0a, POD_MAC_HOST = 0x0e };

/* Link addresses are made from the last four bytes of the (first) IP address: 0a:58:... in the pod, 0e:58:... for the host's end and the bridge. */
void pod_mac(uint8_t first, const struct ip_addr *a, uint8_t out[static 6]);
const char *pod_mac_text(const uint8_t mac[static 6], char out[static POD_MAC_TEXT_SIZE]);

/* Makes the bridge with its address when they are missing, sees that it is up. Several plugins may do so at once. */
int pod_bridge_ensure(struct netlink *host, const struct conf *c, struct netlink_link *ret, struct fail *f);
/* Addresses that are nobody's: the route to them is the default route. Index 0 IPv4, 1 IPv6. */
extern const struct ip_addr pod_nowhere[2];

/* Sees that the node forwards the families that pods have. */
int pod_forwarding_ensure(const struct conf *c, struct fail *f);
/* Lets the node's connections to 127.0.0.1 be translated to a pod (route_localnet of the bridge). The rules that make host
 * ports keep pods from using it the other way. */
int pod_localnet_ensure(const struct conf *c, struct fail *f);
/* Whether a default route goes without saying. */
bool pod_wants_default_route(const struct conf *c, uint8_t family);
/* The configured MTU, else that of the tunnel to other nodes, else that of the default route's device, else 1500. */
unsigned pod_mtu(struct netlink *host, const struct conf *c);
/* Opens the pod's network namespace: FAIL_NO_CONTAINER when it is gone. */
int pod_netns_open(const char *path, int *ret_fd, struct fail *f);
/* Moves the calling thread there for good. */
int pod_netns_enter(int fd, const char *path, struct fail *f);
/* The veth pair: the host's end a port of the bridge, the peer made in the pod's namespace under its final name. */
int pod_veth_add(struct netlink *host, const struct conf *c, const struct ipam_lease *lease, const char *ifname, int netns_fd,
		 int bridge_index, unsigned mtu, struct fail *f);
/* Removes the host's end (by name, or by index when name is NULL) and with it the pair; a missing one is success. The
 * kernel makes the caller wait for a grace period, 10 to 20 ms. */
int pod_veth_del(struct netlink *host, const char *name, int index, struct fail *f);
/* Takes the pair out of service at once, for removal later: the host's end leaves the bridge and goes down, the pod's end
 * goes down and gives its name back. netns may be missing. *ret_index: of the host's end, 0 when there is none. */
int pod_veth_retire(struct netlink *host, const char *name, const char *netns, const char *ifname, int *ret_index,
		    struct fail *f);
/* Inside the pod: only the loopback interface, up or down. */
int pod_loopback(struct netlink *pod, bool up, struct fail *f);
/* Inside the pod: loopback up, addresses, routes. The thread must be there too. */
int pod_configure(struct netlink *pod, const struct conf *c, const struct ipam_lease *lease, const char *ifname, struct fail *f);

#endif
