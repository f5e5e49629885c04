/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of fields as metadata.managedFields keeps them (FieldsV1, KEP-555): a JSON object whose keys are path elements
 * ("f:spec", k:{"name":"x"}, v:"text") and whose values are the sets below. A path is in the set when it ends in an empty
 * object or in one with the key ".". Every function returns an own value; inputs stay as they are. What is the same in the result
 * is shared with an input by reference: sets are not changed once they are made. Elements that are no objects (a peer's nonsense)
 * count as empty ones.
 */
#ifndef KEELSON_APISERVER_APPLY_FIELDSET_H
#define KEELSON_APISERVER_APPLY_FIELDSET_H

#include "kube/json.h"

json_t *fieldset_union(const json_t *a, const json_t *b);
json_t *fieldset_difference(const json_t *a, const json_t *b);   /* the paths of a that are not in b */
json_t *fieldset_intersection(const json_t *a, const json_t *b);
/* Is a path of b in a, or above one that is? When not, neither fieldset_difference() nor fieldset_without() changes a. */
bool fieldset_touches(const json_t *a, const json_t *b);
/* The paths of b and all that lies below them go from a. */
json_t *fieldset_without(const json_t *a, const json_t *b);
bool fieldset_empty(const json_t *set); /* as a whole set; NULL is empty */
/* What lies below a path element of a (sub)set: borrow, NULL when nothing does. */
const json_t *fieldset_child(const json_t *set, const char *element);
bool fieldset_is_member(const json_t *node); /* of a node below the root: is its own path in the set? */
/* A path element as text; mostly short. Zero-initialize. */
struct element {
	char small[96], *large; /* large: own; NULL: small */
	size_t len;
};
static inline const char *element_text(const struct element *e)
{
	return e->large ? e->large : e->small;
}
/* prefix: "f:", "k:" or "v:". */
void element_set(struct element *e, const char *prefix, const char *text, size_t len);
void element_done(struct element *e);
/* Puts a node (moved) below an element of *set, which is made when it is NULL; a node that is NULL is left out. */
void fieldset_put(json_t **set, const struct element *element, json_t *node);
json_t *fieldset_leaf(void); /* a path that ends here; own, but shared: not to be changed */
/* A node of these children (moved, not shared; may be NULL) that is itself a member or not. NULL when that is nothing at all. */
json_t *fieldset_node(json_t *children, bool member);
/* Each path in the set as Kubernetes prints it: .spec.containers[name="x"].image, in the order of the keys' bytes. */
typedef void (*fieldset_fn)(const char *path, void *user);
void fieldset_each(const json_t *set, fieldset_fn fn, void *user);

#endif
