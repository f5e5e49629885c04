// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/apply/typed.h"

#include <errno.h>
#include <string.h>

#include "apiserver/apply/fieldset.h"
#include "base/map.h"
#include "base/mem.h"

/* How a value is taken apart. */
enum form { FORM_LEAF, FORM_STRUCT, FORM_MAP, FORM_LIST_MAP, FORM_LIST_SET };

/* The type of a value: a field's, or that of its elements. message: of the value itself when it is a struct. */
struct vtype {
	const struct schema_field *f;        /* NULL: the whole object, or unknown */
	const struct schema_message *message;
	bool element;
};

static struct vtype type_of_field(const struct schema_message *m, const char *name)
{
	const struct schema_field *f = m ? schema_field_by_name(m, name) : NULL;
	return (struct vtype){ f, f ? f->message : NULL, false };
}

static struct vtype type_of_element(struct vtype t)
{
	return (struct vtype){ t.f, t.f->message, true };
}

static bool is_struct(const struct schema_field *f, const struct schema_message *m)
{
	return m && m->type == SCHEMA_MESSAGE && !(m->flags & SCHEMA_MSG_ATOMIC) && (!f || f->type == SCHEMA_MESSAGE);
}

/* By the schema and by what the value really is: what does not fit is a leaf. */
static enum form form_of(struct vtype t, const json_t *v)
{
	const struct schema_field *f = t.f;
	bool object = json_is_object(v), array = json_is_array(v);
	if (!f)
		return t.message && object ? FORM_STRUCT : FORM_LEAF;
	if (t.element || f->shape == SCHEMA_SINGLE)
		return object && is_struct(f, t.message) && (t.element || !(f->flags & SCHEMA_MAP_ATOMIC)) ? FORM_STRUCT : FORM_LEAF;
	if (f->shape == SCHEMA_MAP)
		return object && !(f->flags & SCHEMA_MAP_ATOMIC) ? FORM_MAP : FORM_LEAF;
	if (f->shape != SCHEMA_LIST || !array)
		return FORM_LEAF;
	if (f->list_type == SCHEMA_LIST_MAP && f->list_map_keys)
		return FORM_LIST_MAP;
	return f->list_type == SCHEMA_LIST_SET ? FORM_LIST_SET : FORM_LEAF;
}

static bool absent(const json_t *v)
{
	return !v || json_is_null(v);
}

/* ---- path elements */

static char *dump(const json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	return text ? text : mem_strdup("null");
}

/* k:{"containerPort":80,"protocol":"TCP"}; a key that is absent has its default. NULL: an item without its keys. Own. */
static char *key_element(struct vtype list, const json_t *item)
{
	_cleanup_json_ json_t *keys = json_object();
	if (!json_is_object(item))
		return NULL;
	for (const char *const *k = list.f->list_map_keys; *k; k++) {
		const json_t *v = json_object_get(item, *k);
		if (!absent(v)) {
			json_object_set(keys, *k, (json_t *)v);
			continue;
		}
		const struct schema_field *f = schema_field_by_name(list.message, *k);
		const char *value = f ? schema_field_default(f) : NULL;
		if (value)
			json_object_set_new(keys, *k, json_loads(value, JSON_DECODE_ANY, NULL));
	}
	if (json_object_size(keys) == 0)
		return NULL;
	_cleanup_free_ char *text = dump(keys);
	return str_printf("k:%s", text);
}

static char *value_element(const json_t *item)
{
	_cleanup_free_ char *text = dump(item);
	return str_printf("v:%s", text);
}

static char *item_element(struct vtype t, enum form form, const json_t *item)
{
	return form == FORM_LIST_MAP ? key_element(t, item) : value_element(item);
}

/* The items of a list by their path elements; of equal ones the first. Borrowed values. */
static struct map *index_items(struct vtype t, enum form form, const json_t *list)
{
	struct map *at = map_new(NULL);
	size_t i;
	json_t *item;
	json_array_foreach((json_t *)list, i, item) {
		_cleanup_free_ char *e = item_element(t, form, item);
		if (e && !map_get(at, e))
			map_set(at, e, item);
	}
	return at;
}

/* ---- what can be owned */

static json_t *fields_of(struct vtype t, const json_t *v);

static json_t *fields_of_object(struct vtype t, enum form form, const json_t *v)
{
	json_t *out = json_object(), *child;
	const char *name;
	json_object_foreach((json_t *)v, name, child) {
		_cleanup_free_ char *e = str_printf("f:%s", name);
		struct vtype ct = form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name);
		json_t *below = fields_of(ct, child);
		bool whole = absent(child) || (json_is_object(child) && json_object_size(child) == 0) || form == FORM_MAP || !ct.f;
		fieldset_put(out, e, whole && !fieldset_empty(below) ? fieldset_node(below, true) :
				     whole ? (json_decref(below), json_object()) : below);
	}
	return out;
}

static json_t *fields_of_list(struct vtype t, enum form form, const json_t *v)
{
	json_t *out = json_object(), *item;
	size_t i;
	json_array_foreach((json_t *)v, i, item) {
		_cleanup_free_ char *e = item_element(t, form, item);
		if (e)
			fieldset_put(out, e, form == FORM_LIST_MAP ? fieldset_node(fields_of(type_of_element(t), item), true) :
								     json_object());
	}
	return out;
}

/* The node of a value: a leaf is {}; a container without anything to own is NULL. */
static json_t *fields_of(struct vtype t, const json_t *v)
{
	enum form form = form_of(t, v);
	if (form == FORM_LEAF || absent(v))
		return json_object();
	json_t *out = form == FORM_STRUCT || form == FORM_MAP ? fields_of_object(t, form, v) : fields_of_list(t, form, v);
	if (!fieldset_empty(out))
		return out;
	json_decref(out);
	return NULL;
}

json_t *typed_fields(const struct schema_message *m, const json_t *object)
{
	json_t *out = fields_of((struct vtype){ .message = m }, object);
	return out ? out : json_object();
}

/* ---- differences */

struct difference {
	json_t *changed, *removed; /* nodes; NULL: nothing */
};

static struct difference compare(struct vtype t, const json_t *old, const json_t *new, bool old_there);

static void compare_child(struct difference *sum, const char *element, struct vtype t, const json_t *old, const json_t *new,
			  bool old_there)
{
	struct difference d = compare(t, old, new, old_there);
	fieldset_put(sum->changed, element, d.changed);
	fieldset_put(sum->removed, element, d.removed);
}

/* Go writes a struct that is no pointer, and a list without omitempty, even when it holds nothing: such a field does not come
 * new when it is filled. */
static bool always_there(const struct schema_field *f)
{
	if (!f)
		return false;
	if (f->shape == SCHEMA_SINGLE)
		return f->type == SCHEMA_MESSAGE && !(f->flags & SCHEMA_POINTER);
	return f->flags & (SCHEMA_REQUIRED | SCHEMA_ALWAYS);
}

static void compare_object(struct difference *sum, struct vtype t, enum form form, const json_t *old, const json_t *new, bool old_there)
{
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)new, name, v) {
		_cleanup_free_ char *e = str_printf("f:%s", name);
		struct vtype ct = form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name);
		const json_t *was = json_object_get(old, name);
		compare_child(sum, e, ct, was, v, !absent(was) || (old_there && form == FORM_STRUCT && always_there(ct.f)));
	}
	json_object_foreach((json_t *)old, name, v) {
		_cleanup_free_ char *e = str_printf("f:%s", name);
		struct vtype ct = form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name);
		if (!json_object_get(new, name))
			compare_child(sum, e, ct, v, NULL, true);
	}
}

static void compare_list(struct difference *sum, struct vtype t, enum form form, const json_t *old, const json_t *new)
{
	struct map *before = index_items(t, form, old), *after = index_items(t, form, new);
	struct vtype it = type_of_element(t);
	size_t i;
	json_t *item;
	json_array_foreach((json_t *)new, i, item) {
		_cleanup_free_ char *e = item_element(t, form, item);
		const json_t *was = e ? map_get(before, e) : NULL;
		if (e && map_get(after, e) == item)
			compare_child(sum, e, it, was, item, was != NULL);
	}
	json_array_foreach((json_t *)old, i, item) {
		_cleanup_free_ char *e = item_element(t, form, item);
		if (e && map_get(before, e) == item && !map_get(after, e))
			compare_child(sum, e, it, item, NULL, true);
	}
	map_free(before);
	map_free(after);
}

static struct difference compare(struct vtype t, const json_t *old, const json_t *new, bool old_there)
{
	bool was = !absent(old), is = !absent(new);
	enum form form = form_of(t, is ? new : old);
	if (!was && !is)
		return (struct difference){ 0 };
	if (form == FORM_LEAF || (was && is && form_of(t, old) != form)) {
		if (was && is && json_same(old, new))
			return (struct difference){ 0 };
		return is ? (struct difference){ .changed = json_object() } : (struct difference){ .removed = json_object() };
	}
	struct difference sum = { json_object(), json_object() };
	if (form == FORM_STRUCT || form == FORM_MAP)
		compare_object(&sum, t, form, was ? old : NULL, is ? new : NULL, old_there);
	else
		compare_list(&sum, t, form, was ? old : NULL, is ? new : NULL);
	sum.changed = fieldset_node(sum.changed, is && !old_there);
	sum.removed = fieldset_node(sum.removed, !is);
	return sum;
}

void typed_compare(const struct schema_message *m, const json_t *old, const json_t *new, json_t **ret_changed,
		   json_t **ret_removed)
{
	struct difference d = compare((struct vtype){ .message = m }, old, new, true);
	*ret_changed = d.changed ? d.changed : json_object();
	*ret_removed = d.removed ? d.removed : json_object();
}

/* ---- merging */

static json_t *merge(struct vtype t, const json_t *live, const json_t *config);

static json_t *merge_object(struct vtype t, enum form form, const json_t *live, const json_t *config)
{
	json_t *out = json_copy((json_t *)live), *v;
	const char *name;
	json_object_foreach((json_t *)config, name, v) {
		struct vtype ct = form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name);
		json_object_set_new(out, name, merge(ct, json_object_get(live, name), v));
	}
	return out;
}

/* Moves on in live to `end`, taking the items that config does not have. */
static void take_live_only(json_t *out, struct vtype t, enum form form, const json_t *live, size_t *at, size_t end,
			   const struct map *wanted)
{
	for (; *at < end; ++*at) {
		json_t *item = json_array_get(live, *at);
		_cleanup_free_ char *e = item_element(t, form, item);
		if (!e || !map_get(wanted, e))
			json_array_append(out, item);
	}
}

/* Where each item stands, from 1. */
static struct map *index_positions(struct vtype t, enum form form, const json_t *list)
{
	struct map *at = map_new(NULL);
	for (size_t i = 0; i < json_array_size(list); i++) {
		_cleanup_free_ char *e = item_element(t, form, json_array_get(list, i));
		if (e && !map_get(at, e))
			map_set(at, e, (void *)(i + 1));
	}
	return at;
}

static json_t *merge_list(struct vtype t, enum form form, const json_t *live, const json_t *config)
{
	struct map *before = index_positions(t, form, live), *wanted = index_positions(t, form, config);
	json_t *out = json_array(), *item;
	size_t at = 0, i;
	json_array_foreach((json_t *)config, i, item) {
		_cleanup_free_ char *e = item_element(t, form, item);
		size_t behind = e ? (size_t)map_get(before, e) : 0;
		const json_t *was = behind ? json_array_get(live, behind - 1) : NULL;
		take_live_only(out, t, form, live, &at, behind, wanted); /* what stood before it in live still does */
		json_array_append_new(out, form == FORM_LIST_MAP ? merge(type_of_element(t), was, item) : json_incref(item));
	}
	take_live_only(out, t, form, live, &at, json_array_size(live), wanted);
	map_free(before);
	map_free(wanted);
	return out;
}

static json_t *merge(struct vtype t, const json_t *live, const json_t *config)
{
	enum form form = form_of(t, config);
	if (form == FORM_LEAF || absent(live) || form_of(t, live) != form)
		return json_deep_copy(config);
	return form == FORM_STRUCT || form == FORM_MAP ? merge_object(t, form, live, config) : merge_list(t, form, live, config);
}

json_t *typed_merge(const struct schema_message *m, const json_t *live, const json_t *config)
{
	_cleanup_json_ json_t *shared = merge((struct vtype){ .message = m }, live, config);
	return json_deep_copy(shared); /* parts were taken over from live by reference */
}

/* ---- pruning */

static void prune(struct vtype t, json_t *v, const json_t *last, const json_t *owned);

static void prune_object(struct vtype t, enum form form, json_t *v, const json_t *last, const json_t *owned)
{
	const char *name;
	json_t *child;
	void *next;
	json_object_foreach_safe(v, next, name, child) {
		_cleanup_free_ char *e = str_printf("f:%s", name);
		const json_t *mine = fieldset_child(last, e), *theirs = fieldset_child(owned, e);
		if (mine && !theirs)
			json_object_del(v, name);
		else if (mine)
			prune(form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name), child, mine, theirs);
	}
}

static void prune_list(struct vtype t, enum form form, json_t *v, const json_t *last, const json_t *owned)
{
	for (size_t i = 0; i < json_array_size(v);) {
		json_t *item = json_array_get(v, i);
		_cleanup_free_ char *e = item_element(t, form, item);
		const json_t *mine = e ? fieldset_child(last, e) : NULL, *theirs = e ? fieldset_child(owned, e) : NULL;
		if (mine && !theirs) {
			json_array_remove(v, i);
			continue;
		}
		if (mine)
			prune(type_of_element(t), item, mine, theirs);
		i++;
	}
}

static void prune(struct vtype t, json_t *v, const json_t *last, const json_t *owned)
{
	enum form form = form_of(t, v);
	if (form == FORM_STRUCT || form == FORM_MAP)
		prune_object(t, form, v, last, owned);
	else if (form != FORM_LEAF)
		prune_list(t, form, v, last, owned);
}

void typed_prune(const struct schema_message *m, json_t *object, const json_t *last, const json_t *owned)
{
	prune((struct vtype){ .message = m }, object, last, owned);
}

/* ---- what an applied configuration must keep to */

static int check(struct vtype t, const json_t *v, struct strbuf *path, struct err *err);

static int check_list(struct vtype t, enum form form, const json_t *v, struct strbuf *path, struct err *err)
{
	struct map *seen = map_new(NULL);
	json_t *item;
	size_t i;
	int r = 0;
	json_array_foreach((json_t *)v, i, item) {
		_cleanup_free_ char *e = item_element(t, form, item);
		size_t before = path->len;
		if (!e)
			r = err_set(err, EINVAL, "%s: element %zu: associative list with keys has an element that omits all key fields",
				    path->data, i);
		else if (map_get(seen, e))
			r = err_set(err, EINVAL, "%s: duplicate entries for key %s", path->data, e + 2);
		if (r < 0)
			break;
		map_set(seen, e, item);
		strbuf_addf(path, "[%s]", e + 2);
		if (form == FORM_LIST_MAP)
			r = check(type_of_element(t), item, path, err);
		path->len = before;
		path->data[before] = 0;
		if (r < 0)
			break;
	}
	map_free(seen);
	return r;
}

static int check(struct vtype t, const json_t *v, struct strbuf *path, struct err *err)
{
	enum form form = form_of(t, v);
	const char *name;
	json_t *child;
	int r = 0;
	if (form == FORM_LEAF)
		return 0;
	if (form == FORM_LIST_MAP || form == FORM_LIST_SET)
		return check_list(t, form, v, path, err);
	json_object_foreach((json_t *)v, name, child) {
		size_t before = path->len;
		strbuf_addf(path, ".%s", name);
		r = check(form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name), child, path, err);
		path->len = before;
		path->data[before] = 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int typed_check(const struct schema_message *m, const json_t *config, struct err *err)
{
	_cleanup_strbuf_ struct strbuf path = { 0 };
	return check((struct vtype){ .message = m }, config, &path, err);
}
