// SPDX-License-Identifier: GPL-2.0-or-later
/* Which bits a label, a field and a name set: one for a label's key, two for everything else. */
#include "apiserver/store/signature.h"

#include <string.h>

#include "base/str.h"

enum { SEED_KEY = 1, SEED_PAIR, SEED_FIELD, SEED_NAME };

static uint64_t mix(uint64_t h)
{
	return (h ^ h >> 32) * 0x9e3779b97f4a7c15;
}

static uint64_t two_bits(uint64_t h)
{
	h = mix(h);
	return 1ULL << (h >> 58) | 1ULL << (h >> 52 & 63);
}

uint64_t signature_label_key(const char *key)
{
	return 1ULL << (mix(hash_bytes(key, strlen(key), SEED_KEY)) >> 58);
}

uint64_t signature_label(const char *key, const char *value)
{
	uint64_t h = hash_bytes(key, strlen(key) + 1, SEED_PAIR);
	return signature_label_key(key) | two_bits(hash_bytes(value, strlen(value), h));
}

uint64_t signature_field(const char *value)
{
	return two_bits(hash_bytes(value, strlen(value), SEED_FIELD));
}

uint64_t signature_name(const char *name)
{
	return two_bits(hash_bytes(name, strlen(name), SEED_NAME));
}
