/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Expectations: what a controller has asked for and its cache has not shown yet. While a key has some, the controller
 * must not count what it has, or a slow cache makes it create (or delete) twice. They lapse after five minutes, so that
 * a lost event costs time and never a stuck key.
 */
#ifndef KEELSON_CONTROLLERS_EXPECTATIONS_H
#define KEELSON_CONTROLLERS_EXPECTATIONS_H

#include <stdbool.h>
#include <stdint.h>

struct expectations;
struct expectations *expectations_new(void);
struct expectations *expectations_free(struct expectations *e); /* NULL is fine; returns NULL */
enum { EXPECTATIONS_LAPSE_MS = 5 * 60 * 1000 };
/* now_ms is monotonic time in all of these. */
void expectations_create(struct expectations *e, const char *key, int64_t now_ms);
void expectations_delete(struct expectations *e, const char *key, const char *uid, int64_t now_ms);
/* Seen in the cache, or known to have failed. More than was expected is ignored. */
void expectations_created(struct expectations *e, const char *key);
void expectations_deleted(struct expectations *e, const char *key, const char *uid);
bool expectations_met(struct expectations *e, const char *key, int64_t now_ms);
void expectations_forget(struct expectations *e, const char *key);

#endif
