// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading URLs, queries and Accept headers. Everything is copied into the request's arena. */
#include "apiserver/http/request.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int decode(struct arena *a, const char *s, size_t len, bool plus_is_space, const char **ret)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	int rc = url_decode(&b, s, len, plus_is_space);
	if (rc)
		return rc;
	*ret = arena_strndup(a, b.data ? b.data : "", b.len);
	return 0;
}

int query_parse(struct arena *a, const char *text, struct query *ret)
{
	struct query q = { 0 };
	size_t n = *text ? 1 : 0;
	for (const char *p = text; *p; p++)
		n += *p == '&';
	if (n > QUERY_MAX_PARAMS)
		return -E2BIG;
	q.items = arena_alloc(a, (n + 1) * sizeof(*q.items));
	while (*text) {
		size_t len = strcspn(text, "&");
		const char *eq = memchr(text, '=', len);
		size_t name_len = eq ? (size_t)(eq - text) : len;
		if (len) {
			struct query_param *p = &q.items[q.count];
			int rc = decode(a, text, name_len, true, &p->name);
			p->value = "";
			if (!rc && eq)
				rc = decode(a, eq + 1, len - name_len - 1, true, &p->value);
			if (rc)
				return rc;
			q.count++;
		}
		text += len;
		if (*text)
			text++;
	}
	*ret = q;
	return 0;
}

const char *query_get(const struct query *q, const char *name)
{
	for (size_t i = 0; i < q->count; i++)
		if (str_eq(q->items[i].name, name))
			return q->items[i].value;
	return NULL;
}

bool query_true(const struct query *q, const char *name)
{
	const char *v = query_get(q, name);
	/* As upstream's conversion of query parameters: everything but "false" and "0" is true. */
	return v && strcasecmp(v, "false") != 0 && !str_eq(v, "0");
}

const char *api_verb_name(enum api_verb verb)
{
	static const char *const names[API_VERB_MAX] = { "get", "list", "watch", "create", "update", "patch", "delete",
		"deletecollection" };
	return names[verb];
}

static enum api_verb verb_of(const char *method, const struct url_info *u, const struct query *q)
{
	bool named = *u->name != '\0';
	if (str_eq(method, "POST"))
		return API_CREATE;
	if (str_eq(method, "PUT"))
		return API_UPDATE;
	if (str_eq(method, "PATCH"))
		return API_PATCH;
	if (str_eq(method, "DELETE"))
		return named ? API_DELETE : API_DELETECOLLECTION;
	if (u->watch_path)
		return API_WATCH;
	if (named)
		return API_GET;
	return query_true(q, "watch") ? API_WATCH : API_LIST;
}

enum { MAX_PARTS = 64 };

static int split(struct arena *a, const char *raw, const char **parts, size_t *ret_count)
{
	size_t n = 0;
	while (*raw) {
		size_t len;
		int rc;
		if (*raw == '/') {
			raw++;
			continue;
		}
		if (n == MAX_PARTS)
			return -EINVAL;
		len = strcspn(raw, "/");
		rc = decode(a, raw, len, false, &parts[n]);
		if (rc)
			return rc;
		n++;
		raw += len;
	}
	*ret_count = n;
	return 0;
}

int url_info_parse(struct arena *a, const char *method, const char *raw_path, const struct query *q, struct url_info *ret)
{
	struct url_info u = { .group = "", .version = "", .plural = "", .ns = "", .name = "", .sub = "", .rest = "" };
	const char *parts[MAX_PARTS], **p = parts;
	size_t n = 0;
	int rc = decode(a, raw_path, strlen(raw_path), false, &u.path);
	if (!rc)
		rc = split(a, raw_path, parts, &n);
	if (rc)
		return rc;
	size_t path_len = strlen(u.path);
	if (path_len > 1 && u.path[path_len - 1] == '/')
		u.path = arena_strndup(a, u.path, path_len - 1);
	if (n >= 3 && str_eq(parts[0], "api")) {
		u.version = parts[1];
		p += 2;
		n -= 2;
	} else if (n >= 4 && str_eq(parts[0], "apis")) {
		u.group = parts[1];
		u.version = parts[2];
		p += 3;
		n -= 3;
	} else {
		*ret = u;
		return 0;
	}
	u.is_resource = true;
	if (str_eq(p[0], "watch") && n > 1) {
		u.watch_path = true;
		p++;
		n--;
	}
	if (str_eq(p[0], "namespaces") && n > 1) {
		u.ns = p[1];
		if (n > 2 && !str_eq(p[2], "status") && !str_eq(p[2], "finalize")) {
			p += 2;
			n -= 2;
		}
	}
	u.plural = p[0];
	if (n > 1)
		u.name = p[1];
	if (n > 2)
		u.sub = p[2];
	if (n > 3) {
		struct strbuf rest = { 0 };
		for (size_t i = 3; i < n; i++) {
			if (i > 3)
				strbuf_addc(&rest, '/');
			strbuf_adds(&rest, p[i]);
		}
		u.rest = arena_strdup(a, rest.data);
		strbuf_done(&rest);
	}
	u.verb = verb_of(method, &u, q);
	*ret = u;
	return 0;
}

/* Accept */

static const char *trimmed(struct arena *a, const char *s, size_t len)
{
	while (len && isspace((unsigned char)*s)) {
		s++;
		len--;
	}
	while (len && isspace((unsigned char)s[len - 1]))
		len--;
	return arena_strndup(a, s, len);
}

struct ranked {
	struct accept_clause clause;
	double q;
	size_t place;
};

static int by_rank(const void *x, const void *y)
{
	const struct ranked *l = x, *r = y;
	if (l->q != r->q)
		return l->q < r->q ? 1 : -1;
	return l->place < r->place ? -1 : l->place > r->place;
}

static void parse_clause(struct arena *a, const char *s, size_t len, struct ranked *out)
{
	size_t part = 0;
	out->clause = (struct accept_clause){ .type = "", .g = "", .v = "", .as = "", .stream = "", .pretty = "" };
	out->q = 1.0;
	for (size_t at = 0; at <= len; part++) {
		const char *semi = memchr(s + at, ';', len - at);
		size_t n = semi ? (size_t)(semi - (s + at)) : len - at;
		const char *text = trimmed(a, s + at, n), *eq = strchr(text, '=');
		at += n + 1;
		if (!part) {
			char *type = arena_strdup(a, text);
			for (char *c = type; *c; c++)
				*c = (char)tolower((unsigned char)*c);
			out->clause.type = type;
		} else if (eq) {
			const char *name = arena_strndup(a, text, (size_t)(eq - text)), *value = eq + 1;
			if (strcasecmp(name, "q") == 0)
				out->q = strtod(value, NULL);
			else if (strcasecmp(name, "g") == 0)
				out->clause.g = value;
			else if (strcasecmp(name, "v") == 0)
				out->clause.v = value;
			else if (strcasecmp(name, "as") == 0)
				out->clause.as = value;
			else if (strcasecmp(name, "stream") == 0)
				out->clause.stream = value;
			else if (strcasecmp(name, "pretty") == 0)
				out->clause.pretty = value;
		}
	}
}

enum { MAX_CLAUSES = 32 };

size_t accept_parse(struct arena *a, const char *accept, struct accept_clause *out, size_t max)
{
	struct ranked ranked[MAX_CLAUSES];
	size_t n = 0;
	while (accept && *accept && n < MAX_CLAUSES) {
		size_t len = strcspn(accept, ",");
		parse_clause(a, accept, len, &ranked[n]);
		ranked[n].place = n;
		if (*ranked[n].clause.type && ranked[n].q > 0)
			n++;
		accept += len;
		if (*accept)
			accept++;
	}
	if (n)
		qsort(ranked, n, sizeof(*ranked), by_rank);
	if (n > max)
		n = max;
	for (size_t i = 0; i < n; i++)
		out[i] = ranked[i].clause;
	return n;
}

static bool as_fits(const char *as, enum media_use use, struct media *m)
{
	if (str_eq(as, "Table") && use != MEDIA_FOR_REVIEW)
		m->as = MEDIA_AS_TABLE;
	else if (str_eq(as, "PartialObjectMetadata") && use != MEDIA_FOR_LIST)
		m->as = MEDIA_AS_PARTIAL;
	else if (str_eq(as, "PartialObjectMetadataList") && use != MEDIA_FOR_OBJECT && use != MEDIA_FOR_REVIEW)
		m->as = MEDIA_AS_PARTIAL_LIST;
	else
		return false;
	/* Rows of a table are not messages: upstream refuses protobuf tables, too. */
	return !(m->as == MEDIA_AS_TABLE && m->format == MEDIA_PROTO);
}

static bool clause_fits(const struct accept_clause *c, enum media_use use, struct media *m)
{
	*m = (struct media){ .pretty = str_eq(c->pretty, "1") };
	if (str_eq(c->type, "application/json") || str_eq(c->type, "*/*") || str_eq(c->type, "application/*"))
		m->format = MEDIA_JSON;
	else if (str_eq(c->type, "application/yaml") && use != MEDIA_FOR_WATCH)
		m->format = MEDIA_YAML;
	else if (str_eq(c->type, "application/vnd.kubernetes.protobuf"))
		m->format = MEDIA_PROTO;
	else
		return false;
	if (*c->stream && (!str_eq(c->stream, "watch") || m->format == MEDIA_YAML))
		return false;
	if (!*c->as)
		return true;
	if (!str_eq(c->g, "meta.k8s.io") || (!str_eq(c->v, "v1") && !str_eq(c->v, "v1beta1")))
		return false;
	m->v1beta1 = str_eq(c->v, "v1beta1");
	return as_fits(c->as, use, m);
}

bool media_negotiate(const char *accept, enum media_use use, struct media *ret)
{
	struct accept_clause clauses[MAX_CLAUSES];
	if (str_empty(accept)) {
		*ret = (struct media){ .format = MEDIA_JSON };
		return true;
	}
	_cleanup_(arena_freep) struct arena *a = arena_new();
	size_t n = accept_parse(a, accept, clauses, MAX_CLAUSES);
	for (size_t i = 0; i < n; i++)
		if (clause_fits(&clauses[i], use, ret))
			return true;
	return false;
}

const char *media_content_type(const struct media *m)
{
	switch (m->format) {
	case MEDIA_YAML:
		return "application/yaml";
	case MEDIA_PROTO:
		return "application/vnd.kubernetes.protobuf";
	case MEDIA_JSON:
	default:
		return "application/json";
	}
}

const char *media_stream_type(const struct media *m)
{
	return m->format == MEDIA_PROTO ? "application/vnd.kubernetes.protobuf;stream=watch" : "application/json";
}
