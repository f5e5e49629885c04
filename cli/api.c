/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kube client on a loop that runs only while an answer is waited for. */
#include "cli/api.h"

#include <errno.h>

#include "base/mem.h"

enum { CALL_TIMEOUT_MS = 15000, CLOSE_TURNS = 100 };

int api_open(struct api *a, const struct kubeconfig *config, struct err *err)
{
	uv_loop_init(&a->loop);
	a->client = kube_client_new(&a->loop, config, "keelson", err);
	if (a->client)
		return 0;
	uv_loop_close(&a->loop);
	return -EIO;
}

void api_close(struct api *a)
{
	if (!a->client)
		return;
	kube_client_free(TAKE(a->client));
	/* The close callbacks of what was freed. */
	for (int i = 0; i < CLOSE_TURNS && uv_loop_close(&a->loop) == UV_EBUSY; i++)
		uv_run(&a->loop, UV_RUN_NOWAIT);
}

void api_answer_done(struct api_answer *a)
{
	free(a->reason);
	free(a->message);
	json_decref(a->object);
	*a = (struct api_answer){ 0 };
}

struct waiting {
	struct api_answer *answer;
	bool done;
};

static void on_done(const struct kube_result *r, void *user)
{
	struct waiting *w = user;

	w->done = true;
	*w->answer = (struct api_answer){ .status = r->status, .reason = mem_strdup(r->reason), .message = mem_strdup(r->message),
					  .object = json_incref(r->object) };
}

static bool call(struct api *a, const char *method, const char *path, const char *type, const json_t *body, struct api_answer *ret)
{
	struct waiting w = { .answer = ret };

	api_answer_done(ret);
	kube_do_within(a->client, CALL_TIMEOUT_MS, method, path, type, body, on_done, &w);
	while (!w.done)
		uv_run(&a->loop, UV_RUN_ONCE);
	return ret->status >= 200 && ret->status < 300;
}

bool api_call(struct api *a, const char *method, const char *path, const json_t *body, struct api_answer *ret)
{
	return call(a, method, path, NULL, body, ret);
}

bool api_patch(struct api *a, const char *path, const json_t *patch, struct api_answer *ret)
{
	return call(a, "PATCH", path, KUBE_MERGE_PATCH, patch, ret);
}

struct text {
	struct strbuf *out;
	struct err *err;
	int result;
	bool done;
};

static void on_text(const struct http_answer *a, void *user)
{
	struct text *t = user;
	_cleanup_json_ json_t *status = NULL;
	const char *reason, *message;

	t->done = true;
	if (a->status == 200) {
		strbuf_add(t->out, a->body, a->body_len);
		return;
	}
	kube_refusal(a, &status, &reason, &message);
	t->result = err_set(t->err, EIO, "the API server does not tell: %s", message);
}

int api_text(struct api *a, const char *path, struct strbuf *out, struct err *err)
{
	struct text t = { .out = out, .err = err };

	kube_get_text(a->client, path, on_text, &t);
	while (!t.done)
		uv_run(&a->loop, UV_RUN_ONCE);
	return t.result;
}
