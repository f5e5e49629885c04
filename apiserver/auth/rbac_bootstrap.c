// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The bootstrap roles and bindings: reads the lines of rbac_bootstrap.txt, which are compiled in. The text is ours, so that what
 * does not fit is a bug.
 */
#include <string.h>

#include "apiserver/auth/rbac.h"

static const char bootstrap_text[] =
#include "apiserver/rbac_bootstrap.h"
	;

#define GROUP "rbac.authorization.k8s.io"

struct reader {
	struct registry *g;
	void (*fn)(struct registry *g, const struct schema_resource *r, const char *ns, json_t *object);
	const char *plural;
	char *ns_text; /* NULL: cluster scope */
	json_t *object;
};

static void emit(struct reader *r)
{
	if (r->object)
		r->fn(r->g, schema_resource_find(GROUP, "v1", r->plural), r->ns_text ? r->ns_text : "", TAKE(r->object));
	free(TAKE(r->ns_text));
}

static json_t *list_of(const char *text)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	json_t *a = json_array();
	strlist_split(&parts, text, ',');
	for (size_t i = 0; i < parts.count; i++)
		json_array_append_new(a, json_string(str_eq(parts.items[i], "core") ? "" : parts.items[i]));
	return a;
}

static void start(struct reader *r, const char *plural, const char *kind, const char *ns, const char *name)
{
	emit(r);
	r->plural = plural;
	r->ns_text = ns ? mem_strdup(ns) : NULL;
	r->object = json_pack("{s:s,s:s,s:{s:s,s:{s:s},s:{s:s}}}", "apiVersion", GROUP "/v1", "kind", kind, "metadata", "name", name,
			      "labels", "kubernetes.io/bootstrapping", "rbac-defaults", "annotations",
			      "rbac.authorization.kubernetes.io/autoupdate", "true");
	BUG_ON(!r->object);
}

static void role_ref(struct reader *r, const char *kind, const char *name)
{
	json_object_set_new(r->object, "roleRef", json_pack("{s:s,s:s,s:s}", "apiGroup", GROUP, "kind", kind, "name", name));
}

static json_t *array_of(json_t *o, const char *field)
{
	json_t *a = json_object_get(o, field);
	if (!a) {
		a = json_array();
		json_object_set_new(o, field, a);
	}
	return a;
}

static void cluster_role_extras(struct reader *r, const struct strlist *w)
{
	for (size_t i = 2; i < w->count; i++) {
		_cleanup_strlist_ struct strlist from = { 0 };
		if (!str_eq(w->items[i], "from")) {
			_cleanup_free_ char *label = str_printf(GROUP "/%s", w->items[i]);
			json_object_set_new(json_at(r->object, "metadata.labels"), label, json_string("true"));
			continue;
		}
		strlist_split(&from, w->items[++i], ',');
		for (size_t j = 0; j < from.count; j++) {
			_cleanup_free_ char *label = str_printf(GROUP "/%s", from.items[j]);
			json_t *rule = json_object_get(r->object, "aggregationRule");
			if (!rule) {
				rule = json_object();
				json_object_set_new(r->object, "aggregationRule", rule);
			}
			json_array_append_new(array_of(rule, "clusterRoleSelectors"),
					      json_pack("{s:{s:s}}", "matchLabels", label, "true"));
		}
	}
}

static void head_line(struct reader *r, const struct strlist *w)
{
	const char *what = w->items[0];
	if (str_eq(what, "clusterrole")) {
		start(r, "clusterroles", "ClusterRole", NULL, w->items[1]);
		cluster_role_extras(r, w);
	} else if (str_eq(what, "role")) {
		start(r, "roles", "Role", w->items[1], w->items[2]);
	} else if (str_eq(what, "clusterbinding")) {
		start(r, "clusterrolebindings", "ClusterRoleBinding", NULL, w->items[1]);
		role_ref(r, "ClusterRole", w->items[2]);
	} else if (str_eq(what, "binding")) {
		start(r, "rolebindings", "RoleBinding", w->items[1], w->items[2]);
		role_ref(r, "Role", w->items[3]);
	} else {
		BUG_ON(!"a line of rbac_bootstrap.txt is not understood");
	}
}

static void subject_line(struct reader *r, const struct strlist *w)
{
	json_t *s;
	if (str_eq(w->items[0], "sa"))
		s = json_pack("{s:s,s:s,s:s}", "kind", "ServiceAccount", "name", w->items[2], "namespace", w->items[1]);
	else
		s = json_pack("{s:s,s:s,s:s}", "kind", str_eq(w->items[0], "group") ? "Group" : "User", "apiGroup", GROUP, "name",
			      w->items[1]);
	json_array_append_new(array_of(r->object, "subjects"), s);
}

static void rule_line(struct reader *r, const struct strlist *w)
{
	json_t *rule = json_pack("{s:o}", "verbs", list_of(w->items[0]));
	if (str_eq(w->items[1], "url")) {
		json_object_set_new(rule, "nonResourceURLs", list_of(w->items[2]));
	} else {
		json_object_set_new(rule, "apiGroups", list_of(w->items[1]));
		json_object_set_new(rule, "resources", list_of(w->items[2]));
		if (w->count > 3)
			json_object_set_new(rule, "resourceNames", list_of(w->items[3]));
	}
	json_array_append_new(array_of(r->object, "rules"), rule);
}

void rbac_bootstrap_each(void (*fn)(struct registry *g, const struct schema_resource *r, const char *ns, json_t *object),
			 struct registry *g)
{
	struct reader r = { .g = g, .fn = fn };
	for (const char *line = bootstrap_text; *line;) {
		size_t len = strcspn(line, "\n");
		_cleanup_strlist_ struct strlist words = { 0 };
		_cleanup_free_ char *text = mem_strndup(line, len);
		strlist_split(&words, text, ' ');
		if (*text != ' ')
			head_line(&r, &words);
		else if (json_object_get(r.object, "roleRef"))
			subject_line(&r, &words);
		else
			rule_line(&r, &words);
		line += len + 1;
	}
	emit(&r);
}
