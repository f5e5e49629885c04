// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The allocator of cluster IPs and node ports. It is in memory: rebuilt from the stored Services at start, an address taken while a
 * write is under way is given back when it fails, and released when a durable change no longer has it. What always holds: every
 * address and port of a stored Service is taken.
 */
#include <stdio.h>

#include "apiserver/registry/service_alloc.h"
#include "base/map.h"

bool may_have_node_ports(const json_t *s)
{
	const char *type = json_str_or(s, "spec.type", "");
	return str_eq(type, "NodePort") || str_eq(type, "LoadBalancer");
}

bool needs_health_port(const json_t *s)
{
	return str_eq(json_str(s, "spec.type"), "LoadBalancer") && str_eq(json_str(s, "spec.externalTrafficPolicy"), "Local");
}

/* Of a larger range the first 2^20 addresses are given; any of it may be asked for. */
enum { MAX_BITS = 20 };

static void range_init(struct alloc_range *r, const struct ip_prefix *cidr)
{
	unsigned bits = (cidr->addr.family == AF_INET ? 32 : 128) - cidr->len;
	r->cidr = *cidr;
	r->size = 1UL << (bits > MAX_BITS ? MAX_BITS : bits);
	/* The network address is nobody's, nor is the broadcast address. */
	r->size -= r->size > 2 ? (cidr->addr.family == AF_INET && bits <= MAX_BITS ? 2 : 1) : 0;
}

struct alloc *alloc_new(const struct registry_options *o)
{
	struct alloc *a = mem_new(struct alloc);
	for (size_t i = 0; i < ARRAY_SIZE(a->ranges); i++)
		if (o->service_ranges.v[i].addr.family)
			range_init(&a->ranges[i], &o->service_ranges.v[i]);
	a->primary = o->service_primary;
	a->ips = map_new(NULL);
	a->port_min = o->node_port_min;
	a->port_max = o->node_port_max;
	a->ports = mem_new_n(bool, (size_t)(a->port_max - a->port_min) + 1);
	snprintf(a->port_range, sizeof(a->port_range), "%u-%u", a->port_min, a->port_max);
	return a;
}

void alloc_free(struct alloc *a)
{
	if (!a)
		return;
	map_free(a->ips);
	free(a->ports);
	free(a);
}

static bool port_in_range(const struct alloc *a, int64_t port)
{
	return port >= a->port_min && port <= a->port_max;
}

void alloc_note_port(struct alloc *a, struct alloc_undo *u, uint16_t port)
{
	a->ports[port - a->port_min] = true;
	MEM_GROW(u->ports, u->port_cap, u->port_count + 1);
	u->ports[u->port_count++] = port;
}

void alloc_note_ip(struct alloc *a, struct alloc_undo *u, const char *ip)
{
	map_set(a->ips, ip, a);
	strlist_add(&u->ips, ip);
}

static void undo_free(struct alloc_undo *u)
{
	strlist_done(&u->ips);
	free(u->ports);
	free(u);
}

void service_keep(struct alloc_undo *u)
{
	if (u)
		undo_free(u);
}

/* The write may have failed because another API server gave the same address or port first. */
static void note_all(struct registry *g)
{
	struct store_iter it = store_iterate(g->store, g->services->id, NULL);
	for (struct store_object *o; (o = store_next(&it));)
		service_changed(g, o, NULL, false);
}

void service_undo(struct registry *g, struct alloc_undo *u)
{
	if (!u)
		return;
	for (size_t i = 0; i < u->ips.count; i++)
		map_del(g->alloc->ips, u->ips.items[i]);
	for (size_t i = 0; i < u->port_count; i++)
		g->alloc->ports[u->ports[i] - g->alloc->port_min] = false;
	undo_free(u);
	if (store_is_shared(g->store))
		note_all(g);
}

/* A free address: the upper part of the range first, so that addresses people choose by hand stay free (KEP-3070). */
bool alloc_pick_ip(const struct alloc *a, const struct alloc_range *r, char out[static IP_ADDR_TEXT_SIZE])
{
	uint64_t band = r->size / 16, start;
	if (band < 16)
		band = r->size > 16 ? 16 : 0;
	if (band > 256)
		band = 256;
	rand_bytes(&start, sizeof(start));
	for (int upper = 1; upper >= 0; upper--) {
		uint64_t from = upper ? band : 0, n = upper ? r->size - band : band;
		for (uint64_t i = 0; i < n; i++) {
			struct ip_addr ip = r->cidr.addr;
			if (!ip_addr_add(&ip, 1 + from + (start % n + i) % n))
				continue;
			ip_format(&ip, out);
			if (!map_has(a->ips, out))
				return true;
		}
	}
	return false;
}

bool alloc_pick_port(const struct alloc *a, uint16_t *ret)
{
	uint32_t start, n = (uint32_t)(a->port_max - a->port_min) + 1;
	/* As for addresses: the first ports are left to those who choose (KEP-3668). */
	uint32_t band = n / 32 < 16 ? (n > 32 ? 16 : 0) : n / 32 > 128 ? 128 : n / 32;
	rand_bytes(&start, sizeof(start));
	for (uint32_t i = 0; i < n - band; i++) {
		uint32_t at = band + (start + i) % (n - band);
		if (!a->ports[at]) {
			*ret = (uint16_t)(a->port_min + at);
			return true;
		}
	}
	for (uint32_t at = 0; at < band; at++)
		if (!a->ports[at]) {
			*ret = (uint16_t)(a->port_min + at);
			return true;
		}
	return false;
}

const char *alloc_port_problem(const struct alloc *a, int64_t port, char text[static 128])
{
	if (!port_in_range(a, port)) {
		snprintf(text, 128, "provided port is not in the valid range. The range of valid ports is %s", a->port_range);
		return text;
	}
	return a->ports[port - a->port_min] ? "provided port is already allocated" : NULL;
}

static void each_port(const json_t *service, struct alloc *a, bool taken)
{
	size_t i;
	json_t *p;
	int64_t health = needs_health_port(service) ? json_int(service, "spec.healthCheckNodePort", 0) : 0;
	json_array_foreach(json_at(service, "spec.ports"), i, p) {
		int64_t number = may_have_node_ports(service) ? json_int(p, "nodePort", 0) : 0;
		if (number && port_in_range(a, number))
			a->ports[number - a->port_min] = taken;
	}
	if (health && port_in_range(a, health))
		a->ports[health - a->port_min] = taken;
}

static void one_ip(const char *ip, struct alloc *a, bool taken)
{
	char text[IP_ADDR_TEXT_SIZE];
	struct ip_addr parsed;
	if (!ip || ip_parse(ip, &parsed) < 0)
		return;
	ip_format(&parsed, text);
	if (taken)
		map_set(a->ips, text, a);
	else
		map_del(a->ips, text);
}

static void each_ip(const json_t *service, struct alloc *a, bool taken)
{
	size_t i;
	json_t *ip;
	one_ip(json_str(service, "spec.clusterIP"), a, taken);
	json_array_foreach(json_at(service, "spec.clusterIPs"), i, ip)
		one_ip(json_string_value(ip), a, taken);
}

void service_changed(struct registry *g, struct store_object *object, struct store_object *old, bool deleted)
{
	struct alloc *a = g->alloc;
	_cleanup_json_ json_t *now = entry_parse(object), *before = old ? entry_parse(old) : NULL;
	if (!a)
		return;
	if (before) {
		each_port(before, a, false);
		each_ip(before, a, false);
	}
	if (deleted)
		return;
	each_port(now, a, true);
	each_ip(now, a, true);
}

void service_claims(const struct store_object *object, struct strlist *names)
{
	const struct schema_resource *r = schema_resource_at(object->resource);
	char text[IP_ADDR_TEXT_SIZE];
	struct ip_addr ip;
	json_t *v;
	size_t i;
	if (!resource_is(r, "", "services"))
		return;
	_cleanup_json_ json_t *s = entry_parse(object);
	int64_t health = needs_health_port(s) ? json_int(s, "spec.healthCheckNodePort", 0) : 0;
	json_array_foreach(json_at(s, "spec.clusterIPs"), i, v)
		if (json_is_string(v) && ip_parse(json_string_value(v), &ip) == 0)
			strlist_addf(names, "ip/%s", ip_format(&ip, text));
	json_array_foreach(json_at(s, "spec.ports"), i, v) {
		int64_t port = may_have_node_ports(s) ? json_int(v, "nodePort", 0) : 0;
		_cleanup_free_ char *name = str_printf("port/%lld", (long long)port);
		/* One number may serve TCP and UDP of the same Service. */
		if (port && !strlist_has(names, name))
			strlist_add(names, name);
	}
	if (health)
		strlist_addf(names, "port/%lld", (long long)health);
}
