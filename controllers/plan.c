// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Plans and their application. What always holds: a stage starts only after every write of the stages before has
 * succeeded; each write is told to `wrote` exactly once, made or skipped; `done` is the last call and never comes from
 * inside plan_apply().
 */
#include "controllers/plan.h"

#include "base/mem.h"
#include "kube/object.h"

static void write_free(struct write *w)
{
	free(w->path);
	free(w->uid);
	json_decref(w->body);
	json_decref(w->event.about);
	free(w->event.ok_text);
	free(w->event.failed_text);
	free(w);
}

void plan_done(struct plan *p)
{
	for (size_t i = 0; i < p->count; i++)
		write_free(p->items[i]);
	free(p->items);
	for (size_t i = 0; i < p->note_count; i++) {
		json_decref(p->notes[i].about);
		free(p->notes[i].text);
	}
	free(p->notes);
	*p = (struct plan){ 0 };
}

struct write *plan_add(struct plan *p, const char *method, char *path, json_t *body)
{
	struct write *w = mem_new(struct write);

	BUG_ON(!path);
	w->method = method;
	w->path = path;
	w->body = body;
	w->stage = p->stage;
	MEM_GROW(p->items, p->cap, p->count + 1);
	return p->items[p->count++] = w;
}

struct write *plan_create(struct plan *p, char *collection_path, json_t *object)
{
	return plan_add(p, "POST", collection_path, object);
}

struct write *plan_merge_patch(struct plan *p, char *path, json_t *patch)
{
	struct write *w = plan_add(p, "PATCH", path, patch);

	w->content_type = KUBE_MERGE_PATCH;
	return w;
}

struct write *plan_delete(struct plan *p, char *path, const char *uid, int grace_s, const char *propagation)
{
	json_t *options = json_pack("{s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1");
	struct write *w;

	if (uid && *uid)
		json_object_set_new(options, "preconditions", json_pack("{s:s}", "uid", uid));
	if (grace_s >= 0)
		json_object_set_new(options, "gracePeriodSeconds", json_integer(grace_s));
	if (propagation)
		json_object_set_new(options, "propagationPolicy", json_string(propagation));
	w = plan_add(p, "DELETE", path, options);
	w->uid = mem_strdup(uid);
	return w;
}

struct write *plan_guard(struct plan *p, char *path, const char *uid)
{
	struct write *w = plan_add(p, "GET", path, NULL);

	w->uid = mem_strdup(uid);
	return w;
}

void plan_barrier(struct plan *p)
{
	if (p->count && p->items[p->count - 1]->stage == p->stage)
		p->stage++;
}

void plan_requeue(struct plan *p, int64_t delay_ms)
{
	delay_ms = MAX(delay_ms, (int64_t)1);
	if (!p->requeue_after_ms || delay_ms < p->requeue_after_ms)
		p->requeue_after_ms = delay_ms;
}

void plan_event(struct plan *p, const json_t *about, const char *type, const char *reason, const char *fmt, ...)
{
	struct strbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	MEM_GROW(p->notes, p->note_cap, p->note_count + 1);
	p->notes[p->note_count++] =
		(struct plan_note){ json_incref((json_t *)about), type, reason, strbuf_take(&text) };
}

void write_says(struct write *w, const json_t *about, const char *ok_reason, char *ok_text, const char *failed_reason,
		char *failed_text)
{
	w->event.about = json_incref((json_t *)about);
	w->event.ok_reason = ok_reason;
	w->event.ok_text = ok_text;
	w->event.failed_reason = failed_reason;
	w->event.failed_text = failed_text;
}

/* One write under way; lives in the run's array. */
struct flight {
	struct plan_run *run;
	struct write *w;
	struct kube_call *call;
	bool settled;
};
struct plan_run {
	struct kube_client *client;
	struct plan plan;
	struct plan_callbacks cb;
	struct flight *flights;
	unsigned stage;
	size_t outstanding;
	size_t slow_batch;     /* size of the next batch of slow-start writes in this stage */
	bool failed, slow_failed;
	char *why;
	uv_timer_t *kick;      /* so that nothing is called from inside plan_apply() */
};

static const char COMPONENT[] = "keelson-controllers";

static void say(struct plan_run *run, const struct write *w, const struct kube_result *r, bool ok)
{
	const struct write_event *e = &w->event;

	if (!e->about)
		return;
	if (ok && e->ok_reason) {
		const char *name = r->object ? object_name(r->object) : "";

		if (strcmp(w->method, "DELETE") == 0)
			name = strrchr(w->path, '/') + 1; /* the answer may be a Status */
		kube_event(run->client, COMPONENT, "", e->about, "Normal", e->ok_reason, "%s%s", e->ok_text,
			   e->append_name ? name : "");
	} else if (!ok && e->failed_reason && !str_eq(r->reason, "AlreadyExists")) {
		/* What is there already was made by an earlier run that the cache does not show yet, or by somebody else: the
		 * controller looks again; it is nothing to tell a user. */
		kube_event(run->client, COMPONENT, "", e->about, "Warning", e->failed_reason, "%s%s", e->failed_text,
			   e->append_message ? r->message : "");
	}
}

static bool result_ok(const struct write *w, const struct kube_result *r)
{
	if (kube_ok(r)) {
		if (strcmp(w->method, "GET") == 0 && w->uid)
			return r->object && str_eq(object_uid(r->object), w->uid) && !object_deleting(r->object);
		return true;
	}
	if (r->status == 404 && (w->flags & WRITE_IGNORE_NOT_FOUND))
		return true;
	return r->status == 409 && (w->flags & WRITE_IGNORE_EXISTS) && str_eq(r->reason, "AlreadyExists");
}

static void settle(struct flight *f, const struct kube_result *r, bool ok)
{
	f->settled = true;
	if (f->run->cb.wrote)
		f->run->cb.wrote(f->w, r, ok, f->run->cb.user);
}

static void run_free(struct plan_run *run)
{
	if (run->kick)
		uv_close((uv_handle_t *)run->kick, (uv_close_cb)free);
	plan_done(&run->plan);
	free(run->flights);
	free(run->why);
	free(run);
}

static void advance(struct plan_run *run);

static void on_answer(const struct kube_result *r, void *user)
{
	struct flight *f = user;
	struct plan_run *run = f->run;
	bool ok = result_ok(f->w, r);

	f->call = NULL;
	run->outstanding--;
	say(run, f->w, r, ok);
	if (!ok) {
		if (f->w->flags & WRITE_SLOW_START)
			run->slow_failed = true;
		if (!(f->w->flags & WRITE_MAY_FAIL)) {
			run->failed = true;
			if (!run->why)
				run->why = str_printf("%s %s: %s", f->w->method, f->w->path,
						      kube_ok(r) ? "the object is another one or is being deleted" :
								   r->message);
		}
	}
	settle(f, r, ok);
	if (!run->outstanding)
		advance(run);
}

static void launch(struct flight *f)
{
	struct plan_run *run = f->run;

	run->outstanding++;
	f->call = kube_do(run->client, f->w->method, f->w->path, f->w->content_type, f->w->body, on_answer, f);
}

/* Sends what may go now of the current stage. */
static void launch_stage(struct plan_run *run)
{
	size_t slow = run->slow_failed ? 0 : run->slow_batch;

	for (size_t i = 0; i < run->plan.count; i++) {
		struct flight *f = &run->flights[i];

		if (f->settled || f->call || f->w->stage != run->stage)
			continue;
		if (!(f->w->flags & WRITE_SLOW_START))
			launch(f);
		else if (slow) {
			slow--;
			launch(f);
		}
	}
	run->slow_batch *= 2;
}

static void skip_rest(struct plan_run *run, bool this_stage_only)
{
	for (size_t i = 0; i < run->plan.count; i++) {
		struct flight *f = &run->flights[i];

		if (!f->settled && (!this_stage_only || f->w->stage == run->stage))
			settle(f, NULL, false);
	}
}

/* Nothing is under way: go on with this stage, the next one, or end. */
static void advance(struct plan_run *run)
{
	struct plan_callbacks cb = run->cb;

	while (run->stage <= run->plan.stage) {
		launch_stage(run);
		if (run->outstanding)
			return;
		skip_rest(run, true);
		if (run->failed)
			break;
		run->stage++;
		run->slow_batch = 1;
		run->slow_failed = false;
	}
	skip_rest(run, false);

	_cleanup_free_ char *why = TAKE(run->why);
	bool failed = run->failed;

	run_free(run);
	cb.done(failed, why ? why : "", cb.user);
}

static void on_kick(uv_timer_t *t)
{
	struct plan_run *run = t->data;

	uv_close((uv_handle_t *)TAKE(run->kick), (uv_close_cb)free);
	advance(run);
}

struct plan_run *plan_apply(uv_loop_t *loop, struct kube_client *client, struct plan *p,
			    const struct plan_callbacks *cb)
{
	struct plan_run *run = mem_new(struct plan_run);

	run->client = client;
	run->plan = *p;
	*p = (struct plan){ 0 };
	run->cb = *cb;
	run->slow_batch = 1;
	run->flights = mem_new_n(struct flight, run->plan.count + 1);
	for (size_t i = 0; i < run->plan.count; i++)
		run->flights[i] = (struct flight){ .run = run, .w = run->plan.items[i] };
	for (size_t i = 0; i < run->plan.note_count; i++) {
		struct plan_note *n = &run->plan.notes[i];

		kube_event(client, COMPONENT, "", n->about, n->type, n->reason, "%s", n->text);
	}
	run->kick = mem_new(uv_timer_t);
	uv_timer_init(loop, run->kick);
	run->kick->data = run;
	uv_timer_start(run->kick, on_kick, 0, 0);
	return run;
}

void plan_cancel(struct plan_run *run)
{
	for (size_t i = 0; i < run->plan.count; i++) {
		if (run->flights[i].call)
			kube_call_cancel(run->flights[i].call);
	}
	run_free(run);
}
