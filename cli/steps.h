/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `keelson up` and `keelson join` do, step by step: each prints a line with the time it took. */
#ifndef KEELSON_CLI_STEPS_H
#define KEELSON_CLI_STEPS_H

#include "cli/cluster.h"

struct step {
	const char *text;
	int (*run)(struct cluster *c, void *user, struct err *err);
};
/* Runs the steps until one fails; says which on stderr. 0 or -errno; *ret_failed (may be NULL) gets its index. */
int steps_run(const char *command, const struct step *steps, size_t count, struct cluster *c, void *user, size_t *ret_failed);

/* Steps that both have. */
int step_prepare(struct cluster *c, void *user, struct err *err);  /* network, cgroups, BPF file system */
int step_daemons(struct cluster *c, void *user, struct err *err);  /* the supervisor, unless it runs */
int step_images(struct cluster *c, void *user, struct err *err);
int step_ready(struct cluster *c, void *user, struct err *err);    /* the Node is Ready, every daemon healthy */
/* Waits until the supervisor calls a daemon (NULL: all) healthy. */
int step_wait_healthy(const struct cluster *c, const char *name, struct err *err);

#endif
