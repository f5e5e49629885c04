// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The runtime under all controllers: queues, syncs, expectations, retries, and the life of the set. What always holds:
 * no key is worked on before every cache is full; one key is never worked on twice at once (the work queue's promise);
 * expectations are set before the first write of a plan leaves.
 */
#include "controllers/controller.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "controllers/caches.h"
#include "controllers/registry.h"
#include "kube/object.h"

struct controller_run {
	struct controller *c;
	char *key;
	struct plan_run *plan_run;
	int64_t requeue_after_ms;
	struct controller_run *next;
};

void controller_enqueue(struct controller *c, const char *key)
{
	if (c->ctx->synced)
		workqueue_add(c->queue, key);
}

void controller_enqueue_object(struct controller *c, const json_t *object)
{
	_cleanup_free_ char *key = object_key(object);

	controller_enqueue(c, key);
}

void controller_enqueue_after(struct controller *c, const char *key, int64_t delay_ms)
{
	if (c->ctx->synced)
		workqueue_add_after(c->queue, key, (uint64_t)MAX(delay_ms, (int64_t)0));
}

void controller_watch(struct controller *c, enum informer_id id,
		      void (*fn)(const json_t *old, const json_t *new, void *user))
{
	const struct informer_handler h = { .on_change = fn, .user = c };

	informer_add_handler(c->ctx->informers[id], &h);
}

struct informer *controller_informer(const struct controller *c, enum informer_id id)
{
	return c->ctx->informers[id];
}

json_t *controller_get(const struct controller *c, enum informer_id id, const char *key)
{
	const char *slash = strchr(key, '/');
	_cleanup_free_ char *ns = slash ? mem_strndup(key, (size_t)(slash - key)) : NULL;

	return informer_get(c->ctx->informers[id], ns, slash ? slash + 1 : key);
}

bool controller_expectations_met(struct controller *c, const char *key)
{
	return expectations_met(c->expected, key, clock_mono_ms());
}

static void run_unlink(struct controller_run *run)
{
	for (struct controller_run **p = &run->c->runs; *p; p = &(*p)->next) {
		if (*p == run) {
			*p = run->next;
			return;
		}
	}
}

static void on_wrote(const struct write *w, const struct kube_result *r, bool ok, void *user)
{
	struct controller_run *run = user;
	struct controller *c = run->c;

	if (!ok && (w->flags & WRITE_EXPECT_CREATE))
		expectations_created(c->expected, run->key);
	if (!ok && (w->flags & WRITE_EXPECT_DELETE))
		expectations_deleted(c->expected, run->key, w->uid);
	if (c->ops->wrote)
		c->ops->wrote(c, run->key, w, r, ok);
}

static void count_sync(const struct controller *c, bool failed)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "controller=\"%s\",result=\"%s\"", c->ops->name, failed ? "error" : "success");
	metrics_counter_add("keelson_controller_syncs_total", "Keys worked on.", labels, 1);
}

static void on_done(bool failed, const char *why, void *user)
{
	struct controller_run *run = user;
	struct controller *c = run->c;

	run_unlink(run);
	if (failed)
		log_debug("%s: %s: %s; will try again", c->ops->name, run->key, why);
	count_sync(c, failed);
	if (c->ops->done)
		c->ops->done(c, run->key, failed, why);
	if (run->requeue_after_ms && !failed)
		controller_enqueue_after(c, run->key, run->requeue_after_ms);
	workqueue_done(c->queue, run->key, failed);
	free(run->key);
	free(run);
}

static void expect(struct controller *c, const char *key, const struct plan *plan)
{
	int64_t now_ms = clock_mono_ms();

	for (size_t i = 0; i < plan->count; i++) {
		const struct write *w = plan->items[i];

		if (w->flags & WRITE_EXPECT_CREATE)
			expectations_create(c->expected, key, now_ms);
		if (w->flags & WRITE_EXPECT_DELETE)
			expectations_delete(c->expected, key, w->uid, now_ms);
	}
}

static void work(struct workqueue *q, const char *key, void *user)
{
	struct controller *c = user;
	_cleanup_plan_ struct plan plan = { 0 };

	c->ops->sync(c, key, &plan);
	if (!plan.count && !plan.note_count) {
		if (plan.requeue_after_ms)
			controller_enqueue_after(c, key, plan.requeue_after_ms);
		count_sync(c, false);
		workqueue_done(q, key, false);
		return;
	}

	struct controller_run *run = mem_new(struct controller_run);
	const struct plan_callbacks cb = { on_wrote, on_done, run };

	*run = (struct controller_run){ .c = c, .key = mem_strdup(key), .requeue_after_ms = plan.requeue_after_ms,
					.next = c->runs };
	c->runs = run;
	expect(c, key, &plan);
	run->plan_run = plan_apply(c->ctx->loop, c->ctx->client, &plan, &cb);
}

static void on_primary(const json_t *old, const json_t *new, void *user)
{
	controller_enqueue_object(user, new ? new : old);
}

static void enqueue_all(struct controller *c)
{
	const struct informer *i = c->ctx->informers[c->ops->primary];
	size_t it = 0;

	for (json_t *o; (o = informer_next(i, &it));)
		controller_enqueue_object(c, o);
}

static void on_synced(void *user)
{
	struct controller_context *ctx = user;

	if (--ctx->unsynced)
		return;
	ctx->synced = true;
	log_info("all caches are full, %zu controllers at work", ctx->controller_count);
	for (size_t i = 0; i < ctx->controller_count; i++) {
		struct controller *c = &ctx->controllers[i];

		if (c->ops->primary != INFORMER_ID_MAX)
			enqueue_all(c);
		if (c->ops->ready)
			c->ops->ready(c);
	}
}

static void await(struct controller_context *ctx, struct informer *i)
{
	const struct informer_handler h = { .on_synced = on_synced, .user = ctx };

	informer_add_handler(i, &h);
	ctx->unsynced++;
}

void controller_own_informer(struct controller *c, struct informer *i)
{
	struct controller_context *ctx = c->ctx;

	MEM_GROW(ctx->own_informers, ctx->own_cap, ctx->own_count + 1);
	ctx->own_informers[ctx->own_count++] = i;
	await(ctx, i);
}


struct controller_context *controllers_start(uv_loop_t *loop, struct kube_client *client,
					     const struct controllers_config *config)
{
	struct controller_context *ctx = mem_new(struct controller_context);
	uint64_t needs = 0;

	ctx->loop = loop;
	ctx->client = client;
	ctx->config = config;
	ctx->controller_count = registry_count;
	ctx->controllers = mem_new_n(struct controller, ctx->controller_count);
	for (size_t i = 0; i < ctx->controller_count; i++)
		needs |= registry[i]->needs;
	for (enum informer_id id = 0; id < INFORMER_ID_MAX; id++) {
		if (!(needs & NEEDS(id)))
			continue;
		ctx->informers[id] = caches_informer_new(client, id);
		await(ctx, ctx->informers[id]);
	}
	for (size_t i = 0; i < ctx->controller_count; i++) {
		struct controller *c = &ctx->controllers[i];

		c->ops = registry[i];
		c->ctx = ctx;
		c->queue = workqueue_new(loop, c->ops->parallel, work, c);
		c->expected = expectations_new();
		if (c->ops->primary != INFORMER_ID_MAX)
			controller_watch(c, c->ops->primary, on_primary);
		if (c->ops->start)
			c->ops->start(c);
	}
	for (enum informer_id id = 0; id < INFORMER_ID_MAX; id++) {
		if (ctx->informers[id])
			informer_start(ctx->informers[id]);
	}
	for (size_t i = 0; i < ctx->own_count; i++)
		informer_start(ctx->own_informers[i]);
	return ctx;
}

static void controller_stop(struct controller *c)
{
	while (c->runs) {
		struct controller_run *run = c->runs;

		c->runs = run->next;
		plan_cancel(run->plan_run);
		free(run->key);
		free(run);
	}
	if (c->ops->stop)
		c->ops->stop(c);
	workqueue_free(c->queue);
	expectations_free(c->expected);
}

void controllers_stop(struct controller_context *ctx)
{
	if (!ctx)
		return;
	for (enum informer_id id = 0; id < INFORMER_ID_MAX; id++) {
		if (ctx->informers[id])
			informer_free(ctx->informers[id]);
	}
	for (size_t i = 0; i < ctx->own_count; i++)
		informer_free(ctx->own_informers[i]);
	free(ctx->own_informers);
	for (size_t i = 0; i < ctx->controller_count; i++)
		controller_stop(&ctx->controllers[i]);
	free(ctx->controllers);
	free(ctx);
}
