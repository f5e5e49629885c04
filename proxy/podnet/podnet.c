/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of Nodes and events of the kernel only say when to look: then everything is read, decided and compared anew, so
 * a lost event costs a delay, never a wrong route. Our own changes make one look more, which finds nothing to do. Against
 * somebody who undoes ours again and again the pause between looks grows.
 */
#include "proxy/podnet/podnet.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "proxy/podnet/batch.h"
#include "proxy/podnet/kernel.h"
#include "proxy/podnet/sysctls.h"

enum { SETTLE_MS = 20, RETRY_MS = 1000, PAUSE_MAX_MS = 1000, CALM_MS = 10000 };

struct podnet {
	uv_timer_t *timer;
	uv_poll_t *poll;
	int fd;
	struct cluster *cluster;
	struct podnet_options o;
	unsigned tunnel, underlay; /* links whose events matter; 0: none */
	bool known;
	struct strlist complaints; /* said already */
	char *trouble;             /* the last error said, or NULL */
	unsigned pause_ms;
	int64_t changed_ms;        /* when the kernel was last changed */
};

static void on_timer(uv_timer_t *t);

static void look_in(struct podnet *p, unsigned ms)
{
	if (cluster_synced(p->cluster) && (!uv_is_active((uv_handle_t *)p->timer) || uv_timer_get_due_in(p->timer) > ms))
		uv_timer_start(p->timer, on_timer, ms, 0);
}

/* Each complaint is said when it comes up, and again when it comes back. */
static void say(struct podnet *p, struct podnet_wanted *w)
{
	for (size_t i = 0; i < w->complaints.count; i++)
		if (!strlist_has(&p->complaints, w->complaints.items[i]))
			log_warn("pod network: %s", w->complaints.items[i]);
	strlist_done(&p->complaints);
	p->complaints = w->complaints;
	w->complaints = (struct strlist){ 0 };
	metrics_gauge_set("keelson_proxy_podnet_complaints", "Faults of Nodes and links that keep pods from being reached.", NULL,
			  (double)w->complaint_count);
	metrics_gauge_set("keelson_proxy_podnet_routes", "Routes to other nodes' pods.", NULL, (double)w->route_count);
}

static void say_trouble(struct podnet *p, const struct err *err)
{
	if (!str_eq(p->trouble, err_msg(err)))
		log_error("pod network: %s", err_msg(err));
	free(p->trouble);
	p->trouble = mem_strdup(err_msg(err));
	metrics_counter_add("keelson_proxy_podnet_errors_total", "Changes of the pod network that the kernel refused.", NULL, 1);
}

static struct podnet_node *read_nodes(const struct podnet *p, size_t *ret_count)
{
	struct podnet_node *nodes = NULL;
	size_t n = 0, cap = 0;
	const struct cluster_node *c;
	while ((c = cluster_at(p->cluster, n))) {
		MEM_GROW(nodes, cap, n + 1);
		nodes[n] = (struct podnet_node){
			.name = c->name, .created = c->created, .own = c->own,
			.family = c->addr_count ? c->addrs[0].family : 0,
			.pod_cidrs = { c->pod_cidrs[0], c->pod_cidrs[1] },
		};
		for (int f = 0; f < 2; f++) {
			const struct ip_addr *a = cluster_node_address(c, f ? AF_INET6 : AF_INET);
			if (a)
				nodes[n].addrs[f] = *a;
		}
		n++;
	}
	*ret_count = n;
	return nodes;
}

static int settings(const struct podnet *p, struct err *err)
{
	const struct ip_prefix *v = p->o.cluster_cidr.v;
	return p->o.mode == PODNET_NONE ? 0 : sysctls_set(v[0].addr.family != 0, v[1].addr.family != 0, err);
}

static int look(struct podnet *p, struct kernel_state *s, struct podnet_wanted *w, size_t *ret_changes, struct err *err)
{
	size_t count = 0;
	_cleanup_free_ struct podnet_node *nodes = read_nodes(p, &count);
	/* A read-only /proc/sys, where somebody else has set what is needed, must not keep routes away. */
	int set = settings(p, err), e = kernel_read(s, set < 0 ? NULL : err);
	if (e < 0)
		return e;
	const struct podnet_input in = {
		.mode = p->o.mode, .service_cidr = p->o.service_cidr, .cluster_cidr = p->o.cluster_cidr, .nodes = nodes,
		.node_count = count, .addresses = s->addresses, .address_count = s->address_count,
	};
	podnet_decide(&in, w);
	say(p, w);
	p->known = w->known;
	p->underlay = w->underlay;
	p->tunnel = s->tunnel.ifindex;
	if (w->known)
		e = kernel_apply(s, w, ret_changes, set < 0 ? NULL : err);
	char name[IF_NAMESIZE];
	if (set == 0 && e == 0 && p->tunnel && if_indextoname(p->tunnel, name))
		set = sysctls_loosen(name, err);
	return set < 0 ? set : e;
}

static void on_timer(uv_timer_t *t)
{
	struct podnet *p = t->data;
	struct kernel_state s = { 0 };
	struct podnet_wanted w = { 0 };
	_cleanup_err_ struct err err = { 0 };
	size_t changes = 0;
	int64_t now = clock_mono_ms();
	int e = look(p, &s, &w, &changes, &err);
	if (e < 0)
		say_trouble(p, &err);
	else if (p->trouble) {
		log_info("pod network: as it should be again");
		free(TAKE(p->trouble));
	}
	if (changes) {
		log_info("pod network: %s changes=%zu routes=%zu tunnelled=%zu", podnet_mode_names[p->o.mode], changes, w.route_count,
			 w.neighbour_count);
		p->pause_ms = now - p->changed_ms > CALM_MS ? SETTLE_MS : MIN(p->pause_ms * 2, (unsigned)PAUSE_MAX_MS);
		p->changed_ms = now;
	}
	kernel_state_done(&s);
	podnet_wanted_done(&w);
	if (e < 0)
		look_in(p, RETRY_MS);
}

/* Kernel events. */

static bool route_matters(const struct podnet *p, const struct nlmsghdr *nlh)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	struct ip_addr dst = { .family = m->rtm_family };
	if (m->rtm_table != RT_TABLE_MAIN || m->rtm_flags & RTM_F_CLONED)
		return false;
	mnl_attr_for_each(a, nlh, sizeof(*m))
		if (mnl_attr_get_type(a) == RTA_DST && mnl_attr_get_payload_len(a) <= sizeof(dst.bytes))
			memcpy(dst.bytes, mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
	return m->rtm_protocol == KERNEL_PROTOCOL || ip_ranges_contain(&p->o.cluster_cidr, &dst);
}

static bool link_matters(const struct podnet *p, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	unsigned index = (unsigned)i->ifi_index;
	if (!p->known || index == p->tunnel || index == p->underlay)
		return true;
	mnl_attr_for_each(a, nlh, sizeof(*i))
		if (mnl_attr_get_type(a) == IFLA_IFNAME)
			return str_eq(mnl_attr_get_str(a), KERNEL_TUNNEL);
	return false;
}

/* A node sees many events of pods and their neighbours: whatever cannot change our part is passed over. */
static bool matters(const struct podnet *p, const struct nlmsghdr *nlh)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return link_matters(p, nlh);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return ((const struct ifaddrmsg *)mnl_nlmsg_get_payload(nlh))->ifa_scope < RT_SCOPE_LINK;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return (unsigned)((const struct ndmsg *)mnl_nlmsg_get_payload(nlh))->ndm_ifindex == p->tunnel;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return route_matters(p, nlh);
	default:
		return false;
	}
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct podnet *p = poll->data;
	char buf[32768] __attribute__((aligned(MNL_ALIGNTO)));
	bool wanted = false;
	(void)events;
	for (ssize_t n; status >= 0;) {
		n = recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == ENOBUFS) {
			wanted = true;
			continue;
		}
		if (n <= 0)
			break;
		int left = (int)n;
		for (const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			wanted = wanted || matters(p, nlh);
	}
	if (wanted)
		look_in(p, p->pause_ms);
}

static int follow(struct podnet *p, uv_loop_t *loop, struct err *err)
{
	static const int groups[] = {
		RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
	};
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	p->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	/* A socket without an address of its own gets no events of the kernel's. */
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		return err_set(err, errno, "cannot open a route netlink socket: %s", strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (setsockopt(p->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
			return err_set(err, errno, "cannot follow the kernel's routes and links: %s", strerror(errno));
	p->poll = mem_new(uv_poll_t);
	uv_poll_init(loop, p->poll, p->fd);
	p->poll->data = p;
	uv_poll_start(p->poll, UV_READABLE, on_event);
	return 0;
}

static void on_cluster(const struct cluster_node *n, void *user)
{
	struct podnet *p = user;
	(void)n;
	look_in(p, SETTLE_MS);
}

static void on_synced(void *user)
{
	look_in(user, 0);
}

struct podnet *podnet_new(uv_loop_t *loop, struct cluster *cluster, const struct podnet_options *o, struct err *err)
{
	struct podnet *p = mem_new(struct podnet);
	const struct cluster_listener l = { .changed = on_cluster, .gone = on_cluster, .synced = on_synced, .user = p };
	p->o = *o;
	p->cluster = cluster;
	p->fd = -1;
	p->pause_ms = SETTLE_MS;
	p->timer = mem_new(uv_timer_t);
	uv_timer_init(loop, p->timer);
	p->timer->data = p;
	if (follow(p, loop, err) < 0) {
		podnet_free(p);
		return NULL;
	}
	/* Forwarding before the first pod, whether Nodes come or not. */
	_cleanup_err_ struct err why = { 0 };
	if (settings(p, &why) < 0)
		say_trouble(p, &why);
	cluster_listen(cluster, &l);
	look_in(p, 0);
	return p;
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

void podnet_free(struct podnet *p)
{
	if (!p)
		return;
	uv_close((uv_handle_t *)p->timer, free_handle);
	if (p->poll)
		uv_close((uv_handle_t *)p->poll, free_handle);
	if (p->fd >= 0)
		close(p->fd);
	strlist_done(&p->complaints);
	free(p->trouble);
	free(p);
}

int podnet_cleanup(struct err *err)
{
	int e = kernel_remove(err), restored = sysctls_restore(err);
	return e < 0 ? e : restored;
}
