/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links apiserver kube io base */
/*
 * Bearer tokens from anybody. Read as they are; and with the input as payload in a token of our own, which has to come back as it
 * was, and not with a changed signature.
 */
#include <openssl/ec.h>

#include "apiserver/auth/jwt.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EVP_PKEY *key(void)
{
	static EVP_PKEY *one;
	if (!one)
		one = EVP_EC_gen("P-256");
	return one;
}

static void read_token(const char *token)
{
	_cleanup_jwt_ struct jwt j = { 0 };
	_cleanup_err_ struct err err = { 0 };
	if (jwt_parse(token, &j, &err) < 0) {
		BUG_ON(!err.message);
		return;
	}
	BUG_ON(!json_is_object(j.claims) || !json_is_object(j.header) || j.alg >= JWT_ALG_MAX || !j.signature.len);
	/* Nobody signs for a key made here. */
	BUG_ON(jwt_signature_fits(&j, key()));
}

static void round_trip(const char *text, size_t len)
{
	_cleanup_json_ json_t *claims = json_parse_peer(text, len, NULL, NULL);
	if (!json_is_object(claims))
		return;
	_cleanup_free_ char *token = jwt_sign(claims, "k", key());
	_cleanup_jwt_ struct jwt j = { 0 };
	BUG_ON(!token);
	if (strlen(token) > JWT_MAX_BYTES)
		return;
	BUG_ON(jwt_parse(token, &j, NULL) < 0);
	BUG_ON(!json_same(j.claims, claims) || !jwt_signature_fits(&j, key()));
	j.signature.data[len % j.signature.len] ^= 1;
	BUG_ON(jwt_signature_fits(&j, key()));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = mem_strndup((const char *)data, size);
	read_token(text);
	round_trip(text, strlen(text));
	return 0;
}
