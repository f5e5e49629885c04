// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/protection.h"

#include "base/mem.h"
#include "kube/object.h"

bool protection_pod_uses(const json_t *pod, const json_t *claim)
{
	size_t i;
	json_t *volume;

	/* A node does not start a pod whose claim is being deleted: only pods that are bound already matter. */
	if (str_empty(json_str(pod, "spec.nodeName")) || !str_eq(object_namespace(pod), object_namespace(claim)))
		return false;
	json_array_foreach(json_at(pod, "spec.volumes"), i, volume) {
		if (str_eq(json_str(volume, "persistentVolumeClaim.claimName"), object_name(claim)))
			return true;
	}
	return false;
}

bool protection_claim_uses_class(const json_t *claim, const json_t *volume_attributes_class)
{
	static const char *const fields[] = {
		"spec.volumeAttributesClassName",
		"status.currentVolumeAttributesClassName",
		"status.modifyVolumeStatus.targetVolumeAttributesClassName",
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (str_eq(json_str(claim, fields[i]), object_name(volume_attributes_class)))
			return true;
	}
	return false;
}

bool protection_volume_uses_class(const json_t *volume, const json_t *volume_attributes_class)
{
	return str_eq(json_str(volume, "spec.volumeAttributesClassName"), object_name(volume_attributes_class));
}

void protection_decide(const json_t *object, const char *api_version, const char *plural, const char *finalizer, bool used,
		       struct plan *plan)
{
	const char *ns = object_namespace(object);
	json_t *kept = json_array(), *v;
	bool has = false;
	size_t i;

	json_array_foreach(json_at(object, "metadata.finalizers"), i, v) {
		if (str_eq(json_string_value(v), finalizer))
			has = true;
		else
			json_array_append(kept, v);
	}
	if (object_deleting(object) ? !has || used : has) {
		json_decref(kept);
		return;
	}
	if (!object_deleting(object))
		json_array_append_new(kept, json_string(finalizer));
	plan_merge_patch(plan, kube_path(api_version, plural, *ns ? ns : NULL, object_name(object), NULL),
			 json_pack("{s:{s:s, s:s, s:o}}", "metadata", "uid", object_uid(object), "resourceVersion",
				   object_resource_version(object), "finalizers", kept))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}
