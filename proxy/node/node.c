/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events only say that something changed; what is the case is then read anew, so a lost event costs a delay, never a
 * wrong picture. An interface is outward when it is up, Ethernet, no bridge port, and has the default route or a global
 * address outside the pod range.
 */
#include "proxy/node/node.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <unistd.h>

#include "base/mem.h"

enum { SETTLE_MS = 20, RETRY_MS = 1000, ADDRS_MAX = 256, LINKS_MAX = 4096 };

struct link {
	unsigned ifindex;
	bool usable, outward;
};
struct node_watch {
	uv_loop_t *loop;
	uv_poll_t *poll;
	uv_timer_t *timer;
	int fd;
	struct node_options o;
	node_change_fn fn;
	void *user;
	struct link *links;
	size_t link_count, link_cap;
	struct ip_addr addrs[ADDRS_MAX];
	size_t addr_count;
};

static struct link *link_find(struct node_watch *w, unsigned ifindex)
{
	for (size_t i = 0; i < w->link_count; i++)
		if (w->links[i].ifindex == ifindex)
			return &w->links[i];
	return NULL;
}

static int on_link(struct nl_msg *msg, void *user)
{
	struct node_watch *w = user;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct ifinfomsg *i = nlmsg_data(h);
	if (h->nlmsg_type != RTM_NEWLINK || w->link_count == LINKS_MAX)
		return NL_OK;
	bool port = nlmsg_find_attr(h, sizeof(*i), IFLA_MASTER) != NULL;
	MEM_GROW(w->links, w->link_cap, w->link_count + 1);
	w->links[w->link_count++] = (struct link){
		.ifindex = (unsigned)i->ifi_index,
		.usable = i->ifi_type == ARPHRD_ETHER && i->ifi_flags & IFF_UP && !port,
	};
	return NL_OK;
}

static int on_addr(struct nl_msg *msg, void *user)
{
	struct node_watch *w = user;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct ifaddrmsg *i = nlmsg_data(h);
	if (h->nlmsg_type != RTM_NEWADDR || (i->ifa_family != AF_INET && i->ifa_family != AF_INET6))
		return NL_OK;
	struct nlattr *a = nlmsg_find_attr(h, sizeof(*i), IFA_LOCAL);
	if (!a)
		a = nlmsg_find_attr(h, sizeof(*i), IFA_ADDRESS);
	size_t len = i->ifa_family == AF_INET ? 4 : 16;
	struct ip_addr ip = { .family = i->ifa_family };
	if (!a || (size_t)nla_len(a) != len || i->ifa_scope == RT_SCOPE_HOST || i->ifa_scope == RT_SCOPE_LINK)
		return NL_OK;
	memcpy(ip.bytes, nla_data(a), len);
	if (ip_addr_eq(&ip, &w->o.cluster_dns[ip_family_index(ip.family)]))
		return NL_OK;
	if (w->addr_count < ADDRS_MAX)
		w->addrs[w->addr_count++] = ip;
	struct link *l = link_find(w, i->ifa_index);
	if (l && !ip_ranges_contain(&w->o.cluster_cidr, &ip))
		l->outward = true;
	return NL_OK;
}

static int on_route(struct nl_msg *msg, void *user)
{
	struct node_watch *w = user;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct rtmsg *r = nlmsg_data(h);
	if (h->nlmsg_type != RTM_NEWROUTE || r->rtm_dst_len != 0 || r->rtm_table != RT_TABLE_MAIN || r->rtm_type != RTN_UNICAST)
		return NL_OK;
	struct nlattr *a = nlmsg_find_attr(h, sizeof(*r), RTA_OIF);
	struct link *l = a ? link_find(w, nla_get_u32(a)) : NULL;
	if (l)
		l->outward = true;
	return NL_OK;
}

static int dump(struct nl_sock *s, int type, void *header, size_t len, nl_recvmsg_msg_cb_t cb, struct node_watch *w)
{
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, cb, w);
	int r = nl_send_simple(s, type, NLM_F_DUMP, header, len);
	return r < 0 ? r : nl_recvmsgs_default(s);
}

static int look(struct node_watch *w, struct err *err)
{
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
	struct ifaddrmsg addr = { .ifa_family = AF_UNSPEC };
	struct rtmsg route = { .rtm_family = AF_INET };
	struct nl_sock *s = nl_socket_alloc();
	int r = s ? nl_connect(s, NETLINK_ROUTE) : -NLE_NOMEM;
	w->link_count = w->addr_count = 0;
	if (r >= 0)
		r = dump(s, RTM_GETLINK, &link, sizeof(link), on_link, w);
	if (r >= 0)
		r = dump(s, RTM_GETADDR, &addr, sizeof(addr), on_addr, w);
	if (r >= 0)
		r = dump(s, RTM_GETROUTE, &route, sizeof(route), on_route, w);
	if (s)
		nl_socket_free(s);
	if (r < 0)
		return err_set(err, EIO, "reading the node's addresses: %s", nl_geterror(r));
	_cleanup_free_ struct engine_link *out = mem_new_n(struct engine_link, w->link_count + 1);
	size_t n = 0;
	for (size_t i = 0; i < w->link_count; i++)
		if (w->links[i].usable && w->links[i].outward)
			out[n++] = (struct engine_link){ .ifindex = w->links[i].ifindex, .kind = ENGINE_LINK_OUTSIDE, .ethernet = true };
	struct engine_node node = { .addrs = w->addrs, .addr_count = w->addr_count, .links = out, .link_count = n };
	w->fn(&node, w->user);
	return 0;
}

static void on_settled(uv_timer_t *t)
{
	struct node_watch *w = t->data;
	if (look(w, NULL) < 0)
		uv_timer_start(t, on_settled, RETRY_MS, 0);
}

static void on_event(uv_poll_t *p, int status, int events)
{
	struct node_watch *w = p->data;
	char buf[16384];
	(void)events;
	if (status < 0)
		return;
	while (recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
		errno = 0;
	if (!uv_is_active((uv_handle_t *)w->timer))
		uv_timer_start(w->timer, on_settled, SETTLE_MS, 0);
}

struct node_watch *node_watch_new(uv_loop_t *loop, const struct node_options *o, node_change_fn fn, void *user,
				  struct err *err)
{
	struct sockaddr_nl sa = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE,
	};
	struct node_watch *w = mem_new(struct node_watch);
	w->loop = loop;
	w->o = *o;
	w->fn = fn;
	w->user = user;
	w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (w->fd < 0 || bind(w->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		err_set(err, errno, "following the node's addresses: %s", strerror(errno));
		node_watch_free(w);
		return NULL;
	}
	w->poll = mem_new(uv_poll_t);
	uv_poll_init(loop, w->poll, w->fd);
	w->poll->data = w;
	uv_poll_start(w->poll, UV_READABLE, on_event);
	w->timer = mem_new(uv_timer_t);
	uv_timer_init(loop, w->timer);
	w->timer->data = w;
	if (look(w, err) < 0) {
		node_watch_free(w);
		return NULL;
	}
	return w;
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

void node_watch_free(struct node_watch *w)
{
	if (!w)
		return;
	if (w->poll)
		uv_close((uv_handle_t *)w->poll, free_handle);
	if (w->timer)
		uv_close((uv_handle_t *)w->timer, free_handle);
	if (w->fd >= 0)
		close(w->fd);
	free(w->links);
	free(w);
}
