/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The documents made so far, by key: the room's own part of openapi.h. */
#ifndef KEELSON_APISERVER_OPENAPI_DOCUMENT_H
#define KEELSON_APISERVER_OPENAPI_DOCUMENT_H

#include "apiserver/openapi/openapi.h"
#include "base/str.h"

/* Writes the document for an argument. False: there is none of that name. */
typedef bool (*document_build_fn)(struct strbuf *out, const char *argument);
/* The document under key, built when it is not there. NULL when build says so. */
const struct document *document_get(const char *key, document_build_fn build, const char *argument);
/* Only its ETag; the body is not kept when it had to be built for it. NULL as above. Borrow, lasts. */
const char *document_etag(const char *key, document_build_fn build, const char *argument);
/* Forgets everything: for tests. */
void document_reset(void);

#endif
