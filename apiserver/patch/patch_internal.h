/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the three patches share. */
#ifndef KEELSON_APISERVER_PATCH_INTERNAL_H
#define KEELSON_APISERVER_PATCH_INTERNAL_H

#include <errno.h>

#include "apiserver/patch/patch.h"

enum { PATCH_MAX_DEPTH = 512 };

/* The 422 that Kubernetes gives for a patch that does not fit the object, whatever the cause. Returns -EINVAL. */
int patch_cannot_apply(struct err *err);
/* "object", "array", "string", "number", "bool" or "null". */
const char *patch_type_name(const json_t *v);
/* Levels of objects and arrays: 0 for a scalar. */
size_t patch_json_depth(const json_t *v);
/* RFC 7396 on target (may be NULL), which is moved and changed. Own. */
json_t *patch_merge_into(json_t *target, const json_t *patch);

#endif
