// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/aggregation.h"
#include "controllers/deciders_test.h"
#include "controllers/protection.h"

static void who_uses_a_claim(void **state _unused_)
{
	static const struct {
		const char *pod;
		bool uses;
	} rows[] = {
		{ "{metadata: {namespace: n}, spec: {nodeName: x, volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}}", true },
		{ "{metadata: {namespace: n}, spec: {volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}}", false },
		{ "{metadata: {namespace: m}, spec: {nodeName: x, volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}}", false },
		{ "{metadata: {namespace: n}, spec: {nodeName: x, volumes: [{name: v, persistentVolumeClaim: {claimName: d}}]}}", false },
		{ "{metadata: {namespace: n}, spec: {nodeName: x, volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}, "
		  "status: {phase: Succeeded}}", true },
	};
	_cleanup_json_ json_t *claim = from_yaml("{metadata: {name: c, namespace: n}}");

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *pod = from_yaml(rows[i].pod);

		if (protection_pod_uses(pod, claim) != rows[i].uses)
			fail_msg("row %zu", i);
	}
}

static void who_uses_a_class(void **state _unused_)
{
	_cleanup_json_ json_t *class = from_yaml("{metadata: {name: fast}}");
	_cleanup_json_ json_t *wants = from_yaml("{spec: {volumeAttributesClassName: fast}, status: {}}");
	_cleanup_json_ json_t *has = from_yaml("{spec: {volumeAttributesClassName: slow}, status: {currentVolumeAttributesClassName: fast}}");
	_cleanup_json_ json_t *other = from_yaml("{spec: {volumeAttributesClassName: slow}}");

	assert_true(protection_claim_uses_class(wants, class));
	assert_true(protection_claim_uses_class(has, class));
	assert_false(protection_claim_uses_class(other, class));
	assert_true(protection_volume_uses_class(wants, class));
	assert_false(protection_volume_uses_class(other, class));
}

/* The finalizers that a decision leaves, as JSON; "" when nothing is written. */
static char *decided(const char *metadata, bool used)
{
	_cleanup_plan_ struct plan plan = { 0 };
	_cleanup_json_ json_t *o = from_yamlf("{metadata: {name: c, namespace: n, uid: u, resourceVersion: '7', %s}}", metadata);
	struct strbuf out = { 0 };

	protection_decide(o, "v1", "persistentvolumeclaims", "p", used, &plan);
	if (!plan.count)
		return mem_strdup("");
	assert_int_equal(plan.count, 1);
	assert_string_equal(json_str(plan.items[0]->body, "metadata.resourceVersion"), "7");
	json_write(&out, json_at(plan.items[0]->body, "metadata.finalizers"));
	return strbuf_take(&out);
}

static void finalizers(void **state _unused_)
{
	static const char DELETED[] = "deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [a, p]";
	static const struct {
		const char *metadata;
		bool used;
		const char *left;
	} rows[] = {
		{ "finalizers: [p]", false, "" },
		{ "finalizers: [a]", false, "[\"a\",\"p\"]" },
		{ "labels: {}", true, "[\"p\"]" },
		{ DELETED, true, "" },
		{ DELETED, false, "[\"a\"]" },
		{ "deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [a]", false, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *left = decided(rows[i].metadata, rows[i].used);

		if (strcmp(left, rows[i].left) != 0)
			fail_msg("row %zu: %s", i, left);
	}
}

/* By selector, then by name; nothing twice; a role is no part of itself. */
static void aggregated(void **state _unused_)
{
	static const char *const texts[] = {
		"{metadata: {name: z, labels: {a: y}}, rules: [{verbs: [get], resources: [z]}]}",
		"{metadata: {name: b, labels: {a: y}}, rules: [{verbs: [get], resources: [b]}, {verbs: [get], resources: [z]}]}",
		"{metadata: {name: other}, rules: [{verbs: [get], resources: [other]}]}",
		"{metadata: {name: first, labels: {b: y}}, rules: [{verbs: [get], resources: [first]}]}",
		"{metadata: {name: all, labels: {a: y}}, rules: [{verbs: [get], resources: [self]}], aggregationRule: {clusterRoleSelectors: "
		"[{matchLabels: {b: y}}, {matchLabels: {a: y}}]}}",
	};
	struct object_list roles = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		object_list_add(&roles, from_yaml(texts[i]));
	_cleanup_json_ json_t *rules = aggregation_rules(roles.items[4], &roles);
	_cleanup_json_ json_t *want = from_yaml("[{verbs: [get], resources: [first]}, {verbs: [get], resources: [b]}, "
						"{verbs: [get], resources: [z]}]");
	assert_true(json_equal(rules, want));
	list_free(&roles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_uses_a_claim),
		cmocka_unit_test(who_uses_a_class),
		cmocka_unit_test(finalizers),
		cmocka_unit_test(aggregated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
