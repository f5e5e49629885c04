/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ControllerRevisions: the history of a DaemonSet's or StatefulSet's template, which `kubectl rollout` reads. Pure. */
#ifndef KEELSON_CONTROLLERS_REVISION_H
#define KEELSON_CONTROLLERS_REVISION_H

#include "controllers/workload.h"

#define REVISION_HASH_LABEL "controller-revision-hash"

struct revision_owner {
	const json_t *object;
	const char *api_version, *kind;
	const char *object_hash_label; /* label of the hash on the revision itself */
};
/* What a revision keeps: {"spec":{"template":{...,"$patch":"replace"}}}. Own. */
json_t *revision_data(const json_t *owner);
/* The template a revision keeps, without the directive. Own. */
json_t *revision_template(const json_t *revision);
/* Oldest first by revision number. */
void revision_sort(struct object_list *revisions);
/* The latest revision with this data, or NULL. Borrow. */
json_t *revision_find(const struct object_list *revisions, const json_t *data);
int64_t revision_next_number(const struct object_list *revisions);
/* A new object "<owner>-<hash>". Own. */
json_t *revision_new(const struct revision_owner *o, const json_t *data, int64_t collision_count, int64_t number);
/* Keeps the current template's revision: false when the plan has to make or renumber it first (then decide no further),
 * else *ret_current is the cached one (borrow). Sorts revisions. */
bool revision_keep_current(const struct revision_owner *o, struct object_list *revisions, struct plan *plan,
			   json_t **ret_current);
/* Deletes the oldest revisions beyond the limit, of those not named in `live` (an array). */
void revision_truncate(const struct object_list *revisions, const json_t *live, int64_t limit, struct plan *plan);

#endif
