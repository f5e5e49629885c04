/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set of pods. Wanted ones come from a watch, present ones from the runtime's event stream and a slow relist; each
 * pod's own worker does the rest. Nothing is taken for an orphan before the first full list from the API.
 */
#include "agent/pods.h"

#include <dirent.h>

#include "agent/cgroup.h"
#include "agent/logs.h"
#include "agent/sources.h"
#include "agent/volume/volumes.h"
#include "agent/volume/tokens.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "kube/object.h"

enum { RELIST_MS = 30 * 1000, RELIST_SOON_MS = 100, RELIST_RETRY_MS = 1000, ROTATE_MS = 10 * 1000 };
/* After a stream of events has begun: what ends while it is being set up is neither told by it nor always shown yet. */
enum { SETTLE_LOOKS = 3, SETTLE_MS = 1000 };

struct pods {
	struct agent *agent;
	struct map *by_uid;
	struct informer *informer;
	uv_timer_t *relist, *rotate;
	bool relisting, relist_again, relisted_once;
	unsigned settle; /* further looks at a runtime that has just been subscribed to */
};

static void free_pod(void *p)
{
	pod_free(p);
}

struct pod *pods_find(struct pods *s, const char *ns, const char *name)
{
	void *value;
	size_t it = 0;

	while (map_next(s->by_uid, &it, NULL, &value)) {
		struct pod *p = value;

		if (p->in_api && str_eq(p->ns, ns) && str_eq(p->name, name))
			return p;
	}
	return NULL;
}

struct pod *pods_next(struct pods *s, size_t *it)
{
	void *value;

	return map_next(s->by_uid, it, NULL, &value) ? value : NULL;
}

size_t pods_count(const struct pods *s)
{
	return map_count(s->by_uid);
}

void pods_gone(struct pods *s, struct pod *p)
{
	if (pod_is_idle(p))
		map_del(s->by_uid, p->uid);
}

json_t *pods_list(struct pods *s)
{
	json_t *items = json_array();
	struct pod *p;
	size_t it = 0;

	while ((p = pods_next(s, &it)))
		if (p->object && p->in_api)
			json_array_append(items, p->object);
	return json_pack("{s:s,s:s,s:{},s:o}", "apiVersion", "v1", "kind", "PodList", "metadata", "items", items);
}

/* Names become directories: whatever the API server lets through. */
static bool is_path_safe(const char *s)
{
	return *s && *s != '.' && !strchr(s, '/') && strlen(s) <= 253;
}

static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct pods *s = user;
	struct pod *p;

	if (old && (!new || !str_eq(object_uid(old), object_uid(new)))) {
		p = map_get(s->by_uid, object_uid(old));
		if (p)
			pod_set_object(p, NULL);
	}
	if (!new)
		return;
	if (!is_path_safe(object_uid(new)) || !is_path_safe(object_namespace(new)) || !is_path_safe(object_name(new))) {
		log_error("a pod whose name or uid cannot be a directory's is not run: %s/%s (%s)", object_namespace(new),
			  object_name(new), object_uid(new));
		return;
	}
	p = map_get(s->by_uid, object_uid(new));
	if (!p) {
		p = pod_new(s->agent, object_uid(new), object_namespace(new), object_name(new));
		map_set(s->by_uid, p->uid, p);
	}
	pod_set_object(p, new);
}

/* Relisting */

static void relist_in(struct pods *s, uint64_t delay_ms);

static void clean_directory(struct pods *s, const char *dir, bool logs)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		/* logs: NS_NAME_UID; neither namespaces nor names have underscores */
		const char *uid = logs ? strrchr(e->d_name, '_') : e->d_name;
		_cleanup_free_ char *path = NULL;
		_cleanup_err_ struct err err = { 0 };

		if (*e->d_name == '.' || !uid)
			continue;
		uid += logs ? 1 : 0;
		if (map_has(s->by_uid, uid))
			continue;
		path = str_printf("%s/%s", dir, e->d_name);
		log_info("removing what a pod left behind: %s", path);
		if (volumes_remove_tree(path, &err) < 0)
			log_warn("%s", err_msg(&err));
	}
	if (d)
		closedir(d);
}

/* What pods of an earlier life have left behind and no worker knows. */
static void clean_leftovers(struct pods *s)
{
	_cleanup_free_ char *dirs = str_printf("%s/agent/pods", s->agent->o.state);
	_cleanup_free_ char *logs = str_printf("%s/logs/pods", s->agent->o.state);
	_cleanup_strlist_ struct strlist cgroups = { 0 };

	clean_directory(s, dirs, false);
	clean_directory(s, logs, true);
	cgroup_list_pods(s->agent->o.cgroup_root, &cgroups);
	for (size_t i = 0; i < cgroups.count; i++) {
		const char *uid = strstr(cgroups.items[i], "/pod") + strlen("/pod");
		_cleanup_free_ char *path = str_printf("%s/kubepods/%s", s->agent->o.cgroup_root, cgroups.items[i]);

		if (!map_has(s->by_uid, uid))
			(void)cgroup_remove(path, NULL); /* busy: its processes are about to go; next time */
	}
}

static void on_relisted(struct map *all, const char *error, void *user)
{
	struct pods *s = user;
	const char *uid;
	void *value;
	size_t it = 0;

	s->relisting = false;
	if (!all) {
		log_debug("the container runtime cannot be listed: %s", error);
		relist_in(s, RELIST_RETRY_MS);
		return;
	}
	while (map_next(s->by_uid, &it, &uid, &value)) {
		struct pod *p = value;
		struct observed *o = map_get(all, uid);
		uint64_t fingerprint = o ? o->fingerprint : 0;

		if (p->seen && p->seen->fingerprint != fingerprint)
			pod_look(p);
	}
	it = 0;
	while (informer_synced(s->informer) && map_next(all, &it, &uid, &value)) {
		struct observed *o = value;

		if (map_has(s->by_uid, uid))
			continue;
		log_info("pod %s/%s (%s) is unknown to the API: it is being removed", o->ns ? o->ns : "", o->name ? o->name : "",
			 uid);
		map_set(s->by_uid, uid, pod_new(s->agent, uid, o->ns ? o->ns : "", o->name ? o->name : ""));
	}
	map_free(all);
	if (informer_synced(s->informer))
		clean_leftovers(s);
	s->relisted_once = true;
	relist_in(s, s->relist_again ? RELIST_SOON_MS : s->settle ? SETTLE_MS << (SETTLE_LOOKS - s->settle) : RELIST_MS);
	s->relist_again = false;
	if (s->settle)
		s->settle--;
}

static void on_relist(uv_timer_t *t)
{
	struct pods *s = t->data;

	s->relisting = true;
	observe_all(s->agent, on_relisted, s);
}

static void relist_in(struct pods *s, uint64_t delay_ms)
{
	if (s->relisting) {
		s->relist_again = s->relist_again || delay_ms < RELIST_MS;
		return;
	}
	if (!uv_is_active((uv_handle_t *)s->relist) || uv_timer_get_due_in(s->relist) > delay_ms)
		uv_timer_start(s->relist, on_relist, delay_ms, 0);
}

static void on_synced(void *user)
{
	relist_in(user, 0);
}

static bool pod_has(const struct pod *p, const char *id)
{
	for (size_t i = 0; p->seen && i < p->seen->container_count; i++)
		if (str_eq(p->seen->containers[i].id, id))
			return true;
	for (size_t i = 0; p->seen && i < p->seen->sandbox_count; i++)
		if (str_eq(p->seen->sandboxes[i].id, id))
			return true;
	return false;
}

static void on_runtime_event(const char *topic, const char *id, void *user)
{
	struct pods *s = user;
	struct pod *p;
	size_t it = 0;

	while (id && (p = pods_next(s, &it)))
		if (pod_has(p, id)) {
			if (str_eq(topic, "/tasks/exit"))
				pod_look_for_end(p, id);
			else
				pod_look(p);
			return;
		}
	/* Something not seen yet (most often just being made by ourselves), or the stream has begun anew. */
	if (!id)
		s->settle = SETTLE_LOOKS;
	relist_in(s, id ? RELIST_SOON_MS : 0);
}

/* Changes of what pods follow */

struct uses {
	const char *plural, *name;
	bool found;
};

static void compare_use(const char *plural, const char *name, void *user)
{
	struct uses *u = user;

	u->found = u->found || (str_eq(u->plural, plural) && str_eq(u->name, name));
}

static void wake_for_refresh(struct pod *p)
{
	p->refresh = true;
	p->prepare_retry_at_ms = 0;
	for (size_t i = 0; i < p->count; i++)
		if (str_eq(p->containers[i].waiting_reason, "CreateContainerConfigError"))
			p->containers[i].retry_at_ms = 0;
	pod_wake(p);
}

static void on_source(const char *plural, const char *ns, const char *name, void *user)
{
	struct pods *s = user;
	struct pod *p;
	size_t it = 0;

	while ((p = pods_next(s, &it))) {
		struct uses u = { plural, name, false };

		if (!p->object || !str_eq(p->ns, ns))
			continue;
		sources_of_pod(p->object, compare_use, &u);
		if (u.found)
			wake_for_refresh(p);
	}
}

static void on_token(const char *uid, void *user)
{
	struct pods *s = user;
	struct pod *p = map_get(s->by_uid, uid);

	if (p)
		wake_for_refresh(p);
}

static void on_rotate(uv_timer_t *t)
{
	struct pods *s = t->data;
	struct pod *p;
	size_t it = 0;

	while ((p = pods_next(s, &it)))
		for (size_t i = 0; p->seen && i < p->seen->container_count; i++)
			if (p->seen->containers[i].state == PLAN_RUNNING)
				logs_rotate(s->agent, p->seen->containers[i].id, p->seen->containers[i].log_path);
}

struct pods *pods_new(struct agent *a)
{
	struct pods *s = mem_new(struct pods);
	_cleanup_free_ char *selector = str_printf("spec.nodeName=%s", a->o.node_name);
	struct informer_options o = { .size = sizeof(o), .api_version = "v1", .plural = "pods", .field_selector = selector };
	struct informer_handler h = { .on_change = on_pod, .on_synced = on_synced, .user = s };

	s->agent = a;
	a->pods = s;
	s->by_uid = map_new(free_pod);
	s->relist = mem_new(uv_timer_t);
	s->rotate = mem_new(uv_timer_t);
	BUG_ON(uv_timer_init(&a->loop, s->relist) < 0 || uv_timer_init(&a->loop, s->rotate) < 0);
	s->relist->data = s->rotate->data = s;
	uv_timer_start(s->rotate, on_rotate, ROTATE_MS, ROTATE_MS);
	a->sources = sources_new(a, on_source, s);
	a->tokens = tokens_new(a, on_token, s);
	s->informer = informer_new(a->kube, &o);
	informer_add_handler(s->informer, &h);
	informer_start(s->informer);
	cri_subscribe(a->cri, on_runtime_event, s);
	return s;
}

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

void pods_free(struct pods *s)
{
	if (!s)
		return;
	informer_free(s->informer);
	map_free(s->by_uid);
	uv_close((uv_handle_t *)s->relist, timer_closed);
	uv_close((uv_handle_t *)s->rotate, timer_closed);
	free(s);
}
