/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One pod on this node: what is wanted of it, what was seen of it, what is being done about it. Parts: pod.c (the state
 * machine), pod_start.c (sandboxes and containers come), pod_stop.c (they go), probe.c. Loop thread only.
 */
#ifndef KEELSON_AGENT_POD_H
#define KEELSON_AGENT_POD_H

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/observe.h"
#include "agent/plan.h"
#include "agent/spec.h"

enum pod_state {
	POD_ALIVE,    /* runs, or is on its way to */
	POD_STOPPING, /* deleted, or unknown to the API: what runs is being stopped */
	POD_CLEANING, /* nothing runs; volumes and cgroup are being taken away */
	POD_STOPPED,  /* nothing is left but ended containers with their logs; its object is still there */
	POD_REMOVING, /* its object is gone: containers, logs and directories go too */
	POD_GONE,
	POD_STATE_MAX
};

struct probe_set;
struct start;

/* What the worker remembers of a container of the spec, beside what the runtime knows. */
struct pod_container {
	char *name;
	enum plan_kind kind;
	enum plan_policy policy;
	bool starting, stopping;
	struct start *start;                    /* the chain under way while starting */
	char *waiting_reason, *waiting_message; /* why it does not run; NULL */
	int64_t backoff_ms, retry_at_ms;        /* after an end or a failed start; monotonic */
	int64_t failed_at_ms, last_start_ms;
	char *counted_id;                       /* the ended container that the back-off was computed for */
	char *hook_id;                          /* the container whose postStart hook has finished */
	bool hook_failed;
	char *kill_message;                     /* why a probe wants it stopped, for the event; NULL */
	int64_t kill_grace_s;                   /* of that probe; -1: the pod's */
	struct probe_set *probes;               /* NULL while it does not run */
	int64_t stop_deadline_ms;               /* of the StopContainer under way */
	json_t *applied;                        /* {"resources":...} it runs with; NULL: not known yet, or it does not run */
	bool resizing;
};

/* Where a change of resources in place stands (KEP-1287). */
enum pod_resize { POD_RESIZE_NONE, POD_RESIZE_DEFERRED, POD_RESIZE_INFEASIBLE, POD_RESIZE_IN_PROGRESS, POD_RESIZE_ERROR };

struct pod {
	struct agent *agent;
	char *uid, *ns, *name;
	json_t *object;  /* the newest from the API; NULL: it was never seen there (an orphan) */
	bool in_api;
	enum pod_state state;

	struct observed *seen; /* NULL until the first look */
	struct observation *observing;
	bool stale;            /* something was done since the look began: look again before deciding */
	bool look_failed;
	struct strlist awaited; /* ids the runtime said had ended, not seen so yet */
	unsigned awaited_looks;
	int64_t look_at_ms;     /* look again then; 0: no need */

	struct pod_container *containers; /* init, main, then ephemeral ones as they come */
	size_t count;
	bool prepared, initialized, cleaned, deleting_sent, over;
	int64_t refreshed_at_ms;
	bool refresh;          /* something its volumes follow may have changed */
	bool sandbox_busy;
	char *released_sandbox;    /* the id that StopPodSandbox was done for */
	int64_t sandbox_retry_at_ms, sandbox_backoff_ms, prepare_began_ms, prepare_retry_at_ms, clean_retry_at_ms;
	int64_t stop_since_ms;     /* when stopping began */
	char *reason, *message;    /* of the pod as a whole */
	char *last_event;          /* the last warning said, so that it is not said at every turn */

	uv_timer_t *timer;
	unsigned ops;              /* what holds on to this struct */
	bool patching, patch_failing;
	int64_t patch_retry_at_ms;

	enum pod_resize resize;
	char *resize_message;      /* NULL but of the deferred, infeasible and failed ones */
	unsigned resizes;          /* containers that are being changed */
	int64_t resize_retry_at_ms;
};

struct pod *pod_new(struct agent *a, const char *uid, const char *ns, const char *name);
/* The API's newest object (taken by reference), or NULL: it is gone from there. */
void pod_set_object(struct pod *p, const json_t *object);
/* Decide again as soon as the loop turns. */
void pod_wake(struct pod *p);
void pod_wake_at(struct pod *p, int64_t at_ms);
/* Look at the runtime again, then decide. */
void pod_look(struct pod *p);
/* The same, after an event that a container or sandbox has ended. */
void pod_look_for_end(struct pod *p, const char *id);
/* Free, once pod_is_idle(); the set calls it. */
void pod_free(struct pod *p);
bool pod_is_idle(const struct pod *p);

/* For the parts. */
void pod_facts(const struct pod *p, struct pod_facts *ret);              /* borrows from p */
const struct observed_sandbox *pod_sandbox(const struct pod *p);         /* the newest, when it is ready and has its network */
int64_t pod_grace_s(const struct pod *p);
void pod_event(struct pod *p, const char *type, const char *reason, const char *fmt, ...) _printf_(4, 5);
/* The same, unless it was the last one said. */
void pod_warn_once(struct pod *p, const char *reason, const char *fmt, ...) _printf_(3, 4);
void pod_set_waiting(struct pod_container *c, const char *reason, const char *message); /* copies; NULL clears */
/* An operation has ended: what it changed must be seen first. */
void pod_op_done(struct pod *p);

/* pod_start.c */
void pod_prepare(struct pod *p);      /* directories, cgroup, volumes; sets prepared */
void pod_refresh_volumes(struct pod *p); /* of a prepared pod: what they follow may have changed */
void pod_run_sandbox(struct pod *p);
void pod_start_container(struct pod *p, size_t index);
/* The pod is to end: pulls and postStart hooks under way are not waited for. */
void pod_abandon_starts(struct pod *p);
int64_t pod_next_backoff(int64_t backoff_ms);

/* pod_resize.c */
void pod_resize_check(struct pod *p); /* begins what is to be changed in containers that run, or says why not */
/* What a container runs with: as it was started, or as the API was told of one that an agent before us has started. */
void pod_resize_applied(struct pod_container *c, const json_t *container);
void pod_resize_adopt(struct pod *p, struct pod_container *c);

/* pod_stop.c */
void pod_stop_container(struct pod *p, size_t index);
void pod_hasten(struct pod *p);       /* while stopping: the grace may have become shorter */
void pod_stop_sandbox(struct pod *p);
void pod_clean(struct pod *p);        /* volumes and cgroup; sets cleaned */
void pod_remove(struct pod *p);       /* sandboxes, containers, logs; ends in POD_GONE */
void pod_collect(struct pod *p);      /* old dead containers and their logs */

/* probe.c: runs a container's probes while it runs. */
void probe_start(struct pod *p, size_t index, const char *container_id, int64_t started_ns);
void probe_stop(struct pod_container *c);
/* The container is being stopped: nothing may want it restarted any more, but whether it is ready is still asked, so that a
 * Service without another endpoint keeps one that serves while it terminates (KEP-1669). */
void probe_quiet(struct pod_container *c);
bool probe_ready(const struct pod_container *c);   /* true without a readiness probe */
bool probe_started(const struct pod_container *c); /* true without a startup probe */
const char *probe_container_id(const struct pod_container *c); /* NULL: none */

#endif
