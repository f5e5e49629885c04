// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Subresources that are views of the object: status and its like go through the ordinary update with the strategy of that
 * subresource; scale is a small object of its own made from and written into spec.replicas.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/patch/patch.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "kube/object.h"
#include "kube/selector.h"

void subresource_object(struct call *c)
{
	if (c->u.verb == API_GET)
		verb_get(c);
	else if (c->u.verb == API_PATCH)
		verb_patch(c);
	else if (c->u.verb == API_UPDATE)
		verb_update(c);
	else
		answer_status(c, status_method_not_allowed(c->r));
}

static char *selector_text(const struct schema_resource *r, const json_t *o)
{
	struct strbuf text = { 0 };
	json_t *s = json_at(o, "spec.selector");
	struct selector *sel = resource_is(r, "", "replicationcontrollers") ? selector_from_map(s)
									    : selector_from_label_selector(s, NULL);
	if (sel && s)
		selector_write(sel, &text);
	selector_free(sel);
	return strbuf_take(&text);
}

static json_t *scale_of(const struct schema_resource *r, const json_t *o)
{
	static const char *const kept[] = { "name", "namespace", "uid", "resourceVersion", "creationTimestamp" };
	json_t *metadata = json_object(), *from = json_object_get(o, "metadata");
	json_t *spec = json_object(), *status = json_object();
	_cleanup_free_ char *selector = selector_text(r, o);
	int64_t replicas = json_int(o, "spec.replicas", 0);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (json_object_get(from, kept[i]))
			json_object_set(metadata, kept[i], json_object_get(from, kept[i]));
	if (replicas)
		json_object_set_new(spec, "replicas", json_integer(replicas));
	json_object_set_new(status, "replicas", json_integer(json_int(o, "status.replicas", 0)));
	if (*selector)
		json_object_set_new(status, "selector", json_string(selector));
	return json_pack("{s:s,s:s,s:o,s:o,s:o}", "kind", "Scale", "apiVersion", "autoscaling/v1", "metadata", metadata, "spec",
			 spec, "status", status);
}

static void on_scaled(struct write_result *r, void *user)
{
	struct call *c = user;
	if (write_retried(r, c))
		return;
	if (r->status) {
		answer_status(c, TAKE(r->status));
	} else {
		_cleanup_json_ json_t *o = entry_parse(r->object);
		answer_value(c, 200, scale_of(c->storage, o));
	}
	call_unref(c);
}

/* The Scale the client wants: the body of a PUT, or the present one with a patch. */
static json_t *wanted_scale(struct call *c, const struct schema_kind *kind, const json_t *present, json_t **ret)
{
	_cleanup_json_ json_t *patch = NULL;
	_cleanup_strlist_ struct strlist twice = { 0 };
	_cleanup_err_ struct err err = { 0 };
	json_t *status, *v;
	if (c->u.verb == API_UPDATE)
		return body_kind(c, kind, ret);
	bool json_patch = str_eq(c->content_type, "application/json-patch+json");
	/* What a JSON patch sets is not where it stands in the patch. */
	status = body_value(c, "patch", json_patch ? NULL : &twice, &patch);
	if (status)
		return status;
	if (json_patch)
		v = patch_json(present, patch, &err);
	else if (str_eq(c->content_type, "application/merge-patch+json"))
		v = patch_merge(present, patch, &err);
	else if (str_eq(c->content_type, "application/strategic-merge-patch+json"))
		v = patch_strategic(kind->message, present, patch, &err);
	else
		return status_new(415, "UnsupportedMediaType",
				  "the body of the request was in an unknown format - accepted media types include: "
				  "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json");
	if (!v)
		return status_from_err(&err);
	status = body_check(c, kind, v, &twice);
	if (status)
		json_decref(v);
	else
		*ret = v;
	return status;
}

static json_t *negative_replicas(const struct call *c, int64_t replicas)
{
	struct field_errors e = { 0 };
	field_errors_add(&e, "FieldValueInvalid", mem_strdup("spec.replicas"),
			 "Invalid value: %" PRId64 ": must be greater than or equal to 0", replicas);
	json_t *s = field_errors_status(&e, "autoscaling", "Scale", c->u.name);
	field_errors_done(&e);
	return s;
}

void subresource_scale(struct call *c)
{
	const struct schema_kind *kind = schema_kind_find("autoscaling/v1", "Scale");
	_cleanup_json_ json_t *o = NULL, *present = NULL, *wanted = NULL;
	struct write_options options = { .dry_run = c->dry_run, .user = &c->user, .call = c };
	struct store_object *latest;
	json_t *status = registry_find(c->g, c->storage, c->u.ns, c->u.name, &latest);
	call_ref(c);
	if (!status) {
		o = entry_parse(latest);
		present = scale_of(c->storage, o);
	}
	if (!status && c->u.verb == API_GET) {
		answer_value(c, 200, json_incref(present));
		call_unref(c);
		return;
	}
	if (!status)
		status = wanted_scale(c, kind, present, &wanted);
	if (!status && !str_eq(object_name(wanted), c->u.name))
		status = status_bad_request("the name of the object (%s) does not match the name on the URL (%s)", object_name(wanted),
					    c->u.name);
	if (!status && json_int(wanted, "spec.replicas", 0) < 0)
		status = negative_replicas(c, json_int(wanted, "spec.replicas", 0));
	if (!status) {
		json_set(o, "spec.replicas", json_integer(json_int(wanted, "spec.replicas", 0)));
		json_set_str(o, "metadata.resourceVersion", str_empty(object_resource_version(wanted)) ?
							    NULL : object_resource_version(wanted));
		if (!str_empty(object_uid(wanted)))
			json_set_str(o, "metadata.uid", object_uid(wanted));
		status = registry_update(c->g, c->storage, latest, o, &options, on_scaled, c);
	}
	write_refused(c, status);
}
