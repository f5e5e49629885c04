// SPDX-License-Identifier: GPL-2.0-or-later
/* Compiling and evaluating RBAC. Rules are only ever additive: the first that fits allows. */
#include "apiserver/auth/rbac.h"

#include <string.h>

#include "base/map.h"
#include "kube/object.h"
#include "kube/selector.h"

struct rule {
	struct strlist verbs, groups, resources, names, urls;
};

struct role {
	struct rule *rules;
	size_t count, cap;
	json_t *value;         /* while compiling: for aggregation */
};

struct subject {
	enum { SUBJECT_USER, SUBJECT_GROUP } kind;
	char *name;            /* ServiceAccounts by their user name */
	char *reason;          /* what a review is told */
};

struct binding {
	char *ns;              /* NULL: everywhere */
	const struct role *role;
	struct subject *subjects;
	size_t count, cap;
};

struct rbac {
	struct map *roles;     /* "namespace/name", or "/name" of a ClusterRole */
	struct binding *bindings;
	size_t count, cap;
};

#define GROUP "rbac.authorization.k8s.io"

static void take_list(struct strlist *out, const json_t *array)
{
	size_t i;
	json_t *v;
	json_array_foreach(array, i, v)
		if (json_is_string(v))
			strlist_add(out, json_string_value(v));
}

static void role_add_rules(struct role *role, const json_t *value)
{
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(value, "rules"), i, v) {
		MEM_GROW(role->rules, role->cap, role->count + 1);
		struct rule *r = &role->rules[role->count++];
		*r = (struct rule){ 0 };
		take_list(&r->verbs, json_object_get(v, "verbs"));
		take_list(&r->groups, json_object_get(v, "apiGroups"));
		take_list(&r->resources, json_object_get(v, "resources"));
		take_list(&r->names, json_object_get(v, "resourceNames"));
		take_list(&r->urls, json_object_get(v, "nonResourceURLs"));
	}
}

static void role_free(void *p)
{
	struct role *role = p;
	for (size_t i = 0; i < role->count; i++) {
		strlist_done(&role->rules[i].verbs);
		strlist_done(&role->rules[i].groups);
		strlist_done(&role->rules[i].resources);
		strlist_done(&role->rules[i].names);
		strlist_done(&role->rules[i].urls);
	}
	json_decref(role->value);
	free(role->rules);
	free(role);
}

static void compile_roles(struct rbac *r, const struct registry *g, const char *plural)
{
	const struct schema_resource *resource = schema_resource_find(GROUP, "v1", plural);
	struct store_iter it = store_iterate(g->store, resource->id, NULL);
	for (struct store_object *o; (o = store_next(&it));) {
		struct role *role = mem_new(struct role);
		_cleanup_free_ char *key = resource->namespaced ? mem_strdup(o->key) : str_printf("/%s", o->key);
		role->value = entry_parse(o);
		role_add_rules(role, role->value);
		map_set(r->roles, key, role);
	}
}

/* The union of the selected ClusterRoles, and of what those aggregate: until a controller has written it into the role. */
static void gather(const struct rbac *r, struct role *into, const json_t *value, unsigned depth)
{
	enum { MAX_DEPTH = 4 };
	json_t *selectors = json_at(value, "aggregationRule.clusterRoleSelectors"), *v;
	size_t i, it = 0;
	const char *key;
	void *p;
	if (depth > MAX_DEPTH)
		return;
	json_array_foreach(selectors, i, v) {
		struct selector *s = selector_from_label_selector(v, NULL);
		for (it = 0; s && map_next(r->roles, &it, &key, &p);) {
			const struct role *other = p;
			if (*key != '/' || other == into || !other->value || !selector_matches(s, object_labels(other->value)))
				continue;
			role_add_rules(into, other->value);
			if (!json_array_size(json_object_get(other->value, "rules")))
				gather(r, into, other->value, depth + 1);
		}
		selector_free(s);
	}
}

/* By whom: `RBAC: allowed by RoleBinding "b/default" of ClusterRole "view" to User "jane"`. */
static void binding_subject(struct binding *b, const json_t *s, const char *ns, const char *by)
{
	const char *kind = json_str_or(s, "kind", ""), *name = json_str_or(s, "name", "");
	struct subject subject = { .kind = str_eq(kind, "Group") ? SUBJECT_GROUP : SUBJECT_USER };
	const char *of = str_eq(kind, "ServiceAccount") ? json_str_or(s, "namespace", ns ? ns : "") : NULL;
	if (of)
		subject.name = str_printf("system:serviceaccount:%s:%s", of, name);
	else if (str_eq(kind, "User") || str_eq(kind, "Group"))
		subject.name = mem_strdup(name);
	else
		return;
	subject.reason = str_printf("%s to %s \"%s%s%s\"", by, kind, name, of ? "/" : "", of ? of : "");
	MEM_GROW(b->subjects, b->cap, b->count + 1);
	b->subjects[b->count++] = subject;
}

static void compile_bindings(struct rbac *r, const struct registry *g, const char *plural)
{
	const struct schema_resource *resource = schema_resource_find(GROUP, "v1", plural);
	size_t j;
	json_t *s;
	struct store_iter it = store_iterate(g->store, resource->id, NULL);
	for (struct store_object *o; (o = store_next(&it));) {
		_cleanup_json_ json_t *v = entry_parse(o);
		const char *name = json_str_or(v, "roleRef.name", ""), *kind = json_str_or(v, "roleRef.kind", "");
		char *ns = resource->namespaced ? mem_strndup(o->key, entry_namespace_len(o)) : NULL;
		_cleanup_free_ char *key = str_printf("%s/%s", str_eq(kind, "Role") && ns ? ns : "", name);
		const struct role *role = map_get(r->roles, key);
		if (!role) {
			free(ns);
			continue;
		}
		MEM_GROW(r->bindings, r->cap, r->count + 1);
		struct binding *b = &r->bindings[r->count++];
		*b = (struct binding){ .ns = ns, .role = role };
		_cleanup_free_ char *by = str_printf("RBAC: allowed by %s \"%s%s%s\" of %s \"%s\"", resource->kind, entry_name(o),
						     ns ? "/" : "", ns ? ns : "", kind, name);
		json_array_foreach(json_object_get(v, "subjects"), j, s)
			binding_subject(b, s, ns, by);
	}
}

struct rbac *rbac_compile(const struct registry *g)
{
	struct rbac *r = mem_new(struct rbac);
	size_t it = 0;
	const char *key;
	void *p;
	r->roles = map_new(role_free);
	compile_roles(r, g, "clusterroles");
	compile_roles(r, g, "roles");
	while (map_next(r->roles, &it, &key, &p))
		if (!json_array_size(json_object_get(((struct role *)p)->value, "rules")))
			gather(r, p, ((struct role *)p)->value, 0);
	it = 0;
	while (map_next(r->roles, &it, &key, &p)) {
		struct role *role = p;
		json_decref(role->value);
		role->value = NULL;
	}
	compile_bindings(r, g, "clusterrolebindings");
	compile_bindings(r, g, "rolebindings");
	return r;
}

static void subject_done(struct subject *s)
{
	free(s->name);
	free(s->reason);
}

struct rbac *rbac_free(struct rbac *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < r->count; i++) {
		struct binding *b = &r->bindings[i];
		for (size_t j = 0; j < b->count; j++)
			subject_done(&b->subjects[j]);
		free(b->subjects);
		free(b->ns);
	}
	free(r->bindings);
	map_free(r->roles);
	free(r);
	return NULL;
}

/* The subject that is the user, or NULL. */
static const struct subject *bound_as(const struct binding *b, const struct identity *user)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct subject *s = &b->subjects[i];
		if (s->kind == SUBJECT_GROUP ? identity_in_group(user, s->name) : str_eq(user->name, s->name))
			return s;
	}
	return NULL;
}

static bool has_or_star(const struct strlist *l, const char *s)
{
	return strlist_has(l, "*") || strlist_has(l, s);
}

static bool resource_fits(const struct rule *r, const struct authz_attributes *a)
{
	if (strlist_has(&r->resources, "*"))
		return true;
	if (str_empty(a->subresource))
		return strlist_has(&r->resources, a->resource);
	_cleanup_free_ char *full = str_printf("%s/%s", a->resource, a->subresource);
	_cleanup_free_ char *any = str_printf("*/%s", a->subresource);
	return strlist_has(&r->resources, full) || strlist_has(&r->resources, any);
}

static bool url_fits(const struct rule *r, const char *path)
{
	for (size_t i = 0; i < r->urls.count; i++) {
		const char *u = r->urls.items[i];
		size_t len = strlen(u);
		if (str_eq(u, "*") || str_eq(u, path) || (len && u[len - 1] == '*' && strncmp(u, path, len - 1) == 0))
			return true;
	}
	return false;
}

static bool rule_fits(const struct rule *r, const struct authz_attributes *a)
{
	if (!has_or_star(&r->verbs, a->verb))
		return false;
	if (!a->is_resource)
		return url_fits(r, a->path);
	return has_or_star(&r->groups, a->group) && resource_fits(r, a) && (!r->names.count || strlist_has(&r->names, a->name));
}

bool rbac_allows(const struct rbac *r, const struct identity *user, const struct authz_attributes *a, const char **ret_reason)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct binding *b = &r->bindings[i];
		if (b->ns && (!a->is_resource || !str_eq(b->ns, a->ns)))
			continue;
		const struct subject *as = bound_as(b, user);
		if (!as)
			continue;
		for (size_t j = 0; j < b->role->count; j++)
			if (rule_fits(&b->role->rules[j], a)) {
				if (ret_reason)
					*ret_reason = as->reason;
				return true;
			}
	}
	return false;
}

bool rbac_role_allows(const struct rbac *r, const char *cluster_role, const struct authz_attributes *a)
{
	_cleanup_free_ char *key = str_printf("/%s", cluster_role);
	const struct role *role = map_get(r->roles, key);
	for (size_t i = 0; role && i < role->count; i++)
		if (rule_fits(&role->rules[i], a))
			return true;
	return false;
}

static void put_list(json_t *o, const char *field, const struct strlist *l)
{
	json_t *a = json_array();
	for (size_t i = 0; i < l->count; i++)
		json_array_append_new(a, json_string(l->items[i]));
	if (l->count)
		json_object_set(o, field, a);
	json_decref(a);
}

void rbac_rules(const struct rbac *r, const struct identity *user, const char *ns, json_t *resource_rules,
		json_t *non_resource_rules)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct binding *b = &r->bindings[i];
		if ((b->ns && !str_eq(b->ns, ns)) || !bound_as(b, user))
			continue;
		for (size_t j = 0; j < b->role->count; j++) {
			const struct rule *rule = &b->role->rules[j];
			json_t *o = json_object();
			put_list(o, "verbs", &rule->verbs);
			put_list(o, "apiGroups", &rule->groups);
			put_list(o, "resources", &rule->resources);
			put_list(o, "resourceNames", &rule->names);
			put_list(o, "nonResourceURLs", &rule->urls);
			json_array_append_new(rule->urls.count ? non_resource_rules : resource_rules, o);
		}
	}
}
