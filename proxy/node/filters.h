/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether somebody filters what this network namespace forwards: then Services' packets must not pass its stack by. nftables'
 * base chains (iptables-nft's among them) that are no NAT and hold a rule or a policy, at prerouting, forward, postrouting or
 * ingress, other than keelson's own, or where a bridge takes frames in; and every table but nat of the older iptables, whose
 * rules cost too much to be read.
 */
#ifndef KEELSON_PROXY_NODE_FILTERS_H
#define KEELSON_PROXY_NODE_FILTERS_H

#include <stdbool.h>
#include <stdint.h>

enum { FILTERS_TEXT_SIZE = 160 };
/* Zero-initialize. */
struct filters {
	bool known;          /* everything below is as the kernel had it at `generation` */
	uint32_t generation; /* of nftables' rules */
	char nftables[FILTERS_TEXT_SIZE], legacy[FILTERS_TEXT_SIZE]; /* the first found; "": none */
};
/* Reads what changed since the last look; most looks are one question to the kernel. What cannot be read counts as a filter. */
void filters_look(struct filters *f);
/* What filters, in words for a log; NULL: nothing does. */
const char *filters_found(const struct filters *f);

#endif
