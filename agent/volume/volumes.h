/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pod's volumes on the node, under STATE/agent/pods/UID: made before its first container, kept up to date while it
 * runs, taken away when nothing of it runs any more. What a hostPath names belongs to the user and is never removed.
 */
#ifndef KEELSON_AGENT_VOLUME_VOLUMES_H
#define KEELSON_AGENT_VOLUME_VOLUMES_H

#include "agent/agent.h"
#include "agent/env.h"

/* STATE/agent/pods/UID; own. */
char *volumes_pod_dir(const struct agent *a, const char *uid);
/* Makes or updates every volume; safe to repeat. 0; -EAGAIN: something is still on its way; other errors with err
 * (`MountVolume.SetUp failed for volume "x" : configmap "y" not found`), *ret_volume (borrow from pod) names it. */
int volumes_setup(struct agent *a, const json_t *pod, const struct pod_facts *facts, struct err *err);
/* True when the pod has a volume that follows something outside (ConfigMap, Secret, downward API, token). */
bool volumes_are_live(const json_t *pod);
/* True for volumes whose files are the agent's: containers get them read-only whatever the mount says. */
bool volumes_is_read_only(const json_t *pod, const char *name);

/* Where on the node a volumeMount of a container is. sub_path is expanded already ("" for none); index: the mount's
 * place in its container. Own. A subPath is resolved beneath the volume whatever links a container put there. */
int volumes_mount_source(struct agent *a, const json_t *pod, const char *container, size_t index, const char *volume,
			 const char *sub_path, char **ret_path, struct err *err);

/* Unmounts and removes all of a pod's files on the node, in the thread pool. done gets NULL or a sentence. */
void volumes_teardown(struct agent *a, const char *uid, void (*done)(const char *error, void *user), void *user);
/* The synchronous half, for tests: never crosses a mount that cannot be unmounted. */
int volumes_remove_tree(const char *dir, struct err *err);

#endif
