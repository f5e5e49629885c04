/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows as kubectl prints them: columns fit cells for every kind, ages, and the words for the states of pods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apiserver/table/table.h"
#include "base/clock.h"
#include "base/mem.h"

/* 2026-01-01T00:00:00Z */
enum { NOW_S = 1767225600 };
#define AGE_5M "creationTimestamp: '2025-12-31T23:55:00Z'"

static const struct schema_resource *resource_of(const json_t *o)
{
	const char *version = json_str_or(o, "apiVersion", ""), *slash = strchr(version, '/');
	_cleanup_free_ char *group = slash ? mem_strndup(version, (size_t)(slash - version)) : mem_strdup("");
	const struct schema_resource *r = schema_resource_of_kind(group, slash ? slash + 1 : version,
								  json_str_or(o, "kind", ""));

	if (!r)
		fail_msg("no such kind: %s %s", version, json_str_or(o, "kind", ""));
	return r;
}

static json_t *yaml(const char *text)
{
	struct err e = {0};
	json_t *o = yaml_parse(text, strlen(text), &e);

	if (!o)
		fail_msg("%s: %s", text, err_msg(&e));
	return o;
}

static json_t *row_of(const json_t *o, enum table_include include)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	_cleanup_err_ struct err e = {0};
	json_t *row;

	table_row(resource_of(o), o, NULL, 0, include, NOW_S, &out);
	row = json_parse(out.data, out.len, NULL, &e);
	if (!row)
		fail_msg("%s: %s", out.data, err_msg(&e));
	return row;
}

struct row {
	const char *object, *cells; /* the cells as JSON with ' for " */
};

static void run(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *o = yaml(rows[i].object), *row = row_of(o, TABLE_INCLUDE_NONE), *columns = NULL;
		_cleanup_strbuf_ struct strbuf got = {0};
		_cleanup_free_ char *want = mem_strdup(rows[i].cells);
		const char *text = table_columns(resource_of(o));

		for (char *c = want; *c; c++)
			if (*c == '\'')
				*c = '"';
		json_write(&got, json_object_get(row, "cells"));
		assert_string_equal(got.data, want);
		columns = json_parse(text, strlen(text), NULL, NULL);
		/* IPAddress alone has an age without a column */
		assert_int_equal(json_array_size(columns) + str_eq(json_str(o, "kind"), "IPAddress"),
				 json_array_size(json_object_get(row, "cells")));
		assert_null(json_object_get(row, "object"));
	}
}
#define RUN(rows) run(rows, ARRAY_SIZE(rows))

#define POD(spec, status)                                                                                             \
	"{apiVersion: v1, kind: Pod, metadata: {name: p, " AGE_5M "}, spec: {containers: [{name: a}, {name: b}]" spec \
	"}, status: {" status "}}"
#define POD_TAIL ",'5m','<none>','<none>','<none>','<none>']"
#define RUNNING(name) "{name: " name ", ready: true, restartCount: 0, state: {running: {}}}"

static void pods(void **state _unused_)
{
	static const struct row rows[] = {
		{ POD("", "phase: Pending"), "['p','0/2','Pending','0'" POD_TAIL },
		{ POD(", nodeName: n, readinessGates: [{conditionType: x}]",
		      "phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}], conditions: [{type: x, status: "
		      "'True'}], containerStatuses: [" RUNNING("a") ", " RUNNING("b") "]"),
		  "['p','2/2','Running','0','5m','10.0.0.1','n','<none>','1/1']" },
		{ POD("", "phase: Running, containerStatuses: [" RUNNING(
				  "a") ", {name: b, restartCount: 3, lastState: {terminated: {finishedAt: "
				       "'2025-12-31T23:58:30Z', exitCode: 1}}, state: {waiting: {reason: "
				       "CrashLoopBackOff}}}]"),
		  "['p','1/2','CrashLoopBackOff','3 (90s ago)'" POD_TAIL },
		{ POD("", "phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: "
			  "ContainerCreating}}}, {name: b, state: {waiting: "
			  "{reason: ContainerCreating}}}]"),
		  "['p','0/2','ContainerCreating','0'" POD_TAIL },
		{ POD("", "phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 3}}}, {name: b, "
			  "state: {terminated: {signal: "
			  "9, exitCode: 137}}}]"),
		  "['p','0/2','ExitCode:3','0'" POD_TAIL },
		{ POD("", "phase: Failed, reason: Evicted"), "['p','0/2','Evicted','0'" POD_TAIL },
		{ POD("", "phase: Running, conditions: [{type: Ready, status: 'True'}], containerStatuses: [{name: a, "
			  "state: {terminated: {reason: "
			  "Completed, exitCode: 0}}}, " RUNNING("b") "]"),
		  "['p','1/2','Running','0'" POD_TAIL },
		{ POD("", "phase: Running, conditions: [{type: Ready, status: 'False'}], containerStatuses: [{name: a, "
			  "state: {terminated: {reason: "
			  "Completed, exitCode: 0}}}, " RUNNING("b") "]"),
		  "['p','1/2','NotReady','0'" POD_TAIL },
		{ POD("", "phase: Failed, containerStatuses: [{name: a, state: {terminated: {reason: Completed, "
			  "exitCode: 0}}}, {name: b, state: "
			  "{terminated: {reason: Error, exitCode: 1}}}]"),
		  "['p','0/2','Error','0'" POD_TAIL },
		{ POD("", "phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {reason: Completed, "
			  "exitCode: 0}}}]"),
		  "['p','0/2','Completed','0'" POD_TAIL },
		{ POD(", initContainers: [{name: i}, {name: s, restartPolicy: Always}]",
		      "phase: Pending, initContainerStatuses: [{name: i, state: {running: {}}}, {name: s, state: "
		      "{waiting: {reason: PodInitializing}}}]"),
		  "['p','0/3','Init:0/2','0'" POD_TAIL },
		{ POD(", initContainers: [{name: i}, {name: s, restartPolicy: Always}]",
		      "phase: Running, initContainerStatuses: [{name: i, restartCount: 4, state: {terminated: "
		      "{exitCode: 0}}}, {name: s, started: true, "
		      "ready: true, restartCount: 1, state: {running: {}}}], containerStatuses: [" RUNNING(
			      "a") ", " RUNNING("b") "]"),
		  "['p','3/3','Running','1'" POD_TAIL },
		{ POD(", initContainers: [{name: i}]",
		      "phase: Pending, initContainerStatuses: [{name: i, restartCount: 2, state: {waiting: {reason: "
		      "CrashLoopBackOff}}}]"),
		  "['p','0/2','Init:CrashLoopBackOff','2'" POD_TAIL },
		{ POD(", initContainers: [{name: i}]",
		      "phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 2}}}]"),
		  "['p','0/2','Init:ExitCode:2','0'" POD_TAIL },
		{ POD("",
		      "phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]"),
		  "['p','0/2','SchedulingGated','0'" POD_TAIL },
		{ "{apiVersion: v1, kind: Pod, metadata: {name: p, " AGE_5M
		  ", deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {containers: [{name: "
		  "a}, {name: b}]}, status: {phase: Running}}",
		  "['p','0/2','Terminating','0'" POD_TAIL },
		{ "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: []}, status: {}}",
		  "['p','0/0','','0','<unknown>','<none>','<none>','<none>','<none>']" },
	};
	_cleanup_json_ json_t *done = yaml(POD("", "phase: Succeeded")), *row = row_of(done, TABLE_INCLUDE_METADATA),
			      *full = NULL;

	RUN(rows);
	assert_string_equal(json_str(row, "conditions[0].type"), "Completed");
	assert_string_equal(json_str(row, "conditions[0].reason"), "Succeeded");
	assert_string_equal(json_str(row, "object.kind"), "PartialObjectMetadata");
	assert_string_equal(json_str(row, "object.apiVersion"), "meta.k8s.io/v1");
	assert_string_equal(json_str(row, "object.metadata.name"), "p");
	assert_null(json_at(row, "object.spec"));
	full = row_of(done, TABLE_INCLUDE_OBJECT);
	assert_true(json_equal(json_object_get(full, "object"), done));
}

#define WORKLOAD                                                                                                       \
	"selector: {matchLabels: {b: c, a: b}}, template: {spec: {containers: [{name: x, image: i}, {name: y, image: " \
	"j}]}}"

static void workloads(void **state _unused_)
{
	static const struct row rows[] = {
		{ "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, " AGE_5M
		  "}, spec: {replicas: 3, " WORKLOAD "}, status: {readyReplicas: 2, "
		  "updatedReplicas: 3, availableReplicas: 1}}",
		  "['d','2/3',3,1,'5m','x,y','i,j','a=b,b=c']" },
		{ "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: d, " AGE_5M
		  "}, spec: {replicas: 3, " WORKLOAD "}, status: {replicas: 3, "
		  "readyReplicas: 2}}",
		  "['d',3,3,2,'5m','x,y','i,j','a=b,b=c']" },
		{ "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: d, " AGE_5M
		  "}, spec: {replicas: 3, " WORKLOAD "}}",
		  "['d','0/3','5m','x,y','i,j']" },
		{ "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d, " AGE_5M "}, spec: {" WORKLOAD
		  "}, status: {desiredNumberScheduled: 2, "
		  "numberReady: 1}}",
		  "['d',2,0,1,0,0,'<none>','5m','x,y','i,j','a=b,b=c']" },
		{ "{apiVersion: batch/v1, kind: Job, metadata: {name: d, " AGE_5M "}, spec: {completions: 3, " WORKLOAD
		  "}, status: {succeeded: 3, "
		  "startTime: '2025-12-31T23:56:00Z', completionTime: '2025-12-31T23:57:00Z', conditions: [{type: "
		  "Complete, status: 'True'}]}}",
		  "['d','Complete','3/3','60s','5m','x,y','i,j','a=b,b=c']" },
		{ "{apiVersion: batch/v1, kind: Job, metadata: {name: d, " AGE_5M "}, spec: {parallelism: 4, " WORKLOAD
		  "}}",
		  "['d','Running','0/1 of 4','','5m','x,y','i,j','a=b,b=c']" },
		{ "{apiVersion: batch/v1, kind: CronJob, metadata: {name: d, " AGE_5M
		  "}, spec: {schedule: '* * * * *', suspend: false, jobTemplate: {spec: "
		  "{template: {spec: {containers: [{name: x, image: i}]}}}}}, status: {active: [{}], lastScheduleTime: "
		  "'2025-12-31T23:59:00Z'}}",
		  "['d','* * * * *','<none>','False',1,'60s','5m','x','i','<none>']" },
		{ "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: d, " AGE_5M
		  "}, spec: {minAvailable: 50%}, status: "
		  "{disruptionsAllowed: 1}}",
		  "['d','50%','N/A',1,'5m']" },
		{ "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: d, " AGE_5M
		  "}, spec: {minReplicas: 1, maxReplicas: 5, "
		  "scaleTargetRef: {kind: Deployment, name: w}, metrics: [{type: Resource, resource: {name: cpu, "
		  "target: {type: Utilization, "
		  "averageUtilization: 80}}}]}, status: {currentReplicas: 2, currentMetrics: [{type: Resource, "
		  "resource: {name: cpu, current: "
		  "{averageUtilization: 12}}}]}}",
		  "['d','Deployment/w','cpu: 12%/80%','1',5,2,'5m']" },
		{ "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: d, " AGE_5M
		  ", ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, "
		  "name: x, controller: true}]}, revision: 2}",
		  "['d','daemonset.apps/x',2,'5m']" },
	};

	RUN(rows);
}

static void core_kinds(void **state _unused_)
{
	static const struct row rows[] = {
		{ "{apiVersion: v1, kind: Service, metadata: {name: s, " AGE_5M
		  "}, spec: {type: NodePort, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], "
		  "selector: {a: b}, ports: [{port: 80, nodePort: 30080, protocol: TCP}, {port: 53, protocol: UDP}]}}",
		  "['s','NodePort','10.96.0.1','<none>','80:30080/TCP,53/UDP','5m','a=b']" },
		{ "{apiVersion: v1, kind: Service, metadata: {name: s, " AGE_5M
		  "}, spec: {type: LoadBalancer, clusterIP: None}}",
		  "['s','LoadBalancer','None','<pending>','<none>','5m','<none>']" },
		{ "{apiVersion: v1, kind: Service, metadata: {name: s, " AGE_5M
		  "}, spec: {type: ExternalName, externalName: x.y}}",
		  "['s','ExternalName','<none>','x.y','<none>','5m','<none>']" },
		{ "{apiVersion: v1, kind: Endpoints, metadata: {name: s, " AGE_5M
		  "}, subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}, {ip: "
		  "10.0.0.3}, {ip: 10.0.0.4}], ports: [{port: 80}]}]}",
		  "['s','10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...','5m']" },
		{ "{apiVersion: v1, kind: Endpoints, metadata: {name: s, " AGE_5M "}}", "['s','<none>','5m']" },
		{ "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, " AGE_5M
		  "}, addressType: IPv4, endpoints: [{addresses: "
		  "[10.0.0.1]}], ports: [{port: 80}]}",
		  "['s','IPv4','80','10.0.0.1','5m']" },
		{ "{apiVersion: v1, kind: Node, metadata: {name: n, " AGE_5M
		  ", labels: {node-role.kubernetes.io/worker: '', "
		  "node-role.kubernetes.io/control-plane: ''}}, spec: {unschedulable: true}, status: {conditions: "
		  "[{type: Ready, status: 'True'}], "
		  "addresses: [{type: InternalIP, address: 10.1.1.1}], nodeInfo: {kubeletVersion: v1.36.0, osImage: "
		  "Debian, kernelVersion: 6.1, "
		  "architecture: amd64, containerRuntimeVersion: 'containerd://1.6'}}}",
		  "['n','Ready,SchedulingDisabled','control-plane,worker','5m','v1.36.0','10.1.1.1','<none>','Debian','"
		  "<unknown> "
		  "(amd64)','containerd://1.6']" },
		{ "{apiVersion: v1, kind: Event, metadata: {name: e, " AGE_5M
		  "}, type: Normal, reason: R, message: ' m\n', involvedObject: {kind: Pod, "
		  "name: p}, source: {component: c, host: h}, lastTimestamp: '2025-12-31T23:59:30Z', firstTimestamp: "
		  "'2025-12-31T23:58:00Z', count: 3}",
		  "['30s','Normal','R','pod/p','','c, h','m','2m',3,'e']" },
		{ "{apiVersion: events.k8s.io/v1, kind: Event, metadata: {name: e}, type: Normal, reason: R, note: m, "
		  "regarding: {kind: Pod, name: p}, "
		  "reportingController: c, eventTime: '2025-12-31T23:59:30.000000Z'}",
		  "['30s','Normal','R','pod/p','','c','m','30s',1,'e']" },
		{ "{apiVersion: v1, kind: Namespace, metadata: {name: n, " AGE_5M "}, status: {phase: Active}}",
		  "['n','Active','5m']" },
		{ "{apiVersion: v1, kind: Secret, metadata: {name: n, " AGE_5M "}, type: Opaque, data: {a: eA==}}",
		  "['n','Opaque',1,'5m']" },
		{ "{apiVersion: v1, kind: ConfigMap, metadata: {name: n, " AGE_5M
		  "}, data: {a: b}, binaryData: {c: eA==}}",
		  "['n',2,'5m']" },
		{ "{apiVersion: v1, kind: ServiceAccount, metadata: {name: n, " AGE_5M "}}", "['n','5m']" },
		{ "{apiVersion: v1, kind: PersistentVolume, metadata: {name: n, " AGE_5M
		  "}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany, "
		  "ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, claimRef: {namespace: a, name: b}, "
		  "storageClassName: s, volumeMode: "
		  "Filesystem}, status: {phase: Bound}}",
		  "['n','1Gi','RWO,RWX','Retain','Bound','a/b','s','<unset>','','5m','Filesystem']" },
		{ "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: n, " AGE_5M
		  "}, spec: {accessModes: [ReadWriteOnce]}, status: {phase: "
		  "Pending}}",
		  "['n','Pending','','','','','<unset>','5m','<unset>']" },
		{ "{apiVersion: v1, kind: ResourceQuota, metadata: {name: n, " AGE_5M
		  "}, status: {hard: {pods: '5', limits.cpu: '2', cpu: '1'}, used: {pods: "
		  "'1'}}}",
		  "['n','cpu: 0/1, pods: 1/5','limits.cpu: 0/2','5m']" },
		{ "{apiVersion: v1, kind: LimitRange, metadata: {name: n, " AGE_5M "}}",
		  "['n','2025-12-31T23:55:00Z']" },
	};

	RUN(rows);
}

static void other_kinds(void **state _unused_)
{
	static const struct row rows[] = {
		{ "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: n, " AGE_5M
		  "}, spec: {ingressClassName: c, tls: [{}], rules: [{host: a}, "
		  "{host: b}, {host: c}, {host: d}]}}",
		  "['n','c','a,b,c + 1 more...','','80, 443','5m']" },
		{ "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: n, " AGE_5M ", annotations: "
		  "{ingressclass.kubernetes.io/is-default-class: 'true'}}, spec: {controller: a/b, parameters: "
		  "{apiGroup: g, kind: K, name: x}}}",
		  "['n (default)','a/b','K.g/x','5m']" },
		{ "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n, " AGE_5M
		  "}, spec: {podSelector: {}}}",
		  "['n','<none>','5m']" },
		{ "{apiVersion: networking.k8s.io/v1, kind: IPAddress, metadata: {name: 10.96.0.1, " AGE_5M
		  "}, spec: {parentRef: {resource: services, "
		  "namespace: default, name: k}}}",
		  "['10.96.0.1','services/default/k','5m']" },
		{ "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: n, " AGE_5M
		  "}, roleRef: {kind: ClusterRole, name: r}, "
		  "subjects: [{kind: User, name: u}, {kind: User, name: v}, {kind: ServiceAccount, name: s, namespace: "
		  "x}]}",
		  "['n','ClusterRole/r','5m','u, v','','x/s']" },
		{ "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: n, " AGE_5M "}}",
		  "['n','2025-12-31T23:55:00Z']" },
		{ "{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: n, " AGE_5M
		  "}, spec: {signerName: a/b, username: u, "
		  "expirationSeconds: 86400}, status: {conditions: [{type: Approved}], certificate: eA==}}",
		  "['n','5m','a/b','u','24h','Approved,Issued']" },
		{ "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: n, " AGE_5M
		  "}, spec: {holderIdentity: h}}",
		  "['n','h','5m']" },
		{ "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: n, " AGE_5M
		  "}, provisioner: p}",
		  "['n','p','Delete','Immediate',false,'5m']" },
		{ "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: n, " AGE_5M
		  "}, value: 5, preemptionPolicy: Never}",
		  "['n',5,false,'5m','Never']" },
		{ "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: n, " AGE_5M "}, handler: runc}",
		  "['n','runc','5m']" },
		{ "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: "
		  "{name: n, " AGE_5M "}, webhooks: [{}]}",
		  "['n',1,'5m']" },
		{ "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {name: "
		  "exempt, " AGE_5M "}, spec: {type: Exempt}}",
		  "['exempt','Exempt','<none>','<none>','<none>','<none>','5m']" },
		{ "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1., " AGE_5M
		  "}, status: {conditions: [{type: Available, status: "
		  "'True'}]}}",
		  "['v1.','Local','True','5m']" },
		{ "{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: n, " AGE_5M
		  "}, spec: {volumeLifecycleModes: [Persistent]}}",
		  "['n',true,false,false,'<unset>',false,'Persistent','5m']" },
	};

	RUN(rows);
}

/* An empty object of every kind gets a row that fits its columns, and its columns have names and types. */
static void every_kind_fits(void **state _unused_)
{
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		const char *text = table_columns(r);
		_cleanup_json_ json_t *columns = json_parse(text, strlen(text), NULL, NULL),
				      *o = json_pack("{s:{s:s}}", "metadata", "name", "x");
		_cleanup_json_ json_t *row = NULL;
		_cleanup_strbuf_ struct strbuf out = {0};
		json_t *column;
		size_t k;

		table_row(r, o, NULL, 0, TABLE_INCLUDE_NONE, NOW_S, &out);
		row = json_parse(out.data, out.len, NULL, NULL);
		assert_non_null(row);
		assert_non_null(columns);
		if (json_array_size(columns) + (strcmp(r->plural, "ipaddresses") == 0) !=
		    json_array_size(json_object_get(row, "cells")))
			fail_msg("%s: %s for %s", r->plural, out.data, text);
		json_array_foreach(columns, k, column) {
			assert_non_null(json_str(column, "name"));
			assert_true(strlen(json_str_or(column, "description", "")) > 0);
			assert_true(json_is_integer(json_object_get(column, "priority")));
		}
		assert_ptr_equal(text, table_columns(r));
	}
}

static void durations(void **state _unused_)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} rows[] = {
		{ -2, "<invalid>" }, { -1, "0s" },         { 0, "0s" },         { 119, "119s" },
		{ 120, "2m" },       { 135, "2m15s" },     { 600, "10m" },      { 10799, "179m" },
		{ 10800, "3h" },     { 12345, "3h25m" },   { 28800, "8h" },     { 172799, "47h" },
		{ 172800, "2d" },    { 180000, "2d2h" },   { 691200, "8d" },    { 63071999, "729d" },
		{ 63072000, "2y" },  { 63158400, "2y1d" }, { 252288000, "8y" }, { 315360000, "10y" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[32];

		human_duration(rows[i].seconds, text);
		assert_string_equal(text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods),	       cmocka_unit_test(workloads),	  cmocka_unit_test(core_kinds),
		cmocka_unit_test(other_kinds), cmocka_unit_test(every_kind_fits), cmocka_unit_test(durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
