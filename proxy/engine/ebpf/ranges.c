/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loadBalancerSourceRanges: prefixes under the id of the port's set of all endpoints. They are in the kernel before a
 * frontend asks for them and leave after the last one that did, so no client is shut out or let in by the order.
 */
#include <bpf/bpf.h>
#include <errno.h>

#include "proxy/engine/ebpf/internal.h"

static void range_key(uint32_t set_id, const struct ip_prefix *p, struct abi_range_key *ret)
{
	*ret = (struct abi_range_key){ .prefixlen = 32u + p->len + (p->addr.family == AF_INET ? 96 : 0), .set_id = set_id };
	ebpf_addr(&p->addr, ret->addr);
}

static int key_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct abi_range_key));
}

static bool has_range(const struct eport *p, const struct ip_prefix *r)
{
	for (size_t i = 0; p && i < p->range_count; i++)
		if (p->ranges[i].len == r->len && ip_addr_eq(&p->ranges[i].addr, &r->addr))
			return true;
	return false;
}

static void stale(struct ebpf *e, const struct abi_range_key *key)
{
	MEM_GROW(e->stale_ranges, e->stale_range_cap, e->stale_range_count + 1);
	e->stale_ranges[e->stale_range_count++] = *key;
}

/* A prefix that was about to go and is wanted again stays. */
static void unstale(struct ebpf *e, const struct abi_range_key *key)
{
	for (size_t i = 0; i < e->stale_range_count; i++)
		if (key_cmp(&e->stale_ranges[i], key) == 0)
			e->stale_ranges[i--] = e->stale_ranges[--e->stale_range_count];
}

static int range_write(struct ebpf *e, const struct abi_range_key *key)
{
	struct found_range *f =
		e->found_range_count ? bsearch(key, e->found_ranges, e->found_range_count, sizeof(*f), key_cmp) : NULL;
	unstale(e, key);
	if (f)
		f->claimed = true;
	else if (bpf_map_update_elem(e->maps[EBPF_RANGES], key, &(uint32_t){ 1 }, BPF_ANY) < 0)
		return -errno;
	return 0;
}

int ebpf_ranges_update(struct ebpf *e, struct eport *p, const struct eport *old, struct err *err)
{
	struct abi_range_key key;
	uint32_t kept = 0;
	int r = 0;
	for (size_t i = 0; i < p->range_count; i++) {
		range_key(p->sets[MODEL_SET_ALL], &p->ranges[i], &key);
		int w = has_range(old, &p->ranges[i]) ? 0 : range_write(e, &key);
		if (w < 0)
			r = w;
		else
			p->ranges[kept++] = p->ranges[i];
	}
	for (size_t i = 0; old && i < old->range_count; i++)
		if (!has_range(p, &old->ranges[i])) {
			range_key(p->sets[MODEL_SET_ALL], &old->ranges[i], &key);
			stale(e, &key);
		}
	p->range_count = kept; /* what is missing is tried again with the next change */
	return r == 0 ? 0 : err_set(err, -r, "not all source ranges of %s were written: %s (the kernel map holds at most %u)",
				    p->name, r == -ENOSPC ? "no room" : strerror(-r), e->max_entries[EBPF_RANGES]);
}

void ebpf_ranges_drop(struct ebpf *e, const struct eport *p)
{
	struct abi_range_key key;
	for (size_t i = 0; i < p->range_count; i++) {
		range_key(p->sets[MODEL_SET_ALL], &p->ranges[i], &key);
		stale(e, &key);
	}
}

void ebpf_ranges_commit(struct ebpf *e)
{
	for (size_t i = 0; i < e->stale_range_count; i++)
		bpf_map_delete_elem(e->maps[EBPF_RANGES], &e->stale_ranges[i]);
	free(e->stale_ranges);
	e->stale_ranges = NULL;
	e->stale_range_count = e->stale_range_cap = 0;
}

/* After the sets are known: prefixes of a set that nobody has are removed at once, before its id is given out. */
void ebpf_ranges_adopt(struct ebpf *e)
{
	struct abi_range_key at, next;
	size_t cap = 0;
	int fd = e->maps[EBPF_RANGES];
	for (void *from = NULL; bpf_map_get_next_key(fd, from, &next) == 0; at = next, from = &at) {
		MEM_GROW(e->found_ranges, cap, e->found_range_count + 1);
		e->found_ranges[e->found_range_count++] = (struct found_range){ next, false };
	}
	size_t kept = 0;
	for (size_t i = 0; i < e->found_range_count; i++) {
		struct found_range *f = &e->found_ranges[i];
		if (f->key.set_id && f->key.set_id < e->eset_cap && e->esets[f->key.set_id].used)
			e->found_ranges[kept++] = *f;
		else
			bpf_map_delete_elem(fd, &f->key);
	}
	e->found_range_count = kept;
	if (kept > 1)
		qsort(e->found_ranges, kept, sizeof(*e->found_ranges), key_cmp);
}

void ebpf_ranges_synced(struct ebpf *e)
{
	for (size_t i = 0; i < e->found_range_count; i++)
		if (!e->found_ranges[i].claimed)
			bpf_map_delete_elem(e->maps[EBPF_RANGES], &e->found_ranges[i].key);
	free(e->found_ranges);
	e->found_ranges = NULL;
	e->found_range_count = 0;
}

uint8_t ebpf_ranges_flags(const struct ebpf *e, const struct eport *p)
{
	const struct ip_prefix *pods = &e->cluster_cidr.v[ip_family_index(p->family)];
	bool node = false, all = false, some = false;
	for (size_t i = 0; i < p->range_count; i++) {
		const struct ip_prefix *r = &p->ranges[i];
		for (size_t k = 0; k < e->node_addr_count && !node; k++)
			node = ip_prefix_contains(r, &e->node_addrs[k]);
		if (!pods->addr.family)
			continue;
		all |= r->len <= pods->len && ip_prefix_contains(r, &pods->addr);
		some |= ip_prefix_contains(r, &pods->addr) || ip_prefix_contains(pods, &r->addr);
	}
	return ABI_FRONTEND_RANGES | (node ? 0 : ABI_FRONTEND_DENY_NODE) | (all ? ABI_FRONTEND_ALLOW_PODS : 0) |
	       (pods->addr.family && !some ? ABI_FRONTEND_DENY_PODS : 0);
}
