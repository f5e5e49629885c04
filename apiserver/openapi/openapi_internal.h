/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the OpenAPI documents share. */
#ifndef KEELSON_APISERVER_OPENAPI_INTERNAL_H
#define KEELSON_APISERVER_OPENAPI_INTERNAL_H

#include "apiserver/openapi/openapi_writer.h"
#include "kube/schema.h"

enum { OPENAPI_MAX_MESSAGES = 2048 };
/* The messages a document defines, by their index in the schema table. */
struct message_set {
	bool has[OPENAPI_MAX_MESSAGES];
};

/* The message and everything its fields name. NULL is nothing. */
void openapi_reach(struct message_set *set, const struct schema_message *m);
/* One definition: an entry of definitions (v2) or components.schemas (v3). */
void openapi_definition(struct writer *w, const struct schema_message *m);
/* The fields of a schema that is a reference to a definition. */
void openapi_reference(struct writer *w, const struct schema_message *m);
/* {"type": ..., "format": ...} of a scalar, as a field of a schema or of a query parameter. */
void openapi_scalar(const struct schema_field *f, const char **ret_type, const char **ret_format);

/* The paths of one group and version, or of all with NULL. */
void openapi_paths(struct writer *w, const char *group_version);
/* What those paths' bodies and answers are. */
void openapi_paths_reach(struct message_set *set, const char *group_version);

#endif
