/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision of the StatefulSet controller, apart from its caches. */
#ifndef KEELSON_CONTROLLERS_STATEFULSET_H
#define KEELSON_CONTROLLERS_STATEFULSET_H

#include "controllers/revision.h"

struct statefulset_view {
	const json_t *set;
	const struct selector *selector;
	struct object_list candidates; /* pods it owns and pods of its namespace that nobody owns */
	struct object_list revisions;  /* ControllerRevisions it owns */
	bool (*claim_exists)(const char *name, void *user); /* PersistentVolumeClaims of its namespace */
	void *user;
	bool may_manage;
	int64_t now_s;
};
void statefulset_decide(const struct statefulset_view *v, struct plan *plan);
/* The ordinal of a pod called "<set>-<n>", or -1. */
int64_t statefulset_ordinal(const char *set_name, const char *pod_name);

#endif
