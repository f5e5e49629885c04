/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the codec share: paths for error texts, and the values that have a text form of their own. */
#ifndef KEELSON_KUBE_CODEC_PARTS_H
#define KEELSON_KUBE_CODEC_PARTS_H

#include "kube/codec.h"

enum {
	CODEC_TIME_SIZE = 48,
	CODEC_MAX_DEPTH = 100,	   /* nested messages in protobuf; JSONSchemaProps is the only one that recurses */
	CODEC_MAX_VALUES = 300000, /* JSON values made from one protobuf message: bounds memory against tiny elements */
};
#define CODEC_MIN_TIME_S (-62135596800LL) /* 0001-01-01T00:00:00Z, Go's zero time */
#define CODEC_MAX_TIME_S 253402300799LL	  /* 9999-12-31T23:59:59Z */

/* A place in a value, as a list on the stack from the inside out. */
struct codec_path {
	const struct codec_path *up;
	const char *name; /* of a field or map key; NULL: a list's index */
	size_t index;
	bool map_key;
};
/* "spec.containers[0].name"; not full as Go's decoder writes it, fields only: "spec.containers.name". Own. */
char *codec_path_text(const struct codec_path *p, bool full);

/* "v1.PodSpec" for io.k8s.api.core.v1.PodSpec, "PodSpec" for the short form. Borrow. */
const char *codec_short_name(const struct schema_message *m);
/* The Go type of a whole field or of its element, as reflect prints it. Own. */
char *codec_go_type(const struct schema_field *f, bool element);

/* The four apiextensions types whose JSON is not an object of their fields. */
enum codec_json_form { CODEC_JSON_ANY, CODEC_JSON_OR_ARRAY, CODEC_JSON_OR_BOOL, CODEC_JSON_OR_STRINGS };
enum codec_json_form codec_json_form_of(const struct schema_message *m);

/* Canonical forms with Go's error texts. 0 or -EINVAL with err. */
int codec_quantity(const char *s, struct strbuf *out, struct err *err);
int codec_time(const char *s, bool micro, char out[static CODEC_TIME_SIZE], struct err *err);
int codec_base64(const char *s, size_t len, struct strbuf *out, struct err *err);
/* Formats seconds and nanoseconds since the epoch. -ERANGE outside of the years 1 to 9999. */
int codec_time_format(int64_t seconds, int32_t nanos, bool micro, char out[static CODEC_TIME_SIZE]);

/* A zero value of a scalar, an empty list or map: what Go leaves out of JSON for a field that is no pointer. An empty
 * message counts when messages is set (protobuf, where Go always writes messages that are no pointers). */
bool codec_is_zero(const struct schema_field *f, const json_t *v, bool messages);
/* A list of strings that protobuf wraps in a message (Verbs), so that an empty one differs from none. */
static inline bool codec_is_wrapped(const struct schema_field *f)
{
	return f->shape == SCHEMA_LIST && f->type == SCHEMA_STRING && f->message;
}
/* Such a value says nothing in this field. */
static inline bool codec_drops_zero(const struct schema_field *f)
{
	return !(f->flags & (SCHEMA_POINTER | SCHEMA_REQUIRED | SCHEMA_ALWAYS));
}

/* The body of an envelope and the kind it names; depth as below. */
json_t *codec_envelope_decode_at(const void *data, size_t len, const struct schema_kind **ret_kind, int depth,
				 size_t *values, struct err *err);
/* depth: nesting so far; values: made so far. Own, NULL with err. */
json_t *codec_proto_decode_at(const struct schema_message *m, const void *data, size_t len, int depth, size_t *values,
			      struct err *err);

#endif
