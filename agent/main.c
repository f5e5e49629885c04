/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keelson-agent: the node agent. Reads its options, connects the parts and runs the loop until it is told to end; the
 * pods run on without it. */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#include "agent/agent.h"
#include "agent/cleanup.h"
#include "agent/node.h"
#include "agent/pods.h"
#include "agent/server.h"
#include "agent/sources.h"
#include "agent/volume/tokens.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/net.h"

#ifndef KEELSON_VERSION
#define KEELSON_VERSION "0.1"
#endif

enum { LEASE_MAX_S = 3600 };

static const struct option_row {
	const char *name, *argument, *help;
	size_t offset;
	const char *fallback; /* NULL: required */
} rows[] = {
#define ROW(name, field, argument, fallback, help) { name, argument, help, offsetof(struct agent_options, field), fallback }
	ROW("kubeconfig", kubeconfig, "FILE", NULL, "how to reach the API server"),
	ROW("state", state, "DIR", "/var/lib/keelson", "the node's state directory"),
	ROW("node-name", node_name, "NAME", NULL, "the name of this node"),
	ROW("node-ip", node_ip, "IP[,IP]", NULL, "the address other nodes know this one by; one of each family with a comma"),
	ROW("runtime-endpoint", runtime_endpoint, "unix://PATH", "unix:///run/containerd/containerd.sock", "containerd's socket"),
	ROW("cgroup-root", cgroup_root, "/PATH", "/keelson-node", "the cgroup below which pods live"),
	ROW("cluster-dns", cluster_dns, "IP[,IP]", "10.96.0.10", "the name servers of pods"),
	ROW("cluster-domain", cluster_domain, "DOMAIN", "cluster.local", "the domain of the cluster's Services"),
	ROW("tls-cert", tls_cert, "FILE", NULL, "certificate of the agent's server"),
	ROW("tls-key", tls_key, "FILE", NULL, "its key"),
	ROW("client-ca", client_ca, "FILE", NULL, "the CA that the server's clients are signed by"),
	ROW("listen", listen, "IP:PORT", NULL, "address of the agent's server"),
	ROW("health-listen", health_listen, "IP:PORT", "127.0.0.1:10248", "address for health and metrics, plain HTTP"),
	ROW("pause-image", pause_image, "IMAGE", "keelson.local/pause:1", "image of pod sandboxes (the runtime's setting counts)"),
	ROW("cluster-cidr", cluster_cidr, "CIDR", "10.244.0.0/16", "the range of all pods"),
	ROW("service-cidr", service_cidr, "CIDR", "10.96.0.0/12", "the range of Services"),
	ROW("node-lease-duration", node_lease_duration, "SECONDS", "40", "of the node's Lease; it is renewed four times as often"),
};

static void usage(FILE *to)
{
	fputs("Usage: keelson-agent OPTIONS\nRuns the pods that are bound to this node.\n\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fprintf(to, "  --%s %s\n        %s", rows[i].name, rows[i].argument, rows[i].help);
		fprintf(to, rows[i].fallback ? " (default %s)\n" : "\n", rows[i].fallback);
	}
	fputs("  --cleanup\n        remove every pod from the runtime and exit\n  --help\n  --version\n", to);
}

static const char **option_at(struct agent_options *o, size_t i)
{
	return (const char **)(void *)((char *)o + rows[i].offset);
}

/* One address, or one of each family with a comma. */
static bool are_ips(const char *text)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	struct ip_addr ips[2];

	strlist_split(&parts, text, ',');
	if (parts.count < 1 || parts.count > 2)
		return false;
	for (size_t i = 0; i < parts.count; i++)
		if (ip_parse(parts.items[i], &ips[i]) < 0)
			return false;
	return parts.count == 1 || ips[0].family != ips[1].family;
}

static int parse_lease(struct agent *a)
{
	uint64_t seconds;

	if (str_to_u64(a->o.node_lease_duration, LEASE_MAX_S, &seconds) < 0 || seconds == 0) {
		fprintf(stderr, "keelson-agent: --node-lease-duration is a number of seconds from 1 to %d\n", LEASE_MAX_S);
		return 3;
	}
	a->lease_s = (unsigned)seconds;
	return 0;
}

/* 0: go on; otherwise the exit status plus one. */
static int parse(int argc, char **argv, struct agent_options *o, bool *ret_cleanup)
{
	struct option options[ARRAY_SIZE(rows) + 4] = { 0 };
	int c;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		options[i] = (struct option){ rows[i].name, required_argument, NULL, (int)(256 + i) };
		*option_at(o, i) = rows[i].fallback;
	}
	options[ARRAY_SIZE(rows)] = (struct option){ "help", no_argument, NULL, 'h' };
	options[ARRAY_SIZE(rows) + 1] = (struct option){ "version", no_argument, NULL, 'v' };
	options[ARRAY_SIZE(rows) + 2] = (struct option){ "cleanup", no_argument, NULL, 'c' };
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return 1;
		}
		if (c == 'v') {
			puts("keelson-agent " KEELSON_VERSION);
			return 1;
		}
		if (c == 'c') {
			*ret_cleanup = true;
			continue;
		}
		if (c < 256)
			return 3;
		*option_at(o, (size_t)c - 256) = optarg;
	}
	if (optind < argc) {
		fprintf(stderr, "keelson-agent: unexpected argument \"%s\"\n", argv[optind]);
		return 3;
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (str_empty(*option_at(o, i))) {
			fprintf(stderr, "keelson-agent: --%s is required\n", rows[i].name);
			return 3;
		}
	if (!are_ips(o->node_ip) || !are_ips(o->cluster_dns) || *o->cgroup_root != '/' || *o->state != '/') {
		fputs("keelson-agent: --node-ip and --cluster-dns are an IP address, or one of each family with a comma; "
		      "--cgroup-root and --state absolute paths\n",
		      stderr);
		return 3;
	}
	return 0;
}

static void on_signal(uv_signal_t *s, int number)
{
	log_info("ending after %s; the pods run on", strsignal(number));
	uv_stop(s->loop);
}

static int agent_start(struct agent *a, struct kubeconfig *config, struct err *err)
{
	struct informer_options services = { .size = sizeof(services), .api_version = "v1", .plural = "services" };
	struct informer_options classes = { .size = sizeof(classes), .api_version = "node.k8s.io/v1", .plural = "runtimeclasses" };
	_cleanup_free_ char *dir = str_printf("%s/agent/pods", a->o.state);
	int r;

	r = file_mkdir_p(dir, 0750);
	if (r < 0)
		return err_set(err, -r, "make directory %s: %s", dir, strerror(-r));
	r = kubeconfig_load(a->o.kubeconfig, config, err);
	if (r < 0)
		return r;
	a->kube = kube_client_new(&a->loop, config, "keelson-agent/" KEELSON_VERSION, err);
	if (!a->kube)
		return -err->code;
	a->cri = cri_new(&a->loop, a->o.runtime_endpoint);
	a->services = informer_new(a->kube, &services);
	informer_start(a->services);
	a->runtime_classes = informer_new(a->kube, &classes);
	informer_start(a->runtime_classes);
	a->node = node_new(a);
	a->pods = pods_new(a);
	a->server = server_new(a, err);
	return a->server ? 0 : -err->code;
}

static void agent_stop(struct agent *a)
{
	server_free(a->server);
	cri_free(a->cri);
	pods_free(a->pods);
	node_free(a->node);
	sources_free(a->sources);
	tokens_free(a->tokens);
	informer_free(a->services);
	informer_free(a->runtime_classes);
	http_client_free(a->probe_http);
	kube_client_free(a->kube);
}

int main(int argc, char **argv)
{
	struct agent agent = { 0 };
	struct kubeconfig config = { 0 };
	_cleanup_err_ struct err err = { 0 };
	uv_signal_t term, interrupt;
	bool cleanup = false;
	int r = parse(argc, argv, &agent.o, &cleanup);

	if (!r)
		r = parse_lease(&agent);
	if (r)
		return r - 1;
	strlist_split(&agent.node_ips, agent.o.node_ip, ',');
	log_init("agent");
	signal(SIGPIPE, SIG_IGN);
	if (cleanup) {
		r = cleanup_run(agent.o.runtime_endpoint, &err);
		if (r < 0)
			log_error("%s", err_msg(&err));
		strlist_done(&agent.node_ips);
		return r < 0;
	}
	/* One arena: the loop's thread does nearly all the work, the pool's threads little. */
	mallopt(M_ARENA_MAX, 1);
	BUG_ON(uv_loop_init(&agent.loop) < 0);
	if (agent_start(&agent, &config, &err) < 0) {
		log_error("%s", err_msg(&err));
		return 1;
	}
	uv_signal_init(&agent.loop, &term);
	uv_signal_init(&agent.loop, &interrupt);
	uv_signal_start(&term, on_signal, SIGTERM);
	uv_signal_start(&interrupt, on_signal, SIGINT);
	log_info("running as node %s (%s)", agent.o.node_name, agent.o.node_ip);
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&term, NULL);
	uv_close((uv_handle_t *)&interrupt, NULL);
	agent_stop(&agent);
	kubeconfig_done(&config);
	strlist_done(&agent.node_ips);
	/* Close callbacks; what the API client still has to say is not waited for long. */
	for (int i = 0; i < 100 && uv_loop_close(&agent.loop) == UV_EBUSY; i++)
		uv_run(&agent.loop, UV_RUN_NOWAIT);
	return 0;
}
