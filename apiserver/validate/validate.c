/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which checks a kind gets. A create runs the kind's name rule over the metadata and then the kind's own checks; an
 * update runs the generic metadata rules, which most kinds of Kubernetes run a second time themselves, so their causes
 * come twice.
 */
#include "apiserver/validate/validate_internal.h"

static const struct validate_kind *find_kind(const struct schema_resource *r)
{
	for (size_t i = 0; i < validate_kind_count; i++)
		if (strcmp(validate_kinds[i].group, r->group) == 0 && strcmp(validate_kinds[i].plural, r->plural) == 0)
			return &validate_kinds[i];
	return NULL;
}

static void repeat_errors(struct field_errors *e, size_t from)
{
	size_t end = e->count;

	for (size_t i = from; i < end; i++)
		field_errors_add(e, e->items[i].reason, mem_strdup(e->items[i].field), "%s", e->items[i].body);
}

void validate_object(const struct schema_resource *r, const char *subresource, const json_t *object, const json_t *old,
		     struct field_errors *e)
{
	const struct validate_kind *kind = find_kind(r);
	const char *sub = str_empty(subresource) ? NULL : subresource;
	const struct validation v = { .r = r, .sub = sub, .object = object, .old = old, .e = e };
	size_t before = e->count;

	if (!(r->verbs & (VERB_UPDATE | VERB_GET)))
		return; /* reviews and bindings have no metadata to check */
	if (old)
		check_meta_update(e, get(object, "metadata"), get(old, "metadata"));
	else
		check_meta_create(e, get(object, "metadata"), r->namespaced, kind ? kind->name : fmt_dns_subdomain);
	if (!kind)
		return;
	if (old && (kind->check || kind->status))
		repeat_errors(e, before);
	if (str_eq(sub, "status")) {
		if (kind->status)
			kind->status(&v);
	} else if (kind->check) {
		kind->check(&v);
	}
}
