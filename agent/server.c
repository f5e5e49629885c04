/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's server. Every path is a row of a table with what a client needs for it; a client is known by its
 * certificate alone. Streams (exec, attach, port-forward) are handed to tunnel.c, logs to server_logs.c.
 */
#include "agent/server.h"

#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "agent/cgroup.h"
#include "agent/node.h"
#include "agent/pods.h"
#include "agent/resources.h"
#include "agent/server_parts.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "io/http_server.h"
#include "io/tls.h"

#define API_CLIENT "kube-apiserver-kubelet-client"
#define ADMINS "system:masters"

struct server {
	struct agent *agent;
	struct http_server *https, *health;
	SSL_CTX *tls;
	uv_timer_t *certificate_timer;
	struct timespec certificate_time; /* of the file in use */
	ino_t certificate_inode;
};
enum { CERTIFICATE_CHECK_MS = 5000 };

void server_text(struct http_request *req, int status, const char *text)
{
	struct http_field f = { "Content-Type", "text/plain; charset=utf-8" };

	http_respond(req, status, &f, 1, text, strlen(text));
}

static void respond_json(struct http_request *req, json_t *v)
{
	struct http_field f = { "Content-Type", "application/json" };
	_cleanup_strbuf_ struct strbuf out = { 0 };

	json_write(&out, v);
	json_decref(v);
	http_respond(req, 200, &f, 1, out.data, out.len);
}

/* Who asks */

static bool name_has(X509 *cert, int nid, const char *value)
{
	X509_NAME *name = X509_get_subject_name(cert);

	for (int at = -1; (at = X509_NAME_get_index_by_NID(name, nid, at)) >= 0;) {
		unsigned char *text = NULL;
		int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
		bool same = len >= 0 && (size_t)len == strlen(value) && memcmp(text, value, (size_t)len) == 0;

		OPENSSL_free(text);
		if (same)
			return true;
	}
	return false;
}

/* 0: allowed; 401: nobody we know; 403: somebody who may not. */
static int check_client(struct http_request *req)
{
	X509 *cert = http_peer_cert(req);

	if (!cert || http_peer_verify_result(req) != X509_V_OK)
		return 401;
	return name_has(cert, NID_commonName, API_CLIENT) || name_has(cert, NID_organizationName, ADMINS) ? 0 : 403;
}

/* Metrics */

static void on_healthz(struct server *s, struct http_request *req, struct strlist *path)
{
	(void)s, (void)path;
	server_text(req, 200, "ok");
}

static void on_pods(struct server *s, struct http_request *req, struct strlist *path)
{
	(void)path;
	respond_json(req, pods_list(s->agent->pods));
}

static void on_metrics(struct server *s, struct http_request *req, struct strlist *path)
{
	struct http_field f = { "Content-Type", "text/plain; version=0.0.4; charset=utf-8" };
	_cleanup_strbuf_ struct strbuf out = { 0 };
	struct pod *p;
	size_t it = 0, running = 0, containers = 0;

	(void)path;
	while ((p = pods_next(s->agent->pods, &it))) {
		running += pod_sandbox(p) != NULL;
		for (size_t i = 0; p->seen && i < p->seen->container_count; i++)
			containers += p->seen->containers[i].state == PLAN_RUNNING;
	}
	metrics_gauge_set("kubelet_running_pods", "Number of pods that have a running pod sandbox", NULL, (double)running);
	metrics_gauge_set("kubelet_running_containers", "Number of containers currently running",
			  "container_state=\"running\"", (double)containers);
	metrics_gauge_set("kubelet_node_name", "The node's name. The count is always 1.", NULL, 1);
	metrics_write(&out);
	http_respond(req, 200, &f, 1, out.data, out.len);
}

struct usage_of {
	const struct pod *pod;
	const struct observed_container *container; /* NULL: the pod */
	struct cgroup_usage usage;
};

/* Use of every running container and of every pod, by their cgroups. */
static size_t collect_usage(struct server *s, struct usage_of **ret)
{
	struct usage_of *list = NULL;
	struct pod *p;
	size_t it = 0, count = 0, cap = 0;

	while ((p = pods_next(s->agent->pods, &it))) {
		_cleanup_free_ char *dir =
			p->object ? cgroup_pod_path(s->agent->o.cgroup_root, resources_qos(p->object), p->uid) : NULL;

		if (!dir || !p->seen || !pod_sandbox(p))
			continue;
		MEM_GROW(list, cap, count + p->seen->container_count + 1);
		for (size_t i = 0; i < p->seen->container_count; i++) {
			const struct observed_container *c = &p->seen->containers[i];
			_cleanup_free_ char *path = str_printf("%s/%s", dir, c->id);

			if (c->state == PLAN_RUNNING && cgroup_usage(path, &list[count].usage) == 0) {
				list[count].pod = p;
				list[count++].container = c;
			}
		}
		if (cgroup_usage(dir, &list[count].usage) == 0) {
			list[count].pod = p;
			list[count++].container = NULL;
		}
	}
	*ret = list;
	return count;
}

static void write_usage(struct strbuf *out, const struct usage_of *u, const char *name, const char *what, bool cpu)
{
	if (u->container)
		strbuf_addf(out, "container_%s{container=\"%s\",namespace=\"%s\",pod=\"%s\"} ", name, u->container->name,
			    u->pod->ns, u->pod->name);
	else
		strbuf_addf(out, "pod_%s{namespace=\"%s\",pod=\"%s\"} ", name, u->pod->ns, u->pod->name);
	(void)what;
	if (cpu)
		strbuf_addf(out, "%.9f\n", (double)u->usage.cpu_ns / 1e9);
	else
		strbuf_addf(out, "%llu\n", (unsigned long long)u->usage.working_set_bytes);
}

static void node_usage(uint64_t *ret_cpu_ns, uint64_t *ret_memory)
{
	struct cgroup_usage u = { 0 };

	if (cgroup_usage("", &u) < 0)
		memset(&u, 0, sizeof(u));
	*ret_cpu_ns = u.cpu_ns;
	*ret_memory = u.working_set_bytes;
}

static void on_resource_metrics(struct server *s, struct http_request *req, struct strlist *path)
{
	struct http_field f = { "Content-Type", "text/plain; version=0.0.4; charset=utf-8" };
	_cleanup_strbuf_ struct strbuf out = { 0 };
	_cleanup_free_ struct usage_of *list = NULL;
	size_t count = collect_usage(s, &list);
	uint64_t cpu, memory;
	static const struct {
		const char *metric, *type, *help;
		bool cpu, container;
	} families[] = {
		{ "cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in core-seconds", true, true },
		{ "memory_working_set_bytes", "gauge", "Current working set in bytes", false, true },
		{ "cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in core-seconds", true, false },
		{ "memory_working_set_bytes", "gauge", "Current working set in bytes", false, false },
	};

	(void)path;
	node_usage(&cpu, &memory);
	strbuf_addf(&out, "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total %.9f\n", (double)cpu / 1e9);
	strbuf_addf(&out, "# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes %llu\n",
		    (unsigned long long)memory);
	for (size_t k = 0; k < ARRAY_SIZE(families); k++) {
		const char *prefix = families[k].container ? "container" : "pod";

		strbuf_addf(&out, "# HELP %s_%s %s\n# TYPE %s_%s %s\n", prefix, families[k].metric, families[k].help, prefix,
			    families[k].metric, families[k].type);
		for (size_t i = 0; i < count; i++)
			if (!!list[i].container == families[k].container)
				write_usage(&out, &list[i], families[k].metric, prefix, families[k].cpu);
	}
	strbuf_adds(&out, "# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n");
	http_respond(req, 200, &f, 1, out.data, out.len);
}

static json_t *usage_json(const struct cgroup_usage *u, const char *now)
{
	return json_pack("{s:{s:s,s:I},s:{s:s,s:I,s:I}}", "cpu", "time", now, "usageCoreNanoSeconds", (json_int_t)u->cpu_ns,
			 "memory", "time", now, "usageBytes", (json_int_t)u->memory_bytes, "workingSetBytes",
			 (json_int_t)u->working_set_bytes);
}

static void on_summary(struct server *s, struct http_request *req, struct strlist *path)
{
	_cleanup_free_ struct usage_of *list = NULL;
	size_t count = collect_usage(s, &list);
	json_t *pods = json_array(), *containers = json_array(), *node;
	struct cgroup_usage u = { 0 };
	char now[CLOCK_RFC3339_SIZE];

	(void)path;
	clock_format_rfc3339(clock_wall_s(), now);
	for (size_t i = 0; i < count; i++) {
		json_t *o = usage_json(&list[i].usage, now);

		if (list[i].container) {
			json_object_set_new(o, "name", json_string(list[i].container->name));
			json_array_append_new(containers, o);
			continue;
		}
		/* A pod stands behind its containers. */
		json_object_set_new(o, "podRef", json_pack("{s:s,s:s,s:s}", "name", list[i].pod->name, "namespace",
							   list[i].pod->ns, "uid", list[i].pod->uid));
		json_object_set_new(o, "containers", containers);
		containers = json_array();
		json_array_append_new(pods, o);
	}
	json_decref(containers);
	(void)cgroup_usage("", &u);
	node = usage_json(&u, now);
	json_object_set_new(node, "nodeName", json_string(s->agent->o.node_name));
	respond_json(req, json_pack("{s:o,s:o}", "node", node, "pods", pods));
}

/* Paths */

static void on_logs(struct server *s, struct http_request *req, struct strlist *path)
{
	server_logs(s->agent, req, path);
}

static void on_stream(struct server *s, struct http_request *req, struct strlist *path)
{
	tunnel_request(s->agent, req, path);
}

static const struct route {
	const char *path; /* the whole path, or its first part when it ends in '/' */
	void (*handle)(struct server *s, struct http_request *req, struct strlist *path);
	bool open;   /* for everybody */
	bool health; /* on the health listener too */
} routes[] = {
	{ "/healthz", on_healthz, true, true },
	{ "/livez", on_healthz, true, true },
	{ "/readyz", on_healthz, true, true },
	{ "/metrics", on_metrics, false, true },
	{ "/metrics/resource", on_resource_metrics, false, false },
	{ "/stats/summary", on_summary, false, false },
	{ "/pods", on_pods, false, false },
	{ "/containerLogs/", on_logs, false, false },
	{ "/exec/", on_stream, false, false },
	{ "/attach/", on_stream, false, false },
	{ "/portForward/", on_stream, false, false },
};

static const struct route *find_route(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (str_ends(routes[i].path, "/") ? str_starts(path, routes[i].path) : str_eq(path, routes[i].path))
			return &routes[i];
	return NULL;
}

/* The parts of a path, unescaped. False when an escape is broken. */
static bool split_path(const char *path, struct strlist *out)
{
	struct strlist raw = { 0 };
	bool good = true;

	strlist_split(&raw, path, '/');
	for (size_t i = 0; i < raw.count; i++) {
		struct strbuf part = { 0 };

		good = good && url_decode(&part, raw.items[i], strlen(raw.items[i]), false) == 0;
		strlist_take(out, strbuf_take(&part));
	}
	strlist_done(&raw);
	return good;
}

static void dispatch(struct server *s, struct http_request *req, bool health)
{
	const struct route *r = find_route(http_path(req));
	_cleanup_strlist_ struct strlist path = { 0 };
	int refused;

	if (!r || (health && !r->health)) {
		server_text(req, 404, "404 page not found\n");
		return;
	}
	refused = r->open || health ? 0 : check_client(req);
	if (refused) {
		server_text(req, refused, refused == 401 ? "Unauthorized\n" : "Forbidden\n");
		return;
	}
	if (!split_path(http_path(req), &path)) {
		server_text(req, 400, "the path has a broken escape\n");
		return;
	}
	r->handle(s, req, &path);
}

static void on_request(struct http_request *req, void *user)
{
	dispatch(user, req, false);
}

static void on_health_request(struct http_request *req, void *user)
{
	dispatch(user, req, true);
}

/* The certificate */

/* Has the file changed since the last time? */
static bool certificate_changed(struct server *s)
{
	struct stat st;
	bool changed;

	if (stat(s->agent->o.tls_cert, &st) < 0)
		return false;
	changed = st.st_ino != s->certificate_inode || st.st_mtim.tv_sec != s->certificate_time.tv_sec ||
		  st.st_mtim.tv_nsec != s->certificate_time.tv_nsec;
	s->certificate_inode = st.st_ino;
	s->certificate_time = st.st_mtim;
	return changed;
}

/* A renewed certificate is used for new connections; the key is written before it. */
static void on_certificate_timer(uv_timer_t *t)
{
	struct server *s = t->data;
	_cleanup_err_ struct err err = { 0 };

	if (!certificate_changed(s))
		return;
	if (tls_server_reload(s->tls, s->agent->o.tls_cert, s->agent->o.tls_key, &err) < 0)
		log_error("the renewed certificate is not used: %s", err_msg(&err));
	else
		log_info("the certificate of the server was renewed");
}

static void certificate_timer_closed(uv_handle_t *h)
{
	free(h);
}

static void watch_certificate(struct server *s)
{
	(void)certificate_changed(s);
	s->certificate_timer = mem_new(uv_timer_t);
	BUG_ON(uv_timer_init(&s->agent->loop, s->certificate_timer) < 0);
	s->certificate_timer->data = s;
	uv_timer_start(s->certificate_timer, on_certificate_timer, CERTIFICATE_CHECK_MS, CERTIFICATE_CHECK_MS);
}

struct server *server_new(struct agent *a, struct err *err)
{
	struct server *s = mem_new(struct server);
	struct http_server_options o = { .size = sizeof(o), .max_connections = 1000 };

	s->agent = a;
	s->tls = tls_server_new(a->o.tls_cert, a->o.tls_key, a->o.client_ca, err);
	s->https = http_server_new(&a->loop, &o, on_request, s);
	s->health = http_server_new(&a->loop, &o, on_health_request, s);
	if (!s->tls || http_server_listen(s->https, a->o.listen, s->tls, NULL, err) < 0 ||
	    http_server_listen(s->health, a->o.health_listen, NULL, NULL, err) < 0) {
		server_free(s);
		return NULL;
	}
	watch_certificate(s);
	return s;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	if (s->certificate_timer)
		uv_close((uv_handle_t *)s->certificate_timer, certificate_timer_closed);
	http_server_shutdown(s->https, 0, NULL, NULL);
	http_server_shutdown(s->health, 0, NULL, NULL);
	SSL_CTX_free(s->tls);
	free(s);
}
