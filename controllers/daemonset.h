/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision of the DaemonSet controller, apart from its caches. */
#ifndef KEELSON_CONTROLLERS_DAEMONSET_H
#define KEELSON_CONTROLLERS_DAEMONSET_H

#include "controllers/revision.h"

struct daemonset_view {
	const json_t *set;
	const struct selector *selector;
	struct object_list candidates; /* pods it owns and pods of its namespace that nobody owns */
	struct object_list revisions;  /* ControllerRevisions it owns */
	struct object_list nodes;
	bool may_manage;
	int64_t now_s;
};
void daemonset_decide(const struct daemonset_view *v, struct plan *plan);
/* The pod's spec for a node: bound to it by affinity (node NULL: unbound), with every daemon's tolerations. Own. */
json_t *daemonset_pod_spec(const json_t *set, const char *node);

#endif
