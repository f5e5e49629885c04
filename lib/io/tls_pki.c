/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster's own certificates (RFC 5280, P-256 keys) and the key that signs ServiceAccount tokens. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/tls.h"
#include "io/x509.h"

enum { BACKDATE_S = 300, DAY_S = 86400 };

static void x509p(X509 **p)
{
	X509_free(*p);
}
static void pkeyp(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}
static void biop(BIO **p)
{
	BIO_free(*p);
}

static int pki_err(struct err *err, const char *what, const char *file)
{
	char reason[160];
	unsigned long e = ERR_peek_last_error();

	ERR_error_string_n(e, reason, sizeof(reason));
	ERR_clear_error();
	return err_set(err, EINVAL, "%s%s%s: %s", what, file ? " " : "", file ? file : "", e ? reason : "failed");
}

static bool name_add(X509_NAME *name, int nid, const char *value)
{
	/* The type is given outright, which leaves out OpenSSL's limit of 64 characters: a node's name may be longer. */
	return X509_NAME_add_entry_by_NID(name, nid, V_ASN1_UTF8STRING, (const unsigned char *)value, -1, -1, 0) == 1;
}

static bool name_fill(X509_NAME *name, const struct pki_request *r)
{
	bool ok = name != NULL;

	for (size_t i = 0; ok && r->orgs && r->orgs[i]; i++)
		ok = name_add(name, NID_organizationName, r->orgs[i]);
	return ok && name_add(name, NID_commonName, r->cn);
}

static bool set_subject(X509 *cert, const struct pki_request *r)
{
	X509_NAME *name = X509_NAME_new();
	bool ok = name_fill(name, r) && X509_set_subject_name(cert, name) == 1;

	X509_NAME_free(name);
	return ok;
}

/* Built as a structure, not from a configuration string: a name with a comma in it stays one name. */
static GENERAL_NAME *san_new(const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	unsigned char ip[16];
	int ip_len = inet_pton(AF_INET, text, ip) == 1 ? 4 : inet_pton(AF_INET6, text, ip) == 1 ? 16 : 0;
	ASN1_STRING *s = ip_len ? (ASN1_STRING *)ASN1_OCTET_STRING_new() : (ASN1_STRING *)ASN1_IA5STRING_new();

	if (!name || !s || ASN1_STRING_set(s, ip_len ? (const void *)ip : text, ip_len ? ip_len : -1) != 1) {
		GENERAL_NAME_free(name);
		ASN1_STRING_free(s);
		return NULL;
	}
	GENERAL_NAME_set0_value(name, ip_len ? GEN_IPADD : GEN_DNS, s);
	return name;
}

/* NULL when memory is short or a name cannot be encoded. */
static GENERAL_NAMES *sans_new(const char *const *sans)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	bool ok = names != NULL;

	for (size_t i = 0; ok && sans[i]; i++) {
		GENERAL_NAME *name = san_new(sans[i]);

		ok = name && sk_GENERAL_NAME_push(names, name) > 0;
		if (!ok)
			GENERAL_NAME_free(name);
	}
	if (ok)
		return names;
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return NULL;
}

static bool add_sans(X509 *cert, const char *const *sans)
{
	if (!sans || !sans[0])
		return true;
	GENERAL_NAMES *names = sans_new(sans);
	bool ok = names && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;

	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return ok;
}

static bool csr_add_sans(X509_REQ *csr, const char *const *sans)
{
	if (!sans || !sans[0])
		return true;
	STACK_OF(X509_EXTENSION) *exts = NULL;
	GENERAL_NAMES *names = sans_new(sans);
	bool ok = names && X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 0, 0) == 1 &&
		  X509_REQ_add_extensions(csr, exts) == 1;

	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return ok;
}

static bool add_extensions(X509 *cert, X509 *issuer, const struct pki_request *r)
{
	static const char *const eku[] = {
		[PKI_SERVER] = "serverAuth", [PKI_CLIENT] = "clientAuth", [PKI_SERVER_CLIENT] = "serverAuth,clientAuth",
	};
	bool ca = r->use == PKI_CA;
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	return x509_add_extension(cert, &ctx, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
	       x509_add_extension(cert, &ctx, NID_key_usage,
		       ca ? "critical,digitalSignature,keyCertSign,cRLSign" : "critical,digitalSignature") &&
	       (ca || x509_add_extension(cert, &ctx, NID_ext_key_usage, eku[r->use])) &&
	       x509_add_extension(cert, &ctx, NID_subject_key_identifier, "hash") &&
	       x509_add_extension(cert, &ctx, NID_authority_key_identifier, "keyid:always") && add_sans(cert, r->sans);
}

static int write_pem(const char *file, mode_t mode, X509 *cert, EVP_PKEY *key, EVP_PKEY *public_key, struct err *err)
{
	_cleanup_(biop) BIO *bio = BIO_new(BIO_s_mem());
	bool ok = bio && (!cert || PEM_write_bio_X509(bio, cert) == 1) &&
		  (!key || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) &&
		  (!public_key || PEM_write_bio_PUBKEY(bio, public_key) == 1);
	char *text;
	long len;
	int r;

	if (!ok)
		return pki_err(err, "encode", file);
	len = BIO_get_mem_data(bio, &text);
	r = file_write_atomic(file, text, (size_t)len, mode);
	return r < 0 ? err_set(err, -r, "write %s: %s", file, strerror(-r)) : 0;
}

static int load_ca(const char *cert_file, const char *key_file, X509 **ret_cert, EVP_PKEY **ret_key, struct err *err)
{
	_cleanup_(biop) BIO *cb = BIO_new_file(cert_file, "r");
	_cleanup_(x509p) X509 *cert = cb ? PEM_read_bio_X509(cb, NULL, NULL, NULL) : NULL;

	if (!cert)
		return pki_err(err, "load the CA's certificate", cert_file);
	_cleanup_(biop) BIO *kb = BIO_new_file(key_file, "r");
	_cleanup_(pkeyp) EVP_PKEY *key = kb ? PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL) : NULL;

	if (!key)
		return pki_err(err, "load the CA's key", key_file);
	if (X509_check_private_key(cert, key) != 1)
		return pki_err(err, "the CA's key does not belong to its certificate:", key_file);
	*ret_cert = TAKE(cert);
	*ret_key = TAKE(key);
	return 0;
}

int pki_issue(const struct pki_request *r, const char *ca_cert_file, const char *ca_key_file, const char *cert_file,
	      const char *key_file, struct err *err)
{
	_cleanup_(x509p) X509 *ca = NULL;
	_cleanup_(pkeyp) EVP_PKEY *ca_key = NULL;
	_cleanup_(pkeyp) EVP_PKEY *key = EVP_EC_gen("P-256");
	_cleanup_(x509p) X509 *cert = X509_new();
	X509 *issuer;
	int e;

	if ((!ca_cert_file || !ca_key_file) && r->use != PKI_CA)
		return err_set(err, EINVAL, "certificate for \"%s\": only a CA can sign itself", r->cn);
	if (ca_cert_file && ca_key_file) {
		e = load_ca(ca_cert_file, ca_key_file, &ca, &ca_key, err);
		if (e < 0)
			return e;
	}
	issuer = ca ? ca : cert;
	if (!key || !cert || X509_set_version(cert, X509_VERSION_3) != 1 || !x509_set_random_serial(cert) || !set_subject(cert, r) ||
	    X509_set_issuer_name(cert, X509_get_subject_name(issuer)) != 1 ||
	    !X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) ||
	    !X509_time_adj_ex(X509_getm_notAfter(cert), r->days, 0, NULL) || X509_set_pubkey(cert, key) != 1 ||
	    !add_extensions(cert, issuer, r) || X509_sign(cert, ca_key ? ca_key : key, EVP_sha256()) == 0)
		return pki_err(err, "make the certificate for", r->cn);
	/* The key first: a certificate without its key is what a reader would trip over. */
	e = write_pem(key_file, 0600, NULL, key, NULL, err);
	return e < 0 ? e : write_pem(cert_file, 0644, cert, NULL, NULL, err);
}

static void bio_to_strbuf(BIO *bio, struct strbuf *out)
{
	char *text;
	long len = BIO_get_mem_data(bio, &text);

	strbuf_add(out, text, (size_t)len);
}

int pki_csr(const struct pki_request *r, struct strbuf *key_pem, struct strbuf *csr_pem, struct err *err)
{
	_cleanup_(pkeyp) EVP_PKEY *key = EVP_EC_gen("P-256");
	_cleanup_(biop) BIO *key_bio = BIO_new(BIO_s_mem()), *csr_bio = BIO_new(BIO_s_mem());
	X509_REQ *csr = X509_REQ_new();
	bool ok = key && key_bio && csr_bio && csr && name_fill(X509_REQ_get_subject_name(csr), r) &&
		  csr_add_sans(csr, r->sans) && X509_REQ_set_pubkey(csr, key) == 1 && X509_REQ_sign(csr, key, EVP_sha256()) > 0 &&
		  PEM_write_bio_X509_REQ(csr_bio, csr) == 1 &&
		  PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1;

	X509_REQ_free(csr);
	if (!ok)
		return pki_err(err, "make a certificate signing request for", r->cn);
	bio_to_strbuf(key_bio, key_pem);
	bio_to_strbuf(csr_bio, csr_pem);
	return 0;
}

int pki_public_key_hash(const char *cert_pem, char ret[static PKI_HASH_SIZE], struct err *err)
{
	_cleanup_(biop) BIO *bio = BIO_new_mem_buf(cert_pem, -1);
	_cleanup_(x509p) X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	_cleanup_strbuf_ struct strbuf hex = { 0 };
	unsigned char digest[EVP_MAX_MD_SIZE], *der = NULL;
	unsigned digest_len = 0;
	int der_len = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : -1;
	bool ok = der_len > 0 && EVP_Digest(der, (size_t)der_len, digest, &digest_len, EVP_sha256(), NULL) == 1;

	OPENSSL_free(der);
	if (!ok)
		return pki_err(err, "read a certificate", NULL);
	hex_encode(&hex, digest, digest_len);
	memcpy(ret, hex.data, PKI_HASH_SIZE);
	return 0;
}

int pki_signing_key(const char *key_file, const char *public_file, struct err *err)
{
	_cleanup_(pkeyp) EVP_PKEY *key = EVP_EC_gen("P-256");
	int r;

	if (!key)
		return pki_err(err, "make a signing key", NULL);
	r = write_pem(key_file, 0600, NULL, key, NULL, err);
	return r < 0 ? r : write_pem(public_file, 0644, NULL, NULL, key, err);
}
