/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds beside Pods: objects as users write them pass; mistakes get Kubernetes' words; immutable fields stay. */
#include "apiserver/validate/validate_fixture.h"

#define TEMPLATE(labels, rest) \
	"template: {metadata: {labels: {" labels "}}, spec: {containers: [{name: c, image: i}]" rest "}}"
#define DEPLOYMENT(rest) "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {" rest "}}"
#define SERVICE(rest) "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {" rest "}}"

static void good_objects(void **state _unused_)
{
	static const struct fixture_row rows[] = {
		{ DEPLOYMENT("replicas: 3, selector: {matchLabels: {a: b}}, " TEMPLATE("a: b", "")), "" },
		{ "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: r}, spec: {selector: {matchLabels: {a: "
		  "b}}, " TEMPLATE("a: b, c: d", "") "}}",
		  "" },
		{ "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: r}, spec: {selector: {matchLabels: {a: "
		  "b}}, " TEMPLATE("a: b", "") "}}",
		  "" },
		{ "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: r}, spec: {serviceName: s, selector: "
		  "{matchLabels: {a: b}}, "
		  "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i, volumeMounts: "
		  "[{name: data, mountPath: /d}]}]}}, "
		  "volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: "
		  "{requests: {storage: 1Gi}}}}]}}",
		  "" },
		{ "{apiVersion: v1, kind: ReplicationController, metadata: {name: r}, spec: {" TEMPLATE("a: b",
													"") "}}",
		  "" },
		{ "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {" TEMPLATE(
			  "a: b", ", restartPolicy: Never") "}}",
		  "" },
		{ "{apiVersion: batch/v1, kind: CronJob, metadata: {name: j}, spec: {schedule: '*/5 0-6,9 * jan-mar "
		  "mon', timeZone: Europe/Berlin, "
		  "jobTemplate: {spec: {" TEMPLATE("a: b", ", restartPolicy: OnFailure") "}}}}",
		  "" },
		{ SERVICE("selector: {a: b}, ports: [{port: 80, targetPort: http}]"), "" },
		{ SERVICE("clusterIP: None, clusterIPs: [None], selector: {a: b}"), "" },
		{ SERVICE("type: NodePort, ports: [{port: 80, nodePort: 30080, name: a}, {port: 80, protocol: UDP, "
			  "name: b}]"),
		  "" },
		{ SERVICE("type: ExternalName, externalName: example.com."), "" },
		{ SERVICE("type: LoadBalancer, ports: [{port: 80}], sessionAffinity: ClientIP"), "" },
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a.b: x}, binaryData: {k: aGk=}}", "" },
		{ "{apiVersion: v1, kind: Secret, metadata: {name: c}, stringData: {password: x}}", "" },
		{ "{apiVersion: v1, kind: ServiceAccount, metadata: {name: c}, secrets: [{name: x}]}", "" },
		{ "{apiVersion: v1, kind: Namespace, metadata: {name: c}}", "" },
		{ "{apiVersion: v1, kind: Node, metadata: {name: node.example.com, labels: {a: b}}, spec: {podCIDR: "
		  "10.244.0.0/24, taints: [{key: a, "
		  "effect: NoSchedule}]}, status: {capacity: {cpu: 4}}}",
		  "" },
		{ "{apiVersion: v1, kind: Endpoints, metadata: {name: c}, subsets: [{addresses: [{ip: 10.0.0.1}], "
		  "ports: [{port: 80}]}]}",
		  "" },
		{ "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: c}, addressType: IPv4, "
		  "endpoints: [{addresses: "
		  "[10.0.0.1], nodeName: n}], ports: [{port: 80, name: http}]}",
		  "" },
		{ "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: c}, spec: {rules: [{host: "
		  "'*.example.com', http: {paths: "
		  "[{path: /, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}], tls: [{hosts: "
		  "[a.example.com], secretName: s}]}}",
		  "" },
		{ "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: c}, spec: {podSelector: "
		  "{}, ingress: [{from: [{ipBlock: "
		  "{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {}}], ports: [{port: 80, endPort: "
		  "90}]}]}}",
		  "" },
		{ "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:x'}, rules: "
		  "[{apiGroups: [''], resources: "
		  "[pods], verbs: [get]}, {nonResourceURLs: [/healthz], verbs: [get]}]}",
		  "" },
		{ "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: 'a:b'}, roleRef: "
		  "{kind: Role, name: r}, subjects: "
		  "[{kind: User, name: u}, {kind: ServiceAccount, name: s, namespace: n}]}",
		  "" },
		{ "{apiVersion: v1, kind: PersistentVolume, metadata: {name: c}, spec: {capacity: {storage: 1Gi}, "
		  "accessModes: [ReadWriteOnce], "
		  "hostPath: {path: /x}}}",
		  "" },
		{ "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: "
		  "[ReadWriteOnce], resources: {requests: "
		  "{storage: 1Gi}}, storageClassName: ''}}",
		  "" },
		{ "{apiVersion: v1, kind: ResourceQuota, metadata: {name: c}, spec: {hard: {pods: 5, requests.cpu: 1, "
		  "count/jobs.batch: 3}}}",
		  "" },
		{ "{apiVersion: v1, kind: LimitRange, metadata: {name: c}, spec: {limits: [{type: Container, max: "
		  "{cpu: 2}, min: {cpu: 100m}, default: "
		  "{cpu: 1}, defaultRequest: {cpu: 500m}}]}}",
		  "" },
		{ "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: c}, spec: {minAvailable: 50%, "
		  "selector: {matchLabels: {a: b}}}}",
		  "" },
		{ "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: c}, spec: "
		  "{scaleTargetRef: {apiVersion: apps/v1, kind: "
		  "Deployment, name: w}, maxReplicas: 3}}",
		  "" },
		{ "{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: c}, spec: "
		  "{scaleTargetRef: {apiVersion: apps/v1, kind: "
		  "Deployment, name: w}, maxReplicas: 3, targetCPUUtilizationPercentage: 50}}",
		  "" },
		{ "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: c}, spec: {leaseDurationSeconds: "
		  "15}}",
		  "" },
		{ "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: system-node-critical}, "
		  "value: 2000001000}",
		  "" },
		{ "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: c}, provisioner: "
		  "kubernetes.io/no-provisioner}",
		  "" },
		{ "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: c}, handler: runc}", "" },
		{ "{apiVersion: v1, kind: Event, metadata: {name: c.17a, namespace: default}, involvedObject: {kind: "
		  "Pod, name: p, namespace: default}, "
		  "reason: R, message: m, type: Normal}",
		  "" },
	};

	RUN(rows);
}

static void bad_metadata(void **state _unused_)
{
	static const struct fixture_row rows[] = {
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {name: A_}}",
		  "metadata.name: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case "
		  "alphanumeric characters, '-' or "
		  "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
		  "validation is "
		  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {}}",
		  "metadata.name: Required value: name or generateName is required" },
		{ "{apiVersion: v1, kind: Namespace, metadata: {name: a.b}}",
		  "metadata.name: Invalid value: \"a.b\": must not contain dots" },
		{ "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: a/b}}",
		  "metadata.name: Invalid value: \"a/b\": may not contain '/'" },
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {'a/b/c': x, d: 'e f'}}}",
		  "metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric "
		  "characters, '-', '_' or '.', and must "
		  "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "
		  "used for validation is "
		  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. "
		  "'example.com/MyName')\n"
		  "metadata.labels: Invalid value: \"e f\": a valid label must be an empty string or consist of "
		  "alphanumeric characters, '-', '_' or "
		  "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
		  "'12345', regex used for "
		  "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')" },
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, ownerReferences: [{apiVersion: v1, kind: Pod, "
		  "name: p, uid: u, controller: "
		  "true}, {apiVersion: v1, kind: Pod, name: q, uid: ''}]}}",
		  "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty" },
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, finalizers: [x]}}",
		  "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it "
		  "fully qualified" },
	};

	RUN(rows);
}

static void bad_workloads(void **state _unused_)
{
	static const struct fixture_row rows[] = {
		{ DEPLOYMENT("selector: {matchLabels: {a: c}}, " TEMPLATE("a: b", "")),
		  "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template "
		  "`labels`" },
		{ DEPLOYMENT("selector: {}, " TEMPLATE("a: b", "")),
		  "spec.selector: Invalid value: {}: empty selector is invalid for deployment" },
		{ DEPLOYMENT(
			  "replicas: -1, selector: {matchLabels: {a: b}}, " TEMPLATE("a: b", ", restartPolicy: Never")),
		  "spec.replicas: Invalid value: -1: must be greater than or equal to 0\n"
		  "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"" },
		{ DEPLOYMENT("selector: {matchLabels: {a: b}}, strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: "
			     "0%}}, " TEMPLATE("a: b", "")),
		  "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is "
		  "0" },
		{ DEPLOYMENT("selector: {matchLabels: {a: b}}, strategy: {type: Foo}, " TEMPLATE("a: b", "")),
		  "spec.strategy: Unsupported value: {\"Type\":\"Foo\",\"RollingUpdate\":null}: supported values: "
		  "\"Recreate\", \"RollingUpdate\"" },
		{ DEPLOYMENT(
			  "selector: {matchLabels: {a: b}}, strategy: {type: Recreate, rollingUpdate: {}}, " TEMPLATE(
				  "a: b", "")),
		  "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'" },
		{ DEPLOYMENT(
			  "selector: {matchLabels: {a: b}}, progressDeadlineSeconds: 5, minReadySeconds: 5, " TEMPLATE(
				  "a: b", "")),
		  "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds" },
		{ "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {" TEMPLATE("a: b", "") "}}",
		  "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"" },
		{ "{apiVersion: batch/v1, kind: CronJob, metadata: {name: j}, spec: {schedule: 'x', jobTemplate: "
		  "{spec: {" TEMPLATE("a: b", ", restartPolicy: OnFailure") "}}}}",
		  "spec.schedule: Invalid value: \"x\": expected exactly 5 fields, found 1: [x]" },
		{ "{apiVersion: batch/v1, kind: CronJob, metadata: {name: j}, spec: {schedule: '61 * * * *', "
		  "jobTemplate: {spec: {" TEMPLATE("a: b", ", restartPolicy: OnFailure") "}}}}",
		  "spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61" },
	};
	static const char old[] = DEPLOYMENT("replicas: 3, selector: {matchLabels: {a: b}}, " TEMPLATE("a: b", ""));
	static const struct fixture_row changes[] = {
		{ DEPLOYMENT("replicas: 4, selector: {matchLabels: {a: b}}, " TEMPLATE("a: b, c: d", "")), "" },
		{ DEPLOYMENT("replicas: 3, selector: {matchLabels: {a: c}}, " TEMPLATE("a: c", "")),
		  "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable" },
	};
	static const struct fixture_row status[] = {
		{ "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, status: {replicas: 2, readyReplicas: "
		  "3, availableReplicas: 3}}",
		  "status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas\n"
		  "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas" },
	};

	RUN(rows);
	RUN_UPDATES(old, NULL, changes);
	RUN_UPDATES(old, "status", status);
}

static void bad_services(void **state _unused_)
{
	static const struct fixture_row rows[] = {
		{ SERVICE("selector: {a: b}"), "spec.ports: Required value" },
		{ SERVICE("ports: [{port: 0}, {port: 80, name: b}]"),
		  "spec.ports[0].name: Required value\n"
		  "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\n"
		  "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive" },
		{ SERVICE("ports: [{port: 80, nodePort: 30000}]"),
		  "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'" },
		{ SERVICE("type: Foo, ports: [{port: 80}]"),
		  "spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"ExternalName\", "
		  "\"LoadBalancer\", \"NodePort\"\n"
		  "spec.internalTrafficPolicy: Required value" },
		{ SERVICE("ports: [{port: 80, name: a}, {port: 80, name: b}]"),
		  "spec.ports[1]: Duplicate value: "
		  "{\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":"
		  "0}" },
		{ SERVICE("externalTrafficPolicy: Local, ports: [{port: 80}]"),
		  "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible "
		  "services" },
		{ SERVICE("clusterIP: 10.0.0.300, clusterIPs: [10.0.0.300], ports: [{port: 80}]"),
		  "spec.clusterIPs[0]: Invalid value: \"10.0.0.300\": must be a valid IP address, (e.g. 10.9.8.7 or "
		  "2001:db8::ffff)" },
		{ SERVICE("externalIPs: [127.0.0.1], ports: [{port: 80}]"),
		  "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, "
		  "::1/128)" },
		{ SERVICE("type: ExternalName"), "spec.externalName: Required value" },
		{ SERVICE("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 90000}}, "
			  "ports: [{port: 80}]"),
		  "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 "
		  "and less than 86400" },
	};
	static const struct fixture_row changes[] = {
		{ SERVICE("clusterIP: 10.96.0.6, clusterIPs: [10.96.0.6], ports: [{port: 80}]"),
		  "spec.clusterIPs[0]: Invalid value: [\"10.96.0.6\"]: may not change once set" },
	};

	RUN(rows);
	RUN_UPDATES(SERVICE("clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5], ports: [{port: 80}]"), NULL, changes);
}

static void bad_others(void **state _unused_)
{
	static const struct fixture_row rows[] = {
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {'a b': x, k: y}, binaryData: {k: "
		  "aGk=}}",
		  "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', "
		  "'_' or '.' (e.g. 'key.name',  "
		  "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')\n"
		  "data[k]: Invalid value: \"k\": duplicate of key present in binaryData" },
		{ "{apiVersion: v1, kind: Secret, metadata: {name: c}, type: kubernetes.io/tls}",
		  "data[tls.crt]: Required value\ndata[tls.key]: Required value" },
		{ "{apiVersion: v1, kind: Secret, metadata: {name: c}, type: kubernetes.io/dockerconfigjson, "
		  "stringData: {.dockerconfigjson: 'x'}}",
		  "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'x' "
		  "looking for beginning of value" },
		{ "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {taints: [{key: a, effect: X}]}}",
		  "metadata.taints[0].effect: Unsupported value: \"X\": supported values: \"NoSchedule\", "
		  "\"PreferNoSchedule\", \"NoExecute\"" },
		{ "{apiVersion: v1, kind: Endpoints, metadata: {name: c}, subsets: [{ports: [{port: 80}]}]}",
		  "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`" },
		{ "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: c}, addressType: IPv4, "
		  "endpoints: [{addresses: []}, "
		  "{addresses: ['::1']}]}",
		  "endpoints[0].addresses: Required value: must contain at least 1 address\n"
		  "endpoints[1].addresses: Invalid value: \"::1\": must be an IPv4 address\n"
		  "endpoints[1].addresses[0]: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, "
		  "::1/128)" },
		{ "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: c}, spec: {}}",
		  "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified" },
		{ "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: c}, spec: {rules: [{host: "
		  "10.0.0.1, http: {paths: [{path: x, "
		  "pathType: Exact, backend: {}}]}}]}}",
		  "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address\n"
		  "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path\n"
		  "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required" },
		{ "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: c}, spec: {podSelector: "
		  "{}, ingress: [{from: [{}, {ipBlock: "
		  "{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}}",
		  "spec.ingress[0].from[0]: Required value: must specify a peer\n"
		  "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset "
		  "of `cidr`" },
		{ "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r}, rules: [{verbs: [], "
		  "nonResourceURLs: [/x]}]}",
		  "rules[0].verbs: Required value: verbs must contain at least one value\n"
		  "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource "
		  "URLs" },
		{ "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: r}, roleRef: "
		  "{kind: Role, name: x}, subjects: "
		  "[{kind: ServiceAccount, name: s}]}",
		  "roleRef.kind: Unsupported value: \"Role\": supported values: "
		  "\"ClusterRole\"\nsubjects[0].namespace: Required value" },
		{ "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {}}",
		  "spec.accessModes: Required value: at least 1 access mode is required\nspec.resources[storage]: "
		  "Required value" },
		{ "{apiVersion: v1, kind: ResourceQuota, metadata: {name: c}, spec: {hard: {foo: 1}, scopes: "
		  "[BestEffort, NotBestEffort]}}",
		  "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified\n"
		  "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource for quota\n"
		  "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes" },
		{ "{apiVersion: v1, kind: LimitRange, metadata: {name: c}, spec: {limits: [{type: Container, max: "
		  "{cpu: 1}, min: {cpu: 2}}]}}",
		  "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1\n"
		  "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default "
		  "request value 1\n"
		  "spec.limits[0].default[cpu]: Invalid value: \"1\": min value 2 is greater than default value 1" },
		{ "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: c}, spec: "
		  "{scaleTargetRef: {kind: Deployment, name: w}, "
		  "maxReplicas: 0}}",
		  "spec.maxReplicas: Invalid value: 0: must be set and greater than 0\n"
		  "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`" },
		{ "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: system-x}, value: 1}",
		  "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use "
		  "only. error: system-x is not a known "
		  "system priority class" },
		{ "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: c}, spec: {leaseDurationSeconds: "
		  "0}}",
		  "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0" },
	};
	static const struct fixture_row hooks[] = {
		{ "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: "
		  "{name: c}, webhooks: [{name: a.b.c, "
		  "sideEffects: None, admissionReviewVersions: [v1], clientConfig: {service: {name: s, namespace: n, "
		  "path: /x}}, rules: [{operations: "
		  "['*'], apiGroups: [''], apiVersions: [v1], resources: [pods]}]}]}",
		  "" },
		{ "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: "
		  "c}, webhooks: [{name: a.b, "
		  "timeoutSeconds: 31, admissionReviewVersions: [v2], clientConfig: {url: 'http://x'}, rules: "
		  "[{operations: ['*', CREATE], apiGroups: "
		  "[''], apiVersions: [v1], resources: ['*', pods]}]}]}",
		  "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated "
		  "by dots\n"
		  "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not "
		  "specify other operations\n"
		  "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not "
		  "specify other resources without "
		  "subresources\n"
		  "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun\n"
		  "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds\n"
		  "webhooks[0].clientConfig.url: Invalid value: \"http://x\": 'https' is the only allowed URL scheme; "
		  "desired format: "
		  "https://host[/path]\n"
		  "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, "
		  "v1beta1" },
		{ "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: "
		  "foos.example.com}, spec: {group: example.com, "
		  "scope: Namespaced, names: {plural: foos, kind: Foo}, versions: [{name: v1, served: true, storage: "
		  "true, schema: {openAPIV3Schema: "
		  "{type: object}}}]}}",
		  "" },
		{ "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: "
		  "foo.example}, spec: {group: example, scope: "
		  "Namespaced, names: {plural: foos, kind: Foo}, versions: [{name: v1, served: true, storage: "
		  "false}]}}",
		  "metadata.name: Invalid value: \"foo.example\": must be spec.names.plural+\".\"+spec.group\n"
		  "spec.group: Invalid value: \"example\": should be a domain with at least one dot\n"
		  "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required\n"
		  "spec.versions: Invalid value: [{\"name\":\"v1\",\"served\":true,\"storage\":false}]: must have "
		  "exactly one version marked as "
		  "storage version" },
		{ "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: f}, spec: "
		  "{matchingPrecedence: 20000, "
		  "priorityLevelConfiguration: {name: x}, rules: [{}]}}",
		  "spec.matchingPrecedence: Invalid value: 20000: must not be greater than 10000\n"
		  "spec.rules[0].subjects: Required value: subjects must contain at least one value\n"
		  "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be "
		  "non-empty" },
	};
	static const struct fixture_row binding[] = {
		{ "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b}, roleRef: {kind: "
		  "Role, name: y}}",
		  "roleRef: Invalid value: "
		  "{\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"y\"}: cannot change "
		  "roleRef" },
	};
	static const struct fixture_row frozen[] = {
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: c}}",
		  "immutable: Forbidden: field is immutable when `immutable` is set\ndata: Forbidden: field is "
		  "immutable when `immutable` is set" },
	};

	RUN(rows);
	RUN(hooks);
	RUN_UPDATES("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b}, roleRef: "
		    "{kind: Role, name: x}}",
		    NULL, binding);
	RUN_UPDATES("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}, immutable: true}", NULL,
		    frozen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_objects), cmocka_unit_test(bad_metadata), cmocka_unit_test(bad_workloads),
		cmocka_unit_test(bad_services), cmocka_unit_test(bad_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
