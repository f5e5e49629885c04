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

static int print_status(const struct cluster *c, const char *text, size_t len, struct err *err)
{
	_cleanup_json_ json_t *v = json_parse(text, len, NULL, err);
	bool all = true;
	size_t i;
	json_t *d;

	if (!v)
		return 1;
	printf("node %s (%s), state in %s\n\n%-12s %8s %6s %10s %8s  %s\n", c->node_name, c->node_ip, c->state, "DAEMON",
	       "PID", "AGE", "MEMORY", "RESTARTS", "HEALTH");
	json_array_foreach(v, i, d) {
		printf("%-12s %8lld ", json_str_or(d, "name", ""), (long long)json_int(d, "pid", 0));
		print_age((long long)json_int(d, "ageSeconds", 0));
		printf(" %7.1f MB %8lld  %s\n", (double)json_int(d, "rssKiB", 0) / 1024, (long long)json_int(d, "restarts", 0),
		       json_str_or(d, "health", ""));
		all = all && json_bool(d, "healthy", false);
	}
	printf("\nkubeconfig: %s/admin.kubeconfig\n", c->state);
	return all ? 0 : 3;
}

int command_status(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_err_ struct err err = { 0 };
	bool as_json = argc > 1 && str_eq(argv[argc - 1], "--json");
	int r = command_load("status", argc - as_json, argv, &c, NULL);

	if (r >= 0)
		return r;
	r = supervisor_ask(c.state, "status", &text, &err);
	if (r == -ECONNREFUSED) {
		fprintf(stderr, "keelson: the cluster in %s is not running; keelson up starts it\n", c.state);
		return 1;
	}
	if (r < 0)
		return command_fail(&err);
	if (as_json)
		return fputs(text.data, stdout) < 0;
	r = print_status(&c, text.data, text.len, &err);
	return err.code ? command_fail(&err) : r;
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
		return command_usage("logs", "give one daemon: containerd, apiserver, scheduler, controllers, proxy, agent or "
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
	bool stop = argc > 1 && str_eq(argv[argc - 1], "--stop");
	int r = command_load("supervise", argc - stop, argv, &c, NULL);

	if (r >= 0)
		return r;
	log_init("supervisor");
	if (cluster_enter_netns(&c, &err) < 0 || cluster_enter_cgroup(&c, &err) < 0) {
		log_error("%s", err_msg(&err));
		return 1;
	}
	return supervisor_run(&c, stop);
}
