/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metadata.managedFields: who set which field, kept by every write, and server-side apply on top of it (KEP-555). Pure: the
 * time is given. An entry is one manager, operation and subresource (for updates also the version).
 */
#ifndef KEELSON_APISERVER_APPLY_MANAGED_H
#define KEELSON_APISERVER_APPLY_MANAGED_H

#include "kube/json.h"
#include "kube/schema.h"

enum { MANAGED_MAX_NAME = 128, MANAGED_MAX_UPDATERS = 10 };
struct managed_request {
	const struct schema_message *message;
	const char *manager;      /* fieldManager, or the client's name */
	const char *api_version;  /* whose field names these are */
	const char *sub;          /* subresource; NULL or "": the object itself */
	const char *now;          /* RFC 3339 */
	bool has_status_sub;      /* status is another subresource's: writes to the object itself do not own it */
	bool force;               /* apply: take fields over from others */
};

/*
 * An ordinary write: old (NULL: a create) becomes object, whose metadata.managedFields are set. What the client wrote there
 * itself counts when it is a valid list; an empty one, or one empty entry, stops the record (as upstream, until somebody applies).
 */
void managed_update(const struct managed_request *q, const json_t *old, json_t *object);
/*
 * Applies config (normalized, without defaults) to live (NULL: it is to be created). Own: the object with its managedFields, or
 * NULL with *ret_status (own): 409 with each conflicting field, or 400/422 for a configuration that cannot be applied.
 */
json_t *managed_apply(const struct managed_request *q, const json_t *live, const json_t *config, json_t **ret_status);

#endif
