/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lab/reference.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/bpf/programs.h"

/* --- what should be --- */

static uint8_t weight_of(const struct object_service *s, const struct object_endpoint *e, const struct ip_addr *a)
{
	_cleanup_strlist_ struct strlist l = { 0 };
	char addr[IP_ADDR_TEXT_SIZE];
	strlist_split(&l, s->weights, ',');
	for (size_t i = 0; i < l.count; i++) {
		const char *item = l.items[i] + strspn(l.items[i], " ");
		const char *eq = strchr(item, '=');
		size_t n = eq ? (size_t)(eq - item) : 0;
		ip_format(a, addr);
		if (n && ((strlen(addr) == n && strncmp(item, addr, n) == 0) || (strlen(e->node) == n && strncmp(item, e->node, n) == 0)))
			return (uint8_t)atoi(eq + 1);
	}
	return 1;
}

/* Ready ones; when there is none, those that serve while terminating. */
static void choose(const struct world_service *s, size_t port, int family, const char *node, struct targets *ret)
{
	*ret = (struct targets){ 0 };
	for (int pass = 0; pass < 2 && ret->count == 0; pass++)
		for (size_t i = 0; i < s->count; i++) {
			const struct object_endpoint *e = &s->eps[i];
			bool usable = pass == 0 ? e->ready || s->o.publish_not_ready : e->serving && e->terminating;
			if (e->gone || !e->addr[family].family || !usable || (node && !str_eq(e->node, node)))
				continue;
			ret->v[ret->count++] = (struct target){
				.addr = e->addr[family], .port = e->target[port] ? e->target[port] : s->o.ports[port].target,
				.weight = weight_of(&s->o, e, &e->addr[family]), .ep = e,
			};
		}
}

void reference_targets(const struct world_service *s, size_t port, int family, unsigned node, bool local, struct targets *ret)
{
	struct targets all;
	char name[16];
	choose(s, port, family, NULL, &all);
	*ret = all;
	if (!local)
		return;
	snprintf(name, sizeof(name), "n%u", node);
	choose(s, port, family, name, ret);
	ret->drop = ret->count == 0 && all.count > 0;
}

static size_t ranges_of(const struct object_service *s, int family, unsigned node, struct ip_prefix *out)
{
	_cleanup_strlist_ struct strlist l = { 0 };
	struct ip_addr own = lab_addr(lab_node(node), family);
	size_t n = 0;
	bool from_node = false;
	strlist_split(&l, s->ranges, ',');
	for (size_t i = 0; i < l.count; i++) {
		struct ip_prefix p;
		if (ip_prefix_parse(l.items[i], &p) < 0 || p.addr.family != family)
			continue;
		ip_prefix_mask(&p);
		from_node |= ip_prefix_contains(&p, &own);
		out[n++] = p;
	}
	for (size_t i = 0; from_node && i < OBJECT_ADDRESSES && s->balancers[i]; i++)
		out[n++] = (struct ip_prefix){ .addr = lab_balancer_addr(s->balancers[i], family), .len = family == AF_INET ? 32 : 128 };
	return n;
}

bool reference_in_ranges(const struct object_service *s, const struct ip_addr *client, unsigned node)
{
	struct ip_prefix p[32];
	size_t n = ranges_of(s, client->family, node, p);
	if (!*s->ranges)
		return true;
	for (size_t i = 0; i < n; i++)
		if (ip_prefix_contains(&p[i], client))
			return true;
	return false;
}

static void words_of(const struct ip_addr *a, uint32_t out[4])
{
	memset(out, 0, 16);
	if (a->family == AF_INET) {
		out[2] = htonl(0xffff);
		memcpy(&out[3], a->bytes, 4);
	} else {
		memcpy(out, a->bytes, 16);
	}
}

struct building {
	struct front *v;
	size_t count, cap;
};

static void add_front(struct building *b, const struct front *f, const struct ip_addr *a)
{
	struct front n = *f;
	const struct object_port *p = &f->service->o.ports[f->port];
	struct ip_addr none = { .family = (uint8_t)f->family };
	words_of(a ? a : &none, n.key.addr);
	if (f->kind != FRONT_OWNED) {
		n.key.port = htons(f->kind == FRONT_NODE_PORT ? p->node_port : p->port);
		n.key.proto = p->proto;
	}
	n.key.scope = f->kind == FRONT_NODE_PORT ? ABI_SCOPE_NODE_PORT : f->kind == FRONT_OWNED ? ABI_SCOPE_OWNED : ABI_SCOPE_ADDRESS;
	for (size_t i = 0; i < b->count; i++)
		if (memcmp(&b->v[i].key, &n.key, sizeof(n.key)) == 0)
			return;
	MEM_GROW(b->v, b->cap, b->count + 1);
	b->v[b->count++] = n;
}

static void service_fronts(struct building *b, const struct world_service *s, size_t port, int f)
{
	int family = f ? AF_INET6 : AF_INET;
	struct front n = { .service = s, .port = port, .family = family };
	struct ip_addr vip = lab_service_addr(s->o.vip, family);
	n.kind = FRONT_CLUSTER;
	add_front(b, &n, &vip);
	n.kind = FRONT_OWNED;
	add_front(b, &n, &vip);
	n.kind = FRONT_EXTERNAL;
	for (size_t i = 0; i < OBJECT_ADDRESSES && s->o.externals[i]; i++) {
		struct ip_addr a = lab_external_addr(s->o.externals[i], family);
		add_front(b, &n, &a);
	}
	n.kind = FRONT_BALANCER;
	for (size_t i = 0; i < OBJECT_ADDRESSES && s->o.balancers[i] && s->o.type == OBJECT_LOAD_BALANCER; i++) {
		struct ip_addr a = lab_balancer_addr(s->o.balancers[i], family);
		add_front(b, &n, &a);
	}
	n.kind = FRONT_NODE_PORT;
	if (s->o.ports[port].node_port && s->o.type != OBJECT_CLUSTER_IP)
		add_front(b, &n, NULL);
}

struct front *reference_fronts(const struct world *w, size_t *ret_count)
{
	struct building b = { 0 };
	for (size_t i = 0; i < WORLD_SERVICES; i++) {
		const struct world_service *s = &w->services[i];
		if (!s->used || s->o.type == OBJECT_HEADLESS || *s->o.proxy_name)
			continue;
		for (size_t p = 0; p < s->o.port_count; p++)
			for (int f = 0; f < 2; f++)
				if (s->o.families[f])
					service_fronts(&b, s, p, f);
	}
	*ret_count = b.count;
	return b.v;
}

/* --- what is --- */

struct marray {
	int fd;
	void *data;
	size_t bytes;
	uint32_t max;
};
struct maps {
	int frontends, ranges;
	struct marray sets, slots, backends, config;
	char text[512];
};

static bool marray_map(struct marray *a, int fd, const struct bpf_map_info *info)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t each = (info->value_size + 7u) & ~7u;
	a->fd = fd;
	a->max = info->max_entries;
	a->bytes = (each * info->max_entries + page - 1) / page * page;
	a->data = mmap(NULL, a->bytes, PROT_READ, MAP_SHARED, fd, 0);
	return a->data != MAP_FAILED;
}

static bool take_map(struct maps *m, uint32_t id)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_map_get_fd_by_id(id);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return false;
	if (str_eq(info.name, "frontends"))
		m->frontends = fd;
	else if (str_eq(info.name, "ranges"))
		m->ranges = fd;
	else if (str_eq(info.name, "sets"))
		return marray_map(&m->sets, fd, &info);
	else if (str_eq(info.name, "slots"))
		return marray_map(&m->slots, fd, &info);
	else if (str_eq(info.name, "backends"))
		return marray_map(&m->backends, fd, &info);
	else if (str_eq(info.name, "config"))
		return marray_map(&m->config, fd, &info);
	else
		close(fd);
	return true;
}

struct maps *maps_open(struct lab *l, unsigned node, struct err *err)
{
	struct link_programs p;
	uint32_t ids[64], len;
	struct bpf_prog_info info = { .nr_map_ids = ARRAY_SIZE(ids), .map_ids = (uint64_t)(uintptr_t)ids };
	struct maps *m = mem_new(struct maps);
	m->frontends = m->ranges = m->sets.fd = m->slots.fd = m->backends.fd = m->config.fd = -1;
	len = sizeof(info);
	bool good = programs_of(l, node, "eth0", &p) && p.tc >= 0 && bpf_obj_get_info_by_fd(p.tc, &info, &len) == 0;
	for (uint32_t i = 0; good && i < info.nr_map_ids; i++)
		good = take_map(m, ids[i]);
	programs_done(&p);
	if (good && m->frontends >= 0 && m->ranges >= 0 && m->sets.data && m->slots.data && m->backends.data && m->config.data)
		return m;
	err_set(err, EIO, "the maps of node %u's programs could not be opened", node);
	maps_free(m);
	return NULL;
}

static void marray_done(struct marray *a)
{
	if (a->data && a->data != MAP_FAILED)
		munmap(a->data, a->bytes);
	closep(&a->fd);
}

struct maps *maps_free(struct maps *m)
{
	if (!m)
		return NULL;
	marray_done(&m->sets);
	marray_done(&m->slots);
	marray_done(&m->backends);
	marray_done(&m->config);
	closep(&m->frontends);
	closep(&m->ranges);
	free(m);
	return NULL;
}

/* --- comparing --- */

static const char *say(struct maps *m, const struct front *f, const char *fmt, ...) _printf_(3, 4);
static const char *say(struct maps *m, const struct front *f, const char *fmt, ...)
{
	char what[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (f)
		snprintf(m->text, sizeof(m->text), "%s port %u/%s IPv%d, frontend of kind %d: %s", f->service->o.name,
			 f->service->o.ports[f->port].port, object_proto_name(f->service->o.ports[f->port].proto),
			 f->family == AF_INET ? 4 : 6, f->kind, what);
	else
		snprintf(m->text, sizeof(m->text), "%s", what);
	return m->text;
}

static int find_target(const struct targets *t, const struct abi_backend *b)
{
	for (size_t i = 0; i < t->count; i++) {
		uint32_t words[4];
		words_of(&t->v[i].addr, words);
		if (memcmp(words, b->addr, 16) == 0 && b->port == htons(t->v[i].port))
			return (int)i;
	}
	return -1;
}

/* Weights as they are: their sum is small here, so shares are exact. */
static const char *compare_shares(struct maps *m, const struct front *f, const struct targets *t, const uint32_t *seen)
{
	for (size_t i = 0; i < t->count; i++)
		for (size_t k = 0; k < t->count; k++)
			if (seen[i] * t->v[k].weight != seen[k] * t->v[i].weight)
				return say(m, f, "weights %u and %u have %u and %u slots", t->v[i].weight, t->v[k].weight, seen[i], seen[k]);
	return NULL;
}

static const char *compare_set(struct maps *m, const struct front *f, uint32_t id, const struct targets *t)
{
	uint32_t seen[OBJECT_ENDPOINTS] = { 0 }, weights = 0;
	if (id >= m->sets.max)
		return say(m, f, "set %u is out of range", id);
	uint64_t word = ((volatile uint64_t *)m->sets.data)[id];
	uint32_t base = ABI_SET_BASE(word), count = ABI_SET_COUNT(word), flags = ABI_SET_FLAGS(word);
	for (size_t i = 0; i < t->count; i++)
		weights += t->v[i].weight;
	if (weights == 0) {
		if (count)
			return say(m, f, "set %u has %u slots, there should be none", id, count);
		if (t->count == 0 && !!(flags & ABI_SET_DROP) != t->drop)
			return say(m, f, "set %u is empty and %s", id, t->drop ? "should drop" : "should refuse");
		return NULL;
	}
	const char *balancing = f->service->o.balancing;
	if (!!(flags & ABI_SET_HASH) != str_eq(balancing, "maglev") || !!(flags & ABI_SET_LEAST) != str_eq(balancing, "least-connections"))
		return say(m, f, "set %u has flags %u with balancing \"%s\"", id, flags, balancing);
	if (count == 0 || (uint64_t)base + count > m->slots.max)
		return say(m, f, "set %u has %u slots at %u, there should be %zu backends", id, count, base, t->count);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t slot = ((volatile uint64_t *)m->slots.data)[base + i];
		if (ABI_SLOT_BACKEND(slot) >= m->backends.max)
			return say(m, f, "slot %u names backend %u", base + i, ABI_SLOT_BACKEND(slot));
		struct abi_backend b = ((struct abi_backend *)m->backends.data)[ABI_SLOT_BACKEND(slot)];
		int at = find_target(t, &b);
		if (b.generation == 0 || b.generation != ABI_SLOT_GENERATION(slot) || b.set_id != id || !(b.flags & ABI_BACKEND_NEW))
			return say(m, f, "slot %u of set %u names a backend that is not its own, or takes nobody", i, id);
		if (at < 0)
			return say(m, f, "set %u has a backend that it should not have", id);
		seen[at]++;
	}
	for (size_t i = 0; i < t->count; i++)
		if ((seen[i] == 0) != (t->v[i].weight == 0))
			return say(m, f, "set %u: endpoint %zu has %u slots, weight %u", id, i, seen[i], t->v[i].weight);
	return str_eq(balancing, "maglev") ? NULL : compare_shares(m, f, t, seen);
}

static bool ranged(const struct front *f)
{
	return f->kind == FRONT_BALANCER && *f->service->o.ranges;
}

static const char *compare_front(struct maps *m, const struct front *f, unsigned node, uint32_t *ret_set)
{
	struct abi_frontend have;
	struct targets in, out;
	const struct object_service *o = &f->service->o;
	int family = f->family == AF_INET6;
	if (bpf_map_lookup_elem(m->frontends, &f->key, &have) < 0)
		return say(m, f, "is not there");
	if (f->kind == FRONT_OWNED)
		return NULL;
	bool cluster = f->kind == FRONT_CLUSTER;
	reference_targets(f->service, f->port, family, node, cluster && o->itp_local, &in);
	reference_targets(f->service, f->port, family, node, cluster ? o->itp_local : o->etp_local, &out);
	if (have.affinity_s != o->affinity_s || have.check_addr != f->key.addr[3] || have.check_port != f->key.port)
		return say(m, f, "affinity %u instead of %u, or a repeated key that differs", have.affinity_s, o->affinity_s);
	if (!!(have.flags & ABI_FRONTEND_DSR) != str_eq(o->forwarding, "dsr"))
		return say(m, f, "flags %u, forwarding \"%s\"", have.flags, o->forwarding);
	if (!!(have.flags & ABI_FRONTEND_RANGES) != ranged(f))
		return say(m, f, "flags %u, source ranges \"%s\"", have.flags, o->ranges);
	*ret_set = have.set_id;
	const char *bad = compare_set(m, f, have.set_id, &in);
	return bad ? bad : compare_set(m, f, have.outside_set_id, &out);
}

static size_t count_keys(int fd, size_t key_bytes)
{
	char key[64], next[64];
	size_t n = 0;
	BUG_ON(key_bytes > sizeof(key));
	for (void *at = NULL; bpf_map_get_next_key(fd, at, next) == 0; at = key, n++)
		memcpy(key, next, key_bytes);
	return n;
}

/* Of the ranges of one set: all there? Counts them, each once. */
static const char *compare_ranges(struct maps *m, const struct front *f, unsigned node, uint32_t set_id, size_t *count)
{
	struct ip_prefix p[32];
	size_t n = ranges_of(&f->service->o, f->family, node, p);
	for (size_t i = 0; i < n; i++) {
		struct abi_range_key key = { .prefixlen = 32u + p[i].len + (f->family == AF_INET ? 96 : 0), .set_id = set_id }, prev, next;
		bool there = false, twice = false;
		words_of(&p[i].addr, key.addr);
		for (size_t k = 0; k < i; k++)
			twice |= p[k].len == p[i].len && ip_addr_eq(&p[k].addr, &p[i].addr);
		for (void *at = NULL; !there && bpf_map_get_next_key(m->ranges, at, &next) == 0; at = &prev) {
			there = memcmp(&next, &key, sizeof(key)) == 0;
			prev = next;
		}
		if (!there)
			return say(m, f, "source range %zu of set %u is not there", i, set_id);
		*count += !twice;
	}
	return NULL;
}

/* Every backend in use is an endpoint, of a Service that is there, that serves. */
static const char *compare_backends(const struct world *w, struct maps *m)
{
	const struct abi_config *c = m->config.data;
	uint32_t high = MIN(c->backend_high, m->backends.max);
	for (uint32_t id = 0; id < high; id++) {
		struct abi_backend b = ((struct abi_backend *)m->backends.data)[id];
		bool known = b.generation == 0;
		for (size_t i = 0; i < WORLD_SERVICES && !known; i++) {
			const struct world_service *s = &w->services[i];
			for (size_t k = 0; s->used && k < s->count && !known; k++)
				for (int f = 0; f < 2 && !known; f++) {
					const struct object_endpoint *e = &s->eps[k];
					uint32_t words[4];
					words_of(&e->addr[f], words);
					known = !e->gone && s->o.families[f] && memcmp(words, b.addr, 16) == 0 &&
						(e->ready || e->serving || s->o.publish_not_ready);
				}
		}
		if (!known)
			return say(m, NULL, "backend %u is no endpoint of anybody", id);
	}
	return NULL;
}

static bool port_before(const struct front *v, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (ranged(&v[k]) && v[k].service == v[i].service && v[k].port == v[i].port && v[k].family == v[i].family)
			return true;
	return false;
}

const char *reference_compare(const struct world *w, unsigned node, struct maps *m)
{
	size_t n, range_count = 0;
	_cleanup_free_ struct front *v = reference_fronts(w, &n);
	for (size_t i = 0; i < n; i++) {
		uint32_t set_id = 0;
		const char *bad = compare_front(m, &v[i], node, &set_id);
		if (!bad && ranged(&v[i]) && !port_before(v, i))
			bad = compare_ranges(m, &v[i], node, set_id, &range_count);
		if (bad)
			return bad;
	}
	size_t have = count_keys(m->frontends, sizeof(struct abi_frontend_key));
	if (have != n)
		return say(m, NULL, "%zu frontends instead of %zu", have, n);
	have = count_keys(m->ranges, sizeof(struct abi_range_key));
	if (have != range_count)
		return say(m, NULL, "%zu source ranges instead of %zu", have, range_count);
	return compare_backends(w, m);
}
