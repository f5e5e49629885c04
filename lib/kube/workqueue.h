/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rate-limited work queue of string keys on the loop: a key waiting is kept once; a key added while it is being
 * worked on runs once more afterwards; failures come back after 5 ms, doubling up to 1000 s, as client-go's do.
 */
#ifndef KEELSON_KUBE_WORKQUEUE_H
#define KEELSON_KUBE_WORKQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct workqueue;
/* work is called with a key for at most `parallel` keys at once; each run ends with workqueue_done(), now or later. */
struct workqueue *workqueue_new(uv_loop_t *loop, unsigned parallel,
				void (*work)(struct workqueue *q, const char *key, void *user), void *user);
void workqueue_free(struct workqueue *q);
void workqueue_add(struct workqueue *q, const char *key);
void workqueue_add_after(struct workqueue *q, const char *key, uint64_t delay_ms); /* the earliest time wins */
void workqueue_done(struct workqueue *q, const char *key, bool failed);
size_t workqueue_depth(const struct workqueue *q);

#endif
