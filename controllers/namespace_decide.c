// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Emptying a namespace. What always holds: the finalizer goes only after a round in which every resource was deleted
 * and then counted without an error and without an object left; and pods are gone before anything they may need.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "controllers/namespace.h"
#include "controllers/workload.h"
#include "kube/object.h"

void namespace_round_done(struct namespace_round *r)
{
	json_decref(r->counts);
	json_decref(r->finalizers);
	json_decref(r->failures);
	*r = (struct namespace_round){ 0 };
}

/* Views of another resource's objects are emptied with that one. */
static bool deletable(const struct schema_resource *r)
{
	return r->namespaced && r->storage_id == r->id && (r->verbs & VERB_LIST) && (r->verbs & VERB_DELETECOLLECTION);
}

static char *collection(const struct schema_resource *r, const char *ns, const char *query)
{
	char api_version[96];
	_cleanup_free_ char *path =
		kube_path(schema_api_version(r->group, r->version, api_version), r->plural, ns, NULL, NULL);

	return str_printf("%s%s", path, query);
}

static bool in_round(const struct schema_resource *r, bool pods_only)
{
	bool pods = !*r->group && str_eq(r->plural, "pods");

	return deletable(r) && (pods || !pods_only);
}

void namespace_plan_round(const char *name, bool pods_only, struct plan *plan)
{
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		struct write *w;

		if (!in_round(r, pods_only))
			continue;
		w = plan_delete(plan, collection(r, name, ""), NULL, -1, "Background");
		w->flags |= WRITE_MAY_FAIL | WRITE_IGNORE_NOT_FOUND;
		w->tag = NAMESPACE_TAG_DELETE;
	}
	plan_barrier(plan);
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		struct write *w;

		if (!in_round(r, pods_only))
			continue;
		w = plan_add(plan, "GET", collection(r, name, "?limit=100"), NULL);
		w->flags |= WRITE_MAY_FAIL;
		w->tag = NAMESPACE_TAG_COUNT;
	}
}

static void add_to(json_t **map, const char *key, int64_t n)
{
	if (!*map)
		*map = json_object();
	json_object_set_new(*map, key, json_integer(json_integer_value(json_object_get(*map, key)) + n));
}

void namespace_note_count(struct namespace_round *r, const struct schema_resource *resource, const json_t *list)
{
	json_t *items = json_object_get(list, "items"), *item, *finalizer;
	int64_t n = (int64_t)json_array_size(items) + json_int(list, "metadata.remainingItemCount", 0);
	_cleanup_free_ char *name = str_printf("%s.%s", resource->plural, resource->group);
	size_t i, k;

	if (!n)
		return;
	r->remaining += n;
	add_to(&r->counts, name, n);
	json_array_foreach(items, i, item) {
		json_array_foreach(json_at(item, "metadata.finalizers"), k, finalizer)
			add_to(&r->finalizers, json_string_value(finalizer), 1);
	}
}

void namespace_note_failure(struct namespace_round *r, const char *text)
{
	if (!r->failures)
		r->failures = json_array();
	json_array_append_new(r->failures, json_string(text));
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "pods. has 2 resource instances, ..." sorted by name. */
static char *listing(json_t *map, const char *format)
{
	struct strbuf out = { 0 };
	_cleanup_free_ const char **keys = mem_new_n(const char *, json_object_size(map) + 1);
	size_t n = 0;
	const char *key;
	json_t *value;

	json_object_foreach(map, key, value)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), by_text);
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&out, "%s%s %s %lld resource instances", i ? ", " : "", keys[i], format,
			    (long long)json_integer_value(json_object_get(map, keys[i])));
	return strbuf_take(&out);
}

static char *joined(const json_t *texts)
{
	struct strbuf out = { 0 };
	json_t *text;
	size_t i;

	json_array_foreach((json_t *)texts, i, text)
		strbuf_addf(&out, "%s%s", i ? ", " : "", json_string_value(text));
	return strbuf_take(&out);
}

static void set_conditions(const struct namespace_round *r, json_t *conditions, const char *now)
{
	_cleanup_free_ char *counts = listing(r->counts, "has"), *finalizers = listing(r->finalizers, "in");
	_cleanup_free_ char *failures = joined(r->failures);
	_cleanup_free_ char *remain = str_printf("Some resources are remaining: %s", counts);
	_cleanup_free_ char *held =
		str_printf("Some content in the namespace has finalizers remaining: %s", finalizers);

	object_set_condition(conditions, "NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
			     "All resources successfully discovered", now);
	object_set_condition(conditions, "NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
			     "All legacy kube types successfully parsed", now);
	if (json_array_size(r->failures))
		object_set_condition(conditions, "NamespaceDeletionContentFailure", "True", "ContentDeletionFailed",
				     failures, now);
	else
		object_set_condition(conditions, "NamespaceDeletionContentFailure", "False", "ContentDeleted",
				     "All content successfully deleted, may be waiting on finalization", now);
	if (r->remaining)
		object_set_condition(conditions, "NamespaceContentRemaining", "True", "SomeResourcesRemain", remain,
				     now);
	else
		object_set_condition(conditions, "NamespaceContentRemaining", "False", "ContentRemoved",
				     "All content successfully removed", now);
	if (json_object_size(r->finalizers))
		object_set_condition(conditions, "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", held,
				     now);
	else
		object_set_condition(conditions, "NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers",
				     "All content-preserving finalizers finished", now);
}

static void write_conditions(const json_t *ns, const struct namespace_round *r, int64_t now_s, struct plan *plan)
{
	json_t *conditions = json_deep_copy(json_at(ns, "status.conditions"));
	_cleanup_json_ json_t *status = NULL;
	char now[CLOCK_RFC3339_SIZE];

	if (!conditions)
		conditions = json_array();
	clock_format_rfc3339(now_s, now);
	set_conditions(r, conditions, now);
	status = json_pack("{s:s, s:o}", "phase", "Terminating", "conditions", conditions);
	workload_write_status(plan, ns, "v1", "namespaces", status);
}

static void finalize(const json_t *ns, struct plan *plan)
{
	json_t *object = json_deep_copy(ns), *finalizers = json_at(object, "spec.finalizers"), *f;
	size_t i;

	json_array_foreach(finalizers, i, f) {
		if (str_eq(json_string_value(f), NAMESPACE_FINALIZER)) {
			json_array_remove(finalizers, i);
			break;
		}
	}
	json_object_set_new(object, "apiVersion", json_string("v1"));
	json_object_set_new(object, "kind", json_string("Namespace"));
	plan_add(plan, "PUT", kube_path("v1", "namespaces", NULL, object_name(ns), "finalize"), object)->flags |=
		WRITE_IGNORE_NOT_FOUND;
}

void namespace_decide(const json_t *ns, const struct namespace_round *r, int64_t now_s, struct plan *plan)
{
	if (!r->remaining && !json_array_size(r->failures) && !r->pods_only)
		finalize(ns, plan);
	else
		write_conditions(ns, r, now_s, plan);
}
