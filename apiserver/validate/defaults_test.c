/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Defaults, strategies, field labels and the Status of field errors. */
#include "apiserver/validate/validate_fixture.h"

/* What the YAML becomes must hold everything in `has` (YAML), and nothing at the paths in `without`. */
static bool holds(const json_t *v, const json_t *part)
{
	const char *key;
	json_t *child;
	size_t i;

	if (json_is_object(part)) {
		json_object_foreach((json_t *)part, key, child) {
			if (!holds(json_object_get(v, key), child))
				return false;
		}
		return json_is_object(v);
	}
	if (json_is_array(part)) {
		json_array_foreach(part, i, child) {
			if (!holds(json_array_get(v, i), child))
				return false;
		}
		return json_array_size(v) == json_array_size(part);
	}
	return v && json_same(v, part);
}

static void expect(const char *yaml, const char *has, const char *without)
{
	_cleanup_json_ json_t *o = fixture_object(yaml), *part = yaml_parse(has, strlen(has), NULL),
			      *again = json_deep_copy(o);
	_cleanup_strbuf_ struct strbuf text = {0};

	json_write(&text, o);
	if (!holds(o, part))
		fail_msg("%s\n lacks of %s", text.data, has);
	if (without && json_at(o, without))
		fail_msg("%s\n has %s", text.data, without);
	defaults_apply(fixture_resource(again), again);
	assert_true(json_equal(o, again));
}

static void pods(void **state _unused_)
{
	expect("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: 'a/b:5000/c', "
	       "ports: [{containerPort: 80}], "
	       "env: [{name: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}], livenessProbe: {httpGet: {port: "
	       "80}, failureThreshold: 0}, "
	       "resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}}], volumes: [{name: v}, {name: s, "
	       "secret: {secretName: x}}, "
	       "{name: h, hostPath: {path: /}}]}}",
	       "spec: {restartPolicy: Always, dnsPolicy: ClusterFirst, terminationGracePeriodSeconds: 30, "
	       "schedulerName: default-scheduler, "
	       "securityContext: {}, enableServiceLinks: true, containers: [{imagePullPolicy: Always, "
	       "terminationMessagePath: "
	       "/dev/termination-log, terminationMessagePolicy: File, ports: [{protocol: TCP}], env: [{valueFrom: "
	       "{fieldRef: {apiVersion: v1}}}], "
	       "livenessProbe: {timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3, "
	       "httpGet: {path: /, scheme: "
	       "HTTP}}, resources: {requests: {cpu: 500m, memory: 1Gi}}}], volumes: [{emptyDir: {}}, {secret: "
	       "{defaultMode: 420}}, {hostPath: "
	       "{type: ''}}]}",
	       NULL);
	expect("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {hostNetwork: true, serviceAccount: sa, "
	       "terminationGracePeriodSeconds: -5, "
	       "containers: [{name: a, image: 'x:1', ports: [{containerPort: 80}]}, {name: b, image: 'x@sha256:1'}, "
	       "{name: c, image: "
	       "'reg:5000/x:latest@sha256:1'}, {name: d, image: 'reg:5000/x'}]}}",
	       "spec: {serviceAccountName: sa, serviceAccount: sa, terminationGracePeriodSeconds: 1, containers: "
	       "[{imagePullPolicy: IfNotPresent, "
	       "ports: [{hostPort: 80}]}, {imagePullPolicy: IfNotPresent}, {imagePullPolicy: Always}, "
	       "{imagePullPolicy: Always}]}",
	       NULL);
	/* what only a Pod gets stays away from templates */
	expect("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {template: {spec: {containers: "
	       "[{name: c, image: i, resources: "
	       "{limits: {cpu: 1}}}]}}}}",
	       "spec: {replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600, strategy: {type: "
	       "RollingUpdate, rollingUpdate: "
	       "{maxSurge: 25%, maxUnavailable: 25%}}, template: {spec: {restartPolicy: Always, containers: "
	       "[{imagePullPolicy: Always}]}}}",
	       "spec.template.spec.enableServiceLinks");
	expect("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {resources: {limits: {cpu: 4}}, containers: "
	       "[{name: a, image: i, resources: "
	       "{requests: {cpu: 1, memory: 1Gi}}}, {name: b, image: i, resources: {requests: {cpu: 500m}}}]}}",
	       "spec: {resources: {limits: {cpu: '4'}, requests: {cpu: 1500m, memory: 1Gi}}}", NULL);
}

static void workloads(void **state _unused_)
{
	expect("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {}}",
	       "{spec: {template: {spec: {dnsPolicy: ClusterFirst, restartPolicy: Always}}}}", NULL);
	expect("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {strategy: {type: Recreate}, "
	       "template: {spec: {containers: []}}}}",
	       "spec: {strategy: {type: Recreate}}", "spec.strategy.rollingUpdate");
	expect("{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d}, spec: {template: {spec: {containers: "
	       "[]}}}}",
	       "spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1, maxSurge: 0}}, "
	       "revisionHistoryLimit: 10}",
	       NULL);
	expect("{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: d}, spec: {template: {spec: {containers: "
	       "[]}}, volumeClaimTemplates: "
	       "[{metadata: {name: x}, spec: {}}]}}",
	       "spec: {replicas: 1, podManagementPolicy: OrderedReady, updateStrategy: {type: RollingUpdate, "
	       "rollingUpdate: {partition: 0}}, "
	       "persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Retain}, volumeClaimTemplates: "
	       "[{kind: "
	       "PersistentVolumeClaim, apiVersion: v1, spec: {volumeMode: Filesystem}, status: {phase: Pending}}]}",
	       NULL);
	expect("{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: d}, spec: {updateStrategy: {type: "
	       "RollingUpdate}, template: {spec: "
	       "{containers: []}}}}",
	       "spec: {updateStrategy: {type: RollingUpdate}}", "spec.updateStrategy.rollingUpdate");
	expect("{apiVersion: batch/v1, kind: Job, metadata: {name: d}, spec: {template: {metadata: {labels: {a: b}}, "
	       "spec: {containers: []}}}}",
	       "{metadata: {labels: {a: b}}, spec: {completions: 1, parallelism: 1, backoffLimit: 6, completionMode: "
	       "NonIndexed, suspend: false, "
	       "manualSelector: false, podReplacementPolicy: TerminatingOrFailed}}",
	       NULL);
	expect("{apiVersion: batch/v1, kind: Job, metadata: {name: d}, spec: {parallelism: 2, template: {spec: "
	       "{containers: []}}}}",
	       "spec: {parallelism: 2}", "spec.completions");
	expect("{apiVersion: batch/v1, kind: CronJob, metadata: {name: d}, spec: {jobTemplate: {spec: {template: "
	       "{spec: {containers: [{name: c}]}}}}}}",
	       "spec: {concurrencyPolicy: Allow, suspend: false, successfulJobsHistoryLimit: 3, "
	       "failedJobsHistoryLimit: 1, jobTemplate: {spec: "
	       "{template: {spec: {dnsPolicy: ClusterFirst}}}}}",
	       "spec.jobTemplate.spec.backoffLimit");
	expect("{apiVersion: v1, kind: ReplicationController, metadata: {name: d}, spec: {template: {metadata: "
	       "{labels: {a: b}}, spec: {containers: "
	       "[]}}}}",
	       "{metadata: {labels: {a: b}}, spec: {replicas: 1, selector: {a: b}}}", NULL);
}

static void services_and_small_kinds(void **state _unused_)
{
	expect("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}, {port: 81, targetPort: "
	       "x}]}}",
	       "spec: {type: ClusterIP, sessionAffinity: None, internalTrafficPolicy: Cluster, ports: [{protocol: TCP, "
	       "targetPort: 80}, "
	       "{targetPort: x}]}",
	       "spec.externalTrafficPolicy");
	expect("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: LoadBalancer, sessionAffinity: "
	       "ClientIP, ports: [{port: 80}]}}",
	       "spec: {externalTrafficPolicy: Cluster, allocateLoadBalancerNodePorts: true, sessionAffinityConfig: "
	       "{clientIP: {timeoutSeconds: "
	       "10800}}}",
	       NULL);
	expect("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: ExternalName, externalName: x}}",
	       "spec: {type: ExternalName}", "spec.internalTrafficPolicy");
	expect("{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: eA==}, stringData: {b: hi, a: y}}",
	       "{type: Opaque, data: {a: eQ==, b: aGk=}}", "stringData");
	expect("{apiVersion: v1, kind: Namespace, metadata: {name: n}}",
	       "{metadata: {labels: {kubernetes.io/metadata.name: n}}, status: {phase: Active}}", NULL);
	expect("{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDR: 10.0.0.0/24}, status: {capacity: "
	       "{cpu: 2}}}",
	       "{spec: {podCIDRs: [10.0.0.0/24]}, status: {allocatable: {cpu: '2'}}}", NULL);
	expect("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: n}, spec: {dataSource: {kind: "
	       "PersistentVolumeClaim, name: x}}}",
	       "{spec: {volumeMode: Filesystem, dataSourceRef: {name: x}}, status: {phase: Pending}}", NULL);
	expect("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: {podSelector: {}, "
	       "egress: [{ports: [{port: 1}]}]}}",
	       "spec: {policyTypes: [Ingress, Egress], egress: [{ports: [{protocol: TCP}]}]}", NULL);
	expect("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: n}, roleRef: {kind: "
	       "Role, name: r}, subjects: [{kind: "
	       "User, name: u}]}",
	       "{roleRef: {apiGroup: rbac.authorization.k8s.io}, subjects: [{apiGroup: rbac.authorization.k8s.io}]}",
	       NULL);
	expect("{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: n}, spec: {maxReplicas: "
	       "3, behavior: {}, "
	       "scaleTargetRef: {kind: D, name: w}}}",
	       "spec: {minReplicas: 1, metrics: [{resource: {name: cpu, target: {averageUtilization: 80}}}], behavior: "
	       "{scaleUp: "
	       "{stabilizationWindowSeconds: 0, policies: [{value: 4}, {value: 100}]}, scaleDown: {selectPolicy: "
	       "Max}}}",
	       "spec.behavior.scaleDown.stabilizationWindowSeconds");
	expect("{apiVersion: v1, kind: LimitRange, metadata: {name: n}, spec: {limits: [{type: Container, max: {cpu: "
	       "2}, min: {memory: 1Mi}}]}}",
	       "spec: {limits: [{default: {cpu: '2'}, defaultRequest: {cpu: '2', memory: 1Mi}}]}", NULL);
	expect("{apiVersion: v1, kind: ResourceQuota, metadata: {name: n}, spec: {hard: {cpu: 1u}}}",
	       "spec: {hard: {cpu: 1m}}", NULL);
}

static int64_t generation(const json_t *o)
{
	return json_int(o, "metadata.generation", -1);
}

static void strategies(void **state _unused_)
{
	static const char yaml[] = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, generation: 7}, spec: "
				   "{replicas: 1, template: {spec: "
				   "{containers: []}}}, status: {replicas: 3}}";
	_cleanup_json_ json_t *old = fixture_object(yaml), *o = NULL;
	const struct schema_resource *r = fixture_resource(old);

	strategy_prepare_create(r, old);
	assert_int_equal(generation(old), 1);
	assert_int_equal(json_object_size(json_at(old, "status")), 0);

	/* the status of a spec update is dropped, the generation counts real changes */
	o = json_deep_copy(old);
	json_set(o, "status.replicas", json_integer(5));
	json_set(o, "metadata.generation", json_integer(9));
	strategy_prepare_update(r, NULL, o, old);
	assert_null(json_at(o, "status.replicas"));
	assert_int_equal(generation(o), 1);
	json_set(o, "spec.replicas", json_integer(2));
	strategy_prepare_update(r, NULL, o, old);
	assert_int_equal(generation(o), 2);
	json_set(o, "spec.replicas", json_integer(1));
	json_set_str(o, "metadata.annotations.x", "y");
	strategy_prepare_update(r, NULL, o, old);
	assert_int_equal(generation(o), 2);

	/* a status update changes neither spec nor generation nor labels */
	json_set(o, "spec.replicas", json_integer(4));
	json_set_str(o, "metadata.labels.a", "b");
	json_set(o, "status.replicas", json_integer(3));
	strategy_prepare_update(r, "status", o, old);
	assert_int_equal(json_int(o, "spec.replicas", 0), 1);
	assert_int_equal(json_int(o, "status.replicas", 0), 3);
	assert_null(json_at(o, "metadata.labels"));
	assert_int_equal(generation(o), 1);
}

static void pod_strategies(void **state _unused_)
{
	static const struct {
		const char *resources, *qos;
	} rows[] = {
		{ "{}", "BestEffort" },
		{ "{requests: {cpu: 1}}", "Burstable" },
		{ "{limits: {cpu: 1}}", "Burstable" },
		{ "{limits: {cpu: 1, memory: 1Gi}}", "Guaranteed" },
		{ "{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}", "Burstable" },
		{ "{requests: {cpu: 0}}", "BestEffort" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *yaml = str_printf(
			"{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {schedulingGates: [{name: g}], "
			"containers: [{name: c, image: i, resources: %s}]}, status: {phase: Running}}",
			rows[i].resources);
		_cleanup_json_ json_t *pod = fixture_object(yaml);

		strategy_prepare_create(fixture_resource(pod), pod);
		assert_string_equal(json_str(pod, "status.phase"), "Pending");
		assert_string_equal(json_str(pod, "status.qosClass"), rows[i].qos);
		assert_string_equal(json_str(pod, "status.conditions[0].reason"), "SchedulingGated");
	}
}

static void job_and_namespace_strategies(void **state _unused_)
{
	_cleanup_json_ json_t *job = fixture_object(
		"{apiVersion: batch/v1, kind: Job, metadata: {name: j, uid: u}, spec: {template: {spec: "
		"{containers: []}}}}");
	_cleanup_json_ json_t *ns = fixture_object("{apiVersion: v1, kind: Namespace, metadata: {name: n}}"),
			      *changed = NULL;
	_cleanup_json_ json_t
		*service = fixture_object(
			"{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: NodePort, ports: "
			"[{port: 80, nodePort: 30001}]}}"),
		*cluster = NULL;

	strategy_prepare_create(fixture_resource(job), job);
	assert_string_equal(json_string_value(json_object_get(json_at(job, "spec.selector.matchLabels"),
							      "batch.kubernetes.io/controller-uid")),
			    "u");
	assert_string_equal(
		json_string_value(json_object_get(json_at(job, "spec.template.metadata.labels"), "job-name")), "j");

	strategy_prepare_create(fixture_resource(ns), ns);
	assert_string_equal(json_str(ns, "spec.finalizers[0]"), "kubernetes");
	changed = json_deep_copy(ns);
	json_unset(changed, "spec.finalizers");
	strategy_prepare_update(fixture_resource(ns), NULL, changed, ns);
	assert_string_equal(json_str(changed, "spec.finalizers[0]"), "kubernetes");
	json_unset(changed, "spec.finalizers");
	strategy_prepare_update(fixture_resource(ns), "finalize", changed, ns);
	assert_null(json_at(changed, "spec.finalizers"));

	/* a NodePort service that becomes ClusterIP loses the node ports that it sends back */
	cluster = json_deep_copy(service);
	json_set_str(cluster, "spec.type", "ClusterIP");
	strategy_prepare_update(fixture_resource(service), NULL, cluster, service);
	assert_null(json_at(cluster, "spec.ports[0].nodePort"));
}

static void labels_of_fields(void **state _unused_)
{
	_cleanup_json_ json_t *pod = fixture_object(
		"{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: n}, spec: {nodeName: x, containers: "
		"[]}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}]}}");
	const struct schema_resource *pods_resource = fixture_resource(pod),
				     *cm = schema_resource_find("", "v1", "configmaps");
	static const char *const rows[][2] = { { "metadata.name", "p" },       { "metadata.namespace", "n" },
					       { "spec.nodeName", "x" },       { "status.phase", "Running" },
					       { "status.podIP", "10.0.0.1" }, { "spec.hostNetwork", "false" },
					       { "spec.host", "x" },           { "status.nominatedNodeName", "" } };
	char buf[64];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(field_label_supported(pods_resource, rows[i][0]));
		assert_string_equal(field_label(pods_resource, pod, rows[i][0], buf, sizeof(buf)), rows[i][1]);
	}
	assert_false(field_label_supported(pods_resource, "spec.foo"));
	assert_null(field_label(pods_resource, pod, "status", buf, sizeof(buf)));
	assert_true(field_label_supported(cm, "metadata.name"));
	assert_false(field_label_supported(cm, "data"));
}

static void statuses(void **state _unused_)
{
	struct field_errors e = {0};
	json_t *status;

	field_errors_add(&e, "FieldValueRequired", mem_strdup("spec.a"), "Required value");
	status = field_errors_status(&e, "", "Pod", "p");
	assert_string_equal(json_str(status, "message"), "Pod \"p\" is invalid: spec.a: Required value");
	assert_string_equal(json_str(status, "details.causes[0].field"), "spec.a");
	assert_string_equal(json_str(status, "reason"), "Invalid");
	assert_int_equal(json_int(status, "code", 0), 422);
	assert_null(json_at(status, "details.group"));
	json_decref(status);
	field_errors_add(&e, "FieldValueRequired", mem_strdup("spec.a"), "Required value");
	field_errors_add(&e, "FieldValueInvalid", mem_strdup("spec.b"), "Invalid value: %d: no", 3);
	status = field_errors_status(&e, "apps", "Deployment", "web");
	assert_string_equal(
		json_str(status, "message"),
		"Deployment.apps \"web\" is invalid: [spec.a: Required value, spec.b: Invalid value: 3: no]");
	assert_int_equal(json_array_size(json_at(status, "details.causes")), 3);
	assert_string_equal(json_str(status, "details.group"), "apps");
	json_decref(status);
	field_errors_done(&e);
	assert_int_equal(e.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods),		  cmocka_unit_test(workloads),
		cmocka_unit_test(services_and_small_kinds), cmocka_unit_test(strategies),
		cmocka_unit_test(pod_strategies), cmocka_unit_test(job_and_namespace_strategies),
		cmocka_unit_test(labels_of_fields), cmocka_unit_test(statuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
