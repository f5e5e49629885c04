/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Services and EndpointSlices from JSON into the model's own compact form. An object may come from a file somebody wrote:
 * every count and type is checked, and what is not usable is left out and named.
 */
#include <errno.h>

#include "kube/object.h"
#include "proxy/model/model_internal.h"

#define LABEL_PROXY_NAME "service.kubernetes.io/service-proxy-name"
#define LABEL_HEADLESS "service.kubernetes.io/headless"
#define LABEL_SERVICE_NAME "kubernetes.io/service-name"

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

int model_ip_parse(const char *s, struct ip_addr *ret)
{
	char plain[IP_ADDR_TEXT_SIZE];
	size_t n = 0;
	if (!s || strchr(s, ':'))
		return s ? ip_parse(s, ret) : -EINVAL;
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

/* Remembers the first complaint. */
static void complain(struct err *err, int *r, const char *what, const char *ns, const char *name, const char *why,
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

static bool ip_usable(const struct ip_addr *a)
{
	static const uint8_t zero[16];
	return memcmp(a->bytes, zero, a->family == AF_INET ? 4 : 16) != 0;
}

/* Adds an address once. */
static void ips_add(struct ip_addr *items, uint8_t *count, size_t max, const struct ip_addr *a)
{
	for (size_t i = 0; i < *count; i++)
		if (ip_addr_eq(&items[i], a))
			return;
	if (*count < max)
		items[(*count)++] = *a;
}

static struct ip_addr *ips_take(const struct ip_addr *items, uint8_t count)
{
	return count ? mem_dup(items, count * sizeof(*items)) : NULL;
}

static void service_addresses(struct model_service *s, const json_t *spec, const json_t *o, struct err *err, int *r)
{
	struct ip_addr ips[MODEL_MAX_ADDRESSES], a;
	uint8_t n = 0;
	size_t i;
	json_t *v;
	json_t *list = json_object_get(spec, "clusterIPs");
	const char *one = json_string_value(json_object_get(spec, "clusterIP"));

	if (str_eq(one, "None") || str_eq(json_string_value(json_array_get(list, 0)), "None")) {
		s->headless = true;
	} else {
		if (!str_empty(one) && (model_ip_parse(one, &a) < 0 || !ip_usable(&a)))
			complain(err, r, "Service", s->ns, s->name, "clusterIP is not an address:", one);
		else if (!str_empty(one))
			ips_add(ips, &n, 2, &a);
		json_array_foreach(list, i, v) {
			if (model_ip_parse(json_string_value(v), &a) < 0 || !ip_usable(&a))
				complain(err, r, "Service", s->ns, s->name, "clusterIPs holds what is not an address:",
					 json_string_value(v));
			else
				ips_add(ips, &n, 2, &a);
		}
		s->cluster_ips = ips_take(ips, n);
		s->cluster_ip_count = n;
	}

	n = 0;
	json_array_foreach(json_object_get(spec, "externalIPs"), i, v) {
		if (model_ip_parse(json_string_value(v), &a) < 0 || !ip_usable(&a))
			complain(err, r, "Service", s->ns, s->name, "externalIPs holds what is not an address:",
				 json_string_value(v));
		else
			ips_add(ips, &n, 255, &a);
	}
	s->external_ips = ips_take(ips, n);
	s->external_ip_count = n;

	n = 0;
	json_array_foreach(json_at(o, "status.loadBalancer.ingress"), i, v) {
		const char *ip = json_string_value(json_object_get(v, "ip"));
		/* ipMode Proxy: the balancer wants to see the connection itself (KEP-1860). */
		if (!ip || str_eq(json_string_value(json_object_get(v, "ipMode")), "Proxy"))
			continue;
		if (model_ip_parse(ip, &a) < 0 || !ip_usable(&a))
			complain(err, r, "Service", s->ns, s->name, "loadBalancer ingress is not an address:", ip);
		else
			ips_add(ips, &n, 255, &a);
	}
	s->lb_ips = ips_take(ips, n);
	s->lb_ip_count = n;
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

	s->ports = max ? mem_new_n(struct model_svc_port, max) : NULL;
	s->port_count = 0;
	json_array_foreach(list, i, v) {
		struct model_svc_port *p = &s->ports[s->port_count];
		if (s->port_count == max)
			break;
		p->port = port_number(json_object_get(v, "port"));
		if (!p->port || proto_parse(json_string_value(json_object_get(v, "protocol")), &p->proto) < 0) {
			complain(err, r, "Service", s->ns, s->name, "port without a usable number or protocol:",
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
				memset(q->ids, 0, sizeof(q->ids));
			}
	for (size_t k = 0; k < old_count; k++) {
		for (int f = 0; f < FAMILY_MAX; f++)
			if (old[k].ids[f]) {
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
	free(s->external_name);
	free(s->cluster_ips);
	free(s->external_ips);
	free(s->lb_ips);
	s->external_name = NULL;
	s->cluster_ips = s->external_ips = s->lb_ips = NULL;
	s->cluster_ip_count = s->external_ip_count = s->lb_ip_count = 0;
	s->affinity_s = 0;
	s->present = s->foreign = s->headless = s->is_external_name = false;
	s->internal_local = s->external_local = false;
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
	bool reachable = strcmp(type, "NodePort") == 0 || strcmp(type, "LoadBalancer") == 0;
	s->is_external_name = strcmp(type, "ExternalName") == 0;
	if (s->is_external_name)
		s->external_name = mem_strdup(json_str_or(spec, "externalName", ""));
	else
		service_addresses(s, spec, o, err, &r);
	if (!reachable || strcmp(type, "LoadBalancer") != 0) {
		free(s->lb_ips);
		s->lb_ips = NULL;
		s->lb_ip_count = 0;
	}
	const char *proxy = json_string_value(json_object_get(object_labels(o), LABEL_PROXY_NAME));
	s->foreign = !str_eq(proxy, m->proxy_name);
	if (json_object_get(object_labels(o), LABEL_HEADLESS) && !s->cluster_ip_count)
		s->headless = true;
	s->internal_local = str_eq(json_str(spec, "internalTrafficPolicy"), "Local");
	s->external_local = str_eq(json_str(spec, "externalTrafficPolicy"), "Local");
	if (str_eq(json_str(spec, "sessionAffinity"), "ClientIP")) {
		int64_t t = json_int(spec, "sessionAffinityConfig.clientIP.timeoutSeconds", 10800);
		s->affinity_s = (uint32_t)(t < 1 ? 1 : t > 86400 ? 86400 : t);
	}
	service_index(m, s, true);
	service_ports(m, s, spec, reachable, err, &r);
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

void model_slice_free_value(void *p)
{
	struct model_slice *s = p;
	for (size_t i = 0; i < s->ep_count; i++)
		free(s->eps[i].hostname);
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
		complain(err, r, "EndpointSlice", ns, name, "has too many endpoints, only some are used", "");
	s->eps = max ? mem_new_n(struct model_ep, max) : NULL;
	json_array_foreach(list, i, v) {
		struct model_ep *e = &s->eps[s->ep_count];
		/* Consumers use the first address only (discovery/v1 says the others are equivalent). */
		const char *text = json_string_value(json_array_get(json_object_get(v, "addresses"), 0));
		if (s->ep_count == max)
			break;
		if (model_ip_parse(text, &e->addr) < 0 || !ip_usable(&e->addr) || e->addr.family != s->family) {
			complain(err, r, "EndpointSlice", ns, name, "endpoint has no address of the slice's type:", text);
			memset(&e->addr, 0, sizeof(e->addr));
			continue;
		}
		bool ready = condition(v, "ready", true);
		e->flags = (ready ? EP_READY : 0) | (condition(v, "serving", ready) ? EP_SERVING : 0) |
			   (condition(v, "terminating", false) ? EP_TERMINATING : 0);
		const char *node = json_string_value(json_object_get(v, "nodeName"));
		if (node && str_eq(node, m->node_name))
			e->flags |= EP_HERE;
		const char *hostname = json_string_value(json_object_get(v, "hostname"));
		e->hostname = str_empty(hostname) ? NULL : mem_strdup(hostname);
		s->ep_count++;
	}
}

static void slice_ports(struct model_slice *s, const json_t *list, const char *ns, const char *name, struct err *err,
			int *r)
{
	size_t max = MIN(json_array_size(list), (size_t)MODEL_MAX_PORTS), i;
	json_t *v;
	s->ports = max ? mem_new_n(struct model_slice_port, max) : NULL;
	json_array_foreach(list, i, v) {
		struct model_slice_port *p = &s->ports[s->port_count];
		if (s->port_count == max)
			break;
		const json_t *number = json_object_get(v, "port");
		p->port = port_number(number);
		if (!p->port || proto_parse(json_string_value(json_object_get(v, "protocol")), &p->proto) < 0) {
			if (number && !json_is_null(number))
				complain(err, r, "EndpointSlice", ns, name, "port without a usable number or protocol:",
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
	model_slice_free_value(s);
}

int model_slice_set(struct model *m, const json_t *o, struct err *err)
{
	const char *ns = object_namespace(o), *name = object_name(o);
	int r = 0;
	if (str_empty(ns) || str_empty(name))
		return err_set(err, EINVAL, "EndpointSlice without a name or namespace");
	const char *service = json_string_value(json_object_get(object_labels(o), LABEL_SERVICE_NAME));
	const char *type = json_str_or(o, "addressType", "");
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
	char *key = str_printf("%s/%s", ns, name);
	map_set(m->slices, key, s);
	free(key);
	model_touch(m, s->service);
	return r;
}
