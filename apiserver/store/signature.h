/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signatures: 64 bits of an object's labels, field labels and name (a Bloom filter), kept beside the pointer in the index, so that a walk with
 * a selector leaves out most objects without touching them. A signature never loses a match; what it lets pass is compared in full.
 */
#ifndef KEELSON_APISERVER_STORE_SIGNATURE_H
#define KEELSON_APISERVER_STORE_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t signature_label(const char *key, const char *value); /* has signature_label_key() */
uint64_t signature_label_key(const char *key);
/* The value of a field label, whichever: many have the same (nodeName and host, the empty ones), which then fill the 64 bits once. */
uint64_t signature_field(const char *value);
uint64_t signature_name(const char *name);

enum { SIGNATURE_MAX_ANY = 8 };
/* What a signature must have; all zero: nothing. */
struct signature_want {
	uint64_t all;                    /* these bits */
	uint64_t any[SIGNATURE_MAX_ANY]; /* and all of one of these, unless there are none */
	size_t any_count;
};

static inline bool signature_has(uint64_t signature, const struct signature_want *w)
{
	if ((signature & w->all) != w->all)
		return false;
	for (size_t i = 0; i < w->any_count; i++)
		if ((signature & w->any[i]) == w->any[i])
			return true;
	return !w->any_count;
}

#endif
