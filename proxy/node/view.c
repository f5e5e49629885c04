/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which links matter and as what:
 *   TUNNEL   klvx, and any VXLAN device with an address in the pod ranges
 *   PODS     kl0, and whatever else has an address in this node's podCIDRs (in the pod ranges while those are unknown)
 *   POD      ports of those bridges
 *   OUTSIDE  every other one that has a global address or a default route
 * if it is up, no loopback and no port of a bridge or bond. XDP is tried on hardware and veth only: bridges, bonds, VLANs
 * and tunnels have it in generic mode at best, which is slower than tc.
 */
#include "proxy/node/view.h"

#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>

#include "base/mem.h"

static bool is_set(const struct ip_addr *a)
{
	return a->family != 0;
}

static const struct cluster_node *own_node(const struct node_options *o)
{
	return o->cluster ? cluster_own(o->cluster) : NULL;
}

/* In this node's part of the pod ranges. */
static bool in_pod_range(const struct node_options *o, const struct ip_addr *a)
{
	const struct cluster_node *own = own_node(o);
	const struct ip_prefix *mine = own ? &own->pod_cidrs[ip_family_index(a->family)] : NULL;
	return mine && is_set(&mine->addr) ? ip_prefix_contains(mine, a) : ip_ranges_contain(&o->cluster_cidr, a);
}

static bool link_has_default(const struct raw_net *net, unsigned ifindex)
{
	for (size_t i = 0; i < net->default_count; i++)
		if (net->defaults[i] == ifindex)
			return true;
	return false;
}

static bool global(const struct raw_addr *a)
{
	return a->scope < RT_SCOPE_LINK;
}

/* An enum engine_link_kind, or -1: of no interest. */
static int link_kind(const struct raw_net *net, const struct node_options *o, const struct raw_link *l)
{
	bool pods = false, outside = link_has_default(net, l->ifindex), vxlan = strcmp(l->kind, "vxlan") == 0, ranged = false;
	if (!l->up || l->loopback || l->port)
		return -1;
	for (size_t i = 0; i < net->addr_count; i++) {
		const struct raw_addr *a = &net->addrs[i];
		if (a->ifindex != l->ifindex || !global(a))
			continue;
		bool mine = in_pod_range(o, &a->addr);
		ranged |= ip_ranges_contain(&o->cluster_cidr, &a->addr);
		pods |= mine;
		outside |= !mine;
	}
	if (vxlan && (ranged || strcmp(l->name, "klvx") == 0))
		return ENGINE_LINK_TUNNEL;
	if (pods || strcmp(l->name, "kl0") == 0)
		return ENGINE_LINK_PODS;
	return outside ? ENGINE_LINK_OUTSIDE : -1;
}

static void build_pod_links(const struct raw_net *net, struct node_view *v)
{
	size_t others = v->node.link_count;
	for (size_t i = 0; i < net->link_count; i++) {
		const struct raw_link *l = &net->links[i];
		bool pod = false;
		for (size_t k = 0; l->up && l->port && l->type == ARPHRD_ETHER && k < others; k++)
			pod |= v->links[k].ifindex == l->master && v->links[k].kind == ENGINE_LINK_PODS;
		if (!pod)
			continue;
		MEM_GROW(v->links, v->link_cap, v->node.link_count + 1);
		v->links[v->node.link_count++] = (struct engine_link){ .ifindex = l->ifindex, .kind = ENGINE_LINK_POD, .ethernet = true };
	}
}

static void build_links(const struct raw_net *net, const struct node_options *o, struct node_view *v)
{
	for (size_t i = 0; i < net->link_count; i++) {
		const struct raw_link *l = &net->links[i];
		int kind = link_kind(net, o, l);
		if (kind < 0)
			continue;
		MEM_GROW(v->links, v->link_cap, v->node.link_count + 1);
		v->links[v->node.link_count++] = (struct engine_link){
			.ifindex = l->ifindex,
			.kind = (uint8_t)kind,
			.ethernet = l->type == ARPHRD_ETHER,
			.xdp = kind == ENGINE_LINK_OUTSIDE && l->type == ARPHRD_ETHER &&
			       (strcmp(l->kind, "veth") == 0 || (l->hardware && !*l->kind)),
		};
	}
	if (!o->no_fast_path)
		build_pod_links(net, v);
	v->node.links = v->links;
}

static const struct engine_link *view_link(const struct node_view *v, unsigned ifindex)
{
	for (size_t i = 0; i < v->node.link_count; i++)
		if (v->links[i].ifindex == ifindex)
			return &v->links[i];
	return NULL;
}

/* The address the node is known by in a family: as it was told, as its Node says, or the first on an outward link, best on
 * one with a default route. */
static struct ip_addr node_address(const struct raw_net *net, const struct node_options *o, const struct node_view *v, int f)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	const struct cluster_node *own = own_node(o);
	const struct ip_addr *said = own ? cluster_node_address(own, families[f]) : NULL;
	if (is_set(&o->node_ip[f]))
		return o->node_ip[f];
	if (said)
		return *said;
	struct ip_addr first = { 0 };
	for (size_t i = 0; i < net->addr_count; i++) {
		const struct raw_addr *a = &net->addrs[i];
		const struct engine_link *l = view_link(v, a->ifindex);
		if (a->addr.family != families[f] || !global(a) || !l || l->kind != ENGINE_LINK_OUTSIDE ||
		    a->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
			continue;
		if (link_has_default(net, a->ifindex))
			return a->addr;
		if (!is_set(&first))
			first = a->addr;
	}
	return first;
}

/* The first address of this node's podCIDR, worked out from the bridge's address when no Node says it. */
static struct ip_addr first_pod_address(const struct raw_net *net, const struct node_options *o, const struct node_view *v, int f)
{
	const struct cluster_node *own = own_node(o);
	if (own && is_set(&own->pod_cidrs[f].addr))
		return own->pod_cidrs[f].addr;
	for (size_t i = 0; i < net->addr_count; i++) {
		const struct raw_addr *a = &net->addrs[i];
		const struct engine_link *l = view_link(v, a->ifindex);
		struct ip_prefix p = { .addr = a->addr, .len = a->len };
		if (!l || l->kind != ENGINE_LINK_PODS || (int)ip_family_index(a->addr.family) != f || !global(a) ||
		    !ip_ranges_contain(&o->cluster_cidr, &a->addr))
			continue;
		ip_prefix_mask(&p);
		if (!ip_addr_eq(&p.addr, &a->addr))
			return p.addr;
	}
	return (struct ip_addr){ 0 };
}

static bool selected(const struct node_options *o, const struct ip_addr known_by[2], const struct ip_addr *a)
{
	unsigned f = ip_family_index(a->family);
	if (o->node_port_primary)
		return is_set(&known_by[f]) && ip_addr_eq(&known_by[f], a);
	for (size_t i = 0; i < o->node_port_address_count; i++)
		if (ip_prefix_contains(&o->node_port_addresses[i], a))
			return true;
	return o->node_port_address_count == 0;
}

static void build_addrs(const struct raw_net *net, const struct node_options *o, struct node_view *v,
			const struct ip_addr known_by[2])
{
	for (size_t i = 0; i < net->addr_count; i++) {
		const struct raw_addr *a = &net->addrs[i];
		unsigned f = ip_family_index(a->addr.family);
		/* Ports of snat_pod are given out for SNAT: nothing may listen there. */
		if (!global(a) || a->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) || ip_addr_eq(&a->addr, &o->cluster_dns[f]) ||
		    ip_addr_eq(&a->addr, &v->node.snat_pod[f]) || !selected(o, known_by, &a->addr))
			continue;
		bool twice = false;
		for (size_t k = 0; k < v->node.addr_count; k++)
			twice |= ip_addr_eq(&v->addrs[k], &a->addr);
		if (twice)
			continue;
		MEM_GROW(v->addrs, v->addr_cap, v->node.addr_count + 1);
		v->addrs[v->node.addr_count++] = a->addr;
	}
	v->node.addrs = v->addrs;
}

static void add_peer(struct node_view *v, const struct ip_addr *a)
{
	MEM_GROW(v->peers, v->peer_cap, v->node.peer_count + 1);
	v->peers[v->node.peer_count++] = *a;
}

static void build_peers(const struct node_options *o, struct node_view *v)
{
	const struct cluster_node *n;
	for (size_t i = 0; o->cluster && (n = cluster_at(o->cluster, i)); i++) {
		if (n->own)
			continue;
		for (size_t k = 0; k < n->addr_count; k++)
			add_peer(v, &n->addrs[k]);
		for (int f = 0; f < 2; f++)
			if (is_set(&n->pod_cidrs[f].addr))
				add_peer(v, &n->pod_cidrs[f].addr);
	}
	v->node.peers = v->peers;
}

void node_view_build(const struct raw_net *net, const struct node_options *o, struct node_view *v)
{
	struct ip_addr known_by[2];
	v->node = (struct engine_node){ .snat_node_min = o->snat_port_min, .snat_node_max = o->snat_port_max };
	build_links(net, o, v);
	for (int f = 0; f < 2; f++) {
		known_by[f] = node_address(net, o, v, f);
		v->node.snat_node[f] = is_set(&o->snat_address[f]) ? o->snat_address[f] : known_by[f];
		v->node.snat_pod[f] = first_pod_address(net, o, v, f);
	}
	build_addrs(net, o, v, known_by);
	build_peers(o, v);
}

static bool addrs_same(const struct ip_addr *a, const struct ip_addr *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!ip_addr_eq(&a[i], &b[i]))
			return false;
	return true;
}

bool node_view_same(const struct node_view *a, const struct node_view *b)
{
	const struct engine_node *x = &a->node, *y = &b->node;
	if (x->addr_count != y->addr_count || x->link_count != y->link_count || x->peer_count != y->peer_count ||
	    x->snat_node_min != y->snat_node_min || x->snat_node_max != y->snat_node_max ||
	    x->fast_path != y->fast_path || !addrs_same(x->snat_pod, y->snat_pod, 2) || !addrs_same(x->snat_node, y->snat_node, 2) ||
	    !addrs_same(x->addrs, y->addrs, x->addr_count) || !addrs_same(x->peers, y->peers, x->peer_count))
		return false;
	for (size_t i = 0; i < x->link_count; i++) {
		const struct engine_link *p = &x->links[i], *q = &y->links[i];
		if (p->ifindex != q->ifindex || p->kind != q->kind || p->xdp != q->xdp || p->ethernet != q->ethernet)
			return false;
	}
	return true;
}

void node_view_done(struct node_view *v)
{
	free(v->addrs);
	free(v->peers);
	free(v->links);
	*v = (struct node_view){ 0 };
}
