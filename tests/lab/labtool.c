/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The light lab for scripts.
 *   labtool up DIR NODES PODS [tunnel]     makes a lab that stays; its namespaces are called kt-lab-PID-..., the prefix is
 *                                          printed. DIR must be new or empty
 *   labtool down DIR                       takes it away again, with every process in its cgroups
 *   labtool run DIR PLACE COMMAND...       n1 a node, p2/1 a pod, c1 a client, net the underlay: in namespace and cgroup
 *   labtool nodes DIR                      writes Node objects into DIR/m/nodes.json
 *   labtool proxy DIR NODE PROXY [OPTION...]  becomes the node's keelson-proxy
 * and, wherever it runs, the lab's servers and clients:
 *   labtool serve NAME PORT                until it is killed
 *   labtool ask tcp|udp|udpc ADDR PORT [COUNT [BYTES]]   a line for each: "NAME saw CLIENT:PORT, answered as ADDR:PORT" or an errno
 *   labtool flow tcp|udp|udpc ADDR PORT [RATE]   one socket, RATE questions a second (1000) until standard input ends; then
 *                                          "sent N answered N errors N servers N"
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/lab/talk.h"

static int fail(struct err *err)
{
	fprintf(stderr, "labtool: %s\n", err_msg(err));
	return 1;
}

/* DIR/lab keeps "ID NODES PODS TUNNEL". keep: lab_free() leaves it there. */
static struct lab *open_lab(const char *dir, bool keep, struct err *err)
{
	static char id[64];
	_cleanup_free_ char *path = str_printf("%s/lab", dir);
	_cleanup_strbuf_ struct strbuf b = { 0 };
	struct lab_options o = { .name = id, .dir = dir, .keep = keep };
	int tunnel;
	if (file_read(path, 4096, &b) < 0 || !b.data || sscanf(b.data, "%63s %u %u %d", id, &o.nodes, &o.pods, &tunnel) != 4) {
		err_set(err, ENOENT, "no lab in %s", dir);
		return NULL;
	}
	o.tunnel = tunnel;
	return lab_open(&o, err);
}

static int up(const char *dir, const char *nodes, const char *pods, bool tunnel)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *id = str_printf("kt-lab-%d", getpid()), *path = str_printf("%s/lab", dir);
	uint64_t n, p;
	if (str_to_u64(nodes, LAB_NODES_MAX, &n) < 0 || n == 0 || str_to_u64(pods, LAB_PODS_MAX, &p) < 0)
		return err_set(&err, EINVAL, "at most %d nodes with %d pods each", LAB_NODES_MAX, LAB_PODS_MAX), fail(&err);
	struct lab_options o = { .name = id, .dir = dir, .nodes = (unsigned)n, .pods = (unsigned)p, .tunnel = tunnel, .keep = true };
	struct lab *l = lab_new(&o, &err);
	if (!l)
		return fail(&err);
	_cleanup_free_ char *text = str_printf("%s %u %u %d\n", id, o.nodes, o.pods, tunnel);
	file_write_atomic(path, text, strlen(text), 0644);
	printf("%s\n", id);
	lab_free(l);
	return 0;
}

static void kill_all(const char *cgroup)
{
	_cleanup_free_ char *path = str_printf("%s/cgroup.procs", cgroup);
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_strlist_ struct strlist pids = { 0 };
	file_read(path, 1 << 20, &b);
	strlist_split(&pids, b.data ? b.data : "", '\n');
	for (size_t i = 0; i < pids.count; i++)
		kill(atoi(pids.items[i]), SIGKILL);
}

static int down(const char *dir)
{
	_cleanup_err_ struct err err = { 0 };
	struct lab *l = open_lab(dir, false, &err);
	if (!l)
		return fail(&err);
	for (unsigned k = 1; lab_cgroup(l, k); k++)
		kill_all(lab_cgroup(l, k));
	lab_free(l);
	return 0;
}

static int place_parse(const char *s, struct lab_place *ret)
{
	unsigned a = 0, b = 0;
	char c, end;
	if (str_eq(s, "net"))
		*ret = (struct lab_place){ LAB_UNDERLAY, 0, 0 };
	else if (sscanf(s, "p%u/%u%c", &a, &b, &end) == 2 && a && b && a <= LAB_NODES_MAX && b <= LAB_PODS_MAX)
		*ret = lab_pod(a, b);
	else if (sscanf(s, "%c%u%c", &c, &a, &end) == 2 && (c == 'n' || c == 'c') && a && a <= LAB_NODES_MAX)
		*ret = c == 'n' ? lab_node(a) : lab_client(a);
	else
		return -EINVAL;
	return 0;
}

static int run(const char *dir, const char *where, char **argv)
{
	_cleanup_err_ struct err err = { 0 };
	struct lab_place at;
	if (place_parse(where, &at) < 0)
		return err_set(&err, EINVAL, "%s is no place: n1, p2/1, c1 or net", where), fail(&err);
	struct lab *l = open_lab(dir, true, &err);
	if (!l)
		return fail(&err);
	int r = lab_become(l, at);
	if (r < 0) {
		err_set(&err, -r, "going to %s: %s", where, strerror(-r));
	} else {
		execvp(argv[0], argv);
		err_set(&err, errno, "%s: %s", argv[0], strerror(errno));
	}
	lab_free(l);
	return fail(&err);
}

static int proxy(const char *dir, const char *node, const char *program, char **more, int count)
{
	_cleanup_err_ struct err err = { 0 };
	struct lab_place at;
	if (place_parse(node, &at) < 0 || at.kind != LAB_NODE)
		return err_set(&err, EINVAL, "%s is no node", node), fail(&err);
	struct lab *l = open_lab(dir, true, &err);
	if (!l)
		return fail(&err);
	/* Not into the cgroup: the daemon's own sockets are no business of the hooks. */
	lab_enter(l, at);
	lab_proxy_exec(l, at.node, program, (const char *const *)more, (size_t)count, &err);
	lab_free(l);
	return fail(&err);
}

static int write_nodes(const char *dir)
{
	_cleanup_err_ struct err err = { 0 };
	struct lab *l = open_lab(dir, true, &err);
	if (!l)
		return fail(&err);
	lab_write_nodes(l);
	lab_free(l);
	return 0;
}

static int kind_parse(const char *s, enum talk_kind *ret)
{
	if (!str_eq(s, "tcp") && !str_eq(s, "udp") && !str_eq(s, "udpc"))
		return -EINVAL;
	*ret = str_eq(s, "tcp") ? TALK_TCP : str_eq(s, "udp") ? TALK_UDP : TALK_UDP_CONNECTED;
	return 0;
}

static int target_parse(char **argv, enum talk_kind *kind, struct ip_addr *to, uint16_t *port)
{
	uint64_t p;
	if (kind_parse(argv[0], kind) < 0 || ip_parse(argv[1], to) < 0 || str_to_u64(argv[2], 65535, &p) < 0) {
		fprintf(stderr, "labtool: %s %s %s: not a kind, an address and a port\n", argv[0], argv[1], argv[2]);
		return -EINVAL;
	}
	*port = (uint16_t)p;
	return 0;
}

static int ask(char **argv, int argc)
{
	static const struct lab_place here;
	enum talk_kind kind;
	struct ip_addr to;
	uint16_t port;
	char text[160];
	int bad = 0, count = argc > 3 ? atoi(argv[3]) : 1, bytes = argc > 4 ? atoi(argv[4]) : 64;
	if (target_parse(argv, &kind, &to, &port) < 0)
		return 2;
	struct talk *t = talk_new(NULL);
	for (int i = 0; i < count; i++) {
		struct talk_answer a = { 0 };
		struct talk_client *c = talk_open(t, here, kind, &to, port, 0, 2000, &a.error);
		if (c)
			talk_ask(t, c, (size_t)MAX(bytes, 16), 2000, &a);
		talk_close(t, c);
		printf("%s\n", talk_text(&a, text));
		bad |= a.error != 0;
	}
	talk_free(t);
	return bad;
}

static int flow(char **argv, int argc)
{
	static const struct lab_place here;
	enum talk_kind kind;
	struct ip_addr to;
	uint16_t port;
	int error, rate = argc > 3 ? atoi(argv[3]) : 1000;
	if (target_parse(argv, &kind, &to, &port) < 0 || rate <= 0)
		return 2;
	struct talk *t = talk_new(NULL);
	struct talk_client *c = talk_open(t, here, kind, &to, port, 0, 5000, &error);
	if (!c) {
		printf("%s\n", strerrorname_np(error));
		talk_free(t);
		return 1;
	}
	int64_t begin = clock_mono_ns();
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char byte;
	for (uint64_t i = 1; poll(&in, 1, 0) == 0 || read(0, &byte, 1) > 0; i++) {
		talk_send(t, c);
		int64_t left = begin + (int64_t)i * 1000000000 / rate - clock_mono_ns();
		talk_run(t, left > 0 ? (int)(left / 1000000) : 0);
	}
	talk_settle(t, c, 2000);
	struct talk_count n = talk_counted(c);
	printf("sent %llu answered %llu errors %llu servers %u\n", (unsigned long long)n.sent, (unsigned long long)n.answered,
	       (unsigned long long)n.errors, talk_changes(c));
	talk_close(t, c);
	talk_free(t);
	return n.answered != n.sent || n.errors;
}

static int serve(const char *name, const char *port)
{
	static const struct lab_place here;
	uint64_t p;
	if (str_to_u64(port, 65535, &p) < 0)
		return 1;
	struct talk *t = talk_new(NULL);
	if (talk_serve(t, here, (uint16_t)p, name) < 0) {
		talk_free(t);
		return 1;
	}
	for (;;)
		talk_run(t, 1000);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	signal(SIGPIPE, SIG_IGN);
	if (str_eq(verb, "up") && (argc == 5 || (argc == 6 && str_eq(argv[5], "tunnel"))))
		return up(argv[2], argv[3], argv[4], argc == 6);
	if (str_eq(verb, "down") && argc == 3)
		return down(argv[2]);
	if (str_eq(verb, "run") && argc >= 5)
		return run(argv[2], argv[3], argv + 4);
	if (str_eq(verb, "nodes") && argc == 3)
		return write_nodes(argv[2]);
	if (str_eq(verb, "proxy") && argc >= 5)
		return proxy(argv[2], argv[3], argv[4], argv + 5, argc - 5);
	if (str_eq(verb, "serve") && argc == 4)
		return serve(argv[2], argv[3]);
	if (str_eq(verb, "ask") && argc >= 5)
		return ask(argv + 2, argc - 2);
	if (str_eq(verb, "flow") && argc >= 5)
		return flow(argv + 2, argc - 2);
	fputs("usage: labtool up|down|run|nodes|proxy|serve|ask|flow ... (see tests/lab/labtool.c)\n", stderr);
	return 2;
}
