/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Emptying the runtime. Three rounds, each of calls in parallel: stop every running container with a grace period, stop
 * every sandbox (which takes its network down), remove every sandbox. A round begins when the one before has ended; what
 * failed is said and does not keep the rest from going.
 */
#include "agent/cleanup.h"

#include <errno.h>
#include <time.h>

#include "agent/cri/cri.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { CONTAINER_GRACE_S = 5, CALL_TIMEOUT_MS = 60000, RUNTIME_WAIT_MS = 30000 };

struct cleanup {
	uv_loop_t loop;
	struct cri *cri;
	struct strlist sandboxes, containers;
	size_t pending;
	char *list_error;  /* own: why listing failed, NULL when it did not */
	char *first_error; /* own */
};

static void keep_error(struct cleanup *c, const char *what, const char *why)
{
	log_error("%s: %s", what, why);
	if (!c->first_error)
		c->first_error = str_printf("%s: %s", what, why);
}

static void keep_list_error(struct cleanup *c, const char *what, const char *why)
{
	free(c->list_error);
	c->list_error = str_printf("%s: %s", what, why);
}

static void on_list(const struct cri_result *r, void *user)
{
	struct cleanup *c = user;

	c->pending--;
	if (!cri_ok(r)) {
		keep_list_error(c, "list pod sandboxes", r->message);
		return;
	}
	const Cri__ListPodSandboxResponse *list = (const void *)r->answer;

	for (size_t i = 0; i < list->n_items; i++)
		strlist_add(&c->sandboxes, list->items[i]->id);
}

static void on_list_containers(const struct cri_result *r, void *user)
{
	struct cleanup *c = user;

	c->pending--;
	if (!cri_ok(r)) {
		keep_list_error(c, "list containers", r->message);
		return;
	}
	const Cri__ListContainersResponse *list = (const void *)r->answer;

	for (size_t i = 0; i < list->n_containers; i++)
		if (list->containers[i]->state == CRI__CONTAINER_STATE__RUNNING)
			strlist_add(&c->containers, list->containers[i]->id);
}

static void on_done(const struct cri_result *r, void *user)
{
	struct cleanup *c = user;

	c->pending--;
	if (!cri_ok(r) && r->status != GRPC_NOT_FOUND)
		keep_error(c, "empty the runtime", r->message);
}

static void wait_all(struct cleanup *c)
{
	while (c->pending)
		uv_run(&c->loop, UV_RUN_ONCE);
}

/* A runtime that has just been started does not answer at once. */
static void list_all(struct cleanup *c)
{
	Cri__ListPodSandboxRequest sandboxes = CRI__LIST_POD_SANDBOX_REQUEST__INIT;
	Cri__ListContainersRequest containers = CRI__LIST_CONTAINERS_REQUEST__INIT;
	int64_t deadline_ms = clock_mono_ms() + RUNTIME_WAIT_MS;

	for (;;) {
		strlist_done(&c->sandboxes);
		strlist_done(&c->containers);
		free(TAKE(c->list_error));
		c->pending = 2;
		cri_call(c->cri, CRI_LIST_POD_SANDBOX, &sandboxes.base, CALL_TIMEOUT_MS, on_list, c);
		cri_call(c->cri, CRI_LIST_CONTAINERS, &containers.base, CALL_TIMEOUT_MS, on_list_containers, c);
		wait_all(c);
		if (!c->list_error)
			return;
		if (clock_mono_ms() > deadline_ms) {
			keep_error(c, "the runtime does not answer", c->list_error);
			return;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000 * 1000 }, NULL);
	}
}

static void stop_containers(struct cleanup *c)
{
	for (size_t i = 0; i < c->containers.count; i++) {
		Cri__StopContainerRequest m = CRI__STOP_CONTAINER_REQUEST__INIT;

		m.container_id = c->containers.items[i];
		m.timeout = CONTAINER_GRACE_S;
		c->pending++;
		cri_call(c->cri, CRI_STOP_CONTAINER, &m.base, CALL_TIMEOUT_MS, on_done, c);
	}
	wait_all(c);
}

static void stop_sandboxes(struct cleanup *c)
{
	for (size_t i = 0; i < c->sandboxes.count; i++) {
		Cri__StopPodSandboxRequest m = CRI__STOP_POD_SANDBOX_REQUEST__INIT;

		m.pod_sandbox_id = c->sandboxes.items[i];
		c->pending++;
		cri_call(c->cri, CRI_STOP_POD_SANDBOX, &m.base, CALL_TIMEOUT_MS, on_done, c);
	}
	wait_all(c);
}

static void remove_sandboxes(struct cleanup *c)
{
	for (size_t i = 0; i < c->sandboxes.count; i++) {
		Cri__RemovePodSandboxRequest m = CRI__REMOVE_POD_SANDBOX_REQUEST__INIT;

		m.pod_sandbox_id = c->sandboxes.items[i];
		c->pending++;
		cri_call(c->cri, CRI_REMOVE_POD_SANDBOX, &m.base, CALL_TIMEOUT_MS, on_done, c);
	}
	wait_all(c);
}

int cleanup_run(const char *runtime_endpoint, struct err *err)
{
	struct cleanup c = { 0 };
	int r = 0;

	BUG_ON(uv_loop_init(&c.loop) < 0);
	c.cri = cri_new(&c.loop, runtime_endpoint);
	list_all(&c);
	stop_containers(&c);
	stop_sandboxes(&c);
	remove_sandboxes(&c);
	log_info("removed %zu pod sandboxes", c.sandboxes.count);
	if (c.first_error)
		r = err_set(err, EIO, "%s", c.first_error);
	cri_free(c.cri);
	for (int i = 0; i < 100 && uv_loop_close(&c.loop) == UV_EBUSY; i++)
		uv_run(&c.loop, UV_RUN_NOWAIT);
	strlist_done(&c.sandboxes);
	strlist_done(&c.containers);
	free(c.list_error);
	free(c.first_error);
	return r;
}
