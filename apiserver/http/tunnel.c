// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tunnels to agents. Streaming requests (exec, attach, portforward) take the client's
 * connection over once the agent is reached; from then on bytes are copied both ways, half-closes included. Logs are one
 * ordinary response copied into a stream. What always holds: neither direction buffers more than TUNNEL_QUEUE_BYTES
 * plus what one read brings, and no byte of the client behind its request reaches the agent unless the agent switched
 * protocols: otherwise the client could send the agent a second request in our name.
 */
#include "apiserver/http/tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/audit/audit.h"
#include "apiserver/http/http_reply.h"
#include "apiserver/http/upstream.h"
#include "apiserver/validate/validate.h"
#include "base/file.h"
#include "base/log.h"
#include "io/tls.h"

enum { TUNNEL_QUEUE_BYTES = 1 << 20, LINGER_MS = 30000, ERROR_BODY_BYTES = 16384, AGENT_PORT = 10250 };

struct tunnel_config {
	SSL_CTX *tls;
};

enum tunnel_phase { TUNNEL_CONNECTING, TUNNEL_OPEN, TUNNEL_CLOSED };

struct tunnel {
	struct call *call;
	struct http_request *req;    /* logs: until the client is gone; else until hijacked */
	struct http_conn *conn;      /* hijacked */
	enum tunnel_phase phase;
	bool is_log, is_proxy, begun, upgraded, client_eof, agent_eof, paused_agent, paused_client;
	char agent[IP_ADDR_TEXT_SIZE + 8]; /* or the backend of a proxied request */
	struct strbuf head;          /* what is sent first */
	struct upstream *up;
	uv_timer_t deadline;         /* of a connection whose end the client was told */
	unsigned handles;            /* what still calls back: the timer, and the request or the connection */
	struct http_reply reply;
	struct strbuf error_body;
};

static int read_pem(const char *file, struct strbuf *out, struct err *err)
{
	int rc = file_read(file, 1 << 20, out);
	return rc ? err_set(err, -rc, "read %s: %s", file, strerror(-rc)) : 0;
}

struct tunnel_config *tunnel_config_new(const char *cert_file, const char *key_file, const char *ca_file, struct err *err)
{
	_cleanup_strbuf_ struct strbuf cert = { 0 }, key = { 0 }, ca = { 0 };
	struct tunnel_config *t;
	SSL_CTX *tls;
	if (read_pem(cert_file, &cert, err) || read_pem(key_file, &key, err) || read_pem(ca_file, &ca, err))
		return NULL;
	tls = tls_client_new(ca.data, cert.data, key.data, false, err);
	OPENSSL_cleanse(key.data, key.len);
	if (!tls)
		return NULL;
	t = mem_new(struct tunnel_config);
	t->tls = tls;
	return t;
}

struct tunnel_config *tunnel_config_free(struct tunnel_config *t)
{
	if (!t)
		return NULL;
	SSL_CTX_free(t->tls);
	free(t);
	return NULL;
}

SSL_CTX *tunnel_tls(const struct tunnel_config *t)
{
	return t->tls;
}

bool tunnel_wants(const struct call *c)
{
	return c->r == c->g->pods && (str_eq(c->u.sub, "log") || str_eq(c->u.sub, "exec") || str_eq(c->u.sub, "attach") ||
				      str_eq(c->u.sub, "portforward"));
}

/* Ending */

static void tunnel_release(struct tunnel *t)
{
	if (--t->handles)
		return;
	strbuf_done(&t->head);
	strbuf_done(&t->error_body);
	http_reply_done(&t->reply);
	call_unref(t->call);
	free(t);
}

static void on_handle_closed(uv_handle_t *h)
{
	tunnel_release(h->data);
}

/* The call answers the request after all. */
static void give_back(struct tunnel *t)
{
	call_attach(t->call, TAKE(t->req));
	t->handles--; /* never the last: the timer's is there until it is closed */
}

/* Nothing is sent or received any more; what the client still waits for is ended by the caller. */
static void tunnel_close(struct tunnel *t)
{
	if (t->phase == TUNNEL_CLOSED)
		return;
	t->phase = TUNNEL_CLOSED;
	upstream_close(TAKE(t->up));
	uv_close((uv_handle_t *)&t->deadline, on_handle_closed);
}

static void tunnel_finish_client(struct tunnel *t)
{
	struct http_conn *conn = TAKE(t->conn);
	struct http_request *req = TAKE(t->req);
	if (conn)
		http_conn_close(conn);
	else if (req && t->begun)
		http_stream_end(req);
}

/* The agent cannot be reached or does not speak HTTP: before the client was promised anything it gets a Status. */
static void tunnel_fail(struct tunnel *t, const char *why)
{
	if (t->phase == TUNNEL_CLOSED)
		return;
	log_warn("tunnel to %s %s failed: %s", t->is_proxy ? "backend" : "agent", t->agent, why);
	if (t->req && !t->begun) {
		give_back(t);
		answer_status(t->call, t->is_proxy ?
			      status_new(503, "ServiceUnavailable", "error trying to reach service: %s: %s", t->agent, why) :
			      status_internal("error dialing backend: agent %s: %s", t->agent, why));
	} else if (t->req) {
		http_abort(TAKE(t->req));
	} else if (t->conn) {
		http_conn_close(TAKE(t->conn));
	}
	tunnel_close(t);
}

static void on_deadline(uv_timer_t *timer)
{
	struct tunnel *t = timer->data;
	tunnel_finish_client(t);
	tunnel_close(t);
}

/* Towards the agent */

/* A stream's agent has closed, most often because the command has ended: the last of its output may not have been read yet,
 * and the end of that ends the tunnel. What the client still says goes nowhere. Before the upgrade it is a failure. */
static void on_deaf(const char *why, void *user)
{
	struct tunnel *t = user;
	if (!t->upgraded) {
		tunnel_fail(t, why);
	} else if (t->paused_client && t->conn) {
		t->paused_client = false;
		http_conn_pause(t->conn, false);
	}
}

static void on_agent_drain(void *user)
{
	struct tunnel *t = user;
	if (t->paused_client && t->upgraded && t->conn) {
		t->paused_client = false;
		http_conn_pause(t->conn, false);
	}
}

static void send_agent(struct tunnel *t, const void *data, size_t len)
{
	upstream_write(t->up, data, len);
	if (t->phase == TUNNEL_OPEN && t->conn && !t->paused_client && upstream_queued(t->up) > TUNNEL_QUEUE_BYTES) {
		t->paused_client = true;
		http_conn_pause(t->conn, true);
	}
}

/* The client's side of a hijacked connection */

static void on_client_data(struct http_conn *conn, const void *data, size_t len, void *user)
{
	struct tunnel *t = user;
	(void)conn;
	if (t->phase != TUNNEL_OPEN || t->agent_eof)
		return;
	if (t->upgraded)
		send_agent(t, data, len);
	else
		tunnel_fail(t, "the client sent data before the protocol was switched");
}

static void on_client_eof(struct http_conn *conn, void *user)
{
	struct tunnel *t = user;
	(void)conn;
	if (t->phase != TUNNEL_OPEN || t->client_eof)
		return;
	t->client_eof = true;
	if (!t->agent_eof) {
		upstream_shutdown(t->up);
		return;
	}
	tunnel_finish_client(t);
	tunnel_close(t);
}

static void on_client_drain(struct http_conn *conn, void *user)
{
	struct tunnel *t = user;
	(void)conn;
	if (t->paused_agent && t->phase == TUNNEL_OPEN) {
		t->paused_agent = false;
		upstream_pause(t->up, false);
	}
}

static void on_client_close(struct http_conn *conn, void *user)
{
	struct tunnel *t = user;
	(void)conn;
	t->conn = NULL;
	tunnel_close(t);
	tunnel_release(t);
}

static const struct http_conn_callbacks client_callbacks = { on_client_data, on_client_eof, on_client_drain, on_client_close };

static void hijack(struct tunnel *t)
{
	struct http_conn *conn;
	if (http_hijack(t->req, &client_callbacks, t, &conn) < 0) {
		give_back(t);
		answer_status(t->call, status_bad_request("%s needs HTTP/1.1: an HTTP/2 connection cannot be upgraded", t->call->u.sub));
		tunnel_close(t);
		return;
	}
	audit_started(t->call, 101);
	answer_count(t->call, 101);
	t->req = NULL;
	t->conn = conn;
	t->begun = true;
	if (!t->upgraded) {
		t->paused_client = true;
		http_conn_pause(conn, true);
	}
	/* The connection's on_close takes the place of the request's, which no longer tells the call. */
	call_unref(t->call);
}

/* From the agent */

static void on_log_drain(struct http_request *req, void *user)
{
	struct tunnel *t = user;
	(void)req;
	if (t->paused_agent && t->phase == TUNNEL_OPEN) {
		t->paused_agent = false;
		upstream_pause(t->up, false);
	}
}

static void begin_log(struct tunnel *t)
{
	struct http_field fields[ANSWER_MAX_FIELDS];
	size_t n = answer_fields(t->call, "text/plain", fields);
	t->begun = true;
	audit_started(t->call, 200);
	answer_count(t->call, 200);
	http_stream_begin(t->req, 200, fields, n);
}

static void on_log_body(const char *data, size_t len, void *user)
{
	struct tunnel *t = user;
	if (!t->req)
		return;
	if (t->reply.status != 200) {
		if (t->error_body.len + len <= ERROR_BODY_BYTES)
			strbuf_add(&t->error_body, data, len);
		return;
	}
	if (!t->begun)
		begin_log(t);
	http_stream_write(t->req, data, len);
}

static void finish_log(struct tunnel *t)
{
	if (t->req && t->reply.status == 200) {
		if (!t->begun)
			begin_log(t);
		tunnel_finish_client(t);
	} else if (t->req) {
		struct call *c = t->call;
		const char *text = t->error_body.len ? t->error_body.data : "the agent gave no reason";
		json_t *status = t->reply.status >= 400 && t->reply.status < 500 ?
				 status_bad_request("%s", text) : status_internal("agent %s: %s", t->agent, text);
		give_back(t);
		answer_status(c, status);
	}
	tunnel_close(t);
}

static void ignore_body(const char *data, size_t len, void *user)
{
	(void)data;
	(void)len;
	(void)user;
}

/* Looks whether the agent switches protocols. False: the tunnel is over. */
static bool watch_reply(struct tunnel *t, const char *data, size_t len)
{
	if (http_reply_feed(&t->reply, data, len, ignore_body, t) < 0) {
		tunnel_fail(t, "the agent's answer is not HTTP");
		return false;
	}
	if (t->reply.status == 101) {
		t->upgraded = true;
		t->paused_client = false;
		http_conn_pause(t->conn, false);
	} else if (t->reply.phase == REPLY_DONE) {
		/* A refusal: it goes to the client as it is, and the connection ends with it. */
		http_conn_shutdown(t->conn);
		t->agent_eof = true;
		upstream_pause(t->up, true);
		http_conn_pause(t->conn, false);
		uv_timer_start(&t->deadline, on_deadline, LINGER_MS, 0);
		return false;
	}
	return true;
}

static void from_agent(const char *data, size_t len, void *user)
{
	struct tunnel *t = user;
	if (t->agent_eof)
		return;
	if (!t->is_log) {
		if (!t->conn)
			return;
		http_conn_write(t->conn, data, len);
		if (!t->upgraded && t->conn && !watch_reply(t, data, len))
			return;
		if (t->conn && http_conn_queued(t->conn) > TUNNEL_QUEUE_BYTES && !t->paused_agent) {
			t->paused_agent = true;
			upstream_pause(t->up, true);
		}
		return;
	}
	if (http_reply_feed(&t->reply, data, len, on_log_body, t) < 0) {
		tunnel_fail(t, "the agent's answer is not HTTP");
		return;
	}
	if (t->reply.phase == REPLY_DONE)
		finish_log(t);
	else if (t->req && t->begun && http_stream_queued(t->req) > TUNNEL_QUEUE_BYTES && !t->paused_agent) {
		t->paused_agent = true;
		upstream_pause(t->up, true);
		http_stream_on_drain(t->req, on_log_drain);
	}
}

static void on_agent_end(void *user)
{
	struct tunnel *t = user;
	if (t->agent_eof)
		return;
	t->agent_eof = true;
	if (t->is_log) {
		if (t->reply.phase == REPLY_UNTIL_CLOSE)
			finish_log(t);
		else
			tunnel_fail(t, "the agent's answer ended early");
		return;
	}
	if (t->client_eof || !t->conn) {
		tunnel_finish_client(t);
		tunnel_close(t);
		return;
	}
	http_conn_shutdown(t->conn);
	uv_timer_start(&t->deadline, on_deadline, LINGER_MS, 0);
}

/* The client that waits for a log went away. */
static void on_request_closed(struct http_request *req, void *user)
{
	struct tunnel *t = user;
	struct call *c = t->call;
	(void)req;
	t->req = NULL;
	tunnel_close(t);
	tunnel_release(t);
	call_unref(c);
}

static void on_agent_open(void *user)
{
	struct tunnel *t = user;
	t->phase = TUNNEL_OPEN;
	if (!t->is_log)
		hijack(t);
	if (t->phase == TUNNEL_OPEN)
		send_agent(t, t->head.data, t->head.len);
}

static void on_agent_fail(const char *why, void *user)
{
	tunnel_fail(user, why);
}

/* What is asked for */

static json_t *choose_container(struct call *c, const json_t *pod, const char **ret)
{
	static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };
	const char *wanted = query_get(&c->q, "container");
	_cleanup_strbuf_ struct strbuf names = { 0 };
	json_t *containers = json_at(pod, "spec.containers"), *v;
	size_t i;
	if (str_empty(wanted) && json_array_size(containers) == 1) {
		*ret = json_str_or(json_array_get(containers, 0), "name", "");
		return NULL;
	}
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
		json_array_foreach(json_object_get(json_object_get(pod, "spec"), lists[l]), i, v) {
			if (!str_empty(wanted) && str_eq(json_str(v, "name"), wanted)) {
				*ret = json_str(v, "name");
				return NULL;
			}
			if (l == 0)
				strbuf_addf(&names, "%s%s", names.len ? " " : "", json_str_or(v, "name", ""));
		}
	if (!str_empty(wanted))
		return status_bad_request("container %s is not valid for pod %s", wanted, c->u.name);
	return status_bad_request("a container name must be specified for pod %s, choose one of: [%s]", c->u.name,
				  names.data ? names.data : "");
}

static json_t *check_log_options(struct call *c)
{
	static const struct {
		const char *name;
		int64_t min;
		const char *why;
	} limits[] = { { "tailLines", 0, "must be greater than or equal to 0" }, { "limitBytes", 1, "must be greater than 0" },
		       { "sinceSeconds", 1, "must be greater than 0" } };
	struct field_errors e = { 0 };
	json_t *status = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const char *text = query_get(&c->q, limits[i].name);
		int64_t v;
		if (str_empty(text))
			continue;
		if (str_to_i64(text, INT64_MIN, INT64_MAX, &v) < 0)
			return status_bad_request("strconv.ParseInt: parsing \"%s\": invalid syntax", text);
		if (v < limits[i].min)
			field_errors_add(&e, "FieldValueInvalid", mem_strdup(limits[i].name), "Invalid value: %lld: %s", (long long)v,
					 limits[i].why);
	}
	if (!str_empty(query_get(&c->q, "sinceSeconds")) && !str_empty(query_get(&c->q, "sinceTime")))
		field_errors_add(&e, "FieldValueForbidden", mem_strdup("[]"),
				 "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified");
	if (e.count)
		status = field_errors_status(&e, "", "PodLogOptions", "");
	field_errors_done(&e);
	return status;
}

/* The agent's address from the Node. */
static json_t *find_agent(struct call *c, const char *node_name, struct sockaddr_storage *ret, char *text, size_t size, char *ip)
{
	struct registry *g = c->g;
	struct store_object *o = store_get(g->store, g->nodes->id, node_name);
	_cleanup_json_ json_t *node = o ? entry_parse(o) : NULL;
	const char *address = NULL;
	size_t i;
	json_t *v;
	if (!node)
		return status_not_found(g->nodes, node_name);
	json_array_foreach(json_at(node, "status.addresses"), i, v)
		if (!address && str_eq(json_str(v, "type"), "InternalIP"))
			address = json_str(v, "address");
	int64_t port = json_int(node, "status.daemonEndpoints.kubeletEndpoint.Port", AGENT_PORT);
	if (port < 1 || port > 65535)
		port = AGENT_PORT;
	if (!address || (uv_ip4_addr(address, (int)port, (struct sockaddr_in *)ret) < 0 &&
			 uv_ip6_addr(address, (int)port, (struct sockaddr_in6 *)ret) < 0))
		return status_internal("node %s has no usable InternalIP", node_name);
	snprintf(text, size, strchr(address, ':') ? "[%s]:%d" : "%s:%d", address, (int)port);
	snprintf(ip, IP_ADDR_TEXT_SIZE, "%s", address);
	return NULL;
}

static bool is_forwarded(const char *name)
{
	static const char *const dropped[] = { "authorization", "cookie", "host", "content-length", "transfer-encoding", "te", "trailer",
		"audit-id" };
	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
		if (strcasecmp(name, dropped[i]) == 0)
			return false;
	return strncasecmp(name, "impersonate-", 12) != 0 && strncasecmp(name, "x-remote-", 9) != 0;
}

/* The request as the agent gets it: our request line, the client's headers without who they are. */
static void write_head(struct tunnel *t, const char *container)
{
	struct call *c = t->call;
	struct strbuf *b = &t->head;
	const char *query = http_query(t->req), *name, *value;
	if (t->is_log) {
		strbuf_addf(b, "GET /containerLogs/%s/%s/%s", c->u.ns, c->u.name, container);
		strbuf_addf(b, "%s%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", *query ? "?" : "", query, t->agent);
		return;
	}
	if (str_eq(c->u.sub, "portforward"))
		strbuf_addf(b, "%s /portForward/%s/%s", c->method, c->u.ns, c->u.name);
	else
		strbuf_addf(b, "%s /%s/%s/%s/%s", c->method, c->u.sub, c->u.ns, c->u.name, container);
	strbuf_addf(b, "%s%s HTTP/1.1\r\nHost: %s\r\n", *query ? "?" : "", query, t->agent);
	for (size_t i = 0; http_header_at(t->req, i, &name, &value); i++)
		if (is_forwarded(name))
			strbuf_addf(b, "%s: %s\r\n", name, value);
	strbuf_adds(b, "\r\n");
}

/* Names that go into the agent's path come from stored objects and are checked there; the URL's own must be plain, too. */
static bool is_plain(const char *s)
{
	return *s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.")];
}

static json_t *prepare(struct call *c, const json_t *pod, const char **container)
{
	json_t *status = str_eq(c->u.sub, "log") ? check_log_options(c) : NULL;
	if (!status && !str_eq(c->u.sub, "portforward"))
		status = choose_container(c, pod, container);
	if (!status && (!is_plain(c->u.ns) || !is_plain(c->u.name)))
		status = status_bad_request("the name or namespace is not valid");
	if (!status && !c->g->tunnel)
		status = status_new(501, "NotImplemented", "this API server was started without --agent-client-cert, --agent-client-key and "
				    "--agent-ca");
	if (!status && !str_eq(c->u.sub, "log") && http_is_h2(c->req))
		status = status_bad_request("%s needs HTTP/1.1: an HTTP/2 connection cannot be upgraded", c->u.sub);
	return status;
}

/* Connects; the head is to be written before the loop turns. */
static struct tunnel *begin(struct call *c, const struct sockaddr *address, SSL_CTX *tls, const char *ip, const char *text)
{
	static const struct upstream_callbacks callbacks = { on_agent_open, from_agent, on_agent_end, on_agent_fail, on_agent_drain, on_deaf };
	struct tunnel *t = mem_new(struct tunnel);
	t->call = call_ref(c);
	t->req = c->req;
	snprintf(t->agent, sizeof(t->agent), "%s", text);
	uv_timer_init(c->g->loop, &t->deadline);
	t->deadline.data = t;
	t->handles = 2;
	http_set_user(t->req, t, on_request_closed);
	t->up = upstream_open(c->g->loop, address, tls, ip, &callbacks, t);
	return t;
}

void tunnel_proxy(struct call *c, const struct tunnel_backend *to, struct strbuf *head)
{
	struct tunnel *t = begin(c, to->address, to->tls, to->ip, to->host);
	t->is_proxy = true;
	t->head = *head;
	*head = (struct strbuf){ 0 };
}

void tunnel_start(struct call *c)
{
	struct store_object *o;
	_cleanup_json_ json_t *pod = NULL;
	const char *container = "", *node;
	struct sockaddr_storage address = { 0 };
	char text[IP_ADDR_TEXT_SIZE + 8], ip[IP_ADDR_TEXT_SIZE];
	json_t *status = registry_find(c->g, c->g->pods, c->u.ns, c->u.name, &o);
	if (!status) {
		pod = entry_parse(o);
		status = prepare(c, pod, &container);
	}
	if (status) {
		answer_status(c, status);
		return;
	}
	node = json_str_or(pod, "spec.nodeName", "");
	if (!*node && str_eq(c->u.sub, "log")) {
		answer_text(c, 200, "text/plain", "");
		return;
	}
	if (!*node)
		status = status_bad_request("pod %s does not have a host assigned", c->u.name);
	else
		status = find_agent(c, node, &address, text, sizeof(text), ip);
	if (status) {
		answer_status(c, status);
		return;
	}
	struct tunnel *t = begin(c, (const struct sockaddr *)&address, c->g->tunnel->tls, ip, text);
	t->is_log = str_eq(c->u.sub, "log");
	write_head(t, container);
}
