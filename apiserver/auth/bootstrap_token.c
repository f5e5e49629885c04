// SPDX-License-Identifier: GPL-2.0-or-later
/* Authenticating bootstrap tokens. The Secret is read at each attempt, so that deleting it ends the token at once. */
#include "apiserver/auth/bootstrap_token.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/clock.h"
#include "kube/object.h"

#define EXTRA_PREFIX "system:bootstrappers:"
enum { MAX_EXTRA_GROUPS = 32, GROUP_MAX = 256 };

static bool is_small(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool bootstrap_token_shaped(const char *token)
{
	if (strlen(token) != BOOTSTRAP_ID_LEN + 1 + BOOTSTRAP_SECRET_LEN || token[BOOTSTRAP_ID_LEN] != '.')
		return false;
	for (size_t i = 0; token[i]; i++)
		if (i != BOOTSTRAP_ID_LEN && !is_small(token[i]))
			return false;
	return true;
}

/* The decoded value of a Secret's key; "" when it is absent or is no base64. */
static const char *datum(struct arena *a, const json_t *secret, const char *key)
{
	const char *text = json_string_value(json_object_get(json_object_get(secret, "data"), key));
	_cleanup_strbuf_ struct strbuf b = { 0 };
	if (!text || base64_decode(&b, text, strlen(text)) < 0 || !b.len || memchr(b.data, 0, b.len))
		return "";
	return arena_strndup(a, b.data, b.len);
}

static bool is_over(const char *expiration)
{
	int64_t until_us;
	if (!*expiration)
		return false;
	return clock_parse_rfc3339(expiration, &until_us) < 0 || until_us <= clock_wall_us();
}

/* "system:bootstrappers:" and up to 256 of [a-z0-9:-], the last of them a letter or a digit. */
static bool is_extra_group(const char *group)
{
	const char *rest = str_after(group, EXTRA_PREFIX);
	size_t len = rest ? strlen(rest) : 0;
	if (!len || len > GROUP_MAX || !is_small(rest[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_small(rest[i]) && rest[i] != ':' && rest[i] != '-')
			return false;
	return true;
}

/* NULL: one of the Secret's groups is not allowed. */
static const char *const *groups_of(struct arena *a, const char *extra)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	const char **groups;
	size_t n = 0;
	strlist_split(&parts, extra, ',');
	if (parts.count > MAX_EXTRA_GROUPS)
		return NULL;
	groups = arena_alloc(a, (parts.count + 3) * sizeof(*groups));
	groups[n++] = "system:bootstrappers";
	for (size_t i = 0; i < parts.count; i++) {
		if (!is_extra_group(parts.items[i]))
			return NULL;
		groups[n++] = arena_strdup(a, parts.items[i]);
	}
	groups[n++] = "system:authenticated";
	return groups;
}

int bootstrap_token_authenticate(struct registry *g, struct arena *a, const char *token, struct identity *ret)
{
	const char *id = arena_strndup(a, token, BOOTSTRAP_ID_LEN), *secret = token + BOOTSTRAP_ID_LEN + 1, *had;
	const char *const *groups;
	_cleanup_free_ char *key = str_printf("kube-system/bootstrap-token-%s", id);
	struct store_object *o = store_get(g->store, g->secrets->id, key);
	_cleanup_json_ json_t *v = o ? entry_parse(o) : NULL;
	if (!v || object_deleting(v) || !str_eq(json_str(v, "type"), "bootstrap.kubernetes.io/token"))
		return -EACCES;
	had = datum(a, v, "token-secret");
	if (strlen(had) != BOOTSTRAP_SECRET_LEN || CRYPTO_memcmp(had, secret, BOOTSTRAP_SECRET_LEN) != 0)
		return -EACCES;
	if (!str_eq(datum(a, v, "token-id"), id) || is_over(datum(a, v, "expiration")) ||
	    !str_eq(datum(a, v, "usage-bootstrap-authentication"), "true"))
		return -EACCES;
	groups = groups_of(a, datum(a, v, "auth-extra-groups"));
	if (!groups)
		return -EACCES;
	*ret = (struct identity){ .name = arena_printf(a, "system:bootstrap:%s", id), .uid = "", .groups = groups };
	return 0;
}
