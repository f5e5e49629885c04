// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/apply/fieldset.h"

#include <string.h>

#include "base/mem.h"

bool fieldset_is_member(const json_t *node)
{
	return json_object_size(node) == 0 || json_object_get(node, ".");
}

bool fieldset_empty(const json_t *set)
{
	return json_object_size(set) == 0;
}

const json_t *fieldset_child(const json_t *set, const char *element)
{
	return set ? json_object_get(set, element) : NULL;
}

void element_set(struct element *e, const char *prefix, const char *text, size_t len)
{
	char *to = e->small;
	if (len + 3 > sizeof(e->small))
		to = e->large = mem_alloc(len + 3);
	memcpy(to, prefix, 2);
	memcpy(to + 2, text, len);
	to[len + 2] = '\0';
	e->len = len + 2;
}

void element_done(struct element *e)
{
	free(e->large);
}

static void put(json_t **set, const char *key, size_t len, json_t *node)
{
	if (!node)
		return;
	if (!*set)
		*set = json_object();
	json_object_setn_new_nocheck(*set, key, len, node);
}

void fieldset_put(json_t **set, const struct element *element, json_t *node)
{
	put(set, element_text(element), element->len, node);
}

/* Most of a set is leaves: one empty object stands for all of them. */
json_t *fieldset_leaf(void)
{
	static json_t *leaf;
	if (!leaf)
		leaf = json_object();
	return json_incref(leaf);
}

json_t *fieldset_node(json_t *children, bool member)
{
	if (json_object_size(children) == 0) {
		json_decref(children);
		return member ? fieldset_leaf() : NULL;
	}
	if (member)
		json_object_setn_new_nocheck(children, ".", 1, fieldset_leaf());
	return children;
}

/* The children of a node: all keys but ".". */
#define foreach_child(set, it) \
	for (void *it = json_object_iter((json_t *)(set)); it; it = json_object_iter_next((json_t *)(set), it)) \
		if (strcmp(json_object_iter_key(it), ".") != 0)

/* Nodes by their place in one set, and what the other has there. */
struct child {
	const char *key;
	size_t len;
	const json_t *node, *other;
};

static struct child child_of(void *it, const json_t *other)
{
	struct child c = { json_object_iter_key(it), json_object_iter_key_len(it), json_object_iter_value(it), NULL };
	c.other = other ? json_object_getn(other, c.key, c.len) : NULL;
	return c;
}

/* A node as it is. */
static json_t *same(const json_t *node)
{
	return json_is_object(node) ? json_incref((json_t *)node) : fieldset_leaf();
}

static json_t *union_children(const json_t *a, const json_t *b)
{
	json_t *out = NULL;
	foreach_child(a, it) {
		struct child c = child_of(it, b);
		put(&out, c.key, c.len, !c.other ? same(c.node) :
			fieldset_node(union_children(c.node, c.other), fieldset_is_member(c.node) || fieldset_is_member(c.other)));
	}
	foreach_child(b, it) {
		struct child c = child_of(it, a);
		if (!c.other)
			put(&out, c.key, c.len, same(c.node));
	}
	return out;
}

static json_t *difference_children(const json_t *a, const json_t *b)
{
	json_t *out = NULL;
	foreach_child(a, it) {
		struct child c = child_of(it, b);
		put(&out, c.key, c.len, !c.other ? same(c.node) :
			fieldset_node(difference_children(c.node, c.other), fieldset_is_member(c.node) && !fieldset_is_member(c.other)));
	}
	return out;
}

static json_t *intersection_children(const json_t *a, const json_t *b)
{
	json_t *out = NULL;
	foreach_child(a, it) {
		struct child c = child_of(it, b);
		if (c.other)
			put(&out, c.key, c.len, fieldset_node(intersection_children(c.node, c.other),
							      fieldset_is_member(c.node) && fieldset_is_member(c.other)));
	}
	return out;
}

static json_t *without_children(const json_t *a, const json_t *b)
{
	json_t *out = NULL;
	foreach_child(a, it) {
		struct child c = child_of(it, b);
		if (!c.other)
			put(&out, c.key, c.len, same(c.node));
		else if (!fieldset_is_member(c.other))
			put(&out, c.key, c.len, fieldset_node(without_children(c.node, c.other), fieldset_is_member(c.node)));
	}
	return out;
}

static json_t *or_empty(json_t *set)
{
	return set ? set : json_object();
}

json_t *fieldset_union(const json_t *a, const json_t *b)
{
	return or_empty(union_children(a, b));
}

json_t *fieldset_difference(const json_t *a, const json_t *b)
{
	return or_empty(difference_children(a, b));
}

json_t *fieldset_intersection(const json_t *a, const json_t *b)
{
	return or_empty(intersection_children(a, b));
}

json_t *fieldset_without(const json_t *a, const json_t *b)
{
	return or_empty(without_children(a, b));
}

bool fieldset_touches(const json_t *a, const json_t *b)
{
	foreach_child(b, it) {
		struct child c = child_of(it, a);
		if (c.other && (fieldset_is_member(c.node) || fieldset_touches(c.other, c.node)))
			return true;
	}
	return false;
}

/* ---- paths as text */

static void print_value(struct strbuf *out, const json_t *v)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	json_write(&text, v);
	strbuf_adds(out, text.data);
}

static void print_key(struct strbuf *out, const char *text)
{
	_cleanup_json_ json_t *keys = json_loads(text, JSON_DECODE_ANY, NULL);
	const char *name, *separator = "[";
	json_t *v;
	json_object_foreach(keys, name, v) {
		strbuf_addf(out, "%s%s=", separator, name);
		print_value(out, v);
		separator = ",";
	}
	strbuf_adds(out, *separator == '[' ? "[]" : "]");
}

static void print_element(struct strbuf *out, const char *element)
{
	if (strncmp(element, "k:", 2) == 0)
		print_key(out, element + 2);
	else if (strncmp(element, "v:", 2) == 0)
		strbuf_addf(out, "[=%s]", element + 2);
	else if (strncmp(element, "i:", 2) == 0)
		strbuf_addf(out, "[%s]", element + 2);
	else
		strbuf_addf(out, ".%s", strncmp(element, "f:", 2) == 0 ? element + 2 : element);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void each(const json_t *set, struct strbuf *path, fieldset_fn fn, void *user)
{
	size_t n = 0, count = json_object_size(set);
	_cleanup_free_ const char **keys = mem_new_n(const char *, count + 1);
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)set, key, v)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (size_t i = 0; i < n; i++) {
		size_t before = path->len;
		if (strcmp(keys[i], ".") == 0)
			continue;
		print_element(path, keys[i]);
		v = json_object_get(set, keys[i]);
		if (fieldset_is_member(v))
			fn(path->data, user);
		each(v, path, fn, user);
		path->len = before;
		path->data[before] = 0;
	}
}

void fieldset_each(const json_t *set, fieldset_fn fn, void *user)
{
	_cleanup_strbuf_ struct strbuf path = { 0 };
	each(set, &path, fn, user);
}
