/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links apiserver kube io base */
/*
 * Server-side apply of anything to anything: the first byte says which kind and whether with force, then JSON text of the live
 * object (its managedFields may be nonsense), a line break, JSON text of the configuration. Inputs stay as they were; what was
 * applied holds afterwards, applying it again changes nothing, and a refusal is the client's.
 */
#include <stdlib.h>

#include "apiserver/apply/managed.h"
#include "apiserver/apply/typed.h"
#include "apiserver/http/status.h"
#include "base/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Everything that the configuration says is so. */
static void check_applied(const struct managed_request *q, const json_t *object, const json_t *config)
{
	_cleanup_json_ json_t *again = typed_merge(q->message, object, config), *status = NULL;
	json_unset(again, "metadata.managedFields");
	_cleanup_json_ json_t *plain = json_deep_copy(object);
	json_unset(plain, "metadata.managedFields");
	must(json_same(plain, again));
	_cleanup_json_ json_t *same = managed_apply(q, object, config, &status);
	must(same && !status);
	json_unset(same, "metadata.managedFields");
	must(json_same(plain, same));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const messages[] = { "io.k8s.api.core.v1.Pod", "io.k8s.api.apps.v1.Deployment", "io.k8s.api.core.v1.Node",
						"io.k8s.api.core.v1.Service" };
	_cleanup_json_ json_t *live = NULL, *config = NULL, *live_was = NULL, *config_was = NULL, *status = NULL, *written = NULL;
	const char *text = (const char *)data + 1, *line;
	if (size < 4 || !(line = memchr(text, '\n', size - 1)))
		return 0;
	live = json_parse(text, (size_t)(line - text), NULL, NULL);
	config = json_parse(line + 1, size - 1 - (size_t)(line + 1 - text), NULL, NULL);
	if (!json_is_object(live) || !json_is_object(config))
		return 0;
	const struct managed_request q = { .message = schema_message_by_name(messages[data[0] / 4 % ARRAY_SIZE(messages)]), .manager = "me",
		.api_version = "v1", .now = "2026-01-01T00:00:00Z", .has_status_sub = data[0] & 2, .force = data[0] & 1 };
	live_was = json_deep_copy(live);
	config_was = json_deep_copy(config);
	_cleanup_json_ json_t *got = managed_apply(&q, live, config, &status);
	must(json_equal(live, live_was) && json_equal(config, config_was));
	must(got ? !status : status && status_code(status) >= 400);
	if (got)
		check_applied(&q, got, config);
	/* An ordinary write of the same: it never refuses. */
	written = json_deep_copy(config);
	managed_update(&q, live, written);
	return 0;
}
