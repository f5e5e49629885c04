// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pods as workloads see them. Everything here is a function of its arguments: no clock, no server, and cached objects
 * are never changed.
 */
#include "controllers/workload.h"

#include "base/clock.h"
#include "base/mem.h"
#include "kube/object.h"

void object_list_add(struct object_list *l, json_t *o)
{
	MEM_GROW(l->items, l->cap, l->count + 1);
	l->items[l->count++] = o;
}

void object_list_done(struct object_list *l)
{
	free(l->items);
	*l = (struct object_list){ 0 };
}

void object_list_add_index(struct object_list *l, const struct informer *i, const char *index, const char *key)
{
	size_t count = 0;
	_cleanup_free_ json_t **found = informer_by_index(i, index, key, &count);

	for (size_t n = 0; n < count; n++)
		object_list_add(l, found[n]);
}

int64_t object_time_s(const json_t *o, const char *path, int64_t fallback)
{
	const char *text = json_str(o, path);
	int64_t us;

	if (!text || clock_parse_rfc3339(text, &us) < 0)
		return fallback;
	return us / 1000000;
}

static int by_age(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int64_t tx = object_time_s(x, "metadata.creationTimestamp", 0);
	int64_t ty = object_time_s(y, "metadata.creationTimestamp", 0);

	if (tx != ty)
		return tx < ty ? -1 : 1;
	return strcmp(object_name(x), object_name(y));
}

void object_list_sort_by_age(struct object_list *l)
{
	if (l->count)
		qsort(l->items, l->count, sizeof(*l->items), by_age);
}

bool pod_finished(const json_t *pod)
{
	const char *phase = json_str_or(pod, "status.phase", "");

	return str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

bool pod_active(const json_t *pod)
{
	return !pod_finished(pod) && !object_deleting(pod);
}

int64_t pod_available_in_s(const json_t *pod, int64_t min_ready_s, int64_t now_s)
{
	int64_t left_s;

	if (!pod_ready(pod))
		return -1;
	if (min_ready_s <= 0)
		return 0;
	left_s = object_time_s(object_condition(pod, "Ready"), "lastTransitionTime", now_s) + min_ready_s - now_s;
	return MAX(left_s, (int64_t)0);
}

const char *map_str(const json_t *map, const char *key)
{
	return json_string_value(json_object_get(map, key));
}

bool map_selects(const json_t *selector, const json_t *labels)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)selector, key, value) {
		if (!str_eq(json_string_value(value), map_str(labels, key)))
			return false;
	}
	return true;
}

json_t *workload_pod(const json_t *owner, const char *api_version, const char *kind, const json_t *template,
		     const char *name)
{
	static const char *const copied[] = { "labels", "annotations", "finalizers" };
	json_t *metadata = json_object(), *from = json_object_get(template, "metadata");
	_cleanup_free_ char *prefix = str_printf("%s-", object_name(owner));

	json_object_set_new(metadata, name ? "name" : "generateName", json_string(name ? name : prefix));
	json_object_set_new(metadata, "namespace", json_string(object_namespace(owner)));
	for (size_t i = 0; i < ARRAY_SIZE(copied); i++) {
		json_t *value = json_object_get(from, copied[i]);

		if (value)
			json_object_set_new(metadata, copied[i], json_deep_copy(value));
	}
	json_object_set_new(metadata, "ownerReferences",
			    json_pack("[o]", object_controller_ref(owner, api_version, kind)));
	return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "Pod", "metadata", metadata, "spec",
			 json_deep_copy(json_object_get(template, "spec")));
}

static char *child_path(const struct claimant *c, const json_t *child)
{
	return kube_path(c->child_api_version, c->child_plural, object_namespace(child), object_name(child), NULL);
}

static void adopt(const struct claimant *c, const json_t *child, struct plan *plan)
{
	json_t *patch = json_pack("{s:{s:s, s:[o]}}", "metadata", "uid", object_uid(child), "ownerReferences",
				  object_controller_ref(c->object, c->api_version, c->kind));
	struct write *w = plan_add(plan, "PATCH", child_path(c, child), patch);

	w->content_type = KUBE_STRATEGIC_PATCH;
	w->flags |= WRITE_IGNORE_NOT_FOUND;
}

static void release(const struct claimant *c, const json_t *child, struct plan *plan)
{
	json_t *patch = json_pack("{s:{s:s, s:[{s:s, s:s}]}}", "metadata", "uid", object_uid(child),
				  "ownerReferences", "$patch", "delete", "uid", object_uid(c->object));
	struct write *w = plan_add(plan, "PATCH", child_path(c, child), patch);

	w->content_type = KUBE_STRATEGIC_PATCH;
	w->flags |= WRITE_IGNORE_NOT_FOUND;
}

size_t workload_claim(const struct claimant *c, const struct object_list *candidates, struct object_list *ret_owned,
		      struct plan *plan)
{
	_cleanup_object_list_ struct object_list wanted = { 0 };
	bool deleting = object_deleting(c->object);
	size_t writes = 0;

	for (size_t i = 0; i < candidates->count; i++) {
		json_t *o = candidates->items[i], *owner = object_controller_of(o);
		bool matches = selector_matches(c->selector, object_labels(o));

		if (owner) {
			if (!str_eq(json_str(owner, "uid"), object_uid(c->object)))
				continue;
			if (matches) {
				object_list_add(ret_owned, o);
			} else if (!deleting) {
				release(c, o, plan);
				writes++;
			}
		} else if (matches && !deleting && !object_deleting(o)) {
			object_list_add(&wanted, o);
		}
	}
	if (wanted.count) {
		/* The cache may not know yet that the claimant is being deleted with its children orphaned. */
		plan_guard(
			plan,
			kube_path(c->api_version, c->plural, object_namespace(c->object), object_name(c->object), NULL),
			object_uid(c->object));
		plan_barrier(plan);
		for (size_t i = 0; i < wanted.count; i++)
			adopt(c, wanted.items[i], plan);
		writes += wanted.count;
	}
	return writes;
}

/* The sort keys of one pod, computed once. */
struct rank {
	json_t *pod;
	bool assigned, ready;
	int phase;
	int64_t cost, ready_since_s, created_s, restarts;
	unsigned crowd; /* related pods on its node */
	int64_t now_s;
};

static int phase_rank(const json_t *pod)
{
	const char *phase = json_str_or(pod, "status.phase", "");

	if (str_eq(phase, "Running"))
		return 2;
	return str_eq(phase, "Unknown") ? 1 : 0;
}

static int64_t deletion_cost(const json_t *pod)
{
	const char *text = map_str(object_annotations(pod), "controller.kubernetes.io/pod-deletion-cost");
	int64_t cost;

	return text && str_to_i64(text, INT32_MIN, INT32_MAX, &cost) == 0 ? cost : 0;
}

static int64_t max_restarts(const json_t *pod)
{
	static const char *const lists[] = { "status.containerStatuses", "status.initContainerStatuses" };
	int64_t most = 0;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_t *status;
		size_t i;

		json_array_foreach(json_at(pod, lists[l]), i, status)
			most = MAX(most, json_int(status, "restartCount", 0));
	}
	return most;
}

/* Ages differ only when their magnitudes do: a pod a day old is not better than one 20 hours old. */
static int age_bucket(int64_t since_s, int64_t now_s)
{
	int64_t age_s = now_s - since_s;
	int bucket = 0;

	if (age_s <= 0)
		return -1;
	for (; age_s >= 10; age_s /= 10)
		bucket++;
	return bucket;
}

static int younger_first(const struct rank *x, const struct rank *y, int64_t since_x, int64_t since_y)
{
	int d = age_bucket(since_x, x->now_s) - age_bucket(since_y, y->now_s);

	return d ? d : strcmp(object_uid(x->pod), object_uid(y->pod));
}

#define FIRST_IF(condition_x, condition_y)          \
	do {                                        \
		if ((condition_x) != (condition_y)) \
			return (condition_x) ? -1 : 1; \
	} while (0)

static int by_rank(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	FIRST_IF(!x->assigned, !y->assigned);
	if (x->phase != y->phase)
		return x->phase - y->phase;
	FIRST_IF(!x->ready, !y->ready);
	if (x->cost != y->cost)
		return x->cost < y->cost ? -1 : 1;
	if (x->crowd != y->crowd)
		return x->crowd > y->crowd ? -1 : 1;
	if (x->ready && x->ready_since_s != y->ready_since_s)
		return younger_first(x, y, x->ready_since_s, y->ready_since_s);
	if (x->restarts != y->restarts)
		return x->restarts > y->restarts ? -1 : 1;
	if (x->created_s != y->created_s)
		return younger_first(x, y, x->created_s, y->created_s);
	return strcmp(object_name(x->pod), object_name(y->pod));
}

void workload_rank_for_deletion(struct object_list *pods, const struct object_list *related, int64_t now_s)
{
	_cleanup_free_ struct rank *ranks = mem_new_n(struct rank, pods->count + 1);

	for (size_t i = 0; i < pods->count; i++) {
		json_t *pod = pods->items[i];
		const char *node = json_str_or(pod, "spec.nodeName", "");
		struct rank *r = &ranks[i];

		*r = (struct rank){ .pod = pod, .assigned = *node, .ready = pod_ready(pod), .phase = phase_rank(pod),
				    .cost = deletion_cost(pod), .restarts = max_restarts(pod), .now_s = now_s };
		r->created_s = object_time_s(pod, "metadata.creationTimestamp", 0);
		if (r->ready)
			r->ready_since_s = object_time_s(object_condition(pod, "Ready"), "lastTransitionTime", 0);
		for (size_t k = 0; *node && k < related->count; k++)
			r->crowd += str_eq(node, json_str(related->items[k], "spec.nodeName"));
	}
	qsort(ranks, pods->count, sizeof(*ranks), by_rank);
	for (size_t i = 0; i < pods->count; i++)
		pods->items[i] = ranks[i].pod;
}

void workload_create_pod(struct plan *plan, const json_t *owner, json_t *pod)
{
	struct write *w = plan_create(plan, kube_path("v1", "pods", object_namespace(owner), NULL, NULL), pod);

	w->flags |= WRITE_SLOW_START | WRITE_EXPECT_CREATE;
	write_says(w, owner, "SuccessfulCreate", mem_strdup("Created pod: "), "FailedCreate",
		   mem_strdup("Error creating: "));
	w->event.append_name = w->event.append_message = true;
}

void workload_delete_pod(struct plan *plan, const json_t *owner, const json_t *pod)
{
	struct write *w = plan_delete(plan, kube_path("v1", "pods", object_namespace(pod), object_name(pod), NULL),
				      object_uid(pod), -1, NULL);

	w->flags |= WRITE_EXPECT_DELETE | WRITE_IGNORE_NOT_FOUND;
	write_says(w, owner, "SuccessfulDelete", mem_strdup("Deleted pod: "), "FailedDelete",
		   mem_strdup("Error deleting: "));
	w->event.append_name = w->event.append_message = true;
}

bool workload_namespace_terminating(const struct kube_result *r)
{
	json_t *cause;
	size_t i;

	if (!r || r->status != 403)
		return false;
	json_array_foreach(json_at(r->object, "details.causes"), i, cause) {
		if (str_eq(json_str(cause, "reason"), "NamespaceTerminating"))
			return true;
	}
	return strstr(r->message, "because it is being terminated") != NULL;
}

int64_t workload_scaled_value(const json_t *v, int64_t total, bool round_up)
{
	const char *text = json_string_value(v);
	_cleanup_free_ char *number = NULL;
	int64_t percent;

	if (json_is_integer(v))
		return json_integer_value(v);
	if (!text || !str_ends(text, "%"))
		return 0;
	number = mem_strndup(text, strlen(text) - 1);
	if (str_to_i64(number, 0, 1000000, &percent) < 0)
		return 0;
	return (percent * total + (round_up ? 99 : 0)) / 100;
}

/* A merge patch that makes `had` into `want`: what is gone is said to be null, in nested objects too. */
static json_t *replacing_patch(const json_t *had, const json_t *want)
{
	json_t *patch = json_object(), *value;
	const char *key;

	json_object_foreach((json_t *)want, key, value) {
		const json_t *before = json_object_get(had, key);

		json_object_set_new(patch, key, json_is_object(value) && json_is_object(before) ?
							replacing_patch(before, value) :
							json_deep_copy(value));
	}
	json_object_foreach((json_t *)had, key, value) {
		if (!json_object_get(want, key))
			json_object_set_new(patch, key, json_null());
	}
	return patch;
}

json_t *workload_status_patch(const json_t *object, const json_t *status)
{
	const json_t *had = json_object_get(object, "status");

	if (had ? json_same(had, status) : !json_object_size(status))
		return NULL;
	return json_pack("{s:{s:s}, s:o}", "metadata", "resourceVersion", object_resource_version(object), "status",
			 replacing_patch(had, status));
}

bool workload_write_status(struct plan *plan, const json_t *object, const char *api_version, const char *plural,
			   const json_t *status)
{
	json_t *patch = workload_status_patch(object, status);

	if (!patch)
		return false;
	plan_merge_patch(plan, kube_path(api_version, plural, object_namespace(object), object_name(object), "status"),
			 patch);
	return true;
}
