/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tools/schemac generates; lib/kube/schema.c is its only user. Texts are offsets into one blob, so that they need
 * no relocation and their pages are read only when somebody asks for a description. */
#ifndef KEELSON_KUBE_SCHEMA_TABLES_H
#define KEELSON_KUBE_SCHEMA_TABLES_H

#include "kube/schema.h"

struct schema_texts {
	uint16_t doc, go_type, default_json, enums; /* offsets into schema_text; 0: none */
};
extern const char schema_text[];
extern const struct schema_field schema_fields[]; /* message after message, in the order of schema_messages */
extern const size_t schema_field_total;
extern const struct schema_texts schema_field_texts[]; /* parallel to schema_fields */
extern const uint8_t schema_field_order[];	       /* per message: its fields' indexes sorted by name */
extern const struct schema_message schema_messages[];  /* sorted by name */
extern const size_t schema_message_total;
extern const uint16_t schema_message_docs[];
extern const struct schema_kind schema_kinds[]; /* sorted by kind, group, version */
extern const size_t schema_kind_total;
extern const struct schema_resource schema_resources[]; /* in discovery's order */
extern const size_t schema_resource_total;
extern const uint8_t schema_resource_order[]; /* indexes sorted by plural, group, version */

#endif
