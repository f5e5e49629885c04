/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shares: weights are reduced by their greatest common divisor; a sum that is still too large is scaled down, everybody
 * keeping at least one slot and the rounding spread by largest remainder. Maglev: backends take turns, each taking the
 * next free entry of a permutation of its own; a smaller weight sits out turns.
 */
#include "proxy/engine/ebpf/slots.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* Primes below powers of two, so that a table fills its run. A fourfold step keeps changes of the size, which move every
 * entry, rare. */
static const uint32_t table_sizes[] = { 251, 1021, 4093, 16381 };

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t t = a % b;
		a = b;
		b = t;
	}
	return a;
}

struct remainder {
	uint64_t rest;
	uint32_t at;
};

static int remainder_cmp(const void *a, const void *b)
{
	const struct remainder *x = a, *y = b;
	if (x->rest != y->rest)
		return x->rest > y->rest ? -1 : 1;
	return x->at < y->at ? -1 : 1;
}

/* How many slots each backend gets when `sum` of weights must fit into `limit`: share[i], at least 1. Returns their sum. */
static uint32_t scale(const struct slot_backend *b, uint32_t n, uint64_t sum, uint32_t limit, uint32_t *share)
{
	_cleanup_free_ struct remainder *rest = mem_new_n(struct remainder, n);
	uint32_t given = 0, rests = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t exact = (uint64_t)b[i].weight * limit;
		share[i] = (uint32_t)(exact / sum);
		if (share[i])
			rest[rests++] = (struct remainder){ exact % sum, i };
		else if (b[i].weight)
			share[i] = 1;
		given += share[i];
	}
	if (rests > 1)
		qsort(rest, rests, sizeof(*rest), remainder_cmp);
	for (uint32_t i = 0; i < rests && given < limit; i++, given++)
		share[rest[i].at]++;
	return given;
}

static uint32_t build_shares(const struct slot_backend *b, uint32_t n, uint32_t **ret)
{
	_cleanup_free_ uint32_t *share = mem_new_n(uint32_t, n);
	uint32_t divisor = 0, limit = MAX((uint32_t)SLOTS_SHARES_MIN, n * SLOTS_SHARES_PER_BACKEND), count = 0, at = 0;
	uint64_t sum = 0;
	for (uint32_t i = 0; i < n; i++) {
		divisor = gcd(divisor, b[i].weight);
		sum += b[i].weight;
	}
	if (!sum)
		return 0;
	if (sum / divisor > limit) {
		count = scale(b, n, sum, limit, share);
	} else {
		count = (uint32_t)(sum / divisor);
		for (uint32_t i = 0; i < n; i++)
			share[i] = b[i].weight / divisor;
	}
	*ret = mem_new_n(uint32_t, count);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < share[i]; k++)
			(*ret)[at++] = i;
	return count;
}

/* The finalizer of splitmix64: spreads what a multiplicative hash leaves in the low bits. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

struct permutation {
	uint32_t next, skip; /* the entry it would like next, and the step from there */
	uint32_t credit;
};

static void permutation_init(struct permutation *p, const struct slot_backend *b, uint32_t size)
{
	uint8_t name[18];
	memcpy(name, b->addr, 16);
	memcpy(name + 16, &b->port_be, 2);
	uint64_t h = hash_bytes(name, sizeof(name), 0);
	p->next = (uint32_t)(mix(h) % size);
	p->skip = (uint32_t)(mix(h + 0x9e3779b97f4a7c15u) % (size - 1)) + 1;
}

static uint32_t build_maglev(const struct slot_backend *b, uint32_t n, uint32_t **ret)
{
	enum { FREE = UINT32_MAX };
	uint32_t takers = 0, heaviest = 0, taken = 0;
	for (uint32_t i = 0; i < n; i++) {
		takers += b[i].weight != 0;
		heaviest = MAX(heaviest, (uint32_t)b[i].weight);
	}
	if (!takers)
		return 0;
	size_t k = 0;
	while (k + 1 < ARRAY_SIZE(table_sizes) && (uint64_t)takers * SLOTS_MAGLEV_PER_BACKEND > table_sizes[k])
		k++;
	uint32_t size = table_sizes[k], *table = mem_new_n(uint32_t, size);
	_cleanup_free_ struct permutation *p = mem_new_n(struct permutation, n);
	memset(table, 0xff, size * sizeof(*table));
	for (uint32_t i = 0; i < n; i++) {
		permutation_init(&p[i], &b[i], size);
		p[i].credit = b[i].weight ? heaviest - b[i].weight : 0; /* the first turn is everybody's: none is left out */
	}
	while (taken < size)
		for (uint32_t i = 0; i < n && taken < size; i++) {
			p[i].credit += b[i].weight;
			if (p[i].credit < heaviest)
				continue;
			p[i].credit -= heaviest;
			while (table[p[i].next] != FREE)
				p[i].next = (p[i].next + p[i].skip) % size;
			table[p[i].next] = i;
			taken++;
		}
	*ret = table;
	return size;
}

uint32_t slots_build(enum slot_kind kind, const struct slot_backend *b, uint32_t n, uint32_t **ret)
{
	*ret = NULL;
	if (!n)
		return 0;
	return kind == SLOTS_MAGLEV ? build_maglev(b, n, ret) : build_shares(b, n, ret);
}
