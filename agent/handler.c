/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One action against a container. Every kind ends through finish(), from the loop; a cancelled call lives until its
 * last callback and then goes without a word.
 */
#include "agent/handler.h"

#include <ctype.h>

#include "base/mem.h"
#include "io/http_client.h"

enum { HANDLER_MAX_OUTPUT = 10 << 10, HANDLER_MAX_BODY = 64 << 10, HANDLER_MAX_HEADERS = 64 };

struct handler_call {
	struct agent *agent;
	uv_timer_t timer;
	uv_tcp_t tcp;
	uv_connect_t connect;
	bool timer_open, tcp_open, waiting; /* waiting: an answer of another module is to come */
	bool done_called, cancelled;
	struct grpc_client *grpc;
	int64_t health; /* what a gRPC health check answered */
	char *what; /* for messages: an URL, an address, a command */
	unsigned timeout_ms;
	enum handler_result result;
	char *output;
	handler_done_fn done;
	void *user;
};

static void maybe_free(struct handler_call *h)
{
	if (h->timer_open || h->tcp_open || h->waiting)
		return;
	grpc_client_free(h->grpc);
	free(h->what);
	free(h->output);
	free(h);
}

static void timer_closed(uv_handle_t *t)
{
	struct handler_call *h = t->data;

	h->timer_open = false;
	maybe_free(h);
}

static void tcp_closed(uv_handle_t *t)
{
	struct handler_call *h = t->data;

	h->tcp_open = false;
	maybe_free(h);
}

/* Says the result once and lets go of everything. */
static void finish(struct handler_call *h, enum handler_result r, const char *output)
{
	if (!h->done_called && !h->cancelled) {
		_cleanup_free_ char *text = mem_strndup(output, strnlen(output, HANDLER_MAX_OUTPUT));

		h->done_called = true;
		h->done(r, text, h->user);
	}
	if (h->timer_open && !uv_is_closing((uv_handle_t *)&h->timer))
		uv_close((uv_handle_t *)&h->timer, timer_closed);
	if (h->tcp_open && !uv_is_closing((uv_handle_t *)&h->tcp))
		uv_close((uv_handle_t *)&h->tcp, tcp_closed);
	maybe_free(h);
}

static void on_timer(uv_timer_t *t)
{
	struct handler_call *h = t->data;

	/* A timeout for TCP; the delayed word of what was decided at once for the others. */
	finish(h, h->result, h->output ? h->output : "");
}

static void end_later(struct handler_call *h, uint64_t delay_ms, enum handler_result r, char *output)
{
	h->result = r;
	free(h->output);
	h->output = output;
	uv_timer_start(&h->timer, on_timer, delay_ms, 0);
}

int handler_port(const json_t *container, const json_t *port)
{
	const char *name = json_string_value(port);
	uint64_t n;
	json_t *p;
	size_t i;

	if (json_is_integer(port)) {
		json_int_t v = json_integer_value(port);

		return v > 0 && v < 65536 ? (int)v : -1;
	}
	json_array_foreach(json_object_get(container, "ports"), i, p)
		if (name && str_eq(json_str(p, "name"), name))
			return (int)json_int(p, "containerPort", -1);
	return name && str_to_u64(name, 65535, &n) == 0 && n > 0 ? (int)n : -1;
}

static void on_exec(const struct cri_result *r, void *user)
{
	struct handler_call *h = user;
	const Cri__ExecSyncResponse *a = (const void *)r->answer;
	_cleanup_strbuf_ struct strbuf out = { 0 };

	h->waiting = false;
	if (r->status == GRPC_DEADLINE_EXCEEDED || (!a && strstr(r->message, "timeout"))) {
		strbuf_addf(&out, "command timed out: %s after %u ms", h->what, h->timeout_ms);
		finish(h, HANDLER_FAILED, out.data);
		return;
	}
	if (!a) {
		finish(h, HANDLER_ERROR, r->message);
		return;
	}
	strbuf_add(&out, a->stdout.data, MIN(a->stdout.len, (size_t)HANDLER_MAX_OUTPUT));
	strbuf_add(&out, a->stderr.data, MIN(a->stderr.len, (size_t)HANDLER_MAX_OUTPUT));
	if (a->exit_code != 0 && out.len == 0)
		strbuf_addf(&out, "command %s exited with %d", h->what, a->exit_code);
	finish(h, a->exit_code == 0 ? HANDLER_OK : HANDLER_FAILED, out.data ? out.data : "");
}

static void run_exec(struct handler_call *h, const struct handler_target *t, const json_t *exec)
{
	Cri__ExecSyncRequest request = CRI__EXEC_SYNC_REQUEST__INIT;
	json_t *command = json_object_get(exec, "command"), *v;
	_cleanup_free_ char **cmd = mem_new_n(char *, json_array_size(command) + 1);
	size_t i;

	json_array_foreach(command, i, v)
		if (json_is_string(v))
			cmd[request.n_cmd++] = (char *)json_string_value(v);
	request.container_id = (char *)t->container_id;
	request.cmd = cmd;
	request.timeout = (h->timeout_ms + 999) / 1000;
	h->what = mem_strdup(cmd[0] ? cmd[0] : "");
	h->waiting = true;
	cri_call(h->agent->cri, CRI_EXEC_SYNC, &request.base, h->timeout_ms + 2000, on_exec, h);
}

static void on_http(const struct http_answer *a, void *user)
{
	struct handler_call *h = user;
	_cleanup_strbuf_ struct strbuf out = { 0 };

	h->waiting = false;
	if (a->status == 0)
		strbuf_addf(&out, "Get \"%s\": %s", h->what, a->error ? a->error : "no answer");
	else
		strbuf_addf(&out, "HTTP probe failed with statuscode: %d", a->status);
	finish(h, a->status >= 200 && a->status < 400 ? HANDLER_OK : HANDLER_FAILED, out.data);
}

static struct http_client *http_of(struct agent *a, struct err *err)
{
	struct http_client_options o = { .size = sizeof(o), .insecure_skip_verify = true, .user_agent = "kube-probe/1.36" };

	if (!a->probe_http)
		a->probe_http = http_client_new(&a->loop, &o, err);
	return a->probe_http;
}

static void run_http(struct handler_call *h, const struct handler_target *t, const json_t *get)
{
	const char *host = json_str(get, "host"), *path = json_str_or(get, "path", "/");
	_cleanup_free_ char *scheme = mem_strdup(json_str_or(get, "scheme", "HTTP"));
	int port = handler_port(t->container, json_object_get(get, "port"));
	json_t *headers = json_object_get(get, "httpHeaders"), *v;
	struct http_client_header list[HANDLER_MAX_HEADERS + 2] = { { "Connection", "close" }, { "Accept", "*/*" } };
	struct http_call_request r = { .method = "GET", .headers = list, .header_count = 2 };
	_cleanup_err_ struct err err = { 0 };
	struct http_client *client = http_of(h->agent, &err);
	bool v6;
	size_t i;

	if (str_empty(host))
		host = t->pod_ip;
	if (str_empty(host) || port < 0 || !client) {
		end_later(h, 0, HANDLER_ERROR,
			  mem_strdup(!client ? err_msg(&err) : port < 0 ? "no such port" : "the pod has no address yet"));
		return;
	}
	for (char *p = scheme; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	v6 = strchr(host, ':') != NULL;
	h->what = str_printf("%s://%s%s%s:%d%s%s", scheme, v6 ? "[" : "", host, v6 ? "]" : "", port, *path == '/' ? "" : "/",
			     path);
	json_array_foreach(headers, i, v) {
		if (r.header_count == ARRAY_SIZE(list))
			break;
		list[r.header_count++] =
			(struct http_client_header){ json_str_or(v, "name", "X-None"), json_str_or(v, "value", "") };
	}
	r.url = h->what;
	r.timeout_ms = h->timeout_ms;
	r.no_redirects = true; /* a container may not send the node's agent elsewhere; 3xx is a success */
	r.max_body_bytes = HANDLER_MAX_BODY;
	h->waiting = true;
	http_client_call(client, &r, NULL, on_http, h);
}

static void on_tcp(uv_connect_t *req, int status)
{
	struct handler_call *h = req->handle->data;
	_cleanup_free_ char *text = NULL;

	if (status == UV_ECANCELED)
		return;
	text = str_printf("dial tcp %s: connect: %s", h->what, status < 0 ? uv_strerror(status) : "");
	finish(h, status == 0 ? HANDLER_OK : HANDLER_FAILED, status < 0 ? text : "");
}

static void run_tcp(struct handler_call *h, const struct handler_target *t, const json_t *tcp)
{
	const char *host = json_str(tcp, "host");
	int port = handler_port(t->container, json_object_get(tcp, "port"));
	struct sockaddr_storage address;

	if (str_empty(host))
		host = t->pod_ip;
	if (str_empty(host) || port < 0 ||
	    (uv_ip4_addr(host, port, (struct sockaddr_in *)&address) < 0 &&
	     uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address) < 0)) {
		end_later(h, 0, HANDLER_ERROR,
			  mem_strdup(port < 0 ? "no such port" : "the pod's address is not known or not an IP address"));
		return;
	}
	h->what = str_printf("%s:%d", host, port);
	BUG_ON(uv_tcp_init(&h->agent->loop, &h->tcp) < 0);
	h->tcp.data = h;
	h->tcp_open = true;
	end_later(h, h->timeout_ms, HANDLER_FAILED, str_printf("dial tcp %s: i/o timeout", h->what));
	if (uv_tcp_connect(&h->connect, &h->tcp, (struct sockaddr *)&address, on_tcp) < 0)
		end_later(h, 0, HANDLER_FAILED, str_printf("dial tcp %s: cannot connect", h->what));
}

static void on_health(const void *data, size_t len, void *user)
{
	struct handler_call *h = user;
	Cri__HealthCheckResponse *r = cri__health_check_response__unpack(NULL, len, data);

	h->health = r ? r->status : -1;
	if (r)
		cri__health_check_response__free_unpacked(r, NULL);
}

static void on_health_done(enum grpc_status status, const char *message, void *user)
{
	static const char *const names[] = { "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN" };
	struct handler_call *h = user;
	_cleanup_free_ char *text = NULL;

	h->waiting = false;
	if (status != GRPC_OK)
		text = str_printf("health check of %s failed: %s", h->what, message);
	else
		text = str_printf("service unhealthy (responded with \"%s\")",
				  h->health >= 0 && h->health < (int64_t)ARRAY_SIZE(names) ? names[h->health] : "garbage");
	finish(h, status == GRPC_OK && h->health == 1 ? HANDLER_OK : HANDLER_FAILED, text);
}

static void run_grpc(struct handler_call *h, const struct handler_target *t, const json_t *grpc)
{
	Cri__HealthCheckRequest request = CRI__HEALTH_CHECK_REQUEST__INIT;
	int port = handler_port(t->container, json_object_get(grpc, "port"));
	bool v6 = t->pod_ip && strchr(t->pod_ip, ':');
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;

	if (str_empty(t->pod_ip) || port < 0) {
		end_later(h, 0, HANDLER_ERROR, mem_strdup(port < 0 ? "no such port" : "the pod has no address yet"));
		return;
	}
	h->what = str_printf("tcp://%s%s%s:%d", v6 ? "[" : "", t->pod_ip, v6 ? "]" : "", port);
	h->grpc = grpc_client_new(&h->agent->loop, h->what);
	request.service = (char *)json_str_or(grpc, "service", "");
	len = cri__health_check_request__get_packed_size(&request);
	data = mem_alloc(len + 1);
	cri__health_check_request__pack(&request, data);
	h->waiting = true;
	grpc_call_start(h->grpc, "/grpc.health.v1.Health/Check", data, len, NULL, h->timeout_ms, on_health, on_health_done, h);
}

struct handler_call *handler_run(struct agent *a, const struct handler_target *t, const json_t *spec,
				 unsigned timeout_ms, handler_done_fn done, void *user)
{
	struct handler_call *h = mem_new(struct handler_call);
	json_t *v;

	h->agent = a;
	h->timeout_ms = timeout_ms;
	h->done = done;
	h->user = user;
	BUG_ON(uv_timer_init(&a->loop, &h->timer) < 0);
	h->timer.data = h;
	h->timer_open = true;
	if ((v = json_object_get(spec, "exec")))
		run_exec(h, t, v);
	else if ((v = json_object_get(spec, "httpGet")))
		run_http(h, t, v);
	else if ((v = json_object_get(spec, "tcpSocket")))
		run_tcp(h, t, v);
	else if ((v = json_object_get(spec, "grpc")))
		run_grpc(h, t, v);
	else if ((v = json_object_get(spec, "sleep"))) {
		int64_t seconds = json_int(v, "seconds", 0);

		end_later(h, seconds <= 0 ? 0 : MIN((uint64_t)seconds * 1000, (uint64_t)timeout_ms), HANDLER_OK, NULL);
	} else
		end_later(h, 0, HANDLER_ERROR, mem_strdup("this kind of action is not supported"));
	return h;
}

void handler_cancel(struct handler_call *h)
{
	if (!h || h->done_called)
		return;
	h->cancelled = true;
	finish(h, HANDLER_ERROR, "");
}
