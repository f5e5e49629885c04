/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keelson: starts, stops and looks at a node. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"

static const struct command commands[] = {
	{ "up", "[OPTION...]", "start a one-node cluster on this machine", command_up },
	{ "down", "[--state DIR] [--purge]", "stop it and leave no residue; --purge: its data too", command_down },
	{ "status", "[--state DIR] [--json]", "show each daemon with its age, memory and health", command_status },
	{ "exec", "[--state DIR] -- COMMAND...", "run a command in the node's network namespace and cgroup", command_exec },
	{ "logs", "[--state DIR] [-f] DAEMON", "print a daemon's log", command_logs },
	{ "supervise", NULL, NULL, command_supervise },
};

int command_usage(const char *command, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	fprintf(stderr, "keelson %s: %s (see keelson --help)\n", command, b.data);
	return 2;
}

int command_fail(const struct err *err)
{
	fprintf(stderr, "keelson: %s\n", err_msg(err));
	return 1;
}

char *command_absolute(const char *path)
{
	char cwd[PATH_MAX];

	if (path[0] == '/' || !getcwd(cwd, sizeof(cwd)))
		return mem_strdup(path);
	return str_printf("%s/%s", cwd, path);
}

char *command_bin_dir(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	BUG_ON(n <= 0);
	path[n] = '\0';
	*strrchr(path, '/') = '\0';
	return mem_strdup(path);
}

int command_load(const char *command, int argc, char **argv, struct cluster *ret, int *ret_rest)
{
	static const struct option options[] = { { "state", required_argument, NULL, 's' }, { 0 } };
	_cleanup_free_ char *state = mem_strdup(CLUSTER_DEFAULT_STATE);
	_cleanup_err_ struct err err = { 0 };

	for (int o; (o = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
		if (o != 's')
			return command_usage(command, "wrong option");
		free(state);
		state = command_absolute(optarg);
	}
	if (!ret_rest && optind < argc)
		return command_usage(command, "unexpected argument \"%s\"", argv[optind]);
	int r = cluster_load(state, ret, &err);

	if (r == -ENOENT) {
		fprintf(stderr, "keelson: no cluster in %s\n", state);
		return 1;
	}
	if (r < 0)
		return command_fail(&err);
	ret->bin_dir = command_bin_dir();
	if (ret_rest)
		*ret_rest = optind;
	return -1;
}

static int help(void)
{
	puts("keelson: a Kubernetes-compatible cluster whose service network lives in the kernel\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].summary)
			printf("  keelson %-7s%-30s %s\n", commands[i].name, commands[i].arguments, commands[i].summary);
	puts("  keelson version                               print the version\n\n"
	     "Options of up: --state DIR (default " CLUSTER_DEFAULT_STATE "), --netns NAME, --node-name NAME, --node-ip IP,\n"
	     "  --service-cidr CIDR, --cluster-cidr CIDR, --cluster-domain NAME, --runtime-endpoint unix:///PATH,\n"
	     "  --image ARCHIVE (repeatable: an image archive to load). See keelson(8).");
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "--help";

	log_init("keelson");
	if (str_eq(name, "--help") || str_eq(name, "-h") || str_eq(name, "help"))
		return help();
	if (str_eq(name, "version") || str_eq(name, "--version")) {
		puts("keelson " KEELSON_VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (str_eq(commands[i].name, name))
			return commands[i].run(argc - 1, argv + 1);
	return command_usage("", "there is no command \"%s\"", name);
}
