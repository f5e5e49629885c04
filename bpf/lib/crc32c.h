/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SCTP's checksum (RFC 9260, appendix A) after a change of the ports, without reading the packet. CRC is linear: the
 * checksums of two packets differ by the CRC, begun with zero, of their difference, which here is the first four bytes and
 * zeros from there to the end. Zeros are not fed one by one: n of them multiply by x^(8n) modulo the polynomial.
 */
#ifndef KEELSON_BPF_LIB_CRC32C_H
#define KEELSON_BPF_LIB_CRC32C_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define CRC32C_POLYNOMIAL 0x82f63b78u /* bits reversed: x^31 is bit 0 */

/* x^(8 * 2^k) for k = 0...: multiplying by it feeds 2^k zero bytes. */
static const __u32 crc32c_power[16] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
	0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

static __always_inline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;
	for (int i = 31; i >= 0; i--) {
		product ^= b & -(a >> i & 1);
		b = b >> 1 ^ (CRC32C_POLYNOMIAL & -(b & 1));
	}
	return product;
}

struct crc32c_zeros {
	__u32 difference, n; /* n: bytes of zeros to come, in units of 2^k */
};

static long crc32c_feed(__u32 k, struct crc32c_zeros *z)
{
	if (z->n & 1)
		z->difference = crc32c_multiply(z->difference, crc32c_power[k & 15]);
	z->n >>= 1;
	return z->n == 0;
}

/* How the checksum of a packet of n bytes (below 65536) changes when its first four bytes, read as little endian, change by
 * `difference` (their exclusive or). */
static __always_inline __u32 crc32c_change(__u32 difference, __u32 n)
{
	struct crc32c_zeros z = { .difference = difference, .n = n };
	bpf_loop(16, crc32c_feed, &z, 0);
	return z.difference;
}

#endif
