// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * RBAC's escalation check. A rule is taken apart into single permissions, "*" standing for itself, so that only who has "*" may give
 * "*"; each is asked of the authorizer. That is stricter than upstream in one case: two rules that cover a third only together with
 * resource names on one side are looked at name by name.
 */
#include <string.h>

#include "apiserver/auth/rbac.h"
#include "kube/object.h"
#include "kube/selector.h"

#define GROUP "rbac.authorization.k8s.io"
enum { MAX_PERMISSIONS = 100000 };

struct grant {
	struct registry *g;
	const struct identity *user;
	const char *ns;
	unsigned asked;
	struct strbuf missing;
};

static void ask(struct grant *k, const struct authz_attributes *a)
{
	if (k->missing.len)
		return;
	if (k->asked++ < MAX_PERMISSIONS && authz_allowed(k->g, k->user, a, NULL))
		return;
	if (a->is_resource)
		strbuf_addf(&k->missing, "{APIGroups:[\"%s\"], Resources:[\"%s%s%s\"], Verbs:[\"%s\"]}", a->group, a->resource,
			    *a->subresource ? "/" : "", a->subresource, a->verb);
	else
		strbuf_addf(&k->missing, "{NonResourceURLs:[\"%s\"], Verbs:[\"%s\"]}", a->path, a->verb);
}

static void ask_resource(struct grant *k, const json_t *rule, const char *verb, const char *group, const char *resource)
{
	const char *slash = strchr(resource, '/');
	_cleanup_free_ char *plural = slash ? mem_strndup(resource, (size_t)(slash - resource)) : mem_strdup(resource);
	json_t *names = json_object_get(rule, "resourceNames"), *v;
	struct authz_attributes a = { .is_resource = true, .verb = verb, .group = group, .version = "", .resource = plural,
		.subresource = slash ? slash + 1 : "", .ns = k->ns, .name = "", .path = "" };
	size_t i;
	if (!json_array_size(names))
		ask(k, &a);
	json_array_foreach(names, i, v) {
		a.name = json_is_string(v) ? json_string_value(v) : "";
		ask(k, &a);
	}
}

static const char *text_of(const json_t *v)
{
	return json_is_string(v) ? json_string_value(v) : "";
}

static void ask_rule(struct grant *k, const json_t *rule)
{
	size_t v, i, j;
	json_t *verb, *group, *resource, *url;
	json_array_foreach(json_object_get(rule, "verbs"), v, verb) {
		json_array_foreach(json_object_get(rule, "apiGroups"), i, group)
			json_array_foreach(json_object_get(rule, "resources"), j, resource)
				ask_resource(k, rule, text_of(verb), text_of(group), text_of(resource));
		json_array_foreach(json_object_get(rule, "nonResourceURLs"), i, url) {
			const struct authz_attributes a = { .verb = text_of(verb), .path = text_of(url), .group = "", .version = "",
				.resource = "", .subresource = "", .ns = "", .name = "" };
			ask(k, &a);
		}
	}
}

static void ask_role(struct grant *k, const json_t *role, unsigned depth)
{
	enum { MAX_DEPTH = 4 };
	const struct schema_resource *clusterroles = schema_resource_find(GROUP, "v1", "clusterroles");
	size_t i, j, n;
	json_t *v;
	json_array_foreach(json_object_get(role, "rules"), i, v)
		ask_rule(k, v);
	struct store_object **all = store_objects(k->g->store, clusterroles->id, &n);
	json_array_foreach(json_at(role, "aggregationRule.clusterRoleSelectors"), i, v) {
		struct selector *s = selector_from_label_selector(v, NULL);
		for (j = 0; s && depth < MAX_DEPTH && j < n; j++)
			if (selector_matches(s, all[j]->labels)) {
				_cleanup_json_ json_t *other = entry_parse(all[j]);
				ask_role(k, other, depth + 1);
			}
		selector_free(s);
	}
}

static json_t *named_role(const struct grant *k, const json_t *binding)
{
	bool cluster = !str_eq(json_str(binding, "roleRef.kind"), "Role");
	const struct schema_resource *r = schema_resource_find(GROUP, "v1", cluster ? "clusterroles" : "roles");
	_cleanup_free_ char *key = entry_key(r, k->ns, json_str_or(binding, "roleRef.name", ""));
	struct store_object *o = store_latest(k->g->store, r->id, key);
	return o ? entry_parse(o) : NULL;
}

static bool has_verb(const struct grant *k, const char *verb, const char *resource, const char *name)
{
	const struct authz_attributes a = { .is_resource = true, .verb = verb, .group = GROUP, .version = "v1", .resource = resource,
		.subresource = "", .ns = k->ns, .name = name, .path = "" };
	return authz_allowed(k->g, k->user, &a, NULL);
}

json_t *rbac_check_grant(struct registry *g, const struct identity *user, const struct schema_resource *storage, const char *ns,
			 const json_t *object)
{
	struct grant k = { .g = g, .user = user, .ns = storage->namespaced ? ns : "" };
	bool binding = str_ends(storage->plural, "bindings");
	json_t *status = NULL;
	if (!str_eq(storage->group, GROUP))
		return NULL;
	if (binding) {
		_cleanup_json_ json_t *role = named_role(&k, object);
		const char *kind = str_eq(json_str(object, "roleRef.kind"), "Role") ? "roles" : "clusterroles";
		if (!has_verb(&k, "bind", kind, json_str_or(object, "roleRef.name", ""))) {
			if (!role)
				return status_not_found(schema_resource_find(GROUP, "v1", kind), json_str_or(object, "roleRef.name", ""));
			ask_role(&k, role, 0);
		}
	} else if (!has_verb(&k, "escalate", storage->plural, object_name(object))) {
		ask_role(&k, object, 0);
	}
	if (k.missing.len) {
		_cleanup_free_ char *text = str_printf("user \"%s\" is attempting to grant RBAC permissions not currently held:\n%s", user->name,
						       k.missing.data);
		status = status_forbidden(storage, object_name(object), text);
	}
	strbuf_done(&k.missing);
	return status;
}
