/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson up: prepares the machine, starts the supervisor, and waits until the cluster is usable. Every step prints a
 * line with its time. Run again, it finds the cluster up and changes nothing. With --nodes it makes a lab: this node in a
 * namespace on an underlay of its own, and further ones that join it.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/lab.h"
#include "cli/lab_nodes.h"
#include "cli/node.h"
#include "cli/pki.h"
#include "cli/secrets.h"
#include "cli/steps.h"
#include "cli/supervisor.h"

/* The lab is remembered before anything of it is made, so that `keelson down` finds it whenever this is interrupted. */
static int attach_first(struct cluster *c, struct err *err)
{
	int r = cluster_defaults(c, err);

	if (r == 0)
		r = cluster_save(c, err);
	return r < 0 ? r : lab_attach(c, 1, err);
}

static int step_machine(struct cluster *c, void *user _unused_, struct err *err)
{
	int r = node_check(c, err);

	if (r == 0 && c->lab)
		r = attach_first(c, err);
	if (r == 0)
		r = node_prepare_netns(c, err);
	if (r == 0)
		r = cluster_complete(c, err);
	if (r == 0)
		r = cluster_save(c, err); /* from here on `keelson down` knows what to undo */
	if (r < 0)
		node_remove_netns(c);
	if (r < 0 && c->lab && !c->complete) {
		_cleanup_free_ char *path = cluster_path(c, "cluster.json");

		lab_remove(c);
		(void)unlink(path);
	}
	return r;
}

static int step_pki(struct cluster *c, void *user _unused_, struct err *err)
{
	int r = MIN(pki_prepare(c, err), 0);

	return r == 0 && c->encrypts ? secrets_prepare(c, err) : r;
}

static int step_api(struct cluster *c, void *user _unused_, struct err *err)
{
	int r = cluster_runs_etcd(c) ? step_wait_healthy(c, "etcd", err) : 0;

	return r < 0 ? r : step_wait_healthy(c, "apiserver", err);
}

static const struct step steps[] = {
	{ "machine checked", step_machine },
	{ "network, cgroups and BPF file system prepared", step_prepare },
	{ "certificates and kubeconfigs", step_pki },
	{ "daemons started", step_daemons },
	{ "images loaded", step_images },
	{ "API server answers", step_api },
	{ "node ready", step_ready },
};

static void print_kubeconfig(const struct cluster *c)
{
	printf("kubeconfig: %s/admin.kubeconfig\n", c->state);
}

static int run_steps(struct cluster *c)
{
	int64_t begin = clock_mono_ms();
	_cleanup_err_ struct err err = { 0 };
	unsigned joined = 0;

	if (steps_run("up", steps, ARRAY_SIZE(steps), c, NULL, NULL) < 0)
		return 1;
	if (c->lab && lab_nodes_up(c, &joined, &err) < 0)
		return command_fail(&err);
	if (c->lab)
		printf("lab up: %u nodes in %.2f s\n", c->lab_nodes, (double)(clock_mono_ms() - begin) / 1000);
	else
		printf("cluster up: node %s (%s) in %.2f s\n", c->node_name, c->node_ip, (double)(clock_mono_ms() - begin) / 1000);
	print_kubeconfig(c);
	return 0;
}

static void set_text(char **p, const char *value)
{
	free(*p);
	*p = mem_strdup(value);
}

static const struct option options[] = {
	{ "state", required_argument, NULL, 's' },          { "netns", required_argument, NULL, 'n' },
	{ "node-name", required_argument, NULL, 'N' },      { "node-ip", required_argument, NULL, 'i' },
	{ "service-cidr", required_argument, NULL, 'S' },   { "cluster-cidr", required_argument, NULL, 'C' },
	{ "cluster-domain", required_argument, NULL, 'd' }, { "runtime-endpoint", required_argument, NULL, 'r' },
	{ "image", required_argument, NULL, 'I' },          { "pod-network", required_argument, NULL, 'p' },
	{ "tls-san", required_argument, NULL, 'T' },        { "nodes", required_argument, NULL, 'k' },
	{ "segments", required_argument, NULL, 'm' },       { "node-grace-period", required_argument, NULL, 'g' },
	{ "store", required_argument, NULL, 'e' },          { "etcd-servers", required_argument, NULL, 'E' },
	{ "etcd-cafile", required_argument, NULL, 'A' },    { "etcd-certfile", required_argument, NULL, 'c' },
	{ "etcd-keyfile", required_argument, NULL, 'K' },   { "etcd-prefix", required_argument, NULL, 'P' },
	{ 0 },
};

static int take_number(const char *option, const char *value, unsigned *ret)
{
	uint64_t n;

	if (str_to_u64(value, LAB_MAX_NODES, &n) < 0 || n < 1)
		return command_usage("up", "%s \"%s\" is not a number from 1 to %d", option, value, LAB_MAX_NODES);
	*ret = (unsigned)n;
	return 0;
}

static int take_file(const char *option, const char *value, char **ret)
{
	if (access(value, R_OK) < 0)
		return command_usage("up", "%s %s cannot be read: %s", option, value, strerror(errno));
	free(*ret);
	*ret = command_absolute(value);
	return 0;
}

static int take_store(int option, const char *value, struct cluster *c)
{
	switch (option) {
	case 'e':
		if (!str_eq(value, "embedded") && !str_eq(value, "etcd"))
			return command_usage("up", "--store \"%s\" is neither embedded nor etcd", value);
		set_text(&c->store, value);
		return 0;
	case 'E': set_text(&c->etcd_servers, value); return 0;
	case 'A': return take_file("--etcd-cafile", value, &c->etcd_cafile);
	case 'c': return take_file("--etcd-certfile", value, &c->etcd_certfile);
	case 'K': return take_file("--etcd-keyfile", value, &c->etcd_keyfile);
	default: set_text(&c->etcd_prefix, value); return 0;
	}
}

static int take(int option, const char *value, struct cluster *c)
{
	struct ip_ranges ranges;
	struct ip_addr a;

	switch (option) {
	case 'S':
	case 'C':
		if (ip_ranges_parse(value, &ranges, NULL) < 0)
			return command_usage("up", "\"%s\" is not a range such as 10.96.0.0/12, or one of each family with a comma", value);
		set_text(option == 'S' ? &c->service_cidr : &c->cluster_cidr, value);
		return 0;
	case 'd': set_text(&c->cluster_domain, value); return 0;
	case 'p':
		if (!str_eq(value, "auto") && !str_eq(value, "vxlan") && !str_eq(value, "direct") && !str_eq(value, "none"))
			return command_usage("up", "--pod-network \"%s\" is none of auto, vxlan, direct, none", value);
		set_text(&c->pod_network, value);
		return 0;
	case 'T':
		if (!*value || (ip_parse(value, &a) < 0 && strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != strlen(value)))
			return command_usage("up", "--tls-san \"%s\" is neither an address nor a host name", value);
		strlist_add(&c->tls_sans, value);
		return 0;
	case 'k': return take_number("--nodes", value, &c->lab_nodes);
	case 'm': return take_number("--segments", value, &c->lab_segments);
	case 'e':
	case 'E':
	case 'A':
	case 'c':
	case 'K':
	case 'P': return take_store(option, value, c);
	case '?': return command_usage("up", "wrong option");
	default: return command_node_option("up", option, value, c);
	}
}

/* With --nodes, --netns names the lab, whose nodes have namespaces and addresses of its own. */
static int parse_lab(struct cluster *c)
{
	if (!c->lab_nodes)
		return c->lab_segments ? command_usage("up", "--segments is for a lab: give --nodes too") : 0;
	if (c->node_ip || c->node_name || c->runtime_endpoint)
		return command_usage("up", "a lab's nodes have names, addresses and runtimes of their own: no --node-name, --node-ip or "
				     "--runtime-endpoint with --nodes");
	c->lab = c->netns ? TAKE(c->netns) : mem_strdup("keelson-lab");
	if (strlen(c->lab) > LAB_MAX_NAME)
		return command_usage("up", "--netns \"%s\": a lab's name has at most %d characters", c->lab, LAB_MAX_NAME);
	return 0;
}

/* The API server looks at the URLs themselves. */
static int parse_store(const struct cluster *c)
{
	bool etcd = str_eq(c->store, "etcd"), theirs = c->etcd_cafile || c->etcd_certfile || c->etcd_keyfile || c->etcd_prefix;

	if (c->etcd_servers && !etcd)
		return command_usage("up", "--etcd-servers goes with --store etcd");
	if (theirs && !c->etcd_servers)
		return command_usage("up", "the other --etcd options are for somebody else's etcd: give --etcd-servers too");
	if (!c->etcd_certfile != !c->etcd_keyfile)
		return command_usage("up", "--etcd-certfile and --etcd-keyfile go together");
	return 0;
}

static int parse(int argc, char **argv, struct cluster *c)
{
	c->state = mem_strdup(CLUSTER_DEFAULT_STATE);
	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		int r = take(o, optarg, c);

		if (r)
			return r;
	}
	if (optind < argc)
		return command_usage("up", "unexpected argument \"%s\"", argv[optind]);
	int r = parse_store(c);

	return r ? r : parse_lab(c);
}

/* What an existing cluster was set up with must not be changed by a later `up`. */
static int check_same(const struct cluster *asked, const struct cluster *is, struct err *err)
{
	const char *const pairs[][3] = {
		{ "--netns", asked->netns, is->netns },
		{ "--node-name", asked->node_name, is->node_name },
		{ "--node-ip", asked->node_ip, is->node_ip },
		{ "--node-ip", asked->node_ip2, is->node_ip2 },
		{ "--service-cidr", asked->service_cidr, is->service_cidr },
		{ "--cluster-cidr", asked->cluster_cidr, is->cluster_cidr },
		{ "--pod-network", asked->pod_network, is->pod_network },
		{ "--cluster-domain", asked->cluster_domain, is->cluster_domain },
		{ "--runtime-endpoint", asked->runtime_endpoint, is->runtime_endpoint },
		{ "--store", asked->store, is->store },
		{ "--etcd-servers", asked->etcd_servers, is->etcd_servers },
		{ "--etcd-cafile", asked->etcd_cafile, is->etcd_cafile },
		{ "--etcd-certfile", asked->etcd_certfile, is->etcd_certfile },
		{ "--etcd-keyfile", asked->etcd_keyfile, is->etcd_keyfile },
		{ "--etcd-prefix", asked->etcd_prefix, is->etcd_prefix },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (pairs[i][1] && !str_eq(pairs[i][1], pairs[i][2]))
			return err_set(err, EINVAL, "the cluster in %s has %s %s, not %s; remove it first: keelson down --purge",
				       is->state, pairs[i][0], pairs[i][2] ? pairs[i][2] : "(none)", pairs[i][1]);
	if (asked->node_grace_s && asked->node_grace_s != is->node_grace_s)
		return err_set(err, EINVAL, "the cluster in %s has another --node-grace-period; remove it first: keelson down --purge",
			       is->state);
	return 0;
}

/* Names that the API server's certificate has not: it is made anew with them, when the server is not running. */
static int add_names(const struct cluster *asked, struct cluster *is, bool running, struct err *err)
{
	for (size_t i = 0; i < asked->tls_sans.count; i++) {
		if (strlist_has(&is->tls_sans, asked->tls_sans.items[i]))
			continue;
		if (running)
			return err_set(err, EBUSY, "the API server runs with a certificate without the name %s; stop it first: keelson down, "
				       "then keelson up --tls-san %s", asked->tls_sans.items[i], asked->tls_sans.items[i]);
		strlist_add(&is->tls_sans, asked->tls_sans.items[i]);
	}
	return 0;
}

/* Makes an existing lab larger where more nodes are asked for. */
static int grow(const struct cluster *asked, struct cluster *is, struct err *err)
{
	if (!asked->lab)
		return 0;
	if (!is->lab)
		return err_set(err, EINVAL, "the cluster in %s is no lab; remove it first: keelson down --purge", is->state);
	if (!str_eq(asked->lab, "keelson-lab") && !str_eq(asked->lab, is->lab))
		return err_set(err, EINVAL, "the lab in %s has --netns %s, not %s; remove it first: keelson down --purge", is->state,
			       is->lab, asked->lab);
	if (asked->lab_segments && asked->lab_segments != is->lab_segments)
		return err_set(err, EINVAL, "the lab in %s has %u segments, not %u; remove it first: keelson down --purge", is->state,
			       is->lab_segments, asked->lab_segments);
	if (asked->lab_nodes < is->lab_nodes)
		return err_set(err, EINVAL, "the lab in %s has %u nodes already; it only grows (keelson node stop NAME cuts one's power)",
			       is->state, is->lab_nodes);
	if (asked->lab_nodes == is->lab_nodes)
		return 0;
	int r = lab_check_free(is, is->lab_nodes + 1, asked->lab_nodes, err);

	is->lab_nodes = asked->lab_nodes;
	return r < 0 ? r : cluster_save(is, err);
}

static int up_new(struct cluster *c)
{
	_cleanup_err_ struct err err = { 0 };

	c->bin_dir = command_bin_dir();
	c->encrypts = true;
	if (c->lab) {
		if (!c->lab_segments)
			c->lab_segments = 1;
		_cleanup_free_ char *ip = lab_node_ip(c, 1), *longest = lab_state(c, LAB_MAX_NODES);

		if (lab_check_free(c, 1, c->lab_nodes, &err) < 0 || cluster_check_state(longest, &err) < 0)
			return command_fail(&err);

		c->netns = lab_netns(c, 1);
		cluster_set_node_ip(c, ip);
	}
	return run_steps(c);
}

static int up_again(struct cluster *asked, struct cluster *is)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_strbuf_ struct strbuf text = { 0 };
	unsigned joined = 0;

	if (is->server)
		err_set(&err, EEXIST, "this machine is a node of the cluster of %s; keelson join starts it, keelson down --purge takes it "
			"away", is->server);
	bool running = is->complete && supervisor_ask(is->state, "status", &text, NULL) == 0;

	if (err.code || check_same(asked, is, &err) < 0 || add_names(asked, is, running, &err) < 0 || grow(asked, is, &err) < 0)
		return command_fail(&err);
	is->bin_dir = command_bin_dir();
	is->images = asked->images;
	asked->images = (struct strlist){ 0 };
	/* One that a failed `up` has left is gone on with. */
	if (!running)
		return run_steps(is);
	if (cluster_enter_netns(is, &err) < 0 || step_ready(is, NULL, &err) < 0 || (is->lab && lab_nodes_up(is, &joined, &err) < 0))
		return command_fail(&err);
	printf("the cluster is up: node %s (%s), ", is->node_name, is->node_ip);
	if (joined)
		printf("%u of %u nodes started\n", joined, is->lab_nodes);
	else
		puts("nothing changed");
	print_kubeconfig(is);
	return 0;
}

int command_up(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster asked = { 0 }, is = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_close_ int lock = -1;
	int r = parse(argc, argv, &asked);

	if (r)
		return r;
	if (command_take_state(&asked, &lock, &err) < 0)
		return command_fail(&err);
	r = cluster_load(asked.state, &is, &err);
	if (r < 0 && r != -ENOENT)
		return command_fail(&err);
	if (r == 0)
		return up_again(&asked, &is);
	r = up_new(&asked);
	(void)rmdir(asked.state); /* when it failed before it left anything */
	return r;
}
