// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a machine that wants to join has to know, as two ConfigMaps that are put right when somebody changes them:
 * kube-public/cluster-info (a kubeconfig with the CA and the address of this server and nobody's credentials; keelson-controllers
 * signs it with each bootstrap token) and kube-system/keelson-config (ranges, cluster DNS and the like, from this server's options).
 */
#include <string.h>

#include "apiserver/registry/registry.h"
#include "base/log.h"
#include "kube/object.h"

/* In the form clientcmd writes. */
static char *cluster_info_text(const struct registry *g)
{
	const char *address = g->options.advertise_address;
	bool v6 = strchr(address, ':') != NULL;
	_cleanup_strbuf_ struct strbuf ca = { 0 };
	base64_encode(&ca, g->options.ca_pem, strlen(g->options.ca_pem));
	return str_printf("apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: %s\n    server: https://%s%s%s:%u\n"
			  "  name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: {}\nusers: null\n",
			  ca.data, v6 ? "[" : "", address, v6 ? "]" : "", g->options.port);
}

static json_t *config_data(const struct registry *g)
{
	const struct registry_options *o = &g->options;
	char first[IP_PREFIX_TEXT_SIZE], second[IP_PREFIX_TEXT_SIZE] = "", ports[32];
	const struct ip_prefix *other = &o->service_ranges.v[!o->service_primary];
	json_t *data = json_object();
	ip_prefix_format(&o->service_ranges.v[o->service_primary], first);
	if (other->addr.family)
		ip_prefix_format(other, second);
	snprintf(ports, sizeof(ports), "%u-%u", o->node_port_min, o->node_port_max);
	json_object_set_new(data, "service-cidr", json_sprintf("%s%s%s", first, *second ? "," : "", second));
	json_object_set_new(data, "cluster-domain", json_string(o->cluster_domain));
	json_object_set_new(data, "cluster-dns", json_string(o->cluster_dns));
	json_object_set_new(data, "node-port-range", json_string(ports));
	if (!str_empty(o->cluster_cidr))
		json_object_set_new(data, "cluster-cidr", json_string(o->cluster_cidr));
	json_object_set_new(data, "node-cidr-mask", json_sprintf("%u", o->node_cidr_mask));
	json_object_set_new(data, "node-cidr-mask-ipv6", json_sprintf("%u", o->node_cidr_mask_ipv6));
	json_object_set_new(data, "pod-network", json_string(o->pod_network));
	return data;
}

/* Makes the ConfigMap, or gives it these entries again; others' entries stay. */
static void keep(struct registry *g, const char *ns, const char *name, const json_t *data)
{
	_cleanup_free_ char *key = str_printf("%s/%s", ns, name);
	struct store_object *o = store_latest(g->store, g->configmaps->id, key);
	_cleanup_json_ json_t *had = o ? entry_parse(o) : NULL, *wanted = NULL;
	if (!o) {
		bootstrap_ensure(g, g->configmaps, ns,
				 json_pack("{s:s,s:s,s:{s:s},s:O}", "apiVersion", "v1", "kind", "ConfigMap", "metadata", "name", name,
					   "data", data));
		return;
	}
	wanted = json_object_get(had, "data") ? json_deep_copy(json_object_get(had, "data")) : json_object();
	json_object_update(wanted, (json_t *)data);
	bootstrap_enforce(g, g->configmaps, key, "data", wanted);
}

void cluster_info_keep(struct registry *g)
{
	_cleanup_json_ json_t *data;
	/* Of several API servers the first to come tells its address; they would put each other's right for ever. */
	bool told = store_is_shared(g->store) && store_latest(g->store, g->configmaps->id, "kube-public/cluster-info");
	if (!str_empty(g->options.ca_pem) && !told) {
		_cleanup_free_ char *text = cluster_info_text(g);
		_cleanup_json_ json_t *info = json_pack("{s:s}", "kubeconfig", text);
		keep(g, "kube-public", "cluster-info", info);
	}
	data = config_data(g);
	keep(g, "kube-system", "keelson-config", data);
}
