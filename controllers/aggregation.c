// SPDX-License-Identifier: GPL-2.0-or-later
/* The ClusterRole aggregation controller: fills the rules of roles with an aggregationRule. */
#include "controllers/aggregation.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

#define API "rbac.authorization.k8s.io/v1"

static int by_name(const void *a, const void *b)
{
	return strcmp(object_name(*(json_t *const *)a), object_name(*(json_t *const *)b));
}

static bool has_rule(const json_t *rules, const json_t *rule)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)rules, i, v) {
		if (json_same(v, rule))
			return true;
	}
	return false;
}

json_t *aggregation_rules(const json_t *role, const struct object_list *roles)
{
	_cleanup_free_ json_t **sorted = mem_new_n(json_t *, roles->count + 1);
	json_t *rules = json_array(), *v, *rule;
	size_t i, k;

	if (roles->count)
		memcpy(sorted, roles->items, roles->count * sizeof(*sorted));
	qsort(sorted, roles->count, sizeof(*sorted), by_name);
	json_array_foreach(json_at(role, "aggregationRule.clusterRoleSelectors"), i, v) {
		_cleanup_(selector_freep) struct selector *s = selector_from_label_selector(v, NULL);

		for (size_t n = 0; s && n < roles->count; n++) {
			if (str_eq(object_name(sorted[n]), object_name(role)) || !selector_matches(s, object_labels(sorted[n])))
				continue;
			json_array_foreach(json_object_get(sorted[n], "rules"), k, rule) {
				if (!has_rule(rules, rule))
					json_array_append(rules, rule);
			}
		}
	}
	return rules;
}

/* What one role has may be in any that aggregates, and in those that aggregate that. */
static void on_role(const json_t *old _unused_, const json_t *new _unused_, void *user)
{
	struct controller *c = user;
	size_t it = 0;

	if (!c->ctx->synced)
		return;
	for (json_t *role; (role = informer_next(controller_informer(c, INFORMER_CLUSTERROLES), &it));)
		if (json_object_get(role, "aggregationRule"))
			controller_enqueue_object(c, role);
}

static void aggregation_start(struct controller *c)
{
	controller_watch(c, INFORMER_CLUSTERROLES, on_role);
}

static void aggregation_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *role = controller_get(c, INFORMER_CLUSTERROLES, key);
	_cleanup_object_list_ struct object_list roles = { 0 };
	_cleanup_json_ json_t *rules = NULL;
	json_t *had;
	size_t it = 0;

	if (!role || object_deleting(role) || !json_object_get(role, "aggregationRule"))
		return;
	for (json_t *r; (r = informer_next(controller_informer(c, INFORMER_CLUSTERROLES), &it));)
		object_list_add(&roles, r);
	rules = aggregation_rules(role, &roles);
	had = json_object_get(role, "rules");
	if (json_array_size(had) == json_array_size(rules) && (!json_array_size(rules) || json_same(had, rules)))
		return;
	plan_merge_patch(plan, kube_path(API, "clusterroles", NULL, key, NULL),
			 json_pack("{s:{s:s}, s:O}", "metadata", "resourceVersion", object_resource_version(role), "rules", rules))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}

const struct controller_ops aggregation_controller = {
	.name = "clusterrole-aggregation",
	.primary = INFORMER_CLUSTERROLES,
	.needs = NEEDS(INFORMER_CLUSTERROLES),
	.parallel = 2,
	.start = aggregation_start,
	.sync = aggregation_sync,
};
