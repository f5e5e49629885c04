/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RBAC (rbac.authorization.k8s.io/v1): roles and bindings as stored, compiled when first asked and again after a change. ClusterRoles
 * with an aggregationRule and no rules yet have the rules of the roles it selects; the aggregation controller writes them down.
 */
#ifndef KEELSON_APISERVER_AUTH_RBAC_H
#define KEELSON_APISERVER_AUTH_RBAC_H

#include "apiserver/auth/authz.h"
#include "apiserver/registry/registry.h"

struct rbac;
struct rbac *rbac_compile(const struct registry *g);
struct rbac *rbac_free(struct rbac *r);
/* *ret_reason (may be NULL): which binding allowed it; valid until the rbac is freed. */
bool rbac_allows(const struct rbac *r, const struct identity *user, const struct authz_attributes *a, const char **ret_reason);
/* Do the rules of this ClusterRole allow it, whoever is bound to it? */
bool rbac_role_allows(const struct rbac *r, const char *cluster_role, const struct authz_attributes *a);
void rbac_rules(const struct rbac *r, const struct identity *user, const char *ns, json_t *resource_rules,
		json_t *non_resource_rules);
/* Nobody grants what they do not have (RBAC's escalation check): a role's rules, or those of the role that a binding names,
 * must all be allowed to user, unless user has the verb escalate (roles) or bind (bindings) on it. old NULL: a create. Other
 * resources, and writes that change no right: NULL. */
json_t *rbac_check_grant(struct registry *g, const struct identity *user, const struct schema_resource *storage, const char *ns,
			 const json_t *object, const json_t *old);
/* The roles and bindings every cluster starts with: fn is called for each as an object (moved), ns "" for cluster scope. */
void rbac_bootstrap_each(void (*fn)(struct registry *g, const struct schema_resource *r, const char *ns, json_t *object),
			 struct registry *g);

#endif
