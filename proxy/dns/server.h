/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The node's DNS server: UDP and TCP on an address of each family, answers from the zone, everything else from upstreams. */
#ifndef KEELSON_PROXY_DNS_SERVER_H
#define KEELSON_PROXY_DNS_SERVER_H

#include <uv.h>

#include "base/err.h"
#include "base/str.h"
#include "proxy/dns/zone.h"

enum { DNS_TCP_CLIENTS_MAX = 256, DNS_TCP_IDLE_MS = 10000 };
struct dns_server;
/* zone: borrow. */
struct dns_server *dns_server_new(uv_loop_t *loop, struct zone *zone);
void dns_server_free(struct dns_server *s);
/* "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]:53". -EINVAL when it is no address or too many. */
int dns_server_add_upstream(struct dns_server *s, const char *address, struct err *err);
/* Adds the nameservers of a resolv.conf, but for `skip` (its own addresses: index 0 IPv4, 1 IPv6). Returns how many. */
size_t dns_server_add_resolv_conf(struct dns_server *s, const char *path, const struct ip_addr skip[2]);
/* At most once for each family. port 0: any; *ret_port (may be NULL) is the one bound for both protocols. */
int dns_server_listen(struct dns_server *s, const struct ip_addr *addr, uint16_t port, uint16_t *ret_port, struct err *err);
void dns_server_metrics(const struct dns_server *s, struct strbuf *out);

#endif
