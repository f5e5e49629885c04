/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one decision: which frontend does a destination name, and which backend does a client get. Socket hooks and tc
 * share it.
 */
#ifndef KEELSON_BPF_LIB_SELECT_H
#define KEELSON_BPF_LIB_SELECT_H

#include "bpf/lib/maps.h"
#include "bpf/shared/hash.h"

#define V4MAPPED bpf_htonl(0xffff)
#define NSEC_PER_SEC 1000000000ULL
/* How often a reader overtaken by an update starts again. */
#define SELECT_TRIES 4

struct select_dst {
	__u32 addr[4];
	__be16 port;
	__u8 proto;
};

static __always_inline void addr_copy(__u32 *to, const __u32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

static __always_inline int addr_same(const __u32 *a, const __u32 *b)
{
	return a[3] == b[3] && a[2] == b[2] && a[1] == b[1] && a[0] == b[0];
}

static __always_inline void addr_from_v4(__u32 *to, __u32 v4)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = V4MAPPED;
	to[3] = v4;
}

static __always_inline int addr_is_v4(const __u32 *a)
{
	return a[0] == 0 && a[1] == 0 && a[2] == V4MAPPED;
}

static __always_inline int addr_is_loopback(const __u32 *a)
{
	if (addr_is_v4(a)) /* connecting to 0.0.0.0 or :: means this host */
		return (a[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || a[3] == 0;
	return a[0] == 0 && a[1] == 0 && a[2] == 0 && (a[3] == bpf_htonl(1) || a[3] == 0);
}

static __always_inline int frontend_lookup(struct abi_frontend_key *key, struct abi_frontend *ret)
{
	for (int i = 0; i < SELECT_TRIES; i++) {
		struct abi_frontend *f = bpf_map_lookup_elem(&frontends, key);
		if (!f)
			return 0;
		*ret = *f;
		barrier();
		if (ret->check_addr == key->addr[3] && ret->check_port == key->port && ret->check_proto == key->proto)
			return 1;
	}
	return 0;
}

static __always_inline void frontend_key(struct abi_frontend_key *key, const struct select_dst *dst)
{
	addr_copy(key->addr, dst->addr);
	key->port = dst->port;
	key->proto = dst->proto;
	key->scope = ABI_SCOPE_ADDRESS;
}

/* A node port's address is the family's unspecified one. */
static __always_inline void frontend_key_node_port(struct abi_frontend_key *key)
{
	key->addr[2] = addr_is_v4(key->addr) ? V4MAPPED : 0;
	key->addr[0] = key->addr[1] = key->addr[3] = 0;
	key->scope = ABI_SCOPE_NODE_PORT;
}

static __always_inline int is_node_port(const struct abi_config *c, __be16 port)
{
	__u16 p = bpf_ntohs(port);
	return p >= c->node_port_min && p <= c->node_port_max;
}

static __always_inline int is_node_addr(const __u32 *addr)
{
	struct abi_node_addr_key key;
	addr_copy(key.addr, addr);
	return bpf_map_lookup_elem(&node_addrs, &key) != 0;
}

/* Another node of the cluster, by any of its addresses. */
static __always_inline int is_peer_node(const __u32 *addr)
{
	struct abi_peer_node_key key;
	addr_copy(key.addr, addr);
	return bpf_map_lookup_elem(&peer_nodes, &key) != 0;
}

static __always_inline int in_range(const __u32 *net, const __u32 *mask, const __u32 *addr)
{
	return (addr[3] & mask[3]) == net[3] && (addr[2] & mask[2]) == net[2] && (addr[1] & mask[1]) == net[1] &&
	       (addr[0] & mask[0]) == net[0] && mask[0] != 0;
}

static __always_inline int in_service_range(const struct abi_config *c, const __u32 *addr)
{
	return addr_is_v4(addr) ? in_range(c->service_net[0], c->service_mask[0], addr) :
				  in_range(c->service_net[1], c->service_mask[1], addr);
}

/* Copies backend id if it still has this generation. */
static __always_inline int backend_get(__u32 id, __u32 generation, struct abi_backend *ret)
{
	struct abi_backend *b = bpf_map_lookup_elem(&backends, &id);
	if (!b || *(volatile __u32 *)&b->generation != generation || generation == 0)
		return 0;
	*ret = *b;
	barrier();
	return *(volatile __u32 *)&b->generation == generation;
}

static __always_inline int backend_alive(__u32 id, __u32 generation)
{
	struct abi_backend *b = bpf_map_lookup_elem(&backends, &id);
	return b && generation != 0 && *(volatile __u32 *)&b->generation == generation;
}

/* May this client use a frontend with ABI_FRONTEND_RANGES? set_id: the frontend's own, also for packets from outside. */
static __always_inline int range_allows(__u32 set_id, const __u32 *client)
{
	struct abi_range_key key = { .prefixlen = 32 + 128, .set_id = set_id };
	addr_copy(key.addr, client);
	return bpf_map_lookup_elem(&ranges, &key) != 0;
}

/* Connections of a backend, for ABI_SET_LEAST. */
static __always_inline __s32 load_get(__u32 id)
{
	__u32 *n = bpf_map_lookup_elem(&loads, &id);
	return n ? (__s32)*(volatile __u32 *)n : 0;
}

static __always_inline void load_add(__u32 id)
{
	__u32 *n = bpf_map_lookup_elem(&loads, &id);
	if (n)
		__sync_fetch_and_add(n, 1);
}

/* The id may have become another backend's, and the daemon may have begun to count anew: never below zero. */
static __always_inline void load_sub(__u32 id, __u32 generation)
{
	__u32 *n = bpf_map_lookup_elem(&loads, &id);
	if (!n || !backend_alive(id, generation))
		return;
	if ((__s32)__sync_fetch_and_add(n, -1) <= 0)
		__sync_fetch_and_add(n, 1);
}

struct select_result {
	struct abi_backend backend;
	__u32 id;
	__u8 loaded; /* the caller counts the connection: load_add() now, load_sub() at its end */
};
enum select_verdict { SELECT_OK, SELECT_NONE, SELECT_DROP, SELECT_OVERTAKEN };

static __always_inline __u64 set_word(__u32 set_id)
{
	__u64 *word = bpf_map_lookup_elem(&sets, &set_id);
	return word ? *(volatile __u64 *)word : 0;
}

/* The slot that a number of 32 bits falls to; 0 when there is none. Multiply-shift: as even as a modulo and no division. */
static __always_inline __u64 slot_at(__u64 set, __u32 number)
{
	__u32 at = ABI_SET_BASE(set) + (__u32)(((__u64)number * ABI_SET_COUNT(set)) >> 32);
	__u64 *slot = bpf_map_lookup_elem(&slots, &at);
	return slot ? *(volatile __u64 *)slot : 0;
}

static __always_inline __u64 slot_choose(__u64 set, const struct abi_flow_key *who)
{
	if (ABI_SET_FLAGS(set) & ABI_SET_HASH)
		return slot_at(set, abi_hash_flow(who));
	__u64 one = slot_at(set, bpf_get_prandom_u32());
	if (!(ABI_SET_FLAGS(set) & ABI_SET_LEAST))
		return one;
	__u64 two = slot_at(set, bpf_get_prandom_u32());
	return load_get(ABI_SLOT_BACKEND(two)) < load_get(ABI_SLOT_BACKEND(one)) ? two : one;
}

/* SELECT_OVERTAKEN when an update came in between: try again. Global, so that the verifier sees it once and not once a try. */
__noinline int select_try(__u32 set_id, const struct abi_flow_key *who, struct select_result *ret)
{
	__u64 set = set_word(set_id);
	if (!who || !ret)
		return SELECT_NONE;
	if (ABI_SET_COUNT(set) == 0)
		return ABI_SET_FLAGS(set) & ABI_SET_DROP ? SELECT_DROP : SELECT_NONE;
	__u64 s = slot_choose(set, who);
	ret->id = ABI_SLOT_BACKEND(s);
	ret->loaded = !!(ABI_SET_FLAGS(set) & ABI_SET_LEAST);
	return backend_get(ret->id, ABI_SLOT_GENERATION(s), &ret->backend) && ret->backend.set_id == set_id ? SELECT_OK :
													   SELECT_OVERTAKEN;
}

static __always_inline int select_slot(__u32 set_id, const struct abi_flow_key *who, struct select_result *ret)
{
#pragma unroll
	for (int i = 0; i < SELECT_TRIES; i++) {
		int verdict = select_try(set_id, who, ret);
		if (verdict != SELECT_OVERTAKEN)
			return verdict;
	}
	return SELECT_OVERTAKEN;
}

static __always_inline void affinity_key(struct abi_affinity_key *key, __u32 set_id, const struct abi_flow_key *who, __u8 kind)
{
	key->client[0] = who->client[0];
	key->client[1] = who->client[1];
	key->client[2] = kind == ABI_CLIENT_ADDR ? who->client[2] : 0;
	key->client[3] = kind == ABI_CLIENT_ADDR ? who->client[3] : 0;
	key->set_id = set_id;
	key->kind = kind;
}

/*
 * who: client, frontend, ports and protocol of a packet (kind ABI_CLIENT_ADDR). A socket does not know its port yet: its
 * client words are the cookies of its network namespace (0, 1) and its own (2, 3), its port 0 (kind ABI_CLIENT_NETNS).
 */
__noinline int select_backend(const struct abi_frontend *f, const struct abi_flow_key *who, __u8 kind,
			      struct select_result *ret)
{
	if (!f || !who || !ret)
		return SELECT_NONE;
	if (!f->affinity_s)
		return select_slot(f->set_id, who, ret);

	struct abi_affinity_key client = {};
	affinity_key(&client, f->set_id, who, kind);
	__u64 now = bpf_ktime_get_ns();
	struct abi_affinity *a = bpf_map_lookup_elem(&affinity, &client);
	if (a && now - a->last_ns < (__u64)f->affinity_s * NSEC_PER_SEC &&
	    backend_get(a->backend_id, a->generation, &ret->backend) && ret->backend.set_id == f->set_id &&
	    ret->backend.flags & ABI_BACKEND_NEW) {
		a->last_ns = now;
		ret->id = a->backend_id;
		ret->loaded = !!(ABI_SET_FLAGS(set_word(f->set_id)) & ABI_SET_LEAST);
		return SELECT_OK;
	}
	int verdict = select_slot(f->set_id, who, ret);
	if (verdict == SELECT_OK) {
		struct abi_affinity n = { .last_ns = now, .backend_id = ret->id, .generation = ret->backend.generation };
		bpf_map_update_elem(&affinity, &client, &n, BPF_ANY);
	}
	return verdict;
}

static __always_inline void stats_connection(__u32 set_id)
{
	struct abi_stats *s = bpf_map_lookup_elem(&stats, &set_id);
	if (s)
		__sync_fetch_and_add(&s->connections, 1);
}

static __always_inline void stats_refused(__u32 set_id)
{
	struct abi_stats *s = bpf_map_lookup_elem(&stats, &set_id);
	if (s)
		__sync_fetch_and_add(&s->refused, 1);
}

#endif
