// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificate requests: the signers' rules, a node's own names, the certificate that comes out. */
#include "controllers/csr.h"
#include "controllers/deciders_test.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/file.h"
#include "io/tls.h"

/* spec.request for a subject such as "O=system:nodes,CN=x" and subjectAltName text (NULL: none), base64. Own. */
static char *request(const char *subject, const char *sans)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *req = X509_REQ_new();
	X509_NAME *name = X509_NAME_new();
	_cleanup_strlist_ struct strlist parts = { 0 };
	struct strbuf b64 = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	strlist_split(&parts, subject, ',');
	for (size_t i = 0; i < parts.count; i++) {
		char *eq = strchr(parts.items[i], '=');

		*eq = '\0';
		assert_int_equal(X509_NAME_add_entry_by_txt(name, parts.items[i], MBSTRING_UTF8, (unsigned char *)eq + 1, -1, -1, 0), 1);
	}
	X509_REQ_set_subject_name(req, name);
	X509_REQ_set_pubkey(req, key);
	if (sans) {
		STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();

		sk_X509_EXTENSION_push(exts, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, sans));
		X509_REQ_add_extensions(req, exts);
		sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	}
	assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
	PEM_write_bio_X509_REQ(bio, req);
	len = BIO_get_mem_data(bio, &text);
	base64_encode(&b64, text, (size_t)len);
	BIO_free(bio);
	X509_NAME_free(name);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return strbuf_take(&b64);
}

static json_t *csr(const char *signer, const char *user, const char *subject, const char *sans, const char *usages)
{
	_cleanup_free_ char *text = request(subject, sans);
	_cleanup_strlist_ struct strlist list = { 0 };
	json_t *array = json_array();

	strlist_split(&list, usages, ',');
	for (size_t i = 0; i < list.count; i++)
		json_array_append_new(array, json_string(list.items[i]));
	return json_pack("{s:{s:s, s:s}, s:{s:s, s:s, s:s, s:[s,s], s:o}}", "metadata", "name", "c", "creationTimestamp",
			 "1970-01-01T00:00:10Z", "spec", "signerName", signer, "request", text, "username", user, "groups",
			 "system:nodes", "system:authenticated", "usages", array);
}

#define CLIENT "digital signature,client auth"
#define SERVING "digital signature,server auth"
#define NODE_A "O=system:nodes,CN=system:node:a"
#define LIAR "O=system:nodes,CN=system:node:liar"

static void rules(void **state _unused_)
{
	static const struct {
		const char *signer, *subject, *sans, *usages;
		int code; /* 0 allowed */
	} rows[] = {
		{ SIGNER_NODE_CLIENT, NODE_A, NULL, CLIENT, 0 },
		{ SIGNER_NODE_CLIENT, NODE_A, NULL, CLIENT ",key encipherment", 0 },
		{ SIGNER_NODE_CLIENT, NODE_A, NULL, "client auth", EINVAL },
		{ SIGNER_NODE_CLIENT, NODE_A, NULL, CLIENT ",server auth", EINVAL },
		{ SIGNER_NODE_CLIENT, NODE_A, "DNS:a", CLIENT, EINVAL },
		{ SIGNER_NODE_CLIENT, "O=system:nodes,CN=a", NULL, CLIENT, EINVAL },
		{ SIGNER_NODE_CLIENT, "O=system:nodes,CN=system:node:", NULL, CLIENT, EINVAL },
		{ SIGNER_NODE_CLIENT, "O=system:nodes,CN=system:node:A/../b", NULL, CLIENT, EINVAL },
		{ SIGNER_NODE_CLIENT, "O=system:masters,CN=system:node:a", NULL, CLIENT, EINVAL },
		{ SIGNER_NODE_CLIENT, "O=system:masters," NODE_A, NULL, CLIENT, EINVAL },
		{ SIGNER_NODE_SERVING, NODE_A, "DNS:a,IP:10.0.0.1", SERVING, 0 },
		{ SIGNER_NODE_SERVING, NODE_A, NULL, SERVING, EINVAL },
		{ SIGNER_NODE_SERVING, NODE_A, "DNS:a,email:x@y", SERVING, EINVAL },
		{ SIGNER_NODE_SERVING, NODE_A, "DNS:a,URI:spiffe://x", SERVING, EINVAL },
		{ SIGNER_NODE_SERVING, NODE_A, "DNS:a", CLIENT, EINVAL },
		{ SIGNER_CLIENT, "CN=jane", NULL, "client auth", 0 },
		{ SIGNER_CLIENT, "CN=jane", NULL, "client auth,server auth", EINVAL },
		{ SIGNER_CLIENT, "CN=jane", NULL, "digital signature", EINVAL },
		{ "example.com/mine", "CN=jane", NULL, "client auth", ENOENT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *c = csr(rows[i].signer, "u", rows[i].subject, rows[i].sans, rows[i].usages);
		_cleanup_csr_subject_ struct csr_subject s = { 0 };
		_cleanup_err_ struct err err = { 0 };

		assert_int_equal(csr_subject_read(c, &s, &err), 0);
		if (csr_check(c, &s, &err) != -rows[i].code)
			fail_msg("row %zu: %s", i, err_msg(&err));
	}
}

static void not_a_request(void **state _unused_)
{
	static const char *const texts[] = { "", "bm8=", "!", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *c = json_pack("{s:{s:s}}", "spec", "request", texts[i]);
		_cleanup_err_ struct err err = { 0 };
		struct csr_subject s;

		assert_int_equal(csr_subject_read(c, &s, &err), -EINVAL);
		assert_non_null(strstr(err_msg(&err), "PKCS#10"));
	}
}

static json_t *node(const char *name, const char *ip)
{
	return json_pack("{s:{s:s}, s:{s:[{s:s,s:s},{s:s,s:s}]}}", "metadata", "name", name, "status", "addresses", "type", "InternalIP",
			 "address", ip, "type", "Hostname", "address", name);
}

static void own_names(void **state _unused_)
{
	static const struct {
		const char *user, *subject, *sans;
		bool own;
	} rows[] = {
		{ "system:node:a", NODE_A, "DNS:a,IP:10.0.0.1", true },
		{ "system:node:a", NODE_A, "IP:10.0.0.9", false },             /* not among its addresses */
		{ "system:node:a", NODE_A, "DNS:b", false },
		{ "system:node:a", NODE_A, "DNS:kubernetes.default.svc", false },
		{ "system:node:b", NODE_A, "DNS:a", false },                   /* somebody else asks */
		{ "system:bootstrap:x", NODE_A, "DNS:a", false },
		{ "system:node:new", "O=system:nodes,CN=system:node:new", "DNS:new,IP:10.0.0.7", true },
		{ "system:node:new", "O=system:nodes,CN=system:node:new", "IP:10.0.0.1", false }, /* another node's */
		{ "system:node:new", "O=system:nodes,CN=system:node:new", "IP:10.96.0.1", false },
		{ "system:node:new", "O=system:nodes,CN=system:node:new", "IP:fd00:10:96::1", false },
		{ "system:node:new", "O=system:nodes,CN=system:node:new", "IP:10.244.3.1", false },
		{ "system:node:new", "O=system:nodes,CN=system:node:new", "IP:127.0.0.1", false },
		{ "system:node:new", "O=system:nodes,CN=system:node:new", "IP:::1", false },
		/* Names by which pods find the API server and Services, whatever a node is called or says of itself. */
		{ "system:node:kubernetes", "O=system:nodes,CN=system:node:kubernetes", "DNS:kubernetes", false },
		{ "system:node:kubernetes.default", "O=system:nodes,CN=system:node:kubernetes.default", "DNS:kubernetes.default", false },
		{ "system:node:x.y.svc", "O=system:nodes,CN=system:node:x.y.svc", "DNS:x.y.svc", false },
		{ "system:node:localhost", "O=system:nodes,CN=system:node:localhost", "DNS:localhost", false },
		{ "system:node:liar", LIAR, "DNS:liar", true },
		{ "system:node:liar", LIAR, "DNS:kubernetes.default.svc.cluster.local", false },
		{ "system:node:liar", LIAR, "IP:10.96.0.1", false },
		{ "system:node:liar3", "O=system:nodes,CN=system:node:liar3", "DNS:KUBERNETES.default.svc", false },
		{ "system:node:liar4", "O=system:nodes,CN=system:node:liar4", "DNS:*.default", false },
		{ "system:node:liar2", "O=system:nodes,CN=system:node:liar2", "DNS:a", false }, /* another node's name */
		{ "system:node:liar2", "O=system:nodes,CN=system:node:liar2", "IP:fd00::b", false }, /* is six's, spelt otherwise */
	};
	json_t *nodes[] = { node("a", "10.0.0.1"), node("b", "10.0.0.2"), node("liar", "10.96.0.1"), node("liar2", "fd00::b"), node("six", "FD00::B"),
			    node("liar3", "10.0.0.5"), node("liar4", "10.0.0.6") };
	_cleanup_object_list_ struct object_list list = { 0 };
	struct ip_ranges services, pods;

	json_set_str(nodes[2], "status.addresses[1].address", "kubernetes.default.svc.cluster.local");
	json_set_str(nodes[3], "status.addresses[1].address", "a");
	json_set_str(nodes[5], "status.addresses[1].address", "KUBERNETES.default.svc");
	json_set_str(nodes[6], "status.addresses[1].address", "*.default");
	assert_int_equal(ip_ranges_parse("10.96.0.0/12,fd00:10:96::/112", &services, NULL), 0);
	assert_int_equal(ip_ranges_parse("10.244.0.0/16", &pods, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		object_list_add(&list, nodes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *c = csr(SIGNER_NODE_SERVING, rows[i].user, rows[i].subject, rows[i].sans, SERVING);
		_cleanup_csr_subject_ struct csr_subject s = { 0 };

		assert_int_equal(csr_subject_read(c, &s, NULL), 0);
		if (csr_serving_is_own(c, &s, &list, &services, &pods) != rows[i].own)
			fail_msg("row %zu", i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		json_decref(nodes[i]);
}

struct files {
	char dir[64];
	char *ca, *key;
};

static void files_setup(struct files *f, int days)
{
	const struct pki_request ca = { .cn = "test-ca", .use = PKI_CA, .days = days };

	snprintf(f->dir, sizeof(f->dir), "/tmp/controllers-csr-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->ca = str_printf("%s/ca.crt", f->dir);
	f->key = str_printf("%s/ca.key", f->dir);
	assert_int_equal(pki_issue(&ca, NULL, NULL, f->ca, f->key, NULL), 0);
}

static void files_done(struct files *f)
{
	file_rm_rf(f->dir);
	free(f->ca);
	free(f->key);
}

static X509 *read_cert(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(cert);
	return cert;
}

static int64_t ends_s(const X509 *cert)
{
	struct tm tm;

	assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm), 1);
	return timegm(&tm);
}

static void certificate(void **state _unused_)
{
	_cleanup_json_ json_t *c = csr(SIGNER_NODE_SERVING, "system:node:a", NODE_A, "DNS:a,IP:10.0.0.1,IP:fd00::1", SERVING);
	_cleanup_free_ char *pem = NULL, *line = NULL;
	struct files f;
	X509 *cert, *ca;
	int64_t now_s = clock_wall_s();
	_cleanup_strbuf_ struct strbuf ca_pem = { 0 };

	files_setup(&f, 10);
	json_set(c, "spec.expirationSeconds", json_integer(86400));
	assert_int_equal(csr_sign(c, f.ca, f.key, &pem, NULL), 0);
	cert = read_cert(pem);
	assert_int_equal(file_read(f.ca, 1 << 20, &ca_pem), 0);
	ca = read_cert(ca_pem.data);
	assert_int_equal(X509_verify(cert, X509_get0_pubkey(ca)), 1);
	line = X509_NAME_oneline(X509_get_subject_name(cert), NULL, 0);
	assert_string_equal(line, "/O=system:nodes/CN=system:node:a");
	assert_int_equal(X509_check_ip_asc(cert, "10.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "fd00::1", 0), 1);
	assert_int_equal(X509_check_host(cert, "a", 0, 0, NULL), 1);
	assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER);
	assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_check_ca(cert), 0);
	assert_true(ends_s(cert) >= now_s + 86400 && ends_s(cert) <= now_s + 86400 + 60);
	X509_free(cert);
	/* A year without a wish, but never beyond the CA's own end. */
	json_unset(c, "spec.expirationSeconds");
	free(TAKE(pem));
	assert_int_equal(csr_sign(c, f.ca, f.key, &pem, NULL), 0);
	cert = read_cert(pem);
	assert_int_equal(ends_s(cert), ends_s(ca));
	X509_free(cert);
	X509_free(ca);
	files_done(&f);
}

static void not_a_ca(void **state _unused_)
{
	_cleanup_err_ struct err err = { 0 };
	struct files f;
	_cleanup_free_ char *leaf = NULL, *leaf_key = NULL;
	const struct pki_request r = { .cn = "leaf", .use = PKI_CLIENT, .days = 1 };

	files_setup(&f, 1);
	leaf = str_printf("%s/leaf.crt", f.dir);
	leaf_key = str_printf("%s/leaf.key", f.dir);
	assert_int_equal(pki_issue(&r, f.ca, f.key, leaf, leaf_key, NULL), 0);
	assert_int_equal(csr_check_ca(f.ca, f.key, &err), 0);
	assert_int_equal(csr_check_ca(leaf, leaf_key, &err), -EIO);
	assert_int_equal(csr_check_ca(f.ca, leaf_key, &err), -EIO);
	assert_int_equal(csr_check_ca("/nonexistent", f.key, &err), -EIO);
	files_done(&f);
}

static void age(void **state _unused_)
{
	static const struct {
		const char *status;
		int64_t at_s;
	} rows[] = {
		{ "{}", 10 + 24 * 3600 },
		{ "{\"conditions\":[{\"type\":\"Approved\",\"lastUpdateTime\":\"1970-01-01T00:01:00Z\"}]}", INT64_MAX },
		{ "{\"conditions\":[{\"type\":\"Denied\",\"lastUpdateTime\":\"1970-01-01T00:01:00Z\"}]}", 60 + 3600 },
		{ "{\"conditions\":[{\"type\":\"Failed\",\"lastUpdateTime\":\"1970-01-01T00:01:00Z\"}]}", 60 + 3600 },
		{ "{\"conditions\":[{\"type\":\"Approved\",\"lastUpdateTime\":\"1970-01-01T00:01:00Z\"}],\"certificate\":\"eA==\"}",
		  60 + 3600 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *c = json_pack("{s:{s:s}, s:o}", "metadata", "creationTimestamp", "1970-01-01T00:00:10Z", "status",
						     json_loads(rows[i].status, 0, NULL));

		assert_int_equal(csr_expires_s(c), rows[i].at_s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules),     cmocka_unit_test(not_a_request), cmocka_unit_test(own_names),
		cmocka_unit_test(certificate), cmocka_unit_test(not_a_ca),    cmocka_unit_test(age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
