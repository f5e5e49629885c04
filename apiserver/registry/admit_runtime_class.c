// SPDX-License-Identifier: GPL-2.0-or-later
/* The admission plugin RuntimeClass (KEP-585, KEP-688): what a class of runtimes costs, and which nodes have it. */
#include "apiserver/registry/admit.h"
#include "kube/object.h"

/* The class a new pod names; own, NULL: none. */
static json_t *find_class(struct admission *a, json_t **ret)
{
	const char *name = json_str_or(a->object, "spec.runtimeClassName", "");
	const struct schema_resource *r = schema_resource_find("node.k8s.io", "v1", "runtimeclasses");
	struct store_object *o = *name && r ? store_latest(a->g->store, r->id, name) : NULL;
	if (*name && !o)
		return admit_forbidden(a, "pod rejected: RuntimeClass \"%s\" not found", name);
	*ret = o ? entry_parse(o) : NULL;
	return NULL;
}

static json_t *set_overhead(struct admission *a, json_t *spec, const json_t *class)
{
	json_t *fixed = json_at(class, "overhead.podFixed"), *own = json_object_get(spec, "overhead");
	if (!json_object_get(class, "overhead"))
		return NULL;
	if (json_object_size(own) && !json_same(own, fixed))
		return admit_forbidden(a, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
	if (fixed)
		json_object_set_new(spec, "overhead", json_deep_copy(fixed));
	return NULL;
}

static json_t *set_selector(struct admission *a, json_t *spec, const json_t *class)
{
	json_t *wanted = json_at(class, "scheduling.nodeSelector"), *own = json_object_get(spec, "nodeSelector"), *v;
	const char *key;
	json_object_foreach(wanted, key, v) {
		const char *had = json_string_value(json_object_get(own, key));
		if (had && !str_eq(had, json_string_value(v)))
			return admit_forbidden(a, "conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s",
					       key, json_string_value(v), key, had);
	}
	if (json_object_size(wanted) && !own)
		json_object_set_new(spec, "nodeSelector", json_object());
	json_object_update_missing(json_object_get(spec, "nodeSelector"), wanted);
	return NULL;
}

static void add_tolerations(json_t *spec, const json_t *class)
{
	json_t *t, *own = json_object_get(spec, "tolerations"), *mine;
	size_t i, k;
	json_array_foreach(json_at(class, "scheduling.tolerations"), i, t) {
		bool there = false;
		json_array_foreach(own, k, mine)
			there |= json_same(mine, t);
		if (there)
			continue;
		if (!own) {
			own = json_array();
			json_object_set_new(spec, "tolerations", own);
		}
		json_array_append_new(own, json_deep_copy(t));
	}
}

json_t *admit_runtime_class(struct admission *a)
{
	json_t *spec = json_object_get(a->object, "spec"), *status;
	_cleanup_json_ json_t *class = NULL;
	if (!admit_is(a, a->g->pods) || !json_is_object(spec))
		return NULL;
	status = find_class(a, &class);
	if (status || !class)
		return status;
	status = set_overhead(a, spec, class);
	if (!status)
		status = set_selector(a, spec, class);
	if (!status)
		add_tolerations(spec, class);
	return status;
}

json_t *admit_runtime_class_check(struct admission *a)
{
	_cleanup_json_ json_t *class = NULL;
	if (!admit_is(a, a->g->pods))
		return NULL;
	json_t *status = find_class(a, &class), *own = json_at(a->object, "spec.overhead");
	if (status)
		return status;
	if (!json_object_get(class, "overhead"))
		return json_object_size(own) ? admit_forbidden(a, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined "
								  "Overhead") : NULL;
	json_t *fixed = json_at(class, "overhead.podFixed");
	if (json_object_size(own) == json_object_size(fixed) && (!json_object_size(own) || json_same(own, fixed)))
		return NULL;
	return admit_forbidden(a, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
}
