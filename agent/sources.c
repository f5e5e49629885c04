/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Watches of single ConfigMaps and Secrets. A source lives while the set of pods that want it is not empty. */
#include "agent/sources.h"
#include "agent/spec.h"

#include "base/map.h"
#include "base/mem.h"
#include "kube/object.h"

struct source {
	struct sources *sources;
	char *plural, *ns, *name;
	struct informer *informer;
	struct strlist wanted_by; /* uids of pods */
};

struct sources {
	struct agent *agent;
	struct map *by_key; /* "plural/ns/name" */
	sources_changed_fn on_changed;
	void *user;
};

static void source_free(void *p)
{
	struct source *s = p;

	informer_free(s->informer);
	strlist_done(&s->wanted_by);
	free(s->plural);
	free(s->ns);
	free(s->name);
	free(s);
}

struct sources *sources_new(struct agent *a, sources_changed_fn on_changed, void *user)
{
	struct sources *s = mem_new(struct sources);

	s->agent = a;
	s->by_key = map_new(source_free);
	s->on_changed = on_changed;
	s->user = user;
	return s;
}

void sources_free(struct sources *s)
{
	if (!s)
		return;
	map_free(s->by_key);
	free(s);
}

static void changed(struct source *s)
{
	s->sources->on_changed(s->plural, s->ns, s->name, s->sources->user);
}

static void on_change(const json_t *old, const json_t *new, void *user)
{
	(void)old, (void)new;
	changed(user);
}

static void on_synced(void *user)
{
	changed(user);
}

static struct source *source_start(struct sources *all, const char *plural, const char *ns, const char *name)
{
	struct source *s = mem_new(struct source);
	_cleanup_free_ char *selector = str_printf("metadata.name=%s", name);
	struct informer_options o = {
		.size = sizeof(o), .api_version = "v1", .plural = plural, .ns = ns, .field_selector = selector,
	};
	struct informer_handler h = { .on_change = on_change, .on_synced = on_synced, .user = s };

	s->sources = all;
	s->plural = mem_strdup(plural);
	s->ns = mem_strdup(ns);
	s->name = mem_strdup(name);
	s->informer = informer_new(all->agent->kube, &o);
	informer_add_handler(s->informer, &h);
	informer_start(s->informer);
	return s;
}

static void projected_sources(const json_t *volume, void (*fn)(const char *, const char *, void *), void *user)
{
	json_t *source;
	size_t i;

	json_array_foreach(json_at(volume, "projected.sources"), i, source) {
		fn("configmaps", json_str(source, "configMap.name"), user);
		fn("secrets", json_str(source, "secret.name"), user);
	}
}

void sources_of_pod(const json_t *pod, void (*fn)(const char *plural, const char *name, void *user), void *user)
{
	const json_t *spec = json_object_get(pod, "spec");
	json_t *item, *container;
	size_t i, k;

	json_array_foreach(json_object_get(spec, "volumes"), i, item) {
		fn("configmaps", json_str(item, "configMap.name"), user);
		fn("secrets", json_str(item, "secret.secretName"), user);
		projected_sources(item, fn, user);
	}
	json_array_foreach(json_object_get(spec, "imagePullSecrets"), i, item)
		fn("secrets", json_str(item, "name"), user);
	for (size_t l = 0; l < SPEC_LISTS; l++)
		json_array_foreach(json_object_get(spec, spec_lists[l]), k, container) {
			json_array_foreach(json_object_get(container, "envFrom"), i, item) {
				fn("configmaps", json_str(item, "configMapRef.name"), user);
				fn("secrets", json_str(item, "secretRef.name"), user);
			}
			json_array_foreach(json_object_get(container, "env"), i, item) {
				fn("configmaps", json_str(item, "valueFrom.configMapKeyRef.name"), user);
				fn("secrets", json_str(item, "valueFrom.secretKeyRef.name"), user);
			}
		}
}

struct want {
	struct sources *sources;
	const char *ns, *uid;
};

static void want_one(const char *plural, const char *name, void *user)
{
	struct want *w = user;
	_cleanup_free_ char *key = NULL;
	struct source *s;

	if (str_empty(name))
		return;
	key = str_printf("%s/%s/%s", plural, w->ns, name);
	s = map_get(w->sources->by_key, key);
	if (!s) {
		s = source_start(w->sources, plural, w->ns, name);
		map_set(w->sources->by_key, key, s);
	}
	if (!strlist_has(&s->wanted_by, w->uid))
		strlist_add(&s->wanted_by, w->uid);
}

void sources_want_pod(struct sources *s, const json_t *pod)
{
	struct want w = { .sources = s, .ns = object_namespace(pod), .uid = object_uid(pod) };

	sources_of_pod(pod, want_one, &w);
}

void sources_forget_pod(struct sources *s, const char *pod_uid)
{
	const char *key;
	void *value;
	size_t it = 0;

	while (map_next(s->by_key, &it, &key, &value)) {
		struct source *source = value;
		struct strlist left = { 0 };

		for (size_t i = 0; i < source->wanted_by.count; i++)
			if (!str_eq(source->wanted_by.items[i], pod_uid))
				strlist_add(&left, source->wanted_by.items[i]);
		strlist_done(&source->wanted_by);
		source->wanted_by = left;
		if (left.count == 0)
			map_del(s->by_key, key);
	}
}

json_t *sources_get(struct sources *s, const char *plural, const char *ns, const char *name,
		    enum source_state *ret_state)
{
	_cleanup_free_ char *key = str_printf("%s/%s/%s", plural, ns, name);
	struct source *source = map_get(s->by_key, key);
	json_t *object = source ? informer_get(source->informer, ns, name) : NULL;

	*ret_state = object ? SOURCE_FOUND : source && informer_synced(source->informer) ? SOURCE_MISSING : SOURCE_LOADING;
	return object;
}
