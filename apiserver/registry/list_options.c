// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading ListOptions. A continue token is upstream's (base64url of {"v","rv","start"}). Ours name the resource besides, so that one
 * that went astray is refused and does not skip objects of another kind.
 */
#include "apiserver/registry/list_options.h"

#include <inttypes.h>
#include <string.h>

#include "apiserver/http/status.h"
#include "apiserver/validate/validate.h"
#include "base/str.h"

#define TOKEN_VERSION "meta.k8s.io/v1"

static void forbidden(struct field_errors *e, const char *field, const char *text)
{
	field_errors_add(e, "FieldValueForbidden", mem_strdup(field), "Forbidden: %s", text);
}

static void check_list(const struct query *q, struct field_errors *e)
{
	const char *rv = query_get(q, "resourceVersion"), *match = query_get(q, "resourceVersionMatch");
	if (!str_empty(match)) {
		if (str_empty(rv))
			forbidden(e, "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
		if (!str_empty(query_get(q, "continue")))
			forbidden(e, "resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
		if (!str_eq(match, "Exact") && !str_eq(match, "NotOlderThan"))
			field_errors_add(e, "FieldValueNotSupported", mem_strdup("resourceVersionMatch"),
					 "Unsupported value: \"%s\": supported values: \"Exact\", \"NotOlderThan\", \"\"", match);
		if (str_eq(match, "Exact") && str_eq(rv, "0"))
			forbidden(e, "resourceVersionMatch",
				  "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	}
	if (query_get(q, "sendInitialEvents"))
		forbidden(e, "sendInitialEvents", "sendInitialEvents is forbidden for list");
}

static void check_watch(const struct query *q, struct field_errors *e)
{
	const char *match = query_get(q, "resourceVersionMatch");
	bool initial = query_get(q, "sendInitialEvents") != NULL;
	if (initial && !str_eq(match, "NotOlderThan"))
		forbidden(e, "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (str_empty(match))
		return;
	if (!initial)
		forbidden(e, "resourceVersionMatch",
			  "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
	if (!str_eq(match, "NotOlderThan"))
		field_errors_add(e, "FieldValueNotSupported", mem_strdup("resourceVersionMatch"),
				 "Unsupported value: \"%s\": supported values: \"NotOlderThan\"", match);
	if (!str_empty(query_get(q, "continue")))
		forbidden(e, "resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
}

static json_t *checked(const struct query *q, void (*check)(const struct query *q, struct field_errors *e))
{
	struct field_errors e = { 0 };
	json_t *status = NULL;
	check(q, &e);
	if (e.count)
		status = field_errors_status(&e, "meta.k8s.io", "ListOptions", "");
	field_errors_done(&e);
	return status;
}

json_t *resource_version_read(const char *text, const char *what, uint64_t *ret)
{
	*ret = 0;
	if (str_empty(text) || str_to_u64(text, UINT64_MAX, ret) == 0)
		return NULL;
	bool digits = text[strspn(text, "0123456789")] == '\0';
	return status_bad_request("%sresourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing \"%s\": %s", what, text, text,
				  digits ? "value out of range" : "invalid syntax");
}

static json_t *read_number(const struct query *q, const char *name, int64_t *ret)
{
	const char *text = query_get(q, name);
	*ret = 0;
	if (str_empty(text) || str_to_i64(text, INT64_MIN, INT64_MAX, ret) == 0)
		return NULL;
	const char *digits = text + (*text == '-' || *text == '+');
	return status_bad_request("strconv.ParseInt: parsing \"%s\": %s", text,
				  *digits && digits[strspn(digits, "0123456789")] == '\0' ? "value out of range" : "invalid syntax");
}

/* The continue token */

static char *place_of(const struct schema_resource *storage)
{
	return str_printf("%s%s%s", storage->group, *storage->group ? "/" : "", storage->plural);
}

char *list_token(const struct schema_resource *storage, int64_t rv, const char *key)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_free_ char *place = place_of(storage);
	struct strbuf out = { 0 };
	strbuf_addf(&text, "{\"v\":\"" TOKEN_VERSION "\",\"rv\":%" PRId64 ",\"start\":", rv);
	strbuf_add_json(&text, key, strlen(key));
	strbuf_addf(&text, ",\"of\":\"%s\"}", place);
	base64url_encode(&out, text.data, text.len);
	return strbuf_take(&out);
}

static json_t *bad_token(const char *why)
{
	return status_bad_request("invalid continue token: continue key is not valid: %s", why);
}

static json_t *read_token(struct arena *a, const char *token, const struct schema_resource *storage, struct list_options *o)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_json_ json_t *v = NULL;
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *place = place_of(storage);
	if (base64url_decode(&text, token, strlen(token)) < 0)
		return bad_token("it is not base64url");
	v = json_parse_peer(text.data ? text.data : "", text.len, NULL, &err);
	if (!json_is_object(v))
		return bad_token(v ? "it is no JSON object" : err_msg(&err));
	const char *start = json_string_value(json_object_get(v, "start"));
	const char *of = json_string_value(json_object_get(v, "of"));
	json_int_t rv = json_integer_value(json_object_get(v, "rv"));
	if (!str_eq(json_string_value(json_object_get(v, "v")), TOKEN_VERSION))
		return bad_token("server does not recognize this encoded version");
	if (!rv)
		return bad_token("incorrect encoded start resourceVersion (version " TOKEN_VERSION ")");
	if (str_empty(start))
		return bad_token("encoded start key empty (version " TOKEN_VERSION ")");
	if (of && !str_eq(of, place))
		return bad_token("it was given for another resource");
	o->start = arena_strdup(a, start);
	o->token_current = rv < 0;
	o->has_revision = o->exact = !o->token_current;
	o->revision = o->token_current ? 0 : (uint64_t)rv;
	return NULL;
}

json_t *list_options_read(struct arena *a, const struct query *q, const struct schema_resource *storage, struct list_options *ret)
{
	const char *rv = query_get(q, "resourceVersion"), *match = query_get(q, "resourceVersionMatch");
	const char *token = query_get(q, "continue");
	struct list_options o = { .continued = !str_empty(token) };
	int64_t limit, timeout;
	json_t *status = read_number(q, "limit", &limit);
	if (!status)
		status = read_number(q, "timeoutSeconds", &timeout);
	if (!status)
		status = checked(q, check_list);
	if (status)
		return status;
	o.limit = limit > 0 ? (uint64_t)limit : 0; /* as upstream: a negative limit is none */
	if (o.continued) {
		status = read_token(a, token, storage, &o);
		if (!status && !str_empty(rv) && !str_eq(rv, "0"))
			status = status_bad_request("specifying resource version is not allowed when using continue");
	} else {
		status = resource_version_read(rv, "invalid resource version: ", &o.revision);
		o.has_revision = o.revision > 0;
		/* A limit without a match asks for that revision, as clients did before there was a match. */
		o.exact = o.has_revision && (str_eq(match, "Exact") || (str_empty(match) && o.limit));
	}
	*ret = o;
	return status;
}

json_t *watch_options_read(const struct query *q, struct watch_query *ret)
{
	struct watch_query o = { .bookmarks = query_true(q, "allowWatchBookmarks") };
	const char *initial = query_get(q, "sendInitialEvents");
	int64_t limit;
	json_t *status = read_number(q, "limit", &limit);
	if (!status)
		status = read_number(q, "timeoutSeconds", &o.timeout_s);
	if (!status)
		status = checked(q, check_watch);
	if (!status)
		status = resource_version_read(query_get(q, "resourceVersion"), "", &o.from);
	o.initial = initial ? query_true(q, "sendInitialEvents") : o.from == 0;
	o.initial_end = o.initial && initial && o.bookmarks;
	*ret = o;
	return status;
}
