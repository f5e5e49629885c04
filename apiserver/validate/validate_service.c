/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Services. What needs the allocators is the registry's. */
#include "apiserver/validate/validate_internal.h"

static const char *const protocols[] = { "SCTP", "TCP", "UDP", NULL };

static bool type_is(const json_t *spec, const char *type)
{
	return strcmp(get_str(spec, "type"), type) == 0;
}

static bool headless(const json_t *spec)
{
	return strcmp(get_str(spec, "clusterIP"), "None") == 0 ||
	       str_eq(json_string_value(json_array_get(get(spec, "clusterIPs"), 0)), "None");
}

static bool externally_accessible(const json_t *spec)
{
	return type_is(spec, "LoadBalancer") || type_is(spec, "NodePort") ||
	       (type_is(spec, "ClusterIP") && json_array_size(get(spec, "externalIPs")) > 0);
}

static bool needs_health_port(const json_t *spec)
{
	return type_is(spec, "LoadBalancer") && strcmp(get_str(spec, "externalTrafficPolicy"), "Local") == 0;
}

static void check_service_type(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	static const char *const cluster_only[] = { "clusterIPs", "ipFamilies", "ipFamilyPolicy" };
	const char *name = get_str(spec, "externalName");

	if (!type_is(spec, "ExternalName")) {
		if (headless(spec) && type_is(spec, "LoadBalancer"))
			fe_invalid(e, FP_INDEX(FP(p, "clusterIPs"), 0), "None",
				   "may not be set to 'None' for LoadBalancer services");
		else if (headless(spec) && type_is(spec, "NodePort"))
			fe_invalid(e, FP_INDEX(FP(p, "clusterIPs"), 0), "None",
				   "may not be set to 'None' for NodePort services");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(cluster_only); i++) {
		const json_t *v = get(spec, cluster_only[i]);

		if (v && !(json_is_array(v) && json_array_size(v) == 0) &&
		    !(json_is_string(v) && json_string_length(v) == 0))
			fe_forbidden(e, FP(p, cluster_only[i]), "may not be set for ExternalName services");
	}
	if (!*name) {
		fe_required(e, FP(p, "externalName"), NULL);
	} else {
		_cleanup_free_ char *trimmed = mem_strndup(name, strlen(name) - str_ends(name, "."));

		check_format(e, FP(p, "externalName"), trimmed, fmt_dns_subdomain);
	}
}

static void check_service_port(struct field_errors *e, const struct fpath *p, const json_t *port, bool needs_name,
			       struct map *names)
{
	const char *name = get_str(port, "name");

	if (needs_name && !*name) {
		fe_required(e, FP(p, "name"), NULL);
	} else if (*name) {
		check_format(e, FP(p, "name"), name, fmt_dns_label);
		if (map_has(names, name))
			fe_duplicate(e, FP(p, "name"), name);
		map_set(names, name, names);
	}
	check_port_number(e, FP(p, "port"), get_int(port, "port"));
	check_enum(e, FP(p, "protocol"), get_str(port, "protocol"), protocols);
	check_port(e, FP(p, "targetPort"), get(port, "targetPort"));
	if (get(port, "appProtocol"))
		check_format(e, FP(p, "appProtocol"), get_str(port, "appProtocol"), fmt_qualified_name);
}

static void check_affinity(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	const char *affinity = get_str(spec, "sessionAffinity");
	const json_t *config = get(spec, "sessionAffinityConfig"), *client = get(config, "clientIP"),
		     *seconds = get(client, "timeoutSeconds");
	const struct fpath *at = FP(p, "sessionAffinityConfig");

	check_enum(e, FP(p, "sessionAffinity"), affinity, WORDS("ClientIP", "None"));
	if (strcmp(affinity, "None") == 0 && config)
		fe_forbidden(e, at, "must not be set when session affinity is None");
	if (strcmp(affinity, "ClientIP") != 0)
		return;
	if (!config)
		fe_required(e, at, "when session affinity type is ClientIP");
	else if (!client)
		fe_required(e, FP(at, "clientIP"), "when session affinity type is ClientIP");
	else if (!seconds)
		fe_required(e, FP(FP(at, "clientIP"), "timeoutSeconds"), "when session affinity type is ClientIP");
	else if (json_integer_value(seconds) <= 0 || json_integer_value(seconds) > 86400)
		fe_invalid_json(e, FP(FP(at, "clientIP"), "timeoutSeconds"), seconds,
				"must be greater than 0 and less than 86400");
}

static void check_families(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	static const char *const families[] = { "IPv4", "IPv6", NULL };
	static const char *const policies[] = { "PreferDualStack", "RequireDualStack", "SingleStack", NULL };
	struct map *seen = map_new(NULL);
	json_t *v;
	size_t i;

	json_array_foreach(get(spec, "ipFamilies"), i, v) {
		const char *family = json_string_value(v);

		if (!one_of(family, families))
			fe_not_supported(e, FP_INDEX(FP(p, "ipFamilies"), i), family, families);
		if (map_has(seen, family))
			fe_duplicate(e, FP_INDEX(FP(p, "ipFamilies"), i), family);
		map_set(seen, family, seen);
	}
	if (get(spec, "ipFamilyPolicy") && !one_of(get_str(spec, "ipFamilyPolicy"), policies))
		fe_not_supported(e, FP(p, "ipFamilyPolicy"), get_str(spec, "ipFamilyPolicy"), policies);
	map_free(seen);
}

static void check_cluster_ips(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	const json_t *ips = get(spec, "clusterIPs"), *families = get(spec, "ipFamilies");
	const char *one = get_str(spec, "clusterIP"), *first = json_string_value(json_array_get(ips, 0));
	const struct fpath *at = FP(p, "clusterIPs");
	size_t before = e->count, i, same = 0;
	json_t *v;

	if (type_is(spec, "ExternalName"))
		return;
	if (*one && !first)
		fe_required(e, at, NULL);
	else if (*one && strcmp(one, first) != 0)
		fe_invalid_json(e, at, ips, "first value must match `clusterIP`");
	else if (!*one && first)
		fe_invalid_json(e, at, ips, "must be empty when `clusterIP` is not specified");
	check_families(e, p, spec);
	if (!first)
		return;
	if (strcmp(first, "None") == 0) {
		if (json_array_size(ips) > 1)
			fe_invalid_json(e, at, ips, "'None' must be the first and only value");
		return;
	}
	before = e->count;
	json_array_foreach(ips, i, v)
		check_format(e, FP_INDEX(at, i), json_string_value(v), fmt_ip);
	if (e->count > before)
		return;
	if (json_array_size(ips) > 2)
		fe_invalid_json(e, at, ips, "may only hold up to 2 values");
	json_array_foreach(ips, i, v)
		same += ip_family(json_string_value(v)) == ip_family(first);
	if (same > 1)
		fe_invalid_json(e, at, ips, "may specify no more than one IP for each IP family");
	json_array_foreach(ips, i, v) {
		const char *family = json_string_value(json_array_get(families, i));

		if (family && one_of(family, WORDS("IPv4", "IPv6")) &&
		    ip_family(json_string_value(v)) != family[3] - '0')
			fe_invalid(e, FP_INDEX(at, i), json_string_value(v),
				   "expected an %s value as indicated by `ipFamilies[%zu]`", family, i);
	}
}

json_t *service_ips_check(const json_t *service)
{
	struct field_errors e = { 0 };
	json_t *status = NULL;

	check_cluster_ips(&e, FP(NULL, "spec"), get(service, "spec"));
	if (e.count)
		status = field_errors_status(&e, "", "Service", json_str_or(service, "metadata.name", ""));
	field_errors_done(&e);
	return status;
}

static void check_node_ports(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	struct map *node_ports = map_new(NULL), *ports = map_new(NULL);
	json_t *port;
	size_t i;

	json_array_foreach(get(spec, "ports"), i, port) {
		const struct fpath *at = FP_INDEX(FP(p, "ports"), i);
		long long node = get_int(port, "nodePort");
		_cleanup_free_ char *key = str_printf("%s/%lld", get_str(port, "protocol"), node);

		if (node && type_is(spec, "ClusterIP"))
			fe_forbidden(e, FP(at, "nodePort"), "may not be used when `type` is 'ClusterIP'");
		if (node && map_has(node_ports, key)) {
			_cleanup_free_ char *value = str_printf("%lld", node);

			fe_duplicate_text(e, FP(at, "nodePort"), value, NULL);
		}
		if (node)
			map_set(node_ports, key, node_ports);
	}
	json_array_foreach(get(spec, "ports"), i, port) {
		_cleanup_free_ char *key = str_printf("%s/%lld", get_str(port, "protocol"),
						      (long long)get_int(port, "port"));

		if (map_has(ports, key)) {
			_cleanup_free_ char *value = str_printf("{\"Name\":\"\",\"Protocol\":\"%s\",\"AppProtocol\":"
								"null,\"Port\":%lld,\"TargetPort\":0,"
								"\"NodePort\":0}",
								get_str(port, "protocol"),
								(long long)get_int(port, "port"));

			fe_duplicate_text(e, FP_INDEX(FP(p, "ports"), i), value, NULL);
		}
		map_set(ports, key, ports);
	}
	map_free(node_ports);
	map_free(ports);
}

static char *trim(const char *s)
{
	size_t len;

	s += strspn(s, " \t\n");
	len = strlen(s);
	while (len && strchr(" \t\n", s[len - 1]))
		len--;
	return mem_strndup(s, len);
}

/* What the field was before it was one. */
static void check_range_annotation(struct field_errors *e, const json_t *annotations, bool lb)
{
	static const char key[] = "service.beta.kubernetes.io/load-balancer-source-ranges";
	const struct fpath *p = FP_KEY(FP(FP(NULL, "metadata"), "annotations"), key);
	_cleanup_free_ char *text = trim(get_str(annotations, key));
	_cleanup_strlist_ struct strlist ranges = {0};

	if (!json_object_get(annotations, key))
		return;
	if (!lb) {
		fe_forbidden(e, p, "may only be used when `type` is 'LoadBalancer'");
		return;
	}
	strlist_split(&ranges, text, ',');
	for (size_t i = 0; i < ranges.count; i++) {
		_cleanup_free_ char *range = trim(ranges.items[i]);

		check_format(e, p, range, fmt_cidr);
	}
}

static void check_load_balancer(struct field_errors *e, const struct fpath *p, const json_t *spec, const json_t *annotations)
{
	static const char only[] = "may only be used when `type` is 'LoadBalancer'";
	const json_t *ranges = get(spec, "loadBalancerSourceRanges");
	bool lb = type_is(spec, "LoadBalancer");
	json_t *v;
	size_t i;

	if (json_array_size(ranges) > 0 && !lb)
		fe_forbidden(e, FP(p, "LoadBalancerSourceRanges"), "%s", only);
	json_array_foreach(ranges, i, v) {
		_cleanup_free_ char *range = trim(json_string_value(v));

		check_format(e, FP_INDEX(FP(p, "LoadBalancerSourceRanges"), i), range, fmt_cidr);
	}
	if (json_array_size(ranges) == 0)
		check_range_annotation(e, annotations, lb);
	if (!lb && get(spec, "allocateLoadBalancerNodePorts"))
		fe_forbidden(e, FP(p, "allocateLoadBalancerNodePorts"), "%s", only);
	if (lb && !get(spec, "allocateLoadBalancerNodePorts"))
		fe_required(e, FP(NULL, "allocateLoadBalancerNodePorts"), NULL);
	if (lb && get(spec, "loadBalancerClass"))
		check_format(e, FP(p, "loadBalancerClass"), get_str(spec, "loadBalancerClass"), fmt_qualified_name);
	else if (!lb && get(spec, "loadBalancerClass"))
		fe_forbidden(e, FP(p, "loadBalancerClass"), "%s", only);
}

static void check_traffic(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	static const char *const distributions[] = { "PreferClose", "PreferSameZone", "PreferSameNode", NULL };
	const char *external = get_str(spec, "externalTrafficPolicy");
	int64_t health = get_int(spec, "healthCheckNodePort");

	if (!externally_accessible(spec)) {
		if (*external)
			fe_invalid(e, FP(p, "externalTrafficPolicy"), external,
				   "may only be set for externally-accessible services");
	} else {
		check_enum(e, FP(p, "externalTrafficPolicy"), external, WORDS("Cluster", "Local"));
	}
	if (!needs_health_port(spec)) {
		if (health)
			fe_invalid_int(
				e, FP(p, "healthCheckNodePort"), health,
				"may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
	} else if (!health) {
		fe_required(e, FP(p, "healthCheckNodePort"), NULL);
	} else {
		check_port_number(e, FP(p, "healthCheckNodePort"), health);
	}
	if (!type_is(spec, "ExternalName"))
		check_enum(e, FP(p, "internalTrafficPolicy"), get_str(spec, "internalTrafficPolicy"),
			   WORDS("Cluster", "Local"));
	if (get(spec, "trafficDistribution") && !one_of(get_str(spec, "trafficDistribution"), distributions))
		fe_not_supported(e, FP(p, "trafficDistribution"), get_str(spec, "trafficDistribution"), distributions);
}

static void check_service_update(struct field_errors *e, const struct fpath *p, const json_t *spec, const json_t *old)
{
	const json_t *ips = get(spec, "clusterIPs"), *was = get(old, "clusterIPs");
	const json_t *families = get(spec, "ipFamilies"), *old_families = get(old, "ipFamilies");
	bool single = strcmp(get_str(spec, "ipFamilyPolicy"), "SingleStack") == 0;
	json_t *v;
	size_t i;

	if (type_is(spec, "ExternalName") || type_is(old, "ExternalName"))
		return;
	if (json_array_size(ips) >= json_array_size(was)) {
		json_array_foreach(was, i, v) {
			if (!(headless(spec) && headless(old)) && !json_equal(v, json_array_get(ips, i)))
				fe_invalid_json(e, FP_INDEX(FP(p, "clusterIPs"), i), ips, "may not change once set");
		}
	} else if (json_array_size(ips) == 0) {
		fe_invalid_json(e, FP_INDEX(FP(p, "clusterIPs"), 0), ips, "primary clusterIP can not be unset");
	} else {
		if (!json_equal(json_array_get(ips, 0), json_array_get(was, 0)))
			fe_invalid_json(e, FP_INDEX(FP(p, "clusterIPs"), 0), ips, "may not change once set");
		if (!single)
			fe_invalid_json(e, FP(p, "ipFamilyPolicy"), get(spec, "ipFamilyPolicy"),
					"must be set to 'SingleStack' when releasing the secondary clusterIP");
	}
	if (!headless(spec) && !headless(old) && json_array_size(old_families)) {
		if (json_array_size(families) == 0)
			fe_invalid_json(e, FP_INDEX(FP(p, "ipFamilies"), 0), families,
					"primary ipFamily can not be unset");
		else if (!json_equal(json_array_get(families, 0), json_array_get(old_families, 0)))
			fe_invalid_json(e, FP_INDEX(FP(p, "ipFamilies"), 0), families, "may not change once set");
		else if (json_array_size(families) < json_array_size(old_families) && !single)
			fe_invalid_json(e, FP(p, "ipFamilyPolicy"), get(spec, "ipFamilyPolicy"),
					"must be set to 'SingleStack' when releasing the secondary ipFamily");
	}
	if (type_is(spec, "LoadBalancer") && type_is(old, "LoadBalancer") &&
	    !same_semantic(get(spec, "loadBalancerClass"), get(old, "loadBalancerClass")))
		fe_invalid_json(e, FP(p, "loadBalancerClass"), get(spec, "loadBalancerClass"),
				"may not change once set");
	if (needs_health_port(spec) && needs_health_port(old) &&
	    get_int(spec, "healthCheckNodePort") != get_int(old, "healthCheckNodePort"))
		fe_forbidden(e, FP(p, "healthCheckNodePort"), "field is immutable");
}

static void check_topology_annotations(struct field_errors *e, const json_t *annotations)
{
	static const char mode[] = "service.kubernetes.io/topology-mode", hints[] = "service.kubernetes.io/topology-aware-hints";

	if (json_object_get(annotations, mode) && json_object_get(annotations, hints) &&
	    strcmp(get_str(annotations, mode), get_str(annotations, hints)) != 0)
		fe_invalid(e, FP_KEY(FP(FP(NULL, "metadata"), "annotations"), mode), get_str(annotations, mode),
			   "must match annotations[%s] when both are specified", hints);
}

void validate_service(const struct validation *v)
{
	static const char *const types[] = { "ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL };
	const json_t *spec = get(v->object, "spec"), *ports = get(spec, "ports");
	const json_t *annotations = json_at(v->object, "metadata.annotations");
	const struct fpath *p = FP(NULL, "spec");
	struct map *names = map_new(NULL);
	json_t *item;
	size_t i;

	check_topology_annotations(v->e, annotations);
	if (json_array_size(ports) == 0 && !headless(spec) && !type_is(spec, "ExternalName"))
		fe_required(v->e, FP(p, "ports"), NULL);
	check_service_type(v->e, p, spec);
	json_array_foreach(ports, i, item)
		check_service_port(v->e, FP_INDEX(FP(p, "ports"), i), item, json_array_size(ports) > 1, names);
	map_free(names);
	check_labels(v->e, FP(p, "selector"), get(spec, "selector"));
	check_affinity(v->e, p, spec);
	check_cluster_ips(v->e, p, spec);
	json_array_foreach(get(spec, "externalIPs"), i, item) {
		const struct fpath *at = FP_INDEX(FP(p, "externalIPs"), i);

		if (!format_ok(fmt_ip, json_string_value(item)))
			check_format(v->e, at, json_string_value(item), fmt_ip);
		else
			check_format(v->e, at, json_string_value(item), fmt_endpoint_ip);
	}
	check_enum(v->e, FP(p, "type"), get_str(spec, "type"), types);
	check_node_ports(v->e, p, spec);
	check_load_balancer(v->e, p, spec, annotations);
	check_traffic(v->e, p, spec);
	if (v->old)
		check_service_update(v->e, p, spec, get(v->old, "spec"));
}

void validate_service_status(const struct validation *v)
{
	const json_t *ingress = json_at(v->object, "status.loadBalancer.ingress");
	const struct fpath *p = FP(FP(FP(NULL, "status"), "loadBalancer"), "ingress");
	json_t *item;
	size_t i;

	if (json_array_size(ingress) > 0 && !type_is(get(v->object, "spec"), "LoadBalancer"))
		fe_forbidden(v->e, p, "may only be used when `spec.type` is 'LoadBalancer'");
	json_array_foreach(ingress, i, item) {
		const char *ip = get_str(item, "ip"), *mode = get_str(item, "ipMode"),
			   *name = get_str(item, "hostname");
		const struct fpath *at = FP_INDEX(p, i);

		if (*ip)
			check_format(v->e, FP(at, "ip"), ip, fmt_ip);
		if (*ip && !get(item, "ipMode"))
			fe_required(v->e, FP(at, "ipMode"), "must be specified when `ip` is set");
		else if (!*ip && get(item, "ipMode"))
			fe_forbidden(v->e, FP(at, "ipMode"), "may not be specified when `ip` is not set");
		else if (get(item, "ipMode") && !one_of(mode, WORDS("Proxy", "VIP")))
			fe_not_supported(v->e, FP(at, "ipMode"), mode, WORDS("Proxy", "VIP"));
		if (!*name)
			continue;
		check_format(v->e, FP(at, "hostname"), name, fmt_dns_subdomain);
		if (ip_family(name))
			fe_invalid(v->e, FP(at, "hostname"), name, "must be a DNS name, not an IP address");
	}
}
