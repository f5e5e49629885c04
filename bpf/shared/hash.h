/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hash that chooses a slot of an ABI_SET_HASH set. Every node must come to the same slot for the same client, so it has no
 * seed, and changing it is a change of the ABI. Words are taken as they lie in memory: nodes of one byte order agree.
 */
#ifndef KEELSON_BPF_SHARED_HASH_H
#define KEELSON_BPF_SHARED_HASH_H

#include "bpf/shared/abi.h"

/* A multiplication carries each bit upwards, the shift brings the upper half down again. */
static inline __attribute__((always_inline)) __u64 abi_hash_word(__u64 h, __u64 word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 32;
}

static inline __attribute__((always_inline)) __u64 abi_hash_pair(__u64 h, __u32 a, __u32 b)
{
	return abi_hash_word(h, (__u64)a << 32 | b);
}

static inline __attribute__((always_inline)) __u32 abi_hash_flow(const struct abi_flow_key *k)
{
	__u64 h = abi_hash_pair(k->proto, k->client[0], k->client[1]);
	h = abi_hash_pair(h, k->client[2], k->client[3]);
	h = abi_hash_pair(h, k->addr[0], k->addr[1]);
	h = abi_hash_pair(h, k->addr[2], k->addr[3]);
	h = abi_hash_pair(h, k->client_port, k->port);
	h *= 0xd6e8feb86659fd93ULL;
	return (__u32)(h >> 32);
}

#endif
