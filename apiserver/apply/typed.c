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

static void element_of_field(struct element *e, const char *name)
{
	element_set(e, "f:", name, strlen(name));
}

/* A value as path elements have it: compact, keys sorted. */
static void write_key(struct strbuf *out, const json_t *v)
{
	if (json_is_string(v) || json_is_integer(v) || json_is_boolean(v)) {
		json_write(out, v);
		return;
	}
	_cleanup_free_ char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	strbuf_adds(out, text ? text : "null");
}

/* What an item has under a key of its list, or that field's default; *ret_made: own. NULL: nothing. */
static const json_t *key_value(struct vtype list, const json_t *item, const char *key, json_t **ret_made)
{
	const json_t *v = json_object_get(item, key);
	if (!absent(v))
		return v;
	const struct schema_field *f = schema_field_by_name(list.message, key);
	const char *value = f ? schema_field_default(f) : NULL;
	return value ? (*ret_made = json_loads(value, JSON_DECODE_ANY, NULL)) : NULL;
}

/* k:{"containerPort":80,"protocol":"TCP"}, keys sorted. False: an item without its keys. */
static bool key_element(struct vtype list, const json_t *item, struct strbuf *out)
{
	const char *last = "";
	if (!json_is_object(item))
		return false;
	for (;;) {
		const char *next = NULL;
		for (const char *const *k = list.f->list_map_keys; *k; k++)
			if (strcmp(*k, last) > 0 && (!next || strcmp(*k, next) < 0))
				next = *k;
		if (!next)
			break;
		_cleanup_json_ json_t *made = NULL;
		const json_t *v = key_value(list, item, next, &made);
		last = next;
		if (!v)
			continue;
		strbuf_addc(out, out->len ? ',' : '{');
		strbuf_add_json(out, next, strlen(next));
		strbuf_addc(out, ':');
		write_key(out, v);
	}
	if (out->len)
		strbuf_addc(out, '}');
	return out->len;
}

/* False: the item has no keys. */
static bool item_element(struct vtype t, enum form form, const json_t *item, struct element *e)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	*e = (struct element){ 0 };
	if (form == FORM_LIST_MAP && !key_element(t, item, &text))
		return false;
	if (form == FORM_LIST_SET)
		write_key(&text, item);
	element_set(e, form == FORM_LIST_MAP ? "k:" : "v:", text.data, text.len);
	return true;
}

/* A list's items with their path elements. */
struct items {
	struct item {
		struct element e;
		bool keyed; /* it has an element */
		json_t *v;
	} *v;
	size_t count;
	struct map *at; /* of a long list: positions, from 1; of equal elements the first */
};
enum { SHORT_LIST = 8 };

static struct items items_of(struct vtype t, enum form form, const json_t *list)
{
	size_t n = json_is_array(list) ? json_array_size(list) : 0;
	struct items items = { mem_new_n(struct item, n), n, n > SHORT_LIST ? map_new(NULL) : NULL };
	for (size_t i = 0; i < n; i++) {
		struct item *it = &items.v[i];
		it->v = json_array_get(list, i);
		it->keyed = item_element(t, form, it->v, &it->e);
		if (items.at && it->keyed && !map_has(items.at, element_text(&it->e)))
			map_set(items.at, element_text(&it->e), (void *)(i + 1));
	}
	return items;
}

static void items_done(struct items *items)
{
	for (size_t i = 0; i < items->count; i++)
		element_done(&items->v[i].e);
	free(items->v);
	map_free(items->at);
}
#define _cleanup_items_ _cleanup_(items_done)

/* The first item of an element; NULL: there is none. */
static struct item *items_find(const struct items *items, const struct element *e)
{
	if (items->at) {
		size_t at = (size_t)map_get(items->at, element_text(e));
		return at ? &items->v[at - 1] : NULL;
	}
	for (size_t i = 0; i < items->count; i++)
		if (items->v[i].keyed && items->v[i].e.len == e->len && memcmp(element_text(&items->v[i].e), element_text(e), e->len) == 0)
			return &items->v[i];
	return NULL;
}

/* ---- what can be owned */

static json_t *fields_of(struct vtype t, const json_t *v);

static json_t *fields_of_object(struct vtype t, enum form form, const json_t *v)
{
	json_t *out = NULL, *child;
	const char *name;
	json_object_foreach((json_t *)v, name, child) {
		struct vtype ct = form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name);
		bool whole = absent(child) || (json_is_object(child) && json_object_size(child) == 0) || form == FORM_MAP || !ct.f;
		json_t *below = fields_of(ct, child);
		if (whole)
			below = fieldset_node(below, true);
		if (below) {
			struct element e = { 0 };
			element_of_field(&e, name);
			fieldset_put(&out, &e, below);
			element_done(&e);
		}
	}
	return out;
}

static json_t *fields_of_list(struct vtype t, enum form form, const json_t *v)
{
	json_t *out = NULL, *item;
	size_t i;
	json_array_foreach((json_t *)v, i, item) {
		struct element e;
		if (item_element(t, form, item, &e))
			fieldset_put(&out, &e, form == FORM_LIST_MAP ? fieldset_node(fields_of(type_of_element(t), item), true) :
								       fieldset_leaf());
		element_done(&e);
	}
	return out;
}

/* The node of a value: a leaf is {}; a container without anything to own is NULL. */
static json_t *fields_of(struct vtype t, const json_t *v)
{
	enum form form = form_of(t, v);
	if (form == FORM_LEAF || absent(v))
		return fieldset_leaf();
	return form == FORM_STRUCT || form == FORM_MAP ? fields_of_object(t, form, v) : fields_of_list(t, form, v);
}

json_t *typed_fields(const struct schema_message *m, const json_t *object)
{
	json_t *out = fields_of((struct vtype){ .message = m }, object);
	return fieldset_empty(out) ? json_decref(out), json_object() : out;
}

/* ---- differences */

struct difference {
	json_t *changed, *removed; /* nodes; NULL: nothing */
};

static struct difference compare(struct vtype t, const json_t *old, const json_t *new, bool old_there);

/* Puts what differs below an element into sum. */
static void add_difference(struct difference *sum, const struct element *e, struct difference d)
{
	fieldset_put(&sum->changed, e, d.changed);
	fieldset_put(&sum->removed, e, d.removed);
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

static void compare_member(struct difference *sum, const char *name, struct vtype t, const json_t *old, const json_t *new, bool old_there)
{
	struct difference d = compare(t, old, new, old_there);
	if (!d.changed && !d.removed)
		return;
	struct element e = { 0 };
	element_of_field(&e, name);
	add_difference(sum, &e, d);
	element_done(&e);
}

static void compare_object(struct difference *sum, struct vtype t, enum form form, const json_t *old, const json_t *new, bool old_there)
{
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)new, name, v) {
		struct vtype ct = form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name);
		const json_t *was = json_object_get(old, name);
		compare_member(sum, name, ct, was, v, !absent(was) || (old_there && form == FORM_STRUCT && always_there(ct.f)));
	}
	json_object_foreach((json_t *)old, name, v) {
		if (json_object_get(new, name))
			continue;
		struct vtype ct = form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name);
		compare_member(sum, name, ct, v, NULL, true);
	}
}

static void compare_list(struct difference *sum, struct vtype t, enum form form, const json_t *old, const json_t *new)
{
	if (old && new && json_same(old, new))
		return;
	_cleanup_items_ struct items before = items_of(t, form, old), after = items_of(t, form, new);
	struct vtype it = type_of_element(t);
	for (size_t i = 0; i < after.count; i++) {
		struct item *now = &after.v[i], *was = now->keyed ? items_find(&before, &now->e) : NULL;
		if (now->keyed && items_find(&after, &now->e) == now)
			add_difference(sum, &now->e, compare(it, was ? was->v : NULL, now->v, was != NULL));
	}
	for (size_t i = 0; i < before.count; i++) {
		struct item *was = &before.v[i];
		if (was->keyed && items_find(&before, &was->e) == was && !items_find(&after, &was->e))
			add_difference(sum, &was->e, compare(it, was->v, NULL, true));
	}
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
		return is ? (struct difference){ .changed = fieldset_leaf() } : (struct difference){ .removed = fieldset_leaf() };
	}
	struct difference sum = { 0 };
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
static void take_live_only(json_t *out, const struct items *live, size_t *at, size_t end, const struct items *wanted)
{
	for (; *at < end; ++*at)
		if (!live->v[*at].keyed || !items_find(wanted, &live->v[*at].e))
			json_array_append(out, live->v[*at].v);
}

static json_t *merge_list(struct vtype t, enum form form, const json_t *live, const json_t *config)
{
	_cleanup_items_ struct items before = items_of(t, form, live), wanted = items_of(t, form, config);
	json_t *out = json_array();
	size_t at = 0;
	for (size_t i = 0; i < wanted.count; i++) {
		struct item *item = &wanted.v[i], *was = item->keyed ? items_find(&before, &item->e) : NULL;
		/* What stood before it in live still does. */
		take_live_only(out, &before, &at, was ? (size_t)(was - before.v) + 1 : 0, &wanted);
		json_array_append_new(out, form == FORM_LIST_MAP ? merge(type_of_element(t), was ? was->v : NULL, item->v) :
								   json_incref(item->v));
	}
	take_live_only(out, &before, &at, before.count, &wanted);
	return out;
}

static json_t *merge(struct vtype t, const json_t *live, const json_t *config)
{
	enum form form = form_of(t, config);
	if (form == FORM_LEAF || absent(live) || form_of(t, live) != form)
		return json_clone(config);
	return form == FORM_STRUCT || form == FORM_MAP ? merge_object(t, form, live, config) : merge_list(t, form, live, config);
}

json_t *typed_merge(const struct schema_message *m, const json_t *live, const json_t *config)
{
	_cleanup_json_ json_t *shared = merge((struct vtype){ .message = m }, live, config);
	return json_clone(shared); /* parts were taken over from live by reference */
}

/* ---- pruning */

static void prune(struct vtype t, json_t *v, const json_t *last, const json_t *owned);

static void prune_object(struct vtype t, enum form form, json_t *v, const json_t *last, const json_t *owned)
{
	const char *name;
	json_t *child;
	void *next;
	json_object_foreach_safe(v, next, name, child) {
		struct element e = { 0 };
		element_of_field(&e, name);
		const json_t *mine = fieldset_child(last, element_text(&e)), *theirs = fieldset_child(owned, element_text(&e));
		element_done(&e);
		if (mine && !theirs)
			json_object_del(v, name);
		else if (mine)
			prune(form == FORM_MAP ? type_of_element(t) : type_of_field(t.message, name), child, mine, theirs);
	}
}

static void prune_list(struct vtype t, enum form form, json_t *v, const json_t *last, const json_t *owned)
{
	_cleanup_json_ json_t *kept = json_array();
	size_t i;
	json_t *item;
	json_array_foreach(v, i, item) {
		struct element e;
		bool keyed = item_element(t, form, item, &e);
		const json_t *mine = keyed ? fieldset_child(last, element_text(&e)) : NULL;
		const json_t *theirs = keyed ? fieldset_child(owned, element_text(&e)) : NULL;
		element_done(&e);
		if (mine && !theirs)
			continue;
		if (mine)
			prune(type_of_element(t), item, mine, theirs);
		json_array_append(kept, item);
	}
	if (json_array_size(kept) == json_array_size(v))
		return;
	json_array_clear(v);
	json_array_extend(v, kept);
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
		struct element e;
		bool keyed = item_element(t, form, item, &e);
		const char *key = element_text(&e) + 2;
		size_t before = path->len;
		if (!keyed)
			r = err_set(err, EINVAL, "%s: element %zu: associative list with keys has an element that omits all key fields",
				    path->data, i);
		else if (map_get(seen, key))
			r = err_set(err, EINVAL, "%s: duplicate entries for key %s", path->data, key);
		if (!r) {
			map_set(seen, key, item);
			strbuf_addf(path, "[%s]", key);
			if (form == FORM_LIST_MAP)
				r = check(type_of_element(t), item, path, err);
			path->len = before;
			path->data[before] = 0;
		}
		element_done(&e);
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
