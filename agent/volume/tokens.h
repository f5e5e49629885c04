/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ServiceAccount tokens for projected volumes: asked for by TokenRequest, bound to the pod, renewed at four fifths of
 * their life. */
#ifndef KEELSON_AGENT_VOLUME_TOKENS_H
#define KEELSON_AGENT_VOLUME_TOKENS_H

#include "agent/agent.h"

/* A token of that pod has arrived (or failed to: the next tokens_get() tells). */
typedef void (*tokens_changed_fn)(const char *pod_uid, void *user);
struct tokens *tokens_new(struct agent *a, tokens_changed_fn on_changed, void *user);
void tokens_free(struct tokens *t);
/* The newest token, valid for now (borrow until the next call), or NULL: err has EAGAIN while the first is on its way,
 * else why the API refused. audience may be NULL. */
const char *tokens_get(struct tokens *t, const json_t *pod, const char *audience, int64_t expiration_s, struct err *err);
void tokens_forget_pod(struct tokens *t, const char *pod_uid);

#endif
