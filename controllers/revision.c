// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Histories of templates. What always holds: the current template's revision has the highest number, so that undoing to
 * an earlier template renumbers that one and never makes a second with the same data.
 */
#include "controllers/revision.h"

#include "base/mem.h"
#include "controllers/deployment.h"
#include "kube/object.h"

json_t *revision_data(const json_t *owner)
{
	json_t *template = json_deep_copy(json_at(owner, "spec.template"));

	json_object_set_new(template, "$patch", json_string("replace"));
	return json_pack("{s:{s:o}}", "spec", "template", template);
}

json_t *revision_template(const json_t *revision)
{
	json_t *template = json_deep_copy(json_at(revision, "data.spec.template"));

	json_object_del(template, "$patch");
	return template;
}

static int64_t number_of(const json_t *revision)
{
	return json_int(revision, "revision", 0);
}

static int by_number(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;

	if (number_of(x) != number_of(y))
		return number_of(x) < number_of(y) ? -1 : 1;
	return strcmp(object_name(x), object_name(y));
}

void revision_sort(struct object_list *revisions)
{
	if (revisions->count)
		qsort(revisions->items, revisions->count, sizeof(*revisions->items), by_number);
}

json_t *revision_find(const struct object_list *revisions, const json_t *data)
{
	for (size_t i = revisions->count; i-- > 0;) {
		json_t *had = json_object_get(revisions->items[i], "data");

		if (had && json_same(had, data))
			return revisions->items[i];
	}
	return NULL;
}

int64_t revision_next_number(const struct object_list *revisions)
{
	int64_t most = 0;

	for (size_t i = 0; i < revisions->count; i++)
		most = MAX(most, number_of(revisions->items[i]));
	return most + 1;
}

json_t *revision_new(const struct revision_owner *o, const json_t *data, int64_t collision_count, int64_t number)
{
	_cleanup_free_ char *hash = deployment_template_hash(data, collision_count);
	_cleanup_free_ char *name = str_printf("%s-%s", object_name(o->object), hash);
	json_t *labels = json_deep_copy(json_at(o->object, "spec.template.metadata.labels"));

	if (!labels)
		labels = json_object();
	json_object_set_new(labels, o->object_hash_label, json_string(hash));
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:[o]}, s:O, s:I}", "apiVersion", "apps/v1", "kind",
			 "ControllerRevision", "metadata", "name", name, "namespace", object_namespace(o->object),
			 "labels", labels, "ownerReferences", object_controller_ref(o->object, o->api_version, o->kind),
			 "data", data, "revision", (json_int_t)number);
}

static char *revision_path(const json_t *revision)
{
	return kube_path("apps/v1", "controllerrevisions", object_namespace(revision), object_name(revision), NULL);
}

bool revision_keep_current(const struct revision_owner *o, struct object_list *revisions, struct plan *plan,
			   json_t **ret_current)
{
	_cleanup_json_ json_t *data = revision_data(o->object);
	json_t *current = revision_find(revisions, data);
	int64_t next = revision_next_number(revisions);

	revision_sort(revisions);
	if (!current) {
		plan_create(plan, kube_path("apps/v1", "controllerrevisions", object_namespace(o->object), NULL, NULL),
			    revision_new(o, data, json_int(o->object, "status.collisionCount", 0), next));
		return false;
	}
	if (number_of(current) < next - 1) {
		plan_merge_patch(plan, revision_path(current),
				 json_pack("{s:{s:s}, s:I}", "metadata", "resourceVersion",
					   object_resource_version(current), "revision", (json_int_t)next));
		return false;
	}
	*ret_current = current;
	return true;
}

static bool listed(const json_t *names, const char *name)
{
	json_t *n;
	size_t i;

	json_array_foreach((json_t *)names, i, n) {
		if (str_eq(json_string_value(n), name))
			return true;
	}
	return false;
}

void revision_truncate(const struct object_list *revisions, const json_t *live, int64_t limit, struct plan *plan)
{
	_cleanup_object_list_ struct object_list dead = { 0 };

	for (size_t i = 0; i < revisions->count; i++) {
		if (!listed(live, object_name(revisions->items[i])))
			object_list_add(&dead, revisions->items[i]);
	}
	revision_sort(&dead);
	for (int64_t i = 0; i < (int64_t)dead.count - limit; i++)
		plan_delete(plan, revision_path(dead.items[i]), object_uid(dead.items[i]), -1, NULL)->flags |=
			WRITE_IGNORE_NOT_FOUND;
}
