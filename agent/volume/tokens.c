/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The token cache. A token stands under "pod uid/audience/expiration"; it is renewed at 80 % of its life (at least once
 * a day) when somebody asks, and the pods' regular syncs ask. A refused request is repeated after a delay.
 */
#include "agent/volume/tokens.h"

#include <errno.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "kube/object.h"

enum { TOKEN_RETRY_MS = 5000, TOKEN_MAX_AGE_MS = 24 * 3600 * 1000 };

struct token {
	struct tokens *tokens;
	char *pod_uid, *value, *error;
	struct kube_call *call;
	int64_t renew_at_ms, expires_at_ms; /* monotonic */
	int64_t asked_at_ms;
};
struct tokens {
	struct agent *agent;
	struct map *by_key;
	tokens_changed_fn on_changed;
	void *user;
};

static void token_free(void *p)
{
	struct token *t = p;

	if (t->call)
		kube_call_cancel(t->call);
	free(t->pod_uid);
	free(t->value);
	free(t->error);
	free(t);
}

struct tokens *tokens_new(struct agent *a, tokens_changed_fn on_changed, void *user)
{
	struct tokens *t = mem_new(struct tokens);

	t->agent = a;
	t->by_key = map_new(token_free);
	t->on_changed = on_changed;
	t->user = user;
	return t;
}

void tokens_free(struct tokens *t)
{
	if (!t)
		return;
	map_free(t->by_key);
	free(t);
}

static void on_token(const struct kube_result *r, void *user)
{
	struct token *t = user;
	const char *value = json_str(r->object, "status.token"), *expires = json_str(r->object, "status.expirationTimestamp");
	int64_t now = clock_mono_ms(), until_us, life_ms;

	t->call = NULL;
	free(t->error);
	t->error = NULL;
	if (!kube_ok(r) || str_empty(value)) {
		t->error = mem_strdup(str_empty(r->message) ? "the API gave no token" : r->message);
		t->renew_at_ms = now + TOKEN_RETRY_MS;
	} else {
		free(t->value);
		t->value = mem_strdup(value);
		life_ms = expires && clock_parse_rfc3339(expires, &until_us) == 0 ? (until_us - clock_wall_us()) / 1000 :
										    600 * 1000;
		t->expires_at_ms = now + MAX(life_ms, (int64_t)0);
		/* Counted from the request, as clocks of two machines differ. */
		t->renew_at_ms = now + MIN(life_ms / 5 * 4, (int64_t)TOKEN_MAX_AGE_MS);
	}
	t->tokens->on_changed(t->pod_uid, t->tokens->user);
}

static void ask(struct tokens *all, struct token *t, const json_t *pod, const char *audience, int64_t expiration_s)
{
	const char *account = json_str_or(pod, "spec.serviceAccountName", "default");
	_cleanup_free_ char *path = kube_path("v1", "serviceaccounts", object_namespace(pod), account, "token");
	json_t *body = json_pack("{s:s,s:s,s:{s:[],s:I,s:{s:s,s:s,s:s,s:s}}}", "apiVersion", "authentication.k8s.io/v1", "kind",
				 "TokenRequest", "spec", "audiences", "expirationSeconds", (json_int_t)expiration_s,
				 "boundObjectRef", "apiVersion", "v1", "kind", "Pod", "name", object_name(pod), "uid",
				 object_uid(pod));

	BUG_ON(!body);
	if (!str_empty(audience))
		json_array_append_new(json_at(body, "spec.audiences"), json_string(audience));
	t->asked_at_ms = clock_mono_ms();
	t->call = kube_do(all->agent->kube, "POST", path, NULL, body, on_token, t);
	json_decref(body);
}

const char *tokens_get(struct tokens *t, const json_t *pod, const char *audience, int64_t expiration_s, struct err *err)
{
	_cleanup_free_ char *key = str_printf("%s/%s/%lld", object_uid(pod), audience ? audience : "",
					      (long long)expiration_s);
	struct token *token = map_get(t->by_key, key);
	int64_t now = clock_mono_ms();

	if (!token) {
		token = mem_new(struct token);
		token->tokens = t;
		token->pod_uid = mem_strdup(object_uid(pod));
		map_set(t->by_key, key, token);
	}
	if (!token->call && now >= token->renew_at_ms)
		ask(t, token, pod, audience, expiration_s);
	if (token->value && now < token->expires_at_ms)
		return token->value;
	if (token->error)
		err_set(err, EIO, "failed to fetch token: %s", token->error);
	else
		err_set(err, EAGAIN, "waiting for a token");
	return NULL;
}

void tokens_forget_pod(struct tokens *t, const char *pod_uid)
{
	const char *key;
	void *value;
	size_t it = 0;

	while (map_next(t->by_key, &it, &key, &value))
		if (str_eq(((struct token *)value)->pod_uid, pod_uid))
			map_del(t->by_key, key);
}
