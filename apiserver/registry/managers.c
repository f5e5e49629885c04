// SPDX-License-Identifier: GPL-2.0-or-later
/* What the record of managers (apiserver/apply) needs of a request. */
#include <stdio.h>
#include <string.h>

#include "apiserver/registry/registry.h"
#include "base/clock.h"
#include "base/mem.h"

/* Who writes: fieldManager, else the client's name, which is its User-Agent up to the first slash. */
static void manager_name(const struct call *c, char out[static MANAGED_MAX_NAME + 1])
{
	const char *given = query_get(&c->q, "fieldManager");
	const char *name = str_empty(given) ? c->user_agent : given;
	size_t len = str_empty(given) ? strcspn(name, "/") : strlen(name);
	if (!len) {
		name = "unknown";
		len = strlen(name);
	}
	snprintf(out, MANAGED_MAX_NAME + 1, "%.*s", (int)MIN(len, (size_t)MANAGED_MAX_NAME), name);
}

void managers_request(const struct call *c, struct managers *ret)
{
	const struct schema_kind *kind = schema_kind_find_gvk(c->storage->group, c->storage->version, c->storage->kind);
	manager_name(c, ret->name);
	clock_format_rfc3339(clock_wall_s(), ret->now);
	/* The fields are named as the storage version names them, whatever view the client has. */
	schema_api_version(c->storage->group, c->storage->version, ret->api_version);
	ret->q = (struct managed_request){
		.message = kind ? kind->message : NULL,
		.manager = ret->name,
		.api_version = ret->api_version,
		.sub = c->u.sub,
		.now = ret->now,
		.has_status_sub = schema_subresource_find(c->storage, "status") != NULL,
		.force = query_true(&c->q, "force"),
	};
}

void managers_note(const struct call *c, const json_t *old, json_t *object)
{
	struct managers m;
	managers_request(c, &m);
	if (m.q.message)
		managed_update(&m.q, old, object);
}
