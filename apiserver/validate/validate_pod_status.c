/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kubelets and controllers may write into a pod's status. */
#include "apiserver/validate/validate_pod.h"

/* May a container of this pod run again after it has ended? */
static bool may_restart(const json_t *pod, const json_t *container)
{
	const char *policy = get_str(get(pod, "spec"), "restartPolicy");

	if (*get_str(container, "restartPolicy"))
		policy = get_str(container, "restartPolicy");
	return json_array_size(get(container, "restartPolicyRules")) > 0 || strcmp(policy, "Never") != 0;
}

static void check_container_states(const struct validation *v, const char *statuses, const char *list)
{
	const json_t *now = get(get(v->object, "status"), statuses), *old = get(get(v->old, "status"), statuses);
	const struct fpath *p = FP(FP(NULL, "status"), statuses);
	struct map *statuses_now = list_index(now, "name"),
		   *containers = list_index(get(get(v->object, "spec"), list), "name");
	json_t *was;
	size_t i;

	json_array_foreach(old, i, was) {
		const json_t *ended = json_at(was, "state.terminated"),
			     *is = map_get(statuses_now, get_str(was, "name"));

		if (!ended || !is || json_at(is, "state.terminated") ||
		    may_restart(v->object, map_get(containers, get_str(was, "name"))))
			continue;
		if (get_int(ended, "exitCode") != 0 &&
		    strcmp(json_str_or(v->object, "spec.restartPolicy", ""), "OnFailure") == 0)
			continue;
		fe_forbidden(v->e, FP(FP_INDEX(p, i), "state"), "may not be transitioned to non-terminated state");
	}
	map_free(statuses_now);
	map_free(containers);
}

static void check_status_ips(const struct validation *v, const char *key)
{
	const json_t *ips = get(get(v->object, "status"), key);
	const struct fpath *p = FP(FP(NULL, "status"), key);
	unsigned count[7] = {0};
	json_t *ip;
	size_t i;

	json_array_foreach(ips, i, ip) {
		check_format(v->e, FP_INDEX(p, i), get_str(ip, "ip"), fmt_ip);
		count[ip_family(get_str(ip, "ip"))]++;
	}
	if (count[4] > 1 || count[6] > 1 || json_array_size(ips) > 2)
		fe_invalid_json(v->e, p, ips, "may specify no more than one IP for each IP family");
}

/* hostIP is the first of hostIPs, as what reads only one of them has to see the same address. */
static void check_host_ip(const struct validation *v, const struct fpath *p)
{
	const json_t *status = get(v->object, "status");
	const char *first = json_str(status, "hostIPs[0].ip");

	if (first && strcmp(first, get_str(status, "hostIP")) != 0)
		fe_invalid(v->e, FP(FP_INDEX(p, 0), "ip"), first, "must be equal to `hostIP`");
}

static void check_nomination(const struct validation *v, const struct fpath *p)
{
	const char *name = json_str_or(v->object, "status.nominatedNodeName", "");

	if (!*name)
		return;
	check_format(v->e, p, name, fmt_dns_subdomain);
	if (*json_str_or(v->object, "spec.nodeName", "") && strcmp(name, json_str_or(v->old, "status.nominatedNodeName", "")) != 0)
		fe_forbidden(v->e, p, "may not be set on pods that are already bound to a node");
}

static void check_claim_statuses(const struct validation *v, const struct fpath *p)
{
	struct map *claims = list_index(json_at(v->object, "spec.resourceClaims"), "name"), *seen = map_new(NULL);
	json_t *status;
	size_t i;

	json_array_foreach(json_at(v->object, "status.resourceClaimStatuses"), i, status) {
		const char *name = get_str(status, "name");

		if (map_has(seen, name))
			fe_duplicate(v->e, FP(FP_INDEX(p, i), "name"), name);
		map_set(seen, name, status);
		if (!map_has(claims, name))
			fe_invalid(v->e, FP(FP_INDEX(p, i), "name"), name,
				   "must match the name of an entry in `spec.resourceClaims`");
		if (*get_str(status, "resourceClaimName"))
			check_format(v->e, FP(FP_INDEX(p, i), "resourceClaimName"), get_str(status, "resourceClaimName"),
				     fmt_dns_subdomain);
	}
	map_free(claims);
	map_free(seen);
}

static bool system_condition(const char *type)
{
	static const char *const types[] = { "PodScheduled",
					     "Ready",
					     "Initialized",
					     "ContainersReady",
					     "DisruptionTarget",
					     "PodReadyToStartContainers",
					     "PodResizePending",
					     "PodResizeInProgress",
					     "AllContainersRestarting",
					     NULL };

	return one_of(type, types);
}

void validate_pod_status(const struct validation *v)
{
	const json_t *status = get(v->object, "status"), *old = get(v->old, "status");
	const struct fpath *p = FP(NULL, "status");
	json_t *c;
	size_t i;

	if (v->old)
		check_fixed_annotations(v);
	json_array_foreach(get(status, "conditions"), i, c) {
		const struct fpath *at = FP_INDEX(FP(p, "conditions"), i);

		if (!system_condition(get_str(c, "type")))
			check_format(v->e, FP(at, "Type"), get_str(c, "type"), fmt_qualified_name);
		if (get_int(c, "observedGeneration") < 0)
			fe_invalid_int(v->e, FP(at, "observedGeneration"), get_int(c, "observedGeneration"),
				       "must be a non-negative integer");
	}
	if (get_int(status, "observedGeneration") < 0)
		fe_invalid_int(v->e, FP(p, "observedGeneration"), get_int(status, "observedGeneration"),
			       "must be a non-negative integer");
	check_nomination(v, FP(p, "nominatedNodeName"));
	if (*get_str(old, "qosClass"))
		check_immutable(v->e, FP(p, "qosClass"), get(status, "qosClass"), get(old, "qosClass"));
	check_container_states(v, "containerStatuses", "containers");
	check_container_states(v, "initContainerStatuses", "initContainers");
	check_claim_statuses(v, FP(p, "resourceClaimStatuses"));
	check_status_ips(v, "podIPs");
	check_status_ips(v, "hostIPs");
	check_host_ip(v, FP(p, "hostIPs"));
}
