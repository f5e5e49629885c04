/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Roles and their bindings. Whether a user may grant what they grant is the authorizer's. */
#include "apiserver/validate/validate_internal.h"

static const char RBAC_GROUP[] = "rbac.authorization.k8s.io";

static void check_rule(struct field_errors *e, const struct fpath *p, const json_t *rule, bool namespaced)
{
	size_t groups = json_array_size(get(rule, "apiGroups")), resources = json_array_size(get(rule, "resources"));
	const json_t *urls = get(rule, "nonResourceURLs");

	if (json_array_size(get(rule, "verbs")) == 0)
		fe_required(e, FP(p, "verbs"), "verbs must contain at least one value");
	if (json_array_size(urls) > 0) {
		if (namespaced)
			fe_invalid_json(e, FP(p, "nonResourceURLs"), urls,
					"namespaced rules cannot apply to non-resource URLs");
		if (groups || resources || json_array_size(get(rule, "resourceNames")))
			fe_invalid_json(e, FP(p, "nonResourceURLs"), urls,
					"rules cannot apply to both regular resources and non-resource URLs");
		return;
	}
	if (!groups)
		fe_required(e, FP(p, "apiGroups"), "resource rules must supply at least one api group");
	if (!resources)
		fe_required(e, FP(p, "resources"), "resource rules must supply at least one resource");
}

static void check_rules(const struct validation *v, bool namespaced)
{
	json_t *rule;
	size_t i;

	json_array_foreach(get(v->object, "rules"), i, rule)
		check_rule(v->e, FP_INDEX(FP(NULL, "rules"), i), rule, namespaced);
}

void validate_role(const struct validation *v)
{
	check_rules(v, true);
}

void validate_cluster_role(const struct validation *v)
{
	const json_t *aggregation = get(v->object, "aggregationRule"),
		     *selectors = get(aggregation, "clusterRoleSelectors");
	const struct fpath *p = FP(FP(NULL, "aggregationRule"), "clusterRoleSelectors");
	json_t *selector;
	size_t i;

	check_rules(v, false);
	if (aggregation && json_array_size(selectors) == 0)
		fe_required(v->e, p, "at least one clusterRoleSelector required if aggregationRule is non-nil");
	json_array_foreach(selectors, i, selector)
		check_label_selector(v->e, FP_INDEX(p, i), selector);
}

static void check_subject(struct field_errors *e, const struct fpath *p, const json_t *subject, bool cluster)
{
	static const char *const kinds[] = { "ServiceAccount", "User", "Group", NULL };
	const char *kind = get_str(subject, "kind"), *name = get_str(subject, "name"),
		   *group = get_str(subject, "apiGroup");

	if (!*name)
		fe_required(e, FP(p, "name"), NULL);
	if (strcmp(kind, "ServiceAccount") == 0) {
		if (*name)
			check_format(e, FP(p, "name"), name, fmt_dns_subdomain);
		if (*group)
			fe_not_supported(e, FP(p, "apiGroup"), group, WORDS(""));
		if (cluster && !*get_str(subject, "namespace"))
			fe_required(e, FP(p, "namespace"), NULL);
	} else if (one_of(kind, kinds)) {
		if (strcmp(group, RBAC_GROUP) != 0)
			fe_not_supported(e, FP(p, "apiGroup"), group, WORDS(RBAC_GROUP));
	} else {
		fe_not_supported(e, FP(p, "kind"), kind, kinds);
	}
}

static void check_binding(const struct validation *v, bool cluster)
{
	const json_t *ref = get(v->object, "roleRef");
	const char *kind = get_str(ref, "kind"), *name = get_str(ref, "name");
	const char *const *kinds = cluster ? WORDS("ClusterRole") : WORDS("Role", "ClusterRole");
	const struct fpath *p = FP(NULL, "roleRef");
	json_t *subject;
	size_t i;

	if (strcmp(get_str(ref, "apiGroup"), RBAC_GROUP) != 0)
		fe_not_supported(v->e, FP(p, "apiGroup"), get_str(ref, "apiGroup"), WORDS(RBAC_GROUP));
	if (!one_of(kind, kinds))
		fe_not_supported(v->e, FP(p, "kind"), kind, kinds);
	if (!*name)
		fe_required(v->e, FP(p, "name"), NULL);
	else
		check_format(v->e, FP(p, "name"), name, fmt_path_segment);
	json_array_foreach(get(v->object, "subjects"), i, subject)
		check_subject(v->e, FP_INDEX(FP(NULL, "subjects"), i), subject, cluster);
	if (v->old && !same_semantic(ref, get(v->old, "roleRef"))) {
		_cleanup_strbuf_ struct strbuf value = {0};

		/* The reference prints with the names of its Go fields. */
		strbuf_adds(&value, "{\"APIGroup\":");
		strbuf_add_json(&value, get_str(ref, "apiGroup"), strlen(get_str(ref, "apiGroup")));
		strbuf_adds(&value, ",\"Kind\":");
		strbuf_add_json(&value, kind, strlen(kind));
		strbuf_adds(&value, ",\"Name\":");
		strbuf_add_json(&value, name, strlen(name));
		strbuf_addc(&value, '}');
		fe_invalid_text(v->e, p, value.data, "cannot change roleRef");
	}
}

void validate_role_binding(const struct validation *v)
{
	check_binding(v, false);
}

void validate_cluster_role_binding(const struct validation *v)
{
	check_binding(v, true);
}
