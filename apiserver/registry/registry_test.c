// SPDX-License-Identifier: GPL-2.0-or-later
/* The API as a client sees it: verbs, forms, identities, watches. */
#include "apiserver/registry/registry_fixture.h"

#define CM "/api/v1/namespaces/default/configmaps"

static void test_create_update_delete(void **state)
{
	static const struct step steps[] = {
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}", 201, "\"uid\":", NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"a\"}}", 409, "configmaps \\\"a\\\" already exists", NULL },
		{ "GET", CM "/a", NULL, NULL, 200, "\"k\":\"v\"", NULL },
		{ "GET", CM "/b", NULL, NULL, 404, "configmaps \\\"b\\\" not found", NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"generateName\":\"g-\"}}", 201, "\"name\":\"g-", NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"No_Good\"}}", 422, "RFC 1123", NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"x\",\"namespace\":\"other\"}}", 400, "does not match", NULL },
		{ "POST", "/api/v1/namespaces/nope/configmaps", NULL, "{\"metadata\":{\"name\":\"x\"}}", 404,
		  "namespaces \\\"nope\\\" not found", NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"7\"}}", 400, "should not be set", NULL },
		{ "PUT", CM "/a", NULL, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"w\"}}", 200, "\"k\":\"w\"", NULL },
		{ "PUT", CM "/a", NULL, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}", 409, "the object has been modified",
		  NULL },
		{ "PUT", CM "/a", NULL, "{\"metadata\":{\"name\":\"b\"}}", 400, "does not match the name on the URL (a)", NULL },
		{ "PUT", CM "/zz", NULL, "{\"metadata\":{\"name\":\"zz\"}}", 404, NULL, NULL },
		{ "PUT", CM "/a", NULL, "{\"metadata\":{\"name\":\"a\",\"uid\":\"nope\"}}", 409, "Precondition failed", NULL },
		{ "PATCH", CM "/a", MERGE, "{\"data\":{\"m\":\"1\",\"k\":null}}", 200, "\"data\":{\"m\":\"1\"}", NULL },
		{ "PATCH", CM "/a", JSONP, "[{\"op\":\"add\",\"path\":\"/data/j\",\"value\":\"2\"}]", 200, "\"j\":\"2\"", NULL },
		{ "PATCH", CM "/a", SMP, "{\"metadata\":{\"labels\":{\"l\":\"1\"}}}", 200, "\"l\":\"1\"", NULL },
		{ "PATCH", CM "/a", MERGE, "{\"metadata\":{\"resourceVersion\":\"1\"}}", 409, NULL, NULL },
		{ "PATCH", CM "/a", "application/apply-patch+yaml", "{}", 422, "fieldManager: Required value", NULL },
		{ "PATCH", CM "/a", "text/plain", "{}", 415, NULL, NULL },
		{ "DELETE", CM "/a", NULL, "{\"preconditions\":{\"uid\":\"x\"}}", 409, "UID in the precondition (x)", NULL },
		{ "DELETE", CM "/a", NULL, NULL, 200, "\"status\":\"Success\"", NULL },
		{ "DELETE", CM "/a", NULL, NULL, 404, NULL, NULL },
		{ "DELETE", CM, NULL, NULL, 200, "ConfigMapList", NULL },
		{ "GET", CM, NULL, NULL, 200, "\"items\":[]", NULL },
	};
	WALK(*state, steps);
}

#define APPLY "application/apply-patch+yaml"
static void test_server_side_apply(void **state)
{
	static const struct step steps[] = {
		{ "PATCH", CM "/s?fieldManager=a", APPLY, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {k: v, l: w}\n", 201,
		  "\"manager\":\"a\",\"operation\":\"Apply\"", NULL },
		{ "PATCH", CM "/s?fieldManager=a", APPLY, "apiVersion: v1\nkind: ConfigMap\ndata: {k: v}\n", 200, "\"data\":{\"k\":\"v\"}", NULL },
		{ "PATCH", CM "/s?fieldManager=b", APPLY, "apiVersion: v1\nkind: ConfigMap\ndata: {k: x}\n", 409,
		  "conflict with \\\"a\\\": .data.k", NULL },
		{ "PATCH", CM "/s?fieldManager=b&force=true", APPLY, "apiVersion: v1\nkind: ConfigMap\ndata: {k: x}\n", 200,
		  "\"k\":\"x\"", NULL },
		{ "PUT", CM "/s", NULL, "{\"metadata\":{\"name\":\"s\"},\"data\":{\"k\":\"y\"}}", 200,
		  "\"manager\":\"registry-test\",\"operation\":\"Update\"", NULL },
		{ "PATCH", CM "/s?fieldManager=a", APPLY, "kind: ConfigMap\n", 400, "needs apiVersion and kind", NULL },
		{ "PATCH", CM "/s?fieldManager=a", APPLY, "apiVersion: v1\nkind: Secret\n", 400, NULL, NULL },
		{ "PATCH", CM "/s?fieldManager=a", APPLY, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: t}\n", 400,
		  "does not match the name on the URL", NULL },
		{ "PATCH", CM "/s?fieldManager=a", APPLY, "apiVersion: v1\nkind: ConfigMap\nmetadata: {managedFields: [{manager: x}]}\n", 400,
		  "metadata.managedFields must be nil", NULL },
		{ "PATCH", CM "/s?fieldManager=a", APPLY, "{oops", 400, NULL, NULL },
		{ "PATCH", CM "/s?force=true", MERGE, "{}", 422, "may not be specified for non-apply patch", NULL },
		{ "DELETE", CM "/s", NULL, NULL, 200, NULL, NULL },
	};
	WALK(*state, steps);
}

static void test_default_classes(void **state)
{
#define CLASSES "/apis/networking.k8s.io/v1/ingressclasses"
#define INGRESSES "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
#define DEFAULT(name, group) "{\"metadata\":{\"name\":\"" name "\",\"annotations\":{\"" group ".kubernetes.io/is-default-class\":\"true\"}},"
#define BACKEND "\"spec\":{\"defaultBackend\":{\"service\":{\"name\":\"s\",\"port\":{\"number\":80}}}}}"
#define CLAIM "\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}"
	static const struct step steps[] = {
		{ "POST", INGRESSES, NULL, "{\"metadata\":{\"name\":\"none\"}," BACKEND, 201, NULL, "\"ingressClassName\"" },
		{ "POST", CLASSES, NULL, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"controller\":\"x.y/z\"}}", 201, NULL, NULL },
		{ "POST", CLASSES, NULL, DEFAULT("b", "ingressclass") "\"spec\":{\"controller\":\"x.y/z\"}}", 201, NULL, NULL },
		{ "POST", INGRESSES, NULL, "{\"metadata\":{\"name\":\"given\"}," BACKEND, 201, "\"ingressClassName\":\"b\"", NULL },
		{ "POST", "/apis/storage.k8s.io/v1/storageclasses", NULL, DEFAULT("fast", "storageclass") "\"provisioner\":\"p\"}", 201, NULL, NULL },
		{ "POST", "/api/v1/namespaces/default/persistentvolumeclaims", NULL, "{\"metadata\":{\"name\":\"c\"}," CLAIM "}}", 201,
		  "\"storageClassName\":\"fast\"", NULL },
		/* The empty class is a class: none. */
		{ "POST", "/api/v1/namespaces/default/persistentvolumeclaims", NULL,
		  "{\"metadata\":{\"name\":\"d\"}," CLAIM ",\"storageClassName\":\"\"}}", 201, NULL, "\"storageClassName\":\"fast\"" },
	};
	WALK(*state, steps);
#undef CLASSES
#undef INGRESSES
#undef DEFAULT
#undef BACKEND
#undef CLAIM
}

static void test_pod_security(void **state)
{
#define PODS "/api/v1/namespaces/strict/pods"
	static const struct step steps[] = {
		{ "POST", "/api/v1/namespaces", NULL, "{\"metadata\":{\"name\":\"x\",\"labels\":{\"pod-security.kubernetes.io/enforce\":\"x\"}}}", 422,
		  "must be one of privileged, baseline, restricted", NULL },
		{ "POST", "/api/v1/namespaces", NULL,
		  "{\"metadata\":{\"name\":\"strict\",\"labels\":{\"pod-security.kubernetes.io/enforce\":\"baseline\"}}}", 201, NULL, NULL },
		{ "POST", "/api/v1/namespaces/strict/serviceaccounts", NULL, "{\"metadata\":{\"name\":\"default\"}}", 201, NULL, NULL },
		{ "POST", PODS, NULL, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 403,
		  "pods \\\"p\\\" is forbidden: violates PodSecurity \\\"baseline:latest\\\": host namespaces (hostNetwork=true)", NULL },
		{ "POST", PODS, NULL, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 201, NULL, NULL },
		/* A pod that says it is this machine is not proxied to. */
		{ "GET", PODS "/p/proxy/", NULL, NULL, 503, "has no address", NULL },
		{ "PATCH", PODS "/p/status", MERGE, "{\"status\":{\"podIP\":\"127.0.0.1\",\"podIPs\":[{\"ip\":\"127.0.0.1\"}]}}", 200, NULL, NULL },
		{ "GET", PODS "/p:80/proxy/", NULL, NULL, 400, "address not allowed", NULL },
		{ "GET", PODS "/a:b:c:d/proxy/", NULL, NULL, 400, "invalid pod request", NULL },
		{ "PATCH", "/api/v1/namespaces/strict", MERGE, "{\"metadata\":{\"labels\":{\"pod-security.kubernetes.io/enforce-version\":\"2\"}}}", 422,
		  "must be \\\"latest\\\" or \\\"v1.x\\\"", NULL },
	};
	WALK(*state, steps);
#undef PODS
}

static void test_quota_and_limits(void **state)
{
#define Q "/api/v1/namespaces/q/"
#define POD(name, resources) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"," \
	"\"resources\":{" resources "}}]}}"
#define CPU(n) "\"requests\":{\"cpu\":\"" n "\"}"
	static const struct step steps[] = {
		{ "POST", "/api/v1/namespaces", NULL, "{\"metadata\":{\"name\":\"q\"}}", 201, NULL, NULL },
		{ "POST", Q "serviceaccounts", NULL, "{\"metadata\":{\"name\":\"default\"}}", 201, NULL, NULL },
		{ "POST", Q "resourcequotas", NULL, "{\"metadata\":{\"name\":\"few\"},\"spec\":{\"hard\":{\"pods\":\"2\",\"requests.cpu\":\"1\","
		  "\"configmaps\":\"1\",\"count/deployments.apps\":\"0\",\"services.nodeports\":\"0\"}}}", 201, NULL, NULL },
		{ "POST", Q "pods", NULL, POD("a", ""), 403, "failed quota: few: must specify requests.cpu for: c", NULL },
		{ "POST", Q "pods", NULL, POD("a", CPU("600m")), 201, NULL, NULL },
		{ "POST", Q "pods", NULL, POD("b", CPU("600m")), 403,
		  "exceeded quota: few, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1", NULL },
		{ "POST", Q "pods?dryRun=All", NULL, POD("b", CPU("100m")), 201, NULL, NULL },
		{ "POST", Q "pods", NULL, POD("b", CPU("100m")), 201, NULL, NULL },
		{ "POST", Q "pods", NULL, POD("c", CPU("100m")), 403, "used: pods=2, limited: pods=2", NULL },
		{ "GET", Q "resourcequotas/few", NULL, NULL, 200, "\"pods\":\"2\",\"requests.cpu\":\"700m\"", NULL },
		{ "POST", Q "configmaps", NULL, "{\"metadata\":{\"name\":\"a\"}}", 201, NULL, NULL },
		{ "POST", Q "configmaps", NULL, "{\"metadata\":{\"name\":\"b\"}}", 403, "exceeded quota: few, requested: configmaps=1", NULL },
		{ "POST", Q "services", NULL, "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}]}}", 201, NULL, NULL },
		{ "PATCH", Q "services/s", MERGE, "{\"spec\":{\"type\":\"NodePort\"}}", 403, "services.nodeports=1", NULL },
		{ "POST", Q "limitranges", NULL, "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"limits\":[{\"type\":\"Container\","
		  "\"default\":{\"memory\":\"64Mi\"},\"defaultRequest\":{\"cpu\":\"10m\"},\"max\":{\"memory\":\"128Mi\"}}]}}", 201, NULL, NULL },
		{ "DELETE", Q "pods/a?gracePeriodSeconds=0", NULL, NULL, 200, NULL, NULL },
	};
	static const struct step later[] = {
		{ "POST", Q "pods", NULL, POD("d", "\"limits\":{\"memory\":\"1Gi\"}"), 403,
		  "maximum memory usage per Container is 128Mi, but limit is 1Gi", NULL },
		{ "POST", Q "pods", NULL, POD("d", ""), 201, "LimitRanger plugin set: cpu, memory request for container c; memory limit for container c", NULL },
	};
	struct fixture *f = *state;
	WALK(f, steps);
	/* The place of the pod that went is found a moment later. */
	for (int i = 0; i < 100 && !strstr(f->text.data, "\"pods\":\"1\""); i++) {
		uv_sleep(20);
		ask(f, f->admin, "GET", Q "resourcequotas/few", NULL, NULL, NULL);
	}
	assert_non_null(strstr(f->text.data, "\"pods\":\"1\",\"requests.cpu\":\"100m\""));
	WALK(f, later);
#undef Q
#undef POD
#undef CPU
}

static void test_bad_bodies(void **state)
{
	static const struct step steps[] = {
		{ "POST", CM, NULL, "{oops", 400, "BadRequest", NULL },
		{ "POST", CM, NULL, "[]", 400, NULL, NULL },
		{ "POST", CM, NULL, "", 400, NULL, NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"x\"},\"data\":{\"k\":1}}", 400, "json: cannot unmarshal number", NULL },
		{ "POST", CM, NULL, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\"}}", 400, NULL, NULL },
		{ "POST", CM, NULL, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v2\",\"metadata\":{\"name\":\"x\"}}", 400,
		  "does not match the expected API version (v1)", NULL },
		{ "POST", CM, "text/plain", "a", 415, "accepted media types include", NULL },
		{ "POST", CM, "application/vnd.kubernetes.protobuf", "k8s", 400, NULL, NULL },
		{ "POST", CM "?fieldValidation=Strict", NULL, "{\"metadata\":{\"name\":\"x\"},\"dta\":1}", 400,
		  "strict decoding error: unknown field \\\"dta\\\"", NULL },
		{ "POST", CM "?fieldValidation=Ignore", NULL, "{\"metadata\":{\"name\":\"x\"},\"dta\":1}", 201, NULL, "dta" },
		{ "POST", CM "?fieldValidation=Maybe", NULL, "{\"metadata\":{\"name\":\"y\"}}", 422, "fieldValidation", NULL },
		{ "POST", CM "?dryRun=Some", NULL, "{\"metadata\":{\"name\":\"y\"}}", 422, "dryRun", NULL },
		{ "POST", CM "?dryRun=All", NULL, "{\"metadata\":{\"name\":\"y\"}}", 201, NULL, "resourceVersion" },
		{ "GET", CM "/y", NULL, NULL, 404, NULL, NULL },
		{ "POST", CM, "application/yaml", "metadata:\n  name: y\ndata:\n  k: v\n", 201, "\"k\":\"v\"", NULL },
		{ "GET", "/api/v1/namespaces/default/nosuch", NULL, NULL, 404, "could not find the requested resource", NULL },
		{ "POST", "/api/v1/componentstatuses", NULL, "{}", 405, "MethodNotAllowed", NULL },
		{ "GET", "/api/v1/namespaces/default/configmaps/%zz", NULL, NULL, 400, NULL, NULL },
	};
	WALK(*state, steps);
	struct fixture *f = *state;
	assert_int_equal(ask(f, f->admin, "GET", CM "/y", NULL, "text/html", NULL), 406);
}

static void test_finalizers_and_namespaces(void **state)
{
	static const struct step steps[] = {
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.y/z\"]}}", 201, NULL, NULL },
		{ "DELETE", CM "/a", NULL, NULL, 200, "\"deletionTimestamp\":", NULL },
		{ "PATCH", CM "/a", MERGE, "{\"metadata\":{\"finalizers\":[\"x.y/z\",\"n.e/w\"]}}", 422, "no new finalizers", NULL },
		{ "PATCH", CM "/a", MERGE, "{\"metadata\":{\"finalizers\":null}}", 200, NULL, NULL },
		{ "GET", CM "/a", NULL, NULL, 404, NULL, NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"b\"}}", 201, NULL, NULL },
		{ "DELETE", CM "/b?propagationPolicy=Foreground", NULL, NULL, 200, "\"foregroundDeletion\"", NULL },
		{ "DELETE", CM "/b?propagationPolicy=Sideways", NULL, NULL, 422, "propagationPolicy", NULL },
		{ "POST", "/api/v1/namespaces", NULL, "{\"metadata\":{\"name\":\"n\"}}", 201, "\"finalizers\":[\"kubernetes\"]", NULL },
		{ "DELETE", "/api/v1/namespaces/default", NULL, NULL, 403, "this namespace may not be deleted", NULL },
		{ "DELETE", "/api/v1/namespaces/n", NULL, NULL, 200, "\"phase\":\"Terminating\"", NULL },
		{ "POST", "/api/v1/namespaces/n/configmaps", NULL, "{\"metadata\":{\"name\":\"a\"}}", 403,
		  "unable to create new content in namespace n because it is being terminated", NULL },
		{ "DELETE", "/api/v1/namespaces/n", NULL, NULL, 409, "ensuring all content is removed", NULL },
		{ "PUT", "/api/v1/namespaces/n/finalize", NULL, "{\"metadata\":{\"name\":\"n\"},\"spec\":{}}", 200, NULL, NULL },
		{ "GET", "/api/v1/namespaces/n", NULL, NULL, 404, NULL, NULL },
	};
	WALK(*state, steps);
}

#define SVC "/api/v1/namespaces/default/services"

static void test_service_addresses(void **state)
{
	struct fixture *f = *state;
	static const struct step steps[] = {
		{ "POST", SVC, NULL, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"clusterIP\":\"10.96.0.20\",\"ports\":[{\"port\":80}]}}", 201,
		  "\"clusterIPs\":[\"10.96.0.20\"]", NULL },
		{ "POST", SVC, NULL, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"clusterIP\":\"10.96.0.20\",\"ports\":[{\"port\":80}]}}", 422,
		  "failed to allocate IP 10.96.0.20: provided IP is already allocated", NULL },
		{ "POST", SVC, NULL, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"clusterIP\":\"10.97.0.1\",\"ports\":[{\"port\":80}]}}", 422,
		  "The range of valid IPs is 10.96.0.0/24", NULL },
		{ "POST", SVC, NULL,
		  "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30005}]}}", 201,
		  "\"nodePort\":30005", NULL },
		{ "POST", SVC, NULL,
		  "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30005}]}}", 422,
		  "30005: provided port is already allocated", NULL },
		{ "POST", SVC, NULL,
		  "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":80}]}}", 422,
		  "The range of valid ports is 30000-30010", NULL },
		/* A refused Service took nothing: the port is still free. */
		{ "POST", SVC, NULL,
		  "{\"metadata\":{\"name\":\"Bad Name\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30006}]}}", 422,
		  NULL, NULL },
		{ "POST", SVC "?dryRun=All", NULL,
		  "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30006}]}}", 201, NULL,
		  NULL },
		{ "POST", SVC, NULL,
		  "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30006}]}}", 201, NULL,
		  NULL },
		{ "PATCH", SVC "/n", SMP, "{\"spec\":{\"type\":\"ClusterIP\"}}", 200, NULL, "\"nodePort\"" },
		{ "PATCH", SVC "/m", JSONP, "[{\"op\":\"replace\",\"path\":\"/spec/ports/0/nodePort\",\"value\":30005}]", 200,
		  "\"nodePort\":30005", NULL },
		{ "PATCH", SVC "/m", MERGE, "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", 200, "\"nodePort\":30005", NULL },
		{ "DELETE", SVC "/a", NULL, NULL, 200, "\"kind\":\"Service\"", NULL },
		{ "POST", SVC, NULL, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"clusterIP\":\"10.96.0.20\",\"ports\":[{\"port\":80}]}}", 201,
		  NULL, NULL },
		{ "POST", SVC, NULL, "{\"metadata\":{\"name\":\"h\"},\"spec\":{\"clusterIP\":\"None\",\"selector\":{\"a\":\"b\"}}}", 201,
		  "\"clusterIPs\":[\"None\"]", NULL },
		{ "POST", SVC, NULL, "{\"metadata\":{\"name\":\"e\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}", 201, NULL,
		  "clusterIP" },
	};
	WALK(f, steps);
	/* What is stored is taken after a restart, too. */
	stop(f);
	start(f);
	static const struct step after[] = {
		{ "POST", SVC, NULL, "{\"metadata\":{\"name\":\"z\"},\"spec\":{\"clusterIP\":\"10.96.0.20\",\"ports\":[{\"port\":80}]}}", 422,
		  "already allocated", NULL },
		{ "POST", SVC, NULL,
		  "{\"metadata\":{\"name\":\"z\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30005}]}}", 422,
		  "already allocated", NULL },
		{ "GET", SVC "/kubernetes", NULL, NULL, 200, "\"clusterIP\":\"10.96.0.1\"", NULL },
		{ "GET", "/api/v1/namespaces/default/endpoints/kubernetes", NULL, NULL, 200, "192.0.2.1", NULL },
	};
	WALK(f, after);
	/* All eleven ports, and one more. */
	char body[200], path[] = SVC;
	int status = 201;
	unsigned made = 0;
	for (; status == 201 && made < 20; made++) {
		snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"p%u\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}",
			 made);
		status = ask(f, f->admin, "POST", path, NULL, NULL, body);
	}
	assert_int_equal(status, 500);
	assert_int_equal(made, 11); /* 10 free ones beside m's, then the refusal */
}

#define POD "/api/v1/namespaces/default/pods"

static void test_pods(void **state)
{
	static const struct step steps[] = {
		{ "POST", POD, NULL, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 403,
		  "error looking up service account default/default", NULL },
		{ "POST", "/api/v1/namespaces/default/serviceaccounts", NULL, "{\"metadata\":{\"name\":\"default\"}}", 201, NULL, NULL },
		{ "POST", POD, NULL, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 201,
		  "\"expirationSeconds\":3607", NULL },
		{ "GET", POD "/p", NULL, NULL, 200, "node.kubernetes.io/unreachable", NULL },
		{ "POST", POD, NULL,
		  "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"priorityClassName\":\"nope\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}",
		  403, "no PriorityClass with name nope was found", NULL },
		{ "POST", POD "/p/binding", NULL, "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}", 201, "Success", NULL },
		{ "POST", POD "/p/binding", NULL, "{\"target\":{\"kind\":\"Node\",\"name\":\"n2\"}}", 409,
		  "pod p is already assigned to node \\\"n1\\\"", NULL },
		{ "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", NULL, NULL, 200, "\"name\":\"p\"", NULL },
		{ "GET", "/api/v1/pods?fieldSelector=spec.nodeName%21%3Dn1", NULL, NULL, 200, "\"items\":[]", NULL },
		{ "GET", "/api/v1/pods?fieldSelector=spec.color%3Dn1", NULL, NULL, 400, "field label not supported: spec.color", NULL },
		{ "PATCH", POD "/p/status", SMP, "{\"status\":{\"phase\":\"Running\"},\"spec\":{\"nodeName\":\"x\"}}", 200,
		  "\"nodeName\":\"n1\"", NULL },
		{ "DELETE", POD "/p", NULL, NULL, 200, "\"deletionGracePeriodSeconds\":30", NULL },
		{ "GET", POD "/p", NULL, NULL, 200, "deletionTimestamp", NULL },
		{ "DELETE", POD "/p?gracePeriodSeconds=0", NULL, NULL, 200, NULL, NULL },
		{ "GET", POD "/p", NULL, NULL, 404, NULL, NULL },
		{ "GET", POD "/p/log", NULL, NULL, 404, NULL, NULL },
	};
	WALK(*state, steps);
}

static void test_pages_are_consistent(void **state)
{
	struct fixture *f = *state;
	struct strbuf names = { 0 };
	char body[64];
	for (int i = 0; i < 7; i++) {
		snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"c%d\"}}", i);
		assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, body), 201);
	}
	assert_int_equal(ask(f, f->admin, "GET", CM "?limit=2", NULL, NULL, NULL), 200);
	assert_int_equal(json_int(f->answer, "metadata.remainingItemCount", -1), 5);
	_cleanup_free_ char *first = mem_strdup(json_str(f->answer, "metadata.resourceVersion"));
	/* What happens now is not in the pages that follow. */
	assert_int_equal(ask(f, f->admin, "DELETE", CM "/c5", NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"c9\"}}"), 201);
	assert_int_equal(ask(f, f->admin, "GET", CM "?limit=2", NULL, NULL, NULL), 200);
	_cleanup_free_ char *exact = str_printf(CM "?resourceVersion=%s&resourceVersionMatch=Exact&limit=3", first);
	assert_int_equal(ask(f, f->admin, "GET", exact, NULL, NULL, NULL), 200);
	for (;;) {
		size_t i;
		json_t *v;
		assert_string_equal(json_str(f->answer, "metadata.resourceVersion"), first);
		json_array_foreach(json_object_get(f->answer, "items"), i, v)
			strbuf_addf(&names, "%s ", json_str(v, "metadata.name"));
		if (!json_str(f->answer, "metadata.continue"))
			break;
		_cleanup_free_ char *next = str_printf(CM "?limit=3&continue=%s", json_str(f->answer, "metadata.continue"));
		assert_int_equal(ask(f, f->admin, "GET", next, NULL, NULL, NULL), 200);
	}
	assert_string_equal(names.data, "c0 c1 c2 c3 c4 c5 c6 ");
	strbuf_done(&names);
	assert_int_equal(ask(f, f->admin, "GET", CM "?continue=nonsense", NULL, NULL, NULL), 400);
	assert_int_equal(ask(f, f->admin, "GET", CM "?resourceVersion=999999", NULL, NULL, NULL), 504);
	assert_non_null(strstr(f->text.data, "ResourceVersionTooLarge"));
	assert_int_equal(ask(f, f->admin, "GET", CM "?resourceVersionMatch=Exact", NULL, NULL, NULL), 422);
}

static void test_forms(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}"), 201);
	assert_int_equal(ask(f, f->admin, "GET", CM "/a", NULL, "application/vnd.kubernetes.protobuf,application/json", NULL), 200);
	assert_memory_equal(f->text.data, "k8s\0", 4);
	assert_int_equal(ask(f, f->admin, "GET", CM, NULL, "application/vnd.kubernetes.protobuf", NULL), 200);
	assert_memory_equal(f->text.data, "k8s\0", 4);
	assert_int_equal(ask(f, f->admin, "GET", CM "/a", NULL, "application/yaml", NULL), 200);
	assert_non_null(strstr(f->text.data, "  k: v\n"));
	assert_int_equal(ask(f, f->admin, "GET", CM, NULL, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", NULL), 200);
	assert_string_equal(json_str(f->answer, "kind"), "Table");
	assert_int_equal(json_array_size(json_object_get(f->answer, "rows")), 1);
	assert_int_equal(ask(f, f->admin, "GET", CM, NULL, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", NULL), 200);
	assert_string_equal(json_str(f->answer, "kind"), "PartialObjectMetadataList");
	assert_null(json_at(f->answer, "items[0].data"));
	assert_string_equal(json_str(f->answer, "items[0].metadata.name"), "a");
	assert_int_equal(ask(f, f->admin, "GET", CM, NULL, NULL, NULL), 200);
	assert_null(json_at(f->answer, "items[0].kind"));
}

static void test_versions_of_one_kind(void **state)
{
	static const struct step steps[] = {
		{ "POST", "/apis/events.k8s.io/v1/namespaces/default/events", NULL,
		  "{\"metadata\":{\"name\":\"e\"},\"eventTime\":\"2026-11-21T20:00:00.000000Z\",\"reportingController\":\"x.y/z\","
		  "\"reportingInstance\":\"i\",\"action\":\"a\",\"reason\":\"r\",\"type\":\"Normal\",\"note\":\"hello\","
		  "\"regarding\":{\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":\"default\"}}",
		  201, "\"note\":\"hello\"", "\"message\"" },
		{ "GET", "/api/v1/namespaces/default/events/e", NULL, NULL, 200, "\"message\":\"hello\"", "\"regarding\"" },
		{ "GET", "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dp", NULL, NULL, 200, "\"note\":\"hello\"", NULL },
		{ "POST", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", NULL,
		  "{\"metadata\":{\"name\":\"h\"},\"spec\":{\"maxReplicas\":3,\"targetCPUUtilizationPercentage\":70,"
		  "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\",\"apiVersion\":\"apps/v1\"}}}",
		  201, "\"targetCPUUtilizationPercentage\":70", "\"metrics\"" },
		{ "GET", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h", NULL, NULL, 200, "\"averageUtilization\":70",
		  "targetCPU" },
	};
	WALK(*state, steps);
}

static void test_events_expire(void **state)
{
	struct fixture *f = *state;
	static const struct step old[] = {
		{ "POST", "/api/v1/namespaces/default/events", NULL,
		  "{\"metadata\":{\"name\":\"old\"},\"involvedObject\":{\"namespace\":\"default\"}}", 201, NULL, NULL },
		{ "POST", "/api/v1/namespaces/default/events", NULL,
		  "{\"metadata\":{\"name\":\"touched\"},\"involvedObject\":{\"namespace\":\"default\"}}", 201, NULL, NULL },
	};
	static const struct step touch[] = {
		{ "PATCH", "/api/v1/namespaces/default/events/touched", MERGE, "{\"count\":2}", 200, NULL, NULL },
	};
	static const struct step after[] = {
		{ "GET", "/api/v1/namespaces/default/events/touched", NULL, NULL, 200, NULL, NULL },
		{ "GET", "/api/v1/namespaces/default/events/old", NULL, NULL, 404, NULL, NULL },
	};
	WALK(f, old);
	events_expire_minute(&f->g);
	WALK(f, touch);
	for (int i = 0; i < EVENTS_TTL_MINUTES - 1; i++)
		events_expire_minute(&f->g);
	assert_int_equal(ask(f, f->admin, "GET", "/api/v1/namespaces/default/events/old", NULL, NULL, NULL), 200);
	events_expire_minute(&f->g);
	while (store_get(f->g.store, f->g.events->id, "default/old"))
		uv_run(&f->loop, UV_RUN_ONCE);
	WALK(f, after);
}

static void test_scale(void **state)
{
	static const struct step steps[] = {
		{ "POST", "/apis/apps/v1/namespaces/default/deployments", NULL,
		  "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":"
		  "{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
		  201, "\"generation\":1", NULL },
		{ "GET", "/apis/apps/v1/namespaces/default/deployments/d/scale", NULL, NULL, 200, "\"selector\":\"a=b\"", NULL },
		{ "PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", MERGE, "{\"spec\":{\"replicas\":4}}", 200,
		  "\"replicas\":4", NULL },
		{ "PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", MERGE, "{\"spec\":{\"replicas\":-1}}", 422, NULL, NULL },
		{ "GET", "/apis/apps/v1/namespaces/default/deployments/d", NULL, NULL, 200, "\"generation\":2", NULL },
	};
	WALK(*state, steps);
}

static void test_identities(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ask(f, f->nobody, "GET", "/version", NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->nobody, "GET", "/healthz", NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->nobody, "GET", CM, NULL, NULL, NULL), 403);
	assert_non_null(strstr(f->text.data, "configmaps is forbidden: User \\\"system:anonymous\\\" cannot list resource"));
	assert_int_equal(ask(f, f->nobody, "GET", "/metrics", NULL, NULL, NULL), 403);
	assert_non_null(strstr(f->text.data, "forbidden: User \\\"system:anonymous\\\" cannot get path \\\"/metrics\\\""));
	f->g.options.no_anonymous = true;
	assert_int_equal(ask(f, f->nobody, "GET", CM, NULL, NULL, NULL), 401);
	assert_int_equal(ask(f, f->nobody, "GET", "/healthz", NULL, NULL, NULL), 401);
	assert_int_equal(ask(f, f->admin, "GET", CM, NULL, NULL, NULL), 200);
	f->g.options.no_anonymous = false;
	assert_int_equal(ask(f, f->bob, "GET", CM, NULL, NULL, NULL), 403);
	assert_non_null(strstr(f->text.data, "configmaps is forbidden: User \\\"bob\\\" cannot list resource \\\"configmaps\\\" in API group "
					     "\\\"\\\" in the namespace \\\"default\\\""));
	assert_int_equal(ask(f, f->admin, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", NULL, NULL,
			     "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
			     "\"name\":\"view\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"bob\"}]}"),
			 201);
	/* view is made of other roles by aggregation. */
	assert_int_equal(ask(f, f->bob, "GET", CM, NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->bob, "GET", "/api/v1/namespaces/default/secrets", NULL, NULL, NULL), 403);
	assert_int_equal(ask(f, f->bob, "GET", "/api/v1/configmaps", NULL, NULL, NULL), 403);
	assert_int_equal(ask(f, f->bob, "DELETE", CM, NULL, NULL, NULL), 403);
	assert_int_equal(ask(f, f->admin, "DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/b", NULL, NULL,
			     NULL), 200);
	assert_int_equal(ask(f, f->bob, "GET", CM, NULL, NULL, NULL), 403);
}

#define RB "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
#define BIND(name, role, user)                                                                                                  \
	"{\"metadata\":{\"name\":\"" name "\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\"," \
	"\"name\":\"" role "\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"" user "\"}]}"

static void test_nobody_grants_what_they_lack(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ask(f, f->admin, "POST", RB, NULL, NULL, BIND("b", "admin", "bob")), 201);
	/* admin of a namespace may pass on what admin has, not more. */
	assert_int_equal(ask(f, f->bob, "POST", RB, NULL, NULL, BIND("v", "view", "eve")), 201);
	assert_int_equal(ask(f, f->bob, "POST", RB, NULL, NULL, BIND("x", "cluster-admin", "bob")), 403);
	assert_non_null(strstr(f->text.data, "rolebindings.rbac.authorization.k8s.io \\\"x\\\" is forbidden: user \\\"bob\\\" (groups=["
					     "\\\"system:authenticated\\\"]) is attempting to grant RBAC permissions not currently held:\\n"
					     "{APIGroups:[\\\"*\\\"], Resources:[\\\"*\\\"], Verbs:[\\\"*\\\"]}"));
	assert_int_equal(ask(f, f->bob, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL, NULL,
			     "{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}]}"),
			 403);
	assert_int_equal(ask(f, f->bob, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL, NULL,
			     "{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"get\"]}]}"),
			 201);
	/* What they may not give does not keep them from labels. */
	assert_int_equal(ask(f, f->admin, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL, NULL,
			     "{\"metadata\":{\"name\":\"n\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes\",\"pods\"],\"verbs\":["
			     "\"watch\",\"get\"]}]}"), 201);
	assert_int_equal(ask(f, f->bob, "PATCH", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/n", MERGE, NULL,
			     "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"), 200);
	assert_int_equal(ask(f, f->bob, "POST", RB, NULL, NULL, "{\"metadata\":{\"name\":\"n\"},\"roleRef\":{\"apiGroup\":"
			     "\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"n\"}}"), 403);
	assert_non_null(strstr(f->text.data, "held:\\n{APIGroups:[\\\"\\\"], Resources:[\\\"nodes\\\"], Verbs:[\\\"get\\\" \\\"watch\\\"]}\""));
	/* Who makes roles everywhere still may not gather what others have. */
	assert_int_equal(ask(f, f->admin, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", NULL, NULL,
			     "{\"metadata\":{\"name\":\"maker\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":["
			     "\"clusterroles\"],\"verbs\":[\"create\"]}]}"), 201);
	assert_int_equal(ask(f, f->admin, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", NULL, NULL,
			     BIND("maker", "maker", "bob")), 201);
	assert_int_equal(ask(f, f->bob, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", NULL, NULL,
			     "{\"metadata\":{\"name\":\"all\"},\"aggregationRule\":{\"clusterRoleSelectors\":[{\"matchLabels\":{\"a\":\"b\"}}]}}"),
			 403);
	assert_non_null(strstr(f->text.data, "must have cluster-admin privileges to use the aggregationRule"));
}

static void test_tokens(void **state)
{
	struct fixture *f = *state;
	const char *path = "/api/v1/namespaces/default/serviceaccounts/default/token";
	assert_int_equal(ask(f, f->admin, "POST", path, NULL, NULL, "{}"), 404);
	assert_int_equal(ask(f, f->admin, "POST", "/api/v1/namespaces/default/serviceaccounts", NULL, NULL,
			     "{\"metadata\":{\"name\":\"default\"}}"), 201);
	assert_int_equal(ask(f, f->admin, "POST", path, NULL, NULL, "{\"spec\":{\"expirationSeconds\":10}}"), 422);
	assert_int_equal(ask(f, f->admin, "POST", path, NULL, NULL, "{\"spec\":{}}"), 201);
	_cleanup_free_ char *token = mem_strdup(json_str(f->answer, "status.token"));
	_cleanup_free_ char *review = str_printf("{\"spec\":{\"token\":\"%s\"}}", token);
	const char *reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
	assert_int_equal(ask(f, f->admin, "POST", reviews, NULL, NULL, review), 201);
	assert_string_equal(json_str(f->answer, "status.user.username"), "system:serviceaccount:default:default");
	_cleanup_free_ char *other = str_printf("{\"spec\":{\"token\":\"%s\",\"audiences\":[\"elsewhere\"]}}", token);
	assert_int_equal(ask(f, f->admin, "POST", reviews, NULL, NULL, other), 201);
	assert_false(json_bool(f->answer, "status.authenticated", false));
	/* One bit of the signature. */
	char *last = review + strlen(review) - 8;
	*last = *last == 'A' ? 'B' : 'A';
	assert_int_equal(ask(f, f->admin, "POST", reviews, NULL, NULL, review), 201);
	assert_false(json_bool(f->answer, "status.authenticated", false));
	/* The ServiceAccount goes, and its tokens with it. */
	assert_int_equal(ask(f, f->admin, "DELETE", "/api/v1/namespaces/default/serviceaccounts/default", NULL, NULL, NULL), 200);
	_cleanup_free_ char *again = str_printf("{\"spec\":{\"token\":\"%s\"}}", token);
	assert_int_equal(ask(f, f->admin, "POST", reviews, NULL, NULL, again), 201);
	assert_false(json_bool(f->answer, "status.authenticated", false));
}

/* Watch */

struct stream {
	struct http_client *client; /* a connection of its own */
	struct strbuf text;
	bool done;
	int status;
};

static int on_data(int status, const void *data, size_t len, void *user)
{
	struct stream *s = user;
	s->status = status;
	strbuf_add(&s->text, data, len);
	return 0;
}

static void on_stream_done(const struct http_answer *a, void *user)
{
	struct stream *s = user;
	s->status = a->status;
	s->done = true;
	if (!a->status)
		print_error("transport: %s\n", a->error);
	if (a->body_len)
		strbuf_add(&s->text, a->body, a->body_len);
}

static void watch_begin(struct fixture *f, struct stream *s, const char *query)
{
	_cleanup_free_ char *url = str_printf("%s" CM "?watch=1%s", f->url, query);
	const struct http_call_request r = { .method = "GET", .url = url, .timeout_ms = 20000 };
	s->client = client(f, "admin");
	http_client_call(s->client, &r, on_data, on_stream_done, s);
}

static void stream_done(struct stream *s)
{
	http_client_free(s->client);
	strbuf_done(&s->text);
}

/* Types and names, in order: "ADDED:a ". */
static char *events_of(const struct stream *s)
{
	struct strbuf out = { 0 };
	for (const char *p = s->text.data; p && *p;) {
		size_t len = strcspn(p, "\n");
		_cleanup_json_ json_t *v = json_parse(p, len, NULL, NULL);
		strbuf_addf(&out, "%s:%s ", json_str_or(v, "type", "?"), json_str_or(v, "object.metadata.name", "-"));
		p += len + (p[len] ? 1 : 0);
	}
	return strbuf_take(&out);
}

static void wait_events(struct fixture *f, const struct stream *s, const char *want)
{
	for (int i = 0; i < 2000; i++) {
		_cleanup_free_ char *got = events_of(s);
		if (str_eq(got, want))
			return;
		if (s->done)
			break;
		uv_run(&f->loop, UV_RUN_ONCE);
	}
	_cleanup_free_ char *got = events_of(s);
	fail_msg("wanted %s, got %s (done %d, status %d, %s)", want, got, s->done, s->status, s->text.data ? s->text.data : "");
}

static void test_watch_selector(void **state)
{
	struct fixture *f = *state;
	struct stream live = { 0 }, replay = { 0 }, all = { 0 };
	static const struct step steps[] = {
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"a\",\"labels\":{\"w\":\"1\"}}}", 201, NULL, NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"other\"}}", 201, NULL, NULL },
		{ "PATCH", CM "/a", MERGE, "{\"data\":{\"x\":\"1\"}}", 200, NULL, NULL },
		{ "PATCH", CM "/a", MERGE, "{\"metadata\":{\"labels\":{\"w\":\"2\"}}}", 200, NULL, NULL },
		{ "PATCH", CM "/a", MERGE, "{\"data\":{\"x\":\"2\"}}", 200, NULL, NULL },
		{ "PATCH", CM "/a", MERGE, "{\"metadata\":{\"labels\":{\"w\":\"1\"}}}", 200, NULL, NULL },
		{ "DELETE", CM "/a", NULL, NULL, 200, NULL, NULL },
	};
	const char *want = "ADDED:a MODIFIED:a DELETED:a ADDED:a DELETED:a ";
	assert_int_equal(ask(f, f->admin, "GET", CM, NULL, NULL, NULL), 200);
	_cleanup_free_ char *query = str_printf("&labelSelector=w%%3D1&resourceVersion=%s", json_str(f->answer, "metadata.resourceVersion"));
	watch_begin(f, &live, query);
	WALK(f, steps);
	wait_events(f, &live, want);
	watch_begin(f, &replay, query);
	wait_events(f, &replay, want);
	/* Live and replayed, the same bytes. */
	assert_string_equal(live.text.data, replay.text.data);
	watch_begin(f, &all, "&timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
	while (!all.done)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_non_null(strstr(all.text.data, "\"k8s.io/initial-events-end\":\"true\""));
	_cleanup_free_ char *got = events_of(&all);
	assert_true(str_starts(got, "ADDED:other BOOKMARK:- "));
	stream_done(&live);
	stream_done(&replay);
	stream_done(&all);
}

static void test_watch_too_old(void **state)
{
	struct fixture *f = *state;
	struct stream s = { 0 };
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"a\"}}"), 201);
	stop(f);
	start(f);
	/* The window does not outlive the process. */
	watch_begin(f, &s, "&resourceVersion=1");
	while (!s.done)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(s.status, 200);
	assert_non_null(strstr(s.text.data, "\"type\":\"ERROR\""));
	assert_non_null(strstr(s.text.data, "too old resource version: 1 ("));
	assert_non_null(strstr(s.text.data, "\"code\":410"));
	stream_done(&s);
	assert_int_equal(ask(f, f->admin, "GET", CM "?watch=1&resourceVersion=99999", NULL, NULL, NULL), 504);
	assert_int_equal(ask(f, f->admin, "GET", CM "?watch=1&sendInitialEvents=true", NULL, NULL, NULL), 422);
	/* An expired page offers to go on at the present. */
	assert_int_equal(ask(f, f->admin, "GET",
			     CM "?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJkZWZhdWx0IiB9", NULL, NULL, NULL), 410);
	_cleanup_free_ char *next = str_printf(CM "?continue=%s", json_str_or(f->answer, "metadata.continue", ""));
	assert_int_equal(ask(f, f->admin, "GET", next, NULL, NULL, NULL), 200);
	assert_int_equal(json_array_size(json_object_get(f->answer, "items")), 1);
}

/* An informer that has seen everything goes on after a restart without listing again. */
static void test_watch_resumes_after_restart(void **state)
{
	struct fixture *f = *state;
	struct stream s = { 0 };
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"a\"}}"), 201);
	assert_int_equal(ask(f, f->admin, "GET", CM, NULL, NULL, NULL), 200);
	_cleanup_free_ char *from = str_printf("&timeoutSeconds=1&resourceVersion=%s",
					       json_str_or(f->answer, "metadata.resourceVersion", ""));
	stop(f);
	start(f);
	watch_begin(f, &s, from);
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"b\"}}"), 201);
	while (!s.done)
		uv_run(&f->loop, UV_RUN_ONCE);
	_cleanup_free_ char *got = events_of(&s);
	assert_string_equal(got, "ADDED:b ");
	stream_done(&s);
}

/* A read that asks for a revision just ahead gets it when it comes. */
static void test_future_revision(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"a\"}}"), 201);
	char path[128];
	snprintf(path, sizeof(path), "%s" CM "?resourceVersion=%llu", f->url, (unsigned long long)store_revision(f->g.store) + 1);
	const struct http_call_request r = { .method = "GET", .url = path, .timeout_ms = 20000 };
	struct fixture early = { 0 };
	http_client_call(f->admin, &r, NULL, on_done, &early);
	while (!f->g.waiter_count)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"b\"}}"), 201);
	assert_int_equal(f->g.waiter_count, 0);
	while (!early.done)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(early.status, 200);
	assert_non_null(strstr(early.text.data, "\"name\":\"b\""));
	json_decref(early.answer);
	strbuf_done(&early.text);
}

struct noted {
	struct registry *g;
	bool done, durable;
	uint64_t revision;
};

static void note_written(struct write_result *r, void *user)
{
	struct noted *n = user;
	const struct store_object *there = store_get(n->g->store, n->g->configmaps->id, "default/a");
	assert_null(r->status);
	n->done = true;
	n->revision = r->object->revision;
	n->durable = there && there->revision >= r->object->revision;
}

/* One more write of default/a, based on the newest there is. */
static void write_again(struct fixture *f, const char *value, bool dry_run, struct noted *n)
{
	struct store_object *latest = store_latest(f->g.store, f->g.configmaps->id, "default/a");
	const struct write_options o = { .dry_run = dry_run };
	_cleanup_json_ json_t *object = entry_parse(latest);
	*n = (struct noted){ .g = &f->g };
	if (value)
		json_set_str(object, "data.k", value);
	assert_null(registry_update(&f->g, f->g.configmaps, latest, object, &o, note_written, n));
	assert_false(n->done);
}

/* A write that changes nothing, or is a dry run, tells of a state only when that is durable. */
static void test_unchanged_is_durable(void **state)
{
	struct fixture *f = *state;
	struct noted first, same, dry;
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}"), 201);
	write_again(f, "w", false, &first);
	write_again(f, NULL, false, &same);
	write_again(f, "x", true, &dry);
	while (!first.done || !same.done || !dry.done)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_true(first.durable && same.durable && dry.durable);
	assert_int_equal(same.revision, first.revision);
	assert_int_equal(dry.revision, first.revision);
	assert_null(f->g.unsettled);
	write_again(f, NULL, false, &same);
	while (!same.done)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(same.revision, first.revision);
}

/* A refusal, too, tells only of what is durable: who hears that a name exists, finds it. */
static void test_refusal_is_durable(void **state)
{
	struct fixture *f = *state;
	struct noted first;
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}"), 201);
	write_again(f, "w", false, &first);
	struct call *c = mem_new(struct call);
	*c = (struct call){ .refs = 2, .g = &f->g, .storage = f->g.configmaps };
	write_refused(c, status_exists(f->g.configmaps, "a"));
	assert_non_null(f->g.unsettled);
	assert_int_equal(c->refs, 2);
	while (!first.done)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_null(f->g.unsettled);
	assert_int_equal(c->refs, 1);
	free(c);
}

static void test_strict_fields(void **state)
{
	static const struct step steps[] = {
		{ "POST", CM "?fieldValidation=Strict", NULL,
		  "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\",\"x\":\"2\"}},\"date\":{}}", 400,
		  "strict decoding error: unknown field \\\"date\\\", duplicate field \\\"metadata.labels.x\\\"", NULL },
		{ "POST", CM, NULL, "{\"metadata\":{\"name\":\"a\"}}", 201, NULL, NULL },
		{ "BREW", CM, NULL, NULL, 405, "MethodNotAllowed", NULL },
		{ "PUT", CM, NULL, "{}", 405, "MethodNotAllowed", NULL },
		{ "GET", CM "?limit=-1", NULL, NULL, 200, "\"items\":[{", NULL },
		{ "PATCH", CM "/a?fieldValidation=Strict", MERGE, "{\"data\":{\"x\":\"1\",\"x\":\"2\"}}", 400,
		  "strict decoding error: duplicate field \\\"data.x\\\"", NULL },
		{ "PATCH", CM "/a?fieldManager=m&fieldValidation=Strict", APPLY,
		  "apiVersion: v1\nkind: ConfigMap\ndata:\n  x: a\n  x: b\n", 400,
		  "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\\n  line 5: key \\\"x\\\" already set in map",
		  NULL },
		{ "PATCH", CM "/a?fieldManager=m&fieldValidation=Strict", APPLY,
		  "\n{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"x\":\"a\",\"x\":\"b\"}}", 400,
		  "  line 2: key \\\"x\\\" already set in map", NULL },
		{ "PATCH", CM "/a?fieldManager=m", APPLY, "apiVersion: v1\nkind: ConfigMap\ndata:\n  x: a\n  x: b\n", 200,
		  "\"data\":{\"x\":\"b\"}", NULL },
		/* Upstream's answer to a patch that does not apply names nothing. */
		{ "PATCH", CM "/a", JSONP, "[{\"op\":\"test\",\"path\":\"/data/x\",\"value\":\"y\"}]", 422, "\"details\":{},\"code\":422",
		  "configmaps" },
	};
	WALK(*state, steps);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_create_update_delete), TEST(test_server_side_apply), TEST(test_pod_security), TEST(test_default_classes), TEST(test_quota_and_limits), TEST(test_bad_bodies), TEST(test_finalizers_and_namespaces),
		TEST(test_service_addresses), TEST(test_pods), TEST(test_pages_are_consistent), TEST(test_forms),
		TEST(test_versions_of_one_kind), TEST(test_events_expire), TEST(test_scale), TEST(test_identities),
		TEST(test_nobody_grants_what_they_lack), TEST(test_tokens), TEST(test_watch_selector),
		TEST(test_watch_too_old), TEST(test_watch_resumes_after_restart), TEST(test_future_revision), TEST(test_unchanged_is_durable), TEST(test_refusal_is_durable),
		TEST(test_strict_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
