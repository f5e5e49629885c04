/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Endpoints and EndpointSlices. What an update leaves as it was is not looked at again. */
#include "apiserver/validate/validate_internal.h"

static const char *const protocols[] = { "SCTP", "TCP", "UDP", NULL };

static void check_endpoint_address(struct field_errors *e, const struct fpath *p, const json_t *address)
{
	const char *ip = get_str(address, "ip");

	check_format(e, FP(p, "ip"), ip, fmt_ip);
	if (*get_str(address, "hostname"))
		check_format(e, FP(p, "hostname"), get_str(address, "hostname"), fmt_dns_label);
	if (*get_str(address, "nodeName"))
		check_format(e, FP(p, "nodeName"), get_str(address, "nodeName"), fmt_dns_subdomain);
	check_format(e, FP(p, "ip"), ip, fmt_endpoint_ip);
}

static void check_endpoint_port(struct field_errors *e, const struct fpath *p, const json_t *port, bool needs_name)
{
	if (needs_name && !*get_str(port, "name"))
		fe_required(e, FP(p, "name"), NULL);
	else if (*get_str(port, "name"))
		check_format(e, FP(p, "name"), get_str(port, "name"), fmt_dns_label);
	check_port_number(e, FP(p, "port"), get_int(port, "port"));
	check_enum(e, FP(p, "protocol"), get_str(port, "protocol"), protocols);
	if (get(port, "appProtocol"))
		check_format(e, FP(p, "appProtocol"), get_str(port, "appProtocol"), fmt_qualified_name);
}

void validate_endpoints(const struct validation *v)
{
	static const char *const lists[] = { "addresses", "notReadyAddresses" };
	json_t *subset, *item;
	size_t i, k;

	if (v->old && same_semantic(get(v->object, "subsets"), get(v->old, "subsets")))
		return;
	json_array_foreach(get(v->object, "subsets"), i, subset) {
		const struct fpath *p = FP_INDEX(FP(NULL, "subsets"), i);
		const json_t *ports = get(subset, "ports");

		if (json_array_size(get(subset, lists[0])) + json_array_size(get(subset, lists[1])) == 0)
			fe_required(v->e, p, "must specify `addresses` or `notReadyAddresses`");
		for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
			json_array_foreach(get(subset, lists[l]), k, item)
				check_endpoint_address(v->e, FP_INDEX(FP(p, lists[l]), k), item);
		}
		json_array_foreach(ports, k, item)
			check_endpoint_port(v->e, FP_INDEX(FP(p, "ports"), k), item, json_array_size(ports) > 1);
	}
}

static void fmt_fqdn(const char *s, struct strlist *msgs)
{
	_cleanup_free_ char *name = mem_strndup(s, strlen(s) - str_ends(s, "."));
	_cleanup_strlist_ struct strlist parts = {0};

	strlist_split(&parts, name, '.');
	if (parts.count < 2)
		strlist_add(msgs, "should be a domain with at least two segments separated by dots");
	for (size_t i = 0; i < parts.count; i++)
		fmt_dns_label(parts.items[i], msgs);
}

static void check_slice_addresses(struct field_errors *e, const struct fpath *p, const json_t *addresses,
				  const char *type)
{
	enum { ADDRESSES_MAX = 100 };
	json_t *item;
	size_t i;

	if (json_array_size(addresses) == 0)
		fe_required(e, p, "must contain at least 1 address");
	else if (json_array_size(addresses) > ADDRESSES_MAX)
		fe_too_many(e, p, json_array_size(addresses), ADDRESSES_MAX);
	json_array_foreach(addresses, i, item) {
		const char *s = json_string_value(item);
		const struct fpath *at = FP_INDEX(p, i);
		bool v6 = strcmp(type, "IPv6") == 0;

		if (strcmp(type, "FQDN") == 0) {
			check_format(e, at, s, fmt_fqdn);
			continue;
		}
		if (!one_of(type, WORDS("IPv4", "IPv6")))
			continue;
		check_format(e, at, s, v6 ? fmt_ip_canonical : fmt_ip);
		if (!format_ok(fmt_ip, s))
			continue;
		if (ip_family(s) != (v6 ? 6 : 4))
			fe_invalid(e, p, s, v6 ? "must be an IPv6 address" : "must be an IPv4 address");
		check_format(e, at, s, fmt_endpoint_ip);
	}
}

static void check_hints(struct field_errors *e, const struct fpath *p, const json_t *hints, const char *list,
			format_fn name_format)
{
	enum { HINTS_MAX = 8 };
	const json_t *items = get(hints, list);
	struct map *seen = map_new(NULL);
	json_t *item;
	size_t i;

	if (json_array_size(items) > HINTS_MAX)
		fe_too_many(e, FP(p, list), json_array_size(items), HINTS_MAX);
	json_array_foreach(items, i, item) {
		const char *name = get_str(item, "name");
		const struct fpath *at = FP(FP_INDEX(FP(p, list), i), "name");

		if (map_has(seen, name))
			fe_duplicate(e, at, name);
		map_set(seen, name, seen);
		check_format(e, at, name, name_format);
	}
	map_free(seen);
}

static void check_slice_endpoints(struct field_errors *e, const json_t *slice)
{
	enum { ENDPOINTS_MAX = 1000, TOPOLOGY_MAX = 16 };
	const json_t *endpoints = get(slice, "endpoints");
	const struct fpath *p = FP(NULL, "endpoints");
	json_t *item;
	size_t i;

	if (json_array_size(endpoints) > ENDPOINTS_MAX) {
		fe_too_many(e, p, json_array_size(endpoints), ENDPOINTS_MAX);
		return;
	}
	json_array_foreach(endpoints, i, item) {
		const struct fpath *at = FP_INDEX(p, i);

		check_slice_addresses(e, FP(at, "addresses"), get(item, "addresses"), get_str(slice, "addressType"));
		if (get(item, "nodeName"))
			check_format(e, FP(at, "nodeName"), get_str(item, "nodeName"), fmt_dns_subdomain);
		if (json_object_size(get(item, "deprecatedTopology")) > TOPOLOGY_MAX)
			fe_too_many(e, FP(at, "deprecatedTopology"), json_object_size(get(item, "deprecatedTopology")),
				    TOPOLOGY_MAX);
		check_labels(e, FP(at, "deprecatedTopology"), get(item, "deprecatedTopology"));
		if (get(item, "hostname"))
			check_format(e, FP(at, "hostname"), get_str(item, "hostname"), fmt_dns_label);
		check_hints(e, FP(at, "hints"), get(item, "hints"), "forZones", fmt_label_value);
		check_hints(e, FP(at, "hints"), get(item, "hints"), "forNodes", fmt_dns_subdomain);
	}
}

static void check_slice_ports(struct field_errors *e, const json_t *ports)
{
	enum { PORTS_MAX = 20000 };
	const struct fpath *p = FP(NULL, "ports");
	struct map *names = map_new(NULL);
	json_t *port;
	size_t i;

	if (json_array_size(ports) > PORTS_MAX) {
		fe_too_many(e, p, json_array_size(ports), PORTS_MAX);
		map_free(names);
		return;
	}
	json_array_foreach(ports, i, port) {
		const char *name = get_str(port, "name"), *protocol = get_str(port, "protocol");
		const struct fpath *at = FP_INDEX(p, i);

		if (*name)
			check_format(e, FP(at, "name"), name, fmt_dns_label);
		if (map_has(names, name))
			fe_duplicate(e, FP(at, "name"), name);
		map_set(names, name, names);
		if (!*protocol)
			fe_required(e, FP(at, "protocol"), NULL);
		else if (!one_of(protocol, protocols))
			fe_not_supported(e, FP(at, "protocol"), protocol, protocols);
		if (get(port, "appProtocol"))
			check_format(e, FP(at, "appProtocol"), get_str(port, "appProtocol"), fmt_qualified_name);
	}
	map_free(names);
}

void validate_endpoint_slice(const struct validation *v)
{
	static const char *const types[] = { "FQDN", "IPv4", "IPv6", NULL };

	check_enum(v->e, FP(NULL, "addressType"), get_str(v->object, "addressType"), types);
	if (!v->old || !same_semantic(get(v->object, "endpoints"), get(v->old, "endpoints")))
		check_slice_endpoints(v->e, v->object);
	check_slice_ports(v->e, get(v->object, "ports"));
	if (v->old)
		check_immutable(v->e, FP(NULL, "addressType"), get(v->object, "addressType"),
				get(v->old, "addressType"));
}
