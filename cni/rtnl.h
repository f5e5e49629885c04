/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few rtnetlink requests of the plugin, by libmnl: several requests travel in one message to the kernel, each with its
 * own answer. A socket acts on the network namespace that it was opened in.
 */
#ifndef KEELSON_CNI_RTNL_H
#define KEELSON_CNI_RTNL_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "cni/fail.h"

enum { RTNL_BUF_BYTES = 16384, RTNL_BATCH_MAX = 80, RTNL_WHAT_SIZE = 96 };

struct rtnl {
	int fd;
	uint32_t seq;
	/* The batch being built. */
	size_t len, count;
	struct {
		char what[RTNL_WHAT_SIZE]; /* "add the address 10.0.0.2/24 to eth0", for the error */
		int tolerated;             /* errno that counts as success, or 0 */
	} requests[RTNL_BATCH_MAX];
	char buf[RTNL_BUF_BYTES] __attribute__((aligned(MNL_ALIGNTO)));
};

struct rtnl_link {
	int index, master;
	unsigned flags, mtu;
	uint8_t mac[6];
	char kind[16];
};

int rtnl_open(struct rtnl *r, int protocol, struct fail *f);
void rtnl_close(struct rtnl *r); /* a closed one (fd -1) is fine */

/* By name, or by index when name is NULL. 0 or -errno; -ENODEV when there is none. */
int rtnl_link_get(struct rtnl *r, const char *name, int index, struct rtnl_link *ret);
/* The route that the main table has for an address: no packet is sent. 0 or -errno. *ret_gw is 0 without a gateway. */
int rtnl_route_get(struct rtnl *r, uint32_t dst, int *ret_oif, uint32_t *ret_gw);
/* Whether the link has exactly this IPv4 address and prefix length. */
int rtnl_has_address(struct rtnl *r, int index, uint32_t addr, unsigned len, bool *ret);

/* Adds a request to the batch; the caller appends header and attributes. what: printf. tolerated: an errno or 0. */
struct nlmsghdr *rtnl_put(struct rtnl *r, uint16_t type, uint16_t flags, int tolerated, const char *what, ...)
	_printf_(5, 6);
/* After the attributes of each request. */
void rtnl_put_end(struct rtnl *r, struct nlmsghdr *nlh);
/* Sends the batch and collects the answers. The first request that failed is what is reported, with FAIL_KERNEL. */
int rtnl_commit(struct rtnl *r, struct fail *f);
/* Sends one request and hands every answer to cb until the end. 0 or -errno. */
int rtnl_ask(struct rtnl *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *user);

#endif
