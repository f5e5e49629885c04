/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a pod comes: its directories, cgroup and volumes, its sandbox, then container by container: image, environment,
 * create, start, postStart hook. Each chain holds the pod by an operation count and ends in pod_op_done() exactly once.
 */
#include <errno.h>

#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/handler.h"
#include "agent/image.h"
#include "agent/pod.h"
#include "agent/resources.h"
#include "agent/sources.h"
#include "agent/volume/volumes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "kube/object.h"

enum {
	BACKOFF_FIRST_MS = 10 * 1000,
	BACKOFF_MAX_MS = 300 * 1000,
	PREPARE_RETRY_MS = 2000,
	PREPARE_PATIENCE_MS = 10 * 1000,
	CONFIG_RETRY_MS = 5000,
	SANDBOX_RETRY_MS = 500,
	SANDBOX_RETRY_MAX_MS = 10 * 1000,
	SANDBOX_TIMEOUT_MS = 4 * 60 * 1000,
	HOOK_TIMEOUT_MS = 24 * 3600 * 1000,
	SERVICES_RETRY_MS = 200,
};

int64_t pod_next_backoff(int64_t backoff_ms)
{
	return backoff_ms == 0 ? BACKOFF_FIRST_MS : MIN(backoff_ms * 2, (int64_t)BACKOFF_MAX_MS);
}

/* Prepare */

static int prepare(struct pod *p, struct err *err)
{
	_cleanup_free_ char *dir = volumes_pod_dir(p->agent, p->uid);
	_cleanup_free_ char *logs = config_log_dir(p->agent, p->ns, p->name, p->uid);
	_cleanup_free_ char *cgroup = cgroup_pod_path(p->agent->o.cgroup_root, resources_qos(p->object), p->uid);
	struct resources_pod limits;
	struct pod_facts facts;
	int r;

	r = file_mkdir_p(dir, 0750);
	if (r < 0)
		return err_set(err, -r, "make directory %s: %s", dir, strerror(-r));
	r = file_mkdir_p(logs, 0755);
	if (r < 0)
		return err_set(err, -r, "make directory %s: %s", logs, strerror(-r));
	resources_of_pod(p->object, &limits);
	r = cgroup_create(cgroup, &limits, err);
	if (r < 0)
		return r;
	pod_facts(p, &facts);
	return volumes_setup(p->agent, p->object, &facts, err);
}

void pod_prepare(struct pod *p)
{
	_cleanup_err_ struct err err = { 0 };
	int r;

	if (!p->refresh && clock_mono_ms() < p->prepare_retry_at_ms) {
		pod_wake_at(p, p->prepare_retry_at_ms);
		return;
	}
	p->refresh = false;
	if (!p->prepare_began_ms)
		p->prepare_began_ms = clock_mono_ms();
	r = prepare(p, &err);
	if (r < 0) {
		/* What is still loading wakes us when it comes; the rest is tried again. */
		if (r == -EAGAIN && clock_mono_ms() - p->prepare_began_ms >= PREPARE_PATIENCE_MS)
			pod_warn_once(p, "FailedMount", "Unable to attach or mount volumes: %s", err_msg(&err));
		else if (r != -EAGAIN)
			pod_warn_once(p, str_starts(err_msg(&err), "MountVolume") ? "FailedMount" : "FailedCreatePodContainer",
				      "%s", err_msg(&err));
		p->prepare_retry_at_ms = clock_mono_ms() + PREPARE_RETRY_MS;
		pod_wake_at(p, p->prepare_retry_at_ms);
		return;
	}
	p->prepared = true;
	pod_wake(p);
}

void pod_refresh_volumes(struct pod *p)
{
	_cleanup_err_ struct err err = { 0 };
	struct pod_facts facts;

	p->refresh = false;
	p->refreshed_at_ms = clock_mono_ms();
	if (!volumes_are_live(p->object))
		return;
	pod_facts(p, &facts);
	/* Of a running pod the old files stay when new ones cannot be had. */
	if (volumes_setup(p->agent, p->object, &facts, &err) < 0 && err.code != EAGAIN)
		pod_warn_once(p, "FailedMount", "%s", err_msg(&err));
}

/* Sandbox */

static void sandbox_failed(struct pod *p, const char *why)
{
	pod_warn_once(p, "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", why);
	p->sandbox_backoff_ms = p->sandbox_backoff_ms == 0 ? SANDBOX_RETRY_MS :
							     MIN(p->sandbox_backoff_ms * 2, (int64_t)SANDBOX_RETRY_MAX_MS);
	p->sandbox_retry_at_ms = clock_mono_ms() + p->sandbox_backoff_ms;
}

static void on_sandbox(const struct cri_result *r, void *user)
{
	struct pod *p = user;

	p->sandbox_busy = false;
	if (cri_ok(r))
		p->sandbox_backoff_ms = 0;
	else
		sandbox_failed(p, r->message);
	pod_op_done(p);
}

/* The runtime's name for what the pod's RuntimeClass stands for; "": its default. False: it is not known, which has been said. */
static bool runtime_handler(struct pod *p, const char **ret)
{
	const char *name = json_str_or(p->object, "spec.runtimeClassName", "");
	json_t *class;

	*ret = "";
	if (!*name)
		return true;
	if (!informer_synced(p->agent->runtime_classes)) {
		pod_wake_at(p, clock_mono_ms() + SERVICES_RETRY_MS);
		return false;
	}
	class = informer_get(p->agent->runtime_classes, NULL, name);
	if (!class) {
		_cleanup_free_ char *why = str_printf("failed to get sandbox runtime: runtimeclass.node.k8s.io \"%s\" not found", name);

		sandbox_failed(p, why);
		pod_wake_at(p, p->sandbox_retry_at_ms);
		return false;
	}
	*ret = json_str_or(class, "handler", "");
	return true;
}

void pod_run_sandbox(struct pod *p)
{
	_cleanup_(arena_freep) struct arena *m = arena_new();
	Cri__RunPodSandboxRequest request = CRI__RUN_POD_SANDBOX_REQUEST__INIT;
	uint32_t attempt = p->seen->sandbox_count > 0 ? p->seen->sandboxes[0].attempt + 1 : 0;
	const char *handler;

	if (p->sandbox_busy || !runtime_handler(p, &handler))
		return;
	if (attempt > 0)
		pod_event(p, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
	request.config = config_sandbox(m, p->agent, p->object, attempt);
	request.runtime_handler = (char *)handler;
	p->sandbox_busy = true;
	p->ops++;
	cri_call(p->agent->cri, CRI_RUN_POD_SANDBOX, &request.base, SANDBOX_TIMEOUT_MS, on_sandbox, p);
}

/* Container */

struct start {
	struct pod *pod; /* NULL: abandoned */
	bool pulling;
	struct handler_call *hook;
	size_t index;
	json_t *object; /* own: the spec it is started by */
	const json_t *container;
	uint32_t attempt;
	char *sandbox_id, *container_id;
	uint32_t sandbox_attempt;
	char *image, *image_user;
	int64_t image_uid;
};

static struct pod_container *book(struct start *s)
{
	return &s->pod->containers[s->index];
}

static void start_free(struct start *s)
{
	struct pod *p = s->pod;

	if (p) {
		book(s)->starting = false;
		book(s)->start = NULL;
	}
	json_decref(s->object);
	free(s->sandbox_id);
	free(s->container_id);
	free(s->image);
	free(s->image_user);
	free(s);
	if (p)
		pod_op_done(p);
}

/* The chain ends here; it is tried again after delay_ms. */
static void start_failed(struct start *s, const char *reason, const char *message, int64_t delay_ms)
{
	struct pod_container *c = book(s);

	pod_set_waiting(c, reason, message);
	c->failed_at_ms = clock_mono_ms();
	c->retry_at_ms = c->failed_at_ms + delay_ms;
	start_free(s);
}

static void start_failed_backoff(struct start *s, const char *reason, const char *message)
{
	struct pod_container *c = book(s);

	c->backoff_ms = pod_next_backoff(c->backoff_ms);
	start_failed(s, reason, message, c->backoff_ms);
}

static void start_succeeded(struct start *s)
{
	struct pod_container *c = book(s);

	pod_set_waiting(c, NULL, NULL);
	free(c->hook_id);
	c->hook_id = TAKE(s->container_id);
	/* The next end counts from here. */
	if (s->attempt > 0 || c->backoff_ms > 0)
		c->backoff_ms = pod_next_backoff(c->backoff_ms);
	else
		c->backoff_ms = 0;
	start_free(s);
}

static void on_hook(enum handler_result r, const char *output, void *user)
{
	struct start *s = user;

	s->hook = NULL;
	if (r != HANDLER_OK) {
		struct pod_container *c = book(s);

		pod_event(s->pod, "Warning", "FailedPostStartHook", "PostStartHook failed: %s", output);
		c->hook_failed = true;
		free(c->kill_message);
		c->kill_message = str_printf("FailedPostStartHook: container %s will be restarted", c->name);
	}
	start_succeeded(s);
}

static void on_started(const struct cri_result *r, void *user)
{
	struct start *s = user;
	struct pod *p = s->pod;
	json_t *hook = json_at(s->container, "lifecycle.postStart");

	if (!cri_ok(r)) {
		pod_event(p, "Warning", "Failed", "Error: %s", r->message);
		start_failed_backoff(s, "RunContainerError", r->message);
		return;
	}
	pod_event(p, "Normal", "Started", "Started container %s", book(s)->name);
	pod_resize_applied(book(s), s->container);
	if (json_is_object(hook)) {
		struct pod_facts facts;
		struct handler_target t = { .container_id = s->container_id, .container = s->container };

		pod_facts(p, &facts);
		if (facts.pod_ips && facts.pod_ips->count > 0)
			t.pod_ip = facts.pod_ips->items[0];
		s->hook = handler_run(p->agent, &t, hook, HOOK_TIMEOUT_MS, on_hook, s);
		return;
	}
	start_succeeded(s);
}

static void on_created(const struct cri_result *r, void *user)
{
	struct start *s = user;
	const Cri__CreateContainerResponse *a = (const void *)r->answer;
	Cri__StartContainerRequest request = CRI__START_CONTAINER_REQUEST__INIT;

	if (!a) {
		pod_event(s->pod, "Warning", "Failed", "Error: %s", r->message);
		start_failed_backoff(s, "CreateContainerError", r->message);
		return;
	}
	pod_event(s->pod, "Normal", "Created", "Container created: %s", book(s)->name);
	s->container_id = mem_strdup(a->container_id);
	request.container_id = s->container_id;
	cri_call(s->pod->agent->cri, CRI_START_CONTAINER, &request.base, 0, on_started, s);
}

/* The Services whose variables the pod gets: its namespace's, and always the API's. Own array, borrowed objects. */
static json_t **services_of(struct pod *p, size_t *ret_count)
{
	struct informer *i = p->agent->services;
	bool links = json_bool(p->object, "spec.enableServiceLinks", true);
	json_t **list = mem_new_n(json_t *, informer_count(i) + 1), *o;
	json_t *api = informer_get(i, "default", "kubernetes");
	size_t it = 0, n = 0;

	if (api)
		list[n++] = api;
	while (links && (o = informer_next(i, &it)))
		if (o != api && str_eq(object_namespace(o), p->ns))
			list[n++] = o;
	*ret_count = n;
	return list;
}

static json_t *source_of(void *user, const char *plural, const char *name, enum source_state *state)
{
	struct pod *p = user;

	return sources_get(p->agent->sources, plural, p->ns, name, state);
}

/* runAsNonRoot: refused when the user is root or cannot be known. */
static int check_non_root(const struct start *s, struct err *err)
{
	const json_t *own = json_object_get(s->container, "securityContext");
	const json_t *pod = json_at(s->object, "spec.securityContext");
	int64_t user = json_int(own, "runAsUser", json_int(pod, "runAsUser", s->image_uid));

	if (!json_bool(own, "runAsNonRoot", json_bool(pod, "runAsNonRoot", false)))
		return 0;
	if (user < 0 && !str_empty(s->image_user))
		return err_set(err, EINVAL,
			       "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root",
			       s->image_user);
	if (user <= 0)
		return err_set(err, EINVAL, "container has runAsNonRoot and image will run as root (pod: \"%s_%s(%s)\", container: %s)",
			       s->pod->name, s->pod->ns, s->pod->uid, json_str_or(s->container, "name", ""));
	return 0;
}

/* targetContainerName of an ephemeral container: its process namespace is joined, so it has to be there. */
static int find_target(const struct start *s, const char **ret, struct err *err)
{
	const char *name = json_str(s->container, "targetContainerName");
	const struct observed_container *target;

	*ret = NULL;
	if (str_empty(name))
		return 0;
	target = observed_find(s->pod->seen, name, 0);
	if (!target || target->state != PLAN_RUNNING || !str_eq(target->sandbox_id, s->sandbox_id))
		return err_set(err, ENOENT, "unable to find target container %s: it does not run", name);
	*ret = target->id;
	return 0;
}

static int make_request(struct start *s, struct arena *m, Cri__CreateContainerRequest *request, struct err *err)
{
	struct pod *p = s->pod;
	struct pod_facts facts;
	_cleanup_env_ struct env env = { 0 };
	_cleanup_strlist_ struct strlist skipped = { 0 };
	_cleanup_free_ json_t **services = NULL;
	struct env_input in = { .pod = s->object, .container = s->container, .facts = &facts, .source = source_of,
				.source_user = p };
	struct config_container_input c = {
		.pod = s->object, .container = s->container, .attempt = s->attempt, .env = &env, .facts = &facts,
		.image = s->image, .image_uid = s->image_uid, .image_user = s->image_user,
	};
	int r;

	pod_facts(p, &facts);
	services = services_of(p, &in.service_count);
	in.services = services;
	r = check_non_root(s, err);
	if (r == 0)
		r = env_build(&in, &env, &skipped, err);
	if (r == 0)
		r = config_write_hosts(p->agent, s->object, &facts, err);
	if (r == 0)
		r = find_target(s, &c.target_id, err);
	if (r < 0)
		return r;
	if (skipped.count > 0)
		pod_warn_once(p, "InvalidEnvironmentVariableNames",
			      "Keys that cannot be names of environment variables were skipped, the first is %s", skipped.items[0]);
	request->config = config_container(m, p->agent, &c, err);
	request->sandbox_config = config_sandbox(m, p->agent, s->object, s->sandbox_attempt);
	request->pod_sandbox_id = s->sandbox_id;
	return request->config ? 0 : -err->code;
}

static void create(struct start *s)
{
	_cleanup_(arena_freep) struct arena *m = arena_new();
	_cleanup_err_ struct err err = { 0 };
	Cri__CreateContainerRequest request = CRI__CREATE_CONTAINER_REQUEST__INIT;
	int r = make_request(s, m, &request, &err);

	if (r == -EAGAIN) {
		start_failed(s, NULL, NULL, SERVICES_RETRY_MS);
		return;
	}
	if (r < 0) {
		pod_warn_once(s->pod, "Failed", "Error: %s", err_msg(&err));
		start_failed(s, "CreateContainerConfigError", err_msg(&err), CONFIG_RETRY_MS);
		return;
	}
	cri_call(s->pod->agent->cri, CRI_CREATE_CONTAINER, &request.base, 0, on_created, s);
}

static void on_image(const struct image_result *r, void *user)
{
	struct start *s = user;

	s->pulling = false;
	if (!s->pod) {
		start_free(s);
		return;
	}
	if (r->reason) {
		start_failed_backoff(s, r->reason, r->message);
		return;
	}
	s->image = mem_strdup(r->id);
	s->image_uid = r->uid;
	s->image_user = mem_strdup(r->user);
	create(s);
}

void pod_start_container(struct pod *p, size_t index)
{
	struct pod_container *c = &p->containers[index];
	const struct observed_container *last = observed_find(p->seen, c->name, 0);
	const struct observed_sandbox *sandbox = pod_sandbox(p);
	const json_t *container = spec_container(p->object, c->name);
	struct start *s;

	if (c->starting || c->stopping || !sandbox || !container)
		return;
	if (!informer_synced(p->agent->services)) {
		pod_wake_at(p, clock_mono_ms() + SERVICES_RETRY_MS);
		return;
	}
	probe_stop(c);
	free(c->kill_message);
	c->kill_message = NULL;
	c->kill_grace_s = -1;
	c->hook_failed = false;
	c->starting = true;
	c->last_start_ms = clock_mono_ms();
	s = mem_new(struct start);
	s->pod = p;
	s->index = index;
	s->object = json_incref(p->object);
	s->container = container;
	s->attempt = last ? last->attempt + 1 : 0;
	s->sandbox_id = mem_strdup(sandbox->id);
	s->sandbox_attempt = sandbox->attempt;
	p->ops++;
	c->start = s;
	s->pulling = true;
	image_ensure(p->agent, s->object, s->container, on_image, s);
}

void pod_abandon_starts(struct pod *p)
{
	for (size_t i = 0; i < p->count; i++) {
		struct pod_container *c = &p->containers[i];
		struct start *s = c->start;

		if (!s)
			continue;
		if (s->pulling) {
			/* The pull goes on by itself, for whoever wants the image next. */
			s->pod = NULL;
			c->start = NULL;
			c->starting = false;
			pod_op_done(p);
		} else if (s->hook) {
			handler_cancel(TAKE(s->hook));
			start_succeeded(s);
		}
	}
}
