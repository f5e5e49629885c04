/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the deciders see: nodes with the pods on them, sums kept up to date. No I/O, no clock. The cache (cache.h) changes
 * it between decisions; a filter or a score only reads.
 */
#ifndef KEELSON_SCHEDULER_SNAPSHOT_H
#define KEELSON_SCHEDULER_SNAPSHOT_H

#include "base/map.h"
#include "kube/selector.h"
#include "scheduler/resource.h"

struct host_port {
	char *ip, *protocol;
	int32_t port;
};

/* A term of pod affinity or anti-affinity, compiled. */
struct pod_term {
	struct selector *pods;
	struct strlist namespaces;        /* the pod's own when it names none and has no namespace selector */
	struct selector *namespace_selector; /* NULL: none */
	char *topology_key;
	int64_t weight;                   /* 0 for required ones */
};
struct pod_terms {
	struct pod_term *items;
	size_t count;
};

/* A pod, as far as placing others is concerned. Immutable. */
struct pod_info {
	char *ns, *name, *uid, *node, *owner_uid; /* node: NULL while unbound; owner_uid: of its controller, NULL */
	json_t *labels;                           /* own reference, may be NULL */
	int32_t priority;
	bool deleting, never_preempts;
	int64_t start_us;                         /* status.startTime or creation */
	struct resources requests, scored;        /* scored: with defaults for what is not requested */
	struct host_port *ports;
	size_t port_count;
	struct pod_terms affinity, anti_affinity;           /* required */
	struct pod_terms preferred, anti_preferred;
	unsigned container_count;
};
struct pod_info *pod_info_new(const json_t *pod);
struct pod_info *pod_info_free(struct pod_info *p); /* NULL is fine */
DEFINE_CLEANUP(struct pod_info *, pod_info_free)

struct node_info {
	char *name;
	json_t *labels, *taints;   /* own references, may be NULL */
	bool known;                /* false: pods name it, but its Node was not seen (yet, or any more) */
	bool unschedulable;
	struct resources allocatable, requested, scored;
	int64_t max_pods;
	struct pod_info **pods;    /* own */
	size_t pod_count, pod_cap, with_terms; /* with_terms: pods here that have affinity terms of any kind */
	struct map *images;        /* name -> size as intptr_t */
};
struct node_info *node_info_new(const char *name);
struct node_info *node_info_free(struct node_info *n);
void node_info_set(struct node_info *n, const json_t *node); /* labels, taints, allocatable, images from a Node */
void node_info_add(struct node_info *n, struct pod_info *p); /* moved */
/* Takes the pod with that uid out: own, or NULL. */
struct pod_info *node_info_take(struct node_info *n, const char *uid);

struct snapshot {
	struct node_info **nodes;  /* own */
	size_t node_count, node_cap;
	struct map *by_name;       /* borrowed nodes */
	struct map *namespaces;    /* name -> labels (json_t, own) */
};
struct snapshot *snapshot_new(void);
struct snapshot *snapshot_free(struct snapshot *s);
struct node_info *snapshot_node(const struct snapshot *s, const char *name); /* NULL: unknown */
struct node_info *snapshot_add_node(struct snapshot *s, const char *name);   /* the one that is there, or a new one */
void snapshot_remove_node(struct snapshot *s, const char *name); /* unknown from here on; freed when it has no pods */
/* Nodes that a pod could go to. */
size_t snapshot_known(const struct snapshot *s);
bool pod_info_has_terms(const struct pod_info *p);
/* Does the term choose this pod? */
bool pod_term_matches(const struct pod_term *t, const struct snapshot *s, const char *ns, const json_t *labels);
/* Node label or NULL. */
const char *node_label(const struct node_info *n, const char *key);

#endif
