/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Structural schemas: outside of allOf, anyOf, oneOf and not every field has a type, and inside of them nothing may be said
 * that pruning or defaulting would have to know.
 */
#include "apiserver/validate/validate_crd.h"

enum level { ROOT, FIELD, ITEM };

static void check_choice(struct field_errors *e, const struct fpath *p, const json_t *schema, const char *key,
			 const char *const *allowed)
{
	if (*get_str(schema, key) && !one_of(get_str(schema, key), allowed))
		fe_not_supported(e, FP(p, key), get_str(schema, key), allowed);
}

/* What holds for every schema, wherever it stands. */
static void check_common(struct field_errors *e, const struct fpath *p, const json_t *s)
{
	static const char *const types[] = { "array", "boolean", "integer", "number", "object", "string", NULL };
	const json_t *additional = get(s, "additionalProperties"), *preserve = get(s, "x-kubernetes-preserve-unknown-fields");
	json_t *rule;
	size_t i;

	if (*get_str(s, "$ref"))
		fe_forbidden(e, FP(p, "$ref"), "$ref is not supported");
	check_choice(e, p, s, "type", types);
	if (get_bool(s, "uniqueItems"))
		fe_forbidden(e, FP(p, "uniqueItems"), "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
	if (additional && !json_is_false(additional) && json_object_size(get(s, "properties")) > 0)
		fe_forbidden(e, FP(p, "additionalProperties"), "additionalProperties and properties are mutual exclusive");
	check_choice(e, p, s, "x-kubernetes-list-type", WORDS("atomic", "set", "map"));
	check_choice(e, p, s, "x-kubernetes-map-type", WORDS("atomic", "granular"));
	if (strcmp(get_str(s, "x-kubernetes-list-type"), "map") == 0 && json_array_size(get(s, "x-kubernetes-list-map-keys")) == 0)
		fe_required(e, FP(p, "x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map");
	if (json_is_false(preserve))
		fe_invalid_text(e, FP(p, "x-kubernetes-preserve-unknown-fields"), "false", "must be true or undefined");
	json_array_foreach(get(s, "x-kubernetes-validations"), i, rule) {
		if (!*get_str(rule, "rule"))
			fe_required(e, FP(FP_INDEX(FP(p, "x-kubernetes-validations"), i), "rule"), "rule is not specified");
	}
}

static void check_logic(struct field_errors *e, const struct fpath *p, const json_t *s, bool may_type);

static void check_junctors(struct field_errors *e, const struct fpath *p, const json_t *s)
{
	static const char *const lists[] = { "allOf", "anyOf", "oneOf" };
	bool int_or_string = get_bool(s, "x-kubernetes-int-or-string");
	json_t *part;
	size_t i;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		/* int-or-string says its two types in anyOf, or in the first of allOf. */
		json_array_foreach(get(s, lists[l]), i, part)
			check_logic(e, FP_INDEX(FP(p, lists[l]), i), part, int_or_string && (l == 1 || (l == 0 && i == 0)));
	}
	if (get(s, "not"))
		check_logic(e, FP(p, "not"), get(s, "not"), false);
}

static void check_logic(struct field_errors *e, const struct fpath *p, const json_t *s, bool may_type)
{
	static const char *const empty[] = { "type", "title", "description" }, *const undefined[] = { "additionalProperties", "default" };
	static const char *const off[] = { "nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource",
					   "x-kubernetes-int-or-string" };
	const char *name;
	json_t *child;
	size_t i;

	for (i = may_type; i < ARRAY_SIZE(empty); i++)
		if (*get_str(s, empty[i]))
			fe_forbidden(e, FP(p, empty[i]), "must be empty to be structural");
	for (i = 0; i < ARRAY_SIZE(undefined); i++)
		if (json_object_get(s, undefined[i]))
			fe_forbidden(e, FP(p, undefined[i]), "must be undefined to be structural");
	for (i = 0; i < ARRAY_SIZE(off); i++)
		if (get_bool(s, off[i]))
			fe_forbidden(e, FP(p, off[i]), "must be false to be structural");
	json_object_foreach(get(s, "properties"), name, child)
		check_logic(e, FP_KEY(FP(p, "properties"), name), child, false);
	if (json_is_object(get(s, "items")))
		check_logic(e, FP(p, "items"), get(s, "items"), false);
	check_junctors(e, p, s);
}

static void check_type(struct field_errors *e, const struct fpath *p, const json_t *s, enum level level)
{
	static const char *const texts[] = { "must not be empty at the root", "must not be empty for specified object fields",
					     "must not be empty for specified array items" };
	const char *type = get_str(s, "type");

	if (!*type && (level == ROOT ||
		       (!get_bool(s, "x-kubernetes-int-or-string") && !get_bool(s, "x-kubernetes-preserve-unknown-fields"))))
		fe_required(e, FP(p, "type"), texts[level]);
	if (*type && level == ROOT && strcmp(type, "object") != 0)
		fe_invalid(e, FP(p, "type"), type, "must be object at the root");
	if (strcmp(type, "array") == 0 && !get(s, "items"))
		fe_required(e, FP(p, "items"), "must be specified");
}

/* Metadata is the API's; a schema may only narrow names. */
static void check_metadata(struct field_errors *e, const struct fpath *p, const json_t *metadata)
{
	const char *key;
	json_t *v;
	bool other = false;

	json_object_foreach((json_t *)metadata, key, v)
		other |= !one_of(key, WORDS("type", "properties", "description"));
	json_object_foreach(get(metadata, "properties"), key, v)
		other |= !one_of(key, WORDS("name", "generateName"));
	if (other)
		fe_forbidden(e, p, "must not specify anything other than name and generateName, but metadata is implicitly specified");
}

static void check_schema(struct field_errors *e, const struct fpath *p, const json_t *s, enum level level)
{
	const char *name;
	json_t *child;

	if (!json_is_object(s) || fe_full(e))
		return;
	check_common(e, p, s);
	check_type(e, p, s, level);
	json_object_foreach(get(s, "properties"), name, child) {
		const struct fpath *at = FP_KEY(FP(p, "properties"), name);

		if (strcmp(name, "metadata") == 0 && (level == ROOT || get_bool(s, "x-kubernetes-embedded-resource")))
			check_metadata(e, at, child);
		check_schema(e, at, child, FIELD);
	}
	check_schema(e, FP(p, "items"), get(s, "items"), ITEM);
	check_schema(e, FP(p, "additionalProperties"), get(s, "additionalProperties"), FIELD);
	check_junctors(e, p, s);
}

void check_crd_schema(struct field_errors *e, const struct fpath *p, const json_t *schema)
{
	check_schema(e, p, schema, ROOT);
}
