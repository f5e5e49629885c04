// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line: long options only, each with a value unless it says otherwise. */
#include "controllers/options.h"

#include <errno.h>
#include <getopt.h>

#include "base/file.h"
#include "base/mem.h"

enum { ROOT_CA_MAX_BYTES = 1024 * 1024, MAX_SUBNET_BITS = 16 };
enum option_id { OPT_KUBECONFIG = 256, OPT_ROOT_CA, OPT_CLUSTER_CIDR, OPT_NODE_CIDR_MASK, OPT_LISTEN, OPT_LEADER_ELECT,
		 OPT_HELP, OPT_VERSION };

static const struct option table[] = {
	{ "kubeconfig", required_argument, NULL, OPT_KUBECONFIG },
	{ "root-ca", required_argument, NULL, OPT_ROOT_CA },
	{ "cluster-cidr", required_argument, NULL, OPT_CLUSTER_CIDR },
	{ "node-cidr-mask", required_argument, NULL, OPT_NODE_CIDR_MASK },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "leader-elect", required_argument, NULL, OPT_LEADER_ELECT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

const char *options_usage(void)
{
	return "Usage: keelson-controllers --kubeconfig FILE [OPTION]...\n"
	       "Runs the controllers of a cluster: workloads, endpoints, namespaces, nodes, garbage collection.\n\n"
	       "  --kubeconfig FILE       how to reach the API server; without it, the pod's service account\n"
	       "  --root-ca FILE          CA certificate (PEM) to publish to every namespace\n"
	       "  --cluster-cidr CIDR     range that nodes' pod addresses are taken from\n"
	       "  --node-cidr-mask BITS   prefix length of one node's part (24; 64 for IPv6)\n"
	       "  --listen ADDR:PORT      serve /healthz, /livez, /readyz and /metrics there\n"
	       "  --leader-elect BOOL     work only while holding the Lease (true)\n"
	       "  --help, --version\n";
}

static int read_root_ca(const char *path, struct options *o, struct err *err)
{
	struct strbuf pem = { 0 };
	int r = file_read(path, ROOT_CA_MAX_BYTES, &pem);

	if (r < 0) {
		strbuf_done(&pem);
		return err_set(err, EINVAL, "--root-ca %s: %s", path, strerror(-r));
	}
	if (!pem.data || !strstr(pem.data, "-----BEGIN CERTIFICATE-----")) {
		strbuf_done(&pem);
		return err_set(err, EINVAL, "--root-ca %s: there is no PEM certificate in it", path);
	}
	free(o->config.root_ca);
	o->config.root_ca = strbuf_take(&pem);
	return 0;
}

static int take(int option, const char *value, struct options *o, struct err *err)
{
	uint64_t n;

	switch (option) {
	case OPT_KUBECONFIG:
		o->kubeconfig = value;
		return 0;
	case OPT_ROOT_CA:
		return read_root_ca(value, o, err);
	case OPT_CLUSTER_CIDR:
		if (ip_prefix_parse(value, &o->config.cluster_cidr) < 0)
			return err_set(err, EINVAL, "--cluster-cidr %s: not a CIDR such as 10.244.0.0/16", value);
		ip_prefix_mask(&o->config.cluster_cidr);
		return 0;
	case OPT_NODE_CIDR_MASK:
		if (str_to_u64(value, 128, &n) < 0)
			return err_set(err, EINVAL, "--node-cidr-mask %s: not a prefix length", value);
		o->config.node_cidr_mask = (unsigned)n;
		return 0;
	case OPT_LISTEN:
		o->listen = value;
		return 0;
	case OPT_LEADER_ELECT:
		if (!str_eq(value, "true") && !str_eq(value, "false"))
			return err_set(err, EINVAL, "--leader-elect %s: neither true nor false", value);
		o->leader_elect = str_eq(value, "true");
		return 0;
	case OPT_HELP:
		o->help = true;
		return 0;
	case OPT_VERSION:
		o->version = true;
		return 0;
	}
	return err_set(err, EINVAL, "unknown option or missing value");
}

static int check_cidr(struct options *o, struct err *err)
{
	const struct ip_prefix *range = &o->config.cluster_cidr;
	unsigned bits = range->addr.family == AF_INET6 ? 128 : 32;

	if (!range->addr.family)
		return 0;
	if (!o->config.node_cidr_mask)
		o->config.node_cidr_mask = bits == 32 ? 24 : 64;
	if (o->config.node_cidr_mask < range->len || o->config.node_cidr_mask > bits)
		return err_set(err, EINVAL,
			       "--node-cidr-mask %u: must be between the length of --cluster-cidr (%u) and %u",
			       o->config.node_cidr_mask, range->len, bits);
	if (o->config.node_cidr_mask - range->len > MAX_SUBNET_BITS)
		return err_set(err, EINVAL,
			       "--node-cidr-mask %u: more than %u parts of --cluster-cidr (/%u) are not supported",
			       o->config.node_cidr_mask, 1u << MAX_SUBNET_BITS, range->len);
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
	struct options o = { .leader_elect = true };
	int option, r = 0;

	optind = 0;
	opterr = 0;
	while (r == 0 && (option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		r = take(option, optarg, &o, err);
		if (r < 0 && option == '?')
			r = err_set(err, EINVAL, "%s: unknown option or missing value", argv[optind - 1]);
	}
	if (r == 0 && optind < argc)
		r = err_set(err, EINVAL, "%s: unexpected argument", argv[optind]);
	if (r == 0)
		r = check_cidr(&o, err);
	if (r < 0) {
		options_done(&o);
		return r;
	}
	*ret = o;
	return 0;
}

void options_done(struct options *o)
{
	free(o->config.root_ca);
	*o = (struct options){ 0 };
}
