/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order of a list after a strategic merge. Every step is linear in the lists (but for sorting), because their
 * lengths come from the client.
 */
#include "apiserver/patch/patch_strategic.h"

#include "base/mem.h"

/* A text that two elements share exactly when they are the same element. False: the element has no key. */
static bool element_id(const json_t *item, const char *merge_key, struct strbuf *out)
{
	const json_t *v = merge_key ? json_object_get(item, merge_key) : item;

	strbuf_reset(out);
	if (!v)
		return false;
	strbuf_addc(out, *patch_type_name(v));
	strategic_go_print(out, v);
	return true;
}

void order_build(struct order *o, const json_t *list, const char *merge_key)
{
	json_t *item;
	size_t i;

	*o = (struct order){ .at = map_new(NULL), .merge_key = merge_key };
	json_array_foreach(list, i, item)
		order_add(o, item, i);
}

void order_add(struct order *o, const json_t *item, size_t index)
{
	_cleanup_strbuf_ struct strbuf id = {0};

	if (element_id(item, o->merge_key, &id) && !map_has(o->at, id.data))
		map_set(o->at, id.data, (void *)(uintptr_t)(index + 1));
}

ssize_t order_index(const struct order *o, const json_t *item)
{
	_cleanup_strbuf_ struct strbuf id = {0};

	if (!element_id(item, o->merge_key, &id))
		return -1;
	return (ssize_t)(uintptr_t)map_get(o->at, id.data) - 1;
}

void order_done(struct order *o)
{
	o->at = map_free(o->at);
}

bool order_same(const json_t *a, const json_t *b, const char *merge_key)
{
	if (merge_key) {
		a = json_object_get(a, merge_key);
		b = json_object_get(b, merge_key);
	}
	return a && b && json_same(a, b);
}

json_t *order_union(const json_t *a, const json_t *b)
{
	const json_t *lists[] = { a, b };
	json_t *all = json_array(), *item;
	struct order have;
	size_t i;

	order_build(&have, NULL, NULL);
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(lists[l], i, item) {
			if (order_index(&have, item) >= 0)
				continue;
			order_add(&have, item, i);
			json_array_append(all, item);
		}
	}
	order_done(&have);
	return all;
}

json_t *order_subtract(const json_t *a, const json_t *b, const char *merge_key)
{
	json_t *rest = json_array(), *item;
	struct order gone;
	size_t i;

	order_build(&gone, b, merge_key);
	json_array_foreach(a, i, item) {
		if (order_index(&gone, item) < 0)
			json_array_append(rest, item);
	}
	order_done(&gone);
	return rest;
}

struct placed {
	json_t *item;
	ssize_t rank; /* in the list that orders this part */
	ssize_t live; /* in the live list, -1: new */
	size_t seq;   /* keeps the sort stable */
};

static int placed_cmp(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->seq < y->seq ? -1 : 1;
}

json_t *order_normalize(const json_t *merged, const json_t *wanted, const json_t *live, const char *merge_key)
{
	size_t count = json_array_size(merged), nw = 0, ns = 0, w = 0, s = 0, i;
	_cleanup_free_ struct placed *want = mem_new_n(struct placed, count + 1),
				     *server = mem_new_n(struct placed, count + 1);
	struct order want_order, live_order;
	json_t *out = json_array(), *item;

	order_build(&want_order, wanted, merge_key);
	order_build(&live_order, live, merge_key);
	json_array_foreach(merged, i, item) {
		ssize_t at = order_index(&want_order, item), was = order_index(&live_order, item);

		if (at >= 0)
			want[nw++] = (struct placed){ item, at, was, i };
		else
			server[ns++] = (struct placed){ item, was, was, i };
	}
	qsort(want, nw, sizeof(*want), placed_cmp);
	qsort(server, ns, sizeof(*server), placed_cmp);
	while (w < nw || s < ns) {
		bool server_first = w >= nw;

		if (w < nw && s < ns)
			server_first = server[s].live >= 0 && want[w].live >= 0 && server[s].live < want[w].live;
		json_array_append(out, server_first ? server[s++].item : want[w++].item);
	}
	order_done(&want_order);
	order_done(&live_order);
	return out;
}

static int key_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_object(struct strbuf *out, const json_t *v)
{
	_cleanup_free_ const char **keys = mem_new_n(const char *, json_object_size(v) + 1);
	size_t n = 0;
	const char *key;
	json_t *child;

	json_object_foreach((json_t *)v, key, child)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), key_cmp);
	strbuf_adds(out, "map[");
	for (size_t i = 0; i < n; i++) {
		strbuf_addf(out, "%s%s:", i ? " " : "", keys[i]);
		strategic_go_print(out, json_object_get(v, keys[i]));
	}
	strbuf_addc(out, ']');
}

void strategic_go_print(struct strbuf *out, const json_t *v)
{
	json_t *child;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		print_object(out, v);
		break;
	case JSON_ARRAY:
		strbuf_addc(out, '[');
		json_array_foreach(v, i, child) {
			if (i)
				strbuf_addc(out, ' ');
			strategic_go_print(out, child);
		}
		strbuf_addc(out, ']');
		break;
	case JSON_STRING:
		strbuf_add(out, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		strbuf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		strbuf_addf(out, "%g", json_real_value(v));
		break;
	case JSON_NULL:
		strbuf_adds(out, "<nil>");
		break;
	default:
		strbuf_adds(out, json_is_true(v) ? "true" : "false");
	}
}
