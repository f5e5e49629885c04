/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision of the CronJob controller, apart from its caches. */
#ifndef KEELSON_CONTROLLERS_CRONJOB_H
#define KEELSON_CONTROLLERS_CRONJOB_H

#include "controllers/workload.h"

struct cronjob_view {
	const json_t *cronjob;
	struct object_list jobs; /* that it owns */
	int64_t now_s;
};
void cronjob_decide(const struct cronjob_view *v, struct plan *plan);

#endif
