/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PKI: what is in the certificates, that chains verify for their use only, file modes, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/tls.h"

static char dir[] = "/tmp/http-tls-test-XXXXXX";
static char path_buf[8][128];

static const char *path(const char *name)
{
	static unsigned n;
	char *p = path_buf[n++ % 8];

	snprintf(p, sizeof(path_buf[0]), "%s/%s", dir, name);
	return p;
}

static void issue(const char *name, const struct pki_request *r)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *crt = str_printf("%s/%s.crt", dir, name), *key = str_printf("%s/%s.key", dir, name);
	bool ca = r->use == PKI_CA;

	if (pki_issue(r, ca ? NULL : path("ca.crt"), ca ? NULL : path("ca.key"), crt, key, &err) != 0)
		fail_msg("%s", err_msg(&err));
}

static int setup(void **state _unused_)
{
	struct pki_request ca = { .cn = "kubernetes", .use = PKI_CA, .days = 3650 };

	if (!mkdtemp(dir))
		return -1;
	issue("ca", &ca);
	return 0;
}

static int teardown(void **state _unused_)
{
	return file_rm_rf(dir);
}

static X509 *load(const char *name)
{
	FILE *f = fopen(path(name), "r");
	X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	assert_non_null(cert);
	fclose(f);
	return cert;
}

static int verify(const char *name, int purpose)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *ca = load("ca.crt"), *cert = load(name);
	int r;

	X509_STORE_add_cert(store, ca);
	X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT); /* as strict as Go: SKI, AKI, criticality */
	X509_STORE_CTX_init(ctx, store, cert, NULL);
	X509_STORE_CTX_set_purpose(ctx, purpose);
	X509_verify_cert(ctx);
	r = X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(ca);
	X509_free(cert);
	return r;
}

static void server_certificate(void **state _unused_)
{
	static const char *const sans[] = { "kubernetes.default.svc", "a,DNS:evil", "10.96.0.1", "fd00::1", NULL };
	struct pki_request r = { .cn = "apiserver", .sans = sans, .use = PKI_SERVER, .days = 365 };
	X509 *cert;
	BIGNUM *serial;

	issue("server", &r);
	assert_int_equal(verify("server.crt", X509_PURPOSE_SSL_SERVER), X509_V_OK);
	assert_int_equal(verify("server.crt", X509_PURPOSE_SSL_CLIENT), X509_V_ERR_INVALID_PURPOSE);
	cert = load("server.crt");
	assert_int_equal(X509_check_host(cert, "kubernetes.default.svc", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(cert, "evil", 0, 0, NULL), 0);
	assert_int_equal(X509_check_host(cert, "apiserver", 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL), 0);
	assert_int_equal(X509_check_ip_asc(cert, "10.96.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "fd00::1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "10.96.0.2", 0), 0);
	serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	assert_int_equal(BN_num_bits(serial), 127);
	BN_free(serial);
	assert_int_equal(X509_cmp_time(X509_get0_notBefore(cert), &(time_t){ time(NULL) - 200 }), -1);
	assert_int_equal(X509_cmp_time(X509_get0_notAfter(cert), &(time_t){ time(NULL) + 364 * 86400 }), 1);
	X509_free(cert);
}

static void client_certificate(void **state _unused_)
{
	static const char *const orgs[] = { "system:nodes", "two", NULL };
	char cn[300], got[300];
	struct pki_request r = { .cn = cn, .orgs = orgs, .use = PKI_CLIENT, .days = 1 };
	struct stat st;
	X509_NAME *name;
	X509 *cert;

	snprintf(cn, sizeof(cn), "system:node:%0200d", 7);
	issue("client", &r);
	assert_int_equal(verify("client.crt", X509_PURPOSE_SSL_CLIENT), X509_V_OK);
	assert_int_equal(verify("client.crt", X509_PURPOSE_SSL_SERVER), X509_V_ERR_INVALID_PURPOSE);
	cert = load("client.crt");
	name = X509_get_subject_name(cert);
	assert_int_equal(X509_NAME_get_text_by_NID(name, NID_commonName, got, sizeof(got)), (int)strlen(cn));
	assert_string_equal(got, cn);
	assert_int_equal(X509_NAME_entry_count(name), 3);
	X509_free(cert);
	assert_int_equal(stat(path("client.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(path("client.crt"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
}

static void both_uses(void **state _unused_)
{
	struct pki_request r = { .cn = "agent", .use = PKI_SERVER_CLIENT, .days = 1 };

	issue("both", &r);
	assert_int_equal(verify("both.crt", X509_PURPOSE_SSL_CLIENT), X509_V_OK);
	assert_int_equal(verify("both.crt", X509_PURPOSE_SSL_SERVER), X509_V_OK);
}

static void errors(void **state _unused_)
{
	struct pki_request r = { .cn = "x", .use = PKI_CLIENT, .days = 1 };
	_cleanup_err_ struct err err = { 0 };

	assert_true(pki_issue(&r, path("none.crt"), path("none.key"), path("x.crt"), path("x.key"), &err) < 0);
	assert_non_null(strstr(err_msg(&err), "none.crt"));
	assert_false(file_exists(path("x.crt")));
	assert_false(file_exists(path("x.key")));
	assert_int_equal(pki_issue(&r, NULL, NULL, path("x.crt"), path("x.key"), &err), -EINVAL);
	/* A key of another certificate. */
	issue("other", &r);
	assert_true(pki_issue(&r, path("ca.crt"), path("other.key"), path("x.crt"), path("x.key"), &err) < 0);
	assert_null(tls_server_new(path("ca.crt"), path("other.key"), NULL, &err));
	assert_null(tls_server_new(path("none.crt"), path("ca.key"), NULL, &err));
	assert_non_null(strstr(err_msg(&err), "none.crt"));
	assert_null(tls_server_new(path("ca.crt"), path("ca.key"), path("ca.key"), &err));
	assert_null(tls_client_new("not PEM", NULL, NULL, true, &err));
}

static void signing_requests(void **state _unused_)
{
	static const char *const orgs[] = { "system:nodes", NULL }, *const sans[] = { "n1", "192.0.2.1", "2001:db8::1", NULL };
	struct pki_request rq = { .cn = "system:node:n1", .orgs = orgs, .sans = sans };
	_cleanup_strbuf_ struct strbuf key = { 0 }, csr_pem = { 0 };

	assert_int_equal(pki_csr(&rq, &key, &csr_pem, NULL), 0);
	BIO *cb = BIO_new_mem_buf(csr_pem.data, -1), *kb = BIO_new_mem_buf(key.data, -1);
	X509_REQ *csr = PEM_read_bio_X509_REQ(cb, NULL, NULL, NULL);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL);
	char subject[128];

	assert_true(csr && k);
	assert_int_equal(X509_REQ_verify(csr, k), 1);
	X509_NAME_oneline(X509_REQ_get_subject_name(csr), subject, sizeof(subject));
	assert_string_equal(subject, "/O=system:nodes/CN=system:node:n1");
	STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(csr);
	GENERAL_NAMES *names = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);

	assert_int_equal(sk_GENERAL_NAME_num(names), 3);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	EVP_PKEY_free(k);
	X509_REQ_free(csr);
	BIO_free(cb);
	BIO_free(kb);
}

/* The hash is what `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum` gives. */
static void public_key_hash(void **state _unused_)
{
	static const char ca[] =
		"-----BEGIN CERTIFICATE-----\n"
		"MIIBfzCCASWgAwIBAgIULH9npVbaCCV8xrohinm6phHGoBQwCgYIKoZIzj0EAwIw\n"
		"FTETMBEGA1UEAwwKa3ViZXJuZXRlczAeFw0yNjExMjEyMjM3NThaFw0zNjExMTgy\n"
		"MjM3NThaMBUxEzARBgNVBAMMCmt1YmVybmV0ZXMwWTATBgcqhkjOPQIBBggqhkjO\n"
		"PQMBBwNCAARqHsE/inOhaeW8+sOYVF0PKlc2Y7vyo/ZiQEQgRbnbV1MCh+LwJfzb\n"
		"XgkHMErL6fYqtxqxC2ktq6TqsT9g6+qno1MwUTAdBgNVHQ4EFgQUI5PYgqXGG7sS\n"
		"CN8qkzGoQK6JpJEwHwYDVR0jBBgwFoAUI5PYgqXGG7sSCN8qkzGoQK6JpJEwDwYD\n"
		"VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBuuMQfuj6RyOI7T86DwRlk\n"
		"XYHpMxpJMOTM31OgS2qlpQIhAIvZrglj+vSautnX4fJAZSenw2QJQ5Lm9iFu0zUh\n"
		"rhd4\n"
		"-----END CERTIFICATE-----\n";
	char hash[PKI_HASH_SIZE];
	_cleanup_err_ struct err err = { 0 };

	assert_int_equal(pki_public_key_hash(ca, hash, NULL), 0);
	assert_string_equal(hash, "6d2f8e743c835fe658f43b074fce20602f2242f1a63e7ed83a55b8e2cb62403a");
	assert_int_equal(pki_public_key_hash("no certificate", hash, &err), -EINVAL);
	assert_int_equal(pki_public_key_hash("", hash, &err), -EINVAL);
}

static void signing_key(void **state _unused_)
{
	_cleanup_err_ struct err err = { 0 };
	struct stat st;
	FILE *f;
	EVP_PKEY *key, *pub;

	assert_int_equal(pki_signing_key(path("sa.key"), path("sa.pub"), &err), 0);
	f = fopen(path("sa.key"), "r");
	key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	f = fopen(path("sa.pub"), "r");
	pub = PEM_read_PUBKEY(f, NULL, NULL, NULL);
	fclose(f);
	assert_int_equal(EVP_PKEY_eq(key, pub), 1);
	EVP_PKEY_free(key);
	EVP_PKEY_free(pub);
	assert_int_equal(stat(path("sa.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void reload(void **state _unused_)
{
	const char *sans[] = { "127.0.0.1", NULL };
	struct pki_request r = { .cn = "first", .sans = sans, .use = PKI_SERVER, .days = 1 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *crt = str_printf("%s/turn.crt", dir), *key = str_printf("%s/turn.key", dir);
	char cn[32] = "";
	SSL_CTX *ctx;

	issue("turn", &r);
	ctx = tls_server_new(crt, key, NULL, &err);
	assert_non_null(ctx);
	r.cn = "second";
	issue("turn", &r);
	assert_int_equal(tls_server_reload(ctx, crt, key, &err), 0);
	X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_CTX_get0_certificate(ctx)), NID_commonName, cn, sizeof(cn));
	assert_string_equal(cn, "second");
	assert_int_equal(SSL_CTX_check_private_key(ctx), 1);
	/* What does not fit together changes nothing. */
	assert_int_equal(tls_server_reload(ctx, crt, path("ca.key"), &err), -EINVAL);
	assert_int_equal(tls_server_reload(ctx, path("none.crt"), key, &err), -EINVAL);
	X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_CTX_get0_certificate(ctx)), NID_commonName, cn, sizeof(cn));
	assert_string_equal(cn, "second");
	assert_int_equal(SSL_CTX_check_private_key(ctx), 1);
	SSL_CTX_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_certificate), cmocka_unit_test(client_certificate), cmocka_unit_test(both_uses),
		cmocka_unit_test(errors), cmocka_unit_test(signing_key), cmocka_unit_test(signing_requests),
		cmocka_unit_test(public_key_hash), cmocka_unit_test(reload),
	};

	return cmocka_run_group_tests_name("tls", tests, setup, teardown);
}
