/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The programs on the node's interfaces. tc filters have a fixed handle and priority and are replaced in place; a clsact
 * that holds no filter of anybody is removed with the last of ours. Saying the same links again costs a question each and heals what somebody removed.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdio.h>

#include "base/log.h"
#include "proxy/engine/ebpf/internal.h"

enum { TC_HANDLE = 0x6b65, TC_PRIORITY = 0x6b65, NO_PROGRAM = -1 };

static const struct {
	int ingress, egress; /* enum ebpf_program */
} kinds[] = {
	[ENGINE_LINK_OUTSIDE] = { EBPF_TC_INGRESS, EBPF_TC_EGRESS },
	[ENGINE_LINK_PODS] = { EBPF_TC_PODS, EBPF_TC_EGRESS }, /* egress: answers of the node itself to pods */
	[ENGINE_LINK_POD] = { EBPF_TC_POD, NO_PROGRAM },
	[ENGINE_LINK_TUNNEL] = { EBPF_TC_TUNNEL, NO_PROGRAM },
};

static const char *link_name(unsigned ifindex, char name[static IF_NAMESIZE])
{
	if (!if_indextoname(ifindex, name))
		snprintf(name, IF_NAMESIZE, "#%u", ifindex);
	return name;
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	return bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
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

/* A clsact without filters goes with the last of ours. */
static void clsact_drop_empty(unsigned ifindex)
{
	if (tc_filter_count(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) != 0 ||
	    tc_filter_count(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)) != 0)
		return;
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, both, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	bpf_tc_hook_destroy(&both);
}

static bool tc_detach_one(unsigned ifindex, enum bpf_tc_attach_point point)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);
	return bpf_tc_detach(&hook, &opts) == 0;
}

static void tc_detach_interface(unsigned ifindex)
{
	bool egress = tc_detach_one(ifindex, BPF_TC_EGRESS);
	if (tc_detach_one(ifindex, BPF_TC_INGRESS) || egress)
		clsact_drop_empty(ifindex);
}

/* Makes prog_fd the filter there, or nobody ours when it is negative. */
static int tc_attach_one(unsigned ifindex, enum bpf_tc_attach_point point, int prog_fd)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, there, .handle = TC_HANDLE, .priority = TC_PRIORITY);
	bool have = bpf_tc_query(&hook, &there) == 0;
	if (prog_fd < 0) {
		if (have && tc_detach_one(ifindex, point))
			clsact_drop_empty(ifindex);
		return 0;
	}
	if (have && there.prog_id == program_id(prog_fd))
		return 0;
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY, .prog_fd = prog_fd,
			    .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);
	if (r < 0 && r != -EEXIST)
		return r;
	return bpf_tc_attach(&hook, &opts);
}

static int link_attach(struct ebpf *e, struct elink *l)
{
	unsigned ifindex = l->link.ifindex;
	char name[IF_NAMESIZE];
	if (l->link.kind >= ARRAY_SIZE(kinds))
		return 0;
	if (!l->link.ethernet) {
		if (!l->said)
			log_warn("interface %s has no Ethernet header and gets no program: Services are not reachable through it",
				 link_name(ifindex, name));
		l->said = true;
		return 0;
	}
	/* Pods are many and come and go; nothing depends on their links' programs, so those are not looked after. */
	if (l->link.kind == ENGINE_LINK_POD) {
		int r = l->done ? 0 : tc_attach_one(ifindex, BPF_TC_INGRESS, e->programs[EBPF_TC_POD]);
		l->done = r == 0;
		return r;
	}
	int egress = kinds[l->link.kind].egress;
	/* What undoes comes first: an answer is understood before the first question is translated. */
	int r = tc_attach_one(ifindex, BPF_TC_EGRESS, egress == NO_PROGRAM ? -1 : e->programs[egress]);
	if (r == 0)
		r = tc_attach_one(ifindex, BPF_TC_INGRESS, e->programs[kinds[l->link.kind].ingress]);
	if (r == 0 && l->link.kind == ENGINE_LINK_OUTSIDE)
		ebpf_xdp_attach(e, l);
	else
		ebpf_xdp_detach(e, ifindex);
	return r;
}

static struct elink *link_find(struct elink *links, size_t n, unsigned ifindex)
{
	for (size_t i = 0; i < n; i++)
		if (links[i].link.ifindex == ifindex)
			return &links[i];
	return NULL;
}

bool ebpf_link_known(const struct ebpf *e, unsigned ifindex)
{
	return link_find(e->links, e->link_count, ifindex) != NULL;
}

void ebpf_links_set(struct ebpf *e, const struct engine_link *links, size_t count)
{
	struct elink *fresh = mem_new_n(struct elink, count + 1);
	for (size_t i = 0; i < count; i++) {
		const struct elink *was = link_find(e->links, e->link_count, links[i].ifindex);
		fresh[i].link = links[i];
		fresh[i].said = was && was->said && was->link.kind == links[i].kind;
		fresh[i].done = was && was->done && was->link.kind == links[i].kind;
	}
	for (size_t i = 0; i < e->link_count && e->attached; i++) {
		unsigned ifindex = e->links[i].link.ifindex;
		if (link_find(fresh, count, ifindex))
			continue;
		tc_detach_interface(ifindex);
		ebpf_xdp_detach(e, ifindex);
	}
	free(e->links);
	e->links = fresh;
	e->link_count = count;
}

int ebpf_links_attach(struct ebpf *e, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < e->link_count; i++) {
		char name[IF_NAMESIZE];
		unsigned ifindex = e->links[i].link.ifindex;
		int a = link_attach(e, &e->links[i]);
		if (a >= 0 || !if_indextoname(ifindex, name))
			continue; /* gone in between: the next look will tell */
		r = err_set(err, -a, "tc filter on %s: %s (Services do not answer there)", name, strerror(-a));
	}
	return r;
}

void ebpf_links_sweep(struct ebpf *e)
{
	struct if_nameindex *list = if_nameindex();
	for (struct if_nameindex *i = list; i && i->if_index; i++)
		if (!link_find(e->links, e->link_count, i->if_index))
			tc_detach_interface(i->if_index);
	if (list)
		if_freenameindex(list);
	ebpf_xdp_sweep(e);
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
