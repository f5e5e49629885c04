/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events only say what kind of thing changed; that is then read anew, so a lost event costs a delay, never a wrong picture.
 * Routes are read again only when a default route or a link that has one is mentioned: pods come and go, and other nodes'
 * pod ranges are thousands of routes.
 */
#include "proxy/node/node.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <unistd.h>

#include "base/mem.h"
#include "proxy/node/filters.h"
#include "proxy/node/view.h"

enum { SETTLE_MS = 20, RETRY_MS = 1000, FILTERS_MS = 5000, ADDRS_MAX = 1024, LINKS_MAX = 16384, DEFAULTS_MAX = 256 };
enum { DIRTY_LINKS = 1 << 0, DIRTY_ADDRS = 1 << 1, DIRTY_ROUTES = 1 << 2, DIRTY_FILTERS = 1 << 3, DIRTY_ALL = 15 };

struct node_watch {
	uv_poll_t *poll;
	uv_timer_t *timer, *filters_timer;
	int fd;
	unsigned dirty;
	struct node_options o;
	node_change_fn fn;
	void *user;
	struct raw_net net;
	struct filters filters;
	struct node_view told, next;
	bool told_once;
};

static bool attr_text(struct nlattr *a, char *out, size_t size)
{
	out[0] = 0;
	if (a)
		nla_strlcpy(out, a, size);
	return a != NULL;
}

static int on_link(struct nl_msg *msg, void *user)
{
	struct raw_net *net = user;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct ifinfomsg *i = nlmsg_data(h);
	struct nlattr *info, *kind = NULL, *slave = NULL, *master = nlmsg_find_attr(h, sizeof(*i), IFLA_MASTER);
	char slave_kind[16];
	if (h->nlmsg_type != RTM_NEWLINK || net->link_count == LINKS_MAX)
		return NL_OK;
	MEM_GROW(net->links, net->link_cap, net->link_count + 1);
	struct raw_link *l = &net->links[net->link_count++];
	*l = (struct raw_link){
		.ifindex = (unsigned)i->ifi_index,
		.type = i->ifi_type,
		.up = i->ifi_flags & IFF_UP,
		.loopback = i->ifi_flags & IFF_LOOPBACK,
		.hardware = nlmsg_find_attr(h, sizeof(*i), IFLA_PARENT_DEV_NAME) != NULL,
	};
	attr_text(nlmsg_find_attr(h, sizeof(*i), IFLA_IFNAME), l->name, sizeof(l->name));
	info = nlmsg_find_attr(h, sizeof(*i), IFLA_LINKINFO);
	if (info) {
		kind = nla_find(nla_data(info), nla_len(info), IFLA_INFO_KIND);
		slave = nla_find(nla_data(info), nla_len(info), IFLA_INFO_SLAVE_KIND);
	}
	attr_text(kind, l->kind, sizeof(l->kind));
	attr_text(slave, slave_kind, sizeof(slave_kind));
	/* A VRF has members too, but they are interfaces like others. */
	l->master = master ? nla_get_u32(master) : 0;
	l->port = l->master && strcmp(slave_kind, "vrf") != 0;
	return NL_OK;
}

static int on_addr(struct nl_msg *msg, void *user)
{
	struct raw_net *net = user;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct ifaddrmsg *i = nlmsg_data(h);
	if (h->nlmsg_type != RTM_NEWADDR || (i->ifa_family != AF_INET && i->ifa_family != AF_INET6) ||
	    net->addr_count == ADDRS_MAX)
		return NL_OK;
	struct nlattr *a = nlmsg_find_attr(h, sizeof(*i), IFA_LOCAL), *flags = nlmsg_find_attr(h, sizeof(*i), IFA_FLAGS);
	if (!a)
		a = nlmsg_find_attr(h, sizeof(*i), IFA_ADDRESS);
	size_t len = i->ifa_family == AF_INET ? 4 : 16;
	if (!a || (size_t)nla_len(a) != len)
		return NL_OK;
	MEM_GROW(net->addrs, net->addr_cap, net->addr_count + 1);
	struct raw_addr *to = &net->addrs[net->addr_count++];
	*to = (struct raw_addr){
		.ifindex = i->ifa_index,
		.addr.family = i->ifa_family,
		.len = i->ifa_prefixlen,
		.scope = i->ifa_scope,
		.flags = flags ? nla_get_u32(flags) : i->ifa_flags,
	};
	memcpy(to->addr.bytes, nla_data(a), len);
	return NL_OK;
}

static void add_default(struct raw_net *net, unsigned ifindex)
{
	if (net->default_count == DEFAULTS_MAX)
		return;
	MEM_GROW(net->defaults, net->default_cap, net->default_count + 1);
	net->defaults[net->default_count++] = ifindex;
}

static bool is_default(const struct rtmsg *r)
{
	return r->rtm_dst_len == 0 && r->rtm_table == RT_TABLE_MAIN && r->rtm_type == RTN_UNICAST;
}

static int on_route(struct nl_msg *msg, void *user)
{
	struct raw_net *net = user;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct rtmsg *r = nlmsg_data(h);
	if (h->nlmsg_type != RTM_NEWROUTE || !is_default(r))
		return NL_OK;
	struct nlattr *a = nlmsg_find_attr(h, sizeof(*r), RTA_OIF), *many = nlmsg_find_attr(h, sizeof(*r), RTA_MULTIPATH);
	if (a)
		add_default(net, nla_get_u32(a));
	if (!many)
		return NL_OK;
	struct rtnexthop *hop = nla_data(many);
	for (int left = nla_len(many); left >= (int)sizeof(*hop) && RTNH_OK(hop, left); hop = RTNH_NEXT(hop)) {
		add_default(net, (unsigned)hop->rtnh_ifindex);
		left -= (int)RTNH_ALIGN(hop->rtnh_len);
	}
	return NL_OK;
}

static int dump(struct nl_sock *s, int type, void *header, size_t len, nl_recvmsg_msg_cb_t cb, struct raw_net *net)
{
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, cb, net);
	int r = nl_send_simple(s, type, NLM_F_DUMP, header, len);
	return r < 0 ? r : nl_recvmsgs_default(s);
}

/* Reads anew what is dirty. */
static int look(struct node_watch *w, struct err *err)
{
	static const uint8_t families[2] = { AF_INET, AF_INET6 };
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
	struct ifaddrmsg addr = { .ifa_family = AF_UNSPEC };
	struct nl_sock *s = nl_socket_alloc();
	int r = s ? nl_connect(s, NETLINK_ROUTE) : -NLE_NOMEM;
	if (r >= 0 && w->dirty & DIRTY_LINKS) {
		w->net.link_count = 0;
		r = dump(s, RTM_GETLINK, &link, sizeof(link), on_link, &w->net);
	}
	if (r >= 0 && w->dirty & DIRTY_ADDRS) {
		w->net.addr_count = 0;
		r = dump(s, RTM_GETADDR, &addr, sizeof(addr), on_addr, &w->net);
	}
	if (r >= 0 && w->dirty & DIRTY_ROUTES) {
		w->net.default_count = 0;
		for (int f = 0; r >= 0 && f < 2; f++) {
			struct rtmsg route = { .rtm_family = families[f] };
			r = dump(s, RTM_GETROUTE, &route, sizeof(route), on_route, &w->net);
		}
	}
	if (s)
		nl_socket_free(s);
	if (r < 0)
		return err_set(err, EIO, "reading the node's addresses: %s", nl_geterror(r));
	if (w->dirty & DIRTY_FILTERS && !w->o.no_fast_path)
		filters_look(&w->filters);
	w->dirty = 0;
	return 0;
}

static void tell(struct node_watch *w)
{
	if (w->o.cluster && !cluster_synced(w->o.cluster))
		return;
	node_view_build(&w->net, &w->o, &w->next);
	w->next.node.filtered_by = filters_found(&w->filters);
	w->next.node.fast_path = !w->o.no_fast_path && !w->next.node.filtered_by;
	if (w->told_once && node_view_same(&w->told, &w->next))
		return;
	struct node_view old = w->told;
	w->told = w->next;
	w->next = old;
	w->told_once = true;
	w->fn(&w->told.node, w->user);
}

static void on_settled(uv_timer_t *t)
{
	struct node_watch *w = t->data;
	if (w->dirty && look(w, NULL) < 0)
		uv_timer_start(t, on_settled, RETRY_MS, 0);
	else
		tell(w);
}

static void settle(struct node_watch *w)
{
	if (w->timer && !uv_is_active((uv_handle_t *)w->timer))
		uv_timer_start(w->timer, on_settled, SETTLE_MS, 0);
}

/* The older iptables tells nobody of its changes. */
static void on_filters_due(uv_timer_t *t)
{
	struct node_watch *w = t->data;
	w->dirty |= DIRTY_FILTERS;
	settle(w);
}

static unsigned event_dirties(const struct node_watch *w, const struct nlmsghdr *h)
{
	const struct ifinfomsg *link = NLMSG_DATA(h);
	const struct rtmsg *route = NLMSG_DATA(h);
	unsigned dirty = 0;
	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		dirty = DIRTY_LINKS;
		/* The kernel takes routes away with their link without saying so. */
		for (size_t i = 0; h->nlmsg_len >= NLMSG_LENGTH(sizeof(*link)) && i < w->net.default_count; i++)
			if (w->net.defaults[i] == (unsigned)link->ifi_index)
				dirty |= DIRTY_ROUTES;
		return dirty;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return DIRTY_ADDRS;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return h->nlmsg_len >= NLMSG_LENGTH(sizeof(*route)) && is_default(route) ? DIRTY_ROUTES : 0;
	default:
		return 0;
	}
}

static void on_event(uv_poll_t *p, int status, int events)
{
	struct node_watch *w = p->data;
	_Alignas(struct nlmsghdr) char buf[32768];
	ssize_t n;
	(void)events;
	if (status < 0)
		return;
	while ((n = recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0 || (n < 0 && errno == ENOBUFS)) {
		int left = (int)n;
		if (n < 0)
			w->dirty = DIRTY_ALL; /* some were lost */
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; left > 0 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
			w->dirty |= event_dirties(w, h);
	}
	if (w->dirty)
		settle(w);
}

static void on_node(const struct cluster_node *n, void *user)
{
	(void)n;
	settle(user);
}

static void on_synced(void *user)
{
	tell(user);
}

struct node_watch *node_watch_new(uv_loop_t *loop, const struct node_options *o, node_change_fn fn, void *user,
				  struct err *err)
{
	struct sockaddr_nl sa = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
	};
	struct node_watch *w = mem_new(struct node_watch);
	w->o = *o;
	w->fn = fn;
	w->user = user;
	w->dirty = DIRTY_ALL;
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
	w->filters_timer = mem_new(uv_timer_t);
	uv_timer_init(loop, w->filters_timer);
	w->filters_timer->data = w;
	if (!o->no_fast_path)
		uv_timer_start(w->filters_timer, on_filters_due, FILTERS_MS, FILTERS_MS);
	if (look(w, err) < 0) {
		node_watch_free(w);
		return NULL;
	}
	if (o->cluster) {
		const struct cluster_listener l = { on_node, on_node, on_synced, w };
		cluster_listen(o->cluster, &l);
	}
	tell(w);
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
	if (w->filters_timer)
		uv_close((uv_handle_t *)w->filters_timer, free_handle);
	if (w->fd >= 0)
		close(w->fd);
	node_view_done(&w->told);
	node_view_done(&w->next);
	free(w->net.links);
	free(w->net.addrs);
	free(w->net.defaults);
	free(w);
}
