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
	OPT_CLEANUP, OPT_HELP, OPT_VERSION,
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
	      "  --kubeconfig FILE         take Services and EndpointSlices from an API server\n"
	      "  --manifests DIR           take them from *.yaml, *.yml and *.json files in DIR, followed live\n"
	      "  --node-name NAME          this node's name: its endpoints are local\n"
	      "  --node-ip IP              this node's address\n"
	      "  --cgroup PATH             cgroup2 directory whose processes are served (default /sys/fs/cgroup)\n"
	      "  --pin-dir DIR             where programs and maps are pinned (default /sys/fs/bpf/keelson/node)\n"
	      "  --service-cidr CIDR       service range (default 10.96.0.0/12)\n"
	      "  --cluster-cidr CIDR       pod range (default 10.244.0.0/16)\n"
	      "  --cluster-dns IP          address of the DNS server (default 10.96.0.10; \"\" for none)\n"
	      "  --cluster-domain NAME     (default cluster.local)\n"
	      "  --dns-upstream IP[:PORT]  where other names are asked for; repeatable (default /etc/resolv.conf)\n"
	      "  --listen ADDRESS:PORT     health and metrics (default 127.0.0.1:10249)\n"
	      "  --node-port-range A-B     (default 30000-32767)\n"
	      "  --cleanup                 remove everything a proxy left in the kernel, and exit\n"
	      "  --help, --version\n",
	      out);
}

static int wrong(const char *option, const char *value, const char *want)
{
	fprintf(stderr, "keelson-proxy: --%s \"%s\": %s\n", option, value, want);
	return -EINVAL;
}

static int range_parse(struct options *o, const char *value)
{
	_cleanup_free_ char *copy = mem_strdup(value);
	char *dash = strchr(copy, '-');
	uint64_t a, b;
	if (!dash)
		return -EINVAL;
	*dash = 0;
	if (str_to_u64(copy, 65535, &a) < 0 || str_to_u64(dash + 1, 65535, &b) < 0 || a == 0 || a > b)
		return -EINVAL;
	o->node_port_min = (uint16_t)a;
	o->node_port_max = (uint16_t)b;
	return 0;
}

static int take(struct options *o, int c, const char *value)
{
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
		return ip_parse(value, &o->node_ip) < 0 ? wrong("node-ip", value, "not an IP address") : 0;
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
		o->cluster_dns = (struct ip_addr){ 0 };
		return *value && ip_parse(value, &o->cluster_dns) < 0 ? wrong("cluster-dns", value, "not an IP address") : 0;
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
		return range_parse(o, value) < 0 ? wrong("node-port-range", value, "not a range like 30000-32767") : 0;
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
		.cluster_domain = "cluster.local",
		.node_port_min = 30000,
		.node_port_max = 32767,
	};
	ip_ranges_parse("10.96.0.0/12", &o->service_cidr, NULL);
	ip_ranges_parse("10.244.0.0/16", &o->cluster_cidr, NULL);
	ip_parse("10.96.0.10", &o->cluster_dns);
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
	return 0;
}

void options_done(struct options *o)
{
	strlist_done(&o->upstreams);
}
