// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Deployment: what should be done about one Deployment, as a plan. One step a sync, as upstream: claim ReplicaSets,
 * keep the current template's set and its revision, then scale, roll out or wait, then the status. A step that writes
 * ends the decision; the changed objects bring the key back.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "controllers/deployment_rollout.h"
#include "kube/object.h"

static uint32_t fnv1a(const void *data, size_t len, uint32_t h)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}

char *deployment_template_hash(const json_t *template, int64_t collision_count)
{
	static const char safe[] = "bcdfghjklmnpqrstvwxz2456789"; /* forms no words */
	_cleanup_free_ char *text = json_dumps(template, JSON_COMPACT | JSON_SORT_KEYS);
	uint32_t h = fnv1a(text ? text : "", text ? strlen(text) : 0, 2166136261u);
	char *out;

	if (collision_count) {
		unsigned char le[8];

		for (int i = 0; i < 8; i++)
			le[i] = (unsigned char)((uint64_t)collision_count >> (8 * i));
		h = fnv1a(le, sizeof(le), h);
	}
	out = str_printf("%u", h);
	for (char *p = out; *p; p++)
		*p = safe[(unsigned char)*p % (sizeof(safe) - 1)];
	return out;
}

static char *current_hash(const json_t *d)
{
	return deployment_template_hash(json_at(d, "spec.template"), json_int(d, "status.collisionCount", 0));
}

char *deployment_set_name(const json_t *d)
{
	_cleanup_free_ char *hash = current_hash(d);

	return str_printf("%s-%s", object_name(d), hash);
}

/* The same template but for the label that we add ourselves. */
static bool same_template(const json_t *set, const json_t *d)
{
	_cleanup_json_ json_t *a = json_deep_copy(json_at(set, "spec.template"));
	_cleanup_json_ json_t *b = json_deep_copy(json_at(d, "spec.template"));

	json_object_del(json_at(a, "metadata.labels"), DEPLOYMENT_HASH_LABEL);
	json_object_del(json_at(b, "metadata.labels"), DEPLOYMENT_HASH_LABEL);
	return json_same(a, b);
}

static int64_t annotation_number(const json_t *o, const char *name)
{
	const char *text = map_str(object_annotations(o), name);
	int64_t n;

	return text && str_to_i64(text, 0, INT64_MAX, &n) == 0 ? n : -1;
}

static void read_sets(struct rollout *r, struct object_list *owned)
{
	object_list_sort_by_age(owned);
	r->sets = mem_new_n(struct set_state, owned->count + 1);
	r->count = owned->count;
	for (size_t i = 0; i < owned->count; i++) {
		json_t *set = owned->items[i];
		int64_t size = json_int(set, "spec.replicas", 1);

		r->sets[i] = (struct set_state){
			.set = set,
			.size = size,
			.was = size,
			.pods = json_int(set, "status.replicas", 0),
			.ready = json_int(set, "status.readyReplicas", 0),
			.available = json_int(set, "status.availableReplicas", 0),
			.terminating = json_int(set, "status.terminatingReplicas", -1),
			.revision = annotation_number(set, DEPLOYMENT_REVISION),
			.desired = annotation_number(set, DEPLOYMENT_DESIRED),
			.max = annotation_number(set, DEPLOYMENT_MAX),
		};
		if (!r->newest && same_template(set, r->d))
			r->newest = &r->sets[i];
	}
}

static int64_t next_revision(const struct rollout *r)
{
	int64_t most = 0;

	for (size_t i = 0; i < r->count; i++) {
		if (&r->sets[i] != r->newest)
			most = MAX(most, r->sets[i].revision);
	}
	return most + 1;
}

static void write_status(struct rollout *r, json_t *status)
{
	_cleanup_json_ json_t *own = status;

	workload_write_status(r->plan, r->d, "apps/v1", "deployments", own);
}

static char *deployment_path(const struct rollout *r, const char *sub)
{
	return kube_path("apps/v1", "deployments", object_namespace(r->d), r->name, sub);
}

/* Annotations that stay on the Deployment or are the ReplicaSet's own. */
static bool annotation_is_private(const char *name)
{
	static const char *const names[] = { "kubectl.kubernetes.io/last-applied-configuration", DEPLOYMENT_REVISION,
					     DEPLOYMENT_REVISION_HISTORY, DEPLOYMENT_DESIRED, DEPLOYMENT_MAX,
					     "deprecated.deployment.rollback.to" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_eq(name, names[i]))
			return true;
	}
	return false;
}

/* Copies the Deployment's annotations that the set (may be NULL) does not have yet. */
static void add_missing_annotations(const struct rollout *r, const json_t *set, json_t *annotations)
{
	const char *name;
	json_t *value;

	json_object_foreach(object_annotations(r->d), name, value) {
		if (!annotation_is_private(name) &&
		    !str_eq(map_str(set ? object_annotations(set) : NULL, name), json_string_value(value)))
			json_object_set(annotations, name, value);
	}
}

enum { HISTORY_MAX_CHARS = 2000 };

/* A set that becomes current again gets a new revision and remembers the one it had. */
static void add_revision(const struct rollout *r, json_t *annotations)
{
	int64_t revision = next_revision(r), had = r->newest->revision;
	const char *history = map_str(object_annotations(r->newest->set), DEPLOYMENT_REVISION_HISTORY);
	_cleanup_free_ char *text = str_printf("%lld", (long long)revision), *longer = NULL;

	if (had >= revision)
		return;
	json_object_set_new(annotations, DEPLOYMENT_REVISION, json_string(text));
	if (had < 0)
		return;
	longer = str_empty(history) ? str_printf("%lld", (long long)had) :
				      str_printf("%s,%lld", history, (long long)had);
	history = longer;
	while (strlen(history) > HISTORY_MAX_CHARS && strchr(history, ','))
		history = strchr(history, ',') + 1;
	json_object_set_new(annotations, DEPLOYMENT_REVISION_HISTORY, json_string(history));
}

/* Through the status, as upstream: an annotation written with the spec would count as a new generation. Without a
 * resourceVersion: nobody else writes these. conditions (borrowed) may be NULL. */
static void write_revision(struct rollout *r, const char *revision, json_t *conditions)
{
	json_t *patch = json_pack("{s:{s:{s:s}}}", "metadata", "annotations", DEPLOYMENT_REVISION, revision);

	if (conditions)
		json_set(patch, "status.conditions", json_incref(conditions));
	plan_merge_patch(r->plan, deployment_path(r, "status"), patch);
}

/* Keeps the current set's annotations and minReadySeconds, the Deployment's revision, and its first condition. True
 * when something had to be written. */
static bool keep_newest(struct rollout *r)
{
	const json_t *set = r->newest->set;
	int64_t min_ready_s = json_int(r->d, "spec.minReadySeconds", 0);
	_cleanup_json_ json_t *annotations = json_object();
	const char *revision = map_str(object_annotations(set), DEPLOYMENT_REVISION);

	add_missing_annotations(r, set, annotations);
	add_revision(r, annotations);
	if (json_object_size(annotations) || json_int(set, "spec.minReadySeconds", 0) != min_ready_s) {
		plan_merge_patch(r->plan,
				 kube_path("apps/v1", "replicasets", object_namespace(set), object_name(set), NULL),
				 json_pack("{s:{s:s, s:O}, s:{s:I}}", "metadata", "resourceVersion",
					   object_resource_version(set), "annotations", annotations, "spec",
					   "minReadySeconds", (json_int_t)min_ready_s));
		return true;
	}
	if (!str_eq(revision, map_str(object_annotations(r->d), DEPLOYMENT_REVISION))) {
		write_revision(r, revision, NULL);
		return true;
	}
	if (r->deadline_s && !object_condition(r->d, "Progressing")) {
		json_t *status = json_deep_copy(json_object_get(r->d, "status"));
		_cleanup_free_ char *text = str_printf("Found new replica set \"%s\"", object_name(set));

		if (!status)
			status = json_object();
		if (!json_object_get(status, "conditions"))
			json_object_set_new(status, "conditions", json_array());
		deployment_condition_set(json_object_get(status, "conditions"), "Progressing", "True",
					 "FoundNewReplicaSet", text, r->v->now_s);
		write_status(r, status);
		return true;
	}
	return false;
}

static json_t *new_set(const struct rollout *r, const char *hash, const char *name, int64_t size, const char *revision)
{
	_cleanup_free_ char *desired = str_printf("%lld", (long long)r->wanted);
	_cleanup_free_ char *max = str_printf("%lld", (long long)(r->wanted + r->surge));
	json_t *template = json_deep_copy(json_at(r->d, "spec.template"));
	json_t *selector = json_deep_copy(json_at(r->d, "spec.selector"));
	json_t *annotations = json_object(), *set;
	int64_t min_ready_s = json_int(r->d, "spec.minReadySeconds", 0);

	json_set(template, "metadata.labels." DEPLOYMENT_HASH_LABEL, json_string(hash));
	json_set(selector, "matchLabels." DEPLOYMENT_HASH_LABEL, json_string(hash));
	add_missing_annotations(r, NULL, annotations);
	json_object_set_new(annotations, DEPLOYMENT_REVISION, json_string(revision));
	json_object_set_new(annotations, DEPLOYMENT_DESIRED, json_string(desired));
	json_object_set_new(annotations, DEPLOYMENT_MAX, json_string(max));
	set = json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:O?, s:[o]}, s:{s:I, s:o, s:o}}", "apiVersion", "apps/v1",
			"kind", "ReplicaSet", "metadata", "name", name, "namespace", object_namespace(r->d),
			"annotations", annotations, "labels", json_at(template, "metadata.labels"), "ownerReferences",
			object_controller_ref(r->d, "apps/v1", "Deployment"), "spec", "replicas", (json_int_t)size,
			"selector", selector, "template", template);
	if (min_ready_s)
		json_set(set, "spec.minReadySeconds", json_integer(min_ready_s));
	return set;
}

/* The revision and the condition that follow the creation of a set. */
static void announce_created(struct rollout *r, const char *name, const char *revision)
{
	_cleanup_json_ json_t *conditions = json_deep_copy(json_at(r->d, "status.conditions"));
	_cleanup_free_ char *text = str_printf("Created new replica set \"%s\"", name);

	if (!conditions)
		conditions = json_array();
	plan_barrier(r->plan);
	if (r->deadline_s)
		deployment_condition_set(conditions, "Progressing", "True", "NewReplicaSetCreated", text, r->v->now_s);
	write_revision(r, revision, r->deadline_s ? conditions : NULL);
}

static void report_create_failure(struct rollout *r, const char *name)
{
	json_t *status = deployment_status_count(r);
	_cleanup_free_ char *text = str_printf("Failed to create new replica set \"%s\": %s", name,
					       r->v->create_failure);

	if (r->deadline_s)
		deployment_condition_set(json_object_get(status, "conditions"), "Progressing", "False",
					 "ReplicaSetCreateError", text, r->v->now_s);
	write_status(r, status);
}

/* Creates the current template's set. A name that is taken, by a set that is not this template's (or it would have
 * been found), moves on to the next name. */
static void create_newest(struct rollout *r)
{
	_cleanup_free_ char *hash = current_hash(r->d), *name = deployment_set_name(r->d);
	_cleanup_free_ char *revision = str_printf("%lld", (long long)next_revision(r));
	int64_t size = rollout_initial_size(r);
	struct write *w;

	if (r->v->name_taken) {
		json_t *status = deployment_status_count(r);

		json_object_set_new(status, "collisionCount",
				    json_integer(json_int(r->d, "status.collisionCount", 0) + 1));
		write_status(r, status);
		return;
	}
	if (r->v->create_failure)
		report_create_failure(r, name);
	w = plan_create(r->plan, kube_path("apps/v1", "replicasets", object_namespace(r->d), NULL, NULL),
			new_set(r, hash, name, size, revision));
	w->tag = DEPLOYMENT_TAG_NEW_SET;
	write_says(w, r->d, size > 0 ? "ScalingReplicaSet" : NULL,
		   str_printf("Scaled up replica set %s from 0 to %lld", name, (long long)size),
		   "ReplicaSetCreateError", str_printf("Failed to create new replica set \"%s\": ", name));
	w->event.append_message = true;
	announce_created(r, name, revision);
}

static int by_revision(const void *a, const void *b)
{
	const struct set_state *x = *(struct set_state *const *)a, *y = *(struct set_state *const *)b;

	if (x->revision != y->revision)
		return x->revision < y->revision ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Deletes the oldest revisions beyond revisionHistoryLimit, when nothing runs in them. */
static void clean_history(struct rollout *r)
{
	int64_t limit = json_int(r->d, "spec.revisionHistoryLimit", INT32_MAX), excess;
	_cleanup_free_ struct set_state **old = mem_new_n(struct set_state *, r->count + 1);
	size_t n = 0;

	for (size_t i = 0; i < r->count; i++) {
		if (&r->sets[i] != r->newest && !object_deleting(r->sets[i].set))
			old[n++] = &r->sets[i];
	}
	excess = (int64_t)n - limit;
	qsort(old, n, sizeof(*old), by_revision);
	for (int64_t i = 0; i < excess; i++) {
		const json_t *set = old[i]->set;

		if (old[i]->pods || old[i]->size ||
		    json_int(set, "metadata.generation", 0) > json_int(set, "status.observedGeneration", 0))
			continue;
		plan_delete(r->plan,
			    kube_path("apps/v1", "replicasets", object_namespace(set), object_name(set), NULL),
			    object_uid(set), -1, "Background")
			->flags |= WRITE_IGNORE_NOT_FOUND;
	}
}

/* Pausing stops the clock of the deadline, resuming starts it anew. True when the condition had to be written. */
static bool note_pause(struct rollout *r)
{
	const json_t *condition = object_condition(r->d, "Progressing");
	const char *reason = json_str_or(condition, "reason", "");
	bool noted = str_eq(reason, "DeploymentPaused");
	json_t *status, *conditions;

	if (!r->deadline_s || str_eq(reason, "ProgressDeadlineExceeded") || r->paused == noted)
		return false;
	status = json_deep_copy(json_object_get(r->d, "status"));
	if (!status)
		status = json_object();
	conditions = json_object_get(status, "conditions");
	if (!conditions) {
		conditions = json_array();
		json_object_set_new(status, "conditions", conditions);
	}
	deployment_condition_set(conditions, "Progressing", "Unknown",
				 r->paused ? "DeploymentPaused" : "DeploymentResumed",
				 r->paused ? "Deployment is paused" : "Deployment is resumed", r->v->now_s);
	write_status(r, status);
	return true;
}

static bool scaling_event(const struct rollout *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->sets[i].size && r->sets[i].desired >= 0 && r->sets[i].desired != r->wanted)
			return true;
	}
	return false;
}

static bool old_pods_running(const struct rollout *r)
{
	const char *newest = r->newest ? object_uid(r->newest->set) : "";

	for (size_t i = 0; i < r->count; i++) {
		if (&r->sets[i] != r->newest && r->sets[i].pods > 0)
			return true;
	}
	for (size_t i = 0; i < r->v->pods.count; i++) {
		const json_t *pod = r->v->pods.items[i];

		if (!pod_finished(pod) && !str_eq(json_str(object_controller_of(pod), "uid"), newest))
			return true;
	}
	return false;
}

static void settle(struct rollout *r)
{
	json_t *status = deployment_status_progress(r);

	rollout_write_sizes(r);
	if (r->newest && deployment_status_complete(r, json_object_get(r->d, "status")))
		clean_history(r);
	write_status(r, status);
}

static void roll_recreate(struct rollout *r)
{
	if (rollout_scale_down_all_old(r) || old_pods_running(r)) {
		settle(r);
	} else if (!r->newest) {
		create_newest(r);
	} else {
		rollout_scale_new(r);
		settle(r);
	}
}

static void roll_gradually(struct rollout *r)
{
	if (!r->newest) {
		create_newest(r);
		return;
	}
	if (!rollout_scale_new(r))
		rollout_scale_old(r);
	settle(r);
}

static void decide(struct rollout *r)
{
	if (object_deleting(r->d)) {
		write_status(r, deployment_status_count(r));
		return;
	}
	if (note_pause(r) || (r->newest && keep_newest(r)))
		return;
	if (r->paused || scaling_event(r)) {
		rollout_scale_proportionally(r);
		rollout_write_sizes(r);
		if (r->paused)
			clean_history(r);
		write_status(r, deployment_status_count(r));
	} else if (r->recreate) {
		roll_recreate(r);
	} else {
		roll_gradually(r);
	}
}

void deployment_decide(const struct deployment_view *v, struct plan *plan)
{
	const json_t *d = v->deployment;
	const struct claimant claimant = { d,	"apps/v1", "Deployment", "deployments", v->selector,
					   "apps/v1", "replicasets" };
	_cleanup_object_list_ struct object_list owned = { 0 };
	int64_t deadline_s = json_int(d, "spec.progressDeadlineSeconds", 0);
	struct rollout r = { .v = v, .d = d, .name = object_name(d), .plan = plan };

	if (selector_matches_everything(v->selector)) {
		plan_event(plan, d, "Warning", "SelectingAll",
			   "This deployment is selecting all pods. A non-empty selector is required.");
		return;
	}
	if (workload_claim(&claimant, &v->sets, &owned, plan))
		return;
	r.wanted = json_int(d, "spec.replicas", 1);
	r.paused = json_bool(d, "spec.paused", false);
	r.recreate = str_eq(json_str(d, "spec.strategy.type"), "Recreate");
	r.deadline_s = deadline_s == INT32_MAX ? 0 : deadline_s;
	if (!r.recreate)
		deployment_fenceposts(d, &r.surge, &r.unavailable);
	read_sets(&r, &owned);
	decide(&r);
	free(r.sets);
}
