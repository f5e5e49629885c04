/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The further nodes of a lab: each is started and stopped by this program's own commands, in processes of their own. */
#ifndef KEELSON_CLI_LAB_NODES_H
#define KEELSON_CLI_LAB_NODES_H

#include "cli/cluster.h"

/* c: the first node, running, whose network namespace this process is in. Joins those that have not joined and starts
 * those that do not run, several at a time. *ret_changed counts them. */
int lab_nodes_up(const struct cluster *c, unsigned *ret_changed, struct err *err);
/* Stops those that are there. Goes on after errors; returns the first. */
int lab_nodes_down(const struct cluster *c, struct err *err);
/* Whether node k runs (its supervisor answers, and it has once been complete). */
bool lab_node_runs(const struct cluster *c, unsigned k);

#endif
