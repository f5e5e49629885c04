/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings: a growing buffer, comparisons, parsing of numbers, base64, hex, URL escapes. */
#ifndef KEELSON_BASE_STR_H
#define KEELSON_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

#include "base/macros.h"

/* A growing buffer. Zero-initialize; strbuf_done() frees. data is always NUL-terminated once written. */
struct strbuf {
	char *data;
	size_t len, cap;
};
void strbuf_done(struct strbuf *b);
void strbuf_reset(struct strbuf *b);                    /* keeps the memory, len = 0 */
void strbuf_reserve(struct strbuf *b, size_t extra);    /* room for extra bytes and a NUL */
void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_adds(struct strbuf *b, const char *s);      /* NULL adds nothing */
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) _printf_(2, 3);
void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap);
void strbuf_add_json(struct strbuf *b, const char *s, size_t len); /* a JSON string literal with quotes */
char *strbuf_take(struct strbuf *b);                    /* own; never NULL; b is empty afterwards */
#define _cleanup_strbuf_ _cleanup_(strbuf_done)

/* printf into owned memory; never NULL. */
char *str_printf(const char *fmt, ...) _printf_(1, 2);

static inline bool str_eq(const char *a, const char *b) /* NULL equals only NULL */
{
	return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* The part of s behind prefix (borrow), or NULL. */
const char *str_after(const char *s, const char *prefix);

/* Decimal, whole string, no sign but '-' for i64, no leading blanks. 0 or -EINVAL, -ERANGE; *ret only on success. */
int str_to_u64(const char *s, uint64_t max, uint64_t *ret);
int str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret);

/* A growing list of owned strings. Zero-initialize. items[count] is NULL when count > 0. */
struct strlist {
	char **items;
	size_t count, cap;
};
void strlist_done(struct strlist *l);
void strlist_add(struct strlist *l, const char *s);      /* copies */
void strlist_take(struct strlist *l, char *s);           /* moves */
void strlist_addf(struct strlist *l, const char *fmt, ...) _printf_(2, 3);
bool strlist_has(const struct strlist *l, const char *s);
void strlist_split(struct strlist *l, const char *s, char sep); /* skips empty parts */
#define _cleanup_strlist_ _cleanup_(strlist_done)

/* RFC 4648. Encoders append to out. Decoders append raw bytes, 0 or -EINVAL (padding required unless url). */
void base64_encode(struct strbuf *out, const void *data, size_t len);
void base64url_encode(struct strbuf *out, const void *data, size_t len); /* no padding */
int base64_decode(struct strbuf *out, const char *s, size_t len);
int base64url_decode(struct strbuf *out, const char *s, size_t len);
void hex_encode(struct strbuf *out, const void *data, size_t len);

/* RFC 3986. plus_is_space for query strings. -EINVAL on a broken escape or an encoded NUL. */
int url_decode(struct strbuf *out, const char *s, size_t len, bool plus_is_space);
void url_encode(struct strbuf *out, const char *s); /* everything but unreserved characters is escaped */

/* 64-bit FNV-1a: for hash tables and fingerprints, not against an adversary. */
uint64_t hash_bytes(const void *data, size_t len, uint64_t seed);
uint64_t hash_str(const char *s);

/* len characters of Kubernetes' generateName alphabet, NUL-terminated into out[len + 1]. Random. */
void rand_suffix(char *out, size_t len);
/* Cryptographically random bytes (getrandom; small amounts are fetched ahead). Aborts when the kernel has none. */
void rand_bytes(void *out, size_t len);
/* Random RFC 4122 version 4 UUID into out[37]. */
void rand_uuid(char out[37]);


#endif
