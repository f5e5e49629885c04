/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Masquerading of what pods send out of the cluster: in table "inet keelson" the chain "postrouting" with one rule a
 * network,
 *   ip saddr SUBNET ip daddr != CLUSTER ip daddr != 224.0.0.0/4 masquerade
 */
#ifndef KEELSON_CNI_MASQ_H
#define KEELSON_CNI_MASQ_H

#include "cni/conf.h"

/* Sees that the network's rule is there, replacing one of an earlier configuration. Needs the state's lock: two at once could add
 * it twice. Acts on the calling thread's network namespace. */
int masq_ensure(const char *network, const struct ip_prefix *subnet, const struct ip_prefix *cluster, struct fail *f);

#endif
