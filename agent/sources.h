/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ConfigMaps and Secrets that pods of this node use: one watch an object, shared by its pods, kept as long as a pod
 * wants it, so that the agent reads nothing else of the cluster's Secrets.
 */
#ifndef KEELSON_AGENT_SOURCES_H
#define KEELSON_AGENT_SOURCES_H

#include "agent/agent.h"
#include "agent/env.h"

/* Something of that namespace has changed, appeared or vanished. */
typedef void (*sources_changed_fn)(const char *plural, const char *ns, const char *name, void *user);
struct sources *sources_new(struct agent *a, sources_changed_fn on_changed, void *user);
void sources_free(struct sources *s); /* NULL is fine */
/* Registers the pod's interest (idempotent) in every object its spec names. */
void sources_want_pod(struct sources *s, const json_t *pod);
/* Forgets the pod's interests; watches nobody wants any more end. */
void sources_forget_pod(struct sources *s, const char *pod_uid);
json_t *sources_get(struct sources *s, const char *plural, const char *ns, const char *name,
		    enum source_state *ret_state);
/* Calls fn for each (plural, name) that the pod's spec names; the same may come more than once. */
void sources_of_pod(const json_t *pod, void (*fn)(const char *plural, const char *name, void *user), void *user);

#endif
