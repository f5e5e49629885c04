/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ingresses and their classes, network policies, service ranges and addresses. */
#include "apiserver/validate/validate_internal.h"

static void fmt_host(const char *s, struct strlist *msgs)
{
	if (strchr(s, '*'))
		fmt_wildcard_subdomain(s, msgs);
	else
		fmt_dns_subdomain(s, msgs);
}

static void check_backend_service(struct field_errors *e, const struct fpath *p, const json_t *service)
{
	const json_t *port = get(service, "port");
	const char *name = get_str(service, "name"), *port_name = get_str(port, "name");
	const struct fpath *at = FP(FP(p, "service"), "port");

	if (!*name)
		fe_required(e, FP(FP(p, "service"), "name"), NULL);
	else
		check_format(e, FP(FP(p, "service"), "name"), name, fmt_dns_label);
	if (*port_name && get_int(port, "number"))
		fe_invalid(e, p, "", "cannot set both port name & port number");
	else if (*port_name)
		check_format(e, FP(at, "name"), port_name, fmt_port_name);
	else if (get_int(port, "number"))
		check_port_number(e, FP(at, "number"), get_int(port, "number"));
	else
		fe_required(e, p, "port name or number is required");
}

static void check_backend(struct field_errors *e, const struct fpath *p, const json_t *backend)
{
	const json_t *service = get(backend, "service"), *resource = get(backend, "resource");
	const struct fpath *at = FP(p, "resource");

	if (service && resource) {
		fe_invalid(e, p, "", "cannot set both resource and service backends");
	} else if (service) {
		check_backend_service(e, p, service);
	} else if (resource) {
		if (get(resource, "apiGroup"))
			check_format(e, FP(at, "apiGroup"), get_str(resource, "apiGroup"), fmt_dns_subdomain);
		check_segment(e, FP(at, "kind"), get_str(resource, "kind"));
		check_segment(e, FP(at, "name"), get_str(resource, "name"));
	} else {
		fe_invalid(e, p, "", "resource or service backend is required");
	}
}

static void check_http_path(struct field_errors *e, const struct fpath *p, const json_t *item)
{
	static const char *const types[] = { "Exact", "ImplementationSpecific", "Prefix", NULL };
	static const char *const parts[] = { "//", "/./", "/../", "%2f", "%2F" }, *const ends[] = { "/..", "/." };
	const char *type = get_str(item, "pathType"), *path = get_str(item, "path");
	const struct fpath *at = FP(p, "path");

	if (!*type) {
		fe_required(e, FP(p, "pathType"), "pathType must be specified");
		return;
	}
	if (!one_of(type, types)) {
		fe_not_supported(e, FP(p, "pathType"), type, types);
	} else if (strcmp(type, "ImplementationSpecific") == 0) {
		if (*path && *path != '/')
			fe_invalid(e, at, path, "must be an absolute path");
	} else {
		if (*path != '/')
			fe_invalid(e, at, path, "must be an absolute path");
		for (size_t i = 0; *path && i < ARRAY_SIZE(parts); i++)
			if (strstr(path, parts[i]))
				fe_invalid(e, at, path, "must not contain '%s'", parts[i]);
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
			if (str_ends(path, ends[i]))
				fe_invalid(e, at, path, "cannot end with '%s'", ends[i]);
	}
	check_backend(e, FP(p, "backend"), get(item, "backend"));
}

static void check_ingress_rule(struct field_errors *e, const struct fpath *p, const json_t *rule)
{
	const char *host = get_str(rule, "host");
	const json_t *http = get(rule, "http");
	json_t *item;
	size_t i;

	if (*host && ip_family(host))
		fe_invalid(e, FP(p, "host"), host, "must be a DNS name, not an IP address");
	if (*host)
		check_format(e, FP(p, "host"), host, fmt_host);
	if (http && json_array_size(get(http, "paths")) == 0)
		fe_required(e, FP(FP(p, "http"), "paths"), NULL);
	json_array_foreach(get(http, "paths"), i, item)
		check_http_path(e, FP_INDEX(FP(FP(p, "http"), "paths"), i), item);
}

void validate_ingress(const struct validation *v)
{
	static const char annotation[] = "kubernetes.io/ingress.class";
	const json_t *spec = get(v->object, "spec"), *rules = get(spec, "rules"),
		     *backend = get(spec, "defaultBackend");
	const char *old_class = get_str(json_at(v->object, "metadata.annotations"), annotation),
		   *class = get_str(spec, "ingressClassName");
	const struct fpath *p = FP(NULL, "spec");
	json_t *item, *host;
	size_t i, k;

	if (!json_array_size(rules) && !backend)
		fe_invalid_json(v->e, p, rules, "either `defaultBackend` or `rules` must be specified");
	if (backend)
		check_backend(v->e, FP(p, "defaultBackend"), backend);
	json_array_foreach(rules, i, item)
		check_ingress_rule(v->e, FP_INDEX(FP(p, "rules"), i), item);
	json_array_foreach(get(spec, "tls"), i, item) {
		const struct fpath *at = FP_INDEX(FP(p, "tls"), i);

		json_array_foreach(get(item, "hosts"), k, host)
			check_format(v->e, FP_INDEX(FP(at, "hosts"), k), json_string_value(host), fmt_host);
		if (*get_str(item, "secretName"))
			check_format(v->e, FP(at, "secretName"), get_str(item, "secretName"), fmt_dns_subdomain);
	}
	if (*class)
		check_format(v->e, FP(p, "ingressClassName"), class, fmt_dns_subdomain);
	if (!v->old && *old_class && *class && strcmp(old_class, class) != 0)
		fe_invalid(v->e, FP(FP(NULL, "annotations"), annotation), old_class,
			   "must match `ingressClassName` when both are specified");
}

void validate_ingress_status(const struct validation *v)
{
	const struct fpath *p = FP(FP(FP(NULL, "status"), "loadBalancer"), "ingress");
	json_t *item;
	size_t i;

	json_array_foreach(json_at(v->object, "status.loadBalancer.ingress"), i, item) {
		const char *ip = get_str(item, "ip"), *name = get_str(item, "hostname");

		if (*ip)
			check_format(v->e, FP(FP_INDEX(p, i), "ip"), ip, fmt_ip);
		if (!*name)
			continue;
		check_format(v->e, FP(FP_INDEX(p, i), "hostname"), name, fmt_dns_subdomain);
		if (ip_family(name))
			fe_invalid(v->e, FP(FP_INDEX(p, i), "hostname"), name, "must be a DNS name, not an IP address");
	}
}

void validate_service_cidr_status(const struct validation *v)
{
	check_conditions(v->e, FP(FP(NULL, "status"), "conditions"), json_at(v->object, "status.conditions"));
}

static void check_class_parameters(struct field_errors *e, const struct fpath *p, const json_t *parameters)
{
	const char *scope = get_str(parameters, "scope"), *ns = get_str(parameters, "namespace");

	if (get(parameters, "apiGroup"))
		check_format(e, FP(p, "apiGroup"), get_str(parameters, "apiGroup"), fmt_dns_subdomain);
	check_segment(e, FP(p, "kind"), get_str(parameters, "kind"));
	check_segment(e, FP(p, "name"), get_str(parameters, "name"));
	check_enum(e, FP(p, "scope"), scope, WORDS("Cluster", "Namespace"));
	if (strcmp(scope, "Namespace") == 0 && !*ns)
		fe_required(e, FP(p, "namespace"), "`parameters.scope` is set to 'Namespace'");
	else if (strcmp(scope, "Namespace") == 0)
		check_format(e, FP(p, "namespace"), ns, fmt_dns_label);
	else if (strcmp(scope, "Cluster") == 0 && get(parameters, "namespace"))
		fe_forbidden(e, FP(p, "namespace"), "`parameters.scope` is set to 'Cluster'");
}

void validate_ingress_class(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *parameters = get(spec, "parameters");
	const struct fpath *p = FP(NULL, "spec");

	if (strlen(get_str(spec, "controller")) > 250)
		fe_too_long(v->e, FP(p, "controller"), 250);
	check_domain_path(v->e, FP(p, "controller"), get_str(spec, "controller"));
	if (parameters)
		check_class_parameters(v->e, FP(p, "parameters"), parameters);
	if (v->old)
		check_immutable(v->e, FP(p, "controller"), get(spec, "controller"), json_at(v->old, "spec.controller"));
}

static void check_policy_port(struct field_errors *e, const struct fpath *p, const json_t *item)
{
	static const char *const protocols[] = { "TCP", "UDP", "SCTP", NULL };
	const json_t *port = get(item, "port"), *end = get(item, "endPort");

	if (get(item, "protocol") && !one_of(get_str(item, "protocol"), protocols))
		fe_not_supported(e, FP(p, "protocol"), get_str(item, "protocol"), protocols);
	if (port)
		check_port(e, FP(p, "port"), port);
	if (!end)
		return;
	if (!port)
		fe_invalid_json(e, FP(p, "endPort"), end, "may not be specified when `port` is not specified");
	else if (!json_is_integer(port))
		fe_invalid_json(e, FP(p, "endPort"), end, "may not be specified when `port` is non-numeric");
	else if (json_integer_value(end) < json_integer_value(port))
		fe_invalid_json(e, FP(p, "endPort"), port, "must be greater than or equal to `port`");
	else
		check_port_number(e, FP(p, "endPort"), json_integer_value(end));
}

static void check_ip_block(struct field_errors *e, const struct fpath *p, const json_t *block)
{
	const char *cidr = get_str(block, "cidr");
	json_t *except;
	size_t i;

	if (!*cidr) {
		fe_required(e, FP(p, "cidr"), NULL);
		return;
	}
	check_format(e, FP(p, "cidr"), cidr, fmt_cidr);
	json_array_foreach(get(block, "except"), i, except) {
		const char *s = json_string_value(except);
		const struct fpath *at = FP_INDEX(FP(p, "except"), i);

		check_format(e, at, s, fmt_cidr);
		if (format_ok(fmt_cidr, s) && format_ok(fmt_cidr, cidr) && !cidr_strictly_within(s, cidr))
			fe_invalid(e, at, s, "must be a strict subset of `cidr`");
	}
}

static void check_peer(struct field_errors *e, const struct fpath *p, const json_t *peer)
{
	const json_t *block = get(peer, "ipBlock"), *pods = get(peer, "podSelector"),
		     *namespaces = get(peer, "namespaceSelector");

	check_label_selector(e, FP(p, "podSelector"), pods);
	check_label_selector(e, FP(p, "namespaceSelector"), namespaces);
	if (block)
		check_ip_block(e, FP(p, "ipBlock"), block);
	if (!block && !pods && !namespaces)
		fe_required(e, p, "must specify a peer");
	else if (block && (pods || namespaces))
		fe_forbidden(e, p, "may not specify both ipBlock and another peer");
}

void validate_network_policy(const struct validation *v)
{
	static const char *const rules[][2] = { { "ingress", "from" }, { "egress", "to" } };
	const json_t *spec = get(v->object, "spec"), *types = get(spec, "policyTypes");
	const struct fpath *p = FP(NULL, "spec");
	json_t *rule, *item;
	size_t i, k;

	check_label_selector(v->e, FP(p, "podSelector"), get(spec, "podSelector"));
	for (size_t r = 0; r < ARRAY_SIZE(rules); r++) {
		json_array_foreach(get(spec, rules[r][0]), i, rule) {
			const struct fpath *at = FP_INDEX(FP(p, rules[r][0]), i);

			json_array_foreach(get(rule, "ports"), k, item)
				check_policy_port(v->e, FP_INDEX(FP(at, "ports"), k), item);
			json_array_foreach(get(rule, rules[r][1]), k, item)
				check_peer(v->e, FP_INDEX(FP(at, rules[r][1]), k), item);
		}
	}
	if (json_array_size(types) > 2)
		fe_invalid_json(v->e, FP(p, "policyTypes"), types, "may not specify more than two policyTypes");
	json_array_foreach(types, i, item) {
		if (!one_of(json_string_value(item), WORDS("Ingress", "Egress")))
			fe_not_supported(v->e, FP_INDEX(FP(p, "policyTypes"), i), json_string_value(item),
					 WORDS("Ingress", "Egress"));
	}
}

void validate_service_cidr(const struct validation *v)
{
	const json_t *cidrs = json_at(v->object, "spec.cidrs"), *old = json_at(v->old, "spec.cidrs");
	const struct fpath *p = FP(FP(NULL, "spec"), "cidrs");
	json_t *item;
	size_t i;

	if (v->old) {
		if (!(json_array_size(old) == 1 && json_array_size(cidrs) == 2 &&
		      json_equal(json_array_get(old, 0), json_array_get(cidrs, 0))))
			check_immutable(v->e, p, cidrs, old);
	}
	if (json_array_size(cidrs) == 0)
		fe_required(v->e, p, "at least one CIDR required");
	if (json_array_size(cidrs) > 2)
		fe_invalid_json(v->e, p, cidrs, "may only hold up to 2 values");
	json_array_foreach(cidrs, i, item)
		check_format(v->e, FP_INDEX(p, i), json_string_value(item), fmt_cidr_canonical);
	if (json_array_size(cidrs) == 2 && ip_family(json_string_value(json_array_get(cidrs, 0))) ==
						   ip_family(json_string_value(json_array_get(cidrs, 1))))
		fe_invalid_json(
			v->e, p, cidrs,
			"may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
}

void validate_ip_address(const struct validation *v)
{
	const json_t *ref = json_at(v->object, "spec.parentRef");
	const struct fpath *p = FP(FP(NULL, "spec"), "parentRef");

	if (!ref) {
		fe_required(v->e, p, NULL);
	} else {
		if (*get_str(ref, "group"))
			check_format(v->e, FP(p, "group"), get_str(ref, "group"), fmt_dns_subdomain);
		check_segment(v->e, FP(p, "resource"), get_str(ref, "resource"));
		check_segment(v->e, FP(p, "name"), get_str(ref, "name"));
		if (*get_str(ref, "namespace"))
			check_format(v->e, FP(p, "namespace"), get_str(ref, "namespace"), fmt_path_segment);
	}
	if (v->old)
		check_immutable(v->e, p, ref, json_at(v->old, "spec.parentRef"));
}
