// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line: long options only, each with a value unless it says otherwise. */
#include "controllers/options.h"

#include <errno.h>
#include <getopt.h>

#include "base/file.h"
#include "base/mem.h"
#include "controllers/csr.h"

enum { ROOT_CA_MAX_BYTES = 1024 * 1024, MAX_SUBNET_BITS = 16, DURATION_MAX_S = 86400, GRACE_S = 40 };
enum option_id { OPT_KUBECONFIG = 256, OPT_ROOT_CA, OPT_CLUSTER_CIDR, OPT_SERVICE_CIDR, OPT_NODE_CIDR_MASK, OPT_NODE_CIDR_MASK_IPV6,
		 OPT_SIGNING_CERT, OPT_SIGNING_KEY, OPT_NODE_GRACE, OPT_LISTEN, OPT_LEADER_ELECT, OPT_HELP, OPT_VERSION };

static const struct option table[] = {
	{ "kubeconfig", required_argument, NULL, OPT_KUBECONFIG },
	{ "root-ca", required_argument, NULL, OPT_ROOT_CA },
	{ "cluster-cidr", required_argument, NULL, OPT_CLUSTER_CIDR },
	{ "service-cidr", required_argument, NULL, OPT_SERVICE_CIDR },
	{ "node-cidr-mask", required_argument, NULL, OPT_NODE_CIDR_MASK },
	{ "node-cidr-mask-ipv6", required_argument, NULL, OPT_NODE_CIDR_MASK_IPV6 },
	{ "cluster-signing-cert", required_argument, NULL, OPT_SIGNING_CERT },
	{ "cluster-signing-key", required_argument, NULL, OPT_SIGNING_KEY },
	{ "node-monitor-grace-period", required_argument, NULL, OPT_NODE_GRACE },
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
	       "  --cluster-cidr CIDR[,CIDR]\n"
	       "                          ranges that nodes' pod addresses are taken from, one of a family; the first is primary\n"
	       "  --service-cidr CIDR[,CIDR]\n"
	       "                          the Services' ranges: no node is given a serving certificate for an address of these\n"
	       "  --node-cidr-mask BITS   prefix length of one node's part of the IPv4 range (24), or of the only range\n"
	       "  --node-cidr-mask-ipv6 BITS\n"
	       "                          the same of the IPv6 range (64)\n"
	       "  --cluster-signing-cert FILE, --cluster-signing-key FILE\n"
	       "                          CA that signs approved certificate requests; without it none is signed\n"
	       "  --node-monitor-grace-period TIME\n"
	       "                          a node that is silent for longer is not ready (40s)\n"
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

/* A duration such as 40s or 1m30s, of at least a second. */
static int take_seconds(const char *name, const char *value, unsigned *ret, struct err *err)
{
	uint64_t total = 0, n;
	const char *p = value;
	char digits[8];

	while (*p && total <= DURATION_MAX_S) {
		size_t len = strspn(p, "0123456789");
		unsigned unit = p[len] == 's' ? 1 : p[len] == 'm' ? 60 : p[len] == 'h' ? 3600 : 0;

		if (!len || len >= sizeof(digits) || !unit)
			break;
		memcpy(digits, p, len);
		digits[len] = '\0';
		if (str_to_u64(digits, DURATION_MAX_S, &n) < 0)
			break;
		total += n * unit;
		p += len + 1;
	}
	if (*p || !total || total > DURATION_MAX_S)
		return err_set(err, EINVAL, "%s %s: not a time such as 40s or 1m30s", name, value);
	*ret = (unsigned)total;
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
		if (ip_ranges_parse(value, &o->config.cluster_ranges, &o->config.cluster_primary) < 0)
			return err_set(err, EINVAL,
				       "--cluster-cidr %s: not a CIDR such as 10.244.0.0/16, nor one of each family with a comma",
				       value);
		return 0;
	case OPT_SERVICE_CIDR:
		if (ip_ranges_parse(value, &o->config.service_ranges, NULL) < 0)
			return err_set(err, EINVAL,
				       "--service-cidr %s: not a CIDR such as 10.96.0.0/12, nor one of each family with a comma", value);
		return 0;
	case OPT_NODE_CIDR_MASK:
		if (str_to_u64(value, 128, &n) < 0)
			return err_set(err, EINVAL, "--node-cidr-mask %s: not a prefix length", value);
		o->config.node_cidr_mask[0] = (unsigned)n;
		return 0;
	case OPT_NODE_CIDR_MASK_IPV6:
		if (str_to_u64(value, 128, &n) < 0)
			return err_set(err, EINVAL, "--node-cidr-mask-ipv6 %s: not a prefix length", value);
		o->config.node_cidr_mask[1] = (unsigned)n;
		return 0;
	case OPT_SIGNING_CERT:
		free(o->config.signing_cert);
		o->config.signing_cert = mem_strdup(value);
		return 0;
	case OPT_SIGNING_KEY:
		free(o->config.signing_key);
		o->config.signing_key = mem_strdup(value);
		return 0;
	case OPT_NODE_GRACE:
		return take_seconds("--node-monitor-grace-period", value, &o->config.node_grace_s, err);
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

static int check_range(const char *name, const struct ip_prefix *range, unsigned mask, struct err *err)
{
	unsigned bits = range->addr.family == AF_INET6 ? 128 : 32;

	if (!range->addr.family)
		return 0;
	if (mask < range->len || mask > bits)
		return err_set(err, EINVAL, "%s %u: must be between the length of its --cluster-cidr (%u) and %u", name, mask,
			       range->len, bits);
	if (mask - range->len > MAX_SUBNET_BITS)
		return err_set(err, EINVAL, "%s %u: more than %u parts of --cluster-cidr (/%u) are not supported", name, mask,
			       1u << MAX_SUBNET_BITS, range->len);
	return 0;
}

static int check(struct options *o, struct err *err)
{
	const struct ip_prefix *v = o->config.cluster_ranges.v;
	unsigned *mask = o->config.node_cidr_mask;
	bool only_v6 = v[1].addr.family && !v[0].addr.family;
	int r;

	if (only_v6 && !mask[1])
		mask[1] = mask[0];
	mask[0] = mask[0] ? mask[0] : 24;
	mask[1] = mask[1] ? mask[1] : 64;
	r = check_range("--node-cidr-mask", &v[0], mask[0], err);
	if (r == 0)
		r = check_range("--node-cidr-mask-ipv6", &v[1], mask[1], err);
	if (r == 0 && !o->config.signing_cert != !o->config.signing_key)
		r = err_set(err, EINVAL, "--cluster-signing-cert and --cluster-signing-key are given together");
	if (r == 0 && o->config.signing_cert && !o->help && !o->version)
		r = csr_check_ca(o->config.signing_cert, o->config.signing_key, err);
	return r;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
	struct options o = { .leader_elect = true, .config.node_grace_s = GRACE_S };
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
		r = check(&o, err);
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
	free(o->config.signing_cert);
	free(o->config.signing_key);
	*o = (struct options){ 0 };
}
