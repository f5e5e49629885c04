// SPDX-License-Identifier: GPL-2.0-or-later
/* Reviews: questions to the authenticator and the authorizer, answered and not stored. */
#include <string.h>

#include "apiserver/auth/authn.h"
#include "apiserver/auth/authz.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "base/mem.h"

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

static json_t *token_review(struct call *c, json_t *review)
{
	json_t *asked = json_at(review, "spec.audiences");
	const char *mine[] = { c->g->options.issuer, NULL };
	const char *const *audiences = json_array_size(asked) ? string_list(c->arena, asked) : mine;
	const char *audience = NULL;
	struct identity user;
	json_t *status;
	if (str_empty(json_str(review, "spec.token")))
		return status_bad_request("token is required for TokenReview in authentication");
	if (authn_token(c->g, c->arena, json_str_or(review, "spec.token", ""), audiences, &user, &audience) < 0)
		status = json_pack("{s:{},s:s}", "user", "error", "invalid bearer token");
	else
		status = json_pack("{s:b,s:o,s:[s]}", "authenticated", 1, "user", user_info(&user), "audiences", audience);
	json_set(review, "status", status);
	return NULL;
}

/* The field selector of the question as a query would have it; requirements that cannot be said so only ask for less. */
static const char *selector_text(struct call *c, const json_t *selector)
{
	const char *raw = json_str(selector, "rawSelector");
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t i;
	json_t *r;
	if (!str_empty(raw))
		return raw;
	json_array_foreach(json_object_get(selector, "requirements"), i, r) {
		const char *op = json_str_or(r, "operator", "");
		bool in = str_eq(op, "In"), one = json_array_size(json_object_get(r, "values")) == 1;
		if (one && (in || str_eq(op, "NotIn")))
			strbuf_addf(&b, "%s%s%s%s", b.len ? "," : "", json_str_or(r, "key", ""), in ? "=" : "!=",
				    json_str_or(r, "values[0]", ""));
	}
	return b.len ? arena_strdup(c->arena, b.data) : NULL;
}

static void invalid(struct field_errors *e, const char *field, const char *value, const char *why)
{
	field_errors_add(e, "FieldValueInvalid", mem_strdup(field), "Invalid value: %s: %s", value, why);
}

static void check_selector(struct field_errors *e, const json_t *attributes, const char *which)
{
	json_t *s = json_object_get(attributes, which), *r;
	const char *raw = json_str_or(s, "rawSelector", "");
	_cleanup_free_ char *field = str_printf("spec.resourceAttributes.%s", which);
	size_t n = json_array_size(json_object_get(s, "requirements")), i;
	if (!s)
		return;
	if (*raw && n) {
		_cleanup_free_ char *at = str_printf("%s.rawSelector", field), *value = str_printf("\"%s\"", raw);
		invalid(e, at, value, "may not specified at the same time as requirements");
	} else if (!*raw && !n) {
		field_errors_add(e, "FieldValueRequired", str_printf("%s.requirements", field),
				 "Required value: when %s is specified, requirements or rawSelector is required", field);
	}
	json_array_foreach(json_object_get(s, "requirements"), i, r)
		if (str_empty(json_str(r, "key")))
			field_errors_add(e, "FieldValueRequired", str_printf("%s.requirements[%zu].key", field, i),
					 "Required value: must be specified");
}

static char *quoted(const char *text)
{
	return str_printf("\"%s\"", text);
}

/* What may be asked: of one thing, for somebody; in a namespace about that namespace only. */
static json_t *check_question(struct call *c, const json_t *review, bool self, bool local)
{
	const json_t *spec = json_object_get(review, "spec"), *r = json_object_get(spec, "resourceAttributes");
	const json_t *other = json_object_get(spec, "nonResourceAttributes");
	struct field_errors e = { 0 };
	json_t *status = NULL;
	if (local && !str_eq(json_str_or(review, "metadata.namespace", c->u.ns), c->u.ns))
		return status_bad_request("spec.resourceAttributes.namespace must match namespace: %s", c->u.ns);
	if (r && other)
		invalid(&e, "spec.nonResourceAttributes", "{}", "cannot be specified in combination with resourceAttributes");
	if (!r && !other)
		invalid(&e, "spec.resourceAttributes", "null",
			"exactly one of nonResourceAttributes or resourceAttributes must be specified");
	if (!self && str_empty(json_str(spec, "user")) && !json_array_size(json_object_get(spec, "groups")))
		invalid(&e, "spec.user", "\"\"", "at least one of user or group must be specified");
	check_selector(&e, r, "fieldSelector");
	check_selector(&e, r, "labelSelector");
	if (local && r && !str_eq(json_str_or(r, "namespace", ""), c->u.ns)) {
		_cleanup_free_ char *value = quoted(json_str_or(r, "namespace", ""));
		invalid(&e, "spec.resourceAttributes.namespace", value, "must match metadata.namespace");
	}
	if (local && other)
		invalid(&e, "spec.nonResourceAttributes", "{}", "disallowed on this kind of request");
	if (e.count)
		status = field_errors_status(&e, c->r->group, c->r->kind, "");
	field_errors_done(&e);
	return status;
}

static void attributes(struct call *c, const json_t *spec, struct authz_attributes *ret)
{
	json_t *r = json_object_get(spec, "resourceAttributes"), *n = json_object_get(spec, "nonResourceAttributes");
	if (n)
		*ret = (struct authz_attributes){ .verb = json_str_or(n, "verb", ""), .path = json_str_or(n, "path", ""), .group = "",
			.version = "", .resource = "", .subresource = "", .ns = "", .name = "" };
	else
		*ret = (struct authz_attributes){ .is_resource = true, .verb = json_str_or(r, "verb", ""),
			.group = json_str_or(r, "group", ""), .version = json_str_or(r, "version", ""),
			.resource = json_str_or(r, "resource", ""), .subresource = json_str_or(r, "subresource", ""),
			.ns = json_str_or(r, "namespace", ""), .name = json_str_or(r, "name", ""), .path = "",
			.field_selector = selector_text(c, json_object_get(r, "fieldSelector")) };
}

static json_t *access_review(struct call *c, json_t *review, bool self)
{
	bool local = resource_is(c->r, "authorization.k8s.io", "localsubjectaccessreviews");
	json_t *spec = json_object_get(review, "spec"), *status = check_question(c, review, self, local);
	struct identity user = c->user;
	struct authz_attributes a;
	const char *reason = "";
	if (status)
		return status;
	attributes(c, spec, &a);
	if (!self)
		user = (struct identity){ .name = json_str_or(spec, "user", ""), .uid = json_str_or(spec, "uid", ""),
			.groups = string_list(c->arena, json_object_get(spec, "groups")) };
	if (local)
		json_set_str(review, "metadata.namespace", c->u.ns);
	bool allowed = authz_allowed(c->g, &user, &a, &reason);
	json_t *answer = json_pack("{s:b}", "allowed", allowed);
	if (!str_empty(reason))
		json_object_set_new(answer, "reason", json_string(reason));
	json_set(review, "status", answer);
	return NULL;
}

static json_t *rules_review(struct call *c, json_t *review)
{
	if (str_empty(json_str(review, "spec.namespace")))
		return status_bad_request("no namespace on request");
	json_t *resource = json_array(), *other = json_array();
	authz_rules(c->g, &c->user, json_str(review, "spec.namespace"), resource, other);
	json_set(review, "status", json_pack("{s:o,s:o,s:b}", "resourceRules", resource, "nonResourceRules", other, "incomplete", 0));
	return NULL;
}

void review_create(struct call *c)
{
	json_t *review = NULL, *status = body_object(c, c->r, &review);
	const char *plural = c->r->plural;
	if (!status && str_eq(plural, "tokenreviews"))
		status = token_review(c, review);
	else if (!status && str_eq(plural, "selfsubjectreviews"))
		json_set(review, "status", json_pack("{s:o}", "userInfo", user_info(&c->user)));
	else if (!status && str_eq(plural, "selfsubjectrulesreviews"))
		status = rules_review(c, review);
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
