/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's HTTPS server: logs, exec, attach, port-forward, pods and metrics, for clients of the cluster's CA; and the
 * plain one for health on the loopback. */
#ifndef KEELSON_AGENT_SERVER_H
#define KEELSON_AGENT_SERVER_H

#include "agent/agent.h"

/* NULL with err. */
struct server *server_new(struct agent *a, struct err *err);
void server_free(struct server *s);

#endif
