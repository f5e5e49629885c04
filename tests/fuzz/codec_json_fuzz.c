/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links kube io base */
/* JSON bodies against the schema: the object's own kind, or a Pod. Normalizing twice changes nothing, and what was
 * normalized can be written as protobuf and read again. */
#include <stdlib.h>

#include "kube/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct codec_report report = { 0 };
	_cleanup_json_ json_t *v = json_parse((const char *)data, len, NULL, NULL);
	const char *api_version = json_string_value(json_object_get(v, "apiVersion"));
	const char *kind = json_string_value(json_object_get(v, "kind"));
	const struct schema_kind *k = api_version && kind ? schema_kind_find(api_version, kind) : NULL;
	_cleanup_json_ json_t *copy = NULL;
	_cleanup_json_ json_t *back = NULL;
	_cleanup_strbuf_ struct strbuf wire = { 0 };

	if (!k)
		k = schema_kind_find("v1", "Pod");
	if (!v || codec_normalize(k->message, v, &report, NULL) < 0) {
		codec_report_done(&report);
		return 0;
	}
	codec_report_done(&report);
	copy = json_deep_copy(v);
	if (codec_normalize(k->message, copy, &report, NULL) < 0 || report.unknown.count || !json_same(v, copy))
		abort();
	/* Only nesting beyond the limit is refused. */
	if (codec_proto_encode(k->message, v, &wire, NULL) < 0)
		return 0;
	back = codec_proto_decode(k->message, wire.data, wire.len, NULL);
	if (!back)
		abort();
	return 0;
}
