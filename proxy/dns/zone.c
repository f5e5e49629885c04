/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names under the cluster domain:
 *   SERVICE.NS.svc               A/AAAA of the cluster address, or of the ready endpoints of a headless Service; SRV of all
 *                                ports; CNAME of an ExternalName
 *   ENDPOINT.SERVICE.NS.svc      A/AAAA of endpoints with that hostname, or whose address with dashes is that name
 *   _PORT._PROTO.SERVICE.NS.svc  SRV
 *   A-B-C-D.NS.pod               A (AAAA with dashes for colons)
 * and reverse names. A name that is a prefix of others exists without records (RFC 8020); everything else is NXDOMAIN.
 */
#include "proxy/dns/zone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

/* More addresses than this are of no use to a resolver; what does not fit a message is truncated anyway. */
enum { ZONE_MAX_ADDRESSES = 512 };

struct answer {
	struct zone *z;
	const struct dns_query *q;
	struct dns_writer w;
	bool exists; /* the name does, whatever its records */
	/* For the walk over endpoints. */
	const struct model_service *service;
	const char *endpoint;  /* only this one, NULL: all */
	const char *port_name; /* SRV: NULL for all */
	uint8_t proto;
	bool glue; /* SRV, second round: the targets' addresses */
	struct ip_addr *seen;
	size_t seen_count;
};

int zone_init(struct zone *z, const struct model *model, const char *domain)
{
	char server[300];
	*z = (struct zone){ .model = model };
	if (str_empty(domain) || strlen(domain) >= sizeof(z->domain_text) || !dns_name_from_text(&z->domain, domain))
		return -EINVAL;
	snprintf(z->domain_text, sizeof(z->domain_text), "%s", domain);
	snprintf(server, sizeof(server), "ns.dns.%s", domain);
	return dns_name_from_text(&z->server, server) ? 0 : -EINVAL;
}

void zone_add_range(struct zone *z, const struct ip_prefix *p)
{
	if (z->range_count < ARRAY_SIZE(z->ranges) && p->addr.family)
		z->ranges[z->range_count++] = *p;
}

static bool wants(const struct answer *a, uint16_t type)
{
	return a->q->type == type || a->q->type == DNS_ANY;
}

static void put_address(struct answer *a, enum dns_section s, const struct dns_name *owner, const struct ip_addr *ip)
{
	if (ip->family == AF_INET)
		dns_put(&a->w, s, owner, DNS_A, ZONE_TTL_S, ip->bytes, 4);
	else
		dns_put(&a->w, s, owner, DNS_AAAA, ZONE_TTL_S, ip->bytes, 16);
}

static bool wants_address(const struct answer *a, const struct ip_addr *ip)
{
	return wants(a, ip->family == AF_INET ? DNS_A : DNS_AAAA);
}

/* The address with dashes: 10-0-0-1, or fd00--1. */
static void dashed(const struct ip_addr *ip, char out[static IP_ADDR_TEXT_SIZE])
{
	ip_format(ip, out);
	for (char *p = out; *p; p++)
		if (*p == '.' || *p == ':')
			*p = '-';
}

static bool service_name(const struct zone *z, const struct model_service *s, const char *prefix, struct dns_name *ret)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), "%s%s%s.%s.svc.%s", prefix ? prefix : "", prefix ? "." : "",
			 model_service_name(s), model_service_ns(s), z->domain_text);
	return n > 0 && (size_t)n < sizeof(text) && dns_name_from_text(ret, text);
}

static bool seen_before(struct answer *a, const struct ip_addr *ip)
{
	for (size_t i = 0; i < a->seen_count; i++)
		if (ip_addr_eq(&a->seen[i], ip))
			return true;
	return false;
}

static bool endpoint_address(const struct ip_addr *ip, const char *hostname, const struct model_service_port *port,
			     void *user)
{
	struct answer *a = user;
	(void)port;
	if (a->endpoint) {
		char name[IP_ADDR_TEXT_SIZE];
		if (*hostname)
			snprintf(name, sizeof(name), "%.*s", (int)sizeof(name) - 1, hostname);
		else
			dashed(ip, name);
		if (*hostname ? strcasecmp(hostname, a->endpoint) != 0 : strcmp(name, a->endpoint) != 0)
			return true;
	}
	a->exists = true;
	if (wants_address(a, ip) && !seen_before(a, ip) && a->seen_count < ZONE_MAX_ADDRESSES)
		a->seen[a->seen_count++] = *ip;
	return true;
}

static void put_seen(struct answer *a)
{
	size_t n = a->seen_count, start = n ? a->z->turn++ % n : 0;
	for (size_t i = 0; i < n; i++)
		put_address(a, DNS_ANSWER, NULL, &a->seen[(start + i) % n]);
}

static bool endpoint_srv(const struct ip_addr *ip, const char *hostname, const struct model_service_port *port, void *user)
{
	struct answer *a = user;
	char dash[IP_ADDR_TEXT_SIZE];
	struct dns_name target;
	if (a->port_name && (strcmp(port->name, a->port_name) != 0 || port->proto != a->proto))
		return true;
	a->exists = true;
	if (!wants(a, DNS_SRV))
		return true;
	dashed(ip, dash);
	if (!port->port || !service_name(a->z, a->service, *hostname ? hostname : dash, &target))
		return true;
	if (!a->glue) {
		dns_put_srv(&a->w, DNS_ANSWER, NULL, ZONE_TTL_S, 100, port->port, &target);
	} else if (!seen_before(a, ip) && a->seen_count < ZONE_MAX_ADDRESSES) {
		a->seen[a->seen_count++] = *ip;
		put_address(a, DNS_ADDITIONAL, &target, ip);
	}
	return !a->w.truncated;
}

/* SRV records of a Service; port_name NULL: all ports. */
static void answer_srv(struct answer *a, const struct model_service *s, const char *port_name, uint8_t proto)
{
	struct model_service_port p;
	struct dns_name target;
	a->service = s;
	a->port_name = port_name;
	a->proto = proto;
	if (model_service_type(s) == MODEL_TYPE_HEADLESS) {
		model_service_endpoints(a->z->model, s, endpoint_srv, a);
		a->glue = true;
		model_service_endpoints(a->z->model, s, endpoint_srv, a);
		return;
	}
	if (!service_name(a->z, s, NULL, &target))
		return;
	for (size_t i = 0; model_service_port(s, i, &p); i++) {
		if (port_name && (strcmp(p.name, port_name) != 0 || p.proto != proto))
			continue;
		a->exists = true;
		if (!wants(a, DNS_SRV))
			continue;
		dns_put_srv(&a->w, DNS_ANSWER, NULL, ZONE_TTL_S, 100, p.port, &target);
	}
	const struct ip_addr *ip;
	for (size_t i = 0; a->w.counts[DNS_ANSWER] && (ip = model_service_address(s, i)); i++)
		put_address(a, DNS_ADDITIONAL, &target, ip);
}

static void answer_service(struct answer *a, const struct model_service *s)
{
	const struct ip_addr *ip;
	a->exists = true;
	if (model_service_type(s) == MODEL_TYPE_HEADLESS) {
		model_service_endpoints(a->z->model, s, endpoint_address, a);
		put_seen(a);
		a->seen_count = 0;
	} else {
		for (size_t i = 0; (ip = model_service_address(s, i)); i++)
			if (wants_address(a, ip))
				put_address(a, DNS_ANSWER, NULL, ip);
	}
	if (a->q->type == DNS_SRV)
		answer_srv(a, s, NULL, 0);
}

/* labels: those left of "svc". Returns the Service when the question is for an ExternalName. */
static const struct model_service *answer_svc(struct answer *a, int labels)
{
	const struct dns_name *n = &a->q->name;
	char ns[64], name[64], first[64], second[64];
	if (labels == 0) {
		a->exists = true;
		return NULL;
	}
	if (!dns_name_label(n, (unsigned)labels - 1, ns))
		return NULL;
	if (labels == 1) {
		a->exists = model_namespace_exists(a->z->model, ns);
		return NULL;
	}
	if (!dns_name_label(n, (unsigned)labels - 2, name))
		return NULL;
	const struct model_service *s = model_service_find(a->z->model, ns, name);
	if (!s)
		return NULL;
	if (labels == 2) {
		if (model_service_type(s) == MODEL_TYPE_EXTERNAL_NAME) {
			a->exists = true;
			return s;
		}
		answer_service(a, s);
		return NULL;
	}
	if (model_service_type(s) == MODEL_TYPE_EXTERNAL_NAME || !dns_name_label(n, (unsigned)labels - 3, second))
		return NULL;
	uint8_t proto = strcmp(second, "_tcp") == 0 ? IPPROTO_TCP :
			strcmp(second, "_udp") == 0 ? IPPROTO_UDP :
			strcmp(second, "_sctp") == 0 ? IPPROTO_SCTP : 0;
	if (labels == 3) {
		if (proto) {
			a->exists = true;
		} else {
			a->endpoint = second;
			model_service_endpoints(a->z->model, s, endpoint_address, a);
			put_seen(a);
		}
	} else if (labels == 4 && proto && dns_name_label(n, 0, first) && first[0] == '_') {
		answer_srv(a, s, first + 1, proto);
	}
	return NULL;
}

static void answer_pod(struct answer *a, int labels)
{
	char name[64], ns[64];
	struct ip_addr ip;
	if (labels == 0) {
		a->exists = true;
		return;
	}
	if (!dns_name_label(&a->q->name, (unsigned)labels - 1, ns))
		return;
	if (labels == 1) {
		a->exists = model_namespace_exists(a->z->model, ns);
		return;
	}
	if (labels != 2 || !dns_name_label(&a->q->name, 0, name))
		return;
	for (int pass = 0; pass < 2; pass++) {
		char text[64];
		snprintf(text, sizeof(text), "%s", name);
		for (char *p = text; *p; p++)
			if (*p == '-')
				*p = pass ? ':' : '.';
		if (ip_parse(text, &ip) < 0)
			continue;
		a->exists = true;
		if (wants_address(a, &ip))
			put_address(a, DNS_ANSWER, NULL, &ip);
		return;
	}
}

/* The address of a reverse name; false when it is none, or not complete. */
static bool reverse_address(const struct dns_name *n, struct ip_addr *ret)
{
	struct dns_name v4, v6;
	char label[64];
	dns_name_from_text(&v4, "in-addr.arpa");
	dns_name_from_text(&v6, "ip6.arpa");
	if (dns_name_under(n, &v4) == 4) {
		ret->family = AF_INET;
		memset(ret->bytes, 0, sizeof(ret->bytes));
		for (unsigned i = 0; i < 4; i++) {
			uint64_t v;
			if (!dns_name_label(n, i, label) || str_to_u64(label, 255, &v) < 0)
				return false;
			ret->bytes[3 - i] = (uint8_t)v;
		}
		return true;
	}
	if (dns_name_under(n, &v6) != 32)
		return false;
	ret->family = AF_INET6;
	memset(ret->bytes, 0, sizeof(ret->bytes));
	for (unsigned i = 0; i < 32; i++) {
		const char *hex = "0123456789abcdef", *at;
		if (!dns_name_label(n, i, label) || label[1] || !(at = strchr(hex, label[0])))
			return false;
		ret->bytes[15 - i / 2] |= (uint8_t)((at - hex) << (i % 2 ? 4 : 0));
	}
	return true;
}

/* True when the name belongs to the cluster. */
static bool answer_reverse(struct answer *a)
{
	struct ip_addr ip;
	struct dns_name target;
	const char *hostname = NULL;
	if (!reverse_address(&a->q->name, &ip))
		return false;
	const struct model_service *s = model_service_by_address(a->z->model, &ip);
	if (!s)
		s = model_endpoint_by_address(a->z->model, &ip, &hostname);
	if (s && service_name(a->z, s, hostname, &target)) {
		a->exists = true;
		if (wants(a, DNS_PTR))
			dns_put_name(&a->w, DNS_ANSWER, NULL, DNS_PTR, ZONE_TTL_S, &target);
		return true;
	}
	for (size_t i = 0; i < a->z->range_count; i++)
		if (ip_prefix_contains(&a->z->ranges[i], &ip))
			return true;
	return false;
}

static const struct model_service *answer_domain(struct answer *a, int under)
{
	char top[64];
	if (under == 0) {
		a->exists = true;
		if (wants(a, DNS_SOA))
			dns_put_soa(&a->w, DNS_ANSWER, &a->z->domain, &a->z->server, ZONE_TTL_S);
		if (wants(a, DNS_NS))
			dns_put_name(&a->w, DNS_ANSWER, NULL, DNS_NS, ZONE_TTL_S, &a->z->server);
		return NULL;
	}
	if (!dns_name_label(&a->q->name, (unsigned)under - 1, top))
		return NULL;
	if (strcmp(top, "svc") == 0)
		return answer_svc(a, under - 1);
	if (strcmp(top, "pod") == 0)
		answer_pod(a, under - 1);
	if (strcmp(top, "dns-version") == 0 && under == 1) {
		a->exists = true;
		if (wants(a, DNS_TXT))
			dns_put(&a->w, DNS_ANSWER, NULL, DNS_TXT, ZONE_TTL_S, "\0051.1.0", 6);
	}
	return NULL;
}

enum zone_result zone_answer(struct zone *z, const struct dns_query *q, uint8_t *buf, size_t cap, size_t limit,
			     size_t *ret_len, struct dns_name *ret_target)
{
	struct ip_addr seen[ZONE_MAX_ADDRESSES];
	struct answer a = { .z = z, .q = q, .seen = seen };
	dns_begin(&a.w, buf, cap, limit, q);
	if (q->qclass != DNS_IN && q->qclass != 255)
		return ZONE_FORWARD;
	int under = dns_name_under(&q->name, &z->domain);
	if (under < 0 && !answer_reverse(&a))
		return ZONE_FORWARD;
	if (under >= 0) {
		const struct model_service *external = answer_domain(&a, under);
		struct dns_name target;
		if (external && dns_name_from_text(&target, model_service_external_name(external)) && target.labels) {
			if (q->type == DNS_A || q->type == DNS_AAAA) {
				/* Resolvers of programs do not follow a CNAME themselves: the whole chain is answered. */
				if (!dns_name_eq(&target, &q->name)) {
					*ret_target = target;
					return ZONE_CHASE;
				}
			} else if (wants(&a, DNS_CNAME)) {
				dns_put_name(&a.w, DNS_ANSWER, NULL, DNS_CNAME, ZONE_TTL_S, &target);
			}
		}
	}
	if (!a.w.counts[DNS_ANSWER] && !a.w.truncated) {
		const struct dns_name *apex = under >= 0 ? &z->domain : &q->name;
		dns_put_soa(&a.w, DNS_AUTHORITY, apex, &z->server, ZONE_TTL_S);
	}
	*ret_len = dns_end(&a.w, a.exists ? DNS_NOERROR : DNS_NXDOMAIN, true);
	return ZONE_DONE;
}
