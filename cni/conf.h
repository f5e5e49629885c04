/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the runtime asks for: the CNI_* environment and the network configuration on standard input. Pure. */
#ifndef KEELSON_CNI_CONF_H
#define KEELSON_CNI_CONF_H

#include <jansson.h>

#include "cni/fail.h"
#include "io/net.h"

#define CONF_VERSION_LATEST "1.1.0"
#define CONF_VERSIONS_JSON "[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]"

enum {
	CONF_ROUTES_MAX = 64, CONF_ID_MAX = 180, CONF_MTU_MIN = 576, CONF_MTU_MIN_V6 = 1280, CONF_PORTS_MAX = 128,
	CONF_SUBNET_LEN_MIN = 16, CONF_SUBNET_LEN_MAX = 30, CONF_SUBNET6_LEN_MIN = 64, CONF_SUBNET6_LEN_MAX = 126,
	CONF_ATTACHMENTS_MAX = 16384,
};

enum conf_command { CONF_ADD, CONF_DEL, CONF_CHECK, CONF_VERSION, CONF_STATUS, CONF_GC };

struct conf_env {
	enum conf_command command;
	const char *container_id, *netns, *ifname; /* borrow; netns may be "" for DEL */
};
/* Reads the variables through get (getenv). Codes: FAIL_ENV. */
int conf_env_read(struct conf_env *ret, char *(*get)(const char *name), struct fail *f);

struct conf_subnet {
	struct ip_prefix prefix; /* masked */
	struct ip_addr gateway;  /* its second address */
	struct ip_prefix cluster; /* what is not masqueraded; the subnet itself when the configuration names none */
};
struct conf_route {
	struct ip_prefix dst;
	struct ip_addr gw; /* the subnet's gateway when the configuration names none */
};
/* runtimeConfig.portMappings: hostIP family 0: every address of the node. */
struct conf_port {
	struct ip_addr host_ip;
	uint16_t host_port, port;
	uint8_t proto;
};
/* runtimeConfig.bandwidth in bits and bits a second; 0: no limit. ingress: into the pod. */
struct conf_bandwidth {
	uint64_t ingress_rate, ingress_burst, egress_rate, egress_burst;
};
struct conf {
	json_t *json;        /* own: the whole document */
	const char *version; /* borrow, like all text here; NULL until known to be supported */
	bool loopback;       /* type is "loopback": only that interface is wanted, nothing below is set but prev_result */
	const char *name, *data_dir;
	char bridge[IFNAMSIZ];
	unsigned mtu; /* 0: worked out */
	bool is_gateway, hairpin, ip_masq;
	struct conf_subnet subnets[2]; /* in the configuration's order, of different families */
	size_t subnet_count;
	struct conf_route routes[CONF_ROUTES_MAX];
	size_t route_count;
	struct conf_port ports[CONF_PORTS_MAX];
	size_t port_count;
	struct conf_bandwidth bandwidth;
	json_t *attachments; /* borrow: cni.dev/valid-attachments, checked, or NULL */
	json_t *dns;         /* borrow, or NULL */
	json_t *prev_result; /* borrow, or NULL */
};
/* Parses text. Fills what it could even when it fails (version, for the error object). Call conf_done() in any case. */
int conf_parse(struct conf *c, const char *text, size_t len, struct fail *f);
/* Only cniVersion, for the VERSION command: the latest when text does not say. */
int conf_parse_version(struct conf *c, const char *text, size_t len, struct fail *f);
void conf_done(struct conf *c);

/* True when the text's result shapes carry an address family (before 1.0.0). */
bool conf_is_old(const struct conf *c);
/* Whether GC's configuration names this attachment. */
bool conf_is_valid_attachment(const struct conf *c, const char *container_id, const char *ifname);
/* The subnet of a family, or NULL. */
const struct conf_subnet *conf_subnet(const struct conf *c, uint8_t family);
static inline unsigned conf_addr_size(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

#endif
