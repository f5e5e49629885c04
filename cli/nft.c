/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One nftables transaction over libmnl: delete a table. */
#include "cli/nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>
#include <time.h>

static void mnl_socket_closep(struct mnl_socket **s)
{
	if (*s)
		mnl_socket_close(*s);
}

/* Reads answers until the batch's acknowledgement or error. */
static int read_ack(struct mnl_socket *s, uint32_t seq)
{
	char buf[8192];
	unsigned port = mnl_socket_get_portid(s);

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(s, buf, sizeof(buf));

		if (n < 0)
			return -errno;
		int r = mnl_cb_run(buf, (size_t)n, seq, port, NULL, NULL);

		if (r < 0)
			return -errno;
		if (r == 0)
			return 0;
	}
}

int nft_table_delete(const char *table, struct err *err)
{
	_cleanup_(mnl_socket_closep) struct mnl_socket *s = mnl_socket_open(NETLINK_NETFILTER);
	char buf[4096];
	uint32_t seq = (uint32_t)time(NULL);

	if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_set(err, errno, "cannot open a netfilter netlink socket: %s", strerror(errno));
	struct mnl_nlmsg_batch *batch = mnl_nlmsg_batch_start(buf, sizeof(buf));
	struct nftnl_table *t = nftnl_table_alloc();

	nftnl_batch_begin(mnl_nlmsg_batch_current(batch), seq);
	mnl_nlmsg_batch_next(batch);
	nftnl_table_set_str(t, NFTNL_TABLE_NAME, table);
	nftnl_table_set_u32(t, NFTNL_TABLE_FAMILY, NFPROTO_INET);
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(batch), NFT_MSG_DELTABLE, NFPROTO_INET,
						   NLM_F_ACK, seq + 1);

	nftnl_table_nlmsg_build_payload(h, t);
	nftnl_table_free(t);
	mnl_nlmsg_batch_next(batch);
	nftnl_batch_end(mnl_nlmsg_batch_current(batch), seq + 2);
	mnl_nlmsg_batch_next(batch);
	int r = mnl_socket_sendto(s, mnl_nlmsg_batch_head(batch), mnl_nlmsg_batch_size(batch)) < 0 ?
			-errno :
			read_ack(s, seq + 1);

	mnl_nlmsg_batch_stop(batch);
	if (r == 0 || r == -ENOENT)
		return 0;
	return err_set(err, -r, "cannot delete the nftables table inet %s: %s", table, strerror(-r));
}
