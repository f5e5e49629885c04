/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This node's object: registered, its status kept true, its lease renewed; the CNI configuration once its pod range is
 * known. */
#ifndef KEELSON_AGENT_NODE_H
#define KEELSON_AGENT_NODE_H

#include "agent/agent.h"

struct node *node_new(struct agent *a); /* begins at once */
void node_free(struct node *n);         /* NULL is fine */
/* Allocatable CPU in milli and memory in bytes. */
void node_resources(const struct node *n, int64_t *ret_cpu_milli, int64_t *ret_memory_bytes);
bool node_runtime_ready(const struct node *n);
/* The newest object from the API, borrow, or NULL. */
const json_t *node_object(const struct node *n);

#endif
