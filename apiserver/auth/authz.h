/* SPDX-License-Identifier: GPL-2.0-or-later */
/* May they? RBAC over the stored roles and bindings and the bootstrap ones, or everything with AlwaysAllow. */
#ifndef KEELSON_APISERVER_AUTH_AUTHZ_H
#define KEELSON_APISERVER_AUTH_AUTHZ_H

#include "apiserver/auth/identity.h"
#include "base/err.h"
#include "kube/json.h"

struct registry;
struct authorizer;
enum authz_mode { AUTHZ_ALWAYS_ALLOW, AUTHZ_RBAC };

struct authz_attributes {
	bool is_resource;
	const char *verb;
	const char *group, *version, *resource, *subresource, *ns, *name; /* "" when absent */
	const char *path;                                                 /* not a resource */
	const char *field_selector; /* of a list or watch, as it was asked; NULL without. name is its metadata.name, when it has one */
};
struct authorizer *authorizer_new(enum authz_mode mode);
struct authorizer *authorizer_free(struct authorizer *a);
/* True: allowed. *ret_reason (may be NULL): literal or arena text, "" without. */
bool authz_allowed(struct registry *g, const struct identity *user, const struct authz_attributes *a, const char **ret_reason);
/* SelfSubjectRulesReview: appends resource and non-resource rules that user has in ns. */
void authz_rules(struct registry *g, const struct identity *user, const char *ns, json_t *resource_rules,
		 json_t *non_resource_rules);
/* A role or binding changed: what was derived from them is made anew when it is next needed. */
void authz_changed(struct authorizer *a);

#endif
