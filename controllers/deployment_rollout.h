/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner parts of the Deployment's decision: a rollout's arithmetic and its status. Included by deployment_*.c only. */
#ifndef KEELSON_CONTROLLERS_DEPLOYMENT_ROLLOUT_H
#define KEELSON_CONTROLLERS_DEPLOYMENT_ROLLOUT_H

#include "controllers/deployment.h"

/* A ReplicaSet in a decision. size is what spec.replicas will be; the rest is what the cache says. */
struct set_state {
	json_t *set;
	int64_t size, was;                        /* spec.replicas */
	int64_t pods, ready, available;           /* status */
	int64_t terminating;                      /* -1: not reported */
	int64_t revision, desired, max;           /* annotations; -1: absent */
	bool stale_annotations;
};
struct rollout {
	const struct deployment_view *v;
	const json_t *d;
	const char *name;
	int64_t wanted;                           /* spec.replicas */
	int64_t surge, unavailable;
	int64_t deadline_s;                       /* progressDeadlineSeconds, 0: none */
	bool recreate, paused;
	struct set_state *sets;                   /* oldest first */
	size_t count;
	struct set_state *newest;                 /* the one of the current template, or NULL */
	struct plan *plan;
};

/* Decides sizes: each changes set_state.size only. True when something was scaled. */
bool rollout_scale_new(struct rollout *r);
bool rollout_scale_old(struct rollout *r);
bool rollout_scale_down_all_old(struct rollout *r);
void rollout_scale_proportionally(struct rollout *r);
int64_t rollout_initial_size(const struct rollout *r);
/* Turns changed sizes and annotations into writes with events. */
void rollout_write_sizes(struct rollout *r);

/* Conditions in `conditions` (array): set moves lastTransitionTime only when the status changes; unchanged status and
 * reason leave it alone. */
void deployment_condition_set(json_t *conditions, const char *type, const char *status, const char *reason,
			      const char *message, int64_t now_s);
void deployment_condition_remove(json_t *conditions, const char *type);
/* Own: status counted from the ReplicaSets, with the condition Available and all other conditions as they are. */
json_t *deployment_status_count(const struct rollout *r);
/* Own: the same, with the progress of a rollout judged; asks for another look when a deadline is running. */
json_t *deployment_status_progress(const struct rollout *r);
bool deployment_status_complete(const struct rollout *r, const json_t *status);

#endif
