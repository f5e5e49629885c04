/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keelson-agent --cleanup: takes every pod off the runtime, for a node that goes down. */
#ifndef KEELSON_AGENT_CLEANUP_H
#define KEELSON_AGENT_CLEANUP_H

#include "base/err.h"

/* Stops the containers in order (SIGTERM, a few seconds, SIGKILL) and removes all pod sandboxes, networks included. Needs
 * the runtime, no API server. Volumes stay: their pods are still bound to this node and come back with it. */
int cleanup_run(const char *runtime_endpoint, struct err *err);

#endif
