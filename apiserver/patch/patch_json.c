/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RFC 6902 JSON patches, with the extensions that clients of Kubernetes rely on: negative array indices count from the
 * end, and a member that is not there tests equal to null. Works on a private copy. Work, depth and the bytes that
 * "copy" makes are limited, because a small patch can otherwise ask for an unbounded result.
 */
#include "apiserver/patch/patch_internal.h"

#include "base/mem.h"

enum {
	JSON_PATCH_MAX_OPS = 10000,
	JSON_PATCH_MAX_COPY_BYTES = 3 * 1024 * 1024,
	JSON_PATCH_MAX_MOVED_ELEMENTS = 200 * 1000 * 1000,
	JSON_PATCH_MAX_MEASURES = 16,
};

struct pointer {
	char **parts; /* unescaped */
	size_t count;
};

struct json_patcher {
	json_t *doc;
	size_t depth_bound;  /* never less than the depth of doc */
	unsigned measures;   /* times that depth_bound was brought down by measuring */
	int64_t copy_left, move_left;
	struct err *err;
};

static void pointer_done(struct pointer *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->parts[i]);
	free(p->parts);
	*p = (struct pointer){0};
}

/* RFC 6901: "" is the whole document; "~1" is '/', "~0" is '~'. */
static bool pointer_parse(const char *s, struct pointer *ret)
{
	struct pointer p = {0};
	size_t cap = 0;

	if (*s && *s != '/')
		return false;
	while (*s) {
		const char *end = strchrnul(s + 1, '/');
		char *part = mem_strndup(s + 1, (size_t)(end - s - 1)), *to = part;

		for (const char *from = part; *from; from++) {
			char c = *from;

			if (c == '~' && (from[1] == '0' || from[1] == '1'))
				c = *++from == '0' ? '~' : '/';
			*to++ = c;
		}
		*to = '\0';
		MEM_GROW(p.parts, cap, p.count + 1);
		p.parts[p.count++] = part;
		s = end;
	}
	*ret = p;
	return true;
}

size_t patch_json_depth(const json_t *v)
{
	size_t deepest = 0, i;
	const char *key;
	json_t *child;

	if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, child)
			deepest = MAX(deepest, patch_json_depth(child));
		return deepest + 1;
	}
	if (json_is_array(v)) {
		json_array_foreach(v, i, child)
			deepest = MAX(deepest, patch_json_depth(child));
		return deepest + 1;
	}
	return 0;
}

/* About the bytes of the value's JSON text; stops counting beyond limit. */
static size_t value_size(const json_t *v, size_t limit)
{
	size_t size = 2, i;
	const char *key;
	json_t *child;

	if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, child) {
			if (size > limit)
				break;
			size += strlen(key) + 4 + value_size(child, limit);
		}
		return size;
	}
	if (json_is_array(v)) {
		json_array_foreach(v, i, child) {
			if (size > limit)
				break;
			size += 1 + value_size(child, limit);
		}
		return size;
	}
	return json_is_string(v) ? json_string_length(v) + 2 : 5;
}

/*
 * An index of an array with `len` elements. add: one past the end is allowed, and negative numbers count from there.
 * False when out of range or not a number.
 */
static bool array_index(const char *part, size_t len, bool add, size_t *ret)
{
	int64_t n;

	if (add && strcmp(part, "-") == 0) {
		*ret = len;
		return true;
	}
	if (str_to_i64(part, INT32_MIN, INT32_MAX, &n) < 0)
		return false;
	if (add)
		len++;
	if (n < 0)
		n += (int64_t)len;
	if (n < 0 || (size_t)n >= len)
		return false;
	*ret = (size_t)n;
	return true;
}

static json_t *child_get(const json_t *container, const char *part)
{
	size_t i;

	if (json_is_object(container))
		return json_object_get(container, part);
	if (json_is_array(container) && array_index(part, json_array_size(container), false, &i))
		return json_array_get(container, i);
	return NULL;
}

/* The value at the first `count` parts, borrowed; NULL when there is none. */
static json_t *pointer_get(const struct json_patcher *p, const struct pointer *ptr, size_t count)
{
	json_t *v = p->doc;

	for (size_t i = 0; v && i < count; i++)
		v = child_get(v, ptr->parts[i]);
	return v;
}

static int cannot_apply(struct json_patcher *p)
{
	return patch_cannot_apply(p->err);
}

/* Notes that a value of this depth goes in below `above` levels. */
static int depth_grows(struct json_patcher *p, size_t above, size_t depth)
{
	p->depth_bound = MAX(p->depth_bound, above + depth);
	if (p->depth_bound <= PATCH_MAX_DEPTH)
		return 0;
	return cannot_apply(p);
}

static int spend_moves(struct json_patcher *p, const json_t *container)
{
	if (json_is_array(container))
		p->move_left -= (int64_t)json_array_size(container);
	return p->move_left < 0 ? cannot_apply(p) : 0;
}

/* Puts value (moved) at ptr. replace: something must be there already. */
static int put(struct json_patcher *p, const struct pointer *ptr, json_t *value, bool replace)
{
	_cleanup_json_ json_t *own = value;
	const char *last;
	json_t *container;
	size_t i;

	if (ptr->count == 0) {
		json_decref(p->doc);
		p->doc = TAKE(own);
		return 0;
	}
	last = ptr->parts[ptr->count - 1];
	container = pointer_get(p, ptr, ptr->count - 1);
	if (json_is_object(container)) {
		if (replace && !json_object_get(container, last))
			return cannot_apply(p);
		return json_object_set_new(container, last, TAKE(own)) < 0 ? cannot_apply(p) : 0;
	}
	if (!json_is_array(container) || !array_index(last, json_array_size(container), !replace, &i))
		return cannot_apply(p);
	if (replace)
		return json_array_set_new(container, i, TAKE(own)) < 0 ? cannot_apply(p) : 0;
	if (spend_moves(p, container) < 0)
		return -EINVAL;
	return json_array_insert_new(container, i, TAKE(own)) < 0 ? cannot_apply(p) : 0;
}

/* Takes the value at ptr out; own. NULL with the error set when there is none. */
static json_t *take(struct json_patcher *p, const struct pointer *ptr)
{
	json_t *container, *value;
	const char *last;
	size_t i;

	value = ptr->count ? pointer_get(p, ptr, ptr->count) : NULL;
	if (!value) {
		cannot_apply(p);
		return NULL;
	}
	json_incref(value);
	last = ptr->parts[ptr->count - 1];
	container = pointer_get(p, ptr, ptr->count - 1);
	if (json_is_object(container)) {
		json_object_del(container, last);
	} else if (array_index(last, json_array_size(container), false, &i)) {
		if (spend_moves(p, container) < 0) {
			json_decref(value);
			return NULL;
		}
		json_array_remove(container, i);
	}
	return value;
}

static bool pointer_below(const struct pointer *path, const struct pointer *from)
{
	if (path->count <= from->count)
		return false;
	for (size_t i = 0; i < from->count; i++)
		if (strcmp(path->parts[i], from->parts[i]) != 0)
			return false;
	return true;
}

static int op_move(struct json_patcher *p, const struct pointer *from, const struct pointer *path)
{
	json_t *value;
	int r;

	if (pointer_below(path, from))
		return cannot_apply(p);
	value = take(p, from);
	if (!value)
		return -EINVAL;
	/* The bound assumes the deepest branch moves; measure now and then before giving up. */
	if (path->count > from->count)
		p->depth_bound += path->count - from->count;
	r = put(p, path, value, false);
	if (r < 0 || p->depth_bound <= PATCH_MAX_DEPTH)
		return r;
	if (p->measures++ < JSON_PATCH_MAX_MEASURES)
		p->depth_bound = patch_json_depth(p->doc);
	return depth_grows(p, 0, 0);
}

static int op_copy(struct json_patcher *p, const struct pointer *from, const struct pointer *path)
{
	json_t *value = pointer_get(p, from, from->count);

	if (!value)
		return cannot_apply(p);
	p->copy_left -= (int64_t)value_size(value, JSON_PATCH_MAX_COPY_BYTES);
	if (p->copy_left < 0)
		return cannot_apply(p);
	if (depth_grows(p, path->count, patch_json_depth(value)) < 0)
		return -EINVAL;
	return put(p, path, json_clone(value), false);
}

static int op_test(struct json_patcher *p, const struct pointer *path, const json_t *expected)
{
	const json_t *value = pointer_get(p, path, path->count);

	if (!value || json_is_null(value))
		return !expected || json_is_null(expected) ? 0 : cannot_apply(p);
	return expected && json_same(value, expected) ? 0 : cannot_apply(p);
}

static int apply_parsed(struct json_patcher *p, const char *op, const struct pointer *path, const struct pointer *from,
			const json_t *value)
{
	bool add = strcmp(op, "add") == 0;

	if (add || strcmp(op, "replace") == 0) {
		if (depth_grows(p, path->count, value ? patch_json_depth(value) : 0) < 0)
			return -EINVAL;
		return put(p, path, value ? json_clone(value) : json_null(), !add);
	}
	if (strcmp(op, "remove") == 0) {
		json_t *gone = take(p, path);

		json_decref(gone);
		return gone ? 0 : -EINVAL;
	}
	if (strcmp(op, "test") == 0)
		return op_test(p, path, value);
	if (!from)
		return cannot_apply(p);
	if (strcmp(op, "move") == 0)
		return op_move(p, from, path);
	if (strcmp(op, "copy") == 0)
		return op_copy(p, from, path);
	return cannot_apply(p);
}

static int apply_op(struct json_patcher *p, const json_t *op)
{
	const char *kind = json_string_value(json_object_get(op, "op"));
	const char *path = json_string_value(json_object_get(op, "path"));
	const char *from = json_string_value(json_object_get(op, "from"));
	_cleanup_(pointer_done) struct pointer to = {0}, source = {0};

	if (!kind || !path || !pointer_parse(path, &to))
		return cannot_apply(p);
	if (from && !pointer_parse(from, &source))
		return cannot_apply(p);
	return apply_parsed(p, kind, &to, from ? &source : NULL, json_object_get(op, "value"));
}

json_t *patch_json(const json_t *object, const json_t *ops, struct err *err)
{
	struct json_patcher p = {
		.copy_left = JSON_PATCH_MAX_COPY_BYTES,
		.move_left = JSON_PATCH_MAX_MOVED_ELEMENTS,
		.err = err,
	};
	json_t *op;
	size_t i;

	if (!json_is_array(ops)) {
		err_set_api(err, 400, "BadRequest", "json: cannot unmarshal %s into Go value of type jsonpatch.Patch",
			    patch_type_name(ops));
		return NULL;
	}
	json_array_foreach(ops, i, op) {
		if (json_is_object(op))
			continue;
		err_set_api(err, 400, "BadRequest",
			    "json: cannot unmarshal %s into Go value of type jsonpatch.Operation", patch_type_name(op));
		return NULL;
	}
	if (json_array_size(ops) > JSON_PATCH_MAX_OPS) {
		err_set_api(err, 413, "RequestEntityTooLarge",
			    "The allowed maximum operations in a JSON patch is %d, got %zu", JSON_PATCH_MAX_OPS,
			    json_array_size(ops));
		return NULL;
	}
	p.depth_bound = patch_json_depth(object);
	p.doc = json_clone(object);
	json_array_foreach(ops, i, op) {
		if (apply_op(&p, op) < 0) {
			json_decref(p.doc);
			return NULL;
		}
	}
	return p.doc;
}
