/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The byte tunnel to a node's agent: exec, attach and port-forward (the client's connection is taken over) and logs (streamed).
 * HTTPS with the API server's client certificate, verified against the agents' CA.
 */
#ifndef KEELSON_APISERVER_HTTP_TUNNEL_H
#define KEELSON_APISERVER_HTTP_TUNNEL_H

#include "apiserver/registry/registry.h"

struct tunnel_config;
/* Certificate, key and CA are PEM files. Own. */
struct tunnel_config *tunnel_config_new(const char *cert_file, const char *key_file, const char *ca_file, struct err *err);
struct tunnel_config *tunnel_config_free(struct tunnel_config *t);
SSL_CTX *tunnel_tls(const struct tunnel_config *t); /* borrow: our certificate towards agents, theirs verified */
bool tunnel_wants(const struct call *c); /* the call's subresource is one of ours */
void tunnel_start(struct call *c);

/* Where a proxied request that switches protocols goes. All borrowed. */
struct tunnel_backend {
	const struct sockaddr *address;
	SSL_CTX *tls;     /* NULL: plain */
	const char *ip;   /* what the certificate must be for; NULL: as the context verifies */
	const char *host; /* for messages */
};
/* Sends head (moved), then copies bytes both ways once the backend switches protocols; its refusal goes to the client as it is. */
void tunnel_proxy(struct call *c, const struct tunnel_backend *to, struct strbuf *head);

#endif
