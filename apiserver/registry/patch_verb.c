// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PATCH: the current object in the version of the URL, patched, checked like a body and written like an update. The
 * read and the write happen in one turn of the loop, so that a patch without a resourceVersion cannot conflict.
 */
#include <string.h>

#include "apiserver/patch/patch.h"
#include "apiserver/registry/convert.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "kube/object.h"

static json_t *apply_patch(struct call *c, const struct schema_kind *kind, const json_t *current, json_t **ret)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *patch = NULL;
	json_t *status, *patched;
	const char *t = c->content_type;
	bool json_patch = str_eq(t, "application/json-patch+json"), merge = str_eq(t, "application/merge-patch+json");
	bool strategic = str_eq(t, "application/strategic-merge-patch+json");
	if (str_eq(t, "application/apply-patch+yaml") || str_eq(t, "application/apply-patch+cbor"))
		return status_new(415, "UnsupportedMediaType",
				  "server-side apply is not supported by this server: accepted media types include: "
				  "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json");
	if (!json_patch && !merge && !strategic)
		return status_new(415, "UnsupportedMediaType",
				  "the body of the request was in an unknown format - accepted media types include: "
				  "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json");
	status = body_value(c, "patch", &patch);
	if (status)
		return status;
	if (json_patch)
		patched = patch_json(current, patch, &err);
	else if (merge)
		patched = patch_merge(current, patch, &err);
	else
		patched = patch_strategic(kind->message, current, patch, &err);
	if (!patched) {
		status = status_from_err(&err);
		if (err.http_status == 422)
			status_set_empty_details(status);
		return status;
	}
	*ret = patched;
	return NULL;
}

/* What a patch says when it must not change what an object is. */
static json_t *check_identity(struct call *c, const json_t *patched)
{
	if (!str_eq(object_name(patched), c->u.name))
		return status_bad_request("the name of the object (%s) does not match the name on the URL (%s)", object_name(patched),
					  c->u.name);
	return NULL;
}

void verb_patch(struct call *c)
{
	const struct schema_kind *kind = schema_kind_find_gvk(c->r->group, c->r->version, c->r->kind);
	struct write_options o = { .dry_run = c->dry_run, .user = &c->user, .call = c, .sub = *c->u.sub ? c->u.sub : NULL };
	_cleanup_json_ json_t *current = NULL, *patched = NULL;
	struct store_object *latest = NULL;
	json_t *status = registry_find(c->g, c->storage, c->u.ns, c->u.name, &latest);
	call_ref(c);
	if (!status) {
		current = entry_parse(latest);
		convert_object(c->storage, c->r, current);
		status = apply_patch(c, kind, current, &patched);
	}
	if (!status)
		status = body_check(c, kind, patched, NULL);
	if (!status)
		status = check_identity(c, patched);
	if (!status) {
		defaults_apply(c->r, patched);
		convert_object(c->r, c->storage, patched);
		/* A patch that names no version takes the current one; one that does is a precondition. */
		status = registry_update(c->g, c->storage, latest, patched, &o, write_answer_ok, c);
	}
	write_refused(c, status);
}
