/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a trace is to show, in the simplest words of tcpdump(8):
 *   [src|dst] [host] ADDRESS[/LEN] | [src|dst] port N | tcp | udp | sctp | icmp | service NS/NAME[:PORT] | drops
 * joined by `and` (or by nothing). A packet fits when it does as it came or as it left.
 */
#ifndef KEELSON_PROXY_TRACE_EXPRESSION_H
#define KEELSON_PROXY_TRACE_EXPRESSION_H

#include "base/err.h"
#include "bpf/shared/abi.h"
#include "io/net.h"

enum { EXPRESSION_TERMS_MAX = 16, EXPRESSION_SETS_MAX = 512 };
enum expression_side { EXPRESSION_EITHER, EXPRESSION_SRC, EXPRESSION_DST };
struct expression {
	struct {
		uint32_t addr[4], mask[4];
		uint8_t side;
	} hosts[EXPRESSION_TERMS_MAX];
	struct {
		__be16 port;
		uint8_t side;
	} ports[EXPRESSION_TERMS_MAX];
	size_t host_count, port_count;
	uint8_t proto;       /* 0: any */
	bool drops;
	char *service;       /* own: "NS/NAME" or "NS/NAME:PORT"; NULL: any */
	uint32_t sets[EXPRESSION_SETS_MAX]; /* of that Service, found by the caller */
	size_t set_count;
};
/* words: argv-like; a word may hold several separated by blanks. -EINVAL with what was not understood. */
int expression_parse(struct expression *x, const char *const *words, size_t count, struct err *err);
void expression_done(struct expression *x);
/* What the kernel can decide alone; it lets through all that fits, and may let through more. */
void expression_filter(const struct expression *x, struct abi_trace_filter *ret);
bool expression_fits(const struct expression *x, const struct abi_trace_event *e);

#endif
