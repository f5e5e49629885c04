/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building a pod's network. The peer of the veth pair is created in the pod's namespace right away (VETH_INFO_PEER with
 * IFLA_NET_NS_FD): moving a device there later costs the kernel a grace period.
 */
#include "cni/pod.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6_route.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): no real route is more specific, so asking for them finds
 * the default route. */
const struct ip_addr pod_nowhere[2] = {
	{ AF_INET, { 192, 0, 2, 1 } },
	{ AF_INET6, { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } },
};
/* keelson-proxy's VXLAN device to other nodes. */
#define TUNNEL "klvx"

enum { MTU_USUAL = 1500, LOOPBACK_INDEX = 1 };

void pod_mac(uint8_t first, const struct ip_addr *a, uint8_t out[static 6])
{
	out[0] = first;
	out[1] = 0x58;
	memcpy(out + 2, a->bytes + conf_addr_size(a->family) - 4, 4);
}

const char *pod_mac_text(const uint8_t mac[static 6], char out[static POD_MAC_TEXT_SIZE])
{
	snprintf(out, POD_MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return out;
}

static struct ifinfomsg *put_ifinfo(struct nlmsghdr *nlh, int index, bool up)
{
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	ifi->ifi_index = index;
	ifi->ifi_flags = ifi->ifi_change = up ? IFF_UP : 0;
	return ifi;
}

static void put_bridge(struct netlink *host, const struct conf *c)
{
	struct nlmsghdr *nlh = netlink_put(host, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, EEXIST,
					"create the bridge %s", c->bridge);
	struct nlattr *info;
	uint8_t mac[6];

	put_ifinfo(nlh, 0, true);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, c->bridge);
	/* An address of its own: else the bridge's changes with its ports, and pods' neighbour entries go stale. */
	pod_mac(POD_MAC_HOST, &c->subnets[0].gateway, mac);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(mac), mac);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "bridge");
	mnl_attr_nest_end(nlh, info);
	netlink_put_end(host, nlh);
}

static void put_up(struct netlink *r, int index, const char *name)
{
	struct nlmsghdr *nlh = netlink_put(r, RTM_NEWLINK, NLM_F_ACK, 0, "set %s up", name);

	put_ifinfo(nlh, index, true);
	netlink_put_end(r, nlh);
}

static void put_address(struct netlink *r, int index, const char *ifname, const struct ip_addr *a, unsigned len)
{
	char ip[IP_ADDR_TEXT_SIZE];
	unsigned size = conf_addr_size(a->family);
	struct nlmsghdr *nlh = netlink_put(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, EEXIST,
					"add the address %s/%u to %s", ip_format(a, ip), len, ifname);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	struct ip_addr broadcast = *a;

	ifa->ifa_family = a->family;
	ifa->ifa_prefixlen = (uint8_t)len;
	ifa->ifa_index = (uint32_t)index;
	mnl_attr_put(nlh, IFA_LOCAL, size, a->bytes);
	mnl_attr_put(nlh, IFA_ADDRESS, size, a->bytes);
	if (a->family == AF_INET) {
		for (unsigned bit = len; bit < 32; bit++)
			broadcast.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		mnl_attr_put(nlh, IFA_BROADCAST, size, broadcast.bytes);
	} else {
		/* Nobody else was given it: no second is spent on asking (RFC 4862 section 5.4). */
		mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NODAD);
	}
	netlink_put_end(r, nlh);
}

int pod_bridge_ensure(struct netlink *host, const struct conf *c, struct netlink_link *ret, struct fail *f)
{
	struct netlink_link l = { 0 };
	int e = netlink_link_get(host, c->bridge, 0, &l);

	if (e == -ENODEV) {
		put_bridge(host, c);
		if (netlink_commit(host, f) < 0)
			return -1;
		e = netlink_link_get(host, c->bridge, 0, &l);
	}
	if (e < 0)
		return fail_set(f, FAIL_KERNEL, "look up the bridge %s: %s", c->bridge, strerror(-e));
	if (strcmp(l.kind, "bridge") != 0)
		return fail_set(f, FAIL_CONFIG, "bridge \"%s\" is a link that exists and is not a bridge", c->bridge);
	if (!(l.flags & IFF_UP))
		put_up(host, l.index, c->bridge);
	for (size_t i = 0; i < c->subnet_count && c->is_gateway; i++)
		put_address(host, l.index, c->bridge, &c->subnets[i].gateway, c->subnets[i].prefix.len);
	if (host->count && netlink_commit(host, f) < 0)
		return -1;
	*ret = l;
	return 0;
}

/* Writes one of /proc/sys/net's, of the namespace that the thread is in, unless it says so already. 0 or -errno. */
static int sysctl_set(const char *path, const char *value)
{
	char full[128], now[16] = "";
	int fd, r = 0;

	snprintf(full, sizeof(full), "/proc/sys/net/%s", path);
	fd = open(full, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pread(fd, now, sizeof(now) - 1, 0) < 0 || (strncmp(now, value, strlen(value)) != 0 && pwrite(fd, value, strlen(value), 0) < 0))
		r = -errno;
	close(fd);
	return r;
}

/* A node that forwards IPv6 drops the default route that it was advertised, unless its link has accept_ra 2. */
static void keep_advertised_route(void)
{
	FILE *file = fopen("/proc/net/ipv6_route", "re");
	char dst[40], dev[IFNAMSIZ], path[64];
	unsigned len, flags;

	while (file && fscanf(file, "%39s %x %*s %*s %*s %*s %*s %*s %x %15s", dst, &len, &flags, dev) == 4) {
		snprintf(path, sizeof(path), "ipv6/conf/%s/accept_ra", dev);
		if (len == 0 && flags & RTF_ADDRCONF && strcmp(dev, "lo") != 0)
			sysctl_set(path, "2");
	}
	if (file)
		fclose(file);
}

int pod_forwarding_ensure(const struct conf *c, struct fail *f)
{
	int e = conf_subnet(c, AF_INET) ? sysctl_set("ipv4/ip_forward", "1") : 0;

	if (e == 0 && conf_subnet(c, AF_INET6)) {
		char now[4] = "";
		int fd = open("/proc/sys/net/ipv6/conf/all/forwarding", O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && read(fd, now, 1) == 1 && *now != '1')
			keep_advertised_route();
		if (fd >= 0)
			close(fd);
		e = sysctl_set("ipv6/conf/all/forwarding", "1");
	}
	return e < 0 ? fail_set(f, FAIL_IO, "let the node forward packets: %s", strerror(-e)) : 0;
}

int pod_localnet_ensure(const struct conf *c, struct fail *f)
{
	char path[64];
	int e;

	snprintf(path, sizeof(path), "ipv4/conf/%s/route_localnet", c->bridge);
	e = sysctl_set(path, "1");
	return e < 0 ? fail_set(f, FAIL_IO, "set %s: %s", path, strerror(-e)) : 0;
}

unsigned pod_mtu(struct netlink *host, const struct conf *c)
{
	unsigned min = conf_subnet(c, AF_INET6) ? CONF_MTU_MIN_V6 : CONF_MTU_MIN;
	struct netlink_link l;
	struct ip_addr gw;
	int oif;

	if (c->mtu)
		return c->mtu;
	/* What another node's pod can get at once, and without being told of a smaller path. */
	if (netlink_link_get(host, TUNNEL, 0, &l) == 0 && l.mtu >= min)
		return l.mtu;
	for (size_t i = 0; i < c->subnet_count; i++)
		if (netlink_route_get(host, &pod_nowhere[ip_family_index(c->subnets[i].prefix.addr.family)], &oif, &gw) == 0 && oif > 0 &&
		    netlink_link_get(host, NULL, oif, &l) == 0 && !(l.flags & IFF_LOOPBACK) && l.mtu >= min && l.mtu <= 65535)
			return l.mtu;
	return MTU_USUAL;
}

int pod_netns_open(const char *path, int *ret_fd, struct fail *f)
{
	struct stat own, there;
	/* O_NONBLOCK: the path may name a FIFO, which would never open. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return fail_set(f, errno == ENOENT ? FAIL_NO_CONTAINER : FAIL_IO, "open the network namespace %s: %s", path,
				strerror(errno));
	if (fstat(fd, &there) == 0 && stat("/proc/self/ns/net", &own) == 0 && own.st_ino == there.st_ino &&
	    own.st_dev == there.st_dev) {
		close(fd);
		return fail_set(f, FAIL_ENV, "CNI_NETNS %s is the node's own network namespace", path);
	}
	*ret_fd = fd;
	return 0;
}

int pod_netns_enter(int fd, const char *path, struct fail *f)
{
	if (setns(fd, CLONE_NEWNET) == 0)
		return 0;
	return fail_set(f, errno == EINVAL ? FAIL_NO_CONTAINER : FAIL_KERNEL, "enter the network namespace %s: %s", path,
			errno == EINVAL ? "it is not one" : strerror(errno));
}

static void put_peer(struct nlmsghdr *nlh, const char *ifname, const struct ip_addr *addr, int netns_fd, unsigned mtu)
{
	struct nlattr *info = mnl_attr_nest_start(nlh, IFLA_LINKINFO), *data, *peer;
	uint8_t mac[6];

	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	put_ifinfo(nlh, 0, false); /* the kernel refuses to set it up before its other end is there */
	mnl_attr_put_strz(nlh, IFLA_IFNAME, ifname);
	pod_mac(POD_MAC_POD, addr, mac);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	mnl_attr_nest_end(nlh, peer);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
}

int pod_veth_add(struct netlink *host, const struct conf *c, const struct ipam_lease *lease, const char *ifname, int netns_fd,
		 int bridge_index, unsigned mtu, struct fail *f)
{
	struct nlmsghdr *nlh = netlink_put(host, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0,
					"create the veth pair %s and %s", lease->veth, ifname);
	struct nlattr *info, *data;
	uint8_t mac[6];

	put_ifinfo(nlh, 0, true);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, lease->veth);
	pod_mac(POD_MAC_HOST, &lease->addrs[0], mac);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nlh, IFLA_MASTER, (uint32_t)bridge_index);
	put_peer(nlh, ifname, &lease->addrs[0], netns_fd, mtu);
	netlink_put_end(host, nlh);
	if (c->hairpin) {
		nlh = netlink_put(host, RTM_NEWLINK, NLM_F_ACK, 0, "set hairpin mode on %s", lease->veth);
		put_ifinfo(nlh, 0, false);
		mnl_attr_put_strz(nlh, IFLA_IFNAME, lease->veth);
		info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
		mnl_attr_put_strz(nlh, IFLA_INFO_SLAVE_KIND, "bridge");
		data = mnl_attr_nest_start(nlh, IFLA_INFO_SLAVE_DATA);
		mnl_attr_put_u8(nlh, IFLA_BRPORT_MODE, 1);
		mnl_attr_nest_end(nlh, data);
		mnl_attr_nest_end(nlh, info);
		netlink_put_end(host, nlh);
	}
	return netlink_commit(host, f);
}

int pod_veth_del(struct netlink *host, const char *name, int index, struct fail *f)
{
	struct nlmsghdr *nlh = netlink_put(host, RTM_DELLINK, NLM_F_ACK, ENODEV, "remove the link %s", name ? name : "");

	put_ifinfo(nlh, name ? 0 : index, false);
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	netlink_put_end(host, nlh);
	return netlink_commit(host, f);
}

static struct nlmsghdr *put_down(struct netlink *n, int index, const char *name)
{
	struct nlmsghdr *nlh = netlink_put(n, RTM_NEWLINK, NLM_F_ACK, ENODEV, "set %s down", name);

	put_ifinfo(nlh, index, false)->ifi_change = IFF_UP;
	return nlh;
}

/* The pod's end, when it is the one that belongs to the host's end: another interface of that name is not ours. */
static int retire_peer(const char *netns, const char *ifname, const struct netlink_link *host_end, struct fail *f)
{
	static struct netlink pod = { .fd = -1 };
	struct netlink_link l;
	struct nlmsghdr *nlh;
	char name[IFNAMSIZ];
	int fd, r = 0;

	if (pod_netns_open(netns, &fd, f) < 0 || pod_netns_enter(fd, netns, f) < 0)
		return 0; /* gone, or none any more: the kernel removes the pair with it */
	if (netlink_open(&pod, NETLINK_ROUTE, f) < 0) {
		r = -1;
	} else if (netlink_link_get(&pod, ifname, 0, &l) == 0 && l.index == host_end->peer && l.peer == host_end->index) {
		snprintf(name, sizeof(name), "gone%d", l.index);
		netlink_put_end(&pod, put_down(&pod, l.index, ifname));
		nlh = netlink_put(&pod, RTM_NEWLINK, NLM_F_ACK, ENODEV, "rename %s", ifname);
		put_ifinfo(nlh, l.index, false);
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
		netlink_put_end(&pod, nlh);
		r = netlink_commit(&pod, f);
	}
	netlink_close(&pod);
	close(fd);
	return r;
}

int pod_veth_retire(struct netlink *host, const char *name, const char *netns, const char *ifname, int *ret_index,
		    struct fail *f)
{
	struct netlink_link l;
	struct nlmsghdr *nlh;
	int e = netlink_link_get(host, name, 0, &l);

	if (e == -ENODEV) {
		*ret_index = 0;
		return 0;
	}
	if (e < 0)
		return fail_set(f, FAIL_KERNEL, "look up %s: %s", name, strerror(-e));
	nlh = put_down(host, l.index, name);
	mnl_attr_put_u32(nlh, IFLA_MASTER, 0);
	netlink_put_end(host, nlh);
	if (netlink_commit(host, f) < 0 || (*netns && retire_peer(netns, ifname, &l, f) < 0))
		return -1;
	*ret_index = l.index;
	return 0;
}

static void put_route(struct netlink *r, int index, const struct ip_prefix *dst, const struct ip_addr *gw)
{
	char text[IP_PREFIX_TEXT_SIZE], gw_text[IP_ADDR_TEXT_SIZE];
	struct nlmsghdr *nlh = netlink_put(r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0, "add the route %s via %s",
					ip_prefix_format(dst, text), ip_format(gw, gw_text));
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = gw->family;
	rtm->rtm_dst_len = dst->len;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = RTPROT_BOOT;
	rtm->rtm_scope = RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_UNICAST;
	if (dst->len)
		mnl_attr_put(nlh, RTA_DST, conf_addr_size(gw->family), dst->addr.bytes);
	mnl_attr_put(nlh, RTA_GATEWAY, conf_addr_size(gw->family), gw->bytes);
	mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)index);
	netlink_put_end(r, nlh);
}

int pod_loopback(struct netlink *pod, bool up, struct fail *f)
{
	if (up)
		put_up(pod, LOOPBACK_INDEX, "lo");
	else
		netlink_put_end(pod, put_down(pod, LOOPBACK_INDEX, "lo"));
	return netlink_commit(pod, f);
}

bool pod_wants_default_route(const struct conf *c, uint8_t family)
{
	for (size_t i = 0; i < c->route_count; i++)
		if (c->routes[i].dst.len == 0 && c->routes[i].dst.addr.family == family)
			return false;
	return c->is_gateway;
}

/* The runtime or the node's defaults may have IPv6 off; a neighbour's router advertisements are nothing to a pod, whoever
 * sends them (CVE-2020-10749). */
static int prepare_v6(const char *ifname, struct fail *f)
{
	static const struct {
		const char *name, *value;
	} wanted[] = { { "disable_ipv6", "0" }, { "accept_ra", "0" }, { "accept_dad", "0" } };
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		snprintf(path, sizeof(path), "ipv6/conf/%s/%s", ifname, wanted[i].name);
		int e = sysctl_set(path, wanted[i].value);

		if (e < 0)
			return fail_set(f, FAIL_KERNEL, "set %s in the pod: %s", path, strerror(-e));
	}
	sysctl_set("ipv6/conf/lo/disable_ipv6", "0");
	return 0;
}

int pod_configure(struct netlink *pod, const struct conf *c, const struct ipam_lease *lease, const char *ifname, struct fail *f)
{
	struct netlink_link l;
	int e = netlink_link_get(pod, ifname, 0, &l);

	if (e < 0)
		return fail_set(f, FAIL_KERNEL, "look up %s in the pod: %s", ifname, strerror(-e));
	if (conf_subnet(c, AF_INET6) && prepare_v6(ifname, f) < 0)
		return -1;
	put_up(pod, LOOPBACK_INDEX, "lo");
	put_up(pod, l.index, ifname);
	for (size_t i = 0; i < c->subnet_count; i++)
		put_address(pod, l.index, ifname, &lease->addrs[i], c->subnets[i].prefix.len);
	for (size_t i = 0; i < c->route_count; i++)
		put_route(pod, l.index, &c->routes[i].dst, &c->routes[i].gw);
	for (size_t i = 0; i < c->subnet_count; i++)
		if (pod_wants_default_route(c, c->subnets[i].prefix.addr.family))
			put_route(pod, l.index, &(struct ip_prefix){ .addr.family = c->subnets[i].prefix.addr.family },
				  &c->subnets[i].gateway);
	return netlink_commit(pod, f);
}
