/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cache of discovery and OpenAPI documents. A body lives while it is asked for; together the bodies stay under
 * BODIES_MAX_BYTES, the least recently used go first. What is kept for good is a key and an ETag each, and the keys are
 * bounded: only documents that exist get an entry.
 */
#include "apiserver/openapi/document.h"

#include <malloc.h>
#include <openssl/evp.h>

#include "base/map.h"
#include "base/mem.h"

enum { BODIES_MAX_BYTES = 2 << 20 };

struct entry {
	struct document document;
	uint64_t used;
	bool idle; /* not asked for since the last trim */
};
static struct map *entries;
static uint64_t clock_of_use;
static size_t bodies_bytes;

static void entry_free(void *p)
{
	struct entry *e = p;

	bytes_unref(e->document.body);
	free(e);
}

static void drop_body(struct entry *e)
{
	bodies_bytes -= e->document.body->len;
	e->document.body = bytes_unref(e->document.body);
}

/* Makes room, but never at the cost of keep. */
static void evict(const struct entry *keep)
{
	while (bodies_bytes > BODIES_MAX_BYTES) {
		struct entry *oldest = NULL;
		const char *key;
		void *value;
		size_t it = 0;

		while (map_next(entries, &it, &key, &value)) {
			struct entry *e = value;

			if (e != keep && e->document.body && (!oldest || e->used < oldest->used))
				oldest = e;
		}
		if (!oldest)
			return;
		drop_body(oldest);
	}
}

static void hash(const struct strbuf *b, char etag[static 65])
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	BUG_ON(EVP_Digest(b->data, b->len, md, &len, EVP_sha256(), NULL) != 1 || len != 32);
	for (unsigned i = 0; i < len; i++) {
		etag[2 * i] = digits[md[i] >> 4];
		etag[2 * i + 1] = digits[md[i] & 15];
	}
	etag[64] = 0;
}

static struct entry *build_entry(const char *key, document_build_fn build, const char *argument)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	struct entry *e;

	if (!build(&b, argument))
		return NULL;
	if (!entries)
		entries = map_new(entry_free);
	e = map_get(entries, key);
	if (!e) {
		e = mem_new(struct entry);
		hash(&b, e->document.etag);
		map_set(entries, key, e);
	}
	e->document.body = bytes_new(b.data, b.len);
	bodies_bytes += b.len;
	return e;
}

const struct document *document_get(const char *key, document_build_fn build, const char *argument)
{
	struct entry *e = entries ? map_get(entries, key) : NULL;

	if (!e || !e->document.body)
		e = build_entry(key, build, argument);
	if (!e)
		return NULL;
	e->used = ++clock_of_use;
	e->idle = false;
	evict(e);
	return &e->document;
}

const char *document_etag(const char *key, document_build_fn build, const char *argument)
{
	struct entry *e = entries ? map_get(entries, key) : NULL;

	if (!e) {
		e = build_entry(key, build, argument);
		if (!e)
			return NULL;
		drop_body(e);
	}
	return e->document.etag;
}

bool openapi_trim(void)
{
	bool freed = false;
	const char *key;
	void *value;
	size_t it = 0;

	while (entries && map_next(entries, &it, &key, &value)) {
		struct entry *e = value;

		if (e->document.body && e->idle) {
			drop_body(e);
			freed = true;
		}
		e->idle = true;
	}
	if (freed)
		malloc_trim(0);
	return freed;
}

void document_reset(void)
{
	entries = map_free(entries);
	bodies_bytes = 0;
}
