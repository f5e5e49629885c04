/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel handles a batch in order and goes on after an error, so one bad entry never keeps the others away. */
#include "proxy/podnet/batch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ANSWER_BYTES = 32768, REQUEST_ROOM_BYTES = 1024, ANSWER_TIMEOUT_S = 5 };

int batch_open(struct batch *b, struct err *err)
{
	static const int on = 1;
	struct timeval limit = { .tv_sec = ANSWER_TIMEOUT_S };
	b->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	b->seq = 1;
	b->len = b->count = b->taken = b->refused = 0;
	b->err = err;
	if (b->fd < 0)
		return err_set(err, errno, "cannot open a route netlink socket: %s", strerror(errno));
	setsockopt(b->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(b->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(b->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(b->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return 0;
}

void batch_close(struct batch *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}

struct nlmsghdr *batch_begin(struct batch *b, uint16_t type, uint16_t flags, int tolerated, const char *what, ...)
{
	va_list ap;
	if (b->count == BATCH_REQUESTS || b->len + REQUEST_ROOM_BYTES > sizeof(b->buf))
		batch_send(b);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(b->buf + b->len);
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nlh->nlmsg_seq = b->seq++;
	va_start(ap, what);
	vsnprintf(b->requests[b->count].what, BATCH_WHAT_SIZE, what, ap);
	va_end(ap);
	b->requests[b->count++].tolerated = tolerated;
	return nlh;
}

void batch_end(struct batch *b, struct nlmsghdr *nlh)
{
	b->len += MNL_ALIGN(nlh->nlmsg_len);
}

static ssize_t receive(struct batch *b, char *buf, size_t size)
{
	ssize_t n;
	do
		n = recv(b->fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? (errno == EAGAIN ? -ETIMEDOUT : -errno) : n;
}

static int transmit(struct batch *b, const void *data, size_t len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	return sendto(b->fd, data, len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ? -errno : 0;
}

/* The kernel's own sentence behind its errno, "" when it gave none. */
static const char *explanation(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *answer = mnl_nlmsg_get_payload(nlh);
	size_t at = sizeof(*answer);
	const struct nlattr *a;
	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return "";
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		at += answer->msg.nlmsg_len - sizeof(struct nlmsghdr);
	mnl_attr_for_each(a, nlh, (unsigned)at)
		if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG)
			return mnl_attr_get_str(a);
	return "";
}

static void answered(struct batch *b, size_t at, const struct nlmsghdr *nlh)
{
	int error = -((const struct nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error;
	const char *why = explanation(nlh);
	if (!error || error == b->requests[at].tolerated) {
		b->taken += !error;
		return;
	}
	if (b->refused++ == 0)
		err_set(b->err, error, "cannot %s: %s%s%s", b->requests[at].what, strerror(error), *why ? ": " : "", why);
}

int batch_send(struct batch *b)
{
	char buf[ANSWER_BYTES] __attribute__((aligned(MNL_ALIGNTO)));
	size_t count = b->count, waiting = count;
	uint32_t first = b->seq - (uint32_t)count;
	int e = count ? transmit(b, b->buf, b->len) : 0;
	b->len = b->count = 0;
	while (e == 0 && waiting > 0) {
		ssize_t got = receive(b, buf, sizeof(buf));
		int left = (int)got;
		if (got < 0)
			e = (int)got;
		for (const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf; got > 0 && mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left)) {
			size_t at = nlh->nlmsg_seq - first;
			if (nlh->nlmsg_type != NLMSG_ERROR || at >= count || !waiting)
				continue;
			waiting--;
			answered(b, at, nlh);
		}
	}
	if (e < 0 && b->refused++ == 0)
		err_set(b->err, -e, "cannot %s: no answer from the kernel: %s", b->requests[0].what, strerror(-e));
	return e;
}

int batch_ask(struct batch *b, struct nlmsghdr *nlh, mnl_cb_t cb, void *user)
{
	char buf[ANSWER_BYTES] __attribute__((aligned(MNL_ALIGNTO)));
	nlh->nlmsg_seq = b->seq++;
	nlh->nlmsg_flags |= NLM_F_REQUEST;
	int e = transmit(b, nlh, nlh->nlmsg_len);
	if (e < 0)
		return e;
	for (;;) {
		ssize_t got = receive(b, buf, sizeof(buf));
		if (got < 0)
			return (int)got;
		e = mnl_cb_run(buf, (size_t)got, nlh->nlmsg_seq, 0, cb, user);
		if (e < 0)
			return -errno;
		if (e == MNL_CB_STOP || (nlh->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
			return 0;
	}
}
