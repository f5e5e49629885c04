/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The masquerade rules by nf_tables' netlink interface. A change of the ruleset costs the kernel a grace period, so the
 * usual ADD only reads the chain and finds its rules by the text in their user data (what nft shows as its comment).
 */
#include "cni/masq.h"

#include <linux/netfilter_ipv4.h>
#include <stdio.h>

#include "cni/nft.h"

#define CHAIN "postrouting"

static void put_rule(struct netlink *nl, const struct conf_subnet *s, const char *mark)
{
	static const struct ip_prefix multicast[2] = {
		{ .addr = { AF_INET, { 224 } }, .len = 4 },
		{ .addr = { AF_INET6, { 0xff } }, .len = 8 },
	};
	struct nft_rule r = nft_rule_begin(nl, CHAIN, "add the masquerade rule");

	nft_is_family(&r, s->prefix.addr.family);
	nft_source(&r, NFT_CMP_EQ, &s->prefix);
	nft_destination(&r, NFT_CMP_NEQ, &s->cluster);
	nft_destination(&r, NFT_CMP_NEQ, &multicast[ip_family_index(s->prefix.addr.family)]);
	nft_masquerade(&r);
	nft_rule_end(&r, mark);
}

int masq_ensure(const struct conf *c, struct fail *f)
{
	char marks[2][NFT_MARK_SIZE], prefix[NFT_MARK_SIZE], a[IP_PREFIX_TEXT_SIZE], b[IP_PREFIX_TEXT_SIZE];
	const char *const wanted[2] = { marks[0], marks[1] };
	struct nft_marks m = { .prefix = prefix, .wanted = wanted, .count = c->subnet_count };
	static struct netlink nl = { .fd = -1 };
	int e;

	nft_mark(prefix, "keelson-cni %s ", c->name);
	for (size_t i = 0; i < c->subnet_count; i++)
		nft_mark(marks[i], "%s%s %s", prefix, ip_prefix_format(&c->subnets[i].prefix, a),
			 ip_prefix_format(&c->subnets[i].cluster, b));
	e = nft_marks_read(&nl, CHAIN, &m, f);
	if (e == 0 && (m.found + 1 != 1u << c->subnet_count || m.stale_count)) {
		nft_put_begin(&nl);
		nft_put_table(&nl);
		nft_put_chain(&nl, CHAIN, "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC);
		for (size_t i = 0; i < m.stale_count; i++)
			nft_rule_del(&nl, CHAIN, m.stale[i]);
		for (size_t i = 0; i < c->subnet_count; i++)
			if (!(m.found & 1u << i))
				put_rule(&nl, &c->subnets[i], marks[i]);
		nft_put_commit(&nl);
		e = netlink_commit(&nl, f);
	}
	netlink_close(&nl);
	return e < 0 ? -1 : 0;
}
