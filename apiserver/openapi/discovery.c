/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Discovery: which groups, versions and resources there are, in the legacy form (a document each) and in the aggregated
 * form (KEP-3352). Everything is written straight from the schema table, in its order.
 */
#include <openssl/evp.h>
#include <stdio.h>

#include "apiserver/openapi/document.h"
#include "kube/schema.h"

static void add_string(struct strbuf *b, const char *s)
{
	strbuf_add_json(b, s, strlen(s));
}

static void add_field(struct strbuf *b, const char *name, const char *value)
{
	if (b->data[b->len - 1] != '{')
		strbuf_addc(b, ',');
	strbuf_addf(b, "\"%s\":", name);
	add_string(b, value);
}

static void add_list(struct strbuf *b, const char *name, const char *const *items)
{
	if (!*items)
		return;
	strbuf_addf(b, ",\"%s\":[", name);
	for (size_t i = 0; items[i]; i++) {
		if (i)
			strbuf_addc(b, ',');
		add_string(b, items[i]);
	}
	strbuf_addc(b, ']');
}

/* In the alphabet's order, as upstream. */
static void add_verbs(struct strbuf *b, uint8_t verbs)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} names[] = {
		{ VERB_CREATE, "create" }, { VERB_DELETE, "delete" }, { VERB_DELETECOLLECTION, "deletecollection" },
		{ VERB_GET, "get" },	   { VERB_LIST, "list" },     { VERB_PATCH, "patch" },
		{ VERB_UPDATE, "update" }, { VERB_WATCH, "watch" },
	};
	const char *list[ARRAY_SIZE(names) + 1];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (verbs & names[i].bit)
			list[n++] = names[i].name;
	list[n] = NULL;
	add_list(b, "verbs", list);
}

static bool same_gv(const struct schema_resource *a, const struct schema_resource *b)
{
	return str_eq(a->group, b->group) && str_eq(a->version, b->version);
}

/* True for the first resource of its group and version. */
static bool starts_version(size_t i)
{
	const struct schema_resource *r = schema_resource_at(i);

	for (size_t j = 0; j < i; j++)
		if (same_gv(r, schema_resource_at(j)))
			return false;
	return true;
}

static bool starts_group(size_t i)
{
	const struct schema_resource *r = schema_resource_at(i);

	for (size_t j = 0; j < i; j++)
		if (str_eq(r->group, schema_resource_at(j)->group))
			return false;
	return true;
}

/* Upstream's hash of the version objects are stored in: what storage migration compares. */
static void add_storage_hash(struct strbuf *b, const struct schema_resource *r)
{
	const struct schema_resource *s = schema_resource_at(r->storage_id);
	unsigned char md[EVP_MAX_MD_SIZE];
	char text[256];

	snprintf(text, sizeof(text), "%s/%s/%s", s->group, s->version, s->kind);
	BUG_ON(EVP_Digest(text, strlen(text), md, NULL, EVP_sha256(), NULL) != 1);
	strbuf_adds(b, ",\"storageVersionHash\":\"");
	base64_encode(b, md, 8);
	strbuf_addc(b, '"');
}

static void add_resource(struct strbuf *b, const struct schema_resource *r)
{
	strbuf_addc(b, '{');
	add_field(b, "name", r->plural);
	add_field(b, "singularName", r->singular);
	strbuf_addf(b, ",\"namespaced\":%s", r->namespaced ? "true" : "false");
	add_field(b, "kind", r->kind);
	add_verbs(b, r->verbs);
	add_list(b, "shortNames", r->short_names);
	add_list(b, "categories", r->categories);
	/* What is not stored has none. */
	if (r->verbs & VERB_WATCH)
		add_storage_hash(b, r);
	strbuf_addc(b, '}');
}

static void add_subresource(struct strbuf *b, const struct schema_resource *r, const struct schema_subresource *s)
{
	char name[128];

	snprintf(name, sizeof(name), "%s/%s", r->plural, s->name);
	strbuf_adds(b, ",{");
	add_field(b, "name", name);
	add_field(b, "singularName", "");
	strbuf_addf(b, ",\"namespaced\":%s", r->namespaced ? "true" : "false");
	if (!str_eq(s->group, r->group) || !str_eq(s->version, r->version)) {
		add_field(b, "group", s->group);
		add_field(b, "version", s->version);
	}
	add_field(b, "kind", s->kind);
	add_verbs(b, s->verbs);
	strbuf_addc(b, '}');
}

static bool build_resources(struct strbuf *b, const char *group_version)
{
	bool found = false;

	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		char gv[96];

		if (!str_eq(schema_api_version(r->group, r->version, gv), group_version))
			continue;
		if (!found) {
			strbuf_adds(b, "{\"kind\":\"APIResourceList\"");
			/* The core document has gone without since before the field was. */
			if (*r->group)
				strbuf_adds(b, ",\"apiVersion\":\"v1\"");
			add_field(b, "groupVersion", group_version);
			strbuf_adds(b, ",\"resources\":[");
		} else {
			strbuf_addc(b, ',');
		}
		found = true;
		add_resource(b, r);
		for (uint8_t j = 0; j < r->subresource_count; j++)
			add_subresource(b, r, &r->subresources[j]);
	}
	if (found)
		strbuf_adds(b, "]}\n");
	return found;
}

static void add_group_version(struct strbuf *b, const struct schema_resource *r)
{
	char gv[96];

	strbuf_addc(b, '{');
	add_field(b, "groupVersion", schema_api_version(r->group, r->version, gv));
	add_field(b, "version", r->version);
	strbuf_addc(b, '}');
}

/* The fields of an APIGroup, without the opening brace and what stands before name. first: its first resource. */
static void add_group(struct strbuf *b, size_t first)
{
	const struct schema_resource *head = schema_resource_at(first);

	add_field(b, "name", head->group);
	strbuf_adds(b, ",\"versions\":[");
	for (size_t i = first; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);

		if (!str_eq(r->group, head->group) || !starts_version(i))
			continue;
		if (i != first)
			strbuf_addc(b, ',');
		add_group_version(b, r);
	}
	strbuf_adds(b, "],\"preferredVersion\":");
	add_group_version(b, head);
	strbuf_addc(b, '}');
}

static bool build_group(struct strbuf *b, const char *group)
{
	for (size_t i = 0; i < schema_resource_count(); i++) {
		if (!*group || !str_eq(schema_resource_at(i)->group, group))
			continue;
		strbuf_adds(b, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"");
		add_group(b, i);
		strbuf_addc(b, '\n');
		return true;
	}
	return false;
}

static bool build_group_list(struct strbuf *b, const char *argument)
{
	(void)argument;
	strbuf_adds(b, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
	for (size_t i = 0; i < schema_resource_count(); i++) {
		if (!*schema_resource_at(i)->group || !starts_group(i))
			continue;
		strbuf_adds(b, b->data[b->len - 1] == '[' ? "{" : ",{");
		add_group(b, i);
	}
	strbuf_adds(b, "]}\n");
	return true;
}

static bool build_api_versions(struct strbuf *b, const char *server)
{
	strbuf_adds(b, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[{"
		       "\"clientCIDR\":\"0.0.0.0/0\"");
	add_field(b, "serverAddress", server);
	strbuf_adds(b, "}]}\n");
	return true;
}

/* Group and version are empty where they are the resource's own. */
static void add_response_kind(struct strbuf *b, const char *group, const char *version, const char *kind)
{
	strbuf_adds(b, ",\"responseKind\":{");
	add_field(b, "group", group);
	add_field(b, "version", version);
	add_field(b, "kind", kind);
	strbuf_addc(b, '}');
}

static void add_aggregated_resource(struct strbuf *b, const struct schema_resource *r)
{
	strbuf_addc(b, '{');
	add_field(b, "resource", r->plural);
	add_response_kind(b, "", "", r->kind);
	add_field(b, "scope", r->namespaced ? "Namespaced" : "Cluster");
	add_field(b, "singularResource", r->singular);
	add_verbs(b, r->verbs);
	add_list(b, "shortNames", r->short_names);
	add_list(b, "categories", r->categories);
	for (uint8_t i = 0; i < r->subresource_count; i++) {
		const struct schema_subresource *s = &r->subresources[i];
		bool own = str_eq(s->group, r->group) && str_eq(s->version, r->version);

		strbuf_adds(b, i ? ",{" : ",\"subresources\":[{");
		add_field(b, "subresource", s->name);
		add_response_kind(b, own ? "" : s->group, own ? "" : s->version, s->kind);
		add_verbs(b, s->verbs);
		strbuf_addc(b, '}');
	}
	strbuf_adds(b, r->subresource_count ? "]}" : "}");
}

static void add_aggregated_group(struct strbuf *b, size_t first)
{
	const struct schema_resource *head = schema_resource_at(first);

	strbuf_adds(b, "{\"metadata\":{");
	if (*head->group) {
		add_field(b, "name", head->group);
		strbuf_addc(b, ',');
	}
	strbuf_adds(b, "\"creationTimestamp\":null},\"versions\":[");
	for (size_t i = first; i < schema_resource_count(); i++) {
		const struct schema_resource *v = schema_resource_at(i);

		if (!str_eq(v->group, head->group) || !starts_version(i))
			continue;
		strbuf_adds(b, i == first ? "{" : ",{");
		add_field(b, "version", v->version);
		strbuf_adds(b, ",\"resources\":[");
		for (size_t j = i; j < schema_resource_count(); j++) {
			if (!same_gv(v, schema_resource_at(j)))
				continue;
			if (j != i)
				strbuf_addc(b, ',');
			add_aggregated_resource(b, schema_resource_at(j));
		}
		strbuf_adds(b, "],\"freshness\":\"Current\"}");
	}
	strbuf_adds(b, "]}");
}

static bool build_aggregated(struct strbuf *b, const char *core)
{
	strbuf_adds(b, "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/"
		       "v2\",\"metadata\":{},\"items\":[");
	for (size_t i = 0; i < schema_resource_count(); i++) {
		if (!*schema_resource_at(i)->group != (core != NULL) || !starts_group(i))
			continue;
		if (b->data[b->len - 1] != '[')
			strbuf_addc(b, ',');
		add_aggregated_group(b, i);
	}
	strbuf_adds(b, "]}\n");
	return true;
}

const struct document *discovery_api_versions(const char *server)
{
	_cleanup_free_ char *key = str_printf("api %s", server);

	return document_get(key, build_api_versions, server);
}

const struct document *discovery_group_list(void)
{
	return document_get("apis", build_group_list, NULL);
}

const struct document *discovery_group(const char *group)
{
	_cleanup_free_ char *key = str_printf("group %s", group);

	return document_get(key, build_group, group);
}

const struct document *discovery_resources(const char *group_version)
{
	_cleanup_free_ char *key = str_printf("resources %s", group_version);

	return document_get(key, build_resources, group_version);
}

const struct document *discovery_aggregated(bool core)
{
	return document_get(core ? "aggregated core" : "aggregated", build_aggregated, core ? "core" : NULL);
}
