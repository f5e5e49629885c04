/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which storage objects are in use: those keep the finalizer that admission gave them. Pure. */
#ifndef KEELSON_CONTROLLERS_PROTECTION_H
#define KEELSON_CONTROLLERS_PROTECTION_H

#include "controllers/plan.h"

/* A pod that was bound to a node and names the claim: even when it has ended, as its volumes may still be mounted. */
bool protection_pod_uses(const json_t *pod, const json_t *claim);
bool protection_claim_uses_class(const json_t *claim, const json_t *volume_attributes_class);
bool protection_volume_uses_class(const json_t *volume, const json_t *volume_attributes_class);
/* Gives an object the finalizer, or takes it from one that is being deleted and not used. */
void protection_decide(const json_t *object, const char *api_version, const char *plural, const char *finalizer, bool used,
		       struct plan *plan);

#endif
