/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and changing. The order of changes: routes that go first, then what new routes need, then the routes, each
 * replaced in one step of the kernel, and at last what no route needs any more. Whatever instant this is interrupted at,
 * a packet finds the old way, the new way or none.
 */
#include "proxy/podnet/kernel.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/podnet/batch.h"

enum { READ_TRIES = 20, METRIC_V6 = 1024, ADDRESSES_MAX = 4096 };

static unsigned addr_size(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

static bool take_addr(const struct nlattr *a, struct ip_addr *ret)
{
	uint16_t len = mnl_attr_get_payload_len(a);
	if (len != 4 && len != 16)
		return false;
	*ret = (struct ip_addr){ .family = len == 4 ? AF_INET : AF_INET6 };
	memcpy(ret->bytes, mnl_attr_get_payload(a), len);
	return true;
}

/* Reading. */

struct link_info {
	struct kernel_tunnel tunnel;
	unsigned flags;
};

static int vxlan_attr(const struct nlattr *a, void *user)
{
	struct kernel_tunnel *t = user;
	switch (mnl_attr_get_type(a)) {
	case IFLA_VXLAN_ID:
		t->vni = mnl_attr_get_u32(a);
		break;
	case IFLA_VXLAN_PORT:
		t->port = ntohs(mnl_attr_get_u16(a));
		break;
	case IFLA_VXLAN_LEARNING:
		t->learning = mnl_attr_get_u8(a);
		break;
	case IFLA_VXLAN_LOCAL:
	case IFLA_VXLAN_LOCAL6:
		take_addr(a, &t->local);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int info_attr(const struct nlattr *a, void *user)
{
	struct kernel_tunnel *t = user;
	if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
		t->is_vxlan = str_eq(mnl_attr_get_str(a), "vxlan");
	else if (mnl_attr_get_type(a) == IFLA_INFO_DATA && t->is_vxlan)
		mnl_attr_parse_nested(a, vxlan_attr, t);
	return MNL_CB_OK;
}

static int link_attr(const struct nlattr *a, void *user)
{
	struct kernel_tunnel *t = user;
	switch (mnl_attr_get_type(a)) {
	case IFLA_MTU:
		t->mtu = mnl_attr_get_u32(a);
		break;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(a) == ETH_ALEN)
			memcpy(t->mac, mnl_attr_get_payload(a), ETH_ALEN);
		break;
	case IFLA_LINKINFO:
		mnl_attr_parse_nested(a, info_attr, t);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int on_link(const struct nlmsghdr *nlh, void *user)
{
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(nlh);
	struct link_info *l = user;
	l->tunnel.ifindex = (unsigned)i->ifi_index;
	l->tunnel.up = i->ifi_flags & IFF_UP;
	l->flags = i->ifi_flags;
	mnl_attr_parse(nlh, sizeof(*i), link_attr, &l->tunnel);
	return MNL_CB_OK;
}

/* By name, or by index when name is NULL. One that is not there has index 0. */
static int get_link(struct batch *b, const char *name, unsigned index, struct link_info *ret)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETLINK;
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(nlh, sizeof(*i));
	i->ifi_index = name ? 0 : (int)index;
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	*ret = (struct link_info){ 0 };
	int e = batch_ask(b, nlh, on_link, ret);
	return e == -ENODEV ? 0 : e;
}

static int route_attr(const struct nlattr *a, void *user)
{
	struct kernel_route *r = user;
	switch (mnl_attr_get_type(a)) {
	case RTA_DST:
		take_addr(a, &r->route.dst.addr);
		break;
	case RTA_GATEWAY:
		take_addr(a, &r->route.gw);
		break;
	case RTA_PREFSRC:
		take_addr(a, &r->route.src);
		break;
	case RTA_OIF:
		r->route.ifindex = mnl_attr_get_u32(a);
		break;
	case RTA_PRIORITY:
		r->metric = mnl_attr_get_u32(a);
		break;
	case RTA_MULTIPATH:
	case RTA_VIA:
	case RTA_ENCAP:
	case RTA_NH_ID:
		r->plain = false;
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int on_route(const struct nlmsghdr *nlh, void *user)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(nlh);
	struct kernel_state *s = user;
	struct kernel_route r = {
		.plain = m->rtm_type == RTN_UNICAST && m->rtm_tos == 0,
		.route.dst = { .addr.family = m->rtm_family, .len = m->rtm_dst_len },
	};
	if (m->rtm_protocol != KERNEL_PROTOCOL || m->rtm_table != RT_TABLE_MAIN || m->rtm_flags & RTM_F_CLONED)
		return MNL_CB_OK;
	mnl_attr_parse(nlh, sizeof(*m), route_attr, &r);
	if (r.route.ifindex == s->tunnel.ifindex && !(m->rtm_flags & RTNH_F_ONLINK))
		r.plain = false;
	MEM_GROW(s->routes, s->route_cap, s->route_count + 1);
	s->routes[s->route_count++] = r;
	return MNL_CB_OK;
}

static int on_neighbour(const struct nlmsghdr *nlh, void *user)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(nlh);
	struct kernel_state *s = user;
	struct podnet_neighbour n = { 0 };
	struct podnet_forward f = { 0 };
	const struct nlattr *a;
	bool mac = false;
	if ((unsigned)m->ndm_ifindex != s->tunnel.ifindex)
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*m)) {
		if (mnl_attr_get_type(a) == NDA_LLADDR && mnl_attr_get_payload_len(a) == ETH_ALEN) {
			memcpy(n.mac, mnl_attr_get_payload(a), ETH_ALEN);
			mac = true;
		} else if (mnl_attr_get_type(a) == NDA_DST) {
			take_addr(a, &n.addr);
		}
	}
	if (m->ndm_family == AF_BRIDGE) {
		f.node = n.addr;
		memcpy(f.mac, n.mac, ETH_ALEN);
		MEM_GROW(s->forwards, s->forward_cap, s->forward_count + 1);
		s->forwards[s->forward_count++] = f;
	} else if (n.addr.family && (m->ndm_state & NUD_PERMANENT || mac)) {
		/* What somebody else put there and is not permanent counts as another link address: it is replaced. */
		if (!(m->ndm_state & NUD_PERMANENT))
			memset(n.mac, 0, ETH_ALEN);
		MEM_GROW(s->neighbours, s->neighbour_cap, s->neighbour_count + 1);
		s->neighbours[s->neighbour_count++] = n;
	}
	return MNL_CB_OK;
}

static int on_address(const struct nlmsghdr *nlh, void *user)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(nlh);
	struct kernel_state *s = user;
	struct ip_addr local = { 0 }, address = { 0 };
	uint32_t flags = m->ifa_flags;
	const struct nlattr *a;
	if ((m->ifa_family != AF_INET && m->ifa_family != AF_INET6) || m->ifa_scope >= RT_SCOPE_LINK)
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*m)) {
		if (mnl_attr_get_type(a) == IFA_LOCAL)
			take_addr(a, &local);
		else if (mnl_attr_get_type(a) == IFA_ADDRESS)
			take_addr(a, &address);
		else if (mnl_attr_get_type(a) == IFA_FLAGS)
			flags = mnl_attr_get_u32(a);
	}
	struct ip_prefix p = { .addr = local.family ? local : address, .len = m->ifa_prefixlen };
	/* A point-to-point address has no segment. */
	if (local.family && address.family && !ip_addr_eq(&local, &address))
		p.len = (uint8_t)(addr_size(p.addr.family) * 8);
	if (!p.addr.family || flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
		return MNL_CB_OK;
	if (m->ifa_index == s->tunnel.ifindex) {
		MEM_GROW(s->tunnel_addrs, s->tunnel_addr_cap, s->tunnel_addr_count + 1);
		s->tunnel_addrs[s->tunnel_addr_count++] = p;
	} else if (s->address_count < ADDRESSES_MAX) {
		MEM_GROW(s->addresses, s->address_cap, s->address_count + 1);
		s->addresses[s->address_count++] = (struct podnet_address){ .prefix = p, .ifindex = m->ifa_index };
	}
	return MNL_CB_OK;
}

static int read_routes(struct batch *b, uint8_t family, struct kernel_state *s)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_DUMP;
	struct rtmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->rtm_family = family;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = KERNEL_PROTOCOL;
	int e = batch_ask(b, nlh, on_route, s);
	/* No IPv6 in this kernel, or no main table yet. */
	return e == -EAFNOSUPPORT || e == -EOPNOTSUPP || e == -ENOENT ? 0 : e;
}

static int read_neighbours(struct batch *b, uint8_t family, struct kernel_state *s)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	if (!s->tunnel.ifindex)
		return 0;
	nlh->nlmsg_type = RTM_GETNEIGH;
	nlh->nlmsg_flags = NLM_F_DUMP;
	struct ndmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->ndm_family = family;
	if (family == AF_BRIDGE)
		m->ndm_ifindex = (int)s->tunnel.ifindex;
	else
		mnl_attr_put_u32(nlh, NDA_IFINDEX, s->tunnel.ifindex);
	int e = batch_ask(b, nlh, on_neighbour, s);
	return e == -EAFNOSUPPORT || e == -EOPNOTSUPP ? 0 : e;
}

static int read_addresses(struct batch *b, struct kernel_state *s)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifaddrmsg));
	int e = batch_ask(b, nlh, on_address, s);
	if (e < 0)
		return e;
	/* Only links with addresses are asked for: of a pod's there are many, without. */
	size_t kept = 0;
	struct link_info l = { 0 };
	for (size_t i = 0; i < s->address_count; i++) {
		struct podnet_address a = s->addresses[i];
		if (l.tunnel.ifindex != a.ifindex) {
			e = get_link(b, NULL, a.ifindex, &l);
			if (e < 0)
				return e;
		}
		if (!(l.flags & IFF_UP))
			continue;
		a.mtu = l.tunnel.mtu;
		a.loopback = l.flags & IFF_LOOPBACK;
		s->addresses[kept++] = a;
	}
	s->address_count = kept;
	return 0;
}

static int read_once(struct batch *b, struct kernel_state *s)
{
	struct link_info l;
	int e = get_link(b, KERNEL_TUNNEL, 0, &l);
	s->tunnel = l.tunnel;
	s->route_count = s->neighbour_count = s->forward_count = s->tunnel_addr_count = s->address_count = 0;
	if (e == 0)
		e = read_addresses(b, s);
	if (e == 0)
		e = read_routes(b, AF_INET, s);
	if (e == 0)
		e = read_routes(b, AF_INET6, s);
	if (e == 0)
		e = read_neighbours(b, AF_INET, s);
	if (e == 0)
		e = read_neighbours(b, AF_INET6, s);
	if (e == 0)
		e = read_neighbours(b, AF_BRIDGE, s);
	return e;
}

static int by_dst(const void *a, const void *b)
{
	const struct kernel_route *x = a, *y = b;
	int c = podnet_prefix_cmp(&x->route.dst, &y->route.dst);
	return c ? c : x->metric < y->metric ? -1 : x->metric > y->metric;
}

static int by_addr(const void *a, const void *b)
{
	return podnet_addr_cmp(&((const struct podnet_neighbour *)a)->addr, &((const struct podnet_neighbour *)b)->addr);
}

static int by_mac(const void *a, const void *b)
{
	return memcmp(((const struct podnet_forward *)a)->mac, ((const struct podnet_forward *)b)->mac, ETH_ALEN);
}

int kernel_read(struct kernel_state *s, struct err *err)
{
	_cleanup_free_ struct batch *b = mem_new(struct batch);
	*s = (struct kernel_state){ 0 };
	int e = batch_open(b, err);
	if (e < 0)
		return e;
	/* Somebody changes what is read: again. */
	e = -EINTR;
	for (int tries = 0; e == -EINTR && tries < READ_TRIES; tries++)
		e = read_once(b, s);
	batch_close(b);
	if (e < 0)
		return err_set(err, -e, "cannot read routes and links: %s", strerror(-e));
	if (s->route_count)
		qsort(s->routes, s->route_count, sizeof(*s->routes), by_dst);
	if (s->neighbour_count)
		qsort(s->neighbours, s->neighbour_count, sizeof(*s->neighbours), by_addr);
	if (s->forward_count)
		qsort(s->forwards, s->forward_count, sizeof(*s->forwards), by_mac);
	return 0;
}

void kernel_state_done(struct kernel_state *s)
{
	free(s->routes);
	free(s->neighbours);
	free(s->forwards);
	free(s->tunnel_addrs);
	free(s->addresses);
	*s = (struct kernel_state){ 0 };
}

/* Changing. */

struct change {
	struct batch *b;
	const struct kernel_state *s;
	const struct podnet_wanted *w;
	unsigned tunnel; /* its ifindex, 0 while there is none */
	bool fresh;      /* it was made just now: nothing that the state says of the old one holds */
	struct err *err;
};

static void put_route(struct change *c, const struct podnet_route *r, bool replace)
{
	char dst[IP_PREFIX_TEXT_SIZE], gw[IP_ADDR_TEXT_SIZE];
	unsigned size = addr_size(r->dst.addr.family);
	struct nlmsghdr *nlh = batch_begin(c->b, RTM_NEWROUTE, replace ? NLM_F_REPLACE : NLM_F_CREATE | NLM_F_EXCL, 0,
					   "%s the route %s via %s", replace ? "change" : "add",
					   ip_prefix_format(&r->dst, dst), ip_format(&r->gw, gw));
	struct rtmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->rtm_family = r->dst.addr.family;
	m->rtm_dst_len = r->dst.len;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = KERNEL_PROTOCOL;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	m->rtm_flags = r->ifindex ? 0 : RTNH_F_ONLINK;
	mnl_attr_put(nlh, RTA_DST, size, r->dst.addr.bytes);
	mnl_attr_put(nlh, RTA_GATEWAY, size, r->gw.bytes);
	mnl_attr_put_u32(nlh, RTA_OIF, r->ifindex ? r->ifindex : c->tunnel);
	if (r->src.family)
		mnl_attr_put(nlh, RTA_PREFSRC, size, r->src.bytes);
	batch_end(c->b, nlh);
}

static void put_route_del(struct change *c, const struct kernel_route *r)
{
	char dst[IP_PREFIX_TEXT_SIZE];
	struct nlmsghdr *nlh = batch_begin(c->b, RTM_DELROUTE, 0, ESRCH, "remove the route %s", ip_prefix_format(&r->route.dst, dst));
	struct rtmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->rtm_family = r->route.dst.addr.family;
	m->rtm_dst_len = r->route.dst.len;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = KERNEL_PROTOCOL;
	m->rtm_scope = RT_SCOPE_NOWHERE; /* any */
	if (r->route.dst.len)
		mnl_attr_put(nlh, RTA_DST, addr_size(m->rtm_family), r->route.dst.addr.bytes);
	if (r->route.ifindex)
		mnl_attr_put_u32(nlh, RTA_OIF, r->route.ifindex);
	if (r->metric)
		mnl_attr_put_u32(nlh, RTA_PRIORITY, r->metric);
	batch_end(c->b, nlh);
}

static void put_neighbour(struct change *c, const struct podnet_neighbour *n, bool add)
{
	char text[IP_ADDR_TEXT_SIZE];
	struct nlmsghdr *nlh = batch_begin(c->b, add ? RTM_NEWNEIGH : RTM_DELNEIGH, add ? NLM_F_CREATE | NLM_F_REPLACE : 0,
					   add ? 0 : ENOENT, "%s the neighbour %s of " KERNEL_TUNNEL, add ? "set" : "remove",
					   ip_format(&n->addr, text));
	struct ndmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->ndm_family = n->addr.family;
	m->ndm_ifindex = (int)c->tunnel;
	m->ndm_state = NUD_PERMANENT;
	mnl_attr_put(nlh, NDA_DST, addr_size(n->addr.family), n->addr.bytes);
	if (add) {
		mnl_attr_put(nlh, NDA_LLADDR, ETH_ALEN, n->mac);
		mnl_attr_put_u8(nlh, NDA_PROTOCOL, KERNEL_PROTOCOL);
	}
	batch_end(c->b, nlh);
}

static void put_forward(struct change *c, const struct podnet_forward *f, bool add)
{
	char text[IP_ADDR_TEXT_SIZE];
	struct nlmsghdr *nlh = batch_begin(c->b, add ? RTM_NEWNEIGH : RTM_DELNEIGH, add ? NLM_F_CREATE | NLM_F_REPLACE : 0,
					   add ? 0 : ENOENT, "%s the forwarding entry to %s of " KERNEL_TUNNEL,
					   add ? "set" : "remove", ip_format(&f->node, text));
	struct ndmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->ndm_family = AF_BRIDGE;
	m->ndm_ifindex = (int)c->tunnel;
	m->ndm_state = NUD_NOARP | NUD_PERMANENT;
	m->ndm_flags = NTF_SELF;
	mnl_attr_put(nlh, NDA_LLADDR, ETH_ALEN, f->mac);
	if (f->node.family)
		mnl_attr_put(nlh, NDA_DST, addr_size(f->node.family), f->node.bytes);
	batch_end(c->b, nlh);
}

static void put_address(struct change *c, const struct ip_prefix *p, bool add)
{
	char text[IP_PREFIX_TEXT_SIZE];
	unsigned size = addr_size(p->addr.family);
	struct nlmsghdr *nlh = batch_begin(c->b, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0,
					   add ? EEXIST : EADDRNOTAVAIL, "%s the address %s of " KERNEL_TUNNEL,
					   add ? "set" : "remove", ip_prefix_format(p, text));
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->ifa_family = p->addr.family;
	m->ifa_prefixlen = p->len;
	m->ifa_index = c->tunnel;
	mnl_attr_put(nlh, IFA_LOCAL, size, p->addr.bytes);
	mnl_attr_put(nlh, IFA_ADDRESS, size, p->addr.bytes);
	if (add)
		mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	batch_end(c->b, nlh);
}

static void put_link_del(struct batch *b, unsigned ifindex)
{
	struct nlmsghdr *nlh = batch_begin(b, RTM_DELLINK, 0, ENODEV, "remove the link " KERNEL_TUNNEL);
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(nlh, sizeof(*i));
	i->ifi_index = (int)ifindex;
	batch_end(b, nlh);
}

static void put_vxlan(struct nlmsghdr *nlh, const struct podnet_wanted *w, bool new)
{
	struct nlattr *info = mnl_attr_nest_start(nlh, IFLA_LINKINFO), *data;
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "vxlan");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	if (new) {
		mnl_attr_put_u32(nlh, IFLA_VXLAN_ID, KERNEL_VNI);
		mnl_attr_put_u16(nlh, IFLA_VXLAN_PORT, htons(KERNEL_PORT));
	}
	mnl_attr_put_u8(nlh, IFLA_VXLAN_LEARNING, 0);
	mnl_attr_put(nlh, w->local.family == AF_INET6 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL, addr_size(w->local.family), w->local.bytes);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

/* No link-local address is wanted: nobody discovers neighbours here, and without one nothing is multicast. Only a link that
 * exists can be told so, and only before it is up has it none. A kernel without IPv6 refuses. */
static void put_no_link_local(struct batch *b)
{
	struct nlmsghdr *nlh = batch_begin(b, RTM_NEWLINK, 0, EAFNOSUPPORT, "keep link-local addresses off " KERNEL_TUNNEL);
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, KERNEL_TUNNEL);
	struct nlattr *spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC), *inet6 = mnl_attr_nest_start(nlh, AF_INET6);
	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nlh, inet6);
	mnl_attr_nest_end(nlh, spec);
	batch_end(b, nlh);
}

static struct nlmsghdr *begin_link(struct batch *b, uint16_t flags, const char *what, bool up)
{
	struct nlmsghdr *nlh = batch_begin(b, RTM_NEWLINK, flags, 0, "%s the VXLAN link " KERNEL_TUNNEL " (VNI %d, port %d)",
					   what, KERNEL_VNI, KERNEL_PORT);
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(nlh, sizeof(*i));
	i->ifi_flags = i->ifi_change = up ? IFF_UP : 0;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, KERNEL_TUNNEL);
	return nlh;
}

static void put_basics(struct nlmsghdr *nlh, const struct podnet_wanted *w)
{
	mnl_attr_put(nlh, IFLA_ADDRESS, ETH_ALEN, w->mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, w->mtu);
}

static void make_tunnel(struct batch *b, const struct podnet_wanted *w)
{
	struct nlmsghdr *nlh = begin_link(b, NLM_F_CREATE | NLM_F_EXCL, "make", false);
	put_basics(nlh, w);
	put_vxlan(nlh, w, true);
	batch_end(b, nlh);
	put_no_link_local(b);
	batch_end(b, begin_link(b, 0, "set up", true));
}

/* What every link has and what VXLAN has cannot be changed together. */
static void change_tunnel(struct batch *b, const struct podnet_wanted *w, const struct kernel_tunnel *t)
{
	struct nlmsghdr *nlh;
	if (t->learning || !ip_addr_eq(&t->local, &w->local)) {
		nlh = begin_link(b, 0, "change", false);
		put_vxlan(nlh, w, false);
		batch_end(b, nlh);
	}
	if (!t->up || t->mtu != w->mtu || memcmp(t->mac, w->mac, ETH_ALEN) != 0) {
		nlh = begin_link(b, 0, "change", true);
		put_basics(nlh, w);
		batch_end(b, nlh);
	}
}

/* Sees that the tunnel is as wanted; c->tunnel tells whether it can be used. */
static void ensure_tunnel(struct change *c)
{
	const struct kernel_tunnel *t = &c->s->tunnel;
	const struct podnet_wanted *w = c->w;
	struct link_info l = { 0 };
	if (!w->tunnel)
		return;
	if (t->ifindex && !t->is_vxlan) {
		c->b->refused++;
		err_set(c->err, EEXIST, "the link " KERNEL_TUNNEL " is not a VXLAN link: remove or rename it");
		return;
	}
	if (t->ifindex && t->vni == KERNEL_VNI && t->port == KERNEL_PORT && t->local.family == w->local.family) {
		c->tunnel = t->ifindex;
		change_tunnel(c->b, w, t);
		return;
	}
	/* These cannot be changed on a link that exists. */
	if (t->ifindex)
		put_link_del(c->b, t->ifindex);
	make_tunnel(c->b, w);
	c->fresh = true;
	if (batch_send(c->b) == 0 && get_link(c->b, KERNEL_TUNNEL, 0, &l) == 0 && l.tunnel.is_vxlan && l.tunnel.up)
		c->tunnel = l.tunnel.ifindex;
}

static bool route_is(const struct change *c, const struct kernel_route *have, const struct podnet_route *want)
{
	const struct podnet_route *r = &have->route;
	return have->plain && ip_addr_eq(&r->gw, &want->gw) && r->src.family == want->src.family &&
	       (!r->src.family || ip_addr_eq(&r->src, &want->src)) && r->ifindex == (want->ifindex ? want->ifindex : c->tunnel);
}

static uint32_t usual_metric(const struct podnet_route *r)
{
	return r->dst.addr.family == AF_INET6 ? METRIC_V6 : 0;
}

/* Goes through both sorted lists. remove: what is not wanted; else: what is. */
static void change_routes(struct change *c, bool remove)
{
	const struct kernel_state *s = c->s;
	const struct podnet_wanted *w = c->w;
	size_t have = 0;
	for (size_t i = 0; i <= w->route_count; i++) {
		const struct podnet_route *want = i < w->route_count ? &w->routes[i] : NULL;
		bool there = false, same = false;
		for (; have < s->route_count; have++) {
			const struct kernel_route *r = &s->routes[have];
			int order = want ? podnet_prefix_cmp(&r->route.dst, &want->dst) : -1;
			bool mine = order == 0 && r->metric == usual_metric(want) && !there;
			if (order > 0)
				break;
			if (c->fresh && r->route.ifindex == s->tunnel.ifindex)
				continue; /* went with its link */
			if (mine) {
				there = true;
				same = route_is(c, r, want);
			} else if (remove) {
				put_route_del(c, r);
			}
		}
		if (!remove && want && !same && (want->ifindex || c->tunnel))
			put_route(c, want, there);
	}
}

static void change_neighbours(struct change *c, bool remove)
{
	const struct kernel_state *s = c->s;
	const struct podnet_wanted *w = c->w;
	size_t have = 0, count = c->fresh ? 0 : s->neighbour_count;
	for (size_t i = 0; i <= w->neighbour_count; i++) {
		const struct podnet_neighbour *want = i < w->neighbour_count ? &w->neighbours[i] : NULL;
		bool same = false;
		for (; have < count; have++) {
			const struct podnet_neighbour *n = &s->neighbours[have];
			int order = want ? podnet_addr_cmp(&n->addr, &want->addr) : -1;
			if (order > 0)
				break;
			if (order == 0)
				same = memcmp(n->mac, want->mac, ETH_ALEN) == 0;
			else if (remove)
				put_neighbour(c, n, false);
		}
		if (!remove && want && !same)
			put_neighbour(c, want, true);
	}
}

static void change_forwards(struct change *c, bool remove)
{
	const struct kernel_state *s = c->s;
	const struct podnet_wanted *w = c->w;
	size_t have = 0, count = c->fresh ? 0 : s->forward_count;
	for (size_t i = 0; i <= w->forward_count; i++) {
		const struct podnet_forward *want = i < w->forward_count ? &w->forwards[i] : NULL;
		bool there = false, same = false;
		for (; have < count; have++) {
			const struct podnet_forward *f = &s->forwards[have];
			int order = want ? memcmp(f->mac, want->mac, ETH_ALEN) : -1;
			if (order > 0)
				break;
			if (order == 0 && !there) {
				there = true;
				same = f->node.family && ip_addr_eq(&f->node, &want->node);
			} else if (remove) {
				put_forward(c, f, false);
			}
		}
		if (!remove && want && !same)
			put_forward(c, want, true);
	}
}

static void change_addresses(struct change *c, bool remove)
{
	const struct kernel_state *s = c->s;
	size_t count = c->fresh ? 0 : s->tunnel_addr_count;
	bool there[2] = { false, false };
	for (size_t i = 0; i < count; i++) {
		const struct ip_prefix *p = &s->tunnel_addrs[i];
		unsigned f = ip_family_index(p->addr.family);
		if (c->w->addrs[f].family && ip_addr_eq(&c->w->addrs[f], &p->addr))
			there[f] = true;
		else if (remove)
			put_address(c, p, false);
	}
	for (int f = 0; f < 2 && !remove; f++)
		if (c->w->addrs[f].family && !there[f])
			put_address(c, &(struct ip_prefix){ .addr = c->w->addrs[f], .len = f ? 128 : 32 }, true);
}

int kernel_apply(const struct kernel_state *s, const struct podnet_wanted *w, size_t *ret_changes, struct err *err)
{
	_cleanup_free_ struct batch *b = mem_new(struct batch);
	struct change c = { .b = b, .s = s, .w = w, .err = err };
	int e = batch_open(b, err);
	if (e < 0)
		return e;
	change_routes(&c, true);
	ensure_tunnel(&c);
	if (c.tunnel) {
		change_addresses(&c, false);
		change_forwards(&c, false);
		change_neighbours(&c, false);
	}
	change_routes(&c, false);
	if (c.tunnel) {
		change_neighbours(&c, true);
		change_forwards(&c, true);
		change_addresses(&c, true);
	} else if (!w->tunnel && s->tunnel.is_vxlan) {
		put_link_del(b, s->tunnel.ifindex);
	}
	e = batch_send(b);
	*ret_changes = b->taken;
	batch_close(b);
	return e < 0 ? e : b->refused ? -EIO : 0;
}

int kernel_remove(struct err *err)
{
	struct kernel_state s;
	struct podnet_wanted none = { .known = true };
	size_t changes;
	int e = kernel_read(&s, err);
	if (e == 0)
		e = kernel_apply(&s, &none, &changes, err);
	kernel_state_done(&s);
	return e;
}
