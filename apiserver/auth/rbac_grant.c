// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * RBAC's escalation check. A rule is taken apart into single permissions, "*" standing for itself, so that only who has "*" may give
 * "*"; each is asked of the authorizer. That is stricter than upstream in one case: two rules that cover a third only together with
 * resource names on one side are looked at name by name.
 */
#include <string.h>

#include "apiserver/auth/rbac.h"
#include "base/map.h"
#include "kube/object.h"
#include "kube/selector.h"

#define GROUP "rbac.authorization.k8s.io"
enum { MAX_PERMISSIONS = 100000 };

struct grant {
	struct registry *g;
	const struct identity *user;
	const char *ns;
	unsigned asked;
	struct map *missing; /* what the user lacks, without the verbs -> a strlist of those; NULL: nothing so far */
};

static void free_verbs(void *p)
{
	strlist_done(p);
	free(p);
}

static void lacks(struct grant *k, const struct authz_attributes *a)
{
	_cleanup_strbuf_ struct strbuf what = { 0 };
	if (a->is_resource)
		strbuf_addf(&what, "APIGroups:[\"%s\"], Resources:[\"%s%s%s\"]", a->group, a->resource, *a->subresource ? "/" : "",
			    a->subresource);
	else
		strbuf_addf(&what, "NonResourceURLs:[\"%s\"]", a->path);
	if (*a->name)
		strbuf_addf(&what, ", ResourceNames:[\"%s\"]", a->name);
	if (!k->missing)
		k->missing = map_new(free_verbs);
	struct strlist *verbs = map_get(k->missing, what.data);
	if (!verbs) {
		verbs = mem_new(struct strlist);
		map_set(k->missing, what.data, verbs);
	}
	if (!strlist_has(verbs, a->verb))
		strlist_add(verbs, a->verb);
}

static void ask(struct grant *k, const struct authz_attributes *a)
{
	if (k->asked++ >= MAX_PERMISSIONS || !authz_allowed(k->g, k->user, a, NULL))
		lacks(k, a);
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

/* A role that is put together and whose rules nobody has written down yet has those of what it selects, as rbac.c has it. */
static void ask_role(struct grant *k, const json_t *role, unsigned depth)
{
	enum { MAX_DEPTH = 4 };
	const struct schema_resource *clusterroles = schema_resource_find(GROUP, "v1", "clusterroles");
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(role, "rules"), i, v)
		ask_rule(k, v);
	if (i || depth > MAX_DEPTH)
		return;
	json_array_foreach(json_at(role, "aggregationRule.clusterRoleSelectors"), i, v) {
		struct selector *s = selector_from_label_selector(v, NULL);
		struct store_iter it = store_iterate(k->g->store, clusterroles->id, NULL);
		for (struct store_object *o; s && (o = store_next(&it));)
			if (selector_matches(s, o->labels)) {
				_cleanup_json_ json_t *other = entry_parse(o);
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

/* Who may select any role's rules, present and future, must have all there are. */
static bool has_everything(struct grant *k)
{
	static const struct authz_attributes resources = { .is_resource = true, .verb = "*", .group = "*", .version = "", .resource = "*",
		.subresource = "", .ns = "", .name = "", .path = "" };
	static const struct authz_attributes urls = { .verb = "*", .path = "*", .group = "", .version = "", .resource = "",
		.subresource = "", .ns = "", .name = "" };
	return authz_allowed(k->g, k->user, &resources, NULL) && authz_allowed(k->g, k->user, &urls, NULL);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_quoted(struct strbuf *b, const char *const *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		strbuf_addf(b, "%s\"%s\"", i ? " " : "", items[i]);
}

static json_t *refusal(const struct grant *k, const struct schema_resource *storage, const char *name)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };
	const char *what;
	size_t groups = 0;
	void *p;
	for (size_t it = 0; map_next(k->missing, &it, &what, &p);) {
		struct strlist *verbs = p;
		_cleanup_strbuf_ struct strbuf line = { 0 };
		qsort(verbs->items, verbs->count, sizeof(*verbs->items), by_text);
		strbuf_addf(&line, "{%s, Verbs:[", what);
		add_quoted(&line, (const char *const *)verbs->items, verbs->count);
		strbuf_adds(&line, "]}");
		strlist_add(&lines, line.data);
	}
	qsort(lines.items, lines.count, sizeof(*lines.items), by_text);
	while (k->user->groups[groups])
		groups++;
	strbuf_addf(&text, "user \"%s\" (groups=[", k->user->name);
	add_quoted(&text, k->user->groups, groups);
	strbuf_adds(&text, "]) is attempting to grant RBAC permissions not currently held:");
	for (size_t i = 0; i < lines.count; i++)
		strbuf_addf(&text, "\n%s", lines.items[i]);
	return status_forbidden(storage, name, text.data);
}

/* A binding: the right to bind the role, or all that is in it. */
static json_t *check_binding(struct grant *k, const json_t *object)
{
	const char *kind = str_eq(json_str(object, "roleRef.kind"), "Role") ? "roles" : "clusterroles";
	const char *name = json_str_or(object, "roleRef.name", "");
	_cleanup_json_ json_t *role = NULL;
	if (has_verb(k, "bind", kind, name))
		return NULL;
	role = named_role(k, object);
	if (!role)
		return status_not_found(schema_resource_find(GROUP, "v1", kind), name);
	ask_role(k, role, 0);
	return NULL;
}

static bool same(const json_t *a, const json_t *b, const char *field)
{
	const json_t *x = json_object_get(a, field), *y = json_object_get(b, field);
	return x && y ? json_same(x, y) : (!json_array_size(x) && !json_object_size(x) && !json_array_size(y) && !json_object_size(y));
}

json_t *rbac_check_grant(struct registry *g, const struct identity *user, const struct schema_resource *storage, const char *ns,
			 const json_t *object, const json_t *old)
{
	struct grant k = { .g = g, .user = user, .ns = storage->namespaced ? ns : "" };
	json_t *status = NULL;
	if (!str_eq(storage->group, GROUP))
		return NULL;
	/* Labels, annotations and owners may be changed by anybody who may write. */
	if (old && same(old, object, "rules") && same(old, object, "aggregationRule") && same(old, object, "subjects") &&
	    same(old, object, "roleRef"))
		return NULL;
	if (str_ends(storage->plural, "bindings")) {
		status = check_binding(&k, object);
	} else if (!has_verb(&k, "escalate", storage->plural, object_name(object))) {
		ask_role(&k, object, 0);
		if (!k.missing && (json_object_get(object, "aggregationRule") || json_object_get(old, "aggregationRule")) &&
		    !has_everything(&k))
			status = status_forbidden(storage, object_name(object),
						  "must have cluster-admin privileges to use the aggregationRule");
	}
	if (!status && k.missing)
		status = refusal(&k, storage, object_name(object));
	map_free(k.missing);
	return status;
}
