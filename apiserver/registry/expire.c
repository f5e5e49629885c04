// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Events live for an hour after their last change. Nothing is parsed to know that: each minute's revision is noted, and an Event whose
 * revision is not above the one noted an hour ago has not changed since. After a restart the hour starts anew.
 */
#include "apiserver/registry/registry.h"
#include "base/log.h"

enum { EXPIRE_AT_ONCE = 1000 };

void events_expire_minute(struct registry *g)
{
	uint64_t *slot = &g->minutes[g->minute_count % EVENTS_TTL_MINUTES], floor = *slot;
	size_t n, removed = 0;
	struct store_object **all = store_objects(g->store, g->events->id, &n);
	*slot = store_revision(g->store);
	if (g->minute_count++ < EVENTS_TTL_MINUTES)
		return;
	for (size_t i = 0; i < n && removed < EXPIRE_AT_ONCE; i++) {
		struct store_object *latest = all[i]->revision <= floor ? store_latest(g->store, g->events->id, all[i]->key) : NULL;
		if (!latest || latest->revision > floor)
			continue;
		_cleanup_json_ json_t *v = entry_parse(latest);
		json_t *status = registry_remove(g, g->events, latest, v, false, NULL, NULL);
		json_decref(status);
		removed++;
	}
	if (removed)
		log_debug("%zu events expired", removed);
}
