/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading, pinning, attaching. PIN_DIR/v<ABI>/ holds the maps, PIN_DIR/links/ the socket hooks. A daemon that starts
 * always loads its own programs: onto the maps it finds when they have its ABI, else onto new ones beside them. When all
 * Services are in the maps the links change to the new programs atomically, so that there is no moment without a program
 * or with an empty map; only after that are maps of another version removed.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "bpf/proxy.skel.h"
#include "proxy/engine/ebpf/internal.h"

const char *const ebpf_map_names[EBPF_MAP_MAX] = {
	"frontends", "sets", "slots", "backends", "stats", "affinity", "socks", "udp_peers",
	"flows", "flow_replies", "sweeper", "node_addrs", "config", "counters", "loads", "ranges",
	"peer_nodes", "fragments", "trace_filter", "trace_events",
};
static const struct {
	const char *program;
	enum bpf_attach_type type;
} hooks[EBPF_HOOKS] = {
	/* Those that undo come first: an answer is understood before the first question is translated. */
	{ "sock_release", BPF_CGROUP_INET_SOCK_RELEASE },
	{ "recvmsg4", BPF_CGROUP_UDP4_RECVMSG },          { "recvmsg6", BPF_CGROUP_UDP6_RECVMSG },
	{ "getpeername4", BPF_CGROUP_INET4_GETPEERNAME }, { "getpeername6", BPF_CGROUP_INET6_GETPEERNAME },
	{ "connect4", BPF_CGROUP_INET4_CONNECT },         { "connect6", BPF_CGROUP_INET6_CONNECT },
	{ "sendmsg4", BPF_CGROUP_UDP4_SENDMSG },          { "sendmsg6", BPF_CGROUP_UDP6_SENDMSG },
};
/* What the bpffs is called in /proc/mounts when it was mounted here: the mark that --cleanup may unmount it. */
#define OWN_MOUNT_SOURCE "keelson"

static char last_libbpf[256];

static int keep_last_message(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(last_libbpf, sizeof(last_libbpf), fmt, ap);
	last_libbpf[strcspn(last_libbpf, "\n")] = 0;
	return 0;
}

/* Each refusal names the feature. */
static int features(struct err *err)
{
	struct utsname u;
	uname(&u);
	const char *lacks = NULL;
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, NULL) == 0)
		lacks = "eBPF programs on socket addresses of cgroups (CONFIG_CGROUP_BPF)";
	else if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SCHED_CLS, NULL) == 0)
		lacks = "eBPF programs in tc (CONFIG_NET_CLS_BPF)";
	else if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, NULL) == 0)
		lacks = "eBPF socket storage (Linux 5.2, CONFIG_BPF_SYSCALL with BTF)";
	else if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_netns_cookie, NULL) == 0)
		lacks = "bpf_get_netns_cookie() in socket hooks (Linux 5.7)";
	else if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_timer_start, NULL) == 0)
		lacks = "eBPF timers in tc programs (Linux 5.15)";
	if (!lacks)
		return 0;
	return err_set(err, EOPNOTSUPP, "this kernel (Linux %s) lacks a feature that the eBPF engine needs: %s", u.release, lacks);
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* Makes the pin directory; mounts a bpffs at the usual place when the host has none. */
static int ensure_pin_dir(const char *pin_dir, struct err *err)
{
	if ((str_starts(pin_dir, "/sys/fs/bpf/") || str_eq(pin_dir, "/sys/fs/bpf")) && !is_bpffs("/sys/fs/bpf")) {
		if (mount(OWN_MOUNT_SOURCE, "/sys/fs/bpf", "bpf", 0, "mode=0700") < 0)
			return err_set(err, errno, "mounting a bpffs on /sys/fs/bpf: %s", strerror(errno));
	}
	_cleanup_free_ char *links = str_printf("%s/links", pin_dir), *maps = str_printf("%s/v%d", pin_dir, ABI_VERSION);
	int r = file_mkdir_p(links, 0700);
	if (r == 0)
		r = file_mkdir_p(maps, 0700);
	if (r < 0)
		return err_set(err, -r, "making %s: %s", maps, strerror(-r));
	if (!is_bpffs(maps))
		return err_set(err, EINVAL, "--pin-dir %s is not in a bpffs (mount -t bpf)", pin_dir);
	return 0;
}

static uint64_t own_netns_cookie(void)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
		if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
			cookie = 0;
		close(fd);
	}
	return cookie;
}

/* A family without a range has a mask of zeros, which programs take for "none". */
static void write_range(const struct ip_prefix *p, uint32_t net[4], uint32_t mask[4])
{
	uint8_t m[16] = { 0 };
	unsigned bits = !p->addr.family ? 0 : p->len + (p->addr.family == AF_INET ? 96 : 0);
	for (unsigned i = 0; i < 16; i++)
		m[i] = bits >= (i + 1) * 8 ? 0xff : bits <= i * 8 ? 0 : (uint8_t)(0xff << (8 - (bits - i * 8)));
	memcpy(mask, m, sizeof(m));
	if (p->addr.family)
		ebpf_addr(&p->addr, net);
}

static void write_config(struct ebpf *e, const struct engine_options *o)
{
	struct abi_config *c = e->config;
	c->node_netns = own_netns_cookie();
	c->node_port_min = o->node_port_min;
	c->node_port_max = o->node_port_max;
	for (int i = 0; i < 2; i++) {
		write_range(&o->service_cidr.v[i], c->service_net[i], c->service_mask[i]);
		write_range(&o->cluster_cidr.v[i], c->pod_net[i], c->pod_mask[i]);
	}
}

/* The maps' paths; the sizes of those that are pinned already are taken over. */
static int set_pin_paths(struct bpf_object *obj, const char *pin_dir, struct err *err)
{
	for (size_t i = 0; i < EBPF_MAP_MAX; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, ebpf_map_names[i]);
		_cleanup_free_ char *path = str_printf("%s/v%d/%s", pin_dir, ABI_VERSION, ebpf_map_names[i]);
		BUG_ON(!m);
		bpf_map__set_pin_path(m, path);
		_cleanup_close_ int fd = bpf_obj_get(path);
		if (fd < 0)
			continue;
		struct bpf_map_info info = { 0 };
		uint32_t len = sizeof(info);
		if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || info.key_size != bpf_map__key_size(m) ||
		    info.value_size != bpf_map__value_size(m) || info.type != bpf_map__type(m))
			return err_set(err, EINVAL, "%s is not the map this version makes; remove it with --cleanup", path);
		bpf_map__set_max_entries(m, info.max_entries);
	}
	return 0;
}

/* Puts a new link in the place of an old pin in one step, so that the path always names a live link. */
static int pin_link(int fd, const char *path, struct err *err)
{
	_cleanup_free_ char *fresh = str_printf("%s_new", path);
	unlink(fresh);
	if (bpf_obj_pin(fd, fresh) < 0 || rename(fresh, path) < 0)
		return err_set(err, errno, "pinning %s: %s", path, strerror(errno));
	return 0;
}

static int attach_hook(int cgroup_fd, uint64_t cgroup_id, int prog_fd, enum bpf_attach_type type, const char *path,
		       struct err *err)
{
	_cleanup_close_ int old = bpf_obj_get(path);
	if (old >= 0) {
		struct bpf_link_info info = { 0 };
		uint32_t len = sizeof(info);
		bool ours = bpf_obj_get_info_by_fd(old, &info, &len) == 0 && info.type == BPF_LINK_TYPE_CGROUP &&
			    info.cgroup.cgroup_id == cgroup_id;
		if (ours && bpf_link_update(old, prog_fd, NULL) == 0)
			return 0;
	}
	_cleanup_close_ int link = bpf_link_create(prog_fd, cgroup_fd, type, NULL);
	if (link < 0)
		return err_set(err, errno, "attaching %s to the cgroup: %s", strrchr(path, '/') + 1, strerror(errno));
	return pin_link(link, path, err);
}

static int open_cgroup(const char *path, struct err *err)
{
	struct statfs fs;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "--cgroup %s: %s", path, strerror(errno));
	if (fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	close(fd);
	return err_set(err, EINVAL, "--cgroup %s is not in a cgroup2 mount; socket hooks need one", path);
}

int ebpf_attach_hooks(struct ebpf *e, struct err *err)
{
	struct stat st;
	if (fstat(e->cgroup, &st) < 0)
		return err_set(err, errno, "cgroup: %s", strerror(errno));
	for (size_t i = 0; i < EBPF_HOOKS; i++) {
		_cleanup_free_ char *path = str_printf("%s/links/%s", e->pin_dir, hooks[i].program);
		int r = attach_hook(e->cgroup, st.st_ino, e->hooks[i], hooks[i].type, path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_fds(struct ebpf *e, struct proxy_bpf *skel, struct err *err)
{
	for (size_t i = 0; i < EBPF_MAP_MAX; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(skel->obj, ebpf_map_names[i]);
		e->maps[i] = fcntl(bpf_map__fd(m), F_DUPFD_CLOEXEC, 3);
		e->max_entries[i] = bpf_map__max_entries(m);
		if (e->maps[i] < 0)
			return err_set(err, errno, "map %s: %s", ebpf_map_names[i], strerror(errno));
	}
	for (size_t i = 0; i < EBPF_HOOKS; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(skel->obj, hooks[i].program);
		BUG_ON(!p);
		e->hooks[i] = fcntl(bpf_program__fd(p), F_DUPFD_CLOEXEC, 3);
	}
	e->tc_ingress = fcntl(bpf_program__fd(skel->progs.tc_ingress), F_DUPFD_CLOEXEC, 3);
	e->tc_egress = fcntl(bpf_program__fd(skel->progs.tc_egress), F_DUPFD_CLOEXEC, 3);
	int r = 0;
	r |= marray_init(&e->sets, e->maps[EBPF_SETS], sizeof(uint64_t), e->max_entries[EBPF_SETS]);
	r |= marray_init(&e->slots, e->maps[EBPF_SLOTS], sizeof(uint64_t), e->max_entries[EBPF_SLOTS]);
	r |= marray_init(&e->backends, e->maps[EBPF_BACKENDS], sizeof(struct abi_backend), e->max_entries[EBPF_BACKENDS]);
	r |= marray_init(&e->stats, e->maps[EBPF_STATS], sizeof(struct abi_stats), e->max_entries[EBPF_STATS]);
	BUG_ON(r != 0);
	e->config = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, e->maps[EBPF_CONFIG], 0);
	if (e->config == MAP_FAILED) {
		e->config = NULL;
		return err_set(err, errno, "mapping the configuration: %s", strerror(errno));
	}
	return 0;
}

static int load(struct ebpf *e, struct proxy_bpf *skel, const struct engine_options *o, struct err *err)
{
	skel->rodata->have_set_retval =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, NULL) == 1;
	/* Any number unlike an earlier program's: the sweeper's callback then changes to the new one. */
	rand_bytes(&skel->rodata->program_stamp, sizeof(skel->rodata->program_stamp));
	skel->rodata->program_stamp |= 1;
	int r = set_pin_paths(skel->obj, o->pin_dir, err);
	if (r < 0)
		return r;
	r = proxy_bpf__load(skel);
	if (r < 0)
		return err_set(err, -r, "the kernel refuses the programs: %s", *last_libbpf ? last_libbpf : strerror(-r));
	r = take_fds(e, skel, err);
	if (r < 0)
		return r;
	r = ebpf_adopt(e, err);
	if (r < 0)
		return r;
	write_config(e, o);
	return 0;
}

int ebpf_load(struct ebpf *e, const struct engine_options *o, struct err *err)
{
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	libbpf_set_print(keep_last_message);
	int r = features(err);
	if (r == 0)
		r = e->cgroup = open_cgroup(o->cgroup, err);
	if (r >= 0)
		r = ensure_pin_dir(o->pin_dir, err);
	if (r < 0)
		return r;
	struct proxy_bpf *skel = proxy_bpf__open();
	if (!skel)
		return err_set(err, errno, "opening the programs: %s", strerror(errno));
	r = load(e, skel, o, err);
	proxy_bpf__destroy(skel); /* the fds taken, the pins and the links keep what is needed */
	malloc_trim(0);
	return r;
}

static void remove_tree(const char *dir)
{
	_cleanup_(strlist_done) struct strlist names = { 0 };
	DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *n; (n = readdir(d));)
		if (!str_eq(n->d_name, ".") && !str_eq(n->d_name, ".."))
			strlist_addf(&names, "%s/%s", dir, n->d_name);
	closedir(d);
	for (size_t i = 0; i < names.count; i++)
		if (unlink(names.items[i]) < 0 && (errno == EISDIR || errno == EPERM))
			remove_tree(names.items[i]);
	rmdir(dir);
}

void ebpf_retire_other_versions(const char *pin_dir)
{
	_cleanup_free_ char *own = str_printf("v%d", ABI_VERSION);
	DIR *d = opendir(pin_dir);
	if (!d)
		return;
	for (struct dirent *n; (n = readdir(d));)
		if (n->d_name[0] == 'v' && !str_eq(n->d_name, own)) {
			_cleanup_free_ char *path = str_printf("%s/%s", pin_dir, n->d_name);
			remove_tree(path);
		}
	closedir(d);
}

/* Unmounts the bpffs when it was mounted by ensure_pin_dir() and nothing is left in it. */
static void unmount_own(void)
{
	_cleanup_strbuf_ struct strbuf mounts = { 0 };
	if (rmdir("/sys/fs/bpf/keelson") < 0 && errno != ENOENT)
		return;
	if (file_read("/proc/self/mounts", 1 << 22, &mounts) < 0 || !mounts.data)
		return;
	if (!strstr(mounts.data, OWN_MOUNT_SOURCE " /sys/fs/bpf bpf "))
		return;
	DIR *d = opendir("/sys/fs/bpf");
	size_t entries = 0;
	for (struct dirent *n; d && (n = readdir(d));) /* the kernel itself puts maps.debug and progs.debug there */
		entries += n->d_name[0] != '.' && !str_ends(n->d_name, ".debug");
	if (d)
		closedir(d);
	if (d && entries == 0)
		umount2("/sys/fs/bpf", 0);
}

int engine_ebpf_cleanup(const char *pin_dir, struct err *err)
{
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	libbpf_set_print(keep_last_message);
	int r = ebpf_tc_detach_all(err);
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		_cleanup_free_ char *path = str_printf("%s/links/%s", pin_dir, hooks[i].program);
		_cleanup_close_ int fd = bpf_obj_get(path);
		if (fd >= 0)
			bpf_link_detach(fd); /* at once, whoever else holds the link */
	}
	if (is_bpffs(pin_dir))
		remove_tree(pin_dir);
	if (str_starts(pin_dir, "/sys/fs/bpf/keelson/"))
		unmount_own();
	if (r == 0 && file_exists(pin_dir) && is_bpffs(pin_dir))
		return err_set(err, EBUSY, "%s could not be removed", pin_dir);
	return r;
}
