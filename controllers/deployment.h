/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision of the Deployment controller, apart from its caches. */
#ifndef KEELSON_CONTROLLERS_DEPLOYMENT_H
#define KEELSON_CONTROLLERS_DEPLOYMENT_H

#include "controllers/workload.h"

#define DEPLOYMENT_REVISION "deployment.kubernetes.io/revision"
#define DEPLOYMENT_REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define DEPLOYMENT_DESIRED "deployment.kubernetes.io/desired-replicas"
#define DEPLOYMENT_MAX "deployment.kubernetes.io/max-replicas"
#define DEPLOYMENT_HASH_LABEL "pod-template-hash"

struct deployment_view {
	const json_t *deployment;
	const struct selector *selector;
	struct object_list sets;    /* ReplicaSets it owns and those of its namespace that nobody owns */
	struct object_list pods;    /* pods of its ReplicaSets, in any state */
	bool name_taken;            /* the cache has a ReplicaSet called deployment_set_name() */
	const char *create_failure; /* how the last creation of a ReplicaSet failed, or NULL */
	int64_t now_s;
};
void deployment_decide(const struct deployment_view *v, struct plan *plan);

/* The name of the ReplicaSet of the current template and collision count, and the value of its pod-template-hash.
 * FNV-1a over the template's canonical JSON: must never change between versions, or an upgrade would roll out every
 * Deployment whose set was deleted under another name (a living set is found by its template first). Own. */
char *deployment_set_name(const json_t *deployment);
char *deployment_template_hash(const json_t *template, int64_t collision_count);
/* maxSurge and maxUnavailable as counts: surge rounds up, unavailable down, and both are never 0 together. */
void deployment_fenceposts(const json_t *deployment, int64_t *ret_surge, int64_t *ret_unavailable);

enum { DEPLOYMENT_TAG_NEW_SET = 1 }; /* tag of the write that creates a ReplicaSet */

#endif
