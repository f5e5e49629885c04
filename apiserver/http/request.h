/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a request asks for: the parts of a Kubernetes URL, the query's parameters, and the media type it wants. Pure.
 */
#ifndef KEELSON_APISERVER_HTTP_REQUEST_H
#define KEELSON_APISERVER_HTTP_REQUEST_H

#include "base/mem.h"
#include "kube/json.h"
#include "kube/schema.h"

struct query {
	struct query_param {
		const char *name, *value;
	} *items;
	size_t count;
};
enum { QUERY_MAX_PARAMS = 256 };
/* Decodes into the arena. -EINVAL for a broken escape, -E2BIG beyond QUERY_MAX_PARAMS. */
int query_parse(struct arena *a, const char *text, struct query *ret);
const char *query_get(const struct query *q, const char *name); /* first; NULL */
bool query_true(const struct query *q, const char *name);       /* "true", "1", or present and empty */

enum api_verb {
	API_GET, API_LIST, API_WATCH, API_CREATE, API_UPDATE, API_PATCH, API_DELETE, API_DELETECOLLECTION,
	API_VERB_MAX,
};
const char *api_verb_name(enum api_verb verb);

/* All strings live in the arena; "" when absent. */
struct url_info {
	bool is_resource;                    /* else only `path` counts */
	bool watch_path;                     /* the deprecated /api/v1/watch/... */
	const char *path;                    /* decoded, without a trailing slash (but "/") */
	const char *group, *version, *plural, *ns, *name, *sub;
	const char *rest;                    /* what follows the subresource (proxy), without the leading slash */
	enum api_verb verb;
};
/* -EINVAL: the path is not decodable. A path that is shaped like a resource's is one whether or not it exists. */
int url_info_parse(struct arena *a, const char *method, const char *raw_path, const struct query *q, struct url_info *ret);

enum media_format { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTO };
enum media_as { MEDIA_AS_OBJECT, MEDIA_AS_TABLE, MEDIA_AS_PARTIAL, MEDIA_AS_PARTIAL_LIST };
struct media {
	enum media_format format;
	enum media_as as;
	bool v1beta1;        /* Table of meta.k8s.io/v1beta1 */
	bool pretty;
};
/* What the answer is: it decides which as= fits, and YAML has no stream. MEDIA_FOR_ANY: an object, a list or a Status. MEDIA_FOR_REVIEW: what is
 * answered and not kept; it has no columns. */
enum media_use { MEDIA_FOR_OBJECT, MEDIA_FOR_LIST, MEDIA_FOR_WATCH, MEDIA_FOR_ANY, MEDIA_FOR_REVIEW };
/* The first acceptable clause of an Accept header (NULL, "": JSON), higher q first. False: nothing is acceptable. */
bool media_negotiate(const char *accept, enum media_use use, struct media *ret);
const char *media_content_type(const struct media *m); /* literal */
const char *media_stream_type(const struct media *m);  /* of a watch; literal */

/* One clause of an Accept header after another, in order of preference (q, then place); used for documents. type and params are
 * lower-cased slices in the arena. */
struct accept_clause {
	const char *type;                 /* "application/json" */
	const char *g, *v, *as, *stream, *pretty; /* parameters, "" when absent */
};
size_t accept_parse(struct arena *a, const char *accept, struct accept_clause *out, size_t max);

#endif
