/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of a node's daemons: command lines, order, health checks. Pure. */
#ifndef KEELSON_CLI_DAEMONS_H
#define KEELSON_CLI_DAEMONS_H

#include "cli/cluster.h"

enum daemon_id {
	DAEMON_CONTAINERD, DAEMON_ETCD, DAEMON_APISERVER, DAEMON_SCHEDULER, DAEMON_CONTROLLERS, DAEMON_PROXY, DAEMON_AGENT, DAEMON_MAX
};

struct daemon_info {
	const char *name;       /* log file, pid file, `keelson status` */
	enum daemon_id needs;   /* started when that one, if it is wanted, is ready; it would only retry before. DAEMON_MAX: none */
	const char *health;     /* "http://127.0.0.1:10248/healthz"; "unix": connect to the containerd socket */
	bool ready_when_ill;    /* any answer will do for those who need it: a full etcd can still be read */
};
const struct daemon_info *daemon_info(enum daemon_id id);
bool daemon_wanted(const struct cluster *c, enum daemon_id id);
/* Appends the command line. cleanup: the variant that removes what the daemon made in the kernel (agent and proxy). */
void daemon_argv(const struct cluster *c, enum daemon_id id, bool cleanup, struct strlist *argv);
/* The configuration of our own containerd. */
void containerd_config(const struct cluster *c, struct strbuf *out);
char *containerd_socket(const struct cluster *c); /* path, own */

#endif
