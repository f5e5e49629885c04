/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Placing one pod: filters say which nodes can take it, scores which of those is best. All pure functions over a snapshot.
 * decision_prepare() computes once what each plugin needs of the whole cluster (upstream's PreFilter and PreScore).
 */
#ifndef KEELSON_SCHEDULER_DECISION_H
#define KEELSON_SCHEDULER_DECISION_H

#include "scheduler/snapshot.h"

enum fit {
	FIT_OK,
	FIT_NO,          /* preempting pods may help */
	FIT_NEVER,       /* it does not */
};
/* What may make a refused pod fit: events that wake it up. */
enum {
	WAKE_NODE = 1 << 0,        /* a node appeared or changed */
	WAKE_POD_DELETE = 1 << 1,  /* an assigned pod went away */
	WAKE_POD_ADD = 1 << 2,     /* a pod was assigned or its labels changed */
};

struct spread;   /* spread.c */
struct interpod; /* interpod.c */
struct decision {
	const struct snapshot *s;
	const json_t *pod;
	const struct pod_info *info;
	struct spread *spread;
	struct interpod *interpod;
};
void decision_prepare(struct decision *d, const struct snapshot *s, const json_t *pod, const struct pod_info *info);
void decision_done(struct decision *d);

/* Runs the filters in upstream's order, stops at the first that refuses; its reasons are added in upstream's words. */
enum fit decision_filter(const struct decision *d, const struct node_info *n, struct strlist *reasons, unsigned *wake);
/* The weighted, normalized scores of feasible nodes, into scores (count of them). */
void decision_score(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);

/* ---- the plugins ---- */
enum fit filter_unschedulable(const struct decision *d, const struct node_info *n, struct strlist *reasons);
enum fit filter_node_name(const struct decision *d, const struct node_info *n, struct strlist *reasons);
enum fit filter_taints(const struct decision *d, const struct node_info *n, struct strlist *reasons);
enum fit filter_node_affinity(const struct decision *d, const struct node_info *n, struct strlist *reasons);
enum fit filter_ports(const struct decision *d, const struct node_info *n, struct strlist *reasons);
enum fit filter_resources(const struct decision *d, const struct node_info *n, struct strlist *reasons);
enum fit filter_spread(const struct decision *d, const struct node_info *n, struct strlist *reasons);
enum fit filter_interpod(const struct decision *d, const struct node_info *n, struct strlist *reasons);

typedef void (*score_fn)(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);
void score_taints(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);
void score_node_affinity(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);
void score_least_allocated(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);
void score_balanced(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);
void score_images(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);
void score_spread(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);
void score_interpod(const struct decision *d, struct node_info *const *nodes, size_t count, int64_t *scores);
/* Scales 0..max to 0..100; reverse: the least becomes 100. */
void score_normalize(int64_t *scores, size_t count, bool reverse);

/* ---- shared by plugins ---- */
bool tolerates(const json_t *tolerations, const json_t *taint);
/* Taints with these effects (a NULL-terminated list) are all tolerated. */
bool tolerates_all(const json_t *tolerations, const json_t *taints, const char *const *effects);
/* A NodeSelector's terms: one must match. */
bool node_selector_matches(const json_t *node_selector, const struct node_info *n);
/* spec.nodeSelector and required node affinity. */
bool node_affinity_matches(const json_t *pod, const struct node_info *n);

struct spread *spread_prepare(const struct decision *d);
void spread_free(struct spread *s);
struct interpod *interpod_prepare(const struct decision *d);
void interpod_free(struct interpod *i);

#endif
