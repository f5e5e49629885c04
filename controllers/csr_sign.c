// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Signing: a certificate (RFC 5280) with the subject, key and alternative names of the request and the usages of the object. The CA's
 * files are read at each signature, so that a new CA is used without a restart and its key is in memory only meanwhile.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "controllers/csr.h"
#include "controllers/csr_internal.h"
#include "io/x509.h"

enum { BACKDATE_S = 300, SHORT_S = 8 * 3600, MIN_S = 600, YEAR_S = 365 * 86400 };

struct ca {
	X509 *cert;
	EVP_PKEY *key;
};

static void ca_done(struct ca *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

static int openssl_err(struct err *err, const char *what, const char *file)
{
	char reason[160];
	unsigned long e = ERR_peek_last_error();

	ERR_error_string_n(e, reason, sizeof(reason));
	ERR_clear_error();
	return err_set(err, EIO, "%s %s: %s", what, file, e ? reason : "failed");
}

static int ca_load(const char *cert_file, const char *key_file, struct ca *ca, struct err *err)
{
	BIO *bio = BIO_new_file(cert_file, "r");

	ca->cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	if (!ca->cert)
		return openssl_err(err, "read the signing certificate", cert_file);
	bio = BIO_new_file(key_file, "r");
	ca->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	if (!ca->key)
		return openssl_err(err, "read the signing key", key_file);
	if (X509_check_ca(ca->cert) < 1 || X509_check_private_key(ca->cert, ca->key) != 1)
		return openssl_err(err, "use as a CA, with the key of the other option,", cert_file);
	return 0;
}

int csr_check_ca(const char *ca_cert_file, const char *ca_key_file, struct err *err)
{
	_cleanup_(ca_done) struct ca ca = { 0 };

	return ca_load(ca_cert_file, ca_key_file, &ca, err);
}

/* The usages that a signer of ours allows, as the two extensions name them. */
static bool add_usages(X509 *cert, X509V3_CTX *ctx, const json_t *csr)
{
	static const struct {
		const char *usage, *key, *extended;
	} table[] = {
		{ "digital signature", "digitalSignature", NULL },
		{ "key encipherment", "keyEncipherment", NULL },
		{ "client auth", NULL, "clientAuth" },
		{ "server auth", NULL, "serverAuth" },
	};
	_cleanup_strbuf_ struct strbuf key = { 0 }, extended = { 0 };
	json_t *v;
	size_t i;

	strbuf_adds(&key, "critical");
	json_array_foreach(json_at(csr, "spec.usages"), i, v) {
		for (size_t t = 0; t < ARRAY_SIZE(table); t++) {
			if (!str_eq(json_string_value(v), table[t].usage))
				continue;
			if (table[t].key)
				strbuf_addf(&key, ",%s", table[t].key);
			else
				strbuf_addf(&extended, "%s%s", extended.len ? "," : "", table[t].extended);
		}
	}
	if (strchr(key.data, ',') && !x509_add_extension(cert, ctx, NID_key_usage, key.data))
		return false;
	return !extended.len || x509_add_extension(cert, ctx, NID_ext_key_usage, extended.data);
}

static bool add_sans(X509 *cert, X509_REQ *req)
{
	STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
	GENERAL_NAMES *names = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);
	bool ok = sk_GENERAL_NAME_num(names) <= 0 || X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;

	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	return ok;
}

/* Short-lived ones are not dated back: they would lose a good part of their life. Never beyond the CA's. */
static bool set_times(X509 *cert, const json_t *csr, const X509 *ca)
{
	int64_t life_s = json_int(csr, "spec.expirationSeconds", YEAR_S);

	life_s = MAX(MIN(life_s, (int64_t)YEAR_S), (int64_t)MIN_S);
	if (!X509_gmtime_adj(X509_getm_notBefore(cert), life_s < SHORT_S ? 0 : -BACKDATE_S) ||
	    !X509_gmtime_adj(X509_getm_notAfter(cert), (long)life_s))
		return false;
	if (ASN1_TIME_compare(X509_get0_notAfter(cert), X509_get0_notAfter(ca)) <= 0)
		return true;
	return X509_set1_notAfter(cert, X509_get0_notAfter(ca)) == 1;
}

static bool fill(X509 *cert, X509_REQ *req, const json_t *csr, const struct ca *ca)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, ca->cert, cert, NULL, NULL, 0);
	return X509_set_version(cert, X509_VERSION_3) == 1 && x509_set_random_serial(cert) &&
	       X509_set_subject_name(cert, X509_REQ_get_subject_name(req)) == 1 &&
	       X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) == 1 && set_times(cert, csr, ca->cert) &&
	       X509_set_pubkey(cert, X509_REQ_get0_pubkey(req)) == 1 && add_usages(cert, &ctx, csr) &&
	       x509_add_extension(cert, &ctx, NID_basic_constraints, "critical,CA:FALSE") &&
	       x509_add_extension(cert, &ctx, NID_authority_key_identifier, "keyid") && add_sans(cert, req);
}

static bool is_edwards(const EVP_PKEY *key)
{
	return EVP_PKEY_base_id(key) == EVP_PKEY_ED25519 || EVP_PKEY_base_id(key) == EVP_PKEY_ED448;
}

static char *pem_of(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL, *pem = NULL;
	long len;

	if (bio && PEM_write_bio_X509(bio, cert) == 1) {
		len = BIO_get_mem_data(bio, &text);
		pem = mem_strndup(text, (size_t)len);
	}
	BIO_free(bio);
	return pem;
}

int csr_sign(const json_t *csr, const char *ca_cert_file, const char *ca_key_file, char **ret_pem, struct err *err)
{
	_cleanup_(ca_done) struct ca ca = { 0 };
	char *pem = NULL;
	X509_REQ *req;
	X509 *cert;
	int r = ca_load(ca_cert_file, ca_key_file, &ca, err);

	if (r < 0)
		return r;
	req = csr_parse(csr);
	cert = X509_new();
	if (req && cert && X509_REQ_get0_pubkey(req) && fill(cert, req, csr, &ca) &&
	    X509_sign(cert, ca.key, is_edwards(ca.key) ? NULL : EVP_sha256()) > 0)
		pem = pem_of(cert);
	X509_free(cert);
	X509_REQ_free(req);
	if (!pem)
		return openssl_err(err, "sign with", ca_cert_file);
	*ret_pem = pem;
	return 0;
}
