/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Fragments: only the first tells the ports. It notes them for those that follow, under what the packet says on this side of
 * the translation. Datagrams that are no business of ours are not noted.
 */
#ifndef KEELSON_BPF_LIB_FRAGMENT_H
#define KEELSON_BPF_LIB_FRAGMENT_H

#include "bpf/lib/place.h"

static __always_inline void fragment_key(struct abi_fragment_key *key, const struct packet *p)
{
	addr_copy(key->saddr, p->t.saddr);
	addr_copy(key->daddr, p->t.daddr);
	key->id = p->id;
	key->proto = p->t.proto;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

/* The first fragment of a datagram that is being translated. */
static __always_inline void fragment_note(const struct packet *p)
{
	struct abi_fragment_key key;
	struct abi_fragment ports = { .sport = p->t.sport, .dport = p->t.dport };
	fragment_key(&key, p);
	bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
}

/* Gives a later fragment its ports; 0 when its first was not noted. */
static __always_inline int fragment_find(struct packet *p)
{
	struct abi_fragment_key key;
	fragment_key(&key, p);
	struct abi_fragment *f = bpf_map_lookup_elem(&fragments, &key);
	if (!f)
		return 0;
	p->t.sport = f->sport;
	p->t.dport = f->dport;
	return 1;
}

/* Whether nobody but us can have use for a fragment to this address: a Service's, or the one that answers are sent to. On an
 * address of the node it may be somebody else's, and out of order. */
static __always_inline int fragment_is_ours(const struct abi_config *c, const struct packet *p)
{
	struct abi_frontend_key key = { .scope = ABI_SCOPE_OWNED };
	if (addr_same(p->t.daddr, c->snat_pod[!p->v4]))
		return 1;
	addr_copy(key.addr, p->t.daddr);
	return bpf_map_lookup_elem(&frontends, &key) && !is_node_addr(p->t.daddr);
}

#endif
