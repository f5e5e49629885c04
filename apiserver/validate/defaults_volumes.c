/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Defaults of volumes, persistent volumes and claims. The same sources occur in pods and in persistent volumes. */
#include "apiserver/validate/defaults.h"
#include "apiserver/validate/validate_internal.h"

static void volume(json_t *v)
{
	const char *key;
	json_t *child;

	json_object_foreach(v, key, child) {
		if (strcmp(key, "name") != 0 && !json_is_null(child))
			return;
	}
	json_object_set_new(v, "emptyDir", json_object());
}

static void image(json_t *source)
{
	default_image_pull_policy(source, get_str(source, "reference"), "pullPolicy");
}

static void pv_spec(json_t *spec)
{
	default_round_quantities(spec, "capacity");
}

static void pvc_status(json_t *status)
{
	default_round_quantities(status, "capacity");
	default_round_quantities(status, "allocatedResources");
}

/* dataSource and dataSourceRef are two names of one thing; only claims and snapshots may come by the old one. */
static void pvc_spec(json_t *spec)
{
	json_t *source = get(spec, "dataSource"), *ref = get(spec, "dataSourceRef");

	if (ref && *get_str(ref, "namespace")) {
		json_object_del(spec, "dataSourceRef");
		ref = NULL;
	}
	if (source && !ref) {
		const char *group = get_str(source, "apiGroup"), *kind = get_str(source, "kind");

		if ((!*group && strcmp(kind, "PersistentVolumeClaim") == 0) ||
		    (strcmp(group, "snapshot.storage.k8s.io") == 0 && strcmp(kind, "VolumeSnapshot") == 0))
			json_object_set_new(spec, "dataSourceRef", json_deep_copy(source));
		else
			json_object_del(spec, "dataSource");
	} else if (ref && !source) {
		json_object_set_new(spec, "dataSource", json_deep_copy(ref));
	}
}

#define STR(m, f, v) { .message = "core.v1." m, .field = f, .s = v }
#define STR_PTR(m, f, v) { .message = "core.v1." m, .field = f, .s = v, .keep_empty = true }
#define MODE(m) { .message = "core.v1." m, .field = "defaultMode", .type = DEFAULT_INT, .i = 0644 }
#define RBD(m) STR(m, "pool", "rbd"), STR(m, "user", "admin"), STR(m, "keyring", "/etc/ceph/keyring")

static const struct default_rule rules[] = {
	{ .message = "core.v1.Volume", .type = DEFAULT_FN, .fn = volume },
	{ .message = "core.v1.ImageVolumeSource", .type = DEFAULT_FN, .fn = image },
	STR_PTR("HostPathVolumeSource", "type", ""),
	MODE("SecretVolumeSource"),
	MODE("ConfigMapVolumeSource"),
	MODE("DownwardAPIVolumeSource"),
	MODE("ProjectedVolumeSource"),
	{ .message = "core.v1.ServiceAccountTokenProjection",
	  .field = "expirationSeconds",
	  .type = DEFAULT_INT,
	  .i = 3600 },
	STR("ISCSIVolumeSource", "iscsiInterface", "default"),
	STR("ISCSIPersistentVolumeSource", "iscsiInterface", "default"),
	RBD("RBDVolumeSource"),
	RBD("RBDPersistentVolumeSource"),
	STR_PTR("AzureDiskVolumeSource", "cachingMode", "ReadWrite"),
	STR_PTR("AzureDiskVolumeSource", "fsType", "ext4"),
	STR_PTR("AzureDiskVolumeSource", "kind", "Shared"),
	{ .message = "core.v1.AzureDiskVolumeSource", .field = "readOnly", .type = DEFAULT_BOOL, .i = false },
	STR("ScaleIOVolumeSource", "storageMode", "ThinProvisioned"),
	STR("ScaleIOVolumeSource", "fsType", "xfs"),
	STR("ScaleIOPersistentVolumeSource", "storageMode", "ThinProvisioned"),
	STR("ScaleIOPersistentVolumeSource", "fsType", "xfs"),
	STR("PersistentVolumeSpec", "persistentVolumeReclaimPolicy", "Retain"),
	STR_PTR("PersistentVolumeSpec", "volumeMode", "Filesystem"),
	{ .message = "core.v1.PersistentVolumeSpec", .type = DEFAULT_FN, .fn = pv_spec },
	{ .message = "core.v1.PersistentVolume", .field = "status", .type = DEFAULT_OBJECT },
	STR("PersistentVolumeStatus", "phase", "Pending"),
	STR_PTR("PersistentVolumeClaimSpec", "volumeMode", "Filesystem"),
	{ .message = "core.v1.PersistentVolumeClaimSpec", .type = DEFAULT_FN, .fn = pvc_spec },
	{ .message = "core.v1.PersistentVolumeClaim", .field = "status", .type = DEFAULT_OBJECT },
	STR("PersistentVolumeClaimStatus", "phase", "Pending"),
	{ .message = "core.v1.PersistentVolumeClaimStatus", .type = DEFAULT_FN, .fn = pvc_status },
};
const struct default_group defaults_volumes = { rules, ARRAY_SIZE(rules) };
