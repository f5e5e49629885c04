// SPDX-License-Identifier: GPL-2.0-or-later
/* What bootstrap tokens say, and the signatures by which whoever has one can trust kube-public/cluster-info. */
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/mem.h"
#include "controllers/bootstrap.h"
#include "kube/object.h"

enum { ID_LEN = 6, SECRET_LEN = 16 };

char *bootstrap_datum(const json_t *secret, const char *key)
{
	const char *text = json_string_value(json_object_get(json_object_get(secret, "data"), key));
	_cleanup_strbuf_ struct strbuf b = { 0 };

	if (!text || base64_decode(&b, text, strlen(text)) < 0 || !b.len || memchr(b.data, 0, b.len))
		return mem_strdup("");
	return strbuf_take(&b);
}

int64_t bootstrap_expires_s(const json_t *secret)
{
	_cleanup_free_ char *text = bootstrap_datum(secret, "expiration");
	int64_t us;

	if (!*text)
		return INT64_MAX;
	return clock_parse_rfc3339(text, &us) < 0 ? 0 : us / 1000000;
}

static bool is_plain(const char *s, size_t len)
{
	return strlen(s) == len && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789") == len;
}

char *bootstrap_sign(const char *id, const char *secret, const char *content)
{
	_cleanup_free_ char *header = str_printf("{\"alg\":\"HS256\",\"kid\":\"%s\"}", id);
	_cleanup_strbuf_ struct strbuf head = { 0 }, input = { 0 };
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	struct strbuf out = { 0 };

	base64url_encode(&head, header, strlen(header));
	strbuf_addf(&input, "%s.", head.data);
	base64url_encode(&input, content, strlen(content));
	BUG_ON(!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)input.data, input.len, mac, &len));
	strbuf_addf(&out, "%s..", head.data);
	base64url_encode(&out, mac, len);
	return strbuf_take(&out);
}

json_t *bootstrap_signatures(const json_t *cluster_info, const struct object_list *tokens, int64_t now_s)
{
	const char *content = json_str(cluster_info, "data.kubeconfig");
	json_t *all = json_object();

	for (size_t i = 0; content && i < tokens->count; i++) {
		const json_t *token = tokens->items[i];
		_cleanup_free_ char *id = bootstrap_datum(token, "token-id"), *secret = bootstrap_datum(token, "token-secret");
		_cleanup_free_ char *usage = bootstrap_datum(token, "usage-bootstrap-signing");
		_cleanup_free_ char *name = str_printf("bootstrap-token-%s", id), *key = str_printf(JWS_PREFIX "%s", id);

		if (object_deleting(token) || !is_plain(id, ID_LEN) || !is_plain(secret, SECRET_LEN) ||
		    !str_eq(object_name(token), name) || !str_eq(usage, "true") || bootstrap_expires_s(token) <= now_s)
			continue;
		_cleanup_free_ char *jws = bootstrap_sign(id, secret, content);
		json_object_set_new(all, key, json_string(jws));
	}
	return all;
}
