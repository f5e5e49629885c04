// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The status of a Deployment, which `kubectl rollout status` lives on: counts from its ReplicaSets and the conditions
 * Available, Progressing and ReplicaFailure with upstream's reasons and texts.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "controllers/deployment_rollout.h"
#include "kube/object.h"

static json_t *find(const json_t *conditions, const char *type, size_t *ret_index)
{
	json_t *c;
	size_t i;

	json_array_foreach((json_t *)conditions, i, c) {
		if (str_eq(json_str(c, "type"), type)) {
			if (ret_index)
				*ret_index = i;
			return c;
		}
	}
	return NULL;
}

void deployment_condition_remove(json_t *conditions, const char *type)
{
	size_t i;

	if (find(conditions, type, &i))
		json_array_remove(conditions, i);
}

/* refresh: take the new time and text although status and reason are the same. */
static void condition_put(json_t *conditions, const char *type, const char *status, const char *reason,
			  const char *message, int64_t now_s, bool refresh)
{
	json_t *old = find(conditions, type, NULL);
	_cleanup_free_ char *since = NULL;
	char now[CLOCK_RFC3339_SIZE];

	if (old && !refresh && str_eq(json_str(old, "status"), status) && str_eq(json_str(old, "reason"), reason))
		return;
	clock_format_rfc3339(now_s, now);
	if (old && str_eq(json_str(old, "status"), status))
		since = mem_strdup(json_str(old, "lastTransitionTime"));
	deployment_condition_remove(conditions, type);
	json_array_append_new(conditions,
			      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status,
					"lastUpdateTime", now, "lastTransitionTime", since ? since : now, "reason",
					reason, "message", message));
}

void deployment_condition_set(json_t *conditions, const char *type, const char *status, const char *reason,
			      const char *message, int64_t now_s)
{
	condition_put(conditions, type, status, reason, message, now_s, false);
}

static void put_count(json_t *status, const char *field, int64_t n)
{
	if (n)
		json_object_set_new(status, field, json_integer(n));
}

json_t *deployment_status_count(const struct rollout *r)
{
	json_t *status = json_object(), *conditions = json_deep_copy(json_at(r->d, "status.conditions"));
	json_t *collisions = json_at(r->d, "status.collisionCount");
	int64_t pods = 0, ready = 0, available = 0, terminating = 0;

	for (size_t i = 0; i < r->count; i++) {
		pods += r->sets[i].pods;
		ready += r->sets[i].ready;
		available += r->sets[i].available;
		if (terminating >= 0)
			terminating = r->sets[i].terminating < 0 ? -1 : terminating + r->sets[i].terminating;
	}
	if (!conditions)
		conditions = json_array();
	put_count(status, "observedGeneration", json_int(r->d, "metadata.generation", 0));
	put_count(status, "replicas", pods);
	put_count(status, "updatedReplicas", r->newest ? r->newest->pods : 0);
	put_count(status, "readyReplicas", ready);
	put_count(status, "availableReplicas", available);
	put_count(status, "unavailableReplicas", MAX(pods - available, (int64_t)0));
	if (terminating >= 0)
		json_object_set_new(status, "terminatingReplicas", json_integer(terminating));
	if (collisions)
		json_object_set(status, "collisionCount", collisions);
	if (available >= r->wanted - r->unavailable)
		deployment_condition_set(conditions, "Available", "True", "MinimumReplicasAvailable",
					 "Deployment has minimum availability.", r->v->now_s);
	else
		deployment_condition_set(conditions, "Available", "False", "MinimumReplicasUnavailable",
					 "Deployment does not have minimum availability.", r->v->now_s);
	json_object_set_new(status, "conditions", conditions);
	return status;
}

bool deployment_status_complete(const struct rollout *r, const json_t *status)
{
	return json_int(status, "updatedReplicas", 0) == r->wanted && json_int(status, "replicas", 0) == r->wanted &&
	       json_int(status, "availableReplicas", 0) == r->wanted &&
	       json_int(status, "observedGeneration", 0) >= json_int(r->d, "metadata.generation", 0);
}

static bool progressing(const json_t *old, const json_t *status)
{
	int64_t updated = json_int(status, "updatedReplicas", 0), was_updated = json_int(old, "updatedReplicas", 0);

	return updated > was_updated ||
	       json_int(status, "replicas", 0) - updated < json_int(old, "replicas", 0) - was_updated ||
	       json_int(status, "readyReplicas", 0) > json_int(old, "readyReplicas", 0) ||
	       json_int(status, "availableReplicas", 0) > json_int(old, "availableReplicas", 0);
}

static int64_t deadline_at_s(const struct rollout *r, const json_t *condition)
{
	return object_time_s(condition, "lastUpdateTime", r->v->now_s) + r->deadline_s;
}

static bool timed_out(const struct rollout *r, const json_t *condition)
{
	const char *reason = json_str_or(condition, "reason", "");

	if (!condition || str_eq(reason, "NewReplicaSetAvailable"))
		return false;
	return str_eq(reason, "ProgressDeadlineExceeded") || deadline_at_s(r, condition) < r->v->now_s;
}

static char *progress_text(const struct rollout *r, const char *what)
{
	return r->newest ? str_printf("ReplicaSet \"%s\" %s", object_name(r->newest->set), what) :
			   str_printf("Deployment \"%s\" %s", r->name, what);
}

static void judge(const struct rollout *r, json_t *status, json_t *conditions)
{
	const json_t *condition = find(conditions, "Progressing", NULL);
	_cleanup_free_ char *text = NULL;
	bool complete_before = condition && str_eq(json_str(condition, "reason"), "NewReplicaSetAvailable") &&
			       json_int(status, "replicas", 0) == json_int(status, "updatedReplicas", 0);

	if (complete_before)
		return;
	if (deployment_status_complete(r, status)) {
		text = progress_text(r, "has successfully progressed.");
		deployment_condition_set(conditions, "Progressing", "True", "NewReplicaSetAvailable", text,
					 r->v->now_s);
	} else if (progressing(json_object_get(r->d, "status"), status)) {
		text = progress_text(r, "is progressing.");
		condition_put(conditions, "Progressing", "True", "ReplicaSetUpdated", text, r->v->now_s, true);
	} else if (timed_out(r, condition)) {
		text = progress_text(r, "has timed out progressing.");
		deployment_condition_set(conditions, "Progressing", "False", "ProgressDeadlineExceeded", text,
					 r->v->now_s);
	}
}

/* The new ReplicaSet's failure counts before those of the old ones. */
static void copy_replica_failure(const struct rollout *r, json_t *conditions)
{
	const json_t *failure = r->newest ? object_condition(r->newest->set, "ReplicaFailure") : NULL;

	for (size_t i = 0; i < r->count && !failure; i++)
		failure = object_condition(r->sets[i].set, "ReplicaFailure");
	if (failure)
		deployment_condition_set(conditions, "ReplicaFailure", json_str_or(failure, "status", "True"),
					 json_str_or(failure, "reason", ""), json_str_or(failure, "message", ""),
					 r->v->now_s);
	else
		deployment_condition_remove(conditions, "ReplicaFailure");
}

static void look_again_at_deadline(const struct rollout *r, const json_t *status, const json_t *conditions)
{
	const json_t *condition = find(conditions, "Progressing", NULL);
	const char *reason = json_str_or(condition, "reason", "");

	if (!condition || !r->deadline_s || deployment_status_complete(r, status) ||
	    str_eq(reason, "ProgressDeadlineExceeded"))
		return;
	plan_requeue(r->plan, (MAX(deadline_at_s(r, condition) - r->v->now_s, (int64_t)0) + 1) * 1000);
}

json_t *deployment_status_progress(const struct rollout *r)
{
	json_t *status = deployment_status_count(r), *conditions = json_object_get(status, "conditions");

	if (r->deadline_s)
		judge(r, status, conditions);
	else
		deployment_condition_remove(conditions, "Progressing");
	copy_replica_failure(r, conditions);
	look_again_at_deadline(r, status, conditions);
	return status;
}
