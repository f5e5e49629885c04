/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every part of the node agent can reach: its options, the loop, the runtime and the API. One a process. */
#ifndef KEELSON_AGENT_AGENT_H
#define KEELSON_AGENT_AGENT_H

#include <uv.h>

#include "agent/cri/cri.h"
#include "kube/client.h"
#include "kube/informer.h"

#define AGENT_COMPONENT "kubelet" /* what events and user agents call the node agent in Kubernetes */
#define AGENT_KUBELET_VERSION "v1.36.2-keelson"

struct agent_options {
	const char *kubeconfig, *state, *node_name, *runtime_endpoint, *cgroup_root;
	const char *node_ip;     /* one address, or one of each family with a comma; the first is primary */
	const char *cluster_dns, *cluster_domain, *tls_cert, *tls_key, *client_ca, *listen, *health_listen;
	const char *pause_image, *cluster_cidr, *service_cidr;
	const char *node_lease_duration; /* seconds */
};

struct node;
struct pods;
struct sources;
struct tokens;
struct server;
struct http_client;

struct agent {
	uv_loop_t loop;
	struct agent_options o;
	struct cri *cri;
	struct kube_client *kube;
	struct http_client *probe_http; /* made when the first HTTP probe or hook runs */
	struct informer *services, *runtime_classes;
	struct strlist node_ips; /* --node-ip, one or two */
	unsigned lease_s;
	struct node *node;
	struct pods *pods;
	struct sources *sources;
	struct tokens *tokens;
	struct server *server;
};

#endif
