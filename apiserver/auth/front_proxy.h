/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that come through a proxy which has authenticated the user already: it shows a certificate of its own CA and names the user
 * in headers (upstream's --requestheader options).
 */
#ifndef KEELSON_APISERVER_AUTH_FRONT_PROXY_H
#define KEELSON_APISERVER_AUTH_FRONT_PROXY_H

#include "apiserver/http/call.h"

/* Lists are comma-separated texts; of several headers the first that is there counts. */
struct front_proxy_options {
	const char *client_ca_file;
	const char *allowed_names;         /* common names; NULL or "": any certificate of the CA */
	const char *username_headers, *uid_headers, *group_headers, *extra_prefixes;
};
struct front_proxy;
struct front_proxy *front_proxy_new(const struct front_proxy_options *o, struct err *err); /* own */
struct front_proxy *front_proxy_free(struct front_proxy *f);
/* Clients choose their certificate by the CAs that the server names: adds ours. */
void front_proxy_announce(const struct front_proxy *f, SSL_CTX *server);
/* True: the request is a trusted proxy's and names a user. Strings live in the call's arena. NULL is fine. */
bool front_proxy_identity(const struct front_proxy *f, struct call *c, struct identity *ret);

#endif
