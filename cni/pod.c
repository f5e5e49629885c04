/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building a pod's network. The peer of the veth pair is created in the pod's namespace right away (VETH_INFO_PEER with
 * IFLA_NET_NS_FD): moving a device there later costs the kernel a grace period.
 */
#include "cni/pod.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* TEST-NET-1 (RFC 5737): no real route is more specific, so asking for it finds the default route. */
#define NOWHERE 0xc0000201u
/* keelson-proxy's VXLAN device to other nodes. */
#define TUNNEL "klvx"

enum { MTU_USUAL = 1500, LOOPBACK_INDEX = 1 };

void pod_mac(uint8_t first, const struct ip_addr *a, uint8_t out[static 6])
{
	out[0] = first;
	out[1] = 0x58;
	memcpy(out + 2, a->bytes, 4);
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
	pod_mac(POD_MAC_HOST, &c->gateway, mac);
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
	struct nlmsghdr *nlh = netlink_put(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, EEXIST,
					"add the address %s/%u to %s", ip_format(a, ip), len, ifname);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	uint32_t broadcast = htonl(conf_ip4(a) | (uint32_t)((1ull << (32 - len)) - 1));

	ifa->ifa_family = AF_INET;
	ifa->ifa_prefixlen = (uint8_t)len;
	ifa->ifa_index = (uint32_t)index;
	mnl_attr_put(nlh, IFA_LOCAL, 4, a->bytes);
	mnl_attr_put(nlh, IFA_ADDRESS, 4, a->bytes);
	mnl_attr_put(nlh, IFA_BROADCAST, 4, &broadcast);
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
	if (c->is_gateway)
		put_address(host, l.index, c->bridge, &c->gateway, c->subnet.len);
	if (host->count && netlink_commit(host, f) < 0)
		return -1;
	*ret = l;
	return 0;
}

int pod_forwarding_ensure(struct fail *f)
{
	static const char path[] = "/proc/sys/net/ipv4/ip_forward";
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char now = '0';
	bool ok;

	if (fd < 0)
		return fail_set(f, FAIL_IO, "open %s: %s", path, strerror(errno));
	ok = pread(fd, &now, 1, 0) == 1 && (now == '1' || pwrite(fd, "1", 1, 0) == 1);
	if (!ok)
		fail_record(f, FAIL_IO, "write %s: %s", path, strerror(errno));
	close(fd);
	return ok ? 0 : -1;
}

unsigned pod_mtu(struct netlink *host, const struct conf *c)
{
	struct netlink_link l;
	uint32_t gw;
	int oif;

	if (c->mtu)
		return c->mtu;
	/* What another node's pod can get at once, and without being told of a smaller path. */
	if (netlink_link_get(host, TUNNEL, 0, &l) == 0 && l.mtu >= CONF_MTU_MIN)
		return l.mtu;
	if (netlink_route_get(host, NOWHERE, &oif, &gw) == 0 && oif > 0 && netlink_link_get(host, NULL, oif, &l) == 0 &&
	    !(l.flags & IFF_LOOPBACK) && l.mtu >= CONF_MTU_MIN && l.mtu <= 65535)
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
	pod_mac(POD_MAC_HOST, &lease->addr, mac);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nlh, IFLA_MASTER, (uint32_t)bridge_index);
	put_peer(nlh, ifname, &lease->addr, netns_fd, mtu);
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

	rtm->rtm_family = AF_INET;
	rtm->rtm_dst_len = dst->len;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = RTPROT_BOOT;
	rtm->rtm_scope = RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_UNICAST;
	if (dst->len)
		mnl_attr_put(nlh, RTA_DST, 4, dst->addr.bytes);
	mnl_attr_put(nlh, RTA_GATEWAY, 4, gw->bytes);
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

int pod_configure(struct netlink *pod, const struct conf *c, const struct ip_addr *addr, const char *ifname, struct fail *f)
{
	struct netlink_link l;
	bool has_default = false;
	int e = netlink_link_get(pod, ifname, 0, &l);

	if (e < 0)
		return fail_set(f, FAIL_KERNEL, "look up %s in the pod: %s", ifname, strerror(-e));
	put_up(pod, LOOPBACK_INDEX, "lo");
	put_up(pod, l.index, ifname);
	put_address(pod, l.index, ifname, addr, c->subnet.len);
	for (size_t i = 0; i < c->route_count; i++) {
		const struct conf_route *r = &c->routes[i];

		has_default = has_default || r->dst.len == 0;
		put_route(pod, l.index, &r->dst, r->gw.family ? &r->gw : &c->gateway);
	}
	if (!has_default && c->is_gateway)
		put_route(pod, l.index, &(struct ip_prefix){ .addr = { .family = AF_INET } }, &c->gateway);
	return netlink_commit(pod, f);
}
