/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS contexts. Sessions are never resumed: connections live long, and without resumption a client's certificate is
 * checked on every one of them. Idle connections give their buffers back.
 */
#include "io/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

static int tls_err(struct err *err, const char *what, const char *which)
{
	char reason[160];
	unsigned long e = ERR_peek_last_error();

	ERR_error_string_n(e, reason, sizeof(reason));
	ERR_clear_error();
	return err_set(err, EINVAL, "%s%s%s: %s", what, which ? " " : "", which ? which : "", e ? reason : "failed");
}

static SSL_CTX *context_new(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
			      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* One read() takes the record and its header together. */
	SSL_CTX_set_read_ahead(ctx, 1);
	/* TLS 1.2: forward secrecy and authenticated encryption only (RFC 9113 section 9.2.2). */
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	return ctx;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		       unsigned in_len, void *arg)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";

	(void)ssl;
	(void)arg;
	/* Our order counts. Nothing in common: RFC 7301 section 3.2 wants the handshake refused. */
	if (SSL_select_next_proto((unsigned char **)out, out_len, ours, sizeof(ours) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

/* The handshake goes on with a certificate that does not verify; SSL_get_verify_result() keeps the reason. */
static int accept_any(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

SSL_CTX *tls_server_new(const char *cert_file, const char *key_file, const char *client_ca_file, struct err *err)
{
	SSL_CTX *ctx = context_new(TLS_server_method());

	if (!ctx) {
		tls_err(err, "make a TLS context", NULL);
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1) {
		tls_err(err, "load certificate", cert_file);
	} else if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1) {
		tls_err(err, "load private key", key_file);
	} else if (SSL_CTX_check_private_key(ctx) != 1) {
		tls_err(err, "the private key does not belong to the certificate:", key_file);
	} else if (!client_ca_file) {
		return ctx;
	} else {
		STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(client_ca_file);

		if (names && SSL_CTX_load_verify_locations(ctx, client_ca_file, NULL) == 1) {
			SSL_CTX_set_client_CA_list(ctx, names);
			SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_any);
			return ctx;
		}
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		tls_err(err, "load client CA", client_ca_file);
	}
	SSL_CTX_free(ctx);
	return NULL;
}

int tls_server_reload(SSL_CTX *ctx, const char *cert_file, const char *key_file, struct err *err)
{
	/* Tried out first: what fails half way would leave the server without a key. */
	SSL_CTX *trial = tls_server_new(cert_file, key_file, NULL, err);

	if (!trial)
		return -EINVAL;
	SSL_CTX_free(trial);
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
		return tls_err(err, "load certificate", cert_file);
	return 0;
}

static bool add_cas(SSL_CTX *ctx, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	size_t count = 0;
	X509 *cert;

	while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		count += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	if (count) /* the end of the text is an error to PEM_read too */
		ERR_clear_error();
	return count > 0;
}

static bool use_pair(SSL_CTX *ctx, const char *cert_pem, const char *key_pem)
{
	BIO *cb = BIO_new_mem_buf(cert_pem, -1), *kb = BIO_new_mem_buf(key_pem, -1);
	X509 *cert = PEM_read_bio_X509(cb, NULL, NULL, NULL), *more;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL);
	bool ok = cert && key && SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
		  SSL_CTX_check_private_key(ctx) == 1;

	while (ok && (more = PEM_read_bio_X509(cb, NULL, NULL, NULL)))
		ok = SSL_CTX_add0_chain_cert(ctx, more) == 1;
	if (ok)
		ERR_clear_error();
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cb);
	BIO_free(kb);
	return ok;
}

SSL_CTX *tls_client_new(const char *ca_pem, const char *cert_pem, const char *key_pem, bool alpn_h2, struct err *err)
{
	SSL_CTX *ctx = context_new(TLS_client_method());
	bool ok;

	if (!ctx) {
		tls_err(err, "make a TLS context", NULL);
		return NULL;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	ok = ca_pem ? add_cas(ctx, ca_pem) : SSL_CTX_set_default_verify_paths(ctx) == 1;
	if (!ok) {
		tls_err(err, "load the certificate authority", NULL);
	} else if (cert_pem && key_pem && !use_pair(ctx, cert_pem, key_pem)) {
		tls_err(err, "load the client certificate and key", NULL);
		ok = false;
	} else {
		SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)(alpn_h2 ? "\x02h2\x08http/1.1" : "\x08http/1.1"),
					alpn_h2 ? 12 : 9);
	}
	if (ok)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}
