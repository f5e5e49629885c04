/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What load balancers ask before they send anything here: the proxy's own health (/healthz and /livez, KEP-3836), and for
 * each Service with a healthCheckNodePort a port of its own that answers 200 while this node has ready endpoints for it.
 * A port that cannot be bound is complained about and tried again: never fatal. Loop thread only.
 */
#ifndef KEELSON_PROXY_HEALTH_HEALTH_H
#define KEELSON_PROXY_HEALTH_HEALTH_H

#include <uv.h>

#include "base/err.h"
#include "io/net.h"

struct health;
struct health_options {
	size_t size;
	/* "0.0.0.0:10256" listens on IPv6 too; "": nowhere. */
	const char *listen;
	unsigned stale_ms; /* changes that wait so long for the kernel make the proxy unhealthy; 0: 60 s */
	/* A sentence for the log, once as long as it stays so. */
	void (*complain)(const char *what, void *user);
	void *user;
};
/* Own; never NULL. Strings of o are copied. */
struct health *health_new(uv_loop_t *loop, const struct health_options *o);
void health_free(struct health *h); /* NULL is fine */

/* A Service's port and how many ready endpoints this node has; port 0: it has none any more. Where two want one port, the
 * name that sorts first has it. */
void health_service_set(struct health *h, const char *ns, const char *service, uint16_t port, uint32_t ready_here);
/* Which addresses Services' health ports answer on: count 0 and not `only`: all of the node. */
void health_addresses_set(struct health *h, const struct ip_addr *addrs, size_t count, bool only);
/* Something of either family waits to be programmed; calling it again does not make it younger. */
void health_pending(struct health *h);
/* Everything known is in the kernel. Unhealthy until this was called once. */
void health_programmed(struct health *h);
/* The node is neither deleted nor about to be: /healthz says so, /livez and Services' ports do not look at it. */
void health_eligible_set(struct health *h, bool eligible);

#endif
