/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One HTTP server for all Services' ports: which port the client came to says which Service is meant. A port is open
 * exactly when some Service wants it; its owner is the first of them by name.
 */
#include "proxy/health/health.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/http_server.h"

enum { STALE_MS = 60000, RETRY_FIRST_MS = 100, RETRY_MS = 5000, CONNECTIONS_MAX = 512, IDLE_MS = 30000, HEAD_MAX_BYTES = 8192 };

struct service {
	char *ns, *name;
	uint16_t port;
	uint32_t ready_here;
};
struct port {
	struct service *owner; /* borrow */
	uint64_t retry_ms;     /* 0: bound everywhere */
	bool said;
};
struct health {
	uv_loop_t *loop;
	struct http_server *own, *services;
	struct map *wanted;          /* "ns/name" -> struct service, own */
	struct port *ports[65536];   /* own */
	char *listen;
	bool listening, listen_said;
	uv_timer_t *timer;
	struct ip_addr *addrs;
	size_t addr_count;
	bool only;
	int64_t pending_ms;          /* since when something waits; 0: nothing */
	int64_t programmed_us;       /* wall clock; 0: never */
	int64_t stale_ms;
	bool eligible;
	void (*complain)(const char *what, void *user);
	void *user;
};

static void service_free(void *p)
{
	struct service *s = p;
	free(s->ns);
	free(s->name);
	free(s);
}

static bool is_healthy(const struct health *h)
{
	return h->programmed_us && (!h->pending_ms || clock_mono_ms() - h->pending_ms < h->stale_ms);
}

static void on_service(struct http_request *req, void *user)
{
	struct health *h = user;
	const struct port *p = h->ports[http_local_port(req)];
	_cleanup_strbuf_ struct strbuf b = { 0 };
	char weight[16];
	if (!p) {
		const struct http_field f = { "Connection", "close" }; /* it came before the port was closed */
		http_respond(req, 404, &f, 1, "no Service has this health check port any more\n", 47);
		return;
	}
	const struct service *s = p->owner;
	bool healthy = is_healthy(h);
	snprintf(weight, sizeof(weight), "%u", s->ready_here);
	const struct http_field fields[] = {
		{ "Content-Type", "application/json" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "X-Load-Balancing-Endpoint-Weight", weight },
	};
	strbuf_adds(&b, "{\n\t\"service\": {\n\t\t\"namespace\": ");
	strbuf_add_json(&b, s->ns, strlen(s->ns));
	strbuf_adds(&b, ",\n\t\t\"name\": ");
	strbuf_add_json(&b, s->name, strlen(s->name));
	strbuf_addf(&b, "\n\t},\n\t\"localEndpoints\": %u,\n\t\"serviceProxyHealthy\": %s\n}", s->ready_here, healthy ? "true" : "false");
	http_respond(req, s->ready_here && healthy ? 200 : 503, fields, ARRAY_SIZE(fields), b.data, b.len);
}

static void on_own(struct http_request *req, void *user)
{
	struct health *h = user;
	bool healthz = str_eq(http_path(req), "/healthz"), healthy = is_healthy(h);
	char updated[CLOCK_RFC3339_MICRO_SIZE] = "0001-01-01T00:00:00Z", now[CLOCK_RFC3339_MICRO_SIZE];
	_cleanup_strbuf_ struct strbuf b = { 0 };
	const struct http_field fields[] = { { "Content-Type", "application/json" }, { "X-Content-Type-Options", "nosniff" } };
	if (!healthz && !str_eq(http_path(req), "/livez")) {
		http_respond(req, 404, NULL, 0, "not found\n", 10);
		return;
	}
	clock_format_rfc3339_micro(clock_wall_us(), now);
	/* While nothing waits, what is in the kernel is as new as the question. */
	if (healthy)
		memcpy(updated, now, sizeof(updated));
	else if (h->programmed_us)
		clock_format_rfc3339_micro(h->programmed_us, updated);
	strbuf_addf(&b, "{\"lastUpdated\": \"%s\",\"currentTime\": \"%s\", \"nodeEligible\": %s}", updated, now,
		    h->eligible ? "true" : "false");
	http_respond(req, healthy && (h->eligible || !healthz) ? 200 : 503, fields, ARRAY_SIZE(fields), b.data, b.len);
}

static void complain(struct health *h, bool *said, const char *what, const struct err *err)
{
	if (*said)
		return;
	*said = true;
	_cleanup_free_ char *text = str_printf("%s: %s; tried again", what, err_msg(err));
	h->complain(text, h->user);
}

static int listen_on(struct http_server *s, const struct ip_addr *a, uint16_t port, struct err *err)
{
	char ip[IP_ADDR_TEXT_SIZE], text[IP_ADDR_TEXT_SIZE + 16];
	ip_format(a, ip);
	snprintf(text, sizeof(text), a->family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip, port);
	return http_server_listen(s, text, NULL, NULL, err);
}

/* Both families by one socket; only IPv4 in a kernel without IPv6. */
static int listen_everywhere(struct http_server *s, const char *port, struct err *err)
{
	_cleanup_free_ char *both = str_printf("[::]:%s", port), *v4 = str_printf("0.0.0.0:%s", port);
	int r = http_server_listen(s, both, NULL, NULL, err);
	return r == -EAFNOSUPPORT ? http_server_listen(s, v4, NULL, NULL, err) : r;
}

static void on_retry(uv_timer_t *t);

static void port_open(struct health *h, uint16_t port)
{
	struct port *p = h->ports[port];
	_cleanup_err_ struct err err = { 0 };
	char text[8];
	int r = 0;
	snprintf(text, sizeof(text), "%u", port);
	http_server_unlisten(h->services, port);
	if (!h->only)
		r = listen_everywhere(h->services, text, &err);
	for (size_t i = 0; h->only && i < h->addr_count && r >= 0; i++)
		r = listen_on(h->services, &h->addrs[i], port, &err);
	if (r >= 0) {
		p->retry_ms = 0;
		p->said = false;
		return;
	}
	_cleanup_free_ char *what = str_printf("health check port of Service %s/%s", p->owner->ns, p->owner->name);
	complain(h, &p->said, what, &err);
	p->retry_ms = p->retry_ms ? MIN(p->retry_ms * 2, (uint64_t)RETRY_MS) : RETRY_FIRST_MS;
	if (!uv_is_active((uv_handle_t *)h->timer) || uv_timer_get_due_in(h->timer) > p->retry_ms)
		uv_timer_start(h->timer, on_retry, p->retry_ms, 0);
}

/* Who of those that want the port has it; opened and closed accordingly. */
static void port_settle(struct health *h, uint16_t port)
{
	struct service *owner = NULL, *other = NULL;
	const char *first = NULL, *key;
	size_t it = 0;
	void *v;
	while (map_next(h->wanted, &it, &key, &v)) {
		struct service *s = v;
		if (s->port != port)
			continue;
		bool better = !first || strcmp(key, first) < 0;
		other = better ? owner : s;
		if (better) {
			owner = s;
			first = key;
		}
	}
	if (other) {
		_cleanup_free_ char *text = str_printf("health check port %u is wanted by Services %s/%s and %s/%s: the first has it",
						       port, owner->ns, owner->name, other->ns, other->name);
		h->complain(text, h->user);
	}
	if (!owner) {
		http_server_unlisten(h->services, port);
		free(h->ports[port]);
		h->ports[port] = NULL;
		return;
	}
	bool fresh = !h->ports[port];
	if (fresh)
		h->ports[port] = mem_new(struct port);
	h->ports[port]->owner = owner;
	if (fresh)
		port_open(h, port);
}

static void listen_own(struct health *h)
{
	_cleanup_err_ struct err err = { 0 };
	const char *port = str_after(h->listen, "0.0.0.0:");
	if (h->listening || !*h->listen)
		return;
	h->listening = (port ? listen_everywhere(h->own, port, &err) : http_server_listen(h->own, h->listen, NULL, NULL, &err)) >= 0;
	if (h->listening)
		return;
	complain(h, &h->listen_said, "--healthz-listen", &err);
	if (!uv_is_active((uv_handle_t *)h->timer))
		uv_timer_start(h->timer, on_retry, RETRY_MS, 0);
}

static void on_retry(uv_timer_t *t)
{
	struct health *h = t->data;
	const char *key;
	size_t it = 0;
	void *v;
	while (map_next(h->wanted, &it, &key, &v)) {
		uint16_t port = ((struct service *)v)->port;
		if (h->ports[port] && h->ports[port]->retry_ms && h->ports[port]->owner == v)
			port_open(h, port);
	}
	listen_own(h);
}

struct health *health_new(uv_loop_t *loop, const struct health_options *o)
{
	const struct http_server_options so = {
		.size = sizeof(so), .max_head_bytes = HEAD_MAX_BYTES, .max_connections = CONNECTIONS_MAX, .idle_timeout_ms = IDLE_MS,
	};
	struct health *h = mem_new(struct health);
	h->loop = loop;
	h->wanted = map_new(service_free);
	h->listen = mem_strdup(o->listen);
	h->complain = o->complain;
	h->user = o->user;
	h->eligible = true;
	h->stale_ms = o->stale_ms ? o->stale_ms : STALE_MS;
	h->timer = mem_new(uv_timer_t);
	uv_timer_init(loop, h->timer);
	uv_unref((uv_handle_t *)h->timer);
	h->timer->data = h;
	h->own = http_server_new(loop, &so, on_own, h);
	h->services = http_server_new(loop, &so, on_service, h);
	listen_own(h);
	return h;
}

static void free_handle(uv_handle_t *t)
{
	free(t);
}

static void free_rest(void *user)
{
	struct health *h = user;
	if (h->own) { /* the first of the two servers to be gone */
		h->own = NULL;
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(h->ports); i++)
		free(h->ports[i]);
	map_free(h->wanted);
	free(h->addrs);
	free(h->listen);
	free(h);
}

void health_free(struct health *h)
{
	if (!h)
		return;
	uv_close((uv_handle_t *)h->timer, free_handle);
	http_server_shutdown(h->own, 0, free_rest, h);
	http_server_shutdown(h->services, 0, free_rest, h);
}

void health_service_set(struct health *h, const char *ns, const char *service, uint16_t port, uint32_t ready_here)
{
	_cleanup_free_ char *key = str_printf("%s/%s", ns, service);
	struct service *s = map_get(h->wanted, key);
	uint16_t before = s ? s->port : 0;
	if (s && s->port == port) {
		s->ready_here = ready_here;
		return;
	}
	if (s && !port) {
		map_del(h->wanted, key);
	} else if (!s && port) {
		s = mem_new(struct service);
		s->ns = mem_strdup(ns);
		s->name = mem_strdup(service);
		map_set(h->wanted, key, s);
	}
	if (port) {
		s->port = port;
		s->ready_here = ready_here;
		port_settle(h, port);
	}
	if (before)
		port_settle(h, before);
}

void health_addresses_set(struct health *h, const struct ip_addr *addrs, size_t count, bool only)
{
	bool same = h->only == only && h->addr_count == count;
	for (size_t i = 0; same && i < count; i++)
		same = ip_addr_eq(&addrs[i], &h->addrs[i]);
	if (same)
		return;
	free(h->addrs);
	h->addrs = count ? mem_dup(addrs, count * sizeof(*addrs)) : NULL;
	h->addr_count = count;
	h->only = only;
	size_t it = 0;
	void *v;
	while (map_next(h->wanted, &it, NULL, &v)) {
		uint16_t port = ((struct service *)v)->port;
		if (h->ports[port]->owner == v)
			port_open(h, port);
	}
}

void health_pending(struct health *h)
{
	if (!h->pending_ms)
		h->pending_ms = clock_mono_ms();
}

void health_programmed(struct health *h)
{
	h->pending_ms = 0;
	h->programmed_us = clock_wall_us();
}

void health_eligible_set(struct health *h, bool eligible)
{
	h->eligible = eligible;
}
