/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects seen through the schema's list and map types, as server-side apply sees them: what of an object can be owned, how
 * two objects differ, how an applied configuration merges into a live object (KEP-555). Pure; new values are own, inputs stay.
 */
#ifndef KEELSON_APISERVER_APPLY_TYPED_H
#define KEELSON_APISERVER_APPLY_TYPED_H

#include "kube/json.h"
#include "kube/schema.h"

/* What somebody who applies this owns: leaves, items of lists, keys of maps, empty maps. */
json_t *typed_fields(const struct schema_message *m, const json_t *object);
/*
 * How new differs from old (NULL: an object of zero values). *ret_changed: fields added or modified, containers that came new
 * included; *ret_removed: fields that went, with all that was in them.
 */
void typed_compare(const struct schema_message *m, const json_t *old, const json_t *new, json_t **ret_changed,
		   json_t **ret_removed);
/* live with everything config says: maps are merged key by key, lists by their keys (config's order; what only
 * live has stays before what followed it), atomic ones are replaced. */
json_t *typed_merge(const struct schema_message *m, const json_t *live, const json_t *config);
/* Removes from object (changed in place) what is in last, parents included, and of which nothing is in owned. */
void typed_prune(const struct schema_message *m, json_t *object, const json_t *last, const json_t *owned);
/* A list of config that has an item twice, or an item without its keys: -EINVAL with err (Kubernetes' text). */
int typed_check(const struct schema_message *m, const json_t *config, struct err *err);

#endif
