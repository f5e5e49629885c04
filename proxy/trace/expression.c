/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Terms are gathered by kind; the kernel gets the first of each, the rest is looked at here. */
#include "proxy/trace/expression.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

struct words {
	struct strlist list;
	size_t at;
};

static const char *peek(const struct words *w)
{
	return w->at < w->list.count ? w->list.items[w->at] : NULL;
}

static bool take(struct words *w, const char *word)
{
	if (!str_eq(peek(w), word))
		return false;
	w->at++;
	return true;
}

static int add_host(struct expression *x, const char *text, uint8_t side, struct err *err)
{
	struct ip_prefix p;
	if (!text)
		return err_set(err, EINVAL, "an address is missing at the end");
	if (ip_prefix_parse(text, &p) < 0) {
		if (ip_parse(text, &p.addr) < 0)
			return err_set(err, EINVAL, "\"%s\" is no IP address", text);
		p.len = p.addr.family == AF_INET ? 32 : 128;
	}
	if (x->host_count == EXPRESSION_TERMS_MAX)
		return err_set(err, EINVAL, "more than %d addresses", EXPRESSION_TERMS_MAX);
	uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff }, mask[16] = { 0 };
	unsigned bits = p.len + (p.addr.family == AF_INET ? 96u : 0);
	memcpy(p.addr.family == AF_INET ? bytes + 12 : bytes, p.addr.bytes, p.addr.family == AF_INET ? 4 : 16);
	for (unsigned i = 0; i < 128; i++)
		if (i < bits)
			mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	for (unsigned i = 0; i < 16; i++)
		bytes[i] &= mask[i];
	memcpy(x->hosts[x->host_count].addr, bytes, 16);
	memcpy(x->hosts[x->host_count].mask, mask, 16);
	x->hosts[x->host_count++].side = side;
	return 0;
}

static int add_port(struct expression *x, const char *text, uint8_t side, struct err *err)
{
	uint64_t port;
	if (!text || str_to_u64(text, 65535, &port) < 0 || port == 0)
		return err_set(err, EINVAL, "\"%s\" is no port (1-65535)", text ? text : "");
	if (x->port_count == EXPRESSION_TERMS_MAX)
		return err_set(err, EINVAL, "more than %d ports", EXPRESSION_TERMS_MAX);
	x->ports[x->port_count].port = htons((uint16_t)port);
	x->ports[x->port_count++].side = side;
	return 0;
}

static int set_proto(struct expression *x, uint8_t proto, struct err *err)
{
	if (x->proto && x->proto != proto)
		return err_set(err, EINVAL, "a packet cannot be of two protocols");
	x->proto = proto;
	return 0;
}

static int set_service(struct expression *x, const char *text, struct err *err)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	if (!slash || slash == text || !slash[1] || strchr(slash + 1, '/'))
		return err_set(err, EINVAL, "\"%s\": a Service is named NAMESPACE/NAME or NAMESPACE/NAME:PORT", text ? text : "");
	if (x->service)
		return err_set(err, EINVAL, "only one Service can be named");
	x->service = mem_strdup(text);
	return 0;
}

static int term(struct expression *x, struct words *w, struct err *err)
{
	static const struct {
		const char *word;
		uint8_t proto;
	} protos[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP }, { "icmp", IPPROTO_ICMP },
		       { "icmp6", IPPROTO_ICMPV6 } };
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++)
		if (take(w, protos[i].word))
			return set_proto(x, protos[i].proto, err);
	if (take(w, "drops")) {
		x->drops = true;
		return 0;
	}
	if (take(w, "service"))
		return set_service(x, w->at < w->list.count ? w->list.items[w->at++] : NULL, err);
	uint8_t side = take(w, "src") ? EXPRESSION_SRC : take(w, "dst") ? EXPRESSION_DST : EXPRESSION_EITHER;
	bool port = take(w, "port");
	if (!port && !take(w, "host") && !take(w, "net") && side == EXPRESSION_EITHER)
		return err_set(err, EINVAL, "\"%s\" is not understood; see keelson-proxy trace --help", peek(w));
	const char *value = peek(w);
	w->at += value != NULL;
	return port ? add_port(x, value, side, err) : add_host(x, value, side, err);
}

int expression_parse(struct expression *x, const char *const *words, size_t count, struct err *err)
{
	struct words w = { 0 };
	int r = 0;
	*x = (struct expression){ 0 };
	for (size_t i = 0; i < count; i++)
		strlist_split(&w.list, words[i], ' ');
	while (r == 0 && peek(&w)) {
		r = term(x, &w, err);
		if (r == 0 && take(&w, "and") && !peek(&w))
			r = err_set(err, EINVAL, "nothing follows the last \"and\"");
	}
	strlist_done(&w.list);
	if (r < 0)
		expression_done(x);
	return r;
}

void expression_done(struct expression *x)
{
	free(x->service);
	*x = (struct expression){ 0 };
}

void expression_filter(const struct expression *x, struct abi_trace_filter *ret)
{
	*ret = (struct abi_trace_filter){ .proto = x->proto, .drops_only = x->drops };
	if (x->set_count && x->set_count <= 2) {
		ret->set_id = x->sets[0];
		ret->set_id2 = x->set_count == 2 ? x->sets[1] : 0;
	}
	if (x->host_count) {
		bool dst = x->hosts[0].side == EXPRESSION_DST;
		memcpy(dst ? ret->dst : ret->src, x->hosts[0].addr, 16);
		memcpy(dst ? ret->dst_mask : ret->src_mask, x->hosts[0].mask, 16);
		ret->both_ways = x->hosts[0].side == EXPRESSION_EITHER;
	} else if (x->port_count) {
		bool dst = x->ports[0].side == EXPRESSION_DST;
		*(dst ? &ret->dport : &ret->sport) = x->ports[0].port;
		ret->both_ways = x->ports[0].side == EXPRESSION_EITHER;
	}
}

/* What a socket does not know yet fits. */
static bool addr_fits(const uint32_t *a, const uint32_t *want, const uint32_t *mask)
{
	if ((a[0] | a[1] | a[3]) == 0)
		return true;
	for (int i = 0; i < 4; i++)
		if ((a[i] ^ want[i]) & mask[i])
			return false;
	return true;
}

static bool tuple_fits(const struct expression *x, const struct abi_tuple *t)
{
	for (size_t i = 0; i < x->host_count; i++) {
		bool src = x->hosts[i].side != EXPRESSION_DST && addr_fits(t->saddr, x->hosts[i].addr, x->hosts[i].mask);
		bool dst = x->hosts[i].side != EXPRESSION_SRC && addr_fits(t->daddr, x->hosts[i].addr, x->hosts[i].mask);
		if (!src && !dst)
			return false;
	}
	for (size_t i = 0; i < x->port_count; i++) {
		bool src = x->ports[i].side != EXPRESSION_DST && (!t->sport || t->sport == x->ports[i].port);
		bool dst = x->ports[i].side != EXPRESSION_SRC && t->dport == x->ports[i].port;
		if (!src && !dst)
			return false;
	}
	return true;
}

bool expression_fits(const struct expression *x, const struct abi_trace_event *e)
{
	bool set = !x->service;
	for (size_t i = 0; i < x->set_count && !set; i++)
		set = e->set_id == x->sets[i];
	if (!set || (x->drops && !ABI_REASON_IS_DROP(e->reason & 63)))
		return false;
	if (x->proto && e->before.proto != x->proto && e->after.proto != x->proto)
		return false;
	return tuple_fits(x, &e->before) || tuple_fits(x, &e->after);
}
