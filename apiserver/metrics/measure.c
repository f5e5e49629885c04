// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Series of the API server. Those of requests are found by a number made of everything that tells them apart, in an open hash table:
 * counting a request costs one probe and two additions.
 */
#include "apiserver/metrics/measure.h"

#include <stdio.h>
#include <string.h>

#include "apiserver/metrics/measure_internal.h"
#include "apiserver/registry/registry.h"
#include "base/clock.h"
#include "base/metrics.h"

static const double latency_buckets[] = { 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30,
	45, 60 };
static const double size_buckets[] = { 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9 };
static const double event_buckets[] = { 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072 };
static const double certificate_buckets[] = { 0, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000,
	31104000 };
static const double authentication_buckets[] = { 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048,
	4.096, 8.192, 16.384 };
static const double admission_buckets[] = { 0.005, 0.025, 0.1, 0.5, 1, 2.5 };

/* ---- requests */

enum verb_label { LABEL_GET, LABEL_LIST, LABEL_WATCH, LABEL_POST, LABEL_PUT, LABEL_PATCH, LABEL_APPLY, LABEL_DELETE, LABEL_DELETECOLLECTION,
	LABEL_CONNECT, LABEL_OTHER };
static const char *const verb_names[] = { "GET", "LIST", "WATCH", "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION", "CONNECT",
	"other" };
static const char *const scope_names[] = { "", "cluster", "namespace", "resource" };
/* Paths that are told apart; all others are counted together. */
static const char *const path_names[] = { "", "/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz",
	"/version" };

struct request_series {
	uint64_t key; /* 0: free */
	struct metric *total, *duration, *sizes;
};
static struct request_series *table;
static size_t table_size, table_used;

static enum verb_label verb_of(const struct call *c)
{
	static const enum verb_label of_api[API_VERB_MAX] = { LABEL_GET, LABEL_LIST, LABEL_WATCH, LABEL_POST, LABEL_PUT, LABEL_PATCH, LABEL_DELETE,
		LABEL_DELETECOLLECTION };
	static const char *const connects[] = { "attach", "exec", "portforward", "proxy" };
	if (!c->u.is_resource)
		return str_eq(c->method, "GET") ? LABEL_GET : str_eq(c->method, "POST") ? LABEL_POST : LABEL_OTHER;
	if (!c->r)
		return LABEL_OTHER;
	for (size_t i = 0; c->sub && i < ARRAY_SIZE(connects); i++)
		if (str_eq(c->sub->name, connects[i]))
			return LABEL_CONNECT;
	if (c->u.verb == API_PATCH && str_starts(c->content_type, "application/apply-patch+"))
		return LABEL_APPLY;
	return of_api[c->u.verb];
}

static unsigned scope_of(const struct call *c)
{
	if (!c->u.is_resource || !c->r)
		return 0;
	return *c->u.name || c->u.verb == API_CREATE ? 3 : *c->u.ns ? 2 : 1;
}

static unsigned path_of(const struct call *c)
{
	for (unsigned i = 1; i < ARRAY_SIZE(path_names) && !c->u.is_resource; i++) {
		size_t len = strlen(path_names[i]);
		if (c->u.path && strncmp(c->u.path, path_names[i], len) == 0 && (!c->u.path[len] || c->u.path[len] == '/'))
			return i;
	}
	return 0;
}

/* All of a request's labels but the code, in upstream's order (by name). */
static void request_labels(const struct call *c, bool dry_run, struct strbuf *out)
{
	const struct schema_resource *r = c->r;
	metrics_label(out, "component", c->u.is_resource ? "apiserver" : "");
	if (dry_run)
		metrics_label(out, "dry_run", c->dry_run ? "All" : "");
	metrics_label(out, "group", r ? r->group : "");
	metrics_label(out, "resource", r ? r->plural : "");
	metrics_label(out, "scope", scope_names[scope_of(c)]);
	metrics_label(out, "subresource", c->sub ? c->sub->name : path_names[path_of(c)]);
	metrics_label(out, "verb", verb_names[verb_of(c)]);
	metrics_label(out, "version", r ? r->version : "");
}

static void request_series_make(struct request_series *s, const struct call *c, int code)
{
	_cleanup_strbuf_ struct strbuf labels = { 0 }, counted = { 0 }, sized = { 0 };
	enum verb_label verb = verb_of(c);
	request_labels(c, true, &labels);
	strbuf_addf(&counted, "code=\"%d\",%s", code, labels.data);
	s->total = metrics_counter("apiserver_request_total",
				   "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, "
				   "scope, component, and HTTP response code.", counted.data);
	s->duration = metrics_histogram("apiserver_request_duration_seconds",
					"[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, "
					"resource, subresource, scope and component.", labels.data, latency_buckets,
					ARRAY_SIZE(latency_buckets));
	if (verb != LABEL_GET && verb != LABEL_LIST)
		return;
	request_labels(c, false, &sized);
	s->sizes = metrics_histogram("apiserver_response_sizes",
				     "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope "
				     "and component.", sized.data, size_buckets, ARRAY_SIZE(size_buckets));
}

static uint64_t request_key(const struct call *c, int code)
{
	uint64_t sub = c->sub ? (uint64_t)(c->sub - c->r->subresources) + 1 : 0;
	return 1 | (uint64_t)verb_of(c) << 1 | (uint64_t)scope_of(c) << 6 | (uint64_t)c->dry_run << 8 | sub << 9 | (uint64_t)path_of(c) << 17 |
	       (uint64_t)c->u.is_resource << 25 | (uint64_t)(c->r ? c->r->id + 1u : 0) << 26 | (uint64_t)(unsigned)code << 43;
}

static struct request_series *slot_of(struct request_series *in, size_t size, uint64_t key)
{
	size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (size - 1);
	while (in[at].key && in[at].key != key)
		at = (at + 1) & (size - 1);
	return &in[at];
}

static void table_grow(void)
{
	size_t size = table_size ? table_size * 2 : 256;
	struct request_series *new = mem_new_n(struct request_series, size);
	for (size_t i = 0; i < table_size; i++)
		if (table[i].key)
			*slot_of(new, size, table[i].key) = table[i];
	free(table);
	table = new;
	table_size = size;
}

void measure_request(const struct call *c, int code, int64_t bytes)
{
	uint64_t key = request_key(c, code);
	if (table_used * 2 >= table_size)
		table_grow();
	struct request_series *s = slot_of(table, table_size, key);
	if (!s->key) {
		request_series_make(s, c, code);
		s->key = key;
		table_used++;
	}
	metric_add(s->total, 1);
	metric_observe(s->duration, (double)(clock_mono_ns() - c->start_ns) / 1e9);
	if (s->sizes && bytes >= 0)
		metric_observe(s->sizes, (double)bytes);
}

/* ---- requests in work */

static struct inflight {
	unsigned now, peak, last_peak; /* peaks: of this second, and of the one before */
	int64_t second;
} inflight[MEASURE_KIND_MAX];

static void inflight_turn(struct inflight *f)
{
	int64_t second = clock_mono_ms() / 1000;
	if (second == f->second)
		return;
	f->last_peak = second == f->second + 1 ? f->peak : f->now;
	f->peak = f->now;
	f->second = second;
}

void measure_inflight(enum measure_kind kind, unsigned now)
{
	struct inflight *f = &inflight[kind];
	inflight_turn(f);
	f->now = now;
	f->peak = MAX(f->peak, now);
}

void measure_inflight_write(void)
{
	static const char *const labels[] = { "request_kind=\"readOnly\"", "request_kind=\"mutating\"" };
	for (size_t i = 0; i < MEASURE_KIND_MAX; i++) {
		inflight_turn(&inflight[i]);
		metrics_gauge_set("apiserver_current_inflight_requests",
				  "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last "
				  "second.", labels[i], MAX(inflight[i].peak, inflight[i].last_peak));
	}
}

void measure_longrunning_begin(struct call *c)
{
	_cleanup_strbuf_ struct strbuf labels = { 0 };
	if (c->longrunning)
		return;
	request_labels(c, false, &labels);
	c->longrunning = metrics_gauge("apiserver_longrunning_requests",
				       "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, "
				       "scope and component. Not all requests are tracked this way.", labels.data);
	metric_add(c->longrunning, 1);
}

void measure_longrunning_end(struct call *c)
{
	if (c->longrunning)
		metric_add(TAKE(c->longrunning), -1);
}

/* ---- watches and the store, by resource */

enum operation { OPERATION_CREATE, OPERATION_UPDATE, OPERATION_DELETE, OPERATION_MAX };
static const char *const operation_names[] = { "create", "update", "delete" };
static struct resource_series {
	struct metric *events, *event_sizes, *storage[OPERATION_MAX];
} by_resource[STORE_MAX_RESOURCES];

void measure_watch_event(const struct schema_resource *r, size_t bytes)
{
	struct resource_series *s = &by_resource[r->id];
	if (!s->events) {
		_cleanup_strbuf_ struct strbuf labels = { 0 };
		metrics_label(&labels, "group", r->group);
		metrics_label(&labels, "resource", r->plural);
		metrics_label(&labels, "version", r->version);
		s->events = metrics_counter("apiserver_watch_events_total", "[ALPHA] Number of events sent in watch clients", labels.data);
		s->event_sizes = metrics_histogram("apiserver_watch_events_sizes", "[ALPHA] Watch event size distribution in bytes", labels.data,
						   event_buckets, ARRAY_SIZE(event_buckets));
	}
	metric_add(s->events, 1);
	metric_observe(s->event_sizes, (double)bytes);
}

void measure_storage(const char *operation, uint16_t resource, int64_t duration_ns)
{
	const struct schema_resource *r = schema_resource_at(resource);
	for (size_t i = 0; i < OPERATION_MAX; i++) {
		struct metric **m = &by_resource[resource].storage[i];
		if (!str_eq(operation, operation_names[i]))
			continue;
		if (!*m) {
			_cleanup_strbuf_ struct strbuf labels = { 0 };
			metrics_label(&labels, "group", r->group);
			metrics_label(&labels, "operation", operation);
			metrics_label(&labels, "resource", r->plural);
			*m = metrics_histogram("etcd_request_duration_seconds",
					       "[ALPHA] Etcd request latency in seconds for each operation and object type.", labels.data,
					       latency_buckets, ARRAY_SIZE(latency_buckets));
		}
		metric_observe(*m, (double)duration_ns / 1e9);
	}
}

/* ---- identity and admission */

static struct metric *attempts[MEASURE_AUTHN_MAX], *attempt_times[MEASURE_AUTHN_MAX], *certificates;

void measure_authentication(enum measure_authn result, int64_t duration_ns)
{
	static const char *const labels[] = { "result=\"success\"", "result=\"failure\"" };
	if (!attempts[result]) {
		attempts[result] = metrics_counter("authentication_attempts", "[ALPHA] Counter of authenticated attempts.", labels[result]);
		attempt_times[result] = metrics_histogram("authentication_duration_seconds",
							  "[ALPHA] Authentication duration in seconds broken out by result.", labels[result],
							  authentication_buckets, ARRAY_SIZE(authentication_buckets));
	}
	metric_add(attempts[result], 1);
	metric_observe(attempt_times[result], (double)duration_ns / 1e9);
}

/* Names are told apart only where there are few of them, as upstream does. */
enum user_label { USER_ADMIN, USER_CLIENT, USER_PROXY, USER_KUBELET, USER_DEFAULT_ACCOUNT, USER_EMAIL, USER_OTHER, USER_LABEL_MAX };
static const char *const user_names[] = { "admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default",
	"email_id", "other" };
static struct metric *users[USER_LABEL_MAX];

void measure_user(const char *name)
{
	enum user_label label = strchr(name, '@') ? USER_EMAIL : USER_OTHER;
	for (unsigned i = 0; i < USER_EMAIL; i++)
		if (str_eq(name, user_names[i]))
			label = (enum user_label)i;
	if (!users[label]) {
		_cleanup_strbuf_ struct strbuf labels = { 0 };
		metrics_label(&labels, "username", user_names[label]);
		users[label] = metrics_counter("authenticated_user_requests", "[ALPHA] Counter of authenticated requests broken out by username.",
					       labels.data);
	}
	metric_add(users[label], 1);
}

void measure_certificate(const ASN1_TIME *ends)
{
	int days = 0, seconds = 0;
	if (!certificates)
		certificates = metrics_histogram("apiserver_client_certificate_expiration_seconds",
						 "[ALPHA] Distribution of the remaining lifetime on the certificate used to authenticate a request.",
						 NULL, certificate_buckets, ARRAY_SIZE(certificate_buckets));
	if (ASN1_TIME_diff(&days, &seconds, NULL, ends) == 1)
		metric_observe(certificates, (double)days * 86400 + seconds);
}

static struct metric *admissions[MEASURE_PLUGINS_MAX + 1][MEASURE_OPERATION_MAX][2][2];

static struct metric *admission_make(unsigned plugin, const char *name, enum measure_operation operation, bool validates, bool rejected)
{
	static const char *const operations[] = { "CREATE", "UPDATE", "DELETE" };
	_cleanup_strbuf_ struct strbuf labels = { 0 };
	if (plugin != MEASURE_STEP)
		metrics_label(&labels, "name", name);
	metrics_label(&labels, "operation", operations[operation]);
	metrics_label(&labels, "rejected", rejected ? "true" : "false");
	metrics_label(&labels, "type", validates ? "validate" : "admit");
	if (plugin == MEASURE_STEP)
		return metrics_histogram("apiserver_admission_step_admission_duration_seconds",
					 "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource "
					 "and step type (validate or admit).", labels.data, admission_buckets, ARRAY_SIZE(admission_buckets));
	return metrics_histogram("apiserver_admission_controller_admission_duration_seconds",
				 "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation "
				 "and API resource and type (validate or admit).", labels.data, admission_buckets, ARRAY_SIZE(admission_buckets));
}

void measure_admission(unsigned plugin, const char *name, enum measure_operation operation, bool validates, bool rejected,
		       int64_t duration_ns)
{
	struct metric **m = &admissions[plugin][operation][validates][rejected];
	if (!*m)
		*m = admission_make(plugin, name, operation, validates, rejected);
	metric_observe(*m, (double)duration_ns / 1e9);
}

void measure_check(const char *name, const char *endpoint, bool ok)
{
	_cleanup_strbuf_ struct strbuf of = { 0 }, counted = { 0 };
	metrics_label(&of, "name", name);
	metrics_label(&of, "type", endpoint);
	metrics_gauge_set("kubernetes_healthcheck", "[STABLE] This metric records the result of a single healthcheck.", of.data, ok);
	metrics_label(&counted, "name", name);
	metrics_label(&counted, "status", ok ? "success" : "error");
	metrics_label(&counted, "type", endpoint);
	metrics_counter_add("kubernetes_healthchecks_total", "[STABLE] This metric records the results of all healthcheck.", counted.data, 1);
}

void measure_stop(void)
{
	free(table);
	table = NULL;
	table_size = table_used = 0;
	memset(by_resource, 0, sizeof(by_resource));
	memset(admissions, 0, sizeof(admissions));
	memset(users, 0, sizeof(users));
	memset(attempts, 0, sizeof(attempts));
	memset(attempt_times, 0, sizeof(attempt_times));
	memset(inflight, 0, sizeof(inflight));
	certificates = NULL;
}
