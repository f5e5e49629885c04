/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bootstrap tokens: "ID.SECRET", 6 and 16 of [a-z0-9], with which a machine that has no certificate yet asks for one. Each is a
 * Secret bootstrap-token-ID of type bootstrap.kubernetes.io/token in kube-system.
 */
#ifndef KEELSON_APISERVER_AUTH_BOOTSTRAP_TOKEN_H
#define KEELSON_APISERVER_AUTH_BOOTSTRAP_TOKEN_H

#include "apiserver/registry/registry.h"

enum { BOOTSTRAP_ID_LEN = 6, BOOTSTRAP_SECRET_LEN = 16 };
/* Is the text shaped like one? Then no other kind of token is meant. */
bool bootstrap_token_shaped(const char *token);
/* The identity of a token: system:bootstrap:ID in system:bootstrappers, the Secret's auth-extra-groups and
 * system:authenticated. 0, or -EACCES: there is no such token, its secret is another, it is over, not meant for authentication,
 * or its groups are not all below system:bootstrappers:. Strings go into the arena. */
int bootstrap_token_authenticate(struct registry *g, struct arena *a, const char *token, struct identity *ret);

#endif
