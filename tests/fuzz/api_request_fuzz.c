// SPDX-License-Identifier: GPL-2.0-or-later
/* fuzz: links apiserver kube io base */
/* URLs, queries with list options and continue tokens, and Accept headers of the API, the reader of agents' answers, and ServiceAccount tokens' parts. Input: a selector byte,
 * then the text. */
#include <stddef.h>
#include <stdint.h>

#include "apiserver/http/http_reply.h"
#include "apiserver/http/request.h"
#include "apiserver/registry/list_options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_body(const char *data, size_t len, void *user)
{
	*(size_t *)user += len ? (size_t)(unsigned char)data[len - 1] : 0;
}

static void reply(const char *text, size_t len)
{
	struct http_reply whole = { 0 }, pieces = { 0 };
	size_t a = 0, b = 0;
	int rc = http_reply_feed(&whole, text, len, on_body, &a), rc2 = 0;
	for (size_t i = 0; i < len && !rc2; i++)
		rc2 = http_reply_feed(&pieces, text + i, 1, on_body, &b);
	/* How the bytes come must not matter. */
	if ((rc == 0) != (rc2 == 0) || (rc == 0 && (whole.status != pieces.status || whole.phase != pieces.phase)))
		__builtin_trap();
	http_reply_done(&whole);
	http_reply_done(&pieces);
}

/* What a query asks of a list of pods. Where a list goes on after a token, its next token has to lead to the same place. */
static void list(struct arena *a, const struct query *q)
{
	const struct schema_resource *pods = schema_resource_find("", "v1", "pods");
	struct list_options o, again;
	_cleanup_json_ json_t *status = list_options_read(a, q, pods, &o);
	if (status || !o.start)
		return;
	_cleanup_free_ char *token = list_token(pods, -1, o.start);
	struct query_param item = { "continue", token };
	_cleanup_json_ json_t *refused = list_options_read(a, &(struct query){ &item, 1 }, pods, &again);
	if (refused || !again.start || !str_eq(again.start, o.start))
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a;
	struct query q = { 0 };
	struct url_info u;
	struct media m;
	char *text;
	if (size < 1)
		return 0;
	a = arena_new();
	text = arena_strndup(a, (const char *)data + 1, size - 1);
	if (data[0] % 4 == 0 && query_parse(a, text, &q) == 0)
		list(a, &q);
	else if (data[0] % 4 == 1 && url_info_parse(a, "GET", text, &q, &u) == 0 && u.is_resource && !u.plural)
		__builtin_trap();
	else if (data[0] % 4 == 2 && media_negotiate(text, (enum media_use)((data[0] >> 2) % 5), &m) && !media_content_type(&m))
		__builtin_trap();
	else if (data[0] % 4 == 3)
		reply((const char *)data + 1, size - 1);
	arena_free(a);
	return 0;
}
