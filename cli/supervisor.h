/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process behind `keelson up`: keeps a node's daemons running, answers `status`, stops them in order. */
#ifndef KEELSON_CLI_SUPERVISOR_H
#define KEELSON_CLI_SUPERVISOR_H

#include "cli/cluster.h"

/* Runs until told to stop. stop_at_once: adopts what still runs, then stops it and cleans up. Returns an exit code. */
int supervisor_run(const struct cluster *c, bool stop_at_once);
/* Starts a supervisor for the state directory in the background. 0 or -errno. */
int supervisor_spawn(const struct cluster *c, struct err *err);
/* Runs a supervisor that adopts what a dead one left, stops it, and ends; waits for it. */
int supervisor_stop_now(const struct cluster *c, struct err *err);
/* Asks the running supervisor ("status", "stop") and reads its whole answer. -ECONNREFUSED when none runs. */
int supervisor_ask(const char *state, const char *question, struct strbuf *answer, struct err *err);

#endif
