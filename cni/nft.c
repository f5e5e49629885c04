/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nf_tables by netlink, attribute by attribute: the plugin needs a dozen expressions and starts no other program. */
#include "cni/nft.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum { READ_TRIES = 20, V4_SOURCE = 12, V4_DESTINATION = 16, V6_SOURCE = 8, V6_DESTINATION = 24 };

static void put_nfgen(struct nlmsghdr *nlh, uint8_t family, uint16_t res_id)
{
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(res_id);
}

struct nlmsghdr *nft_put(struct netlink *nl, uint16_t type, uint16_t flags, int tolerated, const char *what)
{
	struct nlmsghdr *nlh = netlink_put(nl, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags | NLM_F_ACK, tolerated, "%s", what);

	put_nfgen(nlh, NFPROTO_INET, 0);
	return nlh;
}

static void put_batch(struct netlink *nl, uint16_t type)
{
	struct nlmsghdr *nlh = netlink_put(nl, type, 0, 0, "nf_tables batch");

	put_nfgen(nlh, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	netlink_put_end(nl, nlh);
}

void nft_put_begin(struct netlink *nl)
{
	put_batch(nl, NFNL_MSG_BATCH_BEGIN);
}

void nft_put_commit(struct netlink *nl)
{
	put_batch(nl, NFNL_MSG_BATCH_END);
}

void nft_put_table(struct netlink *nl)
{
	struct nlmsghdr *nlh = nft_put(nl, NFT_MSG_NEWTABLE, NLM_F_CREATE, 0, "create the nf_tables table inet " NFT_TABLE);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, NFT_TABLE);
	netlink_put_end(nl, nlh);
}

void nft_put_chain(struct netlink *nl, const char *name, const char *type, int hook, int priority)
{
	char what[NETLINK_WHAT_SIZE];
	struct nlmsghdr *nlh;
	struct nlattr *nest;

	snprintf(what, sizeof(what), "create the nf_tables chain %s", name);
	nlh = nft_put(nl, NFT_MSG_NEWCHAIN, NLM_F_CREATE, 0, what);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, NFT_TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, name);
	if (hook >= 0) {
		nest = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
		mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl((uint32_t)hook));
		mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl((uint32_t)priority));
		mnl_attr_nest_end(nlh, nest);
		mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, type);
	}
	netlink_put_end(nl, nlh);
}

struct nlmsghdr *nft_ask(void *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	nlh->nlmsg_flags = flags;
	put_nfgen(nlh, NFPROTO_INET, 0);
	return nlh;
}

/* Rules. */

void nft_mark(char out[static NFT_MARK_SIZE], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out, NFT_MARK_SIZE, fmt, ap);
	va_end(ap);
}

struct nft_rule nft_rule_begin(struct netlink *nl, const char *chain, const char *what)
{
	struct nft_rule r = { .nl = nl, .nlh = nft_put(nl, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, 0, what) };

	mnl_attr_put_strz(r.nlh, NFTA_RULE_TABLE, NFT_TABLE);
	mnl_attr_put_strz(r.nlh, NFTA_RULE_CHAIN, chain);
	r.list = mnl_attr_nest_start(r.nlh, NFTA_RULE_EXPRESSIONS);
	return r;
}

void nft_rule_end(struct nft_rule *r, const char *mark)
{
	char user_data[2 + NFT_MARK_SIZE] = { 0 };
	size_t len = strlen(mark) + 1;

	/* As nft writes and shows it: type 0 (comment), length, text with NUL. */
	BUG_ON(len > NFT_MARK_SIZE);
	mnl_attr_nest_end(r->nlh, r->list);
	user_data[1] = (char)len;
	memcpy(user_data + 2, mark, len);
	mnl_attr_put(r->nlh, NFTA_RULE_USERDATA, 2 + len, user_data);
	netlink_put_end(r->nl, r->nlh);
}

void nft_rule_del(struct netlink *nl, const char *chain, uint64_t handle)
{
	struct nlmsghdr *nlh = nft_put(nl, NFT_MSG_DELRULE, 0, 0, "remove an outdated rule");

	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, NFT_TABLE);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, chain);
	mnl_attr_put_u64(nlh, NFTA_RULE_HANDLE, htobe64(handle));
	netlink_put_end(nl, nlh);
}

struct expr {
	struct nlattr *elem, *data;
};

static struct expr expr_begin(struct nft_rule *r, const char *name)
{
	struct expr e = { .elem = mnl_attr_nest_start(r->nlh, NFTA_LIST_ELEM) };

	mnl_attr_put_strz(r->nlh, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(r->nlh, NFTA_EXPR_DATA);
	return e;
}

static void expr_end(struct nft_rule *r, struct expr e)
{
	mnl_attr_nest_end(r->nlh, e.data);
	mnl_attr_nest_end(r->nlh, e.elem);
}

static void put_u32(struct nft_rule *r, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(r->nlh, type, htonl(value));
}

static void put_value(struct nft_rule *r, uint16_t type, const void *value, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(r->nlh, type);

	mnl_attr_put(r->nlh, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(r->nlh, nest);
}

void nft_meta(struct nft_rule *r, enum nft_meta_keys key, uint32_t reg)
{
	struct expr e = expr_begin(r, "meta");

	put_u32(r, NFTA_META_DREG, reg);
	put_u32(r, NFTA_META_KEY, key);
	expr_end(r, e);
}

void nft_payload(struct nft_rule *r, enum nft_payload_bases base, uint32_t offset, uint32_t len, uint32_t reg)
{
	struct expr e = expr_begin(r, "payload");

	put_u32(r, NFTA_PAYLOAD_DREG, reg);
	put_u32(r, NFTA_PAYLOAD_BASE, base);
	put_u32(r, NFTA_PAYLOAD_OFFSET, offset);
	put_u32(r, NFTA_PAYLOAD_LEN, len);
	expr_end(r, e);
}

void nft_cmp(struct nft_rule *r, enum nft_cmp_ops op, const void *value, size_t len)
{
	struct expr e = expr_begin(r, "cmp");

	put_u32(r, NFTA_CMP_SREG, NFT_REG_1);
	put_u32(r, NFTA_CMP_OP, op);
	put_value(r, NFTA_CMP_DATA, value, len);
	expr_end(r, e);
}

void nft_mask(struct nft_rule *r, const void *mask, size_t len)
{
	static const uint8_t zero[16];
	struct expr e = expr_begin(r, "bitwise");

	put_u32(r, NFTA_BITWISE_SREG, NFT_REG_1);
	put_u32(r, NFTA_BITWISE_DREG, NFT_REG_1);
	put_u32(r, NFTA_BITWISE_LEN, (uint32_t)len);
	put_value(r, NFTA_BITWISE_MASK, mask, len);
	put_value(r, NFTA_BITWISE_XOR, zero, len);
	expr_end(r, e);
}

void nft_is_family(struct nft_rule *r, uint8_t family)
{
	uint8_t proto = family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;

	nft_meta(r, NFT_META_NFPROTO, NFT_REG_1);
	nft_cmp(r, NFT_CMP_EQ, &proto, sizeof(proto));
}

static void in_prefix(struct nft_rule *r, uint32_t at, enum nft_cmp_ops op, const struct ip_prefix *p)
{
	size_t size = conf_addr_size(p->addr.family);
	struct ip_prefix mask = { .addr.family = p->addr.family, .len = p->len };

	memset(mask.addr.bytes, 0xff, size);
	ip_prefix_mask(&mask);
	nft_payload(r, NFT_PAYLOAD_NETWORK_HEADER, at, (uint32_t)size, NFT_REG_1);
	nft_mask(r, mask.addr.bytes, size);
	nft_cmp(r, op, p->addr.bytes, size);
}

void nft_source(struct nft_rule *r, enum nft_cmp_ops op, const struct ip_prefix *p)
{
	in_prefix(r, p->addr.family == AF_INET6 ? V6_SOURCE : V4_SOURCE, op, p);
}

void nft_destination(struct nft_rule *r, enum nft_cmp_ops op, const struct ip_prefix *p)
{
	in_prefix(r, p->addr.family == AF_INET6 ? V6_DESTINATION : V4_DESTINATION, op, p);
}

void nft_is_local_destination(struct nft_rule *r)
{
	uint32_t local = RTN_LOCAL;
	struct expr e = expr_begin(r, "fib");

	put_u32(r, NFTA_FIB_DREG, NFT_REG_1);
	put_u32(r, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	put_u32(r, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	expr_end(r, e);
	nft_cmp(r, NFT_CMP_EQ, &local, sizeof(local));
}

void nft_is_translated(struct nft_rule *r)
{
	uint32_t bit = IPS_DST_NAT, zero = 0;
	struct expr e = expr_begin(r, "ct");

	put_u32(r, NFTA_CT_DREG, NFT_REG_1);
	put_u32(r, NFTA_CT_KEY, NFT_CT_STATUS);
	expr_end(r, e);
	nft_mask(r, &bit, sizeof(bit));
	nft_cmp(r, NFT_CMP_NEQ, &zero, sizeof(zero));
}

void nft_interface_in(struct nft_rule *r, const char *name)
{
	char padded[IFNAMSIZ] = "";

	snprintf(padded, sizeof(padded), "%s", name);
	nft_meta(r, NFT_META_IIFNAME, NFT_REG_1);
	nft_cmp(r, NFT_CMP_EQ, padded, sizeof(padded));
}

void nft_lookup(struct nft_rule *r, const char *map, uint32_t reg)
{
	struct expr e = expr_begin(r, "lookup");

	mnl_attr_put_strz(r->nlh, NFTA_LOOKUP_SET, map);
	put_u32(r, NFTA_LOOKUP_SREG, reg);
	put_u32(r, NFTA_LOOKUP_DREG, reg);
	expr_end(r, e);
}

void nft_dnat(struct nft_rule *r, uint8_t family, uint32_t addr_reg, uint32_t port_reg)
{
	struct expr e = expr_begin(r, "nat");

	put_u32(r, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	put_u32(r, NFTA_NAT_FAMILY, family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	put_u32(r, NFTA_NAT_REG_ADDR_MIN, addr_reg);
	put_u32(r, NFTA_NAT_REG_PROTO_MIN, port_reg);
	expr_end(r, e);
}

void nft_masquerade(struct nft_rule *r)
{
	expr_end(r, expr_begin(r, "masq"));
}

void nft_verdict(struct nft_rule *r, int verdict, const char *chain)
{
	struct expr e = expr_begin(r, "immediate");
	struct nlattr *data, *nest;

	put_u32(r, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = mnl_attr_nest_start(r->nlh, NFTA_IMMEDIATE_DATA);
	nest = mnl_attr_nest_start(r->nlh, NFTA_DATA_VERDICT);
	put_u32(r, NFTA_VERDICT_CODE, (uint32_t)verdict);
	if (chain)
		mnl_attr_put_strz(r->nlh, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(r->nlh, nest);
	mnl_attr_nest_end(r->nlh, data);
	expr_end(r, e);
}

/* What is there. */

static int rule_answer(const struct nlmsghdr *nlh, void *user)
{
	struct nft_marks *m = user;
	const struct nlattr *a;
	uint64_t handle = 0;
	const char *text = "";
	size_t len = 0, prefix = strlen(m->prefix);

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) == NFTA_RULE_HANDLE) {
			handle = be64toh(mnl_attr_get_u64(a));
		} else if (mnl_attr_get_type(a) == NFTA_RULE_USERDATA) {
			text = mnl_attr_get_payload(a);
			len = mnl_attr_get_payload_len(a);
		}
	}
	if (len < 3 + prefix || text[0] != 0 || memcmp(text + 2, m->prefix, prefix) != 0)
		return MNL_CB_OK;
	for (size_t i = 0; i < m->count; i++) {
		if (len == 3 + strlen(m->wanted[i]) && memcmp(text + 2, m->wanted[i], len - 3) == 0 && !(m->found & 1u << i)) {
			m->found |= 1u << i;
			return MNL_CB_OK;
		}
	}
	if (m->stale_count < NFT_STALE_MAX)
		m->stale[m->stale_count++] = handle;
	return MNL_CB_OK;
}

int nft_marks_read(struct netlink *nl, const char *chain, struct nft_marks *m, struct fail *f)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nft_marks clean = *m;
	int e = -EINTR;

	/* EINTR: somebody changed the rules while they were read. */
	for (int tries = 0; e == -EINTR && tries < READ_TRIES; tries++) {
		struct nlmsghdr *nlh = nft_ask(buf, NFT_MSG_GETRULE, NLM_F_DUMP);

		mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, NFT_TABLE);
		mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, chain);
		netlink_close(nl);
		if (netlink_open(nl, NETLINK_NETFILTER, f) < 0)
			return -EIO;
		*m = clean;
		e = netlink_ask(nl, nlh, rule_answer, m);
	}
	if (e == -ENOENT)
		return 0;
	if (e < 0)
		fail_record(f, FAIL_KERNEL, "read the nf_tables chain %s of table inet %s: %s", chain, NFT_TABLE, strerror(-e));
	return e;
}
