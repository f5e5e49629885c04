/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The masquerade rule by nf_tables' netlink interface. A change of the ruleset costs the kernel a grace period, so the
 * usual ADD only reads the chain and finds its rule by the text in its user data (what nft shows as its comment).
 */
#include "cni/masq.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <string.h>

#include "cni/netlink.h"

#define TABLE "keelson"
#define CHAIN "postrouting"

enum { SRC_OFFSET = 12, DST_OFFSET = 16, STALE_MAX = 16, MARK_SIZE = 253, READ_TRIES = 20 };

struct rules {
	const char *mark;
	size_t name_len; /* of mark: the part that says which network */
	size_t found;
	uint64_t stale[STALE_MAX]; /* handles of this network's that say something else, or say it again */
	size_t stale_count;
};

static void put_nfgen(struct nlmsghdr *nlh, uint8_t family, uint16_t res_id)
{
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(res_id);
}

static int rule_answer(const struct nlmsghdr *nlh, void *user)
{
	struct rules *r = user;
	const struct nlattr *a;
	uint64_t handle = 0;
	const char *text = "";
	size_t len = 0;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) == NFTA_RULE_HANDLE)
			handle = be64toh(mnl_attr_get_u64(a));
		else if (mnl_attr_get_type(a) == NFTA_RULE_USERDATA) {
			text = mnl_attr_get_payload(a);
			len = mnl_attr_get_payload_len(a);
		}
	}
	/* User data as nft writes and shows it: type 0 (comment), length, text with NUL. */
	if (len < 2 + r->name_len || text[0] != 0 || memcmp(text + 2, r->mark, r->name_len) != 0)
		return MNL_CB_OK;
	if (len == 2 + strlen(r->mark) + 1 && memcmp(text + 2, r->mark, len - 2) == 0 && r->found++ == 0)
		return MNL_CB_OK;
	if (r->stale_count < STALE_MAX)
		r->stale[r->stale_count++] = handle;
	return MNL_CB_OK;
}

static int read_rules(struct netlink *nl, struct rules *r)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	int e;

	nlh->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE;
	nlh->nlmsg_flags = NLM_F_DUMP;
	put_nfgen(nlh, NFPROTO_INET, 0);
	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, CHAIN);
	e = netlink_ask(nl, nlh, rule_answer, r);
	return e == -ENOENT ? 0 : e;
}

static struct nlmsghdr *put_request(struct netlink *nl, uint16_t type, uint16_t flags, const char *what)
{
	struct nlmsghdr *nlh = netlink_put(nl, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags | NLM_F_ACK, 0, "%s", what);

	put_nfgen(nlh, NFPROTO_INET, 0);
	return nlh;
}

static void put_batch(struct netlink *nl, uint16_t type)
{
	struct nlmsghdr *nlh = netlink_put(nl, type, 0, 0, "nf_tables batch");

	put_nfgen(nlh, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	netlink_put_end(nl, nlh);
}

/* Expressions of a rule. */

static struct nlattr *expr_begin(struct nlmsghdr *nlh, const char *name, struct nlattr **ret_data)
{
	struct nlattr *elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);

	mnl_attr_put_strz(nlh, NFTA_EXPR_NAME, name);
	*ret_data = mnl_attr_nest_start(nlh, NFTA_EXPR_DATA);
	return elem;
}

static void expr_end(struct nlmsghdr *nlh, struct nlattr *elem, struct nlattr *data)
{
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, elem);
}

static void put_value(struct nlmsghdr *nlh, uint16_t type, const void *value, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, type);

	mnl_attr_put(nlh, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(nlh, nest);
}

static void put_cmp(struct nlmsghdr *nlh, uint32_t op, const void *value, size_t len)
{
	struct nlattr *data, *elem = expr_begin(nlh, "cmp", &data);

	mnl_attr_put_u32(nlh, NFTA_CMP_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(nlh, NFTA_CMP_OP, htonl(op));
	put_value(nlh, NFTA_CMP_DATA, value, len);
	expr_end(nlh, elem, data);
}

static void put_is_ipv4(struct nlmsghdr *nlh)
{
	struct nlattr *data, *elem = expr_begin(nlh, "meta", &data);
	uint8_t ipv4 = NFPROTO_IPV4;

	mnl_attr_put_u32(nlh, NFTA_META_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(nlh, NFTA_META_KEY, htonl(NFT_META_NFPROTO));
	expr_end(nlh, elem, data);
	put_cmp(nlh, NFT_CMP_EQ, &ipv4, sizeof(ipv4));
}

static void put_prefix(struct nlmsghdr *nlh, uint32_t offset, uint32_t op, uint32_t addr, unsigned len)
{
	uint32_t mask = htonl(len ? ~(uint32_t)0 << (32 - len) : 0), zero = 0, value = htonl(addr);
	struct nlattr *data, *elem = expr_begin(nlh, "payload", &data);

	mnl_attr_put_u32(nlh, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(nlh, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_NETWORK_HEADER));
	mnl_attr_put_u32(nlh, NFTA_PAYLOAD_OFFSET, htonl(offset));
	mnl_attr_put_u32(nlh, NFTA_PAYLOAD_LEN, htonl(4));
	expr_end(nlh, elem, data);
	elem = expr_begin(nlh, "bitwise", &data);
	mnl_attr_put_u32(nlh, NFTA_BITWISE_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(nlh, NFTA_BITWISE_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(nlh, NFTA_BITWISE_LEN, htonl(4));
	put_value(nlh, NFTA_BITWISE_MASK, &mask, sizeof(mask));
	put_value(nlh, NFTA_BITWISE_XOR, &zero, sizeof(zero));
	expr_end(nlh, elem, data);
	put_cmp(nlh, op, &value, sizeof(value));
}

static void put_rule(struct netlink *nl, const struct ip_prefix *subnet, const struct ip_prefix *cluster, const char *mark)
{
	struct nlmsghdr *nlh = put_request(nl, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, "add the masquerade rule");
	struct nlattr *list, *data, *elem;
	char user_data[2 + MARK_SIZE] = { 0 };

	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, TABLE);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, CHAIN);
	list = mnl_attr_nest_start(nlh, NFTA_RULE_EXPRESSIONS);
	put_is_ipv4(nlh);
	put_prefix(nlh, SRC_OFFSET, NFT_CMP_EQ, conf_ip4(&subnet->addr), subnet->len);
	put_prefix(nlh, DST_OFFSET, NFT_CMP_NEQ, conf_ip4(&cluster->addr), cluster->len);
	put_prefix(nlh, DST_OFFSET, NFT_CMP_NEQ, 0xe0000000u, 4);
	elem = expr_begin(nlh, "masq", &data);
	expr_end(nlh, elem, data);
	mnl_attr_nest_end(nlh, list);
	user_data[1] = (char)(strlen(mark) + 1);
	memcpy(user_data + 2, mark, strlen(mark) + 1);
	mnl_attr_put(nlh, NFTA_RULE_USERDATA, 2 + strlen(mark) + 1, user_data);
	netlink_put_end(nl, nlh);
}

static void put_table_and_chain(struct netlink *nl)
{
	struct nlmsghdr *nlh = put_request(nl, NFT_MSG_NEWTABLE, NLM_F_CREATE, "create the nf_tables table inet " TABLE);
	struct nlattr *hook;

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, TABLE);
	netlink_put_end(nl, nlh);
	nlh = put_request(nl, NFT_MSG_NEWCHAIN, NLM_F_CREATE, "create the nf_tables chain " CHAIN);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, CHAIN);
	hook = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl(NF_INET_POST_ROUTING));
	mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl((uint32_t)NF_IP_PRI_NAT_SRC));
	mnl_attr_nest_end(nlh, hook);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "nat");
	netlink_put_end(nl, nlh);
}

int masq_ensure(const char *network, const struct ip_prefix *subnet, const struct ip_prefix *cluster, struct fail *f)
{
	char mark[MARK_SIZE], a[IP_PREFIX_TEXT_SIZE], b[IP_PREFIX_TEXT_SIZE];
	struct rules rules;
	static struct netlink nl = { .fd = -1 };
	int e = 0, n;

	n = snprintf(mark, sizeof(mark), "keelson-cni %s ", network);
	snprintf(mark + n, sizeof(mark) - (size_t)n, "%s %s", ip_prefix_format(subnet, a), ip_prefix_format(cluster, b));
	/* EINTR: somebody changed the rules while they were read. */
	for (int tries = 0, again = true; again; again = e == -EINTR && ++tries < READ_TRIES) {
		netlink_close(&nl);
		if (netlink_open(&nl, NETLINK_NETFILTER, f) < 0)
			return -1;
		rules = (struct rules){ .mark = mark, .name_len = (size_t)n };
		e = read_rules(&nl, &rules);
	}
	if (e < 0) {
		fail_record(f, FAIL_KERNEL, "read the nf_tables chain %s of table inet %s: %s", CHAIN, TABLE, strerror(-e));
	} else if (!rules.found || rules.stale_count) {
		put_batch(&nl, NFNL_MSG_BATCH_BEGIN);
		put_table_and_chain(&nl);
		for (size_t i = 0; i < rules.stale_count; i++) {
			struct nlmsghdr *nlh = put_request(&nl, NFT_MSG_DELRULE, 0, "remove an outdated masquerade rule");

			mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, TABLE);
			mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, CHAIN);
			mnl_attr_put_u64(nlh, NFTA_RULE_HANDLE, htobe64(rules.stale[i]));
			netlink_put_end(&nl, nlh);
		}
		if (!rules.found)
			put_rule(&nl, subnet, cluster, mark);
		put_batch(&nl, NFNL_MSG_BATCH_END);
		e = netlink_commit(&nl, f);
	}
	netlink_close(&nl);
	return e < 0 ? -1 : 0;
}
