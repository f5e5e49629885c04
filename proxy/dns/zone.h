/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cluster's zone, answered from the model (Kubernetes DNS-Based Service Discovery, version 1.1.0). Pure.
 */
#ifndef KEELSON_PROXY_DNS_ZONE_H
#define KEELSON_PROXY_DNS_ZONE_H

#include "proxy/dns/wire.h"
#include "proxy/model/model.h"

enum { ZONE_TTL_S = 5 };
struct zone {
	const struct model *model;   /* borrow */
	struct dns_name domain;      /* cluster.local */
	struct dns_name server;      /* ns.dns.cluster.local */
	char domain_text[256];
	/* Addresses in these belong to the cluster: reverse names in them are never asked elsewhere. */
	struct ip_prefix ranges[4];
	size_t range_count;
	uint32_t turn;               /* where the next answer with several addresses begins */
};
/* -EINVAL when domain is not a name. */
int zone_init(struct zone *z, const struct model *model, const char *domain);
void zone_add_range(struct zone *z, const struct ip_prefix *p);

enum zone_result {
	ZONE_DONE,    /* answered: *ret_len bytes */
	ZONE_FORWARD, /* not ours: ask an upstream */
	ZONE_CHASE,   /* a Service is another name outside the cluster: ask for *ret_target and put a CNAME before it */
};
enum zone_result zone_answer(struct zone *z, const struct dns_query *q, uint8_t *buf, size_t cap, size_t limit,
			     size_t *ret_len, struct dns_name *ret_target);

#endif
