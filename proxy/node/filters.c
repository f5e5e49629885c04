/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nftables has a generation that grows with every change: chains are listed only when it has. */
#include "proxy/node/filters.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define OWN_TABLE "keelson"

static uint32_t number(struct nlattr *a, uint32_t otherwise)
{
	return a && nla_len(a) >= (int)sizeof(uint32_t) ? ntohl(nla_get_u32(a)) : otherwise;
}

static const char *text(struct nlattr *a)
{
	return a && nla_len(a) > 0 && memchr(nla_data(a), 0, (size_t)nla_len(a)) ? nla_get_string(a) : "";
}

static int ask(struct nl_sock *s, int type, int flags, nl_recvmsg_msg_cb_t cb, void *user)
{
	const struct nfgenmsg g = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
	struct nl_msg *m = nlmsg_alloc_simple(NFNL_SUBSYS_NFTABLES << 8 | type, NLM_F_REQUEST | flags);
	int r = m ? nlmsg_append(m, (void *)&g, sizeof(g), NLMSG_ALIGNTO) : -NLE_NOMEM;
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, cb, user);
	if (r >= 0)
		r = nl_send_auto(s, m);
	nlmsg_free(m);
	return r < 0 ? r : nl_recvmsgs_default(s);
}

static int on_generation(struct nl_msg *msg, void *user)
{
	*(uint32_t *)user = number(nlmsg_find_attr(nlmsg_hdr(msg), sizeof(struct nfgenmsg), NFTA_GEN_ID), 0);
	return NL_OK;
}

/* Does a packet from outside to a pod, or an answer from the pod's link on, come by there? */
static bool is_on_the_way(uint8_t family, uint32_t hook)
{
	if (family == NFPROTO_BRIDGE)
		return hook == NF_BR_PRE_ROUTING || hook == NF_BR_LOCAL_IN;
	if (family == NFPROTO_NETDEV)
		return hook == NF_NETDEV_INGRESS;
	return (family == NFPROTO_IPV4 || family == NFPROTO_IPV6 || family == NFPROTO_INET) &&
	       (hook == NF_INET_PRE_ROUTING || hook == NF_INET_FORWARD || hook == NF_INET_POST_ROUTING ||
		(family == NFPROTO_INET && hook == NF_INET_INGRESS));
}

static const char *family_text(uint8_t family)
{
	switch (family) {
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_BRIDGE:
		return "bridge";
	case NFPROTO_NETDEV:
		return "netdev";
	default:
		return "inet";
	}
}

static int on_chain(struct nl_msg *msg, void *user)
{
	enum { HEAD = sizeof(struct nfgenmsg) };
	char *found = user;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	const struct nfgenmsg *g = nlmsg_data(h);
	struct nlattr *hook = nlmsg_find_attr(h, HEAD, NFTA_CHAIN_HOOK);
	const char *table = text(nlmsg_find_attr(h, HEAD, NFTA_CHAIN_TABLE));
	if (found[0] || !hook || (g->nfgen_family == NFPROTO_INET && strcmp(table, OWN_TABLE) == 0))
		return NL_OK;
	uint32_t at = number(nla_find(nla_data(hook), nla_len(hook), NFTA_HOOK_HOOKNUM), UINT32_MAX);
	bool idle = number(nlmsg_find_attr(h, HEAD, NFTA_CHAIN_USE), 1) == 0 &&
		    number(nlmsg_find_attr(h, HEAD, NFTA_CHAIN_POLICY), NF_ACCEPT) == NF_ACCEPT;
	if (idle || !is_on_the_way(g->nfgen_family, at) || strcmp(text(nlmsg_find_attr(h, HEAD, NFTA_CHAIN_TYPE)), "nat") == 0)
		return NL_OK;
	snprintf(found, FILTERS_TEXT_SIZE, "nftables' chain %s %.48s %.48s", family_text(g->nfgen_family), table,
		 text(nlmsg_find_attr(h, HEAD, NFTA_CHAIN_NAME)));
	return NL_OK;
}

static void look_nftables(struct filters *f)
{
	uint32_t generation = 0;
	struct nl_sock *s = nl_socket_alloc();
	int r = s ? nl_connect(s, NETLINK_NETFILTER) : -NLE_NOMEM;
	if (r >= 0) {
		nl_socket_disable_auto_ack(s);
		r = ask(s, NFT_MSG_GETGEN, 0, on_generation, &generation);
	}
	if (r >= 0 && f->known && f->generation == generation)
		goto out;
	f->nftables[0] = 0;
	/* A kernel without nf_tables has no chains either. */
	bool none = r == -NLE_OPNOTSUPP || r == -NLE_INVAL || r == -NLE_PROTO_MISMATCH;
	if (r >= 0)
		r = ask(s, NFT_MSG_GETCHAIN, NLM_F_DUMP, on_chain, f->nftables);
	if (r < 0 && !none)
		snprintf(f->nftables, sizeof(f->nftables), "nftables' chains, which cannot be read (%s)", nl_geterror(r));
	f->known = r >= 0 || none;
	f->generation = generation;
out:
	nl_socket_free(s);
}

static void look_legacy(struct filters *f)
{
	static const struct {
		const char *path, *tool;
	} lists[] = { { "/proc/net/ip_tables_names", "iptables" }, { "/proc/net/ip6_tables_names", "ip6tables" } };
	f->legacy[0] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(lists) && !f->legacy[0]; i++) {
		char line[64];
		FILE *in = fopen(lists[i].path, "re");
		while (in && !f->legacy[0] && fgets(line, sizeof(line), in)) {
			line[strcspn(line, "\n")] = 0;
			if (line[0] && strcmp(line, "nat") != 0)
				snprintf(f->legacy, sizeof(f->legacy), "the table %s of %s", line, lists[i].tool);
		}
		if (in)
			fclose(in);
	}
}

void filters_look(struct filters *f)
{
	look_nftables(f);
	look_legacy(f);
}

const char *filters_found(const struct filters *f)
{
	return f->nftables[0] ? f->nftables : f->legacy[0] ? f->legacy : NULL;
}
