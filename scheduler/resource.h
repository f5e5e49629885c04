/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Amounts of resources: cpu in thousandths, everything else in whole units (bytes, devices). */
#ifndef KEELSON_SCHEDULER_RESOURCE_H
#define KEELSON_SCHEDULER_RESOURCE_H

#include "kube/json.h"

struct resource_amount {
	char *name; /* own: "nvidia.com/gpu", "hugepages-2Mi" */
	int64_t value;
};
struct resources {
	int64_t milli_cpu, memory, ephemeral;
	struct resource_amount *others;
	size_t count, cap;
};
void resources_done(struct resources *r);
/* {"cpu": "100m", ...}; pods is left out. Unreadable quantities count as 0: the API server has refused them. */
void resources_add_json(struct resources *r, const json_t *list);
void resources_add(struct resources *r, const struct resources *more);
void resources_sub(struct resources *r, const struct resources *less);
void resources_max(struct resources *r, const struct resources *other); /* field by field */
void resources_copy(struct resources *to, const struct resources *from); /* to is overwritten, not freed */
int64_t resources_other(const struct resources *r, const char *name);
/* One quantity as whole units; 0 when absent. */
int64_t resource_value(const json_t *list, const char *name);

/* What a pod requests: containers and sidecars together, or what an init container needs beside the sidecars started
 * before it, whichever is more; plus the overhead (KEP-753). default_cpu and default_memory stand in for containers
 * that request none (scoring); 0 for what counts. */
void resources_of_pod(struct resources *ret, const json_t *pod, int64_t default_milli_cpu, int64_t default_memory);

#endif
