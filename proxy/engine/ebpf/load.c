/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading. A daemon that starts always loads its own programs: onto the maps it finds when they are of its ABI and sizes,
 * else onto new ones beside them (carry.c). When all Services are in the maps the links change to the new programs
 * atomically, so that there is no moment without a program or with an empty map.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "bpf/proxy.skel.h"
#include "proxy/engine/ebpf/carry.h"
#include "proxy/engine/ebpf/internal.h"

const char *const ebpf_map_names[EBPF_MAP_MAX] = {
	"frontends", "sets", "slots", "backends", "stats", "affinity", "socks", "udp_peers",
	"flows", "flow_replies", "sweeper", "node_addrs", "config", "counters", "loads", "ranges",
	"peer_nodes", "fragments", "trace_filter", "trace_events", "xdp_devices",
};
static const char *const program_names[EBPF_PROGRAM_MAX] = {
	"tc_ingress", "tc_egress", "tc_pods", "tc_pod", "tc_tunnel", "xdp_ingress", "stale_sockets",
	"count_elements",
};

static char last_libbpf[256];

static int keep_last_message(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(last_libbpf, sizeof(last_libbpf), fmt, ap);
	last_libbpf[strcspn(last_libbpf, "\n")] = 0;
	return 0;
}

void ebpf_libbpf_quiet(void)
{
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	libbpf_set_print(keep_last_message);
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

bool ebpf_is_bpffs(const char *path)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* Two daemons would give the same ids and slots to different Services. Whoever is killed gives the lock up. */
static int lock_links(const char *links, int *ret_lock, struct err *err)
{
	*ret_lock = open(links, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_lock < 0)
		return err_set(err, errno, "opening %s: %s", links, strerror(errno));
	if (flock(*ret_lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return err_set(err, errno, "another keelson-proxy works with the pins in %s (%s); each needs a --pin-dir of its own", links,
		       strerror(errno));
}

/* Makes the directory of links and locks it; mounts a bpffs at the usual place when the host has none. */
static int ensure_pin_dir(const char *pin_dir, int *ret_lock, struct err *err)
{
	if ((str_starts(pin_dir, "/sys/fs/bpf/") || str_eq(pin_dir, "/sys/fs/bpf")) && !ebpf_is_bpffs("/sys/fs/bpf")) {
		if (mount(EBPF_OWN_MOUNT, "/sys/fs/bpf", "bpf", 0, "mode=0700") < 0)
			return err_set(err, errno, "mounting a bpffs on /sys/fs/bpf: %s", strerror(errno));
	}
	_cleanup_free_ char *links = str_printf("%s/links", pin_dir);
	int r = file_mkdir_p(links, 0700);
	return r < 0 ? err_set(err, -r, "making %s: %s", links, strerror(-r)) : lock_links(links, ret_lock, err);
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

/* What the options say about sizes: at most so many Service ports, endpoints, flows. */
static int set_sizes(struct bpf_object *obj, const struct engine_options *o, struct err *err)
{
	enum { SERVICES_MAX = 1 << 20, ENDPOINTS_MAX = 1 << 22, FLOWS_MAX = 1 << 24 };
	const struct {
		enum ebpf_map map;
		uint32_t wanted, each; /* entries a wanted one */
	} sizes[] = {
		{ EBPF_FRONTENDS, o->max_services, 4 }, /* cluster address, its owner's mark, NodePort, one external */
		{ EBPF_SETS, o->max_services, 2 },      /* all endpoints, this node's */
		{ EBPF_STATS, o->max_services, 2 },
		{ EBPF_BACKENDS, o->max_endpoints, 1 },
		{ EBPF_LOADS, o->max_endpoints, 1 },
		{ EBPF_SLOTS, o->max_endpoints, 2 },
		{ EBPF_FLOWS, o->max_flows, 1 },
		{ EBPF_FLOW_REPLIES, o->max_flows, 1 },
	};
	if (o->max_services > SERVICES_MAX || o->max_endpoints > ENDPOINTS_MAX || o->max_flows > FLOWS_MAX)
		return err_set(err, EINVAL, "map sizes over %d Service ports, %d endpoints or %d flows are not supported", SERVICES_MAX,
			       ENDPOINTS_MAX, FLOWS_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (sizes[i].wanted)
			bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, ebpf_map_names[sizes[i].map]),
						 MAX(sizes[i].wanted * sizes[i].each, 64u));
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
		struct bpf_program *p = bpf_object__find_program_by_name(skel->obj, ebpf_hook_name(i));
		BUG_ON(!p);
		e->hooks[i] = fcntl(bpf_program__fd(p), F_DUPFD_CLOEXEC, 3);
	}
	for (size_t i = 0; i < EBPF_PROGRAM_MAX; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(skel->obj, program_names[i]);
		e->programs[i] = p ? fcntl(bpf_program__fd(p), F_DUPFD_CLOEXEC, 3) : -1;
	}
	int r = 0;
	r |= marray_init(&e->sets, e->maps[EBPF_SETS], sizeof(uint64_t), e->max_entries[EBPF_SETS]);
	r |= marray_init(&e->slots, e->maps[EBPF_SLOTS], sizeof(uint64_t), e->max_entries[EBPF_SLOTS]);
	r |= marray_init(&e->backends, e->maps[EBPF_BACKENDS], sizeof(struct abi_backend), e->max_entries[EBPF_BACKENDS]);
	r |= marray_init(&e->stats, e->maps[EBPF_STATS], sizeof(struct abi_stats), e->max_entries[EBPF_STATS]);
	r |= marray_init(&e->loads, e->maps[EBPF_LOADS], sizeof(uint32_t), e->max_entries[EBPF_LOADS]);
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
	int r = set_sizes(skel->obj, o, err);
	if (r == 0)
		r = carry_choose(e, skel->obj, err);
	if (r < 0)
		return r;
	r = proxy_bpf__load(skel);
	if (r < 0)
		return err_set(err, -r, "the kernel refuses the programs: %s", *last_libbpf ? last_libbpf : strerror(-r));
	r = take_fds(e, skel, err);
	if (r < 0)
		return r;
	r = carry_state(e, err);
	if (r == 0)
		r = ebpf_adopt(e, err);
	if (r < 0)
		return r;
	write_config(e, o);
	return 0;
}

int ebpf_load(struct ebpf *e, const struct engine_options *o, struct err *err)
{
	ebpf_libbpf_quiet();
	int r = features(err);
	if (r == 0)
		r = e->cgroup = ebpf_open_cgroup(o->cgroup, err);
	if (r >= 0)
		r = ensure_pin_dir(o->pin_dir, &e->lock, err);
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
