/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and limits of pods as numbers for the kernel. Pure: JSON in, numbers out. */
#ifndef KEELSON_AGENT_RESOURCES_H
#define KEELSON_AGENT_RESOURCES_H

#include "kube/json.h"

enum qos { QOS_BEST_EFFORT, QOS_BURSTABLE, QOS_GUARANTEED, QOS_MAX };
/* Quality of service class of a pod (by its spec; Kubernetes' documented rules). */
enum qos resources_qos(const json_t *pod);
const char *qos_name(enum qos q);   /* "BestEffort" */
const char *qos_cgroup(enum qos q); /* "besteffort" */

/* kind: "requests" or "limits"; name: "cpu", "memory"... Milli-units; -1 when it is not given. For a request that is
 * absent the limit counts, as the API defaults it. */
int64_t resources_milli(const json_t *container, const char *kind, const char *name);

/* CPU shares (cgroup v1) of a request in milli CPUs: 2..262144. */
int64_t resources_cpu_shares(int64_t milli);
/* cgroup v2's cpu.weight for shares: 1..10000 (KEP-2254). */
int64_t resources_cpu_weight(int64_t shares);
/* CFS quota in us for a limit in milli CPUs at a period of 100 ms, at least 1 ms. 0 for no limit (milli <= 0). */
int64_t resources_cpu_quota(int64_t milli);
/* oom_score_adj of a container: by class; Burstable in inverse proportion to its share of the node's memory. */
int64_t resources_oom_score_adj(const json_t *pod, const json_t *container, int64_t node_memory_bytes);

/* What the pod's cgroup gets; 0: no limit. Init containers run one after another: their maximum against the sum of the
 * others (sidecars count to both). */
struct resources_pod {
	int64_t cpu_shares, cpu_quota_us, memory_bytes;
};
void resources_of_pod(const json_t *pod, struct resources_pod *ret);

/* What a pod asks of its node: the larger of what runs for good and what any init container needs, and the overhead. */
struct resources_request {
	int64_t cpu_milli, memory_bytes;
};
void resources_request_of_pod(const json_t *pod, struct resources_request *ret);
/* The pod with the resources of `applied` (by name of container: {"NAME": {"resources": ...}}) in the place of its own. Own. */
json_t *resources_pod_with(const json_t *pod, const json_t *applied);

/* A resize (KEP-1287): what differs between two containers' requests and limits. */
enum { RESIZES_CPU = 1 << 0, RESIZES_MEMORY = 1 << 1 };
unsigned resources_resized(const json_t *a, const json_t *b);
/* Does the container want to be restarted when that changes (resizePolicy)? */
bool resources_resize_restarts(const json_t *container, unsigned resized);

/* resourceFieldRef: "limits.cpu" ... divided by divisor (NULL or "0": 1), rounded up. node: allocatable milli CPU and
 * bytes count where a limit is absent. -EINVAL on an unknown resource or a bad divisor. */
int resources_field(const json_t *container, const char *resource, const char *divisor, int64_t node_cpu_milli,
		    int64_t node_memory_bytes, int64_t *ret);

#endif
