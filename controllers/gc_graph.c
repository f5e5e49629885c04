// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The garbage collector's graph. What always holds: an object is deleted only when each of its owners is known not to
 * exist, by its deletion having been seen or by a live GET, or is waiting for its dependents to go; and only in the
 * state that was judged (uid and resourceVersion are preconditions). An owner named by a reference but not seen has a
 * node without a resource, which anchors its dependents.
 */
#include "controllers/gc_graph.h"

#include "base/map.h"
#include "base/mem.h"
#include "kube/object.h"

struct owner {
	char *uid, *api_version, *kind, *name; /* own */
	bool blocks;                           /* blockOwnerDeletion */
};
struct node {
	char *uid, *ns, *name;                 /* own; ns "" at cluster scope */
	char *resource_version;                /* own */
	const struct schema_resource *r;       /* NULL: not seen, only referred to */
	struct owner *owners;
	size_t owner_count;
	struct node **dependents;              /* borrow */
	size_t dependent_count, dependent_cap;
	bool deleting, foreground, orphan;     /* deletionTimestamp; the two finalizers */
};
enum { ABSENT_MAX = 1000 };
struct gc_graph {
	struct map *nodes;                     /* uid -> node, own */
	struct map *absent;                    /* "uid namespace": verified not to exist there */
	struct map *alive;                     /* "uid namespace": a GET found it, the watch has not shown it */
	void (*touched)(const char *uid, void *user);
	void *user;
};

static void owners_free(struct owner *owners, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(owners[i].uid);
		free(owners[i].api_version);
		free(owners[i].kind);
		free(owners[i].name);
	}
	free(owners);
}

static void node_free(void *p)
{
	struct node *n = p;

	owners_free(n->owners, n->owner_count);
	free(n->dependents);
	free(n->uid);
	free(n->ns);
	free(n->name);
	free(n->resource_version);
	free(n);
}

struct gc_graph *gc_graph_new(void (*touched)(const char *uid, void *user), void *user)
{
	struct gc_graph *g = mem_new(struct gc_graph);

	g->nodes = map_new(node_free);
	g->absent = map_new(NULL);
	g->alive = map_new(NULL);
	g->touched = touched;
	g->user = user;
	return g;
}

struct gc_graph *gc_graph_free(struct gc_graph *g)
{
	if (g) {
		map_free(g->nodes);
		map_free(g->absent);
		map_free(g->alive);
		free(g);
	}
	return NULL;
}

size_t gc_graph_count(const struct gc_graph *g)
{
	return map_count(g->nodes);
}

static void touch(struct gc_graph *g, const struct node *n)
{
	g->touched(n->uid, g->user);
}

static struct node *node_get(struct gc_graph *g, const char *uid)
{
	struct node *n = map_get(g->nodes, uid);

	if (!n) {
		n = mem_new(struct node);
		n->uid = mem_strdup(uid);
		map_set(g->nodes, uid, n);
	}
	return n;
}

static void drop_if_unused(struct gc_graph *g, struct node *n)
{
	if (!n->r && !n->dependent_count)
		map_del(g->nodes, n->uid);
}

static void detach(struct gc_graph *g, struct node *n)
{
	for (size_t i = 0; i < n->owner_count; i++) {
		struct node *owner = map_get(g->nodes, n->owners[i].uid);

		for (size_t k = 0; owner && k < owner->dependent_count; k++) {
			if (owner->dependents[k] == n) {
				owner->dependents[k] = owner->dependents[--owner->dependent_count];
				break;
			}
		}
		if (owner) {
			if (owner->foreground && owner->deleting)
				touch(g, owner); /* it may be waiting for this one */
			drop_if_unused(g, owner);
		}
	}
	owners_free(n->owners, n->owner_count);
	n->owners = NULL;
	n->owner_count = 0;
}

static void attach(struct gc_graph *g, struct node *n, const json_t *references)
{
	size_t count = json_array_size(references), i;
	json_t *ref;

	n->owners = count ? mem_new_n(struct owner, count) : NULL;
	json_array_foreach((json_t *)references, i, ref) {
		struct owner *o = &n->owners[n->owner_count];
		const char *uid = json_str_or(ref, "uid", "");
		struct node *owner;

		if (!*uid || str_eq(uid, n->uid))
			continue;
		*o = (struct owner){ mem_strdup(uid), mem_strdup(json_str_or(ref, "apiVersion", "")),
				     mem_strdup(json_str_or(ref, "kind", "")),
				     mem_strdup(json_str_or(ref, "name", "")),
				     json_bool(ref, "blockOwnerDeletion", false) };
		n->owner_count++;
		owner = node_get(g, uid);
		MEM_GROW(owner->dependents, owner->dependent_cap, owner->dependent_count + 1);
		owner->dependents[owner->dependent_count++] = n;
	}
}

static bool owners_same(const struct node *n, const json_t *references)
{
	size_t i;
	json_t *ref;

	if (json_array_size(references) != n->owner_count)
		return false;
	json_array_foreach((json_t *)references, i, ref) {
		if (!str_eq(json_str(ref, "uid"), n->owners[i].uid) ||
		    json_bool(ref, "blockOwnerDeletion", false) != n->owners[i].blocks)
			return false;
	}
	return true;
}

static bool has_finalizer(const json_t *object, const char *name)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_at(object, "metadata.finalizers"), i, f) {
		if (str_eq(json_string_value(f), name))
			return true;
	}
	return false;
}

static bool any_owner_unseen_or_leaving(struct gc_graph *g, const struct node *n)
{
	for (size_t i = 0; i < n->owner_count; i++) {
		const struct node *owner = map_get(g->nodes, n->owners[i].uid);

		if (!owner || !owner->r || owner->foreground ||
		    (owner->r->namespaced && !str_eq(owner->ns, n->ns)))
			return true;
	}
	return false;
}

void gc_graph_observe(struct gc_graph *g, const struct schema_resource *r, const json_t *object)
{
	const json_t *references = json_at(object, "metadata.ownerReferences");
	struct node *n;
	bool was_foreground;

	if (!*object_uid(object))
		return;
	n = node_get(g, object_uid(object));
	was_foreground = n->foreground && n->deleting;
	if (!n->r) {
		n->r = r;
		n->ns = mem_strdup(object_namespace(object));
		n->name = mem_strdup(object_name(object));
	}
	if (!str_eq(n->resource_version, object_resource_version(object))) {
		free(n->resource_version);
		n->resource_version = mem_strdup(object_resource_version(object));
	}
	n->deleting = object_deleting(object);
	n->foreground = has_finalizer(object, GC_FOREGROUND_FINALIZER);
	n->orphan = has_finalizer(object, GC_ORPHAN_FINALIZER);
	if (!owners_same(n, references)) {
		detach(g, n);
		attach(g, n, references);
	}
	if (n->deleting && (n->foreground || n->orphan)) {
		touch(g, n);
		for (size_t i = 0; n->foreground && !was_foreground && i < n->dependent_count; i++)
			touch(g, n->dependents[i]);
	} else if (any_owner_unseen_or_leaving(g, n)) {
		touch(g, n);
	}
}

static char *place(const char *uid, const char *ns)
{
	return str_printf("%s %s", uid, ns);
}

static void note_absent(struct gc_graph *g, const char *uid, const char *ns)
{
	_cleanup_free_ char *key = place(uid, ns);

	if (map_count(g->absent) >= ABSENT_MAX)
		map_clear(g->absent); /* costs a few GETs, no more */
	map_set(g->absent, key, "");
}

void gc_graph_remove(struct gc_graph *g, const char *uid)
{
	struct node *n = map_get(g->nodes, uid);

	if (!n || !n->r)
		return;
	detach(g, n);
	for (size_t i = 0; i < n->dependent_count; i++) {
		note_absent(g, uid, n->dependents[i]->ns);
		touch(g, n->dependents[i]);
	}
	n->r = NULL;
	n->deleting = n->foreground = n->orphan = false;
	free(n->ns);
	free(n->name);
	n->ns = n->name = NULL;
	drop_if_unused(g, n);
}

void gc_graph_touch_all(struct gc_graph *g)
{
	const char *uid;
	size_t it = 0;
	void *p;

	while (map_next(g->nodes, &it, &uid, &p)) {
		const struct node *n = p;

		if (n->r && ((n->deleting && (n->foreground || n->orphan)) || any_owner_unseen_or_leaving(g, n)))
			touch(g, n);
	}
}

void gc_graph_answer(struct gc_graph *g, const char *uid, const char *owner_uid, bool owner_found)
{
	const struct node *n = map_get(g->nodes, uid);
	_cleanup_free_ char *key = NULL;

	if (!n || !n->r)
		return;
	key = place(owner_uid, n->ns);
	if (!owner_found) {
		note_absent(g, owner_uid, n->ns);
		return;
	}
	if (map_count(g->alive) >= ABSENT_MAX)
		map_clear(g->alive);
	map_set(g->alive, key, "");
}

static char *path_of(const struct schema_resource *r, const char *ns, const char *name)
{
	char api_version[96];

	return kube_path(schema_api_version(r->group, r->version, api_version), r->plural, r->namespaced ? ns : NULL,
			 name, NULL);
}

static char *node_path(const struct node *n)
{
	return path_of(n->r, n->ns, n->name);
}

static struct write *strategic(struct plan *plan, const struct node *n, json_t *patch)
{
	struct write *w = plan_add(plan, "PATCH", node_path(n), patch);

	w->content_type = KUBE_STRATEGIC_PATCH;
	w->flags |= WRITE_IGNORE_NOT_FOUND;
	return w;
}

static void remove_finalizer(struct plan *plan, const struct node *n, const char *finalizer)
{
	strategic(plan, n, json_pack("{s:{s:s, s:[s]}}", "metadata", "uid", n->uid,
				     "$deleteFromPrimitiveList/finalizers", finalizer));
}

/* Takes the references to owners (uids, an array; moved) out of an object. */
static void remove_references(struct plan *plan, const struct node *n, json_t *directives)
{
	strategic(plan, n, json_pack("{s:{s:s, s:o}}", "metadata", "uid", n->uid, "ownerReferences", directives));
}

static json_t *remove_directive(const char *owner_uid)
{
	return json_pack("{s:s, s:s}", "$patch", "delete", "uid", owner_uid);
}

static void decide_orphan(const struct node *n, struct plan *plan)
{
	for (size_t i = 0; i < n->dependent_count; i++)
		remove_references(plan, n->dependents[i], json_pack("[o]", remove_directive(n->uid)));
	plan_barrier(plan);
	remove_finalizer(plan, n, GC_ORPHAN_FINALIZER);
}

static bool blocks(const struct node *dependent, const struct node *owner)
{
	for (size_t i = 0; i < dependent->owner_count; i++) {
		if (str_eq(dependent->owners[i].uid, owner->uid))
			return dependent->owners[i].blocks;
	}
	return false;
}

/* The owner goes when no dependent blocks it any more. Dependents are deleted by decisions of their own. */
static void decide_foreground(struct gc_graph *g, const struct node *n, struct plan *plan)
{
	bool blocked = false;

	for (size_t i = 0; i < n->dependent_count; i++) {
		const struct node *dependent = n->dependents[i];

		if (!blocks(dependent, n))
			continue;
		blocked = true;
		if (!dependent->deleting)
			touch(g, dependent);
	}
	if (!blocked)
		remove_finalizer(plan, n, GC_FOREGROUND_FINALIZER);
}

enum verdict { OWNER_SOLID, OWNER_WAITING, OWNER_GONE, OWNER_UNKNOWN };

static void warn_reference(struct plan *plan, const struct node *n, const struct owner *o)
{
	char api_version[96];
	_cleanup_json_ json_t *about =
		json_pack("{s:s, s:s, s:{s:s, s:s, s:s}}", "apiVersion",
			  schema_api_version(n->r->group, n->r->version, api_version), "kind", n->r->kind, "metadata",
			  "name", n->name, "namespace", n->ns, "uid", n->uid);

	plan_event(plan, about, "Warning", "OwnerRefInvalidNamespace",
		   "ownerRef [%s/%s, name: %s, uid: %s] does not exist in namespace \"%s\"", o->api_version, o->kind,
		   o->name, o->uid, n->ns);
}

/* Asks the server for an owner that nobody has seen. */
static enum verdict verify(struct gc_graph *g, const struct node *n, const struct owner *o, struct plan *plan)
{
	const char *slash = strchr(o->api_version, '/');
	_cleanup_free_ char *group = slash ? mem_strndup(o->api_version, (size_t)(slash - o->api_version)) : NULL;
	const struct schema_resource *r =
		schema_resource_of_kind(group ? group : "", slash ? slash + 1 : o->api_version, o->kind);
	_cleanup_free_ char *key = place(o->uid, n->ns);
	struct write *w;

	if (map_has(g->absent, key))
		return OWNER_GONE;
	if (map_del(g->alive, key)) {
		plan_requeue(plan, 10000); /* by then the watch has shown it, or it is asked for again */
		return OWNER_SOLID;
	}
	if (!r || (r->namespaced && !*n->ns))
		return OWNER_SOLID; /* cannot be looked up: such an object is never collected */
	w = plan_add(plan, "GET", path_of(r, n->ns, o->name), NULL);
	w->tag = GC_TAG_VERIFY;
	w->uid = mem_strdup(o->uid);
	w->flags |= WRITE_MAY_FAIL;
	return OWNER_UNKNOWN;
}

static enum verdict judge(struct gc_graph *g, const struct node *n, const struct owner *o, struct plan *plan)
{
	const struct node *owner = map_get(g->nodes, o->uid);

	if (!owner || !owner->r)
		return verify(g, n, o, plan);
	if (owner->r->namespaced && !str_eq(owner->ns, n->ns)) {
		warn_reference(plan, n, o);
		return verify(g, n, o, plan);
	}
	return owner->deleting && owner->foreground ? OWNER_WAITING : OWNER_SOLID;
}

static void delete_node(const struct node *n, const char *propagation, struct plan *plan)
{
	struct write *w = plan_delete(plan, node_path(n), n->uid, -1, propagation);

	json_set(w->body, "preconditions.resourceVersion", json_string(n->resource_version));
	w->flags |= WRITE_IGNORE_NOT_FOUND;
}

/* Two objects that wait for each other would wait for ever. */
static void unblock_cycle(const struct node *n, struct plan *plan)
{
	json_t *directives;

	for (size_t i = 0; i < n->dependent_count; i++) {
		if (!n->dependents[i]->deleting || !n->dependents[i]->foreground)
			continue;
		directives = json_array();
		for (size_t k = 0; k < n->owner_count; k++)
			json_array_append_new(directives, json_pack("{s:s, s:b}", "uid", n->owners[k].uid,
								    "blockOwnerDeletion", 0));
		strategic(plan, n, json_pack("{s:{s:o}}", "metadata", "ownerReferences", directives));
		return;
	}
}

static void decide_by_owners(struct gc_graph *g, const struct node *n, struct plan *plan)
{
	_cleanup_json_ json_t *dead = json_array();
	size_t solid = 0, waiting = 0, unknown = 0;

	for (size_t i = 0; i < n->owner_count; i++) {
		const struct owner *o = &n->owners[i];
		enum verdict verdict = judge(g, n, o, plan);

		solid += verdict == OWNER_SOLID;
		waiting += verdict == OWNER_WAITING;
		unknown += verdict == OWNER_UNKNOWN;
		if (verdict == OWNER_WAITING || verdict == OWNER_GONE)
			json_array_append_new(dead, remove_directive(o->uid));
	}
	if (unknown || !n->owner_count)
		return; /* the answers bring the object back */
	if (solid) {
		if (json_array_size(dead))
			remove_references(plan, n, json_incref(dead));
	} else if (waiting && n->dependent_count) {
		unblock_cycle(n, plan);
		if (!plan->count)
			delete_node(n, "Foreground", plan);
	} else {
		delete_node(n, n->orphan ? "Orphan" : n->foreground ? "Foreground" : "Background", plan);
	}
}

void gc_graph_decide(struct gc_graph *g, const char *uid, struct plan *plan)
{
	const struct node *n = map_get(g->nodes, uid);

	if (!n || !n->r)
		return;
	if (n->deleting && n->orphan)
		decide_orphan(n, plan);
	else if (n->deleting && n->foreground)
		decide_foreground(g, n, plan);
	else if (!n->deleting)
		decide_by_owners(g, n, plan);
}
