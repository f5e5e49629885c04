/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that look at a node or run something in it: status, exec, logs; and the hidden supervise. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/lab.h"
#include "cli/supervisor.h"

static void print_age(long long s)
{
	if (s < 120)
		printf("%5llds", s);
	else if (s < 7200)
		printf("%5lldm", s / 60);
	else if (s < 172800)
		printf("%5lldh", s / 3600);
	else
		printf("%5lldd", s / 86400);
}

/* What the node's supervisor says of its daemons, each entry with the node's name. A node that does not run has one entry,
 * its supervisor's. Own. */
static json_t *node_status(const struct cluster *c, bool *ret_runs, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	int r = supervisor_ask(c->state, "status", &text, err);
	json_t *v, *d;
	size_t i;

	*ret_runs = r == 0;
	if (r < 0 && r != -ECONNREFUSED)
		return NULL;
	if (r < 0)
		return json_pack("[{s:s,s:s,s:i,s:b,s:s}]", "node", c->node_name, "name", "supervisor", "pid", 0, "healthy", 0, "health",
				 "not running");
	v = json_parse(text.data, text.len, NULL, err);
	json_array_foreach(v, i, d)
		json_object_set_new(d, "node", json_string(c->node_name));
	return v;
}

/* True when all of it is healthy. */
static bool print_status(const struct cluster *c, const json_t *v)
{
	bool all = true;
	json_t *d;
	size_t i;

	printf("node %s (%s%s%s), state in %s\n\n%-12s %8s %6s %10s %8s  %s\n", c->node_name, c->node_ip, c->node_ip2 ? ", " : "",
	       c->node_ip2 ? c->node_ip2 : "", c->state, "DAEMON", "PID", "AGE", "MEMORY", "RESTARTS", "HEALTH");
	json_array_foreach(v, i, d) {
		printf("%-12s %8lld ", json_str_or(d, "name", ""), (long long)json_int(d, "pid", 0));
		print_age((long long)json_int(d, "ageSeconds", 0));
		printf(" %7.1f MB %8lld  %s\n", (double)json_int(d, "rssKiB", 0) / 1024, (long long)json_int(d, "restarts", 0),
		       json_str_or(d, "health", ""));
		all = all && json_bool(d, "healthy", false);
	}
	puts("");
	return all;
}

/* A lab's nodes in their order; without a lab, the node itself. One that was never made is left out. */
static int each_node(const struct cluster *c, json_t *all, bool as_json, bool *ret_healthy, unsigned *ret_running, struct err *err)
{
	for (unsigned k = 1; k <= MAX(c->lab_nodes, 1u); k++) {
		_cleanup_free_ char *dir = lab_state(c, k);
		_cleanup_(cluster_done) struct cluster node = { 0 };
		bool runs;

		if (cluster_load(dir, &node, NULL) < 0) {
			*ret_healthy = false;
			continue;
		}
		_cleanup_json_ json_t *v = node_status(&node, &runs, err);

		if (!v)
			return -EIO;
		*ret_running += runs;
		if (!as_json)
			*ret_healthy = print_status(&node, v) && *ret_healthy;
		json_array_extend(all, v);
	}
	return 0;
}

int command_status(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_json_ json_t *all = json_array();
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_err_ struct err err = { 0 };
	bool as_json = command_take_flag(&argc, argv, "--json"), healthy = true;
	unsigned running = 0;
	int r = command_load("status", argc, argv, &c, NULL);

	if (r >= 0)
		return r;
	if (!c.lab && supervisor_ask(c.state, "status", &text, NULL) == -ECONNREFUSED) {
		fprintf(stderr, "keelson: the %s in %s is not running; keelson %s starts it\n", c.server ? "node" : "cluster", c.state,
			c.server ? "join" : "up");
		return 1;
	}
	if (each_node(&c, all, as_json, &healthy, &running, &err) < 0)
		return command_fail(&err);
	if (as_json) {
		strbuf_reset(&text);
		json_write(&text, all);
		return puts(text.data) < 0;
	}
	if (!c.server)
		printf("kubeconfig: %s/admin.kubeconfig\n", c.state);
	if (!running) {
		fprintf(stderr, "keelson: the lab in %s is not running; keelson up starts it\n", c.state);
		return 1;
	}
	return healthy ? 0 : 3;
}

int command_exec(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_err_ struct err err = { 0 };
	int rest, r = command_load("exec", argc, argv, &c, &rest);

	if (r >= 0)
		return r;
	if (rest >= argc)
		return command_usage("exec", "no command was given");
	if (cluster_enter_netns(&c, &err) < 0 || cluster_enter_cgroup(&c, &err) < 0)
		return command_fail(&err);
	execvp(argv[rest], argv + rest);
	fprintf(stderr, "keelson: cannot run %s: %s\n", argv[rest], strerror(errno));
	return 127;
}

int command_logs(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	int rest, r = command_load("logs", argc, argv, &c, &rest);

	if (r >= 0)
		return r;
	bool follow = rest < argc && str_eq(argv[rest], "-f");
	const char *name = argv[rest + follow];

	if (!name || strchr(name, '/') || rest + follow + 1 < argc)
		return command_usage("logs", "give one daemon: containerd, etcd, apiserver, scheduler, controllers, proxy, agent or "
					     "supervisor");
	_cleanup_free_ char *path = str_printf("%s/logs/%s.log", c.state, name);

	if (!file_exists(path)) {
		fprintf(stderr, "keelson: there is no log %s\n", path);
		return 1;
	}
	execlp("tail", "tail", "-n", follow ? "50" : "+1", follow ? "-F" : path, follow ? path : NULL, NULL);
	fprintf(stderr, "keelson: cannot run tail: %s\n", strerror(errno));
	return 127;
}

int command_supervise(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_err_ struct err err = { 0 };
	bool stop = command_take_flag(&argc, argv, "--stop");
	int r = command_load("supervise", argc, argv, &c, NULL);

	if (r >= 0)
		return r;
	log_init("supervisor");
	if (cluster_enter_netns(&c, &err) < 0 || cluster_enter_cgroup(&c, &err) < 0) {
		log_error("%s", err_msg(&err));
		return 1;
	}
	return supervisor_run(&c, stop);
}
