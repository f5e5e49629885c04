/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading never trusts a length or a pointer: compression may only point backwards, so every name ends. */
#include "proxy/dns/wire.h"

#include <string.h>

#include "base/macros.h"

enum { EDNS_RECORD = 11 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static bool name_add(struct dns_name *n, const uint8_t *label, size_t len)
{
	if (n->len + 1 + len + 1 > DNS_NAME_MAX || n->labels == DNS_LABELS_MAX)
		return false;
	n->at[n->labels++] = n->len;
	n->wire[n->len++] = (uint8_t)len;
	for (size_t i = 0; i < len; i++)
		n->wire[n->len++] = lower(label[i]);
	return true;
}

bool dns_name_from_text(struct dns_name *n, const char *text)
{
	n->len = n->labels = 0;
	while (*text) {
		size_t len = strcspn(text, ".");
		if (len == 0 || len > 63 || !name_add(n, (const uint8_t *)text, len))
			return false;
		text += len;
		if (*text == '.')
			text++;
	}
	n->wire[n->len++] = 0;
	return true;
}

bool dns_name_read(const uint8_t *msg, size_t len, size_t *pos, struct dns_name *ret)
{
	size_t p = *pos, lowest = p, end = 0;
	ret->len = ret->labels = 0;
	for (;;) {
		if (p >= len)
			return false;
		uint8_t b = msg[p];
		if ((b & 0xc0) == 0xc0) {
			if (p + 1 >= len)
				return false;
			size_t to = (size_t)(b & 0x3f) << 8 | msg[p + 1];
			if (!end)
				end = p + 2;
			if (to >= lowest)
				return false;
			lowest = p = to;
			continue;
		}
		if (b & 0xc0 || p + 1 + b > len)
			return false;
		if (b == 0)
			break;
		if (!name_add(ret, msg + p + 1, b))
			return false;
		p += 1 + b;
	}
	ret->wire[ret->len++] = 0;
	*pos = end ? end : p + 1;
	return true;
}

bool dns_name_label(const struct dns_name *n, unsigned i, char out[static 64])
{
	const uint8_t *l = n->wire + n->at[i];
	for (unsigned k = 0; k < l[0]; k++) {
		if (l[1 + k] <= ' ' || l[1 + k] >= 0x7f || l[1 + k] == '.')
			return false;
		out[k] = (char)l[1 + k];
	}
	out[l[0]] = 0;
	return true;
}

int dns_name_under(const struct dns_name *n, const struct dns_name *suffix)
{
	if (suffix->labels > n->labels || suffix->len > n->len)
		return -1;
	unsigned left = n->labels - suffix->labels;
	size_t from = left == n->labels ? (size_t)n->len - 1 : n->at[left];
	if (n->len - from != suffix->len || memcmp(n->wire + from, suffix->wire, suffix->len) != 0)
		return -1;
	return (int)left;
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
	return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

bool dns_record_read(const uint8_t *msg, size_t len, size_t *pos, struct dns_record *ret)
{
	size_t p = *pos;
	if (!dns_name_read(msg, len, &p, &ret->owner) || len - p < 10)
		return false;
	ret->type = get16(msg + p);
	ret->rclass = get16(msg + p + 2);
	ret->ttl_s = (uint32_t)get16(msg + p + 4) << 16 | get16(msg + p + 6);
	ret->rdata_len = get16(msg + p + 8);
	ret->rdata = p + 10;
	if (len - ret->rdata < ret->rdata_len)
		return false;
	*pos = ret->rdata + ret->rdata_len;
	return true;
}

int dns_query_read(const uint8_t *msg, size_t len, struct dns_query *q)
{
	if (len < DNS_HEADER || msg[2] & 0x80)
		return -1;
	memset(q, 0, offsetof(struct dns_query, name));
	q->name.len = q->name.labels = 0;
	q->question_end = 0;
	q->edns = false;
	q->edns_version = 0;
	q->udp_size = DNS_UDP_MIN;
	q->id = get16(msg);
	q->flags = get16(msg + 2);
	if ((q->flags >> 11 & 0xf) != 0)
		return DNS_NOTIMP;
	if (get16(msg + 4) != 1 || get16(msg + 6) != 0 || get16(msg + 8) != 0)
		return DNS_FORMERR;
	size_t pos = DNS_HEADER;
	if (!dns_name_read(msg, len, &pos, &q->name) || len - pos < 4)
		return DNS_FORMERR;
	q->type = get16(msg + pos);
	q->qclass = get16(msg + pos + 2);
	q->question_end = pos + 4;
	pos = q->question_end;
	for (unsigned n = get16(msg + 10); n > 0; n--) {
		struct dns_record r;
		if (!dns_record_read(msg, len, &pos, &r))
			return DNS_FORMERR;
		if (r.type != DNS_OPT)
			continue;
		if (q->edns || r.owner.labels)
			return DNS_FORMERR;
		q->edns = true;
		q->edns_version = (uint8_t)(r.ttl_s >> 16);
		q->udp_size = r.rclass < DNS_UDP_MIN ? DNS_UDP_MIN : r.rclass;
	}
	return 0;
}

void dns_begin(struct dns_writer *w, uint8_t *buf, size_t cap, size_t limit, const struct dns_query *q)
{
	*w = (struct dns_writer){ .buf = buf, .cap = cap, .len = DNS_HEADER, .limit = MIN(limit, cap), .query = q };
	BUG_ON(cap < DNS_UDP_MIN);
	memset(buf, 0, DNS_HEADER);
	if (!q->question_end)
		return;
	memcpy(buf + w->len, q->name.wire, q->name.len);
	w->len += q->name.len;
	put16(buf + w->len, q->type);
	put16(buf + w->len + 2, q->qclass);
	w->len += 4;
	w->counts[0] = 1;
	/* Room for the EDNS record is kept. */
	if (q->edns)
		w->limit -= EDNS_RECORD;
}

/* Writes owner, type, class and ttl, and leaves room for rdata_len; NULL when it does not fit. */
static uint8_t *record_begin(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type,
			     uint32_t ttl_s, size_t rdata_len)
{
	for (unsigned later = s + 1; later < 4; later++)
		BUG_ON(w->counts[later]); /* a message has its sections in order */
	bool same = !owner || dns_name_eq(owner, &w->query->name);
	size_t owner_len = same ? 2 : owner->len;
	if (w->truncated || w->len + owner_len + 10 + rdata_len > w->limit) {
		/* Additional records are a courtesy: leaving them out loses nothing (RFC 2181 section 9). */
		if (s != DNS_ADDITIONAL)
			w->truncated = true;
		return NULL;
	}
	uint8_t *p = w->buf + w->len;
	if (same)
		put16(p, 0xc000 | DNS_HEADER);
	else
		memcpy(p, owner->wire, owner->len);
	p += owner_len;
	put16(p, type);
	put16(p + 2, DNS_IN);
	put32(p + 4, ttl_s);
	put16(p + 8, (unsigned)rdata_len);
	w->len += owner_len + 10 + rdata_len;
	w->counts[s]++;
	return p + 10;
}

void dns_put(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type, uint32_t ttl_s,
	     const void *rdata, uint16_t rdata_len)
{
	uint8_t *p = record_begin(w, s, owner, type, ttl_s, rdata_len);
	if (p)
		memcpy(p, rdata, rdata_len);
}

void dns_put_name(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type, uint32_t ttl_s,
		  const struct dns_name *target)
{
	dns_put(w, s, owner, type, ttl_s, target->wire, target->len);
}

void dns_put_srv(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint32_t ttl_s, uint16_t weight,
		 uint16_t port, const struct dns_name *target)
{
	uint8_t *p = record_begin(w, s, owner, DNS_SRV, ttl_s, 6 + (size_t)target->len);
	if (!p)
		return;
	put16(p, 0);
	put16(p + 2, weight);
	put16(p + 4, port);
	memcpy(p + 6, target->wire, target->len);
}

void dns_put_soa(struct dns_writer *w, enum dns_section s, const struct dns_name *zone, const struct dns_name *server,
		 uint32_t ttl_s)
{
	static const uint32_t numbers[5] = { 1, 7200, 1800, 86400, 5 };
	uint8_t *p = record_begin(w, s, zone, DNS_SOA, ttl_s, 2 * (size_t)server->len + 20);
	if (!p)
		return;
	memcpy(p, server->wire, server->len);
	memcpy(p + server->len, server->wire, server->len);
	for (size_t i = 0; i < 5; i++)
		put32(p + 2 * server->len + 4 * i, numbers[i]);
}

size_t dns_end(struct dns_writer *w, int rcode, bool authoritative)
{
	const struct dns_query *q = w->query;
	if (w->counts[0] && q->edns) {
		uint8_t *p = w->buf + w->len;
		p[0] = 0;
		put16(p + 1, DNS_OPT);
		put16(p + 3, DNS_EDNS_SIZE);
		put32(p + 5, (uint32_t)(rcode >> 4) << 24);
		put16(p + 9, 0);
		w->len += EDNS_RECORD;
		w->counts[3]++;
	}
	/* QR, opcode and RD as asked, AA, TC, RA. */
	unsigned flags = 0x8000 | (q->flags & 0x7900) | (authoritative ? 0x0400 : 0) | (w->truncated ? 0x0200 : 0) | 0x0080 |
			 ((unsigned)rcode & 0xf);
	put16(w->buf, q->id);
	put16(w->buf + 2, flags);
	for (size_t i = 0; i < 4; i++)
		put16(w->buf + 4 + 2 * i, w->counts[i]);
	return w->len;
}

size_t dns_refusal(uint8_t *buf, size_t cap, const uint8_t *msg, size_t len, const struct dns_query *q, int rcode)
{
	struct dns_query bare = { 0 };
	struct dns_writer w;
	if (!q || !q->question_end) {
		if (len < 4)
			return 0;
		bare.id = get16(msg);
		bare.flags = get16(msg + 2);
		q = &bare;
	}
	dns_begin(&w, buf, cap, DNS_UDP_MIN, q);
	return dns_end(&w, rcode, false);
}
