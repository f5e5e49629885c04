/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What everything that makes certificates does the same way. */
#ifndef KEELSON_IO_X509_H
#define KEELSON_IO_X509_H

#include <openssl/x509v3.h>
#include <stdbool.h>

/* A random positive serial number of 127 bits (RFC 5280, 4.1.2.2). False: OpenSSL has no memory or no randomness. */
bool x509_set_random_serial(X509 *cert);
/* Adds an extension written as in OpenSSL's configuration files. False: value is not valid for it. */
bool x509_add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value);

#endif
