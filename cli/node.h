/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a node needs of the machine before its daemons start, and taking it all away again: network namespace, blackhole
 * routes, sysctls, cgroups, the private bpffs. Preparing twice changes nothing; removing what is gone succeeds.
 */
#ifndef KEELSON_CLI_NODE_H
#define KEELSON_CLI_NODE_H

#include "cli/cluster.h"

/* Checks that this machine can run a node: root, tools, kernel features. The error names what is missing. */
int node_check(const struct cluster *c, struct err *err);
/* Makes a network namespace of that name; -EEXIST when there is one. */
int node_netns_create(const char *name, struct err *err);
void node_netns_delete(const char *name); /* one that is not there is fine */
/* Makes the netns where needed and enters it; gives it an address where it has none. */
int node_prepare_netns(struct cluster *c, struct err *err);
/* Removes the netns if node_prepare_netns() made it. */
void node_remove_netns(const struct cluster *c);
/* Blackhole routes first, then directories, bpffs, cgroups, sysctls. Inside the node's netns. */
int node_prepare(struct cluster *c, struct err *err);
/* Undoes it, and removes what dead daemons left: mounts below the state directory, the pod bridge, the nftables table,
 * cgroups. keep_others: leaves mounted what a lab's other nodes have below it (DIR/nodes). Goes on after errors; returns the first. */
int node_remove(struct cluster *c, bool keep_others, struct err *err);

#endif
