/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of the public Kubernetes API, JSON over HTTP/2 on the loop. Every daemon works against a stock API server.
 * Retries are the caller's (work queues); 429 and 503 with Retry-After are retried here, up to 10 times.
 */
#ifndef KEELSON_KUBE_CLIENT_H
#define KEELSON_KUBE_CLIENT_H

#include <uv.h>

#include "io/http_client.h"
#include "kube/json.h"

/* What a kubeconfig's current context says. Files named in it are used in place; inline data is written to private
 * temporary files removed by kubeconfig_done(). Token and tokenFile are supported. */
struct kubeconfig {
	char *server, *ca_file, *cert_file, *key_file, *token, *token_file;
	bool insecure_skip_tls_verify;
	struct strlist temporary_files;
};
int kubeconfig_load(const char *path, struct kubeconfig *ret, struct err *err);
/* In-cluster: KUBERNETES_SERVICE_HOST and the mounted ServiceAccount. */
int kubeconfig_in_cluster(struct kubeconfig *ret, struct err *err);
void kubeconfig_done(struct kubeconfig *k);

struct kube_client;
struct kube_call;
struct kube_client *kube_client_new(uv_loop_t *loop, const struct kubeconfig *config, const char *user_agent,
				    struct err *err);
void kube_client_free(struct kube_client *c);

struct kube_result {
	int status;            /* HTTP; 0: transport failure */
	const char *reason;    /* Status.reason of a refusal, "" otherwise */
	const char *message;   /* what went wrong, "" on success */
	json_t *object;        /* the answer, borrow (json_incref to keep); NULL when it had none */
};
static inline bool kube_ok(const struct kube_result *r)
{
	return r->status >= 200 && r->status < 300;
}
typedef void (*kube_done_fn)(const struct kube_result *r, void *user);

/* path: "/api/v1/namespaces/default/pods/x". body: borrowed, may be NULL. content_type NULL: application/json.
 * done may be NULL (fire and forget); it is never called from inside. */
struct kube_call *kube_do(struct kube_client *c, const char *method, const char *path, const char *content_type,
			  const json_t *body, kube_done_fn done, void *user);
/* The same with a time limit of the caller's instead of 60 s; each repetition after a Retry-After has it anew. */
struct kube_call *kube_do_within(struct kube_client *c, unsigned timeout_ms, const char *method, const char *path,
				 const char *content_type, const json_t *body, kube_done_fn done, void *user);
/* done is not called. A call is gone once its done was called: forget the pointer there. */
void kube_call_cancel(struct kube_call *call);
#define KUBE_MERGE_PATCH "application/merge-patch+json"
#define KUBE_STRATEGIC_PATCH "application/strategic-merge-patch+json"
#define KUBE_JSON_PATCH "application/json-patch+json"

/* A streamed GET (a watch, a log): on_data gets the pieces of a 2xx answer, done the end; see io/http_client.h. The call
 * must be cancelled before the client is freed, or not at all: freeing the client ends it without a call. */
struct http_call *kube_stream(struct kube_client *c, const char *path, unsigned idle_timeout_ms, http_data_fn on_data,
			      http_done_fn done, void *user);
/* A GET whose answer is handed on as text, for lists too long to be decoded at once. */
struct http_call *kube_get_text(struct kube_client *c, const char *path, http_done_fn done, void *user);
/* What an answer that is no success says: Status.reason and Status.message, or the transport's error. *ret_status is
 * the decoded body (own) that reason and message live in; NULL when there was none. */
void kube_refusal(const struct http_answer *a, json_t **ret_status, const char **ret_reason, const char **ret_message);
uv_loop_t *kube_client_loop(const struct kube_client *c);

/* The path of a resource: "/api/v1/..." or "/apis/group/...". namespace, name, subresource may be NULL. Own. */
char *kube_path(const char *api_version, const char *plural, const char *ns, const char *name, const char *sub);

/* Events (core/v1), aggregated by count for the same object, reason and message; never blocks, may drop when the API
 * is away. type: "Normal" or "Warning". */
void kube_event(struct kube_client *c, const char *component, const char *node, const json_t *object, const char *type,
		const char *reason, const char *fmt, ...) _printf_(7, 8);

#endif
