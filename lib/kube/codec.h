/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kubernetes objects between JSON values and the wire: schema-driven decoding with pruning and field checks, and the
 * Kubernetes protobuf (magic "k8s\0" + runtime.Unknown). Messages are checked as strictly as upstream's decoders.
 */
#ifndef KEELSON_KUBE_CODEC_H
#define KEELSON_KUBE_CODEC_H

#include "kube/json.h"
#include "kube/schema.h"

/* What decoding noticed; zero-initialize, codec_report_done(). Texts as Kubernetes writes them in strict errors and
 * warnings: `unknown field "spec.foo"`, `duplicate field "spec.replicas"`; the first CODEC_MAX_REPORTED unknown ones. */
enum { CODEC_MAX_REPORTED = 100 };
struct codec_report {
	struct strlist unknown, duplicate;
};
void codec_report_done(struct codec_report *r);

/* Checks v against m in place: unknown fields are removed (and reported), types are checked (error texts like Go's
 * `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`), null fields are
 * removed, quantities, times, bytes and int-or-strings are checked and canonicalized. Field names match exactly. Zero
 * values of optional fields that are no pointers in Go (0, false, "", [], {} of maps) say nothing and are removed, too;
 * empty messages stay. Duplicates cannot be seen here any more: see json_parse().
 * 0 or -EINVAL with err (http 400 BadRequest). */
int codec_normalize(const struct schema_message *m, json_t *v, struct codec_report *report, struct err *err);

/* Protobuf message body (without envelope) <-> JSON value (normalized). Depth and sizes are bounded by the input.
 * Unknown protobuf fields are skipped. Own. Zeros of fields that are no pointers are dropped (typed Go clients always
 * write them). */
json_t *codec_proto_decode(const struct schema_message *m, const void *data, size_t len, struct err *err);
int codec_proto_encode(const struct schema_message *m, const json_t *v, struct strbuf *out, struct err *err);

/* With the "k8s\0" envelope. Decode: apiVersion and kind from the envelope are put into the value; *ret_kind (may be
 * NULL) is the kind found; an unregistered kind is -EINVAL: `no kind "X" is registered for version "v1"`. Encode: takes
 * the kind from the value's apiVersion and kind. */
bool codec_is_proto(const void *data, size_t len);
json_t *codec_envelope_decode(const void *data, size_t len, const struct schema_kind **ret_kind, struct err *err);
int codec_envelope_encode(const json_t *v, struct strbuf *out, struct err *err);
/* Lists, PartialObjectMetadata(List) and Status go through codec_envelope_encode() too. Tables have no protobuf form.
 * A frame of a protobuf watch is a bare WatchEvent, codec_proto_encode() of {"type", "object"}: the object inside gets
 * the envelope by itself. */

#endif
