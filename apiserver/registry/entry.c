// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Entries of the store. What always holds for an entry's text: it starts {"kind":K,"apiVersion":V,"metadata":{ and in
 * metadata resourceVersion stands before labels and annotations, so that it can be found without parsing.
 */
#include "apiserver/registry/entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/registry/convert.h"
#include "apiserver/validate/validate.h"
#include "kube/codec.h"
#include "kube/json.h"
#include "kube/object.h"

static char *place_names[STORE_MAX_RESOURCES];

static void place_names_init(void)
{
	size_t n = schema_resource_count();
	BUG_ON(n > STORE_MAX_RESOURCES);
	for (size_t i = 0; i < n; i++) {
		const struct schema_resource *r = schema_resource_at(i);
		if (r->storage_id != r->id || !r->list_message)
			continue;
		place_names[i] = str_empty(r->group) ? mem_strdup(r->plural) : str_printf("%s/%s", r->group, r->plural);
	}
}

const char *entry_place_name(uint16_t resource)
{
	static bool done;
	if (!done) {
		place_names_init();
		done = true;
	}
	return resource < STORE_MAX_RESOURCES ? place_names[resource] : NULL;
}

int entry_place_find(const char *name)
{
	for (size_t i = 0; i < schema_resource_count(); i++)
		if (str_eq(entry_place_name((uint16_t)i), name))
			return (int)i;
	return -1;
}

const struct schema_resource *entry_storage(const struct schema_resource *r)
{
	return r->storage_id == r->id ? r : schema_resource_at(r->storage_id);
}

const char *const *entry_field_labels(const struct schema_resource *storage)
{
	static const char *const none[] = { NULL };
	static const struct {
		const char *group, *plural;
		const char *const labels[12];
	} kept[] = {
		{ "", "pods", { "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
				"spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs",
				"status.nominatedNodeName", "spec.host" } },
		{ "", "nodes", { "spec.unschedulable" } },
		{ "", "namespaces", { "status.phase" } },
		{ "", "secrets", { "type" } },
		{ "", "services", { "spec.clusterIP", "spec.type" } },
		{ "", "replicationcontrollers", { "status.replicas" } },
		{ "", "events", { "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
				  "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
				  "reason", "reportingComponent", "source", "type" } },
		{ "batch", "jobs", { "status.successful" } },
		{ "certificates.k8s.io", "certificatesigningrequests", { "spec.signerName" } },
		{ "resource.k8s.io", "resourceslices", { "spec.nodeName", "spec.driver" } },
	};
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (str_eq(storage->plural, kept[i].plural) && str_eq(storage->group, kept[i].group))
			return kept[i].labels;
	return none;
}

const char *entry_field(const struct store_object *o, unsigned field)
{
	const char *p = o->fields;
	if (!p)
		return "";
	while (field--)
		p += strlen(p) + 1;
	return p;
}

static char *fields_of(const struct schema_resource *storage, const json_t *object)
{
	const char *const *labels = entry_field_labels(storage);
	_cleanup_strbuf_ struct strbuf b = { 0 };
	char buf[256];
	if (!*labels)
		return NULL;
	for (; *labels; labels++) {
		const char *v = field_label(storage, object, *labels, buf, sizeof(buf));
		strbuf_adds(&b, v);
		strbuf_addc(&b, '\0');
	}
	return mem_dup(b.data, b.len);
}

/* One object with the same labels as another shares their value: most pods have siblings. */
static json_t *labels_of(const json_t *object)
{
	static json_t *recent[64];
	json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
	const char *key;
	json_t *value;
	uint64_t h = 0;
	if (!json_is_object(labels) || !json_object_size(labels))
		return NULL;
	json_object_foreach(labels, key, value)
		h += hash_str(key) * 31 + hash_str(json_is_string(value) ? json_string_value(value) : "");
	json_t **slot = &recent[h % ARRAY_SIZE(recent)];
	if (!*slot || !json_equal(*slot, labels)) {
		json_decref(*slot);
		*slot = json_clone(labels);
	}
	return json_incref(*slot);
}

/* What a selector can ask of it, in short. */
static struct store_object *sign(struct store_object *o)
{
	const char *const *fields = entry_field_labels(schema_resource_at(o->resource));
	const char *key, *field = o->fields;
	json_t *value;
	o->signature = signature_name(entry_name(o));
	json_object_foreach(o->labels, key, value)
		o->signature |= signature_label(key, json_is_string(value) ? json_string_value(value) : "");
	for (; field && *fields; fields++, field += strlen(field) + 1)
		o->signature |= signature_field(field);
	return o;
}

static void write_metadata(struct strbuf *b, json_t *metadata, uint64_t revision)
{
	static const char *const order[] = { "name", "generateName", "namespace", "uid", "resourceVersion", "generation",
		"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations",
		"ownerReferences", "finalizers", "managedFields" };
	char rv[24];
	/* A dry run's new object has no revision. */
	snprintf(rv, sizeof(rv), "%" PRIu64, revision);
	if (revision)
		json_object_set_new(metadata, "resourceVersion", json_string(rv));
	else
		json_object_del(metadata, "resourceVersion");
	strbuf_addc(b, '{');
	for (size_t i = 0, n = 0; i < ARRAY_SIZE(order); i++) {
		json_t *v = json_object_get(metadata, order[i]);
		if (!v)
			continue;
		strbuf_addf(b, "%s\"%s\":", n++ ? "," : "", order[i]);
		json_write(b, v);
	}
	strbuf_addc(b, '}');
}

static void write_member(struct strbuf *b, const char *name, const json_t *value)
{
	strbuf_addc(b, ',');
	strbuf_add_json(b, name, strlen(name));
	strbuf_addc(b, ':');
	json_write(b, value);
}

struct store_object *entry_make(const struct schema_resource *storage, const char *key, uint64_t revision, json_t *object)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	char api_version[96];
	uint32_t head, meta_off, meta_len;
	json_t *metadata = json_object_get(object, "metadata"), *value;
	const char *name;
	strbuf_addf(&b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",", storage->kind,
		    schema_api_version(storage->group, storage->version, api_version));
	head = (uint32_t)b.len;
	strbuf_adds(&b, "\"metadata\":");
	meta_off = (uint32_t)b.len;
	write_metadata(&b, metadata, revision);
	meta_len = (uint32_t)b.len - meta_off;
	json_object_foreach(object, name, value)
		if (!str_eq(name, "kind") && !str_eq(name, "apiVersion") && !str_eq(name, "metadata") && !str_eq(name, "status"))
			write_member(&b, name, value);
	value = json_object_get(object, "status");
	if (value)
		write_member(&b, "status", value);
	strbuf_addc(&b, '}');
	return sign(store_object_new(storage->id, key, revision, bytes_new(b.data, b.len), head, meta_off, meta_len,
				     labels_of(object), fields_of(storage, object)));
}

struct store_object *entry_restore(uint16_t resource, const char *key, uint64_t revision, struct bytes *json,
				   uint32_t head_len, uint32_t meta_off, uint32_t meta_len, void *user)
{
	(void)user;
	_cleanup_json_ json_t *object = json_parse(json->data, json->len, NULL, NULL);
	if (!json_is_object(object)) {
		bytes_unref(json);
		return NULL;
	}
	return sign(store_object_new(resource, key, revision, json, head_len, meta_off, meta_len, labels_of(object),
				     fields_of(schema_resource_at(resource), object)));
}

/* The resource whose version a value is written in; NULL: there is none. */
static const struct schema_resource *view_of(const struct schema_resource *storage, const json_t *object)
{
	const char *api = json_str_or(object, "apiVersion", ""), *kind = json_str_or(object, "kind", "");
	char mine[96];
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		if (r->storage_id == storage->id && str_eq(r->kind, kind) &&
		    str_eq(schema_api_version(r->group, r->version, mine), api))
			return r;
	}
	return NULL;
}

struct store_object *entry_read(uint16_t resource, const char *key, uint64_t revision, const void *data, size_t len)
{
	const struct schema_resource *storage = schema_resource_at(resource), *view;
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *object = codec_is_proto(data, len) ? codec_envelope_decode(data, len, NULL, &err)
								  : json_parse(data, len, NULL, &err);
	if (!json_is_object(object) || !json_is_object(json_object_get(object, "metadata")))
		return NULL;
	view = view_of(storage, object);
	/* Whoever wrote it may have left out what is filled in when Kubernetes decodes. */
	if (!view || codec_normalize(view->message, object, NULL, &err) < 0)
		return NULL;
	defaults_apply(view, object);
	convert_object(view, storage, object);
	return entry_make(storage, key, revision, object);
}

/* The text with another revision, 0: with none. *ret_change: by how much metadata grew. */
static struct bytes *text_with(const struct store_object *o, uint64_t revision, int *ret_change)
{
	char mine[64], other[64] = "";
	_cleanup_strbuf_ struct strbuf b = { 0 };
	int len = snprintf(mine, sizeof(mine), ",\"resourceVersion\":\"%" PRIu64 "\"", o->revision);
	const char *at = memmem(o->json->data + o->meta_off, o->meta_len, mine, (size_t)len);
	BUG_ON(!at);
	if (revision)
		snprintf(other, sizeof(other), ",\"resourceVersion\":\"%" PRIu64 "\"", revision);
	strbuf_add(&b, o->json->data, (size_t)(at - o->json->data));
	strbuf_adds(&b, other);
	strbuf_add(&b, at + len, o->json->len - (size_t)(at + len - o->json->data));
	*ret_change = (int)strlen(other) - len;
	return bytes_new(b.data, b.len);
}

struct bytes *entry_value(struct store_object *o)
{
	int change;
	return text_with(o, 0, &change);
}

struct store_object *entry_at(struct store_object *o, uint64_t revision)
{
	const char *const *labels = entry_field_labels(schema_resource_at(o->resource));
	const char *end = o->fields;
	int change;
	struct bytes *text = text_with(o, revision, &change);
	for (; o->fields && *labels; labels++)
		end += strlen(end) + 1;
	return sign(store_object_new(o->resource, o->key, revision, text, o->head_len, o->meta_off,
				     (uint32_t)((int64_t)o->meta_len + change), json_incref(o->labels),
				     o->fields ? mem_dup(o->fields, (size_t)(end - o->fields)) : NULL));
}

json_t *entry_parse(const struct store_object *o)
{
	json_t *v = json_parse(o->json->data, o->json->len, NULL, NULL);
	BUG_ON(!v);
	return v;
}

json_t *entry_parse_shared(struct store_object *o)
{
	static struct {
		struct store_object *object; /* a reference: its address stays its own */
		json_t *value;
	} kept[16];
	size_t at = ((uintptr_t)o >> 4) * 0x9e3779b97f4a7c15 >> 60;
	if (kept[at].object != o) {
		store_object_unref(kept[at].object);
		json_decref(kept[at].value);
		kept[at].object = store_object_ref(o);
		kept[at].value = entry_parse(o);
	}
	return json_incref(kept[at].value);
}

struct bytes *entry_text_at(struct store_object *o, uint64_t revision)
{
	char mine[64];
	_cleanup_strbuf_ struct strbuf b = { 0 };
	if (revision == o->revision)
		return bytes_ref(o->json);
	int len = snprintf(mine, sizeof(mine), "\"resourceVersion\":\"%" PRIu64 "\"", o->revision);
	const char *at = memmem(o->json->data + o->meta_off, o->meta_len, mine, (size_t)len);
	BUG_ON(!at);
	strbuf_add(&b, o->json->data, (size_t)(at - o->json->data));
	strbuf_addf(&b, "\"resourceVersion\":\"%" PRIu64 "\"", revision);
	strbuf_add(&b, at + len, o->json->len - (size_t)(at + len - o->json->data));
	return bytes_new(b.data, b.len);
}

const char *entry_name(const struct store_object *o)
{
	const char *slash = strchr(o->key, '/');
	return slash ? slash + 1 : o->key;
}

size_t entry_namespace_len(const struct store_object *o)
{
	const char *slash = strchr(o->key, '/');
	return slash ? (size_t)(slash - o->key) : 0;
}

char *entry_key(const struct schema_resource *r, const char *ns, const char *name)
{
	return r->namespaced ? str_printf("%s/%s", ns, name) : mem_strdup(name);
}
