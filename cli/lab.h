/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network of a lab: nodes on one machine, each in a namespace LAB-K of its own, whose one link ends in a bridge in the
 * namespace LAB-net. With several segments node K is on bridge (K - 1) modulo their number, and LAB-net routes between
 * them. No link leads out of these namespaces. Segment S has 198.19.S.0/24 and fd00:198:19:S::/64; node K is K in its
 * segment, the router 254 (fe).
 */
#ifndef KEELSON_CLI_LAB_H
#define KEELSON_CLI_LAB_H

#include "cli/cluster.h"

enum { LAB_MAX_NODES = 64, LAB_MAX_NAME = 48 };

/* In all of these c is the lab's first node, and k counts from 1. */
char *lab_netns(const struct cluster *c, unsigned k);      /* "LAB-K", own */
char *lab_state(const struct cluster *c, unsigned k);      /* state directory of node k, own */
/* "A" or "A,B", in the order of the ranges. Own. */
char *lab_node_ip(const struct cluster *c, unsigned k);
/* -EEXIST when a namespace by one of the names of nodes from..to (and of LAB-net when from is 1) is there already. */
int lab_check_free(const struct cluster *c, unsigned from, unsigned to, struct err *err);
/* Makes what is missing of the underlay and of node k's namespace, link, addresses and routes. */
int lab_attach(const struct cluster *c, unsigned k, struct err *err);
/* Takes node k's link away, as if its cable were pulled. */
void lab_unplug(const struct cluster *c, unsigned k);
/* Takes node k's namespace away, and its link with it. */
void lab_detach(const struct cluster *c, unsigned k);
/* The same for all nodes and the underlay. */
void lab_remove(const struct cluster *c);

#endif
