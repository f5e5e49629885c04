/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ServiceAccount tokens: JWTs (RFC 7519) with Kubernetes' private claims (KEP-1205). */
#ifndef KEELSON_APISERVER_AUTH_TOKEN_H
#define KEELSON_APISERVER_AUTH_TOKEN_H

#include "apiserver/registry/registry.h"

struct token_keys;
/* PEM files: the private key that signs, and public keys whose tokens are accepted, its own among them (NULL-terminated list of files,
 * each with one key or several): EC of P-256, P-384, P-521, or RSA. Own. */
struct token_keys *token_keys_load(const char *key_file, const char *const *public_files, struct err *err);
struct token_keys *token_keys_free(struct token_keys *k);
/* The signed token for claims (borrow). Own; NULL with err. */
char *token_sign(const struct token_keys *k, const json_t *claims, struct err *err);
/* The claims of a token whose signature and times are right; own, NULL otherwise. */
json_t *token_verify(struct token_keys *k, const char *token, int64_t now_s);
/* The JSON Web Key Set of the keys. Own. */
json_t *token_jwks(const struct token_keys *k);
/* /.well-known/openid-configuration and /openid/v1/jwks. False: another path. */
bool token_serve_discovery(struct call *c, const char *path);

#endif
