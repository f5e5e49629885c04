// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every check looks at what is there when it is asked. Those of the start are over when they have passed once: who deletes what was made
 * then does not make the server ill.
 */
#include "apiserver/http/health.h"

#include <string.h>

#include "apiserver/metrics/measure.h"
#include "base/log.h"

enum { HEALTHZ = 1 << 0, LIVEZ = 1 << 1, READYZ = 1 << 2, EVERYWHERE = HEALTHZ | LIVEZ | READYZ };

static bool always(const struct registry *g)
{
	(void)g;
	return true;
}

static bool store_is_up(const struct registry *g)
{
	return store_answers(g->store);
}

static bool index_is_loaded(const struct registry *g)
{
	return g->ready;
}

static bool is_stored(const struct registry *g, const struct schema_resource *r, const char *key)
{
	return r && store_get(g->store, r->id, key);
}

static bool namespaces_are_there(const struct registry *g)
{
	static const char *const names[] = { "default", "kube-system", "kube-public", "kube-node-lease" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!is_stored(g, g->namespaces, names[i]))
			return false;
	return true;
}

static bool roles_were_made(const struct registry *g)
{
	return is_stored(g, schema_resource_find("rbac.authorization.k8s.io", "v1", "clusterroles"), "cluster-admin");
}

static bool priority_classes_are_there(const struct registry *g)
{
	return is_stored(g, g->priorityclasses, "system-node-critical") && is_stored(g, g->priorityclasses, "system-cluster-critical");
}

static bool kubernetes_service_is_there(const struct registry *g)
{
	return is_stored(g, g->services, "default/kubernetes");
}

static bool is_staying(const struct registry *g)
{
	return !g->draining && !g->stopping;
}

static const struct check {
	const char *name;
	unsigned endpoints;
	bool (*ok)(const struct registry *g);
	bool of_start;
} checks[] = {
	{ "ping", EVERYWHERE, always, false },
	{ "log", EVERYWHERE, always, false },
	{ "etcd", EVERYWHERE, store_is_up, false },
	{ "etcd-readiness", READYZ, store_is_up, false },
	{ "informer-sync", READYZ, index_is_loaded, false },
	{ "poststarthook/start-system-namespaces-controller", EVERYWHERE, namespaces_are_there, true },
	{ "poststarthook/rbac/bootstrap-roles", EVERYWHERE, roles_were_made, true },
	{ "poststarthook/scheduling/bootstrap-system-priority-classes", EVERYWHERE, priority_classes_are_there, true },
	{ "poststarthook/bootstrap-controller", EVERYWHERE, kubernetes_service_is_there, true },
	{ "shutdown", READYZ, is_staying, false },
};

static const struct endpoint {
	const char *name;
	unsigned bit;
} endpoints[] = { { "healthz", HEALTHZ }, { "livez", LIVEZ }, { "readyz", READYZ } };

#define TEXT_TYPE "text/plain; charset=utf-8"

static bool passes(struct call *c, const struct check *k, const struct endpoint *e)
{
	unsigned bit = 1u << (k - checks);
	bool ok = (c->g->started & bit) || k->ok(c->g);
	if (ok && k->of_start)
		c->g->started |= bit;
	measure_check(k->name, e->name, ok);
	if (!ok)
		log_debug("%s check %s fails", e->name, k->name);
	return ok;
}

/* Takes the name out of the list. */
static bool take_out(struct strlist *list, const char *name)
{
	bool found = false;
	for (size_t i = 0; i < list->count;) {
		if (!str_eq(list->items[i], name)) {
			i++;
			continue;
		}
		found = true;
		free(list->items[i]);
		memmove(&list->items[i], &list->items[i + 1], (--list->count - i) * sizeof(*list->items));
	}
	return found;
}

static void warn_of_rest(const struct strlist *excluded, struct strbuf *out)
{
	for (size_t i = 0; i < excluded->count; i++)
		strbuf_addf(out, "%s\"%s\"", i ? "," : "warn: some health checks cannot be excluded: no matches for ", excluded->items[i]);
	if (excluded->count)
		strbuf_addc(out, '\n');
}

static void serve_all(struct call *c, const struct endpoint *e)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	_cleanup_strlist_ struct strlist excluded = { 0 };
	bool ok = true;
	for (size_t i = 0; i < c->q.count; i++)
		if (str_eq(c->q.items[i].name, "exclude") && !strlist_has(&excluded, c->q.items[i].value))
			strlist_add(&excluded, c->q.items[i].value);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		const struct check *k = &checks[i];
		if (!(k->endpoints & e->bit))
			continue;
		if (take_out(&excluded, k->name)) {
			strbuf_addf(&out, "[+]%s excluded: ok\n", k->name);
			continue;
		}
		bool passed = passes(c, k, e);
		/* The reason is for the log: anybody may ask. */
		strbuf_addf(&out, passed ? "[+]%s ok\n" : "[-]%s failed: reason withheld\n", k->name);
		ok = ok && passed;
	}
	warn_of_rest(&excluded, &out);
	strbuf_addf(&out, "%s check %s\n", e->name, ok ? "passed" : "failed");
	answer_text(c, ok ? 200 : 500, TEXT_TYPE, ok && !query_get(&c->q, "verbose") ? "ok" : out.data);
}

static void serve_one(struct call *c, const struct endpoint *e, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		if (!str_eq(checks[i].name, name) || !(checks[i].endpoints & e->bit))
			continue;
		if (passes(c, &checks[i], e))
			answer_text(c, 200, TEXT_TYPE, "ok");
		else
			answer_text(c, 500, TEXT_TYPE, "internal server error: the check fails\n");
		return;
	}
	answer_text(c, 404, TEXT_TYPE, "404 page not found\n");
}

bool health_serve(struct call *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		const char *rest = str_after(c->u.path + 1, endpoints[i].name);
		if (!rest || (*rest && *rest != '/'))
			continue;
		if (*rest)
			serve_one(c, &endpoints[i], rest + 1);
		else
			serve_all(c, &endpoints[i]);
		return true;
	}
	return false;
}

void health_paths(struct strlist *paths)
{
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		strlist_addf(paths, "/%s", endpoints[i].name);
		for (size_t j = 0; j < ARRAY_SIZE(checks); j++)
			if (checks[j].endpoints & endpoints[i].bit)
				strlist_addf(paths, "/%s/%s", endpoints[i].name, checks[j].name);
	}
}
