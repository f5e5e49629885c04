/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accessors for what every object has, owner references, conditions. */
#ifndef KEELSON_KUBE_OBJECT_H
#define KEELSON_KUBE_OBJECT_H

#include "kube/json.h"

const char *object_name(const json_t *o);              /* "" when absent; so for all of these */
const char *object_namespace(const json_t *o);
const char *object_uid(const json_t *o);
const char *object_resource_version(const json_t *o);
json_t *object_labels(const json_t *o);                /* borrow, NULL when absent */
json_t *object_annotations(const json_t *o);
bool object_deleting(const json_t *o);                 /* deletionTimestamp is set */
/* "namespace/name", or "name" without a namespace; own. */
char *object_key(const json_t *o);
/* The owner reference with controller: true, or NULL. Borrow. */
json_t *object_controller_of(const json_t *o);
/* New owner reference to owner (controller, blockOwnerDeletion true). Own. */
json_t *object_controller_ref(const json_t *owner, const char *api_version, const char *kind);
/* status.conditions[type]; borrow, NULL. */
json_t *object_condition(const json_t *o, const char *type);
bool object_condition_true(const json_t *o, const char *type);
/* Sets a condition in `conditions` (an array): lastTransitionTime moves only when status changes. True if changed. */
bool object_set_condition(json_t *conditions, const char *type, const char *status, const char *reason,
			  const char *message, const char *now_rfc3339);
bool pod_ready(const json_t *pod);

#endif
