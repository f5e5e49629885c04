/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Services and EndpointSlices from JSON into the model's own compact form. An object may come from a file somebody wrote:
 * every count and type is checked, and what is not usable is left out and named.
 */
#include <errno.h>

#include "base/clock.h"
#include "kube/object.h"
#include "proxy/model/model_internal.h"

#define LABEL_PROXY_NAME "service.kubernetes.io/service-proxy-name"
#define LABEL_HEADLESS "service.kubernetes.io/headless"
#define LABEL_SERVICE_NAME "kubernetes.io/service-name"
#define ANNOTATION_TRIGGER "endpoints.kubernetes.io/last-change-trigger-time"

static char no_name[1];

char *model_name_dup(const char *s)
{
	return *s ? mem_strdup(s) : no_name;
}

void model_name_free(char *s)
{
	if (s != no_name)
		free(s);
}

/* IPv4 with leading zeros made plain. */
static int plain_ip_parse(const char *s, struct ip_addr *ret)
{
	char plain[IP_ADDR_TEXT_SIZE];
	size_t n = 0;
	for (const char *p = s; *p;) {
		bool part = p == s || p[-1] == '.';
		if (part && *p == '0' && p[1] >= '0' && p[1] <= '9') {
			p++;
			while (*p == '0' && p[1] >= '0' && p[1] <= '9')
				p++;
		}
		do {
			if (n + 1 >= sizeof(plain))
				return -EINVAL;
			plain[n++] = *p++;
		} while (*p && p[-1] != '.');
	}
	plain[n] = 0;
	return ip_parse(plain, ret);
}

int model_ip_parse(const char *s, struct ip_addr *ret)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct ip_addr a;
	if (!s || (strchr(s, ':') ? ip_parse(s, &a) : plain_ip_parse(s, &a)) < 0)
		return -EINVAL;
	*ret = a;
	if (a.family == AF_INET6 && memcmp(a.bytes, mapped, sizeof(mapped)) == 0) {
		*ret = (struct ip_addr){ .family = AF_INET };
		memcpy(ret->bytes, a.bytes + 12, 4);
	}
	return 0;
}

int model_cidr_parse(const char *s, struct ip_prefix *ret)
{
	char text[IP_PREFIX_TEXT_SIZE + 16];
	uint64_t len;
	s += s ? strspn(s, " \t\r\n") : 0;
	size_t n = s ? strcspn(s, " \t\r\n") : 0;
	if (!s || n >= sizeof(text) || s[n + strspn(s + n, " \t\r\n")])
		return -EINVAL;
	memcpy(text, s, n);
	text[n] = 0;
	char *slash = strchr(text, '/');
	if (!slash)
		return -EINVAL;
	*slash++ = 0;
	struct ip_prefix p = { 0 };
	if (model_ip_parse(text, &p.addr) < 0 || str_to_u64(slash, strchr(text, ':') ? 128 : 32, &len) < 0)
		return -EINVAL;
	if (strchr(text, ':') && p.addr.family == AF_INET) {
		if (len < 96)
			return -EINVAL;
		len -= 96;
	}
	p.len = (uint8_t)len;
	ip_prefix_mask(&p);
	*ret = p;
	return 0;
}

void model_complain(struct err *err, int *r, const char *what, const char *ns, const char *name, const char *why,
		    const char *value)
{
	if (*r == 0)
		err_set(err, EINVAL, "%s %s/%s: %s \"%s\"", what, ns, name, why, value ? value : "");
	*r = -EINVAL;
}

static int proto_parse(const char *s, uint8_t *ret)
{
	if (!s || strcmp(s, "TCP") == 0)
		*ret = IPPROTO_TCP;
	else if (strcmp(s, "UDP") == 0)
		*ret = IPPROTO_UDP;
	else if (strcmp(s, "SCTP") == 0)
		*ret = IPPROTO_SCTP;
	else
		return -EINVAL;
	return 0;
}

/* What may be a frontend or an endpoint: no address that means "here" (it would take over a program's own loopback), and
 * none that only counts on one link. Kubernetes refuses the same. */
static bool ip_usable(const struct ip_addr *a)
{
	static const uint8_t zero[16], loopback[16] = { [15] = 1 };
	const uint8_t *b = a->bytes;
	if (a->family == AF_INET)
		return b[0] != 0 && b[0] != 127 && b[0] < 224 && !(b[0] == 169 && b[1] == 254);
	return memcmp(b, zero, 16) != 0 && memcmp(b, loopback, 16) != 0 && b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

/* Adds an address once; false: there is no room. */
static bool ips_add(struct ip_addr *items, uint8_t *count, size_t max, const struct ip_addr *a)
{
	for (size_t i = 0; i < *count; i++)
		if (ip_addr_eq(&items[i], a))
			return true;
	if (*count == max)
		return false;
	items[(*count)++] = *a;
	return true;
}

static struct ip_addr *ips_take(const struct ip_addr *items, uint8_t count)
{
	return count ? mem_dup(items, count * sizeof(*items)) : NULL;
}

/* Adds what text says, or complains. */
static void ips_read(struct model_service *s, const char *text, const char *field, struct ip_addr *items, uint8_t *count,
		     size_t max, struct err *err, int *r)
{
	struct ip_addr a;
	if (model_ip_parse(text, &a) < 0 || !ip_usable(&a))
		model_complain(err, r, "Service", s->ns, s->name, field, text);
	else if (!ips_add(items, count, max, &a))
		model_complain(err, r, "Service", s->ns, s->name, "has too many addresses, only some are used; the first left out is",
			       text);
}

static void service_addresses(struct model_service *s, const json_t *spec, const json_t *o, struct err *err, int *r)
{
	struct ip_addr ips[MODEL_MAX_ADDRESSES];
	uint8_t n = 0;
	size_t i;
	json_t *v;
	json_t *list = json_object_get(spec, "clusterIPs");
	const char *one = json_string_value(json_object_get(spec, "clusterIP"));

	if (str_eq(one, "None") || str_eq(json_string_value(json_array_get(list, 0)), "None")) {
		s->headless = true;
	} else {
		if (!str_empty(one))
			ips_read(s, one, "clusterIP is not a usable address:", ips, &n, 2, err, r);
		json_array_foreach(list, i, v)
			ips_read(s, json_string_value(v), "clusterIPs holds what is not a usable address:", ips, &n, 2, err, r);
		s->cluster_ips = ips_take(ips, n);
		s->cluster_ip_count = n;
	}

	n = 0;
	json_array_foreach(json_object_get(spec, "externalIPs"), i, v)
		ips_read(s, json_string_value(v), "externalIPs holds what is not a usable address:", ips, &n, 255, err, r);
	s->external_ips = ips_take(ips, n);
	s->external_ip_count = n;
	if (!str_eq(json_str(spec, "type"), "LoadBalancer"))
		return;

	n = 0;
	json_array_foreach(json_at(o, "status.loadBalancer.ingress"), i, v) {
		const char *ip = json_string_value(json_object_get(v, "ip"));
		/* ipMode Proxy: the balancer wants to see the connection itself (KEP-1860). */
		if (ip && !str_eq(json_string_value(json_object_get(v, "ipMode")), "Proxy"))
			ips_read(s, ip, "loadBalancer ingress is not a usable address:", ips, &n, 255, err, r);
	}
	s->lb_ips = ips_take(ips, n);
	s->lb_ip_count = n;
}

/* A Service is served in the families of its cluster addresses. One without any (a manifest of a bare-metal balancer: the
 * API server always gives them) in its ipFamilies, or in both. */
static void service_families(struct model_service *s, const json_t *spec)
{
	size_t i;
	json_t *v;
	s->families = 0;
	for (i = 0; i < s->cluster_ip_count; i++)
		s->families |= 1 << family_index(s->cluster_ips[i].family);
	if (s->families)
		return;
	json_array_foreach(json_object_get(spec, "ipFamilies"), i, v) {
		s->families |= str_eq(json_string_value(v), "IPv4") ? 1 << FAMILY_4 : 0;
		s->families |= str_eq(json_string_value(v), "IPv6") ? 1 << FAMILY_6 : 0;
	}
	if (!s->families)
		s->families = 1 << FAMILY_4 | 1 << FAMILY_6;
}

/* An unusable range lets nobody in, so a list of nothing else lets nobody in at all. */
static void service_ranges(struct model_service *s, const json_t *spec, struct err *err, int *r)
{
	json_t *list = json_object_get(spec, "loadBalancerSourceRanges"), *v;
	size_t max = MIN(json_array_size(list), (size_t)MODEL_MAX_RANGES), i;
	s->ranged = max > 0;
	if (json_array_size(list) > max)
		model_complain(err, r, "Service", s->ns, s->name, "has too many loadBalancerSourceRanges, only some are used", "");
	s->ranges = max ? mem_new_n(struct ip_prefix, max) : NULL;
	json_array_foreach(list, i, v) {
		if (i == max)
			break;
		if (model_cidr_parse(json_string_value(v), &s->ranges[s->range_count]) < 0)
			model_complain(err, r, "Service", s->ns, s->name, "loadBalancerSourceRanges holds what is not a range:",
				       json_string_value(v));
		else
			s->range_count++;
	}
}

static uint16_t port_number(const json_t *v)
{
	json_int_t n = json_is_integer(v) ? json_integer_value(v) : 0;
	return n >= 1 && n <= 65535 ? (uint16_t)n : 0;
}

static void service_ports(struct model *m, struct model_service *s, const json_t *spec, bool node_ports,
			  struct err *err, int *r)
{
	struct model_svc_port *old = s->ports;
	size_t old_count = s->port_count, i;
	json_t *list = json_object_get(spec, "ports"), *v;
	size_t max = MIN(json_array_size(list), (size_t)MODEL_MAX_PORTS);

	if (json_array_size(list) > max)
		model_complain(err, r, "Service", s->ns, s->name, "has too many ports, only some are used", "");
	s->ports = max ? mem_new_n(struct model_svc_port, max) : NULL;
	s->port_count = 0;
	json_array_foreach(list, i, v) {
		struct model_svc_port *p = &s->ports[s->port_count];
		if (s->port_count == max)
			break;
		p->port = port_number(json_object_get(v, "port"));
		if (!p->port || proto_parse(json_string_value(json_object_get(v, "protocol")), &p->proto) < 0) {
			model_complain(err, r, "Service", s->ns, s->name, "port without a usable number or protocol:",
				 json_str_or(v, "name", ""));
			continue;
		}
		p->node_port = node_ports ? port_number(json_object_get(v, "nodePort")) : 0;
		p->name = model_name_dup(json_str_or(v, "name", ""));
		s->port_count++;
	}
	/* A port keeps its ids when its name and protocol, or its number and protocol, are still there. */
	for (size_t pass = 0; pass < 2; pass++)
		for (i = 0; i < s->port_count; i++)
			for (size_t k = 0; k < old_count; k++) {
				struct model_svc_port *n = &s->ports[i], *q = &old[k];
				bool same = pass == 0 ? strcmp(n->name, q->name) == 0 : n->port == q->port;
				if (n->proto != q->proto || !same || n->ids[0] || n->ids[1])
					continue;
				memcpy(n->ids, q->ids, sizeof(n->ids));
				memcpy(n->no_local, q->no_local, sizeof(n->no_local));
				memset(q->ids, 0, sizeof(q->ids));
				memset(q->no_local, 0, sizeof(q->no_local));
			}
	for (size_t k = 0; k < old_count; k++) {
		for (int f = 0; f < FAMILY_MAX; f++) {
			model_count_no_local(m, &old[k], f, 0);
			if (!old[k].ids[f])
				continue;
			MEM_GROW(s->gone, s->gone_cap, s->gone_count + 1);
			s->gone[s->gone_count++] = old[k].ids[f];
		}
		model_name_free(old[k].name);
	}
	free(old);
	model_touch(m, s);
}

static void namespace_count(struct model *m, const char *ns, int by)
{
	uintptr_t n = (uintptr_t)map_get(m->namespaces, ns) + (uintptr_t)(intptr_t)by;
	if (n)
		map_set(m->namespaces, ns, (void *)n);
	else
		map_del(m->namespaces, ns);
}

static void service_index(struct model *m, struct model_service *s, bool add)
{
	for (size_t i = 0; i < s->cluster_ip_count; i++) {
		char text[IP_ADDR_TEXT_SIZE];
		ip_format(&s->cluster_ips[i], text);
		struct model_service *other = map_get(m->addresses, text);
		if (add && (!other || strcmp(s->key, other->key) < 0))
			map_set(m->addresses, text, s);
		else if (!add && other == s)
			map_del(m->addresses, text);
	}
}

/* What the Service object said goes; its ports are told to be gone by the next service_ports() or flush. */
void model_service_clear(struct model *m, struct model_service *s)
{
	if (s->present) {
		m->service_count--;
		namespace_count(m, s->ns, -1);
		service_index(m, s, false);
	}
	model_annotations_clear(m, s);
	free(s->external_name);
	free(s->cluster_ips);
	free(s->external_ips);
	free(s->lb_ips);
	free(s->ranges);
	s->external_name = NULL;
	s->cluster_ips = s->external_ips = s->lb_ips = NULL;
	s->ranges = NULL;
	s->cluster_ip_count = s->external_ip_count = s->lb_ip_count = 0;
	s->range_count = s->health_port = 0;
	s->affinity_s = 0;
	s->present = s->foreign = s->headless = s->is_external_name = false;
	s->internal_local = s->external_local = s->ranged = false;
}

static void service_policies(struct model *m, struct model_service *s, const json_t *spec, const json_t *o)
{
	const json_t *labels = object_labels(o);
	s->foreign = !str_eq(json_string_value(json_object_get(labels, LABEL_PROXY_NAME)), m->proxy_name);
	if (json_object_get(labels, LABEL_HEADLESS)) {
		s->foreign = true;
		s->headless |= !s->cluster_ip_count;
	}
	s->internal_local = str_eq(json_str(spec, "internalTrafficPolicy"), "Local");
	s->external_local = str_eq(json_str(spec, "externalTrafficPolicy"), "Local");
	if (str_eq(json_str(spec, "sessionAffinity"), "ClientIP")) {
		int64_t t = json_int(spec, "sessionAffinityConfig.clientIP.timeoutSeconds", 10800);
		s->affinity_s = (uint32_t)(t < 1 ? 1 : t > 86400 ? 86400 : t);
	}
	if (str_eq(json_str(spec, "type"), "LoadBalancer") && s->external_local && !s->foreign && !s->headless)
		s->health_port = port_number(json_object_get(spec, "healthCheckNodePort"));
}

int model_service_set(struct model *m, const json_t *o, struct err *err)
{
	const char *ns = object_namespace(o), *name = object_name(o);
	const json_t *spec = json_object_get(o, "spec");
	int r = 0;
	if (str_empty(ns) || str_empty(name))
		return err_set(err, EINVAL, "Service without a name or namespace");

	struct model_service *s = model_service_get(m, ns, name);
	model_service_clear(m, s);
	s->present = true;
	m->service_count++;
	namespace_count(m, ns, 1);

	const char *type = json_str_or(spec, "type", "ClusterIP");
	s->is_external_name = strcmp(type, "ExternalName") == 0;
	if (s->is_external_name)
		s->external_name = mem_strdup(json_str_or(spec, "externalName", ""));
	else
		service_addresses(s, spec, o, err, &r);
	service_families(s, spec);
	service_policies(m, s, spec, o);
	if (strcmp(type, "LoadBalancer") == 0)
		service_ranges(s, spec, err, &r);
	model_annotations_read(m, s, o, err, &r);
	service_index(m, s, true);
	service_ports(m, s, spec, strcmp(type, "NodePort") == 0 || strcmp(type, "LoadBalancer") == 0, err, &r);
	return r;
}

void model_service_del(struct model *m, const char *ns, const char *name)
{
	char *key = str_printf("%s/%s", ns, name);
	struct model_service *s = map_get(m->services, key);
	free(key);
	if (!s || !s->present)
		return;
	model_service_clear(m, s);
	int ignored = 0;
	service_ports(m, s, NULL, false, NULL, &ignored);
}

void model_slice_free(struct model *m, struct model_slice *s)
{
	for (size_t i = 0; i < s->ep_count; i++) {
		intern_unref(&m->names, s->eps[i].node);
		intern_unref(&m->names, s->eps[i].hostname);
		intern_unref(&m->hints, s->eps[i].hints);
	}
	for (size_t i = 0; i < s->port_count; i++)
		model_name_free(s->ports[i].name);
	free(s->eps);
	free(s->ports);
	free(s);
}

static bool condition(const json_t *ep, const char *name, bool fallback)
{
	const json_t *v = json_object_get(json_object_get(ep, "conditions"), name);
	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

static void slice_endpoints(struct model *m, struct model_slice *s, const json_t *list, const char *ns,
			    const char *name, struct err *err, int *r)
{
	size_t max = MIN(json_array_size(list), (size_t)MODEL_MAX_ENDPOINTS), i;
	json_t *v;
	if (json_array_size(list) > max)
		model_complain(err, r, "EndpointSlice", ns, name, "has too many endpoints, only some are used", "");
	s->eps = max ? mem_new_n(struct model_ep, max) : NULL;
	json_array_foreach(list, i, v) {
		struct model_ep *e = &s->eps[s->ep_count];
		struct ip_addr a;
		/* Consumers use the first address only (discovery/v1 says the others are equivalent). */
		const char *text = json_string_value(json_array_get(json_object_get(v, "addresses"), 0));
		if (s->ep_count == max)
			break;
		if (model_ip_parse(text, &a) < 0 || !ip_usable(&a) || a.family != s->family) {
			model_complain(err, r, "EndpointSlice", ns, name, "endpoint has no usable address of the slice's type:", text);
			continue;
		}
		memcpy(e->addr, a.bytes, sizeof(e->addr));
		bool ready = condition(v, "ready", true);
		e->flags = (ready ? EP_READY : 0) | (condition(v, "serving", ready) ? EP_SERVING : 0) |
			   (condition(v, "terminating", false) ? EP_TERMINATING : 0);
		e->node = intern_ref(&m->names, json_string_value(json_object_get(v, "nodeName")));
		if (e->node && e->node == m->own_node)
			e->flags |= EP_HERE;
		e->hostname = intern_ref(&m->names, json_string_value(json_object_get(v, "hostname")));
		e->hints = model_hints_read(m, v);
		s->hinted |= e->hints != 0;
		s->ep_count++;
	}
}

static void slice_ports(struct model_slice *s, const json_t *list, const char *ns, const char *name, struct err *err,
			int *r)
{
	size_t max = MIN(json_array_size(list), (size_t)MODEL_MAX_PORTS), i;
	json_t *v;
	if (json_array_size(list) > max)
		model_complain(err, r, "EndpointSlice", ns, name, "has too many ports, only some are used", "");
	s->ports = max ? mem_new_n(struct model_slice_port, max) : NULL;
	json_array_foreach(list, i, v) {
		struct model_slice_port *p = &s->ports[s->port_count];
		if (s->port_count == max)
			break;
		const json_t *number = json_object_get(v, "port");
		p->port = port_number(number);
		if (!p->port || proto_parse(json_string_value(json_object_get(v, "protocol")), &p->proto) < 0) {
			if (number && !json_is_null(number))
				model_complain(err, r, "EndpointSlice", ns, name, "port without a usable number or protocol:",
					 json_str_or(v, "name", ""));
			continue;
		}
		p->name = model_name_dup(json_str_or(v, "name", ""));
		s->port_count++;
	}
}

static void slice_unlink(struct model *m, struct model_slice *s)
{
	for (struct model_slice **p = &s->service->slices; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	m->endpoint_count -= s->ep_count;
	model_touch(m, s->service);
}

void model_slice_del(struct model *m, const char *ns, const char *name)
{
	char *key = str_printf("%s/%s", ns, name);
	struct model_slice *s = map_take(m->slices, key);
	free(key);
	if (!s)
		return;
	slice_unlink(m, s);
	model_slice_free(m, s);
}

static void slice_trigger(struct model *m, struct model_slice *s, const json_t *o, int64_t before_us)
{
	const char *text = json_string_value(json_object_get(object_annotations(o), ANNOTATION_TRIGGER));
	if (!text || clock_parse_rfc3339(text, &s->trigger_us) < 0 || s->trigger_us == before_us)
		return;
	MEM_GROW(m->triggers, m->trigger_cap, m->trigger_count + 1);
	m->triggers[m->trigger_count++] = s->trigger_us;
}

int model_slice_set(struct model *m, const json_t *o, struct err *err)
{
	const char *ns = object_namespace(o), *name = object_name(o);
	int r = 0;
	if (str_empty(ns) || str_empty(name))
		return err_set(err, EINVAL, "EndpointSlice without a name or namespace");
	const char *service = json_string_value(json_object_get(object_labels(o), LABEL_SERVICE_NAME));
	const char *type = json_str_or(o, "addressType", "");
	char *key = str_printf("%s/%s", ns, name);
	struct model_slice *old = map_get(m->slices, key);
	int64_t triggered_us = old ? old->trigger_us : 0;
	free(key);
	model_slice_del(m, ns, name);
	if (str_empty(service) || strcmp(type, "FQDN") == 0)
		return 0; /* of no Service, or names: nothing to program */
	if (strcmp(type, "IPv4") != 0 && strcmp(type, "IPv6") != 0)
		return err_set(err, EINVAL, "EndpointSlice %s/%s: addressType is \"%s\", not IPv4 or IPv6", ns, name, type);

	struct model_slice *s = mem_new(struct model_slice);
	s->family = strcmp(type, "IPv6") == 0 ? AF_INET6 : AF_INET;
	slice_endpoints(m, s, json_object_get(o, "endpoints"), ns, name, err, &r);
	slice_ports(s, json_object_get(o, "ports"), ns, name, err, &r);
	s->service = model_service_get(m, ns, service);
	s->next = s->service->slices;
	s->service->slices = s;
	m->endpoint_count += s->ep_count;
	slice_trigger(m, s, o, triggered_us);
	key = str_printf("%s/%s", ns, name);
	map_set(m->slices, key, s);
	free(key);
	model_touch(m, s->service);
	return r;
}
