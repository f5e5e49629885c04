/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson-proxy: the node's service networking daemon. Objects flow from a source into the model; at the end of each
 * turn of the loop what changed goes to the engine in one commit. Nothing is flushed before the source has said
 * everything that is there, so a restarted daemon never takes away what an earlier one gave.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "io/http_server.h"
#include "proxy/dns/server.h"
#include "proxy/engine/engine.h"
#include "proxy/health/health.h"
#include "proxy/node/cluster.h"
#include "proxy/node/node.h"
#include "proxy/options.h"
#include "proxy/podnet/podnet.h"
#include "proxy/programming.h"
#include "proxy/source/source.h"
#include "proxy/trace/trace.h"

enum { AGAIN_MS = 1000, REFUSED_AGAIN_MS = 5000, BURST_PORTS = 1000 };

struct proxy {
	uv_loop_t loop;
	struct options o;
	struct model *model;
	struct cluster *cluster;
	struct podnet *podnet;
	struct engine *engine;
	struct node_watch *node;
	struct source_kube *kube;
	struct source_files *files;
	struct zone zone;
	struct dns_server *dns;
	struct http_server *http;
	struct health *health;
	struct programming programming;
	uv_check_t check;
	uv_idle_t awake; /* keeps the loop from sleeping while something is to be flushed */
	uv_timer_t again; /* after the kernel refused something */
	uv_signal_t signals[2];
	bool waiting; /* for a flush */
	struct map *refused; /* "ns/name" of Services that the kernel's maps had no room for */
	size_t refused_ports, newly_refused; /* in the flush under way */
	bool source_synced, ready;
	bool filtered; /* what the node forwards */
	int exit_code;
};

static void on_idle(uv_idle_t *i)
{
	(void)i;
}

static void pending(struct proxy *p)
{
	p->waiting = true;
	health_pending(p->health);
	if (p->source_synced)
		uv_idle_start(&p->awake, on_idle);
}

static void on_object(enum source_kind kind, const json_t *object, void *user)
{
	struct proxy *p = user;
	_cleanup_err_ struct err err = { 0 };
	int r;
	if (kind == SOURCE_NODE) {
		r = cluster_node_set(p->cluster, object, &err);
	} else {
		pending(p);
		programming_arrived(&p->programming);
		r = kind == SOURCE_SERVICE ? model_service_set(p->model, object, &err) : model_slice_set(p->model, object, &err);
	}
	if (r < 0) {
		log_warn("object in part not used why=%s", err_msg(&err));
		metrics_counter_add("keelson_proxy_bad_objects_total", "Objects with parts that could not be used.", NULL, 1);
	}
}

static void on_gone(enum source_kind kind, const char *ns, const char *name, void *user)
{
	struct proxy *p = user;
	if (kind == SOURCE_NODE) {
		cluster_node_del(p->cluster, name);
		return;
	}
	pending(p);
	programming_arrived(&p->programming);
	if (kind == SOURCE_SERVICE)
		model_service_del(p->model, ns, name);
	else
		model_slice_del(p->model, ns, name);
}

static void on_node_changed(const struct cluster_node *n, void *user)
{
	struct proxy *p = user;
	if (!n->own)
		return;
	health_eligible_set(p->health, !n->leaving);
	pending(p);
	model_set_zone(p->model, n->zone);
}

static void on_node_gone(const struct cluster_node *n, void *user)
{
	struct proxy *p = user;
	if (!n->own)
		return;
	health_eligible_set(p->health, false);
	pending(p);
	model_set_zone(p->model, NULL);
}

static void on_complaint(const char *what, void *user)
{
	(void)user;
	log_warn("manifests: %s", what);
	metrics_counter_add("keelson_proxy_bad_files_total", "Complaints about manifest files.", NULL, 1);
}

static void on_source_synced(void *user)
{
	struct proxy *p = user;
	p->source_synced = true;
	cluster_set_synced(p->cluster);
	pending(p);
}

static void on_port(const struct model_port *port, void *user)
{
	struct proxy *p = user;
	_cleanup_err_ struct err err = { 0 };
	int r = p->engine->ops->port_set(p->engine, port, &err);
	if (r >= 0 && !map_count(p->refused))
		return;
	_cleanup_free_ char *key = str_printf("%s/%s", port->ns, port->service);
	if (r >= 0) {
		map_del(p->refused, key);
		return;
	}
	p->refused_ports++;
	if (map_has(p->refused, key))
		return;
	map_set(p->refused, key, p);
	/* Full maps refuse thousands at once: the first says why, flush() how many more. */
	if (p->newly_refused++ == 0)
		log_error("programming failed why=%s", err_msg(&err));
}

static void on_port_gone(uint32_t id, void *user)
{
	struct proxy *p = user;
	p->engine->ops->port_gone(p->engine, id);
}

static void on_health(const char *ns, const char *service, uint16_t port, uint32_t ready_here, void *user)
{
	struct proxy *p = user;
	health_service_set(p->health, ns, service, port, ready_here);
}

static void on_health_complaint(const char *what, void *user)
{
	(void)user;
	log_warn("%s", what);
	metrics_counter_add("keelson_proxy_health_port_errors_total", "Health check ports that could not be opened.", NULL, 1);
}

/* What there was no room for may have some now. */
static void on_again(uv_timer_t *t)
{
	struct proxy *p = t->data;
	const char *key;
	size_t it = 0;
	while (map_next(p->refused, &it, &key, NULL)) {
		_cleanup_free_ char *copy = mem_strdup(key), *ns = mem_strdup(key);
		char *slash = strchr(ns, '/');
		*slash = 0;
		if (!model_again(p->model, ns, slash + 1))
			map_del(p->refused, copy);
	}
	pending(p);
}

static void flush(struct proxy *p)
{
	const struct model_sink sink = { on_port, on_port_gone, on_health, p };
	_cleanup_err_ struct err err = { 0 };
	int64_t began = clock_mono_ns();
	p->refused_ports = p->newly_refused = 0;
	p->waiting = false;
	size_t n = model_flush(p->model, &sink);
	if (p->newly_refused > 1)
		log_error("programming failed for %zu more Services", p->newly_refused - 1);
	int r = p->engine->ops->commit(p->engine, &err);
	if (r < 0)
		log_error("programming failed why=%s", err_msg(&err));
	int64_t end = clock_mono_ns();
	bool first = !p->ready;
	if (first) {
		if (p->engine->ops->synced(p->engine, &err) < 0) {
			log_error("%s", err_msg(&err));
			p->exit_code = 1;
			uv_stop(&p->loop);
			return;
		}
		p->ready = true;
		log_info("ready services=%zu endpoints=%zu ports=%zu took_us=%lld", model_service_count(p->model),
			 model_endpoint_count(p->model), n, (long long)(end - began) / 1000);
	} else if (n) {
		log_debug("programmed ports=%zu took_us=%lld", n, (long long)(end - began) / 1000);
	}
	programming_flushed(&p->programming, p->model, n > 0);
	/* A full map harms only what does not fit in it, so the rest of the node stays in service. */
	if (r >= 0 || r == -E2BIG)
		health_programmed(p->health);
	else
		uv_timer_start(&p->again, on_again, AGAIN_MS, 0);
	if (map_count(p->refused) && n > p->refused_ports && !uv_is_active((uv_handle_t *)&p->again))
		uv_timer_start(&p->again, on_again, REFUSED_AGAIN_MS, 0);
	metrics_gauge_set("keelson_proxy_services_refused", "Services that the kernel's maps have no room for.", NULL,
			  (double)map_count(p->refused));
	/* What a burst was read from is not needed any more; nor is, later, what single changes leave. */
	if (first || n > BURST_PORTS) {
		malloc_trim(0);
		mallopt(M_TRIM_THRESHOLD, 128 * 1024);
	}
}

/* Once a turn, after timers, files and sockets: what came together is programmed together. */
static void on_check(uv_check_t *c)
{
	struct proxy *p = c->data;
	uv_idle_stop(&p->awake);
	if (p->waiting && p->source_synced)
		flush(p);
}

static void on_node(const struct engine_node *node, void *user)
{
	struct proxy *p = user;
	_cleanup_err_ struct err err = { 0 };
	if (p->engine->ops->node_set(p->engine, node, &err) < 0)
		log_warn("%s", err_msg(&err));
	if (node->filtered_by && !p->filtered)
		log_info("packets from outside take this node's stack to its pods, because they are filtered there by=%s", node->filtered_by);
	else if (!node->filtered_by && p->filtered)
		log_info("packets from outside pass this node's stack by to its pods: nobody filters them any more");
	p->filtered = node->filtered_by != NULL;
	health_addresses_set(p->health, node->addrs, node->addr_count, p->o.node_port_primary || p->o.node_port_address_count);
}

static void respond(struct http_request *req, int status, const char *type, const char *body, size_t len)
{
	const struct http_field f = { "Content-Type", type };
	http_respond(req, status, &f, 1, body, len);
}

static void on_http(struct http_request *req, void *user)
{
	struct proxy *p = user;
	const char *path = http_path(req), *text = "text/plain; charset=utf-8";
	if (!str_eq(http_method(req), "GET") && !str_eq(http_method(req), "HEAD")) {
		respond(req, 405, text, "method not allowed\n", 19);
	} else if (str_eq(path, "/healthz") || str_eq(path, "/livez")) {
		respond(req, 200, text, "ok", 2);
	} else if (str_eq(path, "/readyz")) {
		respond(req, p->ready ? 200 : 503, text, p->ready ? "ok" : "not all Services are known yet\n", p->ready ? 2 : 31);
	} else if (str_eq(path, "/proxyMode")) {
		respond(req, 200, text, "ebpf", 4);
	} else if (str_eq(path, "/debug/services")) {
		_cleanup_strbuf_ struct strbuf b = { 0 };
		p->engine->ops->services(p->engine, &b);
		respond(req, 200, "application/json", b.data, b.len);
	} else if (str_eq(path, "/metrics")) {
		_cleanup_strbuf_ struct strbuf b = { 0 };
		metrics_write(&b);
		p->engine->ops->metrics(p->engine, &b);
		if (p->dns)
			dns_server_metrics(p->dns, &b);
		respond(req, 200, "text/plain; version=0.0.4; charset=utf-8", b.data, b.len);
	} else {
		respond(req, 404, text, "not found\n", 10);
	}
}

static void on_signal(uv_signal_t *s, int number)
{
	(void)number;
	uv_stop(s->loop);
}

static struct ip_prefix host_prefix(const struct ip_addr *a)
{
	return (struct ip_prefix){ .addr = *a, .len = a->family == AF_INET6 ? 128 : 32 };
}

static int cleanup(struct options *o, struct err *err)
{
	int r = engine_ebpf_cleanup(o->pin_dir, err);
	for (int i = 0; i < 2; i++) {
		struct ip_prefix dns = host_prefix(&o->cluster_dns[i]);
		if ((dns.addr.family && net_address_del("lo", &dns, err) < 0) ||
		    (o->service_cidr.v[i].addr.family && net_blackhole_del(&o->service_cidr.v[i], err) < 0) ||
		    (o->cluster_cidr.v[i].addr.family && net_blackhole_del(&o->cluster_cidr.v[i], err) < 0))
			r = -EIO;
	}
	return podnet_cleanup(err) < 0 ? -EIO : r;
}

static int start_dns(struct proxy *p, struct err *err)
{
	struct options *o = &p->o;
	if (zone_init(&p->zone, p->model, o->cluster_domain) < 0)
		return err_set(err, EINVAL, "--cluster-domain \"%s\" is not a domain name", o->cluster_domain);
	for (int i = 0; i < 2; i++) {
		if (o->service_cidr.v[i].addr.family)
			zone_add_range(&p->zone, &o->service_cidr.v[i]);
		if (o->cluster_cidr.v[i].addr.family)
			zone_add_range(&p->zone, &o->cluster_cidr.v[i]);
	}
	if (!o->cluster_dns[0].family && !o->cluster_dns[1].family)
		return 0;
	p->dns = dns_server_new(&p->loop, &p->zone);
	for (size_t i = 0; i < o->upstreams.count; i++)
		if (dns_server_add_upstream(p->dns, o->upstreams.items[i], err) < 0)
			return -EINVAL;
	if (!o->upstreams.count && !dns_server_add_resolv_conf(p->dns, "/etc/resolv.conf", o->cluster_dns))
		log_warn("no DNS upstream: names outside %s get SERVFAIL", o->cluster_domain);
	for (int i = 0; i < 2; i++) {
		struct ip_prefix own = host_prefix(&o->cluster_dns[i]);
		if (own.addr.family && (net_address_add("lo", &own, err) < 0 || dns_server_listen(p->dns, &own.addr, 53, NULL, err) < 0))
			return -EIO;
	}
	return 0;
}

static int start(struct proxy *p, struct err *err)
{
	struct options *o = &p->o;
	/* First of all: a packet for an address nobody owns must not leave towards the default gateway. */
	for (int i = 0; i < 2; i++)
		if ((o->service_cidr.v[i].addr.family && net_blackhole_add(&o->service_cidr.v[i], err) < 0) ||
		    (o->cluster_cidr.v[i].addr.family && net_blackhole_add(&o->cluster_cidr.v[i], err) < 0))
			return -EIO;
	p->http = http_server_new(&p->loop, NULL, on_http, p);
	if (http_server_listen(p->http, o->listen, NULL, NULL, err) < 0)
		return -EIO;
	const struct health_options ho = { .size = sizeof(ho), .listen = o->healthz_listen, .complain = on_health_complaint, .user = p };
	p->health = health_new(&p->loop, &ho);
	const struct model_options mo = {
		.size = sizeof(mo), .node_name = o->node_name, .cluster_dns = { o->cluster_dns[0], o->cluster_dns[1] },
		.node_ips = { o->node_ip[0], o->node_ip[1] },
	};
	p->model = model_new(&mo);
	const struct cluster_listener nodes = { .changed = on_node_changed, .gone = on_node_gone, .user = p };
	p->cluster = cluster_new(o->node_name);
	cluster_listen(p->cluster, &nodes);
	const struct podnet_options po = {
		.size = sizeof(po), .mode = podnet_mode_of(o->pod_network), .service_cidr = o->service_cidr, .cluster_cidr = o->cluster_cidr,
	};
	p->podnet = podnet_new(&p->loop, p->cluster, &po, err);
	if (!p->podnet)
		return -EIO;
	const struct engine_options eo = {
		.size = sizeof(eo), .cgroup = o->cgroup, .pin_dir = o->pin_dir, .service_cidr = o->service_cidr,
		.cluster_cidr = o->cluster_cidr,
		.node_port_min = o->node_port_min, .node_port_max = o->node_port_max,
		.max_services = o->max_services, .max_endpoints = o->max_endpoints, .max_flows = o->max_flows,
		.no_xdp = o->no_xdp,
	};
	p->engine = engine_ebpf_new(&eo, err);
	if (!p->engine)
		return -EIO;
	if (start_dns(p, err) < 0)
		return -EIO;
	const struct node_options no = {
		.size = sizeof(no), .cluster = p->cluster, .cluster_cidr = o->cluster_cidr,
		.cluster_dns = { o->cluster_dns[0], o->cluster_dns[1] }, .node_ip = { o->node_ip[0], o->node_ip[1] },
		.snat_address = { o->snat_address[0], o->snat_address[1] }, .snat_port_min = o->snat_port_min,
		.snat_port_max = o->snat_port_max, .node_port_addresses = o->node_port_addresses,
		.node_port_address_count = o->node_port_address_count, .node_port_primary = o->node_port_primary,
		.no_fast_path = o->no_fast_path,
	};
	p->node = node_watch_new(&p->loop, &no, on_node, p, err);
	if (!p->node)
		return -EIO;
	const struct source_sink sink = { on_object, on_gone, on_source_synced, on_complaint, p };
	if (o->kubeconfig)
		p->kube = source_kube_new(&p->loop, o->kubeconfig, &sink, err);
	else
		p->files = source_files_new(&p->loop, o->manifests, &sink, err);
	return p->kube || p->files ? 0 : -EIO;
}

static void close_handle(uv_handle_t *h, void *user)
{
	(void)user;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

/* The kernel goes on as it is: only the daemon's side ends. */
static void stop(struct proxy *p)
{
	source_files_free(p->files);
	source_kube_free(p->kube);
	node_watch_free(p->node);
	podnet_free(p->podnet);
	dns_server_free(p->dns);
	health_free(p->health);
	programming_done(&p->programming);
	if (p->http)
		http_server_shutdown(p->http, 100, NULL, NULL);
	uv_close((uv_handle_t *)&p->check, NULL);
	uv_close((uv_handle_t *)&p->awake, NULL);
	uv_close((uv_handle_t *)&p->again, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(p->signals); i++)
		uv_close((uv_handle_t *)&p->signals[i], NULL);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_walk(&p->loop, close_handle, NULL);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_loop_close(&p->loop);
	if (p->engine)
		p->engine->ops->free(p->engine);
	model_free(p->model);
	map_free(p->refused);
	cluster_free(p->cluster);
	metrics_reset();
}

int main(int argc, char **argv)
{
	static const int numbers[] = { SIGTERM, SIGINT };
	static struct proxy proxy;
	struct proxy *p = &proxy;
	_cleanup_err_ struct err err = { 0 };
	if (argc > 1 && str_eq(argv[1], "trace"))
		return trace_main(argc - 1, argv + 1);
	int r = options_parse(&p->o, argc, argv);
	if (r != 0) {
		options_done(&p->o);
		return r < 0 ? 2 : 0;
	}
	log_init("proxy");
	if (p->o.cleanup) {
		r = cleanup(&p->o, &err);
		if (r < 0)
			log_error("%s", err_msg(&err));
		options_done(&p->o);
		return r < 0 ? 1 : 0;
	}
	signal(SIGPIPE, SIG_IGN);
	/* Idle memory is what is left behind by bursts: one arena, given back by flush() after the first and later ones. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	uv_loop_init(&p->loop);
	uv_idle_init(&p->loop, &p->awake);
	p->refused = map_new(NULL);
	uv_timer_init(&p->loop, &p->again);
	p->again.data = p;
	uv_check_init(&p->loop, &p->check);
	p->check.data = p;
	uv_check_start(&p->check, on_check);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		uv_signal_init(&p->loop, &p->signals[i]);
		uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	if (start(p, &err) < 0) {
		log_error("%s", err_msg(&err));
		p->exit_code = 1;
	} else {
		uv_run(&p->loop, UV_RUN_DEFAULT);
	}
	stop(p);
	options_done(&p->o);
	return p->exit_code;
}
