/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory. Running out of memory aborts: a crash-only daemon restarts and adopts what it finds,
 * and every size that a peer controls is limited before it reaches these functions.
 */
#ifndef KEELSON_BASE_MEM_H
#define KEELSON_BASE_MEM_H

#include <stdbool.h>
#include <stdlib.h>

#include "base/macros.h"

/* Each returns memory the caller owns and frees with free(); never NULL. mem_zalloc zeroes. */
void *mem_alloc(size_t size_bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *mem_zalloc(size_t size_bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *mem_calloc(size_t count, size_t size_bytes) __attribute__((malloc, alloc_size(1, 2), returns_nonnull));
void *mem_realloc(void *p, size_t size_bytes) __attribute__((alloc_size(2), returns_nonnull));
void *mem_dup(const void *p, size_t size_bytes) __attribute__((malloc, returns_nonnull));
/* NULL in, NULL out. */
char *mem_strdup(const char *s) __attribute__((malloc));
char *mem_strndup(const char *s, size_t len) __attribute__((malloc));

#define mem_new(type) ((type *)mem_zalloc(sizeof(type)))
#define mem_new_n(type, n) ((type *)mem_calloc((n), sizeof(type)))

/*
 * Makes room for `need` elements in a growing array: *items (own) and *cap are updated, doubling.
 * The added tail is not zeroed.
 */
void mem_grow(void *items, size_t *cap, size_t need, size_t elem_size_bytes);
#define MEM_GROW(items, cap, need) mem_grow(&(items), &(cap), (need), sizeof(*(items)))

static inline void freep(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ _cleanup_(freep)

void closep(int *fd);
#define _cleanup_close_ _cleanup_(closep)

/*
 * Arena: allocations that live and die together (a request's memory). Not thread-safe.
 * arena_new() -> own; arena_free(NULL) is fine and returns NULL.
 */
struct arena;
struct arena *arena_new(void);
struct arena *arena_free(struct arena *a);
void *arena_alloc(struct arena *a, size_t size_bytes) __attribute__((returns_nonnull)); /* zeroed, 16-byte aligned */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3);
DEFINE_CLEANUP(struct arena *, arena_free)

/*
 * Immutable reference-counted bytes: what the API server stores, lists and streams without copying.
 * Reference counts are atomic; data is NUL-terminated one byte past len for debugging ease.
 */
struct bytes {
	uint32_t refs;
	uint32_t len;
	char data[];
};
struct bytes *bytes_new(const void *data, size_t len);   /* copies; own (one ref) */
struct bytes *bytes_new_uninit(size_t len);              /* fill data before sharing */
struct bytes *bytes_ref(struct bytes *b);                /* NULL in, NULL out */
struct bytes *bytes_unref(struct bytes *b);              /* always returns NULL */
DEFINE_CLEANUP(struct bytes *, bytes_unref)

#endif
