/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ResourceQuota: what an object uses, which quotas it counts in, whether it still fits. Pure. */
#ifndef KEELSON_APISERVER_ADMISSION_QUOTA_H
#define KEELSON_APISERVER_ADMISSION_QUOTA_H

#include "kube/json.h"
#include "kube/schema.h"

/* Everything an object of this kind uses by any name a quota may have ("pods", "count/pods", "requests.cpu"...). Own. */
json_t *quota_usage(const struct schema_resource *r, const json_t *object);
/* Does the object count in this quota, by its scopes? */
bool quota_selects(const json_t *quota, const struct schema_resource *r, const json_t *object);
/* Whether any object of this kind can count in the quota at all: spec.hard has a name of its. */
bool quota_limits(const json_t *quota, const struct schema_resource *r);
/*
 * Takes usage more (what a new object uses, or an update adds; negative parts are passed over) into the quota: its new
 * status.used (own), or NULL with err: "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2", or
 * "failed quota: q: must specify cpu for: c" for a pod that does not say what is limited.
 */
json_t *quota_take(const json_t *quota, const struct schema_resource *r, const json_t *object, const json_t *more, struct err *err);
/* The part of usage that spec.hard names. Own. */
json_t *quota_part(const json_t *quota, const json_t *usage);

#endif
