/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The durable half of the store: an ordered set of keys and values in one directory, changed by transactions. Knows nothing
 * of objects. engine_commit() may run on another thread, one call at a time; everything else on the owner's thread.
 */
#ifndef KEELSON_APISERVER_STORE_ENGINE_H
#define KEELSON_APISERVER_STORE_ENGINE_H

#include <stdint.h>

#include "base/err.h"

enum { ENGINE_MAX_KEY = 500 };

struct engine_op {
	const char *key;       /* at most ENGINE_MAX_KEY bytes */
	const void *head;      /* value = head then body; head NULL: the key is deleted */
	size_t head_len;
	const void *body;
	size_t body_len;
};

struct engine;
/* dir exists. -errno with err. */
int engine_open(const char *dir, struct engine **ret, struct err *err);
struct engine *engine_close(struct engine *e); /* NULL is fine; returns NULL */
/* Every key in order; each() returns non-zero to stop, which is then returned. The memory is valid during the call. *ret_revision
 * is the one of the last commit, 0 for a new store. */
int engine_load(struct engine *e, int (*each)(const char *key, size_t key_len, const void *value, size_t len, void *user),
		void *user, uint64_t *ret_revision, struct err *err);
/* All or nothing, on disk when it returns 0. -ENOSPC: nothing was changed and a later commit may succeed. Any other error:
 * what is on disk is not known; open again. */
int engine_commit(struct engine *e, const struct engine_op *ops, size_t count, uint64_t revision, struct err *err);
/* What commits replace and delete from now on is overwritten in the file. On the thread of engine_commit(). */
int engine_wipe_deleted(struct engine *e, struct err *err);

#endif
