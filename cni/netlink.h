/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few rtnetlink requests of the plugin, by libmnl: several requests travel in one message to the kernel, each with its
 * own answer. A socket acts on the network namespace that it was opened in.
 */
#ifndef KEELSON_CNI_NETLINK_H
#define KEELSON_CNI_NETLINK_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "cni/fail.h"
#include "io/net.h"

enum { NETLINK_BUF_BYTES = 65536, NETLINK_BATCH_MAX = 320, NETLINK_WHAT_SIZE = 96 };

struct netlink {
	int fd;
	uint32_t seq;
	/* The batch being built. */
	size_t len, count;
	struct {
		char what[NETLINK_WHAT_SIZE]; /* "add the address 10.0.0.2/24 to eth0", for the error */
		int tolerated;             /* errno that counts as success, or 0 */
	} requests[NETLINK_BATCH_MAX];
	char buf[NETLINK_BUF_BYTES] __attribute__((aligned(MNL_ALIGNTO)));
};

struct netlink_link {
	int index, master, peer; /* peer: of a veth, its other end's index in that one's namespace */
	unsigned flags, mtu;
	uint8_t mac[6];
	char kind[16];
};

int netlink_open(struct netlink *r, int protocol, struct fail *f);
void netlink_close(struct netlink *r); /* a closed one (fd -1) is fine */

/* By name, or by index when name is NULL. 0 or -errno; -ENODEV when there is none. */
int netlink_link_get(struct netlink *r, const char *name, int index, struct netlink_link *ret);
/* The route that the main table has for an address: no packet is sent. 0 or -errno. *ret_gw: family 0 without a gateway. */
int netlink_route_get(struct netlink *r, const struct ip_addr *dst, int *ret_oif, struct ip_addr *ret_gw);
/* Whether the link has exactly this address and prefix length. */
int netlink_has_address(struct netlink *r, int index, const struct ip_addr *addr, unsigned len, bool *ret);
/* Calls fn for each port of a bridge. 0 or -errno. */
int netlink_ports(struct netlink *r, int bridge, void (*fn)(const char *name, const struct netlink_link *l, void *user), void *user);

/* Adds a request to the batch; the caller appends header and attributes. what: printf. tolerated: an errno or 0. */
struct nlmsghdr *netlink_put(struct netlink *r, uint16_t type, uint16_t flags, int tolerated, const char *what, ...)
	_printf_(5, 6);
/* After the attributes of each request. */
void netlink_put_end(struct netlink *r, struct nlmsghdr *nlh);
/* Sends the batch and collects the answers. The first request that failed is what is reported, with FAIL_KERNEL. */
int netlink_commit(struct netlink *r, struct fail *f);
/* Sends one request and hands every answer to cb until the end. 0 or -errno. */
int netlink_ask(struct netlink *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *user);

#endif
