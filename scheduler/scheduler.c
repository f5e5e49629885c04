/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pods that have a node are in the snapshot; pods that wait are in the queue; a pod that is being bound is in both: in the
 * snapshot as if it were there already ("assumed"), in the queue as in flight, until the API shows it bound or refuses.
 */
#include "scheduler/scheduler.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "kube/informer.h"
#include "kube/object.h"
#include "scheduler/explain.h"
#include "scheduler/preempt.h"
#include "scheduler/queue.h"
#include "scheduler/shrink.h"

enum { TURN_NS = 5000000 }; /* of placing before the loop gets its turn */

struct scheduler {
	uv_loop_t *loop;
	struct kube_client *client;
	char *name;
	struct informer *pods, *nodes, *namespaces;
	struct snapshot *snapshot;
	struct queue *queue;
	struct map *where;       /* uid -> node's name (own) of every pod in the snapshot */
	struct map *nominated;   /* key -> struct pod_info (own; its node is the nominated one) */
	struct bind *binds;
	uv_idle_t work;
	uv_timer_t timer;
	int open_handles;
	bool leads;
};

/* A binding on its way. */
struct bind {
	struct bind *prev, *next;
	struct scheduler *s;
	struct kube_call *call;
	char *key, *uid, *node;
	int64_t since_ns;
};

/* ---- the snapshot ---- */

static void place(struct scheduler *s, struct pod_info *p)
{
	map_set(s->where, p->uid, mem_strdup(p->node));
	node_info_add(snapshot_add_node(s->snapshot, p->node), p);
}

/* True when it was there. */
static bool unplace(struct scheduler *s, const char *uid)
{
	_cleanup_free_ char *node = map_take(s->where, uid);
	struct node_info *n = snapshot_node(s->snapshot, node);

	if (!n)
		return false;
	pod_info_free(node_info_take(n, uid));
	if (!n->known)
		snapshot_remove_node(s->snapshot, node);
	return true;
}

static void work_soon(struct scheduler *s);

static void happened(struct scheduler *s, unsigned event)
{
	queue_event(s->queue, event, clock_mono_ms());
	work_soon(s);
}

/* ---- what the API tells ---- */

static bool is_over(const json_t *pod)
{
	const char *phase = json_str_or(pod, "status.phase", "");

	return str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

static bool is_assigned(const json_t *pod)
{
	return *json_str_or(pod, "spec.nodeName", "");
}

static bool is_ours(const struct scheduler *s, const json_t *pod)
{
	const char *name = json_str_or(pod, "spec.schedulerName", "default-scheduler");

	return str_eq(*name ? name : "default-scheduler", s->name);
}

static void pod_gone(struct scheduler *s, const json_t *pod)
{
	_cleanup_free_ char *key = object_key(pod);

	queue_remove(s->queue, key);
	map_del(s->nominated, key);
	if (unplace(s, object_uid(pod)))
		happened(s, WAKE_POD_DELETE);
}

static void pod_assigned(struct scheduler *s, const json_t *old, const json_t *pod)
{
	_cleanup_free_ char *key = object_key(pod);
	bool known = unplace(s, object_uid(pod));

	queue_remove(s->queue, key);
	map_del(s->nominated, key);
	place(s, pod_info_new(pod));
	/* A resize in place may free something; new labels may attract. */
	if (!known || (old && !json_same(object_labels(old), object_labels(pod))))
		happened(s, WAKE_POD_ADD);
	else if (old && is_assigned(old) && !json_same(json_at(old, "spec"), json_at(pod, "spec")))
		happened(s, WAKE_POD_DELETE);
}

/* Remembers that the pod was promised a place on a node, where its victims are going. */
static void promise(struct scheduler *s, const char *key, const json_t *pod, const char *node)
{
	struct pod_info *p = pod_info_new(pod);

	free(p->node);
	p->node = mem_strdup(node);
	map_set(s->nominated, key, p);
}

static void pod_waits(struct scheduler *s, const json_t *old, const json_t *pod)
{
	const char *nominated = json_str_or(pod, "status.nominatedNodeName", "");
	_cleanup_free_ char *key = object_key(pod);

	if (!is_ours(s, pod) || object_deleting(pod)) {
		queue_remove(s->queue, key);
		return;
	}
	/* Its own status is no reason to try again. */
	if (old && queue_has(s->queue, key) && json_same(json_at(old, "spec"), json_at(pod, "spec")) &&
	    json_same(object_labels(old), object_labels(pod)))
		return;
	/* After a restart promises are found here. */
	if (!old && *nominated)
		promise(s, key, pod, nominated);
	queue_add(s->queue, key, (int32_t)json_int(pod, "spec.priority", 0),
		  json_array_size(json_at(pod, "spec.schedulingGates")) > 0, clock_mono_ms());
	work_soon(s);
}

static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct scheduler *s = user;

	if (old && (!new || !str_eq(object_uid(old), object_uid(new)))) {
		pod_gone(s, old);
		old = NULL;
	}
	if (!new)
		return;
	if (is_over(new))
		pod_gone(s, new);
	else if (is_assigned(new))
		pod_assigned(s, old, new);
	else
		pod_waits(s, old, new);
}

static void on_node(const json_t *old, const json_t *new, void *user)
{
	struct scheduler *s = user;

	if (!new) {
		snapshot_remove_node(s->snapshot, object_name(old));
		return;
	}
	node_info_set(snapshot_add_node(s->snapshot, object_name(new)), new);
	if (!old || !json_same(object_labels(old), object_labels(new)) ||
	    !json_same(json_at(old, "spec"), json_at(new, "spec")) ||
	    !json_same(json_at(old, "status.allocatable"), json_at(new, "status.allocatable")))
		happened(s, WAKE_NODE);
}

static void on_namespace(const json_t *old, const json_t *new, void *user)
{
	struct scheduler *s = user;

	if (!new)
		map_del(s->snapshot->namespaces, object_name(old));
	else if (object_labels(new))
		map_set(s->snapshot->namespaces, object_name(new), json_incref(object_labels(new)));
	else
		map_del(s->snapshot->namespaces, object_name(new));
}

static void on_synced(void *user)
{
	work_soon(user);
}

/* ---- binding ---- */

static void bind_free(struct bind *b)
{
	if (b->prev)
		b->prev->next = b->next;
	else
		b->s->binds = b->next;
	if (b->next)
		b->next->prev = b->prev;
	free(b->key);
	free(b->uid);
	free(b->node);
	free(b);
}

static void count_attempt(const char *result)
{
	_cleanup_free_ char *labels = str_printf("profile=\"default-scheduler\",result=\"%s\"", result);

	metrics_counter_add("scheduler_schedule_attempts_total",
			    "Number of attempts to schedule pods, by the result.", labels, 1);
}

static json_t *pod_by_key(const struct scheduler *s, const char *key)
{
	const char *slash = strchr(key, '/');

	if (!slash)
		return NULL;
	_cleanup_free_ char *ns = mem_strndup(key, (size_t)(slash - key));

	return informer_get(s->pods, ns, slash + 1);
}

static void on_bound(const struct kube_result *r, void *user)
{
	static const double buckets[] = { 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024 };
	struct bind *b = user;
	struct scheduler *s = b->s;
	const json_t *pod = pod_by_key(s, b->key);
	bool same = pod && str_eq(object_uid(pod), b->uid);

	if (kube_ok(r)) {
		count_attempt("scheduled");
		metrics_histogram_observe("scheduler_binding_duration_seconds", "From decision to bound, in seconds.", NULL,
					  buckets, ARRAY_SIZE(buckets), (double)(clock_mono_ns() - b->since_ns) / 1e9);
		if (same)
			kube_event(s->client, s->name, NULL, pod, "Normal", "Scheduled", "Successfully assigned %s to %s",
				   b->key, b->node);
		log_debug("pod bound pod=%s node=%s", b->key, b->node);
	} else {
		count_attempt("error");
		log_warn("binding failed pod=%s node=%s status=%d reason=%s", b->key, b->node, r->status, r->message);
		/* Unless the API has shown it bound meanwhile, it is not there. */
		if (!same || !is_assigned(pod)) {
			unplace(s, b->uid);
			happened(s, WAKE_POD_DELETE);
		}
		if (same && !is_assigned(pod)) {
			kube_event(s->client, s->name, NULL, pod, "Warning", "FailedScheduling", "binding rejected: %s",
				   r->message);
			queue_retry(s->queue, b->key, clock_mono_ms());
		} else if (!same && !pod) {
			queue_remove(s->queue, b->key);
		}
		work_soon(s);
	}
	bind_free(b);
}

static void bind_pod(struct scheduler *s, const char *key, const json_t *pod, struct pod_info *info, const char *node,
		 int64_t since_ns)
{
	_cleanup_free_ char *path = kube_path("v1", "pods", info->ns, info->name, "binding");
	_cleanup_json_ json_t *body = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:{s:s, s:s}}", "apiVersion", "v1", "kind",
						"Binding", "metadata", "name", info->name, "namespace", info->ns, "uid",
						object_uid(pod), "target", "kind", "Node", "name", node);
	struct bind *b = mem_new(struct bind);

	*b = (struct bind){ .s = s, .key = mem_strdup(key), .uid = mem_strdup(info->uid), .node = mem_strdup(node),
			    .since_ns = since_ns, .next = s->binds };
	if (s->binds)
		s->binds->prev = b;
	s->binds = b;
	free(info->node);
	info->node = mem_strdup(node);
	map_del(s->nominated, key);
	place(s, info); /* moved */
	b->call = kube_do(s->client, "POST", path, NULL, body, on_bound, b);
}

/* ---- refusals ---- */

static void patch_status(struct scheduler *s, const json_t *pod, const char *message, const char *nominated)
{
	const json_t *was = object_condition(pod, "PodScheduled");
	_cleanup_free_ char *path = kube_path("v1", "pods", object_namespace(pod), object_name(pod), "status");
	_cleanup_json_ json_t *patch = json_object(), *conditions = json_array();
	char now[CLOCK_RFC3339_SIZE];

	if (!nominated && str_eq(json_str(was, "status"), "False") && str_eq(json_str(was, "reason"), "Unschedulable") &&
	    str_eq(json_str(was, "message"), message))
		return;
	clock_format_rfc3339(clock_wall_s(), now);
	if (was)
		json_array_append_new(conditions, json_deep_copy(was));
	object_set_condition(conditions, "PodScheduled", "False", "Unschedulable", message, now);
	json_set_str(patch, "metadata.uid", object_uid(pod));
	json_set(patch, "status.conditions", json_incref(conditions));
	if (nominated)
		json_set_str(patch, "status.nominatedNodeName", nominated);
	kube_do(s->client, "PATCH", path, KUBE_STRATEGIC_PATCH, patch, NULL, NULL);
}

/* Tells the victim's controllers why it went (KEP-3329). */
static void mark_disrupted(struct scheduler *s, const struct pod_info *victim)
{
	_cleanup_free_ char *path = kube_path("v1", "pods", victim->ns, victim->name, "status");
	_cleanup_free_ char *message = str_printf("%s: preempting to accommodate a higher priority pod", s->name);
	_cleanup_json_ json_t *patch = json_object(), *conditions = json_array();
	char now[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(clock_wall_s(), now);
	object_set_condition(conditions, "DisruptionTarget", "True", "PreemptionByScheduler", message, now);
	json_set_str(patch, "metadata.uid", victim->uid);
	json_set(patch, "status.conditions", json_incref(conditions));
	kube_do(s->client, "PATCH", path, KUBE_STRATEGIC_PATCH, patch, NULL, NULL);
}

static void evict(struct scheduler *s, const struct pod_info *victim, const json_t *by, const char *node)
{
	_cleanup_free_ char *path = kube_path("v1", "pods", victim->ns, victim->name, NULL);
	_cleanup_json_ json_t *options = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "DeleteOptions",
						   "preconditions", "uid", victim->uid);
	const json_t *pod = informer_get(s->pods, victim->ns, victim->name);

	if (pod)
		kube_event(s->client, s->name, NULL, pod, "Normal", "Preempted", "Preempted by pod %s on node %s",
			   object_uid(by), node);
	mark_disrupted(s, victim);
	log_info("pod preempted pod=%s/%s by=%s/%s node=%s", victim->ns, victim->name, object_namespace(by),
		 object_name(by), node);
	kube_do(s->client, "DELETE", path, NULL, options, NULL, NULL);
}

/* Makes room by force when that helps. Returns the nominated node's name (borrow), or NULL with *ret_why. */
static const char *preempt(struct scheduler *s, const char *key, const json_t *pod, const struct pod_info *info,
			   struct node_info *const *candidates, size_t count, const char **ret_why)
{
	const char *already = json_str_or(pod, "status.nominatedNodeName", "");
	struct node_info *waiting = snapshot_node(s->snapshot, already);
	struct preemption p;
	const char *name;

	*ret_why = NULL;
	if (info->never_preempts) {
		*ret_why = "not eligible due to preemptionPolicy=Never.";
		return NULL;
	}
	/* Its victims are going already. */
	for (size_t i = 0; waiting && i < waiting->pod_count; i++)
		if (waiting->pods[i]->deleting && waiting->pods[i]->priority < info->priority) {
			*ret_why = "not eligible due to a terminating pod on the nominated node.";
			return NULL;
		}
	preempt_find(s->snapshot, pod, info, candidates, count, &p);
	if (!p.node)
		return NULL;
	name = p.node->name;
	for (size_t i = 0; i < p.count; i++)
		if (!p.victims[i]->deleting)
			evict(s, p.victims[i], pod, name);
	promise(s, key, pod, name);
	preemption_done(&p);
	return name;
}

/* ---- placing ---- */

/* Pods that were promised a place on n and are as important: they count as there. */
static size_t add_nominated(struct scheduler *s, struct node_info *n, const char *key, const struct pod_info *info,
			    struct strlist *added)
{
	const char *other;
	size_t it = 0;
	void *v;

	while (map_next(s->nominated, &it, &other, &v)) {
		const struct pod_info *p = v;
		const json_t *pod;

		if (str_eq(other, key) || !str_eq(p->node, n->name) || p->priority < info->priority)
			continue;
		pod = pod_by_key(s, other);
		if (!pod || map_has(s->where, p->uid))
			continue;
		node_info_add(n, pod_info_new(pod));
		strlist_add(added, p->uid);
	}
	return added->count;
}

static enum fit filter_with_nominated(struct scheduler *s, const struct decision *d, struct node_info *n, const char *key,
				      struct strlist *reasons, unsigned *wake)
{
	_cleanup_strlist_ struct strlist added = { 0 };

	if (map_count(s->nominated))
		add_nominated(s, n, key, d->info, &added);
	enum fit fit = decision_filter(d, n, reasons, wake);

	for (size_t i = 0; i < added.count; i++)
		pod_info_free(node_info_take(n, added.items[i]));
	return fit;
}

/* The best of the feasible nodes; of equals any. */
static struct node_info *choose(const struct decision *d, struct node_info *const *nodes, size_t count)
{
	_cleanup_free_ int64_t *scores = mem_new_n(int64_t, count);
	size_t best = 0;
	uint32_t ties = 1, noise;

	if (count == 1)
		return nodes[0];
	decision_score(d, nodes, count, scores);
	for (size_t i = 1; i < count; i++) {
		if (scores[i] > scores[best]) {
			best = i;
			ties = 1;
		} else if (scores[i] == scores[best]) {
			rand_bytes(&noise, sizeof(noise));
			if (noise % ++ties == 0)
				best = i;
		}
	}
	return nodes[best];
}

static void refuse(struct scheduler *s, const char *key, const json_t *pod, const struct pod_info *info,
		   struct explanation *x, struct node_info *const *helpable, size_t count, unsigned wake)
{
	_cleanup_strbuf_ struct strbuf message = { 0 };
	const char *why, *nominated = preempt(s, key, pod, info, helpable, count, &why);

	explanation_write(x, count, why, nominated != NULL, &message);
	count_attempt("unschedulable");
	kube_event(s->client, s->name, NULL, pod, "Warning", "FailedScheduling", "%s", message.data);
	patch_status(s, pod, message.data, nominated);
	queue_unschedulable(s->queue, key, wake | (nominated ? WAKE_POD_DELETE : 0), clock_mono_ms());
}

static void place_one(struct scheduler *s, const char *key)
{
	int64_t since_ns = clock_mono_ns();
	_cleanup_json_ json_t *pod = json_incref(pod_by_key(s, key));
	unsigned wake = WAKE_NODE;

	if (!pod || is_assigned(pod) || object_deleting(pod)) {
		queue_remove(s->queue, key);
		return;
	}
	struct pod_info *info = pod_info_new(pod);
	size_t total = s->snapshot->node_count, fit_count = 0, help_count = 0;
	_cleanup_free_ struct node_info **fit = mem_new_n(struct node_info *, total + 1);
	_cleanup_free_ struct node_info **help = mem_new_n(struct node_info *, total + 1);
	struct explanation x = { 0 };
	struct decision d;

	decision_prepare(&d, s->snapshot, pod, info);
	for (size_t i = 0; i < total; i++) {
		_cleanup_strlist_ struct strlist reasons = { 0 };
		struct node_info *n = s->snapshot->nodes[i];

		if (!n->known)
			continue;
		x.nodes++;
		switch (filter_with_nominated(s, &d, n, key, &reasons, &wake)) {
		case FIT_OK: fit[fit_count++] = n; break;
		case FIT_NO: help[help_count++] = n; break;
		case FIT_NEVER: break;
		}
		explanation_add(&x, &reasons);
	}
	struct node_info *best = fit_count ? choose(&d, fit, fit_count) : NULL;

	decision_done(&d);
	if (best) {
		bind_pod(s, key, pod, info, best->name, since_ns);
	} else {
		refuse(s, key, pod, info, &x, help, help_count, wake);
		pod_info_free(info);
	}
	explanation_done(&x);
}

static void on_timer(uv_timer_t *t)
{
	work_soon(t->data);
}

static void report_queue(const struct scheduler *s)
{
	static const char help[] = "Number of pending pods, by the queue.";

	metrics_gauge_set("scheduler_pending_pods", help, "queue=\"active\"", (double)queue_count(s->queue, QUEUE_ACTIVE));
	metrics_gauge_set("scheduler_pending_pods", help, "queue=\"backoff\"",
			  (double)queue_count(s->queue, QUEUE_BACKOFF));
	metrics_gauge_set("scheduler_pending_pods", help, "queue=\"unschedulable\"",
			  (double)queue_count(s->queue, QUEUE_UNSCHEDULABLE));
	metrics_gauge_set("scheduler_pending_pods", help, "queue=\"gated\"", (double)queue_count(s->queue, QUEUE_GATED));
}

static void on_work(uv_idle_t *idle)
{
	struct scheduler *s = idle->data;
	int64_t until_ns = clock_mono_ns() + TURN_NS, next_ms;
	const char *key;

	next_ms = queue_tick(s->queue, clock_mono_ms());
	while ((key = queue_pop(s->queue))) {
		_cleanup_free_ char *own = mem_strdup(key); /* the item may go away */

		place_one(s, own);
		if (clock_mono_ns() > until_ns)
			return; /* the idle handle runs us again */
	}
	uv_idle_stop(&s->work);
	report_queue(s);
	next_ms = queue_tick(s->queue, clock_mono_ms());
	if (next_ms >= 0)
		uv_timer_start(&s->timer, on_timer, (uint64_t)next_ms, 0);
}

static void work_soon(struct scheduler *s)
{
	if (s->leads && scheduler_synced(s))
		uv_idle_start(&s->work, on_work);
}

/* ---- the interface ---- */

static void free_pod_info(void *p)
{
	pod_info_free(p);
}

static struct informer *watch(struct scheduler *s, const char *plural, const char *fields,
			      json_t *(*shrink)(json_t *o, void *user),
			      void (*on_change)(const json_t *old, const json_t *new, void *user))
{
	struct informer_options o = {
		.size = sizeof(o), .api_version = "v1", .plural = plural, .field_selector = fields, .transform = shrink
	};
	struct informer *i = informer_new(s->client, &o);

	informer_add_handler(i, &(struct informer_handler){ .on_change = on_change, .on_synced = on_synced, .user = s });
	return i;
}

struct scheduler *scheduler_new(uv_loop_t *loop, struct kube_client *client, const char *name)
{
	struct scheduler *s = mem_new(struct scheduler);

	s->loop = loop;
	s->client = client;
	s->name = mem_strdup(name);
	s->snapshot = snapshot_new();
	s->queue = queue_new();
	s->where = map_new(free);
	s->nominated = map_new(free_pod_info);
	uv_idle_init(loop, &s->work);
	uv_timer_init(loop, &s->timer);
	s->work.data = s->timer.data = s;
	s->open_handles = 2;
	s->pods = watch(s, "pods", "status.phase!=Succeeded,status.phase!=Failed", shrink_pod, on_pod);
	s->nodes = watch(s, "nodes", NULL, shrink_node, on_node);
	s->namespaces = watch(s, "namespaces", NULL, shrink_namespace, on_namespace);
	informer_start(s->namespaces);
	informer_start(s->nodes);
	informer_start(s->pods);
	return s;
}

void scheduler_lead(struct scheduler *s)
{
	s->leads = true;
	work_soon(s);
}

bool scheduler_synced(const struct scheduler *s)
{
	return informer_synced(s->pods) && informer_synced(s->nodes) && informer_synced(s->namespaces);
}

static void on_closed(uv_handle_t *h)
{
	struct scheduler *s = h->data;

	if (--s->open_handles)
		return;
	snapshot_free(s->snapshot);
	queue_free(s->queue);
	map_free(s->where);
	map_free(s->nominated);
	free(s->name);
	free(s);
}

void scheduler_free(struct scheduler *s)
{
	if (!s)
		return;
	informer_free(s->pods);
	informer_free(s->nodes);
	informer_free(s->namespaces);
	while (s->binds) {
		kube_call_cancel(s->binds->call);
		bind_free(s->binds);
	}
	uv_close((uv_handle_t *)&s->work, on_closed);
	uv_close((uv_handle_t *)&s->timer, on_closed);
}
