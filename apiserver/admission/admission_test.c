/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pods take altogether, LimitRanges and ResourceQuotas by tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apiserver/admission/amounts.h"
#include "apiserver/admission/limits.h"
#include "apiserver/admission/quota.h"
#include "base/mem.h"

static json_t *yaml(const char *text)
{
	struct err e = { 0 };
	json_t *v = yaml_parse(text, strlen(text), &e);
	if (!v)
		fail_msg("%s: %s", text, err_msg(&e));
	return v;
}

static void test_pod_totals(void **state)
{
	(void)state;
	static const struct {
		const char *spec, *want;
	} rows[] = {
		{ "{containers: [{resources: {requests: {cpu: 100m}}}, {resources: {requests: {cpu: 200m, memory: 1Gi}}}]}",
		  "{cpu: 300m, memory: 1Gi}" },
		/* The largest init container counts where it needs more than all containers together. */
		{ "{initContainers: [{resources: {requests: {cpu: '2'}}}], containers: [{resources: {requests: {cpu: '1'}}}]}", "{cpu: '2'}" },
		/* A sidecar runs beside what starts after it, and for good. */
		{ "{initContainers: [{restartPolicy: Always, resources: {requests: {cpu: '1'}}}, {resources: {requests: {cpu: '2'}}}], "
		  "containers: [{resources: {requests: {cpu: '1'}}}]}", "{cpu: '3'}" },
		{ "{overhead: {cpu: 250m}, containers: [{resources: {requests: {cpu: '1'}}}]}", "{cpu: 1250m}" },
		{ "{resources: {requests: {cpu: '5'}}, containers: [{resources: {requests: {cpu: '1'}}}]}", "{cpu: '5'}" },
		{ "{containers: []}", "{}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *spec = yaml(rows[i].spec), *want = yaml(rows[i].want), *got = amounts_of_pod(spec, "requests");
		_cleanup_strbuf_ struct strbuf b = { 0 };
		json_write(&b, got);
		if (!json_equal(got, want))
			fail_msg("row %zu: got %s", i, b.data);
	}
}

static void test_limits(void **state)
{
	(void)state;
	_cleanup_json_ json_t *range = yaml("{spec: {limits: [{type: Container, min: {cpu: 50m}, max: {cpu: '1'}, maxLimitRequestRatio: {cpu: '2'}}, "
		"{type: Pod, max: {cpu: 1500m}}, {type: PersistentVolumeClaim, min: {storage: 1Gi}, max: {storage: 2Gi}}]}}");
	static const struct {
		const char *pod, *want;
	} rows[] = {
		{ "{spec: {containers: [{name: c, resources: {requests: {cpu: 500m}, limits: {cpu: '1'}}}]}}", "" },
		{ "{spec: {containers: [{name: c, resources: {requests: {cpu: 10m}, limits: {cpu: 20m}}}]}}",
		  "minimum cpu usage per Container is 50m, but request is 10m;" },
		{ "{spec: {containers: [{name: c, resources: {requests: {cpu: 100m}, limits: {cpu: '1'}}}]}}",
		  "cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000;" },
		{ "{spec: {containers: [{name: a, resources: {requests: {cpu: '1'}, limits: {cpu: '1'}}}, "
		  "{name: b, resources: {requests: {cpu: '1'}, limits: {cpu: '1'}}}]}}",
		  "maximum cpu usage per Pod is 1500m, but limit is 2;" },
		{ "{spec: {containers: [{name: a}]}}",
		  "minimum cpu usage per Container is 50m.  No request is specified;maximum cpu usage per Container is 1.  No limit is "
		  "specified;cpu max limit to request ratio per Container is 2, but no request is specified or request is 0;"
		  "maximum cpu usage per Pod is 1500m.  No limit is specified;" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *pod = yaml(rows[i].pod);
		_cleanup_strlist_ struct strlist errors = { 0 };
		_cleanup_strbuf_ struct strbuf b = { 0 };
		limits_check_pod(range, pod, &errors);
		for (size_t k = 0; k < errors.count; k++)
			strbuf_addf(&b, "%s;", errors.items[k]);
		assert_string_equal(b.len ? b.data : "", rows[i].want);
	}
	_cleanup_json_ json_t *claim = yaml("{spec: {resources: {requests: {storage: 3Gi}}}}");
	_cleanup_strlist_ struct strlist errors = { 0 };
	limits_check_claim(range, claim, &errors);
	assert_int_equal(errors.count, 1);
	assert_string_equal(errors.items[0], "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi");
}

static void test_scopes(void **state)
{
	(void)state;
	const struct schema_resource *pods = schema_resource_find("", "v1", "pods"), *services = schema_resource_find("", "v1", "services");
	static const struct {
		const char *scope, *pod;
		bool want;
	} rows[] = {
		{ "scopes: [Terminating]", "{spec: {activeDeadlineSeconds: 5}}", true },
		{ "scopes: [Terminating]", "{spec: {}}", false },
		{ "scopes: [NotTerminating, BestEffort]", "{spec: {containers: [{name: c}]}}", true },
		{ "scopes: [NotBestEffort]", "{spec: {containers: [{name: c}]}}", false },
		{ "scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}", "{spec: {priorityClassName: high}}",
		  true },
		{ "scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}", "{spec: {}}", false },
		{ "scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: NotIn, values: [high]}]}", "{spec: {}}", true },
		{ "scopeSelector: {matchExpressions: [{scopeName: CrossNamespacePodAffinity, operator: Exists}]}",
		  "{spec: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{namespaceSelector: {}}]}}}}", true },
		{ "hard: {pods: '1'}", "{spec: {}}", true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = str_printf("{spec: {%s}}", rows[i].scope);
		_cleanup_json_ json_t *quota = yaml(text), *pod = yaml(rows[i].pod);
		if (quota_selects(quota, pods, pod) != rows[i].want)
			fail_msg("row %zu: %s on %s", i, rows[i].scope, rows[i].pod);
	}
	_cleanup_json_ json_t *scoped = yaml("{spec: {scopes: [Terminating]}}"), *service = yaml("{spec: {}}");
	assert_false(quota_selects(scoped, services, service));
}

static void test_usage(void **state)
{
	(void)state;
	static const struct {
		const char *plural, *object, *want;
	} rows[] = {
		{ "services", "{spec: {type: LoadBalancer, ports: [{port: 1}, {port: 2}]}}",
		  "{count/services: '1', services: '1', services.loadbalancers: '1', services.nodeports: '2'}" },
		{ "services", "{spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 1, nodePort: 30000}, {port: 2}]}}",
		  "{count/services: '1', services: '1', services.loadbalancers: '1', services.nodeports: '1'}" },
		{ "persistentvolumeclaims", "{spec: {storageClassName: fast, resources: {requests: {storage: 1Gi}}}}",
		  "{count/persistentvolumeclaims: '1', persistentvolumeclaims: '1', requests.storage: 1Gi, "
		  "fast.storageclass.storage.k8s.io/persistentvolumeclaims: '1', fast.storageclass.storage.k8s.io/requests.storage: 1Gi}" },
		{ "pods", "{status: {phase: Failed}, spec: {containers: [{resources: {requests: {cpu: '1'}}}]}}", "{count/pods: '1'}" },
		{ "pods", "{spec: {containers: [{resources: {requests: {cpu: '1', example.com/gpu: '2'}, limits: {memory: 1Gi}}}]}}",
		  "{count/pods: '1', pods: '1', cpu: '1', requests.cpu: '1', requests.example.com/gpu: '2', limits.memory: 1Gi}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct schema_resource *r = schema_resource_find("", "v1", rows[i].plural);
		_cleanup_json_ json_t *object = yaml(rows[i].object), *want = yaml(rows[i].want), *got = quota_usage(r, object);
		_cleanup_strbuf_ struct strbuf b = { 0 };
		json_write(&b, got);
		if (!json_equal(got, want))
			fail_msg("row %zu: got %s", i, b.data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_pod_totals), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_scopes), cmocka_unit_test(test_usage) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
