// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Signing and verifying ServiceAccount tokens. One key signs; the tokens of every public key that is known are accepted, so that keys
 * can be changed without a token becoming invalid: the new key signs, and the old one's public half stays until its tokens are over.
 */
#include "apiserver/auth/token.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <string.h>

#include "apiserver/auth/jwt.h"
#include "base/file.h"

enum { MAX_KEYS = 32, MAX_FILE_BYTES = 256 * 1024 };

/* Tokens whose signature was found right, by hash: clients send the same one with every request. */
enum { VERIFIED_SLOTS = 64 };
struct verified {
	char *token;
	json_t *claims;
};

struct token_keys {
	EVP_PKEY *private_key;
	struct public_key {
		EVP_PKEY *key;
		char *kid;
	} keys[MAX_KEYS];
	size_t count, signing; /* keys[signing] is the public half of private_key */
	struct verified verified[VERIFIED_SLOTS];
};

static int read_pem(const char *file, struct strbuf *pem, struct err *err)
{
	int rc = file_read(file, MAX_FILE_BYTES, pem);
	return rc ? err_set(err, -rc, "read %s: %s", file, strerror(-rc)) : 0;
}

static EVP_PKEY *read_private(const char *file, struct err *err)
{
	_cleanup_strbuf_ struct strbuf pem = { 0 };
	if (read_pem(file, &pem, err) < 0)
		return NULL;
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	OPENSSL_cleanse(pem.data, pem.len);
	if (key && jwt_alg_of_key(key) != JWT_ALG_MAX)
		return key;
	err_set(err, EINVAL, "%s holds no private key of P-256, P-384, P-521 or RSA (2048 bits or more)", file);
	EVP_PKEY_free(key);
	return NULL;
}

/* Upstream's key id: the SHA-256 of the public key's DER. */
static char *key_id(EVP_PKEY *key)
{
	unsigned char *der = NULL, hash[SHA256_DIGEST_LENGTH];
	struct strbuf b = { 0 };
	int len = i2d_PUBKEY(key, &der);
	BUG_ON(len <= 0);
	SHA256(der, (size_t)len, hash);
	OPENSSL_free(der);
	base64url_encode(&b, hash, sizeof(hash));
	return strbuf_take(&b);
}

/* key is moved. One that is there already is not taken twice. */
static int add_key(struct token_keys *k, EVP_PKEY *key, const char *file, struct err *err)
{
	for (size_t i = 0; i < k->count; i++)
		if (EVP_PKEY_eq(k->keys[i].key, key) == 1) {
			EVP_PKEY_free(key);
			return 0;
		}
	if (k->count == MAX_KEYS) {
		EVP_PKEY_free(key);
		return err_set(err, EINVAL, "%s: there are more than %d keys of ServiceAccount tokens", file, MAX_KEYS);
	}
	k->keys[k->count++] = (struct public_key){ key, key_id(key) };
	return 0;
}

/* Every key of a PEM file: "PUBLIC KEY" (RFC 7468) or "RSA PUBLIC KEY" (PKCS #1). */
static int add_file(struct token_keys *k, const char *file, struct err *err)
{
	_cleanup_strbuf_ struct strbuf pem = { 0 };
	char *name, *header;
	unsigned char *der;
	long len;
	int rc = read_pem(file, &pem, err), found = 0;
	if (rc)
		return rc;
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	while (!rc && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
		const unsigned char *p = der;
		EVP_PKEY *key = str_eq(name, "PUBLIC KEY") ? d2i_PUBKEY(NULL, &p, len) :
				str_eq(name, "RSA PUBLIC KEY") ? d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, len) : NULL;
		found++;
		if (key && jwt_alg_of_key(key) != JWT_ALG_MAX) {
			rc = add_key(k, key, file, err);
		} else {
			EVP_PKEY_free(key);
			rc = err_set(err, EINVAL, "%s: block %d (%s) is no public key of P-256, P-384, P-521 or RSA (2048 bits or more)",
				     file, found, name);
		}
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	BIO_free(bio);
	return rc || found ? rc : err_set(err, EINVAL, "%s holds no public key (PEM)", file);
}

struct token_keys *token_keys_load(const char *key_file, const char *const *public_files, struct err *err)
{
	struct token_keys *k = mem_new(struct token_keys);
	k->private_key = read_private(key_file, err);
	for (size_t i = 0; k->private_key && public_files[i]; i++)
		if (add_file(k, public_files[i], err) < 0)
			return token_keys_free(k);
	if (!k->private_key)
		return token_keys_free(k);
	while (k->signing < k->count && EVP_PKEY_eq(k->private_key, k->keys[k->signing].key) != 1)
		k->signing++;
	if (k->signing < k->count)
		return k;
	err_set(err, EINVAL, "no --sa-public file has the public half of %s: its own tokens would not be accepted", key_file);
	return token_keys_free(k);
}

struct token_keys *token_keys_free(struct token_keys *k)
{
	if (!k)
		return NULL;
	EVP_PKEY_free(k->private_key);
	for (size_t i = 0; i < k->count; i++) {
		EVP_PKEY_free(k->keys[i].key);
		free(k->keys[i].kid);
	}
	for (size_t i = 0; i < VERIFIED_SLOTS; i++) {
		free(k->verified[i].token);
		json_decref(k->verified[i].claims);
	}
	free(k);
	return NULL;
}

char *token_sign(const struct token_keys *k, const json_t *claims, struct err *err)
{
	char *token = jwt_sign(claims, k->keys[k->signing].kid, k->private_key);
	if (!token)
		err_set(err, EIO, "sign a token");
	return token;
}

/* By the key that the token names, or any when it names none or one that is not ours. */
static bool signed_by_us(const struct token_keys *k, const struct jwt *j)
{
	for (size_t i = 0; i < k->count; i++)
		if (str_eq(k->keys[i].kid, j->kid))
			return jwt_signature_fits(j, k->keys[i].key);
	for (size_t i = 0; i < k->count; i++)
		if (jwt_signature_fits(j, k->keys[i].key))
			return true;
	return false;
}

/* The claims of a token with a good signature; own. */
static json_t *signed_claims(const struct token_keys *k, const char *token)
{
	_cleanup_jwt_ struct jwt j = { 0 };
	return jwt_parse(token, &j, NULL) == 0 && signed_by_us(k, &j) ? json_incref(j.claims) : NULL;
}

json_t *token_verify(struct token_keys *k, const char *token, int64_t now_s)
{
	struct verified *slot = &k->verified[hash_str(token) % VERIFIED_SLOTS];
	if (!str_eq(slot->token, token)) {
		json_t *claims = signed_claims(k, token);
		if (!claims)
			return NULL;
		free(slot->token);
		json_decref(slot->claims);
		*slot = (struct verified){ mem_strdup(token), claims };
	}
	if (json_int(slot->claims, "exp", 0) <= now_s || json_int(slot->claims, "nbf", 0) > now_s)
		return NULL;
	return json_incref(slot->claims);
}

json_t *token_jwks(const struct token_keys *k)
{
	json_t *list = json_array();
	for (size_t i = 0; i < k->count; i++)
		json_array_append_new(list, jwt_jwk(k->keys[i].key, k->keys[i].kid));
	return json_pack("{s:o}", "keys", list);
}

static json_t *algorithms(const struct token_keys *k)
{
	bool used[JWT_ALG_MAX] = { false };
	json_t *list = json_array();
	for (size_t i = 0; i < k->count; i++)
		used[jwt_alg_of_key(k->keys[i].key)] = true;
	for (unsigned i = 0; i < JWT_ALG_MAX; i++)
		if (used[i])
			json_array_append_new(list, json_string(jwt_alg_name(i)));
	return list;
}

bool token_serve_discovery(struct call *c, const char *path)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_json_ json_t *v = NULL;
	if (str_eq(path, "/openid/v1/jwks")) {
		v = token_jwks(c->g->keys);
		json_write(&b, v);
		answer_text(c, 200, "application/jwk-set+json", b.data);
		return true;
	}
	if (!str_eq(path, "/.well-known/openid-configuration"))
		return false;
	_cleanup_free_ char *jwks = str_printf("https://%s:%u/openid/v1/jwks", c->g->options.advertise_address, c->g->options.port);
	v = json_pack("{s:s,s:s,s:[s],s:[s],s:o}", "issuer", c->g->options.issuer, "jwks_uri", jwks, "response_types_supported",
		      "id_token", "subject_types_supported", "public", "id_token_signing_alg_values_supported", algorithms(c->g->keys));
	json_write(&b, v);
	answer_text(c, 200, "application/json", b.data);
	return true;
}
