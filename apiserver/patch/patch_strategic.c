/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kubernetes' strategic merge patch: a JSON merge in which lists of objects merge by the key that the schema names,
 * with the directives $patch, $retainKeys, $deleteFromPrimitiveList/FIELD and $setElementOrder/FIELD. Both inputs are
 * copied first and the copies are consumed. No directive of a known message ever reaches the result.
 */
#include "apiserver/patch/patch_strategic.h"

static const char PATCH_DIRECTIVE[] = "$patch";
static const char RETAIN_KEYS[] = "$retainKeys";
static const char DELETE_FROM_LIST[] = "$deleteFromPrimitiveList";
static const char SET_ORDER[] = "$setElementOrder";

/* What the schema says about the values of a key. */
struct field_meta {
	const struct schema_message *message; /* of the value or the elements; NULL: no strategies below */
	const char *merge_key;
	bool merge, replace;                  /* patchStrategy */
	bool opaque;                          /* any JSON: merges as RFC 7396 */
	bool elements;                        /* the value is a map; its values are described by `message` */
};

static int bad_request(struct err *err, const char *text)
{
	return err_set_api(err, 400, "BadRequest", "%s", text);
}

static struct field_meta lookup(const struct schema_message *m, const char *key)
{
	const struct schema_field *f = m ? schema_field_by_name(m, key) : NULL;
	struct field_meta meta = {0};

	if (!f)
		return meta;
	meta.opaque = f->type == SCHEMA_RAW || f->type == SCHEMA_FIELDS_V1 || f->type == SCHEMA_JSON;
	meta.message = f->type == SCHEMA_MESSAGE ? f->message : NULL;
	meta.merge_key = f->merge_key;
	meta.merge = f->flags & SCHEMA_PATCH_MERGE;
	meta.replace = f->flags & SCHEMA_PATCH_REPLACE;
	meta.elements = f->shape == SCHEMA_MAP || f->shape == SCHEMA_MAP_OF_LISTS;
	return meta;
}

static bool is_directive_key(const char *key)
{
	return *key == '$' && (str_eq(key, PATCH_DIRECTIVE) || str_eq(key, RETAIN_KEYS) ||
			       str_starts(key, DELETE_FROM_LIST) || str_starts(key, SET_ORDER));
}

/*
 * A patch value that nothing in the object meets is taken as it is, without nulls and directives. False: the value only
 * asks for a deletion.
 */
static bool strip(json_t *v)
{
	const char *key;
	json_t *child;
	void *tmp;
	size_t i;

	if (json_is_array(v)) {
		for (i = 0; i < json_array_size(v);) {
			if (strip(json_array_get(v, i)))
				i++;
			else
				json_array_remove(v, i);
		}
		return true;
	}
	if (!json_is_object(v))
		return true;
	child = json_object_get(v, PATCH_DIRECTIVE);
	if (child && (str_eq(json_string_value(child), "delete") || json_object_size(v) == 1))
		return false;
	json_object_foreach_safe(v, tmp, key, child) {
		if (is_directive_key(key) || json_is_null(child) || !strip(child))
			json_object_del(v, key);
	}
	return true;
}

static int no_merge_key(const json_t *item, const char *merge_key, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	strategic_go_print(&text, item);
	return err_set_api(err, 400, "BadRequest", "map: %s does not contain declared merge key: %s", text.data,
			   merge_key);
}

static int bad_patch_type(const json_t *type, const json_t *item, struct err *err)
{
	_cleanup_strbuf_ struct strbuf t = {0}, text = {0};

	strategic_go_print(&t, type);
	strategic_go_print(&text, item);
	return err_set_api(err, 400, "BadRequest", "unknown patch type: %s in map: %s", t.data, text.data);
}

static int bad_arg_type(const char *expected, const json_t *actual, struct err *err)
{
	static const char *const go_types[] = {
		[JSON_OBJECT] = "map[string]interface {}", [JSON_ARRAY] = "[]interface {}", [JSON_STRING] = "string",
		[JSON_INTEGER] = "int64", [JSON_REAL] = "float64", [JSON_TRUE] = "bool", [JSON_FALSE] = "bool",
		[JSON_NULL] = "nil",
	};

	return err_set_api(err, 400, "BadRequest", "expected a %s, but received a %s", expected,
			   go_types[json_typeof(actual)]);
}

/* All elements must be of one type, and none a list. *ret_maps: they are objects. */
static int element_kind(const json_t *a, const json_t *b, bool *ret_maps, struct err *err)
{
	const json_t *lists[] = { a, b };
	const char *type = NULL;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_t *item;
		size_t i;

		json_array_foreach(lists[l], i, item) {
			if (json_is_array(item))
				return patch_cannot_apply(err);
			if (type && strcmp(type, patch_type_name(item)) != 0)
				return bad_request(err, "list element types are not identical");
			type = patch_type_name(item);
		}
	}
	*ret_maps = type && strcmp(type, "object") == 0;
	return 0;
}

static int merge_map(const struct schema_message *m, bool elements, json_t *original, json_t *patch, struct err *err);

/* $patch elements of a list. Deletes from original; *ret_replace: the list is replaced. They leave the patch. */
static int special_elements(json_t *original, json_t *patch, const char *merge_key, bool *ret_replace, struct err *err)
{
	_cleanup_json_ json_t *gone = json_array(), *plain = json_array(), *rest = NULL;
	bool replace = false;
	json_t *item;
	size_t i;

	json_array_foreach(patch, i, item) {
		json_t *type = json_object_get(item, PATCH_DIRECTIVE);
		const char *name = json_string_value(type);

		if (!type) {
			json_array_append(plain, item);
		} else if (str_eq(name, "delete")) {
			if (!json_object_get(item, merge_key))
				return no_merge_key(item, merge_key, err);
			json_array_append(gone, item);
		} else if (str_eq(name, "replace")) {
			replace = true;
		} else if (str_eq(name, "merge")) {
			return bad_request(err, "merging lists cannot yet be specified in the patch");
		} else {
			return bad_patch_type(type, item, err);
		}
	}
	if (json_array_size(gone)) {
		rest = order_subtract(original, gone, merge_key);
		json_array_clear(original);
		json_array_extend(original, rest);
	}
	json_array_clear(patch);
	json_array_extend(patch, plain);
	*ret_replace = replace;
	return 0;
}

/* Merges the patch's objects into merged by the key; new ones go to the end. */
static int merge_by_key(const struct field_meta *meta, json_t *merged, json_t *patch, struct err *err)
{
	struct order have = {0};
	json_t *item;
	size_t i;
	int r = 0;

	order_build(&have, merged, meta->merge_key);
	json_array_foreach(patch, i, item) {
		json_t *key = json_object_get(item, meta->merge_key);
		ssize_t at;

		if (!key) {
			r = no_merge_key(item, meta->merge_key, err);
			break;
		}
		at = order_index(&have, item);
		if (at >= 0) {
			r = merge_map(meta->message, false, json_array_get(merged, (size_t)at), item, err);
			if (r < 0)
				break;
		} else {
			strip(item);
			json_array_append(merged, item);
			order_add(&have, item, json_array_size(merged) - 1);
		}
	}
	order_done(&have);
	return r;
}

/*
 * Merges two lists and puts them in order. *ret (own) may share elements with the inputs. deletes: the patch names
 * primitives to remove.
 */
static int merge_list(const struct field_meta *meta, json_t *original, json_t *patch, bool deletes, json_t **ret,
		      struct err *err)
{
	_cleanup_json_ json_t *merged = NULL;
	bool maps = false, replace = false;
	int r;

	if (json_array_size(original) == 0 && json_array_size(patch) == 0) {
		*ret = json_incref(original);
		return 0;
	}
	r = element_kind(original, patch, &maps, err);
	if (r < 0)
		return r;
	if (!maps) {
		merged = deletes ? order_subtract(original, patch, NULL) : order_union(original, patch);
		*ret = deletes ? TAKE(merged) : order_normalize(merged, patch, original, NULL);
		return 0;
	}
	if (!meta->merge_key)
		return bad_request(err, "cannot merge lists without merge key");
	r = special_elements(original, patch, meta->merge_key, &replace, err);
	if (r < 0)
		return r;
	if (replace) {
		strip(patch);
		*ret = json_incref(patch);
		return 0;
	}
	merged = json_copy(original);
	r = merge_by_key(meta, merged, patch, err);
	if (r < 0)
		return r;
	*ret = order_normalize(merged, patch, original, meta->merge_key);
	return 0;
}

/* original[key] meets value, both of one JSON type. */
static int merge_value(const struct field_meta *meta, json_t *original, const char *key, json_t *value, bool deletes,
		       struct err *err)
{
	json_t *old = json_object_get(original, key), *merged = NULL;
	int r;

	if (meta->opaque) {
		json_object_set_new(original, key, patch_merge_into(json_incref(old), value));
		return 0;
	}
	if (json_is_object(value) && !meta->replace)
		return merge_map(meta->message, meta->elements, old, value, err);
	if (json_is_array(value) && (meta->merge || deletes)) {
		r = merge_list(meta, old, value, deletes, &merged, err);
		if (r == 0)
			json_object_set_new(original, key, merged);
		return r;
	}
	strip(value);
	json_object_set(original, key, value);
	return 0;
}

static int apply_retain_keys(json_t *original, json_t *patch, struct err *err)
{
	_cleanup_json_ json_t *list = json_incref(json_object_get(patch, RETAIN_KEYS)), *keep = NULL;
	static const char bad[] = "invalid patch format of retainKeys";
	const char *key;
	json_t *v;
	void *tmp;
	size_t i;

	if (!list)
		return 0;
	json_object_del(patch, RETAIN_KEYS);
	if (!json_is_array(list))
		return bad_request(err, bad);
	keep = json_object();
	json_array_foreach(list, i, v) {
		if (json_is_string(v))
			json_object_set_new(keep, json_string_value(v), json_true());
	}
	json_object_foreach(patch, key, v) {
		if (!json_is_null(v) && !is_directive_key(key) && !json_object_get(keep, key))
			return bad_request(err, bad);
	}
	json_object_foreach_safe(original, tmp, key, v) {
		if (!json_object_get(keep, key))
			json_object_del(original, key);
	}
	return 0;
}

/* The patch's list, without deletions, must be a subsequence of the order. */
static int check_order(const json_t *list, const json_t *order, const char *merge_key, struct err *err)
{
	size_t at = 0, i;
	json_t *item;

	json_array_foreach(list, i, item) {
		if (json_is_array(item))
			return patch_cannot_apply(err);
		if (json_object_get(item, PATCH_DIRECTIVE))
			continue;
		while (at < json_array_size(order) && !order_same(item, json_array_get(order, at), merge_key))
			at++;
		if (at++ >= json_array_size(order)) {
			_cleanup_strbuf_ struct strbuf a = {0}, b = {0};

			strategic_go_print(&a, list);
			strategic_go_print(&b, order);
			return err_set_api(err, 400, "BadRequest",
					   "The order in patch list:\n%s\n doesn't match %s list:\n%s\n", a.data,
					   SET_ORDER, b.data);
		}
	}
	return 0;
}

/* $setElementOrder/FIELD: merges the field's list with the patch's, if any, and orders the result by the directive. */
static int apply_order(const struct schema_message *m, json_t *original, json_t *patch, const char *field,
		       json_t *order, struct err *err)
{
	_cleanup_json_ json_t *merged = NULL;
	json_t *old = json_object_get(original, field), *list = json_object_get(patch, field);
	struct field_meta meta = lookup(m, field);
	size_t i;
	json_t *item;
	int r;

	if (!json_is_array(order))
		return bad_arg_type("[]interface {}", order, err);
	if (json_is_null(list))
		return 0;
	if (old && !json_is_array(old))
		return bad_arg_type("[]interface {}", old, err);
	if (list && !json_is_array(list))
		return bad_arg_type("[]interface {}", list, err);
	if (!old && !list)
		return 0;
	r = check_order(list, order, meta.merge_key, err);
	if (r < 0)
		return r;
	json_array_foreach(order, i, item) {
		if (meta.merge_key && !json_object_get(item, meta.merge_key))
			return no_merge_key(item, meta.merge_key, err);
	}
	if (old && list && meta.merge) {
		r = merge_list(&meta, old, list, false, &merged, err);
		if (r < 0)
			return r;
	} else {
		if (list)
			strip(list);
		merged = json_incref(list ? list : old);
	}
	json_object_set_new(original, field, order_normalize(merged, order, old, meta.merge_key));
	json_object_del(patch, field);
	return 0;
}

static int apply_orders(const struct schema_message *m, json_t *original, json_t *patch, struct err *err)
{
	_cleanup_strlist_ struct strlist keys = {0};
	const char *key;
	json_t *value;

	/* Ordering a field removes its list from the patch, so the keys are collected first. */
	json_object_foreach(patch, key, value) {
		if (str_starts(key, SET_ORDER))
			strlist_add(&keys, key);
	}
	for (size_t i = 0; i < keys.count; i++) {
		const char *field = str_after(keys.items[i] + strlen(SET_ORDER), "/");
		_cleanup_json_ json_t *order = json_incref(json_object_get(patch, keys.items[i]));
		int r;

		if (!field)
			return bad_request(err, "invalid patch format of setElementOrder list");
		json_object_del(patch, keys.items[i]);
		r = apply_order(m, original, patch, field, order, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One key of the patch. deletes: it came with $deleteFromPrimitiveList. */
static int merge_key(const struct schema_message *m, bool elements, json_t *original, const char *key, json_t *value,
		     bool deletes, struct err *err)
{
	json_t *old = json_object_get(original, key);
	struct field_meta meta = { .message = m };

	/* The values of a map have the map's message; strategies belong to named fields only. */
	if (!elements)
		meta = lookup(m, key);
	if (json_is_null(value)) {
		json_object_del(original, key);
		return 0;
	}
	if (!old || json_typeof(old) != json_typeof(value)) {
		if (deletes)
			return 0;
		if (meta.opaque)
			json_object_set_new(original, key, patch_merge_into(NULL, value));
		else if (strip(value))
			json_object_set(original, key, value);
		return 0;
	}
	return merge_value(&meta, original, key, value, deletes, err);
}

/* Merges patch into original, in place; patch is consumed. elements: the keys are a map's, m is its values' message. */
static int merge_map(const struct schema_message *m, bool elements, json_t *original, json_t *patch, struct err *err)
{
	json_t *directive = json_object_get(patch, PATCH_DIRECTIVE), *value;
	const char *key;
	void *tmp;
	int r;

	if (directive) {
		const char *name = json_string_value(directive);

		if (str_eq(name, "replace")) {
			json_object_del(patch, PATCH_DIRECTIVE);
			strip(patch);
			json_object_clear(original);
			json_object_update(original, patch);
			return 0;
		}
		if (str_eq(name, "delete")) {
			json_object_clear(original);
			return 0;
		}
		if (!str_eq(name, "merge"))
			return bad_patch_type(directive, patch, err);
		json_object_del(patch, PATCH_DIRECTIVE);
	}
	r = apply_retain_keys(original, patch, err);
	if (r < 0)
		return r;
	r = apply_orders(elements ? NULL : m, original, patch, err);
	if (r < 0)
		return r;
	json_object_foreach_safe(patch, tmp, key, value) {
		bool deletes = str_starts(key, DELETE_FROM_LIST);
		const char *field = deletes ? str_after(key + strlen(DELETE_FROM_LIST), "/") : key;

		if (!field)
			return bad_request(err, "invalid patch format of primitive list");
		r = merge_key(m, elements, original, field, value, deletes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

json_t *patch_strategic(const struct schema_message *m, const json_t *object, const json_t *patch, struct err *err)
{
	_cleanup_json_ json_t *result = NULL, *change = NULL;

	if (!json_is_object(patch)) {
		err_set_api(err, 400, "BadRequest",
			    "json: cannot unmarshal %s into Go value of type map[string]interface {}",
			    patch_type_name(patch));
		return NULL;
	}
	result = json_clone(object);
	change = json_clone(patch);
	if (merge_map(m, false, result, change, err) < 0)
		return NULL;
	return TAKE(result);
}
