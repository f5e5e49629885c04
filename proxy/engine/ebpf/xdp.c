/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XDP on outside links whose driver runs it itself: a pinned link, so that it goes on without a daemon and the next one's
 * program takes its place atomically. The program serves the links in `xdp_devices` only: those that can also transmit
 * frames of XDP at the moment, as the kernel says (netdev family, Linux 6.3). Where it does not say, tc serves the link alone.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/engine/ebpf/internal.h"

#define XDP_PIN "xdp_"
/* <linux/netdev.h>, which older headers lack. */
enum { NETDEV_GET = 1, NETDEV_IFINDEX = 1, NETDEV_XDP_FEATURES = 3, NETDEV_CAN_TRANSMIT = 1 << 2 };

static char *pin_of(const struct ebpf *e, unsigned ifindex)
{
	return str_printf("%s/links/" XDP_PIN "%u", e->pin_dir, ifindex);
}

static int on_features(struct nl_msg *msg, void *user)
{
	struct nlattr *a = nlmsg_find_attr(nlmsg_hdr(msg), GENL_HDRLEN, NETDEV_XDP_FEATURES);
	if (a && nla_len(a) >= (int)sizeof(uint64_t))
		*(uint64_t *)user = nla_get_u64(a);
	return NL_OK;
}

static bool can_transmit(unsigned ifindex)
{
	uint64_t features = 0;
	struct nl_sock *s = nl_socket_alloc();
	struct nl_msg *m = nlmsg_alloc();
	int family = s && m && genl_connect(s) == 0 ? genl_ctrl_resolve(s, "netdev") : -1;
	if (family >= 0 && genlmsg_put(m, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, NETDEV_GET, 1) &&
	    nla_put_u32(m, NETDEV_IFINDEX, ifindex) == 0) {
		nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, on_features, &features);
		if (nl_send_auto(s, m) >= 0)
			nl_recvmsgs_default(s);
	}
	nlmsg_free(m);
	nl_socket_free(s);
	return features & NETDEV_CAN_TRANSMIT;
}

static bool ethtool(unsigned ifindex, void *command)
{
	struct ifreq r = { .ifr_data = command };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && if_indextoname(ifindex, r.ifr_name) && ioctl(fd, SIOCETHTOOL, &r) == 0;
}

/*
 * A veth that was not made ready for XDP on purpose. Frames come over it whose checksums were left to a card there is none of:
 * sent on by XDP they are wrong. What it sends by XDP waits in its peer for ever unless that has a program as well. And with a
 * program its peer must cut TCP's trains of segments up. Whoever wants XDP there gives the peer a program and turns checksum
 * offload off on all that send over it, this end included (ethtool -K eth0 tx off), which is what is asked for here.
 */
static bool is_plain_veth(unsigned ifindex)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ethtool_value offload = { .cmd = ETHTOOL_GTXCSUM };
	if (!ethtool(ifindex, &info) || strncmp(info.driver, "veth", sizeof(info.driver)) != 0)
		return false;
	return !ethtool(ifindex, &offload) || offload.data || !can_transmit(ifindex);
}

static bool mac_of(unsigned ifindex, uint8_t mac[6])
{
	struct ifreq r = { 0 };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !if_indextoname(ifindex, r.ifr_name) || ioctl(fd, SIOCGIFHWADDR, &r) < 0)
		return false;
	memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	return true;
}

/* The program passes over whatever is not in the map, so it is the first to go and the last to come. */
static void device_write(struct ebpf *e, unsigned ifindex)
{
	struct abi_xdp_device d = { 0 };
	uint32_t key = ifindex;
	if (can_transmit(ifindex) && mac_of(ifindex, d.mac))
		bpf_map_update_elem(e->maps[EBPF_XDP_DEVICES], &key, &d, BPF_ANY);
	else
		bpf_map_delete_elem(e->maps[EBPF_XDP_DEVICES], &key);
}

/* Also for a link whose interface is gone. */
static void link_remove(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	bpf_link_detach(fd);
	unlink(path);
}

void ebpf_xdp_detach(struct ebpf *e, unsigned ifindex)
{
	_cleanup_free_ char *path = pin_of(e, ifindex);
	uint32_t key = ifindex;
	bpf_map_delete_elem(e->maps[EBPF_XDP_DEVICES], &key);
	link_remove(path);
}

/* 0 when the program runs there. */
static int attach(const struct ebpf *e, unsigned ifindex, int prog_fd)
{
	_cleanup_free_ char *path = pin_of(e, ifindex);
	_cleanup_close_ int old = bpf_obj_get(path);
	if (old >= 0) {
		struct bpf_link_info info = { 0 };
		uint32_t len = sizeof(info);
		if (bpf_obj_get_info_by_fd(old, &info, &len) == 0 && info.type == BPF_LINK_TYPE_XDP &&
		    info.xdp.ifindex == ifindex && bpf_link_update(old, prog_fd, NULL) == 0)
			return 0;
		link_remove(path);
	}
	DECLARE_LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	_cleanup_close_ int fd = bpf_link_create(prog_fd, (int)ifindex, BPF_XDP, &opts);
	return fd < 0 ? -errno : ebpf_link_pin(fd, path, NULL);
}

void ebpf_xdp_attach(struct ebpf *e, struct elink *l)
{
	unsigned ifindex = l->link.ifindex;
	char name[IF_NAMESIZE];
	int prog_fd = e->programs[EBPF_XDP_INGRESS];
	if (!l->link.xdp || e->no_xdp || prog_fd < 0 || is_plain_veth(ifindex)) {
		ebpf_xdp_detach(e, ifindex);
		return;
	}
	int r = attach(e, ifindex, prog_fd);
	if (r == 0) {
		device_write(e, ifindex);
		return;
	}
	/* A driver that refuses is no error: tc sees the packets too. */
	ebpf_xdp_detach(e, ifindex);
	if (!l->said)
		log_info("no XDP on %s, tc serves it why=%s", if_indextoname(ifindex, name) ? name : "?", strerror(-r));
	l->said = true;
}

void ebpf_xdp_sweep(struct ebpf *e)
{
	_cleanup_free_ char *dir = str_printf("%s/links", e->pin_dir);
	DIR *d = opendir(dir);
	for (struct dirent *n; d && (n = readdir(d));) {
		const char *index = str_after(n->d_name, XDP_PIN);
		uint64_t ifindex;
		if (!index || (str_to_u64(index, UINT32_MAX, &ifindex) == 0 && ebpf_link_known(e, (unsigned)ifindex)))
			continue;
		_cleanup_free_ char *path = str_printf("%s/%s", dir, n->d_name);
		link_remove(path);
	}
	if (d)
		closedir(d);
	uint32_t at, next;
	for (void *from = NULL; bpf_map_get_next_key(e->maps[EBPF_XDP_DEVICES], from, &next) == 0;) {
		if (!ebpf_link_known(e, next)) {
			bpf_map_delete_elem(e->maps[EBPF_XDP_DEVICES], &next);
			continue; /* from the same place: the key after the one removed */
		}
		at = next;
		from = &at;
	}
}
