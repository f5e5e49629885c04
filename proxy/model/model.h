/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the node's service network should be: Services and EndpointSlices in, frontends with their backends out. Pure:
 * no I/O, no clock. Objects are given as they come, in any order; model_flush() then hands each Service port that
 * may have changed to a sink, whole. The cost of a flush grows with the Services touched, never with how many there are.
 *
 * Follows kube-proxy's rules for which endpoints a port uses: ready ones; when there is none, those that still serve
 * while terminating; with a Local traffic policy the same among this node's own (KEP-1669, KEP-2086).
 */
#ifndef KEELSON_PROXY_MODEL_MODEL_H
#define KEELSON_PROXY_MODEL_MODEL_H

#include "io/net.h"
#include "kube/json.h"

enum model_frontend_kind {
	MODEL_CLUSTER_IP,
	MODEL_NODE_PORT,     /* addr is unset: every address of the node */
	MODEL_EXTERNAL_IP,
	MODEL_LOAD_BALANCER,
	MODEL_OWNED,         /* addr belongs to a Service; its other ports are refused. port and proto are 0 */
	MODEL_FRONTEND_KIND_MAX
};
/* ALL: every endpoint a Cluster policy uses (those of the node's zone or node where topology hints say so); LOCAL: this
 * node's own. */
enum model_set { MODEL_SET_ALL, MODEL_SET_LOCAL, MODEL_SET_MAX };
enum model_algorithm { MODEL_RANDOM, MODEL_MAGLEV, MODEL_LEAST }; /* annotation keelson.dev/balancing */

struct model_frontend {
	struct ip_addr addr;
	uint16_t port;
	uint8_t proto;   /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	uint8_t kind;
	uint8_t inside;  /* the enum model_set that sockets of the node and its pods use */
	uint8_t outside; /* and packets from outside */
	bool ranged;     /* only clients in the port's source ranges may use it */
};

enum {
	MODEL_BACKEND_ALL = 1 << MODEL_SET_ALL,     /* takes new connections in the set of all endpoints */
	MODEL_BACKEND_LOCAL = 1 << MODEL_SET_LOCAL, /* and in that of this node's */
	MODEL_BACKEND_HERE = 1 << 4,                /* is on this node */
	/* With neither of the first two it only keeps the flows it has: it still serves. */
};
struct model_backend {
	struct ip_addr addr;
	uint16_t port;
	uint8_t flags;
	uint8_t weight; /* 0-255, 1 when nobody says: new connections in proportion; 0: none */
};

/* One Service port of one address family, whole. Everything is borrowed for the call. */
struct model_port {
	uint32_t id;                  /* stable as long as the Service has the port (by name or number, and protocol) */
	const char *ns, *service, *name; /* name: "" for an unnamed port */
	uint8_t family;
	uint8_t proto;
	uint32_t affinity_s;          /* 0: none */
	bool local_drop;              /* the Local set is empty while other nodes have endpoints: drop, do not refuse */
	bool uses_local;              /* some frontend uses MODEL_SET_LOCAL */
	uint8_t algorithm;            /* enum model_algorithm */
	bool weighted;                /* some backend's weight is not 1 */
	bool dsr;                     /* annotation keelson.dev/forwarding: dsr */
	const struct ip_prefix *ranges; /* loadBalancerSourceRanges of this family, masked; for frontends that are ranged. None: nobody */
	size_t range_count;
	const struct model_frontend *frontends;
	size_t frontend_count;
	const struct model_backend *backends; /* sorted by address and port, each once */
	size_t backend_count;
};
struct model_sink {
	void (*port_set)(const struct model_port *port, void *user);
	void (*port_gone)(uint32_t id, void *user);
	/* A Service's healthCheckNodePort, or how many ready endpoints this node has for it, changed. port 0: there is none any
	 * more. May be NULL. */
	void (*health)(const char *ns, const char *service, uint16_t port, uint32_t ready_here, void *user);
	void *user;
};

struct model;
struct model_options {
	size_t size;
	const char *node_name;      /* whose endpoints are local; may be NULL */
	/* Never programmed: the node's own DNS server answers there. Index 0 IPv4, 1 IPv6; family 0: none. */
	struct ip_addr cluster_dns[2];
	/* The node's own addresses: source ranges that hold one also let in what the node sends from a balancer's address. */
	struct ip_addr node_ips[2];
	const char *zone;           /* its topology.kubernetes.io/zone; NULL: unknown, no zone hints are followed */
	const char *proxy_name;     /* Services labelled for another proxy are left alone; NULL: only unlabelled ones are ours */
};
struct model *model_new(const struct model_options *o);
struct model *model_free(struct model *m);
DEFINE_CLEANUP(struct model *, model_free)

/* Takes a Service or EndpointSlice (discovery.k8s.io/v1) in. What cannot be used (an address that is none, a port out of
 * range) is left out, everything else of the object counts; then -EINVAL and err says what. */
int model_service_set(struct model *m, const json_t *service, struct err *err);
void model_service_del(struct model *m, const char *ns, const char *name);
int model_slice_set(struct model *m, const json_t *slice, struct err *err);
void model_slice_del(struct model *m, const char *ns, const char *name);
/* The sink could not use all it got of this Service: it gets it again with the next flush. False: there is
 * no such Service any more. */
bool model_again(struct model *m, const char *ns, const char *service);
/* Hands over what changed since the last flush. Returns how many ports were handed over or gone. */
size_t model_flush(struct model *m, const struct model_sink *sink);
/* The node's zone is another now (NULL: unknown): Services with hints are looked at again by the next flush. */
void model_set_zone(struct model *m, const char *zone);
/* When the changes began that the last flush took in: annotation endpoints.kubernetes.io/last-change-trigger-time of the
 * slices that brought a new one, microseconds since the epoch. Borrowed until the model is changed. */
size_t model_triggers(const struct model *m, const int64_t **ret);
/* How many Service ports (of one family) drop traffic because their policy is Local and only other nodes have endpoints. */
enum model_traffic { MODEL_TRAFFIC_INTERNAL, MODEL_TRAFFIC_EXTERNAL, MODEL_TRAFFIC_MAX };
size_t model_no_local(const struct model *m, enum model_traffic traffic);
size_t model_service_count(const struct model *m); /* Services present */
size_t model_endpoint_count(const struct model *m);

/* Views for DNS. Borrowed until the model is changed. */
struct model_service;
enum model_service_type { MODEL_TYPE_CLUSTER_IP, MODEL_TYPE_HEADLESS, MODEL_TYPE_EXTERNAL_NAME };
const struct model_service *model_service_find(const struct model *m, const char *ns, const char *name); /* NULL: none */
bool model_namespace_exists(const struct model *m, const char *ns); /* some Service is in it */
enum model_service_type model_service_type(const struct model_service *s);
const char *model_service_ns(const struct model_service *s);
const char *model_service_name(const struct model_service *s);
const char *model_service_external_name(const struct model_service *s); /* "" without one */
/* i from 0; NULL at the end. */
const struct ip_addr *model_service_address(const struct model_service *s, size_t i);
struct model_service_port {
	const char *name; /* "" when unnamed */
	uint16_t port;
	uint8_t proto;
};
bool model_service_port(const struct model_service *s, size_t i, struct model_service_port *ret);
/* Endpoints that DNS publishes: ready ones. One call per endpoint and port (port.port 0 when the slice has no ports).
 * hostname "" when the endpoint has none. The callback returns false to stop. */
typedef bool (*model_endpoint_fn)(const struct ip_addr *addr, const char *hostname, const struct model_service_port *port,
				  void *user);
void model_service_endpoints(const struct model *m, const struct model_service *s, model_endpoint_fn fn, void *user);
/* The Service whose cluster address this is, or NULL. */
const struct model_service *model_service_by_address(const struct model *m, const struct ip_addr *a);
/* The headless Service with a ready endpoint of this address that has a hostname (*ret_hostname), or NULL. */
const struct model_service *model_endpoint_by_address(const struct model *m, const struct ip_addr *a,
						      const char **ret_hostname);

#endif
