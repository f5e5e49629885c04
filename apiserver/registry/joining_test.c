// SPDX-License-Identifier: GPL-2.0-or-later
/* What a machine that joins may see and do: bootstrap tokens, cluster-info, certificate requests. */
#include "apiserver/registry/registry_fixture.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/clock.h"

#define SECRETS "/api/v1/namespaces/kube-system/secrets"
#define TOKEN "abcdef.0123456789abcdef"
#define CSRS "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define CONFIG "/api/v1/namespaces/kube-system/configmaps/keelson-config"
#define INFO "/api/v1/namespaces/kube-public/configmaps/cluster-info"

/* A GET, or a POST of body, with a bearer token and no certificate. */
static int ask_with(struct fixture *f, const char *token, const char *path, const char *body)
{
	_cleanup_free_ char *bearer = str_printf("Bearer %s", token);
	struct http_client_header headers[] = { { "Authorization", bearer }, { "Content-Type", "application/json" } };
	return ask_headers(f, f->nobody, body ? "POST" : "GET", path, headers, ARRAY_SIZE(headers), body);
}

static void put_token(struct fixture *f, const char *type, const char *more)
{
	_cleanup_free_ char *body = str_printf("{\"metadata\":{\"name\":\"bootstrap-token-abcdef\"},\"type\":\"%s\",\"stringData\":{"
					       "\"token-id\":\"abcdef\",\"token-secret\":\"0123456789abcdef\"%s}}", type, more);
	ask(f, f->admin, "DELETE", SECRETS "/bootstrap-token-abcdef", NULL, NULL, NULL);
	assert_int_equal(ask(f, f->admin, "POST", SECRETS, NULL, NULL, body), 201);
}
#define TYPE "bootstrap.kubernetes.io/token"
#define AUTH ",\"usage-bootstrap-authentication\":\"true\""
#define NODES ",\"auth-extra-groups\":\"system:bootstrappers:keelson:default-node-token\""

static void test_tokens(void **state)
{
	static const struct {
		const char *type, *more;
		bool good;
	} rows[] = {
		{ TYPE, AUTH, true },
		{ TYPE, AUTH NODES, true },
		{ "Opaque", AUTH, false },
		{ TYPE, "", false },
		{ TYPE, ",\"usage-bootstrap-authentication\":\"yes\"", false },
		{ TYPE, AUTH ",\"expiration\":\"2020-01-01T00:00:00Z\"", false },
		{ TYPE, AUTH ",\"expiration\":\"2999-01-01T00:00:00Z\"", true },
		{ TYPE, AUTH ",\"expiration\":\"soon\"", false },
		{ TYPE, AUTH ",\"auth-extra-groups\":\"system:masters\"", false },
		{ TYPE, AUTH ",\"auth-extra-groups\":\"system:bootstrappers:\"", false },
		{ TYPE, AUTH ",\"auth-extra-groups\":\"system:bootstrappers:a-\"", false },
	};
	static const char *const wrong[] = { "abcdef.0123456789abcdee", "abcdef.0123456789abcdef0", "zzzzzz.0123456789abcdef",
		"abcdef.0123456789ABCDEF", "abcdef", "." };
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put_token(f, rows[i].type, rows[i].more);
		if (ask_with(f, TOKEN, CONFIG, NULL) != (rows[i].good ? 200 : 401))
			fail_msg("row %zu: %d %s", i, f->status, f->text.data);
	}
	put_token(f, TYPE, AUTH NODES);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(ask_with(f, wrong[i], CONFIG, NULL), 401);
	assert_int_equal(ask_with(f, TOKEN, SECRETS, NULL), 403);
	assert_int_equal(ask_with(f, TOKEN, "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}"), 201);
	assert_non_null(strstr(f->text.data, "\"username\":\"system:bootstrap:abcdef\",\"groups\":[\"system:bootstrappers\","
					     "\"system:bootstrappers:keelson:default-node-token\",\"system:authenticated\"]"));
	ask(f, f->admin, "DELETE", SECRETS "/bootstrap-token-abcdef", NULL, NULL, NULL);
	assert_int_equal(ask_with(f, TOKEN, CONFIG, NULL), 401);
}

static void test_what_is_told(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *server = str_printf("server: https://192.0.2.1:%u\\n", f->g.options.port);
	/* What the server makes at its start is durable when this is. */
	put_token(f, TYPE, AUTH);
	assert_int_equal(ask(f, f->nobody, "GET", INFO, NULL, NULL, NULL), 200);
	assert_non_null(strstr(f->text.data, server));
	assert_non_null(strstr(f->text.data, "certificate-authority-data: UEVN\\n")); /* "PEM" */
	assert_int_equal(ask(f, f->nobody, "GET", "/api/v1/namespaces/kube-public/configmaps", NULL, NULL, NULL), 403);
	assert_int_equal(ask(f, f->nobody, "GET", CONFIG, NULL, NULL, NULL), 403);
	assert_int_equal(ask(f, f->bob, "GET", CONFIG, NULL, NULL, NULL), 403);
	assert_int_equal(ask(f, f->admin, "GET", CONFIG, NULL, NULL, NULL), 200);
	assert_string_equal(json_string_value(json_object_get(json_object_get(f->answer, "data"), "service-cidr")), "10.96.0.0/24");
	/* What is changed is put right; what is added stays. */
	assert_int_equal(ask(f, f->admin, "PATCH", INFO, "application/merge-patch+json", NULL,
			     "{\"data\":{\"kubeconfig\":\"x\",\"jws-kubeconfig-a\":\"y\"}}"), 200);
	cluster_info_keep(&f->g);
	put_token(f, TYPE, AUTH);
	assert_int_equal(ask(f, f->admin, "GET", INFO, NULL, NULL, NULL), 200);
	assert_non_null(strstr(f->text.data, server));
	assert_non_null(strstr(f->text.data, "jws-kubeconfig-a"));
}

/* A certificate request of a subject such as CN=x, O=y; spec.request. Own. */
static char *request_of(const char *cn, const char *org)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *req = X509_REQ_new();
	X509_NAME *name = X509_NAME_new();
	struct strbuf b64 = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)org, -1, -1, 0);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
	X509_REQ_set_subject_name(req, name);
	X509_REQ_set_pubkey(req, key);
	assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
	PEM_write_bio_X509_REQ(bio, req);
	long len = BIO_get_mem_data(bio, &text);
	base64_encode(&b64, text, (size_t)len);
	BIO_free(bio);
	X509_NAME_free(name);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return strbuf_take(&b64);
}

static char *csr_of(const char *name, const char *signer, const char *request)
{
	return str_printf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"signerName\":\"%s\",\"request\":\"%s\",\"usages\":[\"client auth\"],"
			  "\"username\":\"liar\",\"groups\":[\"system:masters\"]}}", name, signer, request);
}

static void test_requests(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *pem = request_of("jane", "people"), *masters = request_of("jane", "system:masters");
	_cleanup_free_ char *body = csr_of("a", "kubernetes.io/kube-apiserver-client", pem);
	_cleanup_free_ char *high = csr_of("b", "kubernetes.io/kube-apiserver-client", masters);
	_cleanup_free_ char *nonsense = csr_of("c", "x.y/z", "bm8=");
	_cleanup_free_ char *torn = csr_of("c", "x.y/z", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KYWJjCi0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=");
	put_token(f, TYPE, AUTH NODES);
	assert_int_equal(ask_with(f, TOKEN, CSRS, body), 201);
	assert_string_equal(json_str(f->answer, "spec.username"), "system:bootstrap:abcdef");
	assert_null(strstr(f->text.data, "system:masters"));
	assert_int_equal(ask_with(f, TOKEN, CSRS, high), 403);
	assert_non_null(strstr(f->text.data, "system:masters group is not allowed"));
	assert_int_equal(ask(f, f->admin, "POST", CSRS, NULL, NULL, nonsense), 422);
	assert_non_null(strstr(f->text.data, "PEM block type must be CERTIFICATE REQUEST"));
	assert_int_equal(ask(f, f->admin, "POST", CSRS, NULL, NULL, torn), 422);
	/* The spec is what it was. */
	assert_int_equal(ask(f, f->admin, "PATCH", CSRS "/a", "application/merge-patch+json", NULL, "{\"spec\":{\"username\":\"x\"}}"), 200);
	assert_string_equal(json_str(f->answer, "spec.username"), "system:bootstrap:abcdef");
}

#define APPROVE "{\"status\":{\"conditions\":[{\"type\":\"Approved\",\"status\":\"True\",\"reason\":\"r\"}]}}"

/* Approving wants the subresource and the signer. */
static void test_approval(void **state)
{
	static const struct step steps[] = {
		{ "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", NULL,
		  "{\"metadata\":{\"name\":\"approver\"},\"rules\":[{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":["
		  "\"certificatesigningrequests\",\"certificatesigningrequests/approval\",\"certificatesigningrequests/status\"],"
		  "\"verbs\":[\"get\",\"patch\",\"update\"]}]}", 201, NULL, NULL },
		{ "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", NULL,
		  "{\"metadata\":{\"name\":\"approver\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
		  "\"name\":\"approver\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"bob\"}]}", 201, NULL, NULL },
	};
	static const struct step signers[] = {
		{ "PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/approver", "application/json-patch+json",
		  "[{\"op\":\"add\",\"path\":\"/rules/-\",\"value\":{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":[\"signers\"],"
		  "\"resourceNames\":[\"kubernetes.io/*\"],\"verbs\":[\"approve\"]}}]", 200, NULL, NULL },
	};
	struct fixture *f = *state;
	const char *merge = "application/merge-patch+json";
	_cleanup_free_ char *pem = request_of("jane", "people"), *body = csr_of("a", "kubernetes.io/kube-apiserver-client", pem);
	assert_int_equal(ask(f, f->admin, "POST", CSRS, NULL, NULL, body), 201);
	WALK(f, steps);
	assert_int_equal(ask(f, f->bob, "PATCH", CSRS "/a/approval", merge, NULL, APPROVE), 403);
	assert_non_null(strstr(f->text.data, "user not permitted to approve requests with signerName"));
	/* Not by the other way either. */
	assert_int_equal(ask(f, f->admin, "PATCH", CSRS "/a/status", merge, NULL, APPROVE), 422);
	assert_non_null(strstr(f->text.data, "may not add a condition of type"));
	WALK(f, signers);
	assert_int_equal(ask(f, f->bob, "PATCH", CSRS "/a/approval", merge, NULL, APPROVE), 200);
	assert_string_equal(json_str(f->answer, "status.conditions[0].type"), "Approved");
	assert_non_null(json_str(f->answer, "status.conditions[0].lastTransitionTime"));
	assert_int_equal(ask(f, f->bob, "PATCH", CSRS "/a/approval", merge, NULL, "{\"status\":{\"conditions\":null}}"), 422);
	assert_non_null(strstr(f->text.data, "may not remove a condition of type"));
	assert_int_equal(ask(f, f->bob, "PATCH", CSRS "/a/status", merge, NULL, "{\"status\":{\"certificate\":\"eA==\"}}"), 422);
	_cleanup_free_ char *crt = in_dir(f, "bob.crt");
	_cleanup_strbuf_ struct strbuf text = { 0 }, b64 = { 0 };
	assert_int_equal(file_read(crt, 1 << 20, &text), 0);
	base64_encode(&b64, text.data, text.len);
	_cleanup_free_ char *sign = str_printf("{\"status\":{\"certificate\":\"%s\"}}", b64.data);
	assert_int_equal(ask(f, f->bob, "PATCH", CSRS "/a/status", merge, NULL, sign), 403);
	assert_non_null(strstr(f->text.data, "user not permitted to sign requests with signerName"));
	assert_int_equal(ask(f, f->admin, "PATCH", CSRS "/a/status", merge, NULL, sign), 200);
	assert_string_equal(json_str(f->answer, "status.conditions[0].type"), "Approved");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_tokens), TEST(test_what_is_told), TEST(test_requests), TEST(test_approval) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
