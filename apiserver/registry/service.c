// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a Service gets before it is checked and stored: address families by the cluster's ranges and the policy, a cluster IP of each
 * family, node ports, a health check port; and what an update leaves out but had before. As upstream's service storage does it.
 */
#include <stdio.h>
#include <string.h>

#include "apiserver/registry/service_alloc.h"
#include "apiserver/validate/validate.h"
#include "base/map.h"

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


/* --- families and addresses ------------------------------------------------------------------------------------------- */

static const char *const family_names[] = { "IPv4", "IPv6" };

static int family_of_ip(const char *ip)
{
	struct ip_addr a;
	return ip && ip_parse(ip, &a) == 0 ? (int)ip_family_index(a.family) : -1;
}

static int family_of_name(const char *name)
{
	return str_eq(name, "IPv4") ? 0 : str_eq(name, "IPv6") ? 1 : -1;
}

static bool has_range(const struct alloc *a, int family)
{
	return family >= 0 && a->ranges[family].cidr.addr.family;
}

static bool is_dual(const struct alloc *a)
{
	return has_range(a, 0) && has_range(a, 1);
}

static bool policy_is(const json_t *service, const char *policy)
{
	return str_eq(json_str(service, "spec.ipFamilyPolicy"), policy);
}

/* A list of spec that may be absent. */
static size_t list_size(const json_t *service, const char *path)
{
	return json_array_size(json_at(service, path));
}

static const char *list_item(const json_t *service, const char *path, size_t i)
{
	return json_string_value(json_array_get(json_at(service, path), i));
}

static bool same_list(const json_t *a, const json_t *b, const char *path)
{
	return list_size(a, path) == list_size(b, path) &&
	       (!list_size(a, path) || json_equal(json_at(a, path), json_at(b, path)));
}

/* clusterIP and clusterIPs say the same; what an update leaves out is the old. */
static void sync_ips(json_t *service, const json_t *old)
{
	const char *ip = json_str_or(service, "spec.clusterIP", ""), *old_ip = json_str_or(old, "spec.clusterIP", "");
	if (!old) {
		if (*ip && !list_size(service, "spec.clusterIPs"))
			json_set(service, "spec.clusterIPs", json_pack("[s]", ip));
		return;
	}
	/* Both need an address: absent means unchanged. */
	if (!is_external_name(service) && !is_external_name(old)) {
		if (!*ip && *old_ip) {
			json_set_str(service, "spec.clusterIP", old_ip);
			ip = old_ip;
		}
		if (!list_size(service, "spec.clusterIPs") && str_eq(ip, old_ip) && list_size(old, "spec.clusterIPs"))
			json_set(service, "spec.clusterIPs", json_deep_copy(json_at(old, "spec.clusterIPs")));
	}
	/* One that may not have an address asks for another all the same: the list says so to validation. */
	if (*ip && is_external_name(service) && !list_size(service, "spec.clusterIPs"))
		json_set(service, "spec.clusterIPs", json_pack("[s]", ip));
	if (!same_list(service, old, "spec.clusterIPs"))
		return;
	if (*old_ip && !*ip)
		json_unset(service, "spec.clusterIPs");
	else if (*ip && !str_eq(ip, old_ip))
		json_set(service, "spec.clusterIPs", json_pack("[s]", ip));
}

/* PreferDualStack follows the cluster only when somebody asks: as long as nothing changed, nothing is added or removed. */
static bool keeps_prefer_dual(const json_t *service, const json_t *old)
{
	return old && str_eq(json_str(service, "spec.type"), json_str(old, "spec.type")) && policy_is(service, "PreferDualStack") &&
	       policy_is(old, "PreferDualStack") && same_list(service, old, "spec.clusterIPs") &&
	       same_list(service, old, "spec.ipFamilies");
}

static void default_policy(json_t *service, const json_t *old)
{
	const char *policy = json_str(old, "spec.ipFamilyPolicy");
	if (!str_empty(json_str(service, "spec.ipFamilyPolicy")))
		return;
	if (str_empty(policy))
		policy = is_headless(service) && !json_object_size(json_at(service, "spec.selector")) ? "RequireDualStack" : "SingleStack";
	json_set_str(service, "spec.ipFamilyPolicy", policy);
}

static void keep_first(json_t *service, const char *path)
{
	json_t *list = json_at(service, path);
	while (json_array_size(list) > 1)
		json_array_remove(list, json_array_size(list) - 1);
}

static bool reduced(const json_t *service, const json_t *old, const char *path)
{
	return list_size(service, path) && list_size(service, path) < list_size(old, path);
}

static json_t *policy_invalid(const json_t *service, const char *why)
{
	return invalid(service, "spec.ipFamilyPolicy", "\"%s\": %s", json_str_or(service, "spec.ipFamilyPolicy", ""), why);
}

/* Setting SingleStack alone releases what is secondary; releasing it needs SingleStack. */
static json_t *shrink(json_t *service, const json_t *old)
{
	if (policy_is(service, "SingleStack")) {
		bool same_ips = same_list(service, old, "spec.clusterIPs"), same_families = same_list(service, old, "spec.ipFamilies");
		if (same_ips)
			keep_first(service, "spec.clusterIPs");
		if (same_families)
			keep_first(service, "spec.ipFamilies");
		return NULL;
	}
	if (reduced(service, old, "spec.clusterIPs"))
		return policy_invalid(service, "must be 'SingleStack' to release the secondary cluster IP");
	if (reduced(service, old, "spec.ipFamilies"))
		return policy_invalid(service, "must be 'SingleStack' to release the secondary IP family");
	return NULL;
}

static json_t *families_of(json_t *service)
{
	json_t *families = json_at(service, "spec.ipFamilies");
	if (json_is_array(families))
		return families;
	families = json_array();
	json_set(service, "spec.ipFamilies", families);
	return families;
}

/* Addresses that were asked for say their families. */
static json_t *infer_families(const struct alloc *a, json_t *service)
{
	json_t *families = families_of(service);
	for (size_t i = json_array_size(families); i < list_size(service, "spec.clusterIPs"); i++) {
		int family = family_of_ip(list_item(service, "spec.clusterIPs", i));
		char field[64];
		if (family < 0)
			break;
		if (!has_range(a, family)) {
			_cleanup_strbuf_ struct strbuf list = { 0 };
			json_write(&list, json_at(service, "spec.clusterIPs"));
			snprintf(field, sizeof(field), "spec.clusterIPs[%zu]", i);
			return invalid(service, field, "%s: %s is not configured on this cluster", list.data, family_names[family]);
		}
		json_array_append_new(families, json_string(family_names[family]));
	}
	return NULL;
}

static void add_other_family(json_t *families)
{
	int first = family_of_name(json_string_value(json_array_get(families, 0)));
	if (json_array_size(families) == 1 && first >= 0)
		json_array_append_new(families, json_string(family_names[!first]));
}

static json_t *check_families(const struct alloc *a, const json_t *service)
{
	json_t *v;
	size_t i;
	char field[64];
	if (policy_is(service, "RequireDualStack") && !is_dual(a))
		return policy_invalid(service, "this cluster is not configured for dual-stack services");
	json_array_foreach(json_at(service, "spec.ipFamilies"), i, v)
		if (!has_range(a, family_of_name(json_string_value(v)))) {
			snprintf(field, sizeof(field), "spec.ipFamilies[%zu]", i);
			return invalid(service, field, "\"%s\": not configured on this cluster",
				       json_is_string(v) ? json_string_value(v) : "");
		}
	return NULL;
}

/* ipFamilyPolicy and ipFamilies. */
static json_t *set_families(const struct alloc *a, json_t *service, const json_t *old)
{
	json_t *status = NULL, *families;
	if (keeps_prefer_dual(service, old))
		return NULL;
	default_policy(service, old);
	status = service_ips_check(service);
	if (!status && old)
		status = shrink(service, old);
	if (!status && policy_is(service, "SingleStack") && list_size(service, "spec.clusterIPs") == 2)
		status = policy_invalid(service,
					"must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
	if (!status && policy_is(service, "SingleStack") && list_size(service, "spec.ipFamilies") == 2)
		status = policy_invalid(service,
					"must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
	if (!status)
		status = infer_families(a, service);
	if (status)
		return status;
	families = families_of(service);
	/* Nobody gives these endpoints but a person, so that they may be of a family the cluster does not have. */
	bool free_headless = is_headless(service) && !json_object_size(json_at(service, "spec.selector"));
	status = free_headless ? NULL : check_families(a, service);
	if (status)
		return status;
	if (!json_array_size(families))
		json_array_append_new(families, json_string(family_names[a->primary]));
	if (!policy_is(service, "SingleStack") && (free_headless || is_dual(a)))
		add_other_family(families);
	return NULL;
}

/* Takes the i-th address, which may be asked for or "". */
static json_t *take_ip(struct alloc *a, json_t *service, size_t i, struct alloc_undo *u)
{
	const char *ip = list_item(service, "spec.clusterIPs", i);
	const struct alloc_range *r = &a->ranges[family_of_name(list_item(service, "spec.ipFamilies", i))];
	char picked[IP_ADDR_TEXT_SIZE], text[IP_PREFIX_TEXT_SIZE];
	struct ip_addr parsed;
	if (str_empty(ip)) {
		if (!alloc_pick_ip(a, r, picked))
			return status_internal("failed to allocate a serviceIP for Service \"%s\": range is full",
					       json_str_or(service, "metadata.name", ""));
		alloc_note_ip(a, u, picked);
		json_array_set_new(json_at(service, "spec.clusterIPs"), i, json_string(picked));
		return NULL;
	}
	if (ip_parse(ip, &parsed) < 0)
		return NULL; /* validation says so */
	if (!ip_prefix_contains(&r->cidr, &parsed)) {
		_cleanup_free_ char *why = str_printf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip,
						      ip_prefix_format(&r->cidr, text));
		return ips_invalid(service, ip, why);
	}
	ip_format(&parsed, picked);
	if (map_has(a->ips, picked))
		return ips_invalid(service, ip, "provided IP is already allocated");
	alloc_note_ip(a, u, picked);
	return NULL;
}

/* Addresses for the families from the from-th on. */
static json_t *take_ips(struct alloc *a, json_t *service, size_t from, struct alloc_undo *u)
{
	json_t *status = NULL, *ips = json_at(service, "spec.clusterIPs");
	if (!json_is_array(ips)) {
		ips = json_array();
		json_set(service, "spec.clusterIPs", ips);
	}
	while (json_array_size(ips) < list_size(service, "spec.ipFamilies"))
		json_array_append_new(ips, json_string(""));
	for (size_t i = from; !status && i < list_size(service, "spec.ipFamilies"); i++)
		status = take_ip(a, service, i, u);
	if (!status)
		json_set_str(service, "spec.clusterIP", list_item(service, "spec.clusterIPs", 0));
	return status;
}

static json_t *update_ips(struct alloc *a, json_t *service, const json_t *old, struct alloc_undo *u)
{
	if (is_headless(service)) {
		json_set(service, "spec.clusterIPs", json_pack("[s]", "None"));
		return NULL;
	}
	if (!old || is_external_name(old))
		return take_ips(a, service, 0, u);
	if (is_headless(old) || keeps_prefer_dual(service, old))
		return NULL;
	if (list_size(old, "spec.ipFamilies") == 1 && list_size(service, "spec.ipFamilies") == 2)
		return take_ips(a, service, 1, u);
	/* An address that may not change is not taken: validation refuses the change. */
	return NULL;
}

/* --- ports ------------------------------------------------------------------------------------------------------------ */

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

/* The port is the Service's already. What stands in one of another type (ExternalName) was never taken. */
static bool has_port(const json_t *service, int64_t port)
{
	size_t i;
	json_t *p;
	json_array_foreach(json_at(service, "spec.ports"), i, p)
		if (may_have_node_ports(service) && json_int(p, "nodePort", 0) == port)
			return true;
	return needs_health_port(service) && json_int(service, "spec.healthCheckNodePort", 0) == port;
}

static bool taken_by_us(const struct alloc_undo *u, int64_t port)
{
	for (size_t i = 0; i < u->port_count; i++)
		if (u->ports[i] == port)
			return true;
	return false;
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
	if (!alloc_pick_port(a, &picked))
		return status_internal("failed to allocate a nodePort: range is full");
	alloc_note_port(a, u, picked);
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
		if (!number || (old && has_port(old, number)) || taken_by_us(u, number))
			continue;
		const char *problem = alloc_port_problem(a, number, text);
		snprintf(field, sizeof(field), "spec.ports[%zu].nodePort", i);
		if (problem)
			return invalid(service, field, "%lld: %s", (long long)number, problem);
		alloc_note_port(a, u, (uint16_t)number);
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
		if (!alloc_pick_port(a, &picked))
			return status_internal("failed to allocate a HealthCheck NodePort: range is full");
		alloc_note_port(a, u, picked);
		json_set(service, "spec.healthCheckNodePort", json_integer(picked));
		return NULL;
	}
	if (old && needs_health_port(old) && json_int(old, "spec.healthCheckNodePort", 0) == number)
		return NULL;
	const char *problem = alloc_port_problem(a, number, text);
	if (problem)
		return status_internal("failed to allocate requested HealthCheck NodePort %lld: %s", (long long)number, problem);
	alloc_note_port(a, u, (uint16_t)number);
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
	if (!status)
		status = update_ips(a, service, old, u);
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
