/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision of the ReplicaSet controller, apart from its caches; the ReplicationController shares it. */
#ifndef KEELSON_CONTROLLERS_REPLICASET_H
#define KEELSON_CONTROLLERS_REPLICASET_H

#include "controllers/workload.h"

/* What is decided from. Everything is borrowed. */
struct replicaset_view {
	const json_t *set;
	const char *api_version, *kind, *plural;
	const struct selector *selector;
	struct object_list candidates; /* pods it owns and pods of its namespace that nobody owns */
	struct object_list related;    /* active pods of its owner's other sets too: how crowded nodes are */
	bool may_manage;               /* nothing asked for earlier is still missing in the cache */
	/* How the last attempt to create or delete pods failed ("FailedCreate", "FailedDelete"), or NULL. */
	const char *failed_reason, *failed_message;
	int64_t now_s;
};
enum { REPLICASET_BURST = 500 }; /* at most so many creations or deletions a sync */
void replicaset_decide(const struct replicaset_view *v, struct plan *plan);

#endif
