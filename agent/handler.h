/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The actions that probes and lifecycle hooks share: exec, httpGet, tcpSocket, grpc, sleep. */
#ifndef KEELSON_AGENT_HANDLER_H
#define KEELSON_AGENT_HANDLER_H

#include "agent/agent.h"

struct handler_target {
	const char *container_id, *pod_ip; /* pod_ip may be NULL: not known */
	const json_t *container;           /* for ports by name */
};
enum handler_result { HANDLER_OK, HANDLER_FAILED, HANDLER_ERROR /* could not be tried */ };
/* output: what a person should see of a failure; borrow. */
typedef void (*handler_done_fn)(enum handler_result r, const char *output, void *user);
struct handler_call;
/* spec: a Probe or LifecycleHandler; everything needed is copied. done is called exactly once and never from inside,
 * unless the call is cancelled. timeout_ms bounds it. */
struct handler_call *handler_run(struct agent *a, const struct handler_target *t, const json_t *spec,
				 unsigned timeout_ms, handler_done_fn done, void *user);
void handler_cancel(struct handler_call *h); /* NULL is fine */
/* A port given as a number or as the name of one of the container's ports; -1 when there is none such. */
int handler_port(const json_t *container, const json_t *port);

#endif
