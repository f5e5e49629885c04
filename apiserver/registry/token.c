// SPDX-License-Identifier: GPL-2.0-or-later
/* POST serviceaccounts/NAME/token: a token for a ServiceAccount, bound to a pod, secret or node if asked. Nothing is stored. */
#include <inttypes.h>
#include <string.h>

#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/token.h"
#include "apiserver/validate/validate.h"
#include "base/clock.h"
#include "kube/object.h"

enum { DEFAULT_SECONDS = 3600, MIN_SECONDS = 600 };
#define MAX_SECONDS (1LL << 32)

static json_t *invalid(const char *name, const char *field, const char *body)
{
	struct field_errors e = { 0 };
	field_errors_add(&e, "FieldValueInvalid", mem_strdup(field), "%s", body);
	json_t *s = field_errors_status(&e, "authentication.k8s.io", "TokenRequest", name);
	field_errors_done(&e);
	return s;
}

static json_t *reference(const json_t *o)
{
	return json_pack("{s:s,s:s}", "name", object_name(o), "uid", object_uid(o));
}

/* The claims about the object the token is bound to. */
static json_t *bind_claims(struct call *c, const json_t *ref, json_t *claims)
{
	struct registry *g = c->g;
	const char *kind = json_str_or(ref, "kind", ""), *name = json_str_or(ref, "name", ""), *uid = json_str_or(ref, "uid", "");
	const struct schema_resource *r = str_eq(kind, "Pod") ? g->pods : str_eq(kind, "Secret") ? g->secrets :
					  str_eq(kind, "Node") ? g->nodes : NULL;
	struct store_object *found;
	json_t *status;
	if (!r) {
		const char *version = json_str_or(ref, "apiVersion", "");
		return status_bad_request("cannot bind token to object of type %s%s, Kind=%s", strchr(version, '/') ? "" : "/", version, kind);
	}
	status = registry_find(g, r, c->u.ns, name, &found);
	if (status)
		return status;
	_cleanup_json_ json_t *o = entry_parse(found);
	if (*uid && !str_eq(uid, object_uid(o))) {
		_cleanup_free_ char *text = str_printf("the UID in the bound object reference (%s) does not match the UID in record. The "
						       "object might have been deleted and then recreated", uid);
		const struct schema_resource by_kind = { .group = "", .plural = kind };
		return status_conflict(&by_kind, name, text);
	}
	if (r == g->pods && !str_eq(json_str_or(o, "spec.serviceAccountName", ""), c->u.name))
		return status_bad_request("cannot bind token for serviceaccount \"%s\" to pod running with different serviceaccount name.",
					  c->u.name);
	json_object_set_new(claims, r == g->pods ? "pod" : r == g->secrets ? "secret" : "node", reference(o));
	const char *node = json_str(o, "spec.nodeName");
	struct store_object *node_entry = r == g->pods && node ? store_get(g->store, g->nodes->id, node) : NULL;
	if (node_entry) {
		_cleanup_json_ json_t *n = entry_parse(node_entry);
		json_object_set_new(claims, "node", reference(n));
	}
	return NULL;
}

static json_t *make_claims(struct call *c, const json_t *request, const json_t *account, int64_t seconds, json_t **ret)
{
	int64_t now = clock_wall_s();
	char jti[37];
	json_t *k = json_pack("{s:s,s:o}", "namespace", c->u.ns, "serviceaccount", reference(account));
	json_t *ref = json_at(request, "spec.boundObjectRef"), *audiences = json_at(request, "spec.audiences");
	json_t *status = json_is_object(ref) ? bind_claims(c, ref, k) : NULL;
	if (status) {
		json_decref(k);
		return status;
	}
	rand_uuid(jti);
	json_t *aud = json_array_size(audiences) ? json_incref(audiences) : json_pack("[s]", c->g->options.issuer);
	_cleanup_free_ char *sub = str_printf("system:serviceaccount:%s:%s", c->u.ns, c->u.name);
	*ret = json_pack("{s:o,s:I,s:I,s:s,s:s,s:o,s:I,s:s}", "aud", aud, "exp", (json_int_t)(now + seconds), "iat", (json_int_t)now,
			 "iss", c->g->options.issuer, "jti", jti, "kubernetes.io", k, "nbf", (json_int_t)now, "sub", sub);
	return NULL;
}

static json_t *issue(struct call *c, json_t *request)
{
	struct store_object *found;
	_cleanup_json_ json_t *account = NULL, *claims = NULL;
	_cleanup_err_ struct err err = { 0 };
	int64_t seconds = json_int(request, "spec.expirationSeconds", DEFAULT_SECONDS);
	json_t *status = registry_find(c->g, c->g->serviceaccounts, c->u.ns, c->u.name, &found);
	if (status)
		return status;
	account = entry_parse(found);
	if (seconds < MIN_SECONDS || seconds > MAX_SECONDS) {
		_cleanup_free_ char *body = str_printf("Invalid value: %" PRId64 ": may not specify a duration %s", seconds,
						       seconds < MIN_SECONDS ? "less than 10 minutes" : "larger than 2^32 seconds");
		return invalid(c->u.name, "spec.expirationSeconds", body);
	}
	status = make_claims(c, request, account, seconds, &claims);
	if (status)
		return status;
	_cleanup_free_ char *token = token_sign(c->g->keys, claims, &err);
	if (!token)
		return status_internal("%s", err_msg(&err));
	char until[CLOCK_RFC3339_SIZE], now[CLOCK_RFC3339_SIZE];
	clock_format_rfc3339(json_int(claims, "exp", 0), until);
	clock_format_rfc3339(json_int(claims, "iat", 0), now);
	json_set(request, "status", json_pack("{s:s,s:s}", "token", token, "expirationTimestamp", until));
	json_set(request, "spec.expirationSeconds", json_integer(seconds));
	json_set(request, "spec.audiences", json_incref(json_object_get(claims, "aud")));
	json_set_str(request, "metadata.name", c->u.name);
	json_set_str(request, "metadata.namespace", c->u.ns);
	json_set_str(request, "metadata.creationTimestamp", now);
	return NULL;
}

void token_create(struct call *c)
{
	json_t *request = NULL;
	json_t *status = body_kind(c, schema_kind_find("authentication.k8s.io/v1", "TokenRequest"), &request);
	if (!status)
		status = node_restrict_token(c->g, &c->user, c->u.ns, c->u.name, request);
	if (!status)
		status = issue(c, request);
	if (status) {
		json_decref(request);
		answer_status(c, status);
		return;
	}
	answer_value(c, 201, request);
}
