/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events (core/v1) as client-go's recorder makes them: the same object, reason and message within an hour is one Event
 * whose count grows; each source may say 25 things about an object and then one each five minutes. Each remembered event
 * has at most one call on the way; repeats that come meanwhile are folded into the next patch. What is remembered is
 * small: a hash, the Event's name and its count.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "kube/client_internal.h"
#include "kube/object.h"

enum {
	MAX_ENTRIES = 1024,
	MAX_IN_FLIGHT = 256,
	MAX_MESSAGE = 1024,
	BURST = 25,
	REFILL_MS = 300000, /* one more event about an object */
	FORGET_MS = 3600000,
};

struct entry {
	struct events *events;
	char key[40];
	char *ns, *name;    /* of the Event */
	int64_t last_ms, count;
	struct kube_call *call;
	bool dirty;         /* repeated since the call on the way was made */
};

struct bucket {
	int64_t since_ms;
	unsigned tokens;
};

struct events {
	struct kube_client *client;
	struct map *entries; /* key -> struct entry */
	struct map *buckets; /* source and object -> struct bucket */
	unsigned in_flight;
};

static void entry_free(void *p)
{
	struct entry *e = p;

	if (e->call)
		e->events->in_flight--;
	kube_call_cancel(e->call);
	free(e->ns);
	free(e->name);
	free(e);
}

struct events *events_free(struct events *e)
{
	if (e) {
		map_free(e->entries);
		map_free(e->buckets);
		free(e);
	}
	return NULL;
}

static struct events *events_of(struct kube_client *c)
{
	struct events **slot = kube_client_events(c);

	if (!*slot) {
		*slot = mem_new(struct events);
		(*slot)->client = c;
		(*slot)->entries = map_new(entry_free);
		(*slot)->buckets = map_new(free);
	}
	return *slot;
}

/* 128 bits: two texts never meet in practice. */
static void hash_key(const char *text, char out[static 40])
{
	size_t len = strlen(text);

	snprintf(out, 40, "%016llx%016llx", (unsigned long long)hash_bytes(text, len, 0),
		 (unsigned long long)hash_bytes(text, len, 0x9e3779b97f4a7c15u));
}

/* A token bucket for each source and object. */
static bool may_say(struct events *ev, const char *source)
{
	int64_t now = clock_mono_ms();
	struct bucket *b = map_get(ev->buckets, source);

	if (!b) {
		if (map_count(ev->buckets) >= MAX_ENTRIES)
			map_clear(ev->buckets);
		b = mem_new(struct bucket);
		b->tokens = BURST;
		b->since_ms = now;
		map_set(ev->buckets, source, b);
	}
	int64_t more = (now - b->since_ms) / REFILL_MS;

	b->since_ms += more * REFILL_MS;
	b->tokens = (unsigned)MIN((int64_t)BURST, b->tokens + more);
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}

/* Forgets what was not said for an hour; when nothing is that old, everything that is not on the way. */
static void make_room(struct events *ev)
{
	int64_t now = clock_mono_ms();
	void *value;

	for (int64_t age = FORGET_MS; map_count(ev->entries) >= MAX_ENTRIES && age >= 0; age -= FORGET_MS) {
		size_t it = 0;

		while (map_next(ev->entries, &it, NULL, &value)) {
			struct entry *e = value;

			if (!e->call && now - e->last_ms >= age)
				map_del(ev->entries, e->key);
		}
	}
}

static void patch_count(struct entry *e);

static void on_sent(const struct kube_result *r, void *user)
{
	struct entry *e = user;

	e->call = NULL;
	e->events->in_flight--;
	/* Refused, or a patch of an Event that has expired: a repeat makes a new one. */
	if (!kube_ok(r))
		map_del(e->events->entries, e->key);
	else if (e->dirty)
		patch_count(e);
}

static void patch_count(struct entry *e)
{
	char now[CLOCK_RFC3339_SIZE];

	e->dirty = false;
	/* The API is slow or away: this repeat is counted with a later one. */
	if (e->events->in_flight >= MAX_IN_FLIGHT)
		return;
	clock_format_rfc3339(clock_wall_s(), now);
	_cleanup_free_ char *path = kube_path("v1", "events", e->ns, e->name, NULL);
	_cleanup_json_ json_t *patch = json_pack("{s:I, s:s}", "count", (json_int_t)e->count, "lastTimestamp", now);

	e->events->in_flight++;
	e->call = kube_do(e->events->client, "PATCH", path, KUBE_MERGE_PATCH, patch, on_sent, e);
}

static json_t *reference(const json_t *object)
{
	static const struct {
		const char *to, *from;
	} fields[] = {
		{ "kind", "kind" },         { "namespace", "metadata.namespace" },
		{ "name", "metadata.name" }, { "uid", "metadata.uid" },
		{ "apiVersion", "apiVersion" }, { "resourceVersion", "metadata.resourceVersion" },
	};
	json_t *ref = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		json_set_str(ref, fields[i].to, json_str(object, fields[i].from));
	return ref;
}

static json_t *make_event(const char *component, const char *node, const json_t *object, const char *type,
			  const char *reason, const char *message)
{
	char now[CLOCK_RFC3339_SIZE], hex[24];
	const char *ns = object_namespace(object);
	json_t *e = json_object();
	uint32_t noise;

	clock_format_rfc3339(clock_wall_s(), now);
	rand_bytes(&noise, sizeof(noise));
	snprintf(hex, sizeof(hex), "%llx", (unsigned long long)clock_wall_us() * 1000 + noise % 1000);
	json_set_str(e, "apiVersion", "v1");
	json_set_str(e, "kind", "Event");
	json_set(e, "metadata.name", json_sprintf("%s.%s", object_name(object), hex));
	json_set_str(e, "metadata.namespace", *ns ? ns : "default");
	json_object_set_new(e, "involvedObject", reference(object));
	json_set_str(e, "reason", reason);
	json_set_str(e, "message", message);
	json_set_str(e, "source.component", component);
	json_set_str(e, "source.host", str_empty(node) ? NULL : node);
	json_set_str(e, "firstTimestamp", now);
	json_set_str(e, "lastTimestamp", now);
	json_set(e, "count", json_integer(1));
	json_set_str(e, "type", type);
	json_set_str(e, "reportingComponent", component);
	json_set_str(e, "reportingInstance", str_empty(node) ? "" : node);
	return e;
}

static void create(struct events *ev, const char *key, const json_t *event)
{
	const char *ns = object_namespace(event);
	_cleanup_free_ char *path = kube_path("v1", "events", ns, NULL, NULL);

	if (ev->in_flight >= MAX_IN_FLIGHT)
		return;
	make_room(ev);
	struct entry *e = mem_new(struct entry);

	e->events = ev;
	snprintf(e->key, sizeof(e->key), "%s", key);
	e->ns = mem_strdup(ns);
	e->name = mem_strdup(object_name(event));
	e->count = 1;
	e->last_ms = clock_mono_ms();
	map_set(ev->entries, key, e);
	ev->in_flight++;
	e->call = kube_do(ev->client, "POST", path, NULL, event, on_sent, e);
}

void kube_event(struct kube_client *c, const char *component, const char *node, const json_t *object, const char *type,
		const char *reason, const char *fmt, ...)
{
	struct events *ev = events_of(c);
	_cleanup_strbuf_ struct strbuf message = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&message, fmt, ap);
	va_end(ap);
	if (message.len > MAX_MESSAGE) {
		/* Not in the middle of a character. */
		message.len = MAX_MESSAGE;
		while (message.len && ((unsigned char)message.data[message.len] & 0xc0) == 0x80)
			message.len--;
		message.data[message.len] = '\0';
	}
	_cleanup_free_ char *source = str_printf("%s/%s/%s/%s/%s", component, json_str_or(object, "kind", ""),
						 object_namespace(object), object_name(object), object_uid(object));
	_cleanup_free_ char *all = str_printf("%s|%s|%s|%s", source, type, reason, message.data);
	char source_key[40], key[40];

	hash_key(source, source_key);
	hash_key(all, key);
	if (!may_say(ev, source_key))
		return;
	struct entry *e = map_get(ev->entries, key);

	if (!e || clock_mono_ms() - e->last_ms >= FORGET_MS) {
		_cleanup_json_ json_t *event = make_event(component, node, object, type, reason, message.data);

		create(ev, key, event);
		return;
	}
	e->count++;
	e->last_ms = clock_mono_ms();
	e->dirty = true;
	if (!e->call)
		patch_count(e);
}
