/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision about a namespace that is being deleted. Pure. */
#ifndef KEELSON_CONTROLLERS_NAMESPACE_H
#define KEELSON_CONTROLLERS_NAMESPACE_H

#include "controllers/plan.h"
#include "kube/schema.h"

#define NAMESPACE_FINALIZER "kubernetes"

/* What one round of deleting and counting found. */
struct namespace_round {
	bool finished;       /* every answer is in */
	bool pods_only;      /* pods go first; the rest is left for a later round */
	int64_t remaining;   /* objects */
	json_t *counts;      /* own: "pods." -> objects left */
	json_t *finalizers;  /* own: finalizer -> objects that have it */
	json_t *failures;    /* own: array of texts */
};
void namespace_round_done(struct namespace_round *r);
enum { NAMESPACE_TAG_COUNT = 1, NAMESPACE_TAG_DELETE };

/* A round's writes: delete every collection, then count what is left. */
void namespace_plan_round(const char *name, bool pods_only, struct plan *plan);
/* Takes one answer of a round. resource "pods" of group "". */
void namespace_note_count(struct namespace_round *r, const struct schema_resource *resource, const json_t *list);
void namespace_note_failure(struct namespace_round *r, const char *text);
/* After a round: the conditions, and when nothing is left the finalizer's removal. */
void namespace_decide(const json_t *ns, const struct namespace_round *r, int64_t now_s, struct plan *plan);

#endif
