/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to nf_tables about the table "inet keelson", and the expressions of its rules. Batches are all or nothing. */
#ifndef KEELSON_CNI_NFT_H
#define KEELSON_CNI_NFT_H

/* The C library's addresses before the kernel's. */
#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "cni/conf.h"
#include "cni/netlink.h"

#define NFT_TABLE "keelson"

enum { NFT_MARK_SIZE = 253, NFT_STALE_MAX = 16 };

/* A request of type NFT_MSG_*; the caller appends attributes and calls netlink_put_end(). tolerated: errno or 0. */
struct nlmsghdr *nft_put(struct netlink *nl, uint16_t type, uint16_t flags, int tolerated, const char *what);
void nft_put_begin(struct netlink *nl);
void nft_put_commit(struct netlink *nl);
/* The table and one of its chains when they are missing. hook: enum nf_inet_hooks, or -1 for a chain that is only jumped to.
 * type: "nat", "filter". */
void nft_put_table(struct netlink *nl);
void nft_put_chain(struct netlink *nl, const char *name, const char *type, int hook, int priority);

/* Header of a request for netlink_ask(), in the caller's buffer. */
struct nlmsghdr *nft_ask(void *buf, uint16_t type, uint16_t flags);

/* The text of a rule's comment, cut to what the kernel takes: two that differ only behind that count as one. */
void nft_mark(char out[static NFT_MARK_SIZE], const char *fmt, ...) _printf_(2, 3);
/* A rule: begin, expressions, end with the text that nft shows as its comment and by which the rule is found again. */
struct nft_rule {
	struct netlink *nl;
	struct nlmsghdr *nlh;
	struct nlattr *list;
};
struct nft_rule nft_rule_begin(struct netlink *nl, const char *chain, const char *what);
void nft_rule_end(struct nft_rule *r, const char *mark);
void nft_rule_del(struct netlink *nl, const char *chain, uint64_t handle);
/* Expressions; reg: enum nft_registers. */
void nft_meta(struct nft_rule *r, enum nft_meta_keys key, uint32_t reg);
void nft_payload(struct nft_rule *r, enum nft_payload_bases base, uint32_t offset, uint32_t len, uint32_t reg);
void nft_cmp(struct nft_rule *r, enum nft_cmp_ops op, const void *value, size_t len); /* NFT_REG_1 */
void nft_mask(struct nft_rule *r, const void *mask, size_t len);                      /* NFT_REG_1 */
void nft_is_family(struct nft_rule *r, uint8_t family);
/* Source (offset of the header's field) or destination inside a prefix, or not. */
void nft_source(struct nft_rule *r, enum nft_cmp_ops op, const struct ip_prefix *p);
void nft_destination(struct nft_rule *r, enum nft_cmp_ops op, const struct ip_prefix *p);
void nft_is_local_destination(struct nft_rule *r);
void nft_is_translated(struct nft_rule *r); /* ct status dnat */
void nft_interface_in(struct nft_rule *r, const char *name);
void nft_lookup(struct nft_rule *r, const char *map, uint32_t reg); /* key and value from reg on */
void nft_dnat(struct nft_rule *r, uint8_t family, uint32_t addr_reg, uint32_t port_reg);
void nft_masquerade(struct nft_rule *r);
void nft_verdict(struct nft_rule *r, int verdict, const char *chain); /* NF_DROP; NFT_JUMP with a chain */

/* What a chain has of the rules that somebody wants. */
struct nft_marks {
	const char *prefix;         /* rules whose comments begin so are of the one who asks */
	const char *const *wanted;  /* comments */
	size_t count;
	unsigned found;             /* bit i: wanted[i] is there (count at most 32) */
	uint64_t stale[NFT_STALE_MAX]; /* handles of others of this prefix, and of those that are there twice */
	size_t stale_count;
};
/* Reads a chain; one that is missing has no rules. 0 or -errno; opens nl anew. */
int nft_marks_read(struct netlink *nl, const char *chain, struct nft_marks *m, struct fail *f);

#endif
