/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP prefixes as values, and the few rtnetlink operations that several daemons need (libnl-route-3). */
#ifndef KEELSON_IO_NET_H
#define KEELSON_IO_NET_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

#include <stdint.h>

#include "base/err.h"

struct ip_addr {
	uint8_t family; /* AF_INET or AF_INET6; 0: unset */
	uint8_t bytes[16];
};
struct ip_prefix {
	struct ip_addr addr;
	uint8_t len;
};
enum { IP_ADDR_TEXT_SIZE = INET6_ADDRSTRLEN, IP_PREFIX_TEXT_SIZE = INET6_ADDRSTRLEN + 4 };
/* Strict: no leading zeros, no blanks (RFC 6943 section 3.1.1). 0 or -EINVAL. */
int ip_parse(const char *s, struct ip_addr *ret);
int ip_prefix_parse(const char *s, struct ip_prefix *ret); /* host bits may be set; use ip_prefix_mask() */
void ip_prefix_mask(struct ip_prefix *p);                  /* clears the host bits */
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
/* At most one range of each family, as dual-stack options give them: index 0 IPv4, 1 IPv6; addr.family 0: none. */
struct ip_ranges {
	struct ip_prefix v[2];
};
/* "10.244.0.0/16", "fd00:10:244::/56" or both with a comma, in either order; host bits are cleared. *ret_first (may be
 * NULL) gets the index of the one named first: the primary family. -EINVAL also for two of one family. */
int ip_ranges_parse(const char *s, struct ip_ranges *ret, unsigned *ret_first);
bool ip_ranges_contain(const struct ip_ranges *r, const struct ip_addr *a);
static inline unsigned ip_family_index(uint8_t family)
{
	return family == AF_INET6;
}
bool ip_addr_eq(const struct ip_addr *a, const struct ip_addr *b);
/* Adds n to the address (carry through), within the family. false on overflow. */
bool ip_addr_add(struct ip_addr *a, uint64_t n);
const char *ip_format(const struct ip_addr *a, char out[static IP_ADDR_TEXT_SIZE]);
const char *ip_prefix_format(const struct ip_prefix *p, char out[static IP_PREFIX_TEXT_SIZE]);

/* Blackhole route with metric 4294967295 (the last resort: any real route wins), main table. Adding one that is there
 * and removing one that is not are successes. Works in the calling thread's network namespace. */
int net_blackhole_add(const struct ip_prefix *p, struct err *err);
int net_blackhole_del(const struct ip_prefix *p, struct err *err);
/* Adds or removes an address on an interface (by name); existing/missing is success. */
int net_address_add(const char *ifname, const struct ip_prefix *p, struct err *err);
int net_address_del(const char *ifname, const struct ip_prefix *p, struct err *err);
/* The address this node is known by: the source address of the default route's interface, else the first global
 * address of an interface that is up. -ENOENT when there is none. */
int net_node_address(int family, struct ip_addr *ret, struct err *err);
/* Writes /proc/sys/<name with dots as slashes>. *old (own, may be NULL) gets the earlier value for undoing. */
int net_sysctl_set(const char *name, const char *value, char **ret_old, struct err *err);

#endif
