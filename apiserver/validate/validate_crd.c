/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CustomResourceDefinitions: names, versions, columns, subresources, conversion. Their schemas have a file of their own. */
#include "apiserver/validate/validate_crd.h"

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

static void check_columns(struct field_errors *e, const struct fpath *p, const json_t *columns)
{
	static const char *const types[] = { "boolean", "date", "integer", "number", "string", NULL };
	static const char *const formats[] = { "byte",	 "date",  "date-time", "double", "float",
					       "int32", "int64", "password",  NULL };
	json_t *column;
	size_t i;

	json_array_foreach(columns, i, column) {
		const char *type = get_str(column, "type"), *format = get_str(column, "format"), *path = get_str(column, "jsonPath");
		const struct fpath *at = FP_INDEX(p, i);

		if (!*get_str(column, "name"))
			fe_required(e, FP(at, "name"), NULL);
		if (!*type)
			fe_required(e, FP(at, "type"), "must be one of boolean,date,integer,number,string");
		else if (!one_of(type, types))
			fe_invalid(e, FP(at, "type"), type, "must be one of boolean,date,integer,number,string");
		if (*format && !one_of(format, formats))
			fe_invalid(e, FP(at, "format"), format,
				   "must be one of byte,date,date-time,double,float,int32,int64,password");
		if (!*path)
			fe_required(e, FP(at, "JSONPath"), NULL);
		else if (*path != '.')
			fe_invalid(e, FP(at, "JSONPath"), path, "must be a simple json path starting with .");
	}
}

static void check_scale(struct field_errors *e, const struct fpath *p, const json_t *scale)
{
	static const struct {
		const char *key, *root, *text;
	} paths[] = { { "specReplicasPath", ".spec.", "should be a json path under .spec" },
		      { "statusReplicasPath", ".status.", "should be a json path under .status" } };
	const char *labels = get_str(scale, "labelSelectorPath");

	for (size_t i = 0; scale && i < ARRAY_SIZE(paths); i++) {
		const char *path = get_str(scale, paths[i].key);

		if (!*path)
			fe_required(e, FP(p, paths[i].key), NULL);
		else if (!str_starts(path, paths[i].root))
			fe_invalid(e, FP(p, paths[i].key), path, "%s", paths[i].text);
	}
	if (*labels && !str_starts(labels, ".spec.") && !str_starts(labels, ".status."))
		fe_invalid(e, FP(p, "labelSelectorPath"), labels, "should be a json path under either .spec or .status");
}

/* The schema below a path like ".spec.size"; NULL: there is none. */
static const json_t *schema_at(const json_t *schema, const char *path)
{
	_cleanup_strlist_ struct strlist steps = {0};

	strlist_split(&steps, path, '.');
	for (size_t i = 0; schema && i < steps.count; i++)
		schema = get(get(schema, "properties"), steps.items[i]);
	return schema;
}

static void check_selectable(struct field_errors *e, const struct fpath *p, const json_t *fields, const json_t *schema)
{
	enum { FIELDS_MAX = 8 };
	struct map *seen = map_new(NULL);
	json_t *field;
	size_t i;

	if (json_array_size(fields) > FIELDS_MAX)
		fe_too_many(e, p, json_array_size(fields), FIELDS_MAX);
	json_array_foreach(fields, i, field) {
		const char *path = get_str(field, "jsonPath");
		const struct fpath *at = FP(FP_INDEX(p, i), "jsonPath");
		const json_t *leaf = schema_at(schema, path);

		if (!*path)
			fe_required(e, at, NULL);
		else if (*path != '.')
			fe_invalid(e, at, path, "must be a simple json path starting with .");
		else if (str_starts(path, ".metadata."))
			fe_invalid(e, at, path, "must not point to fields in metadata");
		else if (!leaf)
			fe_invalid(e, at, path, "is an invalid path: does not refer to a valid field");
		else if (!one_of(get_str(leaf, "type"), WORDS("string", "boolean", "integer")))
			fe_invalid(e, at, path,
				   "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are "
				   "allowed.");
		if (map_has(seen, path))
			fe_duplicate(e, at, path);
		map_set(seen, path, field);
	}
	map_free(seen);
}

/* What all versions say alike stands in the spec itself, as before versions had it. */
static bool shared(const json_t *versions, const char *path)
{
	json_t *v;
	size_t i;

	json_array_foreach(versions, i, v) {
		if (!same_semantic(json_at(v, path), json_at(json_array_get(versions, 0), path)))
			return false;
	}
	return true;
}

static void check_version(struct field_errors *e, const json_t *versions, size_t i, const struct fpath *version)
{
	const json_t *v = json_array_get(versions, i), *schema = json_at(v, "schema.openAPIV3Schema");
	static const char *const members[] = { "additionalPrinterColumns", "subresources", "selectableFields" };
	const struct fpath *at[ARRAY_SIZE(members)];
	bool one_schema = shared(versions, "schema");

	if (!schema)
		fe_required(e, FP(FP(version, "schema"), "openAPIV3Schema"), "schemas are required");
	else if (!one_schema)
		check_crd_schema(e, FP(FP(version, "schema"), "openAPIV3Schema"), schema);
	else if (i == 0)
		check_crd_schema(e, FP(FP(&spec_path, "validation"), "openAPIV3Schema"), schema);
	for (size_t m = 0; m < ARRAY_SIZE(members); m++)
		at[m] = !shared(versions, members[m]) ? version : i == 0 ? &spec_path : NULL;
	if (at[0])
		check_columns(e, FP(at[0], members[0]), get(v, members[0]));
	if (at[1])
		check_scale(e, FP(FP(at[1], members[1]), "scale"), get(get(v, members[1]), "scale"));
	if (at[2])
		check_selectable(e, FP(at[2], members[2]), get(v, members[2]), schema);
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
		check_version(e, versions, i, FP_INDEX(p, i));
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

static void check_stored_versions(struct field_errors *e, const json_t *crd)
{
	const json_t *stored = json_at(crd, "status.storedVersions"), *versions = json_at(crd, "spec.versions");
	const struct fpath *p = FP(FP(NULL, "status"), "storedVersions");
	struct map *known = list_index(versions, "name"), *listed = map_new(NULL);
	json_t *v;
	size_t i;

	if (json_array_size(stored) == 0)
		fe_invalid_json(e, p, stored, "must have at least one stored version");
	json_array_foreach(stored, i, v) {
		const char *name = json_string_value(v);

		map_set(listed, name, v);
		if (!map_has(known, name))
			fe_invalid(e, FP_INDEX(p, i), name,
				   "missing from spec.versions; %s was previously a storage version, and must remain in spec.versions until a "
				   "storage migration ensures no data remains persisted in %s and removes %s from status.storedVersions",
				   name, name, name);
	}
	json_array_foreach(json_array_size(stored) ? versions : NULL, i, v) {
		if (get_bool(v, "storage") && !map_has(listed, get_str(v, "name")))
			fe_invalid_json(e, p, stored, "must have the storage version %s", get_str(v, "name"));
	}
	map_free(known);
	map_free(listed);
}

void validate_crd_status(const struct validation *v)
{
	check_stored_versions(v->e, v->object);
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
	if (!v->old)
		return;
	check_crd_update(v, spec, get(v->old, "spec"));
	check_stored_versions(v->e, v->object);
}
