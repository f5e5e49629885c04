/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the controllers of workloads share: the state of a pod, pods from templates, claiming by owner references
 * (adoption and release), and which pods to delete first. Pure functions.
 */
#ifndef KEELSON_CONTROLLERS_WORKLOAD_H
#define KEELSON_CONTROLLERS_WORKLOAD_H

#include "controllers/plan.h"
#include "kube/informer.h"
#include "kube/selector.h"

/* Borrowed pointers to cached objects, own array. */
struct object_list {
	json_t **items;
	size_t count, cap;
};
void object_list_add(struct object_list *l, json_t *o);
void object_list_done(struct object_list *l);
#define _cleanup_object_list_ _cleanup_(object_list_done)
/* Adds what an informer's index has under a key. */
void object_list_add_index(struct object_list *l, const struct informer *i, const char *index, const char *key);
/* Oldest first (creationTimestamp, then name). */
void object_list_sort_by_age(struct object_list *l);

bool pod_finished(const json_t *pod);  /* phase Succeeded or Failed */
bool pod_active(const json_t *pod);    /* neither finished nor being deleted */
/* Seconds until a ready pod counts as available: 0 it does now; -1 it is not ready. */
int64_t pod_available_in_s(const json_t *pod, int64_t min_ready_s, int64_t now_s);
int64_t object_time_s(const json_t *o, const char *path, int64_t fallback); /* an RFC 3339 field in seconds */
const char *map_str(const json_t *map, const char *key);                    /* NULL when absent */
bool map_selects(const json_t *selector, const json_t *labels);             /* every pair is there; {} selects all */

/* A pod of the template, owned by owner: generateName "<owner>-" unless name is given. Own. */
json_t *workload_pod(const json_t *owner, const char *api_version, const char *kind, const json_t *template,
		     const char *name);

/* Who claims, and what it would take. */
struct claimant {
	const json_t *object;
	const char *api_version, *kind, *plural; /* of the claimant */
	const struct selector *selector;
	const char *child_api_version, *child_plural;
};
/* Splits candidates (owned ones and orphans of the namespace) into what the claimant has (appended to ret_owned) and
 * writes that adopt matching orphans or release owned ones that no longer match. Adoption is guarded by a live look at
 * the claimant. Returns the number of such writes; while it is not 0, counts are not settled. */
size_t workload_claim(const struct claimant *c, const struct object_list *candidates, struct object_list *ret_owned,
		      struct plan *plan);

/* Sorts so that the pods to delete first stand first. related: active pods of the same top owner, which says how
 * crowded each node is. */
void workload_rank_for_deletion(struct object_list *pods, const struct object_list *related, int64_t now_s);

/* Appends `POST pods` with expectation, slow start and events. Moves pod. */
void workload_create_pod(struct plan *plan, const json_t *owner, json_t *pod);
/* Appends the deletion of a pod with expectation and events. */
void workload_delete_pod(struct plan *plan, const json_t *owner, const json_t *pod);
/* True when the failure only says that the namespace is going away: nothing to report or retry. */
bool workload_namespace_terminating(const struct kube_result *r);

/* maxSurge and the like: a number or a percentage of total. Invalid texts count as 0. */
int64_t workload_scaled_value(const json_t *int_or_percent, int64_t total, bool round_up);

/* A status write: merge patch {"metadata":{"resourceVersion"},"status":{...}}, keys gone from status set to null.
 * NULL when `status` (borrowed) is what the object has. Own. */
json_t *workload_status_patch(const json_t *object, const json_t *status);
/* The same, appended to the plan as a write of the status subresource. True when there was a difference. */
bool workload_write_status(struct plan *plan, const json_t *object, const char *api_version, const char *plural,
			   const json_t *status);

#endif
