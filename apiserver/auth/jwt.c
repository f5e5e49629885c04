// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading, checking and signing JSON Web Tokens. What a token names chooses nothing: the key says by which algorithm it is used. */
#include "apiserver/auth/jwt.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/mem.h"

/* half: bytes of half an ECDSA signature, and of a coordinate; 0 for RSA. */
static const struct {
	const char *name, *curve;
	unsigned half;
	const EVP_MD *(*digest)(void);
	bool pss;
} algs[JWT_ALG_MAX] = {
	[JWT_ES256] = { "ES256", "P-256", 32, EVP_sha256, false },
	[JWT_ES384] = { "ES384", "P-384", 48, EVP_sha384, false },
	[JWT_ES512] = { "ES512", "P-521", 66, EVP_sha512, false },
	[JWT_RS256] = { "RS256", NULL, 0, EVP_sha256, false },
	[JWT_RS384] = { "RS384", NULL, 0, EVP_sha384, false },
	[JWT_RS512] = { "RS512", NULL, 0, EVP_sha512, false },
	[JWT_PS256] = { "PS256", NULL, 0, EVP_sha256, true },
	[JWT_PS384] = { "PS384", NULL, 0, EVP_sha384, true },
	[JWT_PS512] = { "PS512", NULL, 0, EVP_sha512, true },
};
enum { RSA_MIN_BITS = 2048, RSA_MAX_BITS = 16384, MAX_HALF = 66 };

const char *jwt_alg_name(enum jwt_alg alg)
{
	return algs[alg].name;
}

enum jwt_alg jwt_alg_find(const char *name)
{
	unsigned i = 0;
	while (i < JWT_ALG_MAX && !str_eq(algs[i].name, name))
		i++;
	return i;
}

enum jwt_alg jwt_alg_of_key(const EVP_PKEY *key)
{
	int bits = EVP_PKEY_get_bits(key);
	char curve[32] = "";
	if (EVP_PKEY_is_a(key, "RSA"))
		return bits >= RSA_MIN_BITS && bits <= RSA_MAX_BITS ? JWT_RS256 : JWT_ALG_MAX;
	if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) != 1)
		return JWT_ALG_MAX;
	for (unsigned i = 0; i < JWT_ALG_MAX; i++)
		if (algs[i].curve && OBJ_sn2nid(curve) != NID_undef && EC_curve_nist2nid(algs[i].curve) == OBJ_sn2nid(curve))
			return i;
	return JWT_ALG_MAX;
}

/* Reading */

static json_t *decode_part(const char *s, size_t len, const char *what, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist twice = { 0 };
	if (base64url_decode(&text, s, len) < 0 || !text.len) {
		err_set(err, EINVAL, "the token's %s is no base64url", what);
		return NULL;
	}
	json_t *v = json_parse_peer(text.data, text.len, &twice, NULL);
	if (json_is_object(v) && !twice.count)
		return v;
	json_decref(v);
	/* Two readers could take different ones for the claim. */
	err_set(err, EINVAL, twice.count ? "the token's %s has a member twice" : "the token's %s is no JSON object", what);
	return NULL;
}

static int read_header(struct jwt *j, struct err *err)
{
	const char *alg = json_string_value(json_object_get(j->header, "alg"));
	const json_t *kid = json_object_get(j->header, "kid");
	j->alg = jwt_alg_find(alg);
	if (j->alg == JWT_ALG_MAX)
		return err_set(err, EINVAL, "the token's algorithm is not supported");
	if (json_object_get(j->header, "crit"))
		return err_set(err, EINVAL, "the token has critical headers, of which none is known");
	if (kid && !json_is_string(kid))
		return err_set(err, EINVAL, "the token's kid is no string");
	j->kid = kid ? json_string_value(kid) : "";
	return 0;
}

int jwt_parse(const char *token, struct jwt *ret, struct err *err)
{
	const char *first, *second;
	*ret = (struct jwt){ .text = token, .kid = "" };
	if (strnlen(token, JWT_MAX_BYTES + 1) > JWT_MAX_BYTES)
		return err_set(err, EINVAL, "the token is longer than %d bytes", JWT_MAX_BYTES);
	first = strchr(token, '.');
	second = first ? strchr(first + 1, '.') : NULL;
	if (!second || strchr(second + 1, '.'))
		return err_set(err, EINVAL, "the token has not three parts");
	ret->signed_len = (size_t)(second - token);
	ret->header = decode_part(token, (size_t)(first - token), "header", err);
	if (!ret->header || read_header(ret, err) < 0)
		return -EINVAL;
	if (base64url_decode(&ret->signature, second + 1, strlen(second + 1)) < 0 || !ret->signature.len)
		return err_set(err, EINVAL, "the token's signature is no base64url");
	ret->claims = decode_part(first + 1, (size_t)(second - first - 1), "payload", err);
	return ret->claims ? 0 : -EINVAL;
}

void jwt_done(struct jwt *j)
{
	json_decref(j->header);
	json_decref(j->claims);
	strbuf_done(&j->signature);
	*j = (struct jwt){ 0 };
}

/* Signatures. ECDSA's are the fixed r || s of RFC 7518 section 3.4, OpenSSL's are DER. */

static bool der_to_raw(const unsigned char *der, size_t len, unsigned half, unsigned char *raw)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
	bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int)half) == (int)half &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + half, (int)half) == (int)half;
	ECDSA_SIG_free(sig);
	return ok;
}

static unsigned char *raw_to_der(const unsigned char *raw, unsigned half, size_t *ret_len)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	unsigned char *der = NULL;
	ECDSA_SIG_set0(sig, BN_bin2bn(raw, (int)half, NULL), BN_bin2bn(raw + half, (int)half, NULL));
	int len = i2d_ECDSA_SIG(sig, &der);
	ECDSA_SIG_free(sig);
	*ret_len = len > 0 ? (size_t)len : 0;
	return der;
}

static bool of_one_kind(enum jwt_alg alg, const EVP_PKEY *key)
{
	enum jwt_alg own = jwt_alg_of_key(key);
	return own == alg || (own == JWT_RS256 && !algs[alg].curve);
}

static bool begin_verify(EVP_MD_CTX *ctx, enum jwt_alg alg, EVP_PKEY *key)
{
	EVP_PKEY_CTX *p = NULL;
	if (EVP_DigestVerifyInit(ctx, &p, algs[alg].digest(), NULL, key) != 1)
		return false;
	return !algs[alg].pss || (EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING) == 1 &&
				  EVP_PKEY_CTX_set_rsa_pss_saltlen(p, RSA_PSS_SALTLEN_DIGEST) == 1);
}

bool jwt_signature_fits(const struct jwt *j, EVP_PKEY *key)
{
	const unsigned half = algs[j->alg].half;
	unsigned char *der = NULL;
	const unsigned char *signature = (const unsigned char *)j->signature.data;
	size_t len = j->signature.len;
	if (!of_one_kind(j->alg, key) || (half && len != 2 * (size_t)half))
		return false;
	if (half)
		signature = der = raw_to_der(signature, half, &len);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = signature && begin_verify(ctx, j->alg, key) &&
		  EVP_DigestVerify(ctx, signature, len, (const unsigned char *)j->text, j->signed_len) == 1;
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	return ok;
}

static void add_part(struct strbuf *b, const json_t *v)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	json_write(&text, v);
	base64url_encode(b, text.data, text.len);
}

char *jwt_sign(const json_t *claims, const char *kid, EVP_PKEY *key)
{
	enum jwt_alg alg = jwt_alg_of_key(key);
	unsigned char signature[RSA_MAX_BITS / 8], raw[2 * MAX_HALF];
	size_t len = sizeof(signature);
	struct strbuf b = { 0 };
	if (alg == JWT_ALG_MAX)
		return NULL;
	_cleanup_json_ json_t *header = json_pack("{s:s,s:s}", "alg", algs[alg].name, "kid", kid);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	add_part(&b, header);
	strbuf_addc(&b, '.');
	add_part(&b, claims);
	bool ok = EVP_DigestSignInit(ctx, NULL, algs[alg].digest(), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, signature, &len, (const unsigned char *)b.data, b.len) == 1 &&
		  (!algs[alg].half || der_to_raw(signature, len, algs[alg].half, raw));
	EVP_MD_CTX_free(ctx);
	if (!ok) {
		strbuf_done(&b);
		return NULL;
	}
	strbuf_addc(&b, '.');
	base64url_encode(&b, algs[alg].half ? raw : signature, algs[alg].half ? 2 * (size_t)algs[alg].half : len);
	return strbuf_take(&b);
}

/* Keys */

static void set_number(json_t *jwk, const char *name, const EVP_PKEY *key, const char *param, unsigned width)
{
	BIGNUM *n = NULL;
	unsigned char bytes[RSA_MAX_BITS / 8];
	_cleanup_strbuf_ struct strbuf text = { 0 };
	if (EVP_PKEY_get_bn_param(key, param, &n) != 1)
		return;
	int len = width ? (int)width : BN_num_bytes(n);
	if (len <= (int)sizeof(bytes) && BN_bn2binpad(n, bytes, len) == len) {
		base64url_encode(&text, bytes, (size_t)len);
		json_object_set_new(jwk, name, json_string(text.data));
	}
	BN_free(n);
}

json_t *jwt_jwk(const EVP_PKEY *key, const char *kid)
{
	enum jwt_alg alg = jwt_alg_of_key(key);
	BUG_ON(alg == JWT_ALG_MAX);
	json_t *jwk = json_pack("{s:s,s:s,s:s,s:s}", "use", "sig", "kty", algs[alg].curve ? "EC" : "RSA", "kid", kid, "alg",
				algs[alg].name);
	if (algs[alg].curve) {
		json_object_set_new(jwk, "crv", json_string(algs[alg].curve));
		set_number(jwk, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, algs[alg].half);
		set_number(jwk, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, algs[alg].half);
	} else {
		set_number(jwk, "n", key, OSSL_PKEY_PARAM_RSA_N, 0);
		set_number(jwk, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
	}
	return jwk;
}

static bool member_bytes(const json_t *jwk, const char *name, struct strbuf *out)
{
	const json_t *v = json_object_get(jwk, name);
	return json_is_string(v) && base64url_decode(out, json_string_value(v), json_string_length(v)) == 0 && out->len &&
	       out->len <= RSA_MAX_BITS / 8;
}

static EVP_PKEY *key_of_params(const char *kind, OSSL_PARAM_BLD *build)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
	EVP_PKEY *key = NULL;
	if (!params || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return key;
}

static EVP_PKEY *rsa_of_jwk(const json_t *jwk)
{
	_cleanup_strbuf_ struct strbuf n = { 0 }, e = { 0 };
	if (!member_bytes(jwk, "n", &n) || !member_bytes(jwk, "e", &e) || e.len > 8)
		return NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	BIGNUM *bn = BN_bin2bn((unsigned char *)n.data, (int)n.len, NULL), *be = BN_bin2bn((unsigned char *)e.data, (int)e.len, NULL);
	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn);
	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, be);
	EVP_PKEY *key = BN_is_odd(be) && !BN_is_one(be) ? key_of_params("RSA", build) : NULL;
	OSSL_PARAM_BLD_free(build);
	BN_free(bn);
	BN_free(be);
	return key;
}

static EVP_PKEY *ec_of_jwk(const json_t *jwk)
{
	_cleanup_strbuf_ struct strbuf x = { 0 }, y = { 0 }, point = { 0 };
	const char *curve = json_string_value(json_object_get(jwk, "crv"));
	unsigned i = 0;
	while (i < JWT_ALG_MAX && !(algs[i].curve && str_eq(algs[i].curve, curve)))
		i++;
	if (i == JWT_ALG_MAX || !member_bytes(jwk, "x", &x) || !member_bytes(jwk, "y", &y) || x.len != algs[i].half ||
	    y.len != algs[i].half)
		return NULL;
	strbuf_addc(&point, 4); /* uncompressed; OpenSSL checks that it is on the curve */
	strbuf_add(&point, x.data, x.len);
	strbuf_add(&point, y.data, y.len);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0);
	OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len);
	EVP_PKEY *key = key_of_params("EC", build);
	OSSL_PARAM_BLD_free(build);
	return key;
}

EVP_PKEY *jwt_key_of_jwk(const json_t *jwk)
{
	const char *kind = json_string_value(json_object_get(jwk, "kty")), *use = json_string_value(json_object_get(jwk, "use"));
	EVP_PKEY *key = use && !str_eq(use, "sig") ? NULL : str_eq(kind, "RSA") ? rsa_of_jwk(jwk) : str_eq(kind, "EC") ? ec_of_jwk(jwk) :
														 NULL;
	if (!key || jwt_alg_of_key(key) != JWT_ALG_MAX)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}
