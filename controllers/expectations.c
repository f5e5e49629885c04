// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Expectations, one record a key, dropped as soon as nothing is expected any more: the map holds only keys with
 * writes in flight. Deletions are kept by uid, because a delete may be seen twice (deletionTimestamp, then gone).
 */
#include "controllers/expectations.h"

#include "base/map.h"
#include "base/mem.h"

struct record {
	unsigned creates;
	struct map *deletes; /* uid -> "" */
	int64_t since_ms;
};
struct expectations {
	struct map *records;
};

static void record_free(void *p)
{
	struct record *r = p;

	map_free(r->deletes);
	free(r);
}

struct expectations *expectations_new(void)
{
	struct expectations *e = mem_new(struct expectations);

	e->records = map_new(record_free);
	return e;
}

struct expectations *expectations_free(struct expectations *e)
{
	if (e) {
		map_free(e->records);
		free(e);
	}
	return NULL;
}

static struct record *record_of(struct expectations *e, const char *key, int64_t now_ms)
{
	struct record *r = map_get(e->records, key);

	if (!r) {
		r = mem_new(struct record);
		r->deletes = map_new(NULL);
		map_set(e->records, key, r);
	}
	r->since_ms = now_ms;
	return r;
}

static void drop_if_met(struct expectations *e, const char *key, const struct record *r)
{
	if (!r->creates && !map_count(r->deletes))
		map_del(e->records, key);
}

void expectations_create(struct expectations *e, const char *key, int64_t now_ms)
{
	record_of(e, key, now_ms)->creates++;
}

void expectations_delete(struct expectations *e, const char *key, const char *uid, int64_t now_ms)
{
	map_set(record_of(e, key, now_ms)->deletes, uid, "");
}

void expectations_created(struct expectations *e, const char *key)
{
	struct record *r = map_get(e->records, key);

	if (!r)
		return;
	if (r->creates)
		r->creates--;
	drop_if_met(e, key, r);
}

void expectations_deleted(struct expectations *e, const char *key, const char *uid)
{
	struct record *r = map_get(e->records, key);

	if (!r)
		return;
	map_del(r->deletes, uid);
	drop_if_met(e, key, r);
}

bool expectations_met(struct expectations *e, const char *key, int64_t now_ms)
{
	const struct record *r = map_get(e->records, key);

	if (!r)
		return true;
	if (now_ms - r->since_ms < EXPECTATIONS_LAPSE_MS)
		return false;
	map_del(e->records, key);
	return true;
}

void expectations_forget(struct expectations *e, const char *key)
{
	map_del(e->records, key);
}
