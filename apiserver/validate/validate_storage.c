/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Classes of storage and of volume attributes. */
#include "apiserver/validate/validate_volume.h"

static void fmt_lower_qualified(const char *s, struct strlist *msgs)
{
	_cleanup_free_ char *lower = mem_strdup(s);

	for (char *c = lower; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	fmt_qualified_name(lower, msgs);
}

static void check_topology(struct field_errors *e, const struct fpath *p, const json_t *term)
{
	struct map *keys = map_new(NULL), *seen;
	json_t *expression, *value;
	size_t i, k;

	json_array_foreach(get(term, "matchLabelExpressions"), i, expression) {
		const char *key = get_str(expression, "key");
		const struct fpath *at = FP_INDEX(FP(p, "matchLabelExpressions"), i);

		if (json_array_size(get(expression, "values")) == 0)
			fe_required(e, FP(at, "values"), NULL);
		seen = map_new(NULL);
		json_array_foreach(get(expression, "values"), k, value) {
			if (map_has(seen, json_string_value(value)))
				fe_duplicate(e, FP_INDEX(FP(at, "values"), k), json_string_value(value));
			map_set(seen, json_string_value(value), value);
		}
		map_free(seen);
		check_format(e, FP(at, "key"), key, fmt_qualified_name);
		if (map_has(keys, key))
			fe_duplicate(e, FP(at, "key"), key);
		map_set(keys, key, expression);
	}
	map_free(keys);
}

static void check_topologies(struct field_errors *e, const struct fpath *p, const json_t *terms)
{
	json_t *term;
	size_t i;

	json_array_foreach(terms, i, term)
		check_topology(e, FP_INDEX(p, i), term);
}

void validate_storage_class(const struct validation *v)
{
	static const char *const immutable[] = { "parameters", "provisioner", "reclaimPolicy", "volumeBindingMode" };
	static const char *const modes[] = { "Immediate", "WaitForFirstConsumer", NULL };
	const json_t *o = v->object, *parameters = get(o, "parameters");
	size_t total = 0;
	const char *key;
	json_t *value;

	if (!*get_str(o, "provisioner"))
		fe_required(v->e, FP(NULL, "provisioner"), NULL);
	else
		check_format(v->e, FP(NULL, "provisioner"), get_str(o, "provisioner"), fmt_lower_qualified);
	if (json_object_size(parameters) > 512)
		fe_too_long(v->e, FP(NULL, "parameters"), 512);
	json_object_foreach((json_t *)parameters, key, value) {
		if (!*key)
			fe_invalid(v->e, FP(NULL, "parameters"), key, "field can not be empty.");
		total += strlen(key) + json_string_length(value);
	}
	if (total > 256 * 1024)
		fe_too_long(v->e, FP(NULL, "parameters"), 256 * 1024);
	if (*get_str(o, "reclaimPolicy") && !one_of(get_str(o, "reclaimPolicy"), WORDS("Delete", "Retain")))
		fe_not_supported(v->e, FP(NULL, "reclaimPolicy"), get_str(o, "reclaimPolicy"),
				 WORDS("Delete", "Retain"));
	check_enum(v->e, FP(NULL, "volumeBindingMode"), get_str(o, "volumeBindingMode"), modes);
	check_topologies(v->e, FP(NULL, "allowedTopologies"), get(o, "allowedTopologies"));
	for (size_t i = 0; v->old && i < ARRAY_SIZE(immutable); i++)
		check_immutable(v->e, FP(NULL, immutable[i]), get(o, immutable[i]), get(v->old, immutable[i]));
}

void validate_volume_attributes_class(const struct validation *v)
{
	check_csi_driver_name(v->e, FP(NULL, "driverName"), get_str(v->object, "driverName"));
	if (json_object_size(get(v->object, "parameters")) == 0)
		fe_required(v->e, FP(NULL, "parameters"), "must contain at least one key/value pair");
	if (v->old && strcmp(get_str(v->object, "driverName"), get_str(v->old, "driverName")) != 0)
		fe_forbidden(v->e, FP(NULL, "driverName"), "updates to driverName are forbidden.");
	if (v->old && !same_semantic(get(v->object, "parameters"), get(v->old, "parameters")))
		fe_forbidden(v->e, FP(NULL, "parameters"), "updates to parameters are forbidden.");
}
