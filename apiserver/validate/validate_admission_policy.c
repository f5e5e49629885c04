/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Admission policies and their bindings. Expressions are not compiled: that they are there is all that is checked. */
#include "apiserver/validate/validate_admission.h"

static void check_match_resources(struct field_errors *e, const struct fpath *p, const json_t *match)
{
	static const char *const lists[] = { "resourceRules", "excludeResourceRules" };
	json_t *rule;
	size_t i;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(get(match, lists[l]), i, rule)
			check_admission_rule(e, FP_INDEX(FP(p, lists[l]), i), rule);
	}
	check_label_selector(e, FP(p, "namespaceSelector"), get(match, "namespaceSelector"));
	check_label_selector(e, FP(p, "objectSelector"), get(match, "objectSelector"));
	check_choice_of(e, p, match, "matchPolicy", WORDS("Equivalent", "Exact"));
}

static void check_policy_match(struct field_errors *e, const struct fpath *p, const json_t *match)
{
	if (!match) {
		fe_required(e, p, NULL);
		return;
	}
	if (json_array_size(get(match, "resourceRules")) == 0)
		fe_required(e, FP(p, "resourceRules"), NULL);
	check_match_resources(e, p, match);
}

/* What both kinds of policies have beside what they do: parameters, what they match, variables. */
static void check_policy(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	const json_t *kind = get(spec, "paramKind");
	struct map *seen = map_new(NULL);
	json_t *variable;
	size_t i;

	check_choice_of(e, p, spec, "failurePolicy", WORDS("Fail", "Ignore"));
	if (kind && !*get_str(kind, "apiVersion"))
		fe_required(e, FP(FP(p, "paramKind"), "apiVersion"), NULL);
	if (kind && !*get_str(kind, "kind"))
		fe_required(e, FP(FP(p, "paramKind"), "kind"), NULL);
	check_policy_match(e, FP(p, "matchConstraints"), get(spec, "matchConstraints"));
	check_match_conditions(e, FP(p, "matchConditions"), get(spec, "matchConditions"));
	json_array_foreach(get(spec, "variables"), i, variable) {
		const struct fpath *at = FP_INDEX(FP(p, "variables"), i);
		const char *name = get_str(variable, "name");

		if (!*name)
			fe_required(e, FP(at, "name"), "name is not specified");
		else if (map_has(seen, name))
			fe_duplicate(e, FP(at, "name"), name);
		map_set(seen, name, variable);
		if (!*get_str(variable, "expression"))
			fe_required(e, FP(at, "expression"), "expression is not specified");
	}
	map_free(seen);
}

static void check_audit_annotations(struct field_errors *e, const struct fpath *p, const json_t *annotations)
{
	struct map *seen = map_new(NULL);
	json_t *annotation;
	size_t i;

	json_array_foreach(annotations, i, annotation) {
		const char *key = get_str(annotation, "key");

		if (!*key)
			fe_required(e, FP(FP_INDEX(p, i), "key"), "key is not specified");
		else
			check_format(e, FP(FP_INDEX(p, i), "key"), key, fmt_qualified_name);
		if (*key && map_has(seen, key))
			fe_duplicate(e, FP(FP_INDEX(p, i), "key"), key);
		map_set(seen, key, annotation);
		if (!*get_str(annotation, "valueExpression"))
			fe_required(e, FP(FP_INDEX(p, i), "valueExpression"), "valueExpression is not specified");
	}
	map_free(seen);
}

static void check_param_ref(struct field_errors *e, const struct fpath *p, const json_t *ref)
{
	const char *action = get_str(ref, "parameterNotFoundAction");
	const json_t *selector = get(ref, "selector");

	if (!ref)
		return;
	if (*get_str(ref, "name") && selector)
		fe_forbidden(e, FP(p, "name"), "name and selector are mutually exclusive");
	else if (!*get_str(ref, "name") && !selector)
		fe_required(e, p, "one of name or selector must be specified");
	check_label_selector(e, FP(p, "selector"), selector);
	check_enum(e, FP(p, "parameterNotFoundAction"), action, WORDS("Allow", "Deny"));
}

void validate_admission_policy(const struct validation *v)
{
	static const char *const reasons[] = { "Forbidden", "Invalid", "RequestEntityTooLarge", NULL };
	static const char none[] = "validations or auditAnnotations must contain at least one item";
	const json_t *spec = get(v->object, "spec"), *validations = get(spec, "validations");
	const struct fpath *p = FP(NULL, "spec");
	json_t *item;
	size_t i;

	check_policy(v->e, p, spec);
	check_audit_annotations(v->e, FP(p, "auditAnnotations"), get(spec, "auditAnnotations"));
	if (json_array_size(validations) + json_array_size(get(spec, "auditAnnotations")) == 0) {
		fe_required(v->e, FP(p, "validations"), none);
		fe_required(v->e, FP(p, "auditAnnotations"), none);
	}
	json_array_foreach(validations, i, item) {
		const struct fpath *at = FP_INDEX(FP(p, "validations"), i);
		const char *message = get_str(item, "message");

		if (!*get_str(item, "expression"))
			fe_required(v->e, FP(at, "expression"), "expression is not specified");
		if (get(item, "message") && !*message)
			fe_invalid(v->e, FP(at, "message"), message, "message must be non-empty if specified");
		else if (strpbrk(message, "\r\n"))
			fe_invalid(v->e, FP(at, "message"), message, "message must not contain line breaks");
		check_choice_of(v->e, at, item, "reason", reasons);
	}
}

/* What the bindings of both kinds have. */
static void check_binding(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	if (!*get_str(spec, "policyName"))
		fe_required(e, FP(p, "policyName"), NULL);
	check_param_ref(e, FP(p, "paramRef"), get(spec, "paramRef"));
	check_match_resources(e, FP(p, "matchResouces"), get(spec, "matchResources"));
}

void validate_mutating_binding(const struct validation *v)
{
	check_binding(v->e, FP(NULL, "spec"), get(v->object, "spec"));
}

static void check_mutation(struct field_errors *e, const struct fpath *p, const json_t *mutation)
{
	static const char *const types[] = { "ApplyConfiguration", "JSONPatch", NULL }, *const keys[] = { "applyConfiguration",
													     "jsonPatch" };
	const char *type = get_str(mutation, "patchType");

	check_enum(e, FP(p, "patchType"), type, types);
	for (size_t i = 0; types[i]; i++) {
		const json_t *own = get(mutation, keys[i]);
		_cleanup_free_ char *text = str_printf("must be specified when patchType is %s", types[i]);

		if (strcmp(type, types[i]) == 0 && !own)
			fe_required(e, FP(p, keys[i]), text);
		else if (strcmp(type, types[i]) != 0 && own)
			fe_invalid_text(e, FP(p, keys[i]), "{}", "must not be specified when patchType is %s", type);
		else if (own && !*get_str(own, "expression"))
			fe_required(e, FP(FP(p, keys[i]), "expression"), "expression is not specified");
	}
}

void validate_mutating_policy(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec");
	const struct fpath *p = FP(NULL, "spec");
	json_t *mutation;
	size_t i;

	check_policy(v->e, p, spec);
	if (json_array_size(get(spec, "mutations")) == 0)
		fe_required(v->e, FP(p, "mutations"), "mutations must contain at least one item");
	json_array_foreach(get(spec, "mutations"), i, mutation)
		check_mutation(v->e, FP_INDEX(FP(p, "mutations"), i), mutation);
	check_enum(v->e, FP(p, "reinvocationPolicy"), get_str(spec, "reinvocationPolicy"), WORDS("IfNeeded", "Never"));
}

void validate_admission_binding(const struct validation *v)
{
	static const char *const actions[] = { "Audit", "Deny", "Warn", NULL };
	const json_t *spec = get(v->object, "spec"), *list = get(spec, "validationActions");
	const struct fpath *p = FP(FP(NULL, "spec"), "validationActions");
	struct map *seen = map_new(NULL);
	json_t *action;
	size_t i;

	check_binding(v->e, FP(NULL, "spec"), spec);
	if (json_array_size(list) == 0)
		fe_required(v->e, p, "at least one validation action is required");
	json_array_foreach(list, i, action) {
		const char *name = json_string_value(action);

		if (!one_of(name, actions))
			fe_not_supported(v->e, FP_INDEX(p, i), name, actions);
		if (map_has(seen, name))
			fe_duplicate(v->e, FP_INDEX(p, i), name);
		map_set(seen, name, seen);
	}
	if (map_has(seen, "Deny") && map_has(seen, "Warn"))
		fe_invalid_json(v->e, p, list,
				"must not contain both Deny and Warn (repeating the same validation failure "
				"information in the API "
				"response and headers serves no purpose)");
	map_free(seen);
}
