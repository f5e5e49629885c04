/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a controller is, and what all of them share: one client, one set of informers, one loop.
 *
 * A controller is a `struct controller_ops`: which caches it needs, which changes mean which keys, and `sync`, which
 * looks at the caches and writes a plan (plan.h). The runtime does the rest: queueing, expectations, applying, events,
 * retries with back-off. Start reading at replicaset.c.
 */
#ifndef KEELSON_CONTROLLERS_CONTROLLER_H
#define KEELSON_CONTROLLERS_CONTROLLER_H

#include "controllers/expectations.h"
#include "controllers/plan.h"
#include "io/net.h"
#include "kube/informer.h"
#include "kube/workqueue.h"

enum informer_id {
	INFORMER_PODS,
	INFORMER_REPLICASETS,
	INFORMER_DEPLOYMENTS,
	INFORMER_SERVICES,
	INFORMER_ENDPOINTS,
	INFORMER_ENDPOINTSLICES,
	INFORMER_NAMESPACES,
	INFORMER_NODES,
	INFORMER_NODE_LEASES,
	INFORMER_SERVICEACCOUNTS,
	INFORMER_ROOT_CA,
	INFORMER_JOBS,
	INFORMER_CRONJOBS,
	INFORMER_DAEMONSETS,
	INFORMER_STATEFULSETS,
	INFORMER_CONTROLLERREVISIONS,
	INFORMER_PVCS,
	INFORMER_REPLICATIONCONTROLLERS,
	INFORMER_PDBS,
	INFORMER_RESOURCEQUOTAS,
	INFORMER_CSRS,
	INFORMER_BOOTSTRAP_TOKENS,
	INFORMER_CLUSTER_INFO,
	INFORMER_PVS,
	INFORMER_VOLUMEATTRIBUTESCLASSES,
	INFORMER_CLUSTERROLES,
	INFORMER_TOKEN_SECRETS,
	INFORMER_ID_MAX
};
#define NEEDS(id) (UINT64_C(1) << (id))

/* Indexes the shared informers carry (informer_by_index). */
#define INDEX_OWNER "owner"         /* uid of the controlling owner */
#define INDEX_ORPHAN "orphan"       /* namespace of an object without a controlling owner */
#define INDEX_NAMESPACE "namespace"
#define INDEX_NODE "node"           /* pods: spec.nodeName */
#define INDEX_LABELS "labels"       /* pods: namespace and all labels; see labelsets.h */
#define INDEX_SERVICE "service"     /* slices: "namespace/service" */

struct controllers_config {
	char *root_ca;                  /* PEM text published to every namespace; NULL: none */
	struct ip_ranges cluster_ranges; /* both of family 0: no addresses are given to nodes */
	unsigned cluster_primary;       /* index of the first family into cluster_ranges.v */
	struct ip_ranges service_ranges; /* no node's serving certificate names an address of these; both of family 0: not known */
	unsigned node_cidr_mask[2];     /* a node's part of each range */
	char *signing_cert, *signing_key; /* files of the CA for certificate requests; NULL: none are signed */
	unsigned node_grace_s;          /* a node not heard of for longer is not ready */
};

struct controller;
struct controller_context {
	uv_loop_t *loop;
	struct kube_client *client;
	const struct controllers_config *config;
	struct informer *informers[INFORMER_ID_MAX]; /* NULL: nobody needs it */
	struct controller *controllers;
	size_t controller_count;
	struct informer **own_informers;
	size_t own_count, own_cap;
	bool synced;                    /* all caches are full: keys are taken and worked on */
	size_t unsynced;
};

struct controller_ops {
	const char *name;
	/* Each of its objects' keys is queued at the start and at each change. INFORMER_ID_MAX: none. */
	enum informer_id primary;
	uint64_t needs;           /* NEEDS() of every cache that is read, the primary's included */
	unsigned parallel;        /* keys worked on at once */
	void (*start)(struct controller *c); /* once, before the informers start: state, handlers; may be NULL */
	void (*ready)(struct controller *c); /* once, when all caches are full; may be NULL */
	void (*stop)(struct controller *c);  /* frees the state; may be NULL */
	/* Reads the caches, fills the plan. Never blocks, never calls the server itself. */
	void (*sync)(struct controller *c, const char *key, struct plan *plan);
	/* Each write's outcome (see plan_callbacks), and the end of a sync; may be NULL. */
	void (*wrote)(struct controller *c, const char *key, const struct write *w, const struct kube_result *r,
		      bool ok);
	void (*done)(struct controller *c, const char *key, bool failed, const char *why);
};
struct controller_run;
struct controller {
	const struct controller_ops *ops;
	struct controller_context *ctx;
	struct workqueue *queue;
	struct expectations *expected;
	void *state;                 /* the controller's own */
	struct controller_run *runs; /* syncs under way */
};

/* Keys given before the caches are full are dropped: at that moment every primary object is queued anyway. */
void controller_enqueue(struct controller *c, const char *key);
void controller_enqueue_object(struct controller *c, const json_t *object);
void controller_enqueue_after(struct controller *c, const char *key, int64_t delay_ms);
/* Calls fn(old, new, c) at changes of another informer's objects. Only from start(). */
void controller_watch(struct controller *c, enum informer_id id,
		      void (*fn)(const json_t *old, const json_t *new, void *user));
/* Hands over an informer of the controller's own (moved): started, awaited and freed with the shared ones. Only from
 * start(). */
void controller_own_informer(struct controller *c, struct informer *i);
struct informer *controller_informer(const struct controller *c, enum informer_id id);
/* The object with this key in the cache; borrow, NULL. */
json_t *controller_get(const struct controller *c, enum informer_id id, const char *key);
bool controller_expectations_met(struct controller *c, const char *key);

/* The table of controllers and the life of all of them. start: informers and queues; stop: everything is freed. */
struct controller_context *controllers_start(uv_loop_t *loop, struct kube_client *client,
					     const struct controllers_config *config);
void controllers_stop(struct controller_context *ctx); /* NULL is fine */

extern const struct controller_ops replicaset_controller, replicationcontroller_controller, deployment_controller,
	endpoints_controller, endpointslice_controller, endpointslicemirroring_controller, namespace_controller,
	garbage_controller, serviceaccount_controller, rootca_controller, nodeipam_controller, nodelifecycle_controller,
	tainteviction_controller, podgc_controller, job_controller, daemonset_controller, statefulset_controller,
	cronjob_controller, disruption_controller, ttlafterfinished_controller, csrapproving_controller,
	csrsigning_controller, csrcleaner_controller, tokencleaner_controller, bootstrapsigner_controller,
	pvcprotection_controller, pvprotection_controller, vacprotection_controller, aggregation_controller,
	accounttoken_controller;

#endif
