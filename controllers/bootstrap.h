/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bootstrap tokens: Secrets of type bootstrap.kubernetes.io/token in kube-system. Pure. */
#ifndef KEELSON_CONTROLLERS_BOOTSTRAP_H
#define KEELSON_CONTROLLERS_BOOTSTRAP_H

#include "controllers/workload.h"

/* The decoded value of a Secret's key; own, "" when it is absent or no text. */
char *bootstrap_datum(const json_t *secret, const char *key);
/* When the token ends, in seconds since the epoch: INT64_MAX when never, 0 when its expiration cannot be read. */
int64_t bootstrap_expires_s(const json_t *secret);
/* A detached JWS (RFC 7515, HS256) of content by the token: "HEADER..SIGNATURE". Own. */
char *bootstrap_sign(const char *id, const char *secret, const char *content);
/* The entries jws-kubeconfig-ID that the ConfigMap cluster-info should have: those of the tokens that may sign and are not over.
 * Own; {} when the ConfigMap has no kubeconfig. */
json_t *bootstrap_signatures(const json_t *cluster_info, const struct object_list *tokens, int64_t now_s);
#define JWS_PREFIX "jws-kubeconfig-"

#endif
