/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision of the disruption controller: the status of a PodDisruptionBudget, which evictions are granted by. Pure.
 */
#ifndef KEELSON_CONTROLLERS_DISRUPTION_H
#define KEELSON_CONTROLLERS_DISRUPTION_H

#include "controllers/workload.h"

struct disruption_view {
	const json_t *budget;
	struct object_list pods;    /* that it selects */
	/* How many pods the workload behind a pod should have, following its controllers up; -1 when there is none or
	 * it cannot be told. uid: of the workload counted, so that each counts once (borrow). */
	int64_t (*scale_of)(const json_t *pod, const char **ret_uid, void *user);
	void *user;
	int64_t now_s;
};
enum { DISRUPTION_GRANT_S = 120 }; /* a granted eviction that has not happened by then is forgotten */
void disruption_decide(const struct disruption_view *v, struct plan *plan);

#endif
