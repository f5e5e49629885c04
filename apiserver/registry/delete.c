// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Delete and deletecollection: preconditions, the finalizers that propagation puts on, the grace of pods, the two steps
 * of namespaces. An object goes at once only when nothing holds it; otherwise it is marked and stays.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/registry/admit.h"
#include "apiserver/validate/validate.h"
#include "base/clock.h"
#include "kube/object.h"

/* Options */

static json_t *invalid_option(const char *reason, const char *field, const char *body)
{
	struct field_errors e = { 0 };
	field_errors_add(&e, reason, mem_strdup(field), "%s", body);
	json_t *s = field_errors_status(&e, "meta.k8s.io", "DeleteOptions", "");
	field_errors_done(&e);
	return s;
}

json_t *delete_options_from(struct call *c, const json_t *v, struct delete_options *ret)
{
	json_t *orphan = json_object_get(v, "orphanDependents"), *dry = json_object_get(v, "dryRun");
	const char *policy = json_str(v, "propagationPolicy");
	*ret = (struct delete_options){ .dry_run = c->dry_run };
	if (json_object_get(v, "gracePeriodSeconds")) {
		ret->has_grace = true;
		ret->grace_s = json_int(v, "gracePeriodSeconds", 0);
	}
	if (orphan && policy)
		return invalid_option("FieldValueInvalid", "propagationPolicy",
				      "Invalid value: orphanDependents and deletionPropagation cannot be both set");
	if (policy && !str_eq(policy, "Foreground") && !str_eq(policy, "Background") && !str_eq(policy, "Orphan")) {
		_cleanup_free_ char *body = str_printf("Unsupported value: \"%s\": supported values: \"Foreground\", \"Background\", "
						       "\"Orphan\", \"nil\"", policy);
		return invalid_option("FieldValueNotSupported", "propagationPolicy", body);
	}
	if (orphan)
		policy = json_is_true(orphan) ? "Orphan" : "Background";
	ret->propagation = arena_strdup(c->arena, policy);
	ret->uid = arena_strdup(c->arena, json_str(v, "preconditions.uid"));
	ret->resource_version = arena_strdup(c->arena, json_str(v, "preconditions.resourceVersion"));
	size_t i;
	json_t *item;
	json_array_foreach(dry, i, item) {
		if (!str_eq(json_string_value(item), "All"))
			return invalid_option("FieldValueNotSupported", "dryRun", "Unsupported value: supported values: \"All\"");
		ret->dry_run = true;
	}
	return NULL;
}

static json_t *options_from_query(struct call *c, struct delete_options *ret)
{
	_cleanup_json_ json_t *v = json_object();
	const char *grace = query_get(&c->q, "gracePeriodSeconds"), *policy = query_get(&c->q, "propagationPolicy");
	int64_t seconds;
	if (!str_empty(grace)) {
		if (str_to_i64(grace, INT64_MIN, INT64_MAX, &seconds) < 0)
			return status_bad_request("strconv.ParseInt: parsing \"%s\": invalid syntax", grace);
		json_object_set_new(v, "gracePeriodSeconds", json_integer(seconds));
	}
	if (!str_empty(policy))
		json_object_set_new(v, "propagationPolicy", json_string(policy));
	if (query_get(&c->q, "orphanDependents"))
		json_object_set_new(v, "orphanDependents", json_boolean(query_true(&c->q, "orphanDependents")));
	return delete_options_from(c, v, ret);
}

json_t *delete_options_read(struct call *c, struct delete_options *ret)
{
	const struct schema_kind *kind;
	_cleanup_json_ json_t *v = NULL;
	json_t *status;
	if (!c->body_len)
		return options_from_query(c, ret);
	/* Clients send it in the group they talk to, in v1 or in meta.k8s.io. */
	kind = schema_kind_find("v1", "DeleteOptions");
	if (!kind)
		return status_internal("DeleteOptions has no schema");
	if (str_empty(c->content_type) || str_eq(c->content_type, "application/json") ||
	    str_eq(c->content_type, "application/yaml")) {
		status = body_value(c, "DeleteOptions", NULL, &v);
		if (status)
			return status;
		if (json_is_object(v))
			json_object_del(v, "apiVersion");
		status = body_check(c, kind, v, NULL);
	} else {
		_cleanup_free_ char *group_version = str_empty(c->u.group) ? mem_strdup(c->u.version)
									   : str_printf("%s/%s", c->u.group, c->u.version);
		const struct schema_kind *own = schema_kind_find(group_version, "DeleteOptions");
		status = body_kind(c, kind, &v);
		if (status && own && own != kind) {
			json_decref(status);
			status = body_kind(c, own, &v);
		}
	}
	return status ? status : delete_options_from(c, v, ret);
}

/* Deciding */

json_t *delete_preconditions(const struct schema_resource *storage, const struct store_object *latest, const json_t *o,
			     const struct delete_options *d)
{
	_cleanup_free_ char *text = NULL;
	char rv[24];
	snprintf(rv, sizeof(rv), "%" PRIu64, latest->revision);
	if (!str_empty(d->uid) && !str_eq(d->uid, object_uid(o)))
		text = str_printf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been "
				  "deleted and then recreated", d->uid, object_uid(o));
	else if (!str_empty(d->resource_version) && !str_eq(d->resource_version, rv))
		text = str_printf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The "
				  "object might have been modified", d->resource_version, rv);
	return text ? status_conflict(storage, entry_name(latest), text) : NULL;
}

static bool has_string(const json_t *array, const char *s)
{
	size_t i;
	json_t *v;
	json_array_foreach(array, i, v)
		if (str_eq(json_string_value(v), s))
			return true;
	return false;
}

static bool collects_garbage(const struct schema_resource *r)
{
	return !str_eq(r->plural, "events");
}

/* Sets the finalizers that the propagation asks for. */
static void set_finalizers(const struct schema_resource *storage, json_t *o, const struct delete_options *d)
{
	json_t *old = json_at(o, "metadata.finalizers"), *new = json_array(), *v;
	size_t i;
	bool orphan = str_eq(d->propagation, "Orphan"), foreground = str_eq(d->propagation, "Foreground");
	if (!d->propagation) {
		orphan = has_string(old, "orphan");
		foreground = has_string(old, "foregroundDeletion");
		if (!orphan && !foreground)
			orphan = resource_is(storage, "", "replicationcontrollers") || resource_is(storage, "batch", "jobs");
	}
	if (!collects_garbage(storage))
		orphan = foreground = false;
	json_array_foreach(old, i, v)
		if (!str_eq(json_string_value(v), "orphan") && !str_eq(json_string_value(v), "foregroundDeletion"))
			json_array_append(new, v);
	if (orphan)
		json_array_append_new(new, json_string("orphan"));
	if (foreground)
		json_array_append_new(new, json_string("foregroundDeletion"));
	if (json_array_size(new))
		json_set(o, "metadata.finalizers", json_incref(new));
	else
		json_unset(o, "metadata.finalizers");
	json_decref(new);
}

static void bump_generation(json_t *o)
{
	int64_t generation = json_int(o, "metadata.generation", 0);
	if (generation > 0)
		json_set(o, "metadata.generation", json_integer(generation + 1));
}

static void mark(json_t *o, int64_t at_s, int64_t grace_s)
{
	char when[CLOCK_RFC3339_SIZE];
	clock_format_rfc3339(at_s, when);
	json_set_str(o, "metadata.deletionTimestamp", when);
	json_set(o, "metadata.deletionGracePeriodSeconds", json_integer(grace_s));
}

/* The grace a pod gets. */
static int64_t pod_grace(const json_t *pod, const struct delete_options *d)
{
	int64_t grace = d->has_grace ? d->grace_s : json_int(pod, "spec.terminationGracePeriodSeconds", 0);
	const char *phase = json_str_or(pod, "status.phase", "");
	if (str_empty(json_str(pod, "spec.nodeName")) || str_eq(phase, "Failed") || str_eq(phase, "Succeeded"))
		return 0;
	return grace < 0 ? 1 : grace;
}

enum deletion { DELETE_NOW, DELETE_MARKED, DELETE_UNCHANGED };

/* A pod already being deleted: only a shorter grace changes anything. */
static enum deletion shorten_grace(json_t *o, const struct delete_options *d)
{
	int64_t recorded = json_int(o, "metadata.deletionGracePeriodSeconds", 0), grace, at_us, now = clock_wall_s();
	if (!d->has_grace)
		return recorded ? DELETE_UNCHANGED : DELETE_NOW;
	grace = pod_grace(o, d);
	if (grace == 0)
		return DELETE_NOW;
	if (grace >= recorded || clock_parse_rfc3339(json_str_or(o, "metadata.deletionTimestamp", ""), &at_us) < 0)
		return recorded ? DELETE_UNCHANGED : DELETE_NOW;
	int64_t at = at_us / 1000000 - recorded + grace;
	if (at < now) {
		at = now;
		grace = 1;
	}
	mark(o, at, grace);
	return DELETE_MARKED;
}

static enum deletion decide_pod(json_t *o, const struct delete_options *d)
{
	int64_t grace;
	if (object_deleting(o))
		return shorten_grace(o, d);
	grace = pod_grace(o, d);
	if (grace == 0)
		return DELETE_NOW;
	mark(o, clock_wall_s() + grace, grace);
	bump_generation(o);
	return DELETE_MARKED;
}

bool namespace_is_protected(const char *name)
{
	return str_eq(name, "default") || str_eq(name, "kube-system") || str_eq(name, "kube-public");
}

static enum deletion decide_namespace(json_t *o)
{
	if (!json_array_size(json_at(o, "spec.finalizers")))
		return DELETE_NOW;
	mark(o, clock_wall_s(), 0);
	json_object_del(json_object_get(o, "metadata"), "deletionGracePeriodSeconds");
	json_set_str(o, "status.phase", "Terminating");
	return DELETE_MARKED;
}

json_t *registry_delete(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
			const struct delete_options *d, bool *ret_gone, write_done_fn done, void *user)
{
	_cleanup_json_ json_t *o = entry_parse(latest), *before = NULL;
	json_t *status = delete_preconditions(storage, latest, o, d);
	enum deletion what = DELETE_NOW;
	if (!status && storage == g->namespaces && object_deleting(o) && json_array_size(json_at(o, "spec.finalizers")))
		status = status_conflict(storage, entry_name(latest),
					 "The system is ensuring all content is removed from this namespace.  Upon completion, this "
					 "namespace will automatically be purged by the system.");
	if (status)
		return status;
	if (storage == g->pods)
		what = decide_pod(o, d);
	else if (storage == g->namespaces)
		what = decide_namespace(o);
	set_finalizers(storage, o, d);
	if (what == DELETE_NOW && json_array_size(json_at(o, "metadata.finalizers"))) {
		/* Somebody still has work to do. */
		if (!object_deleting(o)) {
			bump_generation(o);
			mark(o, clock_wall_s(), 0);
		} else if (json_int(o, "metadata.deletionGracePeriodSeconds", 0)) {
			mark(o, clock_wall_s(), 0);
		}
		what = DELETE_MARKED;
	}
	*ret_gone = what == DELETE_NOW;
	if (what == DELETE_NOW)
		return registry_remove(g, storage, latest, o, d->dry_run, done, user);
	/* Nothing new is written, but the answer is still the object; one without a revision yet is written behind it. */
	before = entry_parse(latest);
	bool same = json_equal(o, before) && !store_is_provisional(g->store, latest->revision);
	return registry_put(g, storage, latest, o, d->dry_run || same, done, user);
}

/* Verbs */

struct delete_call {
	struct call *call;
	bool gone;
};

/* Kinds whose delete answers with what was deleted (upstream: ReturnDeletedObject). */
static bool answers_object(const struct schema_resource *s)
{
	static const char *const core[] = { "pods", "services", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims",
		"podtemplates", "resourcequotas" };
	static const char *const storage[] = { "storageclasses", "csidrivers", "csinodes", "volumeattachments" };
	for (size_t i = 0; i < ARRAY_SIZE(core); i++)
		if (resource_is(s, "", core[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(storage); i++)
		if (resource_is(s, "storage.k8s.io", storage[i]))
			return true;
	return false;
}

static void on_deleted(struct write_result *r, void *user)
{
	struct delete_call *d = user;
	struct call *c = d->call;
	if (write_retried(r, c)) {
		free(d);
		return;
	}
	if (r->status) {
		answer_status(c, TAKE(r->status));
	} else if (d->gone && !answers_object(c->storage)) {
		_cleanup_json_ json_t *o = entry_parse(r->object);
		answer_value(c, 200, status_success(c->r, object_name(o), object_uid(o)));
	} else {
		answer_object(c, 200, r->object);
	}
	call_unref(c);
	free(d);
}

void verb_delete(struct call *c)
{
	struct delete_options o;
	struct store_object *latest;
	struct delete_call *d;
	json_t *status = delete_options_read(c, &o);
	if (!status)
		status = registry_find(c->g, c->storage, c->u.ns, c->u.name, &latest);
	if (!status) {
		_cleanup_json_ json_t *old = entry_parse(latest);
		struct admission a = { .g = c->g, .storage = c->storage, .op = ADMIT_DELETE, .sub = "", .ns = c->u.ns, .user = &c->user,
			.call = c, .old = old };
		status = admit_mutate(&a);
		if (!status)
			status = admit_validate(&a);
	}
	call_ref(c);
	if (status) {
		write_refused(c, status);
		return;
	}
	d = mem_new(struct delete_call);
	d->call = c;
	status = registry_delete(c->g, c->storage, latest, &o, &d->gone, on_deleted, d);
	if (status) {
		free(d);
		write_refused(c, status);
	}
}

struct collection {
	struct call *call;
	size_t waiting;
	bool stale;                    /* another API server changed one of them */
	json_t *failed;                /* the first refusal */
	struct store_object **objects; /* what was deleted, references */
	size_t count;
};

static void collection_done(struct collection *k)
{
	struct call *c = k->call;
	if (k->failed) {
		for (size_t i = 0; i < k->count; i++)
			store_object_unref(k->objects[i]);
		free(k->objects);
		if (write_retried(&(struct write_result){ .stale = k->stale }, c)) {
			json_decref(k->failed);
			free(k);
			return;
		}
		answer_status(c, k->failed);
	} else {
		answer_list(c, k->objects, k->count, store_revision(c->g->store), NULL, -1);
	}
	call_unref(c);
	free(k);
}

static void on_one_deleted(struct write_result *r, void *user)
{
	struct collection *k = user;
	k->stale |= r->stale;
	if (r->status && !k->failed)
		k->failed = TAKE(r->status);
	if (!r->status)
		k->objects[k->count++] = store_object_ref(r->object);
	if (--k->waiting == 0)
		collection_done(k);
}

void verb_deletecollection(struct call *c)
{
	struct delete_options o;
	struct filter f = { 0 };
	_cleanup_err_ struct err err = { 0 };
	struct collection *k;
	struct store_object *found;
	json_t *status = delete_options_read(c, &o);
	if (!status && filter_compile(c->r, c->u.ns, NULL, query_get(&c->q, "labelSelector"), query_get(&c->q, "fieldSelector"), &f,
				      &err) < 0)
		status = status_bad_request("%s", err_msg(&err));
	if (status) {
		answer_status(c, status);
		return;
	}
	k = mem_new(struct collection);
	k->call = call_ref(c);
	k->waiting = 1;
	struct store_iter it = filter_iterate(&f, c->g->store, c->storage->id);
	k->objects = mem_new_n(struct store_object *, store_iter_left(&it) + 1);
	while ((found = filter_next(&f, &it))) {
		struct store_object *latest = store_latest(c->g->store, c->storage->id, found->key);
		bool gone;
		if (!latest)
			continue;
		k->waiting++;
		status = registry_delete(c->g, c->storage, latest, &o, &gone, on_one_deleted, k);
		if (status) {
			k->waiting--;
			if (!k->failed)
				k->failed = status;
			else
				json_decref(status);
		}
	}
	filter_done(&f);
	if (--k->waiting == 0)
		collection_done(k);
}
