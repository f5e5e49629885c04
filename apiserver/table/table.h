/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Server-side tables: the columns of reference printer-columns, from objects. Pure; ages are relative to now_s. */
#ifndef KEELSON_APISERVER_TABLE_H
#define KEELSON_APISERVER_TABLE_H

#include "kube/json.h"
#include "kube/schema.h"

enum table_include { TABLE_INCLUDE_METADATA, TABLE_INCLUDE_NONE, TABLE_INCLUDE_OBJECT };
/* "columnDefinitions" as JSON text (a literal array, cached per resource). */
const char *table_columns(const struct schema_resource *r);
/* Appends one row object ({"cells":[...],"conditions":[...],"object":{...}}) to out. object_text (may be NULL) is the
 * stored JSON of the object, used for TABLE_INCLUDE_OBJECT instead of writing it again. */
void table_row(const struct schema_resource *r, const json_t *object, const char *object_text, size_t object_len,
	       enum table_include include, int64_t now_s, struct strbuf *out);
/* Kubernetes' HumanDuration. */
void human_duration(int64_t seconds, char out[static 32]);

#endif
