// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Since when a change waits to be written: what is annotated as last-change-trigger-time, from which proxies measure how long the
 * network took to follow. A pod's change is the last transition of its condition Ready, a Service's its creation.
 */
#include "base/map.h"
#include "base/mem.h"
#include "controllers/endpoints.h"
#include "kube/object.h"

struct service_times {
	int64_t service_s;
	struct map *pods; /* name -> int64_t *, own */
};
struct endpoints_triggers {
	struct map *services; /* key -> struct service_times */
};

static void times_free(void *p)
{
	struct service_times *t = p;

	map_free(t->pods);
	free(t);
}

struct endpoints_triggers *endpoints_triggers_new(void)
{
	struct endpoints_triggers *t = mem_new(struct endpoints_triggers);

	t->services = map_new(times_free);
	return t;
}

struct endpoints_triggers *endpoints_triggers_free(struct endpoints_triggers *t)
{
	if (t)
		map_free(t->services);
	free(t);
	return NULL;
}

void endpoints_triggers_forget(struct endpoints_triggers *t, const char *key)
{
	map_del(t->services, key);
}

/* The earlier of two times, 0 meaning none. */
static int64_t earlier(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

int64_t endpoints_triggers_next_s(struct endpoints_triggers *t, const char *key, const json_t *service,
				  const struct object_list *pods)
{
	struct service_times *had = map_get(t->services, key), *now = mem_new(struct service_times);
	int64_t first_s = 0;

	now->pods = map_new(free);
	now->service_s = object_time_s(service, "metadata.creationTimestamp", 0);
	for (size_t i = 0; i < pods->count; i++) {
		const json_t *pod = pods->items[i];
		int64_t *was = had ? map_get(had->pods, object_name(pod)) : NULL;
		int64_t at_s = object_time_s(object_condition(pod, "Ready"), "lastTransitionTime", 0);

		if (!map_selects(json_at(service, "spec.selector"), object_labels(pod)))
			continue;
		map_set(now->pods, object_name(pod), mem_dup(&at_s, sizeof(at_s)));
		if (at_s && (!was || at_s > *was))
			first_s = earlier(first_s, at_s);
	}
	/* At the first look the pods are older than the Service's endpoints: its making is the change. */
	if (!had)
		first_s = now->service_s;
	map_set(t->services, key, now);
	return first_s;
}
