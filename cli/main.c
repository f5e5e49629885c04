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

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/lab.h"
#include "cli/token.h"

enum { NODE_GRACE_MAX_S = 3600 };

static const struct command commands[] = {
	{ "up", "[OPTION...]", "start a cluster on this machine", command_up },
	{ "join", "URL --token T --ca-hash H", "make this machine a further node of a cluster", command_join },
	{ "down", "[--purge]", "stop it and leave no residue; --purge: its data too", command_down },
	{ "status", "[--json]", "show each daemon with its age, memory and health", command_status },
	{ "exec", "[--node NAME] -- COMMAND...", "run a command in a node's network namespace and cgroup", command_exec },
	{ "logs", "[--node NAME] [-f] DAEMON", "print a daemon's log", command_logs },
	{ "trace", "[--node NAME] [EXPRESSION]", "print what Service traffic meets: live packets, backends, verdicts", command_trace },
	{ "token", "create|list|delete ID", "tokens by which machines join; create prints the command", command_token },
	{ "secrets", "status|rotate", "the keys that Secrets are encrypted by in the store; rotate makes a new one", command_secrets },
	{ "backup", "FILE", "save the store and the keys in one file, while the cluster runs", command_backup },
	{ "restore", "FILE [--replace]", "make a state directory from a backup; keelson up goes on from there", command_restore },
	{ "node", "stop|start NAME", "cut the power of a lab's node, and switch it on again", command_node },
	{ "supervise", NULL, NULL, command_supervise },
	{ "renew", NULL, NULL, command_renew },
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

bool command_take_flag(int *argc, char **argv, const char *flag)
{
	for (int i = 1; i < *argc && !str_eq(argv[i], "--"); i++) {
		if (!str_eq(argv[i], flag))
			continue;
		memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof(*argv)); /* the NULL behind them too */
		(*argc)--;
		return true;
	}
	return false;
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

int command_take_state(const struct cluster *c, int *ret_lock, struct err *err)
{
	int r = geteuid() != 0 ? err_set(err, EPERM, "keelson runs as root: network, cgroups and BPF need it") :
				 cluster_check_state(c->state, err);

	if (r < 0)
		return r;
	do {
		r = file_mkdir_p(c->state, 0700);
		if (r < 0)
			return err_set(err, -r, "cannot make %s: %s", c->state, strerror(-r));
		err_done(err);
		r = command_lock(c->state, ret_lock, err);
	} while (r == -ENOENT); /* a `down --purge` has just ended */
	return r;
}

static void set_text(char **p, const char *value)
{
	free(*p);
	*p = mem_strdup(value);
}

int command_node_option(const char *command, int option, const char *value, struct cluster *c)
{
	int64_t seconds;

	switch (option) {
	case 's':
		free(c->state);
		c->state = command_absolute(value);
		return 0;
	case 'n':
		if (!*value || strlen(value) > 64 || strpbrk(value, "/ ") || *value == '.')
			return command_usage(command, "--netns \"%s\" is not a name", value);
		set_text(&c->netns, value);
		return 0;
	case 'N': set_text(&c->node_name, value); return 0;
	case 'i':
		return cluster_set_node_ip(c, value) < 0 ?
			       command_usage(command, "--node-ip \"%s\" is not an address, or one of each family with a comma", value) : 0;
	case 'r':
		if (!str_starts(value, "unix:///"))
			return command_usage(command, "--runtime-endpoint must be unix:///PATH");
		set_text(&c->runtime_endpoint, value);
		return 0;
	case 'g':
		if (token_ttl_parse(value, &seconds) < 0 || seconds < 1 || seconds > NODE_GRACE_MAX_S)
			return command_usage(command, "--node-grace-period \"%s\" is not a time from 1s to 1h", value);
		c->node_grace_s = (unsigned)seconds;
		return 0;
	default:
		if (access(value, R_OK) < 0)
			return command_usage(command, "--image %s cannot be read: %s", value, strerror(errno));
		strlist_take(&c->images, command_absolute(value));
		return 0;
	}
}

int command_load_state(const char *state, struct cluster *ret)
{
	_cleanup_err_ struct err err = { 0 };
	int r = cluster_load(state, ret, &err);

	if (r == -ENOENT) {
		fprintf(stderr, "keelson: no cluster in %s\n", state);
		return 1;
	}
	if (r < 0)
		return command_fail(&err);
	ret->bin_dir = command_bin_dir();
	return -1;
}

int command_load_node(const char *state, const char *name, struct cluster *ret)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_strbuf_ struct strbuf names = { 0 };
	int r = command_load_state(state, &c);

	for (unsigned k = 1; r < 0 && k <= MAX(c.lab_nodes, 1u); k++) {
		_cleanup_free_ char *dir = lab_state(&c, k);
		struct cluster node;

		if (cluster_load(dir, &node, NULL) < 0)
			continue;
		if (str_eq(node.node_name, name)) {
			node.bin_dir = command_bin_dir();
			*ret = node;
			return -1;
		}
		strbuf_addf(&names, "%s%s", names.len ? ", " : "", node.node_name);
		cluster_done(&node);
	}
	if (r >= 0)
		return r;
	fprintf(stderr, "keelson: there is no node %s in %s; there are: %s\n", name, state, names.len ? names.data : "none");
	return 1;
}

int command_load(const char *command, int argc, char **argv, struct cluster *ret, int *ret_rest)
{
	static const struct option options[] = { { "state", required_argument, NULL, 's' },
						 { "node", required_argument, NULL, 'n' }, { 0 } };
	_cleanup_free_ char *state = mem_strdup(CLUSTER_DEFAULT_STATE);
	const char *node = NULL;

	for (int o; (o = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
		if (o != 's' && (o != 'n' || !ret_rest))
			return command_usage(command, "wrong option");
		if (o == 'n') {
			node = optarg;
			continue;
		}
		free(state);
		state = command_absolute(optarg);
	}
	if (!ret_rest && optind < argc)
		return command_usage(command, "unexpected argument \"%s\"", argv[optind]);
	if (ret_rest)
		*ret_rest = optind;
	return node ? command_load_node(state, node, ret) : command_load_state(state, ret);
}

static int help(void)
{
	puts("keelson: a Kubernetes-compatible cluster whose service network lives in the kernel\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].summary)
			printf("  keelson %-7s%-30s %s\n", commands[i].name, commands[i].arguments, commands[i].summary);
	puts("  keelson version                               print the version\n\n"
	     "All take --state DIR (default " CLUSTER_DEFAULT_STATE ").\n"
	     "Options of up and join: --netns NAME, --node-name NAME, --node-ip IP[,IP], --runtime-endpoint unix:///PATH,\n"
	     "  --image ARCHIVE (repeatable: an image archive to load), --node-grace-period TIME.\n"
	     "Options of up: --service-cidr CIDR[,CIDR], --cluster-cidr CIDR[,CIDR], --cluster-domain NAME,\n"
	     "  --pod-network auto|vxlan|direct|none, --tls-san NAME (repeatable: how else the API server is reached);\n"
	     "  --store embedded|etcd, of somebody else: --etcd-servers https://IP:PORT,.. --etcd-cafile F --etcd-certfile F\n"
	     "  --etcd-keyfile F --etcd-prefix /registry;\n"
	     "  a lab of several nodes on this machine: --nodes N, --segments M.\n"
	     "Options of token create: --ttl 24h, --description TEXT, --print-token. See keelson(8).");
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
