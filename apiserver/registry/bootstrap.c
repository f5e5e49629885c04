// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The objects every cluster has, made at the first start and put right whenever somebody changed what must not change: system
 * namespaces, the kubernetes Service and its endpoints, the Service of the cluster DNS, two PriorityClasses, what joining nodes
 * read (cluster_info.c).
 */
#include <string.h>

#include "apiserver/auth/rbac.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "base/log.h"
#include "io/net.h"
#include "kube/codec.h"
#include "kube/object.h"

/* An API server that has not renewed its Lease for so long is gone. */
enum { LEASE_S = 45 };

static void on_made(struct write_result *r, void *user)
{
	_cleanup_free_ char *what = user;
	if (r->stale)
		log_debug("another API server made %s", what);
	else if (r->status)
		log_error("cannot make %s: %s", what, json_str_or(r->status, "message", ""));
	else
		log_debug("made %s", what);
}

void bootstrap_ensure(struct registry *g, const struct schema_resource *r, const char *ns, json_t *object)
{
	const struct write_options o = { .no_admission = true };
	_cleanup_json_ json_t *v = object;
	_cleanup_free_ char *key = entry_key(r, ns, object_name(v));
	_cleanup_err_ struct err err = { 0 };
	json_t *status;
	if (store_latest(g->store, r->id, key))
		return;
	BUG_ON(codec_normalize(r->message, v, NULL, &err) < 0);
	defaults_apply(r, v);
	char *what = str_printf("%s %s", r->plural, key);
	status = registry_create(g, r, ns, v, &o, on_made, what);
	if (!status)
		return;
	log_error("cannot make %s: %s", what, json_str_or(status, "message", ""));
	free(what);
	json_decref(status);
}

static void on_put_right(struct write_result *r, void *user)
{
	(void)user;
	if (r->status && !r->stale) /* what another API server wrote is looked at the next time */
		log_error("cannot put an object right: %s", json_str_or(r->status, "message", ""));
}

void bootstrap_enforce(struct registry *g, const struct schema_resource *r, const char *key, const char *field, const json_t *want)
{
	struct store_object *o = store_latest(g->store, r->id, key);
	_cleanup_json_ json_t *v = o ? entry_parse(o) : NULL;
	json_t *status;
	if (!v || json_same(json_object_get(v, field), want))
		return;
	json_object_set_new(v, field, json_deep_copy(want));
	status = registry_put(g, r, o, v, false, on_put_right, NULL);
	json_decref(status);
}

static void namespaces(struct registry *g)
{
	static const char *const names[] = { "default", "kube-system", "kube-public", "kube-node-lease" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		bootstrap_ensure(g, g->namespaces, "",
		       json_pack("{s:s,s:s,s:{s:s}}", "apiVersion", "v1", "kind", "Namespace", "metadata", "name", names[i]));
}

/* The n-th address of the service range of a family. */
static void service_ip(const struct registry *g, unsigned family, unsigned n, char out[static IP_ADDR_TEXT_SIZE])
{
	struct ip_addr a = g->options.service_ranges.v[family].addr;
	ip_addr_add(&a, n);
	ip_format(&a, out);
}

/* Says that this API server is there: a Lease of its own, renewed at every call. Of a shared store only. */
static void renew_lease(struct registry *g)
{
	const char *address = g->options.advertise_address;
	char now[CLOCK_RFC3339_MICRO_SIZE];
	_cleanup_free_ char *name = str_printf("apiserver-%s", address), *key = NULL;
	for (char *c = name; *c; c++)
		*c = *c == ':' ? '-' : *c;
	key = str_printf("kube-system/%s", name);
	clock_format_rfc3339_micro(clock_wall_us(), now);
	json_t *spec = json_pack("{s:s,s:i,s:s}", "holderIdentity", address, "leaseDurationSeconds", LEASE_S, "renewTime", now);
	bootstrap_ensure(g, g->leases, "kube-system",
			 json_pack("{s:s,s:s,s:{s:s,s:{s:s}},s:O}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease", "metadata", "name",
				   name, "labels", "apiserver.kubernetes.io/identity", "kube-apiserver", "spec", spec));
	bootstrap_enforce(g, g->leases, key, "spec", spec);
	json_decref(spec);
}

/* The addresses of the API servers of the same family that are there, in the order of their Leases' names; own among them. */
static void server_addresses(struct registry *g, struct strlist *ret)
{
	const char *own = g->options.advertise_address;
	struct store_iter it = store_iterate(g->store, g->leases->id, "kube-system/apiserver-");
	for (struct store_object *o; (o = store_next(&it));) {
		_cleanup_json_ json_t *lease = entry_parse(o);
		const char *address = json_str_or(lease, "spec.holderIdentity", ""), *renewed = json_str(lease, "spec.renewTime");
		int64_t when = 0; /* µs */
		struct ip_addr ip;
		bool there = renewed && clock_parse_rfc3339(renewed, &when) == 0 && clock_wall_s() - when / 1000000 < LEASE_S;
		if (ip_parse(address, &ip) == 0 && !strchr(address, ':') == !strchr(own, ':') && (there || str_eq(address, own)))
			strlist_add(ret, address);
	}
	if (!strlist_has(ret, own))
		strlist_add(ret, own);
}

static void kubernetes_service(struct registry *g)
{
	char ip[IP_ADDR_TEXT_SIZE];
	int port = (int)g->options.port;
	const char *address = g->options.advertise_address;
	_cleanup_strlist_ struct strlist addresses = { 0 };
	struct ip_addr parsed = { 0 };
	ip_parse(address, &parsed);
	service_ip(g, g->options.service_primary, 1, ip);
	bootstrap_ensure(g, g->services, "default",
	       json_pack("{s:s,s:s,s:{s:s,s:{s:s,s:s}},s:{s:s,s:s,s:[{s:s,s:s,s:i,s:i}]}}", "apiVersion", "v1", "kind", "Service",
			 "metadata", "name", "kubernetes", "labels", "component", "apiserver", "provider", "kubernetes", "spec", "type",
			 "ClusterIP", "clusterIP", ip, "ports", "name", "https", "protocol", "TCP", "port", 443, "targetPort", port));
	/* Endpoints may not be loopback addresses: a server that only this machine reaches has none. */
	if (str_starts(address, "127.") || str_eq(address, "::1"))
		return;
	if (store_is_shared(g->store))
		renew_lease(g);
	server_addresses(g, &addresses);
	json_t *ips = json_array(), *endpoints = json_array();
	for (size_t i = 0; i < addresses.count; i++) {
		json_array_append_new(ips, json_pack("{s:s}", "ip", addresses.items[i]));
		json_array_append_new(endpoints, json_pack("{s:[s],s:{s:b}}", "addresses", addresses.items[i], "conditions", "ready", 1));
	}
	json_t *subsets = json_pack("[{s:o,s:[{s:s,s:i,s:s}]}]", "addresses", ips, "ports", "name", "https", "port", port, "protocol",
				    "TCP");
	bootstrap_ensure(g, g->endpoints, "default",
	       json_pack("{s:s,s:s,s:{s:s,s:{s:s}},s:O}", "apiVersion", "v1", "kind", "Endpoints", "metadata", "name", "kubernetes",
			 "labels", "endpointslice.kubernetes.io/skip-mirror", "true", "subsets", subsets));
	bootstrap_enforce(g, g->endpoints, "default/kubernetes", "subsets", subsets);
	json_decref(subsets);
	json_t *ports = json_pack("[{s:s,s:i,s:s}]", "name", "https", "port", port, "protocol", "TCP");
	bootstrap_ensure(g, g->endpointslices, "default",
	       json_pack("{s:s,s:s,s:{s:s,s:{s:s}},s:s,s:O,s:O}", "apiVersion", "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata",
			 "name", "kubernetes", "labels", "kubernetes.io/service-name", "kubernetes", "addressType",
			 parsed.family == AF_INET6 ? "IPv6" : "IPv4", "endpoints", endpoints, "ports", ports));
	bootstrap_enforce(g, g->endpointslices, "default/kubernetes", "endpoints", endpoints);
	bootstrap_enforce(g, g->endpointslices, "default/kubernetes", "ports", ports);
	json_decref(endpoints);
	json_decref(ports);
}

/* The node-local DNS answers at these addresses; the Service has no selector and is there so that clients find it. */
static void dns_service(struct registry *g)
{
	unsigned primary = g->options.service_primary;
	char ip[IP_ADDR_TEXT_SIZE];
	service_ip(g, primary, 10, ip);
	json_t *spec = json_pack("{s:s,s:[s],s:[{s:s,s:s,s:i},{s:s,s:s,s:i}]}", "clusterIP", ip, "clusterIPs", ip, "ports", "name", "dns",
				 "protocol", "UDP", "port", 53, "name", "dns-tcp", "protocol", "TCP", "port", 53);
	if (g->options.service_ranges.v[!primary].addr.family) {
		service_ip(g, !primary, 10, ip);
		json_array_append_new(json_object_get(spec, "clusterIPs"), json_string(ip));
		json_object_set_new(spec, "ipFamilyPolicy", json_string("PreferDualStack"));
	}
	bootstrap_ensure(g, g->services, "kube-system",
			 json_pack("{s:s,s:s,s:{s:s,s:{s:s,s:s,s:s}},s:o}", "apiVersion", "v1", "kind", "Service", "metadata", "name",
				   "kube-dns", "labels", "k8s-app", "kube-dns", "kubernetes.io/cluster-service", "true",
				   "kubernetes.io/name", "CoreDNS", "spec", spec));
}

static void priority_classes(struct registry *g)
{
	static const struct {
		const char *name, *description;
		int value;
	} classes[] = {
		{ "system-node-critical", "Used for system critical pods that must not be moved from their current node.", 2000001000 },
		{ "system-cluster-critical", "Used for system critical pods that must run in the cluster, but can be moved to another "
					     "node if necessary.", 2000000000 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		bootstrap_ensure(g, g->priorityclasses, "",
		       json_pack("{s:s,s:s,s:{s:s},s:i,s:s}", "apiVersion", "scheduling.k8s.io/v1", "kind", "PriorityClass", "metadata",
				 "name", classes[i].name, "value", classes[i].value, "description", classes[i].description));
}

void bootstrap_objects(struct registry *g)
{
	namespaces(g);
	/* Roles are looked at once a start, as upstream does: who changes one later means it. */
	if (!g->ready)
		rbac_bootstrap_each(bootstrap_ensure, g);
	priority_classes(g);
	kubernetes_service(g);
	dns_service(g);
	cluster_info_keep(g);
}
