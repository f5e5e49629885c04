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
	size_t removed = 0;
	*slot = store_revision(g->store);
	if (g->minute_count++ < EVENTS_TTL_MINUTES)
		return;
	struct store_iter it = store_iterate(g->store, g->events->id, NULL);
	for (struct store_object *o; removed < EXPIRE_AT_ONCE && (o = store_next(&it));) {
		struct store_object *latest = o->revision <= floor ? store_latest(g->store, g->events->id, o->key) : NULL;
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
