/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links apiserver kube io base */
/*
 * Any patch against any object: the first byte says which of the three, then JSON text of the object, a line break,
 * JSON text of the patch. Inputs must stay as they were, and a failure is always the client's.
 */
#include <stdlib.h>

#include "apiserver/patch/patch.h"
#include "base/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const messages[] = { "io.k8s.api.core.v1.Pod", "io.k8s.api.apps.v1.Deployment",
						"io.k8s.api.core.v1.Node", "io.k8s.api.core.v1.Service" };
	_cleanup_json_ json_t *object = NULL, *patch = NULL, *object_was = NULL, *patch_was = NULL, *got = NULL;
	_cleanup_err_ struct err e = {0};
	const char *text = (const char *)data + 1, *line;

	if (size < 4)
		return 0;
	line = memchr(text, '\n', size - 1);
	if (!line)
		return 0;
	object = json_parse(text, (size_t)(line - text), NULL, NULL);
	patch = json_parse(line + 1, size - 1 - (size_t)(line + 1 - text), NULL, NULL);
	if (!json_is_object(object) || !patch)
		return 0;
	object_was = json_deep_copy(object);
	patch_was = json_deep_copy(patch);
	if (data[0] % 4 == 0)
		got = patch_json(object, patch, &e);
	else if (data[0] % 4 == 1)
		got = patch_merge(object, patch, &e);
	else
		got = patch_strategic(schema_message_by_name(messages[data[0] / 4 % ARRAY_SIZE(messages)]), object,
				      patch, &e);
	must(json_equal(object, object_was) && json_equal(patch, patch_was));
	must(got ? e.code == 0 : e.http_status == 400 || e.http_status == 413 || e.http_status == 422);
	return 0;
}
