/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the model share. Nobody else includes it. */
#ifndef KEELSON_PROXY_MODEL_INTERNAL_H
#define KEELSON_PROXY_MODEL_INTERNAL_H

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "proxy/model/claims.h"
#include "proxy/model/intern.h"
#include "proxy/model/model.h"

/* What one object may hold; Kubernetes' own limits are 1000 endpoints and 100 ports a slice. */
enum {
	MODEL_MAX_PORTS = 1024,
	MODEL_MAX_ENDPOINTS = 4096,
	MODEL_MAX_ADDRESSES = 256,
	MODEL_MAX_RANGES = 4096,
	MODEL_MAX_WEIGHTS = 4096,
	MODEL_MAX_HINTS = 64,
};

enum { FAMILY_4, FAMILY_6, FAMILY_MAX };
static inline int family_index(uint8_t family)
{
	return family == AF_INET6 ? FAMILY_6 : FAMILY_4;
}

/* Conditions; a readiness that nobody names is true, one of serving that nobody names is that of readiness. */
enum { EP_READY = 1 << 0, EP_SERVING = 1 << 1, EP_TERMINATING = 1 << 2, EP_HERE = 1 << 3 };
struct model_ep {
	uint8_t addr[16]; /* of the slice's family */
	uint32_t node, hostname; /* in model.names; 0: none */
	uint32_t hints;          /* in model.hints; 0: none */
	uint8_t flags;
};
/* What a set of hints means on this node (KEP-2433, KEP-4444): the tag of model.hints. */
enum {
	HINT_ZONE = 1 << 0,      /* some zone is named */
	HINT_ZONE_MINE = 1 << 1, /* this node's is among them */
	HINT_NODE = 1 << 2,
	HINT_NODE_MINE = 1 << 3,
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
	int64_t trigger_us;            /* annotation endpoints.kubernetes.io/last-change-trigger-time; 0: none */
	uint16_t ep_count, port_count;
	uint8_t family;
	bool hinted; /* some endpoint has hints */
};
struct model_svc_port {
	char *name; /* own, never NULL */
	uint16_t port, node_port;
	uint8_t proto;
	uint8_t no_local[FAMILY_MAX]; /* what of this port is counted in model.no_local: 1 << enum model_traffic */
	uint32_t ids[FAMILY_MAX]; /* 0: not handed over */
};
/* One entry of annotation keelson.dev/weights; sorted by key. */
struct model_weight {
	uint8_t key[17]; /* family and address; or 0 and the node's id in model.names */
	uint8_t weight;
};
struct model_service {
	char *key;        /* "namespace/name"; ns and name stand in the same allocation */
	char *ns, *name;
	char *external_name; /* NULL without */
	struct ip_addr *cluster_ips, *external_ips, *lb_ips;
	struct ip_prefix *ranges; /* loadBalancerSourceRanges, both families */
	struct model_weight *weights;
	struct model_svc_port *ports;
	uint8_t cluster_ip_count, external_ip_count, lb_ip_count;
	uint8_t families; /* 1 << FAMILY_4 | 1 << FAMILY_6: those it is served in */
	uint16_t port_count, range_count, weight_count;
	uint16_t health_port; /* healthCheckNodePort where it is to be served, else 0 */
	uint16_t told_health_port;
	uint32_t told_health_count;
	uint8_t algorithm;
	uint32_t affinity_s;
	bool internal_local, external_local;
	bool ranged;      /* loadBalancerSourceRanges is given, whatever is usable of it */
	bool dsr;
	bool present;     /* the Service object exists; otherwise only slices name it */
	bool foreign;     /* another proxy's, or labelled headless: known to DNS, not programmed */
	bool headless, is_external_name;
	bool dirty;
	struct model_slice *slices;
	struct model_service *dirty_next;
	struct claim_key *claims; /* what this Service holds */
	size_t claim_count;
	uint32_t *gone;   /* ids of ports that are no more, to be told at the next flush */
	size_t gone_count, gone_cap;
};
/* An endpoint on its way to become a backend. */
struct model_candidate {
	struct model_backend b;
	uint16_t state;
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
	struct intern names, hints;
	uint32_t own_node; /* in names; held */
	char *zone, *proxy_name;
	struct ip_addr cluster_dns[FAMILY_MAX], node_ips[FAMILY_MAX];
	size_t no_local[MODEL_TRAFFIC_MAX];
	int64_t *triggers; /* of slices taken in since the last flush; fresh_trigger_count: of those it took in */
	size_t trigger_count, trigger_cap, fresh_trigger_count;
	uint32_t next_id;
	uint32_t serial : 31; /* of the look at a Service that goes on or was last */
	size_t service_count, endpoint_count;
	/* Reused by every flush. */
	struct model_frontend *frontends;
	struct model_candidate *candidates;
	struct model_backend *backends;
	struct claim_key *keys;
	struct ip_prefix *ranges;
	size_t frontend_cap, candidate_cap, backend_cap, key_cap, range_cap;
};

/* Most ports have no name: those share one. */
char *model_name_dup(const char *s);
void model_name_free(char *s);
/* An address as Kubernetes reads it: leading zeros are decimal, "::ffff:1.2.3.4" is IPv4. 0 or -EINVAL. */
int model_ip_parse(const char *s, struct ip_addr *ret);
/* The same for "address/length" with blanks around it; host bits are cleared. */
int model_cidr_parse(const char *s, struct ip_prefix *ret);
/* Remembers the first complaint. */
void model_complain(struct err *err, int *r, const char *what, const char *ns, const char *name, const char *why,
		    const char *value);
/* What annotations of the keelson.dev domain say (docs/architecture.md); undone by model_annotations_clear(). */
void model_annotations_read(struct model *m, struct model_service *s, const json_t *object, struct err *err, int *r);
void model_annotations_clear(struct model *m, struct model_service *s);
/* 1 where nothing is said. */
uint8_t model_weight_of(const struct model_service *s, uint8_t family, const uint8_t *addr, uint32_t node);
/* Hints of an endpoint as one string in model.hints, held; 0: none. */
uint32_t model_hints_read(struct model *m, const json_t *endpoint);
/* The endpoints of one port, in model.backends; returns how many. *ret_local_drop: the Local set is empty while others
 * have endpoints. */
size_t model_backends_build(struct model *m, const struct model_service *s, const struct model_svc_port *p, uint8_t family,
			    bool *ret_local_drop);
/* Counts the port among those that drop for want of a local endpoint (bits 1 << enum model_traffic), or no longer. */
void model_count_no_local(struct model *m, struct model_svc_port *p, int fam, uint8_t now);
/* This node's ready endpoints, each address once; of the family that has more. */
uint32_t model_ready_here(struct model *m, const struct model_service *s);
struct model_service *model_service_get(struct model *m, const char *ns, const char *name); /* makes it */
void model_touch(struct model *m, struct model_service *s);
void model_service_clear(struct model *m, struct model_service *s); /* forgets what the Service object said */
void model_slice_free(struct model *m, struct model_slice *slice);

#endif
