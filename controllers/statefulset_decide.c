// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * StatefulSet: what should be done about one set, as a plan. What always holds: there is never a second pod with the
 * same ordinal (names are fixed, and the first is gone before the second is made); with OrderedReady a pod is made,
 * replaced or removed only while all before it (when removing: all) run and are ready.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "controllers/statefulset.h"
#include "kube/object.h"

enum { REPLICAS_MAX = 100000 };

struct slot {
	int64_t ordinal;
	json_t *pod; /* borrow; NULL: not there */
};
struct work {
	const struct statefulset_view *v;
	const json_t *set;
	struct plan *plan;
	const char *name;
	int64_t start, replicas, partition, min_ready_s;
	bool ordered;                         /* OrderedReady, not Parallel */
	const json_t *current, *update;       /* revisions */
	struct slot *slots;                   /* wanted ordinals, ascending */
	struct slot *condemned;               /* the others, descending */
	size_t condemned_count;
};

int64_t statefulset_ordinal(const char *set_name, const char *pod_name)
{
	const char *rest = str_after(pod_name, set_name);
	int64_t n;

	if (!rest || *rest != '-' || (rest[1] == '0' && rest[2]) || str_to_i64(rest + 1, 0, INT32_MAX, &n) < 0)
		return -1;
	return n;
}

static const char *revision_of(const json_t *pod)
{
	const char *label = map_str(object_labels(pod), REVISION_HASH_LABEL);

	return label ? label : "";
}

static bool healthy(const json_t *pod)
{
	return pod && !object_deleting(pod) && str_eq(json_str(pod, "status.phase"), "Running") && pod_ready(pod);
}

static bool available(const struct work *w, const json_t *pod)
{
	int64_t left_s;

	if (!healthy(pod))
		return false;
	left_s = pod_available_in_s(pod, w->min_ready_s, w->v->now_s);
	if (left_s > 0)
		plan_requeue(w->plan, left_s * 1000);
	return left_s == 0;
}

static const json_t *revision_named(const struct object_list *revisions, const char *name)
{
	for (size_t i = 0; i < revisions->count; i++) {
		if (str_eq(object_name(revisions->items[i]), name))
			return revisions->items[i];
	}
	return NULL;
}

/* Which template a new pod gets: the older one below the partition, or while it still holds the lower ordinals. */
static const json_t *revision_for(const struct work *w, int64_t ordinal)
{
	if (!str_eq(json_str_or(w->set, "spec.updateStrategy.type", "RollingUpdate"), "RollingUpdate"))
		return ordinal < w->start + json_int(w->set, "status.currentReplicas", 0) ? w->current : w->update;
	if (json_at(w->set, "spec.updateStrategy.rollingUpdate.partition"))
		return ordinal < w->start + w->partition ? w->current : w->update;
	return ordinal < w->start + json_int(w->set, "status.currentReplicas", 0) ? w->current : w->update;
}

/* Replaces the pod's volumes of the same names by claims "<template>-<pod>". */
static void add_claim_volumes(const struct work *w, json_t *pod, const char *pod_name)
{
	json_t *templates = json_at(w->set, "spec.volumeClaimTemplates"), *spec = json_object_get(pod, "spec"), *t;
	json_t *volumes = json_object_get(spec, "volumes");
	size_t i;

	if (!json_array_size(templates))
		return;
	if (!volumes) {
		volumes = json_array();
		json_object_set_new(spec, "volumes", volumes);
	}
	json_array_foreach(templates, i, t) {
		_cleanup_free_ char *claim = str_printf("%s-%s", object_name(t), pod_name);

		for (size_t k = json_array_size(volumes); k-- > 0;) {
			if (str_eq(json_str(json_array_get(volumes, k), "name"), object_name(t)))
				json_array_remove(volumes, k);
		}
		json_array_append_new(volumes, json_pack("{s:s, s:{s:s}}", "name", object_name(t),
							 "persistentVolumeClaim", "claimName", claim));
	}
}

static void create_claims(struct work *w, const char *pod_name)
{
	json_t *t;
	size_t i;

	json_array_foreach(json_at(w->set, "spec.volumeClaimTemplates"), i, t) {
		_cleanup_free_ char *name = str_printf("%s-%s", object_name(t), pod_name);
		json_t *claim, *labels;

		if (w->v->claim_exists(name, w->v->user))
			continue;
		claim = json_deep_copy(t);
		json_object_del(claim, "status");
		json_object_set_new(claim, "apiVersion", json_string("v1"));
		json_object_set_new(claim, "kind", json_string("PersistentVolumeClaim"));
		json_set_str(claim, "metadata.name", name);
		json_set_str(claim, "metadata.namespace", object_namespace(w->set));
		if (!object_labels(claim))
			json_set(claim, "metadata.labels", json_object());
		labels = json_at(w->set, "spec.selector.matchLabels");
		if (labels)
			json_object_update(object_labels(claim), labels);
		plan_create(w->plan, kube_path("v1", "persistentvolumeclaims", object_namespace(w->set), NULL, NULL),
			    claim)
			->flags |= WRITE_IGNORE_EXISTS;
	}
	plan_barrier(w->plan);
}

static void create_pod(struct work *w, int64_t ordinal)
{
	const json_t *revision = revision_for(w, ordinal);
	_cleanup_json_ json_t *template = revision_template(revision);
	_cleanup_free_ char *name = str_printf("%s-%lld", w->name, (long long)ordinal);
	_cleanup_free_ char *index = str_printf("%lld", (long long)ordinal);
	const char *service = json_str_or(w->set, "spec.serviceName", "");
	json_t *pod = workload_pod(w->set, "apps/v1", "StatefulSet", template, name), *labels;
	struct write *x;

	if (!object_labels(pod))
		json_set(pod, "metadata.labels", json_object());
	labels = object_labels(pod);
	json_object_set_new(labels, "statefulset.kubernetes.io/pod-name", json_string(name));
	json_object_set_new(labels, "apps.kubernetes.io/pod-index", json_string(index));
	json_object_set_new(labels, REVISION_HASH_LABEL, json_string(object_name(revision)));
	json_set_str(pod, "spec.hostname", name);
	if (*service)
		json_set_str(pod, "spec.subdomain", service);
	add_claim_volumes(w, pod, name);
	create_claims(w, name);
	x = plan_create(w->plan, kube_path("v1", "pods", object_namespace(w->set), NULL, NULL), pod);
	x->flags |= WRITE_EXPECT_CREATE;
	write_says(x, w->set, "SuccessfulCreate",
		   str_printf("create Pod %s in StatefulSet %s successful", name, w->name), "FailedCreate",
		   str_printf("create Pod %s in StatefulSet %s failed error: ", name, w->name));
	x->event.append_message = true;
}

static void delete_pod(struct work *w, const json_t *pod)
{
	struct write *x = plan_delete(w->plan, kube_path("v1", "pods", object_namespace(pod), object_name(pod), NULL),
				      object_uid(pod), -1, NULL);

	x->flags |= WRITE_EXPECT_DELETE | WRITE_IGNORE_NOT_FOUND;
	write_says(x, w->set, "SuccessfulDelete",
		   str_printf("delete Pod %s in StatefulSet %s successful", object_name(pod), w->name), "FailedDelete",
		   str_printf("delete Pod %s in StatefulSet %s failed error: ", object_name(pod), w->name));
	x->event.append_message = true;
}

/* One wanted ordinal. False: nothing after it may be touched now. */
static bool keep_slot(struct work *w, const struct slot *s)
{
	if (!s->pod) {
		create_pod(w, s->ordinal);
		return !w->ordered;
	}
	if (object_deleting(s->pod))
		return !w->ordered;
	if (pod_finished(s->pod)) {
		delete_pod(w, s->pod); /* made anew when it is gone */
		return !w->ordered;
	}
	return !w->ordered || available(w, s->pod);
}

/* One ordinal too many, the highest first. False: stop here. */
static bool remove_slot(struct work *w, const struct slot *s, const json_t *first_unhealthy)
{
	if (object_deleting(s->pod))
		return !w->ordered;
	if (w->ordered && !healthy(s->pod) && s->pod != first_unhealthy)
		return false;
	delete_pod(w, s->pod);
	return !w->ordered;
}

/* From the highest ordinal down: old pods are deleted one by one, each only when those above are well again. */
static void roll(struct work *w)
{
	const char *update = object_name(w->update);

	if (!str_eq(json_str_or(w->set, "spec.updateStrategy.type", "RollingUpdate"), "RollingUpdate"))
		return;
	for (int64_t i = w->replicas - 1; i >= w->partition && i >= 0; i--) {
		const json_t *pod = w->slots[i].pod;

		if (pod && !str_eq(revision_of(pod), update) && !object_deleting(pod)) {
			delete_pod(w, pod);
			return;
		}
		if (!available(w, pod))
			return;
	}
}

static const json_t *find_first_unhealthy(const struct work *w)
{
	for (int64_t i = 0; i < w->replicas; i++) {
		if (w->slots[i].pod && !healthy(w->slots[i].pod))
			return w->slots[i].pod;
	}
	for (size_t i = w->condemned_count; i-- > 0;) {
		if (!healthy(w->condemned[i].pod))
			return w->condemned[i].pod;
	}
	return NULL;
}

static void manage(struct work *w)
{
	const json_t *first_unhealthy = find_first_unhealthy(w);

	for (int64_t i = 0; i < w->replicas; i++) {
		if (!keep_slot(w, &w->slots[i]))
			return;
	}
	for (size_t i = 0; i < w->condemned_count; i++) {
		if (!remove_slot(w, &w->condemned[i], first_unhealthy))
			return;
	}
	roll(w);
}

static int descending(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return x->ordinal < y->ordinal ? 1 : x->ordinal > y->ordinal ? -1 : 0;
}

static void sort_pods(struct work *w, const struct object_list *pods)
{
	w->slots = mem_new_n(struct slot, (size_t)w->replicas + 1);
	w->condemned = mem_new_n(struct slot, pods->count + 1);
	for (int64_t i = 0; i < w->replicas; i++)
		w->slots[i].ordinal = w->start + i;
	for (size_t i = 0; i < pods->count; i++) {
		int64_t n = statefulset_ordinal(w->name, object_name(pods->items[i]));

		if (n >= w->start && n < w->start + w->replicas)
			w->slots[n - w->start].pod = pods->items[i];
		else if (n >= 0)
			w->condemned[w->condemned_count++] = (struct slot){ n, pods->items[i] };
	}
	qsort(w->condemned, w->condemned_count, sizeof(*w->condemned), descending);
}

static void put(json_t *status, const char *field, int64_t n)
{
	if (n)
		json_object_set_new(status, field, json_integer(n));
}

static void write_status(struct work *w, const struct object_list *pods)
{
	int64_t count = 0, ready = 0, able = 0, current = 0, updated = 0;
	const char *current_name = object_name(w->current), *update_name = object_name(w->update);
	_cleanup_json_ json_t *status = json_object();
	json_t *conditions = json_at(w->set, "status.conditions");

	for (size_t i = 0; i < pods->count; i++) {
		const json_t *pod = pods->items[i];

		if (statefulset_ordinal(w->name, object_name(pod)) < 0)
			continue;
		count++;
		ready += str_eq(json_str(pod, "status.phase"), "Running") && pod_ready(pod);
		able += available(w, pod);
		if (object_deleting(pod))
			continue;
		current += str_eq(revision_of(pod), current_name);
		updated += str_eq(revision_of(pod), update_name);
	}
	/* The update is through: what was new is now current. */
	if (!str_eq(current_name, update_name) && w->partition <= 0 && updated == count && ready == count &&
	    count == w->replicas) {
		current_name = update_name;
		current = updated;
	}
	json_object_set_new(status, "replicas", json_integer(count));
	put(status, "readyReplicas", ready);
	json_object_set_new(status, "availableReplicas", json_integer(able));
	put(status, "currentReplicas", current);
	put(status, "updatedReplicas", updated);
	put(status, "observedGeneration", json_int(w->set, "metadata.generation", 0));
	json_object_set_new(status, "currentRevision", json_string(current_name));
	json_object_set_new(status, "updateRevision", json_string(update_name));
	json_object_set_new(status, "collisionCount", json_integer(json_int(w->set, "status.collisionCount", 0)));
	if (conditions)
		json_object_set(status, "conditions", conditions);
	workload_write_status(w->plan, w->set, "apps/v1", "statefulsets", status);
}

static void truncate_history(struct work *w, const struct object_list *pods)
{
	_cleanup_json_ json_t *live = json_pack("[s, s]", object_name(w->current), object_name(w->update));

	for (size_t i = 0; i < pods->count; i++)
		json_array_append_new(live, json_string(revision_of(pods->items[i])));
	revision_truncate(&w->v->revisions, live, json_int(w->set, "spec.revisionHistoryLimit", 10), w->plan);
}

void statefulset_decide(const struct statefulset_view *v, struct plan *plan)
{
	const struct claimant claimant = {
		v->set, "apps/v1", "StatefulSet", "statefulsets", v->selector, "v1", "pods"
	};
	const struct revision_owner owner = { v->set, "apps/v1", "StatefulSet", "controller.kubernetes.io/hash" };
	struct object_list revisions = v->revisions;
	_cleanup_object_list_ struct object_list pods = { 0 };
	struct work w = { .v = v, .set = v->set, .plan = plan, .name = object_name(v->set) };
	json_t *update;

	if (workload_claim(&claimant, &v->candidates, &pods, plan) || object_deleting(v->set))
		return;
	if (!revision_keep_current(&owner, &revisions, plan, &update))
		return;
	w.update = update;
	w.current = revision_named(&revisions, json_str_or(v->set, "status.currentRevision", ""));
	if (!w.current)
		w.current = update;
	w.start = json_int(v->set, "spec.ordinals.start", 0);
	w.replicas = MIN(json_int(v->set, "spec.replicas", 1), (int64_t)REPLICAS_MAX);
	w.partition = json_int(v->set, "spec.updateStrategy.rollingUpdate.partition", 0);
	w.min_ready_s = json_int(v->set, "spec.minReadySeconds", 0);
	w.ordered = !str_eq(json_str(v->set, "spec.podManagementPolicy"), "Parallel");
	sort_pods(&w, &pods);
	write_status(&w, &pods);
	truncate_history(&w, &pods);
	if (v->may_manage)
		manage(&w);
	free(w.slots);
	free(w.condemned);
}
