/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces and Nodes. */
#include "apiserver/validate/validate_internal.h"

#include "kube/quantity.h"

void validate_namespace(const struct validation *v)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_at(v->object, "spec.finalizers"), i, item) {
		const char *name = json_string_value(item);
		const struct fpath *p = FP_INDEX(FP(FP(NULL, "spec"), "finalizers"), i);

		check_format(v->e, p, name, fmt_qualified_name);
		if (!strchr(name, '/') && !one_of(name, WORDS("kubernetes", "orphan", "foregroundDeletion")))
			fe_invalid(v->e, p, name,
				   "name is neither a standard finalizer name nor is it fully qualified");
	}
}

void validate_namespace_status(const struct validation *v)
{
	const char *phase = json_str_or(v->object, "status.phase", "");
	const struct fpath *p = FP(FP(NULL, "status"), "Phase");
	bool deleting = json_at(v->object, "metadata.deletionTimestamp") != NULL;

	if (!deleting && strcmp(phase, "Active") != 0)
		fe_invalid(v->e, p, phase, "may only be 'Active' if `deletionTimestamp` is empty");
	else if (deleting && strcmp(phase, "Terminating") != 0)
		fe_invalid(v->e, p, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
}

static void check_taints(struct field_errors *e, const json_t *taints)
{
	static const char *const effects[] = { "NoSchedule", "PreferNoSchedule", "NoExecute", NULL };
	const struct fpath *p = FP(FP(NULL, "metadata"), "taints");
	struct map *seen = map_new(NULL);
	json_t *taint;
	size_t i;

	json_array_foreach(taints, i, taint) {
		const char *key = get_str(taint, "key"), *effect = get_str(taint, "effect");
		_cleanup_free_ char *id = str_printf("%s:%s", key, effect);
		_cleanup_strlist_ struct strlist msgs = {0};
		_cleanup_strbuf_ struct strbuf joined = {0};
		const struct fpath *at = FP_INDEX(p, i);

		check_format(e, FP(at, "key"), key, fmt_qualified_name);
		fmt_label_value(get_str(taint, "value"), &msgs);
		for (size_t m = 0; m < msgs.count; m++)
			strbuf_addf(&joined, "%s%s", m ? ";" : "", msgs.items[m]);
		if (msgs.count)
			fe_invalid(e, FP(at, "value"), get_str(taint, "value"), "%s", joined.data);
		check_enum(e, FP(at, "effect"), effect, effects);
		if (map_has(seen, id)) {
			_cleanup_strbuf_ struct strbuf value = {0};

			go_json(&value, taint);
			fe_duplicate_text(e, at, value.data, "taints must be unique by key and effect pair");
		}
		map_set(seen, id, seen);
	}
	map_free(seen);
}

static void check_capacity(struct field_errors *e, const json_t *status, const char *list)
{
	const char *name;
	json_t *value;

	json_object_foreach(get(status, list), name, value) {
		const char *text = json_string_value(value);
		struct quantity q;

		_cleanup_free_ char *field = str_printf("%s.%s", list, name);
		const struct fpath *p = FP(FP(NULL, "status"), field);
		bool shared = one_of(name, WORDS("cpu", "memory", "ephemeral-storage")) || str_starts(name, "hugepages-") ||
			      str_starts(name, "attachable-volumes-");

		if (!text || quantity_parse(text, &q) < 0)
			continue;
		if (q.nano < 0)
			fe_invalid(e, p, text, "must be greater than or equal to 0");
		if (!shared && q.nano % 1000000000 != 0)
			fe_invalid(e, p, text, "must be an integer");
	}
}

/* Names of features, each once, in their order. */
static void check_features(struct field_errors *e, const struct fpath *p, const json_t *features)
{
	struct map *seen = map_new(NULL);
	const char *before = "";
	json_t *v;
	size_t i;

	json_array_foreach(features, i, v) {
		const char *name = json_string_value(v);

		check_format(e, FP_INDEX(p, i), name, fmt_qualified_name);
		if (map_has(seen, name))
			fe_duplicate(e, FP_INDEX(p, i), name);
		else if (strcmp(name, before) < 0)
			fe_invalid(e, FP_INDEX(p, i), name, "list must be sorted alphabetically");
		map_set(seen, name, seen);
		before = name;
	}
	map_free(seen);
}

void validate_node(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *old = get(v->old, "spec"), *cidrs = get(spec, "podCIDRs");
	const struct fpath *p = FP(NULL, "spec");
	unsigned count[7] = {0};
	json_t *item;
	size_t i;

	check_taints(v->e, get(spec, "taints"));
	check_capacity(v->e, get(v->object, "status"), "capacity");
	check_capacity(v->e, get(v->object, "status"), "allocatable");
	json_array_foreach(cidrs, i, item) {
		check_format(v->e, FP_INDEX(FP(p, "podCIDRs"), i), json_string_value(item), fmt_cidr);
		count[ip_family(json_string_value(item))]++;
	}
	if (count[4] > 1 || count[6] > 1 || json_array_size(cidrs) > 2)
		fe_invalid_json(v->e, FP(p, "podCIDRs"), cidrs, "may specify no more than one CIDR for each IP family");
	if (!v->old)
		return;
	if (json_array_size(get(old, "podCIDRs")) && !json_equal(cidrs, get(old, "podCIDRs")))
		fe_forbidden(v->e, FP(p, "podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
	if (*get_str(old, "providerID") && strcmp(get_str(old, "providerID"), get_str(spec, "providerID")) != 0)
		fe_forbidden(v->e, FP(p, "providerID"),
			     "node updates may not change providerID except from \"\" to valid");
	if (strcmp(get_str(old, "externalID"), get_str(spec, "externalID")) != 0)
		fe_forbidden(v->e, FP(p, "externalID"), "may not be updated");
}

void validate_node_status(const struct validation *v)
{
	struct map *seen = map_new(NULL);
	json_t *item;
	size_t i;

	check_capacity(v->e, get(v->object, "status"), "capacity");
	check_capacity(v->e, get(v->object, "status"), "allocatable");
	check_features(v->e, FP(FP(NULL, "status"), "declaredFeatures"), json_at(v->object, "status.declaredFeatures"));
	json_array_foreach(json_at(v->object, "status.addresses"), i, item) {
		_cleanup_strbuf_ struct strbuf value = {0};

		go_json(&value, item);
		if (map_has(seen, value.data))
			fe_duplicate_text(v->e, FP_INDEX(FP(FP(NULL, "status"), "addresses"), i), value.data, NULL);
		map_set(seen, value.data, seen);
	}
	map_free(seen);
}
