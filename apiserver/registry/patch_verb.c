// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PATCH: the current object in the version of the URL, patched, checked like a body and written like an update. The
 * read and the write happen in one turn of the loop, so that a patch without a resourceVersion cannot conflict. An applied
 * configuration (KEP-555) goes the same way, or creates what does not exist.
 */
#include <ctype.h>
#include <string.h>

#include "apiserver/auth/authz.h"
#include "apiserver/patch/patch.h"
#include "apiserver/registry/convert.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "kube/object.h"

/* twice: of merge patches, what they set twice stands where it does in the object. */
static json_t *apply_patch(struct call *c, const struct schema_kind *kind, const json_t *current, struct strlist *twice, json_t **ret)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *patch = NULL;
	json_t *status, *patched;
	const char *t = c->content_type;
	bool json_patch = str_eq(t, "application/json-patch+json"), merge = str_eq(t, "application/merge-patch+json");
	bool strategic = str_eq(t, "application/strategic-merge-patch+json");
	if (!json_patch && !merge && !strategic)
		return status_new(415, "UnsupportedMediaType",
				  "the body of the request was in an unknown format - accepted media types include: "
				  "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
				  "application/apply-patch+yaml");
	status = body_value(c, "patch", json_patch ? NULL : twice, &patch);
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

/* ---- server-side apply */

static bool is_json(const char *text, size_t len)
{
	size_t i = 0;
	while (i < len && isspace((unsigned char)text[i]))
		i++;
	return i < len && text[i] == '{';
}

/* A configuration is YAML to Kubernetes, JSON too: keys that are set again are named by their lines. */
static json_t *report_twice(struct call *c)
{
	_cleanup_strlist_ struct strlist lines = { 0 };
	_cleanup_strbuf_ struct strbuf text = { 0 };
	if (c->field_validation == FIELD_VALIDATION_IGNORE)
		return NULL;
	json_decref(yaml_parse_peer_strict(c->body, c->body_len, &lines, NULL));
	for (size_t i = 0; i < lines.count; i++) {
		if (c->field_validation == FIELD_VALIDATION_WARN)
			call_warn(c, "%s", lines.items[i]);
		strbuf_addf(&text, "\n  %s", lines.items[i]);
	}
	if (!lines.count || c->field_validation != FIELD_VALIDATION_STRICT)
		return NULL;
	return status_bad_request("error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:%s", text.data);
}

/* The configuration, as the client sent it: normalized, nothing defaulted. */
static json_t *read_config(struct call *c, const struct schema_kind *kind, json_t **ret)
{
	_cleanup_strlist_ struct strlist twice = { 0 };
	json_t *status = body_value(c, "patch", &twice, ret);
	/* JSON is read as YAML again only when there is something to name. */
	if (!status && (twice.count || !is_json(c->body, c->body_len)))
		status = report_twice(c);
	if (status)
		return status;
	if (!status && (str_empty(json_str(*ret, "kind")) || str_empty(json_str(*ret, "apiVersion"))))
		return status_bad_request("error decoding patch: an applied configuration needs apiVersion and kind");
	if (!status)
		status = body_check(c, kind, *ret, NULL);
	if (status)
		return status;
	if (str_empty(object_name(*ret)))
		json_set_str(*ret, "metadata.name", c->u.name);
	status = check_identity(c, *ret);
	if (!status && c->storage->namespaced && !str_empty(object_namespace(*ret)) && !str_eq(object_namespace(*ret), c->u.ns))
		status = status_bad_request("the namespace of the provided object does not match the namespace sent on the request");
	return status;
}

/* Whoever applies what does not exist creates it, and must be allowed to. */
static json_t *may_create(struct call *c)
{
	const struct authz_attributes a = { .is_resource = true, .verb = "create", .group = c->u.group, .version = c->u.version,
		.resource = c->u.plural, .subresource = "", .ns = c->u.ns, .name = c->u.name, .path = "" };
	if (authz_allowed(c->g, &c->user, &a, NULL))
		return NULL;
	_cleanup_free_ char *text = str_printf("User \"%s\" cannot create resource \"%s\" in API group \"%s\"%s%s%s", c->user.name,
					       c->u.plural, c->u.group, *c->u.ns ? " in the namespace \"" : "", c->u.ns,
					       *c->u.ns ? "\"" : " at the cluster scope");
	return status_forbidden(c->r, c->u.name, text);
}

static json_t *apply(struct call *c, const struct schema_kind *kind)
{
	struct write_options o = { .dry_run = c->dry_run, .user = &c->user, .call = c, .sub = *c->u.sub ? c->u.sub : NULL,
		.applied = true };
	_cleanup_free_ char *key = entry_key(c->storage, c->u.ns, c->u.name);
	struct store_object *latest = store_latest(c->g->store, c->storage->id, key);
	_cleanup_json_ json_t *config = NULL, *live = latest ? entry_parse(latest) : NULL, *object = NULL;
	struct managers m;
	json_t *status = read_config(c, kind, &config);
	if (!status && !latest)
		status = o.sub ? status_not_found(c->storage, c->u.name) : may_create(c);
	if (status)
		return status;
	/* Fields are those of the storage version; a configuration in another one is converted like a body. */
	convert_object(c->r, c->storage, config);
	managers_request(c, &m);
	object = managed_apply(&m.q, live, config, &status);
	if (!object)
		return status;
	defaults_apply(c->storage, object);
	if (latest)
		return registry_update(c->g, c->storage, latest, object, &o, write_answer_ok, c);
	return registry_create(c->g, c->storage, c->u.ns, object, &o, write_answer_created, c);
}

void verb_patch(struct call *c)
{
	const struct schema_kind *kind = schema_kind_find_gvk(c->r->group, c->r->version, c->r->kind);
	struct write_options o = { .dry_run = c->dry_run, .user = &c->user, .call = c, .sub = *c->u.sub ? c->u.sub : NULL };
	_cleanup_strlist_ struct strlist twice = { 0 };
	_cleanup_json_ json_t *current = NULL, *patched = NULL;
	struct store_object *latest = NULL;
	if (str_eq(c->content_type, "application/apply-patch+yaml")) {
		call_ref(c);
		write_refused(c, apply(c, kind));
		return;
	}
	json_t *status = registry_find(c->g, c->storage, c->u.ns, c->u.name, &latest);
	call_ref(c);
	if (!status) {
		current = entry_parse(latest);
		convert_object(c->storage, c->r, current);
		status = apply_patch(c, kind, current, &twice, &patched);
	}
	if (!status)
		status = body_check(c, kind, patched, &twice);
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
