/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hash that chooses slots: every input bit counts, slots are used evenly, and its values are part of the ABI. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "bpf/shared/hash.h"

static struct abi_flow_key flow(uint32_t client, uint16_t client_port)
{
	struct abi_flow_key k = { .client = { 0, 0, htonl(0xffff), htonl(client) }, .client_port = htons(client_port),
				  .addr = { 0, 0, htonl(0xffff), htonl(0xc000020a) }, .port = htons(80), .proto = 6 };
	return k;
}

static void test_values_are_fixed(void **state)
{
	(void)state;
	struct abi_flow_key k = flow(0xc0000214, 40000);
	uint32_t h = abi_hash_flow(&k);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	assert_int_equal(h, 0x2c555c69u);
#endif
	k.pad[0] = 1; /* not looked at */
	assert_int_equal(abi_hash_flow(&k), h);
}

/* Flipping any bit of the input flips about half of the output's. */
static void test_every_bit_counts(void **state)
{
	(void)state;
	enum { KEYS = 200 };
	struct abi_flow_key k;
	for (size_t bit = 0; bit < offsetof(struct abi_flow_key, pad) * 8; bit++) {
		unsigned flipped = 0;
		for (unsigned i = 0; i < KEYS; i++) {
			k = flow(0x0a000000 + i * 7, (uint16_t)(1024 + i * 13));
			uint32_t before = abi_hash_flow(&k);
			((uint8_t *)&k)[bit / 8] ^= (uint8_t)(1 << bit % 8);
			flipped += (unsigned)__builtin_popcount(before ^ abi_hash_flow(&k));
		}
		assert_true(flipped > KEYS * 12 && flipped < KEYS * 20);
	}
}

/* Neighbouring ports of one client, and neighbouring clients, spread over a prime number of slots: chi squared, whose
 * expectation is SLOTS - 1 and whose standard deviation about 22. */
static void test_slots_are_even(void **state)
{
	(void)state;
	enum { SLOTS = 251, PER_SLOT = 100 };
	for (int by_port = 0; by_port < 2; by_port++) {
		unsigned seen[SLOTS] = { 0 };
		double chi = 0;
		for (unsigned i = 0; i < SLOTS * PER_SLOT; i++) {
			struct abi_flow_key k = by_port ? flow(0xc0000214, (uint16_t)(1024 + i)) : flow(0x0a000000 + i, 40000);
			seen[((uint64_t)abi_hash_flow(&k) * SLOTS) >> 32]++;
		}
		for (unsigned i = 0; i < SLOTS; i++)
			chi += ((double)seen[i] - PER_SLOT) * ((double)seen[i] - PER_SLOT) / PER_SLOT;
		assert_true(chi < SLOTS + 6 * 22);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_fixed),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_slots_are_even),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
