/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RFC 7396 JSON merge patch: objects merge, null removes, everything else replaces. */
#include "apiserver/patch/patch_internal.h"

int patch_cannot_apply(struct err *err)
{
	return err_set_api(err, 422, "Invalid", "the server rejected our request due to an error in our request");
}

const char *patch_type_name(const json_t *v)
{
	if (!v)
		return "null";
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "bool";
	default:
		return "null";
	}
}

json_t *patch_merge_into(json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;

	if (!json_is_object(patch)) {
		json_decref(target);
		return json_clone(patch);
	}
	if (!json_is_object(target)) {
		json_decref(target);
		target = json_object();
	}
	json_object_foreach((json_t *)patch, key, value) {
		if (json_is_null(value))
			json_object_del(target, key);
		else
			json_object_set_new(target, key,
					    patch_merge_into(json_incref(json_object_get(target, key)), value));
	}
	return target;
}

json_t *patch_merge(const json_t *object, const json_t *patch, struct err *err)
{
	if (!json_is_object(patch)) {
		err_set_api(
			err, 400, "BadRequest",
			"error decoding patch: json: cannot unmarshal %s into Go value of type map[string]interface {}",
			patch_type_name(patch));
		return NULL;
	}
	return patch_merge_into(json_clone(object), patch);
}
