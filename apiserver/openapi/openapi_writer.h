/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One way to write a document in two forms: JSON (OpenAPI v2 and v3) and gnostic's protobuf (openapi.v2, fields by the
 * numbers of OpenAPIv2.proto). Every call names both the JSON key and the protobuf number. The differences between the
 * forms (maps are lists of name and value in protobuf, free values are YAML text, some lists stand in messages of their
 * own) are hidden here; JSON text is valid YAML.
 */
#ifndef KEELSON_APISERVER_OPENAPI_WRITER_H
#define KEELSON_APISERVER_OPENAPI_WRITER_H

#include "base/str.h"

enum openapi_form { OPENAPI_V2_JSON, OPENAPI_V2_PROTO, OPENAPI_V3_JSON };
struct writer {
	struct strbuf *out;
	enum openapi_form form;
};
static inline bool writer_is_v3(const struct writer *w)
{
	return w->form == OPENAPI_V3_JSON;
}

/* Values; a NULL text writes nothing. */
void writer_text(struct writer *w, const char *key, unsigned number, const char *text);
void writer_true(struct writer *w, const char *key, unsigned number);
/* A free value given as JSON text. */
void writer_any(struct writer *w, const char *key, unsigned number, const char *json);
/* "x-...": vendor extensions; number is that of the vendor_extension list. */
void writer_extension(struct writer *w, unsigned number, const char *key, const char *json);
/* A list of strings in an array, NUL-terminated by NULL. */
void writer_texts(struct writer *w, const char *key, unsigned number, const char *const *texts);

/* An object under a key; what it returns goes to writer_close(). */
size_t writer_open(struct writer *w, const char *key, unsigned number);
void writer_close(struct writer *w, size_t at);
/* An object that is an element of a list, between writer_list() and writer_list_end() (nothing in protobuf). */
size_t writer_element(struct writer *w, unsigned number);
void writer_list(struct writer *w, const char *key);
void writer_list_end(struct writer *w);
/* A message that only protobuf has around what follows. */
size_t writer_only_proto(struct writer *w, unsigned number);
void writer_only_proto_end(struct writer *w, size_t at);
/* An entry of a map: {name = 1, value = 2} in the list with that number. */
struct writer_entry {
	size_t outer, inner;
};
struct writer_entry writer_entry(struct writer *w, const char *name, unsigned number);
void writer_entry_end(struct writer *w, struct writer_entry e);

#endif
