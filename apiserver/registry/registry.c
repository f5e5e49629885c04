// SPDX-License-Identifier: GPL-2.0-or-later
/* The registry's start and end, and which function serves which verb. */
#include "apiserver/registry/registry.h"

#include <malloc.h>
#include <stdlib.h>

#include "apiserver/auth/authz.h"
#include "apiserver/http/form.h"
#include "apiserver/metrics/measure.h"
#include "apiserver/validate/validate.h"
#include "base/log.h"

static void on_changed(enum store_change change, struct store_object *object, struct store_object *old, void *user)
{
	struct registry *g = user;
	const struct schema_resource *r = schema_resource_at(object->resource);
	if (r == g->services)
		service_changed(g, object, old, change == STORE_DELETED);
	if (str_eq(r->group, "rbac.authorization.k8s.io"))
		authz_changed(g->authz);
	if (g->quotas)
		quotas_changed(g->quotas, object);
	watch_hub_changed(g->hub, change, object, old);
}

static void on_committed(void *user)
{
	write_committed(user);
	wait_committed(user);
}

static void on_broken(const char *why, void *user)
{
	struct registry *g = user;
	log_error("the store failed: %s", why);
	if (g->fatal)
		g->fatal(why);
}

static void find_resources(struct registry *g)
{
	const struct {
		const struct schema_resource **slot;
		const char *group, *plural;
	} all[] = {
		{ &g->pods, "", "pods" }, { &g->services, "", "services" }, { &g->namespaces, "", "namespaces" },
		{ &g->nodes, "", "nodes" }, { &g->endpoints, "", "endpoints" },
		{ &g->endpointslices, "discovery.k8s.io", "endpointslices" }, { &g->serviceaccounts, "", "serviceaccounts" },
		{ &g->secrets, "", "secrets" }, { &g->priorityclasses, "scheduling.k8s.io", "priorityclasses" },
		{ &g->configmaps, "", "configmaps" }, { &g->pdbs, "policy", "poddisruptionbudgets" },
		{ &g->leases, "coordination.k8s.io", "leases" }, { &g->events, "", "events" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		*all[i].slot = schema_resource_find(all[i].group, "v1", all[i].plural);
		BUG_ON(!*all[i].slot);
	}
}

int registry_open(struct registry *g, uv_loop_t *loop, const char *dir, const struct registry_options *o, struct err *err)
{
	struct store_hooks hooks = { entry_place_name, entry_place_find, entry_restore, on_changed, on_committed, on_broken, g,
		entry_read, entry_at, entry_value, service_claims, g->crypt, measure_storage };
	g->loop = loop;
	g->options = *o;
	find_resources(g);
	int rc = o->etcd ? store_open_etcd(loop, o->etcd, &hooks, &g->store, err) : store_open(loop, dir, &hooks, &g->store, err);
	if (rc)
		return rc;
	/* Addresses and ports are given by what all Services have. */
	_cleanup_free_ char *unreadable = store_unreadable(g->store, g->services->id, "", NULL);
	if (unreadable)
		return err_set(err, EBADMSG, "%s; no Service's address is safe without it", unreadable);
	g->hub = watch_hub_new(loop, &form_watch_encoder, &o->watch);
	watch_hub_set_store(g->hub, g->store);
	g->alloc = alloc_new(o);
	g->quotas = quotas_new(g);
	struct store_iter it = store_iterate(g->store, g->services->id, NULL);
	for (struct store_object *service; (service = store_next(&it));)
		service_changed(g, service, NULL, false);
	/* Loading parsed everything once; what that took is given back. */
	malloc_trim(0);
	return 0;
}

void registry_close(struct registry *g)
{
	g->stopping = true;
	if (g->hub)
		watch_hub_stop(g->hub);
	wait_stop(g);
	store_close(g->store);
	quotas_free(g->quotas);
	g->quotas = NULL;
	g->store = NULL;
	watch_hub_free(g->hub);
	g->hub = NULL;
	alloc_free(g->alloc);
	g->alloc = NULL;
}

static bool is_review(const struct schema_resource *r)
{
	return !r->list_message && (str_eq(r->group, "authentication.k8s.io") || str_eq(r->group, "authorization.k8s.io"));
}

static void handle_subresource(struct call *c)
{
	const char *s = c->sub->name;
	if (str_eq(s, "scale"))
		subresource_scale(c);
	else if (str_eq(s, "binding"))
		pod_binding(c);
	else if (str_eq(s, "eviction"))
		pod_eviction(c);
	else if (str_eq(s, "token"))
		token_create(c);
	else if (str_eq(s, "finalize"))
		namespace_finalize(c);
	else
		subresource_object(c);
}

/* Reads that name no revision show what was acknowledged before them, wherever. Writes find out by being refused. */
static bool wants_fresh(const struct call *c)
{
	const char *rv = query_get(&c->q, "resourceVersion");
	return (c->u.verb <= API_WATCH || c->u.verb == API_DELETECOLLECTION) && str_empty(rv) &&
	       !query_get(&c->q, "continue");
}

/* Whether it shows, or is based on, what cannot be read: then it is refused. A new object's name is checked when it is stored, and
 * a watch that continues shows changes only. */
static bool answer_unreadable(struct call *c)
{
	const char *rv = query_get(&c->q, "resourceVersion");
	bool watches = c->u.verb == API_WATCH && !str_empty(rv) && !str_eq(rv, "0") && !query_get(&c->q, "sendInitialEvents");
	bool named = *c->u.name && !(c->u.verb == API_WATCH || c->u.verb == API_LIST);
	_cleanup_free_ char *key = named ? entry_key(c->storage, c->u.ns, c->u.name) : NULL;
	_cleanup_free_ char *why = NULL;
	if ((c->u.verb == API_CREATE && !c->sub) || watches)
		return false;
	why = store_unreadable(c->g->store, c->storage->id, c->u.ns, key);
	if (why)
		answer_status(c, status_internal("%s", why));
	return why;
}

void registry_handle(struct call *c)
{
	static void (*const verbs[API_VERB_MAX])(struct call *c) = { verb_get, verb_list, verb_watch, verb_create, verb_update,
		verb_patch, verb_delete, verb_deletecollection };
	if (wants_fresh(c) && wait_fresh(c, registry_handle))
		return;
	if (answer_unreadable(c))
		return;
	if (api_deprecation(c->r))
		call_warn(c, "%s", api_deprecation(c->r));
	if (c->sub)
		handle_subresource(c);
	else if (is_review(c->r))
		review_create(c);
	else if (resource_is(c->r, "", "bindings"))
		pod_binding(c);
	else if (!entry_place_name(c->storage->id))
		answer_status(c, status_method_not_allowed(c->r));
	else
		verbs[c->u.verb](c);
}
