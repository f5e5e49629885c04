// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The serviceaccount-token controller: a Secret of type kubernetes.io/service-account-token gets a token that lives as long as it
 * does, beside the CA and its namespace. The token is asked of the API server (TokenRequest), bound to the Secret and for the
 * longest time there is, so that this program needs no key to sign with. A Secret whose account is gone goes, too: when the API server
 * says so, as the cache of accounts may be behind that of Secrets.
 */
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/workload.h"
#include "kube/object.h"

#define ACCOUNT_NAME "kubernetes.io/service-account.name"
#define ACCOUNT_UID "kubernetes.io/service-account.uid"
#define LONGEST_S (INT64_C(1) << 32)
enum { TAG_TOKEN = 1, TAG_ACCOUNT };

/* State, by the uid of a Secret: the token that was made for it and is not written yet, or GONE: it has no account. */
#define GONE ""

static char *base64_of(const char *text)
{
	struct strbuf b = { 0 };

	base64_encode(&b, text, strlen(text));
	return b.data ? strbuf_take(&b) : mem_strdup("");
}

static bool datum_is(const json_t *secret, const char *key, const char *text)
{
	_cleanup_free_ char *wanted = base64_of(text);

	return str_eq(json_string_value(json_object_get(json_object_get(secret, "data"), key)), wanted);
}

static void put_datum(json_t *data, const char *key, const char *text)
{
	_cleanup_free_ char *value = base64_of(text);

	json_object_set_new(data, key, json_string(value));
}

static void ask_token(const json_t *secret, const char *account, struct plan *plan)
{
	struct write *w = plan_add(plan, "POST", kube_path("v1", "serviceaccounts", object_namespace(secret), account, "token"),
				   json_pack("{s:s, s:s, s:{s:I, s:{s:s, s:s, s:s, s:s}}}", "apiVersion", "authentication.k8s.io/v1",
					     "kind", "TokenRequest", "spec", "expirationSeconds", (json_int_t)LONGEST_S,
					     "boundObjectRef", "apiVersion", "v1", "kind", "Secret", "name", object_name(secret), "uid",
					     object_uid(secret)));

	w->uid = mem_strdup(object_uid(secret));
	w->tag = TAG_TOKEN;
}

static char *account_path(const json_t *secret)
{
	return kube_path("v1", "serviceaccounts", object_namespace(secret), map_str(object_annotations(secret), ACCOUNT_NAME), NULL);
}

/* Is it the account that the Secret means? */
static bool is_account_of(const json_t *account, const json_t *secret)
{
	const char *uid = map_str(object_annotations(secret), ACCOUNT_UID);

	return account && (str_empty(uid) || str_eq(uid, object_uid(account)));
}

static void without_account(const json_t *secret, bool gone, struct plan *plan)
{
	struct write *w;

	if (gone) {
		w = plan_delete(plan, kube_path("v1", "secrets", object_namespace(secret), object_name(secret), NULL), object_uid(secret), -1,
				NULL);
	} else {
		w = plan_add(plan, "GET", account_path(secret), NULL);
		w->tag = TAG_ACCOUNT;
	}
	w->flags |= WRITE_IGNORE_NOT_FOUND;
}

static void token_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *secret = controller_get(c, INFORMER_TOKEN_SECRETS, key), *account;
	const char *name = secret ? map_str(object_annotations(secret), ACCOUNT_NAME) : NULL, *ca = c->ctx->config->root_ca;
	const char *uid = secret ? map_str(object_annotations(secret), ACCOUNT_UID) : NULL, *token;
	json_t *data;

	if (!secret || object_deleting(secret) || str_empty(name))
		return;
	account = informer_get(controller_informer(c, INFORMER_SERVICEACCOUNTS), object_namespace(secret), name);
	token = map_get(c->state, object_uid(secret));
	if (!is_account_of(account, secret)) {
		without_account(secret, str_eq(token, GONE), plan);
		return;
	}
	if (str_eq(token, GONE)) {
		map_del(c->state, object_uid(secret));
		token = NULL;
	}
	if (!token && !map_str(json_object_get(secret, "data"), "token")) {
		ask_token(secret, name, plan);
		return;
	}
	if (!token && datum_is(secret, "namespace", object_namespace(secret)) && (!ca || datum_is(secret, "ca.crt", ca)) &&
	    str_eq(uid, object_uid(account))) {
		return;
	}
	data = json_object();
	put_datum(data, "namespace", object_namespace(secret));
	if (ca)
		put_datum(data, "ca.crt", ca);
	if (token)
		put_datum(data, "token", token);
	plan_merge_patch(plan, kube_path("v1", "secrets", object_namespace(secret), object_name(secret), NULL),
			 json_pack("{s:{s:s, s:s, s:{s:s}}, s:o}", "metadata", "uid", object_uid(secret), "resourceVersion",
				   object_resource_version(secret), "annotations", ACCOUNT_UID, object_uid(account), "data", data))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}

/* An account that is there after all comes to the cache, and with it the next look at the Secret. */
static void account_asked(struct controller *c, const char *key, const struct write *w, const struct kube_result *r, bool ok)
{
	const json_t *secret = controller_get(c, INFORMER_TOKEN_SECRETS, key);
	_cleanup_free_ char *path = secret && !str_empty(map_str(object_annotations(secret), ACCOUNT_NAME)) ? account_path(secret) : NULL;

	if (!ok || !r || !str_eq(path, w->path) || is_account_of(r->status == 404 ? NULL : r->object, secret))
		return;
	map_set(c->state, object_uid(secret), mem_strdup(GONE));
	controller_enqueue(c, key);
}

/* A token that was made is written by the next look at the Secret; after any write of it, it is not needed again. */
static void token_wrote(struct controller *c, const char *key, const struct write *w, const struct kube_result *r, bool ok)
{
	const json_t *secret = controller_get(c, INFORMER_TOKEN_SECRETS, key);
	const char *token = ok && r && r->object ? json_str(r->object, "status.token") : NULL;

	if (w->tag == TAG_ACCOUNT) {
		account_asked(c, key, w, r, ok);
	} else if (w->tag == TAG_TOKEN && token) {
		map_set(c->state, w->uid, mem_strdup(token));
		controller_enqueue(c, key);
	} else if (w->tag != TAG_TOKEN && ok && secret) {
		map_del(c->state, object_uid(secret));
	}
}

static void on_account(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *account = new ? new : old;
	size_t it = 0;

	if (!c->ctx->synced || (old && new && str_eq(object_uid(old), object_uid(new))))
		return;
	for (json_t *s; (s = informer_next(controller_informer(c, INFORMER_TOKEN_SECRETS), &it));)
		if (str_eq(object_namespace(s), object_namespace(account)) &&
		    str_eq(map_str(object_annotations(s), ACCOUNT_NAME), object_name(account)))
			controller_enqueue_object(c, s);
}

static void on_secret(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;

	if (!new)
		map_del(c->state, object_uid(old));
}

static void token_start(struct controller *c)
{
	c->state = map_new(free);
	controller_watch(c, INFORMER_SERVICEACCOUNTS, on_account);
	controller_watch(c, INFORMER_TOKEN_SECRETS, on_secret);
}

static void token_stop(struct controller *c)
{
	map_free(c->state);
}

const struct controller_ops accounttoken_controller = {
	.name = "serviceaccount-token",
	.primary = INFORMER_TOKEN_SECRETS,
	.needs = NEEDS(INFORMER_TOKEN_SECRETS) | NEEDS(INFORMER_SERVICEACCOUNTS),
	.parallel = 2,
	.start = token_start,
	.stop = token_stop,
	.sync = token_sync,
	.wrote = token_wrote,
};
