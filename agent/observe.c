/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Observing the runtime: listing sandboxes and containers, and asking for the status of what is new or has changed
 * state. A container that has ended never changes again, so it is asked once.
 */
#include "agent/observe.h"

#include "agent/logs.h"
#include "agent/text.h"

#include "base/file.h"
#include "base/mem.h"

enum { OBSERVE_MAX_CALLS = 64, MAX_MESSAGE_BYTES = 4096, FALLBACK_LINES = 80, FALLBACK_BYTES = 2048 };

struct observation {
	struct agent *agent;
	char *uid; /* NULL: all */
	const struct observed *known;
	struct observed *result;
	struct map *all;
	struct strlist need; /* container ids */
	unsigned outstanding;
	unsigned phase;
	bool cancelled;
	char *error;
	observe_fn done;
	observe_all_fn all_done;
	void *user;
};

static void sandbox_done(struct observed_sandbox *s)
{
	free(s->id);
	strlist_done(&s->ips);
}

static void container_done(struct observed_container *c)
{
	char **const strings[] = { &c->id,	&c->sandbox_id, &c->name,     &c->image,	&c->image_id,	   &c->reason,
				   &c->message, &c->log_path,	&c->message_path, &c->message_policy, &c->hash };

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		free(*strings[i]);
}

struct observed *observed_free(struct observed *o)
{
	if (!o)
		return NULL;
	for (size_t i = 0; i < o->sandbox_count; i++)
		sandbox_done(&o->sandboxes[i]);
	for (size_t i = 0; i < o->container_count; i++)
		container_done(&o->containers[i]);
	free(o->sandboxes);
	free(o->containers);
	free(o->uid);
	free(o->ns);
	free(o->name);
	free(o);
	return NULL;
}

static void free_observed(void *o)
{
	observed_free(o);
}

const struct observed_container *observed_find(const struct observed *o, const char *name, unsigned n)
{
	for (size_t i = 0; o && i < o->container_count; i++)
		if (str_eq(o->containers[i].name, name) && n-- == 0)
			return &o->containers[i];
	return NULL;
}

static void observation_free(struct observation *o)
{
	observed_free(o->result);
	map_free(o->all);
	strlist_done(&o->need);
	free(o->uid);
	free(o->error);
	free(o);
}

void observe_cancel(struct observation *o)
{
	if (!o)
		return;
	o->cancelled = true; /* the answers still to come free it */
	o->known = NULL;
}

static int newer_container(const void *a, const void *b)
{
	const struct observed_container *x = a, *y = b;

	if (x->created_ns != y->created_ns)
		return x->created_ns < y->created_ns ? 1 : -1;
	return x->attempt < y->attempt ? 1 : x->attempt > y->attempt ? -1 : 0;
}

static int newer_sandbox(const void *a, const void *b)
{
	const struct observed_sandbox *x = a, *y = b;

	if (x->created_ns != y->created_ns)
		return x->created_ns < y->created_ns ? 1 : -1;
	return x->attempt < y->attempt ? 1 : x->attempt > y->attempt ? -1 : 0;
}

static uint64_t fingerprint(const struct observed *o)
{
	uint64_t sum = 0;

	/* A sum of hashes: the order of the runtime's list does not matter. */
	for (size_t i = 0; i < o->sandbox_count; i++)
		sum += hash_bytes(o->sandboxes[i].id, strlen(o->sandboxes[i].id), 17 + o->sandboxes[i].ready);
	for (size_t i = 0; i < o->container_count; i++)
		sum += hash_bytes(o->containers[i].id, strlen(o->containers[i].id), 31 + o->containers[i].state);
	return sum;
}

static enum plan_run run_of(Cri__ContainerState s)
{
	switch (s) {
	case CRI__CONTAINER_STATE__CREATED:
		return PLAN_CREATED;
	case CRI__CONTAINER_STATE__RUNNING:
		return PLAN_RUNNING;
	case CRI__CONTAINER_STATE__EXITED:
		return PLAN_EXITED;
	default:
		return PLAN_UNKNOWN;
	}
}

static void copy_string(char **to, const char *from)
{
	free(*to);
	*to = mem_strdup(from);
}

/* What a container or the runtime says: it goes into JSON. */
static void copy_text(char **to, const char *from)
{
	free(*to);
	*to = text_utf8(from);
}

/* The pod that listed labels belong to: the one asked for, or one of all. NULL: not a pod's. */
static struct observed *pod_of(struct observation *o, Cri__Pair **labels, size_t count)
{
	const char *uid = cri_pair(labels, count, LABEL_POD_UID);
	struct observed *pod;

	if (str_empty(uid))
		return NULL;
	if (o->uid) {
		pod = str_eq(uid, o->uid) ? o->result : NULL;
	} else {
		pod = map_get(o->all, uid);
		if (!pod) {
			pod = mem_new(struct observed);
			map_set(o->all, uid, pod);
		}
	}
	if (pod && !pod->uid) {
		pod->uid = mem_strdup(uid);
		copy_string(&pod->ns, cri_pair(labels, count, LABEL_POD_NAMESPACE));
		copy_string(&pod->name, cri_pair(labels, count, LABEL_POD_NAME));
		pod->grace_s = 30;
	}
	return pod;
}

static void add_sandboxes(struct observation *o, const Cri__ListPodSandboxResponse *list)
{
	for (size_t i = 0; i < list->n_items; i++) {
		const Cri__PodSandbox *s = list->items[i];
		struct observed *pod = pod_of(o, s->labels, s->n_labels);
		struct observed_sandbox *to;
		const char *grace;
		int64_t n;

		if (!pod)
			continue;
		pod->sandboxes = mem_realloc(pod->sandboxes, (pod->sandbox_count + 1) * sizeof(*pod->sandboxes));
		to = &pod->sandboxes[pod->sandbox_count++];
		*to = (struct observed_sandbox){
			.id = mem_strdup(s->id),
			.attempt = s->metadata ? s->metadata->attempt : 0,
			.ready = s->state == CRI__POD_SANDBOX_STATE__SANDBOX_READY,
			.created_ns = s->created_at,
		};
		grace = cri_pair(s->annotations, s->n_annotations, NOTE_GRACE);
		if (grace && str_to_i64(grace, 0, INT32_MAX, &n) == 0)
			pod->grace_s = n;
	}
}

static void add_containers(struct observation *o, const Cri__ListContainersResponse *list)
{
	for (size_t i = 0; i < list->n_containers; i++) {
		const Cri__Container *c = list->containers[i];
		struct observed *pod = pod_of(o, c->labels, c->n_labels);
		const char *name = cri_pair(c->labels, c->n_labels, LABEL_CONTAINER_NAME);
		const char *count = cri_pair(c->annotations, c->n_annotations, NOTE_RESTART_COUNT);
		struct observed_container *to;
		int64_t n = c->metadata ? c->metadata->attempt : 0;

		if (!pod || !name)
			continue;
		if (count)
			(void)str_to_i64(count, 0, UINT32_MAX, &n);
		pod->containers = mem_realloc(pod->containers, (pod->container_count + 1) * sizeof(*pod->containers));
		to = &pod->containers[pod->container_count++];
		*to = (struct observed_container){
			.id = mem_strdup(c->id),
			.sandbox_id = mem_strdup(c->pod_sandbox_id),
			.name = mem_strdup(name),
			.image = mem_strdup(c->image ? c->image->image : ""),
			.image_id = mem_strdup(c->image_ref),
			.hash = mem_strdup(cri_pair(c->annotations, c->n_annotations, NOTE_HASH)),
			.message_path = mem_strdup(cri_pair(c->annotations, c->n_annotations, NOTE_MESSAGE_PATH)),
			.message_policy = mem_strdup(cri_pair(c->annotations, c->n_annotations, NOTE_MESSAGE_POLICY)),
			.attempt = (uint32_t)n,
			.state = run_of(c->state),
			.created_ns = c->created_at,
		};
	}
}

/* Takes over what is known about a container in the same state. True when nothing has to be asked. */
static bool reuse(const struct observed *known, struct observed_container *c)
{
	for (size_t i = 0; known && i < known->container_count; i++) {
		const struct observed_container *k = &known->containers[i];

		if (!str_eq(k->id, c->id) || k->state != c->state || !k->log_path)
			continue;
		c->exit_code = k->exit_code;
		c->started_ns = k->started_ns;
		c->finished_ns = k->finished_ns;
		copy_string(&c->reason, k->reason);
		copy_string(&c->message, k->message);
		copy_string(&c->log_path, k->log_path);
		copy_string(&c->image, k->image);
		copy_string(&c->image_id, k->image_id);
		return true;
	}
	return false;
}

static void next_phase(struct observation *o);

static void one_done(struct observation *o, const struct cri_result *r, bool missing_is_fine)
{
	/* What vanished between the list and the question is gone at the next look. */
	if (!cri_ok(r) && !(missing_is_fine && r->status == GRPC_NOT_FOUND) && !o->error)
		o->error = mem_strdup(str_empty(r->message) ? "the container runtime did not answer" : r->message);
	if (--o->outstanding == 0)
		next_phase(o);
}

static void on_sandboxes(const struct cri_result *r, void *user)
{
	if (r->answer)
		add_sandboxes(user, (const Cri__ListPodSandboxResponse *)r->answer);
	one_done(user, r, false);
}

static void on_containers(const struct cri_result *r, void *user)
{
	if (r->answer)
		add_containers(user, (const Cri__ListContainersResponse *)r->answer);
	one_done(user, r, false);
}

static void add_family(struct strlist *ips, const char *ip, bool v6)
{
	if (*ip && (strchr(ip, ':') != NULL) == v6)
		strlist_add(ips, ip);
}

/* Those of the node's primary family first: the first of all is what the cluster calls the pod's address. */
static void add_ips(struct strlist *ips, const Cri__PodSandboxNetworkStatus *status, bool v6)
{
	for (int pass = 0; pass < 2; pass++, v6 = !v6) {
		add_family(ips, status->ip, v6);
		for (size_t i = 0; i < status->n_additional_ips; i++)
			add_family(ips, status->additional_ips[i]->ip, v6);
	}
}

static void on_sandbox_status(const struct cri_result *r, void *user)
{
	struct observation *o = user;
	const Cri__PodSandboxStatusResponse *a = (const void *)r->answer;

	if (a && a->status && a->status->network && o->result->sandbox_count > 0)
		add_ips(&o->result->sandboxes[0].ips, a->status->network, strchr(o->agent->node_ips.items[0], ':'));
	one_done(o, r, true);
}

/* What the container left in its message file, or nothing; at most the last 4 KiB. */
static void read_message(struct observed_container *c)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	size_t skip;

	if (c->state != PLAN_EXITED)
		return;
	if (c->message_path && file_read(c->message_path, 1 << 20, &text) == 0 && text.len > 0) {
		skip = text.len > MAX_MESSAGE_BYTES ? text.len - MAX_MESSAGE_BYTES : 0;
		copy_text(&c->message, text.data + skip);
	} else if (c->exit_code != 0 && str_eq(c->message_policy, "FallbackToLogsOnError") && c->log_path) {
		struct logs_options o = { .tail_lines = FALLBACK_LINES, .limit_bytes = -1, .since_us = INT64_MIN };
		struct logs_reader r = { .fd = -1 };

		if (logs_open(&r, c->log_path, &o) < 0 || logs_read(&r, 1 << 20, &text) < 0 || text.len == 0) {
			logs_reader_done(&r);
			return;
		}
		logs_reader_done(&r);
		skip = text.len > FALLBACK_BYTES ? text.len - FALLBACK_BYTES : 0;
		copy_text(&c->message, text.data + skip);
	}
}

static void on_container_status(const struct cri_result *r, void *user)
{
	struct observation *o = user;
	const Cri__ContainerStatusResponse *a = (const void *)r->answer;

	for (size_t i = 0; a && a->status && i < o->result->container_count; i++) {
		struct observed_container *c = &o->result->containers[i];

		if (!str_eq(c->id, a->status->id))
			continue;
		c->state = run_of(a->status->state);
		c->exit_code = a->status->exit_code;
		c->started_ns = a->status->started_at;
		c->finished_ns = a->status->finished_at;
		copy_text(&c->reason, a->status->reason);
		copy_text(&c->message, a->status->message);
		copy_string(&c->log_path, a->status->log_path);
		if (a->status->image && *a->status->image->image)
			copy_string(&c->image, a->status->image->image);
		if (*a->status->image_ref)
			copy_string(&c->image_id, a->status->image_ref);
		read_message(c);
	}
	one_done(o, r, true);
}

/* Asks for the statuses still needed, some at a time. False when none is. */
static bool ask_statuses(struct observation *o)
{
	while (o->need.count > 0 && o->outstanding < OBSERVE_MAX_CALLS) {
		Cri__ContainerStatusRequest request = CRI__CONTAINER_STATUS_REQUEST__INIT;
		_cleanup_free_ char *id = o->need.items[--o->need.count];

		o->need.items[o->need.count] = NULL;
		request.container_id = id;
		o->outstanding++;
		cri_call(o->agent->cri, CRI_CONTAINER_STATUS, &request.base, 0, on_container_status, o);
	}
	return o->outstanding > 0;
}

static void finish(struct observation *o)
{
	if (o->uid) {
		observe_fn done = o->done;
		void *user = o->user;
		struct observed *result = o->error ? NULL : TAKE(o->result);
		_cleanup_free_ char *error = TAKE(o->error);

		if (result)
			result->fingerprint = fingerprint(result);
		observation_free(o);
		done(result, error, user);
	} else {
		observe_all_fn done = o->all_done;
		void *user = o->user, *value;
		struct map *all = o->error ? NULL : TAKE(o->all);
		_cleanup_free_ char *error = TAKE(o->error);
		size_t it = 0;

		while (all && map_next(all, &it, NULL, &value))
			((struct observed *)value)->fingerprint = fingerprint(value);
		observation_free(o);
		done(all, error, user);
	}
}

static void start_details(struct observation *o)
{
	struct observed *p = o->result;

	if (p->sandbox_count > 1)
		qsort(p->sandboxes, p->sandbox_count, sizeof(*p->sandboxes), newer_sandbox);
	if (p->container_count > 1)
		qsort(p->containers, p->container_count, sizeof(*p->containers), newer_container);
	for (size_t i = 0; i < p->container_count; i++)
		if (!reuse(o->known, &p->containers[i]))
			strlist_add(&o->need, p->containers[i].id);
	if (p->sandbox_count > 0 && p->sandboxes[0].ready) {
		const struct observed *k = o->known;

		if (k && k->sandbox_count > 0 && str_eq(k->sandboxes[0].id, p->sandboxes[0].id) &&
		    k->sandboxes[0].ips.count > 0) {
			for (size_t i = 0; i < k->sandboxes[0].ips.count; i++)
				strlist_add(&p->sandboxes[0].ips, k->sandboxes[0].ips.items[i]);
		} else {
			Cri__PodSandboxStatusRequest request = CRI__POD_SANDBOX_STATUS_REQUEST__INIT;

			request.pod_sandbox_id = p->sandboxes[0].id;
			o->outstanding++;
			cri_call(o->agent->cri, CRI_POD_SANDBOX_STATUS, &request.base, 0, on_sandbox_status, o);
		}
	}
}

static void next_phase(struct observation *o)
{
	if (o->cancelled) {
		observation_free(o);
		return;
	}
	if (o->error || !o->uid) {
		finish(o);
		return;
	}
	if (o->phase++ == 0)
		start_details(o);
	if (!ask_statuses(o))
		finish(o);
}

static void start_lists(struct observation *o)
{
	Cri__Pair pair = CRI__PAIR__INIT, *pairs[] = { &pair };
	Cri__ListPodSandboxRequest sandboxes = CRI__LIST_POD_SANDBOX_REQUEST__INIT;
	Cri__ListContainersRequest containers = CRI__LIST_CONTAINERS_REQUEST__INIT;
	Cri__PodSandboxFilter sandbox_filter = CRI__POD_SANDBOX_FILTER__INIT;
	Cri__ContainerFilter container_filter = CRI__CONTAINER_FILTER__INIT;

	if (o->uid) {
		pair.key = (char *)LABEL_POD_UID;
		pair.value = o->uid;
		sandbox_filter.label_selector = container_filter.label_selector = pairs;
		sandbox_filter.n_label_selector = container_filter.n_label_selector = 1;
		sandboxes.filter = &sandbox_filter;
		containers.filter = &container_filter;
	}
	o->outstanding = 2;
	cri_call(o->agent->cri, CRI_LIST_POD_SANDBOX, &sandboxes.base, 0, on_sandboxes, o);
	cri_call(o->agent->cri, CRI_LIST_CONTAINERS, &containers.base, 0, on_containers, o);
}

struct observation *observe_pod(struct agent *a, const char *uid, const struct observed *known, observe_fn done,
				void *user)
{
	struct observation *o = mem_new(struct observation);

	o->agent = a;
	o->uid = mem_strdup(uid);
	o->known = known;
	o->result = mem_new(struct observed);
	o->done = done;
	o->user = user;
	start_lists(o);
	return o;
}

void observe_all(struct agent *a, observe_all_fn done, void *user)
{
	struct observation *o = mem_new(struct observation);

	o->agent = a;
	o->all = map_new(free_observed);
	o->all_done = done;
	o->user = user;
	start_lists(o);
}
