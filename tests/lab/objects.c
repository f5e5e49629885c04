/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Everything that is the API's default is left out, so that the defaults are tested too. */
#include "tests/lab/objects.h"

#include <stdio.h>

#include "base/mem.h"

static const int families[2] = { AF_INET, AF_INET6 };

const char *object_proto_name(uint8_t proto)
{
	return proto == IPPROTO_TCP ? "TCP" : proto == IPPROTO_UDP ? "UDP" : "SCTP";
}

/* 10.96.1.2 as 010.096.001.002: always decimal. */
static void add_address(struct strbuf *b, const struct ip_addr *a, bool zeros)
{
	char text[IP_ADDR_TEXT_SIZE];
	if (zeros && a->family == AF_INET)
		strbuf_addf(b, "\"%03u.%03u.%03u.%03u\"", a->bytes[0], a->bytes[1], a->bytes[2], a->bytes[3]);
	else
		strbuf_addf(b, "\"%s\"", ip_format(a, text));
}

static void add_words(struct strbuf *b, const char *key, const char *words, const char *before, const char *after)
{
	_cleanup_strlist_ struct strlist l = { 0 };
	strlist_split(&l, words, ',');
	strbuf_addf(b, ",\"%s\":[", key);
	for (size_t i = 0; i < l.count; i++)
		strbuf_addf(b, "%s%s\"%s\"%s", i ? "," : "", before, l.items[i], after);
	strbuf_addc(b, ']');
}

static void add_meta(struct strbuf *b, const struct object_service *s)
{
	strbuf_addf(b, "\"metadata\":{\"name\":\"%s\",\"namespace\":\"d\",\"annotations\":{", s->name);
	const char *comma = "";
	const struct { const char *key, *value; } notes[] = {
		{ "balancing", s->balancing }, { "forwarding", s->forwarding }, { "weights", s->weights },
	};
	for (size_t i = 0; i < ARRAY_SIZE(notes); i++)
		if (*notes[i].value) {
			strbuf_addf(b, "%s\"keelson.dev/%s\":\"%s\"", comma, notes[i].key, notes[i].value);
			comma = ",";
		}
	strbuf_adds(b, "},\"labels\":{");
	if (*s->proxy_name)
		strbuf_addf(b, "\"service.kubernetes.io/service-proxy-name\":\"%s\"", s->proxy_name);
	strbuf_adds(b, "}}");
}

static void add_ports(struct strbuf *b, const struct object_service *s)
{
	strbuf_adds(b, ",\"ports\":[");
	for (size_t i = 0; i < s->port_count; i++) {
		const struct object_port *p = &s->ports[i];
		strbuf_addf(b, "%s{\"name\":\"%s\",\"port\":%u,\"protocol\":\"%s\",\"targetPort\":%u", i ? "," : "", p->name, p->port,
			    object_proto_name(p->proto), p->target);
		if (p->node_port)
			strbuf_addf(b, ",\"nodePort\":%u", p->node_port);
		strbuf_addc(b, '}');
	}
	strbuf_addc(b, ']');
}

static void add_outward(struct strbuf *b, const struct object_service *s)
{
	const char *comma = "";
	if (s->externals[0]) {
		strbuf_adds(b, ",\"externalIPs\":[");
		for (size_t i = 0; i < OBJECT_ADDRESSES && s->externals[i]; i++)
			for (int f = 0; f < 2; f++) {
				struct ip_addr a = lab_external_addr(s->externals[i], families[f]);
				if (!s->families[f])
					continue;
				strbuf_adds(b, comma);
				add_address(b, &a, s->raw_addresses == 'z');
				comma = ",";
			}
		strbuf_addc(b, ']');
	}
}

static void add_status(struct strbuf *b, const struct object_service *s)
{
	const char *comma = "";
	strbuf_adds(b, ",\"status\":{\"loadBalancer\":{\"ingress\":[");
	for (size_t i = 0; i < OBJECT_ADDRESSES && s->balancers[i]; i++)
		for (int f = 0; f < 2; f++) {
			struct ip_addr a = lab_balancer_addr(s->balancers[i], families[f]);
			if (!s->families[f])
				continue;
			strbuf_addf(b, "%s{\"ip\":", comma);
			add_address(b, &a, s->raw_addresses == 'z');
			if (*s->balancer_mode)
				strbuf_addf(b, ",\"ipMode\":\"%s\"", s->balancer_mode);
			strbuf_addc(b, '}');
			comma = ",";
		}
	strbuf_adds(b, "]}}");
}

void object_service_json(struct strbuf *b, const struct object_service *s)
{
	static const char *const types[] = { "ClusterIP", "NodePort", "LoadBalancer", "ClusterIP" };
	const char *comma = "";
	strbuf_adds(b, "{\"kind\":\"Service\",\"apiVersion\":\"v1\",");
	add_meta(b, s);
	strbuf_addf(b, ",\"spec\":{\"type\":\"%s\"", types[s->type]);
	if (s->type == OBJECT_HEADLESS) {
		strbuf_adds(b, ",\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"]");
	} else {
		_cleanup_strbuf_ struct strbuf list = { 0 };
		for (int f = 0; f < 2; f++) {
			struct ip_addr a = lab_service_addr(s->vip, families[f]);
			if (!s->families[f])
				continue;
			strbuf_adds(&list, comma);
			add_address(&list, &a, s->raw_addresses == 'z');
			comma = ",";
		}
		strbuf_addf(b, ",\"clusterIP\":%.*s,\"clusterIPs\":[%s]", (int)strcspn(list.data, ","), list.data, list.data);
	}
	add_ports(b, s);
	add_outward(b, s);
	if (s->etp_local)
		strbuf_adds(b, ",\"externalTrafficPolicy\":\"Local\"");
	if (s->itp_local)
		strbuf_adds(b, ",\"internalTrafficPolicy\":\"Local\"");
	if (s->affinity_s)
		strbuf_addf(b, ",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":%u}}",
			    s->affinity_s);
	if (*s->ranges)
		add_words(b, "loadBalancerSourceRanges", s->ranges, "", "");
	if (s->health_port)
		strbuf_addf(b, ",\"healthCheckNodePort\":%u", s->health_port);
	if (s->publish_not_ready)
		strbuf_adds(b, ",\"publishNotReadyAddresses\":true");
	if (*s->distribution)
		strbuf_addf(b, ",\"trafficDistribution\":\"%s\"", s->distribution);
	strbuf_addc(b, '}');
	if (s->balancers[0])
		add_status(b, s);
	strbuf_addc(b, '}');
}

static bool same_targets(const struct object_endpoint *a, const struct object_endpoint *b)
{
	return memcmp(a->target, b->target, sizeof(a->target)) == 0;
}

static void add_endpoint(struct strbuf *b, const struct object_service *s, const struct object_endpoint *e, int family)
{
	_cleanup_strbuf_ struct strbuf hints = { 0 };
	strbuf_adds(b, "{\"addresses\":[");
	add_address(b, &e->addr[family], s->raw_addresses == 'z');
	strbuf_addf(b, "],\"nodeName\":\"%s\",\"conditions\":{\"ready\":%s", e->node,
		    e->ready || s->publish_not_ready ? "true" : "false");
	if (e->terminating || e->serving != e->ready)
		strbuf_addf(b, ",\"serving\":%s,\"terminating\":%s", e->serving ? "true" : "false", e->terminating ? "true" : "false");
	strbuf_addc(b, '}');
	if (*e->zones)
		add_words(&hints, "forZones", e->zones, "{\"name\":", "}");
	if (*e->nodes)
		add_words(&hints, "forNodes", e->nodes, "{\"name\":", "}");
	if (hints.len)
		strbuf_addf(b, ",\"hints\":{%s}", hints.data + 1);
	strbuf_addc(b, '}');
}

/* A slice with all endpoints whose ports are those of endpoint `first`. */
static void add_slice(struct strbuf *b, const struct object_service *s, const struct object_endpoint *eps, size_t count,
		      size_t first, int family)
{
	const char *comma = "";
	strbuf_addf(b, "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"addressType\":\"%s\",\"metadata\":"
		       "{\"name\":\"%s-%d-%zu\",\"namespace\":\"d\",\"labels\":{\"kubernetes.io/service-name\":\"%s\"}},\"ports\":[",
		    family ? "IPv6" : "IPv4", s->name, family ? 6 : 4, first, s->name);
	for (size_t i = 0; i < s->port_count; i++) {
		uint16_t own = count && first < count ? eps[first].target[i] : 0;
		strbuf_addf(b, "%s{\"name\":\"%s\",\"port\":%u,\"protocol\":\"%s\"}", i ? "," : "", s->ports[i].name,
			    own ? own : s->ports[i].target, object_proto_name(s->ports[i].proto));
	}
	strbuf_adds(b, "],\"endpoints\":[");
	for (size_t i = first; i < count; i++) {
		if (eps[i].gone || !eps[i].addr[family].family || !same_targets(&eps[i], &eps[first]))
			continue;
		strbuf_adds(b, comma);
		add_endpoint(b, s, &eps[i], family);
		comma = ",";
	}
	strbuf_adds(b, "]}");
}

void object_slices_json(struct strbuf *b, const struct object_service *s, const struct object_endpoint *eps, size_t count)
{
	const char *comma = "";
	for (int f = 0; f < 2; f++) {
		if (!s->families[f])
			continue;
		size_t made = 0;
		for (size_t i = 0; i < count; i++) {
			bool had = eps[i].gone;
			for (size_t k = 0; k < i && !had; k++)
				had = !eps[k].gone && same_targets(&eps[k], &eps[i]);
			if (had)
				continue;
			strbuf_adds(b, comma);
			add_slice(b, s, eps, count, i, f);
			comma = ", ";
			made++;
		}
		if (!made) {
			strbuf_adds(b, comma);
			add_slice(b, s, eps, 0, 0, f);
			comma = ", ";
		}
	}
}
