// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Authentication. A trusted proxy says who it asks for. A certificate counts when the connection's verification accepted it; a token when its signature, times and
 * audience are right and the ServiceAccount (and the pod, node or secret it is bound to) still is the one it was made for, or when
 * it is a bootstrap token of the cluster.
 */
#include "apiserver/auth/authn.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/x509.h>
#include <string.h>

#include "apiserver/auth/authz.h"
#include "apiserver/auth/bootstrap_token.h"
#include "apiserver/auth/front_proxy.h"
#include "apiserver/auth/oidc.h"
#include "apiserver/auth/token.h"
#include "apiserver/metrics/measure.h"
#include "base/clock.h"
#include "kube/object.h"

#define AUTHENTICATED "system:authenticated"
enum { MAX_GROUPS = 100 };

struct names {
	const char *items[MAX_GROUPS + 4];
	size_t count;
};

static void names_add(struct names *n, const char *s)
{
	for (size_t i = 0; i < n->count; i++)
		if (str_eq(n->items[i], s))
			return;
	if (n->count < MAX_GROUPS)
		n->items[n->count++] = s;
}

static const char *const *names_list(struct arena *a, const struct names *n)
{
	const char **list = arena_alloc(a, (n->count + 1) * sizeof(*list));
	memcpy(list, n->items, n->count * sizeof(*list));
	return list;
}

static const char *entry_text(struct arena *a, X509_NAME_ENTRY *e)
{
	unsigned char *utf8 = NULL;
	int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
	/* A NUL inside would make one name look like another. */
	const char *s = len > 0 && !memchr(utf8, 0, (size_t)len) ? arena_strndup(a, (const char *)utf8, (size_t)len) : NULL;
	OPENSSL_free(utf8);
	return s;
}

static bool identity_of_cert(struct arena *a, X509 *cert, struct identity *ret)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	struct names groups = { .count = 0 };
	const char *name = NULL;
	for (int i = 0; i < X509_NAME_entry_count(subject); i++) {
		X509_NAME_ENTRY *e = X509_NAME_get_entry(subject, i);
		int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
		const char *text = nid == NID_commonName || nid == NID_organizationName ? entry_text(a, e) : NULL;
		if (text && nid == NID_commonName)
			name = text;
		else if (text)
			names_add(&groups, text);
	}
	if (str_empty(name))
		return false;
	names_add(&groups, AUTHENTICATED);
	*ret = (struct identity){ .name = name, .uid = "", .groups = names_list(a, &groups) };
	return true;
}

static bool has_audience(const json_t *claims, const char *const *wanted, const char **ret)
{
	json_t *aud = json_object_get(claims, "aud"), *v;
	size_t i;
	for (size_t w = 0; wanted[w]; w++) {
		if (json_is_string(aud) && str_eq(json_string_value(aud), wanted[w])) {
			*ret = wanted[w];
			return true;
		}
		json_array_foreach(aud, i, v)
			if (str_eq(json_string_value(v), wanted[w])) {
				*ret = wanted[w];
				return true;
			}
	}
	return false;
}

/* What is on its way out keeps its tokens for a minute more, as upstream has it: a pod uses them to end in order. */
static bool deleted_long_ago(const json_t *v)
{
	enum { LEEWAY_S = 60 };
	const char *since = json_str(v, "metadata.deletionTimestamp");
	int64_t us;
	return since && clock_parse_rfc3339(since, &us) == 0 && us / 1000000 + LEEWAY_S < clock_wall_s();
}

/* The object a token is bound to still exists with the same uid. */
static bool still_there(const struct registry *g, const struct schema_resource *r, const char *ns, const json_t *ref)
{
	const char *name = json_str_or(ref, "name", ""), *uid = json_str_or(ref, "uid", "");
	_cleanup_free_ char *key = entry_key(r, ns, name);
	struct store_object *o = store_get(g->store, r->id, key);
	_cleanup_json_ json_t *v = o ? entry_parse(o) : NULL;
	return v && str_eq(object_uid(v), uid) && !deleted_long_ago(v);
}

static void add_extra(struct arena *a, struct names *keys, struct names *values, const char *key, const char *value)
{
	if (str_empty(value) || keys->count >= MAX_GROUPS)
		return;
	keys->items[keys->count++] = key;
	values->items[values->count++] = arena_strdup(a, value);
}

/* Bootstrap tokens name no audience, and an OpenID Connect token that of its issuer's client: they are for this server. */
static int server_identity(struct registry *g, struct arena *a, const char *token, const char *const *audiences,
			      struct identity *ret, const char **ret_audience)
{
	for (size_t i = 0; audiences[i]; i++) {
		if (!str_eq(audiences[i], g->options.issuer))
			continue;
		if (ret_audience)
			*ret_audience = audiences[i];
		return bootstrap_token_shaped(token) ? bootstrap_token_authenticate(g, a, token, ret) :
						       oidc_authenticate(g->oidc, a, token, clock_wall_s(), ret);
	}
	return -EACCES;
}

static int account_identity(struct registry *g, struct arena *a, const char *token, const char *const *audiences,
			    struct identity *ret, const char **ret_audience)
{
	_cleanup_json_ json_t *claims = token_verify(g->keys, token, clock_wall_s());
	const json_t *k = claims ? json_object_get(claims, "kubernetes.io") : NULL;
	const char *ns = json_str_or(k, "namespace", ""), *name = json_str_or(k, "serviceaccount.name", ""), *audience;
	struct names keys = { .count = 0 }, values = { .count = 0 };
	if (!k || !str_eq(json_str(claims, "iss"), g->options.issuer) || !*ns || !*name)
		return -EACCES;
	if (!has_audience(claims, audiences, &audience))
		return -EACCES;
	if (!still_there(g, g->serviceaccounts, ns, json_object_get(k, "serviceaccount")))
		return -EACCES;
	if (json_object_get(k, "pod") && !still_there(g, g->pods, ns, json_object_get(k, "pod")))
		return -EACCES;
	/* A pod's node is told besides; a token is bound to a node when there is no pod. */
	if (!json_object_get(k, "pod") && json_object_get(k, "node") && !still_there(g, g->nodes, "", json_object_get(k, "node")))
		return -EACCES;
	if (json_object_get(k, "secret") && !still_there(g, g->secrets, ns, json_object_get(k, "secret")))
		return -EACCES;
	add_extra(a, &keys, &values, "authentication.kubernetes.io/credential-id",
		  arena_printf(a, "JTI=%s", json_str_or(claims, "jti", "")));
	add_extra(a, &keys, &values, "authentication.kubernetes.io/node-name", json_str(k, "node.name"));
	add_extra(a, &keys, &values, "authentication.kubernetes.io/node-uid", json_str(k, "node.uid"));
	add_extra(a, &keys, &values, "authentication.kubernetes.io/pod-name", json_str(k, "pod.name"));
	add_extra(a, &keys, &values, "authentication.kubernetes.io/pod-uid", json_str(k, "pod.uid"));
	struct names groups = { .items = { "system:serviceaccounts", arena_printf(a, "system:serviceaccounts:%s", ns), AUTHENTICATED },
		.count = 3 };
	*ret = (struct identity){ .name = arena_printf(a, "system:serviceaccount:%s:%s", ns, name),
		.uid = arena_strdup(a, json_str_or(k, "serviceaccount.uid", "")), .groups = names_list(a, &groups),
		.extra_keys = names_list(a, &keys), .extra_values = names_list(a, &values) };
	if (ret_audience)
		*ret_audience = audience;
	return 0;
}

int authn_token(struct registry *g, struct arena *a, const char *token, const char *const *audiences, struct identity *ret,
		const char **ret_audience)
{
	if (bootstrap_token_shaped(token) || (g->oidc && oidc_is_for(g->oidc, token)))
		return server_identity(g, a, token, audiences, ret, ret_audience);
	return account_identity(g, a, token, audiences, ret, ret_audience);
}

static json_t *unauthorized(void)
{
	return status_new(401, "Unauthorized", "Unauthorized");
}

/* The token of an Authorization header; NULL when it is of another scheme. */
static const char *bearer_of(const char *authorization)
{
	const char *token = authorization + 7;
	if (strncasecmp(authorization, "Bearer ", 7) != 0)
		return NULL;
	while (*token == ' ')
		token++;
	return token;
}

bool authn_waits(struct call *c, void (*resume)(void *call))
{
	const char *authorization = http_header(c->req, "Authorization"), *token = authorization ? bearer_of(authorization) : NULL;
	if (!c->g->oidc || !token || bootstrap_token_shaped(token) || !oidc_wait(c->g->oidc, token, resume, c))
		return false;
	call_ref(c);
	return true;
}

json_t *authn_request(struct call *c)
{
	static const char *const nobody[] = { "system:unauthenticated", NULL };
	X509 *cert = http_peer_cert(c->req);
	const char *authorization = http_header(c->req, "Authorization");
	c->user = (struct identity){ .name = "system:anonymous", .uid = "", .groups = nobody, .anonymous = true };
	/* Before all else, as upstream has it: the proxy speaks for whoever it names. */
	if (front_proxy_identity(c->g->front_proxy, c, &c->user))
		return NULL;
	if (authorization) {
		const char *audiences[] = { c->g->options.issuer, NULL };
		const char *token = bearer_of(authorization);
		struct identity user;
		if (!token || authn_token(c->g, c->arena, token, audiences, &user, NULL) < 0)
			return unauthorized();
		c->user = user;
		return NULL;
	}
	if (!cert)
		return c->g->options.no_anonymous ? unauthorized() : NULL;
	if (http_peer_verify_result(c->req) != X509_V_OK || !identity_of_cert(c->arena, cert, &c->user))
		return unauthorized();
	measure_certificate(X509_get0_notAfter(cert));
	return NULL;
}

#define AUTHENTICATION_GROUP "authentication.k8s.io"

static json_t *may_impersonate(struct call *c, const struct authz_attributes *what)
{
	struct authz_attributes a = *what;
	const char *slash;
	a.is_resource = true;
	a.verb = "impersonate";
	a.version = "v1";
	a.path = "";
	if (authz_allowed(c->g, &c->user, &a, NULL))
		return NULL;
	slash = *a.subresource ? "/" : "";
	_cleanup_free_ char *text = str_printf("User \"%s\" cannot impersonate resource \"%s%s%s\" in API group \"%s\" %s%s%s", c->user.name,
					       a.resource, slash, a.subresource, a.group, *a.ns ? "in the namespace \"" : "",
					       *a.ns ? a.ns : "at the cluster scope", *a.ns ? "\"" : "");
	struct schema_resource named = { .plural = a.resource, .group = a.group };
	return status_forbidden(&named, a.name, text);
}

static json_t *may_be(struct call *c, const char *group, const char *resource, const char *sub, const char *name)
{
	const struct authz_attributes a = { .group = group, .resource = resource, .subresource = sub, .ns = "", .name = name };
	return may_impersonate(c, &a);
}

/* A user, or the ServiceAccount that its name means: then *ret_ns is set. */
static json_t *may_be_user(struct call *c, const char *name, const char **ret_ns)
{
	const char *account = str_after(name, "system:serviceaccount:"), *colon = account ? strchr(account, ':') : NULL;
	if (!colon || colon == account || !colon[1] || strchr(colon + 1, ':'))
		return may_be(c, "", "users", "", name);
	*ret_ns = arena_strndup(c->arena, account, (size_t)(colon - account));
	const struct authz_attributes a = { .group = "", .resource = "serviceaccounts", .subresource = "", .ns = *ret_ns,
		.name = colon + 1 };
	return may_impersonate(c, &a);
}

/* The groups that come with a name: those of a ServiceAccount unless groups were asked for, and whether it is somebody. */
static void add_own_groups(struct call *c, const char *name, const char *account_ns, struct names *groups)
{
	if (account_ns && !groups->count) {
		names_add(groups, "system:serviceaccounts");
		names_add(groups, arena_printf(c->arena, "system:serviceaccounts:%s", account_ns));
	}
	names_add(groups, str_eq(name, "system:anonymous") ? "system:unauthenticated" : AUTHENTICATED);
}

/* The key of an Impersonate-Extra-KEY header: lower case, as upstream has it, with escapes for what no header name can carry. */
static const char *extra_key(struct call *c, const char *raw)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	if (url_decode(&b, raw, strlen(raw), false) < 0) {
		strbuf_reset(&b);
		strbuf_adds(&b, raw);
	}
	char *key = arena_strdup(c->arena, b.data ? b.data : "");
	for (char *p = key; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return key;
}

json_t *authn_impersonate(struct call *c)
{
	const char *name = http_header(c->req, "Impersonate-User"), *uid = http_header(c->req, "Impersonate-Uid");
	const char *header, *value, *account_ns = NULL;
	struct names groups = { .count = 0 }, keys = { .count = 0 }, values = { .count = 0 };
	json_t *status = NULL;
	if (str_empty(name)) {
		if (http_header(c->req, "Impersonate-Group") || uid)
			return status_bad_request("requested groups or uid to impersonate without an Impersonate-User header");
		return NULL;
	}
	status = may_be_user(c, name, &account_ns);
	if (!status && uid)
		status = may_be(c, AUTHENTICATION_GROUP, "uids", "", uid);
	for (size_t i = 0; !status && http_header_at(c->req, i, &header, &value); i++) {
		if (strcasecmp(header, "Impersonate-Group") == 0) {
			status = may_be(c, "", "groups", "", value);
			names_add(&groups, arena_strdup(c->arena, value));
		} else if (strncasecmp(header, "Impersonate-Extra-", 18) == 0 && keys.count < MAX_GROUPS) {
			const char *key = extra_key(c, header + 18);
			status = may_be(c, AUTHENTICATION_GROUP, "userextras", key, value);
			keys.items[keys.count++] = key;
			values.items[values.count++] = arena_strdup(c->arena, value);
		}
	}
	if (status)
		return status;
	add_own_groups(c, name, account_ns, &groups);
	c->user = (struct identity){ .name = arena_strdup(c->arena, name), .uid = arena_strdup(c->arena, uid ? uid : ""),
		.groups = names_list(c->arena, &groups), .extra_keys = names_list(c->arena, &keys),
		.extra_values = names_list(c->arena, &values), .anonymous = str_eq(name, "system:anonymous") };
	return NULL;
}
