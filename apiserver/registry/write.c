// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Create and update: what every object has (uid, times, generation, versions) is set here, what is special to a kind comes from
 * strategy_*() and validate_object(), and from the few hooks of pods, services and namespaces.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/auth/rbac.h"
#include "apiserver/registry/admit.h"
#include "apiserver/registry/convert.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "base/clock.h"
#include "kube/object.h"

enum { GENERATE_SUFFIX = 5, GENERATE_MAX_BASE = 58, GENERATE_TRIES = 8 };
enum { MAX_OBJECT_DEPTH = 400, MAX_OBJECT_BYTES = 3 << 20, MAX_RETRIES = 5 };

struct write {
	struct registry *g;
	const struct schema_resource *storage;
	struct store_object *object; /* dry runs: what would have been written; writes that change nothing: what is there */
	struct write *next;          /* in the registry's `unsettled`, until based_on is durable */
	uint64_t based_on;
	json_t *refusal;             /* what it is answered then; NULL: object */
	struct alloc_undo *undo;
	write_done_fn done;
	void *user;
	uv_timer_t *later;
};

static json_t *durable_status(int status, const char *why)
{
	if (!status)
		return NULL;
	if (status == -ENOSPC)
		return status_internal("the store's disk is full: %s", why);
	if (status == -EMSGSIZE)
		return status_new(413, "RequestEntityTooLarge", "the object is larger than etcd takes: %s", why);
	return status_internal("the store could not be written: %s", why);
}

static void finish(struct write *w, json_t *status, struct store_object *object, bool stale)
{
	struct write_result result = { status, object, stale };
	if (status)
		service_undo(w->g, w->undo);
	else
		service_keep(w->undo);
	if (w->done)
		w->done(&result, w->user);
	json_decref(result.status);
	store_object_unref(w->object);
	free(w);
}

/* Answers those of `unsettled` whose revision is durable by now; with a failed status all of them. */
static void settle(struct registry *g, int status, const char *why)
{
	struct write **at = &g->unsettled, *ready = NULL, **end = &ready;
	while (*at) {
		struct write *w = *at;
		if (!status && w->based_on > store_revision(g->store)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = NULL;
		*end = w;
		end = &w->next;
	}
	while (ready) {
		struct write *w = ready;
		ready = w->next;
		json_t *failed = durable_status(status, why), *refusal = TAKE(w->refusal);
		finish(w, failed ? failed : json_incref(refusal), w->object, false);
		json_decref(refusal);
	}
}

void write_committed(struct registry *g)
{
	settle(g, 0, NULL);
}

static void on_stored(int status, const char *why, struct store_object *object, void *user)
{
	struct write *w = user;
	struct registry *g = w->g;
	if (status == -ESTALE) {
		finish(w, status_conflict(w->storage, entry_name(object), NULL), object, true);
		return;
	}
	finish(w, durable_status(status, why), object, false);
	/* Everything under way failed with it, and so does what was based on that. */
	if (status) {
		g->last_put = store_revision(g->store);
		settle(g, status, why);
	}
}

static void on_later_closed(uv_handle_t *h)
{
	free(h);
}

static void on_later(uv_timer_t *t)
{
	struct write *w = t->data;
	uv_close((uv_handle_t *)t, on_later_closed);
	finish(w, NULL, w->object, false);
}

/*
 * A write that stores nothing is answered like others: later, and not before what it is based on is durable. Otherwise its client
 * would hear of a state that the next reader does not see yet, or that a crash undoes.
 */
static void answer_later(struct write *w, uint64_t based_on)
{
	uv_timer_t *t;
	if (based_on > store_revision(w->g->store)) {
		w->based_on = based_on;
		w->next = w->g->unsettled;
		w->g->unsettled = w;
		return;
	}
	t = mem_new(uv_timer_t);
	uv_timer_init(w->g->loop, t);
	t->data = w;
	uv_timer_start(t, on_later, 0, 0);
}

/* A patch can build what no body could hold: deeper than our own parser reads, or larger than a body. */
static bool is_deeper(const json_t *v, unsigned limit)
{
	const char *key;
	json_t *child;
	size_t i;
	if (!json_is_object(v) && !json_is_array(v))
		return false;
	if (limit == 0)
		return true;
	json_array_foreach(v, i, child)
		if (is_deeper(child, limit - 1))
			return true;
	json_object_foreach((json_t *)v, key, child)
		if (is_deeper(child, limit - 1))
			return true;
	return false;
}

static json_t *too_large(void)
{
	return status_new(413, "RequestEntityTooLarge", "Request entity too large: limit is %d", MAX_OBJECT_BYTES);
}

/* Hands object to the store. latest NULL: it must not exist. */
static json_t *put(struct registry *g, const struct schema_resource *storage, const char *key, struct store_object *latest,
		   json_t *object, bool remove, bool dry_run, struct alloc_undo *undo, write_done_fn done, void *user)
{
	struct write *w = mem_new(struct write);
	const char *name = strchr(key, '/') ? strchr(key, '/') + 1 : key;
	/* A dry run on top of a write without a revision yet has none either, and there is none to wait for. */
	uint64_t expected = latest ? latest->revision : 0, shown = store_is_provisional(g->store, expected) ? 0 : expected;
	struct store_object *o = NULL;
	int rc;
	*w = (struct write){ .g = g, .storage = storage, .undo = undo, .done = done, .user = user };
	if (!is_deeper(object, MAX_OBJECT_DEPTH))
		o = entry_make(storage, key, dry_run ? shown : store_reserve(g->store), object);
	if (!o || o->json->len > MAX_OBJECT_BYTES) {
		bool deep = !o;
		store_object_unref(o);
		service_undo(g, undo);
		free(w);
		return deep ? status_bad_request("the object is nested deeper than %d levels", MAX_OBJECT_DEPTH) : too_large();
	}
	if (dry_run) {
		w->object = o;
		answer_later(w, shown);
		return NULL;
	}
	uint64_t revision = o->revision;
	rc = remove ? store_delete(g->store, o, expected, on_stored, w) : store_put(g->store, o, expected, on_stored, w);
	if (!rc) {
		/* Of a shared store it is provisional, and never reached. */
		if (!store_is_shared(g->store))
			g->last_put = revision;
		return NULL;
	}
	service_undo(g, undo);
	free(w);
	if (rc == -EEXIST)
		return status_exists(storage, name);
	if (rc == -ENAMETOOLONG)
		return status_bad_request("the name of the object is too long to be stored");
	if (rc == -EBADMSG) {
		size_t ns_len = (size_t)(name - key);
		_cleanup_free_ char *ns = mem_strndup(key, ns_len ? ns_len - 1 : 0), *why = store_unreadable(g->store, storage->id, ns, key);
		return status_internal("%s", why ? why : "it cannot be read");
	}
	return status_conflict(storage, name, NULL);
}

json_t *registry_put(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
		     json_t *object, bool dry_run, write_done_fn done, void *user)
{
	return put(g, storage, latest->key, latest, object, false, dry_run, NULL, done, user);
}

json_t *registry_remove(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
			json_t *object, bool dry_run, write_done_fn done, void *user)
{
	return put(g, storage, latest->key, latest, object, true, dry_run, NULL, done, user);
}

/* Create */

static json_t *metadata_of(json_t *object)
{
	json_t *m = json_object_get(object, "metadata");
	if (!json_is_object(m)) {
		m = json_object();
		json_object_set_new(object, "metadata", m);
	}
	return m;
}

static json_t *set_namespace(const struct schema_resource *storage, json_t *metadata, const char *ns)
{
	const char *own = json_string_value(json_object_get(metadata, "namespace"));
	if (!storage->namespaced) {
		if (!str_empty(own) && !resource_is(storage, "", "namespaces") && !str_empty(ns))
			return status_bad_request("the namespace of the provided object does not match the namespace sent on the request");
		json_object_del(metadata, "namespace");
		return NULL;
	}
	if (!str_empty(own) && !str_eq(own, ns))
		return status_bad_request("the namespace of the provided object does not match the namespace sent on the request");
	json_object_set_new(metadata, "namespace", json_string(ns));
	return NULL;
}

static void stamp(json_t *metadata)
{
	char uid[37], now[CLOCK_RFC3339_SIZE];
	rand_uuid(uid);
	clock_format_rfc3339(clock_wall_s(), now);
	json_object_set_new(metadata, "uid", json_string(uid));
	json_object_set_new(metadata, "creationTimestamp", json_string(now));
	json_object_del(metadata, "deletionTimestamp");
	json_object_del(metadata, "deletionGracePeriodSeconds");
	json_object_del(metadata, "generation");
	json_object_del(metadata, "resourceVersion");
	json_object_del(metadata, "selfLink");
}

/* A free name from generateName. False: after all tries there was none; the last is set. */
static bool generate_name(struct registry *g, const struct schema_resource *storage, json_t *metadata, const char *ns)
{
	const char *base = json_string_value(json_object_get(metadata, "generateName"));
	for (int i = 0; i < GENERATE_TRIES; i++) {
		char suffix[GENERATE_SUFFIX + 1];
		rand_suffix(suffix, GENERATE_SUFFIX);
		_cleanup_free_ char *name = str_printf("%.*s%s", GENERATE_MAX_BASE, base, suffix);
		_cleanup_free_ char *key = entry_key(storage, ns, name);
		json_object_set_new(metadata, "name", json_string(name));
		if (!store_latest(g->store, storage->id, key))
			return true;
	}
	return false;
}

static json_t *validated(const struct schema_resource *storage, const struct write_options *o, const json_t *object,
			 const json_t *old)
{
	/* Events have rules that go by the version of the request, not by that of the store. */
	const struct schema_resource *asked = o->call && o->call->storage == storage && str_eq(storage->plural, "events") ?
		o->call->r : storage;
	struct field_errors e = { 0 };
	json_t *status = NULL;
	validate_object(asked, old ? o->sub : NULL, object, old, &e);
	if (e.count)
		status = field_errors_status(&e, storage->group, storage->kind, object_name(object));
	field_errors_done(&e);
	return status;
}

static void warn_client(const struct schema_resource *storage, const struct write_options *o, const json_t *object,
			const json_t *old)
{
	_cleanup_strlist_ struct strlist warnings = { 0 };
	if (!o->call)
		return;
	validate_warnings(storage, old ? o->sub : NULL, object, old, &warnings);
	for (size_t i = 0; i < warnings.count; i++)
		call_warn(o->call, "%s", warnings.items[i]);
}

static json_t *clash(const struct schema_resource *storage, const char *name)
{
	char what[256];
	json_t *s = status_for(storage, name, 409, "AlreadyExists",
			       "%s \"%s\" already exists, the server was not able to generate a unique name for the object",
			       status_resource_name(storage, what), name);
	status_set_retry(s, 1);
	return s;
}

json_t *registry_create(struct registry *g, const struct schema_resource *storage, const char *ns, json_t *object,
			const struct write_options *o, write_done_fn done, void *user)
{
	json_t *metadata = metadata_of(object), *status = set_namespace(storage, metadata, ns);
	struct alloc_undo *undo = NULL;
	const char *generate = json_string_value(json_object_get(metadata, "generateName"));
	bool generated = str_empty(object_name(object)) && !str_empty(generate), unique = true;
	struct admission a = { .g = g, .storage = storage, .op = ADMIT_CREATE, .sub = "", .ns = ns, .user = o->user, .call = o->call,
		.object = object, .dry_run = o->dry_run };
	if (!status && !str_empty(json_string_value(json_object_get(metadata, "resourceVersion"))) &&
	    !str_eq(json_string_value(json_object_get(metadata, "resourceVersion")), "0"))
		status = status_bad_request("resourceVersion should not be set on objects to be created");
	/* Before admission: what it adds is nobody's. */
	if (!status && o->call && !o->applied)
		managers_note(o->call, NULL, object);
	if (!status && !o->no_admission)
		status = admit_mutate(&a);
	if (status)
		return status;
	stamp(metadata);
	if (generated)
		unique = generate_name(g, storage, metadata, ns);
	_cleanup_free_ char *key = entry_key(storage, ns, object_name(object));
	if (!unique)
		return clash(storage, object_name(object));
	strategy_prepare_create(storage, object);
	csr_prepare_create(storage, o->user, object);
	if (o->user)
		status = rbac_check_grant(g, o->user, storage, ns, object, NULL);
	if (status)
		return status;
	if (storage == g->services)
		status = service_allocate(g, object, NULL, o->dry_run, &undo);
	if (!status)
		status = validated(storage, o, object, NULL);
	/* A name that exists is told last, as upstream does, but nothing is counted for it. */
	struct store_object *present = store_latest(g->store, storage->id, key);
	a.dry_run |= present != NULL;
	if (!status && !o->no_admission)
		status = admit_validate(&a);
	if (!status && present)
		status = status_exists(storage, object_name(object));
	if (status) {
		service_undo(g, undo);
		return status;
	}
	warn_client(storage, o, object, NULL);
	void *counted = quota_pending(g->quotas, &done, user);
	status = put(g, storage, key, NULL, object, false, o->dry_run, undo, done, counted);
	if (status)
		quota_not_pending(counted);
	return status;
}

/* Update */

bool registry_creates_on_update(const struct schema_resource *s)
{
	static const char *const core[] = { "services", "endpoints", "events", "limitranges" };
	for (size_t i = 0; i < ARRAY_SIZE(core) && str_empty(s->group); i++)
		if (str_eq(s->plural, core[i]))
			return true;
	return str_eq(s->group, "rbac.authorization.k8s.io") || resource_is(s, "node.k8s.io", "runtimeclasses") ||
	       resource_is(s, "coordination.k8s.io", "leases") || str_eq(s->group, "events.k8s.io");
}

bool registry_updates_unconditionally(const struct schema_resource *s)
{
	static const char *const never[][2] = {
		{ "policy", "poddisruptionbudgets" }, { "storage.k8s.io", "csidrivers" }, { "storage.k8s.io", "csinodes" },
		{ "storage.k8s.io", "csistoragecapacities" }, { "storage.k8s.io", "volumeattachments" },
		{ "node.k8s.io", "runtimeclasses" }, { "coordination.k8s.io", "leases" },
		{ "apiextensions.k8s.io", "customresourcedefinitions" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (resource_is(s, never[i][0], never[i][1]))
			return false;
	return !str_eq(s->group, "admissionregistration.k8s.io");
}

/* Versions and uid of what the client sent against what there is. */
static json_t *check_preconditions(const struct schema_resource *storage, const struct store_object *latest, const json_t *old,
				   const json_t *object)
{
	const char *rv = object_resource_version(object), *uid = object_uid(object), *name = entry_name(latest);
	char what[256], mine[24];
	snprintf(mine, sizeof(mine), "%" PRIu64, latest->revision);
	if (str_empty(rv) || str_eq(rv, "0")) {
		if (!registry_updates_unconditionally(storage)) {
			json_t *s = status_for(storage, name, 422, "Invalid",
					       "%s \"%s\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for "
					       "an update", status_resource_name(storage, what), name);
			status_add_cause(s, "FieldValueInvalid", "Invalid value: 0: must be specified for an update",
					 "metadata.resourceVersion");
			return s;
		}
	} else if (!str_eq(rv, mine)) {
		uint64_t n;
		if (str_to_u64(rv, UINT64_MAX, &n) < 0)
			return status_bad_request("invalid resource version: %s", rv);
		return status_conflict(storage, name, NULL);
	}
	if (!str_empty(uid) && !str_eq(uid, object_uid(old))) {
		_cleanup_free_ char *text = str_printf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid,
						       object_uid(old));
		return status_conflict(storage, name, text);
	}
	return NULL;
}

static void keep(json_t *metadata, const json_t *old_metadata, const char *field)
{
	json_t *v = json_object_get(old_metadata, field);
	if (v)
		json_object_set(metadata, field, v);
	else
		json_object_del(metadata, field);
}

static void restore_metadata(json_t *metadata, const json_t *old_metadata)
{
	static const char *const kept[] = { "uid", "creationTimestamp", "generation", "deletionTimestamp",
		"deletionGracePeriodSeconds", "resourceVersion" };
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		keep(metadata, old_metadata, kept[i]);
	json_object_del(metadata, "selfLink");
}

/* The write that takes the last finalizer of a deleting object removes it. */
static bool is_gone(const struct registry *g, const struct schema_resource *storage, const json_t *object)
{
	if (!object_deleting(object) || json_array_size(json_at(object, "metadata.finalizers")))
		return false;
	if (storage == g->namespaces && json_array_size(json_at(object, "spec.finalizers")))
		return false;
	return json_int(object, "metadata.deletionGracePeriodSeconds", 0) == 0;
}

/* Nothing but what the server counts differs: then nothing is written and no revision is used, as upstream does. */
static bool is_same(const json_t *old, const json_t *object)
{
	const char *name;
	json_t *v;
	if (json_object_size(old) != json_object_size(object))
		return false;
	json_object_foreach((json_t *)object, name, v)
		if (!str_eq(name, "metadata") && !json_equal(v, json_object_get(old, name)))
			return false;
	_cleanup_json_ json_t *a = json_copy(json_object_get(old, "metadata")), *b = json_copy(json_object_get(object, "metadata"));
	json_object_del(a, "resourceVersion");
	json_object_del(b, "resourceVersion");
	return json_equal(a, b);
}

static json_t *unchanged(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
			 write_done_fn done, void *user)
{
	struct write *w = mem_new(struct write);
	*w = (struct write){ .g = g, .storage = storage, .object = store_object_ref(latest), .done = done, .user = user };
	answer_later(w, latest->revision);
	return NULL;
}

json_t *registry_update(struct registry *g, const struct schema_resource *storage, struct store_object *latest,
			json_t *object, const struct write_options *o, write_done_fn done, void *user)
{
	_cleanup_json_ json_t *old = entry_parse(latest);
	json_t *metadata = metadata_of(object);
	const char *name = entry_name(latest);
	_cleanup_free_ char *ns = mem_strndup(latest->key, entry_namespace_len(latest));
	struct alloc_undo *undo = NULL;
	json_t *status = set_namespace(storage, metadata, ns);
	if (!status)
		status = check_preconditions(storage, latest, old, object);
	if (status)
		return status;
	if (str_empty(object_name(object)))
		json_object_set_new(metadata, "name", json_string(name));
	restore_metadata(metadata, json_object_get(old, "metadata"));
	if (o->call && !o->applied)
		managers_note(o->call, old, object);
	struct admission a = { .g = g, .storage = storage, .op = ADMIT_UPDATE,
		.sub = o->sub ? o->sub : o->call ? o->call->u.sub : "", .ns = ns, .user = o->user,
		.call = o->call, .object = object, .old = old, .dry_run = o->dry_run };
	status = admit_mutate(&a);
	if (status)
		return status;
	strategy_prepare_update(storage, o->sub, object, old);
	if (o->user)
		status = rbac_check_grant(g, o->user, storage, ns, object, old);
	if (status)
		return status;
	if (storage == g->services && str_empty(o->sub))
		status = service_allocate(g, object, old, o->dry_run, &undo);
	if (!status)
		status = validated(storage, o, object, old);
	if (!status)
		status = admit_validate(&a);
	if (status) {
		service_undo(g, undo);
		return status;
	}
	warn_client(storage, o, object, old);
	if (is_gone(g, storage, object))
		return put(g, storage, latest->key, latest, object, true, o->dry_run, undo, done, user);
	/* What has no revision yet cannot be the answer: then it is written behind it. What is encrypted by a former key is written by
	 * the present one. */
	if (!store_is_provisional(g->store, latest->revision) && !store_is_stale(g->store, latest) && is_same(old, object)) {
		service_undo(g, undo);
		return unchanged(g, storage, latest, done, user);
	}
	return put(g, storage, latest->key, latest, object, false, o->dry_run, undo, done, user);
}

/* Answers */

bool write_retried(const struct write_result *r, struct call *c)
{
	if (!r->stale || !c->req || c->g->stopping || c->retries == MAX_RETRIES)
		return false;
	c->retries++;
	registry_handle(c);
	call_unref(c);
	return true;
}

static void answer_written(struct write_result *r, struct call *c, int code)
{
	if (write_retried(r, c))
		return;
	if (r->status)
		answer_status(c, TAKE(r->status));
	else
		answer_object(c, code, r->object);
	call_unref(c);
}

/* A refusal that waits for what becomes of the writes it may have come from. */
struct refusal {
	struct call *call;
	json_t *status;
};

static void on_outcomes(int failed, void *user)
{
	struct refusal *r = user;
	struct call *c = r->call;
	/* What refused it may not be there: it is decided anew. */
	if (failed && c->req && !c->g->stopping && c->retries < MAX_RETRIES) {
		c->retries++;
		json_decref(r->status);
		registry_handle(c);
	} else {
		answer_status(c, r->status);
	}
	call_unref(c);
	free(r);
}

/* Takes the status and the reference to the call when it returns true. */
static bool refuse_later(struct call *c, json_t *status)
{
	struct refusal *r;
	if (!store_is_shared(c->g->store))
		return false;
	r = mem_new(struct refusal);
	*r = (struct refusal){ c, status };
	if (store_outcomes(c->g->store, on_outcomes, r))
		return true;
	free(r);
	return false;
}

/* That something exists, or does not, or is another version may come from a write that is not durable yet: it is waited for. */
void write_refused(struct call *c, json_t *status)
{
	json_int_t code = json_integer_value(json_object_get(status, "code"));
	if (!status)
		return;
	/* Perhaps only because this server has not seen another one's write yet. */
	if (wait_fresh(c, registry_handle)) {
		json_decref(status);
		call_unref(c);
		return;
	}
	if ((code == 404 || code == 409) && c->g->last_put > store_revision(c->g->store)) {
		struct write *w = mem_new(struct write);
		*w = (struct write){ .g = c->g, .storage = c->storage, .refusal = status, .done = write_answer_ok, .user = c };
		answer_later(w, c->g->last_put);
		return;
	}
	if (refuse_later(c, status))
		return;
	answer_status(c, status);
	call_unref(c);
}

void write_answer_created(struct write_result *r, void *call)
{
	answer_written(r, call, 201);
}

void write_answer_ok(struct write_result *r, void *call)
{
	answer_written(r, call, 200);
}

void write_answer_success_created(struct write_result *r, void *user)
{
	struct call *c = user;
	if (write_retried(r, c))
		return;
	if (r->status) {
		answer_status(c, TAKE(r->status));
	} else {
		json_t *s = json_pack("{s:s,s:s,s:{},s:s,s:i}", "kind", "Status", "apiVersion", "v1", "metadata", "status", "Success",
				      "code", 201);
		answer_value(c, 201, s);
	}
	call_unref(c);
}

/* Verbs */

json_t *registry_find(struct registry *g, const struct schema_resource *storage, const char *ns, const char *name,
		      struct store_object **ret)
{
	_cleanup_free_ char *key = entry_key(storage, ns, name);
	struct store_object *o = store_latest(g->store, storage->id, key);
	if (!o)
		return status_not_found(storage, name);
	*ret = o;
	return NULL;
}

static struct write_options options_of(struct call *c)
{
	return (struct write_options){ .dry_run = c->dry_run, .user = &c->user, .call = c, .sub = *c->u.sub ? c->u.sub : NULL };
}

void verb_create(struct call *c)
{
	struct write_options o = options_of(c);
	_cleanup_json_ json_t *object = NULL;
	json_t *status = body_object(c, c->r, &object);
	call_ref(c);
	if (!status) {
		convert_object(c->r, c->storage, object);
		status = registry_create(c->g, c->storage, c->u.ns, object, &o, write_answer_created, c);
	}
	write_refused(c, status);
}

static json_t *check_url_name(struct call *c, json_t *object)
{
	const char *name = object_name(object);
	if (str_empty(name)) {
		json_set_str(object, "metadata.name", c->u.name);
		return NULL;
	}
	if (!str_eq(name, c->u.name))
		return status_bad_request("the name of the object (%s) does not match the name on the URL (%s)", name, c->u.name);
	return NULL;
}

void verb_update(struct call *c)
{
	struct write_options o = options_of(c);
	_cleanup_json_ json_t *object = NULL;
	_cleanup_free_ char *key = entry_key(c->storage, c->u.ns, c->u.name);
	struct store_object *latest;
	json_t *status = body_object(c, c->r, &object);
	call_ref(c);
	if (!status)
		status = check_url_name(c, object);
	if (status) {
		write_refused(c, status);
		return;
	}
	convert_object(c->r, c->storage, object);
	latest = store_latest(c->g->store, c->storage->id, key);
	if (latest) {
		status = registry_update(c->g, c->storage, latest, object, &o, write_answer_ok, c);
	} else if (!o.sub && registry_creates_on_update(c->storage)) {
		json_unset(object, "metadata.resourceVersion");
		status = registry_create(c->g, c->storage, c->u.ns, object, &o, write_answer_created, c);
	} else {
		status = status_not_found(c->storage, c->u.name);
	}
	write_refused(c, status);
}
