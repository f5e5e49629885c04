/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keelson: starts, stops and looks at a node. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
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
	fprintf(stderr, "keelson%s%s: %s (see keelson --help)\n", *command ? " " : "", command, b.data);
	return 2;
}

int command_fail(const struct err *err)
{
	fprintf(stderr, "keelson: %s\n", err_msg(err));
	return 1;
}

char *command_absolute(const char *path)
{
	_cleanup_free_ char *real = realpath(path, NULL), *head = NULL, *parent = NULL;

	if (real)
		return TAKE(real);
	/* The part that exists is resolved, the rest appended. */
	head = mem_strdup(path);
	for (size_t n = strlen(head); n > 1 && head[n - 1] == '/'; n--)
		head[n - 1] = '\0';
	char *slash = strrchr(head, '/');
	const char *last = slash ? slash + 1 : head;

	if (!*last)
		return mem_strdup("/");
	if (slash)
		*slash = '\0';
	parent = command_absolute(!slash ? "." : *head ? head : "/");
	return str_printf("%s/%s", str_eq(parent, "/") ? "" : parent, last);
}

int command_lock(const char *state, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", state, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		fprintf(stderr, "keelson: another keelson up or down is at work in %s; waiting for it\n", state);
		while (flock(fd, LOCK_EX) < 0)
			if (errno != EINTR)
				return err_set(err, errno, "cannot lock %s: %s", state, strerror(errno));
	}
	if (fstat(fd, &st) == 0 && st.st_nlink == 0)
		return err_set(err, ENOENT, "%s was removed meanwhile", state);
	*ret_fd = fd;
	fd = -1;
	return 0;
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
	if (argc > 2 && str_eq(argv[2], "--help"))
		return help();
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (str_eq(commands[i].name, name))
			return commands[i].run(argc - 1, argv + 1);
	return command_usage("", "there is no command \"%s\"", name);
}
