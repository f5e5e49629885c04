/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the node is: its own addresses, the cluster's other nodes, the sources of what it sends on. */
#include <bpf/bpf.h>
#include <errno.h>

#include "proxy/engine/ebpf/internal.h"

/* Both maps of addresses have such keys. */
_Static_assert(sizeof(struct abi_node_addr_key) == 16 && sizeof(struct abi_peer_node_key) == 16, "addresses");
struct addr_key {
	uint32_t addr[4];
};

static int key_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr_key));
}

/* Sorted, own. */
static struct addr_key *keys_of(const struct ip_addr *addrs, size_t n)
{
	struct addr_key *keys = mem_new_n(struct addr_key, n + 1);
	for (size_t i = 0; i < n; i++)
		ebpf_addr(&addrs[i], keys[i].addr);
	if (n > 1)
		qsort(keys, n, sizeof(*keys), key_cmp);
	return keys;
}

static int add_keys(int fd, const struct addr_key *keys, size_t n)
{
	uint32_t one = 1;
	for (size_t i = 0; i < n; i++)
		if (bpf_map_update_elem(fd, &keys[i], &one, BPF_ANY) < 0)
			return -errno;
	return 0;
}

/* Makes the map hold exactly these: what is new first, then what is gone; the other way round when there is no room. */
static int keys_write(int fd, const struct addr_key *keys, size_t n)
{
	_cleanup_free_ struct addr_key *stale = NULL;
	size_t stale_count = 0, cap = 0;
	struct addr_key at, next;
	int r = add_keys(fd, keys, n);
	for (void *from = NULL; bpf_map_get_next_key(fd, from, &next) == 0; at = next, from = &at)
		if (!n || !bsearch(&next, keys, n, sizeof(*keys), key_cmp)) {
			MEM_GROW(stale, cap, stale_count + 1);
			stale[stale_count++] = next;
		}
	for (size_t i = 0; i < stale_count; i++)
		bpf_map_delete_elem(fd, &stale[i]);
	return r < 0 && stale_count ? add_keys(fd, keys, n) : r;
}

static int addrs_write(struct ebpf *e, const struct engine_node *node, bool *ret_changed, struct err *err)
{
	size_t bytes = node->addr_count * sizeof(*node->addrs);
	_cleanup_free_ struct addr_key *keys = keys_of(node->addrs, node->addr_count);
	*ret_changed = node->addr_count != e->node_addr_count || (bytes && memcmp(e->node_addrs, node->addrs, bytes) != 0);
	free(e->node_addrs);
	e->node_addrs = bytes ? mem_dup(node->addrs, bytes) : NULL;
	e->node_addr_count = node->addr_count;
	int r = keys_write(e->maps[EBPF_NODE_ADDRS], keys, node->addr_count);
	return r == 0 ? 0 : err_set(err, -r, "writing the node's %zu addresses (NodePorts answer on at most %u): %s",
				    node->addr_count, e->max_entries[EBPF_NODE_ADDRS], strerror(-r));
}

static int peers_write(struct ebpf *e, const struct engine_node *node, struct err *err)
{
	size_t bytes = node->peer_count * sizeof(struct addr_key);
	_cleanup_free_ struct addr_key *keys = keys_of(node->peers, node->peer_count);
	if (e->peers && e->peer_count == node->peer_count && memcmp(e->peers, keys, bytes) == 0)
		return 0;
	int r = keys_write(e->maps[EBPF_PEER_NODES], keys, node->peer_count);
	free(e->peers);
	e->peers = NULL;
	if (r < 0)
		return err_set(err, -r, "writing the addresses of %zu other nodes (at most %u): %s", node->peer_count,
			       e->max_entries[EBPF_PEER_NODES], strerror(-r));
	e->peers = (struct abi_peer_node_key *)TAKE(keys);
	e->peer_count = node->peer_count;
	return 0;
}

/* Stores only what differs: programs read it all the time. The last word alone distinguishes IPv4 addresses, so those
 * never look half written. */
static void source_write(uint32_t to[4], const struct ip_addr *a)
{
	uint32_t v[4] = { 0 };
	if (a->family)
		ebpf_addr(a, v);
	for (int i = 0; i < 4; i++)
		if (to[i] != v[i])
			__atomic_store_n(&to[i], v[i], __ATOMIC_RELEASE);
}

/* Flows that are fast already stay so while there is a bridge; only new ones ask for leave. */
static void fast_path_write(struct abi_config *c, const struct engine_node *node)
{
	uint32_t pods = 0;
	for (size_t i = 0; i < node->link_count && !pods; i++)
		if (node->links[i].kind == ENGINE_LINK_PODS && node->links[i].ethernet)
			pods = node->links[i].ifindex;
	uint16_t flags = (uint16_t)(node->fast_path ? c->flags | ABI_CONFIG_FAST_PATH : c->flags & ~ABI_CONFIG_FAST_PATH);
	__atomic_store_n(&c->pods_ifindex, pods, __ATOMIC_RELEASE);
	__atomic_store_n(&c->flags, flags, __ATOMIC_RELEASE);
}

static void sources_write(struct abi_config *c, const struct engine_node *node)
{
	enum { SNAT_POD_MIN = 1024, SNAT_POD_MAX = 65535 };
	c->snat_pod_min = SNAT_POD_MIN;
	c->snat_pod_max = SNAT_POD_MAX;
	c->snat_node_min = node->snat_node_min;
	c->snat_node_max = node->snat_node_max;
	for (int i = 0; i < 2; i++) {
		source_write(c->snat_pod[i], &node->snat_pod[i]);
		source_write(c->snat_node[i], &node->snat_node[i]);
	}
}

int ebpf_node_set(struct engine *engine, const struct engine_node *node, struct err *err)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	bool changed;
	sources_write(e->config, node);
	fast_path_write(e->config, node);
	int r = addrs_write(e, node, &changed, err), p = peers_write(e, node, err);
	if (changed)
		ebpf_ports_reflag(e);
	ebpf_links_set(e, node->links, node->link_count);
	int a = e->attached ? ebpf_links_attach(e, err) : 0;
	return r < 0 ? r : p < 0 ? p : a;
}
