/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keelson down: stops the daemons and the pods, and takes away everything the node made on the machine. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/api.h"
#include "cli/command.h"
#include "cli/lab.h"
#include "cli/lab_nodes.h"
#include "cli/node.h"
#include "cli/supervisor.h"

enum { STARTING_TRIES = 500, STARTING_POLL_MS = 20 };

/* Tells the supervisor to stop. One that holds its lock but does not answer yet has just been started: it is asked again.
 * -ECONNREFUSED: none runs. */
static int ask_to_stop(const struct cluster *c, struct strbuf *answer, struct err *err)
{
	_cleanup_free_ char *lock = cluster_path(c, "lock");
	int r = supervisor_ask(c->state, "stop", answer, err);

	for (int i = 0; r == -ECONNREFUSED && i < STARTING_TRIES; i++) {
		_cleanup_close_ int fd = -1;

		if (file_lock(lock, false, &fd) != -EWOULDBLOCK)
			return r;
		nanosleep(&(struct timespec){ .tv_nsec = STARTING_POLL_MS * 1000000L }, NULL);
		err_done(err);
		r = supervisor_ask(c->state, "stop", answer, err);
	}
	return r;
}

/* Ends with no supervisor running. A dead one's daemons are adopted by a new one, only to be stopped in order. */
static int stop(struct cluster *c, struct err *err)
{
	_cleanup_strbuf_ struct strbuf answer = { 0 };
	_cleanup_free_ char *lock = cluster_path(c, "lock"), *config = cluster_path(c, "containerd/config.toml");
	_cleanup_close_ int fd = -1;
	int r = ask_to_stop(c, &answer, err);

	if (r == -ECONNREFUSED) {
		if (!file_exists(config))
			return 0; /* `up` failed before there was anything to supervise */
		/* An earlier down may have got half way. */
		err_done(err);
		r = node_prepare(c, err);
		if (r == 0)
			r = supervisor_stop_now(c, err);
	} else if (r == 0 && !str_starts(answer.data, "stopped\n")) {
		r = err_set(err, EIO, "the supervisor answered: %s (log: %s/logs/supervisor.log)",
			    answer.data ? answer.data : "nothing", c->state);
	}
	/* One that has just stopped lets go of it with its last breath. */
	int locked = r == 0 ? file_lock(lock, true, &fd) : 0;

	return locked < 0 ? err_set(err, -locked, "cannot lock %s: %s", lock, strerror(-locked)) : r;
}

/* The cluster should not keep a node that is purged. It may be away, and needs not let the node do this: then it is said. */
static void forget_node(const struct cluster *c)
{
	_cleanup_free_ char *path = cluster_path(c, "pki/agent.kubeconfig"), *node = kube_path("v1", "nodes", NULL, c->node_name, NULL);
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_api_answer_ struct api_answer answer = { 0 };
	_cleanup_(api_close) struct api api = { 0 };

	if (kubeconfig_load(path, &config, NULL) < 0 || api_open(&api, &config, NULL) < 0)
		return;
	if (!api_call(&api, "DELETE", node, NULL, &answer) && answer.status != 404)
		fprintf(stderr, "keelson: the cluster still has the node %s (%s); remove it there: kubectl delete node %s\n", c->node_name,
			answer.message, c->node_name);
}

/* What another up or down has changed while this one waited for it. */
static int reload(struct cluster *c, struct err *err)
{
	_cleanup_free_ char *state = mem_strdup(c->state), *bin_dir = mem_strdup(c->bin_dir);

	cluster_done(c);
	int r = cluster_load(state, c, err);

	if (r == 0)
		c->bin_dir = TAKE(bin_dir);
	return r;
}

int command_down(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_close_ int lock = -1;
	bool purge = command_take_flag(&argc, argv, "--purge");
	int r = command_load("down", argc, argv, &c, NULL);

	if (r >= 0)
		return r;
	if (geteuid() != 0) {
		err_set(&err, EPERM, "keelson runs as root: network, cgroups and BPF need it");
		return command_fail(&err);
	}
	if (command_lock(c.state, &lock, &err) < 0 || reload(&c, &err) < 0)
		return command_fail(&err);
	/* The nodes that have joined a lab first: the cluster they belong to is still there. */
	int others = c.lab ? lab_nodes_down(&c, &err) : 0;

	if (others < 0)
		command_fail(&err);
	/* A namespace that is gone (a reboot) is made again: what is stopped must not act on the host's network. */
	if (node_prepare_netns(&c, &err) < 0 || stop(&c, &err) < 0)
		return command_fail(&err);
	if (purge && c.server)
		forget_node(&c);
	r = node_remove(&c, false, &err);
	if (c.lab)
		lab_remove(&c);
	if (r < 0)
		return command_fail(&err);
	/* What a node that could not be stopped still has is only known from its directory. */
	if (purge && others == 0) {
		r = file_rm_rf(c.state);
		if (r < 0)
			err_set(&err, -r, "cannot remove %s: %s", c.state, strerror(-r));
	} else {
		json_object_clear(c.sysctls);
		r = cluster_save(&c, &err);
	}
	if (r < 0)
		return command_fail(&err);
	if (others < 0)
		return 1;
	printf("%s down; %s\n", c.server ? "node" : "cluster", purge ? "nothing is left" : "its data stays for the next up (--purge removes it)");
	return 0;
}
