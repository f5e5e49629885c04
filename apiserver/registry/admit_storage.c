// SPDX-License-Identifier: GPL-2.0-or-later
/* The admission plugins StorageObjectInUseProtection and PersistentVolumeClaimResize. */
#include "apiserver/admission/amounts.h"
#include "apiserver/registry/admit.h"
#include "kube/object.h"

/* A controller takes the finalizer away when nothing uses the object any more. */
json_t *admit_storage_protection(struct admission *a)
{
	static const struct {
		const char *group, *plural, *finalizer;
	} kinds[] = {
		{ "", "persistentvolumeclaims", "kubernetes.io/pvc-protection" },
		{ "", "persistentvolumes", "kubernetes.io/pv-protection" },
		{ "storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		json_t *v, *list;
		size_t i;
		bool there = false;
		if (*a->sub || !resource_is(a->storage, kinds[k].group, kinds[k].plural))
			continue;
		json_array_foreach(json_at(a->object, "metadata.finalizers"), i, v)
			there |= str_eq(json_string_value(v), kinds[k].finalizer);
		if (there)
			return NULL;
		list = json_at(a->object, "metadata.finalizers");
		if (!list && json_set(a->object, "metadata.finalizers", json_array()) == 0)
			list = json_at(a->object, "metadata.finalizers");
		json_array_append_new(list, json_string(kinds[k].finalizer));
	}
	return NULL;
}

/* Does the claim's class let it grow? A claim whose class changes with its size does not. */
static bool may_grow(const struct admission *a)
{
	const char *class = json_str_or(a->object, "spec.storageClassName", "");
	const struct schema_resource *r = schema_resource_find("storage.k8s.io", "v1", "storageclasses");
	if (!*class || !r || !str_eq(class, json_str_or(a->old, "spec.storageClassName", "")))
		return false;
	struct store_object *o = store_latest(a->g->store, r->id, class);
	_cleanup_json_ json_t *v = o ? entry_parse(o) : NULL;
	return json_bool(v, "allowVolumeExpansion", false);
}

json_t *admit_claim_resize(struct admission *a)
{
	struct quantity now = { 0 }, was = { 0 };
	if (*a->sub || !resource_is(a->storage, "", "persistentvolumeclaims"))
		return NULL;
	amounts_get(json_at(a->object, "spec.resources.requests"), "storage", &now);
	amounts_get(json_at(a->old, "spec.resources.requests"), "storage", &was);
	if (quantity_cmp(&now, &was) <= 0)
		return NULL;
	if (!str_eq(json_str(a->old, "status.phase"), "Bound"))
		return admit_forbidden(a, "Only bound persistent volume claims can be expanded");
	return may_grow(a) ? NULL : admit_forbidden(a, "only dynamically provisioned pvc can be resized and the storageclass that provisions "
						       "the pvc must support resize");
}
