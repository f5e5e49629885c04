/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every node computes the same from the same Nodes, so both ends agree on how they reach each other: whether two nodes
 * share a segment is asked of their InternalIPs only, not of whatever else an interface has, and with strict reverse path
 * filtering an answer comes in where the question went out. Link addresses of the tunnel follow from podCIDRs, so nothing
 * is announced.
 */
#include "proxy/podnet/decide.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const char *const podnet_mode_names[PODNET_MODE_MAX] = { "auto", "vxlan", "direct", "none" };

enum podnet_mode podnet_mode_of(const char *name)
{
	for (int i = 0; i < PODNET_MODE_MAX; i++)
		if (str_eq(name, podnet_mode_names[i]))
			return (enum podnet_mode)i;
	return PODNET_AUTO;
}

/* A podCIDR or an address that a node claims. */
struct claim {
	const struct podnet_node *node;
	struct ip_prefix prefix;
	size_t rank; /* of the node: the lower has it */
	bool refused;
};
struct link_address {
	uint8_t mac[ETH_ALEN];
	bool usable;
	size_t rank;
};
struct decision {
	const struct podnet_input *in;
	struct podnet_wanted *out;
	const struct podnet_node **nodes; /* by rank; this node first */
	const struct podnet_node *own;
	struct claim *cidrs, *addrs;      /* two for each rank: IPv4, IPv6 */
	struct link_address *macs;        /* by rank */
	const struct podnet_address *segment[2]; /* where our own InternalIPs are */
};

int podnet_addr_cmp(const struct ip_addr *a, const struct ip_addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, a->family == AF_INET6 ? 16 : 4);
}

int podnet_prefix_cmp(const struct ip_prefix *a, const struct ip_prefix *b)
{
	int c = podnet_addr_cmp(&a->addr, &b->addr);
	return c ? c : (int)a->len - (int)b->len;
}

static void complain(struct decision *d, const char *fmt, ...) _printf_(2, 3);
static void complain(struct decision *d, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	va_list ap;
	if (d->out->complaint_count++ >= PODNET_COMPLAINTS_MAX)
		return;
	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	strlist_take(&d->out->complaints, strbuf_take(&text));
}

/* This node first: its own pods are reached by its bridge whatever others say. Of unknown age: youngest. */
static int by_rank(const void *a, const void *b)
{
	const struct podnet_node *x = *(const struct podnet_node *const *)a, *y = *(const struct podnet_node *const *)b;
	if (x->own != y->own)
		return x->own ? -1 : 1;
	if (str_empty(x->created) != str_empty(y->created))
		return str_empty(x->created) ? 1 : -1;
	int c = strcmp(x->created ? x->created : "", y->created ? y->created : "");
	return c ? c : strcmp(x->name, y->name);
}

static int by_prefix(const void *a, const void *b)
{
	const struct claim *x = *(const struct claim *const *)a, *y = *(const struct claim *const *)b;
	int c = podnet_prefix_cmp(&x->prefix, &y->prefix);
	return c ? c : x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int by_claim_rank(const void *a, const void *b)
{
	const struct claim *x = *(const struct claim *const *)a, *y = *(const struct claim *const *)b;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static bool overlap(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return ip_prefix_contains(a, &b->addr) || ip_prefix_contains(b, &a->addr);
}

static bool ranges_overlap(const struct ip_ranges *r, const struct ip_prefix *p)
{
	const struct ip_prefix *mine = &r->v[ip_family_index(p->addr.family)];
	return mine->addr.family && overlap(mine, p);
}

static void refuse(struct decision *d, struct claim *loser, const struct claim *winner, const char *what)
{
	char a[IP_PREFIX_TEXT_SIZE], b[IP_PREFIX_TEXT_SIZE];
	loser->refused = true;
	if (podnet_prefix_cmp(&loser->prefix, &winner->prefix) == 0)
		complain(d, "node %s: its %s %s is %snode %s's", loser->node->name, what,
			 loser->prefix.len == (loser->prefix.addr.family == AF_INET ? 32 : 128) ?
			 ip_format(&loser->prefix.addr, a) : ip_prefix_format(&loser->prefix, a), winner->node->own ? "this node's, " : "", winner->node->name);
	else
		complain(d, "node %s: its %s %s overlaps %s of %snode %s", loser->node->name, what,
			 ip_prefix_format(&loser->prefix, a), ip_prefix_format(&winner->prefix, b),
			 winner->node->own ? "this node, " : "", winner->node->name);
}

/* Sorted by address, prefixes that overlap are neighbours: only such groups, which are faults, cost more than sorting. */
static void settle(struct decision *d, struct claim *claims, const char *what)
{
	size_t n = 0, total = d->in->node_count * 2;
	_cleanup_free_ struct claim **sorted = mem_new_n(struct claim *, total + 1);
	for (size_t i = 0; i < total; i++)
		if (claims[i].prefix.addr.family && !claims[i].refused)
			sorted[n++] = &claims[i];
	qsort(sorted, n, sizeof(*sorted), by_prefix);
	for (size_t from = 0, to; from < n; from = to) {
		/* The widest prefix of a group comes first. */
		for (to = from + 1; to < n && ip_prefix_contains(&sorted[from]->prefix, &sorted[to]->prefix.addr); to++)
			;
		if (to - from == 1)
			continue;
		qsort(sorted + from, to - from, sizeof(*sorted), by_claim_rank);
		for (size_t i = from + 1; i < to; i++)
			for (size_t k = from; k < i && !sorted[i]->refused; k++)
				if (!sorted[k]->refused && overlap(&sorted[i]->prefix, &sorted[k]->prefix))
					refuse(d, sorted[i], sorted[k], what);
	}
}

static void check_cidr(struct decision *d, struct claim *c)
{
	char text[IP_PREFIX_TEXT_SIZE];
	const struct ip_prefix *cluster = &d->in->cluster_cidr.v[ip_family_index(c->prefix.addr.family)];
	if (!c->prefix.addr.family)
		return;
	const char *why = ranges_overlap(&d->in->service_cidr, &c->prefix) ? "overlaps the service range" :
			  !cluster->addr.family || !ip_prefix_contains(cluster, &c->prefix.addr) || c->prefix.len < cluster->len ?
			  "is not inside the cluster's pod range" : NULL;
	c->refused = why != NULL;
	if (why)
		complain(d, "node %s: its podCIDR %s %s", c->node->name, ip_prefix_format(&c->prefix, text), why);
}

static bool is_unicast(const struct ip_addr *a)
{
	static const uint8_t loopback[16] = { [15] = 1 }, none[16] = { 0 };
	if (a->family == AF_INET)
		return a->bytes[0] != 0 && a->bytes[0] != 127 && a->bytes[0] < 224;
	return a->bytes[0] != 0xff && memcmp(a->bytes, loopback, 16) != 0 && memcmp(a->bytes, none, 16) != 0 &&
	       !(a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80);
}

static bool is_local(const struct podnet_input *in, const struct ip_addr *a)
{
	for (size_t i = 0; i < in->address_count; i++)
		if (ip_addr_eq(&in->addresses[i].prefix.addr, a))
			return true;
	return false;
}

static void check_addr(struct decision *d, struct claim *c)
{
	char text[IP_ADDR_TEXT_SIZE];
	const struct ip_addr *a = &c->prefix.addr;
	if (!a->family)
		return;
	const char *why = !is_unicast(a) ? "is no address that a node can have" :
			  ip_ranges_contain(&d->in->cluster_cidr, a) ? "is inside the cluster's pod range" :
			  ip_ranges_contain(&d->in->service_cidr, a) ? "is inside the service range" :
			  !c->node->own && is_local(d->in, a) ? "is an address of this node" : NULL;
	c->refused = why != NULL;
	if (why)
		complain(d, "node %s: its InternalIP %s %s", c->node->name, ip_format(a, text), why);
}

static void take_claims(struct decision *d)
{
	size_t n = d->in->node_count;
	for (size_t i = 0; i < n * 2; i++) {
		const struct podnet_node *node = d->nodes[i / 2];
		const struct ip_addr *a = &node->addrs[i % 2];
		d->cidrs[i] = (struct claim){ .node = node, .rank = i / 2, .prefix = node->pod_cidrs[i % 2] };
		ip_prefix_mask(&d->cidrs[i].prefix);
		d->addrs[i] = (struct claim){ .node = node, .rank = i / 2, .prefix = { .addr = *a, .len = a->family == AF_INET6 ? 128 : 32 } };
		check_cidr(d, &d->cidrs[i]);
		check_addr(d, &d->addrs[i]);
	}
	settle(d, d->cidrs, "podCIDR");
	settle(d, d->addrs, "InternalIP");
}

static const struct ip_prefix *usable_cidr(const struct decision *d, size_t rank, int f)
{
	const struct claim *c = &d->cidrs[rank * 2 + (size_t)f];
	return c->prefix.addr.family && !c->refused ? &c->prefix : NULL;
}

static const struct ip_addr *usable_addr(const struct decision *d, size_t rank, int f)
{
	const struct claim *c = &d->addrs[rank * 2 + (size_t)f];
	return c->prefix.addr.family && !c->refused ? &c->prefix.addr : NULL;
}

/* 0e:58 and the last four bytes of the network's part of the node's podCIDR (IPv4 if it has one): what tells nodes apart.
 * False without one that is the node's beyond doubt: then it cannot know its own link address as we do. */
static bool node_mac(const struct decision *d, size_t rank, uint8_t mac[static ETH_ALEN])
{
	const struct ip_prefix *p = usable_cidr(d, rank, d->cidrs[rank * 2].prefix.addr.family ? 0 : 1);
	if (!p)
		return false;
	unsigned end = MAX((p->len + 7u) / 8, 4u);
	mac[0] = 0x0e;
	mac[1] = 0x58;
	memcpy(mac + 2, p->addr.bytes + end - 4, 4);
	return true;
}

static int by_mac(const void *a, const void *b)
{
	const struct link_address *x = a, *y = b;
	int c = memcmp(x->mac, y->mac, ETH_ALEN);
	return c ? c : x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int by_mac_rank(const void *a, const void *b)
{
	const struct link_address *x = a, *y = b;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Two nodes behind one link address would get each other's packets. PodCIDRs that differ make this all but impossible,
 * so it is looked for but not settled finely: the lower rank has it. */
static void take_macs(struct decision *d)
{
	for (size_t i = 0; i < d->in->node_count; i++) {
		d->macs[i] = (struct link_address){ .rank = i };
		d->macs[i].usable = node_mac(d, i, d->macs[i].mac);
	}
	qsort(d->macs, d->in->node_count, sizeof(*d->macs), by_mac);
	for (size_t i = 1; i < d->in->node_count; i++) {
		struct link_address *m = &d->macs[i];
		if (!m->usable || memcmp(m->mac, m[-1].mac, ETH_ALEN) != 0)
			continue;
		m->usable = false;
		complain(d, "node %s: its podCIDR gives the link address of node %s's: it is not reached through the tunnel",
			 d->nodes[m->rank]->name, d->nodes[m[-1].rank]->name);
	}
	qsort(d->macs, d->in->node_count, sizeof(*d->macs), by_mac_rank);
}

/* The source of this node's own packets into the tunnel: the gateway's address, which other nodes route back to us. The
 * tunnel device has it for good, whether a bridge has it or not: routes go with their source, and all IPv4 routes of a
 * device with its last address. The first address is not taken: its ports are for what is translated for clients from
 * outside. */
static struct ip_addr tunnel_source(const struct decision *d, int f)
{
	const struct ip_prefix *p = usable_cidr(d, 0, f);
	struct ip_addr gateway = { 0 };
	if (p && p->len < (f ? 127 : 31)) {
		gateway = p->addr;
		ip_addr_add(&gateway, 1);
	}
	return gateway;
}

static bool is_direct(const struct decision *d, int f, const struct ip_addr *node)
{
	return d->in->mode != PODNET_VXLAN && node && d->segment[f] && ip_prefix_contains(&d->segment[f]->prefix, node);
}

static void add_route(struct podnet_wanted *out, const struct podnet_route *r)
{
	MEM_GROW(out->routes, out->route_cap, out->route_count + 1);
	out->routes[out->route_count++] = *r;
}

/* Over the tunnel: false when there is no way. */
static bool add_tunnelled(struct decision *d, size_t rank, int f)
{
	struct podnet_wanted *out = d->out;
	const struct ip_prefix *p = usable_cidr(d, rank, f);
	const struct ip_addr *node = out->tunnel ? usable_addr(d, rank, ip_family_index(out->local.family)) : NULL;
	struct podnet_forward fwd;
	struct podnet_neighbour ngh = { .addr = p->addr };
	if (!node || !d->macs[rank].usable)
		return false;
	fwd.node = *node;
	memcpy(fwd.mac, d->macs[rank].mac, ETH_ALEN);
	memcpy(ngh.mac, fwd.mac, ETH_ALEN);
	add_route(out, &(struct podnet_route){ .dst = *p, .gw = p->addr, .src = out->addrs[f] });
	MEM_GROW(out->neighbours, out->neighbour_cap, out->neighbour_count + 1);
	out->neighbours[out->neighbour_count++] = ngh;
	/* One a node, whatever the number of its ranges. */
	if (!out->forward_count || memcmp(&out->forwards[out->forward_count - 1], &fwd, sizeof(fwd)) != 0) {
		MEM_GROW(out->forwards, out->forward_cap, out->forward_count + 1);
		out->forwards[out->forward_count++] = fwd;
	}
	return true;
}

static void add_node(struct decision *d, size_t rank)
{
	const struct podnet_node *n = d->nodes[rank];
	char text[IP_PREFIX_TEXT_SIZE];
	for (int f = 0; f < 2; f++) {
		const struct ip_prefix *p = usable_cidr(d, rank, f);
		const struct ip_addr *node = usable_addr(d, rank, f);
		if (!p)
			continue;
		if (is_direct(d, f, node))
			add_route(d->out, &(struct podnet_route){ .dst = *p, .gw = *node, .ifindex = d->segment[f]->ifindex });
		else if (!add_tunnelled(d, rank, f))
			complain(d, "node %s: no way to its podCIDR %s: %s", n->name, ip_prefix_format(p, text),
				 d->in->mode == PODNET_DIRECT ? "it is not on a segment of this node, and there is no tunnel" :
				 !d->out->tunnel ? "this node has no podCIDR of its own yet" :
				 !d->macs[rank].usable ? "the podCIDR that its link address follows from is in doubt" :
				 "it has no usable InternalIP of the family that the tunnel uses");
	}
}

static int by_dst(const void *a, const void *b)
{
	return podnet_prefix_cmp(&((const struct podnet_route *)a)->dst, &((const struct podnet_route *)b)->dst);
}

static int by_addr(const void *a, const void *b)
{
	return podnet_addr_cmp(&((const struct podnet_neighbour *)a)->addr, &((const struct podnet_neighbour *)b)->addr);
}

static int by_forward(const void *a, const void *b)
{
	return memcmp(((const struct podnet_forward *)a)->mac, ((const struct podnet_forward *)b)->mac, ETH_ALEN);
}

static void find_segments(struct decision *d)
{
	for (int f = 0; f < 2; f++) {
		const struct ip_addr *mine = usable_addr(d, 0, f);
		for (size_t i = 0; mine && i < d->in->address_count && !d->segment[f]; i++)
			if (ip_addr_eq(&d->in->addresses[i].prefix.addr, mine))
				d->segment[f] = &d->in->addresses[i];
	}
}

/* Of a node whose address is on lo, as routing protocols want it: the least of its outward links. */
static unsigned underlay_mtu(const struct decision *d, const struct podnet_address *under)
{
	unsigned mtu = 0;
	if (!under->loopback)
		return under->mtu;
	for (size_t i = 0; i < d->in->address_count; i++) {
		const struct podnet_address *a = &d->in->addresses[i];
		if (!a->loopback && !ip_ranges_contain(&d->in->cluster_cidr, &a->prefix.addr) && (!mtu || a->mtu < mtu))
			mtu = a->mtu;
	}
	return mtu ? mtu : PODNET_MTU_USUAL;
}

static void decide_tunnel(struct decision *d)
{
	struct podnet_wanted *out = d->out;
	unsigned f = ip_family_index(d->own->family), overhead = f ? PODNET_OVERHEAD_V6 : PODNET_OVERHEAD_V4;
	const struct podnet_address *under = d->segment[f];
	if (d->in->mode == PODNET_DIRECT || !under || !d->macs[0].usable)
		return;
	memcpy(out->mac, d->macs[0].mac, ETH_ALEN);
	unsigned mtu = underlay_mtu(d, under);
	out->tunnel = true;
	out->local = under->prefix.addr;
	out->mtu = mtu > overhead ? mtu - overhead : mtu;
}

static void decide(struct decision *d)
{
	struct podnet_wanted *out = d->out;
	char text[IP_ADDR_TEXT_SIZE];
	take_claims(d);
	take_macs(d);
	find_segments(d);
	const struct podnet_address *under = d->segment[ip_family_index(d->own->family)];
	if (!under) {
		complain(d, "no link of this node that is up has its InternalIP %s",
			 d->own->family ? ip_format(&d->own->addrs[ip_family_index(d->own->family)], text) : "(it has none)");
		return;
	}
	out->known = true;
	out->underlay = under->ifindex;
	decide_tunnel(d);
	for (int f = 0; f < 2 && out->tunnel; f++)
		out->addrs[f] = tunnel_source(d, f);
	for (size_t rank = 1; rank < d->in->node_count; rank++)
		add_node(d, rank);
	if (out->route_count)
		qsort(out->routes, out->route_count, sizeof(*out->routes), by_dst);
	if (out->neighbour_count)
		qsort(out->neighbours, out->neighbour_count, sizeof(*out->neighbours), by_addr);
	if (out->forward_count)
		qsort(out->forwards, out->forward_count, sizeof(*out->forwards), by_forward);
}

void podnet_decide(const struct podnet_input *in, struct podnet_wanted *ret)
{
	_cleanup_free_ const struct podnet_node **nodes = mem_new_n(const struct podnet_node *, in->node_count + 1);
	_cleanup_free_ struct claim *cidrs = mem_new_n(struct claim, in->node_count * 2 + 1);
	_cleanup_free_ struct claim *addrs = mem_new_n(struct claim, in->node_count * 2 + 1);
	_cleanup_free_ struct link_address *macs = mem_new_n(struct link_address, in->node_count + 1);
	struct decision d = { .in = in, .out = ret, .nodes = nodes, .cidrs = cidrs, .addrs = addrs, .macs = macs };
	*ret = (struct podnet_wanted){ 0 };
	if (in->mode == PODNET_NONE) {
		ret->known = true;
		return;
	}
	for (size_t i = 0; i < in->node_count; i++)
		nodes[i] = &in->nodes[i];
	qsort(nodes, in->node_count, sizeof(*nodes), by_rank);
	if (!in->node_count || !nodes[0]->own)
		return;
	d.own = nodes[0];
	decide(&d);
}

void podnet_wanted_done(struct podnet_wanted *w)
{
	free(w->routes);
	free(w->neighbours);
	free(w->forwards);
	strlist_done(&w->complaints);
	*w = (struct podnet_wanted){ 0 };
}
