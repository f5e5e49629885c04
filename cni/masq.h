/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Masquerading of what pods send out of the cluster: in table "inet keelson" the chain "postrouting" with one rule a
 * subnet of a network,
 *   ip saddr SUBNET ip daddr != CLUSTER ip daddr != 224.0.0.0/4 masquerade      (and the same of ip6, ff00::/8)
 */
#ifndef KEELSON_CNI_MASQ_H
#define KEELSON_CNI_MASQ_H

#include "cni/conf.h"

/* Sees that the network's rules are there, replacing those of an earlier configuration. Needs the state's lock: two at once
 * could add them twice. Acts on the calling thread's network namespace. */
int masq_ensure(const struct conf *c, struct fail *f);

#endif
