/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs of the API over the store, for every resource of the schema table. One struct registry a process, loop thread only.
 *
 * A write is decided at once against the latest state (writes on their way to the disk included), handed to the store, and answered
 * when it is durable. Functions that can refuse return a Status (own), or NULL when they went through.
 */
#ifndef KEELSON_APISERVER_REGISTRY_REGISTRY_H
#define KEELSON_APISERVER_REGISTRY_REGISTRY_H

#include "apiserver/apply/managed.h"
#include "apiserver/http/call.h"
#include "apiserver/http/status.h"
#include "apiserver/registry/entry.h"
#include "apiserver/watch/hub.h"
#include "base/clock.h"
#include "io/net.h"

struct alloc;
struct token_keys;
struct authorizer;
struct tunnel_config;
struct audit;
struct oidc;
struct front_proxy;
struct waiter;
struct quotas;

struct registry_options {
	struct ip_ranges service_ranges; /* masked; one family or both */
	unsigned service_primary;        /* index of the first family into service_ranges.v */
	uint16_t node_port_min, node_port_max;
	const char *advertise_address;   /* literal IP */
	unsigned port;                   /* of the API, for the kubernetes Service's endpoints */
	const char *cluster_domain;
	const char *issuer;              /* of ServiceAccount tokens */
	bool no_anonymous;               /* requests without credentials are refused with 401 */
	/* What joining nodes are told (kube-public/cluster-info, kube-system/keelson-config). */
	const char *ca_pem;              /* NULL: there is no cluster-info */
	const char *cluster_cidr;        /* as text, one range or two; NULL: not told */
	const char *cluster_dns, *pod_network;
	unsigned node_cidr_mask, node_cidr_mask_ipv6;
	struct watch_limits watch;       /* 0: the hub's own */
	const struct etcd_options *etcd; /* the store is this etcd; NULL: it is in the directory */
	unsigned max_inflight[2];        /* requests in work by enum measure_kind; 0: no limit */
	double goaway_chance;            /* of a request on HTTP/2 to be the last of its connection */
	unsigned request_timeout_ms;     /* how long a client may take to read a list */
};

enum { EVENTS_TTL_MINUTES = 60 };
struct registry {
	uv_loop_t *loop;
	struct http_server *http; /* borrow; NULL in tests of parts, and at the end */
	struct registry_options options;
	struct store *store;
	struct watch_hub *hub;
	struct alloc *alloc;
	struct quotas *quotas;
	struct token_keys *keys;
	struct authorizer *authz;
	struct tunnel_config *tunnel;
	struct front_proxy *front_proxy; /* NULL: none is trusted */
	struct oidc *oidc;               /* NULL: no OpenID Connect issuer */
	struct audit *audit;             /* NULL: nothing is audited */
	struct crypt *crypt;             /* NULL: nothing is encrypted in the store */
	const struct schema_resource *pods, *services, *namespaces, *nodes, *endpoints, *endpointslices, *serviceaccounts,
		*secrets, *priorityclasses, *configmaps, *pdbs, *leases, *events;
	uint64_t minutes[EVENTS_TTL_MINUTES]; /* the store's revision at each of the last minutes */
	unsigned minute_count;
	struct waiter *waiters;
	unsigned waiter_count;
	uint64_t last_put;       /* revision of the newest write handed to the store */
	struct write *unsettled; /* writes that store nothing, until what they are based on is durable */
	bool ready;
	unsigned started;        /* checks of the start that have passed, a bit each */
	bool draining;           /* the end was asked for: not ready, but everything is served */
	bool stopping;           /* nothing new is begun */
	unsigned inflight[2];    /* requests in work by enum measure_kind */
	void (*fatal)(const char *why);
};

/* Opens the store in dir and everything that is derived from it. alloc, keys, authz, tunnel and crypt may be set by the caller before. */
int registry_open(struct registry *g, uv_loop_t *loop, const char *dir, const struct registry_options *o, struct err *err);
/* Ends watches, commits what is queued. The loop has to run on for handles to close. */
void registry_close(struct registry *g);

/* Answers a call whose resource is known, its verb allowed by discovery and its user authorized. */
void registry_handle(struct call *c);

/* Is this kind (group, plural)? */
static inline bool resource_is(const struct schema_resource *r, const char *group, const char *plural)
{
	return str_eq(r->plural, plural) && str_eq(r->group, group);
}

/* ---- body.c: what clients send */

/* The body as an object of the view's message: kind and apiVersion checked, unknown fields dropped (refused or warned of as the
 * call's fieldValidation says), defaults set. */
json_t *body_object(struct call *c, const struct schema_resource *r, json_t **ret);
/* The same for another kind's message (Scale, DeleteOptions...); no defaults. An empty body is refused. */
json_t *body_kind(struct call *c, const struct schema_kind *kind, json_t **ret);
/* Checks a value (own; replaced in place) against a kind, as if it had been the body. */
json_t *body_check(struct call *c, const struct schema_kind *kind, json_t *value, struct strlist *dup_keys);
/* Any JSON or YAML body as a value (patches). dup_keys (may be NULL): see json_parse(). */
json_t *body_value(struct call *c, const char *what, struct strlist *dup_keys, json_t **ret);

/* ---- write.c */

struct write_result {
	json_t *status;                 /* own (taken by the callback); NULL: it is durable */
	struct store_object *object;    /* borrow */
	bool stale;                     /* status: another API server has written first; a new try sees its write */
};
typedef void (*write_done_fn)(struct write_result *result, void *user);

struct write_options {
	bool dry_run;
	const struct identity *user;    /* NULL: the server itself */
	struct call *call;              /* for warnings; NULL */
	const char *sub;                /* subresource, NULL */
	bool no_admission;              /* the server's own objects */
	bool applied;                   /* the object's managedFields are made already (server-side apply) */
};
/* Creates object (of the storage version, normalized and defaulted; changed in place). done is called later, never from inside;
 * also for dry runs. */
json_t *registry_create(struct registry *g, const struct schema_resource *storage, const char *ns, json_t *object,
			const struct write_options *o, write_done_fn done, void *user);
/* Replaces latest (borrow, what store_latest() said) by object (as above). Deletes it instead when it was the last finalizer that
 * went. unconditional: an absent resourceVersion is fine. */
json_t *registry_update(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
			json_t *object, const struct write_options *o, write_done_fn done, void *user);
/* Writes object over latest without strategy or validation: for fields that only the server sets (binding, deletion). */
json_t *registry_put(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
		     json_t *object, bool dry_run, write_done_fn done, void *user);
json_t *registry_remove(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
			json_t *object, bool dry_run, write_done_fn done, void *user);
/* Decides the call anew when another API server's write came in between: a few times. True: it does, the reference is given up. */
bool write_retried(const struct write_result *r, struct call *c);
/* Answers the call with the object of a write, code 201 or 200; the call's reference is given up. */
void write_answer_created(struct write_result *r, void *call);
void write_answer_ok(struct write_result *r, void *call);
/* Answers Status Success, code 201. */
void write_answer_success_created(struct write_result *r, void *call);
/* Ends a verb: answers the refusal if there was one (and gives the reference up). */
void write_refused(struct call *c, json_t *status);

void verb_create(struct call *c);
void verb_update(struct call *c);
void verb_patch(struct call *c);
bool registry_creates_on_update(const struct schema_resource *storage);
bool registry_updates_unconditionally(const struct schema_resource *storage);
/* latest object of a name or a 404. *ret borrow. */
json_t *registry_find(struct registry *g, const struct schema_resource *storage, const char *ns, const char *name,
		      struct store_object **ret);

/* ---- managers.c: who owns which field */
struct managers {
	struct managed_request q; /* borrows from the rest and from the call */
	char name[MANAGED_MAX_NAME + 1], now[CLOCK_RFC3339_SIZE], api_version[96];
};
void managers_request(const struct call *c, struct managers *ret);
/* Notes what the call changes (old NULL: it creates) in object's managedFields. */
void managers_note(const struct call *c, const json_t *old, json_t *object);

/* ---- wait.c */
/* Calls the verb again when the store has reached the revision, or after 3 s. False: answer now (it waited already). */
bool wait_for_revision(struct call *c, uint64_t revision, void (*verb)(struct call *c));
/* Of a shared store: calls verb again when everything that any API server has acknowledged is seen, and answers 500 when that cannot
 * be had. False: go on, the call has seen it all or the store is not shared. */
bool wait_fresh(struct call *c, void (*verb)(struct call *c));
void wait_committed(struct registry *g); /* the store's revision has grown */
void write_committed(struct registry *g); /* a transaction is durable: answers what waited for it */
void wait_stop(struct registry *g);      /* nobody waits any longer */

/* ---- read.c */
void verb_get(struct call *c);
void verb_list(struct call *c);
void verb_watch(struct call *c);

/* ---- delete.c */
struct delete_options {
	bool has_grace;
	int64_t grace_s;
	const char *uid, *resource_version; /* preconditions; NULL */
	const char *propagation;            /* NULL: the default */
	bool dry_run;
};
void verb_delete(struct call *c);
void verb_deletecollection(struct call *c);
/* Deletes as the options say: at once, or by marking. *ret_gone tells which when it went through. */
json_t *registry_delete(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
			const struct delete_options *o, bool *ret_gone, write_done_fn done, void *user);
/* Is latest (its value o) what the options' preconditions ask for? */
json_t *delete_preconditions(const struct schema_resource *storage, const struct store_object *latest, const json_t *o,
			     const struct delete_options *d);
json_t *delete_options_read(struct call *c, struct delete_options *ret);
json_t *delete_options_from(struct call *c, const json_t *value, struct delete_options *ret);

/* ---- namespace.c */
/* NamespaceLifecycle: may something be made in ns? */
json_t *namespace_admit(struct registry *g, const struct schema_resource *storage, const char *ns, const char *name);
bool namespace_is_protected(const char *name);
void namespace_finalize(struct call *c);

/* ---- pod.c */
void pod_binding(struct call *c);
void pod_eviction(struct call *c);

/* ---- quota.c */
struct quotas *quotas_new(struct registry *g);
void quotas_free(struct quotas *q); /* the loop has to run on for its timer to close */
/* A durable change: in namespaces with quotas, usage is counted anew soon. */
void quotas_changed(struct quotas *q, const struct store_object *object);
/* LimitRanger: defaults of a pod (set in object); bounds of a pod or claim. */
void limits_default(struct quotas *q, const struct schema_resource *storage, const char *ns, json_t *object);
json_t *limits_check(struct quotas *q, const struct schema_resource *storage, const char *ns, const json_t *object);
/* ResourceQuota: takes what object uses (beyond old, NULL for a new one) out of the namespace's quotas, or refuses. */
json_t *quota_admit(struct quotas *q, const struct schema_resource *r, const char *ns, const json_t *old, const json_t *object,
		    bool dry_run);
/* Notes a write that counting cannot see yet: replaces *done, the new user is returned. quota_not_pending() when the write was
 * refused at once. */
void *quota_pending(struct quotas *q, write_done_fn *done, void *user);
void quota_not_pending(void *counted);

/* ---- default_class.c */
/* Gives a new claim or Ingress that names no class the default one. */
void default_class_admit(struct registry *g, const struct schema_resource *storage, json_t *object);

/* ---- pod_security.c */
/* PodSecurity of a new pod (refused), or of the pods a new workload will make (a warning). c may be NULL. */
json_t *pod_security_admit(struct registry *g, const struct schema_resource *storage, struct call *c, const char *ns,
			   const json_t *object);
/* The labels of a namespace (old NULL: a new one); warns of pods that do not keep to a stricter level. */
json_t *pod_security_namespace(struct registry *g, struct call *c, const json_t *old, const json_t *ns);

/* ---- service.c */
struct alloc_undo;
/* Cluster IPs, families and ports of a new (old NULL) or changed Service. What it took is noted in *ret_undo: give it back with
 * service_undo() when the write fails, or forget it with service_keep(). */
json_t *service_allocate(struct registry *g, json_t *service, const json_t *old, bool dry_run, struct alloc_undo **ret_undo);
void service_undo(struct registry *g, struct alloc_undo *undo);
void service_keep(struct alloc_undo *undo);
/* A durable change of a Service: addresses and ports it no longer has are free again. */
void service_changed(struct registry *g, struct store_object *object, struct store_object *old, bool deleted);
/* Adds the names of the addresses and ports of a stored Service ("ip/10.96.0.7", "port/30080"); of nothing else. */
void service_claims(const struct store_object *object, struct strlist *names);
struct alloc *alloc_new(const struct registry_options *o);
void alloc_free(struct alloc *a);

/* ---- subresource.c */
void subresource_scale(struct call *c);
/* Any other subresource that reads or writes the object itself: status, approval, ephemeralcontainers, resize. */
void subresource_object(struct call *c);

/* ---- reviews.c, token.c */
void review_create(struct call *c);
void token_create(struct call *c);

/* ---- expire.c */
/* To be called once a minute: removes Events that have not changed for an hour. */
void events_expire_minute(struct registry *g);

/* ---- csr.c: what the server adds to and asks of CertificateSigningRequests; other resources are left alone */
/* Fills spec.username, uid, groups and extra; user NULL: they are dropped. */
void csr_prepare_create(const struct schema_resource *storage, const struct identity *user, json_t *object);
/* The rights on the signer that approving and signing need; old NULL: a create. user NULL: the server itself. */
json_t *csr_admit(struct registry *g, const struct schema_resource *storage, const struct identity *user, const char *sub,
		  const json_t *object, const json_t *old);

/* ---- cluster_info.c */
void cluster_info_keep(struct registry *g);

/* ---- bootstrap.c */
/* Makes object (own) unless it is there. */
void bootstrap_ensure(struct registry *g, const struct schema_resource *r, const char *ns, json_t *object);
/* Makes `field` of the object what it has to be. */
void bootstrap_enforce(struct registry *g, const struct schema_resource *r, const char *key, const char *field, const json_t *want);
/* Makes the objects that are always there, and keeps them so: call at start and from time to time. */
void bootstrap_objects(struct registry *g);

#endif
