/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The informer's cache. An entry always has its compact text; its decoded form is there only while it is in use, because
 * it is ten times as large. Decoded entries form a list, so that sweeping costs what is decoded and not what is stored.
 * Index keys are computed once, when an object is stored.
 */
#include <errno.h>

#include "base/map.h"
#include "base/mem.h"
#include "kube/informer_internal.h"
#include "kube/object.h"

struct entry {
	struct entry *prev, *next; /* among the decoded ones */
	char *key, *rv, *text;
	json_t *decoded;
	char **index_keys;         /* one an index; NULL: not in it */
	uint32_t len, mark;
	bool used;                 /* since the last sweep */
};

struct index {
	struct index *next;
	char *name;
	char *(*key_of)(const json_t *object);
	struct map *buckets;       /* key -> struct bucket */
	size_t position;
};

struct bucket {
	struct entry **entries;
	size_t count, cap;
};

struct cache {
	struct map *entries;
	struct index *indexes;
	size_t index_count, decoded_count;
	struct entry *decoded;
	struct strbuf scratch;
	uint32_t mark;
	bool keys_only;
};

static void bucket_free(void *p)
{
	struct bucket *b = p;

	free(b->entries);
	free(b);
}

struct cache *cache_new(bool keys_only)
{
	struct cache *c = mem_new(struct cache);

	c->entries = map_new(NULL);
	c->keys_only = keys_only;
	return c;
}

static void drop_decoded(struct cache *c, struct entry *e)
{
	if (!e->decoded)
		return;
	json_decref(e->decoded);
	e->decoded = NULL;
	if (e->prev)
		e->prev->next = e->next;
	else
		c->decoded = e->next;
	if (e->next)
		e->next->prev = e->prev;
	c->decoded_count--;
}

static void set_decoded(struct cache *c, struct entry *e, json_t *v)
{
	drop_decoded(c, e);
	e->decoded = v;
	e->used = true;
	e->prev = NULL;
	e->next = c->decoded;
	if (c->decoded)
		c->decoded->prev = e;
	c->decoded = e;
	c->decoded_count++;
}

static json_t *decode(struct cache *c, struct entry *e)
{
	if (!e->decoded)
		set_decoded(c, e, json_parse(e->text, e->len, NULL, NULL));
	BUG_ON(!e->decoded); /* we wrote that text */
	e->used = true;
	return e->decoded;
}

static void unindex(struct index *x, struct entry *e)
{
	char *key = e->index_keys[x->position];

	if (!key)
		return;
	struct bucket *b = map_get(x->buckets, key);

	for (size_t i = 0; i < b->count; i++)
		if (b->entries[i] == e) {
			b->entries[i] = b->entries[--b->count];
			break;
		}
	if (!b->count)
		map_del(x->buckets, key);
	free(key);
	e->index_keys[x->position] = NULL;
}

static void index_entry(struct index *x, struct entry *e, const json_t *v)
{
	char *key = x->key_of(v);
	char *old = e->index_keys[x->position];

	if (key && old && str_eq(key, old)) {
		free(key);
		return;
	}
	unindex(x, e);
	e->index_keys[x->position] = key;
	if (!key)
		return;
	struct bucket *b = map_get(x->buckets, key);

	if (!b) {
		b = mem_new(struct bucket);
		map_set(x->buckets, key, b);
	}
	MEM_GROW(b->entries, b->cap, b->count + 1);
	b->entries[b->count++] = e;
}

static void entry_free(struct cache *c, struct entry *e)
{
	for (struct index *x = c->indexes; x; x = x->next)
		unindex(x, e);
	drop_decoded(c, e);
	free(e->index_keys);
	free(e->key);
	free(e->rv);
	free(e->text);
	free(e);
}

struct cache *cache_free(struct cache *c)
{
	void *e;
	size_t it = 0;

	if (!c)
		return NULL;
	while (map_next(c->entries, &it, NULL, &e))
		entry_free(c, e);
	map_free(c->entries);
	while (c->indexes) {
		struct index *x = c->indexes;

		c->indexes = x->next;
		map_free(x->buckets);
		free(x->name);
		free(x);
	}
	strbuf_done(&c->scratch);
	free(c);
	return NULL;
}

size_t cache_count(const struct cache *c)
{
	return map_count(c->entries);
}

size_t cache_decoded(const struct cache *c)
{
	return c->decoded_count;
}

/* What a deletion that nobody saw is reported with. */
static json_t *identity(const json_t *v)
{
	json_t *o = json_object();

	json_set_str(o, "metadata.name", object_name(v));
	json_set_str(o, "metadata.namespace", *object_namespace(v) ? object_namespace(v) : NULL);
	json_set_str(o, "metadata.uid", object_uid(v));
	return o;
}

static void set_text(struct cache *c, struct entry *e, const json_t *v)
{
	strbuf_reset(&c->scratch);
	json_write(&c->scratch, v);
	free(e->text);
	e->len = (uint32_t)c->scratch.len;
	e->text = mem_dup(c->scratch.data, c->scratch.len + 1);
	free(e->rv);
	e->rv = mem_strdup(object_resource_version(v));
	if (c->scratch.cap > 1 << 16)
		strbuf_done(&c->scratch);
}

bool cache_put(struct cache *c, const char *key, json_t *v, bool want_old, bool keep_decoded, bool *ret_existed,
	       json_t **ret_old)
{
	struct entry *e = map_get(c->entries, key);
	_cleanup_json_ json_t *kept = NULL;

	*ret_existed = e != NULL;
	*ret_old = NULL;
	if (e && *e->rv && str_eq(e->rv, object_resource_version(v))) {
		e->mark = c->mark;
		return false;
	}
	if (!e) {
		e = mem_new(struct entry);
		e->key = mem_strdup(key);
		e->index_keys = mem_new_n(char *, c->index_count + 1);
		map_set(c->entries, key, e);
	} else if (want_old && !c->keys_only) {
		*ret_old = json_incref(decode(c, e));
	}
	drop_decoded(c, e);
	e->mark = c->mark;
	if (c->keys_only) {
		kept = identity(v);
		set_text(c, e, kept);
		free(e->rv);
		e->rv = mem_strdup(object_resource_version(v));
		return true;
	}
	set_text(c, e, v);
	for (struct index *x = c->indexes; x; x = x->next)
		index_entry(x, e, v);
	if (keep_decoded)
		set_decoded(c, e, json_incref(v));
	return true;
}

json_t *cache_take(struct cache *c, const char *key)
{
	struct entry *e = map_take(c->entries, key);

	if (!e)
		return NULL;
	json_t *v = json_incref(decode(c, e));

	entry_free(c, e);
	return v;
}

json_t *cache_get(struct cache *c, const char *key)
{
	struct entry *e = map_get(c->entries, key);

	return e && !c->keys_only ? decode(c, e) : NULL;
}

json_t *cache_next(struct cache *c, size_t *it)
{
	void *e;

	return !c->keys_only && map_next(c->entries, it, NULL, &e) ? decode(c, e) : NULL;
}

int cache_add_index(struct cache *c, const char *name, char *(*key_of)(const json_t *object))
{
	size_t it = 0;
	void *p;

	for (struct index *x = c->indexes; x; x = x->next)
		if (str_eq(x->name, name))
			return -EEXIST;
	struct index *x = mem_new(struct index);

	x->name = mem_strdup(name);
	x->key_of = key_of;
	x->buckets = map_new(bucket_free);
	x->position = c->index_count++;
	x->next = c->indexes;
	c->indexes = x;
	while (map_next(c->entries, &it, NULL, &p)) {
		struct entry *e = p;

		e->index_keys = mem_realloc(e->index_keys, sizeof(*e->index_keys) * c->index_count);
		e->index_keys[x->position] = NULL;
		index_entry(x, e, decode(c, e));
	}
	return 0;
}

json_t **cache_by_index(struct cache *c, const char *name, const char *key, size_t *ret_count)
{
	*ret_count = 0;
	for (struct index *x = c->indexes; x; x = x->next) {
		struct bucket *b = str_eq(x->name, name) ? map_get(x->buckets, key) : NULL;

		if (!b)
			continue;
		json_t **found = mem_new_n(json_t *, b->count);

		for (size_t i = 0; i < b->count; i++)
			found[i] = decode(c, b->entries[i]);
		*ret_count = b->count;
		return found;
	}
	return NULL;
}

void cache_mark(struct cache *c)
{
	c->mark++;
}

void cache_unmarked(struct cache *c, struct strlist *keys)
{
	const char *key;
	size_t it = 0;
	void *p;

	while (map_next(c->entries, &it, &key, &p))
		if (((struct entry *)p)->mark != c->mark)
			strlist_add(keys, key);
}

size_t cache_sweep(struct cache *c, bool all)
{
	struct entry *next;

	for (struct entry *e = c->decoded; e; e = next) {
		next = e->next;
		/* What somebody holds a reference of would not become free. */
		if ((all || !e->used) && e->decoded->refcount == 1)
			drop_decoded(c, e);
		e->used = false;
	}
	return c->decoded_count;
}

/* ---- splitting a List ---- */

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

/* p on the opening quote; behind the closing one, or NULL. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '"')
			return p + 1;
		if (*p == '\\')
			p++;
	}
	return NULL;
}

/* Behind the value that starts at p, or NULL. */
static const char *skip_value(const char *p, const char *end)
{
	const char *start = p;
	int depth = 0;

	while (p && p < end) {
		switch (*p) {
		case '"': p = skip_string(p, end); break;
		case '{':
		case '[': depth++; p++; break;
		case '}':
		case ']':
			if (depth == 0)
				return p > start ? p : NULL;
			depth--;
			p++;
			break;
		case ',':
		case ' ':
		case '\n':
		case '\t':
		case '\r':
			if (depth == 0)
				return p > start ? p : NULL;
			p++;
			break;
		default:
			p++;
			continue;
		}
		if (depth == 0)
			return p;
	}
	return depth == 0 ? p : NULL;
}

int list_split(const char *s, size_t len, struct strbuf *rest, const char **ret_items, size_t *ret_len)
{
	const char *end = s + len, *p = skip_blanks(s, end);

	*ret_items = "";
	*ret_len = 0;
	if (p >= end || *p != '{')
		return -EINVAL;
	for (p = skip_blanks(p + 1, end); p < end && *p == '"';) {
		const char *key = p + 1, *key_end = skip_string(p, end);

		if (!key_end)
			return -EINVAL;
		p = skip_blanks(key_end, end);
		if (p >= end || *p != ':')
			return -EINVAL;
		const char *value = skip_blanks(p + 1, end);

		if (value >= end)
			return -EINVAL;
		p = skip_value(value, end);
		if (!p)
			return -EINVAL;
		if (key_end - key == 6 && memcmp(key, "items\"", 6) == 0 && *value == '[') {
			*ret_items = value + 1;
			*ret_len = (size_t)(p - value) - 2;
			strbuf_add(rest, s, (size_t)(value + 1 - s));
			strbuf_add(rest, p - 1, (size_t)(end - (p - 1)));
			return 0;
		}
		p = skip_blanks(p, end);
		if (p < end && *p == ',')
			p = skip_blanks(p + 1, end);
	}
	strbuf_add(rest, s, len);
	return 0;
}

bool list_next(const char **items, size_t *len, const char **ret_item, size_t *ret_len)
{
	const char *end = *items + *len, *p = skip_blanks(*items, end), *item;

	if (p < end && *p == ',')
		p = skip_blanks(p + 1, end);
	if (p >= end)
		return false;
	item = p;
	p = skip_value(p, end);
	if (!p || p == item)
		p = end; /* broken: the decoder will say so */
	*ret_item = item;
	*ret_len = (size_t)(p - item);
	*items = p;
	*len = (size_t)(end - p);
	return true;
}
