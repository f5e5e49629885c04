// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Cluster IPs and node ports of Services. The allocator is in memory: rebuilt from the stored Services at start, an address
 * taken while a write is under way is given back when it fails, and released when a durable change no longer has it. What always
 * holds: every address and port of a stored Service is taken.
 */
#include <stdio.h>
#include <string.h>

#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "base/map.h"
#include "io/net.h"

struct alloc {
	struct ip_prefix cidr;
	uint64_t size;        /* usable addresses, at most 2^16 beyond the first for large ranges */
	struct map *ips;      /* taken: text -> itself */
	uint16_t port_min, port_max;
	bool *ports;
	char port_range[32];
};

struct alloc_undo {
	struct strlist ips;
	uint16_t *ports;
	size_t port_count, port_cap;
};

struct alloc *alloc_new(const struct registry_options *o)
{
	enum { MAX_BITS = 20 }; /* a million addresses are enough for every range */
	struct alloc *a = mem_new(struct alloc);
	unsigned bits;
	a->cidr = o->service_ranges.v[o->service_primary];
	bits = (a->cidr.addr.family == AF_INET ? 32 : 128) - a->cidr.len;
	a->size = 1UL << (bits > MAX_BITS ? MAX_BITS : bits);
	/* The network address is nobody's, nor is the broadcast address. */
	a->size -= a->size > 2 ? (a->cidr.addr.family == AF_INET && bits <= MAX_BITS ? 2 : 1) : 0;
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

static void note_port(struct alloc *a, struct alloc_undo *u, uint16_t port)
{
	a->ports[port - a->port_min] = true;
	MEM_GROW(u->ports, u->port_cap, u->port_count + 1);
	u->ports[u->port_count++] = port;
}

static void note_ip(struct alloc *a, struct alloc_undo *u, const char *ip)
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

void service_undo(struct registry *g, struct alloc_undo *u)
{
	if (!u)
		return;
	for (size_t i = 0; i < u->ips.count; i++)
		map_del(g->alloc->ips, u->ips.items[i]);
	for (size_t i = 0; i < u->port_count; i++)
		g->alloc->ports[u->ports[i] - g->alloc->port_min] = false;
	undo_free(u);
}

/* A free address: the upper part of the range first, so that addresses people choose by hand stay free (KEP-3070). */
static bool pick_ip(struct alloc *a, char out[static IP_ADDR_TEXT_SIZE])
{
	uint64_t band = a->size / 16, start;
	if (band < 16)
		band = a->size > 16 ? 16 : 0;
	if (band > 256)
		band = 256;
	rand_bytes(&start, sizeof(start));
	for (int upper = 1; upper >= 0; upper--) {
		uint64_t from = upper ? band : 0, n = upper ? a->size - band : band;
		for (uint64_t i = 0; i < n; i++) {
			struct ip_addr ip = a->cidr.addr;
			if (!ip_addr_add(&ip, 1 + from + (start + i) % n))
				continue;
			ip_format(&ip, out);
			if (!map_has(a->ips, out))
				return true;
		}
	}
	return false;
}

static bool pick_port(const struct alloc *a, uint16_t *ret)
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

/* One field error as the 422 of the Service. */
static json_t *invalid(const json_t *service, const char *field, const char *fmt, ...) _printf_(3, 4);
static json_t *invalid(const json_t *service, const char *field, const char *fmt, ...)
{
	struct field_errors e = { 0 };
	_cleanup_strbuf_ struct strbuf body = { 0 };
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&body, fmt, ap);
	va_end(ap);
	field_errors_add(&e, "FieldValueInvalid", mem_strdup(field), "Invalid value: %s", body.data);
	json_t *s = field_errors_status(&e, "", "Service", json_str_or(service, "metadata.name", ""));
	field_errors_done(&e);
	return s;
}

static json_t *ips_invalid(const json_t *service, const char *ip, const char *why)
{
	_cleanup_strbuf_ struct strbuf list = { 0 };
	json_write(&list, json_at(service, "spec.clusterIPs"));
	return invalid(service, "spec.clusterIPs", "%s: failed to allocate IP %s: %s", list.data, ip, why);
}

/* What a Service is, as far as addresses go. */
static bool is_external_name(const json_t *s)
{
	return str_eq(json_str(s, "spec.type"), "ExternalName");
}
static bool is_headless(const json_t *s)
{
	return str_eq(json_str(s, "spec.clusterIP"), "None");
}
static bool needs_node_ports(const json_t *s)
{
	const char *type = json_str_or(s, "spec.type", "");
	return str_eq(type, "NodePort") ||
	       (str_eq(type, "LoadBalancer") && json_bool(s, "spec.allocateLoadBalancerNodePorts", true));
}
static bool may_have_node_ports(const json_t *s)
{
	const char *type = json_str_or(s, "spec.type", "");
	return str_eq(type, "NodePort") || str_eq(type, "LoadBalancer");
}
static bool needs_health_port(const json_t *s)
{
	return str_eq(json_str(s, "spec.type"), "LoadBalancer") && str_eq(json_str(s, "spec.externalTrafficPolicy"), "Local");
}

static void set_ips(json_t *service, const char *ip)
{
	json_set_str(service, "spec.clusterIP", ip);
	json_set(service, "spec.clusterIPs", json_pack("[s]", ip));
}

/* clusterIP and clusterIPs say the same; what an update leaves out is the old. */
static void sync_ips(json_t *service, const json_t *old)
{
	const char *ip = json_str_or(service, "spec.clusterIP", "");
	json_t *ips = json_at(service, "spec.clusterIPs"), *old_ips = json_at(old, "spec.clusterIPs");
	const char *old_ip = json_str_or(old, "spec.clusterIP", "");
	bool same_list = old && json_array_size(ips) && json_array_size(old_ips) && json_equal(ips, old_ips);
	if (!old) {
		if (*ip && !json_array_size(ips))
			json_set(service, "spec.clusterIPs", json_pack("[s]", ip));
		return;
	}
	if (!json_array_size(ips)) {
		if (str_eq(ip, old_ip) && json_array_size(old_ips))
			json_set(service, "spec.clusterIPs", json_incref(old_ips));
		else if (*ip)
			json_set(service, "spec.clusterIPs", json_pack("[s]", ip));
	} else if (same_list && !*ip && *old_ip) {
		json_unset(service, "spec.clusterIPs");
	} else if (same_list && !str_eq(ip, old_ip)) {
		json_set(service, "spec.clusterIPs", json_pack("[s]", ip));
	}
	/* Both need an address: absent means unchanged. */
	if (!is_external_name(service) && !is_external_name(old) && !*json_str_or(service, "spec.clusterIP", "") && *old_ip &&
	    !json_array_size(json_at(service, "spec.clusterIPs"))) {
		json_set_str(service, "spec.clusterIP", old_ip);
		json_set(service, "spec.clusterIPs", json_incref(old_ips));
	}
}

static const char *family_name(const struct alloc *a)
{
	return a->cidr.addr.family == AF_INET ? "IPv4" : "IPv6";
}

/* ipFamilyPolicy and ipFamilies of a single-stack cluster. */
static json_t *set_families(const struct alloc *a, json_t *service, const json_t *old)
{
	const char *mine = family_name(a), *other = str_eq(mine, "IPv4") ? "IPv6" : "IPv4";
	bool free_headless = is_headless(service) && !json_object_size(json_at(service, "spec.selector"));
	const char *policy = json_str_or(service, "spec.ipFamilyPolicy", "");
	json_t *families = json_at(service, "spec.ipFamilies"), *v;
	size_t i;
	if (!*policy) {
		policy = json_str_or(old, "spec.ipFamilyPolicy", "");
		if (!*policy || is_external_name(old))
			policy = free_headless ? "RequireDualStack" : "SingleStack";
		json_set_str(service, "spec.ipFamilyPolicy", policy);
		policy = json_str_or(service, "spec.ipFamilyPolicy", "");
	}
	if (!json_array_size(families)) {
		families = json_pack("[s]", mine);
		if (free_headless && !str_eq(policy, "SingleStack"))
			json_array_append_new(families, json_string(other));
		json_set(service, "spec.ipFamilies", families);
	}
	if (free_headless)
		return NULL;
	if (str_eq(policy, "RequireDualStack"))
		return invalid(service, "spec.ipFamilyPolicy", "\"%s\": this cluster is not configured for dual-stack services", policy);
	json_array_foreach(families, i, v)
		if (!str_eq(json_string_value(v), mine)) {
			char field[64];
			snprintf(field, sizeof(field), "spec.ipFamilies[%zu]", i);
			return invalid(service, field, "\"%s\": not configured on this cluster",
				       json_is_string(v) ? json_string_value(v) : "");
		}
	return NULL;
}

static json_t *take_ip(struct alloc *a, json_t *service, const json_t *old, struct alloc_undo *u)
{
	const char *ip = json_str_or(service, "spec.clusterIP", "");
	char picked[IP_ADDR_TEXT_SIZE], text[IP_PREFIX_TEXT_SIZE];
	struct ip_addr parsed;
	if (!*ip) {
		if (!pick_ip(a, picked))
			return status_internal("failed to allocate a serviceIP for Service \"%s\": range is full",
					       json_str_or(service, "metadata.name", ""));
		note_ip(a, u, picked);
		set_ips(service, picked);
		return NULL;
	}
	if (old && str_eq(ip, json_str(old, "spec.clusterIP")))
		return NULL;
	if (ip_parse(ip, &parsed) < 0)
		return NULL; /* validation says so */
	if (!ip_prefix_contains(&a->cidr, &parsed)) {
		_cleanup_free_ char *why = str_printf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip,
						      ip_prefix_format(&a->cidr, text));
		return ips_invalid(service, ip, why);
	}
	ip_format(&parsed, picked);
	if (map_has(a->ips, picked))
		return ips_invalid(service, ip, "provided IP is already allocated");
	note_ip(a, u, picked);
	return NULL;
}

static bool has_node_port(const json_t *service, int64_t port)
{
	size_t i;
	json_t *p;
	json_array_foreach(json_at(service, "spec.ports"), i, p)
		if (json_int(p, "nodePort", 0) == port)
			return true;
	return json_int(service, "spec.healthCheckNodePort", 0) == port;
}

/* Ports without a number take the one that the port of the same name had. */
static void carry_ports(json_t *service, const json_t *old)
{
	size_t i, j;
	json_t *p, *o;
	json_array_foreach(json_at(service, "spec.ports"), i, p) {
		if (json_int(p, "nodePort", 0))
			continue;
		json_array_foreach(json_at(old, "spec.ports"), j, o) {
			int64_t number = json_int(o, "nodePort", 0);
			if (number && str_eq(json_str_or(p, "name", ""), json_str_or(o, "name", "")) && !has_node_port(service, number))
				json_object_set_new(p, "nodePort", json_integer(number));
		}
	}
}

static bool taken_by_us(const struct alloc_undo *u, int64_t port)
{
	for (size_t i = 0; i < u->port_count; i++)
		if (u->ports[i] == port)
			return true;
	return false;
}

static const char *port_problem(const struct alloc *a, int64_t port, char text[static 128])
{
	if (!port_in_range(a, port)) {
		snprintf(text, 128, "provided port is not in the valid range. The range of valid ports is %s", a->port_range);
		return text;
	}
	return a->ports[port - a->port_min] ? "provided port is already allocated" : NULL;
}

/* The number of a port without one: that of another protocol on the same port, or a new one. */
static json_t *number_port(struct alloc *a, json_t *service, json_t *p, struct alloc_undo *u)
{
	size_t i;
	json_t *other;
	uint16_t picked;
	json_array_foreach(json_at(service, "spec.ports"), i, other)
		if (other != p && json_int(other, "nodePort", 0) && json_int(other, "port", 0) == json_int(p, "port", -1) &&
		    !str_eq(json_str(other, "protocol"), json_str(p, "protocol"))) {
			json_object_set(p, "nodePort", json_object_get(other, "nodePort"));
			return NULL;
		}
	if (!pick_port(a, &picked))
		return status_internal("failed to allocate a nodePort: range is full");
	note_port(a, u, picked);
	json_object_set_new(p, "nodePort", json_integer(picked));
	return NULL;
}

static json_t *take_ports(struct alloc *a, json_t *service, const json_t *old, struct alloc_undo *u)
{
	size_t i;
	json_t *p, *status = NULL, *ports = json_at(service, "spec.ports");
	char text[128], field[64];
	json_array_foreach(ports, i, p) {
		int64_t number = json_int(p, "nodePort", 0);
		if (!number || (old && has_node_port(old, number)) || taken_by_us(u, number))
			continue;
		const char *problem = port_problem(a, number, text);
		snprintf(field, sizeof(field), "spec.ports[%zu].nodePort", i);
		if (problem)
			return invalid(service, field, "%lld: %s", (long long)number, problem);
		note_port(a, u, (uint16_t)number);
	}
	if (!needs_node_ports(service))
		return NULL;
	json_array_foreach(ports, i, p)
		if (!status && json_is_object(p) && !json_int(p, "nodePort", 0))
			status = number_port(a, service, p, u);
	return status;
}

static json_t *take_health_port(struct alloc *a, json_t *service, const json_t *old, struct alloc_undo *u)
{
	int64_t number = json_int(service, "spec.healthCheckNodePort", 0);
	uint16_t picked;
	char text[128];
	if (!number && old && needs_health_port(old)) {
		number = json_int(old, "spec.healthCheckNodePort", 0);
		json_set(service, "spec.healthCheckNodePort", json_integer(number));
	}
	if (!number) {
		if (!pick_port(a, &picked))
			return status_internal("failed to allocate a HealthCheck NodePort: range is full");
		note_port(a, u, picked);
		json_set(service, "spec.healthCheckNodePort", json_integer(picked));
		return NULL;
	}
	if (old && json_int(old, "spec.healthCheckNodePort", 0) == number)
		return NULL;
	const char *problem = port_problem(a, number, text);
	if (problem)
		return status_internal("failed to allocate requested HealthCheck NodePort %lld: %s", (long long)number, problem);
	note_port(a, u, (uint16_t)number);
	return NULL;
}

json_t *service_allocate(struct registry *g, json_t *service, const json_t *old, bool dry_run, struct alloc_undo **ret_undo)
{
	struct alloc *a = g->alloc;
	struct alloc_undo *u;
	json_t *status = NULL;
	if (!json_is_object(json_object_get(service, "spec")))
		return NULL; /* validation says what is missing */
	sync_ips(service, old);
	if (is_external_name(service))
		return NULL;
	u = mem_new(struct alloc_undo);
	if (old && needs_node_ports(service) && needs_node_ports(old))
		carry_ports(service, old);
	status = set_families(a, service, old);
	if (!status && is_headless(service))
		set_ips(service, "None");
	else if (!status)
		status = take_ip(a, service, old && !is_external_name(old) ? old : NULL, u);
	if (!status && may_have_node_ports(service))
		status = take_ports(a, service, old, u);
	if (!status && needs_health_port(service))
		status = take_health_port(a, service, old, u);
	if (status || dry_run) {
		service_undo(g, u);
		return status;
	}
	*ret_undo = u;
	return NULL;
}

static void each_port(const json_t *service, struct alloc *a, bool taken)
{
	size_t i;
	json_t *p;
	int64_t health = json_int(service, "spec.healthCheckNodePort", 0);
	json_array_foreach(json_at(service, "spec.ports"), i, p) {
		int64_t number = json_int(p, "nodePort", 0);
		if (number && port_in_range(a, number))
			a->ports[number - a->port_min] = taken;
	}
	if (health && port_in_range(a, health))
		a->ports[health - a->port_min] = taken;
}

static void each_ip(const json_t *service, struct alloc *a, bool taken)
{
	const char *ip = json_str_or(service, "spec.clusterIP", "");
	char text[IP_ADDR_TEXT_SIZE];
	struct ip_addr parsed;
	if (ip_parse(ip, &parsed) < 0)
		return;
	ip_format(&parsed, text);
	if (taken)
		map_set(a->ips, text, a);
	else
		map_del(a->ips, text);
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
