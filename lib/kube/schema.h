/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one table of the API: types, fields, protobuf numbers, merge keys, list kinds, kinds and resources of
 * Kubernetes 1.36. Everything here is constant data in .rodata, generated at build time by tools/schemac from
 * lib/kube/schema.txt (the project's compact form). It drives the codecs, defaulting, pruning, strategic merge,
 * OpenAPI and discovery.
 */
#ifndef KEELSON_KUBE_SCHEMA_H
#define KEELSON_KUBE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum schema_type {
	SCHEMA_STRING,
	SCHEMA_BOOL,
	SCHEMA_INT32,
	SCHEMA_INT64,
	SCHEMA_DOUBLE,
	SCHEMA_BYTES,	/* base64 in JSON */
	SCHEMA_MESSAGE, /* an ordinary message: field->message */
	/* Messages with a JSON form of their own; field->message is set too (name, protobuf fields). */
	SCHEMA_QUANTITY,   /* string (or number on input) */
	SCHEMA_TIME,	   /* RFC 3339 seconds, or null */
	SCHEMA_MICRO_TIME, /* RFC 3339 with six decimals, or null */
	SCHEMA_INT_OR_STRING,
	SCHEMA_RAW,	  /* runtime.RawExtension: any JSON value (protobuf: the bytes of it) */
	SCHEMA_FIELDS_V1, /* any JSON object (protobuf: the bytes of it) */
	SCHEMA_JSON,	  /* apiextensions JSON and JSONSchemaPropsOr*: any JSON value */
	SCHEMA_TYPE_MAX
};
enum schema_shape { SCHEMA_SINGLE, SCHEMA_LIST, SCHEMA_MAP, /* map keys are strings */ SCHEMA_MAP_OF_LISTS };
enum schema_list_type { SCHEMA_LIST_NONE, SCHEMA_LIST_ATOMIC, SCHEMA_LIST_SET, SCHEMA_LIST_MAP };
enum {
	SCHEMA_REQUIRED = 1 << 0,    /* listed in OpenAPI's required; always written in JSON */
	SCHEMA_INLINE = 1 << 1,	     /* a message in protobuf whose fields stand in the parent in JSON */
	SCHEMA_PATCH_MERGE = 1 << 2, /* patchStrategy merge */
	SCHEMA_PATCH_REPLACE = 1 << 3,
	SCHEMA_RETAIN_KEYS = 1 << 4,
	SCHEMA_MAP_ATOMIC = 1 << 5, /* x-kubernetes-map-type: atomic */
	/* A pointer in Go: a zero value that is present is not an absent one. Without it, a zero (0, false, "", an
	 * empty message) that arrives in protobuf means "not set". Lists and maps never have it. */
	SCHEMA_POINTER = 1 << 6,
	SCHEMA_ALWAYS = 1 << 7, /* optional, but Go writes it in JSON even when it is zero */
};

struct schema_message;
struct schema_field {
	const char *name; /* JSON name */
	/* NULL for scalars, but for lists of strings that protobuf wraps in a message of their own (its field 1):
	 * Verbs, and ExtraValue as the element of SCHEMA_MAP_OF_LISTS. */
	const struct schema_message *message;
	const char *merge_key;		  /* patchMergeKey or NULL */
	const char *const *list_map_keys; /* NULL-terminated, or NULL */
	uint16_t proto;			  /* protobuf field number */
	uint8_t type, shape, list_type;	  /* enums above; for lists and maps the type of the element */
	uint8_t flags;
};
enum {
	SCHEMA_MSG_TYPE_META = 1 << 0,	/* has apiVersion and kind in JSON (protobuf: in the envelope) */
	SCHEMA_MSG_ATOMIC = 1 << 1,	/* mapType atomic */
	SCHEMA_MSG_LIST = 1 << 2,	/* metadata is ListMeta and items are objects */
	SCHEMA_MSG_HAS_INLINE = 1 << 3, /* a field of it is SCHEMA_INLINE */
};
struct schema_message {
	const char *name;		   /* "io.k8s.api.core.v1.Pod" */
	const struct schema_field *fields; /* sorted by protobuf number */
	uint16_t field_count;
	uint8_t type; /* SCHEMA_MESSAGE, or the custom type that this message is */
	uint8_t flags;
};
/* A kind: what apiVersion + kind name. Covers objects, lists, options (DeleteOptions in every group), Status. */
struct schema_kind {
	const char *group, *version, *kind; /* group "" is core */
	const struct schema_message *message;
};

enum {
	VERB_GET = 1 << 0,
	VERB_LIST = 1 << 1,
	VERB_WATCH = 1 << 2,
	VERB_CREATE = 1 << 3,
	VERB_UPDATE = 1 << 4,
	VERB_PATCH = 1 << 5,
	VERB_DELETE = 1 << 6,
	VERB_DELETECOLLECTION = 1 << 7,
	VERB_ALL8 = 0xff,
};
struct schema_subresource {
	const char *name;		    /* "status" */
	const char *group, *version, *kind; /* of its body: autoscaling/v1 Scale, policy/v1 Eviction, v1 Pod ... */
	uint8_t verbs;
};
struct schema_resource {
	const char *group, *version; /* "" is core */
	const char *plural, *singular, *kind;
	const struct schema_message *message;
	const struct schema_message *list_message; /* NULL for create-only reviews and bindings */
	const char *const *short_names;		   /* NULL-terminated; never NULL itself */
	const char *const *categories;		   /* the same */
	const struct schema_subresource *subresources;
	uint8_t subresource_count;
	uint8_t verbs;
	bool namespaced;
	uint16_t id; /* dense, 0..schema_resource_count()-1 */
	/* The resource that keeps the objects: events.k8s.io/v1 events and autoscaling/v1 are views of one storage.
	 * Equal to id where it keeps its own. */
	uint16_t storage_id;
};

const struct schema_message *schema_message_by_name(const char *name); /* NULL: unknown */
const struct schema_field *schema_field_by_name(const struct schema_message *m,
						const char *name); /* looks through inlined messages */
const struct schema_field *schema_field_by_number(const struct schema_message *m, unsigned number);
/* api_version: "v1" or "apps/v1". NULL: unknown. */
const struct schema_kind *schema_kind_find(const char *api_version, const char *kind);
const struct schema_kind *schema_kind_find_gvk(const char *group, const char *version, const char *kind);
size_t schema_kind_count(void);
const struct schema_kind *schema_kind_at(size_t i);
const struct schema_resource *schema_resource_find(const char *group, const char *version, const char *plural);
const struct schema_resource *schema_resource_of_kind(const char *group, const char *version, const char *kind);
size_t schema_resource_count(void);
const struct schema_resource *schema_resource_at(size_t i); /* grouped by group and version, in discovery's order */
const struct schema_subresource *schema_subresource_find(const struct schema_resource *r, const char *name);
/* What people and OpenAPI want to know of fields and messages of the table; NULL where nothing is noted (and for
 * messages that are not of the table). Borrow. */
const char *schema_field_doc(const struct schema_field *f);	/* a sentence */
const char *schema_field_format(const struct schema_field *f);	/* OpenAPI's: "int32", "date-time"; of any field */
const char *schema_field_default(const struct schema_field *f); /* JSON */
const char *schema_field_enum(const struct schema_field *f);	/* "Always|IfNotPresent|Never", sorted */
/* The Go type's name where it is not the plain one: "v1.PullPolicy", "[]v1.IPFamily", "v1.ResourceList". */
const char *schema_field_go_type(const struct schema_field *f);
const char *schema_message_doc(const struct schema_message *m);
size_t schema_message_count(void);
const struct schema_message *schema_message_at(size_t i);
/* "v1" or "apps/v1" for a group and version, into out (at least 96 bytes). */
const char *schema_api_version(const char *group, const char *version, char out[static 96]);

#endif
