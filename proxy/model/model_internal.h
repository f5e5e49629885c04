/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the model share. Nobody else includes it. */
#ifndef KEELSON_PROXY_MODEL_INTERNAL_H
#define KEELSON_PROXY_MODEL_INTERNAL_H

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "proxy/model/claims.h"
#include "proxy/model/model.h"

/* What one object may hold; Kubernetes' own limits are 1000 endpoints and 100 ports a slice. */
enum {
	MODEL_MAX_PORTS = 1024,
	MODEL_MAX_ENDPOINTS = 4096,
	MODEL_MAX_ADDRESSES = 256,
};

enum { FAMILY_4, FAMILY_6, FAMILY_MAX };
static inline int family_index(uint8_t family)
{
	return family == AF_INET6 ? FAMILY_6 : FAMILY_4;
}

enum { EP_READY = 1 << 0, EP_SERVING = 1 << 1, EP_TERMINATING = 1 << 2, EP_HERE = 1 << 3 };
struct model_ep {
	struct ip_addr addr;
	uint8_t flags;
	char *hostname; /* own, NULL without */
};
struct model_slice_port {
	char *name; /* own, never NULL */
	uint16_t port; /* 0: all ports (no port given) */
	uint8_t proto;
};
struct model_slice {
	struct model_service *service; /* borrow */
	struct model_slice *next;      /* of the same Service */
	struct model_ep *eps;
	struct model_slice_port *ports;
	uint16_t ep_count, port_count;
	uint8_t family;
};
struct model_svc_port {
	char *name; /* own, never NULL */
	uint16_t port, node_port;
	uint8_t proto;
	uint32_t ids[FAMILY_MAX]; /* 0: not handed over */
};
struct model_service {
	char *key;        /* "namespace/name"; ns and name stand in the same allocation */
	char *ns, *name;
	char *external_name; /* NULL without */
	struct ip_addr *cluster_ips, *external_ips, *lb_ips;
	struct model_svc_port *ports;
	uint8_t cluster_ip_count, external_ip_count, lb_ip_count;
	uint16_t port_count;
	uint32_t affinity_s;
	bool internal_local, external_local;
	bool present;     /* the Service object exists; otherwise only slices name it */
	bool foreign;     /* another proxy's: known to DNS, not programmed */
	bool headless, is_external_name;
	bool dirty;
	struct model_slice *slices;
	struct model_service *dirty_next;
	struct claim_key *claims; /* what this Service holds */
	size_t claim_count;
	uint32_t *gone;   /* ids of ports that are no more, to be told at the next flush */
	size_t gone_count, gone_cap;
};
struct model {
	struct map *services; /* key -> struct model_service, own */
	struct map *slices;   /* key -> struct model_slice, own */
	struct map *namespaces; /* name -> count of present Services as (void *)n */
	struct map *addresses;  /* cluster address as text -> struct model_service, borrow */
	struct claims claims;
	struct model_service *dirty, *dirty_last;
	struct model_service **contested;
	size_t contested_count, contested_cap;
	char *node_name, *proxy_name;
	struct ip_addr cluster_dns;
	uint32_t next_id;
	size_t service_count, endpoint_count;
	/* Reused by every flush. */
	struct model_frontend *frontends;
	struct model_backend *backends;
	struct claim_key *keys;
	size_t frontend_cap, backend_cap, key_cap;
};

/* Most ports have no name: those share one. */
char *model_name_dup(const char *s);
void model_name_free(char *s);
/* An address as Kubernetes reads it: leading zeros are decimal (KEP-4858 legacy). 0 or -EINVAL. */
int model_ip_parse(const char *s, struct ip_addr *ret);
struct model_service *model_service_get(struct model *m, const char *ns, const char *name); /* makes it */
void model_touch(struct model *m, struct model_service *s);
void model_service_clear(struct model *m, struct model_service *s); /* forgets what the Service object said */
void model_slice_free_value(void *slice);

#endif
