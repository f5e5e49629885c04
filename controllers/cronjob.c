// SPDX-License-Identifier: GPL-2.0-or-later
/* The CronJob controller: gathers a CronJob and its Jobs for cronjob_decide(). */
#include "controllers/cronjob.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

static void on_job(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *job = new ? new : old, *owner = object_controller_of(job);
	_cleanup_free_ char *key = NULL;

	if (!owner || !str_eq(json_str(owner, "kind"), "CronJob"))
		return;
	key = str_printf("%s/%s", object_namespace(job), json_str_or(owner, "name", ""));
	controller_enqueue(c, key);
}

static void cronjob_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *cronjob = controller_get(c, INFORMER_CRONJOBS, key);
	struct cronjob_view view = { .cronjob = cronjob, .now_s = clock_wall_s() };

	if (!cronjob)
		return;
	object_list_add_index(&view.jobs, controller_informer(c, INFORMER_JOBS), INDEX_OWNER, object_uid(cronjob));
	cronjob_decide(&view, plan);
	object_list_done(&view.jobs);
}

static void cronjob_start(struct controller *c)
{
	controller_watch(c, INFORMER_JOBS, on_job);
}

const struct controller_ops cronjob_controller = {
	.name = "cronjob",
	.primary = INFORMER_CRONJOBS,
	.needs = NEEDS(INFORMER_CRONJOBS) | NEEDS(INFORMER_JOBS),
	.parallel = 5,
	.start = cronjob_start,
	.sync = cronjob_sync,
};
