/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SCTP's checksum (RFC 9260, appendix A) after a change of the ports, without reading the packet. CRC is linear: the
 * checksums of two packets differ by the CRC, begun with zero, of their difference, which here is the first four bytes and
 * zeros from there to the end. Zeros are not fed one by one: n of them multiply by x^(8n) modulo the polynomial.
 */
#ifndef KEELSON_BPF_LIB_CRC32C_H
#define KEELSON_BPF_LIB_CRC32C_H

#include <linux/types.h>

#define CRC32C_POLYNOMIAL 0x82f63b78u /* bits reversed: x^31 is bit 0 */

/* x^(8 * 2^k) for k = 0...: multiplying by it feeds 2^k zero bytes. */
static const __u32 crc32c_power[16] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
	0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

static inline __attribute__((always_inline)) __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;
	for (int i = 31; i >= 0; i--) {
		product ^= b & -(a >> i & 1);
		b = b >> 1 ^ (CRC32C_POLYNOMIAL & -(b & 1));
	}
	return product;
}

/* How the checksum of a packet of n bytes (below 65536) changes when its first four bytes, read as little endian, change by
 * `difference` (their exclusive or). */
static __attribute__((noinline)) __u32 crc32c_change(__u32 difference, __u32 n)
{
	for (int k = 0; k < 16; k++)
		if (n >> k & 1)
			difference = crc32c_multiply(difference, crc32c_power[k]);
	return difference;
}

#endif
