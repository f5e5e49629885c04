/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every object has. Nothing here fails: an absent or mistyped field reads as "" or NULL. */
#include "kube/object.h"

const char *object_name(const json_t *o)
{
	return json_str_or(o, "metadata.name", "");
}

const char *object_namespace(const json_t *o)
{
	return json_str_or(o, "metadata.namespace", "");
}

const char *object_uid(const json_t *o)
{
	return json_str_or(o, "metadata.uid", "");
}

const char *object_resource_version(const json_t *o)
{
	return json_str_or(o, "metadata.resourceVersion", "");
}

static json_t *map_at(const json_t *o, const char *path)
{
	json_t *m = json_at(o, path);

	return json_is_object(m) ? m : NULL;
}

json_t *object_labels(const json_t *o)
{
	return map_at(o, "metadata.labels");
}

json_t *object_annotations(const json_t *o)
{
	return map_at(o, "metadata.annotations");
}

bool object_deleting(const json_t *o)
{
	return json_str(o, "metadata.deletionTimestamp") != NULL;
}

char *object_key(const json_t *o)
{
	const char *ns = object_namespace(o);

	return *ns ? str_printf("%s/%s", ns, object_name(o)) : str_printf("%s", object_name(o));
}

json_t *object_controller_of(const json_t *o)
{
	json_t *refs = json_at(o, "metadata.ownerReferences"), *ref;
	size_t i;

	json_array_foreach(refs, i, ref)
		if (json_bool(ref, "controller", false))
			return ref;
	return NULL;
}

json_t *object_controller_ref(const json_t *owner, const char *api_version, const char *kind)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "apiVersion", api_version, "kind", kind, "name",
			 object_name(owner), "uid", object_uid(owner), "controller", 1, "blockOwnerDeletion", 1);
}

static json_t *condition_in(const json_t *conditions, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(conditions, i, c)
		if (str_eq(json_str(c, "type"), type))
			return c;
	return NULL;
}

json_t *object_condition(const json_t *o, const char *type)
{
	return condition_in(json_at(o, "status.conditions"), type);
}

bool object_condition_true(const json_t *o, const char *type)
{
	return str_eq(json_str(object_condition(o, type), "status"), "True");
}

bool object_set_condition(json_t *conditions, const char *type, const char *status, const char *reason,
			  const char *message, const char *now_rfc3339)
{
	json_t *c = condition_in(conditions, type);

	reason = reason ? reason : "";
	message = message ? message : "";
	if (c && str_eq(json_str(c, "status"), status) && str_eq(json_str_or(c, "reason", ""), reason) &&
	    str_eq(json_str_or(c, "message", ""), message))
		return false;
	if (!c) {
		c = json_object();
		json_array_append_new(conditions, c);
		json_set_str(c, "type", type);
	}
	if (!str_eq(json_str(c, "status"), status)) {
		json_set_str(c, "status", status);
		json_set_str(c, "lastTransitionTime", now_rfc3339);
	}
	json_set_str(c, "reason", *reason ? reason : NULL);
	json_set_str(c, "message", *message ? message : NULL);
	return true;
}

bool pod_ready(const json_t *pod)
{
	return object_condition_true(pod, "Ready");
}
