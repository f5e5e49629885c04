/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may use a frontend address and port. Objects can contradict each other (two Services with one external address):
 * the Service whose "namespace/name" sorts first has it, whatever the order in which they came.
 */
#ifndef KEELSON_PROXY_MODEL_CLAIMS_H
#define KEELSON_PROXY_MODEL_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct claim_key {
	uint8_t addr[16];
	uint16_t port;
	uint8_t proto;
	uint8_t kind; /* an address's port, a node port (addr 0.0.0.0 or ::), or a whole address */
};
struct claim {
	struct claim_key key;
	uint32_t contested : 1, serial : 31; /* serial: the owner's look at itself that last claimed it */
	void *owner; /* NULL: empty place */
};
_Static_assert(sizeof(struct claim) == 32, "tens of thousands of them");
/* Zero-initialize. */
struct claims {
	struct claim *items;
	size_t cap, used;
};
void claims_done(struct claims *c);
struct claim *claims_find(const struct claims *c, const struct claim_key *key); /* borrow until the next change */
/* The key must not be there. */
struct claim *claims_add(struct claims *c, const struct claim_key *key, void *owner);
void claims_del(struct claims *c, const struct claim_key *key);

#endif
