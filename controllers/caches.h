/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shared informers: which resource each watches, what of an object it keeps, and its indexes. */
#ifndef KEELSON_CONTROLLERS_CACHES_H
#define KEELSON_CONTROLLERS_CACHES_H

#include "controllers/controller.h"
#include "kube/schema.h"

struct informer *caches_informer_new(struct kube_client *client, enum informer_id id);
/* The shared informer that watches all objects of a resource, or INFORMER_ID_MAX. */
enum informer_id caches_find(const char *api_version, const char *plural);
/* The key of INDEX_LABELS. Own. */
char *caches_labels_key(const json_t *o);
/* What a cached pod is reduced to; own in, own out. For tests too. */
json_t *caches_slim_pod(json_t *pod, void *user);

#endif
