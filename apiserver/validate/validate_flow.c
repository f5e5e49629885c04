/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The objects of API priority and fairness. */
#include "apiserver/validate/validate_internal.h"

static const struct fpath spec_path = { .name = "spec" };

/* Lists that have to have something in them. */
static void check_lists(struct field_errors *e, const struct fpath *p, const json_t *o, const char *const *keys)
{
	for (; *keys; keys++) {
		_cleanup_free_ char *text = str_printf("%s must contain at least one value", *keys);

		if (json_array_size(get(o, *keys)) == 0)
			fe_required(e, FP(p, *keys), text);
	}
}

static void check_flow_subject(struct field_errors *e, const struct fpath *p, const json_t *subject)
{
	static const char *const kinds[] = { "Group", "ServiceAccount", "User", NULL }, *const keys[] = { "group", "serviceAccount",
													 "user" };
	const char *kind = get_str(subject, "kind");

	if (!one_of(kind, kinds)) {
		fe_not_supported(e, FP(p, "kind"), kind, kinds);
		return;
	}
	for (size_t i = 0; kinds[i]; i++) {
		bool own = strcmp(kind, kinds[i]) == 0;
		_cleanup_free_ char *text = str_printf("%s is required when subject kind is '%s'", keys[i], kinds[i]);

		if (own && !get(subject, keys[i]))
			fe_required(e, FP(p, keys[i]), text);
		else if (own && !*get_str(get(subject, keys[i]), "name"))
			fe_required(e, FP(FP(p, keys[i]), "name"), NULL);
		else if (!own && get(subject, keys[i]))
			fe_forbidden(e, FP(p, keys[i]), "%s is forbidden when subject kind is not '%s'", keys[i], kinds[i]);
	}
}

static void check_flow_rule(struct field_errors *e, const struct fpath *p, const json_t *rule)
{
	const json_t *resources = get(rule, "resourceRules"), *urls = get(rule, "nonResourceRules");
	json_t *r;
	size_t i;

	if (json_array_size(get(rule, "subjects")) == 0)
		fe_required(e, FP(p, "subjects"), "subjects must contain at least one value");
	json_array_foreach(get(rule, "subjects"), i, r)
		check_flow_subject(e, FP_INDEX(FP(p, "subjects"), i), r);
	if (json_array_size(resources) + json_array_size(urls) == 0)
		fe_required(e, p, "at least one of resourceRules and nonResourceRules has to be non-empty");
	json_array_foreach(urls, i, r)
		check_lists(e, FP_INDEX(FP(p, "nonResourceRules"), i), r, WORDS("verbs", "nonResourceURLs"));
	json_array_foreach(resources, i, r) {
		check_lists(e, FP_INDEX(FP(p, "resourceRules"), i), r, WORDS("verbs", "apiGroups", "resources"));
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

static void check_limit_response(struct field_errors *e, const struct fpath *p, const json_t *response)
{
	static const char *const types[] = { "Queue", "Reject", NULL }, *const counts[] = { "queues", "queueLengthLimit", "handSize" };
	const json_t *queuing = get(response, "queuing");
	const char *type = get_str(response, "type");

	if (!one_of(type, types)) {
		fe_not_supported(e, FP(p, "type"), type, types);
		return;
	}
	if (strcmp(type, "Reject") == 0 && queuing)
		fe_forbidden(e, FP(p, "queuing"), "must be nil if limited.limitResponse.type is not Limited");
	else if (strcmp(type, "Queue") == 0 && !queuing)
		fe_required(e, FP(p, "queuing"), "must not be empty if limited.limitResponse.type is Limited");
	for (size_t i = 0; queuing && i < ARRAY_SIZE(counts); i++)
		if (get_int(queuing, counts[i]) <= 0)
			fe_invalid_int(e, FP(FP(p, "queuing"), counts[i]), get_int(queuing, counts[i]), "must be positive");
	if (queuing && get_int(queuing, "handSize") > get_int(queuing, "queues"))
		fe_invalid_int(e, FP(FP(p, "queuing"), "handSize"), get_int(queuing, "handSize"),
			       "should not be greater than queues (%lld)", (long long)get_int(queuing, "queues"));
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
	if (get(spec, "limited"))
		check_limit_response(v->e, FP(FP(&spec_path, "limited"), "limitResponse"), json_at(spec, "limited.limitResponse"));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *percent = get(get(spec, kinds[i]), "lendablePercent");

		if (percent && (json_integer_value(percent) < 0 || json_integer_value(percent) > 100))
			fe_invalid_json(v->e, FP(FP(&spec_path, kinds[i]), "lendablePercent"), percent,
					"must be between 0 and 100, inclusive");
	}
}
