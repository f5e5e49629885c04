/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every pod of this node: those bound to it by the API, and those the runtime has that the API no longer knows. */
#ifndef KEELSON_AGENT_PODS_H
#define KEELSON_AGENT_PODS_H

#include "agent/pod.h"

struct pods *pods_new(struct agent *a); /* begins at once */
void pods_free(struct pods *s);         /* stops nothing: the pods run on */
/* The pod by name, as the API knows it; NULL. Borrow. */
struct pod *pods_find(struct pods *s, const char *ns, const char *name);
/* Iterate: size_t it = 0; while ((p = pods_next(s, &it))) ... */
struct pod *pods_next(struct pods *s, size_t *it);
size_t pods_count(const struct pods *s);
/* The pod has ended its life here; it is freed when nothing holds it. */
void pods_gone(struct pods *s, struct pod *p);
/* All pods' objects as the API gave them, a PodList; own. */
json_t *pods_list(struct pods *s);

#endif
