/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every value is checked here, so that the rest of the daemon can rely on it. */
#include "proxy/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/mem.h"

enum {
	OPT_KUBECONFIG = 256, OPT_MANIFESTS, OPT_NODE_NAME, OPT_NODE_IP, OPT_CGROUP, OPT_PIN_DIR, OPT_SERVICE_CIDR,
	OPT_CLUSTER_CIDR, OPT_CLUSTER_DNS, OPT_CLUSTER_DOMAIN, OPT_DNS_UPSTREAM, OPT_LISTEN, OPT_NODE_PORT_RANGE,
	OPT_HEALTHZ_LISTEN, OPT_POD_NETWORK, OPT_SNAT_PORTS, OPT_SNAT_ADDRESS, OPT_NODE_PORT_ADDRESSES, OPT_MAX_SERVICES,
	OPT_MAX_ENDPOINTS, OPT_MAX_FLOWS, OPT_XDP, OPT_FAST_PATH, OPT_CLEANUP, OPT_HELP, OPT_VERSION,
};
static const struct option table[] = {
	{ "kubeconfig", required_argument, NULL, OPT_KUBECONFIG },
	{ "manifests", required_argument, NULL, OPT_MANIFESTS },
	{ "node-name", required_argument, NULL, OPT_NODE_NAME },
	{ "node-ip", required_argument, NULL, OPT_NODE_IP },
	{ "cgroup", required_argument, NULL, OPT_CGROUP },
	{ "pin-dir", required_argument, NULL, OPT_PIN_DIR },
	{ "service-cidr", required_argument, NULL, OPT_SERVICE_CIDR },
	{ "cluster-cidr", required_argument, NULL, OPT_CLUSTER_CIDR },
	{ "cluster-dns", required_argument, NULL, OPT_CLUSTER_DNS },
	{ "cluster-domain", required_argument, NULL, OPT_CLUSTER_DOMAIN },
	{ "dns-upstream", required_argument, NULL, OPT_DNS_UPSTREAM },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "node-port-range", required_argument, NULL, OPT_NODE_PORT_RANGE },
	{ "healthz-listen", required_argument, NULL, OPT_HEALTHZ_LISTEN },
	{ "pod-network", required_argument, NULL, OPT_POD_NETWORK },
	{ "snat-ports", required_argument, NULL, OPT_SNAT_PORTS },
	{ "snat-address", required_argument, NULL, OPT_SNAT_ADDRESS },
	{ "node-port-addresses", required_argument, NULL, OPT_NODE_PORT_ADDRESSES },
	{ "max-services", required_argument, NULL, OPT_MAX_SERVICES },
	{ "max-endpoints", required_argument, NULL, OPT_MAX_ENDPOINTS },
	{ "max-flows", required_argument, NULL, OPT_MAX_FLOWS },
	{ "xdp", required_argument, NULL, OPT_XDP },
	{ "fast-path", required_argument, NULL, OPT_FAST_PATH },
	{ "cleanup", no_argument, NULL, OPT_CLEANUP },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static void usage(FILE *out)
{
	fputs("Usage: keelson-proxy --kubeconfig FILE | --manifests DIR [OPTIONS]\n"
	      "       keelson-proxy --cleanup [OPTIONS]\n\n"
	      "Programs Services into the kernel and answers DNS for the cluster.\n\n"
	      "  --kubeconfig FILE         take Services, EndpointSlices and Nodes from an API server\n"
	      "  --manifests DIR           take them from *.yaml, *.yml and *.json files in DIR, followed live\n"
	      "  --node-name NAME          this node's name: its endpoints are local\n"
	      "  --node-ip IP[,IP]         this node's address, one of each family (default: as its Node object says)\n"
	      "  --cgroup PATH             cgroup2 directory whose processes are served (default /sys/fs/cgroup)\n"
	      "  --pin-dir DIR             where programs and maps are pinned (default /sys/fs/bpf/keelson/node)\n"
	      "  --service-cidr CIDR[,CIDR]  service range, one of each family (default 10.96.0.0/12)\n"
	      "  --cluster-cidr CIDR[,CIDR]  pod range, one of each family (default 10.244.0.0/16)\n"
	      "  --cluster-dns IP[,IP]     addresses of the DNS server (default 10.96.0.10; \"\" for none)\n"
	      "  --cluster-domain NAME     (default cluster.local)\n"
	      "  --dns-upstream IP[:PORT]  where other names are asked for; repeatable (default /etc/resolv.conf)\n"
	      "  --listen ADDRESS:PORT     health and metrics (default 127.0.0.1:10249)\n"
	      "  --healthz-listen ADDRESS:PORT  health for load balancers (default 0.0.0.0:10256, IPv6 too; \"\" for none)\n"
	      "  --pod-network MODE        how other nodes' pods are reached: auto, vxlan, direct or none (default auto)\n"
	      "  --node-port-range A-B     (default 30000-32767)\n"
	      "  --node-port-addresses CIDR,...|primary  which of the node's addresses NodePorts answer on (default all)\n"
	      "  --snat-ports A-B          ports for what is sent on to other nodes' own addresses (default 61000-65535)\n"
	      "  --snat-address IP[,IP]    source of that, one of each family (default the node's address)\n"
	      "  --max-services N, --max-endpoints N, --max-flows N  sizes of the kernel's maps\n"
	      "  --xdp auto|off            use XDP where a driver has it (default auto)\n"
	      "  --fast-path auto|off      packets from outside to pods of this node pass its stack by (default auto:\n"
	      "                            while nobody filters what is forwarded)\n"
	      "  --cleanup                 remove everything a proxy left in the kernel, and exit\n"
	      "  --help, --version\n",
	      out);
}

static int wrong(const char *option, const char *value, const char *want)
{
	fprintf(stderr, "keelson-proxy: --%s \"%s\": %s\n", option, value, want);
	return -EINVAL;
}

static int range_parse(const char *value, uint16_t *ret_min, uint16_t *ret_max)
{
	_cleanup_free_ char *copy = mem_strdup(value);
	char *dash = strchr(copy, '-');
	uint64_t a, b;
	if (!dash)
		return -EINVAL;
	*dash = 0;
	if (str_to_u64(copy, 65535, &a) < 0 || str_to_u64(dash + 1, 65535, &b) < 0 || a == 0 || a > b)
		return -EINVAL;
	*ret_min = (uint16_t)a;
	*ret_max = (uint16_t)b;
	return 0;
}

/* One address, or one of each family with a comma; "" clears both. */
static int pair_parse(const char *value, struct ip_addr ret[2])
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	struct ip_addr out[2] = { 0 }, a;
	size_t commas = 0;
	for (const char *p = value; *p; p++)
		commas += *p == ',';
	strlist_split(&parts, value, ',');
	if (*value && parts.count != commas + 1)
		return -EINVAL;
	for (size_t i = 0; i < parts.count; i++) {
		if (ip_parse(parts.items[i], &a) < 0 || out[ip_family_index(a.family)].family)
			return -EINVAL;
		out[ip_family_index(a.family)] = a;
	}
	memcpy(ret, out, sizeof(out));
	return 0;
}

static int pair_take(const char *option, const char *value, bool may_be_empty, struct ip_addr ret[2])
{
	if ((!*value && !may_be_empty) || pair_parse(value, ret) < 0)
		return wrong(option, value, "not an IP address, or one of each family");
	return 0;
}

static int node_port_addresses_parse(struct options *o, const char *value)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	o->node_port_primary = strcmp(value, "primary") == 0;
	o->node_port_address_count = 0;
	if (o->node_port_primary)
		return 0;
	strlist_split(&parts, value, ',');
	if (!parts.count || parts.count > OPTIONS_MAX_NODE_PORT_ADDRESSES)
		return -EINVAL;
	for (size_t i = 0; i < parts.count; i++) {
		struct ip_prefix *p = &o->node_port_addresses[i];
		if (ip_prefix_parse(parts.items[i], p) < 0)
			return -EINVAL;
		ip_prefix_mask(p);
	}
	o->node_port_address_count = parts.count;
	return 0;
}

static int size_take(const char *option, const char *value, uint32_t *ret)
{
	uint64_t n;
	if (str_to_u64(value, 16 << 20, &n) < 0 || n < 64)
		return wrong(option, value, "not a number from 64 to 16777216");
	*ret = (uint32_t)n;
	return 0;
}

/* Where a value is one of a few words. */
static int word_take(const char *option, const char *value, const char *const *words, const char *want, const char **ret)
{
	for (; *words; words++)
		if (strcmp(*words, value) == 0) {
			*ret = *words;
			return 0;
		}
	return wrong(option, value, want);
}

static int take(struct options *o, int c, const char *value)
{
	static const char *const networks[] = { "auto", "vxlan", "direct", "none", NULL }, *const auto_off[] = { "auto", "off", NULL };
	const char *word;
	int r;
	switch (c) {
	case OPT_KUBECONFIG:
		o->kubeconfig = value;
		return 0;
	case OPT_MANIFESTS:
		o->manifests = value;
		return 0;
	case OPT_NODE_NAME:
		o->node_name = value;
		return 0;
	case OPT_NODE_IP:
		return pair_take("node-ip", value, false, o->node_ip);
	case OPT_CGROUP:
		o->cgroup = value;
		return 0;
	case OPT_PIN_DIR:
		o->pin_dir = value;
		return value[0] != '/' ? wrong("pin-dir", value, "not an absolute path") : 0;
	case OPT_SERVICE_CIDR:
		return ip_ranges_parse(value, &o->service_cidr, NULL) < 0 ? wrong("service-cidr", value, "not a prefix like 10.96.0.0/12, or one of each family") : 0;
	case OPT_CLUSTER_CIDR:
		return ip_ranges_parse(value, &o->cluster_cidr, NULL) < 0 ? wrong("cluster-cidr", value, "not a prefix like 10.244.0.0/16, or one of each family") : 0;
	case OPT_CLUSTER_DNS:
		return pair_take("cluster-dns", value, true, o->cluster_dns);
	case OPT_CLUSTER_DOMAIN:
		o->cluster_domain = value;
		return 0;
	case OPT_DNS_UPSTREAM:
		strlist_add(&o->upstreams, value);
		return 0;
	case OPT_LISTEN:
		o->listen = value;
		return 0;
	case OPT_NODE_PORT_RANGE:
		return range_parse(value, &o->node_port_min, &o->node_port_max) < 0 ?
		       wrong("node-port-range", value, "not a range like 30000-32767") : 0;
	case OPT_HEALTHZ_LISTEN:
		o->healthz_listen = value;
		return 0;
	case OPT_POD_NETWORK:
		return word_take("pod-network", value, networks, "not auto, vxlan, direct or none", &o->pod_network);
	case OPT_SNAT_PORTS:
		return range_parse(value, &o->snat_port_min, &o->snat_port_max) < 0 ?
		       wrong("snat-ports", value, "not a range like 61000-65535") : 0;
	case OPT_SNAT_ADDRESS:
		return pair_take("snat-address", value, false, o->snat_address);
	case OPT_NODE_PORT_ADDRESSES:
		return node_port_addresses_parse(o, value) < 0 ?
		       wrong("node-port-addresses", value, "neither primary nor up to 64 ranges like 192.0.2.0/24") : 0;
	case OPT_MAX_SERVICES:
		return size_take("max-services", value, &o->max_services);
	case OPT_MAX_ENDPOINTS:
		return size_take("max-endpoints", value, &o->max_endpoints);
	case OPT_MAX_FLOWS:
		return size_take("max-flows", value, &o->max_flows);
	case OPT_XDP:
		r = word_take("xdp", value, auto_off, "not auto or off", &word);
		o->no_xdp = r == 0 && strcmp(word, "off") == 0;
		return r;
	case OPT_FAST_PATH:
		r = word_take("fast-path", value, auto_off, "not auto or off", &word);
		o->no_fast_path = r == 0 && strcmp(word, "off") == 0;
		return r;
	case OPT_CLEANUP:
		o->cleanup = true;
		return 0;
	case OPT_HELP:
		usage(stdout);
		return 1;
	case OPT_VERSION:
		printf("keelson-proxy %s\n", KEELSON_VERSION);
		return 1;
	default:
		usage(stderr);
		return -EINVAL;
	}
}

int options_parse(struct options *o, int argc, char **argv)
{
	*o = (struct options){
		.cgroup = "/sys/fs/cgroup",
		.pin_dir = "/sys/fs/bpf/keelson/node",
		.listen = "127.0.0.1:10249",
		.healthz_listen = "0.0.0.0:10256",
		.pod_network = "auto",
		.cluster_domain = "cluster.local",
		.node_port_min = 30000,
		.node_port_max = 32767,
		.snat_port_min = 61000,
		.snat_port_max = 65535,
	};
	ip_ranges_parse("10.96.0.0/12", &o->service_cidr, NULL);
	ip_ranges_parse("10.244.0.0/16", &o->cluster_cidr, NULL);
	ip_parse("10.96.0.10", &o->cluster_dns[0]);
	optind = 1;
	for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
		int r = take(o, c, optarg ? optarg : "");
		if (r != 0)
			return r;
	}
	if (optind < argc || (!o->cleanup && !o->kubeconfig == !o->manifests)) {
		if (optind < argc)
			fprintf(stderr, "keelson-proxy: unexpected argument \"%s\"\n", argv[optind]);
		else
			fputs("keelson-proxy: exactly one of --kubeconfig and --manifests is needed\n", stderr);
		usage(stderr);
		return -EINVAL;
	}
	/* A reply to a port given out for SNAT must not be taken for a new connection to a NodePort. */
	if (o->snat_port_min <= o->node_port_max && o->node_port_min <= o->snat_port_max) {
		fprintf(stderr, "keelson-proxy: --snat-ports %u-%u and --node-port-range %u-%u overlap\n", o->snat_port_min,
			o->snat_port_max, o->node_port_min, o->node_port_max);
		return -EINVAL;
	}
	return 0;
}

void options_done(struct options *o)
{
	strlist_done(&o->upstreams);
}
