// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Signing and verifying ServiceAccount tokens. Only ES256 with our own key is accepted: the algorithm that a token names
 * chooses nothing.
 */
#include "apiserver/auth/token.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/file.h"

enum { SIGNATURE_BYTES = 64, HALF = 32, MAX_TOKEN_BYTES = 16384 };

/* Tokens whose signature was found right, by hash: clients send the same one with every request. */
enum { VERIFIED_SLOTS = 64 };
struct verified {
	char *token;
	json_t *claims;
};

struct token_keys {
	EVP_PKEY *private_key, *public_key;
	char *kid;
	struct verified verified[VERIFIED_SLOTS];
};

static EVP_PKEY *read_key(const char *file, bool private_key, struct err *err)
{
	_cleanup_strbuf_ struct strbuf pem = { 0 };
	EVP_PKEY *key;
	int rc = file_read(file, 64 * 1024, &pem);
	if (rc) {
		err_set(err, -rc, "read %s: %s", file, strerror(-rc));
		return NULL;
	}
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	key = private_key ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	BIO_free(bio);
	OPENSSL_cleanse(pem.data, pem.len);
	if (!key || EVP_PKEY_base_id(key) != EVP_PKEY_EC || EVP_PKEY_bits(key) != 256) {
		err_set(err, EINVAL, "%s holds no P-256 %s key", file, private_key ? "private" : "public");
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
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

struct token_keys *token_keys_load(const char *key_file, const char *public_file, struct err *err)
{
	struct token_keys *k = mem_new(struct token_keys);
	k->private_key = read_key(key_file, true, err);
	k->public_key = k->private_key ? read_key(public_file, false, err) : NULL;
	if (!k->public_key)
		return token_keys_free(k);
	if (EVP_PKEY_eq(k->private_key, k->public_key) != 1) {
		err_set(err, EINVAL, "%s is not the public half of %s", public_file, key_file);
		return token_keys_free(k);
	}
	k->kid = key_id(k->public_key);
	return k;
}

struct token_keys *token_keys_free(struct token_keys *k)
{
	if (!k)
		return NULL;
	EVP_PKEY_free(k->private_key);
	EVP_PKEY_free(k->public_key);
	for (size_t i = 0; i < VERIFIED_SLOTS; i++) {
		free(k->verified[i].token);
		json_decref(k->verified[i].claims);
	}
	free(k->kid);
	free(k);
	return NULL;
}

/* DER to the fixed r || s of RFC 7518 section 3.4. */
static bool der_to_raw(const unsigned char *der, size_t len, unsigned char raw[static SIGNATURE_BYTES])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
	bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, HALF) == HALF &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + HALF, HALF) == HALF;
	ECDSA_SIG_free(sig);
	return ok;
}

static unsigned char *raw_to_der(const unsigned char *raw, size_t *ret_len)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	unsigned char *der = NULL;
	ECDSA_SIG_set0(sig, BN_bin2bn(raw, HALF, NULL), BN_bin2bn(raw + HALF, HALF, NULL));
	int len = i2d_ECDSA_SIG(sig, &der);
	ECDSA_SIG_free(sig);
	*ret_len = len > 0 ? (size_t)len : 0;
	return der;
}

static void add_part(struct strbuf *b, const json_t *v)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	json_write(&text, v);
	base64url_encode(b, text.data, text.len);
}

char *token_sign(const struct token_keys *k, const json_t *claims, struct err *err)
{
	struct strbuf b = { 0 };
	_cleanup_json_ json_t *header = json_pack("{s:s,s:s}", "alg", "ES256", "kid", k->kid);
	unsigned char der[128], raw[SIGNATURE_BYTES];
	size_t len = sizeof(der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	add_part(&b, header);
	strbuf_addc(&b, '.');
	add_part(&b, claims);
	bool ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->private_key) == 1 &&
		  EVP_DigestSign(ctx, der, &len, (const unsigned char *)b.data, b.len) == 1 && der_to_raw(der, len, raw);
	EVP_MD_CTX_free(ctx);
	if (!ok) {
		strbuf_done(&b);
		err_set(err, EIO, "sign a token");
		return NULL;
	}
	strbuf_addc(&b, '.');
	base64url_encode(&b, raw, sizeof(raw));
	return strbuf_take(&b);
}

static bool signature_fits(const struct token_keys *k, const char *token, size_t signed_len, const char *signature)
{
	_cleanup_strbuf_ struct strbuf raw = { 0 };
	size_t len = 0;
	if (base64url_decode(&raw, signature, strlen(signature)) < 0 || raw.len != SIGNATURE_BYTES)
		return false;
	unsigned char *der = raw_to_der((const unsigned char *)raw.data, &len);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = der && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->public_key) == 1 &&
		  EVP_DigestVerify(ctx, der, len, (const unsigned char *)token, signed_len) == 1;
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	return ok;
}

static json_t *decode_part(const char *s, size_t len)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	if (base64url_decode(&text, s, len) < 0 || !text.len)
		return NULL;
	json_t *v = json_parse(text.data, text.len, NULL, NULL);
	if (json_is_object(v))
		return v;
	json_decref(v);
	return NULL;
}

/* The claims of a token with a good signature; own. */
static json_t *signed_claims(const struct token_keys *k, const char *token)
{
	const char *first = strchr(token, '.'), *second = first ? strchr(first + 1, '.') : NULL;
	_cleanup_json_ json_t *header = NULL;
	if (!second || strchr(second + 1, '.') || strlen(token) > MAX_TOKEN_BYTES)
		return NULL;
	header = decode_part(token, (size_t)(first - token));
	if (!header || !str_eq(json_string_value(json_object_get(header, "alg")), "ES256"))
		return NULL;
	if (!signature_fits(k, token, (size_t)(second - token), second + 1))
		return NULL;
	return decode_part(first + 1, (size_t)(second - first - 1));
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
	unsigned char point[65];
	size_t len = 0;
	_cleanup_strbuf_ struct strbuf x = { 0 }, y = { 0 };
	if (EVP_PKEY_get_octet_string_param(k->public_key, "pub", point, sizeof(point), &len) != 1 || len != sizeof(point))
		return json_pack("{s:[]}", "keys");
	base64url_encode(&x, point + 1, HALF);
	base64url_encode(&y, point + 1 + HALF, HALF);
	return json_pack("{s:[{s:s,s:s,s:s,s:s,s:s,s:s,s:s}]}", "keys", "use", "sig", "kty", "EC", "kid", k->kid, "crv", "P-256", "alg",
			 "ES256", "x", x.data, "y", y.data);
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
	v = json_pack("{s:s,s:s,s:[s],s:[s],s:[s]}", "issuer", c->g->options.issuer, "jwks_uri", jwks, "response_types_supported",
		      "id_token", "subject_types_supported", "public", "id_token_signing_alg_values_supported", "ES256");
	json_write(&b, v);
	answer_text(c, 200, "application/json", b.data);
	return true;
}
