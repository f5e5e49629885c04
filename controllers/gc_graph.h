/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph of owners and dependents: identities only, some 300 bytes an object. It answers what the garbage collector
 * should do about one object, as a plan. Pure.
 */
#ifndef KEELSON_CONTROLLERS_GC_GRAPH_H
#define KEELSON_CONTROLLERS_GC_GRAPH_H

#include "controllers/plan.h"
#include "kube/schema.h"

#define GC_FOREGROUND_FINALIZER "foregroundDeletion"
#define GC_ORPHAN_FINALIZER "orphan"

struct gc_graph;
/* touched: an object that should be looked at (gc_graph_decide()) because of a change. */
struct gc_graph *gc_graph_new(void (*touched)(const char *uid, void *user), void *user);
struct gc_graph *gc_graph_free(struct gc_graph *g); /* NULL is fine; returns NULL */
/* The object exists like this now. Only its metadata is read. */
void gc_graph_observe(struct gc_graph *g, const struct schema_resource *r, const json_t *object);
void gc_graph_remove(struct gc_graph *g, const char *uid);
/* Touches every object that may need something: after all caches are full. */
void gc_graph_touch_all(struct gc_graph *g);
size_t gc_graph_count(const struct gc_graph *g);
/* What to do about an object. Owners nobody has seen are asked for by GETs tagged GC_TAG_VERIFY with the owner's uid
 * in write.uid of a WRITE_MAY_FAIL write; tell the answers with gc_graph_answer() and decide again. */
enum { GC_TAG_VERIFY = 1 };
void gc_graph_decide(struct gc_graph *g, const char *uid, struct plan *plan);
/* owner_found: the GET found an object with the owner's uid. */
void gc_graph_answer(struct gc_graph *g, const char *uid, const char *owner_uid, bool owner_found);

#endif
