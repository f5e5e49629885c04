// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/apply/managed.h"

#include <string.h>

#include "apiserver/apply/fieldset.h"
#include "apiserver/apply/typed.h"
#include "apiserver/http/status.h"
#include "base/mem.h"

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define BEFORE_FIRST "before-first-apply"
#define ANCIENT "ancient-changes"

/* ---- entries */

static const char *text_of(const json_t *entry, const char *key)
{
	const char *s = json_string_value(json_object_get(entry, key));
	return s ? s : "";
}

static bool is_apply(const json_t *entry)
{
	return str_eq(text_of(entry, "operation"), "Apply");
}

static json_t *entry_new(const struct managed_request *q, const char *manager, bool apply, json_t *set)
{
	json_t *e = json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "manager", manager, "operation", apply ? "Apply" : "Update", "apiVersion",
			      q->api_version, "time", q->now, "fieldsType", "FieldsV1", "fieldsV1", set);
	if (e && !str_empty(q->sub))
		json_object_set_new(e, "subresource", json_string(q->sub));
	return e;
}

/* Whether this is the entry that a request of this kind writes. */
static bool is_entry_of(const json_t *e, const struct managed_request *q, bool apply)
{
	return is_apply(e) == apply && str_eq(text_of(e, "manager"), q->manager) &&
	       str_eq(text_of(e, "subresource"), q->sub ? q->sub : "") &&
	       (apply || str_eq(text_of(e, "apiVersion"), q->api_version));
}

static json_t *entry_find(const json_t *list, const struct managed_request *q, bool apply)
{
	json_t *e;
	size_t i;
	json_array_foreach((json_t *)list, i, e)
		if (is_entry_of(e, q, apply))
			return e;
	return NULL;
}

static json_t *entry_set(const json_t *e)
{
	return json_object_get(e, "fieldsV1");
}

/* The entry owns set (moved) from now on. */
static void entry_change(json_t *e, json_t *set, const char *now)
{
	json_object_set_new(e, "time", json_string(now));
	json_object_set_new(e, "fieldsV1", set);
}

static bool valid_list(const json_t *list)
{
	json_t *e;
	size_t i;
	if (!json_is_array(list) || json_array_size(list) == 0)
		return false;
	json_array_foreach((json_t *)list, i, e)
		if (!json_is_object(entry_set(e)) || str_empty(text_of(e, "operation")))
			return false;
	return true;
}

/* Own: entries that may be changed, with the same sets. */
static json_t *entries_copy(const json_t *list)
{
	json_t *out = json_array(), *e;
	size_t i;
	json_array_foreach((json_t *)list, i, e)
		json_array_append_new(out, json_copy(e));
	return out;
}

/* Own: the entries the object has, copied; an empty list without any. */
static json_t *entries_of(const json_t *object)
{
	json_t *list = json_at(object, "metadata.managedFields");
	return valid_list(list) ? entries_copy(list) : json_array();
}

static bool is_reset(const json_t *list)
{
	return json_is_array(list) && (json_array_size(list) == 0 ||
				       (json_array_size(list) == 1 && json_object_size(json_array_get(list, 0)) == 0));
}

/* ---- what nobody owns */

/* Drops what the server sets, and what belongs to another subresource. */
static void strip(const struct managed_request *q, json_t *set)
{
	static const char *const meta[] = { ".", "f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:generation",
		"f:managedFields", "f:resourceVersion", "f:deletionTimestamp", "f:deletionGracePeriodSeconds" };
	json_t *metadata = json_object_get(set, "f:metadata");
	json_object_del(set, "f:apiVersion");
	json_object_del(set, "f:kind");
	for (size_t i = 0; i < ARRAY_SIZE(meta); i++)
		json_object_del(metadata, meta[i]);
	if (metadata && json_object_size(metadata) == 0)
		json_object_del(set, "f:metadata");
	if (str_empty(q->sub) && q->has_status_sub)
		json_object_del(set, "f:status");
	else if (q->sub && str_eq(q->sub, "status"))
		json_object_del(set, "f:spec");
}

/* ---- all managers together */

/* Takes changed fields from every other manager (all but `but`, may be NULL) and what is gone from all. */
static void take_from_others(json_t *list, const json_t *but, const json_t *changed, const json_t *removed)
{
	for (size_t i = 0; i < json_array_size(list);) {
		json_t *e = json_array_get(list, i), *set = entry_set(e);
		bool loses = fieldset_touches(set, removed);
		if (!loses && (e == but || !fieldset_touches(set, changed)) && !fieldset_empty(set)) {
			i++;
			continue;
		}
		json_t *left = fieldset_without(set, removed);
		if (e != but) {
			json_t *rest = fieldset_difference(left, changed);
			json_decref(left);
			left = rest;
		}
		bool empty = fieldset_empty(left);
		/* What others lose is not their doing: their time stays. */
		json_object_set_new(e, "fieldsV1", left);
		if (empty && e != but)
			json_array_remove(list, i);
		else
			i++;
	}
}

static void drop_if_empty(json_t *list, const json_t *e)
{
	json_t *v;
	size_t i;
	if (!fieldset_empty(entry_set(e)))
		return;
	json_array_foreach(list, i, v)
		if (v == e) {
			json_array_remove(list, i);
			return;
		}
}

static json_t *everything_owned(const json_t *list)
{
	json_t *all = json_object(), *e;
	size_t i;
	json_array_foreach((json_t *)list, i, e) {
		json_t *more = fieldset_union(all, entry_set(e));
		json_decref(all);
		all = more;
	}
	return all;
}

/* Entries of many small updaters become one, the oldest first. */
static void cap_updaters(json_t *list)
{
	for (;;) {
		json_t *oldest[2] = { NULL, NULL }, *e;
		size_t i, updaters = 0;
		json_array_foreach(list, i, e) {
			if (is_apply(e) || !str_empty(text_of(e, "subresource")))
				continue;
			updaters++;
			bool ancient = str_eq(text_of(e, "manager"), ANCIENT);
			if (ancient || !oldest[0] ||
			    (!str_eq(text_of(oldest[0], "manager"), ANCIENT) && strcmp(text_of(e, "time"), text_of(oldest[0], "time")) < 0)) {
				oldest[1] = oldest[0];
				oldest[0] = e;
			} else if (!oldest[1] || strcmp(text_of(e, "time"), text_of(oldest[1], "time")) < 0) {
				oldest[1] = e;
			}
		}
		if (updaters <= MANAGED_MAX_UPDATERS || !oldest[1])
			return;
		json_object_set_new(oldest[1], "fieldsV1", fieldset_union(entry_set(oldest[0]), entry_set(oldest[1])));
		json_object_set_new(oldest[1], "manager", json_string(ANCIENT));
		json_array_foreach(list, i, e)
			if (e == oldest[0])
				break;
		json_array_remove(list, i);
	}
}

static int entry_order(const void *a, const void *b)
{
	static const char *const keys[] = { "operation", "time", "manager", "apiVersion", "subresource" };
	json_t *const *x = a, *const *y = b;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		int c = strcmp(text_of(*x, keys[i]), text_of(*y, keys[i]));
		if (c)
			return c;
	}
	return 0;
}

/* Sets list (moved) as the object's managedFields. */
static void entries_put(json_t *object, json_t *list)
{
	size_t n = json_array_size(list);
	_cleanup_free_ json_t **sorted = mem_new_n(json_t *, n + 1);
	json_t *out = json_array();
	cap_updaters(list);
	n = json_array_size(list);
	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(list, i);
	qsort(sorted, n, sizeof(*sorted), entry_order);
	for (size_t i = 0; i < n; i++)
		json_array_append(out, sorted[i]);
	json_decref(list);
	if (n)
		json_set(object, "metadata.managedFields", out);
	else {
		json_decref(out);
		json_unset(object, "metadata.managedFields");
	}
}

/* ---- ordinary writes */

static void own_changes(const struct managed_request *q, json_t *list, const json_t *old, const json_t *object)
{
	_cleanup_json_ json_t *changed = NULL, *removed = NULL;
	typed_compare(q->message, old, object, &changed, &removed);
	strip(q, changed);
	json_t *mine = entry_find(list, q, false);
	take_from_others(list, mine, changed, removed);
	if (mine && !fieldset_empty(changed)) {
		entry_change(mine, fieldset_union(entry_set(mine), changed), q->now);
	} else if (mine) {
		drop_if_empty(list, mine);
	} else if (!fieldset_empty(changed)) {
		json_array_append_new(list, entry_new(q, q->manager, false, json_incref(changed)));
	}
}

void managed_update(const struct managed_request *q, const json_t *old, json_t *object)
{
	json_t *sent = json_at(object, "metadata.managedFields");
	if (is_reset(sent)) {
		json_unset(object, "metadata.managedFields");
		return;
	}
	_cleanup_json_ json_t *list = valid_list(sent) ? entries_copy(sent) : entries_of(old);
	json_unset(object, "metadata.managedFields");
	if (old && json_array_size(list) == 0)
		return; /* nobody keeps a record of it */
	own_changes(q, list, old, object);
	entries_put(object, TAKE(list));
}

/* ---- apply */

struct conflicts {
	json_t *causes; /* own */
	struct strbuf lines; /* of the manager at hand */
	struct strbuf all;
	char *first_path, *first_manager;
	char *manager; /* as it is printed; own */
	size_t count;
};

static char *manager_text(const json_t *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	strbuf_add_json(&b, text_of(e, "manager"), strlen(text_of(e, "manager")));
	if (*text_of(e, "subresource")) {
		strbuf_adds(&b, " with subresource ");
		strbuf_add_json(&b, text_of(e, "subresource"), strlen(text_of(e, "subresource")));
	}
	if (!is_apply(e))
		strbuf_addf(&b, " using %s", text_of(e, "apiVersion"));
	return strbuf_take(&b);
}

static void add_conflict(const char *path, void *user)
{
	struct conflicts *c = user;
	_cleanup_free_ char *message = str_printf("conflict with %s", c->manager);
	json_array_append_new(c->causes, json_pack("{s:s,s:s,s:s}", "reason", "FieldManagerConflict", "message", message, "field", path));
	if (!c->count++) {
		c->first_path = mem_strdup(path);
		c->first_manager = mem_strdup(c->manager);
	}
	strbuf_addf(&c->lines, "\n- %s", path);
}

static json_t *conflict_status(struct conflicts *c)
{
	json_t *s;
	if (c->count == 1)
		s = status_new(409, "Conflict", "Apply failed with 1 conflict: conflict with %s: %s", c->first_manager, c->first_path);
	else
		s = status_new(409, "Conflict", "Apply failed with %zu conflicts: %s", c->count, c->all.data);
	json_object_set_new(s, "details", json_pack("{s:O}", "causes", c->causes));
	return s;
}

static int by_manager(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;
	int c = strcmp(text_of(*x, "manager"), text_of(*y, "manager"));
	return c ? c : entry_order(a, b);
}

/* What others own of the changed fields. NULL: nothing. */
static json_t *find_conflicts(const json_t *list, const json_t *mine, const json_t *changed)
{
	struct conflicts c = { .causes = json_array() };
	size_t n = json_array_size(list);
	_cleanup_free_ json_t **sorted = mem_new_n(json_t *, n + 1);
	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(list, i);
	qsort(sorted, n, sizeof(*sorted), by_manager);
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *both = sorted[i] == mine ? json_object() : fieldset_intersection(entry_set(sorted[i]), changed);
		if (fieldset_empty(both))
			continue;
		free(c.manager);
		c.manager = manager_text(sorted[i]);
		strbuf_reset(&c.lines);
		fieldset_each(both, add_conflict, &c);
		strbuf_addf(&c.all, "%sconflicts with %s:%s", c.all.len ? "\n" : "", c.manager, c.lines.data);
	}
	json_t *status = c.count ? conflict_status(&c) : NULL;
	json_decref(c.causes);
	strbuf_done(&c.lines);
	strbuf_done(&c.all);
	free(c.manager);
	free(c.first_path);
	free(c.first_manager);
	return status;
}

/* kubectl takes over from its own client-side past without being asked to force: what its annotation says is its own. */
static json_t *less_last_applied(const struct managed_request *q, const json_t *live, json_t *changed)
{
	const char *text = json_string_value(json_object_get(json_at(live, "metadata.annotations"), LAST_APPLIED));
	if (!str_eq(q->manager, "kubectl") || !text)
		return changed;
	_cleanup_json_ json_t *last = json_parse(text, strlen(text), NULL, NULL);
	if (!json_is_object(last))
		return changed;
	_cleanup_json_ json_t *was = typed_fields(q->message, last);
	json_t *rest = fieldset_difference(changed, was);
	json_decref(changed);
	return rest;
}

/* Whoever goes back to client-side apply compares with the annotation: kubectl's own configuration keeps it up to date. */
static void refresh_last_applied(const struct managed_request *q, const json_t *config, json_t *object)
{
	json_t *annotations = json_at(object, "metadata.annotations");
	if (!str_eq(q->manager, "kubectl") || !str_empty(q->sub) || !json_object_get(annotations, LAST_APPLIED))
		return;
	_cleanup_json_ json_t *c = json_clone(config);
	json_t *own = json_at(c, "metadata.annotations");
	if (!json_is_object(own))
		json_set(c, "metadata.annotations", json_object());
	json_object_del(own, LAST_APPLIED);
	_cleanup_free_ char *text = json_dumps(c, JSON_COMPACT | JSON_SORT_KEYS);
	if (text)
		json_object_set_new(annotations, LAST_APPLIED, json_sprintf("%s\n", text));
}

static json_t *merged(const struct managed_request *q, json_t *list, const json_t *live, const json_t *config, json_t *set)
{
	json_t *mine = entry_find(list, q, true), *last = mine ? json_incref(entry_set(mine)) : NULL;
	json_t *object = typed_merge(q->message, live, config);
	if (!mine)
		json_array_append_new(list, entry_new(q, q->manager, true, json_incref(set)));
	else if (!json_equal(last, set))
		entry_change(mine, json_incref(set), q->now);
	if (last) {
		_cleanup_json_ json_t *owned = everything_owned(list);
		typed_prune(q->message, object, last, owned);
	}
	json_decref(last);
	return object;
}

static json_t *not_appliable(const json_t *config, const struct err *err)
{
	return status_new(500, "InternalError", "failed to create typed patch object (%s/%s; %s): %s",
			  json_str_or(config, "metadata.namespace", ""), json_str_or(config, "metadata.name", ""),
			  json_str_or(config, "kind", ""), err_msg(err));
}

json_t *managed_apply(const struct managed_request *q, const json_t *live, const json_t *config, json_t **ret_status)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *list = live ? entries_of(live) : json_array(), *changed = NULL, *removed = NULL, *set = NULL;
	_cleanup_json_ json_t *object = NULL, *empty = json_object();
	if (json_at(config, "metadata.managedFields")) {
		*ret_status = status_bad_request("metadata.managedFields must be nil");
		return NULL;
	}
	if (typed_check(q->message, config, &err) < 0) {
		*ret_status = not_appliable(config, &err);
		return NULL;
	}
	if (live && json_array_size(list) == 0) {
		struct managed_request before = *q;
		before.manager = BEFORE_FIRST;
		before.sub = NULL;
		own_changes(&before, list, NULL, live);
	}
	set = typed_fields(q->message, config);
	strip(q, set);
	object = merged(q, list, live ? live : empty, config, set);
	typed_compare(q->message, live, object, &changed, &removed);
	strip(q, changed);
	json_t *mine = entry_find(list, q, true);
	if (!q->force) {
		_cleanup_json_ json_t *contested = less_last_applied(q, live, json_incref(changed));
		*ret_status = find_conflicts(list, mine, contested);
		if (*ret_status)
			return NULL;
	}
	take_from_others(list, mine, changed, removed);
	refresh_last_applied(q, config, object);
	if (!fieldset_empty(changed) || !fieldset_empty(removed))
		json_object_set_new(mine, "time", json_string(q->now));
	drop_if_empty(list, mine);
	json_unset(object, "metadata.managedFields");
	entries_put(object, TAKE(list));
	return TAKE(object);
}
