/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who a request is from: whom a front proxy names, a client certificate (CN, O), a token (ServiceAccount, bootstrap, OpenID Connect),
 * or nobody. Impersonation on top. */
#ifndef KEELSON_APISERVER_AUTH_AUTHN_H
#define KEELSON_APISERVER_AUTH_AUTHN_H

#include "apiserver/http/call.h"

/* Fills c->user. A Status (401) for credentials that are wrong; no credentials make system:anonymous, or a 401
 * when the registry's options say so. */
json_t *authn_request(struct call *c);
/* True: who it is cannot be told before the OpenID Connect issuer's keys are there; resume is called with the call, of which a
 * reference is held, when authn_request() can. */
bool authn_waits(struct call *c, void (*resume)(void *call));
/* Impersonate-User and friends: replaces c->user. 403 unless the user may impersonate. */
json_t *authn_impersonate(struct call *c);
/* The identity of a token: 0, or -EACCES. Strings go into the arena. */
int authn_token(struct registry *g, struct arena *a, const char *token, const char *const *audiences, struct identity *ret,
		const char **ret_audience);

#endif
