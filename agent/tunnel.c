/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec, attach and port-forward: the runtime gives an URL of its streaming server; the client's request goes there with
 * only the request line changed, then bytes are copied both ways. Half-closes go through: the end of one direction does
 * not end the other. Neither SPDY nor anything above it is looked at.
 */
#include <errno.h>

#include "agent/pods.h"
#include "agent/server_parts.h"
#include "base/log.h"
#include "base/mem.h"

enum {
	BUFFER_BYTES = 64 << 10,
	QUEUE_BYTES = 256 << 10,
	LINGER_STEP_MS = 50,
	LINGER_STEPS = 100,       /* for a client that has everything but does not close */
	LINGER_MAX_STEPS = 1200,  /* for one that does not read */
	CONNECT_TIMEOUT_MS = 10 * 1000,
};

struct tunnel {
	struct agent *agent;
	struct http_request *req; /* NULL once taken over or gone */
	struct http_conn *client;
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	bool cri_pending, tcp_open, timer_open, connected, client_open;
	bool client_eof, server_eof, dead, paused_server, shutting;
	bool server_deaf; /* the runtime takes no more, but what it has said is still to be read */
	unsigned lingered, idle_steps;
	struct strbuf head;
	char *read_buf;
};

static void maybe_free(struct tunnel *t)
{
	if (t->cri_pending || t->tcp_open || t->timer_open || t->client_open || t->req)
		return;
	strbuf_done(&t->head);
	free(t->read_buf);
	free(t);
}

static void tcp_closed(uv_handle_t *h)
{
	struct tunnel *t = h->data;

	t->tcp_open = false;
	maybe_free(t);
}

static void timer_closed(uv_handle_t *h)
{
	struct tunnel *t = h->data;

	t->timer_open = false;
	maybe_free(t);
}

/* Ends both sides. May be called again. */
static void tunnel_end(struct tunnel *t)
{
	t->dead = true;
	if (t->tcp_open && !uv_is_closing((uv_handle_t *)&t->tcp))
		uv_close((uv_handle_t *)&t->tcp, tcp_closed);
	if (t->timer_open && !uv_is_closing((uv_handle_t *)&t->timer))
		uv_close((uv_handle_t *)&t->timer, timer_closed);
	if (t->client)
		http_conn_close(TAKE(t->client));
}

static void refuse(struct tunnel *t, int status, const char *text)
{
	struct http_request *req = t->req;

	if (req)
		server_text(req, status, text);
	tunnel_end(t);
}

/* Queries */

void server_query_all(const struct http_request *req, const char *name, struct strlist *out)
{
	_cleanup_strlist_ struct strlist parts = { 0 };

	strlist_split(&parts, http_query(req), '&');
	for (size_t i = 0; i < parts.count; i++) {
		const char *value = strchr(parts.items[i], '=');
		size_t len = value ? (size_t)(value - parts.items[i]) : strlen(parts.items[i]);
		struct strbuf key = { 0 }, text = { 0 };

		if (url_decode(&key, parts.items[i], len, true) == 0 && str_eq(key.data ? key.data : "", name) &&
		    (!value || url_decode(&text, value + 1, strlen(value + 1), true) == 0))
			strlist_take(out, strbuf_take(&text));
		else
			strbuf_done(&text);
		strbuf_done(&key);
	}
}

char *server_query(const struct http_request *req, const char *name)
{
	_cleanup_strlist_ struct strlist all = { 0 };

	server_query_all(req, name, &all);
	return all.count > 0 ? mem_strdup(all.items[0]) : NULL;
}

bool server_query_bool(const struct http_request *req, const char *name)
{
	_cleanup_free_ char *v = server_query(req, name);

	/* As Kubernetes converts parameters: whatever is not "false" or "0" is true ("True" of a Python client, too). */
	return v && strcasecmp(v, "false") != 0 && !str_eq(v, "0");
}

/* The runtime's side */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct tunnel *t = h->data;

	(void)suggested;
	if (!t->read_buf)
		t->read_buf = mem_alloc(BUFFER_BYTES);
	*buf = uv_buf_init(t->read_buf, BUFFER_BYTES);
}

/* After the runtime's end: what is queued goes out first, then the client has a while to close its side. */
static void on_linger(uv_timer_t *timer)
{
	struct tunnel *t = timer->data;
	bool queued = t->client && http_conn_queued(t->client) > 0;

	t->idle_steps += !queued;
	if (!t->client || t->lingered++ >= LINGER_MAX_STEPS || (!queued && (t->client_eof || t->idle_steps >= LINGER_STEPS)))
		tunnel_end(t);
	else
		uv_timer_start(timer, on_linger, LINGER_STEP_MS, 0);
}

static void on_server_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct tunnel *t = stream->data;

	if (t->dead || n == 0)
		return;
	if (n < 0) {
		t->server_eof = true;
		uv_read_stop(stream);
		if (t->client)
			http_conn_shutdown(t->client);
		uv_timer_start(&t->timer, on_linger, LINGER_STEP_MS, 0);
		return;
	}
	http_conn_write(t->client, buf->base, (size_t)n);
	if (http_conn_queued(t->client) > QUEUE_BYTES) {
		t->paused_server = true;
		uv_read_stop(stream);
	}
}

struct tunnel_write {
	uv_write_t req;
	struct tunnel *tunnel;
	char data[];
};

/* The runtime has closed, most often because the command has ended: the last of its output may not have been read yet, and
 * the end of that ends the tunnel. What the client still says goes nowhere. */
static void server_went_deaf(struct tunnel *t)
{
	t->server_deaf = true;
	if (t->client)
		http_conn_pause(t->client, false);
}

static void on_server_written(uv_write_t *req, int status)
{
	struct tunnel_write *w = CONTAINER_OF(req, struct tunnel_write, req);
	struct tunnel *t = w->tunnel;

	free(w);
	if (t->dead)
		return;
	if (status < 0)
		server_went_deaf(t);
	else if (t->client && uv_stream_get_write_queue_size((uv_stream_t *)&t->tcp) == 0)
		http_conn_pause(t->client, false);
}

static void server_write(struct tunnel *t, const void *data, size_t len)
{
	if (t->server_deaf || t->server_eof)
		return;
	struct tunnel_write *w = mem_alloc(sizeof(*w) + len);
	uv_buf_t buf = uv_buf_init(w->data, (unsigned)len);

	memcpy(w->data, data, len);
	w->tunnel = t;
	if (uv_write(&w->req, (uv_stream_t *)&t->tcp, &buf, 1, on_server_written) < 0) {
		free(w);
		server_went_deaf(t);
		return;
	}
	if (t->client && uv_stream_get_write_queue_size((uv_stream_t *)&t->tcp) > QUEUE_BYTES)
		http_conn_pause(t->client, true);
}

/* The client's side */

static void on_client_data(struct http_conn *c, const void *data, size_t len, void *user)
{
	struct tunnel *t = user;

	(void)c;
	if (!t->dead)
		server_write(t, data, len);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	(void)req, (void)status;
}

static void on_client_eof(struct http_conn *c, void *user)
{
	struct tunnel *t = user;

	(void)c;
	if (t->dead || t->client_eof)
		return;
	t->client_eof = true;
	if (!t->server_eof)
		uv_shutdown(&t->shutdown, (uv_stream_t *)&t->tcp, on_shutdown);
}

static void on_client_drain(struct http_conn *c, void *user)
{
	struct tunnel *t = user;

	(void)c;
	if (t->dead || !t->paused_server || t->server_eof)
		return;
	t->paused_server = false;
	uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_server_read);
}

static void on_client_close(struct http_conn *c, void *user)
{
	struct tunnel *t = user;

	(void)c;
	t->client = NULL;
	t->client_open = false;
	tunnel_end(t);
	maybe_free(t);
}

/* Setting up */

static void on_request_close(struct http_request *req, void *user)
{
	struct tunnel *t = user;

	(void)req;
	t->req = NULL;
	tunnel_end(t);
	maybe_free(t);
}

/* The head for the runtime: the client's own, but for the request line and who it is. */
static void build_head(struct tunnel *t, const char *path)
{
	static const char *const dropped[] = { "authorization", "cookie", "transfer-encoding", "content-length", "expect" };
	const char *name, *value;
	size_t len;

	(void)http_body(t->req, &len);
	strbuf_addf(&t->head, "%s %s HTTP/1.1\r\n", http_method(t->req), path);
	for (size_t i = 0; http_header_at(t->req, i, &name, &value); i++) {
		bool drop = false;

		for (size_t k = 0; k < ARRAY_SIZE(dropped); k++)
			drop = drop || strcasecmp(name, dropped[k]) == 0;
		if (!drop)
			strbuf_addf(&t->head, "%s: %s\r\n", name, value);
	}
	if (len > 0 || str_eq(http_method(t->req), "POST"))
		strbuf_addf(&t->head, "Content-Length: %zu\r\n", len);
	strbuf_adds(&t->head, "\r\n");
	strbuf_add(&t->head, http_body(t->req, &len), len);
}

static void on_connected(uv_connect_t *req, int status)
{
	static const struct http_conn_callbacks callbacks = {
		.on_data = on_client_data, .on_eof = on_client_eof, .on_drain = on_client_drain, .on_close = on_client_close,
	};
	struct tunnel *t = req->handle->data;
	struct http_request *client;

	if (t->dead)
		return;
	if (status < 0) {
		refuse(t, 502, "the runtime's streaming server cannot be reached\n");
		return;
	}
	uv_timer_stop(&t->timer);
	uv_tcp_nodelay(&t->tcp, 1);
	client = TAKE(t->req);
	if (http_hijack(client, &callbacks, t, &t->client) < 0) {
		t->req = client;
		refuse(t, 400, "streams need HTTP/1.1\n");
		return;
	}
	t->client_open = true;
	server_write(t, t->head.data, t->head.len);
	strbuf_done(&t->head);
	uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_server_read);
}

static void on_connect_timeout(uv_timer_t *timer)
{
	refuse(timer->data, 504, "the runtime's streaming server does not answer\n");
}

/* "http://127.0.0.1:4711/exec/token" */
static int connect_to(struct tunnel *t, const char *url)
{
	const char *host = str_after(url, "http://"), *slash = host ? strchr(host, '/') : NULL;
	_cleanup_free_ char *address = slash ? mem_strndup(host, (size_t)(slash - host)) : NULL;
	char *colon = address ? strrchr(address, ':') : NULL;
	struct sockaddr_storage to;
	uint64_t port;

	if (!colon || str_to_u64(colon + 1, 65535, &port) < 0)
		return -EINVAL;
	*colon = '\0';
	if (uv_ip4_addr(address, (int)port, (struct sockaddr_in *)&to) < 0) {
		size_t len = strlen(address);

		if (len < 2 || address[len - 1] != ']')
			return -EINVAL;
		address[len - 1] = '\0';
		if (uv_ip6_addr(address + 1, (int)port, (struct sockaddr_in6 *)&to) < 0)
			return -EINVAL;
	}
	build_head(t, slash);
	BUG_ON(uv_tcp_init(&t->agent->loop, &t->tcp) < 0);
	t->tcp.data = t;
	t->tcp_open = true;
	uv_timer_start(&t->timer, on_connect_timeout, CONNECT_TIMEOUT_MS, 0);
	return uv_tcp_connect(&t->connect, &t->tcp, (struct sockaddr *)&to, on_connected);
}

static void on_url(const struct cri_result *r, void *user)
{
	struct tunnel *t = user;
	const Cri__StreamUrlResponse *a = (const void *)r->answer;

	t->cri_pending = false;
	if (t->dead) {
		maybe_free(t);
		return;
	}
	if (!a) {
		_cleanup_free_ char *text = str_printf("%s\n", r->message);

		refuse(t, r->status == GRPC_NOT_FOUND ? 404 : 500, text);
	} else if (connect_to(t, a->url) < 0) {
		log_warn("the runtime gave an unusable URL: %s", a->url);
		refuse(t, 502, "the runtime gave an unusable URL\n");
	}
}

static bool either(const struct http_request *req, const char *a, const char *b)
{
	return server_query_bool(req, a) || server_query_bool(req, b);
}

static void ask_url(struct tunnel *t, const char *verb, const char *id)
{
	Cri__ExecRequest exec = CRI__EXEC_REQUEST__INIT;
	Cri__AttachRequest attach = CRI__ATTACH_REQUEST__INIT;
	Cri__PortForwardRequest forward = CRI__PORT_FORWARD_REQUEST__INIT;
	_cleanup_strlist_ struct strlist command = { 0 };
	const ProtobufCMessage *request = &forward.base;
	enum cri_method method = CRI_PORT_FORWARD;
	bool tty = server_query_bool(t->req, "tty"), in = either(t->req, "stdin", "input");
	bool out = either(t->req, "stdout", "output"), error = either(t->req, "stderr", "error") && !tty;

	if (str_eq(verb, "portForward")) {
		forward.pod_sandbox_id = (char *)id;
	} else if (!in && !out && !error) {
		refuse(t, 400, "you must specify at least 1 of stdin, stdout, stderr\n");
		return;
	} else if (str_eq(verb, "exec")) {
		server_query_all(t->req, "command", &command);
		exec.container_id = (char *)id;
		exec.cmd = command.items;
		exec.n_cmd = command.count;
		exec.tty = tty;
		exec.stdin = in;
		exec.stdout = out;
		exec.stderr = error;
		request = &exec.base;
		method = CRI_EXEC;
	} else {
		attach.container_id = (char *)id;
		attach.tty = tty;
		attach.stdin = in;
		attach.stdout = out;
		attach.stderr = error;
		request = &attach.base;
		method = CRI_ATTACH;
	}
	t->cri_pending = true;
	cri_call(t->agent->cri, method, request, 0, on_url, t);
}

/* Whether one of the WebSocket protocols that the client offers is containerd's. It does not know v5.channel.k8s.io nor SPDY
 * inside of WebSocket; who offers nothing else falls back to SPDY when it is refused. */
static bool speaks_websocket(const struct http_request *req)
{
	static const char *const known[] = { "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io" };
	const char *offered = http_header(req, "sec-websocket-protocol");
	size_t len;

	for (; offered && *offered; offered += len) {
		offered += strspn(offered, ", \t");
		len = strcspn(offered, ", \t");
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			if (strlen(known[i]) == len && strncmp(offered, known[i], len) == 0)
				return true;
	}
	return false;
}

void tunnel_request(struct agent *a, struct http_request *req, const struct strlist *path)
{
	bool forward = str_eq(path->items[0], "portForward");
	const char *upgrade = http_header(req, "upgrade"), *id = NULL;
	const struct observed_container *c;
	_cleanup_free_ char *why = NULL;
	struct tunnel *t;
	struct pod *p = path->count >= 3 ? pods_find(a->pods, path->items[1], path->items[2]) : NULL;

	if (path->count < (forward ? 3 : 4) || path->count > (forward ? 4 : 5)) {
		server_text(req, 404, "404 page not found\n");
		return;
	}
	if (upgrade && strcasecmp(upgrade, "websocket") == 0 && !speaks_websocket(req)) {
		server_text(req, 400, "none of these WebSocket protocols is supported here: use v4.channel.k8s.io or SPDY\n");
		return;
	}
	if (!upgrade || http_is_h2(req)) {
		server_text(req, 400, "unable to upgrade: missing upgrade headers in request\n");
		return;
	}
	if (!p || (path->count == (forward ? 4 : 5) && !str_eq(path->items[3], p->uid))) {
		why = str_printf("pod does not exist: %s/%s\n", path->items[1], path->items[2]);
	} else if (forward) {
		id = pod_sandbox(p) ? pod_sandbox(p)->id : NULL;
		if (!id)
			why = str_printf("pod %s/%s is not running\n", p->ns, p->name);
	} else {
		c = observed_find(p->seen, path->items[path->count - 1], 0);
		if (c && c->state == PLAN_RUNNING)
			id = c->id;
		else
			why = str_printf("container not found (\"%s\")\n", path->items[path->count - 1]);
	}
	if (!id) {
		server_text(req, 404, why);
		return;
	}
	t = mem_new(struct tunnel);
	t->agent = a;
	t->req = req;
	BUG_ON(uv_timer_init(&a->loop, &t->timer) < 0);
	t->timer.data = t;
	t->timer_open = true;
	http_set_user(req, t, on_request_close);
	ask_url(t, path->items[0], id);
}
