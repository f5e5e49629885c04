/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of fields as metadata.managedFields keeps them (FieldsV1, KEP-555): a JSON object whose keys are path elements
 * ("f:spec", k:{"name":"x"}, v:"text") and whose values are the sets below. A path is in the set when it ends in an empty
 * object or in one with the key ".". Every function returns a new value (own); inputs stay as they are. Elements that are no
 * objects (a peer's nonsense) count as empty ones.
 */
#ifndef KEELSON_APISERVER_APPLY_FIELDSET_H
#define KEELSON_APISERVER_APPLY_FIELDSET_H

#include "kube/json.h"

json_t *fieldset_union(const json_t *a, const json_t *b);
json_t *fieldset_difference(const json_t *a, const json_t *b);   /* the paths of a that are not in b */
json_t *fieldset_intersection(const json_t *a, const json_t *b);
bool fieldset_empty(const json_t *set); /* as a whole set; NULL is empty */
/* What lies below a path element of a (sub)set: borrow, NULL when nothing does. */
const json_t *fieldset_child(const json_t *set, const char *element);
bool fieldset_is_member(const json_t *node); /* of a node below the root: is its own path in the set? */
/* Puts a node (moved) below an element; NULL is left out. */
void fieldset_put(json_t *set, const char *element, json_t *node);
/* A node of these children (moved; may be NULL) that is itself a member or not. NULL when that is nothing at all. */
json_t *fieldset_node(json_t *children, bool member);
/* Each path in the set as Kubernetes prints it: .spec.containers[name="x"].image, in the order of the keys' bytes. */
typedef void (*fieldset_fn)(const char *path, void *user);
void fieldset_each(const json_t *set, fieldset_fn fn, void *user);

#endif
