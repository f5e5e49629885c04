// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/http/proxy.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "apiserver/audit/audit.h"
#include "apiserver/http/http_reply.h"
#include "apiserver/http/tunnel.h"
#include "apiserver/http/upstream.h"
#include "base/log.h"
#include "kube/object.h"

enum { PROXY_QUEUE_BYTES = 1 << 20, PROXY_MAX_FIELDS = 128 };

/* Where the request goes. */
struct target {
	struct sockaddr_storage address;
	char host[IP_ADDR_TEXT_SIZE + 8]; /* "[fd00::1]:80" */
	char ip[IP_ADDR_TEXT_SIZE];
	bool https, agent; /* agent: the node's own, with our certificate */
};
struct proxy {
	struct call *call;
	struct http_request *req; /* NULL: the client is gone or was answered */
	struct upstream *up;
	struct target to;
	struct http_reply reply;
	struct strlist names, values; /* of the answer's head */
	char *prefix;                 /* of our URL, for redirects of the backend */
	bool begun, paused;
};

bool proxy_wants(const struct call *c)
{
	return c->sub && str_eq(c->sub->name, "proxy");
}

/* ---- ends */

static void proxy_free(struct proxy *p)
{
	upstream_close(p->up);
	http_reply_done(&p->reply);
	strlist_done(&p->names);
	strlist_done(&p->values);
	free(p->prefix);
	call_unref(p->call);
	free(p);
}

static void fail(struct proxy *p, const char *why)
{
	struct http_request *req = TAKE(p->req);
	if (req && p->begun) {
		http_set_user(req, NULL, NULL);
		http_abort(req);
		call_unref(p->call); /* the request's */
	} else if (req) {
		call_attach(p->call, req);
		answer_status(p->call, status_new(503, "ServiceUnavailable", "error trying to reach service: %s: %s", p->to.host, why));
	}
	proxy_free(p);
}

static void on_fail(const char *why, void *user)
{
	fail(user, why);
}

/* The client went away, or has been answered whole. */
static void on_request_closed(struct http_request *req, void *user)
{
	struct proxy *p = user;
	struct call *c = p->call;
	(void)req;
	p->req = NULL;
	proxy_free(p);
	call_unref(c);
}

/* ---- the answer */

static bool is_hop_by_hop(const char *name)
{
	static const char *const names[] = { "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
		"transfer-encoding", "upgrade", "proxy-connection" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

/* The path of a URL that leads to the backend again, or NULL. */
static const char *own_path(const struct proxy *p, const char *url)
{
	const char *rest = str_after(url, "http://");
	if (!rest)
		rest = str_after(url, "https://");
	if (rest)
		rest = str_after(rest, p->to.host);
	if (rest)
		return *rest == '/' ? rest : *rest ? NULL : "/";
	return url[0] == '/' && url[1] != '/' ? url : NULL;
}

static void on_header(const char *name, const char *value, void *user)
{
	struct proxy *p = user;
	if (is_hop_by_hop(name) || strcasecmp(name, "content-length") == 0 || strcasecmp(name, "date") == 0 ||
	    p->names.count >= PROXY_MAX_FIELDS)
		return;
	strlist_add(&p->names, name);
	/* A redirect within the backend stays within the proxy. */
	const char *path = strcasecmp(name, "location") == 0 ? own_path(p, value) : NULL;
	if (path)
		strlist_addf(&p->values, "%s%s", p->prefix, path);
	else
		strlist_add(&p->values, value);
}

static void begin(struct proxy *p)
{
	struct http_field fields[PROXY_MAX_FIELDS];
	for (size_t i = 0; i < p->names.count; i++)
		fields[i] = (struct http_field){ p->names.items[i], p->values.items[i] };
	p->begun = true;
	audit_started(p->call, p->reply.status);
	answer_count(p->call, p->reply.status);
	http_stream_begin(p->req, p->reply.status, fields, p->names.count);
}

static void on_body(const char *data, size_t len, void *user)
{
	struct proxy *p = user;
	if (!p->begun)
		begin(p);
	http_stream_write(p->req, data, len);
}

static void finish(struct proxy *p)
{
	if (!p->begun)
		begin(p);
	upstream_close(TAKE(p->up));
	http_stream_end(p->req); /* on_request_closed follows when all is out */
}

static void on_drain(struct http_request *req, void *user)
{
	struct proxy *p = user;
	(void)req;
	p->paused = false;
	if (p->up)
		upstream_pause(p->up, false);
}

static void on_data(const char *data, size_t len, void *user)
{
	struct proxy *p = user;
	if (http_reply_feed(&p->reply, data, len, on_body, p) < 0 || p->reply.status == 101) {
		fail(p, "the answer is not HTTP");
	} else if (p->reply.phase == REPLY_DONE) {
		finish(p);
	} else if (p->begun && !p->paused && http_stream_queued(p->req) > PROXY_QUEUE_BYTES) {
		p->paused = true;
		upstream_pause(p->up, true);
		http_stream_on_drain(p->req, on_drain);
	}
}

static void on_end(void *user)
{
	struct proxy *p = user;
	if (p->reply.phase == REPLY_UNTIL_CLOSE)
		finish(p);
	else
		fail(p, "the answer ended early");
}

/* ---- the request */

/* What follows ".../proxy" in the URL as it was sent; NULL: not even a slash. */
static const char *raw_rest(const struct call *c)
{
	const char *at = http_path(c->req);
	for (int segments = *c->u.ns ? 7 : 5; segments > 0 && *at; segments--) {
		at += strspn(at, "/");
		at += strcspn(at, "/");
	}
	return *at ? at : NULL;
}

static bool is_forwarded(const char *name)
{
	static const char *const dropped[] = { "authorization", "cookie", "host", "content-length", "expect" };
	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
		if (strcasecmp(name, dropped[i]) == 0)
			return false;
	return !is_hop_by_hop(name) && strncasecmp(name, "impersonate-", 12) != 0 && strncasecmp(name, "x-remote-", 9) != 0 &&
	       strncasecmp(name, "x-forwarded-", 12) != 0;
}

/* The request as the backend gets it; upgrade: the protocol that the client wants to switch to, NULL for none. */
static void write_request(const struct call *c, struct http_request *req, const char *backend, const char *upgrade, struct strbuf *b)
{
	const char *query = http_query(req), *name, *value, *host = http_header(req, "Host"), *from = http_peer_address(req);
	const char *colon = strrchr(from, ':');
	size_t len, peer = colon ? (size_t)(colon - from) : strlen(from);
	const void *body = http_body(req, &len);
	strbuf_addf(b, "%s %s%s%s HTTP/1.1\r\nHost: %s\r\n", c->method, raw_rest(c), *query ? "?" : "", query, backend);
	if (upgrade)
		strbuf_addf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n", upgrade);
	else
		strbuf_adds(b, "Connection: close\r\n");
	for (size_t i = 0; http_header_at(req, i, &name, &value); i++)
		if (is_forwarded(name))
			strbuf_addf(b, "%s: %s\r\n", name, value);
	strbuf_addf(b, "X-Forwarded-For: %.*s\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Uri: %s\r\n", (int)peer, from, http_path(req));
	if (host)
		strbuf_addf(b, "X-Forwarded-Host: %s\r\n", host);
	if (len || (!upgrade && (str_eq(c->method, "POST") || str_eq(c->method, "PUT") || str_eq(c->method, "PATCH"))))
		strbuf_addf(b, "Content-Length: %zu\r\n", len);
	strbuf_adds(b, "\r\n");
	strbuf_add(b, body, len);
}

static void on_open(void *user)
{
	struct proxy *p = user;
	_cleanup_strbuf_ struct strbuf b = { 0 };
	write_request(p->call, p->req, p->to.host, NULL, &b);
	upstream_write(p->up, b.data, b.len);
}

/* ---- where to */

/* "[SCHEME:]NAME[:PORT]" in its parts, moved from text. False: something else. */
static bool split_name(char *text, const char **scheme, const char **name, const char **port)
{
	char *first = strchr(text, ':'), *second = first ? strchr(first + 1, ':') : NULL;
	*scheme = "http";
	*port = "";
	*name = text;
	if (second) {
		*first = *second = '\0';
		*scheme = text;
		*name = first + 1;
		*port = second + 1;
	} else if (first) {
		*first = '\0';
		if (str_eq(text, "http") || str_eq(text, "https")) {
			*scheme = text;
			*name = first + 1;
		} else {
			*port = first + 1;
		}
	}
	return **name && (str_eq(*scheme, "http") || str_eq(*scheme, "https") || !**scheme) && !strchr(*port, ':');
}

/* The API server must not be made to talk to itself or to what only its own machine reaches. */
static bool may_reach(const struct ip_addr *a)
{
	static const char *const closed[] = { "127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "224.0.0.0/3", "::1/128", "::/128", "fe80::/10",
		"ff00::/8", "::ffff:0:0/96" };
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		struct ip_prefix p;
		if (ip_prefix_parse(closed[i], &p) == 0 && p.addr.family == a->family && ip_prefix_contains(&p, a))
			return false;
	}
	return true;
}

static json_t *set_address(struct target *t, const char *ip, int64_t port, const char *what)
{
	struct ip_addr a;
	if (!str_empty(ip) && ip_parse(ip, &a) == 0 && !may_reach(&a))
		return status_bad_request("address not allowed");
	if (str_empty(ip) || port < 1 || port > 65535 ||
	    (uv_ip4_addr(ip, (int)port, (struct sockaddr_in *)&t->address) < 0 &&
	     uv_ip6_addr(ip, (int)port, (struct sockaddr_in6 *)&t->address) < 0))
		return status_new(503, "ServiceUnavailable", "%s has no address to proxy to", what);
	snprintf(t->ip, sizeof(t->ip), "%s", ip);
	snprintf(t->host, sizeof(t->host), strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, (int)port);
	return NULL;
}

static int64_t port_number(const char *text)
{
	uint64_t n;
	return str_to_u64(text, 65535, &n) < 0 ? 0 : (int64_t)n;
}

static json_t *to_pod(const json_t *pod, const char *port, struct target *t)
{
	json_t *c, *p;
	size_t i, k;
	int64_t n = port_number(port);
	json_array_foreach(json_at(pod, "spec.containers"), i, c)
		json_array_foreach(json_object_get(c, "ports"), k, p)
			if (!n && (!*port || str_eq(json_str(p, "name"), port)))
				n = json_int(p, "containerPort", 0);
	return set_address(t, json_str(pod, "status.podIP"), n ? n : *port ? 0 : 80, "the pod");
}

/* A port of the Service by name or number ("": its only or first one): the name that endpoints know it by. */
static const char *service_port(const json_t *service, const char *port)
{
	json_t *p;
	size_t i;
	json_array_foreach(json_at(service, "spec.ports"), i, p)
		if (!*port || str_eq(json_str(p, "name"), port) || json_int(p, "port", 0) == port_number(port))
			return json_str_or(p, "name", "");
	return NULL;
}

static bool one_in(size_t n)
{
	uint32_t r;
	rand_bytes(&r, sizeof(r));
	return r % n == 0;
}

static json_t *to_service(struct call *c, const json_t *service, const char *name, const char *port, struct target *t)
{
	const char *port_name = service_port(service, port), *ip = NULL;
	_cleanup_free_ char *key = entry_key(c->g->endpoints, c->u.ns, name);
	struct store_object *o = store_get(c->g->store, c->g->endpoints->id, key);
	_cleanup_json_ json_t *endpoints = o ? entry_parse(o) : NULL;
	json_t *subset, *p, *a;
	size_t i, k, seen = 0;
	int64_t number = 0;
	if (!port_name)
		return status_new(503, "ServiceUnavailable", "no service port \"%s\" found for service \"%s\"", port, name);
	json_array_foreach(json_object_get(endpoints, "subsets"), i, subset) {
		int64_t n = 0;
		json_array_foreach(json_object_get(subset, "ports"), k, p)
			if (str_eq(json_str_or(p, "name", ""), port_name))
				n = json_int(p, "port", 0);
		/* One of all, each as likely as the others. */
		json_array_foreach(json_object_get(subset, "addresses"), k, a)
			if (n && one_in(++seen)) {
				ip = json_str(a, "ip");
				number = n;
			}
	}
	if (!ip)
		return status_new(503, "ServiceUnavailable", "no endpoints available for service \"%s\"", name);
	return set_address(t, ip, number, "the service");
}

static json_t *to_node(const json_t *node, const char *port, struct target *t)
{
	enum { AGENT_PORT = 10250 };
	int64_t agent = json_int(node, "status.daemonEndpoints.kubeletEndpoint.Port", AGENT_PORT), n = *port ? port_number(port) : agent;
	const char *address = NULL;
	json_t *v;
	size_t i;
	json_array_foreach(json_at(node, "status.addresses"), i, v)
		if (!address && str_eq(json_str(v, "type"), "InternalIP"))
			address = json_str(v, "address");
	t->agent = n == agent;
	t->https |= t->agent;
	return set_address(t, address, n, "the node");
}

static json_t *find_target(struct call *c, struct target *t)
{
	_cleanup_free_ char *text = mem_strdup(c->u.name);
	const char *scheme, *name, *port;
	struct store_object *o;
	if (!split_name(text, &scheme, &name, &port))
		return status_bad_request("invalid %s request \"%s\"", c->r->singular, c->u.name);
	t->https = str_eq(scheme, "https");
	json_t *status = registry_find(c->g, c->r, c->u.ns, name, &o);
	if (status)
		return status;
	_cleanup_json_ json_t *object = entry_parse(o);
	if (c->r == c->g->pods)
		return to_pod(object, port, t);
	return c->r == c->g->services ? to_service(c, object, name, port, t) : to_node(object, port, t);
}

static SSL_CTX *unverified(void)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
	if (tls)
		SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
	return tls;
}

static void redirect(struct call *c)
{
	const char *query = http_query(c->req);
	_cleanup_free_ char *to = str_printf("%s/%s%s", http_path(c->req), *query ? "?" : "", query);
	const struct http_field f = { "Location", to };
	answer_count(c, 301);
	http_respond(c->req, 301, &f, 1, "", 0);
}

/* RFC 9110, section 7.8: what the client wants to switch to counts when Connection says so; NULL. */
static const char *wants_upgrade(const struct http_request *req)
{
	const char *connection = http_header(req, "Connection"), *upgrade = http_header(req, "Upgrade");
	_cleanup_strlist_ struct strlist options = { 0 };
	strlist_split(&options, connection ? connection : "", ',');
	for (size_t i = 0; !str_empty(upgrade) && i < options.count; i++) {
		char *s = options.items[i] + strspn(options.items[i], " \t");
		s[strcspn(s, " \t")] = '\0';
		if (strcasecmp(s, "upgrade") == 0)
			return upgrade;
	}
	return NULL;
}

void proxy_start(struct call *c)
{
	static const struct upstream_callbacks callbacks = { .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_fail = on_fail };
	struct target to = { 0 };
	SSL_CTX *tls = NULL;
	const char *rest = raw_rest(c), *upgrade = wants_upgrade(c->req);
	if (!rest && (str_eq(c->method, "GET") || str_eq(c->method, "HEAD"))) {
		redirect(c);
		return;
	}
	json_t *status = find_target(c, &to);
	if (!status && !rest)
		status = status_bad_request("the path to proxy to must begin with a slash");
	if (!status && to.agent && !c->g->tunnel)
		status = status_new(501, "NotImplemented", "this API server was started without --agent-client-cert, --agent-client-key and "
				    "--agent-ca");
	if (!status && upgrade && http_is_h2(c->req))
		status = status_bad_request("an HTTP/2 connection cannot be upgraded: ask by HTTP/1.1");
	if (!status && to.https)
		tls = to.agent ? tunnel_tls(c->g->tunnel) : unverified();
	if (status) {
		answer_status(c, status);
		return;
	}
	if (upgrade) {
		struct strbuf head = { 0 };
		write_request(c, c->req, to.host, upgrade, &head);
		const struct tunnel_backend backend = { (const struct sockaddr *)&to.address, tls, to.agent ? to.ip : NULL, to.host };
		tunnel_proxy(c, &backend, &head);
		if (tls && !to.agent)
			SSL_CTX_free(tls);
		return;
	}
	struct proxy *p = mem_new(struct proxy);
	p->call = call_ref(c);
	p->req = c->req;
	p->to = to;
	p->prefix = mem_strndup(http_path(c->req), (size_t)(rest - http_path(c->req)));
	p->reply.on_header = on_header;
	p->reply.header_user = p;
	p->reply.no_body = str_eq(c->method, "HEAD");
	http_set_user(p->req, p, on_request_closed);
	p->up = upstream_open(c->g->loop, (const struct sockaddr *)&to.address, tls, to.agent ? to.ip : NULL, &callbacks, p);
	if (tls && !to.agent)
		SSL_CTX_free(tls);
}
