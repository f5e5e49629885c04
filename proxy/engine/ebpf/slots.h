/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a set's slots hold: which backend stands in which slot. Pure, and a function of its input alone, so that every node
 * that knows the same backends builds the same table.
 */
#ifndef KEELSON_PROXY_ENGINE_EBPF_SLOTS_H
#define KEELSON_PROXY_ENGINE_EBPF_SLOTS_H

#include <stddef.h>
#include <stdint.h>

struct slot_backend {
	uint32_t addr[4];
	uint16_t port_be;
	uint8_t weight; /* 0: no slot */
};
enum slot_kind {
	SLOTS_SHARES, /* a backend stands in as many slots as its share of the weights; any slot may be picked */
	SLOTS_MAGLEV, /* a consistent table (Eisenbud et al., NSDI 2016): a hash picks the slot */
};
enum {
	SLOTS_MAGLEV_PER_BACKEND = 100, /* entries a backend while the largest table allows */
	SLOTS_SHARES_PER_BACKEND = 8,   /* uneven weights get a run of at most so many slots a backend, ... */
	SLOTS_SHARES_MIN = 512,         /* ... or this */
};
/* Writes indexes into b, which is sorted by address and port; *ret (own) is NULL when the return value is 0: no backend
 * has a weight. */
uint32_t slots_build(enum slot_kind kind, const struct slot_backend *b, uint32_t n, uint32_t **ret);

#endif
