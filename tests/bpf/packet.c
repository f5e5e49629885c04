/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Written from the RFCs (791, 8200, 9293, 768, 9260), with nothing of the programs under test. */
#include "tests/bpf/packet.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

enum { TCP_BYTES = 20, UDP_BYTES = 8, SCTP_BYTES = 12, INIT_BYTES = 20, PAYLOAD = 24, TCP_SYN = 2, TCP_RST = 4 };

static uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return len % 2 ? sum + ((uint32_t)p[len - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int b = 0; b < 8; b++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static size_t ip_bytes(uint8_t family)
{
	return family == AF_INET ? 20 : 40;
}

static size_t addr_bytes(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

static uint16_t pseudo_sum(const struct packet_ends *e, uint8_t proto, const uint8_t *l4, size_t len)
{
	uint32_t sum = (uint32_t)len + proto;
	sum = sum16(e->src.bytes, addr_bytes(e->src.family), sum);
	sum = sum16(e->dst.bytes, addr_bytes(e->dst.family), sum);
	return fold(sum16(l4, len, sum));
}

static void make_ip(uint8_t *ip, const struct packet_ends *e, size_t payload)
{
	if (e->dst.family == AF_INET) {
		ip[0] = 0x45;
		put16(ip + 2, (uint16_t)(20 + payload));
		put16(ip + 6, 0x4000);
		ip[8] = 64;
		ip[9] = e->proto;
		memcpy(ip + 12, e->src.bytes, 4);
		memcpy(ip + 16, e->dst.bytes, 4);
		put16(ip + 10, fold(sum16(ip, 20, 0)));
		return;
	}
	ip[0] = 0x60;
	put16(ip + 4, (uint16_t)payload);
	ip[6] = e->proto;
	ip[7] = 64;
	memcpy(ip + 8, e->src.bytes, 16);
	memcpy(ip + 24, e->dst.bytes, 16);
}

void packet_make(struct packet *p, const struct packet_ends *e, const uint8_t dst_mac[6])
{
	uint8_t *ip = p->data + ETH_HLEN, *l4 = ip + ip_bytes(e->dst.family);
	size_t len;
	memset(p, 0, sizeof(*p));
	memcpy(p->data, dst_mac, 6);
	p->data[6] = 2;
	put16(p->data + 12, e->dst.family == AF_INET ? ETH_P_IP : ETH_P_IPV6);
	put16(l4, e->sport);
	put16(l4 + 2, e->dport);
	if (e->proto == IPPROTO_TCP) {
		len = TCP_BYTES;
		l4[12] = TCP_BYTES / 4 << 4;
		l4[13] = TCP_SYN;
		put16(l4 + 14, 65535);
		put16(l4 + 16, pseudo_sum(e, e->proto, l4, len));
	} else if (e->proto == IPPROTO_UDP) {
		len = UDP_BYTES + PAYLOAD;
		put16(l4 + 4, (uint16_t)len);
		memset(l4 + UDP_BYTES, 'u', PAYLOAD);
		uint16_t sum = pseudo_sum(e, e->proto, l4, len);
		put16(l4 + 6, sum ? sum : 0xffff); /* zero would say that there is none */
	} else {
		len = SCTP_BYTES + INIT_BYTES;
		l4[SCTP_BYTES] = 1; /* INIT */
		put16(l4 + SCTP_BYTES + 2, INIT_BYTES);
		l4[SCTP_BYTES + 7] = 7; /* initiate tag */
		put16(l4 + SCTP_BYTES + 8, 0x7fff);
		put16(l4 + SCTP_BYTES + 12, 1);
		put16(l4 + SCTP_BYTES + 14, 1);
		uint32_t crc = crc32c(l4, len); /* sent with its low byte first */
		memcpy(l4 + 8, (uint8_t[]){ (uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16), (uint8_t)(crc >> 24) }, 4);
	}
	make_ip(ip, e, len);
	p->len = (size_t)(l4 - p->data) + len;
}

static enum packet_kind read_sctp(const uint8_t *l4, size_t len)
{
	uint8_t copy[PACKET_BYTES];
	if (len < SCTP_BYTES)
		return PACKET_BAD_SUM;
	memcpy(copy, l4, len);
	memset(copy + 8, 0, 4);
	uint32_t crc = crc32c(copy, len);
	return l4[8] == (crc & 255) && l4[9] == (crc >> 8 & 255) && l4[10] == (crc >> 16 & 255) && l4[11] == crc >> 24 ?
		       PACKET_TRANSPORT :
		       PACKET_BAD_SUM;
}

enum packet_kind packet_read(const struct packet *p, struct packet_ends *e)
{
	const uint8_t *ip = p->data + ETH_HLEN;
	*e = (struct packet_ends){ 0 };
	if (p->len < ETH_HLEN + 28)
		return PACKET_NONE;
	uint8_t family = ip[0] >> 4 == 4 ? AF_INET : AF_INET6;
	size_t head = ip_bytes(family), have = p->len - ETH_HLEN;
	size_t said = family == AF_INET ? get16(ip + 2) : get16(ip + 4) + 40u;
	e->proto = family == AF_INET ? ip[9] : ip[6];
	e->src.family = e->dst.family = family;
	memcpy(e->src.bytes, ip + (family == AF_INET ? 12 : 8), addr_bytes(family));
	memcpy(e->dst.bytes, ip + (family == AF_INET ? 16 : 24), addr_bytes(family));
	if (said > have || said < head + 8 || (family == AF_INET && fold(sum16(ip, 20, 0)) != 0))
		return PACKET_BAD_SUM;
	const uint8_t *l4 = ip + head;
	size_t len = said - head;
	if (e->proto == IPPROTO_ICMP && family == AF_INET)
		return fold(sum16(l4, len, 0)) ? PACKET_BAD_SUM :
		       l4[0] == ICMP_DEST_UNREACH && l4[1] == ICMP_PORT_UNREACH ? PACKET_UNREACHABLE : PACKET_NONE;
	if (e->proto == IPPROTO_ICMPV6 && family == AF_INET6)
		return pseudo_sum(e, e->proto, l4, len) ? PACKET_BAD_SUM :
		       l4[0] == ICMP6_DST_UNREACH && l4[1] == ICMP6_DST_UNREACH_NOPORT ? PACKET_UNREACHABLE : PACKET_NONE;
	e->sport = get16(l4);
	e->dport = get16(l4 + 2);
	if (e->proto == IPPROTO_SCTP)
		return read_sctp(l4, len);
	bool none = e->proto == IPPROTO_UDP && get16(l4 + 6) == 0;
	if (none || pseudo_sum(e, e->proto, l4, len))
		return PACKET_BAD_SUM;
	return e->proto == IPPROTO_TCP && l4[13] & TCP_RST ? PACKET_RESET : PACKET_TRANSPORT;
}
