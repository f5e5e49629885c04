/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lab's further nodes join like strangers: `keelson join` with a token, in a process a node. Their first node only gives
 * them a namespace with a link. This file also has `keelson node`, which cuts a node's power.
 */
#include "cli/lab_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/lab.h"
#include "cli/node.h"
#include "cli/supervisor.h"
#include "cli/token.h"

extern char **environ;

enum { AT_ONCE = 8, TOKEN_TTL_S = 3600, KILL_TIMEOUT_MS = 10000, KILL_POLL_MS = 10, LOG_MAX_BYTES = 1 << 20 };

bool lab_node_runs(const struct cluster *c, unsigned k)
{
	_cleanup_free_ char *state = lab_state(c, k);
	_cleanup_(cluster_done) struct cluster node = { 0 };
	_cleanup_strbuf_ struct strbuf text = { 0 };

	return cluster_load(state, &node, NULL) == 0 && node.complete && supervisor_ask(state, "status", &text, NULL) == 0;
}

/* One `keelson ...` in the background. */
struct child {
	unsigned k;
	pid_t pid; /* 0: none */
	int64_t begin_ms;
	char *log; /* what it says goes there; own */
};

static int spawn_child(const struct cluster *c, struct child *ch, const struct strlist *argv, struct err *err)
{
	posix_spawn_file_actions_t actions;

	ch->log = str_printf("%s/logs/node-%u.log", c->state, ch->k);
	ch->begin_ms = clock_mono_ms();
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, ch->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	int r = posix_spawn(&ch->pid, argv->items[0], &actions, NULL, argv->items, environ);

	posix_spawn_file_actions_destroy(&actions);
	return r ? err_set(err, r, "cannot run %s: %s", argv->items[0], strerror(r)) : 0;
}

/* The last line that a child said, without its line feed. Own. */
static char *last_line(const char *log)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };

	if (file_read(log, LOG_MAX_BYTES, &text) < 0 || !text.len)
		return mem_strdup("it said nothing");
	strlist_split(&lines, text.data, '\n');
	return mem_strdup(lines.count ? lines.items[lines.count - 1] : "it said nothing");
}

/* Waits for one of them, and frees its place. */
static int reap(struct child *all, size_t count, const char *done_text, const struct cluster *c, struct err *err)
{
	int status = 0, r = 0;
	pid_t pid = waitpid(-1, &status, 0);

	if (pid < 0)
		return err_set(err, errno, "cannot wait for a node's command: %s", strerror(errno));
	for (size_t i = 0; i < count; i++) {
		struct child *ch = &all[i];

		if (ch->pid != pid)
			continue;
		if (status != 0) {
			_cleanup_free_ char *why = last_line(ch->log);

			r = err_set(err, EIO, "node %s-%u: %s (all it said: %s)", c->lab, ch->k, why, ch->log);
		} else if (done_text) {
			_cleanup_free_ char *text = str_printf("node %s-%u %s", c->lab, ch->k, done_text);

			printf("  %-48s %6.2f s\n", text, (double)(clock_mono_ms() - ch->begin_ms) / 1000);
			fflush(stdout);
		}
		ch->pid = 0;
		free(TAKE(ch->log));
	}
	return r;
}

/* Runs make_argv's command for each node from 2 on that it wants, AT_ONCE at a time. Goes on after errors. */
struct work {
	const struct cluster *c;
	/* Fills argv; 0: run it, 1: this node needs nothing, or an error. */
	int (*make_argv)(struct work *w, unsigned k, struct strlist *argv, struct err *err);
	const char *done_text;
	const char *server, *token, *hash;
	unsigned changed;
};

static int run_all(struct work *w, struct err *err)
{
	struct child all[AT_ONCE] = { 0 };
	size_t running = 0;
	int first = 0;

	for (unsigned k = 2; k <= w->c->lab_nodes || running; k++) {
		_cleanup_strlist_ struct strlist argv = { 0 };
		_cleanup_err_ struct err e = { 0 };
		size_t place = 0;
		int r = k <= w->c->lab_nodes ? w->make_argv(w, k, &argv, &e) : 1;

		if (r == 0) {
			while (all[place].pid)
				place++;
			all[place].k = k;
			r = spawn_child(w->c, &all[place], &argv, &e);
			running += r == 0;
			w->changed += r == 0;
		}
		if (r >= 0 && (running == AT_ONCE || (running && k >= w->c->lab_nodes))) {
			r = reap(all, AT_ONCE, w->done_text, w->c, &e);
			running--;
		}
		if (r < 0 && !first)
			first = err_set(err, e.code, "%s", err_msg(&e));
	}
	return first;
}

static int join_argv(struct work *w, unsigned k, struct strlist *argv, struct err *err)
{
	const struct cluster *c = w->c;
	_cleanup_free_ char *state = lab_state(c, k), *netns = lab_netns(c, k), *ip = lab_node_ip(c, k);

	if (lab_node_runs(c, k))
		return 1;
	int r = lab_attach(c, k, err);

	if (r < 0)
		return r;
	const char *const options[][2] = { { "--state", state }, { "--netns", netns },      { "--node-ip", ip },
					   { "--token", w->token }, { "--ca-hash", w->hash } };

	strlist_addf(argv, "%s/keelson", c->bin_dir);
	strlist_add(argv, "join");
	strlist_add(argv, w->server);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		strlist_add(argv, options[i][0]);
		strlist_add(argv, options[i][1]);
	}
	if (c->node_grace_s) {
		strlist_add(argv, "--node-grace-period");
		strlist_addf(argv, "%us", c->node_grace_s);
	}
	for (size_t i = 0; i < c->images.count; i++) {
		strlist_add(argv, "--image");
		strlist_add(argv, c->images.items[i]);
	}
	return 0;
}

int lab_nodes_up(const struct cluster *c, unsigned *ret_changed, struct err *err)
{
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_(api_close) struct api api = { 0 };
	_cleanup_free_ char *hash = NULL, *server = cluster_server(c), *nodes = cluster_path(c, "nodes");
	_cleanup_err_ struct err later = { 0 };
	char token[TOKEN_SIZE];
	bool all_run = true;

	*ret_changed = 0;
	for (unsigned k = 2; all_run && k <= c->lab_nodes; k++)
		all_run = lab_node_runs(c, k);
	if (all_run)
		return 0;
	int r = file_mkdir_p(nodes, 0700);

	if (r < 0)
		return err_set(err, -r, "cannot make %s: %s", nodes, strerror(-r));
	hash = token_ca_hash(c, err);
	if (!hash || token_api_open(c, &config, &api, err) < 0 ||
	    token_create(&api, TOKEN_TTL_S, "the nodes of keelson up --nodes", token, err) < 0)
		return -EIO;
	struct work w = { .c = c, .make_argv = join_argv, .done_text = "joined", .server = server, .token = token, .hash = hash };

	r = run_all(&w, err);
	*ret_changed = w.changed;
	token[strcspn(token, ".")] = '\0';
	if (token_delete(&api, token, &later) < 0 && r == 0)
		r = err_set(err, later.code, "%s", err_msg(&later));
	return r;
}

static int down_argv(struct work *w, unsigned k, struct strlist *argv, struct err *err _unused_)
{
	_cleanup_free_ char *state = lab_state(w->c, k), *file = str_printf("%s/cluster.json", state);

	if (!file_exists(file))
		return 1;
	strlist_addf(argv, "%s/keelson", w->c->bin_dir);
	strlist_add(argv, "down");
	strlist_add(argv, "--state");
	strlist_add(argv, state);
	return 0;
}

int lab_nodes_down(const struct cluster *c, struct err *err)
{
	struct work w = { .c = c, .make_argv = down_argv };
	_cleanup_free_ char *logs = cluster_path(c, "logs");

	return file_exists(logs) ? run_all(&w, err) : 0;
}

/* ---- keelson node: a node's power */

static bool cgroup_populated(const char *cgroup)
{
	_cleanup_free_ char *path = str_printf("%s/cgroup.events", cgroup);
	_cleanup_strbuf_ struct strbuf text = { 0 };

	return file_read(path, 4096, &text) == 0 && text.data && strstr(text.data, "populated 1");
}

/* Everything of the node at once, as it is without power: nobody can say goodbye. */
static int kill_all(const struct cluster *node, struct err *err)
{
	_cleanup_free_ char *cgroup = cluster_cgroup(node, NULL), *path = str_printf("%s/cgroup.kill", cgroup);
	int64_t deadline = clock_mono_ms() + KILL_TIMEOUT_MS;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && !file_exists(cgroup))
		return 0;
	if (fd < 0 || write(fd, "1", 1) < 0)
		return err_set(err, errno, "cannot kill what runs in %s: %s", cgroup, strerror(errno));
	while (cgroup_populated(cgroup)) {
		if (clock_mono_ms() > deadline)
			return err_set(err, EBUSY, "processes in %s do not end", cgroup);
		nanosleep(&(struct timespec){ .tv_nsec = KILL_POLL_MS * 1000000L }, NULL);
	}
	return 0;
}

/* What a machine keeps in memory only: sockets, pid files, the runtime's state of running containers. */
static int forget_memory(const struct cluster *node, struct err *err)
{
	static const char *const dirs[] = { "run", "containerd/state" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_cleanup_free_ char *path = cluster_path(node, dirs[i]);
		int r = file_rm_rf(path);

		if (r < 0)
			return err_set(err, -r, "cannot remove %s: %s", path, strerror(-r));
	}
	return 0;
}

static int power_off(const struct cluster *c, struct cluster *node, unsigned k, struct err *err)
{
	int r;

	lab_unplug(c, k);
	r = kill_all(node, err);
	/* The namespace must be the node's own before anything is taken away in it. */
	if (r < 0 || (r = cluster_enter_netns(node, err)) < 0 || (r = node_remove(node, true, err)) < 0 ||
	    (r = forget_memory(node, err)) < 0)
		return r;
	json_object_clear(node->sysctls);
	r = cluster_save(node, err);
	lab_detach(c, k);
	return r;
}

static _noreturn_ void power_on(const struct cluster *c, unsigned k)
{
	_cleanup_free_ char *self = str_printf("%s/keelson", c->bin_dir), *state = lab_state(c, k);
	const char *const argv[] = { self, k == 1 ? "up" : "join", "--state", state, NULL };

	execv(self, (char *const *)argv);
	fprintf(stderr, "keelson: cannot run %s: %s\n", self, strerror(errno));
	_exit(127);
}

int command_node(int argc, char **argv)
{
	static const struct option options[] = { { "state", required_argument, NULL, 's' }, { 0 } };
	_cleanup_free_ char *state = mem_strdup(CLUSTER_DEFAULT_STATE);
	_cleanup_(cluster_done) struct cluster c = { 0 }, node = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_close_ int lock = -1;
	unsigned k = 1;

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (o != 's')
			return command_usage("node", "wrong option");
		free(state);
		state = command_absolute(optarg);
	}
	bool stop = optind < argc && str_eq(argv[optind], "stop");

	if (optind + 2 != argc || (!stop && !str_eq(argv[optind], "start")))
		return command_usage("node", "what to do is one of: stop NAME, start NAME");
	int r = command_load_state(state, &c);

	if (r < 0)
		r = command_load_node(state, argv[optind + 1], &node);
	if (r >= 0)
		return r;
	if (!c.lab) {
		err_set(&err, EINVAL, "only a lab's nodes (keelson up --nodes) have power that can be cut");
		return command_fail(&err);
	}
	for (; k < c.lab_nodes; k++) {
		_cleanup_free_ char *dir = lab_state(&c, k);

		if (str_eq(dir, node.state))
			break;
	}
	if (!stop) {
		r = lab_attach(&c, k, &err);
		if (r < 0)
			return command_fail(&err);
		power_on(&c, k);
	}
	if (command_lock(node.state, &lock, &err) < 0 || power_off(&c, &node, k, &err) < 0)
		return command_fail(&err);
	printf("node %s has no power now; keelson node start %s switches it on\n", node.node_name, node.node_name);
	return 0;
}
