/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three patches: RFC 6902, RFC 7396, and Kubernetes' strategic merge with all its directives. Pure. */
#ifndef KEELSON_APISERVER_PATCH_H
#define KEELSON_APISERVER_PATCH_H

#include "kube/json.h"
#include "kube/schema.h"

/* Each returns a new value (own), leaving its inputs as they are, or NULL with err (http status, reason and text as
 * Kubernetes words them: 400 BadRequest for a malformed patch, 422 Invalid for one that cannot be applied). At most
 * 10,000 JSON patch operations (413). */
json_t *patch_json(const json_t *object, const json_t *ops, struct err *err);
json_t *patch_merge(const json_t *object, const json_t *patch, struct err *err);
json_t *patch_strategic(const struct schema_message *m, const json_t *object, const json_t *patch, struct err *err);

#endif
