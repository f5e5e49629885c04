/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network of a lab by rtnetlink. Every function leaves the calling thread in the network namespace it was in.
 * Making what is there already changes nothing, so an interrupted or damaged lab is completed by doing it all again.
 */
#include "cli/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/node.h"

enum { ROUTER = 254, ADDRESS_BITS_4 = 24, ADDRESS_BITS_6 = 64 };

static const char node_link[] = "eth0";

char *lab_netns(const struct cluster *c, unsigned k)
{
	return str_printf("%s-%u", c->lab, k);
}

static char *underlay_netns(const struct cluster *c)
{
	return str_printf("%s-net", c->lab);
}

char *lab_state(const struct cluster *c, unsigned k)
{
	return k == 1 ? mem_strdup(c->state) : str_printf("%s/nodes/%u", c->state, k);
}

static unsigned segment_of(const struct cluster *c, unsigned k)
{
	return (k - 1) % c->lab_segments;
}

/* The families of the cluster's ranges, the primary one first; 0 ends. */
static void families(const struct cluster *c, int ret[static 3])
{
	struct ip_ranges r;
	unsigned first = 0, n = 0;

	if (!c->service_cidr || ip_ranges_parse(c->service_cidr, &r, &first) < 0)
		r = (struct ip_ranges){ .v[0].addr.family = AF_INET };
	for (unsigned i = 0; i < 2; i++)
		if (r.v[first ^ i].addr.family)
			ret[n++] = r.v[first ^ i].addr.family;
	ret[n] = 0;
}

/* Host's address in a segment. */
static struct ip_prefix address(int family, unsigned segment, unsigned host)
{
	char text[IP_PREFIX_TEXT_SIZE];
	struct ip_prefix p;

	if (family == AF_INET)
		snprintf(text, sizeof(text), "198.19.%u.%u/%d", segment, host, ADDRESS_BITS_4);
	else
		snprintf(text, sizeof(text), "fd00:198:19:%x::%x/%d", segment, host, ADDRESS_BITS_6);
	BUG_ON(ip_prefix_parse(text, &p) < 0);
	return p;
}

char *lab_node_ip(const struct cluster *c, unsigned k)
{
	struct strbuf out = { 0 };
	char text[IP_ADDR_TEXT_SIZE];
	int family[3];

	families(c, family);
	for (unsigned i = 0; family[i]; i++) {
		struct ip_prefix p = address(family[i], segment_of(c, k), k);

		strbuf_addf(&out, "%s%s", i ? "," : "", ip_format(&p.addr, text));
	}
	return strbuf_take(&out);
}

int lab_check_free(const struct cluster *c, unsigned from, unsigned to, struct err *err)
{
	for (unsigned k = from == 1 ? 0 : from; k <= to; k++) {
		_cleanup_free_ char *name = k == 0 ? underlay_netns(c) : lab_netns(c, k);
		_cleanup_free_ char *path = str_printf("/run/netns/%s", name);

		if (file_exists(path))
			return err_set(err, EEXIST, "there is a network namespace %s already, which is not this lab's; give the lab "
				       "another name by --netns, or remove it: ip netns del %s", name, name);
	}
	return 0;
}

/* An open namespace with a netlink socket in it. */
struct place {
	int fd;
	struct nl_sock *nl;
};

static void place_done(struct place *p)
{
	nl_socket_free(p->nl);
	if (p->fd >= 0)
		close(p->fd);
	*p = (struct place){ .fd = -1 };
}

/* Runs fn inside a namespace. */
static int within(int ns_fd, int (*fn)(void *user, struct err *err), void *user, struct err *err)
{
	_cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (home < 0 || setns(ns_fd, CLONE_NEWNET) < 0)
		return err_set(err, errno, "cannot enter a network namespace of the lab: %s", strerror(errno));
	int r = fn(user, err);

	/* Going on in the wrong namespace would be worse than not going on. */
	BUG_ON(setns(home, CLONE_NEWNET) < 0);
	return r;
}

static int connect_place(void *user, struct err *err)
{
	struct place *p = user;
	int r = nl_connect(p->nl, NETLINK_ROUTE);

	return r < 0 ? err_set(err, EIO, "cannot open a route netlink socket: %s", nl_geterror(r)) : 0;
}

/* Opens the namespace, making it where it is missing. */
static int place_open(const char *name, struct place *ret, struct err *err)
{
	_cleanup_free_ char *path = str_printf("/run/netns/%s", name);
	int r = file_exists(path) ? 0 : node_netns_create(name, err);

	if (r < 0)
		return r;
	struct place p = { .fd = open(path, O_RDONLY | O_CLOEXEC), .nl = nl_socket_alloc() };

	r = p.fd < 0 ? err_set(err, errno, "cannot open the network namespace %s: %s", name, strerror(errno)) :
		       within(p.fd, connect_place, &p, err);
	if (r < 0)
		place_done(&p);
	else
		*ret = p;
	return r;
}

static int link_err(struct err *err, const char *what, const char *name, int nl_error)
{
	return err_set(err, EIO, "cannot %s the lab's link %s: %s", what, name, nl_geterror(nl_error));
}

/* NULL when there is none. Put by the caller. */
static struct rtnl_link *link_get(const struct place *p, const char *name)
{
	struct rtnl_link *l = NULL;

	return rtnl_link_get_kernel(p->nl, 0, name, &l) == 0 ? l : NULL;
}

static int link_up(const struct place *p, const char *name, struct err *err)
{
	struct rtnl_link *l = link_get(p, name), *change = rtnl_link_alloc();
	int r = l ? 0 : -NLE_NODEV;

	rtnl_link_set_flags(change, IFF_UP);
	if (r == 0)
		r = rtnl_link_change(p->nl, l, change, 0);
	rtnl_link_put(l);
	rtnl_link_put(change);
	return r < 0 ? link_err(err, "bring up", name, r) : 0;
}

static int bridge_make(const struct place *net, const char *name, struct err *err)
{
	struct rtnl_link *l = link_get(net, name), *add;
	int r;

	if (l) {
		rtnl_link_put(l);
		return link_up(net, name, err);
	}
	add = rtnl_link_bridge_alloc();
	rtnl_link_set_name(add, name);
	r = rtnl_link_add(net->nl, add, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_link_put(add);
	return r < 0 ? link_err(err, "make", name, r) : link_up(net, name, err);
}

/* The node's hardware address stays the same when its link is made again, as a machine's does over a reboot. */
static void set_mac(struct rtnl_link *l, unsigned k)
{
	const unsigned char mac[] = { 0x02, 'k', 'l', 0, 0, (unsigned char)k };
	struct nl_addr *a = nl_addr_build(AF_LLC, mac, sizeof(mac));

	rtnl_link_set_addr(l, a);
	nl_addr_put(a);
}

/* The pair of links between the bridge and the node, whose both ends go when one of the namespaces does. */
static int pair_make(const struct place *net, const struct place *node, unsigned k, const char *bridge, struct err *err)
{
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "n%u", k);
	struct rtnl_link *at_bridge = link_get(net, name), *at_node = link_get(node, node_link), *b = link_get(net, bridge);
	bool there = at_bridge && at_node;
	int r = b ? 0 : -NLE_NODEV;

	if (at_bridge && !there)
		rtnl_link_delete(net->nl, at_bridge);
	rtnl_link_put(at_bridge);
	rtnl_link_put(at_node);
	if (!there && r == 0) {
		struct rtnl_link *add = rtnl_link_veth_alloc();

		rtnl_link_set_name(add, name);
		struct rtnl_link *peer = rtnl_link_veth_get_peer(add);

		rtnl_link_set_name(peer, node_link);
		rtnl_link_set_ns_fd(peer, node->fd);
		set_mac(peer, k);
		rtnl_link_put(peer);
		rtnl_link_set_master(add, rtnl_link_get_ifindex(b));
		r = rtnl_link_add(net->nl, add, NLM_F_CREATE | NLM_F_EXCL);
		rtnl_link_put(add);
	}
	rtnl_link_put(b);
	if (r < 0)
		return link_err(err, "make", name, r);
	r = link_up(net, name, err);
	return r < 0 ? r : link_up(node, node_link, err);
}

static int default_route_add(const struct place *node, int family, unsigned segment, struct err *err)
{
	struct ip_prefix router = address(family, segment, ROUTER);
	unsigned size = family == AF_INET ? 4 : 16;
	struct nl_addr *dst = nl_addr_build(family, NULL, 0), *gw = nl_addr_build(family, router.addr.bytes, size);
	struct rtnl_route *route = rtnl_route_alloc();
	struct rtnl_nexthop *nh = rtnl_route_nh_alloc();

	rtnl_route_set_family(route, (uint8_t)family);
	rtnl_route_set_dst(route, dst);
	rtnl_route_nh_set_gateway(nh, gw);
	rtnl_route_add_nexthop(route, nh);
	rtnl_route_set_scope(route, RT_SCOPE_UNIVERSE);
	rtnl_route_set_protocol(route, RTPROT_STATIC);
	int r = rtnl_route_add(node->nl, route, NLM_F_EXCL);

	rtnl_route_put(route);
	nl_addr_put(dst);
	nl_addr_put(gw);
	if (r < 0 && r != -NLE_EXIST)
		return err_set(err, EIO, "cannot add a lab node's default route: %s", nl_geterror(r));
	return 0;
}

struct job {
	const struct cluster *c;
	unsigned k;
};

/* Nothing that is not for a node of the lab goes anywhere. */
static int underlay_addresses(void *user, struct err *err)
{
	const struct job *j = user;
	int family[3], r = 0;

	families(j->c, family);
	for (unsigned i = 0; r == 0 && family[i]; i++) {
		struct ip_prefix all = { .addr.family = (uint8_t)family[i] };

		r = net_blackhole_add(&all, err);
		for (unsigned s = 0; r == 0 && s < j->c->lab_segments; s++) {
			struct ip_prefix p = address(family[i], s, ROUTER);
			char name[IFNAMSIZ];

			snprintf(name, sizeof(name), "seg%u", s);
			r = net_address_add(name, &p, err);
		}
	}
	return r;
}

static int underlay_sysctls(void *user _unused_, struct err *err)
{
	/* A backend's node answers for another node where Services are forwarded so: by a link that the source is not on. */
	static const char *const rows[][2] = { { "net.ipv4.conf.all.rp_filter", "0" }, { "net.ipv4.conf.default.rp_filter", "0" },
					       { "net.ipv4.ip_forward", "1" }, { "net.ipv6.conf.all.forwarding", "1" } };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++) {
		r = net_sysctl_set(rows[i][0], rows[i][1], NULL, err);
		if (r == -ENOENT) { /* a kernel without IPv6 */
			err_done(err);
			r = 0;
		}
	}
	return r;
}

static int node_addresses(void *user, struct err *err)
{
	const struct job *j = user;
	int family[3], r = 0;

	families(j->c, family);
	for (unsigned i = 0; r == 0 && family[i]; i++) {
		struct ip_prefix p = address(family[i], segment_of(j->c, j->k), j->k);

		r = net_address_add(node_link, &p, err);
	}
	return r;
}

static int underlay_make(const struct cluster *c, const struct place *net, struct err *err)
{
	struct job j = { .c = c };
	int r = link_up(net, "lo", err);

	if (r == 0)
		r = within(net->fd, underlay_sysctls, NULL, err); /* before the links: they take the defaults */
	for (unsigned s = 0; r == 0 && s < c->lab_segments; s++) {
		char name[IFNAMSIZ];

		snprintf(name, sizeof(name), "seg%u", s);
		r = bridge_make(net, name, err);
	}
	return r < 0 ? r : within(net->fd, underlay_addresses, &j, err);
}

int lab_attach(const struct cluster *c, unsigned k, struct err *err)
{
	_cleanup_free_ char *net_name = underlay_netns(c), *name = lab_netns(c, k);
	_cleanup_(place_done) struct place net = { .fd = -1 }, node = { .fd = -1 };
	struct job j = { .c = c, .k = k };
	char bridge[IFNAMSIZ];
	int family[3], r = place_open(net_name, &net, err);

	snprintf(bridge, sizeof(bridge), "seg%u", segment_of(c, k));
	if (r < 0 || (r = underlay_make(c, &net, err)) < 0 || (r = place_open(name, &node, err)) < 0 ||
	    (r = link_up(&node, "lo", err)) < 0 || (r = pair_make(&net, &node, k, bridge, err)) < 0 ||
	    (r = within(node.fd, node_addresses, &j, err)) < 0)
		return r;
	families(c, family);
	for (unsigned i = 0; r == 0 && family[i]; i++)
		r = default_route_add(&node, family[i], segment_of(c, k), err);
	return r;
}

void lab_unplug(const struct cluster *c, unsigned k)
{
	_cleanup_free_ char *net_name = underlay_netns(c), *path = str_printf("/run/netns/%s", net_name);
	_cleanup_(place_done) struct place net = { .fd = -1 };
	char link[IFNAMSIZ];

	snprintf(link, sizeof(link), "n%u", k);
	if (file_exists(path) && place_open(net_name, &net, NULL) == 0) {
		struct rtnl_link *l = link_get(&net, link);

		if (l)
			rtnl_link_delete(net.nl, l);
		rtnl_link_put(l);
	}
}

void lab_detach(const struct cluster *c, unsigned k)
{
	_cleanup_free_ char *name = lab_netns(c, k);

	/* The link first: a namespace itself lives as long as anything holds it. */
	lab_unplug(c, k);
	node_netns_delete(name);
}

void lab_remove(const struct cluster *c)
{
	_cleanup_free_ char *net_name = underlay_netns(c);

	for (unsigned k = 1; k <= c->lab_nodes; k++)
		lab_detach(c, k);
	node_netns_delete(net_name);
}
