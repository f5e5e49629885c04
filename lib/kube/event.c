/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events (core/v1) as client-go's recorder makes them: the same object, reason and message within an hour is one Event
 * whose count grows; each source may say 25 things about an object and then one each five minutes. Each remembered event
 * has at most one call on the way; repeats that come meanwhile are folded into the next patch.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "kube/client_internal.h"
#include "kube/object.h"

enum {
	MAX_ENTRIES = 4096,
	MAX_IN_FLIGHT = 64,
	MAX_MESSAGE = 1024,
	BURST = 25,
	REFILL_MS = 300000, /* one more event about an object */
	FORGET_MS = 3600000,
};

struct entry {
	struct events *events;
	char *key;
	json_t *event;      /* as last sent; its name is ours */
	int64_t last_ms;
	struct kube_call *call;
	bool created, dirty;
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
	json_decref(e->event);
	free(e->key);
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

static void send_entry(struct entry *e);

static void on_sent(const struct kube_result *r, void *user)
{
	struct entry *e = user;
	bool was_created = e->created;

	e->call = NULL;
	e->events->in_flight--;
	if (kube_ok(r)) {
		e->created = true;
	} else {
		/* A patch that finds nothing: the Event has expired; say it anew. Other refusals end this one. */
		e->created = false;
		e->dirty |= was_created && r->status == 404;
		if (!e->dirty) {
			map_del(e->events->entries, e->key);
			return;
		}
	}
	if (e->dirty)
		send_entry(e);
}

static void send_entry(struct entry *e)
{
	const char *ns = object_namespace(e->event);

	if (e->events->in_flight >= MAX_IN_FLIGHT) {
		/* The API is slow or away: this is dropped, a later repeat may get through. */
		e->dirty = false;
		return;
	}
	e->dirty = false;
	e->events->in_flight++;
	if (e->created) {
		_cleanup_free_ char *path = kube_path("v1", "events", ns, object_name(e->event), NULL);
		_cleanup_json_ json_t *patch = json_object();

		json_object_set(patch, "count", json_object_get(e->event, "count"));
		json_object_set(patch, "lastTimestamp", json_object_get(e->event, "lastTimestamp"));
		e->call = kube_do(e->events->client, "PATCH", path, KUBE_MERGE_PATCH, patch, on_sent, e);
	} else {
		_cleanup_free_ char *path = kube_path("v1", "events", ns, NULL, NULL);

		e->call = kube_do(e->events->client, "POST", path, NULL, e->event, on_sent, e);
	}
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

static void repeat(struct entry *e)
{
	char now[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(clock_wall_s(), now);
	json_set(e->event, "count", json_integer(json_int(e->event, "count", 0) + 1));
	json_set_str(e->event, "lastTimestamp", now);
	e->dirty = true;
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
	_cleanup_free_ char *key = str_printf("%s|%s|%s|%s", source, type, reason, message.data);

	if (!may_say(ev, source))
		return;
	struct entry *e = map_get(ev->entries, key);

	if (e && clock_mono_ms() - e->last_ms < FORGET_MS) {
		repeat(e);
	} else {
		make_room(ev);
		e = mem_new(struct entry);
		e->events = ev;
		e->key = mem_strdup(key);
		e->event = make_event(component, node, object, type, reason, message.data);
		e->dirty = true;
		map_set(ev->entries, key, e);
	}
	e->last_ms = clock_mono_ms();
	if (!e->call)
		send_entry(e);
}
