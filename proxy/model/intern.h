/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Strings that many endpoints share (node names, zones, host names), kept once each and counted. An id is stable while
 * somebody holds it; 0 is the empty string.
 */
#ifndef KEELSON_PROXY_MODEL_INTERN_H
#define KEELSON_PROXY_MODEL_INTERN_H

#include <stddef.h>
#include <stdint.h>

struct intern_entry {
	char *text; /* own; NULL: free */
	uint32_t refs;
	uint32_t tag; /* the holder's; 0 when the string is new */
};
/* Zero-initialize. */
struct intern {
	struct intern_entry *items; /* index id - 1 */
	size_t count, cap;
	uint32_t *table; /* ids by hash, 0: empty; a power of two long, at most half full */
	size_t table_cap, used;
	uint32_t *unused; /* ids given back */
	size_t unused_count, unused_cap;
};
void intern_done(struct intern *t);
/* Counts one more holder. NULL is the empty string. */
uint32_t intern_ref(struct intern *t, const char *s);
void intern_unref(struct intern *t, uint32_t id);
const char *intern_text(const struct intern *t, uint32_t id); /* borrow as long as it is held; never NULL */
uint32_t *intern_tag(struct intern *t, uint32_t id);          /* id not 0; borrow until the next intern_ref() */

#endif
