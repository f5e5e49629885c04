/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One process that the supervisor looks after: started by us or found running (adopted by its pid file), watched by a
 * pidfd, so both look the same. A pid file holds "pid start-time": a reused pid is never taken for ours.
 */
#ifndef KEELSON_CLI_PROCESS_H
#define KEELSON_CLI_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/str.h"

struct process {
	pid_t pid;      /* 0: none */
	int pidfd;
	uv_poll_t *poll; /* own; a new one for each run, as a libuv handle must be closed before its memory is used again */
	int64_t started_ms; /* monotonic; adopted ones count from their real start */
	void (*on_exit)(struct process *p, int status, void *user); /* wait status, -1 when unknown (adopted) */
	void *user;
};

/* Starts argv with stdin from /dev/null and both outputs appended to log_path, in a session of its own. 0 or -errno. */
int process_start(uv_loop_t *loop, struct process *p, const struct strlist *argv, const char *log_path,
		  const char *pid_path);
/* Takes over the process that the pid file names when it is still that one: 0, or -ESRCH. */
int process_adopt(uv_loop_t *loop, struct process *p, const char *pid_path);
void process_kill(const struct process *p, int signal); /* by pidfd: never hits a stranger */
/* Resident set in KiB, 0 when unknown. */
long process_rss_kib(pid_t pid);
/* Start time in clock ticks since boot (proc_pid_stat(5) field 22), 0 when there is no such process. */
unsigned long long process_start_time(pid_t pid);

#endif
