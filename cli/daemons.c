/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines of the daemons, as docs/architecture.md gives them, and containerd's configuration. */
#include "cli/daemons.h"

#include "base/mem.h"

static const struct daemon_info table[DAEMON_MAX] = {
	[DAEMON_CONTAINERD] = { "containerd", DAEMON_MAX, "unix", false },
	[DAEMON_ETCD] = { "etcd", DAEMON_MAX, "http://127.0.0.1:2381/health", true },
	[DAEMON_APISERVER] = { "apiserver", DAEMON_ETCD, "https://127.0.0.1:6443/readyz", false },
	[DAEMON_SCHEDULER] = { "scheduler", DAEMON_APISERVER, "http://127.0.0.1:10259/healthz", false },
	[DAEMON_CONTROLLERS] = { "controllers", DAEMON_APISERVER, "http://127.0.0.1:10257/healthz", false },
	[DAEMON_PROXY] = { "proxy", DAEMON_APISERVER, "http://127.0.0.1:10249/healthz", false },
	[DAEMON_AGENT] = { "agent", DAEMON_APISERVER, "http://127.0.0.1:10248/healthz", false },
};

const struct daemon_info *daemon_info(enum daemon_id id)
{
	BUG_ON(id >= DAEMON_MAX);
	return &table[id];
}

bool daemon_wanted(const struct cluster *c, enum daemon_id id)
{
	switch (id) {
	case DAEMON_CONTAINERD:
		return !c->runtime_endpoint;
	case DAEMON_ETCD:
		return cluster_runs_etcd(c);
	case DAEMON_APISERVER:
	case DAEMON_SCHEDULER:
	case DAEMON_CONTROLLERS:
		return !c->server;
	default:
		return true;
	}
}

char *containerd_socket(const struct cluster *c)
{
	const char *path = c->runtime_endpoint ? str_after(c->runtime_endpoint, "unix://") : NULL;

	return path ? mem_strdup(path) : cluster_path(c, "containerd/containerd.sock");
}

/* One option of a command line: flag and a value made of a printf format. */
static void option(struct strlist *argv, const char *flag, const char *fmt, ...) _printf_(3, 4);
static void option(struct strlist *argv, const char *flag, const char *fmt, ...)
{
	struct strbuf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	strlist_add(argv, flag);
	strlist_take(argv, strbuf_take(&b));
}

/* "A" or "A,B": the node's addresses. */
static void option_node_ip(const struct cluster *c, struct strlist *argv)
{
	option(argv, "--node-ip", "%s%s%s", c->node_ip, c->node_ip2 ? "," : "", c->node_ip2 ? c->node_ip2 : "");
}

/* One member, for this machine only: whoever speaks to it has a certificate of etcd's own CA. */
static void etcd_argv(const struct cluster *c, struct strlist *a)
{
	strlist_add(a, "etcd");
	option(a, "--name", "keelson");
	option(a, "--data-dir", "%s/etcd", c->state);
	option(a, "--listen-client-urls", "https://127.0.0.1:2379");
	option(a, "--advertise-client-urls", "https://127.0.0.1:2379");
	option(a, "--listen-peer-urls", "https://127.0.0.1:2380");
	option(a, "--initial-advertise-peer-urls", "https://127.0.0.1:2380");
	option(a, "--initial-cluster", "keelson=https://127.0.0.1:2380");
	option(a, "--listen-metrics-urls", "http://127.0.0.1:2381");
	for (int peer = 0; peer < 2; peer++) {
		const char *of = peer ? "peer-" : "";

		strlist_addf(a, "--%sclient-cert-auth", of);
		strlist_addf(a, "--%strusted-ca-file=%s/pki/etcd-ca.crt", of, c->state);
		strlist_addf(a, "--%scert-file=%s/pki/etcd.crt", of, c->state);
		strlist_addf(a, "--%skey-file=%s/pki/etcd.key", of, c->state);
	}
	/* etcd keeps so many entries of its log in memory. */
	option(a, "--snapshot-count", "10000");
	option(a, "--logger", "zap");
	option(a, "--log-outputs", "stderr");
	option(a, "--log-level", "warn");
}

static void store_argv(const struct cluster *c, struct strlist *a)
{
	if (!str_eq(c->store, "etcd")) {
		option(a, "--data-dir", "%s/store", c->state);
		return;
	}
	if (!c->etcd_servers) {
		option(a, "--etcd-servers", "https://127.0.0.1:2379");
		option(a, "--etcd-cafile", "%s/pki/etcd-ca.crt", c->state);
		option(a, "--etcd-certfile", "%s/pki/apiserver-etcd-client.crt", c->state);
		option(a, "--etcd-keyfile", "%s/pki/apiserver-etcd-client.key", c->state);
		return;
	}
	option(a, "--etcd-servers", "%s", c->etcd_servers);
	if (c->etcd_cafile)
		option(a, "--etcd-cafile", "%s", c->etcd_cafile);
	if (c->etcd_certfile)
		option(a, "--etcd-certfile", "%s", c->etcd_certfile);
	if (c->etcd_keyfile)
		option(a, "--etcd-keyfile", "%s", c->etcd_keyfile);
	if (c->etcd_prefix)
		option(a, "--etcd-prefix", "%s", c->etcd_prefix);
}

static void apiserver_argv(const struct cluster *c, struct strlist *a)
{
	store_argv(c, a);
	if (c->encrypts) {
		option(a, "--encryption-provider-config", "%s/pki/encryption.yaml", c->state);
		option(a, "--encryption-provider-config-automatic-reload", "true");
	}
	/* Of both families where the node has both. */
	option(a, "--listen", c->node_ip2 || strchr(c->node_ip, ':') ? "[::]:6443" : "0.0.0.0:6443");
	option(a, "--advertise-address", "%s", c->node_ip);
	option(a, "--tls-cert", "%s/pki/apiserver.crt", c->state);
	option(a, "--tls-key", "%s/pki/apiserver.key", c->state);
	option(a, "--client-ca", "%s/pki/ca.crt", c->state);
	option(a, "--sa-key", "%s/pki/sa.key", c->state);
	option(a, "--sa-public", "%s/pki/sa.pub", c->state);
	option(a, "--service-cidr", "%s", c->service_cidr);
	option(a, "--cluster-cidr", "%s", c->cluster_cidr);
	option(a, "--pod-network", "%s", c->pod_network);
	option(a, "--node-port-range", "30000-32767");
	option(a, "--agent-client-cert", "%s/pki/apiserver-agent-client.crt", c->state);
	option(a, "--agent-client-key", "%s/pki/apiserver-agent-client.key", c->state);
	option(a, "--agent-ca", "%s/pki/ca.crt", c->state);
	option(a, "--cluster-domain", "%s", c->cluster_domain);
}

static void agent_argv(const struct cluster *c, struct strlist *a)
{
	_cleanup_free_ char *sock = containerd_socket(c), *listen = cluster_host_port(c->node_ip, 10250);

	option(a, "--kubeconfig", "%s/pki/agent.kubeconfig", c->state);
	option(a, "--state", "%s", c->state);
	option(a, "--node-name", "%s", c->node_name);
	option_node_ip(c, a);
	option(a, "--runtime-endpoint", "unix://%s", sock);
	option(a, "--cgroup-root", "/keelson-%s", c->id);
	option(a, "--cluster-dns", "%s", c->cluster_dns);
	option(a, "--cluster-domain", "%s", c->cluster_domain);
	option(a, "--cluster-cidr", "%s", c->cluster_cidr);
	option(a, "--service-cidr", "%s", c->service_cidr);
	option(a, "--tls-cert", "%s/pki/agent-server.crt", c->state);
	option(a, "--tls-key", "%s/pki/agent-server.key", c->state);
	option(a, "--client-ca", "%s/pki/ca.crt", c->state);
	option(a, "--listen", "%s", listen);
	option(a, "--health-listen", "127.0.0.1:10248");
	option(a, "--pause-image", "keelson.local/pause:1");
	/* The Lease is renewed four times as often as it would end. */
	if (c->node_grace_s)
		option(a, "--node-lease-duration", "%u", c->node_grace_s);
}

static void proxy_argv(const struct cluster *c, struct strlist *a)
{
	_cleanup_free_ char *subtree = cluster_cgroup(c, NULL);

	/* A node that has joined has one identity, its own. */
	option(a, "--kubeconfig", "%s/pki/%s.kubeconfig", c->state, c->server ? "agent" : "proxy");
	option(a, "--node-name", "%s", c->node_name);
	option_node_ip(c, a);
	/* On the host the whole machine is the node; in a namespace only the node's own processes and pods are. */
	option(a, "--cgroup", "%s", c->netns ? subtree : c->cgroup2);
	option(a, "--pin-dir", "%s/bpf/%s", c->state, c->id);
	option(a, "--service-cidr", "%s", c->service_cidr);
	option(a, "--cluster-cidr", "%s", c->cluster_cidr);
	option(a, "--cluster-dns", "%s", c->cluster_dns);
	option(a, "--cluster-domain", "%s", c->cluster_domain);
	option(a, "--pod-network", "%s", c->pod_network);
	option(a, "--listen", "127.0.0.1:10249");
	option(a, "--node-port-range", "30000-32767");
}

static void controllers_argv(const struct cluster *c, struct strlist *a)
{
	option(a, "--kubeconfig", "%s/pki/controllers.kubeconfig", c->state);
	option(a, "--root-ca", "%s/pki/ca.crt", c->state);
	option(a, "--cluster-signing-cert", "%s/pki/ca.crt", c->state);
	option(a, "--cluster-signing-key", "%s/pki/ca.key", c->state);
	option(a, "--cluster-cidr", "%s", c->cluster_cidr);
	option(a, "--service-cidr", "%s", c->service_cidr);
	option(a, "--listen", "127.0.0.1:10257");
	if (c->node_grace_s)
		option(a, "--node-monitor-grace-period", "%us", c->node_grace_s);
}

void daemon_argv(const struct cluster *c, enum daemon_id id, bool cleanup, struct strlist *a)
{
	if (id == DAEMON_CONTAINERD) {
		strlist_add(a, "containerd");
		option(a, "--config", "%s/containerd/config.toml", c->state);
		return;
	}
	if (id == DAEMON_ETCD) {
		etcd_argv(c, a);
		return;
	}
	strlist_addf(a, "%s/keelson-%s", c->bin_dir, daemon_info(id)->name);
	switch (id) {
	case DAEMON_APISERVER:
		apiserver_argv(c, a);
		break;
	case DAEMON_SCHEDULER:
		option(a, "--kubeconfig", "%s/pki/scheduler.kubeconfig", c->state);
		option(a, "--listen", "127.0.0.1:10259");
		break;
	case DAEMON_CONTROLLERS:
		controllers_argv(c, a);
		break;
	case DAEMON_PROXY:
		proxy_argv(c, a);
		break;
	default:
		agent_argv(c, a);
	}
	if (cleanup)
		strlist_add(a, "--cleanup");
}

void containerd_config(const struct cluster *c, struct strbuf *out)
{
	_cleanup_free_ char *d = cluster_path(c, "containerd");

	strbuf_addf(out,
		    "# Written by keelson up; changes are lost.\n"
		    "version = 2\nroot = \"%s/root\"\nstate = \"%s/state\"\noom_score = 0\n"
		    "disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\", "
		    "\"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\", "
		    "\"io.containerd.internal.v1.tracing\", \"io.containerd.tracing.processor.v1.otlp\"]\n"
		    "[grpc]\n  address = \"%s/containerd.sock\"\n[ttrpc]\n  address = \"%s/containerd.sock.ttrpc\"\n"
		    "[plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"%s/opt\"\n",
		    d, d, d, d, d);
	strbuf_addf(out,
		    "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
		    "  sandbox_image = \"keelson.local/pause:1\"\n"
		    "  disable_apparmor = true\n  enable_selinux = false\n  disable_tcp_service = true\n"
		    "  restrict_oom_score_adj = true\n"
		    "  stream_server_address = \"127.0.0.1\"\n  stream_server_port = \"0\"\n"
		    "  netns_mounts_under_state_dir = true\n"
		    "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"%s/cni/bin\"\n    conf_dir = \"%s/cni/conf\"\n"
		    "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n    default_runtime_name = \"runc\"\n"
		    "    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
		    "      runtime_type = \"io.containerd.runc.v2\"\n"
		    "      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n"
		    "        BinaryName = \"runc\"\n        SystemdCgroup = false\n",
		    c->state, c->state);
}
