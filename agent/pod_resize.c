/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resources that change in place (KEP-1287). What a container runs with is remembered beside it and told in its status; when its spec
 * says something else, and the node has room, the pod's cgroup is widened, the runtime is asked to change each container, and at last
 * the cgroup is made what the spec says. A container that wants to be restarted for it is.
 */
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/node.h"
#include "agent/pod.h"
#include "agent/pods.h"
#include "agent/resources.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kube/object.h"

enum { RESIZE_RETRY_MS = 5000 };

void pod_resize_applied(struct pod_container *c, const json_t *container)
{
	json_t *resources = json_object_get(container, "resources");

	json_decref(c->applied);
	c->applied = json_pack("{s:o}", "resources", resources ? json_deep_copy(resources) : json_object());
}

void pod_resize_adopt(struct pod *p, struct pod_container *c)
{
	static const char *const lists[] = { "containerStatuses", "initContainerStatuses" };
	json_t *s;
	size_t i;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(json_object_get(json_object_get(p->object, "status"), lists[l]), i, s)
			if (str_eq(json_str(s, "name"), c->name) && json_object_get(s, "resources")) {
				pod_resize_applied(c, s);
				return;
			}
	}
	pod_resize_applied(c, spec_container(p->object, c->name));
}

static void set_state(struct pod *p, enum pod_resize state, char *message)
{
	static const struct {
		const char *type, *reason;
	} events[] = {
		[POD_RESIZE_DEFERRED] = { "Warning", "ResizeDeferred" },
		[POD_RESIZE_INFEASIBLE] = { "Warning", "ResizeInfeasible" },
		[POD_RESIZE_IN_PROGRESS] = { "Normal", "ResizeStarted" },
		[POD_RESIZE_ERROR] = { "Warning", "ResizeError" },
	};

	if (state == p->resize && (message ? str_eq(message, p->resize_message) : !p->resize_message)) {
		free(message);
		return;
	}
	if (state != POD_RESIZE_NONE)
		pod_event(p, events[state].type, events[state].reason, "Pod resize: %s", message ? message : "the containers are changed");
	else
		pod_event(p, "Normal", "ResizeCompleted", "Pod resize: the containers have what their spec says");
	p->resize = state;
	free(p->resize_message);
	p->resize_message = message;
	pod_wake(p);
}

/* Only what runs for good can be changed; ephemeral containers have no resources. */
static bool is_resizable(const struct pod *p, const struct pod_container *c)
{
	const struct observed_container *o = observed_find(p->seen, c->name, 0);

	return (c->kind == PLAN_MAIN || c->kind == PLAN_SIDECAR) && o && o->state == PLAN_RUNNING && !c->starting && !c->stopping &&
	       c->applied && spec_container(p->object, c->name);
}

static unsigned resized(const struct pod *p, const struct pod_container *c)
{
	return is_resizable(p, c) ? resources_resized(c->applied, spec_container(p->object, c->name)) : 0;
}

/* The pod as its containers run at present; own. */
static json_t *pod_as_applied(const struct pod *p)
{
	_cleanup_json_ json_t *applied = json_object();

	for (size_t i = 0; i < p->count; i++)
		if (p->containers[i].applied)
			json_object_set(applied, p->containers[i].name, p->containers[i].applied);
	return resources_pod_with(p->object, applied);
}

/* --- room ------------------------------------------------------------------------------------------------------------- */

/* What the other pods of the node have been given. */
static void add_others(const struct pod *p, struct resources_request *sum)
{
	size_t it = 0;

	for (const struct pod *other; (other = pods_next(p->agent->pods, &it));) {
		bool waits = other->resize == POD_RESIZE_DEFERRED || other->resize == POD_RESIZE_INFEASIBLE;
		_cleanup_json_ json_t *had = NULL;
		struct resources_request r;

		if (other == p || !other->object || other->state != POD_ALIVE)
			continue;
		had = waits ? pod_as_applied(other) : NULL;
		resources_request_of_pod(had ? had : other->object, &r);
		sum->cpu_milli += r.cpu_milli;
		sum->memory_bytes += r.memory_bytes;
	}
}

/* False: there is none, which has been said. */
static bool has_room(struct pod *p)
{
	_cleanup_json_ json_t *before = pod_as_applied(p);
	struct resources_request had, wanted, used = { 0 };
	int64_t cpu, memory;

	resources_request_of_pod(before, &had);
	resources_request_of_pod(p->object, &wanted);
	node_resources(p->agent->node, &cpu, &memory);
	add_others(p, &used);
	const struct {
		const char *name;
		int64_t had, wanted, used, capacity;
	} rows[] = {
		{ "cpu", had.cpu_milli, wanted.cpu_milli, used.cpu_milli, cpu },
		{ "memory", had.memory_bytes, wanted.memory_bytes, used.memory_bytes, memory },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].wanted > rows[i].had && rows[i].wanted > rows[i].capacity) {
			set_state(p, POD_RESIZE_INFEASIBLE,
				  str_printf("Node didn't have enough capacity: %s, requested: %lld, capacity: %lld", rows[i].name,
					     (long long)rows[i].wanted, (long long)rows[i].capacity));
			return false;
		}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].wanted > rows[i].had && rows[i].used + rows[i].wanted > rows[i].capacity) {
			set_state(p, POD_RESIZE_DEFERRED,
				  str_printf("Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", rows[i].name,
					     (long long)rows[i].wanted, (long long)rows[i].used, (long long)rows[i].capacity));
			return false;
		}
	return true;
}

/* --- cgroups ---------------------------------------------------------------------------------------------------------- */

static char *cgroup_of(const struct pod *p)
{
	return cgroup_pod_path(p->agent->o.cgroup_root, resources_qos(p->object), p->uid);
}

/* Nothing is taken from processes that they use: they would be killed for it. */
static int check_memory(const struct pod *p, struct err *err)
{
	_cleanup_free_ char *cgroup = cgroup_of(p);

	for (size_t i = 0; i < p->count; i++) {
		const struct pod_container *c = &p->containers[i];
		const json_t *wanted = spec_container(p->object, c->name);
		const struct observed_container *o = observed_find(p->seen, c->name, 0);
		unsigned what = resized(p, c);
		int64_t limit = resources_milli(wanted, "limits", "memory") / 1000, had = resources_milli(c->applied, "limits", "memory") / 1000;
		_cleanup_free_ char *path = NULL;
		struct cgroup_usage usage;

		if (!(what & RESIZES_MEMORY) || resources_resize_restarts(wanted, what) || limit <= 0 || (had > 0 && had <= limit))
			continue;
		path = str_printf("%s/%s", cgroup, o->id);
		if (cgroup_usage(path, &usage) == 0 && usage.working_set_bytes > (uint64_t)limit)
			return err_set(err, EBUSY, "attempting to set container %s's memory limit (%lld) below its current usage (%llu)", c->name,
				       (long long)limit, (unsigned long long)usage.working_set_bytes);
	}
	return 0;
}

static int64_t wider(int64_t a, int64_t b)
{
	return a <= 0 || b <= 0 ? 0 : MAX(a, b); /* 0 leaves what there is */
}

/* Room in the pod's cgroup for both what is and what will be; final: what will be. */
static int set_cgroup(const struct pod *p, bool final, struct err *err)
{
	_cleanup_free_ char *cgroup = cgroup_of(p);
	_cleanup_json_ json_t *before = pod_as_applied(p);
	struct resources_pod now, then;

	resources_of_pod(p->object, &then);
	resources_of_pod(before, &now);
	if (!final)
		then = (struct resources_pod){ MAX(now.cpu_shares, then.cpu_shares), wider(now.cpu_quota_us, then.cpu_quota_us),
					       wider(now.memory_bytes, then.memory_bytes) };
	return cgroup_create(cgroup, &then, err);
}

/* --- doing it --------------------------------------------------------------------------------------------------------- */

struct resize {
	struct pod *pod;
	size_t index;
	json_t *container; /* own: what it is changed to */
};

static void fail(struct pod *p, const char *why)
{
	set_state(p, POD_RESIZE_ERROR, mem_strdup(why));
	p->resize_retry_at_ms = clock_mono_ms() + RESIZE_RETRY_MS;
	pod_wake_at(p, p->resize_retry_at_ms);
}

static void on_updated(const struct cri_result *r, void *user)
{
	struct resize *z = user;
	struct pod *p = z->pod;
	struct pod_container *c = &p->containers[z->index];

	c->resizing = false;
	p->resizes--;
	if (cri_ok(r))
		pod_resize_applied(c, z->container);
	else
		fail(p, r->message);
	json_decref(z->container);
	free(z);
	pod_op_done(p);
}

static void update(struct pod *p, size_t index)
{
	_cleanup_(arena_freep) struct arena *m = arena_new();
	struct pod_container *c = &p->containers[index];
	const json_t *wanted = spec_container(p->object, c->name);
	Cri__UpdateContainerResourcesRequest request = CRI__UPDATE_CONTAINER_RESOURCES_REQUEST__INIT;
	struct pod_facts facts;
	struct resize *z = mem_new(struct resize);

	pod_facts(p, &facts);
	*z = (struct resize){ p, index, json_incref((json_t *)wanted) };
	request.container_id = observed_find(p->seen, c->name, 0)->id;
	request.linux_ = config_resources(m, p->object, wanted, facts.node_memory_bytes);
	c->resizing = true;
	p->resizes++;
	p->ops++;
	cri_call(p->agent->cri, CRI_UPDATE_CONTAINER_RESOURCES, &request.base, 0, on_updated, z);
}

static void begin(struct pod *p)
{
	_cleanup_err_ struct err err = { 0 };

	if (check_memory(p, &err) < 0 || set_cgroup(p, false, &err) < 0) {
		fail(p, err_msg(&err));
		return;
	}
	set_state(p, POD_RESIZE_IN_PROGRESS, NULL);
	for (size_t i = 0; i < p->count; i++) {
		struct pod_container *c = &p->containers[i];
		unsigned what = resized(p, c);

		if (!what)
			continue;
		if (!resources_resize_restarts(spec_container(p->object, c->name), what))
			update(p, i);
		else if (!c->kill_message)
			c->kill_message = str_printf("Container %s resize requires restart", c->name);
	}
	pod_wake(p);
}

static void finish(struct pod *p)
{
	_cleanup_err_ struct err err = { 0 };

	if (p->resize == POD_RESIZE_NONE)
		return;
	/* What is still on its way to be started has its new resources when it comes. */
	for (size_t i = 0; i < p->count; i++)
		if (p->containers[i].starting || p->containers[i].stopping)
			return;
	if (set_cgroup(p, true, &err) < 0)
		fail(p, err_msg(&err));
	else
		set_state(p, POD_RESIZE_NONE, NULL);
}

void pod_resize_check(struct pod *p)
{
	bool any = false;

	if (p->resizes || !p->prepared || !pod_sandbox(p))
		return;
	if (clock_mono_ms() < p->resize_retry_at_ms) {
		pod_wake_at(p, p->resize_retry_at_ms);
		return;
	}
	for (size_t i = 0; i < p->count; i++)
		any = any || resized(p, &p->containers[i]);
	if (!any) {
		finish(p);
	} else if (has_room(p)) {
		begin(p);
	} else {
		/* Others may go. */
		p->resize_retry_at_ms = clock_mono_ms() + RESIZE_RETRY_MS;
		pod_wake_at(p, p->resize_retry_at_ms);
	}
}
