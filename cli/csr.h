/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A joined node's certificates: asked for by CertificateSigningRequests, kept as pki/agent.pem and pki/agent-server.pem
 * with the key in the same file, so that a pair changes at once; NAME.crt and NAME.key are links to them.
 */
#ifndef KEELSON_CLI_CSR_H
#define KEELSON_CLI_CSR_H

#include "cli/api.h"
#include "cli/cluster.h"

enum csr_kind { CSR_CLIENT, CSR_SERVING, CSR_KIND_MAX };

/* Sends a request with a new key, waits until it is approved and signed, and writes the pair. Says on stderr what it waits
 * for when that takes long. -EACCES when it was denied, -ETIMEDOUT when nobody approved it, -ETIME when this machine's clock
 * is wrong by more than five minutes. */
int csr_obtain(const struct cluster *c, struct api *api, enum csr_kind kind, struct err *err);
/* Whether the node's certificate needs no renewal: it is there, has a third of its life left and is for these names. */
bool csr_good(const struct cluster *c, enum csr_kind kind);
/* Whether the client certificate can still be used to ask for a new one. */
bool csr_usable(const struct cluster *c);
/* Renews what is not good. 0: nothing to do, 1: renewed, or an error. */
int csr_renew(const struct cluster *c, struct err *err);

#endif
