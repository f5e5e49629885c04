// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The controllers behind StorageObjectInUseProtection: a claim that a pod has, a volume that is bound and a
 * VolumeAttributesClass that something names stay, marked as deleted, until that is over.
 */
#include "controllers/protection.h"

#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

#define STORAGE "storage.k8s.io/v1"

/* --- claims ----------------------------------------------------------------------------------------------------------- */

static void on_pod(const json_t *old, const json_t *new, void *user)
{
	const json_t *pod = new ? new : old;
	json_t *volume;
	size_t i;

	json_array_foreach(json_at(pod, "spec.volumes"), i, volume) {
		const char *claim = json_str(volume, "persistentVolumeClaim.claimName");
		_cleanup_free_ char *key = claim ? str_printf("%s/%s", object_namespace(pod), claim) : NULL;

		if (key)
			controller_enqueue(user, key);
	}
}

static void claim_start(struct controller *c)
{
	controller_watch(c, INFORMER_PODS, on_pod);
}

static void claim_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *claim = controller_get(c, INFORMER_PVCS, key);
	bool used = false;
	size_t it = 0;

	if (!claim)
		return;
	/* Deletions are rare: no index is kept for them. */
	if (object_deleting(claim))
		for (json_t *pod; !used && (pod = informer_next(controller_informer(c, INFORMER_PODS), &it));)
			used = protection_pod_uses(pod, claim);
	protection_decide(claim, "v1", "persistentvolumeclaims", "kubernetes.io/pvc-protection", used, plan);
}

/* --- volumes ---------------------------------------------------------------------------------------------------------- */

static void volume_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *volume = controller_get(c, INFORMER_PVS, key);

	if (volume)
		protection_decide(volume, "v1", "persistentvolumes", "kubernetes.io/pv-protection",
				  str_eq(json_str(volume, "status.phase"), "Bound"), plan);
}

/* --- classes ---------------------------------------------------------------------------------------------------------- */

static void on_user(const json_t *old _unused_, const json_t *new _unused_, void *user)
{
	struct controller *c = user;
	size_t it = 0;

	if (!c->ctx->synced)
		return;
	for (json_t *class; (class = informer_next(controller_informer(c, INFORMER_VOLUMEATTRIBUTESCLASSES), &it));)
		if (object_deleting(class))
			controller_enqueue_object(c, class);
}

static void class_start(struct controller *c)
{
	controller_watch(c, INFORMER_PVCS, on_user);
	controller_watch(c, INFORMER_PVS, on_user);
}

static void class_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *class = controller_get(c, INFORMER_VOLUMEATTRIBUTESCLASSES, key);
	bool used = false;
	size_t it = 0;

	if (!class)
		return;
	for (json_t *o; !used && (o = informer_next(controller_informer(c, INFORMER_PVCS), &it));)
		used = protection_claim_uses_class(o, class);
	it = 0;
	for (json_t *o; !used && (o = informer_next(controller_informer(c, INFORMER_PVS), &it));)
		used = protection_volume_uses_class(o, class);
	protection_decide(class, STORAGE, "volumeattributesclasses", "kubernetes.io/vac-protection", used, plan);
}

const struct controller_ops pvcprotection_controller = {
	.name = "persistentvolumeclaim-protection",
	.primary = INFORMER_PVCS,
	.needs = NEEDS(INFORMER_PVCS) | NEEDS(INFORMER_PODS),
	.parallel = 2,
	.start = claim_start,
	.sync = claim_sync,
};
const struct controller_ops pvprotection_controller = {
	.name = "persistentvolume-protection",
	.primary = INFORMER_PVS,
	.needs = NEEDS(INFORMER_PVS),
	.parallel = 2,
	.sync = volume_sync,
};
const struct controller_ops vacprotection_controller = {
	.name = "volumeattributesclass-protection",
	.primary = INFORMER_VOLUMEATTRIBUTESCLASSES,
	.needs = NEEDS(INFORMER_VOLUMEATTRIBUTESCLASSES) | NEEDS(INFORMER_PVCS) | NEEDS(INFORMER_PVS),
	.parallel = 1,
	.start = class_start,
	.sync = class_sync,
};
