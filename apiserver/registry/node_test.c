// SPDX-License-Identifier: GPL-2.0-or-later
/* What nodes may read and write: the node authorizer and NodeRestriction, over HTTPS with nodes' certificates. */
#include "apiserver/registry/registry_fixture.h"

#include "kube/object.h"

#define NS "/api/v1/namespaces/default"
#define PODS NS "/pods"
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
#define POD(name, more) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"" more "}]"
#define POD_SPEC "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]"
#define MIRROR(name, node) "{\"metadata\":{\"name\":\"" name "\",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"},\"ownerReferences\":[{" \
	"\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"" node "\",\"uid\":\"u\",\"controller\":true}]},"
#define ON(node) ",\"nodeName\":\"" node "\""

static struct http_client *node_client(struct fixture *f, const char *name)
{
	_cleanup_free_ char *cn = str_printf("system:node:%s", name);
	issue(f, cn, "system:nodes", PKI_CLIENT, name);
	return client(f, name);
}

struct try {
	const char *method, *path, *body;
	int status;
	const char *contains;
};

static void tries(struct fixture *f, struct http_client *who, const struct try *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct try *t = &rows[i];
		const char *type = str_eq(t->method, "PATCH") ? MERGE : NULL;
		int status = ask(f, who, t->method, t->path, type, NULL, t->body);
		if (status != t->status || (t->contains && !strstr(f->text.data, t->contains)))
			fail_msg("row %zu %s %s: got %d %s", i, t->method, t->path, status, f->text.data);
	}
}
#define TRIES(f, who, rows) tries(f, who, rows, ARRAY_SIZE(rows))

/* Pods on nodes a and b with what they use. */
static void populate(struct fixture *f)
{
	static const struct try rows[] = {
		{ "POST", NS "/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}", 201, NULL },
		{ "POST", NS "/serviceaccounts", "{\"metadata\":{\"name\":\"other\"}}", 201, NULL },
		{ "POST", NS "/secrets", "{\"metadata\":{\"name\":\"env\"}}", 201, NULL },
		{ "POST", NS "/secrets", "{\"metadata\":{\"name\":\"volume\"}}", 201, NULL },
		{ "POST", NS "/secrets", "{\"metadata\":{\"name\":\"theirs\"}}", 201, NULL },
		{ "POST", NS "/configmaps", "{\"metadata\":{\"name\":\"from\"}}", 201, NULL },
		{ "POST", NS "/configmaps", "{\"metadata\":{\"name\":\"theirs\"}}", 201, NULL },
		{ "POST", NS "/persistentvolumeclaims", "{\"metadata\":{\"name\":\"claim\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],"
		  "\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}", 201, NULL },
		{ "POST", PODS, POD("pa", ",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"env\",\"key\":\"k\"}}}],"
				    "\"envFrom\":[{\"configMapRef\":{\"name\":\"from\"}}]") ON("a") ",\"volumes\":[{\"name\":\"v\",\"projected\":{"
		  "\"sources\":[{\"secret\":{\"name\":\"volume\"}}]}},{\"name\":\"w\",\"persistentVolumeClaim\":{\"claimName\":\"claim\"}}]}}",
		  201, NULL },
		{ "POST", PODS, POD("pb", ",\"envFrom\":[{\"configMapRef\":{\"name\":\"theirs\"}},{\"secretRef\":{\"name\":\"theirs\"}}]")
		  ON("b") ",\"serviceAccountName\":\"other\"}}", 201, NULL },
	};
	TRIES(f, f->admin, rows);
}

static void test_reads(void **state)
{
	static const struct try rows[] = {
		{ "GET", NS "/secrets/env", NULL, 200, NULL },
		{ "GET", NS "/secrets/volume", NULL, 200, NULL },
		{ "GET", NS "/secrets?fieldSelector=metadata.name%3Denv", NULL, 200, "\"name\":\"env\"" },
		{ "GET", NS "/secrets/theirs", NULL, 403, "cannot get resource" },
		{ "GET", NS "/secrets/none", NULL, 403, NULL },
		{ "GET", NS "/secrets", NULL, 403, NULL },
		{ "GET", NS "/secrets?fieldSelector=metadata.name%3Dtheirs", NULL, 403, NULL },
		{ "GET", "/api/v1/secrets", NULL, 403, NULL },
		{ "GET", NS "/configmaps/from", NULL, 200, NULL },
		{ "GET", NS "/configmaps/theirs", NULL, 403, NULL },
		{ "DELETE", NS "/secrets/env", NULL, 403, NULL },
		{ "PATCH", NS "/configmaps/from", "{\"data\":{\"a\":\"b\"}}", 403, NULL },
		{ "GET", NS "/persistentvolumeclaims/claim", NULL, 200, NULL },
		{ "GET", NS "/persistentvolumeclaims", NULL, 403, NULL },
		{ "GET", PODS "/pa", NULL, 200, NULL },
		{ "GET", PODS "/pb", NULL, 403, NULL },
		{ "GET", "/api/v1/pods", NULL, 403, NULL },
		{ "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Da", NULL, 200, "\"name\":\"pa\"" },
		{ "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Db", NULL, 403, NULL },
		{ "GET", "/api/v1/services", NULL, 200, NULL },
		{ "GET", "/api/v1/namespaces/kube-system/configmaps/keelson-config", NULL, 200, NULL },
		{ "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", NULL, 403, NULL },
		{ "POST", NS "/configmaps", "{\"metadata\":{\"name\":\"x\"}}", 403, NULL },
	};
	struct fixture *f = *state;
	struct http_client *a = node_client(f, "a");
	populate(f);
	TRIES(f, a, rows);
	http_client_free(a);
}

static void test_own_node(void **state)
{
	static const struct try admin[] = {
		{ "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"b\"}}", 201, NULL },
		{ "POST", LEASES, "{\"metadata\":{\"name\":\"b\"}}", 201, NULL },
	};
	static const struct try rows[] = {
		{ "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"c\"}}", 403, "node \\\"a\\\" is not allowed to modify node \\\"c\\\"" },
		{ "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"a\",\"labels\":{\"node-role.kubernetes.io/control-plane\":\"\"}}}", 403,
		  "not allowed to set the following labels: node-role.kubernetes.io/control-plane" },
		{ "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x.node-restriction.kubernetes.io/y\":\"\"}}}", 403, NULL },
		{ "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"a\",\"labels\":{\"kubernetes.io/hostname\":\"a\",\"mine\":\"x\","
		  "\"node.kubernetes.io/kind\":\"y\"}},\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}]}}", 201, NULL },
		{ "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"a\"}}", 409, NULL },
		{ "GET", "/api/v1/nodes/a", NULL, 200, NULL },
		{ "GET", "/api/v1/nodes?fieldSelector=metadata.name%3Da", NULL, 200, NULL },
		{ "PATCH", "/api/v1/nodes/a", "{\"metadata\":{\"labels\":{\"mine\":\"z\"}}}", 200, NULL },
		{ "PATCH", "/api/v1/nodes/a", "{\"metadata\":{\"labels\":{\"kubernetes.io/role\":\"z\"}}}", 403,
		  "is not allowed to modify labels: kubernetes.io/role" },
		{ "PATCH", "/api/v1/nodes/a", "{\"spec\":{\"taints\":null}}", 403, "node \\\"a\\\" is not allowed to modify taints" },
		{ "PATCH", "/api/v1/nodes/a/status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", 200, NULL },
		{ "PATCH", "/api/v1/nodes/b", "{\"metadata\":{\"labels\":{\"mine\":\"z\"}}}", 403, "not allowed to modify node" },
		{ "PATCH", "/api/v1/nodes/b/status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", 403,
		  "not allowed to modify node" },
		{ "DELETE", "/api/v1/nodes/a", NULL, 403, NULL },
		{ "POST", LEASES, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"holderIdentity\":\"a\"}}", 201, NULL },
		{ "PATCH", LEASES "/a", "{\"spec\":{\"leaseDurationSeconds\":40}}", 200, NULL },
		{ "POST", LEASES, "{\"metadata\":{\"name\":\"c\"}}", 403, "same name as the requesting node" },
		{ "PATCH", LEASES "/b", "{\"spec\":{\"leaseDurationSeconds\":40}}", 403, NULL },
		{ "GET", LEASES, NULL, 403, NULL },
		{ "POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", "{\"metadata\":{\"name\":\"a\"}}", 403, NULL },
	};
	struct fixture *f = *state;
	struct http_client *a = node_client(f, "a");
	TRIES(f, f->admin, admin);
	TRIES(f, a, rows);
	http_client_free(a);
}

static void test_pods(void **state)
{
	static const struct try rows[] = {
		{ "PATCH", PODS "/pa/status", "{\"status\":{\"phase\":\"Running\"}}", 200, NULL },
		{ "PATCH", PODS "/pa/status", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 403, "cannot update labels through pod status" },
		{ "PATCH", PODS "/pb/status", "{\"status\":{\"phase\":\"Failed\"}}", 403,
		  "can only update pod status for pods with spec.nodeName set to itself" },
		{ "PATCH", PODS "/pa", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 403, NULL },
		{ "POST", PODS, POD("pc", "") ON("a") "}}", 403, "can only create mirror pods" },
		{ "POST", PODS, MIRROR("ma", "a") POD_SPEC ON("a") "}}", 201, NULL },
		{ "POST", PODS, MIRROR("mb", "b") POD_SPEC ON("b") "}}", 403, "with spec.nodeName set to itself" },
		{ "POST", PODS, MIRROR("mc", "b") POD_SPEC ON("a") "}}", 403, "owner reference set to itself" },
		{ "POST", PODS, MIRROR("md", "a") POD_SPEC ON("a") ",\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"theirs\"}}]"
		  "}}", 403, "a mirror pod may not reference secrets" },
		{ "POST", PODS, MIRROR("me", "a") "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"envFrom\":[{\"secretRef\":{"
		  "\"name\":\"theirs\"}}]}]" ON("a") "}}", 403, "a mirror pod may not reference secrets" },
		{ "POST", PODS, MIRROR("mf", "a") "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"E\","
		  "\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"theirs\",\"key\":\"k\"}}}]}]" ON("a") "}}", 403, "reference configmaps" },
		{ "POST", PODS, MIRROR("mg", "a") POD_SPEC ON("a") ",\"imagePullSecrets\":[{\"name\":\"theirs\"}]}}", 403,
		  "a mirror pod may not reference secrets" },
		/* A mirror pod stays one: what a pod that is none names, its node may read. */
		{ "PATCH", PODS "/ma/status", "{\"metadata\":{\"annotations\":{\"kubernetes.io/config.mirror\":null}}}", 422,
		  "may not remove or update mirror pod annotation" },
		{ "PATCH", PODS "/pa/status", "{\"metadata\":{\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}}}", 422,
		  "may not add mirror pod annotation" },
		{ "POST", PODS "/pb/eviction", "{\"metadata\":{\"name\":\"pb\"}}", 403, "can only evict pods" },
		{ "DELETE", PODS "/pb", NULL, 403, "can only delete pods with spec.nodeName set to itself" },
		{ "DELETE", PODS, NULL, 403, NULL },
		{ "POST", NS "/serviceaccounts/default/token", "{\"spec\":{}}", 403, "node requested token not bound to a pod" },
		{ "POST", NS "/serviceaccounts/other/token", "{\"spec\":{}}", 403, "cannot create resource" },
		{ "POST", NS "/serviceaccounts/default/token", "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
		  "\"name\":\"pa\"}}}", 403, "without a uid" },
	};
	struct fixture *f = *state;
	struct http_client *a = node_client(f, "a");
	populate(f);
	TRIES(f, a, rows);
	assert_int_equal(ask(f, a, "GET", PODS "/pa", NULL, NULL, NULL), 200);
	_cleanup_free_ char *body = str_printf("{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"pa\","
					       "\"uid\":\"%s\"}}}", object_uid(f->answer));
	assert_int_equal(ask(f, a, "POST", NS "/serviceaccounts/default/token", NULL, NULL, body), 201);
	assert_int_equal(ask(f, a, "DELETE", PODS "/pa", NULL, NULL, "{\"gracePeriodSeconds\":0}"), 200);
	/* With its pod what it used is out of reach. */
	assert_int_equal(ask(f, a, "GET", NS "/secrets/env", NULL, NULL, NULL), 403);
	http_client_free(a);
}

static void test_not_a_node(void **state)
{
	struct fixture *f = *state;
	struct http_client *odd;
	populate(f);
	/* The name alone, or the group alone, is nothing. */
	issue(f, "system:node:a", "people", PKI_CLIENT, "name");
	odd = client(f, "name");
	assert_int_equal(ask(f, odd, "GET", NS "/secrets/env", NULL, NULL, NULL), 403);
	http_client_free(odd);
	issue(f, "system:node:", "system:nodes", PKI_CLIENT, "group");
	odd = client(f, "group");
	assert_int_equal(ask(f, odd, "GET", NS "/secrets/env", NULL, NULL, NULL), 403);
	assert_int_equal(ask(f, odd, "POST", "/api/v1/nodes", NULL, NULL, "{\"metadata\":{\"name\":\"a\"}}"), 403);
	http_client_free(odd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_reads), TEST(test_own_node), TEST(test_pods), TEST(test_not_a_node) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
