/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preparing the machine for a node, and leaving no residue on it. */
#include "cli/node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netlink/route/link.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/nft.h"

/* The addresses a namespace without any gets: of RFC 2544's benchmark range, which is never routed, and a unique local one. */
static const char *const lone_addresses[] = { "198.18.0.1/32", "fd00:198:18::1/128" };

enum { CGROUP_GRACE_MS = 3000 };

static int check_program(const char *name, const char *package, struct err *err)
{
	static const char *const dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", dirs[i], name);

		if (access(path, X_OK) == 0)
			return 0;
	}
	return err_set(err, ENOENT, "%s is missing; install it: apt-get install %s", name, package);
}

int node_check(const struct cluster *c, struct err *err)
{
	static const char *const daemons[] = { "keelson-agent", "keelson-proxy", "keelson-cni", "keelson-apiserver",
					       "keelson-scheduler", "keelson-controllers" };
	size_t count = c->server ? 3 : ARRAY_SIZE(daemons); /* one that joins runs no control plane */
	int r;

	if (geteuid() != 0)
		return err_set(err, EPERM, "keelson runs as root: network, cgroups and BPF need it");
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", c->bin_dir, daemons[i]);

		if (access(path, X_OK) < 0)
			return err_set(err, ENOENT, "%s is missing; build and install all of keelson", path);
	}
	if (!c->runtime_endpoint) {
		r = check_program("containerd", "containerd", err);
		if (r < 0)
			return r;
		r = check_program("runc", "runc", err);
		if (r < 0)
			return r;
	}
	if (cluster_runs_etcd(c) && (r = check_program("etcd", "etcd-server", err)) < 0)
		return r;
	if (access("/sys/fs/bpf", F_OK) < 0)
		return err_set(err, ENOSYS, "this kernel has no BPF file system (CONFIG_BPF_SYSCALL)");
	return 0;
}

int node_netns_create(const char *name, struct err *err)
{
	_cleanup_free_ char *path = str_printf("/run/netns/%s", name);
	int status = 0, r = file_mkdir_p("/run/netns", 0755);

	if (r < 0)
		return err_set(err, -r, "cannot make /run/netns: %s", strerror(-r));
	int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);

	if (fd < 0)
		return err_set(err, errno, "cannot make the network namespace %s: %s", path, strerror(errno));
	close(fd);
	/* A child makes the namespace, so that this process keeps its own until it enters the new one by name. */
	pid_t child = fork();

	if (child == 0)
		_exit(unshare(CLONE_NEWNET) == 0 && mount("/proc/self/ns/net", path, "none", MS_BIND, NULL) == 0 ? 0 : 1);
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
		unlink(path);
		return err_set(err, EIO, "cannot make the network namespace %s", name);
	}
	return 0;
}

void node_netns_delete(const char *name)
{
	_cleanup_free_ char *path = str_printf("/run/netns/%s", name);

	umount2(path, MNT_DETACH);
	unlink(path);
}

static int loopback_up(struct err *err)
{
	struct nl_sock *s = nl_socket_alloc();
	struct rtnl_link *lo = NULL, *change = rtnl_link_alloc();
	int r = nl_connect(s, NETLINK_ROUTE);

	if (r == 0)
		r = rtnl_link_get_kernel(s, 0, "lo", &lo);
	rtnl_link_set_flags(change, IFF_UP);
	if (r == 0)
		r = rtnl_link_change(s, lo, change, 0);
	rtnl_link_put(lo);
	rtnl_link_put(change);
	nl_socket_free(s);
	return r < 0 ? err_set(err, EIO, "cannot bring up lo: %s", nl_geterror(r)) : 0;
}

/* Of each family that the ranges have, unless one is there or was given. */
static int add_lone_addresses(struct cluster *c, struct err *err)
{
	struct ip_ranges ranges = { .v[0].addr.family = AF_INET };
	struct ip_addr a;
	struct ip_prefix p;
	int r = 0;

	if (c->service_cidr)
		ip_ranges_parse(c->service_cidr, &ranges, NULL);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lone_addresses); i++) {
		BUG_ON(ip_prefix_parse(lone_addresses[i], &p) < 0);
		if (!c->lo_address[i] &&
		    (!ranges.v[i].addr.family || c->node_ip || net_node_address(p.addr.family, &a, NULL) == 0))
			continue;
		c->lo_address[i] = true;
		r = net_address_add("lo", &p, err);
	}
	return r;
}

int node_prepare_netns(struct cluster *c, struct err *err)
{
	int r;

	if (!c->netns)
		return 0;
	_cleanup_free_ char *path = str_printf("/run/netns/%s", c->netns);

	if (!file_exists(path)) {
		r = node_netns_create(c->netns, err);
		if (r < 0)
			return r;
		c->netns_created = true;
	}
	r = cluster_enter_netns(c, err);
	if (r < 0 || (r = loopback_up(err)) < 0)
		return r;
	return add_lone_addresses(c, err);
}

static int for_each_range(const struct cluster *c, int (*fn)(const struct ip_prefix *, struct err *), struct err *err)
{
	const char *const ranges[] = { c->service_cidr, c->cluster_cidr };

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		struct ip_ranges v;

		if (ip_ranges_parse(ranges[i], &v, NULL) < 0)
			return err_set(err, EINVAL, "\"%s\" is not an address range", ranges[i]);
		for (size_t f = 0; f < ARRAY_SIZE(v.v); f++) {
			int r = v.v[f].addr.family ? fn(&v.v[f], err) : 0;

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int prepare_bpffs(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *dir = cluster_path(c, "bpf");
	struct statfs st;
	int r = file_mkdir_p(dir, 0700);

	if (r < 0)
		return err_set(err, -r, "cannot make %s: %s", dir, strerror(-r));
	if (statfs(dir, &st) == 0 && st.f_type == 0xcafe4a11 /* BPF_FS_MAGIC */)
		return 0;
	if (mount("bpf", dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return err_set(err, errno, "cannot mount a BPF file system on %s: %s", dir, strerror(errno));
	return 0;
}

/* Passes cpu, memory and pids on to children where the hierarchy has them (pure cgroup2 machines). */
static void delegate_controllers(const char *dir)
{
	static const char *const controllers[] = { "+cpu", "+memory", "+pids", "+cpuset", "+hugetlb" };
	_cleanup_free_ char *path = str_printf("%s/cgroup.subtree_control", dir);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	for (size_t i = 0; fd >= 0 && i < ARRAY_SIZE(controllers); i++)
		if (write(fd, controllers[i], strlen(controllers[i])) < 0)
			continue; /* not in this hierarchy (hybrid layout), or in use by the parent: limits then come from v1 */
}

static int prepare_cgroups(const struct cluster *c, struct err *err)
{
	static const char *const children[] = { "system", "kubepods" };

	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		_cleanup_free_ char *path = cluster_cgroup(c, children[i]);
		int r = file_mkdir_p(path, 0755);

		if (r < 0)
			return err_set(err, -r, "cannot make the cgroup %s: %s", path, strerror(-r));
	}
	_cleanup_free_ char *top = cluster_cgroup(c, NULL), *pods = cluster_cgroup(c, "kubepods");

	delegate_controllers(c->cgroup2);
	delegate_controllers(top);
	delegate_controllers(pods);
	return 0;
}

static int prepare_sysctl(struct cluster *c, const char *name, const char *value, struct err *err)
{
	_cleanup_free_ char *old = NULL;
	int r = net_sysctl_set(name, value, &old, err);

	/* The value before the first `up` counts, not the one that an earlier run of ours set. */
	if (r == 0 && !json_object_get(c->sysctls, name) && !str_eq(old, value))
		json_object_set_new(c->sysctls, name, json_string(old));
	return r;
}

/* A router ignores router advertisements, and forgets the default route it learned by them, unless it is told to go on. */
static int keep_advertised_routes(struct cluster *c, struct err *err)
{
	struct if_nameindex *links = if_nameindex();
	int r = 0;

	for (struct if_nameindex *l = links; r == 0 && l && l->if_index; l++) {
		_cleanup_free_ char *name = str_printf("net.ipv6.conf.%s.accept_ra", l->if_name);
		_cleanup_free_ char *path = str_printf("/proc/sys/net/ipv6/conf/%s/accept_ra", l->if_name);
		_cleanup_strbuf_ struct strbuf value = { 0 };

		/* A name with a dot (a VLAN's) is none that net_sysctl_set() takes; such links are the administrator's. */
		if (!strchr(l->if_name, '.') && file_read(path, 64, &value) == 0 && value.data && value.data[0] == '1')
			r = prepare_sysctl(c, name, "2", err);
	}
	if_freenameindex(links);
	return r;
}

static bool has_family(const struct cluster *c, bool v6)
{
	return !strchr(c->node_ip, ':') == !v6 || (c->node_ip2 && !strchr(c->node_ip2, ':') == !v6);
}

static int prepare_sysctls(struct cluster *c, struct err *err)
{
	int r = has_family(c, false) ? prepare_sysctl(c, "net.ipv4.ip_forward", "1", err) : 0;

	if (r == 0 && has_family(c, true)) {
		r = keep_advertised_routes(c, err);
		if (r == 0)
			r = prepare_sysctl(c, "net.ipv6.conf.all.forwarding", "1", err);
	}
	return r;
}

/* The plugins by the names containerd runs them under: it wants one called loopback besides the network's own. */
static int prepare_plugins(const struct cluster *c, struct err *err)
{
	static const char *const names[] = { "keelson-cni", "loopback" };
	_cleanup_free_ char *target = str_printf("%s/keelson-cni", c->bin_dir);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = str_printf("%s/cni/bin/%s", c->state, names[i]);

		if ((unlink(path) < 0 && errno != ENOENT) || symlink(target, path) < 0)
			return err_set(err, errno, "cannot link %s to %s: %s", path, target, strerror(errno));
	}
	return 0;
}

int node_prepare(struct cluster *c, struct err *err)
{
	static const char *const dirs[] = { "pki", "store", "containerd", "agent", "cni/conf", "cni/state", "cni/bin", "logs", "run" };
	/* Before anything else: nothing sent to a service or pod address may ever leave by the default route. */
	int r = for_each_range(c, net_blackhole_add, err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(dirs); i++) {
		_cleanup_free_ char *path = cluster_path(c, dirs[i]);

		r = file_mkdir_p(path, 0700);
		if (r < 0)
			return err_set(err, -r, "cannot make %s: %s", path, strerror(-r));
	}
	if (r < 0 || (r = prepare_bpffs(c, err)) < 0 || (r = prepare_cgroups(c, err)) < 0 ||
	    (r = prepare_plugins(c, err)) < 0)
		return r;
	return prepare_sysctls(c, err);
}

/* Unmounts everything mounted below the state directory, the deepest first; not below except (NULL: no such part). */
static int unmount_below(const char *state, const char *except, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };
	_cleanup_free_ char *prefix = str_printf("%s/", state);
	int first = 0, r = file_read("/proc/self/mounts", 16 << 20, &text);

	if (r < 0)
		return err_set(err, -r, "cannot read /proc/self/mounts: %s", strerror(-r));
	strlist_split(&lines, text.data, '\n');
	/* The table is in mount order, so going backwards unmounts children first. */
	for (size_t i = lines.count; i-- > 0;) {
		_cleanup_strlist_ struct strlist f = { 0 };

		strlist_split(&f, lines.items[i], ' ');
		if (f.count >= 2)
			cluster_unescape_mount(f.items[1]);
		if (f.count < 2 || !str_starts(f.items[1], prefix) || (except && str_starts(f.items[1], except)))
			continue;
		if (umount2(f.items[1], UMOUNT_NOFOLLOW) < 0 && umount2(f.items[1], UMOUNT_NOFOLLOW | MNT_DETACH) < 0 &&
		    first == 0)
			first = err_set(err, errno, "cannot unmount %s: %s", f.items[1], strerror(errno));
	}
	return first;
}

/* Removes a cgroup tree; empty ones only, so nothing running is hurt. The kernel lets go of a dead task's cgroup a moment
 * after its parent reaped it: waits for that until the deadline. */
static void remove_cgroup_tree(const char *path, int64_t deadline_ms)
{
	DIR *d = opendir(path);

	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		_cleanup_free_ char *child = str_printf("%s/%s", path, e->d_name);

		remove_cgroup_tree(child, deadline_ms);
	}
	closedir(d);
	while (rmdir(path) < 0 && errno == EBUSY && clock_mono_ms() < deadline_ms)
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
}

static int remove_cgroups(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *top = cluster_cgroup(c, NULL);
	int64_t deadline_ms = clock_mono_ms() + CGROUP_GRACE_MS;
	DIR *d = opendir("/sys/fs/cgroup");
	int r = 0;

	remove_cgroup_tree(top, deadline_ms);
	if (file_exists(top))
		r = err_set(err, EBUSY, "the cgroup %s is still in use", top);
	if (!d)
		return r;
	/* The v1 controllers' hierarchies, where there are any. */
	for (struct dirent *e; (e = readdir(d));) {
		_cleanup_free_ char *path = str_printf("/sys/fs/cgroup/%s/keelson-%s", e->d_name, c->id);

		if (e->d_name[0] != '.')
			remove_cgroup_tree(path, deadline_ms);
		if (e->d_name[0] != '.' && file_exists(path))
			r = err_set(err, EBUSY, "the cgroup %s is still in use", path);
	}
	closedir(d);
	return r;
}

static void remove_links(void)
{
	struct nl_sock *s = nl_socket_alloc();
	struct nl_cache *links = NULL;

	if (nl_connect(s, NETLINK_ROUTE) == 0 && rtnl_link_alloc_cache(s, AF_UNSPEC, &links) == 0) {
		for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o)) {
			struct rtnl_link *l = (struct rtnl_link *)o;

			if (str_eq(rtnl_link_get_name(l), "kl0") || str_eq(rtnl_link_get_name(l), "klvx"))
				rtnl_link_delete(s, l);
		}
		nl_cache_free(links);
	}
	nl_socket_free(s);
}

/* One of a link that is gone has nothing to get back. */
static int restore_sysctl(const char *name, const char *value, struct err *err)
{
	int r = net_sysctl_set(name, value, NULL, err);

	if (r != -ENOENT)
		return r;
	err_done(err);
	return 0;
}

void node_remove_netns(const struct cluster *c)
{
	if (c->netns && c->netns_created)
		node_netns_delete(c->netns);
}

int node_remove(struct cluster *c, bool keep_others, struct err *err)
{
	_cleanup_free_ char *others = keep_others ? cluster_path(c, "nodes/") : NULL;
	_cleanup_err_ struct err first = { 0 }, e = { 0 };
	struct ip_prefix lone;
	const char *name;
	json_t *old;

#define KEEP_FIRST(call)                                                     \
	do {                                                                 \
		if ((call) < 0 && !first.code)                               \
			err_set(&first, e.code ? e.code : EIO, "%s", err_msg(&e)); \
	} while (0)
	remove_links();
	KEEP_FIRST(nft_table_delete("keelson", &e));
	KEEP_FIRST(for_each_range(c, net_blackhole_del, &e));
	json_object_foreach(c->sysctls, name, old)
		KEEP_FIRST(restore_sysctl(name, json_string_value(old), &e));
	for (size_t i = 0; i < ARRAY_SIZE(lone_addresses); i++)
		if (c->lo_address[i] && ip_prefix_parse(lone_addresses[i], &lone) == 0)
			KEEP_FIRST(net_address_del("lo", &lone, &e));
	KEEP_FIRST(unmount_below(c->state, others, &e));
	KEEP_FIRST(remove_cgroups(c, &e));
	node_remove_netns(c);
#undef KEEP_FIRST
	if (first.code)
		return err_set(err, first.code, "%s", err_msg(&first));
	return 0;
}
