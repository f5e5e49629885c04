// SPDX-License-Identifier: GPL-2.0-or-later
/* Reviews: questions to the authenticator and the authorizer, answered and not stored. */
#include <string.h>

#include "apiserver/auth/authn.h"
#include "apiserver/auth/authz.h"
#include "apiserver/registry/registry.h"

enum { MAX_LIST = 100 };

static json_t *user_info(const struct identity *u)
{
	json_t *v = json_object(), *groups = json_array(), *extra = json_object();
	json_object_set_new(v, "username", json_string(u->name));
	if (!str_empty(u->uid))
		json_object_set_new(v, "uid", json_string(u->uid));
	for (size_t i = 0; u->groups[i]; i++)
		json_array_append_new(groups, json_string(u->groups[i]));
	json_object_set_new(v, "groups", groups);
	for (size_t i = 0; u->extra_keys && u->extra_keys[i]; i++) {
		json_t *values = json_object_get(extra, u->extra_keys[i]);
		if (!values) {
			values = json_array();
			json_object_set_new(extra, u->extra_keys[i], values);
		}
		json_array_append_new(values, json_string(u->extra_values[i]));
	}
	if (json_object_size(extra))
		json_object_set(v, "extra", extra);
	json_decref(extra);
	return v;
}

static const char *const *string_list(struct arena *a, const json_t *array)
{
	const char **list = arena_alloc(a, (MAX_LIST + 1) * sizeof(*list));
	size_t i, n = 0;
	json_t *v;
	json_array_foreach(array, i, v)
		if (json_is_string(v) && n < MAX_LIST)
			list[n++] = json_string_value(v);
	return list;
}

static void token_review(struct call *c, json_t *review)
{
	json_t *asked = json_at(review, "spec.audiences");
	const char *mine[] = { c->g->options.issuer, NULL };
	const char *const *audiences = json_array_size(asked) ? string_list(c->arena, asked) : mine;
	const char *audience = NULL;
	struct identity user;
	json_t *status;
	if (authn_token(c->g, c->arena, json_str_or(review, "spec.token", ""), audiences, &user, &audience) < 0)
		status = json_pack("{s:{},s:s}", "user", "error", "invalid bearer token");
	else
		status = json_pack("{s:b,s:o,s:[s]}", "authenticated", 1, "user", user_info(&user), "audiences", audience);
	json_set(review, "status", status);
}

/* spec.resourceAttributes or nonResourceAttributes. */
static json_t *attributes(const json_t *spec, struct authz_attributes *ret)
{
	json_t *r = json_object_get(spec, "resourceAttributes"), *n = json_object_get(spec, "nonResourceAttributes");
	if ((r == NULL) == (n == NULL))
		return status_bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified");
	if (n) {
		*ret = (struct authz_attributes){ .verb = json_str_or(n, "verb", ""), .path = json_str_or(n, "path", ""), .group = "",
			.version = "", .resource = "", .subresource = "", .ns = "", .name = "" };
		return NULL;
	}
	*ret = (struct authz_attributes){ .is_resource = true, .verb = json_str_or(r, "verb", ""), .group = json_str_or(r, "group", ""),
		.version = json_str_or(r, "version", ""), .resource = json_str_or(r, "resource", ""),
		.subresource = json_str_or(r, "subresource", ""), .ns = json_str_or(r, "namespace", ""),
		.name = json_str_or(r, "name", ""), .path = "" };
	return NULL;
}

static json_t *access_review(struct call *c, json_t *review, bool self)
{
	json_t *spec = json_object_get(review, "spec"), *status;
	struct identity user = c->user;
	struct authz_attributes a;
	const char *reason = "";
	status = attributes(spec, &a);
	if (status)
		return status;
	if (!self) {
		user = (struct identity){ .name = json_str_or(spec, "user", ""), .uid = json_str_or(spec, "uid", ""),
			.groups = string_list(c->arena, json_object_get(spec, "groups")) };
		if (!*user.name && !user.groups[0])
			return status_bad_request("spec.user: Required value: at least one of user or group must be specified");
	}
	if (resource_is(c->r, "authorization.k8s.io", "localsubjectaccessreviews")) {
		if (!str_eq(a.ns, c->u.ns))
			return status_bad_request("spec.resourceAttributes.namespace must match namespace: %s", c->u.ns);
		json_set_str(review, "metadata.namespace", c->u.ns);
	}
	bool allowed = authz_allowed(c->g, &user, &a, &reason);
	json_t *answer = json_pack("{s:b}", "allowed", allowed);
	if (!str_empty(reason))
		json_object_set_new(answer, "reason", json_string(reason));
	json_set(review, "status", answer);
	return NULL;
}

static void rules_review(struct call *c, json_t *review)
{
	json_t *resource = json_array(), *other = json_array();
	authz_rules(c->g, &c->user, json_str_or(review, "spec.namespace", "default"), resource, other);
	json_set(review, "status", json_pack("{s:o,s:o,s:b}", "resourceRules", resource, "nonResourceRules", other, "incomplete", 0));
}

void review_create(struct call *c)
{
	json_t *review = NULL, *status = body_object(c, c->r, &review);
	const char *plural = c->r->plural;
	if (!status && str_eq(plural, "tokenreviews"))
		token_review(c, review);
	else if (!status && str_eq(plural, "selfsubjectreviews"))
		json_set(review, "status", json_pack("{s:o}", "userInfo", user_info(&c->user)));
	else if (!status && str_eq(plural, "selfsubjectrulesreviews"))
		rules_review(c, review);
	else if (!status)
		status = access_review(c, review, str_eq(plural, "selfsubjectaccessreviews"));
	if (status) {
		json_decref(review);
		answer_status(c, status);
		return;
	}
	/* The answer has no managed fields or uid, as nothing was stored. */
	answer_value(c, 201, review);
}
