/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Users of an OpenID Connect issuer: its ID tokens as bearer tokens (OpenID Connect Core 1.0 section 3.1.3.7). The issuer's keys are
 * fetched by the loop and cached; checking a token never waits. Loop thread only.
 */
#ifndef KEELSON_APISERVER_AUTH_OIDC_H
#define KEELSON_APISERVER_AUTH_OIDC_H

#include <uv.h>

#include "apiserver/auth/identity.h"
#include "base/err.h"
#include "base/mem.h"

enum { OIDC_MAX_REQUIRED = 32 };
struct oidc_options {
	const char *issuer_url, *client_id;         /* https; what the token's aud has to have */
	const char *username_claim;                 /* NULL: sub */
	const char *username_prefix;                /* NULL: "ISSUER#" unless the claim is email; "-": none */
	const char *groups_claim, *groups_prefix;   /* NULL: no groups; no prefix */
	const char *ca_file;                        /* NULL: the system's */
	const char *signing_algs;                   /* with commas; NULL: RS256 */
	const char *required[OIDC_MAX_REQUIRED + 1]; /* "claim=value", NULL-terminated */
};
struct oidc;
/* Begins to fetch the keys. Strings are borrowed for good. Own; NULL with err. */
struct oidc *oidc_new(uv_loop_t *loop, const struct oidc_options *o, struct err *err);
struct oidc *oidc_free(struct oidc *o); /* who waits is told; NULL is fine */

/* The token says that it is the issuer's. */
bool oidc_is_for(const struct oidc *o, const char *token);
/* 0 and who it is (strings in the arena), or -EACCES. */
int oidc_authenticate(const struct oidc *o, struct arena *a, const char *token, int64_t now_s, struct identity *ret);
/* True: the token's key is not known, but a fetch is under way or was begun, and done is called at its end. A fetch begins at most
 * every 10 s, whatever tokens come; at most 1,000 wait. False: there is nothing to wait for. */
bool oidc_wait(struct oidc *o, const char *token, void (*done)(void *user), void *user);

#endif
