/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON Web Tokens in compact form (RFC 7515, 7519), signatures of RFC 7518 by OpenSSL, keys as JWKs (RFC 7517). Pure. */
#ifndef KEELSON_APISERVER_AUTH_JWT_H
#define KEELSON_APISERVER_AUTH_JWT_H

#include <openssl/evp.h>

#include "base/err.h"
#include "kube/json.h"

/* Symmetric algorithms and "none" are not there: nobody's public key can be taken for a secret. */
enum jwt_alg { JWT_ES256, JWT_ES384, JWT_ES512, JWT_RS256, JWT_RS384, JWT_RS512, JWT_PS256, JWT_PS384, JWT_PS512, JWT_ALG_MAX };
const char *jwt_alg_name(enum jwt_alg alg);
enum jwt_alg jwt_alg_find(const char *name); /* JWT_ALG_MAX: none of ours */
/* The algorithm that a key signs with: by its curve, RS256 for RSA of 2048 to 16384 bits. JWT_ALG_MAX: none of ours. */
enum jwt_alg jwt_alg_of_key(const EVP_PKEY *key);

enum { JWT_MAX_BYTES = 16384 };
struct jwt {
	json_t *header, *claims;    /* own; objects without duplicate keys */
	enum jwt_alg alg;
	const char *kid;            /* "" without; in header */
	const char *text;           /* borrow: the token; the first signed_len bytes are signed */
	size_t signed_len;
	struct strbuf signature;
};
/* Splits and decodes a token (borrowed by *ret) and says nothing of its signature. -EINVAL with err: malformed, too long, an
 * algorithm that is not ours, a critical header. *ret is always to be given to jwt_done(). */
int jwt_parse(const char *token, struct jwt *ret, struct err *err);
void jwt_done(struct jwt *j);
#define _cleanup_jwt_ _cleanup_(jwt_done)
/* The signature is the key's, by an algorithm that is one of the key's kind (its curve's, any of RSA's). */
bool jwt_signature_fits(const struct jwt *j, EVP_PKEY *key);
/* claims (borrow) signed with a private key. Own; NULL when OpenSSL refuses. */
char *jwt_sign(const json_t *claims, const char *kid, EVP_PKEY *key);
/* The public half as a JWK for signatures; own. */
json_t *jwt_jwk(const EVP_PKEY *key, const char *kid);
/* The public key of a JWK that is for signatures and of an algorithm of ours; own, NULL for others. */
EVP_PKEY *jwt_key_of_jwk(const json_t *jwk);

#endif
