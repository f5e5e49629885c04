/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation that aborts on exhaustion, arenas and reference-counted bytes. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ARENA_CHUNK_BYTES = 8192 };

_noreturn_ void bug_at(const char *file, int line, const char *what)
{
	fprintf(stderr, "BUG at %s:%d: %s\n", file, line, what);
	abort();
}

static void *check(void *p)
{
	if (!p) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

void *mem_alloc(size_t size)
{
	return check(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
	return check(calloc(1, size ? size : 1));
}

void *mem_calloc(size_t count, size_t size)
{
	return check(calloc(count ? count : 1, size ? size : 1));
}

void *mem_realloc(void *p, size_t size)
{
	return check(realloc(p, size ? size : 1));
}

void *mem_dup(const void *p, size_t size)
{
	void *copy = mem_alloc(size);

	if (size)
		memcpy(copy, p, size);
	return copy;
}

char *mem_strdup(const char *s)
{
	return s ? check(strdup(s)) : NULL;
}

char *mem_strndup(const char *s, size_t len)
{
	return s ? check(strndup(s, len)) : NULL;
}

void mem_grow(void *items, size_t *cap, size_t need, size_t elem_size)
{
	void **p = items;
	size_t n = *cap ? *cap : 8;

	if (need <= *cap)
		return;
	while (n < need) {
		BUG_ON(n > SIZE_MAX / 2 / elem_size);
		n *= 2;
	}
	*p = mem_realloc(*p, n * elem_size);
	*cap = n;
}

void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, size;
	_Alignas(16) char data[];
};

struct arena {
	struct arena_chunk *head;
};

struct arena *arena_new(void)
{
	return mem_new(struct arena);
}

struct arena *arena_free(struct arena *a)
{
	if (!a)
		return NULL;
	while (a->head) {
		struct arena_chunk *c = a->head;

		a->head = c->next;
		free(c);
	}
	free(a);
	return NULL;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_chunk *c = a->head;

	BUG_ON(size > SIZE_MAX / 2);
	size = (size + 15) & ~(size_t)15;
	if (!c || c->size - c->used < size) {
		size_t n = MAX(size, (size_t)ARENA_CHUNK_BYTES);

		c = mem_alloc(sizeof(*c) + n);
		c->used = 0;
		c->size = n;
		/* A large block goes behind the head so that the head's free tail stays usable. */
		if (a->head && size > ARENA_CHUNK_BYTES / 2) {
			c->next = a->head->next;
			a->head->next = c;
		} else {
			c->next = a->head;
			a->head = c;
		}
	}
	void *p = c->data + c->used;

	c->used += size;
	return memset(p, 0, size);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	if (!s)
		return NULL;
	len = strnlen(s, len);
	char *p = arena_alloc(a, len + 1);

	memcpy(p, s, len);
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, ap2;

	va_start(ap, fmt);
	va_copy(ap2, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);

	va_end(ap);
	BUG_ON(n < 0);
	char *p = arena_alloc(a, (size_t)n + 1);

	vsnprintf(p, (size_t)n + 1, fmt, ap2);
	va_end(ap2);
	return p;
}

struct bytes *bytes_new_uninit(size_t len)
{
	BUG_ON(len >= UINT32_MAX);
	struct bytes *b = mem_alloc(sizeof(*b) + len + 1);

	b->refs = 1;
	b->len = (uint32_t)len;
	b->data[len] = '\0';
	return b;
}

struct bytes *bytes_new(const void *data, size_t len)
{
	struct bytes *b = bytes_new_uninit(len);

	if (len)
		memcpy(b->data, data, len);
	return b;
}

struct bytes *bytes_ref(struct bytes *b)
{
	if (b)
		__atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

struct bytes *bytes_unref(struct bytes *b)
{
	if (b && __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(b);
	return NULL;
}
