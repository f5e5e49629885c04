/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between csr_decide.c and csr_sign.c. */
#ifndef KEELSON_CONTROLLERS_CSR_INTERNAL_H
#define KEELSON_CONTROLLERS_CSR_INTERNAL_H

#include <openssl/x509.h>

#include "kube/json.h"

/* The PKCS#10 request; own (X509_REQ_free), NULL when it cannot be parsed. */
X509_REQ *csr_parse(const json_t *csr);

#endif
