// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading and asking the audit policy. The rules stay JSON values: what always holds is that audit_policy_parse() has checked every
 * field's type, so that matching looks at strings and lists of strings only.
 */
#include "apiserver/audit/policy.h"

#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "kube/json.h"

struct rule {
	struct audit_verdict verdict;
	const json_t *users, *groups, *verbs, *resources, *namespaces, *urls; /* borrow; NULL when empty */
};

struct audit_policy {
	json_t *value;
	struct rule *rules;
	size_t count;
};

static const char *const level_names[AUDIT_LEVEL_MAX] = { "None", "Metadata", "Request", "RequestResponse" };
static const char *const stage_names[AUDIT_STAGE_MAX] = { "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic" };

const char *audit_level_name(enum audit_level level)
{
	return level_names[level];
}

const char *audit_stage_name(enum audit_stage stage)
{
	return stage_names[stage];
}

/* Reading */

struct place {
	char text[96]; /* "rules[2]", "" at the top */
	struct err *err;
};

static int bad(const struct place *at, const char *field, const char *fmt, ...) _printf_(3, 4);
static int bad(const struct place *at, const char *field, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	return err_set(at->err, EINVAL, "%s%s%s: %s", at->text, *at->text && *field ? "." : "", field, b.data);
}

static int known_fields(const struct place *at, const json_t *v, const char *const *known)
{
	const char *key;
	json_t *item;
	if (!json_is_object(v))
		return bad(at, "", "is no object");
	json_object_foreach((json_t *)v, key, item) {
		bool found = false;
		for (size_t i = 0; known[i]; i++)
			found |= str_eq(known[i], key);
		if (!found)
			return bad(at, key, "unknown field");
	}
	return 0;
}

/* A list of strings; NULL in *ret when it is absent or empty. */
static int read_strings(const struct place *at, const json_t *v, const char *field, const json_t **ret)
{
	const json_t *list = json_object_get(v, field);
	size_t i;
	json_t *item;
	*ret = NULL;
	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return bad(at, field, "is no list");
	json_array_foreach(list, i, item)
		if (!json_is_string(item))
			return bad(at, field, "item %zu is no string", i);
	if (i)
		*ret = list;
	return 0;
}

static int read_stages(const struct place *at, const json_t *v, unsigned *ret)
{
	const json_t *list;
	size_t i;
	json_t *item;
	int rc = read_strings(at, v, "omitStages", &list);
	if (rc)
		return rc;
	json_array_foreach(list, i, item) {
		unsigned stage = 0;
		while (stage < AUDIT_STAGE_MAX && !str_eq(stage_names[stage], json_string_value(item)))
			stage++;
		if (stage == AUDIT_STAGE_MAX)
			return bad(at, "omitStages", "\"%s\" is none of RequestReceived, ResponseStarted, ResponseComplete, Panic",
				   json_string_value(item));
		*ret |= 1U << stage;
	}
	return 0;
}

static int read_omit_managed(const struct place *at, const json_t *v, bool *ret)
{
	const json_t *b = json_object_get(v, "omitManagedFields");
	if (!b || json_is_null(b))
		return 0;
	if (!json_is_boolean(b))
		return bad(at, "omitManagedFields", "is neither true nor false");
	*ret = json_is_true(b);
	return 0;
}

static int read_level(const struct place *at, const json_t *v, enum audit_level *ret)
{
	const char *name = json_string_value(json_object_get(v, "level"));
	for (unsigned i = 0; i < AUDIT_LEVEL_MAX; i++)
		if (str_eq(level_names[i], name)) {
			*ret = i;
			return 0;
		}
	return bad(at, "level", "%s%s%s is none of None, Metadata, Request, RequestResponse", name ? "\"" : "", name ? name : "nothing",
		   name ? "\"" : "");
}

static int read_resources(const struct place *rule, const json_t *v, const json_t **ret)
{
	static const char *const known[] = { "group", "resources", "resourceNames", NULL };
	const json_t *list = json_object_get(v, "resources"), *names, *resources;
	size_t i;
	json_t *item;
	if (list && !json_is_null(list) && !json_is_array(list))
		return bad(rule, "resources", "is no list");
	json_array_foreach(list, i, item) {
		struct place at = { .err = rule->err };
		const json_t *group = json_object_get(item, "group");
		snprintf(at.text, sizeof(at.text), "%.30s.resources[%u]", rule->text, (unsigned)i);
		int rc = known_fields(&at, item, known);
		if (!rc)
			rc = read_strings(&at, item, "resources", &resources);
		if (!rc)
			rc = read_strings(&at, item, "resourceNames", &names);
		if (rc)
			return rc;
		if (group && !json_is_string(group))
			return bad(&at, "group", "is no string");
		if (group && strspn(json_string_value(group), "abcdefghijklmnopqrstuvwxyz0123456789.-") != json_string_length(group))
			return bad(&at, "group", "\"%s\" is no API group; the core group is \"\"", json_string_value(group));
		if (names && !resources)
			return bad(&at, "resourceNames", "needs resources beside it");
	}
	*ret = json_array_size(list) ? list : NULL;
	return 0;
}

static int check_urls(const struct place *at, const struct rule *r)
{
	size_t i;
	json_t *item;
	if (r->urls && (r->resources || r->namespaces))
		return bad(at, "nonResourceURLs", "a rule is for resources (resources, namespaces) or for other URLs, not both");
	json_array_foreach(r->urls, i, item) {
		const char *s = json_string_value(item), *star = strchr(s, '*');
		if (!str_eq(s, "*") && *s != '/')
			return bad(at, "nonResourceURLs", "\"%s\" is not \"*\" and does not begin with a slash", s);
		if (star && star[1])
			return bad(at, "nonResourceURLs", "\"%s\": a * stands at the end only", s);
	}
	return 0;
}

static int read_rule(const struct place *at, const json_t *v, const struct audit_verdict *defaults, struct rule *r)
{
	static const char *const known[] = { "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs",
		"omitStages", "omitManagedFields", NULL };
	int rc = known_fields(at, v, known);
	*r = (struct rule){ .verdict = *defaults };
	if (!rc)
		rc = read_level(at, v, &r->verdict.level);
	if (!rc)
		rc = read_strings(at, v, "users", &r->users);
	if (!rc)
		rc = read_strings(at, v, "userGroups", &r->groups);
	if (!rc)
		rc = read_strings(at, v, "verbs", &r->verbs);
	if (!rc)
		rc = read_strings(at, v, "namespaces", &r->namespaces);
	if (!rc)
		rc = read_strings(at, v, "nonResourceURLs", &r->urls);
	if (!rc)
		rc = read_resources(at, v, &r->resources);
	if (!rc)
		rc = check_urls(at, r);
	if (!rc)
		rc = read_stages(at, v, &r->verdict.omit_stages);
	return rc ? rc : read_omit_managed(at, v, &r->verdict.omit_managed_fields);
}

static int read_policy(struct audit_policy *p, struct err *err)
{
	static const char *const known[] = { "apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields", NULL };
	struct place at = { .err = err };
	struct audit_verdict defaults = { .level = AUDIT_NONE };
	const json_t *rules = json_object_get(p->value, "rules");
	const char *version = json_str_or(p->value, "apiVersion", ""), *kind = json_str_or(p->value, "kind", "");
	size_t i;
	json_t *v;
	int rc = json_is_object(p->value) ? 0 : bad(&at, "policy", "is no object");
	if (!rc && (!str_eq(version, "audit.k8s.io/v1") || !str_eq(kind, "Policy")))
		rc = bad(&at, "apiVersion, kind", "\"%s\" \"%s\" is not \"audit.k8s.io/v1\" \"Policy\"", version, kind);
	if (!rc)
		rc = known_fields(&at, p->value, known);
	if (!rc)
		rc = read_stages(&at, p->value, &defaults.omit_stages);
	if (!rc)
		rc = read_omit_managed(&at, p->value, &defaults.omit_managed_fields);
	if (!rc && json_array_size(rules) == 0)
		rc = bad(&at, "rules", "is no list with at least one rule");
	if (rc)
		return rc;
	p->rules = mem_new_n(struct rule, json_array_size(rules));
	json_array_foreach(rules, i, v) {
		snprintf(at.text, sizeof(at.text), "rules[%zu]", i);
		rc = read_rule(&at, v, &defaults, &p->rules[i]);
		if (rc)
			return rc;
		p->count++;
	}
	return 0;
}

struct audit_policy *audit_policy_parse(const char *text, size_t len, struct err *err)
{
	struct audit_policy *p = mem_new(struct audit_policy);
	p->value = json_or_yaml_parse(text, len, NULL, err);
	if (!p->value || read_policy(p, err) < 0)
		return audit_policy_free(p);
	return p;
}

struct audit_policy *audit_policy_load(const char *file, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct audit_policy *p;
	int rc = file_read(file, AUDIT_POLICY_MAX_BYTES, &text);
	if (rc) {
		err_set(err, -rc, "read --audit-policy-file %s: %s", file, strerror(-rc));
		return NULL;
	}
	p = audit_policy_parse(text.data ? text.data : "", text.len, err);
	if (!p)
		err_wrap(err, "--audit-policy-file %s", file);
	return p;
}

struct audit_policy *audit_policy_free(struct audit_policy *p)
{
	if (!p)
		return NULL;
	json_decref(p->value);
	free(p->rules);
	free(p);
	return NULL;
}

/* Asking */

static bool list_has(const json_t *list, const char *s)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
		if (str_eq(json_string_value(v), s))
			return true;
	return false;
}

static bool in_a_group(const json_t *list, const struct identity *user)
{
	for (size_t i = 0; user->groups[i]; i++)
		if (list_has(list, user->groups[i]))
			return true;
	return false;
}

/* "pods", "pods/log", "pods/", "*"+"/status" and "*", as upstream's policy checker reads them. */
static bool resource_fits(const char *pattern, const struct audit_subject *s)
{
	size_t len = strlen(s->resource);
	const char *sub = str_after(pattern, "*/");
	if (str_eq(pattern, "*") || (sub && *s->subresource && str_eq(sub, s->subresource)))
		return true;
	if (strncmp(pattern, s->resource, len) != 0)
		return false;
	if (!pattern[len])
		return !*s->subresource;
	return pattern[len] == '/' && (str_eq(pattern + len, "/*") || (*s->subresource && str_eq(pattern + len + 1, s->subresource)));
}

static bool group_fits(const json_t *g, const struct audit_subject *s)
{
	const json_t *resources = json_object_get(g, "resources"), *names = json_object_get(g, "resourceNames");
	size_t i;
	json_t *v;
	if (!str_eq(json_str_or(g, "group", ""), s->group))
		return false;
	if (json_array_size(resources) == 0)
		return true;
	if (json_array_size(names) && !list_has(names, s->name))
		return false;
	json_array_foreach(resources, i, v)
		if (resource_fits(json_string_value(v), s))
			return true;
	return false;
}

static bool any_group_fits(const json_t *list, const struct audit_subject *s)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
		if (group_fits(v, s))
			return true;
	return false;
}

static bool url_fits(const json_t *list, const char *path)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v) {
		const char *s = json_string_value(v);
		size_t len = json_string_length(v);
		if (len && s[len - 1] == '*' ? strncmp(s, path, len - 1) == 0 : str_eq(s, path))
			return true;
	}
	return false;
}

static bool rule_fits(const struct rule *r, const struct audit_subject *s)
{
	if (r->users && (!s->user || !list_has(r->users, s->user->name)))
		return false;
	if (r->groups && (!s->user || !in_a_group(r->groups, s->user)))
		return false;
	if (r->verbs && !list_has(r->verbs, s->verb))
		return false;
	if (r->namespaces || r->resources)
		return s->is_resource && (!r->namespaces || list_has(r->namespaces, s->ns)) &&
		       (!r->resources || any_group_fits(r->resources, s));
	return !r->urls || (!s->is_resource && url_fits(r->urls, s->path));
}

struct audit_verdict audit_policy_judge(const struct audit_policy *p, const struct audit_subject *s)
{
	for (size_t i = 0; i < p->count; i++)
		if (rule_fits(&p->rules[i], s))
			return p->rules[i].verdict;
	return (struct audit_verdict){ .level = AUDIT_NONE };
}
