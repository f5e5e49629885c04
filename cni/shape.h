/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bandwidth of a pod (the capability bandwidth): a token bucket (tbf) on what leaves a link. Into the pod it is the host's
 * end of the veth pair; out of the pod it is the pod's own end: the pod's packets wait there instead of being dropped, and
 * neither an ifb device nor a classifier is needed. A pod that may administer its network can take the latter away; CHECK
 * sees that it is there.
 */
#ifndef KEELSON_CNI_SHAPE_H
#define KEELSON_CNI_SHAPE_H

#include "cni/conf.h"
#include "cni/netlink.h"

/* Appends the request to the batch. rate in bits a second, burst in bits (0: chosen), mtu in bytes. */
void shape_put(struct netlink *r, int index, const char *ifname, uint64_t rate, uint64_t burst, unsigned mtu);
/* Whether the link's root qdisc is a tbf of this rate. 0 or -errno. */
int shape_get(struct netlink *r, int index, uint64_t rate, bool *ret);

#endif
