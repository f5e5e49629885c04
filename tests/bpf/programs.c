/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All is done inside the node's namespace: there the kernel looks interfaces and routes up that the programs ask for. */
#include "tests/bpf/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum { HANDLE = 0x6b65 }; /* of the proxy's filters, and their priority */

static int filter_program(unsigned ifindex, enum bpf_tc_attach_point point)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = HANDLE);
	return bpf_tc_query(&hook, &opts) == 0 ? bpf_prog_get_fd_by_id(opts.prog_id) : -1;
}

bool programs_of(struct lab *l, unsigned node, const char *link, struct link_programs *ret)
{
	uint32_t id = 0;
	*ret = (struct link_programs){ .tc = -1, .tc_egress = -1, .xdp = -1 };
	libbpf_set_print(NULL);
	lab_enter(l, lab_node(node));
	ret->ifindex = if_nametoindex(link);
	/* sysfs shows the mounter's namespace, the ioctl ours. */
	struct ifreq q = { 0 };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", link);
	bool there = ret->ifindex && ioctl(fd, SIOCGIFHWADDR, &q) == 0;
	if (there) {
		memcpy(ret->mac, q.ifr_hwaddr.sa_data, sizeof(ret->mac));
		ret->tc = filter_program(ret->ifindex, BPF_TC_INGRESS);
		ret->tc_egress = filter_program(ret->ifindex, BPF_TC_EGRESS);
		if (bpf_xdp_query_id((int)ret->ifindex, 0, &id) == 0 && id)
			ret->xdp = bpf_prog_get_fd_by_id(id);
	}
	lab_leave(l);
	return there;
}

void programs_done(struct link_programs *p)
{
	closep(&p->tc);
	closep(&p->tc_egress);
	closep(&p->xdp);
	p->tc = p->tc_egress = p->xdp = -1;
}

static enum fate run_xdp(const struct link_programs *p, struct packet *packet)
{
	struct packet out;
	struct xdp_md ctx = { .data_end = (uint32_t)packet->len, .ingress_ifindex = p->ifindex };
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet->data, .data_size_in = (uint32_t)packet->len,
			    .data_out = out.data, .data_size_out = sizeof(out.data), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	if (bpf_prog_test_run_opts(p->xdp, &o) < 0)
		return FATE_ERROR;
	memcpy(packet->data, out.data, o.data_size_out);
	packet->len = o.data_size_out;
	switch (o.retval) {
	case XDP_PASS:
		return FATE_PASSED;
	case XDP_TX:
	case XDP_REDIRECT:
		return FATE_SENT;
	default:
		return FATE_DROPPED;
	}
}

static enum fate run_tc(const struct link_programs *p, struct packet *packet)
{
	struct packet out;
	struct __sk_buff ctx = { .ifindex = p->ifindex };
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet->data, .data_size_in = (uint32_t)packet->len,
			    .data_out = out.data, .data_size_out = sizeof(out.data), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	if (bpf_prog_test_run_opts(p->tc, &o) < 0)
		return FATE_ERROR;
	memcpy(packet->data, out.data, o.data_size_out);
	packet->len = o.data_size_out;
	switch ((int)o.retval) {
	case TC_ACT_SHOT:
		return FATE_DROPPED;
	case TC_ACT_REDIRECT:
		return FATE_SENT;
	default:
		return FATE_PASSED;
	}
}

enum fate programs_run(struct lab *l, unsigned node, const struct link_programs *p, bool with_xdp, struct packet *packet)
{
	enum fate f = FATE_PASSED;
	lab_enter(l, lab_node(node));
	if (with_xdp && p->xdp >= 0)
		f = run_xdp(p, packet);
	if (f == FATE_PASSED)
		f = run_tc(p, packet);
	lab_leave(l);
	return f;
}
