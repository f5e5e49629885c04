/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Discovery and OpenAPI documents made from the schema table. Built when first asked for, kept as immutable bytes with
 * a strong ETag (hex of a hash of the content). They are pure functions of the table, so that a document nobody asked
 * for lately is dropped and made again.
 */
#ifndef KEELSON_APISERVER_OPENAPI_H
#define KEELSON_APISERVER_OPENAPI_H

#include "base/mem.h" /* struct bytes */

struct document {
	struct bytes *body; /* borrow until the next call here; bytes_ref() to keep it longer */
	char etag[65];
};
/* Legacy discovery. group_version: "v1" or "apps/v1". NULL when there is no such group or version. server:
 * "192.0.2.1:6443" (for serverAddressByClientCIDRs of /api). */
const struct document *discovery_api_versions(const char *server);     /* GET /api */
const struct document *discovery_group_list(void);		       /* GET /apis */
const struct document *discovery_group(const char *group);	       /* GET /apis/apps */
const struct document *discovery_resources(const char *group_version); /* GET /api/v1, /apis/apps/v1 */
/* Aggregated (apidiscovery.k8s.io/v2): core for /api, the rest for /apis. */
const struct document *discovery_aggregated(bool core);
/* OpenAPI. */
const struct document *openapi_v2_json(void);
const struct document *openapi_v2_proto(void);	     /* gnostic openapi.v2.Document */
const struct document *openapi_v3_index(void);	     /* GET /openapi/v3 */
const struct document *openapi_v3(const char *path); /* "api/v1", "apis/apps/v1"; NULL: unknown */
/* Frees every body nobody asked for since the last call: for a timer of about a minute. ETags are kept. Returns whether
 * something was freed. */
bool openapi_trim(void);

#endif
