// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LimitRange and ResourceQuota admission, and the counting of what a namespace uses. A quota is judged by its status.used, which
 * the admitted write raises in the same turn of the loop: two writes at once cannot both take the last place. What is deleted,
 * finished or failed is found by counting anew, a moment after it happened and only in namespaces that have a quota.
 */
#include <string.h>

#include "apiserver/admission/amounts.h"
#include "apiserver/admission/limits.h"
#include "apiserver/admission/quota.h"
#include "apiserver/registry/registry.h"
#include "base/log.h"
#include "base/map.h"
#include "kube/object.h"

/* Counting waits for writes under way, which it would not see, but not for ever. */
enum { RECOUNT_MS = 200, RECOUNT_TRIES = 25 };

struct quotas {
	struct registry *g;
	const struct schema_resource *quotas, *ranges, *claims;
	uv_timer_t *timer;
	struct map *dirty;   /* namespaces to count */
	unsigned pending;    /* admitted writes that are not durable yet */
	unsigned tries;
};

struct quotas *quotas_new(struct registry *g)
{
	struct quotas *q = mem_new(struct quotas);
	q->g = g;
	q->quotas = schema_resource_find("", "v1", "resourcequotas");
	q->ranges = schema_resource_find("", "v1", "limitranges");
	q->claims = schema_resource_find("", "v1", "persistentvolumeclaims");
	BUG_ON(!q->quotas || !q->ranges || !q->claims);
	q->dirty = map_new(NULL);
	q->timer = mem_new(uv_timer_t);
	uv_timer_init(g->loop, q->timer);
	q->timer->data = q;
	return q;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

void quotas_free(struct quotas *q)
{
	if (!q)
		return;
	uv_close((uv_handle_t *)q->timer, on_closed);
	map_free(q->dirty);
	free(q);
}

static struct store_iter in_namespace(const struct registry *g, const struct schema_resource *r, const char *ns)
{
	_cleanup_free_ char *prefix = str_printf("%s/", ns);
	return store_iterate(g->store, r->id, prefix);
}

/* ---- counting */

static void count_resource(struct registry *g, const json_t *quota, const struct schema_resource *r, const char *ns, json_t *used)
{
	struct store_iter it = in_namespace(g, r, ns);
	for (struct store_object *o; (o = store_next(&it));) {
		_cleanup_json_ json_t *v = entry_parse(o);
		if (!quota_selects(quota, r, v))
			continue;
		_cleanup_json_ json_t *usage = quota_usage(r, v);
		amounts_add(used, usage);
	}
}

/* What the quota's namespace uses at present, and the limits as they are. Own. */
static json_t *count(struct registry *g, const json_t *quota, const char *ns)
{
	_cleanup_json_ json_t *used = json_object();
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		if (r->namespaced && r->storage_id == r->id && entry_place_name(r->id) && quota_limits(quota, r))
			count_resource(g, quota, r, ns, used);
	}
	json_t *hard = json_at(quota, "spec.hard");
	return json_pack("{s:o,s:o}", "hard", hard ? json_deep_copy(hard) : json_object(), "used", quota_part(quota, used));
}

static void put_status(struct registry *g, const struct quotas *q, struct store_object *latest, json_t *quota, json_t *status)
{
	json_object_set_new(quota, "status", status);
	json_t *refused = registry_put(g, q->quotas, latest, quota, false, NULL, NULL);
	if (refused)
		log_warn("the status of quota %s was not written: %s", latest->key, json_str_or(refused, "message", ""));
	json_decref(refused);
}

static void recount(struct quotas *q, const char *ns)
{
	struct registry *g = q->g;
	struct store_iter it = in_namespace(g, q->quotas, ns);
	/* The store's index moves with writes. */
	_cleanup_strlist_ struct strlist keys = { 0 };
	for (struct store_object *o; (o = store_next(&it));)
		strlist_add(&keys, o->key);
	for (size_t i = 0; i < keys.count; i++) {
		struct store_object *latest = store_latest(g->store, q->quotas->id, keys.items[i]);
		if (!latest)
			continue;
		_cleanup_json_ json_t *quota = entry_parse(latest);
		json_t *status = count(g, quota, ns);
		if (json_equal(status, json_object_get(quota, "status")))
			json_decref(status);
		else
			put_status(g, q, latest, quota, status);
	}
}

static void on_timer(uv_timer_t *t)
{
	struct quotas *q = t->data;
	const char *ns;
	void *unused;
	if (q->pending && q->tries++ < RECOUNT_TRIES) {
		uv_timer_start(t, on_timer, RECOUNT_MS, 0);
		return;
	}
	q->tries = 0;
	for (size_t it = 0; map_next(q->dirty, &it, &ns, &unused);)
		recount(q, ns);
	map_clear(q->dirty);
}

void quotas_changed(struct quotas *q, const struct store_object *object)
{
	const struct schema_resource *r = schema_resource_at(object->resource);
	if (!store_count(q->g->store, q->quotas->id) || !r->namespaced)
		return;
	_cleanup_free_ char *ns = mem_strndup(object->key, entry_namespace_len(object));
	struct store_iter quotas = in_namespace(q->g, q->quotas, ns);
	if (!store_iter_left(&quotas) || (r == q->quotas && map_has(q->dirty, ns)))
		return;
	map_set(q->dirty, ns, q);
	if (!uv_is_active((uv_handle_t *)q->timer))
		uv_timer_start(q->timer, on_timer, RECOUNT_MS, 0);
}

/* ---- admission */

void limits_default(struct quotas *q, const struct schema_resource *storage, const char *ns, json_t *object)
{
	if (storage != q->g->pods)
		return;
	struct store_iter it = in_namespace(q->g, q->ranges, ns);
	for (struct store_object *o; (o = store_next(&it));) {
		_cleanup_json_ json_t *range = entry_parse(o);
		limits_default_pod(range, object);
	}
}

json_t *limits_check(struct quotas *q, const struct schema_resource *storage, const char *ns, const json_t *object)
{
	struct registry *g = q->g;
	_cleanup_strlist_ struct strlist errors = { 0 };
	if (storage != g->pods && storage != q->claims)
		return NULL;
	struct store_iter it = in_namespace(g, q->ranges, ns);
	for (struct store_object *o; (o = store_next(&it));) {
		_cleanup_json_ json_t *range = entry_parse(o);
		if (storage == q->claims)
			limits_check_claim(range, object, &errors);
		else
			limits_check_pod(range, object, &errors);
	}
	if (!errors.count)
		return NULL;
	_cleanup_strbuf_ struct strbuf text = { 0 };
	for (size_t i = 0; i < errors.count; i++)
		strbuf_addf(&text, "%s%s", i ? ", " : "", errors.items[i]);
	_cleanup_free_ char *whole = errors.count > 1 ? str_printf("[%s]", text.data) : mem_strdup(text.data);
	return status_forbidden(storage, object_name(object), whole);
}

/* What an update uses beyond what there was; own. */
static json_t *growth(const struct schema_resource *r, const json_t *old, const json_t *object)
{
	json_t *now = quota_usage(r, object), *v;
	const char *name;
	if (!old)
		return now;
	_cleanup_json_ json_t *before = quota_usage(r, old);
	void *next;
	json_object_foreach_safe(now, next, name, v) {
		struct quantity a, b = { 0 };
		amounts_get(now, name, &a);
		amounts_get(before, name, &b);
		quantity_sub(&a, &b);
		if (a.nano > 0)
			amounts_set(now, name, &a);
		else
			json_object_del(now, name);
	}
	return now;
}

struct taken {
	struct store_object *latest; /* borrow: of this turn */
	json_t *quota, *status;      /* own */
};

/* One quota's answer: nothing, a refusal, or what is to be written. */
static json_t *judge(struct quotas *q, struct store_object *o, const struct schema_resource *r, const char *ns, const json_t *object,
		     const json_t *more, struct taken *ret)
{
	struct store_object *latest = store_latest(q->g->store, q->quotas->id, o->key);
	_cleanup_json_ json_t *quota = latest ? entry_parse(latest) : NULL;
	_cleanup_err_ struct err err = { 0 };
	if (!quota || !quota_limits(quota, r) || !quota_selects(quota, r, object))
		return NULL;
	/* One that was never counted, or has other limits since, is counted now. */
	if (!json_equal(json_at(quota, "status.hard"), json_at(quota, "spec.hard")))
		json_object_set_new(quota, "status", count(q->g, quota, ns));
	json_t *used = quota_take(quota, r, object, more, &err);
	if (!used)
		return status_forbidden(r, object_name(object), err_msg(&err));
	*ret = (struct taken){ latest, TAKE(quota), NULL };
	ret->status = json_pack("{s:O,s:o}", "hard", json_at(ret->quota, "spec.hard"), "used", used);
	return NULL;
}

json_t *quota_admit(struct quotas *q, const struct schema_resource *r, const char *ns, const json_t *old, const json_t *object,
		    bool dry_run)
{
	if (!r->namespaced)
		return NULL;
	struct store_iter it = in_namespace(q->g, q->quotas, ns);
	size_t n = store_iter_left(&it), count_taken = 0;
	if (!n)
		return NULL;
	_cleanup_json_ json_t *more = growth(r, old, object);
	_cleanup_free_ struct taken *taken = mem_new_n(struct taken, n);
	json_t *status = NULL;
	for (struct store_object *o; !status && json_object_size(more) && (o = store_next(&it));) {
		status = judge(q, o, r, ns, object, more, &taken[count_taken]);
		count_taken += taken[count_taken].quota != NULL;
	}
	/* All have room, or none is changed. */
	for (size_t i = 0; i < count_taken; i++) {
		if (!status && !dry_run && !json_equal(taken[i].status, json_object_get(taken[i].quota, "status")))
			put_status(q->g, q, taken[i].latest, taken[i].quota, TAKE(taken[i].status));
		json_decref(taken[i].status);
		json_decref(taken[i].quota);
	}
	return status;
}

/* ---- writes under way */

struct counted {
	struct quotas *q;
	write_done_fn done;
	void *user;
};

static void on_counted(struct write_result *r, void *user)
{
	struct counted *c = user;
	c->q->pending--;
	if (c->done)
		c->done(r, c->user);
	free(c);
}

void *quota_pending(struct quotas *q, write_done_fn *done, void *user)
{
	struct counted *c = mem_new(struct counted);
	*c = (struct counted){ q, *done, user };
	q->pending++;
	*done = on_counted;
	return c;
}

void quota_not_pending(void *counted)
{
	struct counted *c = counted;
	c->q->pending--;
	free(c);
}
