// SPDX-License-Identifier: GPL-2.0-or-later
/* keelson-apiserver: options, the event loop, start and orderly end. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apiserver/audit/audit.h"
#include "apiserver/auth/authz.h"
#include "apiserver/auth/front_proxy.h"
#include "apiserver/auth/oidc.h"
#include "apiserver/auth/token.h"
#include "apiserver/http/handler.h"
#include "apiserver/http/serving.h"
#include "apiserver/http/tunnel.h"
#include "apiserver/metrics/measure.h"
#include "apiserver/openapi/openapi.h"
#include "apiserver/version.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "io/tls.h"

enum { UPKEEP_MS = 10000, UPKEEPS_A_MINUTE = 6, FREE_BYTES_KEPT = 8 << 20, CA_MAX_BYTES = 1 << 20,
	MAX_SA_PUBLIC = 16 };

struct options {
	const char *data_dir, *listen, *advertise_address, *tls_cert, *tls_key, *client_ca, *sa_key, *sa_public;
	const char *sa_publics[MAX_SA_PUBLIC + 1];
	size_t sa_public_count;
	const char *service_cidr, *node_port_range, *agent_client_cert, *agent_client_key, *agent_ca, *cluster_domain;
	const char *authorization_mode, *port_file, *cluster_cidr, *cluster_dns, *pod_network, *node_cidr_mask, *node_cidr_mask_ipv6;
	const char *anonymous_auth, *window_events, *window_bytes, *queue_bytes;
	const char *audit_policy, *audit_path, *audit_maxsize, *audit_maxbackup, *audit_maxage;
	struct oidc_options oidc;
	struct front_proxy_options front_proxy;
	const char *oidc_required;
	size_t oidc_required_count;
	struct etcd_options etcd;
	struct serving_texts serving;
	const char *encryption_config, *encryption_reload;
};

struct server {
	uv_loop_t loop;
	struct registry g;
	struct http_server *http;
	struct serving serving;
	struct drain *drain; /* the end has begun */
	uv_signal_t term, interrupt;
	uv_timer_t upkeep;
	unsigned upkeeps;
	struct options o;
	char *issuer, *cluster_dns;
	struct strbuf ca_pem;
	bool ending;
	int exit_code;
};
static struct server server;

static const char usage_text[] =
	"usage: keelson-apiserver (--data-dir DIR | --etcd-servers URL,...) --advertise-address IP --tls-cert F --tls-key F --client-ca F\n"
	"                         --sa-key F --sa-public F [options]\n"
	"\n"
	"  --sa-public F               may be given again, and F may hold several keys: tokens of any are accepted\n"
	"  --listen ADDRESS:PORT       default 0.0.0.0:6443; port 0 takes a free one\n"
	"  --port-file F               writes the port that was taken\n"
	"  --service-cidr CIDR[,CIDR]  default 10.96.0.0/12; one of each family for dual stack, the first is primary\n"
	"  --node-port-range A-B       default 30000-32767\n"
	"  --agent-client-cert F --agent-client-key F --agent-ca F\n"
	"                              how to reach the agents for logs, exec, attach, port-forward\n"
	"  --cluster-domain D          default cluster.local\n"
	"  --cluster-cidr CIDR[,CIDR] --cluster-dns IP[,IP] --pod-network MODE --node-cidr-mask N --node-cidr-mask-ipv6 N\n"
	"                              what joining nodes are told: the ranges of pods (none), the cluster DNS (the tenth\n"
	"                              service address), auto, vxlan, direct or none (auto), a node's parts (24, 64)\n"
	"  --authorization-mode M      RBAC or AlwaysAllow (everybody with valid credentials may do everything)\n"
	"  --anonymous-auth true|false requests without credentials are system:anonymous (true), or refused with 401\n"
	"  --audit-policy-file F --audit-log-path F|-\n"
	"                              what to note of which requests (audit.k8s.io/v1 Policy), and where\n"
	"  --audit-log-maxsize MB --audit-log-maxbackup N --audit-log-maxage DAYS\n"
	"                              a larger file (100) is renamed; how many renamed ones are kept, and how long (all)\n"
	"  --requestheader-client-ca-file F\n"
	"                              trust proxies with a certificate of this CA to name the user; also\n"
	"                              --requestheader-allowed-names (any), --requestheader-username-headers (X-Remote-User),\n"
	"                              --requestheader-uid-headers (X-Remote-Uid), --requestheader-group-headers\n"
	"                              (X-Remote-Group), --requestheader-extra-headers-prefix (X-Remote-Extra-)\n"
	"  --oidc-issuer-url URL --oidc-client-id ID\n"
	"                              accept the ID tokens of an OpenID Connect issuer; also --oidc-username-claim (sub),\n"
	"                              --oidc-username-prefix, --oidc-groups-claim, --oidc-groups-prefix, --oidc-ca-file,\n"
	"                              --oidc-required-claim CLAIM=VALUE (again and again), --oidc-signing-algs (RS256)\n"
	"  --encryption-provider-config F --encryption-provider-config-automatic-reload true|false\n"
	"                              how values are encrypted in the store (apiserver.config.k8s.io/v1 EncryptionConfiguration);\n"
	"                              whether changes of the file are taken while the server runs (false)\n"
	"  --etcd-servers https://IP:PORT,... --etcd-cafile F --etcd-certfile F --etcd-keyfile F --etcd-prefix /registry\n"
	"                              the store is this etcd, which other API servers may use at the same time;\n"
	"                              --etcd-compaction-interval 5m0s: how often they let it forget its history (0: never)\n"
	"  --watch-window-events N --watch-window-bytes N\n"
	"                              how many past changes watches and lists of a revision can reach back to (50000, 16 MiB)\n"
	"  --watch-queue-bytes N       a watcher that lets more wait unread is cut off (8 MiB)\n"
	"  --max-memory QUANTITY       of the whole process (three quarters of what there is); 0: no limit\n"
	"  --max-connections N --max-connections-per-client N\n"
	"                              in total (10000), and of one address (a quarter of that)\n"
	"  --max-requests-inflight N --max-mutating-requests-inflight N\n"
	"                              reading (400) and writing (200) requests in work; beyond: 429. 0: no limit\n"
	"  --request-timeout D         a client that takes longer to read a long list is cut off (1m0s)\n"
	"  --goaway-chance P           how often a request ends its HTTP/2 connection (0)\n"
	"  --shutdown-delay-duration D --shutdown-watch-termination-grace-period D --shutdown-grace-period D\n"
	"                              at the end: how long everything is served although /readyz fails (0s), over what time\n"
	"                              watches are ended (0s), and how long what is under way may take (5s)\n"
	"  --help, --version\n";

_noreturn_ static void usage(const char *why)
{
	fprintf(stderr, "keelson-apiserver: %s\n%s", why, usage_text);
	exit(2);
}

static void add_sa_public(struct options *o, const char *file)
{
	if (o->sa_public_count == MAX_SA_PUBLIC)
		usage("--sa-public may be given 16 times; a file may hold several keys");
	o->sa_publics[o->sa_public_count++] = file;
}

static void add_oidc_required(struct options *o, const char *claim)
{
	if (o->oidc_required_count == OIDC_MAX_REQUIRED)
		usage("--oidc-required-claim may be given 32 times");
	o->oidc.required[o->oidc_required_count++] = claim;
}

static void parse_options(int argc, char **argv, struct options *o)
{
	enum { FIRST = 256 };
	const struct {
		const char *name, **slot;
		bool required;
	} all[] = {
		{ "data-dir", &o->data_dir, false }, { "listen", &o->listen, false }, { "port-file", &o->port_file, false },
		{ "advertise-address", &o->advertise_address, true }, { "tls-cert", &o->tls_cert, true },
		{ "tls-key", &o->tls_key, true }, { "client-ca", &o->client_ca, true }, { "sa-key", &o->sa_key, true },
		{ "sa-public", &o->sa_public, true }, { "service-cidr", &o->service_cidr, false },
		{ "node-port-range", &o->node_port_range, false }, { "agent-client-cert", &o->agent_client_cert, false },
		{ "agent-client-key", &o->agent_client_key, false }, { "agent-ca", &o->agent_ca, false },
		{ "cluster-domain", &o->cluster_domain, false }, { "authorization-mode", &o->authorization_mode, false },
		{ "cluster-cidr", &o->cluster_cidr, false }, { "cluster-dns", &o->cluster_dns, false },
		{ "pod-network", &o->pod_network, false }, { "node-cidr-mask", &o->node_cidr_mask, false },
		{ "node-cidr-mask-ipv6", &o->node_cidr_mask_ipv6, false }, { "anonymous-auth", &o->anonymous_auth, false },
		{ "audit-policy-file", &o->audit_policy, false }, { "audit-log-path", &o->audit_path, false },
		{ "audit-log-maxsize", &o->audit_maxsize, false }, { "audit-log-maxbackup", &o->audit_maxbackup, false },
		{ "audit-log-maxage", &o->audit_maxage, false }, { "oidc-issuer-url", &o->oidc.issuer_url, false },
		{ "oidc-client-id", &o->oidc.client_id, false }, { "oidc-username-claim", &o->oidc.username_claim, false },
		{ "oidc-username-prefix", &o->oidc.username_prefix, false }, { "oidc-groups-claim", &o->oidc.groups_claim, false },
		{ "oidc-groups-prefix", &o->oidc.groups_prefix, false }, { "oidc-required-claim", &o->oidc_required, false },
		{ "oidc-ca-file", &o->oidc.ca_file, false }, { "oidc-signing-algs", &o->oidc.signing_algs, false },
		{ "max-memory", &o->serving.max_memory, false }, { "max-connections", &o->serving.max_connections, false },
		{ "max-connections-per-client", &o->serving.max_connections_per_client, false },
		{ "max-requests-inflight", &o->serving.max_requests, false },
		{ "max-mutating-requests-inflight", &o->serving.max_mutating_requests, false },
		{ "request-timeout", &o->serving.request_timeout, false },
		{ "goaway-chance", &o->serving.goaway_chance, false },
		{ "shutdown-delay-duration", &o->serving.shutdown_delay, false },
		{ "shutdown-watch-termination-grace-period", &o->serving.shutdown_watches, false },
		{ "shutdown-grace-period", &o->serving.shutdown_grace, false },
		{ "requestheader-client-ca-file", &o->front_proxy.client_ca_file, false },
		{ "requestheader-allowed-names", &o->front_proxy.allowed_names, false },
		{ "requestheader-username-headers", &o->front_proxy.username_headers, false },
		{ "requestheader-uid-headers", &o->front_proxy.uid_headers, false },
		{ "requestheader-group-headers", &o->front_proxy.group_headers, false },
		{ "requestheader-extra-headers-prefix", &o->front_proxy.extra_prefixes, false },
		{ "etcd-servers", &o->etcd.servers, false },
		{ "etcd-cafile", &o->etcd.ca_file, false }, { "etcd-certfile", &o->etcd.cert_file, false },
		{ "etcd-keyfile", &o->etcd.key_file, false }, { "etcd-prefix", &o->etcd.prefix, false },
		{ "encryption-provider-config", &o->encryption_config, false },
		{ "encryption-provider-config-automatic-reload", &o->encryption_reload, false },
		{ "etcd-compaction-interval", &o->etcd.compaction_interval, false },
		{ "watch-window-events", &o->window_events, false }, { "watch-window-bytes", &o->window_bytes, false },
		{ "watch-queue-bytes", &o->queue_bytes, false },
	};
	struct option longs[ARRAY_SIZE(all) + 3] = { { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'v' } };
	int c;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		longs[i + 2] = (struct option){ all[i].name, required_argument, NULL, FIRST + (int)i };
	*o = (struct options){ .listen = "0.0.0.0:6443", .service_cidr = "10.96.0.0/12", .node_port_range = "30000-32767",
		.cluster_domain = "cluster.local", .authorization_mode = "RBAC", .pod_network = "auto", .node_cidr_mask = "24",
		.node_cidr_mask_ipv6 = "64", .anonymous_auth = "true", .audit_maxsize = "100", .audit_maxbackup = "0", .audit_maxage = "0",
		.etcd.prefix = "/registry", .etcd.compaction_interval = "5m0s", .encryption_reload = "false",
		.window_events = "50000", .window_bytes = "16777216", .queue_bytes = "8388608" };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage_text, stdout);
			exit(0);
		} else if (c == 'v') {
			printf("keelson-apiserver (Kubernetes API %s)\n", VERSION_GIT);
			exit(0);
		} else if (c >= FIRST) {
			*all[c - FIRST].slot = optarg;
			if (all[c - FIRST].slot == &o->sa_public)
				add_sa_public(o, optarg);
			else if (all[c - FIRST].slot == &o->oidc_required)
				add_oidc_required(o, optarg);
		} else {
			fputs(usage_text, stderr);
			exit(2);
		}
	}
	if (optind < argc)
		usage("there is an argument that is no option");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].required && str_empty(*all[i].slot)) {
			char why[64];
			snprintf(why, sizeof(why), "--%s is missing", all[i].name);
			usage(why);
		}
}

static void check_store(const struct options *o)
{
	const char *prefix = o->etcd.prefix;
	if (!o->data_dir == !o->etcd.servers)
		usage("one of --data-dir and --etcd-servers says where the store is");
	if (!o->etcd.servers && (o->etcd.ca_file || o->etcd.cert_file || o->etcd.key_file))
		usage("the other --etcd options go with --etcd-servers");
	if (*prefix != '/' || !prefix[1] || prefix[strlen(prefix) - 1] == '/')
		usage("--etcd-prefix begins with a slash and does not end in one, such as /registry");
}

static void check_encryption(const struct options *o)
{
	if (!str_eq(o->encryption_reload, "true") && !str_eq(o->encryption_reload, "false"))
		usage("--encryption-provider-config-automatic-reload is true or false");
	if (!o->encryption_config && str_eq(o->encryption_reload, "true"))
		usage("--encryption-provider-config-automatic-reload goes with --encryption-provider-config");
}

static void service_ranges_from(const struct options *o, struct registry_options *r)
{
	if (ip_ranges_parse(o->service_cidr, &r->service_ranges, &r->service_primary) < 0)
		usage("--service-cidr is not a prefix such as 10.96.0.0/12, or one of each family with a comma");
	for (size_t i = 0; i < ARRAY_SIZE(r->service_ranges.v); i++) {
		const struct ip_prefix *p = &r->service_ranges.v[i];
		if (p->addr.family && (p->addr.family == AF_INET ? 32 : 128) - p->len < 4)
			usage("--service-cidr is too small: it needs at least 16 addresses");
	}
}

/* The tenth address of each service range, as `keelson up` has it. */
static char *dns_addresses(const struct registry_options *r)
{
	struct strbuf b = { 0 };
	for (unsigned i = 0; i < 2; i++) {
		struct ip_addr a = r->service_ranges.v[i ^ r->service_primary].addr;
		char text[IP_ADDR_TEXT_SIZE];
		if (a.family && ip_addr_add(&a, 10))
			strbuf_addf(&b, "%s%s", b.len ? "," : "", ip_format(&a, text));
	}
	return strbuf_take(&b);
}

static void joining_from(const struct options *o, struct registry_options *r)
{
	static const char *const modes[] = { "auto", "vxlan", "direct", "none" };
	struct ip_ranges ranges;
	uint64_t mask = 0, mask6 = 0;
	bool known = false;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		known |= str_eq(o->pod_network, modes[i]);
	if (!known)
		usage("--pod-network is auto, vxlan, direct or none");
	if (o->cluster_cidr && ip_ranges_parse(o->cluster_cidr, &ranges, NULL) < 0)
		usage("--cluster-cidr is not a prefix such as 10.244.0.0/16, or one of each family with a comma");
	if (str_to_u64(o->node_cidr_mask, 32, &mask) < 0 || str_to_u64(o->node_cidr_mask_ipv6, 128, &mask6) < 0)
		usage("--node-cidr-mask and --node-cidr-mask-ipv6 are prefix lengths");
	r->cluster_cidr = o->cluster_cidr;
	r->pod_network = o->pod_network;
	r->node_cidr_mask = (unsigned)mask;
	r->node_cidr_mask_ipv6 = (unsigned)mask6;
}

static void watch_limits_from(const struct options *o, struct watch_limits *l)
{
	uint64_t events, window, queue;
	if (str_to_u64(o->window_events, 100000000, &events) < 0 || str_to_u64(o->window_bytes, SIZE_MAX / 2, &window) < 0 ||
	    str_to_u64(o->queue_bytes, SIZE_MAX / 2, &queue) < 0 || !events || !window || !queue)
		usage("--watch-window-events, --watch-window-bytes and --watch-queue-bytes are numbers above 0");
	*l = (struct watch_limits){ .window_bytes = window, .window_events = events, .queued_bytes = queue };
}

static void registry_options_from(const struct options *o, struct registry_options *r)
{
	uint64_t min = 0, max = 0;
	struct ip_addr address;
	const char *dash = strchr(o->node_port_range, '-');
	_cleanup_free_ char *first = dash ? mem_strndup(o->node_port_range, (size_t)(dash - o->node_port_range)) : NULL;
	*r = (struct registry_options){ .advertise_address = o->advertise_address, .cluster_domain = o->cluster_domain };
	service_ranges_from(o, r);
	joining_from(o, r);
	watch_limits_from(o, &r->watch);
	r->no_anonymous = str_eq(o->anonymous_auth, "false");
	if (!r->no_anonymous && !str_eq(o->anonymous_auth, "true"))
		usage("--anonymous-auth is true or false");
	if (!first || str_to_u64(first, 65535, &min) < 0 || str_to_u64(dash + 1, 65535, &max) < 0 || min < 1 || max < min)
		usage("--node-port-range is not a range such as 30000-32767");
	if (ip_parse(o->advertise_address, &address) < 0)
		usage("--advertise-address is not an IP address");
	r->node_port_min = (uint16_t)min;
	r->node_port_max = (uint16_t)max;
}

static void audit_options_from(const struct options *o, struct audit_log_options *r)
{
	uint64_t size = 0, backups = 0, age = 0;
	if (!o->audit_policy != !o->audit_path)
		usage("--audit-policy-file and --audit-log-path need each other");
	if (str_to_u64(o->audit_maxsize, 1 << 20, &size) < 0 || str_to_u64(o->audit_maxbackup, 1 << 20, &backups) < 0 ||
	    str_to_u64(o->audit_maxage, 36500, &age) < 0)
		usage("--audit-log-maxsize, --audit-log-maxbackup and --audit-log-maxage are numbers (MB, files, days)");
	*r = (struct audit_log_options){ .path = o->audit_path, .max_bytes = size << 20, .max_backups = (unsigned)backups,
		.max_age_days = (unsigned)age };
}

/* The end */

static void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static void on_server_gone(void *user)
{
	struct server *s = user;
	s->http = s->g.http = NULL;
	uv_stop(&s->loop);
}

static void begin_end(struct server *s, int code, bool at_once)
{
	if (s->ending) {
		/* The store broke meanwhile: nothing more is served, and whoever waits for the end hears of it. */
		s->exit_code = code ? code : s->exit_code;
		s->g.stopping |= at_once;
		if (s->drain)
			drain_hurry(s->drain);
		return;
	}
	s->ending = true;
	s->exit_code = code;
	if (s->http) {
		s->drain = drain_begin(&s->g, s->http, &s->serving, at_once, on_server_gone, s);
		return;
	}
	s->g.stopping = true;
	uv_stop(&s->loop);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	log_info("ending on signal %d", signum);
	begin_end(handle->data, 0, false);
}

static void on_fatal(const char *why)
{
	(void)why;
	begin_end(&server, 1, true);
}

static void on_upkeep(uv_timer_t *t)
{
	struct server *s = t->data;
	if (s->ending)
		return;
	bootstrap_objects(&s->g);
	if (++s->upkeeps % UPKEEPS_A_MINUTE == 0) {
		events_expire_minute(&s->g);
		openapi_trim();
	}
	/* What one large request or document took is not kept for the next. */
	if (mallinfo2().fordblks > FREE_BYTES_KEPT)
		malloc_trim(0);
}

/* The start */

static int start_audit(struct server *s, struct err *err)
{
	struct audit_log_options options;
	audit_options_from(&s->o, &options);
	if (!s->o.audit_policy)
		return 0;
	struct audit_policy *policy = audit_policy_load(s->o.audit_policy, err);
	struct audit_log *log = policy ? audit_log_open(&s->loop, &options, err) : NULL;
	if (!log) {
		audit_policy_free(policy);
		return -1;
	}
	s->g.audit = audit_new(policy, log);
	return 0;
}

static int start_oidc(struct server *s, struct err *err)
{
	if (!s->o.oidc.issuer_url != !s->o.oidc.client_id)
		usage("--oidc-issuer-url and --oidc-client-id need each other");
	if (!s->o.oidc.issuer_url)
		return 0;
	s->g.oidc = oidc_new(&s->loop, &s->o.oidc, err);
	return s->g.oidc ? 0 : -1;
}

static int start_front_proxy(struct server *s, struct err *err)
{
	const struct front_proxy_options *o = &s->o.front_proxy;
	if (!o->client_ca_file && (o->allowed_names || o->username_headers || o->uid_headers || o->group_headers || o->extra_prefixes))
		usage("the other --requestheader options go with --requestheader-client-ca-file");
	if (!o->client_ca_file)
		return 0;
	s->g.front_proxy = front_proxy_new(o, err);
	return s->g.front_proxy ? 0 : -1;
}

static int accept_encryption(const struct encryption_config *next, struct err *err, void *user)
{
	return store_check_encryption(((struct server *)user)->g.store, next, err);
}

static void on_encryption_taken(void *user)
{
	store_encryption_taken(((struct server *)user)->g.store);
}

static int start_registry(struct server *s, struct err *err)
{
	struct registry_options r;
	int rc;
	registry_options_from(&s->o, &r);
	memcpy(r.max_inflight, s->serving.max_inflight, sizeof(r.max_inflight));
	r.goaway_chance = s->serving.goaway_chance;
	r.request_timeout_ms = s->serving.request_timeout_ms;
	r.etcd = s->o.etcd.servers ? &s->o.etcd : NULL;
	s->issuer = str_printf("https://kubernetes.default.svc.%s", s->o.cluster_domain);
	r.issuer = s->issuer;
	s->cluster_dns = s->o.cluster_dns ? mem_strdup(s->o.cluster_dns) : dns_addresses(&r);
	r.cluster_dns = s->cluster_dns;
	rc = file_read(s->o.client_ca, CA_MAX_BYTES, &s->ca_pem);
	if (rc < 0)
		return err_set(err, -rc, "read --client-ca %s: %s", s->o.client_ca, strerror(-rc));
	r.ca_pem = s->ca_pem.data;
	s->g.fatal = on_fatal;
	s->g.keys = token_keys_load(s->o.sa_key, s->o.sa_publics, err);
	if (!s->g.keys)
		return -1;
	s->g.authz = authorizer_new(str_eq(s->o.authorization_mode, "AlwaysAllow") ? AUTHZ_ALWAYS_ALLOW : AUTHZ_RBAC);
	if (s->o.agent_client_cert && s->o.agent_client_key && s->o.agent_ca) {
		s->g.tunnel = tunnel_config_new(s->o.agent_client_cert, s->o.agent_client_key, s->o.agent_ca, err);
		if (!s->g.tunnel)
			return -1;
	}
	if (s->o.encryption_config) {
		s->g.crypt = crypt_new(s->o.encryption_config, err);
		if (!s->g.crypt)
			return err_wrap(err, "--encryption-provider-config");
	}
	rc = registry_open(&s->g, &s->loop, s->o.data_dir, &r, err);
	if (!rc && str_eq(s->o.encryption_reload, "true"))
		crypt_watch(s->g.crypt, &s->loop, accept_encryption, on_encryption_taken, s);
	if (!rc)
		log_info("store opened %s=%s revision=%llu", r.etcd ? "etcd" : "dir", r.etcd ? r.etcd->servers : s->o.data_dir, (unsigned long long)store_revision(s->g.store));
	return rc;
}

static int write_port(const char *file, int port, struct err *err)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", port), rc = file_write_atomic(file, text, (size_t)len, 0644);
	return rc ? err_set(err, -rc, "write %s: %s", file, strerror(-rc)) : 0;
}

static int start_http(struct server *s, struct err *err)
{
	const struct http_server_options options = { .size = sizeof(options), .max_body_bytes = HANDLER_MAX_BODY,
		.on_refused = handler_refused, .max_memory_bytes = s->serving.max_memory_bytes,
		.max_connections = s->serving.max_connections, .max_connections_of_peer = s->serving.max_connections_of_client };
	SSL_CTX *tls = tls_server_new(s->o.tls_cert, s->o.tls_key, s->o.client_ca, err);
	int port = 0, rc;
	if (!tls)
		return -1;
	if (s->g.front_proxy)
		front_proxy_announce(s->g.front_proxy, tls);
	s->http = s->g.http = http_server_new(&s->loop, &options, handler_request, &s->g);
	rc = http_server_listen(s->http, s->o.listen, tls, &port, err);
	SSL_CTX_free(tls);
	if (rc)
		return rc;
	s->g.options.port = (unsigned)port;
	if (s->o.port_file)
		rc = write_port(s->o.port_file, port, err);
	if (!rc)
		log_info("listening address=%s port=%d", s->o.listen, port);
	return rc;
}

static void start_upkeep(struct server *s)
{
	uv_signal_init(&s->loop, &s->term);
	uv_signal_init(&s->loop, &s->interrupt);
	uv_timer_init(&s->loop, &s->upkeep);
	s->term.data = s->interrupt.data = s->upkeep.data = s;
	uv_signal_start(&s->term, on_signal, SIGTERM);
	uv_signal_start(&s->interrupt, on_signal, SIGINT);
	bootstrap_objects(&s->g);
	uv_timer_start(&s->upkeep, on_upkeep, UPKEEP_MS, UPKEEP_MS);
	s->g.ready = true;
}

static void finish(struct server *s)
{
	if (s->http) {
		http_server_shutdown(s->http, 0, on_server_gone, s);
		uv_run(&s->loop, UV_RUN_DEFAULT);
	}
	s->drain = drain_free(s->drain);
	s->g.oidc = oidc_free(s->g.oidc);
	s->g.front_proxy = front_proxy_free(s->g.front_proxy);
	if (s->g.store)
		registry_close(&s->g);
	s->g.crypt = crypt_free(s->g.crypt);
	s->g.audit = audit_free(s->g.audit);
	token_keys_free(s->g.keys);
	authorizer_free(s->g.authz);
	tunnel_config_free(s->g.tunnel);
	uv_walk(&s->loop, close_handle, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
	free(s->issuer);
	free(s->cluster_dns);
	strbuf_done(&s->ca_pem);
	measure_stop();
	metrics_reset();
}

/*
 * A request's values are thousands of small blocks that come and go together. glibc keeps seven of a size at hand and passes the rest
 * through its slow path, a sixth of a write's whole work; how many it keeps can be said only in the environment, before the program
 * starts. (AddressSanitizer brings its own allocator.)
 */
#define BLOCKS_AT_HAND "glibc.malloc.tcache_count=2000"
static void restart_with_tunables(char **argv)
{
#ifndef __SANITIZE_ADDRESS__
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0 || getenv("GLIBC_TUNABLES"))
		return;
	self[n] = '\0';
	if (setenv("GLIBC_TUNABLES", BLOCKS_AT_HAND, 0) == 0)
		execv(self, argv); /* when it fails, all works as well, only slower */
#else
	(void)argv;
#endif
}

int main(int argc, char **argv)
{
	struct server *s = &server;
	_cleanup_err_ struct err err = { 0 };
	restart_with_tunables(argv);
	parse_options(argc, argv, &s->o);
	if (!str_eq(s->o.authorization_mode, "AlwaysAllow") && !str_eq(s->o.authorization_mode, "RBAC"))
		usage("--authorization-mode is RBAC or AlwaysAllow");
	check_store(&s->o);
	if (serving_parse(&s->o.serving, &s->serving, &err) < 0)
		usage(err_msg(&err));
	serving_raise_limits(&s->serving);
	check_encryption(&s->o);
	log_init("apiserver");
	signal(SIGPIPE, SIG_IGN);
	umask(0077); /* Secrets are in the store */
	/* One thread commits, another compresses; large buffers go back to the kernel at once. */
	setenv("UV_THREADPOOL_SIZE", "2", 0);
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MMAP_THRESHOLD, 256 * 1024);
	uv_loop_init(&s->loop);
	if (start_audit(s, &err) != 0 || start_oidc(s, &err) != 0 || start_front_proxy(s, &err) != 0 || start_registry(s, &err) != 0 ||
	    start_http(s, &err) != 0) {
		log_error("%s", err_msg(&err));
		s->exit_code = 1;
		finish(s);
		return 1;
	}
	start_upkeep(s);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	finish(s);
	return s->exit_code;
}
