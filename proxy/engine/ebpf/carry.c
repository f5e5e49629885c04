/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order, and what a kill leaves behind at each step:
 *   next/ is made and filled             removed by the next daemon, which starts over
 *   flows are copied a first time        the same
 *   v<ABI>/ (if any) becomes old/,       next/ becomes v<ABI>/ when old/ is there and v<ABI>/ is not
 *   next/ becomes v<ABI>/                from here on v<ABI>/ is adopted, and flows of the others are copied again
 *   programs change over                 the same
 *   flows are copied a second time       the same
 *   everything but v<ABI>/ is removed
 */
#include "proxy/engine/ebpf/carry.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "proxy/engine/ebpf/internal.h"

struct carry {
	struct carry_map maps[EBPF_MAP_MAX];
	uint64_t no_room; /* flows that the new maps did not take */
};

/* What both may use at once: nothing in them depends on where the rest of the maps is. */
static const enum ebpf_map shareable[] = {
	EBPF_SOCKS, EBPF_FLOWS, EBPF_FLOW_REPLIES, EBPF_AFFINITY, EBPF_UDP_PEERS, EBPF_FRAGMENTS, EBPF_COUNTERS,
};
/* Replies first: a packet that finds its flow finds the way back too. */
static const enum ebpf_map carried[] = { EBPF_FLOW_REPLIES, EBPF_FLOWS, EBPF_AFFINITY, EBPF_UDP_PEERS };

static char *own_name(void)
{
	return str_printf("v%d", ABI_VERSION);
}

static bool exists(const struct ebpf *e, const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/%s", e->pin_dir, name);
	return file_exists(path);
}

/* Are the maps pinned there those that obj would make? Those not pinned yet are. */
static bool maps_fit(const char *dir, struct bpf_object *obj)
{
	for (size_t i = 0; i < EBPF_MAP_MAX; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, ebpf_map_names[i]);
		_cleanup_free_ char *path = str_printf("%s/%s", dir, ebpf_map_names[i]);
		_cleanup_close_ int fd = bpf_obj_get(path);
		struct bpf_map_info info = { 0 };
		uint32_t len = sizeof(info);
		if (fd >= 0 && (bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || info.type != bpf_map__type(m) ||
				info.key_size != bpf_map__key_size(m) || info.value_size != bpf_map__value_size(m) ||
				info.max_entries != bpf_map__max_entries(m)))
			return false;
	}
	return true;
}

/* The directory of maps that is in use, of this version or another; own, NULL without one. */
static char *source_dir(const struct ebpf *e)
{
	_cleanup_free_ char *own = own_name();
	char *found = NULL;
	DIR *d = opendir(e->pin_dir);
	for (struct dirent *n; d && (n = readdir(d));) {
		bool other = n->d_name[0] == 'v' && !str_eq(n->d_name, own);
		if (!other && !str_eq(n->d_name, "old"))
			continue;
		free(found);
		found = str_printf("%s/%s", e->pin_dir, n->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

static int map_open(struct carry_map *c, const char *dir, struct bpf_object *obj, enum ebpf_map which)
{
	struct bpf_map *m = bpf_object__find_map_by_name(obj, ebpf_map_names[which]);
	_cleanup_free_ char *path = str_printf("%s/%s", dir, ebpf_map_names[which]);
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || info.type != bpf_map__type(m))
		return -ENOENT;
	struct btf *theirs = info.btf_id ? btf__load_from_kernel_by_id(info.btf_id) : NULL;
	const struct btf *ours = bpf_object__btf(obj);
	if (!theirs)
		return -ENOENT;
	int r = layout_init(&c->key, theirs, info.btf_key_type_id, ours, bpf_map__btf_key_type_id(m));
	if (r == 0)
		r = layout_init(&c->value, theirs, info.btf_value_type_id, ours, bpf_map__btf_value_type_id(m));
	btf__free(theirs);
	if (r < 0)
		return r;
	c->key_bytes = info.key_size;
	c->value_bytes = info.value_size;
	c->max_entries = info.max_entries;
	c->fd = fd;
	fd = -1;
	return 0;
}

static bool is_shareable(enum ebpf_map which)
{
	for (size_t i = 0; i < ARRAY_SIZE(shareable); i++)
		if (shareable[i] == which)
			return true;
	return false;
}

/* Pins a map of theirs among ours when it would be the same one. */
static bool share(const struct carry_map *c, const char *dir, struct bpf_object *obj, enum ebpf_map which)
{
	struct bpf_map *m = bpf_object__find_map_by_name(obj, ebpf_map_names[which]);
	_cleanup_free_ char *path = str_printf("%s/%s", dir, ebpf_map_names[which]);
	bool fits = is_shareable(which) && c->key.same && c->value.same &&
		    (bpf_map__type(m) == BPF_MAP_TYPE_SK_STORAGE || c->max_entries == bpf_map__max_entries(m));
	return fits && bpf_obj_pin(c->fd, path) == 0;
}

static void carry_open(struct ebpf *e, const char *dir, struct bpf_object *obj, bool fresh)
{
	struct carry *c = e->carry = mem_new(struct carry);
	for (size_t i = 0; i < EBPF_MAP_MAX; i++) {
		struct carry_map *m = &c->maps[i];
		m->fd = -1;
		map_open(m, dir, obj, (enum ebpf_map)i);
		if (m->fd >= 0 && fresh && share(m, e->map_dir, obj, (enum ebpf_map)i)) {
			close(m->fd);
			m->fd = -1;
		}
	}
}

static void pin_paths(const struct ebpf *e, struct bpf_object *obj)
{
	for (size_t i = 0; i < EBPF_MAP_MAX; i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", e->map_dir, ebpf_map_names[i]);
		bpf_map__set_pin_path(bpf_object__find_map_by_name(obj, ebpf_map_names[i]), path);
	}
}

int carry_choose(struct ebpf *e, struct bpf_object *obj, struct err *err)
{
	_cleanup_free_ char *own = own_name(), *home = str_printf("%s/%s", e->pin_dir, own);
	_cleanup_free_ char *next = str_printf("%s/next", e->pin_dir);
	if (exists(e, "old") && !exists(e, own) && exists(e, "next") && rename(next, home) < 0)
		return err_set(err, errno, "renaming %s: %s", next, strerror(errno));
	ebpf_remove_tree(next);
	_cleanup_free_ char *source = source_dir(e);
	bool fits = exists(e, own) && maps_fit(home, obj);
	e->fresh = !fits && (source || exists(e, own));
	e->map_dir = TAKE(*(e->fresh ? &next : &home));
	int r = file_mkdir_p(e->map_dir, 0700);
	if (r < 0)
		return err_set(err, -r, "making %s: %s", e->map_dir, strerror(-r));
	if (!ebpf_is_bpffs(e->map_dir))
		return err_set(err, EINVAL, "--pin-dir %s is not in a bpffs (mount -t bpf)", e->pin_dir);
	/* Maps of our own version that do not fit are nearer than those of another. */
	if (e->fresh && exists(e, own))
		carry_open(e, home, obj, true);
	else if (source)
		carry_open(e, source, obj, e->fresh);
	pin_paths(e, obj);
	return 0;
}

/* Reads element `key` (ours) of an array and writes it converted; false when it is not there. */
static bool array_get(const struct carry_map *c, uint32_t i, void *out, size_t bytes)
{
	_cleanup_free_ char *in = mem_alloc((c->value_bytes + 7) & ~7u);
	if (c->fd < 0 || i >= c->max_entries || bpf_map_lookup_elem(c->fd, &i, in) < 0)
		return false;
	layout_convert(&c->value, in, out, bytes);
	return true;
}

/* Called for each element in our layout. */
typedef void (*carry_fn)(struct ebpf *e, enum ebpf_map which, const void *key, const void *value);

static void each(struct ebpf *e, enum ebpf_map which, size_t key_bytes, size_t value_bytes, carry_fn fn)
{
	enum { BATCH = 1024 };
	const struct carry_map *c = &e->carry->maps[which];
	_cleanup_free_ char *keys = mem_calloc(BATCH, c->key_bytes), *values = mem_calloc(BATCH, (c->value_bytes + 7) & ~7u);
	_cleanup_free_ char *key = mem_zalloc(key_bytes), *value = mem_zalloc(value_bytes);
	uint32_t token[16], *in = NULL; /* a key's size at most, for LRU and hash maps 4 bytes */
	for (bool more = c->fd >= 0; more; in = token) {
		uint32_t n = BATCH;
		DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, opts);
		int r = bpf_map_lookup_batch(c->fd, in, token, keys, values, &n, &opts);
		if (r < 0 && errno != ENOENT)
			return;
		more = r == 0;
		for (uint32_t i = 0; i < n; i++) {
			layout_convert(&c->key, keys + (size_t)i * c->key_bytes, key, key_bytes);
			layout_convert(&c->value, values + (size_t)i * c->value_bytes, value, value_bytes);
			fn(e, which, key, value);
		}
	}
}

static void set_in(struct ebpf *e, uint32_t set_id)
{
	const struct carry *c = e->carry;
	uint64_t *word = marray_at(&e->sets, set_id), w = 0;
	struct abi_stats *st = marray_at(&e->stats, set_id);
	if (!word || !st || *word || !array_get(&c->maps[EBPF_SETS], set_id, &w, sizeof(w)))
		return;
	array_get(&c->maps[EBPF_STATS], set_id, st, sizeof(*st));
	for (uint32_t i = 0; i < ABI_SET_COUNT(w); i++) {
		uint64_t *slot = marray_at(&e->slots, ABI_SET_BASE(w) + i);
		if (!slot || !array_get(&c->maps[EBPF_SLOTS], ABI_SET_BASE(w) + i, slot, sizeof(*slot)))
			w = 0; /* beyond the new size: the port's slots are written anew */
	}
	*word = w;
}

static void frontend_in(struct ebpf *e, enum ebpf_map which, const void *key, const void *value)
{
	const struct abi_frontend *f = value;
	if (f->set_id >= e->max_entries[EBPF_SETS] || f->outside_set_id >= e->max_entries[EBPF_SETS])
		return;
	set_in(e, f->set_id);
	set_in(e, f->outside_set_id);
	bpf_map_update_elem(e->maps[which], key, value, BPF_ANY);
}

int carry_state(struct ebpf *e, struct err *err)
{
	if (!e->carry || !e->fresh)
		return 0;
	const struct carry *c = e->carry;
	struct abi_config config = { 0 };
	array_get(&c->maps[EBPF_CONFIG], 0, &config, sizeof(config));
	e->config->generation = config.generation;
	e->config->backend_high = MIN(config.backend_high, e->max_entries[EBPF_BACKENDS]);
	for (uint32_t id = 1; id < e->config->backend_high; id++) {
		struct abi_backend *b = marray_at(&e->backends, id);
		uint32_t *load = marray_at(&e->loads, id);
		if (!b || !load)
			return err_set(err, errno, "mapping the backend table: %s", strerror(errno));
		array_get(&c->maps[EBPF_BACKENDS], id, b, sizeof(*b));
		array_get(&c->maps[EBPF_LOADS], id, load, sizeof(*load));
	}
	each(e, EBPF_FRONTENDS, sizeof(struct abi_frontend_key), sizeof(struct abi_frontend), frontend_in);
	return 0;
}

static void flow_in(struct ebpf *e, enum ebpf_map which, const void *key, const void *value)
{
	struct abi_flow_reply reply;
	if (which == EBPF_FLOW_REPLIES) {
		/* Version 1 had no other client than the key's. */
		const struct abi_flow_key *k = key;
		static const uint32_t none[4];
		reply = *(const struct abi_flow_reply *)value;
		if (memcmp(reply.client, none, sizeof(none)) == 0) {
			memcpy(reply.client, k->client, sizeof(reply.client));
			reply.client_port = k->client_port;
		}
		value = &reply;
	}
	if (bpf_map_update_elem(e->maps[which], key, value, BPF_NOEXIST) < 0 && errno != EEXIST)
		e->carry->no_room++;
}

void carry_flows(struct ebpf *e)
{
	static const size_t sizes[EBPF_MAP_MAX][2] = {
		[EBPF_FLOWS] = { sizeof(struct abi_flow_key), sizeof(struct abi_flow) },
		[EBPF_FLOW_REPLIES] = { sizeof(struct abi_flow_key), sizeof(struct abi_flow_reply) },
		[EBPF_AFFINITY] = { sizeof(struct abi_affinity_key), sizeof(struct abi_affinity) },
		[EBPF_UDP_PEERS] = { sizeof(struct abi_peer_key), sizeof(struct abi_peer) },
	};
	if (!e->carry)
		return;
	e->carry->no_room = 0;
	for (size_t i = 0; i < ARRAY_SIZE(carried); i++)
		each(e, carried[i], sizes[carried[i]][0], sizes[carried[i]][1], flow_in);
	if (e->carry->no_room)
		log_warn("flows of the earlier maps were not taken over: no room count=%llu", (unsigned long long)e->carry->no_room);
}

bool carry_pending(const struct ebpf *e)
{
	for (size_t i = 0; e->carry && i < ARRAY_SIZE(carried); i++)
		if (e->carry->maps[carried[i]].fd >= 0)
			return true;
	return false;
}

int carry_rename(struct ebpf *e, struct err *err)
{
	if (!e->fresh)
		return 0;
	_cleanup_free_ char *own = own_name(), *home = str_printf("%s/%s", e->pin_dir, own);
	_cleanup_free_ char *old = str_printf("%s/old", e->pin_dir);
	if (exists(e, own)) {
		ebpf_remove_tree(old);
		if (rename(home, old) < 0)
			return err_set(err, errno, "renaming %s: %s", home, strerror(errno));
	}
	if (rename(e->map_dir, home) < 0)
		return err_set(err, errno, "renaming %s: %s", e->map_dir, strerror(errno));
	free(e->map_dir);
	e->map_dir = TAKE(home);
	e->fresh = false;
	return 0;
}

void carry_retire(struct ebpf *e)
{
	e->carry = carry_free(e->carry);
	for (char *other; (other = source_dir(e));) {
		ebpf_remove_tree(other);
		bool stays = file_exists(other);
		free(other);
		if (stays)
			return;
	}
}

struct carry *carry_free(struct carry *c)
{
	for (size_t i = 0; c && i < EBPF_MAP_MAX; i++) {
		if (c->maps[i].fd >= 0)
			close(c->maps[i].fd);
		layout_done(&c->maps[i].key);
		layout_done(&c->maps[i].value);
	}
	free(c);
	return NULL;
}
