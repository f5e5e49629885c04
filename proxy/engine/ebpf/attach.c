/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tc filters on the node's outward interfaces, and the node's own addresses. Filters have a fixed handle and priority
 * in clsact and are replaced in place; a clsact that holds no filter of anybody is removed with the last of ours.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "proxy/engine/ebpf/internal.h"

enum { TC_HANDLE = 0x6b65, TC_PRIORITY = 0x6b65 };

static int tc_attach_one(unsigned ifindex, enum bpf_tc_attach_point point, int prog_fd)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY, .prog_fd = prog_fd,
			    .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);
	if (r < 0 && r != -EEXIST)
		return r;
	return bpf_tc_attach(&hook, &opts);
}

static int count_filter(struct nl_msg *msg, void *user)
{
	unsigned *n = user;
	const struct nlmsghdr *h = nlmsg_hdr(msg);
	if (h->nlmsg_type == RTM_NEWTFILTER)
		(*n)++;
	return NL_OK;
}

/* How many filters of anybody a clsact direction of the interface has; negative on error. */
static int tc_filter_count(unsigned ifindex, uint32_t parent)
{
	unsigned n = 0;
	struct nl_sock *s = nl_socket_alloc();
	if (!s)
		return -ENOMEM;
	struct tcmsg t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = (int)ifindex, .tcm_parent = parent };
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, count_filter, &n);
	int r = nl_connect(s, NETLINK_ROUTE);
	if (r == 0)
		r = nl_send_simple(s, RTM_GETTFILTER, NLM_F_DUMP, &t, sizeof(t));
	if (r >= 0)
		r = nl_recvmsgs_default(s);
	nl_socket_free(s);
	return r < 0 ? -EIO : (int)n;
}

static void tc_detach_interface(unsigned ifindex)
{
	static const enum bpf_tc_attach_point points[] = { BPF_TC_INGRESS, BPF_TC_EGRESS };
	bool had = false;
	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = points[i]);
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);
		had |= bpf_tc_detach(&hook, &opts) == 0;
	}
	if (!had || tc_filter_count(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) != 0 ||
	    tc_filter_count(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)) != 0)
		return;
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, both, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	bpf_tc_hook_destroy(&both);
}

int ebpf_tc_detach_all(struct err *err)
{
	struct if_nameindex *list = if_nameindex();
	if (!list)
		return err_set(err, errno, "listing the interfaces: %s", strerror(errno));
	for (struct if_nameindex *i = list; i->if_index; i++)
		tc_detach_interface(i->if_index);
	if_freenameindex(list);
	return 0;
}

static bool has_ifindex(const unsigned *list, size_t n, unsigned ifindex)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == ifindex)
			return true;
	return false;
}

/* Replaces the kernel's list: what is new first, then what is gone. */
static int node_addrs_write(struct ebpf *e, const struct engine_node *node, struct err *err)
{
	int fd = e->maps[EBPF_NODE_ADDRS];
	uint32_t one = 1;
	for (size_t i = 0; i < node->addr_count; i++) {
		struct abi_node_addr_key key;
		ebpf_addr(&node->addrs[i], key.addr);
		if (bpf_map_update_elem(fd, &key, &one, BPF_ANY) < 0)
			return err_set(err, errno, "writing the node's addresses: %s", strerror(errno));
	}
	struct abi_node_addr_key key, next, stale[ABI_MAX_NODE_ADDRS];
	size_t stale_count = 0;
	for (void *at = NULL; bpf_map_get_next_key(fd, at, &next) == 0; key = next, at = &key) {
		bool wanted = false;
		for (size_t i = 0; i < node->addr_count && !wanted; i++) {
			struct abi_node_addr_key w;
			ebpf_addr(&node->addrs[i], w.addr);
			wanted = memcmp(&w, &next, sizeof(w)) == 0;
		}
		if (!wanted && stale_count < ARRAY_SIZE(stale))
			stale[stale_count++] = next;
		key = next;
	}
	for (size_t i = 0; i < stale_count; i++)
		bpf_map_delete_elem(fd, &stale[i]);
	return 0;
}

/* Attaching again is cheap and heals what somebody removed. */
int ebpf_tc_attach(struct ebpf *e, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < e->if_count; i++) {
		int a = tc_attach_one(e->ifindexes[i], BPF_TC_EGRESS, e->tc_egress);
		if (a == 0)
			a = tc_attach_one(e->ifindexes[i], BPF_TC_INGRESS, e->tc_ingress);
		if (a == -ENODEV || a >= 0)
			continue; /* gone in between: the next look will tell */
		char name[IF_NAMESIZE] = "?";
		if_indextoname(e->ifindexes[i], name);
		r = err_set(err, -a, "tc filter on %s: %s (NodePorts do not answer there)", name, strerror(-a));
	}
	return r;
}

int ebpf_node_set(struct engine *engine, const struct engine_node *node, struct err *err)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	int r = node_addrs_write(e, node, err);
	_cleanup_free_ unsigned *out = mem_new_n(unsigned, node->link_count + 1);
	size_t n = 0;
	for (size_t i = 0; i < node->link_count; i++)
		if (node->links[i].kind == ENGINE_LINK_OUTSIDE && node->links[i].ethernet)
			out[n++] = node->links[i].ifindex;
	for (size_t i = 0; i < e->if_count; i++)
		if (!has_ifindex(out, n, e->ifindexes[i]))
			tc_detach_interface(e->ifindexes[i]);
	free(e->ifindexes);
	e->ifindexes = n ? mem_dup(out, n * sizeof(*out)) : NULL;
	e->if_count = n;
	int a = e->attached ? ebpf_tc_attach(e, err) : 0;
	return r < 0 ? r : a;
}
