/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CustomResourceDefinitions as far as their names, versions and conversion go, and the objects of API priority and
 * fairness. */
#include "apiserver/validate/validate_internal.h"

#include <ctype.h>

static const struct fpath spec_path = { .name = "spec" };

static void check_crd_names(struct field_errors *e, const json_t *names)
{
	static const struct {
		const char *key;
		bool mixed_case;
	} keys[] = { { "plural", false }, { "singular", false }, { "kind", true }, { "listKind", true } };
	static const char *const lists[] = { "shortNames", "categories" };
	const struct fpath *p = FP(&spec_path, "names");
	json_t *v;
	size_t i;

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
		const char *name = get_str(names, keys[k].key);
		_cleanup_free_ char *lower = mem_strdup(name);
		_cleanup_strlist_ struct strlist msgs = {0};

		for (char *c = lower; keys[k].mixed_case && *c; c++)
			*c = (char)tolower((unsigned char)*c);
		if (!*name) {
			fe_required(e, FP(p, keys[k].key), NULL);
			continue;
		}
		fmt_dns1035_label(lower, &msgs);
		for (i = 0; i < msgs.count; i++)
			fe_invalid(e, FP(p, keys[k].key), name, "%s%s",
				   keys[k].mixed_case ? "may have mixed case, but should otherwise match: " : "",
				   msgs.items[i]);
	}
	if (*get_str(names, "kind") && strcmp(get_str(names, "kind"), get_str(names, "listKind")) == 0)
		fe_invalid(e, FP(p, "listKind"), get_str(names, "listKind"), "kind and listKind may not be the same");
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(get(names, lists[l]), i, v)
			check_format(e, FP_INDEX(FP(p, lists[l]), i), json_string_value(v), fmt_dns1035_label);
	}
}

static void check_crd_versions(struct field_errors *e, const json_t *versions)
{
	const struct fpath *p = FP(&spec_path, "versions");
	struct map *seen = map_new(NULL);
	size_t storage = 0, i;
	bool unique = true;
	json_t *v;

	json_array_foreach(versions, i, v) {
		const char *name = get_str(v, "name");

		check_format(e, FP(FP_INDEX(p, i), "name"), name, fmt_dns1035_label);
		storage += get_bool(v, "storage");
		unique &= !map_has(seen, name);
		map_set(seen, name, seen);
		if (!json_at(v, "schema.openAPIV3Schema"))
			fe_required(e, FP(FP(FP_INDEX(p, i), "schema"), "openAPIV3Schema"), "schemas are required");
	}
	if (!unique)
		fe_invalid_json(e, p, versions, "must contain unique version names");
	if (storage != 1)
		fe_invalid_json(e, p, versions, "must have exactly one version marked as storage version");
	map_free(seen);
}

static void check_crd_conversion(struct field_errors *e, const json_t *conversion)
{
	static const char *const strategies[] = { "None", "Webhook", NULL };
	const char *strategy = get_str(conversion, "strategy");
	const struct fpath *p = FP(&spec_path, "conversion");
	const json_t *client = json_at(conversion, "webhook.clientConfig");

	check_enum(e, FP(p, "strategy"), strategy, strategies);
	if (strcmp(strategy, "Webhook") == 0) {
		if (!client)
			fe_required(e, FP(p, "webhookClientConfig"), "required when strategy is set to Webhook");
		if (json_array_size(json_at(conversion, "webhook.conversionReviewVersions")) == 0)
			fe_required(e, FP(p, "conversionReviewVersions"), NULL);
	} else if (client) {
		fe_forbidden(e, FP(p, "webhookClientConfig"), "should not be set when strategy is not set to Webhook");
	}
}

static void check_crd_update(const struct validation *v, const json_t *spec, const json_t *old)
{
	json_t *c;
	size_t i;

	check_immutable(v->e, FP(&spec_path, "group"), get(spec, "group"), get(old, "group"));
	check_immutable(v->e, FP(FP(&spec_path, "names"), "plural"), json_at(spec, "names.plural"),
			json_at(old, "names.plural"));
	json_array_foreach(json_at(v->old, "status.conditions"), i, c) {
		if (strcmp(get_str(c, "type"), "Established") != 0 || strcmp(get_str(c, "status"), "True") != 0)
			continue;
		check_immutable(v->e, FP(&spec_path, "scope"), get(spec, "scope"), get(old, "scope"));
		check_immutable(v->e, FP(FP(&spec_path, "names"), "kind"), json_at(spec, "names.kind"),
				json_at(old, "names.kind"));
	}
}

void validate_crd(const struct validation *v)
{
	static const char approved[] = "api-approved.kubernetes.io";
	const json_t *spec = get(v->object, "spec");
	const char *group = get_str(spec, "group"), *name = json_str_or(v->object, "metadata.name", "");
	_cleanup_free_ char *wanted = str_printf("%s.%s", json_str_or(spec, "names.plural", ""), group);
	bool protected = str_ends(group, ".k8s.io") || str_ends(group, ".kubernetes.io");

	if (strcmp(name, wanted) != 0)
		fe_invalid(v->e, FP(FP(NULL, "metadata"), "name"), name, "must be spec.names.plural+\".\"+spec.group");
	if (!*group)
		fe_required(v->e, FP(&spec_path, "group"), NULL);
	else
		check_format(v->e, FP(&spec_path, "group"), group, fmt_dns_subdomain);
	if (*group && !strchr(group, '.'))
		fe_invalid(v->e, FP(&spec_path, "group"), group, "should be a domain with at least one dot");
	check_enum(v->e, FP(&spec_path, "scope"), get_str(spec, "scope"), WORDS("Cluster", "Namespaced"));
	check_crd_versions(v->e, get(spec, "versions"));
	check_crd_names(v->e, get(spec, "names"));
	if (get_bool(spec, "preserveUnknownFields") && !v->old)
		fe_invalid_text(v->e, FP(&spec_path, "preserveUnknownFields"), "true",
				"cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
				"spec.versions[*].schema instead");
	check_crd_conversion(v->e, get(spec, "conversion"));
	if (protected && !*get_str(json_at(v->object, "metadata.annotations"), approved))
		fe_required(v->e, FP_KEY(FP(FP(NULL, "metadata"), "annotations"), approved),
			    "protected groups must have approval annotation \"api-approved.kubernetes.io\", see "
			    "https://github.com/kubernetes/enhancements/pull/1111");
	if (v->old)
		check_crd_update(v, spec, get(v->old, "spec"));
}

static void check_flow_rule(struct field_errors *e, const struct fpath *p, const json_t *rule)
{
	const json_t *resources = get(rule, "resourceRules"), *urls = get(rule, "nonResourceRules");
	json_t *r;
	size_t i;

	if (json_array_size(get(rule, "subjects")) == 0)
		fe_required(e, FP(p, "subjects"), "subjects must contain at least one value");
	if (json_array_size(resources) + json_array_size(urls) == 0)
		fe_required(e, p, "at least one of resourceRules and nonResourceRules has to be non-empty");
	json_array_foreach(resources, i, r) {
		if (!get_bool(r, "clusterScope") && json_array_size(get(r, "namespaces")) == 0)
			fe_required(e, FP(FP_INDEX(FP(p, "resourceRules"), i), "namespaces"),
				    "resource rules that are not cluster scoped must supply at least one namespace");
	}
}

void validate_flow_schema(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec");
	int64_t precedence = get_int(spec, "matchingPrecedence");
	const struct fpath *p = FP(&spec_path, "matchingPrecedence");
	json_t *rule;
	size_t i;

	if (precedence <= 0)
		fe_invalid_int(v->e, p, precedence, "must be a positive value");
	else if (precedence > 10000)
		fe_invalid_int(v->e, p, precedence, "must not be greater than 10000");
	else if (precedence == 1 && strcmp(json_str_or(v->object, "metadata.name", ""), "exempt") != 0)
		fe_invalid_int(v->e, p, precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
	if (!*json_str_or(spec, "priorityLevelConfiguration.name", ""))
		fe_required(v->e, FP(FP(&spec_path, "priorityLevelConfiguration"), "name"),
			    "must reference a priority level");
	json_array_foreach(get(spec, "rules"), i, rule)
		check_flow_rule(v->e, FP_INDEX(FP(&spec_path, "rules"), i), rule);
}

void validate_priority_level(const struct validation *v)
{
	static const char *const kinds[] = { "exempt", "limited" };
	const json_t *spec = get(v->object, "spec");
	const char *type = get_str(spec, "type");
	bool exempt = strcmp(json_str_or(v->object, "metadata.name", ""), "exempt") == 0;

	if (exempt != (strcmp(type, "Exempt") == 0))
		fe_invalid(v->e, FP(&spec_path, "type"), type, "must be 'Exempt' if and only if `name` is 'exempt'");
	if (strcmp(type, "Limited") == 0 && !get(spec, "limited"))
		fe_required(v->e, FP(&spec_path, "limited"), "must not be empty when type is Limited");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *percent = get(get(spec, kinds[i]), "lendablePercent");

		if (percent && (json_integer_value(percent) < 0 || json_integer_value(percent) > 100))
			fe_invalid_json(v->e, FP(FP(&spec_path, kinds[i]), "lendablePercent"), percent,
					"must be between 0 and 100, inclusive");
	}
}
