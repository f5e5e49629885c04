/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A few rtnetlink operations. Every one opens a netlink socket of its own, so it acts on the network namespace of the
 * calling thread and shares no state.
 */
#include "io/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

/* The kernel's largest metric: any other route to the prefix wins. */
#define LAST_RESORT_METRIC UINT32_MAX

static unsigned addr_size(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

static void nl_socket_freep(struct nl_sock **s)
{
	nl_socket_free(*s);
}

static int route_socket(struct nl_sock **ret, struct err *err)
{
	struct nl_sock *s = nl_socket_alloc();
	int r;

	if (!s)
		return err_set(err, ENOMEM, "cannot allocate a netlink socket");
	r = nl_connect(s, NETLINK_ROUTE);
	if (r < 0) {
		nl_socket_free(s);
		return err_set(err, EIO, "cannot open a route netlink socket: %s", nl_geterror(r));
	}
	*ret = s;
	return 0;
}

static struct nl_addr *to_nl_addr(const struct ip_prefix *p)
{
	struct nl_addr *a = nl_addr_build(p->addr.family, p->addr.bytes, addr_size(p->addr.family));

	BUG_ON(!a);
	nl_addr_set_prefixlen(a, p->len);
	return a;
}

static int blackhole(const struct ip_prefix *prefix, bool add, struct err *err)
{
	_cleanup_(nl_socket_freep) struct nl_sock *s = NULL;
	char text[IP_PREFIX_TEXT_SIZE];
	struct ip_prefix p = *prefix;
	int r = route_socket(&s, err);

	if (r < 0)
		return r;
	ip_prefix_mask(&p);
	struct rtnl_route *route = rtnl_route_alloc();
	struct nl_addr *dst = to_nl_addr(&p);

	BUG_ON(!route);
	rtnl_route_set_family(route, p.addr.family);
	rtnl_route_set_dst(route, dst);
	rtnl_route_set_type(route, RTN_BLACKHOLE);
	rtnl_route_set_table(route, RT_TABLE_MAIN);
	rtnl_route_set_protocol(route, RTPROT_STATIC);
	rtnl_route_set_scope(route, RT_SCOPE_UNIVERSE);
	rtnl_route_set_priority(route, LAST_RESORT_METRIC);
	r = add ? rtnl_route_add(s, route, NLM_F_EXCL) : rtnl_route_delete(s, route, 0);
	rtnl_route_put(route);
	nl_addr_put(dst);
	if (r == 0 || (add && r == -NLE_EXIST) || (!add && r == -NLE_OBJ_NOTFOUND))
		return 0;
	return err_set(err, EIO, "cannot %s the blackhole route for %s: %s", add ? "add" : "remove",
		       ip_prefix_format(&p, text), nl_geterror(r));
}

int net_blackhole_add(const struct ip_prefix *p, struct err *err)
{
	return blackhole(p, true, err);
}

int net_blackhole_del(const struct ip_prefix *p, struct err *err)
{
	return blackhole(p, false, err);
}

static int address(const char *ifname, const struct ip_prefix *p, bool add, struct err *err)
{
	_cleanup_(nl_socket_freep) struct nl_sock *s = NULL;
	char text[IP_PREFIX_TEXT_SIZE];
	unsigned index = if_nametoindex(ifname);
	int r;

	if (!index && !add)
		return 0;
	if (!index)
		return err_set(err, ENODEV, "there is no network interface \"%s\"", ifname);
	r = route_socket(&s, err);
	if (r < 0)
		return r;
	struct rtnl_addr *a = rtnl_addr_alloc();
	struct nl_addr *local = to_nl_addr(p);

	BUG_ON(!a);
	rtnl_addr_set_ifindex(a, (int)index);
	rtnl_addr_set_local(a, local);
	if (p->addr.family == AF_INET6 && add)
		rtnl_addr_set_flags(a, IFA_F_NODAD);
	r = add ? rtnl_addr_add(s, a, NLM_F_EXCL) : rtnl_addr_delete(s, a, 0);
	rtnl_addr_put(a);
	nl_addr_put(local);
	if (r == 0 || (add && r == -NLE_EXIST) || (!add && (r == -NLE_NOADDR || r == -NLE_OBJ_NOTFOUND)))
		return 0;
	return err_set(err, EIO, "cannot %s address %s %s interface %s: %s", add ? "add" : "remove",
		       ip_prefix_format(p, text), add ? "to" : "from", ifname, nl_geterror(r));
}

int net_address_add(const char *ifname, const struct ip_prefix *p, struct err *err)
{
	return address(ifname, p, true, err);
}

int net_address_del(const char *ifname, const struct ip_prefix *p, struct err *err)
{
	return address(ifname, p, false, err);
}

/* The output interface of the default route with the lowest metric, 0 when there is none. */
static int default_route_interface(struct nl_sock *s, int family)
{
	struct nl_cache *routes;
	uint32_t best = UINT32_MAX;
	int index = 0;

	if (rtnl_route_alloc_cache(s, family, 0, &routes) < 0)
		return 0;
	for (struct nl_object *o = nl_cache_get_first(routes); o; o = nl_cache_get_next(o)) {
		struct rtnl_route *r = (struct rtnl_route *)o;
		struct nl_addr *dst = rtnl_route_get_dst(r);
		struct rtnl_nexthop *nh;

		if (rtnl_route_get_table(r) != RT_TABLE_MAIN || rtnl_route_get_type(r) != RTN_UNICAST ||
		    (dst && nl_addr_get_prefixlen(dst) != 0) || rtnl_route_get_nnexthops(r) < 1)
			continue;
		nh = rtnl_route_nexthop_n(r, 0);
		if (nh && (!index || rtnl_route_get_priority(r) < best)) {
			best = rtnl_route_get_priority(r);
			index = rtnl_route_nh_get_ifindex(nh);
		}
	}
	nl_cache_free(routes);
	return index;
}

int net_node_address(int family, struct ip_addr *ret, struct err *err)
{
	_cleanup_(nl_socket_freep) struct nl_sock *s = NULL;
	struct nl_cache *addrs;
	struct ip_addr found = { 0 };
	int r = route_socket(&s, err);

	if (r < 0)
		return r;
	int want = default_route_interface(s, family);

	r = rtnl_addr_alloc_cache(s, &addrs);
	if (r < 0)
		return err_set(err, EIO, "cannot list network addresses: %s", nl_geterror(r));
	for (struct nl_object *o = nl_cache_get_first(addrs); o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *a = (struct rtnl_addr *)o;
		struct nl_addr *local = rtnl_addr_get_local(a);

		if (rtnl_addr_get_family(a) != family || rtnl_addr_get_scope(a) != RT_SCOPE_UNIVERSE || !local ||
		    (want && rtnl_addr_get_ifindex(a) != want) || nl_addr_get_len(local) != addr_size((uint8_t)family))
			continue;
		found.family = (uint8_t)family;
		memcpy(found.bytes, nl_addr_get_binary_addr(local), addr_size((uint8_t)family));
		break;
	}
	nl_cache_free(addrs);
	if (!found.family)
		return err_set(err, ENOENT, "no interface has a global IPv%d address; give one with --node-ip",
			       family == AF_INET ? 4 : 6);
	*ret = found;
	return 0;
}

int net_sysctl_set(const char *name, const char *value, char **ret_old, struct err *err)
{
	_cleanup_free_ char *path = str_printf("/proc/sys/%s", name);
	_cleanup_strbuf_ struct strbuf old = { 0 };

	for (char *p = path + strlen("/proc/sys/"); *p; p++)
		if (*p == '.')
			*p = '/';
	int r = file_read(path, 4096, &old);

	if (r < 0)
		return err_set(err, -r, "cannot read sysctl %s: %s", name, strerror(-r));
	while (old.len && old.data[old.len - 1] == '\n')
		old.data[--old.len] = '\0';
	if (!str_eq(old.data, value)) {
		_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, value, strlen(value)) < 0)
			return err_set(err, errno, "cannot set sysctl %s to %s: %s", name, value, strerror(errno));
	}
	if (ret_old)
		*ret_old = strbuf_take(&old);
	return 0;
}
