/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second opinion on what a node's maps should hold: worked out anew from the objects, slowly and simply, by the rules of
 * kube-proxy (KEP-1669, KEP-2086), and compared with what lies in the kernel.
 */
#ifndef KEELSON_TESTS_LAB_REFERENCE_H
#define KEELSON_TESTS_LAB_REFERENCE_H

#include "bpf/shared/abi.h"
#include "tests/lab/objects.h"

enum { WORLD_SERVICES = 14 };
struct world_service {
	bool used;
	struct object_service o;
	struct object_endpoint eps[OBJECT_ENDPOINTS];
	size_t count;
};
/* In the order of the Services' names: the first to ask for an address and port has it. */
struct world {
	struct world_service services[WORLD_SERVICES];
};

struct target {
	struct ip_addr addr;
	uint16_t port;
	uint8_t weight;
	const struct object_endpoint *ep;
};
struct targets {
	struct target v[OBJECT_ENDPOINTS];
	size_t count;
	bool drop; /* none, but other nodes have some: silence instead of a refusal */
};
/* Whom new connections to a port of a Service go to, as node says. local: a Local policy is asked for. */
void reference_targets(const struct world_service *s, size_t port, int family, unsigned node, bool local, struct targets *ret);
/* May a client use the balancer's addresses of this Service? */
bool reference_in_ranges(const struct object_service *s, const struct ip_addr *client, unsigned node);

enum front_kind { FRONT_CLUSTER, FRONT_EXTERNAL, FRONT_BALANCER, FRONT_NODE_PORT, FRONT_OWNED };
struct front {
	struct abi_frontend_key key;
	const struct world_service *service;
	size_t port;
	uint8_t kind;
	int family;
};
/* All frontends that there should be. Own; the same on every node. */
struct front *reference_fronts(const struct world *w, size_t *ret_count);

/* The maps that the programs attached to a node's link use now. */
struct maps;
struct maps *maps_open(struct lab *l, unsigned node, struct err *err);
struct maps *maps_free(struct maps *m);
/* NULL when the maps hold exactly what they should; else what differs first, valid until the next call. */
const char *reference_compare(const struct world *w, unsigned node, struct maps *m);

#endif
