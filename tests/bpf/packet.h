/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets as bytes, for BPF_PROG_TEST_RUN: made with right checksums, and read again with their checksums verified. */
#ifndef KEELSON_TESTS_BPF_PACKET_H
#define KEELSON_TESTS_BPF_PACKET_H

#include "io/net.h"

enum { PACKET_BYTES = 2048 };
enum packet_kind { PACKET_NONE, PACKET_TRANSPORT, PACKET_RESET, PACKET_UNREACHABLE, PACKET_BAD_SUM };
struct packet {
	_Alignas(8) uint8_t data[PACKET_BYTES];
	size_t len;
};
struct packet_ends {
	struct ip_addr src, dst;
	uint16_t sport, dport;
	uint8_t proto;
};

/* The first packet of a connection (SYN, INIT) or a datagram, in an Ethernet frame for dst_mac. */
void packet_make(struct packet *p, const struct packet_ends *e, const uint8_t dst_mac[6]);
/* What a frame is; PACKET_BAD_SUM when a checksum or a length is wrong. */
enum packet_kind packet_read(const struct packet *p, struct packet_ends *ret);

#endif
