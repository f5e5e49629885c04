/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What to do next for one pod: a pure decision from what is wanted and what the runtime was seen to have. No I/O, no
 * clock (now is given), tested by tables.
 */
#ifndef KEELSON_AGENT_PLAN_H
#define KEELSON_AGENT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum plan_kind { PLAN_INIT, PLAN_SIDECAR, PLAN_MAIN, PLAN_EPHEMERAL };
enum plan_policy { PLAN_ALWAYS, PLAN_ON_FAILURE, PLAN_NEVER };
/* The newest container of that name, if any. */
enum plan_run { PLAN_ABSENT, PLAN_CREATED, PLAN_RUNNING, PLAN_EXITED, PLAN_UNKNOWN };
/* DEAD: not ready and not released (stopped) yet. A released one counts as none. */
enum plan_sandbox { PLAN_SANDBOX_NONE, PLAN_SANDBOX_READY, PLAN_SANDBOX_DEAD };

struct plan_container {
	enum plan_kind kind;
	enum plan_policy policy;
	enum plan_run run;
	bool current;         /* made in the current sandbox */
	bool busy;            /* being started or stopped */
	bool started;         /* running, its postStart hook and startup probe have succeeded */
	bool unhealthy;       /* a liveness or startup probe gave up on it */
	int exit_code;
	int64_t retry_at_ms;  /* back-off: not before */
};
struct plan_input {
	bool terminating;     /* deleted, evicted, or its object is gone */
	bool finished;        /* its phase is final: nothing of it ever runs again */
	enum plan_sandbox sandbox;
	bool had_sandbox;     /* one was made for this pod before, whatever became of it */
	bool sandbox_busy;
	bool start_busy;      /* some container is being started: containers start one after another */
	bool prepared;        /* cgroup, directories and volumes are there */
	int64_t sandbox_retry_at_ms;
	int64_t now_ms;
	const struct plan_container *containers; /* init, main, then ephemeral containers, each in the order of the spec */
	size_t count;
};
enum plan_verb {
	PLAN_PREPARE,         /* make the cgroup, directories and volumes */
	PLAN_RUN_SANDBOX,
	PLAN_STOP_SANDBOX,
	PLAN_START,           /* container */
	PLAN_STOP,            /* container, with its grace */
};
enum { PLAN_MAX_ACTIONS = 64 };
struct plan {
	struct plan_action {
		enum plan_verb verb;
		size_t container;
	} actions[PLAN_MAX_ACTIONS];
	size_t count;
	int64_t wake_at_ms;   /* decide again at that time; 0: only when something changes */
	bool initialized;     /* every init container has done its part */
	bool stopped;         /* terminating or finished, and nothing runs any more: clean up */
	bool completed;       /* the containers have ended for good by themselves (a Job's pod): the phase is final */
};
void plan_decide(const struct plan_input *in, struct plan *ret);

#endif
