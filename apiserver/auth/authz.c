// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Authorization: the mode's decision, that of the node authorizer, and RBAC's, in this order: the first that allows counts. The
 * cluster's own daemons (by their certificates' identities) may do everything: keelson's controllers use one identity where upstream
 * has one a controller.
 */
#include "apiserver/auth/authz.h"

#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/rbac.h"

struct authorizer {
	enum authz_mode mode;
	struct rbac *rbac; /* NULL: to be compiled */
};

struct authorizer *authorizer_new(enum authz_mode mode)
{
	struct authorizer *a = mem_new(struct authorizer);
	a->mode = mode;
	return a;
}

struct authorizer *authorizer_free(struct authorizer *a)
{
	if (!a)
		return NULL;
	rbac_free(a->rbac);
	free(a);
	return NULL;
}

static const char *trusted(const struct authorizer *a, const struct identity *user)
{
	if (a->mode == AUTHZ_ALWAYS_ALLOW && !user->anonymous)
		return "AlwaysAllow";
	if (identity_in_group(user, "system:masters"))
		return "system:masters";
	return NULL;
}

static const struct rbac *compiled(struct registry *g)
{
	if (!g->authz->rbac)
		g->authz->rbac = rbac_compile(g);
	return g->authz->rbac;
}

bool authz_allowed(struct registry *g, const struct identity *user, const struct authz_attributes *a, const char **ret_reason)
{
	const char *reason = trusted(g->authz, user), *node = reason ? NULL : node_identity(user);
	if (node && node_authz_allows(g, compiled(g), node, a))
		reason = "a node and what is its own";
	if (ret_reason)
		*ret_reason = reason ? reason : "";
	return reason || rbac_allows(compiled(g), user, a, ret_reason);
}

void authz_rules(struct registry *g, const struct identity *user, const char *ns, json_t *resource_rules,
		 json_t *non_resource_rules)
{
	if (!trusted(g->authz, user)) {
		rbac_rules(compiled(g), user, ns, resource_rules, non_resource_rules);
		return;
	}
	json_array_append_new(resource_rules, json_pack("{s:[s],s:[s],s:[s]}", "verbs", "*", "apiGroups", "*", "resources", "*"));
	json_array_append_new(non_resource_rules, json_pack("{s:[s],s:[s]}", "verbs", "*", "nonResourceURLs", "*"));
}

void authz_changed(struct authorizer *a)
{
	if (a)
		a->rbac = rbac_free(a->rbac);
}
