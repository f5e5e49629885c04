// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * OpenID Connect. What always holds: keys come only from the configured issuer's own documents over verified TLS, and a token is
 * believed only when one of those keys signed it by an allowed algorithm.
 */
#include "apiserver/auth/oidc.h"

#include <errno.h>
#include <string.h>

#include "apiserver/auth/jwt.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/http_client.h"

enum { MAX_KEYS = 100, MAX_WAITERS = 1000, MAX_OIDC_GROUPS = 1000, MAX_DOCUMENT_BYTES = 1 << 20, FETCH_MS = 10000,
	FETCH_EVERY_MS = 10000, RENEW_MS = 3600 * 1000 };

struct waiter {
	void (*done)(void *user);
	void *user;
};

struct oidc {
	struct oidc_options o;
	struct http_client *client;
	bool algs[JWT_ALG_MAX];
	char *prefix; /* of user names */
	struct issuer_key {
		char *kid, *alg; /* alg NULL: any of the key's kind */
		EVP_PKEY *key;
	} keys[MAX_KEYS];
	size_t key_count;
	bool fetching, tried, complained;
	int64_t tried_ms, fetched_ms;
	struct waiter *waiters;
	size_t waiter_count, waiter_cap;
};

/* Keys */

static void drop_keys(struct oidc *o)
{
	for (size_t i = 0; i < o->key_count; i++) {
		free(o->keys[i].kid);
		free(o->keys[i].alg);
		EVP_PKEY_free(o->keys[i].key);
	}
	o->key_count = 0;
}

static void tell_waiters(struct oidc *o)
{
	struct waiter *list = TAKE(o->waiters);
	size_t count = o->waiter_count;
	o->waiter_count = o->waiter_cap = 0;
	for (size_t i = 0; i < count; i++)
		list[i].done(list[i].user);
	free(list);
}

static void fetched(struct oidc *o, const char *why)
{
	o->fetching = false;
	if (why && !o->complained)
		log_warn("OIDC issuer %s: %s; its tokens are checked with the keys known before, of which there are %zu", o->o.issuer_url,
			 why, o->key_count);
	o->complained = why != NULL;
	if (!why)
		o->fetched_ms = clock_mono_ms();
	tell_waiters(o);
}

static json_t *document(const struct http_answer *a)
{
	json_t *v = a->status == 200 ? json_parse_peer(a->body, a->body_len, NULL, NULL) : NULL;
	if (json_is_object(v))
		return v;
	json_decref(v);
	return NULL;
}

static void on_keys(const struct http_answer *a, void *user)
{
	struct oidc *o = user;
	_cleanup_json_ json_t *v = document(a);
	const json_t *list = json_object_get(v, "keys");
	size_t i;
	json_t *jwk;
	if (!json_is_array(list)) {
		fetched(o, a->status ? "its jwks_uri answers no key set" : "its jwks_uri does not answer");
		return;
	}
	drop_keys(o);
	json_array_foreach(list, i, jwk) {
		EVP_PKEY *key = o->key_count < MAX_KEYS ? jwt_key_of_jwk(jwk) : NULL;
		if (key)
			o->keys[o->key_count++] = (struct issuer_key){ mem_strdup(json_str_or(jwk, "kid", "")),
								       mem_strdup(json_str(jwk, "alg")), key };
	}
	fetched(o, NULL);
}

static void get(struct oidc *o, const char *url, void (*done)(const struct http_answer *a, void *user))
{
	const struct http_call_request r = { .method = "GET", .url = url, .timeout_ms = FETCH_MS, .max_body_bytes = MAX_DOCUMENT_BYTES,
		.no_redirects = true };
	http_client_call(o->client, &r, NULL, done, o);
}

static void on_configuration(const struct http_answer *a, void *user)
{
	struct oidc *o = user;
	_cleanup_json_ json_t *v = document(a);
	const char *keys = json_str(v, "jwks_uri");
	if (!v)
		fetched(o, a->status ? "its /.well-known/openid-configuration is no document" : a->error);
	else if (!str_eq(json_str(v, "issuer"), o->o.issuer_url))
		fetched(o, "its /.well-known/openid-configuration names another issuer");
	else if (!keys || !str_starts(keys, "https://"))
		fetched(o, "its jwks_uri is no https URL");
	else
		get(o, keys, on_keys);
}

/* True: a fetch is under way. */
static bool fetch(struct oidc *o)
{
	int64_t now = clock_mono_ms();
	if (o->fetching || (o->tried && now - o->tried_ms < FETCH_EVERY_MS))
		return o->fetching;
	size_t len = strlen(o->o.issuer_url);
	_cleanup_free_ char *url = str_printf("%.*s/.well-known/openid-configuration", (int)(len - (o->o.issuer_url[len - 1] == '/')),
					      o->o.issuer_url);
	o->fetching = o->tried = true;
	o->tried_ms = now;
	get(o, url, on_configuration);
	return true;
}

/* Options */

static int read_algs(struct oidc *o, const char *text, struct err *err)
{
	_cleanup_strlist_ struct strlist names = { 0 };
	strlist_split(&names, text ? text : "RS256", ',');
	for (size_t i = 0; i < names.count; i++) {
		enum jwt_alg alg = jwt_alg_find(names.items[i]);
		if (alg == JWT_ALG_MAX)
			return err_set(err, EINVAL, "--oidc-signing-algs: %s is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, "
				       "ES384, ES512", names.items[i]);
		o->algs[alg] = true;
	}
	return names.count ? 0 : err_set(err, EINVAL, "--oidc-signing-algs names no algorithm");
}

static int check_options(const struct oidc_options *o, struct err *err)
{
	if (!str_starts(o->issuer_url, "https://") || strpbrk(o->issuer_url, "?# ") || !o->issuer_url[8])
		return err_set(err, EINVAL, "--oidc-issuer-url %s is no https URL without query and fragment", o->issuer_url);
	for (size_t i = 0; o->required[i]; i++)
		if (!strchr(o->required[i], '=') || *o->required[i] == '=')
			return err_set(err, EINVAL, "--oidc-required-claim %s is not CLAIM=VALUE", o->required[i]);
	return 0;
}

struct oidc *oidc_new(uv_loop_t *loop, const struct oidc_options *options, struct err *err)
{
	const struct http_client_options c = { .size = sizeof(c), .ca_file = options->ca_file, .user_agent = "keelson-apiserver" };
	struct oidc *o = mem_new(struct oidc);
	const char *prefix = options->username_prefix;
	o->o = *options;
	if (!o->o.username_claim)
		o->o.username_claim = "sub";
	if (str_eq(prefix, "-"))
		o->prefix = mem_strdup("");
	else if (!str_empty(prefix))
		o->prefix = mem_strdup(prefix);
	else
		o->prefix = str_eq(o->o.username_claim, "email") ? mem_strdup("") : str_printf("%s#", o->o.issuer_url);
	if (check_options(&o->o, err) < 0 || read_algs(o, o->o.signing_algs, err) < 0)
		return oidc_free(o);
	o->client = http_client_new(loop, &c, err);
	if (!o->client) {
		err_wrap(err, "--oidc-ca-file");
		return oidc_free(o);
	}
	fetch(o);
	return o;
}

struct oidc *oidc_free(struct oidc *o)
{
	if (!o)
		return NULL;
	if (o->client)
		http_client_free(o->client);
	tell_waiters(o);
	drop_keys(o);
	free(o->prefix);
	free(o);
	return NULL;
}

/* Tokens */

static bool is_ours(const struct oidc *o, const struct jwt *j)
{
	return str_eq(json_string_value(json_object_get(j->claims, "iss")), o->o.issuer_url);
}

bool oidc_is_for(const struct oidc *o, const char *token)
{
	_cleanup_jwt_ struct jwt j = { 0 };
	return jwt_parse(token, &j, NULL) == 0 && is_ours(o, &j);
}

static bool key_is_named(const struct issuer_key *k, const struct jwt *j)
{
	return (!*j->kid || str_eq(k->kid, j->kid)) && (!k->alg || str_eq(k->alg, jwt_alg_name(j->alg)));
}

static bool signed_by_issuer(const struct oidc *o, const struct jwt *j)
{
	for (size_t i = 0; i < o->key_count && o->algs[j->alg]; i++)
		if (key_is_named(&o->keys[i], j) && jwt_signature_fits(j, o->keys[i].key))
			return true;
	return false;
}

static const char *claim(const struct jwt *j, const char *name)
{
	return json_string_value(json_object_get(j->claims, name));
}

static bool is_for_us(const struct oidc *o, const json_t *aud)
{
	size_t i;
	json_t *v;
	if (str_eq(json_string_value(aud), o->o.client_id))
		return true;
	json_array_foreach(aud, i, v)
		if (str_eq(json_string_value(v), o->o.client_id))
			return true;
	return false;
}

static bool is_in_time(const struct jwt *j, int64_t now_s)
{
	const json_t *exp = json_object_get(j->claims, "exp"), *nbf = json_object_get(j->claims, "nbf");
	if (!json_is_number(exp) || (nbf && !json_is_number(nbf)))
		return false;
	return json_number_value(exp) > (double)now_s && (!nbf || json_number_value(nbf) <= (double)now_s);
}

static bool has_required(const struct oidc *o, const struct jwt *j)
{
	for (size_t i = 0; o->o.required[i]; i++) {
		const char *equals = strchr(o->o.required[i], '=');
		_cleanup_free_ char *name = mem_strndup(o->o.required[i], (size_t)(equals - o->o.required[i]));
		if (!str_eq(claim(j, name), equals + 1))
			return false;
	}
	return true;
}

static const char *user_name(const struct oidc *o, struct arena *a, const struct jwt *j)
{
	const char *name = claim(j, o->o.username_claim);
	const json_t *verified = json_object_get(j->claims, "email_verified");
	if (str_empty(name) || (str_eq(o->o.username_claim, "email") && verified && !json_is_true(verified)))
		return NULL;
	return arena_printf(a, "%s%s", o->prefix, name);
}

/* The claim is a string or a list of strings; anything else is a token that is not understood. */
static int group_names(const struct oidc *o, struct arena *a, const struct jwt *j, const char *const **ret)
{
	const json_t *v = o->o.groups_claim ? json_object_get(j->claims, o->o.groups_claim) : NULL;
	const char *prefix = o->o.groups_prefix ? o->o.groups_prefix : "";
	size_t count = json_is_string(v) ? 1 : json_array_size(v), n = 0;
	if ((v && !json_is_string(v) && !json_is_array(v) && !json_is_null(v)) || count > MAX_OIDC_GROUPS)
		return -EACCES;
	const char **list = arena_alloc(a, (count + 2) * sizeof(*list));
	for (size_t i = 0; i < count; i++) {
		const char *s = json_string_value(json_is_string(v) ? v : json_array_get(v, i));
		if (!s)
			return -EACCES;
		if (*s)
			list[n++] = arena_printf(a, "%s%s", prefix, s);
	}
	list[n] = "system:authenticated";
	*ret = list;
	return 0;
}

int oidc_authenticate(const struct oidc *o, struct arena *a, const char *token, int64_t now_s, struct identity *ret)
{
	_cleanup_jwt_ struct jwt j = { 0 };
	const char *const *groups;
	if (jwt_parse(token, &j, NULL) < 0 || !is_ours(o, &j) || !signed_by_issuer(o, &j) || !is_in_time(&j, now_s) ||
	    !is_for_us(o, json_object_get(j.claims, "aud")) || !has_required(o, &j))
		return -EACCES;
	const char *name = user_name(o, a, &j);
	if (!name || group_names(o, a, &j, &groups) < 0)
		return -EACCES;
	*ret = (struct identity){ .name = name, .uid = "", .groups = groups };
	return 0;
}

static bool has_key_for(const struct oidc *o, const struct jwt *j)
{
	for (size_t i = 0; i < o->key_count; i++)
		if (key_is_named(&o->keys[i], j))
			return true;
	return false;
}

bool oidc_wait(struct oidc *o, const char *token, void (*done)(void *user), void *user)
{
	_cleanup_jwt_ struct jwt j = { 0 };
	if (jwt_parse(token, &j, NULL) < 0 || !is_ours(o, &j) || !o->algs[j.alg])
		return false;
	if (has_key_for(o, &j)) {
		/* A key that the issuer no longer has is forgotten in time. */
		if (clock_mono_ms() - o->fetched_ms > RENEW_MS)
			fetch(o);
		return false;
	}
	if (o->waiter_count == MAX_WAITERS || !fetch(o))
		return false;
	MEM_GROW(o->waiters, o->waiter_cap, o->waiter_count + 1);
	o->waiters[o->waiter_count++] = (struct waiter){ done, user };
	return true;
}
