// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The store's index and its group commit. Writes queue up in `queued` while a transaction (`flying`) is being made durable on the
 * thread pool; when it is, its writes are applied to the index in order, told to the hooks and answered, and the queue
 * becomes the next transaction. `latest` maps each key with a write under way to the newest such write. When a
 * transaction fails, everything behind it fails too, because it may have been based on it.
 */
#include "apiserver/store/store_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/str.h"

/* Provisional revisions begin here: far above any that an etcd gives. */
#define PROVISIONAL (1ULL << 62)
/* A transaction takes at most this much; the rest of the queue waits for the next one. */
enum { STORE_MAX_BATCH = 1000 };
struct store_object *store_object_new(uint16_t resource, const char *key, uint64_t revision, struct bytes *json,
				      uint32_t head_len, uint32_t meta_off, uint32_t meta_len, json_t *labels,
				      char *fields)
{
	size_t len = strlen(key) + 1;
	struct store_object *o = mem_alloc(sizeof(*o) + len);
	*o = (struct store_object){ .refs = 1, .resource = resource, .revision = revision, .json = json,
		.head_len = head_len, .meta_off = meta_off, .meta_len = meta_len, .labels = labels, .fields = fields };
	memcpy(o->key, key, len);
	return o;
}

struct store_object *store_object_ref(struct store_object *o)
{
	o->refs++;
	return o;
}

struct store_object *store_object_unref(struct store_object *o)
{
	if (!o || --o->refs)
		return NULL;
	bytes_unref(o->json);
	json_decref(o->labels);
	free(o->fields);
	free(o);
	return NULL;
}

/* Opening */

void store_load(struct store *s, struct store_object *object)
{
	store_count_form(s, object, 1);
	store_object_unref(place_put(&s->places[object->resource], object));
}

struct load {
	struct store *s;
	struct err *err;
};

/* The object, or NULL: the value is unreadable, which is noted when encryption may be the reason. */
static struct store_object *load_object(struct store *s, uint16_t resource, const char *place, const char *key, const char *context,
					const struct value_head *head, const char *value, size_t len)
{
	_cleanup_err_ struct err err = { 0 };
	struct store_object *o = NULL;
	struct bytes *json = NULL;
	uint16_t form;
	int rc = crypt_open(s->hooks.crypt, place, context, value, len, &json, &form, &err);
	if (!rc && head->meta_off <= json->len && head->meta_len <= json->len - head->meta_off)
		o = s->hooks.restore(resource, key, head->revision, json, head->head_len, head->meta_off, head->meta_len,
				     s->hooks.user);
	else
		bytes_unref(json);
	if (o)
		o->form = form;
	else if (rc || form || crypt_encrypts(s->hooks.crypt, place))
		store_mark_unreadable(s, resource, key, form, rc ? rc : -EBADMSG, rc ? err_msg(&err) : "it is damaged");
	return o;
}

static int load_one(const char *key, size_t key_len, const void *value, size_t len, void *user)
{
	struct load *l = user;
	struct value_head head;
	_cleanup_free_ char *full = mem_strndup(key, key_len), *place = NULL;
	char *rest = strchr(full, ':'); /* "apps/deployments:default/web" */
	int resource;
	if (len < sizeof(head))
		return err_set(l->err, EPROTO, "the store's entry %s is broken (%zu bytes)", full, len);
	memcpy(&head, value, sizeof(head));
	if (!rest)
		return err_set(l->err, EPROTO, "the store's entry %s has no place", full);
	place = mem_strndup(full, (size_t)(rest++ - full));
	resource = l->s->hooks.place_find(place);
	if (resource < 0)
		return 0;
	struct store_object *o = load_object(l->s, (uint16_t)resource, place, rest, full, &head, (const char *)value + sizeof(head),
					     len - sizeof(head));
	if (o)
		store_load(l->s, o);
	else if (!map_has(l->s->unreadable, full))
		return err_set(l->err, EPROTO, "the store's entry %s is not readable", full);
	return 0;
}

static void on_check(uv_check_t *check);

static void on_idle(uv_idle_t *idle)
{
	/* Its presence keeps the loop from blocking before on_check() runs. */
	(void)idle;
}

static struct store *store_new(uv_loop_t *loop, const struct store_hooks *hooks)
{
	struct store *s = mem_new(struct store);
	s->loop = loop;
	s->hooks = *hooks;
	s->lock_fd = -1;
	s->queued_tail = &s->queued;
	s->latest = map_new(NULL);
	s->unreadable = map_new(store_unreadable_free);
	uv_check_init(loop, &s->check);
	uv_idle_init(loop, &s->idle);
	s->check.data = s->idle.data = s->work.data = s;
	return s;
}

int store_open(uv_loop_t *loop, const char *dir, const struct store_hooks *hooks, struct store **ret, struct err *err)
{
	struct store *s = store_new(loop, hooks);
	struct load l = { s, err };
	_cleanup_free_ char *lock = str_printf("%s/lock", dir);
	int rc = file_mkdir_p(dir, 0700);
	if (rc)
		err_set(err, -rc, "make the directory %s: %s", dir, strerror(-rc));
	if (!rc) {
		rc = file_lock(lock, false, &s->lock_fd);
		if (rc)
			err_set(err, -rc, rc == -EWOULDBLOCK ? "another API server uses the store in %s" : "lock the store in %s", dir);
	}
	s->dir = mem_strdup(dir);
	if (!rc)
		rc = engine_open(dir, &s->engine, err);
	if (!rc)
		rc = engine_load(s->engine, load_one, &l, &s->revision, err);
	if (!rc)
		rc = store_check_readable(s, err);
	s->was_empty = s->revision == 0;
	/* Revision 0 means "any" to clients: an empty list must not carry it. */
	if (s->was_empty)
		s->revision = 1;
	s->assigned = s->loaded = s->revision;
	if (rc) {
		store_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int store_open_etcd(uv_loop_t *loop, const struct etcd_options *o, const struct store_hooks *hooks, struct store **ret,
		    struct err *err)
{
	struct store *s = store_new(loop, hooks);
	int rc = shared_open(s, o, err);
	s->assigned = PROVISIONAL;
	s->loaded = s->revision;
	for (size_t i = 0; i < STORE_MAX_RESOURCES && !rc; i++)
		s->was_empty = !s->places[i].count && (i == 0 || s->was_empty);
	if (rc) {
		store_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

/* Reading */

uint64_t store_revision(const struct store *s)
{
	return s->revision;
}

uint64_t store_loaded_revision(const struct store *s)
{
	return s->loaded;
}

bool store_was_empty(const struct store *s)
{
	return s->was_empty;
}

struct store_object *store_get(const struct store *s, uint16_t resource, const char *key)
{
	return place_get(&s->places[resource], key);
}

/* How a write is named on disk. */
char *store_full_key(const struct store *s, uint16_t resource, const char *key)
{
	return str_printf("%s:%s", s->hooks.place_name(resource), key);
}

struct store_object *store_latest(const struct store *s, uint16_t resource, const char *key)
{
	if (map_count(s->latest)) {
		_cleanup_free_ char *full = store_full_key(s, resource, key);
		const struct pending *p = map_get(s->latest, full);
		if (p)
			return p->deleted ? NULL : p->object;
	}
	return store_get(s, resource, key);
}

size_t store_count(const struct store *s, uint16_t resource)
{
	return s->places[resource].count;
}

struct store_iter store_iterate(const struct store *s, uint16_t resource, const char *prefix)
{
	return place_iterate(&s->places[resource], prefix);
}

/* A shared store */

bool store_is_shared(const struct store *s)
{
	return s->shared;
}

bool store_answers(const struct store *s)
{
	return !s->shared || shared_answers(s->shared);
}

void store_sync(struct store *s, store_sync_fn done, void *user)
{
	shared_sync(s->shared, done, user);
}

int64_t store_size_bytes(const struct store *s)
{
	static const char *const files[] = { "objects.db", "objects.db-wal", "objects.db-shm" };
	int64_t bytes = 0;
	for (size_t i = 0; s->dir && i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", s->dir, files[i]);
		struct stat st;
		if (stat(path, &st) == 0)
			bytes += (int64_t)st.st_blocks * 512;
	}
	return s->dir ? bytes : -1;
}

bool store_outcomes(struct store *s, store_sync_fn done, void *user)
{
	return shared_outcomes(s->shared, done, user);
}

bool store_is_provisional(const struct store *s, uint64_t revision)
{
	return s->shared && revision > PROVISIONAL;
}

/* Writing */

uint64_t store_reserve(struct store *s)
{
	return ++s->assigned;
}

void store_pending_measure(const struct store *s, const struct pending *p)
{
	if (s->hooks.measured)
		s->hooks.measured(p->deleted ? "delete" : p->creates ? "create" : "update", p->object->resource,
				  clock_mono_ns() - p->began_ns);
}

void store_pending_free(struct pending *p)
{
	store_object_unref(p->object);
	store_object_unref(p->real);
	bytes_unref(p->value);
	strlist_done(&p->claimed);
	strlist_done(&p->released);
	free(p->key);
	free(p);
}

static int enqueue(struct store *s, struct store_object *object, bool deleted, uint64_t expected, store_done_fn done,
		   void *user)
{
	struct store_object *latest = store_latest(s, object->resource, object->key);
	_cleanup_free_ char *key = store_full_key(s, object->resource, object->key);
	struct pending *p;
	if (map_has(s->unreadable, key)) {
		store_object_unref(object);
		return -EBADMSG;
	}
	if (latest ? latest->revision != expected : expected != 0) {
		store_object_unref(object);
		return latest && !expected ? -EEXIST : -ESTALE;
	}
	p = mem_new(struct pending);
	*p = (struct pending){ .object = object, .deleted = deleted, .done = done, .user = user, .began_ns = clock_mono_ns(),
		.creates = !latest };
	p->key = TAKE(key);
	p->head = (struct value_head){ object->revision, object->head_len, object->meta_off, object->meta_len, 0 };
	if (strlen(p->key) > ENGINE_MAX_KEY) {
		store_pending_free(p);
		return -ENAMETOOLONG;
	}
	if (s->shared) {
		shared_write(s->shared, p, latest);
		return 0;
	}
	if (!deleted)
		p->value = crypt_seal(s->hooks.crypt, s->hooks.place_name(object->resource), p->key, object->json->data,
				      object->json->len, &object->form);
	*s->queued_tail = p;
	s->queued_tail = &p->next;
	map_set(s->latest, p->key, p);
	if (!s->flying && !uv_is_active((uv_handle_t *)&s->check)) {
		uv_check_start(&s->check, on_check);
		uv_idle_start(&s->idle, on_idle);
	}
	return 0;
}

int store_put(struct store *s, struct store_object *object, uint64_t expected, store_done_fn done, void *user)
{
	return enqueue(s, object, false, expected, done, user);
}

int store_delete(struct store *s, struct store_object *object, uint64_t expected, store_done_fn done, void *user)
{
	return enqueue(s, object, true, expected, done, user);
}

/* Moves up to STORE_MAX_BATCH queued writes into the transaction under way. */
static void take_batch(struct store *s)
{
	struct pending **end = &s->queued, *p;
	size_t n = 0, i = 0;
	while (*end && n < STORE_MAX_BATCH) {
		s->flying_revision = (*end)->object->revision;
		end = &(*end)->next;
		n++;
	}
	s->flying = s->queued;
	s->queued = *end;
	*end = NULL;
	if (!s->queued)
		s->queued_tail = &s->queued;
	s->ops = mem_new_n(struct engine_op, n);
	s->op_count = n;
	for (p = s->flying; p; p = p->next, i++) {
		s->ops[i].key = p->key;
		if (p->deleted)
			continue;
		s->ops[i].head = &p->head;
		s->ops[i].head_len = sizeof(p->head);
		s->ops[i].body = p->value ? p->value->data : p->object->json->data;
		s->ops[i].body_len = p->value ? p->value->len : p->object->json->len;
	}
}

static void commit_work(uv_work_t *work)
{
	struct store *s = work->data;
	s->flying_status = s->wipe && !s->wiped ? engine_wipe_deleted(s->engine, &s->flying_err) : 0;
	if (s->flying_status)
		return;
	s->wiped = s->wipe;
	s->flying_status = engine_commit(s->engine, s->ops, s->op_count, s->flying_revision, &s->flying_err);
}

void store_apply(struct store *s, struct store_object *object, bool deleted)
{
	struct place *place = &s->places[object->resource];
	struct store_object *old = deleted ? place_take(place, object->key) : place_put(place, store_object_ref(object));
	if (old)
		store_count_form(s, old, -1);
	if (!deleted)
		store_count_form(s, object, 1);
	if (!deleted || old)
		s->hooks.changed(deleted ? STORE_DELETED : old ? STORE_MODIFIED : STORE_ADDED, object, old, s->hooks.user);
	store_object_unref(old);
}

void store_forget_latest(struct store *s, const struct pending *p)
{
	if (map_get(s->latest, p->key) == p)
		map_del(s->latest, p->key);
}

static void finish_list(struct store *s, struct pending *list, int status, const char *why)
{
	/* The whole transaction is shown before anybody is answered. */
	for (struct pending *p = list; p; p = p->next) {
		store_forget_latest(s, p);
		if (!status)
			store_apply(s, p->object, p->deleted);
	}
	if (!status)
		s->hooks.committed(s->hooks.user);
	while (list) {
		struct pending *p = list;
		list = p->next;
		store_pending_measure(s, p);
		if (p->done)
			p->done(status, why, p->object, p->user);
		store_pending_free(p);
	}
}

static void batch_done(struct store *s)
{
	struct pending *list = TAKE(s->flying), *behind = NULL;
	struct err err = s->flying_err;
	int status = s->flying_status;
	s->flying_err = (struct err){ 0 };
	free(TAKE(s->ops));
	if (!status) {
		s->revision = s->flying_revision;
	} else {
		behind = TAKE(s->queued);
		s->queued_tail = &s->queued;
	}
	finish_list(s, list, status, err_msg(&err));
	finish_list(s, behind, status, err_msg(&err));
	if (status && status != -ENOSPC && status != -EBUSY) {
		s->broken = true;
		s->hooks.broken(err_msg(&err), s->hooks.user);
	}
	err_done(&err);
}

static void start_batch(struct store *s);

static void after_work(uv_work_t *work, int status)
{
	struct store *s = work->data;
	(void)status; /* never cancelled */
	batch_done(s);
	if (s->queued && !s->flying)
		start_batch(s);
}

static void start_batch(struct store *s)
{
	take_batch(s);
	uv_queue_work(s->loop, &s->work, commit_work, after_work);
}

static void on_check(uv_check_t *check)
{
	struct store *s = check->data;
	uv_check_stop(&s->check);
	uv_idle_stop(&s->idle);
	if (s->queued && !s->flying)
		start_batch(s);
}

void store_forget_all(struct store *s)
{
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++) {
		place_clear(&s->places[i]);
		if (s->places[i].by_form)
			memset(s->places[i].by_form, 0, s->places[i].by_form_cap * sizeof(*s->places[i].by_form));
	}
	map_clear(s->unreadable);
}

static void close_cb(uv_handle_t *h)
{
	struct store *s = h->data;
	if (--s->open_handles == 0)
		free(s);
}

void store_close(struct store *s)
{
	if (!s)
		return;
	/* The commit on the thread pool comes back through the loop. */
	while (s->flying)
		uv_run(s->loop, UV_RUN_ONCE);
	while (s->queued && !s->broken) {
		take_batch(s);
		commit_work(&s->work);
		batch_done(s);
	}
	shared_close(s->shared);
	if (s->engine)
		s->engine = engine_close(s->engine);
	store_forget_all(s);
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++)
		free(s->places[i].by_form);
	s->unreadable = map_free(s->unreadable);
	s->latest = map_free(s->latest);
	free(TAKE(s->dir));
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->open_handles = 2;
	uv_close((uv_handle_t *)&s->check, close_cb);
	uv_close((uv_handle_t *)&s->idle, close_cb);
}
