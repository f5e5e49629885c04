/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How objects are written for a client: JSON, YAML or protobuf; the object, its metadata or a table; in the version it asked. */
#ifndef KEELSON_APISERVER_HTTP_FORM_H
#define KEELSON_APISERVER_HTTP_FORM_H

#include "apiserver/http/request.h"
#include "apiserver/watch/hub.h"

struct watch_form form_of(const struct schema_resource *view, const struct media *m, const struct query *q);
/* An object in the form: the whole body of an answer (own). */
struct bytes *form_object(const struct watch_form *form, struct store_object *o, uint64_t revision);
/* A list in the form. token may be NULL, remaining < 0: not told. Own. */
struct bytes *form_list(const struct watch_form *form, struct store_object *const *objects, size_t count, uint64_t revision,
			const char *token, int64_t remaining);
/* True when a list in this form can be written item by item: form_list_head(), the items with commas between them, "]}". */
bool form_is_streamed(const struct watch_form *form);
void form_list_head(const struct watch_form *form, uint64_t revision, const char *token, int64_t remaining, struct strbuf *out);
void form_list_item(const struct watch_form *form, struct store_object *o, int64_t now_s, struct strbuf *out);
/* A value with kind and apiVersion in a format. False when it has no protobuf form (err says why). */
bool form_value(enum media_format format, bool pretty, const json_t *value, struct strbuf *out, struct err *err);
extern const struct watch_encoder form_watch_encoder;

#endif
