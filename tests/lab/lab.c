/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a lab is made of and how it goes away again. Namespaces are made by `ip netns`, links by one `ip -batch` a
 * namespace, all of them at once; that is most of the time a lab takes to set up.
 */
#include "tests/lab/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

enum { PLACES_MAX = 1 + LAB_NODES_MAX * (2 + LAB_PODS_MAX), READY_MS = 20000 };

struct lab_nodes {
	char *cgroup, *pins;
	int helper;      /* its socket */
	pid_t helper_pid, proxy_pid;
};
struct lab {
	struct lab_options o;
	char *id, *dir, *manifests, *cgroup;
	bool own_dir, mounted;
	int home_ns;
	int ns[PLACES_MAX];
	struct lab_nodes nodes[LAB_NODES_MAX + 1];
};

static int place_index(struct lab_place at)
{
	switch (at.kind) {
	case LAB_UNDERLAY:
		return 0;
	case LAB_CLIENT:
		return at.node;
	case LAB_NODE:
		return LAB_NODES_MAX + at.node;
	default:
		return 1 + 2 * LAB_NODES_MAX + (at.node - 1) * LAB_PODS_MAX + (at.pod - 1);
	}
}

/* Calls fn for each place of the lab. */
static int each_place(struct lab *l, int (*fn)(struct lab *l, struct lab_place at, void *user), void *user)
{
	int r = fn(l, (struct lab_place){ LAB_UNDERLAY, 0, 0 }, user);
	for (unsigned k = 1; k <= l->o.nodes && r == 0; k++) {
		r = fn(l, lab_node(k), user);
		if (r == 0)
			r = fn(l, lab_client(k), user);
		for (unsigned i = 1; i <= l->o.pods && r == 0; i++)
			r = fn(l, lab_pod(k, i), user);
	}
	return r;
}

const char *lab_dir(const struct lab *l)
{
	return l->dir;
}

const char *lab_id(const struct lab *l)
{
	return l->id;
}

const char *lab_manifests(const struct lab *l)
{
	return l->manifests;
}

const char *lab_cgroup(const struct lab *l, unsigned node)
{
	return l->nodes[node].cgroup;
}

const char *lab_pins(const struct lab *l, unsigned node)
{
	return l->nodes[node].pins;
}

const char *lab_ns_name(const struct lab *l, struct lab_place at, char out[static 64])
{
	if (at.kind == LAB_UNDERLAY)
		snprintf(out, 64, "%s-net", l->id);
	else if (at.kind == LAB_POD)
		snprintf(out, 64, "%s-p%u-%u", l->id, at.node, at.pod);
	else
		snprintf(out, 64, "%s-%c%u", l->id, at.kind == LAB_NODE ? 'n' : 'c', at.node);
	return out;
}

int lab_ns(const struct lab *l, struct lab_place at)
{
	return l->ns[place_index(at)];
}

void lab_enter(const struct lab *l, struct lab_place at)
{
	BUG_ON(setns(lab_ns(l, at), CLONE_NEWNET) < 0);
}

void lab_leave(const struct lab *l)
{
	BUG_ON(setns(l->home_ns, CLONE_NEWNET) < 0);
}

static struct ip_addr address(int family, const char *v4, const char *v6, unsigned a, unsigned b)
{
	char text[64];
	struct ip_addr r;
	snprintf(text, sizeof(text), family == AF_INET ? v4 : v6, a, b);
	BUG_ON(ip_parse(text, &r) < 0);
	return r;
}

/* The formats are literals of this file. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
struct ip_addr lab_addr(struct lab_place at, int family)
{
	switch (at.kind) {
	case LAB_NODE:
		return address(family, "192.168.50.%u", "fd00:50::%u", at.node, 0);
	case LAB_CLIENT:
		return family == AF_INET ? address(family, "192.168.50.%u", NULL, 200u + at.node, 0) :
					   address(family, NULL, "fd00:50::c:%u", at.node, 0);
	case LAB_POD:
		return address(family, "10.244.%u.%u", "fd00:10:244:%u::%u", at.node, 10u + at.pod);
	default:
		return address(family, "192.168.50.254", "fd00:50::254", 0, 0);
	}
}

struct ip_addr lab_second_addr(unsigned node, int family)
{
	return address(family, "192.168.51.%u", "fd00:51::%u", node, 0);
}

struct ip_addr lab_service_addr(unsigned n, int family)
{
	return family == AF_INET ? address(family, "10.96.%u.%u", NULL, n >> 8, n & 255) :
				   address(family, NULL, "fd00:10:96::%x", n, 0);
}

struct ip_addr lab_balancer_addr(unsigned n, int family)
{
	return address(family, "203.0.113.%u", "2001:db8:113::%u", n, 0);
}

struct ip_addr lab_external_addr(unsigned n, int family)
{
	return address(family, "198.51.100.%u", "2001:db8:100::%u", n, 0);
}

struct ip_addr lab_tunnel_addr(unsigned node, int family)
{
	return address(family, "10.244.%u.0", "fd00:10:244:%u::", node, 0);
}

/* --- processes --- */

static pid_t spawn(const char *const *argv, int in, int out, int ns)
{
	pid_t pid = fork();
	BUG_ON(pid < 0);
	if (pid)
		return pid;
	if (ns >= 0)
		setns(ns, CLONE_NEWNET);
	if (in >= 0)
		dup2(in, 0);
	if (out >= 0) {
		dup2(out, 1);
		dup2(out, 2);
	}
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* Starts `ip [-n NS] -batch -` with the text as its input. */
static pid_t ip_start(const char *ns, const char *batch)
{
	int p[2];
	BUG_ON(pipe2(p, O_CLOEXEC) < 0);
	/* Long texts wait for the reader, so it is started first. */
	const char *in_ns[] = { "ip", "-n", ns, "-batch", "-", NULL }, *here[] = { "ip", "-batch", "-", NULL };
	pid_t pid = spawn(ns ? in_ns : here, p[0], -1, -1);
	close(p[0]);
	size_t left = strlen(batch);
	for (ssize_t n; left && (n = write(p[1], batch, left)) > 0; batch += n)
		left -= (size_t)n;
	close(p[1]);
	return pid;
}

int lab_ip(struct lab *l, struct lab_place at, const char *batch)
{
	char ns[64];
	return wait_for(ip_start(lab_ns_name(l, at, ns), batch));
}

/* --- namespaces and links --- */

static int add_name(struct lab *l, struct lab_place at, void *user)
{
	char name[64];
	strbuf_addf(user, "netns add %s\n", lab_ns_name(l, at, name));
	return 0;
}

static int del_name(struct lab *l, struct lab_place at, void *user)
{
	char name[64];
	close(l->ns[place_index(at)]);
	strbuf_addf(user, "netns del %s\n", lab_ns_name(l, at, name));
	return 0;
}

static void sysctl_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* a kernel without IPv6 has none of those */
	if (write(fd, value, strlen(value)) < 0)
		fprintf(stderr, "lab: %s: %s\n", path, strerror(errno));
	close(fd);
}

/* Before any link is there: forwarding, no duplicate address detection, no filters on the way back. */
static int open_place(struct lab *l, struct lab_place at, void *user)
{
	char name[64];
	(void)user;
	_cleanup_free_ char *path = str_printf("/run/netns/%s", lab_ns_name(l, at, name));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	l->ns[place_index(at)] = fd;
	lab_enter(l, at);
	sysctl_write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
	sysctl_write("/proc/sys/net/ipv6/conf/all/accept_dad", "0");
	sysctl_write("/proc/sys/net/ipv6/conf/default/dad_transmits", "0");
	sysctl_write("/proc/sys/net/ipv6/conf/default/router_solicitations", "0");
	sysctl_write("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
	sysctl_write("/proc/sys/net/ipv4/conf/default/rp_filter", "0");
	sysctl_write("/proc/sys/net/ipv4/icmp_ratelimit", "0");
	sysctl_write("/proc/sys/net/ipv6/icmp/ratelimit", "0");
	sysctl_write("/proc/sys/net/ipv4/icmp_msgs_per_sec", "1000000");
	sysctl_write("/proc/sys/net/ipv4/icmp_msgs_burst", "1000000");
	if (at.kind == LAB_NODE) {
		sysctl_write("/proc/sys/net/ipv4/ip_forward", "1");
		sysctl_write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	}
	lab_leave(l);
	return 0;
}

static void addf(struct strbuf *b, const char *fmt, struct ip_addr a)
{
	char text[IP_ADDR_TEXT_SIZE];
	strbuf_addf(b, fmt, ip_format(&a, text));
}

/* Ranges that only exist inside the lab end here, whatever else the routes say. */
static void add_blackholes(struct strbuf *b)
{
	strbuf_adds(b, "route add blackhole 10.96.0.0/12 metric 4294967295\n"
		       "route add blackhole 10.244.0.0/16 metric 4294967295\n"
		       "route add blackhole fd00:10:96::/112 metric 4294967295\n"
		       "route add blackhole fd00:10:244::/48 metric 4294967295\n");
}

static void node_text(struct lab *l, struct strbuf *b, unsigned k)
{
	add_blackholes(b);
	strbuf_adds(b, "link set lo up\n");
	addf(b, "addr add %s/24 dev eth0\n", lab_addr(lab_node(k), AF_INET));
	addf(b, "addr add %s/64 dev eth0 nodad\n", lab_addr(lab_node(k), AF_INET6));
	addf(b, "addr add %s/24 dev eth0\n", lab_second_addr(k, AF_INET));
	addf(b, "addr add %s/64 dev eth0 nodad\n", lab_second_addr(k, AF_INET6));
	strbuf_addf(b, "link set eth0 up\nlink add kl0 type bridge\naddr add 10.244.%u.1/24 dev kl0\n"
		       "addr add fd00:10:244:%u::1/64 dev kl0 nodad\nlink set kl0 up\n", k, k);
	for (unsigned i = 1; i <= l->o.pods; i++)
		strbuf_addf(b, "link add klp%u type veth peer name eth0 netns %s-p%u-%u\nlink set klp%u master kl0 up\n"
			       "link set klp%u type bridge_slave hairpin on\n", i, l->id, k, i, i, i);
	for (unsigned j = 1; j <= l->o.nodes && !l->o.tunnel; j++) {
		if (j == k)
			continue;
		strbuf_addf(b, "route add 10.244.%u.0/24 via 192.168.50.%u\nroute add fd00:10:244:%u::/64 via fd00:50::%u\n", j,
			    j, j, j);
	}
}

static void pod_text(struct strbuf *b, unsigned k, unsigned i)
{
	strbuf_adds(b, "link set lo up\n");
	addf(b, "addr add %s/24 dev eth0\n", lab_addr(lab_pod(k, i), AF_INET));
	addf(b, "addr add %s/64 dev eth0 nodad\n", lab_addr(lab_pod(k, i), AF_INET6));
	strbuf_addf(b, "link set eth0 up\nroute add default via 10.244.%u.1\nroute add default via fd00:10:244:%u::1\n", k, k);
}

static void client_text(struct strbuf *b, unsigned k)
{
	add_blackholes(b);
	strbuf_adds(b, "link set lo up\n");
	addf(b, "addr add %s/24 dev eth0\n", lab_addr(lab_client(k), AF_INET));
	addf(b, "addr add %s/64 dev eth0 nodad\n", lab_addr(lab_client(k), AF_INET6));
	strbuf_addf(b, "link set eth0 up\nroute add default via 192.168.50.%u\nroute add default via fd00:50::%u\n"
		       "route add 10.96.0.0/12 via 192.168.50.%u\nroute add fd00:10:96::/112 via fd00:50::%u\n"
		       "route add 10.244.0.0/16 via 192.168.50.%u\nroute add fd00:10:244::/48 via fd00:50::%u\n", k, k, k, k, k, k);
}

static void underlay_text(struct lab *l, struct strbuf *b)
{
	strbuf_adds(b, "link set lo up\nlink add ul0 type bridge\nlink set ul0 up\n");
	add_blackholes(b);
	for (unsigned k = 1; k <= l->o.nodes; k++)
		for (const char *c = "nc"; *c; c++)
			strbuf_addf(b, "link add ul%c%u type veth peer name eth0 netns %s-%c%u\nlink set ul%c%u master ul0 up\n", *c, k,
				    l->id, *c, k, *c, k);
}

/* Each level of links needs the one before: the underlay makes the nodes' eth0, nodes make the pods'. */
static int link_up(struct lab *l)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	pid_t pids[LAB_NODES_MAX * (2 + LAB_PODS_MAX)];
	size_t n = 0;
	int r = 0;
	char ns[64];
	underlay_text(l, &b);
	r = lab_ip(l, (struct lab_place){ LAB_UNDERLAY, 0, 0 }, b.data);
	for (unsigned k = 1; k <= l->o.nodes && r == 0; k++) {
		strbuf_reset(&b);
		node_text(l, &b, k);
		pids[n++] = ip_start(lab_ns_name(l, lab_node(k), ns), b.data);
		strbuf_reset(&b);
		client_text(&b, k);
		pids[n++] = ip_start(lab_ns_name(l, lab_client(k), ns), b.data);
	}
	while (n)
		r |= wait_for(pids[--n]);
	for (unsigned k = 1; k <= l->o.nodes && r == 0; k++)
		for (unsigned i = 1; i <= l->o.pods; i++) {
			strbuf_reset(&b);
			pod_text(&b, k, i);
			pids[n++] = ip_start(lab_ns_name(l, lab_pod(k, i), ns), b.data);
		}
	while (n)
		r |= wait_for(pids[--n]);
	return r;
}

/* A veth sends frames of XDP when its peer has a program; and nobody may leave checksums to a card that is not there. */
static int xdp_up(struct lab *l)
{
	static const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS }, { .code = BPF_JMP | BPF_EXIT },
	};
	struct ethtool_value off = { .cmd = ETHTOOL_STXCSUM };
	int r = 0;
	_cleanup_close_ int prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "lab_pass", "GPL", pass, ARRAY_SIZE(pass), NULL);
	for (unsigned k = 1; k <= l->o.nodes; k++) {
		const struct lab_place ends[] = { lab_node(k), lab_client(k) };
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
			struct ifreq q = { .ifr_name = "eth0", .ifr_data = (char *)&off };
			lab_enter(l, ends[i]);
			int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
			r |= ioctl(fd, SIOCETHTOOL, &q);
			close(fd);
		}
		char name[16];
		snprintf(name, sizeof(name), "uln%u", k);
		lab_enter(l, (struct lab_place){ LAB_UNDERLAY, 0, 0 });
		r |= bpf_xdp_attach((int)if_nametoindex(name), prog, 0, NULL);
		lab_leave(l);
	}
	return r ? -EIO : 0;
}

/* --- helpers that make sockets --- */

struct socket_request {
	int ns, family, type;
};

static void helper_run(const struct lab *l, unsigned node, int fd)
{
	struct socket_request q;
	_cleanup_free_ char *procs = str_printf("%s/cgroup.procs", l->nodes[node].cgroup);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int c = open(procs, O_WRONLY | O_CLOEXEC);
	if (c < 0 || write(c, "0", 1) != 1)
		_exit(1);
	close(c);
	while (recv(fd, &q, sizeof(q), 0) == sizeof(q)) {
		union {
			char buf[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} u;
		int s = setns(q.ns, CLONE_NEWNET) < 0 ? -1 : socket(q.family, q.type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		int e = s < 0 ? errno : 0;
		struct iovec iov = { &e, sizeof(e) };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		if (s >= 0) {
			m.msg_control = u.buf;
			m.msg_controllen = sizeof(u.buf);
			struct cmsghdr *h = CMSG_FIRSTHDR(&m);
			h->cmsg_level = SOL_SOCKET;
			h->cmsg_type = SCM_RIGHTS;
			h->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(h), &s, sizeof(int));
		}
		sendmsg(fd, &m, 0);
		if (s >= 0)
			close(s);
	}
	_exit(0);
}

static int helper_start(struct lab *l, unsigned node)
{
	int p[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) < 0)
		return -errno;
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close(p[0]);
		helper_run(l, node, p[1]);
	}
	close(p[1]);
	l->nodes[node].helper = p[0];
	l->nodes[node].helper_pid = pid;
	return 0;
}

static int socket_of_helper(struct lab *l, unsigned node, const struct socket_request *q)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	int e = EIO, fd = -1;
	struct iovec iov = { &e, sizeof(e) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof(u.buf) };
	BUG_ON(send(l->nodes[node].helper, q, sizeof(*q), 0) != sizeof(*q));
	BUG_ON(recvmsg(l->nodes[node].helper, &m, MSG_CMSG_CLOEXEC) <= 0);
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (e) {
		errno = e;
		return -1;
	}
	BUG_ON(!h);
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return fd;
}

int lab_socket(struct lab *l, struct lab_place at, int family, int type)
{
	int fd;
	if (!l) {
		fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	} else if (at.kind == LAB_NODE || at.kind == LAB_POD) {
		struct socket_request q = { lab_ns(l, at), family, type };
		fd = socket_of_helper(l, at.node, &q);
	} else {
		lab_enter(l, at);
		fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		lab_leave(l);
	}
	if (fd < 0)
		fprintf(stderr, "lab: socket: %s\n", strerror(errno));
	BUG_ON(fd < 0);
	return fd;
}

/* --- the whole --- */

static char *cgroup2_mount(void)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };
	file_read("/proc/self/mounts", 1 << 20, &b);
	strlist_split(&lines, b.data ? b.data : "", '\n');
	for (size_t i = 0; i < lines.count; i++) {
		char path[512], kind[64];
		if (sscanf(lines.items[i], "%*s %511s %63s", path, kind) == 2 && str_eq(kind, "cgroup2"))
			return mem_strdup(path);
	}
	return NULL;
}

static int name_dirs(struct lab *l, const char *dir, struct err *err)
{
	_cleanup_free_ char *cg = cgroup2_mount();
	if (!cg)
		return err_set(err, ENOENT, "no cgroup2 file system is mounted");
	l->dir = mem_strdup(dir);
	l->manifests = str_printf("%s/m", dir);
	l->cgroup = str_printf("%s/%s", cg, l->id);
	for (unsigned k = 1; k <= l->o.nodes; k++) {
		l->nodes[k].cgroup = str_printf("%s/n%u", l->cgroup, k);
		l->nodes[k].pins = str_printf("%s/bpf/n%u", dir, k);
	}
	return 0;
}

static int make_dirs(struct lab *l, struct err *err)
{
	_cleanup_free_ char *bpf = NULL;
	char tmp[] = "/tmp/keelson-lab.XXXXXX";
	l->own_dir = !l->o.dir;
	if (l->own_dir && !mkdtemp(tmp))
		return err_set(err, errno, "%s: %s", tmp, strerror(errno));
	if (name_dirs(l, l->own_dir ? tmp : l->o.dir, err) < 0)
		return -ENOENT;
	bpf = str_printf("%s/bpf", l->dir);
	if (file_mkdir_p(l->manifests, 0755) < 0 || file_mkdir_p(bpf, 0755) < 0)
		return err_set(err, errno, "%s: %s", l->dir, strerror(errno));
	if (mount("none", bpf, "bpf", 0, NULL) < 0)
		return err_set(err, errno, "mounting a bpffs: %s", strerror(errno));
	l->mounted = true;
	if (mkdir(l->cgroup, 0755) < 0)
		return err_set(err, errno, "%s: %s", l->cgroup, strerror(errno));
	for (unsigned k = 1; k <= l->o.nodes; k++)
		if (mkdir(l->nodes[k].cgroup, 0755) < 0)
			return err_set(err, errno, "%s: %s", l->nodes[k].cgroup, strerror(errno));
	return 0;
}

struct lab *lab_new(const struct lab_options *o, struct err *err)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	struct lab *l = mem_new(struct lab);
	l->o = *o;
	l->o.proxy = mem_strdup(o->proxy);
	l->id = o->keep ? mem_strdup(o->name) : str_printf("kt-%s-%d", o->name, getpid());
	for (size_t i = 0; i < ARRAY_SIZE(l->ns); i++)
		l->ns[i] = -1;
	l->home_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	BUG_ON(o->nodes == 0 || o->nodes > LAB_NODES_MAX || o->pods > LAB_PODS_MAX);
	each_place(l, add_name, &b);
	int r = make_dirs(l, err);
	if (r == 0 && wait_for(ip_start(NULL, b.data)) < 0)
		r = err_set(err, EIO, "the network namespaces could not be made");
	if (r == 0 && each_place(l, open_place, NULL) < 0)
		r = err_set(err, EIO, "the network namespaces could not be opened");
	if (r == 0 && link_up(l) < 0)
		r = err_set(err, EIO, "links, addresses or routes of the lab could not be made");
	if (r == 0 && o->xdp && xdp_up(l) < 0)
		r = err_set(err, EIO, "the links could not be made ready for XDP");
	for (unsigned k = 1; k <= o->nodes && r == 0; k++)
		if (helper_start(l, k) < 0)
			r = err_set(err, EIO, "a helper process could not be started");
	if (r == 0)
		return l;
	l->o.keep = false;
	lab_free(l);
	return NULL;
}

static int reopen_place(struct lab *l, struct lab_place at, void *user)
{
	char name[64];
	(void)user;
	_cleanup_free_ char *path = str_printf("/run/netns/%s", lab_ns_name(l, at, name));
	l->ns[place_index(at)] = open(path, O_RDONLY | O_CLOEXEC);
	return 0;
}

struct lab *lab_open(const struct lab_options *o, struct err *err)
{
	struct lab *l = mem_new(struct lab);
	l->o = *o;
	l->o.proxy = mem_strdup(o->proxy);
	l->id = mem_strdup(o->name);
	l->home_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	each_place(l, reopen_place, NULL);
	l->own_dir = l->mounted = true;
	if (name_dirs(l, o->dir, err) == 0 && file_exists(l->manifests))
		return l;
	err_set(err, ENOENT, "no lab in %s", o->dir);
	l->o.keep = true; /* there is nothing to take away */
	lab_free(l);
	return NULL;
}

int lab_become(const struct lab *l, struct lab_place at)
{
	if (at.kind == LAB_NODE || at.kind == LAB_POD) {
		_cleanup_free_ char *procs = str_printf("%s/cgroup.procs", l->nodes[at.node].cgroup);
		_cleanup_close_ int fd = open(procs, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "0", 1) != 1)
			return -errno;
	}
	return setns(lab_ns(l, at), CLONE_NEWNET) < 0 ? -errno : 0;
}

static void remove_cgroup(const char *path)
{
	/* Processes that ended may still be counted for a moment. */
	for (int i = 0; i < 50 && rmdir(path) < 0 && errno == EBUSY; i++)
		usleep(20000);
}

struct lab *lab_free(struct lab *l)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	if (!l)
		return NULL;
	for (unsigned k = 1; k <= l->o.nodes; k++) {
		if (!l->o.keep)
			lab_proxy_kill(l, k, SIGKILL);
		if (l->nodes[k].helper_pid) {
			close(l->nodes[k].helper);
			kill(l->nodes[k].helper_pid, SIGKILL);
			waitpid(l->nodes[k].helper_pid, NULL, 0);
		}
	}
	if (!l->o.keep) {
		_cleanup_free_ char *bpf = str_printf("%s/bpf", l->dir ? l->dir : "");
		each_place(l, del_name, &b);
		wait_for(ip_start(NULL, b.data));
		if (l->mounted)
			umount2(bpf, MNT_DETACH);
		for (unsigned k = 1; k <= l->o.nodes; k++)
			if (l->nodes[k].cgroup)
				remove_cgroup(l->nodes[k].cgroup);
		if (l->cgroup)
			remove_cgroup(l->cgroup);
		if (l->own_dir && l->dir)
			file_rm_rf(l->dir);
	}
	for (unsigned k = 1; k <= l->o.nodes; k++) {
		free(l->nodes[k].cgroup);
		free(l->nodes[k].pins);
	}
	close(l->home_ns);
	free((char *)l->o.proxy);
	free(l->id);
	free(l->dir);
	free(l->manifests);
	free(l->cgroup);
	free(l);
	return NULL;
}

/* --- manifests and proxies --- */

void lab_write(struct lab *l, const char *file, const char *text)
{
	_cleanup_free_ char *path = str_printf("%s/%s", l->manifests, file), *tmp = str_printf("%s/.%s", l->manifests, file);
	if (!text) {
		unlink(path);
		return;
	}
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	BUG_ON(fd < 0);
	for (size_t len = strlen(text), at = 0; at < len;) {
		ssize_t n = write(fd, text + at, len - at);
		BUG_ON(n <= 0);
		at += (size_t)n;
	}
	close(fd);
	BUG_ON(rename(tmp, path) < 0);
}

void lab_node_json(struct strbuf *out, unsigned node, const char *zone)
{
	char v4[IP_ADDR_TEXT_SIZE], v6[IP_ADDR_TEXT_SIZE];
	struct ip_addr a4 = lab_addr(lab_node(node), AF_INET), a6 = lab_addr(lab_node(node), AF_INET6);
	strbuf_addf(out, "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n%u\",\"labels\":{", node);
	if (zone)
		strbuf_addf(out, "\"topology.kubernetes.io/zone\":\"%s\",", zone);
	strbuf_addf(out, "\"kubernetes.io/hostname\":\"n%u\"}},\"spec\":{\"podCIDR\":\"10.244.%u.0/24\",\"podCIDRs\":"
			 "[\"10.244.%u.0/24\",\"fd00:10:244:%u::/64\"]},\"status\":{\"addresses\":[{\"type\":\"InternalIP\","
			 "\"address\":\"%s\"},{\"type\":\"InternalIP\",\"address\":\"%s\"}]}}",
		    node, node, node, node, ip_format(&a4, v4), ip_format(&a6, v6));
}

void lab_write_nodes(struct lab *l)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	strbuf_adds(&b, "{\"kind\":\"List\",\"items\":[");
	for (unsigned k = 1; k <= l->o.nodes; k++) {
		strbuf_adds(&b, k > 1 ? "," : "");
		lab_node_json(&b, k, k % 2 ? "z1" : "z2");
	}
	strbuf_adds(&b, "]}");
	lab_write(l, "nodes.json", b.data);
}

/* The command line of a node's proxy. */
static void proxy_command(struct lab *l, unsigned node, const char *program, struct strlist *out)
{
	char v4[IP_ADDR_TEXT_SIZE], v6[IP_ADDR_TEXT_SIZE];
	struct ip_addr a4 = lab_addr(lab_node(node), AF_INET), a6 = lab_addr(lab_node(node), AF_INET6);
	const char *common[] = {
		"--service-cidr", "10.96.0.0/12,fd00:10:96::/112", "--cluster-cidr", "10.244.0.0/16,fd00:10:244::/48",
		"--cluster-dns", "", "--listen", "127.0.0.1:10249", "--manifests", l->manifests,
		"--cgroup", l->nodes[node].cgroup, "--pin-dir", l->nodes[node].pins, "--node-name",
	};
	strlist_add(out, program);
	for (size_t i = 0; i < ARRAY_SIZE(common); i++)
		strlist_add(out, common[i]);
	strlist_addf(out, "n%u", node);
	strlist_add(out, "--node-ip");
	strlist_addf(out, "%s,%s", ip_format(&a4, v4), ip_format(&a6, v6));
	strlist_add(out, "--pod-network");
	strlist_add(out, l->o.tunnel ? "vxlan" : "none");
}

int lab_proxy_exec(struct lab *l, unsigned node, const char *program, const char *const *more, size_t count, struct err *err)
{
	_cleanup_strlist_ struct strlist argv = { 0 };
	proxy_command(l, node, program, &argv);
	for (size_t i = 0; i < count; i++)
		strlist_add(&argv, more[i]);
	execvp(program, argv.items);
	return err_set(err, errno, "%s: %s", program, strerror(errno));
}

bool lab_proxy_ready(struct lab *l, unsigned node)
{
	int64_t end = clock_mono_ms() + READY_MS;
	while (clock_mono_ms() < end) {
		if (lab_proxy_get(l, node, "/readyz", NULL) == 200)
			return true;
		if (waitpid(l->nodes[node].proxy_pid, NULL, WNOHANG) > 0) {
			l->nodes[node].proxy_pid = 0;
			return false;
		}
		usleep(2000);
	}
	return false;
}

void lab_proxy_spawn(struct lab *l, unsigned node, const char *const *more)
{
	_cleanup_strlist_ struct strlist argv = { 0 };
	proxy_command(l, node, l->o.proxy, &argv);
	for (; more && *more; more++)
		strlist_add(&argv, *more);
	_cleanup_free_ char *log = str_printf("%s/n%u.log", l->dir, node);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	l->nodes[node].proxy_pid = spawn((const char *const *)argv.items, -1, out, lab_ns(l, lab_node(node)));
	close(out);
}

int lab_proxy_start(struct lab *l, unsigned node, const char *const *more, struct err *err)
{
	lab_proxy_spawn(l, node, more);
	return lab_proxy_ready(l, node) ? 0 : err_set(err, EIO, "the proxy of node %u does not become ready", node);
}

void lab_proxy_kill(struct lab *l, unsigned node, int signal)
{
	pid_t pid = l->nodes[node].proxy_pid;
	if (pid <= 0)
		return;
	kill(pid, signal);
	waitpid(pid, NULL, 0);
	l->nodes[node].proxy_pid = 0;
}

pid_t lab_proxy_pid(const struct lab *l, unsigned node)
{
	return l->nodes[node].proxy_pid;
}

int lab_http_get(struct lab *l, struct lab_place from, const struct ip_addr *to, uint16_t port, const char *path,
		 struct strbuf *out)
{
	_cleanup_close_ int fd = -1;
	_cleanup_strbuf_ struct strbuf b = { 0 };
	struct sockaddr_in s4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 s6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	bool v6 = to->family == AF_INET6;
	struct timeval patience = { .tv_sec = 5 };
	char buf[16384];
	int status = 0;
	lab_enter(l, from);
	fd = socket(to->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	lab_leave(l);
	memcpy(v6 ? (void *)&s6.sin6_addr : (void *)&s4.sin_addr, to->bytes, v6 ? 16 : 4);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, v6 ? (struct sockaddr *)&s6 : (struct sockaddr *)&s4, v6 ? sizeof(s6) : sizeof(s4)) < 0)
		return -errno;
	int n = snprintf(buf, sizeof(buf), "GET %s HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n", path);
	if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		return -errno;
	for (ssize_t got; (got = recv(fd, buf, sizeof(buf), 0)) != 0;) {
		if (got < 0)
			return -errno;
		strbuf_add(&b, buf, (size_t)got);
	}
	if (!b.data || sscanf(b.data, "HTTP/1.1 %d", &status) != 1)
		return -EPROTO;
	if (out)
		strbuf_adds(out, b.data);
	return status;
}

int lab_proxy_get(struct lab *l, unsigned node, const char *path, struct strbuf *out)
{
	struct ip_addr a;
	ip_parse("127.0.0.1", &a);
	return lab_http_get(l, lab_node(node), &a, 10249, path, out);
}

void lab_show_log(const struct lab *l, unsigned node)
{
	_cleanup_free_ char *path = str_printf("%s/n%u.log", l->dir, node);
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };
	file_read(path, 64 << 20, &b);
	strlist_split(&lines, b.data ? b.data : "", '\n');
	for (size_t i = lines.count > 12 ? lines.count - 12 : 0; i < lines.count; i++)
		printf("# n%u: %s\n", node, lines.items[i]);
}
