// SPDX-License-Identifier: GPL-2.0-or-later
/* Who somebody is and what they may: access reviews, token requests, front proxies, impersonation. */
#include "apiserver/auth/front_proxy.h"
#include "apiserver/registry/registry_fixture.h"

#define NS "/api/v1/namespaces/default"
#define SAR "/apis/authorization.k8s.io/v1/subjectaccessreviews"
#define SELF "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
#define LOCAL "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
#define RULES "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
#define WHO "/apis/authentication.k8s.io/v1/selfsubjectreviews"
#define RBAC "/apis/rbac.authorization.k8s.io/v1"
#define ASK(user, attributes) "{\"spec\":{\"user\":\"" user "\",\"resourceAttributes\":{" attributes "}}}"

static void test_reviews(void **state)
{
	static const struct step steps[] = {
		{ "POST", SAR, NULL, "{\"spec\":{\"user\":\"bob\"}}", 422,
		  "SubjectAccessReview.authorization.k8s.io \\\"\\\" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of "
		  "nonResourceAttributes or resourceAttributes must be specified", NULL },
		{ "POST", SAR, NULL, "{\"spec\":{\"user\":\"bob\",\"resourceAttributes\":{},\"nonResourceAttributes\":{}}}", 422,
		  "cannot be specified in combination with resourceAttributes", NULL },
		{ "POST", SAR, NULL, "{\"spec\":{\"resourceAttributes\":{\"verb\":\"get\"}}}", 422,
		  "spec.user: Invalid value: \\\"\\\": at least one of user or group must be specified", NULL },
		{ "POST", SAR, NULL, ASK("bob", "\"verb\":\"list\",\"resource\":\"pods\",\"fieldSelector\":{}"), 422,
		  "spec.resourceAttributes.fieldSelector.requirements: Required value", NULL },
		{ "POST", SAR, NULL, ASK("bob", "\"verb\":\"list\",\"resource\":\"pods\",\"labelSelector\":{\"requirements\":[{\"operator\":"
						"\"Exists\"}]}"), 422, "labelSelector.requirements[0].key: Required value", NULL },
		{ "POST", SAR, NULL, ASK("bob", "\"verb\":\"get\",\"resource\":\"pods\",\"namespace\":\"default\""), 201, "\"allowed\":false", NULL },
		{ "POST", RBAC "/namespaces/default/rolebindings", NULL, "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"apiGroup\":"
		  "\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"view\"},\"subjects\":[{\"apiGroup\":"
		  "\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"bob\"}]}", 201, NULL, NULL },
		{ "POST", SAR, NULL, ASK("bob", "\"verb\":\"get\",\"resource\":\"pods\",\"namespace\":\"default\""), 201,
		  "\"allowed\":true,\"reason\":\"RBAC: allowed by RoleBinding \\\"b/default\\\" of ClusterRole \\\"view\\\" to User \\\"bob\\\"\"",
		  NULL },
		{ "POST", LOCAL, NULL, ASK("bob", "\"verb\":\"get\",\"resource\":\"pods\",\"namespace\":\"default\""), 201, "\"allowed\":true", NULL },
		{ "POST", LOCAL, NULL, ASK("bob", "\"verb\":\"get\",\"resource\":\"pods\",\"namespace\":\"other\""), 422,
		  "spec.resourceAttributes.namespace: Invalid value: \\\"other\\\": must match metadata.namespace", NULL },
		{ "POST", LOCAL, NULL, "{\"spec\":{\"user\":\"bob\",\"nonResourceAttributes\":{\"verb\":\"get\",\"path\":\"/\"}}}", 422,
		  "disallowed on this kind of request", NULL },
		{ "POST", SELF, NULL, "{\"spec\":{\"nonResourceAttributes\":{\"verb\":\"get\",\"path\":\"/metrics\"}}}", 201, "\"allowed\":true",
		  NULL },
		{ "POST", RULES, NULL, "{\"spec\":{}}", 400, "no namespace on request", NULL },
		{ "POST", "/apis/authentication.k8s.io/v1/tokenreviews", NULL, "{\"spec\":{}}", 400,
		  "token is required for TokenReview in authentication", NULL },
		/* A node lists its own pods: the question has to say so. */
		{ "POST", SAR, NULL, "{\"spec\":{\"user\":\"system:node:n\",\"groups\":[\"system:nodes\"],\"resourceAttributes\":{\"verb\":\"list\","
		  "\"resource\":\"pods\"}}}", 201, "\"allowed\":false", NULL },
		{ "POST", SAR, NULL, "{\"spec\":{\"user\":\"system:node:n\",\"groups\":[\"system:nodes\"],\"resourceAttributes\":{\"verb\":\"list\","
		  "\"resource\":\"pods\",\"fieldSelector\":{\"requirements\":[{\"key\":\"spec.nodeName\",\"operator\":\"In\",\"values\":[\"n\"]}]}}}}",
		  201, "\"allowed\":true", NULL },
		{ "POST", SAR, NULL, "{\"spec\":{\"user\":\"system:node:n\",\"groups\":[\"system:nodes\"],\"resourceAttributes\":{\"verb\":\"list\","
		  "\"resource\":\"pods\",\"fieldSelector\":{\"rawSelector\":\"spec.nodeName=n\"}}}}", 201, "\"allowed\":true", NULL },
	};
	struct fixture *f = *state;
	WALK(f, steps);
	assert_int_equal(ask(f, f->bob, "POST", RULES, NULL, NULL, "{\"spec\":{\"namespace\":\"default\"}}"), 201);
	assert_non_null(strstr(f->text.data, "\"configmaps\""));
	assert_non_null(strstr(f->text.data, "\"nonResourceURLs\":["));
}

#define TOKEN NS "/serviceaccounts/default/token"

static void test_token_requests(void **state)
{
	static const struct step steps[] = {
		{ "POST", NS "/serviceaccounts", NULL, "{\"metadata\":{\"name\":\"default\"}}", 201, NULL, NULL },
		{ "POST", NS "/serviceaccounts", NULL, "{\"metadata\":{\"name\":\"other\"}}", 201, NULL, NULL },
		{ "POST", NS "/pods", NULL, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 201, NULL,
		  NULL },
		{ "POST", TOKEN, NULL, "{\"spec\":{\"expirationSeconds\":599}}", 422,
		  "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes", NULL },
		{ "POST", TOKEN, NULL, "{\"spec\":{\"expirationSeconds\":4294967297}}", 422, "may not specify a duration larger than 2^32 seconds",
		  NULL },
		{ "POST", TOKEN, NULL, "{\"spec\":{\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"x\"}}}", 400,
		  "cannot bind token to object of type /v1, Kind=ConfigMap", NULL },
		{ "POST", TOKEN, NULL, "{\"spec\":{\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"none\"}}}", 404,
		  "pods \\\"none\\\" not found", NULL },
		{ "POST", TOKEN, NULL, "{\"spec\":{\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"x\"}}}", 409,
		  "Operation cannot be fulfilled on Pod \\\"p\\\": the UID in the bound object reference (x) does not match the UID in record",
		  NULL },
		{ "POST", NS "/serviceaccounts/other/token", NULL, "{\"spec\":{\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":"
		  "\"p\"}}}", 400, "cannot bind token for serviceaccount \\\"other\\\" to pod running with different serviceaccount name.", NULL },
		{ "POST", TOKEN, NULL, "{\"spec\":{\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\"}}}", 201, NULL, NULL },
	};
	struct fixture *f = *state;
	WALK(f, steps);
	_cleanup_free_ char *bearer = str_printf("Bearer %s", json_str(f->answer, "status.token"));
	struct http_client_header headers[] = { { "Authorization", bearer }, { "Content-Type", "application/json" } };
	assert_int_equal(ask_headers(f, f->nobody, "POST", WHO, headers, ARRAY_SIZE(headers), "{}"), 201);
	assert_non_null(strstr(f->text.data, "\"authentication.kubernetes.io/pod-name\":[\"p\"]"));
	/* It is over with its pod. */
	assert_int_equal(ask(f, f->admin, "DELETE", NS "/pods/p", NULL, NULL, NULL), 200);
	assert_int_equal(ask_headers(f, f->nobody, "POST", WHO, headers, ARRAY_SIZE(headers), "{}"), 401);
}

static void issue_proxy(struct fixture *f, const char *cn, const char *file)
{
	_cleanup_free_ char *ca = in_dir(f, "proxy-ca.crt"), *ca_key = in_dir(f, "proxy-ca.key");
	_cleanup_free_ char *crt = str_printf("%s/%s.crt", f->dir, file), *key = str_printf("%s/%s.key", f->dir, file);
	const struct pki_request r = { .cn = cn, .use = PKI_CLIENT, .days = 1 };
	struct err err = { 0 };
	assert_int_equal(pki_issue(&r, ca, ca_key, crt, key, &err), 0);
}

/* Whom the headers name, as text; "" for a refusal. */
static const char *who(struct fixture *f, struct http_client *c)
{
	struct http_client_header headers[] = { { "Content-Type", "application/json" }, { "X-Remote-User", "jane" },
		{ "X-Remote-Group", "people" }, { "X-Remote-Group", "cooks" }, { "X-Remote-Uid", "u7" },
		{ "X-Remote-Extra-Acme.com%2fRoom", "12" } };
	if (ask_headers(f, c, "POST", WHO, headers, ARRAY_SIZE(headers), "{}") != 201)
		return "";
	return json_str_or(f->answer, "status.userInfo.username", "");
}

static void test_front_proxy(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	issue(f, "proxy-ca", NULL, PKI_CA, "proxy-ca");
	issue_proxy(f, "front", "front");
	issue_proxy(f, "stranger", "stranger");
	_cleanup_free_ char *ca = in_dir(f, "proxy-ca.crt");
	const struct front_proxy_options o = { .client_ca_file = ca, .allowed_names = "front,other" };
	struct http_client *front = client(f, "front"), *stranger = client(f, "stranger");
	/* Headers mean nothing before somebody is trusted, nor from those who are not. */
	assert_string_equal(who(f, f->admin), "kubernetes-admin");
	assert_string_equal(who(f, front), "");
	assert_int_equal(f->status, 401);
	f->g.front_proxy = front_proxy_new(&o, &err);
	assert_non_null(f->g.front_proxy);
	assert_string_equal(who(f, front), "jane");
	assert_non_null(strstr(f->text.data, "\"groups\":[\"people\",\"cooks\",\"system:authenticated\"]"));
	assert_non_null(strstr(f->text.data, "\"uid\":\"u7\""));
	assert_non_null(strstr(f->text.data, "\"acme.com/room\":[\"12\"]"));
	assert_string_equal(who(f, stranger), "");
	assert_string_equal(who(f, f->admin), "kubernetes-admin");
	assert_string_equal(who(f, f->nobody), "");
	http_client_free(front);
	http_client_free(stranger);
	f->g.front_proxy = front_proxy_free(f->g.front_proxy);
	const struct front_proxy_options bad = { .client_ca_file = "/nonexistent" };
	assert_null(front_proxy_new(&bad, &err));
	assert_non_null(strstr(err_msg(&err), "--requestheader-client-ca-file"));
	err_done(&err);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_reviews), TEST(test_token_requests), TEST(test_front_proxy) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
