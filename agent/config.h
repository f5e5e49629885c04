/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a pod's spec to what the runtime is asked for: sandbox and container configurations in CRI's terms. */
#ifndef KEELSON_AGENT_CONFIG_H
#define KEELSON_AGENT_CONFIG_H

#include "agent/agent.h"
#include "agent/env.h"
#include "base/mem.h"

/* STATE/logs/pods/NS_NAME_UID; own. */
char *config_log_dir(const struct agent *a, const char *ns, const char *name, const char *uid);
/* Of what a restart of the container depends on (its name and image); own. */
char *config_hash(const json_t *container);

/* The node's resolver configuration as text of resolv.conf's form, for DNS policies that use it. */
struct config_dns {
	struct strlist servers, searches, options;
};
void config_dns_done(struct config_dns *d);
/* dnsPolicy and dnsConfig of a pod (Kubernetes' documented rules: 3 servers, 32 search domains at most). */
void config_dns(const json_t *pod, const char *cluster_dns, const char *cluster_domain, const char *resolv_conf,
		struct config_dns *ret);

/* Everything returned lives in the arena and may borrow from pod. */
Cri__PodSandboxConfig *config_sandbox(struct arena *m, struct agent *a, const json_t *pod, uint32_t attempt);

struct config_container_input {
	const json_t *pod, *container;
	uint32_t attempt;
	const struct env *env;
	const struct pod_facts *facts;
	const char *image;      /* what the runtime knows the image by */
	int64_t image_uid;      /* of its configuration; -1: none */
	const char *image_user; /* by name, "" for none */
	/* The runtime's id of the container whose processes an ephemeral one sees, where each has its own; NULL: none. */
	const char *target_id;
};
/* Prepares files too (termination message, hosts). NULL with err. */
Cri__ContainerConfig *config_container(struct arena *m, struct agent *a, const struct config_container_input *in,
				       struct err *err);
/* A container's requests and limits as the runtime has them. */
Cri__LinuxContainerResources *config_resources(struct arena *m, const json_t *pod, const json_t *container, int64_t node_memory_bytes);
/* Writes the pod's hosts file. */
int config_write_hosts(struct agent *a, const json_t *pod, const struct pod_facts *facts, struct err *err);

#endif
