/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The metadata every object has: names, labels, annotations, owners, finalizers, managed fields, and what an update may
 * not change. */
#include "apiserver/validate/validate_internal.h"

#include <stdio.h>

static void check_generate_name(struct field_errors *e, const struct fpath *meta, const char *prefix, format_fn name)
{
	_cleanup_free_ char *sample = mem_strdup(prefix);
	_cleanup_strlist_ struct strlist msgs = {0};
	size_t len = strlen(sample);

	/* A trailing dash is fine, for a suffix follows it. */
	if (len > 1 && sample[len - 1] == '-')
		sample[len - 2] = 'a', sample[len - 1] = '\0';
	name(sample, &msgs);
	for (size_t i = 0; i < msgs.count; i++)
		fe_invalid(e, FP(meta, "generateName"), prefix, "%s", msgs.items[i]);
}

static void check_owner(struct field_errors *e, const struct fpath *p, const json_t *owner)
{
	const char *api_version = get_str(owner, "apiVersion"), *slash = strrchr(api_version, '/');
	static const char *const needed[] = { "kind", "name", "uid" };

	if (!*(slash ? slash + 1 : api_version))
		fe_invalid(e, FP(p, "apiVersion"), api_version, "version must not be empty");
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!*get_str(owner, needed[i]))
			fe_invalid(e, FP(p, needed[i]), "", "must not be empty");
	if (strcmp(api_version, "v1") == 0 && strcmp(get_str(owner, "kind"), "Event") == 0)
		fe_invalid_json(e, p, owner, "/v1, Kind=Event is disallowed from being an owner");
}

static void check_owners(struct field_errors *e, const struct fpath *p, const json_t *owners)
{
	const json_t *controller = NULL;
	json_t *owner;
	size_t i;

	json_array_foreach(owners, i, owner) {
		check_owner(e, p, owner);
		if (!get_bool(owner, "controller"))
			continue;
		if (controller)
			fe_invalid_json(e, p, owners,
					"Only one reference can have Controller set to true. Found \"true\" in "
					"references for %s/%s and %s/%s",
					get_str(controller, "kind"), get_str(controller, "name"),
					get_str(owner, "kind"), get_str(owner, "name"));
		else
			controller = owner;
	}
}

static bool standard_finalizer(const char *name)
{
	return strchr(name, '/') || one_of(name, WORDS("kubernetes", "orphan", "foregroundDeletion"));
}

static void check_finalizers(struct field_errors *e, const struct fpath *p, const json_t *finalizers)
{
	bool orphan = false, foreground = false;
	json_t *v;
	size_t i;

	json_array_foreach(finalizers, i, v) {
		const char *name = json_string_value(v);

		check_format(e, p, name, fmt_qualified_name);
		orphan |= strcmp(name, "orphan") == 0;
		foreground |= strcmp(name, "foregroundDeletion") == 0;
	}
	if (orphan && foreground)
		fe_invalid_json(e, p, finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
	json_array_foreach(finalizers, i, v) {
		if (!standard_finalizer(json_string_value(v)))
			fe_invalid(e, FP_INDEX(p, i), json_string_value(v),
				   "name is neither a standard finalizer name nor is it fully qualified");
	}
}

static void check_manager(struct field_errors *e, const struct fpath *p, const char *manager)
{
	size_t position = 0;

	if (strlen(manager) > 128)
		fe_too_long(e, p, 128);
	for (const unsigned char *c = (const unsigned char *)manager; *c; c++, position++)
		if (*c < 0x20 || *c == 0x7f)
			fe_invalid(e, p, manager, "invalid character U+%04X (at position %zu)", *c, position);
}

static void check_managed_fields(struct field_errors *e, const struct fpath *p, const json_t *fields)
{
	json_t *entry;
	size_t i;

	json_array_foreach(fields, i, entry) {
		const struct fpath *at = FP_INDEX(p, i);
		const char *type = get_str(entry, "fieldsType");

		if (!one_of(get_str(entry, "operation"), WORDS("Apply", "Update")))
			fe_invalid(e, FP(at, "operation"), get_str(entry, "operation"), "must be `Apply` or `Update`");
		if (*type && strcmp(type, "FieldsV1") != 0)
			fe_invalid(e, FP(at, "fieldsType"), type, "must be `FieldsV1`");
		check_manager(e, FP(at, "manager"), get_str(entry, "manager"));
		if (strlen(get_str(entry, "subresource")) > 256)
			fe_too_long(e, FP(at, "subresource"), 256);
	}
}

/* What create and update check alike. */
static void check_meta_common(struct field_errors *e, const struct fpath *meta_path, const json_t *meta)
{
	check_labels(e, FP(meta_path, "labels"), get(meta, "labels"));
	check_annotations(e, FP(meta_path, "annotations"), get(meta, "annotations"));
	check_owners(e, FP(meta_path, "ownerReferences"), get(meta, "ownerReferences"));
}

void check_meta_create(struct field_errors *e, const json_t *meta, bool namespaced, format_fn name_format)
{
	const struct fpath *p = FP(NULL, "metadata");
	const char *name = get_str(meta, "name"), *prefix = get_str(meta, "generateName"),
		   *ns = get_str(meta, "namespace");

	if (*prefix)
		check_generate_name(e, p, prefix, name_format);
	if (!*name)
		fe_required(e, FP(p, "name"), "name or generateName is required");
	else
		check_format(e, FP(p, "name"), name, name_format);
	if (namespaced && !*ns)
		fe_required(e, FP(p, "namespace"), NULL);
	else if (namespaced)
		check_format(e, FP(p, "namespace"), ns, fmt_dns_label);
	else if (*ns)
		fe_forbidden(e, FP(p, "namespace"), "not allowed on this type");
	check_non_negative(e, FP(p, "generation"), get(meta, "generation"));
	check_meta_common(e, p, meta);
	check_finalizers(e, FP(p, "finalizers"), get(meta, "finalizers"));
	check_managed_fields(e, FP(p, "managedFields"), get(meta, "managedFields"));
}

static void check_new_finalizers(struct field_errors *e, const struct fpath *p, const json_t *meta, const json_t *old)
{
	_cleanup_strbuf_ struct strbuf added = {0};
	struct map *had;
	json_t *v;
	size_t i;

	if (!get(old, "deletionTimestamp"))
		return;
	had = map_new(NULL);
	json_array_foreach(get(old, "finalizers"), i, v)
		map_set(had, json_string_value(v), v);
	json_array_foreach(get(meta, "finalizers"), i, v) {
		if (map_has(had, json_string_value(v)))
			continue;
		if (added.len)
			strbuf_adds(&added, ", ");
		go_quote(&added, json_string_value(v));
	}
	map_free(had);
	if (added.len)
		fe_forbidden(e, p,
			     "no new finalizers can be added if the object is being deleted, found new finalizers "
			     "[]string{%s}",
			     added.data);
}

void check_meta_update(struct field_errors *e, const json_t *meta, const json_t *old)
{
	static const char *const immutable[] = {
		"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"
	};
	const struct fpath *p = FP(NULL, "metadata");

	check_finalizers(e, FP(p, "finalizers"), get(meta, "finalizers"));
	check_new_finalizers(e, FP(p, "finalizers"), meta, old);
	if (!*get_str(meta, "resourceVersion"))
		fe_invalid(e, FP(p, "resourceVersion"), "", "must be specified for an update");
	if (get_int(meta, "generation") < get_int(old, "generation"))
		fe_invalid_int(e, FP(p, "generation"), get_int(meta, "generation"), "must not be decremented");
	for (size_t i = 0; i < ARRAY_SIZE(immutable); i++)
		check_immutable(e, FP(p, immutable[i]), get(meta, immutable[i]), get(old, immutable[i]));
	check_meta_common(e, p, meta);
	check_managed_fields(e, FP(p, "managedFields"), get(meta, "managedFields"));
}
