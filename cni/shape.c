/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runtimes that have no burst to pass on pass the largest number there is: a bucket of half a gigabyte would be no limit,
 * so a bucket never holds more than a second's worth. */
#include "cni/shape.h"

#include <linux/pkt_sched.h>
#include <string.h>

enum { BURST_LEAST_BYTES = 10000, QUEUE_MS = 25 };

static uint64_t burst_bytes(uint64_t rate, uint64_t burst, unsigned mtu)
{
	uint64_t least = MAX((uint64_t)BURST_LEAST_BYTES, (uint64_t)mtu * 2), most = MAX(rate / 8, least);

	/* A tenth of a second when nobody says: enough for the kernel's timers at any rate. */
	return MIN(MAX(burst ? burst / 8 : rate / 80, least), MIN(most, (uint64_t)INT32_MAX));
}

void shape_put(struct netlink *r, int index, const char *ifname, uint64_t rate, uint64_t burst, unsigned mtu)
{
	struct nlmsghdr *nlh = netlink_put(r, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, 0, "limit the bandwidth of %s", ifname);
	struct tcmsg *tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
	uint64_t bytes = rate / 8, bucket = burst_bytes(rate, burst, mtu), queue = bucket + bytes * QUEUE_MS / 1000;
	struct tc_tbf_qopt opt = {
		.rate = { .rate = (uint32_t)MIN(bytes, (uint64_t)UINT32_MAX), .linklayer = TC_LINKLAYER_ETHERNET },
		.limit = (uint32_t)MIN(queue, (uint64_t)UINT32_MAX),
	};
	struct nlattr *options;

	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = index;
	tc->tcm_parent = TC_H_ROOT;
	mnl_attr_put_strz(nlh, TCA_KIND, "tbf");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put(nlh, TCA_TBF_PARMS, sizeof(opt), &opt);
	mnl_attr_put_u32(nlh, TCA_TBF_BURST, (uint32_t)bucket);
	if (bytes > UINT32_MAX)
		mnl_attr_put_u64(nlh, TCA_TBF_RATE64, bytes);
	mnl_attr_nest_end(nlh, options);
	netlink_put_end(r, nlh);
}

struct search {
	int index;
	uint64_t bytes;
	bool found;
};

static uint64_t rate_of(const struct nlattr *options)
{
	const struct tc_tbf_qopt *opt;
	const struct nlattr *a;
	uint64_t rate = 0;

	mnl_attr_for_each_nested(a, options) {
		if (mnl_attr_get_type(a) == TCA_TBF_PARMS && mnl_attr_get_payload_len(a) >= sizeof(*opt) && !rate) {
			opt = mnl_attr_get_payload(a);
			rate = opt->rate.rate;
		} else if (mnl_attr_get_type(a) == TCA_TBF_RATE64) {
			rate = mnl_attr_get_u64(a);
		}
	}
	return rate;
}

static int answer(const struct nlmsghdr *nlh, void *user)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(nlh);
	struct search *s = user;
	const struct nlattr *a;
	uint64_t rate = 0;
	bool tbf = false;

	if (tc->tcm_ifindex != s->index || tc->tcm_parent != TC_H_ROOT)
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*tc)) {
		if (mnl_attr_get_type(a) == TCA_KIND)
			tbf = strcmp(mnl_attr_get_str(a), "tbf") == 0;
		else if (mnl_attr_get_type(a) == TCA_OPTIONS && tbf)
			rate = rate_of(a);
	}
	s->found = s->found || (tbf && rate == s->bytes);
	return MNL_CB_OK;
}

int shape_get(struct netlink *r, int index, uint64_t rate, bool *ret)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct search s = { .index = index, .bytes = rate / 8 };
	struct tcmsg *tc;
	int e;

	nlh->nlmsg_type = RTM_GETQDISC;
	nlh->nlmsg_flags = NLM_F_DUMP;
	tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
	tc->tcm_ifindex = index;
	e = netlink_ask(r, nlh, answer, &s);
	*ret = s.found;
	return e;
}
