/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between JSON values and the store's objects: the order of keys, the slices that lists and metadata answers need, the
 * values of field labels, the names of places on disk.
 */
#ifndef KEELSON_APISERVER_REGISTRY_ENTRY_H
#define KEELSON_APISERVER_REGISTRY_ENTRY_H

#include "apiserver/store/store.h"
#include "kube/schema.h"

/* "pods", "apps/deployments": literal. NULL: the id keeps no objects. */
const char *entry_place_name(uint16_t resource);
int entry_place_find(const char *name); /* -1: unknown */
/* The resource that keeps r's objects. */
const struct schema_resource *entry_storage(const struct schema_resource *r);

/* Field labels whose values are kept beside metadata.name and metadata.namespace, NULL-terminated. */
const char *const *entry_field_labels(const struct schema_resource *storage);
/* The kept value; "" when absent. field: index into entry_field_labels(). */
const char *entry_field(const struct store_object *o, unsigned field);

/* Writes the object (of the storage's version; borrowed, its metadata.resourceVersion is set to revision). Own. */
struct store_object *entry_make(const struct schema_resource *storage, const char *key, uint64_t revision, json_t *object);
/* For struct store_hooks. json is moved. */
struct store_object *entry_restore(uint16_t resource, const char *key, uint64_t revision, struct bytes *json,
				   uint32_t head_len, uint32_t meta_off, uint32_t meta_len, void *user);
/* For the store_hooks of a shared store: see there. */
struct store_object *entry_read(uint16_t resource, const char *key, uint64_t revision, const void *data, size_t len);
struct store_object *entry_at(struct store_object *o, uint64_t revision);
struct bytes *entry_value(struct store_object *o);
/* The value again; own. Never NULL: it was written by us. */
json_t *entry_parse(const struct store_object *o);
/* The same for small objects that many writes look at (accounts, classes): the values of the last ones asked for are kept. Own, but
 * shared: not to be changed. */
json_t *entry_parse_shared(struct store_object *o);
/* The object's text with another resourceVersion: the same bytes when it is its own. Own. */
struct bytes *entry_text_at(struct store_object *o, uint64_t revision);
/* Namespace and name parts of a key, name borrowed from it. */
const char *entry_name(const struct store_object *o);
size_t entry_namespace_len(const struct store_object *o);
/* "namespace/name" or "name". Own. */
char *entry_key(const struct schema_resource *r, const char *ns, const char *name);

#endif
