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

void fieldset_put(json_t *set, const char *element, json_t *node)
{
	if (node)
		json_object_set_new(set, element, node);
}

json_t *fieldset_node(json_t *children, bool member)
{
	if (json_object_size(children) == 0) {
		json_decref(children);
		return member ? json_object() : NULL;
	}
	if (member)
		json_object_set_new(children, ".", json_object());
	return children;
}

static json_t *node_union(const json_t *a, const json_t *b);
static json_t *node_difference(const json_t *a, const json_t *b);
static json_t *node_intersection(const json_t *a, const json_t *b);

static json_t *union_children(const json_t *a, const json_t *b)
{
	json_t *out = json_object(), *v;
	const char *key;
	json_object_foreach((json_t *)a, key, v)
		if (strcmp(key, ".") != 0)
			fieldset_put(out, key, node_union(v, fieldset_child(b, key)));
	json_object_foreach((json_t *)b, key, v)
		if (strcmp(key, ".") != 0 && !fieldset_child(a, key))
			fieldset_put(out, key, node_union(v, NULL));
	return out;
}

static json_t *node_union(const json_t *a, const json_t *b)
{
	return fieldset_node(union_children(a, b), fieldset_is_member(a) || (b && fieldset_is_member(b)));
}

static json_t *difference_children(const json_t *a, const json_t *b)
{
	json_t *out = json_object(), *v;
	const char *key;
	json_object_foreach((json_t *)a, key, v)
		if (strcmp(key, ".") != 0)
			fieldset_put(out, key, node_difference(v, fieldset_child(b, key)));
	return out;
}

static json_t *node_difference(const json_t *a, const json_t *b)
{
	return fieldset_node(difference_children(a, b), fieldset_is_member(a) && !(b && fieldset_is_member(b)));
}

static json_t *intersection_children(const json_t *a, const json_t *b)
{
	json_t *out = json_object(), *v;
	const char *key;
	json_object_foreach((json_t *)a, key, v) {
		const json_t *other = fieldset_child(b, key);
		if (strcmp(key, ".") != 0 && other)
			fieldset_put(out, key, node_intersection(v, other));
	}
	return out;
}

static json_t *node_intersection(const json_t *a, const json_t *b)
{
	return fieldset_node(intersection_children(a, b), fieldset_is_member(a) && fieldset_is_member(b));
}

json_t *fieldset_union(const json_t *a, const json_t *b)
{
	return union_children(a, b);
}

json_t *fieldset_difference(const json_t *a, const json_t *b)
{
	return difference_children(a, b);
}

json_t *fieldset_intersection(const json_t *a, const json_t *b)
{
	return intersection_children(a, b);
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
