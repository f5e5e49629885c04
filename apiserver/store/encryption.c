// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the store knows of encryption: which values could not be read, and how many objects are stored under which key. What
 * always holds: a key that opens nothing, or is not there, ends the start, so that no server ever works on a store of which it sees
 * a part; a single value that its key does not open is kept as it is.
 */
#include <errno.h>
#include <string.h>

#include "apiserver/store/store_internal.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"

enum { MAX_LOGGED = 20 };

void store_unreadable_free(void *unreadable)
{
	struct unreadable *u = unreadable;
	free(u->why);
	free(u);
}

void store_mark_unreadable(struct store *s, uint16_t resource, const char *key, uint16_t form, int status, const char *why)
{
	_cleanup_free_ char *full = store_full_key(s, resource, key);
	struct unreadable *u = mem_new(struct unreadable);
	*u = (struct unreadable){ resource, form, status, mem_strdup(why) };
	if (map_count(s->unreadable) < MAX_LOGGED)
		log_error("the stored value %s cannot be read and is left alone: %s", full, why);
	map_set(s->unreadable, full, u);
}

void store_mark_readable(struct store *s, const char *full_key)
{
	if (map_count(s->unreadable))
		map_del(s->unreadable, full_key);
}

void store_count_form(struct store *s, const struct store_object *object, int add)
{
	struct place *p = &s->places[object->resource];
	size_t had = p->by_form_cap;
	if (object->form >= had) {
		MEM_GROW(p->by_form, p->by_form_cap, (size_t)object->form + 1);
		memset(p->by_form + had, 0, (p->by_form_cap - had) * sizeof(*p->by_form));
	}
	p->by_form[object->form] += (uint32_t)add;
}

static uint32_t form_count(const struct store *s, uint16_t resource, uint16_t form)
{
	const struct place *p = &s->places[resource];
	return form < p->by_form_cap ? p->by_form[form] : 0;
}

/* Whether any object was read by that key. */
static bool opens_something(const struct store *s, uint16_t form)
{
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++)
		if (form_count(s, (uint16_t)i, form))
			return true;
	return false;
}

/* Plain values are to become encrypted ones: what they leave behind in the engine's file is overwritten from now on. */
static void decide_wipe(struct store *s)
{
	for (size_t i = 0; i < STORE_MAX_RESOURCES && !s->wipe; i++)
		s->wipe = form_count(s, (uint16_t)i, 0) && crypt_encrypts(s->hooks.crypt, s->hooks.place_name((uint16_t)i));
}

int store_check_readable(struct store *s, struct err *err)
{
	size_t it = 0, bad = 0;
	const char *key, *first = NULL, *why = NULL;
	void *value;
	while (map_next(s->unreadable, &it, &key, &value)) {
		const struct unreadable *u = value;
		if (u->status != -ENOKEY && opens_something(s, u->form))
			continue;
		bad++;
		if (!first || strcmp(key, first) < 0) {
			first = key;
			why = u->why;
		}
	}
	decide_wipe(s);
	if (!bad)
		return 0;
	return err_set(err, ENOKEY, "%zu value%s of the store cannot be read, such as %s: %s. Nothing was changed. Start with an "
		       "--encryption-provider-config that has the keys they were written by", bad, bad == 1 ? "" : "s", first, why);
}

static bool in_scope(const struct unreadable *u, const char *full, uint16_t resource, const char *ns, const char *key)
{
	const char *rest = strchr(full, ':') + 1;
	size_t len = strlen(ns);
	if (u->resource != resource)
		return false;
	if (key)
		return str_eq(rest, key);
	return !len || (strncmp(rest, ns, len) == 0 && rest[len] == '/');
}

char *store_unreadable(const struct store *s, uint16_t resource, const char *ns, const char *key)
{
	size_t it = 0;
	const char *full, *first = NULL;
	const struct unreadable *of_first = NULL;
	void *value;
	while (map_count(s->unreadable) && map_next(s->unreadable, &it, &full, &value))
		if (in_scope(value, full, resource, ns, key) && (!first || strcmp(full, first) < 0)) {
			first = full;
			of_first = value;
		}
	return first ? str_printf("unable to transform key \"%s\": %s", first, of_first->why) : NULL;
}

bool store_is_stale(const struct store *s, const struct store_object *object)
{
	return crypt_is_stale(s->hooks.crypt, s->hooks.place_name(object->resource), object->form);
}

static int refuse(const struct store *s, uint16_t resource, uint16_t form, const char *which, struct err *err)
{
	return err_set(err, EBUSY, "%s of %s are stored under the key %s, which it does not have there: write them again first", which,
		       s->hooks.place_name(resource), crypt_form_name(form));
}

/* What an etcd has not been sent yet is encrypted when it is; the engine's writes have their form from the start. */
static int check_pending(const struct store *s, const struct pending *p, const struct encryption_config *next, struct err *err)
{
	for (; p; p = p->next)
		if (!p->deleted && (p->value || !s->shared) && !crypt_form_fits(p->object->form, next, s->hooks.place_name(p->object->resource)))
			return refuse(s, p->object->resource, p->object->form, "writes under way", err);
	return 0;
}

int store_check_encryption(const struct store *s, const struct encryption_config *next, struct err *err)
{
	size_t it = 0;
	const char *key;
	void *value;
	int rc;
	for (uint16_t i = 0; i < STORE_MAX_RESOURCES; i++)
		for (uint16_t form = 0; form < s->places[i].by_form_cap; form++) {
			_cleanup_free_ char *which = str_printf("%u objects", form_count(s, i, form));
			if (form_count(s, i, form) && !crypt_form_fits(form, next, s->hooks.place_name(i)))
				return refuse(s, i, form, which, err);
		}
	while (map_next(s->unreadable, &it, &key, &value)) {
		const struct unreadable *u = value;
		if (u->status == -EBADMSG && !crypt_form_fits(u->form, next, s->hooks.place_name(u->resource)))
			return refuse(s, u->resource, u->form, "values that cannot be read", err);
	}
	rc = check_pending(s, s->flying, next, err);
	if (!rc)
		rc = check_pending(s, s->queued, next, err);
	return rc || !s->shared ? rc : check_pending(s, shared_writes(s->shared), next, err);
}

void store_encryption_taken(struct store *s)
{
	size_t it = 0;
	const char *key;
	void *value;
	decide_wipe(s);
	/* Their changes have been missed: only a start shows them in order. */
	while (map_next(s->unreadable, &it, &key, &value))
		if (((const struct unreadable *)value)->status == -ENOKEY && !s->broken) {
			s->broken = true;
			s->hooks.broken("values that could not be read are read again, with the new encryption configuration, at the next "
					"start", s->hooks.user);
		}
}

void store_tell_encryption(const struct store *s)
{
	static const char name[] = "keelson_apiserver_stored_objects", help[] = "Objects in the store by the key they are encrypted by.";
	for (uint16_t i = 0; i < STORE_MAX_RESOURCES; i++) {
		const char *place = s->hooks.place_name(i);
		if (!place || (s->places[i].by_form_cap <= 1 && !crypt_encrypts(s->hooks.crypt, place)))
			continue;
		for (uint16_t form = 0; form < MAX(s->places[i].by_form_cap, 1u); form++) {
			_cleanup_free_ char *labels = str_printf("key=\"%s\",resource=\"%s\"", crypt_form_name(form), place);
			if (form < crypt_form_count())
				metrics_gauge_set(name, help, labels, form_count(s, i, form));
		}
	}
}
