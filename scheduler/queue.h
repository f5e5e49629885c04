/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pods that wait for a node: by priority, then by time. One that did not fit waits for an event that may change that, or
 * five minutes, and is tried again no sooner than its back-off (1 s, doubling to 10 s). Pure: the caller has the clock.
 */
#ifndef KEELSON_SCHEDULER_QUEUE_H
#define KEELSON_SCHEDULER_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;
enum queue_state { QUEUE_ACTIVE, QUEUE_BACKOFF, QUEUE_UNSCHEDULABLE, QUEUE_GATED, QUEUE_IN_FLIGHT, QUEUE_STATE_MAX };

struct queue *queue_new(void);
struct queue *queue_free(struct queue *q);
/* A new pod, or one that was changed: active at once, or held when gated. One in flight is only marked. */
void queue_add(struct queue *q, const char *key, int32_t priority, bool gated, int64_t now_ms);
void queue_remove(struct queue *q, const char *key);
/* The next to be placed, in flight from here on: borrow until it is given back. NULL: none. */
const char *queue_pop(struct queue *q);
/* Gives back: it did not fit (wake: WAKE_* events that may help; events since queue_pop() count), or something failed that
 * has nothing to do with fitting. */
void queue_unschedulable(struct queue *q, const char *key, unsigned wake, int64_t now_ms);
void queue_retry(struct queue *q, const char *key, int64_t now_ms);
/* Something happened in the cluster. */
void queue_event(struct queue *q, unsigned event, int64_t now_ms);
/* Lets due pods become active. Returns ms until the next is due, -1: none. */
int64_t queue_tick(struct queue *q, int64_t now_ms);
size_t queue_count(const struct queue *q, enum queue_state state);
bool queue_has(const struct queue *q, const char *key);

#endif
