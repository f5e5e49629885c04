/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The allocator behind Services: a range of cluster IPs of each family, one range of node ports. */
#ifndef KEELSON_APISERVER_REGISTRY_SERVICE_ALLOC_H
#define KEELSON_APISERVER_REGISTRY_SERVICE_ALLOC_H

#include "apiserver/registry/registry.h"
#include "io/net.h"

struct alloc_range {
	struct ip_prefix cidr; /* addr.family 0: the cluster has no such range */
	uint64_t size;         /* addresses that are given without being asked for */
};

struct alloc {
	struct alloc_range ranges[2]; /* IPv4, IPv6 */
	unsigned primary;
	struct map *ips;              /* taken: text -> itself */
	uint16_t port_min, port_max;
	bool *ports;                  /* taken */
	char port_range[32];
};

/* What one write took. */
struct alloc_undo {
	struct strlist ips;
	uint16_t *ports;
	size_t port_count, port_cap;
};

/* Whose node ports and health check port count as taken: other types may carry numbers that mean nothing. */
bool may_have_node_ports(const json_t *service);
bool needs_health_port(const json_t *service);
/* Takes an address (in canonical form) or a port of the range, and notes it. */
void alloc_note_ip(struct alloc *a, struct alloc_undo *u, const char *ip);
void alloc_note_port(struct alloc *a, struct alloc_undo *u, uint16_t port);
/* A free one, not taken yet. False: there is none. */
bool alloc_pick_ip(const struct alloc *a, const struct alloc_range *r, char out[static IP_ADDR_TEXT_SIZE]);
bool alloc_pick_port(const struct alloc *a, uint16_t *ret);
/* Why a port cannot be had, or NULL; the text may be in the buffer. */
const char *alloc_port_problem(const struct alloc *a, int64_t port, char text[static 128]);

#endif
