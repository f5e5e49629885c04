/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links kube io base */
/* Protobuf from the network: enveloped objects, and the bare bytes as a CustomResourceDefinition and as a Pod. What is
 * accepted must go around: encoding and decoding it again gives the same value. */
#include <stdlib.h>

#include "kube/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void go_around(const struct schema_message *m, json_t *v)
{
	_cleanup_strbuf_ struct strbuf wire = { 0 };
	_cleanup_json_ json_t *again = NULL;

	if (codec_proto_encode(m, v, &wire, NULL) < 0)
		abort();
	again = codec_proto_decode(m, wire.data, wire.len, NULL);
	if (again && (m->flags & SCHEMA_MSG_TYPE_META)) {
		json_object_del(v, "apiVersion");
		json_object_del(v, "kind");
	}
	if (!again || !json_same(v, again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const bare[] = {
		"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
		"io.k8s.api.core.v1.Pod"
	};
	const struct schema_kind *kind = NULL;
	_cleanup_json_ json_t *v = codec_envelope_decode(data, len, &kind, NULL);

	if (v)
		go_around(kind->message, v);
	for (size_t i = 0; i < ARRAY_SIZE(bare); i++) {
		const struct schema_message *m = schema_message_by_name(bare[i]);
		_cleanup_json_ json_t *body = codec_proto_decode(m, data, len, NULL);

		if (body)
			go_around(m, body);
	}
	return 0;
}
