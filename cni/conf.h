/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the runtime asks for: the CNI_* environment and the network configuration on standard input. Pure. */
#ifndef KEELSON_CNI_CONF_H
#define KEELSON_CNI_CONF_H

#include <jansson.h>

#include "cni/fail.h"
#include "io/net.h"

#define CONF_VERSION_LATEST "1.0.0"

enum { CONF_ROUTES_MAX = 64, CONF_ID_MAX = 180, CONF_SUBNET_LEN_MIN = 16, CONF_SUBNET_LEN_MAX = 30, CONF_MTU_MIN = 576 };

enum conf_command { CONF_ADD, CONF_DEL, CONF_CHECK, CONF_VERSION };

struct conf_env {
	enum conf_command command;
	const char *container_id, *netns, *ifname; /* borrow; netns may be "" for DEL */
};
/* Reads the variables through get (getenv). Codes: FAIL_ENV. */
int conf_env_read(struct conf_env *ret, char *(*get)(const char *name), struct fail *f);

struct conf_route {
	struct ip_prefix dst;
	struct ip_addr gw; /* family 0: the network's gateway */
};
struct conf {
	json_t *json;        /* own: the whole document */
	const char *version; /* borrow, like all text here; NULL until known to be supported */
	bool loopback;       /* type is "loopback": only that interface is wanted, nothing below is set but prev_result */
	const char *name, *data_dir;
	char bridge[IFNAMSIZ];
	unsigned mtu; /* 0: that of the default route's device */
	bool is_gateway, hairpin, ip_masq;
	struct ip_prefix subnet, cluster; /* masked; cluster is the subnet when the configuration names none */
	struct ip_addr gateway;           /* the subnet's first address */
	struct conf_route routes[CONF_ROUTES_MAX];
	size_t route_count;
	json_t *dns;         /* borrow, or NULL */
	json_t *prev_result; /* borrow, or NULL */
};
/* Parses text. Fills what it could even when it fails (version, for the error object). Call conf_done() in any case. */
int conf_parse(struct conf *c, const char *text, size_t len, struct fail *f);
/* Only cniVersion, for the VERSION command: *ret is "1.0.0" when text does not say. */
int conf_parse_version(struct conf *c, const char *text, size_t len, struct fail *f);
void conf_done(struct conf *c);

/* The IPv4 address as a number of the host's byte order, and back. */
uint32_t conf_ip4(const struct ip_addr *a);
struct ip_addr conf_ip4_addr(uint32_t n);
uint32_t conf_prefix_size(const struct ip_prefix *p); /* number of addresses */

#endif
