/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scheduler between API and deciders: it watches pods, nodes and namespaces, keeps the snapshot, places pods from the
 * queue, binds them. Everything it knows comes from the API; after a restart it starts from there.
 */
#ifndef KEELSON_SCHEDULER_SCHEDULER_H
#define KEELSON_SCHEDULER_SCHEDULER_H

#include "kube/client.h"

struct scheduler;
/* name: the spec.schedulerName it answers to ("default-scheduler"). Starts watching at once. */
struct scheduler *scheduler_new(uv_loop_t *loop, struct kube_client *client, const char *name);
void scheduler_lead(struct scheduler *s); /* from here on it places pods */
bool scheduler_synced(const struct scheduler *s);
void scheduler_free(struct scheduler *s);

#endif
