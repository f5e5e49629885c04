/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Language helpers every room uses: cleanup attributes, ownership transfer, assertions. */
#ifndef KEELSON_BASE_MACROS_H
#define KEELSON_BASE_MACROS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/param.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* The C library's evaluate their arguments twice. */
#undef MIN
#undef MAX
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
/* A name of its own for each use, so that they nest. */
#define MIN(a, b) PICK_(a, b, <, PASTE(pick_a_, __COUNTER__), PASTE(pick_b_, __COUNTER__))
#define MAX(a, b) PICK_(a, b, >, PASTE(pick_a_, __COUNTER__), PASTE(pick_b_, __COUNTER__))
#define PICK_(a, b, op, x, y) ({ __typeof__(a) x = (a); __typeof__(b) y = (b); x op y ? x : y; })
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))
#define _warn_unused_ __attribute__((warn_unused_result))

/* Runs f(&variable) when the variable leaves scope. */
#define _cleanup_(f) __attribute__((cleanup(f)))

/* Hands over ownership: yields the pointer and leaves NULL behind, so a cleanup does nothing. */
#define TAKE(p)                    \
	({                         \
		__typeof__(p) *_pp = &(p); \
		__typeof__(p) _v = *_pp;   \
		*_pp = NULL;       \
		_v;                \
	})

/* Defines x_freep() for use with _cleanup_() from a destructor that takes NULL. */
#define DEFINE_CLEANUP(type, func)               \
	static inline void func##p(type *p)      \
	{                                        \
		if (*p)                          \
			func(*p);                \
	}

/* BUG_ON() is for our own faults only, never for what a peer sent. */
_noreturn_ void bug_at(const char *file, int line, const char *what);
#define BUG_ON(cond)                                       \
	do {                                               \
		if (__builtin_expect(!!(cond), 0))         \
			bug_at(__FILE__, __LINE__, #cond); \
	} while (0)

#endif
