/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pod cgroups, on cgroup v2 and on v1 (every mounted controller, and the v2 mount beside them where there is one:
 * socket hooks attach there).
 */
#ifndef KEELSON_AGENT_CGROUP_H
#define KEELSON_AGENT_CGROUP_H

#include "agent/resources.h"
#include "base/err.h"

/* "ROOT/kubepods/QOS/podUID"; own. This is also CRI's cgroup_parent. */
char *cgroup_pod_path(const char *cgroup_root, enum qos q, const char *uid);
/* Makes the cgroup in every hierarchy and sets its limits. */
int cgroup_create(const char *path, const struct resources_pod *limits, struct err *err);
/* Removes the cgroup with what is below it where nothing runs in it; a missing one is success. */
int cgroup_remove(const char *path, struct err *err);
/* The uids of pods that have a cgroup below ROOT/kubepods, with their QoS class's name. Appended to out as
 * "QOS/podUID". */
void cgroup_list_pods(const char *cgroup_root, struct strlist *out);
/* Use of a cgroup: CPU in ns, memory's working set and total in bytes. -ENOENT when it is not there. */
struct cgroup_usage {
	uint64_t cpu_ns, memory_bytes, working_set_bytes;
};
int cgroup_usage(const char *path, struct cgroup_usage *ret);
/* For tests: the hierarchies found in this text of the form of /proc/self/mountinfo. */
void cgroup_use_mountinfo(const char *text);

#endif
