/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Services and EndpointSlices of a lab as plain structs, and their JSON. What a test expects is worked out from the same
 * structs, never from what the code under test made of the JSON.
 */
#ifndef KEELSON_TESTS_LAB_OBJECTS_H
#define KEELSON_TESTS_LAB_OBJECTS_H

#include "tests/lab/lab.h"

enum { OBJECT_PORTS = 6, OBJECT_ADDRESSES = 4, OBJECT_ENDPOINTS = 32 };
enum object_type { OBJECT_CLUSTER_IP, OBJECT_NODE_PORT, OBJECT_LOAD_BALANCER, OBJECT_HEADLESS };

struct object_port {
	char name[16];
	uint16_t port, target, node_port; /* node_port 0: none */
	uint8_t proto;                    /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
};
struct object_service {
	char name[24];
	uint8_t type;             /* enum object_type */
	unsigned vip;             /* lab_service_addr() of both families */
	bool families[2];         /* IPv4, IPv6 */
	struct object_port ports[OBJECT_PORTS];
	size_t port_count;
	bool etp_local, itp_local;
	uint32_t affinity_s;
	unsigned balancers[OBJECT_ADDRESSES], externals[OBJECT_ADDRESSES]; /* lab_balancer_addr(), lab_external_addr(); 0 ends */
	char balancer_mode[8];    /* ipMode; "": none given */
	char ranges[512];         /* loadBalancerSourceRanges, with commas */
	uint16_t health_port;
	bool publish_not_ready;
	char distribution[24];    /* trafficDistribution */
	char balancing[24], forwarding[8], weights[256]; /* annotations of keelson.dev */
	char proxy_name[24];      /* label service.kubernetes.io/service-proxy-name */
	char raw_addresses;       /* 'z': addresses are written with leading zeros (IPv4) */
};
struct object_endpoint {
	struct ip_addr addr[2];   /* family 0: none of this family */
	char node[16];
	bool ready, serving, terminating;
	uint16_t target[OBJECT_PORTS]; /* by the Service's port; 0: the port's own target */
	char zones[64], nodes[64]; /* hints, with commas; "" none */
	bool gone;                /* of a list: passed over */
};

/* "{...}" of a Service. */
void object_service_json(struct strbuf *out, const struct object_service *s);
/* One or two slices (", " between them) per family that the Service has; a slice of its own for endpoints with other ports. */
void object_slices_json(struct strbuf *out, const struct object_service *s, const struct object_endpoint *eps, size_t count);
/* The name of a protocol, "TCP", "UDP", "SCTP". */
const char *object_proto_name(uint8_t proto);

#endif
