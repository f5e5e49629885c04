/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS contexts (OpenSSL, TLS 1.2 and later) and the small CA that a cluster makes at its first start. */
#ifndef KEELSON_IO_TLS_H
#define KEELSON_IO_TLS_H

#include <openssl/ssl.h>

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* Server context; ALPN h2 and http/1.1. client_ca NULL: no client certificates are asked for. A client certificate
 * that does not verify does not fail the handshake: http_peer_verify_result() tells. Own; SSL_CTX_free(). */
SSL_CTX *tls_server_new(const char *cert_file, const char *key_file, const char *client_ca_file, struct err *err);
/* New connections get the certificate and key that the files hold now. On an error everything stays as it was. */
int tls_server_reload(SSL_CTX *ctx, const char *cert_file, const char *key_file, struct err *err);
/* Client context; verifies the server against ca_pem (NULL: the system's). cert and key may be NULL. PEM text. */
SSL_CTX *tls_client_new(const char *ca_pem, const char *cert_pem, const char *key_pem, bool alpn_h2, struct err *err);

/* What a certificate is for. */
enum pki_use { PKI_CA, PKI_SERVER, PKI_CLIENT, PKI_SERVER_CLIENT };
struct pki_request {
	const char *cn;              /* user name */
	const char *const *orgs;     /* groups, NULL-terminated, may be NULL */
	const char *const *sans;     /* DNS names and IP addresses as text, NULL-terminated, may be NULL */
	enum pki_use use;
	int days;
};
/* Makes a P-256 key and a certificate signed by ca_cert/ca_key (PEM files; NULL both: self-signed CA). Writes both PEM
 * files atomically, the key with mode 0600. */
int pki_issue(const struct pki_request *r, const char *ca_cert_file, const char *ca_key_file, const char *cert_file,
	      const char *key_file, struct err *err);
/* Makes a P-256 key and a certificate signing request for it (RFC 2986; cn, orgs and sans of r count). Appends PEM texts. */
int pki_csr(const struct pki_request *r, struct strbuf *key_pem, struct strbuf *csr_pem, struct err *err);
/* SHA-256 of the SubjectPublicKeyInfo of the first certificate in a PEM text, in lower-case hex: by this a CA is pinned
 * (RFC 7469 section 2.4). */
enum { PKI_HASH_SIZE = 65 };
int pki_public_key_hash(const char *cert_pem, char ret[static PKI_HASH_SIZE], struct err *err);
/* A PEM key for signing ServiceAccount tokens (ES256), mode 0600, and its public half. */
int pki_signing_key(const char *key_file, const char *public_file, struct err *err);

#endif
