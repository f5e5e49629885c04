// SPDX-License-Identifier: GPL-2.0-or-later
/* The built-in admission plugins as a client sees them: what they add, and the words of their refusals. */
#include "apiserver/registry/registry_fixture.h"

#define NS "/api/v1/namespaces/default"
#define PODS NS "/pods"
#define CLAIMS NS "/persistentvolumeclaims"
#define POD(name, spec) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]" spec "}}"
#define CLASSES "/apis/node.k8s.io/v1/runtimeclasses"
#define PRIORITIES "/apis/scheduling.k8s.io/v1/priorityclasses"
#define STORAGE "/apis/storage.k8s.io/v1"

/* Pods need the account that a controller makes elsewhere. */
static void make_account(struct fixture *f)
{
	assert_int_equal(ask(f, f->admin, "POST", NS "/serviceaccounts", NULL, NULL, "{\"metadata\":{\"name\":\"default\"}}"), 201);
}

static void test_namespaces(void **state)
{
	static const struct step steps[] = {
		{ "DELETE", "/api/v1/namespaces/kube-system", NULL, NULL, 403,
		  "namespaces \\\"kube-system\\\" is forbidden: this namespace may not be deleted", NULL },
		{ "DELETE", "/api/v1/namespaces/default", NULL, NULL, 403, "this namespace may not be deleted", NULL },
		{ "POST", "/api/v1/namespaces", NULL, "{\"metadata\":{\"name\":\"going\"}}", 201, NULL, NULL },
		{ "DELETE", "/api/v1/namespaces/going", NULL, NULL, 200, "Terminating", NULL },
		{ "POST", "/api/v1/namespaces/going/configmaps", NULL, "{\"metadata\":{\"name\":\"x\"}}", 403,
		  "unable to create new content in namespace going because it is being terminated", NULL },
		{ "POST", "/api/v1/namespaces/nowhere/configmaps", NULL, "{\"metadata\":{\"name\":\"x\"}}", 404,
		  "namespaces \\\"nowhere\\\" not found", NULL },
	};
	WALK((struct fixture *)*state, steps);
}

static void test_accounts(void **state)
{
	static const struct step steps[] = {
		{ "POST", PODS, NULL, POD("a", ",\"serviceAccountName\":\"none\""), 403,
		  "pods \\\"a\\\" is forbidden: error looking up service account default/none: serviceaccount \\\"none\\\" not found", NULL },
		{ "POST", PODS, NULL, "{\"metadata\":{\"generateName\":\"gen-\"},\"spec\":{\"serviceAccountName\":\"none\",\"containers\":["
		  "{\"name\":\"c\",\"image\":\"i\"}]}}", 403, "pods \\\"gen-\\\" is forbidden", NULL },
		{ "POST", NS "/serviceaccounts", NULL, "{\"metadata\":{\"name\":\"puller\"},\"imagePullSecrets\":[{\"name\":\"reg\"}]}", 201,
		  NULL, NULL },
		{ "POST", PODS, NULL, POD("pulls", ",\"serviceAccountName\":\"puller\""), 201, "\"imagePullSecrets\":[{\"name\":\"reg\"}]",
		  NULL },
		{ "POST", PODS, NULL, POD("own", ",\"serviceAccountName\":\"puller\",\"imagePullSecrets\":[{\"name\":\"mine\"}]"), 201,
		  "\"imagePullSecrets\":[{\"name\":\"mine\"}]", NULL },
		{ "POST", PODS, NULL, POD("quiet", ",\"automountServiceAccountToken\":false"), 201, NULL, "kube-api-access" },
		{ "POST", NS "/serviceaccounts", NULL, "{\"metadata\":{\"name\":\"strict\",\"annotations\":{"
		  "\"kubernetes.io/enforce-mountable-secrets\":\"true\"}},\"secrets\":[{\"name\":\"known\"}],"
		  "\"imagePullSecrets\":[{\"name\":\"reg\"}]}", 201, NULL, NULL },
		{ "POST", PODS, NULL, POD("v", ",\"serviceAccountName\":\"strict\",\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":"
		  "\"other\"}}]"), 403, "volume with secret.secretName=\\\"other\\\" is not allowed because service account strict does not "
		  "reference that secret", NULL },
		{ "POST", PODS, NULL, POD("w", ",\"serviceAccountName\":\"strict\",\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":"
		  "\"known\"}}]"), 201, NULL, NULL },
		{ "POST", PODS, NULL, "{\"metadata\":{\"name\":\"e\"},\"spec\":{\"serviceAccountName\":\"strict\",\"containers\":[{\"name\":"
		  "\"c\",\"image\":\"i\",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"other\",\"key\":\"k\"}}}]}]}}", 403,
		  "container c with envVar E referencing secret.secretName=\\\"other\\\" is not allowed", NULL },
		{ "POST", PODS, NULL, POD("p", ",\"serviceAccountName\":\"strict\",\"imagePullSecrets\":[{\"name\":\"other\"}]"), 403,
		  "imagePullSecrets[0].name=\\\"other\\\" is not allowed because service account strict does not reference that "
		  "imagePullSecret", NULL },
	};
	make_account(*state);
	WALK((struct fixture *)*state, steps);
}

static void test_priorities(void **state)
{
	static const struct step steps[] = {
		{ "POST", PODS, NULL, POD("none", ",\"priorityClassName\":\"no\""), 403,
		  "pods \\\"none\\\" is forbidden: no PriorityClass with name no was found", NULL },
		{ "POST", PODS, NULL, POD("plain", ""), 201, "\"priority\":0", "priorityClassName" },
		{ "POST", PRIORITIES, NULL, "{\"metadata\":{\"name\":\"polite\"},\"value\":7,\"globalDefault\":true,\"preemptionPolicy\":"
		  "\"Never\"}", 201, NULL, NULL },
		{ "POST", PRIORITIES, NULL, "{\"metadata\":{\"name\":\"second\"},\"value\":9,\"globalDefault\":true}", 403,
		  "PriorityClass polite is already marked as default. Only one default can exist", NULL },
		{ "PATCH", PRIORITIES "/polite", MERGE, "{\"description\":\"of all\"}", 200, NULL, NULL },
		{ "POST", PODS, NULL, POD("default", ""), 201, "\"priorityClassName\":\"polite\"", NULL },
		{ "GET", PODS "/default", NULL, NULL, 200, "\"preemptionPolicy\":\"Never\"", NULL },
		{ "POST", PODS, NULL, POD("rude", ",\"preemptionPolicy\":\"PreemptLowerPriority\""), 403,
		  "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission "
		  "controller computed Never from the given PriorityClass name", NULL },
		{ "POST", PODS, NULL, POD("high", ",\"priority\":100"), 403, "the integer value of priority (100) must not be provided", NULL },
		{ "DELETE", PRIORITIES "/polite", NULL, NULL, 200, NULL, NULL },
		{ "POST", PRIORITIES, NULL, "{\"metadata\":{\"name\":\"second\"},\"value\":9,\"globalDefault\":true}", 201, NULL, NULL },
	};
	make_account(*state);
	WALK((struct fixture *)*state, steps);
}

static void test_runtime_classes(void **state)
{
	static const struct step steps[] = {
		{ "POST", PODS, NULL, POD("a", ",\"runtimeClassName\":\"vm\""), 403,
		  "pods \\\"a\\\" is forbidden: pod rejected: RuntimeClass \\\"vm\\\" not found", NULL },
		{ "POST", PODS, NULL, POD("a", ",\"overhead\":{\"cpu\":\"1\"}"), 403,
		  "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead", NULL },
		{ "POST", CLASSES, NULL, "{\"metadata\":{\"name\":\"vm\"},\"handler\":\"kata\",\"overhead\":{\"podFixed\":{\"cpu\":\"250m\"}},"
		  "\"scheduling\":{\"nodeSelector\":{\"vm\":\"yes\"},\"tolerations\":[{\"key\":\"vm\",\"operator\":\"Exists\"}]}}", 201, NULL,
		  NULL },
		{ "POST", PODS, NULL, POD("a", ",\"runtimeClassName\":\"vm\",\"nodeSelector\":{\"disk\":\"fast\"}"), 201,
		  "\"overhead\":{\"cpu\":\"250m\"}", NULL },
		{ "GET", PODS "/a", NULL, NULL, 200, "\"nodeSelector\":{\"disk\":\"fast\",\"vm\":\"yes\"}", NULL },
		{ "GET", PODS "/a", NULL, NULL, 200, "{\"key\":\"vm\",\"operator\":\"Exists\"}", NULL },
		{ "POST", PODS, NULL, POD("b", ",\"runtimeClassName\":\"vm\",\"overhead\":{\"cpu\":\"1\"}"), 403,
		  "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead", NULL },
		{ "POST", PODS, NULL, POD("b", ",\"runtimeClassName\":\"vm\",\"nodeSelector\":{\"vm\":\"no\"}"), 403,
		  "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no", NULL },
	};
	make_account(*state);
	WALK((struct fixture *)*state, steps);
}

#define CLAIM(name, class) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"storageClassName\":\"" class \
	"\",\"volumeName\":\"v\",\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}"
#define GROW "{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"2Gi\"}}}}"

static void test_storage(void **state)
{
	static const struct step steps[] = {
		{ "POST", "/api/v1/persistentvolumes", NULL, "{\"metadata\":{\"name\":\"v\"},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},"
		  "\"accessModes\":[\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/v\"}}}", 201, "\"kubernetes.io/pv-protection\"", NULL },
		{ "POST", STORAGE "/volumeattributesclasses", NULL, "{\"metadata\":{\"name\":\"a\"},\"driverName\":\"d\",\"parameters\":"
		  "{\"iops\":\"1\"}}", 201, "\"kubernetes.io/vac-protection\"", NULL },
		{ "POST", STORAGE "/storageclasses", NULL, "{\"metadata\":{\"name\":\"grows\"},\"provisioner\":\"p\",\"allowVolumeExpansion\":"
		  "true}", 201, NULL, NULL },
		{ "POST", STORAGE "/storageclasses", NULL, "{\"metadata\":{\"name\":\"fixed\"},\"provisioner\":\"p\"}", 201, NULL, NULL },
		{ "POST", CLAIMS, NULL, CLAIM("g", "grows"), 201, "\"finalizers\":[\"kubernetes.io/pvc-protection\"]", NULL },
		{ "POST", CLAIMS, NULL, CLAIM("f", "fixed"), 201, NULL, NULL },
		{ "PATCH", CLAIMS "/f/status", MERGE, "{\"status\":{\"phase\":\"Bound\"}}", 200, NULL, NULL },
		{ "PATCH", CLAIMS "/f", MERGE, GROW, 403, "persistentvolumeclaims \\\"f\\\" is forbidden: only dynamically provisioned pvc can be "
		  "resized and the storageclass that provisions the pvc must support resize", NULL },
		{ "PATCH", CLAIMS "/g/status", MERGE, "{\"status\":{\"phase\":\"Bound\"}}", 200, NULL, NULL },
		{ "PATCH", CLAIMS "/g", MERGE, GROW, 200, "\"storage\":\"2Gi\"", NULL },
		/* What is protected only goes when its finalizer does. */
		{ "DELETE", CLAIMS "/g", NULL, NULL, 200, "deletionTimestamp", NULL },
		{ "GET", CLAIMS "/g", NULL, NULL, 200, "deletionTimestamp", NULL },
		{ "PATCH", CLAIMS "/g", MERGE, "{\"metadata\":{\"finalizers\":null}}", 200, NULL, NULL },
		{ "GET", CLAIMS "/g", NULL, NULL, 404, NULL, NULL },
	};
	WALK((struct fixture *)*state, steps);
}

static void test_nodes(void **state)
{
	static const struct step steps[] = {
		{ "POST", "/api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"n\"}}", 201,
		  "\"taints\":[{\"key\":\"node.kubernetes.io/not-ready\",\"effect\":\"NoSchedule\"}]", NULL },
	};
	WALK((struct fixture *)*state, steps);
}

/* A limit is looked at in what will be stored, and in what a claim becomes. */
static void test_limits(void **state)
{
	static const struct step steps[] = {
		{ "POST", NS "/limitranges", NULL, "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"limits\":[{\"type\":\"Container\",\"max\":{"
		  "\"memory\":\"1Gi\"},\"default\":{\"memory\":\"256Mi\"}},{\"type\":\"PersistentVolumeClaim\",\"max\":{\"storage\":"
		  "\"1Gi\"}}]}}", 201, NULL, NULL },
		{ "POST", PODS, NULL, POD("a", ""), 201, "\"limits\":{\"memory\":\"256Mi\"}", NULL },
		{ "POST", PODS, NULL, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":"
		  "{\"limits\":{\"memory\":\"2Gi\"}}}]}}", 403,
		  "pods \\\"b\\\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi", NULL },
		/* What is invalid is told first. */
		{ "POST", PODS, NULL, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":"
		  "{\"limits\":{\"memory\":\"2Gi\"}}}]}}", 422, "image: Required value", NULL },
		{ "POST", STORAGE "/storageclasses", NULL, "{\"metadata\":{\"name\":\"grows\"},\"provisioner\":\"p\",\"allowVolumeExpansion\":"
		  "true}", 201, NULL, NULL },
		{ "POST", CLAIMS, NULL, CLAIM("g", "grows"), 201, NULL, NULL },
		{ "PATCH", CLAIMS "/g/status", MERGE, "{\"status\":{\"phase\":\"Bound\"}}", 200, NULL, NULL },
		{ "PATCH", CLAIMS "/g", MERGE, GROW, 403, "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi", NULL },
	};
	make_account(*state);
	WALK((struct fixture *)*state, steps);
}

/* A write that another plugin or the store refuses takes nothing from a quota. */
static void test_quota(void **state)
{
	static const struct step steps[] = {
		{ "POST", NS "/resourcequotas", NULL, "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"hard\":{\"count/configmaps\":\"2\"}}}", 201, NULL,
		  NULL },
		{ "POST", NS "/configmaps", NULL, "{\"metadata\":{\"name\":\"a\"}}", 201, NULL, NULL },
		{ "POST", NS "/configmaps", NULL, "{\"metadata\":{\"name\":\"a\"}}", 409, "already exists", NULL },
		{ "GET", NS "/resourcequotas/q", NULL, NULL, 200, "\"used\":{\"count/configmaps\":\"1\"}", NULL },
		{ "POST", NS "/configmaps", NULL, "{\"metadata\":{\"name\":\"b\"}}", 201, NULL, NULL },
		{ "POST", NS "/configmaps", NULL, "{\"metadata\":{\"name\":\"c\"}}", 403, "configmaps \\\"c\\\" is forbidden: exceeded quota: q, "
		  "requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2", NULL },
		{ "POST", NS "/configmaps", NULL, "{\"metadata\":{\"name\":\"a\"}}", 403, "exceeded quota", NULL },
	};
	WALK((struct fixture *)*state, steps);
}

#define ENFORCE(level) "{\"metadata\":{\"labels\":{\"pod-security.kubernetes.io/enforce\":\"" level "\"}}}"
#define HOST ",\"hostNetwork\":true"

static void test_pod_security(void **state)
{
	static const struct step steps[] = {
		{ "POST", PODS, NULL, POD("h1", HOST), 201, NULL, NULL },
		{ "POST", PODS, NULL, POD("h2", HOST), 201, NULL, NULL },
		{ "PATCH", NS, MERGE, ENFORCE("baseline"), 200, NULL, NULL },
		{ "POST", PODS, NULL, POD("h3", HOST), 403,
		  "pods \\\"h3\\\" is forbidden: violates PodSecurity \\\"baseline:latest\\\": host namespaces (hostNetwork=true)", NULL },
		/* What runs may change in ways that do not matter, but take no other image. */
		{ "PATCH", PODS "/h1", MERGE, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 200, NULL, NULL },
		{ "PATCH", PODS "/h1", SMP, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"other\"}]}}", 403, "violates PodSecurity", NULL },
	};
	struct fixture *f = *state;
	make_account(f);
	WALK(f, steps);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_namespaces), TEST(test_accounts), TEST(test_priorities), TEST(test_runtime_classes),
		TEST(test_storage), TEST(test_nodes), TEST(test_limits), TEST(test_quota), TEST(test_pod_security) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
