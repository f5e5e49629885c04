/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP addresses and prefixes as values: pure, and apart from net.c so that a small program needs no netlink library. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "io/net.h"

static unsigned addr_size(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

int ip_parse(const char *s, struct ip_addr *ret)
{
	struct ip_addr a = { 0 };

	if (!s)
		return -EINVAL;
	/* inet_pton() refuses blanks, and for IPv4 leading zeros and short forms. */
	if (inet_pton(AF_INET, s, a.bytes) == 1)
		a.family = AF_INET;
	else if (inet_pton(AF_INET6, s, a.bytes) == 1)
		a.family = AF_INET6;
	else
		return -EINVAL;
	*ret = a;
	return 0;
}

int ip_prefix_parse(const char *s, struct ip_prefix *ret)
{
	char text[INET6_ADDRSTRLEN];
	const char *slash = s ? strchr(s, '/') : NULL;
	struct ip_prefix p;
	uint64_t len;

	if (!slash || (size_t)(slash - s) >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, (size_t)(slash - s));
	text[slash - s] = '\0';
	if (ip_parse(text, &p.addr) < 0 || (slash[1] == '0' && slash[2]) ||
	    str_to_u64(slash + 1, addr_size(p.addr.family) * 8, &len) < 0)
		return -EINVAL;
	p.len = (uint8_t)len;
	*ret = p;
	return 0;
}

int ip_ranges_parse(const char *s, struct ip_ranges *ret, unsigned *ret_first)
{
	struct ip_ranges out = { 0 };
	char text[2 * IP_PREFIX_TEXT_SIZE], *save = NULL;
	bool first = true;

	if (!s || strlen(s) >= sizeof(text) || s[0] == ',' || strstr(s, ",,") || (*s && s[strlen(s) - 1] == ','))
		return -EINVAL;
	memcpy(text, s, strlen(s) + 1);
	for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save), first = false) {
		struct ip_prefix one;

		if (ip_prefix_parse(p, &one) < 0 || out.v[ip_family_index(one.addr.family)].addr.family)
			return -EINVAL;
		ip_prefix_mask(&one);
		out.v[ip_family_index(one.addr.family)] = one;
		if (first && ret_first)
			*ret_first = ip_family_index(one.addr.family);
	}
	if (first)
		return -EINVAL;
	*ret = out;
	return 0;
}

bool ip_ranges_contain(const struct ip_ranges *r, const struct ip_addr *a)
{
	const struct ip_prefix *p = &r->v[ip_family_index(a->family)];

	return a->family && p->addr.family && ip_prefix_contains(p, a);
}

void ip_prefix_mask(struct ip_prefix *p)
{
	for (unsigned i = 0; i < sizeof(p->addr.bytes); i++) {
		unsigned keep = p->len > i * 8 ? MIN(p->len - i * 8, 8u) : 0;

		p->addr.bytes[i] &= (uint8_t)(0xff00 >> keep);
	}
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
	struct ip_prefix x = { .addr = *a, .len = p->len }, y = *p;

	if (p->addr.family != a->family)
		return false;
	ip_prefix_mask(&x);
	ip_prefix_mask(&y);
	return ip_addr_eq(&x.addr, &y.addr);
}

bool ip_addr_eq(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, addr_size(a->family)) == 0;
}

bool ip_addr_add(struct ip_addr *a, uint64_t n)
{
	struct ip_addr sum = *a;

	for (unsigned i = addr_size(a->family); i-- > 0;) {
		n += sum.bytes[i];
		sum.bytes[i] = (uint8_t)n;
		n >>= 8;
	}
	if (n)
		return false;
	*a = sum;
	return true;
}

const char *ip_format(const struct ip_addr *a, char out[static IP_ADDR_TEXT_SIZE])
{
	if (!a->family || !inet_ntop(a->family, a->bytes, out, IP_ADDR_TEXT_SIZE))
		out[0] = '\0';
	return out;
}

const char *ip_prefix_format(const struct ip_prefix *p, char out[static IP_PREFIX_TEXT_SIZE])
{
	char text[IP_ADDR_TEXT_SIZE];

	snprintf(out, IP_PREFIX_TEXT_SIZE, "%s/%u", ip_format(&p->addr, text), p->len);
	return out;
}
