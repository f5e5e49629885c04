// SPDX-License-Identifier: GPL-2.0-or-later
/* Evictions under PodDisruptionBudgets, and binding: the verbs of pods that are written by others than their owner. */
#include "apiserver/registry/registry_fixture.h"

#define NS "/api/v1/namespaces/default"
#define POD NS "/pods"
#define PDB "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
#define NAME(name) "{\"metadata\":{\"name\":\"" name "\"}}"
#define MAKE(name) \
	"{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define BUDGET(name, more) \
	"{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"minAvailable\":1," more "\"selector\":{\"matchLabels\":{\"a\":\"b\"}}}}"
#define RUNS "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}"
#define ILL "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}"
#define STATUS(text) "{\"status\":{\"observedGeneration\":1," text "}}"
#define ACCOUNT { "POST", NS "/serviceaccounts", NULL, NAME("default"), 201, NULL, NULL }
#define WHY "\"message\":\"Cannot evict pod as it would violate the pod's disruption budget.\",\"reason\":\"TooManyRequests\""

static void test_budget(void **state)
{
	static const struct step steps[] = {
		ACCOUNT,
		{ "POST", POD, NULL, MAKE("p"), 201, NULL, NULL },
		{ "PATCH", POD "/p/status", SMP, RUNS, 200, NULL, NULL },
		{ "POST", PDB, NULL, BUDGET("b", ""), 201, NULL, NULL },
		{ "POST", POD "/p/eviction", NULL, NAME("q"), 400, "name in URL does not match name in Eviction object", NULL },
		{ "POST", POD "/q/eviction", NULL, NAME("q"), 404, "pods \\\"q\\\" not found", NULL },
		{ "POST", POD "/p/eviction", NULL, NAME("p"), 429, WHY, NULL },
		{ "POST", POD "/p/eviction", NULL, NAME("p"), 429, "\"causes\":[{\"reason\":\"DisruptionBudget\",\"message\":\"The disruption "
		  "budget b is still being processed by the server.\"}],\"retryAfterSeconds\":10", NULL },
		{ "PATCH", PDB "/b/status", MERGE, STATUS("\"desiredHealthy\":1,\"currentHealthy\":1"), 200, NULL, NULL },
		{ "POST", POD "/p/eviction", NULL, NAME("p"), 429, "The disruption budget b needs 1 healthy pods and has 1 currently",
		  "retryAfterSeconds" },
		{ "PATCH", PDB "/b/status", MERGE, STATUS("\"disruptionsAllowed\":1"), 200, NULL, NULL },
		{ "POST", POD "/p/eviction", NULL, "{\"apiVersion\":\"policy/v1beta2\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"p\"}}", 400,
		  "does not match the expected API version", NULL },
		/* Nothing is charged for what does not happen. */
		{ "POST", POD "/p/eviction", NULL, "{\"metadata\":{\"name\":\"p\"},\"deleteOptions\":{\"preconditions\":{\"uid\":\"x\"}}}", 409,
		  "the UID in the precondition (x) does not match", NULL },
		{ "POST", POD "/p/eviction", NULL, "{\"metadata\":{\"name\":\"p\"},\"deleteOptions\":{\"dryRun\":[\"All\"]}}", 201, "Success",
		  NULL },
		{ "POST", POD "/p/eviction?dryRun=All", NULL, NAME("p"), 201, "Success", NULL },
		{ "GET", PDB "/b", NULL, NULL, 200, "\"disruptionsAllowed\":1", "disruptedPods" },
		{ "GET", POD "/p", NULL, NULL, 200, NULL, "DisruptionTarget" },
		{ "POST", POD "/p/eviction", NULL, "{\"apiVersion\":\"policy/v1beta1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"p\"}}", 201,
		  "Success", NULL },
		{ "GET", PDB "/b", NULL, NULL, 200, "\"disruptedPods\":{\"p\":", NULL },
		{ "GET", POD "/p", NULL, NULL, 404, NULL, NULL },
		{ "PATCH", PDB "/b/status", MERGE, STATUS("\"disruptionsAllowed\":0,\"conditions\":[{\"type\":\"DisruptionAllowed\",\"status\":"
							  "\"False\",\"reason\":\"SyncFailed\",\"message\":\"no scale\",\"lastTransitionTime\":"
							  "\"2026-01-01T00:00:00Z\"}]"), 200, NULL, NULL },
		{ "POST", POD, NULL, MAKE("r"), 201, NULL, NULL },
		{ "PATCH", POD "/r/status", SMP, RUNS, 200, NULL, NULL },
		{ "POST", POD "/r/eviction", NULL, NAME("r"), 429, "The disruption budget b does not allow evicting pods currently because it "
		  "failed sync: no scale", NULL },
		{ "POST", PDB, NULL, BUDGET("c", ""), 201, NULL, NULL },
		{ "POST", POD "/r/eviction", NULL, NAME("r"), 500, "This pod has more than one PodDisruptionBudget, which the eviction "
		  "subresource does not support.", NULL },
	};
	WALK(*state, steps);
}

/* Who does not run is not protected. */
static void test_unprotected(void **state)
{
	static const struct step steps[] = {
		ACCOUNT,
		{ "POST", PDB, NULL, BUDGET("b", ""), 201, NULL, NULL },
		{ "POST", POD, NULL, MAKE("pending"), 201, NULL, NULL },
		{ "POST", POD "/pending/eviction", NULL, NAME("pending"), 201, "Success", NULL },
		{ "GET", POD "/pending", NULL, NULL, 404, NULL, NULL },
		{ "POST", POD, NULL, MAKE("over"), 201, NULL, NULL },
		{ "PATCH", POD "/over/status", SMP, "{\"status\":{\"phase\":\"Failed\"}}", 200, NULL, NULL },
		{ "POST", POD "/over/eviction", NULL, NAME("over"), 201, "Success", NULL },
		{ "GET", PDB "/b", NULL, NULL, 200, NULL, "disruptedPods" },
		/* Without labels nobody speaks for it, even one who selects all. */
		{ "POST", PDB, NULL, "{\"metadata\":{\"name\":\"all\"},\"spec\":{\"minAvailable\":1,\"selector\":{}}}", 201, NULL, NULL },
		{ "POST", POD, NULL, "{\"metadata\":{\"name\":\"bare\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 201, NULL,
		  NULL },
		{ "PATCH", POD "/bare/status", SMP, RUNS, 200, NULL, NULL },
		{ "POST", POD "/bare/eviction", NULL, NAME("bare"), 201, "Success", NULL },
	};
	WALK(*state, steps);
}

/* A pod that is not ready: by default when enough others are, with AlwaysAllow in any case; the budget is not charged. */
static void test_unhealthy(void **state)
{
	static const struct step steps[] = {
		ACCOUNT,
		{ "POST", PDB, NULL, BUDGET("b", ""), 201, NULL, NULL },
		{ "POST", POD, NULL, MAKE("p"), 201, NULL, NULL },
		{ "PATCH", POD "/p/status", SMP, ILL, 200, NULL, NULL },
		{ "PATCH", PDB "/b/status", MERGE, STATUS("\"desiredHealthy\":2,\"currentHealthy\":1"), 200, NULL, NULL },
		{ "POST", POD "/p/eviction", NULL, NAME("p"), 429, "needs 2 healthy pods and has 1 currently", NULL },
		{ "PATCH", PDB "/b/status", MERGE, STATUS("\"desiredHealthy\":1,\"currentHealthy\":1"), 200, NULL, NULL },
		{ "POST", POD "/p/eviction", NULL, NAME("p"), 201, "Success", NULL },
		{ "GET", PDB "/b", NULL, NULL, 200, NULL, "disruptedPods" },
		{ "POST", POD, NULL, MAKE("q"), 201, NULL, NULL },
		{ "PATCH", POD "/q/status", SMP, ILL, 200, NULL, NULL },
		{ "PATCH", PDB "/b/status", MERGE, STATUS("\"desiredHealthy\":2,\"currentHealthy\":0"), 200, NULL, NULL },
		{ "POST", POD "/q/eviction", NULL, NAME("q"), 429, "needs 2 healthy pods and has 0 currently", NULL },
		{ "PATCH", PDB "/b", MERGE, "{\"spec\":{\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\"}}", 200, NULL, NULL },
		{ "POST", POD "/q/eviction", NULL, NAME("q"), 201, "Success", NULL },
	};
	WALK(*state, steps);
}

#define BIND(node) "{\"target\":{\"kind\":\"Node\",\"name\":\"" node "\"}}"

static void test_binding(void **state)
{
	static const struct step steps[] = {
		ACCOUNT,
		{ "POST", "/api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"n\",\"labels\":{\"topology.kubernetes.io/zone\":\"z1\","
		  "\"kubernetes.io/hostname\":\"n\"}}}", 201, NULL, NULL },
		{ "POST", POD, NULL, MAKE("p"), 201, NULL, NULL },
		{ "POST", POD "/p/binding", NULL, "{\"target\":{\"kind\":\"Pod\",\"name\":\"n\"}}", 422, "target.kind: Unsupported value", NULL },
		{ "POST", POD "/p/binding", NULL, BIND("n"), 201, "Success", NULL },
		{ "GET", POD "/p", NULL, NULL, 200, "\"labels\":{\"a\":\"b\",\"topology.kubernetes.io/zone\":\"z1\"}", NULL },
		{ "POST", POD "/p/binding", NULL, BIND("m"), 409, "Operation cannot be fulfilled on pods/binding \\\"p\\\": pod p is already "
		  "assigned to node \\\"n\\\"", NULL },
		{ "POST", POD, NULL, "{\"metadata\":{\"name\":\"g\"},\"spec\":{\"schedulingGates\":[{\"name\":\"wait\"}],\"containers\":[{\"name\":"
		  "\"c\",\"image\":\"i\"}]}}", 201, NULL, NULL },
		{ "POST", POD "/g/binding", NULL, BIND("n"), 409, "pod g has non-empty .spec.schedulingGates", NULL },
		{ "PATCH", POD "/p", MERGE, "{\"metadata\":{\"finalizers\":[\"x.y/z\"]}}", 200, NULL, NULL },
		{ "POST", "/api/v1/namespaces", NULL, NAME("going"), 201, NULL, NULL },
		{ "POST", "/api/v1/namespaces/going/serviceaccounts", NULL, NAME("default"), 201, NULL, NULL },
		{ "POST", "/api/v1/namespaces/going/pods", NULL, MAKE("p"), 201, NULL, NULL },
		{ "DELETE", "/api/v1/namespaces/going", NULL, NULL, 200, NULL, NULL },
		{ "POST", "/api/v1/namespaces/going/pods/p/binding", NULL, BIND("n"), 403, "because it is being terminated", NULL },
		{ "POST", "/api/v1/namespaces/going/pods/p/eviction", NULL, NAME("p"), 403, "\"reason\":\"NamespaceTerminating\"", NULL },
	};
	WALK(*state, steps);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_budget), TEST(test_unprotected), TEST(test_unhealthy), TEST(test_binding) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
