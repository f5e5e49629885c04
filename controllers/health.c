// SPDX-License-Identifier: GPL-2.0-or-later
/* Health and metrics: answers at once, from memory, to GET and HEAD. */
#include "controllers/health.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "io/http_server.h"

struct health {
	struct http_server *server;
	bool (*ready)(void *user);
	void *user;
};

static void answer(struct http_request *req, int status, const char *type, const char *body, size_t len)
{
	const struct http_field fields[] = { { "Content-Type", type }, { "X-Content-Type-Options", "nosniff" } };

	http_respond(req, status, fields, ARRAY_SIZE(fields), body, len);
}

static void say(struct http_request *req, int status, const char *text)
{
	answer(req, status, "text/plain; charset=utf-8", text, strlen(text));
}

static void on_request(struct http_request *req, void *user)
{
	const struct health *h = user;
	const char *path = http_path(req), *method = http_method(req);

	if (!str_eq(method, "GET") && !str_eq(method, "HEAD")) {
		say(req, 405, "only GET and HEAD\n");
	} else if (str_eq(path, "/healthz") || str_eq(path, "/livez")) {
		say(req, 200, "ok");
	} else if (str_eq(path, "/readyz")) {
		bool ready = h->ready(h->user);

		say(req, ready ? 200 : 503, ready ? "ok" : "the caches are not full yet\n");
	} else if (str_eq(path, "/metrics")) {
		_cleanup_strbuf_ struct strbuf out = { 0 };

		metrics_write(&out);
		answer(req, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
	} else {
		say(req, 404, "not found\n");
	}
}

int health_start(uv_loop_t *loop, const char *address, bool (*ready)(void *user), void *user,
		 struct health **ret_health, struct err *err)
{
	const struct http_server_options options = { .size = sizeof(options), .max_body_bytes = 1024,
						     .max_connections = 64 };
	struct health *h = mem_new(struct health);
	int r;

	h->ready = ready;
	h->user = user;
	h->server = http_server_new(loop, &options, on_request, h);
	r = http_server_listen(h->server, address, NULL, NULL, err);
	if (r < 0) {
		health_stop(h);
		return err_wrap(err, "--listen %s", address);
	}
	*ret_health = h;
	return 0;
}

void health_stop(struct health *h)
{
	if (h)
		http_server_shutdown(h->server, 0, free, h);
}
