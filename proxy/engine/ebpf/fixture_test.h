/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of the engine: a network namespace, a bpffs and a cgroup of their own, and what lies in the maps. Root. */
#ifndef KEELSON_PROXY_ENGINE_EBPF_FIXTURE_TEST_H
#define KEELSON_PROXY_ENGINE_EBPF_FIXTURE_TEST_H

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "bpf/shared/abi.h"
#include "proxy/engine/engine.h"

struct fixture {
	char dir[64], pin[96], cgroup[256];
	struct engine_options o;
};
static struct fixture fx;

static inline struct ip_addr ip(const char *s)
{
	struct ip_addr a;
	assert_int_equal(ip_parse(s, &a), 0);
	return a;
}

static inline void run(const char *fmt, ...)
{
	char command[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	char *argv[] = { "sh", "-c", command, NULL };
	pid_t pid;
	int status = -1;
	if (posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) != 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		fail_msg("%s", command);
}

static inline int fixture_setup(void)
{
	FILE *f = fopen("/proc/self/mounts", "r");
	char line[512], where[256] = "", type[32];
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %255s %31s", where, type) == 2 && strcmp(type, "cgroup2") == 0)
			break;
	if (f)
		fclose(f);
	snprintf(fx.dir, sizeof(fx.dir), "/tmp/engine.XXXXXX");
	if (!mkdtemp(fx.dir) || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", fx.dir, "bpf", 0, NULL) < 0) {
		perror("a namespace and a bpffs (root is needed)");
		return -1;
	}
	snprintf(fx.pin, sizeof(fx.pin), "%s/node", fx.dir);
	snprintf(fx.cgroup, sizeof(fx.cgroup), "%.200s/kt-engine-%d", where, (int)getpid());
	if (mkdir(fx.cgroup, 0700) < 0) {
		perror(fx.cgroup);
		return -1;
	}
	fx.o = (struct engine_options){
		.size = sizeof(fx.o), .cgroup = fx.cgroup, .pin_dir = fx.pin, .node_port_min = 30000, .node_port_max = 32767,
	};
	ip_ranges_parse("10.96.0.0/12,fd00:10:96::/108", &fx.o.service_cidr, NULL);
	ip_ranges_parse("10.244.0.0/16,fd00:10:244::/56", &fx.o.cluster_cidr, NULL);
	for (int i = 0; i < 2; i++)
		if (net_blackhole_add(&fx.o.service_cidr.v[i], NULL) < 0 || net_blackhole_add(&fx.o.cluster_cidr.v[i], NULL) < 0)
			return -1;
	return 0;
}

static inline void fixture_done(void)
{
	engine_ebpf_cleanup(fx.pin, NULL);
	umount(fx.dir);
	rmdir(fx.dir);
	for (int i = 0; i < 50 && rmdir(fx.cgroup) < 0; i++)
		usleep(20000);
}

static inline struct engine *start(void)
{
	_cleanup_err_ struct err err = { 0 };
	struct engine *e = engine_ebpf_new(&fx.o, &err);
	if (!e)
		fail_msg("%s", err_msg(&err));
	return e;
}

/* Nothing is left of what a test did. */
static inline int fixture_clean(void **state)
{
	(void)state;
	_cleanup_err_ struct err err = { 0 };
	fx.o.max_services = fx.o.max_endpoints = fx.o.max_flows = 0;
	fx.o.no_xdp = false;
	if (engine_ebpf_cleanup(fx.pin, &err) < 0)
		fail_msg("%s", err_msg(&err));
	return 0;
}

static inline void synced(struct engine *e)
{
	_cleanup_err_ struct err err = { 0 };
	if (e->ops->commit(e, &err) < 0 || e->ops->synced(e, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

static inline int pinned(const char *name)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/v%d/%s", fx.pin, ABI_VERSION, name);
	int fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

static inline int lookup(const char *name, const void *key, void *value)
{
	_cleanup_close_ int fd = pinned(name);
	return bpf_map_lookup_elem(fd, key, value) < 0 ? -errno : 0;
}

static inline size_t count_keys(const char *name)
{
	_cleanup_close_ int fd = pinned(name);
	char at[64], next[64];
	size_t n = 0;
	for (void *from = NULL; bpf_map_get_next_key(fd, from, next) == 0; from = at, n++)
		memcpy(at, next, sizeof(at));
	return n;
}

static inline void mapped(const struct ip_addr *a, uint32_t out[4])
{
	out[0] = out[1] = 0;
	out[2] = htonl(0xffff);
	if (a->family == AF_INET6)
		memcpy(out, a->bytes, 16);
	else
		memcpy(&out[3], a->bytes, 4);
}

/* The frontend's value; false when it is not there. */
static inline bool frontend(const char *addr, uint16_t port, uint8_t proto, uint8_t scope, struct abi_frontend *ret)
{
	struct abi_frontend_key k = { .port = htons(port), .proto = proto, .scope = scope };
	struct ip_addr a = ip(addr);
	mapped(&a, k.addr);
	return lookup("frontends", &k, ret) == 0;
}

static inline uint64_t set_word(uint32_t set_id)
{
	uint64_t w = 0;
	assert_int_equal(lookup("sets", &set_id, &w), 0);
	return w;
}

/* How often each last address byte stands in the set's slots; checks that the backends are alive and the set's. */
static inline uint32_t slots_of(uint32_t set_id, uint32_t counts[256])
{
	uint64_t w = set_word(set_id), slot;
	memset(counts, 0, 256 * sizeof(counts[0]));
	_cleanup_close_ int slots = pinned("slots");
	_cleanup_close_ int backends = pinned("backends");
	for (uint32_t i = 0; i < ABI_SET_COUNT(w); i++) {
		uint32_t at = ABI_SET_BASE(w) + i;
		struct abi_backend b;
		assert_int_equal(bpf_map_lookup_elem(slots, &at, &slot), 0);
		uint32_t id = ABI_SLOT_BACKEND(slot);
		assert_int_equal(bpf_map_lookup_elem(backends, &id, &b), 0);
		assert_int_equal(b.generation, ABI_SLOT_GENERATION(slot));
		assert_int_equal(b.set_id, set_id);
		assert_true(b.flags & ABI_BACKEND_NEW);
		counts[((uint8_t *)b.addr)[15]]++;
	}
	return ABI_SET_COUNT(w);
}

/* A port with a cluster address, a NodePort and a load balancer's address, and n endpoints 10.244.0.1... */
struct test_port {
	struct model_port p;
	struct model_frontend frontends[4];
	struct model_backend backends[256];
	struct ip_prefix ranges[4];
};
static inline void test_port(struct test_port *t, uint32_t id, unsigned n)
{
	memset(t, 0, sizeof(*t));
	char vip[32], lb[32];
	snprintf(vip, sizeof(vip), "10.96.%u.%u", id >> 8 & 255, id & 255);
	snprintf(lb, sizeof(lb), "198.51.%u.%u", id >> 8 & 255, id & 255);
	t->frontends[0] = (struct model_frontend){ .addr = ip(vip), .port = 80, .proto = IPPROTO_TCP, .kind = MODEL_CLUSTER_IP };
	t->frontends[1] = (struct model_frontend){ .addr = ip(vip), .kind = MODEL_OWNED };
	t->frontends[2] = (struct model_frontend){ .port = (uint16_t)(30000 + id % 2000), .proto = IPPROTO_TCP, .kind = MODEL_NODE_PORT };
	t->frontends[3] = (struct model_frontend){ .addr = ip(lb), .port = 80, .proto = IPPROTO_TCP, .kind = MODEL_LOAD_BALANCER };
	for (unsigned i = 0; i < n; i++) {
		char a[32];
		snprintf(a, sizeof(a), "10.244.0.%u", i + 1);
		t->backends[i] = (struct model_backend){ .addr = ip(a), .port = 8080, .flags = MODEL_BACKEND_ALL, .weight = 1 };
	}
	t->p = (struct model_port){
		.id = id, .ns = "default", .service = "web", .name = "http", .family = AF_INET, .proto = IPPROTO_TCP,
		.frontends = t->frontends, .frontend_count = 4, .backends = t->backends, .backend_count = n, .ranges = t->ranges,
	};
}

static inline void set_port(struct engine *e, const struct model_port *p)
{
	_cleanup_err_ struct err err = { 0 };
	if (e->ops->port_set(e, p, &err) < 0 || e->ops->commit(e, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

#endif
