/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lookups in the schema table. The table itself is generated (tools/schemac) and constant; every lookup is a binary
 * search, so nothing is built at start and nothing is allocated.
 */
#include "kube/schema.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "kube/schema_tables.h"

const struct schema_message *schema_message_by_name(const char *name)
{
	size_t lo = 0, hi = schema_message_total;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(name, schema_messages[mid].name);

		if (c == 0)
			return &schema_messages[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

static bool of_table(const struct schema_field *f)
{
	return f >= schema_fields && f < schema_fields + schema_field_total;
}

/* Its own fields only; an inlined message's field has no name in JSON. */
static const struct schema_field *own_field(const struct schema_message *m, const char *name)
{
	const uint8_t *order;
	size_t lo = 0, hi = m->field_count;

	if (!of_table(m->fields)) {
		for (size_t i = 0; i < m->field_count; i++)
			if (!(m->fields[i].flags & SCHEMA_INLINE) && strcmp(m->fields[i].name, name) == 0)
				return &m->fields[i];
		return NULL;
	}
	order = schema_field_order + (m->fields - schema_fields);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct schema_field *f = &m->fields[order[mid]];
		int c = strcmp(name, f->name);

		if (c == 0)
			return f->flags & SCHEMA_INLINE ? NULL : f;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct schema_field *schema_field_by_name(const struct schema_message *m, const char *name)
{
	const struct schema_field *found = own_field(m, name);

	for (size_t i = 0; !found && (m->flags & SCHEMA_MSG_HAS_INLINE) && i < m->field_count; i++)
		if (m->fields[i].flags & SCHEMA_INLINE)
			found = schema_field_by_name(m->fields[i].message, name);
	return found;
}

const struct schema_field *schema_field_by_number(const struct schema_message *m, unsigned number)
{
	size_t lo = 0, hi = m->field_count;

	while (number && lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (m->fields[mid].proto == number)
			return &m->fields[mid];
		if (number < m->fields[mid].proto)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct schema_kind *schema_kind_find_gvk(const char *group, const char *version, const char *kind)
{
	size_t lo = 0, hi = schema_kind_total;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct schema_kind *k = &schema_kinds[mid];
		int c = strcmp(kind, k->kind);

		c = c ? c : strcmp(group, k->group);
		c = c ? c : strcmp(version, k->version);
		if (c == 0)
			return k;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* Splits "apps/v1" into group (copied) and version (borrowed). False when it is no group and version. */
static bool split_api_version(const char *api_version, char group[static 96], const char **ret_version)
{
	const char *slash = strchr(api_version, '/');

	if (slash && ((size_t)(slash - api_version) >= 96 || strchr(slash + 1, '/')))
		return false;
	memcpy(group, api_version, slash ? slash - api_version : 0);
	group[slash ? slash - api_version : 0] = 0;
	*ret_version = slash ? slash + 1 : api_version;
	return !slash || slash != api_version;
}

const struct schema_kind *schema_kind_find(const char *api_version, const char *kind)
{
	char group[96];
	const char *version;

	if (!split_api_version(api_version, group, &version))
		return NULL;
	return schema_kind_find_gvk(group, version, kind);
}

size_t schema_kind_count(void)
{
	return schema_kind_total;
}

const struct schema_kind *schema_kind_at(size_t i)
{
	return i < schema_kind_total ? &schema_kinds[i] : NULL;
}

const struct schema_resource *schema_resource_find(const char *group, const char *version, const char *plural)
{
	size_t lo = 0, hi = schema_resource_total;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct schema_resource *r = &schema_resources[schema_resource_order[mid]];
		int c = strcmp(plural, r->plural);

		c = c ? c : strcmp(group, r->group);
		c = c ? c : strcmp(version, r->version);
		if (c == 0)
			return r;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct schema_resource *schema_resource_of_kind(const char *group, const char *version, const char *kind)
{
	for (size_t i = 0; i < schema_resource_total; i++) {
		const struct schema_resource *r = &schema_resources[i];

		if (strcmp(r->kind, kind) == 0 && strcmp(r->group, group) == 0 && strcmp(r->version, version) == 0)
			return r;
	}
	return NULL;
}

size_t schema_resource_count(void)
{
	return schema_resource_total;
}

const struct schema_resource *schema_resource_at(size_t i)
{
	return i < schema_resource_total ? &schema_resources[i] : NULL;
}

const struct schema_subresource *schema_subresource_find(const struct schema_resource *r, const char *name)
{
	for (size_t i = 0; i < r->subresource_count; i++)
		if (strcmp(r->subresources[i].name, name) == 0)
			return &r->subresources[i];
	return NULL;
}

size_t schema_message_count(void)
{
	return schema_message_total;
}

const struct schema_message *schema_message_at(size_t i)
{
	return i < schema_message_total ? &schema_messages[i] : NULL;
}

const char *schema_api_version(const char *group, const char *version, char out[static 96])
{
	snprintf(out, 96, "%s%s%s", group, *group ? "/" : "", version);
	return out;
}

static const char *text(uint16_t offset)
{
	return offset ? schema_text + offset : NULL;
}

const char *schema_field_format(const struct schema_field *f)
{
	static const char *const formats[SCHEMA_TYPE_MAX] = {
		[SCHEMA_INT32] = "int32",
		[SCHEMA_INT64] = "int64",
		[SCHEMA_DOUBLE] = "double",
		[SCHEMA_BYTES] = "byte",
		[SCHEMA_TIME] = "date-time",
		[SCHEMA_MICRO_TIME] = "date-time",
		[SCHEMA_INT_OR_STRING] = "int-or-string",
	};

	return f->type < SCHEMA_TYPE_MAX ? formats[f->type] : NULL;
}

const char *schema_field_doc(const struct schema_field *f)
{
	return of_table(f) ? text(schema_field_texts[f - schema_fields].doc) : NULL;
}

const char *schema_field_default(const struct schema_field *f)
{
	return of_table(f) ? text(schema_field_texts[f - schema_fields].default_json) : NULL;
}

const char *schema_field_enum(const struct schema_field *f)
{
	return of_table(f) ? text(schema_field_texts[f - schema_fields].enums) : NULL;
}

const char *schema_field_go_type(const struct schema_field *f)
{
	return of_table(f) ? text(schema_field_texts[f - schema_fields].go_type) : NULL;
}

const char *schema_message_doc(const struct schema_message *m)
{
	if (m < schema_messages || m >= schema_messages + schema_message_total)
		return NULL;
	return text(schema_message_docs[m - schema_messages]);
}
