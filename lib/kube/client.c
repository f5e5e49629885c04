/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls of the Kubernetes API. A kube_call is either on the wire (http is set), or waits to be repeated after a
 * Retry-After (retry is set), never both. Its body is kept as text for that.
 */
#include "kube/client.h"

#include <errno.h>

#include "base/file.h"
#include "base/mem.h"
#include "kube/client_internal.h"

enum {
	CALL_TIMEOUT_MS = 60000,
	MAX_RETRIES = 10,
	MAX_RETRY_AFTER_S = 60,
	TOKEN_AGE_MS = 60000, /* how long a token file's content is believed */
	MAX_TOKEN_BYTES = 1 << 16,
};

struct kube_client {
	uv_loop_t *loop;
	struct http_client *http;
	char *server, *token, *token_file;
	uint64_t token_read_ms;
	struct kube_call *calls;
	struct events *events;
};

struct kube_call {
	struct kube_call *prev, *next;
	struct kube_client *client;
	char *method, *url, *content_type;
	struct strbuf body;
	struct http_call *http;
	uv_timer_t *retry;
	unsigned retries, timeout_ms;
	kube_done_fn done;
	void *user;
};

struct events **kube_client_events(struct kube_client *c)
{
	return &c->events;
}

uv_loop_t *kube_client_loop(const struct kube_client *c)
{
	return c->loop;
}

struct kube_client *kube_client_new(uv_loop_t *loop, const struct kubeconfig *config, const char *user_agent,
				    struct err *err)
{
	const struct http_client_options options = {
		.size = sizeof(options),
		.ca_file = config->ca_file,
		.cert_file = config->cert_file,
		.key_file = config->key_file,
		.insecure_skip_verify = config->insecure_skip_tls_verify,
		.user_agent = user_agent,
	};
	struct http_client *http = http_client_new(loop, &options, err);

	if (!http)
		return NULL;
	struct kube_client *c = mem_new(struct kube_client);

	c->loop = loop;
	c->http = http;
	c->server = mem_strdup(config->server);
	c->token = mem_strdup(config->token);
	c->token_file = mem_strdup(config->token_file);
	return c;
}

static void on_retry_closed(uv_handle_t *h)
{
	free(h);
}

static void call_free(struct kube_call *call)
{
	if (call->prev)
		call->prev->next = call->next;
	else
		call->client->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	if (call->retry)
		uv_close((uv_handle_t *)call->retry, on_retry_closed);
	free(call->method);
	free(call->url);
	free(call->content_type);
	strbuf_done(&call->body);
	free(call);
}

void kube_call_cancel(struct kube_call *call)
{
	if (!call)
		return;
	http_call_cancel(call->http);
	call_free(call);
}

void kube_client_free(struct kube_client *c)
{
	if (!c)
		return;
	while (c->calls)
		kube_call_cancel(c->calls);
	events_free(c->events);
	http_client_free(c->http);
	free(c->server);
	free(c->token);
	free(c->token_file);
	free(c);
}

/* The bearer token, or NULL. A file's content is read again now and then: it is rotated. */
static const char *token(struct kube_client *c)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	uint64_t now = uv_now(c->loop);

	if (!c->token_file || (c->token && now - c->token_read_ms < TOKEN_AGE_MS))
		return c->token;
	/* A file that cannot be read now leaves the token of before. */
	if (file_read(c->token_file, MAX_TOKEN_BYTES, &b) == 0 && b.len) {
		b.data[strcspn(b.data, "\r\n")] = '\0';
		free(c->token);
		c->token = strbuf_take(&b);
		c->token_read_ms = now;
	}
	return c->token;
}

static struct http_call *send_call(struct kube_client *c, struct http_call_request *r, const char *content_type,
				   http_data_fn on_data, http_done_fn done, void *user)
{
	struct http_client_header headers[3] = { { "Accept", "application/json" } };
	_cleanup_free_ char *bearer = NULL;

	r->headers = headers;
	r->header_count = 1;
	if (content_type)
		headers[r->header_count++] = (struct http_client_header){ "Content-Type", content_type };
	if (token(c)) {
		bearer = str_printf("Bearer %s", token(c));
		headers[r->header_count++] = (struct http_client_header){ "Authorization", bearer };
	}
	return http_client_call(c->http, r, on_data, done, user);
}

struct http_call *kube_stream(struct kube_client *c, const char *path, unsigned idle_timeout_ms, http_data_fn on_data,
			      http_done_fn done, void *user)
{
	_cleanup_free_ char *url = str_printf("%s%s", c->server, path);
	struct http_call_request r = { .method = "GET", .url = url, .idle_timeout_ms = idle_timeout_ms };

	return send_call(c, &r, NULL, on_data, done, user);
}

struct http_call *kube_get_text(struct kube_client *c, const char *path, http_done_fn done, void *user)
{
	_cleanup_free_ char *url = str_printf("%s%s", c->server, path);
	struct http_call_request r = { .method = "GET", .url = url, .timeout_ms = CALL_TIMEOUT_MS, .long_answer = true };

	return send_call(c, &r, NULL, NULL, done, user);
}

void kube_refusal(const struct http_answer *a, json_t **ret_status, const char **ret_reason, const char **ret_message)
{
	json_t *status = a->status && a->body_len ? json_parse(a->body, a->body_len, NULL, NULL) : NULL;

	*ret_status = status;
	*ret_reason = json_str_or(status, "reason", "");
	*ret_message = json_str_or(status, "message", a->error ? a->error : "the server refused the request");
}

static void start(struct kube_call *call);

static void on_retry(uv_timer_t *t)
{
	struct kube_call *call = t->data;

	call->retry = NULL;
	uv_close((uv_handle_t *)t, on_retry_closed);
	start(call);
}

static bool should_retry(const struct kube_call *call, const struct http_answer *a)
{
	return (a->status == 429 || a->status == 503) && *a->retry_after && call->retries < MAX_RETRIES;
}

static void retry_later(struct kube_call *call, const struct http_answer *a)
{
	uint64_t seconds = 1;

	if (str_to_u64(a->retry_after, MAX_RETRY_AFTER_S, &seconds) == -ERANGE)
		seconds = MAX_RETRY_AFTER_S;
	call->retries++;
	call->retry = mem_new(uv_timer_t);
	uv_timer_init(call->client->loop, call->retry);
	call->retry->data = call;
	uv_timer_start(call->retry, on_retry, seconds * 1000, 0);
}

static void on_done(const struct http_answer *a, void *user)
{
	struct kube_call *call = user;
	struct kube_result result = { .status = a->status, .reason = "", .message = "" };
	_cleanup_json_ json_t *object = NULL;
	_cleanup_err_ struct err e = { 0 };
	kube_done_fn done = call->done;
	void *done_user = call->user;

	call->http = NULL;
	if (should_retry(call, a)) {
		retry_later(call, a);
		return;
	}
	if (!kube_ok(&result)) {
		kube_refusal(a, &object, &result.reason, &result.message);
	} else if (a->body_len) {
		object = json_parse(a->body, a->body_len, NULL, &e);
		if (!object) {
			result.status = 0;
			result.message = err_msg(&e);
		}
	}
	result.object = object;
	/* The answer outlives the call: done may free the client. */
	call_free(call);
	if (done)
		done(&result, done_user);
}

static void start(struct kube_call *call)
{
	struct http_call_request r = {
		.method = call->method,
		.url = call->url,
		.body = call->body.data,
		.body_len = call->body.len,
		.timeout_ms = call->timeout_ms,
	};

	call->http = send_call(call->client, &r, call->content_type, NULL, on_done, call);
}

struct kube_call *kube_do_within(struct kube_client *c, unsigned timeout_ms, const char *method, const char *path,
				 const char *content_type, const json_t *body, kube_done_fn done, void *user)
{
	struct kube_call *call = mem_new(struct kube_call);

	call->client = c;
	call->timeout_ms = timeout_ms;
	call->method = mem_strdup(method);
	call->url = str_printf("%s%s", c->server, path);
	call->done = done;
	call->user = user;
	if (body) {
		json_write(&call->body, body);
		call->content_type = mem_strdup(content_type ? content_type : "application/json");
	}
	call->next = c->calls;
	if (c->calls)
		c->calls->prev = call;
	c->calls = call;
	start(call);
	return call;
}

struct kube_call *kube_do(struct kube_client *c, const char *method, const char *path, const char *content_type,
			  const json_t *body, kube_done_fn done, void *user)
{
	return kube_do_within(c, CALL_TIMEOUT_MS, method, path, content_type, body, done, user);
}

char *kube_path(const char *api_version, const char *plural, const char *ns, const char *name, const char *sub)
{
	struct strbuf b = { 0 };

	strbuf_addf(&b, "/%s/%s", strchr(api_version, '/') ? "apis" : "api", api_version);
	if (!str_empty(ns)) {
		strbuf_adds(&b, "/namespaces/");
		url_encode(&b, ns);
	}
	strbuf_addf(&b, "/%s", plural);
	if (!str_empty(name)) {
		strbuf_addc(&b, '/');
		url_encode(&b, name);
	}
	if (!str_empty(sub))
		strbuf_addf(&b, "/%s", sub);
	return strbuf_take(&b);
}
