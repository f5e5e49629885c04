/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pods: what is right passes, what is wrong gets Kubernetes' words, updates change only what they may. */
#include "apiserver/validate/validate_fixture.h"

#define POD(spec) "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {" spec "}}"
#define ONE(rest) POD("containers: [{name: c, image: i" rest "}]")

static void good_pods(void **state _unused_)
{
	static const struct fixture_row rows[] = {
		{ ONE(""), "" },
		{ "apiVersion: v1\n"
		  "kind: Pod\n"
		  "metadata: {name: web-1, generateName: web-, labels: {app: web, 'app.kubernetes.io/name': web}, "
		  "annotations: {a/b: 'x y'}}\n"
		  "spec:\n"
		  "  serviceAccountName: default\n"
		  "  nodeSelector: {disk: ssd}\n"
		  "  tolerations:\n"
		  "  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: "
		  "300}\n"
		  "  affinity:\n"
		  "    podAntiAffinity:\n"
		  "      requiredDuringSchedulingIgnoredDuringExecution:\n"
		  "      - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}\n"
		  "  topologySpreadConstraints:\n"
		  "  - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: "
		  "{app: web}}}\n"
		  "  securityContext: {runAsUser: 1000, fsGroup: 2000, seccompProfile: {type: RuntimeDefault}}\n"
		  "  initContainers:\n"
		  "  - {name: init, image: 'busybox:1', command: [sh, -c, 'true']}\n"
		  "  - {name: side, image: 'busybox:1', restartPolicy: Always, startupProbe: {tcpSocket: {port: 80}}}\n"
		  "  containers:\n"
		  "  - name: web\n"
		  "    image: nginx:1.25\n"
		  "    ports: [{containerPort: 80, name: http}, {containerPort: 53, protocol: UDP, name: dns}]\n"
		  "    env:\n"
		  "    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n"
		  "    - {name: L, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}\n"
		  "    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}\n"
		  "    - {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}\n"
		  "    envFrom: [{configMapRef: {name: c}, prefix: P_}]\n"
		  "    resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi, nvidia.com/gpu: 1}}\n"
		  "    livenessProbe: {httpGet: {path: /, port: http}}\n"
		  "    readinessProbe: {exec: {command: ['true']}}\n"
		  "    lifecycle: {preStop: {sleep: {seconds: 5}}}\n"
		  "    securityContext: {capabilities: {drop: [ALL]}, allowPrivilegeEscalation: false}\n"
		  "    volumeMounts:\n"
		  "    - {name: cfg, mountPath: /etc/x, subPath: a/b}\n"
		  "    - {name: tmp, mountPath: /tmp}\n"
		  "    - {name: tok, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}\n"
		  "  volumes:\n"
		  "  - {name: cfg, configMap: {name: c, items: [{key: k, path: p}]}}\n"
		  "  - {name: tmp}\n"
		  "  - {name: host, hostPath: {path: /var/log}}\n"
		  "  - {name: down, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}\n"
		  "  - name: tok\n"
		  "    projected:\n"
		  "      sources:\n"
		  "      - serviceAccountToken: {path: token, expirationSeconds: 3607}\n"
		  "      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}\n"
		  "      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}\n",
		  "" },
	};

	RUN(rows);
}

static void bad_pods(void **state _unused_)
{
	static const struct fixture_row rows[] = {
		{ POD(""), "spec.containers: Required value" },
		{ ONE(", name: 'A_b'"), "spec.containers[0].name: Invalid value: \"A_b\": a lowercase RFC 1123 label "
					"must consist of lower case alphanumeric "
					"characters or '-', and must start and end with an alphanumeric character "
					"(e.g. 'my-name',  or '123-abc', regex used for "
					"validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')" },
		{ POD("containers: [{name: c}]"), "spec.containers[0].image: Required value" },
		{ POD("containers: [{image: i}]"), "spec.containers[0].name: Required value" },
		{ POD("containers: [{name: c, image: i}, {name: c, image: j}]"),
		  "spec.containers[1].name: Duplicate value: \"c\"" },
		{ ONE(", image: ' i'"),
		  "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace" },
		{ ONE(", imagePullPolicy: Sometimes"), "spec.containers[0].imagePullPolicy: Unsupported value: "
						       "\"Sometimes\": supported values: \"Always\", \"IfNotPresent\", "
						       "\"Never\"" },
		{ ONE(", ports: [{containerPort: 70000}]"), "spec.containers[0].ports[0].containerPort: Invalid value: "
							    "70000: must be between 1 and 65535, inclusive" },
		{ ONE(", ports: [{containerPort: 80, name: A}, {containerPort: 80, protocol: X}]"),
		  "spec.containers[0].ports[0].name: Invalid value: \"A\": must contain only alpha-numeric characters "
		  "(a-z, 0-9), and hyphens "
		  "(-)\n"
		  "spec.containers[0].ports[0].name: Invalid value: \"A\": must contain at least one letter (a-z)\n"
		  "spec.containers[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", "
		  "\"TCP\", \"UDP\"" },
		{ ONE(", ports: [{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]"),
		  "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\"" },
		{ ONE(", volumeMounts: [{name: v, mountPath: /a}]"),
		  "spec.containers[0].volumeMounts[0].name: Not found: \"v\"" },
		{ ONE(", env: [{name: '', value: x}, {name: 'a=b'}, {name: x, valueFrom: {}}]"),
		  "spec.containers[0].env[0].name: Required value\n"
		  "spec.containers[0].env[1].name: Invalid value: \"a=b\": a valid environment variable name must "
		  "consist only of printable "
		  "ASCII characters other than '='\n"
		  "spec.containers[0].env[2].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, "
		  "`resourceFieldRef`, "
		  "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`" },
		{ ONE(", env: [{name: x, valueFrom: {fieldRef: {fieldPath: spec.foo}}}, {name: y, valueFrom: "
		      "{fieldRef: {fieldPath: "
		      "status.phase}}}]"),
		  "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.foo\": error "
		  "converting fieldPath: field label "
		  "not supported: spec.foo\n"
		  "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": "
		  "supported values: "
		  "\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
		  "\"spec.serviceAccountName\", "
		  "\"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"" },
		{ ONE(", resources: {requests: {cpu: 2}, limits: {cpu: 1}}"),
		  "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu "
		  "limit of 1" },
		{ ONE(", resources: {limits: {foo: 1}}"),
		  "spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard resource type "
		  "or fully qualified\n"
		  "spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard resource for "
		  "containers\n"
		  "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource "
		  "type or fully qualified\n"
		  "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource for "
		  "containers" },
		{ ONE(", resources: {requests: {memory: -1}}"),
		  "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal "
		  "to 0" },
		{ ONE(", livenessProbe: {httpGet: {port: 0}, tcpSocket: {port: 1}, successThreshold: 2}"),
		  "spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, "
		  "inclusive\n"
		  "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type\n"
		  "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1" },
		{ ONE(", readinessProbe: {}"),
		  "spec.containers[0].readinessProbe: Required value: must specify a handler type" },
		{ ONE(", securityContext: {privileged: true, allowPrivilegeEscalation: false}"),
		  "spec.containers[0].securityContext: Invalid value: "
		  "{\"privileged\":true,\"allowPrivilegeEscalation\":false}: cannot set "
		  "`allowPrivilegeEscalation` to false and `privileged` to true" },
		{ POD("restartPolicy: Sometimes, dnsPolicy: X, containers: [{name: c, image: i}]"),
		  "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", "
		  "\"Never\"\n"
		  "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", "
		  "\"ClusterFirst\", \"Default\", "
		  "\"None\"" },
		{ POD("dnsPolicy: None, containers: [{name: c, image: i}]"),
		  "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None" },
		{ POD("hostNetwork: true, containers: [{name: c, image: i, ports: [{containerPort: 80, hostPort: "
		      "81}]}]"),
		  "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when "
		  "`hostNetwork` is true" },
		{ POD("volumes: [{name: v, hostPath: {path: /a/../b}}, {name: v}, {name: w, secret: {}, emptyDir: "
		      "{}}], "
		      "containers: [{name: c, image: i}]"),
		  "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'\n"
		  "spec.volumes[2].secret: Forbidden: may not specify more than 1 volume type" },
		{ POD("tolerations: [{operator: Equal}, {key: a, operator: Exists, value: b}], containers: [{name: c, "
		      "image: i}]"),
		  "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is "
		  "empty, which means \"match all "
		  "values and all keys\"\n"
		  "spec.tolerations[1].operator: Invalid value: \"b\": value must be empty when `operator` is "
		  "'Exists'" },
		{ POD("initContainers: [{name: c, image: i, readinessProbe: {exec: {command: [a]}}}], containers: "
		      "[{name: c, image: i}]"),
		  "spec.initContainers[0].name: Duplicate value: \"c\"\n"
		  "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without "
		  "restartPolicy=Always" },
		{ POD("ephemeralContainers: [{name: e, image: i}], containers: [{name: c, image: i}]"),
		  "spec.ephemeralContainers: Forbidden: cannot be set on create" },
		{ POD("nodeName: n, schedulingGates: [{name: a/b}], containers: [{name: c, image: i}]"),
		  "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared" },
		{ POD("os: {name: windows}, hostPID: true, containers: [{name: c, image: i, securityContext: "
		      "{runAsUser: 1}}]"),
		  "spec.hostPID: Forbidden: cannot be set for a windows pod\n"
		  "spec.containers[0].securityContext.runAsUser: Forbidden: cannot be set for a windows pod" },
		{ POD("os: {name: linux}, securityContext: {windowsOptions: {hostProcess: false}}, containers: [{name: "
		      "c, image: i}]"),
		  "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod" },
		{ POD("activeDeadlineSeconds: 0, hostname: a.b, containers: [{name: c, image: i}]"),
		  "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive\n"
		  "spec.hostname: Invalid value: \"a.b\": must not contain dots" },
	};

	RUN(rows);
}

static void updates(void **state _unused_)
{
	static const char old[] = POD("containers: [{name: c, image: i}], tolerations: [{key: a, operator: Exists}]");
	static const struct fixture_row rows[] = {
		{ old, "" },
		{ POD("containers: [{name: c, image: j}], tolerations: [{key: a, operator: Exists, tolerationSeconds: "
		      "5, effect: NoExecute}, "
		      "{key: a, operator: Exists}]"),
		  "" },
		{ POD("containers: [{name: c, image: i}], tolerations: [{key: b, operator: Exists}]"),
		  "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds" },
		{ POD("containers: [{name: c, image: i}, {name: d, image: i}], tolerations: [{key: a, operator: "
		      "Exists}]"),
		  "spec.containers: Forbidden: pod updates may not add or remove containers" },
		{ POD("containers: [{name: c, image: i}], tolerations: [{key: a, operator: Exists}], hostname: x"),
		  "spec: Forbidden: pod updates may not change fields other than "
		  "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec."
		  "tolerations` (only additions to "
		  "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
		  "previously negative)\n"
		  "@@ -11,6 +11,7 @@\n"
		  "  ],\n"
		  "  \"dnsPolicy\": \"ClusterFirst\",\n"
		  "  \"enableServiceLinks\": true,\n"
		  "+ \"hostname\": \"x\",\n"
		  "  \"restartPolicy\": \"Always\",\n"
		  "  \"schedulerName\": \"default-scheduler\",\n"
		  "  \"securityContext\": {},\n" },
		{ POD("containers: [{name: c, image: i}], tolerations: [{key: a, operator: Exists}], schedulingGates: "
		      "[{name: g}]"),
		  "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate "
		  "'g'" },
	};
	static const char gated[] = POD(
		"containers: [{name: c, image: i}], schedulingGates: [{name: g}], nodeSelector: {a: b}");
	static const struct fixture_row gated_rows[] = {
		{ POD("containers: [{name: c, image: i}], nodeSelector: {a: b, c: d}"), "" },
		{ POD("containers: [{name: c, image: i}], schedulingGates: [{name: g}], nodeSelector: {c: d}"),
		  "spec.nodeSelector: Invalid value: {\"c\":\"d\"}: only additions to spec.nodeSelector are allowed "
		  "(no mutations or "
		  "deletions)" },
	};

	RUN_UPDATES(old, NULL, rows);
	RUN_UPDATES(gated, NULL, gated_rows);
}

static void subresources(void **state _unused_)
{
	static const char old[] = POD("containers: [{name: c, image: i, resources: {requests: {cpu: 1}}}]");
	static const struct fixture_row ephemeral[] = {
		{ POD("containers: [{name: c, image: i}], ephemeralContainers: [{name: e, image: i, "
		      "targetContainerName: c}]"),
		  "" },
		{ POD("containers: [{name: c, image: i}], ephemeralContainers: [{name: c, image: i, ports: "
		      "[{containerPort: 1}]}]"),
		  "spec.ephemeralContainers[0].name: Duplicate value: \"c\"\n"
		  "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container" },
	};
	static const struct fixture_row resize[] = {
		{ POD("containers: [{name: c, image: i, resources: {requests: {cpu: 2}}}]"), "" },
		{ POD("containers: [{name: c, image: i}]"),
		  "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed\n"
		  "spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing" },
		{ POD("containers: [{name: c, image: i, resources: {requests: {cpu: 1}}}, {name: d, image: i}]"),
		  "spec.containers: Forbidden: containers may not be added or removed on resize" },
	};
	static const struct fixture_row status[] = {
		{ "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {}, status: {phase: Running, qosClass: "
		  "Burstable, podIPs: [{ip: "
		  "10.0.0.1}], conditions: [{type: Ready, status: 'True'}, {type: a/b, status: 'True'}]}}",
		  "" },
		{ "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {}, status: {qosClass: BestEffort, podIPs: "
		  "[{ip: 10.0.0.1}, {ip: "
		  "10.0.0.300}]}}",
		  "status.qosClass: Invalid value: \"BestEffort\": field is immutable\n"
		  "status.podIPs[1]: Invalid value: \"10.0.0.300\": must be a valid IP address, (e.g. 10.9.8.7 or "
		  "2001:db8::ffff)" },
	};

	RUN_UPDATES(old, "ephemeralcontainers", ephemeral);
	RUN_UPDATES(old, "resize", resize);
	RUN_UPDATES(old, "status", status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_pods),
		cmocka_unit_test(bad_pods),
		cmocka_unit_test(updates),
		cmocka_unit_test(subresources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
