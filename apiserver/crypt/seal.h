/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One value under one key, in the form Kubernetes' providers store it, without the prefix: AES in CBC mode with PKCS #7 padding
 * behind a random IV, AES-GCM behind a random nonce, NaCl's secretbox (XSalsa20, Poly1305) behind a random nonce.
 */
#ifndef KEELSON_APISERVER_CRYPT_SEAL_H
#define KEELSON_APISERVER_CRYPT_SEAL_H

#include "base/mem.h"
#include "base/str.h"
#include "kube/encryption.h"

/* Appends the sealed value; the key is none of identity. context: where the value is stored; AES-GCM authenticates it. */
void seal_add(struct strbuf *out, const struct encryption_key *k, const char *context, const void *data, size_t len);
/* Own; NULL: it was not sealed by this key, there (AES-CBC notices a part of the cases only, by the padding). */
struct bytes *seal_open(const struct encryption_key *k, const char *context, const void *data, size_t len);

#endif
