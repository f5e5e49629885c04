/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Netlink requests in batches. The kernel handles a batch in order and goes on after an error, so requests that depend on
 * one another name their objects (links by name) instead of counting on results. */
#include "cni/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_BYTES = 32768, REQUEST_ROOM_BYTES = 1024, ANSWER_TIMEOUT_S = 20 };

int netlink_open(struct netlink *r, int protocol, struct fail *f)
{
	static const int on = 1;
	struct timeval limit = { .tv_sec = ANSWER_TIMEOUT_S };

	r->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	r->seq = 1;
	r->len = r->count = 0;
	if (r->fd < 0)
		return fail_set(f, FAIL_KERNEL, "open a netlink socket: %s", strerror(errno));
	setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(r->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(r->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return 0;
}

void netlink_close(struct netlink *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

struct nlmsghdr *netlink_put(struct netlink *r, uint16_t type, uint16_t flags, int tolerated, const char *what, ...)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(r->buf + r->len);
	va_list ap;

	BUG_ON(r->count == NETLINK_BATCH_MAX || r->len + REQUEST_ROOM_BYTES > sizeof(r->buf));
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = r->seq + (uint32_t)r->count;
	va_start(ap, what);
	vsnprintf(r->requests[r->count].what, NETLINK_WHAT_SIZE, what, ap);
	va_end(ap);
	r->requests[r->count++].tolerated = tolerated;
	return nlh;
}

void netlink_put_end(struct netlink *r, struct nlmsghdr *nlh)
{
	r->len += MNL_ALIGN(nlh->nlmsg_len);
}

static ssize_t receive(struct netlink *r, char *buf, size_t size)
{
	ssize_t n;

	do
		n = recv(r->fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? (errno == EAGAIN ? -ETIMEDOUT : -errno) : n;
}

static int transmit(struct netlink *r, const void *data, size_t len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	return sendto(r->fd, data, len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ? -errno : 0;
}

static size_t acks_wanted(const struct netlink *r)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)r->buf;
	int left = (int)r->len;
	size_t n = 0;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		n += (nlh->nlmsg_flags & NLM_F_ACK) != 0;
	return n;
}

int netlink_commit(struct netlink *r, struct fail *f)
{
	char buf[ANSWER_BYTES] __attribute__((aligned(MNL_ALIGNTO)));
	size_t wanted = acks_wanted(r), failed = SIZE_MAX;
	int e = transmit(r, r->buf, r->len), failed_errno = 0;
	uint32_t first = r->seq;
	size_t count = r->count;

	r->seq += (uint32_t)r->count;
	r->count = r->len = 0;
	if (e < 0)
		return fail_set(f, FAIL_KERNEL, "%s: send to the kernel: %s", r->requests[0].what, strerror(-e));
	while (wanted > 0) {
		ssize_t got = receive(r, buf, sizeof(buf));
		int left = (int)got;

		if (got < 0)
			return fail_set(f, FAIL_KERNEL, "%s: no answer from the kernel: %s", r->requests[0].what,
					strerror((int)-got));
		for (const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf; mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left)) {
			const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
			size_t at = nlh->nlmsg_seq - first;

			if (nlh->nlmsg_type != NLMSG_ERROR || at >= count)
				continue;
			wanted -= wanted > 0;
			if (err->error && -err->error != r->requests[at].tolerated && at < failed) {
				failed = at;
				failed_errno = -err->error;
			}
		}
	}
	if (failed == SIZE_MAX)
		return 0;
	return fail_set(f, FAIL_KERNEL, "%s: %s", r->requests[failed].what, strerror(failed_errno));
}

int netlink_ask(struct netlink *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *user)
{
	char buf[ANSWER_BYTES] __attribute__((aligned(MNL_ALIGNTO)));
	uint32_t seq = r->seq++;
	int e;

	nlh->nlmsg_seq = seq;
	nlh->nlmsg_flags |= NLM_F_REQUEST;
	/* Without a dump the answer or the error is all there is. */
	if (!(nlh->nlmsg_flags & NLM_F_DUMP))
		nlh->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	e = transmit(r, nlh, nlh->nlmsg_len);
	if (e < 0)
		return e;
	for (;;) {
		ssize_t got = receive(r, buf, sizeof(buf));

		if (got < 0)
			return (int)got;
		e = mnl_cb_run(buf, (size_t)got, seq, 0, cb, user);
		if (e < 0)
			return -errno;
		if (e == MNL_CB_STOP || !(nlh->nlmsg_flags & NLM_F_DUMP))
			return 0;
	}
}

static int link_kind(const struct nlattr *a, void *user)
{
	struct netlink_link *l = user;

	if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
		snprintf(l->kind, sizeof(l->kind), "%s", mnl_attr_get_str(a));
	return MNL_CB_OK;
}

static int link_attr(const struct nlattr *a, void *user)
{
	struct netlink_link *l = user;

	switch (mnl_attr_get_type(a)) {
	case IFLA_MTU:
		l->mtu = mnl_attr_get_u32(a);
		break;
	case IFLA_MASTER:
		l->master = (int)mnl_attr_get_u32(a);
		break;
	case IFLA_LINK:
		l->peer = (int)mnl_attr_get_u32(a);
		break;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(a) == sizeof(l->mac))
			memcpy(l->mac, mnl_attr_get_payload(a), sizeof(l->mac));
		break;
	case IFLA_LINKINFO:
		mnl_attr_parse_nested(a, link_kind, l);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int link_answer(const struct nlmsghdr *nlh, void *user)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct netlink_link *l = user;

	l->index = ifi->ifi_index;
	l->flags = ifi->ifi_flags;
	mnl_attr_parse(nlh, sizeof(*ifi), link_attr, l);
	return MNL_CB_OK;
}

int netlink_link_get(struct netlink *r, const char *name, int index, struct netlink_link *ret)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	struct netlink_link l = { 0 };
	int e;

	nlh->nlmsg_type = RTM_GETLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = name ? 0 : index;
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	/* The answer without statistics. */
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	e = netlink_ask(r, nlh, link_answer, &l);
	if (e == 0)
		*ret = l;
	return e;
}

struct port_search {
	int bridge;
	void (*fn)(const char *name, const struct netlink_link *l, void *user);
	void *user;
};

static int port_answer(const struct nlmsghdr *nlh, void *user)
{
	struct port_search *s = user;
	struct netlink_link l = { 0 };
	const struct nlattr *a;
	const char *name = "";

	link_answer(nlh, &l);
	mnl_attr_for_each(a, nlh, sizeof(struct ifinfomsg))
		if (mnl_attr_get_type(a) == IFLA_IFNAME)
			name = mnl_attr_get_str(a);
	if (l.master == s->bridge)
		s->fn(name, &l, s->user);
	return MNL_CB_OK;
}

int netlink_ports(struct netlink *r, int bridge, void (*fn)(const char *name, const struct netlink_link *l, void *user), void *user)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct port_search s = { .bridge = bridge, .fn = fn, .user = user };

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(nlh, IFLA_MASTER, (uint32_t)bridge);
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return netlink_ask(r, nlh, port_answer, &s);
}

static bool take_addr(const struct nlattr *a, struct ip_addr *ret)
{
	uint16_t len = mnl_attr_get_payload_len(a);

	if (len != 4 && len != 16)
		return false;
	*ret = (struct ip_addr){ .family = len == 4 ? AF_INET : AF_INET6 };
	memcpy(ret->bytes, mnl_attr_get_payload(a), len);
	return true;
}

struct route_answer {
	int oif;
	struct ip_addr gw;
};

static int route_attr(const struct nlattr *a, void *user)
{
	struct route_answer *ra = user;

	if (mnl_attr_get_type(a) == RTA_OIF)
		ra->oif = (int)mnl_attr_get_u32(a);
	else if (mnl_attr_get_type(a) == RTA_GATEWAY)
		take_addr(a, &ra->gw);
	return MNL_CB_OK;
}

static int route_answer(const struct nlmsghdr *nlh, void *user)
{
	mnl_attr_parse(nlh, sizeof(struct rtmsg), route_attr, user);
	return MNL_CB_OK;
}

int netlink_route_get(struct netlink *r, const struct ip_addr *dst, int *ret_oif, struct ip_addr *ret_gw)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	unsigned size = dst->family == AF_INET6 ? 16 : 4;
	struct route_answer ra = { 0 };
	struct rtmsg *rtm;
	int e;

	nlh->nlmsg_type = RTM_GETROUTE;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = dst->family;
	rtm->rtm_dst_len = (uint8_t)(size * 8);
	mnl_attr_put(nlh, RTA_DST, size, dst->bytes);
	e = netlink_ask(r, nlh, route_answer, &ra);
	if (e < 0)
		return e;
	*ret_oif = ra.oif;
	*ret_gw = ra.gw;
	return 0;
}

struct address_search {
	struct ip_addr addr;
	unsigned len;
	bool found;
};

static int address_answer(const struct nlmsghdr *nlh, void *user)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct address_search *s = user;
	const struct nlattr *a;
	struct ip_addr ip;

	/* IPv6 gives IFA_LOCAL only to point-to-point addresses. */
	mnl_attr_for_each(a, nlh, sizeof(*ifa))
		if ((mnl_attr_get_type(a) == IFA_LOCAL || (mnl_attr_get_type(a) == IFA_ADDRESS && ifa->ifa_family == AF_INET6)) &&
		    take_addr(a, &ip) && ip_addr_eq(&ip, &s->addr) && ifa->ifa_prefixlen == s->len)
			s->found = true;
	return MNL_CB_OK;
}

int netlink_has_address(struct netlink *r, int index, const struct ip_addr *addr, unsigned len, bool *ret)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct address_search s = { .addr = *addr, .len = len };
	struct ifaddrmsg *ifa;
	int e;

	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_DUMP;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = addr->family;
	ifa->ifa_index = (uint32_t)index;
	e = netlink_ask(r, nlh, address_answer, &s);
	if (e < 0)
		return e;
	*ret = s.found;
	return 0;
}
